//! Both protocols, fed by a stranger who speaks their language.

use std::net::SocketAddr;

use p2pnet_node::{
    broadcast,
    membership::{self, Identity, Input},
    time::Millis,
};
use p2pnet_shared::{
    Epoch, MessageId, NodeName, ViewDigest,
    wire::{
        Codec,
        broadcast::{Broadcast, Frame, Life, Mark, MarksPurpose, Via},
        membership::{Claim, Datagram, Message, Status},
    },
};
use proptest::{collection::vec, prelude::*};

use crate::hostile::{self, harm::harmed, memory::Mark as Memory, values};

fn codec() -> Codec {
    Codec::new(&"lab".parse().expect("a name"), Some("s3cret"))
}

fn at(host: u8) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1 + host], 5_000))
}

fn member(config: membership::Config) -> membership::State {
    let me = Identity { name: NodeName::numbered(1), addr: at(1), epoch: Epoch(5) };
    let mut state = membership::State::new(me, config, 7);
    state.start(Millis(0), &mut Vec::new());
    state
}

/// One row of a member table.
type Belief = (NodeName, Epoch, u32, Status);

/// What a membership believes: of everybody, and of itself.
fn beliefs(state: &membership::State) -> (Vec<Belief>, ViewDigest, u32) {
    let rows = state.members().map(|member| (member.name.clone(), member.epoch, member.incarnation, member.status));
    (rows.collect(), state.digest(), state.incarnation())
}

/// A pretended runtime: timers fire when they are due, and what is sent is forgotten.
struct Run {
    state: membership::State,
    now: Millis,
    timers: Vec<(Millis, membership::Timer)>,
}

impl Run {
    fn new(config: membership::Config) -> Self {
        Self { state: member(config), now: Millis(0), timers: Vec::new() }
    }

    fn input(&mut self, input: Input) -> Vec<membership::Effect> {
        let mut effects = Vec::new();
        self.state.handle(self.now, input, &mut effects);
        for effect in &effects {
            if let membership::Effect::SetTimer { after, timer } = effect {
                self.timers.push((Millis(self.now.0.saturating_add(after.0)), timer.clone()));
            }
        }
        effects
    }

    fn pass(&mut self, time: u64) {
        let end = Millis(self.now.0.saturating_add(time));
        for _ in 0..2_000 {
            let due = self.timers.iter().enumerate().filter(|(_, (due, _))| *due <= end);
            let Some((which, _)) = due.min_by_key(|(_, (due, _))| *due) else { break };
            let (due, timer) = self.timers.swap_remove(which);
            self.now = self.now.max(due);
            self.input(Input::TimerFired(timer));
        }
        self.now = end;
    }
}

