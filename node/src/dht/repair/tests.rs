//! Repair on a pretend network: nodes with nothing but a store and repair, a wire that takes its time and a disk that does.

mod change;
mod rest;
mod trouble;

use std::collections::{BTreeMap, BTreeSet};

use p2pnet_shared::{
    NodeName, UnixMillis,
    ring::{Place, Ring},
    wire::{
        Codec,
        dht::{Actor, Dot, Entry, Message, PACKET_MAX_BYTES, Packet, Refusal, Repair as Said, Value, Version},
    },
};

use super::{Around, Repair};
use crate::{
    dht::{
        Config, Effect, Timer,
        store::{Changed, Store},
    },
    time::Millis,
};

/// How long a packet and a batch take, milliseconds.
const WIRE: u64 = 2;
const DISK: u64 = 5;

#[derive(Debug)]
enum Event {
    Packet { from: NodeName, to: NodeName, life: u64, said: Said },
    Timer { at: NodeName, life: u64, timer: Timer },
    Disk { at: NodeName, life: u64, batch: u64 },
}

struct Node {
    store: Store,
    repair: Repair,
    ring: Ring,
    /// Which start of it.
    life: u64,
    is_up: bool,
    refuses: Option<Refusal>,
    /// The entries on its disk.
    disk: BTreeMap<(Place, String), Entry>,
    under_way: Vec<(u64, Vec<crate::dht::Change>)>,
}

struct Net {
    config: Config,
    codec: Codec,
    now: u64,
    seq: u64,
    events: BTreeMap<(u64, u64), Event>,
    nodes: BTreeMap<NodeName, Node>,
    /// Pairs that do not hear each other, the smaller name first.
    cut: BTreeSet<(NodeName, NodeName)>,
    /// Packets so far, and their bytes.
    packets: u64,
    sent: BTreeMap<NodeName, (u64, usize)>,
    /// Every event in order, if wanted.
    is_traced: bool,
    trace: u64,
}

fn node(number: u32) -> NodeName {
    NodeName::numbered(number)
}

fn entry(key: &str, writer: u32, count: u64, replaces: &[(u32, u64)], text: Option<&str>) -> Entry {
    let actor = |number: u32| Actor { node: node(number), era: 1 };
    let context = replaces.iter().map(|(number, count)| (actor(*number), *count)).collect();
    let value = text.map(|text| Value::new(&serde_json::Value::from(text)).unwrap());
    let version = Version { dot: Dot { actor: actor(writer), count }, context, at: UnixMillis(count), value };
    Entry { key: key.parse().unwrap(), versions: vec![version] }
}

impl Net {
    fn new(count: u32, config: Config) -> Self {
        let mut net = Self {
            config,
            codec: Codec::new(&"lab".parse().unwrap(), None),
            now: 0,
            seq: 0,
            events: BTreeMap::new(),
            nodes: BTreeMap::new(),
            cut: BTreeSet::new(),
            packets: 0,
            sent: BTreeMap::new(),
            is_traced: false,
            trace: 0,
        };
        (1..=count).for_each(|number| net.start(&node(number), BTreeMap::new()));
        net.believe_truth();
        net
    }

    fn start(&mut self, name: &NodeName, disk: BTreeMap<(Place, String), Entry>) {
        let life = self.nodes.get(name).map_or(1, |node| node.life + 1);
        let held = disk.values().cloned().collect();
        let mut store = Store::new(self.config.bytes_max, self.config.tombstone_life, held);
        store.take_changed();
        let ring = Ring::of(self.config.vnodes, [name.clone()]);
        let repair = Repair::default();
        let node = Node { store, repair, ring, life, is_up: true, refuses: None, disk, under_way: Vec::new() };
        self.nodes.insert(name.clone(), node);
        self.with(name, |repair, around| repair.start(around));
    }

