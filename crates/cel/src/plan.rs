//! What the evaluator runs: the checked tree with names resolved, constants computed, and chains of fields and indexes flat.
//!
//! The shape follows from the costs that clients see. A chain such as `a.b[c].d` is one attribute: a base and qualifiers, each of
//! which costs one. A list of constants is a constant and costs nothing.

use std::collections::HashSet;
use std::sync::Arc;

use indexmap::IndexMap;

use crate::ast::{ACCUMULATOR, Comprehension, Entry, Expr, FieldInit, Kind, Literal};
use crate::checker::{Checked, Reference};
use crate::errors::EvalError;
use crate::library::{Overload, is_conversion};
use crate::stack;
use crate::types::{ObjectType, Type};
use crate::value::{Key, Map, Text, Value};

#[derive(Debug)]
pub(crate) enum Node {
    Const(Value<'static>),
    Attribute(Box<Attribute>),
    And(Box<[Node; 2]>),
    Or(Box<[Node; 2]>),
    Equal {
        sides: Box<[Node; 2]>,
        negated: bool,
    },
    NotStrictlyFalse(Box<Node>),
    /// `a.or(b)`, and with `unwraps` `a.orValue(b)`.
    OptionalOr {
        sides: Box<[Node; 2]>,
        unwraps: bool,
    },
    /// `x in [constants]`
    InConstants {
        value: Box<Node>,
        set: Box<ConstantSet>,
    },
    Call(Box<Call>),
    List(Box<ListNode>),
    Map(Box<MapNode>),
    Object(Box<ObjectNode>),
    Fold(Box<Fold>),
    /// The accumulator with an item more.
    Append {
        slot: usize,
        item: Box<Node>,
    },
    /// The accumulator with an entry more, or with those of a map.
    Insert {
        slot: usize,
        entry: Box<[Node]>,
    },
}

#[derive(Debug)]
pub(crate) struct Attribute {
    pub base: Base,
    pub qualifiers: Vec<Qualifier>,
    /// Only asks whether the last qualifier leads somewhere.
    pub test_only: bool,
}

#[derive(Debug)]
pub(crate) enum Base {
    Variable(Arc<str>),
    Slot(usize),
    Value(Node),
    Conditional(Box<(Node, Attribute, Attribute)>),
}

#[derive(Debug)]
pub(crate) struct Qualifier {
    pub key: QualifierKey,
    pub optional: bool,
}

#[derive(Debug)]
pub(crate) enum QualifierKey {
    Const(Value<'static>),
    Attribute(Attribute),
    Value(Node),
}

#[derive(Debug)]
pub(crate) struct Call {
    pub function: Arc<str>,
    pub overloads: Vec<&'static Overload>,
    pub args: Vec<Node>,
}

impl Call {
    /// The overload's name where there is no doubt which it is.
    pub fn overload_id(&self) -> Option<&'static str> {
        match self.overloads.as_slice() {
            [one] => Some(one.id),
            _ => None,
        }
    }
}

#[derive(Debug)]
pub(crate) struct ListNode {
    pub items: Vec<Node>,
    pub optional: Vec<bool>,
}

#[derive(Debug)]
pub(crate) struct MapNode {
    pub entries: Vec<(Node, Node, bool)>,
}

#[derive(Debug)]
pub(crate) struct ObjectNode {
    pub ty: Arc<ObjectType>,
    pub fields: Vec<(Arc<str>, Node, bool)>,
}

#[derive(Debug)]
pub(crate) struct Fold {
    pub range: Node,
    pub accumulator: usize,
    pub first: usize,
    pub second: Option<usize>,
    /// The initial value is computed when it is first needed, since this only names a value.
    pub is_bind: bool,
    pub init: Node,
    pub condition: Node,
    pub step: Node,
    pub result: Node,
}

/// Constants to look a value up in.
#[derive(Debug, Default)]
pub(crate) struct ConstantSet {
    keys: HashSet<Key<'static>>,
    floats: HashSet<u64>,
}

impl ConstantSet {
    /// None if one of the values cannot be looked up.
    fn of(list: &[Value<'static>]) -> Option<Self> {
        let mut set = ConstantSet::default();
        for value in list {
            match (Key::of(value), value) {
                (Some(key), _) => drop(set.keys.insert(key)),
                (None, Value::Double(float)) => drop(set.floats.insert(float.to_bits())),
                _ => return None,
            }
        }
        Some(set)
    }

    pub fn contains(&self, value: &Value<'_>) -> bool {
        match (Key::of(value), value) {
            (Some(key), _) => self.keys.contains(&key),
            (None, Value::Double(float)) => self.floats.contains(&float.to_bits()),
            _ => false,
        }
    }
}

/// Plans an expression; the number is how many slots its loops' variables take.
pub(crate) fn plan(checked: &Checked) -> Result<(Node, usize), EvalError> {
    let mut planner = Planner { checked, scopes: Vec::new(), slots: 0 };
    let root = planner.plan(&checked.root)?;
    Ok((root, planner.slots))
}

struct Planner<'c> {
    checked: &'c Checked,
    /// Variables of the loops around, innermost last.
    scopes: Vec<(Arc<str>, usize)>,
    slots: usize,
}

type Planned = Result<Node, EvalError>;

impl Planner<'_> {
    fn plan(&mut self, expr: &Expr) -> Planned {
        stack::level(|| self.plan_node(expr))
    }

