//! Repeating an operation with several clients at once for some time.

use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::task::JoinSet;

/// What came out.
#[derive(Clone, Debug)]
pub struct Rate {
    pub per_second: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub count: usize,
}

/// Runs `clients` loops side by side until `span` is over. `make` makes the loop's operation, from the client's number.
pub async fn repeat<M, F>(clients: usize, span: Duration, make: M) -> Result<Rate>
where
    M: AsyncFn(usize) -> Result<F>,
    F: Operation,
{
    let mut operations = Vec::new();
    for client in 0..clients {
        let mut operation = make(client).await?;
        // The first is for connections and caches.
        operation.once().await?;
        operations.push(operation);
    }
    let started = Instant::now();
    let mut running = JoinSet::new();
    for mut operation in operations {
        running.spawn(async move {
            let mut took = Vec::new();
            while started.elapsed() < span {
                let begun = Instant::now();
                operation.once().await?;
                took.push(begun.elapsed());
            }
            anyhow::Ok(took)
        });
    }
    let mut took = Vec::new();
    while let Some(done) = running.join_next().await {
        took.extend(done??);
    }
    Ok(rate(took, started.elapsed()))
}

/// Something that is repeated.
pub trait Operation: Send + 'static {
    fn once(&mut self) -> impl Future<Output = Result<()>> + Send;
}

pub fn rate(mut took: Vec<Duration>, span: Duration) -> Rate {
    took.sort();
    #[expect(clippy::cast_precision_loss, reason = "counts of requests are far below 2^52")]
    let per_second = took.len() as f64 / span.as_secs_f64();
    let at = |percent: usize| {
        let index = (took.len() * percent).div_ceil(100).saturating_sub(1);
        took.get(index).map_or(0.0, |took| took.as_secs_f64() * 1e3)
    };
    Rate { per_second, p50_ms: at(50), p99_ms: at(99), count: took.len() }
}
