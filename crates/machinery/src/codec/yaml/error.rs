//! Words the parser's errors as upstream's parser does, as far as both know the same problems.

use granit_parser::{ErrorKind, ScanError};

/// `yaml: line 3: did not find expected key`. Upstream counts the lines of its grammar's errors from zero, those of its
/// scanner's from one, and leaves out a line of zero.
pub fn message(text: &str, error: &ScanError) -> String {
    use ErrorKind as K;
    let line = error.marker().line();
    let grammar = |problem: &str| with_line(line.saturating_sub(1), problem);
    let scanner = |problem: &str| with_line(if line == 1 { 0 } else { line }, problem);
    match error.kind() {
        K::UnknownAnchor => {
            let rest: String = text.chars().skip(error.marker().index()).collect();
            let end = |c: char| c.is_whitespace() || ",[]{}".contains(c);
            let name = rest.trim_start_matches('*').split(end).next().unwrap_or_default();
            format!("yaml: unknown anchor '{name}' referenced")
        }
        K::RecursionLimitExceeded => "yaml: exceeded max depth".to_owned(),
        K::UnclosedFlowCollection { open } => unclosed(text, *open, line.saturating_sub(1)),
        K::UnexpectedEofFlowSequence
        | K::UnexpectedEofFlowMapping
        | K::UnexpectedEofImplicitFlowMapping
        | K::UnexpectedEof
        | K::ExpectedNodeContent => grammar("did not find expected node content"),
        K::ExpectedFlowMappingSeparator => grammar("did not find expected ',' or '}'"),
        K::ExpectedFlowSequenceSeparator => grammar("did not find expected ',' or ']'"),
        K::ExpectedBlockMappingKey | K::UnexpectedEofBlockMapping | K::InvalidIndentation => {
            grammar("did not find expected key")
        }
        K::ExpectedBlockSequenceEntry | K::UnexpectedEofBlockSequence => grammar("did not find expected '-' indicator"),
        K::ExpectedDocumentStart | K::MissingDocumentEndBeforeDirective => {
            grammar("did not find expected <document start>")
        }
        K::UndeclaredTagHandle => grammar("found undefined tag handle"),
        K::MappingValueNotAllowed | K::InvalidColonPlacement => {
            scanner("mapping values are not allowed in this context")
        }
        K::MappingKeyNotAllowed => scanner("mapping keys are not allowed in this context"),
        K::BlockSequenceEntryNotAllowed => scanner("block sequence entries are not allowed in this context"),
        K::SimpleKeyExpected | K::InvalidSimpleKey => scanner("could not find expected ':'"),
        K::UnexpectedCharacter { .. } | K::TabNotAllowed | K::TabInBlockIndentation => {
            scanner("found character that cannot start any token")
        }
        K::TabInIndentation => scanner("found a tab character that violates indentation"),
        K::UnclosedQuotedScalar => scanner("found unexpected end of stream"),
        K::DocumentIndicatorInQuotedScalar => scanner("found unexpected document indicator"),
        K::UnknownQuotedScalarEscape => scanner("found unknown escape character"),
        K::InvalidQuotedScalarHexEscape => scanner("did not find expected hexdecimal number"),
        K::MissingAnchorOrAliasName => scanner("did not find expected alphabetic or numeric character"),
        kind => scanner(&kind.to_string()),
    }
}

/// A list or object that the text ends in. Upstream names the line where it began, except for the first, or where a
/// value was still expected: then it is the one on which the text ends.
fn unclosed(text: &str, open: char, began: usize) -> String {
    let end = text.lines().count();
    if text.trim_end().ends_with(['[', '{', ',', ':']) {
        return with_line(end, "did not find expected node content");
    }
    let close = if open == '[' { ']' } else { '}' };
    with_line(if began == 0 { end } else { began }, &format!("did not find expected ',' or '{close}'"))
}

fn with_line(line: usize, problem: &str) -> String {
    if line == 0 { format!("yaml: {problem}") } else { format!("yaml: line {line}: {problem}") }
}
