//! Evaluates what `plan` made, counting what each step costs.
//!
//! Errors are values until an operator that absorbs them or the end: `false && 1/0 > 0` is false, and so is
//! `1/0 > 0 && false`. Only running out of budget cannot be absorbed.

mod attributes;
mod fold;

use std::sync::Arc;

use indexmap::IndexMap;

use crate::activation::{Activation, Budget};
use crate::cost::runtime;
use crate::errors::EvalError;
use crate::library::{fits, no_overload};
use crate::plan::{Call, ListNode, MapNode, Node, ObjectNode};
use crate::stack;
use crate::value::{EvalResult, Key, Map, Object, Value, equal};

/// How deep nodes may be nested when they are evaluated, over all evaluations under way.
const DEPTH_MAX: u32 = 1_000;

/// Every so many levels it is made sure that there is room for as many more.
const LEVELS: u32 = 16;

/// The value of a slot: known, or to be computed on first use.
enum Slot<'r, 'a> {
    Known(EvalResult<'a>),
    Pending(&'r Node),
}

struct Machine<'r, 'a> {
    activation: &'r Activation<'a>,
    budget: &'r mut Budget,
    slots: Vec<Slot<'r, 'a>>,
    cost: u64,
    cost_max: u64,
}

/// Evaluates a plan.
pub(crate) fn run<'r, 'a>(
    root: &'r Node,
    slots: usize,
    activation: &'r Activation<'a>,
    budget: &'r mut Budget,
    cost_max: u64,
) -> EvalResult<'a> {
    let slots = (0..slots).map(|_| Slot::Known(Ok(Value::Null))).collect();
    let mut machine = Machine { activation, budget, slots, cost: 0, cost_max };
    let result = machine.eval(root);
    let cost = machine.cost;
    budget.spend(cost);
    result
}

/// Calls a function with values.
pub(crate) fn invoke<'a>(call: &Call, args: &[Value<'a>]) -> EvalResult<'a> {
    let is_operator = call.function.starts_with(['_', '!', '-', '@']);
    let overload = match call.overloads.as_slice() {
        [only] if is_operator || takes(only, args) => only,
        [first, ..] if is_operator => first,
        overloads => match overloads.iter().find(|overload| takes(overload, args)) {
            Some(overload) => overload,
            None => return Err(no_overload(&call.function, args)),
        },
    };
    (overload.run)(args)
}

