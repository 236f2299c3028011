//! YAML bodies as upstream reads them: the JSON that its converter would make of them.
//!
//! Plain scalars resolve by upstream's rules (YAML 1.1's `yes`, `on`, `y` and 0644 = 420; dates stay strings), keys become
//! strings, floats without a fraction become integers. Aliases are expanded, but within upstream's ratio and a
//! bound on copied bytes, so that no small text becomes a large value. The last of several equal keys counts; the others
//! are remembered with their lines.

mod error;
mod scalar;

use std::collections::HashMap;

use granit_parser::{Event, Options, Parser, ScalarStyle, Span, StrInput};
use serde_json::{Map, Value};

use super::{DUPLICATES_MAX, Limits, Parsed};

/// Parses the first document, as upstream does with a request's body. No document at all is null.
pub fn parse(bytes: &[u8], limits: Limits) -> Result<Parsed, String> {
    let text = check(bytes, limits)?;
    Ok(Builder::new(text, limits).next_document()?.unwrap_or_default())
}

/// Parses all documents, as a client does with a file. Documents without content are left out.
pub fn parse_all(bytes: &[u8], limits: Limits) -> Result<Vec<Parsed>, String> {
    let text = check(bytes, limits)?;
    let mut builder = Builder::new(text, limits);
    let mut documents = Vec::new();
    while let Some(parsed) = builder.next_document()? {
        if !parsed.value.is_null() {
            documents.push(parsed);
        }
    }
    Ok(documents)
}

fn check(bytes: &[u8], limits: Limits) -> Result<&str, String> {
    if bytes.len() > limits.bytes {
        return Err(format!("yaml: document is larger than {} bytes", limits.bytes));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "yaml: invalid leading UTF-8 octet".to_owned())?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// What an anchor stands for, and how much of a document a copy of it is.
struct Anchored {
    value: Value,
    nodes: usize,
    bytes: usize,
}

struct Builder<'t> {
    parser: Parser<'t, StrInput<'t>>,
    text: &'t str,
    limits: Limits,
    depth: usize,
    anchors: HashMap<usize, Anchored>,
    /// Nodes built in all, by aliases, and bytes copied by aliases.
    nodes: usize,
    alias_nodes: usize,
    alias_bytes: usize,
    bytes: usize,
    duplicates: Vec<String>,
}

impl<'t> Builder<'t> {
    fn new(text: &'t str, limits: Limits) -> Self {
        let mut options = Options::default();
        options.flow_nesting_limit = limits.depth;
        options.block_nesting_limit = limits.depth;
        options.emit_comments = false;
        Builder {
            parser: Parser::new_from_str_with_options(text, options),
            text,
            limits,
            depth: 0,
            anchors: HashMap::new(),
            nodes: 0,
            alias_nodes: 0,
            alias_bytes: 0,
            bytes: 0,
            duplicates: Vec::new(),
        }
    }

