//! A container's log over HTTP.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{Answer, BoxError, parameters, text};
use crate::{
    kubelet::Kubelet,
    logs::reader::{self, Options},
    pod::PodExt,
    worker::Handle,
};

/// Reads the query of a log request; the previous container's log is asked for apart.
fn options(query: &str, now: Timestamp) -> Result<(Options, bool), String> {
    let mut options = Options::default();
    let mut previous = false;
    for (key, value) in parameters(query) {
        let flag = || matches!(value.as_str(), "" | "true" | "1" | "t" | "True" | "TRUE");
        let number = || value.parse::<u64>().map_err(|_| format!("invalid value for {key}: {value:?}"));
        match key.as_str() {
            "follow" => options.follow = flag(),
            "previous" => previous = flag(),
            "timestamps" => options.timestamps = flag(),
            "tailLines" => options.tail_lines = Some(number()?),
            "limitBytes" => options.limit_bytes = Some(number()?),
            "sinceSeconds" => {
                let seconds = i64::try_from(number()?).unwrap_or(i64::MAX);
                options.since = now.checked_sub(SignedDuration::from_secs(seconds)).ok();
            }
            "sinceTime" => {
                options.since = Some(value.parse().map_err(|_| format!("invalid value for sinceTime: {value:?}"))?);
            }
            "stream" if value != "All" => options.stream = Some(value),
            _ => {}
        }
    }
    Ok((options, previous))
}

/// Answers /containerLogs.
pub async fn logs(kubelet: &Arc<Kubelet>, namespace: &str, name: &str, container: &str, query: &str) -> Answer {
    let (options, previous) = match options(query, Timestamp::now()) {
        Ok(parsed) => parsed,
        Err(message) => return text(StatusCode::BAD_REQUEST, message),
    };
    let Some(handle) = kubelet.find(namespace, name, None) else {
        return text(StatusCode::NOT_FOUND, format!("pod {name:?} in namespace {namespace:?} not found\n"));
    };
    let pod = handle.pod();
    if pod.find_container(container).is_none() {
        let message = format!("container {container:?} not found in pod {name:?}\n");
        return text(StatusCode::NOT_FOUND, message);
    }
    let runtime = handle.shared.lock().runtime.clone();
    let info = if previous { runtime.before_latest(container) } else { runtime.latest(container) };
    let Some(info) = info.cloned() else {
        let message = match previous {
            true => format!("previous terminated container {container:?} in pod {name:?} not found"),
            false => waiting(&handle, container, name),
        };
        return text(StatusCode::BAD_REQUEST, message);
    };
    let (sink, source) = mpsc::channel::<std::io::Result<Bytes>>(reader::CHUNKS_MAX);
    let id = info.id.clone();
    let following = handle.clone();
    tokio::spawn(reader::read(info.log_path, options, sink, move || {
        let running = following.shared.lock().runtime.running().any(|info| info.id == id);
        std::future::ready(running)
    }));
    let frames = ReceiverStream::new(source).map_ok(Frame::data).map_err(|error| Box::new(error) as BoxError);
    let mut answer = Response::new(StreamBody::new(frames).boxed_unsync());
    let kind = http::HeaderValue::from_static("text/plain");
    answer.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    answer
}

fn waiting(handle: &Handle, container: &str, pod: &str) -> String {
    let status = handle.shared.lock().status.clone().unwrap_or_default();
    let all = status.container_statuses.iter().flatten().chain(status.init_container_statuses.iter().flatten());
    let found = all.into_iter().find(|status| status.name == container);
    let reason = found.and_then(|status| status.state.as_ref()?.waiting.as_ref()?.reason.clone());
    match reason.as_deref() {
        Some(reason @ ("ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull")) => {
            format!("container {container:?} in pod {pod:?} is waiting to start: {}", image_words(reason))
        }
        Some(reason) => format!("container {container:?} in pod {pod:?} is waiting to start: {reason}"),
        None => format!("container {container:?} in pod {pod:?} is not available"),
    }
}

fn image_words(reason: &str) -> &'static str {
    match reason {
        "ErrImagePull" => "image can't be pulled",
        "ImagePullBackOff" => "trying and failing to pull image",
        "InvalidImageName" => "invalid image name",
        _ => "image is not present with pull policy of Never",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_become_options() {
        let now = Timestamp::from_second(1000).unwrap();
        let (parsed, previous) = options("follow=true&tailLines=5&sinceSeconds=10&previous=1&timestamps", now).unwrap();
        assert!(previous && parsed.follow && parsed.timestamps);
        assert_eq!((parsed.tail_lines, parsed.since), (Some(5), Timestamp::from_second(990).ok()));
        assert!(options("tailLines=-1", now).is_err());
        assert!(options("sinceTime=yesterday", now).is_err());
    }
}
