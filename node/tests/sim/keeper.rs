//! What must hold of the store, seen from outside: on the disks, which outlive their processes, and between the nodes.
//!
//! ```text
//! 11  equal members, byte-equal rings and equal owners               sweep
//! 13  n distinct nodes hold a key whenever n run                      keys_trouble, after the calm
//! 18  an acknowledgement means w disks; what was acknowledged is      acknowledged, destroy; the ledger
//!     on a disk that somebody can read, unless w holders were
//!     destroyed before the copies were made good
//! 20  after the calm exactly n up-to-date copies, none misplaced      keys_trouble
//! 21  a write is handed on twice at most                              store.rs
//!     a write acknowledged by stand-ins is a gap in what the ledger   note_if_sloppy, end_gaps
//!     demands, until w of the first n have it
//!     a copy leaves a disk only when others have it: replaced by      check_change
//!     what covers it, or dropped
//!     memory and disk hold the same after the calm, memory is bounded sweep, keys_trouble
//! ```
//! 19 (what was deleted stays deleted) and 22 (two sides of a cut) are the ledger's.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use p2pnet_node::dht::{Answer, Change};
use p2pnet_shared::{
    Key, NodeName,
    ring::{Place, Ring},
    wire::dht::{Dot, Entry},
};

use crate::{
    counters::KeyCounters,
    invariants::number,
    ledger::{self, Gap, Kind, Op},
    network::{LogHash, Network},
    users::text,
    wire::NodeId,
};

/// How long after news of members a ring may still be the old one, microseconds: many changes are made as one.
const RING_LAG_US: u64 = 2_000_000;

/// The truth about copies.
#[derive(Debug, Default)]
pub(crate) struct Keeper {
    pub(crate) counts: KeyCounters,
    /// Count copies sent to nodes that should not have them; costs a walk of the ring each.
    pub(crate) watches_stand_ins: bool,
    /// Print every step of every store.
    pub(crate) tells_story: bool,
    /// Every dot that a value was written with, by its text.
    dots: HashMap<String, BTreeSet<Dot>>,
    /// Acknowledged puts that no later one has covered, by key, with their number in the history.
    acknowledged: BTreeMap<Key, BTreeMap<String, usize>>,
    /// Acknowledged writes that fewer than `w` of their first `n` have, with the numbers of their gaps.
    sloppy: Vec<(usize, Key, Written)>,
    /// Copies destroyed since there were last `n`.
    wounds: BTreeMap<Key, u32>,
    /// The number of the last batch of each node's present life.
    batches: BTreeMap<NodeId, u64>,
    /// How far ahead of its life each node's clock is, as its packets say.
    clocks: BTreeMap<NodeId, u64>,
    /// When each node was last resumed, microseconds.
    resumed: BTreeMap<NodeId, u64>,
    /// When the membership of each node last had news for its store, microseconds.
    news: BTreeMap<NodeId, u64>,
    /// The ring of all that run.
    truth: Option<Ring>,
}

/// What to look for on disks.
#[derive(Debug, Clone)]
enum Written {
    /// One of these versions, or what replaced it.
    Value(BTreeSet<Dot>),
    /// A tombstone, or nothing at all.
    Nothing,
}

/// Whether this entry says that the write of this dot has been: as a version, or under one that replaced it.
fn covers(entry: &Entry, dot: &Dot) -> bool {
    entry.versions.iter().any(|version| {
        version.dot == *dot || version.context.iter().any(|(actor, count)| *actor == dot.actor && *count >= dot.count)
    })
}

impl Keeper {
    /// A node runs from now on, or does so no more.
    pub(crate) fn runs(&mut self, vnodes: u16, name: &NodeName, runs: bool) {
        let ring = self.truth.get_or_insert_with(|| Ring::new(vnodes));
        let (come, go) = if runs { (Some(name.clone()), None) } else { (None, Some(name)) };
        ring.change(come, go);
    }

