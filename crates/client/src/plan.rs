//! What a controller decides: intended writes with their preconditions, when to look again, and why.
//!
//! Order matters: writes are applied one after the other and the first failure ends the plan. Creates of one resource
//! that stand together go out in batches of 1, 2, 4, ... so that a refusal costs one request, not all; deletes that
//! stand together go out side by side.

use std::borrow::Cow;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use serde::Serialize;
use serde_json::{Value, json};

use crate::object::{MetaRef, Object};

/// A resource of the API.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Resource {
    /// Group, empty for core.
    pub group: Cow<'static, str>,
    /// Version.
    pub version: Cow<'static, str>,
    /// Plural name, as in paths.
    pub plural: Cow<'static, str>,
    /// Kind.
    pub kind: Cow<'static, str>,
}

impl Resource {
    /// The resource of a typed kind.
    pub fn of<K: kube::Resource<DynamicType = ()>>() -> Self {
        Self { group: K::group(&()), version: K::version(&()), plural: K::plural(&()), kind: K::kind(&()) }
    }

    /// Path of the collection, in a namespace if one is given.
    pub fn path(&self, namespace: &str) -> String {
        let root = match self.group.is_empty() {
            true => format!("/api/{}", self.version),
            false => format!("/apis/{}/{}", self.group, self.version),
        };
        match namespace.is_empty() {
            true => format!("{root}/{}", self.plural),
            false => format!("{root}/namespaces/{namespace}/{}", self.plural),
        }
    }

    /// "v1", "apps/v1".
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_string() } else { format!("{}/{}", self.group, self.version) }
    }

    /// "pods", "deployments.apps".
    pub fn group_resource(&self) -> String {
        if self.group.is_empty() { self.plural.to_string() } else { format!("{}.{}", self.plural, self.group) }
    }
}

/// One object, or for creates with a generated name the place for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Its resource.
    pub resource: Resource,
    /// Its namespace, empty for cluster-scoped kinds.
    pub namespace: String,
    /// Its name, empty if the server shall generate it.
    pub name: String,
    /// The uid it must have, empty if it is to be created.
    pub uid: String,
}

impl Target {
    /// The target that is this object.
    pub fn of<K: Object + kube::Resource<DynamicType = ()>>(object: &K) -> Self {
        Self::at(Resource::of::<K>(), object.meta_ref())
    }

    /// The target of this resource and metadata.
    pub fn at(resource: Resource, meta: MetaRef<'_>) -> Self {
        Self { resource, namespace: meta.namespace.to_owned(), name: meta.name.to_owned(), uid: meta.uid.to_owned() }
    }

    /// Path of the object.
    pub fn path(&self) -> String {
        format!("{}/{}", self.resource.path(&self.namespace), self.name)
    }
}

/// What happens to the dependents of a deleted object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// Deleted afterwards.
    Background,
    /// Deleted first.
    Foreground,
    /// Left alone.
    Orphan,
}

/// One intended write.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// POST. The body has a name or a generateName.
    Create { target: Target, body: Value },
    /// PUT of the whole object; the body's resourceVersion is the precondition.
    Update { target: Target, subresource: Option<&'static str>, body: Value },
    /// Merge patch; preconditions (uid, resourceVersion) stand in the patch.
    Patch { target: Target, subresource: Option<&'static str>, patch: Value },
    /// Server-side apply, by this field manager and against all others.
    Apply { target: Target, subresource: Option<&'static str>, manager: &'static str, body: Value },
    /// DELETE with uid and, if given, resourceVersion as preconditions.
    Delete {
        target: Target,
        resource_version: Option<u64>,
        grace_period_seconds: Option<i64>,
        propagation: Option<Propagation>,
    },
    /// DELETE of a whole collection in a namespace.
    DeleteCollection { resource: Resource, namespace: String },
    /// Only the event.
    Event(Note),
}

/// Normal or Warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    /// Nothing to worry about.
    Normal,
    /// Somebody should look.
    Warning,
}

impl EventType {
    /// As the API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            EventType::Normal => "Normal",
            EventType::Warning => "Warning",
        }
    }
}

/// An event to be recorded. In a note that follows a write, "{}" in the message stands for the written object's name
/// on success and for the server's message on failure.
#[derive(Clone, Debug, PartialEq)]
pub struct Note {
    /// What the event is about.
    pub about: ObjectReference,
    /// Normal or Warning.
    pub kind: EventType,
    /// Machine-readable reason.
    pub reason: &'static str,
    /// Text for people.
    pub message: String,
}

impl Note {
    /// A note about an object.
    pub fn about<K: Object + kube::Resource<DynamicType = ()>>(
        object: &K,
        kind: EventType,
        reason: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self { about: reference_to(object), kind, reason, message: message.into() }
    }
}

/// The reference that an event about this object carries.
pub fn reference_to<K: Object + kube::Resource<DynamicType = ()>>(object: &K) -> ObjectReference {
    let meta = object.meta_ref();
    let some = |value: &str| (!value.is_empty()).then(|| value.to_owned());
    ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        name: some(meta.name),
        namespace: some(meta.namespace),
        uid: some(meta.uid),
        resource_version: (meta.resource_version > 0).then(|| meta.resource_version.to_string()),
        field_path: None,
    }
}

/// A write and what to tell about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Intent {
    /// The write.
    pub action: Action,
    /// Recorded when it succeeds.
    pub on_success: Option<Note>,
    /// Recorded when it fails for other reasons than a stale cache.
    pub on_failure: Option<Note>,
}

