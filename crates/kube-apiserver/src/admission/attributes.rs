//! A request as those see it who judge it from outside: webhooks and policies. They are shown resources, kinds and objects
//! in a version of their choice, and a subresource as the kind of its body.

use api::{Kind, TypeRef, TypesRef, Version};
use machinery::schema::{self, FieldValidation};
use machinery::status::Status;
use serde_json::{Map, Value, json};

use super::{Operation, Review};
use crate::UserInfo;
use crate::registry::object;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gvk {
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gvr {
    pub group: &'static str,
    pub version: &'static str,
    pub resource: &'static str,
}

impl Operation {
    /// As rules and reviews name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Operation::Create => "CREATE",
            Operation::Update => "UPDATE",
            Operation::Delete => "DELETE",
            Operation::Connect => "CONNECT",
        }
    }
}

impl Gvk {
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    pub fn to_value(self) -> Value {
        json!({ "group": self.group, "version": self.version, "kind": self.kind })
    }
}

impl std::fmt::Display for Gvk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}, Kind={}", self.group, self.version, self.kind)
    }
}

impl Gvr {
    pub fn of(kind: &Kind, version: &'static Version) -> Self {
        Self { group: version.group_of(kind), version: version.name, resource: kind.plural }
    }

    pub fn to_value(self) -> Value {
        json!({ "group": self.group, "version": self.version, "resource": self.resource })
    }
}

