//! What happens to a datagram between two nodes: how long it takes, and whether it arrives.
//!
//! A wire has its everyday conditions and, for a while each, rules on top: the faults of `schedule.rs`. Every rule ends by
//! itself. Links over it are in `links.rs`.

use std::collections::BTreeSet;

use rand::{RngExt, rngs::SmallRng};

use crate::counters::Counters;

/// Number of a node in the simulation.
pub(crate) type NodeId = usize;

/// IP and UDP headers, bytes.
pub(crate) const HEADERS_BYTES: usize = 28;
/// How long TCP waits before it sends a lost segment again, the first time; it doubles.
const RETRANSMIT_US: u64 = 200_000;
/// At most. (A kernel waits longer, but hears of the end of the trouble from other segments.)
const RETRANSMIT_MAX_US: u64 = 1_600_000;
/// How much later than its turn a reordered datagram comes, at most.
const REORDER_US: u64 = 200_000;

/// How the wire treats what is sent on an ordinary day.
#[derive(Debug, Clone)]
pub(crate) struct Conditions {
    /// One way, microseconds, uniformly.
    pub(crate) latency_us: std::ops::RangeInclusive<u64>,
    /// Share of datagrams lost.
    pub(crate) loss: f64,
    /// Share of datagrams that arrive twice.
    pub(crate) duplication: f64,
}

impl Default for Conditions {
    fn default() -> Self {
        // One machine: a fast wire, and a run queue now and then.
        Self { latency_us: 1_000..=3_000, loss: 0.0, duplication: 0.0 }
    }
}

/// Something wrong with the wire for a while.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Rule {
    /// This share of datagrams is lost, and of segments sent again.
    Loss(f64),
    /// Everything takes up to so many microseconds longer.
    Delay(u64),
    /// This share of datagrams arrives twice.
    Duplication(f64),
    /// This share of datagrams is held back for up to [`REORDER_US`].
    Reordering(f64),
    /// Nothing passes between these and the others.
    Cut(BTreeSet<NodeId>),
    /// The others do not hear these, these hear the others.
    Mute(BTreeSet<NodeId>),
    /// The first reaches, and is reached by, nobody but the second.
    OnlyPeer(NodeId, NodeId),
    /// Packets of more bytes, IP header included, do not pass.
    Mtu(usize),
    /// Frames, not datagrams, take up to so many microseconds longer.
    SlowTcp(u64),
}

/// The wire.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    pub(crate) conditions: Conditions,
    /// With the microsecond at which each ends.
    rules: Vec<(u64, Rule)>,
}

impl Wire {
    /// One way, microseconds.
    pub(crate) fn latency(&self, rng: &mut SmallRng) -> u64 {
        rng.random_range(self.conditions.latency_us.clone())
    }

    pub(crate) fn impose(&mut self, until: u64, rule: Rule) {
        self.rules.push((until, rule));
    }

    /// Ends the rules that are over; to be called as time goes on.
    pub(crate) fn expire(&mut self, now: u64) {
        if !self.rules.is_empty() {
            self.rules.retain(|(until, _)| *until > now);
        }
    }

    /// Ends every rule now, and every everyday trouble.
    pub(crate) fn heal(&mut self) {
        self.rules.clear();
    }

    /// When each copy of a datagram of `bytes()` arrives, in microseconds from now: none, one or two.
    pub(crate) fn copies(
        &self,
        from: NodeId,
        to: NodeId,
        bytes: impl FnOnce() -> usize,
        counters: &mut Counters,
        rng: &mut SmallRng,
    ) -> [Option<u64>; 2] {
        counters.datagrams += 1;
        let (mut loss, mut duplication) = (self.conditions.loss, self.conditions.duplication);
        let (mut delay, mut reordering, mut mtu) = (0, 0.0_f64, usize::MAX);
        for (_, rule) in &self.rules {
            match rule {
                Rule::Loss(share) => loss = loss.max(*share),
                Rule::Delay(us) => delay += us,
                Rule::Duplication(share) => duplication = duplication.max(*share),
                Rule::Reordering(share) => reordering = reordering.max(*share),
                Rule::Mtu(limit) => mtu = mtu.min(*limit),
                rule if blocks(rule, from, to) => {
                    counters.cut += 1;
                    return [None; 2];
                }
                _ => {}
            }
        }
        if mtu < usize::MAX && bytes() + HEADERS_BYTES > mtu {
            counters.oversized += 1;
            return [None; 2];
        }
        if loss > 0.0 && rng.random_bool(loss) {
            counters.lost += 1;
            return [None; 2];
        }
        let mut one = || {
            let mut after = self.latency(rng);
            if delay > 0 {
                counters.delayed += 1;
                after += rng.random_range(0..=delay);
            }
            if reordering > 0.0 && rng.random_bool(reordering) {
                counters.reordered += 1;
                after += rng.random_range(0..=REORDER_US);
            }
            after
        };
        let first = one();
        let second = (duplication > 0.0).then(one);
        let twice = second.is_some() && rng.random_bool(duplication);
        counters.duplicated += u64::from(twice);
        [Some(first), second.filter(|_| twice)]
    }

    /// Whether no cut keeps `to` from hearing `from`.
    pub(crate) fn reaches(&self, from: NodeId, to: NodeId) -> bool {
        !self.rules.iter().any(|(_, rule)| blocks(rule, from, to))
    }

    /// Whether both hear one another, which is what a TCP link needs.
    pub(crate) fn connects(&self, a: NodeId, b: NodeId) -> bool {
        self.reaches(a, b) && self.reaches(b, a)
    }

    /// What TCP makes of the wire's troubles: how long a frame takes.
    pub(crate) fn frame_latency(&self, counters: &mut Counters, rng: &mut SmallRng) -> u64 {
        let mut loss = self.conditions.loss;
        let mut after = self.latency(rng);
        for (_, rule) in &self.rules {
            match rule {
                Rule::Loss(share) => loss = loss.max(*share),
                Rule::Delay(us) | Rule::SlowTcp(us) => {
                    counters.delayed += 1;
                    after += rng.random_range(0..=*us);
                }
                _ => {}
            }
        }
        let mut wait = RETRANSMIT_US;
        while loss > 0.0 && rng.random_bool(loss) {
            counters.retransmitted += 1;
            after += wait;
            wait = (2 * wait).min(RETRANSMIT_MAX_US);
        }
        after
    }
}

fn blocks(rule: &Rule, from: NodeId, to: NodeId) -> bool {
    match rule {
        Rule::Cut(side) => side.contains(&from) != side.contains(&to),
        Rule::Mute(side) => side.contains(&from) && !side.contains(&to),
        Rule::OnlyPeer(node, peer) => (from == *node && to != *peer) || (to == *node && from != *peer),
        _ => false,
    }
}
