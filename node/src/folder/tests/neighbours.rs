//! Who is whose neighbour.

use std::collections::{BTreeMap, BTreeSet};

use p2pnet_shared::{Epoch, NodeName};

use super::node;
use crate::folder::neighbours::{Moved, Neighbours};

const COUNT: usize = 8;

/// Everybody's neighbours in a network of so many.
fn graph(nodes: u32) -> BTreeMap<NodeName, BTreeSet<NodeName>> {
    let of = |number: u32| {
        let mut all = Neighbours::new(node(number), COUNT);
        (1..=nodes).for_each(|other| drop(all.up(node(other), Epoch(1))));
        (node(number), all.all().iter().cloned().collect())
    };
    (1..=nodes).map(of).collect()
}

#[test]
fn the_graph_is_symmetric_connected_and_thin() {
    for nodes in [2, 3, 4, 9, 100, 300] {
        let graph = graph(nodes);
        for (name, neighbours) in &graph {
            assert!(!neighbours.is_empty() && neighbours.len() <= COUNT && !neighbours.contains(name));
            assert!(neighbours.iter().all(|other| graph[other].contains(name)), "{name} of {nodes}");
        }
        let (mut reached, mut rounds) = (BTreeSet::from([node(1)]), 0);
        while reached.len() < graph.len() {
            let next: BTreeSet<NodeName> = reached.iter().flat_map(|name| graph[name].clone()).collect();
            let before = reached.len();
            reached.extend(next);
            assert!(reached.len() > before, "{nodes} nodes fall apart");
            rounds += 1;
        }
        assert!(rounds <= 5, "{rounds} hops in a network of {nodes}");
    }
}

#[test]
fn one_more_member_changes_few_edges() {
    let (before, after) = (graph(100), graph(101));
    let changed = before.iter().filter(|(name, neighbours)| after[*name] != **neighbours).count();
    assert!(changed <= COUNT, "{changed} nodes have other neighbours");
}

#[test]
fn who_comes_goes_or_lives_again_is_told_once() {
    let mut neighbours = Neighbours::new(node(1), COUNT);
    let came = |names: &[u32]| Moved { came: names.iter().map(|name| node(*name)).collect(), went: Vec::new() };
    assert_eq!(neighbours.up(node(1), Epoch(5)), Moved::default(), "oneself");
    assert_eq!(neighbours.up(node(2), Epoch(5)), came(&[2]));
    assert_eq!(neighbours.up(node(2), Epoch(5)), Moved::default());
    assert_eq!(neighbours.up(node(2), Epoch(4)), Moved::default(), "a life that is over");
    assert_eq!(neighbours.up(node(2), Epoch(6)), came(&[2]), "a new life");
    assert_eq!(neighbours.down(&node(3)), Moved::default());
    assert_eq!(neighbours.down(&node(2)), Moved { came: Vec::new(), went: vec![node(2)] });
    assert!(!neighbours.is_one(&node(2)) && !neighbours.is_member(&node(2)) && neighbours.members().len() == 0);
}
