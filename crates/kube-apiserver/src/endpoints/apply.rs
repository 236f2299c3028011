//! apply: a configuration that is merged in by who owns what. The object is made when it is not there.

use api::Verb;
use bytes::Bytes;
use machinery::codec::{self, Limits, Parsed, yaml};
use machinery::gvk::GroupVersionKind;
use machinery::patch::apply::{self, Applied, Operation, Versions, Writer};
use machinery::schema::FieldValidation;
use machinery::status::Status;
use serde_json::{Map, Value};

use super::body::{self, Expected};
use super::options::Write;
use super::{Scope, as_admit, not_offered};
use crate::registry::managed_fields::{self, KindVersions};
use crate::registry::{Change, Owner, Part, group_kind, group_resource, now, object};
use crate::{Body, Response};

pub const MEDIA_TYPE: &str = "application/apply-patch+yaml";

/// Applies a configuration of one part of the object.
pub async fn serve_part(scope: &Scope, request: Body, subresource: &str, part: Part) -> Result<Response, Status> {
    let bytes = body::read(scope, request).await?;
    let write = Write::parse_apply(scope)?;
    let config = Config::parse(scope, &bytes, write.field_validation);
    let mut change = Apply { scope, config, owner: write.options.owner.clone(), force: is_forced(scope) };
    let admission = scope.admission(subresource, &scope.name, write.options.dry_run);
    let registry = &scope.server.registry;
    let outcome = registry
        .update(scope.kind, &scope.namespace, &scope.name, part, &mut change, &write.options, as_admit(&admission))
        .await;
    scope.written(outcome)
}

/// Whether fields are taken from whoever owns them.
pub fn is_forced(scope: &Scope) -> bool {
    scope.query.boolean("force").unwrap_or(false)
}

/// What a body applies.
pub struct Config {
    pub value: Value,
    /// Keys that stand twice, which are reported only when nothing else is wrong.
    duplicates: Vec<String>,
    mode: FieldValidation,
}

impl Config {
    /// Reads a body, which is YAML whatever it looks like. What is wrong with it is said only when it is applied: an object that
    /// cannot be reached is the first thing to know.
    pub fn parse(scope: &Scope, bytes: &Bytes, mode: FieldValidation) -> Result<Self, Status> {
        let limits = Limits { bytes: scope.server.config.max_request_body_bytes, ..Limits::default() };
        let undecodable = |problem: String| Status::bad_request(format!("error decoding YAML: {problem}"));
        let parsed = yaml::parse(bytes, limits)
            .map_err(|problem| undecodable(format!("error converting YAML to JSON: {problem}")))?;
        let value = match parsed.value {
            Value::Null => Value::Object(Map::new()),
            value @ Value::Object(_) => value,
            other => {
                return Err(undecodable(format!(
                    "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
                    codec::json_kind(&other)
                )));
            }
        };
        Ok(Self { value, duplicates: parsed.yaml_duplicates, mode })
    }

    /// The configuration must say that it is what the path names.
    pub fn check_type(&self, api_version: &str, kind: &str) -> Result<(), Status> {
        let own = GroupVersionKind::of(&self.value).unwrap_or_default();
        let wanted = Value::Object(Map::from_iter([
            ("apiVersion".to_owned(), api_version.into()),
            ("kind".to_owned(), kind.into()),
        ]));
        if Ok(&own) != GroupVersionKind::of(&wanted).as_ref() {
            return Err(Status::bad_request(format!("invalid object type: {own}")));
        }
        if self.value.pointer("/metadata/managedFields").is_some_and(|entries| !entries.is_null()) {
            return Err(Status::bad_request("metadata.managedFields must be nil"));
        }
        Ok(())
    }

    /// What field validation has to say about keys that stand twice.
    pub fn check_duplicates(&self, scope: &Scope) -> Result<(), Status> {
        if self.duplicates.is_empty() || self.mode == FieldValidation::Ignore {
            return Ok(());
        }
        let problem =
            format!("error converting YAML to JSON: yaml: unmarshal errors:\n  {}", self.duplicates.join("\n  "));
        if self.mode == FieldValidation::Strict {
            return Err(Status::bad_request(format!("error strict decoding YAML: {problem}")));
        }
        scope.ctx.warn(problem);
        Ok(())
    }
}

