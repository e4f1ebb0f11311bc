//! The thread that writes: everything that waits goes into one transaction.
//!
//! ```text
//! persist() ─▶ queue (bounded) ─▶ take all ─▶ rows, the last word per key ─▶ one commit, one fsync ─▶ Persisted { last }
//!                  ▲                                                                └ failed ─▶ NotPersisted { first }
//!                  └── takes nothing more until the loop has heard of the failure ──────────────────┘
//! ```

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
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

    /// Waits for work and takes it; `None` to end.
    fn take(&self) -> Option<(u64, u64, Vec<Change>)> {
        let idle = |queue: &mut Queue| queue.batches.is_empty() && !queue.closing;
        let mut queue = self.news.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
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
        Some((first, last, changes))
    }

    fn fail(&self) {
        let mut queue = self.lock();
        queue.failures += 1;
        queue.batches.clear();
        queue.changes = 0;
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
        while let Some((first, last, changes)) = self.line.take() {
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
