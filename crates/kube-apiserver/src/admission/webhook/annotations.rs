//! What the audit event of a request tells about webhooks: who was asked, who changed what, who failed and was passed over.

use serde_json::{Value, json};

use super::hooks::Hook;
use crate::admission::Review;
use crate::audit::policy::Level;

const MUTATION: &str = "mutation.webhook.admission.k8s.io";
const PATCH: &str = "patch.webhook.admission.k8s.io";

/// A webhook in a round of a request.
pub struct Annotations<'a> {
    pub review: &'a Review<'a>,
    pub hook: &'a Hook,
    pub round: u8,
}

impl Annotations<'_> {
    fn place(&self) -> String {
        format!("round_{}_index_{}", self.round, self.hook.index)
    }

    fn wants(&self, level: Level) -> bool {
        self.review.ctx.record.as_ref().is_some_and(|record| record.level() >= level)
    }

    /// A mutating webhook was asked.
    pub fn mutation(&self, mutated: bool) {
        if !self.wants(Level::Metadata) {
            return;
        }
        let value = json!({
            "configuration": self.hook.configuration(),
            "webhook": self.hook.webhook().name,
            "mutated": mutated,
        });
        self.review.ctx.annotate(&format!("{MUTATION}/{}", self.place()), &value.to_string());
    }

    /// What it changed.
    pub fn patch(&self, patch: &[u8]) {
        if !self.wants(Level::Request) {
            return;
        }
        let value = json!({
            "configuration": self.hook.configuration(),
            "webhook": self.hook.webhook().name,
            "patch": serde_json::from_slice::<Value>(patch).unwrap_or_default(),
            "patchType": "JSONPatch",
        });
        self.review.ctx.annotate(&format!("{PATCH}/{}", self.place()), &value.to_string());
    }

    /// It could not be asked, and the request went on.
    pub fn failed_open(&self, phase: &str) {
        let key = format!("failed-open.{phase}.webhook.admission.k8s.io/{}", self.place());
        self.review.ctx.annotate(&key, &self.hook.webhook().name);
    }
}
