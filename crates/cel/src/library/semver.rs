//! Semantic versions: `semver('1.2.3').isLessThan(semver('2.0.0'))`.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use super::Set;
use super::opaque::{Opaque, SEMVER};
use crate::errors::EvalError;
use crate::types::Type;
use crate::value::Value;
use Type::{Bool, Int, String as Text};

/// A version by semver.org.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Semver {
    major: u64,
    minor: u64,
    patch: u64,
    pre: Vec<Identifier>,
    build: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Identifier {
    Number(u64),
    Text(String),
}

pub(super) fn declare(set: &mut Set) {
    let semver = || Type::Opaque(SEMVER);
    set.global("semver", "string_to_semver", [Text], semver(), |args| read(args).map(value));
    set.global("semver", "string_bool_to_semver", [Text, Bool], semver(), |args| read(args).map(value));
    set.global("isSemver", "is_semver_string", [Text], Bool, |args| Ok(Value::Bool(read(args).is_ok())));
    set.global("isSemver", "is_semver_string_bool", [Text, Bool], Bool, |args| Ok(Value::Bool(read(args).is_ok())));
    set.member("isGreaterThan", "semver_is_greater_than", [semver(), semver()], Bool, |args| {
        Ok(Value::Bool(order(args)?.is_gt()))
    });
    set.member("isLessThan", "semver_is_less_than", [semver(), semver()], Bool, |args| {
        Ok(Value::Bool(order(args)?.is_lt()))
    });
    set.member("compareTo", "semver_compare_to", [semver(), semver()], Int, |args| Ok(Value::Int(order(args)? as i64)));
    set.member("major", "semver_major", [semver()], Int, |args| Ok(Value::Int(of(&args[0])?.major as i64)));
    set.member("minor", "semver_minor", [semver()], Int, |args| Ok(Value::Int(of(&args[0])?.minor as i64)));
    set.member("patch", "semver_patch", [semver()], Int, |args| Ok(Value::Int(of(&args[0])?.patch as i64)));
}

fn value<'a>(version: Semver) -> Value<'a> {
    Value::Opaque(Opaque::Semver(Arc::new(version)))
}

