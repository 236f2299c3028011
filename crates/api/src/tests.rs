//! The kinds against recorded answers of a real v1.36, where the recordings are at hand (`../shared/oracle` beside the
//! workspace): what a create or an update is answered with, and the causes of each refusal. Without them these tests
//! say so and compare nothing.

mod discovery;
mod oracle;
mod replay;
mod tables;

use serde_json::json;

use crate::{ALL, BODIES, find};
use oracle::{Tally, Write};

/// Equal answers known so far: a change may raise them only.
const FLOOR_CREATED: usize = 528;
const FLOOR_CREATES_REFUSED: usize = 538;
const FLOOR_UPDATED: usize = 179;
const FLOOR_UPDATES_REFUSED: usize = 111;
const FLOOR_WARNED: usize = 763;
const FLOOR_READ_ROWS: usize = 80;

#[test]
fn declarations_are_complete() {
    for kind in ALL.iter().chain(BODIES) {
        assert!(!kind.versions.is_empty(), "{} has no version", kind.kind);
        let stored = kind.versions.iter().filter(|v| v.storage).count();
        assert_eq!((stored, kind.versions[0].storage), (1, true), "{}: one stored version, the first", kind.kind);
        for version in kind.versions {
            assert!(machinery::schema::builtin().id(version.schema).is_some(), "{} is no type", version.schema);
        }
        assert_eq!(kind.singular, kind.kind.to_lowercase());
    }
    for kind in ALL {
        for version in kind.versions {
            let found = find(version.group_of(kind), version.name, kind.plural);
            assert!(found.is_some_and(|(k, _)| k.kind == kind.kind), "{} is not found", version.schema);
        }
        if kind.is_virtual {
            continue;
        }
        assert_eq!(kind.list_kind, format!("{}List", kind.kind));
        let cells = (kind.cells)(&json!({"metadata": {"name": "x"}}), jiff::Timestamp::UNIX_EPOCH);
        // Upstream's table of addresses has an age without a column for it.
        let without_column = usize::from(kind.plural == "ipaddresses");
        assert_eq!(cells.len(), kind.columns.len() + without_column, "{}: a cell for each column", kind.kind);
    }
}

#[test]
fn old_versions_say_what_to_use() {
    let warning = |group, version, plural| {
        let (kind, version) = find(group, version, plural)?;
        version.warning(kind)
    };
    assert_eq!(
        warning("extensions", "v1beta1", "replicasets").as_deref(),
        Some("extensions/v1beta1 ReplicaSet is deprecated in v1.8+, unavailable in v1.16+; use apps/v1 ReplicaSet")
    );
    let endpoints = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice";
    assert_eq!(warning("", "v1", "endpoints").as_deref(), Some(endpoints));
    assert_eq!(warning("apps", "v1", "deployments"), None);
}

#[test]
fn writes_are_answered_as_recorded() {
    let Some(folder) = oracle::folder() else { return };
    let (mut created, mut updated) = (Tally::default(), Tally::default());
    oracle::for_each_write(&folder, |write| {
        let tally = match write {
            Write { old: None, status: 201, .. } => &mut created,
            Write { old: Some(_), status: 200, .. } => &mut updated,
            _ => return,
        };
        let is_object = oracle::text(write.answer, "kind") == write.kind.kind;
        if !is_object || write.kind.is_virtual || write.is_filled_by_admission() {
            return;
        }
        let wanted = replay::comparable(write, write.answer.clone());
        let (got, errors) = match replay::prepared(write) {
            Ok(object) => {
                let errors = replay::check(write, &object);
                (replay::comparable(write, replay::answered(write, object)), errors)
            }
            Err(error) => (error.into(), Vec::new()),
        };
        tally.count(got == wanted && errors.is_empty(), || {
            format!("{write}\n   got    {got}\n   wanted {wanted}\n   errors {errors:?}")
        });
    });
    created.report("created", FLOOR_CREATED);
    updated.report("updated", FLOOR_UPDATED);
}

