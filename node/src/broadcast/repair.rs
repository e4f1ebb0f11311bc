//! Repair: what the push did not bring, by comparing marks with a neighbour (anti-entropy, Demers 1987).
//!
//! Marks say which numbers of each origin's life a node has seen. Whoever is shown marks sends the messages they lack,
//! as far as it remembers them, and asks in turn when it lacks something itself. Marks are compared
//!
//! - with one random neighbour every `repair_period`, which finds missed tails;
//! - with a new neighbour at once: this is how a newcomer gets the history and how the halves of a cut network catch up;
//! - with a random neighbour `repair_soon` after a gap was seen and is still there;
//! - with the neighbour that has just repaired us, `repair_soon` later, because its answers are bounded.
//!
//! A message that arrived with no hops left is not pushed on; its receiver *offers* its marks to all neighbours instead,
//! `repair_soon` later, so such news spreads hop by hop and only to those who lack it. To ask several neighbours at once
//! would bring everything several times, so asks are `repair_soon` apart and the others wait their turn.
//!
//! What nobody remembers cannot be repaired: a neighbour that has seen, and forgotten, what we lack says so
//! ([`Frame::Forgotten`]), and we give those numbers up instead of asking for ever.
//!
//! Bounded: an answer is at most [`ANSWER_MESSAGES_MAX`] messages, answers to one
//! neighbour are at most `repair_bytes` per `repair_soon` however often it asks, marks fill at most
//! [`MARKS_BYTES_MAX`] of a frame and go on where they stopped the next time, and at most one neighbour's worth of
//! names waits its turn.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use p2pnet_shared::{
    NodeName,
    wire::broadcast::{Broadcast, Frame, Life, Mark, MarksPurpose, PATH_MAX, Via},
};

use super::{Config, Message, seen::Seen, store, store::Store};
use crate::time::Millis;

/// Most messages in one answer: what a link's queue takes without blocking pushes for long.
pub(super) const ANSWER_MESSAGES_MAX: usize = 200;
/// Most bytes of marks in one frame; a frame may have 64 KiB.
pub(super) const MARKS_BYTES_MAX: usize = 48 * 1024;
/// Most lives in one `Forgotten` frame, each at most 85 bytes.
const FORGOTTEN_MAX: usize = 500;

/// When to compare with whom.
#[derive(Debug, Default)]
pub(super) struct Repair {
    /// Neighbours to compare with, one after the other.
    turns: VecDeque<NodeName>,
    /// Something arrived that the neighbours may lack.
    news: bool,
    /// A gap was seen.
    gap: bool,
    /// The soon-timer is set.
    soon_is_set: bool,
    /// When we last asked anyone.
    asked_at: Option<Millis>,
    /// Where the next marks go on, when not all of them fit one frame.
    cursor: Option<Life>,
    /// Since when, and with how many bytes, each neighbour has been repaired in the present round.
    rounds: BTreeMap<NodeName, (Millis, usize)>,
}

/// What is to be done when the soon-timer fires.
#[derive(Debug, Default)]
pub(super) struct Due {
    /// Compare with this neighbour.
    pub(super) compare: Option<NodeName>,
    /// Offer to all neighbours.
    pub(super) offer: bool,
    /// Some gap may still be there: compare with somebody, if with nobody else.
    pub(super) gap: bool,
}

impl Repair {
    /// Whether `peer` may be asked now; otherwise it waits its turn, and the caller sets the soon-timer.
    pub(super) fn may_ask(&mut self, now: Millis, peer: &NodeName, pace: Millis) -> bool {
        if self.asked_at.is_some_and(|at| now - at < pace) {
            self.wait_turn(peer);
            return false;
        }
        self.asked_at = Some(now);
        self.turns.retain(|waiting| waiting != peer);
        true
    }

    pub(super) fn asked(&mut self, now: Millis) {
        self.asked_at = Some(now);
    }

    pub(super) fn wait_turn(&mut self, peer: &NodeName) {
        if !self.turns.contains(peer) {
            self.turns.push_back(peer.clone());
        }
    }

    pub(super) fn forget_peer(&mut self, peer: &NodeName) {
        self.rounds.remove(peer);
        self.turns.retain(|waiting| waiting != peer);
    }

    /// How many more bytes `peer` may be repaired with in this round.
    pub(super) fn allowance(&mut self, now: Millis, peer: &NodeName, config: &Config) -> usize {
        let round = self.rounds.entry(peer.clone()).or_insert((now, 0));
        if now - round.0 >= config.repair_soon {
            *round = (now, 0);
        }
        config.repair_bytes.saturating_sub(round.1)
    }

    pub(super) fn answered(&mut self, peer: &NodeName, bytes: usize) {
        if let Some((_, used)) = self.rounds.get_mut(peer) {
            *used += bytes;
        }
    }

    pub(super) fn note_news(&mut self) {
        self.news = true;
    }

    pub(super) fn note_gap(&mut self) {
        self.gap = true;
    }

    /// Whether the soon-timer has to be set, because there is something to do and it is not set yet.
    pub(super) fn arm(&mut self) -> bool {
        let busy = self.news || self.gap || !self.turns.is_empty();
        let to_set = busy && !self.soon_is_set;
        self.soon_is_set |= busy;
        to_set
    }

