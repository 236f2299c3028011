//! scale: the one number of a workload, in the same form for all kinds that have it.

use api::{Kind, ScaleRef};
use async_trait::async_trait;
use http::{Method, StatusCode};
use machinery::field::{Error, Path};
use machinery::go_text;
use machinery::gvk::GroupKind;
use machinery::patch::apply::{Managed, Place, check_config};
use machinery::schema::{self, FieldValidation};
use machinery::status::Status;
use serde_json::{Map, Value, json};

use crate::admission::Operation;
use crate::endpoints::apply::{self, Config};
use crate::endpoints::body::{self, Expected};
use crate::endpoints::options::Write;
use crate::endpoints::patch::{self, PatchType};
use crate::endpoints::{Scope, as_admit};
use crate::registry::{Admit, Change, Owner, Part, encode, group_resource, managed_fields, object};
use crate::{Body, Response};

const SCHEMA: &str = "io.k8s.api.autoscaling.v1.Scale";
const API_VERSION: &str = "autoscaling/v1";
/// Stands for the number of a custom object that has none.
const NO_REPLICAS: i64 = i32::MIN as i64;

pub async fn serve(scope: &Scope, scale: &ScaleRef, method: &Method, request: Body) -> Result<Response, Status> {
    let registry = &scope.server.registry;
    let (edit, write) = match *method {
        Method::GET | Method::HEAD => {
            let entry = registry.entry(scope.kind, &scope.namespace, &scope.name)?;
            let object = encode::in_version(scope.kind, scope.version, encode::decode(&entry.value)?)?;
            if scope.kind.custom.is_some() && object::number(&object, &scale.spec_replicas).is_none() {
                let field = go_text::quote(&field(scale));
                return Err(Status::internal(format!("the spec replicas field {field} does not exist")));
            }
            return answer(scope, &of(scale, &object));
        }
        Method::PUT => {
            let bytes = body::read(scope, request).await?;
            let write = Write::parse(scope, "UpdateOptions")?;
            let given = body::decode(scope, &bytes, &expected(), write.field_validation)?;
            body::check_name(scope, &given)?;
            (Edit::Put(given), write)
        }
        Method::PATCH => {
            let bytes = body::read(scope, request).await?;
            if body::media_type(&scope.content_type) == apply::MEDIA_TYPE {
                let write = Write::parse_apply(scope)?;
                let config = apply::Config::parse(scope, &bytes, write.field_validation);
                (Edit::Apply(config, write.options.owner.clone()), write)
            } else {
                let kind = PatchType::of(&scope.content_type, scope.kind.custom.is_some())?;
                let write = Write::parse(scope, "PatchOptions")?;
                (Edit::Patch(kind, bytes, write.field_validation), write)
            }
        }
        _ => return Err(Status::method_not_allowed()),
    };
    registry.entry(scope.kind, &scope.namespace, &scope.name)?;
    let mut change = Rescale { scope, scale, edit };
    let admission = scope.admission("scale", &scope.name, write.options.dry_run);
    let admission = AsScale { scale, inner: as_admit(&admission) };
    let outcome = registry
        .update(scope.kind, &scope.namespace, &scope.name, Part::SCALE, &mut change, &write.options, &admission)
        .await?;
    let written = encode::in_version(scope.kind, scope.version, encode::decode(&outcome.bytes)?)?;
    answer(scope, &of(scale, &written))
}

/// Where a custom kind has its number, as its definition says it.
fn field(scale: &ScaleRef) -> String {
    scale.spec_replicas.replace('/', ".").replace("~1", "/").replace("~0", "~")
}

fn expected() -> Expected<'static> {
    Expected::builtin("Scale", API_VERSION, SCHEMA)
}

fn answer(scope: &Scope, scale: &Value) -> Result<Response, Status> {
    let kind = &api::autoscaling::scale::KIND;
    let shaped = scope.output.shape_object(scope, (kind, kind.storage_version()), scale, scale.clone())?;
    Ok(scope.value(StatusCode::OK, &shaped))
}

/// The Scale of an object.
fn of(scale: &ScaleRef, object: &Value) -> Value {
    let mut metadata = Map::new();
    for key in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = object.pointer(&format!("/metadata/{key}")) {
            metadata.insert(key.to_owned(), value.clone());
        }
    }
    let number = |pointer: &str| object::number(object, pointer).unwrap_or(0);
    let mut value = json!({
        "kind": "Scale",
        "apiVersion": API_VERSION,
        "metadata": metadata,
        "spec": { "replicas": number(&scale.spec_replicas) },
        "status": { "replicas": number(&scale.status_replicas), "selector": scale.selector(object) },
    });
    let types = schema::builtin();
    if let Some(id) = types.id(SCHEMA) {
        schema::canonicalize(types, id, &mut value);
    }
    value
}

/// Admission of a scale is admission of the Scale, not of what is scaled.
struct AsScale<'a> {
    scale: &'a ScaleRef,
    inner: &'a dyn Admit,
}

