//! The story of each member, told by the whole network: what happened to it, who said so, and how many came to know.
//!
//! ```text
//! engine   started ─────────────────────── ended ──────────────────── started again
//! nodes          accused by node3 (+2 more)   died: seen by 99 of 99       came back: seen by 100 of 100
//!                                             2.1 s to 2.4 s after its end
//! ```
//! A hundred observers of one event make one chapter: it counts them, and keeps the first stamp and the last. What was
//! before the feed was complete is not told, because a history says how things stand and not how they came to be.
//!
//! Always holds: only names that the engine lists have a story, of at most [`CHAPTERS_MAX`] chapters, the newest.

use std::collections::VecDeque;

use p2pnet_shared::{
    NodeName, UnixMillis,
    telemetry::{MemberEvent, MemberEventKind},
};
use serde::Serialize;

use super::{ChangeKind, Fate, Network, bits::Bits, slot::Slot};

/// Chapters kept of one member; the oldest goes for a new one.
pub(super) const CHAPTERS_MAX: usize = 32;

/// How a member came back: restarted.
const NEW_LIFE: &str = "new life";
/// How a member came back: it was paused or cut off, and taken for dead.
const NOT_DEAD: &str = "it had not died";

/// One thing that happened to a member, as everybody who saw it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chapter {
    /// When the first who saw it did, by its stamp.
    pub at: UnixMillis,
    /// What sort of thing.
    pub kind: ChangeKind,
    /// In one line, without time, node and what the kind says.
    pub text: String,
}

/// How far the news of one event has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Known {
    /// So many nodes have seen it.
    pub by: u32,
    /// Of so many that are up and report.
    pub of: u32,
    /// From the engine's stamp of what was seen to the first who saw it, milliseconds; `null` if the engine saw nothing.
    pub first_ms: Option<u64>,
    /// The same to the last so far.
    pub last_ms: Option<u64>,
}

/// A chapter as it is kept.
#[derive(Debug, Clone)]
struct Entry {
    kind: ChangeKind,
    first: UnixMillis,
    last: UnixMillis,
    /// Which life and incarnation it is about; the engine's chapters have none.
    claim: Option<(p2pnet_shared::Epoch, u32)>,
    observers: Bits,
    accusers: Bits,
    accuser: Option<usize>,
    /// The most accusers that one observer knew of.
    counted: u32,
    /// How many could have seen it when it was last seen.
    of: u32,
    /// The engine's stamp of what it is the news of: an end, a start.
    since: Option<UnixMillis>,
    /// The engine's own words.
    text: &'static str,
}

/// What is kept of one member.
#[derive(Debug, Clone, Default)]
pub(super) struct Story {
    chapters: VecDeque<Entry>,
}

impl Story {
    /// What the engine says.
    pub(super) fn engine_says(&mut self, at: UnixMillis, kind: ChangeKind, text: &'static str) {
        if matches!(kind, ChangeKind::Dead | ChangeKind::Left) {
            // Nodes may have seen the end before the engine's event came: the end they saw was this one.
            let recent = self.chapters.iter_mut().rev().take_while(|entry| entry.claim.is_some());
            for entry in recent.filter(|entry| is_end(entry.kind) && entry.since.is_none()) {
                entry.since = Some(at);
            }
        }
        self.add(Entry::new(kind, at, text));
    }

    fn add(&mut self, entry: Entry) {
        if self.chapters.len() == CHAPTERS_MAX {
            self.chapters.pop_front();
        }
        self.chapters.push_back(entry);
    }

    /// When a member last came back: what the engine saw then.
    pub(super) fn return_from(&self) -> &'static str {
        let returns = self.chapters.iter().rev().find(|entry| entry.kind == ChangeKind::CameBack);
        returns.map_or("its start", Entry::return_from)
    }

    fn known(&self, kind: ChangeKind) -> Option<Known> {
        self.chapters.iter().rev().find(|entry| entry.kind == kind && entry.claim.is_some()).map(Entry::known)
    }
}

fn is_end(kind: ChangeKind) -> bool {
    matches!(kind, ChangeKind::DeclaredDead | ChangeKind::DeclaredLeft)
}

impl Entry {
    fn new(kind: ChangeKind, at: UnixMillis, text: &'static str) -> Self {
        Self {
            kind,
            first: at,
            last: at,
            claim: None,
            observers: Bits::default(),
            accusers: Bits::default(),
            accuser: None,
            counted: 0,
            of: 0,
            since: None,
            text,
        }
    }

    fn known(&self) -> Known {
        let by = self.observers.count();
        let after = |at: UnixMillis| self.since.map(|since| at.since(since));
        Known { by, of: self.of.max(by), first_ms: after(self.first), last_ms: after(self.last) }
    }

