//! The standard library but for operators and times: sizes, conversions, and the basic tests of text.

use super::Set;
use super::regex;
use crate::errors::EvalError;
use crate::types::Type;
use crate::value::{EvalResult, Moment, Value, duration_text, float_text};
use Type::{Bool, Bytes, Double, Duration, Dyn, Int, String, Timestamp, Uint};
use machinery::time::parse_duration_nanos;

const A: Type = Type::Param("A");
const B: Type = Type::Param("B");

pub(super) fn declare(set: &mut Set) {
    let (list, map) = (|| Type::list(A), || Type::map(A, B));
    set.global("size", "size_bytes", [Bytes], Int, size);
    set.member("size", "bytes_size", [Bytes], Int, size);
    set.global("size", "size_list", [list()], Int, size);
    set.member("size", "list_size", [list()], Int, size);
    set.global("size", "size_map", [map()], Int, size);
    set.member("size", "map_size", [map()], Int, size);
    set.global("size", "size_string", [String], Int, size);
    set.member("size", "string_size", [String], Int, size);
    set.global("type", "type", [A], Type::type_of(A), |args| Ok(Value::Type(args[0].type_of())));
    set.global("dyn", "to_dyn", [A], Dyn, same);
    conversions(set);
    set.member("contains", "contains_string", [String, String], Bool, |args| {
        two_texts(args, |text, part| text.contains(part))
    });
    set.member("endsWith", "ends_with_string", [String, String], Bool, |args| {
        two_texts(args, |text, part| text.ends_with(part))
    });
    set.member("startsWith", "starts_with_string", [String, String], Bool, |args| {
        two_texts(args, |text, part| text.starts_with(part))
    });
    set.global("matches", "matches", [String, String], Bool, matches);
    set.member("matches", "matches_string", [String, String], Bool, matches);
}

fn conversions(set: &mut Set) {
    set.global("bool", "bool_to_bool", [Bool], Bool, same);
    set.global("bool", "string_to_bool", [String], Bool, to_bool);
    set.global("bytes", "bytes_to_bytes", [Bytes], Bytes, same);
    set.global("bytes", "string_to_bytes", [String], Bytes, to_bytes);
    set.global("double", "double_to_double", [Double], Double, same);
    set.global("double", "int64_to_double", [Int], Double, to_double);
    set.global("double", "string_to_double", [String], Double, to_double);
    set.global("double", "uint64_to_double", [Uint], Double, to_double);
    set.global("duration", "duration_to_duration", [Duration], Duration, same);
    set.global("duration", "int64_to_duration", [Int], Duration, to_duration);
    set.global("duration", "string_to_duration", [String], Duration, to_duration);
    set.global("int", "int64_to_int64", [Int], Int, same);
    set.global("int", "double_to_int64", [Double], Int, to_int);
    set.global("int", "duration_to_int64", [Duration], Int, to_int);
    set.global("int", "string_to_int64", [String], Int, to_int);
    set.global("int", "timestamp_to_int64", [Timestamp], Int, to_int);
    set.global("int", "uint64_to_int64", [Uint], Int, to_int);
    set.global("string", "string_to_string", [String], String, same);
    set.global("string", "bool_to_string", [Bool], String, to_string);
    set.global("string", "bytes_to_string", [Bytes], String, to_string);
    set.global("string", "double_to_string", [Double], String, to_string);
    set.global("string", "duration_to_string", [Duration], String, to_string);
    set.global("string", "int64_to_string", [Int], String, to_string);
    set.global("string", "timestamp_to_string", [Timestamp], String, to_string);
    set.global("string", "uint64_to_string", [Uint], String, to_string);
    set.global("timestamp", "timestamp_to_timestamp", [Timestamp], Timestamp, same);
    set.global("timestamp", "int64_to_timestamp", [Int], Timestamp, to_timestamp);
    set.global("timestamp", "string_to_timestamp", [String], Timestamp, to_timestamp);
    set.global("uint", "uint64_to_uint64", [Uint], Uint, same);
    set.global("uint", "double_to_uint64", [Double], Uint, to_uint);
    set.global("uint", "int64_to_uint64", [Int], Uint, to_uint);
    set.global("uint", "string_to_uint64", [String], Uint, to_uint);
}

/// Whether calls with a constant are computed before anything is evaluated.
pub(crate) fn is_conversion(function: &str) -> bool {
    matches!(
        function,
        "bool" | "bytes" | "double" | "duration" | "dyn" | "int" | "string" | "timestamp" | "type" | "uint"
    )
}

fn same<'a>(args: &[Value<'a>]) -> EvalResult<'a> {
    Ok(args[0].clone())
}

fn size<'a>(args: &[Value<'a>]) -> EvalResult<'a> {
    match args[0].size() {
        Some(size) => Ok(Value::Int(size as i64)),
        None => Err(EvalError::new("no such overload: size")),
    }
}

fn two_texts<'a>(args: &[Value<'a>], test: impl Fn(&str, &str) -> bool) -> EvalResult<'a> {
    match (&args[0], &args[1]) {
        (Value::String(text), Value::String(part)) => Ok(Value::Bool(test(text, part))),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn matches<'a>(args: &[Value<'a>]) -> EvalResult<'a> {
    let (Value::String(text), Value::String(pattern)) = (&args[0], &args[1]) else {
        return Err(EvalError::no_such_overload());
    };
    let pattern = regex::compile(pattern).map_err(EvalError::new)?;
    Ok(Value::Bool(pattern.is_match(text)))
}

