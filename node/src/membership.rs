//! SWIM membership: who is alive.
//!
//! Sources: *SWIM* (Das, Gupta, Motivala 2002) for probing, suspicion and gossip; *Lifeguard* (Dadgar et al. 2018) for
//! doubting ourselves before others. Each second a node asks one member, in a shuffled round, whether it is there; when
//! neither it nor three helpers get an answer, the member is suspected aloud, and unless it speaks up in time it is dead.
//! A member speaks up by raising its incarnation, which nobody else ever does. All news rides on the questions and
//! answers, and on short rounds of gossip while there is any. From a few hundred members on, whom a node probes and tells is
//! decided by a circle of names (*Rapid*, Suresh et al. 2018), so that it speaks to a few dozen however many there are.
//!
//! ```text
//!                    ┌─ probe.rs ─────────┐  nobody answered   ┌─ suspicion.rs ─┐
//!  timers, LinkLost ─▶ ping, helpers, nack├───────────────────▶│ windows        │ run out
//!                    └────────────────────┘      accuse        └───────┬────────┘
//!                    ┌─ sync.rs ──────────┐                            ▼
//!  Contact ─────────▶│ meet, compare      ├──▶ ┌─ belief.rs ──────────────────┐    Announce
//!                    └────────────────────┘    │ does this claim supersede?   ├──▶ what changed
//!  Received ──────── every claim in it ───────▶└───────┬───────────┬──────────┘
//!                                              table.rs: the members │ dissemination.rs: pass it on
//! ```
//! A member is (name, epoch, incarnation): the epoch tells one life of a name from the next, so a restarted node
//! supersedes its former self at once, wherever it listens now. There is one row per name.
//!
//! What always holds: our own incarnation never falls and we never hold ourselves dead; the events announced fold to
//! exactly [`State::digest`]; every table has a bound ([`Config`]); no datagram costs work in proportion to the members,
//! except the full state, which is rationed. Nothing is believed from an address before it has answered.
//!
//! Left out on purpose: encryption (the envelope's, see `shared/src/wire.rs`), and any defence against liars inside the
//! cluster beyond bounds. Whoever holds the secret may claim anything.

mod base;
mod belief;
mod config;
mod contacts;
mod dissemination;
mod member;
mod probe;
pub mod successors;
mod suspicion;
mod sync;
mod table;
#[cfg(test)]
mod tests;
mod timeout;

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use p2pnet_shared::{
    Epoch, NodeName, ViewDigest,
    telemetry::MemberEvent,
    wire::membership::{Claim, Datagram, Message, Status},
};
use rand::{RngExt, SeedableRng, rngs::SmallRng};

pub use self::{base::Base, config::Config, member::Member};
use self::{
    dissemination::News,
    probe::{Awaited, Stalls},
    sync::Seed,
    table::Table,
    timeout::RoundTrips,
};
use crate::time::Millis;

/// Who we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Our name.
    pub name: NodeName,
    /// Where we listen, as others reach us.
    pub addr: SocketAddr,
    /// This life.
    pub epoch: Epoch,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// An address was heard of (bootstrap, static peer, gossip, beacon). It is contacted before anything is believed,
    /// and kept as a seed to come back to.
    Contact {
        /// Where somebody may listen.
        addr: SocketAddr,
    },
    /// A datagram came in.
    Received {
        /// Its source address.
        from: SocketAddr,
        /// What it said.
        datagram: Datagram,
    },
    /// A timer that was asked for went off.
    TimerFired(Timer),
    /// The TCP link to an overlay neighbour broke without a goodbye.
    LinkLost {
        /// Whose.
        peer: NodeName,
        /// Which life of it.
        epoch: Epoch,
    },
    /// We are going away. Some members are told, and from then on nothing is said or believed.
    Leave,
}

