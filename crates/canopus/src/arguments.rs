//! The command line that a cluster was started with, kept below its root folder: what a backup needs to tell how it is started again.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::layout::Layout;
use crate::pki;

/// The flags of `canopus up` and `canopus server` that name a file.
const FILES: [&str; 6] = [
    "token-auth-file",
    "encryption-provider-config",
    "etcd-cafile",
    "etcd-certfile",
    "etcd-keyfile",
    "backup-credentials-file",
];

/// The command and its flags, without the root folder; files by absolute names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arguments(Vec<String>);

impl Arguments {
    /// Those of this process.
    pub fn own() -> Result<Self> {
        Self::of(std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()))
    }

    fn of(given: impl IntoIterator<Item = String>) -> Result<Self> {
        let mut kept = Vec::new();
        let mut given = given.into_iter();
        while let Some(argument) = given.next() {
            let (name, mut value) = match argument.strip_prefix("--").and_then(|flag| flag.split_once('=')) {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (argument.strip_prefix("--").unwrap_or_default(), None),
            };
            let is_root = name == "root-dir";
            if !is_root && !FILES.contains(&name) {
                // How this process is run says nothing of the cluster.
                if argument != "--foreground" {
                    kept.push(argument);
                }
                continue;
            }
            value = value.or_else(|| given.next());
            if let Some(value) = value.filter(|_| !is_root) {
                let file = std::path::absolute(&value).with_context(|| format!("failed to find {value}"))?;
                kept.extend([format!("--{name}"), file.display().to_string()]);
            }
        }
        Ok(Self(kept))
    }

    /// Keeps them below the root folder.
    pub fn write(&self, layout: &Layout) -> Result<()> {
        pki::write_private(&layout.arguments(), &serde_json::to_string_pretty(self)?)
    }

    /// Those of the cluster that runs, or ran last, below the root folder.
    pub fn read(layout: &Layout) -> Result<Self> {
        let path = layout.arguments();
        let text = std::fs::read(&path).with_context(|| {
            format!(
                "failed to read {}, which the start of a cluster writes: how it was started is not known",
                path.display()
            )
        })?;
        Self::parse(&text).with_context(|| format!("{} is damaged", path.display()))
    }

    /// Those in bytes that anybody may have written.
    pub fn parse(text: &[u8]) -> Result<Self> {
        let own: Self = serde_json::from_slice(text)?;
        // They are shown to people.
        ensure!(!own.0.iter().any(|word| word.contains(char::is_control)), "a control character is in it");
        Ok(own)
    }

    /// The flags that name files, each without its dashes, and the files.
    pub fn files(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        self.0.iter().zip(self.0.iter().skip(1)).filter_map(|(flag, file)| Some((file_flag(flag)?, Path::new(file))))
    }

    /// The same with other files.
    #[must_use]
    pub fn with_files(&self, file_of: impl Fn(&str) -> PathBuf) -> Self {
        let flags = std::iter::once(None).chain(self.0.iter().map(|flag| file_flag(flag)));
        let other = |(own, flag): (&String, Option<&str>)| match flag {
            Some(flag) => file_of(flag).display().to_string(),
            None => own.clone(),
        };
        Self(self.0.iter().zip(flags).map(other).collect())
    }

    /// The line that starts such a cluster below a root folder, for a shell.
    pub fn line(&self, layout: &Layout) -> String {
        let root = ["--root-dir".to_owned(), layout.root().display().to_string()];
        let (command, flags) = self.0.split_at(self.0.len().min(1));
        let words =
            ["canopus".to_owned()].into_iter().chain(command.iter().cloned()).chain(root).chain(flags.iter().cloned());
        words.map(|word| quoted(&word)).collect::<Vec<_>>().join(" ")
    }
}

fn file_flag(argument: &str) -> Option<&'static str> {
    FILES.into_iter().find(|flag| argument.strip_prefix("--") == Some(flag))
}

/// A word as a POSIX shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    fn arguments(text: &str) -> Arguments {
        Arguments::of(text.split(' ').map(str::to_owned)).unwrap()
    }

    #[test]
    fn every_flag_that_names_a_file_is_known() {
        let command = Cli::command();
        for name in ["up", "server"] {
            let command = command.find_subcommand(name).unwrap();
            let names_a_file =
                |flag: &clap::Arg| flag.get_value_names().is_some_and(|names| names.iter().any(|name| name == "FILE"));
            let found = command.get_arguments().filter(|flag| names_a_file(flag)).filter_map(clap::Arg::get_long);
            let mut found: Vec<&str> = found.collect();
            let mut known = FILES.to_vec();
            found.sort_unstable();
            known.sort_unstable();
            assert_eq!(found, known, "{name}");
        }
    }

    #[test]
    fn files_are_found_and_replaced_and_the_root_folder_is_another() {
        let own =
            arguments("up --root-dir /a --foreground --secure-port 7443 --token-auth-file=/t --etcd-cafile /ca.crt");
        assert_eq!(own, arguments("up --secure-port 7443 --token-auth-file /t --root-dir=/b --etcd-cafile /ca.crt"));
        let files: Vec<_> = own.files().collect();
        assert_eq!(files, [("token-auth-file", Path::new("/t")), ("etcd-cafile", Path::new("/ca.crt"))]);
        let moved = own.with_files(|flag| Path::new("/r/it's").join(flag));
        let layout = Layout::new(Path::new("/r")).unwrap();
        assert_eq!(
            moved.line(&layout),
            r"canopus up --root-dir /r --secure-port 7443 --token-auth-file '/r/it'\''s/token-auth-file' --etcd-cafile '/r/it'\''s/etcd-cafile'"
        );
        let relative = arguments("server --token-auth-file t");
        assert!(relative.files().all(|(_, file)| file.is_absolute()));
    }
}
