//! What evicted pods are told.

use k8s_openapi::api::core::v1::Pod;
use machinery::quantity::{Format, Quantity};

use super::{Observation, PodUsage, Signal, Stats, Threshold};
use crate::{
    pod::{PodExt, is_sidecar},
    resize::Amounts,
};

/// An amount of bytes: `100Mi`.
pub fn bytes(amount: u64) -> String {
    Quantity::new(i64::try_from(amount).unwrap_or(i64::MAX), Format::BinarySI).to_string()
}

fn shown(signal: Signal, amount: u64) -> String {
    if signal.is_bytes() {
        return bytes(amount);
    }
    Quantity::new(i64::try_from(amount).unwrap_or(i64::MAX), Format::DecimalSI).to_string()
}

/// Why a pod is evicted: what is short, and which of its containers use more of it than they asked for.
pub fn starved(pod: &Pod, threshold: &Threshold, stats: &Stats) -> String {
    let signal = threshold.signal;
    let resource = signal.resource();
    let seen: Observation = stats.node.get(&signal).copied().unwrap_or_default();
    let (quantity, available) = (shown(signal, threshold.amount.of(seen.capacity)), shown(signal, seen.available));
    let mut text =
        format!("The node was low on resource: {resource}. Threshold quantity: {quantity}, available: {available}. ");
    let none = PodUsage::default();
    let usage = stats.pods.get(pod.uid()).unwrap_or(&none);
    for container in &usage.containers {
        let mut all = pod.main_containers().iter().chain(pod.init_containers().iter().filter(|c| is_sidecar(c)));
        let Some(definition) = all.find(|definition| definition.name == container.name) else { continue };
        let resources = definition.resources.as_ref();
        let own = resources.and_then(|own| own.requests.as_ref()).and_then(|requests| requests.get(resource));
        let request = own.map_or_else(|| "0".to_owned(), |own| own.0.clone());
        let requested = match signal {
            Signal::MemoryAvailable => Amounts::of(resources).memory_request / 1000,
            _ => own.map_or(0, |own| i128::from(crate::quantity::value(own))),
        };
        let used = match resource {
            "memory" => container.memory_bytes,
            "ephemeral-storage" => container.rootfs.bytes + container.logs.bytes,
            _ => continue,
        };
        if i128::from(used) > requested {
            let (name, used) = (&container.name, bytes(used));
            text.push_str(&format!(
                "Container {name} was using {used}, request is {request}, has larger consumption of {resource}. "
            ));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Amount, ContainerUsage};
    use super::*;

    #[test]
    fn the_words_are_upstreams() {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"uid": "u"}, "spec": {"containers": [
            {"name": "a", "resources": {"requests": {"memory": "1Mi"}}}, {"name": "b"},
            {"name": "c", "resources": {"requests": {"memory": "1Gi"}}}]}}))
        .unwrap();
        let container = |name: &str, mib: u64| ContainerUsage {
            name: name.into(),
            memory_bytes: mib << 20,
            ..ContainerUsage::default()
        };
        let usage = PodUsage {
            containers: vec![container("a", 2), container("b", 3), container("c", 4)],
            ..PodUsage::default()
        };
        let mut stats = Stats { pods: [("u".to_owned(), usage)].into(), ..Stats::default() };
        let seen = Observation { available: 50 << 20, capacity: 1 << 30 };
        stats.node.extend([
            (Signal::MemoryAvailable, seen),
            (Signal::NodefsInodesFree, Observation { available: 7, capacity: 200 }),
        ]);
        let threshold = |signal, amount| Threshold { signal, amount, grace: None, min_reclaim: None };
        assert_eq!(
            starved(&pod, &threshold(Signal::MemoryAvailable, Amount::Absolute(100 << 20)), &stats),
            "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. \
             Container a was using 2Mi, request is 1Mi, has larger consumption of memory. \
             Container b was using 3Mi, request is 0, has larger consumption of memory. "
        );
        assert_eq!(
            starved(&pod, &threshold(Signal::NodefsInodesFree, Amount::Percent(5.0)), &stats),
            "The node was low on resource: inodes. Threshold quantity: 10, available: 7. "
        );
    }
}
