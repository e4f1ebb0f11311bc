//! What replaces what: the algebra of entries, without any state.
//!
//! Source: *Dotted Version Vectors* (Preguiça et al. 2010), as an observed-remove register: an entry is its siblings and its
//! *context*, every dot that was ever seen there. Joining two entries keeps a sibling that both have, or that one has and the
//! other has never seen; what the other has seen and has no more was replaced there.
//!
//! ```text
//!   A: {a1} seen a1     ──writes over a1──▶  {a2}  seen a1 a2  ─┐
//!   B: {a1} seen a1     ──writes over a1──▶  {b1}  seen a1 b1  ─┴─▶ {a2 b1} seen a1 a2 b1 ──writes over b1──▶ {a2 a3} …
//! ```
//! A context is a version vector, up to which count of each author, and a set of names for what was [`Dot::Found`]. That is
//! enough because entries travel whole and an author never forgets a write of its own (a new life is a new author).
//!
//! A write replaces the versions with the *contents* that were on its writer's disk, and tombstones. So nobody keeps book of what
//! was materialised: a version that came back with the same contents from elsewhere was on the screen just as well.
//!
//! What always holds: joining is commutative, associative and idempotent while an entry stays within its limits; beyond them
//! (65 siblings, 64 authors, 32 replaced contents) the oldest go first, which at worst brings back as a conflict copy what an
//! author of long ago wrote, or leaves out the oldest of 65 versions nobody has seen together. All nodes still come to the same.
//!
//! Clocks from outside are not judged, since a verdict would depend on who judges, and what is shown must not: a liar's version
//! keeps the plain name until somebody writes there, no longer, since a write's clock is above that of what it replaces.

use std::cmp::Reverse;

use p2pnet_shared::{
    FilePath,
    wire::folder::{Author, Content, Context, Dot, Entry, FileContent, FolderDigest, Root, SIBLINGS_MAX, Sibling},
};

/// Authors an entry remembers, besides those of its siblings.
pub(super) const AUTHORS_MAX: usize = 64;
/// Replaced contents an entry remembers, besides the names of its siblings.
pub(super) const FOUND_MAX: usize = 32;
/// Largest file that is shared, bytes: the outline of a larger one does not fit into a packet.
pub(super) const FILE_MAX_BYTES: u64 = 32 * 1024 * 1024 * 1024;
/// The last millisecond of the year 9999: no clock says more.
const HLC_MAX: u64 = 253_402_300_799_999;

/// An entry of a path of which nothing is known.
pub(super) fn nothing(path: FilePath) -> Entry {
    Entry { path, context: Context::default(), siblings: Vec::new() }
}

/// An entry of one version that was found, or became ordinary.
pub(super) fn single(path: FilePath, name: u64, hlc: u64, content: FileContent) -> Entry {
    let context = Context { written: Vec::new(), found: vec![(name, 0)] };
    let sibling = Sibling { dot: Dot::Found(name), hlc: hlc.min(HLC_MAX), content: Content::File(content) };
    Entry { path, context, siblings: vec![sibling] }
}

/// Whether this version was seen.
pub(super) fn covers(context: &Context, dot: &Dot) -> bool {
    match dot {
        Dot::Found(name) => has_found(context, *name),
        Dot::Written(author, count) => {
            let row = context.written.binary_search_by(|(known, _)| known.cmp(author));
            row.is_ok_and(|row| context.written[row].1 >= *count)
        }
    }
}

/// Whether contents of this name were found or replaced here.
pub(super) fn has_found(context: &Context, name: u64) -> bool {
    context.found.binary_search_by_key(&name, |(known, _)| *known).is_ok()
}

/// Adds what another replica knows of the same path; says whether that changed anything.
pub(super) fn join(entry: &mut Entry, other: &Entry) -> bool {
    let stands = |sibling: &Sibling, there: &Entry| match position(there, &sibling.dot) {
        // No honest node writes two things under one dot, but the same file found twice may have another time or mode.
        Ok(at) => (there.siblings[at].hlc, &there.siblings[at].content) <= (sibling.hlc, &sibling.content),
        Err(_) => !covers(&there.context, &sibling.dot),
    };
    let mut siblings: Vec<Sibling> = entry.siblings.iter().filter(|sibling| stands(sibling, other)).cloned().collect();
    for sibling in &other.siblings {
        if stands(sibling, entry)
            && let Err(at) = siblings.binary_search_by(|held| held.dot.cmp(&sibling.dot))
        {
            siblings.insert(at, sibling.clone());
        }
    }
    let mut context = entry.context.clone();
    other.context.written.iter().for_each(|(author, count)| see_written(&mut context, author, *count));
    other.context.found.iter().for_each(|(name, replaced)| see_found(&mut context, *name, *replaced));
    let mut joined = Entry { path: entry.path.clone(), context, siblings };
    bound(&mut joined);
    let changed = joined != *entry;
    if changed {
        *entry = joined;
    }
    changed
}

