//! How a string is written: plain, quoted once, quoted twice, or as a block.

use std::sync::LazyLock;

use regex::Regex;

const WIDTH: usize = 80;

pub struct Scalar;

#[derive(PartialEq)]
enum Style {
    Plain,
    Single,
    Double,
    Literal,
}

impl Scalar {
    /// A key: one line, never folded.
    pub fn key(text: &str) -> String {
        match style(text, true) {
            Style::Plain => text.to_owned(),
            Style::Single => format!("'{}'", text.replace('\'', "''")),
            Style::Double | Style::Literal => double(text, 0, 0, false),
        }
    }

    /// A value at a column; continuation lines are indented.
    pub fn value(text: &str, indent: usize, column: usize) -> String {
        match style(text, false) {
            Style::Plain => folded(text, indent, column),
            Style::Single => format!("'{}'", folded_inside(&text.replace('\'', "''"), indent, column + 1)),
            Style::Double => double(text, indent, column, true),
            Style::Literal => literal(text, indent),
        }
    }
}

/// What the characters of a string allow.
struct Analysis {
    plain: bool,
    single: bool,
    block: bool,
}

fn style(text: &str, key: bool) -> Style {
    let analysis = analyze(text);
    let wanted = if text.contains('\n') {
        Style::Literal
    } else if is_text(text) {
        Style::Plain
    } else {
        Style::Double
    };
    match wanted {
        Style::Literal if analysis.block && !key => Style::Literal,
        Style::Literal | Style::Double => Style::Double,
        _ if analysis.plain => Style::Plain,
        _ if analysis.single => Style::Single,
        _ => Style::Double,
    }
}

/// Unquoted, the string would be read as a string.
fn is_text(text: &str) -> bool {
    static NUMBER: LazyLock<Regex> = LazyLock::new(|| {
        // Integers of every base with underscores, floats, and base 60.
        Regex::new(concat!(
            r"^(?:[-+]?(?:0[xX]_?[0-9a-fA-F_]+|0[bB]_?[01_]+|0[oO]?_?[0-7_]+|[0-9][0-9_]*)",
            r"|[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?",
            r"|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?)$"
        ))
        .expect("the pattern is a constant and its test uses it")
    });
    static TIME: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"^[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:(?:[Tt]|\s+)[0-9]{1,2}:[0-9]{1,2}:[0-9]{1,2}(?:\.[0-9]+)?(?:Z|[-+][0-9]{2}:[0-9]{2})?)?$")
            .expect("the pattern is a constant and its test uses it")
    });
    let words = [
        "", "~", "null", "Null", "NULL", "true", "True", "TRUE", "false", "False", "FALSE", "yes", "Yes", "YES", "no",
        "No", "NO", "on", "On", "ON", "off", "Off", "OFF", "y", "Y", "n", "N", ".nan", ".NaN", ".NAN", ".inf", ".Inf",
        ".INF", "+.inf", "+.Inf", "+.INF", "-.inf", "-.Inf", "-.INF",
    ];
    !words.contains(&text) && !NUMBER.is_match(text) && !TIME.is_match(text)
}

fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}' | '\u{10000}'..)
}

fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn is_blank(c: Option<char>) -> bool {
    c.is_none_or(|c| c == ' ' || c == '\t' || is_break(c))
}

