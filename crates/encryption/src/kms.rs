//! Values under a key management service. The service is asked rarely: for its state once a minute, to encrypt a new seed of
//! data keys when its key has changed, and to decrypt each seed met in the journal once. Values are encrypted here.
//!
//! The service's calls run on a thread of their own with a runtime of its own: the store's threads, which may block, wait for it.

pub(crate) mod client;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use prost::Message;

use crate::config::{ConfigError, Service};
use crate::envelope::{self, EncryptedObject, Seed, SourceType};
use crate::local::random;
use crate::providers::Provider;
use client::{Client, v2::StatusResponse};

/// How often the service is asked how it is; sooner when it is not well.
const STATUS_EVERY: Duration = Duration::from_secs(60);
const STATUS_EVERY_UNHEALTHY: Duration = Duration::from_secs(10);
/// A seed may be used for so long after the service last said that its key is current.
const SEED_LIVES: Duration = Duration::from_secs(180);
/// How long a start waits for a service.
const START_WAIT: Duration = Duration::from_secs(20);
/// Decrypted sources that are remembered. A cluster has one for each key change and server start.
const SOURCES_MAX: usize = 1000;

pub(crate) struct Kms {
    prefix: String,
    shared: Arc<Shared>,
}

struct Shared {
    service: Service,
    state: Mutex<State>,
    changed: Condvar,
    /// How often another seed came into use.
    seeds: AtomicU64,
    client: Client,
}

#[derive(Default)]
struct State {
    current: Option<Current>,
    /// What the last question about the state found.
    fault: Option<String>,
    asked: bool,
    /// Sources in the clear by their encrypted form.
    sources: HashMap<Vec<u8>, Vec<u8>>,
    ended: bool,
}

/// What seals values now.
struct Current {
    seed: Seed,
    /// The envelope without data: key, encrypted seed, annotations.
    envelope: EncryptedObject,
    until: Instant,
}

impl Kms {
    pub fn start(service: Service) -> Result<Self, ConfigError> {
        let prefix = format!("k8s:enc:kms:v2:{}:", service.name);
        let failed =
            |reason: std::io::Error| ConfigError::Service { name: service.name.clone(), reason: reason.to_string() };
        let client = Client::start(&service).map_err(failed)?;
        let shared = Shared {
            client,
            service: service.clone(),
            state: Mutex::default(),
            changed: Condvar::new(),
            seeds: AtomicU64::new(0),
        };
        let shared = Arc::new(shared);
        let watched = shared.clone();
        std::thread::Builder::new().name("kms-status".into()).spawn(move || watched.watch()).map_err(failed)?;
        Ok(Self { prefix, shared })
    }

    /// Waits a bounded time for the first seed.
    pub fn wait(&self) {
        let mut state = self.shared.state.lock();
        let until = Instant::now() + START_WAIT;
        while state.current.is_none() && !self.shared.changed.wait_until(&mut state, until).timed_out() {}
        if state.current.is_none() {
            tracing::warn!(
                provider = self.shared.service.name,
                reason = state.fault.as_deref().unwrap_or("it has not answered"),
                "the key management service is not ready, writes of what it encrypts are refused until it is"
            );
        }
    }

    pub fn healthy(&self) -> Result<(), String> {
        let state = self.shared.state.lock();
        match &state.fault {
            Some(fault) => Err(format!("kms-provider {:?} is not healthy: {fault}", self.shared.service.name)),
            None if !state.asked => Err(format!("kms-provider {:?} has not answered yet", self.shared.service.name)),
            None => Ok(()),
        }
    }
}

