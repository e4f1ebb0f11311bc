//! Hard times for holders: pauses, restarts, rolling kills, full and broken disks.

use p2pnet_node::dht::Answer;
use p2pnet_shared::{ring::Place, wire::dht::Refusal};
use rand::RngExt;

use crate::{
    disks::Health,
    invariants::number,
    keyed::{check, fill, key, read_all, stored},
    ledger::{self, Kind},
    network::Network,
    wire::NodeId,
    with_seeds,
};

fn holders(network: &Network, key: &str) -> Vec<NodeId> {
    network.true_ring().preference(Place::of(key), 3).iter().map(number).collect()
}

#[test]
fn a_paused_holder_costs_a_moment_and_has_everything_again_when_it_is_back() {
    let name = "keys_trouble::a_paused_holder_costs_a_moment_and_has_everything_again_when_it_is_back";
    with_seeds(name, &[1, 2], |seed| {
        let mut network = stored(seed, 20);
        fill(&mut network, 300, 20);
        let victim = holders(&network, &key(0))[0];
        network.pause(victim);
        for round in 0..3 {
            for number in 0..100 {
                let node = (victim + 1 + number % 19) % 20;
                network.put(1, node, &key(number));
                network.ask(2, node, &key(100 + number), Kind::Get);
                network.run_for(4);
            }
            network.finish_requests();
            network.run_for(1_000 + 500 * round);
        }
        let open = ledger::check_answered(&network.users.history, 0, u64::MAX, |_| true);
        assert!(open.is_empty(), "{}", ledger::summary(&open));
        network.resume(victim);
        network.ask(3, victim, &key(0), Kind::Get);
        network.finish_requests();
        network.run_until("all agree", 15_000, Network::all_agree);
        let took = network.until_in_place("the pause", 30_000);
        read_all(&mut network, 300);
        check(&network);
        println!("seed {seed}: the paused holder has everything {took} ms after all agree");
    });
}

#[test]
fn users_write_on_while_one_after_the_other_restarts() {
    with_seeds("keys_trouble::users_write_on_while_one_after_the_other_restarts", &[1, 2], |seed| {
        let mut network = stored(seed, 20);
        fill(&mut network, 200, 20);
        for victim in 0..20 {
            network.kill(victim);
            for step in 0..40 {
                if step == 20 {
                    network.boot(victim, Some((victim + 1) % 20));
                }
                let (number, node) = (network.rng.random_range(0..200), network.rng.random_range(0..20));
                network.put(1, node, &key(number));
                network.ask(2, (node + 7) % 20, &key(number), Kind::Get);
                network.run_for(20);
            }
        }
        network.finish_requests();
        network.run_until("all agree", 15_000, Network::all_agree);
        network.until_in_place("the restarts", 30_000);
        read_all(&mut network, 200);
        check(&network);
        assert_eq!(network.keeper.counts.keys_lost, 0);
        let counts = &network.keeper.counts;
        assert!(counts.stand_ins + counts.dials_refused + counts.unreachable > 0, "{counts:?}");
    });
}

#[test]
fn a_write_storm_goes_on_through_a_rolling_kill() {
    with_seeds("keys_trouble::a_write_storm_goes_on_through_a_rolling_kill", &[1], |seed| {
        let mut network = stored(seed, 30);
        network.keeper.watches_stand_ins = true;
        network.sweep();
        fill(&mut network, 100, 20);
        for victim in 1..9 {
            network.kill_for_good(victim);
            for _ in 0..400 {
                let number = if network.rng.random_bool(0.3) { 0 } else { network.rng.random_range(0..100) };
                let node = network.rng.random_range(9..30);
                network.put(1, node, &key(number));
                if network.rng.random_bool(0.5) {
                    network.ask(2, node, &key(number), Kind::Get);
                }
                network.run_for(10);
            }
            network.run_until("the survivors agree", 15_000, Network::all_agree);
            network.until_in_place("all knew of the death", 30_000);
            network.finish_requests();
        }
        read_all(&mut network, 100);
        check(&network);
        let counts = &network.keeper.counts;
        assert!(counts.stand_ins > 0 && counts.keys_lost == 0, "{counts:?}");
        let open = ledger::check_answered(&network.users.history, 0, u64::MAX, |kind| *kind == Kind::Get);
        assert!(open.is_empty(), "{}", ledger::summary(&open));
    });
}

#[test]
fn a_hot_key_written_through_all_nodes_at_once_keeps_every_write_that_nothing_covers() {
    let name = "keys_trouble::a_hot_key_written_through_all_nodes_at_once_keeps_every_write_that_nothing_covers";
    with_seeds(name, &[1, 2], |seed| {
        let mut network = stored(seed, 20);
        for round in 0..60 {
            for node in 0..20 {
                network.put(node, node, "hot");
                if node % 4 == 0 {
                    network.ask(node, (node + round) % 20, "hot", Kind::Get);
                }
            }
            network.run_for(5);
        }
        network.finish_requests();
        let answer = network.ask_and_wait(3, "hot", Kind::Get);
        assert!(matches!(answer, Answer::Found { .. }), "{answer:?}");
        check(&network);
        let open = ledger::check_answered(&network.users.history, 0, u64::MAX, |_| true);
        assert!(open.is_empty(), "{}", ledger::summary(&open));
    });
}

#[test]
fn a_full_or_broken_disk_is_never_a_wrong_answer() {
    with_seeds("keys_trouble::a_full_or_broken_disk_is_never_a_wrong_answer", &[1, 2], |seed| {
        for (health, wanted) in [(Health::Full, Refusal::Full), (Health::Broken, Refusal::Broken)] {
            let mut network = stored(seed, 12);
            fill(&mut network, 100, 20);
            // One of three: writes go on with the other two.
            let victims = holders(&network, &key(0));
            network.nodes[victims[0]].disk.health = health;
            for number in 0..100 {
                let answer = network.ask_and_wait(
                    (victims[0] + 1 + number % 11) % 12,
                    &key(number),
                    Kind::Put(format!("{number}")),
                );
                assert!(matches!(answer, Answer::Stored { acks: 2.. }), "{answer:?}");
            }
            // All: nothing is acknowledged, everything is readable, and each says why.
            (0..12).for_each(|id| network.nodes[id].disk.health = health);
            for number in 0..20 {
                match network.ask_and_wait(number % 12, &key(number), Kind::Put(format!("never {number}"))) {
                    Answer::Refused { why, reached: 0..=1 } => assert_eq!(why, wanted),
                    other => panic!("no disk takes anything, and yet: {other:?}"),
                }
            }
            (0..12).for_each(|id| network.nodes[id].disk.health = Health::Good);
            network.until_in_place("the disks are well again", 30_000);
            read_all(&mut network, 100);
            check(&network);
            assert!(network.keeper.counts.disk_failures > 0);
        }
    });
}
