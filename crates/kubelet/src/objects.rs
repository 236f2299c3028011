//! ConfigMaps, Secrets and tokens of the pods on this node, fetched when needed and remembered for a moment, so that
//! ten pods that start together ask once.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::{
    NamespaceResourceScope, Resource,
    api::{
        authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
        core::v1::{ConfigMap, Pod, Secret, ServiceAccount},
    },
};
use kube::api::{Api, PostParams};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;

use crate::pod::PodExt;

const FRESH: Duration = Duration::from_millis(500);

/// An object as it was fetched a moment ago.
type Remembered<T> = Mutex<HashMap<(String, String), (Instant, Option<Arc<T>>)>>;

/// Reads objects with the node's rights.
pub struct Objects {
    client: kube::Client,
    config_maps: Remembered<ConfigMap>,
    secrets: Remembered<Secret>,
    tokens: Mutex<HashMap<TokenKey, Token>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct TokenKey {
    pod_uid: String,
    audience: String,
    expiration_seconds: i64,
}

struct Token {
    text: String,
    refresh_at: Instant,
}

impl Objects {
    /// Reads with `client`.
    pub fn new(client: kube::Client) -> Self {
        Self { client, config_maps: Default::default(), secrets: Default::default(), tokens: Default::default() }
    }

    /// What it reads with.
    pub fn client(&self) -> &kube::Client {
        &self.client
    }

    /// A ConfigMap; None if it does not exist.
    pub async fn config_map(&self, namespace: &str, name: &str) -> Result<Option<Arc<ConfigMap>>, String> {
        self.get(&self.config_maps, namespace, name).await
    }

    /// A Secret; None if it does not exist.
    pub async fn secret(&self, namespace: &str, name: &str) -> Result<Option<Arc<Secret>>, String> {
        self.get(&self.secrets, namespace, name).await
    }

    async fn get<T>(&self, known: &Remembered<T>, namespace: &str, name: &str) -> Result<Option<Arc<T>>, String>
    where
        T: Resource<Scope = NamespaceResourceScope>
            + k8s_openapi::Metadata<Ty = k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta>
            + DeserializeOwned
            + Clone
            + std::fmt::Debug,
    {
        let key = (namespace.to_owned(), name.to_owned());
        if let Some((at, object)) = known.lock().get(&key)
            && at.elapsed() < FRESH
        {
            return Ok(object.clone());
        }
        let api: Api<T> = Api::namespaced(self.client.clone(), namespace);
        let object = api.get_opt(name).await.map_err(|error| message(&error))?.map(Arc::new);
        let mut known = known.lock();
        known.retain(|_, (at, _)| at.elapsed() < FRESH);
        known.insert(key, (Instant::now(), object.clone()));
        Ok(object)
    }

    /// A token of the pod's service account, bound to the pod; renewed at four fifths of its life or after a day.
    pub async fn token(&self, pod: &Pod, audience: &str, expiration_seconds: i64) -> Result<String, String> {
        let key = TokenKey { pod_uid: pod.uid().into(), audience: audience.into(), expiration_seconds };
        if let Some(token) = self.tokens.lock().get(&key)
            && Instant::now() < token.refresh_at
        {
            return Ok(token.text.clone());
        }
        let account =
            pod.pod_spec().service_account_name.as_deref().filter(|name| !name.is_empty()).unwrap_or("default");
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                audiences: Some(audience).filter(|a| !a.is_empty()).map(|a| vec![a.to_owned()]).or(Some(Vec::new())),
                expiration_seconds: Some(expiration_seconds),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".into()),
                    kind: Some("Pod".into()),
                    name: Some(pod.name().into()),
                    uid: Some(pod.uid().into()),
                }),
            }),
            ..Default::default()
        };
        let api: Api<ServiceAccount> = Api::namespaced(self.client.clone(), pod.namespace());
        let answer: TokenRequest = api
            .create_subresource("token", account, &PostParams::default(), &request)
            .await
            .map_err(|error| format!("failed to fetch token: {}", message(&error)))?;
        let status = answer.status.unwrap_or_default();
        let text = status.token.ok_or("failed to fetch token: the answer has none")?;
        let now = jiff::Timestamp::now();
        let life = status.expiration_timestamp.map_or(0, |end| end.0.duration_since(now).as_secs().max(0));
        let wait = Duration::from_secs(u64::try_from(life * 4 / 5).unwrap_or(0)).min(Duration::from_secs(86_400));
        let token = Token { text: text.clone(), refresh_at: Instant::now() + wait };
        self.tokens.lock().insert(key, token);
        Ok(text)
    }

    /// Forgets a pod's tokens.
    pub fn forget_pod(&self, uid: &str) {
        self.tokens.lock().retain(|key, _| key.pod_uid != uid);
    }
}

/// An API error in the server's own words.
pub fn message(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}
