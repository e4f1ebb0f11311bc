//! The key-value store as its nodes report it: who holds what, who agrees on the ring, and what is short of copies.
//!
//! ```text
//! Report::Ring ──▶ Stock.ring     ┐
//! Report::Keys ──▶ Stock.counts   ├─▶ RingCounts   `status`, `status --json`, the top lines, the ring pane
//! Report::Held ──▶ keys/account   │
//! engine's word ─▶ keys/rings     ┘─▶ keys/repair  "keys are short of copies", "every key has its copies again"
//! ```
//! Placement and liveness are judged by the engine's word, as everywhere here: the ring is that of the names that are up,
//! and a copy is live if its node is up and has told of it in its present life. Copies on paused nodes are neither live nor
//! lost and are counted by themselves. What is known of copies are places and hashes, never keys or values.
//!
//! Nodes that hold more than their telemetry carries tell a sample of their keys. Then everything that is counted by key is
//! scaled up and [`RingCounts::estimated`] says so; what a node counts itself (keys held, bytes) is exact all the same.
//!
//! What always holds: a key that was told is in exactly one of the classes none, one, two, three and more live copies;
//! numbers of a feed that is lost or not yet told whole are the last ones known, and the verdict says that they are.

use std::sync::Arc;

use p2pnet_shared::{
    NodeName, UnixMillis,
    ring::{Place, Ring, RingDigest},
    telemetry::{DiskState, HeldKey, KeyCounts, Moving},
};
use serde::Serialize;

use super::{Change, Network, bits::Bits, slot::Fate};

mod account;
mod counts;
mod repair;
mod rings;
#[cfg(test)]
mod tests;
mod whole;

use account::{Account, Meant, Standing};
pub use counts::{DiskTrouble, MovingCounts, RingCounts};
use repair::Repair;
use rings::Rings;
pub(crate) use whole::Whole;

/// Copies a key is to have, where there are as many nodes (`n`).
pub const COPIES: u8 = 3;
/// Ways of copies kept of one node; a node tells of 16.
const MOVING_MAX: usize = 16;

/// Everything that is known of the store, network-wide.
#[derive(Debug, Clone, Default)]
pub(super) struct Keys {
    account: Account,
    rings: Rings,
    repair: Repair,
    /// Nodes that are up and whose ring is the right one.
    agreeing: u32,
    /// Nodes that have told a ring in the life they are in.
    told: u32,
    /// Something about a ring changed since they were counted.
    is_stale: bool,
    /// Keys were short of copies when it was last looked.
    was_short: bool,
    /// When they ceased to be.
    whole_at: UnixMillis,
}

impl Keys {
    #[cfg(test)]
    pub(super) fn account_check(&self) {
        self.account.check();
    }

    /// A view or a ring changed, so that rings are to be judged anew.
    pub(super) fn doubt_rings(&mut self) {
        self.is_stale = true;
    }
}

/// One node's part of the store by its own word, in one life.
#[derive(Debug, Clone, Default)]
pub(super) struct Stock {
    ring: Option<(RingDigest, UnixMillis)>,
    /// Its numbers, and when they came.
    counts: Option<(UnixMillis, KeyCounts)>,
    /// Whether it has begun to tell which keys it holds.
    has_told: bool,
    /// Bytes it sent for repair each second, between its last two reports.
    bytes_per_second: u64,
    /// Its ring is the one that follows from the members there are.
    agrees: bool,
}

/// What one node holds, for a table of owners.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NodeKeys {
    /// Its numbers by its own last word; all zero while it has told none.
    pub counts: KeyCounts,
    /// Whether it has told them, in the life it is in.
    pub told: bool,
    /// It is up, and its link to the gateway stands: the numbers are those of now.
    pub live: bool,
    /// Its share of the hash space among the nodes that are up, 0 to 1; 0 for one that is not.
    pub share: f64,
    /// Its ring by its own word.
    pub ring: Option<RingDigest>,
    /// Whether that is the ring of the members there are.
    pub ring_agrees: bool,
    /// Bytes it sends each second for repair and hand-over, lately.
    pub bytes_per_second: u64,
}

