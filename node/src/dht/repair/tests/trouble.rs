//! Cuts, pauses, full disks, rings that differ.

use proptest::{collection::vec, prelude::*};

use super::*;

#[test]
fn a_copy_that_stands_in_goes_to_the_one_it_was_meant_for_and_is_dropped() {
    let mut net = Net::new(6, Config::default());
    net.fill(100);
    net.run(5_000);
    let list = net.truth().preference(Place::of("apple"), 4);
    // The third cannot be reached: the fourth takes its place.
    net.nodes.get_mut(&list[2]).unwrap().is_up = false;
    let apple = entry("apple", 1, 500, &[], Some("red"));
    [0, 1, 3].into_iter().for_each(|at| net.put_at(&list[at], &apple));
    net.run(10_000);
    assert!(net.nodes[&list[3]].repair.misplaced() == 1 && net.holders("apple").len() == 3);
    net.nodes.get_mut(&list[2]).unwrap().is_up = true;
    net.until(3_000, |net| net.is_whole(101)).expect("handed over and dropped");
    assert_eq!(net.nodes[&list[3]].repair.misplaced(), 0);
}

#[test]
fn a_misplaced_copy_is_kept_until_every_replica_has_it_on_disk() {
    let mut net = Net::new(6, Config::default());
    let list = net.truth().preference(Place::of("apple"), 4);
    net.nodes.get_mut(&list[1]).unwrap().refuses = Some(Refusal::Full);
    net.put_at(&list[3], &entry("apple", 1, 1, &[], Some("red")));
    net.run(20_000);
    assert!(net.holders("apple").contains(&list[3]), "one of three has no room on its disk");
    net.nodes.get_mut(&list[1]).unwrap().refuses = None;
    // Its own store tries its disk again; here that is for us to do.
    net.with(&list[1], |_, _| ());
    net.until(20_000, |net| net.is_whole(1)).expect("dropped at last");
}

/// Each of three had confirmed it, in one ring or another; none was asked any more, so it stayed for ever.
#[test]
fn a_copy_that_was_confirmed_in_other_rings_is_offered_again() {
    let mut net = Net::new(8, Config::default());
    let list = net.truth().preference(Place::of("apple"), 7);
    let everyone_but = |net: &mut Net, gone: &NodeName| {
        for name in (1..=8).map(node) {
            net.believe(&name, (1..=8).map(node).filter(|other| other != gone || other == &name));
        }
    };
    net.nodes.get_mut(&list[2]).unwrap().is_up = false;
    net.put_at(&list[6], &entry("apple", 1, 1, &[], Some("red")));
    net.run(4_000);
    everyone_but(&mut net, &list[0]);
    net.run(4_000);
    assert_eq!(net.nodes[&list[6]].repair.misplaced(), 1, "the third cannot be reached");
    everyone_but(&mut net, &list[2]);
    net.until(5_000, |net| net.nodes[&list[6]].repair.misplaced() == 0).expect("dropped at last");
}

#[test]
fn deleted_keys_do_not_come_back() {
    let mut net = Net::new(5, Config::default());
    net.fill(60);
    net.run(5_000);
    let away = node(2);
    net.kill(&away);
    net.believe_truth();
    net.run(2_000);
    for number in 0..60 {
        net.put_everywhere(&entry(&format!("key{number}"), 3, number + 1, &[(1, number + 1)], None));
    }
    net.run(2_000);
    net.restart(&away);
    net.believe_truth();
    net.until(10_000, |net| net.is_whole(60)).expect("tombstones everywhere");
    net.run(30_000);
    assert!(net.nodes.values().all(|node| node.store.iter().all(|(_, held)| !held.live)));
    assert!(net.is_whole(60));
}

#[test]
fn versions_of_two_sides_of_a_cut_are_both_kept() {
    let mut net = Net::new(6, Config::default());
    net.fill(30);
    net.run(4_000);
    let sides: [Vec<NodeName>; 2] = [(1..=3).map(node).collect(), (4..=6).map(node).collect()];
    for left in &sides[0] {
        net.cut.extend(sides[1].iter().map(|right| (left.clone(), right.clone())));
    }
    for (writer, side) in (10..).zip(&sides) {
        side.iter().for_each(|name| net.believe(name, side.iter().cloned()));
        net.run(2_000);
        for number in 0..30 {
            let key = format!("key{number}");
            let written = entry(&key, writer, number + 1, &[(1, number + 1)], Some("mine"));
            side.iter().for_each(|name| net.put_at(name, &written));
        }
    }
    net.run(5_000);
    net.cut.clear();
    net.believe_truth();
    net.until(10_000, |net| net.is_whole(30)).expect("healed");
    for node in net.nodes.values() {
        assert!(node.store.iter().all(|(_, held)| held.entry.versions.len() == 2), "siblings");
    }
}

#[test]
fn rings_that_differ_cause_no_endless_back_and_forth() {
    let mut net = Net::new(8, Config::default());
    net.fill(300);
    net.run(8_000);
    // One believes two others dead, and one believes in somebody who is not there. For ever.
    let without: Vec<NodeName> = (1..=6).map(node).collect();
    net.believe(&node(1), without);
    net.believe(&node(2), (1..=9).map(node));
    net.run(60_000);
    let before: u64 = net.nodes.values().map(|node| node.repair.bytes()).sum();
    net.sent.clear();
    net.run(60_000);
    let bytes = net.nodes.values().map(|node| node.repair.bytes()).sum::<u64>() - before;
    let packets: u64 = net.sent.values().map(|(packets, _)| packets).sum();
    assert!(bytes < 60 * 8 * 2_000, "{bytes} bytes of entries and offers in a minute");
    assert!(packets < 60 * 8 * 12, "{packets} packets in a minute");
    net.believe_truth();
    net.until(40_000, |net| net.is_whole(300)).expect("one ring again, and exactly three copies");
}

