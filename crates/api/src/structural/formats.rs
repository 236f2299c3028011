//! The formats that a schema may ask a value to have. Dashes in their names do not count.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;

use regex::Regex;

mod mail;
mod uri;

pub use uri::{UrlParts, is_absolute_url, split_url};

/// Whether a format says something about a value of this type; others are ignored (and warned of).
pub fn is_recognized(kind: &str, format: &str) -> bool {
    match kind {
        "" | "string" => is_known(format),
        "integer" => matches!(format, "int32" | "int64"),
        "number" => matches!(format, "float" | "double"),
        _ => false,
    }
}

pub(super) use is_recognized as applies;

/// Whether it is a format of strings.
pub(super) fn is_known(format: &str) -> bool {
    check(format).is_some()
}

/// Whether a string has the format; formats that are not known take everything.
pub(super) fn matches(format: &str, text: &str) -> bool {
    check(format).is_none_or(|check| check(text))
}

fn check(format: &str) -> Option<fn(&str) -> bool> {
    let check: fn(&str) -> bool = match format.replace('-', "").as_str() {
        "bsonobjectid" => |text| text.len() == 24 && text.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "uri" => uri::is_request_uri,
        "email" => mail::is_address,
        "hostname" => is_hostname,
        "ipv4" => |text| text.contains('.') && parse_ip(text).is_some(),
        "ipv6" => |text| text.contains(':') && text.parse::<IpAddr>().is_ok(),
        "cidr" => is_cidr,
        "mac" => is_mac,
        "uuid" => |text| is_uuid(text, |_, _| true),
        "uuid3" => |text| is_uuid(text, |version, _| version == '3'),
        "uuid4" => |text| is_uuid(text, |version, variant| version == '4' && is_rfc_variant(variant)),
        "uuid5" => |text| is_uuid(text, |version, variant| version == '5' && is_rfc_variant(variant)),
        "isbn" => |text| is_isbn10(text) || is_isbn13(text),
        "isbn10" => is_isbn10,
        "isbn13" => is_isbn13,
        "creditcard" => is_credit_card,
        "ssn" => |text| text.len() == 11 && pattern(&SSN, text),
        "hexcolor" => |text| {
            let digits = text.strip_prefix('#').unwrap_or(text);
            matches!(digits.len(), 3 | 6) && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
        },
        "rgbcolor" => is_rgb_color,
        "byte" => is_base64,
        "password" => |_| true,
        "date" => is_date,
        "duration" => is_duration,
        "datetime" => is_date_time,
        "k8sshortname" => |text| text.len() <= 63 && is_name_segment(text),
        "k8slongname" => |text| text.len() <= 253 && text.split('.').all(is_name_segment),
        _ => return None,
    };
    Some(check)
}

/// A pattern of this file, which its test compiles.
type Lazy = LazyLock<Option<Regex>>;

static SSN: Lazy = LazyLock::new(|| Regex::new(r"^[0-9]{3}[- ]?[0-9]{2}[- ]?[0-9]{4}$").ok());
static HOST_LABEL: Lazy = LazyLock::new(|| Regex::new(r"^[a-zA-Z0-9\p{S}\p{L}](-?[a-zA-Z0-9\p{S}\p{L}]{0,62})$").ok());
static HOST_DOTTED: Lazy = LazyLock::new(|| {
    let letter = r"[a-zA-Z0-9\p{S}\p{L}]";
    Regex::new(&format!(r"^({letter}([-a-zA-Z0-9\p{{S}}\p{{L}}]{{0,61}}{letter})?\.)+\p{{L}}{{2,63}}$")).ok()
});
static CARD: Lazy = LazyLock::new(|| {
    let kinds = [
        "4[0-9]{12}([0-9]{3})?",
        "5[1-5][0-9]{14}",
        "6(011|5[0-9]{2})[0-9]{12}",
        "3[47][0-9]{13}",
        "3(0[0-5]|[68][0-9])[0-9]{11}",
        r"(2131|1800|35[0-9]{3})[0-9]{11}",
    ];
    Regex::new(&format!("^({})$", kinds.join("|"))).ok()
});
static WORDED_DURATION: Lazy = LazyLock::new(|| Regex::new(r"([0-9]+)\s*([A-Za-zµ]+)").ok());
static TIME_OF_DAY: Lazy =
    LazyLock::new(|| Regex::new(r"^([0-9]{2}):([0-9]{2}):([0-9]{2})(.[0-9]+)?(z|[+-][0-9]{2}:[0-9]{2})$").ok());

