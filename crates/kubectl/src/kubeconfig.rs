//! Kubeconfig files: reading, merging, and what they say about the server and the user.
//!
//! A configuration stays a JSON value, so that `kubectl config` writes back what it does not know. With several files in
//! KUBECONFIG the first to name a cluster, user or context wins, and relative paths are relative to their own file.

use std::path::{Path, PathBuf};

use kube::config::{KubeConfigOptions, Kubeconfig};
use machinery::codec::{Limits, yaml};
use serde_json::{Map, Value, json};

use crate::context::Globals;
use crate::error::{Error, Result};
use crate::value::{self, text};

const LISTS: [(&str, &str); 3] = [("clusters", "cluster"), ("contexts", "context"), ("users", "user")];
/// Fields that hold paths of files.
const PATHS: [(&str, &str, &[&str]); 2] = [
    ("clusters", "cluster", &["certificate-authority"]),
    ("users", "user", &["client-certificate", "client-key", "tokenFile"]),
];
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// A configuration without anything, as `config view` prints it.
pub fn empty() -> Value {
    json!({"apiVersion": "v1", "clusters": null, "contexts": null, "current-context": "", "kind": "Config", "users": null})
}

/// The files that are asked for, in order; with `--kubeconfig` only that one, which must exist.
pub fn files(globals: &Globals) -> Vec<PathBuf> {
    if let Some(file) = &globals.kubeconfig {
        return vec![file.into()];
    }
    match std::env::var_os("KUBECONFIG").filter(|list| !list.is_empty()) {
        Some(list) => std::env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()).collect(),
        None => std::env::home_dir().map(|home| home.join(".kube/config")).into_iter().collect(),
    }
}

/// Reads one file. A missing one is None.
pub fn read(path: &Path) -> Result<Option<Value>> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::message(format!("error loading config file \"{}\": {error}", path.display()))),
    };
    let parsed = yaml::parse(&bytes, Limits::default())
        .map_err(|error| Error::message(format!("error loading config file \"{}\": {error}", path.display())))?;
    let mut config = empty();
    if let (Value::Object(config), Value::Object(read)) = (&mut config, parsed.value) {
        config.extend(read);
    }
    Ok(Some(config))
}

/// The merged configuration of all files.
pub fn load(globals: &Globals) -> Result<Value> {
    let mut merged = empty();
    for path in files(globals) {
        let Some(mut config) = read(&path)? else {
            if globals.kubeconfig.is_some() {
                return Err(Error::message(format!("stat {}: no such file or directory", path.display())));
            }
            continue;
        };
        make_absolute(&mut config, path.parent().unwrap_or(Path::new(".")));
        merge(&mut merged, config);
    }
    Ok(merged)
}

fn make_absolute(config: &mut Value, folder: &Path) {
    for (list, inner, fields) in PATHS {
        for entry in config[list].as_array_mut().into_iter().flatten() {
            for field in fields {
                let Some(Value::String(path)) = entry.get_mut(inner).and_then(|entry| entry.get_mut(field)) else {
                    continue;
                };
                if !path.is_empty() && Path::new(path.as_str()).is_relative() {
                    *path = folder.join(path.as_str()).to_string_lossy().into_owned();
                }
            }
        }
    }
}

fn merge(into: &mut Value, from: Value) {
    let Value::Object(from) = from else { return };
    for (key, theirs) in from {
        if LISTS.iter().any(|(list, _)| *list == key) {
            let Value::Array(theirs) = theirs else { continue };
            for entry in theirs {
                if find(into, &key, text(&entry, "name")).is_none() {
                    match into.get_mut(&key) {
                        Some(Value::Array(ours)) => ours.push(entry),
                        _ => into[&key] = Value::Array(vec![entry]),
                    }
                }
            }
        } else if into.get(&key).is_none_or(|ours| ours.is_null() || ours == "") {
            into[&key] = theirs;
        }
    }
}

