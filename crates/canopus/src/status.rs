//! `canopus status`: what runs below a root folder and whether it is well.

use anyhow::Result;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::ListParams;
use kube::{Api, Client};

use crate::cli::RootArgs;
use crate::layout::Layout;
use crate::plan::State;
use crate::{kubeconfig, process, run, up};

/// Prints one line a part; true when all is well.
pub async fn status(arguments: &RootArgs) -> Result<bool> {
    let layout = Layout::new(&arguments.root_dir)?;
    let Some(pid) = process::running(&layout)? else {
        println!("not running below {}", layout.root().display());
        return Ok(false);
    };
    println!("process {pid}, {} MiB resident, below {}", resident_mib(pid), layout.root().display());
    let Some(state) = State::read(&layout)? else { return Ok(false) };
    let mut well = true;
    if let Some(cluster) = &state.cluster {
        let client = run::client_of(&kubeconfig::read(&layout.admin_conf())?).await?;
        let ready = client.request_text(http::Request::get("/readyz").body(Vec::new())?).await;
        println!("API server at {}: {}", cluster.url(), verdict(ready.is_ok()));
        well &= ready.is_ok();
        if ready.is_ok() {
            well &= describe_cluster(&client).await?;
        }
    }
    if let Some(node) = &state.node {
        let answers = up::dns_answers(node).await;
        println!("DNS at {}: {}", node.cluster_dns, verdict(answers));
        well &= answers;
    }
    Ok(well)
}

async fn describe_cluster(client: &Client) -> Result<bool> {
    let mut well = true;
    for node in Api::<Node>::all(client.clone()).list(&ListParams::default()).await? {
        let conditions = node.status.unwrap_or_default().conditions.unwrap_or_default();
        let ready = conditions.iter().find(|condition| condition.type_ == "Ready");
        let is_ready = ready.is_some_and(|condition| condition.status == "True");
        let message = ready.and_then(|condition| condition.message.clone()).unwrap_or_default();
        let name = node.metadata.name.unwrap_or_default();
        println!("node {name}: {}", if is_ready { "Ready".to_owned() } else { format!("NotReady: {message}") });
        well &= is_ready;
    }
    let pods = Api::<Pod>::all(client.clone()).list(&ListParams::default()).await?;
    let phase = |pod: &Pod| pod.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default();
    let running = pods.items.iter().filter(|pod| phase(pod) == "Running").count();
    println!("pods: {}, of which {running} run", pods.items.len());
    Ok(well)
}

fn verdict(well: bool) -> &'static str {
    if well { "well" } else { "does not answer" }
}

fn resident_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}
