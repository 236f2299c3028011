//! From text to a template.

use serde_json::Value;

use super::{Comparison, Node, Step};

/// Puts braces and the first dot around an expression that has none: `metadata.name` means `{.metadata.name}`.
pub fn relaxed(text: &str) -> Result<String, String> {
    let text = text.trim();
    let inner = match (text.strip_prefix('{'), text.strip_suffix('}')) {
        (Some(_), Some(_)) => &text[1..text.len() - 1],
        (None, None) => text,
        _ => {
            return Err(
                "unexpected path string, expected a 'name1.name2' or '.name1.name2' or '{name1.name2}' or '{.name1.name2}'".to_owned()
            );
        }
    };
    Ok(match inner.chars().next() {
        None => String::new(),
        Some('.' | '[' | '$' | '@') => format!("{{{inner}}}"),
        Some(_) => format!("{{.{inner}}}"),
    })
}

pub(super) fn template(text: &str) -> Result<Vec<Node>, String> {
    let mut open: Vec<(Vec<Step>, Vec<Node>)> = Vec::new();
    let mut nodes: Vec<Node> = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let Some(start) = rest.find('{') else {
            nodes.push(Node::Text(rest.to_owned()));
            break;
        };
        if start > 0 {
            nodes.push(Node::Text(rest[..start].to_owned()));
        }
        let end = closing_brace(&rest[start + 1..]).ok_or("unclosed action")? + start + 1;
        let action = rest[start + 1..end].trim();
        rest = &rest[end + 1..];
        if action == "end" {
            let (path, outer) = open.pop().ok_or("not in range, nothing to end")?;
            let body = std::mem::replace(&mut nodes, outer);
            nodes.push(Node::Range(path, body));
        } else if let Some(range) = action.strip_prefix("range").filter(|range| range.starts_with([' ', '.', '['])) {
            let path = path(range.trim())?;
            open.push((path, std::mem::take(&mut nodes)));
        } else {
            action_nodes(action, &mut nodes)?;
        }
    }
    if open.is_empty() { Ok(nodes) } else { Err("unclosed range".to_owned()) }
}

/// Where the action's brace closes; braces in quotes do not count.
fn closing_brace(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    for (at, character) in text.char_indices() {
        match (quote, character) {
            _ if escaped => escaped = false,
            (_, '\\') => escaped = true,
            (Some(open), close) if open == close => quote = None,
            (None, '"' | '\'') => quote = Some(character),
            (None, '}') => return Some(at),
            _ => {}
        }
    }
    None
}

fn action_nodes(action: &str, nodes: &mut Vec<Node>) -> Result<(), String> {
    let mut parser = Parser { rest: action };
    loop {
        parser.space();
        if parser.rest.is_empty() {
            return Ok(());
        }
        if let Some(text) = parser.quoted()? {
            nodes.push(Node::Text(text));
        } else {
            let path = parser.path()?;
            nodes.push(Node::Path(path));
        }
    }
}

fn path(text: &str) -> Result<Vec<Step>, String> {
    let mut parser = Parser { rest: text };
    let path = parser.path()?;
    if parser.rest.trim().is_empty() { Ok(path) } else { Err(format!("unexpected text {:?}", parser.rest)) }
}

struct Parser<'t> {
    rest: &'t str,
}

