//! What the simulator says of membership and broadcast. One line of JSON a figure.
//!
//! ```text
//! cargo bench -p p2pnet-node --bench simulator -- [WORD…] [--seeds 5] [--nodes 100] [--latency-us-min 50 --latency-us-max 500]
//!
//! calibrate   one schedule to hold against real containers: 30 s to settle, 60 s idle, then one node killed, five times
//! detection   1 and 10 killed at 100 and 1,000 nodes: first, median and last survivor
//! join        from the last start to agreement at 100 and 1,000, and what a node sends at rest
//! broadcast   redundancy, last hop, last node, delivered share: one sender and many; 30 % loss; half of all killed
//! foca        foca on the same wire: detection, traffic, and what one overloaded member of a hundred does to both
//! keys        10,000 keys: three copies after one kill at 100 and 1,000 nodes, what a join and a leave move, balance
//! quiet       a million node-seconds without a fault, in which nobody may be declared dead
//! large       10,000 nodes on a shared table: 1 and 100 killed; only when asked for
//! ```
//! The nodes and the network are those of the tests, file by file; only the checks that cost much are left out. Times are
//! simulated and so the same on every machine; `wall_s` says what the run took here.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![allow(dead_code, reason = "the simulator's files serve the tests too")]

mod calibrate;
mod contest;
mod detect;
mod epidemic;
mod figure;
mod keys;
mod scale;

#[path = "../../tests/sim/counters.rs"]
mod counters;
#[path = "../../tests/sim/disks.rs"]
mod disks;
#[path = "../../tests/sim/effects.rs"]
mod effects;
#[path = "../../tests/sim/heap.rs"]
mod heap;
#[path = "../../tests/sim/invariants.rs"]
mod invariants;
#[path = "../../tests/sim/keeper.rs"]
mod keeper;
#[path = "../../tests/sim/keyed.rs"]
mod keyed;
#[path = "../../tests/sim/large.rs"]
mod large;
#[path = "../../tests/support/ledger.rs"]
mod ledger;
#[path = "../../tests/sim/links.rs"]
mod links;
#[path = "../../tests/sim/lives.rs"]
mod lives;
#[path = "../../tests/sim/network.rs"]
mod network;
#[path = "../../tests/sim/overload.rs"]
mod overload;
#[path = "../../tests/sim/paths.rs"]
mod paths;
#[path = "../../tests/sim/pipes.rs"]
mod pipes;
#[path = "../../tests/sim/rival.rs"]
mod rival;
#[path = "../../tests/sim/schedule.rs"]
mod schedule;
#[path = "../../tests/sim/store.rs"]
mod store;
#[path = "../../tests/sim/trace.rs"]
mod trace;
#[path = "../../tests/sim/traffic.rs"]
mod traffic;
#[path = "../../tests/sim/users.rs"]
mod users;
#[path = "../../tests/sim/wire.rs"]
mod wire;

use clap::Parser;
use network::Network;

/// What to measure, and on what a wire.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// Figures to take: calibrate, detection, join, broadcast, foca, keys, quiet, large; all but the last without a word.
    words: Vec<String>,
    /// Runs of each figure, with the seeds 1, 2, 3 and so on.
    #[arg(long, default_value_t = 5)]
    pub(crate) seeds: u64,
    /// Nodes in `calibrate`, `broadcast` and `foca`.
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

    /// Runs of a figure at that size: the large ones differ less and take longer.
    pub(crate) fn seeds_for(&self, nodes: usize) -> u64 {
        if nodes < 1_000 { self.seeds } else { self.seeds.min(2) }
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
        settle(self.network(seed), count)
    }

    /// The same with every check, and every accusation counted.
    pub(crate) fn settled_with_care(&self, seed: u64, count: usize) -> Network {
        let mut network = self.network(seed);
        network.watcher.careless = false;
        settle(network, count)
    }
}

fn settle(mut network: Network, count: usize) -> Network {
    network.start_many(count, 20 * count as u64);
    network.run_until("all agree", 30_000, Network::all_agree);
    network.run_for(30_000);
    network
}

fn main() {
    let options = Options::parse();
    if options.wants("calibrate") {
        calibrate::measure(&options);
    }
    if options.wants("detection") {
        detect::detection(&options, &[100, 1_000]);
    }
    if options.wants("join") {
        detect::join_and_idle(&options, &[100, 1_000]);
    }
    if options.wants("broadcast") {
        epidemic::measure(&options);
    }
    if options.wants("foca") {
        contest::measure(&options);
    }
    if options.wants("keys") {
        keys::measure(&options, &[100, 1_000]);
    }
    if options.wants("quiet") {
        detect::quiet(&options);
    }
    if options.words.iter().any(|word| word == "large") {
        scale::measure(&options);
    }
}
