//! `/debug/pprof/`: what can be told of the running process in the form that `go tool pprof` reads. Who may read it is RBAC's
//! to say: by default nobody but administrators. Switched off by `--profiling=false`.
//!
//! There is no runtime here that knows stacks, so a profile tells which threads used the processor, as the kernel counted.

pub mod flags;
mod pprof;
mod threads;

use std::time::Duration;

use http::{HeaderValue, StatusCode, header};

use crate::request_info::query_value;
use crate::{Response, Server, body};
use pprof::Profile;
use threads::Thread;

const ROOT: &str = "/debug/pprof";
/// How long is watched unless the request says something else.
const SECONDS: u64 = 30;

/// Answers the paths below the root; `None` for others, and where profiling is off.
pub async fn serve(server: &Server, path: &str, query: &str) -> Option<Response> {
    let name = path.strip_prefix(ROOT).filter(|_| server.config.profiling)?;
    let as_text = query_value(query, "debug").is_some_and(|debug| debug != "0" && !debug.is_empty());
    Some(match name {
        "" => redirect(),
        "/" => index(),
        "/cmdline" => body::text(StatusCode::OK, std::env::args().collect::<Vec<_>>().join("\0")),
        "/threadcreate" if as_text => body::text(StatusCode::OK, text_of(&threads::read())),
        "/threadcreate" => answer("threadcreate", &Profile::of_threads(&threads::read())),
        "/profile" => {
            let seconds = query_value(query, "seconds").and_then(|text| text.parse::<f64>().ok());
            let seconds = seconds.filter(|seconds| *seconds > 0.0 && seconds.is_finite());
            // Beyond the time that a request has, nothing would be answered anyway.
            let longest = server.config.request_timeout;
            let wanted = seconds.map_or(Duration::from_secs(SECONDS), |seconds| {
                Duration::try_from_secs_f64(seconds).unwrap_or(longest)
            });
            answer("profile", &measure(wanted).await)
        }
        _ => body::text(StatusCode::NOT_FOUND, "Unknown profile\n"),
    })
}

async fn measure(time: Duration) -> Profile {
    let (began, before) = (jiff::Timestamp::now(), threads::read());
    tokio::time::sleep(time).await;
    Profile::of_use(&before, &threads::read(), began, time)
}

