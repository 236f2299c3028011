//! Which controllers run: upstream's `--controllers=*,-foo,bar`, with upstream's names and their old short forms.

use client::Controller;

use super::*;

/// Every controller's name; upstream's is this with `-controller` after it.
pub const NAMES: &[&str] = &[
    namespace::Namespaces::NAME,
    serviceaccount::ServiceAccounts::NAME,
    service_account_token::ServiceAccountTokens::NAME,
    replicaset::ReplicaSets::NAME,
    replicationcontroller::ReplicationControllers::NAME,
    deployment::Deployments::NAME,
    endpoints::EndpointsController::NAME,
    endpointslice::EndpointSlices::NAME,
    garbage_collector::GarbageCollector::NAME,
    resourcequota::ResourceQuotas::NAME,
    disruption::Disruptions::NAME,
    node_lifecycle::NodeLifecycle::NAME,
    taint_eviction::TaintEviction::NAME,
    certificates::approving::Approving::NAME,
    certificates::signing::Signing::NAME,
    certificates::cleaner::Cleaner::NAME,
    persistentvolume_binder::PersistentVolumes::NAME,
    podgc::PodGc::NAME,
    protection::Claims::NAME,
    protection::Volumes::NAME,
    protection::AttributesClasses::NAME,
    root_ca_cert_publisher::RootCaCertPublisher::NAME,
    service_cidr::ServiceCidrs::NAME,
    validatingadmissionpolicy_status::ValidatingAdmissionPolicyStatus::NAME,
];

/// The names of before, where they are not just the name without `-controller`.
const OLD_NAMES: &[(&str, &str)] = &[
    ("csrapproving", "certificatesigningrequest-approving"),
    ("csrcleaner", "certificatesigningrequest-cleaner"),
    ("csrsigning", "certificatesigningrequest-signing"),
    ("endpoint", "endpoints"),
    ("garbagecollector", "garbage-collector"),
    ("nodelifecycle", "node-lifecycle"),
    ("podgc", "pod-garbage-collector"),
    ("pv-protection", "persistentvolume-protection"),
    ("pvc-protection", "persistentvolumeclaim-protection"),
    ("root-ca-cert-publisher", "root-ca-certificate-publisher"),
];

/// The controllers that were asked for.
#[derive(Debug, Clone)]
pub struct Selection {
    all: bool,
    /// The first that names a controller decides.
    named: Vec<(String, bool)>,
}

impl Default for Selection {
    fn default() -> Self {
        Self { all: true, named: Vec::new() }
    }
}

impl Selection {
    /// Reads the flag's parts; fails with upstream's words at a controller that does not exist.
    pub fn parse(parts: &[String]) -> Result<Self, String> {
        let mut selection = Self { all: false, named: Vec::new() };
        for part in parts {
            if part == "*" {
                selection.all = true;
                continue;
            }
            let (given, wanted) = part.strip_prefix('-').map_or((part.as_str(), true), |name| (name, false));
            let name = OLD_NAMES.iter().find(|(old, _)| *old == given).map_or(given, |(_, name)| name);
            let name = name.strip_suffix("-controller").unwrap_or(name);
            if !NAMES.contains(&name) {
                return Err(format!("{given:?} is not in the list of known controllers"));
            }
            selection.named.push((name.to_owned(), wanted));
        }
        Ok(selection)
    }

    /// Whether the controller of this name runs.
    pub fn contains(&self, name: &str) -> bool {
        self.named.iter().find(|(named, _)| named == name).map_or(self.all, |(_, wanted)| *wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Selection, String> {
        Selection::parse(&text.split(',').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn names_stars_and_minuses_choose() {
        let selection = parse("*,-deployment-controller,-podgc").unwrap();
        assert!(selection.contains("replicaset"));
        assert!(!selection.contains("deployment") && !selection.contains("pod-garbage-collector"));
        let selection = parse("deployment,endpoint").unwrap();
        assert!(selection.contains("deployment") && selection.contains("endpoints"));
        assert!(!selection.contains("replicaset"));
    }

    #[test]
    fn a_controller_that_does_not_exist_is_refused() {
        assert_eq!(parse("*,-nope").unwrap_err(), "\"nope\" is not in the list of known controllers");
    }
}
