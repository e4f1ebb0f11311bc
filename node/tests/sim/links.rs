//! The TCP links between nodes: which are up, and what of a link that ended still arrives.

use std::collections::BTreeMap;

use crate::wire::NodeId;

/// Every link, smaller id first.
#[derive(Debug, Default)]
pub(crate) struct Links {
    /// Those that are up, each with a number of its own: a frame of an earlier link is lost.
    up: BTreeMap<(NodeId, NodeId), u64>,
    made: u64,
    /// Links that one side closed: what it wrote before still arrives.
    closed_by: BTreeMap<u64, NodeId>,
    /// Until when the other side of a closed link has not heard of it; no new link between the two before.
    closing: BTreeMap<(NodeId, NodeId), u64>,
    /// When the last frame of each direction arrives: TCP keeps the order.
    last_arrival: BTreeMap<(NodeId, NodeId), u64>,
}

impl Links {
    /// Brings a link up. Returns false if there was one.
    pub(crate) fn connect(&mut self, a: NodeId, b: NodeId) -> bool {
        self.made += 1;
        let number = self.made;
        let new = !self.up.contains_key(&pair(a, b));
        self.up.entry(pair(a, b)).or_insert(number);
        new
    }

    /// Takes a link down. Returns whether there was one.
    pub(crate) fn disconnect(&mut self, a: NodeId, b: NodeId) -> bool {
        self.up.remove(&pair(a, b)).is_some()
    }

    /// One side closes the link in good order; the other hears of it at `heard`.
    pub(crate) fn close(&mut self, by: NodeId, other: NodeId, heard: u64) {
        if let Some(number) = self.up.remove(&pair(by, other)) {
            self.closed_by.insert(number, by);
        }
        self.closing.insert(pair(by, other), heard);
    }

    /// Whether one of the two has yet to hear that their last link is gone.
    pub(crate) fn is_closing(&self, a: NodeId, b: NodeId, now: u64) -> bool {
        self.closing.get(&pair(a, b)).is_some_and(|heard| now <= *heard)
    }

    /// Whether a frame that `from` wrote to link `number` has a link to arrive over.
    pub(crate) fn delivers(&self, number: u64, from: NodeId, to: NodeId) -> bool {
        self.number(from, to) == Some(number) || self.closed_by.get(&number) == Some(&from)
    }

    /// The number of the link between two nodes, if it is up.
    pub(crate) fn number(&self, a: NodeId, b: NodeId) -> Option<u64> {
        self.up.get(&pair(a, b)).copied()
    }

    /// Both ends and the number of each.
    pub(crate) fn iter(&self) -> impl Iterator<Item = ((NodeId, NodeId), u64)> {
        self.up.iter().map(|(ends, number)| (*ends, *number))
    }

    /// Who has a link to `node`.
    pub(crate) fn neighbours(&self, node: NodeId) -> Vec<NodeId> {
        let other = |(a, b): (NodeId, NodeId)| (a == node).then_some(b).or((b == node).then_some(a));
        self.up.keys().filter_map(|ends| other(*ends)).collect()
    }

    /// When a frame that takes `latency` arrives: never before an earlier one.
    pub(crate) fn arrival(&mut self, now: u64, latency: u64, from: NodeId, to: NodeId) -> u64 {
        let last = self.last_arrival.entry((from, to)).or_default();
        *last = (now + latency).max(*last);
        *last
    }
}

fn pair(a: NodeId, b: NodeId) -> (NodeId, NodeId) {
    (a.min(b), a.max(b))
}
