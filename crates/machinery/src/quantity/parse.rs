//! Reading a quantity's text.

use super::{EXPONENT_MAX, Format, Quantity, divide_away};

/// Why a text is no quantity, in upstream's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

/// A text taken apart. The digits before the point have no leading zeros, unless there is only the zero.
struct Parts<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    suffix: &'a str,
}

pub(super) fn parse(text: &str) -> Result<Quantity, ParseError> {
    let parts = split(text)?;
    let (base, exponent, format) = suffix(parts.suffix).ok_or(ParseError::Suffix)?;
    let (mut mantissa, mut scale) = digits(parts.whole, parts.fraction);
    match base {
        Base::Ten => scale = scale.saturating_add(exponent),
        Base::Two => {
            let factor = 1i128 << exponent;
            while mantissa.checked_mul(factor).is_none() {
                mantissa = divide_away(mantissa, 1);
                scale = scale.saturating_add(1);
            }
            mantissa *= factor;
        }
    }
    if parts.negative {
        mantissa = -mantissa;
    }
    let mut quantity = Quantity::make(mantissa, scale, format);
    if format == Format::BinarySI {
        quantity = limit_binary(quantity);
    }
    if keeps_text(&parts, base, exponent) && text != quantity.to_string() {
        quantity.verbatim = Some(text.into());
    }
    Ok(quantity)
}

/// Binary quantities end at the largest i64, and fractions of one print as decimals.
fn limit_binary(quantity: Quantity) -> Quantity {
    let limit = Quantity::new(i64::MAX, Format::BinarySI);
    if quantity > limit {
        return limit;
    }
    if quantity < limit.neg() {
        return limit.neg();
    }
    if !quantity.is_zero() && quantity.exponent < 0 && quantity.scaled_value(0).unsigned_abs() <= 1 {
        return quantity.with_format(Format::DecimalSI);
    }
    quantity
}

/// Whether the API hands out the text as it came: digits that need no other suffix are not reworked, so that a sign, a leading
/// zero or the case of the exponent stay as they are.
fn keeps_text(parts: &Parts, base: Base, exponent: i32) -> bool {
    let digits = parts.whole.len() + parts.fraction.len();
    match base {
        Base::Ten => {
            let last = |n: usize| parts.whole.bytes().chain(parts.fraction.bytes()).rev().nth(n);
            let scale = i64::from(exponent) - parts.fraction.len() as i64;
            let thousands = (0..3).all(|n| last(n) == Some(b'0'));
            digits <= 18 && scale >= -9 && scale % 3 == 0 && !thousands && !parts.whole.starts_with('0')
        }
        Base::Two => {
            // 2^exponent has about exponent * 3 / 10 decimal digits, and 15 are safe.
            let safe = digits + exponent as usize * 3 / 10 < 15;
            safe && parts.fraction.is_empty() && parts.whole.parse::<u64>().is_ok_and(|value| value % 8 != 0)
        }
    }
}

fn split(text: &str) -> Result<Parts<'_>, ParseError> {
    if text.is_empty() {
        return Err(ParseError::Format);
    }
    let negative = text.starts_with('-');
    let rest = text.strip_prefix(['-', '+']).unwrap_or(text).trim_start_matches('0');
    let (whole, rest) = take(rest, |b| b.is_ascii_digit());
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => take(rest, |b| b.is_ascii_digit()),
        None => ("", rest),
    };
    let (_, tail) = take(rest, |b| b"eEinumkKMGTP".contains(&b));
    let tail = tail.strip_prefix(['-', '+']).unwrap_or(tail);
    if !tail.bytes().all(|b| b.is_ascii_digit()) {
        return Err(ParseError::Format);
    }
    Ok(Parts { negative, whole: if whole.is_empty() { "0" } else { whole }, fraction, suffix: rest })
}

fn take(text: &str, wanted: impl Fn(u8) -> bool) -> (&str, &str) {
    let end = text.bytes().position(|b| !wanted(b)).unwrap_or(text.len());
    text.split_at(end)
}

/// All digits as one number and the exponent that goes with it. Digits beyond the 38th are rounded away from zero.
fn digits(whole: &str, fraction: &str) -> (i128, i32) {
    let mut mantissa = 0i128;
    let (mut dropped, mut inexact) = (0usize, false);
    for digit in whole.bytes().chain(fraction.bytes()).map(|b| i128::from(b - b'0')) {
        let next = mantissa.checked_mul(10).and_then(|m| m.checked_add(digit)).filter(|_| dropped == 0);
        match next {
            Some(next) => mantissa = next,
            None => {
                dropped += 1;
                inexact |= digit != 0;
            }
        }
    }
    if inexact {
        mantissa = mantissa.saturating_add(1);
    }
    let scale = dropped as i64 - fraction.len() as i64;
    (mantissa, clamp(scale))
}

fn clamp(exponent: i64) -> i32 {
    exponent.clamp(i64::from(-EXPONENT_MAX), i64::from(EXPONENT_MAX)) as i32
}

#[derive(Clone, Copy)]
enum Base {
    Two,
    Ten,
}

fn suffix(text: &str) -> Option<(Base, i32, Format)> {
    let decimal = |exponent| Some((Base::Ten, exponent, Format::DecimalSI));
    let binary = |exponent| Some((Base::Two, exponent, Format::BinarySI));
    match text {
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "" => decimal(0),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(10),
        "Mi" => binary(20),
        "Gi" => binary(30),
        "Ti" => binary(40),
        "Pi" => binary(50),
        "Ei" => binary(60),
        _ => {
            let exponent: i64 = text.strip_prefix(['e', 'E'])?.parse().ok()?;
            Some((Base::Ten, clamp(exponent), Format::DecimalExponent))
        }
    }
}
