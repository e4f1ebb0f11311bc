//! What a node tells of its keys: to a gateway, as reports, and to readers of `/events`.
#![allow(clippy::disallowed_methods, reason = "tests of the runtime live in real time")]

mod support;

use std::{collections::BTreeMap, time::Instant};

use p2pnet_node::{NodeHandle, start};
use p2pnet_shared::{
    client::Client,
    ring::{Place, Ring, RingDigest, VNODES},
    telemetry::{KeyCounts, Report},
    wire::{Codec, Hello, LINK_PREFACE},
};
use serde_json::json;
use support::{DEADLINE, all_agree, network, settings};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    time::timeout,
};

/// What a gateway knows of one node.
#[derive(Default)]
struct Known {
    ring: Option<RingDigest>,
    counts: Option<KeyCounts>,
    held: BTreeMap<Place, u64>,
    anew: usize,
}

/// A gateway that a node dialled.
struct Gateway {
    codec: Codec,
    stream: TcpStream,
    known: Known,
}

impl Gateway {
    async fn dialled(listener: &TcpListener, test: &str) -> Self {
        let (mut stream, _) = timeout(DEADLINE, listener.accept()).await.expect("the node dials").unwrap();
        let mut preface = [0; LINK_PREFACE.len()];
        stream.read_exact(&mut preface).await.unwrap();
        assert_eq!(preface, LINK_PREFACE);
        let codec = Codec::new(&network(test), None);
        let mut gateway = Self { codec, stream, known: Known::default() };
        let frame = gateway.frame().await;
        let hello: Hello = gateway.codec.decode(&frame).unwrap();
        assert_eq!(hello.name.as_str(), "node7");
        gateway
    }

    async fn frame(&mut self) -> Vec<u8> {
        let length = timeout(DEADLINE, self.stream.read_u32()).await.expect("something is told").unwrap();
        let mut frame = vec![0; length as usize];
        self.stream.read_exact(&mut frame).await.unwrap();
        frame
    }

    /// Listens until `what` is known.
    async fn until(&mut self, what: &str, is_known: impl Fn(&Known) -> bool) {
        let began = Instant::now();
        while !is_known(&self.known) {
            assert!(began.elapsed() < DEADLINE, "not told: {what}");
            let frame = self.frame().await;
            match self.codec.decode::<Report>(&frame).unwrap() {
                Report::Ring { digest, .. } => self.known.ring = Some(digest),
                Report::Keys(counts) => self.known.counts = Some(counts),
                Report::Held { anew, sampled, keys } => {
                    assert_eq!(sampled, 0, "so few are told one by one");
                    if anew {
                        self.known.held.clear();
                        self.known.anew += 1;
                    }
                    for key in keys {
                        match key.versions {
                            Some(versions) => drop(self.known.held.insert(key.place, versions)),
                            None => drop(self.known.held.remove(&key.place)),
                        }
                    }
                }
                _ => {}
            }
        }
    }
}

/// node7, which tells `listener` what it does.
async fn watched(test: &str, listener: &TcpListener) -> NodeHandle {
    let mut settings = settings(test, "node7");
    settings.gateway = Some(format!("http://{}", listener.local_addr().unwrap()).parse().unwrap());
    start(settings).await.unwrap()
}

#[tokio::test]
async fn a_gateway_is_told_the_ring_the_counts_and_each_key() {
    let test = "told";
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let node = watched(test, &listener).await;
    let client = Client::new(&node.url()).unwrap();
    client.put("before", json!(1)).await.unwrap();
    let mut gateway = Gateway::dialled(&listener, test).await;
    let (before, after) = (Place::of("before"), Place::of("after"));
    gateway.until("the key from before", |known| known.held.contains_key(&before)).await;
    assert_eq!(gateway.known.anew, 1);
    client.put("after", json!(1)).await.unwrap();
    gateway.until("the other key", |known| known.held.contains_key(&after)).await;
    let versions = gateway.known.held[&after];
    client.put("after", json!(2)).await.unwrap();
    gateway.until("its new value", |known| known.held.get(&after).is_some_and(|now| *now != versions)).await;
    let two = |known: &Known| known.counts.as_ref().is_some_and(|counts| counts.keys == 2 && counts.owned == 2);
    gateway.until("two keys", two).await;
    client.delete("before").await.unwrap();
    gateway.until("one is gone", |known| !known.held.contains_key(&before)).await;
    let one = |known: &Known| known.counts.as_ref().is_some_and(|counts| (counts.keys, counts.tombstones) == (1, 1));
    gateway.until("one key and one tombstone", one).await;
    assert_eq!(gateway.known.anew, 1, "the rest were changes");

    // A gateway that comes later is told everything anew.
    drop(gateway);
    let mut gateway = Gateway::dialled(&listener, test).await;
    gateway.until("what is held", |known| known.held.len() == 1 && known.counts.is_some()).await;
    assert!(gateway.known.held.contains_key(&after));
    let alone = Ring::of(VNODES, [node.name.clone()]).digest();
    gateway.until("the ring", |known| known.ring == Some(alone)).await;

    let mut other = settings(test, "node8");
    other.peers = vec![node.url().parse().unwrap()];
    let other = start(other).await.unwrap();
    let both = Ring::of(VNODES, [node.name.clone(), other.name.clone()]).digest();
    gateway.until("the ring of two", |known| known.ring == Some(both)).await;
}

#[tokio::test]
async fn readers_of_events_hear_of_keys() {
    let test = "told-events";
    let node = start(settings(test, "node7")).await.unwrap();
    let mut other = settings(test, "node8");
    other.peers = vec![node.url().parse().unwrap()];
    let nodes = [node, start(other).await.unwrap()];
    all_agree(&nodes).await;
    let mut events = reqwest::get(format!("{}/events", nodes[0].url())).await.unwrap();
    let mut seen = String::from_utf8(events.chunk().await.unwrap().unwrap().to_vec()).unwrap();
    Client::new(&nodes[0].url()).unwrap().put("k", json!("v")).await.unwrap();
    let place = Place::of("k").0.to_string();
    let began = Instant::now();
    while !(seen.contains("event: key_held\n") && seen.contains("event: key_acknowledged\n") && seen.contains(&place)) {
        assert!(began.elapsed() < DEADLINE, "{seen}");
        let chunk = timeout(DEADLINE, events.chunk()).await.expect(&seen).unwrap().expect("the stream goes on");
        seen.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    for data in seen.lines().filter_map(|line| line.strip_prefix("data: ")) {
        assert!(serde_json::from_str::<serde_json::Value>(data).unwrap().is_object());
    }
}
