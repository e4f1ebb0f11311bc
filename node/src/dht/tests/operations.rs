//! Puts, gets and deletes, in calm and in trouble.

use p2pnet_shared::wire::dht::Refusal;

use super::{
    network::{NOTICED, Net, found, is_stored, put},
    node, value,
};
use crate::dht::{Answer, Config, Request};

fn net(nodes: u32) -> Net {
    Net::new(nodes, 1, Config::default())
}

#[test]
fn any_node_stores_and_any_other_finds_it() {
    let mut net = net(7);
    for via in 1..=7 {
        let key = format!("key/{via}");
        assert!(matches!(net.put(via, &key, "v"), Answer::Stored { acks: 2.. }));
        for via in 1..=7 {
            assert_eq!(net.get(via, &key), found("v"));
        }
        net.run(100);
        assert_eq!(net.copies(&key, "v"), 3);
    }
    assert_eq!(net.get(3, "another"), Answer::Missing);
    assert_eq!(net.delete(3, "another"), Answer::Missing);
}

#[test]
fn a_network_of_one_or_two_is_one() {
    let mut one = Net::new(1, 1, Config { alone: true, ..Config::default() });
    assert_eq!(one.put(1, "a", "v"), Answer::Stored { acks: 1 });
    assert_eq!(one.get(1, "a"), found("v"));
    assert_eq!(one.delete(1, "a"), Answer::Deleted { acks: 1 });
    assert_eq!(one.get(1, "a"), Answer::Missing);
    assert_eq!(net(1).put(1, "a", "v"), Answer::TooFew { reached: 0, wanted: 2 }, "it was told of others");
    let mut two = net(2);
    assert_eq!(two.put(1, "a", "v"), Answer::Stored { acks: 2 });
    two.crash(&node(1));
    assert_eq!(two.put(2, "a", "w"), Answer::TooFew { reached: 1, wanted: 2 });
    two.run(3_000);
    let before = two.now;
    assert_eq!(two.put(2, "a", "w"), Answer::TooFew { reached: 0, wanted: 2 });
    assert_eq!(two.get(2, "a"), Answer::TooFew { reached: 1, wanted: 2 });
    assert!(two.now - before < 200, "who is alone says so at once");
}

#[test]
fn puts_one_after_the_other_through_different_nodes_leave_no_siblings() {
    for (seed, loss) in [(1, 0), (2, 0), (3, 20), (4, 60)] {
        let mut net = Net::new(7, seed, Config::default());
        net.loss = loss;
        let mut last = String::new();
        for round in 0..60 {
            let text = format!("v{round}");
            if is_stored(&net.put(round % 7 + 1, "k", &text)) {
                last = text;
                // A write that failed may be there, beside or over what was stored.
                let got = net.get((round + 3) % 7 + 1, "k");
                assert!(got == found(&last) || matches!(got, Answer::TooFew { .. }), "seed {seed}: {got:?}");
            }
            net.run(u64::from(round) % 3 * 40);
        }
        net.loss = 0;
        net.run(5_000);
        assert_eq!(net.get(2, "k"), found(&last), "seed {seed}");
    }
}

/// It answered out of its own old copy, or that there is none, because nobody among the two members it had met knew better.
#[test]
fn a_node_that_starts_again_answers_nothing_for_members_it_has_not_met_yet() {
    for seed in 1..=16 {
        let mut net = Net::new(8, seed, Config::default());
        let again = node(u32::try_from(seed).unwrap() % 8 + 1);
        let keys: Vec<String> = (0..12).map(|key| format!("key{key}")).collect();
        let other = if again == node(1) { 2 } else { 1 };
        keys.iter().for_each(|key| assert!(is_stored(&net.put(other, key, "old"))));
        net.run(6_000);
        net.crash(&again);
        net.run(6_000);
        keys.iter().for_each(|key| assert!(is_stored(&net.put(other, key, "new"))));
        net.start(&again);
        net.run(NOTICED + 1);
        assert_eq!(net.nodes[&again].state.as_ref().unwrap().ring().members().len(), 2, "it has met one of seven");
        let gets: Vec<_> = keys.iter().map(|key| net.ask(&again, Request::Read(key.parse().unwrap()))).collect();
        for (get, key) in gets.into_iter().zip(&keys) {
            assert_eq!(net.answer(get), found("new"), "seed {seed}, {key}");
        }
        net.crash(&again);
        net.run(6_000);
        net.start(&again);
        net.run(NOTICED + 1);
        let puts: Vec<_> = keys.iter().map(|key| net.ask(&again, put(key, "newest"))).collect();
        for (stored, key) in puts.into_iter().zip(&keys) {
            assert!(is_stored(&net.answer(stored)), "seed {seed}, {key}");
            assert_eq!(net.get(other, key), found("newest"), "seed {seed}, {key}");
        }
    }
}

