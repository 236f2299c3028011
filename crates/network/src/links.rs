//! Links, addresses and routes by netlink. What must happen inside a pod's network namespace runs on a thread of its own
//! that enters the namespace and ends with the work, so that no other code ever runs in the wrong namespace.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd;
use std::path::Path;

use futures::TryStreamExt;
use netlink_packet_route::link::LinkAttribute;
use nix::sched::{CloneFlags, setns};
use rtnetlink::{Handle, LinkBridge, LinkBridgePort, LinkUnspec, LinkVeth, RouteMessageBuilder};

use crate::Error;
use crate::config::NetworkConfig;

/// The link inside the pod and its pair on the node.
#[derive(Debug)]
pub struct PodLink {
    pub host_name: String,
    pub host_mac: String,
    pub pod_mac: String,
}

/// Runs `work` with a netlink connection in the current namespace.
pub fn block_on<T>(work: impl AsyncFnOnce(Handle) -> Result<T, Error>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .map_err(Error::io("start a runtime for netlink"))?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(Error::io("open a netlink socket"))?;
        let driver = tokio::spawn(connection);
        let result = work(handle).await;
        driver.abort();
        result
    })
}

/// Runs `work` inside the network namespace at `path`.
pub fn inside<T: Send>(path: &Path, work: impl AsyncFnOnce(Handle) -> Result<T, Error> + Send) -> Result<T, Error> {
    let namespace = File::open(path).map_err(Error::io(format!("open the network namespace {}", path.display())))?;
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            setns(&namespace, CloneFlags::CLONE_NEWNET)
                .map_err(|error| Error::io(format!("enter the network namespace {}", path.display()))(error.into()))?;
            block_on(work)
        });
        thread
            .join()
            .unwrap_or_else(|_| Err(Error::Invalid("the work inside a pod's network namespace panicked".into())))
    })
}

/// Index and hardware address of a link, if it exists.
pub async fn find(handle: &Handle, name: &str) -> Result<Option<(u32, String)>, Error> {
    match handle.link().get().match_name(name).execute().try_next().await {
        Ok(Some(message)) => {
            let mac = message.attributes.iter().find_map(|attribute| match attribute {
                LinkAttribute::Address(bytes) => Some(mac_text(bytes)),
                _ => None,
            });
            Ok(Some((message.header.index, mac.unwrap_or_default())))
        }
        Ok(None) => Ok(None),
        Err(rtnetlink::Error::NetlinkError(message)) if message.raw_code() == -nix::libc::ENODEV => Ok(None),
        Err(error) => Err(Error::netlink(format!("look up the link {name}"))(error)),
    }
}

async fn index_of(handle: &Handle, name: &str) -> Result<u32, Error> {
    find(handle, name).await?.map(|(index, _)| index).ok_or_else(|| Error::Invalid(format!("there is no link {name}")))
}

/// Makes the node's bridge with the gateway's address, or brings an existing one to that state.
pub async fn ensure_bridge(handle: &Handle, config: &NetworkConfig) -> Result<u32, Error> {
    let name = &config.bridge;
    if find(handle, name).await?.is_none() {
        let mut link = LinkBridge::new(name);
        if let Some(mtu) = config.mtu {
            link = link.mtu(mtu);
        }
        ignore_exists(handle.link().add(link.build()).execute().await)
            .map_err(Error::netlink(format!("make the bridge {name}")))?;
    }
    let index = index_of(handle, name).await?;
    let address =
        handle.address().add(index, IpAddr::V4(config.subnet.gateway()), config.subnet.prefix_length).execute().await;
    ignore_exists(address).map_err(Error::netlink(format!("give {} to the bridge {name}", config.subnet.gateway())))?;
    set_up(handle, index, name).await?;
    Ok(index)
}

