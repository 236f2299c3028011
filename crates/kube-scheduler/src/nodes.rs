//! The cluster's nodes in columns: what a plugin looks at for every node lies side by side. Pods on a node, also those
//! only assumed to be there, are counted into its columns.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Taint};
use machinery::quantity::Quantity;

use crate::pod_affinity::Namespaces;
use crate::pod_info::{HostPort, PodInfo, PodKey};
use crate::resources::Resources;
use crate::storage::Storage;
use crate::workloads::Workloads;

/// All nodes. Row `i` of every column belongs to the same node; rows move when a node goes, so a row number is good only
/// while nothing changes.
#[derive(Debug, Default)]
pub struct Nodes {
    pub names: Vec<String>,
    pub labels: Vec<BTreeMap<String, String>>,
    pub taints: Vec<Vec<Taint>>,
    pub unschedulable: Vec<bool>,
    pub allocatable: Vec<Resources>,
    pub allowed_pods: Vec<i64>,
    pub requested: Vec<Resources>,
    /// Requests as scoring counts them: (milli-CPUs, bytes).
    pub scoring_requested: Vec<(i64, i64)>,
    pub host_ports: Vec<Vec<HostPort>>,
    pub pods: Vec<HashMap<PodKey, Arc<PodInfo>>>,
    /// Bytes of each image that the node has, by each of its names.
    pub images: Vec<HashMap<String, i64>>,
    /// What is known besides nodes and pods: labels of namespaces, what pods belong to, and storage.
    pub namespaces: Namespaces,
    pub workloads: Workloads,
    pub storage: Storage,
    rows: HashMap<String, usize>,
    /// How many nodes have an image.
    image_nodes: HashMap<String, usize>,
    /// Counted pods that ask for something about their neighbours, and those that keep others away.
    with_affinity: HashSet<PodKey>,
    with_anti_affinity: HashSet<PodKey>,
    /// Pods bound to nodes that are not known (yet).
    homeless: HashMap<String, HashMap<PodKey, Arc<PodInfo>>>,
    /// Where each counted pod is.
    places: HashMap<PodKey, String>,
}

/// What of a node changed in a way that can make room for a pod that did not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NodeChange {
    pub added: bool,
    pub allocatable: bool,
    pub labels: bool,
    pub taints: bool,
}

impl Nodes {
    /// No nodes yet, what pods belong to, and storage.
    pub fn with(workloads: Workloads, storage: Storage) -> Self {
        Self { workloads, storage, ..Self::default() }
    }

    pub fn len(&self) -> usize {
        self.names.len()
    }

    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    pub fn row(&self, name: &str) -> Option<usize> {
        self.rows.get(name).copied()
    }

