//! The network: its nodes, the queue of events, and the run of time.
//!
//! Every event is (time, number, node, life, input); the smallest goes next. An input to a former life of a node is
//! dropped, one to a paused node waits until it is resumed, timers first: the hardest order. What a core asks for comes
//! back as further events (`effects.rs`). Time is in microseconds here and in whole milliseconds for the cores, as in the
//! real node.

use std::{collections::BTreeMap, hash::Hasher, net::SocketAddr, sync::Arc};

use p2pnet_node::{broadcast, dht, membership};
use p2pnet_shared::{Epoch, MessageId, NodeName, ViewDigest, wire::Codec};
use rand::{SeedableRng, rngs::SmallRng, seq::IndexedRandom};

use crate::{
    counters::Counters,
    disks::Disk,
    heap::Queue,
    invariants::Watcher,
    keeper::Keeper,
    links::Links,
    pipes::{PipeEvent, Pipes},
    users::Users,
    wire::{NodeId, Wire},
};

/// Datagrams a paused node's socket holds.
pub(crate) const SOCKET_BUFFER: usize = 256;
/// The wall clock when a run begins, milliseconds since 1970.
pub(crate) const WALL_AT_START: u64 = 1_700_000_000_000;

/// What an event brings to a node.
#[derive(Debug)]
pub(crate) enum Arrival {
    Membership(membership::Input),
    /// A datagram that has been here before.
    Replayed(membership::Input),
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
    /// The kernel has given up the link with this number, which a cut crosses.
    LinkBroken {
        to: NodeId,
        link: u64,
    },
    Store(dht::Input),
    /// The disk has done what it was doing.
    Committed,
    /// Something about the connection with this number between these two.
    Pipe {
        ends: (NodeId, NodeId),
        number: u64,
        event: PipeEvent,
    },
}

#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) node: NodeId,
    /// `None` for datagrams: they go to whoever is at the address.
    pub(crate) life: Option<u32>,
    pub(crate) arrival: Arrival,
}

/// One running node: its cores.
pub(crate) struct Peer {
    pub(crate) membership: membership::State,
    pub(crate) broadcast: broadcast::State,
    /// In networks with a store.
    pub(crate) store: Option<dht::State>,
    /// Microseconds.
    pub(crate) born: u64,
}

/// A name with its changing lives.
pub(crate) struct Node {
    pub(crate) name: NodeName,
    pub(crate) addr: SocketAddr,
    pub(crate) life: u32,
    pub(crate) peer: Option<Peer>,
    /// What waits for it while it is paused.
    pub(crate) kept: Vec<Event>,
    /// Pauses that are not over.
    pub(crate) pauses: u32,
    /// Milliseconds that its wall clock is ahead.
    pub(crate) clock_ahead: i64,
    /// What its data folder holds; `None` before the first life, or without a folder.
    pub(crate) kept_epoch: Option<Epoch>,
    /// Whether it has a data folder.
    pub(crate) has_folder: bool,
    pub(crate) disk: Disk,
}

/// A number of nodes and what lies between them.
pub(crate) struct Network {
    /// Microseconds.
    pub(crate) clock: u64,
    pub(crate) nodes: Vec<Node>,
    pub(crate) wire: Wire,
    pub(crate) links: Links,
    pub(crate) pipes: Pipes,
    pub(crate) watcher: Watcher,
    pub(crate) counters: Counters,
    pub(crate) rng: SmallRng,
    pub(crate) queue: Queue<Event>,
    pub(crate) by_addr: BTreeMap<SocketAddr, NodeId>,
    pub(crate) config: membership::Config,
    /// What every node knows when it starts; usually nothing.
    pub(crate) base: Option<Arc<membership::Base>>,
    pub(crate) broadcast_config: broadcast::Config,
    /// The store's; without it nodes have none.
    pub(crate) store_config: Option<dht::Config>,
    pub(crate) keeper: Keeper,
    pub(crate) users: Users,
    pub(crate) log: LogHash,
    pub(crate) codec: Codec,
    /// Of somebody who does not know the secret.
    pub(crate) enemy: Codec,
    /// Share of the datagrams received that come again, and, on a sealed wire, of those that come damaged too.
    pub(crate) hostility: f64,
    /// Count the bytes of every datagram; costs time.
    pub(crate) measure: bool,
    /// After a pause the socket is read before the timers: the kinder order.
    pub(crate) socket_first: bool,
    /// Messages that were taken from users, with the life of the node that took each.
    pub(crate) accepted: Vec<(MessageId, NodeId, u32)>,
    /// UDP payload with its envelope.
    pub(crate) bytes_sent: u64,
    pub(crate) datagrams_sent: u64,
}

