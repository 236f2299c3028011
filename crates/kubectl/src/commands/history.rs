//! `kubectl history`: the versions of one object that the server keeps, what changed in each, and who wrote it.

use clap::{ArgMatches, Command};
use serde_json::Value;

use crate::console::harmless;
use crate::context::Context;
use crate::diff;
use crate::error::{Error, Result};
use crate::flags::{self, Flags, flag, option, words};
use crate::past;
use crate::printers::{Format, Print, tabs::align, yaml};
use crate::selection::{self, Item, Selection};
use crate::value::{self, list, text};

/// Changed fields that are named in a row of the table.
const FIELDS_MAX: usize = 3;
/// What the server changes with every write.
const OWN: [&[&str]; 3] =
    [&["metadata", "managedFields"], &["metadata", "resourceVersion"], &["metadata", "generation"]];

pub fn command() -> Command {
    let command = Command::new("history").about("Show what an object was, and who changed it").args([
        words("TYPE NAME or TYPE/NAME"),
        option("revision", "Only this resource version, or those from A to B: A..B (either may be left out)"),
        flag("diff", "Show each change as the difference of the objects' YAML"),
    ]);
    flags::with_output(command)
}

pub async fn run(context: &Context, matches: &ArgMatches) -> Result<()> {
    let item = one(context, matches, "history").await?;
    let range = Range::parse(matches.text("revision").unwrap_or(".."))?;
    let format = Format::of(matches)?;
    let mut history = past::history(context, &item).await?;
    let versions = list(&history, "items");
    let rows: Vec<Row<'_>> = (0..versions.len())
        .filter(|at| range.contains(&versions[*at]))
        .map(|at| Row { version: &versions[at], before: at.checked_sub(1).map(|before| &versions[before]) })
        .collect();
    if rows.is_empty() {
        let since = text(&history, "keptSince");
        return Err(Error::message(format!(
            "{} has no version in that range; history is kept since revision {since}",
            item.label()
        )));
    }
    if format.is_human() && matches.on("diff") {
        rows.iter()
            .for_each(|row| context.console.text(&harmless(&row.diff(&item, matches.on("show-managed-fields")))));
        return Ok(());
    }
    if format.is_human() {
        let mut table = "REVISION\tTIME\tCHANGE\tWHO\tFIELDS\n".to_owned();
        rows.iter().for_each(|row| table.push_str(&harmless(&row.line())));
        context.console.text(&align(&table, 0, 3));
        return Ok(());
    }
    let mut items: Vec<Value> = rows.iter().map(|row| row.version.clone()).collect();
    if !matches.on("show-managed-fields") {
        items.iter_mut().for_each(|item| value::remove(item, &["object", "metadata", "managedFields"]));
    }
    history["items"] = items.into();
    context.console.text(&format.print(&history, Print::default())?);
    Ok(())
}

/// The one object that a command line names. It need not be there any more.
pub async fn one(context: &Context, matches: &ArgMatches, command: &str) -> Result<Item> {
    match selection::select(context, matches, &matches.words()).await? {
        Selection::Items(mut items) if items.len() == 1 => Ok(items.remove(0)),
        _ => Err(Error::message(format!("{command} is about one object: TYPE NAME or TYPE/NAME"))),
    }
}

/// The revisions of `--revision`, both ends included.
struct Range {
    first: u64,
    last: u64,
}

impl Range {
    fn parse(given: &str) -> Result<Self> {
        let number = |text: &str, missing: u64| {
            let invalid = || {
                let quoted = machinery::go_text::quote(given);
                Error::message(format!("invalid value {quoted} for --revision: it is no revision and no A..B"))
            };
            if text.is_empty() { Ok(missing) } else { text.parse().map_err(|_| invalid()) }
        };
        match given.split_once("..") {
            Some((first, last)) => Ok(Self { first: number(first, 0)?, last: number(last, u64::MAX)? }),
            None => number(given, 0).map(|one| Self { first: one, last: one }),
        }
    }

