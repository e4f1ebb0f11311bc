//! The event heap, and what happens to nodes.
//!
//! Every event is (time, number, node, life, input); the smallest goes next. An input to a former life of a node is
//! dropped, one to a paused node waits until it is resumed, timers first: the hardest order. What a core asks for comes
//! back as further events. The membership's verdicts feed the broadcast core as the node's runtime would.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    hash::{DefaultHasher, Hash, Hasher},
    net::SocketAddr,
};

use p2pnet_node::{broadcast, membership, time::Millis};
use p2pnet_shared::{
    Epoch, MessageId, NodeName, ViewDigest,
    telemetry::{MemberEvent, MemberEventKind},
    wire::{Codec, broadcast::Frame, membership::Datagram},
};
use rand::{RngExt, SeedableRng, rngs::SmallRng};

use crate::{
    invariants::Watcher,
    wire::{NodeId, Wire},
};

/// IP and UDP headers, bytes.
const HEADERS_BYTES: usize = 28;
/// Datagrams a paused node's socket holds.
const SOCKET_BUFFER: usize = 256;
/// How long TCP needs to notice that the other side is cut off.
const TCP_PATIENCE_MS: u64 = 5_000;

/// What an event brings to a node.
#[derive(Debug, Clone)]
pub(crate) enum Arrival {
    Membership(membership::Input),
    Broadcast(broadcast::Input),
    /// A frame over the link with this number.
    Frame {
        link: u64,
        from: NodeId,
        input: broadcast::Input,
    },
    /// A dial comes through, or does not.
    Dialled {
        to: NodeId,
    },
    /// The kernel has given up a link that a cut crosses.
    LinkBroken {
        to: NodeId,
    },
}

