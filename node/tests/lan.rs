//! Nodes that were told of nobody find each other on loopback, by beacons of their own group and port.
#![allow(clippy::disallowed_methods, reason = "tests of the runtime live in real time")]

mod support;

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};

use p2pnet_node::{
    Settings,
    config::{LAN_AT, Lan},
    start,
};
use p2pnet_shared::{
    Epoch,
    wire::{
        Codec,
        lan::{BEACON_MAX_BYTES, Beacon},
    },
};
use rand::RngExt;
use support::{all_agree, live, metric, network, settings, until};

/// A group and port of one test alone: a port nobody has just now, at which nobody else's beacons are heard. Not of those
/// the system gives to whoever asks for any, which would be taken again at once.
fn place() -> SocketAddrV4 {
    let is_free = |port: &u16| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok();
    let port = (0..100).map(|_| rand::rng().random_range(10_000..32_000)).find(is_free);
    SocketAddrV4::new(*LAN_AT.ip(), port.expect("some port is free"))
}

fn looking(test: &str, name: &str, lan_at: SocketAddrV4) -> Settings {
    Settings { lan: Lan::Auto, lan_at, ..settings(test, name) }
}

#[tokio::test]
async fn three_that_were_told_of_nobody_find_each_other_and_another_network_is_not_joined() {
    let at = place();
    let stranger = start(looking("lan-other", "node9", at)).await.unwrap();
    let mut nodes = Vec::new();
    for name in ["node1", "node2", "node3"] {
        nodes.push(start(looking("lan", name, at)).await.unwrap());
    }
    all_agree(&nodes).await;
    // They heard the stranger, and it them.
    for node in nodes.iter().chain([&stranger]) {
        until("a beacon of another network", || async {
            (metric(node, "beacons_refused_total").await > 0).then_some(())
        })
        .await;
    }
    assert_eq!(live(&stranger).await, Vec::<String>::new());
    all_agree(&nodes).await;
}

#[tokio::test]
async fn a_secret_keeps_out_who_has_another() {
    let at = place();
    let with = |name, secret: &str| Settings { secret: Some(secret.to_owned()), ..looking("lan-secret", name, at) };
    let thief = start(with("node9", "guessed")).await.unwrap();
    let nodes = [start(with("node1", "right")).await.unwrap(), start(with("node2", "right")).await.unwrap()];
    all_agree(&nodes).await;
    until("a beacon sealed otherwise", || async {
        (metric(&nodes[0], "beacons_refused_total").await > 0).then_some(())
    })
    .await;
    assert_eq!(live(&thief).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_restarted_node_is_found_again_at_another_port() {
    let at = place();
    let first = start(looking("lan-again", "node1", at)).await.unwrap();
    let mut nodes = vec![first, start(looking("lan-again", "node2", at)).await.unwrap()];
    all_agree(&nodes).await;
    nodes.remove(1).kill().await;
    nodes.push(start(looking("lan-again", "node2", at)).await.unwrap());
    all_agree(&nodes).await;
}

#[tokio::test]
async fn a_node_that_is_not_asked_to_look_sends_nothing() {
    let at = place();
    let told = start(Settings { lan: Lan::Auto, lan_at: at, ..settings("lan-told", "node1") }).await.unwrap();
    let mut second = looking("lan-told", "node2", at);
    second.bootstrap = Some(told.url().parse().unwrap());
    let nodes = [told, start(second).await.unwrap()];
    all_agree(&nodes).await;
    until("auto, and it has no bootstrap", || async {
        (metric(&nodes[0], "beacons_sent_total").await > 0).then_some(())
    })
    .await;
    assert_eq!(metric(&nodes[1], "beacons_sent_total").await, 0, "auto, and it has a bootstrap");
}

#[tokio::test]
async fn what_is_shouted_at_a_node_costs_it_nothing_but_a_count() {
    let at = place();
    let node = start(looking("lan-shout", "node1", at)).await.unwrap();
    until("the first beacon", || async { (metric(&node, "beacons_sent_total").await > 0).then_some(()) }).await;
    let voice = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let codec = Codec::new(&network("lan-shout"), None);
    let beacon = |number: u32, port| {
        codec.encode(&Beacon { name: p2pnet_shared::NodeName::numbered(number), epoch: Epoch(7), port, answer: false })
    };
    let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, at.port());
    let mut cut_off = beacon(2, 9);
    cut_off.pop();
    let mut longer = beacon(2, 9);
    longer.resize(BEACON_MAX_BYTES + 1, 0);
    for shouted in [Vec::new(), b"GET / HTTP/1.1".to_vec(), vec![0; 60_000], cut_off, longer] {
        voice.send_to(&shouted, to).unwrap();
    }
    until("the malformed", || async { (metric(&node, "beacons_refused_total").await >= 5).then_some(()) }).await;
    // Names nobody has, at a port nobody listens at: heard at a pace, and nobody of them becomes a member.
    for number in 100..1_100 {
        voice.send_to(&beacon(number, 9), to).unwrap();
    }
    until("a pace", || async { (metric(&node, "beacons_limited_total").await > 0).then_some(()) }).await;
    assert_eq!(live(&node).await, Vec::<String>::new());
}
