//! containerd's configuration file. Version 2 of the format serves containerd 1.6 and 1.7, version 3 serves 2.x; they
//! differ in the names of plugins and in where the CRI service keeps its image settings.

use std::{
    fmt::Write,
    path::{Path, PathBuf},
    process::Command,
};

use super::ContainerdError;

/// What the owner of the cluster decides about its containerd.
#[derive(Debug, Clone)]
pub struct Options {
    /// The containerd binary.
    pub binary: PathBuf,
    /// The runc binary's name or path.
    pub runc: String,
    /// The image of sandboxes.
    pub pause_image: String,
    /// CNI plugins.
    pub cni_bin_dir: PathBuf,
    /// CNI network configurations.
    pub cni_conf_dir: PathBuf,
    /// Registry hosts: `<dir>/<host>/hosts.toml`.
    pub certs_dir: PathBuf,
    /// Whether runc asks systemd for cgroups.
    pub systemd_cgroup: bool,
    /// The image snapshotter.
    pub snapshotter: String,
}

impl Options {
    /// Debian's containerd and runc, with CNI and registry settings below `dir` (the cluster's root).
    pub fn new(dir: &Path) -> Self {
        Self {
            binary: "containerd".into(),
            runc: "runc".into(),
            pause_image: "localhost/canopus/pause:latest".into(),
            cni_bin_dir: dir.join("cni/bin"),
            cni_conf_dir: dir.join("cni/conf"),
            certs_dir: dir.join("containerd/certs.d"),
            systemd_cgroup: false,
            snapshotter: "overlayfs".into(),
        }
    }
}

/// The major version of a containerd, which decides the format of its configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// 1.x
    One,
    /// 2.x and later
    Two,
}

impl Version {
    /// Asks the binary.
    pub fn of(binary: &Path) -> Result<Self, ContainerdError> {
        let missing = || ContainerdError::Missing(binary.display().to_string());
        let output = Command::new(binary).arg("--version").output().map_err(|_| missing())?;
        Ok(Self::parse(&String::from_utf8_lossy(&output.stdout)))
    }

    /// Reads `containerd github.com/containerd/containerd[/v2] 1.6.20~ds1 ...`.
    pub fn parse(text: &str) -> Self {
        let number = text.split_whitespace().nth(2).unwrap_or("").trim_start_matches('v');
        let major: u32 = number.split('.').next().and_then(|part| part.parse().ok()).unwrap_or(1);
        if major >= 2 { Self::Two } else { Self::One }
    }
}

/// The whole configuration file.
pub fn render(dir: &Path, options: &Options, version: Version) -> String {
    render_with(dir, options, version, !may_lower_oom_score())
}

fn render_with(dir: &Path, options: &Options, version: Version, restrict_oom_score_adj: bool) -> String {
    let text = |path: &Path| toml_string(&path.display().to_string());
    let mut out = String::new();
    let root = dir.join("root");
    let state = dir.join("state");
    let format = if version == Version::One { 2 } else { 3 };
    let _ = writeln!(out, "# Written at each start; changes are lost.\nversion = {format}");
    let _ = writeln!(out, "root = {}\nstate = {}", text(&root), text(&state));
    let unused = ["opt", "btrfs", "aufs", "zfs", "devmapper", "blockfile"].map(|name| match name {
        "opt" => format!("\"io.containerd.internal.v1.{name}\""),
        _ => format!("\"io.containerd.snapshotter.v1.{name}\""),
    });
    let _ = writeln!(out, "disabled_plugins = [{}]", unused.join(", "));
    let _ = writeln!(out, "\n[grpc]\n  address = {}", text(&super::socket(dir)));
    // Nobody else talks to it, so the second socket would only collide with others.
    let _ = writeln!(out, "\n[ttrpc]\n  address = {}", text(&dir.join("containerd.sock.ttrpc")));
    let certs = text(&options.certs_dir);
    let runc_options = format!(
        "    runtime_type = \"io.containerd.runc.v2\"\n    [{{}}.options]\n      SystemdCgroup = {}\n      BinaryName = {}\n",
        options.systemd_cgroup,
        toml_string(&options.runc)
    );
    let (cri, images) = match version {
        Version::One => ("plugins.\"io.containerd.grpc.v1.cri\"", "plugins.\"io.containerd.grpc.v1.cri\""),
        Version::Two => ("plugins.\"io.containerd.cri.v1.runtime\"", "plugins.\"io.containerd.cri.v1.images\""),
    };
    let streaming = "  stream_server_address = \"127.0.0.1\"\n  stream_server_port = \"0\"\n";
    let _ = writeln!(out, "\n[{cri}]");
    if version == Version::One {
        out.push_str(streaming);
        let _ = writeln!(out, "  sandbox_image = {}", toml_string(&options.pause_image));
    }
    let _ = writeln!(out, "  restrict_oom_score_adj = {restrict_oom_score_adj}\n  netns_mounts_under_state_dir = true");
    let _ = writeln!(out, "  [{cri}.cni]");
    match version {
        Version::One => writeln!(out, "    bin_dir = {}", text(&options.cni_bin_dir)),
        Version::Two => writeln!(out, "    bin_dirs = [{}]", text(&options.cni_bin_dir)),
    }
    .unwrap_or_default();
    let _ = writeln!(out, "    conf_dir = {}", text(&options.cni_conf_dir));
    let _ = writeln!(out, "  [{cri}.containerd]\n    default_runtime_name = \"runc\"");
    if version == Version::One {
        let _ = writeln!(out, "    snapshotter = {}", toml_string(&options.snapshotter));
    }
    let runc = format!("{cri}.containerd.runtimes.runc");
    let _ = write!(out, "  [{runc}]\n{}", runc_options.replace("{}", &runc));
    if version == Version::Two {
        let _ = writeln!(out, "\n[{images}]\n  snapshotter = {}", toml_string(&options.snapshotter));
        let _ = writeln!(out, "  [{images}.pinned_images]\n    sandbox = {}", toml_string(&options.pause_image));
        let _ = write!(out, "\n[plugins.\"io.containerd.grpc.v1.cri\"]\n{streaming}");
    }
    let _ = writeln!(out, "\n[{images}.registry]\n  config_path = {certs}");
    out
}

fn toml_string(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// CAP_SYS_RESOURCE (24) is what lowering an oom_score_adj takes; without it runc fails on every pod.
fn may_lower_oom_score() -> bool {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
            u64::from_str_radix(line.trim(), 16).ok()
        })
        .is_none_or(|capabilities| capabilities & (1 << 24) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_of_debian_and_upstream_builds() {
        assert_eq!(Version::parse("containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1"), Version::One);
        assert_eq!(Version::parse("containerd github.com/containerd/containerd/v2 v2.1.4 abc"), Version::Two);
        assert_eq!(Version::parse("garbage"), Version::One);
    }

    #[test]
    fn each_format_names_its_own_plugins() {
        let options = Options::new(Path::new("/x"));
        let one = render_with(Path::new("/x/containerd"), &options, Version::One, true);
        assert!(one.starts_with("# Written at each start; changes are lost.\nversion = 2\n"));
        assert!(one.contains("sandbox_image = \"localhost/canopus/pause:latest\""));
        assert!(one.contains("restrict_oom_score_adj = true"));
        assert!(one.contains("[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc.options]"));
        let two = render_with(Path::new("/x/containerd"), &options, Version::Two, false);
        assert!(two.contains("version = 3"));
        assert!(two.contains("[plugins.\"io.containerd.cri.v1.images\".pinned_images]"));
        assert!(!two.contains("sandbox_image"));
    }
}
