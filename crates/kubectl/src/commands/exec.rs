//! `kubectl exec`: a command in a container.

use clap::{ArgMatches, Command};

use super::pods;
use crate::api::encode;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::{self, Flags, command_words, flag, option, words};
use crate::stream::session::{self, Streams};
use crate::value;

pub fn command() -> Command {
    let command = Command::new("exec").about("Run a command in a container").args([
        words("POD or TYPE/NAME"),
        option("container", "The container").short('c'),
        flag("stdin", "Pass standard input").short('i'),
        flag("tty", "Standard input is a terminal").short('t'),
        flag("quiet", "Print the command's output only").short('q'),
        option("pod-running-timeout", "How long to wait for a pod to run"),
        command_words("The command"),
    ]);
    flags::with_files(command)
}

pub async fn run(context: &Context, matches: &ArgMatches) -> Result<()> {
    let words = matches.words();
    let Some((pod, rest)) = words.split_first() else {
        return Err(Error::message("pod, type/name or --filename must be specified"));
    };
    let command = matches.texts("command-words");
    if command.is_empty() {
        return Err(if rest.is_empty() {
            Error::message("you must specify at least one command for the container")
        } else {
            Error::usage("exec", "exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND] instead")
        });
    }
    let quiet = matches.on("quiet");
    let pod = pods::one_pod(context, matches, pod).await?;
    let phase = value::text(&pod, "status.phase");
    if phase == "Succeeded" || phase == "Failed" {
        return Err(Error::message(format!(
            "cannot exec into a container in a completed pod; current phase is {phase}"
        )));
    }
    let container = pods::container(context, &pod, matches.text("container"), quiet)?;
    let streams = streams(context, matches, quiet);
    let path = format!("/api/v1/namespaces/{}/pods/{}/exec", encode(value::namespace(&pod)), encode(value::name(&pod)));
    let mut query = streams.query(path, &container);
    for word in &command {
        query = query.add("command", word);
    }
    session::run(context.api().await?, &context.console, &query.done(), streams).await.map(drop)
}

/// `-i` and `-t`; a terminal is asked for in vain when standard input is none.
pub fn streams(context: &Context, matches: &ArgMatches, quiet: bool) -> Streams {
    use std::io::IsTerminal;
    let mut streams = Streams { stdin: matches.on("stdin"), tty: matches.on("tty"), quiet };
    if streams.tty && !(streams.stdin && std::io::stdin().is_terminal()) {
        streams.tty = false;
        if !quiet && streams.stdin {
            context.console.error_line("Unable to use a TTY - input is not a terminal or the right kind of file");
        }
    }
    streams
}

#[cfg(test)]
mod tests {
    use crate::fake::Fake;
    use serde_json::json;

    #[test]
    fn what_cannot_be_run_is_told() {
        assert_eq!(Fake::new().run("exec p").err, "error: you must specify at least one command for the container\n");
        let pod = json!({"kind": "Pod", "metadata": {"name": "p", "namespace": "default"}, "spec": {"containers": [{"name": "a"}, {"name": "b"}]}});
        let refused = json!({"kind": "Status", "reason": "Forbidden", "message": "pods \"p\" is forbidden: no"});
        let fake = Fake::new().answer("GET /api/v1/namespaces/default/pods/p", 200, pod).answer(
            "GET /api/v1/namespaces/default/pods/p/exec?container=a&stdout=true&stderr=true&command=ls&command=-l",
            403,
            refused,
        );
        let done = fake.run("exec p -- ls -l");
        assert_eq!(
            done.err,
            "Defaulted container \"a\" out of: a, b\nError from server (Forbidden): pods \"p\" is forbidden: no\n"
        );
        assert_eq!(fake.run("exec p -c x -- ls").err, "error: container x not found in pod p_default\n");
    }
}
