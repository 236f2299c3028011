//! Upstream's internal form of an object, as its messages show it: every field, by its Go name, zero values and all.
//! A few answers quote it (a refused change of a pod's spec is shown as a difference of two such texts).

use machinery::field::{Error, Path};
use machinery::schema::{self, Field, Shape, TypeId};
use serde::Serialize;
use serde_json::{Map, Value};

pub mod diff;

/// The internal form of a value of schema type `name`.
pub fn shown(name: &str, value: &impl Serialize) -> Value {
    let value = serde_json::to_value(value).unwrap_or(Value::Null);
    match schema::builtin().id(name) {
        Some(id) => object(id, &value),
        None => value,
    }
}

/// The error of a change to what never changes: a value of schema type `name`. Lists and maps with nothing in them are as
/// good as none.
pub fn immutable(name: &str, new: &impl Serialize, old: &impl Serialize, path: &Path) -> Option<Error> {
    let (new, old) = (shown(name, new), shown(name, old));
    (!is_same(&new, &old)).then(|| Error::invalid(path, new, "field is immutable"))
}

fn is_same(a: &Value, b: &Value) -> bool {
    let is_nothing = |value: &Value| match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    };
    match (a, b) {
        (a, b) if is_nothing(a) || is_nothing(b) => is_nothing(a) && is_nothing(b),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| is_same(a, b)))
        }
        (a, b) => a == b,
    }
}

/// The text upstream prints: indented by one blank.
pub fn pretty(value: &Value) -> String {
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b" ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    // Writing a value into memory does not fail.
    let _ = value.serialize(&mut serializer);
    let text = String::from_utf8_lossy(&out).into_owned();
    text.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e")
}

fn object(id: TypeId, value: &Value) -> Value {
    let ty = schema::builtin().get(id);
    // Types of the meta group have JSON names in Go as well and leave zero values out.
    if !ty.name.starts_with("io.k8s.api.") {
        return value.clone();
    }
    let mut out = Map::new();
    for field in &ty.fields {
        let given = value.get(field.name.as_ref()).unwrap_or(&Value::Null);
        out.insert(go_name(&field.name), field_value(field, given));
    }
    match ty.name.as_ref() {
        "io.k8s.api.core.v1.PodSpec" => pod_spec(out),
        "io.k8s.api.core.v1.PodSecurityContext" => pod_security_context(out, &Map::new()),
        "io.k8s.api.resource.v1.DeviceAttribute" => device_attribute(out),
        "io.k8s.api.resource.v1.ResourceClaimTemplateSpec" => claim_template(out),
        _ => Value::Object(out),
    }
}

fn field_value(field: &Field, value: &Value) -> Value {
    if !value.is_null() {
        return shaped(&field.shape, value);
    }
    if field.pointer {
        return Value::Null;
    }
    match &field.shape {
        Shape::String => "".into(),
        Shape::Int32 | Shape::Int64 => 0.into(),
        Shape::Float64 => 0.into(),
        Shape::Bool => false.into(),
        Shape::Quantity => "0".into(),
        Shape::Ref(id) => object(*id, &Value::Null),
        _ => Value::Null,
    }
}

fn shaped(shape: &Shape, value: &Value) -> Value {
    match (shape, value) {
        (Shape::Ref(id), value) => object(*id, value),
        (Shape::List(item), Value::Array(list)) => list.iter().map(|v| shaped(item, v)).collect(),
        (Shape::Map(item), Value::Object(map)) => {
            let mut entries: Vec<_> = map.iter().map(|(k, v)| (k.clone(), shaped(item, v))).collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().collect())
        }
        (_, value) => value.clone(),
    }
}