/// Copies on their way from one node to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Movement {
    /// Who gives.
    pub from: NodeName,
    /// To whom.
    pub to: NodeName,
    /// Keys left.
    pub keys: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Where the copies of one key are. Each node is in one of the lists, in the order people count.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Copies {
    /// Live, and of the current version.
    pub live: Vec<NodeName>,
    /// Live, but of another version.
    pub stale: Vec<NodeName>,
    /// On a paused node.
    pub paused: Vec<NodeName>,
    /// On a node that is down.
    pub down: Vec<NodeName>,
}

impl Network {
    /// How many virtual nodes each member has, by the network's record. Without it the number is learnt from the nodes.
    pub fn expect_vnodes(&mut self, vnodes: u16) {
        self.keys.rings.set_vnodes(vnodes);
        self.keys.is_stale = true;
    }

    /// The ring of the nodes that are up by the engine's word.
    #[must_use]
    pub fn ring(&self) -> &Arc<Ring> {
        self.keys.rings.ring()
    }

    /// What a node holds; `None` for a name that never reported and is no node.
    #[must_use]
    pub fn node_keys(&self, name: &NodeName) -> Option<NodeKeys> {
        let slot = &self.slots[*self.index.get(name)?];
        let up = slot.fate == Fate::Up;
        let Some(observer) = &slot.observer else {
            let share = self.keys.rings.share(name).filter(|_| up).unwrap_or(0.0);
            return Some(NodeKeys { share, ..NodeKeys::default() });
        };
        let stock = &observer.stock;
        Some(NodeKeys {
            counts: stock.counts.as_ref().map(|(_, counts)| counts.clone()).unwrap_or_default(),
            told: stock.counts.is_some(),
            live: up && observer.linked,
            share: self.keys.rings.share(name).filter(|_| up).unwrap_or(0.0),
            ring: stock.ring.map(|(digest, _)| digest),
            ring_agrees: up && stock.agrees,
            bytes_per_second: stock.bytes_per_second,
        })
    }

    /// A node's numbers by its own word, if it told any in the life it is in.
    pub(super) fn stock(&self, name: &NodeName) -> Option<&KeyCounts> {
        let stock = &self.slots[*self.index.get(name)?].observer.as_ref()?.stock;
        stock.counts.as_ref().map(|(_, counts)| counts)
    }

    /// The nodes that are up and whose ring is known to be another than it ought to be, in the order people count.
    pub fn other_rings(&self) -> impl Iterator<Item = &NodeName> {
        self.order.iter().map(|slot| &self.slots[*slot]).filter_map(|slot| {
            let stock = &slot.observer.as_ref()?.stock;
            (slot.fate == Fate::Up && stock.ring.is_some() && !stock.agrees).then_some(&slot.name)
        })
    }

    /// Copies on their way between nodes, by the word of those that are up and send them; the most keys first.
    #[must_use]
    pub fn movements(&self) -> Vec<Movement> {
        let up = self.order.iter().map(|slot| &self.slots[*slot]).filter(|slot| slot.fate == Fate::Up);
        let mut all: Vec<Movement> = up
            .filter_map(|slot| Some((slot, slot.observer.as_ref().filter(|o| o.linked)?.stock.counts.as_ref()?)))
            .flat_map(|(slot, (_, counts))| {
                counts.moving.iter().map(|Moving { to, keys, bytes }| Movement {
                    from: slot.name.clone(),
                    to: to.clone(),
                    keys: *keys,
                    bytes: *bytes,
                })
            })
            .collect();
        all.sort_by(|a, b| (b.keys, &a.from, &a.to).cmp(&(a.keys, &b.from, &b.to)));
        all
    }

