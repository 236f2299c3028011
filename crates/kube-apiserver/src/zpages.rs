//! `/statusz` and `/flagz` of this server. Who may read them is RBAC's to say: system:monitoring may.

use http::{HeaderMap, HeaderValue, StatusCode, header};
use machinery::zpages::{self, Page, Statusz};

use crate::{Response, Server, body, version};

/// What upstream's server calls itself there.
const COMPONENT: &str = "apiserver";
const PATHS: &[&str] = &["/healthz", "/livez", "/metrics", "/readyz", "/version", zpages::FLAGZ, zpages::STATUSZ];

/// Answers the two paths; `None` for others.
pub fn serve(server: &Server, path: &str, headers: &HeaderMap, now: jiff::Timestamp) -> Option<Response> {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let accept = values.collect::<Vec<_>>().join(",");
    let page = match path {
        zpages::STATUSZ => {
            let version = version::value();
            let statusz = Statusz {
                component: COMPONENT,
                started: server.started,
                go_version: version["goVersion"].as_str().unwrap_or_default(),
                binary_version: version::GIT_VERSION.trim_start_matches('v'),
                emulation_version: &format!("{}.{}", version::MAJOR, version::MINOR),
                paths: PATHS,
            };
            statusz.page(&accept, now)
        }
        zpages::FLAGZ => zpages::flagz(COMPONENT, &server.config.flags, &accept),
        _ => return None,
    };
    Some(match page {
        Ok(page) => answer(page),
        Err(status) => body::status(&status),
    })
}

fn answer(page: Page) -> Response {
    let mut response = body::text(StatusCode::OK, page.body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(page.content_type));
    response
}

#[cfg(test)]
mod tests {
    use crate::UserInfo;
    use crate::testing::{admin, call, server};

    #[tokio::test]
    async fn monitors_read_the_pages_and_others_do_not() {
        let (server, _pki) = server().await;
        let monitor = UserInfo::new("m", ["system:monitoring", "system:authenticated"]);
        let user = UserInfo::new("u", ["system:authenticated"]);
        for path in ["/statusz", "/flagz"] {
            assert_eq!(call(&server, user.clone(), "GET", path, "").await.0, 403, "{path}");
            for reader in [monitor.clone(), admin()] {
                let (code, text) = call(&server, reader, "GET", path, "").await;
                let text = text.as_str().map(str::to_owned).unwrap_or_else(|| text.to_string());
                assert_eq!(code, 200, "{path}: {text}");
                assert!(text.contains("apiserver") && text.contains("not meant to be machine parseable"), "{text}");
            }
        }
    }
}