/// `hostPID` is HostPID, `tty` is TTY, `dnsPolicy` DNSPolicy.
fn go_name(json: &str) -> String {
    const WHOLE: &[(&str, &str)] = &[
        ("tty", "TTY"),
        ("os", "OS"),
        ("apiVersion", "APIVersion"),
        ("ip", "IP"),
        ("gid", "GID"),
        ("uid", "UID"),
        ("nfs", "NFS"),
        ("iscsi", "ISCSI"),
        ("rbd", "RBD"),
        ("fc", "FC"),
        ("csi", "CSI"),
        ("grpc", "GRPC"),
        ("cephfs", "CephFS"),
        ("storageos", "StorageOS"),
        ("cidrs", "CIDRs"),
        ("ips", "IPs"),
        ("cel", "CEL"),
        ("type", "Type"),
        ("awsElasticBlockStore", "AWSElasticBlockStore"),
        ("setHostnameAsFQDN", "SetHostnameAsFQDN"),
    ];
    const STARTS: &[(&str, &str)] = &[
        ("apiGroup", "APIGroup"),
        ("apiVersion", "APIVersion"),
        ("dns", "DNS"),
        ("fsGroup", "FSGroup"),
        ("fsType", "FSType"),
        ("seLinux", "SELinux"),
        ("gce", "GCE"),
        ("http", "HTTP"),
        ("tcp", "TCP"),
        ("gmsa", "GMSA"),
        ("iscsi", "ISCSI"),
        ("chap", "Chap"),
    ];
    if let Some((_, go)) = WHOLE.iter().find(|(name, _)| *name == json) {
        return (*go).to_string();
    }
    for (start, go) in STARTS {
        if let Some(rest) = json.strip_prefix(start) {
            return format!("{go}{rest}");
        }
    }
    let mut characters = json.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

/// The names tell an attribute's types from its values.
fn device_attribute(fields: Map<String, Value>) -> Value {
    let name = |name: String| match name.strip_suffix('s') {
        Some(one) => format!("{one}Values"),
        None => format!("{name}Value"),
    };
    fields.into_iter().map(|(field, value)| (name(field), value)).collect()
}

/// The metadata has no field of its own there.
fn claim_template(mut fields: Map<String, Value>) -> Value {
    let metadata = fields.shift_remove("Metadata").unwrap_or_default();
    let mut out = metadata.as_object().cloned().unwrap_or_default();
    out.extend(fields);
    Value::Object(out)
}

/// Upstream keeps a pod spec's fields in another order internally, the host's namespaces within the security context.
fn pod_spec(mut fields: Map<String, Value>) -> Value {
    const ORDER: &[&str] = &[
        "Volumes",
        "InitContainers",
        "Containers",
        "EphemeralContainers",
        "RestartPolicy",
        "TerminationGracePeriodSeconds",
        "ActiveDeadlineSeconds",
        "DNSPolicy",
        "NodeSelector",
        "ServiceAccountName",
        "AutomountServiceAccountToken",
        "NodeName",
        "SecurityContext",
        "ImagePullSecrets",
        "Hostname",
        "Subdomain",
        "SetHostnameAsFQDN",
        "Affinity",
        "SchedulerName",
        "Tolerations",
        "HostAliases",
        "PriorityClassName",
        "Priority",
        "PreemptionPolicy",
        "DNSConfig",
        "ReadinessGates",
        "RuntimeClassName",
        "Overhead",
        "EnableServiceLinks",
        "TopologySpreadConstraints",
        "OS",
        "SchedulingGates",
        "ResourceClaims",
        "Resources",
        "HostnameOverride",
        "SchedulingGroup",
    ];
    if let Some(Value::Object(context)) = fields.get("SecurityContext").cloned() {
        fields.insert("SecurityContext".to_string(), pod_security_context(context, &fields));
    }
    let mut out = Map::new();
    for name in ORDER {
        out.insert((*name).to_string(), fields.get(*name).cloned().unwrap_or(Value::Null));
    }
    Value::Object(out)
}

fn pod_security_context(context: Map<String, Value>, spec: &Map<String, Value>) -> Value {
    const ORDER: &[&str] = &[
        "HostNetwork",
        "HostPID",
        "HostIPC",
        "ShareProcessNamespace",
        "HostUsers",
        "SELinuxOptions",
        "WindowsOptions",
        "RunAsUser",
        "RunAsGroup",
        "RunAsNonRoot",
        "SupplementalGroups",
        "SupplementalGroupsPolicy",
        "FSGroup",
        "FSGroupChangePolicy",
        "Sysctls",
        "SeccompProfile",
        "AppArmorProfile",
        "SELinuxChangePolicy",
    ];
    let mut out = Map::new();
    for name in ORDER {
        let value = context.get(*name).or_else(|| spec.get(*name)).cloned().unwrap_or(Value::Null);
        let value = match *name {
            "HostNetwork" | "HostPID" | "HostIPC" if value.is_null() => false.into(),
            _ => value,
        };
        out.insert((*name).to_string(), value);
    }
    Value::Object(out)
}
