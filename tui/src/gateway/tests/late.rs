//! Who begins to watch after a repair is told what no report says: when it was over.

use p2pnet_shared::ring::Ring;

use super::super::store::{LinkId, Store};
use super::*;
use crate::{
    cluster::{Role, Truth, Unit, UnitState},
    network::{Network, Observation, Summary},
};

const NODES: u32 = 4;

/// A store that nodes report to, and somebody who watches all the while.
struct Watched {
    store: Store,
    links: Vec<LinkId>,
    lines: tokio::sync::mpsc::Receiver<super::super::store::Line>,
    watcher: Network,
}

fn held(anew: bool, places: &[u64]) -> Report {
    let keys = places.iter().map(|place| HeldKey { place: Place(*place), versions: Some(7) }).collect();
    Report::Held { anew, sampled: 0, keys }
}

fn ring_of(nodes: impl IntoIterator<Item = u32>, at: u64) -> Report {
    Report::Ring { digest: Ring::of(64, nodes.into_iter().map(NodeName::numbered)).digest(), at: UnixMillis(at) }
}

fn view_of(nodes: impl IntoIterator<Item = u32>, at: u64) -> Report {
    let names: Vec<NodeName> = nodes.into_iter().map(NodeName::numbered).collect();
    Report::View { digest: names.iter().collect(), at: UnixMillis(at) }
}

fn unit(number: u32, state: UnitState, since: u64) -> Unit {
    let name = NodeName::numbered(number);
    Unit { name, role: Role::Node, state, address: None, since: Some(UnixMillis(since)) }
}

fn network() -> Network {
    Network::new("lab".parse().unwrap(), "docker")
}

impl Watched {
    /// Four nodes that started at 1 s; two keys are on the first three.
    fn new() -> Self {
        let mut store = Store::default();
        let lines = store.subscribe();
        let mut watched = Self { store, links: Vec::new(), lines, watcher: network() };
        watched.engine_says(1_000, Truth::Listed((1..=NODES).map(|n| unit(n, UnitState::Up, 1_000)).collect()));
        watched.watcher.observe(UnixMillis(1_000), Observation::Feed(FeedLine::CaughtUp));
        for node in 1..=NODES {
            watched.links(2_000, node);
        }
        watched
    }

    /// A node's link comes up and tells everything.
    fn links(&mut self, now: u64, node: u32) {
        let link = self.store.open(&NodeName::numbered(node), Epoch(10)).unwrap();
        self.links.push(link);
        let addr = "10.0.0.1:5000".parse().unwrap();
        let members = (1..=NODES).filter(|other| *other != node).map(|other| row(other, Status::Alive)).collect();
        for report in [
            Report::Hello { id: uuid::Uuid::nil(), epoch: Epoch(10), addr },
            Report::Snapshot { members, deliveries: vec![], links: vec![] },
            view_of(1..=NODES, 2_000),
            ring_of(1..=NODES, 2_000),
            held(true, if node <= 3 { &[16, 32] } else { &[] }),
        ] {
            self.says(now, node, report);
        }
    }

    fn engine_says(&mut self, now: u64, truth: Truth) {
        self.watcher.observe(UnixMillis(now), Observation::Truth(truth));
    }

    fn says(&mut self, now: u64, node: u32, report: Report) {
        let link = self.links[node as usize - 1];
        self.store.report(link, report, UnixMillis(now)).unwrap();
        self.pass_on(now);
    }

    fn pass_on(&mut self, now: u64) {
        while let Ok(line) = self.lines.try_recv() {
            let line = serde_json::from_slice(&line.bytes).unwrap();
            self.watcher.observe(UnixMillis(now), Observation::Feed(line));
        }
    }

    /// Node 1 is killed at 20 s, known dead at 22 s, and its copies are on node 4 at 23.8 s.
    fn killed_and_repaired(&mut self) {
        self.engine_says(20_000, Truth::Changed(unit(1, UnitState::Dead, 20_000)));
        self.store.close(self.links[0], UnixMillis(20_010));
        self.pass_on(20_010);
        for node in 2..=NODES {
            self.says(22_000, node, died(1));
            self.says(22_100, node, view_of(2..=NODES, 22_000));
            self.says(22_200, node, ring_of(2..=NODES, 22_200));
        }
        self.says(23_000, 4, held(false, &[16]));
        self.says(23_800, 4, held(false, &[32]));
    }

    fn late_summary(&self, now: u64) -> Summary {
        let mut late = network();
        let units = (1..=NODES).map(|n| match n {
            1 => unit(1, UnitState::Dead, 20_000),
            other => unit(other, UnitState::Up, 1_000),
        });
        late.observe(UnixMillis(now), Observation::Truth(Truth::Listed(units.collect())));
        for node in self.store.tellers() {
            let (part, _) = self.store.history(node);
            for line in part.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                late.observe(UnixMillis(now), Observation::Feed(serde_json::from_slice(line).unwrap()));
            }
        }
        let (written_at, whole_at) = self.store.key_times();
        late.observe(UnixMillis(now), Observation::Feed(FeedLine::KeyTimes { written_at, whole_at }));
        late.observe(UnixMillis(now), Observation::Feed(FeedLine::CaughtUp));
        late.summary(UnixMillis(now))
    }
}

#[test]
fn a_status_asked_after_a_repair_says_how_long_it_took() {
    let mut watched = Watched::new();
    watched.killed_and_repaired();
    let seen = watched.watcher.summary(UnixMillis(24_000));
    assert!(seen.converged, "{}", seen.reason);
    assert_eq!(seen.converged_in_ms, Some(3_800));
    let late = watched.late_summary(90_000);
    assert!(late.converged, "{}", late.reason);
    assert_eq!(late.converged_in_ms, Some(3_800));
}

#[test]
fn a_write_after_a_repair_is_the_last_change_for_a_latecomer_too() {
    let mut watched = Watched::new();
    watched.killed_and_repaired();
    watched.says(40_000, 2, held(false, &[48]));
    watched.says(40_250, 3, held(false, &[48]));
    watched.says(40_400, 4, held(false, &[48]));
    let seen = watched.watcher.summary(UnixMillis(41_000)).converged_in_ms;
    assert_eq!((seen, watched.late_summary(90_000).converged_in_ms), (Some(400), Some(400)));
}

#[test]
fn a_link_that_starts_over_and_a_gateway_that_was_restarted_set_no_time() {
    let mut watched = Watched::new();
    assert_eq!(watched.store.key_times(), (None, None), "everybody told how things stood");
    watched.killed_and_repaired();
    let before = watched.store.key_times();
    // The same node again, over a new link, before the old one was missed.
    let link = watched.store.open(&NodeName::numbered(2), Epoch(10)).unwrap();
    watched.links[1] = link;
    let addr = "10.0.0.1:5000".parse().unwrap();
    watched.says(60_000, 2, Report::Hello { id: uuid::Uuid::nil(), epoch: Epoch(10), addr });
    watched.says(60_000, 2, held(true, &[16, 32]));
    assert_eq!(watched.store.key_times(), before);
}
