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
    let mut documents = Vec::new();
    for name in matches.split("filename") {
        if name == "-" {
            let mut bytes = Vec::new();
            std::io::stdin().read_to_end(&mut bytes)?;
            add(&mut documents, "STDIN", &bytes)?;
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
            add(&mut documents, &file.to_string_lossy(), &std::fs::read(&file)?)?;
        }
    }
    Ok(documents)
}

fn manifests(folder: &Path, recursive: bool) -> Result<Vec<PathBuf>> {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(folder)?.collect::<std::io::Result<Vec<_>>>()?.into_iter().map(|entry| entry.path()).collect();
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

fn add(documents: &mut Vec<Document>, source: &str, bytes: &[u8]) -> Result<()> {
    for value in parse(bytes).map_err(|error| Error::message(format!("error parsing {source}: {error}")))? {
        flatten(documents, source, value)?;
    }
    Ok(())
}

/// The values of a JSON or YAML text.
pub fn parse(bytes: &[u8]) -> std::result::Result<Vec<Value>, String> {
    let start = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    if start == Some(&b'{') {
        let values: std::result::Result<Vec<Value>, _> = serde_json::Deserializer::from_slice(bytes).into_iter().collect();
        // YAML in braces is no JSON; the YAML reader's word counts then.
        if let Ok(values) = values {
            return Ok(values);
        }
    }
    let documents = yaml::parse_all(bytes, LIMITS).map_err(|error| match error.strip_prefix("yaml: ") {
        Some(_) => format!("error converting YAML to JSON: {error}"),
        None => error,
    })?;
    Ok(documents.into_iter().map(|parsed| parsed.value).collect())
}

fn flatten(documents: &mut Vec<Document>, source: &str, value: Value) -> Result<()> {
    if text(&value, "kind").is_empty() {
        return Err(Error::message(format!(
            "unable to decode \"{source}\": Object 'Kind' is missing in '{}'",
            machinery::go_text::json(&crate::value::sorted(&value))
        )));
    }
    if text(&value, "apiVersion").is_empty() {
        return Err(Error::message(format!(
            "unable to decode \"{source}\": Object 'apiVersion' is missing in '{}'",
            machinery::go_text::json(&crate::value::sorted(&value))
        )));
    }
    if text(&value, "kind").ends_with("List") && value["items"].is_array() {
        for item in list(&value, "items") {
            flatten(documents, source, item.clone())?;
        }
        return Ok(());
    }
    documents.push(Document { source: source.to_owned(), value });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_documents_come_apart() {
        let mut documents = Vec::new();
        let text = "kind: A\napiVersion: v1\n---\n---\nkind: List\napiVersion: v1\nitems:\n- {kind: B, apiVersion: v1}\n";
        add(&mut documents, "f", text.as_bytes()).expect("is valid");
        assert_eq!(documents.iter().map(|d| crate::value::kind(&d.value)).collect::<Vec<_>>(), ["A", "B"]);
    }

    #[test]
    fn objects_without_kind_are_refused() {
        let error = add(&mut Vec::new(), "f.yaml", b"b: 1\na: x").expect_err("has no kind");
        assert_eq!(error.text(), r#"error: unable to decode "f.yaml": Object 'Kind' is missing in '{"a":"x","b":1}'"#);
    }
}
