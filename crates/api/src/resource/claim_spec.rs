//! What a claim asks for: requests for devices, constraints between what is found for them, and configuration.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::resource::v1::{
    DeviceClaim, DeviceClaimConfiguration, DeviceConstraint, DeviceRequest, DeviceSubRequest, ExactDeviceRequest,
    ResourceClaimSpec,
};
use machinery::field::{Error, ErrorList, Path};

use super::{ITEMS_MAX, configuration, lists, names, selectors, taints};
use crate::checks;

const ALLOCATION_MODES: &[&str] = &["All", "ExactCount"];
const ALTERNATIVES_MAX: usize = 8;

/// One device for each request, unless it says otherwise.
pub fn default(spec: &mut ResourceClaimSpec) {
    for request in spec.devices.iter_mut().flat_map(|devices| devices.requests.iter_mut().flatten()) {
        if let Some(exactly) = &mut request.exactly {
            default_amount(&mut exactly.allocation_mode, &mut exactly.count);
        }
        for alternative in request.first_available.iter_mut().flatten() {
            default_amount(&mut alternative.allocation_mode, &mut alternative.count);
        }
    }
}

fn default_amount(mode: &mut Option<String>, count: &mut Option<i64>) {
    let mode = mode.get_or_insert_default();
    if mode.is_empty() {
        "ExactCount".clone_into(mode);
    }
    if mode == "ExactCount" && count.unwrap_or(0) == 0 {
        *count = Some(1);
    }
}

/// A new spec; `path` is its own.
pub fn validate(spec: &ResourceClaimSpec, path: &Path) -> ErrorList {
    let path = path.child("devices");
    let empty = DeviceClaim::default();
    let devices = spec.devices.as_ref().unwrap_or(&empty);
    let known = RequestNames::of(spec);
    let requests = devices.requests.as_deref();
    let mut errors =
        lists::unique(requests, ITEMS_MAX, &path.child("requests"), request, |request| request.name.as_str());
    let constraints = devices.constraints.as_deref();
    errors.extend(lists::bounded(constraints, ITEMS_MAX, &path.child("constraints"), |item, path| {
        constraint(item, &known, path)
    }));
    let config = devices.config.as_deref();
    errors.extend(lists::bounded(config, ITEMS_MAX, &path.child("config"), |item, path| {
        claim_config(item, &known, path)
    }));
    errors
}

/// The names of a claim's requests, each with those of its alternatives.
pub struct RequestNames<'c>(BTreeMap<&'c str, BTreeSet<&'c str>>);

impl<'c> RequestNames<'c> {
    pub fn of(spec: &'c ResourceClaimSpec) -> Self {
        let requests = spec.devices.iter().flat_map(|devices| devices.requests.iter().flatten());
        Self(requests.map(|request| (request.name.as_str(), alternatives(request))).collect())
    }

    fn has(&self, request: &str, alternative: Option<&str>) -> bool {
        self.0.get(request).is_some_and(|known| alternative.is_none_or(|name| known.contains(name)))
    }

    /// `request` or `request/alternative`.
    pub fn reference(&self, name: &str, path: &Path) -> ErrorList {
        let unknown = || {
            let detail =
                "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";
            Error::invalid(path, name, detail)
        };
        let (request, alternative) = match name.split('/').collect::<Vec<_>>()[..] {
            [request] => (request, None),
            [request, alternative] => (request, Some(alternative)),
            _ => return vec![unknown()],
        };
        let mut errors = checks::dns_label(request, path);
        errors.extend(alternative.into_iter().flat_map(|alternative| checks::dns_label(alternative, path)));
        if !self.has(request, alternative) {
            errors.push(unknown());
        }
        errors
    }

    /// A list of them without repetitions.
    pub fn references(&self, names: Option<&[String]>, path: &Path) -> ErrorList {
        lists::unique(names, ITEMS_MAX, path, |name, path| self.reference(name, path), |name| name.as_str())
    }
}

fn alternatives(request: &DeviceRequest) -> BTreeSet<&str> {
    request.first_available.iter().flatten().map(|alternative| alternative.name.as_str()).collect()
}

fn request(request: &DeviceRequest, path: &Path) -> ErrorList {
    let mut errors = checks::dns_label(&request.name, &path.child("name"));
    let alternatives = request.first_available.as_deref().filter(|list| !list.is_empty());
    match (&request.exactly, alternatives) {
        (None, None) => {
            errors.push(Error::required(path, "exactly one of `exactly` or `firstAvailable` is required"));
        }
        (Some(_), Some(_)) => {
            let detail = "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set";
            errors.push(Error::invalid(path, serde_json::Value::Null, detail));
        }
        (Some(exactly), None) => errors.extend(exact(exactly, &path.child("exactly"))),
        (None, alternatives) => {
            let at = path.child("firstAvailable");
            errors.extend(lists::unique(alternatives, ALTERNATIVES_MAX, &at, alternative, |item| item.name.as_str()));
        }
    }
    errors
}

fn exact(request: &ExactDeviceRequest, path: &Path) -> ErrorList {
    let mut errors = class(&request.device_class_name, &path.child("deviceClassName"));
    errors.extend(selectors::validate(request.selectors.as_deref(), false, &path.child("selectors")));
    errors.extend(amount(request.allocation_mode.as_deref(), request.count, path));
    errors.extend(taints::tolerations(request.tolerations.as_deref(), path));
    errors
}

fn alternative(request: &DeviceSubRequest, path: &Path) -> ErrorList {
    let mut errors = checks::dns_label(&request.name, &path.child("name"));
    errors.extend(class(&request.device_class_name, &path.child("deviceClassName")));
    errors.extend(selectors::validate(request.selectors.as_deref(), false, &path.child("selectors")));
    errors.extend(amount(request.allocation_mode.as_deref(), request.count, path));
    errors.extend(taints::tolerations(request.tolerations.as_deref(), path));
    errors
}

