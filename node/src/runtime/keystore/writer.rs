//! The thread that writes: everything that waits goes into one transaction.
//!
//! ```text
//! persist() ─▶ queue (bounded) ─▶ take all ─▶ rows, the last word per key ─▶ one commit, one fsync ─▶ Persisted { last }
//!                  ▲                                                                └ failed ─▶ NotPersisted { first }
//!                  └── takes nothing more until the loop has heard of the failure ──────────────────┘
//! ```
//! **What a commit costs.** Processor time for entries of 230 bytes under random keys, in a file of some thousand (ext4 on a
//! virtual disk whose fsync takes 0.1 ms; an append-only log with an fsync for each group = 1):
//!
//! | changes in a group | log | redb: rows by key | redb, per change | redb, a group as one row |
//! |---|---|---|---|---|
//! | 1 | 1 | 1.3 | 1.3 | 1.4 |
//! | 10 | 1.4 | 3.7 | 0.37 | 1.9 |
//! | 100 | 1.7 | 24 | 0.24 | 2.5 |
//!
//! A group of ten costs a change less than a third of what it costs alone, so when changes come fast a group is waited for
//! ([`Pace`]); one that comes alone is never held up. A journal within redb (a group as one row) would halve what is left
//! and need a clean-up of its own; a larger cache than ours gains a fifth and costs every node megabytes.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use p2pnet_shared::{NodeName, wire::dht::Refusal};
use tokio::sync::mpsc;

use super::{
    row,
    store::{Home, Rows, Store, Trouble},
    trial::Header,
};
use crate::dht::{self, Change};

/// Changes that wait for the disk. Beyond it batches are refused, as too much to do.
const QUEUE_CHANGES: usize = 64 * 1024;
/// How many changes are worth waiting for: ten cost little more than half of what they cost in fives.
const GROUP_WORTH: f64 = 8.0;
/// The least that waiting must be expected to bring, or there is none.
const GROUP_LEAST: f64 = 2.0;
/// Milliseconds between the beginnings of two commits, at most, for the sake of a larger group: a put waits half of it.
const GAP_MAX: f64 = 4.0;
/// How much the last gap counts in what is expected of the next.
const GAP_WEIGHT: f64 = 0.2;
/// Changes in one transaction: what redb holds of one in memory stays below a few megabytes of small values.
const GROUP_CHANGES: usize = 1_024;

/// What waits for the disk. Shared by the loop and the thread.
#[derive(Debug, Default)]
pub(super) struct Line {
    queue: Mutex<Queue>,
    /// Told when there is something to do, and when the thread is done with it.
    news: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    batches: VecDeque<(u64, Vec<Change>)>,
    changes: usize,
    /// Failures that the loop has not heard of yet: what it hands over until then is part of them.
    failures: u32,
    /// No more batches will come: write what is there and end.
    closing: bool,
    /// The node is gone: end at once.
    dropped: bool,
    /// The thread has let go of the file.
    ended: bool,
}

impl Line {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a batch in line. False if there is no room for it.
    pub(super) fn push(&self, batch: u64, changes: Vec<Change>) -> bool {
        let mut queue = self.lock();
        if queue.failures > 0 {
            return true;
        }
        if queue.changes + changes.len() > QUEUE_CHANGES {
            return false;
        }
        queue.changes += changes.len();
        queue.batches.push_back((batch, changes));
        drop(queue);
        self.news.notify_all();
        true
    }

    /// The loop has heard of the failure; what it hands over from now on is new.
    pub(super) fn failure_heard(&self) {
        let mut queue = self.lock();
        queue.failures = queue.failures.saturating_sub(1);
    }

    pub(super) fn close(&self, dropped: bool) {
        let mut queue = self.lock();
        queue.closing = true;
        queue.dropped |= dropped;
        drop(queue);
        self.news.notify_all();
    }

    /// Waits until the thread has let go of the file, at most so long.
    pub(super) fn wait_ended(&self, patience: Duration) {
        let _ = self.news.wait_timeout_while(self.lock(), patience, |queue| !queue.ended);
    }

    fn ended(&self) {
        self.lock().ended = true;
        self.news.notify_all();
    }

    /// Waits for work, and for more of it if that pays, and takes it; `None` to end.
    fn take(&self, pace: &mut Pace) -> Option<(u64, u64, Vec<Change>)> {
        let idle = |queue: &mut Queue| queue.batches.is_empty() && !queue.closing;
        let mut queue = self.news.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
        let wait = pace.wait(Instant::now());
        if !wait.is_zero() && !queue.closing {
            drop(queue);
            // Slept through: being woken for each change is what this is to save.
            std::thread::sleep(wait);
            queue = self.lock();
        }
        if queue.dropped {
            return None;
        }
        let (first, mut changes) = queue.batches.pop_front()?;
        let mut last = first;
        while let Some((_, next)) = queue.batches.front()
            && changes.len() + next.len() <= GROUP_CHANGES
            && let Some((batch, next)) = queue.batches.pop_front()
        {
            changes.extend(next);
            last = batch;
        }
        queue.changes -= changes.len();
        pace.taken(Instant::now(), changes.len());
        Some((first, last, changes))
    }

    fn fail(&self) {
        let mut queue = self.lock();
        queue.failures += 1;
        queue.batches.clear();
        queue.changes = 0;
    }
}

/// How fast changes come, and so how long a group is waited for.
#[derive(Debug, Default)]
struct Pace {
    /// When the last group was taken.
    taken: Option<Instant>,
    /// Changes in a millisecond, of late.
    rate: f64,
}

