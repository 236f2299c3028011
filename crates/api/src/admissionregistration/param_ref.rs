//! What policies and their bindings say of parameters: of which kind they are, and which objects are meant.

use k8s_openapi::api::admissionregistration::v1::{ParamKind, ParamRef};
use machinery::field::{Error, ErrorList, Path};
use machinery::names;
use serde_json::Value;

use crate::checks;
use crate::value::text;

const NOT_FOUND_ACTIONS: &[&str] = &["Deny", "Allow"];

/// `apiVersion/Kind` for a policy's table.
pub fn kind_cell(policy: &Value) -> Value {
    match policy.pointer("/spec/paramKind").filter(|kind| !kind.is_null()) {
        Some(kind) => format!("{}/{}", text(kind, "/apiVersion"), text(kind, "/kind")).into(),
        None => "<unset>".into(),
    }
}

/// `namespace/name` for a binding's table; whether a parameter has a namespace is not known here.
pub fn ref_cell(binding: &Value) -> Value {
    let Some(reference) = binding.pointer("/spec/paramRef").filter(|reference| !reference.is_null()) else {
        return "<unset>".into();
    };
    match (text(reference, "/namespace"), text(reference, "/name"), reference.get("selector")) {
        ("", "", Some(selector)) | (_, "", Some(selector)) if !selector.is_null() => shown_selector(selector).into(),
        (_, "", _) => "<unset>".into(),
        ("", name, _) => format!("*/{name}").into(),
        (namespace, name, _) => format!("{namespace}/{name}").into(),
    }
}

/// A selector as upstream prints the struct.
fn shown_selector(selector: &Value) -> String {
    let labels = selector.get("matchLabels").and_then(Value::as_object);
    let mut labels: Vec<String> =
        labels.into_iter().flatten().map(|(key, value)| format!("{key}: {},", value.as_str().unwrap_or(""))).collect();
    labels.sort();
    let requirement = |r: &Value| {
        let values: Vec<&str> = crate::value::list(r, "/values").iter().filter_map(Value::as_str).collect();
        let (key, operator, values) = (text(r, "/key"), text(r, "/operator"), values.join(" "));
        format!("LabelSelectorRequirement{{Key:{key},Operator:{operator},Values:[{values}],}},")
    };
    let requirements: String = crate::value::list(selector, "/matchExpressions").iter().map(requirement).collect();
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{}}},MatchExpressions:[]LabelSelectorRequirement{{{requirements}}},}}",
        labels.concat()
    )
}

/// The kind of a policy's parameters, checked as an APIService's group and version are.
pub fn validate_kind(kind: &ParamKind, path: &Path) -> ErrorList {
    let mut errors = group_version(kind.api_version.as_deref().unwrap_or(""), &path.child("apiVersion"));
    let at = path.child("kind");
    let name = kind.kind.as_deref().unwrap_or("");
    if name.is_empty() {
        errors.push(Error::required(&at, ""));
        return errors;
    }
    let faults = names::is_dns1035_label(&name.to_lowercase());
    if !faults.is_empty() {
        let detail = format!("may have mixed case, but should otherwise match: {}", faults.join(","));
        errors.push(Error::invalid(&at, name, detail));
    }
    errors
}

fn group_version(api_version: &str, path: &Path) -> ErrorList {
    let (group, version) = match api_version.matches('/').count() {
        _ if api_version.is_empty() => return vec![Error::required(path, "")],
        _ if api_version == "/" => ("", ""),
        0 => ("", api_version),
        1 => api_version.split_once('/').unwrap_or_default(),
        _ => {
            let detail = format!("unexpected GroupVersion string: {api_version}");
            return vec![Error::invalid(path, api_version, detail)];
        }
    };
    let mut errors = ErrorList::new();
    let faults = names::is_dns1123_subdomain(group);
    if !group.is_empty() && !faults.is_empty() {
        errors.push(Error::invalid(path, group, faults.join(",")));
    }
    let faults = names::is_dns1035_label(version);
    if version.is_empty() {
        errors.push(Error::invalid(path, api_version, "version must be specified"));
    } else if !faults.is_empty() {
        errors.push(Error::invalid(path, version, faults.join(",")));
    }
    errors
}

/// By name or by selector, and what holds when there is none.
pub fn validate_ref(reference: &ParamRef, path: &Path) -> ErrorList {
    const EXCLUSIVE: &str = "name and selector are mutually exclusive";
    let mut errors = ErrorList::new();
    let name = reference.name.as_deref().unwrap_or("");
    if !name.is_empty() {
        let at = path.child("name");
        errors.extend(checks::each(&at, name, names::path_segment_name(name)));
        if reference.selector.is_some() {
            errors.push(Error::forbidden(&at, EXCLUSIVE));
        }
    }
    match &reference.selector {
        Some(selector) => {
            let at = path.child("selector");
            errors.extend(checks::label_selector(selector, &at));
            if !name.is_empty() {
                errors.push(Error::forbidden(&at, EXCLUSIVE));
            }
        }
        None if name.is_empty() => errors.push(Error::required(path, "one of name or selector must be specified")),
        None => {}
    }
    let action = reference.parameter_not_found_action.as_deref();
    errors.extend(checks::one_of(action, NOT_FOUND_ACTIONS, &path.child("parameterNotFoundAction")));
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn parameters_are_shown_by_name_or_selector() {
        let cell = |reference: Value| ref_cell(&json!({"spec": {"paramRef": reference}}));
        assert_eq!(cell(Value::Null), "<unset>");
        assert_eq!(cell(json!({"name": "p"})), "*/p");
        assert_eq!(cell(json!({"name": "p", "namespace": "n"})), "n/p");
        assert_eq!(
            cell(json!({"selector": {"matchLabels": {"b": "1", "a": "2"}}})),
            "&LabelSelector{MatchLabels:map[string]string{a: 2,b: 1,},MatchExpressions:[]LabelSelectorRequirement{},}"
        );
    }
}
