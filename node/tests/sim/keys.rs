//! Keys over a hundred nodes: what is acknowledged outlives the nodes that held it.

use p2pnet_shared::ring::Place;

use crate::{
    invariants::number,
    keyed::{check, fill, key, read_all, stored},
    network::Network,
    wire::NodeId,
    with_seeds,
};

/// Keys of the large scenarios.
const KEYS: usize = 10_000;

/// One is killed for good, and then two at once; every key is read while they are not yet known to be dead, while copies
/// are made good, and after.
#[test]
fn ten_thousand_keys_outlive_one_of_a_hundred_nodes_and_then_any_two_at_once() {
    let name = "keys::ten_thousand_keys_outlive_one_of_a_hundred_nodes_and_then_any_two_at_once";
    with_seeds(name, &[1], |seed| {
        let mut network = stored(seed, 100);
        fill(&mut network, KEYS, 20);
        network.until_in_place("the puts", 10_000);
        one_dies(&mut network);
        // Two that stand next to one another for some key: the worst two there are.
        let holders = network.true_ring().preference(Place::of(&key(0)), 2);
        let victims: Vec<NodeId> = holders.iter().map(number).collect();
        let at = network.now();
        for victim in &victims {
            network.kill_for_good(*victim);
        }
        read_all(&mut network, KEYS);
        network.run_until("the survivors agree", 15_000, Network::all_agree);
        let detected = network.now() - at;
        read_all(&mut network, KEYS / 4);
        let took = network.until_in_place("all knew of the deaths", 15_000);
        read_all(&mut network, KEYS / 4);
        check(&network);
        assert_eq!(network.keeper.counts.keys_lost, 0);
        println!("seed {seed}: two killed at once, known to all after {detected} ms, three copies {took} ms later");
    });
}

/// Three copies of everything within fifteen seconds of the detection.
fn one_dies(network: &mut Network) {
    let at = network.now();
    network.kill_for_good(17);
    let (lacking, _) = network.out_of_place();
    assert!(lacking > 100, "{lacking} copies died");
    while network.watcher.detection(17, at).is_empty() {
        network.run_for(10);
    }
    let detected = network.now();
    network.run_until("the survivors agree", 15_000, Network::all_agree);
    network.until_in_place("all knew of the death", 15_000);
    let took = network.now() - detected;
    println!("{lacking} of {KEYS} keys lost a copy; three again {took} ms after the first knew of the death");
    assert!(took <= 15_000);
}

#[test]
fn thirty_of_a_hundred_die_one_by_one_and_nothing_is_lost() {
    with_seeds("keys::thirty_of_a_hundred_die_one_by_one_and_nothing_is_lost", &[1], |seed| {
        let mut network = stored(seed, 100);
        fill(&mut network, KEYS / 5, 20);
        let mut windows = Vec::new();
        for victim in (1..=90).step_by(3) {
            network.until_in_place("the last death was known", 15_000);
            let at = network.now();
            network.kill_for_good(victim);
            network.run_until("the survivors agree", 15_000, Network::all_agree);
            network.until_in_place("all knew of the death", 15_000);
            windows.push(network.now() - at);
        }
        assert_eq!(network.running().len(), 70);
        read_all(&mut network, KEYS / 5);
        check(&network);
        assert_eq!(network.keeper.counts.keys_lost, 0);
        windows.sort_unstable();
        println!(
            "seed {seed}: thirty died, from a death to three copies {} ms in the middle, {} ms at most",
            windows[15], windows[29]
        );
    });
}

#[test]
fn all_die_at_once_and_everything_acknowledged_is_back_when_they_are() {
    with_seeds("keys::all_die_at_once_and_everything_acknowledged_is_back_when_they_are", &[1, 2], |seed| {
        let mut network = stored(seed, 30);
        fill(&mut network, 1_000, 20);
        // In the middle of writing.
        for number in 0..300 {
            network.put(1, number % 30, &key(number));
        }
        network.run_for(8);
        (0..30).for_each(|id| network.kill(id));
        network.run_for(2_000);
        for id in 0..30 {
            network.boot(id, Some((id + 1) % 30));
            network.run_for(50);
        }
        network.run_until("all agree", 10_000, Network::all_agree);
        network.until_in_place("all agreed", 15_000);
        read_all(&mut network, 1_000);
        check(&network);
        let abandoned = network.keeper.counts.abandoned;
        assert!(abandoned > 0, "some requests were under way");
        println!("seed {seed}: all of thirty restarted, {abandoned} requests died with them");
    });
}
