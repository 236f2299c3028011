//! A pod's spec as a whole, alone or as a template; and what holds only for a pod itself.

use k8s_openapi::api::core::v1::{Pod, PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use machinery::field::{Error, ErrorList, Path};
use machinery::names;

use super::containers::{self, Scope};
use super::{affinity, claims, resources, security, volumes};
use crate::checks;

const DNS_POLICIES: &[&str] = &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
const MAX_NAMESERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;
const MAX_SEARCHES_CHARACTERS: usize = 2048;
/// Marks a pod that a kubelet runs from a file and only shows at the API.
pub const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";

/// A new pod.
pub fn create(pod: &Pod) -> ErrorList {
    let mut errors = whole(pod);
    let Some(spec) = &pod.spec else { return errors };
    let path = Path::new("spec");
    if spec.ephemeral_containers.as_ref().is_some_and(|c| !c.is_empty()) {
        errors.push(Error::forbidden(&path.child("ephemeralContainers"), "cannot be set on create"));
    }
    let gated = spec.scheduling_gates.as_ref().is_some_and(|g| !g.is_empty());
    if gated && !spec.node_name.as_deref().unwrap_or("").is_empty() {
        errors.push(Error::forbidden(
            &path.child("nodeName"),
            "cannot be set until all schedulingGates have been cleared",
        ));
    }
    errors
}

/// Whether a kubelet runs the pod from a file of its own.
pub fn is_mirror(pod: &Pod) -> bool {
    pod.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(MIRROR_ANNOTATION))
}

/// Everything that holds for a pod at any time.
pub fn whole(pod: &Pod) -> ErrorList {
    let default = PodSpec::default();
    let pod_spec = pod.spec.as_ref().unwrap_or(&default);
    let mut errors = annotations(&pod.metadata, pod_spec, &Path::new("metadata").child("annotations"));
    let path = Path::new("spec");
    errors.extend(spec(pod_spec, &path));
    errors
}

fn annotations(metadata: &ObjectMeta, spec: &PodSpec, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let Some(annotations) = &metadata.annotations else { return errors };
    if let Some(value) = annotations.get(MIRROR_ANNOTATION)
        && spec.node_name.as_deref().unwrap_or("").is_empty()
    {
        let detail = "must set spec.nodeName if mirror pod annotation is set";
        errors.push(Error::invalid(&path.key(MIRROR_ANNOTATION), value, detail));
    }
    if let Some(cost) = annotations.get("controller.kubernetes.io/pod-deletion-cost")
        && (cost.parse::<i32>().is_err() || cost.starts_with('+') || (cost.len() > 1 && cost.starts_with('0')))
    {
        let at = path.key("controller.kubernetes.io/pod-deletion-cost");
        errors.push(Error::invalid(&at, cost, "must be a 32bit integer"));
    }
    errors
}

/// A pod template: metadata's labels and annotations and the spec.
pub fn template(template: &PodTemplateSpec, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    if let Some(metadata) = &template.metadata {
        // Upstream's paths to both leave the metadata out.
        errors.extend(checks::labels(metadata.labels.as_ref(), &path.child("labels")));
        let annotations = path.child("annotations");
        for key in metadata.annotations.iter().flatten().map(|(key, _)| key) {
            let faults = names::qualified_name(&key.to_lowercase());
            errors.extend(checks::each(&annotations, key, faults));
        }
    }
    let default = PodSpec::default();
    let at = path.child("spec");
    errors.extend(spec(template.spec.as_ref().unwrap_or(&default), &at));
    let ephemeral = template.spec.as_ref().and_then(|spec| spec.ephemeral_containers.as_ref());
    if ephemeral.is_some_and(|c| !c.is_empty()) {
        errors.push(Error::forbidden(
            &at.child("ephemeralContainers"),
            "ephemeral containers not allowed in pod template",
        ));
    }
    errors
}

