//! Splits an expression into tokens: the longest one that fits wins. What fits nothing is reported and skipped.

use crate::errors::Issue;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum TokenKind {
    Eof,
    Equals,
    NotEquals,
    In,
    Less,
    LessEquals,
    GreaterEquals,
    Greater,
    And,
    Or,
    LeftBracket,
    RightBracket,
    LeftBrace,
    RightBrace,
    LeftParen,
    RightParen,
    Dot,
    Comma,
    Minus,
    Exclam,
    Question,
    Colon,
    Plus,
    Star,
    Slash,
    Percent,
    True,
    False,
    Null,
    Float,
    Int,
    Uint,
    String,
    Bytes,
    Identifier,
    EscapedIdentifier,
}

impl TokenKind {
    /// The name in lists of what was expected.
    pub fn name(self) -> &'static str {
        use TokenKind::*;
        match self {
            Eof => "<EOF>",
            Equals => "'=='",
            NotEquals => "'!='",
            In => "'in'",
            Less => "'<'",
            LessEquals => "'<='",
            GreaterEquals => "'>='",
            Greater => "'>'",
            And => "'&&'",
            Or => "'||'",
            LeftBracket => "'['",
            RightBracket => "']'",
            LeftBrace => "'{'",
            RightBrace => "'}'",
            LeftParen => "'('",
            RightParen => "')'",
            Dot => "'.'",
            Comma => "','",
            Minus => "'-'",
            Exclam => "'!'",
            Question => "'?'",
            Colon => "':'",
            Plus => "'+'",
            Star => "'*'",
            Slash => "'/'",
            Percent => "'%'",
            True => "'true'",
            False => "'false'",
            Null => "'null'",
            Float => "NUM_FLOAT",
            Int => "NUM_INT",
            Uint => "NUM_UINT",
            String => "STRING",
            Bytes => "BYTES",
            Identifier => "IDENTIFIER",
            EscapedIdentifier => "ESC_IDENTIFIER",
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Token<'s> {
    pub kind: TokenKind,
    pub text: &'s str,
    /// Where it begins in the source, in bytes.
    pub offset: usize,
    pub line: u32,
    pub column: u32,
}

/// All tokens, ended by one of kind `Eof`, and what could not be read.
pub(crate) fn tokens(source: &str) -> (Vec<Token<'_>>, Vec<Issue>) {
    let mut lexer = Lexer { source, offset: 0, line: 1, column: 0, tokens: Vec::new(), issues: Vec::new() };
    while lexer.offset < source.len() {
        lexer.step();
    }
    lexer.push(TokenKind::Eof, 0);
    (lexer.tokens, lexer.issues)
}

struct Lexer<'s> {
    source: &'s str,
    offset: usize,
    line: u32,
    column: u32,
    tokens: Vec<Token<'s>>,
    issues: Vec<Issue>,
}

impl<'s> Lexer<'s> {
    fn step(&mut self) {
        let rest = &self.source[self.offset..];
        let blank = rest.len() - rest.trim_start_matches(['\t', ' ', '\r', '\n', '\u{c}']).len();
        if blank > 0 {
            return self.advance(blank);
        }
        if rest.starts_with("//") {
            return self.advance(rest.find('\n').unwrap_or(rest.len()));
        }
        match scan(rest) {
            Ok((kind, length)) => self.push(kind, length),
            Err(length) => {
                let text = rest[..length].replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t");
                let message = format!("Syntax error: token recognition error at: '{text}'");
                self.issues.push(Issue::new(Some((self.line, self.column)), message));
                self.advance(length);
            }
        }
    }

    fn push(&mut self, kind: TokenKind, length: usize) {
        let text = &self.source[self.offset..self.offset + length];
        self.tokens.push(Token { kind, text, offset: self.offset, line: self.line, column: self.column });
        self.advance(length);
    }

    fn advance(&mut self, length: usize) {
        for c in self.source[self.offset..self.offset + length].chars() {
            if c == '\n' {
                self.line += 1;
                self.column = 0;
            } else {
                self.column += 1;
            }
        }
        self.offset += length;
    }
}

/// The kind and length of the first token, or how much of the text had to be read to see that there is none.
fn scan(rest: &str) -> Result<(TokenKind, usize), usize> {
    use TokenKind::*;
    let bytes = rest.as_bytes();
    let second = bytes.get(1).copied();
    let failed_after_first = || Err(1 + rest[1..].chars().next().map_or(0, char::len_utf8));
    let one = |kind| Ok((kind, 1));
    match bytes[0] {
        b'=' if second == Some(b'=') => Ok((Equals, 2)),
        b'=' => failed_after_first(),
        b'!' if second == Some(b'=') => Ok((NotEquals, 2)),
        b'!' => one(Exclam),
        b'<' if second == Some(b'=') => Ok((LessEquals, 2)),
        b'<' => one(Less),
        b'>' if second == Some(b'=') => Ok((GreaterEquals, 2)),
        b'>' => one(Greater),
        b'&' if second == Some(b'&') => Ok((And, 2)),
        b'&' => failed_after_first(),
        b'|' if second == Some(b'|') => Ok((Or, 2)),
        b'|' => failed_after_first(),
        b'[' => one(LeftBracket),
        b']' => one(RightBracket),
        b'{' => one(LeftBrace),
        b'}' => one(RightBrace),
        b'(' => one(LeftParen),
        b')' => one(RightParen),
        b',' => one(Comma),
        b'-' => one(Minus),
        b'?' => one(Question),
        b':' => one(Colon),
        b'+' => one(Plus),
        b'*' => one(Star),
        b'/' => one(Slash),
        b'%' => one(Percent),
        b'.' if second.is_some_and(|b| b.is_ascii_digit()) => Ok(number(rest)),
        b'.' => one(Dot),
        b'0'..=b'9' => Ok(number(rest)),
        b'"' | b'\'' => quoted(rest, false).map(|length| (String, length)),
        b'`' => escaped_identifier(rest),
        b'a'..=b'z' | b'A'..=b'Z' | b'_' => Ok(word(rest)),
        _ => Err(rest.chars().next().map_or(1, char::len_utf8)),
    }
}

