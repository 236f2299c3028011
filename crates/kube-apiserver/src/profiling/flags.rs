//! `/debug/flags/v`: how much is logged, set with a PUT while the server runs. There where profiling is on and the program has
//! said how its log is set ([`offer`]).

use std::sync::OnceLock;

use http::{HeaderValue, Method, StatusCode, header};

use crate::{Body, Response, Server, body};

const ROOT: &str = "/debug/flags";
const NAME: &str = "klog.logging.verbosity";
/// More is no number.
const BODY_BYTES_MAX: usize = 64;

type SetVerbosity = Box<dyn Fn(i32) + Send + Sync>;

/// A process has one log.
static SET_VERBOSITY: OnceLock<SetVerbosity> = OnceLock::new();

/// Says how the log of this process is set to a verbosity of klog's: 0 tells the least. The first one who says it is heard.
pub fn offer(set: impl Fn(i32) + Send + Sync + 'static) {
    let _ = SET_VERBOSITY.set(Box::new(set));
}

/// Whether this is for [`serve`].
pub fn is_path(path: &str) -> bool {
    path.strip_prefix(ROOT).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Answers the paths below the root; the request comes back where there is nothing to be set.
pub async fn serve(server: &Server, path: &str, request: http::Request<Body>) -> Result<Response, http::Request<Body>> {
    let Some(set) = SET_VERBOSITY.get().filter(|_| server.config.profiling) else { return Err(request) };
    if path != "/debug/flags/v" {
        return Ok(index());
    }
    if *request.method() != Method::PUT {
        return Ok(body::text(StatusCode::NOT_ACCEPTABLE, "unsupported http method"));
    }
    let bytes = match body::read_at_most(request.into_body(), BODY_BYTES_MAX).await {
        Ok(bytes) => bytes,
        Err(error) => return Ok(body::text(StatusCode::BAD_REQUEST, format!("error reading request body: {error}"))),
    };
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let Ok(verbosity) = text.parse::<i32>() else {
        let quoted = machinery::go_text::quote(&text);
        let reason = format!("strconv.ParseInt: parsing {quoted}: invalid syntax");
        return Ok(body::text(StatusCode::BAD_REQUEST, format!("failed set {NAME} {text}: {reason}")));
    };
    set(verbosity);
    tracing::info!(verbosity, "the log tells more or less from now on");
    Ok(body::text(StatusCode::OK, format!("successfully set {NAME} to {verbosity}")))
}

fn index() -> Response {
    let text = "<html>\n<head><title>/debug/flags/</title></head>\n<body>\n/debug/flags/<br>\n<p>Flags that a PUT sets:</p>\n\
                <ul>\n<li>v</li>\n</ul>\n</body>\n</html>\n";
    let mut response = body::text(StatusCode::OK, text);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI32, Ordering};

    use super::*;
    use crate::UserInfo;
    use crate::testing::{admin, call, server_with};

    static VERBOSITY: AtomicI32 = AtomicI32::new(-1);

    #[tokio::test]
    async fn administrators_set_how_much_is_logged() {
        offer(|verbosity| VERBOSITY.store(verbosity, Ordering::Relaxed));
        let (server, _pki) = server_with(|_| {}).await;
        let user = UserInfo::new("m", ["system:monitoring", "system:authenticated"]);
        assert_eq!(call(&server, user, "PUT", "/debug/flags/v", "4").await.0, 403);
        let put = async |text: &str| call(&server, admin(), "PUT", "/debug/flags/v", text).await;
        assert_eq!(put("4").await, (200, "successfully set klog.logging.verbosity to 4".into()));
        assert_eq!(VERBOSITY.load(Ordering::Relaxed), 4);
        let reason = "failed set klog.logging.verbosity x: strconv.ParseInt: parsing \"x\": invalid syntax";
        assert_eq!(put("x").await, (400, reason.into()));
        assert_eq!(put(&"4".repeat(10_000)).await.0, 400);
        assert_eq!(call(&server, admin(), "GET", "/debug/flags/v", "").await, (406, "unsupported http method".into()));
        assert_eq!(call(&server, admin(), "GET", "/debug/flags", "").await.0, 200);
        assert_eq!(call(&server, admin(), "GET", "/debug/flagship", "").await.0, 404);
        assert_eq!(VERBOSITY.load(Ordering::Relaxed), 4);

        let (server, _pki) = server_with(|config| config.profiling = false).await;
        assert_eq!(call(&server, admin(), "PUT", "/debug/flags/v", "4").await.0, 404);
    }
}
