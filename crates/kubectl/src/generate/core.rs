//! Namespace, ResourceQuota, ConfigMap, ServiceAccount.

use std::path::Path;

use base64::Engine;
use clap::Command;
use serde_json::{Map, Value, json};

use super::{Generator, Input, object, pairs};
use crate::error::{Error, Result};
use crate::flags::{Flags, list};

pub const NAMESPACE: Generator = Generator {
    path: &["namespace"],
    command: || Command::new("namespace").visible_alias("ns").about("Create a namespace"),
    build: |input| Ok(object("v1", "Namespace", input.name, json!({"spec": {}, "status": {}}))),
    needs_discovery: false,
};

pub const SERVICE_ACCOUNT: Generator = Generator {
    path: &["serviceaccount"],
    command: || Command::new("serviceaccount").visible_alias("sa").about("Create a service account"),
    build: |input| Ok(object("v1", "ServiceAccount", input.name, json!({}))),
    needs_discovery: false,
};

pub const QUOTA: Generator = Generator {
    path: &["quota"],
    command: || {
        Command::new("quota")
            .visible_alias("resourcequota")
            .about("Create a quota")
            .args([list("hard", "Limits, e.g. pods=1,cpu=2"), list("scopes", "Scopes of the quota")])
    },
    build: |input| {
        let mut spec = Map::new();
        let hard = pairs(&input.matches.split("hard"), "argument value")
            .map_err(|_| Error::message(format!("invalid argument value {}", input.matches.split("hard").join(","))))?;
        if !hard.is_empty() {
            let mut canonical = Map::new();
            for (key, value) in hard {
                let quantity = machinery::quantity::Quantity::parse(value.as_str().unwrap_or(""))
                    .map_err(|error| Error::message(error.to_string()))?;
                canonical.insert(key, quantity.to_string().into());
            }
            canonical.sort_keys();
            spec.insert("hard".into(), Value::Object(canonical));
        }
        let scopes = input.matches.split("scopes");
        if !scopes.is_empty() {
            spec.insert("scopes".into(), json!(scopes));
        }
        Ok(object("v1", "ResourceQuota", input.name, json!({"spec": spec, "status": {}})))
    },
    needs_discovery: false,
};

pub const CONFIG_MAP: Generator = Generator {
    path: &["configmap"],
    command: || Command::new("configmap").visible_alias("cm").about("Create a config map").args(data_flags()),
    build: |input| {
        let (mut data, mut binary) = (Map::new(), Map::new());
        for (key, bytes) in read_data(input, "ConfigMap")? {
            match String::from_utf8(bytes) {
                Ok(text) => data.insert(key, text.into()),
                Err(error) => binary.insert(key, encode(error.as_bytes()).into()),
            };
        }
        let mut rest = Map::new();
        for (name, mut map) in [("data", data), ("binaryData", binary)] {
            if !map.is_empty() {
                map.sort_keys();
                rest.insert(name.into(), Value::Object(map));
            }
        }
        Ok(object("v1", "ConfigMap", input.name, Value::Object(rest)))
    },
    needs_discovery: false,
};

/// Where the data of config maps and secrets comes from.
pub fn data_flags() -> [clap::Arg; 3] {
    [
        list("from-file", "FILE, KEY=FILE or a folder"),
        list("from-literal", "KEY=VALUE"),
        list("from-env-file", "File of KEY=VALUE lines"),
    ]
}

/// Keys and values of the data flags; a key may come once only.
pub fn read_data(input: &Input<'_>, kind: &str) -> Result<Vec<(String, Vec<u8>)>> {
    let matches = input.matches;
    let has = |flag: &str| !matches.texts(flag).is_empty();
    if has("from-env-file") && (has("from-file") || has("from-literal")) {
        return Err(Error::message("from-env-file cannot be combined with from-file or from-literal"));
    }
    let mut found: Vec<(String, Vec<u8>)> = Vec::new();
    let mut add = |key: &str, value: Vec<u8>| {
        let problems = machinery::names::config_map_key(key);
        if !problems.is_empty() {
            return Err(Error::message(format!(
                "\"{key}\" is not a valid key name for a {kind}: {}",
                problems.join(",")
            )));
        }
        if found.iter().any(|(other, _)| other == key) {
            return Err(Error::message(format!(
                "cannot add key \"{key}\", another key by that name already exists in Data for {kind} \"{}\"",
                input.name
            )));
        }
        found.push((key.to_owned(), value));
        Ok(())
    };
    let read = |path: &Path| {
        std::fs::read(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                Error::message(format!("error reading {}: no such file or directory", path.display()))
            }
            _ => Error::message(format!("error reading {}: {error}", path.display())),
        })
    };
    for source in matches.texts("from-file") {
        let (key, path) = match source.split_once('=') {
            Some((key, path)) => (Some(key), Path::new(path)),
            None => (None, Path::new(source.as_str())),
        };
        if path.is_dir() {
            if key.is_some() {
                return Err(Error::message("cannot give a key name for a directory path"));
            }
            let mut files: Vec<_> = std::fs::read_dir(path)?.collect::<std::io::Result<Vec<_>>>()?;
            files.sort_by_key(std::fs::DirEntry::file_name);
            for file in files.into_iter().filter(|file| file.path().is_file()) {
                add(&file.file_name().to_string_lossy(), read(&file.path())?)?;
            }
            continue;
        }
        let own = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        add(key.unwrap_or(&own), read(path)?)?;
    }
    for literal in matches.texts("from-literal") {
        let Some((key, value)) = literal.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            return Err(Error::message(format!("invalid literal source {literal}, expected key=value")));
        };
        add(key, value.trim_matches(['\'', '"']).as_bytes().to_vec())?;
    }
    for file in matches.texts("from-env-file") {
        let text = String::from_utf8_lossy(&read(Path::new(&file))?).into_owned();
        for line in text.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (key, value) = match line.split_once('=') {
                Some((key, value)) => (key.to_owned(), value.to_owned()),
                None => (line.to_owned(), std::env::var(line).unwrap_or_default()),
            };
            add(key.trim(), value.into_bytes())?;
        }
    }
    Ok(found)
}

pub fn encode(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