fn word(rest: &str) -> (TokenKind, usize) {
    // Prefixes of quoted texts: r, b, br.
    let bytes = rest.as_bytes();
    let is = |at: usize, lower: u8| bytes.get(at).is_some_and(|b| b.to_ascii_lowercase() == lower);
    let quote = |at: usize| bytes.get(at).is_some_and(|b| matches!(b, b'"' | b'\''));
    let prefixes =
        [(is(0, b'b') && is(1, b'r'), 2, true, true), (is(0, b'b'), 1, false, true), (is(0, b'r'), 1, true, false)];
    for (fits, length, raw, is_bytes) in prefixes {
        if fits
            && quote(length)
            && let Ok(quoted) = quoted(&rest[length..], raw)
        {
            return (if is_bytes { TokenKind::Bytes } else { TokenKind::String }, length + quoted);
        }
    }
    let length = bytes.iter().position(|b| !b.is_ascii_alphanumeric() && *b != b'_').unwrap_or(bytes.len());
    let kind = match &rest[..length] {
        "in" => TokenKind::In,
        "true" => TokenKind::True,
        "false" => TokenKind::False,
        "null" => TokenKind::Null,
        _ => TokenKind::Identifier,
    };
    (kind, length)
}

fn number(rest: &str) -> (TokenKind, usize) {
    let bytes = rest.as_bytes();
    let digits = |from: usize| bytes[from.min(bytes.len())..].iter().take_while(|b| b.is_ascii_digit()).count();
    let is_u = |at: usize| matches!(bytes.get(at), Some(b'u' | b'U'));
    let hex = bytes.get(2..).unwrap_or_default().iter().take_while(|b| b.is_ascii_hexdigit()).count();
    if rest.starts_with("0x") && hex > 0 {
        return if is_u(2 + hex) { (TokenKind::Uint, 3 + hex) } else { (TokenKind::Int, 2 + hex) };
    }
    let whole = digits(0);
    let mut length = whole;
    let mut float = false;
    if bytes.get(length) == Some(&b'.') && digits(length + 1) > 0 {
        length += 1 + digits(length + 1);
        float = true;
    }
    if matches!(bytes.get(length), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(length + 1), Some(b'+' | b'-')));
        let exponent = digits(length + 1 + sign);
        if exponent > 0 {
            length += 1 + sign + exponent;
            float = true;
        }
    }
    match float {
        true => (TokenKind::Float, length),
        false if is_u(length) => (TokenKind::Uint, length + 1),
        false => (TokenKind::Int, length),
    }
}

/// The length of a quoted text, or where it stops being one.
fn quoted(rest: &str, raw: bool) -> Result<usize, usize> {
    let quote = &rest[..1];
    let triple = quote.repeat(3);
    if rest.starts_with(&triple) {
        match quoted_until(rest, 3, &triple, raw, true) {
            Ok(length) => return Ok(length),
            // The first two quotes are an empty text.
            Err(_) => return Ok(2),
        }
    }
    quoted_until(rest, 1, quote, raw, false)
}

fn quoted_until(rest: &str, start: usize, end: &str, raw: bool, lines: bool) -> Result<usize, usize> {
    let mut at = start;
    while at < rest.len() {
        if rest[at..].starts_with(end) {
            return Ok(at + end.len());
        }
        let c = rest[at..].chars().next().unwrap_or_default();
        if !lines && matches!(c, '\n' | '\r') {
            return Err(at + 1);
        }
        if c == '\\' && !raw {
            at += escape_length(&rest[at..]).map_err(|bad| at + bad)?;
        } else {
            at += c.len_utf8();
        }
    }
    Err(rest.len())
}

/// The length of an escape sequence, or how far it was one (with the character that breaks it).
fn escape_length(rest: &str) -> Result<usize, usize> {
    let mut characters = rest.chars().skip(1);
    let Some(c) = characters.next() else { return Err(rest.len()) };
    let (digits, valid): (usize, fn(char) -> bool) = match c {
        'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '"' | '\'' | '\\' | '?' | '`' => return Ok(2),
        'x' | 'X' => (2, |c| c.is_ascii_hexdigit()),
        'u' => (4, |c| c.is_ascii_hexdigit()),
        'U' => (8, |c| c.is_ascii_hexdigit()),
        '0'..='3' => (2, |c| ('0'..='7').contains(&c)),
        c => return Err(1 + c.len_utf8()),
    };
    let mut length = 2;
    for _ in 0..digits {
        match characters.next() {
            Some(c) if valid(c) => length += 1,
            Some(c) => return Err(length + c.len_utf8()),
            None => return Err(length),
        }
    }
    Ok(length)
}

fn escaped_identifier(rest: &str) -> Result<(TokenKind, usize), usize> {
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '.' | '-' | '/' | ' ' => {}
            '`' if at > 1 => return Ok((TokenKind::EscapedIdentifier, at + 1)),
            _ => return Err(at + c.len_utf8()),
        }
    }
    Err(rest.len())
}
