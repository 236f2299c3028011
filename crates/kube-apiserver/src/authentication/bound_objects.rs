//! The objects that tokens name, looked up when a token is used.

use api::Kind;
use serde::Deserialize;

use crate::registry::Registry;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BoundKind {
    ServiceAccount,
    Pod,
    Secret,
    Node,
}

/// An object as far as a token is concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bound {
    pub uid: String,
    /// When its deletion began, in seconds.
    pub deleted: Option<i64>,
}

impl Bound {
    /// Whether its deletion began longer than the leeway ago.
    pub(super) fn gone_at(&self, seconds: i64, leeway: i64) -> bool {
        self.deleted.is_some_and(|deleted| deleted < seconds.saturating_sub(leeway))
    }
}

pub trait BoundObjects: Send + Sync {
    fn find(&self, kind: BoundKind, namespace: &str, name: &str) -> Option<Bound>;
    /// The token in a Secret of a ServiceAccount.
    fn secret_token(&self, namespace: &str, name: &str) -> Option<Vec<u8>>;
}

/// The objects of the registry. They are not decoded whole: a token is checked with every request.
pub struct RegistryObjects {
    registry: Registry,
    kinds: [Option<&'static Kind>; 4],
}

impl RegistryObjects {
    pub fn new(registry: Registry) -> Self {
        let kind = |plural| api::find("", "v1", plural).map(|(kind, _)| kind);
        Self { registry, kinds: [kind("serviceaccounts"), kind("pods"), kind("secrets"), kind("nodes")] }
    }

    fn bytes(&self, kind: BoundKind, namespace: &str, name: &str) -> Option<bytes::Bytes> {
        let kind = match kind {
            BoundKind::ServiceAccount => self.kinds[0],
            BoundKind::Pod => self.kinds[1],
            BoundKind::Secret => self.kinds[2],
            BoundKind::Node => self.kinds[3],
        };
        let entry = self.registry.entry(kind?, namespace, name).ok()?;
        Some(entry.value.clone())
    }
}

#[derive(Deserialize)]
struct Object {
    metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    uid: String,
    deletion_timestamp: Option<jiff::Timestamp>,
}

#[derive(Deserialize)]
struct SecretData {
    data: Option<Token>,
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
}

impl BoundObjects for RegistryObjects {
    fn find(&self, kind: BoundKind, namespace: &str, name: &str) -> Option<Bound> {
        let object: Object = serde_json::from_slice(&self.bytes(kind, namespace, name)?).ok()?;
        let deleted = object.metadata.deletion_timestamp.map(jiff::Timestamp::as_second);
        Some(Bound { uid: object.metadata.uid, deleted })
    }

    fn secret_token(&self, namespace: &str, name: &str) -> Option<Vec<u8>> {
        use base64::Engine as _;
        let secret: SecretData = serde_json::from_slice(&self.bytes(BoundKind::Secret, namespace, name)?).ok()?;
        base64::engine::general_purpose::STANDARD.decode(secret.data?.token?).ok()
    }
}