    fn plan_node(&mut self, expr: &Expr) -> Planned {
        match &expr.kind {
            Kind::Error => Err(EvalError::new("unsupported expr")),
            Kind::Literal(literal) => Ok(Node::Const(constant(literal))),
            Kind::Ident(_) => Ok(self.name(expr)),
            Kind::Select { operand, field, test_only } => {
                let operand = self.plan(operand)?;
                let key = QualifierKey::Const(Value::string(field));
                let mut attribute = qualify(operand, Qualifier { key, optional: false });
                attribute.test_only = *test_only;
                Ok(Node::Attribute(Box::new(attribute)))
            }
            Kind::Call { function, target, args } => self.call(expr, function, target.as_deref(), args),
            Kind::List { elements, optional } => self.list(elements, optional),
            Kind::Map(entries) => self.map(entries),
            Kind::Struct { fields, .. } => self.object(expr, fields),
            Kind::Comprehension(fold) => self.fold(fold),
        }
    }

    fn name(&self, expr: &Expr) -> Node {
        let base = match &self.checked.references[expr.id as usize] {
            Some(Reference::Type(ty)) => return Node::Const(Value::Type(ty.clone())),
            Some(Reference::Variable(name)) => match self.scopes.iter().rev().find(|(local, _)| local == name) {
                Some((_, slot)) => Base::Slot(*slot),
                None => Base::Variable(name.clone()),
            },
            _ => return Node::Const(Value::Null),
        };
        Node::Attribute(Box::new(Attribute { base, qualifiers: Vec::new(), test_only: false }))
    }

    fn call(&mut self, expr: &Expr, function: &Arc<str>, target: Option<&Expr>, args: &[Expr]) -> Planned {
        let mut nodes = Vec::with_capacity(args.len() + 1);
        for arg in target.into_iter().chain(args) {
            nodes.push(self.plan(arg)?);
        }
        let nodes = match &**function {
            "cel.@mapInsert" => return Ok(self.insert(nodes)),
            "_+_" => match self.append(expr, nodes) {
                Ok(append) => return Ok(append),
                Err(nodes) => nodes,
            },
            _ => nodes,
        };
        let nodes = match <[Node; 2]>::try_from(nodes) {
            Ok([left, right]) => match self.binary(expr, function, left, right)? {
                Ok(node) => return Ok(node),
                Err(nodes) => nodes.into(),
            },
            Err(nodes) => nodes,
        };
        let nodes = match (&**function, <[Node; 3]>::try_from(nodes)) {
            ("_?_:_", Ok([condition, truthy, falsy])) => {
                let base = Base::Conditional(Box::new((condition, branch(truthy), branch(falsy))));
                let attribute = Attribute { base, qualifiers: Vec::new(), test_only: false };
                return Ok(Node::Attribute(Box::new(attribute)));
            }
            (_, Ok(nodes)) => nodes.into(),
            (_, Err(nodes)) => nodes,
        };
        if &**function == "@not_strictly_false" {
            if let Some(arg) = nodes.into_iter().next() {
                return Ok(Node::NotStrictlyFalse(Box::new(arg)));
            }
            return Err(EvalError::no_such_overload());
        }
        let call = Call { function: function.clone(), overloads: self.checked.overloads(expr).to_vec(), args: nodes };
        if let (true, [Node::Const(value)]) = (is_conversion(function), call.args.as_slice()) {
            return Ok(Node::Const(crate::interpreter::invoke(&call, std::slice::from_ref(value))?));
        }
        Ok(Node::Call(Box::new(call)))
    }