impl Network {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            clock: 0,
            nodes: Vec::new(),
            wire: Wire::default(),
            links: Links::default(),
            pipes: Pipes::default(),
            watcher: Watcher::default(),
            counters: Counters::default(),
            rng: SmallRng::seed_from_u64(seed),
            queue: Queue::default(),
            by_addr: BTreeMap::new(),
            config: membership::Config::default(),
            base: None,
            broadcast_config: broadcast::Config::default(),
            store_config: None,
            keeper: Keeper::default(),
            users: Users::default(),
            log: LogHash::default(),
            codec: Codec::new(&"sim".parse().expect("a name"), None),
            enemy: Codec::new(&"sim".parse().expect("a name"), Some("a guess")),
            hostility: 0.0,
            measure: false,
            socket_first: false,
            accepted: Vec::new(),
            bytes_sent: 0,
            datagrams_sent: 0,
        }
    }

    /// Every datagram goes through the sealed envelope, and an enemy without the secret has a hand in it.
    pub(crate) fn seal(&mut self) {
        self.codec = Codec::new(&"sim".parse().expect("a name"), Some("the cluster's secret"));
    }

    /// Milliseconds since the run began.
    pub(crate) fn now(&self) -> u64 {
        self.clock / 1_000
    }

    pub(crate) fn running(&self) -> Vec<NodeId> {
        (0..self.nodes.len()).filter(|id| self.nodes[*id].peer.is_some()).collect()
    }

    pub(crate) fn membership(&self, id: NodeId) -> Option<&membership::State> {
        self.nodes[id].peer.as_ref().map(|peer| &peer.membership)
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
        let begin = self.now();
        while !done(self) {
            assert!(self.now() - begin < limit_ms, "after {limit_ms} ms still not: {what}\n{}", self.disagreement());
            self.run_for(10);
        }
        self.now() - begin
    }

    pub(crate) fn disagreement(&self) -> String {
        let truth = self.truth();
        let wrong = self.running().into_iter().filter_map(|id| {
            let digest = self.membership(id)?.digest();
            (digest != truth).then(|| format!("{} believes in {}", self.nodes[id].name, digest.members))
        });
        format!("{} run; {}", truth.members, wrong.take(10).collect::<Vec<_>>().join(", "))
    }

    pub(crate) fn run_for(&mut self, ms: u64) {
        self.run_to(self.now() + ms);
    }

    /// Runs up to that millisecond.
    pub(crate) fn run_to(&mut self, end_ms: u64) {
        self.run_to_us(end_ms * 1_000);
    }

    pub(crate) fn run_to_us(&mut self, end: u64) {
        while let Some((at, event)) = self.queue.pop(end) {
            self.clock = self.clock.max(at);
            self.wire.expire(self.clock);
            self.dispatch(event);
        }
        self.clock = self.clock.max(end);
        self.wire.expire(self.clock);
    }

    /// The run so far in one number: every effect of every node, with its time.
    pub(crate) fn log_hash(&self) -> u64 {
        self.log.finish()
    }

    pub(crate) fn dispatch(&mut self, event: Event) {
        if let Arrival::Pipe { ends, number, event } = &event.arrival {
            return self.pipe_turn(*ends, *number, event);
        }
        let node = &mut self.nodes[event.node];
        if node.peer.is_none() || event.life.is_some_and(|life| life != node.life) {
            return;
        }
        if node.pauses > 0 {
            self.counters.held += 1;
            node.kept.push(event);
            return;
        }
        self.feed(event.node, event.arrival);
    }

    /// Something for the present life of a node, after so many microseconds.
    pub(crate) fn tell(&mut self, node: NodeId, after: u64, arrival: Arrival) {
        let life = Some(self.nodes[node].life);
        self.push(node, after, life, arrival);
    }

    pub(crate) fn push(&mut self, node: NodeId, after: u64, life: Option<u32>, arrival: Arrival) {
        self.queue.push(self.clock + after, Event { node, life, arrival });
    }

    /// What discovery (registry, static peers, beacon) does for whoever is alone: it brings the address of somebody who
    /// runs. Without it a node whose only seed has moved house is lost for good.
    pub(crate) fn discover(&mut self) {
        let running = self.running();
        for &id in &running {
            let alone = self.membership(id).is_some_and(|membership| membership.digest().members == 1);
            // Nobody finds itself: registries leave the one who asks out of their answer.
            let others: Vec<NodeId> = running.iter().copied().filter(|other| *other != id).collect();
            if let Some(&other) = others.choose(&mut self.rng)
                && alone
            {
                let addr = self.nodes[other].addr;
                self.feed(id, Arrival::Membership(membership::Input::Contact { addr }));
            }
        }
    }
}

/// A number that a run is folded into: quick, and different for different runs. Not made to withstand anybody.
#[derive(Debug, Default)]
pub(crate) struct LogHash(u64);

impl Hasher for LogHash {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517C_C1B7_2722_0A95);
    }
}
