//! `kubectl create`: objects of files, or of a few kinds by flags.

use clap::{ArgMatches, Command};
use serde_json::{Value, json};

use super::report::Report;
use crate::api::encode;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::{self, DryRun, Flags, field_validation, flag, list, option, words};
use crate::generate::{self, Generator, Input};
use crate::selection;
use crate::value;

const MANAGER: &str = "kubectl-create";

pub fn command() -> Command {
    let options = |command: Command| {
        flags::with_validation(flags::with_writing(flags::with_output(command)))
            .arg(flag("save-config", "Remember the object for later apply"))
    };
    let mut create = options(flags::with_files(Command::new("create").about("Create objects of files or by flags")))
        .args([
            option("raw", "Path to post the file to"),
            flag("edit", "Edit before creating"),
            flag("record", "Accepted for compatibility"),
        ]);
    let (mut secret, mut service) = (
        Command::new("secret").about("Create a secret").subcommand_required(true),
        Command::new("service").visible_alias("svc").about("Create a service").subcommand_required(true),
    );
    for generator in generate::ALL {
        let mut leaf = options((generator.command)());
        if !leaf.get_arguments().any(|argument| argument.get_id() == "words") {
            leaf = leaf.arg(words("NAME"));
        }
        match generator.path {
            ["secret", _] => secret = secret.subcommand(leaf),
            ["service", _] => service = service.subcommand(leaf),
            _ => create = create.subcommand(leaf),
        }
    }
    let token = Command::new("token").about("Ask for a token of a service account").args([
        words("NAME"),
        list("audience", "Audience of the token"),
        option("duration", "How long the token is valid"),
        option("bound-object-kind", "Kind of the object that the token is bound to: Pod, Secret or Node"),
        option("bound-object-name", "Name of that object"),
        option("bound-object-uid", "UID of that object"),
        option("output", "Output format").short('o'),
    ]);
    create.subcommands([secret, service, token])
}

pub async fn run(context: &Context, matches: &ArgMatches) -> Result<()> {
    let mut path = Vec::new();
    let mut here = matches;
    while let Some((name, inner)) = here.subcommand() {
        path.push(name);
        here = inner;
    }
    if path == ["token"] {
        return token(context, here).await;
    }
    if let Some(generator) = generate::ALL.iter().find(|generator| generator.path == path.as_slice()) {
        return from_flags(context, here, generator).await;
    }
    from_files(context, matches).await
}

async fn from_files(context: &Context, matches: &ArgMatches) -> Result<()> {
    if matches.split("filename").is_empty() && matches.text("kustomize").is_none() {
        return Err(Error::message("must specify one of -f and -k"));
    }
    let report = Report::new(context, matches, MANAGER)?;
    let validation = field_validation(matches)?;
    let mut errors = Vec::new();
    for mut item in selection::items_of_files(context, matches).await? {
        if matches.on("save-config") {
            super::apply::remember(&mut item.object);
        }
        let result = if report.dry_run == DryRun::Client {
            Ok(item.object.clone())
        } else {
            let path =
                report.query(item.resource.collection(item.namespace.as_deref())).add("fieldValidation", validation);
            context.api().await?.post(&path.done(), &item.object).await
        };
        match result {
            Ok(object) => report.done(&object, "created")?,
            Err(error) => errors.push(error.when("creating", &item.source)),
        }
    }
    Error::collect(errors)
}

async fn from_flags(context: &Context, matches: &ArgMatches, generator: &Generator) -> Result<()> {
    let what = generator.path.join(" ");
    // Flags that must be there are looked at before words.
    if (generator.command)().get_arguments().any(|argument| argument.get_id() == "image")
        && matches.split("image").is_empty()
    {
        return Err(Error::message("required flag(s) \"image\" not set"));
    }
    let words = matches.words();
    let name = match words.as_slice() {
        [name] => name,
        other => {
            return Err(Error::usage(
                &format!("create {what}"),
                format!("exactly one NAME is required, got {}", other.len()),
            ));
        }
    };
    let report = Report::new(context, matches, MANAGER)?;
    let discovery = if generator.needs_discovery { Some(context.discovery().await?) } else { None };
    let object = (generator.build)(&Input { matches, name, discovery })?;
    post_made(context, matches, &report, object, &failure_words(generator)).await
}

/// What stands before the server's message when it refuses; upstream has no words for some kinds.
fn failure_words(generator: &Generator) -> String {
    match generator.path {
        ["namespace" | "role" | "clusterrole"] => String::new(),
        ["secret", _] => "failed to create secret ".to_owned(),
        ["service", "clusterip"] => "failed to create ClusterIP service: ".to_owned(),
        ["service", "nodeport"] => "failed to create NodePort service: ".to_owned(),
        ["service", "loadbalancer"] => "failed to create LoadBalancer service: ".to_owned(),
        ["service", "externalname"] => "failed to create ExternalName service: ".to_owned(),
        path => format!("failed to create {}: ", path.join(" ")),
    }
}

