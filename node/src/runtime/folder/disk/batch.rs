//! Many files at once: made, synced together, named, their folders synced together.
//!
//! Syncing is what small files cost. Measured on this project's machine (two cores under load, ext4), 1,000 files of 4 KiB:
//!
//! | how | one process | eight at once, 1,000 each |
//! |---|---|---|
//! | `fdatasync` of each | 3.8 s | |
//! | `fdatasync` of each, eight threads | 0.7 s | 7.7 s |
//! | one `syncfs` for 256 | 0.1 s to 1.1 s | 4.5 s |
//!
//! `syncfs` also waits for what others have written to the same file system: that is the 1.1 s, beside a compiler. It is one
//! journal commit for all, and commits of several nodes are one when they come together, so it wins all the same; for four
//! files or fewer each is synced for itself.
//!
//! Always holds: a name leads to synced contents only; whoever is told `Placed` finds it again after a power failure.

use std::{
    os::fd::AsFd,
    time::{Duration, Instant},
};

use rustix::io::Errno;

use super::{
    beneath::trouble,
    hash::Reader,
    home::{Home, Own},
    line::{Job, Ticket},
    place::{Ready, Undone},
};
use crate::folder::{Done, Order, OrderId, Trouble};

/// Files in one batch at most.
const FILES_MAX: usize = 256;
/// How long the first waits for others at most.
const GATHER_MAX: Duration = Duration::from_millis(100);
/// Files that are synced one by one.
const FEW: usize = 4;

/// An order in the batch.
#[derive(Debug)]
enum Step {
    Put(Ready),
    Failed(Trouble),
    /// To be removed or touched: done when the others are named.
    Other(Order),
}

/// What is done together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    steps: Vec<(Ticket, OrderId, Order, Step)>,
    since: Option<Instant>,
}

impl Batch {
    /// Makes a file ready, or notes what else is to be done.
    pub(super) fn add(&mut self, home: &Home, job: Job, reader: &mut Reader<'_>) {
        self.since.get_or_insert_with(Instant::now);
        let step = match home.is_there() {
            Err(why) => Step::Failed(why),
            Ok(()) => match &job.what {
                Order::Place(place) => home.ready(place.clone(), reader).map_or_else(Step::Failed, Step::Put),
                other => Step::Other(other.clone()),
            },
        };
        self.steps.push((job.ticket, job.order, job.what, step));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Whether it is time to sync, though others wait.
    pub(super) fn is_full(&self) -> bool {
        self.steps.len() >= FILES_MAX || self.since.is_some_and(|since| since.elapsed() >= GATHER_MAX)
    }

    /// Carries it out, and says what became of each.
    pub(super) fn finish(&mut self, home: &Home, mut tell: impl FnMut(Ticket, OrderId, &Order, Done)) {
        self.since = None;
        self.sync_contents(home);
        let mut undone = Undone::default();
        let steps = std::mem::take(&mut self.steps);
        let mut done: Vec<_> = steps
            .into_iter()
            .map(|(ticket, order, what, step)| {
                let done = match &step {
                    Step::Failed(why) => refused(&what, *why),
                    Step::Put(ready) => Done::Placed(home.put(ready, &mut undone)),
                    Step::Other(other) => carry_out(home, other, &mut undone),
                };
                (ticket, order, what, done)
            })
            .collect();
        if let Err(why) = sync_names(home, &undone) {
            for (.., what, done) in &mut done {
                if matches!(done, Done::Placed(Ok(_)) | Done::Removed(Ok(()))) {
                    *done = refused(what, why);
                }
            }
        }
        for name in &undone.swapped {
            home.remove(Own::Swap, name);
        }
        for (ticket, order, what, done) in done {
            tell(ticket, order, &what, done);
        }
    }

    fn sync_contents(&mut self, home: &Home) {
        let count = self.steps.iter().filter(|(.., step)| matches!(step, Step::Put(_))).count();
        let together = if count > FEW { Some(rustix::fs::syncfs(home.beneath.root()).map_err(trouble)) } else { None };
        for (.., step) in &mut self.steps {
            if let Step::Put(ready) = step
                && let Err(why) = together.unwrap_or_else(|| home.sync(ready))
            {
                home.give_up(ready);
                *step = Step::Failed(why);
            }
        }
    }
}

fn carry_out(home: &Home, what: &Order, undone: &mut Undone) -> Done {
    match what {
        Order::Remove { path, over } => Done::Removed(home.remove_file(path, over, undone)),
        Order::Touch { path, over, mtime_ns, executable } => {
            Done::Placed(home.touch(path, over, *mtime_ns, *executable, undone))
        }
        other => refused(other, Trouble::Broken),
    }
}

fn sync_names(home: &Home, undone: &Undone) -> Result<(), Trouble> {
    if undone.folders.len() + undone.files.len() > FEW {
        return rustix::fs::syncfs(home.beneath.root()).map_err(trouble);
    }
    for file in &undone.files {
        rustix::fs::fsync(file.as_fd()).map_err(trouble)?;
    }
    for path in &undone.folders {
        match home.beneath.folder(path).and_then(rustix::fs::fsync) {
            // Removed since, and with it what was to be synced.
            Ok(()) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            Err(error) => return Err(trouble(error)),
        }
    }
    Ok(())
}

/// The answer to an order that was not carried out.
pub(super) fn refused(what: &Order, why: Trouble) -> Done {
    match what {
        Order::Walk { .. } => Done::NotWalked(why),
        Order::Look { .. } => Done::Looked(Err(why)),
        Order::Hash { .. } => Done::Hashed(Err(why)),
        Order::Read { .. } => Done::Read(Err(why)),
        Order::Outline { .. } | Order::Resume { .. } => Done::Outlined(Err(why)),
        Order::Write { .. } => Done::Written(Err(why)),
        Order::Place(_) | Order::Touch { .. } => Done::Placed(Err(why)),
        Order::Remove { .. } => Done::Removed(Err(why)),
        Order::Discard { .. } | Order::Forget { .. } => Done::Discarded,
        Order::SetAside { .. } => Done::SetAside(Err(why)),
        Order::Persist { .. } => Done::Persisted(Err(why)),
    }
}
