//! `kubectl config`: reading and changing kubeconfig files. What this kubectl does not know in a file stays in it.

mod view;

use std::io::Write;
use std::path::{Path, PathBuf};

use base64::Engine;
use clap::{ArgMatches, Command};
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::{self, Flags, flag, list, option, words};
use crate::kubeconfig::{self, find, find_or_make};
use crate::printers::{tabs::align, yaml};
use crate::value::{self, text};

pub fn command() -> Command {
    let named = |name: &'static str, about: &'static str| Command::new(name).about(about).arg(words("NAME"));
    // The flags of these are fields of the file; their names are the global ones, so those are read.
    Command::new("config").about("Change kubeconfig files").subcommand_required(true).subcommands([
        Command::new("current-context").about("Print the current context"),
        named("delete-cluster", "Delete a cluster"),
        named("delete-context", "Delete a context"),
        named("delete-user", "Delete a user"),
        Command::new("get-clusters").about("Print the clusters"),
        named("get-contexts", "Print the contexts")
            .args([option("output", "-o name prints names only").short('o'), flag("no-headers", "No header line")]),
        Command::new("get-users").about("Print the users"),
        named("rename-context", "Rename a context"),
        named("set", "Set a value: PROPERTY VALUE").arg(flag("set-raw-bytes", "The value is not base64")),
        named("set-cluster", "Set a cluster's fields").args([
            flag("embed-certs", "Put the files' content into the kubeconfig"),
            option("proxy-url", "Proxy of the cluster"),
        ]),
        named("set-context", "Set a context's fields").arg(flag("current", "The current context")),
        named("set-credentials", "Set a user's fields").args([
            flag("embed-certs", "Put the files' content into the kubeconfig"),
            option("exec-command", "Command that gets credentials"),
            option("exec-api-version", "API version of that command"),
            list("exec-arg", "Argument of that command"),
            list("exec-env", "Environment variable of that command"),
        ]),
        named("unset", "Remove a value: PROPERTY"),
        named("use-context", "Set the current context").visible_alias("use"),
        flags::with_output(Command::new("view").about("Print the merged configuration")).args([
            flag("minify", "Only what the current context uses"),
            flag("flatten", "Put the files' content into the output"),
            flag("raw", "Show secrets"),
            flag("merge", "Accepted for compatibility"),
        ]),
    ])
}

pub async fn run(context: &Context, matches: &ArgMatches) -> Result<()> {
    let Some((verb, matches)) = matches.subcommand() else { return Ok(()) };
    let words = matches.words();
    let one = || match words.as_slice() {
        [name] => Ok(name.as_str()),
        other => {
            Err(Error::usage(&format!("config {verb}"), format!("exactly one NAME is required, got {}", other.len())))
        }
    };
    let console = &context.console;
    match verb {
        "view" => view::view(context, matches),
        "current-context" => match text(&context.config()?, "current-context") {
            "" => Err(Error::message("current-context is not set")),
            name => {
                console.line(name);
                Ok(())
            }
        },
        "get-clusters" => names(context, "clusters"),
        "get-users" => names(context, "users"),
        "get-contexts" => get_contexts(context, matches),
        "delete-cluster" => delete(context, "clusters", "cluster", one()?),
        "delete-context" => delete(context, "contexts", "context", one()?),
        "delete-user" => delete(context, "users", "user", one()?),
        "use-context" => use_context(context, one()?),
        "rename-context" => rename_context(context, &words),
        "set-context" => set_context(context, matches, &words),
        "set-cluster" => {
            let name = one()?.to_owned();
            set_cluster(context, matches, &name)
        }
        "set-credentials" => {
            let name = one()?.to_owned();
            set_credentials(context, matches, &name)
        }
        "set" => match words.as_slice() {
            [path, value] => set(context, path, value),
            _ => Err(Error::usage("config set", "expected PROPERTY_NAME and PROPERTY_VALUE")),
        },
        "unset" => unset(context, one()?),
        other => Err(Error::message(format!("unknown command \"{other}\" for \"kubectl config\""))),
    }
}

/// The file that holds what is to be changed: of several the one that has it, else the first that exists.
fn file_with(context: &Context, has: impl Fn(&Value) -> bool) -> Result<(PathBuf, Value)> {
    let files = kubeconfig::files(&context.globals);
    let mut fallback: Option<(PathBuf, Value)> = None;
    for path in &files {
        let Some(config) = kubeconfig::read(path)? else { continue };
        if has(&config) {
            return Ok((path.clone(), config));
        }
        fallback.get_or_insert((path.clone(), config));
    }
    if let Some(found) = fallback {
        return Ok(found);
    }
    let Some(path) = files.last() else {
        return Err(Error::message("no kubeconfig file can be found: HOME is not set"));
    };
    Ok((path.clone(), kubeconfig::empty()))
}

