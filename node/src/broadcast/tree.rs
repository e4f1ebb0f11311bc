//! Which links are eager: one tree for everybody, along the shortest ways to one root (after Plumtree, Leitão SRDS 2007).
//!
//! Every node tells its neighbours how far it is from the root, and hangs from the one that is nearest to it. The link to
//! whom a node hangs from, and to those that hang from it, are *eager*: messages are pushed over them. All others are
//! *lazy*: messages are announced over them by their ids. The root is the smallest name anybody knows a way to.
//!
//! ```text
//!            root 0                Tree { root, hops: 2, child: true }   "I am 2 from the root, and hang from you"
//!          ╱   │    ╲              Tree { root, hops: 2, child: false }  "... and not from you": prunes the link
//!        1 ─ ─ 1     1
//!       ╱ ╲     ╲   ╱ ╲            ─ ─ lazy links, of which there are two for each eager one
//!      2   2 ─ ─ 2 2 ─ 2
//! ```
//! **Departs from the paper**, where the tree is what the first message's flood left after pruning and a node repairs and
//! shortens it by what it sees of later ones. Such a tree fits its first sender; with many senders it is pulled to and fro,
//! and redundancy rises (iroh-gossip says so of its own). Here the tree exists before the first message, belongs to no
//! sender, costs a few bytes per change, and heals within a round trip of a lost link instead of a timer. What the paper
//! does by counting hops of messages (its *optimisation threshold*) is done by distances: a node moves when another
//! neighbour is nearer to the root by one hop or more. Grafts remain, for messages (`lazy.rs`).
//!
//! It is a distance vector without sequence numbers. When the root dies its distances count up to [`HOPS_MAX`] within a
//! few round trips and the next smallest name takes its place; a node never hangs from its own child, so two never hang
//! from each other for longer than a word is under way. While the tree is in pieces or has a loop, announcements bring
//! what the push does not, and what it brings twice is dropped.

use std::collections::BTreeMap;

use p2pnet_shared::{NodeName, wire::broadcast::Frame};

use super::Effect;
use crate::time::Millis;

/// A way to the root this long is none. Half again what a random graph of 10,000 nodes needs: the longer, the more words it
/// takes to be rid of a dead root.
pub(super) const HOPS_MAX: u8 = 12;

/// How near the root somebody is. Smaller is better: first the smaller root, then fewer hops.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    root: NodeName,
    hops: u8,
}

/// A link to a neighbour.
#[derive(Debug, Default)]
struct Branch {
    /// Where the neighbour says it is.
    said: Option<Place>,
    /// It hangs from us.
    child: bool,
    /// What we last told it: where we are, and whether we hang from it.
    told: Option<(Place, bool)>,
}

/// Our place in the tree.
#[derive(Debug)]
pub(super) struct Tree {
    me: NodeName,
    branches: BTreeMap<NodeName, Branch>,
    place: Place,
    parent: Option<NodeName>,
    /// When we last came to hang from somebody else.
    moved_at: Option<Millis>,
    moved: bool,
    version: u64,
    pruned: u64,
}

impl Tree {
    pub(super) fn new(me: NodeName) -> Self {
        let place = Place { root: me.clone(), hops: 0 };
        Self { me, branches: BTreeMap::new(), place, parent: None, moved_at: None, moved: false, version: 0, pruned: 0 }
    }

    /// Whether new messages are pushed to this neighbour.
    pub(super) fn is_eager(&self, peer: &NodeName) -> bool {
        self.parent.as_ref() == Some(peer) || self.branches.get(peer).is_some_and(|branch| branch.child)
    }

    /// Whether it is this neighbour through which we are connected to the root.
    pub(super) fn hangs_from(&self, peer: &NodeName) -> bool {
        self.parent.as_ref() == Some(peer)
    }

