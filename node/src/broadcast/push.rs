//! A message on its way: pushed over some links, announced over the others, asked for where it did not come.
//!
//! ```text
//! publish ─┐                       ┌─ eager, and the link has room ──▶ Broadcast
//!          ├─▶ to each neighbour ──┤
//! received ┘   not on its path     └─ lazy, or the link is crowded ──▶ lazy.rs: IHave, and Broadcast on Graft
//! ```
//! With [`Push::Flood`] every link is eager. An origin pushes a short text to all its neighbours: the message then enters
//! the tree at several places and its ways are shorter.
//!
//! A crowded link is one whose queue is past the mark of the runtime. It is given no messages until it has drained, only
//! announcements and answers in portions; so a slow peer costs ids and not texts, and the texts wait in the one store.

use p2pnet_shared::{
    MessageId, NodeName,
    wire::broadcast::{Broadcast, Frame, IDS_MAX, Life, TEXT_MAX_BYTES, TTL_MAX},
};

use super::{
    Effect, Message, Push, State, Timer, Via,
    lazy::PORTION_BYTES,
    repair::{frame_of, is_sound_path},
    seen::Noted,
    store,
};
use crate::time::Millis;

/// Between portions of what was asked for, over one link.
const OWED_PAUSE: Millis = Millis(10);

/// Which neighbours a message is pushed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// All: at the origin, if the text is short.
    Everywhere,
    /// Over eager links.
    Tree,
    /// Over eager links away from the root: it came by a short cut, and the others have it from above.
    Down,
}

impl State {
    /// A message: pushed, asked for, or by way of repair.
    pub(super) fn on_broadcast(
        &mut self,
        now: Millis,
        from: &NodeName,
        broadcast: Broadcast,
        effects: &mut Vec<Effect>,
    ) {
        self.counts.payload += 1;
        let life = Life::from(&broadcast.id);
        if !self.is_sound(from, &broadcast) {
            self.dropped.malformed += 1;
            return;
        }
        self.lazy.knows(from, &broadcast.id);
        let late = self.seen.is_late(&life, broadcast.id.seq);
        match self.seen.note(&life, broadcast.id.seq, self.named(&life.origin)) {
            Noted::Known => {
                self.counts.redundant += 1;
                let unasked = broadcast.via == Via::Push && broadcast.path.len() > 1;
                if unasked && self.config.push == Push::Tree && !self.tree.is_eager(from) {
                    self.tree.correct(from, effects);
                }
            }
            Noted::Refused => {
                self.dropped.refused += 1;
                if self.seen.has_gap(&life) {
                    self.repair.note_gap(); // perhaps there are too many of them for one more
                }
            }
            Noted::New => {
                let Broadcast { id, ttl, path, text, via } = broadcast;
                let id = MessageId { origin: self.overlay.shared_name(&id.origin), ..id };
                self.lazy.arrived(&id);
                let message = Message { id, path: self.path_to_here(&path), text, via, late };
                self.pass_on(&message, self.way(from, via), ttl, effects);
                if ttl == 0 {
                    self.repair.note_news();
                    self.repair.wait_turn(from);
                }
                if self.seen.has_gap(&life) {
                    self.repair.note_gap();
                }
                effects.push(Effect::Deliver(message.clone()));
                self.store.keep(now, message, ttl);
            }
        }
    }

    /// Whether a correct node can have sent this.
    fn is_sound(&self, from: &NodeName, broadcast: &Broadcast) -> bool {
        let id = &broadcast.id;
        let ours = id.origin == self.me && id.epoch == self.epoch && id.seq <= self.published;
        is_sound_path(&broadcast.path, &id.origin, from)
            && broadcast.ttl <= TTL_MAX
            && broadcast.text.len() <= TEXT_MAX_BYTES
            && broadcast.via != Via::Own
            && (id.origin != self.me || id.epoch < self.epoch || ours)
    }

    /// The path with ourselves at its end. If we are on it already, which was in an earlier life, it ends there.
    fn path_to_here(&self, path: &[NodeName]) -> Vec<NodeName> {
        let before_us = path.iter().take_while(|name| **name != self.me);
        before_us.map(|name| self.overlay.shared_name(name)).chain([self.me.clone()]).collect()
    }

    /// Where a message from this neighbour goes next. One that had to be asked for was missed by others around us, too:
    /// perhaps by whom we hang from.
    fn way(&self, from: &NodeName, via: Via) -> Way {
        if via == Via::Push && !self.is_eager(from) { Way::Down } else { Way::Tree }
    }

