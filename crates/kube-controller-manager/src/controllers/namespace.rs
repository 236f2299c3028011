//! Namespace deletion: empties a terminating namespace, pods first, and then gives it free. What is left is asked of the
//! server each time, because a namespace must not be released on an old view.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use client::object::of_object_meta;
use client::reflector::{Collection, list};
use client::{
    Action, ApiError, BoxFuture, Controller, Intent, Key, Object, Outside, Plan, Resource, Sources, Target, View,
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, NamespaceCondition, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde::Deserialize;
use serde_json::Value;

use crate::monitors::{Monitors, Node};

const FINALIZER: &str = "kubernetes";
/// What holds a namespace without telling (pods that take their time to stop) is looked at again after this time.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
const SOON: Duration = Duration::from_millis(100);

/// The controller.
pub struct Namespaces {
    /// Discovery, and the graph whose deletions wake it.
    pub monitors: Arc<Monitors>,
}

/// What a namespace holds, as the server says.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// Each resource that has something in it.
    pub remaining: Vec<Remaining>,
    /// What could not be found out.
    pub failures: Vec<String>,
    /// Whether discovery was complete.
    pub discovered: bool,
}

/// The objects of one resource.
#[derive(Clone, Debug)]
pub struct Remaining {
    /// The resource.
    pub resource: Resource,
    /// How many.
    pub count: usize,
    /// How many of them are not yet being deleted.
    pub undeleted: usize,
    /// How many carry each finalizer.
    pub finalizers: BTreeMap<String, usize>,
    /// Names, for resources that cannot be deleted as a collection.
    pub one_by_one: Option<Vec<(String, String)>>,
}

impl Controller for Namespaces {
    const NAME: &'static str = "namespace";

    fn sources(&self, sources: &mut Sources<'_>) {
        sources.on_own::<Namespace>();
        sources.on_store(self.monitors.graph.clone(), |view, change: &client::Change<'_, Node>| {
            let gone = change.old.filter(|node| change.new.is_none() && !node.namespace.is_empty())?;
            let namespaces = view.of::<Namespace>();
            let namespace = namespaces.find("", &gone.namespace)?;
            namespace.metadata.deletion_timestamp.is_some().then(|| namespace.key())
        });
        let monitors = self.monitors.clone();
        sources.wait_for(async move { monitors.wait_discovered().await });
    }

    fn observe<'a>(
        &'a self,
        outside: &'a Outside,
        key: &'a Key,
        view: &'a mut View,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        Box::pin(async move {
            let namespaces = view.of::<Namespace>();
            if namespaces.get(key).is_some_and(|namespace| is_ending(namespace)) {
                view.put(Arc::new(self.contents(outside, &key.name).await));
            }
            Ok(())
        })
    }

    fn reconcile(&self, view: &View, key: &Key, now: Timestamp) -> Plan {
        let mut plan = Plan::nothing();
        let namespaces = view.of::<Namespace>();
        let Some(namespace) = namespaces.get(key).filter(|namespace| is_ending(namespace)) else { return plan };
        let Some(contents) = view.extra::<Contents>() else { return plan };
        let mut updated = Namespace::clone(namespace);
        let status = updated.status.get_or_insert_default();
        status.phase = Some("Terminating".to_owned());
        let conditions = conditions(&contents, status.conditions.take().unwrap_or_default(), now);
        status.conditions = Some(conditions);
        if contents.remaining.is_empty() && contents.failures.is_empty() && contents.discovered {
            plan.because("nothing is left: giving the namespace free");
            plan.write(finalize(&updated));
            return plan;
        }
        // Pods go first: what they use must outlive them.
        let pods = Resource::of::<Pod>();
        let pods_left = contents.remaining.iter().any(|remaining| remaining.resource == pods);
        for remaining in contents.remaining.iter().filter(|remaining| !pods_left || remaining.resource == pods) {
            if remaining.undeleted == 0 {
                continue;
            }
            match &remaining.one_by_one {
                None => plan.write(Intent::new(Action::DeleteCollection {
                    resource: remaining.resource.clone(),
                    namespace: key.name.to_string(),
                })),
                Some(names) => plan.writes.extend(names.iter().map(|(name, uid)| {
                    Intent::delete_of(Target {
                        resource: remaining.resource.clone(),
                        namespace: key.name.to_string(),
                        name: name.clone(),
                        uid: uid.clone(),
                    })
                })),
            }
        }
        plan.because(format!("{} resources have something left", contents.remaining.len()));
        let asks = !plan.writes.is_empty();
        if updated.status != namespace.status && !asks {
            plan.write(Intent::update_status(&updated));
        }
        // What was just asked to go is mostly gone at once, and its going wakes this key; this is for what makes no noise.
        plan.look_again_in(if asks { SOON } else { LOOK_AGAIN });
        plan
    }
}

