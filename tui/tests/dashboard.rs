//! The real dashboard in a real terminal, over real processes: what a newcomer does in the first five minutes.

#![allow(clippy::disallowed_methods, reason = "tests wait for the real world")]

mod support;
#[path = "support/terminal.rs"]
mod terminal;

use std::time::Duration;

use p2pnet_shared::{
    NodeName,
    ring::{Place, Ring, VNODES},
};
use support::{Lab, until};
use terminal::Terminal;

const NODES: u16 = 8;
const SOON: Duration = Duration::from_secs(10);
const PATIENT: Duration = Duration::from_secs(60);

/// Opens the dashboard on a network that does not exist yet, so that it starts one.
fn open_new(lab: &Lab, columns: u16, rows: u16) -> Terminal {
    let base_port = lab.base_port.to_string();
    let nodes = NODES.to_string();
    let args = ["--runtime", "process", "--nodes", &nodes, "--base-port", &base_port];
    let terminal = Terminal::open(lab, &args, columns, rows);
    terminal
        .wait_for("the started network", PATIENT, |screen| screen.contains("CONVERGED") && screen.contains("node8"));
    terminal
}

/// Esc, and not before it has worked the next key: an escape that something follows at once is another key.
fn leave_prompt(terminal: &mut Terminal) {
    terminal.keys("\u{1b}");
    terminal.wait_for("the empty prompt", SOON, |screen| screen.contains("press : for a command"));
}

fn quit(mut terminal: Terminal) {
    terminal.keys("Q");
    terminal.wait_for("the question on quitting", SOON, |screen| screen.contains("leave the network running"));
    terminal.keys("\r");
    assert!(terminal.wait_end(SOON).success());
    until("the terminal is given back", SOON, || terminal.is_given_back().then_some(()));
}

#[test]
fn a_kill_from_the_prompt_turns_the_verdict_and_the_network_heals() {
    let lab = Lab::new("process", NODES + 8);
    let mut terminal = open_new(&lab, 160, 45);
    terminal.keys(":kill 3\r");
    terminal.wait_for("the dead node", SOON, |screen| screen.contains("DEAD"));
    terminal.wait_for("a verdict other than converged", SOON, |screen| !screen.contains("✓ CONVERGED"));
    terminal.wait_for("agreement without it", PATIENT, |screen| screen.contains("✓ CONVERGED"));
    lab.assert_agreed(u64::from(NODES));

    terminal.keys(":send node4 \"hello\"\r");
    terminal.wait_for("the message's trace", SOON, |screen| screen.contains("hello") && screen.contains("8/8"));
    terminal.keys(":restart 3\r");
    terminal.wait_for("the node is back", PATIENT, |screen| screen.contains("✓ CONVERGED") && !screen.contains("DEAD"));
    lab.assert_agreed(u64::from(NODES) + 1);
    quit(terminal);
    lab.assert_agreed(u64::from(NODES) + 1);
}

/// A key whose owner may be killed without being asked about it, and that owner.
fn key_of_a_peer() -> (String, NodeName) {
    let peers = (1..=u32::from(NODES)).map(NodeName::numbered);
    let ring = Ring::of(VNODES, peers.chain([NodeName::bootstrap()]));
    let owned = (0..).map(|number| format!("key{number}")).find_map(|key| {
        let owner = ring.owner(Place::of(&key)).filter(|owner| **owner != NodeName::bootstrap())?.clone();
        Some((key, owner))
    });
    owned.expect("somebody beside the bootstrap owns a key")
}

#[test]
fn a_key_put_at_the_prompt_outlives_its_owner_and_the_ring_shows_it() {
    let lab = Lab::new("process", NODES + 8);
    let mut terminal = open_new(&lab, 160, 45);
    let (key, owner) = key_of_a_peer();
    terminal.keys(&format!(":put {key} \"red and round\"\r"));
    terminal.wait_for("the answer", SOON, |screen| screen.contains("copies on disk"));
    terminal.wait_for("the key in the top lines", SOON, |screen| {
        screen.contains(" 1 key ") && screen.contains("3 copies each")
    });
    terminal.keys(&format!(":owner {key}\r"));
    let marked = format!("◆ {key}");
    terminal.wait_for("the ring with the key and its three holders", SOON, |screen| {
        screen.contains("7 Ring") && screen.contains(&marked) && screen.contains(&format!("1 {owner} ✓"))
    });
    terminal.keys(&format!(":kill {owner}\r"));
    terminal.wait_for("the owner is dead", SOON, |screen| screen.contains("DEAD"));
    terminal.wait_for("it has three copies again, another owner first", PATIENT, |screen| {
        screen.contains("3 copies each") && !screen.contains(&format!("1 {owner} ")) && screen.contains(&marked)
    });
    terminal.keys(&format!(":get {key}\r"));
    terminal.wait_for("the value", SOON, |screen| screen.contains(&format!("get {key}: red and round")));
    quit(terminal);
}

#[test]
fn the_terminal_is_given_back_on_sigterm_and_sighup_and_the_network_lives_on() {
    let lab = Lab::new("process", NODES + 8);
    let mut first = open_new(&lab, 100, 30);
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::HUP] {
        let pid = first.child.process_id().and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed())).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
        first.wait_end(SOON);
        until("the terminal is given back", SOON, || first.is_given_back().then_some(()));
        lab.assert_agreed(u64::from(NODES) + 1);
        first = Terminal::open(&lab, &[], 80, 24);
        first.wait_for("the network, found again", PATIENT, |screen| screen.contains("CONVERGED"));
    }
    quit(first);
}

#[test]
fn a_key_press_is_on_screen_while_nodes_start() {
    let lab = Lab::new("process", 40);
    let base_port = lab.base_port.to_string();
    let args = ["--runtime", "process", "--nodes", "30", "--base-port", &base_port];
    let mut terminal = Terminal::open(&lab, &args, 120, 40);
    terminal.wait_for("the first screen", SOON, |screen| screen.contains("p2pnet"));
    terminal.keys(":xyzzy");
    terminal.wait_for("what was typed", SOON, |screen| screen.contains("xyzzy"));
    leave_prompt(&mut terminal);
    terminal.wait_for("the started network", PATIENT, |screen| screen.contains("✓ CONVERGED"));
    quit(terminal);
}

#[test]
fn a_mistyped_verb_is_explained_and_the_line_kept() {
    let lab = Lab::new("process", NODES + 8);
    let mut terminal = open_new(&lab, 80, 24);
    terminal.keys(":kil 3\r");
    terminal.wait_for("the error", SOON, |screen| screen.contains("kil 3") && screen.contains("did you mean `kill`?"));
    leave_prompt(&mut terminal);
    terminal.keys(":kill 99\r");
    terminal.wait_for("the error", SOON, |screen| screen.contains("kill 99") && screen.contains("node99"));
    leave_prompt(&mut terminal);
    lab.assert_agreed(u64::from(NODES) + 1);
    quit(terminal);
}
