//! The replicated store on the ring: keys outlive their nodes.
//!
//! Sources: *Dynamo* §4 (DeCandia et al. 2007) for the preference list, sloppy quorums, hinted handoff, read repair and
//! anti-entropy; *Dotted Version Vectors* (Preguiça et al. 2010) for what replaces what.
//!
//! ```text
//!  user ──Request──▶ any node ──Forward──▶ coordinator: first reachable of the preference list ──Merge──▶ n replicas
//!                       │                            stored ◀── w of them (its own is one) have it on disk ◀── Merged
//!                       └──Read──▶ replicas, r answers ──▶ newest versions, read repair
//!
//!  members.rs ring and peers   forward.rs, coordinator.rs writes   read.rs reads   replica.rs what others ask of us
//!      │                              │            │                   │                │
//!      └──▶ repair.rs, settled.rs ◀───┴── calls.rs ┴── store.rs: entries in memory, and their way to the disk ── version.rs
//! ```
//! A value has one coordinator at a time, which knows all that was acknowledged before, so that writes that follow each other
//! replace each other, and only those that two sides of a cut made at once are left as siblings. Everything a node holds is
//! in memory; the disk is the durable copy, and nothing is acknowledged that is not on it.
//!
//! Left out on purpose: transactions over keys, and any order by clocks: a clock decides only which of two siblings is shown
//! first. A replica in memory may be read before it is on disk: what a get shows may be lost if it was never acknowledged and
//! all its holders die.
//!
//! Always holds:
//! - every request has exactly one answer, by its deadline, give or take 50 ms, whatever happens;
//! - an acknowledged write is on `w` disks, and no older try of another write ever covers it;
//! - a version goes only when one that covers it is there, and a copy in the wrong place only when all in the right ones have
//!   it on disk; no era forgets what it wrote;
//! - whoever is not sure to have every acknowledged write of a key says so, and no read ends on such answers alone while
//!   somebody else can be asked;
//! - nothing from outside is trusted with a length or an order; calls, confirmations and bytes held are bounded.
//!
//! What may surprise: a write whose first coordinator was cut off in the middle of it is done once more by the next one, and
//! the first try, with an equal value, may come back later as a sibling of what has replaced the second.

mod calls;
mod config;
mod coordinator;
mod digests;
mod forward;
mod members;
mod peers;
mod ranges;
mod read;
mod repair;
mod replica;
mod settled;
mod store;
#[cfg(test)]
mod tests;
mod version;
mod words;

use std::collections::BTreeMap;

use p2pnet_shared::{
    Epoch, Key, NodeName, UnixMillis,
    ring::{Place, Ring, RingDigest},
    telemetry::{HeldKey, KeyCounts, KeyEvent},
    wire::dht::{Actor, Entry, Message, Packet, Refusal},
};
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};

use self::{
    calls::{Call, Calls, LOOK},
    peers::Peers,
    read::Said,
    repair::{Around, Repair},
    replica::Waiter,
    store::{Changed, Seen, Store},
};
pub use self::{
    config::Config,
    words::{Answer, Change, Effect, Input, Request, RequestId, Timer},
};
use crate::time::Millis;

/// How often [`Timer::Tick`] goes off; by so much too late, and this node has slept.
const TICK: Millis = Millis(1_000);
/// Tombstones dropped at a tick.
const EXPIRE_MAX: usize = 1_000;

/// Everything one node knows of keys.
#[derive(Debug)]
pub struct State {
    me: NodeName,
    epoch: Epoch,
    config: Config,
    now: Millis,
    rng: Xoshiro256PlusPlus,
    ring: Ring,
    /// Of that ring; `None` until somebody wants to know.
    ring_digest: Option<RingDigest>,
    /// This node was told of no other, has met none, and holds nothing that others wrote.
    is_alone: bool,
    /// Who came (or went) and is not on the ring yet (or still is), when it changed last, and when it will change.
    coming: BTreeMap<NodeName, bool>,
    ring_changed: Millis,
    ring_due: Option<Millis>,
    store: Store,
    repair: Repair,
    peers: Peers,
    calls: Calls,
    /// Who waits for a batch, and how many they are without our own.
    waiting: BTreeMap<u64, Vec<Waiter>>,
    waiters: usize,
    /// As whom we write, and how often we have.
    era: u64,
    count: u64,
    /// Where our clock began.
    clock_at_start: u64,
    tick_due: Millis,
}

