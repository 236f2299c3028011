//! Quantities: `quantity('1.5Gi').isGreaterThan(quantity('1G'))`.

use std::cmp::Ordering;
use std::sync::Arc;

use machinery::quantity::{Format, Quantity};

use super::Set;
use super::opaque::{Opaque, QUANTITY};
use crate::errors::EvalError;
use crate::types::Type;
use crate::value::Value;
use Type::{Bool, Double, Int, String};

pub(super) fn declare(set: &mut Set) {
    let quantity = || Type::Opaque(QUANTITY);
    set.global("quantity", "string_to_quantity", [String], quantity(), |args| {
        let Some(text) = args[0].as_str() else { return Err(EvalError::no_such_overload()) };
        Quantity::parse(text).map(value).map_err(|error| EvalError::new(error.to_string()))
    });
    set.global("isQuantity", "is_quantity_string", [String], Bool, |args| match args[0].as_str() {
        Some(text) => Ok(Value::Bool(Quantity::parse(text).is_ok())),
        None => Err(EvalError::no_such_overload()),
    });
    // Upstream declares it as a function, not as a member.
    set.global("sign", "quantity_sign", [quantity()], Int, |args| Ok(Value::Int(i64::from(of(&args[0])?.signum()))));
    set.member("isGreaterThan", "quantity_is_greater_than", [quantity(), quantity()], Bool, |args| {
        Ok(Value::Bool(order(args)?.is_gt()))
    });
    set.member("isLessThan", "quantity_is_less_than", [quantity(), quantity()], Bool, |args| {
        Ok(Value::Bool(order(args)?.is_lt()))
    });
    set.member("compareTo", "quantity_compare_to", [quantity(), quantity()], Int, |args| {
        Ok(Value::Int(order(args)? as i64))
    });
    set.member("asApproximateFloat", "quantity_get_float", [quantity()], Double, |args| {
        Ok(Value::Double(of(&args[0])?.approximate()))
    });
    set.member("asInteger", "quantity_get_int", [quantity()], Int, |args| match whole(of(&args[0])?) {
        Some(whole) => Ok(Value::Int(whole)),
        None => Err(EvalError::new("cannot convert value to integer")),
    });
    set.member("isInteger", "quantity_is_integer", [quantity()], Bool, |args| {
        Ok(Value::Bool(whole(of(&args[0])?).is_some()))
    });
    set.member("add", "quantity_add", [quantity(), quantity()], quantity(), |args| {
        Ok(value(of(&args[0])?.add(of(&args[1])?)))
    });
    set.member("add", "quantity_add_int", [quantity(), Int], quantity(), |args| {
        Ok(value(of(&args[0])?.add(&number(&args[1])?)))
    });
    set.member("sub", "quantity_sub", [quantity(), quantity()], quantity(), |args| {
        Ok(value(of(&args[0])?.sub(of(&args[1])?)))
    });
    set.member("sub", "quantity_sub_int", [quantity(), Int], quantity(), |args| {
        Ok(value(of(&args[0])?.sub(&number(&args[1])?)))
    });
}

fn value<'a>(quantity: Quantity) -> Value<'a> {
    Value::Opaque(Opaque::Quantity(Arc::new(quantity)))
}

fn of<'v>(value: &'v Value<'_>) -> Result<&'v Quantity, EvalError> {
    match value {
        Value::Opaque(Opaque::Quantity(quantity)) => Ok(quantity),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn number(value: &Value<'_>) -> Result<Quantity, EvalError> {
    match value {
        Value::Int(value) => Ok(Quantity::new(*value, Format::DecimalSI)),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn order(args: &[Value<'_>]) -> Result<Ordering, EvalError> {
    Ok(of(&args[0])?.cmp(of(&args[1])?))
}

/// The whole number that the quantity is, if it is one that fits.
fn whole(quantity: &Quantity) -> Option<i64> {
    let value = quantity.value();
    (quantity.is_integer() && Quantity::new(value, Format::DecimalSI) == *quantity).then_some(value)
}
