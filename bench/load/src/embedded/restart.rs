//! A restart with 100,000 objects of 1 KiB: how long it takes, and what it leaves in memory. The opening is done by a process of
//! its own, so that nothing else is in its memory.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::process::Command;

use super::{REOPEN, open, scratch};
use crate::Args;
use crate::embedded::reads::fill;
use crate::memory::rss;
use crate::record::Recorder;

const OBJECTS: usize = 100_000;
/// What an object may cost beside its bytes.
const OBJECT_BYTES: f64 = 200.0;

pub async fn run(args: &Args, recorder: &mut Recorder) -> Result<()> {
    if !recorder.wants("store.restart") && !recorder.wants("store.memory") {
        return Ok(());
    }
    let folder = scratch(args)?;
    let store = open(folder.path())?;
    fill(&store, OBJECTS).await?;
    store.close().await;
    let output = Command::new(std::env::current_exe()?).arg(REOPEN).arg(folder.path()).output().await?;
    ensure!(output.status.success(), "failed to open the store again: {}", String::from_utf8_lossy(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout)?;
    let number = |name: &str| found[name].as_f64().with_context(|| format!("the other process did not say {name}"));
    #[expect(clippy::cast_precision_loss, reason = "objects are few")]
    let allowed = number("rss")? - OBJECT_BYTES * OBJECTS as f64;
    println!("store.restart: {:.2} s; store.memory: {found}", number("seconds")?);
    recorder.add("store.restart", "s", number("seconds")?, 0.0, &found)?;
    recorder.add("store.memory", "x", allowed / number("bytes")?, 0.0, &found)
}

/// What the process of its own does.
pub fn reopen(folder: &Path) -> Result<()> {
    let own = std::process::id();
    let (before, started) = (rss(own)?, Instant::now());
    let store = open(folder)?;
    let seconds = started.elapsed().as_secs_f64();
    let (rss, totals) = (rss(own)?.saturating_sub(before), store.stats().totals);
    println!("{}", json!({ "seconds": seconds, "rss": rss, "objects": totals.entries, "bytes": totals.bytes }));
    Ok(())
}