fn pattern(pattern: &Lazy, text: &str) -> bool {
    pattern.as_ref().is_some_and(|regex| regex.is_match(text))
}

fn is_hostname(text: &str) -> bool {
    (pattern(&HOST_LABEL, text) || pattern(&HOST_DOTTED, text))
        && text.len() <= 255
        && text.split('.').all(|label| label.len() <= 63)
}

/// An address whose IPv4 parts may have leading zeros.
fn parse_ip(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let mut octets = [0; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        let part = parts.next()?;
        if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *octet = part.parse().ok()?;
    }
    parts.next().is_none().then(|| Ipv4Addr::from(octets).into())
}

fn is_cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let max = match parse_ip(address) {
        Some(IpAddr::V4(_)) => 32,
        Some(IpAddr::V6(_)) => 128,
        None => return false,
    };
    length.bytes().all(|byte| byte.is_ascii_digit()) && length.parse::<u32>().is_ok_and(|length| length <= max)
}

/// 6, 8 or 20 bytes in pairs of digits, or in fours between dots.
fn is_mac(text: &str) -> bool {
    let separator = text.chars().find(|c| !c.is_ascii_hexdigit());
    let (Some(separator @ (':' | '-' | '.')), digits) = (separator, if text.contains('.') { 4 } else { 2 }) else {
        return false;
    };
    let groups: Vec<&str> = text.split(separator).collect();
    let fits = |group: &&str| group.len() == digits && group.bytes().all(|byte| byte.is_ascii_hexdigit());
    matches!(groups.len() * digits / 2, 6 | 8 | 20) && groups.iter().all(fits)
}

/// `version` and variant are the digits that begin the third and the fourth group.
fn is_uuid(text: &str, accepts: impl Fn(char, char) -> bool) -> bool {
    let mut rest = text;
    let mut firsts = [' '; 5];
    for (index, length) in [8, 4, 4, 4, 12].into_iter().enumerate() {
        if index > 0 {
            rest = rest.strip_prefix('-').unwrap_or(rest);
        }
        let Some((group, after)) = rest.split_at_checked(length) else { return false };
        if !group.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return false;
        }
        firsts[index] = group.chars().next().unwrap_or(' ').to_ascii_lowercase();
        rest = after;
    }
    rest.is_empty() && accepts(firsts[2], firsts[3])
}

fn is_rfc_variant(digit: char) -> bool {
    matches!(digit, '8' | '9' | 'a' | 'b')
}

fn without_blanks_and_dashes(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{c}' | '-')).collect()
}

fn is_isbn10(text: &str) -> bool {
    let text = without_blanks_and_dashes(text);
    let is_digit = |(at, c): (usize, char)| c.is_ascii_digit() || (at == 9 && c == 'X');
    if text.chars().count() != 10 || !text.chars().enumerate().all(is_digit) {
        return false;
    }
    let value = |c: char| c.to_digit(10).unwrap_or(10);
    text.chars().zip(1..).map(|(c, weight)| value(c) * weight).sum::<u32>().is_multiple_of(11)
}

fn is_isbn13(text: &str) -> bool {
    let text = without_blanks_and_dashes(text);
    if text.len() != 13 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return false;
    }
    let digits = text.bytes().map(|byte| u32::from(byte - b'0'));
    digits.zip([1, 3].into_iter().cycle()).map(|(digit, weight)| digit * weight).sum::<u32>().is_multiple_of(10)
}

