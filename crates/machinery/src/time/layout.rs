//! Reading RFC 3339 element by element, because the error names the element at which reading stopped.

use crate::go_text::quote;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::civil::date;

const EPOCH: Date = date(1970, 1, 1);

struct Reader<'a> {
    text: &'a str,
    rest: &'a str,
    micros: bool,
}

pub(super) fn parse(text: &str, micros: bool) -> Result<Timestamp, String> {
    let (seconds, nanos) = parse_parts(text, micros)?;
    Timestamp::new(seconds, nanos).map_err(|_| format!("parsing time {}: year out of range", quote(text)))
}

/// Seconds since 1970 and nanoseconds after them.
pub(super) fn parse_parts(text: &str, micros: bool) -> Result<(i64, i32), String> {
    let mut r = Reader { text, rest: text, micros };
    let year = r.digits("2006", 4)?;
    r.literal("-")?;
    let month = r.number("01", "month", 1, 12)?;
    r.literal("-")?;
    let day = r.digits("02", 2)?;
    r.literal("T")?;
    let hour = r.hour()?;
    r.literal(":")?;
    let minute = r.number("04", "minute", 0, 59)?;
    r.literal(":")?;
    let second = r.number("05", "second", 0, 59)?;
    let nanosecond = r.fraction()?;
    let offset = r.zone()?;
    if !r.rest.is_empty() {
        return Err(r.message(&format!("extra text: {}", quote(r.rest))));
    }
    let date = Date::new(year as i16, month as i8, day as i8).map_err(|_| r.message("day out of range"))?;
    let days = date.since(EPOCH).map_err(|_| r.message("year out of range"))?.get_days();
    let of_day = hour * 3600 + minute * 60 + second;
    Ok((i64::from(days) * 86_400 + i64::from(of_day) - i64::from(offset), nanosecond as i32))
}

impl<'a> Reader<'a> {
    fn layout(&self) -> &'static str {
        if self.micros { "2006-01-02T15:04:05.000000Z07:00" } else { "2006-01-02T15:04:05Z07:00" }
    }

    fn unexpected(&self, element: &str) -> String {
        let (text, rest) = (quote(self.text), quote(self.rest));
        format!("parsing time {text} as {}: cannot parse {rest} as {}", quote(self.layout()), quote(element))
    }

    fn message(&self, message: &str) -> String {
        format!("parsing time {}: {message}", quote(self.text))
    }

    fn literal(&mut self, text: &str) -> Result<(), String> {
        self.rest = self.rest.strip_prefix(text).ok_or_else(|| self.unexpected(text))?;
        Ok(())
    }

    fn digits(&mut self, element: &str, count: usize) -> Result<u32, String> {
        let digits = self.rest.get(..count).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
        let value = digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| self.unexpected(element))?;
        self.rest = &self.rest[count..];
        Ok(value)
    }

    fn number(&mut self, element: &str, name: &str, min: u32, max: u32) -> Result<u32, String> {
        let value = self.digits(element, 2)?;
        if (min..=max).contains(&value) { Ok(value) } else { Err(self.message(&format!("{name} out of range"))) }
    }

    /// Hours alone may have one digit.
    fn hour(&mut self) -> Result<u32, String> {
        let second_digit = self.rest.as_bytes().get(1).is_some_and(u8::is_ascii_digit);
        let value = self.digits("15", if second_digit { 2 } else { 1 })?;
        if value < 24 { Ok(value) } else { Err(self.message("hour out of range")) }
    }

    /// The fraction of a second in nanoseconds; digits beyond the ninth are dropped.
    fn fraction(&mut self) -> Result<u32, String> {
        let starts = self.rest.starts_with(['.', ',']);
        let digits = self.rest.bytes().skip(1).take_while(u8::is_ascii_digit).count();
        let wanted = match self.micros {
            true if starts && digits >= 6 => 6,
            true => return Err(self.unexpected(".000000")),
            false if starts && digits > 0 => digits,
            false => return Ok(0),
        };
        let (fraction, rest) = self.rest[1..].split_at(wanted);
        self.rest = rest;
        let padded = format!("{:0<9}", &fraction[..wanted.min(9)]);
        padded.parse().map_err(|_| self.message("fractional second out of range"))
    }

    /// Seconds east of UTC.
    fn zone(&mut self) -> Result<i32, String> {
        if let Some(rest) = self.rest.strip_prefix('Z') {
            self.rest = rest;
            return Ok(0);
        }
        let number = |digits: Option<&str>| {
            digits.filter(|d| d.bytes().all(|b| b.is_ascii_digit())).and_then(|d| d.parse::<i32>().ok())
        };
        let parts = (self.rest.get(..1), number(self.rest.get(1..3)), self.rest.get(3..4), number(self.rest.get(4..6)));
        let (Some(sign @ ("+" | "-")), Some(hours), Some(":"), Some(minutes)) = parts else {
            return Err(self.unexpected("Z07:00"));
        };
        if hours > 24 {
            return Err(self.message("time zone offset hour out of range"));
        }
        if minutes > 60 {
            return Err(self.message("time zone offset minute out of range"));
        }
        self.rest = &self.rest[6..];
        let seconds = hours * 3600 + minutes * 60;
        Ok(if sign == "-" { -seconds } else { seconds })
    }
}
