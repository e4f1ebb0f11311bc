//! Everything that is known of the folder: what travelled here of each path, and what this node's disk was last seen to hold.
//!
//! ```text
//!  join, found, gone, upload, delete ─▶ slots: path ─▶ entry + known ─┬─▶ news   entries that others may lack
//!                     placed, removed ─▶                              ├─▶ rows   what the disk's copy of the index lacks
//!                                                                     └─▶ plans  paths whose file may have to change
//! ```
//! All of it is in memory; the disk's copy may lag. What is shown is kept up to date change by change (`render.rs` says what it is),
//! and so are three digests, sums of hashes: *index* of all entries, *want* of path and contents of all that is shown, *have* of path
//! and contents of all files that are known to be on this disk. Time and mode count for the index only.
//!
//! Always holds: digests and counts agree with the slots, and a slot without entry and file is not kept. A path of the same
//! 64-bit hash as another one is not taken in, nor are more than [`Config::entries_max`] paths.

mod change;

use std::collections::{BTreeMap, BTreeSet};

use p2pnet_shared::{
    FilePath, NodeName,
    wire::folder::{Author, BUCKETS, Entry, FileContent, FolderDigest, Root},
};
use serde::{Deserialize, Serialize};

use super::{
    Config, Row, Stat,
    render::{self, Copies, Copy},
    version,
};

/// What this disk was last seen to hold under a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    /// How it looked.
    pub(super) stat: Stat,
    /// Its contents.
    pub(super) root: Root,
    /// The time it was given, or had when it was found, nanoseconds since 1970. Not that of `stat` on a file system that cannot keep it.
    pub(super) mtime_ns: i64,
    /// The mode likewise.
    pub(super) executable: bool,
    /// As what conflict copy it was on the screen, if it was one.
    pub(super) copy_of: Option<CopyOf>,
}

/// Which version of which path a conflict copy was, when it was put on the screen. What its user does to it he does to that
/// version, also if the index shows it elsewhere by then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CopyOf {
    /// Hash of the path.
    pub(super) path: u64,
    /// The version, see [`version::name_of_copy`].
    pub(super) version: u64,
}

/// What should be at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    /// This file.
    pub(super) content: FileContent,
    /// If it is a conflict copy: of which path.
    pub(super) copy_of: Option<FilePath>,
}

/// What came of an entry from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Joined {
    /// Something in it was new.
    pub(super) news: bool,
    /// Its sender lacks something that is known here.
    pub(super) they_lack: bool,
    /// Nothing was taken in: no honest node sends this, there is no room for another path, or it is a deletion of long ago.
    pub(super) refused: bool,
}

/// A row of the index on disk that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the row of `{key}` in the folder's index is damaged")]
pub(super) struct Damaged {
    /// Which, shortened.
    pub(super) key: String,
}

/// The three digests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Digests {
    /// All that is known, deletions included.
    pub(super) index: FolderDigest,
    /// Paths and contents that should be here.
    pub(super) want: FolderDigest,
    /// Paths and contents that are here.
    pub(super) have: FolderDigest,
}

/// How many there are of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counts {
    /// Paths of which something was heard, deleted ones included.
    pub(super) entries: u64,
    /// Files that should be here, conflict copies included.
    pub(super) files: u64,
    /// Their bytes.
    pub(super) bytes: u64,
    /// Those that are here.
    pub(super) files_here: u64,
    /// Their bytes.
    pub(super) bytes_here: u64,
    /// Conflict copies among the files.
    pub(super) conflicts: u64,
    /// Paths that have no file any more.
    pub(super) tombstones: u64,
    /// Entries and files that were not taken in since the node started.
    pub(super) refused: u64,
}

/// What changed and is not yet dealt with.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Paths of entries that others may lack.
    pub(super) news: Vec<FilePath>,
    /// Paths to plan, see [`Index::plan`]: folders before what is in them.
    pub(super) plans: Vec<FilePath>,
    /// For [`super::Order::Persist`].
    pub(super) rows: Vec<Row>,
}

#[derive(Debug)]
struct Slot {
    path: FilePath,
    entry: Option<Entry>,
    /// Of the entry.
    hash: u64,
    digest: FolderDigest,
    known: Option<Known>,
    /// What is known of the file is from a former life, and it was not looked at since.
    is_restored: bool,
    /// It was to be replaced when that life ended, whatever is to be there by now.
    is_outdated: bool,
}

