//! The syntax tree. Each node has a number, by which its place, and later its type and what it refers to, are found.

use std::sync::Arc;

/// Number of a node in its tree.
pub(crate) type NodeId = u32;

/// The name that macros give to the value they build up; no source can spell it.
pub(crate) const ACCUMULATOR: &str = "@result";
/// The variable of loops that only bind a name.
pub(crate) const UNUSED: &str = "#unused";

#[derive(Clone, Debug)]
pub(crate) struct Expr {
    pub id: NodeId,
    pub kind: Kind,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// What stands for something that could not be parsed.
    Error,
    Literal(Literal),
    Ident(Arc<str>),
    Select {
        operand: Box<Expr>,
        field: Arc<str>,
        test_only: bool,
    },
    Call {
        function: Arc<str>,
        target: Option<Box<Expr>>,
        args: Vec<Expr>,
    },
    List {
        elements: Vec<Expr>,
        optional: Vec<bool>,
    },
    Map(Vec<Entry>),
    Struct {
        name: Arc<str>,
        fields: Vec<FieldInit>,
    },
    Comprehension(Box<Comprehension>),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Arc<str>),
    Bytes(Arc<[u8]>),
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub key: Expr,
    pub value: Expr,
    pub optional: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct FieldInit {
    pub id: NodeId,
    pub name: Arc<str>,
    pub value: Expr,
    pub optional: bool,
}

/// A loop: for each item of the range, while the condition holds, the accumulator becomes the step's value.
#[derive(Clone, Debug)]
pub(crate) struct Comprehension {
    pub range: Expr,
    pub variable: Arc<str>,
    /// Of loops over keys (or indexes) and values.
    pub second: Option<Arc<str>>,
    pub accumulator: Arc<str>,
    pub init: Expr,
    pub condition: Expr,
    pub step: Expr,
    pub result: Expr,
}

impl Comprehension {
    /// A loop over nothing, made only to give a value a name.
    pub fn is_bind(&self) -> bool {
        matches!(&self.range.kind, Kind::List { elements, .. } if elements.is_empty())
            && matches!(self.condition.kind, Kind::Literal(Literal::Bool(false)))
            && &*self.accumulator != ACCUMULATOR
    }
}

/// A parsed expression and where its nodes stand.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    pub root: Expr,
    /// By number: line and column.
    pub places: Vec<(u32, u32)>,
}

impl Expr {
    pub fn new(id: NodeId, kind: Kind) -> Self {
        Expr { id, kind }
    }

    /// `a.b.c` if the expression is nothing but names and dots.
    pub fn qualified_name(&self) -> Option<String> {
        match &self.kind {
            Kind::Ident(name) => Some(name.to_string()),
            Kind::Select { operand, field, test_only: false } => {
                let mut name = operand.qualified_name()?;
                name.push('.');
                name.push_str(field);
                Some(name)
            }
            _ => None,
        }
    }
}
