//! Which file shows which version: names of conflict copies, and who gets a name that several want.
//!
//! A path shows its *winner*: the file with the largest (clock, dot) of those that stand; deletions beside it count for nothing. Equal
//! contents are one version. Every other version is shown as a *copy* beside it, under a name that says whose it is:
//!
//! ```text
//!   report.txt  {b1: 77aa…, a3: 19c0…, found: 5e11…}  ─▶  report.txt                           b1 has the largest clock
//!                                                         report.conflict-node-3-19c04f7a.txt
//!                                                         report.conflict-first-5e110b2c.txt   found: nobody knows who wrote it
//! ```
//! A path that is a folder of other files shows all its versions as copies. A copy's name may be taken: by an ordinary file,
//! by a folder, or by the copy of another path (names are shortened to fit). Then it gets a longer name ([`DIGITS`]). If the
//! ordinary file has the same contents, the copy is shown by it.
//!
//! What always holds: what is shown is a function of the entries alone, whatever order they came in. Names are given out round
//! by round (a longer name only after losing a shorter one), in each to the smallest (path, contents); so names
//! depend on each other only where two want the same one, and [`Copies::settle`] looks again only at those.

use std::collections::{BTreeMap, BTreeSet};

use p2pnet_shared::{
    COMPONENT_MAX_BYTES, FilePath, PATH_MAX_BYTES,
    wire::folder::{Dot, Entry, FileContent, Root, Sibling},
};

use super::version;

/// Hexadecimal digits of the contents in a copy's name, round by round.
const DIGITS: [usize; 3] = [8, 16, 64];
/// Characters of the author's name in it at most.
const AUTHOR_CHARS: usize = 8;
/// Bytes of an extension at most, its dot included; a longer one is part of the name.
const EXTENSION_MAX_BYTES: usize = 32;

/// The versions of a path that are files, of each contents the latest, the winner first.
pub(super) fn versions(entry: &Entry) -> Vec<(&Sibling, FileContent)> {
    let mut all: Vec<(&Sibling, FileContent)> = version::live(entry).map(|(sibling, file)| (sibling, *file)).collect();
    all.sort_by(|(left, _), (right, _)| (right.hlc, &right.dot).cmp(&(left.hlc, &left.dot)));
    let mut roots = BTreeSet::new();
    all.retain(|(_, file)| roots.insert(file.root));
    all
}

/// The version that is shown under the plain name.
pub(super) fn winner(entry: &Entry) -> Option<FileContent> {
    version::live(entry).max_by_key(|(sibling, _)| (sibling.hlc, &sibling.dot)).map(|(_, file)| *file)
}

/// A version that wants to be shown under another name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wish {
    /// What.
    pub(super) content: FileContent,
    /// Its author, as it is told in the name.
    by: String,
    /// The names it asked for. It has the last one if `shown`; the ones before were taken.
    names: Vec<FilePath>,
    shown: bool,
}

impl Wish {
    /// For this version.
    pub(super) fn new(sibling: &Sibling, content: FileContent) -> Self {
        let by = match &sibling.dot {
            Dot::Found(_) => "first".to_owned(),
            Dot::Written(author, _) => author.node.as_str().chars().take(AUTHOR_CHARS).collect(),
        };
        Self { content, by, names: Vec::new(), shown: false }
    }

    /// Where it is shown.
    pub(super) fn name(&self) -> Option<&FilePath> {
        self.names.last().filter(|_| self.shown)
    }
}

/// A copy that is shown as a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Copy {
    /// Of which path.
    pub(super) of: FilePath,
    /// What.
    pub(super) content: FileContent,
}

/// Who has a name already.
pub(super) enum Taken {
    /// Nobody.
    Free,
    /// An ordinary file with these contents.
    File(Root),
    /// It is a folder.
    Folder,
}

/// What was shown under a name as a copy, and what is.
pub(super) type Moves = BTreeMap<FilePath, (Option<Copy>, Option<Copy>)>;

/// All conflict copies.
#[derive(Debug, Default)]
pub(super) struct Copies {
    wishes: BTreeMap<FilePath, Vec<Wish>>,
    /// Which paths asked for a name.
    asked: BTreeMap<FilePath, Vec<FilePath>>,
    shown: BTreeMap<FilePath, Copy>,
}

impl Copies {
    /// The copy under this name.
    pub(super) fn at(&self, name: &FilePath) -> Option<&Copy> {
        self.shown.get(name)
    }

