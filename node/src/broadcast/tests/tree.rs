//! One node and its neighbours: which links are eager, what is announced, asked for, and held back.

use std::net::SocketAddr;

use p2pnet_shared::{
    Epoch, MessageId, NodeName,
    wire::broadcast::{Broadcast, Contact, Frame, IDS_MAX, Via},
};

use super::{
    super::{Config, Effect, Input, State, Timer},
    network::name,
};
use crate::time::Millis;

/// A node5 with neighbours that dialled it.
struct Story {
    state: State,
    now: u64,
}

impl Story {
    fn with_neighbours(numbers: impl IntoIterator<Item = u32>) -> Self {
        let mut story = Self { state: State::new(name(5), Epoch(1), Config::default(), 1), now: 10_000 };
        for number in numbers {
            story.input(Input::LinkUp { peer: name(number) });
            story.hears(number, Frame::Neighbor { urgent: false });
        }
        story
    }

    /// node5 hangs from node1, the root; node6 hangs from it, and the link to node7 is lazy.
    fn in_the_middle() -> Self {
        let mut story = Self::with_neighbours([1, 6, 7]);
        story.hears(1, word(1, 0, false));
        story.hears(6, word(1, 2, true));
        story.hears(7, word(1, 1, false));
        story.now += 10_000; // and has been for a while
        story
    }

    fn input(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.state.handle(Millis(self.now), input, &mut effects);
        effects
    }

    fn hears(&mut self, from: u32, frame: Frame) -> Vec<Effect> {
        self.input(Input::Received { from: name(from), frame })
    }

    fn fires(&mut self, timer: Timer) -> Vec<Effect> {
        self.input(Input::TimerFired(timer))
    }

    fn publishes(&mut self, text: &str) -> (MessageId, Vec<Effect>) {
        let mut effects = Vec::new();
        let id = self.state.publish(Millis(self.now), text.to_owned(), None, &mut effects).unwrap();
        (id, effects)
    }

    fn eager(&self) -> Vec<u32> {
        self.state.links().filter(|(_, eager)| *eager).filter_map(|(name, _)| name.number()).collect()
    }
}

fn word(root: u32, hops: u8, child: bool) -> Frame {
    Frame::Tree { root: name(root), hops, child }
}

fn sent(effects: &[Effect]) -> Vec<(u32, &Frame)> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Send { to, frame } => Some((to.number()?, frame)),
            _ => None,
        })
        .collect()
}

/// To whom a message was pushed.
fn pushed(effects: &[Effect]) -> Vec<u32> {
    sent(effects).into_iter().filter(|(_, frame)| matches!(frame, Frame::Broadcast(_))).map(|(to, _)| to).collect()
}

fn sets(effects: &[Effect], wanted: &Timer) -> Option<u64> {
    effects.iter().find_map(|effect| match effect {
        Effect::SetTimer { after, timer } if timer == wanted => Some(after.0),
        _ => None,
    })
}

fn id(seq: u64) -> MessageId {
    MessageId { origin: name(9), epoch: Epoch(1), seq }
}

fn message(seq: u64, path: &[u32], via: Via) -> Frame {
    let path = path.iter().map(|n| name(*n)).collect();
    Frame::Broadcast(Broadcast { id: id(seq), ttl: 9, path, text: "apple".to_owned(), via })
}

#[test]
fn it_hangs_from_whoever_is_nearest_to_the_smallest_root() {
    let mut node = Story::with_neighbours([6, 7, 8]);
    assert_eq!(node.eager(), [0; 0]);
    let moved = node.hears(6, word(2, 3, false));
    assert_eq!(sent(&moved), [(6, &word(2, 4, true)), (7, &word(2, 4, false)), (8, &word(2, 4, false))]);
    let nearer = node.hears(7, word(2, 1, false));
    assert_eq!(sent(&nearer), [(6, &word(2, 2, false)), (7, &word(2, 2, true)), (8, &word(2, 2, false))]);
    assert_eq!((node.eager(), node.state.counts().prunes), (vec![7], 1));
    node.hears(8, word(1, 7, false));
    assert_eq!((node.eager(), node.state.tree_hops()), (vec![8], 8), "a smaller root counts more than a shorter way");
    assert_eq!(sent(&node.hears(6, word(1, 7, false))), [], "among equals it stays");
}

