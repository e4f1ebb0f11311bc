//! The key-value store through the real binary: the verbs, what they print, the prompt, and what `status`, `wait` and `watch`
//! say while nodes are killed.

#![allow(clippy::disallowed_methods, reason = "tests wait for the real world")]

mod support;
#[path = "support/terminal.rs"]
mod terminal;

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
    sync::mpsc,
    time::Duration,
};

use serde_json::{Value, json};
use support::{Lab, until};
use terminal::Terminal;

/// Detection, repair and the reports of it, on a machine that has other things to do.
const REPAIR: Duration = Duration::from_secs(90);

fn ring(lab: &Lab) -> Value {
    lab.status()["ring"].clone()
}

/// The holders of a key, its owner first, by the word of `via`.
fn holders(lab: &Lab, key: &str, via: &str) -> Vec<String> {
    let said = lab.ok(&["owner", key, "--via", via]);
    said.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn keys_are_put_found_and_deleted_through_any_node() {
    let lab = Lab::new("process", 7);
    lab.start(5);
    for (typed, value) in
        [("5", json!(5)), ("green and sour", json!("green and sour")), (r#"{"a":[1,2]}"#, json!({"a": [1, 2]}))]
    {
        let said: Value = serde_json::from_str(&lab.ok(&["put", "a/b c", typed, "--via", "1", "--json"])).unwrap();
        assert_eq!((&said["status"], &said["key"], &said["value"]), (&json!("stored"), &json!("a/b c"), &value));
        assert!(said["acks"].as_u64() >= Some(2), "{said}");
        let got: Value = serde_json::from_str(&lab.ok(&["get", "a/b c", "--via", "5", "--json"])).unwrap();
        assert_eq!(got["value"], value);
    }
    lab.ok(&["put", "n", "-7"]);
    assert_eq!((lab.ok(&["get", "n"]), lab.ok(&["get", "a/b c"])), ("-7\n".into(), "{\"a\":[1,2]}\n".into()));
    lab.ok(&["put", "s", "5", "--string"]);
    let got: Value = serde_json::from_str(&lab.ok(&["get", "s", "--json"])).unwrap();
    assert_eq!((&got["value"], lab.ok(&["get", "s"])), (&json!("5"), "5\n".into()), "a string is printed as it is");

    // Every node names the same holders, the owner first, and they are the ones that `status` shows keys on.
    let all: Vec<Vec<String>> = ["bootstrap", "1", "2", "3", "4", "5"].map(|via| holders(&lab, "n", via)).to_vec();
    assert!(all.iter().all(|holders| *holders == all[0] && holders.len() == 3), "{all:?}");
    until("three keys in three copies", Duration::from_secs(30), || {
        let ring = ring(&lab);
        // Numbers are told half as often as which keys there are.
        (ring["keys"] == 3 && ring["copies"] == json!([0, 0, 0, 3]) && ring["held"] == 9).then_some(())
    });
    let ring = ring(&lab);
    assert_eq!((&ring["agree"], &ring["max_over_mean_of"]), (&json!(6), &json!("shares")), "{ring}");

    assert!(lab.ok(&["delete", "n"]).starts_with("deleted"));
    let said = lab.fails(1, &["get", "n"]);
    assert_eq!(said, "error: there is no key `n`\nhint: `p2pnet put n VALUE` stores one\n");
    lab.fails(1, &["delete", "n"]);
    lab.fails(1, &["get", "s", "--via", "77"]);
    until("two keys", Duration::from_secs(30), || (self::ring(&lab)["keys"] == 2).then_some(()));
    lab.wait_converged();
}

#[test]
fn a_kill_shows_keys_short_of_copies_and_wait_returns_when_they_have_them_again() {
    let lab = Lab::new("process", 8);
    lab.start(6);
    for number in 0..40 {
        lab.ok(&["put", &format!("key{number}"), &number.to_string()]);
    }
    let said = lab.ok(&["wait", "--for", "keys", "--timeout", "30s"]);
    assert_eq!(said, "all 40 keys have their copies, all 7 nodes see one ring\n");
    let lines = Lines::watch(&lab);
    let mut screen = Terminal::open(&lab, &[], 160, 45);
    screen.wait_for("the network", Duration::from_secs(30), |screen| screen.contains("CONVERGED"));

    let dead = holders(&lab, "key7", "1")[0].clone();
    lab.ok(&["remove-node", &dead]);
    lines.wait_for("keys_short");
    let via = if dead == "node1" { "2" } else { "1" };
    for number in 0..40 {
        assert_eq!(
            lab.ok(&["get", &format!("key{number}"), "--via", via]),
            format!("{number}\n"),
            "while it is repaired"
        );
    }
    lab.ok(&["wait", "--for", "keys", "--timeout", "90s"]);
    let whole = lines.wait_for("keys_whole");
    assert!(whole["text"].as_str().unwrap().starts_with("every key has its copies again, after "), "{whole}");
    let ring = ring(&lab);
    assert_eq!(
        (&ring["keys"], &ring["agree"], &ring["copies"]),
        (&json!(40), &json!(6), &json!([0, 0, 0, 40])),
        "{ring}"
    );
    assert!(!holders(&lab, "key7", via).contains(&dead));

    screen.keys(":put \"my key\" {\"a\": \"b c\"} --via ");
    screen.keys(via);
    screen.keys("\r");
    screen.wait_for("the answer", REPAIR, |screen| screen.contains("stored, ") && screen.contains("owns it"));
    assert_eq!(lab.ok(&["get", "my key"]), "{\"a\":\"b c\"}\n");
    screen.keys(":get \"my key\"\r");
    screen.wait_for("the value", REPAIR, |screen| screen.contains(r#"{"a":"b c"}"#));

    // It comes back with what it had, and nothing is short or twice.
    lab.ok(&["restart-node", &dead]);
    lab.wait_converged();
    assert_eq!(self::ring(&lab)["keys"], 41);
}

/// The lines of `watch --json`, as they come.
struct Lines {
    child: std::process::Child,
    lines: mpsc::Receiver<String>,
}

impl Lines {
    fn watch(lab: &Lab) -> Self {
        let args = ["watch", "--json", "--network", &lab.network];
        let mut child = lab.command().args(args).stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (tx, lines) = mpsc::channel();
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| tx.send(line)));
        let watching = Self { child, lines };
        // It has caught up once it tells of something that happens now.
        until("the watch", REPAIR, || {
            lab.ok(&["send-message", "1", "begin"]);
            let line = watching.lines.recv_timeout(Duration::from_secs(1)).ok()?;
            line.contains("begin").then_some(())
        });
        watching
    }

    fn wait_for(&self, kind: &str) -> Value {
        until(kind, REPAIR, || {
            let change: Value = serde_json::from_str(&self.lines.try_recv().ok()?).unwrap();
            (change["kind"] == kind).then_some(change)
        })
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
