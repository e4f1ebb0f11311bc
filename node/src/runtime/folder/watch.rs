//! Who is touching the folder: inotify, by hand.
//!
//! ```text
//! kernel ─▶ thread: one watch for each folder ─▶ Touched, Overflowed, Watching ─▶ bounded channel ─▶ the folder
//! ```
//! *inotify(7)*. A folder that appears is watched before it is read, and every file in it is told of, so that nothing that was written
//! into it in between is missed. A folder that is moved away takes its files with it without a word about them: then everything may
//! have changed, and so it is said. Our own renames are told of as anybody's.
//!
//! The channel has a size; when it is full the thread waits, what it has not told is one [`Input::Overflowed`], and what the kernel
//! has no room for meanwhile is another. Where the host allows no (more) watches, [`Input::Watching`] says no and the thread ends:
//! the folder is then looked at now and then only.
//!
//! Left out: a file that is written and never closed is found by the next look at everything.

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    mem::MaybeUninit,
    os::fd::{AsRawFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use p2pnet_shared::path::OWN_DIR;
use rustix::{
    fs::{
        Dir, FileType,
        inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags},
    },
    io::Errno,
};
use tokio::sync::mpsc::{Sender, error::TrySendError};

use super::disk::{Disk, Home};
use crate::folder::Input;

/// What is told of a folder. Not every write: it is told when the file is closed.
const EVENTS: WatchFlags = WatchFlags::CLOSE_WRITE
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::CREATE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR)
    .union(WatchFlags::EXCL_UNLINK);
/// Bytes of events read at once.
const EVENTS_BYTES: usize = 16 * 1024;
const STACK_BYTES: usize = 128 * 1024;

/// A watch over the folder. Dropped it ends.
#[derive(Debug)]
pub(super) struct Watch {
    inotify: Arc<OwnedFd>,
    /// The folder's own watch: taking it away is an event, which wakes the thread.
    root: i32,
    is_over: Arc<AtomicBool>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let _ = inotify::remove_watch(&*self.inotify, self.root);
    }
}

/// Why nothing more is told.
enum End {
    /// Nobody listens.
    Over,
    /// The host allows no more watches, or something else is wrong with them.
    Refused(Errno),
    /// The folder itself was removed, moved or unmounted.
    Gone,
}

impl From<Errno> for End {
    fn from(error: Errno) -> Self {
        End::Refused(error)
    }
}

impl Watch {
    /// Begins to watch; `None` if the host does not allow it. [`Input::Watching`] says how it went when all folders are watched, or
    /// whenever it ends.
    pub(super) fn start(disk: &Disk, tell: Sender<Input>) -> Option<Self> {
        let home = disk.home();
        let started = || -> Result<Self, Errno> {
            let inotify = Arc::new(inotify::init(CreateFlags::CLOEXEC)?);
            let is_over = Arc::new(AtomicBool::new(false));
            let mut watcher = Watcher {
                home: home.clone(),
                inotify: inotify.clone(),
                tell: tell.clone(),
                is_over: is_over.clone(),
                folders: HashMap::new(),
            };
            let root = watcher.add("")?;
            let thread = thread::Builder::new().name("folder watch".to_owned()).stack_size(STACK_BYTES);
            thread.spawn(move || watcher.run(root)).map_err(|_| Errno::AGAIN)?;
            Ok(Self { inotify, root, is_over })
        };
        match started() {
            Ok(watch) => Some(watch),
            Err(error) => {
                refused(&home, error);
                // Nobody has been told anything yet: there is room.
                let _ = tell.try_send(Input::Watching(false));
                None
            }
        }
    }
}

fn refused(home: &Home, error: Errno) {
    let node = home.node();
    let hint = match error {
        Errno::NOSPC => "; raise fs.inotify.max_user_watches on the host",
        Errno::MFILE => "; raise fs.inotify.max_user_instances on the host",
        _ => "",
    };
    tracing::warn!(%node, "the folder is not watched but looked at now and then: {error}{hint}");
}

/// What the thread owns.
struct Watcher {
    home: Arc<Home>,
    inotify: Arc<OwnedFd>,
    tell: Sender<Input>,
    is_over: Arc<AtomicBool>,
    /// Path of each folder that is watched.
    folders: HashMap<i32, String>,
}

impl Watcher {
    fn run(mut self, root: i32) {
        let end = match self.begin() {
            Ok(()) => self.follow(root),
            Err(end) => Err(end),
        };
        match end {
            Ok(()) | Err(End::Over) => return,
            Err(End::Refused(error)) => refused(&self.home, error),
            Err(End::Gone) => {
                let node = self.home.node();
                tracing::warn!(%node, "the folder was removed, moved or unmounted: it is not watched any more");
                let _ = self.tell.blocking_send(Input::Overflowed);
            }
        }
        let _ = self.tell.blocking_send(Input::Watching(false));
    }

