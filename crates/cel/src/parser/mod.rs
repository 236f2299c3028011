//! Reads an expression into its tree, by recursive descent with one token of lookahead (two after a dot).
//!
//! Clients see syntax errors, so those must read as upstream's, whose parser is generated: it drops a token that is too
//! many, goes on without one that is missing, and otherwise skips to a token that may follow. `recovery` does the same.

mod macros;
mod recovery;

use std::sync::Arc;

use crate::ast::{Entry, Expr, FieldInit, Kind, Literal, NodeId, Tree};
use crate::errors::{CompileError, Issue};
use crate::lexer::{Token, TokenKind, tokens};
use crate::stack;
use crate::unquote::unquote;

/// Longer expressions, in characters, are refused.
pub const EXPRESSION_CHARACTERS_MAX: usize = 100_000;
/// How deep one kind of syntax may be nested.
pub const NESTING_MAX: usize = 250;
/// How many nodes a tree may have after its macros are expanded.
pub const NODES_MAX: usize = 200_000;

/// What an operand may begin with.
const EXPRESSION_START: &[TokenKind] = {
    use TokenKind::*;
    &[
        LeftBracket,
        LeftBrace,
        LeftParen,
        Dot,
        Minus,
        Exclam,
        True,
        False,
        Null,
        Float,
        Int,
        Uint,
        String,
        Bytes,
        Identifier,
    ]
};

const RESERVED: &[&str] = &[
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "package",
    "namespace",
    "null",
    "return",
    "true",
    "var",
    "void",
    "while",
];

/// Parsing cannot go on.
pub(crate) struct Abort(String);

type Parsed = Result<Expr, Abort>;

/// The tree of an expression, macros expanded; with `binds` also `cel.bind`.
pub(crate) fn parse(source: &str, binds: bool) -> Result<Tree, CompileError> {
    let size = source.chars().count();
    if size > EXPRESSION_CHARACTERS_MAX {
        let message =
            format!("expression code point size exceeds limit: size: {size}, limit {EXPRESSION_CHARACTERS_MAX}");
        return Err(CompileError::new(source, vec![Issue::new(None, message)]));
    }
    let (tokens, issues) = tokens(source);
    let mut parser = Parser {
        source,
        tokens,
        at: 0,
        issues,
        recovering: false,
        recovered_at: None,
        follow: vec![&[TokenKind::Eof]],
        depth: Depth::default(),
        places: Vec::new(),
        binds,
    };
    match parser.start() {
        Ok(root) if parser.issues.is_empty() => Ok(Tree { root, places: parser.places }),
        Ok(_) => Err(CompileError::new(source, parser.issues)),
        Err(Abort(message)) => {
            parser.issues.push(Issue::new(None, message));
            Err(CompileError::new(source, parser.issues))
        }
    }
}

/// How deep each kind of syntax is nested; operators and members of one chain count as nested.
#[derive(Default)]
struct Depth {
    expression: usize,
    operator: usize,
    member: usize,
}

struct Parser<'s> {
    source: &'s str,
    tokens: Vec<Token<'s>>,
    at: usize,
    issues: Vec<Issue>,
    /// After an error nothing more is reported until a token fits again.
    recovering: bool,
    recovered_at: Option<usize>,
    /// What may follow the expression in each construct that is open, outermost first.
    follow: Vec<&'static [TokenKind]>,
    depth: Depth,
    places: Vec<(u32, u32)>,
    /// Whether `cel.bind` is a macro.
    binds: bool,
}

impl<'s> Parser<'s> {
    fn start(&mut self) -> Parsed {
        let root = self.expression()?;
        // Nothing is done after an error here.
        let _ = self.expect(TokenKind::Eof, &[]);
        Ok(root)
    }

    fn deeper(depth: &mut usize) -> Result<(), Abort> {
        *depth += 1;
        match *depth > NESTING_MAX {
            true => Err(Abort(format!("expression recursion limit exceeded: {NESTING_MAX}"))),
            false => Ok(()),
        }
    }

    fn expression(&mut self) -> Parsed {
        Self::deeper(&mut self.depth.expression)?;
        stack::level(|| self.choice())
    }

