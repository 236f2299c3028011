//! What a node needs once: the bridge, forwarding, the firewall table, the plugin's binary and configuration where the
//! container runtime looks for them; and taking all of it away again.

use std::os::unix::fs::symlink;
use std::path::Path;

use crate::config::NetworkConfig;
use crate::{Error, firewall, links};

/// The names under which the container runtime calls this program as a plugin.
pub const PLUGINS: &[&str] = &["canopus-cni", "loopback"];

/// Makes the node's part of the pod network. Safe to repeat.
pub fn ensure(config: &NetworkConfig) -> Result<(), Error> {
    links::block_on(async |handle| links::ensure_bridge(&handle, config).await)?;
    set_sysctl("net/ipv4/ip_forward", "1")?;
    // Host ports answer at 127.0.0.1 as well.
    set_sysctl(&format!("net/ipv4/conf/{}/route_localnet", config.bridge), "1")?;
    // Without it a pod's answer to a pod on the same bridge bypasses the firewall that must undo a service's translation.
    // Absent where the kernel has no br_netfilter; traffic to services then works only between nodes.
    if Path::new("/proc/sys/net/bridge/bridge-nf-call-iptables").exists() {
        set_sysctl("net/bridge/bridge-nf-call-iptables", "1")?;
    } else {
        tracing::warn!(
            "this kernel has no br_netfilter: pods cannot reach services whose endpoints are on their own node"
        );
    }
    firewall::apply(&firewall::ensure_script(config))
}

/// Puts the plugin (this very program under the plugin's name) and its configuration where the runtime looks for them.
pub fn install(
    config: &NetworkConfig,
    program: &Path,
    binary_dir: &Path,
    configuration_dir: &Path,
) -> Result<(), Error> {
    for folder in [binary_dir, configuration_dir] {
        std::fs::create_dir_all(folder).map_err(Error::io(format!("make {}", folder.display())))?;
    }
    for name in PLUGINS {
        let (link, partial) = (binary_dir.join(name), binary_dir.join(format!(".{name}")));
        let _ = std::fs::remove_file(&partial);
        symlink(program, &partial).map_err(Error::io(format!("make {}", partial.display())))?;
        std::fs::rename(&partial, &link).map_err(Error::io(format!("make {}", link.display())))?;
    }
    let file = configuration_dir.join("10-canopus.conflist");
    let partial = configuration_dir.join(".10-canopus");
    std::fs::write(&partial, config.conflist().to_string())
        .and_then(|()| std::fs::rename(&partial, &file))
        .map_err(Error::io(format!("write {}", file.display())))
}

/// Takes the bridge, the table and the remembered addresses away. Safe to repeat.
pub fn remove(config: &NetworkConfig) -> Result<(), Error> {
    links::block_on(async |handle| links::remove(&handle, &config.bridge).await)?;
    firewall::apply(&firewall::remove_script(config))?;
    match std::fs::remove_dir_all(&config.state_dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io(format!("remove {}", config.state_dir.display()))(error))
        }
        _ => Ok(()),
    }
}

fn set_sysctl(name: &str, value: &str) -> Result<(), Error> {
    let path = Path::new("/proc/sys").join(name);
    // Read first: in a container the file may be read-only and already right.
    if std::fs::read_to_string(&path).is_ok_and(|current| current.trim() == value) {
        return Ok(());
    }
    std::fs::write(&path, value).map_err(Error::io(format!("set {} to {value}", path.display())))
}
