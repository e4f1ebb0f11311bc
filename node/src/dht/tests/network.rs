//! Some nodes on a pretend network with pretend disks: delays, broken connections, cuts, crashes, all from one seed.

use std::collections::BTreeMap;

use p2pnet_shared::{
    Epoch, Key, NodeName,
    ring::Place,
    wire::dht::{Entry, Operation, Packet, Refusal},
};
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};

use super::{node, value};
use crate::{
    dht::{Answer, Change, Config, Effect, Input, Request, RequestId, State, Timer},
    pretend::{Agenda, Ways},
    time::Millis,
};

/// When a crash is noticed by all others, and a start.
const DETECTED: u64 = 2_000;
pub(super) const NOTICED: u64 = 50;

#[derive(Debug)]
enum Event {
    Packet { from: NodeName, to: NodeName, packet: Packet },
    Broken { at: NodeName, peer: NodeName },
    Timer { at: NodeName, epoch: Epoch, timer: Timer },
    Disk { at: NodeName, epoch: Epoch, batch: u64, changes: Vec<Change> },
    Member { at: NodeName, name: NodeName, up: bool },
}

pub(super) struct Node {
    pub(super) state: Option<State>,
    pub(super) disk: BTreeMap<Key, Entry>,
    epoch: Epoch,
    booted: u64,
    paused: bool,
    /// What came while it was paused.
    waiting: Vec<Event>,
    /// Its disk refuses.
    pub(super) refuses: Option<Refusal>,
    pub(super) broken: bool,
}

pub(super) struct Net {
    pub(super) now: u64,
    pub(super) nodes: BTreeMap<NodeName, Node>,
    config: Config,
    agenda: Agenda<Event>,
    rng: Xoshiro256PlusPlus,
    /// Out of a thousand packets, how many break their connection.
    pub(super) loss: u32,
    /// Milliseconds a disk takes at most.
    pub(super) disk_ms: u64,
    /// Milliseconds a packet takes.
    pub(super) delay_ms: std::ops::Range<u64>,
    ways: Ways,
    asked: u64,
    pub(super) answers: BTreeMap<RequestId, (u64, Answer)>,
    pub(super) packets: u64,
}

impl Net {
    pub(super) fn new(nodes: u32, seed: u64, config: Config) -> Self {
        let mut net = Self {
            now: 1_000_000,
            nodes: BTreeMap::new(),
            config,
            agenda: Agenda::new(),
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            loss: 0,
            disk_ms: 5,
            delay_ms: 1..4,
            ways: Ways::default(),
            asked: 0,
            answers: BTreeMap::new(),
            packets: 0,
        };
        for number in 1..=nodes {
            net.start(&node(number));
        }
        net.run(NOTICED * 2);
        net
    }

    pub(super) fn names(&self) -> Vec<NodeName> {
        self.nodes.keys().cloned().collect()
    }

    fn up(&self, name: &NodeName) -> bool {
        self.nodes.get(name).is_some_and(|node| node.state.is_some())
    }

    /// Starts a node with what its disk holds.
    pub(super) fn start(&mut self, name: &NodeName) {
        let old = self.nodes.remove(name);
        let (disk, refuses, broken) =
            old.map_or((BTreeMap::new(), None, false), |old| (old.disk, old.refuses, old.broken));
        let epoch = Epoch(self.now);
        let seed = self.rng.random();
        let mut state = if broken {
            State::broken(name.clone(), epoch, self.config.clone(), seed)
        } else {
            State::new(name.clone(), epoch, self.config.clone(), seed, disk.values().cloned().collect())
        };
        let mut effects = Vec::new();
        state.start(Millis(0), &mut effects);
        let node = Node {
            state: Some(state),
            disk,
            epoch,
            booted: self.now,
            paused: false,
            waiting: Vec::new(),
            refuses,
            broken,
        };
        self.nodes.insert(name.clone(), node);
        self.carry_out(name, effects);
        for other in self.names() {
            if other != *name && self.up(&other) {
                self.later(NOTICED, Event::Member { at: other.clone(), name: name.clone(), up: true });
                self.later(NOTICED, Event::Member { at: name.clone(), name: other, up: true });
            }
        }
    }

