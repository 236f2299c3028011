//! Keys and values as etcd has them, and as the store serves them.

use std::sync::Arc;

use bytes::Bytes;

use super::EtcdOptions;
use super::api::KeyValue;
use crate::entry::Meta;
use crate::journal::Transformer;
use crate::{Entry, NewValue, Revision, WriteError};

/// Changes between the values that the store serves (with their revision in them) and those that others expect in etcd.
pub trait Form: Send + Sync {
    /// What etcd keeps of a value, which carries no revision yet.
    fn keep(&self, key: &str, value: &NewValue) -> Result<Vec<u8>, String>;
    /// The value that was kept, and where its revision goes.
    fn serve(&self, key: &str, kept: &[u8]) -> Result<NewValue, String>;
}

/// All that is done to keys and values on their way.
pub(crate) struct Values {
    root: Box<str>,
    prefix: Box<str>,
    form: Arc<dyn Form>,
    transformer: Option<Arc<dyn Transformer>>,
}

/// A value that cannot be read at present: its key service is away.
#[derive(Debug)]
pub(crate) struct Sealed(pub String);

impl Values {
    pub fn new(etcd: &EtcdOptions, transformer: Option<Arc<dyn Transformer>>) -> Self {
        let closed = |path: &str| format!("{}/", path.trim_end_matches('/')).into();
        Self { root: closed(&etcd.root), prefix: closed(&etcd.prefix), form: etcd.form.clone(), transformer }
    }

    /// The first and the first beyond the last of etcd's keys.
    pub fn range(&self) -> (Bytes, Bytes) {
        let mut end = self.prefix.as_bytes().to_vec();
        // The prefix ends in a slash.
        end.pop();
        end.push(b'/' + 1);
        (self.prefix.as_bytes().to_vec().into(), end.into())
    }

    /// The same of what lies below a prefix of the store's.
    pub fn range_of(&self, prefix: &str) -> (Bytes, Bytes) {
        let Some(key) = self.kept_key(prefix) else { return self.range() };
        let mut end = key.to_vec();
        // No text ends in a byte that cannot be followed.
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        (key, end.into())
    }

    /// etcd's key of one of the store's. `None` for a key outside of the root.
    pub fn kept_key(&self, key: &str) -> Option<Bytes> {
        let rest = key.strip_prefix(&*self.root)?;
        Some([self.prefix.as_bytes(), rest.as_bytes()].concat().into())
    }

    /// The store's key of one of etcd's. `None` for keys of others.
    pub fn key(&self, kept: &[u8]) -> Option<Arc<str>> {
        let rest = kept.strip_prefix(self.prefix.as_bytes())?;
        let rest = std::str::from_utf8(rest).ok()?;
        Some([&*self.root, rest].concat().into())
    }

    pub fn seal<A>(&self, key: &str, value: &NewValue) -> Result<Bytes, WriteError<A>> {
        let unsealed = |reason: String| WriteError::Unsealed(reason.into());
        let kept = self.form.keep(key, value).map_err(unsealed)?;
        match &self.transformer {
            None => Ok(kept.into()),
            Some(transformer) => {
                let sealed = transformer.seal(key, &kept).map_err(unsealed)?;
                Ok(sealed.into_owned().into())
            }
        }
    }

    /// The entry of what etcd has. What no one can read stays as it is, marked, so that it is neither lost nor served.
    pub fn open<A>(&self, key: Arc<str>, kv: &KeyValue) -> Result<Arc<Entry<A>>, Sealed> {
        let opened = match &self.transformer {
            None => None,
            Some(transformer) => {
                let opened = transformer.open(&key, &kv.value);
                Some(opened.map_err(|reason| Sealed(format!("failed to open the value of {key}: {reason}")))?.value)
            }
        };
        let kept = opened.as_deref().unwrap_or(&kv.value);
        let (value, meta) = match self.form.serve(&key, kept) {
            Ok(value) => {
                let (value, revision_at) = value.splice(kv.mod_revision);
                (value, Meta { revision_at, ..Meta::default() })
            }
            Err(reason) => {
                tracing::warn!(%key, reason, "a value in etcd cannot be read");
                (Bytes::copy_from_slice(kept), Meta { malformed: true, ..Meta::default() })
            }
        };
        Ok(Entry::new(key, kv.create_revision, kv.mod_revision, value, meta))
    }
}

/// An entry as its own writer knows it.
pub(super) fn written<A>(key: &str, create_revision: Revision, revision: Revision, value: NewValue) -> Arc<Entry<A>> {
    let (value, revision_at) = value.splice(revision);
    let meta = Meta { revision_at, ..Meta::default() };
    Entry::new(key.into(), create_revision, revision, value, meta)
}
