//! `kube-apiserver`: the API server with its embedded store.

mod audit;
mod authorization;
mod etcd;
mod history;
mod oidc;
mod store;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::ArgAction::Set;
use kube_apiserver::{Config, Server};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::audit::Audit;
use self::authorization::Authorization;
pub use self::etcd::EtcdFlags;
pub use self::history::HistoryFlags;
use self::oidc::Oidc;
pub use self::store::StoreFlags;
use super::{Component, flags};
use crate::{command_line, machine, pki};

/// The Kubernetes API server validates and configures data for the api objects and serves them from its own store.
#[derive(Debug, clap::Parser)]
pub struct Flags {
    // Serving
    /// The IP address on which to listen
    #[arg(long, value_name = "IP", default_value = "0.0.0.0")]
    bind_address: IpAddr,
    /// The port on which to serve HTTPS
    #[arg(long, value_name = "PORT", default_value_t = 6443, value_parser = clap::value_parser!(u16).range(1..))]
    secure_port: u16,
    /// The IP address on which to advertise the server to members of the cluster
    #[arg(long, value_name = "IP")]
    advertise_address: Option<IpAddr>,
    /// File with the certificate for HTTPS; without it, one is made in --cert-dir
    #[arg(long, value_name = "FILE", requires = "tls_private_key_file")]
    tls_cert_file: Option<PathBuf>,
    /// File with the private key that matches --tls-cert-file
    #[arg(long, value_name = "FILE", requires = "tls_cert_file")]
    tls_private_key_file: Option<PathBuf>,
    /// Folder of the certificate that is made where none is given
    #[arg(long, value_name = "DIR", default_value = "/var/run/kubernetes")]
    cert_dir: PathBuf,
    /// How long a request may take
    #[arg(long, value_name = "DURATION", value_parser = flags::duration, default_value = "1m0s")]
    request_timeout: Duration,
    /// Seconds that a watch is kept open at the least
    #[arg(long, value_name = "SECONDS", default_value_t = 1800)]
    min_request_timeout: u64,
    /// Reading requests at once
    #[arg(long, value_name = "N", default_value_t = 400)]
    max_requests_inflight: usize,
    /// Writing requests at once
    #[arg(long, value_name = "N", default_value_t = 200)]
    max_mutating_requests_inflight: usize,
    /// Whether those two are one number of places that priority levels share
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true", action = Set)]
    enable_priority_and_fairness: bool,