    /// Ends a node without a word: what was not on its disk is gone.
    pub(super) fn crash(&mut self, name: &NodeName) {
        self.nodes.get_mut(name).unwrap().state = None;
        for other in self.names() {
            self.later(1, Event::Broken { at: other.clone(), peer: name.clone() });
            self.later(DETECTED, Event::Member { at: other, name: name.clone(), up: false });
        }
    }

    pub(super) fn pause(&mut self, name: &NodeName) {
        self.nodes.get_mut(name).unwrap().paused = true;
    }

    pub(super) fn resume(&mut self, name: &NodeName) {
        let node = self.nodes.get_mut(name).unwrap();
        node.paused = false;
        for event in std::mem::take(&mut node.waiting) {
            self.later(1, event);
        }
    }

    /// Cuts one group off from all others, with or without anybody being believed dead for it.
    pub(super) fn cut(&mut self, group: &[NodeName], believed: bool) {
        for (one, other) in self.ways.cut(self.names(), group) {
            if believed {
                self.later(DETECTED, Event::Member { at: one, name: other, up: false });
            }
        }
    }

    pub(super) fn heal(&mut self) {
        for (one, other) in self.ways.heal() {
            self.later(NOTICED, Event::Member { at: one, name: other, up: true });
        }
    }

    fn later(&mut self, after: u64, event: Event) {
        self.agenda.set(self.now + after, event);
    }

    /// Lets time pass.
    pub(super) fn run(&mut self, millis: u64) {
        let end = self.now + millis;
        while let Some((at, event)) = self.agenda.next(end) {
            self.now = at;
            self.happen(event);
        }
        self.now = end;
    }

    /// Lets time pass until something holds.
    pub(super) fn until(&mut self, millis: u64, holds: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + millis;
        while !holds(self) && self.now < end {
            self.run(5);
        }
        holds(self)
    }

    fn happen(&mut self, event: Event) {
        let name = match &event {
            Event::Packet { to, .. } => to,
            Event::Broken { at, .. } | Event::Timer { at, .. } | Event::Disk { at, .. } | Event::Member { at, .. } => {
                at
            }
        }
        .clone();
        let Some(node) = self.nodes.get_mut(&name) else { return };
        if node.paused && !matches!(event, Event::Disk { .. }) {
            return node.waiting.push(event);
        }
        match event {
            Event::Packet { from, packet, .. } => self.feed(&name, Input::Received { from, packet }),
            Event::Broken { peer, .. } => self.feed(&name, Input::Unreachable { peer }),
            Event::Timer { epoch, timer, .. } if node.epoch == epoch => self.feed(&name, Input::TimerFired(timer)),
            Event::Member { name: member, up: false, .. } => self.declare(&name, member),
            Event::Member { name: member, up: true, .. } => {
                if let Some(epoch) = self.nodes.get(&member).filter(|node| node.state.is_some()).map(|node| node.epoch)
                {
                    self.feed(&name, Input::MemberUp { name: member, epoch });
                }
            }
            Event::Disk { epoch, batch, changes, .. } if node.epoch == epoch && node.state.is_some() => {
                if let Some(why) = node.refuses {
                    return self.feed(&name, Input::NotPersisted { batch, why });
                }
                for change in changes {
                    match change {
                        Change::Put(entry) => drop(node.disk.insert(entry.key.clone(), entry)),
                        Change::Drop(key) => drop(node.disk.remove(&key)),
                    }
                }
                self.feed(&name, Input::Persisted { batch });
            }
            _ => {}
        }
    }

    /// One takes another for dead, unless it came back before.
    fn declare(&mut self, at: &NodeName, member: NodeName) {
        if !self.up(&member) || self.ways.is_cut(at, &member) {
            self.feed(at, Input::MemberDown { name: member });
        }
    }

    pub(super) fn feed(&mut self, name: &NodeName, input: Input) {
        let Some(node) = self.nodes.get_mut(name) else { return };
        let Some(state) = &mut node.state else { return };
        let mut effects = Vec::new();
        state.handle(Millis(self.now - node.booted), input, &mut effects);
        self.carry_out(name, effects);
    }