/// Makes the pair of links of a pod: `pod_name` inside the namespace with `address`, `host_name` at the bridge.
pub fn attach(
    config: &NetworkConfig,
    namespace: &Path,
    host_name: &str,
    pod_name: &str,
    address: Ipv4Addr,
) -> Result<PodLink, Error> {
    let own = File::open("/proc/thread-self/ns/net").map_err(Error::io("open this process' network namespace"))?;
    let pod_mac = inside(namespace, async |handle| {
        set_up_by_name(&handle, "lo").await?;
        if find(&handle, pod_name).await?.is_none() {
            let mut link = LinkVeth::new(pod_name, host_name);
            if let Some(mtu) = config.mtu {
                link = link.mtu(mtu);
            }
            handle
                .link()
                .add(link.build())
                .execute()
                .await
                .map_err(Error::netlink(format!("make the pair {pod_name} and {host_name}")))?;
            let host_end = index_of(&handle, host_name).await?;
            let moved = LinkUnspec::new_with_index(host_end).setns_by_fd(own.as_raw_fd()).build();
            handle
                .link()
                .set(moved)
                .execute()
                .await
                .map_err(Error::netlink(format!("move {host_name} to the node")))?;
        }
        let (index, mac) =
            find(&handle, pod_name).await?.ok_or_else(|| Error::Invalid(format!("{pod_name} has vanished")))?;
        let given = handle.address().add(index, IpAddr::V4(address), config.subnet.prefix_length).execute().await;
        ignore_exists(given).map_err(Error::netlink(format!("give {address} to {pod_name}")))?;
        set_up(&handle, index, pod_name).await?;
        let route =
            RouteMessageBuilder::<Ipv4Addr>::new().gateway(config.subnet.gateway()).output_interface(index).build();
        ignore_exists(handle.route().add(route).execute().await)
            .map_err(Error::netlink(format!("add the default route of {address}")))?;
        Ok(mac)
    })?;
    block_on(async |handle| {
        let bridge = index_of(&handle, &config.bridge).await?;
        let (index, host_mac) =
            find(&handle, host_name).await?.ok_or_else(|| Error::Invalid(format!("{host_name} has vanished")))?;
        let enslaved = LinkUnspec::new_with_index(index).controller(bridge).up().build();
        handle
            .link()
            .set(enslaved)
            .execute()
            .await
            .map_err(Error::netlink(format!("attach {host_name} to {}", config.bridge)))?;
        // A pod that calls a service of which it is itself an endpoint gets its own packet back through the same port.
        handle
            .link()
            .set_port(LinkBridgePort::new(index).hairpin(true).build())
            .execute()
            .await
            .map_err(Error::netlink(format!("allow hairpin traffic at {host_name}")))?;
        Ok(PodLink { host_name: host_name.to_owned(), host_mac, pod_mac })
    })
}

/// Removes a link of the node and with it its pair inside the pod; one that is not there is no error.
pub async fn remove(handle: &Handle, name: &str) -> Result<(), Error> {
    let Some((index, _)) = find(handle, name).await? else { return Ok(()) };
    match handle.link().del(index).execute().await {
        Err(rtnetlink::Error::NetlinkError(message)) if message.raw_code() == -nix::libc::ENODEV => Ok(()),
        result => result.map_err(Error::netlink(format!("remove the link {name}"))),
    }
}

/// Brings a link up.
pub async fn set_up_by_name(handle: &Handle, name: &str) -> Result<(), Error> {
    set_up(handle, index_of(handle, name).await?, name).await
}

async fn set_up(handle: &Handle, index: u32, name: &str) -> Result<(), Error> {
    let up = LinkUnspec::new_with_index(index).up().build();
    handle.link().set(up).execute().await.map_err(Error::netlink(format!("bring the link {name} up")))
}

fn ignore_exists(result: Result<(), rtnetlink::Error>) -> Result<(), rtnetlink::Error> {
    match result {
        Err(rtnetlink::Error::NetlinkError(message)) if message.raw_code() == -nix::libc::EEXIST => Ok(()),
        other => other,
    }
}

fn mac_text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}
