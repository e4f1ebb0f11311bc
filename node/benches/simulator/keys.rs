//! What the store does with ten thousand keys: how soon there are three copies after a kill, what a join and a leave move,
//! and how evenly the keys lie.

use std::time::Instant;

use p2pnet_node::dht;
use p2pnet_shared::ring::VNODES_LARGE;
use serde_json::json;

use crate::{
    Options,
    figure::{print, spread},
    keyed::fill,
    network::Network,
    wire::NodeId,
};

const KEYS: usize = 10_000;
/// From how many nodes on a network has fewer virtual ones each.
const LARGE: usize = 500;

/// Prints `repair`, `moves` and `balance` at each of `sizes`.
pub(crate) fn measure(options: &Options, sizes: &[usize]) {
    for &nodes in sizes {
        let began = Instant::now();
        let (mut repair, mut copies) = (Vec::new(), Vec::new());
        let (mut joined, mut left, mut balance) = (Vec::new(), Vec::new(), Vec::new());
        for seed in 1..=options.seeds_for(nodes) {
            let mut network = filled(options, seed, nodes);
            balance.push(max_over_mean_percent(&network));
            let (took, died) = kill_one(&mut network);
            repair.push(took);
            copies.push(died);
            let (come, gone) = join_and_leave(&mut network);
            joined.push(come);
            left.push(gone);
        }
        print(json!({
            "figure": "repair", "unit": "ms", "nodes": nodes, "keys": KEYS, "three_copies_after_detection": spread(repair),
            "copies_died": spread(copies),
        }));
        print(json!({
            "figure": "moves", "unit": "percent of its share", "nodes": nodes, "keys": KEYS, "join": spread(joined),
            "leave": spread(left),
        }));
        print(json!({
            "figure": "balance", "unit": "percent", "nodes": nodes, "keys": KEYS, "max_over_mean": spread(balance),
            "wall_s": began.elapsed().as_secs_f64(),
        }));
    }
}

fn filled(options: &Options, seed: u64, nodes: usize) -> Network {
    let mut network = options.network(seed);
    let vnodes = if nodes < LARGE { dht::Config::default().vnodes } else { VNODES_LARGE };
    network.store_config = Some(dht::Config { vnodes, ..dht::Config::default() });
    network.start_known(nodes);
    network.ensure_overlay(5);
    network.run_for(5_000);
    fill(&mut network, KEYS, 20);
    network.until_in_place("the puts", 60_000);
    network
}

fn disk_keys(network: &Network, id: NodeId) -> usize {
    network.nodes[id].disk.kept.len()
}

/// The most copies that a node holds, over the mean.
fn max_over_mean_percent(network: &Network) -> u64 {
    let held: Vec<u64> = network.running().into_iter().map(|id| disk_keys(network, id) as u64).collect();
    100 * held.iter().max().copied().unwrap_or(0) * held.len() as u64 / held.iter().sum::<u64>().max(1)
}

/// Milliseconds from the first survivor's knowledge to three copies of everything, and how many copies died.
fn kill_one(network: &mut Network) -> (u64, u64) {
    let victim = network.nodes.len() / 2;
    let died = disk_keys(network, victim) as u64;
    let at = network.now();
    network.kill_for_good(victim);
    while network.watcher.detection(victim, at).is_empty() {
        network.run_for(10);
    }
    let detected = network.now();
    network.run_until("the survivors agree", 120_000, Network::all_agree);
    network.until_in_place("all knew of the death", 120_000);
    (network.now() - detected, died)
}

/// Copies that came to be where they were not when a node joined, and when it left again, in percent of its share.
fn join_and_leave(network: &mut Network) -> (u64, u64) {
    let copies = |network: &Network| -> u64 { network.keeper.counts.copies_made };
    let before = copies(network);
    let newcomer = network.start(Some(3));
    network.run_until("all agree", 60_000, Network::all_agree);
    network.until_in_place("all knew the newcomer", 120_000);
    let share = (disk_keys(network, newcomer) as u64).max(1);
    let come = copies(network) - before;
    let before = copies(network);
    network.leave(newcomer);
    network.run_until("all agree", 60_000, Network::all_agree);
    network.until_in_place("all knew that it left", 120_000);
    (100 * come / share, 100 * (copies(network) - before) / share)
}
