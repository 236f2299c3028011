//! ResourceClaims and their templates: who may ask for devices as an administrator, and who may say which devices a claim
//! has.
//!
//! The status of a claim has several writers: the scheduler says what was allocated and to whom, each driver what has become
//! of its own devices. So beside `resourceclaims/status` a writer needs `resourceclaims/binding` for the former, and for the
//! latter `resourceclaims/driver` of each driver whose entries change: with the verb `associated-node:update` on the claim's
//! own node, with `arbitrary-node:update` anywhere (or `patch`, as the request is).

use std::collections::{BTreeMap, BTreeSet};

use api::resource::ADMIN_ACCESS_LABEL;
use api::resource::resource_claim::device_key;
use api::value::semantically_equal;
use async_trait::async_trait;
use machinery::field::{Error, ErrorList, Path};
use serde_json::Value;

use super::{Registry, Strategy, object};
use crate::UserInfo;
use crate::registry::{Admit, Part};

/// Says on which node the pod runs whose token a service account uses.
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";
const RESULTS: &str = "/status/allocation/devices/results";

pub struct ResourceClaimStrategy;

#[async_trait]
impl Strategy for ResourceClaimStrategy {
    async fn check(
        &self,
        registry: &Registry,
        admit: &dyn Admit,
        part: Part,
        new: &Value,
        old: Option<&Value>,
    ) -> ErrorList {
        match old {
            None => admin_requests(registry, new, "/spec/devices/requests").into_iter().collect(),
            Some(old) if part.is_status() => {
                let mut errors: ErrorList = admin_results(registry, new, old).into_iter().collect();
                errors.extend(binding(admit, new, old).await);
                errors.extend(drivers(admit, new, old).await);
                errors
            }
            Some(_) => ErrorList::new(),
        }
    }

    fn returns_deleted(&self) -> bool {
        true
    }
}

pub struct ResourceClaimTemplateStrategy;

#[async_trait]
impl Strategy for ResourceClaimTemplateStrategy {
    async fn check(&self, registry: &Registry, _: &dyn Admit, _: Part, new: &Value, old: Option<&Value>) -> ErrorList {
        match old {
            None => admin_requests(registry, new, "/spec/spec/devices/requests").into_iter().collect(),
            Some(_) => ErrorList::new(),
        }
    }

    fn returns_deleted(&self) -> bool {
        true
    }
}

fn wants_admin_access(of: &Value) -> bool {
    of.get("adminAccess").and_then(Value::as_bool) == Some(true)
}

/// The first request that asks for more than its namespace allows. Upstream names the field so in templates too.
fn admin_requests(registry: &Registry, new: &Value, requests: &str) -> Option<Error> {
    let wants = |request: &Value| request.get("exactly").is_some_and(wants_admin_access);
    let at = object::list(new, requests).iter().position(wants)?;
    let path = Path::new("spec");
    let path = path.child("devices.requests");
    let path = path.index(at);
    admin_access(registry, object::namespace(new), &path.child("adminAccess"))
}

/// The same of what was allocated; what was granted once stays so.
fn admin_results(registry: &Registry, new: &Value, old: &Value) -> Option<Error> {
    if object::list(old, RESULTS).iter().any(wants_admin_access) {
        return None;
    }
    let at = object::list(new, RESULTS).iter().position(wants_admin_access)?;
    let path = Path::new("status");
    let path = path.child("allocation.devices.results");
    let path = path.index(at);
    admin_access(registry, object::namespace(new), &path.child("adminAccess"))
}

fn admin_access(registry: &Registry, namespace: &str, path: &Path<'_>) -> Option<Error> {
    let (namespaces, _) = api::find("", "v1", "namespaces")?;
    let namespace = match registry.get(namespaces, "", namespace) {
        Ok(namespace) => namespace,
        Err(status) => {
            let detail = format!("could not retrieve namespace to verify admin access: {}", status.message());
            return Some(Error::internal(path, detail));
        }
    };
    let label = namespace.pointer("/metadata/labels").and_then(|labels| labels.get(ADMIN_ACCESS_LABEL)?.as_str());
    let detail =
        format!("admin access to devices requires the `{ADMIN_ACCESS_LABEL}: true` label on the containing namespace");
    (label != Some("true")).then(|| Error::forbidden(path, detail))
}

/// Who allocates and reserves may do so in the whole cluster.
async fn binding(admit: &dyn Admit, new: &Value, old: &Value) -> Option<Error> {
    let same = |pointer: &str| semantically_equal(new.pointer(pointer), old.pointer(pointer));
    if same("/status/allocation") && same("/status/reservedFor") {
        return None;
    }
    let verb = admit.verb();
    let refusal = admit.check_access(verb, "binding", "", "").await.err()?;
    let detail = format!(
        "changing status.allocation or status.reservedFor requires resource=\"resourceclaims/binding\", verb=\"{verb}\" permission: {}",
        refusal.message()
    );
    Some(Error::forbidden(&Path::new("status"), detail))
}

async fn drivers(admit: &dyn Admit, new: &Value, old: &Value) -> ErrorList {
    let verb = admit.verb();
    let mut verbs = vec![format!("arbitrary-node:{verb}")];
    let node = allocated_node(new);
    if node.is_some() && node == admit.user().and_then(node_of) {
        verbs.insert(0, format!("associated-node:{verb}"));
    }
    let mut errors = ErrorList::new();
    for driver in changed_drivers(new, old) {
        let mut refusal = None;
        for verb in &verbs {
            match admit.check_access(verb, "driver", object::namespace(new), driver).await {
                Ok(()) => {
                    refusal = None;
                    break;
                }
                Err(status) => refusal = refusal.or(Some(status)),
            }
        }
        if let Some(refusal) = refusal {
            let detail = format!(
                "changing status.devices requires resource=\"resourceclaims/driver\", verb=\"[{}]\" permission: {}",
                verbs.join(" "),
                refusal.message()
            );
            let path = Path::new("status");
            errors.push(Error::forbidden(&path.child("devices"), detail));
        }
    }
    errors
}

/// The drivers whose entries came, went or changed.
fn changed_drivers<'v>(new: &'v Value, old: &'v Value) -> BTreeSet<&'v str> {
    let entries = |claim: &'v Value| -> BTreeMap<[&'v str; 4], &'v Value> {
        object::list(claim, "/status/devices").iter().map(|entry| (device_key(entry), entry)).collect()
    };
    let (now, before) = (entries(new), entries(old));
    let changed = now.iter().filter(|(key, entry)| !semantically_equal(Some(entry), before.get(*key).copied()));
    let gone = before.iter().filter(|(key, _)| !now.contains_key(*key));
    changed.chain(gone).map(|(key, _)| key[0]).collect()
}

/// The only node that the claim can be used on, where it is selected by its name.
fn allocated_node(claim: &Value) -> Option<&str> {
    let [term] = object::list(claim, "/status/allocation/nodeSelector/nodeSelectorTerms") else { return None };
    let ([], [field]) = (object::list(term, "/matchExpressions"), object::list(term, "/matchFields")) else {
        return None;
    };
    let [name] = object::list(field, "/values") else { return None };
    let by_name = object::text(field, "/key") == "metadata.name" && object::text(field, "/operator") == "In";
    name.as_str().filter(|name| by_name && !name.is_empty())
}

/// The node of a service account, which its token says.
fn node_of(user: &UserInfo) -> Option<&str> {
    user.as_service_account()?;
    let [node] = user.extra.get(NODE_NAME)?.as_slice() else { return None };
    machinery::names::is_dns1123_subdomain(node).is_empty().then_some(node)
}

#[cfg(test)]
mod tests;
