//! What the disk must do next at a path: a pure function of what is known to be there, what should be there, and the rest of the
//! index.
//!
//! Source: Dropbox Nucleus (2020): what is stored are observations, and work is derived from them, so nothing is left over
//! from a plan that events overtook.
//!
//! An action names how the file looked that it replaces, and the disk does nothing if it looks otherwise; so what nobody has looked
//! at is never replaced. Besides the order that a file system demands (a file goes before a folder of its name comes, and the other way
//! round), contents that should be elsewhere on this disk are kept where they are until they are there: a rename needs no network, and a
//! last copy is not removed. That other files are known to hold them does not count: their user may just have moved them here.
//!
//! Files may wait for each other in a circle: two that swapped their names, or a file that is to be in a folder of its own name. One of
//! them goes first, rather one whose contents this disk has elsewhere too; one that is the last is set aside before:
//!
//! ```text
//!   a: 1 (2)   b: 2 (1)     a aside ──▶ a: 2   b: 2 (1)     aside: 1 ──▶ a: 2   b: 1     in brackets what should be there
//! ```
//! Who waits is planned again when the contents have come where they are missing, or a copy of them went; and whoever finds that another
//! one could go has that one planned, since what it waited for may be so no more.

use std::collections::BTreeSet;

use p2pnet_shared::{
    FilePath,
    wire::folder::{FileContent, Root},
};

use super::{
    Stat,
    index::{Index, Known},
};

/// Files that wait for each other are followed this far, to see whether it is a circle; of longer ones it is assumed.
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
    /// Keep a copy of the file aside, and then plan it again.
    SetAside {
        /// How it looks.
        over: Stat,
    },
}

/// Whether a file has to stay until its contents are elsewhere.
#[derive(Debug, PartialEq, Eq)]
enum Kept {
    /// It may go.
    No,
    /// It waits for the other path, at the end of which something can be done.
    For(FilePath),
    /// It waits for this one, which goes first of those that wait for each other.
    Behind(FilePath),
    /// It goes first, and its contents would be gone with it.
    Last,
}

impl Index {
    /// What the disk must do next at a path.
    pub(super) fn plan(&mut self, path: &FilePath) -> Action {
        let (action, first) = self.next(path);
        if let Some(root) = self.known(path).map(|known| known.root) {
            self.keep(path, &root, matches!(action, Action::After(_)));
        }
        if let Some(ready) = first.and_then(|first| self.ready_ahead(first)) {
            self.plan_soon(ready);
        }
        action
    }

    /// Whether nothing can be done at a path before something is done elsewhere, or set aside.
    pub(super) fn must_wait(&self, path: &FilePath) -> bool {
        matches!(self.next(path).0, Action::After(_) | Action::SetAside { .. })
    }

    /// Whether it is at a path as it should be.
    pub(super) fn is_as_it_should_be(&self, path: &FilePath) -> bool {
        self.next(path).0 == Action::Nothing
    }

    /// Beginning with a path that others wait for: one where something can be done.
    fn ready_ahead(&self, mut path: FilePath) -> Option<FilePath> {
        for _ in 0..CIRCLE_MAX {
            match self.next(&path) {
                (Action::Nothing, _) => return None,
                (Action::After(other), first) => path = first.unwrap_or(other),
                _ => return Some(path),
            }
        }
        None
    }

    /// What must be done next at a path; and for whom it waits, if that one may wait for nothing any more.
    fn next(&self, path: &FilePath) -> (Action, Option<FilePath>) {
        let known = self.known(path).copied();
        let when_free = |known: Option<Known>, action: Action| match known.map(|known| (self.kept(path, &known), known))
        {
            None | Some((Kept::No, _)) => (action, None),
            Some((Kept::For(other), _)) => (Action::After(other), None),
            Some((Kept::Behind(first), _)) => (Action::After(first.clone()), Some(first)),
            Some((Kept::Last, known)) => (Action::SetAside { over: known.stat }, None),
        };
        let Some(shown) = self.shown(path) else {
            let remove = known.map_or(Action::Nothing, |known| Action::Remove { over: known.stat });
            return when_free(known, remove);
        };
        let content = shown.content;
        match known {
            Some(known) if known.root == content.root => {
                let is_same = (known.mtime_ns, known.executable) == (content.mtime_ns, content.executable);
                if is_same || shown.copy_of.is_some() {
                    return (Action::Nothing, None);
                }
                let FileContent { mtime_ns, executable, .. } = content;
                (Action::Touch { over: known.stat, mtime_ns, executable }, None)
            }
            _ => match self.in_the_way(path) {
                Some(other) => (Action::After(other.clone()), Some(other)),
                None => when_free(known, Action::Get { content, over: known.map(|known| known.stat) }),
            },
        }
    }

    /// A file that must go first: a folder of this path, or something in a folder of its name.
    fn in_the_way(&self, path: &FilePath) -> Option<FilePath> {
        let above = Self::above(path).find(|above| self.known(above).is_some());
        above.or_else(|| self.first_on_disk_beneath(path).cloned())
    }

    /// Whether the file here is kept for another path: its contents should be there, and are not. There is no need to keep nothing.
    fn kept(&self, path: &FilePath, known: &Known) -> Kept {
        let Some(waits_for) = self.needed_at(path, &known.root).filter(|_| known.stat.size > 0) else {
            return Kept::No;
        };
        let mut circle = BTreeSet::from([path.clone()]);
        let mut next = waits_for.clone();
        let mut first = (self.is_last(path, &known.root), path.clone());
        // Longer than this it is taken for a circle. If it is none, one more is set aside than has to be.
        for _ in 0..CIRCLE_MAX {
            if next == *path {
                break;
            }
            if !circle.insert(next.clone()) {
                // It leads into a circle: there somebody goes first.
                return Kept::For(waits_for);
            }
            next = match self.in_the_way(&next) {
                Some(other) => other,
                None => {
                    let Some(known) = self.known(&next) else { return Kept::For(waits_for) };
                    first = first.min((self.is_last(&next, &known.root), next.clone()));
                    let Some(other) = self.needed_at(&next, &known.root) else { return Kept::For(waits_for) };
                    other
                }
            };
        }
        match first {
            (_, first) if first != *path => Kept::Behind(first),
            (true, _) => Kept::Last,
            (false, _) => Kept::No,
        }
    }

    /// Another path that should have these contents and is known to have them, unless there are very many with them.
    pub(super) fn in_place(&self, path: &FilePath, root: &Root) -> Option<FilePath> {
        let mut others = self.copies_on_disk(root).filter(|other| *other != path).take(LOOKED_MAX);
        let is_shown = |other: &&FilePath| self.shown(other).is_some_and(|shown| shown.content.root == *root);
        others.find(is_shown).cloned()
    }

    /// Whether no other file on this disk is known to have the contents of this one, and none is set aside.
    pub(super) fn is_last(&self, path: &FilePath, root: &Root) -> bool {
        !self.is_aside(root) && !self.copies_on_disk(root).any(|other| other != path)
    }

    /// Another path that should have these contents and has not; rather one where they can be placed at once.
    fn needed_at(&self, path: &FilePath, root: &Root) -> Option<FilePath> {
        let is_needed = |other: &&FilePath| self.shown(other).is_some_and(|shown| shown.content.root == *root);
        let is_free = |other: &&FilePath| self.known(other).is_none() && self.in_the_way(other).is_none();
        let needed = || self.missing(root).filter(|other| *other != path).filter(is_needed);
        needed().find(is_free).or_else(|| needed().next()).cloned()
    }
}
