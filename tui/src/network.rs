//! What is known of a network: the truth from the engine beside what each node believes. Plain data and one fold.
//!
//! ```text
//! cluster  ──Truth──▶ ┐
//!                     ├─▶ Network::observe ──▶ Vec<Change>   event log, `watch --plain`, `watch --json`
//! gateway ──FeedLine─▶ ┘        │
//!                              └──▶ Network::summary   top lines, `status`, `status --json`, `wait`
//! ```
//! The dashboard, `status`, `wait`, `watch` and the tests all fold the same observations with this one piece of code, so
//! they cannot disagree. Nothing here reads a clock or does IO.
//!
//! Every name has a slot. Of each node that reports, the set of names it believes alive is kept as bits over slots, and
//! is compared with two other sets: the names that are up and the names that are gone. A paused node is in neither: to
//! believe it alive is as reasonable as to believe it dead. What always holds: a node agrees only if it is up, its link
//! stands, the digest it sends matches the view folded here, it misses nobody who is up and believes nobody who is gone.
//!
//! ```text
//! faults.rs  what is wrong on purpose, by the word of those who obey it
//! truth.rs   what the engine says: rows, fates, the last change of the truth
//! feed.rs    what nodes say: views, suspicions, deliveries
//! books.rs   the accounts of broadcasts
//! story.rs   what happened to each member, every observer of an event in one chapter
//! overlay.rs links, and what the recent broadcasts cost and took
//! keys.rs    the key-value store: rings, copies, repair
//! files.rs   the shared folder: who has what, the union, uploads
//! judge.rs   the numbers, the verdict and the reason for it
//! ```

pub(crate) mod bits;
mod books;
mod change;
mod faults;
mod feed;
pub mod files;
mod judge;
pub mod keys;
mod node;
mod overlay;
mod slot;
mod story;
mod summary;
#[cfg(test)]
mod tests;
mod trace;
mod truth;

use std::collections::HashMap;

use p2pnet_shared::{
    MessageId, NetworkName, NodeName, UnixMillis,
    telemetry::{FeedLine, OverlayLink},
};

use self::{
    bits::Bits,
    books::Books,
    files::Files,
    keys::Keys,
    slot::{Fate, Slot},
};
use crate::cluster::{Truth, UnitState};

pub use change::{Change, ChangeKind};
pub use faults::FaultState;
pub use files::{DigestGroup, FileHolders, FilesCounts, FolderTrouble, NodeFolder};
pub(crate) use keys::Whole;
pub use keys::{Copies, Movement, NodeKeys, RingCounts};
pub use node::Node;
pub use overlay::{Mode, Neighbour, OverlayCounts, Ways};
pub use story::{Chapter, Known};
pub use summary::{Detail, MemberCounts, MessageCounts, NodeCounts, Summary, Verdict};
pub use trace::{Arrival, Trace};

/// Names remembered at most, from units and from what nodes say of others. A node that names more is out of step.
const NAMES_MAX: usize = 8_192;

/// Anything that can be learnt about the network.
#[derive(Debug, Clone, PartialEq)]
pub enum Observation {
    /// From the engine.
    Truth(Truth),
    /// From the gateway.
    Feed(FeedLine),
    /// The gateway's feed broke off, with the reason; nodes' views may be out of date from here on.
    FeedLost(String),
    /// The feed is back; a full history follows.
    FeedBack,
}

/// How well we hear one of the two sources.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Ear {
    /// It does not answer, since when and why.
    lost: Option<(UnixMillis, String)>,
    /// All there was to say has been heard once.
    complete: bool,
    /// It was complete, broke off, and is not complete again.
    resuming: bool,
}

