//! Between the stored form and v1beta1, where a backend was a name and a port side by side.

use serde_json::{Map, Value, json};

use crate::kind::Convert;

/// For both homes of v1beta1: whoever asks for an object writes its apiVersion.
pub const V1BETA1: Convert = Convert {
    to_storage: |ingress| {
        set_api_version(ingress, "networking.k8s.io/v1");
        rename(ingress, "backend", "defaultBackend");
        each_backend(ingress, to_v1);
    },
    from_storage: |ingress| {
        set_api_version(ingress, "networking.k8s.io/v1beta1");
        each_backend(ingress, to_v1beta1);
        rename(ingress, "defaultBackend", "backend");
    },
};

/// Paths without a type were the controller's affair.
pub fn default_path_types(ingress: &mut Value) {
    for path in paths(ingress) {
        if let Some(path) = path.as_object_mut()
            && path.get("pathType").is_none_or(Value::is_null)
        {
            path.insert("pathType".to_string(), "ImplementationSpecific".into());
        }
    }
}

fn set_api_version(ingress: &mut Value, version: &str) {
    if let Some(ingress) = ingress.as_object_mut() {
        ingress.insert("apiVersion".to_string(), version.into());
    }
}

fn rename(ingress: &mut Value, from: &str, to: &str) {
    let Some(spec) = ingress.get_mut("spec").and_then(Value::as_object_mut) else { return };
    if let Some(backend) = spec.shift_remove(from) {
        spec.insert(to.to_string(), backend);
    }
}

fn paths(ingress: &mut Value) -> impl Iterator<Item = &mut Value> {
    let rules = ingress.pointer_mut("/spec/rules").and_then(Value::as_array_mut).into_iter().flatten();
    rules.filter_map(|rule| rule.pointer_mut("/http/paths")?.as_array_mut()).flatten()
}

fn each_backend(ingress: &mut Value, convert: fn(&mut Map<String, Value>)) {
    for path in paths(ingress) {
        if let Some(backend) = path.get_mut("backend").and_then(Value::as_object_mut) {
            convert(backend);
        }
    }
    if let Some(backend) = ingress.pointer_mut("/spec/defaultBackend").and_then(Value::as_object_mut) {
        convert(backend);
    }
}

fn to_v1(backend: &mut Map<String, Value>) {
    let name = backend.shift_remove("serviceName").unwrap_or(Value::Null);
    let port = match backend.shift_remove("servicePort") {
        Some(Value::Number(number)) if number.as_i64() != Some(0) => json!({"number": number}),
        Some(Value::String(name)) => json!({"name": name}),
        _ => Value::Null,
    };
    let named = name.as_str().is_some_and(|name| !name.is_empty());
    if named || !port.is_null() {
        let mut service = json!({"name": if named { name } else { "".into() }});
        if !port.is_null() {
            service["port"] = port;
        }
        backend.insert("service".to_string(), service);
    }
}

fn to_v1beta1(backend: &mut Map<String, Value>) {
    let Some(service) = backend.shift_remove("service").filter(Value::is_object) else { return };
    let mut old = Map::new();
    old.insert("serviceName".to_string(), service["name"].clone());
    let port = [&service["port"]["name"], &service["port"]["number"]];
    let port = port.into_iter().find(|port| !port.is_null() && port.as_str() != Some(""));
    old.insert("servicePort".to_string(), port.cloned().unwrap_or_else(|| 0.into()));
    old.append(backend);
    *backend = old;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backends_go_there_and_back() {
        let old = json!({"apiVersion": "networking.k8s.io/v1beta1", "spec": {
            "rules": [{"http": {"paths": [{"path": "/", "backend": {"serviceName": "a", "servicePort": "web"}},
                {"path": "/r", "backend": {"resource": {"kind": "K", "name": "r"}}}]}}, {"host": "h"}],
            "backend": {"serviceName": "b", "servicePort": 80}}});
        let mut ingress = old.clone();
        (V1BETA1.to_storage)(&mut ingress);
        assert_eq!(ingress["apiVersion"], "networking.k8s.io/v1");
        assert_eq!(ingress["spec"]["defaultBackend"], json!({"service": {"name": "b", "port": {"number": 80}}}));
        let paths = &ingress["spec"]["rules"][0]["http"]["paths"];
        assert_eq!(paths[0]["backend"], json!({"service": {"name": "a", "port": {"name": "web"}}}));
        assert_eq!(paths[1]["backend"], json!({"resource": {"kind": "K", "name": "r"}}));
        (V1BETA1.from_storage)(&mut ingress);
        assert_eq!(ingress, old);
    }

    #[test]
    fn a_path_without_type_is_the_controllers() {
        let mut ingress = json!({"spec": {"rules": [{"http": {"paths": [{"path": "/"}, {"pathType": "Exact"}]}}]}});
        default_path_types(&mut ingress);
        let paths = &ingress["spec"]["rules"][0]["http"]["paths"];
        assert_eq!((&paths[0]["pathType"], &paths[1]["pathType"]), (&json!("ImplementationSpecific"), &json!("Exact")));
    }
}