#[test]
fn a_coordinator_that_missed_a_write_notices_before_it_answers() {
    let mut net = net(5);
    net.put(1, "k", "first");
    net.run(200);
    let list = net.list("k");
    let (first, contact) = (list[0].clone(), list[4].clone());
    // Cut off for a moment, and nobody takes it for dead.
    net.cut(std::slice::from_ref(&first), false);
    let id = net.ask(&contact, put("k", "second"));
    assert!(is_stored(&net.answer(id)));
    net.heal();
    net.run(60);
    let id = net.ask(&first, put("k", "third"));
    assert!(is_stored(&net.answer(id)));
    net.run(500);
    assert_eq!(net.copies("k", "third"), 3);
    let id = net.ask(&contact, Request::Read("k".parse().unwrap()));
    assert_eq!(net.answer(id), found("third"));
}

#[test]
fn both_sides_of_a_cut_keep_what_they_wrote_until_a_write_covers_both() {
    let mut net = net(7);
    net.put(1, "k", "before");
    let sides: (Vec<_>, Vec<_>) = (1..=7).map(node).partition(|name| *name <= node(3));
    net.cut(&sides.0, true);
    net.run(4_000);
    assert!(is_stored(&net.put(1, "k", "here")));
    assert!(is_stored(&net.put(5, "k", "there")));
    assert_eq!((net.get(2, "k"), net.get(6, "k")), (found("here"), found("there")));
    net.heal();
    net.run(10_000);
    for via in 1..=7 {
        let both = Answer::Found { value: value("there"), siblings: vec![value("there"), value("here")] };
        assert_eq!(net.get(via, "k"), both, "via {via}");
    }
    assert!(is_stored(&net.put(4, "k", "after")));
    assert_eq!(net.get(2, "k"), found("after"));
    net.run(10_000);
    assert_eq!(net.copies("k", "after"), 3);
}

#[test]
fn what_is_deleted_stays_deleted() {
    let mut net = net(6);
    net.put(1, "k", "v");
    net.run(100);
    let away = net.list("k")[1].clone();
    net.crash(&away);
    let via = (1..=6).find(|number| node(*number) != away).unwrap();
    assert!(matches!(net.delete(via, "k"), Answer::Deleted { acks: 2.. }));
    net.run(5_000);
    net.start(&away);
    net.run(10_000);
    for via in 1..=6 {
        assert_eq!(net.get(via, "k"), Answer::Missing);
    }
    assert_eq!(net.delete(via, "k"), Answer::Missing);
    assert_eq!(net.copies("k", "v"), 0);
}

#[test]
fn every_node_killed_at_once_and_nothing_acknowledged_is_lost() {
    let mut net = net(7);
    net.disk_ms = 30;
    let mut stored = Vec::new();
    for round in 0..40 {
        let key = format!("key{round}");
        if is_stored(&net.put(round % 7 + 1, &key, "v")) {
            stored.push(key);
        }
    }
    assert!(stored.len() == 40);
    net.names().iter().for_each(|name| net.crash(name));
    net.run(10);
    net.names().iter().for_each(|name| net.start(name));
    net.run(200);
    for key in &stored {
        assert_eq!(net.get(3, key), found("v"), "{key}");
    }
}

#[test]
fn with_two_of_three_holders_dead_and_not_yet_declared_the_third_still_answers() {
    let mut net = net(8);
    for round in 0..10 {
        net.put(1, &format!("key{round}"), "v");
    }
    net.run(2_000);
    let list = net.list("key0");
    net.crash(&list[0]);
    net.crash(&list[1]);
    let via = list[6].number().unwrap();
    let before = net.now;
    assert_eq!(net.get(via, "key0"), found("v"));
    assert!(net.now - before < 1_000);
    assert!(is_stored(&net.put(via, "key0", "w")));
    net.run(1_000);
    assert_eq!(net.get(via, "key0"), found("w"));
    net.run(8_000);
    assert_eq!(net.get(via, "key0"), found("w"));
    assert_eq!(net.copies("key0", "w"), 3, "hints are handed over, and what stood in is dropped");
}

