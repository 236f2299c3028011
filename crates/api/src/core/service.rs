//! Service: one name and address for the pods that a selector finds. Which address and node ports it gets is the
//! registry's to allocate; what may be asked for, and what an update keeps, is decided here.

mod cells;
mod update;

use k8s_openapi::api::core::v1::{LoadBalancerStatus, Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use machinery::field::{Error, ErrorList, Path};
use machinery::names as text_names;

use crate::kind::{FieldSelectorStyle, Kind, SelectableField, Subresource, Verb, Version};
use crate::value::text;
use crate::{checks, internal, names};

const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const NONE: &str = "None";
const DAY_SECONDS: i32 = 86400;
const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
/// The kubelet's own port, which a load balancer must not lead to.
const KUBELET_PORT: i32 = 10250;

pub static KIND: Kind = Kind {
    kind: "Service",
    list_kind: "ServiceList",
    plural: "services",
    singular: "service",
    short_names: &["svc"],
    categories: &["all"],
    versions: &[Version::stored("v1", "io.k8s.api.core.v1.Service")],
    status: true,
    subresources: &[Subresource::new("proxy", "ServiceProxyOptions", Verb::PROXY)],
    selectable_fields: &[
        SelectableField { label: "spec.clusterIP", value: |v| text(v, "/spec/clusterIP").to_string() },
        SelectableField { label: "spec.type", value: |v| text(v, "/spec/type").to_string() },
    ],
    field_selector_style: FieldSelectorStyle::NotSupported,
    create_on_update: true,
    columns: cells::COLUMNS,
    cells: cells::cells,
    hooks: hooks!(
        Service,
        true,
        names::label,
        full {
            default: default,
            prepare_create: update::create,
            prepare_update: update::update,
            prepare_status_update: crate::strategy::update_status,
            validate: validate,
            validate_update: update::validate,
            validate_status_update: |new: &Service, _old: &Service| {
                let path = Path::new("status");
                let balancer = new.status.as_ref().and_then(|s| s.load_balancer.as_ref());
                balancer.map(|b| validate_load_balancer(b, new, &path.child("loadBalancer"))).unwrap_or_default()
            },
            warnings: warnings,
        }
    ),
    ..Kind::BASE
};

fn default(service: &mut Service) {
    let spec = service.spec.get_or_insert_default();
    let set = |field: &mut Option<String>, value: &str| {
        if field.as_deref().unwrap_or("").is_empty() {
            *field = Some(value.to_string());
        }
    };
    set(&mut spec.session_affinity, NONE);
    set(&mut spec.type_, "ClusterIP");
    match spec.session_affinity.as_deref() {
        Some(NONE) => spec.session_affinity_config = None,
        Some("ClientIP") => {
            let config = spec.session_affinity_config.get_or_insert_default();
            config.client_ip.get_or_insert_default().timeout_seconds.get_or_insert(10800);
        }
        _ => {}
    }
    for port in spec.ports.iter_mut().flatten() {
        set(&mut port.protocol, "TCP");
        let unset = match &port.target_port {
            None | Some(IntOrString::Int(0)) => true,
            Some(IntOrString::String(name)) => name.is_empty(),
            Some(_) => false,
        };
        if unset {
            port.target_port = Some(IntOrString::Int(port.port));
        }
    }
    if externally_accessible(spec) {
        set(&mut spec.external_traffic_policy, "Cluster");
    }
    if matches!(spec.type_.as_deref(), Some("ClusterIP" | "NodePort" | "LoadBalancer")) {
        spec.internal_traffic_policy.get_or_insert_with(|| "Cluster".to_string());
    }
    if spec.type_.as_deref() == Some("LoadBalancer") {
        spec.allocate_load_balancer_node_ports.get_or_insert(true);
        let balancer = service.status.as_mut().and_then(|s| s.load_balancer.as_mut());
        for ingress in balancer.into_iter().flat_map(|b| b.ingress.iter_mut().flatten()) {
            if ingress.ip.as_deref().is_some_and(|ip| !ip.is_empty()) {
                ingress.ip_mode.get_or_insert_with(|| "VIP".to_string());
            }
        }
    }
}

fn kind_of(spec: &ServiceSpec) -> &str {
    spec.type_.as_deref().unwrap_or("")
}

fn externally_accessible(spec: &ServiceSpec) -> bool {
    let external = spec.external_ips.as_ref().is_some_and(|ips| !ips.is_empty());
    matches!(kind_of(spec), "LoadBalancer" | "NodePort") || kind_of(spec) == "ClusterIP" && external
}

fn is_headless(spec: &ServiceSpec) -> bool {
    match spec.cluster_ips.as_deref() {
        Some([only]) => only == NONE,
        Some([_, ..]) => false,
        _ => spec.cluster_ip.as_deref() == Some(NONE),
    }
}

fn needs_health_check_port(spec: &ServiceSpec) -> bool {
    kind_of(spec) == "LoadBalancer" && spec.external_traffic_policy.as_deref() == Some("Local")
}

fn validate(service: &Service) -> ErrorList {
    let default = ServiceSpec::default();
    let spec = service.spec.as_ref().unwrap_or(&default);
    let path = Path::new("spec");
    let mut errors = of_type(spec, &path);
    let ports = spec.ports.as_deref().unwrap_or(&[]);
    errors.extend(validate_ports(ports, &path.child("ports")));
    errors.extend(checks::labels(spec.selector.as_ref(), &path.child("selector")));
    errors.extend(session_affinity(spec, &path));
    errors.extend(cluster_ips(spec, &path));
    for (i, ip) in spec.external_ips.iter().flatten().enumerate() {
        let list = path.child("externalIPs");
        let faults = checks::ip(ip, &list.index(i));
        let valid = faults.is_empty();
        errors.extend(faults);
        if valid {
            errors.extend(checks::not_special_ip(ip, &list.index(i)));
        }
    }
    errors.extend(checks::one_of(spec.type_.as_deref(), TYPES, &path.child("type")));
    errors.extend(distinct_ports(spec, ports, &path.child("ports")));
    errors.extend(source_ranges(service, spec, &path));
    errors.extend(traffic_policies(spec, &path));
    errors.extend(load_balancer_class(spec, &path.child("loadBalancerClass")));
    if let Some(distribution) = spec.traffic_distribution.as_deref() {
        let known = ["PreferClose", "PreferSameNode", "PreferSameZone"];
        if !known.contains(&distribution) {
            errors.push(Error::not_supported(&path.child("trafficDistribution"), distribution, &known));
        }
    }
    errors
}

fn of_type(spec: &ServiceSpec, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let ports = spec.ports.as_deref().unwrap_or(&[]);
    if ports.is_empty() && !is_headless(spec) && kind_of(spec) != "ExternalName" {
        errors.push(Error::required(&path.child("ports"), ""));
    }
    let ips = path.child("clusterIPs");
    let not_headless = |kind: &str| {
        is_headless(spec)
            .then(|| Error::invalid(&ips.index(0), NONE, format!("may not be set to 'None' for {kind} services")))
    };
    match kind_of(spec) {
        "LoadBalancer" => {
            for (i, _) in ports.iter().enumerate().filter(|(_, port)| port.port == KUBELET_PORT) {
                let list = path.child("ports");
                let detail = "may not expose port 10250 externally since it is used by kubelet";
                errors.push(Error::invalid(&list.index(i), KUBELET_PORT, detail));
            }
            errors.extend(not_headless("LoadBalancer"));
        }
        "NodePort" => errors.extend(not_headless("NodePort")),
        "ExternalName" => {
            let mut refuse = |given: bool, field: &str| {
                if given {
                    errors.push(Error::forbidden(&path.child(field), "may not be set for ExternalName services"));
                }
            };
            refuse(spec.cluster_ips.as_ref().is_some_and(|ips| !ips.is_empty()), "clusterIPs");
            refuse(spec.ip_families.as_ref().is_some_and(|f| !f.is_empty()), "ipFamilies");
            refuse(spec.ip_family_policy.is_some(), "ipFamilyPolicy");
            let name = spec.external_name.as_deref().unwrap_or("");
            match name.strip_suffix('.').unwrap_or(name) {
                "" => errors.push(Error::required(&path.child("externalName"), "")),
                bare => errors.extend(checks::dns_subdomain(bare, &path.child("externalName"))),
            }
        }
        _ => {}
    }
    errors
}

fn validate_ports(ports: &[ServicePort], path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    for (i, port) in ports.iter().enumerate() {
        let at = path.index(i);
        let name = port.name.as_deref().unwrap_or("");
        if name.is_empty() {
            if ports.len() > 1 {
                errors.push(Error::required(&at.child("name"), ""));
            }
        } else {
            errors.extend(checks::dns_label(name, &at.child("name")));
            if ports[..i].iter().any(|other| other.name.as_deref() == Some(name)) {
                errors.push(Error::duplicate(&at.child("name"), name));
            }
        }
        errors.extend(checks::port_number(port.port.into(), &at.child("port")));
        errors.extend(checks::one_of(port.protocol.as_deref(), &["SCTP", "TCP", "UDP"], &at.child("protocol")));
        if let Some(target) = &port.target_port {
            errors.extend(checks::port_number_or_name(target, &at.child("targetPort")));
        }
        if let Some(protocol) = &port.app_protocol {
            errors.extend(checks::qualified_name(protocol, &at.child("appProtocol")));
        }
    }
    errors
}

fn session_affinity(spec: &ServiceSpec, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let affinity = spec.session_affinity.as_deref();
    errors.extend(checks::one_of(affinity, &["ClientIP", "None"], &path.child("sessionAffinity")));
    let at = path.child("sessionAffinityConfig");
    match (affinity, &spec.session_affinity_config) {
        (Some("ClientIP"), None) => {
            errors.push(Error::required(&at, "when session affinity type is ClientIP"));
        }
        (Some("ClientIP"), Some(config)) => {
            let client = at.child("clientIP");
            match config.client_ip.as_ref().map(|c| c.timeout_seconds) {
                None => errors.push(Error::required(&client, "when session affinity type is ClientIP")),
                Some(None) => {
                    let detail = "when session affinity type is ClientIP";
                    errors.push(Error::required(&client.child("timeoutSeconds"), detail));
                }
                Some(Some(seconds)) if !(1..=DAY_SECONDS).contains(&seconds) => {
                    let detail = format!("must be greater than 0 and less than {DAY_SECONDS}");
                    errors.push(Error::invalid(&client.child("timeoutSeconds"), seconds, detail));
                }
                Some(Some(_)) => {}
            }
        }
        (Some(NONE), Some(_)) => {
            errors.push(Error::forbidden(&at, "must not be set when session affinity is None"));
        }
        _ => {}
    }
    errors
}

fn cluster_ips(spec: &ServiceSpec, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    if kind_of(spec) == "ExternalName" {
        return errors;
    }
    let list = path.child("ipFamilies");
    let families = spec.ip_families.as_deref().unwrap_or(&[]);
    for (i, family) in families.iter().enumerate() {
        if !matches!(family.as_str(), "IPv4" | "IPv6") {
            errors.push(Error::not_supported(&list.index(i), family, &["IPv4", "IPv6"]));
        }
        if families[..i].contains(family) {
            errors.push(Error::duplicate(&list.index(i), family));
        }
    }
    if let Some(policy) = spec.ip_family_policy.as_deref() {
        let known = ["PreferDualStack", "RequireDualStack", "SingleStack"];
        if !known.contains(&policy) {
            errors.push(Error::not_supported(&path.child("ipFamilyPolicy"), policy, &known));
        }
    }
    let list = path.child("clusterIPs");
    let ips = spec.cluster_ips.as_deref().unwrap_or(&[]);
    let single = spec.cluster_ip.as_deref().unwrap_or("");
    match ips.first() {
        Some(_) if single.is_empty() => {
            errors.push(Error::invalid(&list, ips, "must be empty when `clusterIP` is not specified"));
        }
        Some(first) if first != single => {
            errors.push(Error::invalid(&list, ips, "first value must match `clusterIP`"));
        }
        _ => {}
    }
    for (i, ip) in ips.iter().enumerate() {
        if i == 0 && ip == NONE {
            if ips.len() > 1 {
                errors.push(Error::invalid(&list, ips, "'None' must be the first and only value"));
            }
            return errors;
        }
        errors.extend(checks::ip(ip, &list.index(i)));
    }
    if ips.len() > 2 {
        errors.push(Error::invalid(&list, ips, "may only hold up to 2 values"));
    }
    if let [first, second, ..] = ips
        && first.contains(':') == second.contains(':')
    {
        errors.push(Error::invalid(&list, ips, "may specify no more than one IP for each IP family"));
    }
    for (i, (ip, family)) in ips.iter().zip(families).enumerate() {
        if ip.contains(':') != (family == "IPv6") {
            let detail = format!("expected an {family} value as indicated by `ipFamilies[{i}]`");
            errors.push(Error::invalid(&list.index(i), ip, detail));
        }
    }
    errors
}

fn distinct_ports(spec: &ServiceSpec, ports: &[ServicePort], path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    if kind_of(spec) == "ClusterIP" {
        for (i, _) in ports.iter().enumerate().filter(|(_, port)| port.node_port.unwrap_or(0) != 0) {
            let at = path.index(i);
            errors.push(Error::forbidden(&at.child("nodePort"), "may not be used when `type` is 'ClusterIP'"));
        }
    }
    for (i, port) in ports.iter().enumerate() {
        let node_port = port.node_port.unwrap_or(0);
        let taken = |other: &ServicePort| other.protocol == port.protocol && other.node_port == port.node_port;
        if node_port != 0 && ports[..i].iter().any(taken) {
            errors.push(Error::duplicate(&path.index(i).child("nodePort"), node_port));
        }
    }
    for (i, port) in ports.iter().enumerate() {
        let taken = |other: &ServicePort| other.protocol == port.protocol && other.port == port.port;
        if ports[..i].iter().any(taken) {
            let key = ServicePort { protocol: port.protocol.clone(), port: port.port, ..ServicePort::default() };
            errors.push(Error::duplicate(&path.index(i), internal::shown("io.k8s.api.core.v1.ServicePort", &key)));
        }
    }
    errors
}

fn source_ranges(service: &Service, spec: &ServiceSpec, path: &Path) -> ErrorList {
    const ONLY: &str = "may only be used when `type` is 'LoadBalancer'";
    let mut errors = ErrorList::new();
    let balanced = kind_of(spec) == "LoadBalancer";
    let ranges = spec.load_balancer_source_ranges.as_deref().unwrap_or(&[]);
    let annotation = service.metadata.annotations.as_ref().and_then(|a| a.get(SOURCE_RANGES));
    if !ranges.is_empty() {
        // Upstream's path, capital and all.
        let list = path.child("LoadBalancerSourceRanges");
        if !balanced {
            errors.push(Error::forbidden(&list, ONLY));
        }
        for (i, range) in ranges.iter().enumerate() {
            errors.extend(source_range(range, &list.index(i)));
        }
    } else if let Some(value) = annotation {
        let (metadata, annotations);
        metadata = Path::new("metadata");
        annotations = metadata.child("annotations");
        let at = annotations.key(SOURCE_RANGES);
        if !balanced {
            errors.push(Error::forbidden(&at, ONLY));
        }
        let value = value.trim();
        for range in value.split(',').map(str::trim).filter(|_| !value.is_empty()) {
            errors.extend(checks::cidr(range, &at));
        }
    }
    errors
}

fn source_range(range: &str, path: &Path) -> ErrorList {
    let range = range.trim();
    checks::each(path, range, text_names::cidr(range))
}

fn traffic_policies(spec: &ServiceSpec, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let at = path.child("externalTrafficPolicy");
    let policy = spec.external_traffic_policy.as_deref().unwrap_or("");
    if externally_accessible(spec) {
        errors.extend(checks::one_of(Some(policy), &["Cluster", "Local"], &at));
    } else if !policy.is_empty() {
        errors.push(Error::invalid(&at, policy, "may only be set for externally-accessible services"));
    }
    let port = spec.health_check_node_port.unwrap_or(0);
    if port != 0 && !needs_health_check_port(spec) {
        let detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        errors.push(Error::invalid(&path.child("healthCheckNodePort"), port, detail));
    }
    let at = path.child("internalTrafficPolicy");
    match spec.internal_traffic_policy.as_deref() {
        None if matches!(kind_of(spec), "ClusterIP" | "NodePort" | "LoadBalancer") => {
            errors.push(Error::required(&at, ""));
        }
        None | Some("Cluster" | "Local") => {}
        Some(other) => errors.push(Error::not_supported(&at, other, &["Cluster", "Local"])),
    }
    errors
}

fn load_balancer_class(spec: &ServiceSpec, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let Some(class) = spec.load_balancer_class.as_deref() else { return errors };
    if kind_of(spec) != "LoadBalancer" {
        return vec![Error::forbidden(path, "may only be used when `type` is 'LoadBalancer'")];
    }
    errors.extend(checks::qualified_name(class, path));
    errors
}

fn validate_load_balancer(status: &LoadBalancerStatus, service: &Service, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let list = path.child("ingress");
    let ingresses = status.ingress.as_deref().unwrap_or(&[]);
    let balanced = service.spec.as_ref().is_some_and(|spec| kind_of(spec) == "LoadBalancer");
    if !ingresses.is_empty() && !balanced {
        return vec![Error::forbidden(&list, "may only be used when `spec.type` is \"LoadBalancer\"")];
    }
    for (i, ingress) in ingresses.iter().enumerate() {
        let at = list.index(i);
        let ip = ingress.ip.as_deref().unwrap_or("");
        if !ip.is_empty() {
            errors.extend(checks::ip(ip, &at.child("ip")));
        }
        match ingress.ip_mode.as_deref() {
            None if !ip.is_empty() => {
                errors.push(Error::required(&at.child("ipMode"), "must be specified when `ip` is set"))
            }
            Some(_) if ip.is_empty() => {
                errors.push(Error::forbidden(&at.child("ipMode"), "may not be specified when `ip` is not set"));
            }
            None | Some("Proxy" | "VIP") => {}
            Some(other) => errors.push(Error::not_supported(&at.child("ipMode"), other, &["Proxy", "VIP"])),
        }
        if let Some(name) = ingress.hostname.as_deref().filter(|n| !n.is_empty()) {
            errors.extend(checks::dns_subdomain(name, &at.child("hostname")));
            if name.parse::<std::net::IpAddr>().is_ok() {
                errors.push(Error::invalid(&at.child("hostname"), name, "must be a DNS name, not an IP address"));
            }
        }
    }
    errors
}

fn warnings(service: &Service, _old: Option<&Service>) -> Vec<String> {
    let mut warnings = Vec::new();
    let Some(spec) = &service.spec else { return warnings };
    if is_headless(spec) {
        if spec.load_balancer_ip.as_deref().is_some_and(|ip| !ip.is_empty()) {
            warnings.push("spec.loadBalancerIP is ignored for headless services".to_string());
        }
        if spec.external_ips.as_ref().is_some_and(|ips| !ips.is_empty()) {
            warnings.push("spec.externalIPs is ignored for headless services".to_string());
        }
        if spec.session_affinity.as_deref() != Some(NONE) {
            warnings.push("spec.SessionAffinity is ignored for headless services".to_string());
        }
    }
    warnings
}
