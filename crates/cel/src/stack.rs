//! Room for recursion. Expressions are at most some hundred levels deep, but each level takes several calls, and whoever compiles
//! or evaluates may have little stack left.

/// Below so much, more is taken.
const RED_ZONE_BYTES: usize = 256 << 10;
/// So much is taken at once.
const SEGMENT_BYTES: usize = 2 << 20;

/// Runs one level of a recursion.
#[inline]
pub(crate) fn level<R>(run: impl FnOnce() -> R) -> R {
    stacker::maybe_grow(RED_ZONE_BYTES, SEGMENT_BYTES, run)
}
