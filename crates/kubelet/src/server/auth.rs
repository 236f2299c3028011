//! Who asks, and may they? A client certificate of the cluster's CA or a bearer token that the API server knows;
//! then the API server decides by what it knows about the node's subresources.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use http::{Method, Request, StatusCode};
use k8s_openapi::api::{
    authentication::v1::{TokenReview, TokenReviewSpec},
    authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
};
use kube::api::{Api, PostParams};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::{Answer, text};
use crate::objects::message;

const TOKEN_FRESH: Duration = Duration::from_secs(120);
const ALLOWED_FRESH: Duration = Duration::from_secs(300);
const DENIED_FRESH: Duration = Duration::from_secs(30);
/// Remembered answers; beyond this all are forgotten.
const REMEMBERED_MAX: usize = 4096;

/// Somebody known.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Identity {
    /// The name.
    pub name: String,
    /// The uid, if tokens told one.
    pub uid: Option<String>,
    /// The groups.
    pub groups: Vec<String>,
    /// Whatever else is known.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// The identity in a client certificate that has been verified: CN is the name, each O a group.
pub fn identity(certificate: &rustls::pki_types::CertificateDer<'_>) -> Option<Identity> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let subject = parsed.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    let mut groups: Vec<String> =
        subject.iter_organization().filter_map(|o| o.as_str().ok()).map(str::to_owned).collect();
    groups.push("system:authenticated".into());
    Some(Identity { name, groups, ..Default::default() })
}

type Question = (Identity, String, &'static str);
/// By the token's hash: when it was asked, and who it is.
type Tokens = HashMap<[u8; 32], (Instant, Option<Identity>)>;

/// Asks the API server, and remembers for a while.
pub struct Auth {
    client: kube::Client,
    node_name: String,
    tokens: Mutex<Tokens>,
    decisions: Mutex<HashMap<Question, (Instant, bool)>>,
}

/// Subresources of the node that a path stands for; one allowed is enough. The last resort is `proxy`.
pub fn subresources(path: &str) -> Vec<&'static str> {
    let first = path.split('/').find(|part| !part.is_empty()).unwrap_or_default();
    match first {
        "stats" => vec!["stats"],
        "metrics" => vec!["metrics"],
        "logs" => vec!["log"],
        "checkpoint" => vec!["checkpoint"],
        "pods" | "runningpods" => vec!["pods", "proxy"],
        "healthz" => vec!["healthz", "proxy"],
        "configz" => vec!["configz", "proxy"],
        _ => vec!["proxy"],
    }
}

fn verb(method: &Method) -> &'static str {
    match *method {
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "get",
    }
}

impl Auth {
    /// Asks with `client`.
    pub fn new(client: kube::Client, node_name: String) -> Self {
        Self { client, node_name, tokens: Mutex::default(), decisions: Mutex::default() }
    }

    /// Lets the request pass or says why not.
    pub async fn check<B>(&self, certificate: Option<&Identity>, request: &Request<B>) -> Result<(), Answer> {
        let unauthorized = || text(StatusCode::UNAUTHORIZED, "Unauthorized");
        let bearer = request.headers().get(http::header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let bearer = bearer.and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
        });
        let identity = match (certificate, bearer) {
            (Some(identity), _) => identity.clone(),
            (None, Some(token)) => match self.token(&token).await {
                Ok(Some(identity)) => identity,
                Ok(None) => return Err(unauthorized()),
                Err(error) => return Err(text(StatusCode::INTERNAL_SERVER_ERROR, error)),
            },
            (None, None) => return Err(unauthorized()),
        };
        let verb = verb(request.method());
        let wanted = subresources(request.uri().path());
        for subresource in &wanted {
            match self.allowed(&identity, verb, subresource).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => return Err(text(StatusCode::INTERNAL_SERVER_ERROR, error)),
            }
        }
        let list: Vec<String> = wanted.iter().map(|subresource| format!("nodes/{subresource}")).collect();
        let message = format!(
            "Forbidden (user={}, verb={verb}, resource=nodes, subresource(s)=[{}])\n",
            identity.name,
            wanted.join(" ")
        );
        tracing::debug!(user = %identity.name, verb, resources = ?list, "refused");
        Err(text(StatusCode::FORBIDDEN, message))
    }

    async fn token(&self, token: &str) -> Result<Option<Identity>, String> {
        let key: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        if let Some((at, identity)) = self.tokens.lock().get(&key)
            && at.elapsed() < TOKEN_FRESH
        {
            return Ok(identity.clone());
        }
        let review =
            TokenReview { spec: TokenReviewSpec { token: token.into(), audiences: None }, ..Default::default() };
        let api: Api<TokenReview> = Api::all(self.client.clone());
        let answer = api.create(&PostParams::default(), &review).await.map_err(|error| message(&error))?;
        let status = answer.status.unwrap_or_default();
        let user = status.user.filter(|_| status.authenticated == Some(true));
        let identity = user.map(|user| Identity {
            name: user.username.unwrap_or_default(),
            uid: user.uid,
            groups: user.groups.unwrap_or_default(),
            extra: user.extra.unwrap_or_default().into_iter().collect(),
        });
        let mut tokens = self.tokens.lock();
        if tokens.len() > REMEMBERED_MAX {
            tokens.clear();
        }
        tokens.insert(key, (Instant::now(), identity.clone()));
        Ok(identity)
    }

    async fn allowed(&self, identity: &Identity, verb: &'static str, subresource: &str) -> Result<bool, String> {
        let question = (identity.clone(), subresource.to_owned(), verb);
        if let Some((at, allowed)) = self.decisions.lock().get(&question)
            && at.elapsed() < if *allowed { ALLOWED_FRESH } else { DENIED_FRESH }
        {
            return Ok(*allowed);
        }
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(identity.name.clone()),
                uid: identity.uid.clone(),
                groups: Some(identity.groups.clone()),
                extra: Some(identity.extra.clone().into_iter().collect()),
                resource_attributes: Some(ResourceAttributes {
                    verb: Some(verb.into()),
                    version: Some("v1".into()),
                    resource: Some("nodes".into()),
                    subresource: Some(subresource.into()),
                    name: Some(self.node_name.clone()),
                    ..Default::default()
                }),
                ..Default::default()
            },
            ..Default::default()
        };
        let api: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let answer = api.create(&PostParams::default(), &review).await.map_err(|error| message(&error))?;
        let allowed = answer.status.is_some_and(|status| status.allowed);
        let mut decisions = self.decisions.lock();
        if decisions.len() > REMEMBERED_MAX {
            decisions.clear();
        }
        decisions.insert(question, (Instant::now(), allowed));
        Ok(allowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stand_for_subresources() {
        assert_eq!(subresources("/stats/summary"), ["stats"]);
        assert_eq!(subresources("/metrics/resource"), ["metrics"]);
        assert_eq!(subresources("/pods"), ["pods", "proxy"]);
        assert_eq!(subresources("/exec/ns/p/c"), ["proxy"]);
        assert_eq!(subresources("/"), ["proxy"]);
    }

    #[test]
    fn a_certificate_names_a_user_and_groups() {
        let mut parameters = rcgen::CertificateParams::default();
        parameters.distinguished_name.push(rcgen::DnType::CommonName, "kube-apiserver");
        parameters.distinguished_name.push(rcgen::DnType::OrganizationName, "system:masters");
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        let found = identity(certificate.der()).unwrap();
        assert_eq!(found.name, "kube-apiserver");
        assert_eq!(found.groups, ["system:masters", "system:authenticated"]);
    }
}