    /// An expression, which may be a choice between two.
    fn choice(&mut self) -> Parsed {
        let mut expression = self.binary(1)?;
        if self.peek() == TokenKind::Question {
            let id = self.consume_id()?;
            self.follow.push(&[TokenKind::Colon]);
            let if_true = self.binary(1)?;
            self.follow.pop();
            let if_false = match self.expect(TokenKind::Colon, EXPRESSION_START) {
                true => self.expression()?,
                false => self.error_node()?,
            };
            expression = call(id, "_?_:_", vec![expression, if_true, if_false]);
        }
        self.depth.expression -= 1;
        Ok(expression)
    }

    /// Operators that bind at least as tightly as `level`.
    fn binary(&mut self, level: u8) -> Parsed {
        let mut left = self.unary()?;
        let depth = self.depth.operator;
        while let Some((operator_level, function)) = operator(self.peek()).filter(|(found, _)| *found >= level) {
            left = if operator_level <= 2 {
                self.logical(left, operator_level, function)?
            } else {
                Self::deeper(&mut self.depth.operator)?;
                let id = self.consume_id()?;
                let right = self.binary(operator_level + 1)?;
                call(id, function, vec![left, right])
            };
        }
        self.depth.operator = depth;
        Ok(left)
    }

    /// A chain of one of `||` and `&&`, as a balanced tree.
    fn logical(&mut self, first: Expr, level: u8, function: &'static str) -> Parsed {
        let mut terms = vec![first];
        let mut ids = Vec::new();
        let kind = self.peek();
        while self.peek() == kind {
            ids.push(self.consume_id()?);
            terms.push(self.binary(level + 1)?);
        }
        let mut terms = terms.into_iter();
        Ok(balanced(function, &ids, &mut terms).unwrap_or(Expr::new(0, Kind::Error)))
    }

    fn unary(&mut self) -> Parsed {
        if !self.sync(EXPRESSION_START) {
            return self.error_node();
        }
        let kind = self.peek();
        let literal_sign = kind == TokenKind::Minus && matches!(self.peek_at(1), TokenKind::Int | TokenKind::Float);
        if literal_sign || !matches!(kind, TokenKind::Minus | TokenKind::Exclam) {
            return self.member();
        }
        let id = self.consume_id()?;
        let mut count = 1;
        loop {
            self.sync_loop(kind);
            if self.peek() != kind {
                break;
            }
            self.consume();
            count += 1;
        }
        let operand = self.member()?;
        if count % 2 == 0 {
            return Ok(operand);
        }
        Ok(call(id, if kind == TokenKind::Minus { "-_" } else { "!_" }, vec![operand]))
    }

    fn member(&mut self) -> Parsed {
        let mut expression = self.primary()?;
        let depth = self.depth.member;
        while matches!(self.peek(), TokenKind::Dot | TokenKind::LeftBracket) {
            Self::deeper(&mut self.depth.member)?;
            expression = match self.peek() {
                TokenKind::Dot => self.select(expression)?,
                _ => self.index(expression)?,
            };
        }
        self.depth.member = depth;
        Ok(expression)
    }

    fn select(&mut self, operand: Expr) -> Parsed {
        match self.peek_at(1) {
            TokenKind::Identifier if self.peek_at(2) == TokenKind::LeftParen => {
                self.consume();
                let name = self.consume();
                let id = self.consume_id()?;
                let args = self.arguments()?;
                self.call_or_macro(id, &name.text.into(), Some(operand), args)
            }
            TokenKind::Identifier | TokenKind::EscapedIdentifier => {
                let id = self.consume_id()?;
                let field = identifier(&self.consume());
                Ok(Expr::new(id, Kind::Select { operand: Box::new(operand), field, test_only: false }))
            }
            TokenKind::Question => {
                let id = self.consume_id()?;
                self.consume();
                if !self.sync(&[TokenKind::Identifier, TokenKind::EscapedIdentifier]) {
                    return self.error_node();
                }
                let place = self.id()?;
                let field = Expr::new(place, Kind::Literal(Literal::String(identifier(&self.consume()))));
                Ok(call(id, "_?._", vec![operand, field]))
            }
            _ => self.no_alternative(),
        }
    }