#[derive(Debug)]
struct Event {
    at: u64,
    number: u64,
    node: NodeId,
    /// `None` for datagrams: they go to whoever is at the address.
    life: Option<u32>,
    arrival: Arrival,
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}
impl Eq for Event {}
impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Event {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// One running node: its two cores.
pub(crate) struct Peer {
    pub(crate) membership: membership::State,
    pub(crate) broadcast: broadcast::State,
    born: u64,
}

/// A name with its changing lives.
pub(crate) struct Node {
    pub(crate) name: NodeName,
    pub(crate) addr: SocketAddr,
    pub(crate) life: u32,
    pub(crate) peer: Option<Peer>,
    paused: Option<Vec<Event>>,
}

/// A hundred nodes and what lies between them.
pub(crate) struct Network {
    pub(crate) now: u64,
    pub(crate) nodes: Vec<Node>,
    pub(crate) wire: Wire,
    pub(crate) watcher: Watcher,
    pub(crate) rng: SmallRng,
    heap: BinaryHeap<Reverse<Event>>,
    events: u64,
    by_addr: BTreeMap<SocketAddr, NodeId>,
    by_name: BTreeMap<NodeName, NodeId>,
    config: membership::Config,
    log: DefaultHasher,
    codec: Codec,
    /// Count the bytes of every datagram; costs time.
    pub(crate) measure: bool,
    pub(crate) bytes_sent: u64,
    pub(crate) datagrams_sent: u64,
}

impl Network {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            now: 0,
            nodes: Vec::new(),
            wire: Wire::default(),
            watcher: Watcher::default(),
            rng: SmallRng::seed_from_u64(seed),
            heap: BinaryHeap::new(),
            events: 0,
            by_addr: BTreeMap::new(),
            by_name: BTreeMap::new(),
            config: membership::Config::default(),
            log: DefaultHasher::new(),
            codec: Codec::new(&"sim".parse().expect("a name"), None),
            measure: false,
            bytes_sent: 0,
            datagrams_sent: 0,
        }
    }

    /// Adds a name and starts it; it contacts `seed_node` if given.
    pub(crate) fn start(&mut self, seed_node: Option<NodeId>) -> NodeId {
        let id = self.nodes.len();
        let name = if id == 0 { NodeName::bootstrap() } else { NodeName::numbered(u32::try_from(id).expect("few")) };
        self.by_name.insert(name.clone(), id);
        let (net, host) = (u8::try_from(id / 250).expect("few"), u8::try_from(id % 250).expect("small"));
        let addr = SocketAddr::from(([10, net, 0, host + 1], 5000));
        self.by_addr.insert(addr, id);
        self.nodes.push(Node { name, addr, life: 0, peer: None, paused: None });
        self.boot(id, seed_node);
        id
    }

    /// `count` nodes that join through the first, spread over `within_ms`, and the run up to the last start.
    pub(crate) fn start_many(&mut self, count: usize, within_ms: u64) {
        self.start(None);
        let mut offsets: Vec<u64> = (1..count).map(|_| self.rng.random_range(0..=within_ms)).collect();
        offsets.sort_unstable();
        let begin = self.now;
        for offset in offsets {
            self.run_to(begin + offset);
            self.start(Some(0));
        }
    }

    /// Gives a name that does not run another address for its next life.
    pub(crate) fn move_house(&mut self, id: NodeId) {
        let node = &mut self.nodes[id];
        assert!(node.peer.is_none(), "{} runs", node.name);
        self.by_addr.remove(&node.addr);
        let [_, net, street, host] = match node.addr.ip() {
            std::net::IpAddr::V4(ip) => ip.octets(),
            std::net::IpAddr::V6(_) => unreachable!("the simulation speaks IPv4"),
        };
        node.addr = SocketAddr::from(([10, net, street.wrapping_add(1), host], 5000));
        self.by_addr.insert(node.addr, id);
    }

    /// Starts the next life of a name.
    pub(crate) fn boot(&mut self, id: NodeId, seed_node: Option<NodeId>) {
        let seed = self.rng.random();
        let seed_addr = seed_node.map(|node| self.nodes[node].addr);
        let node = &mut self.nodes[id];
        assert!(node.peer.is_none(), "{} runs already", node.name);
        node.life += 1;
        let epoch = Epoch(1_000_000 + self.now);
        let identity = membership::Identity { name: node.name.clone(), addr: node.addr, epoch };
        let mut peer = Peer {
            membership: membership::State::new(identity, self.config.clone(), seed),
            broadcast: broadcast::State::new(node.name.clone(), epoch, broadcast::Config::default(), !seed),
            born: self.now,
        };
        let (mut swim, mut epidemic) = (Vec::new(), Vec::new());
        peer.membership.start(Millis(0), &mut swim);
        peer.broadcast.start(Millis(0), &mut epidemic);
        node.peer = Some(peer);
        self.watcher.born(id, &node.name, epoch);
        self.carry_out(id, swim);
        self.carry_out_broadcast(id, epidemic);
        if let Some(addr) = seed_addr {
            self.feed(id, Arrival::Membership(membership::Input::Contact { addr }));
        }
    }

    /// What discovery (registry, static peers, beacon) does for whoever is alone: it brings the address of somebody who
    /// runs. Without it a node whose only seed has moved house is lost for good.
    pub(crate) fn discover(&mut self) {
        let running = self.running();
        for &id in &running {
            let alone = self.nodes[id].peer.as_ref().is_some_and(|peer| peer.membership.digest().members == 1);
            let addr = self.nodes[running[self.rng.random_range(0..running.len())]].addr;
            if alone {
                self.feed(id, Arrival::Membership(membership::Input::Contact { addr }));
            }
        }
    }

    /// SIGKILL: the process is gone, its kernel resets its links after one latency.
    pub(crate) fn kill(&mut self, id: NodeId) {
        let Some(peer) = self.nodes[id].peer.take() else { return };
        self.nodes[id].paused = None;
        let epoch = peer.membership.me().epoch;
        self.watcher.ended(id, epoch, self.now);
        self.drop_links(id, Some(epoch));
    }

    /// SIGTERM: says goodbye, closes its links, ends.
    pub(crate) fn leave(&mut self, id: NodeId) {
        self.feed(id, Arrival::Membership(membership::Input::Leave));
        let Some(peer) = self.nodes[id].peer.take() else { return };
        self.watcher.ended(id, peer.membership.me().epoch, self.now);
        self.drop_links(id, None);
    }

    fn drop_links(&mut self, id: NodeId, lost: Option<Epoch>) {
        let peer = self.nodes[id].name.clone();
        for neighbour in self.wire.neighbours(id) {
            let after = self.wire.latency(&mut self.rng);
            self.wire.close(id, neighbour, self.now + after);
            self.tell(neighbour, after, Arrival::Broadcast(broadcast::Input::LinkDown { peer: peer.clone() }));
            if let Some(epoch) = lost {
                let input = membership::Input::LinkLost { peer: peer.clone(), epoch };
                self.tell(neighbour, after, Arrival::Membership(input));
            }
        }
    }

    /// SIGSTOP: everything for it waits.
    pub(crate) fn pause(&mut self, id: NodeId) {
        self.nodes[id].paused.get_or_insert_default();
        self.watcher.stalled(id);
    }

    /// SIGCONT: overdue timers go off first, then what the socket has kept.
    pub(crate) fn resume(&mut self, id: NodeId) {
        let Some(mut kept) = self.nodes[id].paused.take() else { return };
        let is_timer = |event: &Event| event.life.is_some();
        kept.sort_by_key(|event| (!is_timer(event), event.number));
        let timers = kept.iter().filter(|event| is_timer(event)).count();
        kept.truncate(timers + SOCKET_BUFFER);
        for event in kept {
            self.dispatch(event);
        }
    }

    /// Cuts `side` off; TCP notices after a while.
    pub(crate) fn cut(&mut self, side: impl IntoIterator<Item = NodeId>) {
        for (a, b) in self.wire.cut(side) {
            self.tell(a, TCP_PATIENCE_MS, Arrival::LinkBroken { to: b });
        }
    }

    /// Gives every node links to `degree` random others, unless the broadcast core has made an overlay itself.
    pub(crate) fn ensure_overlay(&mut self, degree: usize) {
        if self.wire.links().next().is_some() {
            return;
        }
        let running = self.running();
        for &a in &running {
            for place in rand::seq::index::sample(&mut self.rng, running.len(), degree.min(running.len())) {
                let b = running[place];
                if a != b && self.wire.connect(a, b) {
                    self.link_up(a, b);
                }
            }
        }
    }

    fn link_up(&mut self, a: NodeId, b: NodeId) {
        for (node, other) in [(a, b), (b, a)] {
            let peer = self.nodes[other].name.clone();
            self.tell(node, 0, Arrival::Broadcast(broadcast::Input::LinkUp { peer }));
        }
    }

    /// Sends a message from `id` as its user would.
    pub(crate) fn publish(&mut self, id: NodeId, text: &str) -> MessageId {
        let mut effects = Vec::new();
        let now = self.now;
        let peer = self.nodes[id].peer.as_mut().expect("it runs");
        let local = Millis(now - peer.born);
        let message = peer.broadcast.publish(local, text.to_owned(), None, &mut effects).expect("short enough");
        self.carry_out_broadcast(id, effects);
        message
    }

    pub(crate) fn running(&self) -> Vec<NodeId> {
        (0..self.nodes.len()).filter(|id| self.nodes[*id].peer.is_some()).collect()
    }

    pub(crate) fn id_of(&self, name: &NodeName) -> NodeId {
        self.by_name[name]
    }

    /// Who really runs.
    pub(crate) fn truth(&self) -> ViewDigest {
        self.nodes.iter().filter(|node| node.peer.is_some()).map(|node| &node.name).collect()
    }

    /// Whether every running node believes exactly the running nodes alive.
    pub(crate) fn all_agree(&self) -> bool {
        let truth = self.truth();
        self.nodes.iter().filter_map(|node| node.peer.as_ref()).all(|peer| peer.membership.digest() == truth)
    }

    /// Runs until `done`, asked every 10 ms; returns how long that took. Panics after `limit_ms`.
    pub(crate) fn run_until(&mut self, what: &str, limit_ms: u64, done: impl Fn(&Self) -> bool) -> u64 {
        let begin = self.now;
        while !done(self) {
            assert!(self.now - begin < limit_ms, "after {limit_ms} ms still not: {what}\n{}", self.disagreement());
            self.run_for(10);
        }
        self.now - begin
    }

    fn disagreement(&self) -> String {
        let truth = self.truth();
        let wrong = self.running().into_iter().filter_map(|id| {
            let peer = self.nodes[id].peer.as_ref()?;
            let digest = peer.membership.digest();
            (digest != truth).then(|| format!("{} believes in {}", self.nodes[id].name, digest.members))
        });
        format!("{} run; {}", truth.members, wrong.take(10).collect::<Vec<_>>().join(", "))
    }

    pub(crate) fn run_for(&mut self, ms: u64) {
        self.run_to(self.now + ms);
    }

    fn run_to(&mut self, end: u64) {
        while self.heap.peek().is_some_and(|Reverse(event)| event.at <= end) {
            let Some(Reverse(event)) = self.heap.pop() else { break };
            self.now = self.now.max(event.at);
            self.dispatch(event);
        }
        self.now = end;
    }

    /// The run so far in one number: every effect of every node, with its time.
    pub(crate) fn log_hash(&self) -> u64 {
        self.log.finish()
    }

    fn dispatch(&mut self, event: Event) {
        let node = &mut self.nodes[event.node];
        if node.peer.is_none() || event.life.is_some_and(|life| life != node.life) {
            return;
        }
        if let Some(kept) = &mut node.paused {
            kept.push(event);
            return;
        }
        self.feed(event.node, event.arrival);
    }

    fn feed(&mut self, id: NodeId, arrival: Arrival) {
        match arrival {
            Arrival::Membership(input) => self.feed_membership(id, input),
            Arrival::Broadcast(input) => self.feed_broadcast(id, input),
            Arrival::Frame { link, from, input } => {
                if self.wire.delivers(link, from, id) {
                    self.feed_broadcast(id, input);
                }
            }
            Arrival::Dialled { to } if self.wire.is_closing(id, to, self.now) => {
                self.tell(id, 1, Arrival::Dialled { to });
            }
            Arrival::Dialled { to } => {
                let up = self.nodes[to].peer.is_some() && self.wire.reaches(id, to);
                if up && self.wire.connect(id, to) {
                    self.link_up(id, to);
                } else if !up {
                    let peer = self.nodes[to].name.clone();
                    self.feed_broadcast(id, broadcast::Input::LinkDown { peer });
                }
            }
            Arrival::LinkBroken { to } => self.break_link(id, to),
        }
    }

    fn break_link(&mut self, a: NodeId, b: NodeId) {
        if !self.wire.disconnect(a, b) {
            return;
        }
        for (node, other) in [(a, b), (b, a)] {
            let peer = self.nodes[other].name.clone();
            self.tell(node, 0, Arrival::Broadcast(broadcast::Input::LinkDown { peer: peer.clone() }));
            if let Some(gone) = &self.nodes[other].peer {
                let epoch = gone.membership.me().epoch;
                self.tell(node, 0, Arrival::Membership(membership::Input::LinkLost { peer, epoch }));
            }
        }
    }

    fn feed_membership(&mut self, id: NodeId, input: membership::Input) {
        let Some(peer) = &mut self.nodes[id].peer else { return };
        let mut effects = Vec::new();
        peer.membership.handle(Millis(self.now - peer.born), input, &mut effects);
        self.carry_out(id, effects);
        if let Some(peer) = &self.nodes[id].peer {
            self.watcher.stepped(id, &peer.membership, self.nodes.len());
        }
    }

    fn carry_out(&mut self, id: NodeId, effects: Vec<membership::Effect>) {
        for effect in effects {
            match effect {
                membership::Effect::Send { to, datagram } => self.send(id, to, datagram),
                membership::Effect::SetTimer { after, timer } => {
                    self.tell(id, after.0, Arrival::Membership(membership::Input::TimerFired(timer)));
                }
                membership::Effect::Announce(event) => self.announced(id, &event),
            }
        }
    }

    fn announced(&mut self, id: NodeId, event: &MemberEvent) {
        let row = &event.row;
        (self.now, id, event.kind, &row.member, row.epoch, row.incarnation).hash(&mut self.log);
        self.watcher.announced(self.now, id, event);
        let peer = row.member.clone();
        let input = match event.kind {
            MemberEventKind::Joined | MemberEventKind::CameBack => {
                let held = self.nodes[id].peer.as_ref().and_then(|own| own.membership.member(&peer));
                let Some(addr) = held.map(|member| member.addr) else { return };
                broadcast::Input::MemberUp { peer, addr, epoch: row.epoch }
            }
            MemberEventKind::Died | MemberEventKind::Left => broadcast::Input::MemberDown { peer },
            MemberEventKind::Suspected | MemberEventKind::Refuted => return,
        };
        self.feed_broadcast(id, input);
    }

    fn send(&mut self, id: NodeId, to: SocketAddr, datagram: Datagram) {
        (self.now, id, to, &datagram).hash(&mut self.log);
        self.datagrams_sent += 1;
        if self.measure || datagram.claims.len() > 12 {
            let bytes = self.codec.encode(&datagram).len();
            self.watcher.datagram_of(bytes);
            self.bytes_sent += (bytes + HEADERS_BYTES) as u64;
        }
        let Some(&target) = self.by_addr.get(&to) else { return };
        let from = self.nodes[id].addr;
        for latency in self.wire.copies(id, target, &mut self.rng) {
            let input = membership::Input::Received { from, datagram: datagram.clone() };
            self.push(target, latency, None, Arrival::Membership(input));
        }
    }

    fn feed_broadcast(&mut self, id: NodeId, input: broadcast::Input) {
        let Some(peer) = &mut self.nodes[id].peer else { return };
        let mut effects = Vec::new();
        peer.broadcast.handle(Millis(self.now - peer.born), input, &mut effects);
        self.carry_out_broadcast(id, effects);
    }

    fn carry_out_broadcast(&mut self, id: NodeId, effects: Vec<broadcast::Effect>) {
        for effect in effects {
            match effect {
                broadcast::Effect::Send { to, frame } => self.send_frame(id, &to, frame),
                broadcast::Effect::Connect { peer, addr } => match self.by_addr.get(&addr) {
                    Some(&to) if self.nodes[to].name == peer => {
                        let round_trip = 2 * self.wire.latency(&mut self.rng);
                        self.tell(id, round_trip, Arrival::Dialled { to });
                    }
                    _ => self.tell(id, 1, Arrival::Broadcast(broadcast::Input::LinkDown { peer })),
                },
                broadcast::Effect::Disconnect { peer } => self.close_link(id, &peer),
                broadcast::Effect::SetTimer { after, timer } => {
                    self.tell(id, after.0, Arrival::Broadcast(broadcast::Input::TimerFired(timer)));
                }
                broadcast::Effect::Deliver(message) => {
                    (self.now, id, &message.id, &message.path).hash(&mut self.log);
                    let name = self.nodes[id].name.clone();
                    self.watcher.delivered(self.now, id, self.nodes[id].life, &name, &message);
                }
            }
        }
    }

    fn send_frame(&mut self, id: NodeId, to: &NodeName, frame: Frame) {
        let target = self.id_of(to);
        let Some(link) = self.wire.link(id, target) else { return };
        if let Frame::Broadcast(broadcast) = &frame {
            assert_eq!(broadcast.path.last(), Some(&self.nodes[id].name), "the path taken ends with who forwards");
        }
        let at = self.wire.frame_arrival(self.now, id, target, &mut self.rng);
        let input = broadcast::Input::Received { from: self.nodes[id].name.clone(), frame };
        self.tell(target, at - self.now, Arrival::Frame { link, from: id, input });
    }

    /// One side closes: what it wrote before still arrives, then both hear of it.
    fn close_link(&mut self, id: NodeId, peer: &NodeName) {
        let other = self.id_of(peer);
        if self.wire.link(id, other).is_none() {
            return;
        }
        let at = self.wire.frame_arrival(self.now, id, other, &mut self.rng);
        self.tell(id, 0, Arrival::Broadcast(broadcast::Input::LinkDown { peer: peer.clone() }));
        let me = self.nodes[id].name.clone();
        self.wire.close(id, other, at);
        self.tell(other, at - self.now, Arrival::Broadcast(broadcast::Input::LinkDown { peer: me }));
    }

    /// Something for the present life of a node.
    fn tell(&mut self, node: NodeId, after: u64, arrival: Arrival) {
        let life = Some(self.nodes[node].life);
        self.push(node, after, life, arrival);
    }

    fn push(&mut self, node: NodeId, after: u64, life: Option<u32>, arrival: Arrival) {
        self.events += 1;
        self.heap.push(Reverse(Event { at: self.now + after, number: self.events, node, life, arrival }));
    }
}
