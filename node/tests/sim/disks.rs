//! The disk under a store: a commit takes time, takes everything that waits for it, and is there wholly or not at all.
//!
//! A crash loses what was not yet committed; of the commit under way nobody knows before the next start. What the disk
//! holds outlives the process and is the truth against which acknowledgements are held.

use std::collections::{BTreeMap, VecDeque};

use p2pnet_node::dht::{self, Change};
use p2pnet_shared::{
    Key,
    wire::dht::{Entry, Refusal},
};
use rand::RngExt;

use crate::{
    network::{Arrival, Network},
    wire::NodeId,
};

/// How long a commit takes, microseconds.
const COMMIT_US: std::ops::RangeInclusive<u64> = 500..=4_000;

/// How a disk is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Health {
    #[default]
    Good,
    /// A commit takes so many milliseconds.
    Slow(u64),
    /// Writes fail for want of room.
    Full,
    /// Writes fail.
    Broken,
}

/// One node's disk.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    /// What is there after a crash.
    pub(crate) kept: BTreeMap<Key, Entry>,
    pub(crate) health: Health,
    /// Nobody will ever read it again: a next life of the node has a new, empty one.
    pub(crate) destroyed: bool,
    waiting: VecDeque<(u64, Vec<Change>)>,
    /// The commit under way.
    writing: Vec<(u64, Vec<Change>)>,
}

impl Network {
    pub(crate) fn persist(&mut self, id: NodeId, batch: u64, changes: Vec<Change>) {
        let disk = &mut self.nodes[id].disk;
        disk.waiting.push_back((batch, changes));
        if disk.writing.is_empty() {
            self.begin_commit(id);
        }
    }

    fn begin_commit(&mut self, id: NodeId) {
        let disk = &mut self.nodes[id].disk;
        disk.writing = disk.waiting.drain(..).collect();
        if disk.writing.is_empty() {
            return;
        }
        let mut takes = self.rng.random_range(COMMIT_US);
        if let Health::Slow(ms) = disk.health {
            self.keeper.counts.slow_commits += 1;
            takes += ms * 1_000;
        }
        self.tell(id, takes, Arrival::Committed);
    }

    /// The commit under way has come to its end.
    pub(crate) fn committed(&mut self, id: NodeId) {
        let disk = &mut self.nodes[id].disk;
        let writing = std::mem::take(&mut disk.writing);
        let Some((last, _)) = writing.last() else { return };
        let batch = *last;
        let why = match disk.health {
            Health::Full => Some(Refusal::Full),
            Health::Broken => Some(Refusal::Broken),
            Health::Good | Health::Slow(_) => None,
        };
        if let Some(why) = why {
            self.keeper.counts.disk_failures += 1;
            let first = writing.first().map_or(batch, |(first, _)| *first);
            disk.waiting.clear();
            self.feed_store(id, dht::Input::NotPersisted { batch: first, why });
            return;
        }
        self.keeper.counts.commits += 1;
        self.write(id, writing);
        self.begin_commit(id);
        self.feed_store(id, dht::Input::Persisted { batch });
    }

    fn write(&mut self, id: NodeId, batches: Vec<(u64, Vec<Change>)>) {
        for change in batches.into_iter().flat_map(|(_, changes)| changes) {
            self.check_change(id, &change);
            let kept = &mut self.nodes[id].disk.kept;
            let key = match &change {
                Change::Put(entry) => entry.key.clone(),
                Change::Drop(key) => key.clone(),
            };
            match change {
                Change::Put(entry) => {
                    let before = kept.insert(entry.key.clone(), entry);
                    self.keeper.counts.copies_made += u64::from(before.is_none());
                }
                Change::Drop(key) => {
                    self.keeper.counts.copies_dropped += 1;
                    kept.remove(&key);
                }
            }
            self.end_gaps(Some(&key));
        }
    }

    /// The process ends: politely, and everything is written; or not, and chance decides about the commit under way.
    pub(crate) fn stop_disk(&mut self, id: NodeId, politely: bool) {
        let disk = &mut self.nodes[id].disk;
        let works = matches!(disk.health, Health::Good | Health::Slow(_));
        let writing = std::mem::take(&mut disk.writing);
        let waiting: Vec<_> = disk.waiting.drain(..).collect();
        self.keeper.counts.unsaved_batches += if politely { 0 } else { waiting.len() as u64 };
        if works && !writing.is_empty() && (politely || self.rng.random_bool(0.5)) {
            self.write(id, writing);
        }
        if works && politely {
            self.write(id, waiting);
        }
    }
}