impl Pace {
    /// How long to wait before a group is taken, now that there is something to do.
    fn wait(&self, now: Instant) -> Duration {
        let Some(taken) = self.taken.filter(|_| self.rate * GAP_MAX >= GROUP_LEAST) else { return Duration::ZERO };
        let gap = (GROUP_WORTH / self.rate).min(GAP_MAX);
        Duration::from_secs_f64(gap / 1_000.0).saturating_sub(now - taken)
    }

    /// A group was taken.
    fn taken(&mut self, now: Instant, changes: usize) {
        if let Some(before) = self.taken.replace(now) {
            let gap = (now - before).as_secs_f64() * 1_000.0;
            #[allow(clippy::cast_precision_loss, reason = "a group has a thousand changes at most, or one batch")]
            let rate = changes as f64 / gap.max(0.01);
            // A long silence is forgotten as slowly as it lasted.
            let weight = (GAP_WEIGHT * gap.max(1.0)).min(1.0);
            self.rate += (rate - self.rate) * weight;
        }
    }
}

/// What the thread owns.
pub(super) struct Writer {
    pub(super) me: NodeName,
    pub(super) home: Home,
    pub(super) store: Option<Store>,
    pub(super) line: Arc<Line>,
    pub(super) told: mpsc::UnboundedSender<dht::Input>,
}

impl Writer {
    /// Writes until told to end.
    pub(super) fn run(mut self) {
        // The header after the last commit of this life; a file that failed is opened again as of then.
        let mut good = self.store.as_ref().map(Store::good);
        let mut broken = false;
        let mut full = false;
        let mut pace = Pace::default();
        while let Some((first, last, changes)) = self.line.take(&mut pace) {
            let done = if broken { Err(Refusal::Broken) } else { self.write(&changes, &mut good, &mut full) };
            broken |= done == Err(Refusal::Broken);
            if done.is_err() {
                self.line.fail();
            }
            let told = match done {
                Ok(()) => dht::Input::Persisted { batch: last },
                Err(why) => dht::Input::NotPersisted { batch: first, why },
            };
            if self.told.send(told).is_err() {
                break;
            }
        }
        self.store = None;
        self.line.ended();
    }

    fn write(&mut self, changes: &[Change], good: &mut Option<Header>, full: &mut bool) -> Result<(), Refusal> {
        let mut rows = Rows::new();
        for change in changes {
            match change {
                Change::Put(entry) => rows.insert(entry.key.clone(), Some(row::encode(entry))),
                Change::Drop(key) => rows.insert(key.clone(), None),
            };
        }
        let done = self.commit(&rows, good);
        let node = &self.me;
        match done {
            Ok(()) => {
                if std::mem::take(full) {
                    tracing::info!(%node, "there is room on the disk again: keys are stored");
                }
                Ok(())
            }
            Err(Trouble::Full(why)) => {
                if !std::mem::replace(full, true) {
                    let file = self.home.file();
                    tracing::error!(%node, "no room for keys in {}: {why}; new ones are refused until there is", file.display());
                }
                Err(Refusal::Full)
            }
            Err(Trouble::Broken(why)) => {
                let file = self.home.file();
                tracing::error!(%node, "the keys in {} cannot be written: {why}; {}", file.display(), super::WAY_OUT);
                Err(Refusal::Broken)
            }
        }
    }

    fn commit(&mut self, rows: &Rows, good: &mut Option<Header>) -> Result<(), Trouble> {
        let mut store = match (self.store.take(), *good) {
            (Some(store), _) => store,
            (None, None) => Store::create(&self.home)?,
            (None, Some(_)) => match Store::open(&self.home, *good, drop)? {
                Some(store) => store,
                None => return Err(Trouble::Broken("the file is gone".to_owned())),
            },
        };
        // A store that failed is dropped: nothing of what it did is to be seen again.
        store.commit(rows)?;
        *good = Some(store.good());
        self.store = Some(store);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The waits of a writer to whom `changes` come every `every` microseconds, each commit taking 300.
    fn waits(changes: usize, every: u64) -> Vec<Duration> {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        let mut waits = Vec::new();
        let mut waiting = 0.0;
        for _ in 0..200 {
            let wait = pace.wait(now);
            waits.push(wait);
            // What comes while a commit runs, and while more is waited for.
            let busy = wait + Duration::from_micros(300);
            waiting += changes as f64 * busy.as_micros() as f64 / every as f64;
            let idle = if waiting < 1.0 { Duration::from_micros(every) } else { Duration::ZERO };
            now += busy + idle;
            let group = (waiting as usize).max(1);
            waiting = (waiting - group as f64).max(0.0);
            pace.taken(now, group);
        }
        waits.split_off(100)
    }

    #[test]
    fn who_writes_alone_is_never_held_up() {
        assert!(waits(1, 3_000).iter().all(Duration::is_zero), "one put after another");
        assert!(waits(1, 1_000_000).iter().all(Duration::is_zero));
    }

    #[test]
    fn many_writes_wait_for_each_other_but_never_long() {
        let waits = waits(1, 800);
        assert!(waits.iter().all(|wait| *wait <= Duration::from_millis(4)), "{waits:?}");
        assert!(waits.iter().filter(|wait| **wait >= Duration::from_millis(2)).count() > 50, "{waits:?}");
    }

    #[test]
    fn a_flood_makes_groups_by_itself() {
        let waits = waits(100, 1_000);
        assert!(waits.iter().all(|wait| *wait < Duration::from_micros(200)), "{waits:?}");
    }
}
