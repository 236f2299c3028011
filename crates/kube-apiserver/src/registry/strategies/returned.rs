//! Kinds whose delete answers with the deleted object and that need nothing else.

use super::Strategy;

pub struct Returned;

impl Strategy for Returned {
    fn returns_deleted(&self) -> bool {
        true
    }
}
