//! ResourceClaim: devices that are asked for, in the status which ones were given, and to whom.

mod status;

use k8s_openapi::api::resource::v1::ResourceClaim;
use machinery::field::{ErrorList, Path};
use serde_json::Value;

use super::{GROUP, claim_spec};
use crate::kind::{Column, Hooks, Kind, Version};
use crate::value::list;
use crate::{cells, erase, internal, names, strategy};

pub use status::device_key;

pub static KIND: Kind = Kind {
    group: GROUP,
    kind: "ResourceClaim",
    list_kind: "ResourceClaimList",
    plural: "resourceclaims",
    singular: "resourceclaim",
    versions: &[Version::stored("v1", "io.k8s.api.resource.v1.ResourceClaim")],
    status: true,
    columns: &[
        Column::NAME,
        Column::new("State", "string", 0, "A summary of the current state (allocated, pending, reserved, etc.)."),
        Column::AGE,
    ],
    cells: |v, now| vec![cells::name(v), state(v).into(), cells::age(v, now)],
    hooks: Hooks {
        // Upstream does not look at the metadata as a whole here.
        validate_status_update: |new, old| {
            let mut errors = erase::metadata_update(new, old, true, None);
            errors.extend(erase::compare::<ResourceClaim>(new, old, status::validate_update));
            errors
        },
        ..hooks!(
            ResourceClaim,
            true,
            names::subdomain,
            full {
                default: |claim| claim_spec::default(&mut claim.spec),
                prepare_create: strategy::drop_status,
                prepare_update: strategy::keep_status,
                prepare_status_update: status::prepare,
                validate: |claim: &ResourceClaim| claim_spec::validate(&claim.spec, &Path::new("spec")),
                validate_update: validate_update,
            }
        )
    },
    ..Kind::BASE
};

/// What is asked for never changes, and so is not looked at again.
fn validate_update(new: &ResourceClaim, old: &ResourceClaim) -> ErrorList {
    const SPEC: &str = "io.k8s.api.resource.v1.ResourceClaimSpec";
    internal::immutable(SPEC, &new.spec, &old.spec, &Path::new("spec")).into_iter().collect()
}

/// How far a claim has come: `pending`, `allocated,reserved`, `deleted,allocated`.
fn state(claim: &Value) -> String {
    let is_deleted = claim.pointer("/metadata/deletionTimestamp").is_some_and(|time| !time.is_null());
    let is_allocated = claim.pointer("/status/allocation").is_some_and(|allocation| !allocation.is_null());
    let is_reserved = is_allocated && !list(claim, "/status/reservedFor").is_empty();
    let states = [
        (is_deleted, "deleted"),
        (!is_allocated && !is_deleted, "pending"),
        (is_allocated, "allocated"),
        (is_reserved, "reserved"),
    ];
    let states: Vec<&str> = states.into_iter().filter_map(|(is, state)| is.then_some(state)).collect();
    states.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_state_says_how_far_a_claim_has_come() {
        let deleted = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
        let reserved = json!({"allocation": {}, "reservedFor": [{"uid": "u"}]});
        assert_eq!(state(&json!({"status": {}})), "pending");
        assert_eq!(state(&json!({"status": {"allocation": {}}})), "allocated");
        assert_eq!(state(&json!({"status": reserved})), "allocated,reserved");
        assert_eq!(state(&json!({"metadata": deleted})), "deleted");
        assert_eq!(state(&json!({"metadata": deleted, "status": reserved})), "deleted,allocated,reserved");
    }
}
