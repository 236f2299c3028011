//! The flags that this process was started with, as `/flagz` shows them: by name, with the values that count, defaults too.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use clap::{ArgAction, ArgMatches, Command};

static FLAGS: OnceLock<BTreeMap<String, String>> = OnceLock::new();

/// Remembers the command line of this process; only the first one counts.
pub fn remember(command: &Command, matches: &ArgMatches) {
    let _ = FLAGS.set(flags(command, matches));
}

/// What was remembered.
pub fn remembered() -> BTreeMap<String, String> {
    FLAGS.get().cloned().unwrap_or_default()
}

fn flags(command: &Command, matches: &ArgMatches) -> BTreeMap<String, String> {
    if let Some((name, below)) = matches.subcommand() {
        return command.find_subcommand(name).map(|command| flags(command, below)).unwrap_or_default();
    }
    let shown = command.get_arguments().filter(|argument| !matches!(argument.get_id().as_str(), "help" | "version"));
    let named = shown.filter_map(|argument| Some((argument.get_long()?, argument)));
    let value = |argument: &clap::Arg| {
        let values = matches.get_raw(argument.get_id().as_str()).into_iter().flatten();
        let values: Vec<String> = values.map(|value| value.to_string_lossy().into_owned()).collect();
        // Lists look as upstream's do.
        if matches!(argument.get_action(), ArgAction::Append) {
            format!("[{}]", values.join(","))
        } else {
            values.into_iter().next_back().unwrap_or_default()
        }
    };
    named.map(|(name, argument)| (name.to_owned(), value(argument))).collect()
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Parser)]
    #[command(version)]
    struct Cli {
        #[command(subcommand)]
        _command: Sub,
    }

    #[derive(clap::Subcommand)]
    enum Sub {
        Serve(Serve),
    }

    #[derive(clap::Args)]
    struct Serve {
        #[arg(long, default_value_t = 1)]
        secure_port: u16,
        #[arg(long, value_delimiter = ',')]
        admission: Vec<String>,
        #[arg(long)]
        ca_file: Option<String>,
        #[arg(long)]
        foreground: bool,
    }

    fn shown(arguments: &[&str]) -> Vec<(String, String)> {
        let command = Cli::command();
        let matches = command.clone().try_get_matches_from(arguments).unwrap();
        flags(&command, &matches).into_iter().collect()
    }

    #[test]
    fn all_flags_are_shown_with_the_values_that_count() {
        let pairs = |values: [&str; 4]| {
            let names = ["admission", "ca-file", "foreground", "secure-port"];
            names.into_iter().zip(values).map(|(n, v)| (n.to_owned(), v.to_owned())).collect::<Vec<_>>()
        };
        assert_eq!(shown(&["x", "serve"]), pairs(["[]", "", "false", "1"]));
        let given =
            ["x", "serve", "--admission=a,b", "--admission=c", "--ca-file=/ca", "--foreground", "--secure-port=2"];
        assert_eq!(shown(&given), pairs(["[a,b,c]", "/ca", "true", "2"]));
    }
}
