//! Transfers joined by pretend links: every packet takes the same time, bandwidth is what each node's own cap lets through, and disks
//! answer at once. One thread, one seed.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
};

use p2pnet_shared::{
    FilePath, NodeName,
    wire::folder::{Bytes, CHUNK_MAX_BYTES, Message, Root, Transfer as Said},
};
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus, seq::SliceRandom};

use super::super::{Around, Ready, Transfer};
use crate::{
    folder::{
        Config, Done, Effect, Order, OrderId, Source, Stat, Trouble,
        chunks::{Geometry, chaining_value},
    },
    time::Millis,
};

/// A packet's way from one node to another.
const LATENCY: Millis = Millis(1);

/// Bytes of a file, or of a part of it, as they came.
type Pieces = BTreeMap<u64, Bytes>;

pub(super) struct Node {
    pub(super) name: NodeName,
    pub(super) transfer: Transfer,
    pub(super) config: Config,
    pub(super) neighbours: Vec<NodeName>,
    /// Contents under a name.
    pub(super) files: BTreeMap<Root, (u64, Pieces)>,
    /// Unfinished ones.
    pub(super) parts: BTreeMap<Root, Pieces>,
    pub(super) landed: BTreeMap<Root, Millis>,
    /// It is dead: what is sent to it is lost, and the sender is told.
    pub(super) is_dead: bool,
    /// It stands still: what is sent to it waits.
    pub(super) is_paused: bool,
    /// It flips a bit of every chunk and content it sends.
    pub(super) lies: bool,
    /// The disk fails writes.
    pub(super) is_full: bool,
    held_back: Vec<Event>,
    ticks_at: Option<Millis>,
    orders: OrderId,
    /// Requests sent, by kind.
    pub(super) fetches: BTreeMap<NodeName, usize>,
}

#[derive(Debug)]
enum Event {
    Packet { from: usize, to: usize, said: Said },
    Unreachable { at: usize, peer: usize },
    Tick { at: usize },
    Disk { at: usize, order: OrderId, what: Order },
    Place { at: usize, ready: Ready },
}

pub(super) struct Swarm {
    pub(super) nodes: Vec<Node>,
    index: BTreeMap<NodeName, usize>,
    events: BinaryHeap<Reverse<(Millis, u64)>>,
    what: BTreeMap<u64, Event>,
    pub(super) now: Millis,
    last: u64,
    pub(super) rng: Xoshiro256PlusPlus,
    /// How long a disk takes for anything; 0: it answers within the same call.
    pub(super) disk: Millis,
    /// Contents that cannot be placed at first, with a slow disk.
    pub(super) refuses: BTreeSet<Root>,
    /// Packets lost, one in so many; 0: none.
    pub(super) loses: u32,
    /// Loses exactly the packets it says.
    pub(super) drops: Box<dyn FnMut(&Said) -> bool>,
    pub(super) packets: u64,
}

/// Contents that differ from all others.
pub(super) fn contents(size: usize, seed: u64) -> Bytes {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    (0..size.div_ceil(8)).flat_map(|_| rng.random::<u64>().to_le_bytes()).take(size).collect::<Vec<u8>>().into()
}