fn analyze(text: &str) -> Analysis {
    let characters: Vec<char> = text.chars().collect();
    let mut indicators = text.starts_with("---") || text.starts_with("...");
    let (mut special, mut breaks, mut break_space, mut space_break) = (false, false, false, false);
    for (index, &c) in characters.iter().enumerate() {
        let previous = index.checked_sub(1).map(|index| characters[index]);
        let next = characters.get(index + 1).copied();
        indicators |= match (index, c) {
            (0, '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`') => true,
            (0, '?' | ':' | '-') | (_, ':') => is_blank(next),
            (_, '#') => is_blank(previous),
            _ => false,
        };
        special |= !is_printable(c);
        if c == ' ' {
            break_space |= previous.is_some_and(is_break);
        } else if is_break(c) {
            breaks = true;
            space_break |= previous == Some(' ');
        }
    }
    let edge = |c: Option<&char>| c.is_some_and(|c| *c == ' ' || is_break(*c));
    let at_edges = edge(characters.first()) || edge(characters.last());
    Analysis {
        plain: !(indicators || at_edges || breaks || break_space || space_break || special),
        single: !(break_space || space_break || special),
        block: characters.last() != Some(&' ') && !space_break && !special && !text.is_empty(),
    }
}

/// Breaks at single spaces behind the width.
fn folded(text: &str, indent: usize, column: usize) -> String {
    fold(text, indent, column, false)
}

fn folded_inside(text: &str, indent: usize, column: usize) -> String {
    fold(text, indent, column, true)
}

fn fold(text: &str, indent: usize, mut column: usize, keep_edges: bool) -> String {
    let characters: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    for (index, &c) in characters.iter().enumerate() {
        let inside = !keep_edges || (index > 0 && index + 1 < characters.len());
        let single =
            c == ' ' && characters.get(index + 1) != Some(&' ') && (index == 0 || characters[index - 1] != ' ');
        if single && inside && column > WIDTH {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent));
            column = indent;
            continue;
        }
        out.push(c);
        column += 1;
    }
    out
}

fn double(text: &str, indent: usize, mut column: usize, breaks: bool) -> String {
    let characters: Vec<char> = text.chars().collect();
    let mut out = String::from("\"");
    column += 1;
    for (index, &c) in characters.iter().enumerate() {
        let escape = match c {
            '"' => "\\\"".to_owned(),
            '\\' => "\\\\".to_owned(),
            '\0' => "\\0".to_owned(),
            '\u{7}' => "\\a".to_owned(),
            '\u{8}' => "\\b".to_owned(),
            '\t' => "\\t".to_owned(),
            '\n' => "\\n".to_owned(),
            '\u{b}' => "\\v".to_owned(),
            '\u{c}' => "\\f".to_owned(),
            '\r' => "\\r".to_owned(),
            '\u{1b}' => "\\e".to_owned(),
            '\u{85}' => "\\N".to_owned(),
            '\u{2028}' => "\\L".to_owned(),
            '\u{2029}' => "\\P".to_owned(),
            c if !is_printable(c) && (c as u32) < 0x100 => format!("\\x{:02X}", c as u32),
            c if !is_printable(c) => format!("\\u{:04X}", c as u32),
            ' ' => {
                let first_of_run = index == 0 || characters[index - 1] != ' ';
                if breaks && first_of_run && column > WIDTH && index > 0 && index + 1 < characters.len() {
                    out.push('\n');
                    out.extend(std::iter::repeat_n(' ', indent));
                    column = indent;
                    if characters[index + 1] == ' ' {
                        out.push('\\');
                        column += 1;
                    }
                    continue;
                }
                " ".to_owned()
            }
            c => c.to_string(),
        };
        column += escape.chars().count();
        out.push_str(&escape);
    }
    out.push('"');
    out
}

fn literal(text: &str, indent: usize) -> String {
    let mut out = String::from("|");
    if text.starts_with([' ', '\n']) {
        out.push('2');
    }
    match text.strip_suffix('\n') {
        None => out.push('-'),
        Some(body) if body.is_empty() || body.ends_with('\n') => out.push('+'),
        Some(_) => {}
    }
    let body = text.strip_suffix('\n').unwrap_or(text);
    for line in body.split('\n') {
        out.push('\n');
        if !line.is_empty() {
            out.extend(std::iter::repeat_n(' ', indent));
            out.push_str(line);
        }
    }
    if text.ends_with('\n') {
        out.push('\n');
    }
    out
}
