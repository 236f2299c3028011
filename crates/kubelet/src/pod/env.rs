//! A container's environment: services' variables, envFrom, env with every source, and `$(NAME)` references.
//!
//! `$(A)` becomes A's value if it is known so far and stays as it is if not; `$$(A)` is a literal `$(A)`.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::{
    api::core::v1::{ConfigMap, Container, Pod, Secret, Service},
    apimachinery::pkg::api::resource::Quantity,
};

use super::{
    PodExt,
    fields::{self, Addresses},
};

/// Everything an environment is made from, fetched beforehand. An object that is absent maps to None.
#[derive(Debug, Default)]
pub struct Sources {
    /// ConfigMaps of the pod's namespace.
    pub config_maps: HashMap<String, Option<ConfigMap>>,
    /// Secrets of the pod's namespace.
    pub secrets: HashMap<String, Option<Secret>>,
    /// Services whose variables the container gets.
    pub services: Vec<std::sync::Arc<Service>>,
    /// The pod's and the node's addresses.
    pub addresses: Addresses,
    /// The node's allocatable resources.
    pub allocatable: BTreeMap<String, Quantity>,
}

/// Names of the ConfigMaps and Secrets that a container's environment refers to.
pub fn references(container: &Container) -> (Vec<String>, Vec<String>) {
    let (mut config_maps, mut secrets) = (Vec::new(), Vec::new());
    for from in container.env_from.iter().flatten() {
        config_maps.extend(from.config_map_ref.iter().map(|r| r.name.clone()));
        secrets.extend(from.secret_ref.iter().map(|r| r.name.clone()));
    }
    for source in container.env.iter().flatten().filter_map(|e| e.value_from.as_ref()) {
        config_maps.extend(source.config_map_key_ref.iter().map(|r| r.name.clone()));
        secrets.extend(source.secret_key_ref.iter().map(|r| r.name.clone()));
    }
    (config_maps, secrets)
}

/// Variables in order; later ones replace earlier ones of the same name in place.
#[derive(Debug, Default)]
struct Environment {
    order: Vec<(String, String)>,
    index: HashMap<String, usize>,
}

impl Environment {
    fn set(&mut self, name: String, value: String) {
        match self.index.get(&name) {
            Some(&at) => self.order[at].1 = value,
            None => {
                self.index.insert(name.clone(), self.order.len());
                self.order.push((name, value));
            }
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.index.get(name).map(|&at| self.order[at].1.as_str())
    }
}

/// The environment of `container`, or why it cannot be made (the text of CreateContainerConfigError).
pub fn build(pod: &Pod, container: &Container, sources: &Sources) -> Result<Vec<(String, String)>, String> {
    let mut out = Environment::default();
    for (name, value) in sources.services.iter().flat_map(|service| service_variables(service)) {
        out.set(name, value);
    }
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        if let Some(reference) = &from.config_map_ref {
            match sources.config_maps.get(&reference.name).and_then(Option::as_ref) {
                Some(map) => {
                    for (key, value) in map.data.iter().flatten() {
                        out.set(format!("{prefix}{key}"), value.clone());
                    }
                }
                None if reference.optional.unwrap_or(false) => {}
                None => return Err(format!("configmap {:?} not found", reference.name)),
            }
        }
        if let Some(reference) = &from.secret_ref {
            match sources.secrets.get(&reference.name).and_then(Option::as_ref) {
                Some(secret) => {
                    for (key, value) in secret.data.iter().flatten() {
                        out.set(format!("{prefix}{key}"), String::from_utf8_lossy(&value.0).into_owned());
                    }
                }
                None if reference.optional.unwrap_or(false) => {}
                None => return Err(format!("secret {:?} not found", reference.name)),
            }
        }
    }
    for variable in container.env.iter().flatten() {
        let value = match (&variable.value, &variable.value_from) {
            (Some(value), _) if !value.is_empty() => Some(expand(value, |name| out.get(name).map(str::to_owned))),
            (_, Some(source)) => value_from(pod, container, source, sources)?,
            _ => Some(String::new()),
        };
        if let Some(value) = value {
            out.set(variable.name.clone(), value);
        }
    }
    Ok(out.order)
}