/// Sends an object that was made from flags; with `--dry-run=client` no server is needed.
pub async fn post_made(
    context: &Context,
    matches: &ArgMatches,
    report: &Report<'_>,
    mut object: Value,
    failed: &str,
) -> Result<()> {
    let cluster_wide = ["Namespace", "ClusterRole", "ClusterRoleBinding"].contains(&value::kind(&object));
    if !cluster_wide && context.globals.namespace.is_some() {
        place(&mut object, &context.namespace().await?);
    }
    if matches.on("save-config") {
        super::apply::remember(&mut object);
    }
    if report.dry_run == DryRun::Client {
        return report.made(&object, "created");
    }
    let namespace = context.namespace().await?;
    if !cluster_wide {
        place(&mut object, &namespace);
    }
    let (version, kind) = (value::text(&object, "apiVersion"), value::kind(&object));
    let Some(resource) = context.discovery().await?.of_kind(version, kind) else {
        return Err(Error::message(format!("no matches for kind \"{kind}\" in version \"{version}\"")));
    };
    let path =
        report.query(resource.collection(Some(&namespace))).add("fieldValidation", field_validation(matches)?).done();
    let created = context.api().await?.post(&path, &object).await.map_err(|error| match error {
        // Such a failure is printed in short, also when the object is invalid.
        Error::Status(status) if !failed.is_empty() => Error::message(format!("{failed}{}", status.message)),
        other => other,
    })?;
    report.made(&created, "created")
}

/// Puts the namespace behind the name.
fn place(object: &mut Value, namespace: &str) {
    let Some(metadata) = object["metadata"].as_object_mut() else { return };
    let old = std::mem::take(metadata);
    for (key, field) in old {
        let is_name = key == "name";
        metadata.insert(key, field);
        if is_name {
            metadata.insert("namespace".into(), namespace.into());
        }
    }
}

async fn token(context: &Context, matches: &ArgMatches) -> Result<()> {
    let words = matches.words();
    let [name] = words.as_slice() else {
        return Err(Error::usage("create token", format!("exactly one NAME is required, got {}", words.len())));
    };
    let mut spec = json!({"audiences": matches.split("audience")});
    if let Some(duration) = matches.text("duration") {
        spec["expirationSeconds"] = flags::duration(duration)?.as_secs().into();
    }
    match matches.text("bound-object-kind") {
        None => {}
        Some(kind @ ("Pod" | "Secret" | "Node")) => {
            let mut bound =
                json!({"kind": kind, "apiVersion": "v1", "name": matches.text("bound-object-name").unwrap_or("")});
            if let Some(uid) = matches.text("bound-object-uid") {
                bound["uid"] = uid.into();
            }
            spec["boundObjectRef"] = bound;
        }
        Some(other) => {
            return Err(Error::message(format!(
                "supported --bound-object-kind values are Node, Pod, Secret, got {other}"
            )));
        }
    }
    let request =
        json!({"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "metadata": {}, "spec": spec});
    let namespace = context.namespace().await?;
    let path = format!("/api/v1/namespaces/{}/serviceaccounts/{}/token", encode(&namespace), encode(name));
    let answer = context.api().await?.post(&path, &request).await.map_err(|error| match error {
        Error::Status(status) => Error::message(format!("failed to create token: {}", status.message)),
        other => other,
    })?;
    let format = crate::printers::Format::of(matches)?;
    if format.is_human() {
        context.console.line(value::text(&answer, "status.token"));
        return Ok(());
    }
    context.console.text(&format.print(&answer, crate::printers::Print::default())?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::fake::Fake;
    use serde_json::{Value, json};

    #[test]
    fn a_deployment_is_made_as_upstream_makes_it() {
        let done = Fake::new().run("create deployment redis --image=redis --dry-run=client -o yaml");
        let want = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  labels:\n    app: redis\n  name: redis\nspec:\n  replicas: 1\n  selector:\n    matchLabels:\n      app: redis\n  strategy: {}\n  template:\n    metadata:\n      labels:\n        app: redis\n    spec:\n      containers:\n      - image: redis\n        name: redis\n        resources: {}\nstatus: {}\n";
        assert_eq!(done.out, want);
        assert!(done.asked.is_empty());
    }

    #[test]
    fn created_objects_are_named() {
        let path =
            "POST /apis/apps/v1/namespaces/default/deployments?fieldManager=kubectl-create&fieldValidation=Strict";
        let made = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "redis"}});
        let done = Fake::new().answer(path, 201, made).run("create deployment redis --image=redis");
        assert_eq!((done.out.as_str(), done.code), ("deployment.apps/redis created\n", 0));
        let body: Value = serde_json::from_str(&done.asked[0].1).expect("is JSON");
        assert_eq!(body["metadata"]["namespace"], "default");
    }

    #[test]
    fn a_refused_file_is_named() {
        let file = tempfile::NamedTempFile::new().expect("a file can be made");
        std::fs::write(file.path(), "apiVersion: v1\nkind: Pod\nmetadata:\n  name: nginx\n").expect("can be written");
        let path = "POST /api/v1/namespaces/default/pods?fieldManager=kubectl-create&fieldValidation=Strict";
        let message =
            "pods \"nginx\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1";
        let refused = json!({"kind": "Status", "reason": "Forbidden", "message": message});
        let name = file.path().display().to_string();
        let done = Fake::new().answer(path, 403, refused).run(&format!("create -f {name}"));
        assert_eq!(done.err, format!("Error from server (Forbidden): error when creating \"{name}\": {message}\n"));
        assert_eq!(done.code, 1);
    }

    #[test]
    fn wrong_use_is_told() {
        assert_eq!(Fake::new().run("create deployment x").err, "error: required flag(s) \"image\" not set\n");
        assert_eq!(
            Fake::new().run("create quota --hard=pods=1").err,
            "error: exactly one NAME is required, got 0\nSee 'kubectl create quota -h' for help and examples\n"
        );
    }
}
