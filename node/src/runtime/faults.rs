//! Faults on purpose, in the link layer: so they work the same in containers and in plain processes.
//!
//! ```text
//! POST, DELETE /fault ─▶ Faults ─┬─ datagrams: out, before the socket; in, after decoding (`from` is in the body)
//!                        (watch) ├─ links: stream.rs: dial, greet, each frame read, each frame written
//!                                └─ HTTP between nodes: call.rs before it connects, http.rs by the caller's name
//! ```
//! The cores know nothing of it: a datagram that is lost never existed. A node obeys its own part of a fault: what it
//! sends is lost or delayed by itself, and a cut is kept at both ends, so that it holds even while one end does not know
//! an address by name yet. The gateway's link and HTTP from outside are never touched: whoever watches keeps seeing.
//!
//! What always holds: without a fault nothing here costs more than one look at an empty list.

mod stream;

use std::{cmp::Reverse, collections::BinaryHeap, net::SocketAddr, time::Duration};

use p2pnet_shared::{
    NodeName, UnixMillis,
    api::{FaultRow, FaultsReply},
    fault::{ActiveFault, FAULTS_MAX, Fault, NodeSet},
    telemetry::Report,
    wire::membership::{Datagram, Message as SwimMessage},
};
use rand::{Rng, RngExt};
use tokio::sync::watch;

pub(super) use self::stream::{Pace, arrival, open_both_ways, open_from, travel};
use super::{Node, timers::Wake};
use crate::time::Millis;

/// Datagrams on their delayed way at most; one more is lost and counted, as in a router's queue.
const HELD_MAX: usize = 4_096;
/// What TCP waits before it sends a lost segment again, milliseconds: Linux' least retransmission timeout. It doubles
/// with each loss of the same segment, up to [`RESEND_MAX_MS`].
const RESEND_MS: u64 = 200;
const RESEND_MAX_MS: u64 = 1_600;
/// A segment is lost so often in a row at most; beyond that a simulated stream would seem to be cut.
const RESENDS_MAX: u32 = 8;

/// The faults one node obeys, as its tasks see them.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    me: NodeName,
    active: Vec<ActiveFault>,
}

/// Where tasks read the rules, and learn that they changed.
pub(super) type Watched = watch::Receiver<Rules>;

impl Rules {
    pub(super) fn is_calm(&self) -> bool {
        self.active.is_empty()
    }

    fn towards<'a>(&'a self, peer: Option<&'a NodeName>) -> impl Iterator<Item = &'a Fault> {
        let spares = move |active: &&ActiveFault| peer.is_none_or(|peer| !active.spared.contains(peer));
        self.active.iter().filter(spares).map(|active| &active.fault)
    }

    /// Nothing we send arrives at `peer`.
    pub(super) fn cuts_out(&self, peer: Option<&NodeName>) -> bool {
        self.towards(peer).any(|fault| fault.cuts(Some(&self.me), peer))
    }

    /// Nothing `peer` sends arrives here.
    pub(super) fn cuts_in(&self, peer: Option<&NodeName>) -> bool {
        self.towards(peer).any(|fault| fault.cuts(peer, Some(&self.me)))
    }

    /// Percent of what we send to `peer` that is lost: the worst there is.
    fn loss(&self, peer: Option<&NodeName>) -> u8 {
        self.towards(peer).map(|fault| fault.loss(&self.me, peer)).max().unwrap_or(0)
    }

    /// How long what we send now takes to `peer`: by the longest delay there is.
    fn delay(&self, peer: Option<&NodeName>, rng: &mut impl Rng) -> Duration {
        let (ms, jitter) = self.towards(peer).map(|fault| fault.delay(&self.me, peer)).max().unwrap_or_default();
        let spread = if jitter == 0 { 0 } else { rng.random_range(0..=u64::from(jitter) * 2) };
        Duration::from_millis((u64::from(ms) + spread).saturating_sub(u64::from(jitter)))
    }

