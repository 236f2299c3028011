//! `cargo xtask kubectls`: fetches the kubectl of several Debian suites into `target/kubectl/SUITE/kubectl`, for the
//! tests that drive a cluster with unmodified clients of other versions.

use std::path::Path;

use anyhow::{Context, Result};

use crate::debian::unpack_from_suite;

/// The suites, the package that holds kubectl there, and the minor version that it carries today.
const SUITES: &[(&str, &str, &str)] =
    &[("bookworm", "kubernetes-client", "1.20"), ("trixie", "kubectl", "1.32"), ("sid", "kubectl", "1.36")];

/// Fetches those kubectls that are not there yet. One that cannot be had is reported and left out.
pub fn kubectls(workspace: &Path) -> Result<()> {
    let output = workspace.join("target/kubectl");
    for (suite, package, version) in SUITES {
        let target = output.join(suite);
        if target.join("kubectl").exists() {
            println!("kubectl {version} ({suite}): there");
            continue;
        }
        let work = output.join(format!("{suite}.work"));
        let result = unpack_from_suite(package, suite, &work.join("apt"), &work.join("root")).and_then(|()| {
            std::fs::create_dir_all(&target)?;
            std::fs::copy(work.join("root/usr/bin/kubectl"), target.join("kubectl"))
                .context("failed to copy kubectl out of its package")
        });
        match result {
            Ok(_) => println!("kubectl {version} ({suite}): fetched"),
            Err(error) => println!("kubectl {version} ({suite}): cannot be had: {error:#}"),
        }
        std::fs::remove_dir_all(&work).with_context(|| format!("failed to remove {}", work.display()))?;
    }
    Ok(())
}
