//! A hundred nodes on a pretend network: what the whole promises, and what it costs.
//!
//! The figures are in iroh-gossip's words: RMR, relative message redundancy, is frames received per receiver and message,
//! less the one that was needed; LDH is the last delivery hop.

use std::{collections::BTreeSet, ops::RangeInclusive};

use p2pnet_shared::{MessageId, NodeName};

use super::{
    super::{Config, PublishError, Push},
    network::{Network, name},
};

/// Starts `count` nodes and lets the overlay settle.
fn settled(count: u32, seed: u64) -> Network {
    let mut network = Network::with_nodes(count, Config::default(), seed);
    network.run(60_000);
    network
}

/// `count` messages of random nodes, `every` milliseconds apart.
fn chatter(network: &mut Network, count: usize, every: u64) -> Vec<MessageId> {
    (0..count)
        .map(|number| {
            let who = network.random_node();
            let id = network.publish(&who, &format!("message {number}"), None);
            network.run(every);
            id
        })
        .collect()
}

fn hops(network: &Network, ids: &[MessageId]) -> Vec<usize> {
    let paths = network.nodes.values().flat_map(|node| ids.iter().filter_map(|id| node.delivered.get(id)));
    paths.map(|path| path.len() - 1).filter(|hops| *hops > 0).collect()
}

#[expect(clippy::cast_precision_loss, reason = "counts of a test")]
fn mean(values: &[usize]) -> f64 {
    values.iter().sum::<usize>() as f64 / values.len() as f64
}

#[test]
fn the_overlay_is_connected_symmetric_and_within_its_bounds() {
    for seed in 1..=5 {
        let mut network = settled(100, seed);
        // A link is changed now and then also at rest, and a word about it is under way for some milliseconds.
        let calm = network.run_until(1_000, |network| {
            assert!(network.is_connected() && network.degrees().iter().all(|degree| (1..=8).contains(degree)));
            network.is_symmetric() && network.degrees().iter().all(|degree| *degree >= 5)
        });
        let degrees = network.degrees();
        assert!(calm.is_some(), "seed {seed}: {degrees:?}");
        println!("seed {seed}: mean degree {:.2}, largest {}", mean(&degrees), degrees.iter().max().unwrap());
    }
}

#[test]
fn the_overlay_survives_the_death_of_half() {
    for seed in 1..=5 {
        let mut network = settled(100, seed);
        let victims: Vec<NodeName> = (1..=50).map(name).collect();
        network.kill(&victims);
        let healed = network.run_until(15_000, |network| network.is_connected() && network.is_symmetric());
        assert!(healed.is_some(), "seed {seed}");
        network.run(15_000);
        assert!(network.run_until(1_000, |network| network.is_connected() && network.is_symmetric()).is_some());
        let degrees = network.degrees();
        assert!(degrees.iter().all(|degree| (1..=8).contains(degree)), "seed {seed}: {degrees:?}");
        println!("seed {seed}: connected and symmetric after {healed:?} ms, mean degree {:.2}", mean(&degrees));
    }
}

/// Fifty messages in each of five networks of a hundred, over links with this delay: RMR, mean hop, last hop.
fn flood(delay: RangeInclusive<u64>) -> (f64, f64, usize) {
    let (mut frames, mut all) = (0, Vec::new());
    for seed in 1..=5 {
        let config = Config { push: Push::Flood, ..Config::default() };
        let mut network = Network::with_nodes(100, config, seed);
        network.run(60_000);
        network.delay = delay.clone();
        let before = network.payload_frames;
        let ids = chatter(&mut network, 50, 100);
        let waited = network.run_until(2_000, |network| network.all_have(&ids));
        assert!(waited.is_some(), "seed {seed}");
        frames += network.payload_frames - before;
        all.extend(hops(&network, &ids));
    }
    let last = *all.iter().max().unwrap();
    #[expect(clippy::cast_precision_loss, reason = "counts of a test")]
    let rmr = frames as f64 / (5.0 * 50.0 * 99.0) - 1.0;
    println!("delay {delay:?} ms: RMR {rmr:.2}, mean hop {:.2}, last hop {last}", mean(&all));
    (rmr, mean(&all), last)
}

#[test]
fn fifty_messages_that_are_flooded_arrive_once_everywhere() {
    let (rmr, mean, last) = flood(9..=11);
    assert!(rmr < 4.0 && mean < 4.0 && last <= 8);
    // The first copy to arrive is the fastest, and with delays this uneven it may have made many quick hops.
    let (rmr, mean, last) = flood(1..=20);
    assert!(rmr < 4.5 && mean < 5.0 && last <= 12);
}

#[test]
fn half_die_in_the_middle_and_the_survivors_agree() {
    for seed in 1..=5 {
        let mut network = settled(100, seed);
        let mut ids = chatter(&mut network, 25, 20);
        let victims: Vec<NodeName> = (1..=50).map(|number| name(2 * number)).collect();
        network.kill(&victims);
        ids.extend(chatter(&mut network, 25, 20));
        let accepted: Vec<&MessageId> = ids.iter().filter(|id| network.nodes.contains_key(&id.origin)).collect();
        let waited = network.run_until(30_000, |network| network.all_have(accepted.iter().copied()));
        assert!(waited.is_some(), "seed {seed}: a survivor lacks what a survivor accepted");
        let partly = ids.iter().filter(|id| {
            let have = network.nodes.values().filter(|node| node.delivered.contains_key(*id)).count();
            have > 0 && have < network.nodes.len()
        });
        assert_eq!(partly.count(), 0, "seed {seed}: also of the dead, a message is everywhere or nowhere");
        println!("seed {seed}: all have all {waited:?} ms after the last message");
    }
}

