//! The services: clusterip, nodeport, loadbalancer, externalname.

use clap::Command;
use serde_json::{Map, Value, json};

use super::{Generator, Input, object};
use crate::error::{Error, Result};
use crate::flags::{Flags, list, option};

fn with_ports(command: Command) -> Command {
    command.arg(list("tcp", "PORT or PORT:TARGET"))
}

pub const CLUSTER_IP: Generator = Generator {
    path: &["service", "clusterip"],
    command: || {
        with_ports(Command::new("clusterip").about("Create a service with an address inside the cluster"))
            .arg(option("clusterip", "The address, or None for a headless service"))
    },
    build: |input| {
        let address = input.matches.text("clusterip").unwrap_or("");
        let ports = ports(input)?;
        if ports.is_empty() && address != "None" {
            return Err(Error::message("at least one tcp port specifier must be provided"));
        }
        let mut service = service(input.name, "ClusterIP", ports);
        if !address.is_empty() {
            service["spec"]["clusterIP"] = address.into();
        }
        Ok(service)
    },
    needs_discovery: false,
};

pub const NODE_PORT: Generator = Generator {
    path: &["service", "nodeport"],
    command: || {
        with_ports(Command::new("nodeport").about("Create a service with a port on every node"))
            .arg(option("node-port", "The port on the nodes"))
    },
    build: |input| {
        let mut ports = needed_ports(input)?;
        if let (Some(node_port), Some(first)) =
            (input.matches.number("node-port")?.filter(|port| *port > 0), ports.first_mut())
        {
            first["nodePort"] = node_port.into();
        }
        Ok(service(input.name, "NodePort", ports))
    },
    needs_discovery: false,
};

pub const LOAD_BALANCER: Generator = Generator {
    path: &["service", "loadbalancer"],
    command: || with_ports(Command::new("loadbalancer").about("Create a service behind a load balancer")),
    build: |input| Ok(service(input.name, "LoadBalancer", needed_ports(input)?)),
    needs_discovery: false,
};

pub const EXTERNAL_NAME: Generator = Generator {
    path: &["service", "externalname"],
    command: || {
        with_ports(Command::new("externalname").about("Create a service that stands for an outside name"))
            .arg(option("external-name", "The name"))
    },
    build: |input| {
        let Some(name) = input.matches.text("external-name").filter(|name| !name.is_empty()) else {
            return Err(Error::message("required flag(s) \"external-name\" not set"));
        };
        let mut service = service(input.name, "ExternalName", ports(input)?);
        service["spec"]["externalName"] = name.into();
        Ok(service)
    },
    needs_discovery: false,
};

fn needed_ports(input: &Input<'_>) -> Result<Vec<Value>> {
    let ports = ports(input)?;
    if ports.is_empty() { Err(Error::message("at least one tcp port specifier must be provided")) } else { Ok(ports) }
}

fn ports(input: &Input<'_>) -> Result<Vec<Value>> {
    let mut ports = Vec::new();
    for text in input.matches.split("tcp") {
        let (port, target) = text.split_once(':').unwrap_or((&text, ""));
        let bad = || {
            Error::message(format!(
                "invalid port format {text}, expected PORT or PORT:TARGET with numbers from 1 to 65535"
            ))
        };
        let number: u16 = port.parse().ok().filter(|port| *port > 0).ok_or_else(bad)?;
        let target = match target {
            "" => json!(number),
            name => name.parse::<u16>().map_or_else(|_| json!(name), |target| json!(target)),
        };
        ports.push(json!({"name": text.replace(':', "-"), "protocol": "TCP", "port": number, "targetPort": target}));
    }
    Ok(ports)
}

fn service(name: &str, kind: &str, ports: Vec<Value>) -> Value {
    let mut spec = Map::new();
    if !ports.is_empty() {
        spec.insert("ports".into(), ports.into());
    }
    spec.insert("selector".into(), json!({"app": name}));
    spec.insert("type".into(), kind.into());
    let mut service = object("v1", "Service", name, json!({"spec": spec, "status": {"loadBalancer": {}}}));
    service["metadata"]["labels"] = json!({"app": name});
    service
}