/// Everything that is known.
#[derive(Debug, Clone, Default)]
pub struct Network {
    name: Option<NetworkName>,
    runtime: String,
    slots: Vec<Slot>,
    index: HashMap<NodeName, usize>,
    /// Slots of the units there are, as people count.
    order: Vec<usize>,
    up: Bits,
    gone: Bits,
    /// How many nodes' views are compared with the truth.
    counted: u32,
    /// How many of them equal it.
    agreeing: u32,
    books: Books,
    keys: Keys,
    files: Files,
    engine: Ear,
    feed: Ear,
    /// Raised whenever a history begins; who is not heard of in it is forgotten at its end.
    generation: u64,
    /// The last change of the truth: a start, an end, a pause, a healing, a broadcast.
    truth_changed_at: Option<UnixMillis>,
    /// For which change of the truth agreement was reached, and after how many milliseconds.
    settled: Option<(Option<UnixMillis>, Option<u64>)>,
    /// Whether members agreed when it was last told.
    told_agreement: Option<bool>,
    /// Members that came back and are not yet believed alive by everybody.
    returning: Vec<usize>,
}

impl Network {
    /// Nothing known yet of the network `name` that `runtime` (`docker`, `process`) runs.
    #[must_use]
    pub fn new(name: NetworkName, runtime: impl Into<String>) -> Self {
        Self { name: Some(name), runtime: runtime.into(), ..Self::default() }
    }

    /// Takes in one observation made at `now` and says what changed, in the order it happened.
    pub fn observe(&mut self, now: UnixMillis, observation: Observation) -> Vec<Change> {
        let mut changes = Vec::new();
        match observation {
            Observation::Truth(truth) => self.on_truth(now, truth, &mut changes),
            Observation::Feed(line) => self.on_feed(now, line, &mut changes),
            Observation::FeedLost(reason) => {
                changes.push(Change::watch(now, format!("the gateway does not answer: {reason}")));
                self.feed.break_off(now, reason);
            }
            Observation::FeedBack => {
                changes.push(Change::watch(now, "the gateway answers again"));
                self.feed.lost = None;
                self.begin_history();
            }
        }
        self.follow_keys(now, &mut changes);
        self.follow_files(now, &mut changes);
        self.tell_completed(now, &mut changes);
        self.tell_returned(now, &mut changes);
        self.settle(now, &mut changes);
        changes
    }