fn is_credit_card(text: &str) -> bool {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let doubled = |digit: u32| if digit * 2 > 9 { digit * 2 - 9 } else { digit * 2 };
    let sum: u32 = digits
        .bytes()
        .rev()
        .map(|byte| u32::from(byte - b'0'))
        .enumerate()
        .map(|(at, digit)| if at % 2 == 1 { doubled(digit) } else { digit })
        .sum();
    pattern(&CARD, &digits) && sum.is_multiple_of(10)
}

fn is_rgb_color(text: &str) -> bool {
    let Some(parts) = text.strip_prefix("rgb(").and_then(|rest| rest.strip_suffix(')')) else { return false };
    let is_part = |part: &str| {
        let part = part.trim_matches([' ', '\t', '\n', '\r', '\u{c}']);
        let plain = part == "0" || !part.starts_with('0');
        plain && part.bytes().all(|byte| byte.is_ascii_digit()) && part.parse::<u8>().is_ok()
    };
    parts.split(',').count() == 3 && parts.split(',').all(is_part)
}

/// Base64 with its padding; at least one group.
fn is_base64(text: &str) -> bool {
    let digits = text.trim_end_matches('=');
    let padding = text.len() - digits.len();
    !text.is_empty()
        && text.len().is_multiple_of(4)
        && padding <= 2
        && digits.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}

fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    let fits = bytes.len() == 10
        && bytes.iter().zip(b"0000-00-00").all(|(byte, pattern)| match pattern {
            b'0' => byte.is_ascii_digit(),
            _ => byte == pattern,
        });
    fits && text.parse::<jiff::civil::Date>().is_ok()
}

fn is_date_time(text: &str) -> bool {
    let text = text.to_lowercase();
    let mut parts = text.split('t');
    let (Some(date), Some(time)) = (parts.next(), parts.next()) else { return false };
    let Some(found) = TIME_OF_DAY.as_ref().and_then(|regex| regex.captures(time)) else { return false };
    is_date(date) && &found[1] <= "23" && &found[2] <= "59" && &found[3] <= "59"
}

/// Durations as programs write them (`1h3m`) and as people do (`2 days`).
fn is_duration(text: &str) -> bool {
    const UNITS: [&[&str]; 8] = [
        &["ns", "nano"],
        &["us", "µs", "micro"],
        &["ms", "milli"],
        &["s", "sec"],
        &["m", "min"],
        &["h", "hr", "hour"],
        &["d", "day"],
        &["w", "wk", "week"],
    ];
    if is_go_duration(text) {
        return true;
    }
    let Some(regex) = WORDED_DURATION.as_ref() else { return false };
    let mut known = false;
    for found in regex.captures_iter(text) {
        if found[1].parse::<i64>().is_err() {
            return false;
        }
        let unit = found[2].to_lowercase();
        known |= UNITS.iter().any(|names| {
            names.contains(&unit.as_str()) || names.last().is_some_and(|longest| unit.starts_with(longest))
        });
    }
    known
}

/// `-1h15m30.918s`, `0`
fn is_go_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    let mut nanoseconds = 0.0;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(number_end);
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let scale = match unit {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 6e10,
            "h" => 3.6e12,
            _ => return false,
        };
        let is_number = number.matches('.').count() <= 1 && number.bytes().any(|byte| byte.is_ascii_digit());
        if !is_number {
            return false;
        }
        nanoseconds += number.parse::<f64>().unwrap_or(f64::INFINITY) * scale;
        rest = after;
    }
    !text.trim_start_matches(['-', '+']).is_empty() && nanoseconds < 9.223_372_036_854_775e18
}

