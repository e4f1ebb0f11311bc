//! Nodes are killed, and everybody else knows soon.

use rand::seq::SliceRandom;

use crate::{network::Network, start::settled, with_seeds};

/// Kills `count` random nodes at once, waits until the rest agree, and returns when each survivor knew of each death.
fn kill(network: &mut Network, count: usize, limit_ms: u64) -> Vec<u64> {
    let mut victims = network.running();
    victims.shuffle(&mut network.rng);
    victims.truncate(count);
    let at = network.now();
    for &victim in &victims {
        network.kill(victim);
    }
    network.run_until("the survivors agree", limit_ms, Network::all_agree);
    let survivors = network.running().len();
    let mut times = Vec::new();
    for victim in victims {
        let known = network.watcher.detection(victim, at);
        assert_eq!(known.len(), survivors, "every survivor knew, once");
        times.extend(known);
    }
    times.sort_unstable();
    times
}

fn report(what: &str, seed: u64, times: &[u64]) -> (u64, u64) {
    let (first, median, last) = (times[0], times[times.len() / 2], times[times.len() - 1]);
    println!("seed {seed}: {what}: first {first} ms, median {median} ms, last {last} ms");
    (median, last)
}

#[test]
fn one_of_a_hundred() {
    with_seeds("kill::one_of_a_hundred", &[1, 2], |seed| {
        let mut network = settled(seed, 101);
        network.watcher.no_false_deaths = true;
        let times = kill(&mut network, 1, 5_000);
        let (median, last) = report("kill 1", seed, &times);
        assert!(median <= 3_000 && last <= 4_500);
    });
}

#[test]
fn ten_of_a_hundred() {
    with_seeds("kill::ten_of_a_hundred", &[1, 2], |seed| {
        let mut network = settled(seed, 101);
        network.watcher.no_false_deaths = true;
        let times = kill(&mut network, 10, 6_000);
        let (median, last) = report("kill 10", seed, &times);
        assert!(median <= 3_500 && last <= 5_500);
    });
}

#[test]
fn thirty_of_a_hundred() {
    with_seeds("kill::thirty_of_a_hundred", &[1], |seed| {
        let mut network = settled(seed, 101);
        network.watcher.no_false_deaths = true;
        let times = kill(&mut network, 30, 15_000);
        report("kill 30", seed, &times);
    });
}

#[test]
fn ten_of_a_hundred_while_a_tenth_of_all_datagrams_is_lost() {
    with_seeds("kill::ten_of_a_hundred_while_a_tenth_of_all_datagrams_is_lost", &[1], |seed| {
        let mut network = settled(seed, 101);
        network.watcher.no_false_deaths = true;
        network.wire.conditions.loss = 0.1;
        let times = kill(&mut network, 10, 10_000);
        report("kill 10 at 10 % loss", seed, &times);
    });
}

#[test]
fn four_of_five_at_once_are_known_once_the_freeze_is_over() {
    with_seeds("kill::four_of_five_at_once_are_known_once_the_freeze_is_over", &[1], |seed| {
        let mut network = settled(seed, 51);
        let times = kill(&mut network, 40, 60_000);
        report("kill 40 of 51", seed, &times);
    });
}

#[test]
fn one_of_a_few() {
    with_seeds("kill::one_of_a_few", &[1, 2], |seed| {
        for count in [2, 3, 5] {
            let mut network = settled(seed, count);
            network.watcher.no_false_deaths = true;
            let times = kill(&mut network, 1, 5_000);
            report(&format!("kill 1 of {count}"), seed, &times);
            // And without a link, by probing alone.
            if count > 2 {
                network = settled(seed, count);
                for neighbour in network.links.neighbours(1) {
                    network.links.disconnect(1, neighbour);
                }
                network.kill(1);
                let took = network.run_until("the survivors agree", 30_000, Network::all_agree);
                println!("seed {seed}: kill 1 of {count} without a link: all agree after {took} ms");
            }
        }
    });
}

#[test]
fn one_that_nobody_has_a_link_to() {
    with_seeds("kill::one_that_nobody_has_a_link_to", &[1], |seed| {
        let mut network = settled(seed, 101);
        network.watcher.no_false_deaths = true;
        let victim = 17;
        for neighbour in network.links.neighbours(victim) {
            network.links.disconnect(victim, neighbour);
        }
        let at = network.now();
        network.kill(victim);
        network.run_until("the survivors agree", 20_000, Network::all_agree);
        let times = network.watcher.detection(victim, at);
        report("kill 1 without a link", seed, &times);
    });
}