/// A pod's spec at `path`.
pub fn spec(spec: &PodSpec, path: &Path) -> ErrorList {
    let (mut errors, sound) = volumes::validate(spec.volumes.as_deref().unwrap_or(&[]), &path.child("volumes"));
    let pod_claims = spec.resource_claims.as_deref().unwrap_or(&[]);
    errors.extend(claims::of_spec(pod_claims, &path.child("resourceClaims")));
    let claims: Vec<&str> = pod_claims.iter().map(|claim| claim.name.as_str()).collect();
    let init = spec.init_containers.as_deref().unwrap_or(&[]);
    let scope = Scope {
        volumes: &sound,
        claims: &claims,
        grace_period_seconds: spec.termination_grace_period_seconds,
        restart_policy: spec.restart_policy.as_deref().unwrap_or(""),
        host_users: spec.host_users,
        host_network: spec.host_network == Some(true),
        os: spec.os.as_ref().map(|os| os.name.as_str()),
    };
    errors.extend(containers::regular(&spec.containers, &scope, &path.child("containers")));
    errors.extend(containers::init(init, &spec.containers, &scope, &path.child("initContainers")));
    let ephemeral = spec.ephemeral_containers.as_deref().unwrap_or(&[]);
    let at = path.child("ephemeralContainers");
    errors.extend(containers::ephemeral(ephemeral, &spec.containers, init, &scope, &at));
    errors.extend(resources::pod(spec, &claims, &path.child("resources")));
    errors.extend(checks::one_of(
        spec.restart_policy.as_deref(),
        &["Always", "OnFailure", "Never"],
        &path.child("restartPolicy"),
    ));
    errors.extend(checks::one_of(spec.dns_policy.as_deref(), DNS_POLICIES, &path.child("dnsPolicy")));
    errors.extend(checks::labels(spec.node_selector.as_ref(), &path.child("nodeSelector")));
    errors.extend(security::pod(spec, &path.child("securityContext")));
    for (i, reference) in spec.image_pull_secrets.iter().flatten().enumerate() {
        let list = path.child("imagePullSecrets");
        let at = list.index(i);
        // Upstream tolerates references without a name, and warns.
        if !reference.name.is_empty() && !names::is_dns1123_subdomain(&reference.name).is_empty() {
            errors.extend(checks::dns_subdomain(&reference.name, &at.child("name")));
        }
    }
    errors.extend(affinity::affinity(spec.affinity.as_ref(), &path.child("affinity")));
    errors.extend(dns_config(spec, &path.child("dnsConfig")));
    for (i, gate) in spec.readiness_gates.iter().flatten().enumerate() {
        let list = path.child("readinessGates");
        errors.extend(checks::qualified_name(&gate.condition_type, &list.index(i).child("conditionType")));
    }
    errors.extend(scheduling_gates(spec, &path.child("schedulingGates")));
    let constraints = spec.topology_spread_constraints.as_deref().unwrap_or(&[]);
    errors.extend(affinity::topology_spread(constraints, &path.child("topologySpreadConstraints")));
    errors.extend(security::host_process(spec, path));
    errors.extend(security::host_users(spec, path));
    errors.extend(rest(spec, path));
    errors.extend(security::for_os(spec, path));
    errors
}

/// The fields that stand for themselves.
fn rest(spec: &PodSpec, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let given = |value: &Option<String>| value.clone().filter(|v| !v.is_empty());
    if let Some(name) = given(&spec.service_account_name) {
        errors.extend(checks::dns_subdomain(&name, &path.child("serviceAccountName")));
    }
    if let Some(name) = given(&spec.node_name) {
        errors.extend(checks::dns_subdomain(&name, &path.child("nodeName")));
    }
    errors.extend(active_deadline(spec.active_deadline_seconds, &path.child("activeDeadlineSeconds")));
    if let Some(name) = given(&spec.hostname) {
        errors.extend(checks::dns_label(&name, &path.child("hostname")));
    }
    if let Some(name) = given(&spec.subdomain) {
        errors.extend(checks::dns_label(&name, &path.child("subdomain")));
    }
    errors.extend(hostname_override(spec, &path.child("hostnameOverride")));
    errors.extend(affinity::tolerations(spec.tolerations.as_deref().unwrap_or(&[]), &path.child("tolerations")));
    for (i, alias) in spec.host_aliases.iter().flatten().enumerate() {
        let list = path.child("hostAliases");
        let at = list.index(i);
        if alias.ip.parse::<std::net::IpAddr>().is_err() {
            errors.extend(checks::ip(&alias.ip, &at.child("ip")));
        }
        for (j, name) in alias.hostnames.iter().flatten().enumerate() {
            let names = at.child("hostnames");
            errors.extend(checks::dns_subdomain(name, &names.index(j)));
        }
    }
    if let Some(name) = given(&spec.priority_class_name) {
        errors.extend(checks::dns_subdomain(&name, &path.child("priorityClassName")));
    }
    if let Some(name) = &spec.runtime_class_name {
        errors.extend(checks::dns_subdomain(name, &path.child("runtimeClassName")));
    }
    if let Some(policy) = spec.preemption_policy.as_deref() {
        let at = path.child("preemptionPolicy");
        errors.extend(checks::one_of(Some(policy), &["Never", "PreemptLowerPriority"], &at));
    }
    for (resource, text) in spec.overhead.iter().flatten() {
        let overhead = path.child("overhead");
        let at = overhead.key(resource);
        errors.extend(resources::name(resource, &at));
        errors.extend(resources::amount(resource, text, &at));
    }
    errors
}

