//! Time, members, connections and lives around the engines.
//!
//! ```text
//! feed(node, Input) ─▶ State::handle ─▶ Effects ─┬─ Send ─▶ a connection: in order, late, or broken
//!                                                ├─ Disk ─▶ carried out after a while, in the order given for one path
//!                                                ├─ SetTimer ─▶ a little late
//!                                                └─ Answer ─▶ the user
//! ```

use std::collections::{BTreeMap, BTreeSet};

use p2pnet_node::{
    folder::{Answer, Config, Done, Effect, Input, Order, OrderId, Request, RequestId, State, Timer},
    time::Millis,
};
use p2pnet_shared::{
    Epoch, FilePath, NodeName,
    telemetry::FolderCounts,
    wire::folder::{Bytes, Message, Transfer},
};
use rand::{RngExt, SeedableRng, rngs::SmallRng, seq::IndexedRandom};

use super::{
    disk::{Disk, Health},
    users::Users,
};
use crate::heap::Queue;

/// Which node, from 0.
pub(super) type Id = usize;

/// When the simulation begins, milliseconds since 1970.
const BEGIN_MS: u64 = 1_700_000_000_000;
/// How long until others know that a node is dead or cut off, and that it is back, milliseconds.
const DETECTION_MS: std::ops::RangeInclusive<u64> = 1_500..=4_000;
const JOINING_MS: std::ops::RangeInclusive<u64> = 50..=1_500;

#[derive(Debug)]
enum Event {
    /// A packet arrives, if the connection it was sent over still stands.
    Arrive {
        from: Id,
        to: Id,
        connection: u64,
        message: Message,
    },
    /// A connection broke: this end hears of it.
    Broke {
        at: Id,
        life: u64,
        peer: Id,
    },
    /// An order is carried out.
    Disk {
        at: Id,
        life: u64,
        order: OrderId,
        what: Order,
    },
    /// What became of it is told.
    Told {
        at: Id,
        life: u64,
        order: OrderId,
        done: Done,
    },
    Timer {
        at: Id,
        life: u64,
        timer: Timer,
    },
    /// Membership changed its mind about `whom`.
    Member {
        at: Id,
        life: u64,
        whom: Id,
        up: Option<Epoch>,
    },
    /// The watch noticed something.
    Touched {
        at: Id,
        life: u64,
        path: FilePath,
    },
    Start {
        at: Id,
    },
}

/// One node and what belongs to it.
pub(super) struct Node {
    pub(super) state: Option<State>,
    pub(super) disk: Disk,
    /// Counts starts; what was meant for another life is lost.
    life: u64,
    began_us: u64,
    epoch: Epoch,
    /// How wrong its clock is, milliseconds.
    pub(super) skew_ms: i64,
    /// Frozen until then, with all that comes meanwhile.
    paused_until: u64,
    /// Whether changes by hand are noticed at once.
    pub(super) watches: bool,
    /// One in so many chunks it sends is wrong.
    pub(super) lies: Option<u32>,
    /// Since when the disk takes orders about this path.
    busy: BTreeMap<FilePath, u64>,
}

/// Everything.
pub(super) struct World {
    pub(super) nodes: Vec<Node>,
    pub(super) users: Users,
    pub(super) rng: SmallRng,
    pub(super) answers: BTreeMap<(Id, RequestId), Answer>,
    config: Config,
    clock: u64,
    queue: Queue<Event>,
    /// Connections that stand, smaller id first, with their numbers, and when the last packet each way arrives.
    connections: BTreeMap<(Id, Id), (u64, [u64; 2])>,
    connected: u64,
    /// Pairs that cannot reach each other.
    cut: BTreeSet<(Id, Id)>,
    /// What each believes of each: alive or not, as told last.
    believed: BTreeMap<(Id, Id), Option<Epoch>>,
    requests: RequestId,
    /// How many packets, and how many of what.
    pub(super) packets: u64,
    pub(super) lies_told: u64,
    /// Everything that happened, in one number.
    pub(super) story: u64,
}

fn pair(a: Id, b: Id) -> (Id, Id) {
    (a.min(b), a.max(b))
}

