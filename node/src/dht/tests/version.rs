use proptest::prelude::*;

use super::*;
use crate::{
    dht::version::{self, CONTEXT_MAX},
    time::Millis,
};

/// Histories of honest writers: three replicas with their own actors write with what they hold as context, or merge what
/// another holds. Gives all states that ever were.
fn histories() -> impl Strategy<Value = Vec<Entry>> {
    let steps = prop::collection::vec((0..4_usize, 0..4_usize, any::<bool>(), any::<bool>()), 1..24);
    steps.prop_map(|steps| {
        let mut replicas = vec![entry("k", &[]); 4];
        let mut counts = [0_u64; 4];
        let mut states = Vec::new();
        for (mine, other, write, delete) in steps {
            if write {
                counts[mine] += 1;
                let context = version::context(&replicas[mine]);
                let dot = Dot { actor: actor(mine as u32, 1), count: counts[mine] };
                let value = (!delete).then(|| value(&format!("{mine}.{}", counts[mine])));
                let new = Version { dot, context, at: UnixMillis(states.len() as u64), value };
                version::merge(&mut replicas[mine], &[new]);
            } else {
                let theirs = replicas[other].versions.clone();
                version::merge(&mut replicas[mine], &theirs);
            }
            states.push(replicas[mine].clone());
        }
        states
    })
}

fn merged(left: &Entry, right: &Entry) -> Entry {
    let mut merged = left.clone();
    version::merge(&mut merged, &right.versions);
    merged
}

proptest! {
    #[test]
    fn merging_is_commutative_associative_and_idempotent(states in histories(), picks in any::<[prop::sample::Index; 3]>()) {
        let [a, b, c] = picks.map(|pick| pick.get(&states).clone());
        prop_assert_eq!(merged(&a, &b), merged(&b, &a));
        prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
        prop_assert_eq!(merged(&a, &a), a.clone());
        prop_assert_eq!(merged(&merged(&a, &b), &b), merged(&a, &b));
        prop_assert_eq!(version::hash(&merged(&a, &b)), version::hash(&merged(&b, &a)));
    }

    #[test]
    fn only_what_a_newer_version_covers_is_ever_left_out(states in histories()) {
        let all: Vec<&Version> = states.iter().flat_map(|state| &state.versions).collect();
        let end = states.iter().fold(entry("k", &[]), |end, state| merged(&end, state));
        for one in &all {
            let is_covered = all.iter().any(|other| version::covers(other, &one.dot));
            prop_assert_eq!(end.versions.contains(one), !is_covered, "{:?}", one);
            prop_assert!(version::has(&end, &one.dot));
        }
        prop_assert!(end.versions.is_empty() || version::is_sound(&end));
        for state in &states {
            prop_assert!(version::includes(&end, state));
            prop_assert_eq!(version::includes(state, &end), merged(state, &end) == *state);
        }
    }

    #[test]
    fn contradicting_contexts_neither_panic_nor_leave_nothing(
        writes in prop::collection::vec((0..4_u32, 1..4_u64, prop::collection::btree_map(0..4_u32, 1..4_u64, 0..4)), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let versions: Vec<Version> = writes.iter().map(|(number, count, context)| {
            let context: Vec<(u32, u64)> = context.iter().map(|(number, count)| (*number, *count)).collect();
            version_of(*number, *count, &context, Some("x"))
        }).collect();
        let (one, two) = versions.split_at(cut.index(versions.len()));
        let (mut left, mut right) = (entry("k", &[]), entry("k", &[]));
        version::merge(&mut left, one);
        let changed = version::merge(&mut left, two);
        version::merge(&mut right, &versions);
        prop_assert!(!left.versions.is_empty() && !right.versions.is_empty());
        prop_assert!(changed || two.is_empty() || version::includes(&left, &entry("k", two)) || !one.is_empty());
        let mut again = right.clone();
        version::merge(&mut again, &right.versions);
        prop_assert_eq!(again, right);
    }
}

#[test]
fn a_write_replaces_what_its_writer_had_seen_and_nothing_else() {
    let mut held = entry("k", &[version_of(1, 1, &[], Some("a"))]);
    assert!(version::merge(&mut held, &[version_of(2, 1, &[(1, 1)], Some("b"))]));
    assert_eq!(version::shown(&held), Some((value("b"), vec![])));
    assert!(version::merge(&mut held, &[version_of(3, 1, &[(1, 1)], Some("c"))]), "the other side of a cut");
    assert_eq!(held.versions.len(), 2);
    assert!(!version::merge(&mut held, &[version_of(1, 1, &[], Some("a"))]), "an old copy comes back");
    let context = version::context(&held);
    assert_eq!(context, [(actor(1, 1), 1), (actor(2, 1), 1), (actor(3, 1), 1)]);
}

#[test]
fn every_node_shows_the_same_sibling_and_equal_values_once() {
    let (early, late) = (version_of(9, 1, &[], Some("early")), version_of(1, 2, &[], Some("late")));
    let same = Version { dot: Dot { actor: actor(5, 1), count: 1 }, ..late.clone() };
    let held = merged(&entry("k", &[early]), &merged(&entry("k", &[late]), &entry("k", &[same])));
    assert_eq!(held.versions.len(), 3);
    assert_eq!(version::shown(&held), Some((value("late"), vec![value("late"), value("early")])));
}

#[test]
fn a_tombstone_beside_a_value_hides_nothing_and_alone_it_expires() {
    let (gone, kept) = (version_of(1, 7, &[], None), version_of(2, 1, &[], Some("kept")));
    let both = entry("k", &[gone.clone(), kept]);
    assert_eq!(version::shown(&both), Some((value("kept"), vec![])));
    assert_eq!(version::expires(&both, Millis(10)), None);
    let alone = entry("k", &[gone]);
    assert_eq!((version::shown(&alone), version::expires(&alone, Millis(10))), (None, Some(UnixMillis(17))));
}

#[test]
fn a_context_keeps_what_it_replaces_and_the_newest_eras() {
    let context: Vec<(Actor, u64)> = (1..=CONTEXT_MAX as u64 + 8).map(|era| (actor(1, era), 1)).collect();
    let replaced = Dot { actor: actor(2, 0), count: 5 };
    let version = Version { dot: replaced, context, at: UnixMillis(1), value: None };
    let pruned = version::context(&entry("k", &[version]));
    assert_eq!(pruned.len(), CONTEXT_MAX);
    assert!(pruned.contains(&(actor(2, 0), 5)), "the oldest of all, but it is being replaced");
    assert!(!pruned.iter().any(|(actor, _)| (1..=9).contains(&actor.era)), "{pruned:?}");
}

#[test]
fn what_no_honest_node_writes_is_not_sound() {
    let good = version_of(1, 1, &[(2, 1)], Some("a"));
    assert!(version::is_sound(&entry("k", std::slice::from_ref(&good))));
    assert!(!version::is_sound(&entry("k", &[])));
    assert!(!version::is_sound(&entry("k", &[good.clone(), good])));
    assert!(!version::is_sound(&entry("k", &[version_of(1, 1, &[(1, 1)], None)])), "covers itself");
    assert!(!version::is_sound(&entry("k", &[version_of(1, 1, &[(3, 1), (2, 1)], None)])), "unsorted");
    let long = "x".repeat(60_000);
    let many: Vec<Version> = (1..20).map(|number| version_of(number, 1, &[], Some(&long))).collect();
    let mut many = entry("k", &many);
    many.versions.sort_by(|left, right| left.dot.cmp(&right.dot));
    assert!(!version::is_sound(&many), "no packet holds it");
}
