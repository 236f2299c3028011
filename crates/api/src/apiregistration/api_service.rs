//! APIService: who serves a version of a group: this server itself (local), or a Service that requests are handed on to.

use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::{APIService, APIServiceSpec};
use machinery::field::{Error, ErrorList, Path};
use machinery::names;
use serde_json::{Value, json};

use super::GROUP;
use crate::kind::{Column, Deprecated, Kind, Version};
use crate::value::{list, text};
use crate::{cells, checks, erase, strategy};

const SCHEMA: &str = "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIService";
const GROUP_PRIORITY_MAX: i32 = 20_000;
const VERSION_PRIORITY_MAX: i32 = 1_000;
const STATUSES: &[&str] = &["True", "False", "Unknown"];

pub static KIND: Kind = Kind {
    group: GROUP,
    kind: "APIService",
    list_kind: "APIServiceList",
    plural: "apiservices",
    singular: "apiservice",
    categories: &["api-extensions"],
    namespaced: false,
    status: true,
    unconditional_update: false,
    versions: &[
        Version::stored("v1", SCHEMA),
        Version::old(
            GROUP,
            "v1beta1",
            SCHEMA,
            Deprecated { since: "1.19", removed: Some("1.22"), replacement: "apiregistration.k8s.io/v1 APIService" },
            |_| {},
        ),
    ],
    columns: COLUMNS,
    cells: |v, now| vec![cells::name(v), service_cell(v), available_cell(v), cells::age(v, now)],
    hooks: {
        let mut hooks = hooks!(
            APIService,
            false,
            crate::names::path_segment,
            full {
                default: default,
                prepare_create: prepare_create,
                prepare_update: |new: &mut Value, old: &Value| strategy::copy_field(new, old, "status"),
                prepare_status_update: prepare_status_update,
                validate_status_update: |new, _old| validate_status(new),
            }
        );
        hooks.validate = |v| {
            let mut errors = erase::metadata_generic(v, false, crate::names::path_segment);
            errors.extend(erase::check::<APIService>(v, validate));
            errors
        };
        hooks.validate_update = |new, old| {
            let mut errors = erase::metadata_update_generic(new, old, false, Some(crate::names::path_segment));
            errors.extend(erase::check::<APIService>(new, validate));
            errors
        };
        hooks
    },
    ..Kind::BASE
};

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::new("Service", "string", 0, "The reference to the service that hosts this API endpoint."),
    Column::new("Available", "string", 0, "Whether this service is available."),
    Column::AGE,
];

fn service_cell(object: &Value) -> Value {
    match object.pointer("/spec/service").filter(|service| !service.is_null()) {
        Some(service) => format!("{}/{}", text(service, "/namespace"), text(service, "/name")).into(),
        None => "Local".into(),
    }
}

fn available_cell(object: &Value) -> Value {
    let available = list(object, "/status/conditions").iter().find(|condition| condition["type"] == "Available");
    let Some(available) = available else { return "Unknown".into() };
    match (text(available, "/status"), text(available, "/reason")) {
        (status @ "True", _) | (status, "") => status.into(),
        (status, reason) => format!("{status} ({reason})").into(),
    }
}

fn default(service: &mut APIService) {
    if let Some(service) = service.spec.as_mut().and_then(|spec| spec.service.as_mut()) {
        service.port.get_or_insert(443);
    }
}

/// What is served here is available from the first moment.
fn prepare_create(object: &mut Value) {
    strategy::drop_status(object);
    let is_local = object.pointer("/spec/service").is_none_or(Value::is_null);
    let since = object.pointer("/metadata/creationTimestamp").cloned();
    if let Some(fields) = object.as_object_mut().filter(|_| is_local) {
        let condition = json!({
            "type": "Available",
            "status": "True",
            "lastTransitionTime": since,
            "reason": "Local",
            "message": "Local APIServices are always available",
        });
        fields.insert("status".to_string(), json!({ "conditions": [condition] }));
    }
}

fn prepare_status_update(new: &mut Value, old: &Value) {
    strategy::update_status(new, old);
    strategy::keep_metadata(new, old);
}

