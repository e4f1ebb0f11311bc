//! What the simulator says of membership and broadcast. One line of JSON a figure.
//!
//! ```text
//! cargo bench -p p2pnet-node --bench simulator -- [WORD…] [--seeds 5] [--nodes 100] [--latency-us-min 50 --latency-us-max 500]
//!
//! calibrate   one schedule to hold against real containers: 30 s to settle, 60 s idle, then one node killed, five times
//! ```
//! The nodes and the network are those of the tests, file by file; only the checks that cost much are left out. Times are
//! simulated and so the same on every machine; `wall_s` says what the run took here.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![allow(dead_code, reason = "the simulator's files serve the tests too")]

mod calibrate;
#[path = "../../tests/sim/counters.rs"]
mod counters;
#[path = "../../tests/sim/effects.rs"]
mod effects;
mod figure;
#[path = "../../tests/sim/heap.rs"]
mod heap;
#[path = "../../tests/sim/invariants.rs"]
mod invariants;
#[path = "../../tests/sim/links.rs"]
mod links;
#[path = "../../tests/sim/lives.rs"]
mod lives;
#[path = "../../tests/sim/network.rs"]
mod network;
#[path = "../../tests/sim/paths.rs"]
mod paths;
#[path = "../../tests/sim/trace.rs"]
mod trace;
#[path = "../../tests/sim/traffic.rs"]
mod traffic;
#[path = "../../tests/sim/wire.rs"]
mod wire;

use clap::Parser;
use network::Network;

/// What to measure, and on what a wire.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// Figures to take: calibrate; all of them without a word.
    words: Vec<String>,
    /// Runs of each figure, with the seeds 1, 2, 3 and so on.
    #[arg(long, default_value_t = 5)]
    pub(crate) seeds: u64,
    /// Nodes in `calibrate`.
    #[arg(long, default_value_t = 100)]
    pub(crate) nodes: usize,
    /// Shortest way from node to node, microseconds.
    #[arg(long, default_value_t = 50)]
    latency_us_min: u64,
    /// Longest way from node to node, microseconds.
    #[arg(long, default_value_t = 500)]
    latency_us_max: u64,
    /// Count the bytes of the sealed envelope.
    #[arg(long)]
    sealed: bool,
    /// What cargo says to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    fn wants(&self, word: &str) -> bool {
        self.words.is_empty() || self.words.iter().any(|wanted| wanted == word)
    }

    /// An empty network on the wire that was asked for.
    pub(crate) fn network(&self, seed: u64) -> Network {
        let mut network = Network::new(seed);
        network.watcher.careless = true;
        network.wire.conditions.latency_us = self.latency_us_min..=self.latency_us_max;
        if self.sealed {
            network.seal();
        }
        network
    }

    /// A network of `count` nodes that know one another and are past their warm-up.
    pub(crate) fn settled(&self, seed: u64, count: usize) -> Network {
        let mut network = self.network(seed);
        network.start_many(count, 20 * count as u64);
        network.run_until("all agree", 30_000, Network::all_agree);
        network.run_for(30_000);
        network
    }
}

fn main() {
    let options = Options::parse();
    if options.wants("calibrate") {
        calibrate::measure(&options);
    }
}
