//! `kubectl api-versions`.

use clap::{ArgMatches, Command};

use crate::context::Context;
use crate::error::Result;

pub fn command() -> Command {
    Command::new("api-versions").about("Print the API versions that the server has")
}

pub async fn run(context: &Context, _: &ArgMatches) -> Result<()> {
    let versions = context.discovery().await?.versions.iter();
    let mut names: Vec<String> = versions
        .map(|(group, version)| if group.is_empty() { version.clone() } else { format!("{group}/{version}") })
        .collect();
    names.sort();
    names.dedup();
    names.iter().for_each(|name| context.console.line(name));
    Ok(())
}
