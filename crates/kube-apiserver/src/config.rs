//! What the server is told at its start. Field names are those of kube-apiserver's flags.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, time::Duration};

use store::journal::Retention;

/// Where everything is and how the server is to behave. [`Config::new`] gives upstream's defaults.
#[derive(Clone, Debug)]
pub struct Config {
    // Serving
    pub bind_address: IpAddr,
    pub secure_port: u16,
    /// The address published as the endpoint of the `kubernetes` Service.
    pub advertise_address: IpAddr,
    pub tls_cert_file: PathBuf,
    pub tls_private_key_file: PathBuf,
    /// Requests that run longer than this are answered 504; watches and streams are exempt.
    pub request_timeout: Duration,
    /// A watch ends at a random time between this and twice this.
    pub min_request_timeout: Duration,
    pub max_requests_inflight: usize,
    pub max_mutating_requests_inflight: usize,
    /// Whether priority levels share those places between them; else each of the two is a limit of its own.
    pub enable_priority_and_fairness: bool,
    /// How many connections are served at once; more wait in the kernel's backlog.
    pub max_connections: usize,
    /// Bodies of resource requests above this are answered 413.
    pub max_request_body_bytes: usize,
    /// How long open requests may take to end after the shutdown began.
    pub shutdown_timeout: Duration,

    // Authentication
    pub client_ca_file: Option<PathBuf>,
    pub token_auth_file: Option<PathBuf>,
    pub anonymous_auth: bool,
    /// An AuthenticationConfiguration.
    pub authentication_config: Option<PathBuf>,
    /// The one issuer that the `--oidc-*` flags name.
    pub oidc: Option<crate::authentication::jwt::settings::OidcFlags>,
    pub enable_bootstrap_token_auth: bool,
    /// A kubeconfig of the server that knows tokens which nobody here knows.
    pub authentication_token_webhook_config_file: Option<PathBuf>,
    pub authentication_token_webhook_version: String,
    pub authentication_token_webhook_cache_ttl: Duration,
    /// Who signs the certificates of authenticating proxies; without it their headers mean nothing.
    pub requestheader_client_ca_file: Option<PathBuf>,
    /// Common names of proxies; any that the authority signed when empty.
    pub requestheader_allowed_names: Vec<String>,
    pub requestheader_username_headers: Vec<String>,
    pub requestheader_uid_headers: Vec<String>,
    pub requestheader_group_headers: Vec<String>,
    pub requestheader_extra_headers_prefix: Vec<String>,
    /// Public or private keys; the first is also published. With none given, the signing key's public half is used.
    pub service_account_key_files: Vec<PathBuf>,
    pub service_account_signing_key_file: PathBuf,
    /// The first issuer issues; all are accepted.
    pub service_account_issuers: Vec<String>,
    /// Audiences of the API server; the first issuer when empty.
    pub api_audiences: Vec<String>,
    pub service_account_max_token_expiration: Option<Duration>,
    /// Projected tokens of one hour are made to live a year, with a warning once the hour is over.
    pub service_account_extend_token_expiration: bool,
    pub service_account_jwks_uri: Option<String>,

    // Authorization
    /// An AuthorizationConfiguration; the fields below mean nothing beside it, but for the policy file.
    pub authorization_config: Option<PathBuf>,
    /// Names of AlwaysAllow, AlwaysDeny, ABAC, Node, RBAC and Webhook, in the order in which they are asked.
    pub authorization_mode: Vec<String>,
    /// The policies of the mode ABAC.
    pub authorization_policy_file: Option<PathBuf>,
    /// The mode Webhook.
    pub authorization_webhook: crate::authorization::configuration::WebhookFlags,

    // Audit
    /// Which requests are recorded; nothing is recorded without it.
    pub audit_policy_file: Option<PathBuf>,
    /// Where events are written; `-` is standard output.
    pub audit_log_path: Option<PathBuf>,
    pub audit_log_rotation: crate::audit::log::Rotation,
    pub audit_log_format: crate::audit::settings::Format,
    pub audit_log_options: crate::audit::settings::Options,
    pub audit_webhook: crate::audit::WebhookFlags,

    // Tracing and profiling
    /// A TracingConfiguration; nothing is traced without it.
    pub tracing_config_file: Option<PathBuf>,
    /// Whether `/debug/pprof/` is served.
    pub profiling: bool,

    // Kubelets
    pub kubelet_client_certificate: Option<PathBuf>,
    pub kubelet_client_key: Option<PathBuf>,
    /// Without it a kubelet's serving certificate is not verified, as upstream.
    pub kubelet_certificate_authority: Option<PathBuf>,

    // Aggregation
    /// How this server proves to aggregated servers that it is the one that may say who asks.
    pub proxy_client_cert_file: Option<PathBuf>,
    pub proxy_client_key_file: Option<PathBuf>,

    // Cluster
    pub service_cluster_ip_range: String,
    /// First and last port of NodePort Services.
    pub service_node_port_range: (u16, u16),
    pub event_ttl: Duration,
    pub enable_admission_plugins: Vec<String>,
    pub disable_admission_plugins: Vec<String>,
    /// An AdmissionConfiguration: what single plugins are told.
    pub admission_control_config_file: Option<PathBuf>,