fn validate(service: &APIService) -> ErrorList {
    let nothing = APIServiceSpec::default();
    let spec = service.spec.as_ref().unwrap_or(&nothing);
    let (group, version) = (spec.group.as_deref().unwrap_or(""), spec.version.as_deref().unwrap_or(""));
    let metadata = Path::new("metadata");
    let path = Path::new("spec");
    let mut errors = ErrorList::new();
    let name = service.metadata.name.as_deref().unwrap_or("");
    let wanted = format!("{version}.{group}");
    if !name.is_empty() && names::path_segment_name(name).is_empty() && name != wanted {
        let detail = format!("must be `spec.version+\".\"+spec.group`: {wanted:?}");
        errors.push(Error::invalid(&metadata.child("name"), name, detail));
    }
    if group.is_empty() && version != "v1" {
        let detail = "only v1 may have an empty group and it better be legacy kube";
        errors.push(Error::required(&path.child("group"), detail));
    }
    if !group.is_empty() {
        errors.extend(checks::dns_subdomain(group, &path.child("group")));
    }
    errors.extend(checks::each(&path.child("version"), version, names::is_dns1035_label(version)));
    if !(1..=GROUP_PRIORITY_MAX).contains(&spec.group_priority_minimum) {
        let at = path.child("groupPriorityMinimum");
        errors.push(Error::invalid(&at, spec.group_priority_minimum, "must be positive and less than 20000"));
    }
    if !(1..=VERSION_PRIORITY_MAX).contains(&spec.version_priority) {
        let at = path.child("versionPriority");
        errors.push(Error::invalid(&at, spec.version_priority, "must be positive and less than 1000"));
    }
    errors.extend(validate_service(spec, &path));
    errors
}

fn validate_service(spec: &APIServiceSpec, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let bundle_bytes = spec.ca_bundle.as_ref().map_or(0, |bundle| bundle.0.len());
    let unverified = spec.insecure_skip_tls_verify.unwrap_or(false);
    let at_unverified = path.child("insecureSkipTLSVerify");
    let Some(service) = &spec.service else {
        if bundle_bytes > 0 {
            let at = path.child("caBundle");
            let detail = "local APIServices may not have a caBundle";
            errors.push(Error::invalid(&at, format!("{bundle_bytes} bytes"), detail));
        }
        if unverified {
            errors.push(Error::invalid(&at_unverified, true, "local APIServices may not have insecureSkipTLSVerify"));
        }
        return errors;
    };
    let at = path.child("service");
    for (field, value) in [("namespace", &service.namespace), ("name", &service.name)] {
        if value.as_deref().unwrap_or("").is_empty() {
            errors.push(Error::required(&at.child(field), ""));
        }
    }
    let port = service.port.unwrap_or(0);
    let at = at.child("port");
    for error in checks::port_number(port.into(), &at) {
        errors.push(Error::invalid(&at, port, format!("port is not valid: {}", error.detail)));
    }
    if unverified && bundle_bytes > 0 {
        errors.push(Error::invalid(&at_unverified, true, "may not be true if caBundle is present"));
    }
    errors
}

fn validate_status(service: &APIService) -> ErrorList {
    let path = Path::new("status");
    let path = path.child("conditions");
    let conditions = service.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let wrong = conditions.enumerate().filter(|(_, condition)| !STATUSES.contains(&condition.status.as_str()));
    wrong.map(|(i, c)| Error::not_supported(&path.index(i).child("status"), &c.status, STATUSES)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(name: &str, spec: Value) -> Vec<String> {
        let mut object = json!({"metadata": {"name": name}, "spec": spec});
        (KIND.hooks.default)(&mut object).unwrap();
        (KIND.hooks.validate)(&object).iter().map(Error::to_string).collect()
    }

    #[test]
    fn the_name_is_version_and_group() {
        let spec = json!({"group": "a.b", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1});
        assert_eq!(errors("v1.a.b", spec.clone()), Vec::<String>::new());
        assert_eq!(
            errors("v2.a.b", spec),
            ["metadata.name: Invalid value: \"v2.a.b\": must be `spec.version+\".\"+spec.group`: \"v1.a.b\""]
        );
        let nothing = json!({"version": "v2"});
        assert_eq!(
            errors("v2.", nothing),
            [
                "spec.group: Required value: only v1 may have an empty group and it better be legacy kube",
                "spec.groupPriorityMinimum: Invalid value: 0: must be positive and less than 20000",
                "spec.versionPriority: Invalid value: 0: must be positive and less than 1000"
            ]
        );
    }

    #[test]
    fn local_services_are_available_at_once_and_trust_nobody() {
        let priorities = json!({"group": "a", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1});
        let mut local =
            json!({"metadata": {"name": "v1.a", "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": priorities});
        (KIND.hooks.prepare_create)(&mut local).unwrap();
        assert_eq!(local["status"]["conditions"][0]["reason"], "Local");
        assert_eq!((service_cell(&local), available_cell(&local)), ("Local".into(), "True".into()));
        let mut trusting = priorities;
        trusting["caBundle"] = "YWJj".into();
        assert_eq!(
            errors("v1.a", trusting.clone()),
            ["spec.caBundle: Invalid value: \"3 bytes\": local APIServices may not have a caBundle"]
        );
        trusting["service"] = json!({"namespace": "n", "name": "s"});
        trusting["insecureSkipTLSVerify"] = true.into();
        assert_eq!(
            errors("v1.a", trusting),
            ["spec.insecureSkipTLSVerify: Invalid value: true: may not be true if caBundle is present"]
        );
    }
}