    /// Does something at a node and carries out what comes of it.
    fn with(&mut self, name: &NodeName, act: impl FnOnce(&mut Repair, &mut Around<'_>)) {
        // Out of the map while it acts: the others are looked at.
        let Some(mut node) = self.nodes.remove(name) else { return };
        if !node.is_up {
            self.nodes.insert(name.clone(), node);
            return;
        }
        let (nodes, cut) = (&self.nodes, &self.cut);
        let is_reachable = |peer: &NodeName| {
            let pair = if peer < name { (peer.clone(), name.clone()) } else { (name.clone(), peer.clone()) };
            nodes.get(peer).is_some_and(|node| node.is_up) && !cut.contains(&pair)
        };
        let (mut effects, mut dropped, mut ring_digest) = (Vec::new(), Vec::new(), None);
        let life = node.life;
        let Node { store, repair, ring, under_way, .. } = &mut node;
        let mut around = Around {
            now: Millis(self.now),
            wall: UnixMillis(self.now),
            me: name,
            config: &self.config,
            ring,
            ring_digest: &mut ring_digest,
            store,
            is_reachable: &is_reachable,
            effects: &mut effects,
            dropped: &mut dropped,
        };
        act(repair, &mut around);
        let changes: Vec<Changed> = around.store.take_changed();
        repair.changed(&mut around, &changes);
        while let Some((batch, changes)) = around.store.flush().or_else(|| around.store.retry()) {
            under_way.push((batch, changes));
            let event = Event::Disk { at: name.clone(), life, batch };
            self.seq += 1;
            self.events.insert((self.now + DISK, self.seq), event);
        }
        self.nodes.insert(name.clone(), node);
        for effect in effects {
            match effect {
                Effect::Send { to, packet: Packet { message: Message::Repair(said), .. } } => {
                    let bytes = self.codec.encode(&said).len();
                    assert!(bytes < PACKET_MAX_BYTES);
                    let sent = self.sent.entry(name.clone()).or_default();
                    (sent.0, sent.1) = (sent.0 + 1, sent.1 + bytes);
                    self.packets += 1;
                    let life = self.nodes.get(&to).map_or(0, |node| node.life);
                    self.put(WIRE, Event::Packet { from: name.clone(), to, life, said });
                }
                Effect::SetTimer { after, timer } => self.put(after.0, Event::Timer { at: name.clone(), life, timer }),
                _ => {}
            }
        }
    }

    fn put(&mut self, after: u64, event: Event) {
        self.seq += 1;
        self.events.insert((self.now + after, self.seq), event);
    }

    fn run(&mut self, time: u64) {
        let end = self.now + time;
        while let Some(((at, _), event)) = self.events.pop_first() {
            if at > end {
                self.put_back(at, event);
                break;
            }
            self.now = at;
            if self.is_traced {
                self.trace = crate::dht::version::mix(self.trace ^ at ^ text_hash(&event));
            }
            self.event(event);
        }
        self.now = end;
    }

    fn put_back(&mut self, at: u64, event: Event) {
        // It was the first: it stays the first of its millisecond.
        self.events.insert((at, 0), event);
    }

    /// Runs until it holds, for `most` milliseconds at most; says after how many it did.
    fn until(&mut self, most: u64, holds: impl Fn(&Self) -> bool) -> Option<u64> {
        let begin = self.now;
        while self.now - begin <= most {
            if holds(self) {
                return Some(self.now - begin);
            }
            self.run(50);
        }
        None
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Packet { from, to, life, said } => {
                let pair = if from < to { (from.clone(), to.clone()) } else { (to.clone(), from.clone()) };
                let heard = self.nodes.get(&to).is_some_and(|node| node.life == life && node.is_up);
                if heard && !self.cut.contains(&pair) {
                    self.with(&to, |repair, around| repair.received(around, &from, said));
                }
            }
            Event::Timer { at, life, timer: Timer::Repair { due } } if self.nodes[&at].life == life => {
                self.with(&at, |repair, around| repair.timer(around, due));
            }
            Event::Disk { at, life, batch } if self.nodes[&at].life == life => self.disk(&at, batch),
            _ => {}
        }
    }

    fn disk(&mut self, name: &NodeName, batch: u64) {
        let node = self.nodes.get_mut(name).unwrap();
        if let Some(why) = node.refuses {
            node.under_way.clear();
            node.store.on_not_persisted(batch, why);
            self.with(name, |repair, around| repair.not_persisted(around, batch, why));
            return;
        }
        let done = node.under_way.iter().take_while(|(number, _)| *number <= batch).count();
        for change in node.under_way.drain(..done).flat_map(|(_, changes)| changes) {
            match change {
                crate::dht::Change::Put(entry) => {
                    node.disk.insert((Place::of(entry.key.as_str()), entry.key.to_string()), entry);
                }
                crate::dht::Change::Drop(key) => {
                    node.disk.remove(&(Place::of(key.as_str()), key.to_string()));
                }
            }
        }
        node.store.on_persisted(batch);
        self.with(name, |repair, around| repair.persisted(around, batch));
    }