fn name(id: Id) -> NodeName {
    NodeName::numbered(u32::try_from(id + 1).expect("a few nodes"))
}

impl World {
    /// `nodes` nodes that do not run yet, with empty folders.
    pub(super) fn new(seed: u64, nodes: usize, config: Config) -> Self {
        let node = |_| Node {
            state: None,
            disk: Disk::default(),
            life: 0,
            began_us: 0,
            epoch: Epoch(0),
            skew_ms: 0,
            paused_until: 0,
            watches: true,
            lies: None,
            busy: BTreeMap::new(),
        };
        Self {
            nodes: (0..nodes).map(node).collect(),
            users: Users::default(),
            rng: SmallRng::seed_from_u64(seed),
            answers: BTreeMap::new(),
            config,
            clock: 0,
            queue: Queue::default(),
            connections: BTreeMap::new(),
            connected: 0,
            cut: BTreeSet::new(),
            believed: BTreeMap::new(),
            requests: 0,
            packets: 0,
            lies_told: 0,
            story: 0,
        }
    }

    /// With `P2PNET_SIM_STORY` set, says what happens.
    pub(super) fn tell(&self, what: impl FnOnce() -> String) {
        if std::env::var_os("P2PNET_SIM_STORY").is_some() {
            eprintln!("{:>9.3} {}", self.clock as f64 / 1_000_000.0, what());
        }
    }

    /// Milliseconds since it began.
    pub(super) fn now(&self) -> u64 {
        self.clock / 1_000
    }

    fn true_ms(&self) -> u64 {
        BEGIN_MS + self.now()
    }

    /// What a node's clock says, nanoseconds since 1970.
    pub(super) fn wall_ns(&self, at: Id) -> i64 {
        let ms = self.true_ms().saturating_add_signed(self.nodes[at].skew_ms);
        i64::try_from(ms).expect("this century") * 1_000_000 + i64::try_from(self.clock % 1_000).expect("small") * 1_000
    }

    pub(super) fn is_up(&self, at: Id) -> bool {
        self.nodes[at].state.is_some()
    }

    pub(super) fn running(&self) -> Vec<Id> {
        (0..self.nodes.len()).filter(|at| self.is_up(*at)).collect()
    }

    pub(super) fn counts(&self, at: Id) -> Option<FolderCounts> {
        self.nodes[at].state.as_ref().map(State::counts)
    }

    // ---- lives

    pub(super) fn start(&mut self, at: Id) {
        if self.is_up(at) {
            return;
        }
        let wall = self.true_ms().saturating_add_signed(self.nodes[at].skew_ms);
        let seed = self.rng.random();
        self.tell(|| format!("start {at}"));
        let node = &mut self.nodes[at];
        node.life += 1;
        node.began_us = self.clock;
        // A node never begins a life with an epoch it had before, whatever its clock says.
        node.epoch = Epoch(wall.max(node.epoch.0 + 1));
        let is_new = !std::mem::replace(&mut node.disk.is_marked, true);
        let rows = node.disk.index();
        node.state = Some(State::new(name(at), node.epoch, self.config.clone(), seed, rows, is_new));
        node.busy.clear();
        let (epoch, mut effects) = (node.epoch, Vec::new());
        node.state.as_mut().expect("it was just made").start(Millis(0), &mut effects);
        self.carry_out(at, effects);
        let watches = self.nodes[at].watches;
        self.feed(at, Input::Watching(watches));
        for other in self.running() {
            if other != at && !self.is_cut(at, other) {
                self.announce(other, at, Some(epoch), JOINING_MS);
                let epoch = self.nodes[other].epoch;
                self.announce(at, other, Some(epoch), JOINING_MS);
            }
        }
    }

    /// A crash: nothing is said, and what was not synced may be gone.
    pub(super) fn crash(&mut self, at: Id) {
        self.tell(|| format!("crash {at}"));
        if self.nodes[at].state.take().is_none() {
            return;
        }
        self.nodes[at].paused_until = 0;
        let rng = &mut self.rng;
        self.nodes[at].disk.crash(rng);
        self.users.crashed(at);
        let peers: Vec<Id> = (0..self.nodes.len()).filter(|other| *other != at).collect();
        for other in peers {
            self.break_connection(at, other);
            self.believed.remove(&(at, other));
            if self.is_up(other) {
                self.announce(other, at, None, DETECTION_MS);
            }
        }
    }