    /// What the engine saw when a member came back: a start, or the end of a pause.
    fn return_from(&self) -> &'static str {
        if self.text == NEW_LIFE { "its start" } else { "it went on" }
    }

    fn text(&self, slots: &[Slot]) -> String {
        let Known { by, of, first_ms, last_ms } = self.known();
        let seen = |what: &str| match (first_ms, last_ms) {
            (Some(first), Some(last)) => {
                format!("seen by {by} of {of}, {} to {} after {what}", seconds(first), seconds(last))
            }
            _ => format!("seen by {by} of {of}, the last {} after the first", seconds(self.last.since(self.first))),
        };
        match self.kind {
            ChangeKind::Suspected => {
                let who = self.accuser.map_or("somebody", |slot| slots[slot].name.as_str());
                match self.accusers.count().max(self.counted).saturating_sub(1) {
                    0 => format!("accused by {who}"),
                    more => format!("accused by {who} (+{more} more)"),
                }
            }
            ChangeKind::Refuted => format!("heard by {by} of {of}"),
            ChangeKind::DeclaredDead | ChangeKind::DeclaredLeft => seen("its end"),
            ChangeKind::CameBack => format!("{}, {}", self.text, seen(self.return_from())),
            _ => self.text.to_owned(),
        }
    }
}

/// `2.1 s`, `0.4 s`.
pub(super) fn seconds(ms: u64) -> String {
    format!("{:.1} s", ms as f64 / 1_000.0)
}

/// What an observer saw, as a sort of change; joining is no news of a member but of its observer.
fn kind_of(kind: MemberEventKind) -> Option<ChangeKind> {
    match kind {
        MemberEventKind::Joined => None,
        MemberEventKind::Suspected => Some(ChangeKind::Suspected),
        MemberEventKind::Refuted => Some(ChangeKind::Refuted),
        MemberEventKind::Died => Some(ChangeKind::DeclaredDead),
        MemberEventKind::Left => Some(ChangeKind::DeclaredLeft),
        MemberEventKind::CameBack => Some(ChangeKind::CameBack),
    }
}

impl Network {
    /// What happened to a node since we began to listen, oldest first, each event once however many saw it.
    pub fn story(&self, name: &NodeName) -> impl DoubleEndedIterator<Item = Chapter> {
        let slot = self.index.get(name).map(|slot| &self.slots[*slot]);
        let entries = slot.into_iter().flat_map(|slot| &slot.story.chapters);
        entries.map(|entry| Chapter { at: entry.first, kind: entry.kind, text: entry.text(&self.slots) })
    }

    /// How far the newest news of this sort about a member has come.
    pub(super) fn known(&self, member: usize, kind: ChangeKind) -> Option<Known> {
        self.slots[member].story.known(kind)
    }

    /// One observer's event goes into the chapter it belongs to.
    pub(super) fn note_in_story(&mut self, observer: usize, member: usize, event: &MemberEvent, at: UnixMillis) {
        let Some(kind) = kind_of(event.kind) else { return };
        if self.slots[member].row.is_none() {
            return;
        }
        let accuser = event.accuser.as_ref().map_or(Some(observer), |name| self.index.get(name).copied());
        let others = self.counted - u32::from(self.slots[member].counted);
        let Slot { story, fate, fate_since, .. } = &mut self.slots[member];
        let claim = Some((event.row.epoch, event.row.incarnation));
        let known = story.chapters.iter().rposition(|entry| entry.kind == kind && entry.claim == claim);
        if known.is_none() {
            let former = story.chapters.iter().rev().find(|entry| is_end(entry.kind)).and_then(|entry| entry.claim);
            let newer = event.new_life || former.is_none_or(|(epoch, _)| event.row.epoch > epoch);
            let text = if newer { NEW_LIFE } else { NOT_DEAD };
            story.add(Entry { claim, accuser, ..Entry::new(kind, at, text) });
        }
        let died_at = story.chapters.iter().rev().find(|entry| is_end(entry.kind) && entry.claim.is_some());
        let died_at = died_at.map(|entry| entry.first);
        let place = known.unwrap_or(story.chapters.len() - 1);
        let entry = &mut story.chapters[place];
        entry.observers.set(observer, true);
        if let Some(accuser) = accuser {
            entry.accusers.set(accuser, true);
        }
        (entry.first, entry.last) = (entry.first.min(at), entry.last.max(at));
        entry.of = others;
        entry.counted = entry.counted.max(u32::from(event.accusers));
        let is_of_engine = if is_end(kind) { *fate == Fate::Gone } else { *fate == Fate::Up };
        let follows = matches!(kind, ChangeKind::CameBack) || is_end(kind);
        // Who was cut off and is heard again was never started anew: nothing the engine saw is what brought it back.
        let is_news_of_it =
            kind != ChangeKind::CameBack || entry.text == NEW_LIFE || died_at.is_some_and(|at| *fate_since > at);
        if entry.since.is_none() && is_of_engine && follows && is_news_of_it {
            entry.since = Some(*fate_since);
        }
    }
}
