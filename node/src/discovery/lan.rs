//! Finding one another on a local network: when to send a beacon, whom to answer, where to knock.
//!
//! Source: Syncthing's local discovery (*specs/localdisco-v4*: announce now and then, answer a new device at once) and Dropbox's
//! LAN Sync. Everybody's beacon reaches everybody, so the interval grows with the network: all of it together sends some
//! [`Config::beacons_per_second`] and each node hears as many, be they a hundred or a thousand. A newcomer need not wait for
//! that: its own first beacon is answered at once, by all of a few and by a few of many.
//!
//! ```text
//! TimerFired ──▶ Announce, SetTimer          beacons heard since the last of ours, of nobody who lives ──▶ Knock
//! Heard      ──▶ known? remember             not known, or another life? Answer (one of a few), Knock
//! ```
//! Nothing is believed. A beacon names an address to knock at, and membership decides who answers there; so whoever lies,
//! repeats what others said or invents names costs a bounded number of small datagrams a second. The IO is in
//! `runtime/lan.rs`, which hands over only what this network's envelope opened.
//!
//! Left out on purpose: IPv6, and networks of more than one hop (beacons are not routed).
//!
//! What always holds: an answer is never answered; at most [`Config::seen_max`] names and [`Config::sources_max`] sources
//! are remembered; answers and knocks each keep to their pace, whatever is heard.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use p2pnet_shared::{Epoch, NodeName, wire::lan::Beacon};
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};

use crate::time::Millis;

/// The first beacon is sent within so long of the start.
const FIRST_WITHIN: Millis = Millis(100);
/// Beacons of ours after which we also try broadcast if nobody was heard.
const UNHEARD_MAX: u32 = 2;

/// Knobs.
#[derive(Debug, Clone)]
pub struct Config {
    /// Shortest time between two beacons of one node. Default 1 s, plus or minus a fifth, like every interval here.
    pub interval_min: Millis,
    /// How many a second all nodes together send, once there are more than this. Default 33: a hundred nodes send one
    /// every 3 s each, a thousand every 30 s.
    pub beacons_per_second: u32,
    /// How many answer a newcomer, about. Default 8: fewer than one in two thousand newcomers hear of nobody at once.
    pub answerers: u32,
    /// Answers a second, and knocks a second. Default 32 each.
    pub answers_per_second: u32,
    /// Beacons a second taken from one source. Default 64: a whole network behind one address is heard.
    pub heard_per_second: u32,
    /// Names remembered. Default 2,048; whoever was not heard for longest is forgotten for a new one.
    pub seen_max: usize,
    /// Sources whose pace is watched. Default 256; whoever was not heard for longest is forgotten for a new one.
    pub sources_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            interval_min: Millis(1_000),
            beacons_per_second: 33,
            answerers: 8,
            answers_per_second: 32,
            heard_per_second: 64,
            seen_max: 2_048,
            sources_max: 256,
        }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A beacon of our network came.
    Heard {
        /// The datagram's source: where an answer goes, and whose IP is knocked at.
        from: SocketAddr,
        /// What it says.
        beacon: Beacon,
    },
    /// Time for a beacon of ours.
    TimerFired {
        /// Which.
        timer: Timer,
        /// The other members believed alive.
        live: BTreeSet<NodeName>,
    },
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send a beacon to everybody.
    Announce {
        /// Nobody was heard for a while: not by multicast alone.
        widely: bool,
    },
    /// Send a beacon, as an answer, to one.
    Answer {
        /// Where to.
        to: SocketAddr,
    },
    /// Ask membership to contact an address.
    Knock {
        /// Which.
        at: SocketAddr,
    },
    /// Fire later.
    SetTimer {
        /// How much later.
        after: Millis,
        /// What.
        timer: Timer,
    },
}

/// Fires when the next beacon is due; an old one does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timer {
    due: Millis,
}

/// What is remembered of a name.
#[derive(Debug, Clone)]
struct Seen {
    epoch: Epoch,
    at: SocketAddr,
    heard: Millis,
    /// It was heard since our last beacon.
    lately: bool,
}

/// One node's discovery.
#[derive(Debug)]
pub struct State {
    me: NodeName,
    config: Config,
    rng: Xoshiro256PlusPlus,
    due: Millis,
    /// Members believed alive at our last beacon, this node included.
    members: u32,
    seen: BTreeMap<NodeName, Seen>,
    sources: BTreeMap<IpAddr, Pace>,
    answers: Pace,
    knocks: Pace,
    /// Beacons of ours since one of another node came.
    unheard: u32,
}

impl State {
    /// For the node `me`, which knows nobody.
    #[must_use]
    pub fn new(me: NodeName, config: Config, seed: u64) -> Self {
        let pace = Pace::of(config.answers_per_second);
        Self {
            me,
            config,
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            due: Millis(0),
            members: 1,
            seen: BTreeMap::new(),
            sources: BTreeMap::new(),
            answers: pace.clone(),
            knocks: pace,
            unheard: 0,
        }
    }

