//! Anything comes in, in any order: no panic, nothing delivered twice, nothing grows without bound.

use std::{collections::BTreeSet, net::SocketAddr};

use p2pnet_shared::{
    Epoch, MessageId, NodeName,
    wire::{
        Codec, FRAME_MAX_BYTES,
        broadcast::{Broadcast, Contact, Frame, Life, Mark, MarksPurpose, Via},
    },
};
use proptest::prelude::*;

use super::{
    super::{Config, Effect, Input, State, Timer},
    network::name,
};
use crate::time::Millis;

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0_u64..12, 1 => any::<u64>(), 1 => Just(u64::MAX)]
}

fn life() -> impl Strategy<Value = Life> {
    (1_u32..6, 0_u64..8).prop_map(|(origin, epoch)| Life { origin: name(origin), epoch: Epoch(epoch) })
}

fn mark() -> impl Strategy<Value = Mark> {
    (life(), number(), prop::collection::vec((number(), number()), 0..4)).prop_map(|(life, through, beyond)| Mark {
        life,
        through,
        beyond,
    })
}

fn broadcast() -> impl Strategy<Value = Frame> {
    let path = prop::collection::vec(1_u32..6, 0..4);
    (life(), number(), 0_u8..40, path, any::<bool>(), 1_u32..6).prop_map(|(life, seq, ttl, middle, sound, from)| {
        // Half of them are such as a correct node might send.
        let mut path: Vec<u32> = if sound { life.origin.number().into_iter().collect() } else { middle };
        if sound && path != [from] {
            path.push(from);
        }
        let id = MessageId { origin: life.origin, epoch: life.epoch, seq };
        Frame::Broadcast(Broadcast {
            id,
            ttl,
            path: path.into_iter().map(name).collect(),
            text: "apple".to_owned(),
            via: Via::Push,
        })
    })
}

fn id() -> impl Strategy<Value = MessageId> {
    (life(), number()).prop_map(|(life, seq)| MessageId { origin: life.origin, epoch: life.epoch, seq })
}

fn path() -> impl Strategy<Value = Vec<NodeName>> {
    prop::collection::vec((1_u32..6).prop_map(name), 0..10)
}

fn contacts() -> impl Strategy<Value = Vec<Contact>> {
    let addr = SocketAddr::from(([127, 0, 0, 1], 5_000));
    let contact = (life(), Just(addr)).prop_map(|(life, addr)| Contact { name: life.origin, addr, epoch: life.epoch });
    prop::collection::vec(contact, 0..12)
}

fn frame() -> impl Strategy<Value = Frame> {
    let purpose = prop_oneof![Just(MarksPurpose::Compare), Just(MarksPurpose::Ask), Just(MarksPurpose::Offer)];
    let ends = (prop::option::of(life()), prop::option::of(life()));
    prop_oneof![
        2 => any::<bool>().prop_map(|urgent| Frame::Neighbor { urgent }),
        1 => Just(Frame::Accept),
        1 => Just(Frame::Refuse),
        1 => Just(Frame::Disconnect),
        1 => Just(Frame::Spare),
        8 => broadcast(),
        3 => (1_u32..6, any::<u8>(), any::<bool>())
            .prop_map(|(root, hops, child)| Frame::Tree { root: name(root), hops, child }),
        2 => prop::collection::vec(id(), 0..6).prop_map(Frame::IHave),
        2 => prop::collection::vec(id(), 0..6).prop_map(Frame::Graft),
        1 => (0_u8..9, path(), contacts()).prop_map(|(ttl, path, contacts)| Frame::Shuffle { ttl, path, contacts }),
        1 => (path(), contacts()).prop_map(|(path, contacts)| Frame::Shuffled { path, contacts }),
        2 => (purpose, ends, prop::collection::vec(mark(), 0..6))
            .prop_map(|(purpose, (after, until), marks)| Frame::Marks { purpose, after, until, marks }),
        1 => prop::collection::vec((life(), number()), 0..4).prop_map(Frame::Forgotten),
    ]
}

fn input() -> impl Strategy<Value = Input> {
    let peer = || (1_u32..6).prop_map(name);
    let addr = SocketAddr::from(([127, 0, 0, 1], 5_000));
    prop_oneof![
        1 => (peer(), 0_u64..8).prop_map(move |(peer, epoch)| Input::MemberUp { peer, addr, epoch: Epoch(epoch) }),
        1 => peer().prop_map(|peer| Input::MemberDown { peer }),
        3 => peer().prop_map(|peer| Input::LinkUp { peer }),
        1 => peer().prop_map(|peer| Input::LinkDown { peer }),
        12 => (peer(), frame()).prop_map(|(from, frame)| Input::Received { from, frame }),
        1 => Just(Input::TimerFired(Timer::Repair)),
        1 => Just(Input::TimerFired(Timer::RepairSoon)),
        1 => Just(Input::TimerFired(Timer::Refill)),
        1 => Just(Input::TimerFired(Timer::Mix)),
        1 => Just(Input::TimerFired(Timer::Shuffle)),
        1 => Just(Input::TimerFired(Timer::Announce)),
        1 => Just(Input::TimerFired(Timer::Graft)),
        1 => Just(Input::TimerFired(Timer::Owed)),
        1 => peer().prop_map(|peer| Input::LinkCrowded { peer }),
        1 => peer().prop_map(|peer| Input::LinkClear { peer }),
        1 => (peer(), 0_u64..50).prop_map(|(peer, attempt)| Input::TimerFired(Timer::HalfOpen { peer, attempt })),
    ]
}

