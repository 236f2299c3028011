//! Deployment, and the pod of `kubectl run`.

use clap::{ArgMatches, Command};
use serde_json::{Map, Value, json};

use super::{Generator, object, pairs, required};
use crate::error::{Error, Result};
use crate::flags::{Flags, command_words, list, option, words};

pub const DEPLOYMENT: Generator = Generator {
    path: &["deployment"],
    command: || {
        Command::new("deployment").visible_alias("deploy").about("Create a deployment").args([
            words("NAME"),
            list("image", "Image to run; may be repeated"),
            option("port", "Port that the container exposes"),
            option("replicas", "How many pods").short('r'),
            command_words("Command of the container"),
        ])
    },
    build: |input| {
        let images = required(input.matches.split("image"), "image")?;
        let command = input.matches.texts("command-words");
        if images.len() > 1 && !command.is_empty() {
            return Err(Error::message("cannot specify multiple --image options and command"));
        }
        let port = input.matches.number("port")?;
        let mut containers: Vec<Value> = Vec::new();
        for image in &images {
            let mut name = container_name(image);
            if containers.iter().any(|other| other["name"] == name.as_str()) {
                name = format!("{name}-{:05x}", rand::random::<u32>() & 0xf_ffff);
            }
            let mut container = json!({"name": name, "image": image});
            if !command.is_empty() {
                container["command"] = json!(command);
            }
            if let Some(port) = port.filter(|port| *port > 0) {
                container["ports"] = json!([{"containerPort": port}]);
            }
            container["resources"] = json!({});
            containers.push(container);
        }
        let labels = json!({"app": input.name});
        let mut deployment = object(
            "apps/v1",
            "Deployment",
            input.name,
            json!({
                "spec": {
                    "replicas": input.matches.number("replicas")?.unwrap_or(1),
                    "selector": {"matchLabels": labels},
                    "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}},
                    "strategy": {},
                },
                "status": {},
            }),
        );
        deployment["metadata"]["labels"] = labels;
        Ok(deployment)
    },
    needs_discovery: false,
};

/// The image's own name, fit to name a container: `a/Redis_x:7` is `redisx`.
fn container_name(image: &str) -> String {
    let base = image.rsplit('/').next().unwrap_or(image);
    let base = base.split(['@', ':']).next().unwrap_or(base).to_lowercase();
    let cleaned: String = base.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    let cleaned: String = cleaned.trim_matches('-').chars().take(63).collect();
    if cleaned.is_empty() { "container".to_owned() } else { cleaned }
}

/// The pod of `kubectl run`.
pub fn pod(matches: &ArgMatches, name: &str, image: &str, arguments: &[String]) -> Result<Value> {
    let labels = match matches.split("labels") {
        none if none.is_empty() => json!({"run": name}),
        given => Value::Object(pairs(&given, "label")?),
    };
    let mut metadata = json!({"name": name, "labels": labels});
    let annotations = pairs(&matches.texts("annotations"), "annotation")?;
    if !annotations.is_empty() {
        metadata["annotations"] = Value::Object(annotations);
    }
    let mut container: Map<String, Value> = Map::new();
    container.insert("name".into(), name.into());
    container.insert("image".into(), image.into());
    if !arguments.is_empty() {
        container.insert(if matches.on("command") { "command" } else { "args" }.into(), json!(arguments));
    }
    if let Some(port) = matches.number("port")?.filter(|port| *port > 0) {
        container.insert("ports".into(), json!([{"containerPort": port}]));
    }
    let variables: Vec<Value> = matches
        .texts("env")
        .iter()
        .map(|text| match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => {
                Ok(if value.is_empty() { json!({"name": key}) } else { json!({"name": key, "value": value}) })
            }
            _ => Err(Error::message(format!("invalid env: {text}"))),
        })
        .collect::<Result<_>>()?;
    if !variables.is_empty() {
        container.insert("env".into(), json!(variables));
    }
    container.insert("resources".into(), json!({}));
    if let Some(policy) = matches.text("image-pull-policy").filter(|policy| !policy.is_empty()) {
        if !["Always", "Never", "IfNotPresent"].contains(&policy) {
            return Err(Error::message(format!("invalid image pull policy: {policy}")));
        }
        container.insert("imagePullPolicy".into(), policy.into());
    }
    if matches.on("privileged") {
        container.insert("securityContext".into(), json!({"privileged": true}));
    }
    if matches.on("stdin") {
        container.insert("stdin".into(), true.into());
        if !matches.on("leave-stdin-open") {
            container.insert("stdinOnce".into(), true.into());
        }
    }
    if matches.on("tty") {
        container.insert("tty".into(), true.into());
    }
    let policy = match matches.text("restart") {
        None | Some("") => "Always",
        Some(policy @ ("Always" | "OnFailure" | "Never")) => policy,
        Some(other) => return Err(Error::message(format!("invalid restart policy: {other}"))),
    };
    Ok(json!({"kind": "Pod", "apiVersion": "v1", "metadata": metadata,
        "spec": {"containers": [container], "restartPolicy": policy, "dnsPolicy": "ClusterFirst"}, "status": {}}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_are_named_by_their_image() {
        assert_eq!(container_name("127.0.0.1:5000/library/Redis_x:7"), "redisx");
        assert_eq!(container_name("nginx@sha256:abc"), "nginx");
        assert_eq!(container_name("_"), "container");
    }
}
