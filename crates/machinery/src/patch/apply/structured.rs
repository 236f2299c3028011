//! An apply: merge the configuration in, remove what its manager no longer names, refuse to take fields from others.

use std::collections::BTreeMap;

use serde_json::Value;

use super::last_applied;
use super::managed::{Entry, Managed, ManagerId, Operation};
use super::merge::merge;
use super::owned::owned;
use super::path::{Step, path_text};
use super::place::Place;
use super::remove::{remove, with_named_fields};
use super::set::Set;
use super::update::{Differences, Versions, Writer, nobodys, update};
use super::validate::validate;
use crate::gvk::GroupVersionKind;
use crate::status::{Status, StatusCause, StatusDetails, reason};
use crate::{go_text, meta};

const CONFLICT: &str = "FieldManagerConflict";
/// Who owns what an object had before anybody was tracked.
const BEFORE: &str = "before-first-apply";

/// What an apply leaves behind.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The merged object, of the write's version and not yet decoded; none when nothing changes.
    pub object: Option<Value>,
    pub managed: Managed,
}

/// Why a configuration was not applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The configuration does not fit the schema.
    #[error("{0}")]
    Malformed(String),
    #[error("{}", conflict_message(.0))]
    Conflicts(Vec<Conflict>),
}

/// A field that somebody else owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    pub owner: ManagerId,
    pub path: Vec<Step>,
}

impl From<ApplyError> for Status {
    fn from(error: ApplyError) -> Self {
        let message = error.to_string();
        match error {
            ApplyError::Malformed(_) => Status::unexpected(message),
            ApplyError::Conflicts(conflicts) => {
                let cause = |conflict: &Conflict| {
                    let text = format!("conflict with {}", owner_text(&conflict.owner));
                    StatusCause { reason: CONFLICT.to_owned(), message: text, field: path_text(&conflict.path) }
                };
                let details = StatusDetails { causes: conflicts.iter().map(cause).collect(), ..Default::default() };
                Status::failure(409, reason::CONFLICT, message).with_details(details)
            }
        }
    }
}

/// Applies a configuration to an object (both of the write's version), as `writer`, whose operation is Apply. Without a live
/// object one is made from nothing.
pub fn apply(
    versions: &dyn Versions,
    writer: &Writer,
    live: Option<&Value>,
    config: &Value,
    mut managed: Managed,
    force: bool,
) -> Result<Applied, ApplyError> {
    let no_schema = || malformed(config, &format!("no schema of version {}", writer.api_version));
    let place = versions.place(writer.api_version).ok_or_else(no_schema)?;
    check_config(place, config)?;
    let empty = versions.empty(writer.api_version);
    if let Some(live) = live.filter(|_| managed.entries.is_empty()) {
        let id = ManagerId::new(BEFORE, Operation::Update, writer.api_version, &writer.id.subresource);
        let (api_version, now, reset) = (writer.api_version, writer.now, writer.reset);
        managed = update(versions, &Writer { id, api_version, now, reset }, &empty, live, managed);
    }
    let live = live.unwrap_or(&empty);
    match structured(versions, writer, place, live, config, managed.clone(), force) {
        // What kubectl owns by its older way of applying it may take over without force.
        Err(ApplyError::Conflicts(conflicts)) if writer.id.manager == last_applied::MANAGER => {
            let Some(allowed) = last_applied::owned_before(writer.api_version, place, live) else {
                return Err(ApplyError::Conflicts(conflicts));
            };
            let refused: Vec<Conflict> =
                conflicts.into_iter().filter(|conflict| !allowed.contains(&conflict.path)).collect();
            if !refused.is_empty() {
                return Err(ApplyError::Conflicts(refused));
            }
            structured(versions, writer, place, live, config, managed, true)
        }
        result => result,
    }
}