    fn contains(&self, version: &Value) -> bool {
        text(version, "revision").parse().is_ok_and(|revision: u64| (self.first..=self.last).contains(&revision))
    }
}

/// One version beside the one before it.
struct Row<'v> {
    version: &'v Value,
    before: Option<&'v Value>,
}

impl Row<'_> {
    fn line(&self) -> String {
        let or_unknown = |text: &str| if text.is_empty() { "<unknown>".to_owned() } else { text.to_owned() };
        let mut who = or_unknown(text(self.version, "manager"));
        if text(self.version, "operation") == "Apply" {
            who.push_str(" (apply)");
        }
        let (revision, change) = (text(self.version, "revision"), text(self.version, "type"));
        let time = or_unknown(text(self.version, "time"));
        format!("{revision}\t{time}\t{change}\t{who}\t{}\n", self.fields())
    }

    /// The changed fields in short.
    fn fields(&self) -> String {
        let Some(before) = self.before.filter(|_| text(self.version, "type") == "MODIFIED") else {
            return "<none>".to_owned();
        };
        let shown = |version: &Value| {
            let mut object = version["object"].clone();
            OWN.iter().for_each(|path| value::remove(&mut object, path));
            object
        };
        let mut fields = Vec::new();
        changed(&shown(before), &shown(self.version), "", &mut fields);
        match fields.len() {
            0 => "<none>".to_owned(),
            count if count > FIELDS_MAX => {
                format!("{} and {} more", fields[..FIELDS_MAX].join(", "), count - FIELDS_MAX)
            }
            _ => fields.join(", "),
        }
    }

    /// The difference to the version before: nothing before the creation, nothing after the deletion.
    fn diff(&self, item: &Item, managed_fields: bool) -> String {
        let print = |version: Option<&Value>| {
            let Some(version) = version else { return String::new() };
            let mut object = value::sorted(&version["object"]);
            if !managed_fields {
                value::remove(&mut object, &["metadata", "managedFields"]);
            }
            yaml::print(&object)
        };
        let name = |version: Option<&Value>| match version {
            None => "/dev/null".to_owned(),
            Some(version) => {
                let manager = text(version, "manager");
                let by = if manager.is_empty() { String::new() } else { format!(" by {manager}") };
                let (revision, time) = (text(version, "revision"), text(version, "time"));
                format!("{} at {revision} {time}{by}", item.label()).trim_end().to_owned()
            }
        };
        let is = |version: &Value, kind: &str| text(version, "type") == kind;
        // What was deleted is not there to be compared with, and a deletion leaves nothing.
        let before = self.before.filter(|before| !is(before, "DELETED") && !is(self.version, "ADDED"));
        let after = Some(self.version).filter(|version| !is(version, "DELETED"));
        let before_name = name(before);
        let after_name = if after.is_some() { name(after) } else { format!("{} deleted", name(Some(self.version))) };
        diff::unified(&print(before), &print(after), &before_name, &after_name)
    }
}

