//! The flags about the embedded store, of the API server alone and of `canopus server`.

use std::time::Duration;

use kube_apiserver::Config;
use serde::{Deserialize, Serialize};

use crate::components::flags;

/// Limits and care of the embedded store.
#[derive(Debug, Clone, Default, clap::Args, Serialize, Deserialize)]
pub struct StoreFlags {
    /// Bytes that all keys and values of the embedded store may have together, 0 for no limit; there is a warning from 80 % on
    #[arg(long, value_name = "BYTES", default_value_t = 2 << 30)]
    quota_backend_bytes: u64,
    /// How often the files of the embedded store are read to find what has gone bad on the disk; 0 for never
    #[arg(long, value_name = "DURATION", value_parser = flags::duration, default_value = "24h0m0s")]
    store_scrub_interval: Duration,
}

impl StoreFlags {
    pub fn apply(&self, config: &mut Config) {
        config.quota_backend_bytes = self.quota_backend_bytes;
        config.store_scrub_interval = self.store_scrub_interval;
    }
}
