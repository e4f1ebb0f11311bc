//! The store on seven local processes and the bootstrap, as in `docker_keys` and where there is no container engine.

#![allow(clippy::disallowed_methods, reason = "tests wait for the real world")]

#[path = "../../node/tests/support/ledger.rs"]
mod ledger;
mod support;
#[path = "support/trial.rs"]
mod trial;

use support::Lab;
use trial::Blow;

const NODES: u32 = 7;

#[test]
fn eight_processes_lose_nothing_that_was_acknowledged() {
    let lab = Lab::new("process", 10);
    lab.start(NODES);
    trial::run(&lab, NODES as usize, "keys_ledger", &[1, 1], &[Blow::Kill, Blow::Pause, Blow::Restart, Blow::KillTwo]);
}
