//! A hundred nodes and everything at once: many senders, deaths, loss, bursts.
//!
//! RMR, relative message redundancy, is frames received per receiver and message, less the one that was needed.

use std::ops::RangeInclusive;

use p2pnet_shared::NodeName;

use super::{
    super::{Config, PublishError, Push, Via},
    network::{Network, name},
};

fn settled(count: u32, config: Config, delay: RangeInclusive<u64>, seed: u64) -> Network {
    let mut network = Network::with_nodes(count, config, seed);
    network.delay = delay;
    network.run(60_000);
    network
}

/// What a row of messages cost.
#[derive(Debug)]
struct Cost {
    rmr: f64,
    last_hop: usize,
    /// Milliseconds from the first to the last node, the worst.
    last_ms: u64,
}

fn measure(network: &mut Network, senders: &[NodeName], text: &str, every: u64) -> Cost {
    let (frames, mut ids) = (network.payload_frames, Vec::new());
    let mut accepted = Vec::new();
    for sender in senders {
        accepted.push(network.now);
        ids.push(network.publish(sender, text, None));
        network.run(every);
    }
    assert!(network.run_until(5_000, |network| network.all_have(&ids)).is_some());
    let receptions = (ids.len() * (network.nodes.len() - 1)) as f64;
    let last_ms = ids.iter().zip(accepted).map(|(id, at)| network.last_at[id] - at).max().unwrap();
    let hops = network.nodes.values().flat_map(|node| ids.iter().map(|id| node.delivered[id].len() - 1));
    Cost { rmr: (network.payload_frames - frames) as f64 / receptions - 1.0, last_hop: hops.max().unwrap(), last_ms }
}

#[test]
fn one_sender_costs_a_fifth_of_a_copy_and_many_at_most_one() {
    for delay in [0..=2, 1..=20] {
        for seed in 1..=3 {
            let mut network = settled(100, Config::default(), delay.clone(), seed);
            let one = vec![name(7); 50];
            let one = measure(&mut network, &one, "small", 100);
            let many: Vec<NodeName> = (0..100).map(|_| network.random_node()).collect();
            let many = measure(&mut network, &many, "small", 100);
            let large = measure(&mut network, &vec![name(9); 20], &"x".repeat(8_192), 100);
            println!(
                "{delay:?} ms, seed {seed}: one {one:.2?}\n   many {many:.2?}\n   large {large:.2?} via {:?}",
                network.via
            );
            assert!(one.rmr <= 0.2 && many.rmr <= 1.0 && large.rmr <= 0.1, "seed {seed}");
            assert!(one.last_hop.max(many.last_hop) <= 8, "seed {seed}");
        }
    }
}

#[test]
fn flooding_is_a_switch_and_brings_everything_four_times() {
    let mut network = settled(100, Config { push: Push::Flood, ..Config::default() }, 0..=2, 1);
    let flood = measure(&mut network, &vec![name(7); 20], "small", 100);
    println!("flood: {flood:.2?}");
    assert!((2.0..4.5).contains(&flood.rmr) && flood.last_ms <= 50);
    assert!(network.nodes.values().all(|node| node.state.links().all(|(_, eager)| eager)));
}

#[test]
fn half_die_at_once_and_the_survivors_have_everything() {
    for delay in [0..=2, 1..=20] {
        for seed in 1..=4 {
            let mut network = settled(100, Config::default(), delay.clone(), seed);
            let (survivor, words) = (name(99), network.tree_frames);
            let mut ids: Vec<_> = (0..10).map(|_| network.publish(&survivor, "before", None)).collect();
            // The root and half of everybody with it, in the middle of a message.
            let victims: Vec<NodeName> = (1..=50).map(name).collect();
            network.kill(&victims);
            for _ in 0..10 {
                let who = network.random_node();
                ids.push(network.publish(&who, "during", None));
                network.run(50);
            }
            let waited = network.run_until(10_000, |network| network.all_have(&ids));
            let words = (network.tree_frames - words) / 50;
            println!(
                "{delay:?} seed {seed}: all have all {waited:?} ms after the last; via {:?}; {words} words about the tree a node",
                network.via
            );
            assert!(waited.is_some() && words <= 500, "seed {seed}: {words} words");
            network.run(20_000);
            let after = measure(&mut network, &vec![survivor; 20], "small", 100);
            assert!(after.rmr <= 0.2, "seed {seed}: {after:?}");
        }
    }
}

#[test]
fn a_lost_tree_link_costs_a_round_trip() {
    for seed in 1..=3 {
        let mut network = settled(100, Config::default(), 0..=2, seed);
        let mut worst = 0;
        for _ in 0..60 {
            network.break_an_eager_link();
            let (who, at) = (network.random_node(), network.now);
            let id = network.publish(&who, "now", None);
            assert!(network.run_until(5_000, |network| network.all_have([&id])).is_some());
            worst = worst.max(network.last_at[&id] - at);
            network.run(1_000);
        }
        println!("seed {seed}: the last node after {worst} ms at worst, via {:?}", network.via);
        assert!(worst <= 150, "seed {seed}: {worst} ms");
    }
}