fn value_from(
    pod: &Pod,
    container: &Container,
    source: &k8s_openapi::api::core::v1::EnvVarSource,
    sources: &Sources,
) -> Result<Option<String>, String> {
    if let Some(field) = &source.field_ref {
        return fields::field(pod, &sources.addresses, &field.field_path).map(Some);
    }
    if let Some(selector) = &source.resource_field_ref {
        let named = selector.container_name.as_deref().filter(|name| !name.is_empty());
        let target = match named {
            Some(name) => pod.find_container(name).map(|(_, c)| c).ok_or(format!("container {name} not found"))?,
            None => container.clone(),
        };
        return fields::resource_field(&target, selector, &sources.allocatable).map(Some);
    }
    if let Some(key) = &source.config_map_key_ref {
        let optional = key.optional.unwrap_or(false);
        let Some(map) = sources.config_maps.get(&key.name).and_then(Option::as_ref) else {
            return if optional { Ok(None) } else { Err(format!("configmap {:?} not found", key.name)) };
        };
        return match map.data.as_ref().and_then(|data| data.get(&key.key)) {
            Some(value) => Ok(Some(value.clone())),
            None if optional => Ok(None),
            None => Err(format!("couldn't find key {} in ConfigMap {}/{}", key.key, pod.namespace(), key.name)),
        };
    }
    if let Some(key) = &source.secret_key_ref {
        let optional = key.optional.unwrap_or(false);
        let Some(secret) = sources.secrets.get(&key.name).and_then(Option::as_ref) else {
            return if optional { Ok(None) } else { Err(format!("secret {:?} not found", key.name)) };
        };
        return match secret.data.as_ref().and_then(|data| data.get(&key.key)) {
            Some(value) => Ok(Some(String::from_utf8_lossy(&value.0).into_owned())),
            None if optional => Ok(None),
            None => Err(format!("couldn't find key {} in Secret {}/{}", key.key, pod.namespace(), key.name)),
        };
    }
    if source.file_key_ref.is_some() {
        return Err("env from files is not supported by this node".into());
    }
    Ok(Some(String::new()))
}

/// Replaces `$(NAME)` by what `lookup` knows.
pub fn expand(text: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|r| r.split_once(')')) {
            match lookup(name) {
                Some(value) => out.push_str(&value),
                None => {
                    out.push_str("$(");
                    out.push_str(name);
                    out.push(')');
                }
            }
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

/// Whether a pod with these settings gets a service's variables: its namespace's, and always the API server's own.
pub fn is_linked(service: &Service, namespace: &str, links: bool) -> bool {
    let metadata = &service.metadata;
    let own = metadata.namespace.as_deref() == Some(namespace);
    let api = metadata.namespace.as_deref() == Some("default") && metadata.name.as_deref() == Some("kubernetes");
    let address = service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()).unwrap_or_default();
    (api || links && own) && !matches!(address, "" | "None")
}

/// `REDIS_SERVICE_HOST` and its many relatives.
fn service_variables(service: &Service) -> Vec<(String, String)> {
    let name = service.metadata.name.as_deref().unwrap_or_default();
    let name = name.to_uppercase().replace(['-', '.'], "_");
    let Some(spec) = &service.spec else { return Vec::new() };
    let host = spec.cluster_ip.clone().unwrap_or_default();
    let ports = spec.ports.as_deref().unwrap_or_default();
    let Some(first) = ports.first() else { return Vec::new() };
    let bracketed = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    let mut out =
        vec![(format!("{name}_SERVICE_HOST"), host.clone()), (format!("{name}_SERVICE_PORT"), first.port.to_string())];
    for port in ports {
        if let Some(port_name) = port.name.as_deref().filter(|n| !n.is_empty()) {
            let suffix = port_name.to_uppercase().replace('-', "_");
            out.push((format!("{name}_SERVICE_PORT_{suffix}"), port.port.to_string()));
        }
    }
    for (index, port) in ports.iter().enumerate() {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let url = format!("{}://{bracketed}:{}", protocol.to_lowercase(), port.port);
        if index == 0 {
            out.push((format!("{name}_PORT"), url.clone()));
        }
        let prefix = format!("{name}_PORT_{}_{}", port.port, protocol.to_uppercase());
        out.push((prefix.clone(), url));
        out.push((format!("{prefix}_PROTO"), protocol.to_lowercase()));
        out.push((format!("{prefix}_PORT"), port.port.to_string()));
        out.push((format!("{prefix}_ADDR"), host.clone()));
    }
    out
}
