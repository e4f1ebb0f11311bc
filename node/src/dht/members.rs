//! Who is there: members come, go, cannot be reached; and what that means for what is under way.
//!
//! A change of the ring costs a pass over it and over what is held. One change is made at once; those that follow are
//! gathered for a time that grows with the ring, so that a network of a thousand that starts is not busy with nothing else.
//! Meanwhile who died is on the ring, but is not reachable.

use p2pnet_shared::{Epoch, NodeName};

use super::{
    Effect, State, Timer,
    calls::{Call, LOOK},
};
use crate::time::Millis;

/// Changes of the ring are a millisecond apart for so many tokens: 200 ms in a network of a hundred, a second in one of a
/// thousand.
const TOKENS_PER_MS: u64 = 32;

impl State {
    pub(super) fn on_member_up(&mut self, name: NodeName, epoch: Epoch, effects: &mut Vec<Effect>) {
        if name == self.me {
            return self.doubt(effects);
        }
        if self.repair.is_heal(&name, epoch, self.now, &self.config) {
            self.doubt(effects);
        }
        self.peers.up(&name, epoch);
        self.is_alone = false;
        self.coming.insert(name, true);
        self.change_ring(effects);
    }

    pub(super) fn on_member_down(&mut self, name: &NodeName, effects: &mut Vec<Effect>) {
        if *name == self.me {
            return;
        }
        if let Some(epoch) = self.peers.down(name) {
            self.repair.gone(name, epoch);
        }
        self.lost(name, effects);
        self.coming.insert(name.clone(), false);
        self.change_ring(effects);
    }

    /// Puts who came on the ring and takes off who went: at once, or after a pause since the last time.
    fn change_ring(&mut self, effects: &mut Vec<Effect>) {
        if self.ring_due.is_some() {
            return;
        }
        let tokens = u64::try_from(self.ring.len()).unwrap_or(u64::MAX);
        let due = self.ring_changed + Millis(tokens / TOKENS_PER_MS);
        if self.now < due {
            self.ring_due = Some(due);
            effects.push(Effect::SetTimer { after: due - self.now, timer: Timer::Ring { due } });
            return;
        }
        let is_new = |(name, came): &(&NodeName, &bool)| self.ring.members().binary_search(name).is_err() == **came;
        let new: Vec<(NodeName, bool)> =
            self.coming.iter().filter(is_new).map(|(name, came)| (name.clone(), *came)).collect();
        self.coming.clear();
        if new.is_empty() {
            return;
        }
        let old = self.ring.clone();
        let (come, go): (Vec<_>, Vec<_>) = new.into_iter().partition(|(_, came)| *came);
        self.ring.change(come.into_iter().map(|(name, _)| name), go.iter().map(|(name, _)| name));
        (self.ring_changed, self.ring_digest) = (self.now, None);
        let (ring, me, n) = (&self.ring, &self.me, self.n());
        self.store.unmark(|place| ring.walk(ring.arc(place)).take(n).any(|name| name == me));
        self.with_repair(effects, |repair, around| repair.ring_changed(around, &old));
    }

    pub(super) fn on_ring_due(&mut self, due: Millis, effects: &mut Vec<Effect>) {
        if self.ring_due == Some(due) {
            self.ring_due = None;
            self.change_ring(effects);
        }
    }

    pub(super) fn on_unreachable(&mut self, peer: &NodeName, effects: &mut Vec<Effect>) {
        self.peers.avoid(peer, self.now);
        self.lost(peer, effects);
        self.with_repair(effects, |repair, around| repair.unreachable(around, peer));
    }

    /// What was sent to this node may be lost.
    fn lost(&mut self, peer: &NodeName, effects: &mut Vec<Effect>) {
        for call in self.calls.numbers() {
            match self.calls.take(call) {
                Some(Call::Read(mut read)) => {
                    read.gather.on_lost(peer, self.now);
                    if !self.look_at_read(call, &mut read, effects) {
                        self.calls.put(call, Call::Read(read));
                    }
                }
                Some(Call::Write(mut write)) => {
                    Self::on_copy_lost(&mut write, peer, self.now);
                    self.go_on(call, write, effects);
                }
                Some(Call::Forward(forwarding)) => self.on_forward_lost(call, forwarding, peer, effects),
                None => {}
            }
        }
    }

    /// Looks over all that is under way.
    pub(super) fn on_look(&mut self, due: Millis, effects: &mut Vec<Effect>) {
        if self.calls.timed != Some(due) {
            return;
        }
        self.calls.timed = None;
        // Who is late himself does not call others silent: their answers may be waiting to be read.
        let is_late = self.now - due >= LOOK;
        for call in self.calls.numbers() {
            match self.calls.take(call) {
                Some(Call::Read(mut read)) => {
                    self.look_at_gather(&mut read.gather, is_late);
                    if !self.look_at_read(call, &mut read, effects) {
                        self.calls.put(call, Call::Read(read));
                    }
                }
                Some(Call::Write(write)) => self.look_at_write(call, write, is_late, effects),
                Some(Call::Forward(forwarding)) => self.look_at_forwarding(call, *forwarding, is_late, effects),
                None => {}
            }
        }
    }
}
