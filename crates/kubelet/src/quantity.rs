//! Resource amounts as the node reckons with them: thousandths, rounded up. The API server has already checked the text.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// Thousandths of a quantity, rounded up; zero for what cannot be read.
pub fn milli(quantity: &Quantity) -> i128 {
    parse_milli(&quantity.0).unwrap_or(0)
}

/// Whole units of a quantity, rounded up.
pub fn value(quantity: &Quantity) -> i64 {
    let milli = milli(quantity);
    i64::try_from(milli.div_euclid(1000) + i128::from(milli.rem_euclid(1000) > 0)).unwrap_or(i64::MAX)
}

/// Reads `100m`, `1.5Gi`, `2e3`; None for anything else.
pub fn parse_milli(text: &str) -> Option<i128> {
    let digits = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-'))).unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let (negative, number) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    // number = mantissa / 10^fraction.len(); the suffix multiplies by numerator / denominator.
    let mantissa: i128 = format!("{whole}{fraction}").parse().ok()?;
    let (mut numerator, mut denominator): (i128, i128) = match suffix {
        "" => (1, 1),
        "n" => (1, 1_000_000_000),
        "u" => (1, 1_000_000),
        "m" => (1, 1_000),
        "k" => (1_000, 1),
        "M" => (1_000_000, 1),
        "G" => (1_000_000_000, 1),
        "T" => (1_000_000_000_000, 1),
        "P" => (1_000_000_000_000_000, 1),
        "E" => (1_000_000_000_000_000_000, 1),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        "Pi" => (1 << 50, 1),
        "Ei" => (1 << 60, 1),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            let power = 10i128.checked_pow(exponent.unsigned_abs())?;
            if exponent >= 0 { (power, 1) } else { (1, power) }
        }
    };
    denominator = denominator.checked_mul(10i128.checked_pow(u32::try_from(fraction.len()).ok()?)?)?;
    numerator = numerator.checked_mul(1000)?;
    let scaled = mantissa.checked_mul(numerator)?;
    let rounded_up = scaled / denominator + i128::from(scaled % denominator != 0);
    Some(if negative { -rounded_up } else { rounded_up })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_family() {
        let cases = [
            ("100m", 100),
            ("1", 1000),
            ("1.5Gi", 1_610_612_736_000),
            ("2e3", 2_000_000),
            ("1n", 1),
            ("-1k", -1_000_000),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_milli(text), Some(expected), "{text}");
        }
        assert_eq!(parse_milli("abc"), None);
        assert_eq!(parse_milli(""), None);
        assert_eq!(value(&Quantity("1500m".into())), 2);
    }
}