fn class(name: &str, path: &Path) -> ErrorList {
    if name.is_empty() { vec![Error::required(path, "")] } else { checks::dns_subdomain(name, path) }
}

fn amount(mode: Option<&str>, count: Option<i64>, path: &Path) -> Option<Error> {
    let (at, count) = (path.child("count"), count.unwrap_or(0));
    match mode.unwrap_or_default() {
        "All" => (count != 0).then(|| Error::invalid(&at, count, "must not be specified when allocationMode is 'All'")),
        "ExactCount" => (count <= 0).then(|| Error::invalid(&at, count, "must be greater than zero")),
        other => Some(Error::not_supported(&path.child("allocationMode"), other, ALLOCATION_MODES)),
    }
}

fn constraint(constraint: &DeviceConstraint, known: &RequestNames, path: &Path) -> ErrorList {
    let mut errors = known.references(constraint.requests.as_deref(), &path.child("requests"));
    match (&constraint.match_attribute, &constraint.distinct_attribute) {
        (Some(name), _) => errors.extend(names::fully_qualified(name, &path.child("matchAttribute"))),
        (None, Some(name)) => errors.extend(names::fully_qualified(name, &path.child("distinctAttribute"))),
        (None, None) => {
            // Upstream says so of what has none.
            let detail =
                r#"exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set"#;
            errors.push(Error::required(path, detail));
        }
    }
    errors
}

fn claim_config(config: &DeviceClaimConfiguration, known: &RequestNames, path: &Path) -> ErrorList {
    let mut errors = known.references(config.requests.as_deref(), &path.child("requests"));
    errors.extend(configuration::validate(config.opaque.as_ref(), false, path));
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn texts(devices: serde_json::Value) -> Vec<String> {
        let mut spec: ResourceClaimSpec = serde_json::from_value(json!({ "devices": devices })).unwrap();
        default(&mut spec);
        validate(&spec, &Path::new("spec")).iter().map(Error::to_string).collect()
    }

    #[test]
    fn a_request_is_for_one_device_unless_it_says_more() {
        let request = json!({"name": "r", "firstAvailable": [
            {"name": "a", "deviceClassName": "c"}, {"name": "b", "deviceClassName": "c", "allocationMode": "All"},
        ]});
        let mut spec: ResourceClaimSpec = serde_json::from_value(json!({"devices": {"requests": [request]}})).unwrap();
        default(&mut spec);
        let spec = serde_json::to_value(&spec).unwrap();
        let alternatives = spec.pointer("/devices/requests/0/firstAvailable").unwrap();
        assert_eq!(alternatives[0]["allocationMode"], "ExactCount");
        assert_eq!((&alternatives[0]["count"], alternatives[1].get("count")), (&json!(1), None));
    }

    #[test]
    fn alternatives_are_referred_to_by_way_of_their_request() {
        let requests = json!([
            {"name": "r", "firstAvailable": [{"name": "a", "deviceClassName": "c"}]},
            {"name": "s", "exactly": {"deviceClassName": "c"}},
        ]);
        let fault = |name: &str| {
            let config = json!([{"requests": [name], "opaque": {"driver": "d.io", "parameters": {}}}]);
            texts(json!({"requests": requests, "config": config})).len()
        };
        assert_eq!(["r", "r/a", "s"].map(fault), [0, 0, 0]);
        assert_eq!(["s/a", "r/b", "t", "r/a/x"].map(fault), [1, 1, 1, 1]);
        // What is no name is said as well.
        assert_eq!(fault("R"), 2);
    }

    #[test]
    fn requests_and_their_parts_are_bounded_and_different() {
        let sub = json!({"name": "a", "deviceClassName": "c"});
        let many: Vec<_> = (0..9).map(|i| json!({"name": format!("a{i}"), "deviceClassName": "c"})).collect();
        assert_eq!(
            texts(json!({"requests": [{"name": "r", "firstAvailable": [sub, sub]}]})),
            ["spec.devices.requests[0].firstAvailable[1]: Duplicate value: \"a\""]
        );
        assert_eq!(
            texts(json!({"requests": [{"name": "r", "firstAvailable": many}]})),
            ["spec.devices.requests[0].firstAvailable: Too many: 9: must have at most 8 items"]
        );
        assert_eq!(
            texts(json!({"constraints": [{}], "config": [{}]})),
            [
                "spec.devices.constraints[0]: Required value: exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but multiple fields are set",
                "spec.devices.config[0].opaque: Required value"
            ]
        );
    }

    #[test]
    fn tolerations_name_what_they_tolerate() {
        let with = |toleration: serde_json::Value| {
            let exactly = json!({"deviceClassName": "c", "tolerations": [toleration]});
            texts(json!({"requests": [{"name": "r", "exactly": exactly}]}))
        };
        assert_eq!(with(json!({"operator": "Exists"})), Vec::<String>::new());
        let at = "spec.devices.requests[0].exactly.tolerations[0]";
        assert_eq!(
            with(json!({"key": "a", "operator": "Exists", "value": "x", "effect": "Never"})),
            [
                format!("{at}.value: Invalid value: \"x\": must be empty for operator `Exists`"),
                format!(
                    "{at}.effect: Unsupported value: \"Never\": supported values: \"NoExecute\", \"NoSchedule\", \"None\""
                )
            ]
        );
        assert_eq!(
            with(json!({"operator": "Near"})),
            [format!("{at}.operator: Unsupported value: \"Near\": supported values: \"Equal\", \"Exists\"")]
        );
    }
}
