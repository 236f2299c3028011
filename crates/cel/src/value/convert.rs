//! Numbers, times and durations as text, and back, as upstream's language reads and prints them.

use jiff::Timestamp;
use machinery::time::parse_rfc3339;

const SECONDS_MIN: i64 = -62_135_596_800;
const SECONDS_MAX: i64 = 253_402_300_799;

/// Whether a moment is within the years 1 to 9999.
pub(crate) fn timestamp_in_range(time: Timestamp) -> bool {
    (SECONDS_MIN..=SECONDS_MAX).contains(&time.as_second())
}

/// RFC 3339 text as a moment.
pub(crate) fn parse_timestamp(text: &str) -> Option<Timestamp> {
    parse_rfc3339(text).ok().filter(|time| timestamp_in_range(*time))
}

/// RFC 3339 with as many digits of a second as there are.
pub(crate) fn timestamp_text(time: Timestamp) -> String {
    let mut text = time.strftime("%Y-%m-%dT%H:%M:%S").to_string();
    let nanos = time.as_nanosecond().rem_euclid(1_000_000_000);
    if nanos != 0 {
        text.push('.');
        text.push_str(format!("{nanos:09}").trim_end_matches('0'));
    }
    text.push('Z');
    text
}

/// Seconds: `1.5s`.
pub(crate) fn duration_text(nanos: i64) -> String {
    format!("{}s", nanos as f64 / 1e9)
}

/// `1h30m`, `-1.5s`, `100us` as nanoseconds.
pub(crate) fn parse_duration(text: &str) -> Option<i64> {
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
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let whole_length = rest.bytes().take_while(u8::is_ascii_digit).count();
        let whole = if whole_length == 0 { 0 } else { rest[..whole_length].parse::<u64>().ok()? };
        rest = &rest[whole_length..];
        let mut fraction = "";
        if let Some(after) = rest.strip_prefix('.') {
            let length = after.bytes().take_while(u8::is_ascii_digit).count();
            (fraction, rest) = after.split_at(length);
        }
        if whole_length == 0 && fraction.is_empty() {
            return None;
        }
        let unit_length = rest.bytes().take_while(|b| *b != b'.' && !b.is_ascii_digit()).count();
        let unit = unit_nanos(rest.get(..unit_length)?)?;
        rest = &rest[unit_length..];
        total = total.checked_add(whole.checked_mul(unit)?)?;
        if !fraction.is_empty() {
            let part = format!("0.{fraction}").parse::<f64>().ok()? * unit as f64;
            total = total.checked_add(part as u64)?;
        }
        if total > 1 << 63 {
            return None;
        }
    }
    match negative {
        true if total == 1 << 63 => Some(i64::MIN),
        true => i64::try_from(total).ok().map(|total| -total),
        false => i64::try_from(total).ok(),
    }
}

fn unit_nanos(unit: &str) -> Option<u64> {
    Some(match unit {
        "ns" => 1,
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// A float in the shortest form that reads back (`%g`).
pub(crate) fn float_text(value: f64) -> String {
    if value.is_infinite() {
        return if value < 0.0 { "-Inf" } else { "+Inf" }.to_owned();
    }
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value == 0.0 {
        return if value.is_sign_negative() { "-0" } else { "0" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    match exponent.parse::<i32>() {
        Ok(exponent) if !(-4..6).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{mantissa}e{sign}{:02}", exponent.abs())
        }
        _ => value.to_string(),
    }
}
