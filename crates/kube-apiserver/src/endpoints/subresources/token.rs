//! serviceaccounts/token: a token for a ServiceAccount, for some audiences and a time, bound to an object if asked.

use http::StatusCode;
use machinery::field::{Error, ErrorList, Path};
use machinery::gvk::GroupKind;
use machinery::schema;
use machinery::status::Status;
use serde_json::{Value, json};

use crate::admission::Operation;
use crate::authentication::{BoundObject, IssueRequest};
use crate::endpoints::body::{self, Expected};
use crate::endpoints::options::Write;
use crate::endpoints::{Scope, as_admit};
use crate::registry::object;
use crate::{Body, Response};

const SCHEMA: &str = "io.k8s.api.authentication.v1.TokenRequest";
const GROUP: &str = "authentication.k8s.io";
const MIN_SECONDS: i64 = 600;
const MAX_SECONDS: i64 = 1 << 32;
const DEFAULT_SECONDS: i64 = 3600;

pub async fn serve(scope: &Scope, request: Body) -> Result<Response, Status> {
    let bytes = body::read(scope, request).await?;
    let write = Write::parse(scope, "CreateOptions")?;
    let expected = Expected::builtin("TokenRequest", format!("{GROUP}/v1"), SCHEMA);
    let mut token = body::decode(scope, &bytes, &expected, write.field_validation)?;
    let account = scope.server.registry.get(scope.kind, &scope.namespace, &scope.name)?;
    let own_name = object::name(&token);
    if !own_name.is_empty() && own_name != scope.name {
        let message =
            format!("the name of the object ({own_name}) does not match the name on the URL ({})", scope.name);
        return Err(Status::bad_request(message));
    }
    body::check_namespace(scope, &mut token)?;
    let spec = object::map_mut(&mut token, "spec");
    let seconds = *spec.entry("expirationSeconds").or_insert(DEFAULT_SECONDS.into()) == Value::Null;
    if seconds {
        spec.insert("expirationSeconds".to_owned(), DEFAULT_SECONDS.into());
    }
    let errors = validate(&token);
    if !errors.is_empty() {
        return Err(Status::invalid(&GroupKind::new(GROUP, "TokenRequest"), "", errors));
    }
    let admission = scope.admission("token", &scope.name, write.options.dry_run);
    as_admit(&admission).mutate(scope.kind, Operation::Create, &mut token, None).await?;
    as_admit(&admission).validate(scope.kind, Operation::Create, Some(&token), None).await?;
    let mut issue = IssueRequest {
        namespace: scope.namespace.clone(),
        service_account: scope.name.clone(),
        service_account_uid: object::uid(&account).to_owned(),
        audiences: object::texts(&token, "/spec/audiences").map(str::to_owned).collect(),
        expiration_seconds: object::number(&token, "/spec/expirationSeconds").unwrap_or(DEFAULT_SECONDS),
        ..IssueRequest::default()
    };
    bind(scope, &token, &mut issue)?;
    let audiences =
        if issue.audiences.is_empty() { scope.server.config.audiences().to_vec() } else { issue.audiences.clone() };
    let issued = scope.server.tokens.issue(&issue, scope.ctx.received).map_err(Status::internal)?;
    let metadata = json!({
        "name": scope.name,
        "namespace": scope.namespace,
        "creationTimestamp": object::time(scope.ctx.received),
    });
    token["metadata"] = metadata;
    token["spec"]["audiences"] = json!(audiences);
    token["status"] = json!({ "token": issued.token, "expirationTimestamp": object::time(issued.expiration) });
    let types = schema::builtin();
    if let Some(id) = types.id(SCHEMA) {
        schema::canonicalize(types, id, &mut token);
    }
    Ok(scope.value(StatusCode::CREATED, &token))
}

fn validate(token: &Value) -> ErrorList {
    let spec = Path::new("spec");
    let path = spec.child("expirationSeconds");
    let seconds = object::number(token, "/spec/expirationSeconds").unwrap_or(DEFAULT_SECONDS);
    let mut errors = ErrorList::new();
    if seconds < MIN_SECONDS {
        errors.push(Error::invalid(&path, seconds, "may not specify a duration less than 10 minutes"));
    }
    if seconds > MAX_SECONDS {
        errors.push(Error::invalid(&path, seconds, "may not specify a duration larger than 2^32 seconds"));
    }
    errors
}

/// Finds the object that the token is to be bound to: the token dies with it.
fn bind(scope: &Scope, token: &Value, issue: &mut IssueRequest) -> Result<(), Status> {
    let Some(reference) = token.pointer("/spec/boundObjectRef").filter(|reference| reference.is_object()) else {
        return Ok(());
    };
    let text = |key: &str| object::text(reference, key);
    let (api_version, kind, name, uid) = (text("/apiVersion"), text("/kind"), text("/name"), text("/uid"));
    let find = |plural: &str, namespace: &str| {
        let (kind, _) = api::find("", "v1", plural).ok_or_else(Status::not_found_path)?;
        let found = scope.server.registry.get(kind, namespace, name)?;
        if !uid.is_empty() && uid != object::uid(&found) {
            let resource = crate::registry::group_resource(kind);
            let message = format!(
                "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
            );
            return Err(Status::conflict(&resource, name, message));
        }
        Ok(found)
    };
    let bound =
        |found: &Value| Some(BoundObject { name: object::name(found).to_owned(), uid: object::uid(found).to_owned() });
    match (api_version, kind) {
        ("v1", "Pod") => {
            let pod = find("pods", &scope.namespace)?;
            let account = object::text(&pod, "/spec/serviceAccountName");
            if account != scope.name {
                return Err(Status::bad_request(format!(
                    "cannot bind token for serviceaccount {} to pod running with different serviceaccount name.",
                    machinery::go_text::quote(&scope.name)
                )));
            }
            issue.pod = bound(&pod);
            let node = object::text(&pod, "/spec/nodeName");
            if let Some((nodes, _)) = api::find("", "v1", "nodes").filter(|_| !node.is_empty()) {
                let uid = scope.server.registry.get(nodes, "", node).map(|node| object::uid(&node).to_owned());
                issue.node = Some(BoundObject { name: node.to_owned(), uid: uid.unwrap_or_default() });
            }
        }
        ("v1", "Secret") => issue.secret = bound(&find("secrets", &scope.namespace)?),
        ("v1", "Node") => issue.node = bound(&find("nodes", "")?),
        _ => {
            let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
            let message = format!("cannot bind token to object of type {group}/{version}, Kind={kind}");
            return Err(Status::bad_request(message));
        }
    }
    Ok(())
}
