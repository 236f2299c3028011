//! The schedule of a CronJob: five fields (minute, hour, day of month, month, day of week) or a word that stands for them.
//! <https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#schedule-syntax>
//!
//! A time is sought by walking: from the next minute on, over whole months, days and hours that do not match. `0 2 * * *` after
//! the second of March 03:10 looks at 03:11, sees that no hour but the second matches, and so at 04:00 and each hour until
//! 02:00 of the third. Each step is one of time, not of the clock on the wall: an hour that a zone leaves out has no times, and
//! one that it has twice has them twice.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};
use machinery::go_text::quote;
use machinery::time::parse_duration_nanos;

/// What a field may hold.
struct Bounds {
    min: u32,
    max: u32,
    /// Names of values, from `min` on.
    names: &'static [&'static str],
}

const FIELDS: [Bounds; 5] = [
    Bounds { min: 0, max: 59, names: &[] },
    Bounds { min: 0, max: 23, names: &[] },
    Bounds { min: 1, max: 31, names: &[] },
    Bounds {
        min: 1,
        max: 12,
        names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    },
    Bounds { min: 0, max: 6, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] },
];
const WORDS: &[(&str, &str)] = &[
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];
const EVERY: &str = "@every ";
/// The 29th of February may be eight years away; what did not come by then never does.
const YEARS_MAX: i16 = 8;

/// A schedule.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// The zone that it names itself.
    zone: Option<TimeZone>,
    times: Times,
}

#[derive(Clone, Debug)]
enum Times {
    Fields([Field; 5]),
    /// `@every`.
    Every(SignedDuration),
}

/// The values of one field, as bits.
#[derive(Clone, Copy, Debug, Default)]
struct Field {
    values: u64,
    /// It was `*` or `?`: of the two kinds of days only the other one counts.
    is_any: bool,
}

impl Field {
    fn has(self, value: i8) -> bool {
        u32::try_from(value).is_ok_and(|value| self.values & (1 << value) != 0)
    }
}

/// What is wrong with a schedule, if anything, in upstream's words.
pub fn check(schedule: &str) -> Result<(), String> {
    Schedule::parse(schedule).map(drop)
}

impl Schedule {
    /// Reads a schedule; what is wrong with it is said in upstream's words.
    pub fn parse(schedule: &str) -> Result<Self, String> {
        let (zone, schedule) = split_zone(schedule)?;
        if schedule.is_empty() {
            return Err("empty spec string".to_string());
        }
        let times = if schedule.starts_with('@') { word(schedule)? } else { fields(schedule)? };
        Ok(Self { zone, times })
    }

    /// The first time after `after`, by the clocks of `zone` unless the schedule names one itself. None if there is no such
    /// time, as for the 31st of February.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let fields = match &self.times {
            Times::Every(duration) => return after.checked_add(*duration).ok(),
            Times::Fields(fields) => fields,
        };
        let zone = self.zone.as_ref().unwrap_or(zone);
        let second = after.as_second();
        let mut at = Timestamp::from_second(second - second.rem_euclid(60) + 60).ok()?.to_zoned(zone.clone());
        let year_max = at.year().saturating_add(YEARS_MAX);
        while at.year() <= year_max {
            match step(fields, &at)? {
                Some(later) => at = later,
                None => return Some(at.timestamp()),
            }
        }
        None
    }
}

/// Where to look after `at`; nowhere if it matches. None at the end of time.
fn step([minute, hour, day, month, weekday]: &[Field; 5], at: &Zoned) -> Option<Option<Zoned>> {
    let midnight = |date: jiff::civil::Date| date.to_zoned(at.time_zone().clone()).ok();
    let minutes = |count: i8| at.checked_add(SignedDuration::from_mins(count.into())).ok();
    let (on_day, on_weekday) = (day.has(at.day()), weekday.has(at.weekday().to_sunday_zero_offset()));
    let is_day = if day.is_any || weekday.is_any { on_day && on_weekday } else { on_day || on_weekday };
    Some(if !month.has(at.month()) {
        Some(midnight(at.date().last_of_month().tomorrow().ok()?)?)
    } else if !is_day {
        Some(midnight(at.date().tomorrow().ok()?)?)
    } else if !hour.has(at.hour()) {
        Some(minutes(60 - at.minute())?)
    } else if !minute.has(at.minute()) {
        Some(minutes(1)?)
    } else {
        None
    })
}

