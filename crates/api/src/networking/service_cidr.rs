//! ServiceCIDR: a range from which Services get their cluster addresses, of one IP family or one of each.

use k8s_openapi::api::networking::v1::ServiceCIDR;
use machinery::field::{Error, ErrorList, Path};
use machinery::names as rules;
use serde_json::Value;

use crate::kind::{Column, Deprecated, Kind, Version};
use crate::{cells, checks, internal, names, strategy};

const SCHEMA: &str = "io.k8s.api.networking.v1.ServiceCIDR";
/// Keeps a range while Services have addresses of it alone.
pub const FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";
/// The range that the servers are configured with.
pub const DEFAULT: &str = "kubernetes";

pub static KIND: Kind = Kind {
    group: "networking.k8s.io",
    kind: "ServiceCIDR",
    list_kind: "ServiceCIDRList",
    plural: "servicecidrs",
    singular: "servicecidr",
    namespaced: false,
    versions: &[
        Version::stored("v1", SCHEMA),
        Version::old(
            "networking.k8s.io",
            "v1beta1",
            SCHEMA,
            Deprecated { since: "1.34", removed: None, replacement: "networking.k8s.io/v1 ServiceCIDR" },
            |_| {},
        ),
    ],
    status: true,
    columns: &[
        Column::NAME,
        Column::new(
            "CIDRs",
            "string",
            0,
            "CIDRs defines the IP blocks in CIDR notation (e.g. \"192.168.0.0/24\" or \"2001:db8::/64\") from which to assign service cluster IPs. Max of two CIDRs is allowed, one of each IP family. This field is immutable.",
        ),
        Column::AGE,
    ],
    cells: |v, now| {
        let cidrs = crate::value::list(v, "/spec/cidrs").iter().filter_map(Value::as_str);
        vec![cells::name(v), cidrs.collect::<Vec<_>>().join(",").into(), cells::age(v, now)]
    },
    hooks: hooks!(
        ServiceCIDR,
        false,
        names::subdomain,
        part {
            prepare_create: strategy::drop_status,
            prepare_update: strategy::keep_status,
            prepare_status_update: |new: &mut Value, old: &Value| {
                strategy::update_status(new, old);
                strategy::keep_metadata(new, old);
            },
            validate: |range: &ServiceCIDR| validate(cidrs(range)),
            validate_update: |new: &ServiceCIDR, old: &ServiceCIDR| validate_update(cidrs(new), cidrs(old)),
        }
    ),
    ..Kind::BASE
};

fn cidrs(range: &ServiceCIDR) -> &[String] {
    range.spec.as_ref().and_then(|spec| spec.cidrs.as_deref()).unwrap_or_default()
}

fn validate(cidrs: &[String]) -> ErrorList {
    let path = Path::new("spec");
    let path = path.child("cidrs");
    let refuse = |detail: &str| {
        let spec = serde_json::json!({ "cidrs": cidrs });
        vec![Error::invalid(&path, internal::shown("io.k8s.api.networking.v1.ServiceCIDRSpec", &spec), detail)]
    };
    match cidrs {
        [] => return vec![Error::required(&path, "at least one CIDR required")],
        [_] => {}
        [first, second] if is_dual(first, second) => {}
        [_, _] => {
            return refuse("may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64");
        }
        _ => return refuse("may only hold up to 2 values"),
    }
    let faults = cidrs.iter().enumerate().map(|(i, cidr)| checks::each(&path.index(i), cidr, rules::cidr(cidr)));
    faults.flatten().collect()
}

/// One network of each family.
fn is_dual(first: &str, second: &str) -> bool {
    let is_v6 = |cidr: &str| rules::cidr_legacy(cidr).is_empty().then(|| cidr.contains(':'));
    is_v6(first).zip(is_v6(second)).is_some_and(|(first, second)| first != second)
}

/// A range of one family may get one of the other beside it; nothing else ever changes.
fn validate_update(new: &[String], old: &[String]) -> ErrorList {
    let path = Path::new("spec");
    let path = path.child("cidrs");
    let detail = "field is immutable";
    let grows = old.len() == 1 && new.len() == 2;
    if old.len() != new.len() && !grows {
        return vec![Error::invalid(&path, new, detail)];
    }
    let changed = old.iter().zip(new).enumerate().filter(|(_, (old, new))| old != new);
    let mut errors: ErrorList = changed.map(|(i, (_, new))| Error::invalid(&path.index(i), new, detail)).collect();
    if grows {
        errors.extend(validate(new));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(errors: ErrorList) -> Vec<String> {
        errors.iter().map(Error::to_string).collect()
    }

    fn list(cidrs: &[&str]) -> Vec<String> {
        cidrs.iter().map(|cidr| (*cidr).to_owned()).collect()
    }

    #[test]
    fn there_is_one_network_of_a_family() {
        for (cidrs, fault) in [
            (&["10.0.0.0/16"][..], None),
            (&["10.0.0.0/16", "fd00::/64"], None),
            (&[], Some("spec.cidrs: Required value: at least one CIDR required")),
            (
                &["10.0.0.0/16", "10.1.0.0/16"],
                Some(
                    "spec.cidrs: Invalid value: {\"CIDRs\":[\"10.0.0.0/16\",\"10.1.0.0/16\"]}: may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64",
                ),
            ),
            (
                &["10.0.0.1/16"],
                Some("spec.cidrs[0]: Invalid value: \"10.0.0.1/16\": must not have bits set beyond the prefix length"),
            ),
        ] {
            assert_eq!(texts(validate(&list(cidrs))).first().map(String::as_str), fault, "{cidrs:?}");
        }
    }

    #[test]
    fn a_range_changes_only_by_a_second_family() {
        let old = list(&["10.0.0.0/16"]);
        assert_eq!(validate_update(&list(&["10.0.0.0/16", "fd00::/64"]), &old), []);
        assert_eq!(
            texts(validate_update(&list(&["10.1.0.0/16", "fd00::/64"]), &old)),
            ["spec.cidrs[0]: Invalid value: \"10.1.0.0/16\": field is immutable"]
        );
        assert_eq!(texts(validate_update(&[], &old)), ["spec.cidrs: Invalid value: []: field is immutable"]);
    }
}
