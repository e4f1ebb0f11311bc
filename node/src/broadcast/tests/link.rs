//! One state and its peers: every effect is read.

use std::net::SocketAddr;

use p2pnet_shared::{
    Epoch, MessageId, NodeName,
    wire::broadcast::{Broadcast, Frame, Life, Mark, MarksPurpose, Via},
};

use super::{
    super::{Config, Dropped, Effect, Input, Message, PublishError, Push, State, Timer},
    network::name,
};
use crate::time::Millis;

/// A node1 with nothing but what a test tells it.
struct Story {
    state: State,
    now: u64,
}

impl Story {
    fn new() -> Self {
        Self::pushing(Push::Flood)
    }

    fn pushing(push: Push) -> Self {
        Self { state: State::new(name(1), Epoch(1), Config { push, ..Config::default() }, 1), now: 0 }
    }

    /// node1 with neighbours that dialled it.
    fn with_neighbours(numbers: impl IntoIterator<Item = u32>) -> Self {
        let mut story = Self::new();
        for number in numbers {
            story.input(Input::LinkUp { peer: name(number) });
            story.hears(number, Frame::Neighbor { urgent: false });
        }
        story
    }

    fn input(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.state.handle(Millis(self.now), input, &mut effects);
        effects
    }

    fn member_up(&mut self, number: u32) -> Vec<Effect> {
        let addr = SocketAddr::from(([127, 0, 0, 1], 5_000));
        self.input(Input::MemberUp { peer: name(number), addr, epoch: Epoch(1) })
    }

    fn hears(&mut self, from: u32, frame: Frame) -> Vec<Effect> {
        self.input(Input::Received { from: name(from), frame })
    }

    fn neighbours(&self) -> Vec<&str> {
        self.state.neighbours().map(NodeName::as_str).collect()
    }

    /// The half-open timer among `effects` goes off.
    fn timeout(&mut self, effects: &[Effect]) -> Vec<Effect> {
        let timer = effects.iter().find_map(|effect| match effect {
            Effect::SetTimer { after, timer: timer @ Timer::HalfOpen { .. } } => Some((*after, timer.clone())),
            _ => None,
        });
        let (after, timer) = timer.expect("a timer was set");
        self.now += after.0;
        self.input(Input::TimerFired(timer))
    }
}

/// What was sent, words about the tree left out: these are in tree.rs.
fn sent(effects: &[Effect]) -> Vec<(&str, &Frame)> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Send { frame: Frame::Tree { .. }, .. } => None,
            Effect::Send { to, frame } => Some((to.as_str(), frame)),
            _ => None,
        })
        .collect()
}

fn delivered(effects: &[Effect]) -> Vec<&Message> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Deliver(message) => Some(message),
            _ => None,
        })
        .collect()
}

fn dials(effects: &[Effect]) -> usize {
    effects.iter().filter(|effect| matches!(effect, Effect::Connect { .. })).count()
}

fn closes(effects: &[Effect], number: u32) -> bool {
    effects.contains(&Effect::Disconnect { peer: name(number) })
}

fn id(origin: u32, seq: u64) -> MessageId {
    MessageId { origin: name(origin), epoch: Epoch(1), seq }
}

fn broadcast(origin: u32, seq: u64, ttl: u8, path: &[u32]) -> Broadcast {
    Broadcast {
        id: id(origin, seq),
        ttl,
        path: path.iter().map(|n| name(*n)).collect(),
        text: "apple".to_owned(),
        via: Via::Push,
    }
}

fn frame(origin: u32, seq: u64, ttl: u8, path: &[u32]) -> Frame {
    Frame::Broadcast(broadcast(origin, seq, ttl, path))
}

fn repaired(origin: u32, seq: u64, path: &[u32]) -> Frame {
    Frame::Broadcast(Broadcast { via: Via::Repair, ..broadcast(origin, seq, 0, path) })
}

#[test]
fn a_node_alone_dials_the_first_member_and_asks_urgently() {
    let mut node = Story::new();
    assert_eq!(dials(&node.member_up(2)), 1);
    let up = node.input(Input::LinkUp { peer: name(2) });
    assert_eq!(sent(&up), [("node2", &Frame::Neighbor { urgent: true })]);
    assert_eq!(node.neighbours(), [""; 0], "not before the other agrees");
    let accepted = node.hears(2, Frame::Accept);
    assert_eq!(node.neighbours(), ["node2"]);
    assert!(matches!(sent(&accepted)[..], [("node2", Frame::Marks { purpose: MarksPurpose::Compare, .. })]));
}