proptest! {
    #![proptest_config(hostile::config(64))]

    /// Bytes of datagrams, hurt before they were sealed: whatever still decodes is handed in.
    #[test]
    fn hurt_datagrams_into_the_membership(
        steps in vec((harmed(values::datagram().prop_map(|d| codec_free(&d))), values::addr(), 0_u64..3_000), 1..60),
    ) {
        let plain = Codec::new(&"lab".parse().expect("a name"), None);
        let mut run = Run::new(membership::Config { members_max: 16, ..membership::Config::default() });
        let mut incarnation = 0;
        for (bytes, from, pause) in steps {
            if let Ok(datagram) = plain.decode::<Datagram>(&bytes) {
                let effects = run.input(Input::Received { from, datagram });
                prop_assert!(effects.len() < 4_000, "{} effects of one datagram", effects.len());
            }
            run.pass(pause);
            let (rows, digest, mine) = beliefs(&run.state);
            prop_assert!(rows.len() <= 16 && mine >= incarnation);
            incarnation = mine;
            let live = rows.iter().filter(|(_, _, _, status)| status.is_live()).map(|(name, ..)| name);
            prop_assert_eq!(digest, live.chain([&NodeName::numbered(1)]).collect::<ViewDigest>());
        }
    }

    /// Invariant 23. A datagram heard twice is heard once; one that comes back later takes no belief back.
    #[test]
    fn a_replayed_datagram_changes_no_belief(
        heard in vec((values::datagram(), values::addr(), 0_u64..2_000), 1..30),
        replays in vec(any::<prop::sample::Index>(), 1..20),
    ) {
        let mut run = Run::new(membership::Config::default());
        let mut heard = heard;
        for (datagram, from, pause) in &mut heard {
            // Two claims about one member in one datagram contradict each other: the second is heard after the first.
            let mut named = std::collections::HashSet::new();
            datagram.claims.retain(|claim| named.insert(claim.member.clone()));
            run.input(Input::Received { from: *from, datagram: datagram.clone() });
            let before = beliefs(&run.state);
            let effects = run.input(Input::Received { from: *from, datagram: datagram.clone() });
            prop_assert_eq!(beliefs(&run.state), before, "by {:?}", datagram);
            let told = effects.iter().any(|effect| matches!(effect, membership::Effect::Announce(_)));
            prop_assert!(!told, "announced something after {:?}", datagram);
            run.pass(*pause);
        }
        for replay in replays {
            let (datagram, from, _) = replay.get(&heard);
            let before = beliefs(&run.state).0;
            run.input(Input::Received { from: *from, datagram: datagram.clone() });
            for (name, epoch, incarnation, status) in before {
                let now = run.state.member(&name).map(|row| (row.epoch, row.incarnation, row.status));
                prop_assert!(now >= Some((epoch, incarnation, status)), "{} went back to {:?}", name, now);
            }
        }
    }

    /// Frames, hurt on the way, from neighbours and strangers.
    #[test]
    fn hurt_frames_into_the_broadcast(
        steps in vec((harmed(values::frame().prop_map(|f| codec_free(&f))), 2_u32..6, 0_u64..2_000), 1..80),
    ) {
        let plain = Codec::new(&"lab".parse().expect("a name"), None);
        let mut state = flooded(5);
        let (mut now, mut delivered) = (0, std::collections::HashSet::new());
        for (bytes, from, pause) in steps {
            now += pause;
            let Ok(frame) = plain.decode::<Frame>(&bytes) else { continue };
            let mut effects = Vec::new();
            let from = NodeName::numbered(from);
            state.handle(Millis(now), broadcast::Input::Received { from, frame }, &mut effects);
            for effect in effects {
                if let broadcast::Effect::Deliver(message) = effect {
                    prop_assert!(delivered.insert(message.id.clone()), "{} twice", message.id);
                }
            }
            prop_assert!(state.messages().count() <= 1_000 && state.neighbours().count() <= 8);
        }
    }

    /// A frame that is replayed delivers nothing a second time.
    #[test]
    fn a_replayed_frame_delivers_nothing(frames in vec((values::frame(), 2_u32..6), 1..40)) {
        let mut state = flooded(5);
        let play = |state: &mut broadcast::State| {
            let mut effects = Vec::new();
            for (frame, from) in &frames {
                let input = broadcast::Input::Received { from: NodeName::numbered(*from), frame: frame.clone() };
                state.handle(Millis(1), input, &mut effects);
            }
            effects.into_iter().filter(|effect| matches!(effect, broadcast::Effect::Deliver(_))).count()
        };
        play(&mut state);
        let kept = state.messages().count();
        // Frames refused the first time, for want of a neighbour or of room, may be let in; those delivered may not.
        let ids: Vec<MessageId> = state.messages().map(|message| message.id.clone()).collect();
        play(&mut state);
        let again: Vec<MessageId> = state.messages().map(|message| message.id.clone()).collect();
        prop_assert!(again.len() >= kept);
        prop_assert!(ids.iter().all(|id| again.iter().filter(|other| *other == id).count() == 1));
    }
}

fn codec_free(value: &impl serde::Serialize) -> Vec<u8> {
    Codec::new(&"lab".parse().expect("a name"), None).encode(value)
}

/// A broadcast node whose neighbours are nodes 2 to `last`.
fn flooded(last: u32) -> broadcast::State {
    let mut state = broadcast::State::new(NodeName::numbered(1), Epoch(5), broadcast::Config::default(), 1);
    for peer in (2..=last).map(NodeName::numbered) {
        let mut effects = Vec::new();
        state.handle(Millis(0), broadcast::Input::LinkUp { peer: peer.clone() }, &mut effects);
        let frame = Frame::Neighbor { urgent: true };
        state.handle(Millis(0), broadcast::Input::Received { from: peer, frame }, &mut effects);
    }
    state
}

/// Invariant 23, the seal's half: a stranger's datagrams, and ours altered, never get as far as the core.
#[test]
fn what_is_not_sealed_by_us_is_never_handed_in() {
    let claim = Claim {
        member: NodeName::numbered(2),
        addr: at(2),
        epoch: Epoch(1),
        incarnation: 0,
        status: Status::Alive,
        accuser: None,
        link_lost: false,
    };
    let datagram = Datagram { from: NodeName::numbered(2), message: Message::Gossip, claims: vec![claim] };
    let mut run = Run::new(membership::Config::default());
    let before = beliefs(&run.state);
    let mut bytes = codec().encode(&datagram);
    let stranger = Codec::new(&"lab".parse().expect("a name"), Some("guess")).encode(&datagram);
    let mut refused = 0;
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        for bytes in [&bytes, &stranger] {
            match codec().decode::<Datagram>(bytes) {
                Ok(datagram) => drop(run.input(Input::Received { from: at(2), datagram })),
                Err(_) => refused += 1,
            }
        }
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    assert_eq!((beliefs(&run.state), refused), (before, bytes.len() * 16));
    let datagram = codec().decode::<Datagram>(&bytes).expect("unharmed again");
    run.input(Input::Received { from: at(2), datagram });
    assert_eq!(beliefs(&run.state).0.len(), 1, "the very same, unharmed, is believed");
}

