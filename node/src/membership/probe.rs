//! Asking members whether they are there (SWIM §3.1, §4.3), and doubting ourselves first (Lifeguard §IV-A).
//!
//! ```text
//!   0 ms      ping ──────────────▶ member          every second, the next in turn (contacts.rs)
//! 200 ms      ping request ──────▶ 3 helpers ──ping──▶ member          no answer within the patience of timeout.rs
//! 350 ms      ◀── nack ─────────── helper                              "not to me either, and I am well"
//!   1 s       accuse                                                   no answer at all
//! ```
//! A lost TCP link starts the same at once, with the verdict after twice the timeout.
//!
//! Health rises when an answer that should have come did not, with helpers that sent no nack, with accusations of
//! ourselves and with our own stalls; each answered probe lowers it. It stretches every interval and timeout here.
//! A timer that fires much too late proves only that we were asleep: the probe it was to judge is inconclusive, and so is
//! one during much of which we slept ([`Stalls`]).

use std::net::SocketAddr;

use p2pnet_shared::{
    Epoch,
    wire::membership::{Message, Status},
};
use rand::{RngExt, seq::SliceRandom};

use super::{Effect, NodeName, State, Timer};
use crate::time::Millis;

/// Who was never answered often enough stops waiting for it after so many warm-ups.
const WARM_UPS: u64 = 3;

/// A question that waits for its answer, by sequence number.
#[derive(Debug)]
pub(super) enum Awaited {
    /// One of our own probes.
    Probe(Probe),
    /// A ping sent on somebody's behalf.
    Relay {
        /// Who asked.
        requester: SocketAddr,
        /// Its sequence number.
        seq: u32,
        /// Whom we pinged.
        target: NodeName,
        /// The requester was told that there is no answer; one that still comes is passed on.
        nacked: bool,
    },
    /// A ping to an address whose owner we do not know, or hold dead.
    Contact {
        /// Where to.
        addr: SocketAddr,
    },
}

/// A probe under way.
#[derive(Debug)]
pub(super) struct Probe {
    target: NodeName,
    epoch: Epoch,
    incarnation: u32,
    /// Why: its turn, or its link to us was lost.
    link_lost: bool,
    sent: Millis,
    /// How long we had been asleep in all when it was sent.
    slept: Millis,
    helpers: Vec<NodeName>,
    nacks: usize,
}

/// How long we were asleep: the time that timers of ours had to wait, where that was longer than a moment. Timers that
/// waited through the same sleep count once.
#[derive(Debug, Default)]
pub(super) struct Stalls {
    total: Millis,
    until: Millis,
}

impl Stalls {
    /// A timer that was due at `due` fires now.
    pub(super) fn fired(&mut self, now: Millis, due: Millis, moment: Millis) {
        if now - due > moment {
            self.total = self.total + (now - due.max(self.until));
            self.until = now;
        }
    }

    /// Milliseconds slept in all.
    pub(super) fn total(&self) -> Millis {
        self.total
    }

    /// Whether we slept through so much of the time since `began` (when `before` was the total) that what should have
    /// happened in it proves nothing: more than a moment and more than a quarter.
    pub(super) fn spoilt(&self, now: Millis, began: Millis, before: Millis, moment: Millis) -> bool {
        let slept = self.total - before;
        slept > moment && 4 * slept.0 > (now - began).0
    }
}

impl State {
    /// The next member has its turn.
    pub(super) fn on_probe_timer(&mut self, now: Millis, due: Millis, effects: &mut Vec<Effect>) {
        if self.probe_due != due {
            return;
        }
        self.arm_probe(now, effects);
        if let Some(target) = self.next_to_probe() {
            self.probe(now, &target, false, effects);
        }
        if self.may_accuse(now) {
            for (peer, epoch) in std::mem::take(&mut self.links_lost) {
                self.on_link_lost(now, peer, epoch, effects);
            }
        }
    }

    pub(super) fn arm_probe(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        let after = self.jitter(self.stretched(self.config.probe_interval));
        self.probe_due = now + after;
        effects.push(Effect::SetTimer { after, timer: Timer::Probe { due: self.probe_due } });
    }

    /// The TCP link to a member broke: probe it now. What we may not judge yet is kept until we may.
    pub(super) fn on_link_lost(&mut self, now: Millis, peer: NodeName, epoch: Epoch, effects: &mut Vec<Effect>) {
        let Some(member) = self.table.get(&peer) else { return };
        if !member.status.is_live() || member.epoch != epoch {
            return;
        }
        if !self.may_accuse(now) {
            self.links_lost.insert(peer, epoch);
            return;
        }
        let under_way = |awaited: &Awaited| matches!(awaited, Awaited::Probe(p) if p.link_lost && p.target == peer);
        if !self.awaited.values().any(under_way) {
            self.probe(now, &peer, true, effects);
        }
    }

