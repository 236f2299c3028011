//! Encryption at rest in the server: the file named by `--encryption-provider-config`, followed while the server runs if asked.

use std::path::PathBuf;
use std::sync::Arc;

use encryption::{ConfigError, Encryption};
use store::journal::WalOptions;
use tokio_util::sync::CancellationToken;

use crate::registry::keys;
use crate::{Config, follow};

pub(crate) fn open(config: &Config) -> Result<Option<Arc<Encryption>>, ConfigError> {
    config.encryption_provider_config.as_deref().map(|path| Encryption::open(path, keys::resource)).transpose()
}

/// Settings of the log. Where values are encrypted, files with what was written before do not stay.
pub(crate) fn wal_options(encrypted: bool) -> WalOptions {
    let default = WalOptions::default();
    if encrypted { WalOptions { recycle: false, ..default } } else { default }
}

/// Takes over changes of the file until `shutdown`, if the configuration says so.
pub(crate) fn follow(encryption: Arc<Encryption>, config: &Config, shutdown: CancellationToken) {
    let Some(path) =
        config.encryption_provider_config.clone().filter(|_| config.encryption_provider_config_automatic_reload)
    else {
        return;
    };
    let reloaded = path.clone();
    tokio::spawn(follow::changes(path, shutdown, move |_| reload(encryption.clone(), reloaded.clone())));
}

async fn reload(encryption: Arc<Encryption>, path: PathBuf) {
    // Key services may have to be waited for.
    let outcome = tokio::task::spawn_blocking(move || encryption.reload(&path)).await;
    match outcome {
        Ok(Ok(())) => tracing::info!("the encryption configuration was reloaded, stored values are encrypted anew"),
        Ok(Err(error)) => tracing::error!(%error, "failed to reload the encryption configuration, the old one stays"),
        Err(error) => tracing::error!(%error, "the reload of the encryption configuration was cut short"),
    }
}

#[cfg(test)]
mod tests;
