//! What the tests with real sockets share: nodes on free ports of 127.0.0.1, requests, and waiting for a condition.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::disallowed_methods, reason = "tests of the runtime live in real time")]

use std::{
    future::Future,
    time::{Duration, Instant},
};

use p2pnet_node::{NodeHandle, Settings, start};
use p2pnet_shared::{
    NetworkName, NodeName,
    api::{MembersReply, MessagesReply, StatusReply},
    wire::membership::Status,
};
use serde_json::Value;

/// Longest wait for anything: a test that is right never comes near it, also on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A network name of this test alone, so that tests that run at once do not hear one another.
pub(crate) fn network(test: &str) -> NetworkName {
    format!("{test}-{}", std::process::id()).parse().unwrap()
}

pub(crate) fn settings(test: &str, name: &str) -> Settings {
    Settings::local(name.parse().unwrap(), network(test))
}

/// A bootstrap and `count` nodes that join through it.
pub(crate) async fn network_of(test: &str, count: u32) -> Vec<NodeHandle> {
    let mut nodes = vec![start(settings(test, "bootstrap")).await.unwrap()];
    for number in 1..=count {
        let mut settings = settings(test, NodeName::numbered(number).as_str());
        settings.bootstrap = Some(nodes[0].url().parse().unwrap());
        nodes.push(start(settings).await.unwrap());
    }
    nodes
}

/// Waits until `condition` gives something.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut condition: impl FnMut() -> F) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        assert!(began.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) async fn get(node: &NodeHandle, path: &str) -> (u16, Value) {
    let reply = reqwest::get(format!("{}{path}", node.url())).await.unwrap();
    (reply.status().as_u16(), reply.json().await.unwrap())
}

pub(crate) async fn post(node: &NodeHandle, path: &str, body: impl Into<reqwest::Body>) -> (u16, Value) {
    let reply = reqwest::Client::new().post(format!("{}{path}", node.url())).body(body).send().await.unwrap();
    (reply.status().as_u16(), reply.json().await.unwrap())
}

/// A metric without labels.
pub(crate) async fn metric(node: &NodeHandle, name: &str) -> u64 {
    let text = reqwest::get(format!("{}/metrics", node.url())).await.unwrap().text().await.unwrap();
    let prefix = format!("p2pnet_{name} ");
    text.lines().find_map(|line| line.strip_prefix(&prefix)).expect("the metric is there").parse().unwrap()
}

pub(crate) async fn status(node: &NodeHandle) -> StatusReply {
    serde_json::from_value(get(node, "/status").await.1).unwrap()
}

pub(crate) async fn members(node: &NodeHandle) -> MembersReply {
    serde_json::from_value(get(node, "/members").await.1).unwrap()
}

pub(crate) async fn messages(node: &NodeHandle) -> MessagesReply {
    serde_json::from_value(get(node, "/messages").await.1).unwrap()
}

/// The names a node believes alive, itself left out.
pub(crate) async fn live(node: &NodeHandle) -> Vec<String> {
    let members = members(node).await.members;
    members.iter().filter(|member| member.status.is_live()).map(|member| member.name.to_string()).collect()
}

pub(crate) async fn status_of(node: &NodeHandle, name: &str) -> Option<Status> {
    members(node).await.members.iter().find(|member| member.name.as_str() == name).map(|member| member.status)
}

/// Waits until each of `nodes` believes exactly the others alive.
pub(crate) async fn all_agree(nodes: &[NodeHandle]) {
    for node in nodes {
        let mut wanted: Vec<String> = nodes.iter().map(|other| other.name.to_string()).collect();
        wanted.retain(|name| *name != node.name.as_str());
        wanted.sort();
        until(&format!("{} sees {wanted:?}", node.name), || async { (live(node).await == wanted).then_some(()) }).await;
    }
}

/// Waits until each node has a neighbour to push to.
pub(crate) async fn all_linked(nodes: &[NodeHandle]) {
    for node in nodes {
        until("an overlay neighbour", || async { (!status(node).await.neighbours.is_empty()).then_some(()) }).await;
    }
}
