//! Reads the recorded conversations: every create, and every update of an object whose state before is known.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::{Kind, Version, find};

const AREAS: &[&str] = &[
    "core-pods",
    "core-others",
    "apps",
    "auth",
    "machinery-write",
    "network-storage",
    "patches",
    "batch-scaling",
    "machinery-read",
    "admission",
    "crds",
];

/// One recorded write of an object of a kind there is.
pub struct Write<'a> {
    pub case: &'a str,
    pub kind: &'static Kind,
    pub version: &'static Version,
    pub namespace: &'a str,
    pub subresource: &'a str,
    pub method: &'a str,
    /// The body's content type.
    pub media: &'a str,
    pub body: Value,
    /// The object before an update, as it was answered last.
    pub old: Option<&'a Value>,
    pub status: u64,
    pub answer: &'a Value,
    warnings: Vec<String>,
}

/// One row of a table that was read, with the object as it was answered last.
pub struct Row<'a> {
    pub case: &'a str,
    pub kind: &'static Kind,
    /// In storage form.
    pub object: Value,
    pub row: &'a Value,
}

impl fmt::Display for Write<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {}", self.case, self.method, self.kind.kind, self.subresource)
    }
}

impl Write<'_> {
    /// (reason, field, message) of each cause of a refusal that the kind itself decides.
    pub fn causes(&self) -> Option<Vec<Value>> {
        let causes = self.answer.pointer("/details/causes").and_then(Value::as_array)?;
        // Refused by the request's parameters, by the patch, by allocation or by a policy.
        let elsewhere = |cause: &Value| {
            matches!(text(cause, "field"), "dryRun" | "fieldManager" | "fieldValidation" | "force" | "patch" | "")
                || text(cause, "message").contains("failed to allocate")
                || text(cause, "field") == "metadata.resourceVersion"
                || text(cause, "message").contains("\"managedFields\":")
                || text(cause, "field").starts_with("metadata.managedFields")
        };
        if self.status != 422 || causes.iter().any(elsewhere) {
            return None;
        }
        Some(causes.iter().map(|c| json!([c["reason"], c["field"], c["message"]])).collect())
    }

    /// The texts of the recorded warnings that are the kind's own, sorted.
    pub fn warnings(&self) -> Vec<String> {
        let foreign = |text: &str| {
            ["unknown field", "duplicate field", "PodSecurity", "already set in map", "ownerReferences"]
                .iter()
                .any(|w| text.contains(w))
        };
        let mut warnings: Vec<String> = self.warnings.iter().filter(|text| !foreign(text)).cloned().collect();
        warnings.sort();
        warnings
    }

    /// Cases about what admission and field management fill in, which no kind does.
    pub fn is_filled_by_admission(&self) -> bool {
        const CASES: &[&str] = &[
            "core-others/limitrange-defaults",
            "admission/default-storage-class",
            "admission/map-",
            "admission/runtimeclass-admission",
            "admission/serviceaccount-admission",
        ];
        CASES.iter().any(|case| self.case.starts_with(case)) || self.case.ends_with("managed-fields-update-paths")
    }
}

#[derive(Default)]
pub struct Tally {
    equal: usize,
    different: Vec<String>,
}

impl Tally {
    pub fn count(&mut self, equal: bool, describe: impl FnOnce() -> String) {
        if equal {
            self.equal += 1;
        } else {
            self.different.push(describe());
        }
    }

    pub fn report(self, what: &str, floor: usize) {
        println!("{what}: {} equal, {} different", self.equal, self.different.len());
        for line in &self.different {
            println!("{line}");
        }
        println!("end of {what}");
        assert!(self.equal >= floor, "{what}: {} equal, at least {floor} before", self.equal);
    }
}

pub fn folder() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/oracle/cases");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("no recordings at {}: nothing is compared", folder.display());
    None
}

/// Calls `f` with each write, case by case, in order.
pub fn for_each_write(folder: &Path, f: impl FnMut(&Write)) {
    for_each_write_in(AREAS, folder, f);
}

/// The same for other areas.
pub fn for_each_write_in(areas: &[&str], folder: &Path, mut f: impl FnMut(&Write)) {
    for_each_case(areas, folder, |area, case| one_case(area, case, &mut f, &mut |_| ()));
}

/// Calls `f` with each row of a table read, whose object is known.
pub fn for_each_row(folder: &Path, mut f: impl FnMut(&Row)) {
    for_each_case(AREAS, folder, |area, case| one_case(area, case, &mut |_| (), &mut f));
}

fn for_each_case(areas: &[&str], folder: &Path, mut f: impl FnMut(&str, &Value)) {
    for area in areas {
        let entries = std::fs::read_dir(folder.join(area)).into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        files.sort();
        for file in files {
            let Ok(bytes) = std::fs::read(&file) else { continue };
            let Ok(case) = serde_json::from_slice::<Value>(&bytes) else { continue };
            f(area, &case);
        }
    }
}