    /// Adds a node or brings its row up to date.
    pub fn set_node(&mut self, node: &Node) -> NodeChange {
        let Some(name) = node.metadata.name.clone() else { return NodeChange::default() };
        let labels = node.metadata.labels.clone().unwrap_or_default();
        let taints = node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
        let unschedulable = node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false);
        let quantities = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
        let allocatable = Resources::from_quantities(quantities);
        let allowed = quantities.and_then(|quantities| Quantity::parse(&quantities.get("pods")?.0).ok());
        let allowed_pods = allowed.map_or(0, |quantity| quantity.value());
        let images = images_of(node);
        images.keys().for_each(|image| *self.image_nodes.entry(image.clone()).or_default() += 1);
        if let Some(row) = self.row(&name) {
            let before = std::mem::replace(&mut self.images[row], images);
            self.forget_images(&before);
            let change = NodeChange {
                added: false,
                allocatable: self.allocatable[row] != allocatable || self.allowed_pods[row] != allowed_pods,
                labels: self.labels[row] != labels,
                taints: self.taints[row] != taints || self.unschedulable[row] != unschedulable,
            };
            self.labels[row] = labels;
            self.taints[row] = taints;
            self.unschedulable[row] = unschedulable;
            self.allocatable[row] = allocatable;
            self.allowed_pods[row] = allowed_pods;
            return change;
        }
        let row = self.names.len();
        self.rows.insert(name.clone(), row);
        self.names.push(name.clone());
        self.labels.push(labels);
        self.taints.push(taints);
        self.unschedulable.push(unschedulable);
        self.allocatable.push(allocatable);
        self.allowed_pods.push(allowed_pods);
        self.requested.push(Resources::default());
        self.scoring_requested.push((0, 0));
        self.host_ports.push(Vec::new());
        self.pods.push(HashMap::new());
        self.images.push(images);
        for pod in self.homeless.remove(&name).into_iter().flat_map(HashMap::into_values) {
            self.count(row, pod);
        }
        NodeChange { added: true, allocatable: true, labels: true, taints: true }
    }

    /// Takes a node out; tells whether it was known.
    pub fn remove_node(&mut self, name: &str) -> bool {
        let Some(row) = self.rows.remove(name) else { return false };
        self.names.swap_remove(row);
        self.labels.swap_remove(row);
        self.taints.swap_remove(row);
        self.unschedulable.swap_remove(row);
        self.allocatable.swap_remove(row);
        self.allowed_pods.swap_remove(row);
        self.requested.swap_remove(row);
        self.scoring_requested.swap_remove(row);
        self.host_ports.swap_remove(row);
        let images = self.images.swap_remove(row);
        self.forget_images(&images);
        let pods = self.pods.swap_remove(row);
        if !pods.is_empty() {
            self.homeless.insert(name.to_owned(), pods);
        }
        if let Some(moved) = self.names.get(row) {
            self.rows.insert(moved.clone(), row);
        }
        true
    }

    /// Counts a pod on a node; if it was counted anywhere before, no longer there.
    pub fn place_pod(&mut self, node: &str, pod: Arc<PodInfo>) {
        self.remove_pod(&pod.key);
        self.places.insert(pod.key.clone(), node.to_owned());
        if let Some(affinity) = &pod.pod_affinity {
            self.with_affinity.insert(pod.key.clone());
            if !affinity.anti_required.is_empty() {
                self.with_anti_affinity.insert(pod.key.clone());
            }
        }
        match self.row(node) {
            Some(row) => self.count(row, pod),
            None => drop(self.homeless.entry(node.to_owned()).or_default().insert(pod.key.clone(), pod)),
        }
    }

    /// Counts a pod nowhere any more; tells which it was and in which row, if it was counted.
    pub fn remove_pod(&mut self, key: &PodKey) -> Option<(Option<usize>, Arc<PodInfo>)> {
        let node = self.places.remove(key)?;
        self.with_affinity.remove(key);
        self.with_anti_affinity.remove(key);
        let Some(row) = self.row(&node) else {
            let pods = self.homeless.get_mut(&node)?;
            let pod = pods.remove(key)?;
            if pods.is_empty() {
                self.homeless.remove(&node);
            }
            return Some((None, pod));
        };
        let pod = self.pods[row].remove(key)?;
        {
            self.requested[row].subtract(&pod.requests);
            self.scoring_requested[row].0 -= pod.scoring_requests.0;
            self.scoring_requested[row].1 -= pod.scoring_requests.1;
            for port in &pod.host_ports {
                if let Some(at) = self.host_ports[row].iter().position(|taken| taken == port) {
                    self.host_ports[row].swap_remove(at);
                }
            }
        }
        Some((Some(row), pod))
    }

    /// A pod where it is counted.
    pub fn pod(&self, key: &PodKey) -> Option<&Arc<PodInfo>> {
        let node = self.places.get(key)?;
        match self.row(node) {
            Some(row) => self.pods[row].get(key),
            None => self.homeless.get(node)?.get(key),
        }
    }

    /// Pods on known nodes that ask for something about their neighbours, with their rows.
    pub fn pods_with_affinity(&self) -> impl Iterator<Item = (usize, &Arc<PodInfo>)> {
        self.with_affinity.iter().filter_map(|key| self.located(key))
    }

    /// Pods on known nodes that keep others away, with their rows.
    pub fn pods_with_anti_affinity(&self) -> impl Iterator<Item = (usize, &Arc<PodInfo>)> {
        self.with_anti_affinity.iter().filter_map(|key| self.located(key))
    }

    fn located(&self, key: &PodKey) -> Option<(usize, &Arc<PodInfo>)> {
        let row = self.row(self.places.get(key)?)?;
        Some((row, self.pods[row].get(key)?))
    }

    /// How many nodes have this image.
    pub fn nodes_with_image(&self, image: &str) -> usize {
        self.image_nodes.get(image).copied().unwrap_or(0)
    }

    fn forget_images(&mut self, images: &HashMap<String, i64>) {
        for image in images.keys() {
            if let Some(count) = self.image_nodes.get_mut(image) {
                *count -= 1;
                if *count == 0 {
                    self.image_nodes.remove(image);
                }
            }
        }
    }

    fn count(&mut self, row: usize, pod: Arc<PodInfo>) {
        self.requested[row].add(&pod.requests);
        self.scoring_requested[row].0 += pod.scoring_requests.0;
        self.scoring_requested[row].1 += pod.scoring_requests.1;
        self.host_ports[row].extend(pod.host_ports.iter().cloned());
        self.pods[row].insert(pod.key.clone(), pod);
    }
}

