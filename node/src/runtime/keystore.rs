//! The store's durable copy: two files per node in the data folder, `keys.redb` and in front of it a log, `keys.log`.
//!
//! ```text
//! start:    keys.redb, keys.log ── every page and every group compared ──▶ entries ──▶ dht::State::new(.., held)
//! running:  Effect::Persist ─▶ Keystore::persist ─▶ queue ─▶ thread: group commit (writer.rs) ─▶ log ─▶ redb (files.rs)
//!                            ◀─ Persisted, NotPersisted ◀─ Outcomes::next ◀──┘
//! ```
//! All entries are in memory (`node/src/dht.rs`); the files are written, and read once at the start. There is no file and no
//! thread before the first write: an idle node pays nothing.
//!
//! ```text
//! writer.rs  the queue, the thread, how long a group is waited for     files.rs  both files as one store
//! log.rs     the log       store.rs, trial.rs  the redb file           row.rs    an entry, as both keep it
//! ```
//! | trouble | what is told | what becomes of it |
//! |---|---|---|
//! | no room (disk, quota, file size limit) | `NotPersisted { Full }` | the next batch is tried afresh |
//! | the disk fails, or a file cannot be used | `NotPersisted { Broken }` | so it stays for this life; the files are left as they are |
//! | no data folder | nothing: every batch is `Persisted` at once | keys do not survive a restart; the log says so |
//!
//! Always holds: `Persisted { batch }` is said after an fsync that covers the batch and all before it; a batch is on disk
//! whole or not at all; what cannot be read is an error that is told, never skipped.

mod files;
mod log;
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
    files::Files,
    store::Home,
    writer::{Line, Writer},
};
use crate::dht::{self, Change};

/// What to do about a file that cannot be used.
const WAY_OUT: &str = "to start without it, stop this node, move keys.redb and keys.log away and start again: its copies \
                       come back from the other replicas";
/// How long whoever ends waits for a commit under way to let go of the file, so that the next life may have it.
const LAST_COMMIT: Duration = Duration::from_secs(2);

/// The way to the disk.
#[derive(Debug)]
pub(super) struct Keystore {
    me: NodeName,
    state: State,
    line: Arc<Line>,
    tell: mpsc::UnboundedSender<dht::Input>,
}

/// The way back from it.
#[derive(Debug)]
pub(super) struct Outcomes {
    line: Arc<Line>,
    told: mpsc::UnboundedReceiver<dht::Input>,
}

#[derive(Debug)]
enum State {
    /// There is no folder.
    Memory,
    /// Nothing has been written in this life; the files are open if there are any.
    Waiting(Box<Files>),
    /// The thread has it.
    Writing,
    /// Not to be used in this life.
    Broken,
    /// The thread writes what waits, and ends.
    Closing,
}

impl Keystore {
    /// The store in `folder` and everything that it holds; `None` if it cannot be used, and the log says why: then nothing
    /// is to be read from it or written to it in this life.
    pub(super) fn open(folder: Option<&Path>, me: &NodeName) -> (Self, Outcomes, Option<Vec<Entry>>) {
        match folder {
            Some(folder) => Self::open_home(Home::new(folder), me),
            None => {
                tracing::warn!(node = %me, "no data folder (`--data DIR`): acknowledged keys do not survive a restart of this node");
                let (keystore, outcomes) = Self::with(me, State::Memory);
                (keystore, outcomes, Some(Vec::new()))
            }
        }
    }

    fn open_home(home: Home, me: &NodeName) -> (Self, Outcomes, Option<Vec<Entry>>) {
        let file = home.file();
        match Files::open(home) {
            Ok((files, held)) => {
                if files.are_there() {
                    tracing::info!(node = %me, keys = held.len(), "keys were read from {}", file.display());
                }
                let (keystore, outcomes) = Self::with(me, State::Waiting(Box::new(files)));
                (keystore, outcomes, Some(held))
            }
            Err(why) => {
                tracing::error!(node = %me, "the keys in {} cannot be used: {why}; {WAY_OUT}", file.display());
                let (keystore, outcomes) = Self::with(me, State::Broken);
                (keystore, outcomes, None)
            }
        }
    }

    fn with(me: &NodeName, state: State) -> (Self, Outcomes) {
        let (tell, told) = mpsc::unbounded_channel();
        let line = Arc::<Line>::default();
        (Self { me: me.clone(), state, line: line.clone(), tell }, Outcomes { line, told })
    }

    /// Puts a batch in line; [`Outcomes::next`] says what became of it, unless that is known at once and is returned
    /// here. Never waits.
    #[must_use]
    pub(super) fn persist(&mut self, batch: u64, changes: Vec<Change>) -> Option<dht::Input> {
        let refused = |why| Some(dht::Input::NotPersisted { batch, why });
        if let State::Waiting(_) = self.state {
            let State::Waiting(waiting) = std::mem::replace(&mut self.state, State::Writing) else { return None };
            self.state = self.start(*waiting);
        }
        match self.state {
            State::Memory => return Some(dht::Input::Persisted { batch }),
            State::Broken | State::Closing => return refused(Refusal::Broken),
            State::Waiting(_) | State::Writing => {}
        }
        if self.line.push(batch, changes) {
            return None;
        }
        tracing::warn!(node = %self.me, batch, "the disk is too slow: a batch was refused");
        refused(Refusal::Late)
    }

    fn start(&self, files: Files) -> State {
        let (line, told) = (self.line.clone(), self.tell.clone());
        let writer = Writer { me: self.me.clone(), files, line, told };
        match thread::Builder::new().name("keys".to_owned()).spawn(|| writer.run()) {
            Ok(_) => State::Writing,
            Err(error) => {
                tracing::error!(node = %self.me, "no thread for the keys' file: {error}; restart the node when there is");
                State::Broken
            }
        }
    }

    /// There will be no more batches: what waits is written, and the file closed. Does not wait; dropping it does.
    pub(super) fn close(&mut self) {
        self.line.close(false);
        self.state = if matches!(self.state, State::Writing) { State::Closing } else { State::Broken };
    }
}

impl Drop for Keystore {
    /// A crash, unless it was closed: what waits is not written.
    fn drop(&mut self) {
        if matches!(self.state, State::Writing | State::Closing) {
            self.line.close(matches!(self.state, State::Writing));
            self.line.wait_ended(LAST_COMMIT);
        }
    }
}

impl Outcomes {
    /// What became of the batches, in order: [`dht::Input::Persisted`] or [`dht::Input::NotPersisted`], to be fed to the
    /// store before it hands over anything else. Loses nothing when it is dropped while it waits. Pending for ever once the
    /// [`Keystore`] is gone.
    pub(super) async fn next(&mut self) -> dht::Input {
        let Some(told) = self.told.recv().await else { return std::future::pending().await };
        if matches!(told, dht::Input::NotPersisted { .. }) {
            self.line.failure_heard();
        }
        told
    }
}
