//! `kubectl explain`: the fields of a type, from the server's OpenAPI v3.

use clap::{ArgMatches, Command};
use serde_json::Value;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::{Flags, flag, option, words};
use crate::value::{list, text};

pub fn command() -> Command {
    Command::new("explain").about("Describe the fields of a type").args([
        words("TYPE[.FIELD...]"),
        flag("recursive", "All fields below, names only"),
        option("api-version", "The version, e.g. apps/v1"),
        option("max-depth", "How deep --recursive goes"),
        option("output", "plaintext").short('o'),
    ])
}

pub async fn run(context: &Context, matches: &ArgMatches) -> Result<()> {
    let words = matches.words();
    let [word] = words.as_slice() else {
        return Err(Error::message(
            "You must specify the type of resource to explain. Use \"kubectl api-resources\" for a complete list of supported resources.",
        ));
    };
    let discovery = context.discovery().await?;
    // `deployments.apps.spec` may name a group; the longest name that is a type counts.
    let parts: Vec<&str> = word.split('.').collect();
    let first = discovery.candidates(parts[0]);
    let (resource, fields) = match first.first() {
        Some(found) => ((*found).clone(), &parts[1..]),
        None => return Err(Error::Plain(format!("the server doesn't have a resource type \"{}\"", parts[0]))),
    };
    let resource = match matches.text("api-version").filter(|version| !version.is_empty()) {
        Some(version) => first
            .iter()
            .find(|resource| resource.api_version() == version)
            .map(|resource| (*resource).clone())
            .ok_or_else(|| {
                Error::message(format!("couldn't find resource for \"{version}, Resource={}\"", resource.plural))
            })?,
        None => resource,
    };
    let path = if resource.group.is_empty() {
        format!("/openapi/v3/api/{}", resource.version)
    } else {
        format!("/openapi/v3/apis/{}/{}", resource.group, resource.version)
    };
    let document = context.api().await?.get(&path).await?;
    let schemas = &document["components"]["schemas"];
    let own = schemas.as_object().into_iter().flatten().find(|(_, schema)| {
        list(schema, "x-kubernetes-group-version-kind").iter().any(|kind| {
            text(kind, "group") == resource.group
                && text(kind, "version") == resource.version
                && text(kind, "kind") == resource.kind
        })
    });
    let Some((_, root)) = own else {
        return Err(Error::message(format!("GVR ({}) not found in OpenAPI schema", resource.group_resource())));
    };
    let explain = Explain {
        schemas,
        recursive: matches.on("recursive"),
        depth: matches.number("max-depth")?.filter(|depth| *depth > 0),
    };
    let mut out = String::new();
    if !resource.group.is_empty() {
        out.push_str(&format!("GROUP:      {}\n", resource.group));
    }
    out.push_str(&format!("KIND:       {}\nVERSION:    {}\n\n", resource.kind, resource.version));
    let mut here = root;
    for (index, name) in fields.iter().enumerate() {
        let Some(field) = explain.object(here).and_then(|object| object["properties"].get(*name)) else {
            context.console.text(&out);
            return Err(Error::message(format!("field \"{name}\" does not exist")));
        };
        if index + 1 == fields.len() {
            out.push_str(&format!("FIELD: {name} <{}>\n{}\n", explain.type_name(field), explain.enumeration(field)));
        }
        here = field;
    }
    explain.print(here, &mut out);
    context.console.text(&crate::console::harmless(&out));
    Ok(())
}

struct Explain<'d> {
    schemas: &'d Value,
    recursive: bool,
    depth: Option<i64>,
}

