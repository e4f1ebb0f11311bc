//! Repair: every key comes to its `n` replicas and stays there, whatever happens to them.
//!
//! Sources: *Dynamo* §4.6 hinted handoff, §4.7 replica synchronization. Departs from it: no hash trees, because an arc holds
//! a handful of keys and its digest is kept up with every change; a hint is nothing but a copy in the wrong place.
//!
//! ```text
//!   the ring changed ──▶ handover   what got a new replica is offered to it by the first holder there is
//!   a copy is misplaced ─▶ misplaced  it is offered to all n, and dropped once all have it on disk
//!   every second ────▶ compare    one digest to one fellow replica, in turn; what differs is offered both ways
//!   not settled ─────▶ compare    with every holder of what is new here, until nothing is missing
//!                         │
//!                         ▼
//!                       queue     per peer: offers first, then what was wanted; one batch under way, throttled
//! ```
//! All four end in the same two questions, *what do you lack of this* and *is it on your disk*, so a packet that is lost
//! costs a repetition and nothing else. A node that holds no key says nothing unless asked.
//!
//! What is promised, and what is not. *Dies* means that its disk does not come back; a *repair window* is the time to
//! detect a death (four to ten seconds) and to copy what it held.
//!
//! | what happens | what is promised |
//! |---|---|
//! | fewer than `w` = 2 holders of a key die in one repair window | nothing acknowledged is lost |
//! | any number die one by one, a window apart, down to `n` nodes | nothing acknowledged is lost |
//! | any number are killed, all of them too, and start again with their disks | nothing acknowledged is lost |
//! | any number are paused or cut off, and come back | nothing acknowledged is lost; concurrent writes are siblings |
//! | `w` or more of 100 die at once | **not promised**: a key that was on just those is lost |
//!
//! For the last row, a key with three copies is among them with probability 6e-6 when three of a hundred die at once, 6e-5
//! when five do, 7e-4 for ten and 7e-3 for twenty: of 10,000 keys 0.06, 0.6, 7 and 70. A key that only had its `w` = 2
//! copies yet is lost more easily; that is why what is most endangered is copied first.
//!
//! What always holds: a copy is dropped only by a node that is not among the key's `n`, after each of them said that it has
//! the same or newer on disk; what is sent is bounded per second and per peer; the order of everything follows from the
//! inputs alone.

mod compare;
mod handover;
mod heal;
mod misplaced;
mod queue;
#[cfg(test)]
mod tests;
mod transfer;

use std::collections::{BTreeMap, VecDeque};

use p2pnet_shared::{
    Epoch, Key, NodeName, UnixMillis,
    ring::{Place, Ring, RingDigest},
    telemetry::{KeyEvent, Moving},
    wire::dht::{Entry, Message, Packet, Refusal, Repair as Said},
};

use self::queue::{Budget, Queue};
use super::{
    Config, Effect, Timer,
    digests::Digests,
    ranges::Ranges,
    settled::Settled,
    store::{Changed, Store},
    version,
};
use crate::time::Millis;

/// How often there is a look around while there is something to do.
const TICK: Millis = Millis(50);
/// How often what got stuck is taken up again.
const SWEEP: Millis = Millis(1_000);
/// How long a peer that did not answer, or could not be reached, is left alone.
const SILENT: Millis = Millis(1_000);
/// How long a peer that had no room is left alone.
const FULL: Millis = Millis(5_000);
/// Batches that wait for our disk before they are confirmed, at most.
const CONFIRM_MAX: usize = 1_024;
/// Peers told of in [`Repair::moving`].
const MOVING_MAX: usize = 16;

/// What repair sees of its node, and what it does there.
pub(super) struct Around<'a> {
    pub(super) now: Millis,
    /// The wall clock, for the age of tombstones.
    pub(super) wall: UnixMillis,
    pub(super) me: &'a NodeName,
    pub(super) config: &'a Config,
    pub(super) ring: &'a Ring,
    /// Of that ring; `None` until somebody wants to know.
    pub(super) ring_digest: &'a mut Option<RingDigest>,
    pub(super) store: &'a mut Store,
    /// Whether a member can be reached, for all we know.
    pub(super) is_reachable: &'a dyn Fn(&NodeName) -> bool,
    pub(super) effects: &'a mut Vec<Effect>,
    /// Entries that were taken out of the store: an era ends if one of them is of this node's own writing.
    pub(super) dropped: &'a mut Vec<Entry>,
}

