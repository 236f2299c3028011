//! The APIServices of what this server itself serves: of its own groups once at the start, of the groups of
//! CustomResourceDefinitions as these come and go.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::apiextensions::custom_resource_definition::is_true;
use api::apiregistration::api_service::KIND;
use machinery::status::Status;
use serde_json::{Value, json};

use crate::Server;
use crate::registry::{DeleteOptions, NoAdmission, Registry, WriteOptions, object};

const LABEL: &str = "kube-aggregator.kubernetes.io/automanaged";
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// The priorities of groups of CustomResourceDefinitions: after all others.
const CUSTOM: (i32, i32) = (1000, 100);

/// Group, version, priority of the group, priority of the version.
const OWN: &[(&str, &str, i32, i32)] = &[
    ("", "v1", 18000, 1),
    ("apps", "v1", 17800, 15),
    ("events.k8s.io", "v1", 17750, 15),
    ("authentication.k8s.io", "v1", 17700, 15),
    ("authorization.k8s.io", "v1", 17600, 15),
    ("autoscaling", "v1", 17500, 15),
    ("autoscaling", "v2", 17500, 30),
    ("batch", "v1", 17400, 15),
    ("certificates.k8s.io", "v1", 17300, 15),
    ("networking.k8s.io", "v1", 17200, 15),
    ("policy", "v1", 17100, 15),
    ("rbac.authorization.k8s.io", "v1", 17000, 15),
    ("storage.k8s.io", "v1", 16800, 15),
    ("apiextensions.k8s.io", "v1", 16700, 15),
    ("admissionregistration.k8s.io", "v1", 16700, 15),
    ("scheduling.k8s.io", "v1", 16600, 15),
    ("coordination.k8s.io", "v1", 16500, 15),
    ("node.k8s.io", "v1", 16300, 15),
    ("discovery.k8s.io", "v1", 16200, 15),
    ("resource.k8s.io", "v1", 16200, 21),
    ("flowcontrol.apiserver.k8s.io", "v1", 16100, 21),
];

/// Where a group stands among all groups; what is not known is a user's.
pub fn group_priority(group: &str) -> i32 {
    // The aggregator's own group comes first of all.
    if group == KIND.group {
        return i32::MAX;
    }
    OWN.iter().find(|(own, ..)| *own == group).map_or(CUSTOM.0, |(_, _, priority, _)| *priority)
}

fn api_service(group: &str, version: &str, priorities: (i32, i32), managed: &str) -> Value {
    let mut spec = json!({ "version": version, "groupPriorityMinimum": priorities.0, "versionPriority": priorities.1 });
    if !group.is_empty() {
        spec["group"] = group.into();
    }
    json!({ "metadata": { "name": format!("{version}.{group}"), "labels": { LABEL: managed } }, "spec": spec })
}

/// Registers what is served, and goes on until the server ends.
pub async fn run(server: Arc<Server>) -> Result<(), Status> {
    for (group, version, of_group, of_version) in OWN {
        let is_served = api::ALL.iter().any(|kind| {
            kind.versions.iter().any(|own| own.group_of(kind) == *group && own.name == *version && !own.hidden)
        });
        if is_served {
            ensure(&server.registry, api_service(group, version, (*of_group, *of_version), "onstart")).await?;
        }
    }
    tokio::spawn(async move {
        let shutdown = server.shutdown.clone();
        shutdown.run_until_cancelled(follow_definitions(server)).await
    });
    Ok(())
}

async fn follow_definitions(server: Arc<Server>) {
    let Some((kind, _)) = api::find("apiextensions.k8s.io", "v1", "customresourcedefinitions") else { return };
    let registry = &server.registry;
    loop {
        let revision = registry.store().revision();
        match register_definitions(registry, &registry.list(kind, "")).await {
            Ok(()) => registry.change_since(&[kind], revision).await,
            Err(status) => {
                tracing::warn!(%status, "failed to register the groups of custom resources");
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
    }
}

/// One APIService a version that an established definition serves; those of versions that no longer are go.
async fn register_definitions(registry: &Registry, definitions: &[Value]) -> Result<(), Status> {
    let mut wanted: BTreeMap<String, Value> = BTreeMap::new();
    for definition in definitions.iter().filter(|definition| is_true(definition, "Established")) {
        let group = object::text(definition, "/spec/group");
        for version in object::list(definition, "/spec/versions").iter().filter(|version| version["served"] == true) {
            let version = object::text(version, "/name");
            wanted.insert(format!("{version}.{group}"), api_service(group, version, CUSTOM, "true"));
        }
    }
    for service in registry.list(&KIND, "") {
        let name = object::name(&service);
        let is_ours = service["metadata"]["labels"][LABEL] == "true";
        if is_ours && !wanted.contains_key(name) {
            match registry.delete(&KIND, "", name, &DeleteOptions::default(), &NoAdmission).await {
                Err(status) if !status.is_not_found() => return Err(status),
                _ => {}
            }
        }
    }
    for service in wanted.into_values() {
        ensure(registry, service).await?;
    }
    Ok(())
}

/// Creates an APIService unless one of its name is there.
async fn ensure(registry: &Registry, mut service: Value) -> Result<(), Status> {
    if registry.entry(&KIND, "", object::name(&service)).is_ok() {
        return Ok(());
    }
    KIND.default(&mut service)?;
    match registry.create(&KIND, "", service, &WriteOptions::default(), &NoAdmission).await {
        Err(status) if !status.is_already_exists() => Err(status),
        _ => Ok(()),
    }
}