fn is_name_segment(text: &str) -> bool {
    let is_end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    is_end(text.chars().next())
        && is_end(text.chars().next_back())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_compile() {
        for pattern in [&SSN, &HOST_LABEL, &HOST_DOTTED, &CARD, &WORDED_DURATION, &TIME_OF_DAY] {
            assert!(pattern.is_some());
        }
    }

    #[test]
    fn values_have_formats_or_not() {
        let cases: &[(&str, &[&str], &[&str])] = &[
            ("bsonobjectid", &["507f1f77bcf86cd799439011"], &["507f1f77bcf86cd79943901", "zz7f1f77bcf86cd799439011"]),
            (
                "uri",
                &["http://x/y", "/a/b", "*", "mailto:a@b", "http://[::1]:80/"],
                &["a/b", "", "http://a b/", "http://x:y/", "/%zz", ":x"],
            ),
            ("email", &["a@b.co", "Jo <jo@x.org>", "\"a b\"@x"], &["a", "a@", "@b", "a@b c", "a@b, c@d"]),
            ("hostname", &["ab", "a-b", "www.example.com", "a"], &["-a", "a_b", "www.example.c", "a..com"]),
            ("ipv4", &["1.2.3.4", "010.002.003.004", "::ffff:1.2.3.4"], &["1.2.3", "1.2.3.256", "::1"]),
            ("ipv6", &["::1", "2001:db8::1"], &["1.2.3.4", "::g"]),
            ("cidr", &["10.0.0.0/8", "::/0"], &["10.0.0.0", "10.0.0.0/33", "10.0.0.0/"]),
            (
                "mac",
                &["00:11:22:33:44:55", "00-11-22-33-44-55-66-77", "0011.2233.4455"],
                &["00:11", "00:11:22:33:44:5g", "001122334455"],
            ),
            ("uuid", &["123e4567-e89b-12d3-a456-426614174000", "123E4567E89B12D3A456426614174000"], &["123e4567"]),
            ("uuid3", &["123e4567-e89b-32d3-a456-426614174000"], &["123e4567-e89b-12d3-a456-426614174000"]),
            ("uuid4", &["123e4567-e89b-42d3-a456-426614174000"], &["123e4567-e89b-42d3-c456-426614174000"]),
            ("isbn", &["0321751043", "978-0321751041", "0-8044-2957-X"], &["0321751044", "9780321751042"]),
            ("creditcard", &["4111 1111 1111 1111"], &["4111 1111 1111 1112", "12"]),
            ("ssn", &["111-22-3333"], &["111223333", "11-222-3333x"]),
            ("hexcolor", &["#fff", "FFFFFF"], &["#ffff", "ggg"]),
            ("rgbcolor", &["rgb(0, 255,100)"], &["rgb(0,256,0)", "rgb(0,0)", "rgb(01,0,0)"]),
            ("byte", &["aGk=", "aGVs"], &["", "aGk", "a===", "!!!!"]),
            ("password", &["", "anything"], &[]),
            ("date", &["2020-02-29"], &["2021-02-29", "2020-1-1"]),
            (
                "date-time",
                &["2020-01-02T03:04:05Z", "2020-01-02t03:04:05.123+01:00"],
                &["2020-01-02", "2020-01-02T24:04:05Z", "2020-01-02T03:04:05"],
            ),
            ("duration", &["1h3m", "-1.5h", "0", "2 days", "5 minutes", "1w"], &["", "x", "1 parsec", "h"]),
            ("k8s-short-name", &["a-b"], &["A", "a.b", "-a"]),
            ("k8s-long-name", &["a.b-c"], &["a..b", "A"]),
        ];
        for (format, good, bad) in cases {
            good.iter().for_each(|text| assert!(matches(format, text), "{format}: {text}"));
            bad.iter().for_each(|text| assert!(!matches(format, text), "{format}: {text}"));
        }
        assert!(
            !is_recognized("string", "int32") && is_recognized("integer", "int32") && !is_recognized("object", "uri")
        );
    }
}