/// Writes a new version over those with the contents `over`, those that say the same, and tombstones. Its clock is `clock`, or
/// more if what it replaces is later.
pub(super) fn write(entry: &mut Entry, author: Author, count: u64, content: Content, clock: u64, over: Option<&Root>) {
    let same = root_of(&content).copied();
    let is_replaced =
        |sibling: &Sibling| root_of(&sibling.content).is_none_or(|root| Some(root) == over || Some(*root) == same);
    let hlc = replace(entry, clock, over, is_replaced);
    see_written(&mut entry.context, &author, count);
    insert(entry, Sibling { dot: Dot::Written(author, count), hlc, content });
}

/// Gives the version with these contents that is shown another time and mode. It stays the same version, so who replaces it without
/// having heard of this has replaced it all the same.
pub(super) fn touch(entry: &mut Entry, content: FileContent, clock: u64) {
    let same = entry.siblings.iter_mut().filter(|sibling| root_of(&sibling.content) == Some(&content.root));
    if let Some(sibling) = same.max_by(|left, right| (left.hlc, &left.dot).cmp(&(right.hlc, &right.dot))) {
        sibling.hlc = clock.max(sibling.hlc.saturating_add(1)).min(HLC_MAX);
        sibling.content = Content::File(content);
    }
}

/// As [`write`], of contents that nobody saw being written: they are named by themselves. Nothing is added if they are known.
pub(super) fn find(entry: &mut Entry, content: FileContent, clock: u64, over: Option<&Root>) {
    let is_replaced = |sibling: &Sibling| root_of(&sibling.content).is_none_or(|root| Some(root) == over);
    let hlc = replace(entry, clock, over, is_replaced);
    let name = content.root.short();
    if !has_found(&entry.context, name) {
        see_found(&mut entry.context, name, 0);
        insert(entry, Sibling { dot: Dot::Found(name), hlc, content: Content::File(content) });
    }
}

/// Removes the versions with these contents, without another in their place: a conflict copy goes.
pub(super) fn drop_root(entry: &mut Entry, root: &Root, clock: u64) {
    replace(entry, clock, Some(root), |sibling| root_of(&sibling.content) == Some(root));
    bound(entry);
}

/// Removes siblings and remembers their contents as replaced, and those of `over` in any case. Gives the clock of that.
fn replace(entry: &mut Entry, clock: u64, over: Option<&Root>, is_replaced: impl Fn(&Sibling) -> bool) -> u64 {
    let gone: Vec<Sibling> = entry.siblings.extract_if(.., |sibling| is_replaced(sibling)).collect();
    let hlc = gone.iter().map(|sibling| sibling.hlc.saturating_add(1)).fold(clock, u64::max).min(HLC_MAX);
    let roots = gone.iter().filter_map(|sibling| root_of(&sibling.content)).chain(over);
    roots.for_each(|root| see_found(&mut entry.context, root.short(), hlc));
    for sibling in &gone {
        if let Dot::Found(name) = sibling.dot {
            see_found(&mut entry.context, name, hlc);
        }
    }
    hlc
}

/// Notes that contents or a version of this name are not to come back here.
pub(super) fn mark_replaced(entry: &mut Entry, name: u64, clock: u64) {
    see_found(&mut entry.context, name, clock.min(HLC_MAX));
    bound(entry);
}

/// The name under which a conflict copy becomes an ordinary file: the same on every node that does it.
pub(super) fn name_of_copy(path: &FilePath, dot: &Dot) -> u64 {
    let bytes = postcard::to_allocvec(&(path, dot)).expect("a path and a dot can be encoded");
    Root::of(&bytes).short()
}

/// The root of a version, if it is a file.
pub(super) fn root_of(content: &Content) -> Option<&Root> {
    match content {
        Content::File(file) => Some(&file.root),
        Content::Tombstone => None,
    }
}

/// The versions that are files.
pub(super) fn live(entry: &Entry) -> impl Iterator<Item = (&Sibling, &FileContent)> {
    entry.siblings.iter().filter_map(|sibling| match &sibling.content {
        Content::File(file) => Some((sibling, file)),
        Content::Tombstone => None,
    })
}

/// Whether a version with these contents stands.
pub(super) fn has_root(entry: &Entry, root: &Root) -> bool {
    live(entry).any(|(_, file)| file.root == *root)
}

/// When the last thing known of a path without any file happened, as a clock; `None` if it has one.
pub(super) fn deleted_at(entry: &Entry) -> Option<u64> {
    if live(entry).next().is_some() {
        return None;
    }
    let siblings = entry.siblings.iter().map(|sibling| sibling.hlc);
    siblings.chain(entry.context.found.iter().map(|(_, replaced)| *replaced)).max()
}

/// BLAKE3 of the entry as it travels, 16 bytes of it: equal on two nodes that know the same of this path.
pub(super) fn hash(entry: &Entry) -> FolderDigest {
    let bytes = postcard::to_allocvec(entry).expect("an entry can be encoded");
    FolderDigest(u128::from_be_bytes(*Root::of(&bytes).0.first_chunk().expect("there are 32")))
}

