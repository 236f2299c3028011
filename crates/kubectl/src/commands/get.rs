//! `kubectl get`: objects as tables or as they are.

use std::sync::Arc;

use clap::{ArgMatches, Command};
use serde_json::{Value, json};

use crate::api::{JSON, Query, TABLE};
use crate::context::Context;
use crate::discovery::Resource;
use crate::error::{Error, Result};
use crate::flags::{self, Flags, flag, list, option, words};
use crate::past;
use crate::printers::{self, Format, Print, table};
use crate::selection::{self, Item, Selection};
use crate::value::{self, text};

pub fn command() -> Command {
    let command = Command::new("get").about("Show one or many objects").args([
        words("TYPE[,TYPE...] [NAME...] or TYPE/NAME..."),
        flag("all-namespaces", "Objects of all namespaces").short('A'),
        option("field-selector", "Field selector, e.g. status.phase=Running"),
        flag("watch", "After the objects, show their changes").short('w'),
        flag("watch-only", "Show changes only"),
        flag("output-watch-events", "Show what happened (ADDED, MODIFIED, DELETED)"),
        list("label-columns", "Labels to show as columns").short('L'),
        flag("show-labels", "Show all labels as the last column"),
        flag("show-kind", "Show the type before the name"),
        option("sort-by", "JSONPath to sort by"),
        flag("no-headers", "No header line"),
        flag("ignore-not-found", "A missing object is no error"),
        option("raw", "Path on the server to get as it is"),
        option("chunk-size", "How many objects to ask for at once"),
        option("at", "The state then: a resource version, a time, or a duration such as 10m for so long ago"),
        option("subresource", "The subresource to get, e.g. status or scale"),
        flag("server-print", "Let the server make the columns"),
    ]);
    flags::with_output(flags::with_selector(flags::with_files(command)))
}

pub async fn run(context: &Context, matches: &ArgMatches) -> Result<()> {
    if let Some(path) = matches.text("raw") {
        let body = context.api().await?.bytes(http::Method::GET, path, JSON, None).await?;
        context.console.bytes(&body);
        return Ok(());
    }
    let words = matches.words();
    if words.is_empty() && matches.split("filename").is_empty() {
        context.console.error_line(
            "You must specify the type of resource to get. Use \"kubectl api-resources\" for a complete list of supported resources.\n",
        );
        return Err(Error::Plain(
            "error: Required resource not specified.\nUse \"kubectl explain <resource>\" for a detailed description of that \
             resource (e.g. kubectl explain pods).\nSee 'kubectl get -h' for help and examples"
                .to_owned(),
        ));
    }
    let format = Format::of(matches)?;
    let selection = selection::select(context, matches, &words).await?;
    let at = matches.text("at").map(past::moment).transpose()?;
    let get = Get { context, matches, namespace: context.namespace().await?, at };
    if matches.on("watch") || matches.on("watch-only") {
        if get.at.is_some() {
            return Err(Error::message("--at shows one moment and cannot be watched"));
        }
        return get.watch(&format, selection).await;
    }
    if format.is_human() { get.tables(&format, selection).await } else { get.objects(&format, selection).await }
}

struct Get<'a> {
    context: &'a Context,
    matches: &'a ArgMatches,
    namespace: String,
    /// The moment to show, if not the present.
    at: Option<String>,
}