/// Changes one file, which must not be seen half written.
fn write(path: &Path, config: &Value) -> Result<()> {
    let fail = |error: std::io::Error| Error::message(format!("failed to write {}: {error}", path.display()));
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(fail)?;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    // A link stays a link: the file that it leads to is replaced.
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let temporary = target.with_extension(format!("{:08x}.new", rand::random::<u32>()));
    let mut file = options.open(&temporary).map_err(fail)?;
    file.write_all(yaml::print(config).as_bytes()).map_err(fail)?;
    file.sync_all().map_err(fail)?;
    std::fs::rename(&temporary, &target).map_err(fail)
}

fn names(context: &Context, kind: &str) -> Result<()> {
    let config = context.config()?;
    let mut names: Vec<&str> = value::list(&config, kind).iter().map(|entry| text(entry, "name")).collect();
    names.sort_unstable();
    context.console.line("NAME");
    names.iter().for_each(|name| context.console.line(name));
    Ok(())
}

fn get_contexts(context: &Context, matches: &ArgMatches) -> Result<()> {
    let config = context.config()?;
    let wanted = matches.words();
    let by_name = match matches.text("output") {
        None | Some("") => false,
        Some("name") => true,
        Some(other) => return Err(Error::message(format!("output must be one of '' or 'name': {other}"))),
    };
    let mut names: Vec<&str> = value::list(&config, "contexts").iter().map(|entry| text(entry, "name")).collect();
    names.sort_unstable();
    if let Some(missing) = wanted.iter().find(|name| !names.contains(&name.as_str())) {
        return Err(Error::message(format!("context {missing} not found")));
    }
    names.retain(|name| wanted.is_empty() || wanted.iter().any(|other| other == name));
    let mut table = String::new();
    if !by_name && !matches.on("no-headers") {
        table.push_str("CURRENT\tNAME\tCLUSTER\tAUTHINFO\tNAMESPACE\n");
    }
    for name in names {
        if by_name {
            context.console.line(name);
            continue;
        }
        let entry = find(&config, "contexts", name).unwrap_or(&Value::Null);
        let mark = if text(&config, "current-context") == name { "*" } else { "" };
        let fields = ["cluster", "user", "namespace"].map(|field| text(entry, field));
        table.push_str(&format!("{mark}\t{name}\t{}\n", fields.join("\t")));
    }
    context.console.text(&align(&table, 6, 3));
    Ok(())
}

fn delete(context: &Context, kind: &str, noun: &str, name: &str) -> Result<()> {
    let (path, mut config) = file_with(context, |config| find(config, kind, name).is_some())?;
    if find(&config, kind, name).is_none() {
        return Err(Error::message(format!("cannot delete {noun} {name}, not in {}", path.display())));
    }
    if noun == "context" && text(&config, "current-context") == name {
        context.console.error_line(
            "warning: this removed your active context, use \"kubectl config use-context\" to select a different one",
        );
    }
    if let Some(Value::Array(entries)) = config.get_mut(kind) {
        entries.retain(|entry| entry["name"] != name);
    }
    nothing_is_null(&mut config, kind);
    write(&path, &config)?;
    context.console.line(&format!("deleted {noun} {name} from {}", path.display()));
    Ok(())
}

/// An empty list is written as null, as an empty configuration has it.
fn nothing_is_null(config: &mut Value, kind: &str) {
    if config[kind].as_array().is_some_and(Vec::is_empty) {
        config[kind] = Value::Null;
    }
}

fn use_context(context: &Context, name: &str) -> Result<()> {
    if find(&context.config()?, "contexts", name).is_none() {
        return Err(Error::message(format!("no context exists with the name: \"{name}\"")));
    }
    let (path, mut config) = file_with(context, |config| !text(config, "current-context").is_empty())?;
    config["current-context"] = name.into();
    write(&path, &config)?;
    context.console.line(&format!("Switched to context \"{name}\"."));
    Ok(())
}