    /// The command line that this process was started with, by flag: what `/flagz` shows. No flag holds a secret.
    pub flags: BTreeMap<String, String>,

    // Store
    /// Which resources are kept encrypted, and how.
    pub encryption_provider_config: Option<PathBuf>,
    /// Whether a change of that file is taken over while the server runs.
    pub encryption_provider_config_automatic_reload: bool,
    /// The etcd that holds everything, in the place of a journal.
    pub etcd: Option<crate::etcd::Etcd>,
    /// The folder of the journal; `None` keeps everything in memory (tests).
    pub store_dir: Option<PathBuf>,
    pub quota_backend_bytes: u64,
    /// How often the files of the store are read to find what has gone bad; zero is never.
    pub store_scrub_interval: Duration,
    /// How long old revisions can be read and watched from.
    pub history: Duration,
    /// What the journal's files keep beyond that, to be read.
    pub history_retention: Retention,
}

impl Config {
    /// Upstream's defaults; the paths are those of `pki_dir` as a cluster lays it out.
    pub fn new(pki_dir: impl Into<PathBuf>, store_dir: Option<PathBuf>) -> Self {
        let pki = pki_dir.into();
        Self {
            bind_address: IpAddr::from([0, 0, 0, 0]),
            secure_port: 6443,
            advertise_address: IpAddr::from([127, 0, 0, 1]),
            tls_cert_file: pki.join("apiserver.crt"),
            tls_private_key_file: pki.join("apiserver.key"),
            request_timeout: Duration::from_secs(60),
            min_request_timeout: Duration::from_secs(1800),
            max_requests_inflight: 400,
            max_mutating_requests_inflight: 200,
            enable_priority_and_fairness: true,
            max_connections: 10_000,
            max_request_body_bytes: 3 * 1024 * 1024,
            shutdown_timeout: Duration::from_secs(10),
            client_ca_file: Some(pki.join("ca.crt")),
            token_auth_file: None,
            anonymous_auth: true,
            authentication_config: None,
            oidc: None,
            enable_bootstrap_token_auth: false,
            authentication_token_webhook_config_file: None,
            authentication_token_webhook_version: "v1beta1".to_owned(),
            authentication_token_webhook_cache_ttl: Duration::from_secs(120),
            requestheader_client_ca_file: None,
            requestheader_allowed_names: Vec::new(),
            requestheader_username_headers: vec!["x-remote-user".to_owned()],
            requestheader_uid_headers: vec!["x-remote-uid".to_owned()],
            requestheader_group_headers: vec!["x-remote-group".to_owned()],
            requestheader_extra_headers_prefix: vec!["x-remote-extra-".to_owned()],
            service_account_key_files: Vec::new(),
            service_account_signing_key_file: pki.join("sa.key"),
            service_account_issuers: vec!["https://kubernetes.default.svc.cluster.local".to_owned()],
            api_audiences: Vec::new(),
            service_account_max_token_expiration: None,
            service_account_extend_token_expiration: true,
            service_account_jwks_uri: None,
            authorization_config: None,
            authorization_mode: vec!["Node".to_owned(), "RBAC".to_owned()],
            authorization_policy_file: None,
            authorization_webhook: crate::authorization::configuration::WebhookFlags::default(),
            audit_policy_file: None,
            audit_log_path: None,
            audit_log_rotation: crate::audit::log::Rotation::default(),
            audit_log_format: crate::audit::settings::Format::Json,
            audit_log_options: crate::audit::settings::Options::log(),
            audit_webhook: crate::audit::WebhookFlags::default(),
            tracing_config_file: None,
            profiling: true,
            kubelet_client_certificate: Some(pki.join("apiserver-kubelet-client.crt")),
            kubelet_client_key: Some(pki.join("apiserver-kubelet-client.key")),
            kubelet_certificate_authority: Some(pki.join("ca.crt")),
            proxy_client_cert_file: None,
            proxy_client_key_file: None,
            service_cluster_ip_range: "10.96.0.0/16".to_owned(),
            service_node_port_range: (30000, 32767),
            event_ttl: Duration::from_secs(3600),
            enable_admission_plugins: Vec::new(),
            disable_admission_plugins: Vec::new(),
            admission_control_config_file: None,
            flags: BTreeMap::new(),
            encryption_provider_config: None,
            encryption_provider_config_automatic_reload: false,
            etcd: None,
            store_dir,
            quota_backend_bytes: 2 * 1024 * 1024 * 1024,
            store_scrub_interval: Duration::from_secs(24 * 3600),
            history: Duration::from_secs(300),
            history_retention: Retention::OFF,
        }
    }

    /// Tells this server from others that serve the same cluster.
    pub fn id(&self) -> String {
        format!("apiserver-{}:{}", self.advertise_address, self.secure_port)
    }

    /// The audiences a token must name to be good for this server.
    pub fn audiences(&self) -> &[String] {
        if self.api_audiences.is_empty() {
            &self.service_account_issuers[..1.min(self.service_account_issuers.len())]
        } else {
            &self.api_audiences
        }
    }
}
