//! Which toleration covers which, for the plugins that add some to pods or allow only some.

use k8s_openapi::api::core::v1::Toleration;
use serde::Deserialize;
use serde_json::Value;

/// The tolerations in a list of a pod or of something else.
pub fn read(list: Option<&Value>) -> Vec<Toleration> {
    let list = list.and_then(Value::as_array).into_iter().flatten();
    list.filter_map(|one| Toleration::deserialize(one).ok()).collect()
}

/// Both lists in one, without those that another covers; of equal ones the first stays.
pub fn merge(first: Vec<Toleration>, second: Vec<Toleration>) -> Vec<Toleration> {
    let mut all = first;
    all.extend(second);
    let mut merged: Vec<Toleration> = Vec::new();
    for (at, one) in all.iter().enumerate() {
        let covered = merged.iter().any(|other| covers(other, one))
            || all[at + 1..].iter().any(|other| other != one && covers(other, one));
        if !covered {
            merged.push(one.clone());
        }
    }
    merged
}

/// Whether each of a pod's tolerations is covered by one that is allowed; an empty list allows everything.
pub fn are_allowed(tolerations: &[Toleration], allowed: &[Toleration]) -> bool {
    allowed.is_empty() || tolerations.iter().all(|one| allowed.iter().any(|wide| covers(wide, one)))
}

/// Whether `wide` tolerates whatever `narrow` tolerates.
fn covers(wide: &Toleration, narrow: &Toleration) -> bool {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    if wide == narrow {
        return true;
    }
    let any_key = text(&wide.key).is_empty() && text(&wide.operator) == "Exists";
    if text(&wide.key) != text(&narrow.key) && !any_key {
        return false;
    }
    let effect = text(&wide.effect);
    if !effect.is_empty() && effect != text(&narrow.effect) {
        return false;
    }
    if effect == "NoExecute"
        && let Some(seconds) = wide.toleration_seconds
        && narrow.toleration_seconds.is_none_or(|own| own > seconds)
    {
        return false;
    }
    match text(&wide.operator).as_str() {
        "" | "Equal" => text(&narrow.operator) == "Equal" && text(&wide.value) == text(&narrow.value),
        "Exists" => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_covered_is_left_out() {
        let list = |value: Value| read(Some(&value));
        let narrow = || {
            list(json!([
                { "key": "a", "operator": "Equal", "value": "1", "effect": "NoSchedule" },
                { "key": "b", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300 },
            ]))
        };
        let wide = || {
            list(json!([
                { "key": "a", "operator": "Exists" },
                { "key": "b", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60 },
            ]))
        };
        let merged = merge(narrow(), wide());
        assert_eq!(
            merged,
            list(json!([
                { "key": "b", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300 },
                { "key": "a", "operator": "Exists" },
            ]))
        );
        assert!(!are_allowed(&narrow(), &wide()));
        assert!(are_allowed(&narrow()[..1], &wide()) && are_allowed(&narrow(), &[]));
        assert!(are_allowed(&narrow(), &list(json!([{ "operator": "Exists" }]))));
    }
}