    pub(super) fn start_later(&mut self, at: Id, ms: u64) {
        self.queue.push(self.clock + ms * 1_000, Event::Start { at });
    }

    pub(super) fn pause(&mut self, at: Id, ms: u64) {
        self.nodes[at].paused_until = self.clock + ms * 1_000;
    }

    // ---- cuts

    pub(super) fn is_cut(&self, a: Id, b: Id) -> bool {
        self.cut.contains(&pair(a, b))
    }

    pub(super) fn cut(&mut self, side: &[Id]) {
        let others: Vec<Id> = (0..self.nodes.len()).filter(|id| !side.contains(id)).collect();
        for (a, b) in side.iter().flat_map(|a| others.iter().map(move |b| (*a, *b))) {
            if self.cut.insert(pair(a, b)) {
                self.break_connection(a, b);
                self.announce(a, b, None, DETECTION_MS);
                self.announce(b, a, None, DETECTION_MS);
            }
        }
    }

    pub(super) fn heal(&mut self) {
        for (a, b) in std::mem::take(&mut self.cut) {
            for (at, whom) in [(a, b), (b, a)] {
                if self.is_up(at) && self.is_up(whom) {
                    let epoch = self.nodes[whom].epoch;
                    self.announce(at, whom, Some(epoch), JOINING_MS);
                }
            }
        }
    }

    /// A connection between two breaks, as when a router restarts: both hear of it, what was on its way is lost.
    pub(super) fn break_connection(&mut self, a: Id, b: Id) {
        if self.connections.remove(&pair(a, b)).is_none() {
            return;
        }
        for (at, peer) in [(a, b), (b, a)] {
            let late = self.rng.random_range(0..200_000);
            let life = self.nodes[at].life;
            self.queue.push(self.clock + late, Event::Broke { at, life, peer });
        }
    }

    fn announce(&mut self, at: Id, whom: Id, up: Option<Epoch>, after_ms: std::ops::RangeInclusive<u64>) {
        let due = self.clock + self.rng.random_range(after_ms) * 1_000;
        let life = self.nodes[at].life;
        self.queue.push(due, Event::Member { at, life, whom, up });
    }

    // ---- what happens

    /// Lets time pass.
    pub(super) fn run_for(&mut self, ms: u64) {
        let end = self.clock + ms * 1_000;
        while let Some((at, event)) = self.queue.pop(end) {
            self.clock = self.clock.max(at);
            self.happen(event);
        }
        self.clock = end;
    }

    /// Lets time pass until something holds, at most so long; whether it came to hold.
    pub(super) fn run_until(&mut self, ms: u64, holds: impl Fn(&Self) -> bool) -> bool {
        for _ in 0..ms / 50 {
            if holds(self) {
                return true;
            }
            self.run_for(50);
        }
        holds(self)
    }

    fn happen(&mut self, event: Event) {
        let (whose, life) = match &event {
            Event::Arrive { to, .. } => (*to, self.nodes[*to].life),
            Event::Broke { at, life, .. }
            | Event::Disk { at, life, .. }
            | Event::Told { at, life, .. }
            | Event::Timer { at, life, .. }
            | Event::Member { at, life, .. }
            | Event::Touched { at, life, .. } => (*at, *life),
            Event::Start { at } => return self.start(*at),
        };
        let node = &self.nodes[whose];
        if node.state.is_none() || node.life != life {
            return;
        }
        if node.paused_until > self.clock && !matches!(event, Event::Disk { .. }) {
            // The kernel goes on, the process does not.
            let until = node.paused_until;
            return self.queue.push(until, event);
        }
        match event {
            Event::Arrive { from, to, connection, message } => {
                if self.connections.get(&pair(from, to)).is_some_and(|(number, _)| *number == connection) {
                    self.feed(to, Input::Received { from: name(from), message });
                }
            }
            Event::Broke { at, peer, .. } => self.feed(at, Input::Unreachable { peer: name(peer) }),
            Event::Disk { at, life, order, what } => self.carry_out_order(at, life, order, what),
            Event::Told { at, order, done, .. } => self.feed(at, Input::Done { order, done }),
            Event::Timer { at, timer, .. } => self.feed(at, Input::TimerFired(timer)),
            Event::Member { at, whom, up, .. } => self.hear_of(at, whom, up),
            Event::Touched { at, path, .. } => self.feed(at, Input::Touched { path }),
            Event::Start { .. } => {}
        }
    }

