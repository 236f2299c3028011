//! `kubectl cluster-info`: where the control plane and the cluster's own services are.

use clap::{ArgMatches, Command};

use crate::api::Query;
use crate::context::Context;
use crate::error::Result;
use crate::selection;
use crate::value::{self, int, list, text};

pub fn command() -> Command {
    Command::new("cluster-info").about("Show where the control plane is")
}

pub async fn run(context: &Context, _: &ArgMatches) -> Result<()> {
    let services = context.discovery().await?.find("services")?;
    let query =
        Query::new(services.collection(Some("kube-system"))).add("labelSelector", "kubernetes.io/cluster-service=true");
    let (found, _) = selection::read_list(context, query).await?;
    let server = context.target().await?.server().trim_end_matches('/').to_owned();
    context.console.line(&format!("Kubernetes control plane is running at {server}"));
    for service in found {
        let label =
            value::at(&service, "metadata.labels")["kubernetes.io/name"].as_str().unwrap_or(value::name(&service));
        let port = list(&service, "spec.ports").first().map(|port| match text(port, "name") {
            "" => int(port, "port").to_string(),
            name => name.to_owned(),
        });
        let place = format!("{}:{}", value::name(&service), port.unwrap_or_default());
        let line = format!(
            "{label} is running at {server}/api/v1/namespaces/{}/services/{place}/proxy",
            value::namespace(&service)
        );
        context.console.line(&crate::console::harmless(&line));
    }
    Ok(())
}
