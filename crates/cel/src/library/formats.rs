//! Named formats: `format.dns1123Label().validate('a.b')` lists what is wrong, or is none.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use machinery::names;

use super::Set;
use super::opaque::{FORMAT, Opaque};
use super::url::request_uri_error;
use crate::errors::EvalError;
use crate::types::Type;
use crate::value::{EvalResult, Moment, Value};
use Type::String as Text;

/// A format that text may have.
pub struct NamedFormat {
    /// The name of the function that gives it.
    pub name: &'static str,
    validate: fn(&str) -> Vec<String>,
    /// As long as the longest pattern that it stands for: what a check costs.
    pub(crate) pattern_characters_max: u64,
}

impl fmt::Debug for NamedFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

const fn format(name: &'static str, pattern_characters_max: u64, validate: fn(&str) -> Vec<String>) -> NamedFormat {
    NamedFormat { name, validate, pattern_characters_max }
}

static FORMATS: [NamedFormat; 13] = [
    format("dns1123Label", 30, names::is_dns1123_label),
    format("dns1123Subdomain", 60, names::is_dns1123_subdomain),
    format("dns1035Label", 30, names::is_dns1035_label),
    format("qualifiedName", 60, names::qualified_name),
    format("dns1123LabelPrefix", 30, |text| names::is_dns1123_label(&without_dash(text))),
    format("dns1123SubdomainPrefix", 60, |text| names::is_dns1123_subdomain(&without_dash(text))),
    format("dns1035LabelPrefix", 30, |text| names::is_dns1035_label(&without_dash(text))),
    format("labelValue", 40, names::label_value),
    format("uri", 1103, |text| request_uri_error(text).into_iter().collect()),
    format("uuid", 70, |text| unless(is_uuid(text), "does not match the UUID format")),
    format("byte", 84, |text| unless(!text.is_empty() && STANDARD.decode(text).is_ok(), "invalid base64")),
    format("date", 76, |text| unless(is_date(text), "invalid date")),
    format("datetime", 76, |text| unless(Moment::parse(&text.to_uppercase()).is_some(), "invalid datetime")),
];

pub(super) fn declare(set: &mut Set) {
    let format = || Type::Opaque(FORMAT);
    set.member("validate", "format-validate", [format(), Text], Type::optional(Type::list(Text)), validate);
    set.global("format.named", "format-named", [Text], Type::optional(format()), |args| {
        let Some(name) = args[0].as_str() else { return Err(EvalError::no_such_overload()) };
        Ok(FORMATS.iter().find(|format| format.name == name).map_or(Value::none(), |format| Value::some(value(format))))
    });
    macro_rules! constants {
        ($($index:literal $function:literal),*) => {
            $(set.global($function, $function, [], format(), |_| Ok(value(&FORMATS[$index])));)*
        };
    }
    constants!(
        0 "format.dns1123Label", 1 "format.dns1123Subdomain", 2 "format.dns1035Label", 3 "format.qualifiedName",
        4 "format.dns1123LabelPrefix", 5 "format.dns1123SubdomainPrefix", 6 "format.dns1035LabelPrefix",
        7 "format.labelValue", 8 "format.uri", 9 "format.uuid", 10 "format.byte", 11 "format.date",
        12 "format.datetime"
    );
}

fn value<'a>(format: &'static NamedFormat) -> Value<'a> {
    Value::Opaque(Opaque::Format(format))
}

fn validate<'a>(args: &[Value<'a>]) -> EvalResult<'a> {
    let (Value::Opaque(Opaque::Format(format)), Some(text)) = (&args[0], args[1].as_str()) else {
        return Err(EvalError::no_such_overload());
    };
    let wrong = (format.validate)(text);
    if wrong.is_empty() {
        return Ok(Value::none());
    }
    Ok(Value::some(Value::list(wrong.into_iter().map(Value::from).collect())))
}

fn unless(valid: bool, message: &str) -> Vec<String> {
    if valid { Vec::new() } else { vec![message.to_owned()] }
}

/// A name to which more will be added may end in a dash.
fn without_dash(text: &str) -> String {
    match text.strip_suffix('-') {
        Some(rest) if !rest.is_empty() => {
            let kept: String = rest.chars().take(rest.chars().count() - 1).collect();
            kept + "a"
        }
        _ => text.to_owned(),
    }
}

fn is_uuid(text: &str) -> bool {
    let mut rest = text;
    for (index, length) in [8, 4, 4, 4, 12].into_iter().enumerate() {
        if index > 0 {
            rest = rest.strip_prefix('-').unwrap_or(rest);
        }
        match rest.get(..length) {
            Some(digits) if digits.bytes().all(|b| b.is_ascii_hexdigit()) => rest = &rest[length..],
            _ => return false,
        }
    }
    rest.is_empty()
}

fn is_date(text: &str) -> bool {
    text.len() == 10 && Moment::parse(&format!("{text}T00:00:00Z")).is_some()
}