    /// Begins.
    pub fn start(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        let after = Millis(self.rng.random_range(0..=FIRST_WITHIN.0));
        self.set_timer(now, after, effects);
    }

    /// Whether a datagram from `source` is to be looked at. Asked before it is opened, so that a flood costs no ciphers.
    pub fn admits(&mut self, now: Millis, source: IpAddr) -> bool {
        if !self.sources.contains_key(&source) && self.sources.len() >= self.config.sources_max {
            let quietest = self.sources.iter().min_by_key(|(_, pace)| pace.due).map(|(ip, _)| *ip);
            quietest.and_then(|ip| self.sources.remove(&ip));
        }
        let per_second = self.config.heard_per_second;
        self.sources.entry(source).or_insert_with(|| Pace::of(per_second)).takes(now)
    }

    /// Takes in what happened and says what is to be done.
    pub fn handle(&mut self, now: Millis, input: Input, effects: &mut Vec<Effect>) {
        match input {
            Input::Heard { from, beacon } => self.on_heard(now, from, beacon, effects),
            Input::TimerFired { timer, live } if timer.due == self.due => self.on_due(now, &live, effects),
            Input::TimerFired { .. } => {}
        }
    }

    fn on_heard(&mut self, now: Millis, from: SocketAddr, beacon: Beacon, effects: &mut Vec<Effect>) {
        let Beacon { name, epoch, port, answer } = beacon;
        if name == self.me || port == 0 {
            return;
        }
        self.unheard = 0;
        let at = SocketAddr::new(from.ip(), port);
        let is_news = self.seen.get(&name).is_none_or(|seen| seen.epoch != epoch);
        if is_news && !self.seen.contains_key(&name) && self.seen.len() >= self.config.seen_max {
            let quietest = self.seen.iter().min_by_key(|(_, seen)| seen.heard).map(|(name, _)| name.clone());
            quietest.and_then(|name| self.seen.remove(&name));
        }
        self.seen.insert(name, Seen { epoch, at, heard: now, lately: true });
        if !is_news {
            return;
        }
        if answer {
            self.knock(now, at, effects);
        } else if self.is_chosen() && self.answers.takes(now) {
            effects.push(Effect::Answer { to: from });
            self.knock(now, at, effects);
        }
    }

    /// Whether we are among those who answer: the others find the newcomer a member soon, or knock later.
    fn is_chosen(&mut self) -> bool {
        self.members <= self.config.answerers || self.rng.random_ratio(self.config.answerers, self.members)
    }

    fn knock(&mut self, now: Millis, at: SocketAddr, effects: &mut Vec<Effect>) {
        if self.knocks.takes(now) {
            effects.push(Effect::Knock { at });
        }
    }

    fn on_due(&mut self, now: Millis, live: &BTreeSet<NodeName>, effects: &mut Vec<Effect>) {
        self.members = u32::try_from(live.len() + 1).unwrap_or(u32::MAX);
        effects.push(Effect::Announce { widely: self.unheard >= UNHEARD_MAX });
        self.unheard = self.unheard.saturating_add(1);
        let strangers: Vec<SocketAddr> = self
            .seen
            .iter_mut()
            .filter_map(|(name, seen)| {
                let lately = std::mem::take(&mut seen.lately);
                (lately && !live.contains(name)).then_some(seen.at)
            })
            .collect();
        strangers.into_iter().for_each(|at| self.knock(now, at, effects));
        let interval = self.interval();
        let after = Millis(self.rng.random_range(interval.0 * 4 / 5..=interval.0 * 6 / 5));
        self.set_timer(now, after, effects);
    }

    /// Between two beacons of ours, without jitter.
    fn interval(&self) -> Millis {
        let all_at_pace = u64::from(self.members) * 1_000 / u64::from(self.config.beacons_per_second.max(1));
        self.config.interval_min.max(Millis(all_at_pace))
    }

    fn set_timer(&mut self, now: Millis, after: Millis, effects: &mut Vec<Effect>) {
        self.due = now + after;
        effects.push(Effect::SetTimer { after, timer: Timer { due: self.due } });
    }
}

/// So many a second and, after a rest, a second's worth at once (the generic cell rate algorithm, ITU-T I.371).
#[derive(Debug, Clone)]
struct Pace {
    gap: Millis,
    /// When the next would be due if they came evenly.
    due: Millis,
}

impl Pace {
    fn of(per_second: u32) -> Self {
        Self { gap: Millis(1_000 / u64::from(per_second.clamp(1, 1_000))), due: Millis(0) }
    }

    /// Whether one more fits in.
    fn takes(&mut self, now: Millis) -> bool {
        let due = self.due.max(now);
        if due - now >= Millis(1_000) {
            return false;
        }
        self.due = due + self.gap;
        true
    }
}

#[cfg(test)]
mod tests;
