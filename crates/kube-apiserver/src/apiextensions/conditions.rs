//! The conditions of a definition: what the server makes of it.

use api::apiextensions::custom_resource_definition::is_true;
use api::apiextensions::{Approval, approval};
use serde_json::Value;

use super::names::{self, Accepted};
use crate::registry::object::{self, Condition};

/// Brings the status of a definition up to date; says whether that changed it. `others` are those of the same group.
pub fn update<'v>(definition: &mut Value, others: impl Iterator<Item = &'v Value>) -> bool {
    let before = definition["status"].clone();
    let Accepted { names, conflict } = names::accept(definition, others);
    definition["status"]["acceptedNames"] = names;
    match &conflict {
        Some(conflict) => set(definition, "NamesAccepted", "False", conflict.reason, &conflict.message),
        None => set(definition, "NamesAccepted", "True", "NoConflicts", "no conflicts found"),
    }
    if !is_true(definition, "Established") {
        if conflict.is_none() {
            let message = "the initial names have been accepted";
            set(definition, "Established", "True", "InitialNamesAccepted", message);
        } else {
            set(definition, "Established", "False", "NotAccepted", "not all names are accepted");
        }
    }
    if let Some((approval, message)) = approval(definition) {
        let (status, reason) = match approval {
            Approval::Approved => ("True", "ApprovedAnnotation"),
            Approval::Bypassed => ("False", "UnapprovedAnnotation"),
            Approval::Missing => ("False", "MissingAnnotation"),
            Approval::Invalid => ("False", "InvalidAnnotation"),
        };
        set(definition, "KubernetesAPIApprovalPolicyConformant", status, reason, &message);
    }
    before != definition["status"]
}

/// Sets a condition of a definition.
pub fn set(definition: &mut Value, kind: &str, status: &str, reason: &str, message: &str) {
    object::set_condition(definition, &Condition { kind, status, reason, message, observed_generation: None });
}
