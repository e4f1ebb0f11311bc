//! One change of the index, and all that follows from it: what is shown, digests, counts, and what is to be done about it.
//!
//! ```text
//!  set_entry ─▶ put ─▶ slot, live, index digest ─▶ render: copies ─▶ tally: want digest, counts, missing, plans
//!  set_known ────────▶ slot, have digest, counts, missing, plans
//! ```
//! Of every path whose file may change it is noted what was shown before; names of copies are told by
//! [`render::Copies::settle`]. So the work is that of what changed, whatever the index holds.

use std::collections::BTreeMap;

use p2pnet_shared::{
    FilePath,
    wire::folder::{Dot, Entry, FolderDigest, Root},
};

use super::{Index, Known, Shown, Slot, beneath};
use crate::folder::{
    render::{self, Taken, Wish},
    version,
};

/// Names of authors that are held once, whatever entries name them; of more each entry has its own.
const NAMES_MAX: usize = 4_096;

impl Index {
    /// Puts an entry in place of what was known of its path, and brings everything up to date with it.
    pub(in crate::folder) fn set_entry(&mut self, entry: Entry) {
        let path = entry.path.clone();
        let entry = self.compact(entry);
        self.put(&path, |slot| slot.entry = Some(Entry { path: slot.path.clone(), ..entry }));
        self.news.insert(path);
    }

    /// The same entry without room to grow, and with one copy of each author's name for the whole index.
    fn compact(&mut self, mut entry: Entry) -> Entry {
        let siblings = entry.siblings.iter_mut().filter_map(|sibling| match &mut sibling.dot {
            Dot::Written(author, _) => Some(author),
            Dot::Found(_) => None,
        });
        for author in entry.context.written.iter_mut().map(|(author, _)| author).chain(siblings) {
            match self.names.get(&author.node) {
                Some(name) => author.node = name.clone(),
                None if self.names.len() < NAMES_MAX => {
                    self.names.insert(author.node.clone());
                }
                None => {}
            }
        }
        entry.siblings.shrink_to_fit();
        entry.context.written.shrink_to_fit();
        entry.context.found.shrink_to_fit();
        entry
    }

    /// Changes what a slot says of its path, and brings everything up to date with it.
    pub(super) fn put(&mut self, path: &FilePath, change: impl FnOnce(&mut Slot)) {
        let was_live = self.live.contains(path);
        let mut watched = vec![(path.clone(), self.shown(path))];
        let key = path.hash64();
        let slot = self.slots.entry(key).or_insert_with(|| Slot::empty(path));
        let sum = &mut self.sums[usize::from(key.to_be_bytes()[0])];
        let old = (slot.entry.is_some(), slot.digest);
        change(slot);
        slot.digest = slot.entry.as_ref().map(version::hash).unwrap_or_default();
        slot.hash = u64::try_from(slot.digest.0 >> 64).expect("half of the bits");
        let new = (slot.entry.is_some(), slot.digest);
        let live = slot.entry.as_ref().is_some_and(|entry| version::live(entry).next().is_some());
        let path = slot.path.clone();
        for digest in [sum, &mut self.digests.index] {
            digest.0 = digest.0.wrapping_sub(old.1.0).wrapping_add(new.1.0);
        }
        let count =
            |number: &mut u64, before: bool, after: bool| *number = *number + u64::from(after) - u64::from(before);
        count(&mut self.counts.entries, old.0, new.0);
        count(&mut self.counts.tombstones, old.0 && !was_live, new.0 && !live);
        if was_live != live {
            let concerned = |above: &FilePath| self.live.contains(above) || self.copies.concerns(above);
            let above: Vec<FilePath> = Self::above(&path).filter(concerned).collect();
            watched.extend(above.into_iter().map(|above| (above.clone(), self.shown(&above))));
            if live {
                self.live.insert(path.clone())
            } else {
                self.live.remove(&path)
            };
        }
        self.render(watched);
        self.rows.insert(path.clone());
        self.drop_empty(&path);
    }

    /// Brings what is shown up to date, where the plain file or folder of these paths may have changed. With each what was shown.
    fn render(&mut self, watched: Vec<(FilePath, Option<Shown>)>) {
        let mut fresh = BTreeMap::new();
        for (path, _) in &watched {
            let wishes = self.wishes(path);
            if !wishes.is_empty() || !self.copies.of(path).is_empty() {
                fresh.insert(path.clone(), wishes);
            }
        }
        let names: Vec<FilePath> =
            watched.iter().map(|(path, _)| path).filter(|path| self.copies.concerns(path)).cloned().collect();
        if !fresh.is_empty() || !names.is_empty() {
            let mut copies = std::mem::take(&mut self.copies);
            let moves = copies.settle(fresh, &names, |name| self.taken(name));
            self.copies = copies;
            for (name, (before, after)) in moves {
                if !watched.iter().any(|(path, _)| *path == name) {
                    self.tally(&name, before.as_ref().map(Into::into), after.as_ref().map(Into::into));
                }
            }
        }
        for (path, before) in watched {
            let after = self.shown(&path);
            self.tally(&path, before, after);
        }
    }

    /// The versions of a path that are to be shown under other names.
    fn wishes(&self, path: &FilePath) -> Vec<Wish> {
        let Some(entry) = self.entry(path).filter(|entry| entry.siblings.len() > 1 || self.is_folder(path)) else {
            return Vec::new();
        };
        let under_own_name = usize::from(!self.is_folder(path));
        let others = render::versions(entry).into_iter().skip(under_own_name).take(self.copies_shown);
        others.map(|(sibling, content)| Wish::new(sibling, content)).collect()
    }

