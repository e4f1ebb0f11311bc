//! What p2pnet costs, how fast it heals and what it never gets wrong, on real nodes. One line of JSON a figure, with what
//! it must reach where that is fixed.
//!
//! ```text
//! cargo bench -p p2pnet --bench network -- [--nodes 100] [--runtime docker] [--runs 5] [WORD …]
//!
//! without a word, the first five:
//! start      nothing → every node agrees; in Docker also the bare create+start of the same containers, and the ratio
//! kill       one node, then ten at once, killed → each survivor has declared them dead: first, median, last survivor
//! broadcast  accepted at one node → the last of all nodes has it
//! rest       memory of a node; processor time of all nodes, of the gateway, of the dashboard
//! keys       a key pressed while the network starts → seen on screen
//!
//! serf       the same kills in a cluster of Serf agents (profile `local`) in turn with ours, and the ratios; also their
//!            events, memory, processor time, and when the last pair of agents has met
//! hog        two busy threads a core for a minute (--secs): deaths declared, accusations, refutations, health
//! paused     30 % of the nodes paused for 10 s (--secs): deaths declared of those that were not
//! loss       every node loses 30 % of what it sends: 20 messages, each at every node exactly once
//! half       half of the nodes killed at once, 20 messages right after: each at every survivor exactly once
//! traffic    bytes a second a node sends when nothing happens, over a minute (--secs)
//! calibrate  100 real members and 100 simulated ones under one schedule: detection and bytes, and how far apart
//! idle       nothing happens for 10 minutes (--minutes): deaths declared, accusations, memory, processor time
//! large      1,000 nodes (--nodes): start, memory, processor time, one kill
//! kv         the store: requests a second and their times, beside an empty server and etcd; kill → all copies are back;
//!            keys lost; balance; what moves; memory (all parts, or --part alone,ten …)
//! files      the folder: time until all nodes have all files, beside Syncthing, rsync and cp; one file to a hundred nodes with a
//!            cap on what each sends; memory; a bad day at --nodes (all parts, or --files-part union,swarm …)
//! ```
//! Every time is taken so that it cannot be flattered: a kill is stamped before the engine is asked, a start begins before
//! the first call, and a survivor's or receiver's own wall clock is on the same host.
//!
//! ```text
//! bench.rs      options; the rounds of the quick figures    figure.rs     a figure and its target, as JSON
//! running.rs    a network that runs, folded as we wait      processes.rs  what the kernel says of its processes
//! survivors.rs, journal.rs, ledger.rs   who saw a death, what was said of whom, who has which message
//! supervisor.rs nothing stays, however it ends              debian.rs     programs to compare with
//! kv/, files/   the store's and the folder's figures     else one file a word, or two that share an idea
//! ```

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

mod bare;
mod bench;
mod broadcast;
mod calibrate;
mod debian;
mod figure;
mod files;
mod hog;
mod journal;
mod keys;
mod kill;
mod kv;
mod large;
mod ledger;
mod loss;
mod paused;
mod processes;
mod rest;
mod running;
mod serf;
mod supervisor;
#[path = "../../tests/support/mod.rs"]
mod support;
mod survivors;
#[path = "../../tests/support/terminal.rs"]
mod terminal;
mod traffic;

use std::process::ExitCode;

use bench::{Bench, Options, Word};
use clap::Parser;

/// Measures one word and prints its figures.
type Measure = fn(&Bench);

fn main() -> ExitCode {
    kv::serve_if_asked();
    let options = Options::parse();
    if !supervisor::is_supervised() {
        return supervisor::supervise().into();
    }
    let bench = Bench::new(options);
    if [Word::Start, Word::Kill, Word::Broadcast, Word::Rest].into_iter().any(|word| bench.wants(word)) {
        bench.rounds();
    }
    let others: [(Word, Measure); 12] = [
        (Word::Keys, keys::measure),
        (Word::Serf, serf::measure),
        (Word::Hog, hog::measure),
        (Word::Paused, paused::measure),
        (Word::Loss, loss::measure_loss),
        (Word::Half, loss::measure_half),
        (Word::Traffic, traffic::measure),
        (Word::Calibrate, calibrate::measure),
        (Word::Idle, hog::measure_idle),
        (Word::Large, large::measure),
        (Word::Kv, kv::measure),
        (Word::Files, files::measure),
    ];
    for (word, measure) in others {
        if bench.wants(word) {
            measure(&bench);
        }
    }
    ExitCode::SUCCESS
}
