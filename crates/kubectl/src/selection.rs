//! Which objects a command is about: `pods`, `pod a b`, `pod/a svc/b`, `deploy,rs`, `all`, `-f file`, with `-l` and `-A`.

use std::sync::Arc;

use clap::ArgMatches;
use serde_json::Value;

use crate::api::Query;
use crate::context::Context;
use crate::discovery::{Discovery, Resource};
use crate::documents::{self, Document};
use crate::error::{Error, Result};
use crate::flags::Flags;
use crate::value;

/// One named object, of the command line or of a file.
#[derive(Debug, Clone)]
pub struct Item {
    pub resource: Arc<Resource>,
    pub namespace: Option<String>,
    pub name: String,
    /// The file that it came from, or "".
    pub source: String,
    /// The file's object, or the server's when it was read.
    pub object: Value,
}

impl Item {
    pub fn path(&self) -> String {
        self.resource.path(self.namespace.as_deref(), &self.name)
    }

    /// `pod/a`, `deployment.apps/b`.
    pub fn label(&self) -> String {
        format!("{}/{}", self.resource.short_kind(), self.name)
    }

    pub fn of_object(resource: Arc<Resource>, object: Value) -> Self {
        let namespace = Some(value::namespace(&object).to_owned()).filter(|namespace| !namespace.is_empty());
        Item { resource, namespace, name: value::name(&object).to_owned(), source: String::new(), object }
    }
}

pub enum Selection {
    /// Objects by name.
    Items(Vec<Item>),
    /// Whole collections, narrowed by selectors.
    Collections(Vec<Arc<Resource>>),
}

impl Selection {
    /// A single object was asked for by name, so that it is printed bare instead of in a list.
    pub fn is_single(&self) -> bool {
        matches!(self, Selection::Items(items) if items.len() == 1)
    }
}

/// What is said when a command line names no object.
pub const NOTHING: &str = "You must provide one or more resources by argument or filename.\nExample resource specifications \
include:\n   '-f rsrc.yaml'\n   '--filename=rsrc.json'\n   '<resource> <name>'\n   '<resource>'";

/// Reads the words and `-f` of a command line.
pub async fn select(context: &Context, matches: &ArgMatches, words: &[String]) -> Result<Selection> {
    let namespace = context.namespace().await?;
    if !matches.split("filename").is_empty() || matches.text("kustomize").is_some() {
        if !words.is_empty() {
            return Err(Error::message(
                "when paths, URLs, or stdin is provided as input, you may not specify resource arguments as well",
            ));
        }
        return items_of_files(context, matches).await.map(Selection::Items);
    }
    let Some(first) = words.first() else { return Err(Error::message(NOTHING)) };
    let discovery = context.discovery().await?;
    if words.iter().any(|word| word.contains('/')) {
        return named_pairs(discovery, words, &namespace).map(Selection::Items);
    }
    let mut resources = Vec::new();
    for word in first.split(',').filter(|word| !word.is_empty()) {
        let category = if discovery.candidates(word).is_empty() { discovery.category(word) } else { Vec::new() };
        if category.is_empty() {
            resources.push(discovery.find(word)?);
        }
        resources.extend(category);
    }
    if words.len() == 1 {
        return Ok(Selection::Collections(resources));
    }
    if matches.text("selector").is_some_and(|selector| !selector.is_empty()) {
        return Err(Error::message("name cannot be provided when a selector is specified"));
    }
    if matches.on("all-namespaces") {
        return Err(Error::message("a resource cannot be retrieved by name across all namespaces"));
    }
    let mut items = Vec::new();
    for resource in &resources {
        items.extend(words[1..].iter().map(|name| item(resource.clone(), name, &namespace)));
    }
    Ok(Selection::Items(items))
}

fn item(resource: Arc<Resource>, name: &str, namespace: &str) -> Item {
    let namespace = resource.namespaced.then(|| namespace.to_owned());
    Item { resource, namespace, name: name.to_owned(), source: String::new(), object: Value::Null }
}

fn named_pairs(discovery: &Discovery, words: &[String], namespace: &str) -> Result<Vec<Item>> {
    let mut items = Vec::new();
    for word in words {
        let Some((kind, name)) = word.split_once('/') else {
            return Err(Error::message(
                "there is no need to specify a resource type as a separate argument when passing arguments in resource/name \
                 form (e.g. 'kubectl get resource/<resource_name>' instead of 'kubectl get resource resource/<resource_name>'",
            ));
        };
        if name.contains('/') || name.is_empty() || kind.is_empty() {
            return Err(Error::message("arguments in resource/name form must have a single resource and name"));
        }
        items.push(item(discovery.find(kind)?, name, namespace));
    }
    Ok(items)
}

/// The objects of `-f`, each with its resource.
pub async fn items_of_files(context: &Context, matches: &ArgMatches) -> Result<Vec<Item>> {
    let documents = documents::read(matches)?;
    if documents.is_empty() {
        return Err(Error::message("no objects passed"));
    }
    let mut items = Vec::new();
    for document in documents {
        items.push(item_of_document(context, document).await?);
    }
    Ok(items)
}