impl Around<'_> {
    fn send(&mut self, to: &NodeName, said: Said) {
        let packet = Packet { clock: self.now.0, message: Message::Repair(said) };
        self.effects.push(Effect::Send { to: to.clone(), packet });
    }

    fn n(&self) -> usize {
        usize::from(self.config.n)
    }

    fn ring_digest(&mut self) -> RingDigest {
        *self.ring_digest.get_or_insert_with(|| self.ring.digest())
    }

    /// Who is to hold what stands at a place.
    pub(super) fn replicas(&self, place: Place) -> impl Iterator<Item = &NodeName> {
        self.ring.walk(self.ring.arc(place)).take(self.n())
    }

    fn is_member(&self, name: &NodeName) -> bool {
        is_member(self.ring, name)
    }
}

fn is_member(ring: &Ring, name: &NodeName) -> bool {
    ring.members().binary_search(name).is_ok()
}

/// A batch that was merged here and is to be confirmed once it is on disk.
#[derive(Debug)]
struct Unconfirmed {
    batch: u64,
    to: NodeName,
    number: u64,
}

/// Everything repair remembers. Its parts are used by the files of its folder.
#[derive(Debug, Default)]
pub(super) struct Repair {
    /// What this node is to hold; `None` until it is worked out for the ring of now.
    mine: Option<Ranges>,
    settled: Settled,
    /// Of everything held; `None` until added up for the ring of now.
    digests: Option<Digests>,
    /// Copies in the wrong place: which of the replicas have them on disk.
    misplaced: BTreeMap<(Place, Key), Vec<NodeName>>,
    queues: BTreeMap<NodeName, Queue>,
    budget: Budget,
    /// Counts our offers and batches.
    number: u64,
    unconfirmed: VecDeque<Unconfirmed>,
    /// What was asked for and has not come yet, and when: not asked of two at once.
    wanted: BTreeMap<Place, Millis>,
    handover: handover::Handover,
    heal: heal::Heal,
    compare: compare::Rounds,
    swept_at: Millis,
    /// When the timer that counts goes off.
    due: Option<Millis>,
    repaired: u64,
    bytes: u64,
}

impl Repair {
    /// Begins, with what the disk held. To be called once.
    pub(super) fn start(&mut self, around: &mut Around<'_>) {
        self.handover.start(around.now);
        self.find_misplaced(around);
        self.schedule(around);
    }

    /// The ring is another one than `old`. To be called before anything else is done on it.
    pub(super) fn ring_changed(&mut self, around: &mut Around<'_>, old: &Ring) {
        self.digests = None;
        self.mine = None;
        self.queues.retain(|name, _| is_member(around.ring, name));
        self.queues.values_mut().for_each(Queue::ask_again);
        // Who confirmed a copy was a replica then, and may have dropped it while it was none.
        self.misplaced.values_mut().for_each(Vec::clear);
        if !self.settled.is_empty() {
            let mine = self.mine(around).clone();
            self.settled.keep(&mine, |name| is_member(around.ring, name));
        }
        self.handover.ring_changed(around, old);
        self.compare.ring_changed(around.now);
        self.schedule(around);
    }

    /// What is held changed. To be called after whatever changed it.
    pub(super) fn changed(&mut self, around: &mut Around<'_>, changes: &[Changed]) {
        for change in changes {
            let seen = |hash: u64| (hash != 0).then_some(hash);
            if let Some(digests) = &mut self.digests {
                digests.change(around.ring, change.place, seen(change.old.hash), seen(change.new.hash));
            }
            if !self.mine(around).contains(change.place) {
                self.misplaced_changed(around, change.place, &change.key, change.new.hash != 0);
            }
        }
        if !changes.is_empty() {
            self.schedule(around);
        }
    }