    /// Where the copies of the key at `place` are; empty lists for one nobody told of (or that is outside the sample).
    #[must_use]
    pub fn copies(&self, place: Place) -> Copies {
        let mut copies = Copies::default();
        let Some(key) = self.keys.account.key(place.0) else { return copies };
        for copy in &key.copies {
            let list = match self.keys.account.standing(copy.slot) {
                Standing::Live if copy.version == key.current => &mut copies.live,
                Standing::Live => &mut copies.stale,
                Standing::Paused => &mut copies.paused,
                Standing::Down => &mut copies.down,
            };
            list.push(self.slots[usize::from(copy.slot)].name.clone());
        }
        for list in [&mut copies.live, &mut copies.stale, &mut copies.paused, &mut copies.down] {
            list.sort_by(|a, b| a.display_order().cmp(&b.display_order()));
        }
        copies
    }

    /// Places of keys that have fewer live copies than they are to have, and how many they have: `most` of them at most,
    /// the most endangered first. Costs a pass over all keys when there are any, and nothing otherwise.
    #[must_use]
    pub fn short_places(&self, most: usize) -> Vec<(Place, u8)> {
        let wanted = self.copies_wanted();
        if self.short(true) == 0 {
            return Vec::new();
        }
        let keys = self.keys.account.keys().filter(|(_, key)| key.class.counted && key.class.live < wanted);
        let mut all: Vec<(Place, u8)> = keys.map(|(place, key)| (Place(place), key.class.live)).collect();
        all.sort_unstable_by_key(|(place, live)| (*live, *place));
        all.truncate(most);
        all
    }
}

/// Taking in what nodes say of the store.
impl Network {
    pub(super) fn on_ring(&mut self, slot: usize, digest: RingDigest, at: UnixMillis) {
        let Some(observer) = &mut self.slots[slot].observer else { return };
        observer.stock.ring = Some((digest, at));
        self.keys.is_stale = true;
    }

    pub(super) fn on_keys(&mut self, now: UnixMillis, slot: usize, mut told: KeyCounts, changes: &mut Vec<Change>) {
        told.moving.truncate(MOVING_MAX);
        let is_news = self.feed.complete;
        let Some(observer) = &mut self.slots[slot].observer else { return };
        let (epoch, stock) = (observer.epoch, &mut observer.stock);
        let before = stock.counts.take();
        if let Some((at, counts)) = &before {
            let (passed, sent) = (now.since(*at), told.repair_bytes.saturating_sub(counts.repair_bytes));
            // Two reports of one history arrive together: a rate over no time at all is not known.
            if passed >= 200 {
                stock.bytes_per_second = sent.saturating_mul(1_000) / passed;
            }
        }
        let disk = (before.as_ref().map_or(DiskState::Fine, |(_, counts)| counts.disk), told.disk);
        if told.keys == 0 && told.tombstones == 0 && !stock.has_told {
            // An empty store has no keys to tell of: what a former life held is gone.
            stock.has_told = true;
            self.slots[slot].told_life = Some(epoch);
            self.keys.account.forget(slot);
            self.stand(slot);
        }
        let name = self.slots[slot].name.clone();
        self.keys.repair.follow_moves(now, &name, &told.moving);
        if let Some(observer) = &mut self.slots[slot].observer {
            observer.stock.counts = Some((now, told));
        }
        if is_news {
            changes.extend(repair::disk_change(now, &name, disk.0, disk.1));
        }
    }

    pub(super) fn on_held(&mut self, now: UnixMillis, slot: usize, anew: bool, sampled: u8, keys: &[HeldKey]) {
        let of = &mut self.slots[slot];
        let Some(observer) = &mut of.observer else { return };
        let same_life = of.told_life == Some(observer.epoch);
        (of.told_life, observer.stock.has_told) = (Some(observer.epoch), true);
        if anew || !same_life {
            self.keys.account.anew(now, slot, same_life);
        }
        let meant = if anew || !self.feed.complete { Meant::History } else { Meant::News };
        if self.keys.account.hold(now, slot, sampled, keys, meant) {
            self.truth_changed_at = self.truth_changed_at.max(Some(now));
        }
        self.stand(slot);
    }

