//! Putting a file under its name, taking one away, giving one another time: each in a step before and one after everything is
//! synced (batch.rs).
//!
//! ```text
//! ready ─▶ (data synced) ─▶ put: nothing there   renameat2 NOREPLACE
//!                                a file there    looks as expected? ─▶ renameat2 EXCHANGE ─▶ what came out looks as expected?
//!                                                                                             no: exchanged back, Changed
//!                      ─▶ (folders synced) ─▶ what came out is removed, Done
//! ```
//! A name holds the old contents or the new, whole, at any moment; and what a user did in the moment between the look and the exchange
//! is given back to them. Where a file system knows no exchange, a file is renamed over the other right after the look, and such a
//! moment is lost.

use std::{
    fs::File,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::FileExt,
    },
    sync::PoisonError,
};

use p2pnet_shared::{FilePath, wire::folder::Root};
use rustix::{
    fs::{AtFlags, Mode, RenameFlags, Timespec, Timestamps},
    io::Errno,
};

use super::{
    beneath::{look_in, not_as_expected, remove_empty, seen, split, trouble, trouble_of},
    hash::Reader,
    home::{Home, Own, Swap},
};
use crate::folder::{Found, Place, Source, Stat, Trouble};

/// A file that is complete and has its mode and time, to be synced and renamed.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) place: Place,
    own: Own,
    name: String,
    stat: Stat,
}

/// What has been done but is not synced.
#[derive(Debug, Default)]
pub(super) struct Undone {
    /// Folders with new or removed names, sorted, each once.
    pub(super) folders: std::collections::BTreeSet<String>,
    /// Files with another mode or time.
    pub(super) files: Vec<File>,
    /// Names in [`Own::Swap`] of what is to be removed when all of that is synced.
    pub(super) swapped: Vec<String>,
}

impl Home {
    /// Makes the file, beside its place.
    pub(super) fn ready(&self, place: Place, reader: &mut Reader<'_>) -> Result<Ready, Trouble> {
        let mode = self.expected_at(&place)?;
        let (own, name, file) = match &place.source {
            Source::Memory(bytes) => {
                if bytes.len() as u64 != place.size || Root::of(bytes) != place.root {
                    return Err(Trouble::Broken);
                }
                self.has_room(place.size)?;
                self.fresh(|file| file.write_all_at(bytes, 0).map_err(|error| trouble_of(&error)))?
            }
            Source::File { path, stat } => {
                let (from, found) = self.beneath.file(path.as_str()).map_err(not_as_expected)?;
                if found != *stat || stat.size != place.size {
                    return Err(Trouble::Changed);
                }
                self.has_room(place.size)?;
                self.fresh(|file| copy(&from, file, (&place.root, place.size), reader))?
            }
            Source::Aside(root) => {
                let from = self.own_file(Own::Aside, &root.to_string()).map_err(trouble)?.ok_or(Trouble::Changed)?;
                self.has_room(place.size)?;
                self.fresh(|file| copy(&from, file, (&place.root, place.size), reader))?
            }
            Source::Part(root) => {
                let file = self.part(root)?;
                let size = file.metadata().map_err(|error| trouble_of(&error))?.len();
                let is_right = *root == place.root
                    && size == place.size
                    && (self.is_whole(root, size) || reader.root(&file, size)? == place.root);
                if !is_right {
                    return Err(Trouble::Broken);
                }
                (Own::Parts, root.to_string(), file)
            }
            Source::Upload(number) => {
                let received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
                if received.get(number) != Some(&(place.root, place.size)) {
                    return Err(Trouble::Broken);
                }
                let name = number.to_string();
                let file = self.own_file(Own::Uploads, &name).map_err(trouble)?.ok_or(Trouble::Broken)?;
                (Own::Uploads, name, file)
            }
        };
        let dressed = dress(&file, mode, place.mtime_ns);
        match dressed {
            Ok(stat) => Ok(Ready { place, own, name, stat }),
            Err(why) => {
                self.drop_fresh(own, &name);
                Err(why)
            }
        }
    }

