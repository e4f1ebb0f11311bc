//! Some nodes on a pretend network with pretend disks: delays, broken connections, cuts, crashes, all from one seed.

use std::collections::{BTreeMap, BTreeSet};

use p2pnet_shared::{
    Epoch, FilePath, NodeName,
    telemetry::FolderEvent,
    wire::folder::{Bytes, FILES_PACKET_MAX_BYTES, Message, Root, Transfer},
};
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};

use super::{disk::Disk, node};
use crate::{
    folder::{Answer, Config, Done, Effect, Input, Order, OrderId, Place, Request, RequestId, Source, State, Timer},
    pretend::{Agenda, Ways},
    time::Millis,
};

/// When a crash is noticed by all others, and a start.
const DETECTED: u64 = 1_500;
const NOTICED: u64 = 30;

#[derive(Debug)]
enum Event {
    Packet { from: NodeName, to: NodeName, message: Message },
    Broken { at: NodeName, peer: NodeName },
    Timer { at: NodeName, epoch: Epoch, timer: Timer },
    Act { at: NodeName, epoch: Epoch, order: OrderId, what: Order },
    Done { at: NodeName, epoch: Epoch, order: OrderId, path: Option<FilePath>, done: Done },
    Member { at: NodeName, name: NodeName, up: bool },
}

#[derive(Default)]
pub(super) struct Node {
    pub(super) state: Option<State>,
    pub(super) disk: Disk,
    epoch: Epoch,
    booted: u64,
    /// Whether its watch tells what its users do.
    pub(super) watches: bool,
    /// Milliseconds its clock is ahead.
    pub(super) skew: u64,
    pub(super) events: Vec<FolderEvent>,
}

pub(super) struct Net {
    pub(super) now: u64,
    pub(super) nodes: BTreeMap<NodeName, Node>,
    pub(super) config: Config,
    agenda: Agenda<Event>,
    pub(super) rng: Xoshiro256PlusPlus,
    /// Out of a thousand packets, how many break their connection.
    pub(super) loss: u32,
    /// Packets overtake each other.
    pub(super) reorders: bool,
    /// Milliseconds an order takes at most.
    pub(super) disk_ms: u64,
    /// Milliseconds a packet takes.
    pub(super) delay_ms: std::ops::Range<u64>,
    ways: Ways,
    asked: u64,
    pub(super) answers: BTreeMap<RequestId, (u64, Answer)>,
    /// What was asked of nodes that died since.
    asked_of: BTreeMap<RequestId, NodeName>,
    /// Bytes of packets without contents, and bytes of contents.
    pub(super) words: usize,
    pub(super) contents: usize,
    /// Contents that a user's program wrote over or removed, having had them before him.
    pub(super) replaced: BTreeSet<Root>,
    pub(super) written: BTreeSet<Root>,
}

impl Net {
    pub(super) fn new(nodes: u32, seed: u64, config: Config) -> Self {
        let mut net = Self::empty(seed, config);
        for number in 1..=nodes {
            net.start(&node(number));
        }
        net.run(NOTICED * 2);
        net
    }

    /// A network to which nodes can be added.
    pub(super) fn empty(seed: u64, config: Config) -> Self {
        Self {
            now: 1_000_000_000,
            nodes: BTreeMap::new(),
            config,
            agenda: Agenda::new(),
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            loss: 0,
            reorders: false,
            disk_ms: 3,
            delay_ms: 1..4,
            ways: Ways::default(),
            asked: 0,
            answers: BTreeMap::new(),
            asked_of: BTreeMap::new(),
            words: 0,
            contents: 0,
            replaced: BTreeSet::new(),
            written: BTreeSet::new(),
        }
    }

    /// With `P2PNET_FOLDER_STORY` set, says what happens.
    fn tell(&self, what: impl FnOnce() -> String) {
        if std::env::var_os("P2PNET_FOLDER_STORY").is_some() {
            eprintln!("{:>9.3} {}", (self.now - 1_000_000_000) as f64 / 1_000.0, what());
        }
    }

    pub(super) fn names(&self) -> Vec<NodeName> {
        self.nodes.keys().cloned().collect()
    }

    pub(super) fn is_up(&self, name: &NodeName) -> bool {
        self.nodes.get(name).is_some_and(|node| node.state.is_some())
    }