impl Slot {
    fn empty(path: &FilePath) -> Box<Self> {
        Box::new(Self {
            path: path.clone(),
            entry: None,
            hash: 0,
            digest: FolderDigest(0),
            known: None,
            is_restored: false,
            is_outdated: false,
        })
    }
}

/// The index. See the module.
#[derive(Debug)]
pub(super) struct Index {
    me: Author,
    writes: u64,
    entries_max: usize,
    tombstone_life: u64,
    copies_shown: usize,
    /// By hash of path.
    slots: BTreeMap<u64, Box<Slot>>,
    /// Paths that have a version that is a file.
    live: BTreeSet<FilePath>,
    /// Paths where a file is known to be on this disk.
    disk: BTreeSet<FilePath>,
    /// The same by [`Root::short`] and hash of path.
    roots: BTreeSet<(u64, u64)>,
    /// Files that should be here and are not, by [`Root::short`].
    missing: BTreeSet<(u64, FilePath)>,
    /// Files that are kept for others to be made from, by [`Root::short`], see [`Index::plan`].
    kept: BTreeSet<(u64, FilePath)>,
    /// Contents of which a copy is set aside.
    asides: BTreeSet<Root>,
    /// The smallest there is: where ranges of them begin.
    first_path: FilePath,
    copies: Copies,
    /// Of authors.
    names: BTreeSet<NodeName>,
    sums: Box<[FolderDigest; BUCKETS]>,
    digests: Digests,
    counts: Counts,
    news: BTreeSet<FilePath>,
    plans: BTreeSet<FilePath>,
    rows: BTreeSet<FilePath>,
}

impl Index {
    /// An empty index of this node in this life.
    pub(super) fn new(me: NodeName, life: u64, config: &Config) -> Self {
        Self {
            me: Author { node: me, life },
            writes: 0,
            entries_max: config.entries_max,
            tombstone_life: config.tombstone_life.0,
            copies_shown: config.copies_shown,
            slots: BTreeMap::new(),
            live: BTreeSet::new(),
            disk: BTreeSet::new(),
            roots: BTreeSet::new(),
            missing: BTreeSet::new(),
            kept: BTreeSet::new(),
            asides: BTreeSet::new(),
            first_path: "\u{1}".parse().expect("one byte is a path"),
            copies: Copies::default(),
            names: BTreeSet::new(),
            sums: Box::new([FolderDigest(0); BUCKETS]),
            digests: Digests::default(),
            counts: Counts::default(),
            news: BTreeSet::new(),
            plans: BTreeSet::new(),
            rows: BTreeSet::new(),
        }
    }

    /// Takes in a row that a former life persisted. Rows whose key begins with a NUL are not the index's.
    ///
    /// # Errors
    ///
    /// If it makes no sense, and nothing was changed. What it said comes again from other nodes, or is found on disk.
    pub(super) fn restore(&mut self, row: &Row) -> Result<(), Damaged> {
        let damaged = || Damaged { key: row.key.chars().take(80).collect() };
        let path: FilePath = row.key.parse().map_err(|_| damaged())?;
        let bytes = row.value.as_deref().ok_or_else(damaged)?;
        let (entry, known): (Option<Entry>, Option<Known>) = postcard::from_bytes(bytes).map_err(|_| damaged())?;
        let is_ours = entry.as_ref().is_none_or(|entry| entry.path == path && version::is_sound(entry));
        if !is_ours || !self.has_room(&path) {
            return Err(damaged());
        }
        if let Some(entry) = entry {
            self.set_entry(entry);
        }
        if let Some(known) = known {
            self.set_known(&path, Some(known));
            self.slots.entry(path.hash64()).and_modify(|slot| slot.is_restored = true);
        }
        self.rows.remove(&path);
        self.news.remove(&path);
        Ok(())
    }

    /// Takes in what another node knows of a path. `wall` is the time, milliseconds since 1970.
    pub(super) fn join(&mut self, entry: &Entry, wall: u64) -> Joined {
        if let Some(held) = self.entry(&entry.path)
            && held == entry
        {
            return Joined::default();
        }
        if !version::is_sound(entry) {
            return self.refuse();
        }
        let Some(held) = self.entry(&entry.path) else {
            if !self.has_room(&entry.path) || self.is_forgotten(entry, wall) {
                return self.refuse();
            }
            self.set_entry(entry.clone());
            return Joined { news: true, ..Joined::default() };
        };
        let mut joined = held.clone();
        let news = version::join(&mut joined, entry);
        let they_lack = joined != *entry;
        if news {
            self.set_entry(joined);
        }
        Joined { news, they_lack, refused: false }
    }