#[test]
fn it_looks_for_five_and_no_more() {
    let mut node = Story::new();
    let dialled: usize = (2..30).map(|number| dials(&node.member_up(number))).sum();
    assert_eq!(dialled, 5);
}

#[test]
fn both_dial_and_the_others_request_is_the_answer() {
    let mut node = Story::new();
    node.member_up(2);
    node.input(Input::LinkUp { peer: name(2) });
    let effects = node.hears(2, Frame::Neighbor { urgent: true });
    assert_eq!(node.neighbours(), ["node2"]);
    assert!(!sent(&effects).iter().any(|(_, frame)| **frame == Frame::Accept), "ours was the same word");
}

#[test]
fn a_full_view_refuses_and_closes_but_not_somebody_who_is_alone() {
    let mut node = Story::with_neighbours(2..=9);
    node.input(Input::LinkUp { peer: name(10) });
    let refused = node.hears(10, Frame::Neighbor { urgent: false });
    assert_eq!(sent(&refused), [("node10", &Frame::Refuse)]);
    assert!(closes(&refused, 10), "whoever says it closes");

    node.input(Input::LinkUp { peer: name(11) });
    let accepted = node.hears(11, Frame::Neighbor { urgent: true });
    let words: Vec<&Frame> = sent(&accepted).into_iter().map(|(_, frame)| frame).collect();
    assert_eq!(words, [&Frame::Disconnect, &Frame::Accept], "somebody else had to go");
    assert_eq!(node.neighbours().len(), 8);
    assert!(node.neighbours().contains(&"node11"));
}

#[test]
fn refused_it_asks_another_at_once_and_lets_the_refuser_close() {
    let mut node = Story::new();
    node.member_up(2);
    node.input(Input::LinkUp { peer: name(2) });
    let refused = node.hears(2, Frame::Refuse);
    assert!(!closes(&refused, 2));
    assert_eq!(dials(&node.member_up(3)), 1);
    node.input(Input::LinkUp { peer: name(3) });
    assert!(node.state.is_parting(&name(2)) && !node.state.is_parting(&name(3)), "one end is expected");
    let gone = node.input(Input::LinkDown { peer: name(2) });
    assert_eq!(dials(&gone), 0, "node2 has just refused");
    let wait = gone.iter().find_map(|effect| match effect {
        Effect::SetTimer { after, timer: Timer::Refill } => Some(*after),
        _ => None,
    });
    node.now += wait.expect("it will be asked again").0;
    assert_eq!(dials(&node.input(Input::TimerFired(Timer::Refill))), 1);
}

#[test]
fn a_failing_peer_is_tried_less_and_less_often() {
    let mut node = Story::new();
    let mut effects = node.member_up(2);
    let mut waits = Vec::new();
    for _ in 0..8 {
        assert_eq!(dials(&effects), 1);
        let failed = node.input(Input::LinkDown { peer: name(2) });
        let after = failed.iter().find_map(|effect| match effect {
            Effect::SetTimer { after, timer: Timer::Refill } => Some(*after),
            _ => None,
        });
        waits.push(after.expect("a timer is set").0);
        node.now += waits[waits.len() - 1];
        effects = node.input(Input::TimerFired(Timer::Refill));
    }
    assert!((500..=750).contains(&waits[0]), "{waits:?}");
    assert!((15_000..=22_500).contains(&waits[7]), "{waits:?}");
}

#[test]
fn a_peer_that_never_answers_is_left() {
    let mut node = Story::new();
    node.member_up(2);
    let asked = node.input(Input::LinkUp { peer: name(2) });
    let late = node.timeout(&asked);
    assert_eq!(sent(&late), [("node2", &Frame::Disconnect)]);
    assert!(closes(&late, 2));
    node.timeout(&late);
    assert_eq!(dials(&node.member_up(2)), 0, "not at once");
    let stale = node.timeout(&asked);
    assert_eq!(sent(&stale), [], "a timer that has been overtaken does nothing");
}

#[test]
fn somebody_who_dials_and_says_nothing_is_left_too() {
    let mut node = Story::new();
    let up = node.input(Input::LinkUp { peer: name(2) });
    assert!(closes(&node.timeout(&up), 2));
}

#[test]
fn a_lost_neighbour_is_replaced_at_once() {
    let mut node = Story::with_neighbours(2..=6);
    assert_eq!(dials(&node.member_up(7)), 0);
    assert_eq!(dials(&node.input(Input::LinkDown { peer: name(3) })), 1);
    assert_eq!(node.neighbours(), ["node2", "node4", "node5", "node6"]);
}

