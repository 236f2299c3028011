//! The language's library for text, and the escape of JSON patches' paths. Indexes count characters.

use super::{Feature, Set, string_format};
use crate::errors::EvalError;
use crate::types::Type;
use crate::value::{EvalResult, Value};
use Type::{Dyn, Int, String as Text};

/// No function makes longer text: one that did would cost more than an evaluation may.
pub(super) const BYTES_MAX: usize = 10_000_000;

pub(super) fn declare(set: &mut Set) {
    set.member("charAt", "string_char_at_int", [Text, Int], Text, char_at);
    set.member("indexOf", "string_index_of_string", [Text, Text], Int, |args| index_of(args, Some(0)));
    set.member("indexOf", "string_index_of_string_int", [Text, Text, Int], Int, |args| index_of(args, None));
    set.member("lastIndexOf", "string_last_index_of_string", [Text, Text], Int, last_index_of);
    set.member("lastIndexOf", "string_last_index_of_string_int", [Text, Text, Int], Int, last_index_of);
    set.member("lowerAscii", "string_lower_ascii", [Text], Text, |args| {
        Ok(Value::from(text(args, 0)?.to_ascii_lowercase()))
    });
    set.member("upperAscii", "string_upper_ascii", [Text], Text, |args| {
        Ok(Value::from(text(args, 0)?.to_ascii_uppercase()))
    });
    set.member("replace", "string_replace_string_string", [Text, Text, Text], Text, replace);
    set.member("replace", "string_replace_string_string_int", [Text, Text, Text, Int], Text, replace);
    set.member("split", "string_split_string", [Text, Text], Type::list(Text), split);
    set.member("split", "string_split_string_int", [Text, Text, Int], Type::list(Text), split);
    set.member("substring", "string_substring_int", [Text, Int], Text, substring);
    set.member("substring", "string_substring_int_int", [Text, Int, Int], Text, substring);
    set.member("trim", "string_trim", [Text], Text, |args| Ok(Value::from(text(args, 0)?.trim().to_owned())));
    set.member("join", "list_join", [Type::list(Text)], Text, join);
    set.member("join", "list_join_string", [Type::list(Text), Text], Text, join);
    set.member("format", "string_format", [Text, Type::list(Dyn)], Text, |args| match &args[1] {
        Value::List(list) => string_format::format(text(args, 0)?, list).map(Value::from),
        _ => Err(EvalError::no_such_overload()),
    });
    set.global("strings.quote", "strings_quote", [Text], Text, |args| Ok(Value::from(quote(text(args, 0)?))));
    set.global("jsonpatch.escapeKey", "string_jsonpatch_escapeKey_string", [Text], Text, |args| {
        Ok(Value::from(text(args, 0)?.replace('~', "~0").replace('/', "~1")))
    });
    set.only("jsonpatch.escapeKey", Feature::JsonPatch);
}

pub(super) fn text<'v>(args: &'v [Value<'_>], index: usize) -> Result<&'v str, EvalError> {
    args.get(index).and_then(Value::as_str).ok_or_else(EvalError::no_such_overload)
}

pub(super) fn int(args: &[Value<'_>], index: usize) -> Result<i64, EvalError> {
    match args.get(index) {
        Some(Value::Int(value)) => Ok(*value),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn out_of_range(index: i64) -> EvalError {
    EvalError::new(format!("index out of range: {index}"))
}

fn char_at<'a>(args: &[Value<'a>]) -> EvalResult<'a> {
    let (text, index) = (text(args, 0)?, int(args, 1)?);
    let at = usize::try_from(index).map_err(|_| out_of_range(index))?;
    match text.chars().nth(at) {
        Some(c) => Ok(Value::from(c.to_string())),
        None if at == text.chars().count() => Ok(Value::from(String::new())),
        None => Err(out_of_range(index)),
    }
}

/// The byte at which a character begins, if the text is that long.
fn byte_of(text: &str, character: usize) -> Option<usize> {
    text.char_indices().map(|(byte, _)| byte).chain(std::iter::once(text.len())).nth(character)
}

fn index_of<'a>(args: &[Value<'a>], start: Option<i64>) -> EvalResult<'a> {
    let (text, part) = (text(args, 0)?, text(args, 1)?);
    let start = match start {
        Some(start) => start,
        None => int(args, 2)?,
    };
    if part.is_empty() {
        return Ok(Value::Int(start));
    }
    let at = usize::try_from(start).map_err(|_| out_of_range(start))?;
    let found = byte_of(text, at).and_then(|from| text[from..].find(part).map(|byte| &text[..from + byte]));
    Ok(Value::Int(found.map_or(-1, |before| before.chars().count() as i64)))
}