impl Swarm {
    /// So many nodes, each with about `degree` neighbours: those beside it on some rings.
    pub(super) fn new(nodes: usize, degree: usize, config: &Config, seed: u64) -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let names: Vec<NodeName> = (0..nodes).map(|number| NodeName::numbered(number as u32)).collect();
        let mut beside = vec![BTreeSet::new(); nodes];
        for _ in 0..degree.div_ceil(2) {
            let mut ring: Vec<usize> = (0..nodes).collect();
            ring.shuffle(&mut rng);
            for (at, node) in ring.iter().enumerate() {
                let next = ring[(at + 1) % nodes];
                if next != *node {
                    beside[*node].insert(next);
                    beside[next].insert(*node);
                }
            }
        }
        let node = |(at, beside): (usize, BTreeSet<usize>)| Node {
            name: names[at].clone(),
            transfer: Transfer::new(config, seed ^ (at as u64) << 32),
            config: config.clone(),
            neighbours: beside.into_iter().map(|at| names[at].clone()).collect(),
            files: BTreeMap::new(),
            parts: BTreeMap::new(),
            landed: BTreeMap::new(),
            is_dead: false,
            is_paused: false,
            lies: false,
            is_full: false,
            held_back: Vec::new(),
            ticks_at: None,
            orders: 0,
            fetches: BTreeMap::new(),
        };
        Self {
            index: names.iter().cloned().zip(0..).collect(),
            nodes: beside.into_iter().enumerate().map(node).collect(),
            events: BinaryHeap::new(),
            what: BTreeMap::new(),
            now: Millis(1_000),
            last: 0,
            rng,
            disk: Millis(0),
            refuses: BTreeSet::new(),
            loses: 0,
            drops: Box::new(|_| false),
            packets: 0,
        }
    }

    /// The neighbours of a node.
    pub(super) fn beside(&self, at: usize) -> Vec<usize> {
        self.nodes[at].neighbours.iter().map(|name| self.index[name]).collect()
    }

    /// A node starts anew: what it knew is gone, what is on its disk is there.
    pub(super) fn restart(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        node.transfer = Transfer::new(&node.config, 77);
        node.ticks_at = None;
        node.is_dead = false;
    }

    /// A node has these contents under a name.
    pub(super) fn give(&mut self, at: usize, contents: &Bytes) -> Root {
        let root = Root::of(contents);
        self.nodes[at].files.insert(root, (contents.len() as u64, BTreeMap::from([(0, contents.clone())])));
        root
    }

    /// A node wants contents.
    pub(super) fn want(&mut self, at: usize, root: Root, size: u64, from: Option<usize>) {
        let from = from.map(|from| self.nodes[from].name.clone());
        self.act(at, |transfer, around| transfer.want(around, root, size, from, false));
    }

    /// Has a node's transfer do something, and carries out what it asks for.
    pub(super) fn act(&mut self, at: usize, act: impl FnOnce(&mut Transfer, &mut Around<'_>)) {
        let mut effects = Vec::new();
        self.nodes[at].run(self.now, &mut effects, act);
        self.carry_out(at, effects);
    }

    fn carry_out(&mut self, at: usize, mut effects: Vec<Effect>) {
        loop {
            let asked = std::mem::take(&mut effects);
            let mut answers = Vec::new();
            for effect in asked {
                match effect {
                    Effect::Send { to, message: Message::Transfer(said) } => self.send(at, &to, said),
                    Effect::Disk { order, what } if self.disk > Millis(0) => {
                        self.later(self.now + self.disk, Event::Disk { at, order, what });
                    }
                    Effect::Disk { order, what } => answers.push((order, self.nodes[at].carry_out(what))),
                    other => panic!("a transfer asks for {other:?}"),
                }
            }
            for (order, done) in answers {
                self.nodes[at].run(self.now, &mut effects, |transfer, around| transfer.done(around, order, done));
            }
            for ready in self.nodes[at].transfer.take_ready() {
                if self.disk > Millis(0) {
                    self.later(self.now + self.disk, Event::Place { at, ready });
                } else {
                    self.nodes[at].place(self.now, ready, &mut effects);
                }
            }
            if effects.is_empty() {
                break;
            }
        }
        let (now, node) = (self.now, &mut self.nodes[at]);
        let window = node.transfer.window.bytes();
        assert!(window <= (node.config.window_bytes + CHUNK_MAX_BYTES) as u64, "{window} bytes are asked for");
        if let Some(due) = node.transfer.next_due().map(|due| due.max(now))
            && node.ticks_at.is_none_or(|earlier| due < earlier)
        {
            node.ticks_at = Some(due);
            self.later(due, Event::Tick { at });
        }
    }

    fn send(&mut self, from: usize, to: &NodeName, said: Said) {
        self.packets += 1;
        // Nobody of that name: lost.
        let Some(to) = self.index.get(to).copied() else { return };
        if let Said::Fetch { .. } = said {
            let name = self.nodes[to].name.clone();
            *self.nodes[from].fetches.entry(name).or_default() += 1;
        }
        let is_lost = self.loses > 0 && self.rng.random_range(0..self.loses) == 0;
        if is_lost || (self.drops)(&said) {
            return;
        }
        let said = if self.nodes[from].lies { lie(said) } else { said };
        self.later(self.now + LATENCY, Event::Packet { from, to, said });
    }

    fn later(&mut self, at: Millis, event: Event) {
        self.last += 1;
        self.events.push(Reverse((at, self.last)));
        self.what.insert(self.last, event);
    }

    /// The next thing that happens; `false` if nothing ever does.
    pub(super) fn step(&mut self) -> bool {
        let Some(Reverse((now, number))) = self.events.pop() else { return false };
        self.now = now;
        if let Some(event) = self.what.remove(&number) {
            self.happen(event);
        }
        true
    }

    fn happen(&mut self, event: Event) {
        let (Event::Packet { to: at, .. }
        | Event::Unreachable { at, .. }
        | Event::Tick { at }
        | Event::Disk { at, .. }
        | Event::Place { at, .. }) = &event;
        let at = *at;
        if self.nodes[at].is_dead {
            if let Event::Packet { from, .. } = event {
                self.later(self.now + LATENCY, Event::Unreachable { at: from, peer: at });
            }
            return;
        }
        if self.nodes[at].is_paused {
            return self.nodes[at].held_back.push(event);
        }
        match event {
            Event::Packet { from, said, .. } => {
                let from = self.nodes[from].name.clone();
                self.act(at, |transfer, around| transfer.received(around, &from, said));
            }
            Event::Unreachable { peer, .. } => {
                let peer = self.nodes[peer].name.clone();
                self.act(at, |transfer, around| transfer.unreachable(around, &peer));
            }
            Event::Disk { order, what, .. } => {
                let done = self.nodes[at].carry_out(what);
                self.act(at, |transfer, around| transfer.done(around, order, done));
            }
            Event::Place { ready, .. } if self.refuses.remove(&ready.root) => {
                self.act(at, |transfer, around| transfer.again(around, &ready.root));
            }
            Event::Place { ready, .. } => {
                let (now, mut effects) = (self.now, Vec::new());
                self.nodes[at].place(now, ready, &mut effects);
                self.carry_out(at, effects);
            }
            Event::Tick { .. } => {
                if self.nodes[at].ticks_at == Some(self.now) {
                    self.nodes[at].ticks_at = None;
                    self.act(at, |transfer, around| transfer.tick(around));
                }
            }
        }
    }

    /// Lets a paused node go on.
    pub(super) fn resume(&mut self, at: usize) {
        self.nodes[at].is_paused = false;
        for event in std::mem::take(&mut self.nodes[at].held_back) {
            if let Event::Tick { .. } = event {
                self.nodes[at].ticks_at = Some(self.now);
            }
            self.happen(event);
        }
    }

    /// Goes on until then.
    pub(super) fn run_until(&mut self, until: Millis) {
        while self.events.peek().is_some_and(|Reverse((at, _))| *at <= until) {
            self.step();
        }
        self.now = until;
    }

    /// Goes on until all of these nodes have all of these contents; when that was.
    pub(super) fn run_to_union(&mut self, nodes: &[usize], roots: &[Root], patience: Millis) -> Millis {
        let end = self.now + patience;
        let mut open: Vec<(usize, Root)> = nodes.iter().flat_map(|at| roots.iter().map(|root| (*at, *root))).collect();
        loop {
            while let Some((at, root)) = open.last() {
                if !self.nodes[*at].files.contains_key(root) {
                    break;
                }
                open.pop();
            }
            if open.is_empty() {
                return self.now;
            }
            assert!(
                self.now < end,
                "after {patience:?}: {} of {} lack something: {:?}",
                open.len(),
                nodes.len() * roots.len(),
                self.nodes[open[open.len() - 1].0].transfer.figures()
            );
            assert!(self.step(), "nothing will happen any more, and {} lack something", open.len());
        }
    }
}

