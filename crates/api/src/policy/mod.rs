//! policy: asking before taking pods away.

pub mod eviction;
