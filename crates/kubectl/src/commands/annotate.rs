//! `kubectl annotate`: as `label`, for annotations.

use clap::{ArgMatches, Command};

use super::label::{self, Kind};
use crate::context::Context;
use crate::error::Result;

const ANNOTATIONS: Kind = Kind {
    command: "annotate",
    field: "annotations",
    noun: "annotation",
    manager: "kubectl-annotate",
    // A value may be any text.
    check: |_| Vec::new(),
};

pub fn command() -> Command {
    label::build(&ANNOTATIONS, "Change annotations of objects")
}

pub async fn run(context: &Context, matches: &ArgMatches) -> Result<()> {
    label::change(context, matches, &ANNOTATIONS).await
}