impl Get<'_> {
    fn namespace(&self) -> Option<&str> {
        (!self.matches.on("all-namespaces")).then_some(self.namespace.as_str())
    }

    fn item_path(&self, item: &Item) -> String {
        let path = match self.matches.text("subresource") {
            Some(subresource) => format!("{}/{subresource}", item.path()),
            None => item.path(),
        };
        Query::new(path).maybe("at", self.at.as_deref()).done()
    }

    fn collection(&self, resource: &Resource) -> Query {
        selection::collection_path(self.matches, resource, self.namespace()).maybe("at", self.at.as_deref())
    }

    fn options(&self, format: &Format, resource: &Resource, several: bool) -> table::Options {
        table::Options {
            wide: matches!(format, Format::Wide),
            no_headers: self.matches.on("no-headers"),
            with_namespace: self.matches.on("all-namespaces") && resource.namespaced,
            with_kind: (several || self.matches.on("show-kind")).then(|| resource.short_kind()),
            label_columns: self.matches.split("label-columns"),
            show_labels: self.matches.on("show-labels"),
            with_event: self.matches.on("output-watch-events"),
        }
    }

    /// Tables: one for each type, with an empty line between.
    async fn tables(&self, format: &Format, selection: Selection) -> Result<()> {
        let mut errors = Vec::new();
        let mut tables: Vec<(Arc<Resource>, Value)> = Vec::new();
        match selection {
            Selection::Items(items) => {
                for item in items {
                    match self.table(Query::new(self.item_path(&item))).await {
                        Ok(table) => match tables.last_mut() {
                            Some((resource, last)) if *resource == item.resource => append(last, table),
                            _ => tables.push((item.resource, table)),
                        },
                        Err(error) if error.is_not_found() && self.matches.on("ignore-not-found") => {}
                        Err(error) => errors.push(error),
                    }
                }
            }
            Selection::Collections(resources) => {
                for resource in resources {
                    let query = self.collection(&resource);
                    match self.whole_table(query).await {
                        Ok(table) => tables.push((resource, table)),
                        Err(error) => errors.push(selection::not_listed(error, self.matches, &resource)),
                    }
                }
            }
        }
        if let Some(path) = self.matches.text("sort-by") {
            for (_, table) in &mut tables {
                if let Some(Value::Array(rows)) = table.get_mut("rows") {
                    table::sort_by(rows, path, |row| &row["object"])?;
                }
            }
        }
        let several = {
            let mut resources: Vec<&Arc<Resource>> = tables.iter().map(|(resource, _)| resource).collect();
            resources.dedup();
            resources.len() > 1
        };
        let namespaced = tables.iter().any(|(resource, _)| resource.namespaced);
        let mut printed = 0;
        for (resource, table) in &tables {
            let out = table::Printer::new().print(table, &self.options(format, resource, several), None);
            if out.is_empty() {
                continue;
            }
            if printed > 0 {
                self.context.console.line("");
            }
            self.context.console.text(&out);
            printed += 1;
        }
        if printed == 0 && errors.is_empty() && !self.matches.on("ignore-not-found") {
            self.context.console.error_line(&match self.namespace() {
                Some(namespace) if namespaced => format!("No resources found in {namespace} namespace."),
                _ => "No resources found".to_owned(),
            });
        }
        Error::collect(errors)
    }

    async fn table(&self, query: Query) -> Result<Value> {
        let query = if self.matches.text("sort-by").is_some() { query.add("includeObject", "Object") } else { query };
        let answer = self.context.api().await?.get_as(&query.done(), &format!("{TABLE},{JSON}")).await?;
        Ok(if answer["kind"] == "Table" { answer } else { as_table(&answer) })
    }

    /// A collection's table, read in pages.
    async fn whole_table(&self, query: Query) -> Result<Value> {
        let size = self.matches.text("chunk-size").unwrap_or("500");
        let base = if size == "0" { query.done() } else { query.add("limit", size).done() };
        let mut whole: Option<Value> = None;
        let mut token = String::new();
        loop {
            let page = self.table(Query::new(base.as_str()).maybe("continue", Some(&token))).await?;
            token = text(&page, "metadata.continue").to_owned();
            match &mut whole {
                Some(whole) => append(whole, page),
                None => whole = Some(page),
            }
            if token.is_empty() {
                return Ok(whole.unwrap_or(Value::Null));
            }
        }
    }

    async fn objects(&self, format: &Format, selection: Selection) -> Result<()> {
        let api = self.context.api().await?;
        let single = selection.is_single();
        let mut errors = Vec::new();
        let mut found = Vec::new();
        match selection {
            Selection::Items(items) => {
                for item in items {
                    match api.get(&self.item_path(&item)).await {
                        Ok(object) => found.push(object),
                        Err(error) if error.is_not_found() && self.matches.on("ignore-not-found") => {}
                        Err(error) => errors.push(error),
                    }
                }
                if single && found.is_empty() {
                    return Error::collect(errors);
                }
            }
            Selection::Collections(resources) => {
                for resource in resources {
                    let query = self.collection(&resource);
                    match selection::read_list(self.context, query).await {
                        Ok((objects, _)) => found.extend(objects),
                        Err(error) => errors.push(selection::not_listed(error, self.matches, &resource)),
                    }
                }
            }
        }
        if let Some(path) = self.matches.text("sort-by") {
            table::sort_by(&mut found, path, |object| object)?;
        }
        let whole = if single { found.remove(0) } else { printers::list_of(found) };
        self.context.console.text(&format.print(&whole, self.print_options())?);
        Error::collect(errors)
    }

    fn print_options(&self) -> Print {
        Print {
            managed_fields: self.matches.on("show-managed-fields"),
            no_headers: self.matches.on("no-headers"),
            keep_order: false,
        }
    }

    /// The objects (unless `--watch-only`), then each change until the server ends the watch.
    async fn watch(&self, format: &Format, selection: Selection) -> Result<()> {
        let (resource, query, name) = match selection {
            Selection::Items(mut items) if items.len() == 1 => {
                let item = items.remove(0);
                let query = Query::new(item.resource.collection(item.namespace.as_deref()));
                (item.resource, query.add("fieldSelector", format!("metadata.name={}", item.name)), Some(item.name))
            }
            Selection::Collections(mut resources) if resources.len() == 1 => {
                let resource = resources.remove(0);
                let query = selection::collection_path(self.matches, &resource, self.namespace());
                (resource, query, None)
            }
            _ => {
                return Err(Error::message(
                    "watch is only supported on individual resources and resource collections - more than 1 resource was found",
                ));
            }
        };
        let base = query.done();
        let human = format.is_human();
        let accept = if human { format!("{TABLE},{JSON}") } else { JSON.to_owned() };
        let options = self.options(format, &resource, false);
        let mut printer = table::Printer::new();
        let start = self.context.api().await?.get_as(&base, &accept).await?;
        let start = if human && start["kind"] != "Table" { as_table(&start) } else { start };
        let key = if human { "rows" } else { "items" };
        let version = text(&start, "metadata.resourceVersion").to_owned();
        let empty = value::list(&start, key).is_empty();
        if let Some(name) = name.filter(|_| empty) {
            let details = json!({"name": name});
            let message = format!("{} {} not found", resource.group_resource(), machinery::go_text::quote(&name));
            return Err(Error::Status(Box::new(crate::error::Status {
                code: 404,
                reason: "NotFound".into(),
                message,
                details,
            })));
        }
        if !self.matches.on("watch-only") {
            if human {
                self.context.console.text(&printer.print(&start, &options, None));
            } else {
                let (version, kind) =
                    (start["apiVersion"].clone(), value::kind(&start).trim_end_matches("List").to_owned());
                for item in value::list(&start, key) {
                    let mut item = item.clone();
                    item["apiVersion"] = version.clone();
                    item["kind"] = kind.clone().into();
                    self.print_watched(format, "ADDED", &item)?;
                }
            }
        }
        let path = Query::new(base).add("watch", "true").add("resourceVersion", version).done();
        let mut watch = self.context.api().await?.watch(&path, &accept).await?;
        while let Some((event, object)) = watch.next().await? {
            if event == "BOOKMARK" {
                continue;
            }
            if human {
                let table = if object["kind"] == "Table" { object } else { as_table(&object) };
                self.context.console.text(&printer.print(&table, &options, Some(&event)));
            } else {
                self.print_watched(format, &event, &object)?;
            }
        }
        Ok(())
    }

    fn print_watched(&self, format: &Format, event: &str, object: &Value) -> Result<()> {
        let wrapped = json!({"type": event, "object": object});
        let shown = if self.matches.on("output-watch-events") { &wrapped } else { object };
        if matches!(format, Format::Yaml) {
            self.context.console.line("---");
        }
        self.context.console.text(&format.print(shown, self.print_options())?);
        Ok(())
    }
}

