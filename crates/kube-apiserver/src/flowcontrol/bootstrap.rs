//! The objects that every cluster has, kept: what must be written, as a function of what there is.

use api::flowcontrol::bootstrap::{AUTOUPDATE, EXEMPT, is_mandatory};
use api::value::semantically_equal;
use serde_json::{Value, json};

use crate::registry::object;

/// One write of an object of the one kind that was planned for.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    Create(Value),
    Update(Value),
    /// By name: it was one of the server's own, and no longer is.
    Delete(String),
}

/// The writes that make `existing` (all objects of one kind) what `wanted` asks for.
pub fn plan(wanted: Vec<Value>, existing: &[Value]) -> Vec<Write> {
    let is_own = |name: &str| wanted.iter().any(|own| object::name(own) == name);
    let given_up = existing.iter().filter(|object| says(object) == Some(true) && !is_own(object::name(object)));
    let mut writes: Vec<Write> = given_up.map(|object| Write::Delete(object::name(object).to_owned())).collect();
    for own in wanted {
        match existing.iter().find(|object| object::name(object) == object::name(&own)) {
            None => writes.push(Write::Create(own)),
            Some(object) => writes.extend(amended(object, &own).map(Write::Update)),
        }
    }
    writes
}

/// The object with the spec that it is to have and the word whether the server keeps it; nothing where both are so.
fn amended(object: &Value, own: &Value) -> Option<Value> {
    let name = object::name(object);
    // Whoever says nothing and never changed the spec is taken to be content with it.
    let is_kept =
        is_mandatory(name) || says(object).unwrap_or(object::number(object, "/metadata/generation") == Some(1));
    let mut new = object.clone();
    let annotations = object::metadata_mut(&mut new).entry("annotations").or_insert_with(|| json!({}));
    annotations[AUTOUPDATE] = is_kept.to_string().into();
    if is_kept {
        let mut spec = own["spec"].clone();
        // What those lend who never wait is everybody's to choose.
        if let Some(chosen) = object["spec"].get(EXEMPT).filter(|_| name == EXEMPT && spec.get(EXEMPT).is_some()) {
            spec[EXEMPT] = chosen.clone();
        }
        if !semantically_equal(new.get("spec"), Some(&spec)) {
            new["spec"] = spec;
        }
    }
    (new != *object).then_some(new)
}

/// What the annotation says, in any spelling of yes and no that Go takes.
fn says(object: &Value) -> Option<bool> {
    match object["metadata"]["annotations"].get(AUTOUPDATE)?.as_str()? {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use api::flowcontrol::bootstrap::priority_levels;

    use super::*;

    fn stored(name: &str) -> Value {
        let mut level = priority_levels().into_iter().find(|level| object::name(level) == name).unwrap();
        level["metadata"]["generation"] = 1.into();
        level
    }

    fn after(change: impl Fn(&mut Value), name: &str) -> Vec<Write> {
        let existing = priority_levels().into_iter().map(|level| {
            let mut level = stored(object::name(&level));
            if object::name(&level) == name {
                change(&mut level);
            }
            level
        });
        plan(priority_levels(), &existing.collect::<Vec<_>>())
    }

    #[test]
    fn what_lacks_is_made_and_what_is_right_stays() {
        assert_eq!(plan(priority_levels(), &[]).len(), 8);
        assert_eq!(after(|_| {}, "system"), []);
    }

    #[test]
    fn suggested_specs_are_kept_unless_somebody_says_otherwise() {
        let shares = "/spec/limited/nominalConcurrencyShares";
        let changed = |annotation: Option<&str>| {
            let change = |level: &mut Value| {
                level["spec"]["limited"]["nominalConcurrencyShares"] = 99.into();
                level["metadata"]["generation"] = 2.into();
                level["metadata"]["annotations"] = annotation.map_or(json!({}), |text| json!({ AUTOUPDATE: text }));
            };
            let writes = after(change, "system");
            let [Write::Update(level)] = writes.as_slice() else { return None };
            Some((
                object::number(level, shares),
                object::text(level, &format!("/metadata/annotations/{}", AUTOUPDATE.replace('/', "~1"))).to_owned(),
            ))
        };
        assert_eq!(changed(Some("true")), Some((Some(30), "true".to_owned())));
        assert_eq!(changed(Some("false")), None);
        assert_eq!(changed(None), Some((Some(99), "false".to_owned())));
        assert_eq!(changed(Some("maybe")), Some((Some(99), "false".to_owned())));
    }

    #[test]
    fn mandatory_ones_are_kept_whatever_they_say() {
        let no = |level: &mut Value| level["metadata"]["annotations"][AUTOUPDATE] = "false".into();
        assert_eq!(after(no, "catch-all"), [Write::Update(stored("catch-all"))]);
        assert_eq!(after(|level| level["spec"]["exempt"]["lendablePercent"] = 50.into(), "exempt"), []);
    }

    #[test]
    fn what_was_the_servers_own_goes() {
        let mut old = stored("system");
        old["metadata"]["name"] = "old".into();
        let mut mine = old.clone();
        mine["metadata"]["name"] = "mine".into();
        mine["metadata"]["annotations"] = json!({});
        let existing: Vec<Value> = priority_levels().into_iter().chain([old, mine]).collect();
        let writes = plan(priority_levels(), &existing);
        assert_eq!(writes, [Write::Delete("old".to_owned())]);
    }
}
