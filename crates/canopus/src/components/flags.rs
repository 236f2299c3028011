//! Reading a component's command line as upstream's flag library reads it: `--flag value` and `--flag=value`, words
//! joined by `_` as well as `-`, the last of repeated flags counting, Go's durations, and upstream's words for what is
//! wrong.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::command_line;

/// Reads a command line; otherwise what was asked for or is wrong has been printed, and the exit code is given.
pub fn parse<T: Parser>(name: &'static str, arguments: Vec<OsString>) -> Result<T, ExitCode> {
    read(name, arguments).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp => {
            let _ = error.print();
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayVersion => {
            println!("Kubernetes {}", kube_apiserver::version::GIT_VERSION);
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("Error: {}", describe(name, &error));
            ExitCode::FAILURE
        }
    })
}

fn read<T: Parser>(name: &'static str, arguments: Vec<OsString>) -> Result<T, clap::Error> {
    let command = T::command().name(name).bin_name(name).version("").args_override_self(true);
    let rest = arguments.into_iter().skip(1).map(with_dashes);
    let matches = command.clone().try_get_matches_from(std::iter::once(name.into()).chain(rest))?;
    command_line::remember(&command, &matches);
    T::from_arg_matches(&matches)
}

/// `--bind_address=x` means `--bind-address=x`.
fn with_dashes(argument: OsString) -> OsString {
    let Some(text) = argument.to_str().filter(|text| text.starts_with("--")) else { return argument };
    let (flag, value) = text.split_at(text.find('=').unwrap_or(text.len()));
    format!("{}{value}", flag.replace('_', "-")).into()
}

fn describe(name: &str, error: &clap::Error) -> String {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(" "),
        _ => String::new(),
    };
    let argument = context(ContextKind::InvalidArg);
    // clap shows a flag with the name of its value: `--secure-port <PORT>`.
    let flag = argument.split([' ', '=']).next().unwrap_or_default().trim_end_matches("[").to_owned();
    let value = context(ContextKind::InvalidValue);
    match error.kind() {
        ErrorKind::UnknownArgument if flag.starts_with("--") => format!("unknown flag: {flag}"),
        ErrorKind::UnknownArgument if flag.starts_with('-') => {
            let letter = flag.chars().nth(1).unwrap_or('-');
            format!("unknown shorthand flag: {letter:?} in {flag}")
        }
        ErrorKind::UnknownArgument => format!("{name} does not take any arguments, got [{argument:?}]"),
        ErrorKind::InvalidValue if value.is_empty() => format!("flag needs an argument: {flag}"),
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let cause = std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default();
            format!("invalid argument {value:?} for \"{flag}\" flag{cause}")
        }
        ErrorKind::MissingRequiredArgument => {
            let missing = argument.split(' ').find(|word| word.starts_with("--")).unwrap_or(&argument).to_owned();
            format!("{missing} is required")
        }
        _ => error.render().to_string().trim_start_matches("error: ").trim_end().to_owned(),
    }
}

/// Go's duration: `1h2m3.5s`, `300ms`, `0`. Negative ones are refused.
pub fn duration(text: &str) -> Result<Duration, String> {
    machinery::time::parse_duration(text).ok_or_else(|| format!("time: invalid duration {text:?}"))
}

/// `30000-32767`, as first and last port.
pub fn port_range(text: &str) -> Result<(u16, u16), String> {
    let parsed = text.split_once('-').and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
    match parsed {
        Some((first, last)) if first > 0 && first <= last => Ok((first, last)),
        _ => Err(format!("{text:?} is not a range of ports such as 30000-32767")),
    }
}

/// `KEY=VALUE`.
pub fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("{text} must be formatted as key=value"))?;
    Ok((key.to_owned(), value.to_owned()))
}

/// `KEY=VALUE:EFFECT` or `KEY:EFFECT`.
pub fn taint(text: &str) -> Result<(String, String, String), String> {
    let (pair, effect) = text.split_once(':').ok_or_else(|| format!("invalid taint spec: {text}"))?;
    if !matches!(effect, "NoSchedule" | "PreferNoSchedule" | "NoExecute") {
        return Err(format!("invalid taint effect: {effect}"));
    }
    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
    if key.is_empty() {
        return Err(format!("invalid taint spec: {text}"));
    }
    Ok((key.to_owned(), value.to_owned(), effect.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Parser)]
    struct Flags {
        #[arg(long, default_value_t = 1)]
        secure_port: u16,
        #[arg(long, num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true", action = clap::ArgAction::Set)]
        leader_elect: bool,
        #[arg(long)]
        key_file: Vec<String>,
        #[arg(long, value_parser = duration, default_value = "15s")]
        event_ttl: Duration,
        #[arg(short = 'v', long = "v", default_value_t = 0)]
        verbosity: u8,
    }

    fn flags(line: &str) -> Result<Flags, String> {
        let arguments = std::iter::once("x").chain(line.split_whitespace()).map(OsString::from).collect();
        read("kube-test", arguments).map_err(|error| describe("kube-test", &error))
    }

    #[test]
    fn flags_are_read_as_upstream_reads_them() {
        let read =
            flags("--secure_port=2 --secure-port 3 --leader-elect=false --key-file a --key-file=b -v=4").unwrap();
        assert_eq!((read.secure_port, read.leader_elect, read.verbosity), (3, false, 4));
        assert_eq!(read.key_file, ["a", "b"]);
        assert!(flags("--leader-elect --v 2").unwrap().leader_elect);
        assert_eq!(flags("--event-ttl=1h0m0s").unwrap().event_ttl, Duration::from_secs(3600));
    }

    #[test]
    fn what_is_wrong_is_said_in_upstreams_words() {
        for (line, message) in [
            ("--nope", "unknown flag: --nope"),
            ("--nope=3", "unknown flag: --nope"),
            ("--etcd_x=3", "unknown flag: --etcd-x"),
            ("-x", "unknown shorthand flag: 'x' in -x"),
            ("more", "kube-test does not take any arguments, got [\"more\"]"),
            ("--secure-port", "flag needs an argument: --secure-port"),
        ] {
            assert_eq!(flags(line).unwrap_err(), message, "{line}");
        }
        let message = flags("--secure-port=x").unwrap_err();
        assert!(message.starts_with("invalid argument \"x\" for \"--secure-port\" flag"), "{message}");
        let message = flags("--event-ttl=5").unwrap_err();
        assert!(message.ends_with("time: invalid duration \"5\""), "{message}");
    }

    #[test]
    fn durations_are_gos() {
        for (text, milliseconds) in [("0", 0), ("1.5s", 1500), ("2m3s", 123_000), ("300ms", 300), ("1h", 3_600_000)] {
            assert_eq!(duration(text).unwrap(), Duration::from_millis(milliseconds), "{text}");
        }
        for wrong in ["", "5", "s", "-1s", "1d", "1..2s", "9e9h", "99999999999999999999h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ranges_and_taints_are_checked() {
        assert_eq!(port_range("30000-32767"), Ok((30000, 32767)));
        for wrong in ["", "1", "2-1", "0-3", "1-70000"] {
            assert!(port_range(wrong).is_err(), "{wrong}");
        }
        assert_eq!(taint("a=b:NoExecute"), Ok(("a".into(), "b".into(), "NoExecute".into())));
        assert_eq!(taint("a:NoSchedule"), Ok(("a".into(), String::new(), "NoSchedule".into())));
        assert!(taint("a=b").is_err() && taint("a=b:Never").is_err() && taint(":NoExecute").is_err());
    }
}
