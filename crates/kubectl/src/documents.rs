//! Objects from files: `-f` with files, folders and standard input, YAML of several documents or JSON.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::ArgMatches;
use machinery::codec::{Limits, yaml};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::flags::Flags;
use crate::value::{list, text};

/// Manifests with many objects are larger than one request may be.
const LIMITS: Limits = Limits { depth: 512, bytes: 256 << 20 };

/// One object and the file it came from.
#[derive(Debug, Clone)]
pub struct Document {
    pub source: String,
    pub value: Value,
}

/// All objects of `-f`. Lists are taken apart.
pub fn read(matches: &ArgMatches) -> Result<Vec<Document>> {
    if matches.text("kustomize").is_some() {
        return Err(Error::message("kustomizations are not supported"));
    }
    let mut documents = Documents {
        found: Vec::new(),
        // Only commands that validate at all refuse by that name what has no kind.
        validates: matches.try_contains_id("validate").is_ok() && crate::flags::field_validation(matches)? != "Ignore",
    };
    for name in matches.split("filename") {
        if name == "-" {
            let mut bytes = Vec::new();
            std::io::stdin().read_to_end(&mut bytes)?;
            documents.add("STDIN", &bytes)?;
            continue;
        }
        if name.starts_with("http://") || name.starts_with("https://") {
            return Err(Error::message(format!("reading manifests from URLs is not supported: {name}")));
        }
        let path = Path::new(&name);
        if !path.exists() {
            return Err(Error::message(format!("the path \"{name}\" does not exist")));
        }
        let files = if path.is_dir() { manifests(path, matches.on("recursive"))? } else { vec![path.to_owned()] };
        if files.is_empty() {
            return Err(Error::message(format!(
                "error reading [{name}]: recognized file extensions are [.json .yaml .yml]"
            )));
        }
        for file in files {
            documents.add(&file.to_string_lossy(), &std::fs::read(&file)?)?;
        }
    }
    Ok(documents.found)
}

fn manifests(folder: &Path, recursive: bool) -> Result<Vec<PathBuf>> {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder)?
        .collect::<std::io::Result<Vec<_>>>()?
        .into_iter()
        .map(|entry| entry.path())
        .collect();
    entries.sort();
    let mut files = Vec::new();
    for entry in entries {
        if entry.is_dir() {
            if recursive {
                files.extend(manifests(&entry, true)?);
            }
        } else if entry.extension().is_some_and(|kind| kind == "json" || kind == "yaml" || kind == "yml") {
            files.push(entry);
        }
    }
    Ok(files)
}

/// What has been read so far.
struct Documents {
    found: Vec<Document>,
    validates: bool,
}

impl Documents {
    fn add(&mut self, source: &str, bytes: &[u8]) -> Result<()> {
        let values = parse(bytes).map_err(|error| {
            let converting = if error.starts_with("yaml: ") { "error converting YAML to JSON: " } else { "" };
            Error::message(format!("error parsing {source}: {converting}{error}"))
        })?;
        values.into_iter().try_for_each(|value| self.flatten(source, value))
    }

    fn flatten(&mut self, source: &str, value: Value) -> Result<()> {
        self.check(source, &value)?;
        if text(&value, "kind").ends_with("List") && value["items"].is_array() {
            return list(&value, "items").iter().try_for_each(|item| self.flatten(source, item.clone()));
        }
        self.found.push(Document { source: source.to_owned(), value });
        Ok(())
    }

    /// An object says what it is.
    fn check(&self, source: &str, value: &Value) -> Result<()> {
        let missing: Vec<&str> =
            ["apiVersion", "kind"].into_iter().filter(|field| text(value, field).is_empty()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        if self.validates {
            let problems: Vec<String> = missing.iter().map(|field| format!("{field} not set")).collect();
            let problem = match problems.as_slice() {
                _ if !value.is_object() => "invalid object to validate".to_owned(),
                [one] => one.clone(),
                many => format!("[{}]", many.join(", ")),
            };
            return Err(Error::message(format!(
                "error validating \"{source}\": error validating data: {problem}; if you choose to ignore these errors, turn \
                 validation off with --validate=false"
            )));
        }
        let field = if missing.contains(&"kind") { "Kind" } else { "apiVersion" };
        let content = machinery::go_text::json(&crate::value::sorted(value));
        Err(Error::message(format!("unable to decode \"{source}\": Object '{field}' is missing in '{content}'")))
    }
}

/// The values of a JSON or YAML text.
pub fn parse(bytes: &[u8]) -> std::result::Result<Vec<Value>, String> {
    let start = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    if start == Some(&b'{') {
        let values: std::result::Result<Vec<Value>, _> =
            serde_json::Deserializer::from_slice(bytes).into_iter().collect();
        // YAML in braces is no JSON; the YAML reader's word counts then.
        if let Ok(values) = values {
            return Ok(values);
        }
    }
    let documents = yaml::parse_all(bytes, LIMITS)?;
    Ok(documents.into_iter().map(|parsed| parsed.value).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_documents_come_apart() {
        let mut documents = Documents { found: Vec::new(), validates: true };
        let text =
            "kind: A\napiVersion: v1\n---\n---\nkind: List\napiVersion: v1\nitems:\n- {kind: B, apiVersion: v1}\n";
        documents.add("f", text.as_bytes()).expect("is valid");
        assert_eq!(documents.found.iter().map(|d| crate::value::kind(&d.value)).collect::<Vec<_>>(), ["A", "B"]);
    }

    #[test]
    fn objects_without_kind_are_refused() {
        let refused = |validates, text: &str| {
            Documents { found: Vec::new(), validates }.add("f.yaml", text.as_bytes()).expect_err("has no kind").text()
        };
        assert_eq!(
            refused(false, "b: 1\na: x"),
            r#"error: unable to decode "f.yaml": Object 'Kind' is missing in '{"a":"x","b":1}'"#
        );
        let validating = "error: error validating \"f.yaml\": error validating data: ";
        assert!(
            refused(true, "b: 1")
                .starts_with(&format!("{validating}[apiVersion not set, kind not set]; if you choose"))
        );
        assert!(refused(true, "[1]").starts_with(&format!("{validating}invalid object to validate; ")));
        assert!(
            refused(true, "a: [").starts_with("error: error parsing f.yaml: error converting YAML to JSON: yaml: ")
        );
    }
}
