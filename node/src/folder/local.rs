//! What this node's own users did, read off what is found on disk, or asked over HTTP.
//!
//! ```text
//!   known here   found now                    means
//!   r            r, same time and mode        nothing
//!   r            r, other time or mode        the same version, later; of a conflict copy: nothing
//!   anything     what should be there         the disk is ahead of us: nothing to write
//!   r            s                            a write over the versions with r (and, of a copy: the copy goes)
//!   r            nothing                      a deletion of the versions with r; of a copy: the copy goes
//!   nothing      s                            a write beside what is there: its writer has not seen that
//! ```
//! A write replaces what was on this disk, not what the index has learnt since; so what is being fetched when a user saves is kept
//! beside it. Where nobody watched, contents that nobody here knows become a version named by itself
//! ([`p2pnet_shared::wire::folder::Dot::Found`]): it may be an old file of an index that was lost, and others may know it as
//! replaced; or one that was placed just before a crash.
//!
//! What was known in a former life and should have become something else is doubtful: perhaps it did, just before a crash, and what a user
//! then changed was that. So nothing is taken for replaced by such a change; at worst that leaves a copy too many.
//!
//! When the plain file goes and copies of it were on the screen, they become ordinary files first.

use p2pnet_shared::{
    FilePath,
    wire::folder::{Content, FileContent, Root},
};

use super::{
    Stat,
    index::{CopyOf, Index, Known},
    render, version,
};

/// How a change came to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// By the first look at a folder whose index never completed one: nobody knows who wrote it or when.
    First,
    /// By the first look of this life: it happened while nobody watched, or it was us just before a crash.
    Away,
    /// By a later look.
    Scan,
    /// By the watch, while it happened.
    Watch,
}

/// What a found file meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Nothing new.
    Nothing,
    /// A user changed it: there is a new version, made here.
    Changed,
    /// It is not shared: too large, or there is no room for another path.
    Refused,
}

/// Why an upload was refused. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    /// Other files are in a folder of this name.
    #[error("there is a folder of this name")]
    IsFolder,
    /// A folder it would be in is a file.
    #[error("a file has the name of a folder it would be in")]
    UnderFile,
    /// Too large, or the index is full.
    #[error("there is no room for it")]
    Full,
}

/// What a user saw at a path, and replaced or deleted.
#[derive(Debug, Clone, Copy)]
struct Seen {
    root: Root,
    copy_of: Option<CopyOf>,
}

impl From<Known> for Seen {
    fn from(Known { root, copy_of, .. }: Known) -> Self {
        Self { root, copy_of }
    }
}

impl Index {
    /// A file was looked at and hashed. `wall` is the time, milliseconds since 1970.
    pub(super) fn found(&mut self, path: &FilePath, stat: Stat, root: Root, how: How, wall: u64) -> Meaning {
        if stat.size > version::FILE_MAX_BYTES || !self.has_room(path) {
            self.count_refused();
            return Meaning::Refused;
        }
        let content = FileContent { root, size: stat.size, mtime_ns: stat.mtime_ns, executable: stat.executable };
        let before = self.known(path).copied();
        let over = before.map(Seen::from).filter(|_| !self.is_doubtful(path));
        let shown = self.shown(path);
        let is_shown = shown.as_ref().is_some_and(|shown| shown.content.root == root);
        let copy_of = self.copy_at(path, &root).or_else(|| before.filter(|before| before.root == root)?.copy_of);
        let known = Known { stat, root, mtime_ns: stat.mtime_ns, executable: stat.executable, copy_of };
        match before {
            Some(before) if before.root == root => {
                let was_touched = (before.stat.mtime_ns, before.stat.executable) != (stat.mtime_ns, stat.executable);
                if !was_touched {
                    self.set_known(path, Some(Known { stat, ..before }));
                    return Meaning::Nothing;
                }
                self.set_known(path, Some(known));
                if !is_shown || shown.is_some_and(|shown| shown.copy_of.is_some() || shown.content == content) {
                    return Meaning::Nothing;
                }
                let Some(mut entry) = self.entry(path).cloned() else { return Meaning::Nothing };
                version::touch(&mut entry, content, clock(how, &stat, wall));
                self.set_entry(entry);
            }
            _ if is_shown => {
                self.set_known(path, Some(known));
                if how != How::First || self.join_found(path, content, clock(how, &stat, wall)) == Meaning::Nothing {
                    return Meaning::Nothing;
                }
            }
            _ => {
                self.set_known(path, Some(known));
                return self.changed(path, content, how, clock(how, &stat, wall), over, before.is_none());
            }
        }
        Meaning::Changed
    }