    /// A node hears of who is there.
    fn believe(&mut self, name: &NodeName, members: impl IntoIterator<Item = NodeName>) {
        self.believe_ring(name, Ring::of(self.config.vnodes, members.into_iter().chain([name.clone()])));
    }

    fn believe_ring(&mut self, name: &NodeName, ring: Ring) {
        let old = std::mem::replace(&mut self.nodes.get_mut(name).unwrap().ring, ring);
        if self.nodes[name].ring != old {
            self.with(name, |repair, around| repair.ring_changed(around, &old));
        }
    }

    /// Every node that is up learns who is.
    fn believe_truth(&mut self) {
        let (up, truth): (Vec<NodeName>, Ring) = (self.up().cloned().collect(), self.truth());
        up.iter().for_each(|name| self.believe_ring(name, truth.clone()));
    }

    fn up(&self) -> impl Iterator<Item = &NodeName> {
        self.nodes.iter().filter(|(_, node)| node.is_up).map(|(name, _)| name)
    }

    fn kill(&mut self, name: &NodeName) {
        let node = self.nodes.get_mut(name).unwrap();
        (node.is_up, node.life) = (false, node.life + 1);
    }

    /// Starts it again with its disk.
    fn restart(&mut self, name: &NodeName) {
        let disk = std::mem::take(&mut self.nodes.get_mut(name).unwrap().disk);
        self.start(name, disk);
    }

    /// Puts an entry at a node as a coordinator would.
    fn put_at(&mut self, name: &NodeName, entry: &Entry) {
        let place = Place::of(entry.key.as_str());
        self.with(name, |_, around| {
            let _ = around.store.merge(place, entry, true, around.wall);
        });
    }

    /// Puts an entry at its replicas by the truth.
    fn put_everywhere(&mut self, entry: &Entry) {
        let truth = self.truth();
        self.put_by(&truth, entry);
    }

    fn put_by(&mut self, ring: &Ring, entry: &Entry) {
        for name in ring.preference(Place::of(entry.key.as_str()), usize::from(self.config.n)) {
            self.put_at(&name, entry);
        }
    }

    fn fill(&mut self, keys: u32) {
        let truth = self.truth();
        for number in 0..keys {
            let value = "v".repeat(100);
            self.put_by(&truth, &entry(&format!("key{number}"), 1, u64::from(number) + 1, &[], Some(&value)));
        }
    }

    fn truth(&self) -> Ring {
        Ring::of(self.config.vnodes, self.up().cloned())
    }

    fn replicas(&self, key: &str) -> Vec<NodeName> {
        self.truth().preference(Place::of(key), usize::from(self.config.n))
    }

    fn holders(&self, key: &str) -> Vec<NodeName> {
        let key: p2pnet_shared::Key = key.parse().unwrap();
        let holds = |node: &&NodeName| self.nodes[*node].store.get(Place::of(key.as_str()), &key).is_some();
        self.up().filter(holds).cloned().collect()
    }

    /// Whether each of `keys` is at exactly its replicas, with the same versions, on their disks.
    fn is_whole(&self, keys: u32) -> bool {
        let ring = self.truth();
        let mut found = 0;
        let mut hashes = BTreeMap::new();
        for (name, node) in self.nodes.iter().filter(|(_, node)| node.is_up) {
            for (place, held) in node.store.iter() {
                let is_at_home = ring.walk(ring.arc(place)).take(usize::from(self.config.n)).any(|at| at == name);
                let same = *hashes.entry(held.entry.key.clone()).or_insert(held.hash) == held.hash;
                if !is_at_home || !same || !node.store.is_on_disk(place, held) {
                    return false;
                }
                found += 1;
            }
        }
        hashes.len() == keys as usize && found == hashes.len() * usize::from(self.config.n).min(ring.members().len())
    }

    /// Whether every node is settled wherever it is a replica of something.
    fn is_settled(&self) -> bool {
        self.nodes.values().filter(|node| node.is_up).all(|node| {
            node.store.iter().all(|(place, _)| node.repair.is_settled(place)) && node.repair.misplaced.is_empty()
        })
    }
}

fn text_hash(event: &Event) -> u64 {
    let text = format!("{event:?}");
    text.bytes().fold(7, |hash, byte| crate::dht::version::mix(hash ^ u64::from(byte)))
}
