//! How names of fields that are no identifiers are spelled in expressions: `x-dash` is `x__dash__dash`, `namespace` is
//! `__namespace__`.

const RESERVED: &[&str] = &[
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

const ESCAPES: [(&str, &str); 4] = [("__", "__underscores__"), (".", "__dot__"), ("-", "__dash__"), ("/", "__slash__")];

/// Whether the language keeps this word for itself.
pub fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name)
}

/// The spelling of a field's name, or none if expressions cannot reach it.
pub fn escape_name(name: &str) -> Option<String> {
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if is_reserved(name) {
        return Some(format!("__{name}__"));
    }
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(c) = rest.chars().next() {
        if let Some((plain, escaped)) = ESCAPES.iter().find(|(plain, _)| rest.starts_with(plain)) {
            out.push_str(escaped);
            rest = &rest[plain.len()..];
        } else if c.is_ascii_alphanumeric() || c == '_' {
            out.push(c);
            rest = &rest[1..];
        } else {
            return None;
        }
    }
    Some(out)
}

/// The name of the field that is spelled so, or none if nothing is.
pub fn unescape_name(escaped: &str) -> Option<String> {
    if let Some(word) = escaped.strip_prefix("__").and_then(|rest| rest.strip_suffix("__"))
        && is_reserved(word)
    {
        return Some(word.to_owned());
    }
    let mut out = String::with_capacity(escaped.len());
    let mut rest = escaped;
    while !rest.is_empty() {
        let Some(at) = rest.find("__") else {
            out.push_str(rest);
            break;
        };
        let word_length = rest[at + 2..].find('_').unwrap_or(rest.len() - at - 2);
        let end = at + 2 + word_length;
        if word_length == 0 || !rest[end..].starts_with("__") {
            // Not a sequence: the first underscore is one.
            out.push_str(&rest[..=at]);
            rest = &rest[at + 1..];
            continue;
        }
        let (plain, _) = ESCAPES.iter().find(|(_, sequence)| *sequence == &rest[at..end + 2])?;
        out.push_str(&rest[..at]);
        out.push_str(plain);
        rest = &rest[end + 2..];
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_escaped() {
        for (name, escaped) in [
            ("a", Some("a")),
            ("a_b", Some("a_b")),
            ("namespace", Some("__namespace__")),
            ("in", Some("__in__")),
            ("var", Some("__var__")),
            ("a-b", Some("a__dash__b")),
            ("a.b/c", Some("a__dot__b__slash__c")),
            ("a__b", Some("a__underscores__b")),
            ("_", Some("_")),
            ("___", Some("__underscores___")),
            ("1a", None),
            ("", None),
            ("a b", None),
            ("ä", None),
            ("a$", None),
        ] {
            assert_eq!(escape_name(name).as_deref(), escaped, "{name}");
        }
        assert_eq!(unescape_name("a__bogus__b"), None);
        assert_eq!(unescape_name("__true__").as_deref(), Some("true"));
    }

    proptest! {
        #[test]
        fn escapes_come_back(name in "[a-z][a-z_./-]{0,12}") {
            let escaped = escape_name(&name).unwrap();
            prop_assert_eq!(unescape_name(&escaped), Some(name));
        }
    }
}
