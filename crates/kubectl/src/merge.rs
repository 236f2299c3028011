//! Patches from objects: what `edit` changed, and the three-way merge of `apply`.
//!
//! Lists of built-in kinds merge by the schema's keys: containers by name, ports by their number. A diff of such a list
//! names only the items that differ:
//!
//! ```text
//! containers: [{name: a, image: x}, {name: b}]  ->  containers: [{name: a, image: y}]
//! patch: {containers: [{name: a, image: y}, {name: b, $patch: delete}], $setElementOrder/containers: [{name: a}]}
//! ```
//!
//! Kinds without a schema get JSON merge patches, in which lists are replaced.

use machinery::schema::{self, Field, TypeId};
use serde_json::{Map, Value, json};

/// The schema at a place of an object, where it is known.
#[derive(Clone, Copy)]
pub struct Place(Option<TypeId>);

impl Place {
    /// The built-in type of an object's apiVersion and kind.
    pub fn of(object: &Value) -> Self {
        let (version, kind) = (crate::value::text(object, "apiVersion"), crate::value::kind(object));
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let types = schema::builtin();
        // The old homes of kinds have the fields of the present ones.
        let known = types.by_kind(group, version, kind).or_else(|| match group {
            "extensions" | "apps" => types.by_kind("apps", "v1", kind),
            _ => None,
        });
        Place(known)
    }

    pub fn is_known(self) -> bool {
        self.0.is_some()
    }

    fn field(self, name: &str) -> Option<&'static Field> {
        let types = schema::builtin();
        types.get(self.0?).find(name)
    }

    fn below(field: Option<&'static Field>) -> Self {
        Place(field.and_then(|field| field.shape.type_id()))
    }
}

/// How a list merges.
enum ListRule<'f> {
    Replace,
    /// Objects told apart by a field.
    Keyed(&'f str),
    /// Scalars, each at most once.
    Set,
}

fn list_rule(field: Option<&'static Field>) -> ListRule<'static> {
    match field {
        Some(field) if field.patch.merge => match &field.patch.merge_key {
            Some(key) => ListRule::Keyed(key),
            None if field.shape.type_id().is_none() => ListRule::Set,
            None => ListRule::Replace,
        },
        _ => ListRule::Replace,
    }
}

fn key_of<'v>(item: &'v Value, key: &str) -> Option<&'v Value> {
    item.get(key).filter(|value| !value.is_null())
}

/// Every item has the key and no two have the same: only such lists can be merged.
fn well_keyed(items: &[Value], key: &str) -> bool {
    items.iter().enumerate().all(|(at, item)| {
        key_of(item, key).is_some_and(|own| !items[..at].iter().any(|other| key_of(other, key) == Some(own)))
    })
}

/// What `current` becomes when its owner's last word was `original` and now is `modified`: fields that the owner took
/// back go, fields that others set stay.
pub fn three_way(original: &Value, modified: &Value, current: &Value, place: Place) -> Value {
    let (Value::Object(theirs), Value::Object(wanted)) = (current, modified) else { return modified.clone() };
    let empty = Map::new();
    let before = original.as_object().unwrap_or(&empty);
    let mut result = theirs.clone();
    for key in before.keys().filter(|key| !wanted.contains_key(*key)) {
        result.shift_remove(key);
    }
    for (key, value) in wanted {
        if value.is_null() {
            result.shift_remove(key);
            continue;
        }
        let field = place.field(key);
        let old = before.get(key).unwrap_or(&Value::Null);
        let merged = match (theirs.get(key), value) {
            (Some(now @ Value::Object(_)), Value::Object(_)) => three_way(old, value, now, Place::below(field)),
            (Some(Value::Array(now)), Value::Array(wanted)) => {
                Value::Array(three_way_list(old.as_array().map_or(&[], Vec::as_slice), wanted, now, field))
            }
            _ => value.clone(),
        };
        result.insert(key.clone(), merged);
    }
    Value::Object(result)
}

fn three_way_list(
    original: &[Value],
    modified: &[Value],
    current: &[Value],
    field: Option<&'static Field>,
) -> Vec<Value> {
    match list_rule(field) {
        ListRule::Keyed(key) if well_keyed(modified, key) && well_keyed(current, key) => {
            let find = |items: &'_ [Value], wanted: &Value| {
                items.iter().find(|item| key_of(item, key) == key_of(wanted, key)).cloned()
            };
            let mut result: Vec<Value> = modified
                .iter()
                .map(|item| match find(current, item) {
                    Some(now) => {
                        three_way(&find(original, item).unwrap_or(Value::Null), item, &now, Place::below(field))
                    }
                    None => item.clone(),
                })
                .collect();
            let others = current.iter().filter(|item| find(modified, item).is_none() && find(original, item).is_none());
            result.extend(others.cloned());
            result
        }
        ListRule::Set => {
            let others = current.iter().filter(|item| !modified.contains(item) && !original.contains(item));
            modified.iter().chain(others).cloned().collect()
        }
        _ => modified.to_vec(),
    }
}