/// One bit wrong in everything that has bytes.
fn lie(said: Said) -> Said {
    let flip = |bytes: &Bytes| {
        let mut bytes = bytes.to_vec();
        bytes.iter_mut().take(1).for_each(|byte| *byte ^= 1);
        Bytes::from(bytes)
    };
    match said {
        Said::Chunk { root, chunk, bytes } => Said::Chunk { root, chunk, bytes: flip(&bytes) },
        Said::Bundle { call, files, lacking, later } => {
            let files = files.iter().map(|(root, bytes)| (*root, flip(bytes))).collect();
            Said::Bundle { call, files, lacking, later }
        }
        other => other,
    }
}

impl Node {
    fn run(&mut self, now: Millis, effects: &mut Vec<Effect>, act: impl FnOnce(&mut Transfer, &mut Around<'_>)) {
        let (files, orders) = (&self.files, &mut self.orders);
        let locate = |root: &Root| files.get(root).map(|(size, _)| file(root, *size));
        let mut order = |what: Order, effects: &mut Vec<Effect>| {
            *orders += 1;
            effects.push(Effect::Disk { order: *orders, what });
            *orders
        };
        let mut around = Around {
            now,
            config: &self.config,
            neighbours: &self.neighbours,
            locate: &locate,
            order: &mut order,
            effects,
        };
        act(&mut self.transfer, &mut around);
    }

    fn carry_out(&mut self, what: Order) -> Done {
        match what {
            Order::Read { source, offset, length } => {
                Done::Read(self.read(&source, offset, length).ok_or(Trouble::Changed))
            }
            Order::Outline { source, chunk_bytes } => {
                Done::Outlined(self.outline(&source, chunk_bytes).ok_or(Trouble::Changed))
            }
            Order::Resume { root, chunk_bytes } => {
                Done::Outlined(self.parts.get(&root).map(|part| resume(part, chunk_bytes)).ok_or(Trouble::Broken))
            }
            Order::Write { .. } if self.is_full => Done::Written(Err(Trouble::Full)),
            Order::Write { root, offset, bytes, .. } => {
                self.parts.entry(root).or_default().insert(offset, bytes);
                Done::Written(Ok(()))
            }
            Order::Discard { root } => {
                self.parts.remove(&root);
                Done::Discarded
            }
            other => panic!("a transfer orders {other:?}"),
        }
    }

    fn read(&self, source: &Source, offset: u64, length: u32) -> Option<Bytes> {
        let pieces = match source {
            Source::File { path, .. } => {
                &self.files.get(&Root(*blake3::Hash::from_hex(path.name()).ok()?.as_bytes()))?.1
            }
            Source::Part(root) => self.parts.get(root)?,
            Source::Aside(_) | Source::Upload(_) | Source::Memory(_) => return None,
        };
        let (begin, piece) = pieces.range(..=offset).next_back()?;
        let from = (offset - begin) as usize;
        (from + length as usize <= piece.len()).then(|| piece.slice(from..from + length as usize))
    }

    fn outline(&self, source: &Source, chunk_bytes: u32) -> Option<Vec<[u8; 32]>> {
        let Source::File { stat, .. } = source else { return None };
        let geometry = Geometry::of(stat.size).filter(|geometry| geometry.chunk_bytes() == chunk_bytes)?;
        let value = |chunk| {
            let offset = geometry.offset(chunk);
            Some(chaining_value(offset, &self.read(source, offset, geometry.length(chunk))?))
        };
        (0..geometry.chunks()).map(value).collect()
    }

    /// Puts contents under a name, if they are what they should be.
    fn place(&mut self, now: Millis, ready: Ready, effects: &mut Vec<Effect>) {
        let Ready { root, source } = ready;
        let pieces = match source {
            Source::Memory(bytes) => BTreeMap::from([(0, bytes)]),
            Source::Part(part) => self.parts.remove(&part).expect("a part is there until it is placed"),
            other => panic!("handed out {other:?}"),
        };
        let mut hasher = blake3::Hasher::new();
        let mut size = 0;
        for (offset, bytes) in &pieces {
            assert_eq!(*offset, size, "no gap");
            size += bytes.len() as u64;
            hasher.update(bytes);
        }
        assert_eq!(*hasher.finalize().as_bytes(), root.0, "what is handed out is what it is said to be");
        self.files.insert(root, (size, pieces));
        self.landed.insert(root, now);
        self.run(now, effects, |transfer, around| transfer.landed(around, &root));
    }
}

fn resume(part: &Pieces, chunk_bytes: u32) -> Vec<[u8; 32]> {
    let chunks = part.keys().next_back().map_or(0, |last| last / u64::from(chunk_bytes) + 1);
    let value = |chunk: u64| {
        let offset = chunk * u64::from(chunk_bytes);
        part.get(&offset).map_or([9; 32], |bytes| chaining_value(offset, bytes))
    };
    (0..chunks).map(value).collect()
}

fn file(root: &Root, size: u64) -> Source {
    let stat = Stat { inode: 1, size, mtime_ns: 0, ctime_ns: 0, executable: false };
    let path: FilePath = root.to_string().parse().expect("hexadecimal digits are a name");
    Source::File { path, stat }
}
