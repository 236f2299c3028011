//! The API of RBAC as the server's own work uses it.

use http::Method;
use machinery::status::Status;
use serde_json::Value;

use crate::InProcess;
pub(super) use crate::own_client::call;

pub(super) const API: &str = "/apis/rbac.authorization.k8s.io/v1";

/// All objects of a resource, each with its kind.
pub(super) async fn list(client: &InProcess, resource: &str) -> Result<Vec<Value>, Status> {
    let mut list = call(client, Method::GET, format!("{API}/{resource}"), None).await?;
    let Some(Value::Array(mut items)) = list.get_mut("items").map(Value::take) else { return Ok(Vec::new()) };
    let kind = list["kind"].as_str().and_then(|kind| kind.strip_suffix("List")).unwrap_or_default().to_owned();
    for item in &mut items {
        // Items of a list do not say what they are; what is written back must.
        item["apiVersion"] = "rbac.authorization.k8s.io/v1".into();
        item["kind"] = kind.clone().into();
    }
    Ok(items)
}
