//! The other parts of the control plane, and how this server finds out whether they are well.
//!
//! Whoever runs a part in this process says how to look at it; the others are asked at their usual ports on this machine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{BoxFuture, join_all};
use http::Request;
use machinery::go_text::quote;
use parking_lot::Mutex;

use crate::health::Probe;
use crate::outbound::tls::Roots;
use crate::outbound::{self, Destination, Tls};

const SCHEDULER: (&str, u16) = ("scheduler", 10259);
const CONTROLLER_MANAGER: (&str, u16) = ("controller-manager", 10257);
/// The name is upstream's for the store, whatever is behind it.
const STORE: &str = "etcd-0";
const HOST: &str = "127.0.0.1";
const TIMEOUT: Duration = Duration::from_secs(20);
/// An answer is a word or two.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Well with a word about it, or not well and why.
pub type Finding = Result<String, String>;
type Check = Arc<dyn Fn() -> BoxFuture<'static, Finding> + Send + Sync>;

/// All parts by name.
pub struct Components(Mutex<BTreeMap<String, Check>>);

impl Components {
    pub fn new(store: Probe) -> Self {
        let components = Self(Mutex::default());
        for (name, port) in [SCHEDULER, CONTROLLER_MANAGER] {
            components.insert(name, Arc::new(move || ask(port).boxed()));
        }
        components.insert(STORE, Arc::new(move || store().map(|found| found.map(|()| "ok".to_owned())).boxed()));
        components
    }

    /// Looks at a part that runs in this process.
    pub fn look_at(&self, name: &str, check: impl Fn() -> Result<(), String> + Send + Sync + 'static) {
        self.insert(name, Arc::new(move || futures::future::ready(check().map(|()| "ok".to_owned())).boxed()));
    }

    fn insert(&self, name: &str, check: Check) {
        self.0.lock().insert(name.to_owned(), check);
    }

    /// How all are now, ordered by name.
    pub async fn findings(&self) -> Vec<(String, Finding)> {
        let checks = self.0.lock().clone();
        join_all(checks.into_iter().map(|(name, check)| async move {
            let finding = tokio::time::timeout(TIMEOUT, check()).await;
            (name, finding.unwrap_or_else(|_| Err("context deadline exceeded".to_owned())))
        }))
        .await
    }
}

/// Asks a part at its port. What it says is only shown, and it makes its certificate itself: nobody vouches for it.
pub(crate) async fn ask(port: u16) -> Finding {
    let authority = outbound::authority(HOST, port);
    let url = format!("https://{authority}/healthz");
    let to = Destination { host: HOST.to_owned(), port, server_name: HOST.to_owned(), authority };
    let failed = |reason: String| format!("Get {}: {reason}", quote(&url));
    let tls = Tls::new(Roots::Unverified, None).map_err(|error| failed(error.to_string()))?;
    let mut request = Request::new(Bytes::new());
    *request.uri_mut() = http::Uri::from_static("/healthz");
    let answer = outbound::exchange(&tls, &to, request, ANSWER_BYTES_MAX).await;
    let answer = answer.map_err(|error| failed(error.to_string()))?;
    let code = answer.status().as_u16();
    match code {
        200..400 => Ok(String::from_utf8_lossy(answer.body()).into_owned()),
        _ => Err(format!("HTTP probe failed with statuscode: {code}")),
    }
}