impl Review<'_> {
    /// The version that the request was made in.
    pub fn version(&self) -> &'static Version {
        let info = &self.ctx.info;
        let asked = self.kind.version(&info.api_group, &info.api_version);
        asked.unwrap_or_else(|| self.kind.storage_version())
    }

    /// All versions in which the same objects can be had, the request's first.
    pub fn versions(&self) -> impl Iterator<Item = &'static Version> {
        let asked = self.version();
        let others = self.kind.versions.iter().filter(move |version| version.served && !std::ptr::eq(*version, asked));
        std::iter::once(asked).chain(others)
    }

    /// The kind of the object that the request is about: of a subresource, the kind of its body.
    pub fn kind_in(&self, version: &'static Version) -> Gvk {
        let own = Gvk { group: version.group_of(self.kind), version: version.name, kind: self.kind.kind };
        match self.subresource {
            "" | "status" => own,
            "scale" => Gvk { group: "autoscaling", version: "v1", kind: "Scale" },
            name => match self.kind.subresource(name) {
                Some(body) if !body.version.is_empty() => {
                    Gvk { group: body.group, version: body.version, kind: body.kind }
                }
                Some(body) => Gvk { kind: body.kind, ..own },
                None => own,
            },
        }
    }

    /// Whether the objects are of the kind itself, in storage form, and not bodies of a subresource.
    fn is_own(&self) -> bool {
        self.kind_in(self.version()).kind == self.kind.kind
    }

    /// The request as reviews and expressions see it, without its objects.
    pub fn request(&self, shown: &'static Version, object: Option<&Value>) -> Map<String, Value> {
        let asked = self.version();
        let mut request = Map::new();
        let mut set = |key: &str, value: Value| request.insert(key.to_owned(), value);
        set("kind", self.kind_in(shown).to_value());
        set("resource", Gvr::of(self.kind, shown).to_value());
        if !self.subresource.is_empty() {
            set("subResource", self.subresource.into());
        }
        set("requestKind", self.kind_in(asked).to_value());
        set("requestResource", Gvr::of(self.kind, asked).to_value());
        if !self.subresource.is_empty() {
            set("requestSubResource", self.subresource.into());
        }
        let (name, namespace) = (self.object_name(object), self.namespace_name(object));
        if !name.is_empty() {
            set("name", name.into());
        }
        if !namespace.is_empty() {
            set("namespace", namespace.into());
        }
        set("operation", self.operation.as_str().into());
        set("userInfo", user(self.user));
        set("dryRun", self.dry_run.into());
        set("options", options(self));
        request
    }

    /// An object as a version has it.
    pub fn object_in(&self, version: &'static Version, object: &Value) -> Value {
        let mut object = object.clone();
        if self.is_own()
            && let Some(convert) = &version.convert
        {
            (convert.from_storage)(&mut object);
        }
        if let Some(custom) = self.kind.custom.filter(|_| self.is_own()) {
            let converted = custom.convert(vec![object.clone()], version.name).ok().and_then(|mut all| all.pop());
            object = converted.unwrap_or(object);
        }
        let kind = self.kind_in(version);
        if let Some(fields) = object.as_object_mut() {
            fields.insert("apiVersion".to_owned(), kind.api_version().into());
            fields.insert("kind".to_owned(), kind.kind.into());
        }
        if let Some(id) = schema::builtin().by_kind(kind.group, kind.version, kind.kind) {
            schema::canonicalize(schema::builtin(), id, &mut object);
        }
        object
    }

    /// The way back, with the defaults of the version.
    pub fn object_from(&self, version: &'static Version, mut object: Value) -> Result<Value, Status> {
        if !self.is_own() {
            return Ok(object);
        }
        if !version.storage {
            if let Some(convert) = &version.convert {
                (convert.to_storage)(&mut object);
            }
            if let Some(default) = version.default {
                default(&mut object);
            }
        }
        match self.kind.custom {
            None => object["apiVersion"] = self.kind.storage_api_version().into(),
            Some(custom) => {
                let mut converted = custom.convert(vec![object], self.version().name)?;
                object = converted.pop().unwrap_or_default();
            }
        }
        self.kind.default(&mut object)?;
        Ok(object)
    }

    /// What the schema says of the objects in a version; nothing where it knows none.
    pub fn type_in(&self, version: &'static Version) -> Option<TypeRef> {
        if self.is_own() {
            return version.type_ref(self.kind);
        }
        let (kind, types) = (self.kind_in(version), schema::builtin());
        let id = types.by_kind(kind.group, kind.version, kind.kind)?;
        Some(TypeRef { types: TypesRef::Builtin(types), id })
    }

    /// A changed object of a version, as its type has it. What a custom kind knows is pruned where its objects are validated.
    pub fn decoded(&self, version: &'static Version, mut new: Value, strict: bool) -> Result<Value, String> {
        let kind = self.kind_in(version);
        if self.kind.custom.is_none()
            && let Some(own) = self.type_in(version)
        {
            let mode = if strict { FieldValidation::Strict } else { FieldValidation::Ignore };
            new = schema::decode(&own.types, own.id, new, mode).map_err(|error| error.to_string())?.value;
            schema::canonicalize(&own.types, own.id, &mut new);
        }
        new["apiVersion"] = kind.api_version().into();
        new["kind"] = kind.kind.into();
        Ok(new)
    }

    /// The changed object, in place of the current one. Nothing that changes objects moves them to another namespace.
    pub fn taken_over(&self, version: &'static Version, new: Value, current: Option<&Value>) -> Result<Value, Status> {
        if object::namespace(&new) != current.map_or("", object::namespace) {
            let message = "the namespace of the provided object does not match the namespace sent on the request";
            return Err(Status::bad_request(message));
        }
        self.object_from(version, new)
    }

    /// The name of the object, where it is known.
    pub fn object_name<'v>(&'v self, object: Option<&'v Value>) -> &'v str {
        if self.name.is_empty() { object.map_or("", object::name) } else { self.name }
    }

    /// The namespace that the request is in; a Namespace is in itself.
    pub fn namespace_name<'v>(&'v self, object: Option<&'v Value>) -> &'v str {
        if self.is_namespace() { self.object_name(object) } else { self.namespace }
    }

    pub fn is_namespace(&self) -> bool {
        self.kind.group.is_empty() && self.kind.plural == "namespaces"
    }

    /// The kinds that say who is asked: those are never asked about themselves, or nobody could repair them.
    pub fn is_exempt(&self) -> bool {
        self.kind.group == api::admissionregistration::GROUP
    }
}

fn user(user: &UserInfo) -> Value {
    let mut out = Map::new();
    let mut set = |key: &str, value: Value| out.insert(key.to_owned(), value);
    if !user.name.is_empty() {
        set("username", user.name.as_str().into());
    }
    if let Some(uid) = user.uid.as_deref().filter(|uid| !uid.is_empty()) {
        set("uid", uid.into());
    }
    if !user.groups.is_empty() {
        set("groups", user.groups.clone().into());
    }
    if !user.extra.is_empty() {
        set("extra", json!(user.extra));
    }
    Value::Object(out)
}

/// The options of the request, with their kind.
fn options(review: &Review<'_>) -> Value {
    let kind = match review.operation {
        Operation::Create => "CreateOptions",
        Operation::Update => "UpdateOptions",
        Operation::Delete => "DeleteOptions",
        Operation::Connect => return Value::Null,
    };
    let mut options = Map::new();
    options.insert("kind".to_owned(), kind.into());
    options.insert("apiVersion".to_owned(), "meta.k8s.io/v1".into());
    for (key, value) in review.options.as_object().into_iter().flatten() {
        options.entry(key.as_str()).or_insert_with(|| value.clone());
    }
    Value::Object(options)
}
