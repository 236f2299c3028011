//! What a command is given: the console, the global flags, and (made when first asked for) the configuration, the client
//! and the server's resources.

use std::sync::Arc;
use std::time::Duration;

use clap::ArgMatches;
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::api::Api;
use crate::console::Console;
use crate::discovery::Discovery;
use crate::error::{Error, Result};
use crate::flags::{self, Flags};
use crate::kubeconfig::{self, Target};

#[derive(Debug, Clone, Default)]
pub struct Globals {
    pub kubeconfig: Option<String>,
    pub context: Option<String>,
    pub cluster: Option<String>,
    pub user: Option<String>,
    pub namespace: Option<String>,
    pub server: Option<String>,
    pub token: Option<String>,
    pub impersonate: Option<String>,
    pub impersonate_groups: Vec<String>,
    pub impersonate_uid: Option<String>,
    pub request_timeout: Option<String>,
    pub certificate_authority: Option<String>,
    pub client_certificate: Option<String>,
    pub client_key: Option<String>,
    pub tls_server_name: Option<String>,
    pub username: Option<String>,
    pub password: Option<String>,
    pub insecure: bool,
    pub warnings_as_errors: bool,
    pub verbosity: u8,
}

impl Globals {
    fn of(matches: &ArgMatches) -> Self {
        // Flags may stand before or behind the command: the innermost command knows them all.
        let mut deepest = matches;
        while let Some((_, inner)) = deepest.subcommand() {
            deepest = inner;
        }
        let text = |name: &str| deepest.text(name).filter(|text| !text.is_empty()).map(str::to_owned);
        Globals {
            kubeconfig: text("kubeconfig"),
            context: text("context"),
            cluster: text("cluster"),
            user: text("user"),
            namespace: text("namespace"),
            server: text("server"),
            token: text("token"),
            impersonate: text("as"),
            impersonate_groups: deepest.texts("as-group"),
            impersonate_uid: text("as-uid"),
            request_timeout: text("request-timeout"),
            certificate_authority: text("certificate-authority"),
            client_certificate: text("client-certificate"),
            client_key: text("client-key"),
            tls_server_name: text("tls-server-name"),
            username: text("username"),
            password: text("password"),
            insecure: deepest.on("insecure-skip-tls-verify"),
            warnings_as_errors: deepest.on("warnings-as-errors"),
            verbosity: text("v").and_then(|level| level.parse().ok()).unwrap_or(0),
        }
    }
}

pub struct Context {
    pub(crate) console: Arc<Console>,
    pub globals: Globals,
    target: OnceCell<Target>,
    api: OnceCell<Api>,
    discovery: OnceCell<Discovery>,
}

impl Context {
    pub(crate) fn new(console: Console, matches: &ArgMatches) -> Self {
        Context {
            console: Arc::new(console),
            globals: Globals::of(matches),
            target: OnceCell::new(),
            api: OnceCell::new(),
            discovery: OnceCell::new(),
        }
    }

    /// The merged kubeconfig.
    pub(crate) fn config(&self) -> Result<Value> {
        kubeconfig::load(&self.globals)
    }

    pub(crate) async fn target(&self) -> Result<&Target> {
        self.target.get_or_try_init(|| async { kubeconfig::target(&self.config()?, &self.globals) }).await
    }

    /// The namespace of requests: the flag's, the context's, or "default".
    pub(crate) async fn namespace(&self) -> Result<String> {
        Ok(self.target().await?.namespace.clone())
    }

    pub(crate) async fn api(&self) -> Result<&Api> {
        self.api
            .get_or_try_init(|| async {
                let timeout = match self.globals.request_timeout.as_deref() {
                    None | Some("0") => None,
                    Some(text) => Some(flags::duration(text)?).filter(|timeout| *timeout > Duration::ZERO),
                };
                Api::connect(self.target().await?, &self.globals, timeout, self.console.clone()).await
            })
            .await
    }

    pub(crate) async fn discovery(&self) -> Result<&Discovery> {
        self.discovery.get_or_try_init(|| async { Discovery::load(self.api().await?).await }).await
    }

    /// Fails when the server warned and warnings are errors.
    pub(crate) fn check_warnings(&self) -> Result<()> {
        let count = self.api.get().map_or(0, Api::warning_count);
        match count {
            0 => Ok(()),
            _ if !self.globals.warnings_as_errors => Ok(()),
            1 => Err(Error::message("1 warning received")),
            count => Err(Error::message(format!("{count} warnings received"))),
        }
    }
}
