//! Acknowledged keys outlive their nodes, and with `--keep-data` the network; without it nothing is left.

#![allow(clippy::disallowed_methods, reason = "waits with deadlines")]

mod support;

use std::time::{Duration, Instant};

use p2pnet_shared::client::Client;
use serde_json::json;
use support::{Lab, docker_available};

const DEADLINE: Duration = Duration::from_secs(60);
/// Between two tries.
const LOOK: Duration = Duration::from_millis(50);
const KEYS: u16 = 40;
const NODES: u32 = 4;

fn client(lab: &Lab, number: u16) -> Client {
    Client::new(&lab.url(number, "")).expect("a URL")
}

/// Stores every key through one node or another, trying again where too few copies were reached.
async fn store(lab: &Lab, round: u16) {
    for key in 0..KEYS {
        let client = client(lab, 1 + key % 4);
        let began = Instant::now();
        while let Err(error) = client.put(&format!("key {key}"), json!({"round": round, "key": key})).await {
            assert!(began.elapsed() < DEADLINE, "key {key}: {error}");
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Every key has the value of that round, whichever node is asked.
async fn all_there(lab: &Lab, round: u16) {
    for key in 0..KEYS {
        let client = client(lab, 1 + (key + 1) % 4);
        let began = Instant::now();
        loop {
            match client.value(&format!("key {key}")).await {
                Ok(reply) => {
                    assert_eq!(reply.value, json!({"round": round, "key": key}));
                    break;
                }
                Err(error) => assert!(began.elapsed() < DEADLINE, "key {key}: {error}"),
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

async fn outlives(lab: &Lab) {
    lab.start(NODES);
    store(lab, 0).await;
    let data = lab.state_home().join("p2pnet").join(&lab.network).join("node2/data");
    assert!(data.join("keys.redb").exists(), "where the contract says: {}", data.display());

    for end in [&["remove-node", "1-4"][..], &["remove-node", "1-4", "--signal", "TERM"]] {
        lab.ok(end);
        lab.ok(&["restart-node", "1-4"]);
        all_there(lab, 0).await;
    }
    lab.ok(&["restart-node", "2"]);
    store(lab, 1).await;

    lab.ok(&["stop-network", "--keep-data"]);
    assert!(data.join("keys.redb").exists());
    lab.start(NODES);
    all_there(lab, 1).await;

    lab.ok(&["stop-network"]);
    assert!(!data.exists(), "nothing is left");
    lab.start(NODES);
    let error = client(lab, 1).value("key 1").await.unwrap_err();
    assert!(error.to_string().contains("Key not found"), "{error}");
}

#[tokio::test]
async fn keys_outlive_processes() {
    outlives(&Lab::new("process", 5)).await;
}

#[tokio::test]
async fn keys_outlive_containers() {
    if !docker_available() {
        return;
    }
    outlives(&Lab::new("docker", 5)).await;
}
