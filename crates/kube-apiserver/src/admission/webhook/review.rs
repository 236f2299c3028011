//! AdmissionReview: the question as it is sent, and what an answer to it must look like.

use std::collections::BTreeMap;

use api::Version;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use machinery::go_text::quote;
use machinery::status::Status;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::admission::Review;

const GROUP: &str = "admission.k8s.io";
const KIND: &str = "AdmissionReview";

/// The forms of reviews that are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    V1,
    V1beta1,
}

impl Form {
    /// The first of the webhook's that is known here.
    pub fn of(accepted: &[String]) -> Option<Self> {
        accepted.iter().find_map(|version| match version.as_str() {
            "v1" => Some(Self::V1),
            "v1beta1" => Some(Self::V1beta1),
            _ => None,
        })
    }

    fn api_version(self) -> &'static str {
        match self {
            Self::V1 => "admission.k8s.io/v1",
            Self::V1beta1 => "admission.k8s.io/v1beta1",
        }
    }
}

/// What is asked: the request, with its objects as `version` has them.
pub struct Question<'a> {
    pub review: &'a Review<'a>,
    pub version: &'static Version,
    pub object: Option<&'a Value>,
    pub old: Option<&'a Value>,
    pub uid: String,
}

impl Question<'_> {
    pub fn to_json(&self, form: Form) -> Vec<u8> {
        let review = self.review;
        let mut request = review.request(self.version, self.object);
        request.insert("uid".to_owned(), self.uid.as_str().into());
        request.insert("object".to_owned(), self.object.cloned().unwrap_or_default());
        request.insert("oldObject".to_owned(), self.old.cloned().unwrap_or_default());
        let review = json!({ "kind": KIND, "apiVersion": form.api_version(), "request": request });
        review.to_string().into_bytes()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answered {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    response: Option<Response>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Response {
    uid: String,
    allowed: bool,
    status: Option<Value>,
    patch: Option<String>,
    patch_type: Option<String>,
    audit_annotations: Option<BTreeMap<String, String>>,
    warnings: Option<Vec<String>>,
}

/// What a webhook made of a request.
#[derive(Debug)]
pub struct Verdict {
    pub allowed: bool,
    /// Why not.
    status: Option<Value>,
    /// A JSON patch.
    pub patch: Vec<u8>,
    pub patch_type: String,
    pub annotations: BTreeMap<String, String>,
    pub warnings: Vec<String>,
}

/// Why an answer is none.
#[derive(Debug, PartialEq)]
pub enum Fault {
    /// It could not be read.
    Unreadable(String),
    /// It says what no answer to this question says.
    Invalid(String),
}

/// Reads an answer to a question of `form`; only mutating webhooks may send patches.
pub fn read(body: &[u8], form: Form, uid: &str, mutating: bool) -> Result<Verdict, Fault> {
    let invalid = |reason: String| Err(Fault::Invalid(reason));
    let answer: Value = serde_json::from_slice(body)
        .map_err(|error| Fault::Unreadable(format!("couldn't get version/kind; json parse error: {error}")))?;
    let answer: Answered = serde_json::from_value(answer).map_err(|error| Fault::Unreadable(error.to_string()))?;
    if !(answer.kind.is_empty() || answer.kind == KIND) {
        let reason = format!("no kind {:?} is registered for version {:?}", answer.kind, answer.api_version);
        return Err(Fault::Unreadable(reason));
    }
    let Some(response) = answer.response else { return invalid("webhook response was absent".to_owned()) };
    let patch = match response.patch.as_deref() {
        None => Vec::new(),
        Some(text) => STANDARD.decode(text).map_err(|error| Fault::Unreadable(error.to_string()))?,
    };
    let patch_type = match form {
        // Nothing about the answer was checked in this form; a patch is of the one type that there was.
        Form::V1beta1 => "JSONPatch".to_owned(),
        Form::V1 => {
            if response.uid != uid {
                return invalid(format!("expected response.uid={}, got {}", quote(uid), quote(&response.uid)));
            }
            if answer.api_version != form.api_version() || answer.kind != KIND {
                let (group, version) = answer.api_version.split_once('/').unwrap_or(("", &answer.api_version));
                let kind = &answer.kind;
                return invalid(format!(
                    "expected webhook response of {GROUP}/v1, Kind={KIND}, got {group}/{version}, Kind={kind}"
                ));
            }
            match (mutating, patch.is_empty(), response.patch_type) {
                (false, false, _) => return invalid("validating webhook may not return response.patch".to_owned()),
                (false, _, Some(_)) => {
                    return invalid("validating webhook may not return response.patchType".to_owned());
                }
                (true, false, None) => {
                    return invalid("webhook returned response.patch but not response.patchType".to_owned());
                }
                (true, true, Some(_)) => {
                    return invalid("webhook returned response.patchType but not response.patch".to_owned());
                }
                (true, _, Some(empty)) if empty.is_empty() => {
                    return invalid(format!("webhook returned invalid response.patchType of {empty:?}"));
                }
                (_, _, given) => given.unwrap_or_default(),
            }
        }
    };
    Ok(Verdict {
        allowed: response.allowed,
        status: response.status.filter(|status| !status.is_null()),
        patch,
        patch_type,
        annotations: response.audit_annotations.unwrap_or_default(),
        warnings: response.warnings.unwrap_or_default(),
    })
}

impl Verdict {
    /// The refusal as the client is told it: never a success, and never without saying who refused.
    pub fn refusal(&self, webhook: &str) -> Status {
        let status = self.status.clone().unwrap_or_default();
        let text = |key: &str| status.get(key).and_then(Value::as_str).unwrap_or_default();
        let denied = format!("admission webhook {} denied the request", quote(webhook));
        let message = match (text("message"), text("reason")) {
            ("", "") => format!("{denied} without explanation"),
            ("", reason) => format!("{denied}: {reason}"),
            (message, _) => format!("{denied}: {message}"),
        };
        let code = status.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok()).unwrap_or(0);
        let code = if (400..600).contains(&code) { code } else { 400 };
        let refusal = Status::failure(code, text("reason"), message);
        match status.get("details").filter(|details| details.is_object()) {
            Some(given) => refusal.with_details(serde_json::from_value(given.clone()).unwrap_or_default()),
            None => refusal,
        }
    }
}
