//! Cuts: both sides go on, nothing of either is dropped in silence, and what was deleted stays so.

use std::collections::BTreeSet;

use p2pnet_node::dht::Answer;

use crate::{
    keyed::{check, fill, key, stored},
    ledger::{Cut, Gap, Kind},
    network::Network,
    users::text,
    wire::NodeId,
    with_seeds,
};

/// Cuts these off from now on and says so to the ledger.
fn cut(network: &mut Network, side: &[NodeId]) {
    network.cut(side.iter().copied());
    let names = side.iter().map(|id| network.nodes[*id].name.to_string()).collect();
    let from = network.clock;
    let history = &mut network.users.history;
    history.cuts.push(Cut { side: names, from, to: u64::MAX });
    history.gaps.push(Gap::Blind { nodes: None, key: None, from, to: u64::MAX });
}

/// Ends the cut and waits until everything is where it should be again; from then on nothing is blind.
fn heal(network: &mut Network) -> u64 {
    network.wire.heal();
    let healed = network.clock;
    if let Some(cut) = network.users.history.cuts.last_mut() {
        cut.to = healed;
    }
    let begin = network.now();
    network.run_until("all agree", 60_000, Network::all_agree);
    network.until_in_place("all agreed", 30_000);
    let now = network.clock;
    if let Some(Gap::Blind { to, .. }) = network.users.history.gaps.last_mut() {
        *to = now - 1;
    }
    network.now() - begin
}

/// What a get through a node shows.
fn seen(network: &mut Network, node: NodeId, key: &str) -> Vec<String> {
    match network.ask_and_wait(node, key, Kind::Get) {
        Answer::Found { value, siblings } if siblings.is_empty() => vec![text(&value)],
        Answer::Found { siblings, .. } => siblings.iter().map(text).collect(),
        Answer::Missing => Vec::new(),
        other => panic!("get of `{key}` through node {node}: {other:?}"),
    }
}

#[test]
fn what_both_halves_of_a_cut_wrote_is_shown_by_all_until_a_later_write_covers_it() {
    let name = "keys_cut::what_both_halves_of_a_cut_wrote_is_shown_by_all_until_a_later_write_covers_it";
    with_seeds(name, &[1, 2], |seed| {
        let mut network = stored(seed, 40);
        fill(&mut network, 50, 20);
        let half: Vec<NodeId> = (0..20).collect();
        cut(&mut network, &half);
        // At once, while each side still believes in the other, and again when it does not.
        for (wait, numbers) in [(0, 0..50), (40_000, 0..50)] {
            network.run_for(wait);
            for number in numbers {
                network.put(1, number % 20, &key(number));
                network.put(2, 20 + number % 20, &key(number));
            }
            network.finish_requests();
        }
        let before = network.keeper.counts.acknowledged;
        assert!(before > 150, "both sides go on once they are by themselves: {before} acknowledged");
        let took = heal(&mut network);
        let mut both = 0;
        for number in 0..50 {
            let shown = seen(&mut network, number % 40, &key(number));
            both += usize::from(shown.len() > 1);
            for node in [3, 17, 25, 39] {
                assert_eq!(seen(&mut network, node, &key(number)), shown, "all show the same, in the same order");
            }
        }
        assert_eq!(both, 50, "each key has siblings");
        for number in 0..50 {
            network.put(3, (7 * number) % 40, &key(number));
        }
        network.finish_requests();
        for number in 0..50 {
            assert_eq!(seen(&mut network, (3 * number) % 40, &key(number)).len(), 1, "covered by the later write");
        }
        check(&network);
        println!("seed {seed}: after a cut in halves everything is in place {took} ms after it ended");
    });
}

#[test]
fn a_minority_of_one_says_how_few_it_reached_and_changes_nothing_that_the_others_acknowledged() {
    let name = "keys_cut::a_minority_of_one_says_how_few_it_reached_and_changes_nothing_that_the_others_acknowledged";
    with_seeds(name, &[1, 2], |seed| {
        let mut network = stored(seed, 20);
        fill(&mut network, 60, 20);
        cut(&mut network, &[9]);
        let mut wanted = Vec::new();
        for (round, wait) in [0, 40_000].into_iter().enumerate() {
            network.run_for(wait);
            for number in 0..20 {
                let number = 20 * round + number;
                match network.ask_and_wait(9, &key(number), Kind::Put(format!("alone {number}"))) {
                    Answer::TooFew { reached, wanted } => assert!(reached < 2 && wanted == 2, "{reached} of {wanted}"),
                    other => panic!("alone, and yet: {other:?}"),
                }
                let value = format!("together {number}");
                let answer = network.ask_and_wait(number % 9, &key(number), Kind::Put(value.clone()));
                assert!(matches!(answer, Answer::Stored { acks } if acks >= 2), "{answer:?}");
                wanted.push((number, value));
            }
        }
        let alone = network.ask_and_wait(9, &key(50), Kind::Get);
        assert!(matches!(alone, Answer::TooFew { reached: 0..=1, wanted: 2 }), "{alone:?}");
        heal(&mut network);
        for (number, value) in wanted {
            let shown = seen(&mut network, 9, &key(number));
            assert!(shown.contains(&value), "{value} was acknowledged; shown {shown:?}");
        }
        check(&network);
    });
}

#[test]
fn what_was_deleted_on_one_side_of_a_cut_does_not_come_back_from_the_other() {
    let name = "keys_cut::what_was_deleted_on_one_side_of_a_cut_does_not_come_back_from_the_other";
    with_seeds(name, &[1, 2], |seed| {
        let mut network = stored(seed, 30);
        fill(&mut network, 400, 20);
        network.until_in_place("the puts", 10_000);
        cut(&mut network, &(0..15).collect::<Vec<_>>());
        network.run_for(30_000);
        let mut deleted = BTreeSet::new();
        for number in 0..400 {
            network.ask(1, number % 15, &key(number), Kind::Delete);
            if number % 10 == 0 {
                network.run_for(1);
            }
        }
        network.finish_requests();
        for (op, answer) in network.users.history.ops.iter().zip(&network.users.answers) {
            if matches!(answer, Some(Answer::Deleted { .. })) {
                deleted.insert(op.key.clone());
            }
        }
        assert!(deleted.len() > 100, "{} were deleted", deleted.len());
        heal(&mut network);
        for key in &deleted {
            assert_eq!(seen(&mut network, 29, key), Vec::<String>::new(), "`{key}` came back");
        }
        check(&network);
        println!("seed {seed}: {} of 400 keys deleted on one side of a cut", deleted.len());
    });
}
