//! Events of an object, and the other objects that its description shows. What may not be read is left out: a description
//! of less is better than none.

use machinery::labels::Selector;
use serde_json::Value;

use super::Related;
use super::text::Text;
use crate::api::Query;
use crate::commands::pod_selector;
use crate::context::Context;
use crate::selection::{Item, read_list};
use crate::value::{self, int, text};

pub async fn related(context: &Context, item: &Item) -> Related {
    let namespace = item.namespace.as_deref();
    let selector = || pod_selector(&item.object).ok();
    match value::kind(&item.object) {
        "Deployment" => {
            let sets = list(context, "replicasets.apps", namespace, selector(), "").await;
            let uid = text(&item.object, "metadata.uid");
            let others = sets
                .into_iter()
                .filter(|set| machinery::meta::controller(set).is_some_and(|owner| text(owner, "uid") == uid));
            Related { pods: Vec::new(), others: others.collect() }
        }
        "ReplicaSet" | "ReplicationController" => {
            let pods = list(context, "pods", namespace, selector(), "").await;
            let uid = text(&item.object, "metadata.uid");
            let pods = pods
                .into_iter()
                .filter(|pod| machinery::meta::controller(pod).is_some_and(|owner| text(owner, "uid") == uid));
            Related { pods: pods.collect(), others: Vec::new() }
        }
        "Service" => {
            let own = Selector::from_map([("kubernetes.io/service-name", item.name.as_str())]);
            Related {
                pods: Vec::new(),
                others: list(context, "endpointslices.discovery.k8s.io", namespace, Some(own), "").await,
            }
        }
        "Node" => {
            let fields = format!("spec.nodeName={},status.phase!=Succeeded,status.phase!=Failed", item.name);
            let named = format!("metadata.name={}", item.name);
            let lease = list(context, "leases.coordination.k8s.io", Some("kube-node-lease"), None, &named).await;
            Related { pods: list(context, "pods", None, None, &fields).await, others: lease }
        }
        "Namespace" => {
            let mut others = list(context, "resourcequotas", Some(&item.name), None, "").await;
            others.extend(list(context, "limitranges", Some(&item.name), None, "").await);
            Related { pods: Vec::new(), others }
        }
        _ => Related::default(),
    }
}

async fn list(
    context: &Context,
    word: &str,
    namespace: Option<&str>,
    selector: Option<Selector>,
    fields: &str,
) -> Vec<Value> {
    let Ok(discovery) = context.discovery().await else { return Vec::new() };
    let Ok(resource) = discovery.find(word) else { return Vec::new() };
    let query = Query::new(resource.collection(namespace))
        .maybe("labelSelector", selector.map(|selector| selector.to_string()))
        .maybe("fieldSelector", Some(fields));
    read_list(context, query).await.map(|(items, _)| items).unwrap_or_default()
}

/// The events about an object, oldest first.
pub async fn of(context: &Context, item: &Item) -> Vec<Value> {
    let mut fields = format!("involvedObject.name={},involvedObject.kind={}", item.name, value::kind(&item.object));
    let uid = text(&item.object, "metadata.uid");
    if let Some(namespace) = &item.namespace {
        fields.push_str(&format!(",involvedObject.namespace={namespace}"));
    }
    // Events of a node carry its name as its uid.
    if !uid.is_empty() && value::kind(&item.object) != "Node" {
        fields.push_str(&format!(",involvedObject.uid={uid}"));
    }
    let mut events = list(context, "events", item.namespace.as_deref(), None, &fields).await;
    events.sort_by_key(|event| last_seen(event).to_owned());
    events
}

fn last_seen(event: &Value) -> &str {
    ["series.lastObservedTime", "lastTimestamp", "eventTime", "firstTimestamp"]
        .into_iter()
        .map(|path| text(event, path))
        .find(|time| !time.is_empty())
        .unwrap_or("")
}

pub fn write(out: &mut Text, events: &[Value], now: jiff::Timestamp) {
    if events.is_empty() {
        out.field(0, "Events", "<none>");
        return;
    }
    out.line(0, "Events:");
    out.line(1, "Type\tReason\tAge\tFrom\tMessage");
    out.line(1, "----\t------\t----\t----\t-------");
    for event in events {
        let first = [text(event, "firstTimestamp"), text(event, "eventTime")].into_iter().find(|time| !time.is_empty());
        let age = |time: Option<&str>| machinery::time::age(time, now);
        let count = int(event, "series.count").max(int(event, "count"));
        let seen = last_seen(event);
        let interval = if count > 1 {
            format!("{} (x{count} over {})", age(Some(seen)), age(first))
        } else {
            age(first.or(Some(seen)))
        };
        let from = match text(event, "source.component") {
            "" => text(event, "reportingComponent"),
            component => component,
        };
        out.line(
            1,
            format!(
                "{}\t{}\t{interval}\t{from}\t{}",
                text(event, "type"),
                text(event, "reason"),
                text(event, "message").trim().replace(['\n', '\t'], " ")
            ),
        );
    }
}
