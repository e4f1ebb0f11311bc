//! What the host allows, read from the kernel: the numbers that end a large network before memory does.

use std::{fs, io};

use rustix::process::{Resource, getrlimit};

/// The most nodes one machine carries. A Linux bridge holds 1,023 ports; the bootstrap, the gateway and the host's own
/// end take three, and the rest is left for whatever else its user attaches.
pub const MOST_NODES: u32 = 1_000;

/// Entries in the neighbour table asked for at most: about 50 MiB of kernel memory when full.
const NEIGHBOURS_MAX: u64 = 131_072;

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
        neighbours(nodes),
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

/// The kernel's table of who is where on a bridge. It is one for all network namespaces of the host, and every unit talks
/// to every other now and then (SWIM probes at random), so it holds an entry for each ordered pair. Seen here: with the
/// default of 1,024 the 32nd container is the last that reaches anybody.
pub(crate) fn neighbours(nodes: u64) -> Limit {
    let units = nodes + 2;
    sysctl(
        "neighbour table (gc_thresh3)",
        "net.ipv4.neigh.default.gc_thresh3",
        (units * units).clamp(1_024, NEIGHBOURS_MAX),
        "beyond about 30 nodes containers do not reach each other",
    )
}

/// Raises the neighbour table of this kernel to `entries`, never lowers it; it stays so until the next boot. Needs root in
/// the host's network namespace.
///
/// # Errors
/// When the kernel's settings cannot be read or written.
pub fn raise_neighbours(entries: u64) -> io::Result<()> {
    // The threshold from which the kernel looks for entries to forget stays below the one at which it refuses new ones.
    for (name, wanted) in [("gc_thresh3", entries), ("gc_thresh2", entries / 4 * 3)] {
        let path = format!("/proc/sys/net/ipv4/neigh/default/{name}");
        let current: u64 = fs::read_to_string(&path)?.trim().parse().map_err(io::Error::other)?;
        if current < wanted {
            fs::write(&path, wanted.to_string())?;
        }
    }
    Ok(())
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