    /// Nothing gets through a stream to `peer`: it is cut, or every segment is lost.
    fn stalls_out(&self, peer: &NodeName) -> bool {
        self.cuts_out(Some(peer)) || self.loss(Some(peer)) >= 100
    }

    /// How long a piece of a stream takes to `peer`: TCP loses nothing, it sends again, so loss is more delay.
    fn travel(&self, peer: Option<&NodeName>, rng: &mut impl Rng) -> Duration {
        let loss = self.loss(peer);
        let losses = (0..RESENDS_MAX).take_while(|_| rng.random_range(0..100) < loss).count();
        let resends = (0..losses).map(|again| (RESEND_MS << again).min(RESEND_MAX_MS)).sum();
        self.delay(peer, rng) + Duration::from_millis(resends)
    }
}

/// What is asked of a node's faults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FaultOrder {
    /// What are they?
    List,
    /// Obey this one too.
    Set(Fault),
    /// Obey none.
    Heal,
    /// Obey none towards these.
    Spare(NodeSet),
}

/// Why a fault is not obeyed; nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FaultRefused {
    #[error("this fault has no part for `{0}`; send it to the nodes it names")]
    NotConcerned(NodeName),
    #[error("{FAULTS_MAX} faults at once are the limit; heal with DELETE /fault, then set what you need")]
    TooMany,
}

/// A datagram on its delayed way; ordered by when it is due.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    due: Millis,
    order: u64,
    to: SocketAddr,
    bytes: Vec<u8>,
}

/// The loop's part: the rules, and the datagrams they hold back.
#[derive(Debug)]
pub(super) struct Faults {
    rules: watch::Sender<Rules>,
    healed_at: Option<UnixMillis>,
    held: BinaryHeap<Reverse<Held>>,
    ever_held: u64,
}

impl Faults {
    pub(super) fn none(me: NodeName) -> Self {
        let (rules, _) = watch::channel(Rules { me, active: Vec::new() });
        Self { rules, healed_at: None, held: BinaryHeap::new(), ever_held: 0 }
    }

    pub(super) fn watch(&self) -> Watched {
        self.rules.subscribe()
    }

    pub(super) fn list(&self) -> Vec<ActiveFault> {
        self.rules.borrow().active.clone()
    }

    /// What the gateway is to know of them.
    pub(super) fn report(&self) -> Report {
        Report::Faults { faults: self.list(), healed_at: self.healed_at }
    }

    pub(super) fn count(&self) -> usize {
        self.rules.borrow().active.len()
    }

    fn carry_out(&mut self, order: FaultOrder, now: UnixMillis) -> Result<(), FaultRefused> {
        let rules = self.rules.borrow().clone();
        let Rules { me, mut active } = rules;
        match order {
            FaultOrder::List => return Ok(()),
            FaultOrder::Heal => {
                self.healed_at = (!active.is_empty()).then_some(now).or(self.healed_at);
                active.clear();
            }
            FaultOrder::Spare(peers) => {
                self.healed_at = (!active.is_empty()).then_some(now).or(self.healed_at);
                active.iter_mut().for_each(|active| active.spared = active.spared.with(&peers));
                active.retain(|active| active.fault.has_hold_on(&me, &active.spared));
            }
            FaultOrder::Set(fault) => {
                if !fault.concerns(&me) {
                    return Err(FaultRefused::NotConcerned(me));
                }
                active.retain(|held| !fault.replaces(&held.fault));
                if active.len() >= FAULTS_MAX {
                    return Err(FaultRefused::TooMany);
                }
                active.push(ActiveFault { fault, since: now, spared: NodeSet::default() });
            }
        }
        self.rules.send_replace(Rules { me, active });
        Ok(())
    }

    /// One fault more, for the tests of what obeys it.
    #[cfg(test)]
    pub(super) fn obey(&mut self, fault: Fault) {
        self.carry_out(FaultOrder::Set(fault), UnixMillis(1)).unwrap();
    }

    #[cfg(test)]
    pub(super) fn heal(&mut self) {
        self.carry_out(FaultOrder::Heal, UnixMillis(2)).unwrap();
    }

