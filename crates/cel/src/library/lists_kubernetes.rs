//! Kubernetes' list functions: `isSorted`, `sum`, `min`, `max`, `indexOf`, `lastIndexOf`.

use super::Set;
use crate::errors::EvalError;
use crate::types::Type;
use crate::value::{EvalResult, List, Value, compare, equal};
use Type::{Bool, Bytes, Double, Duration, Int, String, Timestamp, Uint};
use std::cmp::Ordering;

const A: Type = Type::Param("A");

macro_rules! for_types {
    ($set:ident, $function:literal, $suffix:literal, $result:expr, $run:expr, [$(($name:literal, $ty:expr)),*]) => {
        $($set.member($function, concat!("list_", $name, $suffix), [Type::list($ty)], $result($ty), $run);)*
    };
}

macro_rules! for_comparable {
    ($set:ident, $function:literal, $suffix:literal, $result:expr, $run:expr) => {
        for_types!(
            $set,
            $function,
            $suffix,
            $result,
            $run,
            [
                ("int", Int),
                ("uint", Uint),
                ("double", Double),
                ("bool", Bool),
                ("duration", Duration),
                ("timestamp", Timestamp),
                ("string", String),
                ("bytes", Bytes)
            ]
        );
    };
}

pub(super) fn declare(set: &mut Set) {
    for_comparable!(set, "isSorted", "_is_sorted_bool", |_| Bool, is_sorted);
    set.member("sum", "list_int_sum_int", [Type::list(Int)], Int, |args| sum(args, Value::Int(0)));
    set.member("sum", "list_uint_sum_uint", [Type::list(Uint)], Uint, |args| sum(args, Value::Uint(0)));
    set.member("sum", "list_double_sum_double", [Type::list(Double)], Double, |args| sum(args, Value::Double(0.0)));
    set.member("sum", "list_duration_sum_duration", [Type::list(Duration)], Duration, |args| {
        sum(args, Value::Duration(0))
    });
    for_comparable!(set, "max", "_max", |ty| ty, |args| extreme(args, "max", Ordering::Greater));
    for_comparable!(set, "min", "_min", |ty| ty, |args| extreme(args, "min", Ordering::Less));
    set.member("indexOf", "list_a_index_of_int", [Type::list(A), A], Int, |args| {
        let list = list(&args[0])?;
        find(list, &args[1], (0..list.len()).collect())
    });
    set.member("lastIndexOf", "list_a_last_index_of_int", [Type::list(A), A], Int, |args| {
        let list = list(&args[0])?;
        find(list, &args[1], (0..list.len()).rev().collect())
    });
}

fn list<'v, 'a>(value: &'v Value<'a>) -> Result<&'v List<'a>, EvalError> {
    match value {
        Value::List(list) => Ok(list),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn is_sorted<'a>(args: &[Value<'a>]) -> EvalResult<'a> {
    let mut before: Option<Value<'a>> = None;
    for item in list(&args[0])?.iter() {
        let item = item?;
        if let Some(before) = &before
            && compare(before, &item)?.is_gt()
        {
            return Ok(Value::Bool(false));
        }
        before = Some(item);
    }
    Ok(Value::Bool(true))
}

fn sum<'a>(args: &[Value<'a>], zero: Value<'a>) -> EvalResult<'a> {
    let overflow = |what: &str| EvalError::new(format!("{what} overflow"));
    let mut total = zero;
    for item in list(&args[0])?.iter() {
        total = match (total, item?) {
            (Value::Int(a), Value::Int(b)) => Value::Int(a.checked_add(b).ok_or_else(|| overflow("integer"))?),
            (Value::Uint(a), Value::Uint(b)) => {
                Value::Uint(a.checked_add(b).ok_or_else(|| overflow("unsigned integer"))?)
            }
            (Value::Double(a), Value::Double(b)) => Value::Double(a + b),
            (Value::Duration(a), Value::Duration(b)) => {
                Value::Duration(a.checked_add(b).ok_or_else(|| overflow("duration"))?)
            }
            _ => return Err(EvalError::no_such_overload()),
        };
    }
    Ok(total)
}

fn extreme<'a>(args: &[Value<'a>], name: &str, wanted: Ordering) -> EvalResult<'a> {
    let mut best: Option<Value<'a>> = None;
    for item in list(&args[0])?.iter() {
        let item = item?;
        best = match best {
            Some(best) if compare(&item, &best)? != wanted => Some(best),
            _ => Some(item),
        };
    }
    best.ok_or_else(|| EvalError::new(format!("{name} called on empty list")))
}

fn find<'a>(list: &List<'a>, value: &Value<'a>, order: Vec<usize>) -> EvalResult<'a> {
    for index in order {
        if let Some(item) = list.get(index)
            && equal(&item?, value)?
        {
            return Ok(Value::Int(index as i64));
        }
    }
    Ok(Value::Int(-1))
}