    pub(super) fn disk(&mut self, number: u32) -> &mut Disk {
        let now = self.now;
        let node = self.nodes.entry(node(number)).or_insert_with(|| Node { watches: true, ..Node::default() });
        node.disk.clock = now + node.skew;
        &mut node.disk
    }

    pub(super) fn state(&self, number: u32) -> &State {
        self.nodes[&node(number)].state.as_ref().unwrap()
    }

    /// Starts a node with what its disk holds.
    pub(super) fn start(&mut self, name: &NodeName) {
        let seed = self.rng.random();
        let node = self.nodes.entry(name.clone()).or_insert_with(|| Node { watches: true, ..Node::default() });
        let epoch = Epoch(self.now + node.skew);
        let rows = node.disk.rows();
        let is_new = rows.is_empty();
        let held = node.disk.tree();
        self.tell(|| format!("{name} starts with {} rows and {held:?}", rows.len()));
        let node = self.nodes.get_mut(name).expect("it is there");
        let mut state = State::new(name.clone(), epoch, self.config.clone(), seed, rows, is_new);
        let mut effects = Vec::new();
        state.start(Millis(0), &mut effects);
        (node.state, node.epoch, node.booted) = (Some(state), epoch, self.now);
        self.carry_out(name, effects);
        for other in self.names() {
            if other != *name && self.is_up(&other) {
                self.later(NOTICED, Event::Member { at: other.clone(), name: name.clone(), up: true });
                self.later(NOTICED, Event::Member { at: name.clone(), name: other, up: true });
            }
        }
    }

    /// Ends a node without a word: what was not on its disk is gone, and so are the questions of its users.
    pub(super) fn crash(&mut self, name: &NodeName) {
        let node = self.nodes.get_mut(name).unwrap();
        node.state = None;
        node.disk.crash();
        self.tell(|| format!("{name} crashes"));
        self.asked_of.retain(|_, of| of != name);
        for other in self.names() {
            self.later(1, Event::Broken { at: other.clone(), peer: name.clone() });
            self.later(DETECTED, Event::Member { at: other, name: name.clone(), up: false });
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

    /// Lets time pass until something holds; how much did.
    pub(super) fn until(&mut self, millis: u64, holds: impl Fn(&Self) -> bool) -> Option<u64> {
        let begin = self.now;
        while !holds(self) {
            if self.now >= begin + millis {
                return None;
            }
            self.run(5);
        }
        Some(self.now - begin)
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Packet { from, to, message } => self.feed(&to, Input::Received { from, message }),
            Event::Broken { at, peer } => self.feed(&at, Input::Unreachable { peer }),
            Event::Timer { at, epoch, timer } if self.nodes[&at].epoch == epoch => {
                self.feed(&at, Input::TimerFired(timer));
            }
            Event::Member { at, name, up: false } => {
                if !self.is_up(&name) || self.ways.is_cut(&at, &name) {
                    self.feed(&at, Input::MemberDown { name });
                }
            }
            Event::Member { at, name, up: true } => {
                if self.is_up(&name) {
                    let epoch = self.nodes[&name].epoch;
                    self.feed(&at, Input::MemberUp { name, epoch });
                }
            }
            Event::Act { at, epoch, order, what } => self.act(at, epoch, order, what),
            Event::Done { at, epoch, order, path, done } => {
                let node = self.nodes.get_mut(&at).unwrap();
                if node.state.is_some() && node.epoch == epoch {
                    node.disk.over(path.as_ref());
                    self.feed(&at, Input::Done { order, done });
                }
            }
            Event::Timer { .. } => {}
        }
    }

    fn act(&mut self, at: NodeName, epoch: Epoch, order: OrderId, what: Order) {
        let now = self.now;
        let node = self.nodes.get_mut(&at).unwrap();
        if node.state.is_none() || node.epoch != epoch {
            return;
        }
        node.disk.clock = now + node.skew;
        let touched = match &what {
            Order::Place(place) => Some(place.path.clone()),
            Order::Remove { path, .. } | Order::Touch { path, .. } => Some(path.clone()),
            _ => None,
        };
        if let Order::Place(Place { path, source: Source::Upload(_), .. }) = &what {
            let before = node.disk.files.get(path);
            self.replaced.extend(before.map(|file| Root::of(&file.bytes)));
        }
        let path = what.path().cloned();
        let said = touched.as_ref().or(path.as_ref()).map(|_| format!("{what:?}"));
        let done = node.disk.carry_out(what);
        let watches = node.watches;
        if let Some(said) = said {
            self.tell(|| format!("{at}: {said:.300} -> {:.120}", format!("{done:?}")));
        }
        let mut after = 0;
        for done in done {
            after += self.rng.random_range(0..=1);
            self.later(after, Event::Done { at: at.clone(), epoch, order, path: path.clone(), done });
        }
        // A watch sees what we do ourselves too.
        if let Some(path) = touched.filter(|_| watches) {
            self.feed(&at, Input::Touched { path });
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
                Effect::Send { to, message } => self.send(name, to, message),
                Effect::Disk { order, what } => {
                    self.nodes.get_mut(name).unwrap().disk.given(&what);
                    let mut after = self.rng.random_range(1..=self.disk_ms);
                    if matches!(what, Order::Persist { .. }) {
                        after += self.disk_ms;
                    }
                    self.later(after, Event::Act { at: name.clone(), epoch, order, what });
                }
                Effect::Answer { id, answer } => {
                    assert_eq!(self.asked_of.get(&id), Some(name), "{answer:?} to a question nobody asked");
                    let first = self.answers.insert(id, (self.now, answer));
                    assert!(first.is_none(), "request {id} is answered twice: {first:?}");
                }
                Effect::SetTimer { after, timer } => {
                    assert!(after.0 > 0, "a timer that fires at once can fire for ever");
                    self.later(after.0, Event::Timer { at: name.clone(), epoch, timer });
                }
                Effect::Announce(event) => self.nodes.get_mut(name).unwrap().events.push(event),
            }
        }
    }