    fn hold(&mut self, due: Millis, to: SocketAddr, bytes: Vec<u8>) -> bool {
        if self.held.len() >= HELD_MAX {
            return false;
        }
        self.ever_held += 1;
        self.held.push(Reverse(Held { due, order: self.ever_held, to, bytes }));
        true
    }

    fn due(&mut self, now: Millis) -> Option<(SocketAddr, Vec<u8>)> {
        if self.held.peek()?.0.due > now {
            return None;
        }
        self.held.pop().map(|Reverse(held)| (held.to, held.bytes))
    }
}

impl Node {
    /// Carries out an order; whoever watches is told if it changed anything.
    pub(super) fn on_fault(&mut self, order: FaultOrder) -> Result<FaultsReply, FaultRefused> {
        let before = self.faults.list();
        self.faults.carry_out(order, self.clock.wall())?;
        let faults = self.faults.list();
        let rows = faults.iter().cloned().map(FaultRow::from).collect();
        let reply = FaultsReply { node: self.me.name.clone(), faults: rows };
        if faults != before {
            let texts: Vec<&str> = reply.faults.iter().map(|row| row.text.as_str()).collect();
            match texts.is_empty() {
                true => tracing::info!(node = %self.me.name, "healed: no fault any more"),
                false => tracing::info!(node = %self.me.name, "faults on purpose: {}", texts.join(", ")),
            }
            self.readers.tell("fault", &reply);
            self.report(self.faults.report());
        }
        Ok(reply)
    }

    /// Sends a datagram as far as the faults let it. Never waits: what the system has no room for now is lost like any
    /// other datagram.
    pub(super) fn send_datagram(&mut self, to: SocketAddr, datagram: &Datagram) {
        let bytes = self.codec.encode(datagram);
        let fate = if self.faults.rules.borrow().is_calm() {
            Some(Duration::ZERO)
        } else {
            let peer = self.name_of(to, datagram).cloned();
            let (rules, peer) = (self.faults.rules.borrow(), peer.as_ref());
            let lost = rules.cuts_out(peer) || self.rng.random_range(0..100) < rules.loss(peer);
            (!lost).then(|| rules.delay(peer, &mut self.rng))
        };
        match fate {
            Some(Duration::ZERO) => self.put_on_the_wire(to, &bytes),
            Some(delay) => {
                let due = self.clock.now() + Millis(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
                match self.faults.hold(due, to, bytes) {
                    true => self.timers.set(due, Wake::HeldDatagram),
                    false => self.counters.lost_to_faults.add(1),
                }
            }
            None => self.counters.lost_to_faults.add(1),
        }
    }

    /// Sends what was held back long enough.
    pub(super) fn send_held(&mut self) {
        while let Some((to, bytes)) = self.faults.due(self.clock.now()) {
            self.put_on_the_wire(to, &bytes);
        }
    }

    fn put_on_the_wire(&self, to: SocketAddr, bytes: &[u8]) {
        match self.udp.try_send_to(bytes, to) {
            Ok(_) => {
                self.counters.datagrams_out.add(1);
                self.counters.datagram_bytes_out.add(bytes.len());
            }
            Err(_) => self.counters.datagrams_dropped.add(1),
        }
    }

    /// Whose address that is, as far as we know: the one meant, or the member listening there.
    fn name_of<'a>(&'a self, addr: SocketAddr, datagram: &'a Datagram) -> Option<&'a NodeName> {
        match &datagram.message {
            SwimMessage::Ping { target: Some(target), .. } => Some(target),
            _ => self.membership.members().find(|member| member.addr == addr).map(|member| &member.name),
        }
    }

    /// Whether a datagram that arrived did not really arrive.
    pub(super) fn never_arrived(&self, from: &NodeName) -> bool {
        let lost = self.faults.rules.borrow().cuts_in(Some(from));
        if lost {
            self.counters.lost_to_faults.add(1);
        }
        lost
    }
}

#[cfg(test)]
mod tests;