impl<'d> Explain<'d> {
    /// The schema that a schema stands for: references and single allOf entries followed.
    fn resolve(&self, schema: &'d Value) -> &'d Value {
        let mut here = schema;
        // A chain of references is short; a longer one is a circle.
        for _ in 0..16 {
            let reference =
                here["$ref"].as_str().or_else(|| list(here, "allOf").first().and_then(|first| first["$ref"].as_str()));
            match reference.and_then(|reference| reference.rsplit('/').next()).and_then(|name| self.schemas.get(name)) {
                Some(next) => here = next,
                None => return here,
            }
        }
        here
    }

    /// The object at the end of lists and maps.
    fn object(&self, schema: &'d Value) -> Option<&'d Value> {
        let mut here = self.resolve(schema);
        for _ in 0..16 {
            if here["properties"].is_object() {
                return Some(here);
            }
            let inner = if here["items"].is_object() { &here["items"] } else { &here["additionalProperties"] };
            if !inner.is_object() {
                return None;
            }
            here = self.resolve(inner);
        }
        None
    }

    fn type_name(&self, schema: &'d Value) -> String {
        let reference =
            schema["$ref"].as_str().or_else(|| list(schema, "allOf").first().and_then(|first| first["$ref"].as_str()));
        let resolved = self.resolve(schema);
        match text(resolved, "type") {
            "array" => format!("[]{}", self.type_name(&resolved["items"])),
            "object" if resolved["additionalProperties"].is_object() => {
                format!("map[string]{}", self.type_name(&resolved["additionalProperties"]))
            }
            "object" if reference.is_none() => "Object".to_owned(),
            "object" | "" | "string" if reference.is_some() => {
                reference.and_then(|reference| reference.rsplit('.').next()).unwrap_or("Object").to_owned()
            }
            "" => "Object".to_owned(),
            kind => kind.to_owned(),
        }
    }

    fn enumeration(&self, schema: &'d Value) -> String {
        let values: Vec<String> = list(self.resolve(schema), "enum").iter().map(crate::value::show).collect();
        if values.is_empty() {
            "\n".to_owned()
        } else {
            format!("ENUM:\n{}", values.iter().map(|value| format!("    {value}\n")).collect::<String>())
        }
    }

    fn print(&self, schema: &'d Value, out: &mut String) {
        out.push_str("DESCRIPTION:\n");
        let own = text(schema, "description");
        let resolved = text(self.resolve(schema), "description");
        let words: Vec<&str> = if own.is_empty() || own == resolved { vec![resolved] } else { vec![own, resolved] };
        for paragraph in words.iter().filter(|words| !words.is_empty()) {
            out.push_str(&wrapped(paragraph, 4));
        }
        if words.iter().all(|words| words.is_empty()) {
            out.push_str("    <empty>\n");
        } else {
            out.push_str("    \n");
        }
        let Some(object) = self.object(schema) else {
            out.push('\n');
            return;
        };
        out.push_str("FIELDS:\n");
        self.fields(object, 2, 1, out);
        out.push('\n');
    }

    fn fields(&self, object: &'d Value, indent: usize, depth: i64, out: &mut String) {
        let required: Vec<&str> = list(object, "required").iter().filter_map(Value::as_str).collect();
        let mut names: Vec<&String> =
            object["properties"].as_object().into_iter().flatten().map(|(name, _)| name).collect();
        names.sort();
        for name in names {
            let field = &object["properties"][name];
            let mark = if required.contains(&name.as_str()) { " -required-" } else { "" };
            out.push_str(&format!("{}{name}\t<{}>{mark}\n", " ".repeat(indent), self.type_name(field)));
            let values: Vec<String> = list(self.resolve(field), "enum")
                .iter()
                .map(|value| if value == "" { "\"\"".to_owned() } else { crate::value::show(value) })
                .collect();
            if !values.is_empty() {
                let more = if values.len() > 4 { ", ...." } else { "" };
                out.push_str(&format!(
                    "{}enum: {}{more}\n",
                    " ".repeat(indent),
                    values[..values.len().min(4)].join(", ")
                ));
            }
            if !self.recursive {
                let words = match text(field, "description") {
                    "" => text(self.resolve(field), "description"),
                    words => words,
                };
                out.push_str(&wrapped(if words.is_empty() { "<no description>" } else { words }, indent + 2));
                out.push('\n');
            } else if self.depth.is_none_or(|bound| depth < bound)
                && depth < 12
                && let Some(inner) = self.object(field)
            {
                self.fields(inner, indent + 2, depth + 1, out);
            }
        }
    }
}

/// Paragraphs of at most 80 columns.
fn wrapped(text: &str, indent: usize) -> String {
    let mut out = String::new();
    for paragraph in text.split('\n') {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            if !line.is_empty() && indent + line.len() + 1 + word.len() > 80 {
                out.push_str(&format!("{}{line}\n", " ".repeat(indent)));
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        out.push_str(&format!("{}{line}\n", " ".repeat(indent)));
    }
    out
}

#[cfg(test)]
mod tests {
    use crate::fake::Fake;
    use serde_json::json;

    #[test]
    fn fields_come_from_the_servers_schema() {
        let document = json!({"components": {"schemas": {
            "a.Pod": {"type": "object", "description": "A pod.", "x-kubernetes-group-version-kind": [{"group": "", "version": "v1", "kind": "Pod"}],
                "properties": {"spec": {"allOf": [{"$ref": "#/components/schemas/a.PodSpec"}], "description": "What is wanted."}}},
            "a.PodSpec": {"type": "object", "description": "A spec.", "required": ["containers"],
                "properties": {"containers": {"type": "array", "items": {"type": "string"}, "description": "Them."}}}}}});
        let fake = Fake::new().answer("GET /openapi/v3/api/v1", 200, document);
        assert_eq!(
            fake.run("explain pod.spec").out,
            "KIND:       Pod\nVERSION:    v1\n\nFIELD: spec <PodSpec>\n\n\nDESCRIPTION:\n    What is wanted.\n    A spec.\n    \nFIELDS:\n  containers\t<[]string> -required-\n    Them.\n\n\n"
        );
        assert_eq!(fake.run("explain pod.nope").err, "error: field \"nope\" does not exist\n");
    }
}
