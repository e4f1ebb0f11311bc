//! Anything may happen: small networks where everything goes wrong by chance, from one seed each.

use rand::{RngExt, seq::IndexedRandom};

use super::{network::Net, node, path};
use crate::folder::{Config, Request};

const PATHS: [&str; 9] = ["a", "b", "c.txt", "d/e", "d/f", "d/g/h", "i", "d", "i/j"];

/// One thing happens.
fn step(net: &mut Net, nodes: u32, count: u32) {
    let number = net.rng.random_range(1..=nodes);
    let name = node(number);
    let at = path(PATHS.choose(&mut net.rng).unwrap());
    let is_up = net.is_up(&name);
    let length =
        *[0, 5, 3_000, 300_000].choose_weighted(&mut net.rng, |length| if *length > 9_999 { 1 } else { 8 }).unwrap();
    let contents = super::union::bytes(count, length + usize::from(length > 0) * 4);
    match net.rng.random_range(0..100) {
        0..40 => net.write(number, &at, contents),
        40..55 => net.remove(number, &at),
        55..65 if is_up => {
            // Not where programs write: an upload replaces what its node knows, and that is not for the disk to say.
            let at = path(["up/1", "up/2", "up/3/4"].choose(&mut net.rng).unwrap());
            net.upload(number, &at, contents);
        }
        65..68 if is_up => {
            net.ask(number, Request::Open { path: at });
        }
        68..71 if is_up => {
            net.ask(number, Request::List);
        }
        71..73 if is_up => {
            net.ask(number, Request::Rescan);
        }
        73..80 if is_up => net.crash(&name),
        80..90 if !is_up => net.start(&name),
        90..92 => {
            let believed = net.rng.random();
            net.cut(&[name], believed);
        }
        92..96 => net.heal(),
        96..97 if !is_up => net.disk(number).rows.clear(),
        _ => {}
    }
}

fn one(seed: u64) {
    let mut config = Config::default();
    config.rescan_period.0 = 10_000;
    config.download_patience.0 = 5_000;
    let mut net = Net::empty(seed, config);
    let nodes = net.rng.random_range(2..=5);
    for number in 1..=nodes {
        for count in 0..3 {
            let at = path(PATHS.choose(&mut net.rng).unwrap());
            net.write(number, &at, super::union::bytes(1_000 + number * 10 + count, 9));
        }
        let node = net.nodes.get_mut(&node(number)).unwrap();
        node.watches = seed % 4 != u64::from(number);
        node.skew = if seed.is_multiple_of(3) { u64::from(number) * 3_600_000 } else { 0 };
    }
    net.reorders = seed.is_multiple_of(2);
    net.loss = *[0, 10, 100].choose(&mut net.rng).unwrap();
    net.disk_ms = *[2, 20, 200].choose(&mut net.rng).unwrap();
    for number in 1..=nodes {
        net.start(&node(number));
    }
    for count in 0..40 {
        step(&mut net, nodes, count);
        let pause = *[1, 30, 300, 1_500].choose(&mut net.rng).unwrap();
        net.run(pause);
    }
    net.loss = 0;
    net.heal();
    for name in net.names() {
        if !net.is_up(&name) {
            net.start(&name);
        }
    }
    // Time for a last look at everything, where there is no watch.
    net.run(15_000);
    let took = net.until(60_000, |net| net.agrees() && net.unanswered() == 0);
    assert!(took.is_some(), "seed {seed}: {} questions open, {}", net.unanswered(), net.describe());
    let held: std::collections::BTreeSet<_> = net.tree().into_values().collect();
    let lost: Vec<_> = net.written.iter().filter(|root| !held.contains(root) && !net.replaced.contains(root)).collect();
    assert!(lost.is_empty(), "seed {seed}: lost {lost:?} {}", net.describe());
    assert_eq!(net.unanswered(), 0, "seed {seed}");
}

#[test]
fn whatever_happens_all_agree_in_the_end_and_nothing_is_lost() {
    let count = std::env::var("P2PNET_FOLDER_SEEDS").ok().and_then(|count| count.parse().ok()).unwrap_or(120);
    let first = std::env::var("P2PNET_FOLDER_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    for seed in first..first + count {
        one(seed);
    }
}