/// What the protocol asks of the runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send one datagram.
    Send {
        /// Where.
        to: SocketAddr,
        /// What.
        datagram: Datagram,
    },
    /// Wake us.
    SetTimer {
        /// From now.
        after: Millis,
        /// With this.
        timer: Timer,
    },
    /// The member table changed.
    Announce(MemberEvent),
}

/// What a timer is for. `due` is when it was to fire: it tells a stale timer from the one that counts, and a timer
/// that fired late from one that did not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Timer {
    /// The next member's turn.
    Probe {
        /// When it was to fire.
        due: Millis,
    },
    /// The direct answer to a probe.
    ProbeTimeout {
        /// Which probe.
        seq: u32,
        /// When it was to fire.
        due: Millis,
    },
    /// Any answer to a probe.
    ProbeDeadline {
        /// Which probe.
        seq: u32,
        /// When it was to fire.
        due: Millis,
    },
    /// The answer to a probe made for somebody else.
    RelayTimeout {
        /// Which ping.
        seq: u32,
    },
    /// The end of a suspicion.
    Suspicion {
        /// Whose.
        member: NodeName,
        /// When it was to fire.
        due: Millis,
    },
    /// The next round of gossip.
    Gossip {
        /// When it was to fire.
        due: Millis,
    },
    /// The next comparison of full states.
    Sync {
        /// When it was to fire.
        due: Millis,
    },
    /// The next contact with one of the dead or the seeds.
    ReachOut {
        /// When it was to fire.
        due: Millis,
    },
    /// The answer of an address.
    Contact {
        /// Which.
        addr: SocketAddr,
        /// When it was to fire.
        due: Millis,
    },
}

impl Timer {
    /// When it was to fire, where that is known.
    fn due(&self) -> Option<Millis> {
        match self {
            Timer::Probe { due }
            | Timer::ProbeTimeout { due, .. }
            | Timer::ProbeDeadline { due, .. }
            | Timer::Suspicion { due, .. }
            | Timer::Gossip { due }
            | Timer::Sync { due }
            | Timer::ReachOut { due }
            | Timer::Contact { due, .. } => Some(*due),
            Timer::RelayTimeout { .. } => None,
        }
    }
}

/// The member table and everything the protocol remembers.
#[derive(Debug)]
pub struct State {
    me: Identity,
    incarnation: u32,
    /// The newest life somebody else leads under our name.
    superseded: Option<Epoch>,
    left: bool,
    config: Config,
    rng: SmallRng,
    table: Table,

    started: Millis,
    health: u8,
    /// Probes answered, for the warm-up.
    answers: u32,
    awaited: BTreeMap<u32, Awaited>,
    next_seq: u32,
    probe_due: Millis,
    /// Which successors still have their turn in this round of probes, by how near they are.
    turns: Vec<usize>,
    /// The same for contacts and what they are told.
    tellings: Vec<usize>,
    round_trips: RoundTrips,
    stalls: Stalls,
    /// When somebody else's datagram last came in.
    last_heard: Millis,
    /// Accusations made since an instant.
    accusations: u32,
    accusations_since: Millis,
    /// Links lost before we were allowed to judge. Holds only members we have rows for.
    links_lost: BTreeMap<NodeName, Epoch>,

    /// Deaths seen since an instant, and until when that made us hold our tongue.
    deaths: usize,
    deaths_since: Millis,
    frozen_until: Millis,

    news: News,
    gossip_due: Option<Millis>,
    last_gossip: Option<Millis>,

    seeds: BTreeMap<SocketAddr, Seed>,
    sync_wait: Millis,
    sync_due: Millis,
    /// When the next comparison is due whatever happens.
    sync_latest: Millis,
    /// When there last was news.
    news_at: Millis,
    reach_out_due: Millis,
    /// The question of the last reach-out.
    reached_out: Option<u32>,
    full_states: u32,
    full_states_since: Millis,
}

impl State {
    /// A node that knows nobody yet. `seed` is all the chance it will ever have.
    #[must_use]
    pub fn new(me: Identity, config: Config, seed: u64) -> Self {
        Self::with_base(me, config, seed, Arc::default())
    }

