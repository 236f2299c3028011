//! IngressClass: which controller serves an Ingress, and with what parameters.

use k8s_openapi::api::networking::v1::{IngressClass, IngressClassParametersReference, IngressClassSpec};
use machinery::field::{Error, ErrorList, Path};
use machinery::names as rules;
use serde_json::Value;

use crate::kind::{Column, Deprecated, Kind, Version};
use crate::value::text;
use crate::{cells, checks, names, strategy};

const SCHEMA: &str = "io.k8s.api.networking.v1.IngressClass";
const SCOPES: &[&str] = &["Cluster", "Namespace"];
const CONTROLLER_LEN_MAX: usize = 250;

pub static KIND: Kind = Kind {
    group: "networking.k8s.io",
    kind: "IngressClass",
    list_kind: "IngressClassList",
    plural: "ingressclasses",
    singular: "ingressclass",
    namespaced: false,
    versions: &[
        Version::stored("v1", SCHEMA),
        Version::old(
            "networking.k8s.io",
            "v1beta1",
            SCHEMA,
            Deprecated { since: "1.19", removed: Some("1.22"), replacement: "networking.k8s.io/v1 IngressClass" },
            |_| {},
        ),
    ],
    generation: true,
    columns: &[
        Column::NAME,
        Column::new("Controller", "string", 0, "Controller that is responsible for handling this class"),
        Column::new("Parameters", "string", 0, "A reference to a resource with additional parameters"),
        Column::AGE,
    ],
    cells: |v, now| {
        vec![
            cells::name(v),
            text(v, "/spec/controller").into(),
            cells::or_none(shown(v.pointer("/spec/parameters"))),
            cells::age(v, now),
        ]
    },
    hooks: hooks!(
        IngressClass,
        false,
        names::subdomain,
        part {
            default: |class| {
                if let Some(parameters) = class.spec.as_mut().and_then(|spec| spec.parameters.as_mut()) {
                    parameters.scope.get_or_insert_with(|| "Cluster".to_owned());
                }
            },
            prepare_create: |object: &mut Value| strategy::set_generation(object, 1),
            prepare_update: |new: &mut Value, old: &Value| strategy::bump_generation(new, old, &["spec"]),
            validate: validate,
            validate_update: validate_update,
        }
    ),
    ..Kind::BASE
};

/// `Kind.group/name`; empty without parameters.
fn shown(parameters: Option<&Value>) -> String {
    let Some(parameters) = parameters.filter(|parameters| parameters.is_object()) else { return String::new() };
    let (kind, group, name) = (text(parameters, "/kind"), text(parameters, "/apiGroup"), text(parameters, "/name"));
    if group.is_empty() { format!("{kind}/{name}") } else { format!("{kind}.{group}/{name}") }
}

fn spec(class: &IngressClass) -> IngressClassSpec {
    class.spec.clone().unwrap_or_default()
}

fn validate(class: &IngressClass) -> ErrorList {
    let (spec, path) = (spec(class), Path::new("spec"));
    let mut errors = controller(spec.controller.as_deref().unwrap_or(""), &path.child("controller"));
    errors.extend(parameters(spec.parameters.as_ref(), &path.child("parameters")));
    errors
}

fn controller(name: &str, path: &Path) -> ErrorList {
    if name.len() > CONTROLLER_LEN_MAX {
        return vec![Error::too_long(path, "", CONTROLLER_LEN_MAX)];
    }
    rules::domain_prefixed_path(path, name)
}

fn parameters(parameters: Option<&IngressClassParametersReference>, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let Some(parameters) = parameters else { return errors };
    if let Some(group) = &parameters.api_group {
        errors.extend(checks::dns_subdomain(group, &path.child("apiGroup")));
    }
    for (field, value) in [("kind", &parameters.kind), ("name", &parameters.name)] {
        let at = path.child(field);
        if value.is_empty() {
            errors.push(Error::required(&at, ""));
        } else {
            errors.extend(checks::each(&at, value, rules::path_segment_name(value)));
        }
    }
    let at = path.child("namespace");
    let namespace = parameters.namespace.as_deref();
    match parameters.scope.as_deref() {
        None => errors.push(Error::required(&path.child("scope"), "")),
        Some("Namespace") => match namespace.unwrap_or("") {
            "" => errors.push(Error::required(&at, "`parameters.scope` is set to 'Namespace'")),
            namespace => errors.extend(checks::dns_label(namespace, &at)),
        },
        Some("Cluster") if namespace.is_some() => {
            errors.push(Error::forbidden(&at, "`parameters.scope` is set to 'Cluster'"));
        }
        Some("Cluster") => {}
        Some(scope) => errors.push(Error::not_supported(&path.child("scope"), scope, SCOPES)),
    }
    errors
}

fn validate_update(new: &IngressClass, old: &IngressClass) -> ErrorList {
    let (new, old, path) = (spec(new), spec(old), Path::new("spec"));
    let mut errors = parameters(new.parameters.as_ref(), &path.child("parameters"));
    errors.extend(checks::immutable(&new.controller, &old.controller, &path.child("controller")));
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn parameters_are_shown_with_their_group() {
        assert_eq!(shown(Some(&json!({"kind": "P", "apiGroup": "x.io", "name": "n"}))), "P.x.io/n");
        assert_eq!(shown(Some(&json!({"kind": "P", "name": "n"}))), "P/n");
        assert_eq!(shown(None), "");
    }

    #[test]
    fn parameters_in_a_namespace_name_a_good_one() {
        let reference = json!({"kind": "P", "name": "n", "scope": "Namespace", "namespace": "Bad"});
        let reference: IngressClassParametersReference = serde_json::from_value(reference).unwrap();
        let errors = parameters(Some(&reference), &Path::new("p"));
        assert!(errors.len() == 1 && errors[0].to_string().starts_with("p.namespace: Invalid value"), "{errors:?}");
    }
}
