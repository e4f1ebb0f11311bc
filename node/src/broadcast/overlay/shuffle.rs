//! Shuffles: nodes a few links apart exchange parts of their reserves (HyParView §4.4).
//!
//! ```text
//! me ──Shuffle, ttl 6──▶ a ──ttl 5──▶ b ── … ──▶ z     z takes what I sent into its reserve
//! me ◀────Shuffled────── a ◀───────── b ◀─ … ◀── z     I take what it answers into mine
//! ```
//! Departs from the paper, where the last node dials the first to answer: the answer takes the same way back, as we have
//! links to neighbours only.

use p2pnet_shared::{
    NodeName,
    wire::broadcast::{Contact, Frame, WALK_MAX},
};
use rand::{RngExt, seq::IteratorRandom};

use super::{
    super::{Effect, Timer},
    Overlay,
};
use crate::time::Millis;

/// Contacts a shuffle carries: so many neighbours and so many of the reserve (HyParView §5.1).
const SHUFFLE_ACTIVE: usize = 3;
const SHUFFLE_PASSIVE: usize = 4;

impl Overlay {
    /// Begins a walk.
    pub(in super::super) fn on_shuffle_timer(&mut self, effects: &mut Vec<Effect>) {
        self.set_shuffle_timer(effects);
        let Some(to) = self.random_neighbour() else { return };
        let share = (SHUFFLE_ACTIVE, SHUFFLE_PASSIVE);
        let mut contacts = self.passive.sample(&self.active, &self.links, share, &mut self.rng);
        contacts.retain(|contact| contact.name != to);
        let frame = Frame::Shuffle { ttl: WALK_MAX, path: vec![self.me.clone()], contacts };
        effects.push(Effect::Send { to, frame });
    }

    /// A walk arrives: it goes on, or it ends here and is answered.
    pub(in super::super) fn on_shuffle(
        &mut self,
        from: &NodeName,
        ttl: u8,
        mut path: Vec<NodeName>,
        contacts: Vec<Contact>,
        effects: &mut Vec<Effect>,
    ) {
        let next =
            self.active.iter().filter(|name| *name != from && !path.contains(name)).choose(&mut self.rng).cloned();
        if let Some(to) = next.filter(|_| ttl > 1) {
            path.push(self.me.clone());
            return effects.push(Effect::Send { to, frame: Frame::Shuffle { ttl: ttl - 1, path, contacts } });
        }
        let share = (0, contacts.len());
        let answer = self.passive.sample(&self.active, &self.links, share, &mut self.rng);
        path.pop();
        effects.push(Effect::Send { to: from.clone(), frame: Frame::Shuffled { path, contacts: answer } });
        self.passive.take_in(&self.me, contacts, &self.links, &self.config, &mut self.rng);
    }

    /// The answer to a shuffle, of ours or of somebody it is on its way to.
    pub(in super::super) fn on_shuffled(
        &mut self,
        mut path: Vec<NodeName>,
        contacts: Vec<Contact>,
        effects: &mut Vec<Effect>,
    ) {
        match path.pop() {
            None => self.passive.take_in(&self.me, contacts, &self.links, &self.config, &mut self.rng),
            Some(to) if self.active.contains(&to) => {
                effects.push(Effect::Send { to, frame: Frame::Shuffled { path, contacts } });
            }
            Some(_) => {} // that link is gone
        }
    }

    /// 10 s with up to 100 members, 30 s with 1,000 and more: what shuffles cost the whole network grows slower than it.
    pub(super) fn set_shuffle_timer(&mut self, effects: &mut Vec<Effect>) {
        let period = self.config.shuffle_period.0;
        let members = self.passive.members().clamp(100, 1_000) as u64;
        let period = period + 2 * period * (members - 100) / 900;
        let after = Millis(self.rng.random_range(period / 2..=period + period / 2));
        effects.push(Effect::SetTimer { after, timer: Timer::Shuffle });
    }
}
