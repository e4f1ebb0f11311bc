//! foca, another SWIM, on the same wire with the same seeds and schedules: a series to compare ours with.
//!
//! It is driven as its documentation says: data and timers go in, and what it asks for through its `Runtime` is carried
//! out, by the same queue of events, latency, loss, cuts and pauses as ours. Choices, all in its favour where there was
//! one: its `new_lan` for the true number of nodes (`simple` is there beside it); the identity of its example, an address and a number that it may
//! renew, so that a node taken for dead comes back by itself; overdue timers in the order of its own `Ord`; a newcomer
//! announces itself to the seed by its true identity, and again each second until it is in. Its bytes are UDP payload
//! without an envelope, ours with one. What it lacks by design, a hint from broken links and a view on its own health, is
//! what the comparison is about.

use std::{collections::BTreeMap, net::SocketAddr, num::NonZeroU32, time::Duration};

use foca::{Config, Foca, Identity, NoCustomBroadcast, Notification, PostcardCodec, Runtime, Timer};
use rand::{RngExt, SeedableRng, rngs::SmallRng, seq::IndexedRandom};
use serde::{Deserialize, Serialize};

use crate::{
    counters::Counters,
    heap::Queue,
    invariants::Death,
    network::SOCKET_BUFFER,
    schedule::{Step, World},
    wire::{NodeId, Wire},
};

/// Renewals that a life has numbers for.
const RENEWALS: u64 = 1 << 20;

/// An address, and a number that grows with each renewal and each life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Id {
    addr: SocketAddr,
    bump: u64,
}

impl Id {
    fn new(node: NodeId, life: u32) -> Self {
        let (net, host) = (u8::try_from(node / 250).expect("few"), u8::try_from(node % 250).expect("small"));
        Self { addr: SocketAddr::from(([10, net, 0, host + 1], 5000)), bump: u64::from(life) * RENEWALS }
    }

    fn node(self) -> NodeId {
        match self.addr.ip() {
            std::net::IpAddr::V4(ip) => usize::from(ip.octets()[1]) * 250 + usize::from(ip.octets()[3]) - 1,
            std::net::IpAddr::V6(_) => unreachable!("the simulation speaks IPv4"),
        }
    }

    fn life(self) -> u64 {
        self.bump / RENEWALS
    }
}

impl Identity for Id {
    type Addr = SocketAddr;

    fn renew(&self) -> Option<Self> {
        Some(Self { bump: self.bump + 1, ..*self })
    }

    fn addr(&self) -> SocketAddr {
        self.addr
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        self.bump > adversary.bump
    }
}

#[derive(Debug)]
enum Arrival {
    Data(Vec<u8>),
    Timer(Timer<Id>),
    /// Announce ourselves, unless we are in by now.
    Join,
}

#[derive(Debug)]
struct Event {
    node: NodeId,
    /// `None` for datagrams.
    life: Option<u32>,
    arrival: Arrival,
}

/// What foca asks for in one step.
#[derive(Debug, Default)]
struct Asked {
    sends: Vec<(Id, Vec<u8>)>,
    timers: Vec<(Timer<Id>, Duration)>,
    up: Vec<Id>,
    down: Vec<Id>,
    accused: u64,
}

impl Runtime<Id> for &mut Asked {
    fn notify(&mut self, notification: Notification<'_, Id>) {
        match notification {
            Notification::MemberUp(id) => self.up.push(*id),
            Notification::MemberDown(id) => self.down.push(*id),
            Notification::ProbeFailed(..) => self.accused += 1,
            _ => {}
        }
    }

    fn send_to(&mut self, to: Id, data: &[u8]) {
        self.sends.push((to, data.to_vec()));
    }

    fn submit_after(&mut self, event: Timer<Id>, after: Duration) {
        self.timers.push((event, after));
    }
}

type Core = Foca<Id, PostcardCodec, SmallRng, NoCustomBroadcast>;

struct Node {
    core: Option<Core>,
    life: u32,
    pauses: u32,
    kept: Vec<Event>,
    /// Whom it believes alive, by its own notifications, with itself.
    alive: std::collections::BTreeSet<NodeId>,
}

/// foca's own presets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Preset {
    /// After memberlist's for a LAN, with its extensions: the one to compare with.
    Lan,
    /// Plain SWIM. Suspects have three seconds, which comes nearer to the speed of ours.
    Simple,
}

/// A network of foca nodes.
pub(crate) struct Rival {
    clock: u64,
    nodes: Vec<Node>,
    config: Config,
    pub(crate) wire: Wire,
    pub(crate) counters: Counters,
    pub(crate) rng: SmallRng,
    queue: Queue<Event>,
    pub(crate) socket_first: bool,
    pub(crate) deaths: Vec<Death>,
    pub(crate) accusations: u64,
    pub(crate) bytes_sent: u64,
    stalled: BTreeMap<NodeId, ()>,
}

