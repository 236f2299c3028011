//! Storage that cannot be shared: claims that only one pod may use at a time, and disks that are attached once.

use k8s_openapi::api::core::v1::Volume;

use super::{Event, Plugin, Rejection, concerns_claims_of};
use crate::cycle::Cycle;
use crate::nodes::Nodes;
use crate::pod_info::PodInfo;

pub struct VolumeRestrictions;

impl Plugin for VolumeRestrictions {
    fn name(&self) -> &'static str {
        "VolumeRestrictions"
    }

    fn filter(&self, pod: &PodInfo, nodes: &Nodes, row: usize, cycle: &Cycle) -> Option<Rejection> {
        if pod.disks().next().is_some() && nodes.pods[row].values().any(|other| shares_disk(pod, other)) {
            return Some(Rejection::new("node(s) had no available disk"));
        }
        // It may be used by a pod on any node: there, making room helps, and here, where that pod has gone.
        let exclusive = &cycle.volumes.exclusive;
        let used = !exclusive.is_empty()
            && nodes.pods.iter().flat_map(|pods| pods.values()).any(|other| {
                other.key != pod.key
                    && other.key.namespace == pod.key.namespace
                    && other.claims.iter().any(|claim| exclusive.contains(&claim.name))
            });
        let why = "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode";
        used.then(|| Rejection::new(why))
    }

    /// The one pod that uses a claim may be on any node.
    fn compares_nodes(&self) -> bool {
        true
    }

    fn is_concerned_by(&self, event: &Event<'_>) -> bool {
        matches!(event, Event::PodGone(..) | Event::Storage(Some(_)))
    }

    fn may_help(&self, event: &Event<'_>, pod: &PodInfo, _nodes: &Nodes) -> bool {
        match event {
            Event::PodGone(_, gone) => {
                let shared = |name: &str| gone.claims.iter().any(|claim| claim.name == name);
                gone.key.namespace == pod.key.namespace && pod.claims.iter().any(|claim| shared(&claim.name))
                    || shares_disk(pod, gone)
            }
            _ => concerns_claims_of(event, pod),
        }
    }
}

fn shares_disk(pod: &PodInfo, other: &PodInfo) -> bool {
    pod.disks().any(|mine| other.disks().any(|theirs| conflict(mine, theirs)))
}

/// Whether two volumes are one disk that cannot be attached for both.
fn conflict(mine: &Volume, theirs: &Volume) -> bool {
    let both = |one: Option<bool>, other: Option<bool>| one.unwrap_or(false) && other.unwrap_or(false);
    if let (Some(mine), Some(theirs)) = (&mine.gce_persistent_disk, &theirs.gce_persistent_disk) {
        return mine.pd_name == theirs.pd_name && !both(mine.read_only, theirs.read_only);
    }
    if let (Some(mine), Some(theirs)) = (&mine.aws_elastic_block_store, &theirs.aws_elastic_block_store) {
        return mine.volume_id == theirs.volume_id;
    }
    if let (Some(mine), Some(theirs)) = (&mine.iscsi, &theirs.iscsi) {
        return mine.iqn == theirs.iqn && !both(mine.read_only, theirs.read_only);
    }
    if let (Some(mine), Some(theirs)) = (&mine.rbd, &theirs.rbd) {
        return mine.monitors.iter().any(|monitor| theirs.monitors.contains(monitor))
            && (&mine.pool, &mine.image) == (&theirs.pool, &theirs.image)
            && !both(mine.read_only, theirs.read_only);
    }
    false
}
