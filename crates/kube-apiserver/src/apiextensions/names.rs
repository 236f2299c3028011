//! Names of a definition: each is accepted unless another definition of the same group has it already.

use std::collections::HashSet;

use machinery::go_text::quote;
use serde_json::{Value, json};

use crate::registry::object::{list, text, texts};

/// The outcome: the names that were accepted, and what became of the last that was not.
pub struct Accepted {
    pub names: Value,
    pub conflict: Option<Conflict>,
}

pub struct Conflict {
    pub reason: &'static str,
    pub message: String,
}

/// Decides on the names of `definition` beside the others of its group.
pub fn accept<'v>(definition: &Value, others: impl Iterator<Item = &'v Value>) -> Accepted {
    let (mut resources, mut kinds) = (HashSet::new(), HashSet::new());
    for other in others {
        let names = &other["status"]["acceptedNames"];
        resources.extend(["/plural", "/singular"].map(|key| text(names, key)));
        resources.extend(texts(names, "/shortNames"));
        kinds.extend(["/kind", "/listKind"].map(|key| text(names, key)));
    }
    let (wanted, had) = (&definition["spec"]["names"], &definition["status"]["acceptedNames"]);
    let mut names = if had.is_object() { had.clone() } else { json!({ "plural": "", "kind": "" }) };
    let mut conflict = None;
    let mut refuse = |reason, message| {
        conflict = Some(Conflict { reason, message });
    };
    let taken = |name: &str| format!("{} is already in use", quote(name));
    for (key, reason) in [("plural", "PluralConflict"), ("singular", "SingularConflict")] {
        let name = text(wanted, &format!("/{key}"));
        if name != text(had, &format!("/{key}")) && resources.contains(name) {
            refuse(reason, taken(name));
        } else {
            set(&mut names, key, name.into());
        }
    }
    let short = list(wanted, "/shortNames");
    let kept: Vec<&str> = texts(had, "/shortNames").collect();
    let refused: Vec<String> = texts(wanted, "/shortNames")
        .filter(|name| !kept.contains(name) && resources.contains(name))
        .map(&taken)
        .collect();
    match refused.as_slice() {
        [] => set(&mut names, "shortNames", short.to_vec().into()),
        [one] => refuse("ShortNamesConflict", one.clone()),
        many => refuse("ShortNamesConflict", format!("[{}]", many.join(", "))),
    }
    for (key, reason) in [("kind", "KindConflict"), ("listKind", "ListKindConflict")] {
        let name = text(wanted, &format!("/{key}"));
        if name != text(had, &format!("/{key}")) && kinds.contains(name) {
            refuse(reason, taken(name));
        } else {
            set(&mut names, key, name.into());
        }
    }
    set(&mut names, "categories", list(wanted, "/categories").to_vec().into());
    Accepted { names, conflict }
}

/// Empty names and lists are left out, but for the two that must be there.
fn set(names: &mut Value, key: &str, value: Value) {
    let empty = value.as_array().is_some_and(Vec::is_empty) || value.as_str() == Some("");
    let Some(fields) = names.as_object_mut() else { return };
    if empty && !matches!(key, "plural" | "kind") {
        fields.shift_remove(key);
    } else {
        fields.insert(key.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(plural: &str, kind: &str, short: &[&str]) -> Value {
        let names = json!({ "plural": plural, "singular": kind.to_lowercase(), "kind": kind,
                            "listKind": format!("{kind}List"), "shortNames": short });
        json!({ "spec": { "names": names }, "status": { "acceptedNames": { "plural": "", "kind": "" } } })
    }

    fn accepted(mut definition: Value) -> Value {
        definition["status"]["acceptedNames"] = definition["spec"]["names"].clone();
        definition
    }

    #[test]
    fn names_that_nobody_has_are_accepted() {
        let accepted = accept(&definition("widgets", "Widget", &[]), std::iter::empty());
        assert!(accepted.conflict.is_none());
        let wanted = json!({ "plural": "widgets", "kind": "Widget", "singular": "widget", "listKind": "WidgetList" });
        assert_eq!(accepted.names, wanted);
    }

    #[test]
    fn the_last_conflict_is_told_and_the_other_names_are_accepted() {
        let other = accepted(definition("widgets", "Widget", &["w", "wi"]));
        let result = accept(&definition("gadgets", "Widget", &["w", "wi"]), std::iter::once(&other));
        let conflict = result.conflict.unwrap();
        assert_eq!(conflict.reason, "ListKindConflict");
        assert_eq!(conflict.message, "\"WidgetList\" is already in use");
        assert_eq!(result.names, json!({ "plural": "gadgets", "kind": "" }));
        let own = accept(&other, std::iter::once(&definition("x", "X", &[])));
        assert!(own.conflict.is_none());
    }
}