fn answer(name: &str, profile: &Profile) -> Response {
    let mut response = Response::new(body::full(profile.compressed()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(disposition) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        headers.insert(header::CONTENT_DISPOSITION, disposition);
    }
    response
}

fn redirect() -> Response {
    let mut response = body::text(StatusCode::FOUND, "");
    response.headers_mut().insert(header::LOCATION, HeaderValue::from_static("/debug/pprof/"));
    response
}

fn index() -> Response {
    let threads = threads::read().len();
    let text = format!(
        "<html>\n<head><title>/debug/pprof/</title></head>\n<body>\n/debug/pprof/\n<p>Profiles of this process:</p>\n<ul>\n\
         <li><a href=\"cmdline\">cmdline</a>: the command line, its words parted by zero bytes</li>\n\
         <li><a href=\"profile?seconds=30\">profile</a>: which threads use the processor, for so many seconds</li>\n\
         <li><a href=\"threadcreate?debug=1\">threadcreate</a>: {threads} threads by name</li>\n\
         </ul>\n</body>\n</html>\n"
    );
    let mut response = body::text(StatusCode::OK, text);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response
}

/// `threadcreate profile: total 3`, then the threads of each name.
fn text_of(threads: &[Thread]) -> String {
    let mut text = format!("threadcreate profile: total {}\n", threads.len());
    for (name, count) in threads::by_name(threads.iter().map(|thread| (thread.name.as_str(), 1))) {
        text.push_str(&format!("{count} @ {name}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use bytes::Bytes;
    use http_body_util::{BodyExt as _, Full};
    use prost::Message as _;
    use tower::Service as _;

    use super::*;
    use crate::UserInfo;
    use crate::testing::{admin, call, server_with};

    async fn bytes(server: &std::sync::Arc<Server>, path: &str) -> (u16, String, Vec<u8>) {
        let request = http::Request::builder().uri(path).body(Full::new(Bytes::new())).unwrap();
        let response = server.in_process(admin()).call(request).await.unwrap();
        let kind = response.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned();
        let code = response.status().as_u16();
        (code, kind, response.into_body().collect().await.unwrap().to_bytes().to_vec())
    }

    fn profile(compressed: &[u8]) -> pprof::Message {
        let mut text = Vec::new();
        flate2::read::GzDecoder::new(compressed).read_to_end(&mut text).unwrap();
        pprof::Message::decode(&text[..]).unwrap()
    }

    #[tokio::test]
    async fn administrators_see_what_the_process_does_and_nobody_else() {
        let (server, _pki) = server_with(|_| {}).await;
        let monitor = UserInfo::new("m", ["system:monitoring", "system:authenticated"]);
        for path in ["/debug/pprof/", "/debug/pprof/profile", "/debug/pprof/cmdline"] {
            assert_eq!(call(&server, monitor.clone(), "GET", path, "").await.0, 403, "{path}");
        }
        let (code, kind, index) = bytes(&server, "/debug/pprof/").await;
        assert_eq!((code, kind.as_str()), (200, "text/html; charset=utf-8"));
        assert!(String::from_utf8(index).unwrap().contains("href=\"profile"));
        let (_, kind, words) = bytes(&server, "/debug/pprof/cmdline").await;
        let words = String::from_utf8(words).unwrap();
        assert_eq!(
            (kind.as_str(), words.split('\0').next()),
            ("text/plain; charset=utf-8", std::env::args().next().as_deref())
        );
        assert_eq!(call(&server, admin(), "GET", "/debug/pprof", "").await.0, 302);
        let (code, answer) = call(&server, admin(), "GET", "/debug/pprof/heap", "").await;
        assert_eq!((code, answer.as_str()), (404, Some("Unknown profile\n")));
        let (_, answer) = call(&server, admin(), "GET", "/debug/pprof/threadcreate?debug=1", "").await;
        assert!(answer.as_str().unwrap().starts_with("threadcreate profile: total "), "{answer}");
    }

    #[tokio::test]
    async fn a_profile_names_the_threads_that_worked() {
        let (server, _pki) = server_with(|_| {}).await;
        let end = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let ends = end.clone();
        let work = move || {
            while !ends.load(std::sync::atomic::Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        };
        let busy = std::thread::Builder::new().name("busy-worker".to_owned()).spawn(work).unwrap();
        let (code, kind, compressed) = bytes(&server, "/debug/pprof/profile?seconds=0.3").await;
        end.store(true, std::sync::atomic::Ordering::Relaxed);
        busy.join().unwrap();
        assert_eq!((code, kind.as_str()), (200, "application/octet-stream"));
        let profile = profile(&compressed);
        let text = |at: i64| profile.string_table[usize::try_from(at).unwrap()].as_str();
        assert_eq!((text(profile.sample_type[1].r#type), text(profile.sample_type[1].unit)), ("cpu", "nanoseconds"));
        assert_eq!(profile.duration_nanos, 300_000_000);
        let name_of = |sample: &pprof::Sample| {
            let location = profile.location.iter().find(|own| own.id == sample.location_id[0]).unwrap();
            let function = profile.function.iter().find(|own| own.id == location.line[0].function_id).unwrap();
            text(function.name)
        };
        let busy = profile.sample.iter().find(|sample| name_of(sample) == "busy-worker").unwrap();
        assert!(busy.value[1] > 0, "{busy:?}");
    }

    #[tokio::test]
    async fn profiling_can_be_switched_off() {
        let (server, _pki) = server_with(|config| config.profiling = false).await;
        assert_eq!(call(&server, admin(), "GET", "/debug/pprof/", "").await.0, 404);
    }
}
