//! What the facts leave out about fields that upstream inlines from another struct: which struct, in which order and
//! with which protobuf numbers. JSON shows such fields as the outer type's own; protobuf nests them one message deeper.

use anyhow::{Result, bail};
use serde_json::{Map, Value};

pub const PREFIX: &str = "io.k8s.";

/// Where a field without facts of its own comes from.
pub struct Inlined<'a> {
    /// Name of the inlined struct in the outer type's `protoOnly`.
    pub outer: Option<&'static str>,
    /// Numbers of further messages between that struct and the field.
    pub within: Vec<u32>,
    /// Place among the inlined struct's fields.
    pub position: usize,
    /// The same field in a type that is published on its own, if there is one.
    pub facts: Option<&'a Value>,
    /// Protobuf number in the inlined struct, where `facts` is missing.
    pub number: u32,
}

/// Structs that are published nowhere: their fields in upstream's order, with their protobuf numbers.
const UNPUBLISHED: &[(&str, &[(&str, u32)])] = &[
    ("handler", &[("exec", 1), ("httpGet", 2), ("tcpSocket", 3), ("grpc", 4)]),
    ("ingressRuleValue", &[("http", 1)]),
    ("deviceConfiguration", &[("opaque", 1)]),
    ("rule", &[("apiGroups", 1), ("apiVersions", 2), ("resources", 3), ("scope", 4)]),
    (
        "volumeSource",
        &[
            ("hostPath", 1),
            ("emptyDir", 2),
            ("gcePersistentDisk", 3),
            ("awsElasticBlockStore", 4),
            ("gitRepo", 5),
            ("secret", 6),
            ("nfs", 7),
            ("iscsi", 8),
            ("glusterfs", 9),
            ("persistentVolumeClaim", 10),
            ("rbd", 11),
            ("flexVolume", 12),
            ("cinder", 13),
            ("cephfs", 14),
            ("flocker", 15),
            ("downwardAPI", 16),
            ("fc", 17),
            ("azureFile", 18),
            ("configMap", 19),
            ("vsphereVolume", 20),
            ("quobyte", 21),
            ("azureDisk", 22),
            ("photonPersistentDisk", 23),
            ("projected", 26),
            ("portworxVolume", 24),
            ("scaleIO", 25),
            ("storageos", 27),
            ("csi", 28),
            ("ephemeral", 29),
            ("image", 30),
        ],
    ),
    (
        "persistentVolumeSource",
        &[
            ("gcePersistentDisk", 1),
            ("awsElasticBlockStore", 2),
            ("hostPath", 3),
            ("glusterfs", 4),
            ("nfs", 5),
            ("rbd", 6),
            ("iscsi", 7),
            ("cinder", 8),
            ("cephfs", 9),
            ("fc", 10),
            ("flocker", 11),
            ("flexVolume", 12),
            ("azureFile", 13),
            ("vsphereVolume", 14),
            ("quobyte", 15),
            ("azureDisk", 16),
            ("photonPersistentDisk", 17),
            ("portworxVolume", 18),
            ("scaleIO", 19),
            ("local", 20),
            ("storageos", 21),
            ("csi", 22),
        ],
    ),
];

/// Inlined structs whose fields are published in another type, which then has the facts.
const PUBLISHED: &[(&str, &str)] = &[
    ("ephemeralContainerCommon", "io.k8s.api.core.v1.Container"),
    ("localObjectReference", "io.k8s.api.core.v1.LocalObjectReference"),
];

/// Finds the origin of a field that has no facts of its own in `owner`.
pub fn find<'a>(types: &'a Map<String, Value>, owner: &str, field: &str) -> Option<Inlined<'a>> {
    let proto_only = types[owner].get("protoOnly")?.as_object()?;
    for (outer, published) in PUBLISHED {
        if let Some(facts) = proto_only.contains_key(*outer).then(|| types[*published]["fields"].get(field)).flatten() {
            let position = facts["order"].as_u64()? as usize;
            return Some(Inlined { outer: Some(*outer), within: vec![], position, facts: Some(facts), number: 0 });
        }
    }
    for (outer, fields) in UNPUBLISHED {
        let Some(position) = fields.iter().position(|(name, _)| *name == field) else { continue };
        let number = fields[position].1;
        if proto_only.contains_key(*outer) {
            return Some(Inlined { outer: Some(*outer), within: vec![], position, facts: None, number });
        }
        // NamedRuleWithOperations inlines RuleWithOperations (operations = 1), which inlines Rule (= 2).
        if *outer == "rule" && proto_only.contains_key("ruleWithOperations") {
            let outer = Some("ruleWithOperations");
            return Some(Inlined { outer, within: vec![2], position: position + 1, facts: None, number });
        }
    }
    if field == "operations" && proto_only.contains_key("ruleWithOperations") {
        let facts = types["io.k8s.api.admissionregistration.v1.RuleWithOperations"]["fields"].get(field);
        return Some(Inlined { outer: Some("ruleWithOperations"), within: vec![], position: 0, facts, number: 0 });
    }
    None
}

/// The table's form of the protobuf facts of a field of an unpublished struct.
pub fn proto(facts: &Map<String, Value>, within: &[u32], number: u32) -> Result<String> {
    let outer: String = within.iter().map(|number| format!("{number}.")).collect();
    let get = |key: &str| facts.get(key).and_then(Value::as_str);
    Ok(match (get("ref"), get("items"), get("type")) {
        (Some(reference), ..) => {
            format!("{outer}{number}O:{}", reference.rsplit('.').next().unwrap_or(reference))
        }
        (None, Some("string"), _) => format!("{outer}{number}R:string"),
        (None, None, Some("string")) => format!("{outer}{number}O:string"),
        other => bail!("no protobuf form of {other:?}"),
    })
}