fn rename_context(context: &Context, words: &[String]) -> Result<()> {
    let [old, new] = words else {
        return Err(Error::usage("config rename-context", "expected CONTEXT_NAME and NEW_NAME"));
    };
    let (path, mut config) = file_with(context, |config| find(config, "contexts", old).is_some())?;
    if find(&config, "contexts", old).is_none() {
        return Err(Error::message(format!("cannot rename the context \"{old}\", it's not in {}", path.display())));
    }
    if find(&config, "contexts", new).is_some() {
        return Err(Error::message(format!(
            "cannot rename the context \"{old}\", the context \"{new}\" already exists in {}",
            path.display()
        )));
    }
    for entry in config["contexts"].as_array_mut().into_iter().flatten() {
        if entry["name"] == old.as_str() {
            entry["name"] = new.as_str().into();
        }
    }
    if text(&config, "current-context") == old {
        config["current-context"] = new.as_str().into();
    }
    write(&path, &config)?;
    context.console.line(&format!("Context \"{old}\" renamed to \"{new}\"."));
    Ok(())
}

fn set_context(context: &Context, matches: &ArgMatches, words: &[String]) -> Result<()> {
    let name = match (words, matches.on("current")) {
        ([], true) => match text(&context.config()?, "current-context") {
            "" => return Err(Error::message("no current context is set")),
            name => name.to_owned(),
        },
        ([name], false) => name.clone(),
        _ => return Err(Error::usage("config set-context", "exactly one NAME or --current is required")),
    };
    let (path, mut config) = file_with(context, |config| find(config, "contexts", &name).is_some())?;
    let known = find(&config, "contexts", &name).is_some();
    if let Some(entry) = find_or_make(&mut config, "contexts", &name) {
        for (field, given) in [
            ("cluster", matches.text("cluster")),
            ("user", matches.text("user")),
            ("namespace", matches.text("namespace")),
        ] {
            put(entry, field, given);
        }
        for field in ["cluster", "user"] {
            if entry.get(field).is_none() {
                entry[field] = "".into();
            }
        }
    }
    write(&path, &config)?;
    context.console.line(&format!("Context \"{name}\" {}.", if known { "modified" } else { "created" }));
    Ok(())
}

/// Sets a field; given as empty it goes.
fn put(entry: &mut Value, field: &str, given: Option<&str>) {
    match given {
        None => {}
        Some("") => value::remove(entry, &[field]),
        Some(given) => entry[field] = given.into(),
    }
}

/// Sets a file's path, made absolute, or its content.
fn put_file(entry: &mut Value, field: &str, given: Option<&str>, embed: bool) -> Result<()> {
    let Some(given) = given else { return Ok(()) };
    let data = format!("{field}-data");
    if embed {
        let bytes = std::fs::read(given)
            .map_err(|error| Error::message(format!("could not read {field} data from {given}: {error}")))?;
        entry[data.as_str()] = base64::engine::general_purpose::STANDARD.encode(bytes).into();
        value::remove(entry, &[field]);
    } else {
        let absolute = std::path::absolute(given).unwrap_or_else(|_| given.into());
        entry[field] = absolute.to_string_lossy().into_owned().into();
        value::remove(entry, &[&data]);
    }
    Ok(())
}

fn set_cluster(context: &Context, matches: &ArgMatches, name: &str) -> Result<()> {
    let (path, mut config) = file_with(context, |config| find(config, "clusters", name).is_some())?;
    let embed = matches.on("embed-certs");
    if let Some(entry) = find_or_make(&mut config, "clusters", name) {
        put(entry, "server", matches.text("server"));
        put(entry, "tls-server-name", matches.text("tls-server-name"));
        put(entry, "proxy-url", matches.text("proxy-url"));
        if matches.text("insecure-skip-tls-verify").is_some() {
            match matches.on("insecure-skip-tls-verify") {
                true => entry["insecure-skip-tls-verify"] = true.into(),
                false => value::remove(entry, &["insecure-skip-tls-verify"]),
            }
        }
        put_file(entry, "certificate-authority", matches.text("certificate-authority"), embed)?;
        if entry.get("server").is_none() {
            entry["server"] = "".into();
        }
    }
    write(&path, &config)?;
    context.console.line(&format!("Cluster \"{name}\" set."));
    Ok(())
}

fn set_credentials(context: &Context, matches: &ArgMatches, name: &str) -> Result<()> {
    let (path, mut config) = file_with(context, |config| find(config, "users", name).is_some())?;
    let embed = matches.on("embed-certs");
    if let Some(entry) = find_or_make(&mut config, "users", name) {
        for field in ["token", "username", "password"] {
            put(entry, field, matches.text(field));
        }
        for field in ["client-certificate", "client-key"] {
            put_file(entry, field, matches.text(field), embed)?;
        }
        if let Some(command) = matches.text("exec-command") {
            let variables: Vec<Value> = matches
                .texts("exec-env")
                .iter()
                .filter_map(|pair| pair.split_once('='))
                .map(|(name, value)| json!({"name": name, "value": value}))
                .collect();
            entry["exec"] = json!({
                "apiVersion": matches.text("exec-api-version").unwrap_or("client.authentication.k8s.io/v1"),
                "args": matches.texts("exec-arg"), "command": command, "env": variables, "interactiveMode": "IfAvailable",
                "provideClusterInfo": false,
            });
        }
    }
    write(&path, &config)?;
    context.console.line(&format!("User \"{name}\" set."));
    Ok(())
}

