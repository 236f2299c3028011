//! Writes the plan of the policy through the API itself, so that its objects are defaulted, validated and stored like
//! any other.

use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use http::Method;
use machinery::status::Status;
use serde_json::Value;

use super::{Write, plan};
use crate::authorization::own_client::{API, call, list};
use crate::{InProcess, Server};

/// Writes under way at once: the store makes them durable together.
const CONCURRENT: usize = 32;
/// Roles that change under our hands are looked at again.
const TRIES: usize = 5;

/// Makes the policy hold. What the namespaces need must be there.
pub async fn apply(server: &Arc<Server>) -> Result<(), Status> {
    let client = server.own_client();
    let kinds = [
        ("clusterroles", super::cluster_roles as fn() -> Vec<Value>),
        ("clusterrolebindings", super::cluster_role_bindings),
        ("roles", super::roles),
        ("rolebindings", super::role_bindings),
    ];
    for (resource, wanted) in kinds {
        for attempt in 1..=TRIES {
            let existing = list(&client, resource).await?;
            let writes = plan(wanted(), &existing);
            let result: Result<(), Status> = futures::stream::iter(writes)
                .map(|write| self::write(&client, resource, write))
                .buffer_unordered(CONCURRENT)
                .try_collect()
                .await;
            match result {
                Err(status) if attempt < TRIES && (status.is_conflict() || status.is_already_exists()) => {}
                result => {
                    result?;
                    break;
                }
            }
        }
    }
    Ok(())
}

async fn write(client: &InProcess, resource: &str, write: Write) -> Result<(), Status> {
    let paths = |object: &Value| {
        let text = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let collection = match text("/metadata/namespace").as_str() {
            "" => format!("{API}/{resource}"),
            namespace => format!("{API}/namespaces/{namespace}/{resource}"),
        };
        (format!("{collection}/{}", text("/metadata/name")), collection)
    };
    match write {
        Write::Create(object) => {
            let (_, collection) = paths(&object);
            call(client, Method::POST, collection, Some(object)).await?;
        }
        Write::Update(object) => {
            let (own, _) = paths(&object);
            call(client, Method::PUT, own, Some(object)).await?;
        }
        Write::Replace(object) => {
            let (own, collection) = paths(&object);
            match call(client, Method::DELETE, own, None).await {
                Err(status) if !status.is_not_found() => return Err(status),
                _ => call(client, Method::POST, collection, Some(object)).await?,
            };
        }
    }
    Ok(())
}