/// Old schedules may begin with a time zone.
fn split_zone(schedule: &str) -> Result<(Option<TimeZone>, &str), String> {
    let Some(rest) = schedule.strip_prefix("TZ=").or_else(|| schedule.strip_prefix("CRON_TZ=")) else {
        return Ok((None, schedule));
    };
    let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let zone = super::cron_job::time_zone(name).map_err(|error| format!("provided bad location {name}: {error}"))?;
    Ok((zone, rest.trim()))
}

fn word(schedule: &str) -> Result<Times, String> {
    if let Some((_, stands_for)) = WORDS.iter().find(|(word, _)| *word == schedule) {
        return fields(stands_for);
    }
    let Some(duration) = schedule.strip_prefix(EVERY) else {
        return Err(format!("unrecognized descriptor: {schedule}"));
    };
    match parse_duration_nanos(duration) {
        // Whole seconds, and one at the least.
        Some(nanos) => Ok(Times::Every(SignedDuration::from_secs((nanos / 1_000_000_000).max(1)))),
        None => {
            let duration = quote(duration);
            Err(format!("failed to parse duration {schedule}: time: invalid duration {duration}"))
        }
    }
}

fn fields(schedule: &str) -> Result<Times, String> {
    let texts: Vec<&str> = schedule.split_whitespace().collect();
    if texts.len() != FIELDS.len() {
        let shown = texts.join(" ");
        return Err(format!("expected exactly {} fields, found {}: [{shown}]", FIELDS.len(), texts.len()));
    }
    let mut fields = [Field::default(); 5];
    for ((field, text), bounds) in fields.iter_mut().zip(texts).zip(&FIELDS) {
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let part = range(part, bounds)?;
            field.values |= part.values;
            field.is_any |= part.is_any;
        }
    }
    Ok(Times::Fields(fields))
}

/// `*`, a value or two with a hyphen between, and after a slash every how many.
fn range(text: &str, bounds: &Bounds) -> Result<Field, String> {
    let mut parts = text.split('/');
    let (limits, step, more) = (parts.next().unwrap_or(""), parts.next(), parts.next());
    let mut ends = limits.split('-');
    let (first, last, too_many) = (ends.next().unwrap_or(""), ends.next(), ends.next());
    let is_any = matches!(first, "*" | "?");
    let (start, mut end) = if is_any {
        (bounds.min, bounds.max)
    } else {
        let start = value(first, bounds)?;
        match (last, too_many) {
            (_, Some(_)) => return Err(format!("too many hyphens: {text}")),
            (Some(last), None) => (start, value(last, bounds)?),
            (None, None) => (start, start),
        }
    };
    if more.is_some() {
        return Err(format!("too many slashes: {text}"));
    }
    let step = step.map(number).transpose()?;
    if step.is_some() && last.is_none() {
        end = bounds.max;
    }
    if start < bounds.min {
        return Err(format!("beginning of range ({start}) below minimum ({}): {text}", bounds.min));
    }
    if end > bounds.max {
        return Err(format!("end of range ({end}) above maximum ({}): {text}", bounds.max));
    }
    if start > end {
        return Err(format!("beginning of range ({start}) beyond end of range ({end}): {text}"));
    }
    let step = step.unwrap_or(1);
    if step == 0 {
        return Err(format!("step of range should be a positive number: {text}"));
    }
    let values = (start..=end).step_by(step as usize).fold(0, |values, value| values | 1 << value);
    // `*/2` means some days, and is asked with the other kind of days as any choice is.
    Ok(Field { values, is_any: is_any && step == 1 })
}

fn value(text: &str, bounds: &Bounds) -> Result<u32, String> {
    let name = text.to_ascii_lowercase();
    match (bounds.min..).zip(bounds.names).find(|(_, own)| **own == name) {
        Some((value, _)) => Ok(value),
        None => number(text),
    }
}

