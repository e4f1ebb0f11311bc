//! Ours beside foca on the same wire, seeds and schedule. The whole comparison is in `benches/simulator`.

use crate::{
    network::Network,
    overload,
    rival::{Preset, Rival},
    schedule::{Step, World},
    start::settled,
    with_seeds,
};

/// How late the timers and datagrams of the overloaded member are, again and again, milliseconds.
const LATE_MS: (u64, u64) = (500, 3_000);

/// A hundred foca nodes that all know one another.
fn rivals(seed: u64, preset: Preset) -> Rival {
    let mut rival = Rival::new(seed, 100, preset);
    rival.start_many(100, 2_000);
    assert!(rival.run_until_all_agree(120_000).is_some(), "foca's nodes find one another");
    rival.run_for(15_000);
    rival
}

#[test]
fn one_killed_of_a_hundred_is_known_to_all_before_any_foca_knows_it() {
    let name = "versus::one_killed_of_a_hundred_is_known_to_all_before_any_foca_knows_it";
    with_seeds(name, &[1, 2], |seed| {
        let mut network = settled(seed, 100);
        let since = network.now();
        network.kill(40);
        network.run_until("the survivors agree", 10_000, Network::all_agree);
        let ours = network.watcher.detection(40, since);
        let mut rival = rivals(seed, Preset::Lan);
        let since = rival.now();
        rival.take(&Step::Kill(40));
        assert!(rival.run_until_all_agree(60_000).is_some(), "foca's survivors agree");
        let theirs = rival.detection(40, since);
        println!("seed {seed}: ours {:?} to {:?} ms, foca's {:?} to {:?}", ours[0], ours[98], theirs[0], theirs[98]);
        assert!(ours[98] < theirs[0]);
    });
}

#[test]
fn one_overloaded_member_in_a_hundred_costs_nobody_its_life_and_fewer_accusations_than_focas() {
    let name = "versus::one_overloaded_member_in_a_hundred_costs_nobody_its_life_and_fewer_accusations_than_focas";
    with_seeds(name, &[1, 2], |seed| {
        let ours = overload::ours(&mut settled(seed, 100), LATE_MS);
        let theirs = overload::focas(&mut rivals(seed, Preset::Lan), LATE_MS);
        let simple = overload::focas(&mut rivals(seed, Preset::Simple), LATE_MS);
        println!("seed {seed}: ours {ours:?}, foca's {theirs:?}, in its simple form {simple:?}");
        assert_eq!((ours.deaths, ours.healthy_deaths), (0, 0));
        assert!(ours.deaths * 100 <= theirs.deaths && ours.accusations <= theirs.accusations);
        assert!(simple.deaths > 0 && ours.deaths * 100 <= simple.deaths, "quicker presets pay with lives");
    });
}
