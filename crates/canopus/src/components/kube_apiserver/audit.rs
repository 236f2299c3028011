//! `--audit-*`: what is recorded, and where and how it is written.

use std::path::PathBuf;
use std::time::Duration;

use clap::ArgAction::Set;
use kube_apiserver::Config;
use kube_apiserver::audit::WebhookFlags;
use kube_apiserver::audit::log::Rotation;
use kube_apiserver::audit::settings::{Batch, Format, Mode, Options, Truncate};

use super::flags;

#[derive(Debug, clap::Args)]
pub struct Audit {
    /// File with the audit policy
    #[arg(long, value_name = "FILE")]
    audit_policy_file: Option<PathBuf>,
    /// File to which audit events are written; - is standard output
    #[arg(long, value_name = "FILE")]
    audit_log_path: Option<PathBuf>,
    /// Megabytes of an audit log before it is set aside
    #[arg(long, value_name = "MB", default_value_t = 0)]
    audit_log_maxsize: u64,
    /// How many old audit logs are kept; 0 keeps all
    #[arg(long, value_name = "N", default_value_t = 0)]
    audit_log_maxbackup: usize,
    /// How many days old audit logs are kept; 0 keeps them for ever
    #[arg(long, value_name = "DAYS", default_value_t = 0)]
    audit_log_maxage: u64,
    /// Whether old audit logs are compressed
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", action = Set)]
    audit_log_compress: bool,
    /// What a line of the log is: the event (json), or a few words about it (legacy)
    #[arg(long, value_name = "FORMAT", default_value = "json", value_parser = format)]
    audit_log_format: Format,
    /// Version of the events
    #[arg(long, value_name = "VERSION", default_value = "audit.k8s.io/v1", value_parser = ["audit.k8s.io/v1"])]
    audit_log_version: String,
    /// What requests wait for: nothing (batch), their events (blocking), or those and the first must be written (blocking-strict)
    #[arg(long, value_name = "MODE", default_value = "blocking", value_parser = mode)]
    audit_log_mode: Mode,
    /// Events that wait at the most, in batch mode; more are lost
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    audit_log_batch_buffer_size: usize,
    /// Events in a batch at the most
    #[arg(long, value_name = "N", default_value_t = 1)]
    audit_log_batch_max_size: usize,
    /// After so long a batch is written however small it is
    #[arg(long, value_name = "DURATION", value_parser = flags::duration, default_value = "0s")]
    audit_log_batch_max_wait: Duration,
    /// Whether batches are throttled
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", action = Set)]
    audit_log_batch_throttle_enable: bool,
    /// Batches per second
    #[arg(long, value_name = "QPS", default_value_t = 0.0)]
    audit_log_batch_throttle_qps: f32,
    /// Batches at once after a quiet time
    #[arg(long, value_name = "N", default_value_t = 0)]
    audit_log_batch_throttle_burst: usize,
    /// Whether events that are too large lose their objects
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", action = Set)]
    audit_log_truncate_enabled: bool,
    /// Bytes of a batch at the most
    #[arg(long, value_name = "BYTES", default_value_t = 10_485_760)]
    audit_log_truncate_max_batch_size: usize,
    /// Bytes of an event at the most
    #[arg(long, value_name = "BYTES", default_value_t = 102_400)]
    audit_log_truncate_max_event_size: usize,
    /// Kubeconfig of the server that audit events are sent to
    #[arg(long, value_name = "FILE")]
    audit_webhook_config_file: Option<PathBuf>,
    /// How long is waited before what failed is sent again
    #[arg(long, value_name = "DURATION", value_parser = flags::duration, default_value = "10s")]
    audit_webhook_initial_backoff: Duration,
    /// Version of the events
    #[arg(long, value_name = "VERSION", default_value = "audit.k8s.io/v1", value_parser = ["audit.k8s.io/v1"])]
    audit_webhook_version: String,
    /// What requests wait for, as with --audit-log-mode
    #[arg(long, value_name = "MODE", default_value = "batch", value_parser = mode)]
    audit_webhook_mode: Mode,
    /// Events that wait at the most, in batch mode; more are lost
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    audit_webhook_batch_buffer_size: usize,
    /// Events in a batch at the most
    #[arg(long, value_name = "N", default_value_t = 400)]
    audit_webhook_batch_max_size: usize,
    /// After so long a batch is sent however small it is
    #[arg(long, value_name = "DURATION", value_parser = flags::duration, default_value = "30s")]
    audit_webhook_batch_max_wait: Duration,
    /// Whether batches are throttled
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true", action = Set)]
    audit_webhook_batch_throttle_enable: bool,
    /// Batches per second
    #[arg(long, value_name = "QPS", default_value_t = 10.0)]
    audit_webhook_batch_throttle_qps: f32,
    /// Batches at once after a quiet time
    #[arg(long, value_name = "N", default_value_t = 15)]
    audit_webhook_batch_throttle_burst: usize,
    /// Whether events that are too large lose their objects
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", action = Set)]
    audit_webhook_truncate_enabled: bool,
    /// Bytes of a batch at the most
    #[arg(long, value_name = "BYTES", default_value_t = 10_485_760)]
    audit_webhook_truncate_max_batch_size: usize,
    /// Bytes of an event at the most
    #[arg(long, value_name = "BYTES", default_value_t = 102_400)]
    audit_webhook_truncate_max_event_size: usize,
}

