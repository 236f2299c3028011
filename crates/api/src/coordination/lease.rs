//! Lease: who holds what until when. Leader election and node heartbeats write it.

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use machinery::field::{Error, ErrorList, Path};

use crate::kind::{Column, Deprecated, Kind, Version};
use crate::value::text;
use crate::{cells, checks, names};

const SCHEMA: &str = "io.k8s.api.coordination.v1.Lease";

pub static KIND: Kind = Kind {
    group: "coordination.k8s.io",
    kind: "Lease",
    list_kind: "LeaseList",
    plural: "leases",
    singular: "lease",
    versions: &[
        Version::stored("v1", SCHEMA),
        Version::old(
            "coordination.k8s.io",
            "v1beta1",
            SCHEMA,
            Deprecated { since: "1.19", removed: Some("1.22"), replacement: "coordination.k8s.io/v1 Lease" },
            |_| {},
        ),
    ],
    columns: &[
        Column::NAME,
        Column::new(
            "Holder",
            "string",
            0,
            "holderIdentity contains the identity of the holder of a current lease. If Coordinated Leader Election is used, the holder identity must be equal to the elected LeaseCandidate.metadata.name field.",
        ),
        Column::AGE,
    ],
    cells: |v, now| vec![cells::name(v), text(v, "/spec/holderIdentity").into(), cells::age(v, now)],
    create_on_update: true,
    unconditional_update: false,
    hooks: hooks!(
        Lease,
        true,
        names::subdomain,
        generic_part { validate: validate, validate_update: |new, _old| validate(new) }
    ),
    ..Kind::BASE
};

fn validate(lease: &Lease) -> ErrorList {
    lease.spec.as_ref().map(validate_spec).unwrap_or_default()
}

fn validate_spec(spec: &LeaseSpec) -> ErrorList {
    let root = Path::new("spec");
    let mut errors = ErrorList::new();
    if let Some(seconds) = spec.lease_duration_seconds.filter(|s| *s <= 0) {
        errors.push(Error::invalid(&root.child("leaseDurationSeconds"), seconds, "must be greater than 0"));
    }
    if let Some(transitions) = spec.lease_transitions.filter(|t| *t < 0) {
        errors.push(Error::invalid(&root.child("leaseTransitions"), transitions, "must be greater than or equal to 0"));
    }
    if let Some(strategy) = &spec.strategy {
        errors.extend(checks::qualified_name(strategy, &root.child("strategy")));
    }
    if spec.preferred_holder.as_deref().is_some_and(|p| !p.is_empty())
        && spec.strategy.as_deref().unwrap_or("").is_empty()
    {
        let path = root.child("preferredHolder");
        errors.push(Error::forbidden(&path, "may only be specified if `strategy` is defined"));
    }
    errors
}