fn takes(overload: &crate::library::Overload, args: &[Value<'_>]) -> bool {
    overload.args.len() == args.len() && overload.args.iter().zip(args).all(|(ty, arg)| fits(arg, ty))
}

impl<'r, 'a> Machine<'r, 'a> {
    fn charge(&mut self, cost: u64) -> Result<(), EvalError> {
        self.cost = self.cost.saturating_add(cost);
        if self.cost > self.cost_max { Err(EvalError::cost_exceeded()) } else { Ok(()) }
    }

    fn eval(&mut self, node: &'r Node) -> EvalResult<'a> {
        if self.budget.depth >= DEPTH_MAX {
            return Err(EvalError::too_deep());
        }
        self.budget.depth += 1;
        let result = match self.budget.depth % LEVELS {
            0 => stack::level(|| self.eval_node(node)),
            _ => self.eval_node(node),
        };
        self.budget.depth -= 1;
        result
    }

    fn eval_node(&mut self, node: &'r Node) -> EvalResult<'a> {
        match node {
            Node::Const(value) => Ok(value.clone()),
            Node::Attribute(attribute) => self.attribute(attribute),
            Node::And(sides) => self.logical(sides, false),
            Node::Or(sides) => self.logical(sides, true),
            Node::Equal { sides, negated } => self.equality(sides, *negated),
            Node::NotStrictlyFalse(arg) => self.not_strictly_false(arg),
            Node::OptionalOr { sides, unwraps } => self.optional_or(sides, *unwraps),
            Node::InConstants { value, set } => self.eval(value).map(|value| Value::Bool(set.contains(&value))),
            Node::Call(call) => self.call(call),
            Node::List(list) => self.list(list),
            Node::Map(map) => self.map(map),
            Node::Object(object) => self.object(object),
            Node::Fold(fold) => self.fold(fold),
            Node::Append { slot, item } => self.append(*slot, item),
            Node::Insert { slot, entry } => self.insert(*slot, entry),
        }
    }

    /// Both sides may decide alone, in either order; otherwise the first error counts.
    #[inline(never)]
    fn logical(&mut self, sides: &'r [Node; 2], decides: bool) -> EvalResult<'a> {
        let mut error = None;
        for side in sides {
            match self.eval(side) {
                Ok(Value::Bool(value)) if value == decides => return Ok(Value::Bool(decides)),
                Ok(Value::Bool(_)) => {}
                Ok(_) => drop(error.get_or_insert_with(EvalError::no_such_overload)),
                Err(failed) if failed.is_cancelled() => return Err(failed),
                Err(failed) => drop(error.get_or_insert(failed)),
            }
        }
        error.map_or(Ok(Value::Bool(!decides)), Err)
    }

    /// Both sides are evaluated, also if the first fails; then the call is paid for.
    fn both(&mut self, sides: &'r [Node; 2]) -> Result<[EvalResult<'a>; 2], EvalError> {
        let mut values = [const { Ok(Value::Null) }; 2];
        for (value, side) in values.iter_mut().zip(sides) {
            *value = self.eval(side);
            if let Err(error) = value
                && error.is_cancelled()
            {
                return Err(error.clone());
            }
        }
        Ok(values)
    }

    #[inline(never)]
    fn equality(&mut self, sides: &'r [Node; 2], negated: bool) -> EvalResult<'a> {
        let values = self.both(sides)?;
        self.charge(runtime::equality(&values, negated))?;
        let [left, right] = values;
        Ok(Value::Bool(equal(&left?, &right?)? != negated))
    }

    #[inline(never)]
    fn not_strictly_false(&mut self, arg: &'r Node) -> EvalResult<'a> {
        let value = self.eval(arg);
        self.charge(1)?;
        match value {
            Ok(Value::Bool(value)) => Ok(Value::Bool(value)),
            Err(error) if error.is_cancelled() => Err(error),
            _ => Ok(Value::Bool(true)),
        }
    }

    #[inline(never)]
    fn optional_or(&mut self, sides: &'r [Node; 2], unwraps: bool) -> EvalResult<'a> {
        match self.eval(&sides[0])? {
            Value::Optional(Some(value)) if unwraps => Ok(Value::clone(&value)),
            value @ Value::Optional(Some(_)) => Ok(value),
            Value::Optional(None) => self.eval(&sides[1]),
            _ => Err(EvalError::no_such_overload()),
        }
    }

    #[inline(never)]
    fn call(&mut self, call: &'r Call) -> EvalResult<'a> {
        let mut args: Vec<Value<'a>> = Vec::with_capacity(call.args.len());
        let mut failed: Option<EvalError> = None;
        for (index, arg) in call.args.iter().enumerate() {
            match self.eval(arg) {
                Ok(value) => args.push(value),
                Err(error) if error.is_cancelled() => return Err(error),
                Err(error) => {
                    // With up to two arguments all are evaluated and the call is paid for, with more it ends here.
                    if call.args.len() > 2 && index + 1 < call.args.len() {
                        return Err(error);
                    }
                    args.push(Value::Null);
                    failed.get_or_insert(error);
                }
            }
        }
        if let Some(error) = failed {
            self.charge(1)?;
            return Err(error);
        }
        // What costs by its arguments is paid for before it is done.
        let before = runtime::call(call, &args, None);
        if self.cost.saturating_add(before) > self.cost_max {
            self.charge(before)?;
        }
        let result = invoke(call, &args);
        if let Err(error) = &result
            && error.is_cancelled()
        {
            self.cost = self.cost.max(self.cost_max);
            return result;
        }
        self.charge(runtime::call(call, &args, Some(&result)))?;
        result
    }

    #[inline(never)]
    fn list(&mut self, list: &'r ListNode) -> EvalResult<'a> {
        let mut items = Vec::with_capacity(list.items.len());
        for (node, optional) in list.items.iter().zip(&list.optional) {
            match (self.eval(node)?, optional) {
                (value, false) => items.push(value),
                (Value::Optional(Some(value)), true) => items.push(Value::clone(&value)),
                (Value::Optional(None), true) => {}
                (other, true) => {
                    let message = format!("cannot initialize optional list element from non-optional value {other}");
                    return Err(EvalError::new(message));
                }
            }
        }
        self.charge(runtime::LIST)?;
        Ok(Value::list(items))
    }

    #[inline(never)]
    fn map(&mut self, map: &'r MapNode) -> EvalResult<'a> {
        let mut entries = IndexMap::with_capacity(map.entries.len());
        for (key, value, optional) in &map.entries {
            let key = self.eval(key)?;
            let value = self.eval(value)?;
            let Some(map_key) = Key::of(&key) else {
                return Err(EvalError::new(format!("unsupported key type: {}", key.type_of().runtime_name())));
            };
            match (value, optional) {
                (value, false) => drop(entries.insert(map_key, value)),
                (Value::Optional(Some(value)), true) => drop(entries.insert(map_key, Value::clone(&value))),
                (Value::Optional(None), true) => drop(entries.shift_remove(&map_key)),
                (other, true) => {
                    let message = format!("cannot initialize optional entry '{key}' from non-optional value {other}");
                    return Err(EvalError::new(message));
                }
            }
        }
        self.charge(runtime::MAP)?;
        Ok(Value::Map(Map::Entries(Arc::new(entries))))
    }

    #[inline(never)]
    fn object(&mut self, object: &'r ObjectNode) -> EvalResult<'a> {
        let mut fields = IndexMap::with_capacity(object.fields.len());
        for (name, node, optional) in &object.fields {
            match (self.eval(node)?, optional) {
                (value, false) => drop(fields.insert(name.clone(), value)),
                (Value::Optional(Some(value)), true) => drop(fields.insert(name.clone(), Value::clone(&value))),
                (Value::Optional(None), true) => drop(fields.shift_remove(name)),
                (other, true) => {
                    let message = format!("cannot initialize optional entry '{name}' from non-optional value {other}");
                    return Err(EvalError::new(message));
                }
            }
        }
        self.charge(runtime::OBJECT)?;
        Ok(Value::Object(Arc::new(Object { ty: object.ty.clone(), fields })))
    }
}
