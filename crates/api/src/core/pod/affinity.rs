//! Where a pod may run: affinity, tolerations, spreading.

use k8s_openapi::api::core::v1::{
    Affinity, NodeSelector, NodeSelectorTerm, PodAffinityTerm, Toleration, TopologySpreadConstraint,
    WeightedPodAffinityTerm,
};
use machinery::field::{Error, ErrorList, Path};
use machinery::names;

use crate::checks;

pub fn affinity(affinity: Option<&Affinity>, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let Some(affinity) = affinity else { return errors };
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
    if let Some(node) = &affinity.node_affinity {
        let path = path.child("nodeAffinity");
        if let Some(selector) = &node.required_during_scheduling_ignored_during_execution {
            errors.extend(node_selector(selector, &path.child(REQUIRED)));
        }
        let list = path.child(PREFERRED);
        for (i, term) in node.preferred_during_scheduling_ignored_during_execution.iter().flatten().enumerate() {
            let path = list.index(i);
            errors.extend(weight(term.weight, &path.child("weight")));
            errors.extend(node_selector_term(&term.preference, &path.child("preference")));
        }
    }
    let pod = affinity.pod_affinity.as_ref().map(|a| {
        let preferred = &a.preferred_during_scheduling_ignored_during_execution;
        ("podAffinity", &a.required_during_scheduling_ignored_during_execution, preferred)
    });
    let anti = affinity.pod_anti_affinity.as_ref().map(|a| {
        let preferred = &a.preferred_during_scheduling_ignored_during_execution;
        ("podAntiAffinity", &a.required_during_scheduling_ignored_during_execution, preferred)
    });
    for (field, required, preferred) in pod.into_iter().chain(anti) {
        let path = path.child(field);
        let list = path.child(REQUIRED);
        for (i, term) in required.iter().flatten().enumerate() {
            errors.extend(pod_affinity_term(term, &list.index(i)));
        }
        let list = path.child(PREFERRED);
        for (i, WeightedPodAffinityTerm { weight: points, pod_affinity_term: term }) in
            preferred.iter().flatten().enumerate()
        {
            let path = list.index(i);
            errors.extend(weight(*points, &path.child("weight")));
            errors.extend(pod_affinity_term(term, &path.child("podAffinityTerm")));
        }
    }
    errors
}

fn weight(weight: i32, path: &Path) -> Option<Error> {
    (!(1..=100).contains(&weight)).then(|| Error::invalid(path, weight, "must be in the range 1-100"))
}

/// Terms of which one must hold.
pub fn node_selector(selector: &NodeSelector, path: &Path) -> ErrorList {
    let path = path.child("nodeSelectorTerms");
    if selector.node_selector_terms.is_empty() {
        return vec![Error::required(&path, "must have at least one node selector term")];
    }
    let terms = selector.node_selector_terms.iter().enumerate();
    terms.flat_map(|(i, term)| node_selector_term(term, &path.index(i))).collect()
}

fn node_selector_term(term: &NodeSelectorTerm, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let list = path.child("matchExpressions");
    for (i, requirement) in term.match_expressions.iter().flatten().enumerate() {
        let path = list.index(i);
        let values = requirement.values.as_deref().unwrap_or(&[]);
        match requirement.operator.as_str() {
            "In" | "NotIn" if values.is_empty() => errors
                .push(Error::required(&path.child("values"), "must be specified when `operator` is 'In' or 'NotIn'")),
            "Exists" | "DoesNotExist" if !values.is_empty() => errors.push(Error::forbidden(
                &path.child("values"),
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            )),
            "Gt" | "Lt" if values.len() != 1 => errors.push(Error::required(
                &path.child("values"),
                "must be specified single value when `operator` is 'Lt' or 'Gt'",
            )),
            "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
            other => errors.push(Error::invalid(&path.child("operator"), other, "not a valid selector operator")),
        }
        errors.extend(checks::qualified_name(&requirement.key, &path.child("key")));
    }
    let list = path.child("matchFields");
    for (i, requirement) in term.match_fields.iter().flatten().enumerate() {
        let path = list.index(i);
        let values = requirement.values.as_deref().unwrap_or(&[]);
        match requirement.operator.as_str() {
            "In" | "NotIn" if values.len() != 1 => errors.push(Error::required(
                &path.child("values"),
                "must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
            )),
            "In" | "NotIn" => {}
            other => errors.push(Error::invalid(&path.child("operator"), other, "not a valid selector operator")),
        }
        if requirement.key == "metadata.name" {
            let list = path.child("values");
            for (j, value) in values.iter().enumerate() {
                errors.extend(checks::dns_subdomain(value, &list.index(j)));
            }
        } else {
            errors.push(Error::invalid(&path.child("key"), &requirement.key, "not a valid field selector key"));
        }
    }
    errors
}

