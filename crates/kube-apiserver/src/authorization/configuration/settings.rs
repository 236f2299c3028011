//! The AuthorizationConfiguration of apiserver.config.k8s.io as it stands in its file.

use machinery::codec::{self, Limits};
use machinery::time::parse_duration_nanos;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Which authorizers there are, in the order in which they are asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Settings {
    pub authorizers: Vec<AuthorizerSettings>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct AuthorizerSettings {
    #[serde(rename = "type")]
    pub kind: String,
    pub name: String,
    pub webhook: Option<WebhookSettings>,
}

/// Times are in nanoseconds, as they may be wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct WebhookSettings {
    #[serde(rename = "authorizedTTL", deserialize_with = "nanoseconds")]
    pub authorized_ttl: i64,
    pub cache_authorized_requests: Option<bool>,
    #[serde(rename = "unauthorizedTTL", deserialize_with = "nanoseconds")]
    pub unauthorized_ttl: i64,
    pub cache_unauthorized_requests: Option<bool>,
    #[serde(deserialize_with = "nanoseconds")]
    pub timeout: i64,
    pub subject_access_review_version: String,
    pub match_condition_subject_access_review_version: String,
    pub failure_policy: String,
    pub connection_info: ConnectionInfo,
    pub match_conditions: Vec<MatchCondition>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ConnectionInfo {
    #[serde(rename = "type")]
    pub kind: String,
    pub kube_config_file: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct MatchCondition {
    pub expression: String,
}

const KIND: &str = "AuthorizationConfiguration";
const VERSIONS: [&str; 3] =
    ["apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1beta1", "apiserver.config.k8s.io/v1alpha1"];
pub const AUTHORIZED_TTL_NANOSECONDS: i64 = 300_000_000_000;
pub const UNAUTHORIZED_TTL_NANOSECONDS: i64 = 30_000_000_000;

/// The fields that there are, by the path to them without the places in lists.
const FIELDS: [(&str, &[&str]); 5] = [
    ("", &["apiVersion", "kind", "authorizers"]),
    ("authorizers", &["type", "name", "webhook"]),
    (
        "authorizers.webhook",
        &[
            "authorizedTTL",
            "cacheAuthorizedRequests",
            "unauthorizedTTL",
            "cacheUnauthorizedRequests",
            "timeout",
            "subjectAccessReviewVersion",
            "matchConditionSubjectAccessReviewVersion",
            "failurePolicy",
            "connectionInfo",
            "matchConditions",
        ],
    ),
    ("authorizers.webhook.connectionInfo", &["type", "kubeConfigFile"]),
    ("authorizers.webhook.matchConditions", &["expression"]),
];

fn nanoseconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration_nanos(&text)
        .ok_or_else(|| serde::de::Error::custom(format!("time: invalid duration {}", machinery::go_text::quote(&text))))
}

impl Settings {
    /// Reads the file's text, with defaults for what it leaves out. Whether it makes sense is for `validate` to say.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let parsed = codec::yaml::parse(text, Limits::default())?;
        let field = |name: &str| parsed.value.get(name).and_then(Value::as_str).unwrap_or_default();
        let (version, kind) = (field("apiVersion"), field("kind"));
        if kind.is_empty() || version.is_empty() {
            return Err(format!("Object '{}' is missing", if kind.is_empty() { "Kind" } else { "apiVersion" }));
        }
        if !VERSIONS.contains(&version) || kind != KIND {
            let quote = machinery::go_text::quote;
            return Err(format!("no kind {} is registered for version {}", quote(kind), quote(version)));
        }
        let mut unknown = Vec::new();
        find_unknown(&parsed.value, "", "", &mut unknown);
        if !unknown.is_empty() {
            let unknown: Vec<String> = unknown.iter().map(|path| format!("unknown field {path:?}")).collect();
            return Err(format!("strict decoding error: {}", unknown.join(", ")));
        }
        let mut settings: Self = serde_json::from_value(parsed.value).map_err(|error| error.to_string())?;
        for webhook in settings.authorizers.iter_mut().filter_map(|authorizer| authorizer.webhook.as_mut()) {
            webhook.default();
        }
        Ok(settings)
    }
}

impl WebhookSettings {
    fn default(&mut self) {
        if self.authorized_ttl == 0 {
            self.authorized_ttl = AUTHORIZED_TTL_NANOSECONDS;
        }
        if self.unauthorized_ttl == 0 {
            self.unauthorized_ttl = UNAUTHORIZED_TTL_NANOSECONDS;
        }
    }
}

/// `kind` is the path without places, `shown` the one that is told.
fn find_unknown(value: &Value, kind: &str, shown: &str, unknown: &mut Vec<String>) {
    match value {
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                find_unknown(item, kind, &format!("{shown}[{at}]"), unknown);
            }
        }
        Value::Object(fields) => {
            let Some((_, known)) = FIELDS.iter().find(|(own, _)| *own == kind) else { return };
            for (name, value) in fields {
                let below = |path: &str| if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                if known.contains(&name.as_str()) {
                    find_unknown(value, &below(kind), &below(shown), unknown);
                } else {
                    unknown.push(below(shown));
                }
            }
        }
        _ => {}
    }
}