/// The strategic merge patch from one state to another.
pub fn strategic(from: &Value, to: &Value, place: Place) -> Value {
    let (Value::Object(from), Value::Object(to)) = (from, to) else { return to.clone() };
    let mut patch = Map::new();
    for (key, value) in to {
        let field = place.field(key);
        match (from.get(key), value) {
            (Some(old), new) if old == new => {}
            (Some(old @ Value::Object(_)), Value::Object(_)) => {
                let inner = strategic(old, value, Place::below(field));
                if inner.as_object().is_some_and(|inner| !inner.is_empty()) {
                    patch.insert(key.clone(), inner);
                }
            }
            (Some(Value::Array(old)), Value::Array(new)) => strategic_list(&mut patch, key, old, new, field),
            _ => {
                patch.insert(key.clone(), value.clone());
            }
        }
    }
    for key in from.keys().filter(|key| !to.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    Value::Object(patch)
}

fn strategic_list(
    patch: &mut Map<String, Value>,
    name: &str,
    old: &[Value],
    new: &[Value],
    field: Option<&'static Field>,
) {
    match list_rule(field) {
        ListRule::Keyed(key) if well_keyed(old, key) && well_keyed(new, key) => {
            let mut items = Vec::new();
            for item in new {
                match old.iter().find(|other| key_of(other, key) == key_of(item, key)) {
                    None => items.push(item.clone()),
                    Some(before) if before == item => {}
                    Some(before) => {
                        let mut inner = strategic(before, item, Place::below(field));
                        inner[key] = item[key].clone();
                        items.push(inner);
                    }
                }
            }
            for gone in old.iter().filter(|item| !new.iter().any(|other| key_of(other, key) == key_of(item, key))) {
                items.push(json!({"$patch": "delete", key: gone[key]}));
            }
            let order: Vec<Value> = new.iter().map(|item| json!({key: item[key]})).collect();
            patch.insert(format!("$setElementOrder/{name}"), order.into());
            if !items.is_empty() {
                patch.insert(name.to_owned(), items.into());
            }
        }
        ListRule::Set => {
            let added: Vec<Value> = new.iter().filter(|item| !old.contains(item)).cloned().collect();
            let gone: Vec<Value> = old.iter().filter(|item| !new.contains(item)).cloned().collect();
            patch.insert(format!("$setElementOrder/{name}"), new.to_vec().into());
            if !added.is_empty() {
                patch.insert(name.to_owned(), added.into());
            }
            if !gone.is_empty() {
                patch.insert(format!("$deleteFromPrimitiveList/{name}"), gone.into());
            }
        }
        _ => {
            patch.insert(name.to_owned(), new.to_vec().into());
        }
    }
}

/// The JSON merge patch from one state to another.
pub fn merge_patch(from: &Value, to: &Value) -> Value {
    let (Value::Object(from), Value::Object(to)) = (from, to) else { return to.clone() };
    let mut patch = Map::new();
    for (key, value) in to {
        match from.get(key) {
            Some(old) if old == value => {}
            Some(old @ Value::Object(_)) if value.is_object() => {
                patch.insert(key.clone(), merge_patch(old, value));
            }
            _ => {
                patch.insert(key.clone(), value.clone());
            }
        }
    }
    for key in from.keys().filter(|key| !to.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    Value::Object(patch)
}

/// The patch from one state to another and its content type.
pub fn patch(from: &Value, to: &Value) -> (&'static str, Value) {
    let place = Place::of(from);
    if place.is_known() {
        (crate::api::STRATEGIC_PATCH, strategic(from, to, place))
    } else {
        (crate::api::MERGE_PATCH, merge_patch(from, to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use machinery::patch::strategic as applied;

    fn deployment(replicas: Option<u64>, containers: Value) -> Value {
        let mut object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"},
            "spec": {"template": {"spec": {"containers": containers}}}});
        if let Some(replicas) = replicas {
            object["spec"]["replicas"] = replicas.into();
        }
        object
    }

    #[test]
    fn what_the_owner_took_back_goes_and_what_others_set_stays() {
        let original = deployment(Some(1), json!([{"name": "a", "image": "x"}, {"name": "old"}]));
        let modified = deployment(None, json!([{"name": "a", "image": "y"}]));
        let current = deployment(
            Some(1),
            json!([{"name": "side", "image": "s"}, {"name": "a", "image": "x", "imagePullPolicy": "Always"}, {"name": "old"}]),
        );
        let merged = three_way(&original, &modified, &current, Place::of(&current));
        let want = deployment(
            None,
            json!([{"name": "a", "image": "y", "imagePullPolicy": "Always"}, {"name": "side", "image": "s"}]),
        );
        assert_eq!(merged, want);
    }

    #[test]
    fn a_strategic_patch_leads_from_one_state_to_the_other() {
        let from = deployment(Some(1), json!([{"name": "a", "image": "x"}, {"name": "b", "args": ["1"]}]));
        let to = deployment(Some(3), json!([{"name": "c"}, {"name": "a", "image": "y"}]));
        let patch = strategic(&from, &to, Place::of(&from));
        assert_eq!(patch["spec"]["template"]["spec"]["containers"].as_array().map(Vec::len), Some(3));
        let types = schema::builtin();
        let id = types.by_kind("apps", "v1", "Deployment").expect("is built in");
        let mut result = from.clone();
        applied::apply(types, id, &mut result, patch).expect("is valid");
        assert_eq!(result, to);
        assert_eq!(strategic(&to, &to, Place::of(&to)), json!({}));
    }

    #[test]
    fn unknown_kinds_get_merge_patches() {
        let from = json!({"apiVersion": "x.y/v1", "kind": "Z", "a": [1], "b": {"c": 1, "d": 2}});
        let to = json!({"apiVersion": "x.y/v1", "kind": "Z", "a": [1, 2], "b": {"c": 1}});
        assert_eq!(patch(&from, &to), (crate::api::MERGE_PATCH, json!({"a": [1, 2], "b": {"d": null}})));
    }
}
