//! The command line from outside: help and error text, exit codes. The real binary, a state folder of its own.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Output, Stdio},
};

/// Runs p2pnet with nothing of the caller's environment that could change what it does.
fn p2pnet(args: &[&str]) -> (Option<i32>, String, String) {
    let home = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_p2pnet"))
        .args(args)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home.path())
        .env("XDG_STATE_HOME", home.path())
        .output()
        .unwrap();
    let Output { status, stdout, stderr } = output;
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn help_names_every_verb() {
    let (code, out, err) = p2pnet(&["--help"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    insta::assert_snapshot!("help", out);
    let (code, out, _) = p2pnet(&["start-network", "--help"]);
    assert_eq!(code, Some(0));
    insta::assert_snapshot!("help-start-network", out);
}

#[test]
fn wrong_usage_is_exit_2_with_error_and_hint_and_touches_nothing() {
    let wrong: &[&[&str]] = &[
        &["start-network", "--nodes", "0"],
        &["start-network", "--nodes", "100000"],
        &["up", "--nodes", "many"],
        &["up", "--base-port", "70000"],
        &["up", "--base-port", "0"],
        &["up", "--base-port", "65500"],
        &["up", "--runtime", "podman"],
        &["up", "--wait", "-1"],
        &["up", "--network", "a/b"],
        &["up", "--bind", "nowhere"],
        &["add-nodes", "0"],
        &["add-nodes", "five"],
        &["add-nodes"],
        &["remove-node"],
        &["remove-node", "9", "--signal", "HUP"],
        &["send-message", "0", "apple"],
        &["send-message", "99999999999", "apple"],
        &["send-message", "4"],
        &["get-messages", "no de"],
        &["put", "apple"],
        &["put", "", "5"],
        &["put", "apple", "5", "6"],
        &["put", "apple", "5", "--via", "0"],
        &["get"],
        &["get", ""],
        &["delete", "a", "b"],
        &["owner", "apple", "--vai", "7"],
        &["wait", "--for", "dinner"],
        &["wait", "--timeout", "soon"],
        &["watch", "--plain", "--json"],
        &["start-netwrok"],
        &["status", "--jsno"],
        &["status", "extra"],
    ];
    let mut said = String::new();
    for args in wrong {
        let (code, out, err) = p2pnet(args);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{args:?}: {err}");
        let lines: Vec<&str> = err.lines().collect();
        let is_pair = matches!(lines[..], [error, hint] if error.starts_with("error: ") && hint.starts_with("hint: "));
        assert!(is_pair, "{args:?}: {err}");
        said += &format!("$ p2pnet {}\n{err}", args.join(" "));
    }
    insta::assert_snapshot!("wrong-usage", said);
}

#[test]
fn a_key_or_a_value_that_is_too_long_is_refused_before_anything_is_sent() {
    let (key, value) = ("k".repeat(1_025), "v".repeat(65_537));
    for (args, says) in [
        (&["get", key.as_str()][..], "a key has at most 1024 bytes, this one has 1025"),
        (&["put", "k", value.as_str()][..], "the value is 65537 bytes long, more than the limit of 65536"),
    ] {
        let (code, out, err) = p2pnet(args);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
        assert!(err.contains(says) && err.starts_with("error: ") && err.contains("\nhint: "), "{err}");
    }
}

#[test]
fn put_says_what_is_taken_for_text() {
    let (code, out, _) = p2pnet(&["put", "--help"]);
    assert_eq!(code, Some(0));
    insta::assert_snapshot!("help-put", out);
}

#[test]
fn nodes_that_nobody_can_mean_are_wrong_usage() {
    for word in ["101%", "%", "node 9/"] {
        let (code, _, err) = p2pnet(&["remove-node", word]);
        assert_eq!(code, Some(2), "{word}: {err}");
        assert!(err.starts_with("error: "), "{err}");
    }
}

#[test]
fn the_gateway_needs_a_token_and_ends_at_once_on_sigterm() {
    let (code, _, err) = p2pnet(&["gateway", "--port", "0"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("--token"), "{err}");
    let (code, _, err) = p2pnet(&["gateway", "--port", "0", "--token", " "]);
    assert_eq!((code, err.as_str()), (Some(1), "error: the gateway's token is empty\nhint: set GATEWAY_TOKEN\n"));

    let mut gateway = Command::new(env!("CARGO_BIN_EXE_p2pnet"))
        .args(["gateway", "--port", "0", "--bind", "127.0.0.1", "--token", "t"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(gateway.stderr.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("the gateway listens"), "{line}");
    let pid = rustix::process::Pid::from_child(&gateway);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let (tx, rx) = std::sync::mpsc::channel();
    std::thread::spawn(move || tx.send(gateway.wait()));
    let status = rx.recv_timeout(std::time::Duration::from_secs(5)).expect("it ends in time").unwrap();
    assert_eq!(status.code(), Some(0));
}
