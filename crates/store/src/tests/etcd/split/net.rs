//! Three etcd members with a network namespace and a disk each, and what can go wrong between and below them.

use std::path::Path;
use std::process::Command;

use super::super::cluster::{Cluster, Place};

pub const MEMBERS: usize = 3;

/// What is done to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing passes between it and the other members; its clients reach it.
    Apart,
    /// The others do not hear it, but it hears them; its clients reach it.
    Mute,
    /// It does not hear the others, but they hear it.
    Deaf,
    /// Nobody reaches it.
    Cut,
}

/// Runs a command that must succeed.
pub fn run(line: &str) {
    let mut words = line.split_whitespace();
    let program = words.next().expect("a program");
    let output = Command::new(program).args(words).output().unwrap_or_else(|error| panic!("{line}: {error}"));
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

fn link(member: usize) -> String {
    format!("v{member}")
}

fn disk(folder: &Path, member: usize) -> String {
    folder.join(format!("m{member}")).display().to_string()
}

/// Everything is made in the namespaces of this process, and goes with them.
pub fn start(folder: &Path) -> Cluster {
    run("mount -t tmpfs none /run/netns");
    run("ip link set lo up");
    run("ip link add br0 type bridge");
    run("ip address add 198.51.100.254/24 dev br0");
    run("ip link set br0 up");
    run("nft add table bridge split");
    run("nft add chain bridge split forward { type filter hook forward priority 0 ; policy accept ; }");
    let place = |member| {
        let (name, link, disk) = (format!("m{member}"), link(member), disk(folder, member));
        let host = format!("198.51.100.{}", member + 1);
        run(&format!("ip netns add {name}"));
        run(&format!("ip link add {link} type veth peer name eth0 netns {name}"));
        run(&format!("ip link set {link} master br0 up"));
        for command in
            ["link set lo up".to_owned(), format!("address add {host}/24 dev eth0"), "link set eth0 up".to_owned()]
        {
            run(&format!("ip -n {name} {command}"));
        }
        run(&format!("truncate -s 512M {disk}.image"));
        run(&format!("mkfs.ext4 -q -F {disk}.image"));
        run(&format!("mkdir -m 700 {disk}"));
        run(&format!("mount -o loop {disk}.image {disk}"));
        run(&format!("chmod 700 {disk}"));
        Place { host, namespace: Some(format!("/run/netns/{name}")), folder: disk.into() }
    };
    Cluster::start_at((0..MEMBERS).map(place).collect(), &[])
}

impl Fault {
    pub fn begin(self, member: usize) {
        let link = link(member);
        let drop = |way: &str| run(&format!("nft add rule bridge split forward {way} {link} drop"));
        match self {
            Self::Apart => ["iifname", "oifname"].into_iter().for_each(drop),
            Self::Mute => drop("iifname"),
            Self::Deaf => drop("oifname"),
            Self::Cut => run(&format!("ip link set {link} down")),
        }
    }

    pub fn end(self, member: usize) {
        match self {
            Self::Cut => run(&format!("ip link set {} up", link(member))),
            _ => run("nft flush chain bridge split forward"),
        }
    }
}

/// A disk that takes nothing until this is dropped: every write and sync of its member waits, the member itself goes on.
pub struct Stalled(String);

impl Stalled {
    pub fn begin(folder: &Path, member: usize) -> Self {
        let disk = disk(folder, member);
        run(&format!("fsfreeze --freeze {disk}"));
        Self(disk)
    }
}

impl Drop for Stalled {
    fn drop(&mut self) {
        run(&format!("fsfreeze --unfreeze {}", self.0));
    }
}
