//! Fetching Debian packages without installing them: the whole closure of dependencies is downloaded against an empty
//! package status and unpacked into a folder, so that nothing on the host changes. The mirrors are those that the
//! machine's own apt sources name.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Runs a command to its end; an error carries what it printed.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("failed to start {:?}", command.get_program()))?;
    ensure!(
        output.status.success(),
        "{:?} failed ({}): {}",
        command,
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Downloads `packages` of the machine's own release with all they depend on and unpacks them below `root`.
pub fn unpack_closure(packages: &[String], cache: &Path, root: &Path) -> Result<()> {
    let status = cache.join("status");
    let archives = cache.join("archives");
    std::fs::create_dir_all(archives.join("partial"))
        .with_context(|| format!("failed to make {}", archives.display()))?;
    std::fs::write(&status, "").with_context(|| format!("failed to write {}", status.display()))?;
    ensure_package_lists()?;
    run(Command::new("apt-get")
        .arg("-o")
        .arg(format!("Dir::State::status={}", status.display()))
        .arg("-o")
        .arg(format!("Dir::Cache::archives={}", archives.display()))
        .args(["-o", "APT::Sandbox::User=root", "--no-install-recommends", "-y", "--download-only", "install"])
        .args(packages))?;
    for deb in debs_in(&archives)? {
        run(Command::new("dpkg").arg("-x").arg(&deb).arg(root))?;
    }
    Ok(())
}

/// Downloads one package of `suite` (which need not be the machine's own) and unpacks it below `root`.
pub fn unpack_from_suite(package: &str, suite: &str, cache: &Path, root: &Path) -> Result<()> {
    for folder in ["lists/partial", "archives/partial", "etc"] {
        std::fs::create_dir_all(cache.join(folder))
            .with_context(|| format!("failed to make {folder} in {}", cache.display()))?;
    }
    let sources = cache.join("etc/sources.list");
    let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
    std::fs::write(&sources, format!("deb [signed-by={keyring}] {} {suite} main\n", debian_mirror()?))
        .with_context(|| format!("failed to write {}", sources.display()))?;
    std::fs::write(cache.join("status"), "")?;
    let apt = |arguments: &[&str]| {
        run(Command::new("apt-get")
            .current_dir(cache.join("archives"))
            .arg("-o")
            .arg(format!("Dir::State={}", cache.display()))
            .arg("-o")
            .arg(format!("Dir::State::status={}", cache.join("status").display()))
            .arg("-o")
            .arg(format!("Dir::Etc::sourcelist={}", sources.display()))
            .args(["-o", "Dir::Etc::sourceparts=-", "-o", "APT::Sandbox::User=root"])
            .args(arguments))
    };
    apt(&["update"])?;
    apt(&["download", package])?;
    for deb in debs_in(&cache.join("archives"))? {
        run(Command::new("dpkg").arg("-x").arg(&deb).arg(root))?;
    }
    Ok(())
}

fn ensure_package_lists() -> Result<()> {
    if run(Command::new("apt-get").args(["indextargets", "--format", "$(FILENAME)"]))?
        .lines()
        .any(|list| Path::new(list).exists())
    {
        return Ok(());
    }
    run(Command::new("apt-get").arg("update")).map(drop)
}

/// The mirror that the machine's own sources use for the main archive.
fn debian_mirror() -> Result<String> {
    run(Command::new("apt-get").args(["indextargets", "--format", "$(REPO_URI)"]))?
        .lines()
        .find(|uri| uri.trim_end_matches('/').ends_with("/debian"))
        .map(str::to_owned)
        .context("no Debian archive among this machine's apt sources")
}

fn debs_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut debs = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("failed to read {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            debs.push(path);
        }
    }
    debs.sort();
    Ok(debs)
}
