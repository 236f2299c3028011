//! patch: JSON patch, merge patch and strategic merge patch of an object or a subresource (applies are in `apply`).
//!
//! A patch is applied to the object in the request's version, the result decoded like any body; when somebody else writes
//! in between it is applied again to what is there then.

use std::collections::BTreeMap;

use bytes::Bytes;
use machinery::codec::{self, Parsed};
use machinery::field::{Error, Path};
use machinery::go_text;
use machinery::gvk::GroupKind;
use machinery::patch::{self, PatchError};
use machinery::schema::FieldValidation;
use machinery::status::{Status, StatusDetails, reason};
use serde_json::Value;

use super::body::{self, Expected};
use super::options::Write;
use super::{Scope, apply, as_admit};
use crate::registry::{Change, Part, group_kind};
use crate::{Body, Response};

const CUSTOM_ACCEPTED: [&str; 3] = ["application/json-patch+json", "application/merge-patch+json", apply::MEDIA_TYPE];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchType {
    Json,
    Merge,
    Strategic,
}

impl PatchType {
    /// Objects of custom kinds have no strategy to merge by.
    pub fn of(content_type: &str, custom: bool) -> Result<Self, Status> {
        match body::media_type(content_type) {
            "application/json-patch+json" => Ok(Self::Json),
            "application/merge-patch+json" => Ok(Self::Merge),
            "application/strategic-merge-patch+json" if !custom => Ok(Self::Strategic),
            other if custom => Err(Status::unsupported_media_type(other, &CUSTOM_ACCEPTED)),
            _ => Err(Status::failure(415, reason::UNSUPPORTED_MEDIA_TYPE, "415: Unsupported Media Type")
                .with_details(StatusDetails::default())),
        }
    }
}

pub async fn serve(scope: &Scope, request: Body) -> Result<Response, Status> {
    serve_part(scope, request, "", Part::WHOLE).await
}

/// A patch that changes one part of the object.
pub async fn serve_part(scope: &Scope, request: Body, subresource: &str, part: Part) -> Result<Response, Status> {
    if body::media_type(&scope.content_type) == apply::MEDIA_TYPE {
        return apply::serve_part(scope, request, subresource, part).await;
    }
    let kind = PatchType::of(&scope.content_type, scope.kind.custom.is_some())?;
    let bytes = body::read(scope, request).await?;
    let write = Write::parse(scope, "PatchOptions")?;
    let mut change = Patch { scope, kind, bytes, mode: write.field_validation };
    let admission = scope.admission(subresource, &scope.name, write.options.dry_run);
    let registry = &scope.server.registry;
    // A patch changes what is there; it does not create.
    registry.entry(scope.kind, &scope.namespace, &scope.name)?;
    let outcome = registry
        .update(scope.kind, &scope.namespace, &scope.name, part, &mut change, &write.options, as_admit(&admission))
        .await;
    scope.written(outcome)
}

struct Patch<'s> {
    scope: &'s Scope,
    kind: PatchType,
    bytes: Bytes,
    mode: FieldValidation,
}

impl Change for Patch<'_> {
    fn apply(&mut self, current: Option<&Value>) -> Result<Value, Status> {
        let Some(current) = current else { return Err(Status::not_found_path()) };
        let scope = self.scope;
        let mut versioned = current.clone();
        scope.convert_from_storage(&mut versioned);
        let expected = Expected::of(scope);
        let mut decoded = patched(scope, self.kind, &self.bytes, versioned, &expected, self.mode)?;
        body::check_name(scope, &decoded)?;
        body::check_namespace(scope, &mut decoded)?;
        let object = body::to_storage(scope, decoded)?;
        let errors = scope.version.own_errors(&object, Some(current));
        if !errors.is_empty() {
            return Err(Status::invalid(&group_kind(scope.kind), &scope.name, errors));
        }
        Ok(object)
    }
}

/// Applies a patch to an object and decodes the result as the type that the object has.
pub fn patched(
    scope: &Scope,
    kind: PatchType,
    bytes: &[u8],
    mut object: Value,
    expected: &Expected,
    mode: FieldValidation,
) -> Result<Value, Status> {
    let mut duplicates = Vec::new();
    let shown = match kind {
        PatchType::Json => {
            patch::json::apply(&mut object, bytes).map_err(refused)?;
            sort_touched_by_json(&mut object, bytes);
            go_text::json(&object)
        }
        PatchType::Merge => {
            let parsed = patch::merge::parse(bytes).map_err(refused)?;
            duplicates = parsed.duplicates;
            let touched = parsed.value.clone();
            patch::merge::apply_value(&mut object, parsed.value).map_err(refused)?;
            sort_touched(&mut object, &touched);
            go_text::json(&object)
        }
        PatchType::Strategic => {
            let parsed = patch::parse_map(bytes).map_err(Status::bad_request)?;
            let shown = go_text::plain(&parsed.value);
            duplicates = parsed.duplicates;
            let own = expected.type_ref().ok_or_else(|| Status::internal("the type has no schema"))?;
            patch::strategic::apply(&own.types, own.id, &mut object, parsed.value).map_err(refused)?;
            shown
        }
    };
    let invalid = |detail: String| {
        let error = Error::invalid(&Path::new("patch"), shown.as_str(), detail);
        Status::invalid(&GroupKind::new("", ""), "", vec![error])
    };
    if !object.is_object() {
        return Err(Status::rejected_request());
    }
    let (api_version, own_kind) = codec::type_meta(&object).map_err(&invalid)?;
    body::check_type(expected, api_version, own_kind)?;
    let parsed = Parsed { value: object, duplicates, ..Parsed::default() };
    body::decode_parsed(scope, parsed, expected, mode).map_err(invalid)
}

fn refused(error: PatchError) -> Status {
    error.into()
}

/// Error messages show the patched document as upstream prints it: maps that the patch went into are sorted.
fn sort_touched(object: &mut Value, patch: &Value) {
    let (Value::Object(fields), Value::Object(touched)) = (object, patch) else { return };
    for (key, inner) in touched {
        if let Some(value) = fields.get_mut(key) {
            sort_touched(value, inner);
        }
    }
    sort(fields);
}

fn sort_touched_by_json(object: &mut Value, bytes: &[u8]) {
    let operations: Vec<Value> = serde_json::from_slice(bytes).unwrap_or_default();
    for path in operations.iter().filter_map(|operation| operation.get("path")?.as_str()) {
        let mut at = &mut *object;
        for part in path.split('/').skip(1) {
            if let Value::Object(fields) = at {
                sort(fields);
            }
            let part = part.replace("~1", "/").replace("~0", "~");
            let next = match at {
                Value::Object(fields) => fields.get_mut(&part),
                Value::Array(items) => part.parse::<usize>().ok().and_then(|index| items.get_mut(index)),
                _ => None,
            };
            match next {
                Some(next) => at = next,
                None => break,
            }
        }
    }
}

fn sort(fields: &mut serde_json::Map<String, Value>) {
    let sorted: BTreeMap<String, Value> = std::mem::take(fields).into_iter().collect();
    fields.extend(sorted);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn custom_kinds_have_no_strategic_merge() {
        let strategic = "application/strategic-merge-patch+json";
        assert_eq!(PatchType::of(strategic, false).unwrap(), PatchType::Strategic);
        let refused = PatchType::of(strategic, true).unwrap_err();
        assert_eq!(refused.code(), 415);
        assert!(refused.message().ends_with(
            "include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
        ));
        assert_eq!(PatchType::of("application/json", false).unwrap_err().message(), "415: Unsupported Media Type");
    }
}
