//! Ingress: which Service answers for which host and path.

mod convert;

use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, Ingress, IngressBackend, IngressRule, IngressServiceBackend, IngressSpec, IngressTLS,
};
use machinery::field::{Error, ErrorList, Path};
use machinery::names as rules;
use serde_json::Value;

use crate::core::pod::volumes::required;
use crate::kind::{Column, Deprecated, Kind, Version};
use crate::value::{list, text};
use crate::{cells, checks, names, strategy};

const SCHEMA: &str = "io.k8s.api.networking.v1.Ingress";
const SCHEMA_V1BETA1: &str = "io.k8s.api.networking.v1beta1.Ingress";
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";
const PATH_TYPES: &[&str] = &["Exact", "ImplementationSpecific", "Prefix"];
const PATH_PARTS: [&str; 5] = ["//", "/./", "/../", "%2f", "%2F"];
const PATH_ENDS: [&str; 2] = ["/..", "/."];
/// Hosts that a table shows.
const HOSTS_SHOWN: usize = 3;

pub static KIND: Kind = Kind {
    group: "networking.k8s.io",
    kind: "Ingress",
    list_kind: "IngressList",
    plural: "ingresses",
    singular: "ingress",
    short_names: &["ing"],
    versions: &[Version::stored("v1", SCHEMA), v1beta1("networking.k8s.io", "1.19"), v1beta1("extensions", "1.14")],
    status: true,
    generation: true,
    columns: &[
        Column::NAME,
        Column::new(
            "Class",
            "string",
            0,
            "The name of the IngressClass resource that should be used for additional configuration",
        ),
        Column::new("Hosts", "string", 0, "Hosts that incoming requests are matched against before the ingress rule"),
        Column::new("Address", "string", 0, "Address is a list containing ingress points for the load-balancer"),
        Column::new("Ports", "string", 0, "Ports of TLS configurations that open"),
        Column::AGE,
    ],
    cells: |v, now| {
        let ports = if list(v, "/spec/tls").is_empty() { "80" } else { "80, 443" };
        vec![
            cells::name(v),
            cells::or_none(text(v, "/spec/ingressClassName")),
            hosts(v).into(),
            addresses(v).into(),
            ports.into(),
            cells::age(v, now),
        ]
    },
    hooks: hooks!(
        Ingress,
        true,
        names::subdomain,
        part {
            prepare_create: strategy::create_with_status,
            prepare_update: strategy::update_spec,
            prepare_status_update: strategy::update_status,
            validate: |ingress: &Ingress| {
                let mut errors: ErrorList = one_class(ingress).into_iter().collect();
                errors.extend(validate(ingress));
                errors
            },
            validate_update: |new, _old| validate(new),
            validate_status_update: |new: &Ingress, _old: &Ingress| validate_status(new),
            warnings: warnings,
        }
    ),
    ..Kind::BASE
};

/// The old version, in one of its two homes.
const fn v1beta1(group: &'static str, since: &'static str) -> Version {
    let deprecated = Deprecated { since, removed: Some("1.22"), replacement: "networking.k8s.io/v1 Ingress" };
    Version {
        convert: Some(convert::V1BETA1),
        ..Version::old(group, "v1beta1", SCHEMA_V1BETA1, deprecated, convert::default_path_types)
    }
}

fn hosts(ingress: &Value) -> String {
    let hosts = list(ingress, "/spec/rules").iter().map(|rule| text(rule, "/host")).filter(|host| !host.is_empty());
    let hosts: Vec<&str> = hosts.collect();
    match hosts.len() {
        0 => "*".to_string(),
        count if count > HOSTS_SHOWN => {
            format!("{} + {} more...", hosts[..HOSTS_SHOWN].join(","), count - HOSTS_SHOWN)
        }
        _ => hosts.join(","),
    }
}

fn addresses(ingress: &Value) -> String {
    let points = list(ingress, "/status/loadBalancer/ingress").iter();
    let mut addresses: Vec<&str> = points
        .map(|point| [text(point, "/ip"), text(point, "/hostname")])
        .filter_map(|names| names.into_iter().find(|name| !name.is_empty()))
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.join(",")
}

fn annotated_class(ingress: &Ingress) -> Option<&String> {
    ingress.metadata.annotations.as_ref()?.get(CLASS_ANNOTATION)
}