/// The paths of what differs: down to single fields, and to elements where lists are equally long.
fn changed(old: &Value, new: &Value, path: &str, out: &mut Vec<String>) {
    match (old, new) {
        _ if old == new => {}
        (Value::Object(old), Value::Object(new)) => {
            let added = new.keys().filter(|key| !old.contains_key(*key));
            for key in old.keys().chain(added) {
                let own = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                changed(old.get(key).unwrap_or(&Value::Null), new.get(key).unwrap_or(&Value::Null), &own, out);
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            for (at, (old, new)) in old.iter().zip(new).enumerate() {
                changed(old, new, &format!("{path}[{at}]"), out);
            }
        }
        _ => out.push(path.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::fake::Fake;

    const PATH: &str = "GET /api/v1/namespaces/default/configmaps/a?history=true";

    fn map(revision: &str, data: Value) -> Value {
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "data": data,
            "metadata": { "name": "a", "resourceVersion": revision, "managedFields": [{ "manager": "m" }] } })
    }

    fn history() -> Value {
        let item = |kind: &str, revision: &str, manager: &str, data: Value| {
            let mut item = json!({ "type": kind, "revision": revision, "time": format!("2026-01-01T00:00:{revision}.000Z"),
                "object": map(revision, data) });
            if !manager.is_empty() {
                item["manager"] = manager.into();
                item["operation"] = if manager == "b" { "Apply" } else { "Update" }.into();
            }
            item
        };
        json!({ "kind": "ObjectHistory", "apiVersion": "canopus.io/v1", "metadata": { "name": "a" }, "keptSince": "5",
            "items": [
                item("ADDED", "10", "a", json!({ "k": "1" })),
                item("MODIFIED", "11", "b", json!({ "k": "2", "l": "x" })),
                item("DELETED", "12", "", json!({ "k": "2", "l": "x" })),
            ] })
    }

    #[test]
    fn versions_are_told_in_a_table() {
        let fake = Fake::new().answer(PATH, 200, history());
        assert_eq!(
            fake.run("history cm a").out,
            "REVISION   TIME                       CHANGE     WHO         FIELDS\n\
             10         2026-01-01T00:00:10.000Z   ADDED      a           <none>\n\
             11         2026-01-01T00:00:11.000Z   MODIFIED   b (apply)   data.k, data.l\n\
             12         2026-01-01T00:00:12.000Z   DELETED    <unknown>   <none>\n"
        );
        let one = fake.run("history configmap/a --revision 11 -o jsonpath={.items[*].revision}");
        assert_eq!(one.out, "11");
        assert_eq!(fake.run("history cm/a --revision ..11 -o jsonpath={.items[*].revision}").out, "10 11");
        let none = fake.run("history cm/a --revision 90..");
        assert_eq!(
            (none.err.as_str(), none.code),
            ("error: configmap/a has no version in that range; history is kept since revision 5\n", 1)
        );
        assert!(fake.run("history cm/a --revision x").err.contains("invalid value \"x\" for --revision"));
        let yaml = fake.run("history cm/a --revision 11 -o yaml").out;
        assert!(yaml.contains("manager: b\n") && !yaml.contains("managedFields"), "{yaml}");
        assert!(fake.run("history cm/a -o yaml --show-managed-fields").out.contains("managedFields"));
    }

    #[test]
    fn differences_are_those_of_neighbours() {
        let fake = Fake::new().answer(PATH, 200, history());
        assert_eq!(
            fake.run("history cm a --diff --revision 11..").out,
            "--- configmap/a at 10 2026-01-01T00:00:10.000Z by a\n\
             +++ configmap/a at 11 2026-01-01T00:00:11.000Z by b\n\
             @@ -1,7 +1,8 @@\n apiVersion: v1\n data:\n-  k: \"1\"\n+  k: \"2\"\n+  l: x\n kind: ConfigMap\n metadata:\n   \
             name: a\n-  resourceVersion: \"10\"\n+  resourceVersion: \"11\"\n\
             --- configmap/a at 11 2026-01-01T00:00:11.000Z by b\n\
             +++ configmap/a at 12 2026-01-01T00:00:12.000Z deleted\n\
             @@ -1,8 +0,0 @@\n-apiVersion: v1\n-data:\n-  k: \"2\"\n-  l: x\n-kind: ConfigMap\n-metadata:\n-  name: a\n-  \
             resourceVersion: \"11\"\n"
        );
        assert!(fake.run("history cm a --diff --show-managed-fields").out.contains("manager: m"));
    }

    #[test]
    fn who_keeps_no_history_is_told_apart() {
        let fake = Fake::new().answer(PATH, 200, map("7", json!({})));
        assert_eq!(fake.run("history cm a").err, format!("error: {}\n", crate::past::UNKNOWN));
        assert_eq!(Fake::new().run("history cm a").err, "Error from server (NotFound): configmaps \"a\" not found\n");
        assert_eq!(fake.run("history cm").err, "error: history is about one object: TYPE NAME or TYPE/NAME\n");
    }
}
