//! Leases for keys that expire. Keys of about the same end share one: a lease for each Event would cost etcd more than the
//! Events.
//!
//! Example: with an hour to live and a minute for sharing, the first Event gets a lease of 61 minutes. All Events of the next
//! minute are bound to it: the last of them still has its hour.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::api::LeaseGrantRequest;
use super::client::{CallError, Client, Connection, Repeat};

/// A lease with too many keys holds etcd up when it ends.
const KEYS_MAX: u32 = 1000;

pub(super) struct Leases {
    reuse: Duration,
    /// By seconds to live.
    current: Mutex<HashMap<u64, Shared>>,
}

struct Shared {
    id: i64,
    /// No earlier than this.
    ends: Instant,
    keys: u32,
}

impl Leases {
    pub fn new(reuse: Duration) -> Self {
        Self { reuse, current: Mutex::default() }
    }

    /// The lease for a key that is to live this long, at least.
    pub async fn of(&self, client: &Client, ttl: Duration, deadline: Instant) -> Result<i64, CallError> {
        let seconds = ttl.as_secs().max(1);
        // Whoever comes meanwhile waits: the lease will be theirs too.
        let mut current = self.current.lock().await;
        let now = Instant::now();
        if let Some(shared) = current.get_mut(&seconds)
            && shared.keys < KEYS_MAX
            && shared.ends >= now + Duration::from_secs(seconds)
        {
            shared.keys += 1;
            return Ok(shared.id);
        }
        // No key lives a twentieth longer than it was to.
        let granted = seconds + self.reuse.as_secs().min(seconds / 20);
        let request = LeaseGrantRequest { ttl: granted.try_into().unwrap_or(i64::MAX) };
        let grant = |connection: Connection| async move { connection.lease().lease_grant(request).await };
        // A lease that nobody got to know ends by itself.
        let lease = client.call(Repeat::Read, deadline, grant).await?;
        current.retain(|_, shared| shared.ends > now);
        current.insert(seconds, Shared { id: lease.id, ends: now + Duration::from_secs(granted), keys: 1 });
        Ok(lease.id)
    }

    /// etcd no longer knows a lease.
    pub async fn forget(&self, id: i64) {
        self.current.lock().await.retain(|_, shared| shared.id != id);
    }
}