/// A new object names its class in one way.
fn one_class(ingress: &Ingress) -> Option<Error> {
    ingress.spec.as_ref()?.ingress_class_name.as_ref()?;
    let class = annotated_class(ingress)?;
    let path = Path::new("metadata");
    let path = path.child("annotations");
    Some(Error::invalid(&path.child(CLASS_ANNOTATION), class, "can not be set when the class field is also set"))
}

fn warnings(new: &Ingress, old: Option<&Ingress>) -> Vec<String> {
    if old.is_some() || annotated_class(new).is_none() {
        return Vec::new();
    }
    vec![format!("annotation {CLASS_ANNOTATION:?} is deprecated, please use 'spec.ingressClassName' instead")]
}

fn validate(ingress: &Ingress) -> ErrorList {
    let default = IngressSpec::default();
    let (spec, path) = (ingress.spec.as_ref().unwrap_or(&default), Path::new("spec"));
    let mut errors = ErrorList::new();
    let given = spec.rules.as_deref().unwrap_or_default();
    if given.is_empty() && spec.default_backend.is_none() {
        let detail = "either `defaultBackend` or `rules` must be specified";
        errors.push(Error::invalid(&path, Value::Null, detail));
    }
    if let Some(backend) = &spec.default_backend {
        errors.extend(validate_backend(backend, &path.child("defaultBackend")));
    }
    let at = path.child("rules");
    errors.extend(given.iter().enumerate().flat_map(|(index, rule)| validate_rule(rule, &at.index(index))));
    let at = path.child("tls");
    let tls = spec.tls.as_deref().unwrap_or_default().iter().enumerate();
    errors.extend(tls.flat_map(|(index, tls)| validate_tls(tls, &at.index(index))));
    if let Some(class) = &spec.ingress_class_name {
        errors.extend(checks::dns_subdomain(class, &path.child("ingressClassName")));
    }
    errors
}

fn host_name(host: &str, path: &Path) -> ErrorList {
    if host.contains('*') {
        checks::each(path, host, rules::is_wildcard_dns1123_subdomain(host))
    } else {
        checks::dns_subdomain(host, path)
    }
}

fn validate_rule(rule: &IngressRule, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    if let Some(host) = rule.host.as_deref().filter(|host| !host.is_empty()) {
        let at = path.child("host");
        if rules::ip(host).is_empty() {
            errors.push(Error::invalid(&at, host, "must be a DNS name, not an IP address"));
        }
        errors.extend(host_name(host, &at));
    }
    if let Some(http) = &rule.http {
        let at = path.child("http");
        let at = at.child("paths");
        if http.paths.is_empty() {
            errors.push(Error::required(&at, ""));
        }
        errors.extend(http.paths.iter().enumerate().flat_map(|(index, path)| validate_path(path, &at.index(index))));
    }
    errors
}

fn validate_path(http: &HTTPIngressPath, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, given) = (path.child("path"), http.path.as_deref().unwrap_or(""));
    match http.path_type.as_str() {
        "" => errors.push(Error::required(&path.child("pathType"), "pathType must be specified")),
        "Exact" | "Prefix" => {
            if !given.starts_with('/') {
                errors.push(Error::invalid(&at, given, "must be an absolute path"));
            }
            for part in PATH_PARTS.iter().filter(|part| given.contains(**part)) {
                errors.push(Error::invalid(&at, given, format!("must not contain '{part}'")));
            }
            for end in PATH_ENDS.iter().filter(|end| given.ends_with(**end)) {
                errors.push(Error::invalid(&at, given, format!("cannot end with '{end}'")));
            }
        }
        "ImplementationSpecific" => {
            if !given.is_empty() && !given.starts_with('/') {
                errors.push(Error::invalid(&at, given, "must be an absolute path"));
            }
        }
        other => errors.push(Error::not_supported(&path.child("pathType"), other, PATH_TYPES)),
    }
    errors.extend(validate_backend(&http.backend, &path.child("backend")));
    errors
}

