//! What the registry does by itself while the server runs: the objects that every cluster has, and the endpoints of the
//! server's own Service.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Registry, initial};
use crate::etcd::master_leases;

/// How often the server's own objects are looked after.
const INTERVAL: Duration = Duration::from_secs(10);
/// How soon again when it could not be done.
const RETRY: Duration = Duration::from_millis(200);

impl Registry {
    /// Creates the objects that every cluster begins with; done when all of them are there.
    pub async fn bootstrap(&self) -> Result<(), machinery::status::Status> {
        initial::create_all(self).await?;
        initial::reconcile_endpoints(self).await
    }

    /// Keeps them there until the server ends.
    pub async fn run(self, shutdown: CancellationToken) {
        loop {
            let is_shared = self.store().is_shared();
            let wait = match self.bootstrap().await {
                Ok(()) => INTERVAL,
                Err(status) => {
                    tracing::warn!(error = %status, "failed to create the cluster's own objects");
                    RETRY
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
                () = master_leases::change(&self) => {}
                () = self.store().moved(is_shared) => {}
            }
        }
    }
}
