//! `canopus store`: what the embedded store's files hold. All but `compact` and `migrate` only read them, so it does not matter
//! whether a server is writing them.

mod migrate;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use serde_json::value::RawValue;
use store::journal::inspect::{Inspection, State, check_history, inspect};
use store::journal::{Record, Transformer, WalOptions};

use crate::cli::{EncryptionArgs, RootArgs, StoreCommand};
use crate::layout::Layout;

pub async fn run(command: &StoreCommand) -> Result<()> {
    let mut out = io::stdout();
    match command {
        StoreCommand::Verify(root) => verify(root, &mut out),
        StoreCommand::Stats(root) => stats(&read(root)?, &mut out),
        StoreCommand::Get { root, encryption, key } => get(&read(root)?.0, &Opener::of(encryption)?, key, &mut out),
        StoreCommand::Dump { root, encryption, prefix } => {
            dump(&read(root)?.0, &Opener::of(encryption)?, prefix, &mut out)
        }
        StoreCommand::Compact(root) => compact(&folder_of(root)?, &mut out),
        StoreCommand::Migrate(arguments) => migrate::run(arguments, &mut out).await,
    }
}

/// Whether a value is encrypted at rest.
pub fn is_sealed(value: &[u8]) -> bool {
    value.starts_with(kube_apiserver::kept::ENCRYPTED.as_bytes())
}

/// What opens values that are encrypted at rest, if somebody said how.
#[derive(Default)]
struct Opener(Option<Arc<dyn Transformer>>);

impl Opener {
    fn of(arguments: &EncryptionArgs) -> Result<Self> {
        let file = arguments.encryption_provider_config.as_deref();
        Ok(Self(file.map(kube_apiserver::kept::opener).transpose()?))
    }

    fn open<'v>(&self, record: &Record<'v>) -> Result<Cow<'v, [u8]>> {
        let Record { key, value, .. } = *record;
        match &self.0 {
            Some(transformer) if is_sealed(value) => match transformer.open(key, value) {
                Ok(opened) => Ok(opened.value),
                Err(reason) => bail!("failed to open the value of {key:?}: {reason}"),
            },
            _ => Ok(value.into()),
        }
    }
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
    let folder = folder_of(root)?;
    let since =
        check_history(&folder).with_context(|| format!("failed to read the history at {}", folder.display()))?;
    if let Some(since) = since.filter(|since| *since < found.snapshot.unwrap_or(0)) {
        writeln!(out, "The history that is kept is whole, since revision {since}.")?;
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
    let Inspection { revision, snapshot, snapshot_bytes, log_bytes, accepted_bytes, .. } = *found;
    let snapshot =
        snapshot.map_or_else(|| "none".to_owned(), |revision| format!("{revision} ({snapshot_bytes} bytes)"));
    writeln!(out, "revision {revision}, snapshot {snapshot}, {log_bytes} bytes of log after it")?;
    if let Some((in_log, in_all)) = amplification(found, bytes_of(state)) {
        writeln!(
            out,
            "write amplification: {in_log:.2} in the log ({accepted_bytes} bytes of keys and values), {in_all:.2} with snapshots of this size"
        )?;
    }
    writeln!(out, "{:<60} {:>9} {:>12}", "RESOURCE", "OBJECTS", "BYTES")?;
    for (resource, (count, bytes)) in resources {
        writeln!(out, "{:<60} {count:>9} {bytes:>12}", resource.trim_end_matches('/'))?;
    }
    Ok(())
}

fn bytes_of(state: &State) -> u64 {
    state.records().map(|record| (record.key.len() + record.value.len()) as u64).sum()
}

/// Bytes written for each byte that was accepted: to the log alone, and with the snapshots, of which one is written whenever the
/// log has grown as much as a server lets it.
fn amplification(found: &Inspection, state_bytes: u64) -> Option<(f64, f64)> {
    let accepted = (found.accepted_bytes > 0).then_some(found.accepted_bytes as f64)?;
    let in_log = found.log_bytes as f64 / accepted;
    let log_bytes = WalOptions::default().snapshot_log_bytes.max(state_bytes);
    Some((in_log, in_log * (1.0 + found.snapshot_bytes as f64 / log_bytes as f64)))
}

fn get(state: &State, opener: &Opener, key: &str, out: &mut impl Write) -> Result<()> {
    let Some(record) = state.get(key) else { bail!("the store has no key {key:?}") };
    let value = opener.open(&record)?;
    if is_sealed(&value) {
        bail!("the value of {key:?} is encrypted at rest: --encryption-provider-config says how to read it");
    }
    out.write_all(&value)?;
    writeln!(out)?;
    Ok(())
}