#[test]
fn a_neighbour_that_the_membership_gives_up_is_parted_from() {
    let mut node = Story::with_neighbours([2]);
    let effects = node.input(Input::MemberDown { peer: name(2) });
    assert_eq!(sent(&effects), [("node2", &Frame::Disconnect)]);
    assert!(closes(&effects, 2) && node.neighbours().is_empty());
}

#[test]
fn a_link_that_both_can_spare_goes() {
    let mut poor = Story::with_neighbours(2..=6);
    assert_eq!(sent(&poor.hears(2, Frame::Spare)), []);
    assert_eq!(poor.neighbours().len(), 5);
    let mut rich = Story::with_neighbours(2..=7);
    assert_eq!(sent(&rich.hears(2, Frame::Spare)), [("node2", &Frame::Disconnect)]);
    assert_eq!(rich.neighbours().len(), 5);
}

#[test]
fn a_message_is_delivered_once_and_pushed_to_those_not_on_its_path() {
    let mut node = Story::with_neighbours(2..=5);
    let first = node.hears(3, frame(9, 1, 7, &[9, 4, 3]));
    assert_eq!(delivered(&first)[0].path, [name(9), name(4), name(3), name(1)]);
    let onward = frame(9, 1, 6, &[9, 4, 3, 1]);
    assert_eq!(sent(&first), [("node2", &onward), ("node5", &onward)]);

    let again = node.hears(4, frame(9, 1, 7, &[9, 4]));
    assert_eq!(again, []);
    assert_eq!(node.state.redundant_frames(), 1);
}

#[test]
fn a_published_message_is_delivered_here_with_its_origin_alone_as_its_path() {
    let mut node = Story::with_neighbours([2]);
    let mut effects = Vec::new();
    let id = node.state.publish(Millis(0), "apple".to_owned(), Some(1), &mut effects).unwrap();
    assert_eq!(id.to_string(), "node1-1-1");
    assert_eq!(delivered(&effects)[0].path, [name(1)]);
    assert_eq!(sent(&effects), [("node2", &frame(1, 1, 0, &[1]))], "one hop: node2 does not push it on");
    assert_eq!(node.state.messages().count(), 1);
}

#[test]
fn what_cannot_be_published_changes_nothing() {
    let mut node = Story::with_neighbours([2]);
    let mut effects = Vec::new();
    let long = node.state.publish(Millis(0), "x".repeat(8_193), None, &mut effects);
    assert_eq!(long, Err(PublishError::TooLong { bytes: 8_193, limit: 8_192 }));
    for ttl in [0, 33, 255] {
        let refused = node.state.publish(Millis(0), String::new(), Some(ttl), &mut effects);
        assert_eq!(refused, Err(PublishError::Ttl { given: ttl }));
    }
    assert_eq!((effects, node.state.messages().count()), (vec![], 0));
}

#[test]
fn impossible_broadcasts_are_dropped_and_counted() {
    let mut node = Story::with_neighbours([2, 3]);
    let too_long: Vec<u32> = (10..=40).chain([2]).collect();
    let mut wrong = vec![
        ("does not start at the origin", broadcast(9, 1, 1, &[4, 2])),
        ("does not end with its sender", broadcast(9, 1, 1, &[9, 3])),
        ("has no path", broadcast(9, 1, 1, &[])),
        ("went in circles", broadcast(9, 1, 1, &[9, 4, 9, 2])),
        ("has a ttl over the limit", broadcast(9, 1, 33, &[9, 2])),
        ("claims to be ours", broadcast(1, 5, 1, &[1, 2])),
        ("came too far", broadcast(10, 1, 1, &too_long)),
    ];
    wrong.push(("is too long", Broadcast { text: "x".repeat(8_193), ..broadcast(9, 1, 1, &[9, 2]) }));
    let count = wrong.len() as u64;
    for (why, broadcast) in wrong {
        assert_eq!(node.hears(2, Frame::Broadcast(broadcast)), [], "{why}");
    }
    node.hears(2, frame(9, 0, 1, &[9, 2]));
    node.hears(77, frame(9, 1, 1, &[9, 77]));
    assert_eq!(node.state.dropped(), Dropped { malformed: count, refused: 1, strangers: 1 });
    assert_eq!(delivered(&node.hears(2, frame(9, 1, 1, &[9, 2]))).len(), 1, "none of them left a mark");
}

