//! What is still to be offered and given to one other node, and how fast.
//!
//! One offer and one batch are under way at a time, so what is unconfirmed never exceeds [`BATCH_BYTES`] or a single entry;
//! what was not answered in [`PATIENCE`] is taken up again. Everything stands in the order of how few copies there are.
//!
//! What always holds: nothing is in a queue that was not held when it was put there; a queue is at most as long as what
//! is held.

use std::collections::BTreeSet;

use p2pnet_shared::{
    Key,
    ring::{Place, Span},
    wire::dht::Holding,
};

use crate::time::Millis;

/// Bytes of entries in one batch.
pub(super) const BATCH_BYTES: usize = 64 * 1024;
/// How long an answer may take: the other side's disk is in it.
pub(super) const PATIENCE: Millis = Millis(3_000);

/// An offer that waits for its answer.
#[derive(Debug)]
pub(super) struct Offered {
    pub(super) number: u64,
    pub(super) at: Millis,
    /// The parts it is all of; whether the other side is settled there. None for single keys.
    pub(super) spans: Vec<(Span, bool)>,
    pub(super) held: Vec<Holding>,
    /// How few copies there were of what was offered: as in [`Queue::offer`].
    pub(super) copies: u8,
}

/// A batch that waits for its answer.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) number: u64,
    pub(super) at: Millis,
    /// Place, key and versions of each entry.
    pub(super) entries: Vec<(Place, Key, u64)>,
    /// Bytes of their keys and values, and of all that is sent.
    pub(super) bytes: usize,
    pub(super) weight: usize,
}

/// Everything that is to go to one other node.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// To be offered: how many copies there are that we know of, and where.
    pub(super) offer: BTreeSet<(u8, Place)>,
    /// To be given, as it was asked for.
    pub(super) give: BTreeSet<(u8, Place)>,
    /// Parts to be offered as a whole, with whether the other side is settled there.
    pub(super) spans: Vec<(Span, bool)>,
    pub(super) offered: Option<Offered>,
    pub(super) given: Option<Given>,
    /// Since when the answer about arcs is out.
    pub(super) asked: Option<Millis>,
    /// Not asked about arcs again before, and how long to wait after that.
    pub(super) ask_after: Millis,
    pub(super) ask_pause: Millis,
    /// Misplaced copies are not offered again before, and how long to wait after that: the other side may see another ring.
    pub(super) offer_after: Millis,
    offer_pause: Millis,
    /// Nothing is given before: it had no room, or could not be reached.
    pub(super) not_before: Millis,
    /// It did not answer: until then it counts as one that cannot be reached.
    pub(super) silent_until: Millis,
    /// Handed over since the queue was last empty.
    pub(super) moved_keys: u64,
    pub(super) moved_bytes: u64,
}

impl Queue {
    /// Whether there is nothing to do and nothing to remember.
    pub(super) fn is_idle(&self) -> bool {
        !self.has_work() && self.asked.is_none()
    }

    /// Whether something is to be sent or waited for.
    pub(super) fn has_work(&self) -> bool {
        let waiting = self.offered.is_some() || self.given.is_some();
        waiting || !(self.offer.is_empty() && self.give.is_empty() && self.spans.is_empty())
    }

    /// Whether something is to be offered.
    pub(super) fn has_offer(&self) -> bool {
        !(self.offer.is_empty() && self.spans.is_empty())
    }

    /// How few copies there are of what is most endangered in it.
    pub(super) fn copies(&self) -> u8 {
        self.give.first().into_iter().chain(self.offer.first()).map(|(copies, _)| *copies).min().unwrap_or(u8::MAX)
    }

    /// Takes up again what was not answered, or what will not be: all of it if `lost`, and leaves the other side alone for
    /// `pause`.
    pub(super) fn take_up(&mut self, now: Millis, lost: bool, pause: Millis) {
        let overdue = |at: Millis| lost || now - at >= PATIENCE;
        let mut any = false;
        if let Some(offered) = self.offered.take_if(|offered| overdue(offered.at)) {
            any = true;
            if offered.spans.is_empty() {
                self.offer.extend(offered.held.iter().map(|one| (offered.copies, one.place)));
            }
        }
        if let Some(given) = self.given.take_if(|given| overdue(given.at)) {
            any = true;
            self.give.extend(given.entries.iter().map(|(place, ..)| (0, *place)));
        }
        if self.asked.take_if(|at| overdue(*at)).is_some() {
            any = true;
        }
        if any || lost {
            self.not_before = self.not_before.max(now + pause);
            self.silent_until = self.not_before;
        }
    }

    /// Forgets that it was asked about arcs, or offered something in vain, not long ago.
    pub(super) fn ask_again(&mut self) {
        (self.ask_after, self.ask_pause) = (Millis(0), Millis(0));
        (self.offer_after, self.offer_pause) = (Millis(0), Millis(0));
    }

    /// An offer was of use, or in vain: then the next one waits, longer each time.
    pub(super) fn offer_was(&mut self, now: Millis, of_use: bool) {
        self.offer_pause = if of_use { Millis(0) } else { Millis((self.offer_pause.0 * 2).clamp(1_000, 30_000)) };
        self.offer_after = now + self.offer_pause;
    }
}

/// How many bytes may be sent now: `rate` a second, a quarter of that at once.
#[derive(Debug, Default)]
pub(super) struct Budget {
    left: i64,
    /// Up to when bytes were earned.
    at: Millis,
}

impl Budget {
    /// Whether anything may be sent.
    pub(super) fn allows(&mut self, now: Millis, rate: usize) -> bool {
        let rate = i64::try_from(rate).unwrap_or(i64::MAX / 4_000).min(i64::MAX / 4_000);
        let passed = i64::try_from((now - self.at).0.min(1_000)).unwrap_or(1_000);
        let earned = rate * passed / 1_000;
        if earned > 0 {
            self.left = (self.left + earned).min((rate / 4).max(1));
            self.at = now;
        }
        self.left > 0
    }

    /// Whether what is to be sent has to wait.
    pub(super) fn is_spent(&self) -> bool {
        self.left <= 0
    }

    /// A packet of so many bytes was sent. It may cost more than there is: what follows waits longer.
    pub(super) fn spend(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_rate_is_spent() {
        let (mut budget, mut spent) = (Budget::default(), 0);
        for now in 0..10_000 {
            while budget.allows(Millis(now), 50_000) {
                budget.spend(700);
                spent += 700;
            }
        }
        assert!((490_000..=520_000).contains(&spent), "{spent} bytes in ten seconds at 50,000 a second");
        budget.spend(1_000_000);
        assert!(!budget.allows(Millis(20_000), 50_000), "a large packet is paid for");
        assert!((21_000..=60_000).step_by(1_000).any(|now| budget.allows(Millis(now), 50_000)));
    }

    #[test]
    fn what_was_not_answered_is_taken_up_again() {
        let place = Place(7);
        let mut queue = Queue::default();
        let held = vec![Holding { place, versions: 1 }];
        queue.offered = Some(Offered { number: 1, at: Millis(0), spans: Vec::new(), held, copies: 1 });
        queue.take_up(Millis(2_999), false, Millis(1_000));
        assert!(queue.offered.is_some() && queue.not_before == Millis(0));
        queue.take_up(Millis(3_000), false, Millis(1_000));
        assert!(queue.offered.is_none() && queue.offer.contains(&(1, place)) && queue.not_before == Millis(4_000));
        assert!(queue.has_work() && !queue.is_idle());
    }
}