/// `clusters.NAME.server`: a name may hold dots itself, so entries that are there are looked for first.
fn split_path<'p>(config: &Value, path: &'p str) -> Vec<&'p str> {
    let Some((kind, rest)) = path.split_once('.') else { return vec![path] };
    let mut names: Vec<&str> = value::list(config, kind).iter().map(|entry| text(entry, "name")).collect();
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));
    for name in names {
        if rest == name {
            return vec![kind, rest];
        }
        if let Some(field) = rest.strip_prefix(name).and_then(|rest| rest.strip_prefix('.')) {
            return vec![kind, &rest[..name.len()], field];
        }
    }
    path.splitn(3, '.').collect()
}

fn set(context: &Context, path: &str, given: &str) -> Result<()> {
    let (file, mut config) = file_with(context, |config| match split_path(config, path).as_slice() {
        [kind, name, ..] => find(config, kind, name).is_some(),
        _ => !text(config, path).is_empty(),
    })?;
    let parts: Vec<String> = split_path(&config, path).into_iter().map(str::to_owned).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let as_value = |field: &str| match (field, given) {
        ("insecure-skip-tls-verify" | "disable-compression", "true") => json!(true),
        ("insecure-skip-tls-verify" | "disable-compression", "false") => json!(false),
        _ => json!(given),
    };
    match parts.as_slice() {
        ["current-context"] => config["current-context"] = given.into(),
        [kind @ ("clusters" | "contexts" | "users"), name, fields] => {
            let Some(entry) = find_or_make(&mut config, kind, name) else {
                return Err(Error::message(format!("unable to set {path}")));
            };
            let fields: Vec<&str> = fields.split('.').collect();
            value::set(entry, &fields, as_value(fields.last().copied().unwrap_or("")));
        }
        _ => return Err(Error::message(format!("unable to parse {path}: no such property"))),
    }
    write(&file, &config)?;
    context.console.line(&format!("Property \"{path}\" set."));
    Ok(())
}

fn unset(context: &Context, path: &str) -> Result<()> {
    let (file, mut config) = file_with(context, |config| match split_path(config, path).as_slice() {
        [kind, name, ..] => find(config, kind, name).is_some(),
        _ => !text(config, path).is_empty(),
    })?;
    let parts: Vec<String> = split_path(&config, path).into_iter().map(str::to_owned).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    match parts.as_slice() {
        ["current-context"] => config["current-context"] = "".into(),
        [kind @ ("clusters" | "contexts" | "users")] => config[*kind] = Value::Null,
        [kind @ ("clusters" | "contexts" | "users"), name] => {
            if let Some(Value::Array(entries)) = config.get_mut(*kind) {
                entries.retain(|entry| entry["name"] != *name);
            }
            nothing_is_null(&mut config, kind);
        }
        [kind @ ("clusters" | "contexts" | "users"), name, fields] if find(&config, kind, name).is_some() => {
            if let Some(entry) = find_or_make(&mut config, kind, name) {
                value::remove(entry, &fields.split('.').collect::<Vec<_>>());
            }
        }
        _ => {}
    }
    write(&file, &config)?;
    context.console.line(&format!("Property \"{path}\" unset."));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_may_name_entries_with_dots() {
        let config = json!({"clusters": [{"name": "a.b", "cluster": {}}]});
        assert_eq!(split_path(&config, "clusters.a.b.server"), ["clusters", "a.b", "server"]);
        assert_eq!(split_path(&config, "clusters.new.server"), ["clusters", "new", "server"]);
        assert_eq!(split_path(&config, "current-context"), ["current-context"]);
    }

    #[test]
    fn unknown_content_is_kept() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let path = folder.path().join("sub/config");
        let mut config = kubeconfig::empty();
        config["extensions"] = json!([{"name": "mine"}]);
        if let Some(entry) = find_or_make(&mut config, "clusters", "a") {
            entry["server"] = "https://x".into();
        }
        write(&path, &config).expect("can be written");
        assert_eq!(kubeconfig::read(&path).expect("is valid"), Some(config));
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).expect("is there").permissions());
        assert_eq!(mode & 0o777, 0o600);
    }
}