    /// Lets the copies of a node count as it stands by the engine's word, and its files.
    pub(super) fn stand(&mut self, slot: usize) {
        let of = &self.slots[slot];
        let is_told = of.observer.as_ref().is_some_and(|observer| of.told_life == Some(observer.epoch));
        let standing = match of.fate {
            Fate::Up if is_told => Standing::Live,
            Fate::Between if is_told => Standing::Paused,
            Fate::Up | Fate::Between | Fate::Gone => Standing::Down,
        };
        self.keys.account.stand(slot, standing);
        self.stand_files(slot);
    }

    /// A name came up or went, for the ring and for the copies it has.
    pub(super) fn on_fate(&mut self, slot: usize, before: Fate, at: UnixMillis) {
        let fate = self.slots[slot].fate;
        self.keys.rings.set(&self.slots[slot].name, fate == Fate::Up);
        self.keys.is_stale = true;
        self.files.doubt();
        if before == Fate::Up {
            self.keys.repair.node_went(at);
        }
        self.stand(slot);
    }

    /// Its unit is gone, and with it everything it had.
    pub(super) fn forget_keys(&mut self, slot: usize) {
        self.slots[slot].told_life = None;
        self.keys.account.forget(slot);
        self.stand(slot);
    }

    /// Time passed and reports came: rings are judged, and what happened to copies is told.
    pub(super) fn follow_keys(&mut self, now: UnixMillis, changes: &mut Vec<Change>) {
        self.keys.account.tick(now);
        if self.keys.is_stale {
            self.keys.is_stale = false;
            if self.keys.rings.is_behind() {
                self.keys.rings.catch_up();
            }
            self.judge_rings();
        }
        self.tell_keys(now, changes);
    }

    fn judge_rings(&mut self) {
        let Self { slots, keys, .. } = self;
        (keys.agreeing, keys.told) = (0, 0);
        for at in 0..slots.len() {
            let agrees_on_members = slots[at].row.as_ref().is_some_and(|row| row.agrees);
            let Some(observer) = &slots[at].observer else { continue };
            let Some((said, _)) = observer.stock.ring else { continue };
            let (view, alive) = (observer.digest, &observer.alive);
            let agrees = agrees_on_members && keys.rings.is_right(view, said, || names(slots, alive));
            keys.told += 1;
            keys.agreeing += u32::from(agrees);
            if let Some(observer) = &mut slots[at].observer {
                observer.stock.agrees = agrees;
            }
        }
    }

    /// Whether every node that is up agrees on the ring. A network whose nodes tell of no ring has no store, and nothing
    /// to agree on.
    pub(super) fn rings_agree(&self) -> bool {
        self.keys.told == 0 || self.keys.agreeing == self.up.count()
    }

    /// Who watched all along says when keys were last written and when all of them last had their copies again.
    pub(super) fn on_key_times(
        &mut self,
        now: UnixMillis,
        written_at: Option<UnixMillis>,
        whole_at: Option<UnixMillis>,
    ) {
        self.truth_changed_at = self.truth_changed_at.max(written_at.map(|at| at.min(now)));
        self.keys.whole_at = self.keys.whole_at.max(whole_at.unwrap_or_default().min(now));
    }

    /// Since when every key has the copies it is to have; `None` while one has not. Copies have no stamp: it is when we
    /// were told, and what the gateway says of it if they had them when we began to listen.
    pub(super) fn whole_at(&mut self, now: UnixMillis) -> Option<UnixMillis> {
        let is_short = self.short(true) > 0;
        if self.keys.was_short && !is_short {
            self.keys.whole_at = now;
        }
        self.keys.was_short = is_short;
        (!is_short).then_some(self.keys.whole_at)
    }

    /// When rings last changed, of the nodes that are up.
    pub(super) fn rings_agreed_at(&self) -> Option<UnixMillis> {
        let up = self.slots.iter().filter(|slot| slot.fate == Fate::Up);
        up.filter_map(|slot| slot.observer.as_ref()?.stock.ring.map(|(_, at)| at)).max()
    }
}

fn names(slots: &[super::slot::Slot], of: &Bits) -> Vec<NodeName> {
    of.iter().map(|slot| slots[slot].name.clone()).collect()
}
