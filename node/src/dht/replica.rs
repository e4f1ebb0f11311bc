//! What this node does for others: says what it holds, and takes what it is given.
//!
//! Nothing is confirmed before it is on disk. What a [`Message::Merge`] brings is taken from anybody, whatever the ring says
//! of it here: where it does not belong, repair moves it on.

use p2pnet_shared::{
    Key, NodeName,
    ring::Place,
    wire::dht::{Entry, Message, Refusal},
};

use super::{Effect, State, store::Held, version};

/// Confirmations that wait for the disk at most; beyond it who asks is refused.
const WAITING_MAX: usize = 16_384;

/// Who waits for a batch.
#[derive(Debug)]
pub(super) enum Waiter {
    /// A write that this node coordinates.
    Own { call: u64 },
    /// Another node that gave us something.
    Merge { to: NodeName, call: u64, place: Place, key: Key, more: bool },
}

impl State {
    /// Whether this node has every acknowledged write of a key, for all it knows.
    pub(super) fn is_sure(&self, place: Place, held: Option<&Held>) -> bool {
        let is_whole = held.is_some_and(|held| self.store.is_whole(held));
        !self.store.is_broken() && (self.is_settled(place) || (is_whole && self.is_mine(place)))
    }

    /// Whether this node is among the first n of a place.
    pub(super) fn is_mine(&self, place: Place) -> bool {
        self.ring.walk(self.ring.arc(place)).take(self.n()).any(|name| *name == self.me)
    }

    /// What do you hold of this key?
    pub(super) fn on_read(&mut self, from: NodeName, call: u64, key: &Key, effects: &mut Vec<Effect>) {
        if self.store.is_broken() {
            return self.send(from, Message::Unread { call }, effects);
        }
        let place = Place::of(key.as_str());
        let held = self.store.get(place, key);
        let (sure, entry) = (self.is_sure(place, held), held.map(|held| held.entry.clone()));
        let ring = self.ring_digest();
        self.send(from, Message::Held { call, entry, sure, ring }, effects);
    }

    /// Add these versions to yours.
    pub(super) fn on_merge(
        &mut self,
        from: NodeName,
        call: u64,
        entry: &Entry,
        whole: bool,
        effects: &mut Vec<Effect>,
    ) {
        if !version::is_sound(entry) {
            return;
        }
        let place = Place::of(entry.key.as_str());
        let taken = if self.waiters >= WAITING_MAX {
            Err(Refusal::Late)
        } else {
            self.store.merge(place, entry, whole && self.is_mine(place), self.wall())
        };
        if call == 0 {
            return;
        }
        let taken = match taken {
            Ok(taken) => taken,
            Err(why) => return self.merged(from, call, Err(why), (place, &entry.key, false), effects),
        };
        match taken.batch {
            None => self.merged(from, call, Ok(()), (place, &entry.key, taken.more), effects),
            Some(batch) => {
                let waiter = Waiter::Merge { to: from, call, place, key: entry.key.clone(), more: taken.more };
                self.waiting.entry(batch).or_default().push(waiter);
                self.waiters += 1;
            }
        }
    }

    fn merged(
        &mut self,
        to: NodeName,
        call: u64,
        disk: Result<(), Refusal>,
        (place, key, more): (Place, &Key, bool),
        effects: &mut Vec<Effect>,
    ) {
        let held = self.store.get(place, key);
        let sure = self.is_sure(place, held);
        let more = held.filter(|_| more).map(|held| held.entry.clone());
        self.send(to, Message::Merged { call, refused: disk.err(), sure, more }, effects);
    }

    /// A batch is on disk, with all before it; or it is not, with all after it.
    pub(super) fn on_batch(&mut self, batch: u64, disk: Result<(), Refusal>, effects: &mut Vec<Effect>) {
        let settled = if disk.is_ok() {
            let later = self.waiting.split_off(&batch.saturating_add(1));
            std::mem::replace(&mut self.waiting, later)
        } else {
            self.waiting.split_off(&batch)
        };
        for waiter in settled.into_values().flatten() {
            match waiter {
                Waiter::Own { call } => self.on_own(call, disk, effects),
                Waiter::Merge { to, call, place, key, more } => {
                    self.waiters -= 1;
                    self.merged(to, call, disk, (place, &key, more), effects);
                }
            }
        }
    }
}