    /// The mode for the new file: that of the one that is expected there, executable or not, or that of any new file.
    fn expected_at(&self, place: &Place) -> Result<u32, Trouble> {
        let (above, name) = split(place.path.as_str());
        let found = self.beneath.folder(above).and_then(|folder| {
            let found = look_in(folder.as_fd(), name)?;
            Ok((found, rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode))
        });
        let (found, mode) = match found {
            Err(Errno::NOENT) => (Found::Nothing, 0o644),
            found => found.map_err(trouble)?,
        };
        match (found, place.over) {
            (Found::File(stat), Some(over)) if stat == over => Ok(mode_of(mode, place.executable)),
            (Found::Nothing | Found::Folder, None) => Ok(mode_of(0o644, place.executable) & !self.umask),
            (Found::Other, _) => Err(Trouble::Refused),
            _ => Err(Trouble::Changed),
        }
    }

    /// A new file of our own with what `write` writes into it.
    pub(super) fn fresh(
        &self,
        write: impl FnOnce(&File) -> Result<(), Trouble>,
    ) -> Result<(Own, String, File), Trouble> {
        let name = self.number().to_string();
        let file = self.create(Own::New, &name).map_err(trouble)?;
        match write(&file) {
            Ok(()) => Ok((Own::New, name, file)),
            Err(why) => {
                self.remove(Own::New, &name);
                Err(why)
            }
        }
    }

    fn drop_fresh(&self, own: Own, name: &str) {
        if own == Own::New {
            self.remove(own, name);
        }
    }

    /// Syncs the contents of one file that is ready.
    pub(super) fn sync(&self, ready: &Ready) -> Result<(), Trouble> {
        let file = self.own_file(ready.own, &ready.name).map_err(trouble)?.ok_or(Trouble::Broken)?;
        rustix::fs::fsync(&file).map_err(trouble)
    }

    /// It is not to be put anywhere. A part and an upload stay.
    pub(super) fn give_up(&self, ready: &Ready) {
        self.drop_fresh(ready.own, &ready.name);
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// It has none then, and what was there is there.
    pub(super) fn put(&self, ready: &Ready, undone: &mut Undone) -> Result<Stat, Trouble> {
        let put = self.is_there().and_then(|()| self.try_put(ready, undone));
        match put {
            Ok(_) => {
                if let Source::Part(root) = &ready.place.source {
                    self.forget(root);
                }
                if let Source::Upload(number) = &ready.place.source {
                    self.received.lock().unwrap_or_else(PoisonError::into_inner).remove(number);
                }
            }
            Err(_) => self.give_up(ready),
        }
        put
    }

    fn try_put(&self, ready: &Ready, undone: &mut Undone) -> Result<Stat, Trouble> {
        let (above, name) = split(ready.place.path.as_str());
        let touched = |path: &str| {
            undone.folders.insert(path.to_owned());
        };
        let folder = self.beneath.make_folder(above, touched).map_err(trouble)?;
        let swapped = match ready.place.over {
            None => {
                self.put_new(ready, &folder, name)?;
                None
            }
            Some(over) => Some(self.put_over(ready, &folder, name, &over)?),
        };
        // Whoever moved the folder away while we held it did not ask for a file in it.
        if !self.beneath.leads_to(above, &folder) {
            self.take_back(ready, &folder, name, swapped.as_deref());
            return Err(Trouble::Changed);
        }
        undone.folders.insert(above.to_owned());
        undone.swapped.extend(swapped);
        // Its ctime is a new one. If it was written to in this moment, whoever looks sees that it is not what we put there.
        Ok(match look_in(folder.as_fd(), name) {
            Ok(Found::File(stat)) if is_same(&stat, &ready.stat) => stat,
            _ => ready.stat,
        })
    }

    fn put_new(&self, ready: &Ready, folder: &OwnedFd, name: &str) -> Result<(), Trouble> {
        let from = self.at(ready.own);
        let rename = || match rustix::fs::renameat_with(from, &ready.name, folder, name, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS) => {
                rustix::fs::linkat(from, &ready.name, folder, name, AtFlags::empty())?;
                rustix::fs::unlinkat(from, &ready.name, AtFlags::empty())
            }
            done => done,
        };
        match rename() {
            Err(Errno::EXIST) => match look_in(folder.as_fd(), name) {
                Ok(Found::Folder) => {
                    remove_empty(folder.as_fd(), name, 0).map_err(trouble)?;
                    rename().map_err(|error| if error == Errno::EXIST { Trouble::Changed } else { trouble(error) })
                }
                Ok(Found::Other) => Err(Trouble::Refused),
                _ => Err(Trouble::Changed),
            },
            done => done.map_err(trouble),
        }
    }

