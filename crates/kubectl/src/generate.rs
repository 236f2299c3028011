//! Objects made from flags: what `create KIND`, `run` and `expose` send.
//!
//! Fields stand in the order in which upstream's types have them, because `-o json --dry-run=client` shows it.

pub mod core;
pub mod rbac;
pub mod secrets;
pub mod services;
pub mod workloads;

use clap::{ArgMatches, Command};
use serde_json::{Map, Value, json};

use crate::discovery::Discovery;
use crate::error::{Error, Result};

/// One `kubectl create KIND`.
pub struct Generator {
    /// The words behind `create`.
    pub path: &'static [&'static str],
    pub command: fn() -> Command,
    pub build: fn(&Input<'_>) -> Result<Value>,
    /// The object names resources, which have to be looked up.
    pub needs_discovery: bool,
}

/// What an object is made from.
pub struct Input<'a> {
    pub matches: &'a ArgMatches,
    pub name: &'a str,
    pub discovery: Option<&'a Discovery>,
}

/// All that can be created by flags, in the order of the help.
pub static ALL: &[Generator] = &[
    rbac::CLUSTER_ROLE,
    rbac::CLUSTER_ROLE_BINDING,
    core::CONFIG_MAP,
    workloads::DEPLOYMENT,
    core::NAMESPACE,
    core::QUOTA,
    rbac::ROLE,
    rbac::ROLE_BINDING,
    secrets::DOCKER_REGISTRY,
    secrets::GENERIC,
    secrets::TLS,
    services::CLUSTER_IP,
    services::EXTERNAL_NAME,
    services::LOAD_BALANCER,
    services::NODE_PORT,
    core::SERVICE_ACCOUNT,
];

/// `{"kind": .., "apiVersion": .., "metadata": {"name": ..}}`, then the rest.
pub fn object(version: &str, kind: &str, name: &str, rest: Value) -> Value {
    let mut whole = json!({"kind": kind, "apiVersion": version, "metadata": {"name": name}});
    if let (Value::Object(whole), Value::Object(rest)) = (&mut whole, rest) {
        whole.extend(rest);
    }
    whole
}

/// `key=value` pairs of a flag.
pub fn pairs(texts: &[String], what: &str) -> Result<Map<String, Value>> {
    let mut map = Map::new();
    for text in texts {
        let Some((key, value)) = text.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            return Err(Error::message(format!("invalid {what}: {text}, expected key=value")));
        };
        map.insert(key.to_owned(), value.into());
    }
    Ok(map)
}

/// The values of a required flag.
pub fn required(values: Vec<String>, flag: &str) -> Result<Vec<String>> {
    if values.is_empty() { Err(Error::message(format!("required flag(s) \"{flag}\" not set"))) } else { Ok(values) }
}
