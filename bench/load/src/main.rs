//! The load driver of the API server and of the store alone: starts `canopus server` on loopback with a store of its own on a real disk, and counts
//! requests a second, how long they take and what memory they leave. Each client has one kept connection and reads whole
//! answers. Beside each figure stands a yardstick measured in the same minute: a bare HTTPS server that answers
//! the same bytes, or a file that is appended to and synced. Machines are noisy; the ratio is what can be compared.

mod connection;
mod measure;
mod memory;
mod operations;
mod record;
mod server;
mod embedded;
mod watches;
mod yardstick;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, ValueEnum};

/// What to measure, and how long.
#[derive(Parser)]
#[command(name = "load", about = "Speed and memory of the API server")]
pub struct Args {
    /// What is measured.
    #[arg(long, value_enum, default_value_t = Part::ApiServer)]
    of: Part,
    /// The program whose server is measured.
    #[arg(long, default_value = "target/release/canopus")]
    canopus: PathBuf,
    /// How long each operation is repeated.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// How often each is measured; the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Only measures whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Where the store lies: a real disk, for it syncs.
    #[arg(long, default_value = "target")]
    root_parent: PathBuf,
    /// Raw results, one measure a line.
    #[arg(long, default_value = "bench/results/latest-apiserver.jsonl")]
    out: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum Part {
    /// The program's server, over HTTPS
    #[value(name = "apiserver")]
    ApiServer,
    /// The store in this process, beside etcd
    Store,
}

fn main() -> Result<()> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    if std::env::args().nth(1).is_some_and(|first| first == yardstick::BARE) {
        return runtime.block_on(yardstick::bare());
    }
    if let [_, first, folder] = &std::env::args().collect::<Vec<_>>()[..]
        && first == embedded::REOPEN
    {
        return embedded::reopen(folder.as_ref());
    }
    runtime.block_on(run(&Args::parse()))
}

async fn run(args: &Args) -> Result<()> {
    let mut recorder = record::Recorder::create(args)?;
    let span = Duration::from_secs(args.seconds);
    for _ in 0..args.rounds {
        match args.of {
            Part::ApiServer => {
                operations::run(args, span, &mut recorder).await?;
                watches::run(args, &mut recorder).await?;
                memory::run(args, &mut recorder).await?;
            }
            Part::Store => embedded::run(args, span, &mut recorder).await?,
        }
    }
    recorder.finish()
}
