//! `kubectl logs`: what containers wrote.

use clap::{ArgMatches, Command};
use futures::future::join_all;
use machinery::labels::Selector;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

use super::pods;
use crate::api::{Query, encode};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::{self, Flags, flag, option, words};
use crate::value::{self, text};

pub fn command() -> Command {
    let command = Command::new("logs").visible_alias("log").about("Print the logs of containers").args([
        words("POD or TYPE/NAME, and the container"),
        flag("follow", "Go on as the container writes").short('f'),
        flag("previous", "Logs of the container's previous instance").short('p'),
        option("container", "The container").short('c'),
        flag("all-containers", "Logs of all containers of the pods"),
        flag("all-pods", "Logs of all pods of the object"),
        option("tail", "Lines from the end; -1 is all"),
        option("since", "Only logs newer than this, e.g. 5m"),
        option("since-time", "Only logs after this time (RFC 3339)"),
        flag("timestamps", "Print the time before each line"),
        flag("prefix", "Print the pod and container before each line"),
        option("limit-bytes", "At most so many bytes"),
        option("max-log-requests", "How many logs to follow at once"),
        flag("ignore-errors", "Go on when one log fails"),
        flag("insecure-skip-tls-verify-backend", "Do not check the kubelet's certificate"),
        option("pod-running-timeout", "How long to wait for a pod to run"),
    ]);
    flags::with_selector(command)
}

pub async fn run(context: &Context, matches: &ArgMatches) -> Result<()> {
    let words = matches.words();
    let selector = matches.text("selector").filter(|selector| !selector.is_empty());
    let (pods, by_selector) = match (words.as_slice(), selector) {
        ([], None) => {
            return Err(Error::Plain(
                "error: expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'.\nPOD or TYPE/NAME is a required argument for \
                 the logs command\nSee 'kubectl logs -h' for help and examples"
                    .to_owned(),
            ));
        }
        ([_, ..], Some(_)) => return Err(Error::message("only a selector (-l) or a POD name is allowed")),
        ([], Some(selector)) => {
            let selector = Selector::parse(selector).map_err(Error::Message)?;
            let namespace = context.namespace().await?;
            let pods = pods::pods_of(context, &namespace, &selector).await?;
            if pods.is_empty() {
                context.console.error_line(&format!("No resources found in {namespace} namespace."));
            }
            (pods, true)
        }
        ([word, ..], None) => {
            let namespace = context.namespace().await?;
            let item = pods::named(context, matches, word).await.map_err(|error| missing(error, word, &namespace))?;
            if value::kind(&item.object) == "Pod" {
                (vec![item.object], false)
            } else {
                let mut pods = pods::pods_of(context, &namespace, &pods::pod_selector(&item.object)?).await?;
                if pods.is_empty() {
                    return Err(Error::message(format!(
                        "timed out waiting for the condition: no pods found for {}",
                        item.label()
                    )));
                }
                if !matches.on("all-pods") {
                    if pods.len() > 1 {
                        context.console.error_line(&format!(
                            "Found {} pods, using pod/{}",
                            pods.len(),
                            value::name(&pods[0])
                        ));
                    }
                    pods.truncate(1);
                }
                (pods, false)
            }
        }
    };
    let wanted = matches.text("container").or(words.get(1).map(String::as_str));
    let logs = Logs { context, matches, by_selector, prefix: matches.on("prefix") || matches.on("all-pods") };
    let mut sources = Vec::new();
    for pod in &pods {
        if matches.on("all-containers") {
            sources.extend(pods::all_containers(pod).map(|container| (pod, text(container, "name").to_owned())));
        } else {
            sources.push((pod, pods::container(context, pod, wanted, false)?));
        }
    }
    if matches.on("follow") && sources.len() > 1 {
        let bound = matches.number("max-log-requests")?.unwrap_or(5);
        if sources.len() as i64 > bound {
            return Err(Error::message(format!(
                "you are attempting to follow {} log streams, but maximum allowed concurrency is {bound}, use --max-log-requests to increase the limit",
                sources.len()
            )));
        }
        let results = join_all(sources.iter().map(|(pod, container)| logs.print(pod, container))).await;
        return Error::collect(results.into_iter().filter_map(Result::err).collect());
    }
    for (pod, container) in sources {
        match logs.print(pod, &container).await {
            Err(error) if matches.on("ignore-errors") => context.console.error_line(&format!("error: {error}")),
            result => result?,
        }
    }
    Ok(())
}

