//! `canopus store`: what the embedded store's files hold. All but `compact` and `migrate` only read them, so it does not matter
//! whether a server is writing them.

mod migrate;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use serde_json::value::RawValue;
use store::journal::inspect::{Inspection, State, inspect};
use store::journal::{Record, WalOptions};

use crate::cli::{RootArgs, StoreCommand};
use crate::layout::Layout;

pub async fn run(command: &StoreCommand) -> Result<()> {
    let mut out = io::stdout();
    match command {
        StoreCommand::Verify(root) => verify(root, &mut out),
        StoreCommand::Stats(root) => stats(&read(root)?, &mut out),
        StoreCommand::Get { root, key } => get(&read(root)?.0, key, &mut out),
        StoreCommand::Dump { root, prefix } => dump(&read(root)?.0, prefix, &mut out),
        StoreCommand::Compact(root) => compact(&folder_of(root)?, &mut out),
        StoreCommand::Migrate(arguments) => migrate::run(arguments, &mut out).await,
    }
}

/// Whether a value is encrypted at rest.
pub fn is_sealed(value: &[u8]) -> bool {
    value.starts_with(kube_apiserver::kept::ENCRYPTED.as_bytes())
}

fn folder_of(root: &RootArgs) -> Result<PathBuf> {
    let folder = Layout::new(&root.root_dir)?.store();
    if !folder.is_dir() {
        bail!("there is no store at {}", folder.display());
    }
    Ok(folder)
}

/// The state below a root folder.
pub fn read(root: &RootArgs) -> Result<(State, Inspection)> {
    let folder = folder_of(root)?;
    inspect(&folder).with_context(|| format!("failed to read the store at {}", folder.display()))
}

fn verify(root: &RootArgs, out: &mut impl Write) -> Result<()> {
    let (state, found) = read(root)?;
    writeln!(out, "The store is whole up to revision {}: {} keys.", found.revision, state.records().count())?;
    if found.torn_bytes > 0 {
        let bytes = found.torn_bytes;
        writeln!(out, "Its last {bytes} bytes are a write that has not been finished; nobody was told of it.")?;
    }
    Ok(())
}

fn stats((state, found): &(State, Inspection), out: &mut impl Write) -> Result<()> {
    let mut resources: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for record in state.records() {
        let (count, bytes) = resources.entry(&record.key[..store::resource_of(record.key)]).or_default();
        *count += 1;
        *bytes += record.key.len() + record.value.len();
    }
    let snapshot = found.snapshot.map_or_else(|| "none".to_owned(), |revision| revision.to_string());
    writeln!(out, "revision {}, snapshot {snapshot}, {} bytes of log after it", found.revision, found.log_bytes)?;
    writeln!(out, "{:<60} {:>9} {:>12}", "RESOURCE", "OBJECTS", "BYTES")?;
    for (resource, (count, bytes)) in resources {
        writeln!(out, "{:<60} {count:>9} {bytes:>12}", resource.trim_end_matches('/'))?;
    }
    Ok(())
}

fn get(state: &State, key: &str, out: &mut impl Write) -> Result<()> {
    let Some(record) = state.get(key) else { bail!("the store has no key {key:?}") };
    if is_sealed(record.value) {
        bail!("the value of {key:?} is encrypted at rest: ask the API server for the object");
    }
    out.write_all(record.value)?;
    writeln!(out)?;
    Ok(())
}

fn dump(state: &State, prefix: &str, out: &mut impl Write) -> Result<()> {
    for record in state.records().filter(|record| record.key.starts_with(prefix)) {
        writeln!(out, "{}", line(&record))?;
    }
    Ok(())
}

fn compact(folder: &Path, out: &mut impl Write) -> Result<()> {
    let size = || -> Result<u64> {
        let entries = fs::read_dir(folder).with_context(|| format!("failed to read {}", folder.display()))?;
        entries.map(|entry| Ok(entry?.metadata()?.len())).sum()
    };
    let before = size()?;
    let doing = || format!("failed to compact the store at {}", folder.display());
    let revision = store::journal::compact::compact(folder, WalOptions::default()).with_context(doing)?;
    writeln!(out, "The store goes on at revision {revision}; its files take {} bytes of {before} before.", size()?)?;
    Ok(())
}

/// Values that are no JSON (they are encrypted) are shown in base64.
fn line(record: &Record<'_>) -> String {
    let Record { key, create_revision, revision, value, .. } = *record;
    let head = json!({ "key": key, "createRevision": create_revision, "revision": revision }).to_string();
    let head = head.trim_end_matches('}');
    match serde_json::from_slice::<&RawValue>(value) {
        Ok(value) => format!("{head},\"value\":{}}}", value.get()),
        Err(_) => format!("{head},\"valueBase64\":\"{}\"}}", STANDARD.encode(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::{EventKind, journal::Visitor as _};

    fn state() -> State {
        let mut state = State::default();
        for (at, (key, value)) in [
            ("/registry/configmaps/default/a", br#"{"kind":"ConfigMap"}"#.as_slice()),
            ("/registry/configmaps/default/b", b"{}"),
            ("/registry/secrets/default/s", b"k8s:enc:aesgcm:v1:k:\x00\xff"),
        ]
        .into_iter()
        .enumerate()
        {
            let revision = at as u64 + 2;
            state.entry(Record {
                kind: EventKind::Put,
                key,
                create_revision: revision,
                revision,
                value,
                revision_at: None,
                expires_at: 0,
            });
        }
        state
    }

    fn printed(work: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> String {
        let mut out = Vec::new();
        work(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_are_printed_as_they_are_kept() {
        let state = state();
        let text = printed(|out| get(&state, "/registry/configmaps/default/a", out));
        assert_eq!(text, "{\"kind\":\"ConfigMap\"}\n");
        let error = |key| get(&state, key, &mut Vec::new()).unwrap_err().to_string();
        assert_eq!(error("/x"), "the store has no key \"/x\"");
        assert!(error("/registry/secrets/default/s").contains("is encrypted at rest"));
    }

    #[test]
    fn a_dump_has_one_object_a_line() {
        let state = state();
        let text = printed(|out| dump(&state, "/registry/", out));
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0]["value"]["kind"], "ConfigMap");
        assert_eq!((&lines[1]["revision"], &lines[1]["createRevision"]), (&json!(3), &json!(3)));
        assert_eq!(lines[2]["valueBase64"], STANDARD.encode(b"k8s:enc:aesgcm:v1:k:\x00\xff"));
        assert_eq!(printed(|out| dump(&state, "/registry/secrets/", out)).lines().count(), 1);
    }

    #[test]
    fn resources_are_counted() {
        let found = Inspection { revision: 9, snapshot: None, log_bytes: 77, torn_bytes: 0 };
        let text = printed(|out| stats(&(state(), found), out));
        assert!(text.starts_with("revision 9, snapshot none, 77 bytes of log after it\n"), "{text}");
        let count = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().to_owned()
        };
        assert_eq!((count("/registry/configmaps").as_str(), count("/registry/secrets").as_str()), ("2", "1"));
    }
}