/// Invariant 25 for the membership: more names, addresses and questions than it has room for.
#[test]
fn the_membership_grows_to_its_bound_and_no_further() {
    let config = membership::Config { members_max: 500, seeds_max: 50, relays_max: 50, ..Default::default() };
    let memory = Memory::set();
    let mut run = Run::new(config);
    let mut kept = Vec::new();
    for round in 0..40_u32 {
        for number in 0..500_u32 {
            let number = round * 500 + number;
            let name = |n: u32| -> NodeName { format!("{}-{n}", "x".repeat(50)).parse().expect("letters") };
            let addr = SocketAddr::from((number.to_be_bytes(), 5_000));
            let claims = (0..8).map(|n| Claim {
                member: name(number * 8 + n),
                addr,
                epoch: Epoch(u64::from(number)),
                incarnation: n,
                status: [Status::Alive, Status::Suspect, Status::Dead, Status::Left][n as usize % 4],
                accuser: Some(name(number + n)),
                link_lost: number % 2 == 0,
            });
            let message = match number % 5 {
                0 => Message::Ping { seq: number, target: None },
                1 => Message::PingRequest { seq: number, target: name(number * 8), addr },
                2 => Message::Sync { state_hash: u64::from(number) },
                3 => Message::State { reply: true },
                _ => Message::Gossip,
            };
            let datagram = Datagram { from: name(number), message, claims: claims.collect() };
            run.input(Input::Received { from: addr, datagram });
            run.input(Input::Contact { addr });
            run.input(Input::LinkLost { peer: name(number), epoch: Epoch(u64::from(number)) });
        }
        run.timers.clear(); // they are the runtime's; it is the core's memory that is looked at
        run.timers.shrink_to_fit();
        kept.push(memory.kept());
    }
    assert_eq!(run.state.members().count(), 500);
    assert!(kept[39] < 1_500_000, "500 members, 50 seeds, 50 relays: {} bytes", kept[39]);
    assert!(kept[39] < kept[4] + kept[4] / 4, "still growing: {kept:?}");
}

/// Invariant 25 for the broadcast: more origins, lives and gaps than there are windows.
#[test]
fn the_broadcast_grows_to_its_bound_and_no_further() {
    let memory = Memory::set();
    let mut state = flooded(5);
    let mut kept = Vec::new();
    let long = |n: u32| -> NodeName { format!("{}-{n}", "x".repeat(50)).parse().expect("letters") };
    for round in 0..20_u32 {
        for number in 0..1_000_u32 {
            let number = round * 1_000 + number;
            let from = NodeName::numbered(2 + number % 4);
            for seq in [1, 3, 5, 700, 1 << 19, u64::MAX - 1] {
                let id = MessageId { origin: long(number % 7_000), epoch: Epoch(u64::from(round)), seq };
                let path = vec![id.origin.clone(), from.clone()];
                let frame = Frame::Broadcast(Broadcast { id, ttl: 3, path, text: "x".repeat(500), via: Via::Push });
                let now = Millis(u64::from(number));
                state.handle(now, broadcast::Input::Received { from: from.clone(), frame }, &mut Vec::new());
            }
            let life = Life { origin: long(number + 100_000), epoch: Epoch(u64::from(number)) };
            let marks = vec![Mark { life: life.clone(), through: u64::MAX, beyond: vec![(3, u64::MAX); 8] }];
            for frame in [
                Frame::Marks { purpose: MarksPurpose::Compare, after: None, until: None, marks },
                Frame::Forgotten(vec![(life, u64::from(number))]),
            ] {
                let now = Millis(u64::from(number));
                state.handle(now, broadcast::Input::Received { from: from.clone(), frame }, &mut Vec::new());
            }
        }
        kept.push(memory.kept());
    }
    // The store's megabyte of text with its paths, and windows: 9 MB if everything conspires.
    assert!(kept[19] < 12_000_000, "{} bytes", kept[19]);
    assert!(kept[19] < kept[14] + kept[14] / 10, "still growing: {kept:?}");
}
