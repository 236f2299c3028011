//! Times as the API writes and reads them, and the short durations that people see in tables.

mod duration;
mod layout;

pub use duration::{parse_duration, parse_duration_nanos};

use jiff::Timestamp;

/// `2026-11-20T17:50:30Z`: what Time fields hold.
pub fn format_rfc3339_seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `2026-11-20T17:50:30.123456Z`: what MicroTime fields hold.
pub fn format_rfc3339_micros(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// Reads a Time field; a fraction of a second is allowed (and dropped when it is written again). The error is upstream's.
pub fn parse_rfc3339(text: &str) -> Result<Timestamp, String> {
    layout::parse(text, false)
}

/// The same as seconds since 1970 and nanoseconds after them: to the end of the year 9999, which a `Timestamp` stops short of.
pub fn parse_rfc3339_parts(text: &str) -> Result<(i64, i32), String> {
    layout::parse_parts(text, false)
}

/// Reads a MicroTime field, which must have six digits of a fraction.
pub fn parse_rfc3339_micros(text: &str) -> Result<Timestamp, String> {
    layout::parse(text, true)
}

/// How long something has lasted, in the two or three units that matter: "45s", "2m30s", "5h3m", "3d4h", "2y10d".
pub fn human_duration(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    let pair = |big: i64, big_unit: &str, small: i64, small_unit: &str| match small {
        0 => format!("{big}{big_unit}"),
        small => format!("{big}{big_unit}{small}{small_unit}"),
    };
    match seconds {
        // A clock that is a little ahead shows nothing odd, one far ahead is shown.
        ..=-2 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        s if s < 2 * MINUTE => format!("{s}s"),
        s if s < 10 * MINUTE => pair(s / MINUTE, "m", s % MINUTE, "s"),
        s if s < 3 * HOUR => format!("{}m", s / MINUTE),
        s if s < 8 * HOUR => pair(s / HOUR, "h", s / MINUTE % 60, "m"),
        s if s < 2 * DAY => format!("{}h", s / HOUR),
        s if s < 8 * DAY => pair(s / DAY, "d", s / HOUR % 24, "h"),
        s if s < 2 * YEAR => format!("{}d", s / DAY),
        s if s < 8 * YEAR => pair(s / YEAR, "y", s / DAY % 365, "d"),
        s => format!("{}y", s / YEAR),
    }
}

/// A column of ages: the time since `text`, or "<unknown>" where there is none.
pub fn age(text: Option<&str>, now: Timestamp) -> String {
    match text.map(parse_rfc3339) {
        Some(Ok(time)) => human_duration(now.duration_since(time).as_secs()),
        _ => "<unknown>".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_read_and_print() {
        let time = parse_rfc3339("2026-11-20T17:50:30.123456789+02:00").unwrap();
        assert_eq!(format_rfc3339_seconds(time), "2026-11-20T15:50:30Z");
        assert_eq!(format_rfc3339_micros(time), "2026-11-20T15:50:30.123456Z");
        assert_eq!(parse_rfc3339_micros("2026-11-20T15:50:30.123456Z").unwrap().subsec_nanosecond(), 123_456_000);
        assert_eq!(
            format_rfc3339_micros(parse_rfc3339("0001-01-01T00:00:00Z").unwrap()),
            "0001-01-01T00:00:00.000000Z"
        );
    }

    #[test]
    fn errors_are_upstreams() {
        for (text, want) in [
            ("x", r#"parsing time "x" as "2006-01-02T15:04:05Z07:00": cannot parse "x" as "2006""#),
            ("", r#"parsing time "" as "2006-01-02T15:04:05Z07:00": cannot parse "" as "2006""#),
            ("2024", r#"parsing time "2024" as "2006-01-02T15:04:05Z07:00": cannot parse "" as "-""#),
            (
                "2024-1-01T00:00:00Z",
                r#"parsing time "2024-1-01T00:00:00Z" as "2006-01-02T15:04:05Z07:00": cannot parse "1-01T00:00:00Z" as "01""#,
            ),
            ("2024-13-01T00:00:00Z", r#"parsing time "2024-13-01T00:00:00Z": month out of range"#),
            ("2024-02-30T00:00:00Z", r#"parsing time "2024-02-30T00:00:00Z": day out of range"#),
            ("2024-02-01T00:00:60Z", r#"parsing time "2024-02-01T00:00:60Z": second out of range"#),
            (
                "2024-02-01T00:00:00",
                r#"parsing time "2024-02-01T00:00:00" as "2006-01-02T15:04:05Z07:00": cannot parse "" as "Z07:00""#,
            ),
            ("2024-02-01T00:00:00Zx", r#"parsing time "2024-02-01T00:00:00Zx": extra text: "x""#),
        ] {
            assert_eq!(parse_rfc3339(text).unwrap_err(), want);
        }
        assert_eq!(
            parse_rfc3339_micros("2024-01-01T00:00:01.5Z").unwrap_err(),
            r#"parsing time "2024-01-01T00:00:01.5Z" as "2006-01-02T15:04:05.000000Z07:00": cannot parse ".5Z" as ".000000""#
        );
    }

    #[test]
    fn durations_are_short() {
        for (seconds, want) in [
            (-5, "<invalid>"),
            (-1, "0s"),
            (119, "119s"),
            (120, "2m"),
            (150, "2m30s"),
            (600, "10m"),
            (3 * 3600 + 60, "3h1m"),
            (8 * 3600, "8h"),
            (2 * 86400, "2d"),
            (2 * 86400 + 3600, "2d1h"),
            (100 * 86400, "100d"),
            (800 * 86400, "2y70d"),
            (4000 * 86400, "10y"),
        ] {
            assert_eq!(human_duration(seconds), want);
        }
        let now = parse_rfc3339("2024-01-01T00:01:00Z").unwrap();
        assert_eq!(age(Some("2024-01-01T00:00:00Z"), now), "60s");
        assert_eq!(age(None, now), "<unknown>");
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in "\\PC*", near in "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.,][0-9]{0,12})?(Z|[-+][0-9]{2}:[0-9]{2})") {
            let _ = parse_rfc3339(&text);
            let _ = parse_rfc3339(&near);
            let _ = parse_rfc3339_micros(&near);
        }
    }
}