    /// Whether others hang from us and we from nobody.
    pub(super) fn is_root(&self) -> bool {
        self.parent.is_none() && self.branches.values().any(|branch| branch.child)
    }

    /// Whether we have moved since this was last asked.
    pub(super) fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    /// How many links away the root is.
    pub(super) fn hops(&self) -> u8 {
        self.place.hops
    }

    /// Whether we have hung where we hang for less than `period`: what was pushed meanwhile may have missed us.
    pub(super) fn moved_within(&self, now: Millis, period: Millis) -> bool {
        self.moved_at.is_some_and(|at| now - at < period)
    }

    /// Changes whenever a link becomes eager or lazy.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Links that became lazy while they were up, so far.
    pub(super) fn pruned(&self) -> u64 {
        self.pruned
    }

    /// Our neighbours are now these.
    pub(super) fn set_neighbours<'a>(
        &mut self,
        now: Millis,
        neighbours: impl Iterator<Item = &'a NodeName>,
        effects: &mut Vec<Effect>,
    ) {
        let mut before = std::mem::take(&mut self.branches);
        self.branches = neighbours.map(|name| (name.clone(), before.remove(name).unwrap_or_default())).collect();
        self.settle(now, effects);
    }

    /// A neighbour says where it is.
    pub(super) fn on_word(
        &mut self,
        now: Millis,
        peer: &NodeName,
        root: NodeName,
        hops: u8,
        child: bool,
        effects: &mut Vec<Effect>,
    ) {
        let Some(branch) = self.branches.get_mut(peer) else { return };
        let was_eager = self.parent.as_ref() == Some(peer) || branch.child;
        branch.said = Some(Place { root, hops });
        self.version += u64::from(branch.child != child);
        branch.child = child;
        self.settle(now, effects);
        self.pruned += u64::from(was_eager && !self.is_eager(peer));
    }

    /// A neighbour pushes over a link that is lazy as far as we know: it is told again where we are.
    pub(super) fn correct(&self, peer: &NodeName, effects: &mut Vec<Effect>) {
        if let Some(Branch { told: Some((place, child)), .. }) = self.branches.get(peer) {
            effects.push(Effect::Send { to: peer.clone(), frame: word(place, *child) });
        }
    }

    /// Hangs us from the neighbour nearest to the root, and tells whoever has to know.
    fn settle(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        let (place, parent) = self.best();
        if parent != self.parent {
            let left = self.parent.take().filter(|left| self.branches.contains_key(left));
            self.pruned += u64::from(left.is_some_and(|left| !self.branches[&left].child));
            (self.parent, self.moved_at, self.moved) = (parent, Some(now), true);
            self.version += 1;
        }
        self.place = place;
        for (peer, branch) in &mut self.branches {
            let child = self.parent.as_ref() == Some(peer);
            if branch.told.as_ref().is_none_or(|(place, told)| (place, *told) != (&self.place, child)) {
                branch.told = Some((self.place.clone(), child));
                effects.push(Effect::Send { to: peer.clone(), frame: word(&self.place, child) });
            }
        }
    }

    /// The best place to be had, and from whom we hang there. Who hangs from us offers none; among equals we stay.
    fn best(&self) -> (Place, Option<NodeName>) {
        let offers = self.branches.iter().filter(|(_, branch)| !branch.child).filter_map(|(peer, branch)| {
            let said = branch.said.as_ref()?;
            let hops = said.hops.saturating_add(1);
            (said.root < self.me && hops < HOPS_MAX).then_some((
                &said.root,
                hops,
                self.parent.as_ref() != Some(peer),
                peer,
            ))
        });
        match offers.min() {
            Some((root, hops, _, peer)) => (Place { root: root.clone(), hops }, Some(peer.clone())),
            None => (Place { root: self.me.clone(), hops: 0 }, None),
        }
    }
}

fn word(place: &Place, child: bool) -> Frame {
    Frame::Tree { root: place.root.clone(), hops: place.hops, child }
}
