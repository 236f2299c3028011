//! The embedded store by itself, in this process as the API server has it, beside Debian's etcd on the same disk with the same
//! rule: a write is answered when it is synced.

mod etcd;
mod history;
mod narrow;
mod reads;
mod restart;
mod writes;

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use store::journal::{Wal, WalOptions};
use store::{NewValue, Options, Store};

use crate::Args;
use crate::record::Recorder;

pub use restart::reopen;

/// The argument that makes this program open a store, say what that took and cost, and end.
pub const REOPEN: &str = "reopen-store";
const VALUE_BYTES: usize = 1024;

pub async fn run(args: &Args, span: Duration, recorder: &mut Recorder) -> Result<()> {
    writes::run(args, span, recorder).await?;
    reads::run(args, span, recorder).await?;
    history::run(args, span, recorder).await?;
    narrow::run(span, recorder).await?;
    restart::run(args, recorder).await
}

fn open(folder: &Path) -> Result<Store<()>> {
    Ok(Store::open(Box::new(Wal::open(folder, WalOptions::default())?), Options::default())?)
}

/// A folder on the disk that is measured.
fn scratch(args: &Args) -> Result<tempfile::TempDir> {
    Ok(tempfile::Builder::new().prefix("load-store-").tempdir_in(&args.root_parent)?)
}

fn key(client: usize, number: usize) -> String {
    format!("/registry/configmaps/load-{client}/object-{number:06}")
}

fn value() -> NewValue {
    NewValue::new(vec![b'x'; VALUE_BYTES], None)
}