    // Authentication and authorization
    /// Client certificates signed by one of these authorities are accepted
    #[arg(long, value_name = "FILE")]
    client_ca_file: Option<PathBuf>,
    /// CSV file of static bearer tokens
    #[arg(long, value_name = "FILE")]
    token_auth_file: Option<PathBuf>,
    /// Whether requests without credentials are served as system:anonymous
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true", action = Set)]
    anonymous_auth: bool,
    /// File with an AuthenticationConfiguration
    #[arg(long, value_name = "FILE", conflicts_with = "anonymous_auth")]
    authentication_config: Option<PathBuf>,
    #[command(flatten)]
    oidc: Oidc,
    /// Whether Secrets of the type bootstrap.kubernetes.io/token authenticate machines that join
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", action = Set)]
    enable_bootstrap_token_auth: bool,
    /// Kubeconfig of the server that reviews tokens
    #[arg(long, value_name = "FILE")]
    authentication_token_webhook_config_file: Option<PathBuf>,
    /// Version of the TokenReview that it is sent
    #[arg(long, value_name = "VERSION", default_value = "v1beta1", value_parser = ["v1", "v1beta1"])]
    authentication_token_webhook_version: String,
    /// How long its answers are remembered
    #[arg(long, value_name = "DURATION", value_parser = flags::duration, default_value = "2m0s")]
    authentication_token_webhook_cache_ttl: Duration,
    /// Client certificates of authenticating proxies are signed by one of these authorities
    #[arg(long, value_name = "FILE")]
    requestheader_client_ca_file: Option<PathBuf>,
    /// Common names of authenticating proxies; any if empty
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    requestheader_allowed_names: Vec<String>,
    /// Headers that name the user
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "x-remote-user")]
    requestheader_username_headers: Vec<String>,
    /// Headers that name the user's uid
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "x-remote-uid")]
    requestheader_uid_headers: Vec<String>,
    /// Headers that name the user's groups
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "x-remote-group")]
    requestheader_group_headers: Vec<String>,
    /// Beginnings of headers that say more of the user
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "x-remote-extra-")]
    requestheader_extra_headers_prefix: Vec<String>,
    /// File with keys that verify service account tokens; may be repeated
    #[arg(long, value_name = "FILE")]
    service_account_key_file: Vec<PathBuf>,
    /// File with the key that signs service account tokens
    #[arg(long, value_name = "FILE")]
    service_account_signing_key_file: Option<PathBuf>,
    /// Issuer of service account tokens; may be repeated, the first issues
    #[arg(long, value_name = "URL")]
    service_account_issuer: Vec<String>,
    /// Audiences of the API
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    api_audiences: Vec<String>,
    /// Where the keys of the issuer are found
    #[arg(long, value_name = "URL")]
    service_account_jwks_uri: Option<String>,
    /// The longest life of a token that is asked for
    #[arg(long, value_name = "DURATION", value_parser = flags::duration)]
    service_account_max_token_expiration: Option<Duration>,
    /// Whether projected tokens live on for a while, for old clients
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true", action = Set)]
    service_account_extend_token_expiration: bool,
    #[command(flatten)]
    authorization: Authorization,

    #[command(flatten)]
    audit: Audit,

    /// Whether /debug/pprof/ is served, to those who may read it
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true", action = Set)]
    profiling: bool,
    /// File with a TracingConfiguration
    #[arg(long, value_name = "FILE")]
    tracing_config_file: Option<PathBuf>,

    // Kubelets
    /// File with the client certificate for kubelets
    #[arg(long, value_name = "FILE")]
    kubelet_client_certificate: Option<PathBuf>,
    /// File with the client key for kubelets
    #[arg(long, value_name = "FILE")]
    kubelet_client_key: Option<PathBuf>,
    /// File with the authority of kubelets' certificates
    #[arg(long, value_name = "FILE")]
    kubelet_certificate_authority: Option<PathBuf>,

    // Cluster
    /// Addresses of services
    #[arg(long, value_name = "CIDR", default_value = "10.0.0.0/24")]
    service_cluster_ip_range: String,
    /// Ports of NodePort services
    #[arg(long, value_name = "FIRST-LAST", value_parser = flags::port_range, default_value = "30000-32767")]
    service_node_port_range: (u16, u16),
    /// How long events are kept
    #[arg(long, value_name = "DURATION", value_parser = flags::duration, default_value = "1h0m0s")]
    event_ttl: Duration,
    /// Admission plugins that must be on
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    enable_admission_plugins: Vec<String>,
    /// Admission plugins to switch off
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    disable_admission_plugins: Vec<String>,
    /// File with what single admission plugins are told
    #[arg(long, value_name = "FILE")]
    admission_control_config_file: Option<PathBuf>,

    // Store
    /// File that says which resources are encrypted in the store, and how
    #[arg(long, value_name = "FILE")]
    encryption_provider_config: Option<PathBuf>,
    /// Whether changes of that file are taken over without a restart
    #[arg(
        long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", action = Set,
        requires = "encryption_provider_config"
    )]
    encryption_provider_config_automatic_reload: bool,
    /// Folder of the embedded store
    #[arg(long, value_name = "DIR", default_value = "/var/lib/canopus/store")]
    data_dir: PathBuf,
    #[command(flatten)]
    store: StoreFlags,
    #[command(flatten)]
    etcd: EtcdFlags,
    #[command(flatten)]
    history: HistoryFlags,

    /// Number for the log level verbosity
    #[arg(short = 'v', long = "v", value_name = "LEVEL", default_value_t = 0)]
    verbosity: u8,
}

impl Component for Flags {
    const NAME: &'static str = "kube-apiserver";

    fn verbosity(&self) -> u8 {
        self.verbosity
    }

    async fn start(self, tasks: &mut JoinSet<Result<()>>, shutdown: &CancellationToken) -> Result<()> {
        let config = self.into_config()?;
        let address = SocketAddr::new(config.bind_address, config.secure_port);
        let listener =
            std::net::TcpListener::bind(address).with_context(|| format!("failed to listen at {address}"))?;
        let server = Server::open(config).context("failed to start the API server")?;
        tasks.spawn({
            let (server, shutdown) = (server.clone(), shutdown.clone());
            async move { server.serve(listener, shutdown).await.context("the API server failed") }
        });
        server.start().await.context("failed to start the API server")
    }
}

