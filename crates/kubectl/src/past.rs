//! What commands need that look at the past: which moment `--at` names, and whether the server knows such things at all.

use serde_json::Value;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags;
use crate::selection::Item;
use crate::value;

/// The header that names the revision which an answer is about; servers without it have not understood the question.
pub const HEADER: &str = "canopus-revision";

/// What is said of a server that keeps no history.
pub const UNKNOWN: &str =
    "the server cannot show the past: it is not Canopus, or a version of it that does not keep the history of objects";

/// What the server is asked for: a revision or a time as they are, a duration as the time so long ago.
pub fn moment(text: &str) -> Result<String> {
    if text.parse::<u64>().is_ok() || text.parse::<jiff::Timestamp>().is_ok() {
        return Ok(text.to_owned());
    }
    let ago = flags::duration(text).ok().and_then(|ago| jiff::SignedDuration::try_from(ago).ok());
    let then = ago.and_then(|ago| jiff::Timestamp::now().checked_sub(ago).ok()).ok_or_else(|| {
        Error::message(format!(
            "invalid value {} for --at: it is neither a resource version, nor a time such as 2006-01-02T15:04:05Z, nor a \
             duration such as 10m",
            machinery::go_text::quote(text)
        ))
    })?;
    Ok(format!("{then:.3}"))
}

/// Whether a request asks for the past.
pub fn is_asked(query: Option<&str>) -> bool {
    query.is_some_and(|query| query.split('&').any(|pair| pair.starts_with("at=")))
}

/// The versions of an object that the server keeps, oldest first.
pub async fn history(context: &Context, item: &Item) -> Result<Value> {
    let path = crate::api::Query::new(item.path()).add("history", "true").done();
    let history = context.api().await?.get(&path).await?;
    if value::kind(&history) == "ObjectHistory" { Ok(history) } else { Err(Error::message(UNKNOWN)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_revisions_times_and_durations() {
        for same in ["120", "2026-01-02T03:04:05Z", "2026-01-02T03:04:05.123+02:00"] {
            assert_eq!(moment(same).expect("valid"), same);
        }
        let then: jiff::Timestamp = moment("1h30m").expect("valid").parse().expect("a time");
        let ago = jiff::Timestamp::now().duration_since(then).as_secs();
        assert!((5399..5500).contains(&ago), "{ago}");
        assert!(moment("yesterday").is_err_and(|error| error.text().contains("\"yesterday\" for --at")));
        assert!(moment("").is_err());
    }
}