/// The content of the named entry of `clusters`, `contexts` or `users`.
pub fn find<'c>(config: &'c Value, list: &str, name: &str) -> Option<&'c Value> {
    let inner = LISTS.iter().find(|(plural, _)| *plural == list)?.1;
    config[list].as_array()?.iter().find(|entry| entry["name"] == name).map(|entry| &entry[inner])
}

/// The same to be changed; made when it is missing.
pub fn find_or_make<'c>(config: &'c mut Value, list: &str, name: &str) -> Option<&'c mut Value> {
    let inner = LISTS.iter().find(|(plural, _)| *plural == list)?.1;
    if !config[list].is_array() {
        config[list] = json!([]);
    }
    let entries = config[list].as_array_mut()?;
    let index = match entries.iter().position(|entry| entry["name"] == name) {
        Some(index) => index,
        None => {
            let mut entry = Map::new();
            entry.insert(inner.to_owned(), json!({}));
            entry.insert("name".to_owned(), name.into());
            entries.push(Value::Object(entry));
            entries.len() - 1
        }
    };
    let content = entries.get_mut(index)?.get_mut(inner)?;
    if !content.is_object() {
        *content = json!({});
    }
    Some(content)
}

/// What remains of the files and the flags: one server, one user, one namespace.
#[derive(Debug, Clone)]
pub struct Target {
    pub namespace: String,
    cluster: Value,
    user: Value,
    in_cluster: bool,
}

pub fn target(config: &Value, globals: &Globals) -> Result<Target> {
    let context_name = globals.context.clone().unwrap_or_else(|| text(config, "current-context").to_owned());
    let context = match find(config, "contexts", &context_name) {
        Some(context) => context.clone(),
        None if globals.context.is_some() => {
            return Err(Error::Plain(format!(
                "Error in configuration: context was not found for specified context: {context_name}"
            )));
        }
        None if !context_name.is_empty() => {
            return Err(Error::Plain(format!(
                "Error in configuration: context was not found for specified context: {context_name}"
            )));
        }
        None => json!({}),
    };
    let pick = |list: &str, flag: &Option<String>, field: &str, words: &str| -> Result<Value> {
        let name = flag.clone().unwrap_or_else(|| text(&context, field).to_owned());
        match find(config, list, &name) {
            Some(entry) => Ok(entry.clone()),
            None if name.is_empty() => Ok(json!({})),
            None => Err(Error::message(format!(
                "{words} \"{name}\"{}",
                if list == "users" { " does not exist" } else { "" }
            ))),
        }
    };
    let mut cluster = pick("clusters", &globals.cluster, "cluster", "no server found for cluster")?;
    let mut user = pick("users", &globals.user, "user", "auth info")?;
    let mut namespace = text(&context, "namespace").to_owned();
    let mut in_cluster = false;
    if text(&cluster, "server").is_empty() && globals.server.is_none() {
        in_cluster =
            std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() && Path::new(SERVICE_ACCOUNT).join("token").exists();
        if in_cluster && namespace.is_empty() {
            let own = std::fs::read_to_string(Path::new(SERVICE_ACCOUNT).join("namespace")).unwrap_or_default();
            namespace = own.trim().to_owned();
        }
    }
    override_by_flags(&mut cluster, &mut user, globals);
    if text(&cluster, "server").is_empty() {
        cluster["server"] = "http://localhost:8080".into();
    }
    let server = text(&cluster, "server");
    if !server.contains("://") {
        let scheme = if has_tls(&cluster, &user) { "https" } else { "http" };
        cluster["server"] = format!("{scheme}://{server}").into();
    }
    if namespace.is_empty() {
        namespace = "default".to_owned();
    }
    Ok(Target { namespace: globals.namespace.clone().unwrap_or(namespace), cluster, user, in_cluster })
}

fn has_tls(cluster: &Value, user: &Value) -> bool {
    ["certificate-authority", "certificate-authority-data"].iter().any(|key| !text(cluster, key).is_empty())
        || ["client-certificate", "client-certificate-data"].iter().any(|key| !text(user, key).is_empty())
}

