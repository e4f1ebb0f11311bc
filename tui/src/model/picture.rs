//! What the panes draw: a copy of what is known, taken once a frame at most.
//!
//! A copy rather than the network itself so that the view can be frozen while data keeps flowing, and so that every pane
//! of one frame shows the same moment. Broadcasts that did not change since the last copy are not copied again.

use p2pnet_shared::{NodeName, UnixMillis};

use super::{
    files::{FilesPicture, FilesView},
    ring::{KeyFocus, RingPicture},
};
use crate::network::{Chapter, Neighbour, Network, Node, Summary, Trace};

/// How many of the newest broadcasts are shown. Default 200: two screens of the largest terminal we know.
pub const TRACES_SHOWN: usize = 200;

/// What is known of one node beyond its row.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// Which.
    pub node: Option<NodeName>,
    /// Its overlay links, those it pushes over first.
    pub neighbours: Vec<Neighbour>,
    /// What happened to it, oldest first.
    pub story: Vec<Chapter>,
}

/// One moment of the network.
#[derive(Debug, Clone, Default)]
pub struct Picture {
    /// When it was taken; ages and clocks count to here.
    pub at: UnixMillis,
    /// The numbers.
    pub summary: Summary,
    /// The bootstrap and the peers, in the order people count.
    pub nodes: Vec<Node>,
    /// The newest broadcasts, newest first.
    pub traces: Vec<Trace>,
    /// The key-value store.
    pub ring: RingPicture,
    /// The shared folder.
    pub files: FilesPicture,
    /// The selected node.
    pub about: About,
    /// Why the engine's word is out of date, and since when.
    pub engine_lost: Option<(UnixMillis, String)>,
    /// Why the nodes' word is out of date, and since when.
    pub feed_lost: Option<(UnixMillis, String)>,
}

impl Picture {
    /// Copies what is known as of `now`; of the store also where the copies of `key` are, of the folders what `files` shows.
    pub fn take(&mut self, network: &Network, now: UnixMillis, key: Option<&KeyFocus>, files: &FilesView) {
        let owned = |lost: Option<(UnixMillis, &str)>| lost.map(|(since, why)| (since, why.to_owned()));
        self.at = now;
        self.summary = network.summary(now);
        self.ring.take(network, &self.summary.ring, key);
        self.files.take(network, now, files);
        self.nodes.clear();
        self.nodes.extend(network.nodes().cloned());
        let mut before: Vec<Trace> = std::mem::take(&mut self.traces);
        self.traces = network
            .traces()
            .rev()
            .take(TRACES_SHOWN)
            .map(|trace| match before.iter().position(|old| same(old, trace)) {
                Some(at) => before.swap_remove(at),
                None => trace.clone(),
            })
            .collect();
        self.engine_lost = owned(network.engine_lost());
        self.feed_lost = owned(network.feed_lost());
    }

    /// Copies what is known of one node.
    pub fn look_at(&mut self, network: &Network, node: Option<&NodeName>) {
        self.about = About {
            node: node.cloned(),
            neighbours: node.map(|node| network.neighbours(node)).unwrap_or_default(),
            story: node.map(|node| network.story(node).collect()).unwrap_or_default(),
        };
    }

    /// Brings the clocks up to `now` without copying anything else.
    pub fn tick(&mut self, now: UnixMillis) {
        let passed = now.since(self.at);
        self.at = now;
        self.summary.faults.iter_mut().for_each(|fault| fault.for_ms += passed);
        let Summary { converging_for_ms, files, .. } = &mut self.summary;
        let clocks = [converging_for_ms, &mut files.union_for_ms, &mut self.ring.repair.running_ms];
        for running in clocks.into_iter().flatten() {
            *running += passed;
        }
    }

    /// The node of that name.
    #[must_use]
    pub fn node(&self, name: &NodeName) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == *name)
    }
}

/// Whether two copies of a broadcast show the same. Arrivals are only ever added.
fn same(a: &Trace, b: &Trace) -> bool {
    a.id == b.id
        && a.arrivals.len() == b.arrivals.len()
        && (a.delivered, a.expected, a.duplicates) == (b.delivered, b.expected, b.duplicates)
        && a.accepted_at == b.accepted_at
        && a.text.is_some() == b.text.is_some()
}