    fn probe(&mut self, now: Millis, target: &NodeName, link_lost: bool, effects: &mut Vec<Effect>) {
        let Some(member) = self.table.get(target) else { return };
        let (addr, epoch, incarnation) = (member.addr, member.epoch, member.incarnation);
        let (sent, slept) = (now, self.stalls.total());
        let target = target.clone();
        let (helpers, nacks) = (Vec::new(), 0);
        let probe = Probe { target: target.clone(), epoch, incarnation, link_lost, sent, slept, helpers, nacks };
        let seq = self.await_answer(Awaited::Probe(probe));
        self.send(addr, Some(&target), Message::Ping { seq, target: Some(target.clone()) }, Vec::new(), effects);
        let timeout = self.jitter(self.patience());
        let timer = Timer::ProbeTimeout { seq, due: now + timeout };
        effects.push(Effect::SetTimer { after: timeout, timer });
        let whole = if link_lost { Millis(2 * timeout.0) } else { self.stretched(self.config.probe_interval) };
        let timer = Timer::ProbeDeadline { seq, due: now + whole };
        effects.push(Effect::SetTimer { after: whole, timer });
    }

    /// The direct answer did not come: ask helpers.
    pub(super) fn on_probe_timeout(&mut self, now: Millis, seq: u32, due: Millis, effects: &mut Vec<Effect>) {
        let Some(Awaited::Probe(probe)) = self.awaited.get(&seq) else { return };
        if self.slept_through(now, due, probe) {
            return self.on_inconclusive(now, seq, effects);
        }
        let target = probe.target.clone();
        let Some(member) = self.table.get(&target) else { return };
        let about = member.claim();
        let helpers = self.helpers(now, &target);
        for (helper, addr) in &helpers {
            let message = Message::PingRequest { seq, target: target.clone(), addr: about.addr };
            self.send(*addr, Some(helper), message, vec![about.clone()], effects);
        }
        if let Some(Awaited::Probe(probe)) = self.awaited.get_mut(&seq) {
            probe.helpers = helpers.into_iter().map(|(name, _)| name).collect();
        }
    }

    /// Who is to ask `target` for us: most of them such as have just answered quickly, one of them anybody.
    fn helpers(&mut self, now: Millis, target: &NodeName) -> Vec<(NodeName, SocketAddr)> {
        let asked = self.config.indirect_probes;
        let mut quick = self.round_trips.quick(now - self.config.quick_kept);
        quick.shuffle(&mut self.rng);
        // More than are missing: some of them may be among the quick already.
        let anybody = self.contacts(2 * asked);
        let well = |name: &NodeName| {
            self.table.get(name).filter(|m| m.status == Status::Alive && m.name != *target).map(|m| m.addr)
        };
        let mut helpers: Vec<(NodeName, SocketAddr)> =
            quick.into_iter().filter_map(|name| well(&name).map(|addr| (name, addr))).collect();
        helpers.truncate(asked.saturating_sub(1));
        for (name, addr) in anybody {
            if helpers.len() < asked && well(&name).is_some() && helpers.iter().all(|(held, _)| *held != name) {
                helpers.push((name, addr));
            }
        }
        helpers
    }

    /// The probe's time is over and nobody answered.
    pub(super) fn on_probe_deadline(&mut self, now: Millis, seq: u32, due: Millis, effects: &mut Vec<Effect>) {
        let Some(Awaited::Probe(probe)) = self.awaited.get(&seq) else { return };
        if self.slept_through(now, due, probe) {
            return self.on_inconclusive(now, seq, effects);
        }
        let Some(Awaited::Probe(probe)) = self.awaited.remove(&seq) else { return };
        // A helper that has fallen under suspicion itself says nothing about us by its silence; Lifeguard counts it.
        let well = |helper: &&NodeName| self.table.get(helper).is_some_and(|member| member.status == Status::Alive);
        match probe.helpers.iter().filter(well).count() {
            0 => self.worsen_health(1),
            asked => self.worsen_health(asked.saturating_sub(probe.nacks)),
        }
        // Somebody else may have been quicker, or the member has spoken up since.
        let current = self
            .table
            .get(&probe.target)
            .is_some_and(|member| (member.epoch, member.incarnation) == (probe.epoch, probe.incarnation));
        let accused = current && self.may_accuse(now) && self.accuse(now, &probe.target, probe.link_lost, effects);
        if current && !accused && probe.link_lost {
            self.links_lost.insert(probe.target, probe.epoch);
        }
    }

    fn slept_through(&self, now: Millis, due: Millis, probe: &Probe) -> bool {
        let moment = self.config.stall;
        now - due > moment || self.stalls.spoilt(now, probe.sent, probe.slept, moment)
    }

    /// We were asleep. A lost link is asked after again, the member whose turn it was will have another.
    fn on_inconclusive(&mut self, now: Millis, seq: u32, effects: &mut Vec<Effect>) {
        let Some(Awaited::Probe(probe)) = self.awaited.remove(&seq) else { return };
        self.worsen_health(1);
        if probe.link_lost {
            self.on_link_lost(now, probe.target, probe.epoch, effects);
        }
    }

