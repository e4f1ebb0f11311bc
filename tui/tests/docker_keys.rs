//! The store on thirty real containers that are killed, frozen, restarted and cut in two under the hands of their users:
//! nothing that was acknowledged is lost, nothing stale is shown, no sibling is dropped; and when all are killed at once
//! and started again, every acknowledged key is back.

#![allow(clippy::disallowed_methods, reason = "tests wait for the real world")]

#[path = "../../node/tests/support/ledger.rs"]
mod ledger;
mod support;
#[path = "support/trial.rs"]
mod trial;

use support::{Lab, docker_available};
use trial::Blow;

const NODES: u32 = 30;

#[test]
fn thirty_containers_lose_nothing_that_was_acknowledged() {
    if !docker_available() {
        return;
    }
    let lab = Lab::new("docker", 40);
    lab.start(NODES);
    let kinds = [Blow::Kill, Blow::Restart, Blow::Pause, Blow::KillTwo, Blow::Cut];
    trial::run(&lab, NODES as usize, "docker_keys", &[1, 2, 2], &kinds);
}
