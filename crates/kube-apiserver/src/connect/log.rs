//! pods/log: what a container wrote, from its kubelet, chunk by chunk as it comes.

use http::{HeaderValue, Method, StatusCode, header};
use machinery::field::{Error, ErrorList, Path};
use machinery::gvk::GroupKind;
use machinery::status::{Status, StatusDetails, reason};

use super::query::{Query, QueryBuilder};
use super::{forward, node, pod};
use crate::{Body, RequestInfo, Response, Server, body};

/// How much of a kubelet's error is shown.
const ERROR_BYTES_MAX: usize = 50_000;

pub async fn serve(server: &Server, info: &RequestInfo, request: http::Request<Body>) -> Result<Response, Status> {
    let query = Query::new(request.uri());
    let options = Options::parse(&query, &info.name)?;
    let pod = pod::get(&server.registry, &info.namespace, &info.name)?;
    let container = pod::container(&pod, query.text("container"))?;
    let node_name = pod::node(&pod);
    if node_name.is_empty() {
        // Not scheduled yet: there is nothing, and that is no error.
        let mut response = Response::new(body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        return Ok(response);
    }
    let path = format!("/containerLogs/{}/{}/{container}", info.namespace, info.name);
    let target = node::kubelet(server, node_name, options.query().onto(path))?;
    let mut ask = http::Request::new(body::empty());
    *ask.method_mut() = Method::GET;
    let answer = forward::send(&server.backends, &target, ask).await.map_err(|error| {
        let url = format!("https://{}:{}{}", target.host, target.port, target.path);
        Status::unexpected(format!("Get {}: {error}", machinery::go_text::quote(&url)))
    })?;
    let code = answer.status();
    if !code.is_success() {
        return Err(kubelet_error(&info.name, code, answer).await);
    }
    let mut response = Response::new(answer.into_body());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(response)
}

struct Options {
    follow: bool,
    previous: bool,
    timestamps: bool,
    since_seconds: Option<i64>,
    since_time: Option<String>,
    tail_lines: Option<i64>,
    limit_bytes: Option<i64>,
}

impl Options {
    fn parse(query: &Query, pod: &str) -> Result<Self, Status> {
        let since_time = Some(query.text("sinceTime")).filter(|time| !time.is_empty()).map(str::to_owned);
        if let Some(time) = &since_time
            && time.parse::<jiff::Timestamp>().is_err()
        {
            let time = machinery::go_text::quote(time);
            return Err(Status::bad_request(format!(
                "parsing time {time} as \"2006-01-02T15:04:05Z07:00\": cannot parse {time} as \"2006\""
            )));
        }
        let options = Self {
            follow: query.flag("follow"),
            previous: query.flag("previous"),
            timestamps: query.flag("timestamps"),
            since_seconds: query.number("sinceSeconds")?,
            since_time,
            tail_lines: query.number("tailLines")?,
            limit_bytes: query.number("limitBytes")?,
        };
        let errors = options.validate();
        if errors.is_empty() {
            Ok(options)
        } else {
            Err(Status::invalid(&GroupKind::new("", "PodLogOptions"), pod, errors))
        }
    }

    fn validate(&self) -> ErrorList {
        let mut errors = ErrorList::new();
        if let Some(lines) = self.tail_lines.filter(|lines| *lines < 0) {
            errors.push(Error::invalid(&Path::new("tailLines"), lines, "must be greater than or equal to 0"));
        }
        if let Some(bytes) = self.limit_bytes.filter(|bytes| *bytes < 1) {
            errors.push(Error::invalid(&Path::new("limitBytes"), bytes, "must be greater than 0"));
        }
        match self.since_seconds {
            Some(_) if self.since_time.is_some() => {
                let detail = "at most one of `sinceTime` or `sinceSeconds` may be specified";
                errors.push(Error::forbidden(&Path::new(""), detail));
            }
            Some(seconds) if seconds < 1 => {
                errors.push(Error::invalid(&Path::new("sinceSeconds"), seconds, "must be greater than 0"));
            }
            _ => {}
        }
        errors
    }

    fn query(&self) -> QueryBuilder {
        let mut query = QueryBuilder::default();
        for (key, set) in [("follow", self.follow), ("previous", self.previous), ("timestamps", self.timestamps)] {
            if set {
                query.add(key, "true");
            }
        }
        let numbers =
            [("sinceSeconds", self.since_seconds), ("tailLines", self.tail_lines), ("limitBytes", self.limit_bytes)];
        for (key, number) in numbers {
            if let Some(number) = number {
                query.add(key, &number.to_string());
            }
        }
        if let Some(time) = &self.since_time {
            query.add("sinceTime", time);
        }
        query
    }
}

/// A kubelet's refusal as the API says it.
async fn kubelet_error(pod: &str, code: StatusCode, answer: Response) -> Status {
    let text = match body::read_at_most(answer.into_body(), ERROR_BYTES_MAX).await {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => return Status::internal(error),
    };
    match code {
        StatusCode::INTERNAL_SERVER_ERROR => Status::internal(text),
        StatusCode::BAD_REQUEST => Status::bad_request(text),
        _ => {
            let (why, message) = match code {
                StatusCode::NOT_FOUND => (reason::NOT_FOUND, "the server could not find the requested resource"),
                StatusCode::UNAUTHORIZED => {
                    (reason::UNAUTHORIZED, "the server has asked for the client to provide credentials")
                }
                StatusCode::FORBIDDEN => (reason::FORBIDDEN, text.as_str()),
                _ => ("", "an error on the server has prevented the request from succeeding"),
            };
            let details = StatusDetails { name: pod.into(), kind: "pods/log".into(), ..StatusDetails::default() };
            Status::failure(code.as_u16(), why, format!("{message} ( pods/log {pod})")).with_details(details)
        }
    }
}
