//! Optional values. `or` and `orValue` are the evaluator's, since they evaluate their second part only if need be.

use super::Set;
use crate::errors::EvalError;
use crate::types::Type;
use crate::value::{EvalResult, Value};
use Type::{Bool, Int};

const K: Type = Type::Param("K");
const V: Type = Type::Param("V");

fn special<'a>(_: &[Value<'a>]) -> EvalResult<'a> {
    Err(EvalError::no_such_overload())
}

pub(super) fn declare(set: &mut Set) {
    let optional = || Type::optional(V);
    let (list, map) = (|| Type::list(V), || Type::map(K, V));
    set.global("optional.of", "optional_of", [V], optional(), |args| Ok(Value::some(args[0].clone())));
    set.global("optional.ofNonZeroValue", "optional_ofNonZeroValue", [V], optional(), |args| {
        Ok(if args[0].is_zero() { Value::none() } else { Value::some(args[0].clone()) })
    });
    set.global("optional.none", "optional_none", [], optional(), |_| Ok(Value::none()));
    set.global("optional.unwrap", "optional_unwrap", [Type::list(optional())], list(), unwrap);
    set.member("unwrapOpt", "optional_unwrapOpt", [Type::list(optional())], list(), unwrap);
    set.member("value", "optional_value", [optional()], V, |args| match &args[0] {
        Value::Optional(Some(value)) => Ok(Value::clone(value)),
        Value::Optional(None) => Err(EvalError::new("optional.none() dereference")),
        _ => Err(EvalError::no_such_overload()),
    });
    set.member("hasValue", "optional_hasValue", [optional()], Bool, |args| match &args[0] {
        Value::Optional(value) => Ok(Value::Bool(value.is_some())),
        _ => Err(EvalError::no_such_overload()),
    });
    set.member("or", "optional_or_optional", [optional(), optional()], optional(), special);
    set.member("orValue", "optional_orValue_value", [optional(), V], V, special);
    set.global("_[?_]", "list_optindex_optional_int", [list(), Int], optional(), special);
    set.global("_[?_]", "optional_list_optindex_optional_int", [Type::optional(list()), Int], optional(), special);
    set.global("_[?_]", "map_optindex_optional_value", [map(), K], optional(), special);
    set.global("_[?_]", "optional_map_optindex_optional_value", [Type::optional(map()), K], optional(), special);
    set.global("_[_]", "optional_list_index_int", [Type::optional(list()), Int], optional(), special);
    set.global("_[_]", "optional_map_index_value", [Type::optional(map()), K], optional(), special);
    set.member("first", "list_first", [list()], optional(), |args| end(args, |length| length.checked_sub(length)));
    set.member("last", "list_last", [list()], optional(), |args| end(args, |length| length.checked_sub(1)));
}

fn unwrap<'a>(args: &[Value<'a>]) -> EvalResult<'a> {
    let Value::List(list) = &args[0] else { return Err(EvalError::no_such_overload()) };
    let mut items = Vec::with_capacity(list.len());
    for item in list.iter() {
        match item? {
            Value::Optional(Some(value)) => items.push(Value::clone(&value)),
            Value::Optional(None) => {}
            other => return Err(EvalError::new(format!("value {other} is not optional"))),
        }
    }
    Ok(Value::list(items))
}

fn end<'a>(args: &[Value<'a>], place: fn(usize) -> Option<usize>) -> EvalResult<'a> {
    let Value::List(list) = &args[0] else { return Err(EvalError::no_such_overload()) };
    match place(list.len()).and_then(|at| list.get(at)) {
        Some(item) => Ok(Value::some(item?)),
        None => Ok(Value::none()),
    }
}
