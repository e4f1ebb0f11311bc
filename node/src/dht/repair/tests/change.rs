//! Members come and go.

use super::*;

#[test]
fn after_one_death_in_a_hundred_everything_is_back_at_three_copies() {
    let mut net = Net::new(100, Config::default());
    net.fill(10_000);
    net.run(20_000);
    assert!(net.is_whole(10_000) && net.is_settled());
    for victim in [7, 42] {
        net.kill(&node(victim));
        net.run(100);
        assert!(!net.is_whole(10_000));
        net.believe_truth();
        let took = net.until(5_000, |net| net.is_whole(10_000)).expect("three copies within five seconds");
        eprintln!("10,000 keys whole again after {took} ms");
        assert!(took <= 1_000, "{took} ms");
        net.until(5_000, Net::is_settled).expect("settled in what is new");
    }
}

#[test]
fn two_deaths_at_once_leave_the_last_copy_to_be_copied_first() {
    let config = Config { repair_bytes_per_second: 5_000, ..Config::default() };
    let mut net = Net::new(10, config);
    net.fill(2_000);
    net.run(10_000);
    let victims = [node(3), node(8)];
    let ring = net.truth();
    let left = |key: &String| ring.preference(Place::of(key), 3).iter().filter(|name| !victims.contains(name)).count();
    let keys: Vec<String> = (0..2_000).map(|number| format!("key{number}")).collect();
    let endangered: Vec<&String> = keys.iter().filter(|key| left(key) == 1).collect();
    assert!(endangered.len() > 50);
    victims.iter().for_each(|name| net.kill(name));
    net.believe_truth();
    let safe = net.until(60_000, |net| endangered.iter().all(|key| net.holders(key).len() >= 2)).expect("two copies");
    let whole = net.until(120_000, |net| net.is_whole(2_000)).expect("three copies") + safe;
    eprintln!("the last copies were two after {safe} ms, all were three after {whole} ms");
    assert!(safe * 3 < whole * 2, "{safe} ms of {whole} ms");
}

#[test]
fn a_newcomer_is_filled_and_settles_and_what_it_took_over_is_dropped() {
    let mut net = Net::new(10, Config::default());
    net.fill(1_000);
    net.run(5_000);
    net.start(&node(11), BTreeMap::new());
    net.believe_truth();
    assert!(!net.is_whole(1_000));
    let took = net.until(5_000, |net| net.is_whole(1_000)).expect("filled");
    eprintln!("a newcomer was filled after {took} ms");
    assert!(net.nodes[&node(11)].store.len() > 150);
    net.until(5_000, Net::is_settled).expect("settled");
    let total: u64 = net.nodes.values().map(|node| node.repair.repaired()).sum();
    assert_eq!(total, 0, "filling a newcomer mends no difference between fellow replicas");
}

#[test]
fn one_that_leaves_and_comes_back_has_what_was_written_meanwhile() {
    let mut net = Net::new(8, Config::default());
    net.fill(400);
    net.run(5_000);
    net.kill(&node(5));
    net.believe_truth();
    net.run(3_000);
    for number in 0..400 {
        net.put_everywhere(&entry(&format!("key{number}"), 2, number + 1, &[(1, number + 1)], Some("newer")));
    }
    net.run(2_000);
    net.restart(&node(5));
    net.believe_truth();
    assert!(!net.nodes[&node(5)].repair.is_settled(Place(0)), "nothing is certain after a start");
    net.until(8_000, |net| net.is_whole(400)).expect("everyone has the newer one");
    net.until(8_000, Net::is_settled).expect("settled");
    let held = &net.nodes[&node(5)].store;
    assert!(held.iter().all(|(_, held)| held.entry.versions[0].dot.actor.node == node(2)));
}

#[test]
fn a_network_that_starts_again_as_a_whole_settles_again() {
    let mut net = Net::new(30, Config::default());
    net.fill(1_000);
    net.run(8_000);
    let names: Vec<NodeName> = net.up().cloned().collect();
    names.iter().for_each(|name| net.kill(name));
    names.iter().for_each(|name| net.restart(name));
    // They meet one after the other.
    for met in 2..=names.len() {
        for name in &names {
            net.believe(name, names[..met].iter().cloned());
        }
        net.run(30);
    }
    assert!(!net.is_settled());
    let took = net.until(15_000, Net::is_settled).expect("settled again");
    eprintln!("thirty nodes were settled {took} ms after the last had met the last");
    assert!(net.is_whole(1_000));
}

#[test]
fn a_second_and_a_third_node_get_everything() {
    let mut net = Net::new(1, Config::default());
    net.fill(300);
    net.run(20_000);
    for newcomer in 2..=4 {
        net.start(&node(newcomer), BTreeMap::new());
        net.believe_truth();
        net.until(6_000, |net| net.is_whole(300)).expect("copied");
        net.run(3_000);
    }
    assert!(net.nodes[&node(4)].store.len() > 100 && net.is_settled());
}

#[test]
fn the_same_inputs_give_the_same_run() {
    let run = || {
        let mut net = Net::new(12, Config::default());
        net.is_traced = true;
        net.fill(200);
        net.run(3_000);
        net.kill(&node(4));
        net.believe_truth();
        net.run(4_000);
        net.restart(&node(4));
        net.believe_truth();
        net.run(4_000);
        (net.trace, net.packets)
    };
    assert_eq!(run(), run());
}
