//! The numbers of `status --json` (contract §3) and the verdict in one word.

use p2pnet_shared::{
    NetworkName, NodeName,
    telemetry::{DiskState, FolderState},
};
use serde::Serialize;

use super::{FaultState, FilesCounts, OverlayCounts, RingCounts, Ways};
use crate::cluster::UnitState;

/// One word for how the network is; the first that applies, top to bottom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The engine or the gateway does not answer, so nothing can be claimed.
    #[default]
    Unknown,
    /// Nodes are being made, or run and have not reported yet.
    Starting,
    /// Two or more groups each see only themselves.
    Partitioned,
    /// A ghost older than the failure detector's bound, a message that does not arrive, a disk or folder that takes no writes,
    /// or keys or acknowledged uploads all of whose holders are down.
    Degraded,
    /// Views or rings differ from the truth, a message is on its way, keys are short of copies, or folders differ.
    Converging,
    /// Every node that is up agrees with the truth, no message is outstanding, no key is short of copies and every folder is
    /// the union of all.
    Converged,
}

/// `status --json`, whole.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Summary {
    /// The network's name.
    pub network: Option<NetworkName>,
    /// `docker` or `process`.
    pub runtime: String,
    /// In one word.
    pub verdict: Verdict,
    /// In one sentence, why the verdict is not better.
    pub reason: String,
    /// Every node that is up agrees, and nothing is outstanding.
    pub converged: bool,
    /// From the last change of the truth to agreement, milliseconds; `null` while there is none.
    pub converged_in_ms: Option<u64>,
    /// From the last change of the truth to now, while not converged.
    pub converging_for_ms: Option<u64>,
    /// By the engine's word.
    pub nodes: NodeCounts,
    /// Nodes' views against the truth.
    pub members: MemberCounts,
    /// The ring, and the copies of keys.
    pub ring: RingCounts,
    /// Broadcasts.
    pub messages: MessageCounts,
    /// The shared folder.
    pub files: FilesCounts,
    /// What is wrong on purpose now, oldest first; a paused node is counted in `nodes`.
    pub faults: Vec<FaultState>,
    /// Links between neighbours.
    pub overlay: OverlayCounts,
    /// One row a node.
    pub detail: Vec<Detail>,
}

/// By the engine's word, never the nodes'.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct NodeCounts {
    /// The bootstrap and all peers that were started and did not leave by themselves.
    pub wanted: u32,
    /// Running.
    pub up: u32,
    /// Made, not yet running.
    pub starting: u32,
    /// Frozen.
    pub paused: u32,
    /// Ended by a signal or an error.
    pub dead: u32,
    /// Said goodbye.
    pub left: u32,
}

/// Nodes' views against the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct MemberCounts {
    /// Nodes that are up and whose view equals the truth.
    pub agree: u32,
    /// Members that are dead but believed alive by someone.
    pub ghosts: u32,
    /// Members that are up but unknown to someone.
    pub missing: u32,
    /// Members somebody suspects now.
    pub suspects: u32,
}

/// Broadcasts: the first four over all that were accepted, the others over recent ones.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct MessageCounts {
    /// How many were accepted.
    pub accepted: u64,
    /// Arrivals at nodes that were to have them.
    pub delivered: u64,
    /// Arrivals there are to be.
    pub expected: u64,
    /// Arrivals beyond the first at the same node. Stays 0.
    pub duplicates: u64,
    /// Payloads a node had already had for each one that was news (Plumtree's relative message redundancy), over the last
    /// minute, or since the nodes' start where only one report of theirs is known; `null` while there were none.
    pub redundancy: Option<f64>,
    /// Hops of the longest way that one of the last 20 broadcasts took; `null` before the first.
    pub last_hop: Option<u32>,
    /// How those came to the nodes.
    pub ways: Ways,
}

/// One node's row.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Detail {
    /// Its name.
    pub name: NodeName,
    /// Where it is reached from this host, `http://127.0.0.1:5001`.
    pub address: Option<String>,
    /// By the engine's word.
    pub state: UnitState,
    /// How many it believes alive, itself included.
    pub members: u32,
    /// Whether its view equals the truth.
    pub agrees: bool,
    /// Keys it holds, by its own word.
    pub keys: Option<u64>,
    /// How its disk takes writes.
    pub disk: Option<DiskState>,
    /// Files on its disk that should be there, by its own word; `null` without a folder.
    pub files: Option<u64>,
    /// What its folder is doing, by its own word.
    pub folder: Option<FolderState>,
    /// Resident memory, bytes.
    pub rss_bytes: Option<u64>,
    /// Broadcasts delivered to it in this life.
    pub messages: u64,
}