#[test]
fn nobody_hangs_from_his_own_child_and_a_dead_root_is_counted_out() {
    let mut node = Story::in_the_middle();
    assert_eq!(node.eager(), [1, 6]);
    let lost = node.input(Input::LinkDown { peer: name(1) });
    assert!(sent(&lost).contains(&(7, &word(1, 2, true))), "the next best is known already: {:?}", sent(&lost));
    assert_eq!(node.eager(), [6, 7]);
    node.input(Input::LinkDown { peer: name(7) });
    assert_eq!((node.eager(), node.state.tree_hops()), (vec![6], 0), "node6 has its way through us");
    let mut hops = 3;
    while node.state.tree_hops() < 11 && hops < 40 {
        node.hears(6, word(1, hops, false)); // somebody who does not know yet
        hops += 1;
    }
    node.hears(6, word(1, hops, false));
    assert_eq!((node.eager(), node.state.tree_hops()), (vec![], 0), "twelve hops are no way any more");
}

#[test]
fn a_message_is_pushed_over_the_tree_and_announced_elsewhere() {
    let mut node = Story::in_the_middle();
    let first = node.hears(1, message(1, &[9, 1], Via::Push));
    assert_eq!(pushed(&first), [6]);
    assert_eq!(sets(&first, &Timer::Announce), Some(8));
    node.hears(1, message(2, &[9, 1], Via::Push));
    let announced = node.fires(Timer::Announce);
    assert_eq!(sent(&announced), [(7, &Frame::IHave(vec![id(1), id(2)]))], "both in one frame");
    assert_eq!(sent(&node.fires(Timer::Announce)), []);
}

#[test]
fn who_has_it_already_is_not_told() {
    let mut node = Story::in_the_middle();
    node.hears(1, message(1, &[9, 1], Via::Push));
    node.hears(7, Frame::IHave(vec![id(1)]));
    assert_eq!(sent(&node.fires(Timer::Announce)), []);
}

#[test]
fn what_was_announced_and_does_not_come_is_asked_for() {
    let mut node = Story::in_the_middle();
    let heard = node.hears(7, Frame::IHave(vec![id(1), id(2)]));
    assert_eq!(sets(&heard, &Timer::Graft), Some(80));
    node.hears(1, message(2, &[9, 1], Via::Push));
    node.now += 79;
    assert_eq!(sent(&node.fires(Timer::Graft)), [], "not before");
    node.now += 1;
    let asked = node.fires(Timer::Graft);
    assert_eq!(sent(&asked), [(7, &Frame::Graft(vec![id(1)]))]);
    assert_eq!((sets(&asked, &Timer::Graft), node.state.counts().grafts), (Some(40), 1));
    let come = node.hears(7, message(1, &[9, 7], Via::Graft));
    let via = come.iter().find_map(|effect| match effect {
        Effect::Deliver(message) => Some((message.via, message.late)),
        _ => None,
    });
    assert_eq!(via, Some((Via::Graft, true)), "number 2 was quicker");
    assert_eq!(pushed(&come), [1, 6], "whom we hang from may lack it, too");
    node.now += 1_000;
    assert_eq!(sent(&node.fires(Timer::Graft)), []);
}

