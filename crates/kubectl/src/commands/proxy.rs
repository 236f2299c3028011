//! `kubectl proxy`: the API on a local port, with the user's credentials put on.
//!
//! Only local host names are accepted and no exec or attach path, so that a web page in the user's browser cannot reach
//! containers through it.

use std::convert::Infallible;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use clap::{ArgMatches, Command};
use http::{Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use regex::Regex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};

use crate::api::Api;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::{Flags, flag, option};

/// The largest body that is passed on.
const BODY_MAX: usize = 64 << 20;

type Body = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

pub fn command() -> Command {
    Command::new("proxy").about("Serve the API on a local port").args([
        option("port", "Port to listen on; 0 is any").short('p'),
        option("address", "Address to listen on"),
        option("unix-socket", "Unix socket to listen on").short('u'),
        option("www", "Folder of files to serve too").short('w'),
        option("www-prefix", "Path of those files").short('P'),
        option("api-prefix", "Path of the API"),
        option("accept-hosts", "Regular expression of accepted Host headers"),
        option("accept-paths", "Regular expression of accepted paths"),
        option("reject-paths", "Regular expression of rejected paths"),
        option("reject-methods", "Regular expression of rejected methods"),
        flag("disable-filter", "Accept everything"),
        flag("append-server-path", "Add the server's own path"),
        option("keepalive", "Keep-alive period; accepted for compatibility"),
    ])
}

/// What is let through.
struct Filter {
    hosts: Vec<Regex>,
    paths: Vec<Regex>,
    rejected_paths: Vec<Regex>,
    rejected_methods: Vec<Regex>,
    off: bool,
}

impl Filter {
    fn new(matches: &ArgMatches) -> Result<Self> {
        let patterns = |flag: &str, default: &str| -> Result<Vec<Regex>> {
            let text = matches.text(flag).unwrap_or(default);
            text.split(',')
                .filter(|pattern| !pattern.is_empty())
                .map(|pattern| {
                    Regex::new(pattern).map_err(|error| Error::message(format!("invalid pattern in --{flag}: {error}")))
                })
                .collect()
        };
        Ok(Filter {
            hosts: patterns("accept-hosts", r"^localhost$,^127\.0\.0\.1$,^\[::1\]$")?,
            paths: patterns("accept-paths", "^.*")?,
            rejected_paths: patterns("reject-paths", "^/api/.*/pods/.*/exec,^/api/.*/pods/.*/attach")?,
            rejected_methods: patterns("reject-methods", "^$")?,
            off: matches.on("disable-filter"),
        })
    }

    fn accepts(&self, method: &str, path: &str, host: &str) -> bool {
        let any = |patterns: &[Regex], text: &str| patterns.iter().any(|pattern| pattern.is_match(text));
        // A path with dots could mean another one to the server.
        let clean = percent_decoded(path);
        let tidy = !clean.split('/').any(|part| part == "." || part == "..");
        self.off
            || (tidy
                && any(&self.hosts, host_without_port(host))
                && any(&self.paths, &clean)
                && !any(&self.rejected_paths, &clean)
                && !any(&self.rejected_methods, method))
    }
}

fn host_without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

fn percent_decoded(path: &str) -> String {
    let bytes = path.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'%').then(|| path.get(at + 1..at + 3)).flatten();
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

struct Proxy<'c> {
    api: &'c Api,
    filter: Filter,
    api_prefix: String,
    files: Option<(String, PathBuf)>,
}

pub async fn run(context: &Context, matches: &ArgMatches) -> Result<()> {
    let slashed = |text: &str| format!("/{}/", text.trim_matches('/')).replace("//", "/");
    let proxy = Proxy {
        api: context.api().await?,
        filter: Filter::new(matches)?,
        api_prefix: slashed(matches.text("api-prefix").unwrap_or("/")),
        files: matches
            .text("www")
            .filter(|www| !www.is_empty())
            .map(|www| (slashed(matches.text("www-prefix").unwrap_or("/static/")), www.into())),
    };
    if let Some(path) = matches.text("unix-socket").filter(|path| !path.is_empty()) {
        let listener =
            UnixListener::bind(path).map_err(|error| Error::message(format!("listen unix {path}: {error}")))?;
        context.console.line(&format!("Starting to serve on {path}"));
        return serve(proxy, async || listener.accept().await.map(|(stream, _)| stream)).await;
    }
    let port = matches.number("port")?.unwrap_or(8001);
    let port = u16::try_from(port).map_err(|_| Error::message(format!("invalid port {port}")))?;
    let address = matches.text("address").unwrap_or("127.0.0.1");
    let listener = TcpListener::bind((address, port))
        .await
        .map_err(|error| Error::message(format!("listen tcp {address}:{port}: {error}")))?;
    context.console.line(&format!("Starting to serve on {}", listener.local_addr()?));
    serve(proxy, async || listener.accept().await.map(|(stream, _)| stream)).await
}

