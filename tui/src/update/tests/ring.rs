//! The store on screen: what nodes report becomes numbers, what keys ask for becomes a view of them.

use p2pnet_shared::{
    NodeName,
    ring::{Place, Ring},
    telemetry::{DiskState, FeedLine, HeldKey, KeyCounts, Moving, Report},
};
use ratatui::crossterm::event::KeyCode;

use super::*;
use crate::{
    model::{
        pane::{Beside, Pane},
        ring::{KeyFocus, OwnersBy, RingFace},
    },
    update::is_animated,
};

const KEYS: [&str; 4] = ["apple", "pear", "user:42", "ключ"];

impl Story {
    /// The bootstrap and `peers` peers hold four keys, each on its first three.
    fn with_store(peers: u32) -> Self {
        let mut story = Self::with_peers(peers);
        let names: Vec<NodeName> = (0..=peers).map(|number| unit(number, UnitState::Up).name).collect();
        let ring = Ring::of(64, names.clone());
        for name in &names {
            story.report(name, Report::Ring { digest: ring.digest(), at: story.now });
            let held: Vec<Place> =
                KEYS.map(Place::of).into_iter().filter(|place| ring.preference(*place, 3).contains(name)).collect();
            story.holds(name, &held, KeyCounts::default());
        }
        // What was written just now is not short of copies yet.
        story.after(5_000).frame()
    }

    fn holds(&mut self, name: &NodeName, places: &[Place], counts: KeyCounts) {
        let keys = places.iter().map(|place| HeldKey { place: *place, versions: Some(7) }).collect();
        self.report(name, Report::Held { anew: true, sampled: 0, keys });
        self.report(name, Report::Keys(KeyCounts { keys: places.len() as u64, bytes: 100, ..counts }));
    }

    fn report(&mut self, node: &NodeName, report: Report) {
        self.observe(Observation::Feed(FeedLine::Report { node: node.clone(), report }));
    }

    fn replicas(&self, key: &str) -> Vec<NodeName> {
        self.model.network.ring().preference(Place::of(key), 3)
    }
}

#[test]
fn what_nodes_hold_is_counted_by_copies_and_by_owner() {
    let story = Story::with_store(5);
    let ring = &story.model.picture.ring;
    assert_eq!((ring.keys, ring.copies, ring.short_of_copies()), (4, [0, 0, 0, 4], 0));
    assert_eq!((ring.agree, ring.others.len(), ring.owners.len()), (6, 0, 6));
    assert_eq!(ring.owners.iter().map(|owner| owner.keys).sum::<u64>(), 12);
    assert!((ring.owners.iter().map(|owner| owner.share).sum::<f64>() - 1.0).abs() < 1e-9);
    assert_eq!(ring.ring.as_ref().map(|ring| ring.len()), Some(6 * 64));
}

#[test]
fn a_dead_holder_leaves_its_keys_short_and_the_circle_marks_them() {
    let mut story = Story::with_store(5);
    let dead = story.replicas("apple")[0].clone();
    let number = dead.number().unwrap_or(0);
    story.observe(Observation::Truth(Truth::Changed(unit(number, UnitState::Dead))));
    let story = story.after(100).frame();
    let ring = &story.model.picture.ring;
    assert!(ring.short_of_copies() > 0 && ring.endangered() == 0, "{ring:?}");
    assert!(ring.short.iter().any(|short| *short == (Place::of("apple"), 2)));
    assert!(ring.repair.running_ms.is_some());
    let owner = ring.owner(&dead).unwrap();
    assert_eq!((owner.live, owner.share), (false, 0.0));
}

#[test]
fn a_key_that_is_asked_for_is_looked_at() {
    let story = Story::with_store(5).types(":owner apple").press(KeyCode::Enter);
    let key = story.model.picture.ring.key.as_ref().unwrap();
    assert_eq!(key.focus, KeyFocus::of("apple"));
    let holders: Vec<_> = key.replicas.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(holders, story.replicas("apple"));
}

#[test]
fn the_key_looked_at_follows_its_holders() {
    let mut story = Story::with_store(5);
    story.model.ring.key = Some(KeyFocus::of("apple"));
    let story = story.frame();
    let key = story.model.picture.ring.key.clone().unwrap();
    let expected: Vec<_> = story.replicas("apple").into_iter().map(|name| (name, true)).collect();
    assert_eq!((key.replicas, key.others), (expected.clone(), Vec::new()));
    assert_eq!(story.model.picture.ring.holds_focus(&expected[1].0), Some(2));

    let mut story = story;
    let number = expected[0].0.number().unwrap_or(0);
    story.observe(Observation::Truth(Truth::Changed(unit(number, UnitState::Dead))));
    let story = story.frame();
    let key = story.model.picture.ring.key.as_ref().unwrap();
    let held: Vec<bool> = key.replicas.iter().map(|(_, holds)| *holds).collect();
    assert_eq!(held, [true, true, false], "the third has yet to get its copy");
    let story = story.press(KeyCode::Esc);
    assert!(story.model.picture.ring.key.is_none(), "Esc lets go of it");
}

