//! Arcs against the ring they are drawn from; order and progress of what is shown.

use super::*;

fn nodes(count: u32) -> Vec<NodeName> {
    (1..=count).map(NodeName::numbered).collect()
}

fn owner(number: u32, keys: u64, share: f64) -> Owner {
    let (name, disk) = (NodeName::numbered(number), DiskState::Fine);
    Owner { name, live: true, share, keys, owned: keys / 3, misplaced: 0, bytes: keys * 100, disk }
}

fn middle(piece: usize) -> Place {
    Place((piece as u64) << 54 | 1 << 53)
}

#[test]
fn a_piece_is_its_owners() {
    let ring = Arc::new(Ring::of(64, nodes(101)));
    let mut arcs = Arcs::default();
    arcs.follow(Some(&ring), None);
    for piece in (0..PIECES).step_by(7) {
        let owner = arcs.owner(piece).map(|at| &ring.members()[at]);
        assert_eq!(owner, ring.owner(middle(piece)), "{piece}");
    }
}

#[test]
fn every_arc_of_the_selected_node_is_lit_and_nothing_that_it_owns_no_part_of() {
    for members in [2, 5, 101] {
        let ring = Arc::new(Ring::of(64, nodes(members)));
        let selected = NodeName::numbered(2);
        let mut arcs = Arcs::default();
        arcs.follow(Some(&ring), Some(&selected));
        let mut owned = [false; PIECES];
        // Finer than any arc is wide: 2^16 places round the ring, and each token itself.
        let places = (0..1u64 << 16).map(|i| Place(i << 48)).chain(ring.tokens().map(|(place, _)| place));
        for place in places.filter(|place| ring.owner(*place) == Some(&selected)) {
            owned[piece(place)] = true;
        }
        for (at, owned) in owned.into_iter().enumerate() {
            assert!(!owned || arcs.is_lit(at), "{members} members: piece {at} is the selected node's");
        }
        let lit = (0..PIECES).filter(|at| arcs.is_lit(*at)).count();
        assert!(lit <= 64 * 2 + PIECES / members as usize * 2, "{members} members: {lit} pieces are lit");
    }
}

#[test]
fn a_lone_node_owns_the_circle_and_nobody_owns_an_empty_one() {
    let one = NodeName::numbered(1);
    let mut arcs = Arcs::default();
    arcs.follow(Some(&Arc::new(Ring::of(64, [one.clone()]))), Some(&one));
    assert!((0..PIECES).all(|piece| arcs.is_lit(piece) && arcs.owner(piece) == Some(0)));
    arcs.follow(Some(&Arc::new(Ring::new(64))), Some(&one));
    assert!((0..PIECES).all(|piece| !arcs.is_lit(piece) && arcs.owner(piece).is_none()));
    arcs.follow(None, None);
    assert_eq!(arcs.owner(0), None);
}

#[test]
fn arcs_are_worked_out_once_for_each_ring_and_selection() {
    let (ring, other) = (Arc::new(Ring::of(8, nodes(5))), Arc::new(Ring::of(8, nodes(6))));
    let (first, second) = (NodeName::numbered(1), NodeName::numbered(2));
    let mut arcs = Arcs::default();
    for _ in 0..30 {
        arcs.follow(Some(&ring), Some(&first));
        arcs.follow(Some(&Arc::new(Ring::of(8, nodes(5)))), Some(&first));
    }
    assert_eq!(arcs.worked_out(), 1, "an equal ring is the same ring");
    arcs.follow(Some(&ring), Some(&second));
    arcs.follow(Some(&other), Some(&second));
    assert_eq!(arcs.worked_out(), 3);
}

#[test]
fn owners_are_sorted_by_name_keys_or_share_and_the_other_way_round() {
    let owners = [owner(10, 50, 0.2), owner(2, 70, 0.1), owner(3, 70, 0.5)];
    let mut view = RingView::default();
    let shown = |view: &RingView| -> Vec<String> { view.order.iter().map(|at| owners[*at].name.to_string()).collect() };
    view.arrange(&owners);
    assert_eq!(shown(&view), ["node2", "node3", "node10"], "as people count");
    view.sort_next();
    view.arrange(&owners);
    assert_eq!((view.sort, shown(&view)), (OwnersBy::Keys, ["node2", "node3", "node10"].map(String::from).to_vec()));
    view.reversed = true;
    view.arrange(&owners);
    assert_eq!(shown(&view), ["node10", "node2", "node3"], "equals stay as people count");
    view.sort_next();
    view.arrange(&owners);
    assert_eq!(shown(&view), ["node3", "node10", "node2"]);
    assert_eq!(view.step(&owners, Some(&NodeName::numbered(3)), 1), Some(NodeName::numbered(10)));
    assert_eq!(view.step(&owners, Some(&NodeName::numbered(3)), 99), Some(NodeName::numbered(2)));
    view.scroll(&owners, Some(&NodeName::numbered(2)), 1);
    assert_eq!(view.offset, 2);
}

#[test]
fn progress_is_measured_by_the_most_that_was_left_and_a_hand_over_may_wait() {
    let one = |keys| {
        let (from, to) = (NodeName::numbered(3), NodeName::numbered(9));
        Move { from, to, keys, bytes: keys, of_keys: 0, flows: false }
    };
    let mut view = RingView::default();
    for (at, left, most, flows) in [
        (0, 40, 40, true),
        (500, 100, 100, true),
        (1_000, 41, 100, true),
        (2_900, 41, 100, true),
        (3_000, 41, 100, false),
        (3_500, 40, 100, true),
    ] {
        let mut moves = [one(left)];
        view.follow_moves(UnixMillis(at), &mut moves);
        assert_eq!((moves[0].of_keys, moves[0].flows), (most, flows), "after {at} ms");
    }
    view.follow_moves(UnixMillis(4_000), &mut []);
    let mut moves = [one(7)];
    view.follow_moves(UnixMillis(9_000), &mut moves);
    assert_eq!((moves[0].of_keys, moves[0].flows), (7, true), "a new one begins anew");
}

#[test]
fn one_copy_left_is_danger_unless_one_is_all_there_can_be() {
    let picture = |wanted: u8, copies: [u64; 4]| {
        let under_replicated = copies[..usize::from(wanted)].iter().sum();
        RingPicture { wanted, copies, under_replicated, ..RingPicture::default() }
    };
    assert_eq!(picture(3, [0, 2, 5, 9]).endangered(), 2);
    assert_eq!(picture(3, [1, 2, 5, 9]).endangered(), 3);
    assert_eq!(picture(1, [0, 9, 0, 0]).endangered(), 0, "a node alone has one copy of everything");
    let written = RingPicture { writing: 7, ..picture(3, [0, 2, 5, 9]) };
    assert_eq!((written.endangered(), written.short_of_copies()), (0, 0), "what is being written is in no danger");
}
