//! Which paths are to be looked at, and when: after a touch, at every walk through the folder, after a surprise.
//!
//! ```text
//!  touched ──settle──▶ Look ─┐            as known: nothing        Scan decides what is looked at and keeps the disk's queue full;
//!  walk: looks otherwise ────┴▶ Hash ──▶ the index is told         State (inspect.rs) tells the index what came of it.
//!  walk: known, not seen ─────▶ Look ──▶ gone, if it is
//! ```
//! A walk through a living folder may miss a file that is renamed meanwhile, and one that is placed behind its back; so what a walk
//! did not see is only *looked at*, one by one, and gone is what a look does not find.
//!
//! Always holds: a path is queued once, whatever asks for it how often; at most [`LOOKS_MAX`] orders or [`BYTES_MAX`] bytes are with
//! the disk; a walk that ended early concludes nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use p2pnet_shared::FilePath;
use rand::{RngExt, rngs::Xoshiro256PlusPlus};

use super::{Config, Effect, Order, OrderId, RequestId, Stat, orders::Orders, orders::Owner};
use crate::time::Millis;

/// Looks and hashes with the disk at a time.
const LOOKS_MAX: usize = 32;
/// Bytes of files being hashed at a time, unless a single one is larger.
const BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Of so many files that look as they are known, one is hashed all the same at each walk.
const DEEP_ONE_OF: u32 = 100;
/// Paths that settle at a time; of more, everything is looked at.
const SETTLING_MAX: usize = 50_000;
/// How long after a walk that ended early the next begins.
pub(super) const RETRY: Millis = Millis(2_000);

/// What is to be looked at.
#[derive(Debug, Default)]
pub(super) struct Scan {
    walk: Option<Walk>,
    /// When everything is looked at next; none while it is being done.
    walk_due: Option<Millis>,
    /// Look at everything once more, after what is under way.
    again: bool,
    /// Subfolders that came whole.
    subfolders: BTreeSet<FilePath>,
    settling: BTreeMap<FilePath, Millis>,
    settled_at: BTreeSet<(Millis, FilePath)>,
    queue: VecDeque<Item>,
    /// Paths from when they are queued until it is known what is there.
    open: BTreeMap<FilePath, Open>,
    numbers: BTreeSet<u64>,
    last_number: u64,
    /// Paths to be looked at once what is under way there is done.
    after: BTreeSet<FilePath>,
    /// Users who wait for the next walk.
    next_waiters: Vec<RequestId>,
    /// Whole walks whose findings up to a number are still being looked at.
    ended: VecDeque<Ended>,
    /// Names left out at the last whole walk.
    skipped: u64,
}

#[derive(Debug)]
struct Walk {
    order: OrderId,
    beneath: Option<FilePath>,
    /// Hashes of the paths seen.
    seen: Vec<u64>,
    skipped: u64,
    waiters: Vec<RequestId>,
}

#[derive(Debug)]
struct Item {
    path: FilePath,
    /// How it looked, if that is known: it is hashed then.
    stat: Option<Stat>,
}

#[derive(Debug)]
struct Open {
    number: u64,
    is_touched: bool,
}

/// A whole walk.
#[derive(Debug)]
struct Ended {
    /// Everything it led to has a lower number.
    until: u64,
    waiters: Vec<RequestId>,
}

/// What a walk's last page says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unseen {
    pub(super) beneath: Option<FilePath>,
    /// Sorted.
    seen: Vec<u64>,
}

impl Unseen {
    pub(super) fn has(&self, path: &FilePath) -> bool {
        self.seen.binary_search(&path.hash64()).is_err()
    }
}

impl Scan {
    /// Everything is to be looked at, now.
    pub(super) fn start(&mut self, now: Millis) {
        self.walk_due = Some(now);
    }

    /// A path was touched: it is looked at once it has been left alone for a while.
    pub(super) fn touch(&mut self, path: FilePath, due: Millis) {
        if let Some(before) = self.settling.insert(path.clone(), due) {
            self.settled_at.remove(&(before, path.clone()));
        } else if self.settling.len() > SETTLING_MAX {
            return self.look_at_everything();
        }
        self.settled_at.insert((due, path));
    }