#[test]
fn breaking_links_lose_nothing() {
    for seed in 1..=3 {
        let mut network = settled(40, seed);
        let mut ids = Vec::new();
        for _ in 0..100 {
            ids.extend(chatter(&mut network, 3, 5));
            network.break_a_link();
        }
        let waited = network.run_until(30_000, |network| network.all_have(&ids));
        assert!(waited.is_some(), "seed {seed}");
        println!("seed {seed}: 300 messages over 100 broken links, the last {waited:?} ms later");
    }
}

#[test]
fn a_message_with_one_hop_gets_everywhere_by_repair() {
    let mut network = settled(100, 1);
    let id = network.publish(&name(1), "whisper", Some(1));
    network.run(50);
    assert!(!network.all_have([&id]), "it is pushed to neighbours only");
    let waited = network.run_until(20_000, |network| network.all_have([&id]));
    println!("ttl 1: everywhere after {waited:?} ms");
    assert!(waited.is_some());
}

#[test]
fn a_newcomer_and_a_restarted_node_receive_the_history() {
    let mut network = settled(20, 1);
    let mut ids = chatter(&mut network, 450, 5);
    ids.extend((0..50).map(|_| network.publish(&name(7), "from node7's first life", None)));
    network.run(2_000);
    network.start(&name(21));
    network.kill(&[name(7)]);
    network.run(500);
    network.start(&name(7));
    let before = network.payload_frames;
    let waited = network.run_until(20_000, |network| network.all_have(&ids));
    println!("500 messages of history for two after {waited:?} ms, {} frames", network.payload_frames - before);
    assert!(waited.is_some());
    let own = ids.iter().filter(|id| id.origin == name(7));
    for id in own {
        assert_eq!(network.nodes[&name(7)].delivered[id], [name(7)], "a walk that came back is cut at its first visit");
    }
}

#[test]
fn what_everybody_has_forgotten_is_not_asked_for_for_ever() {
    let config = Config { messages_max: 10, remember: crate::time::Millis(0), ..Config::default() };
    let mut network = Network::with_nodes(10, config, 1);
    network.run(10_000);
    let ids = chatter(&mut network, 100, 20);
    network.run(2_000);
    assert!(network.all_have(&ids));
    network.start(&name(11));
    network.run(20_000);
    let newcomer = &network.nodes[&name(11)];
    assert!(newcomer.delivered.len() >= 10, "what is remembered came: {}", newcomer.delivered.len());
    let before = network.payload_frames;
    network.run(30_000);
    assert_eq!(network.payload_frames, before, "and now there is calm");
    let late = chatter(&mut network, 5, 50);
    network.run(1_000);
    assert!(network.all_have(&late));
}

#[test]
fn a_cut_network_has_everything_everywhere_after_it_healed() {
    for seed in 1..=3 {
        let mut network = settled(60, seed);
        let side: BTreeSet<NodeName> = (1..=20).map(name).collect();
        network.cut(side);
        network.run(30_000);
        let ids = chatter(&mut network, 300, 10);
        network.run(1_000);
        assert!(!network.all_have(&ids));
        network.heal();
        let waited = network.run_until(60_000, |network| network.all_have(&ids) && network.is_connected());
        println!("seed {seed}: whole again after {waited:?} ms");
        assert!(waited.is_some(), "seed {seed}");
    }
}

#[test]
fn one_node_alone_and_two_that_know_only_each_other() {
    let mut alone = settled(1, 1);
    let id = alone.publish(&name(1), "anybody?", None);
    alone.run(60_000);
    assert!(alone.all_have([&id]));

    alone.start(&name(2));
    assert!(alone.run_until(6_000, |network| network.all_have([&id])).is_some(), "company came, and was told");
    for round in 0..20 {
        alone.break_a_link();
        let id = alone.publish(&name(1 + round % 2), "still there?", None);
        assert!(alone.run_until(5_000, |network| network.all_have([&id])).is_some(), "round {round}");
    }
}

#[test]
fn a_network_that_cannot_keep_up_says_so_and_recovers() {
    let mut network = settled(10, 1);
    let mut accepted = Vec::new();
    let refusal = loop {
        match network.try_publish(&name(1), "again and again", None) {
            Ok(id) => accepted.push(id),
            Err(error) => break error,
        }
    };
    assert_eq!((accepted.len(), refusal), (1_000, PublishError::Busy { kept: 1_000, young_ms: 6_000 }));
    network.run(1_000);
    assert!(network.all_have(&accepted));
    assert!(network.try_publish(&name(2), "me too", None).is_err(), "the others have slowed down as well");
    network.run(6_000);
    let next = network.publish(&name(2), "now", None);
    network.run(1_000);
    assert!(network.all_have([&next]));
    assert_eq!(next.seq, 1, "a refused message used no number");
}

#[test]
fn the_same_seed_is_the_same_run() {
    let run = || {
        let mut network = settled(30, 9);
        let ids = chatter(&mut network, 20, 10);
        network.kill(&[name(1), name(2), name(3)]);
        network.run(20_000);
        let paths: Vec<_> = network.nodes.values().map(|node| node.delivered.clone()).collect();
        (ids, paths, network.payload_frames)
    };
    assert_eq!(run(), run());
}

#[test]
fn a_larger_network_hangs_together_too() {
    let mut network = settled(300, 1);
    assert!(network.is_connected());
    network.delay = 9..=11;
    let ids = chatter(&mut network, 5, 500);
    assert!(network.run_until(2_000, |network| network.all_have(&ids)).is_some());
    let hops = hops(&network, &ids);
    println!("300 nodes: mean hop {:.2}, last hop {}", mean(&hops), hops.iter().max().unwrap());
    assert!(hops.iter().all(|hops| *hops <= 10));
}