    /// What is due. A timer that fires twice finds nothing; one that fires early does no harm by it.
    pub(super) fn take_due(&mut self) -> Due {
        if !std::mem::take(&mut self.soon_is_set) {
            return Due::default();
        }
        Due {
            compare: self.turns.pop_front(),
            offer: std::mem::take(&mut self.news),
            gap: std::mem::take(&mut self.gap),
        }
    }

    /// Our marks from where the last ones stopped.
    pub(super) fn next_marks(&mut self, seen: &Seen, purpose: MarksPurpose) -> Frame {
        let after = self.cursor.take();
        let (marks, until) = seen.marks(after.as_ref(), None, MARKS_BYTES_MAX);
        self.cursor.clone_from(&until);
        Frame::Marks { purpose, after, until, marks }
    }
}

/// Somebody's marks, as they came in.
#[derive(Debug)]
pub(super) struct Shown {
    after: Option<Life>,
    until: Option<Life>,
    marks: BTreeMap<Life, Mark>,
}

impl Shown {
    pub(super) fn new(after: Option<Life>, until: Option<Life>, marks: Vec<Mark>) -> Self {
        let marks = marks.into_iter().map(|mark| (mark.life.clone(), mark)).collect();
        Self { after, until, marks }
    }

    pub(super) fn marks(&self) -> impl Iterator<Item = &Mark> {
        self.marks.values()
    }

    /// Our marks over the same lives, asking for what we lack there.
    pub(super) fn ask_back(&self, seen: &Seen) -> Frame {
        let (marks, until) = seen.marks(self.after.as_ref(), self.until.as_ref(), MARKS_BYTES_MAX);
        Frame::Marks { purpose: MarksPurpose::Ask, after: self.after.clone(), until, marks }
    }

    fn covers(&self, life: &Life) -> bool {
        self.after.as_ref().is_none_or(|after| life > after) && self.until.as_ref().is_none_or(|until| life <= until)
    }

    fn lacks(&self, life: &Life, seq: u64) -> bool {
        self.covers(life) && self.marks.get(life).is_none_or(|mark| !mark.has(seq))
    }

    /// The frames that bring whoever showed these marks what it lacks and we remember.
    ///
    /// First what we have forgotten, so that the gap before the oldest remembered message closes. Then the messages in
    /// the order in which we got them; those below the highest number seen come first, because only they are lacking for
    /// certain and the answer is bounded: to `room` bytes, all of which count as used when something had no room.
    pub(super) fn answer(&self, me: &NodeName, seen: &Seen, store: &Store, room: usize) -> (Vec<Frame>, usize) {
        let lacking: Vec<(Life, &Message)> = store
            .messages()
            .map(|message| (Life::from(&message.id), message))
            .filter(|(life, message)| self.lacks(life, message.id.seq))
            .collect();
        let mut frames: Vec<Frame> = self.forgotten(seen, &lacking).map(Frame::Forgotten).into_iter().collect();
        let fills_gap =
            |life: &Life, message: &Message| self.marks.get(life).is_some_and(|mark| message.id.seq < mark.highest());
        let (certain, tail): (Vec<_>, Vec<_>) = lacking.iter().partition(|(life, message)| fills_gap(life, message));
        let mut bytes = 0;
        for (_, message) in certain.into_iter().chain(tail).take(ANSWER_MESSAGES_MAX) {
            let cost = store::cost_bytes(message.text.len(), message.path.len());
            if bytes + cost > room {
                bytes = room; // nothing more this time
                break;
            }
            bytes += cost;
            frames.extend(frame_of(message, me, 0, Via::Repair));
        }
        (frames, bytes)
    }

    /// Up to where, per life, we have seen everything that they lack and remember none of it.
    fn forgotten(&self, seen: &Seen, lacking: &[(Life, &Message)]) -> Option<Vec<(Life, u64)>> {
        let mut first: BTreeMap<&Life, u64> = BTreeMap::new();
        for (life, message) in lacking {
            let seq = message.id.seq;
            first.entry(life).and_modify(|lowest| *lowest = seq.min(*lowest)).or_insert(seq);
        }
        let forgotten: Vec<(Life, u64)> = seen
            .lives(self.after.as_ref(), self.until.as_ref())
            .filter_map(|(life, through)| {
                let upto = first.get(&life).map_or(through, |first| through.min(first - 1));
                let theirs = self.marks.get(&life).map_or(0, |mark| mark.through);
                (upto > theirs).then_some((life, upto))
            })
            .take(FORGOTTEN_MAX)
            .collect();
        (!forgotten.is_empty()).then_some(forgotten)
    }
}

/// The message as we pass it on: `None` if it has come so far that nobody else can put itself on its path.
pub(super) fn frame_of(message: &Message, me: &NodeName, ttl: u8, via: Via) -> Option<Frame> {
    debug_assert_eq!(message.path.last(), Some(me), "a path ends where the message is");
    (message.path.len() < PATH_MAX).then(|| {
        Frame::Broadcast(Broadcast {
            id: message.id.clone(),
            ttl,
            path: message.path.clone(),
            text: message.text.clone(),
            via,
        })
    })
}

/// Whether a path that came in is one that a message can have taken: from its origin to `from`, nobody twice, and room
/// for us at its end.
pub(super) fn is_sound_path(path: &[NodeName], origin: &NodeName, from: &NodeName) -> bool {
    let distinct: BTreeSet<&NodeName> = path.iter().collect();
    path.first() == Some(origin) && path.last() == Some(from) && path.len() < PATH_MAX && distinct.len() == path.len()
}