/// Puts another table's rows below.
fn append(whole: &mut Value, mut page: Value) {
    if let (Some(Value::Array(rows)), Value::Array(more)) = (whole.get_mut("rows"), page["rows"].take()) {
        rows.extend(more);
    }
}

/// What a server without tables sent, as a table of names and ages.
fn as_table(answer: &Value) -> Value {
    let Some(items) = answer["items"].as_array() else { return table::of_object(answer) };
    let mut whole = table::of_object(&Value::Null);
    whole["rows"] = json!([]);
    whole["metadata"] = answer["metadata"].clone();
    items.iter().for_each(|item| append(&mut whole, table::of_object(item)));
    whole
}

#[cfg(test)]
mod tests {
    use crate::fake::Fake;
    use serde_json::json;

    fn pods() -> serde_json::Value {
        json!({"kind": "Table", "metadata": {"resourceVersion": "7"},
            "columnDefinitions": [{"name": "Name"}, {"name": "Status"}, {"name": "Node", "priority": 1}],
            "rows": [{"cells": ["a", "Running", "n1"], "object": {"metadata": {"name": "a", "namespace": "default"}}}]})
    }

    #[test]
    fn tables_come_from_the_server() {
        let fake = Fake::new().answer("GET /api/v1/namespaces/default/pods?limit=500", 200, pods());
        let done = fake.run("get pods");
        assert_eq!((done.out.as_str(), done.code), ("NAME   STATUS\na      Running\n", 0));
        let fake = Fake::new().answer("GET /api/v1/pods?limit=500", 200, pods());
        assert_eq!(
            fake.run("get po -A -o wide").out,
            "NAMESPACE   NAME   STATUS    NODE\ndefault     a      Running   n1\n"
        );
    }