#[test]
fn marks_are_answered_with_what_they_lack_and_a_question() {
    let mut node = Story::with_neighbours([2, 3]);
    for seq in [1, 2, 4] {
        node.hears(3, frame(9, seq, 1, &[9, 3]));
    }
    let life = |origin: u32| Life { origin: name(origin), epoch: Epoch(1) };
    let marks = vec![
        Mark { life: life(8), through: 1, beyond: vec![] },
        Mark { life: life(9), through: 1, beyond: vec![(3, 3)] },
    ];
    let shown = Frame::Marks { purpose: MarksPurpose::Compare, after: None, until: None, marks };
    let answer = node.hears(2, shown);
    let frames = sent(&answer);
    assert_eq!(frames[0], ("node2", &repaired(9, 2, &[9, 3, 1])), "the gap first");
    assert_eq!(frames[1], ("node2", &repaired(9, 4, &[9, 3, 1])));
    let Frame::Marks { purpose: MarksPurpose::Ask, marks, .. } = frames[2].1 else { panic!("{frames:?}") };
    assert_eq!(marks[..], [Mark { life: life(9), through: 2, beyond: vec![(4, 4)] }]);
    assert_eq!(frames.len(), 3);
}

#[test]
fn what_is_forgotten_is_given_up_and_the_rest_is_delivered() {
    let mut node = Story::with_neighbours([2]);
    node.hears(2, frame(9, 8, 0, &[9, 2]));
    let life = |origin: u32| Life { origin: name(origin), epoch: Epoch(1) };
    node.hears(2, Frame::Forgotten(vec![(life(9), 5), (life(1), 100)]));
    assert_eq!(delivered(&node.hears(2, frame(9, 5, 0, &[9, 2]))).len(), 0);
    assert_eq!(delivered(&node.hears(2, frame(9, 6, 0, &[9, 2]))).len(), 1);
    let mut effects = Vec::new();
    node.state.publish(Millis(0), "mine".to_owned(), None, &mut effects).unwrap();
    assert_eq!(delivered(&effects).len(), 1, "nobody else says how far we are ourselves");
}

#[test]
fn marks_with_more_gaps_than_a_window_has_are_not_looked_at() {
    let mut node = Story::with_neighbours([2]);
    node.hears(2, frame(9, 1, 0, &[9, 2]));
    let beyond = (1..100).map(|run| (2 * run, 2 * run)).collect();
    let marks = vec![Mark { life: Life { origin: name(9), epoch: Epoch(1) }, through: 0, beyond }];
    let effects = node.hears(2, Frame::Marks { purpose: MarksPurpose::Compare, after: None, until: None, marks });
    assert_eq!((effects, node.state.dropped().malformed), (vec![], 1));
}

#[test]
fn timers_that_fire_early_do_not_stop_anything() {
    let mut node = Story::with_neighbours([2]);
    for seq in [2, 4, 6] {
        let effects = node.hears(2, frame(9, seq, 1, &[9, 2]));
        let soon = Effect::SetTimer { after: Millis(300), timer: Timer::RepairSoon };
        assert!(effects.contains(&soon), "set again for {seq}");
        node.now += 299;
        assert_eq!(sent(&node.input(Input::TimerFired(Timer::RepairSoon))).len(), 1);
    }
    node.member_up(3);
    let failed = node.input(Input::LinkDown { peer: name(3) });
    let wait = failed.iter().find_map(|effect| match effect {
        Effect::SetTimer { after, timer: Timer::Refill } => Some(*after),
        _ => None,
    });
    node.now += wait.expect("it will be asked again").0 - 1;
    let early = node.input(Input::TimerFired(Timer::Refill));
    assert_eq!(early, [Effect::SetTimer { after: Millis(1), timer: Timer::Refill }]);
}

#[test]
fn a_gap_that_stays_is_asked_for_and_one_that_closes_is_not() {
    for closes in [true, false] {
        let mut node = Story::with_neighbours([2]);
        let effects = node.hears(2, frame(9, 2, 1, &[9, 2]));
        let soon = Effect::SetTimer { after: Millis(300), timer: Timer::RepairSoon };
        assert!(effects.contains(&soon));
        if closes {
            node.hears(2, frame(9, 1, 1, &[9, 2]));
        }
        node.now += 300;
        let due = node.input(Input::TimerFired(Timer::RepairSoon));
        assert_eq!(sent(&due).len(), usize::from(!closes));
        assert_eq!(sent(&node.input(Input::TimerFired(Timer::RepairSoon))), [], "fired twice, does nothing");
    }
}
