//! Lengths of time as Go writes them: `1h2m3.5s`, `300ms`, `-1.5h`.

use std::time::Duration;

/// Nanoseconds of a duration's text; `None` if it is none or out of range. A bare number is only good when it is 0.
pub fn parse_duration_nanos(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let (whole, behind) = digits(rest);
        let (fraction, behind) = behind.strip_prefix('.').map_or(("", behind), digits);
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let (unit, nanos) = UNITS.iter().find(|(unit, _)| behind.starts_with(unit))?;
        rest = &behind[unit.len()..];
        let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()? };
        // Digits beyond the unit's own precision change nothing.
        let fraction = &fraction[..fraction.len().min(15)];
        let part = if fraction.is_empty() { 0 } else { fraction.parse::<i128>().ok()? };
        total += i128::from(whole) * nanos + part * nanos / 10i128.pow(fraction.len() as u32);
        if total > i128::from(i64::MAX) + 1 {
            return None;
        }
    }
    i64::try_from(if negative { -total } else { total }).ok()
}

/// A duration that is not negative.
pub fn parse_duration(text: &str) -> Option<Duration> {
    u64::try_from(parse_duration_nanos(text)?).ok().map(Duration::from_nanos)
}

/// A unit that another one begins with stands behind it.
const UNITS: &[(&str, i128)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_reads() {
        for (text, nanos) in [
            ("0", 0),
            ("-0", 0),
            ("5s", 5_000_000_000),
            ("1h2m3.5s", 3_723_500_000_000),
            ("300ms", 300_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("-1.5h", -5_400_000_000_000),
            ("+1us2µs3μs", 6_000),
            ("1.0000000001s", 1_000_000_000),
            ("0.3333333333333333333h", 1_199_999_999_999),
            ("9223372036854775807ns", i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
        ] {
            assert_eq!(parse_duration_nanos(text), Some(nanos), "{text}");
        }
        for text in
            ["", "5", "-", "+", "s", ".s", "1", "1x", "1.2.3s", "3 s", "9223372036854775808ns", "9999999999h", "1s-1s"]
        {
            assert_eq!(parse_duration_nanos(text), None, "{text}");
        }
        assert_eq!(parse_duration("-1s"), None);
        assert_eq!(parse_duration("1.5s"), Some(Duration::from_millis(1500)));
    }
}
