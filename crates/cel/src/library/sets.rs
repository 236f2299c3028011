//! Lists taken as sets.

use super::Set;
use crate::errors::EvalError;
use crate::types::Type;
use crate::value::{List, Value};
use Type::Bool;

const T: Type = Type::Param("T");

pub(super) fn declare(set: &mut Set) {
    let list = || Type::list(T);
    set.global("sets.contains", "list_sets_contains_list", [list(), list()], Bool, |args| {
        let (a, b) = lists(args)?;
        Ok(Value::Bool(contains(a, b)?))
    });
    set.global("sets.equivalent", "list_sets_equivalent_list", [list(), list()], Bool, |args| {
        let (a, b) = lists(args)?;
        Ok(Value::Bool(contains(a, b)? && contains(b, a)?))
    });
    set.global("sets.intersects", "list_sets_intersects_list", [list(), list()], Bool, |args| {
        let (a, b) = lists(args)?;
        for item in a.iter() {
            if b.contains(&item?)? {
                return Ok(Value::Bool(true));
            }
        }
        Ok(Value::Bool(false))
    });
}

fn lists<'v, 'a>(args: &'v [Value<'a>]) -> Result<(&'v List<'a>, &'v List<'a>), EvalError> {
    match args {
        [Value::List(a), Value::List(b)] => Ok((a, b)),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn contains<'a>(list: &List<'a>, items: &List<'a>) -> Result<bool, EvalError> {
    for item in items.iter() {
        if !list.contains(&item?)? {
            return Ok(false);
        }
    }
    Ok(true)
}
