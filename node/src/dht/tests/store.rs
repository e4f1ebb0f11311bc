use p2pnet_shared::{Key, ring::Place, wire::dht::Refusal};
use proptest::prelude::*;

use super::*;
use crate::{
    dht::{
        Change,
        store::{Seen, Store},
        version,
    },
    time::Millis,
};

const LIFE: Millis = Millis(1_000);
const NOW: UnixMillis = UnixMillis(0);

fn store() -> Store {
    Store::new(1 << 20, LIFE, Vec::new())
}

fn place(key: &str) -> Place {
    Place::of(key)
}

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

fn put(store: &mut Store, text: &str, count: u64) -> u64 {
    let entry = entry(text, &[version_of(1, count, &[(1, count - 1)], Some("v"))]);
    store.merge(place(text), &entry, false, NOW).unwrap().batch.unwrap()
}

#[test]
fn nothing_may_be_acknowledged_before_its_batch_is_on_disk() {
    let mut store = store();
    let first = put(&mut store, "a", 1);
    assert_eq!(first, 1);
    let (batch, changes) = store.flush().unwrap();
    assert!(batch == 1 && matches!(&changes[..], [Change::Put(entry)] if entry.key == key("a")));
    assert!(store.flush().is_none());
    let again = entry("a", &[version_of(1, 1, &[(1, 0)], Some("v"))]);
    let taken = store.merge(place("a"), &again, false, NOW).unwrap();
    assert_eq!((taken.changed, taken.batch, taken.more), (false, Some(1), false), "known, but still on its way");
    store.on_persisted(1);
    assert_eq!(store.merge(place("a"), &again, false, NOW).unwrap().batch, None);
    assert!(store.is_on_disk(place("a"), store.get(place("a"), &key("a")).unwrap()));
}

#[test]
fn what_did_not_reach_the_disk_is_tried_again_and_meanwhile_nothing_new_is_taken() {
    let mut store = store();
    put(&mut store, "a", 1);
    store.flush().unwrap();
    put(&mut store, "b", 1);
    store.flush().unwrap();
    put(&mut store, "c", 1);
    store.flush().unwrap();
    store.on_persisted(1);
    assert_eq!(store.on_not_persisted(2, Refusal::Full), 3, "and the one after it");
    assert_eq!(store.on_not_persisted(3, Refusal::Full), 3);
    let new = entry("d", &[version_of(1, 1, &[], Some("v"))]);
    assert_eq!(store.merge(place("d"), &new, false, NOW), Err(Refusal::Full));
    assert!(store.get(place("b"), &key("b")).is_some(), "what memory has is not forgotten");
    let (batch, changes) = store.retry().unwrap();
    assert_eq!((batch, changes.len()), (4, 2));
    assert!(store.retry().is_none(), "one try at a time");
    store.on_not_persisted(4, Refusal::Broken);
    assert_eq!(store.refuses(), Some(Refusal::Broken));
    let (batch, changes) = store.retry().unwrap();
    assert_eq!(changes.len(), 2);
    store.on_persisted(batch);
    assert_eq!(store.refuses(), None);
    assert!(store.is_on_disk(place("b"), store.get(place("b"), &key("b")).unwrap()));
}

#[test]
fn a_full_store_keeps_what_it_has_and_still_deletes() {
    let mut store = Store::new(2_000, LIFE, Vec::new());
    let long = "x".repeat(900);
    let old = entry("a", &[version_of(1, 1, &[], Some(&long))]);
    store.merge(place("a"), &old, false, NOW).unwrap();
    let other = entry("b", &[version_of(1, 2, &[], Some(&long))]);
    assert_eq!(store.merge(place("b"), &other, false, NOW), Err(Refusal::Full));
    let gone = entry("a", &[version_of(1, 3, &[(1, 1)], None)]);
    assert!(store.merge(place("a"), &gone, false, NOW).unwrap().changed);
    assert!(store.merge(place("b"), &other, false, NOW).unwrap().changed, "now there is room");
}

#[test]
fn tombstones_go_in_their_time_and_do_not_come_back() {
    let mut store = store();
    let gone = entry("a", &[version_of(1, 500, &[], None)]);
    store.merge(place("a"), &gone, false, NOW).unwrap();
    store.merge(place("b"), &entry("b", &[version_of(1, 700, &[], None)]), false, NOW).unwrap();
    assert!(store.expire(UnixMillis(1_499), 9).is_empty());
    assert_eq!(store.expire(UnixMillis(1_500), 9).len(), 1);
    assert!(store.tombstones() == 1 && store.get(place("a"), &key("a")).is_none());
    let taken = store.merge(place("a"), &gone, false, UnixMillis(1_500)).unwrap();
    assert!(!taken.changed && taken.batch.is_none() && store.get(place("a"), &key("a")).is_none());
    let value = entry("b", &[version_of(1, 701, &[(1, 700)], Some("v"))]);
    store.merge(place("b"), &value, false, NOW).unwrap();
    assert!(store.tombstones() == 0 && store.expire(UnixMillis(9_999), 9).is_empty());
}

