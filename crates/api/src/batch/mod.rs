//! batch: pods that run to their end, once or by the clock.

pub mod cron_job;
mod indexes;
pub mod job;
pub mod schedule;
