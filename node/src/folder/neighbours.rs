//! With whom this node compares and from whom it fetches first.
//!
//! A handful of rings, each with all members in an order of its own (by a hash of the ring's number and the name); who stands next
//! to us on one of them is our neighbour. The union of a few such rings is symmetric, connected, and close to a random
//! regular graph (Kraken §3.1 has its tracker hand one out; Law & Siu 2003 build it of Hamiltonian cycles, as here), with no word
//! exchanged: everybody who knows the same members draws the same graph, and one member more or less changes few of its edges.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound::{Excluded, Unbounded},
};

use p2pnet_shared::{Epoch, NodeName};

type Point = (u64, NodeName);

/// The members believed alive, and those of them that are neighbours.
#[derive(Debug)]
pub(super) struct Neighbours {
    me: NodeName,
    members: BTreeMap<NodeName, Epoch>,
    rings: Vec<BTreeSet<Point>>,
    /// Sorted.
    now: Vec<NodeName>,
}

/// What a member that came or went changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Moved {
    pub(super) came: Vec<NodeName>,
    pub(super) went: Vec<NodeName>,
}

impl Neighbours {
    /// About so many; at least two, once there are others.
    pub(super) fn new(me: NodeName, count: usize) -> Self {
        let ring = |number| BTreeSet::from([point(number, &me)]);
        let rings = (0..count.div_ceil(2).max(1)).map(ring).collect();
        Self { me, members: BTreeMap::new(), rings, now: Vec::new() }
    }

    /// A member came, or is in a new life. Who is a neighbour again in a new life counts as come.
    pub(super) fn up(&mut self, name: NodeName, epoch: Epoch) -> Moved {
        if name == self.me || self.members.get(&name).is_some_and(|known| *known >= epoch) {
            return Moved::default();
        }
        for (number, ring) in self.rings.iter_mut().enumerate() {
            ring.insert(point(number, &name));
        }
        let is_new_life = self.members.insert(name.clone(), epoch).is_some();
        let mut moved = self.refresh();
        if is_new_life && self.is_one(&name) && !moved.came.contains(&name) {
            moved.came.push(name);
        }
        moved
    }

    pub(super) fn down(&mut self, name: &NodeName) -> Moved {
        if self.members.remove(name).is_none() {
            return Moved::default();
        }
        for (number, ring) in self.rings.iter_mut().enumerate() {
            ring.remove(&point(number, name));
        }
        self.refresh()
    }

    /// Sorted by name.
    pub(super) fn all(&self) -> &[NodeName] {
        &self.now
    }

    pub(super) fn is_one(&self, name: &NodeName) -> bool {
        self.now.binary_search(name).is_ok()
    }

    /// Everybody but this node, sorted by name.
    pub(super) fn members(&self) -> impl ExactSizeIterator<Item = &NodeName> {
        self.members.keys()
    }

    pub(super) fn is_member(&self, name: &NodeName) -> bool {
        self.members.contains_key(name)
    }

    fn refresh(&mut self) -> Moved {
        let mut found = BTreeSet::new();
        for (number, ring) in self.rings.iter().enumerate() {
            let here = point(number, &self.me);
            let before = ring.range(..&here).next_back().or(ring.last());
            let after = ring.range((Excluded(&here), Unbounded)).next().or(ring.first());
            found.extend(before.into_iter().chain(after).map(|(_, name)| name).filter(|name| **name != self.me));
        }
        let found: Vec<NodeName> = found.into_iter().cloned().collect();
        let lacks = |list: &[NodeName], name: &&NodeName| list.binary_search(name).is_err();
        let came = found.iter().filter(|name| lacks(&self.now, name)).cloned().collect();
        let went = self.now.iter().filter(|name| lacks(&found, name)).cloned().collect();
        self.now = found;
        Moved { came, went }
    }
}

/// Where a name stands on a ring.
fn point(ring: usize, name: &NodeName) -> Point {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(ring as u64).to_be_bytes()).update(name.as_str().as_bytes());
    let place = hasher.finalize().as_bytes().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    (place, name.clone())
}
