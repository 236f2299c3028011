//! Flags as kubectl has them: a boolean may be written `--x`, `--x=true` or `--x=false`, lists may be repeated or joined by
//! commas, and a value may begin with a dash.

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::error::{Error, Result};

/// A boolean flag, false unless given.
pub fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .action(ArgAction::Set)
        .overrides_with(name)
        .hide_possible_values(true)
        .value_name("BOOL")
        .help(help)
}

/// A flag with a value.
pub fn option(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).allow_hyphen_values(true).action(ArgAction::Set).overrides_with(name).help(help)
}

/// A flag with a value that may be left out: `--cascade`, `--cascade=orphan`.
pub fn optional(name: &'static str, missing: &'static str, help: &'static str) -> Arg {
    flag(name, help).default_missing_value(missing).value_name("VALUE")
}

/// A flag that may be repeated.
pub fn list(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).allow_hyphen_values(true).action(ArgAction::Append).help(help)
}

/// The words of the command line that are no flags.
pub fn words(help: &'static str) -> Arg {
    Arg::new("words").num_args(0..).help(help)
}

/// The words behind `--`.
pub fn command_words(help: &'static str) -> Arg {
    Arg::new("command-words").num_args(0..).last(true).allow_hyphen_values(true).help(help)
}

/// Reading parsed flags.
pub trait Flags {
    fn on(&self, name: &str) -> bool;
    /// A boolean whose default is true.
    fn on_or(&self, name: &str, default: bool) -> bool;
    fn text(&self, name: &str) -> Option<&str>;
    fn texts(&self, name: &str) -> Vec<String>;
    /// Repeated values, each split at commas.
    fn split(&self, name: &str) -> Vec<String>;
    fn words(&self) -> Vec<String>;
    fn number(&self, name: &str) -> Result<Option<i64>>;
}

impl Flags for ArgMatches {
    fn on(&self, name: &str) -> bool {
        self.on_or(name, false)
    }

    fn on_or(&self, name: &str, default: bool) -> bool {
        match self.text(name) {
            None => default,
            Some(text) => !matches!(text, "false" | "False" | "FALSE" | "f" | "F" | "0"),
        }
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.try_get_one::<String>(name).ok().flatten().map(String::as_str)
    }

    fn texts(&self, name: &str) -> Vec<String> {
        self.try_get_many::<String>(name).ok().flatten().map_or_else(Vec::new, |values| values.cloned().collect())
    }

    fn split(&self, name: &str) -> Vec<String> {
        let parts = self.texts(name);
        parts.iter().flat_map(|part| part.split(',')).filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }

    fn words(&self) -> Vec<String> {
        self.texts("words")
    }

    fn number(&self, name: &str) -> Result<Option<i64>> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match text.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(Error::message(format!(
                "invalid argument {0} for \"--{name}\" flag: strconv.ParseInt: parsing {0}: invalid syntax",
                machinery::go_text::quote(text)
            ))),
        }
    }
}

/// The flags that every command has.
pub fn global(command: Command) -> Command {
    let global = |arg: Arg| arg.global(true).help_heading("Global options");
    command.args([
        global(option("kubeconfig", "Path to the kubeconfig file to use")),
        global(option("context", "The kubeconfig context to use")),
        global(option("cluster", "The kubeconfig cluster to use")),
        global(option("user", "The kubeconfig user to use")),
        global(option("namespace", "The namespace of this request").short('n')),
        global(option("server", "Address and port of the API server").short('s')),
        global(option("token", "Bearer token for the API server")),
        global(option("as", "User name to impersonate")),
        global(list("as-group", "Group to impersonate; may be repeated")),
        global(option("as-uid", "UID to impersonate")),
        global(option("request-timeout", "How long to wait for one request; 0 is for ever")),
        global(option("v", "Log level").short('v')),
        global(option("certificate-authority", "File with the certificate authority's certificate")),
        global(option("client-certificate", "File with the client's certificate")),
        global(option("client-key", "File with the client's key")),
        global(option("tls-server-name", "Name that the server's certificate must have")),
        global(option("username", "User name for basic authentication")),
        global(option("password", "Password for basic authentication")),
        global(option("cache-dir", "Where discovery may be cached; accepted for compatibility")),
        global(flag("insecure-skip-tls-verify", "Do not check the server's certificate")),
        global(flag("match-server-version", "Require the server to have the client's version")),
        global(flag("warnings-as-errors", "Exit with an error when the server warns")),
        global(flag("disable-compression", "Do not ask for compressed answers; accepted for compatibility")),
    ])
}

