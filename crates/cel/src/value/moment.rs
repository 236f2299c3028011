//! Moments: the years 1 to 9999, to the nanosecond.
//!
//! `jiff`'s own timestamps end a day before the year 9999 does, and `9999-12-31T23:59:59Z` is what people write for "forever".

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};
use machinery::time::parse_rfc3339_parts;

use crate::errors::EvalError;

const SECONDS_MIN: i64 = -62_135_596_800;
const SECONDS_MAX: i64 = 253_402_300_799;
const NANOS: i128 = 1_000_000_000;
/// The calendar, with its days of the week, comes back after 400 years.
const CYCLE_YEARS: i16 = 400;
const CYCLE_SECONDS: i64 = 146_097 * 86_400;

/// A moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// Nanoseconds since 1970.
    nanos: i128,
}

impl Moment {
    /// The zero of moments: the first second of the year 1.
    pub(crate) const ZERO: Moment = Moment { nanos: SECONDS_MIN as i128 * NANOS };

    /// Nanoseconds since 1970 as a moment, if the years reach that far.
    pub fn from_nanos(nanos: i128) -> Option<Self> {
        let seconds = nanos.div_euclid(NANOS);
        let in_range = (i128::from(SECONDS_MIN)..=i128::from(SECONDS_MAX)).contains(&seconds);
        in_range.then_some(Moment { nanos })
    }

    /// RFC 3339 text as a moment.
    pub fn parse(text: &str) -> Option<Self> {
        let (seconds, nanos) = parse_rfc3339_parts(text).ok()?;
        Moment::from_nanos(i128::from(seconds) * NANOS + i128::from(nanos))
    }

    /// Nanoseconds since 1970.
    pub fn nanos(self) -> i128 {
        self.nanos
    }

    /// Whole seconds since 1970, rounded down.
    pub fn seconds(self) -> i64 {
        self.nanos.div_euclid(NANOS) as i64
    }

    /// What clocks and calendars show, in UTC or in a zone: `Europe/Berlin`, `+02:30`.
    pub(crate) fn in_zone(self, zone: Option<&str>) -> Result<DateTime, EvalError> {
        // One cycle earlier all is the same but for the year.
        let (shift_years, shift_seconds) =
            if self.seconds() > SECONDS_MAX - CYCLE_SECONDS { (CYCLE_YEARS, CYCLE_SECONDS) } else { (0, 0) };
        let subsecond = self.nanos.rem_euclid(NANOS) as i32;
        let out_of_range = |_| EvalError::new("timestamp overflow");
        let time = Timestamp::new(self.seconds() - shift_seconds, 0).map_err(out_of_range)?;
        let shown = match zone {
            None | Some("" | "UTC") => Offset::UTC.to_datetime(time),
            Some(zone) => match zone.split_once(':') {
                Some((hours, minutes)) => fixed_offset(zone, hours, minutes)?.to_datetime(time),
                None => {
                    let unknown = |_| EvalError::new(format!("unknown time zone {zone}"));
                    TimeZone::get(zone).map_err(unknown)?.to_datetime(time)
                }
            },
        };
        let shown = shown + SignedDuration::from_nanos(i64::from(subsecond));
        let year = (shown.year() + shift_years).min(9999);
        shown.with().year(year).build().map_err(out_of_range)
    }
}

fn fixed_offset(zone: &str, hours: &str, minutes: &str) -> Result<Offset, EvalError> {
    let number = |text: &str| {
        let syntax =
            || EvalError::new(format!("strconv.Atoi: parsing {}: invalid syntax", machinery::go_text::quote(text)));
        text.parse::<i32>().map_err(|_| syntax())
    };
    let (hour, minute) = (number(hours)?, number(minutes)?);
    let minute = if hours.starts_with('-') { minute.saturating_neg() } else { minute };
    let seconds = hour.saturating_mul(60).saturating_add(minute).saturating_mul(60);
    Offset::from_seconds(seconds).map_err(|_| EvalError::new(format!("unknown time zone {zone}")))
}

/// RFC 3339 with as many digits of a second as there are.
impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = self.in_zone(None).map_err(|_| std::fmt::Error)?;
        write!(f, "{}", shown.strftime("%Y-%m-%dT%H:%M:%S"))?;
        let nanos = shown.subsec_nanosecond();
        if nanos != 0 {
            write!(f, ".{}", format!("{nanos:09}").trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}