#[test]
fn an_older_try_of_a_write_never_covers_what_was_acknowledged_after_it() {
    for wait in [0, 100, 300, 600, 1_200, 3_000] {
        let mut net = net(6);
        net.put(1, "k", "first");
        net.run(3_000);
        let list = net.list("k");
        let contact = list[5].clone();
        // The coordinator sleeps on what it was sent.
        net.pause(&list[0]);
        let older = net.ask(&contact, put("k", "older"));
        assert!(is_stored(&net.answer(older)), "through the next one");
        let newer = net.ask(&contact, put("k", "newer"));
        assert!(is_stored(&net.answer(newer)));
        net.run(wait);
        net.resume(&list[0].clone());
        net.run(3_000);
        let id = net.ask(&contact, Request::Read("k".parse().unwrap()));
        assert_eq!(net.answer(id), found("newer"), "after {wait} ms");
        assert_eq!(net.copies("k", "newer"), 3);
    }
}

#[test]
fn a_node_whose_store_is_broken_still_serves_its_users_through_others() {
    let mut net = net(5);
    net.put(1, "k", "v");
    net.run(100);
    let owner = net.list("k")[0].clone();
    net.crash(&owner);
    net.run(3_000);
    net.nodes.get_mut(&owner).unwrap().broken = true;
    net.start(&owner);
    net.run(3_000);
    let via = owner.number().unwrap();
    assert_eq!(net.get(via, "k"), found("v"));
    assert!(matches!(net.put(via, "k", "w"), Answer::Stored { acks: 2.. }));
    assert_eq!(net.delete(via, "k"), Answer::Deleted { acks: 2 });
    assert_eq!(net.nodes[&owner].state.as_ref().unwrap().entries().count(), 0);
}

#[test]
fn full_disks_are_named_and_nothing_is_acknowledged_on_them() {
    let mut net = net(4);
    net.put(1, "k", "v");
    net.names().iter().for_each(|name| net.nodes.get_mut(name).unwrap().refuses = Some(Refusal::Full));
    let answer = net.put(2, "k", "w");
    assert!(matches!(answer, Answer::Refused { why: Refusal::Full, .. }), "{answer:?}");
    let answer = net.put(3, "k", "x");
    assert!(matches!(answer, Answer::Refused { why: Refusal::Full, .. }), "{answer:?}");
    net.names().iter().for_each(|name| net.nodes.get_mut(name).unwrap().refuses = None);
    net.run(3_000);
    assert!(is_stored(&net.put(4, "k", "y")), "it works again by itself");
    assert_eq!(net.get(1, "k"), found("y"));
}

#[test]
fn one_full_disk_is_worked_around() {
    let mut net = net(6);
    let list = net.list("k");
    for (place, full) in list.iter().enumerate().take(3) {
        net.nodes.get_mut(full).unwrap().refuses = Some(Refusal::Full);
        let text = format!("v{place}");
        let via = list[5].number().unwrap();
        assert!(is_stored(&net.put(via, "k", &text)), "{place}");
        assert!(is_stored(&net.put(via, "k", &format!("{text}+"))), "{place}");
        assert_eq!(net.get(via, "k"), found(&format!("{text}+")));
        net.nodes.get_mut(full).unwrap().refuses = None;
        net.run(3_000);
    }
}

#[test]
fn on_a_network_slower_than_patience_a_get_still_waits_for_who_knows() {
    for seed in 1..=10 {
        let mut net = Net::new(7, seed, Config::default());
        net.delay_ms = 110..170;
        let mut last = None;
        for round in 0..12 {
            let text = format!("v{round}");
            if is_stored(&net.put(round % 7 + 1, "k", &text)) {
                last = Some(text);
            }
            let got = net.get((round + 3) % 7 + 1, "k");
            if let Some(last) = &last {
                assert!(got == found(last) || matches!(got, Answer::TooFew { .. }), "seed {seed}: {got:?}, but {last}");
            }
        }
        assert!(last.is_some(), "seed {seed}: slow is not broken");
    }
}
