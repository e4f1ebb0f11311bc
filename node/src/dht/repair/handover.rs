//! After a change of the ring: what got a new replica is offered to it, by the first of the old ones that is left.
//!
//! Changes come in crowds (a start, a heal), so one waits until the ring rests for a moment, and after a start for longer:
//! a node that has met two of a hundred members knows nothing yet about who is to hold what.

use p2pnet_shared::{NodeName, ring::Ring};

use super::{Around, Repair};
use crate::time::Millis;

/// How long the ring has to rest before anything is handed over, and how long that may be put off.
const QUIET: (Millis, Millis) = (Millis(200), Millis(1_000));
/// The same for the first [`YOUNG`] of a node's life.
const QUIET_YOUNG: (Millis, Millis) = (Millis(1_500), Millis(10_000));
const YOUNG: Millis = Millis(15_000);

/// A change of the ring that is to be dealt with.
#[derive(Debug, Default)]
pub(super) struct Handover {
    started: Millis,
    /// The ring before the first change.
    before: Option<Ring>,
    /// When the first change was, and the last.
    since: Option<(Millis, Millis)>,
}

impl Handover {
    pub(super) fn start(&mut self, now: Millis) {
        self.started = now;
    }

    pub(super) fn ring_changed(&mut self, around: &Around<'_>, old: &Ring) {
        if around.store.len() == 0 && self.before.is_none() {
            return;
        }
        let first = self.since.map_or(around.now, |(first, _)| first);
        self.since = Some((first, around.now));
        self.before.get_or_insert_with(|| old.clone());
    }

    pub(super) fn is_pending(&self) -> bool {
        self.since.is_some()
    }

    /// The ring before, if the changes are to be dealt with now.
    fn take_due(&mut self, now: Millis) -> Option<Ring> {
        let (first, last) = self.since?;
        let (quiet, most) = if now - self.started < YOUNG { QUIET_YOUNG } else { QUIET };
        if now - last < quiet && now - first < most {
            return None;
        }
        self.since = None;
        self.before.take()
    }
}

impl Repair {
    /// Deals with changes of the ring, if it is time.
    pub(super) fn hand_over(&mut self, around: &mut Around<'_>) {
        let Some(before) = self.handover.take_due(around.now) else { return };
        self.find_misplaced(around);
        let mine = self.mine(around).clone();
        for change in before.moves(around.ring, around.n()) {
            // What is here but not ours any more was found above.
            if !mine.covers(change.span) || !change.before.contains(around.me) {
                continue;
            }
            let is_there = |name: &&NodeName| *name == around.me || (around.is_reachable)(name);
            let left = || change.before.iter().filter(|name| around.is_member(name));
            if left().find(is_there) != Some(around.me) {
                continue;
            }
            let copies = u8::try_from(left().count()).unwrap_or(u8::MAX);
            for newcomer in change.came().filter(|name| *name != around.me) {
                let places = around.store.arc(change.span.after, change.span.to).map(|(place, _)| (copies, place));
                let mut places = places.peekable();
                if places.peek().is_some() {
                    self.queues.entry(newcomer.clone()).or_default().offer.extend(places);
                }
            }
        }
    }
}