/// Finds the resource of a file's object and settles its namespace.
pub async fn item_of_document(context: &Context, document: Document) -> Result<Item> {
    let Document { source, value: mut object } = document;
    let (version, kind) = (value::text(&object, "apiVersion").to_owned(), value::kind(&object).to_owned());
    let name = value::name(&object).to_owned();
    let Some(resource) = context.discovery().await?.of_kind(&version, &kind) else {
        return Err(Error::message(format!(
            "resource mapping not found for name: \"{name}\" namespace: \"{}\" from \"{source}\": no matches for kind \"{kind}\" \
             in version \"{version}\"\nensure CRDs are installed first",
            value::namespace(&object)
        )));
    };
    let mut namespace = None;
    if resource.namespaced {
        let wanted = context.namespace().await?;
        let own = value::namespace(&object).to_owned();
        if own.is_empty() {
            value::set(&mut object, &["metadata", "namespace"], wanted.clone().into());
        } else if context.globals.namespace.is_some() && own != wanted {
            return Err(Error::message(format!(
                "the namespace from the provided object \"{own}\" does not match the namespace \"{wanted}\". You must pass \
                 '--namespace={own}' to perform this operation."
            )));
        }
        namespace = Some(if own.is_empty() { wanted } else { own });
    }
    Ok(Item { resource, namespace, name, source, object })
}

/// The query of a collection with the command line's selectors.
pub fn collection_path(matches: &ArgMatches, resource: &Resource, namespace: Option<&str>) -> Query {
    Query::new(resource.collection(namespace))
        .maybe("labelSelector", matches.text("selector"))
        .maybe("fieldSelector", matches.text("field-selector"))
}

/// The objects that the command line means, read from the server.
pub async fn objects(context: &Context, matches: &ArgMatches, words: &[String]) -> Result<Vec<Item>> {
    let selection = select(context, matches, words).await?;
    objects_of(context, matches, selection).await
}

/// The same of a selection.
pub async fn objects_of(context: &Context, matches: &ArgMatches, selection: Selection) -> Result<Vec<Item>> {
    let api = context.api().await?;
    match selection {
        Selection::Items(mut items) => {
            for item in &mut items {
                item.object = api.get(&item.path()).await?;
            }
            Ok(items)
        }
        Selection::Collections(resources) => {
            let namespace = context.namespace().await?;
            let namespace = (!matches.on("all-namespaces")).then_some(namespace.as_str());
            let mut found = Vec::new();
            for resource in resources {
                let (items, _) = read_list(context, collection_path(matches, &resource, namespace))
                    .await
                    .map_err(|error| not_listed(error, matches, &resource))?;
                found.extend(items.into_iter().map(|object| Item::of_object(resource.clone(), object)));
            }
            Ok(found)
        }
    }
}

/// Says which list the server refused, and with which selectors.
pub fn not_listed(error: Error, matches: &ArgMatches, resource: &Resource) -> Error {
    match error {
        Error::Status(mut status) if ["BadRequest", "NotFound"].contains(&status.reason.as_str()) => {
            let name = format!("{}/{}, Resource={}", resource.group, resource.version, resource.plural);
            let selectors =
                ["selector", "field-selector"].map(|flag| machinery::go_text::quote(matches.text(flag).unwrap_or("")));
            status.message = if selectors.iter().all(|selector| selector == "\"\"") {
                format!("Unable to list \"{name}\": {}", status.message)
            } else {
                let [labels, fields] = selectors;
                format!(
                    "Unable to find \"{name}\" that match label selector {labels}, field selector {fields}: {}",
                    status.message
                )
            };
            Error::Status(status)
        }
        other => other,
    }
}

/// All items of a list (each with apiVersion and kind) and the list's resource version, read in pages of 500.
pub async fn read_list(context: &Context, query: Query) -> Result<(Vec<Value>, String)> {
    let api = context.api().await?;
    let base = query.add("limit", "500").done();
    let mut items = Vec::new();
    let mut token = String::new();
    loop {
        let mut page = api.get(&Query::new(base.as_str()).maybe("continue", Some(&token)).done()).await?;
        let (version, kind) = (page["apiVersion"].clone(), value::kind(&page).trim_end_matches("List").to_owned());
        if let Value::Array(own) = page["items"].take() {
            for object in own {
                items.push(typed(object, &version, &kind));
            }
        }
        token = value::text(&page, "metadata.continue").to_owned();
        if token.is_empty() {
            return Ok((items, value::text(&page, "metadata.resourceVersion").to_owned()));
        }
    }
}

/// An item of a list with apiVersion and kind, which the server leaves out.
fn typed(object: Value, version: &Value, kind: &str) -> Value {
    if object["kind"].is_string() {
        return object;
    }
    let mut whole = serde_json::Map::new();
    whole.insert("apiVersion".into(), version.clone());
    whole.insert("kind".into(), kind.into());
    if let Value::Object(fields) = object {
        whole.extend(fields);
    }
    Value::Object(whole)
}
