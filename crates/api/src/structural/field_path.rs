//! Paths to fields as rules and selectable fields write them: `.a.b`, `.m['k.y']`. Every step must lead to a schema.

use super::{Additional, Schema};

/// One step, by a property's name or by a key of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Field(String),
    Key(String),
}

impl Step {
    pub fn name(&self) -> &str {
        match self {
            Self::Field(name) | Self::Key(name) => name,
        }
    }
}

/// Whether `['name']` may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Brackets {
    Allowed,
    Refused,
}

/// The steps of a path and the schema that it leads to.
pub fn resolve<'s>(path: &str, schema: &'s Schema, brackets: Brackets) -> Result<(Vec<Step>, &'s Schema), String> {
    const END: &str = "unexpected end of JSON path";
    let mut tokens = Tokens(path);
    let mut steps = Vec::new();
    let mut at = schema;
    while let Some(token) = tokens.next() {
        let name = match token {
            "." => tokens.next().ok_or(END)?.to_owned(),
            "[" if brackets == Brackets::Refused => return Err("array notation is not allowed".to_owned()),
            "[" => {
                let quoted = tokens.next().ok_or(END)?;
                let inner = quoted.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
                let inner = inner.ok_or_else(|| format!("expected single quoted string but got {quoted}"))?;
                let name = unescape(inner).ok_or_else(|| "invalid string literal: unterminated escape".to_owned())?;
                match tokens.next().ok_or(END)? {
                    "]" => name,
                    other => return Err(format!("expected ] but got {other}")),
                }
            }
            other => return Err(format!("expected [ or . but got: {other}")),
        };
        let (step, below) = take(at, name)?;
        steps.push(step);
        at = below;
    }
    Ok((steps, at))
}

fn take(schema: &Schema, name: String) -> Result<(Step, &Schema), String> {
    let unknown = || "does not refer to a valid field".to_owned();
    if !schema.properties.is_empty() {
        let below = schema.properties.get(&name).ok_or_else(unknown)?;
        return Ok((Step::Field(name), below));
    }
    match &schema.additional {
        Some(Additional::Schema(below)) => Ok((Step::Key(name), below)),
        _ => Err(unknown()),
    }
}

fn unescape(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        out.push(if c == '\\' { chars.next()? } else { c });
    }
    Some(out)
}

/// Delimiters, quoted strings, and what is between them.
struct Tokens<'p>(&'p str);

impl<'p> Iterator for Tokens<'p> {
    type Item = &'p str;

    fn next(&mut self) -> Option<&'p str> {
        let text = self.0;
        let first = text.chars().next()?;
        let length = match first {
            '.' | '[' | ']' => 1,
            '\'' => {
                let bytes = text.as_bytes();
                let end = (1..bytes.len()).find(|at| bytes[*at] == b'\'' && bytes[at - 1] != b'\\');
                end.map_or(text.len(), |end| end + 1)
            }
            _ => text.find(['.', '[', ']']).unwrap_or(text.len()),
        };
        let (token, rest) = text.split_at(length);
        self.0 = rest;
        Some(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_lead_to_schemas() {
        let schema = Schema::parse(&json!({"type": "object", "properties": {
            "a": {"type": "string"},
            "m": {"type": "object", "additionalProperties": {"type": "string"}},
        }}))
        .unwrap();
        let resolve = |path: &str| {
            resolve(path, &schema, Brackets::Allowed).map(|(steps, schema)| (steps.len(), schema.kind.clone()))
        };
        assert_eq!(resolve(".a"), Ok((1, "string".to_owned())));
        assert_eq!(resolve(".m['k.y']"), Ok((2, "string".to_owned())));
        assert_eq!(resolve(".nope"), Err("does not refer to a valid field".to_owned()));
        assert_eq!(resolve(".a.b"), Err("does not refer to a valid field".to_owned()));
        assert_eq!(resolve("a"), Err("expected [ or . but got: a".to_owned()));
        assert_eq!(resolve(".m[0]"), Err("expected single quoted string but got 0".to_owned()));
        assert_eq!(resolve("."), Err("unexpected end of JSON path".to_owned()));
    }
}