/// Bytes an entry takes in a packet, about, and never less.
pub(super) fn weight(entry: &Entry) -> usize {
    let author = |author: &Author| author.node.as_str().len() + 12;
    let dot = |dot: &Dot| match dot {
        Dot::Found(_) => 12,
        Dot::Written(by, _) => author(by) + 12,
    };
    let written: usize = entry.context.written.iter().map(|(by, _)| author(by) + 10).sum();
    let siblings: usize = entry.siblings.iter().map(|sibling| dot(&sibling.dot) + 70).sum();
    entry.path.as_str().len() + 16 + written + 20 * entry.context.found.len() + siblings
}

/// Whether an honest node may have sent this: everything sorted and once, every version in the context, and no more of anything
/// than an honest node keeps.
pub(super) fn is_sound(entry: &Entry) -> bool {
    let Context { written, found } = &entry.context;
    let is_sorted = written.windows(2).all(|pair| pair[0].0 < pair[1].0)
        && found.windows(2).all(|pair| pair[0].0 < pair[1].0)
        && entry.siblings.windows(2).all(|pair| pair[0].dot < pair[1].dot);
    let is_small = entry.siblings.len() <= SIBLINGS_MAX
        && written.len() <= AUTHORS_MAX + SIBLINGS_MAX
        && found.len() <= FOUND_MAX + SIBLINGS_MAX;
    let is_something = !(written.is_empty() && found.is_empty());
    is_sorted
        && is_small
        && is_something
        && written.iter().all(|(_, count)| *count > 0)
        && found.iter().all(|(_, replaced)| *replaced <= HLC_MAX)
        && entry.siblings.iter().all(|sibling| is_honest(sibling, &entry.context))
}

fn is_honest(sibling: &Sibling, context: &Context) -> bool {
    let fits = match &sibling.content {
        Content::File(file) => file.size <= FILE_MAX_BYTES,
        Content::Tombstone => true,
    };
    let is_counted = !matches!(sibling.dot, Dot::Written(_, 0));
    fits && is_counted && sibling.hlc <= HLC_MAX && covers(context, &sibling.dot)
}

fn position(entry: &Entry, dot: &Dot) -> Result<usize, usize> {
    entry.siblings.binary_search_by(|sibling| sibling.dot.cmp(dot))
}

fn insert(entry: &mut Entry, sibling: Sibling) {
    match position(entry, &sibling.dot) {
        Ok(at) => entry.siblings[at] = sibling,
        Err(at) => entry.siblings.insert(at, sibling),
    }
    bound(entry);
}

fn see_written(context: &mut Context, author: &Author, count: u64) {
    match context.written.binary_search_by(|(known, _)| known.cmp(author)) {
        Ok(row) => context.written[row].1 = context.written[row].1.max(count),
        Err(row) => context.written.insert(row, (author.clone(), count)),
    }
}

fn see_found(context: &mut Context, name: u64, replaced: u64) {
    match context.found.binary_search_by_key(&name, |(known, _)| *known) {
        Ok(row) => context.found[row].1 = context.found[row].1.max(replaced),
        Err(row) => context.found.insert(row, (name, replaced)),
    }
}

/// Leaves out the oldest of what is too much. A version left out stays in the context, so that it goes everywhere.
fn bound(entry: &mut Entry) {
    if entry.siblings.len() > SIBLINGS_MAX {
        entry.siblings.sort_by(|left, right| (right.hlc, &right.dot).cmp(&(left.hlc, &left.dot)));
        entry.siblings.truncate(SIBLINGS_MAX);
        entry.siblings.sort_by(|left, right| left.dot.cmp(&right.dot));
    }
    let Entry { context, siblings, .. } = entry;
    let is_by =
        |author: &Author| siblings.iter().any(|sibling| matches!(&sibling.dot, Dot::Written(by, _) if by == author));
    let is_of = |name: u64| siblings.iter().any(|sibling| sibling.dot == Dot::Found(name));
    if context.written.len() > AUTHORS_MAX {
        let mut others: Vec<Author> =
            context.written.iter().map(|(author, _)| author).filter(|author| !is_by(author)).cloned().collect();
        others.sort_by(|left, right| (right.life, &right.node).cmp(&(left.life, &left.node)));
        let too_old = others.split_off(others.len().min(AUTHORS_MAX));
        context.written.retain(|(author, _)| !too_old.contains(author));
    }
    if context.found.len() > FOUND_MAX {
        let mut others: Vec<(u64, u64)> =
            context.found.iter().filter(|(name, _)| !is_of(*name)).map(|(name, replaced)| (*replaced, *name)).collect();
        others.sort_by_key(|row| Reverse(*row));
        let too_old = others.split_off(others.len().min(FOUND_MAX));
        context.found.retain(|(name, replaced)| !too_old.contains(&(*replaced, *name)));
    }
}
