//! Who has what: for a list of all files, every member is asked.
//!
//! Whoever holds exactly what we hold says so in a word; the others list their files. What is not answered within [`PATIENCE`] is not
//! counted. At most [`CENSUSES_MAX`] go on at a time; whoever asks meanwhile waits for the next.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use p2pnet_shared::{
    FilePath, NodeName,
    wire::folder::{FolderDigest, LISTING_ROWS_MAX, Message},
};

use super::{Answer, Effect, Listed, RequestId, State, index::Shown};
use crate::time::Millis;

/// How long members are waited for.
const PATIENCE: Millis = Millis(1_000);
/// Censuses at a time.
const CENSUSES_MAX: usize = 4;

type Row = (u64, u64);

#[derive(Debug)]
struct Census {
    id: RequestId,
    deadline: Millis,
    /// Who has not said all yet, and its last row.
    open: BTreeMap<NodeName, Option<Row>>,
    /// What we had when we asked.
    ours: BTreeSet<Row>,
    /// Members that have exactly that, this node included.
    same: u32,
    /// How many others have a row.
    others: BTreeMap<Row, u32>,
}

/// The censuses under way, by the number of the question.
#[derive(Debug, Default)]
pub(super) struct Censuses {
    open: BTreeMap<u64, Census>,
    waiting: VecDeque<RequestId>,
}

impl Censuses {
    pub(super) fn len(&self) -> usize {
        self.open.len() + self.waiting.len()
    }

    pub(super) fn next_due(&self) -> Option<Millis> {
        self.open.values().map(|census| census.deadline).min()
    }

    /// A member is gone: it is not waited for.
    pub(super) fn gone(&mut self, name: &NodeName) {
        for census in self.open.values_mut() {
            census.open.remove(name);
        }
    }
}

impl State {
    pub(super) fn on_list(&mut self, id: RequestId) {
        self.censuses.waiting.push_back(id);
    }

    /// Begins those that wait and ends those that are over.
    pub(super) fn advance_censuses(&mut self, effects: &mut Vec<Effect>) {
        loop {
            let is_over = |census: &Census| census.open.is_empty() || census.deadline <= self.now;
            let over: Vec<u64> =
                self.censuses.open.iter().filter(|(_, census)| is_over(census)).map(|(call, _)| *call).collect();
            for call in over {
                if let Some(census) = self.censuses.open.remove(&call) {
                    let answer = self.listed(&census);
                    effects.push(Effect::Answer { id: census.id, answer });
                }
            }
            if self.censuses.open.len() >= CENSUSES_MAX {
                return;
            }
            let Some(id) = self.censuses.waiting.pop_front() else { return };
            self.begin_census(id, effects);
        }
    }

    fn begin_census(&mut self, id: RequestId, effects: &mut Vec<Effect>) {
        self.last_call += 1;
        let (call, have) = (self.last_call, self.index.digests().have);
        for to in self.neighbours.members() {
            effects.push(Effect::Send { to: to.clone(), message: Message::Census { call, have } });
        }
        let census = Census {
            id,
            deadline: self.now + PATIENCE,
            open: self.neighbours.members().map(|name| (name.clone(), None)).collect(),
            ours: self.index.have_rows().collect(),
            same: 1,
            others: BTreeMap::new(),
        };
        self.censuses.open.insert(call, census);
    }

    fn listed(&self, census: &Census) -> Answer {
        let listed = |(path, shown): (FilePath, Shown)| {
            let row = (path.hash64(), shown.content.root.short());
            let same = if census.ours.contains(&row) { census.same } else { 0 };
            Listed {
                root: shown.content.root,
                size: shown.content.size,
                mtime_ns: shown.content.mtime_ns,
                holders: same + census.others.get(&row).copied().unwrap_or(0),
                path,
                copy_of: shown.copy_of,
            }
        };
        let files = self.index.files().map(listed).collect();
        Answer::Listed { files, digest: self.index.digests().want }
    }

    pub(super) fn on_census(&mut self, from: NodeName, call: u64, have: FolderDigest, effects: &mut Vec<Effect>) {
        if !self.neighbours.is_member(&from) {
            return;
        }
        let mut say = |rows, more| {
            effects.push(Effect::Send { to: from.clone(), message: Message::Counted { call, rows, more } });
        };
        if have == self.index.digests().have {
            return say(None, false);
        }
        let mut rows: Vec<Row> = self.index.have_rows().collect();
        while rows.len() > LISTING_ROWS_MAX {
            let rest = rows.split_off(LISTING_ROWS_MAX);
            say(Some(std::mem::replace(&mut rows, rest)), true);
        }
        say(Some(rows), false);
    }

    pub(super) fn on_counted(&mut self, from: &NodeName, call: u64, rows: Option<Vec<Row>>, more: bool) {
        let Some(census) = self.censuses.open.get_mut(&call) else { return };
        let Some(last) = census.open.get_mut(from) else { return };
        match rows {
            None if last.is_none() => census.same += 1,
            None => {}
            Some(rows) => {
                let is_ascending = rows.is_sorted_by(|one, next| one < next)
                    && rows.first().is_none_or(|first| last.is_none_or(|last| last < *first));
                if !is_ascending || rows.len() > LISTING_ROWS_MAX || (more && rows.is_empty()) {
                    self.talks.malformed += 1;
                    census.open.remove(from);
                    return;
                }
                *last = rows.last().copied().or(*last);
                for row in rows {
                    // Files nobody knows are of no interest, and could be any number.
                    if census.ours.contains(&row) || self.index.by_hash(row.0).is_some() {
                        *census.others.entry(row).or_default() += 1;
                    }
                }
                if more {
                    return;
                }
            }
        }
        census.open.remove(from);
    }
}
