//! What happens between nodes: how long a datagram takes, whether it arrives, and which links hold.

use std::collections::{BTreeMap, BTreeSet};

use rand::{RngExt, rngs::SmallRng};

/// Number of a node in the simulation.
pub(crate) type NodeId = usize;

/// How the wire treats what is sent.
#[derive(Debug, Clone)]
pub(crate) struct Conditions {
    /// One way, milliseconds, uniformly.
    pub(crate) latency: std::ops::RangeInclusive<u64>,
    /// Share of datagrams lost.
    pub(crate) loss: f64,
    /// Share of datagrams that arrive twice.
    pub(crate) duplication: f64,
}

impl Default for Conditions {
    fn default() -> Self {
        // One machine: a fast wire, and a run queue now and then.
        Self { latency: 1..=3, loss: 0.0, duplication: 0.0 }
    }
}

/// The wire, and the TCP links over it.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    pub(crate) conditions: Conditions,
    /// Nodes on one side of a cut; empty when there is none.
    cut_off: BTreeSet<NodeId>,
    /// Links that are up (smaller id first), each with a number of its own: a frame of an earlier link is lost.
    links: BTreeMap<(NodeId, NodeId), u64>,
    links_made: u64,
    /// Links that one side closed: what it wrote before still arrives.
    closed_by: BTreeMap<u64, NodeId>,
    /// Until when the other side of a closed link has not heard of it; no new link between the two before.
    closing: BTreeMap<(NodeId, NodeId), u64>,
    /// When the last frame of each direction arrives: TCP keeps the order.
    last_arrival: BTreeMap<(NodeId, NodeId), u64>,
}

impl Wire {
    pub(crate) fn latency(&self, rng: &mut SmallRng) -> u64 {
        rng.random_range(self.conditions.latency.clone())
    }

    /// When each copy of a datagram arrives, in milliseconds from now: none, one or two.
    pub(crate) fn copies(&self, from: NodeId, to: NodeId, rng: &mut SmallRng) -> Vec<u64> {
        if !self.reaches(from, to) || rng.random_bool(self.conditions.loss) {
            return Vec::new();
        }
        let copies = 1 + usize::from(rng.random_bool(self.conditions.duplication));
        (0..copies).map(|_| self.latency(rng)).collect()
    }

    /// Whether no cut lies between the two.
    pub(crate) fn reaches(&self, a: NodeId, b: NodeId) -> bool {
        self.cut_off.contains(&a) == self.cut_off.contains(&b)
    }

    /// Cuts `side` off from all others, both ways, and returns the links that cross the cut.
    pub(crate) fn cut(&mut self, side: impl IntoIterator<Item = NodeId>) -> Vec<(NodeId, NodeId)> {
        self.cut_off = side.into_iter().collect();
        self.links.keys().copied().filter(|(a, b)| !self.reaches(*a, *b)).collect()
    }

    pub(crate) fn heal(&mut self) {
        self.cut_off.clear();
    }

    /// Brings a link up. Returns false if there was one.
    pub(crate) fn connect(&mut self, a: NodeId, b: NodeId) -> bool {
        self.links_made += 1;
        let number = self.links_made;
        let new = !self.links.contains_key(&pair(a, b));
        self.links.entry(pair(a, b)).or_insert(number);
        new
    }

    /// Takes a link down. Returns whether there was one.
    pub(crate) fn disconnect(&mut self, a: NodeId, b: NodeId) -> bool {
        self.links.remove(&pair(a, b)).is_some()
    }

    /// One side closes the link in good order; the other hears of it at `heard`.
    pub(crate) fn close(&mut self, by: NodeId, other: NodeId, heard: u64) {
        if let Some(number) = self.links.remove(&pair(by, other)) {
            self.closed_by.insert(number, by);
        }
        self.closing.insert(pair(by, other), heard);
    }

    /// Whether one of the two has yet to hear that their last link is gone.
    pub(crate) fn is_closing(&self, a: NodeId, b: NodeId, now: u64) -> bool {
        self.closing.get(&pair(a, b)).is_some_and(|heard| now <= *heard)
    }

    /// Whether a frame that `from` wrote to link `number` reaches `to`.
    pub(crate) fn delivers(&self, number: u64, from: NodeId, to: NodeId) -> bool {
        let whole = self.link(from, to) == Some(number) || self.closed_by.get(&number) == Some(&from);
        whole && self.reaches(from, to)
    }

    /// The number of the link between two nodes, if it is up.
    pub(crate) fn link(&self, a: NodeId, b: NodeId) -> Option<u64> {
        self.links.get(&pair(a, b)).copied()
    }

    pub(crate) fn links(&self) -> impl Iterator<Item = (NodeId, NodeId)> {
        self.links.keys().copied()
    }

    /// Who has a link to `node`.
    pub(crate) fn neighbours(&self, node: NodeId) -> Vec<NodeId> {
        self.links().filter_map(|(a, b)| (a == node).then_some(b).or((b == node).then_some(a))).collect()
    }

    /// When a frame handed over at `now` arrives: never before an earlier one.
    pub(crate) fn frame_arrival(&mut self, now: u64, from: NodeId, to: NodeId, rng: &mut SmallRng) -> u64 {
        let last = self.last_arrival.get(&(from, to)).copied().unwrap_or(0);
        let arrival = (now + self.latency(rng)).max(last);
        self.last_arrival.insert((from, to), arrival);
        arrival
    }
}

fn pair(a: NodeId, b: NodeId) -> (NodeId, NodeId) {
    (a.min(b), a.max(b))
}
