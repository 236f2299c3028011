//! `kubectl describe`.

use clap::{ArgMatches, Command};

use crate::api::Query;
use crate::context::Context;
use crate::describe;
use crate::error::{Error, Result};
use crate::flags::{self, Flags, flag, option, words};
use crate::selection::{self, Item, Selection};
use crate::value;

pub fn command() -> Command {
    let command = Command::new("describe").about("Show objects and what belongs to them").args([
        words("TYPE, TYPE NAME_PREFIX or TYPE/NAME"),
        flag("all-namespaces", "Objects of all namespaces").short('A'),
        flag("show-events", "Show events (default)"),
        option("chunk-size", "Accepted for compatibility"),
    ]);
    flags::with_selector(flags::with_files(command))
}

pub async fn run(context: &Context, matches: &ArgMatches) -> Result<()> {
    let words = matches.words();
    if words.is_empty() && matches.split("filename").is_empty() {
        return Err(Error::message(
            "You must specify the type of resource to describe. Use \"kubectl api-resources\" for a complete list of supported resources.",
        ));
    }
    let selection = selection::select(context, matches, &words).await?;
    let is_collection = matches!(selection, Selection::Collections(_));
    let mut errors = Vec::new();
    let mut items = Vec::new();
    match selection {
        Selection::Items(named) => {
            for item in named {
                match find(context, item).await {
                    Ok(found) => items.extend(found),
                    Err(error) => errors.push(error),
                }
            }
        }
        collections => items = selection::objects_of(context, matches, collections).await?,
    }
    // The events of many objects would bury them.
    let with_events = matches.on_or("show-events", items.len() == 1);
    let mut first = true;
    for item in &items {
        match describe::describe(context, item, with_events).await {
            Ok(text) => {
                context.console.text(&if first { text } else { format!("\n\n{text}") });
                first = false;
            }
            Err(error) => errors.push(error),
        }
    }
    if items.is_empty() && errors.is_empty() && is_collection {
        let namespace = context.namespace().await?;
        context.console.error_line(&if matches.on("all-namespaces") {
            "No resources found".to_owned()
        } else {
            format!("No resources found in {namespace} namespace.")
        });
    }
    Error::collect(errors)
}

/// The object of that name, or all whose names begin so.
async fn find(context: &Context, mut item: Item) -> Result<Vec<Item>> {
    match context.api().await?.get(&item.path()).await {
        Ok(object) => {
            item.object = object;
            Ok(vec![item])
        }
        Err(error) if error.is_not_found() && item.source.is_empty() => {
            let query = Query::new(item.resource.collection(item.namespace.as_deref()));
            let Ok((objects, _)) = selection::read_list(context, query).await else { return Err(error) };
            let found: Vec<Item> = objects
                .into_iter()
                .filter(|object| value::name(object).starts_with(&item.name))
                .map(|object| Item::of_object(item.resource.clone(), object))
                .collect();
            if found.is_empty() { Err(error) } else { Ok(found) }
        }
        Err(error) => Err(error),
    }
}
