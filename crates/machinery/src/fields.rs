//! Field selectors: `metadata.name=x,status.phase!=y`, with `\` escaping `,`, `=` and itself in values.

use crate::go_text;
use std::fmt;

/// One comparison.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Requirement {
    pub field: String,
    /// True for `!=`.
    pub negated: bool,
    pub value: String,
}

/// A conjunction of comparisons, in the order of their texts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Selector {
    requirements: Vec<Requirement>,
}

impl Selector {
    /// From the text of a `fieldSelector` parameter; the error is the API's message.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut terms = split_terms(text);
        terms.sort_unstable();
        let mut requirements = Vec::new();
        for term in terms.into_iter().filter(|term| !term.is_empty()) {
            let Some((field, negated, value)) = split_term(term) else {
                return Err(format!("invalid selector: '{text}'; can't understand '{term}'"));
            };
            requirements.push(Requirement { field: field.to_owned(), negated, value: unescape(value)? });
        }
        Ok(Selector { requirements })
    }

    /// Selects every object.
    pub fn everything() -> Self {
        Selector::default()
    }

    /// Selects by one field.
    pub fn equals(field: impl Into<String>, value: impl Into<String>) -> Self {
        Selector { requirements: vec![Requirement { field: field.into(), negated: false, value: value.into() }] }
    }

    /// Whether an object is selected whose fields `field` looks up; a field that is absent is empty.
    pub fn matches<S: AsRef<str>>(&self, field: impl Fn(&str) -> Option<S>) -> bool {
        self.requirements.iter().all(|r| {
            let value = field(&r.field);
            (value.as_ref().map_or("", |v| v.as_ref()) == r.value) != r.negated
        })
    }

    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty()
    }

    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// The value that a field must have, if there is one: a watch of one object, or an index, can use it.
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.requirements.iter().find(|r| !r.negated && r.field == field).map(|r| r.value.as_str())
    }

    /// The message about the first field that is not among `known`, as kinds without fields of their own word it.
    pub fn check_known(&self, known: &[&str]) -> Result<(), String> {
        match self.requirements.iter().find(|r| !known.contains(&r.field.as_str())) {
            None => Ok(()),
            Some(r) => Err(format!(
                "{} is not a known field selector: only {}",
                go_text::quote(&r.field),
                go_text::quote_all(known)
            )),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, r) in self.requirements.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            let operator = if r.negated { "!=" } else { "=" };
            write!(f, "{comma}{}{operator}{}", r.field, escape(&r.value))?;
        }
        Ok(())
    }
}

/// Escapes a value so that it survives inside of a selector.
pub fn escape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        if matches!(c, '\\' | ',' | '=') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

fn split_terms(text: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (i, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

fn split_term(term: &str) -> Option<(&str, bool, &str)> {
    let at =
        term.char_indices().map(|(i, _)| i).find(|i| term[*i..].starts_with("!=") || term[*i..].starts_with('='))?;
    let (field, rest) = term.split_at(at);
    if let Some(value) = rest.strip_prefix("!=") {
        return Some((field, true, value));
    }
    rest.strip_prefix("==").or_else(|| rest.strip_prefix('=')).map(|value| (field, false, value))
}

fn unescape(value: &str) -> Result<String, String> {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => out.push(c),
                Some(c) => return Err(format!("invalid field selector: invalid escape sequence: \\{c}")),
                None => return Err("invalid field selector: invalid escape sequence: \\".to_owned()),
            },
            // Upstream prints the character's number.
            ',' | '=' => return Err(format!("invalid field selector: unescaped character in value: {}", c as u32)),
            c => out.push(c),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn selectors_select() {
        let field = |name: &str| match name {
            "metadata.name" => Some("a"),
            "status.phase" => Some("Pending"),
            "odd" => Some("x,y=z\\"),
            _ => None,
        };
        for (text, selects) in [
            ("", true),
            (",,", true),
            ("metadata.name=a", true),
            ("metadata.name==a,status.phase!=Running", true),
            ("status.phase!=Pending", false),
            ("spec.nodeName=", true),
            ("spec.nodeName!=", false),
            (r"odd=x\,y\=z\\", true),
        ] {
            assert_eq!(Selector::parse(text).unwrap().matches(field), selects, "{text}");
        }
    }

    #[test]
    fn errors_are_upstreams() {
        for (text, want) in [
            ("abc", "invalid selector: 'abc'; can't understand 'abc'"),
            ("a=b,c", "invalid selector: 'a=b,c'; can't understand 'c'"),
            ("a=b=c", "invalid field selector: unescaped character in value: 61"),
            (r"a=b\c", r"invalid field selector: invalid escape sequence: \c"),
            ("a=b\\", "invalid field selector: invalid escape sequence: \\"),
        ] {
            assert_eq!(Selector::parse(text).unwrap_err(), want);
        }
        assert_eq!(
            Selector::parse("spec.bogus=x").unwrap().check_known(&["metadata.name", "metadata.namespace"]).unwrap_err(),
            r#""spec.bogus" is not a known field selector: only "metadata.name", "metadata.namespace""#
        );
    }

    #[test]
    fn requirements_are_listed() {
        let selector = Selector::parse("b!=1,a=2").unwrap();
        assert_eq!(selector.to_string(), "a=2,b!=1");
        assert_eq!(selector.exact("a"), Some("2"));
        assert_eq!(selector.exact("b"), None);
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "\\PC*") {
            let _ = Selector::parse(&text);
        }

        #[test]
        fn any_value_survives_the_text(value in "\\PC*") {
            let selector = Selector::equals("f", value);
            prop_assert_eq!(Selector::parse(&selector.to_string()), Ok(selector));
        }
    }
}
