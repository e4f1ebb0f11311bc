//! Laws of joining, on random histories of honest nodes.

use p2pnet_shared::wire::folder::{Author, Content, Context, Dot, Entry, FileContent, SIBLINGS_MAX, Sibling};
use proptest::{prelude::*, sample::Index as Pick};

use super::*;
use crate::folder::{
    render,
    version::{self, AUTHORS_MAX, FOUND_MAX},
};

fn file(text: u8, mtime_ns: i64) -> FileContent {
    FileContent { root: root(&text.to_string()), size: 1, mtime_ns, executable: mtime_ns % 2 == 0 }
}

fn author(node: usize) -> Author {
    Author { node: NodeName::numbered(u32::try_from(node).unwrap()), life: 1 }
}

#[derive(Debug, Clone)]
enum Step {
    Join { from: usize },
    Write { text: u8, clock: u64, over: Pick },
    Delete { clock: u64 },
    Drop { which: Pick, clock: u64 },
    Touch { clock: u64, mtime_ns: i64 },
    Find { text: u8, clock: u64, mtime_ns: i64 },
}

fn steps() -> impl Strategy<Value = Vec<(usize, Step)>> {
    let clock = 0..1_000_u64;
    let step = prop_oneof![
        4 => (0..6_usize).prop_map(|from| Step::Join { from }),
        3 => (0..12_u8, clock.clone(), any::<Pick>()).prop_map(|(text, clock, over)| Step::Write { text, clock, over }),
        1 => clock.clone().prop_map(|clock| Step::Delete { clock }),
        1 => (any::<Pick>(), clock.clone()).prop_map(|(which, clock)| Step::Drop { which, clock }),
        1 => (clock.clone(), 0..9_i64).prop_map(|(clock, mtime_ns)| Step::Touch { clock, mtime_ns }),
        1 => (0..12_u8, clock, 0..9_i64).prop_map(|(text, clock, mtime_ns)| Step::Find { text, clock, mtime_ns }),
    ];
    prop::collection::vec((0..6_usize, step), 1..40)
}

/// Everything that came of a history.
struct History {
    /// Each state that was.
    states: Vec<Entry>,
    /// The last of each node.
    last: Vec<Entry>,
    written: BTreeSet<Root>,
    /// Contents that somebody replaced who had them.
    replaced: BTreeSet<Root>,
}

fn history(nodes: usize, steps: Vec<(usize, Step)>) -> History {
    let mut last = vec![version::nothing(path("f")); nodes];
    let mut history =
        History { states: Vec::new(), last: Vec::new(), written: BTreeSet::new(), replaced: BTreeSet::new() };
    for (count, (node, step)) in (1..).zip(steps) {
        let node = node % nodes;
        let mut entry = last[node].clone();
        let before = roots(&entry);
        let winner = render::winner(&entry);
        match step {
            Step::Join { from } => {
                version::join(&mut entry, &last[from % nodes]);
            }
            Step::Write { text, clock, over } => {
                let over = (!before.is_empty()).then(|| *over.get(&before.iter().copied().collect::<Vec<_>>()));
                let content = Content::File(file(text, 0));
                version::write(&mut entry, author(node), count, content, clock, over.as_ref());
            }
            Step::Delete { clock } => {
                let Some(winner) = winner else { continue };
                version::write(&mut entry, author(node), count, Content::Tombstone, clock, Some(&winner.root));
            }
            Step::Drop { which, clock } => {
                if before.is_empty() {
                    continue;
                }
                version::drop_root(&mut entry, which.get(&before.iter().copied().collect::<Vec<_>>()), clock);
            }
            Step::Touch { clock, mtime_ns } => {
                let Some(winner) = winner else { continue };
                version::touch(&mut entry, FileContent { mtime_ns, ..winner }, clock);
            }
            Step::Find { text, clock, mtime_ns } => {
                let content = file(text, mtime_ns);
                let name = content.root.short();
                if version::has_found(&entry.context, name)
                    && !entry.siblings.iter().any(|one| one.dot == Dot::Found(name))
                {
                    // An old copy.
                    history.written.insert(content.root);
                    history.replaced.insert(content.root);
                    continue;
                }
                version::join(&mut entry, &version::single(path("f"), name, clock, content));
            }
        }
        let after = roots(&entry);
        history.written.extend(after.iter().copied());
        if !matches!(history.states.last(), Some(state) if *state == entry) {
            history.states.push(entry.clone());
        }
        // A join replaces nothing that was not replaced before.
        history.replaced.extend(before.difference(&after).copied());
        last[node] = entry;
    }
    history.last = last;
    history
}

fn roots(entry: &Entry) -> BTreeSet<Root> {
    version::live(entry).map(|(_, file)| file.root).collect()
}

fn joined(left: &Entry, right: &Entry) -> Entry {
    let mut joined = left.clone();
    let changed = version::join(&mut joined, right);
    assert_eq!(changed, joined != *left);
    joined
}

