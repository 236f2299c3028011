//! Kubernetes' JSONPath: templates such as `{range .items[*]}{.metadata.name}{"\n"}{end}`, of clients' output and of the
//! columns and selectable fields of custom kinds.
//!
//! A template is text with expressions in braces. An expression gives a list of values; they are printed with spaces
//! between. A missing field is an empty list, because objects differ in what they have.

mod eval;
mod parse;

pub use parse::relaxed;

use serde_json::Value;

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Text(String),
    Path(Vec<Step>),
    Range(Vec<Step>, Vec<Node>),
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    /// `$`
    Root,
    /// `@`
    Current,
    Field(String),
    Wildcard,
    /// `..`
    Recursive,
    /// `[start:end:step]`
    Slice(Option<i64>, Option<i64>, i64),
    Index(i64),
    /// `[0,2]`, `['a','b']`
    Union(Vec<Step>),
    /// `['a.b']`: several steps as one.
    Path(Vec<Step>),
    /// `[?(@.a=="b")]`
    Filter(Vec<Step>, Option<(Comparison, Vec<Step>)>),
    /// A number, string or boolean.
    Literal(Value),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// More brackets within each other mean nothing that anybody could want, and cost stack.
const NESTING_MAX: usize = 64;

/// How many brackets are open at most, whatever they are.
fn nesting(text: &str) -> usize {
    let (mut open, mut most) = (0_usize, 0);
    for c in text.chars() {
        match c {
            '[' | '(' | '{' => open += 1,
            ']' | ')' | '}' => open = open.saturating_sub(1),
            _ => {}
        }
        most = most.max(open);
    }
    most
}

/// A parsed template.
#[derive(Debug, Clone, PartialEq)]
pub struct Template(Vec<Node>);

impl Template {
    pub fn parse(text: &str) -> Result<Self, String> {
        if nesting(text) > NESTING_MAX {
            return Err(format!("more than {NESTING_MAX} brackets are open at once"));
        }
        parse::template(text).map(Template)
    }

    /// The printed template.
    pub fn print(&self, root: &Value) -> Result<String, String> {
        let mut out = String::new();
        eval::print(&self.0, root, root, &mut out)?;
        Ok(out)
    }

    /// The values of the first expression: what sorting, waiting and columns look at.
    pub fn find<'v>(&'v self, root: &'v Value) -> Result<Vec<&'v Value>, String> {
        let path = self.0.iter().find_map(|node| match node {
            Node::Path(path) => Some(path),
            _ => None,
        });
        path.map_or_else(|| Ok(Vec::new()), |path| eval::path(path, root, root))
    }

    /// The same as values of their own.
    pub fn values(&self, root: &Value) -> Result<Vec<Value>, String> {
        Ok(self.find(root)?.into_iter().cloned().collect())
    }
}

/// A value as a template prints it.
pub fn show(value: &Value) -> String {
    eval::show(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn print(template: &str) -> String {
        let root = json!({"kind": "List", "n": 3, "items": [
            {"metadata": {"name": "a", "labels": {"app.kubernetes.io/name": "x"}}, "status": {"phase": "Running", "ports": [1, 2, 3]}},
            {"metadata": {"name": "b"}, "status": {"phase": "Pending"}}]});
        Template::parse(template)
            .and_then(|parsed| parsed.print(&root))
            .unwrap_or_else(|error| format!("ERROR {error}"))
    }

    #[test]
    fn templates_print_as_kubectls() {
        for (template, want) in [
            ("{.items[*].metadata.name}", "a b"),
            ("{range .items[*]}{.metadata.name}{\"\\t\"}{.status.phase}{\"\\n\"}{end}", "a\tRunning\nb\tPending\n"),
            ("{.items[?(@.status.phase==\"Running\")].metadata.name}", "a"),
            ("{.items[?(@.status.phase!='Running')].metadata.name}", "b"),
            ("{.items[?(@.metadata.labels)].metadata.name}", "a"),
            ("{.items[0].metadata.labels.app\\.kubernetes\\.io/name}", "x"),
            ("{.items[0].metadata.labels['app\\.kubernetes\\.io/name']}", "x"),
            ("{.items[-1].metadata.name}", "b"),
            ("{.items[0].status.ports[0:2]}", "1 2"),
            ("{.items[0].status.ports[::2]}", "1 3"),
            ("{.items[0].status.ports[0,2]}", "1 3"),
            ("{..name}", "a b"),
            ("{.items[0]['metadata.name', 'status.phase']}", "a Running"),
            ("n={.n}; {.missing.too}", "n=3; "),
            ("{.items[0].metadata}", r#"{"labels":{"app.kubernetes.io/name":"x"},"name":"a"}"#),
            ("{$.kind}", "List"),
            ("{.items[?(@.status.ports[0]>=1)].metadata.name}", "a"),
            ("{.items[7].metadata.name}", "ERROR array index out of bounds: index 7, length 2"),
            ("{.a", "ERROR unclosed action"),
        ] {
            assert_eq!(print(template), want, "{template}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let text = format!("{{.a{}{}}}", "[?(@".repeat(100_000), "==1)]".repeat(100_000));
        assert!(Template::parse(&text).unwrap_err().contains("brackets"));
    }

    #[test]
    fn relaxed_expressions_need_no_braces() {
        for text in ["metadata.name", ".metadata.name", "{.metadata.name}", "{metadata.name}"] {
            let template = Template::parse(&relaxed(text).expect(text)).expect(text);
            assert_eq!(template.values(&json!({"metadata": {"name": "a"}})), Ok(vec![json!("a")]), "{text}");
        }
    }
}
