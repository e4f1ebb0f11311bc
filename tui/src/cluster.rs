//! What we can ask of a network of nodes, and who answers.
//!
//! ```text
//! verbs, dashboard ──▶ Cluster ──▶ dyn Engine ──▶ docker.rs    one container a node, through the engine's API
//!                        │                   └──▶ process.rs   one local process a node
//!                        └── placement, bounded parallel starts, progress, clean-up: written once, for a list of engines
//! ```
//! What runs, is paused or dead is always the engine's word, never a node's. Everything needed to find a network again
//! lives with the network itself (labels on containers, a file beside processes), so any p2pnet can attach to it at any
//! time, also after the one that made it was killed.

use std::net::{IpAddr, SocketAddr};

use p2pnet_shared::{NetworkName, NodeName, UnixMillis};
use serde::{Deserialize, Serialize};

/// What one unit of a network is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The node the others come to first. Same program, same code.
    Bootstrap,
    /// A peer.
    Node,
    /// Collects what nodes report; no member of the network.
    Gateway,
}

/// How a unit is, by the word of the engine that runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnitState {
    /// Made, not yet started.
    Created,
    /// Runs.
    Up,
    /// Frozen: its sockets are open and nobody is at home.
    Paused,
    /// Ended by a signal or an error.
    Dead,
    /// Ended by itself with exit code 0: it said goodbye.
    Left,
}

/// One container or process of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// `node7`, `bootstrap`, `gateway`: the name inside the network.
    pub name: NodeName,
    /// What it is for.
    pub role: Role,
    /// How it is.
    pub state: UnitState,
    /// Where its port is reached from this host, if it is published.
    pub address: Option<SocketAddr>,
    /// When it entered its state, as the engine says; `None` where the engine cannot tell.
    pub since: Option<UnixMillis>,
}

/// What an engine tells us without being asked. Whoever holds it compares it with what nodes believe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Truth {
    /// Every unit of the network there is: replaces all that was known. Comes first, then every few seconds.
    Listed(Vec<Unit>),
    /// One unit changed.
    Changed(Unit),
    /// One unit is gone altogether.
    Removed(NodeName),
    /// The engine does not answer: what was known may be out of date from here on.
    EngineLost(String),
    /// It answers again; a list follows.
    EngineBack,
}

/// Where a network's gateway is reached from this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayAddress {
    /// Always loopback or the bind address.
    pub addr: SocketAddr,
    /// Sent as `Authorization: Bearer …` with every request.
    pub token: String,
}

/// What is fixed when a network is started and found again with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The network's name.
    pub network: NetworkName,
    /// Node i is published on this port plus i; the bootstrap on this one.
    pub base_port: u16,
    /// The host address ports are published on.
    pub bind: IpAddr,
    /// Folders are `data/<network>/node7/{sync,data}`.
    pub data: std::path::PathBuf,
    /// Whether node ports are published.
    pub publish: bool,
    /// Seals datagrams and frames between nodes.
    pub secret: Option<String>,
}
