//! The folder and its own business in `.p2pnet`, held open.
//!
//! ```text
//! .p2pnet/folder        marker, made when the folder is first opened; locked while a node lives here
//!         index.redb    rows.rs
//!         parts/<root>  unfinished files, named by the contents they are to have; kept for a day
//!         uploads/<n>   what users sent, until it is placed; removed at the start
//!         new/<n>       copies that are to be renamed to their place; removed at the start
//!         swap/<n>-…    what is exchanged with a file that stands in its place (place.rs); sorted out at the start
//!         aside/<root>  copies that outlive the file until another has its contents (aside.rs)
//!         saved/<n>     somebody's file that came in between an exchange and a crash: nobody's to remove but theirs
//! ```
//! Always holds: if the folder or its marker is not there any more, nothing is read, written or concluded.

use std::{
    collections::HashMap,
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use p2pnet_shared::{NodeName, path::OWN_DIR, wire::folder::Root};
use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, RenameFlags},
    io::Errno,
};

use super::{
    DiskTrouble,
    beneath::{Beneath, id, seen},
    outlines::Outlines,
    parts::Ranges,
    room::Room,
};
use crate::folder::{Stat, Trouble};

const MARKER: &str = "folder";
const MARKER_TEXT: &[u8] = b"p2pnet keeps what it knows of this folder here. Without this file it stops.\n";
/// How long an unfinished file is kept that nobody writes to.
const PART_LIFE: Duration = Duration::from_secs(24 * 3_600);
/// Of a new file in our own folders: nobody else's until it is placed.
const PRIVATE: Mode = Mode::from_raw_mode(0o600);
const NEW: OFlags =
    OFlags::RDWR.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// One of our own folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Own {
    Parts,
    Uploads,
    New,
    Swap,
    Aside,
}

/// The folder, open.
#[derive(Debug)]
pub(in super::super) struct Home {
    pub(super) me: NodeName,
    pub(super) beneath: Beneath,
    pub(super) own: OwnedFd,
    folders: [OwnedFd; 5],
    marker: File,
    pub(super) room: Room,
    /// Bits that new files do not get.
    pub(super) umask: u32,
    next: AtomicU64,
    /// What was written of unfinished files in this life.
    pub(super) written: Mutex<HashMap<Root, Ranges>>,
    /// Of files that were hashed.
    pub(super) outlines: Outlines,
    /// What users sent: hash and size.
    pub(super) received: Mutex<HashMap<u64, (Root, u64)>>,
    /// Whether nobody waits for us any more.
    pub(super) over: AtomicBool,
}

