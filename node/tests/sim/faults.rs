//! Loss, cuts, pauses, restarts, goodbyes, and all of them together.

use rand::{RngExt, seq::IndexedRandom};

use crate::{network::Network, start::settled, with_seeds};

#[test]
fn ten_percent_loss_kills_nobody() {
    with_seeds("faults::ten_percent_loss_kills_nobody", &[1], |seed| {
        let mut network = settled(seed, 100);
        network.watcher.no_false_deaths = true;
        network.wire.conditions.loss = 0.1;
        network.wire.conditions.duplication = 0.1;
        network.run_for(60_000);
        println!("seed {seed}: 60 s at 10 % loss, {} suspicions announced", network.watcher.suspicions);
        assert!(network.all_agree());
    });
}

#[test]
fn a_partition_in_two_halves_heals_by_itself() {
    with_seeds("faults::a_partition_in_two_halves_heals_by_itself", &[1], |seed| {
        let mut network = settled(seed, 100);
        network.cut(0..50);
        network.run_for(60_000);
        let half = network.nodes[0].peer.as_ref().map(|peer| peer.membership.digest().members);
        assert_eq!(half, Some(50), "each half believes in itself alone");
        network.wire.heal();
        let took = network.run_until("all agree", 30_000, Network::all_agree);
        println!("seed {seed}: 50/50 partition of 60 s agrees {took} ms after the cut is gone");
    });
}

#[test]
fn a_node_cut_off_alone_returns_without_a_storm() {
    with_seeds("faults::a_node_cut_off_alone_returns_without_a_storm", &[1, 51], |seed| {
        let mut network = settled(seed, 50);
        network.cut([9]);
        network.run_for(30_000);
        network.wire.heal();
        let took = network.run_until("all agree", 60_000, Network::all_agree);
        let others = network.watcher.deaths.iter().filter(|death| death.observer != 9 && death.member != 9);
        assert_eq!(others.count(), 0, "nobody but the two sides of the cut were taken for dead");
        println!("seed {seed}: a lone node is back {took} ms after the cut is gone");
    });
}

#[test]
fn a_restarted_node_at_a_new_address_supersedes_its_former_self() {
    with_seeds("faults::a_restarted_node_at_a_new_address_supersedes_its_former_self", &[1, 2], |seed| {
        let mut network = settled(seed, 100);
        for (victim, down_ms) in [(5, 200), (6, 3_000), (7, 12_000)] {
            network.kill(victim);
            network.run_for(down_ms);
            network.move_house(victim);
            network.boot(victim, Some(0));
            network.run_until("all agree", 10_000, |network| {
                let addr = network.nodes[victim].addr;
                let name = &network.nodes[victim].name;
                let up_to_date = |id: &usize| {
                    let Some(peer) = &network.nodes[*id].peer else { return false };
                    *id == victim || peer.membership.member(name).is_some_and(|member| member.addr == addr)
                };
                network.all_agree() && network.running().iter().all(up_to_date)
            });
        }
    });
}

#[test]
fn a_node_restarted_where_it_was_is_soon_known_in_its_new_life() {
    with_seeds("faults::a_node_restarted_where_it_was_is_soon_known_in_its_new_life", &[1], |seed| {
        let mut network = settled(seed, 100);
        for down_ms in [0, 50, 800, 2_500] {
            network.kill(5);
            network.run_for(down_ms);
            network.boot(5, Some(0));
            let epoch = network.nodes[5].peer.as_ref().map(|peer| peer.membership.me().epoch);
            let took = network.run_until("all know the new life", 3_000, |network| {
                let knows = |id: &usize| {
                    let held =
                        network.nodes[*id].peer.as_ref().map(|peer| peer.membership.member(&network.nodes[5].name));
                    *id == 5 || held.flatten().map(|member| member.epoch) == epoch
                };
                network.all_agree() && network.running().iter().all(knows)
            });
            println!("seed {seed}: restarted after {down_ms} ms, all know the new life {took} ms later");
            network.run_for(10_000);
            assert!(network.all_agree(), "and it stays alive");
        }
    });
}

#[test]
fn everybody_restarts_within_five_seconds() {
    with_seeds("faults::everybody_restarts_within_five_seconds", &[1], |seed| {
        let mut network = settled(seed, 60);
        for id in 0..60 {
            network.kill(id);
            network.run_for(40);
            network.boot(id, Some((id + 1) % 60));
            network.run_for(40);
        }
        let took = network.run_until("all agree", 5_000, Network::all_agree);
        println!("seed {seed}: all restarted, all agree {took} ms later");
    });
}

#[test]
fn five_paused_for_three_seconds_are_not_taken_for_dead() {
    with_seeds("faults::five_paused_for_three_seconds_are_not_taken_for_dead", &[1], |seed| {
        let mut network = settled(seed, 100);
        network.watcher.no_false_deaths = true;
        (10..15).for_each(|id| network.pause(id));
        network.run_for(3_000);
        (10..15).for_each(|id| network.resume(id));
        network.run_for(20_000);
        assert!(network.all_agree());
        assert_eq!(network.watcher.deaths.len(), 0);
    });
}

