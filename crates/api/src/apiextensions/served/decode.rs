//! Reading a body: metadata must have its types, unknown fields are dropped and reported.

use machinery::codec::Parsed;
use machinery::schema::{Decoded, FieldValidation};
use serde_json::{Map, Value};

use super::Behaviour;
use crate::structural::{self, Malformed};

/// More findings than this are not reported.
const FINDINGS_MAX: usize = 32;

pub fn decode(behaviour: &Behaviour, version: &str, parsed: Parsed, mode: FieldValidation) -> Result<Decoded, String> {
    let Parsed { mut value, duplicates, yaml_duplicates } = parsed;
    if value.is_null() {
        value = Value::Object(Map::new());
    }
    let own = behaviour.version(version).ok_or_else(|| format!("no version {version}"))?;
    let mut unknown = Vec::new();
    structural::coerce_resource_root(&mut value, &own.schema, Malformed::Refuse, &mut unknown)
        .map_err(|error| if error.field == "metadata" { error.detail.to_string() } else { error.to_string() })?;
    if !behaviour.preserve_unknown_fields {
        unknown.extend(structural::prune(&mut value, &own.schema, true));
        structural::prune_nulls(&mut value, Some(&own.schema));
    }
    if mode == FieldValidation::Ignore {
        return Ok(Decoded { value, warnings: Vec::new() });
    }
    unknown.sort();
    let mut duplicates: Vec<String> = duplicates.into_iter().map(|duplicate| duplicate.path).collect();
    duplicates.dedup();
    let duplicates = duplicates.into_iter().map(|path| format!("duplicate field \"{path}\""));
    let unknown = unknown.into_iter().map(|path| format!("unknown field \"{path}\""));
    let findings: Vec<String> = duplicates.chain(unknown).take(FINDINGS_MAX).collect();
    if mode == FieldValidation::Warn {
        return Ok(Decoded { value, warnings: yaml_duplicates.into_iter().chain(findings).collect() });
    }
    let yaml =
        (!yaml_duplicates.is_empty()).then(|| format!("yaml: unmarshal errors:\n  {}", yaml_duplicates.join("\n  ")));
    let errors: Vec<String> = yaml.into_iter().chain(findings).collect();
    if errors.is_empty() {
        return Ok(Decoded { value, warnings: Vec::new() });
    }
    Err(format!("strict decoding error: {}", errors.join(", ")))
}