    /// There are other contents than before, and not those that should be there.
    fn changed(
        &mut self,
        path: &FilePath,
        content: FileContent,
        how: How,
        clock: u64,
        over: Option<Seen>,
        is_new: bool,
    ) -> Meaning {
        let is_unknown = self.entry(path).is_none_or(|entry| {
            !version::has_found(&entry.context, content.root.short()) && !version::has_root(entry, &content.root)
        });
        match how {
            How::First if is_new => return self.join_found(path, content, clock),
            How::First | How::Away if is_unknown => {
                over.iter().for_each(|over| drop(self.drop_copies(path, *over, clock, true)));
                let mut entry = self.entry(path).cloned().unwrap_or_else(|| version::nothing(path.clone()));
                version::find(&mut entry, content, clock, over.map(|over| over.root).as_ref());
                self.set_entry(entry);
            }
            _ => self.write(path, content, clock, over),
        }
        Meaning::Changed
    }

    /// Joins a version that is named by its contents.
    fn join_found(&mut self, path: &FilePath, content: FileContent, clock: u64) -> Meaning {
        let name = content.root.short();
        let found = version::single(path.clone(), name, clock, content);
        let mut entry = self.entry(path).cloned().unwrap_or_else(|| version::nothing(path.clone()));
        let stands_otherwise = version::has_root(&entry, &content.root) && !version::has_found(&entry.context, name);
        if stands_otherwise || !version::join(&mut entry, &found) {
            return Meaning::Nothing;
        }
        self.set_entry(entry);
        Meaning::Changed
    }

    /// A file that was known to be here is not there any more, and it was not us. Says whether that deleted something.
    pub(super) fn gone(&mut self, path: &FilePath, wall: u64) -> bool {
        let Some(known) = self.known(path).copied() else { return false };
        let is_doubtful = self.is_doubtful(path);
        self.set_known(path, None);
        !is_doubtful && self.erase(path, known.into(), false, wall)
    }

    /// A user asks for a path to be deleted. Says whether there was anything.
    pub(super) fn delete(&mut self, path: &FilePath, wall: u64) -> bool {
        let Some(shown) = self.shown(path) else { return false };
        self.erase(path, self.seen(path, shown.content.root), true, wall)
    }

    /// A user uploads a file over what is shown there.
    ///
    /// # Errors
    ///
    /// If no file can be there; nothing was changed.
    pub(super) fn upload(&mut self, path: &FilePath, root: Root, size: u64, wall: u64) -> Result<(), Unfit> {
        if self.is_folder(path) {
            return Err(Unfit::IsFolder);
        }
        if Self::above(path).any(|above| self.shown(&above).is_some()) {
            return Err(Unfit::UnderFile);
        }
        if size > version::FILE_MAX_BYTES || !self.has_room(path) {
            return Err(Unfit::Full);
        }
        let mtime_ns = i64::try_from(wall.saturating_mul(1_000_000)).unwrap_or(i64::MAX);
        let over = self.shown(path).map(|shown| self.seen(path, shown.content.root));
        self.write(path, FileContent { root, size, mtime_ns, executable: false }, wall, over);
        Ok(())
    }

    /// A file was put in place by this node.
    pub(super) fn placed(&mut self, path: &FilePath, stat: Stat, root: Root) {
        let as_shown = self.shown(path).filter(|shown| shown.content.root == root).map(|shown| shown.content);
        let (mtime_ns, executable) =
            as_shown.map_or((stat.mtime_ns, stat.executable), |shown| (shown.mtime_ns, shown.executable));
        let copy_of = self.copy_at(path, &root);
        self.set_known(path, Some(Known { stat, root, mtime_ns, executable, copy_of }));
    }

    /// These contents under this name, as they are on this disk if they are.
    fn seen(&self, path: &FilePath, root: Root) -> Seen {
        let known = self.known(path).filter(|known| known.root == root);
        known.map_or(Seen { root, copy_of: None }, |known| (*known).into())
    }

    /// Which version is shown under this name as a conflict copy, if it has these contents.
    fn copy_at(&self, path: &FilePath, root: &Root) -> Option<CopyOf> {
        let of = self.shown(path).filter(|shown| shown.content.root == *root)?.copy_of?;
        let versions = render::versions(self.entry(&of)?);
        let (sibling, _) = versions.into_iter().find(|(_, file)| file.root == *root)?;
        Some(CopyOf { path: of.hash64(), version: version::name_of_copy(&of, &sibling.dot) })
    }

    /// The path of which this is a version, if it is one that stands, and the only one with these contents.
    fn origin(&self, seen: Seen) -> Option<FilePath> {
        let copy_of = seen.copy_of?;
        let entry = self.by_hash(copy_of.path)?;
        let same = || version::live(entry).filter(|(_, file)| file.root == seen.root);
        let is_it = same().all(|(sibling, _)| version::name_of_copy(&entry.path, &sibling.dot) == copy_of.version);
        (is_it && same().next().is_some()).then(|| entry.path.clone())
    }

