//! As much of S3 as backups need, on a loopback address, for tests: one bucket in path style, multipart uploads, lists.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::destination::Settings;

const KEY_ID: &str = "key-of-the-test";
const BUCKET: &str = "/bucket/";
pub const ALLOW_HTTP: &str = "AWS_ALLOW_HTTP=true";

/// What the server has and did.
#[derive(Default)]
pub struct State {
    pub objects: BTreeMap<String, Bytes>,
    /// Parts of uploads that were not completed, by upload.
    pub uploads: BTreeMap<String, BTreeMap<u32, Bytes>>,
    /// Method and path of each request.
    pub requests: Vec<String>,
    /// Parts with at least this number are refused, as are all requests when it is 0.
    pub refused_from: Option<u32>,
    count: usize,
}

pub struct S3Server {
    pub state: Arc<Mutex<State>>,
    address: std::net::SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl S3Server {
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let (address, state) = (listener.local_addr().unwrap(), Arc::<Mutex<State>>::default());
        let served = state.clone();
        let task = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let state = served.clone();
                let service = service_fn(move |request| answer(state.clone(), request));
                let serving = hyper::server::conn::http1::Builder::new();
                tokio::spawn(serving.serve_connection(TokioIo::new(connection), service));
            }
        });
        Self { state, address, task }
    }

    /// What clients need, as a file of credentials has it.
    pub fn lines(&self) -> String {
        let address = self.address;
        format!(
            "AWS_ACCESS_KEY_ID={KEY_ID}\nAWS_SECRET_ACCESS_KEY=secret-of-the-test\nAWS_REGION=nowhere\n\
             AWS_ENDPOINT_URL=http://{address}\n{ALLOW_HTTP}\n"
        )
    }

    pub fn settings(&self) -> Settings {
        Settings::of(&self.lines())
    }

    pub fn names(&self) -> Vec<String> {
        self.state.lock().unwrap().objects.keys().cloned().collect()
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Answer = Result<Response<Full<Bytes>>, Infallible>;

async fn answer(state: Arc<Mutex<State>>, request: Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let query: BTreeMap<String, String> =
        url::form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let mut state = state.lock().unwrap();
    state.requests.push(format!("{} {}", head.method, head.uri));
    let signed = head.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !signed.starts_with(&format!("AWS4-HMAC-SHA256 Credential={KEY_ID}/")) {
        return plain(StatusCode::FORBIDDEN, "<Error><Code>AccessDenied</Code></Error>");
    }
    let part: u32 = query.get("partNumber").map_or(0, |number| number.parse().unwrap());
    if state.refused_from.is_some_and(|from| from == 0 || part >= from) {
        return plain(StatusCode::FORBIDDEN, "<Error><Code>AccessDenied</Code></Error>");
    }
    let upload = query.get("uploadId").cloned();
    let Some(key) = head.uri.path().strip_prefix(BUCKET).map(str::to_owned) else {
        assert_eq!(query.get("list-type").map(String::as_str), Some("2"), "{}", head.uri);
        return plain(StatusCode::OK, &list(&state, &query["prefix"]));
    };
    match (head.method, upload) {
        (Method::POST, None) if query.contains_key("uploads") => {
            state.count += 1;
            let id = format!("upload-{}", state.count);
            state.uploads.insert(id.clone(), BTreeMap::new());
            let text =
                format!("<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>");
            plain(StatusCode::OK, &text)
        }
        (Method::PUT, Some(id)) => {
            state.uploads.get_mut(&id).unwrap().insert(part, body);
            plain(StatusCode::OK, "")
        }
        (Method::POST, Some(id)) => {
            let parts = state.uploads.remove(&id).unwrap();
            let whole: Vec<u8> = parts.into_values().flatten().collect();
            state.objects.insert(key, whole.into());
            let text = "<CompleteMultipartUploadResult><ETag>\"e\"</ETag></CompleteMultipartUploadResult>";
            plain(StatusCode::OK, text)
        }
        (Method::DELETE, Some(id)) => {
            state.uploads.remove(&id);
            plain(StatusCode::NO_CONTENT, "")
        }
        (Method::DELETE, None) => {
            state.objects.remove(&key);
            plain(StatusCode::NO_CONTENT, "")
        }
        (method, _) => match state.objects.get(&key).cloned() {
            Some(bytes) => {
                let builder = Response::builder().header(header::ETAG, "\"e\"");
                let builder = builder.header(header::LAST_MODIFIED, "Thu, 01 Jan 2026 00:00:00 GMT");
                let builder = builder.header(header::CONTENT_LENGTH, bytes.len());
                Ok(builder.body(if method == Method::HEAD { Full::default() } else { bytes.into() }).unwrap())
            }
            None => plain(StatusCode::NOT_FOUND, "<Error><Code>NoSuchKey</Code></Error>"),
        },
    }
}

/// What is right below a prefix.
fn list(state: &State, prefix: &str) -> String {
    let below = |key: &&String| key.strip_prefix(prefix).is_some_and(|name| !name.contains('/'));
    let entry = |key: &String| {
        let size = state.objects[key].len();
        format!(
            "<Contents><Key>{key}</Key><Size>{size}</Size><LastModified>2026-01-01T00:00:00Z</LastModified></Contents>"
        )
    };
    let entries: String = state.objects.keys().filter(below).map(entry).collect();
    format!("<ListBucketResult>{entries}</ListBucketResult>")
}

fn plain(status: StatusCode, text: &str) -> Answer {
    let builder = Response::builder().status(status).header(header::ETAG, "\"e\"");
    Ok(builder.body(Full::from(text.to_owned())).unwrap())
}
