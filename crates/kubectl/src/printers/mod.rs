//! `-o`: what it can be and how objects are printed by it.

pub mod custom_columns;
pub mod json;
pub mod table;
pub mod tabs;
pub mod yaml;

use clap::ArgMatches;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::flags::Flags;
use crate::value;
use machinery::jsonpath::Template;

use custom_columns::Columns;

#[derive(Debug)]
pub enum Format {
    /// What the command prints by itself: a table or a message.
    Human,
    Wide,
    Name,
    Yaml,
    Json,
    JsonPath(String, Template),
    /// JSONPath whose values are printed as JSON.
    JsonPathAsJson(Template),
    Columns(Columns),
}

impl Format {
    pub fn of(matches: &ArgMatches) -> Result<Self> {
        let output = matches.text("output").unwrap_or("");
        let (kind, argument) = output.split_once('=').unwrap_or((output, ""));
        let argument = if argument.is_empty() { matches.text("template").unwrap_or("") } else { argument };
        let template = |text: &str| {
            Template::parse(text).map_err(|error| Error::message(format!("error parsing jsonpath {text}, {error}")))
        };
        let given = || match argument {
            "" => Err(Error::message("template format specified but no template given")),
            text => Ok(text.to_owned()),
        };
        let file = || {
            std::fs::read_to_string(argument)
                .map_err(|error| Error::message(format!("error reading --template {argument}, {error}")))
        };
        Ok(match kind {
            "" if argument.is_empty() => Format::Human,
            "wide" => Format::Wide,
            "name" => Format::Name,
            "yaml" => Format::Yaml,
            "json" => Format::Json,
            "jsonpath" => given().and_then(|text| Ok(Format::JsonPath(text.clone(), template(&text)?)))?,
            "jsonpath-file" => file().and_then(|text| Ok(Format::JsonPath(text.clone(), template(&text)?)))?,
            "jsonpath-as-json" => Format::JsonPathAsJson(template(&given()?)?),
            "custom-columns" => Format::Columns(Columns::parse(argument)?),
            "custom-columns-file" => Format::Columns(Columns::parse_file(&file()?)?),
            "go-template" | "go-template-file" | "template" | "templatefile" => {
                return Err(Error::message("the output format go-template is not supported"));
            }
            other => {
                return Err(Error::message(format!(
                    "unable to match a printer suitable for the output format \"{other}\", allowed formats are: custom-columns,\
                     custom-columns-file,json,jsonpath,jsonpath-as-json,jsonpath-file,name,wide,yaml"
                )));
            }
        })
    }

    /// The output is for people: a table or a message.
    pub fn is_human(&self) -> bool {
        matches!(self, Format::Human | Format::Wide)
    }

    /// One object, or a list with `items`.
    pub fn print(&self, object: &Value, options: Print) -> Result<String> {
        let mut object = if options.keep_order { object.clone() } else { value::sorted(object) };
        if !options.managed_fields {
            strip_managed_fields(&mut object);
        }
        Ok(match self {
            Format::Human | Format::Wide => String::new(),
            Format::Yaml => yaml::print(&object),
            Format::Json => json::print(&object),
            Format::Name => items(&object).iter().map(|item| format!("{}\n", label(item))).collect(),
            Format::JsonPath(text, template) => template.print(&object).map_err(|error| {
                Error::message(format!(
                    "error executing jsonpath {}: Error executing template: {error}",
                    machinery::go_text::quote(text)
                ))
            })?,
            Format::JsonPathAsJson(template) => {
                json::print(&Value::Array(template.values(&object).map_err(Error::Message)?))
            }
            Format::Columns(columns) => columns.print(items(&object), options.no_headers)?,
        })
    }
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Print {
    pub managed_fields: bool,
    pub no_headers: bool,
    /// Keys stay in their order instead of the alphabet's: objects that kubectl itself made.
    pub keep_order: bool,
}

fn items(object: &Value) -> &[Value] {
    match object["items"].as_array() {
        Some(items) if value::kind(object).ends_with("List") => items,
        _ => std::slice::from_ref(object),
    }
}

fn strip_managed_fields(object: &mut Value) {
    value::remove(object, &["metadata", "managedFields"]);
    if value::kind(object).ends_with("List")
        && let Some(items) = object["items"].as_array_mut()
    {
        items.iter_mut().for_each(|item| value::remove(item, &["metadata", "managedFields"]));
    }
}

/// `deployment.apps/redis`: how messages name an object.
pub fn label(object: &Value) -> String {
    let (version, kind) = (value::text(object, "apiVersion"), value::kind(object).to_lowercase());
    match version.split_once('/') {
        Some((group, _)) => format!("{kind}.{group}/{}", value::name(object)),
        None => format!("{kind}/{}", value::name(object)),
    }
}

/// A list as `get` prints several objects.
pub fn list_of(items: Vec<Value>) -> Value {
    serde_json::json!({"apiVersion": "v1", "items": items, "kind": "List", "metadata": {"resourceVersion": ""}})
}