    /// All copies that are shown, by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&FilePath, &Copy)> {
        self.shown.iter()
    }

    /// The other versions of a path.
    pub(super) fn of(&self, path: &FilePath) -> &[Wish] {
        self.wishes.get(path).map_or(&[], Vec::as_slice)
    }

    /// Paths with a version of these contents that is shown under this name, as a copy or by a file with the same contents.
    pub(super) fn origins(&self, name: &FilePath, root: &Root) -> Vec<FilePath> {
        let has =
            |path: &&FilePath| self.of(path).iter().any(|wish| wish.name() == Some(name) && wish.content.root == *root);
        self.asked.get(name).into_iter().flatten().filter(has).cloned().collect()
    }

    /// Whether any path asked for this name, or has other versions itself.
    pub(super) fn concerns(&self, path: &FilePath) -> bool {
        self.asked.contains_key(path) || self.wishes.contains_key(path)
    }

    /// Gives out names anew to the versions of these paths (`fresh`), to those that asked for one of `names`, since who else has
    /// it changed, and to all others that it takes. `taken` says who has a name that is no copy. Gives what changed.
    pub(super) fn settle(
        &mut self,
        mut fresh: BTreeMap<FilePath, Vec<Wish>>,
        names: &[FilePath],
        taken: impl Fn(&FilePath) -> Taken,
    ) -> Moves {
        let mut moves = Moves::new();
        let mut open: BTreeSet<FilePath> = fresh.keys().cloned().collect();
        open.extend(names.iter().filter_map(|name| self.asked.get(name)).flatten().cloned());
        loop {
            self.widen(&mut open);
            self.withdraw(&open, &mut moves);
            for (path, wishes) in std::mem::take(&mut fresh) {
                if wishes.is_empty() {
                    self.wishes.remove(&path)
                } else {
                    self.wishes.insert(path, wishes)
                };
            }
            let more = self.give_out(&open, &taken, &mut moves);
            if more.is_subset(&open) {
                break;
            }
            open.extend(more);
        }
        for (name, (_, after)) in &mut moves {
            *after = self.shown.get(name).cloned();
        }
        moves.retain(|_, (before, after)| before != after);
        moves
    }

    /// Adds everybody who asked for a name that one of these asked for.
    fn widen(&self, open: &mut BTreeSet<FilePath>) {
        let mut ahead: Vec<FilePath> = open.iter().cloned().collect();
        while let Some(path) = ahead.pop() {
            let names = self.of(&path).iter().flat_map(|wish| &wish.names);
            for asker in names.filter_map(|name| self.asked.get(name)).flatten() {
                if open.insert(asker.clone()) {
                    ahead.push(asker.clone());
                }
            }
        }
    }

    /// Takes back all names of these.
    fn withdraw(&mut self, open: &BTreeSet<FilePath>, moves: &mut Moves) {
        for path in open {
            for wish in self.wishes.get_mut(path).into_iter().flatten() {
                for name in std::mem::take(&mut wish.names) {
                    self.asked.remove(&name);
                    if let Some(copy) = self.shown.remove(&name) {
                        moves.entry(name).or_insert((Some(copy), None));
                    }
                }
                wish.shown = false;
            }
        }
    }

    /// Gives names to these, and tells who else asked for one of them.
    fn give_out(
        &mut self,
        open: &BTreeSet<FilePath>,
        taken: &impl Fn(&FilePath) -> Taken,
        moves: &mut Moves,
    ) -> BTreeSet<FilePath> {
        let mut more = BTreeSet::new();
        for digits in DIGITS {
            for path in open {
                let Some(wishes) = self.wishes.get_mut(path) else { continue };
                let mut order: Vec<&mut Wish> = wishes.iter_mut().filter(|wish| !wish.shown).collect();
                order.sort_by_key(|wish| wish.content.root);
                for wish in order {
                    let Some(name) = copy_name(path, &wish.by, &wish.content.root, digits) else { continue };
                    let askers = self.asked.entry(name.clone()).or_default();
                    more.extend(askers.iter().cloned());
                    if !askers.contains(path) {
                        askers.push(path.clone());
                    }
                    wish.names.push(name.clone());
                    wish.shown = match (taken(&name), self.shown.get(&name)) {
                        (Taken::Folder, _) => false,
                        (Taken::File(root), _) => root == wish.content.root,
                        (Taken::Free, Some(copy)) => copy.content.root == wish.content.root,
                        (Taken::Free, None) => {
                            moves.entry(name.clone()).or_default();
                            self.shown.insert(name, Copy { of: path.clone(), content: wish.content });
                            true
                        }
                    };
                }
            }
        }
        more
    }
}

/// The name of a copy, beside its path; at the top of the folder if it would be too long there. `None` if no name can be made.
pub(super) fn copy_name(path: &FilePath, by: &str, root: &Root, digits: usize) -> Option<FilePath> {
    let (stem, extension) = split(path.name());
    let hex = root.to_string();
    let tail = format!(".conflict-{by}-{}{extension}", &hex[..digits.min(hex.len())]);
    let parent = path.parent().map(|parent| format!("{parent}/")).unwrap_or_default();
    let parent = if parent.len() + tail.len() < PATH_MAX_BYTES { parent } else { String::new() };
    let room = COMPONENT_MAX_BYTES.min(PATH_MAX_BYTES - parent.len()).checked_sub(tail.len())?;
    let stem = &stem[..stem.floor_char_boundary(room)];
    format!("{parent}{stem}{tail}").parse().ok()
}

/// A name without its extension, and the extension with its dot. A leading dot begins no extension, nor does a trailing one.
fn split(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(dot) if dot > 0 && dot + 1 < name.len() && name.len() - dot <= EXTENSION_MAX_BYTES => name.split_at(dot),
        _ => (name, ""),
    }
}