#[test]
fn an_arc_is_what_stands_between_two_tokens_clockwise() {
    let mut store = store();
    let names: Vec<String> = (0..200).map(|number| format!("key{number}")).collect();
    for (index, name) in names.iter().enumerate() {
        put(&mut store, name, index as u64 + 1);
    }
    let mut places: Vec<u64> = names.iter().map(|name| place(name).0).collect();
    places.sort_unstable();
    let arc = |after: u64, upto: u64| -> Vec<u64> {
        store.arc(Place(after), Place(upto)).map(|(place, _)| place.0).collect()
    };
    assert_eq!(arc(places[3], places[7]), places[4..=7]);
    assert_eq!(arc(places[3] - 1, places[7] - 1), places[3..7]);
    let wrapped: Vec<u64> = places[190..].iter().chain(&places[..5]).copied().collect();
    assert_eq!(arc(places[189], places[4]), wrapped);
    assert_eq!(arc(u64::MAX, places[4]), places[..5]);
    assert_eq!(arc(places[189], u64::MAX), places[190..]);
    assert_eq!(arc(u64::MAX, u64::MAX).len(), 200);
    let turned: Vec<u64> = places[10..].iter().chain(&places[..10]).copied().collect();
    assert_eq!(arc(places[9], places[9]), turned, "all the way round");
}

#[test]
fn a_broken_store_takes_nothing() {
    let mut store = Store::broken();
    let new = entry("d", &[version_of(1, 1, &[], Some("v"))]);
    assert_eq!(store.merge(place("d"), &new, true, NOW), Err(Refusal::Broken));
    assert!(store.is_broken() && store.retry().is_none() && store.flush().is_none());
}

#[test]
fn a_mark_of_wholeness_lasts_for_a_tenure() {
    let mut store = store();
    let new = entry("d", &[version_of(1, 1, &[], Some("v"))]);
    store.merge(place("d"), &new, true, NOW).unwrap();
    let whole = |store: &Store| store.is_whole(store.get(place("d"), &key("d")).unwrap());
    assert!(whole(&store));
    let more = entry("d", &[version_of(2, 1, &[(1, 1)], Some("w"))]);
    store.merge(place("d"), &more, false, NOW).unwrap();
    assert!(whole(&store), "more does not make it less");
    store.new_tenure();
    assert!(!whole(&store));
    store.merge(place("d"), &more, true, NOW).unwrap();
    assert!(whole(&store));
    store.unmark(|_| false);
    assert!(!whole(&store));
}

proptest! {
    /// Sums, changes told and the order of tombstones follow from what is held, whatever is done.
    #[test]
    fn the_books_agree_with_what_is_held(
        steps in prop::collection::vec((0..6_u32, 1..4_u32, any::<bool>(), 0..5_u8), 1..60),
    ) {
        let mut store = store();
        let mut told: std::collections::BTreeMap<Key, Seen> = std::collections::BTreeMap::new();
        for (count, (name, writer, delete, what)) in steps.into_iter().enumerate() {
            let (name, count) = (format!("key{name}"), count as u64 + 1);
            match what {
                0 => drop(store.remove(place(&name), &key(&name))),
                1 => drop(store.expire(UnixMillis(LIFE.0 + count / 2), 2)),
                2 => drop(store.flush().map(|(batch, _)| store.on_persisted(batch))),
                _ => {
                    let context: Vec<(u32, u64)> = if what == 3 { vec![] } else { (1..4).map(|actor| (actor, count - 1)).collect() };
                    let new = version_of(writer, count, &context, (!delete).then_some("v"));
                    let _ = store.merge(place(&name), &entry(&name, &[new]), false, NOW);
                }
            }
            for change in store.take_changed() {
                let old = told.insert(change.key, change.new).unwrap_or_default();
                prop_assert_eq!(old, change.old);
            }
            let held: Vec<_> = store.iter().collect();
            prop_assert_eq!(store.bytes(), held.iter().map(|(_, held)| version::bytes(&held.entry)).sum::<usize>());
            prop_assert_eq!(store.tombstones(), held.iter().filter(|(_, held)| !held.live).count());
            prop_assert_eq!(store.conflicts(), held.iter().filter(|(_, held)| held.entry.versions.len() > 1).count());
            for (_, held) in &held {
                prop_assert_eq!(told[&held.entry.key], Seen { hash: version::hash(&held.entry), live: held.live });
            }
            prop_assert_eq!(told.values().filter(|seen| seen.hash != 0).count(), store.len());
        }
    }
}
