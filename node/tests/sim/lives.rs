//! What happens to nodes from outside: start, crash, restart, goodbye, pause, a clock that is set.

use std::net::SocketAddr;

use p2pnet_node::{broadcast, membership, time::Millis};
use p2pnet_shared::{Epoch, NodeName};
use rand::RngExt;

use crate::{
    disks::Disk,
    network::{Arrival, Event, Network, Node, Peer, SOCKET_BUFFER, WALL_AT_START},
    wire::{NodeId, Rule},
};

/// How long TCP needs to notice that the other side is cut off, microseconds.
pub(crate) const TCP_PATIENCE_US: u64 = 5_000_000;

impl Network {
    /// Adds a name and starts it; it contacts `seed_node` if given.
    pub(crate) fn start(&mut self, seed_node: Option<NodeId>) -> NodeId {
        let id = self.add();
        self.boot(id, seed_node);
        id
    }

    /// Adds a name.
    pub(crate) fn add(&mut self) -> NodeId {
        let id = self.nodes.len();
        let name = if id == 0 { NodeName::bootstrap() } else { NodeName::numbered(u32::try_from(id).expect("few")) };
        let (net, host) = (u8::try_from(id / 250).expect("few"), u8::try_from(id % 250).expect("small"));
        let addr = SocketAddr::from(([10, net, 0, host + 1], 5000));
        self.by_addr.insert(addr, id);
        self.nodes.push(Node {
            name,
            addr,
            life: 0,
            peer: None,
            kept: Vec::new(),
            pauses: 0,
            clock_ahead: 0,
            kept_epoch: None,
            has_folder: true,
            disk: Disk::default(),
        });
        id
    }

    /// `count` nodes that join through the first, spread over `within_ms`, and the run up to the last start.
    pub(crate) fn start_many(&mut self, count: usize, within_ms: u64) {
        self.start(None);
        let mut offsets: Vec<u64> = (1..count).map(|_| self.rng.random_range(0..=within_ms)).collect();
        offsets.sort_unstable();
        let begin = self.now();
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
        self.counters.moved += 1;
    }

    /// Sets a node's wall clock. It is looked at only at its next start.
    pub(crate) fn set_clock(&mut self, id: NodeId, by_hours: i64) {
        self.nodes[id].clock_ahead += by_hours * 3_600_000;
    }

    /// The epoch of a name's next life, by the rule of `runtime/disk.rs`: the wall clock's time, or one more than the data
    /// folder holds.
    fn next_epoch(&mut self, id: NodeId) -> Epoch {
        let wall = (WALL_AT_START + self.now()).checked_add_signed(self.nodes[id].clock_ahead).expect("after 1970");
        let node = &mut self.nodes[id];
        let kept = node.kept_epoch.map_or(0, |kept| kept.0 + 1);
        self.counters.clock_behind += u64::from(kept > wall);
        let epoch = Epoch(if node.has_folder { wall.max(kept) } else { wall });
        node.kept_epoch = Some(epoch);
        epoch
    }

    /// Starts the next life of a name.
    pub(crate) fn boot(&mut self, id: NodeId, seed_node: Option<NodeId>) {
        let seed = self.rng.random();
        let seed_addr = seed_node.map(|node| self.nodes[node].addr);
        let epoch = self.next_epoch(id);
        let clock = self.clock;
        let node = &mut self.nodes[id];
        assert!(node.peer.is_none(), "{} runs already", node.name);
        node.life += 1;
        self.counters.restarts += u64::from(node.life > 1);
        let identity = membership::Identity { name: node.name.clone(), addr: node.addr, epoch };
        let mut peer = Peer {
            membership: membership::State::with_base(
                identity,
                self.config.clone(),
                seed,
                self.base.clone().unwrap_or_default(),
            ),
            broadcast: broadcast::State::new(node.name.clone(), epoch, self.broadcast_config.clone(), !seed),
            store: None,
            born: clock,
        };
        let (mut swim, mut epidemic) = (Vec::new(), Vec::new());
        peer.membership.start(Millis(0), &mut swim);
        peer.broadcast.start(Millis(0), &mut epidemic);
        self.watcher.born(id, &node.name, node.addr, epoch, peer.membership.digest());
        node.peer = Some(peer);
        self.open_store(id, epoch, seed.rotate_left(17));
        self.carry_out(id, swim, false);
        self.carry_out_broadcast(id, epidemic);
        if let Some(addr) = seed_addr {
            self.feed(id, Arrival::Membership(membership::Input::Contact { addr }));
        }
    }

