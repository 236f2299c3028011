//! Objects that are made when they are read. Nothing of them is stored, so nobody can watch or write them.

use std::sync::Arc;

use http::StatusCode;
use machinery::status::Status;
use serde_json::{Value, json};
use store::Entry;

use super::Scope;
use super::list::{self, Page};
use super::options::List;
use super::selector::Selector;
use crate::components::Finding;
use crate::registry::{Attrs, encode, keys, object};
use crate::{Response, Server};

pub async fn get(scope: &Scope) -> Result<Response, Status> {
    let all = component_statuses(&scope.server).await;
    let found = all.iter().find(|status| object::name(status) == scope.name);
    let found = found.ok_or_else(|| Status::unexpected(format!("Component not found: {}", scope.name)))?;
    scope.object(StatusCode::OK, &encode::encode_unwritten(scope.kind, found)?.into())
}

pub async fn list(scope: &Scope) -> Result<Response, Status> {
    List::parse(&scope.query, false)?;
    let selector = Selector::parse(scope)?;
    let mut entries: Vec<Arc<Entry<Attrs>>> = Vec::new();
    for status in component_statuses(&scope.server).await {
        let key = keys::object(scope.kind, "", object::name(&status));
        let entry = Entry::unstored(&key, encode::encode_unwritten(scope.kind, &status)?.into());
        if selector.matches(&entry) {
            entries.push(entry);
        }
    }
    list::answer(scope, Page { entries, revision: 0, next: None, remaining: None })
}

async fn component_statuses(server: &Server) -> Vec<Value> {
    let findings = server.components.findings().await;
    findings.into_iter().map(|(name, finding)| component_status(&name, finding)).collect()
}

fn component_status(name: &str, finding: Finding) -> Value {
    let status = if finding.is_ok() { "True" } else { "False" };
    let message = finding.unwrap_or_else(|reason| reason);
    let condition = json!({ "type": "Healthy", "status": status, "message": message });
    json!({ "metadata": { "name": name }, "conditions": [condition] })
}

#[cfg(test)]
mod tests {
    use crate::testing::{admin, call, call_with, server};

    const STATUSES: &str = "/api/v1/componentstatuses";

    #[tokio::test]
    async fn parts_of_the_control_plane_say_how_they_are() {
        let (server, _pki) = server().await;
        server.components.look_at("scheduler", || Ok(()));
        server.components.look_at("controller-manager", || Err("it is not running".to_owned()));
        let (code, warnings, list) = call_with(&server, admin(), "GET", STATUSES, "", "").await;
        assert_eq!((code, warnings), (200, vec!["v1 ComponentStatus is deprecated in v1.19+".to_owned()]));
        assert_eq!(list["metadata"], serde_json::json!({}));
        let items = list["items"].as_array().unwrap();
        let words = items.iter().map(|item| {
            let condition = &item["conditions"][0];
            ["/status", "/message"].map(|field| crate::registry::object::text(condition, field).to_owned())
        });
        let words: Vec<_> = words.collect();
        assert_eq!(words, [["False", "it is not running"], ["True", "ok"], ["True", "ok"]]);
        let (_, one) = call(&server, admin(), "GET", &format!("{STATUSES}/etcd-0"), "").await;
        assert_eq!((&one["kind"], &one["metadata"]["name"]), (&"ComponentStatus".into(), &"etcd-0".into()));
        let (_, chosen) =
            call(&server, admin(), "GET", &format!("{STATUSES}?fieldSelector=metadata.name=scheduler"), "").await;
        assert_eq!(chosen["items"].as_array().map(Vec::len), Some(1));
        let (code, missing) = call(&server, admin(), "GET", &format!("{STATUSES}/x"), "").await;
        assert_eq!((code, &missing["message"]), (500, &"Component not found: x".into()));
        assert_eq!(call(&server, admin(), "DELETE", &format!("{STATUSES}/etcd-0"), "").await.0, 405);
        server.shutdown.cancel();
    }

    #[tokio::test]
    async fn who_does_not_listen_is_not_well() {
        let (server, _pki) = server().await;
        let port = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap().port()
        };
        let reason = crate::components::ask(port).await.unwrap_err();
        assert_eq!(
            reason,
            format!("Get \"https://127.0.0.1:{port}/healthz\": dial tcp 127.0.0.1:{port}: connect: connection refused")
        );
        server.shutdown.cancel();
    }
}
