//! Meeting: the first contact with an address, the comparison of full states, and never giving anybody up.
//!
//! ```text
//! newcomer ── Ping, to whom it may concern ──▶ seed        again with backoff until somebody answers
//!          ◀── Ack, and who I am ─────────────
//!          ── Sync: hash of what I hold ─────▶             the same as everybody does every 15 s
//!          ◀── State, State, State (reply) ───             only if the hashes differ
//!          ── State ─────────────────────────▶             both hold the union now, and gossip what was new
//! ```
//! Gossip alone misses somebody in 3 of 200 runs at 30 % loss (measured in a simulation of it), so this is part of being
//! right. One of the dead and the seeds is contacted every 10 s for as long as we live: that heals any partition.

use std::net::SocketAddr;

use p2pnet_shared::wire::membership::{Claim, Message, Status};
use rand::seq::IteratorRandom;

use super::{Awaited, Config, Effect, NodeName, State, Timer};
use crate::time::Millis;

/// Retries of a contact that never answered, while others do; then it waits for its turn among the seeds.
const CONTACT_RETRIES: u32 = 6;

/// An address to come back to.
#[derive(Debug)]
pub(super) struct Seed {
    /// Who answered there last.
    owner: Option<NodeName>,
    /// Contacts since the last answer.
    tries: u32,
    /// When the next retry is due; a timer for any other instant is stale.
    due: Option<Millis>,
    /// The question under way.
    seq: Option<u32>,
}

impl State {
    /// An address was heard of. It is kept, and contacted unless one of the living is known to be there.
    pub(super) fn on_contact(&mut self, now: Millis, addr: SocketAddr, effects: &mut Vec<Effect>) {
        if addr == self.me.addr || addr.port() == 0 || addr.ip().is_unspecified() || addr.ip().is_multicast() {
            return;
        }
        let seed = self.seeds.get(&addr);
        let under_way = seed.is_some_and(|seed| seed.due.is_some());
        if under_way || (seed.is_none() && self.seeds.len() >= self.config.seeds_max) {
            return;
        }
        self.contact(now, addr, effects);
    }

    /// Asks an address who is there, and comes back to it later if nobody answers.
    fn contact(&mut self, now: Millis, addr: SocketAddr, effects: &mut Vec<Effect>) {
        let seed = self.seeds.entry(addr).or_insert(Seed { owner: None, tries: 0, due: None, seq: None });
        let owned = seed.owner.as_ref().and_then(|owner| self.table.get(owner));
        if owned.is_some_and(|member| member.status.is_live() && member.addr == addr) {
            return;
        }
        seed.tries += 1;
        let wait = Millis(self.config.contact_retry.0 << (seed.tries - 1).min(16)).min(self.config.reach_out_interval);
        let asked_before = seed.seq.take();
        let retry = seed.tries <= CONTACT_RETRIES || self.table.live() == 0;
        if let Some(seq) = asked_before {
            self.awaited.remove(&seq);
        }
        let seq = self.await_answer(Awaited::Contact { addr });
        let wait = self.jitter(wait);
        if let Some(seed) = self.seeds.get_mut(&addr) {
            seed.seq = Some(seq);
            seed.due = retry.then_some(now + wait);
            if let Some(due) = seed.due {
                effects.push(Effect::SetTimer { after: wait, timer: Timer::Contact { addr, due } });
            }
        }
        self.send(addr, None, Message::Ping { seq, target: None }, Vec::new(), effects);
    }

    pub(super) fn on_contact_timer(&mut self, now: Millis, addr: SocketAddr, due: Millis, effects: &mut Vec<Effect>) {
        let Some(seed) = self.seeds.get_mut(&addr) else { return };
        if seed.due == Some(due) {
            seed.due = None;
            self.contact(now, addr, effects);
        }
    }

    /// Somebody is there: compare states with it.
    pub(super) fn on_contact_answered(
        &mut self,
        now: Millis,
        addr: SocketAddr,
        from: SocketAddr,
        name: &NodeName,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(seed) = self.seeds.get_mut(&addr) {
            let answered = Seed { owner: Some(name.clone()), tries: 0, due: None, seq: None };
            let asked = std::mem::replace(seed, answered).seq;
            asked.and_then(|seq| self.awaited.remove(&seq));
        }
        self.sync_with(from, name, effects);
        self.sync_soon(now, effects);
    }

    fn sync_with(&mut self, to: SocketAddr, name: &NodeName, effects: &mut Vec<Effect>) {
        let state_hash = self.state_hash();
        let me = self.my_claim();
        self.send(to, Some(name), Message::Sync { state_hash }, vec![me], effects);
    }

