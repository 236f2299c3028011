//! AlwaysAdmit and AlwaysDeny: for trying things out.

use async_trait::async_trait;
use machinery::status::Status;
use serde_json::Value;

use crate::admission::{Plugin, Review};

pub struct AlwaysAdmit;

#[async_trait]
impl Plugin for AlwaysAdmit {
    fn name(&self) -> &'static str {
        "AlwaysAdmit"
    }
}

pub struct AlwaysDeny;

#[async_trait]
impl Plugin for AlwaysDeny {
    fn name(&self) -> &'static str {
        "AlwaysDeny"
    }

    async fn mutate(&self, review: &Review<'_>, object: &mut Value) -> Result<(), Status> {
        Err(denied(review, Some(object)))
    }

    async fn validate(&self, review: &Review<'_>, object: Option<&Value>) -> Result<(), Status> {
        Err(denied(review, object))
    }
}

fn denied(review: &Review, object: Option<&Value>) -> Status {
    review.forbidden(object, "admission control is denying all modifications")
}