    /// Anything may have changed: what settles is part of it.
    pub(super) fn look_at_everything(&mut self) {
        self.settling.clear();
        self.settled_at.clear();
        self.again = true;
    }

    /// A user wants everything looked at and waits for it: a walk that is under way may be past what he means.
    pub(super) fn rescan(&mut self, id: RequestId) {
        self.next_waiters.push(id);
        self.again = true;
    }

    /// Everything beneath this folder is new.
    pub(super) fn walk_beneath(&mut self, folder: FilePath) {
        self.subfolders.insert(folder);
    }

    /// A path is to be looked at, once nothing is under way there.
    pub(super) fn look(&mut self, path: FilePath, orders: &Orders) {
        self.enqueue(path, None, false, orders);
    }

    fn enqueue(&mut self, path: FilePath, stat: Option<Stat>, is_touched: bool, orders: &Orders) {
        let is_open = self.open.contains_key(&path);
        if !is_open {
            self.last_number += 1;
            self.numbers.insert(self.last_number);
            self.open.insert(path.clone(), Open { number: self.last_number, is_touched });
        }
        if orders.is_busy(&path) {
            self.after.insert(path);
        } else if !is_open {
            self.queue.push_back(Item { path, stat });
        }
    }

    /// What was under way at a path is done. `true`: it is to be looked at once more before anything is done there.
    pub(super) fn freed(&mut self, path: &FilePath) -> bool {
        let is_wanted = self.after.remove(path);
        if is_wanted {
            self.queue.push_back(Item { path: path.clone(), stat: None });
        }
        is_wanted
    }

    /// What is at a path is known now, as far as it can be. Whether it was touched (and not only found otherwise than known).
    pub(super) fn close(&mut self, path: &FilePath) -> bool {
        if self.after.contains(path) {
            return false;
        }
        let Some(open) = self.open.remove(path) else { return false };
        self.numbers.remove(&open.number);
        open.is_touched
    }

    /// Whether this path is still to be looked at.
    pub(super) fn is_open(&self, path: &FilePath) -> bool {
        self.open.contains_key(path)
    }

    /// Whether a touched path is being looked at.
    pub(super) fn is_touched(&self, path: &FilePath) -> bool {
        self.open.get(path).is_some_and(|open| open.is_touched)
    }

    /// Queues what has settled, begins the walk that is due, and gives the disk as much to look at as it may have.
    pub(super) fn pump(&mut self, now: Millis, orders: &mut Orders, effects: &mut Vec<Effect>) {
        while let Some((due, path)) = self.settled_at.first().cloned().filter(|(due, _)| *due <= now) {
            self.settled_at.remove(&(due, path.clone()));
            self.settling.remove(&path);
            self.enqueue(path, None, true, orders);
        }
        if self.walk.is_none() {
            self.begin_walk(now, orders, effects);
        }
        while let Some(item) = self.queue.front() {
            let (count, bytes) = orders.scanning();
            let size = item.stat.map_or(0, |stat| stat.size);
            if count >= LOOKS_MAX || (count > 0 && size > 0 && bytes.saturating_add(size) > BYTES_MAX) {
                break;
            }
            let Some(Item { path, stat }) = self.queue.pop_front() else { break };
            match stat {
                _ if orders.is_busy(&path) => drop(self.after.insert(path)),
                Some(stat) => orders.hash(path, stat, effects),
                None => orders.look(path, effects),
            }
        }
    }

    fn begin_walk(&mut self, now: Millis, orders: &mut Orders, effects: &mut Vec<Effect>) {
        let is_whole = std::mem::take(&mut self.again) || self.walk_due.is_some_and(|due| due <= now);
        let beneath = if is_whole {
            self.subfolders.clear();
            self.walk_due = None;
            None
        } else {
            match self.subfolders.pop_first() {
                Some(folder) => Some(folder),
                None => return,
            }
        };
        let order = orders.issue(Order::Walk { beneath: beneath.clone() }, Owner::Walk, effects);
        let waiters = if is_whole { std::mem::take(&mut self.next_waiters) } else { Vec::new() };
        self.walk = Some(Walk { order, beneath, seen: Vec::new(), skipped: 0, waiters });
    }

