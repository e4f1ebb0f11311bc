//! How news spreads (SWIM §4.1): each claim rides on whatever is sent, the least told first, until it was told often
//! enough; rounds of gossip happen only while there is news.

use std::{collections::BTreeMap, net::SocketAddr};

use p2pnet_shared::wire::membership::{Claim, Datagram, Message, Status};

use super::{Effect, NodeName, State, Timer};
use crate::time::Millis;

/// How often a claim was told, then its age, youngest first.
type Rank = (u32, u64);

/// What is still to be told: one claim per name, the newest. Never holds more than the member table has rows, plus one
/// about ourselves.
#[derive(Debug, Default)]
pub(super) struct News {
    by_rank: BTreeMap<Rank, Claim>,
    rank_of: BTreeMap<NodeName, Rank>,
    pushed: u64,
}

impl News {
    /// Takes up a claim in place of any older one about the same member.
    pub(super) fn push(&mut self, claim: Claim) {
        self.pushed += 1;
        let rank = (0, u64::MAX - self.pushed);
        if let Some(old) = self.rank_of.insert(claim.member.clone(), rank) {
            self.by_rank.remove(&old);
        }
        self.by_rank.insert(rank, claim);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_rank.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        debug_assert_eq!(self.by_rank.len(), self.rank_of.len());
        self.by_rank.len()
    }

    /// The least told claims that fit into `budget` bytes; each counts as told once more, and is gone after `limit`.
    fn take(&mut self, mut budget: usize, limit: u32) -> Vec<Claim> {
        let mut chosen = Vec::new();
        for (rank, claim) in &self.by_rank {
            let size = claim_size(claim);
            if size > budget {
                break;
            }
            budget -= size;
            chosen.push(*rank);
        }
        let mut claims = Vec::with_capacity(chosen.len());
        for rank in chosen {
            let Some(claim) = self.by_rank.remove(&rank) else { continue };
            let told = (rank.0 + 1, rank.1);
            if told.0 < limit {
                self.rank_of.insert(claim.member.clone(), told);
                self.by_rank.insert(told, claim.clone());
            } else {
                self.rank_of.remove(&claim.member);
            }
            claims.push(claim);
        }
        claims
    }
}

impl State {
    /// Sends one datagram. It opens with what the receiver must hear first (what we hold of *it*, if that is anything but
    /// alive; ourselves, if it may not know us), then `first`, then as much news as fits.
    pub(super) fn send(
        &mut self,
        to: SocketAddr,
        name: Option<&NodeName>,
        message: Message,
        first: Vec<Claim>,
        effects: &mut Vec<Effect>,
    ) {
        let held = name.and_then(|name| self.table.get(name));
        let mut claims = Vec::new();
        match held {
            Some(member) if member.status == Status::Alive => {}
            Some(member) => claims.extend([member.claim(), self.my_claim()]),
            None => claims.push(self.my_claim()),
        }
        claims.extend(first);
        let mut budget = self.config.datagram_max_bytes - head_size(&self.me.name, &message);
        claims.retain(|claim| {
            let size = claim_size(claim);
            let fits = size <= budget;
            budget -= if fits { size } else { 0 };
            fits
        });
        let limit = self.retransmits();
        claims.extend(self.news.take(budget, limit));
        self.push_datagram(to, message, claims, effects);
    }

    /// Hands a datagram to the runtime as it is.
    pub(super) fn push_datagram(
        &self,
        to: SocketAddr,
        message: Message,
        claims: Vec<Claim>,
        effects: &mut Vec<Effect>,
    ) {
        let datagram = Datagram { from: self.me.name.clone(), message, claims };
        effects.push(Effect::Send { to, datagram });
    }

    /// Takes up news and sees to it that a round of gossip is on its way.
    pub(super) fn tell(&mut self, now: Millis, claim: Claim, effects: &mut Vec<Effect>) {
        self.news.push(claim);
        self.arm_gossip(now, self.config.gossip_batch, effects);
        self.sync_once_settled(now, effects);
    }

    fn arm_gossip(&mut self, now: Millis, after: Millis, effects: &mut Vec<Effect>) {
        if self.gossip_due.is_none() && self.table.live() > 0 {
            let due = now + self.jitter(after);
            self.gossip_due = Some(due);
            effects.push(Effect::SetTimer { after: due - now, timer: Timer::Gossip { due } });
        }
    }

    pub(super) fn on_gossip_timer(&mut self, now: Millis, due: Millis, effects: &mut Vec<Effect>) {
        if self.gossip_due == Some(due) {
            self.gossip(now, effects);
        }
    }

    /// One round: news to a few of our contacts, and the next round armed if there is any left.
    pub(super) fn gossip(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        self.gossip_due = None;
        self.last_gossip = Some(now);
        for (name, addr) in self.contacts(self.config.gossip_fanout) {
            if self.news.is_empty() {
                return;
            }
            self.send(addr, Some(&name), Message::Gossip, Vec::new(), effects);
        }
        if !self.news.is_empty() {
            self.arm_gossip(now, self.config.gossip_interval, effects);
        }
    }

    /// `claims` cut into as many datagrams' worth as they need.
    pub(super) fn chunks(&self, message: &Message, claims: Vec<Claim>) -> Vec<Vec<Claim>> {
        let budget = self.config.datagram_max_bytes - head_size(&self.me.name, message);
        let mut chunks = Vec::new();
        let (mut chunk, mut used) = (Vec::new(), 0);
        for claim in claims {
            let size = claim_size(&claim);
            if used + size > budget {
                chunks.push(std::mem::take(&mut chunk));
                used = 0;
            }
            used += size;
            chunk.push(claim);
        }
        chunks.push(chunk);
        chunks
    }
}

/// Bytes of a claim on the wire at most: postcard's layout with every number at its longest.
pub(super) fn claim_size(claim: &Claim) -> usize {
    const EPOCH: usize = 10;
    const INCARNATION: usize = 5;
    const STATUS_AND_FLAGS: usize = 3;
    let accuser = claim.accuser.as_ref().map_or(0, name_size);
    name_size(&claim.member) + addr_size(claim.addr) + EPOCH + INCARNATION + STATUS_AND_FLAGS + accuser
}

/// Bytes of a datagram without its claims at most.
pub(super) fn head_size(from: &NodeName, message: &Message) -> usize {
    const KIND_AND_NUMBER: usize = 11;
    const CLAIM_COUNT: usize = 3;
    let rest = match message {
        Message::Ping { target: Some(target), .. } => 1 + name_size(target),
        Message::PingRequest { target, addr, .. } => name_size(target) + addr_size(*addr),
        _ => 1,
    };
    name_size(from) + KIND_AND_NUMBER + CLAIM_COUNT + rest
}

fn name_size(name: &NodeName) -> usize {
    1 + name.as_str().len()
}

fn addr_size(addr: SocketAddr) -> usize {
    const KIND_AND_PORT: usize = 4;
    KIND_AND_PORT + if addr.is_ipv4() { 4 } else { 16 }
}