    fn index(&mut self, operand: Expr) -> Parsed {
        let id = self.consume_id()?;
        if !self.sync(&with(&[TokenKind::Question])) {
            return self.error_node();
        }
        let optional = self.consume_if(TokenKind::Question);
        self.follow.push(&[TokenKind::RightBracket]);
        let index = self.expression()?;
        self.follow.pop();
        self.close(TokenKind::RightBracket);
        Ok(call(id, if optional { "_[?_]" } else { "_[_]" }, vec![operand, index]))
    }

    fn primary(&mut self) -> Parsed {
        match self.peek() {
            TokenKind::Dot | TokenKind::Identifier => self.name(),
            TokenKind::LeftParen => {
                self.consume();
                self.follow.push(&[TokenKind::RightParen]);
                let inner = self.expression()?;
                self.follow.pop();
                self.close(TokenKind::RightParen);
                Ok(inner)
            }
            TokenKind::LeftBracket => self.list(),
            TokenKind::LeftBrace => self.map(),
            _ => self.literal(),
        }
    }

    /// A name, a call, or an object.
    fn name(&mut self) -> Parsed {
        let start = self.id()?;
        let dot = self.peek() == TokenKind::Dot;
        if dot && self.peek_at(1) != TokenKind::Identifier {
            return self.no_alternative();
        }
        if self.is_object() {
            return self.object();
        }
        if dot {
            self.consume();
        }
        let id = self.id()?;
        let token = self.consume();
        let name: Arc<str> = if dot { format!(".{}", token.text).into() } else { token.text.into() };
        let reserved = RESERVED.contains(&token.text);
        if reserved {
            self.report_at(start, format!("reserved identifier: {}", token.text));
        }
        if self.peek() != TokenKind::LeftParen {
            return Ok(Expr::new(id, if reserved { Kind::Error } else { Kind::Ident(name) }));
        }
        let id = self.consume_id()?;
        let args = self.arguments()?;
        if reserved {
            return Ok(Expr::new(id, Kind::Error));
        }
        self.call_or_macro(id, &name, None, args)
    }

    /// Whether a dotted name with a brace behind it begins here.
    fn is_object(&self) -> bool {
        let mut at = usize::from(self.peek() == TokenKind::Dot);
        loop {
            match (self.peek_at(at), self.peek_at(at + 1)) {
                (TokenKind::Identifier, TokenKind::LeftBrace) => return true,
                (TokenKind::Identifier, TokenKind::Dot) => at += 2,
                _ => return false,
            }
        }
    }

    fn object(&mut self) -> Parsed {
        let mut name = String::new();
        while self.peek() != TokenKind::LeftBrace {
            name.push_str(self.consume().text);
        }
        let id = self.consume_id()?;
        let mut fields = Vec::new();
        const FIELD: &[TokenKind] = &[TokenKind::Question, TokenKind::Identifier, TokenKind::EscapedIdentifier];
        let mut first = FIELD.to_vec();
        first.extend([TokenKind::RightBrace, TokenKind::Comma]);
        if !self.sync(&first) {
            return self.error_node();
        }
        self.follow.push(&[TokenKind::RightBrace, TokenKind::Comma]);
        while FIELD.contains(&self.peek()) || self.continues(TokenKind::RightBrace, &fields) {
            if !self.sync(FIELD) {
                break;
            }
            let optional = self.consume_if(TokenKind::Question);
            if !self.sync(&FIELD[1..]) {
                break;
            }
            let name = identifier(&self.consume());
            let field = self.id()?;
            if !self.expect(TokenKind::Colon, EXPRESSION_START) {
                break;
            }
            let value = self.expression()?;
            fields.push(FieldInit { id: field, name, value, optional });
            if self.peek() != TokenKind::Comma {
                break;
            }
        }
        self.follow.pop();
        self.end_of_items(TokenKind::RightBrace);
        Ok(Expr::new(id, Kind::Struct { name: name.into(), fields }))
    }