proptest! {
    #[test]
    fn joining_is_commutative_associative_and_idempotent(nodes in 2..6_usize, steps in steps(), picks in any::<[Pick; 3]>()) {
        let History { mut states, .. } = history(nodes, steps);
        states.push(version::nothing(path("f")));
        let [a, b, c] = picks.map(|pick| pick.get(&states).clone());
        prop_assert_eq!(joined(&a, &b), joined(&b, &a));
        prop_assert_eq!(joined(&joined(&a, &b), &c), joined(&a, &joined(&b, &c)));
        prop_assert_eq!(joined(&a, &a), a.clone());
        prop_assert_eq!(joined(&joined(&a, &b), &b), joined(&a, &b));
        prop_assert_eq!(version::hash(&joined(&a, &b)), version::hash(&joined(&b, &a)));
    }

    #[test]
    fn all_come_to_the_same_and_nothing_goes_that_nobody_replaced(nodes in 2..6_usize, steps in steps()) {
        let History { last, written, replaced, .. } = history(nodes, steps);
        let end = last.iter().skip(1).fold(last[0].clone(), |end, one| joined(&end, one));
        let backwards = last.iter().rev().fold(version::nothing(path("f")), |end, one| joined(&end, one));
        prop_assert_eq!(&end, &backwards);
        prop_assert!(end == version::nothing(path("f")) || version::is_sound(&end));
        let kept = roots(&end);
        for root in &written {
            prop_assert!(kept.contains(root) || replaced.contains(root), "{root:?} is lost");
        }
    }

    #[test]
    fn nothing_honest_is_unsound_and_its_weight_is_no_less_than_its_bytes(nodes in 2..6_usize, steps in steps()) {
        for state in history(nodes, steps).states {
            prop_assert!(state == version::nothing(path("f")) || version::is_sound(&state));
            prop_assert!(version::weight(&state) >= postcard::to_allocvec(&state).unwrap().len());
        }
    }
}

/// An entry with this many siblings, authors and replaced contents, those of `seed` its own.
fn large(seed: u64, siblings: u64, authors: u64, found: u64) -> Entry {
    let author = |life: u64| Author { node: NodeName::numbered(u32::try_from(seed).unwrap()), life };
    let written: Vec<(Author, u64)> = (0..authors).map(|life| (author(life), 1)).collect();
    let found = (0..found).map(|name| (seed * 10_000 + name, name)).collect();
    let sibling = |life: u64| Sibling {
        dot: Dot::Written(author(life), 1),
        hlc: life,
        content: Content::File(file(u8::try_from(life).unwrap(), 0)),
    };
    Entry { path: path("f"), context: Context { written, found }, siblings: (0..siblings).map(sibling).collect() }
}

#[test]
fn an_entry_never_outgrows_its_limits() {
    let all: Vec<Entry> = (1..6).map(|seed| large(seed, 60, 70, 90)).collect();
    assert!(all.iter().all(version::is_sound));
    let end = all.iter().fold(all[0].clone(), |end, one| joined(&end, one));
    assert!(version::is_sound(&end));
    assert_eq!(end.siblings.len(), SIBLINGS_MAX);
    assert!(end.context.written.len() <= AUTHORS_MAX + SIBLINGS_MAX);
    assert!(end.context.found.len() <= FOUND_MAX + SIBLINGS_MAX);
    // The latest are left, and all say so.
    assert!(end.siblings.iter().all(|sibling| sibling.hlc >= 47), "{:?}", end.siblings);
    let backwards = all.iter().rev().fold(all[4].clone(), |end, one| joined(&end, one));
    assert_eq!(backwards.siblings, end.siblings);
}

#[test]
fn what_no_honest_node_sends_is_refused() {
    let good = large(1, 3, 5, 2);
    assert!(version::is_sound(&good));
    let bad: &[fn(&mut Entry)] = &[
        |entry| entry.siblings.swap(0, 1),
        |entry| entry.siblings.push(entry.siblings[2].clone()),
        |entry| entry.context.written.swap(0, 1),
        |entry| entry.context.found.swap(0, 1),
        |entry| entry.context.written[4].1 = 0,
        |entry| entry.context.written.clear(),
        |entry| entry.siblings[0].dot = Dot::Found(77),
        |entry| entry.siblings[0].hlc = u64::MAX,
        |entry| entry.context.found[0].1 = u64::MAX,
        |entry| {
            entry.siblings[1].content = Content::File(FileContent { size: version::FILE_MAX_BYTES + 1, ..file(0, 0) })
        },
        |entry| *entry = version::nothing(path("f")),
        |entry| *entry = large(1, 65, 70, 2),
        |entry| *entry = large(1, 3, 200, 2),
        |entry| *entry = large(1, 3, 5, 200),
    ];
    let mut index = Index::new(NodeName::numbered(1), 1, &Config::default());
    for (number, spoil) in bad.iter().enumerate() {
        let mut entry = good.clone();
        spoil(&mut entry);
        assert!(index.join(&entry, START).refused, "{number}");
    }
    assert_eq!(index.counts().refused, bad.len() as u64);
    assert_eq!(index.digests(), super::super::Digests::default());
    assert!(index.join(&good, START).news);
}