fn validate_backend(backend: &IngressBackend, path: &Path) -> ErrorList {
    match (&backend.resource, &backend.service) {
        (Some(_), Some(_)) => vec![Error::invalid(path, "", "cannot set both resource and service backends")],
        (Some(resource), None) => {
            let at = path.child("resource");
            let mut errors = ErrorList::new();
            if let Some(group) = resource.api_group.as_deref().filter(|group| !group.is_empty()) {
                errors.extend(checks::dns_subdomain(group, &at.child("apiGroup")));
            }
            errors.extend(required(&at, &[("kind", &resource.kind), ("name", &resource.name)]));
            errors
        }
        (None, Some(service)) => validate_service(service, path),
        (None, None) => vec![Error::invalid(path, "", "resource or service backend is required")],
    }
}

fn validate_service(service: &IngressServiceBackend, path: &Path) -> ErrorList {
    let at = path.child("service");
    let mut errors = if service.name.is_empty() {
        vec![Error::required(&at.child("name"), "")]
    } else {
        checks::dns_label(&service.name, &at.child("name"))
    };
    let port = service.port.clone().unwrap_or_default();
    let name = port.name.as_deref().filter(|name| !name.is_empty());
    let at = at.child("port");
    match (name, port.number.filter(|number| *number != 0)) {
        (Some(_), Some(_)) => errors.push(Error::invalid(path, "", "cannot set both port name & port number")),
        (Some(name), None) => errors.extend(checks::each(&at.child("name"), name, rules::port_name(name))),
        (None, Some(number)) => errors.extend(checks::port_number(number.into(), &at.child("number"))),
        (None, None) => errors.push(Error::required(path, "port name or number is required")),
    }
    errors
}

fn validate_tls(tls: &IngressTLS, path: &Path) -> ErrorList {
    let at = path.child("hosts");
    let hosts = tls.hosts.as_deref().unwrap_or_default().iter().enumerate();
    let mut errors: ErrorList = hosts.flat_map(|(index, host)| host_name(host, &at.index(index))).collect();
    if let Some(secret) = tls.secret_name.as_deref().filter(|secret| !secret.is_empty()) {
        errors.extend(checks::dns_subdomain(secret, &path.child("secretName")));
    }
    errors
}

fn validate_status(ingress: &Ingress) -> ErrorList {
    let points = ingress.status.as_ref().and_then(|s| s.load_balancer.as_ref()).and_then(|l| l.ingress.as_ref());
    let path = Path::new("status");
    let path = path.child("loadBalancer");
    let path = path.child("ingress");
    let mut errors = ErrorList::new();
    for (index, point) in points.into_iter().flatten().enumerate() {
        let at = path.index(index);
        if let Some(ip) = point.ip.as_deref().filter(|ip| !ip.is_empty()) {
            errors.extend(checks::ip(ip, &at.child("ip")));
        }
        if let Some(host) = point.hostname.as_deref().filter(|host| !host.is_empty()) {
            if rules::ip(host).is_empty() {
                let detail = "must be a DNS name, not an IP address";
                errors.push(Error::invalid(&at.child("hostname"), host, detail));
            }
            errors.extend(checks::dns_subdomain(host, &at.child("hostname")));
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tables_show_three_hosts_and_each_address_once() {
        let rules: Vec<_> = ["a", "b", "c", "d", "e"].iter().map(|host| json!({"host": host})).collect();
        let ingress = json!({"spec": {"rules": rules}, "status": {"loadBalancer": {"ingress":
            [{"ip": "2.2.2.2"}, {"hostname": "h"}, {"ip": "1.1.1.1"}, {"ip": "2.2.2.2"}]}}});
        assert_eq!(hosts(&ingress), "a,b,c + 2 more...");
        assert_eq!(addresses(&ingress), "1.1.1.1,2.2.2.2,h");
        assert_eq!(hosts(&json!({"spec": {"rules": [{}]}})), "*");
    }

    #[test]
    fn a_class_is_named_once_and_the_annotation_is_old() {
        let ingress: Ingress = serde_json::from_value(json!({"metadata": {"annotations": {CLASS_ANNOTATION: "c"}},
            "spec": {"ingressClassName": "c"}}))
        .expect("an ingress");
        let error = one_class(&ingress).expect("an error").to_string();
        assert!(error.ends_with("Invalid value: \"c\": can not be set when the class field is also set"), "{error}");
        assert_eq!(warnings(&ingress, None).len(), 1);
        assert_eq!(warnings(&ingress, Some(&ingress)), Vec::<String>::new());
    }
}