fn last_index_of<'a>(args: &[Value<'a>]) -> EvalResult<'a> {
    let (text, part) = (text(args, 0)?, text(args, 1)?);
    let length = text.chars().count() as i64;
    let start = if args.len() > 2 { int(args, 2)? } else { length };
    if part.is_empty() {
        return Ok(Value::Int(start));
    }
    if start < 0 {
        return Err(out_of_range(start));
    }
    if start > length || (args.len() > 2 && start >= length) {
        return Ok(Value::Int(-1));
    }
    // Where the part ends if it begins at the last place that counts. In the middle of a character it cannot end.
    let end = byte_of(text, start as usize).unwrap_or(text.len()).saturating_add(part.len());
    let found = text[..text.floor_char_boundary(end)].rfind(part);
    Ok(Value::Int(found.map_or(-1, |at| text[..at].chars().count() as i64)))
}

fn replace<'a>(args: &[Value<'a>]) -> EvalResult<'a> {
    let (text, from, to) = (text(args, 0)?, text(args, 1)?, text(args, 2)?);
    let limit = if args.len() > 3 { int(args, 3)? } else { -1 };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let count = text.matches(from).take(limit).count();
    if text.len().saturating_add(count.saturating_mul(to.len())) > BYTES_MAX {
        return Err(EvalError::cost_exceeded());
    }
    Ok(Value::from(text.replacen(from, to, limit)))
}

fn split<'a>(args: &[Value<'a>]) -> EvalResult<'a> {
    let (text, separator) = (text(args, 0)?, text(args, 1)?);
    let limit = if args.len() > 2 { int(args, 2)? } else { -1 };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let parts: Vec<&str> = match (limit, separator) {
        (0, _) => Vec::new(),
        (limit, "") => characters(text, limit),
        (limit, separator) => text.splitn(limit, separator).collect(),
    };
    Ok(Value::list(parts.into_iter().map(|part| Value::from(part.to_owned())).collect()))
}

/// Each character on its own, the last of so many with all that follows.
fn characters(text: &str, limit: usize) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if parts.len() + 1 == limit {
            break;
        }
        let (part, after) = rest.split_at(c.len_utf8());
        parts.push(part);
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(rest);
    }
    parts
}

fn substring<'a>(args: &[Value<'a>]) -> EvalResult<'a> {
    let (text, start) = (text(args, 0)?, int(args, 1)?);
    let length = text.chars().count() as i64;
    let end = if args.len() > 2 { int(args, 2)? } else { length };
    if args.len() > 2 && start > end {
        return Err(EvalError::new(format!("invalid substring range. start: {start}, end: {end}")));
    }
    for index in [start, end] {
        if !(0..=length).contains(&index) {
            return Err(out_of_range(index));
        }
    }
    let from = byte_of(text, start as usize).unwrap_or(text.len());
    let to = byte_of(text, end as usize).unwrap_or(text.len());
    Ok(Value::from(text[from..to].to_owned()))
}

fn join<'a>(args: &[Value<'a>]) -> EvalResult<'a> {
    let Value::List(list) = &args[0] else { return Err(EvalError::no_such_overload()) };
    let separator = if args.len() > 1 { text(args, 1)? } else { "" };
    let mut out = String::new();
    for (index, item) in list.iter().enumerate() {
        let item = item?;
        let Some(part) = item.as_str() else {
            return Err(EvalError::new(format!("join: invalid input: {item}")));
        };
        if index > 0 {
            out.push_str(separator);
        }
        out.push_str(part);
        if out.len() > BYTES_MAX {
            return Err(EvalError::cost_exceeded());
        }
    }
    Ok(Value::from(out))
}

/// In double quotes, with what a literal could not hold escaped.
fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