    /// News of a member, unless it is outdated: what stands now is what is told.
    fn hear_of(&mut self, at: Id, whom: Id, up: Option<Epoch>) {
        let now = self.nodes[whom].state.as_ref().map(|_| self.nodes[whom].epoch).filter(|_| !self.is_cut(at, whom));
        // A death is told even of one that is back: it was dead.
        if up.is_some() && up != now || self.believed.get(&(at, whom)) == Some(&up) {
            return;
        }
        if up.is_none() && now.is_some() && self.believed.get(&(at, whom)) == Some(&now) {
            return;
        }
        self.believed.insert((at, whom), up);
        let name = name(whom);
        self.feed(at, up.map_or(Input::MemberDown { name: name.clone() }, |epoch| Input::MemberUp { name, epoch }));
    }

    fn feed(&mut self, at: Id, input: Input) {
        let now = Millis((self.clock - self.nodes[at].began_us) / 1_000);
        self.note(at, &input);
        let mut effects = Vec::new();
        let Some(state) = self.nodes[at].state.as_mut() else { return };
        state.handle(now, input, &mut effects);
        self.carry_out(at, effects);
    }

    /// One seed, one story.
    fn note(&mut self, at: Id, input: &Input) {
        let kind = match input {
            Input::Received { message, .. } => format!("{message:?}").len(),
            other => format!("{other:?}").len(),
        };
        let mixed = self.story ^ (self.clock << 8) ^ (at as u64) ^ ((kind as u64) << 40);
        self.story = mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23);
    }

    fn carry_out(&mut self, at: Id, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send { to, message } => {
                    let to = to.number().expect("our names have numbers") as Id - 1;
                    self.send(at, to, message);
                }
                Effect::Disk { order, what } => self.give(at, order, what),
                Effect::Answer { id, answer } => {
                    let twice = self.answers.insert((at, id), answer);
                    assert!(twice.is_none(), "question {id} of node {at} was answered twice");
                }
                Effect::SetTimer { after, timer } => {
                    let late = self.rng.random_range(0..3_000);
                    let life = self.nodes[at].life;
                    self.queue.push(self.clock + after.0 * 1_000 + late, Event::Timer { at, life, timer });
                }
                Effect::Announce(_) => {}
            }
        }
    }

    fn send(&mut self, from: Id, to: Id, message: Message) {
        assert_ne!(from, to, "nobody sends packets to itself");
        self.packets += 1;
        if self.is_cut(from, to) || !self.is_up(to) {
            // A dial into nothing.
            let late = self.rng.random_range(100..2_000_000);
            let life = self.nodes[from].life;
            return self.queue.push(self.clock + late, Event::Broke { at: from, life, peer: to });
        }
        let message = self.lie(from, message);
        let (connected, clock) = (&mut self.connected, self.clock);
        let (connection, due) = self.connections.entry(pair(from, to)).or_insert_with(|| {
            *connected += 1;
            (*connected, [clock; 2])
        });
        let travel = self.rng.random_range(100..3_000);
        let lane = &mut due[usize::from(from > to)];
        *lane = (*lane).max(clock + travel);
        let (connection, due) = (*connection, *lane);
        self.queue.push(due, Event::Arrive { from, to, connection, message });
    }

    /// What a liar makes of it.
    fn lie(&mut self, from: Id, message: Message) -> Message {
        let Some(one_in) = self.nodes[from].lies else { return message };
        if !self.rng.random_bool(1.0 / f64::from(one_in)) {
            return message;
        }
        let spoil = |bytes: &Bytes| {
            let mut spoiled = bytes.to_vec();
            if let Some(byte) = spoiled.last_mut() {
                *byte ^= 1;
            }
            Bytes::from(spoiled)
        };
        match message {
            Message::Transfer(Transfer::Chunk { root, chunk, bytes }) => {
                self.lies_told += 1;
                Message::Transfer(Transfer::Chunk { root, chunk, bytes: spoil(&bytes) })
            }
            Message::Transfer(Transfer::Bundle { call, mut files, lacking, later }) => {
                if let Some((_, bytes)) = files.choose(&mut self.rng).cloned() {
                    let at = files.iter().position(|(_, other)| *other == bytes).expect("it is one of them");
                    files[at].1 = spoil(&bytes);
                    self.lies_told += u64::from(!bytes.is_empty());
                }
                Message::Transfer(Transfer::Bundle { call, files, lacking, later })
            }
            other => other,
        }
    }

    // ---- disks

    fn give(&mut self, at: Id, order: OrderId, what: Order) {
        let takes = match &what {
            Order::Persist { .. } | Order::Place(_) => self.rng.random_range(500..8_000),
            Order::Walk { .. } => self.rng.random_range(500..20_000),
            _ => self.rng.random_range(50..2_000),
        };
        let path = what.path().cloned();
        let mut due = self.clock + takes;
        let node = &mut self.nodes[at];
        if let Some(path) = path {
            let busy = node.busy.entry(path).or_insert(0);
            due = due.max(*busy + 1);
            *busy = due;
        }
        let life = node.life;
        self.queue.push(due, Event::Disk { at, life, order, what });
    }

    fn carry_out_order(&mut self, at: Id, life: u64, order: OrderId, what: Order) {
        let wall_ns = self.wall_ns(at);
        let touched = match &what {
            Order::Place(place) => Some(place.path.clone()),
            Order::Remove { path, .. } | Order::Touch { path, .. } => Some(path.clone()),
            _ => None,
        };
        let before = touched.as_ref().and_then(|path| self.nodes[at].disk.files.get(path).cloned());
        let aside = match &what {
            Order::SetAside { root, .. } | Order::Forget { root } => Some(*root),
            _ => None,
        };
        let was_aside = aside.is_some_and(|root| self.nodes[at].disk.asides.contains_key(&root));
        let said = touched.as_ref().map(|_| format!("{what:?}"));
        let done = self.nodes[at].disk.carry_out(what, wall_ns);
        if let Some(root) = aside {
            let is_aside = self.nodes[at].disk.asides.contains_key(&root);
            if is_aside != was_aside {
                self.users.engine_set_aside(at, root, is_aside);
            }
        }
        if let Some(said) = said {
            let said: String = said.chars().take(300).collect();
            self.tell(|| {
                format!(
                    "node {at}: {said} -> {:?}",
                    done.iter()
                        .map(|done| format!("{done:?}").chars().take(60).collect::<String>())
                        .collect::<Vec<_>>()
                )
            });
        }
        if let Some(path) = touched {
            let after = self.nodes[at].disk.files.get(&path).cloned();
            self.users.engine_changed(at, &path, before.as_ref(), after.as_ref());
            // Its own doings are seen by the watch as well.
            self.notice(at, &path);
        }
        for (page, done) in done.into_iter().enumerate() {
            let late = self.rng.random_range(10..500) + page as u64 * 500;
            self.queue.push(self.clock + late, Event::Told { at, life, order, done });
        }
    }

    /// The watch notices, if it does.
    pub(super) fn notice(&mut self, at: Id, path: &FilePath) {
        let node = &self.nodes[at];
        if node.watches && node.state.is_some() {
            let late = self.rng.random_range(100..20_000);
            let life = node.life;
            self.queue.push(self.clock + late, Event::Touched { at, life, path: path.clone() });
        }
    }

    pub(super) fn set_health(&mut self, at: Id, health: Health) {
        self.nodes[at].disk.health = health;
    }

    // ---- questions

    /// Asks on behalf of a user; the question's number.
    pub(super) fn ask(&mut self, at: Id, request: Request) -> RequestId {
        self.requests += 1;
        let id = self.requests;
        self.feed(at, Input::Asked { id, request });
        id
    }
}