    /// Operators with rules of their own; the sides again if it is none.
    fn binary(
        &mut self,
        expr: &Expr,
        function: &str,
        left: Node,
        right: Node,
    ) -> Result<Result<Node, [Node; 2]>, EvalError> {
        let index = |left: Node, right: Node, optional: bool| {
            let key = match right {
                Node::Const(value) => QualifierKey::Const(value),
                Node::Attribute(attribute) => QualifierKey::Attribute(*attribute),
                other => QualifierKey::Value(other),
            };
            Node::Attribute(Box::new(qualify(left, Qualifier { key, optional })))
        };
        let overloads = self.checked.overloads(expr);
        let is_only = |id: &str| overloads.len() == 1 && overloads[0].id == id;
        Ok(Ok(match function {
            "_&&_" => Node::And(Box::new([left, right])),
            "_||_" => Node::Or(Box::new([left, right])),
            "_==_" | "_!=_" => Node::Equal { sides: Box::new([left, right]), negated: function == "_!=_" },
            "_[_]" => index(left, right, false),
            "_[?_]" | "_?._" => index(left, right, true),
            "or" if is_only("optional_or_optional") || overloads.len() > 1 => {
                Node::OptionalOr { sides: Box::new([left, right]), unwraps: false }
            }
            "orValue" => Node::OptionalOr { sides: Box::new([left, right]), unwraps: true },
            "@in" if is_only("in_list") => match &right {
                Node::Const(Value::List(list)) if list.is_empty() => Node::Const(Value::Bool(false)),
                Node::Const(Value::List(list)) => match ConstantSet::of(&list.items()?) {
                    Some(set) => Node::InConstants { value: Box::new(left), set: Box::new(set) },
                    None => return Ok(Err([left, right])),
                },
                _ => return Ok(Err([left, right])),
            },
            _ => return Ok(Err([left, right])),
        }))
    }

    /// `accumulator + [item]`, which grows the accumulator in place.
    fn append(&mut self, expr: &Expr, mut nodes: Vec<Node>) -> Result<Node, Vec<Node>> {
        let Kind::Call { args, .. } = &expr.kind else { return Err(nodes) };
        let is_accumulator = matches!(&args[0].kind, Kind::Ident(name) if &**name == ACCUMULATOR);
        let is_list = matches!(&args[1].kind, Kind::List { .. });
        let slot = match &nodes[0] {
            Node::Attribute(attribute) => match attribute.base {
                Base::Slot(slot) => slot,
                _ => return Err(nodes),
            },
            _ => return Err(nodes),
        };
        match nodes.pop() {
            Some(item) if is_accumulator && is_list => Ok(Node::Append { slot, item: Box::new(item) }),
            Some(item) => {
                nodes.push(item);
                Err(nodes)
            }
            None => Err(nodes),
        }
    }

    fn insert(&mut self, nodes: Vec<Node>) -> Node {
        let mut nodes = nodes.into_iter();
        let slot = match nodes.next() {
            Some(Node::Attribute(attribute)) => match attribute.base {
                Base::Slot(slot) => slot,
                _ => 0,
            },
            _ => 0,
        };
        Node::Insert { slot, entry: nodes.collect() }
    }