    fn refuse(&mut self) -> Joined {
        self.counts.refused += 1;
        Joined { refused: true, ..Joined::default() }
    }

    /// Counts a file of this node's own that is not taken in.
    pub(super) fn count_refused(&mut self) {
        self.counts.refused += 1;
    }

    /// Whether there is room for this path.
    pub(super) fn has_room(&self, path: &FilePath) -> bool {
        match self.slots.get(&path.hash64()) {
            Some(slot) => slot.path == *path,
            None => self.slots.len() < self.entries_max,
        }
    }

    /// What is known of a path.
    pub(super) fn entry(&self, path: &FilePath) -> Option<&Entry> {
        self.slot(path)?.entry.as_ref()
    }

    /// What is known of the path with this hash.
    pub(super) fn by_hash(&self, path: u64) -> Option<&Entry> {
        self.slots.get(&path)?.entry.as_ref()
    }

    /// What should be at a path; `None` if nothing, or a folder of other files.
    pub(super) fn shown(&self, path: &FilePath) -> Option<Shown> {
        if self.live.contains(path) {
            let content = render::winner(self.entry(path)?)?;
            return (!self.is_folder(path)).then_some(Shown { content, copy_of: None });
        }
        let copy = self.copies.at(path)?;
        (!self.is_folder(path)).then(|| copy.into())
    }

    /// All that should be here, by path.
    pub(super) fn files(&self) -> impl Iterator<Item = (FilePath, Shown)> {
        let copies = self.copies.iter().map(|(name, _)| name).filter(|name| !self.live.contains(*name));
        let mut paths: Vec<&FilePath> = self.live.iter().chain(copies).collect();
        paths.sort();
        paths.into_iter().filter_map(|path| Some((path.clone(), self.shown(path)?)))
    }

    /// What this disk was last seen to hold there.
    pub(super) fn known(&self, path: &FilePath) -> Option<&Known> {
        self.slot(path)?.known.as_ref()
    }

    /// Whether something else may have been in the file at this path than is known: it was to be replaced, and perhaps it was, just before
    /// a crash. Not if what is known is kept for another path and nowhere else on this disk: it was not replaced before it was there.
    pub(super) fn is_doubtful(&self, path: &FilePath) -> bool {
        self.was_to_be_replaced(path) && !self.hangs_on_others(path)
    }

    /// Whether that cannot be told before all other files were looked at: perhaps it is there already.
    pub(super) fn hangs_on_others(&self, path: &FilePath) -> bool {
        let is_kept = |known: &Known| self.missing(&known.root).any(|other| other != path);
        let is_last = |known: &Known| self.is_last(path, &known.root);
        self.was_to_be_replaced(path) && self.known(path).is_some_and(|known| is_kept(known) && is_last(known))
    }

    fn was_to_be_replaced(&self, path: &FilePath) -> bool {
        let Some(Slot { known: Some(known), is_restored: true, is_outdated, .. }) = self.slot(path) else {
            return false;
        };
        *is_outdated || self.shown(path).is_none_or(|shown| shown.content.root != known.root)
    }

    /// All rows have been restored: what was to be replaced then is remembered, since others will have news.
    pub(super) fn restored(&mut self) {
        let outdated: Vec<u64> =
            self.disk.iter().filter(|path| self.was_to_be_replaced(path)).map(FilePath::hash64).collect();
        for slot in outdated {
            self.slots.entry(slot).and_modify(|slot| slot.is_outdated = true);
        }
    }

    /// A file looks as it is known: what a former life knew of it is true.
    pub(super) fn confirm(&mut self, path: &FilePath) {
        if let Some(slot) = self.slots.get_mut(&path.hash64()).filter(|slot| slot.path == *path) {
            slot.is_restored = false;
        }
    }

    /// All paths where a file is known to be on this disk, in order.
    pub(super) fn on_disk(&self) -> impl Iterator<Item = &FilePath> {
        self.disk.iter()
    }

    /// Some file on this disk with these contents, and how it looks.
    pub(super) fn locate(&self, root: &Root) -> Option<(FilePath, Stat)> {
        self.holders(root).next().map(|slot| (slot.path.clone(), slot.known.expect("it holds the root").stat))
    }

    fn holders(&self, root: &Root) -> impl Iterator<Item = &Slot> {
        let rows = self.roots.range((root.short(), 0)..=(root.short(), u64::MAX));
        let slots = rows.filter_map(|(_, path)| self.slots.get(path).map(Box::as_ref));
        slots.filter(|slot| slot.known.is_some_and(|known| known.root == *root))
    }

