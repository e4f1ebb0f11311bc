//! Bad days: each ends in a clear `error:` and `hint:`, with nothing lost and nothing left behind.

#![allow(clippy::disallowed_methods, reason = "tests wait for the real world")]

mod support;
#[path = "support/terminal.rs"]
mod terminal;

use std::{
    net::{Ipv4Addr, TcpListener},
    process::Stdio,
    time::Duration,
};

use support::{Lab, holds_something, until};
use terminal::Terminal;

const SOON: Duration = Duration::from_secs(10);
const PATIENT: Duration = Duration::from_secs(60);

fn start_args(lab: &Lab, nodes: u32) -> Vec<String> {
    lab.start_args(nodes)
}

fn as_str(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

#[test]
fn no_engine_where_docker_is_asked_for() {
    let lab = Lab::new("docker", 4);
    let mut command = lab.command();
    command.args(start_args(&lab, 2)).args(["--network", &lab.network]);
    let output = command.env("DOCKER_HOST", "unix:///nonexistent/docker.sock").output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", support::text(&output));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("error: ") && stderr.contains("/nonexistent/docker.sock"), "{stderr}");
    assert!(stderr.contains("hint: ") && stderr.contains("--runtime process"), "{stderr}");
    assert!(!holds_something(&lab.dir.path().join("p2pnet").join(&lab.network)), "nothing was created");
}

#[test]
fn without_an_engine_auto_takes_processes_and_says_so() {
    let lab = Lab::new("process", 6);
    let mut args = start_args(&lab, 2);
    args[2] = "auto".to_owned(); // --runtime auto
    let mut command = lab.command();
    command.args(args).args(["--network", &lab.network]).env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", support::text(&output));
    let mut status = lab.command();
    status.args(["status", "--network", &lab.network]).env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
    let text = support::text(&status.output().unwrap());
    assert!(text.contains("process") && text.contains("/nonexistent/docker.sock"), "says which and why: {text}");
}

#[test]
fn a_port_taken_by_somebody_else() {
    let lab = Lab::new("process", 8);
    let _somebody = TcpListener::bind((Ipv4Addr::LOCALHOST, lab.base_port + 3)).unwrap();
    let stderr = lab.fails(1, &as_str(&start_args(&lab, 5)));
    assert!(stderr.contains(&(lab.base_port + 3).to_string()), "names the port: {stderr}");
    assert!(stderr.contains("--base-port"), "names the way out: {stderr}");
    let status = lab.run(&["status"]);
    assert_eq!(status.status.code(), Some(1), "nothing was started: {}", support::text(&status));
    assert!(!holds_something(&lab.dir.path().join("p2pnet").join(&lab.network)), "nothing was created");
}

#[test]
fn a_data_folder_that_cannot_be_written() {
    let lab = Lab::new("process", 6);
    let file = lab.dir.path().join("a-file");
    std::fs::write(&file, "in the way").unwrap();
    let data = file.join("data");
    let mut args = start_args(&lab, 2);
    args.extend(["--data".to_owned(), data.display().to_string()]);
    let stderr = lab.fails(1, &as_str(&args));
    assert!(stderr.contains("a-file"), "names the folder: {stderr}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "in the way");
    assert_eq!(lab.run(&["status"]).status.code(), Some(1), "nothing was started");
}

#[test]
fn a_folder_that_is_not_ours_is_not_removed() {
    let lab = Lab::new("process", 6);
    let folder = lab.dir.path().join("p2pnet").join(&lab.network).join("node1");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("thesis.txt"), "two years of work").unwrap();
    let output = lab.run(&as_str(&start_args(&lab, 2)));
    lab.run(&["stop-network"]);
    assert_eq!(std::fs::read_to_string(folder.join("thesis.txt")).unwrap(), "two years of work");
    assert_eq!(output.status.code(), Some(1), "{}", support::text(&output));
}

#[test]
fn unknown_nodes_and_unreasonable_numbers() {
    let lab = Lab::new("process", 8);
    for nodes in ["0", "100000"] {
        let stderr = lab.fails(2, &["start-network", "--runtime", "process", "--nodes", nodes]);
        assert!(stderr.contains(nodes), "{stderr}");
    }
    lab.fails(2, &["frobnicate"]);
    let stderr = lab.fails(1, &["status"]);
    assert!(stderr.contains("start-network"), "tells how to start one: {stderr}");
    lab.start(3);
    for args in [["remove-node", "99"], ["restart-node", "node99"], ["pause-node", "40-50"]] {
        let stderr = lab.fails(1, &args);
        assert!(stderr.contains("99") || stderr.contains("40"), "{stderr}");
    }
    lab.fails(1, &["send-message", "99", "apple"]);
    lab.fails(1, &["get-messages", "99"]);
    lab.assert_agreed(4);
}

#[test]
fn the_bootstrap_killed_during_start() {
    let lab = Lab::new("process", 24);
    let mut start = lab
        .command()
        .args(start_args(&lab, 20))
        .args(["--network", &lab.network])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("the bootstrap can be killed while the others start", PATIENT, || {
        lab.run(&["remove-node", "bootstrap"]).status.success().then_some(())
    });
    // Whoever came too late to meet the bootstrap knows nobody: bring it back, and everybody finds everybody.
    lab.ok(&["restart-node", "bootstrap"]);
    assert!(start.wait().unwrap().success(), "the start itself goes on and sees them agree");
    lab.wait_converged();
    lab.assert_agreed(21);
}

#[test]
fn the_network_lives_without_its_bootstrap() {
    let lab = Lab::new("process", 12);
    lab.start(6);
    lab.ok(&["remove-node", "bootstrap"]);
    lab.wait_converged();
    lab.ok(&["send-message", "2", "apple"]);
    lab.wait_converged();
    assert!(lab.ok(&["get-messages", "5"]).contains("- apple (Node 2 -> "));
    lab.ok(&["restart-node", "3"]);
    lab.wait_converged();
    assert_eq!(lab.status()["nodes"]["up"], 6);
}

#[test]
fn a_start_that_is_interrupted_leaves_nothing_or_is_completed() {
    let lab = Lab::new("process", 44);
    let mut start = lab
        .command()
        .args(start_args(&lab, 40))
        .args(["--network", &lab.network])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("some of it runs", PATIENT, || lab.run(&["status"]).status.success().then_some(()));
    start.kill().unwrap(); // -9: nobody cleans up
    start.wait().unwrap();
    lab.start(40);
    lab.assert_agreed(41);
}

#[test]
fn the_dashboard_killed_with_9_and_started_again() {
    let lab = Lab::new("process", 12);
    lab.start(6);
    for _ in 0..2 {
        let dashboard = Terminal::open(&lab, &[], 100, 30);
        dashboard.wait_for("the network", PATIENT, |screen| screen.contains("✓ CONVERGED") && screen.contains("node6"));
        drop(dashboard); // SIGKILL
        lab.assert_agreed(7);
    }
}

#[test]
fn politely_stopped_is_not_dead() {
    let lab = Lab::new("process", 12);
    lab.start(5);
    lab.ok(&["remove-node", "4", "--signal", "TERM"]);
    until("node 4 has left", SOON, || (lab.status()["nodes"]["left"] == 1).then_some(()));
    lab.wait_converged();
    let status = lab.status();
    assert_eq!((&status["nodes"]["up"], &status["nodes"]["dead"]), (&5.into(), &0.into()), "{status:#}");
}

/// Where it is interrupted is a matter of luck: while units are made nothing stays, once all run the network does.
#[test]
fn ctrl_c_in_the_middle_of_a_start_leaves_nothing_or_a_network_that_is_named() {
    let lab = Lab::new("process", 44);
    let start = lab
        .command()
        .args(start_args(&lab, 40))
        .args(["--network", &lab.network])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until("some of it runs", PATIENT, || lab.run(&["status"]).status.success().then_some(()));
    let pid = rustix::process::Pid::from_raw(start.id().cast_signed()).unwrap();
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT); // it may have been quicker than we were
    let output = start.wait_with_output().unwrap();
    let said = support::text(&output);
    let left = lab.run(&["status"]);
    if said.contains("nothing of") {
        assert_eq!((output.status.code(), left.status.code()), (Some(130), Some(1)), "{said}");
        assert!(!holds_something(&lab.dir.path().join("p2pnet").join(&lab.network)), "a folder is left");
    } else {
        assert!(output.status.success() || said.contains("keeps running"), "{said}");
        assert!(left.status.success(), "{}", support::text(&left));
    }
}
