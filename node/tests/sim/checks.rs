//! The checks are checked: each invariant that a run is held against can fail.

use std::panic::{AssertUnwindSafe, catch_unwind};

use p2pnet_shared::{
    Epoch, MessageId, NodeName,
    telemetry::{MemberEvent, MemberEventKind, MemberRow},
    wire::membership::{Claim, Datagram, Message, Status},
};

use crate::{counters::Counters, invariants::Watcher, wire::NodeId};

/// Two nodes that run, seen from outside; the second has joined in the first one's eyes.
fn watched() -> Watcher {
    let mut watcher = Watcher::default();
    for id in 0..3 {
        let name = name(id);
        let folded = std::iter::once(&name).collect();
        watcher.born(id, &name, addr(id), Epoch(10), folded);
    }
    announce(&mut watcher, MemberEventKind::Joined, 1, Status::Alive);
    watcher
}

fn name(id: NodeId) -> NodeName {
    if id == 0 { NodeName::bootstrap() } else { NodeName::numbered(u32::try_from(id).expect("few")) }
}

fn addr(id: NodeId) -> std::net::SocketAddr {
    ([10, 0, 0, u8::try_from(id).expect("few") + 1], 5_000).into()
}

/// An event of node 0 about node 1.
fn announce(watcher: &mut Watcher, kind: MemberEventKind, incarnation: u32, status: Status) {
    let row = MemberRow { member: name(1), epoch: Epoch(10), incarnation, status };
    let event = MemberEvent { kind, row, accuser: Some(name(0)), accusers: 1, new_life: false };
    watcher.announced(5_000_000, 0, &event, &mut Counters::default());
}

/// Node 0 sends a claim about `member`.
fn claim(watcher: &mut Watcher, member: NodeId, epoch: u64, incarnation: u32, status: Status) {
    let accuser = (status > Status::Alive).then(|| name(0));
    let claim = Claim {
        member: name(member),
        addr: addr(member),
        epoch: Epoch(epoch),
        incarnation,
        status,
        accuser,
        link_lost: false,
    };
    let datagram = Datagram { from: name(0), message: Message::Gossip, claims: vec![claim] };
    watcher.said(5_000_000, 0, &datagram, false);
}

fn ping(watcher: &mut Watcher, seq: u32, for_others: bool) {
    let message = Message::Ping { seq, target: Some(name(1)) };
    watcher.said(0, 0, &Datagram { from: name(0), message, claims: Vec::new() }, for_others);
}

/// What the check says of `wrong`.
fn complaint(wrong: impl FnOnce(&mut Watcher)) -> String {
    let mut watcher = watched();
    let panic = catch_unwind(AssertUnwindSafe(|| wrong(&mut watcher))).expect_err("it is wrong");
    panic.downcast_ref::<String>().cloned().unwrap_or_default()
}

#[test]
fn each_invariant_of_membership_can_fail() {
    let said = complaint(|watcher| announce(watcher, MemberEventKind::Refuted, 0, Status::Alive));
    assert!(said.contains("invariant 2"), "{said}");
    let said = complaint(|watcher| {
        announce(watcher, MemberEventKind::Died, 1, Status::Dead);
        announce(watcher, MemberEventKind::CameBack, 1, Status::Alive);
    });
    assert!(said.contains("invariant 3"), "{said}");
    let said = complaint(|watcher| {
        announce(watcher, MemberEventKind::Left, 1, Status::Left);
        announce(watcher, MemberEventKind::Suspected, 1, Status::Suspect);
    });
    assert!(said.contains("invariant 4"), "{said}");
    for (epoch, incarnation) in [(11, 0), (10, 1)] {
        let said = complaint(|watcher| claim(watcher, 2, epoch, incarnation, Status::Alive));
        assert!(said.contains("invariant 5"), "{said}");
    }
    let said = complaint(|watcher| {
        watcher.no_false_deaths = true;
        announce(watcher, MemberEventKind::Died, 1, Status::Dead);
    });
    assert!(said.contains("invariant 8"), "{said}");
}

#[test]
fn who_accuses_must_have_missed_an_answer_to_a_probe_of_its_own() {
    let said = complaint(|watcher| claim(watcher, 1, 10, 0, Status::Suspect));
    assert!(said.contains("invariant 7"), "{said}");
    let answered = complaint(|watcher| {
        ping(watcher, 1, false);
        watcher.heard(1_000, 0, &Datagram { from: name(1), message: Message::Ack { seq: 1 }, claims: Vec::new() });
        claim(watcher, 1, 10, 0, Status::Suspect);
    });
    assert!(answered.contains("invariant 7"), "{answered}");
    let relayed = complaint(|watcher| {
        ping(watcher, 1, true);
        claim(watcher, 1, 10, 0, Status::Suspect);
    });
    assert!(relayed.contains("invariant 7"), "{relayed}");
    let mut watcher = watched();
    ping(&mut watcher, 1, false);
    claim(&mut watcher, 1, 10, 0, Status::Suspect);
}

#[test]
fn a_path_must_have_been_walked_and_a_message_comes_once() {
    let id = MessageId { origin: name(0), epoch: Epoch(10), seq: 1 };
    let deliver = |watcher: &mut Watcher| {
        watcher.paths.delivered(1, (1, 1), &name(1), &id, &[name(0), name(1)]);
    };
    let said = complaint(deliver);
    assert!(said.contains("invariant 16"), "{said}");
    let said = complaint(|watcher| {
        watcher.forwarded(0, 1, &id);
        deliver(watcher);
        deliver(watcher);
    });
    assert!(said.contains("invariant 14"), "{said}");
}
