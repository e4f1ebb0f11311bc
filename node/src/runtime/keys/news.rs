//! What is new in the store, gathered until it is told: to the gateway as reports, to readers of `/events` as events.
//!
//! ```text
//! KeyEvent, members, disk ──▶ News ──every NEWS_PERIOD──▶ loop: Report::Held, Ring, Keys; key events
//! ```
//! Nothing is gathered for whom nobody listens. What changed of a key is told once however often it changed meanwhile.
//! Holds [`EVENTS_MAX`] events; those beyond it are not told, their number is.

use std::collections::HashMap;

use p2pnet_shared::{
    UnixMillis,
    ring::{Place, RingDigest},
    telemetry::{HeldKey, KeyCounts, KeyEvent},
};

use crate::dht::{Input, State, Timer};

/// Events told at once.
pub(in crate::runtime) const EVENTS_MAX: usize = 256;

/// What is to be told.
#[derive(Debug, Default)]
pub(in crate::runtime) struct News {
    /// A gateway listens.
    pub(in crate::runtime) is_watched: bool,
    /// Somebody reads `/events`.
    pub(in crate::runtime) is_read: bool,
    /// What changed of which keys.
    pub(in crate::runtime) held: HashMap<Place, Option<u64>>,
    /// For readers.
    pub(in crate::runtime) events: Vec<KeyEvent>,
    /// Events that there was no room for.
    pub(in crate::runtime) unsaid: u64,
    /// The counts may have changed.
    pub(in crate::runtime) counts: bool,
    /// They are told this time, not the next.
    pub(in crate::runtime) counts_due: bool,
    /// The counts as they were told.
    pub(in crate::runtime) counts_told: KeyCounts,
    /// The ring may have changed.
    ring: bool,
    /// When it last did.
    pub(in crate::runtime) ring_at: UnixMillis,
    /// The ring as it was told or last looked at.
    ring_told: Option<RingDigest>,
    /// How many zero bits the place of a key has at its low end if it is told.
    pub(in crate::runtime) sampled: u8,
    /// The loop knows that there is something.
    is_known: bool,
}

impl News {
    pub(super) fn on_input(&mut self, input: &Input) {
        match input {
            // Members that come in a burst take their places together, a little later.
            Input::MemberUp { .. } | Input::MemberDown { .. } | Input::TimerFired(Timer::Ring { .. }) => {
                self.ring = true;
            }
            Input::Persisted { .. } | Input::NotPersisted { .. } => self.counts = true,
            _ => {}
        }
    }

    pub(super) fn on_persist(&mut self) {
        self.counts = true;
    }

    pub(super) fn on_event(&mut self, event: KeyEvent) {
        self.counts = true;
        if let (KeyEvent::Held(HeldKey { place, versions }), true) = (&event, self.is_watched) {
            self.held.insert(*place, *versions);
        }
        if self.is_read {
            if self.events.len() < EVENTS_MAX { self.events.push(event) } else { self.unsaid += 1 }
        }
    }

    /// Whether the ring has changed since this was last asked.
    pub(in crate::runtime) fn ring_changed(&mut self, state: &State) -> bool {
        if !std::mem::take(&mut self.ring) {
            return false;
        }
        let digest = Some(state.ring().digest());
        std::mem::replace(&mut self.ring_told, digest) != digest
    }

    /// The loop has looked: it is told of what comes next.
    pub(in crate::runtime) fn known(&mut self) {
        self.is_known = false;
    }

    /// Whether the loop is to be told that there is something; once, until it has looked.
    pub(in crate::runtime) fn is_to_be_told(&mut self) -> bool {
        let is_any = self.ring
            || (self.is_watched && (self.counts || !self.held.is_empty()))
            || (self.is_read && !self.events.is_empty());
        is_any && !std::mem::replace(&mut self.is_known, true)
    }
}

#[cfg(test)]
mod tests {
    use p2pnet_shared::{Epoch, NodeName};

    use super::*;
    use crate::{
        dht::{Config, Effect},
        time::Millis,
    };

    /// Seen with 101 containers: 13 nodes had the right ring and had told an earlier one, for ever.
    #[test]
    fn a_ring_that_changes_later_than_its_members_is_told() {
        let config = Config { vnodes: 1_024, ..Config::default() };
        let mut state = State::new(NodeName::numbered(0), Epoch(1), config, 1, Vec::new());
        let (mut news, mut effects) = (News::default(), Vec::new());
        let mut feed = |news: &mut News, state: &mut State, now, input: Input| {
            news.on_input(&input);
            state.handle(Millis(now), input, &mut effects);
            std::mem::take(&mut effects)
        };
        state.start(Millis(0), &mut Vec::new());
        let mut due = None;
        for number in 1..20 {
            let up = Input::MemberUp { name: NodeName::numbered(number), epoch: Epoch(1) };
            let asked = feed(&mut news, &mut state, 1, up);
            due = due.or(asked.into_iter().find_map(|effect| match effect {
                Effect::SetTimer { after, timer: timer @ Timer::Ring { .. } } => Some((after, timer)),
                _ => None,
            }));
        }
        news.ring_changed(&state);
        assert!(state.ring().members().len() < 20, "some wait for the others");
        let (after, timer) = due.expect("they were put off");
        feed(&mut news, &mut state, 1 + after.0, Input::TimerFired(timer));
        assert_eq!(state.ring().members().len(), 20);
        assert!(news.ring_changed(&state), "the ring is another, and that is news");
    }
}
