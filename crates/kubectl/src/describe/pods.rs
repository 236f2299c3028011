//! Pods and pod templates.

use serde_json::Value;

use super::Related;
use super::text::{Text, or_none, pairs, time, title_bool};
use crate::value::{self, at, int, list, show, text};

pub fn pod(out: &mut Text, pod: &Value, _: &Related) {
    out.head(pod, true);
    if let Some(priority) = at(pod, "spec.priority").as_i64() {
        out.field(0, "Priority", priority.to_string());
        out.maybe(0, "Priority Class Name", text(pod, "spec.priorityClassName"));
    }
    out.maybe(0, "Runtime Class Name", text(pod, "spec.runtimeClassName"));
    out.field(0, "Service Account", text(pod, "spec.serviceAccountName"));
    match text(pod, "spec.nodeName") {
        "" => out.field(0, "Node", "<none>"),
        node => out.field(0, "Node", format!("{node}/{}", text(pod, "status.hostIP"))),
    }
    if !text(pod, "status.startTime").is_empty() {
        out.field(0, "Start Time", time(text(pod, "status.startTime")));
    }
    out.labels(0, pod);
    out.annotations(0, pod);
    match text(pod, "metadata.deletionTimestamp") {
        "" => out.field(0, "Status", text(pod, "status.phase")),
        since => {
            out.field(
                0,
                "Status",
                format!("Terminating (lasts {})", machinery::time::age(Some(since), jiff::Timestamp::now())),
            );
            if let Some(seconds) = at(pod, "metadata.deletionGracePeriodSeconds").as_i64() {
                out.field(0, "Termination Grace Period", format!("{seconds}s"));
            }
        }
    }
    out.maybe(0, "Reason", text(pod, "status.reason"));
    out.maybe(0, "Message", text(pod, "status.message"));
    if let Some(profile) = at(pod, "spec.securityContext.seccompProfile.type").as_str() {
        out.field(0, "SeccompProfile", profile);
    }
    out.field(0, "IP", text(pod, "status.podIP"));
    let addresses = list(pod, "status.podIPs");
    if addresses.is_empty() {
        out.field(0, "IPs", "<none>");
    } else {
        out.line(0, "IPs:");
        addresses.iter().for_each(|address| out.field(1, "IP", text(address, "ip")));
    }
    if let Some(owner) = machinery::meta::controller(pod) {
        out.field(0, "Controlled By", format!("{}/{}", text(owner, "kind"), text(owner, "name")));
    }
    out.maybe(0, "NominatedNodeName", text(pod, "status.nominatedNodeName"));
    containers(
        out,
        "Init Containers",
        pod,
        list(pod, "spec.initContainers"),
        Some(list(pod, "status.initContainerStatuses")),
        0,
    );
    containers(out, "Containers", pod, list(pod, "spec.containers"), Some(list(pod, "status.containerStatuses")), 0);
    containers(
        out,
        "Ephemeral Containers",
        pod,
        list(pod, "spec.ephemeralContainers"),
        Some(list(pod, "status.ephemeralContainerStatuses")),
        0,
    );
    if !list(pod, "spec.readinessGates").is_empty() {
        out.line(0, "Readiness Gates:");
        out.line(1, "Type\tStatus");
        for gate in list(pod, "spec.readinessGates") {
            let kind = text(gate, "conditionType");
            let condition = list(pod, "status.conditions").iter().find(|condition| text(condition, "type") == kind);
            out.line(1, format!("{kind}\t{}", condition.map_or("<none>", |condition| text(condition, "status"))));
        }
    }
    if !list(pod, "status.conditions").is_empty() {
        out.line(0, "Conditions:");
        out.line(1, "Type\tStatus");
        for condition in list(pod, "status.conditions") {
            out.line(1, format!("{} \t{} ", text(condition, "type"), text(condition, "status")));
        }
    }
    volumes(out, list(pod, "spec.volumes"), 0);
    out.maybe(0, "QoS Class", text(pod, "status.qosClass"));
    out.pairs(0, "Node-Selectors", at(pod, "spec.nodeSelector"), "=");
    tolerations(out, 0, list(pod, "spec.tolerations"));
    for constraint in list(pod, "spec.topologySpreadConstraints") {
        out.field(
            0,
            "Topology Spread Constraints",
            format!(
                "{}:{} when max skew {} is exceeded",
                text(constraint, "topologyKey"),
                text(constraint, "whenUnsatisfiable"),
                int(constraint, "maxSkew")
            ),
        );
    }
}

