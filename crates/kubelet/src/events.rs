//! Events about pods and the node. Equal events become one with a count; an object that says too much is not heard:
//! 25 events at once, then one more every five minutes, as upstream's spam filter has it.

use std::{collections::HashMap, num::NonZeroUsize};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Event, EventSource, Node, ObjectReference, Pod},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::api::{Api, Patch, PatchParams, PostParams};
use tokio::sync::mpsc;

use crate::pod::{ContainerKind, PodExt, field_path};

const QUEUE_MAX: usize = 1000;
const REMEMBERED_MAX: usize = 4096;
const BURST: f64 = 25.0;
const REFILL_PER_SECOND: f64 = 1.0 / 300.0;

/// Normal or a warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Things as they should be.
    Normal,
    /// Something that somebody should look at.
    Warning,
}

#[derive(Debug)]
struct Record {
    about: ObjectReference,
    level: Level,
    reason: &'static str,
    message: String,
    at: Timestamp,
}

/// Takes events; never blocks, and drops them when the API server is too slow.
#[derive(Debug, Clone)]
pub struct Recorder {
    sender: mpsc::Sender<Record>,
}

impl Recorder {
    /// A recorder whose events are written by a task that ends with it.
    pub fn start(client: kube::Client, node_name: String) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        tokio::spawn(write(client, node_name, receiver));
        Self { sender }
    }

    /// An event about a pod, or about one of its containers.
    pub fn pod(
        &self,
        pod: &Pod,
        container: Option<(ContainerKind, &str)>,
        level: Level,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        let about = ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Pod".into()),
            name: Some(pod.name().into()),
            namespace: Some(pod.namespace().into()),
            uid: Some(pod.uid().into()),
            resource_version: pod.metadata.resource_version.clone(),
            field_path: container.map(|(kind, name)| field_path(kind, name)),
        };
        self.send(about, level, reason, message.into());
    }

    /// An event about the node.
    pub fn node(&self, node: &Node, level: Level, reason: &'static str, message: impl Into<String>) {
        let name = node.metadata.name.clone();
        let uid = node.metadata.uid.clone().or(name.clone());
        let about = ObjectReference { kind: Some("Node".into()), name, uid, ..Default::default() };
        self.send(about, level, reason, message.into());
    }

    fn send(&self, about: ObjectReference, level: Level, reason: &'static str, message: String) {
        let _ = self.sender.try_send(Record { about, level, reason, message, at: Timestamp::now() });
    }
}

struct Known {
    name: String,
    count: i32,
    seen: u64,
}

async fn write(client: kube::Client, node_name: String, mut receiver: mpsc::Receiver<Record>) {
    let mut known: HashMap<String, Known> = HashMap::new();
    let mut budgets: HashMap<String, (f64, Timestamp)> = HashMap::new();
    let mut turn = 0u64;
    while let Some(record) = receiver.recv().await {
        turn += 1;
        let object = record.about.uid.clone().unwrap_or_default();
        let budget = budgets.entry(object.clone()).or_insert((BURST, record.at));
        let passed = record.at.duration_since(budget.1).as_secs_f64();
        *budget = ((budget.0 + passed * REFILL_PER_SECOND).min(BURST), record.at);
        if budget.0 < 1.0 {
            continue;
        }
        budget.0 -= 1.0;
        let path = record.about.field_path.as_deref().unwrap_or_default();
        let key = format!("{object}\0{path}\0{}\0{}", record.reason, record.message);
        let namespace = record.about.namespace.clone().unwrap_or_else(|| "default".into());
        let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
        let mut repeated = false;
        if let Some(event) = known.get_mut(&key) {
            event.count += 1;
            event.seen = turn;
            let patch = serde_json::json!({"count": event.count, "lastTimestamp": Time(whole_seconds(record.at))});
            let written = api.patch(&event.name, &PatchParams::default(), &Patch::Strategic(patch)).await;
            // Events are short-lived: one that has expired is written anew.
            repeated = !matches!(written, Err(kube::Error::Api(status)) if status.code == 404);
        }
        if !repeated {
            let event = event(&record, &namespace, &node_name);
            let name = event.metadata.name.clone().unwrap_or_default();
            match api.create(&PostParams::default(), &event).await {
                Ok(_) => {
                    known.insert(key, Known { name, count: 1, seen: turn });
                }
                Err(error) => tracing::debug!(%error, reason = record.reason, "failed to write an event"),
            }
        }
        forget(&mut known, REMEMBERED_MAX);
        if budgets.len() > REMEMBERED_MAX {
            budgets.retain(|_, (tokens, _)| *tokens < BURST - 1.0);
        }
    }
}

fn forget(known: &mut HashMap<String, Known>, max: usize) {
    let max = NonZeroUsize::new(max).map_or(1, NonZeroUsize::get);
    if known.len() > max {
        let mut ages: Vec<u64> = known.values().map(|event| event.seen).collect();
        ages.sort_unstable();
        let limit = ages[ages.len() / 2];
        known.retain(|_, event| event.seen > limit);
    }
}

fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

fn event(record: &Record, namespace: &str, node_name: &str) -> Event {
    let at = Some(Time(whole_seconds(record.at)));
    let name = record.about.name.as_deref().unwrap_or_default();
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{name}.{:x}", record.at.as_nanosecond())),
            namespace: Some(namespace.into()),
            ..Default::default()
        },
        involved_object: record.about.clone(),
        reason: Some(record.reason.into()),
        message: Some(record.message.clone()),
        source: Some(EventSource { component: Some("kubelet".into()), host: Some(node_name.into()) }),
        first_timestamp: at.clone(),
        last_timestamp: at,
        count: Some(1),
        type_: Some(match record.level {
            Level::Normal => "Normal".into(),
            Level::Warning => "Warning".into(),
        }),
        reporting_component: Some("kubelet".into()),
        reporting_instance: Some(node_name.into()),
        ..Default::default()
    }
}
