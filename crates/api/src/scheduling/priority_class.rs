//! PriorityClass: a name for a number that says which pods go first, and which may push others off a node. Two
//! classes, for pods the cluster cannot do without, exist everywhere; only they have numbers above a billion.

use k8s_openapi::api::scheduling::v1::PriorityClass;
use machinery::field::{Error, ErrorList, Path};
use serde_json::{Value, json};

use crate::kind::{Column, Deprecated, Kind, Version};
use crate::value::{boolean, integer, text};
use crate::{cells, checks, names, strategy};

const SCHEMA: &str = "io.k8s.api.scheduling.v1.PriorityClass";
/// The highest value that is not the system's.
pub const USER_VALUE_MAX: i32 = 1_000_000_000;
const SYSTEM_PREFIX: &str = "system-";
const PREEMPTION_POLICIES: &[&str] = &["PreemptLowerPriority", "Never"];

/// A class that every cluster has.
pub struct SystemClass {
    pub name: &'static str,
    pub value: i32,
    pub description: &'static str,
}

/// The system's classes, the higher one first.
pub const SYSTEM_CLASSES: [SystemClass; 2] = [
    SystemClass {
        name: "system-node-critical",
        value: 2 * USER_VALUE_MAX + 1000,
        description: "Used for system critical pods that must not be moved from their current node.",
    },
    SystemClass {
        name: "system-cluster-critical",
        value: 2 * USER_VALUE_MAX,
        description: "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    },
];

impl SystemClass {
    /// The object to create.
    pub fn object(&self) -> Value {
        json!({
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": self.name},
            "value": self.value,
            "description": self.description,
        })
    }
}

pub static KIND: Kind = Kind {
    group: "scheduling.k8s.io",
    kind: "PriorityClass",
    list_kind: "PriorityClassList",
    plural: "priorityclasses",
    singular: "priorityclass",
    short_names: &["pc"],
    namespaced: false,
    versions: &[
        Version::stored("v1", SCHEMA),
        Version::old(
            "scheduling.k8s.io",
            "v1beta1",
            SCHEMA,
            Deprecated { since: "1.14", removed: Some("1.22"), replacement: "scheduling.k8s.io/v1 PriorityClass" },
            |_| {},
        ),
    ],
    generation: true,
    columns: &[
        Column::NAME,
        Column::new(
            "Value",
            "integer",
            0,
            "value represents the integer value of this priority class. This is the actual priority that pods receive when they have the name of this class in their pod spec.",
        ),
        Column::new(
            "Global-Default",
            "boolean",
            0,
            "globalDefault specifies whether this PriorityClass should be considered as the default priority for pods that do not have any priority class. Only one PriorityClass can be marked as `globalDefault`. However, if more than one PriorityClasses exists with their `globalDefault` field set to true, the smallest value of such global default PriorityClasses will be used as the default priority.",
        ),
        Column::AGE,
        Column::new(
            "PreemptionPolicy",
            "string",
            0,
            "preemptionPolicy is the Policy for preempting pods with lower priority. One of Never, PreemptLowerPriority. Defaults to PreemptLowerPriority if unset.",
        ),
    ],
    cells: |v, now| {
        vec![
            cells::name(v),
            integer(v, "/value").into(),
            boolean(v, "/globalDefault").into(),
            cells::age(v, now),
            text(v, "/preemptionPolicy").into(),
        ]
    },
    hooks: hooks!(
        PriorityClass,
        false,
        names::subdomain,
        part {
            default: |class| {
                class.preemption_policy.get_or_insert_with(|| "PreemptLowerPriority".to_string());
            },
            prepare_create: |class| strategy::set_generation(class, 1),
            validate: validate,
            validate_update: validate_update,
        }
    ),
    ..Kind::BASE
};

fn validate(class: &PriorityClass) -> ErrorList {
    let mut errors = ErrorList::new();
    let name = class.metadata.name.as_deref().unwrap_or("");
    let value = class.value.unwrap_or(0);
    if name.starts_with(SYSTEM_PREFIX) {
        if let Some(reason) = not_of_the_system(name, value, class.global_default.unwrap_or(false)) {
            let detail = format!(
                "priority class names with '{SYSTEM_PREFIX}' prefix are reserved for system use only. error: {reason}"
            );
            errors.push(Error::forbidden(&Path::new("metadata.name"), detail));
        }
    } else if value > USER_VALUE_MAX {
        let detail = format!("maximum allowed value of a user defined priority is {USER_VALUE_MAX}");
        errors.push(Error::forbidden(&Path::new("value"), detail));
    }
    if let Some(policy) = &class.preemption_policy {
        errors.extend(checks::one_of(Some(policy), PREEMPTION_POLICIES, &Path::new("preemptionPolicy")));
    }
    errors
}

fn not_of_the_system(name: &str, value: i32, global_default: bool) -> Option<String> {
    let Some(known) = SYSTEM_CLASSES.iter().find(|class| class.name == name) else {
        return Some(format!("{name} is not a known system priority class"));
    };
    if known.value != value {
        return Some(format!("value of {name} PriorityClass must be {}", known.value));
    }
    global_default.then(|| format!("globalDefault of {name} PriorityClass must be false"))
}

fn validate_update(new: &PriorityClass, old: &PriorityClass) -> ErrorList {
    let mut errors = ErrorList::new();
    if new.value.unwrap_or(0) != old.value.unwrap_or(0) {
        errors.push(Error::forbidden(&Path::new("value"), "may not be changed in an update."));
    }
    errors.extend(checks::immutable(&new.preemption_policy, &old.preemption_policy, &Path::new("preemptionPolicy")));
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_own_classes_are_valid_as_they_are_only() {
        for class in &SYSTEM_CLASSES {
            let mut object: PriorityClass = serde_json::from_value(class.object()).unwrap();
            assert_eq!(validate(&object), []);
            object.value = Some(class.value - 1);
            let error = validate(&object).pop().map(|e| e.to_string()).unwrap_or_default();
            let reason = format!("error: value of {} PriorityClass must be {}", class.name, class.value);
            assert!(error.starts_with("metadata.name: Forbidden: ") && error.ends_with(&reason), "{error}");
        }
    }

    #[test]
    fn value_and_policy_never_change() {
        let old: PriorityClass = serde_json::from_value(SYSTEM_CLASSES[0].object()).unwrap();
        let new = PriorityClass { value: Some(1), preemption_policy: Some("Never".to_string()), ..old.clone() };
        let texts: Vec<String> = validate_update(&new, &old).iter().map(Error::to_string).collect();
        let expected = [
            "value: Forbidden: may not be changed in an update.",
            "preemptionPolicy: Invalid value: \"Never\": field is immutable",
        ];
        assert_eq!(texts, expected);
    }
}
