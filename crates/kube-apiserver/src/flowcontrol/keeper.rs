//! Keeps the objects of flow control: those that every cluster has, and the condition of each FlowSchema that says whether
//! its level exists.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use api::Kind;
use api::flowcontrol::{GROUP, bootstrap, flow_schema, priority_level_configuration};
use futures::future;
use machinery::go_text::quote;
use machinery::status::Status;
use serde_json::{Value, json};

use super::bootstrap::{Write, plan};
use crate::registry::{DeleteOptions, NoAdmission, Owner, Part, Registry, Replace, WriteOptions, now, object};
use crate::{InProcess, Server, own_client};

const PRODUCER: &str = "api-priority-and-fairness-config-producer-v1";
const CONSUMER: &str = "api-priority-and-fairness-config-consumer-v1";
const RETRY_AFTER: Duration = Duration::from_secs(1);
const LEVELS: &Kind = &priority_level_configuration::KIND;
const SCHEMAS: &Kind = &flow_schema::KIND;

/// Makes everything as it is to be, and keeps it so until the server ends.
pub async fn start(server: Arc<Server>) -> Result<(), Status> {
    reconcile(&server.registry, &server.own_client()).await?;
    tokio::spawn(async move {
        let shutdown = server.shutdown.clone();
        shutdown.run_until_cancelled(keep(server)).await
    });
    Ok(())
}

