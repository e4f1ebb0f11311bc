//! What the host allows, read from the kernel: the numbers that end a large network before memory does.

use std::fs;

use rustix::process::{Resource, getrlimit};

/// The most nodes one machine carries. A Linux bridge holds 1,023 ports; the bootstrap, the gateway and the host's own
/// end take three, and the rest is left for whatever else its user attaches.
pub const MOST_NODES: u32 = 1_000;

/// One number of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// `open files`, `neighbour table (gc_thresh3)`.
    pub name: &'static str,
    /// What it is; `None` where it cannot be read.
    pub current: Option<u64>,
    /// What is needed.
    pub needed: u64,
    /// The command that mends it.
    pub mend: String,
    /// What happens if it is not mended.
    pub otherwise: &'static str,
}

impl Limit {
    /// Whether there is enough, as far as can be known.
    #[must_use]
    pub fn is_met(&self) -> bool {
        self.current.is_none_or(|current| current >= self.needed)
    }
}

/// Every limit that a network of `nodes` nodes comes near.
pub(crate) fn all(nodes: u32) -> Vec<Limit> {
    let nodes = u64::from(nodes);
    vec![
        open_files(nodes),
        sysctl(
            "neighbour table (gc_thresh3)",
            "net.ipv4.neigh.default.gc_thresh3",
            // Nodes talk to a few dozen others each, and the table is one for all network namespaces of the host.
            (nodes * 32).max(1024),
            "nodes lose each other at random: the kernel forgets where they are",
        ),
        sysctl(
            "receive backlog (netdev_max_backlog)",
            "net.core.netdev_max_backlog",
            if nodes > 200 { 4096 } else { 1000 },
            "broadcast ARP is dropped in bursts, so first contacts are slow",
        ),
        sysctl(
            "inotify instances",
            "fs.inotify.max_user_instances",
            nodes + 32,
            "nodes notice changed files by rescanning instead of at once",
        ),
        sysctl("processes (pid_max)", "kernel.pid_max", nodes * 16 + 4096, "nodes fail to start"),
    ]
}

fn open_files(nodes: u64) -> Limit {
    let needed = nodes * 2 + 256;
    Limit {
        name: "open files",
        current: Some(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)),
        needed,
        mend: format!("ulimit -n {}", needed.next_power_of_two()),
        otherwise: "connections to nodes are refused on this side",
    }
}

fn sysctl(name: &'static str, key: &str, needed: u64, otherwise: &'static str) -> Limit {
    let path = format!("/proc/sys/{}", key.replace('.', "/"));
    let current = fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok());
    Limit { name, current, needed, mend: format!("sudo sysctl -w {key}={needed}"), otherwise }
}
