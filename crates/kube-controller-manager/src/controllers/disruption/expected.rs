//! How many pods a budget expects, and how many of them it wants healthy.
//!
//! `minAvailable: 2` speaks of the pods that are there. `minAvailable: 50%` and `maxUnavailable` speak of the pods that
//! there should be: the sum of the scales of all controllers of the pods, each counted once. So a budget does not shrink
//! with the pods that it is to keep.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::{Object, View};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::scales;
use crate::common::scaled;

/// What a budget expects.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// How many pods.
    pub pods: i32,
    /// How many of them healthy.
    pub healthy: i32,
    /// Names of pods that nobody controls and that therefore do not count.
    pub unmanaged: Vec<String>,
}

/// Whether the budget is a share of what its pods' controllers want.
pub fn needs_scales(budget: &PodDisruptionBudget) -> bool {
    budget.spec.as_ref().is_some_and(|spec| {
        spec.max_unavailable.is_some() || matches!(spec.min_available, Some(IntOrString::String(_)))
    })
}

/// What the budget expects of its pods, or why that cannot be said.
pub fn count(view: &View, budget: &PodDisruptionBudget, pods: &[&Arc<Pod>]) -> Result<Expected, String> {
    let Some(spec) = &budget.spec else { return Ok(Expected::default()) };
    if !needs_scales(budget) {
        return Ok(match &spec.min_available {
            Some(IntOrString::Int(healthy)) => {
                let pods = i32::try_from(pods.len()).unwrap_or(i32::MAX);
                Expected { pods, healthy: *healthy, unmanaged: Vec::new() }
            }
            _ => Expected::default(),
        });
    }
    let (pods, unmanaged) = wanted_pods(view, pods)?;
    let healthy = match &spec.max_unavailable {
        Some(_) => (pods - scaled(spec.max_unavailable.as_ref(), pods, true)).max(0),
        None => scaled(spec.min_available.as_ref(), pods, true),
    };
    Ok(Expected { pods, healthy, unmanaged })
}

/// The sum of the scales of the pods' controllers, and the pods that have none.
fn wanted_pods(view: &View, pods: &[&Arc<Pod>]) -> Result<(i32, Vec<String>), String> {
    let (mut scales, mut unmanaged) = (BTreeMap::new(), Vec::new());
    for pod in pods {
        let meta = pod.meta_ref();
        let Some(owner) = meta.controller() else {
            unmanaged.push(meta.name.to_owned());
            continue;
        };
        let Some(scale) = scales::of(view, owner, meta.namespace)? else {
            return Err(format!("found no controllers for pod \"{}\"", meta.name));
        };
        scales.insert(scale.uid, scale.replicas);
    }
    Ok((scales.values().fold(0, |sum: i32, replicas| sum.saturating_add(*replicas)), unmanaged))
}

/// A selector as upstream's messages print it.
pub fn shown(selector: &LabelSelector) -> String {
    let labels = selector.match_labels.iter().flatten();
    let labels: String = labels.map(|(key, value)| format!("{key}: {value},")).collect();
    let expressions = selector.match_expressions.iter().flatten();
    let expressions: String = expressions
        .map(|one| {
            let values = one.values.as_deref().unwrap_or_default().join(" ");
            format!("LabelSelectorRequirement{{Key:{},Operator:{},Values:[{values}],}},", one.key, one.operator)
        })
        .collect();
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{labels}}},MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
    )
}
