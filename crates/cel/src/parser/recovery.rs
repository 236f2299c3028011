//! What the parser does about a token that does not fit, and how it words that.
//!
//! Worked example: in `1 + +` the second `+` cannot begin an operand, nor does dropping it help, so it is reported; it may
//! follow an operand, so nothing is skipped, and the parser takes it as an operator, whose operand is missing: a second error.

use super::{EXPRESSION_START, Parsed, Parser};
use crate::errors::Issue;
use crate::lexer::{Token, TokenKind};

/// What may follow any operand.
const OPERATORS: &[TokenKind] = {
    use TokenKind::*;
    &[
        Equals,
        NotEquals,
        In,
        Less,
        LessEquals,
        GreaterEquals,
        Greater,
        And,
        Or,
        Minus,
        Question,
        Plus,
        Star,
        Slash,
        Percent,
    ]
};

impl<'s> Parser<'s> {
    pub(super) fn peek(&self) -> TokenKind {
        self.peek_at(0)
    }

    pub(super) fn peek_at(&self, ahead: usize) -> TokenKind {
        self.tokens.get(self.at + ahead).map_or(TokenKind::Eof, |token| token.kind)
    }

    /// Takes a token that fits.
    pub(super) fn consume(&mut self) -> Token<'s> {
        self.recovering = false;
        let token = self.tokens[self.at].clone();
        self.skip();
        token
    }

    pub(super) fn consume_if(&mut self, kind: TokenKind) -> bool {
        let fits = self.peek() == kind;
        if fits {
            self.consume();
        }
        fits
    }

    fn skip(&mut self) {
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
    }

    /// Whether one of `expected` comes next, if need be after dropping one token.
    pub(super) fn sync(&mut self, expected: &[TokenKind]) -> bool {
        if expected.contains(&self.peek()) {
            return true;
        }
        if !self.recovering && expected.contains(&self.peek_at(1)) && self.peek() != TokenKind::Eof {
            self.report(format!("extraneous input {} expecting {}", self.found(), set(expected)));
            self.skip();
            return true;
        }
        self.mismatch(expected);
        self.recover();
        false
    }

    /// Between the signs of a chain: what is neither another sign nor an operand is skipped.
    pub(super) fn sync_loop(&mut self, sign: TokenKind) {
        let mut expected: Vec<TokenKind> =
            EXPRESSION_START.iter().copied().filter(|kind| *kind != TokenKind::Exclam).collect();
        expected.push(sign);
        if self.recovering || expected.contains(&self.peek()) {
            return;
        }
        self.report(format!("extraneous input {} expecting {}", self.found(), set(&expected)));
        while !expected.contains(&self.peek()) && !self.may_follow(self.peek()) {
            self.skip();
        }
    }

    /// Takes a token of this kind. It may be conjured up where one of `after` follows; false if that did not help.
    pub(super) fn expect(&mut self, kind: TokenKind, after: &[TokenKind]) -> bool {
        if self.consume_if(kind) {
            return true;
        }
        if self.peek_at(1) == kind && self.peek() != TokenKind::Eof {
            self.report(format!("extraneous input {} expecting {}", self.found(), kind.name()));
            self.skip();
            return self.consume_if(kind);
        }
        if after.contains(&self.peek()) {
            self.report(format!("missing {} at {}", kind.name(), self.found()));
            return true;
        }
        self.mismatch(&[kind]);
        self.recover();
        false
    }

    /// The end of something in brackets.
    pub(super) fn close(&mut self, kind: TokenKind) -> bool {
        let mut after = OPERATORS.to_vec();
        after.extend([TokenKind::Dot, TokenKind::LeftBracket]);
        after.extend_from_slice(self.follow.last().copied().unwrap_or_default());
        self.expect(kind, &after)
    }

    /// A dot that nothing fits behind.
    pub(super) fn no_alternative(&mut self) -> Parsed {
        let bad = &self.tokens[(self.at + 1).min(self.tokens.len() - 1)];
        let text = &self.source[self.tokens[self.at].offset..bad.offset + bad.text.len()];
        let place = Some((bad.line, bad.column));
        let message = match text {
            ".true" | ".false" | ".null" => format!("mismatched input '{}' expecting IDENTIFIER", bad.text),
            text => format!("no viable alternative at input '{}'", escape_blanks(text.trim_end())),
        };
        if !self.recovering {
            self.issues.push(Issue::new(place, format!("Syntax error: {message}")));
            self.recovering = true;
        }
        self.recover();
        self.error_node()
    }

    fn mismatch(&mut self, expected: &[TokenKind]) {
        self.report(format!("mismatched input {} expecting {}", self.found(), set(expected)));
    }

    fn report(&mut self, message: String) {
        if self.recovering {
            return;
        }
        self.recovering = true;
        let token = &self.tokens[self.at];
        self.issues.push(Issue::new(Some((token.line, token.column)), format!("Syntax error: {message}")));
    }

    /// Skips to what may follow in any construct that is open.
    pub(super) fn recover(&mut self) {
        self.recovering = true;
        if self.recovered_at == Some(self.at) {
            // The last recovery ended here too: without a step this would go on forever.
            self.skip();
        }
        self.recovered_at = Some(self.at);
        while !self.may_follow(self.peek()) {
            self.skip();
        }
    }

    fn may_follow(&self, kind: TokenKind) -> bool {
        kind == TokenKind::Eof || OPERATORS.contains(&kind) || self.follow.iter().any(|set| set.contains(&kind))
    }

    fn found(&self) -> String {
        match &self.tokens[self.at] {
            Token { kind: TokenKind::Eof, .. } => "'<EOF>'".to_owned(),
            token => format!("'{}'", escape_blanks(token.text)),
        }
    }
}

fn escape_blanks(text: &str) -> String {
    text.replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t")
}

fn set(kinds: &[TokenKind]) -> String {
    let mut kinds = kinds.to_vec();
    kinds.sort_unstable();
    kinds.dedup();
    let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
    match names.as_slice() {
        [one] => (*one).to_owned(),
        names => format!("{{{}}}", names.join(", ")),
    }
}