fn is_ending(namespace: &Namespace) -> bool {
    namespace.metadata.deletion_timestamp.is_some()
        && namespace
            .spec
            .iter()
            .flat_map(|spec| spec.finalizers.iter().flatten())
            .any(|finalizer| finalizer == FINALIZER)
}

fn finalize(namespace: &Namespace) -> Intent {
    let mut released = namespace.clone();
    if let Some(finalizers) = released.spec.as_mut().and_then(|spec| spec.finalizers.as_mut()) {
        finalizers.retain(|finalizer| finalizer != FINALIZER);
    }
    let body = serde_json::to_value(&released).unwrap_or(Value::Null);
    Intent::new(Action::Update { target: Target::of(namespace), subresource: Some("finalize"), body })
}

/// The metadata of one object.
#[derive(Deserialize)]
struct Partial {
    metadata: ObjectMeta,
}

impl Object for Partial {
    fn meta_ref(&self) -> client::MetaRef<'_> {
        of_object_meta(&self.metadata)
    }
}

impl Namespaces {
    async fn contents(&self, outside: &Outside, namespace: &str) -> Contents {
        let discovered = self.monitors.discovered();
        let mut contents = Contents { discovered: discovered.complete, ..Default::default() };
        for served in
            discovered.resources.iter().filter(|served| served.namespaced && served.can("list") && served.can("delete"))
        {
            let place = Collection { metadata_only: true, ..Collection::all(served.resource.path(namespace)) };
            match list::<Partial>(&outside.client, &place).await {
                Ok((objects, _)) if objects.is_empty() => {}
                Ok((objects, _)) => {
                    contents.remaining.push(remaining(&served.resource, &objects, served.can("deletecollection")))
                }
                // A resource that is no longer served has nothing left.
                Err(error) if error.is_not_found() || error.code() == 405 => {}
                Err(error) => {
                    contents.failures.push(format!("unable to list {}: {error}", served.resource.group_resource()))
                }
            }
        }
        contents
    }
}

fn remaining(resource: &Resource, objects: &[Partial], as_collection: bool) -> Remaining {
    let mut finalizers = BTreeMap::new();
    for finalizer in objects.iter().flat_map(|object| object.meta_ref().finalizers) {
        *finalizers.entry(finalizer.clone()).or_default() += 1;
    }
    let undeleted = || objects.iter().map(|object| object.meta_ref()).filter(|meta| !meta.deleting);
    Remaining {
        resource: resource.clone(),
        count: objects.len(),
        undeleted: undeleted().count(),
        finalizers,
        one_by_one: (!as_collection)
            .then(|| undeleted().map(|meta| (meta.name.to_owned(), meta.uid.to_owned())).collect()),
    }
}

