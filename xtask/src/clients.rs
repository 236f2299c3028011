//! `cargo xtask clients`: fetches the clients of other languages into `target/clients`, for the tests that drive a cluster
//! with unmodified programs.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// PyPI's client, and the version that the tests were written for.
const PYTHON: &str = "kubernetes==37.0.2";
/// npm's client: the last line of versions that runs with the Node.js of Debian 12 and 13.
const NODE: &str = "@kubernetes/client-node@1.4.0";

/// Fetches those clients that are not there yet. One that cannot be had is reported and left out.
pub fn clients(workspace: &Path) -> Result<()> {
    let output = workspace.join("target/clients");
    let python = |folder: &Path| {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--root-user-action", "ignore", "--only-binary", ":all:"]);
        run(pip.args(["--target".as_ref(), folder.as_os_str(), PYTHON.as_ref()]))
    };
    let node = |folder: &Path| {
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]);
        run(npm.args(["--prefix".as_ref(), folder.as_os_str(), NODE.as_ref()]))
    };
    fetch(&output.join("python"), PYTHON, python)?;
    fetch(&output.join("node"), NODE, node)
}

/// Fetches into a folder beside the one that it is to be, so that what is there is whole.
fn fetch(folder: &Path, what: &str, install: impl Fn(&Path) -> Result<()>) -> Result<()> {
    let (work, name) = (folder.with_extension("work"), folder.join("version"));
    if fs::read_to_string(&name).is_ok_and(|version| version == what) {
        println!("{what}: there");
        return Ok(());
    }
    for old in [&work, folder] {
        if old.exists() {
            fs::remove_dir_all(old).with_context(|| format!("failed to remove {}", old.display()))?;
        }
    }
    fs::create_dir_all(&work).with_context(|| format!("failed to make {}", work.display()))?;
    match install(&work) {
        Ok(()) => {
            fs::write(work.join("version"), what).with_context(|| format!("failed to mark {what}"))?;
            fs::rename(&work, folder).with_context(|| format!("failed to put {what} in place"))?;
            println!("{what}: fetched");
        }
        Err(error) => {
            println!("{what}: cannot be had: {error:#}");
            fs::remove_dir_all(&work).with_context(|| format!("failed to remove {}", work.display()))?;
        }
    }
    Ok(())
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("failed to run {:?}", command.get_program()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{:?} failed: {}", command.get_program(), said.trim());
    Ok(())
}