fn number(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let fault = if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        "invalid syntax"
    } else {
        match text.parse::<i64>() {
            Ok(negative @ ..0) => return Err(format!("negative number ({negative}) not allowed: {text}")),
            // Nothing that is counted here reaches so far.
            Ok(number) => return Ok(u32::try_from(number).unwrap_or(u32::MAX)),
            Err(_) => "value out of range",
        }
    };
    Err(format!("failed to parse int from {text}: strconv.Atoi: parsing {}: {fault}", quote(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_hold_values_names_ranges_and_steps() {
        for schedule in [
            "* * * * *",
            "*/5 0-6,12 1,15 JAN-mar sun",
            "? 3/2 * * Mon-Fri",
            "@hourly",
            "@every 1h30m",
            "TZ=Europe/Berlin 0 0 * * *",
        ] {
            assert_eq!(check(schedule), Ok(()), "{schedule}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (schedule, expected) in [
            ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("5-3 * * * *", "beginning of range (5) beyond end of range (3): 5-3"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
            ("1/2/3 * * * *", "too many slashes: 1/2/3"),
            ("a * * * *", "failed to parse int from a: strconv.Atoi: parsing \"a\": invalid syntax"),
            ("@often", "unrecognized descriptor: @often"),
            ("@every x", "failed to parse duration @every x: time: invalid duration \"x\""),
            ("TZ=Nowhere 0 0 * * *", "provided bad location Nowhere: unknown time zone Nowhere"),
        ] {
            assert_eq!(check(schedule), Err(expected.to_string()), "{schedule}");
        }
    }
    /// The times that follow, in a zone.
    fn times(schedule: &str, after: &str, zone: &str, count: usize) -> Vec<String> {
        let (schedule, zone) = (Schedule::parse(schedule).unwrap(), TimeZone::get(zone).unwrap());
        let mut at: Timestamp = after.parse().unwrap();
        let next = |_| {
            at = schedule.next(at, &zone).expect("there is a time");
            at.to_string()
        };
        (0..count).map(next).collect()
    }

    #[test]
    fn the_next_times_follow_from_the_fields() {
        for (schedule, expected) in [
            ("* * * * *", ["2026-01-31T23:59:00Z", "2026-02-01T00:00:00Z"]),
            ("*/20 3,5 * * *", ["2026-02-01T03:00:00Z", "2026-02-01T03:20:00Z"]),
            ("@hourly", ["2026-02-01T00:00:00Z", "2026-02-01T01:00:00Z"]),
            ("@daily", ["2026-02-01T00:00:00Z", "2026-02-02T00:00:00Z"]),
            ("@weekly", ["2026-02-01T00:00:00Z", "2026-02-08T00:00:00Z"]),
            ("@yearly", ["2027-01-01T00:00:00Z", "2028-01-01T00:00:00Z"]),
            ("0 0 29 feb *", ["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]),
            // Either kind of day, but both where one is only `*`.
            ("0 0 13 * fri", ["2026-02-06T00:00:00Z", "2026-02-13T00:00:00Z"]),
            ("0 0 * 3 mon", ["2026-03-02T00:00:00Z", "2026-03-09T00:00:00Z"]),
            ("0 0 */2 3 mon", ["2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z"]),
            ("@every 90m", ["2026-02-01T01:28:30Z", "2026-02-01T02:58:30Z"]),
            ("TZ=Asia/Tokyo 0 9 * * *", ["2026-02-01T00:00:00Z", "2026-02-02T00:00:00Z"]),
        ] {
            assert_eq!(times(schedule, "2026-01-31T23:58:30Z", "UTC", 2), expected, "{schedule}");
        }
        let never = Schedule::parse("0 0 31 2 *").unwrap();
        assert_eq!(never.next(Timestamp::UNIX_EPOCH, &TimeZone::UTC), None);
    }

    #[test]
    fn an_hour_that_is_left_out_has_no_times_and_one_that_comes_twice_has_them_twice() {
        let in_berlin = |schedule, after| times(schedule, after, "Europe/Berlin", 2);
        let spring = ["2026-03-30T00:30:00Z", "2026-03-31T00:30:00Z"];
        assert_eq!(in_berlin("30 2 * * *", "2026-03-28T02:00:00Z"), spring);
        let autumn = ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"];
        assert_eq!(in_berlin("30 2 * * *", "2026-10-24T02:00:00Z"), autumn);
    }
}
