//! The command line that a cluster was started with, kept below its root folder: what a backup needs to tell how it is started again.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
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

/// Words of a command line, at most; a list of names is one.
const WORDS_MAX: usize = 1000;

/// The command and its flags, without the root folder; files and folders by absolute names.
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
            let (name, value) = flag(&argument);
            match name {
                // How this process is run says nothing of the cluster.
                "foreground" => {}
                "root-dir" => drop(value.map(str::to_owned).or_else(|| given.next())),
                // Another shell stands in another folder.
                _ if FILES.contains(&name) || name == "backup-to" => {
                    let Some(value) = value.map(str::to_owned).or_else(|| given.next()) else { continue };
                    kept.extend([format!("--{name}"), absolute(value)?]);
                }
                _ => kept.push(argument),
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

    /// Those in bytes that anybody may have written. They are shown to people, who may start what they see.
    pub fn parse(text: &[u8]) -> Result<Self> {
        let own: Self = serde_json::from_slice(text)?;
        let Some("up" | "server") = own.0.first().map(String::as_str) else {
            bail!("it starts no cluster");
        };
        ensure!(own.0.len() <= WORDS_MAX, "it has {} words, more than {WORDS_MAX}", own.0.len());
        ensure!(!own.0.iter().any(|word| word.contains(is_unseen)), "a control character is in it");
        for name in FILES {
            ensure!(own.files().filter(|(flag, _)| *flag == name).count() < 2, "--{name} is in it twice");
        }
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

    /// The same on the embedded store; and, if they name an etcd, the command that moves the objects there.
    #[must_use]
    pub fn on_embedded(&self) -> (Self, Option<Self>) {
        let (mut here, mut servers, mut about_etcd) = (Vec::new(), Vec::new(), Vec::new());
        let mut words = self.0.iter();
        while let Some(word) = words.next() {
            let (name, value) = flag(word);
            if !is_about_etcd(name) {
                here.push(word.clone());
                continue;
            }
            let Some(value) = value.or_else(|| words.next().map(String::as_str)) else { continue };
            if name == "etcd-servers" {
                servers.push(value);
            } else {
                about_etcd.extend([format!("--{name}"), value.to_owned()]);
            }
        }
        if servers.is_empty() {
            return (self.clone(), None);
        }
        let members = servers.iter().flat_map(|urls| urls.split(','));
        let members: Vec<&str> =
            members.map(|url| url.split_once("://").map_or(url, |(_, rest)| rest).trim_end_matches('/')).collect();
        let there = ["store", "migrate", "--to"].map(str::to_owned).into_iter();
        let there = there.chain([format!("etcd://{}", members.join(","))]).chain(about_etcd).collect();
        (Self(here), Some(Self(there)))
    }

    /// Such a command line for a root folder, as a shell takes it.
    pub fn line(&self, layout: &Layout) -> String {
        let root = ["--root-dir".to_owned(), layout.root().display().to_string()];
        let command = self.0.iter().take_while(|word| !word.starts_with('-')).count();
        let (command, flags) = self.0.split_at(command);
        let words = ["canopus".to_owned()].into_iter().chain(command.iter().cloned()).chain(root);
        words.chain(flags.iter().cloned()).map(|word| quoted(&word)).collect::<Vec<_>>().join(" ")
    }
}

/// The name of a flag, empty for another word, and the value that is in the same word.
fn flag(word: &str) -> (&str, Option<&str>) {
    match word.strip_prefix("--").unwrap_or_default().split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (word.strip_prefix("--").unwrap_or_default(), None),
    }
}

/// The flags of [`crate::components::EtcdFlags`]; all have a value.
fn is_about_etcd(name: &str) -> bool {
    name.starts_with("etcd-") || matches!(name, "storage-media-type" | "lease-reuse-duration-seconds")
}

/// A path that does not depend on where one stands; a URL is none.
fn absolute(value: String) -> Result<String> {
    if value.contains("://") {
        return Ok(value);
    }
    let path = std::path::absolute(&value).with_context(|| format!("failed to find {value}"))?;
    Ok(path.display().to_string())
}

/// What does not show, or changes how what is around it shows.
fn is_unseen(c: char) -> bool {
    let changes_order_or_width =
        matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    c.is_control() || changes_order_or_width
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
    use clap::{Args as _, CommandFactory, Parser as _};

    use super::*;
    use crate::cli::Cli;
    use crate::components::EtcdFlags;

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
        let relative = arguments("server --token-auth-file t --backup-to=b");
        assert!(relative.files().all(|(_, file)| file.is_absolute()));
        assert!(Path::new(relative.0.last().unwrap()).is_absolute(), "{relative:?}");
        assert_eq!(arguments("up --backup-to s3://b/c").0, ["up", "--backup-to", "s3://b/c"]);
    }

    #[test]
    fn every_flag_about_etcd_is_known_and_has_a_value() {
        let known = EtcdFlags::augment_args(clap::Command::new("x"));
        let about_etcd: Vec<&str> = known.get_arguments().filter_map(clap::Arg::get_long).collect();
        assert!(about_etcd.iter().all(|name| is_about_etcd(name)), "{about_etcd:?}");
        assert!(known.get_arguments().all(|flag| flag.get_action().takes_values()));
        for flag in Cli::command().find_subcommand("up").unwrap().get_arguments() {
            let name = flag.get_long().unwrap();
            assert_eq!(is_about_etcd(name), about_etcd.contains(&name), "{name}");
        }
    }

    #[test]
    fn the_restored_cluster_is_on_the_embedded_store_and_may_move() {
        let own = arguments(
            "up --etcd-servers=https://a:1,https://b:2/ --etcd-cafile /ca --etcd-prefix=/r --secure-port 7443",
        );
        let layout = Layout::new(Path::new("/r")).unwrap();
        let (here, there) = own.on_embedded();
        assert_eq!(here.line(&layout), "canopus up --root-dir /r --secure-port 7443");
        let there = there.unwrap().line(&layout);
        assert_eq!(there, "canopus store migrate --root-dir /r --to etcd://a:1,b:2 --etcd-cafile /ca --etcd-prefix /r");
        for line in [here.line(&layout), there] {
            Cli::try_parse_from(line.split(' ')).unwrap();
        }
        // Flags about an etcd that is none count for nothing.
        let own = arguments("server --etcd-prefix /r");
        assert_eq!(own.on_embedded(), (own.clone(), None));
    }

    #[test]
    fn what_starts_no_cluster_is_refused() {
        let many = vec!["up"; WORDS_MAX + 1];
        for (words, why) in [
            (&[][..], "it starts no cluster"),
            (&["kubectl", "delete"], "it starts no cluster"),
            (&["--root-dir", "up"], "it starts no cluster"),
            (&["up", "--node-name", "a\u{202e}b"], "a control character is in it"),
            (&["up", "--node-name", "a\nb"], "a control character is in it"),
            (&["up", "--etcd-cafile", "/a", "--etcd-cafile", "/b"], "--etcd-cafile is in it twice"),
            (&many, "it has 1001 words, more than 1000"),
        ] {
            let error = Arguments::parse(&serde_json::to_vec(words).unwrap()).unwrap_err();
            assert_eq!(error.to_string(), why);
        }
        assert!(Arguments::parse(b"{}").is_err());
        assert!(Arguments::parse(r#"["server","--backup-to","/Sicherung für später"]"#.as_bytes()).is_ok());
    }
}
