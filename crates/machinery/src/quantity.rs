//! Exact quantities: `100m`, `1.5Gi`, `12E6`.
//!
//! A quantity is `mantissa * 10^exponent` with an exponent of at least -9 (what is smaller rounds away from zero to whole nanos),
//! plus the family in which it prints. Sums and comparisons are exact up to 38 digits; beyond that the last digits are rounded
//! away from zero instead of failing. Worked example: "0.5Gi" parses to 536870912 in BinarySI and prints as "512Mi".

mod parse;
mod print;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use std::cmp::Ordering;
use std::str::FromStr;

pub use parse::ParseError;

/// The smallest exponent that is kept: nano.
const EXPONENT_MIN: i32 = -9;
/// The largest one. More cannot be meant, and sums of exponents stay far from overflow.
const EXPONENT_MAX: i32 = 1_000_000;

/// The family of suffixes with which a quantity prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// n, u, m, none, k, M, G, T, P, E.
    #[default]
    DecimalSI,
    /// Ki, Mi, Gi, Ti, Pi, Ei.
    BinarySI,
    /// e-9 ... e18.
    DecimalExponent,
}

/// An exact number with a preferred way to print.
#[derive(Clone, Debug, Default)]
pub struct Quantity {
    mantissa: i128,
    exponent: i32,
    format: Format,
    /// The text as it was given, where the API keeps it though it is not the canonical one ("+1", "2E6", "00100m").
    verbatim: Option<Box<str>>,
}

