//! The whole promise, on a bootstrap and a hundred real containers.
//!
//! Judged from outside: what runs is counted through the engine's API, what nodes believe is read from their own HTTP
//! surface, and at the end the engine is asked whether anything of ours is left.

#![allow(clippy::disallowed_methods, reason = "tests wait for the real world")]

mod support;
#[path = "support/terminal.rs"]
mod terminal;

use std::{collections::HashMap, time::Duration};

use bollard::{
    Docker,
    query_parameters::{ListContainersOptions, ListNetworksOptions},
};
use serde_json::Value;
use support::{Lab, docker_available, until};
use terminal::Terminal;

/// Containers and networks that carry the label of `network`.
async fn left_in_engine(network: &str) -> Vec<String> {
    let docker = Docker::connect_with_defaults().expect("the engine's socket");
    let filters = HashMap::from([("label".to_owned(), vec![format!("p2pnet.network={network}")])]);
    let containers = ListContainersOptions { all: true, filters: Some(filters.clone()), ..Default::default() };
    let mut left = Vec::new();
    for container in docker.list_containers(Some(containers)).await.expect("the engine lists containers") {
        left.push(format!("container {:?} {:?}", container.names, container.state));
    }
    let networks = ListNetworksOptions { filters: Some(filters) };
    for network in docker.list_networks(Some(networks)).await.expect("the engine lists networks") {
        left.push(format!("network {:?}", network.name));
    }
    left
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// `GET path` of node `number` through its published port.
fn get(lab: &Lab, number: u16, path: &str) -> Value {
    let url = lab.url(number, path);
    runtime().block_on(async move {
        let reply = reqwest::get(&url).await.unwrap_or_else(|error| panic!("{url}: {error}"));
        reply.json().await.unwrap_or_else(|error| panic!("{url}: {error}"))
    })
}

#[test]
fn a_hundred_containers_agree_after_every_change_and_leave_nothing() {
    if !docker_available() {
        return;
    }
    let lab = Lab::new("docker", 120);
    lab.start(100);
    lab.assert_agreed(101);
    for number in [0, 1, 50, 100] {
        let peers = get(&lab, number, "/peers");
        assert_eq!(peers["peers"].as_array().map(Vec::len), Some(100), "node {number} itself says {peers:#}");
    }

    lab.ok(&["remove-node", "1-10"]);
    lab.wait_converged();
    lab.assert_agreed(91);
    assert_eq!(get(&lab, 50, "/peers")["peers"].as_array().map(Vec::len), Some(90));

    lab.ok(&["add-nodes", "5"]);
    lab.wait_converged();
    lab.assert_agreed(96);

    a_broadcast_reaches_every_container_once(&lab);
    the_dashboard_finds_the_network_again(&lab);

    lab.ok(&["stop-network"]);
    assert_eq!(runtime().block_on(left_in_engine(&lab.network)), Vec::<String>::new());
    let folders = lab.dir.path().join("p2pnet").join(&lab.network);
    assert!(!folders.exists(), "{} is left", folders.display());
}

fn a_broadcast_reaches_every_container_once(lab: &Lab) {
    let id = lab.ok(&["send-message", "50", "apple"]);
    lab.wait_converged();
    let status = lab.status();
    let messages = &status["messages"];
    assert_eq!((&messages["accepted"], &messages["duplicates"]), (&1.into(), &0.into()), "{messages:#}");
    assert_eq!((&messages["delivered"], &messages["expected"]), (&96.into(), &96.into()), "{messages:#}");
    for number in [0, 11, 100, 105] {
        let messages = get(lab, number, "/messages");
        let mine: Vec<&Value> =
            messages["messages"].as_array().unwrap().iter().filter(|m| m["id"] == id.trim()).collect();
        assert_eq!(mine.len(), 1, "node {number}: {messages:#}");
        let path: Vec<&str> = mine[0]["path"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert_eq!(path.first(), Some(&"node50"), "node {number}: {path:?}");
        let own_name = if number == 0 { "bootstrap".to_owned() } else { format!("node{number}") };
        assert_eq!(path.last(), Some(&own_name.as_str()), "node {number}: {path:?}");
    }
    assert!(lab.ok(&["get-messages", "11"]).contains("- apple (Node 50 -> "), "get-messages prints the path");
}

/// Closed with -9, and opened again: the network was not touched, and the screen is right again.
fn the_dashboard_finds_the_network_again(lab: &Lab) {
    let converged = |screen: &str| screen.contains("CONVERGED") && screen.contains("96");
    let first = Terminal::open(lab, &[], 160, 45);
    first.wait_for("the running network", Duration::from_secs(30), converged);
    drop(first); // kills with SIGKILL
    let mut second = Terminal::open(lab, &[], 160, 45);
    second.wait_for("the network, found again", Duration::from_secs(30), converged);
    second.keys(":kill node20\r");
    second.wait_for("the killed node", Duration::from_secs(30), |screen| {
        screen.lines().any(|line| line.contains("node20") && line.contains("DEAD"))
    });
    second.wait_for("agreement without it", Duration::from_secs(60), |screen| {
        screen.contains("✓ CONVERGED") && screen.contains("95 of 106 up")
    });
    second.keys("Q");
    second.wait_for("the question on quitting", Duration::from_secs(5), |screen| {
        screen.contains("leave the network running")
    });
    second.keys("\r");
    assert!(second.wait_end(Duration::from_secs(10)).success());
    until("the terminal is given back", Duration::from_secs(5), || second.is_given_back().then_some(()));
    lab.assert_agreed(95);
}
