//! Levels and versions of the Pod Security Standards, and what a namespace's labels say of them.

use std::collections::BTreeMap;
use std::fmt;

use machinery::field::{Error, ErrorList, Path};

const PREFIX: &str = "pod-security.kubernetes.io/";

/// How much a policy forbids; each level forbids what those before it forbid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    Privileged,
    Baseline,
    Restricted,
}

/// The release whose checks apply: `v1.N`, or the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    Minor(u32),
    Latest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LevelVersion {
    pub level: Level,
    pub version: Version,
}

/// What a namespace wants done about its pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    pub enforce: LevelVersion,
    pub audit: LevelVersion,
    pub warn: LevelVersion,
}

impl Level {
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "privileged" => Ok(Self::Privileged),
            "baseline" => Ok(Self::Baseline),
            "restricted" => Ok(Self::Restricted),
            _ => Err("must be one of privileged, baseline, restricted"),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Privileged => "privileged",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        }
    }
}

impl Version {
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const WRONG: &str = "must be \"latest\" or \"v1.x\"";
        if text == "latest" {
            return Ok(Self::Latest);
        }
        let minor = text.strip_prefix("v1.").ok_or(WRONG)?;
        let plain = minor.bytes().all(|byte| byte.is_ascii_digit()) && (minor == "0" || !minor.starts_with('0'));
        if plain { minor.parse().map(Self::Minor).map_err(|_| WRONG) } else { Err(WRONG) }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Minor(minor) => write!(f, "v1.{minor}"),
            Self::Latest => f.write_str("latest"),
        }
    }
}

impl fmt::Display for LevelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.level.name(), self.version)
    }
}

impl LevelVersion {
    pub const PRIVILEGED: Self = Self { level: Level::Privileged, version: Version::Latest };

    /// Privileged forbids nothing in any version.
    fn is_equivalent(self, other: Self) -> bool {
        self == other || (self.level == Level::Privileged && other.level == Level::Privileged)
    }
}

impl Policy {
    /// The policy of a namespace with these labels. A label that cannot be read is an error; until it is mended the
    /// namespace enforces the strictest level, while nothing is audited or warned of by it.
    pub fn of(labels: &BTreeMap<String, String>, defaults: Self) -> (Self, ErrorList) {
        let mut policy = defaults;
        let mut errors = ErrorList::new();
        let enforced = read(labels, "enforce", &mut policy.enforce, Level::Restricted, &mut errors);
        read(labels, "audit", &mut policy.audit, Level::Privileged, &mut errors);
        read(labels, "warn", &mut policy.warn, Level::Privileged, &mut errors);
        let says = |label: &str| labels.contains_key(&format!("{PREFIX}{label}"));
        // What is enforced is warned of where the pod is only a template.
        if enforced && !says("warn") && policy.enforce.level > policy.warn.level {
            policy.warn.level = policy.enforce.level;
            if !says("warn-version") {
                policy.warn.version = policy.enforce.version;
            }
        }
        (policy, errors)
    }

    pub fn is_fully_privileged(&self) -> bool {
        [self.enforce, self.audit, self.warn].iter().all(|mode| mode.level == Level::Privileged)
    }

    pub fn is_equivalent(&self, other: &Self) -> bool {
        self.enforce.is_equivalent(other.enforce)
            && self.audit.is_equivalent(other.audit)
            && self.warn.is_equivalent(other.warn)
    }

    /// What the labels ask for beyond privileged: `enforce=baseline:latest, warn=restricted:v1.30`.
    pub fn asked(&self, labels: &BTreeMap<String, String>) -> String {
        let modes = [("enforce", self.enforce), ("audit", self.audit), ("warn", self.warn)];
        let asked = modes.iter().filter(|(mode, level)| {
            let labels =
                [format!("{PREFIX}{mode}"), format!("{PREFIX}{mode}-version")].map(|l| labels.contains_key(&l));
            level.level != Level::Privileged && labels.contains(&true)
        });
        asked.map(|(mode, level)| format!("{mode}={level}")).collect::<Vec<_>>().join(", ")
    }
}

/// Reads the two labels of a mode; whether the level is named and good.
fn read(
    labels: &BTreeMap<String, String>,
    mode: &str,
    into: &mut LevelVersion,
    on_error: Level,
    errors: &mut ErrorList,
) -> bool {
    let mut invalid = |label: &str, value: &str, detail: &str| {
        let metadata = Path::new("metadata");
        let path = metadata.child("labels");
        errors.push(Error::invalid(&path.key(label), value, detail));
    };
    let mut named = false;
    let label = format!("{PREFIX}{mode}");
    if let Some(value) = labels.get(&label) {
        let level = Level::parse(value);
        named = level.is_ok();
        into.level = level.unwrap_or_else(|detail| {
            invalid(&label, value, detail);
            on_error
        });
    }
    let label = format!("{PREFIX}{mode}-version");
    if let Some(value) = labels.get(&label) {
        into.version = Version::parse(value).unwrap_or_else(|detail| {
            invalid(&label, value, detail);
            Version::Latest
        });
    }
    named
}
