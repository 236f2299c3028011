//! What a call costs with the values that it has.

use super::range::scale;
use crate::errors::EvalError;
use crate::library::opaque::Opaque;
use crate::plan::Call;
use crate::value::{EvalResult, Steps, Value};

pub(crate) const LIST: u64 = 10;
pub(crate) const MAP: u64 = 30;
pub(crate) const OBJECT: u64 = 40;
/// Reading one character.
pub(super) const CHARACTER: f64 = 0.1;
/// Matching by one character of a pattern.
pub(super) const PATTERN_CHARACTER: f64 = 0.25;
/// One authorization check.
pub(super) const CHECK: u64 = 350_000;

/// The size of a value; what has none counts as one.
fn size(value: &Value<'_>) -> u64 {
    match value {
        Value::Optional(Some(value)) => size(value),
        Value::Opaque(opaque) => opaque.size(),
        value => value.size().unwrap_or(1),
    }
}

/// `==` and `!=`: as long as the shorter side.
pub(crate) fn equality(sides: &[EvalResult<'_>; 2], negated: bool) -> u64 {
    if let (Ok(Value::Opaque(_)), false) = (&sides[0], negated) {
        return 1;
    }
    let sizes = sides.iter().map(|side| side.as_ref().map_or(1, size));
    scale(sizes.min().unwrap_or(1), CHARACTER)
}

/// A call. Without its result what is known of the cost before.
pub(crate) fn call(call: &Call, args: &[Value<'_>], result: Option<&EvalResult<'_>>) -> u64 {
    let overload = call.overload_id().unwrap_or_default();
    list_call(overload, args, result)
        .or_else(|| kubernetes_call(&call.function, overload, args, result))
        .unwrap_or_else(|| standard_call(overload, args))
}

fn size_of_result(result: Option<&EvalResult<'_>>) -> u64 {
    match result {
        Some(Ok(value)) => size(value),
        Some(Err(_)) => 1,
        None => 0,
    }
}

/// The list and set libraries.
fn list_call(overload: &str, args: &[Value<'_>], result: Option<&EvalResult<'_>>) -> Option<u64> {
    let allocating = |factor: f64, size: u64| Some((size as f64 * factor) as u64 + 1 + LIST);
    match overload {
        "list_slice" | "lists_range" | "list_reverse" => allocating(1.0, size_of_result(result)),
        "list_flatten" => allocating(1.0, size(&args[0])),
        "list_flatten_int" => match args[1] {
            Value::Int(depth) => allocating(depth as f64, size(&args[0])),
            _ => None,
        },
        "list_distinct" => self_comparison(&args[0]),
        "list_sets_contains_list" | "list_sets_intersects_list" => {
            Some(1u64.saturating_add(size(&args[0]).saturating_mul(size(&args[1]))))
        }
        "list_sets_equivalent_list" => {
            Some(1u64.saturating_add(size(&args[0]).saturating_mul(size(&args[1])).saturating_mul(2)))
        }
        _ if overload.starts_with("list_") && overload.ends_with("_sort") => self_comparison(&args[0]),
        _ if overload.ends_with("_sortByAssociatedKeys") => self_comparison(&args[1]),
        _ => None,
    }
}

/// Each item against each other.
fn self_comparison(list: &Value<'_>) -> Option<u64> {
    let Value::List(list) = list else { return None };
    let factor = match list.get(0) {
        Some(Ok(Value::String(_) | Value::Bytes(_))) => 2.0 + CHARACTER,
        _ => 2.0,
    };
    let length = list.len() as f64;
    Some((length * length * factor) as u64 + 1 + LIST)
}

fn kubernetes_call(function: &str, overload: &str, args: &[Value<'_>], result: Option<&EvalResult<'_>>) -> Option<u64> {
    let first = args.first()?;
    Some(match function {
        "check" => CHECK,
        "serviceAccount" | "path" | "group" | "resource" | "subresource" | "namespace" | "name" | "allowed"
        | "reason" | "error" | "errored" => 1,
        "fieldSelector" | "labelSelector" => selector(size(args.get(1)?)),
        "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" | "includes" => {
            traversal(first, &mut Steps::new()).unwrap_or(u64::MAX)
        }
        "url" | "lowerAscii" | "upperAscii" | "substring" | "trim" | "jsonpatch.escapeKey" => {
            scale(size(first), CHARACTER)
        }
        "replace" | "split" => scale(size(first), 2.0 * CHARACTER),
        "join" => scale(size_of_result(result), 2.0 * CHARACTER),
        "find" | "findAll" => matching(size(first), size(args.get(1)?)),
        "cidr" | "isIP" | "isCIDR" | "quantity" | "isQuantity" | "semver" | "isSemver" => scale(size(first), CHARACTER),
        "ip" if overload == "cidr_ip" => 1,
        "ip" => scale(size(first), CHARACTER),
        "ip.isCanonical" => scale(size(first), 2.0 * CHARACTER),
        "containsIP" => {
            let text = if overload == "cidr_contains_ip_string" { scale(size(args.get(1)?), CHARACTER) } else { 0 };
            scale(2 * size(first), CHARACTER) + text
        }
        "containsCIDR" => {
            let text = if overload == "cidr_contains_cidr_string" { scale(size(args.get(1)?), CHARACTER) } else { 0 };
            scale(2 * size(first), CHARACTER) + scale(size(first), CHARACTER) + 1 + text
        }
        "validate" => match first {
            Value::Opaque(Opaque::Format(format)) => matching(size(args.get(1)?), format.pattern_characters_max),
            _ => return None,
        },
        _ if is_unit(function) => 1,
        _ => return None,
    })
}

/// Functions of the libraries that look at nothing of variable size.
pub(super) fn is_unit(function: &str) -> bool {
    matches!(
        function,
        "masked"
            | "prefixLength"
            | "family"
            | "isUnspecified"
            | "isLoopback"
            | "isLinkLocalMulticast"
            | "isLinkLocalUnicast"
            | "isGlobalUnicast"
            | "format.named"
            | "sign"
            | "asInteger"
            | "isInteger"
            | "asApproximateFloat"
            | "isGreaterThan"
            | "isLessThan"
            | "compareTo"
            | "add"
            | "sub"
            | "major"
            | "minor"
            | "patch"
            | "getScheme"
            | "getHostname"
            | "getHost"
            | "getPort"
            | "getEscapedPath"
            | "getQuery"
    )
}

fn matching(text: u64, pattern: u64) -> u64 {
    scale(text.saturating_add(1), CHARACTER).saturating_mul(scale(pattern, PATTERN_CHARACTER))
}

/// Reading a selector, and the requirements that fit into its length.
fn selector(characters: u64) -> u64 {
    let requirements = scale(characters, 0.5);
    LIST + scale(characters, CHARACTER) + requirements.saturating_mul(LIST + OBJECT)
}

/// Going once through all that a value holds.
fn traversal(value: &Value<'_>, steps: &mut Steps) -> Result<u64, EvalError> {
    steps.step()?;
    let mut cost: u64 = 0;
    match value {
        Value::String(text) => return Ok((text.len() as f64 * CHARACTER) as u64),
        Value::Bytes(bytes) => return Ok((bytes.len() as f64 * CHARACTER) as u64),
        Value::List(list) => {
            for item in list.iter() {
                cost = cost.saturating_add(traversal(&item?, steps)?);
            }
        }
        Value::Map(map) => {
            for (key, value) in map.entries() {
                cost = cost.saturating_add(traversal(&key, steps)?).saturating_add(traversal(&value?, steps)?);
            }
        }
        _ => return Ok(1),
    }
    Ok(cost)
}

fn standard_call(overload: &str, args: &[Value<'_>]) -> u64 {
    let size_at = |index: usize| args.get(index).map_or(1, size);
    match overload {
        "starts_with_string" | "ends_with_string" | "string_to_bytes" | "bytes_to_string" | "strings_quote"
        | "string_format" => scale(size_at(0), CHARACTER),
        "in_list" => size_at(1),
        "add_string" | "add_bytes" => scale(size_at(0).saturating_add(size_at(1)), CHARACTER),
        "matches_string" => matching(size_at(0), size_at(1)),
        "contains_string" => scale(size_at(0), CHARACTER).saturating_mul(scale(size_at(1), CHARACTER)),
        _ if is_text_comparison(overload) => scale(size_at(0).min(size_at(1)), CHARACTER),
        _ => 1,
    }
}

/// `less_string` and its like.
pub(super) fn is_text_comparison(overload: &str) -> bool {
    let of = |suffix: &str| overload.strip_suffix(suffix);
    let prefix = of("_string").or_else(|| of("_bytes"));
    matches!(prefix, Some("less" | "less_equals" | "greater" | "greater_equals"))
}
