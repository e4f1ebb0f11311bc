//! The keeper is checked: each thing that it holds a run against can fail.

use std::panic::{AssertUnwindSafe, catch_unwind};

use p2pnet_node::dht::{self, Answer, Change};
use p2pnet_shared::{
    Key, NodeName, UnixMillis,
    wire::dht::{Actor, Dot, Entry, Version},
};

use crate::{
    ledger::{Gap, Kind, Op, Outcome},
    network::Network,
    users::json,
};

/// Four names with empty disks, none of which runs.
fn network() -> Network {
    let mut network = Network::new(1);
    network.store_config = Some(dht::Config::default());
    for id in 0..4 {
        network.add();
        network.keeper.opened(id);
        network.keeper.runs(64, &network.nodes[id].name, true);
    }
    network
}

fn actor(node: u32) -> Actor {
    Actor { node: NodeName::numbered(node), era: 1 }
}

/// The `count`-th write of node 1, which saw those before it from `seen` on back.
fn version(value: &str, count: u64, seen: u64) -> Version {
    let context = if seen > 0 { vec![(actor(1), seen)] } else { Vec::new() };
    Version { dot: Dot { actor: actor(1), count }, context, at: UnixMillis(1), value: Some(json(value)) }
}

fn entry(versions: impl IntoIterator<Item = Version>) -> Entry {
    Entry { key: key(), versions: versions.into_iter().collect() }
}

fn key() -> Key {
    "k".parse().expect("a key")
}

fn hold(network: &mut Network, id: usize, entry: Entry) {
    network.keeper.note_entry(&entry);
    network.nodes[id].disk.kept.insert(key(), entry);
}

fn acknowledge(network: &mut Network, value: &str, acks: u8) {
    let op = Op {
        client: 1,
        node: "node1".to_owned(),
        key: "k".to_owned(),
        kind: Kind::Put(value.to_owned()),
        outcome: Outcome::Acknowledged,
        invoked: 1,
        completed: Some(2),
    };
    network.users.history.ops.push(op.clone());
    network.acknowledged(network.users.history.ops.len() - 1, &op, &Answer::Stored { acks });
}

#[track_caller]
fn fails(what: &str, act: impl FnOnce()) {
    let panic = catch_unwind(AssertUnwindSafe(act)).expect_err("it must fail");
    let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
    assert!(text.contains(what), "{text}");
}

#[test]
fn an_acknowledgement_with_fewer_disks_than_it_says_is_found() {
    let mut network = network();
    hold(&mut network, 0, entry([version("a", 1, 0)]));
    fails("acknowledged with 1 copies", || acknowledge(&mut network, "a", 1));
    fails("and 1 disks have it", || acknowledge(&mut network, "a", 2));
    // What has replaced it says that it was there.
    hold(&mut network, 1, entry([version("b", 2, 1)]));
    acknowledge(&mut network, "a", 2);
}

#[test]
fn a_disk_that_forgets_is_found() {
    let mut network = network();
    hold(&mut network, 0, entry([version("a", 1, 0)]));
    let put = |versions: &[Version]| Change::Put(entry(versions.iter().cloned()));
    network.check_change(0, &put(&[version("b", 2, 1)]));
    fails("which it does not cover", || network.check_change(0, &put(&[version("b", 2, 0)])));
    fails("drops `k`", || network.check_change(0, &Change::Drop(key())));
    hold(&mut network, 1, entry([version("a", 1, 0)]));
    fails("which 1 others have", || network.check_change(0, &Change::Drop(key())));
    hold(&mut network, 2, entry([version("b", 2, 1)]));
    network.check_change(0, &Change::Drop(key()));
}

#[test]
fn the_last_copy_lost_within_the_promise_is_found_and_beyond_it_is_forgiven() {
    let copies = |count: usize| {
        let mut network = network();
        (0..count).for_each(|id| hold(&mut network, id, entry([version("a", 1, 0)])));
        acknowledge(&mut network, "a", 2);
        network
    };
    // Three copies: the third death of one repair window is beyond the promise.
    let mut network = copies(3);
    (0..3).for_each(|id| network.destroy(id));
    assert!(matches!(network.users.history.gaps[..], [Gap::Loss { .. }]));
    assert_eq!(network.keeper.counts.keys_lost, 1);
    // A holder that dropped its copy though only one other had it: one death is enough.
    let mut network = copies(2);
    network.nodes[0].disk.kept.clear();
    fails("invariant 18: lost with the disk of node 1", || network.destroy(1));
    // Copies were made good in between: the wounds are healed, and the next loss is not forgiven.
    let mut network = copies(3);
    network.destroy(0);
    hold(&mut network, 3, entry([version("a", 1, 0)]));
    network.keeper.copies_are_good();
    [1, 3].into_iter().for_each(|id| network.nodes[id].disk.kept.clear());
    fails("invariant 18", || network.destroy(2));
}

#[test]
fn batches_that_are_not_counted_and_clocks_that_jump_are_found() {
    let mut network = network();
    network.keeper.persisting(0, 1, &[]);
    network.keeper.persisting(0, 2, &[]);
    fails("counts its batches", || network.keeper.persisting(0, 2, &[]));
    network.keeper.said_the_time(0, 700);
    fails("another time than its own", || network.keeper.said_the_time(0, 701));
}