    /// Paths on this disk with these contents.
    pub(super) fn copies_on_disk(&self, root: &Root) -> impl Iterator<Item = &FilePath> {
        self.holders(root).map(|slot| &slot.path)
    }

    /// Paths that should have these contents on this disk, and have not.
    pub(super) fn missing(&self, root: &Root) -> impl Iterator<Item = &FilePath> {
        let from = (root.short(), self.first_path.clone());
        self.missing.range(from..).take_while(|(short, _)| *short == root.short()).map(|(_, path)| path)
    }

    /// All files that should be here and are not, with their contents.
    #[cfg(test)]
    pub(super) fn all_missing(&self) -> impl Iterator<Item = (&FilePath, FileContent)> {
        self.missing.iter().filter_map(|(_, path)| Some((path, self.shown(path)?.content)))
    }

    /// Notes whether a file is kept: it is planned again when another one with its contents is not missing any more.
    pub(super) fn keep(&mut self, path: &FilePath, root: &Root, is_kept: bool) {
        if is_kept {
            self.kept.insert((root.short(), path.clone()));
        } else {
            self.kept.remove(&(root.short(), path.clone()));
        }
    }

    /// A copy of these contents is set aside.
    pub(super) fn set_aside(&mut self, root: Root) {
        self.asides.insert(root);
    }

    /// Whether a copy of these contents is set aside.
    pub(super) fn is_aside(&self, root: &Root) -> bool {
        self.asides.contains(root)
    }

    /// What was set aside and is missing nowhere any more: it counts as gone.
    pub(super) fn take_needless(&mut self) -> Vec<Root> {
        let is_needless = |root: &&Root| self.missing(root).next().is_none();
        let needless: Vec<Root> = self.asides.iter().filter(is_needless).copied().collect();
        self.asides.retain(|root| !needless.contains(root));
        needless
    }

    /// Has a path planned: something can be done there.
    pub(super) fn plan_soon(&mut self, path: FilePath) {
        self.plans.insert(path);
    }

    /// The digests.
    pub(super) fn digests(&self) -> Digests {
        self.digests
    }

    /// The sums of the index's buckets, [`BUCKETS`] of them.
    pub(super) fn sums(&self) -> Vec<FolderDigest> {
        self.sums.to_vec()
    }

    /// The entries of a bucket: hash of path and hash of entry, sorted.
    pub(super) fn listing(&self, bucket: u8) -> impl Iterator<Item = (u64, u64)> {
        let first = u64::from(bucket) << 56;
        let slots = self.slots.range(first..=first | (u64::MAX >> 8));
        slots.filter(|(_, slot)| slot.entry.is_some()).map(|(path, slot)| (*path, slot.hash))
    }

    /// The hash that [`Index::listing`] has for an entry.
    #[cfg(test)]
    pub(super) fn entry_hash(&self, path: u64) -> Option<u64> {
        self.slots.get(&path).filter(|slot| slot.entry.is_some()).map(|slot| slot.hash)
    }

    /// What is on this disk: hash of path and [`Root::short`], sorted.
    pub(super) fn have_rows(&self) -> impl Iterator<Item = (u64, u64)> {
        self.slots.iter().filter_map(|(path, slot)| Some((*path, slot.known?.root.short())))
    }

    /// How many there are of what.
    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// Everything that changed since it was last asked for. See [`Index::take_news`], [`Index::take_plans`], [`Index::take_rows`].
    pub(super) fn take_changes(&mut self) -> Changes {
        let all = usize::MAX;
        Changes { news: self.take_news(all), plans: self.take_plans(all), rows: self.take_rows(all) }
    }

    /// Whether [`Index::take_changes`] would give something.
    pub(super) fn has_changes(&self) -> bool {
        !self.news.is_empty() || !self.plans.is_empty() || !self.rows.is_empty()
    }

    /// Paths whose entries changed since they were last taken, `limit` at most.
    pub(super) fn take_news(&mut self, limit: usize) -> Vec<FilePath> {
        let mut paths = take(&mut self.news, limit);
        paths.retain(|path| self.entry(path).is_some());
        paths
    }

    /// Whether [`Index::take_news`] would give something.
    #[cfg(test)]
    pub(super) fn has_news(&self) -> bool {
        !self.news.is_empty()
    }

    /// Paths whose file may have to change, `limit` at most, folders before what is in them.
    pub(super) fn take_plans(&mut self, limit: usize) -> Vec<FilePath> {
        take(&mut self.plans, limit)
    }