fn of<'v>(value: &'v Value<'_>) -> Result<&'v Semver, EvalError> {
    match value {
        Value::Opaque(Opaque::Semver(version)) => Ok(version),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn order(args: &[Value<'_>]) -> Result<Ordering, EvalError> {
    Ok(of(&args[0])?.compare(of(&args[1])?))
}

fn read(args: &[Value<'_>]) -> Result<Semver, EvalError> {
    let Some(text) = args[0].as_str() else { return Err(EvalError::no_such_overload()) };
    let version = match args.get(1) {
        Some(Value::Bool(true)) => normalize(text).and_then(|text| Semver::parse(&text)),
        _ => Semver::parse(text),
    };
    version.map_err(EvalError::new)
}

/// Drops a leading v and leading zeros, and adds the numbers that are missing.
fn normalize(text: &str) -> Result<String, String> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let mut parts: Vec<String> = text.splitn(3, '.').map(str::to_owned).collect();
    for part in &mut parts {
        if part.len() > 1 {
            let trimmed = part.trim_start_matches('0');
            let zero = if trimmed.starts_with(|c: char| c.is_ascii_digit()) { "" } else { "0" };
            *part = format!("{zero}{trimmed}");
        }
    }
    if parts.len() < 3 && parts.last().is_some_and(|last| last.contains(['+', '-'])) {
        return Err("short version cannot contain PreRelease/Build meta data".to_owned());
    }
    parts.resize(3, "0".to_owned());
    Ok(parts.join("."))
}

impl Semver {
    /// Reads a version; the error is upstream's.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("Version string empty".to_owned());
        }
        let parts: Vec<&str> = text.splitn(3, '.').collect();
        let [major, minor, rest] = parts.as_slice() else {
            return Err("No Major.Minor.Patch elements found".to_owned());
        };
        let major = number("Major", major)?;
        let minor = number("Minor", minor)?;
        let (rest, build) = match rest.split_once('+') {
            Some((rest, build)) => (rest, build.split('.').collect()),
            None => (*rest, Vec::new()),
        };
        let (patch, pre) = match rest.split_once('-') {
            Some((patch, pre)) => (patch, pre.split('.').collect()),
            None => (rest, Vec::new()),
        };
        let patch = number("Patch", patch)?;
        let pre = pre.into_iter().map(identifier).collect::<Result<_, _>>()?;
        for part in &build {
            if part.is_empty() {
                return Err("Build meta data is empty".to_owned());
            }
            if !part.bytes().all(is_identifier) {
                return Err(format!(
                    "Invalid character(s) found in build meta data {}",
                    machinery::go_text::quote(part)
                ));
            }
        }
        Ok(Semver { major, minor, patch, pre, build: build.into_iter().map(str::to_owned).collect() })
    }

    /// Precedence: build metadata counts for nothing.
    pub fn compare(&self, other: &Semver) -> Ordering {
        (self.major, self.minor, self.patch).cmp(&(other.major, other.minor, other.patch)).then_with(|| {
            match (self.pre.is_empty(), other.pre.is_empty()) {
                (true, true) => Ordering::Equal,
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                (false, false) => self.compare_pre(other),
            }
        })
    }

    fn compare_pre(&self, other: &Semver) -> Ordering {
        for (a, b) in self.pre.iter().zip(&other.pre) {
            let ordering = match (a, b) {
                (Identifier::Number(a), Identifier::Number(b)) => a.cmp(b),
                (Identifier::Number(_), Identifier::Text(_)) => Ordering::Less,
                (Identifier::Text(_), Identifier::Number(_)) => Ordering::Greater,
                (Identifier::Text(a), Identifier::Text(b)) => a.cmp(b),
            };
            if ordering.is_ne() {
                return ordering;
            }
        }
        self.pre.len().cmp(&other.pre.len())
    }
}

fn is_identifier(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}

fn number(what: &str, text: &str) -> Result<u64, String> {
    let quoted = machinery::go_text::quote(text);
    let lower = what.to_lowercase();
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("Invalid character(s) found in {lower} number {quoted}"));
    }
    if text.len() > 1 && text.starts_with('0') {
        return Err(format!("{what} number must not contain leading zeroes {quoted}"));
    }
    text.parse().map_err(|_| {
        let why = if text.is_empty() { "invalid syntax" } else { "value out of range" };
        format!("strconv.ParseUint: parsing {quoted}: {why}")
    })
}

fn identifier(text: &str) -> Result<Identifier, String> {
    if text.is_empty() {
        return Err("Prerelease is empty".to_owned());
    }
    let quoted = machinery::go_text::quote(text);
    if text.bytes().all(|b| b.is_ascii_digit()) {
        if text.len() > 1 && text.starts_with('0') {
            return Err(format!("Numeric PreRelease version must not contain leading zeroes {quoted}"));
        }
        let parsed = text.parse().map(Identifier::Number);
        return parsed.map_err(|_| format!("strconv.ParseUint: parsing {quoted}: value out of range"));
    }
    match text.bytes().all(is_identifier) {
        true => Ok(Identifier::Text(text.to_owned())),
        false => Err(format!("Invalid character(s) found in prerelease {quoted}")),
    }
}

impl fmt::Display for Semver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)?;
        for (index, part) in self.pre.iter().enumerate() {
            let separator = if index == 0 { '-' } else { '.' };
            match part {
                Identifier::Number(number) => write!(f, "{separator}{number}")?,
                Identifier::Text(text) => write!(f, "{separator}{text}")?,
            }
        }
        for (index, part) in self.build.iter().enumerate() {
            write!(f, "{}{part}", if index == 0 { '+' } else { '.' })?;
        }
        Ok(())
    }
}
