//! What can go wrong with an expression: texts with places in the source when it is compiled, one text when it is evaluated.
//!
//! Both print as upstream prints them, since they end up in messages that clients see.

use std::fmt;

/// More errors than this are counted, not listed.
const ERRORS_MAX: usize = 100;
/// Longer lines are not shown below an error.
const SNIPPET_BYTES_MAX: usize = 16_384;

/// A place in the source: line from 1, column from 0 in characters. `None` is an error about the whole.
pub(crate) type Place = Option<(u32, u32)>;

/// One thing that is wrong with an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    place: Place,
    message: String,
}

impl Issue {
    pub(crate) fn new(place: Place, message: impl Into<String>) -> Self {
        Issue { place, message: message.into() }
    }

    /// The text without its place.
    pub fn message(&self) -> &str {
        &self.message
    }
}

/// All that is wrong with an expression, ordered by place. Displays with the lines of the source and a caret below each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileError {
    source: String,
    issues: Vec<Issue>,
    total: usize,
    instantiation: bool,
}

impl CompileError {
    pub(crate) fn new(source: &str, mut issues: Vec<Issue>) -> Self {
        let total = issues.len();
        issues.truncate(ERRORS_MAX);
        issues.sort_by_key(|issue| issue.place.map_or((-1, -1), |(line, column)| (i64::from(line), i64::from(column))));
        CompileError { source: source.to_owned(), issues, total, instantiation: false }
    }

    /// The expression is well formed, but a constant in it has no value: `int('x')`.
    pub(crate) fn instantiation(source: &str, issue: Issue) -> Self {
        CompileError { instantiation: true, ..CompileError::new(source, vec![issue]) }
    }

    /// Whether only the value of a constant is at fault; upstream words that as `program instantiation failed`.
    pub fn is_instantiation(&self) -> bool {
        self.instantiation
    }

    /// What is wrong, ordered by place.
    pub fn issues(&self) -> &[Issue] {
        &self.issues
    }
}

impl std::error::Error for CompileError {}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (true, [issue]) = (self.instantiation, self.issues.as_slice()) {
            return f.write_str(&issue.message);
        }
        for (index, issue) in self.issues.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write_issue(f, &self.source, issue)?;
        }
        if self.total > self.issues.len() {
            write!(f, "\n{} more errors were truncated", self.total - self.issues.len())?;
        }
        Ok(())
    }
}

fn write_issue(f: &mut fmt::Formatter<'_>, source: &str, issue: &Issue) -> fmt::Result {
    let Some((line, column)) = issue.place else {
        return write!(f, "ERROR: <input>:-1:0: {}", issue.message);
    };
    write!(f, "ERROR: <input>:{line}:{}: {}", column + 1, issue.message)?;
    let Some(text) = source.split('\n').nth(line as usize - 1).filter(|text| text.len() <= SNIPPET_BYTES_MAX) else {
        return Ok(());
    };
    let text = text.replace('\t', " ");
    write!(f, "\n | {text}\n | ")?;
    // Characters of more than one byte are taken to be wide, so their dots are too.
    let mut characters = text.chars();
    for c in characters.by_ref().take(column as usize) {
        f.write_str(if c.len_utf8() > 1 { "\u{ff0e}" } else { "." })?;
    }
    f.write_str(if characters.next().is_some_and(|c| c.len_utf8() > 1) { "\u{ff3e}" } else { "^" })
}

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct EvalError {
    message: String,
    cancelled: bool,
}

impl EvalError {
    /// An error with this text; operators such as `||` may absorb it.
    pub fn new(message: impl Into<String>) -> Self {
        EvalError { message: message.into(), cancelled: false }
    }

    pub(crate) fn no_such_overload() -> Self {
        EvalError::new("no such overload")
    }

    pub(crate) fn cost_exceeded() -> Self {
        EvalError { message: "operation cancelled: actual cost limit exceeded".to_owned(), cancelled: true }
    }

    pub(crate) fn too_deep() -> Self {
        EvalError { message: "operation cancelled: evaluation is nested too deeply".to_owned(), cancelled: true }
    }

    /// Whether evaluation was cut off by its budget. No operator absorbs that.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled
    }

    /// The text.
    pub fn message(&self) -> &str {
        &self.message
    }
}
