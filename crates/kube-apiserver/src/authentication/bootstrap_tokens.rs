//! Bootstrap tokens: `id.secret`, kept in Secrets of kube-system, good for a machine that joins and has nothing else yet.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::Value;

use crate::UserInfo;
use crate::registry::{Registry, object};

const NAMESPACE: &str = "kube-system";
const TYPE: &str = "bootstrap.kubernetes.io/token";
const GROUP: &str = "system:bootstrappers";
const GROUP_SUFFIX_LEN_MAX: usize = 256;

pub struct BootstrapTokens(Registry);

impl BootstrapTokens {
    pub fn new(registry: Registry) -> Self {
        Self(registry)
    }

    /// The user of a token that is in the cluster, not expired, and meant for authentication.
    pub fn find(&self, token: &str, now: Timestamp) -> Option<UserInfo> {
        let (id, secret) = parse(token)?;
        let (kind, _) = api::find("", "v1", "secrets")?;
        let stored = self.0.get(kind, NAMESPACE, &format!("bootstrap-token-{id}")).ok()?;
        if object::is_deleting(&stored) || object::text(&stored, "/type") != TYPE {
            return None;
        }
        let data = |key: &str| data(&stored, key);
        let own = data("token-secret")?;
        verify_slices_are_equal(own.as_bytes(), secret.as_bytes()).ok()?;
        let is_good = data("token-id")? == id
            && data("usage-bootstrap-authentication").as_deref() == Some("true")
            && data("expiration").is_none_or(|until| until.parse::<Timestamp>().is_ok_and(|until| now <= until));
        if !is_good {
            return None;
        }
        let mut groups = vec![GROUP.to_owned()];
        let extra = data("auth-extra-groups").unwrap_or_default();
        for group in extra.split(',').filter(|group| !group.is_empty()) {
            // One group that must not be given spoils the token.
            if !is_bootstrap_group(group) {
                return None;
            }
            if !groups.iter().any(|own| own == group) {
                groups.push(group.to_owned());
            }
        }
        Some(UserInfo::new(format!("system:bootstrap:{id}"), groups))
    }
}

fn parse(token: &str) -> Option<(&str, &str)> {
    let (id, secret) = token.split_once('.')?;
    let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    (id.len() == 6 && secret.len() == 16 && is_plain(id) && is_plain(secret)).then_some((id, secret))
}

fn data(secret: &Value, key: &str) -> Option<String> {
    let encoded = secret.get("data")?.get(key)?.as_str()?;
    String::from_utf8(STANDARD.decode(encoded).ok()?).ok().filter(|text| !text.is_empty())
}

/// `system:bootstrappers:` and a name: a token cannot give rights that others have.
fn is_bootstrap_group(group: &str) -> bool {
    let Some(suffix) = group.strip_prefix(GROUP).and_then(|rest| rest.strip_prefix(':')) else { return false };
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=GROUP_SUFFIX_LEN_MAX).contains(&suffix.len())
        && suffix.bytes().all(|byte| is_word(byte) || matches!(byte, b':' | b'-'))
        && suffix.bytes().last().is_some_and(is_word)
}
