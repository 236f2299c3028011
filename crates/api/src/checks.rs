//! Checks that many kinds share, each with upstream's words.

mod conditions;

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use machinery::field::{Error, ErrorList, Path};
use machinery::meta_validation;
use machinery::names;
use machinery::quantity::Quantity;

pub use conditions::conditions;

/// One `Invalid` per message.
pub fn each(path: &Path, value: &str, messages: Vec<String>) -> ErrorList {
    messages.into_iter().map(|message| Error::invalid(path, value, message)).collect()
}

pub fn qualified_name(value: &str, path: &Path) -> ErrorList {
    each(path, value, names::qualified_name(value))
}

pub fn dns_label(value: &str, path: &Path) -> ErrorList {
    each(path, value, names::is_dns1123_label(value))
}

pub fn dns_subdomain(value: &str, path: &Path) -> ErrorList {
    each(path, value, names::is_dns1123_subdomain(value))
}

pub fn config_map_key(key: &str, path: &Path) -> ErrorList {
    each(path, key, names::config_map_key(key))
}

/// The names in annotations-like places: keys qualified, values label values.
pub fn labels(labels: Option<&BTreeMap<String, String>>, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    for (key, value) in labels.into_iter().flatten() {
        errors.extend(qualified_name(key, path));
        errors.extend(each(path, value, names::label_value(value)));
    }
    errors
}

/// The metadata of what is made from a template: labels and annotations alone.
pub fn template_metadata(metadata: &ObjectMeta, path: &Path) -> ErrorList {
    let annotations = metadata.annotations.iter().flatten().map(|(key, value)| (key.clone(), value.as_str().into()));
    let mut errors = meta_validation::annotations(Some(&annotations.collect()), &path.child("annotations"));
    errors.extend(labels(metadata.labels.as_ref(), &path.child("labels")));
    let given = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    let other = [
        ("name", given(&metadata.name)),
        ("generateName", given(&metadata.generate_name)),
        ("namespace", given(&metadata.namespace)),
        ("selfLink", given(&metadata.self_link)),
        ("uID", given(&metadata.uid)),
        ("resourceVersion", given(&metadata.resource_version)),
        ("generation", metadata.generation.is_some_and(|generation| generation != 0)),
        ("creationTimestamp", metadata.creation_timestamp.is_some()),
        ("deletionTimestamp", metadata.deletion_timestamp.is_some()),
        ("deletionGracePeriodSeconds", metadata.deletion_grace_period_seconds.is_some()),
        ("ownerReferences", metadata.owner_references.is_some()),
        ("finalizers", metadata.finalizers.is_some()),
        ("managedFields", metadata.managed_fields.is_some()),
    ];
    let other = other.into_iter().filter(|(_, is_given)| *is_given);
    errors.extend(other.map(|(field, _)| Error::forbidden(&path.child(field), "cannot be set")));
    errors
}

/// A finalizer is qualified or one of the few short ones.
pub fn finalizer_name(name: &str, list: &Path, item: &Path) -> ErrorList {
    let mut errors = qualified_name(name, list);
    if !name.contains('/') && !matches!(name, "kubernetes" | "orphan" | "foregroundDeletion") {
        errors.push(Error::invalid(item, name, "name is neither a standard finalizer name nor is it fully qualified"));
    }
    errors
}

pub fn non_negative(value: i64, path: &Path) -> Option<Error> {
    (value < 0).then(|| Error::invalid(path, value, "must be greater than or equal to 0"))
}

/// A value that must be given and be one of a few.
pub fn one_of(value: Option<&str>, supported: &[&str], path: &Path) -> Option<Error> {
    match value.unwrap_or("") {
        "" => Some(Error::required(path, "")),
        value if supported.contains(&value) => None,
        value => Some(Error::not_supported(path, value, supported)),
    }
}

pub fn port_number(port: i64, path: &Path) -> ErrorList {
    if (1..=65535).contains(&port) {
        return ErrorList::new();
    }
    vec![Error::invalid(path, port, "must be between 1 and 65535, inclusive")]
}

/// A port by number or by a container port's name.
pub fn port_number_or_name(port: &IntOrString, path: &Path) -> ErrorList {
    match port {
        IntOrString::Int(number) => port_number((*number).into(), path),
        IntOrString::String(name) => each(path, name, names::port_name(name)),
    }
}

pub fn user_id(id: i64, path: &Path) -> Option<Error> {
    (!(0..=i64::from(i32::MAX)).contains(&id))
        .then(|| Error::invalid(path, id, "must be between 0 and 2147483647, inclusive"))
}

/// An address as fields have always taken it.
pub fn ip(value: &str, path: &Path) -> ErrorList {
    each(path, value, names::ip_legacy(value))
}