    fn next(&mut self) -> Result<(Event<'t>, Span), String> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(problem)) => Err(error::message(self.text, &problem)),
            None => Ok((Event::StreamEnd, Span::empty(granit_parser::Marker::new(0, 0, 0)))),
        }
    }

    fn next_document(&mut self) -> Result<Option<Parsed>, String> {
        loop {
            match self.next()?.0 {
                Event::DocumentStart(..) => break,
                Event::StreamEnd => return Ok(None),
                _ => {}
            }
        }
        self.anchors.clear();
        let (event, span) = self.next()?;
        let value = match event {
            Event::DocumentEnd => Value::Null,
            event => self.node(event, span)?,
        };
        let yaml_duplicates = std::mem::take(&mut self.duplicates);
        Ok(Some(Parsed { value, duplicates: Vec::new(), yaml_duplicates }))
    }

    fn node(&mut self, event: Event<'t>, span: Span) -> Result<Value, String> {
        let (nodes, bytes) = (self.nodes, self.bytes);
        self.nodes += 1;
        let (anchor, value) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.bytes += text.len();
                let plain = style == ScalarStyle::Plain;
                let tag = tag.as_deref().map(|tag| tag.core_suffix().unwrap_or("?"));
                let value = scalar::resolve(&text, plain, tag)
                    .map_err(|problem| format!("yaml: line {}: {problem}", span.start.line()))?;
                (anchor, value)
            }
            Event::SequenceStart(_, anchor, _) => (anchor, self.nested(Self::sequence)?),
            Event::MappingStart(_, anchor, _) => (anchor, self.nested(Self::mapping)?),
            Event::Alias(id) => return self.alias(id, span),
            _ => return Err("yaml: unexpected event".to_owned()),
        };
        if anchor != 0 {
            let anchored = Anchored { value: value.clone(), nodes: self.nodes - nodes, bytes: self.bytes - bytes };
            self.copied(anchored.nodes, anchored.bytes)?;
            self.anchors.insert(anchor, anchored);
        }
        Ok(value)
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Value, String>) -> Result<Value, String> {
        if self.depth == self.limits.depth {
            return Err(format!("yaml: exceeded max depth of {}", self.limits.depth));
        }
        self.depth += 1;
        let value = read(self);
        self.depth -= 1;
        value
    }

    fn sequence(&mut self) -> Result<Value, String> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(Value::Array(items));
            }
            items.push(self.node(event, span)?);
        }
    }

    fn mapping(&mut self) -> Result<Value, String> {
        let mut map = Map::new();
        let mut merged = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                break;
            }
            let is_merge = matches!(&event, Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<");
            let line = span.start.line();
            let key = if is_merge { Value::Null } else { self.node(event, span)? };
            let (event, span) = self.next()?;
            let value = self.node(event, span)?;
            if is_merge {
                merged.push((line, value));
                continue;
            }
            let shown = key.to_string();
            let name = scalar::key(key).map_err(|problem| format!("yaml: line {line}: {problem}"))?;
            if map.insert(name, value).is_some() && self.duplicates.len() < DUPLICATES_MAX {
                self.duplicates.push(format!("line {line}: key {shown} already set in map"));
            }
        }
        for (line, value) in merged {
            merge(&mut map, value).map_err(|problem| format!("yaml: line {line}: {problem}"))?;
        }
        Ok(Value::Object(map))
    }

    fn alias(&mut self, id: usize, span: Span) -> Result<Value, String> {
        let Some(anchored) = self.anchors.get(&id) else {
            let name = span.slice(self.text).unwrap_or_default().trim_start_matches('*');
            return Err(format!("yaml: anchor '{name}' value contains itself"));
        };
        let (nodes, bytes) = (anchored.nodes, anchored.bytes);
        self.copied(nodes, bytes)?;
        self.nodes += nodes;
        self.bytes += bytes;
        // `copied` cannot remove anchors, so the entry is still there.
        Ok(self.anchors.get(&id).map(|anchored| anchored.value.clone()).unwrap_or_default())
    }

    /// Upstream allows nearly everything to come from aliases in a small document, a tenth in a huge one; and no text
    /// may be copied so often that it exceeds several times the allowed body.
    fn copied(&mut self, nodes: usize, bytes: usize) -> Result<(), String> {
        const LOW: usize = 400_000;
        const HIGH: usize = 4_000_000;
        self.alias_nodes += nodes;
        self.alias_bytes += bytes;
        let total = self.nodes + self.alias_nodes;
        let allowed = match total {
            ..=LOW => 0.99,
            HIGH.. => 0.10,
            _ => 0.99 - 0.89 * (total - LOW) as f64 / (HIGH - LOW) as f64,
        };
        let ratio = self.alias_nodes as f64 / total as f64;
        let too_many = self.alias_nodes > 100 && total > 1000 && ratio > allowed;
        if too_many || self.alias_bytes > self.limits.bytes.saturating_mul(4) {
            return Err("yaml: document contains excessive aliasing".to_owned());
        }
        Ok(())
    }
}