fn hostname_override(spec: &PodSpec, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let Some(name) = &spec.hostname_override else { return errors };
    errors.extend(checks::dns_subdomain(name, path));
    if name.len() > 64 {
        errors.push(Error::too_long(path, name, 64));
    }
    if spec.set_hostname_as_fqdn == Some(true) {
        errors.push(Error::invalid(path, name, "may not be specified when `setHostnameAsFQDN` is true"));
    }
    if spec.host_network == Some(true) {
        errors.push(Error::invalid(path, name, "may not be specified when `hostNetwork` is true"));
    }
    errors
}

/// Within what a timer of 32 bits can count.
pub fn active_deadline(seconds: Option<i64>, path: &Path) -> Option<Error> {
    let seconds = seconds.filter(|s| !(1..=i64::from(i32::MAX)).contains(s))?;
    Some(Error::invalid(path, seconds, "must be between 1 and 2147483647, inclusive"))
}

fn scheduling_gates(spec: &PodSpec, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let gates = spec.scheduling_gates.as_deref().unwrap_or(&[]);
    for (i, gate) in gates.iter().enumerate() {
        let at = path.index(i);
        errors.extend(checks::qualified_name(&gate.name, &at));
        if gates[..i].iter().any(|other| other.name == gate.name) {
            errors.push(Error::duplicate(&at, &gate.name));
        }
    }
    errors
}

fn dns_config(spec: &PodSpec, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let config = spec.dns_config.clone().unwrap_or_default();
    let nameservers = config.nameservers.as_deref().unwrap_or(&[]);
    let searches = config.searches.as_deref().unwrap_or(&[]);
    if spec.dns_policy.as_deref() == Some("None") {
        let list = path.child("nameservers");
        if spec.dns_config.is_none() {
            let detail = "must provide `dnsConfig` when `dnsPolicy` is None";
            return vec![Error::required(path, detail)];
        }
        if nameservers.is_empty() {
            return vec![Error::required(&list, "must provide at least one DNS nameserver when `dnsPolicy` is None")];
        }
    }
    let list = path.child("nameservers");
    if nameservers.len() > MAX_NAMESERVERS {
        let detail = format!("must not have more than {MAX_NAMESERVERS} nameservers");
        errors.push(Error::invalid(&list, nameservers, detail));
    }
    for (i, server) in nameservers.iter().enumerate() {
        errors.extend(checks::ip(server, &list.index(i)));
    }
    let list = path.child("searches");
    if searches.len() > MAX_SEARCHES {
        let detail = format!("must not have more than {MAX_SEARCHES} search paths");
        errors.push(Error::invalid(&list, searches, detail));
    }
    if searches.join(" ").len() > MAX_SEARCHES_CHARACTERS {
        let detail = format!(
            "must not have more than {MAX_SEARCHES_CHARACTERS} characters (including spaces) in the search list"
        );
        errors.push(Error::invalid(&list, searches, detail));
    }
    for (i, search) in searches.iter().enumerate() {
        // A single dot stands for the root; a trailing one is as good as none, and names may hold underscores.
        let bare = if search == "." { "" } else { search.strip_suffix('.').unwrap_or(search) };
        if search != "." {
            let faults = names::is_dns1123_subdomain(&bare.replace('_', "-"));
            errors.extend(checks::each(&list.index(i), search, faults));
        }
    }
    let list = path.child("options");
    for (i, option) in config.options.iter().flatten().enumerate() {
        if option.name.as_deref().unwrap_or("").is_empty() {
            errors.push(Error::required(&list.index(i), "must not be empty"));
        }
    }
    errors
}