impl State {
    /// The store of the node `me` in the life `epoch`, with what its disk held. `seed` makes all its chance.
    #[must_use]
    pub fn new(me: NodeName, epoch: Epoch, config: Config, seed: u64, held: Vec<Entry>) -> Self {
        let store = Store::new(config.bytes_max, config.tombstone_life, held);
        Self::with(me, epoch, config, seed, store)
    }

    /// The store of a node whose disk cannot be read: it holds nothing and says so, and does for its users what it can do
    /// through others.
    #[must_use]
    pub fn broken(me: NodeName, epoch: Epoch, config: Config, seed: u64) -> Self {
        Self::with(me, epoch, config, seed, Store::broken())
    }

    fn with(me: NodeName, epoch: Epoch, config: Config, seed: u64, store: Store) -> Self {
        let ring = Ring::of(config.vnodes, [me.clone()]);
        Self {
            epoch,
            ring_digest: None,
            now: Millis(0),
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            ring,
            is_alone: config.alone && store.iter().all(|(_, held)| version::is_by(&held.entry, &me)),
            store,
            repair: Repair::default(),
            peers: Peers::default(),
            calls: Calls::new(epoch),
            coming: BTreeMap::new(),
            ring_changed: Millis(0),
            ring_due: None,
            waiting: BTreeMap::new(),
            waiters: 0,
            era: epoch.0.saturating_mul(1 << 16),
            count: 0,
            // 48 bits of it: two lives' clocks fall within a minute of each other once in four billion.
            clock_at_start: version::mix(epoch.0) >> 16,
            tick_due: Millis(u64::MAX),
            me,
            config,
        }
    }

    /// Begins. To be called once, before anything else.
    pub fn start(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        self.now = now;
        let before = effects.len();
        self.set_tick(effects);
        self.store.take_changed();
        self.with_repair(effects, |repair, around| repair.start(around));
        self.finish(before, effects);
    }

    /// Takes one input and says what is to be done about it.
    pub fn handle(&mut self, now: Millis, input: Input, effects: &mut Vec<Effect>) {
        let before = effects.len();
        self.now = self.now.max(now);
        if self.now - self.tick_due > TICK {
            // Whoever slept may have missed what others acknowledged.
            self.doubt(effects);
            self.set_tick(effects);
        }
        match input {
            Input::MemberUp { name, epoch } => self.on_member_up(name, epoch, effects),
            Input::MemberDown { name } => self.on_member_down(&name, effects),
            Input::MemberSuspected { name, suspected } => self.peers.suspected(&name, suspected),
            Input::Asked { id, request } => self.on_asked(id, request, effects),
            Input::Received { from, packet } => self.on_received(from, packet, effects),
            Input::Unreachable { peer } => self.on_unreachable(&peer, effects),
            Input::Persisted { batch } => {
                self.store.on_persisted(batch);
                self.on_batch(batch, Ok(()), effects);
                self.with_repair(effects, |repair, around| repair.persisted(around, batch));
            }
            Input::NotPersisted { batch, why } => {
                self.store.on_not_persisted(batch, why);
                self.on_batch(batch, Err(why), effects);
                self.with_repair(effects, |repair, around| repair.not_persisted(around, batch, why));
            }
            Input::TimerFired(Timer::Calls { due }) => self.on_look(due, effects),
            Input::TimerFired(Timer::Tick { due }) => self.on_tick(due, effects),
            Input::TimerFired(Timer::Ring { due }) => self.on_ring_due(due, effects),
            Input::TimerFired(Timer::Repair { due }) => {
                self.with_repair(effects, |repair, around| repair.timer(around, due));
            }
        }
        self.finish(before, effects);
    }

    fn on_asked(&mut self, id: RequestId, request: Request, effects: &mut Vec<Effect>) {
        if self.calls.is_full() {
            return effects.push(Effect::Answer { id, answer: Answer::Refused { why: Refusal::Late, reached: 0 } });
        }
        match request {
            Request::Read(key) => self.on_get(id, key, effects),
            Request::Write(operation) => self.on_write(id, operation, effects),
        }
    }