    fn begin(&mut self) -> Result<(), End> {
        self.enter(String::new(), false)?;
        self.say(Input::Watching(true))
    }

    fn follow(&mut self, root: i32) -> Result<(), End> {
        let mut buffer = vec![MaybeUninit::uninit(); EVENTS_BYTES];
        let inotify = self.inotify.clone();
        let mut events = Reader::new(&*inotify, &mut buffer);
        loop {
            let event = match events.next() {
                Err(Errno::INTR) => continue,
                event => event?,
            };
            if self.is_over.load(Ordering::Relaxed) {
                return Err(End::Over);
            }
            let (watch, what) = (event.wd(), event.events());
            if what.contains(ReadFlags::QUEUE_OVERFLOW) {
                self.say(Input::Overflowed)?;
                continue;
            }
            let lost = ReadFlags::IGNORED | ReadFlags::UNMOUNT | ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF;
            if watch == root && what.intersects(lost) {
                return Err(End::Gone);
            }
            if what.contains(ReadFlags::IGNORED) {
                self.folders.remove(&watch);
                continue;
            }
            let Some(name) = event.file_name() else { continue };
            let Ok(name) = name.to_str() else { continue };
            if watch == root && name == OWN_DIR && what.intersects(ReadFlags::DELETE | ReadFlags::MOVED_FROM) {
                // Whoever looks now will find that this is not our folder any more.
                self.say(Input::Overflowed)?;
            }
            let Some(path) = self.folders.get(&watch).and_then(|folder| join(folder, name)) else { continue };
            if what.contains(ReadFlags::ISDIR) {
                self.folder_changed(path, what)?;
            } else {
                self.touched(&path)?;
            }
        }
    }

    fn folder_changed(&mut self, path: String, what: ReadFlags) -> Result<(), End> {
        if what.contains(ReadFlags::MOVED_FROM) {
            self.leave(&path);
            return self.say(Input::Overflowed);
        }
        if what.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO) {
            return self.enter(path, true);
        }
        Ok(())
    }

    /// Watches a folder and everything beneath it, and if asked to, tells of each file that is there already.
    fn enter(&mut self, path: String, tells: bool) -> Result<(), End> {
        let mut ahead = vec![path];
        while let Some(path) = ahead.pop() {
            match self.add(&path) {
                Ok(_) => {}
                // Not there any more, or no folder of ours.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV | Errno::ACCESS) => continue,
                Err(error) => return Err(error.into()),
            }
            let Ok(mut folder) = self.home.beneath().folder(&path).and_then(Dir::new) else { continue };
            while let Some(Ok(entry)) = folder.read() {
                if self.is_over.load(Ordering::Relaxed) {
                    return Err(End::Over);
                }
                let Ok(name) = entry.file_name().to_str() else { continue };
                if matches!(name, "." | "..") {
                    continue;
                }
                let Some(path) = join(&path, name) else { continue };
                match entry.file_type() {
                    FileType::Directory => ahead.push(path),
                    FileType::Unknown => {
                        ahead.push(path.clone());
                        if tells {
                            self.touched(&path)?;
                        }
                    }
                    _ if tells => self.touched(&path)?,
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Watches one folder, reached over an open descriptor so that no link leads elsewhere.
    fn add(&mut self, path: &str) -> Result<i32, Errno> {
        let folder = self.home.beneath().folder(path)?;
        let watch = inotify::add_watch(&*self.inotify, format!("/proc/self/fd/{}", folder.as_raw_fd()), EVENTS)?;
        self.folders.insert(watch, path.to_owned());
        Ok(watch)
    }

    /// Forgets a folder and everything beneath it.
    fn leave(&mut self, path: &str) {
        let inotify = &self.inotify;
        self.folders.retain(|watch, folder| {
            let is_beneath = folder.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            if is_beneath {
                let _ = inotify::remove_watch(&**inotify, *watch);
            }
            !is_beneath
        });
    }

    fn touched(&mut self, path: &str) -> Result<(), End> {
        // What cannot be shared is nobody's business.
        path.parse().map_or(Ok(()), |path| self.say(Input::Touched { path }))
    }

    /// Tells; when there is no room it waits to tell that something was left out.
    fn say(&mut self, input: Input) -> Result<(), End> {
        match self.tell.try_send(input) {
            Ok(()) => Ok(()),
            Err(TrySendError::Closed(_)) => Err(End::Over),
            Err(TrySendError::Full(input)) => {
                // Whether it is watched is not to be lost.
                let input = if matches!(input, Input::Watching(_)) { input } else { Input::Overflowed };
                self.tell.blocking_send(input).map_err(|_| End::Over)
            }
        }
    }
}

/// The path of a name in a folder; `None` for the folder's own business.
fn join(folder: &str, name: &str) -> Option<String> {
    match folder {
        "" if name == OWN_DIR => None,
        "" => Some(name.to_owned()),
        folder => Some(format!("{folder}/{name}")),
    }
}
