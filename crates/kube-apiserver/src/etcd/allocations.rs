//! What other servers allocate: the index over addresses and ports follows the Services that they write.

use std::sync::Arc;

use api::Kind;
use store::{EventKind, Watch};

use crate::Server;
use crate::registry::{Attrs, Registry, encode, keys, strategies};

const SERVICES: &Kind = &api::core::service::KIND;

/// Follows until the server ends, whenever there may be others.
pub async fn follow(server: Arc<Server>) {
    let shutdown = server.shutdown.clone();
    let following = async {
        loop {
            server.moved(false).await;
            tokio::select! {
                () = keep(&server.registry) => return,
                () = server.moved(true) => {}
            }
        }
    };
    shutdown.run_until_cancelled(following).await;
}

async fn keep(registry: &Registry) {
    loop {
        let revision = registry.store().revision();
        // Whatever happened before the watch is in the objects.
        strategies::of(SERVICES).rebuild(registry, SERVICES);
        if let Ok(watch) = registry.store().watch(&keys::prefix(SERVICES), revision) {
            take_over(registry, watch).await;
        }
        if registry.store().stats().closed.is_some() {
            return;
        }
    }
}

/// Takes events over until the watch ends.
async fn take_over(registry: &Registry, mut watch: Watch<Attrs>) {
    while let Some(Ok(event)) = watch.next().await {
        let decoded = |entry: &store::Entry<Attrs>| encode::decode(&entry.value).ok();
        let before = event.previous.as_deref().and_then(decoded);
        let now = if event.kind == EventKind::Put { decoded(&event.entry) } else { None };
        strategies::service::changed(registry, &event.entry.key, before.as_ref(), now.as_ref());
    }
}
