//! The node ports that all servers have handed out: one bitmap under upstream's key, read, changed and written if it is still
//! the same, so that no two servers hand out one port.
//!
//! A port is claimed before its Service is written and given back when that fails or the Service lets go of it. What a server
//! that died in between left behind is found by [`repair`].

use std::collections::BTreeSet;

use api::Kind;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use machinery::codec::protobuf;
use machinery::status::Status;
use serde_json::{Value, json};
use store::{Entry, NewValue, Precondition, WriteError};

use crate::registry::{Attrs, Registry, encode, object, strategies};

/// Where they are kept.
pub const KEY: &str = "/registry/ranges/servicenodeports";
const SERVICES: &Kind = &api::core::service::KIND;
const TRIES: usize = 16;

/// Upstream's message, as far as it matters here.
#[derive(prost::Message)]
struct RangeAllocation {
    #[prost(string, tag = "2")]
    range: String,
    #[prost(bytes = "vec", tag = "3")]
    data: Vec<u8>,
}

/// Takes ports; the first one that somebody has, if one is.
pub async fn claim(registry: &Registry, ports: &BTreeSet<u32>) -> Result<Option<u32>, Status> {
    if ports.is_empty() {
        return Ok(None);
    }
    let mut taken = None;
    change(registry, |held| {
        taken = ports.iter().copied().find(|port| held.contains(port));
        if taken.is_none() {
            held.extend(ports);
        }
    })
    .await?;
    Ok(taken)
}

/// Gives ports back.
pub async fn release(registry: &Registry, ports: &BTreeSet<u32>) {
    if ports.is_empty() {
        return;
    }
    if let Err(status) = change(registry, |held| held.retain(|port| !ports.contains(port))).await {
        // What is left over is found by the next repair.
        tracing::warn!(?ports, %status, "failed to give node ports back");
    }
}

/// Writes down what Services have, and gives back what was without a Service at the last repair too: between the claim and
/// the Service there is a moment. Gives what is without one now.
pub async fn repair(registry: &Registry, suspects: &BTreeSet<u32>) -> Result<BTreeSet<u32>, Status> {
    let services = registry.list(SERVICES, "");
    let owned: BTreeSet<u32> = services.iter().flat_map(strategies::service::node_ports).collect();
    let mut lost = BTreeSet::new();
    change(registry, |held| {
        lost = held.difference(&owned).copied().collect();
        held.extend(&owned);
        held.retain(|port| owned.contains(port) || !suspects.contains(port));
    })
    .await?;
    Ok(lost.difference(suspects).copied().collect())
}

async fn change(registry: &Registry, mut change: impl FnMut(&mut BTreeSet<u32>)) -> Result<(), Status> {
    let (first, last) = registry.config().service_node_port_range;
    for _ in 0..TRIES {
        let current = registry.store().get(KEY);
        let mut ports = current.as_ref().map(|entry| read(entry, (first, last))).transpose()?.unwrap_or_default();
        let before = ports.clone();
        change(&mut ports);
        if ports == before && current.is_some() {
            return Ok(());
        }
        let allocation = json!({
            "metadata": {},
            "range": format!("{first}-{last}"),
            "data": STANDARD.encode(to_bits(&ports, (first, last))),
        });
        let encoded = encode::encode_as("RangeAllocation", "v1", &allocation)?;
        let value = NewValue::new(encoded.bytes, Some(encoded.revision_at));
        let precondition = current.map_or(Precondition::Absent, |entry| Precondition::Revision(entry.revision));
        match registry.store().put(KEY, value, precondition).await {
            Ok(_) => return Ok(()),
            Err(WriteError::Conflict(_)) => {}
            Err(error) => return Err(Status::unexpected(error.to_string())),
        }
    }
    Err(Status::unexpected("the node ports change too often"))
}

