//! `kubectl version`.

use clap::{ArgMatches, Command};
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::{Flags, flag, option};
use crate::printers::yaml;
use crate::value::text;

/// What kubectl says it is: the API that it was made for, and our version.
pub const GIT_VERSION: &str = concat!("v1.36.2+canopus.", env!("CARGO_PKG_VERSION"));

pub fn command() -> Command {
    Command::new("version").about("Print the versions of client and server").args([
        flag("client", "The client's only; no server is needed"),
        flag("short", "Accepted for compatibility"),
        option("output", "yaml or json").short('o'),
    ])
}

pub async fn run(context: &Context, matches: &ArgMatches) -> Result<()> {
    let platform = format!("{}/{}", std::env::consts::OS, go_architecture());
    let client = json!({"major": "1", "minor": "36", "gitVersion": GIT_VERSION, "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "none", "compiler": "rustc", "platform": platform});
    let mut versions = json!({"clientVersion": client, "kustomizeVersion": "none"});
    let mut problem = None;
    if !matches.on("client") {
        match server(context).await {
            Ok(server) => versions["serverVersion"] = server,
            Err(error) => problem = Some(error),
        }
    }
    match matches.text("output") {
        None | Some("") => {
            context.console.line(&format!("Client Version: {GIT_VERSION}"));
            context.console.line("Kustomize Version: none");
            if let Some(server) = versions.get("serverVersion") {
                context
                    .console
                    .line(&crate::console::harmless(&format!("Server Version: {}", text(server, "gitVersion"))));
            }
        }
        Some("yaml") => context.console.line(&yaml::print(&versions)),
        Some("json") => {
            let shown = serde_json::to_string_pretty(&versions).map_err(|error| Error::message(error.to_string()))?;
            context.console.line(&shown);
        }
        Some(_) => return Err(Error::message("--output must be 'yaml' or 'json'")),
    }
    problem.map_or(Ok(()), Err)
}

async fn server(context: &Context) -> Result<Value> {
    context.api().await?.get("/version").await
}

fn go_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use crate::fake::Fake;
    use serde_json::json;

    #[test]
    fn both_versions_are_printed() {
        let fake = Fake::new().answer("GET /version", 200, json!({"gitVersion": "v1.36.2"}));
        let out = fake.run("version").out;
        assert!(
            out.starts_with("Client Version: v1.36.2+canopus.") && out.ends_with("Server Version: v1.36.2\n"),
            "{out}"
        );
        assert!(!fake.run("version --client -o json").out.contains("serverVersion"));
    }
}