/// `-f`, `-R` and `-k`.
pub fn with_files(command: Command) -> Command {
    command.args([
        list("filename", "File, folder or - (standard input) with objects").short('f'),
        flag("recursive", "Read folders with all that is below them").short('R'),
        option("kustomize", "Folder with a kustomization").short('k'),
    ])
}

pub fn with_selector(command: Command) -> Command {
    command.arg(option("selector", "Label selector, e.g. app=nginx").short('l'))
}

pub fn with_output(command: Command) -> Command {
    command.args([
        option("output", "Output format").short('o'),
        option("template", "Template of -o jsonpath or go-template"),
        flag("show-managed-fields", "Keep managedFields in JSON and YAML output"),
    ])
}

/// Flags of commands that write.
pub fn with_writing(command: Command) -> Command {
    command.args([
        optional("dry-run", "client", "none, client (print only) or server (ask the server without storing)"),
        option("field-manager", "Name of the manager of the written fields"),
    ])
}

pub fn with_validation(command: Command) -> Command {
    command.arg(optional("validate", "strict", "strict (true), warn or ignore (false)"))
}

/// `--dry-run`'s meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DryRun {
    None,
    Client,
    Server,
}

impl DryRun {
    pub fn of(matches: &ArgMatches) -> Result<Self> {
        match matches.text("dry-run") {
            None | Some("none" | "false") => Ok(DryRun::None),
            Some("client" | "true") => Ok(DryRun::Client),
            Some("server") => Ok(DryRun::Server),
            Some(other) => Err(Error::message(format!(
                "Invalid dry-run value ({other}). Must be \"none\", \"server\", or \"client\"."
            ))),
        }
    }

    /// What is printed behind a message.
    pub fn suffix(self) -> &'static str {
        match self {
            DryRun::None => "",
            DryRun::Client => " (dry run)",
            DryRun::Server => " (server dry run)",
        }
    }
}

/// `--validate`'s meaning as the API's fieldValidation.
pub fn field_validation(matches: &ArgMatches) -> Result<&'static str> {
    match matches.text("validate") {
        None | Some("true" | "strict") => Ok("Strict"),
        Some("warn") => Ok("Warn"),
        Some("false" | "ignore") => Ok("Ignore"),
        Some(other) => Err(Error::message(format!(
            "invalid - validate option {}; must be one of strict (or true), warn, ignore (or false)",
            machinery::go_text::quote(other)
        ))),
    }
}

/// A Go duration such as 1h30m, 500ms or 0; a plain number is seconds.
pub fn duration(text: &str) -> Result<std::time::Duration> {
    let seconds = text.parse().ok().map(std::time::Duration::from_secs);
    seconds
        .or_else(|| machinery::time::parse_duration(text))
        .ok_or_else(|| Error::message(format!("time: invalid duration {}", machinery::go_text::quote(text))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn booleans_join_and_take_values_by_equals_only() {
        let command = Command::new("t").args([flag("stdin", "").short('i'), flag("tty", "").short('t'), words("")]);
        let matches = command.clone().try_get_matches_from(["t", "-ti", "pod"]).expect("parses");
        assert!(matches.on("stdin") && matches.on("tty"));
        assert_eq!(matches.words(), ["pod"]);
        let matches = command.try_get_matches_from(["t", "--tty=false", "pod"]).expect("parses");
        assert!(!matches.on("tty") && !matches.on("stdin"));
    }

    #[test]
    fn durations_are_gos() {
        assert_eq!(duration("1m30s").expect("valid"), Duration::from_secs(90));
        assert_eq!(duration("500ms").expect("valid"), Duration::from_millis(500));
        assert!(duration("5x").is_err());
    }
}