#[async_trait]
impl Admit for AsScale<'_> {
    fn warn(&self, text: String) {
        self.inner.warn(text);
    }

    async fn mutate(
        &self,
        kind: &'static Kind,
        operation: Operation,
        new: &mut Value,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        let mut shown = of(self.scale, new);
        let old = old.map(|old| of(self.scale, old));
        self.inner.mutate(kind, operation, &mut shown, old.as_ref()).await?;
        let replicas = object::number(&shown, "/spec/replicas").unwrap_or(0);
        if replicas != object::number(new, &self.scale.spec_replicas).unwrap_or(0) {
            set_at(new, &self.scale.spec_replicas, replicas.into());
        }
        Ok(())
    }

    async fn validate(
        &self,
        kind: &'static Kind,
        operation: Operation,
        new: Option<&Value>,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        let (new, old) = (new.map(|new| of(self.scale, new)), old.map(|old| of(self.scale, old)));
        self.inner.validate(kind, operation, new.as_ref(), old.as_ref()).await
    }
}

enum Edit {
    Put(Value),
    Patch(PatchType, bytes::Bytes, FieldValidation),
    Apply(Result<Config, Status>, Owner),
}

struct Rescale<'s> {
    scope: &'s Scope,
    scale: &'s ScaleRef,
    edit: Edit,
}

impl Change for Rescale<'_> {
    fn apply(&mut self, current: Option<&Value>) -> Result<Value, Status> {
        let Some(current) = current else { return Err(Status::not_found_path()) };
        let mut managed = None;
        let given = match &self.edit {
            Edit::Put(given) => given.clone(),
            Edit::Patch(kind, bytes, mode) => {
                let mut shown = of(self.scale, current);
                // A number that is not there is none that a patch could leave as it is.
                let is_missing = object::number(current, &self.scale.spec_replicas).is_none();
                if is_missing && self.scope.kind.custom.is_some() {
                    shown["spec"]["replicas"] = NO_REPLICAS.into();
                }
                patch::patched(self.scope, *kind, bytes, shown, &expected(), *mode)?
            }
            Edit::Apply(config, owner) => {
                let (given, after) = self.applied(config.as_ref().map_err(Status::clone)?, owner, current)?;
                managed = Some(after);
                given
            }
        };
        body::check_name(self.scope, &given)?;
        let replicas = object::number(&given, "/spec/replicas").unwrap_or(0);
        if replicas == NO_REPLICAS {
            let field = go_text::quote(&field(self.scale));
            return Err(Status::bad_request(format!("the spec replicas field {field} cannot be empty")));
        }
        if replicas < 0 {
            let spec = Path::new("spec");
            let error = Error::invalid(&spec.child("replicas"), replicas, "must be greater than or equal to 0");
            return Err(Status::invalid(&GroupKind::new("autoscaling", "Scale"), &self.scope.name, vec![error]));
        }
        let (uid, own) = (object::uid(&given), object::uid(current));
        if !uid.is_empty() && uid != own {
            let reason = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {own}");
            return Err(Status::conflict(&group_resource(self.scope.kind), &self.scope.name, &reason));
        }
        let mut new = current.clone();
        // A Scale without a version sets the number whatever the object has become.
        let version = object::resource_version(&given);
        if !version.is_empty() || self.scope.kind.custom.is_none() {
            object::set_metadata(&mut new, "resourceVersion", (!version.is_empty()).then(|| version.into()));
        }
        set_at(&mut new, &self.scale.spec_replicas, replicas.into());
        if let Some(managed) = managed {
            managed_fields::set(&mut new, &managed);
        }
        Ok(new)
    }
}

impl Rescale<'_> {
    /// An applied Scale is an applied object that says nothing but its replicas.
    fn applied(&self, config: &Config, owner: &Owner, current: &Value) -> Result<(Value, Managed), Status> {
        let scope = self.scope;
        config.check_type(API_VERSION, "Scale")?;
        if let Some(own) = expected().type_ref() {
            check_config(Place::root(&own.types, own.id), &config.value)?;
        }
        let api_version = scope.version.api_version(scope.kind);
        let mut wanted = json!({ "apiVersion": api_version, "kind": scope.kind.kind });
        if let Some(replicas) = config.value.pointer("/spec/replicas").filter(|replicas| !replicas.is_null()) {
            set_at(&mut wanted, &self.scale.spec_replicas, replicas.clone());
        }
        let live = apply::versioned(scope, current);
        let applied = apply::merged(scope, owner, Some(current), Some(&live), &wanted, apply::is_forced(scope))?;
        config.check_duplicates(scope)?;
        let replicas = applied.object.as_ref().unwrap_or(&live).pointer(&self.scale.spec_replicas).cloned();
        let metadata = config.value.get("metadata").cloned();
        Ok((json!({ "metadata": metadata, "spec": { "replicas": replicas } }), applied.managed))
    }
}

/// Sets the value at a JSON pointer, making the maps on the way.
fn set_at(object: &mut Value, pointer: &str, value: Value) {
    let Some((parent, field)) = pointer.rsplit_once('/') else { return };
    let parent = parent.trim_start_matches('/').split('/').fold(object, |at, key| {
        object::map_mut(at, key);
        &mut at[key]
    });
    parent[field] = value;
}