    fn send(&mut self, from: &NodeName, to: NodeName, message: Message) {
        assert_ne!(*from, to, "nobody sends to itself: {message:?}");
        self.count(&message);
        if self.ways.is_cut(from, &to) || !self.is_up(&to) || self.rng.random_range(0..1_000) < self.loss {
            let after = self.rng.random_range(1..30);
            return self.later(after, Event::Broken { at: from.clone(), peer: to });
        }
        let mut at = self.now + self.rng.random_range(self.delay_ms.clone());
        if !self.reorders {
            at = self.ways.in_order(from, &to, at);
        }
        self.agenda.set(at, Event::Packet { from: from.clone(), to, message });
    }

    fn count(&mut self, message: &Message) {
        match message {
            Message::Transfer(Transfer::Chunk { bytes, .. }) => self.contents += bytes.len(),
            Message::Transfer(Transfer::Bundle { files, .. }) => {
                self.contents += files.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
            }
            _ => {
                let size = postcard::to_allocvec(message).unwrap().len();
                assert!(size <= FILES_PACKET_MAX_BYTES, "a packet of {size} bytes");
                self.words += size;
            }
        }
    }

    /// Asks a node something; the answer will be under this number.
    pub(super) fn ask(&mut self, via: u32, request: Request) -> RequestId {
        self.asked += 1;
        let id = self.asked;
        let name = node(via);
        assert!(self.is_up(&name));
        self.asked_of.insert(id, name.clone());
        self.feed(&name, Input::Asked { id, request });
        id
    }

    /// Waits for an answer.
    pub(super) fn answer(&mut self, id: RequestId) -> Answer {
        assert!(self.until(60_000, |net| net.answers.contains_key(&id)).is_some(), "request {id} has no answer");
        self.answers[&id].1.clone()
    }

    /// Questions of nodes that live which were not answered.
    pub(super) fn unanswered(&self) -> usize {
        self.asked_of.keys().filter(|id| !self.answers.contains_key(id)).count()
    }

    pub(super) fn upload(&mut self, via: u32, path: &FilePath, bytes: impl Into<Bytes>) -> RequestId {
        let bytes = bytes.into();
        self.asked += 1;
        let number = self.asked;
        let (root, size) = (Root::of(&bytes), bytes.len() as u64);
        self.disk(via).uploads.insert(number, bytes);
        self.ask(via, Request::Upload { path: path.clone(), upload: number, root, size })
    }

