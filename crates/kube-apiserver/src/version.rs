//! `/version`: which Kubernetes this is, and which Canopus.

use serde_json::{Value, json};

pub const MAJOR: &str = "1";
pub const MINOR: &str = "36";
/// The version of the API, and of this implementation as its build metadata.
pub const GIT_VERSION: &str = concat!("v1.36.2+canopus.", env!("CARGO_PKG_VERSION"));

/// The body of `/version`, in upstream's order. `compiler` names the family of upstream's, as clients expect it.
pub fn value() -> Value {
    json!({
        "major": MAJOR,
        "minor": MINOR,
        "emulationMajor": MAJOR,
        "emulationMinor": MINOR,
        "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "35",
        "gitVersion": GIT_VERSION,
        "gitCommit": option_env!("CANOPUS_GIT_COMMIT").unwrap_or_default(),
        "gitTreeState": option_env!("CANOPUS_GIT_TREE_STATE").unwrap_or_default(),
        "buildDate": option_env!("CANOPUS_BUILD_DATE").unwrap_or("1970-01-01T00:00:00Z"),
        "goVersion": concat!("rust", env!("CARGO_PKG_RUST_VERSION")),
        "compiler": "gc",
        "platform": platform(),
    })
}

fn platform() -> String {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("{}/{architecture}", std::env::consts::OS)
}
