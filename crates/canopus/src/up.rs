//! `canopus up`: starts the cluster in the background, says what it waits for, and ends when it works.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kube::{Api, Client};

use crate::cli::UpArgs;
use crate::layout::Layout;
use crate::plan::{NodePlan, State};
use crate::{kubeconfig, machine, process, run};

/// How often a condition is looked at. Local and cheap, and it is what a person waits for.
const INTERVAL: Duration = Duration::from_millis(20);
/// A question that came before the service rules is lost, so the next one is asked soon.
const DNS_PATIENCE: Duration = Duration::from_millis(100);
/// Lines of the log that are shown when the start fails.
const LOG_LINES: usize = 15;

/// Starts the cluster unless it runs, and waits until it works.
pub async fn up(arguments: &UpArgs) -> Result<()> {
    let layout = Layout::new(&arguments.cluster.root.root_dir)?;
    let started = Instant::now();
    let mut steps = Steps { started, last: started };
    let mut process = match process::running(&layout)? {
        Some(pid) => {
            steps.done(&format!("already running (process {pid})"));
            Process { layout: &layout, child: None }
        }
        None => start(arguments, &layout, &mut steps)?,
    };
    let deadline = started + Duration::from_secs(arguments.wait_seconds);
    let mut result = wait_until_it_works(&layout, &mut process, deadline, &mut steps).await;
    if result.is_err() && process.child.is_none() && process::running(&layout)?.is_none() {
        // What was found had been killed and was only not gone yet.
        steps.done("that process has ended");
        process = start(arguments, &layout, &mut steps)?;
        result = wait_until_it_works(&layout, &mut process, deadline, &mut steps).await;
    }
    if let Err(error) = result {
        eprintln!("{}", tail(&layout));
        return Err(error.context(format!("the cluster does not work yet; its log is {}", layout.log().display())));
    }
    steps.total();
    merge_kubeconfig(arguments, &layout)?;
    print_what_next(&layout);
    Ok(())
}

/// Starts the cluster's process in the background.
fn start<'a>(arguments: &UpArgs, layout: &'a Layout, steps: &mut Steps) -> Result<Process<'a>> {
    machine::check_root()?;
    machine::check_programs(arguments.node.container_runtime_endpoint.is_none())?;
    // A state of an earlier life must not be taken for this one's.
    let _ = std::fs::remove_file(layout.state_file());
    let mut own: Vec<std::ffi::OsString> = std::env::args_os().skip(1).collect();
    own.push("--foreground".into());
    let child = process::spawn_in_background(layout, &own)?;
    steps.done(&format!("started process {}", child.id()));
    Ok(Process { layout, child: Some(child) })
}

/// The cluster's process: our child, or one that was there before.
struct Process<'a> {
    layout: &'a Layout,
    child: Option<Child>,
}

impl Process<'_> {
    /// How it ended, if it did.
    fn ended(&mut self) -> Result<Option<String>> {
        match &mut self.child {
            Some(child) => Ok(child.try_wait()?.map(|status| status.to_string())),
            None => Ok(process::running(self.layout)?.is_none().then(|| "it was not started here".to_owned())),
        }
    }
}

async fn wait_until_it_works(
    layout: &Layout,
    process: &mut Process<'_>,
    deadline: Instant,
    steps: &mut Steps,
) -> Result<()> {
    let began = Timestamp::now();
    let state = poll(process, deadline, "the process to write its state", async || {
        Ok(State::read(layout)?.filter(|_| layout.admin_conf().exists()))
    })
    .await?;
    let node = state.node.context("a control plane without a node runs below this folder; stop it first")?;
    let client = run::client_of(&kubeconfig::read(&layout.admin_conf())?).await?;
    poll(process, deadline, "the API server", async || {
        let ready = http::Request::get("/readyz").body(Vec::new())?;
        Ok(client.request_text(ready).await.ok())
    })
    .await?;
    steps.done("the API server is ready");
    // After a restart the store still says Ready: only a lease renewed in this life tells that the node is there.
    let since = process.child.is_some().then_some(began);
    poll(process, deadline, "the node to be Ready", async || {
        let ready = node_is_ready(&client, &node.name).await && is_alive(&client, &node.name, since).await;
        Ok(ready.then_some(()))
    })
    .await?;
    steps.done(&format!("node {} is Ready", node.name));
    poll(process, deadline, "DNS to answer", async || Ok(dns_answers(&node).await.then_some(()))).await?;
    steps.done(&format!("DNS answers at {}", node.cluster_dns));
    Ok(())
}

async fn node_is_ready(client: &Client, name: &str) -> bool {
    let Ok(Some(node)) = Api::<Node>::all(client.clone()).get_opt(name).await else { return false };
    let conditions = node.status.and_then(|status| status.conditions).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Whether the node's lease was renewed at or after `since`.
async fn is_alive(client: &Client, name: &str, since: Option<Timestamp>) -> bool {
    let Some(since) = since else { return true };
    let Ok(Some(lease)) = Api::<Lease>::namespaced(client.clone(), "kube-node-lease").get_opt(name).await else {
        return false;
    };
    lease.spec.and_then(|spec| spec.renew_time).is_some_and(|renewed| renewed.0 >= since)
}

/// Asks for the API server's own name at the service address, so the service proxy is on the way as it is for pods.
pub async fn dns_answers(node: &NodePlan) -> bool {
    let IpAddr::V4(_) = node.cluster_dns else { return false };
    let server = SocketAddr::new(node.cluster_dns, 53);
    dns::probe::address_of(server, "kubernetes.default.svc.cluster.local", DNS_PATIENCE).await.is_ok()
}

/// Repeats `look` until it has found something, the time is over or the process has ended.
async fn poll<T>(
    process: &mut Process<'_>,
    deadline: Instant,
    what: &str,
    mut look: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if let Some(how) = process.ended()? {
            bail!("the process has ended ({how}) while waiting for {what}");
        }
        if Instant::now() > deadline {
            bail!("waited too long for {what}");
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

fn merge_kubeconfig(arguments: &UpArgs, layout: &Layout) -> Result<()> {
    if arguments.no_kubeconfig {
        return Ok(());
    }
    let Some(file) = kubeconfig::users_file() else { return Ok(()) };
    if file == layout.admin_conf() {
        return Ok(());
    }
    kubeconfig::merge_into(&file, &kubeconfig::read(&layout.admin_conf())?)?;
    println!("  kubectl is set up: {}", file.display());
    Ok(())
}

fn print_what_next(layout: &Layout) {
    let program = std::env::args().next().unwrap_or_else(|| "canopus".into());
    let _ = writeln!(
        std::io::stdout(),
        "\nTry:\n  {program} kubectl get pods --all-namespaces\n  {program} kubectl create deployment web --image=nginx\n  {program} status\nThe kubeconfig of this cluster is {}.",
        layout.admin_conf().display()
    );
}

fn tail(layout: &Layout) -> String {
    let text = std::fs::read_to_string(layout.log()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}

/// Prints each step with the time that it took.
struct Steps {
    started: Instant,
    last: Instant,
}

impl Steps {
    fn done(&mut self, what: &str) {
        let _ = writeln!(std::io::stdout(), "  {what} ({:.2} s)", self.last.elapsed().as_secs_f32());
        self.last = Instant::now();
    }

    fn total(&self) {
        let _ = writeln!(std::io::stdout(), "The cluster works after {:.2} s.", self.started.elapsed().as_secs_f32());
    }
}
