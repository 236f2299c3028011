//! Acting as somebody else: `Impersonate-User`, `-Group`, `-Uid` and `-Extra-*`, each of which the real user needs the
//! right for.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName};
use machinery::status::Status;

use crate::UserInfo;
use crate::authorization::{Attributes, Authorizer};
use crate::request_info::percent_decode;
use crate::user::{self, ANONYMOUS, UNAUTHENTICATED_GROUP};

const PREFIX: &str = "impersonate-";
const EXTRA: &str = "impersonate-extra-";

/// Whom a request wants to act as.
pub(super) struct Wanted(UserInfo);

/// Takes the headers of impersonation off a request, so that nothing behind the chain sees them.
pub(super) fn requested(headers: &mut HeaderMap) -> Result<Option<Wanted>, Status> {
    let names: Vec<HeaderName> = headers.keys().filter(|name| name.as_str().starts_with(PREFIX)).cloned().collect();
    let mut wanted = UserInfo::default();
    for name in names {
        let values: Vec<String> =
            headers.get_all(&name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect();
        headers.remove(&name);
        match name.as_str() {
            "impersonate-user" => wanted.name = values.into_iter().next().unwrap_or_default(),
            "impersonate-uid" => wanted.uid = values.into_iter().next().filter(|uid| !uid.is_empty()),
            "impersonate-group" => wanted.groups = values,
            other => {
                if let Some(key) = other.strip_prefix(EXTRA) {
                    let key = percent_decode(key).unwrap_or_else(|| key.to_owned());
                    wanted.extra.entry(key).or_default().extend(values);
                }
            }
        }
    }
    if !wanted.name.is_empty() {
        return Ok(Some(Wanted(wanted)));
    }
    if wanted == UserInfo::default() {
        return Ok(None);
    }
    Err(Status::bad_request(format!("requested {} without impersonating a user name", describe(&wanted))))
}

impl Wanted {
    /// The user to act as, if `user` may act as each part of it.
    pub(super) async fn authorize(self, authorizer: &Authorizer, user: &UserInfo) -> Result<UserInfo, Status> {
        let mut wanted = self.0;
        let account = wanted.as_service_account().map(|(namespace, name)| (namespace.to_owned(), name.to_owned()));
        match &account {
            Some((namespace, name)) => {
                let mut attributes = Attributes::resource(user, "impersonate", "", "serviceaccounts");
                (attributes.namespace, attributes.name) = (namespace, name);
                authorizer.check(&attributes).await?;
            }
            None => check(authorizer, user, "", "users", "", &wanted.name).await?,
        }
        if let Some(uid) = &wanted.uid {
            check(authorizer, user, "authentication.k8s.io", "uids", "", uid).await?;
        }
        for group in &wanted.groups {
            check(authorizer, user, "", "groups", "", group).await?;
        }
        for (key, values) in &wanted.extra {
            for value in values {
                check(authorizer, user, "authentication.k8s.io", "userextras", key, value).await?;
            }
        }
        if let Some((namespace, _)) = account.filter(|_| wanted.groups.is_empty()) {
            wanted.groups = vec![user::SERVICE_ACCOUNTS_GROUP.to_owned(), user::service_account_group(&namespace)];
        }
        if wanted.name == ANONYMOUS && !wanted.in_group(UNAUTHENTICATED_GROUP) {
            wanted.groups.push(UNAUTHENTICATED_GROUP.to_owned());
        }
        Ok(wanted.with_authenticated_group())
    }
}

async fn check(
    authorizer: &Authorizer,
    user: &UserInfo,
    group: &str,
    resource: &str,
    subresource: &str,
    name: &str,
) -> Result<(), Status> {
    let mut attributes = Attributes::resource(user, "impersonate", group, resource);
    (attributes.subresource, attributes.name) = (subresource, name);
    authorizer.check(&attributes).await
}

/// The way the message shows what was asked for.
fn describe(user: &UserInfo) -> String {
    let quote = machinery::go_text::quote;
    let list = |values: &[String]| values.iter().map(|value| quote(value)).collect::<Vec<_>>().join(", ");
    let groups = match &user.groups[..] {
        [] => "[]string(nil)".to_owned(),
        groups => format!("[]string{{{}}}", list(groups)),
    };
    let extra = if user.extra.is_empty() {
        "map[string][]string(nil)".to_owned()
    } else {
        let entries = |extra: &BTreeMap<String, Vec<String>>| {
            let entries = extra.iter().map(|(key, values)| format!("{}:[]string{{{}}}", quote(key), list(values)));
            entries.collect::<Vec<_>>().join(", ")
        };
        format!("map[string][]string{{{}}}", entries(&user.extra))
    };
    let uid = quote(user.uid.as_deref().unwrap_or_default());
    format!("&user.DefaultInfo{{Name:\"\", UID:{uid}, Groups:{groups}, Extra:{extra}}}")
}