    /// A packet of repair came in.
    pub(super) fn received(&mut self, around: &mut Around<'_>, from: &NodeName, said: Said) {
        if around.store.is_broken() || from == around.me {
            return;
        }
        if let Some(queue) = self.queues.get_mut(from) {
            queue.silent_until = Millis(0);
        }
        match said {
            Said::Compare { ring, digest } => self.on_compare(around, from, ring, digest),
            Said::Arcs { ring, asked, arcs } => self.on_arcs(around, from, ring, asked, &arcs),
            Said::Offer { offer, spans, held } => self.on_offer(around, from, offer, &spans, &held),
            Said::Wanted { offer, want, kept, lacking } => self.on_wanted(around, from, offer, &want, &kept, lacking),
            Said::Give { batch, entries } => self.on_give(around, from, batch, &entries),
            Said::Given { batch, refused } => self.on_given(around, from, batch, refused),
        }
        // While there is more to send than may be sent, the timer decides what goes first.
        if !self.budget.is_spent() {
            self.pump(around, from);
        }
        self.schedule(around);
    }

    /// A timer went off.
    pub(super) fn timer(&mut self, around: &mut Around<'_>, due: Millis) {
        if self.due != Some(due) {
            return;
        }
        self.due = None;
        if around.store.is_broken() {
            return;
        }
        self.hand_over(around);
        if around.now - self.swept_at >= SWEEP {
            self.swept_at = around.now;
            self.sweep(around);
        }
        self.compare_in_turn(around);
        self.settle(around);
        // The most endangered first, and of those another one each time: what may be sent in a second is for all.
        let mut names: Vec<NodeName> = self.queues.keys().cloned().collect();
        let first = usize::try_from(self.number).unwrap_or(0) % names.len().max(1);
        names.rotate_left(first);
        names.sort_by_key(|name| self.queues[name].copies());
        names.iter().for_each(|name| self.pump(around, name));
        self.schedule(around);
    }

    /// Everything up to and with this batch is on disk.
    pub(super) fn persisted(&mut self, around: &mut Around<'_>, batch: u64) {
        while self.unconfirmed.front().is_some_and(|one| one.batch <= batch) {
            let Some(done) = self.unconfirmed.pop_front() else { return };
            around.send(&done.to, Said::Given { batch: done.number, refused: None });
        }
    }

    /// This batch is not on disk, nor is any after it.
    pub(super) fn not_persisted(&mut self, around: &mut Around<'_>, batch: u64, why: Refusal) {
        for one in std::mem::take(&mut self.unconfirmed) {
            if one.batch >= batch {
                around.send(&one.to, Said::Given { batch: one.number, refused: Some(why) });
            } else {
                self.unconfirmed.push_back(one);
            }
        }
    }

    /// What was sent to a peer may be lost.
    pub(super) fn unreachable(&mut self, around: &Around<'_>, peer: &NodeName) {
        if let Some(queue) = self.queues.get_mut(peer) {
            queue.take_up(around.now, true, SILENT);
        }
    }

    /// This node slept, was thought dead, or was alone: it may lack what others acknowledged meanwhile.
    pub(super) fn doubt(&mut self, around: &mut Around<'_>) {
        self.settled.doubt();
        self.queues.values_mut().for_each(Queue::ask_again);
        self.compare.doubt();
        self.schedule(around);
    }

    /// A member died or left.
    pub(super) fn gone(&mut self, name: &NodeName, epoch: Epoch) {
        self.heal.gone(name, epoch);
    }

    /// A member is there. Whether it comes back from the other side of a cut on which something may have been acknowledged:
    /// a reason for [`Repair::doubt`].
    pub(super) fn is_heal(&mut self, name: &NodeName, epoch: Epoch, now: Millis, config: &Config) -> bool {
        self.heal.is_heal(name, epoch, now, usize::from(config.w))
    }

    /// A write did not get to one of its replicas: it is offered to it as soon as it can be reached.
    pub(super) fn owe(&mut self, around: &mut Around<'_>, peer: &NodeName, place: Place) {
        if around.is_member(peer) && peer != around.me {
            self.queues.entry(peer.clone()).or_default().offer.insert((1, place));
            self.schedule(around);
        }
    }

