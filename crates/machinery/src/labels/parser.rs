//! The text form of label selectors.
//!
//! ```text
//! selector    = [ requirement { "," requirement } ]
//! requirement = [ "!" ] key | key ( "in" | "notin" ) "(" values ")" | key ( "=" | "==" | "!=" | ">" | "<" ) [ value ]
//! ```
//!
//! `in` and `notin` are words only where an operator can stand; elsewhere they are names like any other.

use super::{Operator, Requirement, key_error};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    End,
    Word(&'a str),
    Symbol(&'a str),
}

impl<'a> Token<'a> {
    fn text(self) -> &'a str {
        match self {
            Token::End => "",
            Token::Word(text) | Token::Symbol(text) => text,
        }
    }

    fn starts_requirement(self) -> bool {
        matches!(self, Token::Word(_) | Token::Symbol("!"))
    }
}

pub(super) fn parse(text: &str) -> Result<Vec<Requirement>, String> {
    // A NUL ends the text, as it does upstream.
    let rest = text.split('\0').next().unwrap_or_default();
    let mut parser = Parser { rest };
    let mut requirements = Vec::new();
    loop {
        match parser.peek() {
            Token::End => return Ok(requirements),
            token if token.starts_requirement() => {}
            token => return Err(format!("found '{}', expected: !, identifier, or 'end of string'", token.text())),
        }
        requirements.push(parser.requirement().map_err(|e| format!("unable to parse requirement: {e}"))?);
        match parser.next() {
            Token::End => return Ok(requirements),
            Token::Symbol(",") if parser.peek().starts_requirement() => {}
            Token::Symbol(",") => {
                return Err(format!("found '{}', expected: identifier after ','", parser.peek().text()));
            }
            token => return Err(format!("found '{}', expected: ',' or 'end of string'", token.text())),
        }
    }
}

#[derive(Clone, Copy)]
struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn next(&mut self) -> Token<'a> {
        let rest = self.rest.trim_start_matches(is_space);
        let length = match rest.as_bytes() {
            [] => return Token::End,
            [b'=' | b'!', b'=', ..] => 2,
            [first, ..] if is_symbol(char::from(*first)) => 1,
            _ => {
                let length = rest.find(|c| is_symbol(c) || is_space(c)).unwrap_or(rest.len());
                self.rest = &rest[length..];
                return Token::Word(&rest[..length]);
            }
        };
        self.rest = &rest[length..];
        Token::Symbol(&rest[..length])
    }

    fn peek(&self) -> Token<'a> {
        let mut ahead = *self;
        ahead.next()
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let mut token = self.next();
        let negated = token == Token::Symbol("!");
        if negated {
            token = self.next();
        }
        let Token::Word(key) = token else {
            return Err(format!("found '{}', expected: identifier", token.text()));
        };
        if let Some(error) = key_error(key) {
            return Err(error.to_string());
        }
        if negated {
            return Requirement::new(key, Operator::DoesNotExist, Vec::new());
        }
        if matches!(self.peek(), Token::End | Token::Symbol(",")) {
            return Requirement::new(key, Operator::Exists, Vec::new());
        }
        let operator = self.operator()?;
        let values = match operator {
            Operator::In | Operator::NotIn => self.values()?,
            _ => vec![self.value()?],
        };
        Requirement::new(key, operator, values)
    }

    fn operator(&mut self) -> Result<Operator, String> {
        match self.next() {
            Token::Word("in") => Ok(Operator::In),
            Token::Word("notin") => Ok(Operator::NotIn),
            Token::Symbol("=") => Ok(Operator::Equals),
            Token::Symbol("==") => Ok(Operator::DoubleEquals),
            Token::Symbol("!=") => Ok(Operator::NotEquals),
            Token::Symbol(">") => Ok(Operator::GreaterThan),
            Token::Symbol("<") => Ok(Operator::LessThan),
            token => Err(format!("found '{}', expected: in, notin, =, ==, !=, gt, lt", token.text())),
        }
    }

    fn value(&mut self) -> Result<String, String> {
        if matches!(self.peek(), Token::End | Token::Symbol(",")) {
            return Ok(String::new());
        }
        match self.next() {
            Token::Word(value) => Ok(value.to_owned()),
            token => Err(format!("found '{}', expected: identifier", token.text())),
        }
    }

    /// A list in parentheses, in which nothing at all stands for the empty value: `()`, `(,a)`, `(a,)`.
    fn values(&mut self) -> Result<Vec<String>, String> {
        let open = self.next();
        if open != Token::Symbol("(") {
            return Err(format!("found '{}' expected: '('", open.text()));
        }
        match self.peek() {
            Token::Symbol(")") => {
                self.next();
                return Ok(vec![String::new()]);
            }
            Token::Word(_) | Token::Symbol(",") => {}
            token => return Err(format!("found '{}', expected: ',', ')' or identifier", token.text())),
        }
        let mut values = Vec::new();
        let mut after_comma = true;
        loop {
            match self.next() {
                Token::Word(value) => {
                    values.push(value.to_owned());
                    after_comma = false;
                    if !matches!(self.peek(), Token::Symbol("," | ")")) {
                        return Err(format!("found '{}', expected: ',' or ')'", self.peek().text()));
                    }
                }
                Token::Symbol(",") => {
                    if after_comma {
                        values.push(String::new());
                    }
                    after_comma = true;
                }
                Token::Symbol(")") => {
                    if after_comma {
                        values.push(String::new());
                    }
                    return Ok(values);
                }
                token => return Err(format!("found '{}', expected: ',', or identifier", token.text())),
            }
        }
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_symbol(c: char) -> bool {
    matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<')
}