fn override_by_flags(cluster: &mut Value, user: &mut Value, globals: &Globals) {
    if let Some(server) = &globals.server {
        cluster["server"] = server.as_str().into();
    }
    if globals.insecure {
        cluster["insecure-skip-tls-verify"] = true.into();
        value::remove(cluster, &["certificate-authority"]);
        value::remove(cluster, &["certificate-authority-data"]);
    }
    if let Some(file) = &globals.certificate_authority {
        cluster["certificate-authority"] = file.as_str().into();
        value::remove(cluster, &["certificate-authority-data"]);
    }
    if let Some(name) = &globals.tls_server_name {
        cluster["tls-server-name"] = name.as_str().into();
    }
    if globals.token.is_some() || globals.username.is_some() {
        *user = json!({});
    }
    for (key, flag) in [
        ("token", &globals.token),
        ("username", &globals.username),
        ("password", &globals.password),
        ("client-certificate", &globals.client_certificate),
        ("client-key", &globals.client_key),
        ("as", &globals.impersonate),
    ] {
        if let Some(given) = flag {
            user[key] = given.as_str().into();
            value::remove(user, &[format!("{key}-data").as_str()]);
        }
    }
    if !globals.impersonate_groups.is_empty() {
        user["as-groups"] = json!(globals.impersonate_groups);
    }
}

impl Target {
    /// The server as errors name it: host and port.
    pub fn host(&self) -> String {
        let server = text(&self.cluster, "server");
        let host = server.split_once("://").map_or(server, |(_, host)| host);
        host.trim_end_matches('/').to_owned()
    }

    pub fn server(&self) -> &str {
        text(&self.cluster, "server")
    }

    /// The client library's configuration.
    pub async fn client_config(&self) -> Result<kube::Config> {
        let fail = |error: &dyn std::error::Error| Error::message(chain(error));
        if self.in_cluster {
            return kube::Config::incluster_env().map_err(|error| fail(&error));
        }
        let config = json!({
            "clusters": [{"name": "c", "cluster": self.cluster}],
            "users": [{"name": "u", "user": self.user}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        });
        let config: Kubeconfig = serde_json::from_value(config)
            .map_err(|error| Error::message(format!("invalid configuration: {error}")))?;
        kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.map_err(|error| fail(&error))
    }
}

/// An error with what caused it, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(server: &str, current: &str) -> Value {
        json!({"clusters": [{"name": "a", "cluster": {"server": server, "certificate-authority": "ca.crt"}}],
            "contexts": [{"name": "x", "context": {"cluster": "a", "namespace": "n"}}], "current-context": current})
    }

    #[test]
    fn the_first_file_wins_and_paths_become_absolute() {
        let mut first = config("https://one", "");
        make_absolute(&mut first, Path::new("/etc/k"));
        let mut merged = empty();
        merge(&mut merged, first);
        merge(&mut merged, config("https://two", "x"));
        let cluster = find(&merged, "clusters", "a").expect("is there");
        assert_eq!(text(cluster, "server"), "https://one");
        assert_eq!(text(cluster, "certificate-authority"), "/etc/k/ca.crt");
        assert_eq!(merged["current-context"], "x");
    }

    #[test]
    fn flags_win_over_files() {
        let config = config("https://one", "x");
        let target = super::target(&config, &Globals::default()).expect("is complete");
        assert_eq!((target.host().as_str(), target.namespace.as_str()), ("one", "n"));
        let globals = Globals { server: Some("127.0.0.1:1".into()), namespace: Some("m".into()), ..Globals::default() };
        let target = super::target(&config, &globals).expect("is complete");
        assert_eq!((target.server(), target.namespace.as_str()), ("https://127.0.0.1:1", "m"));
        let missing = Globals { context: Some("nope".into()), ..Globals::default() };
        assert_eq!(
            super::target(&config, &missing).expect_err("fails").text(),
            "Error in configuration: context was not found for specified context: nope"
        );
    }
}
