//! How a cluster is started, as part of its backup: its flags (`arguments.json`), and what lies in the files that they name, each under the
//! flag's name. Restored files lie below the new root folder, wherever they were before, so an archive cannot say where
//! anything is written.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};

use super::archive::{Manifest, add};
use crate::arguments::Arguments;

/// Their place in an archive.
pub const FOLDER: &str = "config";
const ARGUMENTS: &str = "arguments.json";

pub fn add_to(archive: &mut tar::Builder<impl Write>, arguments: &Arguments) -> Result<()> {
    for (flag, file) in arguments.files() {
        let bytes =
            fs::read(file).with_context(|| format!("failed to read {}, the file of --{flag}", file.display()))?;
        add(archive, &format!("{FOLDER}/{flag}"), bytes.len() as u64, bytes.as_slice())?;
    }
    let arguments = serde_json::to_vec_pretty(arguments)?;
    add(archive, &format!("{FOLDER}/{ARGUMENTS}"), arguments.len() as u64, arguments.as_slice())
}

/// The flags in a backup that was unpacked, if it has any.
pub fn of(unpacked: &Path, manifest: &Manifest) -> Result<Option<Arguments>> {
    let read = || -> Result<Arguments> {
        let folder = unpacked.join(FOLDER);
        let arguments = Arguments::parse(&fs::read(folder.join(ARGUMENTS))?)?;
        for (flag, _) in arguments.files() {
            fs::metadata(folder.join(flag)).with_context(|| format!("the file of --{flag} is missing"))?;
        }
        Ok(arguments)
    };
    manifest.config.then(read).transpose().context("the configuration in the backup cannot be used")
}