fn pod_affinity_term(term: &PodAffinityTerm, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    if let Some(selector) = &term.label_selector {
        errors.extend(checks::label_selector(selector, &path.child("labelSelector")));
    }
    if let Some(selector) = &term.namespace_selector {
        errors.extend(checks::label_selector(selector, &path.child("namespaceSelector")));
    }
    for namespace in term.namespaces.iter().flatten() {
        errors.extend(checks::dns_label(namespace, &path.child("namespace")));
    }
    let (keys, other_keys) = (term.match_label_keys.as_deref(), term.mismatch_label_keys.as_deref());
    errors.extend(match_label_keys(keys, "matchLabelKeys", term.label_selector.is_some(), path));
    errors.extend(match_label_keys(other_keys, "mismatchLabelKeys", term.label_selector.is_some(), path));
    let list = path.child("matchLabelKeys");
    for (i, key) in keys.into_iter().flatten().enumerate() {
        if other_keys.is_some_and(|other| other.contains(key)) {
            let detail = "exists in both matchLabelKeys and mismatchLabelKeys";
            errors.push(Error::invalid(&list.index(i), key, detail));
        }
    }
    if term.topology_key.is_empty() {
        errors.push(Error::required(&path.child("topologyKey"), "can not be empty"));
    }
    errors.extend(checks::qualified_name(&term.topology_key, &path.child("topologyKey")));
    errors
}

fn match_label_keys(keys: Option<&[String]>, field: &str, selects: bool, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let list = path.child(field);
    let keys = keys.unwrap_or(&[]);
    if !keys.is_empty() && !selects {
        errors.push(Error::forbidden(&list, "must not be specified when labelSelector is not set"));
    }
    for (i, key) in keys.iter().enumerate() {
        errors.extend(checks::qualified_name(key, &list.index(i)));
    }
    errors
}

pub fn tolerations(tolerations: &[Toleration], path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    for (i, toleration) in tolerations.iter().enumerate() {
        let path = path.index(i);
        let key = toleration.key.as_deref().unwrap_or("");
        let operator = toleration.operator.as_deref().unwrap_or("");
        let effect = toleration.effect.as_deref().unwrap_or("");
        let value = toleration.value.as_deref().unwrap_or("");
        let at = path.child("operator");
        if !key.is_empty() {
            errors.extend(checks::qualified_name(key, &path.child("key")));
        } else if operator != "Exists" {
            let detail = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.push(Error::invalid(&at, operator, detail));
        }
        if toleration.toleration_seconds.is_some() && effect != "NoExecute" {
            let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.push(Error::invalid(&path.child("effect"), effect, detail));
        }
        match operator {
            "" | "Equal" => errors.extend(checks::each(&at, value, names::label_value(value))),
            "Exists" if !value.is_empty() => {
                errors.push(Error::invalid(&at, value, "value must be empty when `operator` is 'Exists'"));
            }
            "Exists" => {}
            // Numeric operators are upstream's alpha feature and off; the list it shows then depends on the operator.
            "Lt" | "Gt" => errors.push(Error::not_supported(&at, operator, &["Equal", "Exists", "Lt", "Gt"])),
            other => errors.push(Error::not_supported(&at, other, &["Equal", "Exists"])),
        }
        if !effect.is_empty() {
            errors.extend(taint_effect(effect, &path.child("effect")));
        }
    }
    errors
}

/// An effect a taint may have.
pub fn taint_effect(effect: &str, path: &Path) -> Option<Error> {
    const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];
    match effect {
        "" => Some(Error::required(path, "")),
        known if EFFECTS.contains(&known) => None,
        other => Some(Error::not_supported(path, other, EFFECTS)),
    }
}

pub fn topology_spread(constraints: &[TopologySpreadConstraint], path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    for (i, constraint) in constraints.iter().enumerate() {
        let at = path.index(i);
        if constraint.max_skew <= 0 {
            let path = at.child("maxSkew");
            errors.push(Error::invalid(&path, constraint.max_skew, "must be greater than zero"));
        }
        if constraint.topology_key.is_empty() {
            errors.push(Error::required(&at.child("topologyKey"), "can not be empty"));
        } else {
            errors.extend(checks::qualified_name(&constraint.topology_key, &at.child("topologyKey")));
        }
        let when = constraint.when_unsatisfiable.as_str();
        if !matches!(when, "DoNotSchedule" | "ScheduleAnyway") {
            let supported = ["DoNotSchedule", "ScheduleAnyway"];
            errors.push(Error::not_supported(&at.child("whenUnsatisfiable"), when, &supported));
        }
        let pair = |c: &TopologySpreadConstraint| (c.topology_key.clone(), c.when_unsatisfiable.clone());
        if constraints[..i].iter().any(|other| pair(other) == pair(constraint)) {
            let key = format!("{{{}, {}}}", constraint.topology_key, when);
            errors.push(Error::duplicate(&at.child("{topologyKey, whenUnsatisfiable}"), key));
        }
        if let Some(domains) = constraint.min_domains {
            let path = at.child("minDomains");
            if domains <= 0 {
                errors.push(Error::invalid(&path, domains, "must be greater than zero"));
            }
            if when != "DoNotSchedule" {
                let detail = "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway";
                errors.push(Error::invalid(&path, domains, detail));
            }
        }
        for (field, policy) in [
            ("nodeAffinityPolicy", &constraint.node_affinity_policy),
            ("nodeTaintsPolicy", &constraint.node_taints_policy),
        ] {
            if let Some(policy) = policy.as_deref().filter(|p| !matches!(*p, "Honor" | "Ignore")) {
                errors.push(Error::not_supported(&at.child(field), policy, &["Honor", "Ignore"]));
            }
        }
        if let Some(selector) = &constraint.label_selector {
            errors.extend(checks::label_selector(selector, &at.child("labelSelector")));
        }
        let keys = constraint.match_label_keys.as_deref();
        errors.extend(match_label_keys(keys, "matchLabelKeys", constraint.label_selector.is_some(), &at));
    }
    errors
}