    /// Exchanges it with what is there; the name of that in [`Own::Swap`].
    fn put_over(&self, ready: &Ready, folder: &OwnedFd, name: &str, over: &Stat) -> Result<String, Trouble> {
        if look_in(folder.as_fd(), name) != Ok(Found::File(*over)) {
            return Err(Trouble::Changed);
        }
        let swap = self.swap(over, ready.stat.inode);
        let at = self.at(Own::Swap);
        rustix::fs::renameat(self.at(ready.own), &ready.name, at, &swap).map_err(trouble)?;
        let put = match rustix::fs::renameat_with(at, &swap, folder, name, RenameFlags::EXCHANGE) {
            // Not what was expected: it gets its name back.
            Ok(()) => self.check_swapped(&swap, over).inspect_err(|_| self.give_back(&swap, ready, folder, name)),
            Err(Errno::INVAL | Errno::NOSYS) => rustix::fs::renameat(at, &swap, folder, name).map_err(trouble),
            Err(Errno::NOENT) => Err(Trouble::Changed),
            Err(error) => Err(trouble(error)),
        };
        match put {
            Ok(()) => Ok(swap),
            Err(why) => {
                let _ = rustix::fs::renameat(at, &swap, self.at(ready.own), &ready.name);
                Err(why)
            }
        }
    }

    fn swap(&self, over: &Stat, new: u64) -> String {
        Swap { number: self.number(), new, inode: over.inode, size: over.size, mtime_ns: over.mtime_ns }.name()
    }

    /// Whether what came out of its place is what was expected there; its ctime is that of the renaming.
    fn check_swapped(&self, swap: &str, over: &Stat) -> Result<(), Trouble> {
        match look_in(self.at(Own::Swap), swap) {
            Ok(Found::File(stat)) if is_same(&stat, over) => Ok(()),
            _ => Err(Trouble::Changed),
        }
    }