    fn list(&mut self, elements: &[Expr], optional: &[bool]) -> Planned {
        let items = elements.iter().map(|element| self.plan(element)).collect::<Result<Vec<_>, _>>()?;
        let constants: Option<Vec<Value<'static>>> = items.iter().map(as_constant).collect();
        match constants {
            Some(constants) if !optional.contains(&true) => Ok(Node::Const(Value::list(constants))),
            _ => Ok(Node::List(Box::new(ListNode { items, optional: optional.to_vec() }))),
        }
    }

    fn map(&mut self, entries: &[Entry]) -> Planned {
        let mut planned = Vec::with_capacity(entries.len());
        for entry in entries {
            planned.push((self.plan(&entry.key)?, self.plan(&entry.value)?, entry.optional));
        }
        let constants: Option<IndexMap<Key<'static>, Value<'static>>> = planned
            .iter()
            .map(|(key, value, optional)| {
                let key = as_constant(key).and_then(|key| Key::of(&key))?;
                as_constant(value).filter(|_| !optional).map(|value| (key, value))
            })
            .collect();
        match constants {
            Some(constants) => Ok(Node::Const(Value::Map(Map::Entries(Arc::new(constants))))),
            None => Ok(Node::Map(Box::new(MapNode { entries: planned }))),
        }
    }

    fn object(&mut self, expr: &Expr, fields: &[FieldInit]) -> Planned {
        let Some(Reference::Type(Type::Object(ty))) = &self.checked.references[expr.id as usize] else {
            return Err(EvalError::new("unknown type"));
        };
        let mut planned = Vec::with_capacity(fields.len());
        for field in fields {
            planned.push((field.name.clone(), self.plan(&field.value)?, field.optional));
        }
        Ok(Node::Object(Box::new(ObjectNode { ty: ty.clone(), fields: planned })))
    }

    fn fold(&mut self, fold: &Comprehension) -> Planned {
        let range = self.plan(&fold.range)?;
        let init = self.plan(&fold.init)?;
        let outer = self.scopes.len();
        let accumulator = self.push(&fold.accumulator);
        let first = self.push(&fold.variable);
        let second = fold.second.as_ref().map(|second| self.push(second));
        let condition = self.plan(&fold.condition)?;
        let step = self.plan(&fold.step)?;
        self.scopes.truncate(outer + 1);
        let result = self.plan(&fold.result)?;
        self.scopes.truncate(outer);
        let is_bind = fold.is_bind();
        Ok(Node::Fold(Box::new(Fold { range, accumulator, first, second, is_bind, init, condition, step, result })))
    }

    /// Each variable has a slot of its own: no two loops share one, whichever is inside of which.
    fn push(&mut self, name: &Arc<str>) -> usize {
        self.scopes.push((name.clone(), self.slots));
        self.slots += 1;
        self.slots - 1
    }
}

fn as_constant(node: &Node) -> Option<Value<'static>> {
    match node {
        Node::Const(value) => Some(value.clone()),
        _ => None,
    }
}

fn branch(node: Node) -> Attribute {
    match node {
        Node::Attribute(attribute) => *attribute,
        other => Attribute { base: Base::Value(other), qualifiers: Vec::new(), test_only: false },
    }
}

fn qualify(operand: Node, qualifier: Qualifier) -> Attribute {
    match operand {
        Node::Attribute(mut attribute) if !attribute.test_only => {
            attribute.qualifiers.push(qualifier);
            *attribute
        }
        other => Attribute { base: Base::Value(other), qualifiers: vec![qualifier], test_only: false },
    }
}

fn constant(literal: &Literal) -> Value<'static> {
    match literal {
        Literal::Null => Value::Null,
        Literal::Bool(value) => Value::Bool(*value),
        Literal::Int(value) => Value::Int(*value),
        Literal::Uint(value) => Value::Uint(*value),
        Literal::Double(value) => Value::Double(*value),
        Literal::String(text) => Value::String(Text::Shared(text.clone())),
        Literal::Bytes(bytes) => Value::Bytes(bytes.clone()),
    }
}
