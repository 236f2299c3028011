//! `'%s is %d'.format(['x', 3])`.

use super::strings::BYTES_MAX;
use crate::errors::EvalError;
use crate::value::{List, Steps, Value, duration_text, float_text};
use machinery::go_text;

/// Digits behind the point where none are asked for.
const PRECISION: usize = 6;
/// More digits than a float has.
const PRECISION_MAX: usize = 1_000;

pub(super) fn format(template: &str, args: &List<'_>) -> Result<String, EvalError> {
    let mut out = String::new();
    let mut rest = template;
    let mut next = 0;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        if rest.is_empty() {
            return Err(EvalError::new("unexpected end of string"));
        }
        let Some(arg) = args.get(next) else {
            return Err(EvalError::new(format!("index {next} out of range")));
        };
        next += 1;
        let (verb, precision, after) =
            clause(rest).map_err(|why| EvalError::new(format!("could not parse formatting clause: {why}")))?;
        rest = after;
        let text = one(verb, precision, &arg?)
            .map_err(|error| EvalError::new(format!("error during formatting: {}", error.message())))?;
        out.push_str(&text);
        if out.len() > BYTES_MAX {
            return Err(EvalError::cost_exceeded());
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// The letter of a clause, its precision, and what follows it.
fn clause(text: &str) -> Result<(char, Option<usize>, &str), String> {
    let (mut precision, mut rest) = (None, text);
    if let Some(after) = text.strip_prefix('.') {
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        if digits == after.len() {
            return Err("error while parsing precision: could not find end of precision specifier".to_owned());
        }
        if digits > 0 {
            let parsed = after[..digits].parse::<usize>().ok().filter(|precision| *precision <= PRECISION_MAX);
            precision = Some(parsed.ok_or("error while parsing precision: value out of range")?);
        }
        rest = &after[digits..];
    }
    let Some(verb) = rest.chars().next() else { return Err("unexpected end of string".to_owned()) };
    match verb {
        's' | 'd' | 'f' | 'e' | 'b' | 'x' | 'X' | 'o' => Ok((verb, precision, &rest[1..])),
        other => Err(format!("unrecognized formatting clause \"{other}\"")),
    }
}

fn refused(what: &str, arg: &Value<'_>) -> EvalError {
    EvalError::new(format!("{what}, was given {}", arg.type_of().runtime_name()))
}

fn one(verb: char, precision: Option<usize>, arg: &Value<'_>) -> Result<String, EvalError> {
    let precision = precision.unwrap_or(PRECISION);
    match (verb, arg) {
        ('s', arg) => plain(arg, &mut Steps::new()),
        ('d', Value::Int(value)) => Ok(value.to_string()),
        ('d', Value::Uint(value)) => Ok(value.to_string()),
        ('d', arg) => Err(refused("decimal clause can only be used on integers", arg)),
        ('f', arg) => match float(arg) {
            Some(value) => Ok(fixed(value, precision)),
            None => Err(refused("fixed-point clause can only be used on doubles", arg)),
        },
        ('e', arg) => match float(arg) {
            Some(value) => Ok(scientific(value, precision)),
            None => Err(refused("scientific clause can only be used on doubles", arg)),
        },
        ('b', Value::Int(value)) => Ok(signed(*value, |value| format!("{value:b}"))),
        ('b', Value::Uint(value)) => Ok(format!("{value:b}")),
        ('b', Value::Bool(value)) => Ok(u8::from(*value).to_string()),
        ('b', arg) => Err(refused("only integers and bools can be formatted as binary", arg)),
        ('o', Value::Int(value)) => Ok(signed(*value, |value| format!("{value:o}"))),
        ('o', Value::Uint(value)) => Ok(format!("{value:o}")),
        ('o', arg) => Err(refused("octal clause can only be used on integers", arg)),
        (verb, Value::Int(value)) => Ok(cased(verb, signed(*value, |value| format!("{value:x}")))),
        (verb, Value::Uint(value)) => Ok(cased(verb, format!("{value:x}"))),
        (verb, Value::String(text)) => Ok(cased(verb, hex(text.as_bytes()))),
        (verb, Value::Bytes(bytes)) => Ok(cased(verb, hex(bytes))),
        (_, arg) => Err(refused("only integers, byte buffers, and strings can be formatted as hex", arg)),
    }
}

fn signed(value: i64, digits: impl Fn(u64) -> String) -> String {
    format!("{}{}", if value < 0 { "-" } else { "" }, digits(value.unsigned_abs()))
}

fn cased(verb: char, text: String) -> String {
    if verb == 'X' { text.to_uppercase() } else { text }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn float(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Double(value) => Some(*value),
        Value::String(text) => match &**text {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

fn unusual(value: f64) -> Option<&'static str> {
    match value {
        _ if value.is_nan() => Some("NaN"),
        f64::INFINITY => Some("\u{221e}"),
        f64::NEG_INFINITY => Some("-\u{221e}"),
        _ => None,
    }
}

/// Digits in groups of three, as in English.
fn fixed(value: f64, precision: usize) -> String {
    if let Some(text) = unusual(value) {
        return text.to_owned();
    }
    let text = format!("{value:.precision$}");
    let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |digits| ("-", digits));
    let (whole, fraction) = digits.split_once('.').map_or((digits, None), |(whole, part)| (whole, Some(part)));
    let mut out = String::from(sign);
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if let Some(fraction) = fraction {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

/// `1.052033 × 10⁰³`, with narrow spaces.
fn scientific(value: f64, precision: usize) -> String {
    if let Some(text) = unusual(value) {
        return text.to_owned();
    }
    const SUPERSCRIPT: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    let text = format!("{value:.precision$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = exponent.strip_prefix('-').map_or(("", exponent), |digits| ("⁻", digits));
    let digits: String =
        format!("{digits:0>2}").bytes().map(|digit| SUPERSCRIPT[usize::from(digit - b'0') % 10]).collect();
    format!("{mantissa}\u{202f}×\u{202f}10{sign}{digits}")
}

/// A value on its own.
fn plain(value: &Value<'_>, steps: &mut Steps) -> Result<String, EvalError> {
    steps.step()?;
    Ok(match value {
        Value::List(list) => {
            let mut parts = Vec::new();
            for item in list.iter() {
                parts.push(inner(&item?, steps)?);
            }
            format!("[{}]", parts.join(", "))
        }
        Value::Map(map) => {
            let mut entries = Vec::new();
            for (key, value) in map.entries() {
                if !matches!(key, Value::String(_) | Value::Bool(_) | Value::Int(_) | Value::Uint(_)) {
                    return Err(refused("no formatting function for map key", &key));
                }
                entries.push((inner(&key, steps)?, inner(&value?, steps)?));
            }
            entries.sort();
            let entries: Vec<String> = entries.into_iter().map(|(key, value)| format!("{key}:{value}")).collect();
            format!("{{{}}}", entries.join(", "))
        }
        Value::Null => "null".to_owned(),
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => return Err(EvalError::new("could not convert argument \"bytes\" to string")),
        },
        Value::Double(value) => float_text(*value),
        Value::Bool(_)
        | Value::Int(_)
        | Value::Uint(_)
        | Value::String(_)
        | Value::Timestamp(_)
        | Value::Duration(_)
        | Value::Type(_) => value.to_string(),
        other => {
            let what = "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps";
            return Err(refused(what, other));
        }
    })
}

/// A value inside of a list or map: text is quoted, times name their type.
fn inner(value: &Value<'_>, steps: &mut Steps) -> Result<String, EvalError> {
    Ok(match value {
        Value::String(text) => go_text::quote(text),
        Value::Bytes(bytes) => format!("b{}", go_text::quote(&String::from_utf8_lossy(bytes))),
        Value::Timestamp(time) => format!("timestamp({})", go_text::quote(&time.to_string())),
        Value::Duration(nanos) => format!("duration({})", go_text::quote(&duration_text(*nanos))),
        Value::Double(value) if value.is_finite() => format!("{value:.PRECISION$}"),
        Value::Double(value) => go_text::quote(&float_text(*value)),
        Value::Type(ty) => format!("type({})", ty.runtime_name()),
        other => plain(other, steps)?,
    })
}