impl Parser<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn eat(&mut self, text: &str) -> bool {
        let Some(rest) = self.rest.strip_prefix(text) else { return false };
        self.rest = rest;
        true
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// A quoted string with Go's escapes.
    fn quoted(&mut self) -> Result<Option<String>, String> {
        let Some(quote) = self.peek().filter(|c| matches!(c, '"' | '\'')) else { return Ok(None) };
        let mut out = String::new();
        let mut characters = self.rest.char_indices().skip(1);
        while let Some((at, character)) = characters.next() {
            match character {
                '\\' => match characters.next().map(|(_, next)| next) {
                    Some('n') => out.push('\n'),
                    Some('t') => out.push('\t'),
                    Some('r') => out.push('\r'),
                    Some(other) => out.push(other),
                    None => break,
                },
                close if close == quote => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(Some(out));
                }
                other => out.push(other),
            }
        }
        Err("unterminated quoted string".to_owned())
    }

    fn path(&mut self) -> Result<Vec<Step>, String> {
        let mut steps = Vec::new();
        loop {
            if self.eat("..") {
                steps.push(Step::Recursive);
                if self.peek().is_some_and(|next| next != '[') {
                    steps.push(self.field()?);
                }
            } else if self.eat(".") {
                if self.peek() == Some('[') || self.peek().is_none() {
                    continue;
                }
                steps.push(self.field()?);
            } else if self.eat("[") {
                steps.push(self.bracket()?);
            } else if steps.is_empty() && self.eat("$") {
                steps.push(Step::Root);
            } else if steps.is_empty() && self.eat("@") {
                steps.push(Step::Current);
            } else if steps.is_empty() {
                return self.literal().map(|literal| vec![literal]);
            } else {
                return Ok(steps);
            }
        }
    }

    fn field(&mut self) -> Result<Step, String> {
        if self.eat("*") {
            return Ok(Step::Wildcard);
        }
        let mut name = String::new();
        let mut end = self.rest.len();
        let mut characters = self.rest.char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '\\' => name.extend(characters.next().map(|(_, next)| next)),
                '.' | '[' | ']' | ' ' | '(' | ')' | '=' | '!' | '<' | '>' | '{' | '}' | ',' | '@' | '$' => {
                    end = at;
                    break;
                }
                other => name.push(other),
            }
        }
        self.rest = &self.rest[end..];
        if name.is_empty() {
            Err(format!("unrecognized character in action: {:?}", self.rest))
        } else {
            Ok(Step::Field(name))
        }
    }

    fn literal(&mut self) -> Result<Step, String> {
        if let Some(text) = self.quoted()? {
            return Ok(Step::Literal(Value::String(text)));
        }
        let end = self.rest.find([' ', ')', ']', ',', '}']).unwrap_or(self.rest.len());
        let word = &self.rest[..end];
        let value = match serde_json::from_str::<Value>(word) {
            Ok(value @ (Value::Number(_) | Value::Bool(_))) => value,
            _ => return Err(format!("unrecognized identifier {word}")),
        };
        self.rest = &self.rest[end..];
        Ok(Step::Literal(value))
    }

    /// What stands between brackets.
    fn bracket(&mut self) -> Result<Step, String> {
        self.space();
        if self.eat("?(") {
            let step = self.filter()?;
            self.space();
            return if self.eat("]") { Ok(step) } else { Err("unterminated filter".to_owned()) };
        }
        let mut parts = Vec::new();
        loop {
            self.space();
            parts.push(if self.eat("*") {
                Step::Wildcard
            } else if let Some(name) = self.quoted_name()? {
                name
            } else {
                self.slice()?
            });
            self.space();
            if self.eat("]") {
                break;
            }
            if !self.eat(",") {
                return Err("unterminated array".to_owned());
            }
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Step::Union(parts) })
    }

    /// `'a.b'` in brackets is a path of fields; `'a\.b'` is one field.
    fn quoted_name(&mut self) -> Result<Option<Step>, String> {
        let Some(quote) = self.peek().filter(|c| matches!(c, '"' | '\'')) else { return Ok(None) };
        let end = self.rest[1..].find(quote).ok_or("unterminated quoted string")? + 1;
        let inner = &self.rest[1..end];
        self.rest = &self.rest[end + 1..];
        let mut fields = vec![String::new()];
        let mut characters = inner.chars();
        while let Some(character) = characters.next() {
            match character {
                '.' => fields.push(String::new()),
                '\\' => fields.iter_mut().last().into_iter().for_each(|field| field.extend(characters.next())),
                other => fields.iter_mut().last().into_iter().for_each(|field| field.push(other)),
            }
        }
        let mut steps: Vec<Step> = fields.into_iter().filter(|field| !field.is_empty()).map(Step::Field).collect();
        Ok(Some(if steps.len() == 1 { steps.remove(0) } else { Step::Path(steps) }))
    }

    fn slice(&mut self) -> Result<Step, String> {
        let end = self.rest.find([']', ',']).ok_or("unterminated array")?;
        let text = self.rest[..end].trim();
        self.rest = &self.rest[end..];
        let number = |part: &str| -> Result<Option<i64>, String> {
            let part = part.trim();
            if part.is_empty() {
                return Ok(None);
            }
            part.parse().map(Some).map_err(|_| format!("invalid array index {text}"))
        };
        let parts: Vec<&str> = text.split(':').collect();
        match parts.as_slice() {
            [only] => number(only)?.map(Step::Index).ok_or_else(|| format!("invalid array index {text}")),
            [from, to] => Ok(Step::Slice(number(from)?, number(to)?, 1)),
            [from, to, step] => match number(step)?.unwrap_or(1) {
                step if step > 0 => Ok(Step::Slice(number(from)?, number(to)?, step)),
                _ => Err("step must be > 0".to_owned()),
            },
            _ => Err(format!("invalid array index {text}")),
        }
    }

    fn filter(&mut self) -> Result<Step, String> {
        self.space();
        let left = self.path()?;
        self.space();
        let comparison = [
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ]
        .into_iter()
        .find(|(text, _)| self.eat(text))
        .map(|(_, comparison)| comparison);
        let right = match comparison {
            None => None,
            Some(comparison) => {
                self.space();
                Some((comparison, self.path()?))
            }
        };
        self.space();
        if self.eat(")") { Ok(Step::Filter(left, right)) } else { Err("unterminated filter".to_owned()) }
    }
}
