//! Durable writes of 1 KiB with 1 and with 64 clients, beside etcd and beside bare appends of as many bytes.

use std::time::Duration;

use anyhow::Result;
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
        let own = repeat(clients, span, async |client| Ok(Put { store: store.clone(), client, number: 0 })).await?;
        store.close().await;
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