struct Apply<'s> {
    scope: &'s Scope,
    config: Result<Config, Status>,
    owner: Owner,
    force: bool,
}

impl Change for Apply<'_> {
    fn apply(&mut self, current: Option<&Value>) -> Result<Value, Status> {
        let scope = self.scope;
        if current.is_none() && scope.kind.custom.is_some() && !scope.kind.verbs.contains(&Verb::Create) {
            return Err(not_offered(scope.kind, Verb::Create));
        }
        let config = self.config.as_ref().map_err(Status::clone)?;
        config.check_type(&scope.version.api_version(scope.kind), scope.kind.kind)?;
        let live = current.map(|current| versioned(scope, current));
        let applied = merged(scope, &self.owner, current, live.as_ref(), &config.value, self.force)?;
        config.check_duplicates(scope)?;
        let mut object = match (applied.object, current) {
            (None, Some(current)) => current.clone(),
            (changed, _) => {
                let mut decoded = decoded(scope, &config.value, changed)?;
                check(scope, &mut decoded, current)?;
                let object = body::to_storage(scope, decoded)?;
                let errors = scope.version.own_errors(&object, current);
                if !errors.is_empty() {
                    return Err(Status::invalid(&group_kind(scope.kind), &scope.name, errors));
                }
                object
            }
        };
        apply::refresh_last_applied(&mut object, &config.value, &self.owner.manager);
        managed_fields::set(&mut object, &applied.managed);
        Ok(object)
    }

    fn creates(&self) -> bool {
        true
    }
}

/// The current object in the request's version, without entries.
pub fn versioned(scope: &Scope, current: &Value) -> Value {
    let mut live = current.clone();
    object::set_metadata(&mut live, "managedFields", None);
    scope.convert_from_storage(&mut live);
    live
}

/// Merges a configuration into the live object (of the request's version), by the entries of the current one.
pub fn merged(
    scope: &Scope,
    owner: &Owner,
    current: Option<&Value>,
    live: Option<&Value>,
    config: &Value,
    force: bool,
) -> Result<Applied, Status> {
    let versions = KindVersions::new(scope.kind);
    let api_version = owner.api_version(scope.kind);
    let time = object::time(now());
    let writer = Writer {
        id: owner.id(scope.kind, Operation::Apply),
        api_version: &api_version,
        now: time.as_str().unwrap_or_default(),
        reset: &managed_fields::reset(scope.kind, owner.version(scope.kind), &owner.subresource),
    };
    let managed = current.map(managed_fields::of).unwrap_or_default();
    Ok(apply::apply(&versions, &writer, live, config, managed, force)?)
}

/// The merged object as its type reads it. An apply that sets nothing makes an empty object.
fn decoded(scope: &Scope, config: &Value, merged: Option<Value>) -> Result<Value, Status> {
    let expected = Expected::of(scope);
    let merged = merged.unwrap_or_else(|| KindVersions::new(scope.kind).empty(&expected.api_version));
    body::decode_parsed(scope, Parsed::from(merged), &expected, FieldValidation::Ignore).map_err(|problem| {
        let kind = GroupVersionKind::of(config).unwrap_or_default();
        let name = format!("{}/{}; {kind}", object::namespace(config), object::name(config));
        Status::unexpected(format!(
            "failed to convert new object ({name}) to proper version: unable to convert unstructured object to {kind}: {problem}"
        ))
    })
}

/// The object must be the one that the path names.
fn check(scope: &Scope, object: &mut Value, current: Option<&Value>) -> Result<(), Status> {
    let uid = object::uid(object);
    if current.is_none() && !uid.is_empty() {
        let message =
            format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
        return Err(Status::conflict(&group_resource(scope.kind), &scope.name, &message));
    }
    body::check_namespace(scope, object)?;
    body::check_name(scope, object)
}
