//! The thread that writes: everything that waits goes to disk together.
//!
//! ```text
//! persist() ─▶ queue (bounded) ─▶ take all ─▶ one group in the log, one sync (files.rs) ─▶ Persisted { last }
//!                  ▲                                                └ failed ─▶ NotPersisted { first }
//!                  └── takes nothing more until the loop has heard of the failure ────────┘
//! ```
//! **What a group costs.** Processor time for entries of 230 bytes under random keys, in a file of some thousand (ext4 on a
//! virtual disk whose fsync takes 0.1 ms; a group of one in the log = 1):
//!
//! | changes in a group | log | redb: rows by key | redb, per change |
//! |---|---|---|---|
//! | 1 | 1 | 1.3 | 1.3 |
//! | 10 | 1.4 | 3.7 | 0.37 |
//! | 100 | 1.7 | 24 | 0.24 |
//!
//! So groups go to the log, and thousands of changes at a time from there to redb. A group of ten costs a change a seventh of
//! what it costs alone, so when changes come fast a group is waited for ([`Pace`]); one that comes alone is never held up.
//! When nothing has come for [`QUIET`], what is in the log goes to redb, once.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use p2pnet_shared::{NodeName, wire::dht::Refusal};
use tokio::sync::mpsc;

use super::{files::Files, log::Group, store::Trouble};
use crate::dht::{self, Change};

/// How long nothing happens before the log is emptied.
const QUIET: Duration = Duration::from_secs(1);
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
    /// The thread sleeps for want of work.
    sleeps: bool,
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
        // Whoever writes or waits for more looks again by itself: waking costs a system call for each put.
        if std::mem::take(&mut queue.sleeps) {
            drop(queue);
            self.news.notify_all();
        }
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

    /// Waits for work, and for more of it if that pays, and takes it. With `patience`, waits no longer than that.
    fn take(&self, pace: &mut Pace, patience: Option<Duration>) -> Task {
        let mut queue = self.lock();
        let idle = |queue: &mut Queue| queue.batches.is_empty() && !queue.closing;
        queue.sleeps = idle(&mut queue);
        queue = match patience {
            None => self.news.wait_while(queue, idle).unwrap_or_else(PoisonError::into_inner),
            Some(patience) => {
                let waited = self.news.wait_timeout_while(queue, patience, idle);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        queue.sleeps = false;
        if idle(&mut queue) {
            return Task::Rest;
        }
        let wait = pace.wait(Instant::now());
        if !wait.is_zero() && !queue.closing {
            drop(queue);
            // Slept through: being woken for each change is what this is to save.
            std::thread::sleep(wait);
            queue = self.lock();
        }
        if queue.dropped {
            return Task::End;
        }
        let Some((first, mut changes)) = queue.batches.pop_front() else { return Task::End };
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
        Task::Write { first, last, changes }
    }

    fn fail(&self) {
        let mut queue = self.lock();
        queue.failures += 1;
        queue.batches.clear();
        queue.changes = 0;
    }
}

/// What is to be done.
#[derive(Debug)]
enum Task {
    /// Write these changes, of the batches from the first to the last.
    Write { first: u64, last: u64, changes: Vec<Change> },
    /// Nothing has come for a while.
    Rest,
    /// End.
    End,
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
    pub(super) files: Files,
    pub(super) line: Arc<Line>,
    pub(super) told: mpsc::UnboundedSender<dht::Input>,
}

impl Writer {
    /// Writes until told to end.
    pub(super) fn run(mut self) {
        let mut group = Group::new();
        let (mut broken, mut full) = (false, false);
        let mut pace = Pace::default();
        loop {
            let patience = (!broken && !full && !self.files.are_settled()).then_some(QUIET);
            let (first, last, changes) = match self.line.take(&mut pace, patience) {
                Task::Write { first, last, changes } => (first, last, changes),
                Task::Rest => {
                    let done = self.files.settle();
                    broken = self.judge(done, &mut full) == Err(Refusal::Broken);
                    continue;
                }
                Task::End => break,
            };
            let done = if broken { Err(Refusal::Broken) } else { self.write(&changes, &mut group, &mut full) };
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
        drop(self.files);
        self.line.ended();
    }

    fn write(&mut self, changes: &[Change], group: &mut Group, full: &mut bool) -> Result<(), Refusal> {
        group.clear();
        for change in changes {
            group.push(change);
        }
        let done = self.files.write(group);
        self.judge(done, full)
    }

    /// What became of a write, in words for the log and for whoever waits.
    fn judge(&self, done: Result<(), Trouble>, full: &mut bool) -> Result<(), Refusal> {
        let (node, file) = (&self.me, self.files.home().file());
        match done {
            Ok(()) => {
                if std::mem::take(full) {
                    tracing::info!(%node, "there is room on the disk again: keys are stored");
                }
                Ok(())
            }
            Err(Trouble::Full(why)) => {
                if !std::mem::replace(full, true) {
                    tracing::error!(%node, "no room for keys in {}: {why}; new ones are refused until there is", file.display());
                }
                Err(Refusal::Full)
            }
            Err(Trouble::Broken(why)) => {
                tracing::error!(%node, "the keys in {} cannot be written: {why}; {}", file.display(), super::WAY_OUT);
                Err(Refusal::Broken)
            }
        }
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
