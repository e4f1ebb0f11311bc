//! The schedule that real containers run too: 30 s to settle, 60 s idle, then one node killed, five times with rest in
//! between.

use std::time::Instant;

use rand::seq::IndexedRandom;
use serde_json::json;

use crate::{
    Options,
    figure::{print, quantile},
    network::Network,
};

const IDLE_S: u64 = 60;
const KILLS: usize = 5;
const REST_MS: u64 = 15_000;

/// Prints the figure `calibrate`: the median survivor of each kill, the median of these, and the idle UDP payload with its
/// envelope that a node sends.
pub(crate) fn measure(options: &Options) {
    let began = Instant::now();
    let mut network = options.settled(1, options.nodes);
    (network.measure, network.bytes_sent, network.datagrams_sent) = (true, 0, 0);
    network.run_for(IDLE_S * 1_000);
    let per_node = |total: u64| total as f64 / IDLE_S as f64 / options.nodes as f64;
    let (bytes, datagrams) = (per_node(network.bytes_sent), per_node(network.datagrams_sent));
    network.measure = false;
    let mut medians = Vec::new();
    for _ in 0..KILLS {
        let running = network.running();
        let victim = running[1..].choose(&mut network.rng).copied().expect("some run");
        let at = network.now();
        network.kill(victim);
        network.run_until("the survivors agree", 60_000, Network::all_agree);
        medians.push(quantile(&network.watcher.detection(victim, at), 0.5));
        network.run_for(REST_MS);
    }
    let mut sorted = medians.clone();
    sorted.sort_unstable();
    print(json!({
        "figure": "calibrate",
        "nodes": options.nodes,
        "detection_ms_p50": quantile(&sorted, 0.5),
        "detection_ms": medians,
        "bytes_per_node_per_s": bytes,
        "datagrams_per_node_per_s": datagrams,
        "latency_us": [options.latency_us_min, options.latency_us_max],
        "sealed": options.sealed,
        "wall_s": began.elapsed().as_secs_f64(),
    }));
}
