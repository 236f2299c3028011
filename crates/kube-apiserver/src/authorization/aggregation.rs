//! Aggregated ClusterRoles: the rules of such a role are the rules of all ClusterRoles that its selectors choose, in
//! the order of their names, each rule once.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use machinery::labels::Selector;
use machinery::status::Status;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::GROUP;
use super::own_client::{API, call, list};
use crate::{InProcess, Server, UserInfo};

/// The wait after a failure, so that one that lasts does not keep the server busy.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The rules that an aggregated ClusterRole is to have, or `None` when the role does not aggregate.
pub fn aggregated_rules(role: &Value, all: &[Value]) -> Option<Vec<Value>> {
    let selectors = role.pointer("/aggregationRule/clusterRoleSelectors")?.as_array()?;
    let mut rules: Vec<Value> = Vec::new();
    for selector in selectors {
        // A selector that cannot be read selects nothing: it must not widen the role.
        let Ok(selector) = Selector::from_label_selector(selector) else { continue };
        let mut chosen: Vec<&Value> = all.iter().filter(|other| name(other) != name(role)).collect();
        chosen.retain(|other| {
            let labels = other.pointer("/metadata/labels");
            selector.matches(|key| labels.and_then(|labels| labels.get(key)).and_then(Value::as_str))
        });
        chosen.sort_by_key(|other| name(other));
        for rule in chosen.into_iter().filter_map(|other| other.get("rules")?.as_array()).flatten() {
            if !rules.contains(rule) {
                rules.push(rule.clone());
            }
        }
    }
    Some(rules)
}

/// The aggregated roles whose rules are out of date, with the rules they are to have. What one gathers can be an
/// aggregate itself, so this is repeated on its own result until nothing changes.
pub fn outdated(all: &[Value]) -> Vec<Value> {
    let mut roles = all.to_vec();
    let mut changed: Vec<Value> = Vec::new();
    // A chain of aggregates cannot be longer than there are roles; a circle of them settles too, as rules only grow.
    for _ in 0..=roles.len() {
        let mut settled = true;
        for at in 0..roles.len() {
            let Some(rules) = aggregated_rules(&roles[at], &roles) else { continue };
            let current = roles[at].get("rules").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            if current == rules {
                continue;
            }
            settled = false;
            roles[at]["rules"] = Value::Array(rules);
            changed.retain(|role| name(role) != name(&roles[at]));
            changed.push(roles[at].clone());
        }
        if settled {
            break;
        }
    }
    changed
}

/// Keeps aggregated roles up to date, whoever writes roles, until the shutdown.
pub(crate) async fn run(server: Arc<Server>, shutdown: CancellationToken) {
    let Some((kind, _)) = api::find(GROUP, "v1", "clusterroles") else { return };
    let user = UserInfo::service_account("kube-system", "clusterrole-aggregation-controller", None);
    let client = server.in_process(user);
    let work = async {
        loop {
            let revision = server.registry.store().revision();
            match reconcile(&client).await {
                Ok(()) => server.registry.change_since(&[kind], revision).await,
                Err(status) => {
                    tracing::warn!(%status, "failed to aggregate cluster roles");
                    tokio::time::sleep(RETRY_AFTER).await;
                }
            }
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = work => {}
    }
}

async fn reconcile(client: &InProcess) -> Result<(), Status> {
    for role in outdated(&list(client, "clusterroles").await?) {
        let path = format!("{API}/clusterroles/{}", name(&role));
        match call(client, Method::PUT, path, Some(role)).await {
            // Somebody was faster: their write is the next event.
            Err(status) if !status.is_conflict() && !status.is_not_found() => return Err(status),
            _ => {}
        }
    }
    Ok(())
}

fn name(role: &Value) -> &str {
    role.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
}
