//! The schedule of a CronJob: five fields (minute, hour, day of month, month, day of week) or a word that stands for them.
//! <https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#schedule-syntax>

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
const WORDS: &[&str] = &["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];
const EVERY: &str = "@every ";

/// What is wrong with a schedule, if anything, in upstream's words.
pub fn check(schedule: &str) -> Result<(), String> {
    let schedule = without_zone(schedule)?;
    if schedule.is_empty() {
        return Err("empty spec string".to_string());
    }
    if schedule.starts_with('@') {
        return word(schedule);
    }
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        let shown = fields.join(" ");
        return Err(format!("expected exactly {} fields, found {}: [{shown}]", FIELDS.len(), fields.len()));
    }
    fields.iter().zip(&FIELDS).try_for_each(|(field, bounds)| {
        field.split(',').filter(|part| !part.is_empty()).try_for_each(|part| range(part, bounds))
    })
}

/// Old schedules may begin with a time zone.
fn without_zone(schedule: &str) -> Result<&str, String> {
    let Some(rest) = schedule.strip_prefix("TZ=").or_else(|| schedule.strip_prefix("CRON_TZ=")) else {
        return Ok(schedule);
    };
    let (zone, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    super::cron_job::time_zone(zone).map_err(|error| format!("provided bad location {zone}: {error}"))?;
    Ok(rest.trim())
}

fn word(schedule: &str) -> Result<(), String> {
    if WORDS.contains(&schedule) {
        return Ok(());
    }
    let Some(duration) = schedule.strip_prefix(EVERY) else {
        return Err(format!("unrecognized descriptor: {schedule}"));
    };
    match parse_duration_nanos(duration) {
        Some(_) => Ok(()),
        None => {
            let duration = quote(duration);
            Err(format!("failed to parse duration {schedule}: time: invalid duration {duration}"))
        }
    }
}

/// `*`, a value or two with a hyphen between, and after a slash every how many.
fn range(text: &str, bounds: &Bounds) -> Result<(), String> {
    let mut parts = text.split('/');
    let (limits, step, more) = (parts.next().unwrap_or(""), parts.next(), parts.next());
    let mut ends = limits.split('-');
    let (first, last, too_many) = (ends.next().unwrap_or(""), ends.next(), ends.next());
    let (start, mut end) = if matches!(first, "*" | "?") {
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
    if step == Some(0) {
        return Err(format!("step of range should be a positive number: {text}"));
    }
    Ok(())
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
}