fn dump(state: &State, opener: &Opener, prefix: &str, out: &mut impl Write) -> Result<()> {
    for record in state.records().filter(|record| record.key.starts_with(prefix)) {
        let value = opener.open(&record)?;
        writeln!(out, "{}", line(&Record { value: &value, ..record }))?;
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

/// Values that are encrypted, or no JSON, are shown in base64.
fn line(record: &Record<'_>) -> String {
    let Record { key, create_revision, revision, value, .. } = *record;
    let head = json!({ "key": key, "createRevision": create_revision, "revision": revision }).to_string();
    let head = head.trim_end_matches('}');
    if is_sealed(value) {
        return format!("{head},\"encrypted\":true,\"valueBase64\":\"{}\"}}", STANDARD.encode(value));
    }
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
        let text = printed(|out| get(&state, &Opener::default(), "/registry/configmaps/default/a", out));
        assert_eq!(text, "{\"kind\":\"ConfigMap\"}\n");
        let error = |key| get(&state, &Opener::default(), key, &mut Vec::new()).unwrap_err().to_string();
        assert_eq!(error("/x"), "the store has no key \"/x\"");
        assert!(error("/registry/secrets/default/s").contains("is encrypted at rest: --encryption-provider-config"));
    }

    #[test]
    fn encrypted_values_are_opened_with_their_keys() {
        let folder = tempfile::tempdir().unwrap();
        let opener = |name: &str, secret: char| {
            let file = folder.path().join(name);
            let secret = secret.to_string().repeat(43);
            let text = format!(
                "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [secrets]\n  \
                 providers:\n  - secretbox: {{keys: [{{name: k, secret: {secret}=}}]}}\n"
            );
            fs::write(&file, text).unwrap();
            Opener::of(&EncryptionArgs { encryption_provider_config: Some(file) }).unwrap()
        };
        let (right, wrong) = (opener("right", 'A'), opener("wrong", 'B'));
        let key = "/registry/secrets/default/s";
        let sealed = right.0.as_ref().unwrap().seal(key, br#"{"kind":"Secret"}"#).unwrap();
        assert!(is_sealed(&sealed));
        let mut state = state();
        let record = Record {
            kind: EventKind::Put,
            key,
            create_revision: 4,
            revision: 4,
            value: &sealed,
            revision_at: None,
            expires_at: 0,
        };
        state.entry(record);
        assert_eq!(printed(|out| get(&state, &right, key, out)), "{\"kind\":\"Secret\"}\n");
        let text = printed(|out| dump(&state, &right, "/registry/", out));
        let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!((&last["value"]["kind"], last.get("encrypted")), (&json!("Secret"), None));
        let error = get(&state, &wrong, key, &mut Vec::new()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("failed to open the value of {key:?}: ")), "{error}");
        dump(&state, &wrong, "/registry/secrets/", &mut Vec::new()).unwrap_err();
    }

    #[test]
    fn a_dump_has_one_object_a_line() {
        let state = state();
        let text = printed(|out| dump(&state, &Opener::default(), "/registry/", out));
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0]["value"]["kind"], "ConfigMap");
        assert_eq!((&lines[1]["revision"], &lines[1]["createRevision"]), (&json!(3), &json!(3)));
        assert_eq!(lines[2]["valueBase64"], STANDARD.encode(b"k8s:enc:aesgcm:v1:k:\x00\xff"));
        assert_eq!((&lines[0].get("encrypted"), &lines[2]["encrypted"]), (&None, &json!(true)));
        assert_eq!(printed(|out| dump(&state, &Opener::default(), "/registry/secrets/", out)).lines().count(), 1);
    }

    #[test]
    fn resources_are_counted() {
        let found = Inspection {
            revision: 9,
            snapshot: Some(7),
            snapshot_bytes: 16 << 20,
            log_bytes: 77,
            accepted_bytes: 70,
            torn_bytes: 0,
        };
        let text = printed(|out| stats(&(state(), found), out));
        assert!(text.starts_with("revision 9, snapshot 7 (16777216 bytes), 77 bytes of log after it\n"), "{text}");
        // A snapshot of 16 MiB for every 32 MiB of log.
        assert!(
            text.contains("write amplification: 1.10 in the log (70 bytes of keys and values), 1.65 with "),
            "{text}"
        );
        let count = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().to_owned()
        };
        assert_eq!((count("/registry/configmaps").as_str(), count("/registry/secrets").as_str()), ("2", "1"));
    }
}