#[test]
fn a_verb_about_a_key_lights_it_and_owner_brings_up_the_ring() {
    let story = Story::with_store(5).enters(":put apple 5");
    assert_eq!(story.model.ring.key, Some(KeyFocus::of("apple")));
    assert_eq!(
        (story.model.picture.ring.key.as_ref().map(|key| key.known), story.model.beside),
        (Some(true), Beside::Peers)
    );
    let story = Story::with_store(5).press(KeyCode::Char('2')).enters(":owner nowhere/yet");
    assert_eq!((story.model.focus, story.model.beside), (Pane::Ring, Beside::Ring));
    let key = story.model.picture.ring.key.as_ref().unwrap();
    assert_eq!((key.focus.key.as_str(), key.known, key.replicas.len()), ("nowhere/yet", false, 3));
    assert_eq!(Story::with_store(5).enters(":owner apple").model.focus, Pane::Nodes, "the keys stay where they were");
    let text = Story::with_store(5).enters(":put").model.ring.key;
    assert_eq!(text, None, "what is refused lights nothing");
}

#[test]
fn the_ring_stays_beside_the_nodes_until_the_peers_are_asked_for() {
    let story = Story::with_store(5).press(KeyCode::Char('7'));
    assert_eq!((story.model.focus, story.model.beside), (Pane::Ring, Beside::Ring));
    let story = story.press(KeyCode::Char('1')).press(KeyCode::Char('j'));
    let before = story.model.ring.arcs.worked_out();
    assert_eq!((story.model.focus, story.model.beside), (Pane::Nodes, Beside::Ring));
    let story = story.press(KeyCode::Char('j'));
    assert_eq!(story.model.ring.arcs.worked_out(), before + 1, "another node, other arcs");
    let story = story.frame().frame();
    assert_eq!(story.model.ring.arcs.worked_out(), before + 1, "a frame is no reason");
    assert_eq!(story.press(KeyCode::Enter).model.beside, Beside::Peers);
}

#[test]
fn the_table_of_owners_has_its_own_order_and_shares_the_selection() {
    let story = Story::with_store(5).press(KeyCode::Char('7')).press(KeyCode::Char('s'));
    assert_eq!(story.model.ring.sort, OwnersBy::Name, "no table in sight: the nodes are sorted");
    let story = story.press(KeyCode::Char('o')).press(KeyCode::Char('s'));
    assert_eq!((story.model.ring.face, story.model.ring.sort), (RingFace::Owners, OwnersBy::Keys));
    let owners = &story.model.picture.ring.owners;
    let keys: Vec<u64> = story.model.ring.order.iter().map(|at| owners[*at].keys).collect();
    assert!(keys.is_sorted_by(|a, b| a >= b), "{keys:?}");
    let story = story.press(KeyCode::Char('G'));
    let last = story.model.picture.ring.owners[*story.model.ring.order.last().unwrap()].name.clone();
    assert_eq!(story.model.nodes.selected, Some(last));
    assert_eq!(story.press(KeyCode::Char('o')).model.ring.face, RingFace::Circle);
}

#[test]
fn the_screen_moves_only_while_copies_do_and_somebody_sees_it() {
    let mut story = Story::with_store(5);
    assert!(!is_animated(&story.model));
    let giver = NodeName::numbered(1);
    let moving = |keys| KeyCounts {
        moving: vec![Moving { to: NodeName::numbered(2), keys, bytes: keys * 100 }],
        ..KeyCounts::default()
    };
    story.report(&giver, Report::Keys(moving(40)));
    let mut story = story.frame();
    assert!(!is_animated(&story.model), "nobody sees it");
    story = story.press(KeyCode::Char('7'));
    assert!(is_animated(&story.model));
    story.report(&giver, Report::Keys(moving(10)));
    let mut story = story.after(200).frame();
    let way = &story.model.picture.ring.moves[0];
    assert_eq!((way.keys, way.of_keys), (10, 40), "a quarter is left");

    assert!(!is_animated(&story.press(KeyCode::Char('f')).model), "held still");
    story = Story::with_store(5).press(KeyCode::Char('7'));
    story.report(&giver, Report::Keys(moving(40)));
    let story = story.frame().after(2_500).frame();
    assert!(!story.model.picture.ring.moves.is_empty() && !is_animated(&story.model), "what waits does not move");
    let mut story = Story::with_store(5).press(KeyCode::Char('7'));
    story.report(&giver, Report::Keys(KeyCounts::default()));
    assert!(!is_animated(&story.frame().model));
}

#[test]
fn a_bad_disk_comes_before_what_is_out_of_step() {
    let mut story = Story::with_store(5);
    let full = KeyCounts { disk: DiskState::Full, ..KeyCounts::default() };
    story.report(&NodeName::numbered(4), Report::Keys(full));
    let story = story.frame();
    let first = &story.model.picture.nodes[story.model.nodes.order[0]];
    assert_eq!(first.name, NodeName::numbered(4));
}
