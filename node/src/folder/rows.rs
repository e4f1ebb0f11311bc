//! The index on its way to the disk: one batch at a time, what changes meanwhile is the next.
//!
//! A row is written after the file it is about is (the index only learns of it then), so a crash between them leaves a file that looks
//! otherwise than known: it is hashed, and found to be what others say it is. What peers said and was not written comes again by
//! comparison.
//!
//! What this node's own users did is told to others once it is written here ([`Rows::holds`]): a new life would not know that it had been,
//! and others would want contents for ever that were replaced before they got them. A disk that takes no rows holds nothing back.

use std::{collections::BTreeMap, sync::Arc};

use p2pnet_shared::FilePath;

use super::{Effect, Order, Row, Trouble, orders::Orders, orders::Owner};
use crate::time::Millis;

/// How long rows are collected, unless a user waits for them.
const COLLECT: Millis = Millis(50);
/// Rows in one batch at most.
const BATCH_MAX: usize = 4_096;
/// After a batch that was not written.
const RETRY: Millis = Millis(2_000);

/// Rows that are not known to be on disk.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// Those that are not under way, the newest value of each.
    waiting: BTreeMap<Arc<str>, Option<Vec<u8>>>,
    under_way: Option<Arc<[Row]>>,
    due: Option<Millis>,
    /// How many have come, how many of them had when the batch under way was made, and through which all are on disk.
    came: u64,
    covered: u64,
    on_disk: u64,
    /// Own changes that are not on disk, with the number from which on they are.
    held: BTreeMap<FilePath, u64>,
    pub(super) trouble: Option<Trouble>,
}

impl Rows {
    /// These are to be written.
    pub(super) fn add(&mut self, now: Millis, rows: Vec<Row>) {
        for row in rows {
            self.came += 1;
            self.waiting.insert(row.key, row.value);
            self.due.get_or_insert(now + COLLECT);
        }
    }

    /// Own changes whose rows have just come; they are written by `due`.
    pub(super) fn hold(&mut self, due: Millis, paths: impl IntoIterator<Item = FilePath>) {
        let before = self.held.len();
        self.held.extend(paths.into_iter().map(|path| (path, self.came)));
        if self.held.len() > before && self.trouble.is_none() {
            self.due = self.due.map(|set| set.min(due));
        }
    }

    /// Whether others are not yet to be told of this path.
    pub(super) fn holds(&self, path: &FilePath) -> bool {
        self.trouble.is_none() && self.held.contains_key(path)
    }

    /// Everything that came until now is waited for: its number, for [`Rows::has`].
    pub(super) fn hurry(&mut self, now: Millis) -> u64 {
        if self.due.is_some() && self.trouble.is_none() {
            self.due = Some(now);
        }
        self.came
    }

    /// Whether all until this number are on disk.
    pub(super) fn has(&self, number: u64) -> bool {
        self.on_disk >= number
    }

    /// Hands the next batch over, if it is due and none is under way.
    pub(super) fn flush(&mut self, now: Millis, orders: &mut Orders, effects: &mut Vec<Effect>) {
        if self.under_way.is_some() || self.due.is_none_or(|due| due > now) {
            return;
        }
        let rest = match self.waiting.keys().nth(BATCH_MAX).cloned() {
            Some(key) => self.waiting.split_off(&key),
            None => BTreeMap::new(),
        };
        let batch = std::mem::replace(&mut self.waiting, rest);
        self.due = (!self.waiting.is_empty()).then_some(now);
        // With a rest, nothing is sure before it is written too.
        self.covered = if self.waiting.is_empty() { self.came } else { self.on_disk };
        let rows: Arc<[Row]> = batch.into_iter().map(|(key, value)| Row { key, value }).collect();
        orders.issue(Order::Persist { rows: rows.clone() }, Owner::Persist, effects);
        self.under_way = Some(rows);
    }

    /// What became of the batch under way.
    pub(super) fn written(&mut self, now: Millis, written: Result<(), Trouble>) {
        let Some(rows) = self.under_way.take() else { return };
        match written {
            Ok(()) => {
                self.on_disk = self.on_disk.max(self.covered);
                self.held.retain(|_, number| *number > self.on_disk);
                self.trouble = None;
            }
            Err(why) => {
                for Row { key, value } in rows.iter() {
                    // What changed since is newer.
                    self.waiting.entry(key.clone()).or_insert_with(|| value.clone());
                }
                self.due = Some(now + RETRY);
                self.trouble = Some(why);
            }
        }
    }

    pub(super) fn next_due(&self) -> Option<Millis> {
        self.due.filter(|_| self.under_way.is_none())
    }
}