    /// A node that knows everybody in `base` already, as that describes them; it keeps rows of its own only where it comes
    /// to differ. For simulations: see [`Base`]. A row about `me` in it is not looked at.
    #[must_use]
    pub fn with_base(me: Identity, config: Config, seed: u64, base: Arc<Base>) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let next_seq = rng.random();
        let sync_wait = Millis(1_000).min(config.sync_interval);
        let table = Table::new(&me.name, base);
        Self {
            me,
            incarnation: 0,
            superseded: None,
            left: false,
            config,
            rng,
            table,
            started: Millis(0),
            health: 0,
            answers: 0,
            awaited: BTreeMap::new(),
            next_seq,
            probe_due: Millis(0),
            turns: Vec::new(),
            tellings: Vec::new(),
            round_trips: RoundTrips::default(),
            stalls: Stalls::default(),
            last_heard: Millis(0),
            accusations: 0,
            accusations_since: Millis(0),
            links_lost: BTreeMap::new(),
            deaths: 0,
            deaths_since: Millis(0),
            frozen_until: Millis(0),
            news: News::default(),
            gossip_due: None,
            last_gossip: None,
            seeds: BTreeMap::new(),
            sync_wait,
            sync_due: Millis(0),
            sync_latest: Millis(0),
            news_at: Millis(0),
            reach_out_due: Millis(0),
            reached_out: None,
            full_states: 0,
            full_states_since: Millis(0),
        }
    }

    /// Moves to another base. What we believe does not change; rows that equal those of `base` are from now on read there,
    /// and our own copies are freed. Takes time in proportion to the members.
    pub fn rebase(&mut self, base: Arc<Base>) {
        self.table.rebase(base, &mut self.rng);
    }

    /// Rows that this node keeps for itself: those in which it differs from its base, which for a real node is all.
    #[must_use]
    pub fn own_rows(&self) -> usize {
        self.table.own_rows()
    }

    /// Sets the first timers. Called once.
    pub fn start(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        (self.started, self.last_heard) = (now, now);
        self.arm_probe(now, effects);
        self.arm_sync(now, effects);
        self.arm_reach_out(now, effects);
        let me = self.my_claim();
        self.news.push(me);
    }

    /// One thing happened at `now`; what is to be done is pushed onto `effects`.
    pub fn handle(&mut self, now: Millis, input: Input, effects: &mut Vec<Effect>) {
        if self.left {
            return;
        }
        match input {
            Input::Contact { addr } => self.on_contact(now, addr, effects),
            Input::Received { from, datagram } => self.on_received(now, from, datagram, effects),
            Input::TimerFired(timer) => self.on_timer(now, timer, effects),
            Input::LinkLost { peer, epoch } => self.on_link_lost(now, peer, epoch, effects),
            Input::Leave => self.on_leave(effects),
        }
    }

    fn on_timer(&mut self, now: Millis, timer: Timer, effects: &mut Vec<Effect>) {
        if let Some(due) = timer.due() {
            self.stalls.fired(now, due, self.config.stall);
        }
        match timer {
            Timer::Probe { due } => self.on_probe_timer(now, due, effects),
            Timer::ProbeTimeout { seq, due } => self.on_probe_timeout(now, seq, due, effects),
            Timer::ProbeDeadline { seq, due } => self.on_probe_deadline(now, seq, due, effects),
            Timer::RelayTimeout { seq } => self.on_relay_timeout(seq, effects),
            Timer::Suspicion { member, due } => self.on_suspicion_timeout(now, &member, due, effects),
            Timer::Gossip { due } => self.on_gossip_timer(now, due, effects),
            Timer::Sync { due } => self.on_sync_timer(now, due, effects),
            Timer::ReachOut { due } => self.on_reach_out_timer(now, due, effects),
            Timer::Contact { addr, due } => self.on_contact_timer(now, addr, due, effects),
        }
    }

    fn on_received(&mut self, now: Millis, from: SocketAddr, datagram: Datagram, effects: &mut Vec<Effect>) {
        let Datagram { from: name, message, claims } = datagram;
        if name == self.me.name {
            // Our own words come back, or a namesake speaks; only its epoch is of interest.
            let newer = claims.iter().filter(|claim| claim.member == name && claim.epoch > self.me.epoch);
            self.superseded = newer.map(|claim| claim.epoch).max().max(self.superseded);
            return;
        }
        self.last_heard = now;
        let mine = |claim: &Claim| claim.member == self.me.name && claim.epoch == self.me.epoch;
        if claims.iter().any(|claim| mine(claim) && claim.status == Status::Dead) && self.table.is_live(&name) {
            // They have waited for our word and not heard it: what we miss of theirs proves little.
            self.frozen_until = self.frozen_until.max(now + self.config.freeze);
        }
        let full_state = matches!(message, Message::State { .. });
        let mut corrections = Vec::new();
        for claim in claims {
            let hearsay = full_state && self.table.is_live(&claim.member);
            let claim = if hearsay { belief::as_suspicion(claim) } else { claim };
            // The other side's full state corrects everything but what it believes of us.
            let correction = self.on_claim(now, claim, effects);
            corrections.extend(correction.filter(|claim| !full_state || claim.member == self.me.name));
        }
        if !corrections.is_empty() {
            self.send(from, Some(&name), Message::Gossip, corrections, effects);
        }
        match message {
            Message::Ping { seq, target } => self.on_ping(from, &name, seq, target.as_ref(), effects),
            Message::Ack { seq } => self.on_ack(now, from, &name, seq, effects),
            Message::PingRequest { seq, target, .. } => self.on_ping_request(from, seq, &target, effects),
            Message::Nack { seq } => self.on_nack(&name, seq),
            Message::Sync { state_hash } => self.on_sync(now, from, state_hash, effects),
            Message::State { reply: true } => self.send_full_state(now, from, false, effects),
            Message::State { reply: false } | Message::Gossip => {}
        }
    }

    /// Says goodbye to several members, who pass it on.
    fn on_leave(&mut self, effects: &mut Vec<Effect>) {
        self.left = true;
        let goodbye: Claim = self.my_claim();
        for (_, addr) in self.table.pick(self.config.leave_fanout, &mut self.rng, |_| true) {
            self.push_datagram(addr, Message::Gossip, vec![goodbye.clone()], effects);
        }
    }

    /// Ourselves.
    #[must_use]
    pub fn me(&self) -> &Identity {
        &self.me
    }

    /// The incarnation we have reached; it never falls.
    #[must_use]
    pub fn incarnation(&self) -> u32 {
        self.incarnation
    }

    /// The newest life that somebody else leads under our name. Everybody now takes that node for us, so our user should
    /// be told; a later boot of ours needs a larger epoch than this one to be heard.
    #[must_use]
    pub fn superseded(&self) -> Option<Epoch> {
        self.superseded
    }

    /// Every member but ourselves, dead ones included, sorted by name.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.table.members()
    }

    /// One member.
    #[must_use]
    pub fn member(&self, name: &NodeName) -> Option<&Member> {
        self.table.get(name)
    }

    /// The names believed alive, ourselves included.
    #[must_use]
    pub fn digest(&self) -> ViewDigest {
        self.table.digest()
    }

    /// Lifeguard's local health, 0 (well) to 7.
    #[must_use]
    pub fn health(&self) -> u8 {
        self.health
    }

    /// Claims that are still to be told to others: at most one per member and one about ourselves.
    #[must_use]
    pub fn news_waiting(&self) -> usize {
        self.news.len()
    }

    /// What two nodes compare: the living with their lives and incarnations, ourselves included.
    fn state_hash(&self) -> u64 {
        let mine = table::row_hash(&self.me.name, self.me.epoch, self.incarnation);
        self.table.state_hash().wrapping_add(mine)
    }
}
