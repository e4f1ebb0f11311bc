//! Scenarios of networks on a shared table.

use crate::{large::kill_some, network::Network, with_seeds};

/// Kills 1, then 100 (or a hundredth), and says when the others knew.
fn kills(seed: u64, nodes: usize) {
    let mut network = Network::new(seed);
    network.watcher.careless = nodes > 1_000;
    network.start_known(nodes);
    assert!(network.all_agree());
    network.watcher.no_false_deaths = true;
    for count in [1, nodes / 100] {
        let times = kill_some(&mut network, count, 7, 60_000);
        assert_eq!(times.len(), count * network.running().len(), "every survivor knew, once");
        let (median, last) = (times[times.len() / 2], times[times.len() - 1]);
        println!("seed {seed}: {count} of {nodes} killed: median {median} ms, last {last} ms");
        let before = network.own_rows();
        network.rebase();
        println!("rows of its own per node: {before:.1}, {:.1} on a new base", network.own_rows());
        assert!(network.own_rows() <= before && network.all_agree());
        network.run_for(10_000);
    }
}

#[test]
fn three_hundred_on_a_shared_table_know_one_another_and_who_died() {
    let name = "thousands::three_hundred_on_a_shared_table_know_one_another_and_who_died";
    with_seeds(name, &[1], |seed| kills(seed, 300));
}

#[test]
#[ignore = "takes minutes and gigabytes: `cargo test --release -p p2pnet-node --test sim -- --ignored thousands`"]
fn ten_thousand_on_a_shared_table_know_one_another_and_who_died() {
    let name = "thousands::ten_thousand_on_a_shared_table_know_one_another_and_who_died";
    with_seeds(name, &[1], |seed| kills(seed, 10_000));
}
