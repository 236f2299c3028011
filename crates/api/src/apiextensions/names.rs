//! The names of a kind: those that are asked for and those that were accepted.

use machinery::field::{Error, ErrorList, Path};
use machinery::names::is_dns1035_label;
use serde_json::Value;

use super::spec::texts;
use crate::value::text;

/// What is wrong with names; missing ones are not.
pub fn validate(names: &Value, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let mut check = |path: &Path, value: &str, mixed_case: bool| {
        let problems = if mixed_case { is_dns1035_label(&value.to_lowercase()) } else { is_dns1035_label(value) };
        if !problems.is_empty() {
            let prefix = if mixed_case { "may have mixed case, but should otherwise match: " } else { "" };
            errors.push(Error::invalid(path, value, format!("{prefix}{}", problems.join(","))));
        }
    };
    for (key, mixed_case) in [("plural", false), ("singular", false), ("kind", true), ("listKind", true)] {
        let value = text(names, &format!("/{key}"));
        if !value.is_empty() {
            check(&path.child(key), value, mixed_case);
        }
    }
    let list = path.child("shortNames");
    for (index, name) in texts(names, "/shortNames").into_iter().enumerate() {
        check(&list.index(index), name, false);
    }
    let (kind, list_kind) = (text(names, "/kind"), text(names, "/listKind"));
    if !kind.is_empty() && kind == list_kind {
        let detail = "kind and listKind may not be the same";
        errors.push(Error::invalid(&path.child("listKind"), list_kind, detail));
    }
    let list = path.child("categories");
    for (index, name) in texts(names, "/categories").into_iter().enumerate() {
        let problems = is_dns1035_label(name);
        if !problems.is_empty() {
            errors.push(Error::invalid(&list.index(index), name, problems.join(",")));
        }
    }
    errors
}
