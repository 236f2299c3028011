//! `kubectl expose`: a Service for a workload, a pod or another Service.

use clap::{ArgMatches, Command};
use serde_json::{Map, Value, json};

use super::report::Report;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::{self, DryRun, Flags, field_validation, flag, option, words};
use crate::generate::pairs;
use crate::selection::{self, Item};
use crate::value::{self, at, int, list, text};

pub fn command() -> Command {
    let command = Command::new("expose").about("Make a service for pods").args([
        words("TYPE NAME or TYPE/NAME"),
        // Named otherwise inside, because it is the service's selector and not a choice of objects.
        option("service-selector", "The service's selector").long("selector"),
        option("port", "The service's port"),
        option("target-port", "The containers' port or its name"),
        option("name", "The service's name"),
        option("type", "ClusterIP, NodePort, LoadBalancer or ExternalName"),
        option("protocol", "TCP, UDP or SCTP"),
        option("labels", "Labels of the service").short('L'),
        option("external-ip", "An address that leads to the service too"),
        option("load-balancer-ip", "The load balancer's address"),
        option("cluster-ip", "The service's address, or None"),
        option("session-affinity", "None or ClientIP"),
        option("overrides", "JSON to put over the service"),
        option("override-type", "merge, strategic or json"),
        flag("save-config", "Remember the object for later apply"),
    ]);
    flags::with_validation(flags::with_writing(flags::with_output(flags::with_files(command))))
}

pub async fn run(context: &Context, matches: &ArgMatches) -> Result<()> {
    let words = matches.words();
    if words.is_empty() && matches.split("filename").is_empty() {
        return Err(Error::message(selection::NOTHING));
    }
    let report = Report::new(context, matches, "kubectl-expose")?;
    let items = match selection::select(context, matches, &words).await? {
        selection::Selection::Items(mut items) => {
            for item in &mut items {
                item.object = context.api().await?.get(&item.path()).await?;
            }
            items
        }
        selection::Selection::Collections(_) => {
            return Err(Error::message("resource(s) were provided, but no name was specified"));
        }
    };
    for item in items {
        let service = service(context, matches, &item)?;
        let exposed = if report.dry_run == DryRun::Client {
            service
        } else {
            let services = context.discovery().await?.find("services")?;
            let path = report
                .query(services.collection(item.namespace.as_deref()))
                .add("fieldValidation", field_validation(matches)?);
            context.api().await?.post(&path.done(), &service).await?
        };
        report.made(&exposed, "exposed")?;
    }
    Ok(())
}

fn service(context: &Context, matches: &ArgMatches, item: &Item) -> Result<Value> {
    let object = &item.object;
    let name = matches.text("name").filter(|name| !name.is_empty()).unwrap_or(&item.name);
    let selector = match matches.text("service-selector").filter(|selector| !selector.is_empty()) {
        Some(given) => pairs(&given.split(',').map(str::to_owned).collect::<Vec<_>>(), "selector")?,
        None => selector_of(object).map_err(|error| {
            Error::message(format!("couldn't retrieve selectors via --selector flag or introspection: {error}"))
        })?,
    };
    let labels = match matches.text("labels").filter(|labels| !labels.is_empty()) {
        Some(given) => pairs(&given.split(',').map(str::to_owned).collect::<Vec<_>>(), "label")?,
        None => at(object, "metadata.labels").as_object().cloned().unwrap_or_default(),
    };
    let ports = ports(matches, object)?;
    let mut metadata = json!({"name": name});
    if let Some(namespace) = item.namespace.as_ref().filter(|_| context.globals.namespace.is_some()) {
        metadata["namespace"] = namespace.as_str().into();
    }
    if !labels.is_empty() {
        metadata["labels"] = Value::Object(labels);
    }
    let mut spec = Map::new();
    if !ports.is_empty() {
        spec.insert("ports".into(), ports.into());
    }
    spec.insert("selector".into(), Value::Object(selector));
    let text_flag = |flag: &str| matches.text(flag).filter(|text| !text.is_empty());
    if let Some(address) = text_flag("cluster-ip") {
        spec.insert("clusterIP".into(), address.into());
    }
    if let Some(kind) = text_flag("type") {
        spec.insert("type".into(), kind.into());
    }
    if let Some(address) = text_flag("external-ip") {
        spec.insert("externalIPs".into(), json!([address]));
    }
    if let Some(affinity) = text_flag("session-affinity") {
        spec.insert("sessionAffinity".into(), affinity.into());
    }
    if let Some(address) = text_flag("load-balancer-ip") {
        spec.insert("loadBalancerIP".into(), address.into());
    }
    let mut service = json!({"kind": "Service", "apiVersion": "v1", "metadata": metadata, "spec": spec, "status": {"loadBalancer": {}}});
    super::run::override_by(matches, &mut service)?;
    if matches.on("save-config") {
        super::apply::remember(&mut service);
    }
    Ok(service)
}