fn structured(
    versions: &dyn Versions,
    writer: &Writer,
    place: Place,
    live: &Value,
    config: &Value,
    mut managed: Managed,
    force: bool,
) -> Result<Applied, ApplyError> {
    let merged = merge(place, live, config);
    let mut fields = owned(place, config);
    fields.subtract_with_all_below(writer.reset);
    let api_version = writer.api_version.to_owned();
    let last = managed.entries.insert(writer.id.clone(), Entry { fields, api_version, time: None });
    let merged = match &last {
        Some(last) if !last.fields.is_empty() => prune(versions, writer, &merged, &managed, last),
        _ => merged,
    };
    let mut differences = Differences::new(versions, writer, live, &merged)
        .ok_or_else(|| ApplyError::Malformed(format!("no schema of version {}", writer.api_version)))?;
    let mut conflicts = Vec::new();
    let mut kept = Managed::default();
    for (id, entry) in managed.entries {
        if id == writer.id {
            kept.entries.insert(id, entry);
            continue;
        }
        let Some(comparison) = differences.of_version(&entry.api_version) else { continue };
        let taken = entry.fields.intersection(&comparison.set());
        conflicts.extend(taken.paths().into_iter().map(|path| Conflict { owner: id.clone(), path }));
        if let Some(entry) = differences.lose(entry) {
            kept.entries.insert(id, entry);
        }
    }
    if !force && !conflicts.is_empty() {
        return Err(ApplyError::Conflicts(conflicts));
    }
    let changed = merged != *live;
    if let Some(own) = kept.entries.get_mut(&writer.id) {
        own.fields.subtract(&nobodys());
        own.time = if changed { Some(writer.now.to_owned()) } else { last.and_then(|last| last.time) };
    }
    kept.entries.retain(|_, entry| !entry.fields.is_empty());
    Ok(Applied { object: changed.then_some(merged), managed: kept })
}

/// Removes what the manager applied last time and does not apply now, unless somebody else owns it.
fn prune(versions: &dyn Versions, writer: &Writer, merged: &Value, managed: &Managed, last: &Entry) -> Value {
    let Some(place) = versions.place(&last.api_version) else { return merged.clone() };
    let convert = |object: &Value, from: &str, to: &str| {
        if from == to { object.clone() } else { versions.convert(object, from, to) }
    };
    let merged_then = convert(merged, writer.api_version, &last.api_version);
    let mut pruned = remove(place, &merged_then, &with_named_fields(place, &last.fields));
    // What was removed comes back where it is owned, version by version, beginning with the one at hand.
    let mut by_version: BTreeMap<(bool, &str), Set> = BTreeMap::new();
    for entry in managed.entries.values() {
        let other = entry.api_version != last.api_version;
        by_version.entry((other, &entry.api_version)).or_default().add(entry.fields.clone());
    }
    for ((_, version), owned_fields) in by_version {
        let Some(place) = versions.place(version) else { continue };
        let before = convert(&merged_then, &last.api_version, version);
        let after = convert(&pruned, &last.api_version, version);
        let mut gone = with_named_fields(place, &owned(place, &before));
        gone.subtract(&with_named_fields(place, &owned(place, &after)));
        gone.subtract(&with_named_fields(place, &owned_fields));
        pruned = convert(&remove(place, &before, &gone), version, &last.api_version);
    }
    // What went with a removed parent though the manager never owned it comes back, too.
    let mut gone = with_named_fields(place, &owned(place, &merged_then));
    gone.subtract(&with_named_fields(place, &owned(place, &pruned)));
    let gone = gone.intersection(&with_named_fields(place, &last.fields));
    convert(&remove(place, &merged_then, &gone), &last.api_version, writer.api_version)
}

/// Whether a configuration fits its schema.
pub fn check_config(place: Place, config: &Value) -> Result<(), ApplyError> {
    validate(place, config).map_err(|problem| malformed(config, &problem))
}

fn malformed(config: &Value, problem: &str) -> ApplyError {
    ApplyError::Malformed(format!("failed to create typed patch object ({}): {problem}", object_text(config)))
}

/// What messages call an object: `ns/name; group/version, Kind=Kind`.
fn object_text(object: &Value) -> String {
    let kind = GroupVersionKind::of(object).map(|kind| kind.to_string()).unwrap_or_default();
    format!("{}/{}; {kind}", meta::namespace(object), meta::name(object))
}

fn conflict_message(conflicts: &[Conflict]) -> String {
    if let [conflict] = conflicts {
        let (owner, path) = (owner_text(&conflict.owner), path_text(&conflict.path));
        return format!("Apply failed with 1 conflict: conflict with {owner}: {path}");
    }
    let mut by_owner: BTreeMap<&ManagerId, String> = BTreeMap::new();
    for conflict in conflicts {
        let lines = by_owner
            .entry(&conflict.owner)
            .or_insert_with(|| format!("conflicts with {}:", owner_text(&conflict.owner)));
        lines.push_str("\n- ");
        lines.push_str(&path_text(&conflict.path));
    }
    let lines: Vec<String> = by_owner.into_values().collect();
    format!("Apply failed with {} conflicts: {}", conflicts.len(), lines.join("\n"))
}

fn owner_text(owner: &ManagerId) -> String {
    let mut text = go_text::quote(&owner.manager);
    if !owner.subresource.is_empty() {
        text.push_str(&format!(" with subresource {}", go_text::quote(&owner.subresource)));
    }
    if owner.operation == Operation::Update {
        text.push_str(&format!(" using {}", owner.api_version));
    }
    text
}
