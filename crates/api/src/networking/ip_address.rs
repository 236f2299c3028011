//! IPAddress: an address that somebody has. Its name is the address, so nobody else can have it.

use std::net::IpAddr;

use k8s_openapi::api::networking::v1::{IPAddress, ParentReference};
use machinery::field::{Error, ErrorList, Path};
use machinery::names as rules;
use serde_json::Value;

use crate::kind::{Column, Deprecated, Kind, Version};
use crate::value::text;
use crate::{cells, checks, erase, internal};

const SCHEMA: &str = "io.k8s.api.networking.v1.IPAddress";

pub static KIND: Kind = Kind {
    group: "networking.k8s.io",
    kind: "IPAddress",
    list_kind: "IPAddressList",
    plural: "ipaddresses",
    singular: "ipaddress",
    short_names: &["ip"],
    namespaced: false,
    versions: &[
        Version::stored("v1", SCHEMA),
        Version::old(
            "networking.k8s.io",
            "v1beta1",
            SCHEMA,
            Deprecated { since: "1.34", removed: None, replacement: "networking.k8s.io/v1 IPAddress" },
            |_| {},
        ),
    ],
    columns: &[
        Column::NAME,
        Column::new(
            "ParentRef",
            "string",
            0,
            "ParentRef references the resource that an IPAddress is attached to. An IPAddress must reference a parent object.",
        ),
    ],
    // The age has no column, but clients get it.
    cells: |v, now| vec![cells::name(v), parent(v).into(), cells::age(v, now)],
    hooks: {
        let mut hooks = hooks!(
            IPAddress,
            false,
            name,
            part {
                validate_update: |new: &IPAddress, old: &IPAddress| {
                    let (path, new, old) = (Path::new("spec"), parent_ref(new), parent_ref(old));
                    if new == old {
                        return ErrorList::new();
                    }
                    let shown = internal::shown("io.k8s.api.networking.v1.ParentReference", new);
                    vec![Error::invalid(&path.child("parentRef"), shown, "field is immutable")]
                },
            }
        );
        hooks.validate = |object| {
            let mut errors = erase::metadata(object, false, name);
            errors.extend(validate(object));
            errors
        };
        hooks
    },
    ..Kind::BASE
};

fn parent_ref(address: &IPAddress) -> &ParentReference {
    &address.spec.parent_ref
}

/// `resource.group/namespace/name`, without what there is not.
fn parent(address: &Value) -> String {
    let part = |field: &str| text(address, &format!("/spec/parentRef/{field}"));
    let resource = match part("group") {
        "" => part("resource").to_owned(),
        group => format!("{}.{group}", part("resource")),
    };
    let parts = [resource.as_str(), part("namespace"), part("name")];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
}

/// An address in the one form that it is written in.
fn name(name: &str, _: bool) -> Vec<String> {
    let errors = rules::ip(name);
    match name.parse::<IpAddr>() {
        Ok(address) if errors.is_empty() && address.to_string() != name => {
            vec![format!("must be in canonical form ({:?})", address.to_string())]
        }
        _ => errors,
    }
}

/// Looks at the object itself: the typed form knows no difference between no parent and one of which nothing is said.
fn validate(address: &Value) -> ErrorList {
    let path = Path::new("spec");
    let path = path.child("parentRef");
    let Some(parent) = address.pointer("/spec/parentRef").filter(|parent| !parent.is_null()) else {
        return vec![Error::required(&path, "")];
    };
    let mut errors = ErrorList::new();
    let group = text(parent, "/group");
    if !group.is_empty() {
        errors.extend(checks::dns_subdomain(group, &path.child("group")));
    }
    for (field, is_required) in [("resource", true), ("name", true), ("namespace", false)] {
        let at = path.child(field);
        match parent.get(field).and_then(Value::as_str).unwrap_or_default() {
            "" if is_required => errors.push(Error::required(&at, "")),
            "" => {}
            value => errors.extend(checks::each(&at, value, rules::path_segment_name(value))),
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_are_addresses_in_canonical_form() {
        for (name, fault) in [
            ("10.0.0.1", None),
            ("fd00::1", None),
            ("fd00:0::1", Some("must be in canonical form (\"fd00::1\")")),
            ("10.0.0.300", Some("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")),
        ] {
            assert_eq!(super::name(name, false).first().map(String::as_str), fault, "{name}");
        }
    }

    #[test]
    fn a_parent_is_shown_with_what_there_is_of_it() {
        let shown = |parent: Value| super::parent(&json!({"spec": {"parentRef": parent}}));
        assert_eq!(shown(json!({"resource": "services", "namespace": "n", "name": "s"})), "services/n/s");
        assert_eq!(shown(json!({"group": "g.io", "resource": "gateways", "name": "s"})), "gateways.g.io/s");
    }
}
