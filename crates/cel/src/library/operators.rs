//! Operators. `&&`, `||`, `?:`, `==`, `!=`, indexes and loops are the evaluator's; only their signatures are here.

use super::{Set, fits};
use crate::errors::EvalError;
use crate::types::{ListKind, Type};
use crate::value::{EvalResult, List, Moment, Value, compare, equal, identity, key_identity};
use std::cmp::Ordering;
use std::collections::HashSet;

use indexmap::IndexMap;

use Type::{Bool, Bytes, Double, Duration, Dyn, Int, String, Timestamp as Time, Uint};

const A: Type = Type::Param("A");
const B: Type = Type::Param("B");

fn special<'a>(_: &[Value<'a>]) -> EvalResult<'a> {
    Err(EvalError::no_such_overload())
}

pub(super) fn declare(set: &mut Set) {
    set.global("_?_:_", "conditional", [Bool, A, A], A, special);
    set.global("_&&_", "logical_and", [Bool, Bool], Bool, special);
    set.global("_||_", "logical_or", [Bool, Bool], Bool, special);
    set.global("!_", "logical_not", [Bool], Bool, |args| match args[0] {
        Value::Bool(value) => Ok(Value::Bool(!value)),
        _ => Err(EvalError::no_such_overload()),
    });
    set.global("@not_strictly_false", "not_strictly_false", [Bool], Bool, special);
    set.global("_==_", "equals", [A, A], Bool, |args| Ok(Value::Bool(equal(&args[0], &args[1])?)));
    set.global("_!=_", "not_equals", [A, A], Bool, |args| Ok(Value::Bool(!equal(&args[0], &args[1])?)));
    arithmetic(set);
    comparisons(set);
    set.global("_[_]", "index_list", [Type::list(A), Int], A, special);
    set.global("_[_]", "index_map", [Type::map(A, B), A], B, special);
    set.global("@in", "in_list", [A, Type::list(A)], Bool, contains);
    set.global("@in", "in_map", [A, Type::map(A, B)], Bool, contains);
    set.global("_?._", "select_optional_field", [Dyn, String], Type::optional(A), special);
    set.global("cel.@mapInsert", "@mapInsert_map_key_value", [Type::map(A, B), A, B], Type::map(A, B), special);
    set.global("cel.@mapInsert", "@mapInsert_map_map", [Type::map(A, B), Type::map(A, B)], Type::map(A, B), special);
}

fn arithmetic(set: &mut Set) {
    let list = || Type::list(A);
    set.global("_+_", "add_bytes", [Bytes, Bytes], Bytes, add);
    set.global("_+_", "add_double", [Double, Double], Double, add);
    set.global("_+_", "add_duration_duration", [Duration, Duration], Duration, add);
    set.global("_+_", "add_duration_timestamp", [Duration, Time], Time, add);
    set.global("_+_", "add_timestamp_duration", [Time, Duration], Time, add);
    set.global("_+_", "add_int64", [Int, Int], Int, add);
    set.global("_+_", "add_list", [list(), list()], list(), add);
    set.global("_+_", "add_string", [String, String], String, add);
    set.global("_+_", "add_uint64", [Uint, Uint], Uint, add);
    set.global("_/_", "divide_double", [Double, Double], Double, divide);
    set.global("_/_", "divide_int64", [Int, Int], Int, divide);
    set.global("_/_", "divide_uint64", [Uint, Uint], Uint, divide);
    set.global("_%_", "modulo_int64", [Int, Int], Int, modulo);
    set.global("_%_", "modulo_uint64", [Uint, Uint], Uint, modulo);
    set.global("_*_", "multiply_double", [Double, Double], Double, multiply);
    set.global("_*_", "multiply_int64", [Int, Int], Int, multiply);
    set.global("_*_", "multiply_uint64", [Uint, Uint], Uint, multiply);
    set.global("-_", "negate_double", [Double], Double, negate);
    set.global("-_", "negate_int64", [Int], Int, negate);
    set.global("_-_", "subtract_double", [Double, Double], Double, subtract);
    set.global("_-_", "subtract_duration_duration", [Duration, Duration], Duration, subtract);
    set.global("_-_", "subtract_int64", [Int, Int], Int, subtract);
    set.global("_-_", "subtract_timestamp_duration", [Time, Duration], Time, subtract);
    set.global("_-_", "subtract_timestamp_timestamp", [Time, Time], Duration, subtract);
    set.global("_-_", "subtract_uint64", [Uint, Uint], Uint, subtract);
}

