//! The CRI log format, one write a line: `2026-11-20T20:30:00.123456789Z stdout F hello`. A `P` instead of the `F`
//! marks a partial line, whose end follows.

use jiff::Timestamp;

/// One line of a log file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line<'a> {
    /// When it was written, as the runtime wrote it.
    pub time: &'a str,
    /// stdout or stderr.
    pub stream: &'a str,
    /// More of the same line follows.
    pub partial: bool,
    /// What was written.
    pub content: &'a str,
}

impl Line<'_> {
    /// The time, if it can be read.
    pub fn timestamp(&self) -> Option<Timestamp> {
        self.time.parse().ok()
    }

    /// The content with its line end, unless the line goes on.
    pub fn text(&self) -> String {
        if self.partial { self.content.to_owned() } else { format!("{}\n", self.content) }
    }
}

/// Reads one line without its line end; None for what is not in the format.
pub fn parse(line: &str) -> Option<Line<'_>> {
    let (time, rest) = line.split_once(' ')?;
    let (stream, rest) = rest.split_once(' ')?;
    let (tags, content) = rest.split_once(' ').unwrap_or((rest, ""));
    if !matches!(stream, "stdout" | "stderr") {
        return None;
    }
    let partial = tags.split(':').next() == Some("P");
    Some(Line { time, stream, partial, content })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_and_partial_lines() {
        let line = parse("2026-11-20T20:30:00.5Z stderr P  two words ").unwrap();
        assert_eq!((line.stream, line.partial, line.content), ("stderr", true, " two words "));
        assert_eq!(line.text(), " two words ");
        assert_eq!(parse("2026-11-20T20:30:00Z stdout F").unwrap().text(), "\n");
        assert!(line.timestamp().is_some());
        assert_eq!(parse("garbage"), None);
        assert_eq!(parse("a b F c"), None);
    }
}