    /// Whether this node has every acknowledged write of what stands at a place, for all it knows.
    pub(super) fn is_settled(&self, place: Place) -> bool {
        self.settled.contains(place)
    }

    /// How many entries are held in the wrong place.
    pub(super) fn misplaced(&self) -> usize {
        self.misplaced.len()
    }

    /// Differences with fellow replicas that were mended here.
    pub(super) fn repaired(&self) -> u64 {
        self.repaired
    }

    /// Bytes sent.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What is still to be sent, to whom; the largest first.
    pub(super) fn moving(&self, store: &Store) -> Vec<Moving> {
        let bytes = |place: &Place| at(store, *place).map(|held| version::bytes(&held.entry) as u64).sum::<u64>();
        let mut moving: Vec<Moving> = Vec::new();
        for (to, queue) in &self.queues {
            let under_way = queue.given.as_ref().map_or((0, 0), |given| (given.entries.len(), given.bytes));
            let keys = (queue.give.len() + under_way.0) as u64;
            if keys > 0 {
                let waiting = queue.give.iter().map(|(_, place)| bytes(place)).sum::<u64>();
                moving.push(Moving { to: to.clone(), keys, bytes: waiting + under_way.1 as u64 });
            }
        }
        moving.sort_by(|a, b| (b.bytes, &a.to).cmp(&(a.bytes, &b.to)));
        moving.truncate(MOVING_MAX);
        moving
    }

    /// What this node is to hold.
    fn mine(&mut self, around: &Around<'_>) -> &Ranges {
        self.mine.get_or_insert_with(|| {
            let arcs = around.ring.replicated(around.me, around.n());
            if arcs.len() == around.ring.len() {
                return Ranges::all();
            }
            Ranges::of(arcs.into_iter().map(|arc| around.ring.span(arc)))
        })
    }

    fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// Takes up again what got stuck, and forgets what is over.
    fn sweep(&mut self, around: &mut Around<'_>) {
        let now = around.now;
        self.queues.values_mut().for_each(|queue| queue.take_up(now, false, SILENT));
        self.wanted.retain(|_, since| now - *since < queue::PATIENCE);
        self.offer_misplaced(around);
        self.queues.retain(|_, queue| !queue.is_idle() || queue.silent_until > now || queue.ask_after > now);
    }

    /// Sees to it that the timer goes off when there is something to do.
    fn schedule(&mut self, around: &mut Around<'_>) {
        if around.store.is_broken() {
            return;
        }
        let (now, holds) = (around.now, around.store.len() > 0);
        let works = self.handover.is_pending() || self.queues.values().any(Queue::has_work);
        let next = [
            works.then_some(now + TICK),
            self.compare.look().filter(|_| holds).map(|look| look.max(now + TICK)),
            (!self.misplaced.is_empty()).then_some(now + SWEEP),
            holds.then(|| self.compare.next(around)),
        ];
        let Some(due) = next.into_iter().flatten().min() else { return };
        let due = due.max(now + Millis(1));
        if self.due.is_none_or(|earlier| due < earlier) {
            self.due = Some(due);
            let after = due - around.now;
            around.effects.push(Effect::SetTimer { after, timer: Timer::Repair { due } });
        }
    }
}

/// What is held under a place: one entry but for keys that were made to fall together.
fn at(store: &Store, place: Place) -> impl Iterator<Item = &super::store::Held> {
    store.arc(Place(place.0.wrapping_sub(1)), place).map(|(_, held)| held)
}

/// The versions under a place as one number; `None` if nothing is held.
fn versions_at(store: &Store, place: Place) -> Option<u64> {
    at(store, place).map(|held| held.hash).reduce(u64::wrapping_add)
}

/// The announcement that copies were handed over.
fn moved(to: &NodeName, queue: &mut Queue) -> Effect {
    let (keys, bytes) = (std::mem::take(&mut queue.moved_keys), std::mem::take(&mut queue.moved_bytes));
    Effect::Announce(KeyEvent::Moved { to: to.clone(), keys, bytes })
}
