//! Durable writes of 1 KiB with 1 and with 64 clients, beside etcd and beside bare appends of as many bytes.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;
use store::{Precondition, Store};

use super::etcd::Etcd;
use super::{VALUE_BYTES, key, open, scratch, value};
use crate::Args;
use crate::measure::{Operation, repeat};
use crate::record::Recorder;
use crate::yardstick;

const CLIENTS: [usize; 2] = [1, 64];

struct Put {
    store: Store<()>,
    client: usize,
    number: usize,
}

impl Operation for Put {
    async fn once(&mut self) -> Result<()> {
        self.number += 1;
        self.store.put(&key(self.client, self.number), value(), Precondition::Absent).await?;
        Ok(())
    }
}

pub async fn run(args: &Args, span: Duration, recorder: &mut Recorder) -> Result<()> {
    for clients in CLIENTS {
        let (measure, raw) = (format!("store.write.{clients}"), format!("store.write.{clients}.raw"));
        if !recorder.wants(&measure) && !recorder.wants(&raw) {
            continue;
        }
        let folder = scratch(args)?;
        let store = open(&folder.path().join("store"))?;
        let before = processor_seconds()?;
        let own = repeat(clients, span, async |client| Ok(Put { store: store.clone(), client, number: 0 })).await?;
        let appends = store.stats().appends;
        store.close().await;
        #[expect(clippy::cast_precision_loss, reason = "counts of writes are far below 2^52")]
        let each = (processor_seconds()? - before) * 1e6 / own.count as f64;
        println!("{measure}: {each:.1} us of processor time for a write, the driver's share in it");
        recorder.add(&format!("{measure}.cpu"), "us", each, 0.0, &json!({ "count": own.count, "appends": appends }))?;
        let etcd = Etcd::start(&folder.path().join("etcd")).await?;
        let theirs = repeat(clients, span, async |client| etcd.client(client).await).await?;
        drop(etcd);
        recorder.rate(&measure, &own, theirs.per_second)?;
        // What the disk could do if all clients' values went into one append each time.
        let appends = yardstick::syncs(folder.path(), span / 3, clients * VALUE_BYTES).await?;
        #[expect(clippy::cast_precision_loss, reason = "clients are few")]
        recorder.rate(&raw, &own, appends * clients as f64)?;
    }
    Ok(())
}

/// Of this process so far, in user and system mode, to a hundredth (proc(5): fields 14 and 15 of stat, in clock ticks).
fn processor_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").context("failed to read this process's times")?;
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ').skip(11).take(2);
    Ok(fields.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0)
}