/// A network in CIDR form, as fields have always taken it.
pub fn cidr(value: &str, path: &Path) -> ErrorList {
    each(path, value, names::cidr_legacy(value))
}

/// An address as old fields have always taken it: leading zeros of an IPv4 address count for nothing.
fn parse_ip(value: &str) -> Option<IpAddr> {
    let plain = |octet: &str| octet.parse::<u8>().map(|octet| octet.to_string());
    value
        .parse()
        .ok()
        .or_else(|| value.split('.').map(plain).collect::<Result<Vec<_>, _>>().ok()?.join(".").parse().ok())
}

/// What an address that traffic is sent to may not be.
pub fn not_special_ip(value: &str, path: &Path) -> ErrorList {
    let Some(address) = parse_ip(value) else {
        return vec![Error::invalid(path, value, "must be a valid IP address")];
    };
    let (link_local, link_local_multicast) = match address {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(v6) => (v6.segments()[0] & 0xffc0 == 0xfe80, v6.segments()[0] & 0xff0f == 0xff02),
    };
    let mut errors = ErrorList::new();
    let mut refuse = |when: bool, message: String| {
        if when {
            errors.push(Error::invalid(path, value, message));
        }
    };
    refuse(address.is_unspecified(), format!("may not be unspecified ({value})"));
    refuse(address.is_loopback(), "may not be in the loopback range (127.0.0.0/8, ::1/128)".to_string());
    refuse(link_local, "may not be in the link-local range (169.254.0.0/16, fe80::/10)".to_string());
    refuse(link_local_multicast, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)".to_string());
    errors
}

/// A label selector's own syntax.
pub fn label_selector(selector: &LabelSelector, path: &Path) -> ErrorList {
    let mut errors = labels_of_selector(selector, path);
    let expressions = path.child("matchExpressions");
    for (i, requirement) in selector.match_expressions.iter().flatten().enumerate() {
        let path = expressions.index(i);
        let values = requirement.values.as_deref().unwrap_or(&[]);
        match requirement.operator.as_str() {
            "In" | "NotIn" if values.is_empty() => errors
                .push(Error::required(&path.child("values"), "must be specified when `operator` is 'In' or 'NotIn'")),
            "Exists" | "DoesNotExist" if !values.is_empty() => errors.push(Error::forbidden(
                &path.child("values"),
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            )),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => errors.push(Error::invalid(&path.child("operator"), other, "not a valid selector operator")),
        }
        errors.extend(qualified_name(&requirement.key, &path.child("key")));
        let list = path.child("values");
        for (j, value) in values.iter().enumerate() {
            errors.extend(each(&list.index(j), value, names::label_value(value)));
        }
    }
    errors
}

fn labels_of_selector(selector: &LabelSelector, path: &Path) -> ErrorList {
    labels(selector.match_labels.as_ref(), &path.child("matchLabels"))
}

/// The sum of an object's values is larger than the store takes.
pub fn object_too_long(max: usize) -> Error {
    // Upstream's path is an empty field name, which it shows so.
    Error { field: "[]".to_string(), ..Error::too_long(&Path::root(), "", max) }
}

/// `NotFound` with a word of explanation.
pub fn not_found_because(path: &Path, value: &str, detail: &str) -> Error {
    Error { detail: detail.to_string(), ..Error::not_found(path, value) }
}

/// The detail-less immutable-field error.
pub fn immutable<T: PartialEq + serde::Serialize>(new: &T, old: &T, path: &Path) -> Option<Error> {
    (new != old).then(|| Error::invalid(path, new, "field is immutable"))
}

/// Parses a quantity that decoding already took.
pub fn quantity(text: &Text) -> Option<Quantity> {
    // Blanks around it are let through, as upstream's decoder does.
    Quantity::parse(text.0.trim()).ok()
}

/// Its canonical text.
pub fn shown(text: &Text) -> String {
    quantity(text).map_or_else(|| text.0.clone(), |q| q.to_string())
}

pub fn non_negative_quantity(text: &Text, path: &Path) -> Option<Error> {
    let quantity = quantity(text)?;
    (quantity.signum() < 0).then(|| Error::invalid(path, quantity.to_string(), "must be greater than or equal to 0"))
}

/// Every element equal to one before it, with its index.
pub fn duplicates<T: PartialEq>(items: &[T]) -> impl Iterator<Item = (usize, &T)> {
    items.iter().enumerate().filter(move |(i, item)| items[..*i].contains(item))
}

/// What is wrong with a JSON text, if anything.
pub fn json_fault(bytes: &[u8]) -> Option<String> {
    machinery::codec::json::parse(bytes, machinery::codec::Limits::default()).err()
}