#[test]
fn refusals_have_the_recorded_causes() {
    let Some(folder) = oracle::folder() else { return };
    let (mut creates, mut updates) = (Tally::default(), Tally::default());
    oracle::for_each_write(&folder, |write| {
        let Some(wanted) = write.causes() else { return };
        let got = match replay::prepared(write) {
            Ok(object) => {
                replay::check(write, &object).iter().map(|e| json!([e.kind.reason(), e.field, e.body()])).collect()
            }
            Err(error) => vec![error.into()],
        };
        let tally = if write.old.is_none() { &mut creates } else { &mut updates };
        tally.count(got == wanted, || {
            let lines = |list: &[serde_json::Value]| list.iter().map(|v| format!("\n      {v}")).collect::<String>();
            format!("{write}\n   got{}\n   wanted{}", lines(&got), lines(&wanted))
        });
    });
    creates.report("refused creates", FLOOR_CREATES_REFUSED);
    updates.report("refused updates", FLOOR_UPDATES_REFUSED);
}

#[test]
fn warnings_are_as_recorded() {
    let Some(folder) = oracle::folder() else { return };
    let mut tally = Tally::default();
    oracle::for_each_write(&folder, |write| {
        if !matches!(write.status, 200 | 201) || !matches!(write.subresource, "") {
            return;
        }
        let Ok(object) = replay::prepared(write) else { return };
        let old = write.old.and_then(|old| replay::stored(write, old.clone()).ok());
        let mut got = (write.kind.hooks.warnings)(&object, old.as_ref());
        got.extend(write.version.warning(write.kind));
        got.sort();
        let wanted = write.warnings();
        tally.count(got == wanted, || format!("{write}\n   got {got:#?}\n   wanted {wanted:#?}"));
    });
    tally.report("warned", FLOOR_WARNED);
}

#[test]
fn rows_of_read_tables_are_as_recorded() {
    let Some(folder) = oracle::folder() else { return };
    let mut tally = Tally::default();
    oracle::for_each_row(&folder, |row| {
        let now = row.object["metadata"]["creationTimestamp"].as_str().and_then(|t| t.parse().ok()).unwrap_or_default();
        let mut got = (row.kind.cells)(&row.object, now);
        let mut wanted = row.row["cells"].as_array().cloned().unwrap_or_default();
        for cells in [&mut got, &mut wanted] {
            for (cell, column) in cells.iter_mut().zip(row.kind.columns) {
                // Time went on between the write and the reading.
                if matches!(column.name, "Age" | "Last Seen" | "First Seen") {
                    *cell = "a while".into();
                }
            }
        }
        let conditions = row.kind.row_conditions.map(|f| f(&row.object)).unwrap_or_default();
        let same = conditions == row.row["conditions"].as_array().cloned().unwrap_or_default();
        tally.count(got == wanted && same, || {
            format!("{} {}\n   got    {got:?}\n   wanted {wanted:?}", row.case, row.kind.kind)
        });
    });
    tally.report("rows read", FLOOR_READ_ROWS);
}

#[test]
fn finalizers_need_a_domain_but_for_the_kinds_that_upstream_keeps_apart() {
    let free = |kind: &&&crate::Kind| {
        let mut object = json!({ "metadata": { "name": "x", "finalizers": ["plain"] } });
        if kind.namespaced {
            object["metadata"]["namespace"] = "n".into();
        }
        !kind.is_virtual && !kind.is_computed && {
            let mut updated = object.clone();
            updated["metadata"]["labels"] = json!({ "a": "b" });
            let standard = |errors: machinery::field::ErrorList| {
                errors.iter().filter(|error| error.to_string().contains("neither a standard finalizer")).count()
            };
            let (created, updated) =
                (standard(kind.validate(&object)), standard(kind.validate_update(&updated, &object)));
            assert_eq!(created == 0, updated == 0, "{}", kind.kind);
            created == 0
        }
    };
    let mut found: Vec<&str> = ALL.iter().filter(free).map(|kind| kind.kind).collect();
    found.sort_unstable();
    let wanted = [
        "APIService",
        "CustomResourceDefinition",
        "Event",
        "Lease",
        "MutatingAdmissionPolicy",
        "MutatingAdmissionPolicyBinding",
        "MutatingWebhookConfiguration",
        "PodDisruptionBudget",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "ValidatingWebhookConfiguration",
    ];
    assert_eq!(found, wanted);
}
