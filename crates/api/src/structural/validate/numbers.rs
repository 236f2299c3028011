//! Numbers: bounds, factors, and what a format can hold.
//!
//! Bounds are floating point in every schema. A whole value is compared with the whole part of the bound, as upstream does.

use machinery::go_text;
use serde_json::Number;

use super::super::Schema;
use super::{Fault, Found, Place, is_whole};

/// A value as upstream's decoder holds it.
#[derive(Clone, Copy)]
enum Held {
    Int(i64),
    Float(f64),
}

impl Held {
    fn of(number: &Number) -> Self {
        number.as_i64().map_or_else(|| Self::Float(number.as_f64().unwrap_or_default()), Self::Int)
    }

    /// A bound in the form of the value that it is compared with.
    fn bound(self, bound: f64) -> Self {
        match self {
            // Saturates beyond what fits.
            Self::Int(_) => Self::Int(bound as i64),
            Self::Float(_) => Self::Float(bound),
        }
    }

    fn float(self) -> f64 {
        match self {
            Self::Int(value) => value as f64,
            Self::Float(value) => value,
        }
    }

    fn less(self, other: Self) -> bool {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => a < b,
            (a, b) => a.float() < b.float(),
        }
    }

    fn text(self) -> String {
        match self {
            Self::Int(value) => value.to_string(),
            Self::Float(value) => go_text::float(value),
        }
    }
}

/// What a type and a format can hold.
struct Range<'s> {
    kind: &'s str,
    format: &'s str,
}

impl Range<'_> {
    /// What is wrong with a value (or a bound) that does not fit.
    fn refuse(&self, value: Held, what: &str, place: &Place) -> Option<String> {
        let fits = match (self.kind, self.format, value) {
            ("integer", "int32", Held::Int(value)) => i32::try_from(value).is_ok(),
            ("integer", "int32", Held::Float(value)) => is_whole(value) && value.abs() <= f64::from(i32::MAX),
            ("integer", _, Held::Float(value)) => value.is_finite() && value.fract() == 0.0 && value.abs() < 9.3e18,
            ("number", "float", value) => value.float().abs() <= f64::from(f32::MAX),
            _ => true,
        };
        if fits {
            return None;
        }
        let format =
            if self.format.is_empty() { "(default format)".to_owned() } else { format!("with format {}", self.format) };
        Some(format!("{what} value must be of type {} {format} in {place}", self.kind))
    }
}

pub(super) fn validate(number: &Number, schema: &Schema, place: &Place) -> Found {
    let limits = &schema.limits;
    let kind =
        if !schema.int_or_string && matches!(schema.kind.as_str(), "integer" | "number") { &schema.kind } else { "" };
    let format = if kind.is_empty() { "" } else { limits.format.as_str() };
    let range = Range { kind, format };
    let value = Held::of(number);
    let shown = || Fault::Invalid(number.clone().into());
    let mut found = Found::default();
    if let Some(problem) = range.refuse(value, "Checked", place) {
        found.loose(problem);
    }
    if let Some(factor) = limits.multiple_of {
        let refused = range.refuse(Held::Float(factor), "MultipleOf", place);
        let native = if refused.is_none() { value } else { Held::Float(value.float()) };
        refused.into_iter().for_each(|problem| found.loose(problem));
        let factor = native.bound(factor);
        if !Held::Int(0).less(factor) {
            let message = format!("factor MultipleOf declared for {place} must be positive: {}", factor.text());
            found.at(place, Fault::Invalid(number_value(factor)), message);
        } else if !is_multiple(native, factor) {
            found.at(place, shown(), format!("{place} in body should be a multiple of {}", factor.text()));
        }
    }
    let bounds = [
        (limits.maximum, limits.exclusive_maximum, "Maximum boundary", "less than"),
        (limits.minimum, limits.exclusive_minimum, "Minimum boundary", "greater than"),
    ];
    for (bound, exclusive, what, words) in bounds {
        let Some(bound) = bound else { continue };
        let refused = range.refuse(Held::Float(bound), what, place);
        let native = if refused.is_none() { value } else { Held::Float(value.float()) };
        refused.into_iter().for_each(|problem| found.loose(problem));
        let bound = native.bound(bound);
        let (small, large) = if words == "less than" { (native, bound) } else { (bound, native) };
        if large.less(small) || (exclusive && !small.less(large)) {
            let or_equal = if exclusive { "" } else { " or equal to" };
            found.at(place, shown(), format!("{place} in body should be {words}{or_equal} {}", bound.text()));
        }
    }
    found.matches += 1;
    found
}

fn is_multiple(value: Held, factor: Held) -> bool {
    match (value, factor) {
        (Held::Int(value), Held::Int(factor)) => value.checked_rem(factor).is_none_or(|rest| rest == 0),
        (value, factor) => {
            let (value, factor) = (value.float(), factor.float());
            let times = if factor < 1.0 { 1.0 / factor * value } else { value / factor };
            // What floating point makes of a whole number is off by as much.
            is_whole(times) || (times.is_finite() && (times - times.round()).abs() < 1e-9)
        }
    }
}

fn number_value(held: Held) -> serde_json::Value {
    match held {
        Held::Int(value) => value.into(),
        Held::Float(value) => value.into(),
    }
}
