//! Secrets of the type `kubernetes.io/service-account-token`: they are filled with a token of the account that they name,
//! and go with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::reflector::Collection;
use client::{ApiError, BoxFuture, Controller, Intent, Key, Object, Outside, Plan, Sources, View, annotation, request};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};

const TYPE: &str = "kubernetes.io/service-account-token";
const NAME: &str = "kubernetes.io/service-account.name";
const UID: &str = "kubernetes.io/service-account.uid";

/// Makes a token: of the account's namespace, name and uid, for the Secret of that name.
pub type Sign = Arc<dyn Fn(&str, &str, &str, &str) -> Result<String, String> + Send + Sync>;

/// The controller. Its keys are Secrets.
pub struct ServiceAccountTokens {
    pub sign: Sign,
    /// PEM of the authority that clients with the token shall trust.
    pub root_ca: Option<String>,
}

/// What was found out for one Secret.
enum Seen {
    /// The server itself has no such account.
    Gone,
    Token(String),
}

impl Controller for ServiceAccountTokens {
    const NAME: &'static str = "serviceaccount-token";

    fn sources(&self, sources: &mut Sources<'_>) {
        // The other Secrets of the cluster are none of its business and stay out of memory.
        let tokens = Collection { field_selector: Some(format!("type={TYPE}")), ..Collection::all("/api/v1/secrets") };
        let tokens = sources.reflectors().store_of::<Secret>(tokens);
        sources.on_store(tokens, |_, change| change.latest().map(|secret| secret.key()));
        sources.on::<ServiceAccount, _>(|view, change| {
            let Some(account) = change.latest() else { return Vec::new() };
            let namespace = account.metadata.namespace.as_deref().unwrap_or_default();
            let secrets = view.of::<Secret>();
            let own = secrets
                .namespace(namespace)
                .filter(|secret| annotation(&secret.metadata, NAME) == account.metadata.name.as_deref());
            own.map(|secret| secret.key()).collect()
        });
    }

    fn observe<'a>(
        &'a self,
        outside: &'a Outside,
        key: &'a Key,
        view: &'a mut View,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        Box::pin(async move {
            let secrets = view.of::<Secret>();
            let Some(secret) = secrets.get(key) else { return Ok(()) };
            let name = annotation(&secret.metadata, NAME).unwrap_or_default();
            let (namespace, accounts) = (&*key.namespace, view.of::<ServiceAccount>());
            let mut account = accounts.find(namespace, name).filter(|account| is_of(secret, account)).cloned();
            if account.is_none() {
                // The cache may not have seen the account yet.
                let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}");
                let found = if name.is_empty() {
                    None
                } else {
                    request::get::<ServiceAccount>(&outside.client, &path).await.map_or_else(
                        |error| if error.is_not_found() { Ok(None) } else { Err(error) },
                        |account| Ok(Some(account)),
                    )?
                };
                account = found.filter(|account| is_of(secret, account)).map(Arc::new);
            }
            let Some(account) = account else {
                view.put(Arc::new(Seen::Gone));
                return Ok(());
            };
            let uid = account.metadata.uid.as_deref().unwrap_or_default();
            if has(secret, "token").is_none() {
                match (self.sign)(namespace, name, uid, &key.name) {
                    Ok(token) => view.put(Arc::new(Seen::Token(token))),
                    Err(error) => tracing::warn!(namespace, secret = &*key.name, error, "failed to make a token"),
                }
            }
            Ok(())
        })
    }

    fn reconcile(&self, view: &View, key: &Key, _now: Timestamp) -> Plan {
        let mut plan = Plan::nothing();
        let (secrets, accounts) = (view.of::<Secret>(), view.of::<ServiceAccount>());
        let seen = view.extra::<Seen>();
        let Some(secret) = secrets.get(key).filter(|secret| secret.metadata.deletion_timestamp.is_none()) else {
            forget(&mut plan, &accounts, key);
            return plan;
        };
        if matches!(seen.as_deref(), Some(Seen::Gone)) {
            plan.because("the account that the token is of is gone");
            plan.write(Intent::delete(&**secret));
            return plan;
        }
        let name = annotation(&secret.metadata, NAME).unwrap_or_default();
        let Some(account) = accounts.find(&key.namespace, name).filter(|account| is_of(secret, account)) else {
            return plan;
        };
        let mut new = Secret::clone(secret);
        let data = new.data.get_or_insert_default();
        if let Some(root_ca) = &self.root_ca {
            data.insert("ca.crt".to_owned(), ByteString(root_ca.clone().into_bytes()));
        }
        if has(secret, "namespace").is_none() {
            data.insert("namespace".to_owned(), ByteString(key.namespace.as_bytes().to_vec()));
        }
        if let Some(Seen::Token(token)) = seen.as_deref() {
            data.insert("token".to_owned(), ByteString(token.clone().into_bytes()));
        }
        let annotations: &mut BTreeMap<String, String> = new.metadata.annotations.get_or_insert_default();
        annotations.insert(UID.to_owned(), account.metadata.uid.clone().unwrap_or_default());
        if new != **secret {
            plan.write(Intent::update(&new));
        }
        plan
    }
}

