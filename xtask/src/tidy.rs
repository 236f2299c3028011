//! `cargo xtask tidy`: reads the tree and fails on rot. Each rule says what it found and where.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use cargo_metadata::{Metadata, MetadataCommand};

use crate::codegen;

/// Which crates of the workspace each crate may use. What is not listed is a wall.
const DIRECTIONS: &[(&str, &[&str])] = &[
    ("machinery", &[]),
    ("cel", &["machinery"]),
    ("api", &["machinery", "cel"]),
    ("store", &[]),
    ("encryption", &["machinery", "store"]),
    ("client", &["machinery", "api"]),
    ("kube-apiserver", &["machinery", "cel", "api", "store", "encryption"]),
    ("kube-controller-manager", &["machinery", "api", "client"]),
    ("kube-scheduler", &["machinery", "cel", "api", "client"]),
    ("kubelet", &["machinery", "api", "client"]),
    ("kube-proxy", &["machinery", "api", "client"]),
    ("network", &[]),
    ("dns", &["machinery", "api", "client"]),
    ("kubectl", &["machinery", "api", "client"]),
    ("load", &["store"]),
    ("xtask", &[]),
];

/// The one crate that sees several components.
const ASSEMBLY: &[&str] = &["canopus"];

/// Libraries of which two versions would mean building and shipping much code twice.
const SINGLE: &[&str] =
    &["axum", "http", "hyper", "k8s-openapi", "kube", "prost", "rustls", "tokio", "tonic", "tower-http"];

/// Code that serves every kind alike, where naming one would be a rule in the wrong place.
const GENERIC: &[&str] = &["crates/store/src", "crates/machinery/src", "crates/kube-apiserver/src/discovery"];

/// Kinds and resources whose names in quotes give such a rule away.
const NAMES: &[&str] = &[
    "Pod",
    "pods",
    "Deployment",
    "deployments",
    "ReplicaSet",
    "replicasets",
    "Service",
    "services",
    "ConfigMap",
    "configmaps",
    "Secret",
    "secrets",
    "Node",
    "nodes",
    "Endpoints",
    "endpoints",
    "Lease",
    "leases",
    "ResourceQuota",
    "resourcequotas",
];

const LINES_MAX: usize = 800;

/// Checks everything and reports all findings at once.
pub fn tidy(workspace: &Path) -> Result<()> {
    let metadata = MetadataCommand::new()
        .manifest_path(workspace.join("Cargo.toml"))
        .exec()
        .context("failed to run cargo metadata")?;
    let sources = rust_files(&["crates", "bench", "fuzz", "xtask"].map(|folder| workspace.join(folder)))?;
    let mut findings = Vec::new();
    findings.extend(wrong_directions(&metadata));
    findings.extend(double_versions(&metadata));
    for file in &sources {
        let text = std::fs::read_to_string(file).with_context(|| format!("failed to read {}", file.display()))?;
        let name = file.strip_prefix(workspace).unwrap_or(file).display().to_string();
        findings.extend(look_at(&name, &text));
    }
    if let Err(error) = codegen::check() {
        findings.push(format!("{error:#}"));
    }
    if findings.is_empty() {
        println!("tidy: {} files are in order", sources.len());
        return Ok(());
    }
    bail!("tidy found {}:\n  {}", findings.len(), findings.join("\n  "))
}

fn wrong_directions(metadata: &Metadata) -> Vec<String> {
    let members: BTreeSet<&str> = metadata.workspace_packages().iter().map(|package| package.name.as_str()).collect();
    let mut findings = Vec::new();
    for package in metadata.workspace_packages() {
        let name = package.name.as_str();
        if ASSEMBLY.contains(&name) {
            continue;
        }
        let Some((_, allowed)) = DIRECTIONS.iter().find(|(listed, _)| *listed == name) else {
            findings.push(format!("crate {name} has no place in the list of directions"));
            continue;
        };
        for dependency in package.dependencies.iter().map(|dependency| dependency.name.as_str()) {
            if members.contains(dependency) && dependency != name && !allowed.contains(&dependency) {
                findings.push(format!("crate {name} must not use {dependency}"));
            }
        }
    }
    findings
}

fn double_versions(metadata: &Metadata) -> Vec<String> {
    let mut versions: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for package in &metadata.packages {
        versions.entry(package.name.as_str()).or_default().insert(package.version.to_string());
    }
    SINGLE
        .iter()
        .filter_map(|name| versions.get(name).filter(|versions| versions.len() > 1).map(|versions| (name, versions)))
        .map(|(name, versions)| {
            format!("{name} is there in several versions: {}", versions.iter().cloned().collect::<Vec<_>>().join(", "))
        })
        .collect()
}

/// What is wrong with one source file.
fn look_at(name: &str, text: &str) -> Vec<String> {
    let is_test = name.contains("/tests") || name.ends_with("tests.rs");
    let mut findings = Vec::new();
    let lines = text.lines().count();
    if lines > LINES_MAX {
        findings.push(format!("{name} has {lines} lines: split it by idea"));
    }
    if !is_test && !text.trim_start().starts_with("//!") {
        findings.push(format!("{name} does not open with its purpose (//!)"));
    }
    // Under a paused clock sleeping takes no time; between two looks at a condition a few milliseconds are right.
    if is_test && !text.contains("start_paused = true") {
        let sleeps = |line: &str| line.contains("thread::sleep(") || line.contains("time::sleep(");
        let asleep = text.lines().enumerate().filter(|(_, line)| sleeps(line) && !line.contains("from_millis("));
        findings.extend(asleep.map(|(at, _)| format!("{name}:{}: a test sleeps: wait on the condition", at + 1)));
    }
    if !is_test && GENERIC.iter().any(|folder| name.starts_with(folder)) {
        let code = text.split("#[cfg(test)]").next().unwrap_or("");
        for (at, line) in code.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            for kind in NAMES.iter().filter(|kind| line.contains(&format!("\"{kind}\""))) {
                findings.push(format!("{name}:{}: generic code names a kind: {kind}", at + 1));
            }
        }
    }
    findings
}

fn rust_files(folders: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = folders.to_vec();
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| format!("failed to read {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_tidy() {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        tidy(workspace).unwrap();
    }

    #[test]
    fn rot_is_found() {
        let finds = |name: &str, text: &str| look_at(name, text).len();
        assert_eq!(finds("crates/store/src/index.rs", "//! Purpose.\nlet key = \"keys\";\n"), 0);
        assert_eq!(finds("crates/store/src/index.rs", "//! Purpose.\nif kind == \"Pod\" {}\n"), 1);
        assert_eq!(finds("crates/store/src/index.rs", "//! Purpose.\n#[cfg(test)]\nmod tests { \"Pod\" }\n"), 0);
        assert_eq!(finds("crates/dns/src/lib.rs", "use std;\n"), 1);
        assert_eq!(finds("crates/dns/src/tests.rs", "std::thread::sleep(x);\n"), 1);
        assert_eq!(finds("crates/dns/src/tests.rs", "std::thread::sleep(Duration::from_millis(5));\n"), 0);
        assert_eq!(finds("crates/dns/src/lib.rs", &format!("//! Purpose.\n{}", "x\n".repeat(LINES_MAX))), 1);
    }
}
