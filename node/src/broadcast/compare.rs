//! Comparing marks: who is asked when, and what is answered. The rules and their bounds are in `repair.rs`.

use p2pnet_shared::{NodeName, wire::broadcast::MarksPurpose};

use super::{Effect, State, Timer, repair::Shown};
use crate::time::Millis;

impl State {
    /// A neighbour shows what it has seen.
    pub(super) fn on_marks(
        &mut self,
        now: Millis,
        from: &NodeName,
        purpose: MarksPurpose,
        shown: &Shown,
        effects: &mut Vec<Effect>,
    ) {
        if purpose != MarksPurpose::Offer {
            let crowded = self.crowded.contains(from);
            let room = if crowded { 0 } else { self.repair.allowance(now, from, &self.config) };
            let (frames, bytes) = shown.answer(&self.me, &self.seen, &self.store, room);
            self.repair.answered(from, bytes);
            if bytes >= room {
                self.repair.wait_turn(from); // it lacks more, and we come back to it
            }
            effects.extend(frames.into_iter().map(|frame| Effect::Send { to: from.clone(), frame }));
        }
        let mine = self.my_life();
        let we_lack = || {
            let others = shown.marks().filter(|mark| mark.life != mine);
            others.into_iter().any(|mark| self.seen.lacks_some_of(mark, self.named(&mark.life.origin)))
        };
        if purpose != MarksPurpose::Ask && we_lack() && self.repair.may_ask(now, from, self.config.repair_soon) {
            effects.push(Effect::Send { to: from.clone(), frame: shown.ask_back(&self.seen) });
        }
    }

    pub(super) fn on_repair_timer(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        self.set_repair_timer(effects);
        self.store.age(now);
        if let Some(peer) = self.overlay.random_neighbour() {
            self.send_compare(now, peer, effects);
        }
    }

    pub(super) fn on_repair_soon(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        let due = self.repair.take_due();
        let gap_left = due.gap && self.seen.has_gaps();
        let peer = due.compare.filter(|peer| self.overlay.neighbours().contains(peer));
        let peer = if gap_left { peer.or_else(|| self.overlay.random_neighbour()) } else { peer };
        if due.offer {
            let others: Vec<NodeName> = self.neighbours().filter(|name| peer.as_ref() != Some(name)).cloned().collect();
            let frame = self.repair.next_marks(&self.seen, MarksPurpose::Offer);
            effects.extend(others.into_iter().map(|to| Effect::Send { to, frame: frame.clone() }));
        }
        if let Some(peer) = peer {
            self.send_compare(now, peer, effects);
        }
    }

    /// Compares with a new neighbour at once, or in its turn if we have just asked another.
    pub(super) fn compare(&mut self, now: Millis, peer: &NodeName, effects: &mut Vec<Effect>) {
        if self.repair.may_ask(now, peer, self.config.repair_soon) {
            self.send_compare(now, peer.clone(), effects);
        }
    }

    fn send_compare(&mut self, now: Millis, peer: NodeName, effects: &mut Vec<Effect>) {
        self.repair.asked(now);
        let frame = self.repair.next_marks(&self.seen, MarksPurpose::Compare);
        effects.push(Effect::Send { to: peer, frame });
    }

    pub(super) fn set_repair_timer(&mut self, effects: &mut Vec<Effect>) {
        let after = self.overlay.jittered(self.config.repair_period);
        effects.push(Effect::SetTimer { after, timer: Timer::Repair });
    }
}
