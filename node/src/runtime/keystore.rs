//! The store's durable copy: one redb file per node, `keys.redb` in the data folder.
//!
//! ```text
//! start:    keys.redb ── every page and every entry compared ──▶ entries ──▶ dht::State::new(.., held)
//! running:  Effect::Persist ─▶ persist() ─▶ queue ─▶ thread: group commit (writer.rs) ─▶ next() ─▶ Persisted / NotPersisted
//! ```
//! All entries are in memory (`node/src/dht.rs`); the file is written, and read once at the start. There is no file and no
//! thread before the first write: an idle node pays nothing.
//!
//! | trouble | what is told | what becomes of it |
//! |---|---|---|
//! | no room (disk, quota, file size limit) | `NotPersisted { Full }` | the next batch is tried afresh |
//! | the disk fails, or the file cannot be used | `NotPersisted { Broken }` | so it stays for this life; the file is left as it is |
//! | no data folder | nothing: every batch is `Persisted` at once | keys do not survive a restart; the log says so |
//!
//! Always holds: `Persisted { batch }` is said after an fsync that covers the batch and all before it; a batch is on disk
//! whole or not at all; what cannot be read is an error that is told, never skipped.

mod row;
mod store;
#[cfg(test)]
mod tests;
mod trial;
mod writer;

use std::{path::Path, sync::Arc, thread, time::Duration};

use p2pnet_shared::{
    NodeName,
    wire::dht::{Entry, Refusal},
};
use tokio::sync::mpsc;

use self::{
    store::{Home, Store},
    writer::{Line, Writer},
};
use crate::dht::{self, Change};

/// What to do about a file that cannot be used.
const WAY_OUT: &str = "to start without it, stop this node, move the file away and start again: its copies come back from \
                       the other replicas";
/// How long a crash waits for a commit under way to let go of the file, so that the next life may have it.
const LAST_COMMIT: Duration = Duration::from_secs(2);

/// The way to the disk.
pub(super) struct Keystore {
    me: NodeName,
    state: State,
    line: Arc<Line>,
    tell: mpsc::UnboundedSender<dht::Input>,
    told: mpsc::UnboundedReceiver<dht::Input>,
}

enum State {
    /// There is no folder.
    Memory,
    /// Nothing has been written in this life; the file is open if there is one.
    Waiting(Box<(Home, Option<Store>)>),
    /// The thread has it.
    Writing,
    /// Not to be used in this life.
    Broken,
}

impl Keystore {
    /// The store in `folder` and everything that it holds. If it cannot be used, it is empty, the log says why, and
    /// [`Keystore::next`] begins with `NotPersisted` of batch 0: the protocol is to neither read nor write in this life.
    pub(super) fn open(folder: Option<&Path>, me: &NodeName) -> (Self, Vec<Entry>) {
        let Some(folder) = folder else {
            tracing::warn!(node = %me, "no data folder (`--data DIR`): acknowledged keys do not survive a restart of this node");
            return (Self::with(me, State::Memory), Vec::new());
        };
        Self::open_home(Home::new(folder), me)
    }

    fn open_home(home: Home, me: &NodeName) -> (Self, Vec<Entry>) {
        let mut held = Vec::new();
        match Store::open(&home, None, |entry| held.push(entry)) {
            Ok(store) => {
                if store.is_some() {
                    tracing::info!(node = %me, keys = held.len(), "keys were read from {}", home.file().display());
                }
                (Self::with(me, State::Waiting(Box::new((home, store)))), held)
            }
            Err(why) => {
                let file = home.file();
                tracing::error!(node = %me, "the keys in {} cannot be used: {why}; {WAY_OUT}", file.display());
                let keystore = Self::with(me, State::Broken);
                keystore.refuse(0, Refusal::Broken);
                (keystore, Vec::new())
            }
        }
    }

    fn with(me: &NodeName, state: State) -> Self {
        let (tell, told) = mpsc::unbounded_channel();
        Self { me: me.clone(), state, line: Arc::default(), tell, told }
    }

    /// Puts a batch in line; [`Keystore::next`] says what became of it. Never waits.
    pub(super) fn persist(&mut self, batch: u64, changes: Vec<Change>) {
        match &self.state {
            State::Memory => drop(self.tell.send(dht::Input::Persisted { batch })),
            State::Broken => self.refuse(batch, Refusal::Broken),
            State::Waiting(_) | State::Writing => {
                if let State::Waiting(waiting) = std::mem::replace(&mut self.state, State::Writing) {
                    let (home, store) = *waiting;
                    if !self.start(home, store) {
                        self.state = State::Broken;
                        return self.refuse(batch, Refusal::Broken);
                    }
                }
                if !self.line.push(batch, changes) {
                    tracing::warn!(node = %self.me, batch, "the disk is too slow: a batch was refused");
                    self.refuse(batch, Refusal::Late);
                }
            }
        }
    }

    fn refuse(&self, batch: u64, why: Refusal) {
        let _ = self.tell.send(dht::Input::NotPersisted { batch, why });
    }

    fn start(&self, home: Home, store: Option<Store>) -> bool {
        let (line, told) = (self.line.clone(), self.tell.clone());
        let writer = Writer { me: self.me.clone(), home, store, line, told };
        let started = thread::Builder::new().name("keys".to_owned()).spawn(|| writer.run());
        if let Err(error) = &started {
            tracing::error!(node = %self.me, "no thread for the keys' file: {error}; restart the node when there is");
        }
        started.is_ok()
    }

    /// What became of the batches, in order: [`dht::Input::Persisted`] or [`dht::Input::NotPersisted`]. Loses nothing when
    /// it is dropped while it waits.
    pub(super) async fn next(&mut self) -> dht::Input {
        let Some(told) = self.told.recv().await else { return std::future::pending().await };
        if matches!(told, dht::Input::NotPersisted { .. }) {
            self.line.failure_heard();
        }
        told
    }

    /// Like [`Keystore::next`], if there is something to hear now.
    pub(super) fn try_next(&mut self) -> Option<dht::Input> {
        let told = self.told.try_recv().ok()?;
        if matches!(told, dht::Input::NotPersisted { .. }) {
            self.line.failure_heard();
        }
        Some(told)
    }

    /// Writes what waits and closes the file; takes a commit, and at most `patience`.
    pub(super) async fn close(&mut self, patience: Duration) {
        if matches!(self.state, State::Writing) {
            self.line.close(false);
            let line = self.line.clone();
            let ended = tokio::task::spawn_blocking(move || line.wait_ended(patience));
            let _ = tokio::time::timeout(patience, ended).await;
        }
        self.state = State::Broken;
    }
}

impl Drop for Keystore {
    /// A crash, unless it was closed: what waits is not written.
    fn drop(&mut self) {
        if matches!(self.state, State::Writing) {
            self.line.close(true);
            self.line.wait_ended(LAST_COMMIT);
        }
    }
}
