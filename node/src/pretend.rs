//! What the pretend networks of the protocols' own tests have in common: when what happens, who cannot reach whom, and that what goes
//! from one to another keeps its order. Time is a number of milliseconds, kept by the network.

use std::collections::{BTreeMap, BTreeSet};

use p2pnet_shared::NodeName;

/// What is going to happen, in the order of its times; at one time in the order it was set down.
#[derive(Debug)]
pub(crate) struct Agenda<E> {
    events: BTreeMap<(u64, u64), E>,
    number: u64,
}

impl<E> Agenda<E> {
    pub(crate) fn new() -> Self {
        Self { events: BTreeMap::new(), number: 0 }
    }

    pub(crate) fn set(&mut self, at: u64, event: E) {
        self.number += 1;
        self.events.insert((at, self.number), event);
    }

    /// The next event until `end`, and when it happens.
    pub(crate) fn next(&mut self, end: u64) -> Option<(u64, E)> {
        let next = self.events.first_entry().filter(|next| next.key().0 <= end)?;
        let ((at, _), event) = next.remove_entry();
        Some((at, event))
    }
}

/// The ways between nodes.
#[derive(Debug, Default)]
pub(crate) struct Ways {
    /// Pairs of whom the first cannot reach the second.
    cut: BTreeSet<(NodeName, NodeName)>,
    /// When the last of what is on its way arrives.
    last: BTreeMap<(NodeName, NodeName), u64>,
}

impl Ways {
    /// Cuts a group off from all others; says which ways are closed by that, both ways of a pair one after the other.
    pub(crate) fn cut(&mut self, names: Vec<NodeName>, group: &[NodeName]) -> Vec<(NodeName, NodeName)> {
        let (ours, theirs): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| group.contains(name));
        let pairs = ours.iter().flat_map(|one| theirs.iter().map(move |other| (one, other)));
        let ways = pairs.flat_map(|(one, other)| [(one.clone(), other.clone()), (other.clone(), one.clone())]);
        let closed: Vec<_> = ways.collect();
        self.cut.extend(closed.iter().cloned());
        closed
    }

    pub(crate) fn is_cut(&self, from: &NodeName, to: &NodeName) -> bool {
        self.cut.contains(&(from.clone(), to.clone()))
    }

    /// Opens all ways; says which were closed.
    pub(crate) fn heal(&mut self) -> BTreeSet<(NodeName, NodeName)> {
        std::mem::take(&mut self.cut)
    }

    /// When something arrives that would do so at `at`, if it does not overtake what went the same way before.
    pub(crate) fn in_order(&mut self, from: &NodeName, to: &NodeName, at: u64) -> u64 {
        let last = self.last.entry((from.clone(), to.clone())).or_default();
        *last = (*last).max(at);
        *last
    }
}