async fn serve<S>(proxy: Proxy<'_>, mut accept: impl AsyncFnMut() -> std::io::Result<S>) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    use futures::StreamExt;
    let proxy = Arc::new(proxy);
    let mut running = futures::stream::FuturesUnordered::new();
    loop {
        tokio::select! {
            accepted = accept() => {
                let Ok(stream) = accepted else { continue };
                let proxy = proxy.clone();
                running.push(async move {
                    let service = hyper::service::service_fn(|request| answer(proxy.clone(), request));
                    // A browser that goes away is nobody's error.
                    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
            Some(()) = running.next(), if !running.is_empty() => {}
        }
    }
}

async fn answer(proxy: Arc<Proxy<'_>>, request: Request<Incoming>) -> std::result::Result<Response<Body>, Infallible> {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("").to_owned();
    let path = request.uri().path().to_owned();
    if !proxy.filter.accepts(request.method().as_str(), &path, &host) {
        return Ok(plain(StatusCode::FORBIDDEN, "Forbidden"));
    }
    if let Some((prefix, folder)) = &proxy.files
        && let Some(rest) = path.strip_prefix(prefix.as_str())
    {
        return Ok(file(folder, &percent_decoded(rest)).await);
    }
    let Some(rest) = path.strip_prefix(&proxy.api_prefix) else {
        return Ok(plain(StatusCode::NOT_FOUND, "404 page not found\n"));
    };
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let target = format!("/{rest}{query}");
    Ok(pass_on(&proxy, request, &target)
        .await
        .unwrap_or_else(|error| plain(StatusCode::BAD_GATEWAY, &format!("{error}\n"))))
}

async fn pass_on(proxy: &Proxy<'_>, request: Request<Incoming>, target: &str) -> Result<Response<Body>> {
    let (parts, body) = request.into_parts();
    let body =
        Limited::new(body, BODY_MAX).collect().await.map_err(|error| Error::message(error.to_string()))?.to_bytes();
    let mut onward = Request::builder().method(parts.method).uri(target);
    for (name, value) in &parts.headers {
        // Whoever calls has no say in who the user is, nor in this connection's own headers.
        let own = [
            header::HOST,
            header::CONNECTION,
            header::UPGRADE,
            header::TRANSFER_ENCODING,
            header::CONTENT_LENGTH,
            header::AUTHORIZATION,
        ];
        if !own.contains(name) {
            onward = onward.header(name, value);
        }
    }
    let onward = onward.body(kube::client::Body::from(body)).map_err(|error| Error::message(error.to_string()))?;
    let mut answer = proxy.api.send(onward).await?;
    answer.headers_mut().remove(header::CONNECTION);
    answer.headers_mut().remove(header::TRANSFER_ENCODING);
    Ok(answer.map(|body| body.map_err(Into::into).boxed_unsync()))
}

fn plain(status: StatusCode, text: &str) -> Response<Body> {
    let mut answer = Response::new(full(text.as_bytes().to_vec()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

fn full(bytes: Vec<u8>) -> Body {
    Full::new(Bytes::from(bytes)).map_err(|never| match never {}).boxed_unsync()
}

/// A file below the folder, or its index.html.
async fn file(folder: &Path, rest: &str) -> Response<Body> {
    let relative = Path::new(rest);
    if relative.components().any(|part| !matches!(part, Component::Normal(_))) {
        return plain(StatusCode::NOT_FOUND, "404 page not found\n");
    }
    let mut path = folder.join(relative);
    if path.is_dir() {
        path.push("index.html");
    }
    let Ok(bytes) = tokio::fs::read(&path).await else { return plain(StatusCode::NOT_FOUND, "404 page not found\n") };
    let kind = match path.extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json") => "application/json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        _ => "text/plain; charset=utf-8",
    };
    let mut answer = Response::new(full(bytes));
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_is_upstreams() {
        let matches = command().try_get_matches_from(["proxy"]).expect("parses");
        let filter = Filter::new(&matches).expect("is valid");
        assert!(filter.accepts("GET", "/api/v1", "127.0.0.1:8001"));
        assert!(filter.accepts("GET", "/", "[::1]:8001"));
        assert!(!filter.accepts("GET", "/api/v1", "evil.example"));
        assert!(!filter.accepts("POST", "/api/v1/namespaces/n/pods/p/exec", "localhost:1"));
        assert!(!filter.accepts("POST", "/api/v1/namespaces/n/pods/p/%65xec", "localhost:1"));
        assert!(!filter.accepts("GET", "/x/%2e%2e/api/v1", "localhost"));
    }
}
