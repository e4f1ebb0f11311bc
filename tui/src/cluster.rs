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

use crate::failure::Failure;

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

/// Which runtime is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RuntimeChoice {
    /// Docker when an engine answers, local processes otherwise.
    #[default]
    Auto,
    /// Docker or nothing.
    Docker,
    /// Local processes.
    Process,
}

/// Who runs a network, and why them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeInfo {
    /// `docker` or `process`.
    pub kind: &'static str,
    /// `docker unix:///var/run/docker.sock · engine 20.10.24 · API 1.41`, or `local processes`.
    pub describe: String,
    /// Why this one: `an engine answers`, `asked for`, or what was tried and how it failed.
    pub why: String,
}

/// How far a start, a growth or a stop has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// `importing the image`, `creating containers`, `starting nodes`, `removing containers` …
    pub step: &'static str,
    /// Of the step's pieces, this many are done.
    pub done: u32,
    /// This many there are.
    pub total: u32,
}

/// A network that exists. Cheap to clone; every clone speaks to the same network.
#[derive(Debug, Clone)]
pub struct Cluster {}

type Watcher = tokio::sync::mpsc::Receiver<Truth>;
type Reporter = tokio::sync::mpsc::Sender<Progress>;

/// The signatures the verbs and the dashboard are written against.
#[allow(clippy::unused_async, missing_docs, unused_variables, clippy::unimplemented)]
impl Cluster {
    /// The network of that name, if one exists.
    pub async fn find(network: &NetworkName, runtime: RuntimeChoice) -> Result<Option<Cluster>, Failure> {
        unimplemented!()
    }
    /// Makes a network (or completes one whose start was interrupted) and returns once every node runs.
    pub async fn start(
        settings: Settings,
        nodes: u32,
        runtime: RuntimeChoice,
        progress: Reporter,
    ) -> Result<Cluster, Failure> {
        unimplemented!()
    }
    pub fn settings(&self) -> &Settings {
        unimplemented!()
    }
    pub fn runtime(&self) -> &RuntimeInfo {
        unimplemented!()
    }
    pub async fn gateway(&self) -> Result<GatewayAddress, Failure> {
        unimplemented!()
    }
    pub async fn list(&self) -> Result<Vec<Unit>, Failure> {
        unimplemented!()
    }
    /// Truth as it happens; the first message is `Listed`. Reconnects by itself; ends when the receiver is dropped.
    pub fn watch(&self) -> Watcher {
        unimplemented!()
    }
    pub async fn add_nodes(&self, count: u32, progress: Reporter) -> Result<Vec<NodeName>, Failure> {
        unimplemented!()
    }
    pub async fn stop_nodes(&self, nodes: &[NodeName], signal: crate::verb::Signal) -> Result<(), Failure> {
        unimplemented!()
    }
    pub async fn restart_nodes(&self, nodes: &[NodeName]) -> Result<(), Failure> {
        unimplemented!()
    }
    pub async fn pause_nodes(&self, nodes: &[NodeName]) -> Result<(), Failure> {
        unimplemented!()
    }
    pub async fn resume_nodes(&self, nodes: &[NodeName]) -> Result<(), Failure> {
        unimplemented!()
    }
    /// Removes everything of this network; with `keep_data` the folders stay.
    pub async fn stop(&self, keep_data: bool, progress: Reporter) -> Result<(), Failure> {
        unimplemented!()
    }
}
