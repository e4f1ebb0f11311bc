//! Networks with keys in them, for scenarios and figures.

use std::collections::BTreeSet;

use p2pnet_node::dht;

use crate::{
    ledger::{self, Kind},
    network::Network,
};

/// A network of `count` nodes with a store that know one another.
pub(crate) fn stored(seed: u64, count: usize) -> Network {
    let mut network = Network::new(seed);
    network.store_config = Some(dht::Config::default());
    network.start_known(count);
    network.run_for(5_000);
    network.sweep();
    network
}

/// The name of the key with that number.
pub(crate) fn key(number: usize) -> String {
    format!("key {number}")
}

/// Puts keys 0 to `count` through all nodes in turn, `at_a_time` in a millisecond, and waits for the answers.
pub(crate) fn fill(network: &mut Network, count: usize, at_a_time: usize) {
    let running = network.running();
    for number in 0..count {
        network.put(number % 16, running[number % running.len()], &key(number));
        if number % at_a_time == 0 {
            network.run_for(1);
        }
    }
    network.finish_requests();
    check(network);
}

/// Holds what users were told against what they did.
#[track_caller]
pub(crate) fn check(network: &Network) {
    let violations = ledger::check(&network.users.history);
    assert!(violations.is_empty(), "{}", ledger::summary(&violations));
}

/// Reads keys 0 to `count`, each through one node in turn, and says how many of them were not answered by a value.
pub(crate) fn read_all(network: &mut Network, count: usize) {
    let running = network.running();
    let from = network.users.history.ops.len();
    for number in 0..count {
        network.ask(1, running[(number * 7 + 3) % running.len()], &key(number), Kind::Get);
        if number % 20 == 0 {
            network.run_for(1);
        }
    }
    network.finish_requests();
    let history = &network.users.history;
    let silent: BTreeSet<usize> = ledger::check_answered(history, 0, u64::MAX, |kind| *kind == Kind::Get)
        .iter()
        .flat_map(|violation| violation.ops.clone())
        .filter(|op| *op >= from)
        .collect();
    assert!(silent.is_empty(), "not answered: {:?}", silent.iter().map(|op| &history.ops[*op]).collect::<Vec<_>>());
}
