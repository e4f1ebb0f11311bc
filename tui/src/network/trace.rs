//! One broadcast and everywhere it has been.

use p2pnet_shared::{MessageId, NodeName, UnixMillis, wire::broadcast::Via};

/// One broadcast.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// Which.
    pub id: MessageId,
    /// What was said; `None` until somebody who knows has reported.
    pub text: Option<String>,
    /// When the origin had it (its own stamp); the first stamp seen while the origin has not reported.
    pub accepted_at: UnixMillis,
    /// Each node that has it, in the order of their stamps, the origin first.
    pub arrivals: Vec<Arrival>,
    /// How many nodes of those that were to have it have it (see [`Trace::expected`]).
    pub delivered: u32,
    /// How many are to have it: nodes that are up now and had booted when it was accepted, and those that received it
    /// before they went down.
    pub expected: u32,
    /// Deliveries beyond the first to the same life of the same node. Stays 0.
    pub duplicates: u32,
}

/// A broadcast's arrival at one node.
#[derive(Debug, Clone, PartialEq)]
pub struct Arrival {
    /// Where.
    pub node: NodeName,
    /// The way it took, from the origin to `node`, both named.
    pub path: Vec<NodeName>,
    /// When, by the node's stamp.
    pub at: UnixMillis,
    /// How it came there, by the node's word.
    pub via: Via,
    /// The node had delivered a later message of the same origin before.
    pub late: bool,
}

impl Trace {
    /// Milliseconds from acceptance to the last arrival so far.
    #[must_use]
    pub fn last_ms(&self) -> u64 {
        self.arrivals.iter().map(|arrival| arrival.at.since(self.accepted_at)).max().unwrap_or(0)
    }

    /// The longest way taken so far, hops.
    #[must_use]
    pub fn hops_max(&self) -> usize {
        self.arrivals.iter().map(|arrival| arrival.path.len().saturating_sub(1)).max().unwrap_or(0)
    }
}
