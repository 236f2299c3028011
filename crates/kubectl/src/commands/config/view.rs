//! `kubectl config view`: the merged configuration, without secrets unless they are asked for.

use base64::Engine;
use clap::ArgMatches;
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::Flags;
use crate::kubeconfig::find;
use crate::printers::{Format, Print, json, yaml};
use crate::value::{self, sorted, text};

/// Field and what stands in its place.
const SECRETS: [(&str, &str, &[&str]); 2] = [
    ("clusters", "cluster", &["certificate-authority-data"]),
    ("users", "user", &["client-certificate-data", "client-key-data", "token", "password"]),
];
const FILES: [(&str, &str, &[&str]); 2] =
    [("clusters", "cluster", &["certificate-authority"]), ("users", "user", &["client-certificate", "client-key"])];

pub fn view(context: &Context, matches: &ArgMatches) -> Result<()> {
    let mut config = context.config()?;
    if matches.on("minify") {
        config = minified(context, &config)?;
    }
    if matches.on("flatten") {
        flatten(&mut config)?;
    }
    if !matches.on("raw") {
        hide(&mut config);
    }
    for (list, _, _) in SECRETS.iter().chain(&[("contexts", "", &[][..])]) {
        if let Some(entries) = config[*list].as_array_mut() {
            entries.sort_by(|a, b| text(a, "name").cmp(text(b, "name")));
        }
    }
    let format = Format::of(matches)?;
    context.console.text(&match format {
        Format::Human | Format::Wide | Format::Yaml => yaml::print(&config),
        Format::Json => json::print(&ordered(&config)),
        other => other.print(&config, Print::default())?,
    });
    Ok(())
}

/// Only what the current context uses.
fn minified(context: &Context, config: &Value) -> Result<Value> {
    let name = context.globals.context.clone().unwrap_or_else(|| text(config, "current-context").to_owned());
    if name.is_empty() {
        return Err(Error::message("current-context must exist in order to minify"));
    }
    let Some(entry) = find(config, "contexts", &name) else {
        return Err(Error::message(format!("cannot locate context {name}")));
    };
    let (cluster, user) = (text(entry, "cluster").to_owned(), text(entry, "user").to_owned());
    let mut small = config.clone();
    small["current-context"] = name.as_str().into();
    for (list, wanted) in [("contexts", &name), ("clusters", &cluster), ("users", &user)] {
        if let Some(entries) = small[list].as_array_mut() {
            entries.retain(|entry| entry["name"] == wanted.as_str());
        }
    }
    Ok(small)
}

fn each(config: &mut Value, list: &str, inner: &str, mut act: impl FnMut(&mut Value) -> Result<()>) -> Result<()> {
    for entry in config[list].as_array_mut().into_iter().flatten() {
        if let Some(content) = entry.get_mut(inner) {
            act(content)?;
        }
    }
    Ok(())
}

fn flatten(config: &mut Value) -> Result<()> {
    for (list, inner, fields) in FILES {
        each(config, list, inner, |content| {
            for field in fields {
                let path = text(content, field).to_owned();
                if path.is_empty() {
                    continue;
                }
                let bytes = std::fs::read(&path).map_err(|error| Error::message(format!("open {path}: {error}")))?;
                content[format!("{field}-data")] = base64::engine::general_purpose::STANDARD.encode(bytes).into();
                value::remove(content, &[field]);
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn hide(config: &mut Value) {
    for (list, inner, fields) in SECRETS {
        let result = each(config, list, inner, |content| {
            for field in fields.iter().filter(|field| !text(content, field).is_empty()).collect::<Vec<_>>() {
                let shown = match *field {
                    "token" | "password" => "REDACTED",
                    _ => "DATA+OMITTED",
                };
                content[*field] = shown.into();
            }
            Ok(())
        });
        // Hiding cannot fail; the walk's result type is for those that read files.
        debug_assert!(result.is_ok());
    }
}

/// JSON has the order of upstream's type.
fn ordered(config: &Value) -> Value {
    let mut shown = json!({});
    for key in ["kind", "apiVersion", "preferences", "clusters", "users", "contexts", "current-context", "extensions"] {
        if let Some(field) = config.get(key) {
            shown[key] = match field {
                Value::Array(entries) => entries
                    .iter()
                    .map(|entry| {
                        let mut inner = sorted(entry);
                        let name = inner["name"].take();
                        let mut whole = json!({"name": name});
                        if let (Value::Object(whole), Value::Object(inner)) = (&mut whole, inner) {
                            whole.extend(inner.into_iter().filter(|(key, _)| key != "name"));
                        }
                        whole
                    })
                    .collect(),
                other => other.clone(),
            };
        }
    }
    shown
}
