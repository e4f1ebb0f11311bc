//! Broadcasts reach every live node, exactly once.

use rand::seq::SliceRandom;

use crate::{network::Network, start::settled, with_seeds};

#[test]
fn every_live_node_receives_each_broadcast_exactly_once_also_with_thirty_percent_killed() {
    let name = "broadcast::every_live_node_receives_each_broadcast_exactly_once_also_with_thirty_percent_killed";
    with_seeds(name, &[1, 2], |seed| {
        let mut network = settled(seed, 101);
        let sent_at = network.now();
        let before: Vec<_> = [3, 50, 99].map(|id| network.publish(id, "hello")).to_vec();
        network.run_for(2_000);
        for message in &before {
            let last =
                network.watcher.paths.deliveries[message].values().map(|delivery| delivery.at / 1_000 - sent_at).max();
            let hops = network.watcher.paths.deliveries[message].values().map(|delivery| delivery.hops).max();
            println!("seed {seed}: {message} reached its last node after {last:?} ms and {hops:?} hops");
            assert!(last <= Some(100) && hops <= Some(12), "in an idle network");
        }
        let mut victims = network.running();
        victims.shuffle(&mut network.rng);
        let origin = victims[60];
        for &victim in &victims[..30] {
            network.kill(victim);
        }
        let during = network.publish(origin, "in the middle of it");
        network.run_until("the survivors agree", 15_000, Network::all_agree);
        let after = network.publish(origin, "and after");
        network.run_for(30_000);
        for message in before.iter().chain([&during, &after]) {
            let reached = &network.watcher.paths.deliveries[message];
            for id in network.running() {
                assert!(reached.contains_key(&(id, network.nodes[id].life)), "{message} did not reach node {id}");
            }
        }
    });
}