fn conditions(contents: &Contents, known: Vec<NamespaceCondition>, now: Timestamp) -> Vec<NamespaceCondition> {
    let counts = contents.remaining.iter().map(|remaining| {
        format!("{}. has {} resource instances", remaining.resource.group_resource(), remaining.count)
    });
    let mut finalizers: BTreeMap<&str, usize> = BTreeMap::new();
    for (finalizer, count) in contents.remaining.iter().flat_map(|remaining| &remaining.finalizers) {
        *finalizers.entry(finalizer).or_default() += count;
    }
    let held = finalizers.iter().map(|(finalizer, count)| format!("{finalizer} in {count} resource instances"));
    let mut counts: Vec<String> = counts.collect();
    counts.sort();
    let (counts, held) = (counts.join(", "), held.collect::<Vec<_>>().join(", "));
    let failures = contents.failures.join(", ");
    let list = |empty: bool, good: (&'static str, &str), bad: (&'static str, String)| match empty {
        true => ("False", good.0, good.1.to_owned()),
        false => ("True", bad.0, bad.1),
    };
    let wanted = [
        (
            "NamespaceDeletionDiscoveryFailure",
            list(
                contents.discovered,
                ("ResourcesDiscovered", "All resources successfully discovered"),
                ("DiscoveryFailed", "Discovery failed for some groups".to_owned()),
            ),
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            list(true, ("ParsedGroupVersions", "All legacy kube types successfully parsed"), ("", String::new())),
        ),
        (
            "NamespaceDeletionContentFailure",
            list(
                failures.is_empty(),
                ("ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
                (
                    "ContentDeletionFailed",
                    format!("Failed to delete all resource types, {} remaining: {failures}", contents.failures.len()),
                ),
            ),
        ),
        (
            "NamespaceContentRemaining",
            list(
                counts.is_empty(),
                ("ContentRemoved", "All content successfully removed"),
                ("SomeResourcesRemain", format!("Some resources are remaining: {counts}")),
            ),
        ),
        (
            "NamespaceFinalizersRemaining",
            list(
                held.is_empty(),
                ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
                ("SomeFinalizersRemain", format!("Some content in the namespace has finalizers remaining: {held}")),
            ),
        ),
    ];
    let mut conditions = known;
    for (kind, (status, reason, message)) in wanted {
        let fresh = NamespaceCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message),
            last_transition_time: Some(Time(now)),
        };
        match conditions.iter_mut().find(|condition| condition.type_ == kind) {
            None => conditions.push(fresh),
            Some(known) => {
                let since = if known.status == fresh.status { known.last_transition_time.clone() } else { None };
                *known =
                    NamespaceCondition { last_transition_time: since.or(fresh.last_transition_time.clone()), ..fresh };
            }
        }
    }
    conditions
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, body, lines, object};
    use serde_json::json;

    fn remaining(plural: &'static str, count: usize, undeleted: usize) -> Remaining {
        let resource = Resource {
            group: "".into(),
            version: "v1".into(),
            plural: plural.into(),
            kind: if plural == "pods" { "Pod" } else { "ConfigMap" }.into(),
        };
        let finalizers = if undeleted < count { [("e.com/f".to_owned(), 1)].into() } else { BTreeMap::new() };
        Remaining { resource, count, undeleted, finalizers, one_by_one: None }
    }

    fn plan(contents: Contents) -> Plan {
        let namespace: Namespace =
            object(json!({"metadata": {"name": "n", "namespace": "", "deletionTimestamp": "1970-01-01T00:00:00Z"},
            "spec": {"finalizers": ["kubernetes", "a.b/c"]}, "status": {"phase": "Terminating"}}));
        let controller = Namespaces { monitors: Monitors::new() };
        controller.reconcile(&View::new().with([namespace]).with_extra(contents), &Key::cluster("n"), at(9))
    }

    fn contents(remaining: Vec<Remaining>) -> Contents {
        Contents { remaining, failures: Vec::new(), discovered: true }
    }

    #[test]
    fn pods_go_before_the_rest_and_an_empty_namespace_is_released() {
        assert_eq!(
            lines(&plan(contents(vec![remaining("configmaps", 1, 1), remaining("pods", 2, 2)]))),
            ["deletecollection pods n"]
        );
        assert_eq!(lines(&plan(contents(vec![remaining("configmaps", 1, 1)]))), ["deletecollection configmaps n"]);
        let released = plan(contents(vec![]));
        assert_eq!(lines(&released), ["update namespaces/finalize /n"]);
        assert_eq!(body(&released, 0)["spec"]["finalizers"], json!(["a.b/c"]));
    }

    #[test]
    fn what_stays_is_shown_and_nothing_is_released_on_doubt() {
        let held = plan(contents(vec![remaining("configmaps", 2, 0)]));
        assert_eq!(lines(&held), ["update namespaces/status /n"]);
        let shown: Vec<String> = body(&held, 0)["status"]["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|condition| {
                format!(
                    "{} {} {}",
                    condition["type"].as_str().unwrap(),
                    condition["status"].as_str().unwrap(),
                    condition["message"].as_str().unwrap()
                )
            })
            .collect();
        assert_eq!(
            shown[3],
            "NamespaceContentRemaining True Some resources are remaining: configmaps. has 2 resource instances"
        );
        assert_eq!(
            shown[4],
            "NamespaceFinalizersRemaining True Some content in the namespace has finalizers remaining: e.com/f in 1 resource instances"
        );
        let doubt =
            plan(Contents { remaining: vec![], failures: vec!["unable to list x".to_owned()], discovered: true });
        assert_eq!(lines(&doubt), ["update namespaces/status /n"]);
        let undiscovered = plan(Contents { discovered: false, ..Default::default() });
        assert_eq!(lines(&undiscovered), ["update namespaces/status /n"]);
    }
}