    fn on_received(&mut self, from: NodeName, packet: Packet, effects: &mut Vec<Effect>) {
        if from == self.me {
            return;
        }
        self.peers.heard(&from, self.now, packet.clock);
        match packet.message {
            Message::Forward { call, hops, valid_until, operation } => {
                self.on_forward(from, (call, hops, valid_until), operation, effects);
            }
            Message::Coordinating { call, acks } => self.on_coordinating(call, &from, acks, effects),
            Message::Forwarded { call, acks, refused, found } => {
                self.on_forwarded(call, &from, (acks, refused, found), effects);
            }
            Message::Clock { call } => self.send(from, Message::Clocked { call }, effects),
            Message::Clocked { call } => self.on_clocked(call, &from, effects),
            Message::Read { call, key } => self.on_read(from, call, &key, effects),
            Message::Held { call, entry, sure, ring } => {
                self.on_held(call, &from, Some((entry, Said { sure, ring })), effects);
            }
            Message::Unread { call } => self.on_held(call, &from, None, effects),
            Message::Merge { call, entry, whole } => self.on_merge(from, call, &entry, whole, effects),
            Message::Merged { call, refused, sure, more } => {
                let disk = refused.map_or(Ok(sure), Err);
                self.on_merged(call, &from, disk, more.filter(version::is_sound).as_ref(), effects);
            }
            Message::Repair(said) => self.with_repair(effects, |repair, around| repair.received(around, &from, said)),
        }
    }

    /// What a node holds of a key, for a read or for the context of a write; `None` if it cannot say.
    fn on_held(&mut self, call: u64, from: &NodeName, held: Option<(Option<Entry>, Said)>, effects: &mut Vec<Effect>) {
        let Some(mut open) = self.calls.take(call) else { return };
        let gather = match &mut open {
            Call::Read(read) => Some(&mut read.gather),
            Call::Write(write) => Self::gathering(write),
            Call::Forward(_) => None,
        };
        let Some(gather) = gather else { return self.calls.put(call, open) };
        let is_fine = |entry: &Entry| entry.key == gather.found().key && version::is_sound(entry);
        match held {
            Some((entry, said)) if entry.as_ref().is_none_or(is_fine) => gather.on_held(from, entry, said),
            _ => gather.on_unread(from),
        }
        match open {
            Call::Read(mut read) => {
                if !self.look_at_read(call, &mut read, effects) {
                    self.calls.put(call, Call::Read(read));
                }
            }
            Call::Write(write) => self.on_gathered(call, write, effects),
            Call::Forward(_) => {}
        }
    }

    fn set_tick(&mut self, effects: &mut Vec<Effect>) {
        self.tick_due = self.now + TICK;
        effects.push(Effect::SetTimer { after: TICK, timer: Timer::Tick { due: self.tick_due } });
    }

    fn on_tick(&mut self, due: Millis, effects: &mut Vec<Effect>) {
        if due != self.tick_due {
            return;
        }
        self.set_tick(effects);
        let (all, missing) = self.peers.missing(self.now);
        if missing * 2 > all {
            // Cut off from most, who go on without us.
            self.doubt(effects);
        }
        for held in self.store.expire(self.wall(), EXPIRE_MAX) {
            self.forgot(&held.entry);
        }
        self.save(effects);
        if let Some((batch, changes)) = self.store.retry() {
            effects.push(Effect::Persist { batch, changes });
        }
    }

    /// An entry is held no more: if this era wrote some of it, it ends, because an era never forgets what it wrote.
    fn forgot(&mut self, entry: &Entry) {
        let actor = Actor { node: self.me.clone(), era: self.era };
        if store::mentions(entry, &actor) {
            self.era += 1;
            self.count = 0;
        }
    }

    /// This node may lack what others acknowledged.
    fn doubt(&mut self, effects: &mut Vec<Effect>) {
        self.store.new_tenure();
        self.with_repair(effects, |repair, around| repair.doubt(around));
    }

