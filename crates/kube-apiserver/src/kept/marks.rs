//! What says where the objects have gone: a file in the folder that they left, a key in the etcd that they left.
//!
//! On the way back both are there for a moment: the folder is filled under the mark that leads to etcd, then etcd gets its mark, then the
//! folder loses its own. The step in the middle is the one that counts. A server that was killed right behind it finds in both marks the
//! name of that one move, and goes on with the files; a folder that was left in another move has another name, or none.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::json;
use store::{NewValue, Store};

use super::KeptError;
use crate::etcd::Etcd;
use crate::registry::{Attrs, encode, keys, object};

/// The file in the folder of a store whose objects have gone to an etcd; it says which.
pub(super) const MOVED: &str = "moved";
/// The key, behind the prefix, in an etcd whose objects have gone to files; it says where.
pub(super) const BACK: &str = "canopus/moved";

/// In a folder.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Moved {
    /// The etcd that has the objects.
    #[serde(flatten)]
    pub settings: Etcd,
    /// The move that fills the folder again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back: Option<String>,
}

/// In an etcd.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Back {
    /// The folder that has the objects.
    pub to: String,
    /// The move that brought them there.
    pub back: Option<String>,
}

/// The mark of a folder, if it has one.
pub(super) fn read(folder: &Path) -> Result<Option<Moved>, KeptError> {
    let file = folder.join(MOVED);
    let unreadable = |reason: String| KeptError::Mark { file: file.clone(), reason };
    match fs::read(&file) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| unreadable(error.to_string())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(error.to_string())),
    }
}

/// Marks a folder, durably.
pub(super) fn write(folder: &Path, mark: &Moved) -> io::Result<()> {
    let (file, unfinished) = (folder.join(MOVED), folder.join(format!("{MOVED}.tmp")));
    let mut new = fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    new.write_all(&serde_json::to_vec_pretty(mark)?)?;
    new.sync_all()?;
    fs::rename(&unfinished, file)?;
    sync_names(folder)
}

/// Takes the mark off a folder, durably.
pub(super) fn remove(folder: &Path) -> io::Result<()> {
    fs::remove_file(folder.join(MOVED))?;
    sync_names(folder)
}

/// Makes the names in a folder durable.
pub(super) fn sync_names(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

/// The key of an etcd's mark.
pub(super) fn key() -> String {
    format!("{}{BACK}", keys::ROOT)
}

/// The mark of an etcd, if it has one.
pub(super) fn back(store: &Store<Attrs>) -> Option<Back> {
    let value = encode::decode(&store.get(&key())?.value).unwrap_or_default();
    let back = Some(object::text(&value, "/data/back")).filter(|back| !back.is_empty());
    Some(Back { to: object::text(&value, "/data/to").to_owned(), back: back.map(str::to_owned) })
}

/// The value of an etcd's mark.
pub(super) fn back_value(to: &Path, back: &str) -> Result<NewValue, String> {
    let data = json!({ "to": to.display().to_string(), "back": back });
    let value = json!({ "metadata": { "name": "moved" }, "data": data });
    let value = encode::encode_as("ConfigMap", "v1", &value).map_err(|status| status.message().to_owned())?;
    Ok(NewValue::new(value.bytes, Some(value.revision_at)))
}

/// The names in a folder that are neither its mark nor what locks it.
pub(super) fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let all = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
    let is_kept = |file: &PathBuf| file.file_name().is_some_and(|name| name != MOVED && name != "lock");
    Ok(all.into_iter().filter(is_kept).collect())
}
