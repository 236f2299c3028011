//! The language's list library: `slice`, `flatten`, `sort`, `sortBy`, `lists.range`, `reverse`, `distinct`.

use super::Set;
use crate::errors::EvalError;
use crate::types::Type;
use crate::value::{EvalResult, List, Value, compare, equal};
use Type::{Bool, Bytes, Double, Duration, Dyn, Int, String, Timestamp, Uint};

const T: Type = Type::Param("T");
/// More items than an evaluation could pay for.
const ITEMS_MAX: usize = 1_000_000;

macro_rules! sorts {
    ($set:ident, [$(($name:literal, $ty:expr)),*]) => {
        $(
            $set.member("sort", concat!("list_", $name, "_sort"), [Type::list($ty)], Type::list($ty), sort);
            $set.member(
                "@sortByAssociatedKeys",
                concat!("list_", $name, "_sortByAssociatedKeys"),
                [Type::list(T), Type::list($ty)],
                Type::list(T),
                sort_by,
            );
        )*
    };
}

pub(super) fn declare(set: &mut Set) {
    let list = || Type::list(T);
    set.member("slice", "list_slice", [list(), Int, Int], list(), slice);
    set.member("flatten", "list_flatten", [Type::list(list())], list(), |args| flatten_to(args, 1));
    set.member("flatten", "list_flatten_int", [Type::list(Dyn), Int], Type::list(Dyn), |args| match args[1] {
        Value::Int(depth) => flatten_to(args, depth),
        _ => Err(EvalError::no_such_overload()),
    });
    sorts!(
        set,
        [
            ("int", Int),
            ("uint", Uint),
            ("double", Double),
            ("bool", Bool),
            ("google.protobuf.Duration", Duration),
            ("google.protobuf.Timestamp", Timestamp),
            ("string", String),
            ("bytes", Bytes)
        ]
    );
    set.global("lists.range", "lists_range", [Int], Type::list(Int), range);
    set.member("reverse", "list_reverse", [list()], list(), |args| {
        let mut items = of(&args[0])?.items()?;
        items.reverse();
        Ok(Value::list(items))
    });
    set.member("distinct", "list_distinct", [list()], list(), distinct);
}

fn of<'v, 'a>(value: &'v Value<'a>) -> Result<&'v List<'a>, EvalError> {
    match value {
        Value::List(list) => Ok(list),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn slice<'a>(args: &[Value<'a>]) -> EvalResult<'a> {
    let list = of(&args[0])?;
    let (Value::Int(start), Value::Int(end)) = (&args[1], &args[2]) else {
        return Err(EvalError::no_such_overload());
    };
    let length = list.len() as i64;
    let why = match () {
        () if *start < 0 || *end < 0 => "negative indexes not supported".to_owned(),
        () if start > end => "start index must be less than or equal to end index".to_owned(),
        () if *end > length => format!("list is length {length}"),
        () => {
            let items = (*start as usize..*end as usize).filter_map(|index| list.get(index));
            return Ok(Value::list(items.collect::<Result<_, _>>()?));
        }
    };
    Err(EvalError::new(format!("cannot slice({start}, {end}), {why}")))
}

fn flatten_to<'a>(args: &[Value<'a>], depth: i64) -> EvalResult<'a> {
    if depth < 0 {
        return Err(EvalError::new("level must be non-negative"));
    }
    let mut out = Vec::new();
    flatten(of(&args[0])?, depth, &mut out)?;
    Ok(Value::list(out))
}

fn flatten<'a>(list: &List<'a>, depth: i64, out: &mut Vec<Value<'a>>) -> Result<(), EvalError> {
    for item in list.iter() {
        match item? {
            Value::List(inner) if depth > 0 => flatten(&inner, depth - 1, out)?,
            other if out.len() < ITEMS_MAX => out.push(other),
            _ => return Err(EvalError::cost_exceeded()),
        }
    }
    Ok(())
}

/// Whether all items are of one type that has an order.
fn check_comparable(items: &[Value<'_>]) -> Result<(), EvalError> {
    let Some(first) = items.first() else { return Ok(()) };
    if compare(first, first).is_err() {
        return Err(EvalError::new("list elements must be comparable"));
    }
    let same = items.iter().all(|item| std::mem::discriminant(item) == std::mem::discriminant(first));
    if same { Ok(()) } else { Err(EvalError::new("list elements must have the same type")) }
}

fn sort<'a>(args: &[Value<'a>]) -> EvalResult<'a> {
    let mut items = of(&args[0])?.items()?;
    check_comparable(&items)?;
    items.sort_by(|a, b| compare(a, b).unwrap_or(std::cmp::Ordering::Equal));
    Ok(Value::list(items))
}

fn sort_by<'a>(args: &[Value<'a>]) -> EvalResult<'a> {
    let (items, keys) = (of(&args[0])?.items()?, of(&args[1])?.items()?);
    if items.len() != keys.len() {
        let message = format!(
            "@sortByAssociatedKeys() expected a list of the same size as the associated keys list, but got {} and {} elements respectively",
            items.len(),
            keys.len()
        );
        return Err(EvalError::new(message));
    }
    check_comparable(&keys)?;
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_by(|a, b| compare(&keys[*a], &keys[*b]).unwrap_or(std::cmp::Ordering::Equal));
    Ok(Value::list(order.into_iter().map(|index| items[index].clone()).collect()))
}

fn range<'a>(args: &[Value<'a>]) -> EvalResult<'a> {
    let Value::Int(end) = args[0] else { return Err(EvalError::no_such_overload()) };
    if end > ITEMS_MAX as i64 {
        return Err(EvalError::cost_exceeded());
    }
    Ok(Value::list((0..end).map(Value::Int).collect()))
}

fn distinct<'a>(args: &[Value<'a>]) -> EvalResult<'a> {
    let mut out: Vec<Value<'a>> = Vec::new();
    let list = of(&args[0])?;
    for item in list.iter() {
        let item = item?;
        let mut known = false;
        for other in &out {
            known = known || equal(&item, other)?;
        }
        if !known {
            out.push(item);
        }
    }
    Ok(Value::list(out))
}
