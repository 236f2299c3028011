//! Texts as upstream's language prints them. Error messages quote values (`%q`), print floats (`%v`) and embed JSON, and clients
//! compare those messages, so the three printers are here once.

use serde_json::Value;
use std::fmt::Write;

/// A double-quoted string with upstream's escapes (`%q`).
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            c if is_printable(c) => out.push(c),
            c if (c as u32) < 0x80 => drop(write!(out, "\\x{:02x}", c as u32)),
            c if (c as u32) < 0x1_0000 => drop(write!(out, "\\u{:04x}", c as u32)),
            c => drop(write!(out, "\\U{:08x}", c as u32)),
        }
    }
    out.push('"');
    out
}

/// Quoted values, joined with ", ".
pub fn quote_all<S: AsRef<str>>(values: &[S]) -> String {
    values.iter().map(|v| quote(v.as_ref())).collect::<Vec<_>>().join(", ")
}

/// Letters, marks, numbers, punctuation, symbols and the ASCII space.
pub fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return (' '..='~').contains(&c);
    }
    // After another character escape_debug leaves combining marks alone and escapes exactly what cannot be printed.
    let pair: String = ['a', c].iter().collect();
    pair.escape_debug().nth(1) == Some(c)
}

/// JSON text as upstream embeds it in messages: compact, with `<`, `>`, `&` and the two line separators escaped.
pub fn json(value: &Value) -> String {
    let plain = value.to_string();
    if !plain.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        return plain;
    }
    let mut out = String::with_capacity(plain.len() + 16);
    for c in plain.chars() {
        match c {
            // Outside of strings JSON has none of these, so a blind replacement is right.
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => drop(write!(out, "\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out
}

/// A number printed by `%v`: integers plainly, floats in the shortest form with an exponent below 1e-4 and from 1e21.
pub fn number(number: &serde_json::Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => self::float(float),
        _ => number.to_string(),
    }
}

/// A float printed by `%v`.
pub fn float(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string().replace("inf", "+Inf").replace("-+Inf", "-Inf");
    }
    let scientific = format!("{value:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    match exponent.parse::<i32>() {
        Ok(exponent) if !(-4..21).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{mantissa}e{sign}{:02}", exponent.abs())
        }
        _ => value.to_string(),
    }
}

/// A value printed by `%v` after decoding into untyped maps: `map[a:1 b:[x y]]`, keys sorted, strings bare.
pub fn plain(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Bool(b) => b.to_string(),
        Value::Number(n) => number(n),
        Value::String(s) => s.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(plain).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| key.as_str());
            let entries: Vec<_> = entries.into_iter().map(|(k, v)| format!("{k}:{}", plain(v))).collect();
            format!("map[{}]", entries.join(" "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn quotes_escape_what_cannot_be_printed() {
        for (text, want) in [
            ("", r#""""#),
            ("a\"b\\c", r#""a\"b\\c""#),
            ("tab\tnl\n\u{7}\u{0}\u{7f}", r#""tab\tnl\n\a\x00\x7f""#),
            ("grüß 日本 e\u{301}", "\"grüß 日本 e\u{301}\""),
            ("\u{a0}\u{200b}\u{e000}", r#""\u00a0\u200b\ue000""#),
            ("\u{10ffff}", r#""\U0010ffff""#),
        ] {
            assert_eq!(quote(text), want);
        }
        assert_eq!(quote_all(&["a", ""]), r#""a", """#);
    }

    #[test]
    fn json_escapes_html() {
        assert_eq!(super::json(&json!({"a": "<b>&"})), r#"{"a":"\u003cb\u003e\u0026"}"#);
    }

    #[test]
    fn floats_have_exponents_only_far_out() {
        for (value, want) in [
            (1.0, "1"),
            (0.5, "0.5"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1.5e-5, "1.5e-05"),
            (0.0, "0"),
        ] {
            assert_eq!(float(value), want);
        }
    }

    #[test]
    fn plain_values_look_like_maps() {
        assert_eq!(plain(&json!({"image": "nokey", "a": [1, true, null]})), "map[a:[1 true <nil>] image:nokey]");
    }
}