/// Of another range nothing is taken over: the repair writes down what Services have.
fn read(entry: &Entry<Attrs>, (first, last): (u16, u16)) -> Result<BTreeSet<u32>, Status> {
    let broken = |reason: String| Status::internal(format!("unable to decode the object stored at {KEY}: {reason}"));
    let (range, bits) = if entry.value.starts_with(b"k8s\0") {
        let envelope = protobuf::unwrap_envelope(&entry.value).map_err(|error| broken(error.to_string()))?;
        let message: RangeAllocation =
            prost::Message::decode(envelope.raw).map_err(|error| broken(error.to_string()))?;
        (message.range, message.data)
    } else {
        let allocation: Value = encode::decode(&entry.value)?;
        let bits = STANDARD.decode(object::text(&allocation, "/data")).map_err(|error| broken(error.to_string()))?;
        (object::text(&allocation, "/range").to_owned(), bits)
    };
    Ok(if range == format!("{first}-{last}") { of_bits(&bits, first) } else { BTreeSet::new() })
}

/// The ports as the bits of one number, the first port its lowest bit, the number in big-endian bytes without leading zeros.
fn to_bits(ports: &BTreeSet<u32>, (first, last): (u16, u16)) -> Vec<u8> {
    let mut bytes = vec![0u8; usize::from(last - first) / 8 + 1];
    for port in ports.range(u32::from(first)..=u32::from(last)) {
        let at = (port - u32::from(first)) as usize;
        bytes[at / 8] |= 1 << (at % 8);
    }
    let len = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
    bytes.truncate(len);
    bytes.reverse();
    bytes
}

fn of_bits(bytes: &[u8], first: u16) -> BTreeSet<u32> {
    let bits =
        bytes.iter().rev().enumerate().flat_map(|(at, byte)| {
            (0..8u32).filter(move |bit| byte & (1 << bit) != 0).map(move |bit| at as u32 * 8 + bit)
        });
    bits.map(|at| u32::from(first) + at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANGE: (u16, u16) = (30000, 32767);

    #[test]
    fn ports_are_the_bits_of_a_number() {
        let ports = |list: &[u32]| list.iter().copied().collect::<BTreeSet<u32>>();
        assert_eq!(to_bits(&ports(&[]), RANGE), Vec::<u8>::new());
        assert_eq!(to_bits(&ports(&[30000]), RANGE), [1]);
        assert_eq!(to_bits(&ports(&[30001, 30008, 29999, 40000]), RANGE), [1, 2]);
        for list in [&[][..], &[30000], &[32767], &[30000, 30007, 30008, 31234, 32767]] {
            assert_eq!(of_bits(&to_bits(&ports(list), RANGE), RANGE.0), ports(list));
        }
    }

    #[tokio::test]
    async fn a_port_is_taken_once_and_leftovers_go_at_the_second_look() {
        let (server, _pki) = crate::testing::server().await;
        let registry = &server.registry;
        let ports = |list: &[u32]| list.iter().copied().collect::<BTreeSet<u32>>();
        assert_eq!(claim(registry, &ports(&[30100, 30101])).await.unwrap(), None);
        assert_eq!(claim(registry, &ports(&[30099, 30101])).await.unwrap(), Some(30101));
        assert_eq!(claim(registry, &ports(&[30099])).await.unwrap(), None, "a refusal takes nothing");
        release(registry, &ports(&[30099])).await;
        let lost = repair(registry, &BTreeSet::new()).await.unwrap();
        assert_eq!(lost, ports(&[30100, 30101]));
        assert_eq!(claim(registry, &ports(&[30100])).await.unwrap(), Some(30100), "its Service may be on the way");
        assert_eq!(repair(registry, &lost).await.unwrap(), ports(&[]));
        assert_eq!(claim(registry, &ports(&[30100])).await.unwrap(), None);
    }

    #[test]
    fn what_upstream_wrote_is_read() {
        let message = RangeAllocation { range: "30000-32767".to_owned(), data: vec![1, 2] };
        let raw = prost::Message::encode_to_vec(&message);
        let entry = Entry::unstored(KEY, protobuf::wrap_envelope("v1", "RangeAllocation", &raw).into());
        assert_eq!(read(&entry, RANGE).unwrap(), [30001, 30008].into());
        assert!(read(&entry, (30000, 30010)).unwrap().is_empty(), "another range is another bitmap");
        assert!(read(&Entry::unstored(KEY, b"k8s\0\xff"[..].into()), RANGE).is_err());
    }
}