    /// SIGKILL: the process is gone, its kernel resets its links after one latency.
    pub(crate) fn kill(&mut self, id: NodeId) {
        let Some(peer) = self.nodes[id].peer.take() else { return };
        self.end_pauses(id);
        self.counters.crashes += 1;
        let epoch = peer.membership.me().epoch;
        self.watcher.ended(id, epoch, self.now());
        self.drop_links(id, Some(epoch));
        self.close_store(id, false);
    }

    /// SIGTERM: says goodbye, closes its links, ends. Whoever is stopped hears it first when it runs again, which here is
    /// at once.
    pub(crate) fn leave(&mut self, id: NodeId) {
        if self.nodes[id].peer.is_none() {
            return;
        }
        self.counters.goodbyes += 1;
        self.watcher.leaves(id);
        self.feed(id, Arrival::Membership(membership::Input::Leave));
        let Some(peer) = self.nodes[id].peer.take() else { return };
        self.end_pauses(id);
        self.watcher.ended(id, peer.membership.me().epoch, self.now());
        self.drop_links(id, None);
        self.close_store(id, true);
    }

    fn end_pauses(&mut self, id: NodeId) {
        self.nodes[id].pauses = 0;
        self.nodes[id].kept.clear();
    }

    fn drop_links(&mut self, id: NodeId, lost: Option<Epoch>) {
        let peer = self.nodes[id].name.clone();
        for neighbour in self.links.neighbours(id) {
            let after = self.wire.latency(&mut self.rng);
            self.links.close(id, neighbour, self.clock + after);
            self.tell(neighbour, after, Arrival::Broadcast(broadcast::Input::LinkDown { peer: peer.clone() }));
            if let Some(epoch) = lost {
                let input = membership::Input::LinkLost { peer: peer.clone(), epoch };
                self.tell(neighbour, after, Arrival::Membership(input));
            }
        }
    }

    /// SIGSTOP: everything for it waits. Pauses add up; each is to be resumed.
    pub(crate) fn pause(&mut self, id: NodeId) {
        if self.nodes[id].peer.is_some() {
            self.counters.pauses += 1;
            self.nodes[id].pauses += 1;
            self.watcher.stalled(id);
        }
    }

    /// SIGCONT: overdue timers go off first, then what the socket has kept.
    pub(crate) fn resume(&mut self, id: NodeId) {
        let socket_first = self.socket_first;
        let node = &mut self.nodes[id];
        node.pauses = node.pauses.saturating_sub(1);
        if node.pauses > 0 {
            return;
        }
        self.keeper.resumed(id, self.clock);
        let node = &mut self.nodes[id];
        let (timers, mut socket): (Vec<Event>, Vec<Event>) =
            std::mem::take(&mut node.kept).into_iter().partition(|event| event.life.is_some());
        self.counters.socket_overflow += socket.len().saturating_sub(SOCKET_BUFFER) as u64;
        socket.truncate(SOCKET_BUFFER);
        let (first, then) = if socket_first { (socket, timers) } else { (timers, socket) };
        for event in first.into_iter().chain(then) {
            self.dispatch(event);
        }
        self.watcher.awake(id, self.now());
    }

    /// Ends all pauses of a node.
    pub(crate) fn wake(&mut self, id: NodeId) {
        if self.nodes[id].pauses > 0 {
            self.nodes[id].pauses = 1;
            self.resume(id);
        }
    }

    /// Something is wrong with the wire until that microsecond. TCP notices a cut after a while.
    pub(crate) fn impose(&mut self, until: u64, rule: Rule) {
        let whole: Vec<_> = self.links.iter().filter(|((a, b), _)| self.wire.connects(*a, *b)).collect();
        self.wire.impose(until, rule);
        for ((a, b), link) in whole {
            if !self.wire.connects(a, b) {
                self.tell(a, TCP_PATIENCE_US, Arrival::LinkBroken { to: b, link });
            }
        }
    }

    /// Cuts `side` off from all others, both ways, until the wire is healed.
    pub(crate) fn cut(&mut self, side: impl IntoIterator<Item = NodeId>) {
        self.impose(u64::MAX, Rule::Cut(side.into_iter().collect()));
    }

    /// Gives every node links to `degree` random others, unless the broadcast core has made an overlay itself.
    pub(crate) fn ensure_overlay(&mut self, degree: usize) {
        if self.links.iter().next().is_some() {
            return;
        }
        let running = self.running();
        for &a in &running {
            for place in rand::seq::index::sample(&mut self.rng, running.len(), degree.min(running.len())) {
                let b = running[place];
                if a != b && self.links.connect(a, b) {
                    self.link_up(a, b);
                }
            }
        }
    }
}
