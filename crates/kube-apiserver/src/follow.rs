//! Files of configuration that are taken over when they change.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// How often a file is looked at.
pub const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Gives each new content of a file to `changed`, until `shutdown`. The content is compared, for files that are mounted
/// from volumes are replaced by links with odd times. A file that is away for a moment has not changed.
pub async fn changes<F: Future<Output = ()> + Send>(
    path: PathBuf,
    shutdown: CancellationToken,
    changed: impl FnMut(Vec<u8>) -> F + Send,
) {
    let seen = tokio::fs::read(&path).await.ok();
    changes_since(path, seen, shutdown, changed).await;
}

/// The same, for a file of which a content is in use already.
pub async fn changes_since<F: Future<Output = ()> + Send>(
    path: PathBuf,
    mut seen: Option<Vec<u8>>,
    shutdown: CancellationToken,
    mut changed: impl FnMut(Vec<u8>) -> F + Send,
) {
    while shutdown.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
        let Ok(now) = tokio::fs::read(&path).await else { continue };
        if seen.as_ref() == Some(&now) {
            continue;
        }
        seen = Some(now.clone());
        if shutdown.run_until_cancelled(changed(now)).await.is_none() {
            return;
        }
    }
}
