//! `kubectl attach`: the streams of a container that runs.

use clap::{ArgMatches, Command};
use serde_json::Value;

use super::{exec, pods};
use crate::api::encode;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::{self, Flags, flag, option, words};
use crate::stream::session::{self, Streams};
use crate::value::{self, list, text};

pub fn command() -> Command {
    let command = Command::new("attach").about("Attach to a running container").args([
        words("POD or TYPE/NAME"),
        option("container", "The container").short('c'),
        flag("stdin", "Pass standard input").short('i'),
        flag("tty", "Standard input is a terminal").short('t'),
        flag("quiet", "Print the container's output only").short('q'),
        option("pod-running-timeout", "How long to wait for a pod to run"),
    ]);
    flags::with_files(command)
}

pub async fn run(context: &Context, matches: &ArgMatches) -> Result<()> {
    let words = matches.words();
    let Some(word) = words.first() else { return Err(Error::message("at least 1 argument is required for attach")) };
    let quiet = matches.on("quiet");
    let pod = pods::one_pod(context, matches, word).await?;
    let phase = text(&pod, "status.phase");
    if phase == "Succeeded" || phase == "Failed" {
        return Err(Error::message(format!("cannot attach a container in a completed pod; current phase is {phase}")));
    }
    let container = pods::container(context, &pod, matches.text("container"), quiet)?;
    let mut streams = exec::streams(context, matches, quiet);
    let declared = list(&pod, "spec.containers").iter().find(|c| text(c, "name") == container);
    if streams.tty && !declared.is_some_and(|c| value::flag(c, "tty")) {
        streams.tty = false;
        if !quiet {
            context
                .console
                .error_line(&format!("error: Unable to use a TTY - container {container} did not allocate one"));
        }
    }
    attach(context, &pod, &container, streams).await.map(drop)
}

/// Attaches to a container of a pod; says whether anything came from it.
pub async fn attach(context: &Context, pod: &Value, container: &str, streams: Streams) -> Result<bool> {
    if streams.stdin && !streams.quiet {
        context.console.error_line(
            "All commands and output from this session will be recorded in container logs, including credentials and sensitive \
             information passed through the command prompt.\nIf you don't see a command prompt, try pressing enter.",
        );
    }
    let path = format!("/api/v1/namespaces/{}/pods/{}/attach", encode(value::namespace(pod)), encode(value::name(pod)));
    session::run(context.api().await?, &context.console, &streams.query(path, container).done(), streams).await
}