impl Quantity {
    /// From text, by upstream's rules and with its messages.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        parse::parse(text)
    }

    /// From a field of an object: text (spaces around it are ignored), a number, or null, which is zero.
    pub fn from_json(value: &Value) -> Result<Self, ParseError> {
        match value {
            Value::Null => Ok(Self::default()),
            Value::String(text) => Self::parse(text.trim()),
            Value::Number(number) => Self::parse(&number.to_string()),
            _ => Err(ParseError::Format),
        }
    }

    /// A whole number.
    pub fn new(value: i64, format: Format) -> Self {
        Self::make(i128::from(value), 0, format)
    }

    /// Thousandths.
    pub fn from_milli(value: i64, format: Format) -> Self {
        Self::make(i128::from(value), -3, format)
    }

    /// Brings a number into the one form in which each value is kept: no trailing zeros, at least nanos.
    fn make(mut mantissa: i128, mut exponent: i32, format: Format) -> Self {
        if exponent < EXPONENT_MIN {
            mantissa = divide_away(mantissa, EXPONENT_MIN.saturating_sub(exponent).unsigned_abs());
            exponent = EXPONENT_MIN;
        }
        if mantissa == 0 {
            return Quantity { mantissa: 0, exponent: 0, format, verbatim: None };
        }
        while mantissa % 10 == 0 {
            mantissa /= 10;
            exponent = exponent.saturating_add(1);
        }
        let exponent = exponent.min(EXPONENT_MAX);
        Quantity { mantissa, exponent, format, verbatim: None }
    }

    pub fn format(&self) -> Format {
        self.format
    }

    /// The same value, printed in another family.
    #[must_use]
    pub fn with_format(mut self, format: Format) -> Self {
        self.format = format;
        self.verbatim = None;
        self
    }

    /// The whole number, rounded away from zero; the nearest i64 if it is out of range.
    pub fn value(&self) -> i64 {
        self.scaled_value(0)
    }

    /// Thousandths, rounded away from zero.
    pub fn milli_value(&self) -> i64 {
        self.scaled_value(-3)
    }

    /// The value in units of `10^scale`, rounded away from zero.
    pub fn scaled_value(&self, scale: i32) -> i64 {
        let shift = self.exponent.saturating_sub(scale);
        let scaled = if shift < 0 {
            divide_away(self.mantissa, shift.unsigned_abs())
        } else {
            power(shift.unsigned_abs()).and_then(|p| self.mantissa.checked_mul(p)).unwrap_or(saturated(self.mantissa))
        };
        i64::try_from(scaled).unwrap_or(if scaled < 0 { i64::MIN } else { i64::MAX })
    }

    /// The nearest float: for metrics and ratios, never for comparisons.
    pub fn approximate(&self) -> f64 {
        self.mantissa as f64 * 10f64.powi(self.exponent)
    }

    /// True if nothing is behind the decimal point.
    pub fn is_integer(&self) -> bool {
        self.exponent >= 0
    }

    pub fn is_zero(&self) -> bool {
        self.mantissa == 0
    }

    /// -1, 0 or 1.
    pub fn signum(&self) -> i32 {
        match self.mantissa.cmp(&0) {
            Ordering::Less => -1,
            Ordering::Equal => 0,
            Ordering::Greater => 1,
        }
    }

    /// Rounds away from zero to a multiple of `10^scale`; what is already one keeps its text.
    #[must_use]
    pub fn round_up(self, scale: i32) -> Self {
        if self.exponent >= scale {
            return self;
        }
        let mantissa = divide_away(self.mantissa, scale.saturating_sub(self.exponent).unsigned_abs());
        Self::make(mantissa, scale, self.format)
    }

    /// The sum, in this one's family (zero takes the other's).
    #[must_use]
    pub fn add(&self, other: &Quantity) -> Self {
        let format = if self.is_zero() { other.format } else { self.format };
        if self.is_zero() || other.is_zero() {
            let term = if self.is_zero() { other } else { self };
            return Self::make(term.mantissa, term.exponent, format);
        }
        let (high, low) = if self.exponent >= other.exponent { (self, other) } else { (other, self) };
        // Down to which exponent the higher number has room, with one digit to spare for the carry.
        let room = 37u32.saturating_sub(high.mantissa.unsigned_abs().ilog10());
        let gap = high.exponent.abs_diff(low.exponent);
        let (shift, drop) = (gap.min(room), gap.saturating_sub(room));
        let raised = power(shift).and_then(|p| high.mantissa.checked_mul(p)).unwrap_or(saturated(high.mantissa));
        let sum = raised.saturating_add(divide_away(low.mantissa, drop));
        Self::make(sum, high.exponent.saturating_sub_unsigned(shift), format)
    }

    /// The difference, in this one's family (zero takes the other's).
    #[must_use]
    pub fn sub(&self, other: &Quantity) -> Self {
        self.add(&other.neg())
    }

    #[must_use]
    pub fn neg(&self) -> Self {
        Quantity {
            mantissa: self.mantissa.saturating_neg(),
            exponent: self.exponent,
            format: self.format,
            verbatim: None,
        }
    }

    /// The product with a whole number.
    #[must_use]
    pub fn mul(&self, factor: i64) -> Self {
        Self::make(self.mantissa.saturating_mul(i128::from(factor)), self.exponent, self.format)
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        // Both are in the one form that each value has.
        (self.mantissa, self.exponent) == (other.mantissa, other.exponent)
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        let signs = self.signum().cmp(&other.signum());
        if signs != Ordering::Equal || self.is_zero() {
            return signs;
        }
        let gap = self.exponent.abs_diff(other.exponent);
        // If raising one to the other's exponent overflows, it is the one that is farther from zero.
        let raise = |mantissa: i128| power(gap).and_then(|p| mantissa.checked_mul(p)).unwrap_or(saturated(mantissa));
        if self.exponent >= other.exponent {
            raise(self.mantissa).cmp(&other.mantissa)
        } else {
            self.mantissa.cmp(&raise(other.mantissa))
        }
    }
}

impl FromStr for Quantity {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text)
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_json(&Value::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

fn power(exponent: u32) -> Option<i128> {
    10i128.checked_pow(exponent)
}

fn saturated(sign_of: i128) -> i128 {
    if sign_of < 0 { i128::MIN } else { i128::MAX }
}

/// Divides by a power of ten, rounding away from zero.
fn divide_away(mantissa: i128, digits: u32) -> i128 {
    match power(digits) {
        Some(divisor) => mantissa / divisor + if mantissa % divisor == 0 { 0 } else { mantissa.signum() },
        None => mantissa.signum(),
    }
}

#[cfg(test)]
mod tests;