    /// Lets repair do something, and takes note of what it dropped.
    fn with_repair(&mut self, effects: &mut Vec<Effect>, act: impl FnOnce(&mut Repair, &mut Around<'_>)) {
        let mut dropped = Vec::new();
        let (peers, now, wall) = (&self.peers, self.now, self.wall());
        let mut around = Around {
            now,
            wall,
            me: &self.me,
            config: &self.config,
            ring: &self.ring,
            ring_digest: &mut self.ring_digest,
            store: &mut self.store,
            is_reachable: &|name| peers.is_reachable(name, now),
            effects,
            dropped: &mut dropped,
        };
        act(&mut self.repair, &mut around);
        for entry in dropped {
            self.forgot(&entry);
        }
    }

    /// Hands what changed to the disk.
    fn save(&mut self, effects: &mut Vec<Effect>) {
        if let Some((batch, changes)) = self.store.flush() {
            effects.push(Effect::Persist { batch, changes });
        }
    }

    /// After every input: what changed goes to the disk and to those who watch, and the timer is set while there are calls.
    fn finish(&mut self, before: usize, effects: &mut Vec<Effect>) {
        loop {
            let changes = self.store.take_changed();
            if changes.is_empty() {
                break;
            }
            self.announce(&changes, effects);
            self.with_repair(effects, |repair, around| repair.changed(around, &changes));
        }
        self.save(effects);
        if self.calls.timed.is_none() && self.calls.len() > 0 {
            let due = self.now + LOOK;
            self.calls.timed = Some(due);
            effects.push(Effect::SetTimer { after: LOOK, timer: Timer::Calls { due } });
        }
        let now = self.clock();
        for effect in &mut effects[before..] {
            if let Effect::Send { packet, .. } = effect {
                packet.clock = now;
            }
        }
    }

    fn announce(&self, changes: &[Changed], effects: &mut Vec<Effect>) {
        for change in changes {
            let versions = |seen: Seen| seen.live.then_some(seen.hash);
            if versions(change.old) != versions(change.new) {
                let held = HeldKey { place: change.place, versions: versions(change.new) };
                effects.push(Effect::Announce(KeyEvent::Held(held)));
            }
        }
    }

    /// Sends; [`State::finish`] puts our clock on it.
    fn send(&self, to: NodeName, message: Message, effects: &mut Vec<Effect>) {
        effects.push(Effect::Send { to, packet: Packet { clock: 0, message } });
    }

    fn ring_digest(&mut self) -> RingDigest {
        *self.ring_digest.get_or_insert_with(|| self.ring.digest())
    }

    fn clock(&self) -> u64 {
        self.clock_at_start.wrapping_add(self.now.0)
    }

    /// The wall clock, as far as it was right when this life began.
    fn wall(&self) -> UnixMillis {
        UnixMillis(self.epoch.0.saturating_add(self.now.0))
    }

    fn n(&self) -> usize {
        usize::from(self.config.n.max(1))
    }

    /// How many copies or answers are wanted.
    fn needed(&self, configured: u8) -> usize {
        if self.is_alone { 1 } else { usize::from(configured.max(1)).min(self.n()) }
    }

    /// The ring of the members believed alive, this node included.
    #[must_use]
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// The first `n` members for a key, its owner first.
    #[must_use]
    pub fn preference(&self, key: &Key) -> Vec<NodeName> {
        self.ring.preference(Place::of(key.as_str()), self.n())
    }

    /// What this node holds, in numbers. One pass over all of it.
    #[must_use]
    pub fn counts(&self) -> KeyCounts {
        let is_owner = |place| self.ring.owner(place) == Some(&self.me);
        let live = || self.store.iter().filter(|(_, held)| held.live);
        KeyCounts {
            keys: live().count() as u64,
            owned: live().filter(|(place, _)| is_owner(*place)).count() as u64,
            misplaced: self.repair.misplaced() as u64,
            tombstones: self.store.tombstones() as u64,
            conflicts: self.store.conflicts() as u64,
            bytes: self.store.bytes() as u64,
            moving: self.repair.moving(&self.store),
            repaired: self.repair.repaired(),
            repair_bytes: self.repair.bytes(),
            disk: self.store.disk(),
        }
    }

    /// Which keys with a value are held, as those who watch are told.
    pub fn held(&self) -> impl Iterator<Item = HeldKey> {
        let live = self.store.iter().filter(|(_, held)| held.live);
        live.map(|(place, held)| HeldKey { place, versions: Some(held.hash) })
    }

    /// Every entry held, tombstones included, in the order of their places.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.store.iter().map(|(_, held)| &held.entry)
    }

    /// Whether this node has every acknowledged write of what stands at a place, for all it knows.
    #[must_use]
    pub fn is_settled(&self, place: Place) -> bool {
        self.repair.is_settled(place)
    }

    /// How many questions and writes are under way here.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.calls.len()
    }
}
