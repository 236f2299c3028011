//! Services take no external addresses: with them anybody who may write a Service could take over others' traffic
//! (CVE-2020-8554). Those that are there already stay.

use async_trait::async_trait;
use machinery::status::Status;
use serde_json::Value;

use crate::admission::{Operation, Plugin, Review};
use crate::registry::object;

pub struct DenyServiceExternalIPs;

#[async_trait]
impl Plugin for DenyServiceExternalIPs {
    fn name(&self) -> &'static str {
        "DenyServiceExternalIPs"
    }

    async fn validate(&self, review: &Review<'_>, object: Option<&Value>) -> Result<(), Status> {
        let about = review.is("", "services") && matches!(review.operation, Operation::Create | Operation::Update);
        let Some(new) = object.filter(|_| about) else { return Ok(()) };
        let before: Vec<&str> =
            review.old.into_iter().flat_map(|old| object::texts(old, "/spec/externalIPs")).collect();
        if object::texts(new, "/spec/externalIPs").all(|ip| before.contains(&ip)) {
            return Ok(());
        }
        Err(review.forbidden(object, "Use of external IPs is denied by admission control."))
    }
}
