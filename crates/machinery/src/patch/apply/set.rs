//! Sets of paths. A path may be in a set without its beginnings: `.spec.replicas` says nothing about `.spec`.

use std::collections::BTreeMap;

use super::path::Step;

/// A set of paths, as a tree by steps. No node of it is without a use: each is a member or leads to one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set {
    nodes: BTreeMap<Step, Node>,
}

/// What a set holds of one step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Whether the path that ends here is in the set.
    pub member: bool,
    /// The paths that go on from here.
    pub below: Set,
}

impl Node {
    pub const MEMBER: Node = Node { member: true, below: Set { nodes: BTreeMap::new() } };

    pub fn is_empty(&self) -> bool {
        !self.member && self.below.is_empty()
    }
}

impl Set {
    /// The set of these paths of fields.
    pub fn of_fields(paths: &[&[&str]]) -> Self {
        let mut set = Set::default();
        for path in paths {
            let steps: Vec<Step> = path.iter().map(|name| Step::field(name)).collect();
            set.insert(&steps);
        }
        set
    }

    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    pub fn insert(&mut self, path: &[Step]) {
        let Some((first, rest)) = path.split_first() else { return };
        let node = self.nodes.entry(first.clone()).or_default();
        if rest.is_empty() {
            node.member = true;
        } else {
            node.below.insert(rest);
        }
    }

    pub fn contains(&self, path: &[Step]) -> bool {
        match path {
            [] => false,
            [last] => self.get(last).is_some_and(|node| node.member),
            [first, rest @ ..] => self.get(first).is_some_and(|node| node.below.contains(rest)),
        }
    }

    pub fn get(&self, step: &Step) -> Option<&Node> {
        self.nodes.get(step)
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = (&Step, &Node)> {
        self.nodes.iter()
    }

    /// Adds a node; one without a use is left out.
    pub fn put(&mut self, step: Step, node: Node) {
        if node.is_empty() {
            return;
        }
        let own = self.nodes.entry(step).or_default();
        own.member |= node.member;
        own.below.add(node.below);
    }

    /// Makes the path of one step a member with nothing below it.
    pub fn put_alone(&mut self, step: Step) {
        self.nodes.insert(step, Node::MEMBER);
    }

    /// Takes in all paths of another set.
    pub fn add(&mut self, other: Set) {
        if self.is_empty() {
            *self = other;
            return;
        }
        for (step, node) in other.nodes {
            self.put(step, node);
        }
    }

    /// Drops the paths that are in another set.
    pub fn subtract(&mut self, other: &Set) {
        self.thin_out(other, &|own, other| {
            own.member &= !other.member;
            own.below.subtract(&other.below);
        });
    }

    /// Drops the paths that are in another set or go on from one in it.
    pub fn subtract_with_all_below(&mut self, other: &Set) {
        self.thin_out(other, &|own, other| {
            if other.member {
                *own = Node::default();
            } else {
                own.below.subtract_with_all_below(&other.below);
            }
        });
    }

    fn thin_out(&mut self, other: &Set, thin: &dyn Fn(&mut Node, &Node)) {
        if other.is_empty() {
            return;
        }
        self.nodes.retain(|step, node| {
            if let Some(other) = other.get(step) {
                thin(node, other);
            }
            !node.is_empty()
        });
    }

    /// The paths that are in both.
    pub fn intersection(&self, other: &Set) -> Set {
        let mut common = Set::default();
        for (step, node) in &self.nodes {
            if let Some(other) = other.get(step) {
                let below = node.below.intersection(&other.below);
                common.put(step.clone(), Node { member: node.member && other.member, below });
            }
        }
        common
    }

    /// All paths: at each step first those that end there, then those that go on.
    pub fn paths(&self) -> Vec<Vec<Step>> {
        let mut paths = Vec::new();
        self.collect(&mut Vec::new(), &mut paths);
        paths
    }

    fn collect(&self, at: &mut Vec<Step>, paths: &mut Vec<Vec<Step>>) {
        for (step, _) in self.nodes.iter().filter(|(_, node)| node.member) {
            paths.push(at.iter().chain([step]).cloned().collect());
        }
        for (step, node) in &self.nodes {
            at.push(step.clone());
            node.below.collect(at, paths);
            at.pop();
        }
    }
}