/// Takes a Secret that is gone out of the accounts that name it.
fn forget(plan: &mut Plan, accounts: &client::Snapshot<ServiceAccount>, key: &Key) {
    for account in accounts.namespace(&key.namespace) {
        let names = |secret: &k8s_openapi::api::core::v1::ObjectReference| secret.name.as_deref() == Some(&*key.name);
        if account.secrets.iter().flatten().any(names) {
            let mut account = ServiceAccount::clone(account);
            account.secrets.iter_mut().for_each(|secrets| secrets.retain(|secret| !names(secret)));
            plan.write(Intent::update(&account));
        }
    }
}

fn has<'a>(secret: &'a Secret, key: &str) -> Option<&'a ByteString> {
    secret.data.as_ref()?.get(key).filter(|value| !value.0.is_empty())
}

/// Whether the account is the one that the Secret means: one of the same name made later is another.
fn is_of(secret: &Secret, account: &ServiceAccount) -> bool {
    annotation(&secret.metadata, UID).is_none_or(|uid| uid.is_empty() || Some(uid) == account.metadata.uid.as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, body, lines, object};
    use serde_json::{Value, json};

    fn controller() -> ServiceAccountTokens {
        ServiceAccountTokens { sign: Arc::new(|_, _, _, _| Ok("signed".to_owned())), root_ca: Some("PEM".to_owned()) }
    }

    fn secret(uid: &str, data: Value) -> Secret {
        object(json!({ "metadata": { "name": "t", "namespace": "n", "annotations": { NAME: "sa", UID: uid } },
            "type": TYPE, "data": data }))
    }

    fn account(uid: &str) -> ServiceAccount {
        object(json!({ "metadata": { "name": "sa", "namespace": "n", "uid": uid }, "secrets": [{ "name": "t" }] }))
    }

    #[test]
    fn a_secret_gets_token_authority_and_namespace_once() {
        let key = Key::new("n", "t");
        let view = View::new().with([secret("", json!({}))]).with([account("u")]);
        let plan = controller().reconcile(&view.with_extra(Seen::Token("signed".to_owned())), &key, at(1));
        assert_eq!(lines(&plan), ["update secrets n/t"]);
        let made: Secret = object(body(&plan, 0));
        assert_eq!(has(&made, "token").unwrap().0, b"signed");
        assert_eq!(
            (has(&made, "ca.crt").unwrap().0.as_slice(), has(&made, "namespace").unwrap().0.as_slice()),
            (&b"PEM"[..], &b"n"[..])
        );
        assert_eq!(annotation(&made.metadata, UID), Some("u"));
        let view = View::new().with([made]).with([account("u")]);
        assert_eq!(controller().reconcile(&view, &key, at(1)), Plan::nothing());
    }

    #[test]
    fn it_goes_with_its_account_and_is_forgotten_when_gone() {
        let key = Key::new("n", "t");
        let view = View::new().with([secret("old", json!({}))]).with([account("new")]);
        assert_eq!(lines(&controller().reconcile(&view.with_extra(Seen::Gone), &key, at(1))), ["delete secrets n/t"]);
        let view = View::new().with::<Secret>([]).with([account("u")]);
        let plan = controller().reconcile(&view, &key, at(1));
        assert_eq!(lines(&plan), ["update serviceaccounts n/sa"]);
        assert!(body(&plan, 0).get("secrets").is_none_or(|secrets| *secrets == json!([])));
    }
}
