//! What p2pnet costs and how fast it heals, on real nodes. One line of JSON a figure.
//!
//! ```text
//! cargo bench -p p2pnet --bench network -- --nodes 100 --runtime docker [--runs 5] [start] [kill] [broadcast] [rest] [keys]
//!
//! start      nothing → every node agrees; in Docker also the bare create+start of the same containers, and the ratio
//! kill       one node, then ten at once, killed → each survivor has declared them dead: first, median, last survivor
//! broadcast  accepted at one node → the last of all nodes has it
//! rest       memory of a node; processor time of all nodes, of the gateway, of the dashboard
//! keys       a key pressed while the network starts → seen on screen
//! ```
//! Every time is taken so that it cannot be flattered: a kill is stamped before the engine is asked, a start begins before
//! the first call, and a survivor's or receiver's own wall clock is on the same host.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

mod bare;
mod bench;
mod broadcast;
mod figure;
mod keys;
mod kill;
mod rest;
#[path = "../../tests/support/mod.rs"]
mod support;
mod survivors;
#[path = "../../tests/support/terminal.rs"]
mod terminal;

use std::process::Command;

use bench::{Bench, Options};
use clap::Parser;

const LAB_HOME: &str = "P2PNET_LAB_HOME";

fn main() {
    let options = Options::parse();
    // Networks of local processes are found by a file in the state folder: ours and that of the p2pnet we start are the
    // same, and not the user's.
    if std::env::var_os(LAB_HOME).is_none() {
        let home = tempfile::tempdir().expect("a folder for the benchmark");
        let again = Command::new(std::env::current_exe().expect("this program"))
            .args(std::env::args_os().skip(1))
            .envs([("XDG_STATE_HOME", home.path()), (LAB_HOME, home.path())])
            .status();
        std::process::exit(again.expect("this program runs").code().unwrap_or(1));
    }
    let bench = Bench::new(options);
    if bench.wants("start") || bench.wants("kill") || bench.wants("broadcast") || bench.wants("rest") {
        bench.rounds();
    }
    if bench.wants("keys") {
        keys::measure(&bench);
    }
}
