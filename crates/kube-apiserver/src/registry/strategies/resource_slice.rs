//! ResourceSlices: taints of devices are as old as they say, or else as this write.

use jiff::Timestamp;
use serde_json::Value;

use super::{Strategy, object};

pub struct ResourceSliceStrategy;

impl Strategy for ResourceSliceStrategy {
    fn stamp(&self, new: &mut Value, _old: &Value, now: Timestamp) {
        api::resource::resource_slice::stamp_taints(new, Some(object::time(now)));
    }

    fn returns_deleted(&self) -> bool {
        true
    }
}