#[test]
fn it_asks_one_after_the_other_and_leaves_the_rest_to_repair() {
    let mut node = Story::in_the_middle();
    node.hears(7, Frame::IHave(vec![id(1)]));
    node.hears(6, Frame::IHave(vec![id(1)]));
    let mut asked = Vec::new();
    for _ in 0..20 {
        node.now += 10_000;
        asked.extend(sent(&node.fires(Timer::Graft)).into_iter().map(|(to, _)| to));
    }
    assert_eq!(asked, [7, 6, 7, 6, 7, 6, 7, 6]);
    let compared = node.fires(Timer::RepairSoon);
    assert!(matches!(sent(&compared)[..], [(_, Frame::Marks { .. })]));
}

#[test]
fn a_node_that_has_just_moved_asks_at_once() {
    let mut node = Story::in_the_middle();
    node.hears(6, Frame::IHave(vec![id(1)]));
    let moved = node.input(Input::LinkDown { peer: name(1) });
    assert_eq!(sets(&moved, &Timer::Graft), Some(8));
    node.now += 8;
    assert_eq!(sent(&node.fires(Timer::Graft)), [(6, &Frame::Graft(vec![id(1)]))]);
}

#[test]
fn what_is_asked_for_is_sent_if_it_is_remembered() {
    let mut node = Story::in_the_middle();
    node.hears(1, message(1, &[9, 1], Via::Push));
    let answered = node.hears(7, Frame::Graft(vec![id(1), id(2)]));
    let Frame::Broadcast(broadcast) = sent(&answered)[0].1 else { panic!("{answered:?}") };
    assert_eq!((broadcast.via, broadcast.ttl, pushed(&answered)), (Via::Graft, 8, vec![7]));
}

#[test]
fn a_push_over_a_lazy_link_is_a_short_cut_at_its_origin_and_a_mistake_elsewhere() {
    let mut node = Story::in_the_middle();
    let (_, published) = node.publishes("short");
    assert_eq!(pushed(&published), [1, 6, 7]);
    let (_, published) = node.publishes(&"x".repeat(2_000));
    assert_eq!(pushed(&published), [1, 6], "a long text is not sent where its id would do");
    let cut = node.hears(
        7,
        Frame::Broadcast(Broadcast {
            id: MessageId { origin: name(7), epoch: Epoch(1), seq: 1 },
            ttl: 9,
            path: vec![name(7)],
            text: String::new(),
            via: Via::Push,
        }),
    );
    assert_eq!(pushed(&cut), [6], "only away from the root");
    node.hears(1, message(1, &[9, 1], Via::Push));
    let again = node.hears(7, message(1, &[9, 7], Via::Push));
    assert_eq!(sent(&again), [(7, &word(1, 1, false))], "it is told again that the link is lazy");
}

#[test]
fn a_crowded_link_gets_announcements_and_later_what_was_asked_for() {
    let mut node = Story::in_the_middle();
    node.input(Input::LinkCrowded { peer: name(6) });
    let (id, published) = node.publishes(&"x".repeat(8_192));
    assert_eq!(pushed(&published), [1]);
    let announced = node.fires(Timer::Announce);
    assert!(sent(&announced).contains(&(6, &Frame::IHave(vec![id.clone()]))));
    assert_eq!(sent(&node.hears(6, Frame::Graft(vec![id]))), [], "it waits");
    assert_eq!(pushed(&node.input(Input::LinkClear { peer: name(6) })), [6]);
}

#[test]
fn what_is_asked_for_goes_out_in_portions() {
    let mut node = Story::in_the_middle();
    let ids: Vec<MessageId> = (0..20).map(|_| node.publishes(&"x".repeat(8_192)).0).collect();
    let first = node.hears(7, Frame::Graft(ids.clone()));
    assert_eq!(pushed(&first).len(), 8, "64 KiB");
    assert!(sets(&first, &Timer::Owed).is_some());
    assert_eq!(pushed(&node.fires(Timer::Owed)).len() + pushed(&node.fires(Timer::Owed)).len(), 12);
}

#[test]
fn whom_we_hang_from_is_asked_at_once_because_it_would_have_pushed() {
    let mut node = Story::in_the_middle();
    assert_eq!(sets(&node.hears(1, Frame::IHave(vec![id(1)])), &Timer::Graft), Some(0));
    assert_eq!(sent(&node.fires(Timer::Graft)), [(1, &Frame::Graft(vec![id(1)]))]);
}

