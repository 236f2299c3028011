//! How a cluster is started, as part of its backup: its flags (`arguments.json`), and what lies in the files that they name, each under the
//! flag's name. Restored files lie below the new root folder, wherever they were before, so an archive cannot say where
//! anything is written; and nothing is started by what it says, a person is shown the command.

use std::fs;
use std::io::{Read as _, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::archive::{FILE_BYTES_MAX, Manifest, Packer};
use crate::arguments::Arguments;
use crate::layout::Layout;

/// Their place in an archive.
pub const FOLDER: &str = "config";
const ARGUMENTS: &str = "arguments.json";

pub fn add_to(packer: &mut Packer<impl Write>, arguments: &Arguments) -> Result<()> {
    for (flag, file) in arguments.files() {
        let bytes = read(file).with_context(|| format!("failed to read {}, the file of --{flag}", file.display()))?;
        packer.add(&format!("{FOLDER}/{flag}"), bytes.len() as u64, bytes.as_slice())?;
    }
    let arguments = serde_json::to_vec_pretty(arguments)?;
    packer.add(&format!("{FOLDER}/{ARGUMENTS}"), arguments.len() as u64, arguments.as_slice())
}

/// A file that a flag names. A pipe, which a shell gives for `<(...)`, cannot be read a second time and would be waited for.
fn read(file: &Path) -> Result<Vec<u8>> {
    ensure!(fs::metadata(file)?.is_file(), "it is no plain file");
    let mut bytes = Vec::new();
    // One more than fits, so that what is too large is seen to be.
    fs::File::open(file)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The flags in a backup that was unpacked, if it has any.
pub fn of(unpacked: &Path, manifest: &Manifest) -> Result<Option<Arguments>> {
    let read = || -> Result<Arguments> {
        let folder = unpacked.join(FOLDER);
        let arguments = Arguments::parse(&fs::read(folder.join(ARGUMENTS))?)?;
        for (flag, _) in arguments.files() {
            ensure!(folder.join(flag).is_file(), "the file of --{flag} is missing");
        }
        Ok(arguments)
    };
    manifest.config.then(read).transpose().context("the configuration in the backup cannot be used")
}

/// Puts the files that the flags name below the root folder, and nothing else that may be there.
pub fn put_back(unpacked: &Path, arguments: &Arguments, layout: &Layout) -> Result<()> {
    let folder = layout.config();
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
    made.with_context(|| format!("failed to make {}", folder.display()))?;
    for (flag, _) in arguments.files() {
        let target = folder.join(flag);
        let write = || -> Result<()> {
            let mut file = fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&target)?;
            file.write_all(&fs::read(unpacked.join(FOLDER).join(flag))?)?;
            Ok(file.sync_all()?)
        };
        write().with_context(|| format!("failed to write {}", target.display()))?;
    }
    Ok(())
}
