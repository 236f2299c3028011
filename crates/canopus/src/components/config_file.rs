//! Reading a component's configuration file strictly: the right kind and version, no key twice, no field that is not
//! known. A field of upstream that has no effect here is not known either.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::flags;

/// What a struct of a configuration file did not take: a `#[serde(flatten)]` field of each.
pub type Unknown = BTreeMap<String, Value>;

/// Names the fields that were not taken.
pub trait Strict {
    fn unknown(&self) -> Vec<String>;
}

/// `below` is the path of the struct that holds them.
pub fn names(below: &str, unknown: &Unknown) -> Vec<String> {
    let dot = if below.is_empty() { "" } else { "." };
    unknown.keys().map(|name| format!("{below}{dot}{name}")).collect()
}

/// Reads `file`, which must hold an object of this kind.
pub fn read<T: DeserializeOwned + Strict>(file: &Path, api_version: &str, kind: &str) -> Result<T> {
    let text = std::fs::read_to_string(file).with_context(|| format!("failed to read {}", file.display()))?;
    decode(&text, api_version, kind).with_context(|| format!("failed to load the configuration {}", file.display()))
}

pub fn decode<T: DeserializeOwned + Strict>(text: &str, api_version: &str, kind: &str) -> Result<T> {
    let mut document: Value = serde_saphyr::from_str(text).context("it is not YAML")?;
    let Some(root) = document.as_object_mut() else { bail!("it is not a mapping") };
    for (field, wanted) in [("apiVersion", api_version), ("kind", kind)] {
        let given = root.remove(field).unwrap_or_default();
        if given != wanted {
            bail!("{field} must be {wanted:?}, not {given}");
        }
    }
    let read: T = serde_json::from_value(document)?;
    let unknown: Vec<String> = read.unknown().iter().map(|field| format!("unknown field {field:?}")).collect();
    if !unknown.is_empty() {
        bail!("strict decoding error: {}", unknown.join(", "));
    }
    Ok(read)
}

/// For `#[serde(deserialize_with)]`: one of Go's durations.
pub fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| flags::duration(&text).map_err(D::Error::custom)).transpose()
}