/// The template of a workload.
pub fn template(out: &mut Text, template: &Value) {
    out.line(0, "Pod Template:");
    out.labels(1, template);
    if at(template, "metadata.annotations").as_object().is_some_and(|map| !map.is_empty()) {
        out.annotations(1, template);
    }
    out.maybe(1, "Service Account", text(template, "spec.serviceAccountName"));
    containers(out, "Init Containers", template, list(template, "spec.initContainers"), None, 1);
    containers(out, "Containers", template, list(template, "spec.containers"), None, 1);
    volumes(out, list(template, "spec.volumes"), 1);
    out.maybe(1, "Priority Class Name", text(template, "spec.priorityClassName"));
    out.pairs(1, "Node-Selectors", at(template, "spec.nodeSelector"), "=");
    tolerations(out, 1, list(template, "spec.tolerations"));
}

fn tolerations(out: &mut Text, level: usize, tolerations: &[Value]) {
    let lines: Vec<String> = tolerations
        .iter()
        .map(|toleration| {
            let mut line = text(toleration, "key").to_owned();
            if !text(toleration, "value").is_empty() {
                line.push_str(&format!("={}", text(toleration, "value")));
            }
            if !text(toleration, "effect").is_empty() {
                line.push_str(&format!(":{}", text(toleration, "effect")));
            }
            if text(toleration, "operator") == "Exists" && text(toleration, "value").is_empty() {
                line.push_str(if text(toleration, "key").is_empty() && text(toleration, "effect").is_empty() {
                    "op=Exists"
                } else {
                    " op=Exists"
                });
            }
            if let Some(seconds) = toleration["tolerationSeconds"].as_i64() {
                line.push_str(&format!(" for {seconds}s"));
            }
            line
        })
        .collect();
    let mut lines = lines;
    lines.sort();
    out.column(level, "Tolerations", &lines);
}

fn containers(
    out: &mut Text,
    label: &str,
    pod: &Value,
    containers: &[Value],
    statuses: Option<&[Value]>,
    level: usize,
) {
    if containers.is_empty() {
        return;
    }
    out.line(level, format!("{label}:"));
    for container in containers {
        let name = text(container, "name");
        let status = statuses.and_then(|all| all.iter().find(|status| text(status, "name") == name));
        out.line(1, format!("{}{name}:", inset(level)));
        self::container(out, pod, container, status, 2);
    }
}

/// In a template names stand one column further in than in a pod, and what is below them at the same place.
fn inset(level: usize) -> &'static str {
    if level > 0 { " " } else { "" }
}

fn container(out: &mut Text, pod: &Value, container: &Value, status: Option<&Value>, level: usize) {
    if let Some(status) = status {
        out.field(level, "Container ID", text(status, "containerID"));
    }
    out.field(level, "Image", text(container, "image"));
    if let Some(status) = status {
        out.field(level, "Image ID", text(status, "imageID"));
    }
    let ports = list(container, "ports");
    let joined = |field: &str| {
        let shown: Vec<String> = ports
            .iter()
            .map(|port| match text(port, "name") {
                name if !name.is_empty() => format!("{}/{} ({name})", int(port, field), text(port, "protocol")),
                _ => format!("{}/{}", int(port, field), text(port, "protocol")),
            })
            .collect();
        if shown.is_empty() { "<none>".to_owned() } else { shown.join(", ") }
    };
    let plural = if ports.len() > 1 { "s" } else { "" };
    out.field(level, &format!("Port{plural}"), joined("containerPort"));
    out.field(level, &format!("Host Port{plural}"), joined("hostPort"));
    for (label, field) in [("Command", "command"), ("Args", "args")] {
        if !list(container, field).is_empty() {
            out.line(level, format!("{label}:"));
            for word in list(container, field) {
                show(word).split('\n').for_each(|line| out.line(level + 1, line));
            }
        }
    }
    if let Some(status) = status {
        state(out, "State", &status["state"], level);
        if status["lastState"].as_object().is_some_and(|state| !state.is_empty()) {
            state(out, "Last State", &status["lastState"], level);
        }
        out.field(level, "Ready", title_bool(value::flag(status, "ready")));
        out.field(level, "Restart Count", int(status, "restartCount").to_string());
    }
    for (label, field) in [("Limits", "limits"), ("Requests", "requests")] {
        let resources = pairs(container["resources"][field].as_object(), "\t");
        if !resources.is_empty() {
            out.line(level, format!("{label}:"));
            resources.iter().for_each(|pair| out.line(level + 1, pair.replacen('\t', ":\t", 1)));
        }
    }
    for (label, field) in [("Liveness", "livenessProbe"), ("Readiness", "readinessProbe"), ("Startup", "startupProbe")]
    {
        if container[field].is_object() {
            out.field(level, label, probe(&container[field]));
        }
    }
    environment(out, pod, container, level);
    let mut mounts: Vec<String> = list(container, "volumeMounts")
        .iter()
        .map(|mount| {
            let mode = if value::flag(mount, "readOnly") { "ro" } else { "rw" };
            let sub = match text(mount, "subPath") {
                "" => String::new(),
                path => format!(",path=\"{path}\""),
            };
            format!("{} from {} ({mode}{sub})", text(mount, "mountPath"), text(mount, "name"))
        })
        .collect();
    mounts.sort();
    if mounts.is_empty() {
        out.field(level, "Mounts", "<none>");
    } else {
        out.line(level, "Mounts:");
        mounts.iter().for_each(|mount| out.line(level + 1, mount));
    }
}

