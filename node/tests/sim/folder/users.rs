//! Who edits what by hand, and what they saw when they did: the judge's own books.
//!
//! Contents are told apart by their hash; every write makes new ones. Contents may vanish once somebody overwrote or deleted them
//! under a name that showed them: that user saw them go. Everything else that was ever written has to be somewhere in the end,
//! and at no time may the engine take the last copy of it.

use std::collections::{BTreeMap, BTreeSet};

use p2pnet_node::folder::{Answer, Request};
use p2pnet_shared::{FilePath, wire::folder::Root};
use rand::{Rng, RngExt, seq::IndexedRandom};

use super::{
    disk::{File, Health},
    world::{Id, World},
};

/// A file's content is large enough to be cut into chunks once in so many writes.
const LARGE_ONE_IN: f64 = 0.04;

/// The books.
#[derive(Debug, Default)]
pub(super) struct Users {
    /// Contents that have to be somewhere in the end, and where they were written.
    pub(super) written: BTreeMap<Root, FilePath>,
    /// Contents that somebody saw and replaced.
    pub(super) replaced: BTreeSet<Root>,
    /// Paths with one writer, and what it last did there: its contents, or a deletion.
    pub(super) owned: BTreeMap<FilePath, (Id, Option<Root>)>,
    /// Uploads that were asked for and not answered yet.
    uploads: BTreeMap<(Id, u64), (FilePath, Root)>,
    /// Contents the engine took the last copy of.
    pub(super) lost: Vec<String>,
    /// How many there were: edits, deletions, uploads.
    pub(super) edits: u64,
    pub(super) deletions: u64,
    pub(super) acknowledged: u64,
    /// Every disk's files, counted by contents.
    copies: BTreeMap<Root, u32>,
    upload_numbers: u64,
}

impl Users {
    fn count(&mut self, root: Option<Root>, up: bool) -> u32 {
        let Some(root) = root else { return 0 };
        let copies = self.copies.entry(root).or_insert(0);
        *copies = if up { *copies + 1 } else { copies.saturating_sub(1) };
        *copies
    }

    /// Whether contents may be gone.
    pub(super) fn may_vanish(&self, root: &Root) -> bool {
        self.replaced.contains(root) || !self.written.contains_key(root)
    }

    /// The engine put, replaced or removed something.
    pub(super) fn engine_changed(&mut self, at: Id, path: &FilePath, before: Option<&File>, after: Option<&File>) {
        let (before, after) = (before.map(File::root), after.map(File::root));
        if before != after {
            self.count(after, true);
            self.engine_took(at, path, before);
        }
    }

    /// The engine set a copy aside, or forgot one: as good as any other.
    pub(super) fn engine_set_aside(&mut self, at: Id, root: Root, is_there: bool) {
        if is_there {
            self.count(Some(root), true);
        } else {
            let path = self.written.get(&root).cloned();
            path.iter().for_each(|path| self.engine_took(at, path, Some(root)));
        }
    }

    fn engine_took(&mut self, at: Id, path: &FilePath, root: Option<Root>) {
        if let Some(root) = root
            && self.count(Some(root), false) == 0
            && !self.may_vanish(&root)
        {
            self.lost.push(format!(
                "node {at} took the last copy of {root:?} from {path} (written as {})",
                self.written[&root]
            ));
        }
    }

    /// Uploads it had not answered may or may not have happened.
    pub(super) fn crashed(&mut self, at: Id) {
        self.uploads.retain(|(node, _), _| *node != at);
    }
}

impl World {
    pub(super) fn contents(&mut self) -> Vec<u8> {
        let large = self.rng.random_bool(LARGE_ONE_IN);
        let bytes = if large { self.rng.random_range(260_000..700_000) } else { self.rng.random_range(0..900) };
        let mut contents = vec![0; bytes + 16];
        self.rng.fill_bytes(&mut contents);
        contents
    }

    /// Whether somebody can work in this folder now. Nobody does so while its index is lost and its node down: what is replaced then
    /// may be known to others as a version whose contents nobody has any more, and nobody could tell.
    fn is_usable(&self, at: Id) -> bool {
        self.nodes[at].disk.health == Health::Good
            && (self.is_up(at) || self.nodes[at].disk.is_marked || self.now() == 0)
    }

    /// Somebody saves a file there, whether or not the node runs.
    pub(super) fn edit(&mut self, at: Id, path: &FilePath, contents: Vec<u8>) {
        if !self.is_usable(at) {
            return;
        }
        let (wall_ns, root) = (self.wall_ns(at), Root::of(&contents));
        self.tell(|| format!("user {at} saves {path} {root:?}, {} bytes", contents.len()));
        let before: Vec<(FilePath, Root)> = self.listing(at);
        // Files come from archives, too: their times are of any day.
        let mtime_ns = if self.rng.random_bool(0.1) { wall_ns - 86_400_000_000_000 } else { wall_ns };
        self.nodes[at].disk.put(path, contents, mtime_ns, wall_ns);
        let after: BTreeSet<(FilePath, Root)> = self.listing(at).into_iter().collect();
        let users = &mut self.users;
        users.edits += 1;
        users.written.insert(root, path.clone());
        users.count(Some(root), true);
        for (gone, seen) in before.into_iter().filter(|file| !after.contains(file)) {
            users.replaced.insert(seen);
            users.count(Some(seen), false);
            users.note_owned(at, &gone, None);
        }
        users.note_owned(at, path, Some(root));
        self.notice(at, path);
    }