impl Home {
    /// Opens the folder at `path`, which is made if it is not there, and clears away what a former life left. Says whether it has
    /// never been opened before.
    pub(super) fn open(path: &Path, me: &NodeName, room: Room) -> Result<(Self, bool), DiskTrouble> {
        let unusable = |source: io::Error| DiskTrouble::Unusable { path: path.to_owned(), source };
        std::fs::create_dir_all(path).map_err(unusable)?;
        let beneath = Beneath::open(path).map_err(unusable)?;
        let own = beneath.make_folder(OWN_DIR, |_| {}).map_err(|error| unusable(error.into()))?;
        let folder = |name: &str| -> Result<OwnedFd, DiskTrouble> {
            beneath.make_folder(&format!("{OWN_DIR}/{name}"), |_| {}).map_err(|error| unusable(error.into()))
        };
        let folders = [folder("parts")?, folder("uploads")?, folder("new")?, folder("swap")?, folder("aside")?];
        let (marker, is_new) = mark(&own).map_err(|error| unusable(error.into()))?;
        match marker.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Err(DiskTrouble::Taken { path: path.to_owned() }),
            Err(std::fs::TryLockError::Error(source)) => return Err(unusable(source)),
        }
        let home = Self {
            me: me.clone(),
            beneath,
            own,
            folders,
            marker,
            room,
            umask: umask(),
            next: AtomicU64::new(1),
            written: Mutex::default(),
            outlines: Outlines::default(),
            received: Mutex::default(),
            over: AtomicBool::new(false),
        };
        home.tidy().map_err(|error| unusable(error.into()))?;
        rustix::fs::fsync(home.beneath.root()).map_err(|error| unusable(error.into()))?;
        Ok((home, is_new))
    }

    /// The folder, to open things in it.
    pub(in super::super) fn beneath(&self) -> &Beneath {
        &self.beneath
    }

    /// Whose it is.
    pub(in super::super) fn node(&self) -> &NodeName {
        &self.me
    }

    /// # Errors
    /// [`Trouble::NoFolder`] if the folder is gone, or its marker.
    pub(super) fn is_there(&self) -> Result<(), Trouble> {
        let marker = || -> Result<bool, Errno> {
            let found =
                rustix::fs::statat(self.beneath.root(), format!("{OWN_DIR}/{MARKER}"), AtFlags::SYMLINK_NOFOLLOW)?;
            Ok(id(&found) == id(&rustix::fs::fstat(&self.marker)?))
        };
        let is_there = self.beneath.is_in_place() && marker().unwrap_or(false);
        if is_there { Ok(()) } else { Err(Trouble::NoFolder) }
    }

    /// Another node may have it.
    pub(super) fn unlock(&self) {
        let _ = self.marker.unlock();
    }

    /// # Errors
    /// [`Trouble::Full`] if `bytes` more do not fit.
    pub(super) fn has_room(&self, bytes: u64) -> Result<(), Trouble> {
        self.room.check(self.beneath.root(), bytes)
    }

    pub(super) fn at(&self, own: Own) -> BorrowedFd<'_> {
        self.folders[own as usize].as_fd()
    }

    /// A number that no file of this life has had.
    pub(super) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// A new file of our own.
    pub(super) fn create(&self, own: Own, name: &str) -> Result<File, Errno> {
        rustix::fs::openat(self.at(own), name, NEW, PRIVATE).map(File::from)
    }

    /// One that is there, or `None`.
    pub(super) fn own_file(&self, own: Own, name: &str) -> Result<Option<File>, Errno> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(self.at(own), name, flags, Mode::empty()) {
            Ok(file) => Ok(Some(File::from(file))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes one, if it is there.
    pub(super) fn remove(&self, own: Own, name: &str) {
        let _ = rustix::fs::unlinkat(self.at(own), name, AtFlags::empty());
    }

    /// Keeps somebody's file that we hold and that cannot get its name back.
    pub(super) fn save(&self, swapped: &str) {
        let saved = self.beneath.make_folder(&format!("{OWN_DIR}/saved"), |_| {});
        for _ in 0..1_000 {
            let name = format!("{}-{swapped}", self.number());
            let Ok(saved) = &saved else { break };
            match rustix::fs::renameat_with(self.at(Own::Swap), swapped, saved, &name, RenameFlags::NOREPLACE) {
                Err(Errno::EXIST) => {}
                Err(_) => break,
                Ok(()) => {
                    tracing::error!(node = %self.me, "a file that changed while it was replaced is kept in {OWN_DIR}/saved/{name}");
                    return;
                }
            }
        }
        tracing::error!(node = %self.me, "a file that changed while it was replaced is kept in {OWN_DIR}/swap/{swapped}");
    }

    /// What a former life left behind.
    fn tidy(&self) -> Result<(), Errno> {
        for own in [Own::Uploads, Own::New] {
            self.each(own, |name, _| self.remove(own, name))?;
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let oldest = i64::try_from(now.saturating_sub(PART_LIFE).as_nanos()).unwrap_or(i64::MAX);
        self.each(Own::Parts, |name, stat| {
            // When it was last written; its mtime may already be the one it is to have in its place.
            if stat.ctime_ns < oldest {
                self.remove(Own::Parts, name);
            }
        })?;
        let mut others = Vec::new();
        self.each(Own::Swap, |name, stat| {
            if Swap::parse(name).is_some_and(|swap| swap.is_ours(&stat)) {
                self.remove(Own::Swap, name);
            } else {
                others.push(name.to_owned());
            }
        })?;
        others.iter().for_each(|name| self.save(name));
        Ok(())
    }

    pub(super) fn each(&self, own: Own, mut with: impl FnMut(&str, Stat)) -> Result<(), Errno> {
        for entry in Dir::read_from(self.at(own))? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            let Ok(stat) = rustix::fs::statat(self.at(own), name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
                with(name, seen(&stat));
            }
        }
        Ok(())
    }
}

/// The name of what is exchanged with a file in its place: after a crash it says whether what has it is the new file, or the old one
/// as it was expected, both of no use to anybody; or something that a user put there in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Swap {
    pub(super) number: u64,
    /// Inode of the new file; 0 if there is none.
    pub(super) new: u64,
    /// What was expected.
    pub(super) inode: u64,
    pub(super) size: u64,
    pub(super) mtime_ns: i64,
}

impl Swap {
    pub(super) fn name(&self) -> String {
        format!("{}-{}-{}-{}-{}", self.number, self.new, self.inode, self.size, self.mtime_ns)
    }

    fn parse(name: &str) -> Option<Self> {
        let mut words = name.splitn(5, '-');
        let mut word = || words.next()?.parse().ok();
        let (number, new, inode, size) = (word()?, word()?, word()?, word()?);
        let mtime_ns = words.next()?.parse().ok()?;
        Some(Self { number, new, inode, size, mtime_ns })
    }

    fn is_ours(&self, stat: &Stat) -> bool {
        stat.inode == self.new || (stat.inode, stat.size, stat.mtime_ns) == (self.inode, self.size, self.mtime_ns)
    }
}

/// The marker, made if it is not there.
fn mark(own: &OwnedFd) -> Result<(File, bool), Errno> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(own, MARKER, flags, Mode::empty()) {
        Ok(file) => return Ok((File::from(file), false)),
        Err(Errno::NOENT) => {}
        Err(error) => return Err(error),
    }
    let file = rustix::fs::openat(own, MARKER, NEW, Mode::from_raw_mode(0o644))?;
    rustix::io::write(&file, MARKER_TEXT)?;
    rustix::fs::fsync(&file)?;
    rustix::fs::fsync(own)?;
    Ok((File::from(file), true))
}

/// Without setting it, which would be felt by other threads for a moment.
fn umask() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    line.and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok()).unwrap_or(0o022)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swap_says_what_may_be_removed() {
        let swap = Swap { number: 7, new: 30, inode: 20, size: 5, mtime_ns: -4 };
        assert_eq!(Swap::parse(&swap.name()), Some(swap));
        assert_eq!(Swap::parse("7-30-20"), None);
        let old = Stat { inode: 20, size: 5, mtime_ns: -4, ctime_ns: 9, executable: false };
        assert!(swap.is_ours(&old));
        assert!(swap.is_ours(&Stat { inode: 30, ..old }), "the new file, not yet exchanged");
        assert!(!swap.is_ours(&Stat { mtime_ns: 0, ..old }), "written to since");
        assert!(!swap.is_ours(&Stat { inode: 21, ..old }), "another one");
    }
}
