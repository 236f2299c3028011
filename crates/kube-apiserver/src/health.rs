//! `/healthz`, `/livez` and `/readyz`: the named checks, one by one or together, some left out, with or without words.
//!
//! A check is there because something real is behind it: the names are upstream's where upstream has the same check.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, join_all};
use http::StatusCode;
use store::Store;

use crate::registry::Attrs;
use crate::request_info::query_pairs;
use crate::{Response, body};

/// Looks at something; may take its time, within bounds of its own.
pub type Probe = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// Whether the newest state of the store can be told within a time: of a journal that it takes writes, of an etcd that a
/// quorum answers and this server follows.
pub fn store_probe(store: &Store<Attrs>, timeout: Duration) -> Probe {
    let store = store.clone();
    Arc::new(move || {
        let store = store.clone();
        async move {
            if let Some(reason) = store.stats().closed {
                return Err(reason.to_string());
            }
            match tokio::time::timeout(timeout, store.barrier()).await {
                Ok(passed) => passed.map_err(|error| error.to_string()),
                Err(_) => Err("error getting data from etcd: context deadline exceeded".to_owned()),
            }
        }
        .boxed()
    })
}

/// All checks, in the order in which they are listed.
#[derive(Default)]
pub struct Health(Vec<Check>);

struct Check {
    name: &'static str,
    /// Failing makes the server not ready, but not dead: restarting it would not help.
    readiness_only: bool,
    probe: Probe,
}

/// Work that is done once after the start; the check of its name fails until it is.
#[derive(Clone, Debug, Default)]
pub struct Hook(Arc<AtomicBool>);

impl Hook {
    pub fn done(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub fn is_done(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Health {
    pub fn check(&mut self, name: &'static str, probe: impl Fn() -> Result<(), String> + Send + Sync + 'static) {
        self.add(name, false, at_once(probe));
    }

    pub fn add(&mut self, name: &'static str, readiness_only: bool, probe: Probe) {
        self.0.push(Check { name, readiness_only, probe });
    }

    pub fn readiness_check(
        &mut self,
        name: &'static str,
        probe: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) {
        self.add(name, true, at_once(probe));
    }

    pub fn hook(&mut self, name: &'static str) -> Hook {
        let hook = Hook::default();
        let done = hook.clone();
        self.check(name, move || if done.is_done() { Ok(()) } else { Err("not finished".to_owned()) });
        hook
    }

    /// Whether `/readyz` would say yes.
    pub async fn is_ready(&self) -> bool {
        join_all(self.0.iter().map(|check| (check.probe)())).await.iter().all(Result::is_ok)
    }

    /// The answer when `path` is one of the three or a check below them.
    pub async fn serve(&self, path: &str, query: &str) -> Option<Response> {
        let (group, name) = match path.trim_start_matches('/').split_once('/') {
            Some((group, name)) => (group, name),
            None => (path.trim_start_matches('/'), ""),
        };
        let readiness = match group {
            "readyz" => true,
            "healthz" | "livez" => false,
            _ => return None,
        };
        let checks = self.0.iter().filter(|check| readiness || !check.readiness_only);
        if name.is_empty() {
            return Some(all(group, checks, query).await);
        }
        let mut checks = checks;
        Some(match checks.find(|check| check.name == name) {
            None => body::text(StatusCode::NOT_FOUND, "404 page not found\n"),
            Some(check) => match (check.probe)().await {
                Ok(()) => body::text(StatusCode::OK, "ok"),
                Err(error) => {
                    body::text(StatusCode::INTERNAL_SERVER_ERROR, format!("internal server error: {error}\n"))
                }
            },
        })
    }
}

/// A look that takes no time.
fn at_once(probe: impl Fn() -> Result<(), String> + Send + Sync + 'static) -> Probe {
    Arc::new(move || std::future::ready(probe()).boxed())
}

async fn all<'a>(group: &str, checks: impl Iterator<Item = &'a Check>, query: &str) -> Response {
    let mut excluded: Vec<String> =
        query_pairs(query).filter(|(key, _)| key == "exclude").map(|(_, value)| value).collect();
    let verbose = query_pairs(query).any(|(key, _)| key == "verbose");
    let (mut lines, mut failed) = (String::new(), Vec::new());
    let is_excluded = |check: &Check| excluded.iter().any(|other| other == check.name);
    let probed = checks.map(|check| async {
        let found = if is_excluded(check) { Ok(()) } else { (check.probe)().await };
        (check.name, found)
    });
    let probed: Vec<(&str, Result<(), String>)> = join_all(probed).await;
    for (name, found) in probed {
        if excluded.iter().any(|other| other == name) {
            excluded.retain(|other| other != name);
            lines += &format!("[+]{name} excluded: ok\n");
            continue;
        }
        match found {
            Ok(()) => lines += &format!("[+]{name} ok\n"),
            Err(error) => {
                // Whoever may ask is not always whoever may know why.
                lines += &format!("[-]{name} failed: reason withheld\n");
                failed.push(format!("{name}: {error}"));
            }
        }
    }
    if !excluded.is_empty() {
        let names: Vec<String> = excluded.iter().map(|name| machinery::go_text::quote(name)).collect();
        let names = names.join(",");
        lines += &format!("warn: some health checks cannot be excluded: no matches for {names}\n");
    }
    if !failed.is_empty() {
        tracing::debug!(checks = failed.join("; "), "{group} check failed");
        return body::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{lines}{group} check failed\n"));
    }
    if verbose {
        return body::text(StatusCode::OK, format!("{lines}{group} check passed\n"));
    }
    body::text(StatusCode::OK, "ok")
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    async fn get(health: &Health, path: &str, query: &str) -> (u16, String) {
        let response = health.serve(path, query).await.unwrap();
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (code, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn checks_are_told_together_and_one_by_one() {
        let mut health = Health::default();
        health.check("ping", || Ok(()));
        let hook = health.hook("poststarthook/rbac/bootstrap-roles");
        health.readiness_check("shutdown", || Ok(()));
        let failed = "[+]ping ok\n[-]poststarthook/rbac/bootstrap-roles failed: reason withheld\nlivez check failed\n";
        assert_eq!(get(&health, "/livez", "").await, (500, failed.to_owned()));
        assert_eq!(get(&health, "/livez/ping", "").await, (200, "ok".to_owned()));
        assert_eq!(
            get(&health, "/livez/poststarthook/rbac/bootstrap-roles", "").await,
            (500, "internal server error: not finished\n".to_owned())
        );
        assert!(!health.is_ready().await);
        let query = "exclude=poststarthook/rbac/bootstrap-roles&exclude=x&verbose";
        let lines = "[+]ping ok\n[+]poststarthook/rbac/bootstrap-roles excluded: ok\n\
            warn: some health checks cannot be excluded: no matches for \"x\"\nlivez check passed\n";
        assert_eq!(get(&health, "/livez", query).await, (200, lines.to_owned()));
        hook.done();
        assert_eq!(get(&health, "/healthz", "").await, (200, "ok".to_owned()));
        let (code, lines) = get(&health, "/readyz", "verbose").await;
        assert_eq!(
            (code, lines.lines().count(), lines.ends_with("[+]shutdown ok\nreadyz check passed\n")),
            (200, 4, true)
        );
        assert_eq!(get(&health, "/livez/shutdown", "").await.0, 404, "shutting down is not a reason to be restarted");
        assert!(health.serve("/metrics", "").await.is_none());
    }
}
