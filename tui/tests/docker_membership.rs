//! Membership on real containers: a third asleep, everybody restarted at once, the network cut in two and healed.
//!
//! What nodes say of each other is taken from `watch --json`; who really runs, from the engine.

#![allow(clippy::disallowed_methods, reason = "tests wait for the real world")]

mod support;

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    process::{Child, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::Value;
use support::{Lab, docker_available, until};

const NODES: u32 = 30;

/// `watch --json` of a network, read as it comes.
struct Watch {
    child: Child,
    lines: Arc<Mutex<Vec<Value>>>,
}

impl Watch {
    fn of(lab: &Lab) -> Self {
        let mut command = lab.command();
        command.args(["watch", "--json", "--network", &lab.network]).stdout(Stdio::piped());
        let mut child = command.spawn().expect("p2pnet runs");
        let output = BufReader::new(child.stdout.take().expect("its output is a pipe"));
        let lines = Arc::new(Mutex::new(Vec::new()));
        let read = lines.clone();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                read.lock().unwrap().push(serde_json::from_str(&line).expect("watch prints JSON"));
            }
        });
        let watch = Self { child, lines };
        until("the first line of watch", Duration::from_secs(20), || {
            (!watch.lines.lock().unwrap().is_empty()).then_some(())
        });
        watch
    }

    /// The nodes of which a line of this kind was printed so far.
    fn nodes(&self, kind: &str) -> BTreeSet<String> {
        let lines = self.lines.lock().unwrap();
        let of_kind = lines.iter().filter(|line| line["kind"] == kind);
        of_kind.filter_map(|line| line["node"].as_str().map(str::to_owned)).collect()
    }

    fn forget(&self) {
        self.lines.lock().unwrap().clear();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn whatever_happens_to_thirty_containers_the_end_state_is_right() {
    if !docker_available() {
        return;
    }
    let lab = Lab::new("docker", 40);
    lab.start(NODES);
    let watch = Watch::of(&lab);

    a_third_asleep(&lab, &watch);
    cut_in_two(&lab, &watch);
    everybody_restarted(&lab, &watch);
}

/// Nine sleep for ten seconds: no healthy node is taken for dead, neither meanwhile nor when they wake.
fn a_third_asleep(lab: &Lab, watch: &Watch) {
    watch.forget();
    lab.ok(&["pause-node", "1-9"]);
    until("the sleepers are found out", Duration::from_secs(60), || {
        (watch.nodes("declared_dead").len() >= 9).then_some(())
    });
    lab.ok(&["resume-node", "1-9"]);
    lab.wait_converged();
    lab.assert_agreed(u64::from(NODES) + 1);
    let sleepers: BTreeSet<String> = (1..=9).map(|number| format!("node{number}")).collect();
    let wrongly: Vec<String> = watch.nodes("declared_dead").difference(&sleepers).cloned().collect();
    assert!(wrongly.is_empty(), "healthy, and declared dead: {wrongly:?}");
    assert_eq!(watch.nodes("came_back"), sleepers, "the story ends well for each of them");
}

/// Each half buries the other; healed, they find together without help.
fn cut_in_two(lab: &Lab, watch: &Watch) {
    watch.forget();
    lab.ok(&["fault", "cut", "1-15 | 16-30 bootstrap"]);
    until("each half has buried the other", Duration::from_secs(90), || {
        (watch.nodes("declared_dead").len() >= 30).then_some(())
    });
    lab.ok(&["heal"]);
    lab.wait_converged();
    lab.assert_agreed(u64::from(NODES) + 1);
}

/// All nodes of the network are new lives within seconds of each other.
fn everybody_restarted(lab: &Lab, watch: &Watch) {
    watch.forget();
    lab.ok(&["restart-node", "bootstrap", "1-30"]);
    lab.wait_converged();
    lab.assert_agreed(u64::from(NODES) + 1);
    lab.ok(&["send-message", "7", "back again"]);
    lab.wait_converged();
    let messages = lab.status()["messages"].clone();
    assert_eq!(messages["delivered"], messages["expected"], "{messages:#}");
    assert_eq!(messages["duplicates"], 0, "{messages:#}");
}
