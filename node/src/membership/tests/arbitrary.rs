//! Whatever comes in: no panic, no false belief about ourselves, no table beyond its bound.

use p2pnet_shared::wire::{Codec, DATAGRAM_MAX_BYTES};
use proptest::prelude::*;

use super::*;
use crate::membership::dissemination::{claim_size, head_size};

fn any_name() -> impl Strategy<Value = NodeName> {
    prop_oneof![
        9 => (1_u32..16).prop_map(NodeName::numbered),
        1 => "[a-z]{1,63}".prop_map(|text| text.parse().expect("letters")),
    ]
}

fn any_addr() -> impl Strategy<Value = SocketAddr> {
    prop_oneof![
        8 => (0_u32..20).prop_map(addr),
        1 => any::<([u8; 4], u16)>().prop_map(SocketAddr::from),
        1 => any::<([u8; 16], u16)>().prop_map(SocketAddr::from),
    ]
}

fn any_number() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(100), Just(999), Just(1000), Just(1001), Just(u64::from(u32::MAX)), any::<u64>()]
}

fn any_status() -> impl Strategy<Value = Status> {
    prop_oneof![Just(Status::Alive), Just(Status::Suspect), Just(Status::Dead), Just(Status::Left)]
}

fn any_claim() -> impl Strategy<Value = Claim> {
    (any_name(), any_addr(), any_number(), any_number(), any_status(), any::<Option<()>>(), any_name(), any::<bool>())
        .prop_map(|(member, addr, epoch, incarnation, status, accused, accuser, link_lost)| Claim {
            member,
            addr,
            epoch: Epoch(epoch),
            incarnation: u32::try_from(incarnation).unwrap_or(u32::MAX),
            status,
            accuser: accused.map(|()| accuser),
            link_lost,
        })
}

fn any_message() -> impl Strategy<Value = Message> {
    prop_oneof![
        (any::<u32>(), any::<Option<()>>(), any_name())
            .prop_map(|(seq, named, target)| Message::Ping { seq, target: named.map(|()| target) }),
        any::<u32>().prop_map(|seq| Message::Ack { seq }),
        any::<u32>().prop_map(|seq| Message::Nack { seq }),
        (any::<u32>(), any_name(), any_addr()).prop_map(|(seq, target, addr)| Message::PingRequest {
            seq,
            target,
            addr
        }),
        Just(Message::Gossip),
        any::<u64>().prop_map(|state_hash| Message::Sync { state_hash }),
        any::<bool>().prop_map(|reply| Message::State { reply }),
    ]
}

#[derive(Debug, Clone)]
enum Step {
    Receive(SocketAddr, Datagram),
    Contact(SocketAddr),
    LinkLost(NodeName, u64),
    /// Answers the last ping sent, as whoever it was for.
    Answer,
    /// Time passes and timers go off.
    Wait(u64),
    /// The same, but late.
    Sleep(u64),
    /// A timer of long ago goes off once more.
    Stale(usize),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (any_addr(), any_name(), any_message(), prop::collection::vec(any_claim(), 0..6))
            .prop_map(|(to, from, message, claims)| Step::Receive(to, Datagram { from, message, claims })),
        1 => any_addr().prop_map(Step::Contact),
        1 => (any_name(), any_number()).prop_map(|(peer, epoch)| Step::LinkLost(peer, epoch)),
        2 => Just(Step::Answer),
        2 => (0_u64..5_000).prop_map(Step::Wait),
        1 => (0_u64..40_000).prop_map(Step::Sleep),
        1 => any::<usize>().prop_map(Step::Stale),
    ]
}

