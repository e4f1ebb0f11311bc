//! Getting a write to the one who is to coordinate it, and its answer back.
//!
//! The coordinator is the first of the key's list that can be reached, so that writes through different nodes meet in one.
//!
//! ```text
//!  contact ──Forward, valid for 500 ms──▶ coordinator ──Coordinating, now and then──▶ contact
//!     │                                                └─Forwarded──▶ answer
//!     └─ nothing for as long as it is valid, or refused ──▶ the next of the list
//! ```
//! A `Forward` says until when it may be begun, by its receiver's own clock, as estimated here to the early side. Only
//! when that has passed without a sign is another one asked: then the first can make no version of it any more, and
//! whatever is acknowledged later cannot be covered by this write's older try. Who was never heard is asked for its clock
//! first. A write that was refused for coming too late, on a slow network, is valid for twice as long the next time.
//!
//! Members may disagree on who is first: a receiver that is not among its own first `n` forwards once more (two hops at
//! most), as long as the write is still valid, and hands back what it hears.

use p2pnet_shared::{
    NodeName,
    ring::Place,
    wire::dht::{Message, Operation, Refusal},
};

use super::{
    Answer, Effect, RequestId, State,
    calls::{Asker, Call, Order},
};
use crate::time::Millis;

/// Hops of a write at most.
const HOPS_MAX: u8 = 2;
/// What is said to be valid for longer than this was meant for another life's clock.
const VALIDITY_MAX: u64 = 60_000;
/// How often a write that came too late is made valid for twice as long: the network is slow.
const LATER_MAX: u8 = 2;
/// By how much a coordinator answers earlier than its asker gives up, so that the answer names the copies.
const EARLIER: Millis = Millis(300);

/// A write on its way to a coordinator.
#[derive(Debug)]
pub(super) struct Forwarding {
    pub(super) order: Order,
    step: Step,
}

#[derive(Debug)]
enum Step {
    /// Nobody can be asked now.
    Parked,
    /// What does its clock say? Since when.
    Clock(NodeName, Millis),
    /// Sent at that time; last sign of it.
    Sent(NodeName, Millis, Millis),
}

impl State {
    /// Begins a write for a user.
    pub(super) fn on_write(&mut self, id: RequestId, operation: Operation, effects: &mut Vec<Effect>) {
        let deadline = self.now + self.config.deadline;
        let order = Self::order(Asker::User(id), operation, deadline, deadline, 0);
        if self.ring.members().len() < self.needed(self.config.w) {
            return self.too_few(&order, effects);
        }
        self.route(order, effects);
    }

    fn order(asker: Asker, operation: Operation, deadline: Millis, valid_until: Millis, hops: u8) -> Order {
        let (Operation::Put { key, .. } | Operation::Delete { key }) = &operation;
        let place = Place::of(key.as_str());
        Order { asker, operation, place, deadline, valid_until, hops, refused: Vec::new(), late: 0, reached: 0 }
    }

    /// Another node wants a write coordinated.
    pub(super) fn on_forward(
        &mut self,
        from: NodeName,
        (call, hops, valid_until): (u64, u8, u64),
        operation: Operation,
        effects: &mut Vec<Effect>,
    ) {
        if !self.peers.is_new(&from, call) {
            return;
        }
        let left = valid_until.checked_sub(self.clock()).filter(|left| *left <= VALIDITY_MAX);
        let (deadline, valid_until) =
            (self.now + (self.config.deadline - EARLIER), self.now + Millis(left.unwrap_or(0)));
        let order = Self::order(Asker::Peer(from, call), operation, deadline, valid_until, hops);
        if left.is_none() || self.calls.is_full() {
            return self.refuse(order, Refusal::Late, effects);
        }
        let arc = self.ring.arc(order.place);
        let is_mine = self.ring.walk(arc).take(self.n()).any(|name| *name == self.me);
        if !is_mine && hops < HOPS_MAX {
            return self.route(order, effects);
        }
        if let Err((order, why)) = self.coordinate(order, effects) {
            self.refuse(order, why, effects);
        }
    }

