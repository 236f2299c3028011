//! The parts of moments, in UTC or in a named or numbered zone, and of durations.

use super::Set;
use crate::errors::EvalError;
use crate::types::Type;
use crate::value::{EvalResult, Value};
use Type::{Duration, Int, String, Timestamp as Time};

pub(super) fn declare(set: &mut Set) {
    set.member("getFullYear", "timestamp_to_year", [Time], Int, full_year);
    set.member("getFullYear", "timestamp_to_year_with_tz", [Time, String], Int, full_year);
    set.member("getMonth", "timestamp_to_month", [Time], Int, month);
    set.member("getMonth", "timestamp_to_month_with_tz", [Time, String], Int, month);
    set.member("getDayOfYear", "timestamp_to_day_of_year", [Time], Int, day_of_year);
    set.member("getDayOfYear", "timestamp_to_day_of_year_with_tz", [Time, String], Int, day_of_year);
    set.member("getDayOfMonth", "timestamp_to_day_of_month", [Time], Int, day_of_month);
    set.member("getDayOfMonth", "timestamp_to_day_of_month_with_tz", [Time, String], Int, day_of_month);
    set.member("getDate", "timestamp_to_day_of_month_1_based", [Time], Int, date);
    set.member("getDate", "timestamp_to_day_of_month_1_based_with_tz", [Time, String], Int, date);
    set.member("getDayOfWeek", "timestamp_to_day_of_week", [Time], Int, day_of_week);
    set.member("getDayOfWeek", "timestamp_to_day_of_week_with_tz", [Time, String], Int, day_of_week);
    set.member("getHours", "timestamp_to_hours", [Time], Int, hours);
    set.member("getHours", "timestamp_to_hours_with_tz", [Time, String], Int, hours);
    set.member("getHours", "duration_to_hours", [Duration], Int, hours);
    set.member("getMinutes", "timestamp_to_minutes", [Time], Int, minutes);
    set.member("getMinutes", "timestamp_to_minutes_with_tz", [Time, String], Int, minutes);
    set.member("getMinutes", "duration_to_minutes", [Duration], Int, minutes);
    set.member("getSeconds", "timestamp_to_seconds", [Time], Int, seconds);
    set.member("getSeconds", "timestamp_to_seconds_tz", [Time, String], Int, seconds);
    set.member("getSeconds", "duration_to_seconds", [Duration], Int, seconds);
    set.member("getMilliseconds", "timestamp_to_milliseconds", [Time], Int, milliseconds);
    set.member("getMilliseconds", "timestamp_to_milliseconds_with_tz", [Time, String], Int, milliseconds);
    set.member("getMilliseconds", "duration_to_milliseconds", [Duration], Int, milliseconds);
}

/// The moment on the clocks of the zone that is asked for.
fn civil(args: &[Value<'_>]) -> Result<jiff::civil::DateTime, EvalError> {
    let Value::Timestamp(time) = &args[0] else { return Err(EvalError::no_such_overload()) };
    match args.get(1) {
        None => time.in_zone(None),
        Some(Value::String(zone)) => time.in_zone(Some(zone)),
        Some(_) => Err(EvalError::no_such_overload()),
    }
}

fn full_year<'a>(args: &[Value<'a>]) -> EvalResult<'a> {
    Ok(Value::Int(i64::from(civil(args)?.year())))
}

fn month<'a>(args: &[Value<'a>]) -> EvalResult<'a> {
    Ok(Value::Int(i64::from(civil(args)?.month()) - 1))
}

fn day_of_year<'a>(args: &[Value<'a>]) -> EvalResult<'a> {
    Ok(Value::Int(i64::from(civil(args)?.date().day_of_year()) - 1))
}

fn day_of_month<'a>(args: &[Value<'a>]) -> EvalResult<'a> {
    Ok(Value::Int(i64::from(civil(args)?.day()) - 1))
}

fn date<'a>(args: &[Value<'a>]) -> EvalResult<'a> {
    Ok(Value::Int(i64::from(civil(args)?.day())))
}

fn day_of_week<'a>(args: &[Value<'a>]) -> EvalResult<'a> {
    Ok(Value::Int(i64::from(civil(args)?.date().weekday().to_sunday_zero_offset())))
}

fn hours<'a>(args: &[Value<'a>]) -> EvalResult<'a> {
    match args[0] {
        Value::Duration(nanos) => Ok(Value::Int(nanos / 3_600_000_000_000)),
        _ => Ok(Value::Int(i64::from(civil(args)?.hour()))),
    }
}

fn minutes<'a>(args: &[Value<'a>]) -> EvalResult<'a> {
    match args[0] {
        Value::Duration(nanos) => Ok(Value::Int(nanos / 60_000_000_000)),
        _ => Ok(Value::Int(i64::from(civil(args)?.minute()))),
    }
}

fn seconds<'a>(args: &[Value<'a>]) -> EvalResult<'a> {
    match args[0] {
        Value::Duration(nanos) => Ok(Value::Int(nanos / 1_000_000_000)),
        _ => Ok(Value::Int(i64::from(civil(args)?.second()))),
    }
}

fn milliseconds<'a>(args: &[Value<'a>]) -> EvalResult<'a> {
    match args[0] {
        Value::Duration(nanos) => Ok(Value::Int(nanos / 1_000_000)),
        _ => Ok(Value::Int(i64::from(civil(args)?.subsec_nanosecond() / 1_000_000))),
    }
}