async fn keep(server: Arc<Server>) {
    let (registry, client) = (&server.registry, server.own_client());
    loop {
        let revision = registry.store().revision();
        match reconcile(registry, &client).await {
            Ok(()) => registry.change_since(&[LEVELS, SCHEMAS], revision).await,
            Err(status) => {
                tracing::warn!(%status, "failed to keep the objects of flow control");
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
    }
}

async fn reconcile(registry: &Registry, client: &InProcess) -> Result<(), Status> {
    for (kind, wanted) in [(LEVELS, bootstrap::priority_levels()), (SCHEMAS, bootstrap::flow_schemas())] {
        let writes = plan(wanted, &registry.list(kind, ""));
        future::try_join_all(writes.into_iter().map(|one| write(registry, kind, one))).await?;
    }
    let levels = registry.list(LEVELS, "");
    let levels: BTreeSet<&str> = levels.iter().map(object::name).collect();
    let outdated = registry.list(SCHEMAS, "");
    let outdated = outdated.iter().filter_map(|schema| Some((object::name(schema), dangling(schema, &levels)?)));
    future::try_join_all(outdated.map(|(name, condition)| set_condition(client, name, condition))).await?;
    Ok(())
}

/// What changed meanwhile is looked at again: the change is the next event.
async fn write(registry: &Registry, kind: &'static Kind, write: Write) -> Result<(), Status> {
    let owner = Owner { manager: PRODUCER.to_owned(), ..Owner::default() };
    let options = WriteOptions { owner, ..WriteOptions::default() };
    let result = match write {
        Write::Create(mut object) => {
            kind.default(&mut object)?;
            registry.create(kind, "", object, &options, &NoAdmission).await.map(drop)
        }
        Write::Update(object) => {
            let name = object::name(&object).to_owned();
            let mut change = Replace(object);
            registry.update(kind, "", &name, Part::WHOLE, &mut change, &options, &NoAdmission).await.map(drop)
        }
        Write::Delete(name) => {
            registry.delete(kind, "", &name, &DeleteOptions::default(), &NoAdmission).await.map(drop)
        }
    };
    match result {
        Err(status) if !(status.is_conflict() || status.is_already_exists() || status.is_not_found()) => Err(status),
        _ => Ok(()),
    }
}

/// The condition that a schema is to have; nothing where it has it.
fn dangling(schema: &Value, levels: &BTreeSet<&str>) -> Option<Value> {
    let level = object::text(schema, "/spec/priorityLevelConfiguration/name");
    let (status, reason, what) = match levels.contains(level) {
        true => ("False", "Found", "and it exists"),
        false => ("True", "NotFound", "but there is no such object"),
    };
    let message =
        format!("This FlowSchema references the PriorityLevelConfiguration object named {} {what}", quote(level));
    let wanted = [("type", "Dangling"), ("status", status), ("reason", reason), ("message", &message)];
    let has = |condition: &Value| wanted.iter().all(|(field, value)| condition[*field] == **value);
    if object::list(schema, "/status/conditions").iter().any(has) {
        return None;
    }
    Some(json!({
        "type": "Dangling",
        "status": status,
        "lastTransitionTime": object::time(now()),
        "reason": reason,
        "message": message,
    }))
}

async fn set_condition(client: &InProcess, name: &str, condition: Value) -> Result<(), Status> {
    let api_version = format!("{GROUP}/v1");
    let path = format!("/apis/{api_version}/{}/{name}/status", SCHEMAS.plural);
    let schema = json!({
        "apiVersion": api_version,
        "kind": SCHEMAS.kind,
        "metadata": { "name": name },
        "status": { "conditions": [condition] },
    });
    match own_client::apply(client, &path, CONSUMER, schema).await {
        Err(status) if !(status.is_conflict() || status.is_not_found()) => Err(status),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{admin, call, server};

    const LEVEL: &str = "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations";
    const SCHEMA: &str = "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas";

    #[test]
    fn a_condition_is_written_once() {
        let mut schema = json!({"metadata": {"name": "s"}, "spec": {"priorityLevelConfiguration": {"name": "p"}}});
        let missing = dangling(&schema, &BTreeSet::new()).expect("to be written");
        assert_eq!((&missing["status"], &missing["reason"]), (&Value::from("True"), &Value::from("NotFound")));
        schema["status"] = json!({"conditions": [missing]});
        assert_eq!(dangling(&schema, &BTreeSet::new()), None);
        let found = dangling(&schema, &BTreeSet::from(["p"])).expect("to be written");
        assert!(object::text(&found, "/message").ends_with("named \"p\" and it exists"));
    }

    /// Waits until `wanted` holds of what is at `path`.
    async fn eventually(server: &Arc<Server>, path: &str, wanted: impl Fn(u16, &Value) -> bool) {
        let limit = tokio::time::Instant::now() + Duration::from_secs(30);
        loop {
            let (code, body) = call(server, admin(), "GET", path, "").await;
            if wanted(code, &body) {
                return;
            }
            assert!(tokio::time::Instant::now() < limit, "{path}: {code} {body}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    #[tokio::test]
    async fn the_objects_that_every_cluster_has_are_kept() {
        let (server, _pki) = server().await;
        let (_, list) = call(&server, admin(), "GET", SCHEMA, "").await;
        let schemas = object::list(&list, "/items");
        assert_eq!(schemas.len(), 11);
        for schema in schemas {
            assert_eq!(schema["status"]["conditions"][0]["status"], "False", "{schema}");
            assert_eq!(schema["metadata"]["generation"], 1);
        }
        let (code, _) = call(&server, admin(), "DELETE", &format!("{SCHEMA}/catch-all"), "").await;
        assert_eq!(code, 200);
        eventually(&server, &format!("{SCHEMA}/catch-all"), |code, _| code == 200).await;
        let system = format!("{LEVEL}/system");
        let (_, mut level) = call(&server, admin(), "GET", &system, "").await;
        level["spec"]["limited"]["nominalConcurrencyShares"] = 1.into();
        let (code, _) = call(&server, admin(), "PUT", &system, &level.to_string()).await;
        assert_eq!(code, 200);
        let shares = |level: &Value| object::number(level, "/spec/limited/nominalConcurrencyShares");
        eventually(&server, &system, |_, level| shares(level) == Some(30)).await;
        server.shutdown.cancel();
    }

    #[tokio::test]
    async fn schemas_say_whether_their_level_exists() {
        let (server, _pki) = server().await;
        let schema = r#"{"metadata": {"name": "s"}, "spec": {"priorityLevelConfiguration": {"name": "p"}}}"#;
        assert_eq!(call(&server, admin(), "POST", SCHEMA, schema).await.0, 201);
        let own = format!("{SCHEMA}/s");
        let status = |schema: &Value| schema["status"]["conditions"][0]["status"].clone();
        eventually(&server, &own, |_, schema| status(schema) == "True").await;
        let level = r#"{"metadata": {"name": "p"}, "spec": {"type": "Limited", "limited": {"limitResponse": {"type": "Reject"}}}}"#;
        assert_eq!(call(&server, admin(), "POST", LEVEL, level).await.0, 201);
        eventually(&server, &own, |_, schema| status(schema) == "False").await;
        let (_, schema) = call(&server, admin(), "GET", &own, "").await;
        let managers = object::list(&schema, "/metadata/managedFields");
        assert!(
            managers.iter().any(|entry| entry["manager"] == CONSUMER && entry["operation"] == "Apply"),
            "{managers:?}"
        );
        server.shutdown.cancel();
    }
}