impl Flags {
    /// Upstream's checks, then the server's configuration. The certificate is made where none is given.
    fn into_config(self) -> Result<Config> {
        if self.service_account_issuer.is_empty() {
            bail!("service-account-issuer is a required flag");
        }
        let Some(signing_key) = self.service_account_signing_key_file.clone() else {
            bail!("service-account-signing-key-file and service-account-issuer are required flags");
        };
        crate::plan::parse_range(&self.service_cluster_ip_range)?;
        let advertise_address = match self.advertise_address {
            Some(address) => address,
            None if !self.bind_address.is_unspecified() => self.bind_address,
            None => machine::address()?,
        };
        let (certificate, key) = match (self.tls_cert_file, self.tls_private_key_file) {
            (Some(certificate), Some(key)) => (certificate, key),
            _ => self_signed(&self.cert_dir, advertise_address)?,
        };
        let mut config = Config::new(&self.cert_dir, Some(self.data_dir));
        config.etcd = self.etcd.settings()?;
        config.history_retention = self.history.settings(config.etcd.is_some())?;
        config.flags = command_line::remembered();
        config.bind_address = self.bind_address;
        config.secure_port = self.secure_port;
        config.advertise_address = advertise_address;
        config.tls_cert_file = certificate;
        config.tls_private_key_file = key;
        config.request_timeout = self.request_timeout;
        config.min_request_timeout = Duration::from_secs(self.min_request_timeout);
        config.max_requests_inflight = self.max_requests_inflight;
        config.max_mutating_requests_inflight = self.max_mutating_requests_inflight;
        config.enable_priority_and_fairness = self.enable_priority_and_fairness;
        self.audit.put_into(&mut config);
        config.tracing_config_file = self.tracing_config_file;
        config.profiling = self.profiling;
        config.client_ca_file = self.client_ca_file;
        config.token_auth_file = self.token_auth_file;
        config.anonymous_auth = self.anonymous_auth;
        config.authentication_config = self.authentication_config;
        config.oidc = self.oidc.read()?;
        config.enable_bootstrap_token_auth = self.enable_bootstrap_token_auth;
        config.authentication_token_webhook_config_file = self.authentication_token_webhook_config_file;
        config.authentication_token_webhook_version = self.authentication_token_webhook_version;
        config.authentication_token_webhook_cache_ttl = self.authentication_token_webhook_cache_ttl;
        config.requestheader_client_ca_file = self.requestheader_client_ca_file;
        config.requestheader_allowed_names = self.requestheader_allowed_names;
        config.requestheader_username_headers = self.requestheader_username_headers;
        config.requestheader_uid_headers = self.requestheader_uid_headers;
        config.requestheader_group_headers = self.requestheader_group_headers;
        config.requestheader_extra_headers_prefix = self.requestheader_extra_headers_prefix;
        self.authorization.put_into(&mut config)?;
        config.service_account_key_files = self.service_account_key_file;
        config.service_account_signing_key_file = signing_key;
        config.service_account_issuers = self.service_account_issuer;
        config.api_audiences = self.api_audiences;
        config.service_account_jwks_uri = self.service_account_jwks_uri;
        config.service_account_max_token_expiration = self.service_account_max_token_expiration;
        config.service_account_extend_token_expiration = self.service_account_extend_token_expiration;
        config.kubelet_client_certificate = self.kubelet_client_certificate;
        config.kubelet_client_key = self.kubelet_client_key;
        config.kubelet_certificate_authority = self.kubelet_certificate_authority;
        config.service_cluster_ip_range = self.service_cluster_ip_range;
        config.service_node_port_range = self.service_node_port_range;
        config.event_ttl = self.event_ttl;
        config.enable_admission_plugins = self.enable_admission_plugins;
        config.disable_admission_plugins = self.disable_admission_plugins;
        config.admission_control_config_file = self.admission_control_config_file;
        config.encryption_provider_config = self.encryption_provider_config;
        config.encryption_provider_config_automatic_reload = self.encryption_provider_config_automatic_reload;
        self.store.apply(&mut config);
        Ok(config)
    }
}

