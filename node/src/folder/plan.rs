//! What the disk must do next at a path: a pure function of what is known to be there, what should be there, and the rest of the
//! index.
//!
//! Source: Dropbox Nucleus (2020): what is stored are observations, and work is derived from them, so nothing is left over
//! from a plan that events overtook.
//!
//! An action names how the file looked that it replaces, and the disk does nothing if it looks otherwise; so what nobody has looked
//! at is never replaced. Besides the order that a file system demands (a file goes before a folder of its name comes, and the other way
//! round), contents that should be elsewhere on this disk are kept where they are until they are there: a rename needs no network, and a
//! last copy is not removed. That other files are known to hold them does not count: their user may just have moved them here. Files
//! that wait for each other in a circle (two that swapped their names) do not: one of them goes on, rather one whose contents
//! are known elsewhere, and what it replaced is fetched again.

use std::collections::BTreeSet;

use p2pnet_shared::{
    FilePath,
    wire::folder::{FileContent, Root},
};

use super::{
    Stat,
    index::{Index, Known},
};

/// Files that wait for each other are followed this far, to see whether it is a circle.
const CIRCLE_MAX: usize = 32;
/// So many files with the same contents are seen to, to find one where it should be.
const LOOKED_MAX: usize = 64;

/// What the disk is to do at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// It is as it should be.
    Nothing,
    /// Not before something is done at this other path; that has this one planned again.
    After(FilePath),
    /// Get these contents (from another file here, see [`Index::locate`], or from other nodes) and place them.
    Get {
        /// What.
        content: FileContent,
        /// How the file looks that is replaced; `None`: there is none.
        over: Option<Stat>,
    },
    /// Give the file another time or mode.
    Touch {
        /// How it looks.
        over: Stat,
        /// Its new time, nanoseconds since 1970.
        mtime_ns: i64,
        /// Its new mode.
        executable: bool,
    },
    /// Remove the file.
    Remove {
        /// How it looks.
        over: Stat,
    },
}

impl Index {
    /// What the disk must do next at a path.
    pub(super) fn plan(&mut self, path: &FilePath) -> Action {
        let action = self.next(path);
        if let Some(root) = self.known(path).map(|known| known.root) {
            self.keep(path, &root, matches!(action, Action::After(_)));
        }
        action
    }

    fn next(&self, path: &FilePath) -> Action {
        let known = self.known(path).copied();
        let Some(shown) = self.shown(path) else {
            return known.map_or(Action::Nothing, |Known { stat, root, .. }| {
                self.kept_for(path, &root).map_or(Action::Remove { over: stat }, Action::After)
            });
        };
        let content = shown.content;
        match known {
            Some(known) if known.root == content.root => {
                let is_same = (known.mtime_ns, known.executable) == (content.mtime_ns, content.executable);
                if is_same || shown.copy_of.is_some() {
                    return Action::Nothing;
                }
                Action::Touch { over: known.stat, mtime_ns: content.mtime_ns, executable: content.executable }
            }
            _ => match self.in_the_way(path).or_else(|| self.kept_for(path, &known?.root)) {
                Some(other) => Action::After(other),
                None => Action::Get { content, over: known.map(|known| known.stat) },
            },
        }
    }

    /// A file that must go first: a folder of this path, or something in a folder of its name.
    fn in_the_way(&self, path: &FilePath) -> Option<FilePath> {
        let above = Self::above(path).find(|above| self.known(above).is_some());
        above.or_else(|| self.first_on_disk_beneath(path).cloned())
    }

    /// The path for which the file here is kept: its contents should be there, and are not.
    fn kept_for(&self, path: &FilePath, root: &Root) -> Option<FilePath> {
        let waits_for = self.needed_at(path, root)?;
        let mut circle = BTreeSet::from([path.clone()]);
        let mut next = waits_for.clone();
        // Of a circle only those wait who could go on otherwise: a file system's order cannot be broken.
        let mut first = (self.is_last(path, root), path.clone());
        for _ in 0..CIRCLE_MAX {
            if next == *path {
                return (first.1 != *path).then_some(waits_for);
            }
            if !circle.insert(next.clone()) {
                return Some(waits_for);
            }
            next = match self.in_the_way(&next) {
                Some(other) => other,
                None => {
                    let Some(known) = self.known(&next) else { return Some(waits_for) };
                    first = first.min((self.is_last(&next, &known.root), next.clone()));
                    let Some(other) = self.needed_at(&next, &known.root) else { return Some(waits_for) };
                    other
                }
            };
        }
        Some(waits_for)
    }

    /// Another path that should have these contents and is known to have them, unless there are very many with them.
    pub(super) fn in_place(&self, path: &FilePath, root: &Root) -> Option<FilePath> {
        let mut others = self.copies_on_disk(root).filter(|other| *other != path).take(LOOKED_MAX);
        let is_shown = |other: &&FilePath| self.shown(other).is_some_and(|shown| shown.content.root == *root);
        others.find(is_shown).cloned()
    }

    /// Whether no other file on this disk is known to have the contents of this one.
    fn is_last(&self, path: &FilePath, root: &Root) -> bool {
        !self.copies_on_disk(root).any(|other| other != path)
    }

    /// Another path that should have these contents and has not; rather one where they can be placed at once.
    fn needed_at(&self, path: &FilePath, root: &Root) -> Option<FilePath> {
        let is_needed = |other: &&FilePath| self.shown(other).is_some_and(|shown| shown.content.root == *root);
        let is_free = |other: &&FilePath| self.known(other).is_none() && self.in_the_way(other).is_none();
        let needed = || self.missing(root).filter(|other| *other != path).filter(is_needed);
        needed().find(is_free).or_else(|| needed().next()).cloned()
    }
}
