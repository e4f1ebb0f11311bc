//! Who is to be told what we have, and is told within [`TELL`].

use std::collections::{BTreeMap, BTreeSet};

use p2pnet_shared::{
    NodeName,
    wire::folder::{BUNDLE_ROOTS_MAX, ChunkSet, Root, Transfer as Said},
};

use super::{Around, large::Large};
use crate::time::Millis;

/// News is collected for so long.
const TELL: Millis = Millis(25);
/// Contents one peer is kept informed of at most; of more it is told once.
const SOUGHT_MAX: usize = 256;
/// Peers that wait for the same small contents at most.
const WAITERS_MAX: usize = 64;
/// Peers that are kept informed at most.
const PEERS_MAX: usize = 256;

/// What is to be told to whom.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Who seeks which large contents, both ways.
    seekers: BTreeMap<Root, BTreeSet<NodeName>>,
    seeks: BTreeMap<NodeName, BTreeSet<Root>>,
    /// Who asked for small contents that we are getting ourselves.
    waiters: BTreeMap<Root, Vec<NodeName>>,
    changed: BTreeSet<Root>,
    gained: BTreeMap<NodeName, Vec<Root>>,
    due: Option<Millis>,
}

impl News {
    /// A peer wants to be kept informed.
    pub(super) fn seek(&mut self, from: &NodeName, root: Root) {
        if self.seeks.len() >= PEERS_MAX && !self.seeks.contains_key(from) {
            return;
        }
        let seeks = self.seeks.entry(from.clone()).or_default();
        if seeks.len() < SOUGHT_MAX && seeks.insert(root) {
            self.seekers.entry(root).or_default().insert(from.clone());
        }
    }

    /// A peer has heard enough of these contents.
    pub(super) fn enough(&mut self, from: &NodeName, root: &Root) {
        if let Some(seeks) = self.seeks.get_mut(from) {
            seeks.remove(root);
            if seeks.is_empty() {
                self.seeks.remove(from);
            }
        }
        if let Some(seekers) = self.seekers.get_mut(root) {
            seekers.remove(from);
            if seekers.is_empty() {
                self.seekers.remove(root);
            }
        }
    }

    /// A peer cannot be reached: it asks again when it is back.
    pub(super) fn unreachable(&mut self, peer: &NodeName) {
        for root in self.seeks.remove(peer).unwrap_or_default() {
            if let Some(seekers) = self.seekers.get_mut(&root) {
                seekers.remove(peer);
                if seekers.is_empty() {
                    self.seekers.remove(&root);
                }
            }
        }
        self.gained.remove(peer);
    }

    /// A peer asked for small contents that we are getting: it is told once they are here.
    pub(super) fn wait(&mut self, peer: &NodeName, root: Root) {
        let waiters = self.waiters.entry(root).or_default();
        if waiters.len() < WAITERS_MAX && !waiters.contains(peer) {
            waiters.push(peer.clone());
        }
    }

    /// We have more of these contents.
    pub(super) fn changed(&mut self, now: Millis, root: Root) {
        if self.seekers.contains_key(&root) {
            self.changed.insert(root);
            self.due.get_or_insert(now + TELL);
        }
    }

    /// We have all of these contents, under a name.
    pub(super) fn landed(&mut self, now: Millis, root: Root) {
        self.changed(now, root);
        for waiter in self.waiters.remove(&root).unwrap_or_default() {
            self.gained.entry(waiter).or_default().push(root);
            self.due.get_or_insert(now + TELL);
        }
    }

    /// We do not want them any more, and have not got them.
    pub(super) fn unwanted(&mut self, now: Millis, root: &Root) {
        self.waiters.remove(root);
        self.changed(now, *root);
    }

    /// When there is something to tell.
    pub(super) fn due(&self) -> Option<Millis> {
        self.due
    }

    /// Tells it, if it is time.
    pub(super) fn tell(&mut self, around: &mut Around<'_>, large: &Large) {
        if self.due.is_none_or(|due| due > around.now) {
            return;
        }
        self.due = None;
        for root in std::mem::take(&mut self.changed) {
            let chunks = held(around, large, &root);
            for name in self.seekers.get(&root).into_iter().flatten() {
                around.send(name, Said::Holds { root, chunks: chunks.clone() });
            }
        }
        for (name, roots) in std::mem::take(&mut self.gained) {
            for some in roots.chunks(BUNDLE_ROOTS_MAX) {
                around.send(&name, Said::Gained { roots: some.to_vec() });
            }
        }
    }
}

/// What we have of these contents.
pub(super) fn held(around: &Around<'_>, large: &Large, root: &Root) -> ChunkSet {
    if (around.locate)(root).is_some() {
        return ChunkSet::All;
    }
    large.held(root).unwrap_or(ChunkSet::None)
}

#[cfg(test)]
impl News {
    pub(super) fn sizes(&self) -> Vec<(&'static str, usize, usize)> {
        let most = self.seeks.values().map(BTreeSet::len).max().unwrap_or(0);
        let waiters = self.waiters.values().map(Vec::len).max().unwrap_or(0);
        vec![
            ("peers kept informed", self.seeks.len(), PEERS_MAX),
            ("contents a peer seeks", most, SOUGHT_MAX),
            ("waiters for the same", waiters, WAITERS_MAX),
            ("contents sought", self.seekers.len(), PEERS_MAX * SOUGHT_MAX),
        ]
    }
}
