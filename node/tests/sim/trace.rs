//! What was really said and heard, against which every claim in every datagram is held (invariants 1, 5 and 7).

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
};

use p2pnet_shared::{
    Epoch,
    telemetry::MemberEvent,
    wire::membership::{Claim, Datagram, Message, Status},
};

use crate::{invariants::number, wire::NodeId};

/// No probe is given up sooner, microseconds: below the smallest timeout there is.
const SHORTEST_PROBE_US: u64 = 190_000;
/// Unanswered probes are remembered for so long: the longest that anybody takes to judge one.
const PROBE_KEPT_US: u64 = 180_000_000;

/// One life of a name, as it was led.
#[derive(Debug)]
struct Life {
    addr: SocketAddr,
    incarnation: u32,
    left: bool,
}

/// Who accused whom in which life and incarnation.
type Accusation = (NodeId, NodeId, Epoch, u32);

/// The truth about lives, probes and answers.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    lives: HashMap<(NodeId, Epoch), Life>,
    /// Of each node, by sequence number: whom it asked and when, and has no answer from.
    probes: HashMap<NodeId, HashMap<u32, (NodeId, u64)>>,
    accusations: HashSet<Accusation>,
}

impl Trace {
    pub(crate) fn born(&mut self, id: NodeId, addr: SocketAddr, epoch: Epoch) {
        self.probes.insert(id, HashMap::new());
        let before = self.lives.insert((id, epoch), Life { addr, incarnation: 0, left: false });
        assert!(before.is_none(), "two lives of node {id} with one epoch");
    }

    pub(crate) fn leaves(&mut self, id: NodeId, epoch: Epoch) {
        if let Some(life) = self.lives.get_mut(&(id, epoch)) {
            life.left = true;
        }
    }

    /// How many different accusations there were so far.
    pub(crate) fn accusations(&self) -> u64 {
        self.accusations.len() as u64
    }

    pub(crate) fn heard(&mut self, id: NodeId, datagram: &Datagram) {
        if let Message::Ack { seq } = datagram.message
            && let Some(probes) = self.probes.get_mut(&id)
        {
            probes.remove(&seq);
        }
    }

    pub(crate) fn said(&mut self, clock: u64, id: NodeId, datagram: &Datagram, for_others: bool) {
        assert_eq!(number(&datagram.from), id, "nobody speaks in another's name");
        for claim in &datagram.claims {
            self.hold_against_the_truth(clock, id, claim);
        }
        if let Message::Ping { seq, target: Some(target) } = &datagram.message
            && !for_others
            && let Some(probes) = self.probes.get_mut(&id)
        {
            probes.retain(|_, (_, at)| clock - *at < PROBE_KEPT_US);
            probes.insert(*seq, (number(target), clock));
        }
    }

    fn hold_against_the_truth(&mut self, clock: u64, id: NodeId, claim: &Claim) {
        let member = number(&claim.member);
        let Some(life) = self.lives.get_mut(&(member, claim.epoch)) else {
            panic!("invariant 5: node {id} claims a life that was not led: {claim:?}");
        };
        assert_eq!(claim.addr, life.addr, "invariant 5: one address a life: {claim:?} says node {id}");
        if member == id {
            assert!(claim.incarnation >= life.incarnation, "invariant 1: node {id} falls back: {claim:?}");
            let gone = matches!(claim.status, Status::Suspect | Status::Dead);
            assert!(!gone, "invariant 1: node {id} holds itself dead: {claim:?}");
            life.incarnation = claim.incarnation;
        }
        let own = life.incarnation;
        assert!(claim.incarnation <= own, "invariant 5: {claim:?}, but the member itself is at {own}");
        assert!(claim.status != Status::Left || life.left, "node {id} says that a node left which did not: {claim:?}");
        if matches!(claim.status, Status::Suspect | Status::Dead) {
            let accuser = claim.accuser.as_ref().map(number);
            self.accused(clock, id, accuser, (member, claim.epoch, claim.incarnation));
        }
    }

    pub(crate) fn suspected(&mut self, clock: u64, id: NodeId, member: NodeId, event: &MemberEvent) {
        let accuser = event.accuser.as_ref().map(number);
        self.accused(clock, id, accuser, (member, event.row.epoch, event.row.incarnation));
    }

    /// `id` says that `accuser` accuses a member. If it is itself the accuser, it must have missed an answer; otherwise
    /// the accuser must have accused.
    fn accused(&mut self, clock: u64, id: NodeId, accuser: Option<NodeId>, whom: (NodeId, Epoch, u32)) {
        let Some(accuser) = accuser else { panic!("invariant 7: node {id} names no accuser of {whom:?}") };
        let accusation = (accuser, whom.0, whom.1, whom.2);
        if self.accusations.contains(&accusation) {
            return;
        }
        assert_eq!(accuser, id, "invariant 7: node {id} says that {accuser} accuses {whom:?}, who never did");
        let missed = self.probes.get(&id).is_some_and(|probes| {
            probes.values().any(|(target, at)| *target == whom.0 && clock - at >= SHORTEST_PROBE_US)
        });
        assert!(missed, "invariant 7: node {id} accuses {whom:?} and has missed no answer of it");
        self.accusations.insert(accusation);
    }
}
