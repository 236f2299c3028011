//! The project's own chores, run as `cargo xtask <command>`.

mod clients;
mod codegen;
mod debian;
mod images;
mod kubectls;
mod tidy;

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "xtask", about = "The project's own chores")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Generate the schema table of the built-in kinds from the published facts.
    Codegen(codegen::Args),
    /// Build the small test images of images/*.yaml from Debian's packages.
    Images {
        /// Recipes to build; all when none is named.
        names: Vec<String>,
        /// Also put them where the cluster below this folder loads images from.
        #[arg(long, value_name = "DIR")]
        root_dir: Option<PathBuf>,
    },
    /// Fetch the kubectls of several Debian suites for the tests.
    Kubectls,
    /// Fetch the clients of other languages for the tests, from PyPI and npm.
    Clients,
    /// Check the tree: directions of crates, kinds in generic code, generated files, versions of the big crates.
    Tidy,
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Codegen(args) => codegen::run(&args),
        Command::Images { names, root_dir } => images::images(workspace()?, &names, root_dir.as_deref()),
        Command::Kubectls => kubectls::kubectls(workspace()?),
        Command::Clients => clients::clients(workspace()?),
        Command::Tidy => tidy::tidy(workspace()?),
    }
}

/// The workspace's folder: the parent of this crate's.
fn workspace() -> anyhow::Result<&'static Path> {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("this crate has no parent folder")
}