fn mode(text: &str) -> Result<Mode, String> {
    match text {
        "batch" => Ok(Mode::Batch),
        "blocking" => Ok(Mode::Blocking),
        "blocking-strict" => Ok(Mode::BlockingStrict),
        _ => Err(format!("invalid audit mode {text}, allowed modes are [\"batch\" \"blocking\" \"blocking-strict\"]")),
    }
}

fn format(text: &str) -> Result<Format, String> {
    match text {
        "json" => Ok(Format::Json),
        "legacy" => Ok(Format::Legacy),
        _ => Err(format!("invalid audit log format {text}, allowed formats are [\"legacy\" \"json\"]")),
    }
}

impl Audit {
    pub fn put_into(self, config: &mut Config) {
        config.audit_policy_file = self.audit_policy_file;
        config.audit_log_path = self.audit_log_path;
        config.audit_log_rotation = Rotation {
            size_max_megabytes: self.audit_log_maxsize,
            backups_max: self.audit_log_maxbackup,
            age_max_days: self.audit_log_maxage,
            compress: self.audit_log_compress,
        };
        config.audit_log_format = self.audit_log_format;
        config.audit_log_options = Options {
            mode: self.audit_log_mode,
            batch: Batch {
                buffer_size: self.audit_log_batch_buffer_size,
                max_size: self.audit_log_batch_max_size,
                max_wait: self.audit_log_batch_max_wait,
                throttle_enable: self.audit_log_batch_throttle_enable,
                throttle_qps: self.audit_log_batch_throttle_qps,
                throttle_burst: self.audit_log_batch_throttle_burst,
            },
            truncate: Truncate {
                enabled: self.audit_log_truncate_enabled,
                max_batch_size: self.audit_log_truncate_max_batch_size,
                max_event_size: self.audit_log_truncate_max_event_size,
            },
        };
        let options = Options {
            mode: self.audit_webhook_mode,
            batch: Batch {
                buffer_size: self.audit_webhook_batch_buffer_size,
                max_size: self.audit_webhook_batch_max_size,
                max_wait: self.audit_webhook_batch_max_wait,
                throttle_enable: self.audit_webhook_batch_throttle_enable,
                throttle_qps: self.audit_webhook_batch_throttle_qps,
                throttle_burst: self.audit_webhook_batch_throttle_burst,
            },
            truncate: Truncate {
                enabled: self.audit_webhook_truncate_enabled,
                max_batch_size: self.audit_webhook_truncate_max_batch_size,
                max_event_size: self.audit_webhook_truncate_max_event_size,
            },
        };
        let (config_file, initial_backoff) = (self.audit_webhook_config_file, self.audit_webhook_initial_backoff);
        config.audit_webhook = WebhookFlags { config_file, initial_backoff, options };
    }
}
