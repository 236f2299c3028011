//! The secrets: generic, docker-registry, tls.

use clap::Command;
use serde_json::{Map, Value, json};

use super::core::{data_flags, encode, read_data};
use super::{Generator, object};
use crate::error::{Error, Result};
use crate::flags::{Flags, option};

pub const GENERIC: Generator = Generator {
    path: &["secret", "generic"],
    command: || {
        let command =
            Command::new("generic").about("Create a secret from files, folders or literal values").args(data_flags());
        command.arg(option("type", "The secret's type"))
    },
    build: |input| {
        let mut data: Map<String, Value> =
            read_data(input, "Secret")?.into_iter().map(|(key, value)| (key, encode(&value).into())).collect();
        data.sort_keys();
        Ok(secret(input.name, data, input.matches.text("type").unwrap_or("")))
    },
    needs_discovery: false,
};

pub const DOCKER_REGISTRY: Generator = Generator {
    path: &["secret", "docker-registry"],
    command: || {
        Command::new("docker-registry").about("Create a secret for pulling images").args([
            option("docker-username", "User name"),
            option("docker-password", "Password"),
            option("docker-email", "Email"),
            option("docker-server", "Location of the registry"),
            option("from-file", "A .dockerconfigjson file"),
        ])
    },
    build: |input| {
        let matches = input.matches;
        let content = if let Some(file) = matches.text("from-file") {
            std::fs::read(file)?
        } else {
            let text = |name: &str| matches.text(name).filter(|text| !text.is_empty());
            let (Some(user), Some(password)) = (text("docker-username"), text("docker-password")) else {
                return Err(Error::message(
                    "either --from-file or the combination of --docker-username, --docker-password and --docker-server is required",
                ));
            };
            let mut entry = json!({"username": user, "password": password});
            if let Some(email) = text("docker-email") {
                entry["email"] = email.into();
            }
            entry["auth"] = encode(format!("{user}:{password}").as_bytes()).into();
            // The public registry's name in every docker configuration.
            let server = text("docker-server").unwrap_or(DEFAULT_REGISTRY);
            json!({"auths": {server: entry}}).to_string().into_bytes()
        };
        let data = [(".dockerconfigjson".to_owned(), encode(&content).into())].into_iter().collect();
        Ok(secret(input.name, data, "kubernetes.io/dockerconfigjson"))
    },
    needs_discovery: false,
};

/// The key under which docker's configuration files know the public registry.
const DEFAULT_REGISTRY: &str = "https://index.docker.io/v1/";

pub const TLS: Generator = Generator {
    path: &["secret", "tls"],
    command: || {
        Command::new("tls").about("Create a secret from a certificate and its key").args([
            option("cert", "File with the certificate in PEM"),
            option("key", "File with the private key in PEM"),
        ])
    },
    build: |input| {
        let read = |flag: &str, words: &str| -> Result<Value> {
            match input.matches.text(flag).filter(|file| !file.is_empty()) {
                None => Err(Error::message(format!("{words} must be specified"))),
                Some(file) => {
                    Ok(encode(&std::fs::read(file).map_err(|error| Error::message(format!("open {file}: {error}")))?)
                        .into())
                }
            }
        };
        let data = [("tls.crt".to_owned(), read("cert", "certificate")?), ("tls.key".to_owned(), read("key", "key")?)];
        Ok(secret(input.name, data.into_iter().collect(), "kubernetes.io/tls"))
    },
    needs_discovery: false,
};

fn secret(name: &str, data: Map<String, Value>, kind: &str) -> Value {
    let mut rest = Map::new();
    if !data.is_empty() {
        rest.insert("data".into(), Value::Object(data));
    }
    if !kind.is_empty() {
        rest.insert("type".into(), kind.into());
    }
    object("v1", "Secret", name, Value::Object(rest))
}