    pub(crate) fn opened(&mut self, id: NodeId) {
        self.batches.insert(id, 0);
        self.resumed.remove(&id);
        self.clocks.remove(&id);
    }

    /// A packet's clock is that far ahead of its sender's life: in one life always as far.
    pub(crate) fn said_the_time(&mut self, id: NodeId, ahead: u64) {
        let first = *self.clocks.entry(id).or_insert(ahead);
        assert_eq!(first, ahead, "node {id} says another time than its own");
    }

    pub(crate) fn resumed(&mut self, id: NodeId, clock: u64) {
        self.resumed.insert(id, clock);
    }

    pub(crate) fn has_news(&mut self, id: NodeId, clock: u64) {
        self.news.insert(id, clock);
    }

    pub(crate) fn well_since(&self, id: NodeId) -> u64 {
        self.resumed.get(&id).copied().unwrap_or(0)
    }

    /// A batch on its way to a disk.
    pub(crate) fn persisting(&mut self, id: NodeId, batch: u64, changes: &[Change]) {
        let last = self.batches.entry(id).or_default();
        assert_eq!(batch, *last + 1, "node {id} counts its batches");
        *last = batch;
        for change in changes {
            if let Change::Put(entry) = change {
                self.note_entry(entry);
            }
        }
    }

    /// One entry on its way to a disk.
    pub(crate) fn note_entry(&mut self, entry: &Entry) {
        self.counts.siblings_made += u64::from(entry.versions.len() > 1);
        for version in &entry.versions {
            if let Some(value) = &version.value {
                self.dots.entry(text(value)).or_default().insert(version.dot.clone());
            }
        }
    }

    /// Every key has all its copies: whatever is destroyed from here on is destroyed in another repair window.
    pub(crate) fn copies_are_good(&mut self) {
        self.wounds.clear();
    }

    /// Whether a node is among the first `n` for a key, of those that run.
    pub(crate) fn should_hold(&self, key: &Key, node: &NodeName) -> bool {
        let Some(ring) = &self.truth else { return true };
        ring.walk(ring.arc(Place::of(key.as_str()))).take(3).any(|holder| holder == node)
    }
}