    /// A page of the walk: what looks otherwise than known is hashed, and now and then something that does not.
    pub(super) fn walked(
        &mut self,
        files: Vec<(FilePath, Stat)>,
        skipped: u32,
        is_as_known: impl Fn(&FilePath, &Stat) -> bool,
        rng: &mut Xoshiro256PlusPlus,
        orders: &Orders,
    ) {
        let Some(walk) = &mut self.walk else { return };
        walk.skipped += u64::from(skipped);
        walk.seen.extend(files.iter().map(|(path, _)| path.hash64()));
        for (path, stat) in files {
            if !is_as_known(&path, &stat) || rng.random_range(0..DEEP_ONE_OF) == 0 {
                self.enqueue(path, Some(stat), false, orders);
            }
        }
    }

    /// The walk is over, and went well. What is known and was not seen is to be looked at: [`Scan::concluded`] then ends it.
    pub(super) fn unseen(&mut self) -> Option<Unseen> {
        let walk = self.walk.as_mut()?;
        walk.seen.sort_unstable();
        Some(Unseen { beneath: walk.beneath.clone(), seen: std::mem::take(&mut walk.seen) })
    }

    /// Everything that follows from the walk is queued.
    pub(super) fn concluded(&mut self, now: Millis, config: &Config, rng: &mut Xoshiro256PlusPlus) {
        let Some(walk) = self.walk.take() else { return };
        if walk.beneath.is_none() {
            self.skipped = walk.skipped;
            self.ended.push_back(Ended { until: self.last_number + 1, waiters: walk.waiters });
            let period = config.rescan_period.0;
            self.walk_due = Some(now + Millis(period - period / 4 + rng.random_range(0..=period / 2)));
        }
    }

    /// The walk ended early: nothing follows from it, another one is made soon. Who waited for it.
    pub(super) fn failed(&mut self, now: Millis) -> Vec<RequestId> {
        let walk = self.walk.take();
        self.walk_due = Some(now + RETRY);
        walk.map(|walk| walk.waiters).unwrap_or_default()
    }

    /// Everything is to be looked at, at this time.
    pub(super) fn begin_again(&mut self, due: Millis) {
        if self.walk.is_none() {
            self.walk_due = Some(due);
        }
    }

    /// A whole walk all of whose findings have been looked at, and who waited for it.
    pub(super) fn take_complete(&mut self) -> Option<Vec<RequestId>> {
        let first = self.numbers.first().copied().unwrap_or(u64::MAX);
        self.ended.front().filter(|ended| ended.until <= first)?;
        self.ended.pop_front().map(|ended| ended.waiters)
    }

    /// Users who wait for a walk.
    pub(super) fn waiters(&self) -> usize {
        let of_walk = self.walk.as_ref().map_or(0, |walk| walk.waiters.len());
        let of_ended: usize = self.ended.iter().map(|ended| ended.waiters.len()).sum();
        self.next_waiters.len() + of_walk + of_ended
    }

    /// Whether this order is the walk under way.
    pub(super) fn is_walk(&self, order: OrderId) -> bool {
        self.walk.as_ref().is_some_and(|walk| walk.order == order)
    }

    /// How many paths are to be looked at.
    #[cfg(test)]
    pub(super) fn pending(&self) -> usize {
        self.open.len()
    }

    /// Whether something was found otherwise than known and is not yet looked at.
    pub(super) fn is_looking(&self) -> bool {
        !self.open.is_empty()
    }

    /// Names left out at the last whole walk.
    pub(super) fn skipped(&self) -> u64 {
        self.skipped
    }

    pub(super) fn next_due(&self) -> Option<Millis> {
        let walk = self.walk_due.filter(|_| self.walk.is_none());
        walk.into_iter().chain(self.settled_at.first().map(|(due, _)| *due)).min()
    }
}