impl Rival {
    /// Nobody yet, tuned for `count` nodes.
    pub(crate) fn new(seed: u64, count: usize, preset: Preset) -> Self {
        let size = u32::try_from(count).ok().and_then(NonZeroU32::new).expect("some nodes");
        let config = match preset {
            Preset::Lan => Config::new_lan(size),
            // With its answer to somebody who is taken for dead, or the overloaded never come back.
            Preset::Simple => Config { notify_down_members: true, ..Config::simple() },
        };
        Self {
            clock: 0,
            nodes: Vec::new(),
            config,
            wire: Wire::default(),
            counters: Counters::default(),
            rng: SmallRng::seed_from_u64(seed),
            queue: Queue::default(),
            socket_first: false,
            deaths: Vec::new(),
            accusations: 0,
            bytes_sent: 0,
            stalled: BTreeMap::new(),
        }
    }

    /// Milliseconds since the run began.
    pub(crate) fn now(&self) -> u64 {
        self.clock / 1_000
    }

    /// `count` nodes that join through the first, spread over `within_ms`.
    pub(crate) fn start_many(&mut self, count: usize, within_ms: u64) {
        let mut offsets: Vec<u64> = (0..count).map(|_| self.rng.random_range(0..=within_ms)).collect();
        offsets.sort_unstable();
        offsets[0] = 0;
        let begin = self.now();
        for offset in offsets {
            self.run_to(begin + offset);
            self.nodes.push(Node {
                core: None,
                life: 0,
                pauses: 0,
                kept: Vec::new(),
                alive: std::collections::BTreeSet::new(),
            });
            self.boot(self.nodes.len() - 1);
        }
    }

    fn boot(&mut self, id: NodeId) {
        let seed = self.rng.random();
        let node = &mut self.nodes[id];
        node.life += 1;
        let identity = Id::new(id, node.life);
        node.core = Some(Foca::new(identity, self.config.clone(), SmallRng::seed_from_u64(seed), PostcardCodec));
        node.alive = std::collections::BTreeSet::from([id]);
        self.stalled.remove(&id);
        self.push(id, 0, Some(self.nodes[id].life), Arrival::Join);
    }

    pub(crate) fn running(&self) -> Vec<NodeId> {
        (0..self.nodes.len()).filter(|id| self.nodes[*id].core.is_some()).collect()
    }

    /// Whether every running node believes exactly the running nodes alive.
    pub(crate) fn all_agree(&self) -> bool {
        let running = self.running();
        running.iter().all(|id| self.nodes[*id].alive.iter().eq(running.iter()))
    }

    pub(crate) fn run_for(&mut self, ms: u64) {
        self.run_to(self.now() + ms);
    }

    /// Runs until all agree, asked every 100 ms; `None` if that takes longer than `limit_ms`.
    pub(crate) fn run_until_all_agree(&mut self, limit_ms: u64) -> Option<u64> {
        let begin = self.now();
        while !self.all_agree() {
            if self.now() - begin >= limit_ms {
                return None;
            }
            self.run_for(100);
        }
        Some(self.now() - begin)
    }

    /// When each observer declared `member` dead, earliest first, in milliseconds after `since`.
    pub(crate) fn detection(&self, member: NodeId, since: u64) -> Vec<u64> {
        let of = |death: &&Death| death.member == member && death.at >= since && !death.existed;
        let mut times: Vec<u64> = self.deaths.iter().filter(of).map(|death| death.at - since).collect();
        times.sort_unstable();
        times
    }

    fn push(&mut self, node: NodeId, after: u64, life: Option<u32>, arrival: Arrival) {
        self.queue.push(self.clock + after, Event { node, life, arrival });
    }

    fn dispatch(&mut self, event: Event) {
        let node = &mut self.nodes[event.node];
        if node.core.is_none() || event.life.is_some_and(|life| life != node.life) {
            return;
        }
        if node.pauses > 0 {
            self.counters.held += 1;
            node.kept.push(event);
            return;
        }
        self.feed(event.node, event.arrival);
    }

