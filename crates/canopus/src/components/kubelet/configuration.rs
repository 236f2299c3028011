//! The fields of a KubeletConfiguration that this kubelet honours. A value that it could not keep to is refused.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use serde::Deserialize;

use super::super::config_file::{Strict, Unknown, duration, names};

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
    fn unknown_fields_and_values_that_cannot_be_kept_to_are_refused() {
        for (fields, message) in [
            ("maxPodz: 7\n", "strict decoding error: unknown field \"maxPodz\""),
            ("authentication: {x509: {ca: a}}\n", "unknown field \"authentication.x509.ca\""),
            ("authorization: {mode: AlwaysAllow}\n", "authorization.mode"),
            ("authentication: {anonymous: {enabled: true}}\n", "authentication.anonymous.enabled"),
            ("syncFrequency: 5\n", "invalid type"),
            ("syncFrequency: 0s\n", "syncFrequency must be greater than 0"),
            ("cgroupDriver: other\n", "invalid cgroup driver"),
        ] {
            let error = format!("{:#}", apply(fields).unwrap_err());
            assert!(error.contains(message), "{fields}: {error}");
        }
        let wrong =
            decode::<KubeletConfiguration>("kind: Pod\n", "kubelet.config.k8s.io/v1beta1", "KubeletConfiguration");
        assert!(wrong.unwrap_err().to_string().contains("apiVersion must be"));
    }
}
