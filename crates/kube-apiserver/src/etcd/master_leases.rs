//! Who of several servers is there: each keeps a key that expires below `masterleases`, as upstream does, and the endpoints of
//! the Service `kubernetes` are the addresses of those keys.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use api::Kind;
use machinery::status::Status;
use serde_json::{Value, json};
use store::{NewValue, Precondition, Snapshot, WriteError};

use crate::registry::{Attrs, Registry, encode, keys, object};

const ENDPOINTS: &Kind = &api::core::endpoints::KIND;
/// How long a server counts after it was last heard of.
const LIFE: Duration = Duration::from_secs(15);
const TRIES: usize = 8;

fn key(address: IpAddr) -> String {
    format!("{}{address}", keys::MASTER_LEASES)
}

/// Says that this server is there.
pub async fn renew(registry: &Registry, address: IpAddr) -> Result<(), Status> {
    let key = key(address);
    for _ in 0..TRIES {
        let current = registry.store().get(&key);
        let generation = current.as_ref().and_then(|entry| encode::decode(&entry.value).ok());
        let generation = generation.and_then(|lease| object::number(&lease, "/metadata/generation")).unwrap_or(0);
        let mut lease = json!({
            // Counted so that the value changes and the key gets a new lease.
            "metadata": { "generation": generation + 1 },
            "subsets": [{ "addresses": [{ "ip": address.to_string() }] }],
        });
        encode::set_type(ENDPOINTS, &mut lease);
        let encoded = encode::encode(ENDPOINTS, &lease)?;
        let value = NewValue::new(encoded.bytes, Some(encoded.revision_at)).with_ttl(LIFE);
        let precondition = current.map_or(Precondition::Absent, |entry| Precondition::Revision(entry.revision));
        match registry.store().put(&key, value, precondition).await {
            Ok(_) => return Ok(()),
            Err(WriteError::Conflict(_)) => {}
            Err(error) => return Err(Status::unexpected(error.to_string())),
        }
    }
    Err(Status::unexpected(format!("{key} changes too often")))
}

/// Says that this server goes.
pub async fn remove(registry: &Registry, address: IpAddr) -> Result<(), Status> {
    match registry.store().delete(&key(address), NewValue::default(), Precondition::Any).await {
        Ok(_) | Err(WriteError::Conflict(_)) => Ok(()),
        Err(error) => Err(Status::unexpected(error.to_string())),
    }
}

/// The addresses of the servers that are there.
pub fn addresses(registry: &Registry) -> BTreeSet<IpAddr> {
    addresses_in(&registry.store().snapshot())
}

/// Those that were there.
pub fn addresses_in(snapshot: &Snapshot<Attrs>) -> BTreeSet<IpAddr> {
    let leases = snapshot.range(keys::MASTER_LEASES, None).filter_map(|entry| encode::decode(&entry.value).ok());
    leases.filter_map(|lease: Value| object::text(&lease, "/subsets/0/addresses/0/ip").parse().ok()).collect()
}

/// Returns when a server has come or gone.
pub async fn change(registry: &Registry) {
    let before = addresses(registry);
    let watch = registry.store().watch(keys::MASTER_LEASES, registry.store().revision());
    if let Ok(mut watch) = watch {
        while addresses(registry) == before {
            match watch.next().await {
                Some(Ok(_)) => {}
                // The next turn looks again.
                _ => break,
            }
        }
        if addresses(registry) != before {
            return;
        }
    }
    std::future::pending().await
}