    fn taken(&self, name: &FilePath) -> Taken {
        if self.is_folder(name) {
            return Taken::Folder;
        }
        let winner = self.live.contains(name).then(|| self.entry(name).and_then(render::winner)).flatten();
        winner.map_or(Taken::Free, |file| Taken::File(file.root))
    }

    /// Something else than before is shown at a path.
    fn tally(&mut self, path: &FilePath, before: Option<Shown>, after: Option<Shown>) {
        if before == after {
            return;
        }
        let known = self.known(path).map(|known| known.root);
        for (shown, is_new) in [(before, false), (after, true)] {
            let Some(Shown { content, copy_of }) = shown else { continue };
            let add = |number: &mut u64, many: u64| {
                *number = if is_new { number.wrapping_add(many) } else { number.wrapping_sub(many) };
            };
            add(&mut self.counts.files, 1);
            add(&mut self.counts.bytes, content.size);
            add(&mut self.counts.conflicts, u64::from(copy_of.is_some()));
            sum(&mut self.digests.want, path, &content.root, is_new);
            if known == Some(content.root) {
                add(&mut self.counts.files_here, 1);
                add(&mut self.counts.bytes_here, content.size);
            } else {
                self.set_missing(path, &content.root, is_new);
            }
        }
        self.plans.insert(path.clone());
    }

    /// This disk holds something else at a path than before, or it is known better.
    pub(in crate::folder) fn set_known(&mut self, path: &FilePath, known: Option<Known>) {
        let before = self.known(path).copied();
        if before == known || !self.is_own_slot(path) {
            return;
        }
        let key = path.hash64();
        let slot = self.slots.entry(key).or_insert_with(|| Slot::empty(path));
        slot.known = known;
        slot.is_restored = false;
        let path = slot.path.clone();
        self.rows.insert(path.clone());
        let shown = self.shown(&path).map(|shown| shown.content);
        if before.map(|known| known.root) != known.map(|known| known.root) {
            for (known, is_new) in [(before, false), (known, true)] {
                let Some(Known { root, .. }) = known else { continue };
                sum(&mut self.digests.have, &path, &root, is_new);
                if is_new {
                    self.roots.insert((root.short(), key));
                    // Also if nobody knows yet what it is to be here: of files that wait for each other this one may let others go on.
                    self.plan_kept(&root);
                } else {
                    self.kept.remove(&(root.short(), path.clone()));
                    self.roots.remove(&(root.short(), key));
                    // Of files that wait for each other another one goes first, now that this one is the last.
                    self.plan_kept(&root);
                }
                if let Some(shown) = shown.filter(|shown| shown.root == root) {
                    let add =
                        |number: &mut u64, many: u64| *number = if is_new { *number + many } else { *number - many };
                    add(&mut self.counts.files_here, 1);
                    add(&mut self.counts.bytes_here, shown.size);
                    self.set_missing(&path, &root, !is_new);
                }
            }
        }
        match (before, known) {
            (None, Some(_)) => {
                self.disk.insert(path.clone());
            }
            (Some(_), None) => {
                self.disk.remove(&path);
                // What had to wait for this file to go: folders that have its name, or a file in place of its folder.
                let above: Vec<FilePath> = Self::above(&path).filter(|above| self.shown(above).is_some()).collect();
                let copies = self.copies.iter().map(|(name, _)| name).filter(|name| name.is_beneath(&path));
                let under = beneath(&self.live, &path).chain(copies).cloned();
                self.plans.extend(above.into_iter().chain(under));
            }
            _ => {}
        }
        self.plans.insert(path.clone());
        self.drop_empty(&path);
    }

    /// Notes that a file that should be here is not, or that it is or should not be any more.
    fn set_missing(&mut self, path: &FilePath, root: &Root, is_missing: bool) {
        if is_missing {
            self.missing.insert((root.short(), path.clone()));
        } else {
            self.missing.remove(&(root.short(), path.clone()));
            self.plan_kept(root);
        }
    }

    /// Files with these contents may have been kept until now, for another one to be made from.
    fn plan_kept(&mut self, root: &Root) {
        let kept = self.kept.range((root.short(), self.first_path.clone())..);
        let kept = kept.take_while(|(short, _)| *short == root.short());
        self.plans.extend(kept.map(|(_, path)| path.clone()));
    }

    fn drop_empty(&mut self, path: &FilePath) {
        let key = path.hash64();
        if self.slots.get(&key).is_some_and(|slot| slot.entry.is_none() && slot.known.is_none()) {
            self.slots.remove(&key);
        }
    }
}

/// Adds a path with contents to a digest, or takes it away.
fn sum(digest: &mut FolderDigest, path: &FilePath, root: &Root, is_new: bool) {
    let mut bytes = Vec::with_capacity(path.as_str().len() + root.0.len());
    bytes.extend_from_slice(path.as_str().as_bytes());
    bytes.extend_from_slice(&root.0);
    let hash = u128::from_be_bytes(*Root::of(&bytes).0.first_chunk().expect("there are 32"));
    digest.0 = if is_new { digest.0.wrapping_add(hash) } else { digest.0.wrapping_sub(hash) };
}