impl Intent {
    /// A write without notes.
    pub fn new(action: Action) -> Self {
        Self { action, on_success: None, on_failure: None }
    }

    /// Creates an object (in its metadata's namespace).
    pub fn create<K: Object + Serialize + kube::Resource<DynamicType = ()>>(object: &K) -> Self {
        Self::new(Action::Create { target: Target::of(object), body: to_value(object) })
    }

    /// Replaces an object as read from a view and then changed.
    pub fn update<K: Object + Serialize + kube::Resource<DynamicType = ()>>(object: &K) -> Self {
        Self::new(Action::Update { target: Target::of(object), subresource: None, body: to_value(object) })
    }

    /// Replaces an object's status.
    pub fn update_status<K: Object + Serialize + kube::Resource<DynamicType = ()>>(object: &K) -> Self {
        Self::new(Action::Update { target: Target::of(object), subresource: Some("status"), body: to_value(object) })
    }

    /// Replaces an object's approval: the conditions that say whether it may be had.
    pub fn update_approval<K: Object + Serialize + kube::Resource<DynamicType = ()>>(object: &K) -> Self {
        Self::new(Action::Update { target: Target::of(object), subresource: Some("approval"), body: to_value(object) })
    }

    /// Merge-patches an object, on the condition that it still has the uid and the resource version of the view.
    pub fn patch<K: Object + kube::Resource<DynamicType = ()>>(object: &K, patch: Value) -> Self {
        Self::patch_of(Target::of(object), object.meta_ref().resource_version, None, patch)
    }

    /// Merge-patches an object's status under the same condition.
    pub fn patch_status<K: Object + kube::Resource<DynamicType = ()>>(object: &K, patch: Value) -> Self {
        Self::patch_of(Target::of(object), object.meta_ref().resource_version, Some("status"), patch)
    }

    /// Merge-patches any object on condition of its uid and this resource version.
    pub fn patch_of(
        target: Target,
        resource_version: u64,
        subresource: Option<&'static str>,
        mut patch: Value,
    ) -> Self {
        if let Some(patch) = patch.as_object_mut() {
            let metadata = patch.entry("metadata").or_insert_with(|| json!({}));
            metadata["uid"] = json!(target.uid);
            metadata["resourceVersion"] = json!(resource_version.to_string());
        }
        Self::new(Action::Patch { target, subresource, patch })
    }

    /// Applies a status as this field manager, which takes what it names from all others.
    pub fn apply_status<K: Object + kube::Resource<DynamicType = ()>>(
        object: &K,
        manager: &'static str,
        status: Value,
    ) -> Self {
        let target = Target::of(object);
        let mut metadata = json!({"name": target.name});
        if !target.namespace.is_empty() {
            metadata["namespace"] = json!(target.namespace);
        }
        let body = json!({
            "apiVersion": target.resource.api_version(), "kind": target.resource.kind, "metadata": metadata,
            "status": status,
        });
        Self::new(Action::Apply { target, subresource: Some("status"), manager, body })
    }

    /// Deletes an object on condition of its uid.
    pub fn delete<K: Object + kube::Resource<DynamicType = ()>>(object: &K) -> Self {
        Self::delete_of(Target::of(object))
    }

    /// Deletes any object on condition of its uid.
    pub fn delete_of(target: Target) -> Self {
        Self::new(Action::Delete { target, resource_version: None, grace_period_seconds: None, propagation: None })
    }

    /// Adds the condition that the object has not changed since this version.
    #[must_use]
    pub fn at_version(mut self, version: u64) -> Self {
        if let Action::Delete { resource_version, .. } = &mut self.action {
            *resource_version = Some(version);
        }
        self
    }

    /// Sets a deletion's grace period.
    #[must_use]
    pub fn with_grace(mut self, seconds: i64) -> Self {
        if let Action::Delete { grace_period_seconds, .. } = &mut self.action {
            *grace_period_seconds = Some(seconds);
        }
        self
    }

    /// Sets what happens to the dependents of a deleted object.
    #[must_use]
    pub fn with_propagation(mut self, policy: Propagation) -> Self {
        if let Action::Delete { propagation, .. } = &mut self.action {
            *propagation = Some(policy);
        }
        self
    }

    /// Tells about success.
    #[must_use]
    pub fn on_success(mut self, note: Note) -> Self {
        self.on_success = Some(note);
        self
    }

    /// Tells about failure.
    #[must_use]
    pub fn on_failure(mut self, note: Note) -> Self {
        self.on_failure = Some(note);
        self
    }
}

/// A decision. The empty plan means that all is as it should be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Writes in the order in which to make them.
    pub writes: Vec<Intent>,
    /// Look again after this time even if nothing changes.
    pub requeue_after: Option<Duration>,
    /// Why, in sentences.
    pub reasons: Vec<String>,
}

impl Plan {
    /// Nothing to do.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Adds a write.
    pub fn write(&mut self, intent: Intent) {
        self.writes.push(intent);
    }

    /// Adds an event.
    pub fn event(&mut self, note: Note) {
        self.writes.push(Intent::new(Action::Event(note)));
    }

    /// Adds a reason.
    pub fn because(&mut self, reason: impl Into<String>) {
        self.reasons.push(reason.into());
    }

    /// Looks again after this time at the latest.
    pub fn look_again_in(&mut self, time: Duration) {
        self.requeue_after = Some(self.requeue_after.map_or(time, |known| known.min(time)));
    }
}

/// The JSON of an API object. All typed kinds serialize: their maps have string keys.
fn to_value<K: Serialize>(object: &K) -> Value {
    serde_json::to_value(object).unwrap_or(Value::Null)
}
