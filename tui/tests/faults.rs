//! Faults through the real binary: the verbs, what they print, and what `status` says meanwhile.

#![allow(clippy::disallowed_methods, reason = "tests wait for the real world")]

mod support;
#[path = "support/terminal.rs"]
mod terminal;

use std::time::Duration;

use serde_json::Value;
use support::{Lab, docker_available, until};
use terminal::Terminal;

/// A side of a cut doubts itself before it gives up the other (Lifeguard's local health), so this takes its time.
const CUT_OFF: Duration = Duration::from_secs(150);

/// How many members each node believes alive, itself included, bootstrap first.
fn members(lab: &Lab) -> Vec<u64> {
    let status = lab.status();
    status["detail"].as_array().unwrap().iter().map(|row| row["members"].as_u64().unwrap()).collect()
}

fn faults(lab: &Lab) -> Vec<Value> {
    lab.status()["faults"].as_array().unwrap().clone()
}

fn only_texts(lab: &Lab, node: &str) -> Vec<String> {
    let printed = lab.ok(&["get-messages", node]);
    printed.lines().map(|line| line.split(" (").next().unwrap().to_owned()).collect()
}

#[test]
fn a_cut_is_two_halves_on_screen_and_healing_is_one_network() {
    let lab = Lab::new("process", 8);
    lab.start(5);
    assert_eq!(lab.ok(&["fault"]), "no faults\n");
    let mut screen = Terminal::open(&lab, &[], 120, 36);
    screen.wait_for("the network", Duration::from_secs(30), |screen| screen.contains("CONVERGED"));

    let said = lab.ok(&["fault", "cut", "bootstrap 1-2 | 3-5"]);
    assert_eq!(said, "cut bootstrap 1-2 | 3-5: 6 nodes obey it\n");
    let [fault] = &faults(&lab)[..] else { panic!("one fault") };
    assert_eq!((&fault["fault"], &fault["nodes"]), (&"cut bootstrap 1-2 | 3-5".into(), &6.into()), "{fault}");
    assert_eq!((&fault["kind"], fault["not_on"].as_array().map(Vec::len)), (&"cut".into(), Some(0)), "{fault}");
    screen.wait_for("the fault that another process set", Duration::from_secs(10), |screen| {
        screen.contains("cut 3|3") && screen.contains("FAULT")
    });
    lab.ok(&["send-message", "1", "left"]);
    lab.ok(&["send-message", "4", "right"]);
    until("two halves of three", CUT_OFF, || (members(&lab) == [3; 6]).then_some(()));
    screen.wait_for("the truth", Duration::from_secs(30), |screen| screen.contains("PARTITIONED"));
    assert_eq!((only_texts(&lab, "2"), only_texts(&lab, "5")), (vec!["- left".into()], vec!["- right".into()]));
    assert!(
        lab.ok(&["status"]).contains("faults    cut bootstrap 1-2 | 3-5   on 6 nodes for "),
        "{}",
        lab.ok(&["status"])
    );

    // A node that starts anew obeys nothing, and that is said.
    lab.ok(&["restart-node", "5"]);
    until("node5 named", Duration::from_secs(30), || {
        (faults(&lab)[0]["not_on"] == serde_json::json!(["node5"])).then_some(())
    });

    screen.keys(":heal\r");
    screen.wait_for("agreement", Duration::from_secs(90), |screen| {
        screen.contains("✓ CONVERGED") && !screen.contains("cut 3|3")
    });
    lab.wait_converged();
    lab.assert_agreed(6);
    assert_eq!(faults(&lab), Vec::<Value>::new());
    for node in ["bootstrap", "1", "2", "3", "4"] {
        until("both messages once", Duration::from_secs(30), || {
            let mut texts = only_texts(&lab, node);
            texts.sort();
            (texts == ["- left", "- right"]).then_some(())
        });
    }
}

#[test]
fn every_fault_is_set_listed_and_undone_by_verb() {
    let lab = Lab::new("process", 5);
    lab.start(3);
    assert_eq!(lab.ok(&["fault", "loss", "30%"]), "loss 30%: 4 nodes obey it\n");
    assert_eq!(lab.ok(&["fault", "loss", "10%"]), "loss 10%: 4 nodes obey it\n", "takes the place of the other");
    assert_eq!(lab.ok(&["fault", "delay", "20ms±5ms", "1"]), "delay 20±5ms 1: 4 nodes obey it\n");
    assert_eq!(lab.ok(&["fault", "cut", "1", "|", "2", "--one-way"]), "cut 1 | 2 oneway: 2 nodes obey it\n");
    assert_eq!(lab.ok(&["fault", "pause", "3"]), "paused node3\n");
    let listed = lab.ok(&["fault"]);
    for line in [
        "loss 10%   3 nodes for ",
        "delay 20±5ms 1   3 nodes for ",
        "cut 1 | 2 oneway   2 nodes for ",
        "pause 3   1 node",
    ] {
        assert!(listed.contains(line), "{listed}");
    }
    let said = lab.ok(&["fault", "loss", "5%", "2-3"]);
    assert_eq!(said, "loss 5% 2-3: 3 nodes obey it\nnot told: node3 (paused)\n");
    let said = lab.ok(&["heal", "1"]);
    assert_eq!(said, "healed: 1 node has no fault any more\nnot told: node3 (paused)\n");
    assert!(!lab.ok(&["fault"]).contains("cut 1 | 2"), "nobody is left to keep it");
    assert_eq!(lab.ok(&["heal"]), "resumed node3\nhealed: 4 nodes have no fault any more\n");
    assert_eq!(lab.ok(&["fault"]), "no faults\n");
    lab.wait_converged();
    lab.assert_agreed(4);

    for (code, args) in [
        (2, &["fault", "rain"][..]),
        (2, &["fault", "loss", "0%"]),
        (2, &["fault", "cut"]),
        (2, &["fault", "loss", "30%", "--one-way"]),
        (2, &["heal", "a/b"]),
        (1, &["fault", "cut", "9"]),
        (1, &["fault", "cut", "1-2", "|", "2-3"]),
        (1, &["fault", "cut", "*"]),
        (1, &["heal", "9"]),
    ] {
        lab.fails(code, args);
    }
    assert_eq!(lab.ok(&["fault"]), "no faults\n", "nothing of what was refused was done");
}

#[test]
fn a_dozen_containers_are_cut_in_two_and_healed() {
    if !docker_available() {
        return;
    }
    let lab = Lab::new("docker", 14);
    lab.start(11);
    assert_eq!(lab.ok(&["fault", "cut", "bootstrap 1-5", "|", "6-11"]), "cut bootstrap 1-5 | 6-11: 12 nodes obey it\n");
    until("two halves of six", CUT_OFF, || (members(&lab) == [6; 12]).then_some(()));
    let status = lab.status();
    assert_eq!(status["verdict"], "partitioned", "{status:#}");
    assert_eq!(status["members"]["missing"], 12, "{status:#}");
    assert_eq!(lab.ok(&["heal"]), "healed: 12 nodes have no fault any more\n");
    lab.wait_converged();
    lab.assert_agreed(12);
    assert_eq!(lab.ok(&["fault", "loss", "30%"]), "loss 30%: 12 nodes obey it\n");
    lab.ok(&["send-message", "7", "apple"]);
    lab.wait_converged();
    let messages = lab.status()["messages"].clone();
    assert_eq!((&messages["delivered"], &messages["duplicates"]), (&12.into(), &0.into()), "{messages:#}");
}