    /// A user's program writes a file on a node that is up or down.
    pub(super) fn write(&mut self, number: u32, path: &FilePath, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        self.written.insert(Root::of(&bytes));
        self.tell(|| format!("node{number}: its user writes {path} {:?}", Root::of(&bytes)));
        let before = self.disk(number).tree();
        self.disk(number).write(path, bytes);
        self.changed(number, before);
    }

    /// A user's program removes a file.
    pub(super) fn remove(&mut self, number: u32, path: &FilePath) {
        self.tell(|| format!("node{number}: its user removes {path}"));
        let before = self.disk(number).tree();
        self.disk(number).files.remove(path);
        self.changed(number, before);
    }

    /// Notes what a user replaced, and tells the watch.
    fn changed(&mut self, number: u32, before: BTreeMap<FilePath, Root>) {
        let after = self.disk(number).tree();
        let paths: BTreeSet<&FilePath> =
            before.keys().chain(after.keys()).filter(|path| before.get(*path) != after.get(*path)).collect();
        for path in paths {
            self.replaced.extend(before.get(path));
            if self.nodes[&node(number)].watches {
                self.feed(&node(number), Input::Touched { path: path.clone() });
            }
        }
    }

    /// Whether all nodes that are up hold the same, want it, and know the same.
    pub(super) fn is_union(&self) -> bool {
        let mut up = self.nodes.values().filter(|node| node.state.is_some());
        let Some(first) = up.next() else { return true };
        let of = |node: &Node| {
            let counts = node.state.as_ref().unwrap().counts();
            (counts.index, counts.want, counts.have)
        };
        let (index, want, have) = of(first);
        want == have && up.all(|node| of(node) == (index, want, have))
    }

    /// Whether all nodes that are up know and want the same, and hold it, but for what a user replaced before anybody had got it, on a
    /// node that has forgotten since that it was there: nobody has that, and what was at its path before may still be there.
    pub(super) fn agrees(&self) -> bool {
        let up = || self.nodes.values().filter_map(|node| Some((node.state.as_ref()?, &node.disk)));
        let Some((first, _)) = up().next() else { return true };
        let of = |state: &State| (state.counts().index, state.counts().want);
        if up().any(|(state, _)| of(state) != of(first)) {
            return false;
        }
        let lost = |(path, root): (FilePath, Root)| self.replaced.contains(&root).then_some(path);
        let missing = up().flat_map(|(state, _)| state.index.all_missing());
        let missing: Option<BTreeSet<FilePath>> =
            missing.map(|(path, content)| lost((path.clone(), content.root))).collect();
        let Some(missing) = missing else { return false };
        let tree = |disk: &Disk| -> BTreeMap<FilePath, Root> {
            disk.tree().into_iter().filter(|(path, _)| !missing.contains(path)).collect()
        };
        let trees: BTreeSet<BTreeMap<FilePath, Root>> = up().map(|(_, disk)| tree(disk)).collect();
        trees.len() == 1
    }

    /// Waits for the union and checks it by the disks, not by what nodes say; how long it took.
    pub(super) fn unite(&mut self, millis: u64) -> u64 {
        let took = self.until(millis, |net| net.is_union() && net.trees_are_equal());
        took.unwrap_or_else(|| panic!("no union: {}", self.describe()))
    }

    fn trees_are_equal(&self) -> bool {
        let mut up = self.nodes.values().filter(|node| node.state.is_some());
        let Some(first) = up.next() else { return true };
        up.all(|node| node.disk.files.len() == first.disk.files.len() && node.disk.tree() == first.disk.tree())
    }

    pub(super) fn describe(&self) -> String {
        let one = |(name, node): (&NodeName, &Node)| {
            let counts = node.state.as_ref().map(State::counts);
            let tree = node.disk.tree();
            let missing = node.state.iter().flat_map(|state| state.index.all_missing());
            let missing: Vec<(&FilePath, Root)> = missing.map(|(path, content)| (path, content.root)).collect();
            let desk = node.state.as_ref().map(|state| &state.desk);
            format!("\n{name}: {counts:?}\n   {tree:?}\n   missing {missing:?}\n   {desk:?}")
        };
        self.nodes.iter().map(one).collect()
    }

    /// The tree of all, once they agree.
    pub(super) fn tree(&self) -> BTreeMap<FilePath, Root> {
        self.nodes.values().find(|node| node.state.is_some()).unwrap().disk.tree()
    }
}