    /// A file was removed by this node.
    pub(super) fn removed(&mut self, path: &FilePath) {
        self.set_known(path, None);
    }

    fn write(&mut self, path: &FilePath, content: FileContent, clock: u64, over: Option<Seen>) {
        let names = over.map(|over| self.drop_copies(path, over, clock, true)).unwrap_or_default();
        let (author, count) = self.next_write();
        let mut entry = self.entry(path).cloned().unwrap_or_else(|| version::nothing(path.clone()));
        names.into_iter().for_each(|name| version::mark_replaced(&mut entry, name, clock));
        version::write(&mut entry, author, count, Content::File(content), clock, over.map(|over| over.root).as_ref());
        self.set_entry(entry);
    }

    /// Removes the versions of other paths with these contents that are shown under this name, or were when it was last seen. Gives the names they would have had as
    /// ordinary files. `but_here`: those stay that are on this disk under their own path, as when a user moved the copy back to where
    /// it came from; it goes to the copy's name again if another file, or a folder, has that path.
    fn drop_copies(&mut self, path: &FilePath, seen: Seen, clock: u64, but_here: bool) -> Vec<u64> {
        let (mut names, root) = (Vec::new(), &seen.root);
        let mut origins = self.copies().origins(path, root);
        origins.extend(self.origin(seen).filter(|origin| origin != path && !origins.contains(origin)));
        origins.retain(|origin| !but_here || self.known(origin).is_none_or(|known| known.root != *root));
        for origin in origins {
            let Some(mut entry) = self.entry(&origin).cloned() else { continue };
            let same = version::live(&entry).filter(|(_, file)| file.root == *root);
            names.extend(same.map(|(sibling, _)| version::name_of_copy(&origin, &sibling.dot)));
            version::drop_root(&mut entry, root, clock);
            self.set_entry(entry);
        }
        names
    }

    /// Deletes what has these contents under this path. `seen_all`: all its conflict copies were seen, not only those on this disk.
    fn erase(&mut self, path: &FilePath, seen: Seen, seen_all: bool, wall: u64) -> bool {
        let had_copies = !self.drop_copies(path, seen, wall, !seen_all).is_empty();
        let root = &seen.root;
        let Some(mut entry) = self.entry(path).filter(|entry| version::has_root(entry, root)).cloned() else {
            return had_copies;
        };
        for (name, other) in self.seen_copies(path, root, seen_all) {
            if self.make_ordinary(path, &name, &other) {
                version::drop_root(&mut entry, &other, wall);
            }
        }
        let (author, count) = self.next_write();
        version::write(&mut entry, author, count, Content::Tombstone, wall, Some(root));
        self.set_entry(entry);
        true
    }

    /// The copies of a path that its user saw: names and contents.
    fn seen_copies(&self, path: &FilePath, but: &Root, seen_all: bool) -> Vec<(FilePath, Root)> {
        let is_seen =
            |name: &FilePath, root: &Root| seen_all || self.known(name).is_some_and(|known| known.root == *root);
        let copies = self.copies().of(path).iter().filter(|wish| wish.content.root != *but);
        let named = copies.filter_map(|wish| Some((wish.name()?.clone(), wish.content.root)));
        named.filter(|(name, root)| is_seen(name, root)).collect()
    }

    /// Makes an ordinary file of a conflict copy, the same on every node that does so. Says whether there is room for it.
    fn make_ordinary(&mut self, path: &FilePath, name: &FilePath, root: &Root) -> bool {
        let versions = self.entry(path).map(render::versions).unwrap_or_default();
        let Some((sibling, content)) = versions.into_iter().find(|(_, file)| file.root == *root) else { return false };
        if !self.has_room(name) {
            return false;
        }
        let ordinary = version::single(name.clone(), version::name_of_copy(path, &sibling.dot), sibling.hlc, content);
        let mut entry = self.entry(name).cloned().unwrap_or_else(|| version::nothing(name.clone()));
        if version::join(&mut entry, &ordinary) {
            self.set_entry(entry);
        }
        true
    }
}

/// The clock of a change that was found in this way.
fn clock(how: How, stat: &Stat, wall: u64) -> u64 {
    if how == How::Watch { wall } else { clock_of(stat.mtime_ns, wall) }
}

/// When a file was written, as a clock: not later than now.
fn clock_of(mtime_ns: i64, wall: u64) -> u64 {
    u64::try_from(mtime_ns / 1_000_000).unwrap_or(0).min(wall)
}