fn state(out: &mut Text, label: &str, state: &Value, level: usize) {
    if let Some(running) = state.get("running").filter(|state| state.is_object()) {
        out.field(level, label, "Running");
        out.field(level + 1, "Started", time(text(running, "startedAt")));
    } else if let Some(ended) = state.get("terminated").filter(|state| state.is_object()) {
        out.field(level, label, "Terminated");
        out.maybe(level + 1, "Reason", text(ended, "reason"));
        out.maybe(level + 1, "Message", text(ended, "message"));
        out.field(level + 1, "Exit Code", int(ended, "exitCode").to_string());
        if int(ended, "signal") > 0 {
            out.field(level + 1, "Signal", int(ended, "signal").to_string());
        }
        out.field(level + 1, "Started", time(text(ended, "startedAt")));
        out.field(level + 1, "Finished", time(text(ended, "finishedAt")));
    } else {
        out.field(level, label, "Waiting");
        out.maybe(level + 1, "Reason", text(&state["waiting"], "reason"));
    }
}

fn probe(probe: &Value) -> String {
    let timing = format!(
        "delay={}s timeout={}s period={}s #success={} #failure={}",
        int(probe, "initialDelaySeconds"),
        int(probe, "timeoutSeconds"),
        int(probe, "periodSeconds"),
        int(probe, "successThreshold"),
        int(probe, "failureThreshold")
    );
    if let Some(command) = at(probe, "exec.command").as_array() {
        let words: Vec<String> = command.iter().map(show).collect();
        return format!("exec [{}] {timing}", words.join(" "));
    }
    if let Some(http) = probe.get("httpGet") {
        let scheme = text(http, "scheme").to_lowercase();
        let path = text(http, "path").trim_start_matches('/');
        return format!("http-get {scheme}://{}:{}/{path} {timing}", text(http, "host"), show(&http["port"]));
    }
    if let Some(tcp) = probe.get("tcpSocket") {
        return format!("tcp-socket {}:{} {timing}", text(tcp, "host"), show(&tcp["port"]));
    }
    if let Some(grpc) = probe.get("grpc") {
        return format!("grpc <pod>:{} {} {timing}", int(grpc, "port"), text(grpc, "service"));
    }
    format!("unknown {timing}")
}

fn environment(out: &mut Text, pod: &Value, container: &Value, level: usize) {
    for source in list(container, "envFrom") {
        let (kind, from) =
            if source["configMapRef"].is_object() { ("ConfigMap", "configMapRef") } else { ("Secret", "secretRef") };
        let prefix = match text(source, "prefix") {
            "" => String::new(),
            prefix => format!(" with prefix '{prefix}'"),
        };
        out.line(level, "Environment Variables from:");
        out.line(
            level + 1,
            format!(
                "{}\t{kind}{prefix}\tOptional: {}",
                text(&source[from], "name"),
                value::flag(&source[from], "optional")
            ),
        );
    }
    let variables = list(container, "env");
    if variables.is_empty() {
        out.field(level, "Environment", "<none>");
        return;
    }
    out.line(level, "Environment:");
    for variable in variables {
        let name = text(variable, "name");
        let source = &variable["valueFrom"];
        let shown = if let Some(field) = source.get("fieldRef") {
            format!(
                "{} ({}:{})",
                field_value(pod, text(field, "fieldPath")),
                text(field, "apiVersion"),
                text(field, "fieldPath")
            )
        } else if let Some(resource) = source.get("resourceFieldRef") {
            format!("({})", text(resource, "resource"))
        } else if let Some((key, kind)) = [("secretKeyRef", "in secret"), ("configMapKeyRef", "of config map")]
            .into_iter()
            .find(|(key, _)| source.get(key).is_some())
        {
            let reference = &source[key];
            format!(
                "<set to the key '{}' {kind} '{}'>\tOptional: {}",
                text(reference, "key"),
                text(reference, "name"),
                value::flag(reference, "optional")
            )
        } else {
            text(variable, "value").replace('\n', &format!("\n{}  \t", "  ".repeat(level)))
        };
        out.line(level + 1, format!("{name}:\t{shown}"));
    }
}