#[test]
fn a_replica_that_missed_writes_gets_them_though_nobody_knows() {
    let mut net = Net::new(6, Config::default());
    net.fill(200);
    net.run(5_000);
    // Written to two of three, and the packet to the third was lost without anybody noticing.
    for number in 0..200 {
        let key = format!("key{number}");
        let list = net.replicas(&key);
        let newer = entry(&key, 2, number + 1, &[(1, number + 1)], Some("newer"));
        list[..2].iter().for_each(|name| net.put_at(name, &newer));
    }
    net.until(10_000, |net| net.is_whole(200)).expect("compared in turn");
    assert!(net.nodes.values().map(|node| node.repair.repaired()).sum::<u64>() >= 200);
}

#[test]
fn after_a_doubt_everything_is_compared_anew() {
    let mut net = Net::new(20, Config::default());
    net.fill(400);
    net.until(10_000, Net::is_settled).expect("settled");
    net.with(&node(3), |repair, around| repair.doubt(around));
    assert!(!net.is_settled());
    net.until(5_000, Net::is_settled).expect("settled again");
}

#[test]
fn what_is_owed_is_given_as_soon_as_it_can_be() {
    let mut net = Net::new(6, Config { compare_period: Millis(1_000_000), ..Config::default() });
    let apple = entry("apple", 1, 1, &[], Some("red"));
    net.put_everywhere(&apple);
    net.run(5_000);
    let list = net.replicas("apple");
    let newer = entry("apple", 1, 2, &[(1, 1)], Some("green"));
    net.nodes.get_mut(&list[1]).unwrap().is_up = false;
    net.put_at(&list[0], &newer);
    net.put_at(&list[2], &newer);
    let place = Place::of("apple");
    net.with(&list[0], |repair, around| repair.owe(around, &list[1], place));
    net.run(5_000);
    net.nodes.get_mut(&list[1]).unwrap().is_up = true;
    net.until(3_000, |net| net.is_whole(1)).expect("given");
}

#[test]
fn a_large_arc_is_offered_in_parts() {
    let config = Config { vnodes: 1, compare_period: Millis(500), ..Config::default() };
    let mut net = Net::new(2, config);
    for number in 0..9_000 {
        net.put_at(&node(1), &entry(&format!("key{number}"), 1, number + 1, &[], Some("v")));
    }
    net.until(20_000, |net| net.is_whole(9_000)).expect("all of them");
}

#[derive(Debug, Clone)]
enum Step {
    Kill(u32),
    Restart(u32),
    Pause(u32),
    Resume(u32),
    Cut(u32, u32),
    Heal,
    Put(u32, u64),
    Learn(u32),
    Run(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let one = || 1_u32..=7;
    prop_oneof![
        1 => one().prop_map(Step::Kill),
        2 => one().prop_map(Step::Restart),
        1 => one().prop_map(Step::Pause),
        2 => one().prop_map(Step::Resume),
        1 => (one(), one()).prop_map(|(a, b)| Step::Cut(a, b)),
        1 => Just(Step::Heal),
        6 => (0_u32..40, 1_u64..6).prop_map(|(key, who)| Step::Put(key, who)),
        3 => one().prop_map(Step::Learn),
        6 => (1_u64..3_000).prop_map(Step::Run),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Restarts, pauses, cuts, rings that differ for a while, disks that keep what they had: when it is over every key that
    /// ever reached a disk is at exactly its three replicas, with everything that was not replaced, and nowhere else.
    #[test]
    fn trouble_heals_to_exactly_three_copies(steps in vec(step(), 1..60)) {
        let mut net = Net::new(7, Config::default());
        let (mut count, mut keys) = (0, BTreeSet::new());
        for step in steps {
            match step {
                Step::Kill(number) => net.kill(&node(number)),
                Step::Restart(number) => net.restart(&node(number)),
                Step::Pause(number) => net.nodes.get_mut(&node(number)).unwrap().is_up = false,
                Step::Resume(number) if net.nodes[&node(number)].is_up => {}
                Step::Resume(number) => net.restart(&node(number)),
                Step::Cut(a, b) if a < b => net.cut.extend([(node(a), node(b))]),
                Step::Cut(..) => {}
                Step::Heal => net.cut.clear(),
                Step::Put(key, who) => {
                    // By whoever is up, at up to three of those: as a sloppy quorum may.
                    let up: Vec<NodeName> = net.up().cloned().collect();
                    count += 1;
                    let written = entry(&format!("key{key}"), who as u32, count, &[], Some("v"));
                    let start = usize::try_from(who).unwrap() % up.len().max(1);
                    up.iter().cycle().skip(start).take(3.min(up.len())).for_each(|name| net.put_at(name, &written));
                    if !up.is_empty() {
                        keys.insert(key);
                    }
                    net.run(2 * DISK);
                }
                Step::Learn(number) if net.nodes[&node(number)].is_up => {
                    let up: Vec<NodeName> = net.up().cloned().collect();
                    net.believe(&node(number), up);
                }
                Step::Learn(_) => {}
                Step::Run(time) => net.run(time),
            }
        }
        let down: Vec<NodeName> = net.nodes.iter().filter(|(_, node)| !node.is_up).map(|(name, _)| name.clone()).collect();
        down.iter().for_each(|name| net.restart(name));
        net.cut.clear();
        net.believe_truth();
        let keys = u32::try_from(keys.len()).unwrap();
        prop_assert!(net.until(60_000, |net| net.is_whole(keys)).is_some(), "not whole again");
        prop_assert!(net.until(30_000, Net::is_settled).is_some(), "not settled again");
    }
}