macro_rules! comparison {
    ($set:ident, $function:literal, $prefix:literal, $holds:expr) => {{
        fn run<'a>(args: &[Value<'a>]) -> EvalResult<'a> {
            let holds: fn(Ordering) -> bool = $holds;
            ordered($function, args).map(|ordering| Value::Bool(holds(ordering)))
        }
        $set.global($function, concat!($prefix, "_bool"), [Bool, Bool], Bool, run);
        $set.global($function, concat!($prefix, "_int64"), [Int, Int], Bool, run);
        $set.global($function, concat!($prefix, "_int64_double"), [Int, Double], Bool, run);
        $set.global($function, concat!($prefix, "_int64_uint64"), [Int, Uint], Bool, run);
        $set.global($function, concat!($prefix, "_uint64"), [Uint, Uint], Bool, run);
        $set.global($function, concat!($prefix, "_uint64_double"), [Uint, Double], Bool, run);
        $set.global($function, concat!($prefix, "_uint64_int64"), [Uint, Int], Bool, run);
        $set.global($function, concat!($prefix, "_double"), [Double, Double], Bool, run);
        $set.global($function, concat!($prefix, "_double_int64"), [Double, Int], Bool, run);
        $set.global($function, concat!($prefix, "_double_uint64"), [Double, Uint], Bool, run);
        $set.global($function, concat!($prefix, "_string"), [String, String], Bool, run);
        $set.global($function, concat!($prefix, "_bytes"), [Bytes, Bytes], Bool, run);
        $set.global($function, concat!($prefix, "_timestamp"), [Time, Time], Bool, run);
        $set.global($function, concat!($prefix, "_duration"), [Duration, Duration], Bool, run);
    }};
}

fn comparisons(set: &mut Set) {
    comparison!(set, "_<_", "less", Ordering::is_lt);
    comparison!(set, "_<=_", "less_equals", Ordering::is_le);
    comparison!(set, "_>_", "greater", Ordering::is_gt);
    comparison!(set, "_>=_", "greater_equals", Ordering::is_ge);
}

fn ordered(function: &str, args: &[Value<'_>]) -> Result<Ordering, EvalError> {
    let has_order = matches!(
        args[0],
        Value::Bool(_)
            | Value::Int(_)
            | Value::Uint(_)
            | Value::Double(_)
            | Value::String(_)
            | Value::Bytes(_)
            | Value::Timestamp(_)
            | Value::Duration(_)
    );
    if !has_order {
        return Err(EvalError::new(format!("no such overload: {function}")));
    }
    compare(&args[0], &args[1])
}

fn overflow(what: &str) -> EvalError {
    EvalError::new(format!("{what} overflow"))
}

/// What an operator says about values that it does not work on: it names itself where the first is at fault.
fn mismatch<'a>(function: &str, args: &[Value<'a>], first: &[Type]) -> EvalResult<'a> {
    match first.iter().any(|ty| fits(&args[0], ty)) {
        true => Err(EvalError::no_such_overload()),
        false => Err(EvalError::new(format!("no such overload: {function}"))),
    }
}

fn int<'a>(value: Option<i64>) -> EvalResult<'a> {
    value.map(Value::Int).ok_or_else(|| overflow("integer"))
}

fn uint<'a>(value: Option<u64>) -> EvalResult<'a> {
    value.map(Value::Uint).ok_or_else(|| overflow("unsigned integer"))
}

fn duration<'a>(value: Option<i64>) -> EvalResult<'a> {
    value.map(Value::Duration).ok_or_else(|| overflow("duration"))
}

fn moment<'a>(time: Moment, nanos: i128) -> EvalResult<'a> {
    Moment::from_nanos(time.nanos() + nanos).map(Value::Timestamp).ok_or_else(|| overflow("timestamp"))
}

fn add<'a>(args: &[Value<'a>]) -> EvalResult<'a> {
    match (&args[0], &args[1]) {
        (Value::Int(a), Value::Int(b)) => int(a.checked_add(*b)),
        (Value::Uint(a), Value::Uint(b)) => uint(a.checked_add(*b)),
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a + b)),
        (Value::String(a), Value::String(b)) => Ok(Value::from([&**a, &**b].concat())),
        (Value::Bytes(a), Value::Bytes(b)) => Ok(Value::Bytes([&**a, &**b].concat().into())),
        (Value::Duration(a), Value::Duration(b)) => duration(a.checked_add(*b)),
        (Value::Timestamp(time), Value::Duration(nanos)) | (Value::Duration(nanos), Value::Timestamp(time)) => {
            moment(*time, i128::from(*nanos))
        }
        (Value::List(a), Value::List(b)) => add_lists(a, b),
        _ => mismatch("_+_", args, &[Int, Uint, Double, String, Bytes, Duration, Time, Type::list(Dyn)]),
    }
}

