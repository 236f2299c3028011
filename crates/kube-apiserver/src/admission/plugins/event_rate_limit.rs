//! Events come in at a bounded rate: of all, of a namespace, of a user, or about one object from one source.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use machinery::status::Status;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

use crate::admission::config::{ConfigError, PluginConfigs};
use crate::admission::{Operation, Plugin, Review};
use crate::registry::object;

const NAME: &str = "EventRateLimit";
const CACHE_SIZE: usize = 4096;

pub struct EventRateLimit(Vec<Limiter>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    limits: Vec<Limit>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Limit {
    #[serde(rename = "type")]
    by: By,
    qps: u32,
    burst: u32,
    #[serde(default)]
    cache_size: usize,
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum By {
    Server,
    Namespace,
    User,
    SourceAndObject,
}

struct Limiter {
    limit: Limit,
    buckets: Mutex<Buckets>,
}

/// Tokens by key; the key that was used least lately makes room.
#[derive(Default)]
struct Buckets {
    of: HashMap<String, Bucket>,
    by_use: BTreeMap<u64, String>,
    uses: u64,
}

struct Bucket {
    tokens: f64,
    filled: Instant,
    used: u64,
}

impl EventRateLimit {
    pub fn open(configs: &PluginConfigs) -> Result<Self, ConfigError> {
        let fail = |reason: &str| ConfigError::Plugin(NAME.to_owned(), reason.to_owned());
        let file: Option<File> = configs.of(NAME, &["eventratelimit.admission.k8s.io/v1alpha1"], "Configuration")?;
        let Some(file) = file else { return Ok(Self(Vec::new())) };
        if file.limits.is_empty() {
            return Err(fail("limits: Invalid value: []: must not be empty"));
        }
        for (at, limit) in file.limits.iter().enumerate() {
            for (field, value) in [("burst", limit.burst), ("qps", limit.qps)] {
                if value == 0 {
                    return Err(fail(&format!("limits[{at}].{field}: Invalid value: 0: must be positive")));
                }
            }
        }
        Ok(Self(file.limits.into_iter().map(|limit| Limiter { limit, buckets: Mutex::default() }).collect()))
    }
}

#[async_trait]
impl Plugin for EventRateLimit {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn validate(&self, review: &Review<'_>, object: Option<&Value>) -> Result<(), Status> {
        let about = review.is("", "events") && matches!(review.operation, Operation::Create | Operation::Update);
        let Some(event) = object.filter(|_| about && !review.dry_run) else { return Ok(()) };
        // Each counts, whatever the others say.
        let now = Instant::now();
        let refusals = self.0.iter().filter_map(|limiter| limiter.accept(review, event, now).err());
        refusals.last().map_or(Ok(()), Err)
    }
}

impl Limiter {
    fn accept(&self, review: &Review, event: &Value, now: Instant) -> Result<(), Status> {
        let key = match self.limit.by {
            By::Server => String::new(),
            By::Namespace => review.namespace.to_owned(),
            By::User => review.user.name.clone(),
            By::SourceAndObject => {
                let source = ["component", "host"].map(|field| object::text(event, &format!("/source/{field}")));
                let about = ["kind", "namespace", "name", "uid", "apiVersion"]
                    .map(|field| object::text(event, &format!("/involvedObject/{field}")));
                source.concat() + &about.concat()
            }
        };
        let size = if self.limit.cache_size == 0 { CACHE_SIZE } else { self.limit.cache_size };
        if self.buckets.lock().take(&key, &self.limit, size, now) {
            return Ok(());
        }
        let message = format!("limit reached on type {:?} for key {key}", self.limit.by);
        Err(Status::failure(429, "TooManyRequests", message))
    }
}

impl Buckets {
    fn take(&mut self, key: &str, limit: &Limit, size: usize, now: Instant) -> bool {
        self.uses += 1;
        let burst = f64::from(limit.burst);
        if !self.of.contains_key(key) {
            while self.of.len() >= size {
                let Some((_, oldest)) = self.by_use.pop_first() else { break };
                self.of.remove(&oldest);
            }
        }
        let bucket = self.of.entry(key.to_owned()).or_insert(Bucket { tokens: burst, filled: now, used: 0 });
        self.by_use.remove(&bucket.used);
        bucket.used = self.uses;
        self.by_use.insert(self.uses, key.to_owned());
        let gained = now.saturating_duration_since(bucket.filled).as_secs_f64() * f64::from(limit.qps);
        (bucket.tokens, bucket.filled) = ((bucket.tokens + gained).min(burst), now);
        if bucket.tokens < 1.0 {
            return false;
        }
        bucket.tokens -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn tokens_come_back_with_time_and_old_keys_make_room() {
        let limit = Limit { by: By::User, qps: 1, burst: 2, cache_size: 0 };
        let (mut buckets, start) = (Buckets::default(), Instant::now());
        let mut take = |key: &str, second: u64| buckets.take(key, &limit, 2, start + Duration::from_secs(second));
        assert_eq!([take("a", 0), take("a", 0), take("a", 0), take("b", 0)], [true, true, false, true]);
        assert_eq!([take("a", 1), take("a", 1)], [true, false]);
        // A third key costs the one used least lately its memory.
        assert!(take("c", 1));
        assert_eq!((buckets.of.len(), buckets.of.contains_key("b"), buckets.by_use.len()), (2, false, 2));
    }
}