    /// A write was not begun here: another one may do it.
    pub(super) fn refuse(&mut self, mut order: Order, why: Refusal, effects: &mut Vec<Effect>) {
        if matches!(order.asker, Asker::Peer(..)) {
            return self.answer_write(&order, Answer::Refused { why, reached: order.reached }, effects);
        }
        order.refused.push((self.me.clone(), why));
        self.route(order, effects);
    }

    /// Takes a write to the first of its list that can be reached and has not refused; that may be us.
    fn route(&mut self, mut order: Order, effects: &mut Vec<Effect>) {
        loop {
            let may = |name: &NodeName| {
                let is_up = *name == self.me || self.peers.is_reachable(name, self.now);
                is_up && !order.refused.iter().any(|(other, _)| other == name)
            };
            let next = self.ring.walk(self.ring.arc(order.place)).take(2 * self.n()).find(|name| may(name)).cloned();
            match next {
                Some(name) if name == self.me => match self.coordinate(order, effects) {
                    Ok(()) => return,
                    Err((back, why)) => {
                        order = back;
                        order.refused.push((self.me.clone(), why));
                    }
                },
                Some(name) => return self.forward(order, name, effects),
                None => return self.nobody(order, effects),
            }
        }
    }

    /// Everyone who can be reached has refused, or nobody can be reached: it waits, unless that is its answer.
    fn nobody(&mut self, mut order: Order, effects: &mut Vec<Effect>) {
        let why = order.refused.iter().map(|(_, why)| *why).find(|why| *why != Refusal::Late);
        let is_relay = matches!(order.asker, Asker::Peer(..));
        if let Some(why) = why.or(is_relay.then_some(Refusal::Late)) {
            return self.answer_write(&order, Answer::Refused { why, reached: order.reached }, effects);
        }
        order.refused.clear();
        let number = self.calls.number();
        self.calls.put(number, Call::Forward(Box::new(Forwarding { order, step: Step::Parked })));
    }

    /// How long the next try of a write is valid.
    fn validity(&self, order: &Order) -> Millis {
        Millis(self.config.validity.0 << order.late)
    }

    fn forward(&mut self, order: Order, to: NodeName, effects: &mut Vec<Effect>) {
        let call = self.calls.number();
        let step = match self.peers.clock(&to, self.now) {
            None => {
                self.send(to.clone(), Message::Clock { call }, effects);
                Step::Clock(to, self.now)
            }
            Some(clock) => {
                let left = match order.asker {
                    Asker::User(_) => self.validity(&order),
                    Asker::Peer(..) => order.valid_until - self.now,
                };
                let valid_until = clock.saturating_add(left.0);
                let hops = order.hops + 1;
                let operation = order.operation.clone();
                self.send(to.clone(), Message::Forward { call, hops, valid_until, operation }, effects);
                Step::Sent(to, self.now, self.now)
            }
        };
        self.calls.put(call, Call::Forward(Box::new(Forwarding { order, step })));
    }

    /// Somebody told its clock: what was waiting for that can go.
    pub(super) fn on_clocked(&mut self, call: u64, from: &NodeName, effects: &mut Vec<Effect>) {
        match self.calls.take(call) {
            Some(Call::Forward(forwarding)) if matches!(&forwarding.step, Step::Clock(to, _) if to == from) => {
                let Forwarding { order, step: Step::Clock(to, _) } = *forwarding else { return };
                if self.peers.clock(&to, self.now).is_some() {
                    self.forward(order, to, effects)
                } else {
                    self.route(order, effects)
                }
            }
            Some(other) => self.calls.put(call, other),
            None => {}
        }
    }

