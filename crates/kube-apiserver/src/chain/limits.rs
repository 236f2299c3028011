//! How many requests are served at once, and for how long.

use std::sync::Arc;
use std::time::Duration;

use machinery::status::Status;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Config;
use crate::request_info::query_value;

/// Places for requests that end by themselves; reads and writes do not take each other's.
pub struct Limits {
    readonly: Arc<Semaphore>,
    mutating: Arc<Semaphore>,
}

impl Limits {
    pub fn new(config: &Config) -> Self {
        Self {
            readonly: Arc::new(Semaphore::new(config.max_requests_inflight)),
            mutating: Arc::new(Semaphore::new(config.max_mutating_requests_inflight)),
        }
    }

    pub(super) fn acquire(&self, mutating: bool) -> Option<OwnedSemaphorePermit> {
        let places = if mutating { &self.mutating } else { &self.readonly };
        places.clone().try_acquire_owned().ok()
    }
}

/// The client may ask for less time than the server gives, not for more.
pub(super) fn timeout(query: &str, max: Duration) -> Result<Duration, Status> {
    let Some(text) = query_value(query, "timeout").filter(|text| !text.is_empty()) else { return Ok(max) };
    let invalid = || Status::bad_request("invalid timeout specified in the request URL");
    match machinery::time::parse_duration(&text).ok_or_else(invalid)? {
        zero if zero.is_zero() => Ok(max),
        wanted => Ok(wanted.min(max)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_may_only_shorten_the_time() {
        let max = Duration::from_secs(60);
        for (query, seconds) in
            [("", 60.0), ("timeout=0", 60.0), ("timeout=32s", 32.0), ("timeout=1h", 60.0), ("timeout=1500ms", 1.5)]
        {
            assert_eq!(timeout(query, max).unwrap().as_secs_f64(), seconds, "{query}");
        }
        for bad in ["timeout=5", "timeout=-1s", "timeout=x", "timeout=1.2.3s", "timeout=9999999999999999999h"] {
            assert_eq!(timeout(bad, max).unwrap_err().code(), 400, "{bad}");
        }
    }
}
