//! `kubectl api-resources`.

use std::sync::Arc;

use clap::{ArgMatches, Command};

use crate::context::Context;
use crate::discovery::Resource;
use crate::error::{Error, Result};
use crate::flags::{Flags, flag, list, option};
use crate::printers::tabs::align;

pub fn command() -> Command {
    Command::new("api-resources").about("Print the types of objects that the server has").args([
        option("output", "wide or name").short('o'),
        option("api-group", "Only this group"),
        flag("namespaced", "Only namespaced types, or with =false only others"),
        list("verbs", "Only types with these verbs"),
        list("categories", "Only types of these categories"),
        option("sort-by", "name or kind"),
        flag("no-headers", "No header line"),
        flag("cached", "Accepted for compatibility"),
    ])
}

pub async fn run(context: &Context, matches: &ArgMatches) -> Result<()> {
    let output = matches.text("output").unwrap_or("");
    if !["", "wide", "name"].contains(&output) {
        return Err(Error::message(format!("--output {output} is not available")));
    }
    let discovery = context.discovery().await?;
    let (verbs, categories) = (matches.split("verbs"), matches.split("categories"));
    let fits = |resource: &Resource| {
        matches.text("api-group").is_none_or(|group| resource.group == group)
            && matches.text("namespaced").is_none_or(|_| resource.namespaced == matches.on("namespaced"))
            && !resource.verbs.is_empty()
            && verbs.iter().all(|verb| resource.can(verb))
            && categories.iter().all(|category| resource.categories.contains(category))
    };
    let mut found: Vec<&Arc<Resource>> = Vec::new();
    for resource in discovery.resources.iter().filter(|resource| fits(resource)) {
        // Of a group's versions only the preferred one, which comes first, is shown.
        if !found.iter().any(|other| other.group == resource.group && other.plural == resource.plural) {
            found.push(resource);
        }
    }
    match matches.text("sort-by") {
        Some("kind") => found.sort_by(|a, b| (&a.kind, &a.group).cmp(&(&b.kind, &b.group))),
        Some("name") => found.sort_by(|a, b| a.plural.cmp(&b.plural)),
        None | Some("") => found.sort_by(|a, b| (&a.group, &a.plural).cmp(&(&b.group, &b.plural))),
        Some(_) => return Err(Error::message("--sort-by accepts only name or kind")),
    }
    let mut text = String::new();
    if output == "name" {
        found.iter().for_each(|resource| text.push_str(&format!("{}\n", resource.group_resource())));
        context.console.text(&text);
    } else {
        if !matches.on("no-headers") {
            text.push_str("NAME\tSHORTNAMES\tAPIVERSION\tNAMESPACED\tKIND");
            text.push_str(if output == "wide" { "\tVERBS\tCATEGORIES\n" } else { "\n" });
        }
        for resource in found {
            let mut line = format!(
                "{}\t{}\t{}\t{}\t{}",
                resource.plural,
                resource.short_names.join(","),
                resource.api_version(),
                resource.namespaced,
                resource.kind
            );
            if output == "wide" {
                line.push_str(&format!("\t{}\t{}", resource.verbs.join(","), resource.categories.join(",")));
            }
            text.push_str(&line);
            text.push('\n');
        }
        context.console.text(&align(&text, 6, 3));
    }
    Error::collect(
        discovery
            .failed
            .iter()
            .map(|(version, why)| {
                Error::message(format!("unable to retrieve the complete list of server APIs: {version}: {why}"))
            })
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use crate::fake::Fake;

    #[test]
    fn types_are_listed_by_group_and_name() {
        let out = Fake::new().run("api-resources --api-group=apps").out;
        assert_eq!(
            out,
            "NAME          SHORTNAMES   APIVERSION   NAMESPACED   KIND\ndeployments   deploy       apps/v1      true         Deployment\nreplicasets   rs           apps/v1      true         ReplicaSet\n"
        );
        assert!(
            Fake::new()
                .run("api-resources -o name --namespaced=false")
                .out
                .starts_with("namespaces\nnodes\nclusterroles.rbac.authorization.k8s.io\n")
        );
    }
}