    fn carry_out(&mut self, name: &NodeName, effects: Vec<Effect>) {
        let epoch = self.nodes[name].epoch;
        for effect in effects {
            match effect {
                Effect::Send { to, packet } => self.send(name, to, packet),
                Effect::Persist { batch, changes } => {
                    let after = self.rng.random_range(1..=self.disk_ms);
                    // A disk does one thing after the other.
                    let at = self.ways.in_order(name, name, self.now + after);
                    self.agenda.set(at, Event::Disk { at: name.clone(), epoch, batch, changes });
                }
                Effect::Answer { id, answer } => {
                    let first = self.answers.insert(id, (self.now, answer));
                    assert!(first.is_none(), "request {id} is answered twice: {first:?}");
                }
                Effect::SetTimer { after, timer } => {
                    self.later(after.0.max(1), Event::Timer { at: name.clone(), epoch, timer });
                }
                Effect::Announce(_) => {}
            }
        }
    }

    fn send(&mut self, from: &NodeName, to: NodeName, packet: Packet) {
        self.packets += 1;
        assert_ne!(*from, to, "nobody sends to itself: {packet:?}");
        if self.ways.is_cut(from, &to) || !self.up(&to) || self.rng.random_range(0..1_000) < self.loss {
            let after = self.rng.random_range(1..30);
            return self.later(after, Event::Broken { at: from.clone(), peer: to });
        }
        let after = self.rng.random_range(self.delay_ms.clone());
        let at = self.ways.in_order(from, &to, self.now + after);
        self.agenda.set(at, Event::Packet { from: from.clone(), to, packet });
    }

    /// Asks a node something; the answer will be under this number.
    pub(super) fn ask(&mut self, via: &NodeName, request: Request) -> RequestId {
        self.asked += 1;
        let id = self.asked;
        self.feed(via, Input::Asked { id, request });
        id
    }

    /// Waits for an answer. Everybody gets one by the deadline.
    pub(super) fn answer(&mut self, id: RequestId) -> Answer {
        assert!(
            self.until(self.config.deadline.0 + 60, |net| net.answers.contains_key(&id)),
            "request {id} has no answer"
        );
        self.answers[&id].1.clone()
    }

    pub(super) fn put(&mut self, via: u32, key: &str, text: &str) -> Answer {
        let id = self.ask(&node(via), put(key, text));
        self.answer(id)
    }

    pub(super) fn delete(&mut self, via: u32, key: &str) -> Answer {
        let operation = Operation::Delete { key: key.parse().unwrap() };
        let id = self.ask(&node(via), Request::Write(operation));
        self.answer(id)
    }

    pub(super) fn get(&mut self, via: u32, key: &str) -> Answer {
        let id = self.ask(&node(via), Request::Read(key.parse().unwrap()));
        self.answer(id)
    }

    /// The list of a key, as all members together have it.
    pub(super) fn list(&self, key: &str) -> Vec<NodeName> {
        let state = self.nodes.values().find_map(|node| node.state.as_ref()).unwrap();
        state.ring().preference(Place::of(key), 99)
    }

    /// How many disks hold exactly one live version of a key, with this value.
    pub(super) fn copies(&self, key: &str, text: &str) -> usize {
        let key: Key = key.parse().unwrap();
        let has = |node: &&Node| {
            let entry = node.disk.get(&key);
            entry.is_some_and(|entry| matches!(&entry.versions[..], [one] if one.value == Some(value(text))))
        };
        self.nodes.values().filter(has).count()
    }
}

pub(super) fn put(key: &str, text: &str) -> Request {
    Request::Write(Operation::Put { key: key.parse().unwrap(), value: value(text) })
}

pub(super) fn found(text: &str) -> Answer {
    Answer::Found { value: value(text), siblings: Vec::new() }
}

pub(super) fn is_stored(answer: &Answer) -> bool {
    matches!(answer, Answer::Stored { .. })
}