    /// The coordinator is at it.
    pub(super) fn on_coordinating(&mut self, call: u64, from: &NodeName, acks: u8, effects: &mut Vec<Effect>) {
        let now = self.now;
        let Some(Call::Forward(forwarding)) = self.calls.get_mut(call) else { return };
        let Step::Sent(to, _, sign) = &mut forwarding.step else { return };
        if to != from {
            return;
        }
        *sign = now;
        forwarding.order.reached = acks;
        if let Asker::Peer(asker, call) = forwarding.order.asker.clone() {
            self.send(asker, Message::Coordinating { call, acks }, effects);
        }
    }

    /// The coordinator is done, or refuses.
    pub(super) fn on_forwarded(
        &mut self,
        call: u64,
        from: &NodeName,
        (acks, refused, found): (u8, Option<Refusal>, bool),
        effects: &mut Vec<Effect>,
    ) {
        let Some(Call::Forward(forwarding)) = self.calls.get(call) else { return };
        if !matches!(&forwarding.step, Step::Sent(to, ..) if to == from) {
            return;
        }
        let Some(Call::Forward(forwarding)) = self.calls.take(call) else { return };
        let Forwarding { mut order, .. } = *forwarding;
        if let Asker::Peer(asker, call) = order.asker {
            return self.send(asker, Message::Forwarded { call, acks, refused, found }, effects);
        }
        order.reached = acks;
        let answer = match refused {
            Some(Refusal::Late) if acks == 0 && order.late < LATER_MAX => {
                order.late += 1;
                return self.route(order, effects);
            }
            Some(why) if acks == 0 => {
                order.refused.push((from.clone(), why));
                return self.route(order, effects);
            }
            Some(why) => Answer::Refused { why, reached: acks },
            None if !found => Answer::Missing,
            None if usize::from(acks) < self.needed(self.config.w) => return self.too_few(&order, effects),
            None if order.is_delete() => Answer::Deleted { acks },
            None => Answer::Stored { acks },
        };
        self.answer_write(&order, answer, effects);
    }

    /// Time has passed for a write on its way.
    pub(super) fn look_at_forwarding(
        &mut self,
        call: u64,
        forwarding: Forwarding,
        is_late: bool,
        effects: &mut Vec<Effect>,
    ) {
        let Forwarding { mut order, step } = forwarding;
        let is_relay = matches!(order.asker, Asker::Peer(..));
        if self.now >= order.deadline {
            return self.too_few(&order, effects);
        }
        let is_over = match &step {
            _ if is_late => false,
            Step::Parked => true,
            Step::Clock(to, since) => {
                let is_over = self.now - *since >= self.config.patience;
                if is_over {
                    self.peers.avoid(to, self.now);
                }
                is_over
            }
            // A little longer than it is valid: its clock may run a little slower than ours.
            Step::Sent(to, at, sign) => {
                let validity = self.validity(&order);
                let is_over = self.now - *sign > validity + Millis(validity.0 / 10);
                if is_over {
                    self.peers.silent(to, *at, self.now);
                    order.refused.push((to.clone(), Refusal::Late));
                }
                is_over
            }
        };
        if !is_over {
            return self.calls.put(call, Call::Forward(Box::new(Forwarding { order, step })));
        }
        if is_relay && (matches!(step, Step::Sent(..)) || self.now > order.valid_until) {
            return self.answer_write(&order, Answer::Refused { why: Refusal::Late, reached: order.reached }, effects);
        }
        self.route(order, effects);
    }

    /// A node that was asked for its clock cannot be reached: another one may be asked at once, as nothing was sent.
    pub(super) fn on_forward_lost(
        &mut self,
        call: u64,
        forwarding: Box<Forwarding>,
        peer: &NodeName,
        effects: &mut Vec<Effect>,
    ) {
        if matches!(&forwarding.step, Step::Clock(to, _) if to == peer) {
            return self.route(forwarding.order, effects);
        }
        self.calls.put(call, Call::Forward(forwarding));
    }
}