fn one_case(area: &str, case: &Value, f: &mut impl FnMut(&Write), g: &mut impl FnMut(&Row)) {
    let name_of_case = format!("{area}/{}", text(case, "name"));
    let mut state: HashMap<String, Value> = HashMap::new();
    for step in case.get("steps").and_then(Value::as_array).into_iter().flatten() {
        let Some((method, path)) = text(step, "do").split_once(' ') else { continue };
        let Some(at) = Place::of(path) else { continue };
        let status = step["answer"]["status"].as_u64().unwrap_or(0);
        let answer = &step["answer"]["body"];
        let media = match text(step, "type") {
            "" => "application/json",
            media => media,
        };
        let namespace = case.pointer("/names/NS").and_then(Value::as_str).unwrap_or("");
        let old = state.get(&at.object);
        let is_create = method == "POST" && at.name.is_empty();
        // A scale is an object of its own; applying is not a patch that can be replayed on one answer.
        let is_update = matches!(method, "PUT" | "PATCH")
            && old.is_some()
            && at.subresource != "scale"
            && !media.starts_with("application/apply-patch");
        if (is_create || is_update)
            && let Some(body) = substituted(step, case)
        {
            f(&Write {
                case: &name_of_case,
                kind: at.kind,
                version: at.version,
                namespace,
                subresource: &at.subresource,
                method,
                media,
                body: with_generated_name(body, answer),
                old,
                status,
                answer,
                warnings: warnings(step),
            });
        }
        if method == "GET" && text(answer, "kind") == "Table" && at.subresource.is_empty() {
            for row in answer["rows"].as_array().into_iter().flatten() {
                let name = row.pointer("/object/metadata/name").and_then(Value::as_str).unwrap_or("");
                let path = if at.name.is_empty() { format!("{}/{name}", at.object) } else { at.object.clone() };
                if let Some(mut object) = state.get(&path).cloned() {
                    if let Some(convert) = &at.version.convert {
                        (convert.to_storage)(&mut object);
                    }
                    g(&Row { case: &name_of_case, kind: at.kind, object, row });
                }
            }
        }
        let is_scale = at.subresource == "scale";
        let whole = !is_scale
            && matches!(status, 200 | 201)
            && text(answer, "kind") == at.kind.kind
            && !path.contains("dryRun");
        let name = answer.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("");
        if whole {
            state.insert(if is_create { format!("{}/{name}", at.object) } else { at.object.clone() }, answer.clone());
        } else if method != "GET" && !is_update && !is_create {
            state.clear();
        }
    }
}

/// `299 - "text"` without its wrapping.
fn warnings(step: &Value) -> Vec<String> {
    let list = step.pointer("/answer/warnings").and_then(Value::as_array).into_iter().flatten();
    let texts = list.filter_map(|w| serde_json::from_str(w.as_str()?.strip_prefix("299 - ")?).ok());
    texts.collect()
}

/// What a path speaks of.
struct Place {
    kind: &'static Kind,
    version: &'static Version,
    /// The path without subresource and query.
    object: String,
    name: String,
    subresource: String,
}

impl Place {
    fn of(path: &str) -> Option<Place> {
        let path = path.split('?').next()?;
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let (group, version, rest, head) = match parts.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest, format!("/api/{version}")),
            ["apis", group, version, rest @ ..] => (*group, *version, rest, format!("/apis/{group}/{version}")),
            _ => return None,
        };
        let rest: Vec<&str> = match rest {
            ["namespaces", _, plural, more @ ..] if find(group, version, plural).is_some() => {
                std::iter::once(*plural).chain(more.iter().copied()).collect()
            }
            rest => rest.to_vec(),
        };
        let (kind, version) = find(group, version, rest.first()?)?;
        let name = rest.get(1).copied().unwrap_or("").to_string();
        let mut object = format!("{head}/{}", rest[0]);
        if !name.is_empty() {
            object = format!("{object}/{name}");
        }
        let subresource = rest.get(2).copied().unwrap_or("").to_string();
        Some(Place { kind, version, object, name, subresource })
    }
}

fn substituted(step: &Value, case: &Value) -> Option<Value> {
    let mut body = step.get("body")?.to_string();
    for variable in ["NS2", "NS", "ID"] {
        let value = case.pointer(&format!("/names/{variable}")).and_then(Value::as_str).unwrap_or("");
        body = body.replace(&format!("${variable}"), value);
    }
    // What earlier steps saved (a uid, a version) is not followed.
    if body.contains("\"$") { None } else { serde_json::from_str(&body).ok() }
}

/// The name that the server made of a generateName.
fn with_generated_name(mut body: Value, answer: &Value) -> Value {
    let given = answer.pointer("/metadata/name").or_else(|| answer.pointer("/details/name")).cloned();
    if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut)
        && metadata.get("generateName").and_then(Value::as_str).is_some_and(|prefix| !prefix.is_empty())
        && metadata.get("name").and_then(Value::as_str).unwrap_or("").is_empty()
        && let Some(given) = given
    {
        metadata.insert("name".to_string(), given);
    }
    body
}

pub fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or("")
}
