//! The fields of a KubeletConfiguration that this kubelet honours. A value that it could not keep to is refused.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use kubelet::eviction::threshold;
use machinery::quantity::Quantity;
use serde::Deserialize;

use super::super::config_file::{Strict, Unknown, duration, names};
use super::super::flags;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KubeletConfiguration {
    address: Option<IpAddr>,
    port: Option<u16>,
    tls_cert_file: Option<PathBuf>,
    tls_private_key_file: Option<PathBuf>,
    authentication: Authentication,
    authorization: Authorization,
    #[serde(rename = "clusterDNS")]
    cluster_dns: Vec<IpAddr>,
    cluster_domain: Option<String>,
    resolv_conf: Option<PathBuf>,
    container_runtime_endpoint: Option<String>,
    cgroup_root: Option<String>,
    cgroup_driver: Option<String>,
    pod_logs_dir: Option<PathBuf>,
    #[serde(rename = "podCIDR")]
    pod_cidr: Option<String>,
    max_pods: Option<u32>,
    max_parallel_image_pulls: Option<usize>,
    container_log_max_files: Option<u32>,
    container_log_max_size: Option<String>,
    eviction_hard: Option<BTreeMap<String, String>>,
    eviction_soft: BTreeMap<String, String>,
    eviction_soft_grace_period: BTreeMap<String, String>,
    eviction_minimum_reclaim: BTreeMap<String, String>,
    eviction_max_pod_grace_period: Option<i64>,
    #[serde(deserialize_with = "duration")]
    eviction_pressure_transition_period: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    volume_stats_agg_period: Option<Duration>,
    #[serde(rename = "imageGCHighThresholdPercent")]
    image_gc_high_threshold_percent: Option<u64>,
    #[serde(rename = "imageGCLowThresholdPercent")]
    image_gc_low_threshold_percent: Option<u64>,
    #[serde(rename = "imageMinimumGCAge", deserialize_with = "duration")]
    image_minimum_gc_age: Option<Duration>,
    #[serde(rename = "imageMaximumGCAge", deserialize_with = "duration")]
    image_maximum_gc_age: Option<Duration>,
    seccomp_default: Option<bool>,
    node_lease_duration_seconds: Option<u32>,
    register_with_taints: Vec<Taint>,
    #[serde(deserialize_with = "duration")]
    node_status_update_frequency: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    node_status_report_frequency: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    sync_frequency: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    container_log_monitor_interval: Option<Duration>,
    #[serde(flatten)]
    unknown: Unknown,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Authentication {
    x509: X509,
    webhook: Switch,
    anonymous: Switch,
    #[serde(flatten)]
    unknown: Unknown,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct X509 {
    #[serde(rename = "clientCAFile")]
    client_ca_file: Option<PathBuf>,
    #[serde(flatten)]
    unknown: Unknown,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Switch {
    enabled: Option<bool>,
    #[serde(flatten)]
    unknown: Unknown,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Authorization {
    mode: Option<String>,
    #[serde(flatten)]
    unknown: Unknown,
}

#[derive(Debug, Deserialize)]
struct Taint {
    key: String,
    #[serde(default)]
    value: String,
    effect: String,
    #[serde(flatten)]
    unknown: Unknown,
}

impl Strict for KubeletConfiguration {
    fn unknown(&self) -> Vec<String> {
        let (authentication, authorization) = (&self.authentication, &self.authorization);
        let mut all = names("", &self.unknown);
        all.extend(names("authentication", &authentication.unknown));
        all.extend(names("authentication.x509", &authentication.x509.unknown));
        all.extend(names("authentication.webhook", &authentication.webhook.unknown));
        all.extend(names("authentication.anonymous", &authentication.anonymous.unknown));
        all.extend(names("authorization", &authorization.unknown));
        for (index, taint) in self.register_with_taints.iter().enumerate() {
            all.extend(names(&format!("registerWithTaints[{index}]"), &taint.unknown));
        }
        all
    }
}

/// Sets what is given.
fn set<T>(target: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *target = given;
    }
}

impl KubeletConfiguration {
    /// Puts what the file says over the defaults in `config`.
    pub fn apply(self, config: &mut kubelet::Config) -> Result<()> {
        self.check()?;
        self.apply_eviction(&mut config.eviction)?;
        self.apply_image_gc(&mut config.image_gc)?;
        if let Some(text) = &self.container_log_max_size {
            config.container_log_max_size = bytes("containerLogMaxSize", text)?;
        }
        let mut address = config.bind_address.ip();
        set(&mut address, self.address);
        config.bind_address = (address, self.port.unwrap_or(config.bind_address.port())).into();
        config.tls_cert_file = self.tls_cert_file;
        config.tls_key_file = self.tls_private_key_file;
        config.client_ca_file = self.authentication.x509.client_ca_file;
        config.cluster_dns = self.cluster_dns;
        config.pod_cidr = self.pod_cidr;
        set(&mut config.cluster_domain, self.cluster_domain);
        set(&mut config.resolv_conf, self.resolv_conf);
        set(&mut config.cri_endpoint, self.container_runtime_endpoint);
        set(&mut config.cgroup_root, self.cgroup_root.map(|root| root.trim_matches('/').to_owned()));
        if let Some(driver) = self.cgroup_driver {
            config.cgroup_driver = super::cgroup_driver(&driver).map_err(anyhow::Error::msg)?;
        }
        set(&mut config.pod_log_dir, self.pod_logs_dir);
        set(&mut config.max_pods, self.max_pods);
        set(&mut config.max_parallel_image_pulls, self.max_parallel_image_pulls);
        set(&mut config.container_log_max_files, self.container_log_max_files);
        set(&mut config.seccomp_default, self.seccomp_default);
        set(&mut config.status_update_frequency, self.node_status_update_frequency);
        set(&mut config.status_report_frequency, self.node_status_report_frequency);
        set(&mut config.sync_frequency, self.sync_frequency);
        set(&mut config.container_log_monitor_interval, self.container_log_monitor_interval);
        if let Some(seconds) = self.node_lease_duration_seconds {
            config.lease_duration = Duration::from_secs(seconds.into());
            // Upstream renews four times in the life of a lease.
            config.lease_renew_interval = config.lease_duration / 4;
        }
        config.register_with_taints =
            self.register_with_taints.into_iter().map(|taint| (taint.key, taint.value, taint.effect)).collect();
        Ok(())
    }

    fn apply_eviction(&self, eviction: &mut kubelet::eviction::Settings) -> Result<()> {
        let mut grace = BTreeMap::new();
        for (signal, text) in &self.eviction_soft_grace_period {
            let time = flags::duration(text);
            grace.insert(signal.clone(), time.map_err(|error| anyhow!("evictionSoftGracePeriod[{signal}]: {error}"))?);
        }
        let (soft, reclaim) = (&self.eviction_soft, &self.eviction_minimum_reclaim);
        let usual = default_hard();
        let hard = self.eviction_hard.as_ref().unwrap_or(&usual);
        eviction.thresholds = threshold::parse(hard, soft, &grace, reclaim).map_err(anyhow::Error::msg)?;
        set(&mut eviction.max_pod_grace_period_seconds, self.eviction_max_pod_grace_period);
        set(&mut eviction.pressure_transition, self.eviction_pressure_transition_period);
        set(&mut eviction.volume_stats_period, self.volume_stats_agg_period);
        Ok(())
    }

    fn apply_image_gc(&self, image_gc: &mut kubelet::image_gc::Settings) -> Result<()> {
        set(&mut image_gc.high_threshold_percent, self.image_gc_high_threshold_percent);
        set(&mut image_gc.low_threshold_percent, self.image_gc_low_threshold_percent);
        set(&mut image_gc.minimum_age, self.image_minimum_gc_age);
        set(&mut image_gc.maximum_age, self.image_maximum_gc_age);
        let (high, low) = (image_gc.high_threshold_percent, image_gc.low_threshold_percent);
        for (field, percent) in [("imageGCHighThresholdPercent", high), ("imageGCLowThresholdPercent", low)] {
            if percent > 100 {
                bail!("{field} must be between 0 and 100, inclusive");
            }
        }
        if low >= high {
            bail!("imageGCLowThresholdPercent {low} must be less than imageGCHighThresholdPercent {high}");
        }
        if !image_gc.maximum_age.is_zero() && image_gc.maximum_age <= image_gc.minimum_age {
            bail!("imageMaximumGCAge must be greater than imageMinimumGCAge");
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        if self.authentication.anonymous.enabled == Some(true) {
            bail!("authentication.anonymous.enabled: this kubelet serves nobody without credentials");
        }
        if self.authentication.webhook.enabled == Some(false) {
            bail!("authentication.webhook.enabled: this kubelet always asks the API server about tokens");
        }
        if self.authorization.mode.as_deref().is_some_and(|mode| mode != "Webhook") {
            bail!("authorization.mode: this kubelet always asks the API server (Webhook)");
        }
        if self.tls_cert_file.is_some() != self.tls_private_key_file.is_some() {
            bail!("tlsCertFile and tlsPrivateKeyFile belong together");
        }
        for (field, zero) in [
            ("port", self.port == Some(0)),
            ("maxParallelImagePulls", self.max_parallel_image_pulls == Some(0)),
            ("nodeLeaseDurationSeconds", self.node_lease_duration_seconds == Some(0)),
            ("nodeStatusUpdateFrequency", self.node_status_update_frequency == Some(Duration::ZERO)),
            ("nodeStatusReportFrequency", self.node_status_report_frequency == Some(Duration::ZERO)),
            ("syncFrequency", self.sync_frequency == Some(Duration::ZERO)),
            ("containerLogMonitorInterval", self.container_log_monitor_interval == Some(Duration::ZERO)),
        ] {
            if zero {
                bail!("{field} must be greater than 0");
            }
        }
        if self.container_log_max_files.is_some_and(|files| files < 2) {
            bail!("containerLogMaxFiles must be greater than 1");
        }
        Ok(())
    }
}

/// What the kubelet keeps free where the file does not say, in the file's words.
fn default_hard() -> BTreeMap<String, String> {
    let usual = [
        ("memory.available", "100Mi"),
        ("nodefs.available", "10%"),
        ("nodefs.inodesFree", "5%"),
        ("imagefs.available", "15%"),
        ("imagefs.inodesFree", "5%"),
    ];
    usual.into_iter().map(|(signal, least)| (signal.to_owned(), least.to_owned())).collect()
}

fn bytes(field: &str, text: &str) -> Result<u64> {
    let quantity = Quantity::parse(text).map_err(|error| anyhow!("{field}: {error}"))?;
    match u64::try_from(quantity.value()) {
        Ok(bytes) if bytes > 0 => Ok(bytes),
        _ => bail!("{field} must be greater than 0"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::config_file::decode;
    use super::*;

    fn apply(fields: &str) -> Result<kubelet::Config> {
        let text = format!("apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n{fields}");
        let file: KubeletConfiguration = decode(&text, "kubelet.config.k8s.io/v1beta1", "KubeletConfiguration")?;
        let mut config = kubelet::Config::new("n", [192, 0, 2, 1].into(), "/r".as_ref());
        file.apply(&mut config)?;
        Ok(config)
    }

    #[test]
    fn fields_reach_the_kubelet() {
        let config = apply(
            "port: 10299\nclusterDNS: [10.96.0.10]\nmaxPods: 7\nsyncFrequency: 1m30s\nnodeLeaseDurationSeconds: 20\n\
             authentication: {x509: {clientCAFile: /ca}, anonymous: {enabled: false}}\nauthorization: {mode: Webhook}\n",
        )
        .unwrap();
        assert_eq!((config.bind_address.port(), config.max_pods), (10299, 7));
        assert_eq!(
            (config.sync_frequency, config.lease_renew_interval),
            (Duration::from_secs(90), Duration::from_secs(5))
        );
        assert_eq!(config.client_ca_file, Some("/ca".into()));
    }

    #[test]
    fn evictions_and_collections_are_set_as_upstream_names_them() {
        use kubelet::eviction::{Amount, Signal};

        let config = apply(
            "evictionHard: {memory.available: 200Mi}\nevictionSoft: {nodefs.available: 20%}\n\
             evictionSoftGracePeriod: {nodefs.available: 1m30s}\nevictionMinimumReclaim: {memory.available: 1Gi}\n\
             evictionMaxPodGracePeriod: 60\nimageGCHighThresholdPercent: 70\nimageGCLowThresholdPercent: 60\n\
             imageMaximumGCAge: 24h\ncontainerLogMaxSize: 1Mi\n",
        )
        .unwrap();
        let thresholds = &config.eviction.thresholds;
        assert_eq!((thresholds.len(), thresholds[0].min_reclaim), (2, Some(Amount::Absolute(1 << 30))));
        assert_eq!(thresholds[1].grace, Some(Duration::from_secs(90)));
        assert_eq!(config.image_gc.maximum_age, Duration::from_secs(86_400));
        assert_eq!(config.container_log_max_size, 1 << 20);
        assert_eq!(config.eviction.hard(Signal::NodefsAvailable), None, "what is named replaces the defaults");
        assert_eq!(apply("").unwrap().eviction, kubelet::eviction::Settings::default());
    }

    #[test]
    fn unknown_fields_and_values_that_cannot_be_kept_to_are_refused() {
        for (fields, message) in [
            ("maxPodz: 7\n", "strict decoding error: unknown field \"maxPodz\""),
            ("authentication: {x509: {ca: a}}\n", "unknown field \"authentication.x509.ca\""),
            ("authorization: {mode: AlwaysAllow}\n", "authorization.mode"),
            ("authentication: {anonymous: {enabled: true}}\n", "authentication.anonymous.enabled"),
            ("syncFrequency: 5\n", "invalid type"),
            ("syncFrequency: 0s\n", "syncFrequency must be greater than 0"),
            ("cgroupDriver: other\n", "invalid cgroup driver"),
            ("evictionHard: {disk.free: \"1\"}\n", "unsupported eviction signal disk.free"),
            ("evictionSoft: {pid.available: \"5\"}\n", "grace period must be specified"),
            ("imageGCHighThresholdPercent: 70\n", "imageGCLowThresholdPercent 80 must be less"),
            ("imageMaximumGCAge: 1m\n", "imageMaximumGCAge must be greater"),
        ] {
            let error = format!("{:#}", apply(fields).unwrap_err());
            assert!(error.contains(message), "{fields}: {error}");
        }
        let wrong =
            decode::<KubeletConfiguration>("kind: Pod\n", "kubelet.config.k8s.io/v1beta1", "KubeletConfiguration");
        assert!(wrong.unwrap_err().to_string().contains("apiVersion must be"));
    }
}