    #[test]
    fn nothing_found_is_said_on_standard_error() {
        let fake =
            Fake::new().answer("GET /api/v1/namespaces/ns/pods?limit=500", 200, json!({"kind": "Table", "rows": []}));
        let done = fake.run("get pods -n ns");
        assert_eq!((done.out.as_str(), done.err.as_str(), done.code), ("", "No resources found in ns namespace.\n", 0));
    }

    #[test]
    fn a_missing_object_and_a_missing_type_are_errors() {
        let fake = Fake::new();
        let done = fake.run("get pod x");
        assert_eq!((done.err.as_str(), done.code), ("Error from server (NotFound): pods \"x\" not found\n", 1));
        assert_eq!(fake.run("get pod x --ignore-not-found").code, 0);
        assert_eq!(fake.run("get nothing").err, "error: the server doesn't have a resource type \"nothing\"\n");
    }

    #[test]
    fn objects_print_by_format() {
        let pod =
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "managedFields": [{}]}, "spec": {}});
        let fake = Fake::new().answer("GET /api/v1/namespaces/default/pods/a", 200, pod);
        assert_eq!(fake.run("get pod/a -o yaml").out, "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\nspec: {}\n");
        assert_eq!(fake.run("get pod a -o name").out, "pod/a\n");
        assert_eq!(fake.run("get pod a -o jsonpath={.metadata.name}").out, "a");
        let list =
            json!({"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": [{"metadata": {"name": "a"}}]});
        let fake = Fake::new().answer("GET /api/v1/namespaces/default/pods?limit=500", 200, list);
        assert_eq!(
            fake.run("get pods -o yaml").out,
            "apiVersion: v1\nitems:\n- apiVersion: v1\n  kind: Pod\n  metadata:\n    name: a\nkind: List\nmetadata:\n  resourceVersion: \"\"\n"
        );
    }

    #[test]
    fn the_past_is_asked_for_and_believed_of_a_server_that_knows_it() {
        let fake = Fake::new().answer("GET /api/v1/namespaces/default/pods?at=7&limit=500", 200, pods()).answer(
            "GET /api/v1/namespaces/default/pods/a?at=7",
            200,
            json!({"kind": "Pod", "metadata": {"name": "a"}}),
        );
        assert_eq!(fake.run("get pods --at 7").err, format!("error: {}\n", crate::past::UNKNOWN));
        assert_eq!(fake.run("get pod a -o name --at 7").code, 1);
        let fake = fake.of_canopus();
        assert_eq!(fake.run("get pods --at 7").out, "NAME   STATUS\na      Running\n");
        assert_eq!(fake.run("get pod a -o name --at=7").out, "pod/a\n");
        assert_eq!(fake.run("get pods -w --at 7").err, "error: --at shows one moment and cannot be watched\n");
        assert!(fake.run("get pods --at then").err.contains("invalid value \"then\" for --at"));
        let asked = fake.run("get pods --at 10m").asked;
        assert!(asked.iter().any(|(request, _)| request.contains("/pods?at=20")), "{asked:?}");
    }

    #[test]
    fn a_watch_prints_the_objects_and_then_the_changes() {
        let changed = json!({"type": "MODIFIED", "object": {"kind": "Table", "columnDefinitions": null,
            "rows": [{"cells": ["a", "Failed", "n1"]}]}});
        let fake = Fake::new().answer("GET /api/v1/namespaces/default/pods", 200, pods()).answer(
            "GET /api/v1/namespaces/default/pods?watch=true&resourceVersion=7",
            200,
            changed,
        );
        assert_eq!(fake.run("get pods -w").out, "NAME   STATUS\na      Running\na      Failed\n");
    }
}