    /// Time to compare with a random member. The wait doubles from 1 s up to the configured one.
    pub(super) fn on_sync_timer(&mut self, now: Millis, due: Millis, effects: &mut Vec<Effect>) {
        if self.sync_due != due {
            return;
        }
        if now - self.news_at < self.config.settle && now < self.sync_latest {
            return self.arm_early_sync(now, effects); // what we would find is still under way
        }
        let partner =
            if now < self.sync_latest { self.contacts(1) } else { self.table.pick(1, &mut self.rng, |_| true) };
        let longest = Config::scaled(self.config.sync_interval, self.table.live() + 1);
        self.sync_wait = Millis(self.sync_wait.0 * 2).min(longest);
        self.arm_sync(now, effects);
        if let Some((name, addr)) = partner.into_iter().next() {
            self.sync_with(addr, &name, effects);
        }
    }

    pub(super) fn arm_sync(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        let after = self.jitter(self.sync_wait);
        self.sync_due = now + after;
        self.sync_latest = self.sync_due;
        effects.push(Effect::SetTimer { after, timer: Timer::Sync { due: self.sync_due } });
    }

    /// There is news: once it has settled, whoever it missed should find out, and not only at the next regular comparison.
    pub(super) fn sync_once_settled(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        self.news_at = now;
        if now + Millis(3 * self.config.settle.0) < self.sync_due {
            self.arm_early_sync(now, effects);
        }
    }

    fn arm_early_sync(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        let settled = now + self.jitter(Millis(2 * self.config.settle.0));
        self.sync_due = settled.min(self.sync_latest);
        let timer = Timer::Sync { due: self.sync_due };
        effects.push(Effect::SetTimer { after: self.sync_due - now, timer });
    }

    /// Much has just changed (we joined, or met somebody again): compare often for a while.
    fn sync_soon(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        self.sync_wait = Millis(1_000).min(self.config.sync_interval);
        self.arm_sync(now, effects);
    }

    pub(super) fn on_sync(&mut self, now: Millis, from: SocketAddr, state_hash: u64, effects: &mut Vec<Effect>) {
        if state_hash != self.state_hash() {
            self.send_full_state(now, from, true, effects);
        }
    }

    /// Everything we hold, in as many datagrams as it takes; the last asks for the same in return.
    pub(super) fn send_full_state(&mut self, now: Millis, to: SocketAddr, reply: bool, effects: &mut Vec<Effect>) {
        if now - self.full_states_since >= Millis(1_000) {
            (self.full_states_since, self.full_states) = (now, 0);
        }
        if self.full_states >= self.config.full_states_per_second {
            return;
        }
        self.full_states += 1;
        let me = self.my_claim();
        let claims: Vec<Claim> = std::iter::once(me).chain(self.table.members().map(|m| m.claim())).collect();
        let mut chunks = self.chunks(&Message::State { reply }, claims);
        let last = chunks.pop().unwrap_or_default();
        for chunk in chunks {
            self.push_datagram(to, Message::State { reply: false }, chunk, effects);
        }
        self.push_datagram(to, Message::State { reply }, last, effects);
    }

    /// Time to try one of the dead or the seeds, and to forget those who have been gone for long.
    pub(super) fn on_reach_out_timer(&mut self, now: Millis, due: Millis, effects: &mut Vec<Effect>) {
        if self.reach_out_due != due {
            return;
        }
        self.arm_reach_out(now, effects);
        let kept = self.config.gone_kept;
        for addr in self.table.forget(|member| now - member.since > kept) {
            if self.seeds.len() < self.config.seeds_max {
                self.seeds.entry(addr).or_insert(Seed { owner: None, tries: CONTACT_RETRIES, due: None, seq: None });
            }
        }
        if let Some(seq) = self.reached_out.take() {
            self.awaited.remove(&seq);
        }
        let dead = self.table.gone().filter(|m| m.status == Status::Dead).map(|m| (m.addr, Some(m.name.clone())));
        let table = &self.table;
        let absent = |seed: &Seed| !seed.owner.as_ref().is_some_and(|owner| table.is_live(owner));
        let seeds = self.seeds.iter().filter(|(_, seed)| seed.due.is_none() && absent(seed));
        let Some((addr, name)) = dead.chain(seeds.map(|(addr, _)| (*addr, None))).choose_stable(&mut self.rng) else {
            return;
        };
        let seq = self.await_answer(Awaited::Contact { addr });
        self.reached_out = Some(seq);
        self.send(addr, name.as_ref(), Message::Ping { seq, target: name.clone() }, Vec::new(), effects);
    }

    /// Alone, we look around more often.
    pub(super) fn arm_reach_out(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        let interval = Config::scaled(self.config.reach_out_interval, self.table.live() + 1);
        let after = self.jitter(if self.table.live() == 0 { Millis(interval.0 / 5) } else { interval });
        self.reach_out_due = now + after;
        effects.push(Effect::SetTimer { after, timer: Timer::ReachOut { due: self.reach_out_due } });
    }
}