fn selector_of(object: &Value) -> std::result::Result<Map<String, Value>, String> {
    let named = |map: &Value, problem: &str| match map.as_object().filter(|map| !map.is_empty()) {
        Some(map) => Ok(map.clone()),
        None => Err(problem.to_owned()),
    };
    match value::kind(object) {
        "Pod" => named(at(object, "metadata.labels"), "the pod has no labels and cannot be exposed"),
        "Service" => named(at(object, "spec.selector"), "the service has no pod selector set"),
        "ReplicationController" => {
            named(at(object, "spec.selector"), "the replication controller has no pod selector set")
        }
        "Deployment" | "ReplicaSet" => {
            if !list(object, "spec.selector.matchExpressions").is_empty() {
                return Err(
                    "couldn't convert expressions - \"matchExpressions\" to map-based selector format".to_owned()
                );
            }
            named(
                at(object, "spec.selector.matchLabels"),
                "invalid deployment: no selectors, therefore cannot be exposed",
            )
        }
        other => Err(format!("cannot expose a {other}")),
    }
}

fn ports(matches: &ArgMatches, object: &Value) -> Result<Vec<Value>> {
    let given: Vec<(String, Option<String>)> = match matches.text("port").filter(|port| !port.is_empty()) {
        Some(ports) => ports.split(',').map(|port| (port.to_owned(), None)).collect(),
        None => {
            let containers = match value::kind(object) {
                "Pod" => list(object, "spec.containers"),
                _ => list(object, "spec.template.spec.containers"),
            };
            let from_service =
                list(object, "spec.ports").iter().map(|port| (int(port, "port"), text(port, "protocol")));
            let from_containers = containers
                .iter()
                .flat_map(|c| list(c, "ports"))
                .map(|port| (int(port, "containerPort"), text(port, "protocol")));
            from_service
                .chain(from_containers)
                .map(|(port, protocol)| {
                    (port.to_string(), Some(protocol.to_owned()).filter(|protocol| !protocol.is_empty()))
                })
                .collect()
        }
    };
    if given.is_empty() && matches.text("cluster-ip") != Some("None") {
        return Err(Error::message("couldn't find port via --port flag or introspection"));
    }
    let target = matches.text("target-port").filter(|target| !target.is_empty());
    let mut ports = Vec::new();
    for (index, (port, protocol)) in given.iter().enumerate() {
        let number: u16 = port.parse().map_err(|_| {
            Error::message(format!("strconv.Atoi: parsing {}: invalid syntax", machinery::go_text::quote(port)))
        })?;
        let mut entry = Map::new();
        if given.len() > 1 {
            entry.insert("name".into(), format!("port-{}", index + 1).into());
        }
        let protocol =
            matches.text("protocol").filter(|protocol| !protocol.is_empty()).or(protocol.as_deref()).unwrap_or("TCP");
        entry.insert("protocol".into(), protocol.into());
        entry.insert("port".into(), number.into());
        let target = target.map_or_else(
            || json!(number),
            |name| name.parse::<u16>().map_or_else(|_| json!(name), |number| json!(number)),
        );
        entry.insert("targetPort".into(), target);
        ports.push(Value::Object(entry));
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use crate::fake::Fake;
    use serde_json::{Value, json};

    #[test]
    fn a_replica_set_is_exposed_by_its_selector() {
        let set = json!({"kind": "ReplicaSet", "metadata": {"name": "nginx", "labels": {"app": "nginx"}},
            "spec": {"selector": {"matchLabels": {"app": "nginx"}}}});
        let made = json!({"kind": "Service", "apiVersion": "v1", "metadata": {"name": "nginx"}});
        let fake = Fake::new().answer("GET /apis/apps/v1/namespaces/default/replicasets/nginx", 200, set).answer(
            "POST /api/v1/namespaces/default/services?fieldManager=kubectl-expose&fieldValidation=Strict",
            201,
            made,
        );
        let done = fake.run("expose rs nginx --port=80 --target-port=8080 --type=NodePort");
        assert_eq!(done.out, "service/nginx exposed\n");
        let body: Value = serde_json::from_str(&done.asked[1].1).expect("is JSON");
        let want = json!({"ports": [{"protocol": "TCP", "port": 80, "targetPort": 8080}], "selector": {"app": "nginx"}, "type": "NodePort"});
        assert_eq!(body["spec"], want);
        assert_eq!(fake.run("expose rs nginx").err, "error: couldn't find port via --port flag or introspection\n");
    }
}
