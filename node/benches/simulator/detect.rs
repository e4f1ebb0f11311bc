//! How soon a death is known, how soon newcomers are, what a node sends at rest, and whether anybody is accused in peace.

use std::time::Instant;

use serde_json::json;

use crate::{
    Options,
    figure::{print, quantile, spread},
    large::kill_some,
    network::Network,
    wire::HEADERS_BYTES,
};

const IDLE_S: u64 = 60;
/// Virtual seconds of 100 nodes in `quiet`: a million node-seconds.
const QUIET_S: u64 = 10_000;

/// Prints `detection` for 1 and 10 kills at each of `sizes`.
pub(crate) fn detection(options: &Options, sizes: &[usize]) {
    for &nodes in sizes {
        for kills in [1, 10] {
            let began = Instant::now();
            let (mut all, mut first, mut median, mut last) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
            for seed in 1..=options.seeds_for(nodes) {
                let mut network = options.settled(seed, nodes);
                let times = kill_some(&mut network, kills, 7, 120_000);
                first.push(times[0]);
                median.push(quantile(&times, 0.5));
                last.push(times[times.len() - 1]);
                all.extend(times);
            }
            print(json!({
                "figure": "detection", "series": "ours", "unit": "ms", "nodes": nodes, "kills": kills,
                "survivors": spread(all), "first": spread(first), "median": spread(median), "last": spread(last),
                "wall_s": began.elapsed().as_secs_f64(),
            }));
        }
    }
}

/// Prints `join`: from the last start to the moment all agree; and `idle`: what a node sends after that.
pub(crate) fn join_and_idle(options: &Options, sizes: &[usize]) {
    for &nodes in sizes {
        let began = Instant::now();
        let (mut took, mut bytes, mut on_the_wire) = (Vec::new(), Vec::new(), Vec::new());
        for seed in 1..=options.seeds_for(nodes) {
            let mut network = options.network(seed);
            network.start_many(nodes, 20 * nodes as u64);
            took.push(network.run_until("all agree", 60_000, Network::all_agree));
            network.run_for(30_000);
            (network.measure, network.bytes_sent, network.datagrams_sent) = (true, 0, 0);
            network.run_for(IDLE_S * 1_000);
            let per_node = |total: u64| total / IDLE_S / nodes as u64;
            bytes.push(per_node(network.bytes_sent));
            on_the_wire.push(per_node(network.bytes_sent + network.datagrams_sent * HEADERS_BYTES as u64));
        }
        let wall_s = began.elapsed().as_secs_f64();
        print(json!({"figure": "join", "unit": "ms", "nodes": nodes, "agree": spread(took), "wall_s": wall_s}));
        print(json!({
            "figure": "idle", "series": "ours", "unit": "B/s per node", "nodes": nodes,
            "udp_payload": spread(bytes), "with_ip_headers": spread(on_the_wire),
        }));
    }
}

/// Prints `quiet`: a million node-seconds without a fault, in which nobody may be declared dead.
pub(crate) fn quiet(options: &Options) {
    let began = Instant::now();
    let mut network = options.settled(1, 100);
    network.watcher.no_false_deaths = true;
    network.run_for(QUIET_S * 1_000);
    print(json!({
        "figure": "quiet", "nodes": 100, "node_seconds": QUIET_S * 100, "false_deaths": network.watcher.false_deaths(),
        "suspicions": network.watcher.suspicions, "wall_s": began.elapsed().as_secs_f64(),
    }));
}
