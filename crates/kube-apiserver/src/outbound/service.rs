//! Where a Service leads.

use machinery::go_text::quote;

use crate::registry::{Registry, object};

/// One of its pods, which is reached also where nothing routes the Service's address, else that address. The reason is in
/// upstream's words.
pub fn resolve(registry: &Registry, namespace: &str, name: &str, port: u16) -> Result<(String, u16), String> {
    let not_found = || format!("service {} not found", quote(name));
    let (services, _) = api::find("", "v1", "services").ok_or_else(not_found)?;
    let found = registry.get(services, namespace, name).map_err(|_| not_found())?;
    let address = object::text(&found, "/spec/clusterIP");
    match object::text(&found, "/spec/type") {
        "ExternalName" => return Ok((object::text(&found, "/spec/externalName").to_owned(), port)),
        "ClusterIP" if address == "None" => return Err("cannot route to service with ClusterIP \"None\"".to_owned()),
        "ClusterIP" | "LoadBalancer" | "NodePort" => {}
        other => return Err(format!("unsupported service type {}", quote(other))),
    }
    let ports = object::list(&found, "/spec/ports");
    if !ports.iter().any(|own| own["port"].as_u64() == Some(port.into())) {
        return Err(format!("no service port {port} found for service {}", quote(name)));
    }
    match crate::connect::service::endpoint(registry, namespace, name, &port.to_string()) {
        Ok((pod, port)) => Ok((pod.to_string(), port)),
        Err(_) => Ok((address.to_owned(), port)),
    }
}
