//! Uploads that were acknowledged to users, and whether what was promised is still there.
//!
//! ```text
//! Uploaded (path, root) ──add────▶ ┐
//! Changed (path, root)  ──changed─▶ ├─▶ judge: held by so many live nodes │ only by paused ones │ lost │ replaced
//! a holder gives it up ──given_up─▶ ┘
//! ```
//! An upload *stands* until it is replaced or deleted by somebody who had seen it. Whether that was so cannot be told from
//! hashes alone, so what is taken for it is: a live node has something at the path that nobody had there when the upload
//! was acknowledged, or a user changed the path afterwards, or a live node that had it says that it has nothing there now.
//! The end of a node is none of these: when all who have an upload are down it is lost, until one of them is back. A guess
//! about the past never hides a live copy, since contents that any live node has, under any name, are held.
//!
//! The newest [`UPLOADS_MAX`] are followed.

use std::collections::{BTreeMap, VecDeque};

use p2pnet_shared::{FilePath, UnixMillis, wire::folder::Root};

use super::{GivenUp, Holdings};

/// Uploads followed at most; the oldest is forgotten for a new one. About 200 bytes each.
pub(crate) const UPLOADS_MAX: usize = 1 << 14;
/// The newest changes of users remembered: word of an upload may come after word of what replaced it, from another node.
const CHANGES_MAX: usize = 1 << 12;
/// What a path held before an upload, remembered at most.
const BEFORE_MAX: usize = 8;

/// One acknowledged upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Upload {
    /// Where.
    pub(crate) path: FilePath,
    /// Of which contents.
    pub(crate) root: Root,
    /// Nodes that had it on disk when it was acknowledged.
    pub(crate) holders: u32,
    /// When.
    pub(crate) at: UnixMillis,
    /// The slot of the node that acknowledged it.
    pub(crate) by: usize,
    /// What the path held besides at that time; `None` while that is not known.
    before: Option<Vec<u64>>,
    /// Somebody changed the path since, or gave it up.
    moved_on: bool,
    /// Which history told it.
    generation: u64,
}

/// What has become of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// So many live nodes have its contents.
    Held(u32),
    /// Only paused nodes have them.
    Waits,
    /// Nobody who is live or paused has them.
    Lost,
    /// It was replaced or deleted.
    Replaced,
}

/// All of them, by path and contents.
#[derive(Debug, Clone, Default)]
pub(crate) struct Uploads {
    all: BTreeMap<(u64, u64), Upload>,
    generation: u64,
    /// What users changed lately: path, contents, when.
    changes: VecDeque<(u64, Option<u64>, UnixMillis)>,
}

impl Uploads {
    /// An upload was acknowledged. `is_news`: just now; otherwise it is history, and what the path held before is what is
    /// there at its end ([`Uploads::caught_up`]).
    pub(crate) fn add(
        &mut self,
        holdings: &Holdings,
        upload: (FilePath, Root, u32),
        at: UnixMillis,
        by: usize,
        is_news: bool,
    ) {
        let (path, root, holders) = upload;
        let key = (path.hash64(), root.short());
        self.changed(key.0, Some(key.1), at);
        let later =
            |(path, root, when): &(u64, Option<u64>, UnixMillis)| *path == key.0 && *root != Some(key.1) && *when >= at;
        let moved_on = self.changes.iter().any(later);
        let before = is_news.then(|| before(holdings, key));
        let generation = self.generation;
        self.all.insert(key, Upload { path, root, holders, at, by, before, moved_on, generation });
        if self.all.len() > UPLOADS_MAX {
            self.sweep(holdings);
        }
        if self.all.len() > UPLOADS_MAX {
            let oldest = self.all.iter().min_by_key(|(_, upload)| upload.at).map(|(key, _)| *key);
            oldest.and_then(|key| self.all.remove(&key));
        }
    }

    /// A user changed a path at `at`: whatever else stood there before was seen and replaced.
    pub(crate) fn changed(&mut self, path: u64, root: Option<u64>, at: UnixMillis) {
        for ((_, held), upload) in self.at(path) {
            upload.moved_on |= root != Some(held) && upload.at <= at;
        }
        if self.changes.len() == CHANGES_MAX {
            self.changes.pop_front();
        }
        self.changes.push_back((path, root, at));
    }

    /// A live node has something else at a path, or nothing.
    pub(crate) fn given_up(&mut self, gone: GivenUp) {
        for ((_, held), upload) in self.at(gone.path) {
            upload.moved_on |= gone.root == held && gone.now.is_none();
        }
    }

    /// A history begins, which tells of everything that stands.
    pub(crate) fn begin_history(&mut self) {
        self.generation += 1;
    }

    /// A history is over: what it did not tell of stands no more, and what is at a path was there before.
    pub(crate) fn caught_up(&mut self, holdings: &Holdings) {
        let generation = self.generation;
        self.all.retain(|_, upload| upload.generation == generation);
        for (key, upload) in &mut self.all {
            upload.before.get_or_insert_with(|| before(holdings, *key));
        }
    }

    /// Forgets those that were replaced.
    pub(crate) fn sweep(&mut self, holdings: &Holdings) {
        self.all.retain(|key, upload| upload.fate(*key, holdings) != Fate::Replaced);
    }

    /// Each with what has become of it.
    pub(crate) fn judged<'a>(&'a self, holdings: &'a Holdings) -> impl Iterator<Item = (&'a Upload, Fate)> {
        self.all.iter().map(|(key, upload)| (upload, upload.fate(*key, holdings)))
    }

    /// Those that a node acknowledged and that stand, oldest first.
    pub(crate) fn standing(&self, holdings: &Holdings, by: usize) -> Vec<&Upload> {
        let mine = self.all.iter().filter(|(_, upload)| upload.by == by);
        let standing = mine.filter(|(key, upload)| upload.fate(**key, holdings) != Fate::Replaced);
        let mut standing: Vec<&Upload> = standing.map(|(_, upload)| upload).collect();
        standing.sort_by_key(|upload| upload.at);
        standing
    }

    /// How many are followed.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    fn at(&mut self, path: u64) -> impl Iterator<Item = ((u64, u64), &mut Upload)> {
        self.all.range_mut((path, 0)..=(path, u64::MAX)).map(|(key, upload)| (*key, upload))
    }
}

/// What a path holds beside one version.
fn before(holdings: &Holdings, (path, root): (u64, u64)) -> Vec<u64> {
    holdings.at(path).map(|(held, _)| held).filter(|held| *held != root).take(BEFORE_MAX).collect()
}

impl Upload {
    fn fate(&self, (path, root): (u64, u64), holdings: &Holdings) -> Fate {
        match holdings.live_with(root) {
            0 => {}
            live => return Fate::Held(live),
        }
        let is_new = |held: u64| self.before.as_ref().is_some_and(|before| !before.contains(&held));
        if self.moved_on || holdings.at(path).any(|(held, live)| live > 0 && held != root && is_new(held)) {
            return Fate::Replaced;
        }
        if holdings.holders_of(root).paused.is_empty() { Fate::Lost } else { Fate::Waits }
    }
}