#[test]
fn with_three_frames_of_ten_sent_again_by_tcp_everybody_has_everything() {
    for seed in 1..=2 {
        let mut network = settled(100, Config::default(), 1..=20, seed);
        network.loss = 0.3;
        let mut ids = Vec::new();
        for _ in 0..40 {
            let who = network.random_node();
            ids.push(network.publish(&who, "in a storm", None));
            network.run(100);
        }
        let waited = network.run_until(30_000, |network| network.all_have(&ids));
        println!("seed {seed}: all have all {waited:?} ms after the last, via {:?}", network.via);
        assert!(waited.is_some(), "seed {seed}");
        assert!(network.via[Via::Graft as usize] > 0, "some were quicker asked for than pushed");
    }
}

#[test]
fn ten_messages_of_8_kib_from_each_of_a_hundred_at_once_arrive_everywhere_once() {
    let mut network = settled(100, Config::default(), 1..=3, 1);
    network.rate = Some(4_000); // 4 MB/s a link, so that queues fill
    let (frames, text) = (network.payload_frames, "x".repeat(8_192));
    let mut ids = Vec::new();
    for _ in 0..10 {
        for number in 1..=100 {
            ids.push(network.publish(&name(number), &text, None));
        }
    }
    let mut kept = 0;
    let start = network.now;
    let all = loop {
        kept = kept.max(network.nodes.values().map(|node| node.state.kept_bytes()).max().unwrap());
        let all = network.all_have(&ids);
        if all || network.now > start + 60_000 {
            break all;
        }
        network.run(100);
    };
    let rmr = (network.payload_frames - frames) as f64 / (1_000.0 * 99.0) - 1.0;
    println!(
        "all after {} ms, RMR {rmr:.2}, {} KiB queued, {} KiB kept at most, via {:?}",
        network.now - start,
        network.queued_max / 1_024,
        kept / 1_024,
        network.via
    );
    assert!(all);
    assert!(network.queued_max <= 1024 * 1024, "a link's queue stays near its mark: {}", network.queued_max);
    assert!(kept <= Config::default().burst_max_bytes);
    network.run(12_000);
    let rest = network.nodes.values().map(|node| node.state.kept_bytes()).max().unwrap();
    assert!(rest <= Config::default().messages_max_bytes, "and it is given back: {rest}");
    assert!(rmr <= 0.5, "a text is not sent where its id would do: {rmr}");
}

#[test]
fn more_than_can_be_kept_is_refused_by_its_origin_and_what_was_accepted_arrives() {
    let config = Config { burst_max_bytes: 1024 * 1024, ..Config::default() };
    let mut network = settled(20, config, 1..=3, 1);
    network.rate = Some(4_000);
    let (text, mut ids, mut refused) = ("x".repeat(8_192), Vec::new(), 0);
    for round in 0..400 {
        match network.try_publish(&name(1 + round % 20), &text, None) {
            Ok(id) => ids.push(id),
            Err(PublishError::Busy { .. }) => refused += 1,
            Err(error) => panic!("{error}"),
        }
        network.run(20);
    }
    assert!(refused > 0 && ids.len() > 100, "{refused} refused, {} accepted", ids.len());
    assert!(network.run_until(30_000, |network| network.all_have(&ids)).is_some());
}

#[test]
fn views_are_bounded_apart_and_hold_nobody_dead() {
    let mut network = settled(300, Config::default(), 1..=5, 1);
    let sound = |network: &Network| {
        for (me, node) in &network.nodes {
            let active: Vec<_> = node.state.neighbours().collect();
            let passive: Vec<_> = node.state.passive().collect();
            assert!(active.len() <= 8 && passive.len() <= 30, "{me}: {} and {}", active.len(), passive.len());
            assert!(!passive.contains(&me) && active.iter().all(|name| !passive.contains(name)));
        }
    };
    sound(&network);
    let before: Vec<NodeName> = network.nodes[&name(300)].state.passive().cloned().collect();
    network.run(120_000);
    let after: Vec<NodeName> = network.nodes[&name(300)].state.passive().cloned().collect();
    let new = after.iter().filter(|name| !before.contains(name)).count();
    assert!(new >= 5, "shuffles keep the reserve moving: {new} new of {}", after.len());
    let victims: Vec<NodeName> = (1..=270).map(name).collect();
    network.kill(&victims);
    network.run(7_000);
    sound(&network);
    for node in network.nodes.values() {
        assert!(node.state.passive().chain(node.state.neighbours()).all(|name| network.nodes.contains_key(name)));
    }
    assert!(network.run_until(30_000, |network| network.is_connected() && network.is_symmetric()).is_some());
}

#[test]
fn nobody_is_alone_while_anybody_lives() {
    for seed in 1..=3 {
        let mut network = settled(200, Config::default(), 1..=5, seed);
        let victims: Vec<NodeName> = (1..=197).map(name).collect();
        network.kill(&victims);
        let waited = network.run_until(60_000, |network| network.is_connected());
        println!("seed {seed}: three of two hundred found each other after {waited:?} ms");
        assert!(waited.is_some(), "seed {seed}: {:?}", network.degrees());
    }
}