    pub(super) fn on_ping(
        &mut self,
        from: SocketAddr,
        name: &NodeName,
        seq: u32,
        target: Option<&NodeName>,
        effects: &mut Vec<Effect>,
    ) {
        if target.is_none_or(|target| *target == self.me.name) {
            let first = if target.is_none() { vec![self.my_claim()] } else { Vec::new() };
            self.send(from, Some(name), Message::Ack { seq }, first, effects);
        }
    }

    pub(super) fn on_ack(
        &mut self,
        now: Millis,
        from: SocketAddr,
        name: &NodeName,
        seq: u32,
        effects: &mut Vec<Effect>,
    ) {
        let expected = match self.awaited.get(&seq) {
            Some(Awaited::Probe(probe)) => probe.target == *name || probe.helpers.contains(name),
            Some(Awaited::Relay { target, .. }) => target == name,
            Some(Awaited::Contact { .. }) => true,
            None => false,
        };
        if !expected {
            return;
        }
        match self.awaited.remove(&seq) {
            Some(Awaited::Probe(probe)) => {
                self.health = self.health.saturating_sub(1);
                self.answers = self.answers.saturating_add(1);
                if probe.target == *name {
                    self.round_trips.heard(now, name, now - probe.sent);
                }
            }
            Some(Awaited::Relay { requester, seq, .. }) => {
                self.send(requester, None, Message::Ack { seq }, Vec::new(), effects);
            }
            Some(Awaited::Contact { addr }) => self.on_contact_answered(now, addr, from, name, effects),
            None => {}
        }
    }

    /// Somebody cannot reach `target` and asks us to try. We try the address *we* hold, so that nobody can aim us.
    pub(super) fn on_ping_request(&mut self, from: SocketAddr, seq: u32, target: &NodeName, effects: &mut Vec<Effect>) {
        let relays = self.awaited.values().filter(|awaited| matches!(awaited, Awaited::Relay { .. })).count();
        let Some(addr) = self.table.get(target).map(|member| member.addr) else { return };
        if relays >= self.config.relays_max {
            return;
        }
        let relay = Awaited::Relay { requester: from, seq, target: target.clone(), nacked: false };
        let relay_seq = self.await_answer(relay);
        let message = Message::Ping { seq: relay_seq, target: Some(target.clone()) };
        self.send(addr, Some(target), message, Vec::new(), effects);
        // Before the most impatient requester's patience ends, or the nack is worth nothing.
        let after = Millis(self.config.probe_timeout_min.0 * 3 / 4);
        effects.push(Effect::SetTimer { after, timer: Timer::RelayTimeout { seq: relay_seq } });
    }

    /// Says nack, and after another while forgets the request.
    pub(super) fn on_relay_timeout(&mut self, seq: u32, effects: &mut Vec<Effect>) {
        let Some(Awaited::Relay { requester, seq: asked, nacked, .. }) = self.awaited.get_mut(&seq) else { return };
        if std::mem::replace(nacked, true) {
            self.awaited.remove(&seq);
            return;
        }
        let (requester, nack) = (*requester, Message::Nack { seq: *asked });
        self.send(requester, None, nack, Vec::new(), effects);
        let after = self.config.probe_interval;
        effects.push(Effect::SetTimer { after, timer: Timer::RelayTimeout { seq } });
    }

    pub(super) fn on_nack(&mut self, name: &NodeName, seq: u32) {
        if let Some(Awaited::Probe(probe)) = self.awaited.get_mut(&seq)
            && probe.helpers.contains(name)
        {
            probe.nacks += 1;
        }
    }

    /// Keeps a question until its answer or its timer, and returns its number.
    pub(super) fn await_answer(&mut self, awaited: Awaited) -> u32 {
        self.next_seq = self.next_seq.wrapping_add(1);
        self.awaited.insert(self.next_seq, awaited);
        self.next_seq
    }

    /// Whether our word against others counts yet: warmed up, and not the likely odd one out.
    pub(super) fn may_accuse(&self, now: Millis) -> bool {
        let age = now - self.started;
        let answered = self.answers >= self.config.warm_up_answers || age >= Millis(WARM_UPS * self.config.warm_up.0);
        age >= self.config.warm_up && answered && now >= self.frozen_until
    }

    /// Whether we have heard nothing from anybody for so long that it is rather us who cannot hear.
    pub(super) fn is_deaf(&self, now: Millis) -> bool {
        now - self.last_heard > self.config.deaf_after
    }

    pub(super) fn worsen_health(&mut self, by: usize) {
        let by = u8::try_from(by).unwrap_or(u8::MAX);
        self.health = self.health.saturating_add(by).min(self.config.health_max);
    }

    /// How long a direct answer may take: what the others' answers took, the longer the worse we are.
    pub(super) fn patience(&self) -> Millis {
        self.stretched(self.round_trips.patience(&self.config))
    }

    fn stretched(&self, time: Millis) -> Millis {
        Millis(time.0 * (u64::from(self.health) + 1))
    }

    /// `time` ± 10 %, so that what started together does not stay together.
    pub(super) fn jitter(&mut self, time: Millis) -> Millis {
        let tenth = time.0 / 10;
        Millis(time.0 - tenth + self.rng.random_range(0..=2 * tenth))
    }
}
