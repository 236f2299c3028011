//! Regular expressions in the syntax of upstream's language (RE2), run by the `regex` crate.
//!
//! The two syntaxes agree but for details: here `\d`, `\w`, `\s`, `\b` are ASCII, `\Q...\E` quotes, classes have no set
//! operations, and repetitions have limits. `translate` rewrites what differs and refuses what upstream refuses.

mod translate;

use std::cell::RefCell;
use std::collections::HashMap;

use ::regex::{Regex, RegexBuilder};

use super::Set;
use super::strings::{int, text};
use crate::errors::EvalError;
use crate::types::Type;
use crate::value::{EvalResult, Value};
use Type::{Int, String as Text};

/// Compiled patterns may be so large.
const COMPILED_BYTES_MAX: usize = 4 << 20;
/// How many compiled patterns each thread keeps.
const KEPT_MAX: usize = 128;

pub(super) fn declare(set: &mut Set) {
    set.member("find", "string_find_string", [Text, Text], Text, |args| {
        let (text, pattern) = (text(args, 0)?, text(args, 1)?);
        let pattern = compile(pattern).map_err(illegal)?;
        Ok(Value::from(pattern.find(text).map_or(String::new(), |found| found.as_str().to_owned())))
    });
    set.member("findAll", "string_find_all_string", [Text, Text], Type::list(Text), |args| find_all(args, -1));
    set.member("findAll", "string_find_all_string_int", [Text, Text, Int], Type::list(Text), |args| {
        find_all(args, int(args, 2)?)
    });
}

fn illegal(why: String) -> EvalError {
    EvalError::new(format!("Illegal regex: {why}"))
}

fn find_all<'a>(args: &[Value<'a>], limit: i64) -> EvalResult<'a> {
    let (text, pattern) = (text(args, 0)?, text(args, 1)?);
    let pattern = compile(pattern).map_err(illegal)?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let found = pattern.find_iter(text).take(limit).map(|found| Value::from(found.as_str().to_owned()));
    Ok(Value::list(found.collect()))
}

/// A pattern, compiled or taken from those that the thread has kept; the error is upstream's where it is a common one.
pub fn compile(pattern: &str) -> Result<Regex, String> {
    thread_local! {
        static KEPT: RefCell<HashMap<String, Result<Regex, String>>> = RefCell::default();
    }
    KEPT.with_borrow_mut(|kept| {
        if let Some(known) = kept.get(pattern) {
            return known.clone();
        }
        let compiled = compile_new(pattern);
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        kept.insert(pattern.to_owned(), compiled.clone());
        compiled
    })
}

fn compile_new(pattern: &str) -> Result<Regex, String> {
    let translated = translate::translate(pattern).map_err(|why| format!("error parsing regexp: {why}"))?;
    let mut builder = RegexBuilder::new(&translated);
    builder.size_limit(COMPILED_BYTES_MAX).dfa_size_limit(COMPILED_BYTES_MAX).nest_limit(200);
    builder.build().map_err(|error| match error {
        ::regex::Error::CompiledTooBig(_) => "error parsing regexp: expression too large".to_owned(),
        _ => format!("error parsing regexp: invalid or unsupported Perl syntax: `{pattern}`"),
    })
}
