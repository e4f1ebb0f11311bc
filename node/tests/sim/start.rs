//! Nodes start, find one another, and idle.

use crate::{network::Network, wire::HEADERS_BYTES, with_seeds};

/// A network of `count` nodes that all know one another and are past their warm-up.
pub(crate) fn settled(seed: u64, count: usize) -> Network {
    let mut network = Network::new(seed);
    network.start_many(count, 2_000);
    network.run_until("all agree", 5_000, Network::all_agree);
    network.run_for(15_000);
    network.ensure_overlay(5);
    network.run_for(100);
    network
}

#[test]
fn a_hundred_nodes_agree_within_two_seconds_of_the_last_start() {
    with_seeds("start::a_hundred_nodes_agree_within_two_seconds_of_the_last_start", &[1, 2, 3], |seed| {
        let mut network = Network::new(seed);
        network.watcher.no_false_deaths = true;
        network.start_many(101, 5_000);
        let took = network.run_until("all agree", 2_000, Network::all_agree);
        println!("seed {seed}: all 101 agree {took} ms after the last start, {} datagrams", network.datagrams_sent);
    });
}

#[test]
#[ignore = "takes minutes: `cargo test --release -p p2pnet-node --test sim -- --ignored`"]
fn a_thousand_nodes_start_and_one_is_killed() {
    with_seeds("start::a_thousand_nodes_start_and_one_is_killed", &[1], |seed| {
        let mut network = Network::new(seed);
        network.start_many(1_000, 50_000);
        let took = network.run_until("all agree", 10_000, Network::all_agree);
        println!("seed {seed}: all 1,000 agree {took} ms after the last start, {} datagrams", network.datagrams_sent);
        network.run_for(12_000);
        network.ensure_overlay(5);
        network.kill(500);
        let took = network.run_until("the survivors agree", 20_000, Network::all_agree);
        println!("seed {seed}: one of 1,000 killed, all agree after {took} ms");
    });
}

#[test]
fn nodes_started_at_once_before_their_bootstrap_find_one_another() {
    with_seeds("start::nodes_started_at_once_before_their_bootstrap_find_one_another", &[1], |seed| {
        let mut network = Network::new(seed);
        network.start_many(40, 0);
        network.kill(0);
        network.start(Some(0));
        network.run_for(3_000);
        network.boot(0, Some(1));
        network.run_until("all agree", 20_000, Network::all_agree);
    });
}

#[test]
fn an_idle_network_is_quiet_and_nobody_is_accused() {
    with_seeds("start::an_idle_network_is_quiet_and_nobody_is_accused", &[1], |seed| {
        let mut network = settled(seed, 101);
        network.watcher.no_false_deaths = true;
        (network.measure, network.bytes_sent, network.datagrams_sent) = (true, 0, 0);
        network.run_for(60_000);
        let per_node = |total: u64| total as f64 / 60.0 / 101.0;
        let on_the_wire = network.bytes_sent + network.datagrams_sent * HEADERS_BYTES as u64;
        let (bytes, datagrams) = (per_node(on_the_wire), per_node(network.datagrams_sent));
        println!("seed {seed}: idle, {bytes:.0} B/s and {datagrams:.1} datagrams/s out per node");
        assert!(bytes < 300.0, "{bytes} B/s per idle node");
        assert_eq!(network.watcher.suspicions, 0);
        assert!(network.all_agree());
    });
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let mut network = Network::new(seed);
        network.wire.conditions.loss = 0.05;
        network.wire.conditions.duplication = 0.05;
        network.start_many(30, 1_000);
        network.run_for(15_000);
        network.kill(7);
        network.run_for(5_000);
        network.log_hash()
    };
    with_seeds("start::the_same_seed_gives_the_same_run", &[7], |seed| {
        assert_eq!(run(seed), run(seed));
        assert_ne!(run(seed), run(seed + 1));
    });
}