/// What a downward reference stands for, where the object shows it.
fn field_value<'p>(pod: &'p Value, path: &str) -> &'p str {
    match path {
        "metadata.name"
        | "metadata.namespace"
        | "metadata.uid"
        | "spec.nodeName"
        | "spec.serviceAccountName"
        | "status.hostIP"
        | "status.podIP" => text(pod, path),
        _ => "",
    }
}

fn volumes(out: &mut Text, volumes: &[Value], level: usize) {
    if volumes.is_empty() {
        return out.field(level, "Volumes", "<none>");
    }
    out.line(level, "Volumes:");
    for volume in volumes {
        out.line(1, format!("{}{}:", inset(level), text(volume, "name")));
        self::volume(out, volume, 2);
    }
}

fn volume(out: &mut Text, volume: &Value, level: usize) {
    let kind =
        volume.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).find(|key| *key != "name").unwrap_or("");
    let source = &volume[kind];
    match kind {
        "emptyDir" => {
            out.field(level, "Type", "EmptyDir (a temporary directory that shares a pod's lifetime)");
            out.field(level, "Medium", text(source, "medium"));
            let limit = show(&source["sizeLimit"]);
            out.field(level, "SizeLimit", if limit.is_empty() { "<unset>" } else { &limit });
        }
        "hostPath" => {
            out.field(level, "Type", "HostPath (bare host directory volume)");
            out.field(level, "Path", text(source, "path"));
            out.field(level, "HostPathType", text(source, "type"));
        }
        "configMap" => {
            out.field(level, "Type", "ConfigMap (a volume populated by a ConfigMap)");
            out.field(level, "Name", text(source, "name"));
            out.field(level, "Optional", value::flag(source, "optional").to_string());
        }
        "secret" => {
            out.field(level, "Type", "Secret (a volume populated by a Secret)");
            out.field(level, "SecretName", text(source, "secretName"));
            out.field(level, "Optional", value::flag(source, "optional").to_string());
        }
        "projected" => {
            out.field(level, "Type", "Projected (a volume that contains injected data from multiple sources)");
            for part in list(source, "sources") {
                if let Some(secret) = part.get("secret") {
                    out.field(level, "SecretName", text(secret, "name"));
                    out.field(level, "Optional", value::flag(secret, "optional").to_string());
                } else if part.get("downwardAPI").is_some() {
                    out.field(level, "DownwardAPI", "true");
                } else if let Some(map) = part.get("configMap") {
                    out.field(level, "ConfigMapName", text(map, "name"));
                    out.field(level, "Optional", value::flag(map, "optional").to_string());
                } else if let Some(token) = part.get("serviceAccountToken") {
                    out.field(level, "TokenExpirationSeconds", int(token, "expirationSeconds").to_string());
                }
            }
        }
        "downwardAPI" => {
            out.field(level, "Type", "DownwardAPI (a volume populated by information about the pod)");
            out.line(level, "Items:");
            for item in list(source, "items") {
                out.line(level + 1, format!("{} -> {}", text(item, "fieldRef.fieldPath"), text(item, "path")));
            }
        }
        "persistentVolumeClaim" => {
            out.field(
                level,
                "Type",
                "PersistentVolumeClaim (a reference to a PersistentVolumeClaim in the same namespace)",
            );
            out.field(level, "ClaimName", text(source, "claimName"));
            out.field(level, "ReadOnly", value::flag(source, "readOnly").to_string());
        }
        "" => out.line(level, "<unknown>"),
        other => {
            out.field(level, "Type", other);
            for (key, shown) in source.as_object().into_iter().flatten() {
                out.field(level, key, or_none(&show(shown)));
            }
        }
    }
}