proptest! {
    #[test]
    fn anything_may_come_in(inputs in prop::collection::vec((0_u64..2_000, input()), 0..300)) {
        let config = Config { messages_max: 20, active_target: 2, active_cap: 3, passive_size: 2, ..Config::default() };
        let mut state = State::new(name(1), Epoch(5), config, 1);
        let codec = Codec::new(&"lab".parse().unwrap(), None);
        let (mut now, mut delivered) = (Millis(0), BTreeSet::new());
        for (pause, input) in inputs {
            now = now + Millis(pause);
            let mut effects = Vec::new();
            state.handle(now, input, &mut effects);
            prop_assert!(effects.len() < 100, "one input, {} effects", effects.len());
            for effect in effects {
                match effect {
                    Effect::Deliver(message) => {
                        let path: BTreeSet<_> = message.path.iter().collect();
                        prop_assert_eq!(path.len(), message.path.len());
                        prop_assert_eq!(message.path.first(), Some(&message.id.origin));
                        prop_assert_eq!(message.path.last(), Some(&name(1)));
                        prop_assert!(delivered.insert(message.id.clone()), "{} twice", message.id);
                    }
                    Effect::Send { to, frame } => {
                        prop_assert_ne!(to, name(1));
                        prop_assert!(codec.encode(&frame).len() <= FRAME_MAX_BYTES);
                    }
                    Effect::Connect { peer, .. } => prop_assert_ne!(peer, name(1)),
                    Effect::Disconnect { .. } | Effect::SetTimer { .. } => {}
                }
            }
            prop_assert!(state.messages().count() <= 20);
            prop_assert!(state.neighbours().count() <= 3);
            prop_assert!(state.neighbours().all(|peer| *peer != name(1)));
            prop_assert!(state.passive().count() <= 2 && state.passive().all(|peer| *peer != name(1)));
            prop_assert!(state.links().count() == state.neighbours().count());
        }
    }
}

#[test]
fn the_largest_frames_fit() {
    let codec = Codec::new(&"lab".parse().unwrap(), Some("s3cret"));
    let config = Config { messages_max: 5, ..Config::default() };
    let mut state = State::new(name(1), Epoch(1), config, 1);
    let mut effects = Vec::new();
    state.handle(Millis(0), Input::LinkUp { peer: name(2) }, &mut effects);
    let hello = Frame::Neighbor { urgent: true };
    state.handle(Millis(0), Input::Received { from: name(2), frame: hello }, &mut effects);
    // Two thousand origins with the longest names, each with gaps: more marks than a frame takes.
    let long = |n: u32| format!("{}-{n:05}", "x".repeat(57)).parse().unwrap();
    for origin in 0..2_000 {
        for seq in [1, 1 << 18, 1 << 19] {
            let id = MessageId { origin: long(origin), epoch: Epoch(u64::MAX), seq };
            let path = vec![long(origin), name(2)];
            let frame = Frame::Broadcast(Broadcast { id, ttl: 0, path, text: "x".repeat(8_192), via: Via::Push });
            state.handle(Millis(0), Input::Received { from: name(2), frame }, &mut Vec::new());
        }
    }
    let mut covered = Vec::new();
    for _ in 0..20 {
        let mut effects = Vec::new();
        state.handle(Millis(9_000), Input::TimerFired(Timer::Repair), &mut effects);
        for effect in effects {
            let Effect::Send { frame, .. } = effect else { continue };
            assert!(codec.encode(&frame).len() <= FRAME_MAX_BYTES);
            if let Frame::Marks { marks, .. } = frame {
                covered.extend(marks.into_iter().map(|mark| mark.life));
            }
        }
    }
    assert!(covered.iter().collect::<BTreeSet<_>>().len() == 2_000, "and in turn all are shown");

    let ask = Frame::Marks { purpose: MarksPurpose::Ask, after: None, until: None, marks: vec![] };
    let mut answer = Vec::new();
    state.handle(Millis(9_000), Input::Received { from: name(2), frame: ask }, &mut answer);
    for effect in answer {
        let Effect::Send { frame, .. } = effect else { continue };
        assert!(codec.encode(&frame).len() <= FRAME_MAX_BYTES);
    }
}
