//! Claims of devices that a pod makes, and what became of them.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{PodExtendedResourceClaimStatus, PodResourceClaim, PodSpec, PodStatus};
use machinery::field::{Error, ErrorList, Path};

use crate::checks;

/// The claims of a spec: each by its own name, of an object or from a template.
pub fn of_spec(claims: &[PodResourceClaim], path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    for (i, claim) in claims.iter().enumerate() {
        let at = path.index(i);
        if claim.name.is_empty() {
            errors.push(Error::required(&at.child("name"), ""));
        } else if claims[..i].iter().any(|other| other.name == claim.name) {
            errors.push(Error::duplicate(&at.child("name"), &claim.name));
        } else {
            errors.extend(checks::dns_label(&claim.name, &at.child("name")));
        }
        match (&claim.resource_claim_name, &claim.resource_claim_template_name) {
            (Some(_), Some(_)) => {
                let shown = crate::internal::shown("io.k8s.api.core.v1.PodResourceClaim", claim);
                let detail = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified";
                errors.push(Error::invalid(&at, shown, detail));
            }
            (None, None) => {
                let shown = crate::internal::shown("io.k8s.api.core.v1.PodResourceClaim", claim);
                let detail = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`";
                errors.push(Error::invalid(&at, shown, detail));
            }
            (Some(name), None) => errors.extend(checks::dns_subdomain(name, &at.child("resourceClaimName"))),
            (None, Some(name)) => errors.extend(checks::dns_subdomain(name, &at.child("resourceClaimTemplateName"))),
        }
    }
    errors
}

/// What the status says of the claims: which objects were made for them.
pub fn statuses(status: &PodStatus, spec: &PodSpec, path: &Path) -> ErrorList {
    let list = path.child("resourceClaimStatuses");
    let claims = spec.resource_claims.as_deref().unwrap_or_default();
    let mut seen = BTreeSet::new();
    let mut errors = ErrorList::new();
    for (i, status) in status.resource_claim_statuses.iter().flatten().enumerate() {
        let at = list.index(i);
        let at = at.child("name");
        if !claims.iter().any(|claim| claim.name == status.name) {
            errors.push(Error::invalid(&at, &status.name, "must match the name of an entry in `spec.resourceClaims`"));
        }
        if !seen.insert(&status.name) {
            errors.push(Error::duplicate(&at, &status.name));
        }
        // Upstream reports the object's name in the same place.
        errors.extend(status.resource_claim_name.iter().flat_map(|name| checks::dns_subdomain(name, &at)));
    }
    let extended = status.extended_resource_claim_status.as_ref();
    errors.extend(
        extended.iter().flat_map(|status| extended_status(status, spec, &path.child("extendedResourceClaimStatus"))),
    );
    errors
}

/// The claim that was made for extended resources, and which container asked for what of it.
fn extended_status(status: &PodExtendedResourceClaimStatus, spec: &PodSpec, path: &Path) -> ErrorList {
    let list = path.child("requestMappings");
    let mut errors = ErrorList::new();
    if status.request_mappings.is_empty() {
        errors.push(Error::required(&list, "at least one request mapping is required"));
    }
    let mut seen = BTreeSet::new();
    for (i, mapping) in status.request_mappings.iter().enumerate() {
        let at = list.index(i);
        let mut containers = spec.init_containers.iter().flatten().chain(&spec.containers);
        match containers.find(|container| container.name == mapping.container_name) {
            None => {
                let detail = "must match the name of an entry in spec.initContainers.name or spec.containers.name";
                errors.push(Error::invalid(&at.child("containerName"), &mapping.container_name, detail));
            }
            Some(container) => {
                let requests = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
                if !requests.is_some_and(|requests| requests.contains_key(&mapping.resource_name)) {
                    let detail = "must match the extended resource name of an entry in spec.initContainers.resources.requests or spec.containers.resources.requests";
                    errors.push(Error::invalid(&at.child("resourceName"), &mapping.resource_name, detail));
                }
            }
        }
        // Upstream leaves the place in the list out here.
        errors.extend(checks::dns_label(&mapping.request_name, &path.child("requestName")));
        let fields = [
            ("containerName", &mapping.container_name),
            ("resourceName", &mapping.resource_name),
            ("requestName", &mapping.request_name),
        ];
        if !seen.insert(fields) {
            errors.extend(fields.map(|(field, value)| Error::duplicate(&at.child(field), value)));
        }
    }
    let at = path.child("resourceClaimName");
    match status.resource_claim_name.as_str() {
        "" => errors.push(Error::required(&at, "")),
        name => errors.extend(checks::dns_subdomain(name, &at)),
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn faults(status: serde_json::Value) -> Vec<String> {
        let spec: PodSpec = serde_json::from_value(json!({
            "containers": [{"name": "c", "resources": {"requests": {"example.com/gpu": "1"}}}],
            "resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": "t"}],
        }))
        .unwrap();
        let status: PodStatus = serde_json::from_value(status).unwrap();
        statuses(&status, &spec, &Path::new("status")).iter().map(Error::to_string).collect()
    }

    #[test]
    fn a_status_is_of_a_claim_of_the_pod() {
        let good = json!({"name": "gpu", "resourceClaimName": "p-gpu"});
        assert_eq!(faults(json!({"resourceClaimStatuses": [good]})), Vec::<String>::new());
        assert_eq!(
            faults(json!({"resourceClaimStatuses": [good, good, {"name": "nic"}]})),
            [
                "status.resourceClaimStatuses[1].name: Duplicate value: \"gpu\"",
                "status.resourceClaimStatuses[2].name: Invalid value: \"nic\": must match the name of an entry in `spec.resourceClaims`",
            ]
        );
    }

    #[test]
    fn extended_resources_are_mapped_to_requests_of_one_claim() {
        let mapping = json!({"containerName": "c", "resourceName": "example.com/gpu", "requestName": "r"});
        let of = |mappings: serde_json::Value, claim: &str| {
            faults(json!({"extendedResourceClaimStatus": {"requestMappings": mappings, "resourceClaimName": claim}}))
        };
        assert_eq!(of(json!([mapping]), "p-extended"), Vec::<String>::new());
        assert_eq!(
            of(json!([]), ""),
            [
                "status.extendedResourceClaimStatus.requestMappings: Required value: at least one request mapping is required",
                "status.extendedResourceClaimStatus.resourceClaimName: Required value",
            ]
        );
        assert_eq!(of(json!([mapping, mapping]), "x").len(), 3);
        let mut other = mapping.clone();
        other["containerName"] = "d".into();
        assert_eq!(
            of(json!([other]), "x"),
            [
                "status.extendedResourceClaimStatus.requestMappings[0].containerName: Invalid value: \"d\": must match the name of an entry in spec.initContainers.name or spec.containers.name"
            ]
        );
    }
}