/// A pod that is not there is told with the namespace that was looked in.
fn missing(error: Error, word: &str, namespace: &str) -> Error {
    if !error.is_not_found() || word.contains('/') {
        return error;
    }
    Error::message(format!("error from server (NotFound): {error} in namespace \"{namespace}\""))
}

struct Logs<'a> {
    context: &'a Context,
    matches: &'a ArgMatches,
    by_selector: bool,
    prefix: bool,
}

impl Logs<'_> {
    fn path(&self, pod: &Value, container: &str) -> Result<String> {
        let matches = self.matches;
        let on = |flag: &str| matches.on(flag).then_some("true");
        let path =
            format!("/api/v1/namespaces/{}/pods/{}/log", encode(value::namespace(pod)), encode(value::name(pod)));
        // Of many pods only the ends are wanted, unless told otherwise.
        let tail = matches
            .number("tail")?
            .or((self.by_selector && !matches.on("follow")).then_some(10))
            .filter(|tail| *tail >= 0);
        let since = matches.text("since").filter(|since| *since != "0").map(flags::duration).transpose()?;
        Ok(Query::new(path)
            .add("container", container)
            .maybe("follow", on("follow"))
            .maybe("previous", on("previous"))
            .maybe("timestamps", on("timestamps"))
            .maybe("insecureSkipTLSVerifyBackend", on("insecure-skip-tls-verify-backend"))
            .maybe("tailLines", tail.map(|tail| tail.to_string()))
            .maybe("sinceSeconds", since.map(|since| since.as_secs_f64().ceil().to_string()))
            .maybe("sinceTime", matches.text("since-time"))
            .maybe("limitBytes", matches.text("limit-bytes").filter(|bytes| *bytes != "0"))
            .done())
    }

    async fn print(&self, pod: &Value, container: &str) -> Result<()> {
        let mut stream = self.context.api().await?.stream(&self.path(pod, container)?).await?;
        let console = &self.context.console;
        if !self.prefix {
            let mut buffer = vec![0_u8; 64 << 10];
            loop {
                match stream.read(&mut buffer).await {
                    Ok(0) => return Ok(()),
                    Ok(count) => console.bytes(&buffer[..count]),
                    Err(error) => return Err(Error::message(error.to_string())),
                }
            }
        }
        let prefix = format!("[pod/{}/{container}] ", value::name(pod));
        let mut lines = BufReader::new(stream);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).await? > 0 {
            console.bytes(&[prefix.as_bytes(), &line].concat());
            line.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::fake::Fake;
    use serde_json::json;

    #[test]
    fn logs_of_a_deployment_come_from_its_pod() {
        let selector = json!({"matchLabels": {"app": "r"}});
        let pod = |name: &str| json!({"metadata": {"name": name, "namespace": "default"}, "spec": {"containers": [{"name": "c"}]}});
        let fake = Fake::new()
            .answer(
                "GET /apis/apps/v1/namespaces/default/deployments/r",
                200,
                json!({"kind": "Deployment", "spec": {"selector": selector}}),
            )
            .answer(
                "GET /api/v1/namespaces/default/pods?labelSelector=app%3Dr&limit=500",
                200,
                json!({"kind": "PodList", "apiVersion": "v1", "items": [pod("a"), pod("b")]}),
            )
            .answer("GET /api/v1/namespaces/default/pods/a/log?container=c&tailLines=2", 200, json!("said"));
        let done = fake.run("logs deploy/r --tail=2");
        assert_eq!((done.out.as_str(), done.err.as_str()), ("\"said\"", "Found 2 pods, using pod/a\n"));
    }
}
