//! FieldsV1, the form in which sets of paths are stored and sent: a tree of maps whose keys are steps (`f:name`, `k:{"name":"a"}`,
//! `v:"a"`, `i:0`), in which a path ends at an empty map or, where others go on from it, at the key ".".

use serde_json::{Map, Value};

use super::path::{Datum, Step};
use super::set::{Node, Set};
use crate::go_text;

/// The tree of a set, keys in the order of the steps.
pub fn encode(set: &Set) -> Value {
    Value::Object(set.iter().map(|(step, node)| (step_text(step), encode_node(node))).collect())
}

fn encode_node(node: &Node) -> Value {
    let mut map = Map::new();
    if node.member && !node.below.is_empty() {
        map.insert(".".to_owned(), Value::Object(Map::new()));
    }
    map.extend(node.below.iter().map(|(step, node)| (step_text(step), encode_node(node))));
    Value::Object(map)
}

fn step_text(step: &Step) -> String {
    match step {
        Step::Field(name) => format!("f:{name}"),
        Step::Key(keys) => {
            let map: Map<String, Value> = keys.iter().map(|(name, value)| (name.clone(), value.0.clone())).collect();
            format!("k:{}", go_text::json(&Value::Object(map)))
        }
        Step::Value(value) => format!("v:{}", go_text::json(&value.0)),
        Step::Index(index) => format!("i:{index}"),
    }
}

/// Reads a tree. Kinds of steps that are not known are dropped with all below them.
pub fn decode(tree: &Value) -> Result<Set, String> {
    Ok(decode_node(tree)?.below)
}

fn decode_node(tree: &Value) -> Result<Node, String> {
    let Value::Object(map) = tree else { return Err(format!("expected a map of fields, got {tree}")) };
    let mut node = Node { member: map.is_empty(), ..Node::default() };
    for (key, inner) in map {
        if key == "." {
            node.member = true;
        } else if let Some(step) = decode_step(key)? {
            node.below.put(step, decode_node(inner)?);
        }
    }
    Ok(node)
}

fn decode_step(key: &str) -> Result<Option<Step>, String> {
    let wrong = |what: &str| format!("{what}: {key}");
    let (kind, rest) = key.split_once(':').filter(|(kind, _)| kind.len() == 1).ok_or_else(|| wrong("missing colon"))?;
    let json = || serde_json::from_str::<Value>(rest).map_err(|_| wrong("no JSON"));
    Ok(Some(match kind {
        "f" => Step::field(rest),
        "v" => Step::Value(Datum(json()?)),
        "i" => Step::Index(rest.parse().map_err(|_| wrong("no index"))?),
        "k" => {
            let Value::Object(map) = json()? else { return Err(wrong("no map of keys")) };
            let mut keys: Vec<(String, Datum)> = map.into_iter().map(|(name, value)| (name, Datum(value))).collect();
            keys.sort();
            Step::Key(keys)
        }
        _ => return Ok(None),
    }))
}
