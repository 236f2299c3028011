//! What a scalar means: upstream's resolution of plain scalars and core tags, and of mapping keys.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Number, Value};

/// `tag` is the name of a tag of YAML's core (`str`, `int`, ...), or "?" for any other tag.
pub fn resolve(text: &str, plain: bool, tag: Option<&str>) -> Result<Value, String> {
    match tag {
        None if plain => plain_value(text),
        None | Some("str" | "?" | "timestamp") => Ok(Value::String(text.to_owned())),
        Some("binary") => {
            let compact: String = text.split_ascii_whitespace().collect();
            let bytes =
                STANDARD.decode(compact).map_err(|_| "!!binary value contains invalid base64 data".to_owned())?;
            Ok(Value::String(String::from_utf8_lossy(&bytes).into_owned()))
        }
        Some(tag) => {
            let value = plain_value(text)?;
            let fits = match tag {
                "int" => value.is_i64() || value.is_u64(),
                "float" => value.is_number(),
                "bool" => value.is_boolean(),
                "null" => value.is_null(),
                _ => return Ok(Value::String(text.to_owned())),
            };
            if fits { Ok(value) } else { Err(format!("cannot decode !!str `{}` as a !!{tag}", shorten(text))) }
        }
    }
}

/// A mapping key as JSON's string.
pub fn key(value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(on) => Ok(on.to_string()),
        Value::Null => Err("unsupported map key of type: <nil>".to_owned()),
        Value::Array(_) | Value::Object(_) => Err("invalid map key".to_owned()),
    }
}

fn plain_value(text: &str) -> Result<Value, String> {
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Value::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Value::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Err("json: unsupported value: NaN".to_owned()),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return Err("json: unsupported value: +Inf".to_owned());
        }
        "-.inf" | "-.Inf" | "-.INF" => return Err("json: unsupported value: -Inf".to_owned()),
        text => match text.as_bytes()[0] {
            b'0'..=b'9' | b'+' | b'-' | b'.' => number(text).unwrap_or_else(|| Value::String(text.to_owned())),
            _ => Value::String(text.to_owned()),
        },
    })
}

fn number(text: &str) -> Option<Value> {
    let plain = if text.contains('_') { text.replace('_', "") } else { text.to_owned() };
    if let Some(integer) = integer(&plain) {
        return Some(integer);
    }
    if !is_float(plain.as_bytes()) {
        return None;
    }
    let float: f64 = plain.parse().ok()?;
    // Upstream's JSON writes a float without fraction as an integer.
    if float.fract() == 0.0 && float.abs() < 9.0e18 {
        return Some(Value::from(float as i64));
    }
    Number::from_f64(float).map(Value::Number)
}

/// Decimal, `0x`, `0b`, `0o` and, as YAML 1.1 had it, octal after a leading zero.
fn integer(text: &str) -> Option<Value> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    if !negative {
        return Some(Value::from(magnitude));
    }
    let value = -i128::from(magnitude);
    i64::try_from(value).ok().map(Value::from)
}

/// `[-+]? ( .digits | digits [.digits*] ) [ e [-+] digits ]`
fn is_float(text: &[u8]) -> bool {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let text = text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(text);
    let whole = digits(text);
    let mut rest = &text[whole..];
    if let Some(after) = rest.strip_prefix(b".") {
        let fraction = digits(after);
        if whole + fraction == 0 {
            return false;
        }
        rest = &after[fraction..];
    } else if whole == 0 {
        return false;
    }
    if let Some(after) = rest.strip_prefix(b"e").or(rest.strip_prefix(b"E")) {
        let after = after.strip_prefix(b"-").or(after.strip_prefix(b"+")).unwrap_or(after);
        let exponent = digits(after);
        return exponent > 0 && exponent == after.len();
    }
    rest.is_empty()
}

fn shorten(text: &str) -> String {
    if text.chars().count() <= 10 {
        text.to_owned()
    } else {
        format!("{}...", text.chars().take(7).collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn plain_scalars_resolve_as_upstream() {
        let cases = [
            ("yes", json!(true)),
            ("Off", json!(false)),
            ("~", json!(null)),
            ("0644", json!(420)),
            ("0o17", json!(15)),
            ("0x1F", json!(31)),
            ("-0b11", json!(-3)),
            ("1_000", json!(1000)),
            ("+5", json!(5)),
            ("089", json!(89)),
            ("1.0", json!(1)),
            ("1.5", json!(1.5)),
            (".5", json!(0.5)),
            ("1e3", json!(1000)),
            ("12e", json!("12e")),
            ("1.2.3", json!("1.2.3")),
            ("-", json!("-")),
            ("2024-01-01", json!("2024-01-01")),
            ("12:30:45", json!("12:30:45")),
            ("18446744073709551615", json!(u64::MAX)),
            ("100m", json!("100m")),
            ("-9223372036854775808", json!(i64::MIN)),
        ];
        for (text, expected) in cases {
            assert_eq!(resolve(text, true, None), Ok(expected), "{text}");
        }
        assert_eq!(resolve("yes", false, None), Ok(json!("yes")));
        assert_eq!(resolve("12", true, Some("str")), Ok(json!("12")));
        assert_eq!(resolve("aGk=", true, Some("binary")), Ok(json!("hi")));
        assert!(resolve("x", true, Some("int")).is_err());
        assert!(resolve(".nan", true, None).is_err());
    }
}