#[test]
fn a_shuffle_goes_on_ends_and_is_answered_on_the_same_way() {
    let mut node = Story::with_neighbours([1, 6]);
    let addr = SocketAddr::from(([127, 0, 0, 1], 5_000));
    let contact = |number, epoch| Contact { name: name(number), addr, epoch: Epoch(epoch) };
    for number in [20, 21, 22] {
        // Alive, as the membership says; one is dialled and the others are in reserve.
        node.input(Input::MemberUp { peer: name(number), addr, epoch: Epoch(2) });
        node.input(Input::LinkDown { peer: name(number) });
    }
    let walks = Frame::Shuffle { ttl: 3, path: vec![name(9), name(1)], contacts: vec![contact(21, 2)] };
    let on = Frame::Shuffle { ttl: 2, path: vec![name(9), name(1), name(5)], contacts: vec![contact(21, 2)] };
    assert_eq!(sent(&node.hears(1, walks)), [(6, &on)]);
    let ends = Frame::Shuffle { ttl: 1, path: vec![name(9), name(1)], contacts: vec![contact(21, 2), contact(77, 1)] };
    let answer = node.hears(1, ends);
    let [(1, Frame::Shuffled { path, contacts })] = &sent(&answer)[..] else { panic!("{answer:?}") };
    assert_eq!((path.as_slice(), contacts.len()), (&[name(9)][..], 2));
    assert!(!node.state.passive().any(|known| *known == name(77)), "the membership does not know it");
    let back = Frame::Shuffled { path: vec![name(6)], contacts: vec![] };
    assert_eq!(sent(&node.hears(1, back)), [(6, &Frame::Shuffled { path: vec![], contacts: vec![] })]);
}

#[test]
fn lists_longer_than_their_limits_are_not_looked_at() {
    let mut node = Story::in_the_middle();
    let ids: Vec<MessageId> = (0..=IDS_MAX as u64).map(id).collect();
    let addr = SocketAddr::from(([127, 0, 0, 1], 5_000));
    let contacts = vec![Contact { name: name(9), addr, epoch: Epoch(1) }; 9];
    let path: Vec<NodeName> = (20..27).map(name).collect();
    for frame in [
        Frame::IHave(ids.clone()),
        Frame::Graft(ids),
        Frame::Shuffle { ttl: 3, path: vec![name(7)], contacts: contacts.clone() },
        Frame::Shuffle { ttl: 7, path: vec![name(7)], contacts: vec![] },
        Frame::Shuffle { ttl: 3, path: vec![name(8)], contacts: vec![] },
        Frame::Shuffled { path: vec![], contacts },
        Frame::Shuffled { path, contacts: vec![] },
        Frame::Shuffled { path: vec![name(5)], contacts: vec![] },
    ] {
        let before = node.state.dropped().malformed;
        assert_eq!(sent(&node.hears(7, frame.clone())), [], "{frame:?}");
        assert_eq!(node.state.dropped().malformed, before + 1, "{frame:?}");
    }
}

#[test]
fn repair_of_one_neighbour_is_limited_in_bytes_however_often_it_asks() {
    let mut node = Story::in_the_middle();
    for _ in 0..80 {
        node.publishes(&"x".repeat(8_192));
    }
    let ask = || Frame::Marks {
        purpose: p2pnet_shared::wire::broadcast::MarksPurpose::Ask,
        after: None,
        until: None,
        marks: vec![],
    };
    let first = pushed(&node.hears(7, ask())).len();
    assert!((28..=32).contains(&first), "256 KiB: {first}");
    assert_eq!(pushed(&node.hears(7, ask())).len(), 0);
    node.now += 300;
    assert_eq!(pushed(&node.hears(7, ask())).len(), first, "and the next round later");
}