    fn list(&mut self) -> Parsed {
        let id = self.consume_id()?;
        let (mut elements, mut optional) = (Vec::new(), Vec::new());
        if !self.sync(&with(&[TokenKind::RightBracket, TokenKind::Comma, TokenKind::Question])) {
            return self.error_node();
        }
        self.follow.push(&[TokenKind::RightBracket, TokenKind::Comma]);
        while starts_item(self.peek()) || self.continues(TokenKind::RightBracket, &elements) {
            let (element, is_optional) = self.optional_expression()?;
            elements.push(element);
            optional.push(is_optional);
            if self.peek() != TokenKind::Comma {
                break;
            }
        }
        self.follow.pop();
        self.end_of_items(TokenKind::RightBracket);
        Ok(Expr::new(id, Kind::List { elements, optional }))
    }

    fn map(&mut self) -> Parsed {
        let id = self.consume_id()?;
        let mut entries = Vec::new();
        if !self.sync(&with(&[TokenKind::RightBrace, TokenKind::Comma, TokenKind::Question])) {
            return self.error_node();
        }
        self.follow.push(&[TokenKind::RightBrace, TokenKind::Comma]);
        while starts_item(self.peek()) || self.continues(TokenKind::RightBrace, &entries) {
            self.follow.push(&[TokenKind::Colon]);
            let (key, optional) = self.optional_expression()?;
            self.follow.pop();
            if !self.expect(TokenKind::Colon, EXPRESSION_START) {
                break;
            }
            let value = self.expression()?;
            entries.push(Entry { key, value, optional });
            if self.peek() != TokenKind::Comma {
                break;
            }
        }
        self.follow.pop();
        self.end_of_items(TokenKind::RightBrace);
        Ok(Expr::new(id, Kind::Map(entries)))
    }

    /// Whether another item follows: there was one, and behind a comma there is not yet the end.
    fn continues<T>(&mut self, end: TokenKind, items: &[T]) -> bool {
        let more = !items.is_empty() && self.peek() == TokenKind::Comma && self.peek_at(1) != end;
        if more {
            self.consume();
        }
        more
    }

    fn end_of_items(&mut self, end: TokenKind) {
        if self.sync(&[end, TokenKind::Comma]) {
            self.consume_if(TokenKind::Comma);
            self.close(end);
        }
    }

    fn optional_expression(&mut self) -> Result<(Expr, bool), Abort> {
        if !self.sync(&with(&[TokenKind::Question])) {
            return Ok((self.error_node()?, false));
        }
        let optional = self.consume_if(TokenKind::Question);
        Ok((self.expression()?, optional))
    }

    /// The arguments of a call, behind its opening parenthesis.
    fn arguments(&mut self) -> Result<Vec<Expr>, Abort> {
        let mut args = Vec::new();
        if !self.sync(&with(&[TokenKind::RightParen])) {
            return Ok(args);
        }
        if self.peek() != TokenKind::RightParen {
            self.follow.push(&[TokenKind::RightParen, TokenKind::Comma]);
            args.push(self.expression()?);
            while self.consume_if(TokenKind::Comma) {
                args.push(self.expression()?);
            }
            self.follow.pop();
        }
        self.close(TokenKind::RightParen);
        Ok(args)
    }

    fn literal(&mut self) -> Parsed {
        let id = self.id()?;
        let sign = if self.consume_if(TokenKind::Minus) { "-" } else { "" };
        if !matches!(self.peek(), TokenKind::True | TokenKind::False | TokenKind::Null)
            && !(TokenKind::Float..=TokenKind::Bytes).contains(&self.peek())
        {
            self.recover();
            return self.error_node();
        }
        let token = self.consume();
        match literal(&token, sign) {
            Ok(literal) => Ok(Expr::new(id, Kind::Literal(literal))),
            Err(message) => {
                self.report_at(id, message);
                Ok(Expr::new(id, Kind::Error))
            }
        }
    }

    fn error_node(&mut self) -> Parsed {
        Ok(Expr::new(self.id()?, Kind::Error))
    }