impl Network {
    /// The disks, those of the dead too, that hold a copy with this write in it.
    fn disks_with<'a>(&'a self, key: &'a Key, dots: &'a BTreeSet<Dot>) -> impl Iterator<Item = NodeId> + 'a {
        self.nodes.iter().enumerate().filter_map(move |(id, node)| {
            let entry = node.disk.kept.get(key)?;
            dots.iter().any(|dot| covers(entry, dot)).then_some(id)
        })
    }

    /// How many of the first `n` for a key, of those that run, have a write on disk.
    fn placed(&self, key: &Key, written: &Written) -> usize {
        let n = self.store_config.as_ref().map_or(0, |config| usize::from(config.n));
        let ring = self.true_ring();
        let holders = ring.preference(Place::of(key.as_str()), n);
        let has = |name: &&NodeName| {
            let kept = self.nodes[number(name)].disk.kept.get(key);
            match written {
                Written::Value(dots) => kept.is_some_and(|entry| dots.iter().any(|dot| covers(entry, dot))),
                Written::Nothing => kept.is_none_or(|entry| entry.versions.iter().any(|one| one.value.is_none())),
            }
        };
        holders.iter().filter(has).count()
    }

    /// A write that only stand-ins made up to `w` copies of (*Dynamo* §4.6, sloppy quorum) is not lost, but until `w` of the
    /// key's first `n` have it others may miss it: a gap in what the ledger demands of this key.
    fn note_if_sloppy(&mut self, record: &Op, written: Written) {
        let key: Key = record.key.parse().expect("a key");
        let w = self.store_config.as_ref().map_or(0, |config| usize::from(config.w));
        if self.placed(&key, &written) < w {
            self.keeper.counts.sloppy_writes += 1;
            let gaps = &mut self.users.history.gaps;
            gaps.push(Gap::Blind { nodes: None, key: Some(record.key.clone()), from: record.invoked, to: u64::MAX });
            let gap = gaps.len() - 1;
            self.keeper.sloppy.push((gap, key, written));
        }
    }

    /// Something of a key reached a disk: gaps of this key may end. Without a key, any may.
    pub(crate) fn end_gaps(&mut self, key: Option<&Key>) {
        if self.keeper.sloppy.iter().all(|(_, of, _)| key.is_some_and(|key| key != of)) {
            return;
        }
        let w = self.store_config.as_ref().map_or(0, |config| usize::from(config.w));
        let sloppy = std::mem::take(&mut self.keeper.sloppy);
        let (ended, open): (Vec<_>, Vec<_>) = sloppy
            .into_iter()
            .partition(|(_, of, written)| key.is_none_or(|key| key == of) && self.placed(of, written) >= w);
        self.keeper.sloppy = open;
        for (gap, ..) in ended {
            if let Gap::Blind { to, .. } = &mut self.users.history.gaps[gap] {
                *to = self.clock;
            }
        }
    }

    /// A user was told something: a put that is acknowledged is on `w` disks.
    pub(crate) fn acknowledged(&mut self, op: usize, record: &Op, answer: &Answer) {
        if let Answer::Deleted { .. } = answer {
            self.note_if_sloppy(record, Written::Nothing);
        }
        let (Answer::Stored { acks }, Kind::Put(value)) = (answer, &record.kind) else { return };
        let wanted = self.store_config.as_ref().map_or(0, |config| config.w);
        assert!(*acks >= wanted, "acknowledged with {acks} copies: {record}");
        let key: Key = record.key.parse().expect("a key");
        let dots = self.keeper.dots.get(value).cloned().unwrap_or_default();
        let copies = self.disks_with(&key, &dots).count();
        // The disk of one that had it may have been replaced since it said so.
        let replaced = self.keeper.counts.disks_replaced > 0;
        // A stand-in may have handed its copy on and dropped it.
        let n = self.store_config.as_ref().map_or(0, |config| config.n);
        assert!(
            replaced || copies >= usize::from((*acks).min(n)),
            "acknowledged with {acks} copies, and {copies} disks have it: {record}"
        );
        self.note_if_sloppy(record, Written::Value(dots.clone()));
        let Self { nodes, keeper, .. } = self;
        let covered_by_it = |other: &str| {
            let Some(theirs) = keeper.dots.get(other) else { return false };
            let mut versions =
                nodes.iter().filter_map(|node| node.disk.kept.get(&key)).flat_map(|entry| &entry.versions);
            versions.any(|version| {
                dots.contains(&version.dot)
                    && theirs.iter().all(|dot| {
                        version.context.iter().any(|(actor, count)| *actor == dot.actor && *count >= dot.count)
                    })
            })
        };
        let current = keeper.acknowledged.entry(key.clone()).or_default();
        let covered: Vec<String> = current.keys().filter(|other| covered_by_it(other)).cloned().collect();
        for value in covered {
            current.remove(&value);
        }
        current.insert(value.clone(), op);
    }

    /// A change as it reaches a disk: what goes is covered by what comes, or by others' copies.
    pub(crate) fn check_change(&self, id: NodeId, change: &Change) {
        match change {
            Change::Put(entry) => {
                let Some(old) = self.nodes[id].disk.kept.get(&entry.key) else { return };
                let gone = old.versions.iter().find(|version| !covers(entry, &version.dot));
                assert!(gone.is_none(), "node {id} writes {entry:?} over {gone:?}, which it does not cover");
            }
            Change::Drop(key) => {
                let Some(old) = self.nodes[id].disk.kept.get(key) else { return };
                let w = self.store_config.as_ref().map_or(0, |config| usize::from(config.w));
                let wanted = if self.keeper.counts.disks_replaced > 0 { 1 } else { w };
                for version in &old.versions {
                    let dots = BTreeSet::from([version.dot.clone()]);
                    let others = self.disks_with(key, &dots).filter(|other| *other != id).count();
                    assert!(others >= wanted, "node {id} drops `{key}` {version:?}, which {others} others have");
                }
            }
        }
    }

    /// A dead node's disk is gone for ever.
    pub(crate) fn destroy(&mut self, id: NodeId) {
        if self.nodes[id].disk.destroyed {
            return;
        }
        assert!(self.nodes[id].peer.is_none(), "node {id} runs");
        self.keeper.counts.disks_destroyed += 1;
        let n = self.store_config.as_ref().map_or(0, |config| usize::from(config.n));
        let w = self.store_config.as_ref().map_or(0, |config| u32::from(config.w));
        let keys: Vec<Key> = self.nodes[id].disk.kept.keys().cloned().collect();
        for key in keys {
            let Some(current) = self.keeper.acknowledged.get(&key).cloned() else { continue };
            let mut fewest = usize::MAX;
            let mut lost = None;
            for (value, op) in current {
                let dots = self.keeper.dots.get(&value).cloned().unwrap_or_default();
                let left = self.disks_with(&key, &dots).filter(|disk| !self.nodes[*disk].disk.destroyed);
                let (mine, others) =
                    left.fold(
                        (0, 0),
                        |(mine, others), disk| {
                            if disk == id { (mine + 1, others) } else { (mine, others + 1) }
                        },
                    );
                if mine > 0 {
                    fewest = fewest.min(others);
                    lost = lost.or((others == 0).then_some(op));
                }
            }
            let wounds = self.keeper.wounds.entry(key.clone()).or_default();
            if fewest < usize::MAX && fewest + 1 >= n {
                *wounds = 0;
            }
            *wounds += u32::from(fewest < usize::MAX);
            if let Some(op) = lost {
                let lost = &self.users.history.ops[op];
                assert!(*wounds >= w, "invariant 18: lost with the disk of node {id}, {wounds} wounds: {lost}");
                self.keeper.counts.keys_lost += 1;
                self.keeper.acknowledged.remove(&key);
                let gap = Gap::Loss { key: Some(key.to_string()), at: self.clock };
                self.users.history.gaps.push(gap);
            }
        }
        self.nodes[id].disk.destroyed = true;
    }

    /// Kills a node and destroys its disk.
    pub(crate) fn kill_for_good(&mut self, id: NodeId) {
        self.kill(id);
        self.destroy(id);
    }

    /// The ring of all that run.
    pub(crate) fn true_ring(&self) -> &Ring {
        self.keeper.truth.as_ref().expect("some node has a store")
    }

    /// Looks at all nodes: what is cheap enough for every now and then, but not for every step.
    pub(crate) fn sweep(&mut self) {
        let Some(config) = &self.store_config else { return };
        let mut rings: HashMap<&[NodeName], &Ring> = HashMap::new();
        for (id, node) in self.nodes.iter().enumerate() {
            let Some(peer) = &node.peer else { continue };
            let Some(store) = &peer.store else { continue };
            let believed = peer.membership.members().filter(|member| member.status.is_live());
            let mut believed: Vec<&NodeName> = believed.map(|member| &member.name).chain([&node.name]).collect();
            believed.sort_unstable();
            let on_ring: Vec<&NodeName> = store.ring().members().iter().collect();
            let news = self.keeper.news.get(&id).max(self.keeper.resumed.get(&id)).copied().unwrap_or(0);
            let may_lag = node.pauses > 0 || self.clock - news < RING_LAG_US;
            assert!(
                may_lag || on_ring == believed,
                "the ring of node {id} is {on_ring:?}, it believes in {believed:?}"
            );
            let first = *rings.entry(store.ring().members()).or_insert_with(|| store.ring());
            assert!(first == store.ring(), "invariant 11: equal members, another ring at node {id}");
            let held = store.counts().bytes as usize;
            assert!(held <= config.bytes_max, "node {id} holds {held} bytes");
        }
        self.check_deadlines();
        self.end_gaps(None);
    }

    /// Runs that long and sweeps every second of it.
    pub(crate) fn run_and_sweep(&mut self, ms: u64) {
        let end = self.now() + ms;
        while self.now() < end {
            self.run_to(end.min(self.now() + 1_000));
            self.sweep();
        }
    }

    /// What is not yet as it should be once nothing happens any more.
    pub(crate) fn keys_trouble(&self) -> Option<String> {
        let n = usize::from(self.store_config.as_ref()?.n);
        let ring = self.true_ring();
        let mut held: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
        for (id, node) in self.nodes.iter().enumerate() {
            let Some(store) = node.peer.as_ref().and_then(|peer| peer.store.as_ref()) else { continue };
            let mut count = 0;
            for entry in store.entries() {
                count += 1;
                if node.disk.kept.get(&entry.key) != Some(entry) {
                    return Some(format!("node {id} has `{}` in memory otherwise than on disk", entry.key));
                }
                held.entry(entry.key.to_string()).or_default().insert(node.name.to_string(), version_hash(entry));
            }
            if count != node.disk.kept.len() {
                return Some(format!("node {id} has {count} entries in memory, {} on disk", node.disk.kept.len()));
            }
        }
        let acknowledged = self.keeper.acknowledged.keys().map(Key::as_str);
        let keys: BTreeSet<&str> = held.keys().map(String::as_str).chain(acknowledged).collect();
        let wanted = keys.into_iter().map(|key| {
            let holders = ring.preference(Place::of(key), n);
            (key.to_owned(), holders.iter().map(ToString::to_string).collect())
        });
        let violations = ledger::check_copies(&held, &wanted.collect());
        (!violations.is_empty()).then(|| ledger::summary(&violations))
    }

    /// Copies of all keys that are not where they should be, or not there: (lacking, misplaced).
    pub(crate) fn out_of_place(&self) -> (usize, usize) {
        let n = self.store_config.as_ref().map_or(0, |config| usize::from(config.n));
        let ring = self.true_ring();
        let mut holders: BTreeMap<&Key, BTreeSet<&NodeName>> = BTreeMap::new();
        for node in &self.nodes {
            let Some(store) = node.peer.as_ref().and_then(|peer| peer.store.as_ref()) else { continue };
            for entry in store.entries() {
                holders.entry(&entry.key).or_default().insert(&node.name);
            }
        }
        holders.into_iter().fold((0, 0), |(lacking, misplaced), (key, holders)| {
            let wanted: Vec<&NodeName> = ring.walk(ring.arc(Place::of(key.as_str()))).take(n).collect();
            let there = wanted.iter().filter(|node| holders.contains(*node)).count();
            (lacking + wanted.len() - there, misplaced + holders.len() - there)
        })
    }

    /// Runs until every key lies in exactly the right places; returns how long that took, milliseconds.
    pub(crate) fn until_in_place(&mut self, what: &str, limit_ms: u64) -> u64 {
        let begin = self.now();
        while let Some(trouble) = self.keys_trouble() {
            let limit = self.now() - begin >= limit_ms;
            assert!(!limit, "invariant 20: {limit_ms} ms after {what} not every key is in its place: {trouble}");
            self.run_for(100);
        }
        self.keeper.copies_are_good();
        self.sweep();
        self.now() - begin
    }
}

/// The versions of an entry in eight bytes, by their dots.
fn version_hash(entry: &Entry) -> u64 {
    use std::hash::{Hash, Hasher};
    let mut hash = LogHash::default();
    for version in &entry.versions {
        (version.dot.actor.node.as_str(), version.dot.actor.era, version.dot.count, version.value.is_some())
            .hash(&mut hash);
    }
    hash.finish()
}