    /// Has a path planned again: its order failed, say.
    #[cfg(test)]
    pub(super) fn plan_again(&mut self, path: &FilePath) {
        self.plans.insert(path.clone());
    }

    /// Rows that the index on disk lacks, `limit` at most. If they do not get there, see [`Index::not_saved`].
    pub(super) fn take_rows(&mut self, limit: usize) -> Vec<Row> {
        take(&mut self.rows, limit).iter().map(|path| self.row(path)).collect()
    }

    /// Whether [`Index::take_rows`] would give something.
    #[cfg(test)]
    pub(super) fn has_rows(&self) -> bool {
        !self.rows.is_empty()
    }

    /// Rows that did not get to the disk are to be taken again.
    #[cfg(test)]
    pub(super) fn not_saved(&mut self, rows: &[Row]) {
        self.rows.extend(rows.iter().filter_map(|row| row.key.parse().ok()));
    }

    /// Forgets deletions older than [`Config::tombstone_life`]; says how many. Nodes do so at different times, and until the last
    /// one has, their indexes differ by it; who has forgotten does not take it in again.
    pub(super) fn expire(&mut self, wall: u64) -> usize {
        let slots = self.slots.values().map(Box::as_ref).filter(|slot| slot.known.is_none());
        let is_old = |slot: &&Slot| slot.entry.as_ref().is_some_and(|entry| self.is_forgotten(entry, wall));
        let old: Vec<FilePath> = slots.filter(is_old).map(|slot| slot.path.clone()).collect();
        for path in &old {
            self.put(path, |slot| slot.entry = None);
            self.news.remove(path);
        }
        old.len()
    }

    fn is_forgotten(&self, entry: &Entry, wall: u64) -> bool {
        version::deleted_at(entry).is_some_and(|at| at.saturating_add(self.tombstone_life) < wall)
    }

    /// The name of the next write of this node.
    pub(super) fn next_write(&mut self) -> (Author, u64) {
        self.writes += 1;
        (self.me.clone(), self.writes)
    }

    /// The conflict copies.
    pub(super) fn copies(&self) -> &Copies {
        &self.copies
    }

    /// Whether other files are in a folder of this name.
    pub(super) fn is_folder(&self, path: &FilePath) -> bool {
        beneath(&self.live, path).next().is_some()
    }

    /// The first file on this disk in a folder of this name.
    pub(super) fn first_on_disk_beneath(&self, path: &FilePath) -> Option<&FilePath> {
        beneath(&self.disk, path).next()
    }

    /// The paths above this one, the longest last.
    pub(super) fn above(path: &FilePath) -> impl Iterator<Item = FilePath> {
        let text = path.as_str();
        text.match_indices('/').map(|(slash, _)| text[..slash].parse().expect("the beginning of a path is one"))
    }

    /// Whether no other path has its place.
    fn is_own_slot(&self, path: &FilePath) -> bool {
        self.slots.get(&path.hash64()).is_none_or(|slot| slot.path == *path)
    }

    fn slot(&self, path: &FilePath) -> Option<&Slot> {
        self.slots.get(&path.hash64()).map(Box::as_ref).filter(|slot| slot.path == *path)
    }

    fn row(&self, path: &FilePath) -> Row {
        let slot = self.slot(path);
        let encode = |slot: &Slot| postcard::to_allocvec(&(&slot.entry, &slot.known)).expect("a row can be encoded");
        Row { key: path.as_str().into(), value: slot.map(encode) }
    }
}

impl From<&Copy> for Shown {
    fn from(copy: &Copy) -> Self {
        Self { content: copy.content, copy_of: Some(copy.of.clone()) }
    }
}

/// The paths of a set that are in a folder of this name.
fn beneath<'a>(set: &'a BTreeSet<FilePath>, path: &FilePath) -> impl Iterator<Item = &'a FilePath> {
    let start = format!("{path}/");
    set.range::<str, _>((std::ops::Bound::Excluded(start.as_str()), std::ops::Bound::Unbounded))
        .take_while(move |other| other.as_str().starts_with(&start))
}

/// Takes the first of a set, `limit` at most.
fn take(set: &mut BTreeSet<FilePath>, limit: usize) -> Vec<FilePath> {
    if set.len() <= limit {
        return std::mem::take(set).into_iter().collect();
    }
    std::iter::from_fn(|| set.pop_first()).take(limit).collect()
}

#[cfg(test)]
mod tests;