/// A certificate for this machine that nobody signed, kept for the next start.
fn self_signed(folder: &Path, address: IpAddr) -> Result<(PathBuf, PathBuf)> {
    let (certificate, key) = (folder.join("apiserver.crt"), folder.join("apiserver.key"));
    if !certificate.exists() || !key.exists() {
        let names = ["kubernetes.default.svc", "kubernetes.default", "kubernetes", "localhost", "127.0.0.1"];
        let names: Vec<String> = names.map(str::to_owned).into_iter().chain([address.to_string()]).collect();
        let made = rcgen::generate_simple_self_signed(names).context("failed to make a certificate")?;
        std::fs::create_dir_all(folder).with_context(|| format!("failed to make {}", folder.display()))?;
        pki::write_private(&key, &made.signing_key.serialize_pem())?;
        pki::write_public(&certificate, &made.cert.pem())?;
    }
    Ok((certificate, key))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    const REQUIRED: [&str; 6] = [
        "kube-apiserver",
        "--service-account-issuer=https://issuer",
        "--service-account-signing-key-file=/sa.key",
        "--tls-cert-file=/tls.crt",
        "--tls-private-key-file=/tls.key",
        "--advertise-address=192.0.2.1",
    ];

    fn config(more: &[&str]) -> Result<Config> {
        Flags::try_parse_from(REQUIRED.iter().chain(more))?.into_config()
    }

    #[test]
    fn the_store_has_limits_and_is_looked_after() {
        let of = |config: Config| (config.quota_backend_bytes, config.store_scrub_interval);
        assert_eq!(of(config(&[]).unwrap()), (2 << 30, Duration::from_secs(24 * 3600)));
        let set = ["--quota-backend-bytes=1000", "--store-scrub-interval=0s"];
        assert_eq!(of(config(&set).unwrap()), (1000, Duration::ZERO));
    }

    #[test]
    fn several_servers_share_an_etcd() {
        assert!(config(&[]).unwrap().etcd.is_none());
        let etcd = config(&[
            "--etcd-servers=https://a:2379,https://b:2379",
            "--etcd-cafile=/ca",
            "--etcd-prefix=/other",
            "--etcd-compaction-interval=0s",
            "--etcd-healthcheck-timeout=3s",
            "--storage-media-type=application/json",
            "--lease-reuse-duration-seconds=5",
        ]);
        let etcd = etcd.unwrap().etcd.unwrap();
        assert_eq!(etcd.servers, ["https://a:2379", "https://b:2379"]);
        assert_eq!((etcd.ca_file, etcd.prefix.as_str()), (Some("/ca".into()), "/other"));
        assert_eq!((etcd.compaction_interval, etcd.lease_reuse_duration), (Duration::ZERO, Duration::from_secs(5)));
        assert_eq!(
            (etcd.healthcheck_timeout, etcd.readycheck_timeout),
            (Duration::from_secs(3), Duration::from_secs(2))
        );
        assert_eq!(etcd.storage_media_type, kube_apiserver::etcd::MediaType::Json);
    }

    #[test]
    fn flags_reach_the_configuration() {
        let config = config(&[
            "--service-account-key-file=/a",
            "--service-account-key-file=/b",
            "--service-account-issuer=https://second",
            "--service-node-port-range=31000-31010",
            "--event-ttl=2h",
            "--anonymous-auth=false",
            "--authorization-mode=ABAC,RBAC",
            "--authorization-policy-file=/policy",
            "--requestheader-allowed-names=front,back",
            "--enable-bootstrap-token-auth",
            "--disable-admission-plugins=Priority,LimitRanger",
        ])
        .unwrap();
        assert_eq!(config.service_account_key_files, [PathBuf::from("/a"), PathBuf::from("/b")]);
        assert_eq!(config.service_account_issuers, ["https://issuer", "https://second"]);
        assert_eq!((config.service_node_port_range, config.event_ttl), ((31000, 31010), Duration::from_secs(7200)));
        assert_eq!(config.authorization_mode, ["ABAC", "RBAC"]);
        assert_eq!(config.authorization_policy_file, Some(PathBuf::from("/policy")));
        assert_eq!(config.requestheader_allowed_names, ["front", "back"]);
        assert!(config.enable_bootstrap_token_auth);
        assert!(!config.anonymous_auth && config.client_ca_file.is_none());
        assert_eq!(config.disable_admission_plugins, ["Priority", "LimitRanger"]);
    }

    #[test]
    fn an_issuer_of_tokens_is_named_by_flags_or_in_the_file() {
        let flags = ["--oidc-issuer-url=https://i", "--oidc-client-id=me"];
        let oidc = config(&[&flags[..], &["--oidc-required-claim=a=b,c=d", "--oidc-required-claim=e=f"]].concat());
        let oidc = oidc.unwrap().oidc.unwrap();
        assert_eq!((oidc.issuer_url.as_str(), oidc.username_claim.as_str()), ("https://i", "sub"));
        assert_eq!(oidc.signing_algs, ["RS256"]);
        let pairs = [("a", "b"), ("c", "d"), ("e", "f")].map(|(claim, value)| (claim.to_owned(), value.to_owned()));
        assert_eq!(oidc.required_claims, pairs);
        assert_eq!(config(&[]).unwrap().oidc, None);
        let alone = config(&["--oidc-groups-claim=groups"]).unwrap_err().to_string();
        let message = "oidc-issuer-url and oidc-client-id must be specified together when any oidc-* flags are set";
        assert_eq!(alone, message);
        assert!(config(&[&flags[..], &["--authentication-config=/a"]].concat()).is_err());
    }

    #[test]
    fn authorizers_are_named_by_flags_or_in_the_file() {
        assert_eq!(config(&[]).unwrap().authorization_mode, ["Node", "RBAC"]);
        let ttl = "--authorization-webhook-cache-authorized-ttl=1m";
        let webhook = ["--authorization-mode=RBAC,Webhook", "--authorization-webhook-config-file=/w", ttl];
        let flags = config(&webhook).unwrap().authorization_webhook;
        assert_eq!((flags.config_file, flags.version.as_str()), (Some(PathBuf::from("/w")), "v1beta1"));
        let ttls = (flags.cache_authorized_ttl, flags.cache_unauthorized_ttl);
        assert_eq!(ttls, (Duration::from_secs(60), Duration::from_secs(30)));
        assert_eq!(config(&["--authorization-config=/c"]).unwrap().authorization_config, Some(PathBuf::from("/c")));
        let message = "--authorization-config can not be specified when --authorization-mode or --authorization-webhook-* flags are defined";
        for flag in webhook {
            assert_eq!(config(&["--authorization-config=/c", flag]).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn events_are_written_by_upstreams_defaults_unless_flags_say_otherwise() {
        use kube_apiserver::audit::settings::{Format, Mode, Options};
        let default = config(&[]).unwrap();
        assert_eq!((default.audit_log_options, default.audit_webhook.options), (Options::log(), Options::webhook()));
        assert_eq!(default.audit_webhook.initial_backoff, Duration::from_secs(10));
        let changed = config(&[
            "--audit-webhook-config-file=/w",
            "--audit-webhook-mode=blocking-strict",
            "--audit-webhook-batch-throttle-enable=false",
            "--audit-webhook-truncate-enabled",
            "--audit-log-mode=batch",
            "--audit-log-format=legacy",
            "--audit-log-compress",
        ]);
        let changed = changed.unwrap();
        let options = changed.audit_webhook.options;
        assert_eq!((options.mode, changed.audit_log_options.mode), (Mode::BlockingStrict, Mode::Batch));
        assert!(options.truncate.enabled && !options.batch.throttle_enable);
        assert_eq!(changed.audit_log_format, Format::Legacy);
        assert!(changed.audit_log_rotation.compress && !default.audit_log_rotation.compress);
        assert!(config(&["--audit-webhook-mode=sometimes"]).is_err());
        assert!(config(&["--audit-log-format=xml"]).is_err());
    }

    #[test]
    fn what_cannot_be_served_is_refused() {
        let refused = |more: &[&str]| config(more).unwrap_err().to_string();
        let etcd = "--etcd-servers=https://127.0.0.1:2379";
        assert!(refused(&[etcd, "--etcd-keyfile=/k"]).contains("--etcd-certfile and --etcd-keyfile come together"));
        assert!(refused(&[etcd, "--etcd-prefix=registry"]).contains("is no path below /"));
        assert!(refused(&["--storage-media-type=text/plain"]).contains("allowed values: application/json"));
        assert!(refused(&["--service-cluster-ip-range=nonsense"]).contains("not a range of service addresses"));
        let without_issuer = Flags::try_parse_from(["kube-apiserver"]).unwrap().into_config();
        assert_eq!(without_issuer.unwrap_err().to_string(), "service-account-issuer is a required flag");
    }
}
