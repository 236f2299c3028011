//! Writing kubeconfig files and merging a cluster into the user's own, as `kubectl config` would.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};

use crate::pki::{Credentials, write_private};

/// The kubeconfig of one user of one cluster, with everything embedded.
pub fn document(cluster: &str, server: &str, authority: &str, user: &str, credentials: &Credentials) -> Value {
    let context = if user == "admin" { cluster.to_owned() } else { format!("{user}@{cluster}") };
    let user = format!("{cluster}-{user}");
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster, "cluster": {"certificate-authority-data": BASE64.encode(authority), "server": server}}],
        "contexts": [{"name": context, "context": {"cluster": cluster, "user": user}}],
        "current-context": context,
        "users": [{"name": user, "user": {
            "client-certificate-data": BASE64.encode(&credentials.certificate),
            "client-key-data": BASE64.encode(&credentials.key),
        }}],
    })
}

/// Writes a kubeconfig that only its owner can read.
pub fn write(file: &Path, document: &Value) -> Result<()> {
    write_private(file, &serde_saphyr::to_string(document).context("failed to encode a kubeconfig")?)
}

pub fn read(file: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(file).with_context(|| format!("failed to read {}", file.display()))?;
    serde_saphyr::from_str(&text).with_context(|| format!("{} is not a kubeconfig", file.display()))
}

/// The file that kubectl reads and writes: the first of `$KUBECONFIG`, else `~/.kube/config`.
pub fn users_file() -> Option<PathBuf> {
    if let Some(list) = std::env::var_os("KUBECONFIG") {
        return std::env::split_paths(&list).find(|path| !path.as_os_str().is_empty());
    }
    std::env::home_dir().map(|home| home.join(".kube/config"))
}

/// Merges `addition` into the kubeconfig `file`: entries of the same names are replaced, all others stay, and the
/// addition's context becomes the current one. A file that already says so is left untouched.
pub fn merge_into(file: &Path, addition: &Value) -> Result<()> {
    let existing = if file.exists() { read(file)? } else { json!({"apiVersion": "v1", "kind": "Config"}) };
    let merged =
        merge(existing.clone(), addition).with_context(|| format!("failed to merge into {}", file.display()))?;
    if merged == existing {
        return Ok(());
    }
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("failed to make {}", folder.display()))?;
    }
    write(file, &merged)
}

/// Takes a cluster's entries out of the kubeconfig `file` again, with those that refer to it.
pub fn remove_from(file: &Path, cluster: &str) -> Result<()> {
    if !file.exists() {
        return Ok(());
    }
    let mut document = read(file)?;
    let before = document.clone();
    let Some(root) = document.as_object_mut() else { bail!("{} is not a kubeconfig", file.display()) };
    let mine = |entry: &Value| entry["context"]["cluster"] == cluster;
    let contexts: Vec<Value> = list(root, "contexts").iter().filter(|entry| mine(entry)).cloned().collect();
    let names = |part: fn(&Value) -> &Value| contexts.iter().map(|entry| part(entry).clone()).collect::<Vec<_>>();
    let (context_names, user_names) = (names(|entry| &entry["name"]), names(|entry| &entry["context"]["user"]));
    list(root, "contexts").retain(|entry| !mine(entry));
    list(root, "clusters").retain(|entry| entry["name"] != cluster);
    list(root, "users").retain(|entry| !user_names.contains(&entry["name"]));
    if root.get("current-context").is_some_and(|current| context_names.contains(current)) {
        root.insert("current-context".into(), "".into());
    }
    if document == before { Ok(()) } else { write(file, &document) }
}

fn merge(mut document: Value, addition: &Value) -> Result<Value> {
    let Some(root) = document.as_object_mut() else { bail!("it is not a mapping") };
    for key in ["clusters", "contexts", "users"] {
        let entries = list(root, key);
        for entry in addition[key].as_array().into_iter().flatten() {
            match entries.iter_mut().find(|existing| existing["name"] == entry["name"]) {
                Some(existing) => *existing = entry.clone(),
                None => entries.push(entry.clone()),
            }
        }
    }
    root.insert("current-context".into(), addition["current-context"].clone());
    Ok(document)
}

/// The list under `key`; a missing or null one becomes an empty list.
fn list<'a>(root: &'a mut Map<String, Value>, key: &str) -> &'a mut Vec<Value> {
    let entry = root.entry(key).or_insert_with(|| json!([]));
    if !entry.is_array() {
        *entry = json!([]);
    }
    match entry {
        Value::Array(entries) => entries,
        _ => unreachable!("made a list just above"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(name: &str) -> Value {
        let credentials = Credentials { certificate: "C".into(), key: "K".into() };
        document(name, "https://127.0.0.1:6443", "A", "admin", &credentials)
    }

    #[test]
    fn merging_keeps_others_and_is_repeatable() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("kube/config");
        merge_into(&file, &sample("other")).unwrap();
        merge_into(&file, &sample("canopus")).unwrap();
        let once = read(&file).unwrap();
        merge_into(&file, &sample("canopus")).unwrap();
        assert_eq!(once, read(&file).unwrap());
        assert_eq!(once["clusters"].as_array().unwrap().len(), 2);
        assert_eq!(once["current-context"], "canopus");
    }

    #[test]
    fn removing_takes_only_the_clusters_own_entries() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config");
        merge_into(&file, &sample("other")).unwrap();
        merge_into(&file, &sample("canopus")).unwrap();
        remove_from(&file, "canopus").unwrap();
        let left = read(&file).unwrap();
        assert_eq!(left["clusters"], sample("other")["clusters"]);
        assert_eq!(left["users"], sample("other")["users"]);
        assert_eq!(left["current-context"], "");
    }

    #[test]
    fn a_file_that_is_no_kubeconfig_is_refused_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config");
        std::fs::write(&file, "- just a list\n").unwrap();
        assert!(merge_into(&file, &sample("canopus")).is_err());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "- just a list\n");
    }
}
