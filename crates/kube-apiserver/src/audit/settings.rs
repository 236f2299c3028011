//! How events get to a backend: at once or in batches, and how large they may be. Names and defaults are those of the
//! flags `--audit-log-*` and `--audit-webhook-*`.

use std::time::Duration;

/// What requests wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nothing: events are gathered, and written by a task of their own.
    Batch,
    /// Each event is written before the request goes on.
    Blocking,
    /// The same, and a request whose first event cannot be written fails.
    BlockingStrict,
}

/// What a line of the log looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// The event.
    #[default]
    Json,
    /// Words about it, as logs were before there were events.
    Legacy,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Batch {
    /// How many events wait at the most; what comes beyond is lost, and counted.
    pub buffer_size: usize,
    pub max_size: usize,
    /// After so long a batch is written however small it is.
    pub max_wait: Duration,
    pub throttle_enable: bool,
    /// Batches per second.
    pub throttle_qps: f32,
    /// Batches that may be written at once after a quiet time.
    pub throttle_burst: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncate {
    pub enabled: bool,
    pub max_batch_size: usize,
    pub max_event_size: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    pub mode: Mode,
    pub batch: Batch,
    pub truncate: Truncate,
}

impl Default for Truncate {
    fn default() -> Self {
        Self { enabled: false, max_batch_size: 10 * 1024 * 1024, max_event_size: 100 * 1024 }
    }
}

impl Options {
    /// Files are written at once.
    pub fn log() -> Self {
        let batch = Batch {
            buffer_size: 10_000,
            max_size: 1,
            max_wait: Duration::ZERO,
            throttle_enable: false,
            throttle_qps: 0.0,
            throttle_burst: 0,
        };
        Self { mode: Mode::Blocking, batch, truncate: Truncate::default() }
    }

    pub fn webhook() -> Self {
        let batch = Batch {
            buffer_size: 10_000,
            max_size: 400,
            max_wait: Duration::from_secs(30),
            throttle_enable: true,
            throttle_qps: 10.0,
            throttle_burst: 15,
        };
        Self { mode: Mode::Batch, batch, truncate: Truncate::default() }
    }

    /// What is wrong, in upstream's words; `backend` is `log` or `webhook`.
    pub fn check(&self, backend: &str) -> Result<(), String> {
        let Self { mode, batch, truncate } = self;
        let positive = |what: &str, value: String| format!("invalid audit {what} {value}, must be a positive number");
        if *mode == Mode::Batch {
            if batch.buffer_size == 0 {
                return Err(positive(&format!("batch {backend} buffer size"), "0".to_owned()));
            }
            if batch.max_size == 0 {
                return Err(positive(&format!("batch {backend} max batch size"), "0".to_owned()));
            }
            if batch.throttle_enable && (batch.throttle_qps.is_nan() || batch.throttle_qps <= 0.0) {
                return Err(positive(&format!("batch {backend} throttle QPS"), batch.throttle_qps.to_string()));
            }
            if batch.throttle_enable && batch.throttle_burst == 0 {
                return Err(positive(&format!("batch {backend} throttle burst"), "0".to_owned()));
            }
        }
        if !truncate.enabled {
            return Ok(());
        }
        let Truncate { max_batch_size, max_event_size, .. } = *truncate;
        if max_event_size == 0 {
            return Err(positive(&format!("truncate {backend} max event size"), "0".to_owned()));
        }
        if max_batch_size < max_event_size {
            return Err(format!(
                "invalid audit truncate {backend} max batch size {max_batch_size}, must be greater than max event size ({max_event_size})"
            ));
        }
        Ok(())
    }
}
