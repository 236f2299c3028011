//! The list of commands, and from a command line to one of them.
//!
//! A command is a module with `command()` (its flags) and `run()`. Order is the order of the help.

mod pods;
mod report;

mod create;
mod expose;
mod run;
mod set;

mod explain;
mod get;
mod edit;
mod delete;

mod rollout;
mod scale;

mod history;
mod undelete;

mod auth;
mod cluster_info;

mod cordon;
mod drain;
mod taint;

mod attach;
mod describe;
mod exec;
mod logs;
mod port_forward;
mod proxy;

mod apply;
mod patch;
mod replace;
mod wait;

mod annotate;
mod label;

mod api_resources;
mod api_versions;
mod config;
mod version;

use std::ffi::OsString;
use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgMatches, Command};

use crate::console::Console;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags;

pub(crate) use apply::ANNOTATION as LAST_APPLIED;
pub(crate) use pods::pod_selector;

type Running<'a> = Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

struct Verb {
    command: fn() -> Command,
    run: for<'a> fn(&'a Context, &'a ArgMatches) -> Running<'a>,
}

macro_rules! verbs {
    ($($module:ident $(:: $part:ident)?),* $(,)?) => {
        &[$(Verb {
            command: $module $(:: $part)? ::command,
            run: |context, matches| Box::pin($module $(:: $part)? ::run(context, matches)),
        }),*]
    };
}

static ALL: &[Verb] = verbs![
    // Basic
    create,
    expose,
    run,
    set,
    explain,
    get,
    edit,
    delete,
    // Deploy
    rollout,
    scale,
    // Past
    history,
    undelete,
    // Cluster
    auth,
    cluster_info,
    cordon,
    cordon::uncordon,
    drain,
    taint,
    // Troubleshooting
    describe,
    logs,
    attach,
    exec,
    port_forward,
    proxy,
    // Advanced
    apply,
    patch,
    replace,
    wait,
    // Settings
    label,
    annotate,
    // Others
    api_resources,
    api_versions,
    config,
    version,
];

/// The whole command line.
fn tree() -> Command {
    let root = Command::new("kubectl")
        .bin_name("kubectl")
        .about("Controls a Kubernetes cluster")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_version_flag(true)
        .infer_long_args(false);
    flags::global(root).subcommands(ALL.iter().map(|verb| (verb.command)()))
}

/// A command line that is not run: help that was asked for, or a mistake.
pub enum NotRun {
    Help(String),
    Mistake(Error),
}

impl NotRun {
    pub(crate) fn show(&self, console: &Console) -> ExitCode {
        match self {
            NotRun::Help(text) => {
                console.text(text);
                ExitCode::SUCCESS
            }
            NotRun::Mistake(error) => error.show(console),
        }
    }
}

/// Reads the command line.
pub fn parse(args: &[OsString]) -> std::result::Result<ArgMatches, NotRun> {
    tree().try_get_matches_from(args).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => NotRun::Help(error.to_string()),
        _ => NotRun::Mistake(mistake(&error, args)),
    })
}

/// Words a wrong command line as kubectl does.
fn mistake(error: &clap::Error, args: &[OsString]) -> Error {
    let path = command_path(args);
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        _ => String::new(),
    };
    match error.kind() {
        ErrorKind::UnknownArgument => {
            let given = text(ContextKind::InvalidArg);
            let problem = match given.strip_prefix("--") {
                Some(_) => format!("unknown flag: {}", given.split('=').next().unwrap_or(&given)),
                None if given.starts_with('-') => {
                    let letter = given.chars().nth(1).unwrap_or('-');
                    format!("unknown shorthand flag: '{letter}' in {given}")
                }
                None => return Error::message(format!("unknown command \"{given}\" for \"{path}\"")),
            };
            Error::Plain(format!("error: {problem}\nSee '{path} --help' for usage."))
        }
        ErrorKind::InvalidSubcommand => {
            let given = text(ContextKind::InvalidSubcommand);
            let mut problem = format!("error: unknown command \"{given}\" for \"{path}\"");
            if let Some(ContextValue::Strings(near)) = error.get(ContextKind::SuggestedSubcommand) {
                problem.push_str("\n\nDid you mean this?");
                near.iter().for_each(|name| problem.push_str(&format!("\n\t{name}")));
            }
            Error::Plain(problem)
        }
        ErrorKind::InvalidValue | ErrorKind::NoEquals | ErrorKind::TooFewValues | ErrorKind::WrongNumberOfValues => {
            let given = text(ContextKind::InvalidArg);
            let flag = given.split([' ', '=']).next().unwrap_or(&given);
            Error::Plain(format!("error: flag needs an argument: {flag}\nSee '{path} --help' for usage."))
        }
        ErrorKind::MissingSubcommand => {
            Error::message(format!("a subcommand is required\nSee '{path} --help' for usage."))
        }
        _ => Error::Plain(error.to_string().trim_end().to_owned()),
    }
}

/// `kubectl rollout status` of a command line: its words that name commands.
fn command_path(args: &[OsString]) -> String {
    let mut path = "kubectl".to_owned();
    let mut here = tree();
    for word in args.iter().skip(1).filter_map(|word| word.to_str()) {
        let Some(next) = here.find_subcommand(word).cloned() else { continue };
        path = format!("{path} {word}");
        here = next;
    }
    path
}

/// Runs what was parsed.
pub async fn run(context: &Context, matches: &ArgMatches) -> Result<()> {
    let Some((name, inner)) = matches.subcommand() else { return Ok(()) };
    for verb in ALL {
        if (verb.command)().get_name() == name {
            (verb.run)(context, inner).await?;
            return context.check_warnings();
        }
    }
    Err(Error::message(format!("unknown command \"{name}\" for \"kubectl\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistake(line: &str) -> String {
        let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        match parse(&args) {
            Ok(_) => "fine".to_owned(),
            Err(NotRun::Help(_)) => "help".to_owned(),
            Err(NotRun::Mistake(error)) => error.text(),
        }
    }

    #[test]
    fn the_command_tree_is_sound() {
        tree().debug_assert();
    }

    #[test]
    fn mistakes_are_worded_as_kubectls() {
        assert_eq!(
            mistake("kubectl get pods --foo"),
            "error: unknown flag: --foo\nSee 'kubectl get --help' for usage."
        );
        assert_eq!(
            mistake("kubectl get pods -z"),
            "error: unknown shorthand flag: 'z' in -z\nSee 'kubectl get --help' for usage."
        );
        assert!(mistake("kubectl foo").starts_with("error: unknown command \"foo\" for \"kubectl\""));
        assert_eq!(mistake("kubectl -n x get pods -Lapp -lapp=nginx -oyaml --watch=false"), "fine");
        assert_eq!(mistake("kubectl exec -ti pod -- redis-cli -n 1"), "fine");
        assert_eq!(mistake("kubectl get --help"), "help");
    }
}
