//! The pod network: a CNI plugin (bridge, addresses, host ports), the node's part of it (bridge, masquerading) and its
//! removal. It knows no Kubernetes object and no API server; the container runtime calls it by the CNI specification 1.0.
//!
//! Read in this order: `config` (what the plugin is told), `ipam` (addresses), `links` (netlink), `firewall` (nftables),
//! `host` (what a node needs once) and `cni` (the plugin's own protocol).

pub mod cni;
pub mod config;
pub mod firewall;
pub mod host;
pub mod ipam;
pub mod links;

/// What can go wrong below a CNI call or while a node's network is made; the message names the object.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to {action}")]
    Io {
        action: String,
        #[source]
        source: std::io::Error,
    },
    #[error("failed to {action}")]
    Netlink {
        action: String,
        #[source]
        source: Box<rtnetlink::Error>,
    },
    #[error("nft refused the rules: {0}")]
    Nft(String),
    #[error("no address is left in {0}")]
    AddressesExhausted(String),
    #[error("{0}")]
    Invalid(String),
}

impl Error {
    fn io(action: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source }
    }

    fn netlink(action: impl Into<String>) -> impl FnOnce(rtnetlink::Error) -> Self {
        let action = action.into();
        move |source| Self::Netlink { action, source: Box::new(source) }
    }
}

/// A hash that is the same in every version and process (FNV-1a), for names that must be found again.
pub fn stable_hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}