    /// Pushes or announces a message to every neighbour that is not on its path, who have it all. `ttl` is how many
    /// hops it may still go.
    pub(super) fn pass_on(&mut self, message: &Message, way: Way, ttl: u8, effects: &mut Vec<Effect>) {
        if ttl == 0 {
            return;
        }
        let mut told = Vec::new();
        for to in self.overlay.neighbours().iter().filter(|name| !message.path.contains(name)) {
            let goes = match way {
                Way::Everywhere => true,
                Way::Tree => self.is_eager(to),
                Way::Down => self.is_eager(to) && !self.tree.hangs_from(to),
            };
            if goes && !self.crowded.contains(to) {
                let frame = frame_of(message, &self.me, ttl - 1, Via::Push);
                effects.extend(frame.map(|frame| Effect::Send { to: to.clone(), frame }));
            } else {
                told.push(to.clone());
            }
        }
        if self.lazy.announce(&message.id, told) {
            self.on_announce_timer(effects);
        }
    }

    /// Whether new messages are pushed to this neighbour.
    pub(super) fn is_eager(&self, peer: &NodeName) -> bool {
        self.config.push == Push::Flood || self.tree.is_eager(peer)
    }

    pub(super) fn on_announce_timer(&mut self, effects: &mut Vec<Effect>) {
        for (to, ids) in self.lazy.take_announcements() {
            if self.overlay.neighbours().contains(&to) {
                effects.push(Effect::Send { to, frame: Frame::IHave(ids) });
            }
        }
    }

    pub(super) fn on_ihave(&mut self, now: Millis, from: &NodeName, ids: Vec<MessageId>) {
        if ids.len() > IDS_MAX {
            self.dropped.malformed += 1;
            return;
        }
        let wait = if self.tree.hangs_from(from) {
            Millis(0) // whoever pushes to us does not, because the link is crowded; nobody else will
        } else if self.tree.moved_within(now, self.config.settle_time) {
            self.config.announce_after
        } else {
            Millis(self.config.graft_after.0 * self.lazy.patience())
        };
        for id in ids {
            self.counts.announced += 1;
            self.lazy.knows(from, &id);
            let life = Life::from(&id);
            let invented = id.origin == self.me && id.epoch >= self.epoch;
            if !invented && self.seen.would_take(&life, id.seq, self.named(&id.origin)) {
                self.lazy.note_missing(from, id, now + wait);
            }
        }
    }

    pub(super) fn on_graft_timer(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        let neighbours = self.overlay.neighbours();
        let (asks, left) = self.lazy.take_grafts(now, &self.config, |peer| neighbours.contains(peer));
        for (to, ids) in asks {
            self.counts.grafts += ids.len() as u64;
            effects.push(Effect::Send { to, frame: Frame::Graft(ids) });
        }
        left.iter().for_each(|peer| self.repair.wait_turn(peer));
    }

    pub(super) fn on_graft(&mut self, from: &NodeName, ids: Vec<MessageId>, effects: &mut Vec<Effect>) {
        if ids.len() > IDS_MAX {
            self.dropped.malformed += 1;
            return;
        }
        self.lazy.owe(from, ids);
        self.pay(from, effects);
    }

    pub(super) fn on_owed_timer(&mut self, effects: &mut Vec<Effect>) {
        for peer in self.lazy.creditors() {
            self.pay(&peer, effects);
        }
    }

    /// Sends a portion of what a neighbour has asked for, as far as it is remembered.
    pub(super) fn pay(&mut self, peer: &NodeName, effects: &mut Vec<Effect>) {
        let mut bytes = 0;
        while bytes < PORTION_BYTES && !self.crowded.contains(peer) {
            let Some(id) = self.lazy.next_owed(peer) else { return };
            let Some((message, ttl)) = self.store.get(&id).filter(|(message, _)| !message.path.contains(peer)) else {
                continue;
            };
            bytes += store::cost_bytes(message.text.len(), message.path.len());
            let frame = frame_of(message, &self.me, ttl.saturating_sub(1), Via::Graft);
            effects.extend(frame.map(|frame| Effect::Send { to: peer.clone(), frame }));
        }
    }

    /// Sets the timers that announcements, grafts and debts need.
    pub(super) fn arm_lazy(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        let crowded = &self.crowded;
        let arm = self.lazy.arm(now, |peer| crowded.contains(peer));
        let timers = [
            arm.announce.then_some((self.config.announce_after, Timer::Announce)),
            arm.owed.then_some((OWED_PAUSE, Timer::Owed)),
            arm.graft.map(|after| (after, Timer::Graft)),
        ];
        effects.extend(timers.into_iter().flatten().map(|(after, timer)| Effect::SetTimer { after, timer }));
    }
}
