//! The folder's disk: it carries out [`Order`]s and says what became of them.
//!
//! ```text
//! Effect::Disk ─▶ Disk::give ─▶ line.rs ─▶ three threads (lanes.rs) ─▶ tell ─▶ Input::Done
//!                                  │ reads:  pieces of files, looks, what users send (upload.rs)
//!                                  │ looks:  walk.rs, hash.rs, outlines.rs
//!                                  └ writes: parts.rs, place.rs in batches (batch.rs), aside.rs, rows.rs
//!                        all of them: home.rs (the folder and its own business), beneath.rs (never outside), room.rs
//! ```
//! Always holds:
//! - Nothing outside the folder is read or written, whatever links are put into it, whenever.
//! - Under a name there are the old contents or the new ones, whole, and synced before they get it; also after `kill -9`.
//! - What is there is not replaced or removed unless it looks as expected.
//! - Rows of the index are written after the files they speak of.
//! - If the folder is gone, or its marker, everything is [`crate::folder::Trouble::NoFolder`].
//!
//! A thread that has nothing to do sleeps. Walks are told page by page as fast as they are read, which is bounded by the files there are.
//! Left out: a folder that comes back as another mount is found again by the next start only.

mod aside;
mod batch;
mod beneath;
mod hash;
mod home;
mod lanes;
mod line;
mod outlines;
mod parts;
mod place;
mod room;
mod rows;
#[cfg(test)]
pub(super) mod tests;
mod upload;
mod walk;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

use p2pnet_shared::NodeName;
use tokio::sync::mpsc::UnboundedSender;

pub(super) use self::home::Home;
pub(in crate::runtime) use self::upload::{Received, Upload};
use self::{
    batch::refused,
    home::Own,
    lanes::Hands,
    line::{LANES, Lane, Line},
    room::Room,
    rows::Rows,
};
use crate::{
    folder::{Done, Order, OrderId, Row},
    runtime::pool::Pool,
};

/// Of each thread: none of them goes deep.
const STACK_BYTES: usize = 256 * 1024;
/// How long whoever ends waits for what is under way, so that the next life may have the folder.
const LAST_WORK: Duration = Duration::from_secs(2);

/// Why the folder cannot be used. Nothing in it was changed, but that its own subfolder may have been made.
#[derive(Debug, thiserror::Error)]
pub enum DiskTrouble {
    /// It cannot be made, read or written.
    #[error("the shared folder `{path}` cannot be used: {source}")]
    Unusable {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another node lives in it.
    #[error("the shared folder `{path}` is used by another node that is running")]
    Taken {
        /// The folder.
        path: PathBuf,
    },
}

/// What was found when the folder was opened.
#[derive(Debug)]
pub(super) struct Opened {
    /// The index, as it was last written.
    pub(super) rows: Vec<Row>,
    /// Whether nobody has opened it before.
    pub(super) is_new: bool,
}

/// The way to the disk. Dropped: nothing more is done, what waits is not, as in a crash.
#[derive(Debug)]
pub(super) struct Disk {
    home: Arc<Home>,
    line: Arc<Line>,
    tell: UnboundedSender<(OrderId, Done)>,
    is_closed: bool,
}

impl Disk {
    /// Opens the folder, which is made if it is not there. `tell` hears what becomes of orders, each exactly once but walks. Chunks are
    /// read into buffers of `pool`.
    ///
    /// # Errors
    /// It cannot be used, see [`DiskTrouble`].
    pub(super) fn open(
        folder: &Path,
        me: &NodeName,
        tell: UnboundedSender<(OrderId, Done)>,
        pool: Pool,
    ) -> Result<(Self, Opened), DiskTrouble> {
        Self::open_with(folder, me, tell, pool, Room::default())
    }

    fn open_with(
        folder: &Path,
        me: &NodeName,
        tell: UnboundedSender<(OrderId, Done)>,
        pool: Pool,
        room: Room,
    ) -> Result<(Self, Opened), DiskTrouble> {
        let unusable = |source: io::Error| DiskTrouble::Unusable { path: folder.to_owned(), source };
        let (home, is_new) = Home::open(folder, me, room)?;
        let (index, mut rows) = Rows::open(&home).map_err(|error| unusable(error.into()))?;
        rows.extend(home.asides().map_err(|error| unusable(error.into()))?);
        let (home, line) = (Arc::new(home), Arc::<Line>::default());
        let disk = Self { home, line, tell, is_closed: false };
        let mut index = Some(index);
        for lane in LANES {
            let rows = if lane == Lane::Writes { index.take() } else { None };
            let (home, line, tell) = (disk.home.clone(), disk.line.clone(), disk.tell.clone());
            let hands = Hands { home, line, tell, pool: pool.clone() };
            let name = format!("folder {lane:?}").to_lowercase();
            let thread = thread::Builder::new().name(name).stack_size(STACK_BYTES);
            disk.line.began();
            if let Err(error) = thread.spawn(move || hands.run(lane, rows)) {
                disk.line.ended();
                return Err(unusable(error));
            }
        }
        Ok((disk, Opened { rows, is_new }))
    }

    /// Gives an order. Never waits; what cannot be taken is answered at once.
    pub(super) fn give(&self, order: OrderId, what: Order) {
        if let Err(refusal) = self.line.give(order, what) {
            let (what, why) = *refusal;
            let _ = self.tell.send((order, refused(&what, why)));
        }
    }

    /// A new file of the folder's own, for what a user sends.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) fn upload(&self) -> io::Result<Upload> {
        Upload::begin(&self.home, &self.line)
    }

    /// Removes what a user sent, if it was not placed.
    pub(super) fn forget(&self, upload: u64) {
        let mut received = self.home.received.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if received.remove(&upload).is_some() {
            self.home.remove(Own::Uploads, &upload.to_string());
        }
    }

    /// The folder, for a watch.
    pub(super) fn home(&self) -> Arc<Home> {
        self.home.clone()
    }

    /// There will be no more orders: what changes files and rows is still done. Does not wait; dropping it does, for a while.
    pub(super) fn close(&mut self) {
        self.line.close(false);
        self.is_closed = true;
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.is_closed {
            self.line.wait_ended(LAST_WORK);
        }
        self.home.over.store(true, Ordering::Relaxed);
        self.line.close(true);
        if self.line.wait_ended(LAST_WORK) {
            // Others who hold the folder open, as a watch, do not keep it from the next life.
            self.home.unlock();
        }
    }
}
