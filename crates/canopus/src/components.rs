//! The single components under upstream's names. Called as `kube-apiserver`, `kubelet` and so on, or as
//! `canopus kube-apiserver`, this program is that one component with upstream's flags for what it really does. A flag of
//! upstream that is not in a component's list is refused as unknown, never ignored.
//!
//! Each file holds one component: its flags and what they lead to. To add a flag, add a field to the struct and use it.

mod config_file;
mod controller_manager;
mod flags;
mod health;
mod kube_apiserver;
mod kube_proxy;
mod kubelet;
pub mod leader_election;
mod scheduler;
mod volume_flags;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::run;

pub use kube_apiserver::{EtcdFlags, HistoryFlags, StoreFlags};

/// Whether a component has this name.
pub fn is_component(name: &str) -> bool {
    matches!(name, "kube-apiserver" | "kube-controller-manager" | "kube-scheduler" | "kubelet" | "kube-proxy")
}

/// Runs the component `name` until it is stopped; `arguments` begins with the program's name.
pub fn main(name: &str, arguments: Vec<OsString>) -> ExitCode {
    match name {
        "kube-apiserver" => start::<kube_apiserver::Flags>(arguments),
        "kube-controller-manager" => start::<controller_manager::Flags>(arguments),
        "kube-scheduler" => start::<scheduler::Flags>(arguments),
        "kubelet" => start::<kubelet::Flags>(arguments),
        "kube-proxy" => start::<kube_proxy::Flags>(arguments),
        _ => {
            eprintln!("Error: there is no component {name:?}");
            ExitCode::FAILURE
        }
    }
}

/// A component: its command line, and the parts that it starts.
trait Component: clap::Parser {
    const NAME: &'static str;

    fn verbosity(&self) -> u8;

    async fn start(self, tasks: &mut JoinSet<Result<()>>, shutdown: &CancellationToken) -> Result<()>;
}

fn start<C: Component>(arguments: Vec<OsString>) -> ExitCode {
    let component: C = match flags::parse(C::NAME, arguments) {
        Ok(component) => component,
        Err(code) => return code,
    };
    crate::use_crypto();
    crate::log_to_standard_error(crate::filter_of(component.verbosity().into(), crate::LOG_FILTER));
    crate::block_on(async {
        let (mut tasks, shutdown) = (JoinSet::new(), CancellationToken::new());
        component.start(&mut tasks, &shutdown).await?;
        run::until_stopped(tasks, shutdown).await.map(|()| true)
    })
}

/// Connection settings from `--kubeconfig`. Relative file names in it mean those beside it.
fn kube_config_of(file: &Path) -> impl Future<Output = Result<kube::Config>> {
    let file = file.to_path_buf();
    async move {
        let describe = || format!("failed to read the kubeconfig {}", file.display());
        let kubeconfig = Kubeconfig::read_from(&file).with_context(describe)?;
        kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.with_context(describe)
    }
}

/// A client with the identity of the kubeconfig.
fn client_of(config: kube::Config, component: &str) -> Result<kube::Client> {
    let client = kube::Client::try_from(config).context("failed to make a client")?;
    let service = tower::service_fn(move |request| {
        let client = client.clone();
        async move { client.send(request).await }
    });
    Ok(client::for_service(service, &crate::control_plane::user_agent(component)))
}