fn failed<'a>(value: &Value<'a>, to: &Type) -> EvalResult<'a> {
    let from = value.type_of();
    Err(EvalError::new(format!("type conversion error from '{}' to '{}'", from.runtime_name(), to.runtime_name())))
}

fn to_bool<'a>(args: &[Value<'a>]) -> EvalResult<'a> {
    match args[0].as_str() {
        Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(Value::Bool(true)),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(Value::Bool(false)),
        _ => failed(&args[0], &Bool),
    }
}

fn to_bytes<'a>(args: &[Value<'a>]) -> EvalResult<'a> {
    match args[0].as_str() {
        Some(text) => Ok(Value::Bytes(text.as_bytes().into())),
        None => failed(&args[0], &Bytes),
    }
}

fn to_double<'a>(args: &[Value<'a>]) -> EvalResult<'a> {
    match &args[0] {
        Value::Int(value) => Ok(Value::Double(*value as f64)),
        Value::Uint(value) => Ok(Value::Double(*value as f64)),
        Value::String(text) => match parse_float(text) {
            Some(value) => Ok(Value::Double(value)),
            None => failed(&args[0], &Double),
        },
        value => failed(value, &Double),
    }
}

/// Decimal floats; `inf`, `infinity` and `nan` in any case. What is too large for a float is none.
pub(super) fn parse_float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let named = ["inf", "infinity", "nan"].iter().any(|name| unsigned.eq_ignore_ascii_case(name));
    let value = text.parse::<f64>().ok()?;
    (named || value.is_finite()).then_some(value)
}

fn to_duration<'a>(args: &[Value<'a>]) -> EvalResult<'a> {
    match &args[0] {
        Value::Int(nanos) => Ok(Value::Duration(*nanos)),
        Value::String(text) => match parse_duration_nanos(text) {
            Some(nanos) => Ok(Value::Duration(nanos)),
            None => failed(&args[0], &Duration),
        },
        value => failed(value, &Duration),
    }
}

fn to_int<'a>(args: &[Value<'a>]) -> EvalResult<'a> {
    let overflow = || EvalError::new("integer overflow");
    match &args[0] {
        Value::Double(value) if *value > -9_223_372_036_854_775_808.0 && *value < 9_223_372_036_854_775_808.0 => {
            Ok(Value::Int(*value as i64))
        }
        Value::Double(_) => Err(overflow()),
        Value::Duration(nanos) => Ok(Value::Int(*nanos)),
        Value::Timestamp(time) => Ok(Value::Int(time.seconds())),
        Value::Uint(value) => i64::try_from(*value).map(Value::Int).map_err(|_| overflow()),
        Value::String(text) => match text.parse::<i64>() {
            Ok(value) => Ok(Value::Int(value)),
            Err(_) => failed(&args[0], &Int),
        },
        value => failed(value, &Int),
    }
}

fn to_uint<'a>(args: &[Value<'a>]) -> EvalResult<'a> {
    let overflow = || EvalError::new("unsigned integer overflow");
    match &args[0] {
        Value::Double(value) if *value >= 0.0 && *value < 18_446_744_073_709_551_616.0 => {
            Ok(Value::Uint(*value as u64))
        }
        Value::Double(_) => Err(overflow()),
        Value::Int(value) => u64::try_from(*value).map(Value::Uint).map_err(|_| overflow()),
        Value::String(text) => match text.parse::<u64>() {
            Ok(value) if !text.starts_with('+') => Ok(Value::Uint(value)),
            _ => failed(&args[0], &Uint),
        },
        value => failed(value, &Uint),
    }
}

fn to_string<'a>(args: &[Value<'a>]) -> EvalResult<'a> {
    Ok(match &args[0] {
        Value::Bool(value) => Value::from(value.to_string()),
        Value::Int(value) => Value::from(value.to_string()),
        Value::Uint(value) => Value::from(value.to_string()),
        Value::Double(value) => Value::from(float_text(*value)),
        Value::Duration(nanos) => Value::from(duration_text(*nanos)),
        Value::Timestamp(time) => Value::from(time.to_string()),
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Value::from(text.to_owned()),
            Err(_) => return Err(EvalError::new("invalid UTF-8 in bytes, cannot convert to string")),
        },
        value => return failed(value, &String),
    })
}

fn to_timestamp<'a>(args: &[Value<'a>]) -> EvalResult<'a> {
    let overflow = || EvalError::new("timestamp overflow");
    match &args[0] {
        Value::Int(seconds) => {
            let time = Moment::from_nanos(i128::from(*seconds) * 1_000_000_000);
            time.map(Value::Timestamp).ok_or_else(overflow)
        }
        Value::String(text) => match Moment::parse(text) {
            Some(time) => Ok(Value::Timestamp(time)),
            None if machinery::time::parse_rfc3339_parts(text).is_ok() => Err(overflow()),
            None => failed(&args[0], &Timestamp),
        },
        value => failed(value, &Timestamp),
    }
}