    fn feed(&mut self, id: NodeId, arrival: Arrival) {
        let seed = self.some_other(id);
        let node = &mut self.nodes[id];
        let Some(core) = &mut node.core else { return };
        let mut asked = Asked::default();
        let mut join_again = false;
        // Its errors are about data and timers that came too late to matter; it says itself that they may be ignored.
        let _ = match arrival {
            Arrival::Data(data) => core.handle_data(&data, &mut asked),
            Arrival::Timer(timer) => core.handle_timer(timer, &mut asked),
            Arrival::Join => {
                join_again = core.num_members() == 0;
                match seed.filter(|_| join_again) {
                    Some(seed) => core.announce(seed, &mut asked),
                    None => Ok(()),
                }
            }
        };
        if join_again {
            self.push(id, 1_000_000, Some(self.nodes[id].life), Arrival::Join);
        }
        self.carry_out(id, asked);
    }

    /// The first node, or another if that is down or asking.
    fn some_other(&mut self, id: NodeId) -> Option<Id> {
        let of = |node: &Node| node.core.as_ref().map(|core| *core.identity());
        if id != 0
            && let Some(first) = of(&self.nodes[0])
        {
            return Some(first);
        }
        let others: Vec<NodeId> = self.running().into_iter().filter(|other| *other != id).collect();
        others.choose(&mut self.rng).and_then(|other| of(&self.nodes[*other]))
    }

    fn carry_out(&mut self, id: NodeId, asked: Asked) {
        self.accusations += asked.accused;
        self.counters.suspected += asked.accused;
        for up in asked.up {
            self.nodes[id].alive.insert(up.node());
        }
        for down in asked.down {
            self.nodes[id].alive.remove(&down.node());
            let member = &self.nodes[down.node()];
            let existed = member.core.is_some() && down.life() == u64::from(member.life);
            let is_false = existed && !self.stalled.contains_key(&down.node());
            self.deaths.push(Death { at: self.now(), observer: id, member: down.node(), existed, is_false });
        }
        let life = Some(self.nodes[id].life);
        for (timer, after) in asked.timers {
            self.push(id, u64::try_from(after.as_micros()).expect("not for ever"), life, Arrival::Timer(timer));
        }
        for (to, data) in asked.sends {
            self.bytes_sent += data.len() as u64;
            let copies = self.wire.copies(id, to.node(), || data.len(), &mut self.counters, &mut self.rng);
            for after in copies.into_iter().flatten() {
                self.push(to.node(), after, None, Arrival::Data(data.clone()));
            }
        }
    }

    fn end(&mut self, id: NodeId) {
        let node = &mut self.nodes[id];
        node.core = None;
        node.pauses = 0;
        node.kept.clear();
    }

    fn resume(&mut self, id: NodeId) {
        let socket_first = self.socket_first;
        let node = &mut self.nodes[id];
        node.pauses = node.pauses.saturating_sub(1);
        if node.pauses > 0 {
            return;
        }
        let (mut timers, mut socket): (Vec<Event>, Vec<Event>) =
            std::mem::take(&mut node.kept).into_iter().partition(|event| event.life.is_some());
        socket.truncate(SOCKET_BUFFER);
        timers.sort_by(|a, b| match (&a.arrival, &b.arrival) {
            (Arrival::Timer(a), Arrival::Timer(b)) => a.cmp(b),
            _ => std::cmp::Ordering::Equal,
        });
        let (first, then) = if socket_first { (socket, timers) } else { (timers, socket) };
        for event in first.into_iter().chain(then) {
            self.dispatch(event);
        }
    }
}

impl World for Rival {
    fn run_to(&mut self, ms: u64) {
        let end = ms * 1_000;
        while let Some((at, event)) = self.queue.pop(end) {
            self.clock = self.clock.max(at);
            self.wire.expire(self.clock);
            self.dispatch(event);
        }
        self.clock = self.clock.max(end);
        self.wire.expire(self.clock);
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Impose(until, rule) => self.wire.impose(until * 1_000, rule.clone()),
            Step::Kill(node) => self.end(*node),
            Step::Boot(node, _) if self.nodes[*node].core.is_none() => self.boot(*node),
            Step::Leave(node) => {
                let mut asked = Asked::default();
                if let Some(core) = &mut self.nodes[*node].core {
                    let _ = core.leave_cluster(&mut asked);
                    self.carry_out(*node, asked);
                }
                self.end(*node);
            }
            Step::Pause(node) if self.nodes[*node].core.is_some() => {
                self.nodes[*node].pauses += 1;
                self.counters.pauses += 1;
                self.stalled.insert(*node, ());
            }
            Step::Resume(node) => self.resume(*node),
            // It has no wall clock, no messages, and looks for others by itself while it is alone.
            Step::Boot(..) | Step::Pause(_) | Step::SetClock(..) | Step::Publish(_) | Step::Discover => {}
            // Nor does it keep anything.
            Step::SetDisk(..) | Step::Destroy(_) | Step::Use(..) => {}
        }
    }
}
