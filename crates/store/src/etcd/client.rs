//! Calls to etcd by way of the one connection that the feed keeps.
//!
//! The feed connects, verifies, follows and, when anything is wrong, goes on to the next member; calls take the connection
//! there is, wait when there is none, and tell the feed about one that has become useless. So everything moves on together.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use super::api::kv_client::KvClient;
use super::api::lease_client::LeaseClient;
use super::api::maintenance_client::MaintenanceClient;
use super::api::watch_client::WatchClient;
use crate::Revision;
use crate::error::chain;

/// The time of a call as a whole. etcd itself gives up on a proposal after seven seconds.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// A read that takes longer is tried at another member: this one may have lost its leader without knowing. A write that takes
/// longer cannot be, but those that come after it are.
pub(super) const READ_TIMEOUT: Duration = Duration::from_secs(3);
const RETRY_AFTER: Duration = Duration::from_millis(50);
/// Answers of a range or a watch.
const MESSAGE_BYTES_MAX: usize = 512 << 20;

type Checked = InterceptedService<Channel, fn(Request<()>) -> Result<Request<()>, Status>>;

/// A connection to a member.
#[derive(Clone)]
pub(super) struct Connection {
    serial: u64,
    channel: Channel,
}

/// Whether a call may be made again when nobody knows what became of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    Read,
    Once,
}

/// Why a call failed, in etcd's words where it has any.
#[derive(Clone, Debug)]
pub(super) struct CallError {
    pub code: Code,
    pub message: Arc<str>,
}

impl CallError {
    pub fn timed_out() -> Self {
        Self { code: Code::Unavailable, message: "etcdserver: request timed out".into() }
    }

    fn broken() -> Self {
        let message = "rpc error: code = Unavailable desc = error reading from server: EOF";
        Self { code: Code::Unavailable, message: message.into() }
    }
}

impl Connection {
    pub fn new(serial: u64, channel: Channel) -> Self {
        Self { serial, channel }
    }

    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// A member without a leader is to say so at once.
    fn checked(&self) -> Checked {
        let require = |mut request: Request<()>| {
            request.metadata_mut().insert("hasleader", tonic::metadata::MetadataValue::from_static("true"));
            Ok(request)
        };
        InterceptedService::new(self.channel.clone(), require)
    }

    pub fn kv(&self) -> KvClient<Checked> {
        KvClient::new(self.checked())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub fn lease(&self) -> LeaseClient<Checked> {
        LeaseClient::new(self.checked())
    }

    pub fn watch(&self) -> WatchClient<Checked> {
        WatchClient::new(self.checked()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub fn maintenance(&self) -> MaintenanceClient<Channel> {
        MaintenanceClient::new(self.channel.clone())
    }
}

pub(super) struct Client {
    current: watch::Sender<Option<Connection>>,
    /// Serials of connections that failed a call.
    failed: mpsc::Sender<u64>,
    /// The revision that somebody waits for.
    wanted: watch::Sender<Revision>,
    failure: Mutex<Option<Arc<str>>>,
}

impl Client {
    pub fn new() -> (Self, mpsc::Receiver<u64>) {
        let (failed, failures) = mpsc::channel(16);
        let (current, wanted) = (watch::Sender::new(None), watch::Sender::new(0));
        (Self { current, failed, wanted, failure: Mutex::default() }, failures)
    }

    /// The connection that calls use from now on.
    pub fn set(&self, connection: Option<Connection>) {
        self.current.send_replace(connection);
    }

    pub fn set_failure(&self, reason: &str) {
        *self.failure.lock() = Some(reason.into());
    }

    /// Why there was no connection the last time that there was none.
    pub fn last_failure(&self) -> Option<Arc<str>> {
        self.failure.lock().clone()
    }

    /// Makes the feed ask how far etcd is until it has come to this revision.
    pub fn want(&self, revision: Revision) {
        self.wanted.send_if_modified(|wanted| {
            let is_more = revision > *wanted;
            *wanted = revision.max(*wanted);
            is_more
        });
    }

    /// Forgets what was waited for: etcd counts anew.
    pub fn want_nothing(&self) {
        self.wanted.send_replace(0);
    }

    pub fn wanted(&self) -> watch::Receiver<Revision> {
        self.wanted.subscribe()
    }

    /// Makes a call; again where that is harmless, until the deadline.
    pub async fn call<T, F>(
        &self,
        repeat: Repeat,
        deadline: Instant,
        call: impl Fn(Connection) -> F,
    ) -> Result<T, CallError>
    where
        F: Future<Output = Result<tonic::Response<T>, Status>>,
    {
        let mut current = self.current.subscribe();
        loop {
            let connected = tokio::time::timeout_at(deadline, current.wait_for(Option::is_some)).await;
            let connection = connected.ok().and_then(|connected| connected.ok()?.clone());
            let Some(connection) = connection else { return Err(CallError::timed_out()) };
            let serial = connection.serial;
            let mut answer = pin!(call(connection));
            let mut answered = tokio::time::timeout_at(deadline.min(Instant::now() + READ_TIMEOUT), &mut answer).await;
            if answered.is_err() {
                // A full queue holds reports enough.
                let _ = self.failed.try_send(serial);
                if repeat == Repeat::Once {
                    // Others go on elsewhere; this one may still be answered.
                    answered = tokio::time::timeout_at(deadline, answer).await;
                }
            }
            let status = match answered {
                Ok(Ok(answer)) => return Ok(answer.into_inner()),
                Ok(Err(status)) => status,
                Err(_) => {
                    if repeat == Repeat::Once || Instant::now() >= deadline {
                        return Err(CallError::timed_out());
                    }
                    self.moved_on(&mut current, serial, deadline).await;
                    continue;
                }
            };
            let outcome = Outcome::of(&status);
            if outcome == Outcome::Broken {
                let _ = self.failed.try_send(serial);
            }
            let again = match outcome {
                Outcome::Refused => true,
                Outcome::Broken | Outcome::Unknown => repeat == Repeat::Read,
                Outcome::Answer => false,
            };
            if !again || Instant::now() + RETRY_AFTER >= deadline {
                return Err(match outcome {
                    Outcome::Broken => CallError::broken(),
                    _ => CallError { code: status.code(), message: status.message().into() },
                });
            }
            if outcome == Outcome::Broken {
                self.moved_on(&mut current, serial, deadline).await;
            } else {
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
    }

    /// Waits until the feed has let go of a connection that was reported.
    async fn moved_on(&self, current: &mut watch::Receiver<Option<Connection>>, serial: u64, deadline: Instant) {
        let other = |now: &Option<Connection>| now.as_ref().is_none_or(|now| now.serial != serial);
        let _ = tokio::time::timeout_at(deadline, current.wait_for(other)).await;
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It was not tried.
    Refused,
    /// The connection went, and nobody knows.
    Broken,
    /// etcd does not know.
    Unknown,
    /// It was answered, with an error.
    Answer,
}

impl Outcome {
    fn of(status: &Status) -> Self {
        let own = status.message().starts_with("etcdserver: ");
        match status.message() {
            "etcdserver: no leader" => Self::Refused,
            _ if own && status.code() == Code::Unavailable => Self::Unknown,
            _ if own => Self::Answer,
            _ if matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal) => {
                Self::Broken
            }
            _ => Self::Answer,
        }
    }
}

/// Why a call failed: etcd's words, or what became of the connection.
pub(super) fn reason(status: &Status) -> String {
    match std::error::Error::source(status) {
        Some(source) => chain(source),
        None => status.message().to_owned(),
    }
}