#[test]
fn one_paused_for_a_minute_comes_back() {
    with_seeds("faults::one_paused_for_a_minute_comes_back", &[1], |seed| {
        let mut network = settled(seed, 60);
        network.watcher.no_false_deaths = true;
        network.pause(10);
        network.run_for(60_000);
        let believed = network.nodes[11].peer.as_ref().map(|peer| peer.membership.digest().members);
        assert_eq!(believed, Some(59));
        network.resume(10);
        network.run_until("all agree", 15_000, Network::all_agree);
    });
}

#[test]
fn leaving_is_not_dying() {
    with_seeds("faults::leaving_is_not_dying", &[1, 2], |seed| {
        let mut network = settled(seed, 100);
        let at = network.now();
        (20..30).for_each(|id| network.leave(id));
        let took = network.run_until("all agree", 2_000, Network::all_agree);
        println!("seed {seed}: ten goodbyes known to all after {took} ms");
        network.run_for(20_000);
        assert!(network.watcher.deaths.iter().all(|death| death.at < at), "nobody died");
        assert_eq!(network.watcher.suspicions, 0, "who left is not suspected");
    });
}

/// Anything at any time for two minutes, then calm: all must agree.
#[test]
fn whatever_happens_calm_brings_agreement() {
    with_seeds("faults::whatever_happens_calm_brings_agreement", &[1, 2, 3], |seed| {
        let mut network = settled(seed, 30);
        for _ in 0..40 {
            let id = network.rng.random_range(0..30);
            let running = network.nodes[id].peer.is_some();
            let others: Vec<usize> = network.running().into_iter().filter(|other| *other != id).collect();
            let seed_node = others.choose(&mut network.rng).copied();
            match network.rng.random_range(0..8) {
                0 | 1 if running && others.len() > 10 => network.kill(id),
                2 if running && others.len() > 10 => network.leave(id),
                3 if running => network.pause(id),
                4 => network.wire.conditions.loss = network.rng.random_range(0.0..0.4),
                5 => {
                    let size = network.rng.random_range(1..15);
                    network.cut(id..id + size);
                }
                6 => network.wire.heal(),
                _ if !running => {
                    if network.rng.random_bool(0.5) {
                        network.move_house(id);
                    }
                    network.boot(id, seed_node);
                }
                _ => network.wake(id),
            }
            let pause_ms = network.rng.random_range(0..6_000);
            network.run_for(pause_ms);
        }
        network.wire.heal();
        network.wire.conditions = crate::wire::Conditions::default();
        (0..30).for_each(|id| network.wake(id));
        network.discover();
        let took = network.run_until("all agree", 90_000, Network::all_agree);
        let wrong = network.watcher.false_deaths();
        println!(
            "seed {seed}: {took} ms after the faults all agree; on the way {wrong} deaths of nodes that ran, most of them cut off"
        );
    });
}

/// Nobody can tell such a node from another of the same name that is older, so it is not listened to; but it is told why,
/// and its next life with a right clock is a member again. With a data folder the epoch never falls (`runtime/disk.rs`).
#[test]
fn a_node_without_a_data_folder_whose_clock_went_back_learns_that_it_is_superseded() {
    let name = "faults::a_node_without_a_data_folder_whose_clock_went_back_learns_that_it_is_superseded";
    with_seeds(name, &[1], |seed| {
        let mut network = settled(seed, 30);
        network.nodes[5].has_folder = false;
        let former = network.membership(5).map(|membership| membership.me().epoch);
        for (hours, heard) in [(-1, false), (1, true)] {
            network.kill(5);
            network.run_for(20_000);
            network.set_clock(5, hours);
            network.boot(5, Some(0));
            network.run_for(5_000);
            let superseded = network.membership(5).and_then(|membership| membership.superseded());
            assert_eq!(superseded, former.filter(|_| !heard));
            assert_eq!(network.all_agree(), heard);
        }
    });
}

#[test]
fn a_node_with_a_data_folder_is_heard_though_its_clock_went_back() {
    with_seeds("faults::a_node_with_a_data_folder_is_heard_though_its_clock_went_back", &[1], |seed| {
        let mut network = settled(seed, 30);
        for hours in [-1, 1, -1] {
            network.kill(5);
            network.run_for(1_000);
            network.set_clock(5, hours);
            network.boot(5, Some(0));
            network.run_until("all agree", 5_000, Network::all_agree);
            let epoch = network.membership(5).map(|membership| membership.me().epoch);
            network.run_for(3_000);
            let name = network.nodes[5].name.clone();
            let held = network.membership(9).and_then(|membership| membership.member(&name).map(|held| held.epoch));
            assert_eq!(held, epoch, "in its new life");
        }
    });
}