fn images_of(node: &Node) -> HashMap<String, i64> {
    let images = node.status.iter().flat_map(|status| status.images.iter().flatten());
    let named =
        images.flat_map(|image| image.names.iter().flatten().map(|name| (name.clone(), image.size_bytes.unwrap_or(0))));
    named.collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::pod_info::tests::pod;

    /// A node with this much CPU and memory, room for ten pods, and `more` merged into it.
    pub(crate) fn node(name: &str, cpu: &str, memory: &str, spec: Value) -> Node {
        serde_json::from_value(json!({
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
            "spec": spec,
            "status": {"allocatable": {"cpu": cpu, "memory": memory, "pods": "10"}},
        }))
        .unwrap()
    }

    #[test]
    fn pods_are_counted_once_wherever_they_are() {
        let asks = json!({"containers": [{"name": "c", "ports": [{"containerPort": 1, "hostPort": 80}],
            "resources": {"requests": {"cpu": "500m", "example.com/gpu": "1"}}}]});
        let mut nodes = Nodes::default();
        let one = Arc::new(pod("one", asks.clone()));
        nodes.place_pod("a", one.clone());
        nodes.set_node(&node("a", "2", "1Gi", json!({})));
        nodes.set_node(&node("b", "2", "1Gi", json!({})));
        let a = nodes.row("a").unwrap();
        assert_eq!((nodes.requested[a].milli_cpu, nodes.host_ports[a].len()), (500, 1));
        nodes.place_pod("b", one.clone());
        let (a, b) = (nodes.row("a").unwrap(), nodes.row("b").unwrap());
        assert_eq!(nodes.requested[a], Resources::default());
        assert_eq!(nodes.requested[b].other["example.com/gpu"], 1);
        // The row of the last node moves into the gap.
        nodes.remove_node("a");
        let b = nodes.row("b").unwrap();
        assert_eq!((b, nodes.requested[b].milli_cpu), (0, 500));
        assert!(nodes.remove_pod(&one.key).is_some());
        assert!(nodes.remove_pod(&one.key).is_none());
        assert_eq!((nodes.requested[b].milli_cpu, nodes.scoring_requested[b]), (0, (0, 0)));
    }

    #[test]
    fn pods_of_a_lost_node_are_there_when_it_comes_back() {
        let mut nodes = Nodes::default();
        nodes.set_node(&node("a", "2", "1Gi", json!({})));
        let asks = json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]});
        nodes.place_pod("a", Arc::new(pod("one", asks)));
        nodes.remove_node("a");
        let change = nodes.set_node(&node("a", "2", "1Gi", json!({})));
        assert!(change.added);
        assert_eq!(nodes.requested[0].milli_cpu, 1000);
    }

    #[test]
    fn changes_are_told_apart() {
        let mut nodes = Nodes::default();
        nodes.set_node(&node("a", "2", "1Gi", json!({})));
        assert_eq!(nodes.set_node(&node("a", "2", "1Gi", json!({}))), NodeChange::default());
        assert!(nodes.set_node(&node("a", "3", "1Gi", json!({}))).allocatable);
        assert!(nodes.set_node(&node("a", "3", "1Gi", json!({"unschedulable": true}))).taints);
    }
}