    /// Gives what was taken its name back, unless somebody else has it by now.
    fn put_back(&self, swap: &str, folder: &OwnedFd, name: &str) {
        let at = self.at(Own::Swap);
        match rustix::fs::renameat_with(at, swap, folder, name, RenameFlags::NOREPLACE) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(_) => self.save(swap),
        }
    }

    /// Exchanges what was taken with our file again. Whatever else has the name by now is newer and keeps it; nobody's file but
    /// ours is ever thrown away.
    fn give_back(&self, swap: &str, ready: &Ready, folder: &OwnedFd, name: &str) {
        let exchange = || rustix::fs::renameat_with(self.at(Own::Swap), swap, folder, name, RenameFlags::EXCHANGE);
        if exchange().is_err() {
            return self.put_back(swap, folder, name);
        }
        if self.is_ours(swap, ready) {
            return;
        }
        let _ = exchange();
        if !self.is_ours(swap, ready) {
            self.save(swap);
        }
    }

    /// Whether what has this name in [`Own::Swap`] is the new file.
    fn is_ours(&self, swap: &str, ready: &Ready) -> bool {
        matches!(look_in(self.at(Own::Swap), swap), Ok(Found::File(stat)) if stat.inode == ready.stat.inode)
    }

    /// Undoes a put into a folder that is not where it was.
    fn take_back(&self, ready: &Ready, folder: &OwnedFd, name: &str, swapped: Option<&str>) {
        let swap = if let Some(swap) = swapped {
            self.give_back(swap, ready, folder, name);
            swap.to_owned()
        } else {
            let swap = self.swap(&ready.stat, ready.stat.inode);
            let _ = rustix::fs::renameat(folder, name, self.at(Own::Swap), &swap);
            if !self.is_ours(&swap, ready) {
                return self.put_back(&swap, folder, name);
            }
            swap
        };
        let _ = rustix::fs::renameat(self.at(Own::Swap), &swap, self.at(ready.own), &ready.name);
    }

    /// Removes a file that looks like `over`, and folders that are empty after it. One that is gone already is fine.
    pub(super) fn remove_file(&self, path: &FilePath, over: &Stat, undone: &mut Undone) -> Result<(), Trouble> {
        self.is_there()?;
        let (above, name) = split(path.as_str());
        let folder = match self.beneath.folder(above) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            folder => folder.map_err(trouble)?,
        };
        match look_in(folder.as_fd(), name) {
            Ok(Found::File(stat)) if stat == *over => {}
            Err(Errno::NOENT) => return Ok(()),
            Ok(_) => return Err(Trouble::Changed),
            Err(error) => return Err(trouble(error)),
        }
        let swap = self.swap(over, 0);
        rustix::fs::renameat(&folder, name, self.at(Own::Swap), &swap).map_err(trouble)?;
        let is_right = self.check_swapped(&swap, over).is_ok() && self.beneath.leads_to(above, &folder);
        if !is_right {
            self.put_back(&swap, &folder, name);
            return Err(Trouble::Changed);
        }
        undone.swapped.push(swap);
        drop(folder);
        undone.folders.insert(self.prune(above));
        Ok(())
    }

    /// Removes the folder at `path` and those above it as long as they are empty, and says which is not.
    fn prune(&self, mut path: &str) -> String {
        while !path.is_empty() {
            let (above, name) = split(path);
            let removed =
                self.beneath.folder(above).and_then(|folder| rustix::fs::unlinkat(&folder, name, AtFlags::REMOVEDIR));
            match removed {
                Ok(()) | Err(Errno::NOENT) => path = above,
                Err(_) => break,
            }
        }
        path.to_owned()
    }

    /// Gives a file that looks like `over` another time or mode.
    pub(super) fn touch(
        &self,
        path: &FilePath,
        over: &Stat,
        mtime_ns: i64,
        executable: bool,
        undone: &mut Undone,
    ) -> Result<Stat, Trouble> {
        let (file, found) = self.beneath.file(path.as_str()).map_err(not_as_expected)?;
        if found != *over {
            return Err(Trouble::Changed);
        }
        let mode = rustix::fs::fstat(&file).map_err(trouble)?.st_mode;
        let mode = if over.executable == executable { mode & 0o777 } else { mode_of(mode, executable) };
        let stat = dress(&file, mode, mtime_ns)?;
        undone.files.push(file);
        Ok(stat)
    }
}

/// Copies a file whole and checks it on the way; where the file system shares blocks between files, it does that and reads.
pub(super) fn copy(from: &File, to: &File, (root, size): (&Root, u64), reader: &mut Reader<'_>) -> Result<(), Trouble> {
    if size > 0 && rustix::fs::ioctl_ficlone(to, from).is_ok() {
        let is_right = to.metadata().is_ok_and(|clone| clone.len() == size) && reader.root(to, size)? == *root;
        return if is_right { Ok(()) } else { Err(Trouble::Changed) };
    }
    let mut hasher = blake3::Hasher::new();
    reader.each(from, 0, size, |bytes, offset| {
        hasher.update(bytes);
        to.write_all_at(bytes, offset).map_err(|error| trouble_of(&error))
    })?;
    if Root(*hasher.finalize().as_bytes()) == *root { Ok(()) } else { Err(Trouble::Changed) }
}

/// Gives an open file its mode and time.
fn dress(file: &File, mode: u32, mtime_ns: i64) -> Result<Stat, Trouble> {
    let (secs, nanos) = (mtime_ns.div_euclid(1_000_000_000), mtime_ns.rem_euclid(1_000_000_000));
    let time = Timespec { tv_sec: secs, tv_nsec: nanos };
    rustix::fs::fchmod(file, Mode::from_raw_mode(mode)).map_err(trouble)?;
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::futimens(file, &times).map_err(trouble)?;
    rustix::fs::fstat(file).map(|stat| seen(&stat)).map_err(trouble)
}

/// Permission bits like these, but executable by whoever may read, or by nobody.
fn mode_of(mode: u32, executable: bool) -> u32 {
    let plain = mode & 0o666;
    if executable { plain | 0o100 | (plain & 0o444) >> 2 } else { plain }
}

/// Whether a file still looks the same though it was renamed, which changes its ctime.
fn is_same(one: &Stat, other: &Stat) -> bool {
    (one.inode, one.size, one.mtime_ns, one.executable) == (other.inode, other.size, other.mtime_ns, other.executable)
}