    /// Somebody deletes a file there.
    pub(super) fn delete(&mut self, at: Id, path: &FilePath) {
        if !self.is_usable(at) {
            return;
        }
        let Some(file) = self.nodes[at].disk.files.remove(path) else { return };
        self.tell(|| format!("user {at} deletes {path} {:?}", file.root()));
        let users = &mut self.users;
        users.deletions += 1;
        users.replaced.insert(file.root());
        users.count(Some(file.root()), false);
        users.note_owned(at, path, None);
        self.notice(at, path);
    }

    /// Somebody uploads a file over HTTP.
    pub(super) fn upload(&mut self, at: Id, path: &FilePath, contents: Vec<u8>) {
        if !self.is_usable(at) || !self.is_up(at) {
            return;
        }
        let (root, size) = (Root::of(&contents), contents.len() as u64);
        self.tell(|| format!("user {at} uploads {path} {root:?}"));
        self.users.upload_numbers += 1;
        let upload = self.users.upload_numbers;
        self.nodes[at].disk.receive(upload, contents);
        // Whether or not it is acknowledged, what its node shows there may be replaced by it; and it may show what others have.
        for node in &self.nodes {
            if let Some(file) = node.disk.files.get(path) {
                self.users.replaced.insert(file.root());
            }
        }
        let asked = self.ask(at, Request::Upload { path: path.clone(), upload, root, size });
        self.users.uploads.insert((at, asked), (path.clone(), root));
    }

    /// Takes note of uploads that were answered meanwhile.
    pub(super) fn hear_answers(&mut self) {
        let open: Vec<_> = self.users.uploads.keys().copied().collect();
        for key in open {
            let Some(answer) = self.answers.get(&key) else { continue };
            let Some((path, root)) = self.users.uploads.remove(&key) else { continue };
            if matches!(answer, Answer::Uploaded { .. }) {
                self.users.acknowledged += 1;
                self.users.written.insert(root, path);
            }
        }
    }

    /// Whether other disks have everything that this one has.
    pub(super) fn is_elsewhere(&self, at: Id) -> bool {
        let others: BTreeSet<Root> = (0..self.nodes.len())
            .filter(|other| *other != at)
            .flat_map(|other| self.nodes[other].disk.roots())
            .collect();
        let disk = &self.nodes[at].disk;
        disk.roots().iter().chain(disk.asides.keys()).all(|root| others.contains(root))
    }

    /// A folder is emptied while its node does not run.
    pub(super) fn destroy(&mut self, at: Id) {
        assert!(!self.is_up(at));
        for (_, root) in self.listing(at) {
            self.users.count(Some(root), false);
        }
        let disk = &mut self.nodes[at].disk;
        for root in std::mem::take(&mut disk.asides).into_keys() {
            self.users.count(Some(root), false);
        }
        disk.files.clear();
        disk.rows.clear();
        disk.is_marked = false;
    }

    /// An index is lost while its node does not run: from here on nobody knows what this folder's user had seen.
    pub(super) fn forget(&mut self, at: Id) {
        assert!(!self.is_up(at));
        self.nodes[at].disk.rows.clear();
        self.nodes[at].disk.is_marked = false;
        self.users.owned.retain(|_, (owner, _)| *owner != at);
    }

    fn listing(&self, at: Id) -> Vec<(FilePath, Root)> {
        self.nodes[at].disk.files.iter().map(|(path, file)| (path.clone(), file.root())).collect()
    }

    /// Somebody does something somewhere.
    pub(super) fn something(&mut self, paths: &[FilePath]) {
        let at = self.rng.random_range(0..self.nodes.len());
        let seen: Vec<FilePath> = self.nodes[at].disk.files.keys().cloned().collect();
        let any = if self.rng.random_bool(0.5) { seen.choose(&mut self.rng) } else { paths.choose(&mut self.rng) };
        let Some(path) = any.cloned() else { return };
        if self.users.owned.get(&path).is_some_and(|(owner, _)| *owner != at) {
            return;
        }
        match self.rng.random_range(0..10) {
            0..6 => {
                let contents = self.contents();
                self.edit(at, &path, contents);
            }
            6 | 7 => self.delete(at, &path),
            8 if !self.users.owned.contains_key(&path) => {
                let contents = self.contents();
                self.upload(at, &path, contents);
            }
            _ => {
                // Moved elsewhere, as `mv` does.
                let Some(to) = paths.choose(&mut self.rng).cloned() else { return };
                let moved = self.nodes[at].disk.files.get(&path).map(|file| file.contents.to_vec());
                let is_free = !self.nodes[at].disk.files.contains_key(&to) && !self.users.owned.contains_key(&to);
                if let Some(contents) = moved.filter(|_| is_free && self.is_usable(at)) {
                    self.delete(at, &path);
                    self.users.replaced.remove(&Root::of(&contents));
                    self.edit(at, &to, contents);
                }
            }
        }
    }
}

impl Users {
    fn note_owned(&mut self, at: Id, path: &FilePath, root: Option<Root>) {
        if let Some((owner, last)) = self.owned.get_mut(path)
            && *owner == at
        {
            *last = root;
        }
    }
}
