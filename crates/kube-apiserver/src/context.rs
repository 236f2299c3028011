//! What the chain knows about one request by the time it is dispatched.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{RequestInfo, UserInfo, audit};

/// One a request, shared by everything that serves it.
pub struct Context {
    /// The identity the request acts as: the impersonated one, if there is one.
    pub user: Arc<UserInfo>,
    pub info: RequestInfo,
    pub user_agent: String,
    /// Whether it came over a connection, not from a component in this process.
    pub is_remote: bool,
    /// When the request arrived.
    pub received: jiff::Timestamp,
    /// When the answer is due; `None` for watches and streams.
    pub deadline: Option<Instant>,
    pub audit_id: String,
    /// What is recorded of the request; none where the audit policy wants nothing.
    pub record: Option<Arc<audit::Record>>,
    /// Sent as `Warning` headers, once each; the chain adds them to the response when dispatch returns it.
    pub warnings: Mutex<Vec<String>>,
}

impl Context {
    pub fn new(user: Arc<UserInfo>, info: RequestInfo, received: jiff::Timestamp) -> Self {
        Self {
            user,
            info,
            user_agent: String::new(),
            is_remote: false,
            received,
            deadline: None,
            audit_id: String::new(),
            record: None,
            warnings: Mutex::default(),
        }
    }

    /// Notes something in the audit event of the request.
    pub fn annotate(&self, key: &str, value: &str) {
        if let Some(record) = &self.record {
            record.annotate(key, value);
        }
    }

    /// Adds a warning that the client shows to its user.
    pub fn warn(&self, text: impl Into<String>) {
        let text = text.into();
        let mut warnings = self.warnings.lock();
        if !warnings.contains(&text) {
            warnings.push(text);
        }
    }
}