/// Lists of validated objects add up as their kind says: a set keeps each item once, a keyed list replaces items in place.
fn add_lists<'a>(a: &List<'a>, b: &List<'a>) -> EvalResult<'a> {
    match a.kind() {
        ListKind::Atomic => Ok(Value::List(List::sum(a, b))),
        ListKind::Set => {
            let mut items = a.items()?;
            let mut known: HashSet<std::string::String> = items.iter().map(identity).collect::<Result<_, _>>()?;
            for item in b.items()? {
                if known.insert(identity(&item)?) {
                    items.push(item);
                }
            }
            Ok(Value::list(items))
        }
        ListKind::Map(keys) => {
            let mut items = IndexMap::new();
            for item in a.items()?.into_iter().chain(b.items()?) {
                items.insert(key_identity(&item, keys)?, item);
            }
            Ok(Value::list(items.into_values().collect()))
        }
    }
}

fn subtract<'a>(args: &[Value<'a>]) -> EvalResult<'a> {
    match (&args[0], &args[1]) {
        (Value::Int(a), Value::Int(b)) => int(a.checked_sub(*b)),
        (Value::Uint(a), Value::Uint(b)) => uint(a.checked_sub(*b)),
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a - b)),
        (Value::Duration(a), Value::Duration(b)) => duration(a.checked_sub(*b)),
        (Value::Timestamp(time), Value::Duration(nanos)) => moment(*time, -i128::from(*nanos)),
        (Value::Timestamp(a), Value::Timestamp(b)) => duration(i64::try_from(a.nanos() - b.nanos()).ok()),
        _ => mismatch("_-_", args, &[Int, Uint, Double, Duration, Time]),
    }
}

fn multiply<'a>(args: &[Value<'a>]) -> EvalResult<'a> {
    match (&args[0], &args[1]) {
        (Value::Int(a), Value::Int(b)) => int(a.checked_mul(*b)),
        (Value::Uint(a), Value::Uint(b)) => uint(a.checked_mul(*b)),
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a * b)),
        _ => mismatch("_*_", args, &[Int, Uint, Double]),
    }
}

fn divide<'a>(args: &[Value<'a>]) -> EvalResult<'a> {
    match (&args[0], &args[1]) {
        (Value::Int(_), Value::Int(0)) | (Value::Uint(_), Value::Uint(0)) => Err(EvalError::new("division by zero")),
        (Value::Int(a), Value::Int(b)) => int(a.checked_div(*b)),
        (Value::Uint(a), Value::Uint(b)) => uint(a.checked_div(*b)),
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a / b)),
        _ => mismatch("_/_", args, &[Int, Uint, Double]),
    }
}

fn modulo<'a>(args: &[Value<'a>]) -> EvalResult<'a> {
    match (&args[0], &args[1]) {
        (Value::Int(_), Value::Int(0)) | (Value::Uint(_), Value::Uint(0)) => Err(EvalError::new("modulus by zero")),
        (Value::Int(a), Value::Int(b)) => int(a.checked_rem(*b)),
        (Value::Uint(a), Value::Uint(b)) => uint(a.checked_rem(*b)),
        _ => mismatch("_%_", args, &[Int, Uint]),
    }
}

fn negate<'a>(args: &[Value<'a>]) -> EvalResult<'a> {
    match &args[0] {
        Value::Int(value) => int(value.checked_neg()),
        Value::Double(value) => Ok(Value::Double(-value)),
        Value::Duration(value) => duration(value.checked_neg()),
        Value::Bool(_) => Err(EvalError::no_such_overload()),
        _ => Err(EvalError::new("no such overload: -_")),
    }
}

fn contains<'a>(args: &[Value<'a>]) -> EvalResult<'a> {
    match &args[1] {
        Value::List(list) => Ok(Value::Bool(list.contains(&args[0])?)),
        Value::Map(map) => Ok(Value::Bool(map.get(&args[0]).transpose()?.is_some())),
        _ => Err(EvalError::no_such_overload()),
    }
}

/// What an error says that found no overload for these values.
pub(crate) fn no_overload(function: &str, args: &[Value<'_>]) -> EvalError {
    let types: Vec<std::string::String> = args.iter().map(|arg| arg.type_of().runtime_name().to_owned()).collect();
    EvalError::new(format!("no such overload: {function}({})", types.join(", ")))
}