    /// A new node at the next token.
    fn id(&mut self) -> Result<NodeId, Abort> {
        let token = &self.tokens[self.at];
        let place = (token.line, token.column);
        self.id_at(place)
    }

    fn id_at(&mut self, place: (u32, u32)) -> Result<NodeId, Abort> {
        if self.places.len() >= NODES_MAX {
            return Err(Abort(format!("expression node count exceeds limit: {NODES_MAX}")));
        }
        self.places.push(place);
        Ok(self.places.len() as NodeId - 1)
    }

    fn consume_id(&mut self) -> Result<NodeId, Abort> {
        let id = self.id()?;
        self.consume();
        Ok(id)
    }

    fn report_at(&mut self, id: NodeId, message: impl Into<String>) {
        self.issues.push(Issue::new(Some(self.places[id as usize]), message));
    }
}

fn starts_item(kind: TokenKind) -> bool {
    kind == TokenKind::Question || EXPRESSION_START.contains(&kind)
}

/// What an operand may begin with, and these.
fn with(more: &[TokenKind]) -> Vec<TokenKind> {
    [EXPRESSION_START, more].concat()
}

pub(crate) fn call(id: NodeId, function: &str, args: Vec<Expr>) -> Expr {
    Expr::new(id, Kind::Call { function: function.into(), target: None, args })
}

fn operator(kind: TokenKind) -> Option<(u8, &'static str)> {
    Some(match kind {
        TokenKind::Or => (1, "_||_"),
        TokenKind::And => (2, "_&&_"),
        TokenKind::Less => (3, "_<_"),
        TokenKind::LessEquals => (3, "_<=_"),
        TokenKind::Greater => (3, "_>_"),
        TokenKind::GreaterEquals => (3, "_>=_"),
        TokenKind::Equals => (3, "_==_"),
        TokenKind::NotEquals => (3, "_!=_"),
        TokenKind::In => (3, "@in"),
        TokenKind::Plus => (4, "_+_"),
        TokenKind::Minus => (4, "_-_"),
        TokenKind::Star => (5, "_*_"),
        TokenKind::Slash => (5, "_/_"),
        TokenKind::Percent => (5, "_%_"),
        _ => return None,
    })
}

/// Splits the chain at its middle operator, so that its depth is the logarithm of its length.
fn balanced(function: &str, ids: &[NodeId], terms: &mut impl Iterator<Item = Expr>) -> Option<Expr> {
    if ids.is_empty() {
        return terms.next();
    }
    let middle = ids.len() / 2;
    let left = balanced(function, &ids[..middle], terms)?;
    let right = balanced(function, &ids[middle + 1..], terms)?;
    Some(call(ids[middle], function, vec![left, right]))
}

fn identifier(token: &Token<'_>) -> Arc<str> {
    match token.kind {
        TokenKind::EscapedIdentifier => token.text[1..token.text.len() - 1].into(),
        _ => token.text.into(),
    }
}

fn literal(token: &Token<'_>, sign: &str) -> Result<Literal, &'static str> {
    let text = token.text;
    let (digits, radix) = match text.strip_prefix("0x") {
        Some(digits) => (digits, 16),
        None => (text, 10),
    };
    Ok(match token.kind {
        TokenKind::True => Literal::Bool(true),
        TokenKind::False => Literal::Bool(false),
        TokenKind::Int => i64::from_str_radix(&format!("{sign}{digits}"), radix)
            .map(Literal::Int)
            .map_err(|_| "invalid int literal")?,
        TokenKind::Uint => u64::from_str_radix(&digits[..digits.len() - 1], radix)
            .map(Literal::Uint)
            .map_err(|_| "invalid uint literal")?,
        TokenKind::Float => match format!("{sign}{text}").parse::<f64>() {
            Ok(number) if number.is_finite() => Literal::Double(number),
            _ => return Err("invalid double literal"),
        },
        TokenKind::String => {
            let bytes = unquote(text, false)?;
            Literal::String(String::from_utf8(bytes).map_err(|_| "unable to unescape string")?.into())
        }
        TokenKind::Bytes => Literal::Bytes(unquote(&text[1..], true)?.into()),
        _ => Literal::Null,
    })
}