fn play(story: &mut Story, step: Step, old: &mut Vec<Timer>) {
    match step {
        Step::Receive(from, datagram) => story.input(Input::Received { from, datagram }),
        Step::Contact(addr) => story.input(Input::Contact { addr }),
        Step::LinkLost(peer, epoch) => story.input(Input::LinkLost { peer, epoch: Epoch(epoch) }),
        Step::Answer => {
            let ping = story.sent.iter().rev().find_map(|(to, datagram)| match &datagram.message {
                Message::Ping { seq, target } => Some((*to, *seq, target.clone().unwrap_or_else(|| name(9)))),
                _ => None,
            });
            if let Some((to, seq, from)) = ping {
                let datagram = Datagram { from, message: Message::Ack { seq }, claims: vec![] };
                story.input(Input::Received { from: to, datagram });
            }
        }
        Step::Wait(ms) => story.after(ms),
        Step::Sleep(ms) => story.sleeps(ms),
        Step::Stale(which) => {
            if let Some(timer) = old.get(which % old.len().max(1)) {
                story.input(Input::TimerFired(timer.clone()));
            }
        }
    }
    old.extend(story.timers.iter().map(|(_, timer)| timer.clone()).take(200_usize.saturating_sub(old.len())));
}

/// What the events fold to must be what the table holds, and what the digest says.
fn check(story: &Story, alive: &mut std::collections::BTreeSet<NodeName>, events: &[MemberEvent]) {
    for event in events {
        let changed = match event.kind {
            MemberEventKind::Joined | MemberEventKind::CameBack => alive.insert(event.row.member.clone()),
            MemberEventKind::Died | MemberEventKind::Left => alive.remove(&event.row.member),
            MemberEventKind::Suspected | MemberEventKind::Refuted => alive.contains(&event.row.member),
        };
        assert!(changed, "{event:?}");
    }
    let state = &story.state;
    let held: Vec<_> = state.members().filter(|m| m.status.is_live()).map(|m| &m.name).collect();
    assert!(held.iter().copied().eq(alive.iter()));
    assert_eq!(state.digest(), alive.iter().chain([&name(1)]).collect::<ViewDigest>());
    assert_eq!(state.table.live(), held.len());
    assert!(state.members().all(|m| m.name != name(1)), "we hold no opinion of ourselves");
    let (members, seeds, relays) = (state.config.members_max, state.config.seeds_max, state.config.relays_max);
    assert!(state.table.len() <= members && state.news.len() <= members + 1 && state.seeds.len() <= seeds);
    assert!(state.links_lost.len() <= members);
    // A probe is under way for a period at most, stretched eightfold; a contact until the next one to that address.
    assert!(state.awaited.len() <= relays + seeds + members + 64, "{} questions open", state.awaited.len());
    assert!(state.members().all(|m| m.accusers.len() <= suspicion::ACCUSERS_MAX));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn nothing_that_comes_in_breaks_us(steps in prop::collection::vec(any_step(), 1..80), warm in any::<bool>()) {
        let config = Config { members_max: 8, seeds_max: 4, relays_max: 5, ..Config::default() };
        let mut story = Story::begins(config);
        story.state.answers = if warm { 3 } else { 0 };
        let (mut old, mut alive, mut incarnation) = (Vec::new(), std::collections::BTreeSet::new(), 0);
        for step in steps {
            let before = story.announced.len();
            play(&mut story, step, &mut old);
            let events = story.announced[before..].to_vec();
            check(&story, &mut alive, &events);
            prop_assert!(story.state.incarnation() >= incarnation);
            incarnation = story.state.incarnation();
        }
        let codec = Codec::new(&"lab".parse().expect("a name"), Some("secret"));
        for (_, datagram) in &story.sent {
            prop_assert!(codec.encode(datagram).len() <= DATAGRAM_MAX_BYTES);
        }
    }

    #[test]
    fn the_computed_size_bounds_the_real_one(
        from in any_name(), message in any_message(), claims in prop::collection::vec(any_claim(), 0..40),
    ) {
        let bound = head_size(&from, &message) + claims.iter().map(claim_size).sum::<usize>();
        let codec = Codec::new(&"lab".parse().expect("a name"), None);
        let real = codec.encode(&Datagram { from, message, claims }).len() - 6;
        prop_assert!(real <= bound, "{} > {}", real, bound);
    }
}
