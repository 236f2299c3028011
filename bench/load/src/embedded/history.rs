//! History that is kept in old files: what it costs the writes, and how long it takes to read in a log of 1 GB.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;
use store::journal::{Retention, Wal, WalOptions};
use store::{Options, Precondition, Store};
use tokio::task::JoinSet;

use super::{VALUE_BYTES, key, scratch, value};
use crate::Args;
use crate::measure::{Operation, repeat};
use crate::record::Recorder;

const CLIENTS: usize = 64;
/// Objects that are written over and over.
const OBJECTS: usize = 10_000;
const LOG_BYTES: usize = 1 << 30;

struct Replace {
    store: Store<()>,
    client: usize,
    number: usize,
}

impl Operation for Replace {
    async fn once(&mut self) -> Result<()> {
        self.number += 1;
        let key = key(self.client, self.number % (OBJECTS / CLIENTS));
        self.store.put(&key, value(), Precondition::Any).await?;
        Ok(())
    }
}

fn open(folder: &Path, is_kept: bool) -> Result<Store<()>> {
    let revisions = is_kept.then_some(u64::MAX);
    let options = WalOptions { retention: Retention { revisions, ..Retention::OFF }, ..WalOptions::default() };
    Ok(Store::open(Box::new(Wal::open(folder, options)?), Options::default())?)
}

pub async fn run(args: &Args, span: Duration, recorder: &mut Recorder) -> Result<()> {
    if recorder.wants("store.history.write") {
        let mut rates = Vec::new();
        for is_kept in [false, true] {
            let folder = scratch(args)?;
            let store = open(folder.path(), is_kept)?;
            let client = async |client| Ok(Replace { store: store.clone(), client, number: 0 });
            rates.push(repeat(CLIENTS, span, client).await?);
            store.close().await;
        }
        // The yardstick is the same without history.
        recorder.rate("store.history.write", &rates[1], rates[0].per_second)?;
    }
    if recorder.wants("store.history.at") || recorder.wants("store.history.versions") {
        reads(args, recorder).await?;
    }
    Ok(())
}

async fn reads(args: &Args, recorder: &mut Recorder) -> Result<()> {
    let folder = scratch(args)?;
    let store = open(folder.path(), true)?;
    let mut writing = JoinSet::new();
    for client in 0..CLIENTS {
        let store = store.clone();
        writing.spawn(async move {
            for number in 0..LOG_BYTES / VALUE_BYTES / CLIENTS {
                let key = key(client, number % (OBJECTS / CLIENTS));
                store.put(&key, value(), Precondition::Any).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(written) = writing.join_next().await {
        written??;
    }
    store.compact(store.revision()).await?;
    let middle = store.revision() / 2;
    let (prefix, one) = ("/registry/configmaps/", key(0, 0));
    for (measure, what) in [("store.history.at", prefix), ("store.history.at.one", one.as_str())] {
        let (store, what) = (store.clone(), what.to_owned());
        let (seconds, count) = timed(move || Ok(store.past(&what, middle)?.totals().entries)).await?;
        recorder.add(measure, "s", seconds, 0.0, &json!({ "log_bytes": LOG_BYTES, "keys": count }))?;
        println!("{measure}: {seconds:.3} s, {count} keys");
    }
    for (measure, newest) in [("store.history.versions", usize::MAX), ("store.history.versions.10", 10)] {
        let (store, one) = (store.clone(), one.clone());
        let (seconds, count) = timed(move || Ok(store.versions(&one, newest)?.len())).await?;
        recorder.add(measure, "s", seconds, 0.0, &json!({ "log_bytes": LOG_BYTES, "versions": count }))?;
        println!("{measure}: {seconds:.3} s, {count} versions");
    }
    store.close().await;
    Ok(())
}

/// Seconds that it takes, and what it gives.
async fn timed(read: impl FnOnce() -> Result<usize> + Send + 'static) -> Result<(f64, usize)> {
    let begun = Instant::now();
    let found = tokio::task::spawn_blocking(read).await.context("the read ended early")??;
    Ok((begun.elapsed().as_secs_f64(), found))
}
