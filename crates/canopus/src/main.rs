//! The one binary. Called as `canopus` it is the life of a cluster; called by the name of a component (`kubectl`,
//! `kubelet`, `kube-apiserver`, ...) or as a CNI plugin it is that.

mod addons;
mod arguments;
mod backup;
mod cli;
mod command_line;
mod components;
mod control_plane;
mod down;
mod image_loader;
mod kubeconfig;
mod layout;
mod machine;
mod node;
mod pki;
mod plan;
mod process;
mod run;
mod status;
mod store_files;
mod up;

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};
use tracing_subscriber::EnvFilter;

use cli::{Cli, Command};

/// What is logged unless `CANOPUS_LOG` says otherwise. Libraries that log each request or report what their callers
/// handle anyway are kept quiet.
const LOG_FILTER: &str = "info,hickory_server=warn,kube_client=off,kube_runtime=error,object_store=error";

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let name = arguments.first().map(Path::new).and_then(Path::file_stem).and_then(OsStr::to_str);
    match name {
        Some(plugin) if network::host::PLUGINS.contains(&plugin) => return network::cni::main(),
        Some("kubectl") => return kubectl(arguments),
        Some(name) if components::is_component(name) => return components::main(name, arguments.clone()),
        _ => {}
    }
    // `canopus kubelet ...` is the same as calling it `kubelet`.
    match arguments.get(1).and_then(|first| first.to_str()) {
        Some("kubectl") => kubectl(std::iter::once("kubectl".into()).chain(arguments.into_iter().skip(2)).collect()),
        Some(name) if components::is_component(name) => components::main(name, arguments[1..].to_vec()),
        _ => canopus(arguments),
    }
}

fn kubectl(arguments: Vec<OsString>) -> ExitCode {
    use_crypto();
    kubectl::main(arguments)
}

/// One cryptography provider for all TLS in this process.
fn use_crypto() {
    // An error means that it is set already, which is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

fn canopus(arguments: Vec<OsString>) -> ExitCode {
    let matches = Cli::command().get_matches_from(arguments);
    command_line::remember(&Cli::command(), &matches);
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    use_crypto();
    log_to_standard_error(LOG_FILTER);
    block_on(async {
        match cli.command {
            Command::Up(arguments) if arguments.foreground => run::everything(&arguments).await.map(|()| true),
            Command::Up(arguments) => up::up(&arguments).await.map(|()| true),
            Command::Down(arguments) => down::down(&arguments).await.map(|()| true),
            Command::Status(arguments) => status::status(&arguments).await,
            Command::Server(arguments) => run::server(&arguments).await.map(|()| true),
            Command::Agent(arguments) => run::agent(&arguments).await.map(|()| true),
            Command::Store(command) => store_files::run(&command).await.map(|()| true),
            Command::Backup(arguments) => backup::backup(&arguments).await.map(|()| true),
            Command::Restore(arguments) => backup::restore(&arguments).await.map(|()| true),
            Command::Kubectl { .. } => unreachable!("handled before the command line is parsed"),
        }
    })
}

/// Logs what `CANOPUS_LOG` asks for, else what `filter` does.
fn log_to_standard_error(filter: &str) {
    let filter = EnvFilter::try_from_env("CANOPUS_LOG").unwrap_or_else(|_| EnvFilter::new(filter));
    let asked = filter.to_string();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    let log = log.with_filter_reloading();
    let handle = log.reload_handle();
    log.init();
    kube_apiserver::profiling::flags::offer(move |verbosity| {
        let filter = EnvFilter::new(filter_of(verbosity, &asked));
        if let Err(error) = handle.reload(filter) {
            tracing::error!(%error, "failed to set the log's level");
        }
    });
}

/// What is logged at a verbosity of klog's: up to 3 what was asked for at the start.
fn filter_of(verbosity: i32, asked: &str) -> &str {
    match verbosity {
        ..=3 => asked,
        // What is below HTTP tells of bytes.
        4..=5 => "debug,h2=info,hyper=info,hyper_util=info,rustls=info",
        _ => "trace,h2=info,hyper_util=info,rustls=info",
    }
}

/// Runs `work` in a runtime of its own; whether it went well becomes the exit code.
fn block_on(work: impl Future<Output = anyhow::Result<bool>>) -> ExitCode {
    // Sockets and other threads are heard after each eighth of tokio's usual number of steps: a burst (a thousand watchers of
    // one write) delays the next request less. A look costs about a microsecond.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().event_interval(8).global_queue_interval(8).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: failed to start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(work);
    // Blocking work that hangs (a mount, a dead runtime) must not keep the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
