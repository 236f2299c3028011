//! `--tracing-config-file`: a TracingConfiguration.

use std::path::{Path, PathBuf};

use machinery::codec::{self, Limits};
use machinery::field::{self, Error, ErrorList, Path as Field};
use serde::Deserialize;

const DEFAULT_ENDPOINT: &str = "localhost:4317";
pub const MILLION: i64 = 1_000_000;

#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    #[error("unable to read tracing configuration from {0:?}")]
    Read(PathBuf, #[source] std::io::Error),
    #[error("unable to decode tracing configuration data: {0}")]
    Decode(String),
    #[error("failed to validate tracing configuration: {0}")]
    Invalid(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    pub collector: Collector,
    /// Of a million requests that come without a trace, so many begin one.
    pub sampling_rate_per_million: i64,
}

/// Who takes the spans, by gRPC without TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Collector {
    /// `host:port`
    Tcp(String),
    /// A socket's path; abstract names begin with a zero byte.
    Unix(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    api_version: String,
    kind: String,
    endpoint: Option<String>,
    sampling_rate_per_million: Option<i64>,
}

impl Configuration {
    pub fn open(path: &Path) -> Result<Self, ConfigurationError> {
        let text = std::fs::read(path).map_err(|error| ConfigurationError::Read(path.to_owned(), error))?;
        Self::parse(&text)
    }

    pub fn parse(text: &[u8]) -> Result<Self, ConfigurationError> {
        let parsed = codec::yaml::parse(text, Limits::default()).map_err(ConfigurationError::Decode)?;
        let file: File =
            serde_json::from_value(parsed.value).map_err(|error| ConfigurationError::Decode(error.to_string()))?;
        let versions = ["v1", "v1beta1", "v1alpha1"].map(|version| format!("apiserver.config.k8s.io/{version}"));
        if !versions.contains(&file.api_version) || file.kind != "TracingConfiguration" {
            let (kind, version) = (&file.kind, &file.api_version);
            let reason = format!("no kind {kind:?} is registered for version {version:?}");
            return Err(ConfigurationError::Decode(reason));
        }
        let mut errors = ErrorList::new();
        let rate = file.sampling_rate_per_million.unwrap_or_default();
        let rate_path = Field::new("samplingRatePerMillion");
        if rate < 0 {
            errors.push(Error::invalid(&rate_path, rate, "sampling rate must be positive"));
        }
        if rate > MILLION {
            let detail = "sampling rate per million must be less than or equal to one million";
            errors.push(Error::invalid(&rate_path, rate, detail));
        }
        let endpoint = file.endpoint.as_deref().unwrap_or(DEFAULT_ENDPOINT);
        match collector(endpoint) {
            Ok(collector) if errors.is_empty() => Ok(Self { collector, sampling_rate_per_million: rate }),
            Ok(_) => Err(ConfigurationError::Invalid(field::aggregate(&errors))),
            Err(detail) => {
                errors.push(Error::invalid(&Field::new("endpoint"), endpoint, detail));
                Err(ConfigurationError::Invalid(field::aggregate(&errors)))
            }
        }
    }
}

/// A name as gRPC writes it: `host:port`, `dns:///host:port`, `unix:///path`, `unix-abstract:name`.
fn collector(endpoint: &str) -> Result<Collector, String> {
    let Some((scheme, rest)) = endpoint.split_once("//") else {
        return match endpoint.strip_prefix("unix-abstract:") {
            Some(name) => Ok(Collector::Unix(format!("\0{name}"))),
            None => Ok(Collector::Tcp(endpoint.to_owned())),
        };
    };
    match scheme {
        "dns:" => Ok(Collector::Tcp(rest.rsplit('/').next().unwrap_or_default().to_owned())),
        "unix:" => Ok(Collector::Unix(rest.to_owned())),
        "unix-abstract:" => Ok(Collector::Unix(format!("\0{rest}"))),
        _ => Err(format!(
            "unsupported scheme: {}.  Options are none, dns, unix, or unix-abstract.  See https://github.com/grpc/grpc/blob/master/doc/naming.md",
            scheme.trim_end_matches(':')
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(rest: &str) -> Result<Configuration, String> {
        let text = format!("apiVersion: apiserver.config.k8s.io/v1\nkind: TracingConfiguration\n{rest}");
        Configuration::parse(text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn endpoints_are_names_of_grpc() {
        let collector = |endpoint: &str| parse(&format!("endpoint: {endpoint}")).unwrap().collector;
        let tcp = |text: &str| Collector::Tcp(text.to_owned());
        assert_eq!(parse("").unwrap().collector, tcp("localhost:4317"));
        assert_eq!(collector("collector:1"), tcp("collector:1"));
        assert_eq!(collector("dns://8.8.8.8/collector:1"), tcp("collector:1"));
        assert_eq!(collector("unix:///run/otlp"), Collector::Unix("/run/otlp".to_owned()));
        assert_eq!(collector("unix-abstract:otlp"), Collector::Unix("\0otlp".to_owned()));
    }

    #[test]
    fn what_is_wrong_is_said_in_upstreams_words() {
        for (rest, wanted) in [
            ("samplingRatePerMillion: -1", "samplingRatePerMillion: Invalid value: -1: sampling rate must be positive"),
            (
                "samplingRatePerMillion: 1000001",
                "samplingRatePerMillion: Invalid value: 1000001: sampling rate per million must be less than or equal to one million",
            ),
            (
                "endpoint: https://x",
                "endpoint: Invalid value: \"https://x\": unsupported scheme: https.  Options are none, dns, unix, or unix-abstract.  See https://github.com/grpc/grpc/blob/master/doc/naming.md",
            ),
        ] {
            assert_eq!(parse(rest).unwrap_err(), format!("failed to validate tracing configuration: {wanted}"));
        }
        assert!(parse("endpoints: x").unwrap_err().starts_with("unable to decode tracing configuration data: "));
        let other = Configuration::parse(b"{apiVersion: v1, kind: TracingConfiguration}").unwrap_err().to_string();
        assert!(other.ends_with("no kind \"TracingConfiguration\" is registered for version \"v1\""), "{other}");
    }
}