    /// The bootstrap and the peers (not the gateway), in the order people count.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.order.iter().filter_map(|slot| self.slots[*slot].row.as_ref())
    }

    /// One node.
    #[must_use]
    pub fn node(&self, name: &NodeName) -> Option<&Node> {
        self.slots[*self.index.get(name)?].row.as_ref()
    }

    /// Whether `observer` believes `member` alive; `None` while `observer` has not reported.
    #[must_use]
    pub fn believes(&self, observer: &NodeName, member: &NodeName) -> Option<bool> {
        let observer = self.slots[*self.index.get(observer)?].observer.as_ref().filter(|o| o.has_view)?;
        Some(self.index.get(member).is_some_and(|slot| observer.alive.contains(*slot)))
    }

    /// The overlay links of a node by its own last word, sorted by peer; none while it has not reported. The other end may
    /// see a link otherwise for as long as a report is under way.
    pub fn links(&self, node: &NodeName) -> impl Iterator<Item = &OverlayLink> {
        let observer = self.index.get(node).and_then(|slot| self.slots[*slot].observer.as_ref());
        observer.into_iter().flat_map(|observer| &observer.links)
    }

    /// The recent broadcasts, oldest first.
    pub fn traces(&self) -> impl DoubleEndedIterator<Item = &Trace> {
        self.books.traces()
    }

    /// One of the recent broadcasts.
    #[must_use]
    pub fn trace(&self, id: &MessageId) -> Option<&Trace> {
        self.books.trace(id)
    }

    /// Why the engine's word is out of date, if it is, and since when.
    #[must_use]
    pub fn engine_lost(&self) -> Option<(UnixMillis, &str)> {
        self.engine.lost.as_ref().map(|(since, why)| (*since, why.as_str()))
    }

    /// Why the nodes' word is out of date, if it is, and since when.
    #[must_use]
    pub fn feed_lost(&self) -> Option<(UnixMillis, &str)> {
        self.feed.lost.as_ref().map(|(since, why)| (*since, why.as_str()))
    }

    /// Whether engine and gateway have both told all they knew and every node that is up has reported: what the
    /// summary says is then the whole of it.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.engine.complete && self.feed.complete && self.counted == self.up.count()
    }

    /// The slot of `name`, made if there is room.
    fn intern(&mut self, now: UnixMillis, name: &NodeName) -> Option<usize> {
        if let Some(slot) = self.index.get(name) {
            return Some(*slot);
        }
        if self.slots.len() >= NAMES_MAX {
            return None;
        }
        let slot = self.slots.len();
        self.slots.push(Slot::new(name.clone(), now));
        self.index.insert(name.clone(), slot);
        self.gone.set(slot, true);
        Some(slot)
    }

    /// Brings counters and the row of one node up to date after anything about it or its view changed.
    fn refresh(&mut self, slot: usize) {
        let counts = self.slots[slot].is_to_count();
        if counts != self.slots[slot].counted {
            self.count_view(slot, counts);
        }
        let Self { slots, up, gone, agreeing, keys, .. } = self;
        let Slot { row: Some(row), observer, fate, .. } = &mut slots[slot] else { return };
        let (agreed, view) = (row.agrees, row.view);
        match observer {
            Some(observer) => {
                row.reporting = observer.linked && observer.has_view && observer.in_step;
                row.id = Some(observer.id);
                row.epoch = Some(observer.epoch);
                row.view = observer.digest;
                row.view_changed_at = observer.view_changed_at;
                row.messages = observer.messages;
                row.load = observer.load.as_ref().map(|(_, load)| load.clone());
                row.cpu_percent = observer.cpu_percent;
                let compare = counts || (row.reporting && *fate == Fate::Between);
                row.ghosts = if compare { observer.alive.common(gone) } else { 0 };
                row.missing = if compare { up.beyond(&observer.alive) } else { 0 };
                row.suspects = if compare { observer.suspects.count() } else { 0 };
            }
            None => row.reporting = false,
        }
        row.agrees = counts && row.ghosts == 0 && row.missing == 0;
        if (row.agrees, row.view) != (agreed, view) {
            keys.doubt_rings();
        }
        *agreeing += u32::from(row.agrees);
        *agreeing -= u32::from(agreed);
        let life = observer.as_ref().filter(|_| *fate == Fate::Up).map(|observer| observer.epoch);
        self.books.set_eligible(slot, life);
    }

    /// Lets a node's view count for or against every name in it, or takes it out again.
    fn count_view(&mut self, slot: usize, counts: bool) {
        self.slots[slot].counted = counts;
        let Some(observer) = self.slots[slot].observer.take() else { return };
        let step = |number: &mut u32| *number = if counts { *number + 1 } else { *number - 1 };
        step(&mut self.counted);
        observer.alive.iter().for_each(|member| step(&mut self.slots[member].believers));
        observer.suspects.iter().for_each(|member| step(&mut self.slots[member].suspecters));
        self.slots[slot].observer = Some(observer);
    }

    /// Takes a view out of the counters before it is replaced or dropped.
    fn uncount(&mut self, slot: usize) {
        if self.slots[slot].counted {
            self.count_view(slot, false);
        }
    }

    /// Compares every view anew: a name changed sides.
    fn refresh_all(&mut self) {
        for slot in 0..self.slots.len() {
            if self.slots[slot].observer.is_some() || self.slots[slot].row.is_some() {
                self.refresh(slot);
            }
        }
    }

    fn set_fate(&mut self, slot: usize, fate: Fate) {
        self.slots[slot].fate = fate;
        self.up.set(slot, fate == Fate::Up);
        self.gone.set(slot, fate == Fate::Gone);
    }

    fn count_state(&self, state: UnitState) -> u32 {
        u32::try_from(self.nodes().filter(|node| node.state == state).count()).unwrap_or(u32::MAX)
    }
}

impl Ear {
    fn break_off(&mut self, now: UnixMillis, reason: String) {
        let since = self.lost.take().map_or(now, |(since, _)| since);
        self.lost = Some((since, reason));
        self.expect();
    }

    /// A whole new account follows.
    fn expect(&mut self) {
        self.resuming |= self.complete;
        self.complete = false;
    }

    fn completed(&mut self) {
        *self = Self { complete: true, ..Self::default() };
    }

    /// Whether what it last said still stands.
    fn stands(&self) -> bool {
        self.lost.is_none() && !self.resuming
    }
}