/// `<<`: keys of another mapping (or of several, the first of which wins) that the map does not have itself.
fn merge(map: &mut Map<String, Value>, from: Value) -> Result<(), &'static str> {
    let sources = match from {
        Value::Object(source) => vec![source],
        Value::Array(items) => items
            .into_iter()
            .map(|item| match item {
                Value::Object(source) => Ok(source),
                _ => Err("map merge requires map or sequence of maps as the value"),
            })
            .collect::<Result<_, _>>()?,
        _ => return Err("map merge requires map or sequence of maps as the value"),
    };
    for (key, value) in sources.into_iter().flatten() {
        if !map.contains_key(&key) {
            map.insert(key, value);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn value(text: &str) -> Value {
        parse(text.as_bytes(), Limits::default()).unwrap().value
    }

    fn error(text: &str) -> String {
        parse(text.as_bytes(), Limits::default()).unwrap_err()
    }

    #[test]
    fn a_manifest_becomes_json() {
        let text = "# comment\napiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  labels: {app: x, 'on': \"1\"}\nspec:\n  \
                    containers:\n  - name: c\n    command: [sh, -c, 'echo']\n";
        assert_eq!(
            value(text),
            json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "labels": {"app": "x", "on": "1"}},
                "spec": {"containers": [{"name": "c", "command": ["sh", "-c", "echo"]}]},
            })
        );
        assert_eq!(value("a: |\n  x\n  y\nb: >-\n  p\n  q\n"), json!({"a": "x\ny\n", "b": "p q"}));
        assert_eq!(value(""), Value::Null);
        assert_eq!(value(r#"{"metadata": {"name": "j"}}"#), json!({"metadata": {"name": "j"}}));
    }

    #[test]
    fn keys_become_strings() {
        assert_eq!(value("1: a\ntrue: b\n1.5: c\ny: d\n"), json!({"1": "a", "true": "d", "1.5": "c"}));
    }

    #[test]
    fn aliases_and_merges_are_expanded() {
        assert_eq!(
            value("base: &b {x: 1, y: 2}\nuse:\n  <<: *b\n  y: 3\nlist: [*b]\n"),
            json!({"base": {"x": 1, "true": 2}, "use": {"true": 3, "x": 1}, "list": [{"x": 1, "true": 2}]})
        );
        assert_eq!(error("a: *nope\n"), "yaml: unknown anchor 'nope' referenced");
        assert_eq!(error("a: &a [*a]\n"), "yaml: anchor 'a' value contains itself");
    }

    #[test]
    fn duplicates_are_remembered_with_their_lines() {
        let text = "metadata:\n  labels:\n    x: \"1\"\n    x: \"2\"\ndata:\n  1: a\n  1: b\n";
        let parsed = parse(text.as_bytes(), Limits::default()).unwrap();
        assert_eq!(parsed.value["metadata"]["labels"]["x"], "2");
        assert_eq!(
            parsed.yaml_duplicates,
            ["line 4: key \"x\" already set in map", "line 7: key 1 already set in map"]
        );
    }

    #[test]
    fn several_documents() {
        let documents = parse_all(b"---\na: 1\n---\n# nothing\n---\nb: 2\n...\n", Limits::default()).unwrap();
        let values: Vec<Value> = documents.into_iter().map(|parsed| parsed.value).collect();
        assert_eq!(values, [json!({"a": 1}), json!({"b": 2})]);
        assert_eq!(value("a: 1\n---\nb: [\n"), json!({"a": 1}));
    }

    #[test]
    fn errors_are_worded_as_upstream() {
        assert_eq!(error("a: ["), "yaml: line 1: did not find expected node content");
        assert_eq!(error("{"), "yaml: line 1: did not find expected node content");
        assert_eq!(error("a: 1\nb: [1\n"), "yaml: line 1: did not find expected ',' or ']'");
        assert_eq!(error("a: b: c\n"), "yaml: mapping values are not allowed in this context");
        assert_eq!(error("a: 1\nb: c: d\n"), "yaml: line 2: mapping values are not allowed in this context");
        assert_eq!(error("a: @b\n"), "yaml: found character that cannot start any token");
    }

    #[test]
    fn bombs_are_refused() {
        let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for level in 1..12 {
            let refs = vec![format!("*a{}", level - 1); 10].join(",");
            bomb.push_str(&format!("a{level}: &a{level} [{refs}]\n"));
        }
        assert_eq!(error(&bomb), "yaml: document contains excessive aliasing");
        let long = "x".repeat(1 << 20);
        let text = format!("a: &a {long}\nb: [{}]\n", vec!["*a"; 100].join(","));
        assert_eq!(error(&text), "yaml: document contains excessive aliasing");
        let limits = Limits { depth: 20, ..Limits::default() };
        for deep in ["[".repeat(10_000), "- ".repeat(10_000), "{a: ".repeat(10_000), "? ".repeat(10_000)] {
            assert!(parse(deep.as_bytes(), limits).unwrap_err().starts_with("yaml: "), "{}", &deep[..8]);
        }
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in "[\\[\\]{},:\"' \n\t&*!|>?#%@a<0-9.\\-~é]{0,40}") {
            let _ = parse_all(text.as_bytes(), Limits::default());
        }

        /// JSON is YAML.
        #[test]
        fn json_is_read_alike(text in r#"\{"a": ?(\[[1-9][0-9]{0,2}(, "x y")?\]|true|null|"[a-z ]{0,5}"), "b": \{\}\}"#) {
            prop_assert_eq!(value(&text), serde_json::from_str::<Value>(&text).unwrap());
        }
    }
}