impl Drop for Kms {
    fn drop(&mut self) {
        self.shared.state.lock().ended = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    /// Asks for the state until the provider goes.
    fn watch(&self) {
        loop {
            let answer = self.client.status().and_then(|status| self.look(&status));
            let mut state = self.state.lock();
            state.asked = true;
            let pause = if answer.is_ok() { STATUS_EVERY } else { STATUS_EVERY_UNHEALTHY };
            state.fault = answer.err();
            self.changed.notify_all();
            let until = Instant::now() + pause;
            while !state.ended && !self.changed.wait_until(&mut state, until).timed_out() {}
            if state.ended {
                return;
            }
        }
    }

    fn look(&self, status: &StatusResponse) -> Result<(), String> {
        if status.version != "v2" && status.version != "v2beta1" {
            return Err(format!("expected KMSv2 API version v2, got {}", status.version));
        }
        if status.healthz != "ok" {
            return Err(format!("got unexpected healthz status: {}", status.healthz));
        }
        {
            let mut state = self.state.lock();
            if let Some(current) = &mut state.current
                && current.envelope.key_id == status.key_id
            {
                current.until = Instant::now() + SEED_LIVES;
                return Ok(());
            }
        }
        let seed = Seed(random()?);
        let encrypted = self.client.encrypt(&seed.0)?;
        if encrypted.key_id != status.key_id {
            return Err("the service encrypted with another key than its status names".to_owned());
        }
        let envelope = EncryptedObject {
            encrypted_data: Vec::new(),
            key_id: encrypted.key_id,
            encrypted_dek_source: encrypted.ciphertext,
            annotations: encrypted.annotations,
            encrypted_dek_source_type: SourceType::HkdfSha256XnonceAesGcmSeed.into(),
        };
        envelope::check(&envelope)?;
        let mut state = self.state.lock();
        state.remember(&envelope.encrypted_dek_source, &seed.0);
        state.current = Some(Current { seed, envelope, until: Instant::now() + SEED_LIVES });
        self.seeds.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    /// The source of an envelope in the clear, from memory or from the service.
    fn source(&self, object: &EncryptedObject) -> Result<Vec<u8>, String> {
        if let Some(source) = self.state.lock().sources.get(&object.encrypted_dek_source) {
            return Ok(source.clone());
        }
        let source = self.client.decrypt(object)?;
        self.state.lock().remember(&object.encrypted_dek_source, &source);
        Ok(source)
    }
}

impl State {
    fn remember(&mut self, encrypted: &[u8], source: &[u8]) {
        if self.sources.len() >= SOURCES_MAX {
            self.sources.clear();
        }
        self.sources.insert(encrypted.to_vec(), source.to_vec());
    }

    fn current(&self) -> Result<&Current, String> {
        let reason = self.fault.as_deref().unwrap_or("it has not answered");
        match &self.current {
            None => Err(format!("no data encryption key is available: {reason}")),
            Some(current) if current.until < Instant::now() => {
                Err(format!("the data encryption key expired, for the service has not confirmed its key: {reason}"))
            }
            Some(current) => Ok(current),
        }
    }
}

impl Provider for Kms {
    fn prefix(&self) -> &str {
        &self.prefix
    }

    fn ready(&self) -> Result<(), String> {
        self.shared.state.lock().current().map(drop)
    }

    fn seal(&self, key: &str, value: &[u8]) -> Result<Vec<u8>, String> {
        let (seed, envelope) = {
            let state = self.shared.state.lock();
            let current = state.current()?;
            (current.seed.clone(), current.envelope.clone())
        };
        let encrypted_data = seed.seal(key.as_bytes(), value)?;
        Ok(EncryptedObject { encrypted_data, ..envelope }.encode_to_vec())
    }

    fn open(&self, key: &str, sealed: &[u8]) -> Result<(Vec<u8>, bool), String> {
        let object = envelope::decode(sealed)?;
        let value = envelope::open(&object, &self.shared.source(&object)?, key.as_bytes())?;
        let state = self.shared.state.lock();
        // Of an older key, or in an older form. Another seed under the same key is as good.
        let stale = state.current.as_ref().is_some_and(|current| {
            current.envelope.key_id != object.key_id
                || current.envelope.encrypted_dek_source_type != object.encrypted_dek_source_type
        });
        Ok((value, stale))
    }

    fn generation(&self) -> u64 {
        self.shared.seeds.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests;
