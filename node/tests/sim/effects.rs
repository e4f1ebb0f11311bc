//! Feeding the cores, and carrying out what they ask for. The membership's verdicts feed the broadcast core as the node's
//! runtime would.

use std::{hash::Hash, net::SocketAddr};

use p2pnet_node::{broadcast, membership, time::Millis};
use p2pnet_shared::{
    MessageId, NodeName,
    telemetry::{MemberEvent, MemberEventKind, MemberRow},
    wire::{
        broadcast::Frame,
        membership::{Datagram, Message},
    },
};
use rand::RngExt;

use crate::{
    invariants::number,
    network::{Arrival, Network},
    wire::NodeId,
};

/// How much later a datagram comes again, microseconds.
const REPLAY_US: u64 = 5_000_000;

impl Network {
    pub(crate) fn feed(&mut self, id: NodeId, arrival: Arrival) {
        match arrival {
            Arrival::Membership(input) => self.feed_membership(id, input),
            Arrival::Replayed(input) => self.feed_replayed(id, input),
            Arrival::Broadcast(input) => self.feed_broadcast(id, input),
            Arrival::Frame { link, from, input } => {
                if self.links.delivers(link, from, id) && self.wire.reaches(from, id) {
                    self.feed_broadcast(id, input);
                }
            }
            Arrival::Dialled { to } if self.links.is_closing(id, to, self.clock) => {
                self.tell(id, 1_000, Arrival::Dialled { to });
            }
            Arrival::Dialled { to } => {
                let up = self.nodes[to].peer.is_some() && self.wire.connects(id, to);
                if up && self.links.connect(id, to) {
                    self.link_up(id, to);
                } else if !up {
                    let peer = self.nodes[to].name.clone();
                    self.feed_broadcast(id, broadcast::Input::LinkDown { peer });
                }
            }
            Arrival::LinkBroken { to, link } => self.break_link(id, to, link),
            Arrival::Store(input) => self.feed_store(id, input),
            Arrival::Committed => self.committed(id),
            Arrival::Pipe { .. } => unreachable!("connections have their turn before nodes"),
        }
    }

    pub(crate) fn link_up(&mut self, a: NodeId, b: NodeId) {
        for (node, other) in [(a, b), (b, a)] {
            let peer = self.nodes[other].name.clone();
            self.tell(node, 0, Arrival::Broadcast(broadcast::Input::LinkUp { peer }));
        }
    }

    fn break_link(&mut self, a: NodeId, b: NodeId, link: u64) {
        if self.links.number(a, b) != Some(link) || !self.links.disconnect(a, b) {
            return;
        }
        self.counters.links_broken += 1;
        for (node, other) in [(a, b), (b, a)] {
            let peer = self.nodes[other].name.clone();
            self.tell(node, 0, Arrival::Broadcast(broadcast::Input::LinkDown { peer: peer.clone() }));
            if let Some(gone) = &self.nodes[other].peer {
                let epoch = gone.membership.me().epoch;
                self.tell(node, 0, Arrival::Membership(membership::Input::LinkLost { peer, epoch }));
            }
        }
    }

    /// Milliseconds since a node's present life began.
    fn local(&self, born: u64) -> Millis {
        Millis((self.clock - born) / 1_000)
    }

    fn feed_membership(&mut self, id: NodeId, input: membership::Input) {
        let replay = self.overheard(id, &input);
        self.step(id, input);
        if let Some((after, input)) = replay {
            self.tell(id, after, Arrival::Replayed(input));
        }
    }

    fn step(&mut self, id: NodeId, input: membership::Input) {
        let Some(born) = self.nodes[id].peer.as_ref().map(|peer| peer.born) else { return };
        let now = self.local(born);
        let for_others = matches!(&input, membership::Input::Received { datagram, .. }
            if matches!(datagram.message, Message::PingRequest { .. }));
        if let membership::Input::Received { datagram, .. } = &input {
            self.watcher.heard(self.clock, id, datagram);
        }
        let Some(peer) = &mut self.nodes[id].peer else { return };
        let mut effects = Vec::new();
        peer.membership.handle(now, input, &mut effects);
        self.carry_out(id, effects, for_others);
        if let Some(peer) = &self.nodes[id].peer {
            self.watcher.stepped(id, &peer.membership, self.nodes.len());
        }
    }

    /// Some of what is received is kept by an enemy, to be sent again.
    fn overheard(&mut self, id: NodeId, input: &membership::Input) -> Option<(u64, membership::Input)> {
        let received = matches!(input, membership::Input::Received { .. });
        if self.hostility == 0.0 || !received || !self.rng.random_bool(self.hostility) {
            return None;
        }
        debug_assert!(self.nodes[id].peer.is_some());
        Some((self.rng.random_range(0..=REPLAY_US), input.clone()))
    }

    /// The same datagram a second time must change nothing that the first has not, unless it is a rumour that is still
    /// about and might as well have come another way.
    fn feed_replayed(&mut self, id: NodeId, input: membership::Input) {
        let Some(peer) = &self.nodes[id].peer else { return };
        let membership::Input::Received { datagram, .. } = &input else { return };
        self.counters.replayed += 1;
        let a_rumour = datagram.claims.iter().any(|claim| {
            let held = peer.membership.member(&claim.member);
            held.is_some_and(|held| held.status.is_live() && claim.status > held.status && claim.epoch >= held.epoch)
                || (held.is_some_and(|held| held.status.is_live()) && claim.accuser.is_some())
        });
        let before = table(&peer.membership);
        self.step(id, input);
        let Some(peer) = &self.nodes[id].peer else { return };
        if !a_rumour {
            assert_eq!(table(&peer.membership), before, "invariant 23: a replayed datagram changed node {id}");
        }
    }

    /// `for_others`: the pings in it are relayed, not probes of our own.
    pub(crate) fn carry_out(&mut self, id: NodeId, effects: Vec<membership::Effect>, for_others: bool) {
        for effect in effects {
            match effect {
                membership::Effect::Send { to, datagram } => self.send(id, to, datagram, for_others),
                membership::Effect::SetTimer { after, timer } => {
                    let Some(peer) = &self.nodes[id].peer else { continue };
                    // Due on a whole millisecond of the node's own clock, as the runtime has it.
                    let into = (self.clock - peer.born) % 1_000;
                    let after = (after.0 * 1_000).saturating_sub(into);
                    self.tell(id, after, Arrival::Membership(membership::Input::TimerFired(timer)));
                }
                membership::Effect::Announce(event) => self.announced(id, &event),
            }
        }
    }

    fn announced(&mut self, id: NodeId, event: &MemberEvent) {
        let row = &event.row;
        (self.clock, id, event.kind as u8, number(&row.member), row.epoch.0, row.incarnation).hash(&mut self.log);
        self.watcher.announced(self.clock, id, event, &mut self.counters);
        self.tell_store(id, event);
        let peer = row.member.clone();
        let input = match event.kind {
            MemberEventKind::Joined | MemberEventKind::CameBack => {
                let held = self.membership(id).and_then(|membership| membership.member(&peer));
                let Some(addr) = held.map(|member| member.addr) else { return };
                broadcast::Input::MemberUp { peer, addr, epoch: row.epoch }
            }
            MemberEventKind::Died | MemberEventKind::Left => broadcast::Input::MemberDown { peer },
            MemberEventKind::Suspected | MemberEventKind::Refuted => return,
        };
        self.feed_broadcast(id, input);
    }

    fn send(&mut self, id: NodeId, to: SocketAddr, datagram: Datagram, for_others: bool) {
        let target = self.by_addr.get(&to).copied();
        (self.clock, id, target.unwrap_or(usize::MAX), datagram.claims.len()).hash(&mut self.log);
        std::mem::discriminant(&datagram.message).hash(&mut self.log);
        self.datagrams_sent += 1;
        let mut sealed = None;
        if self.measure || datagram.claims.len() > 12 || self.codec.is_sealed() {
            let bytes = self.codec.encode(&datagram);
            self.bytes_sent += bytes.len() as u64;
            self.watcher.datagram_of(id, self.clock, bytes.len(), self.codec.is_sealed(), &self.config);
            sealed = Some(bytes);
        }
        self.watcher.said(self.clock, id, &datagram, for_others);
        let Some(target) = target else { return };
        let datagram = match &sealed {
            Some(bytes) if self.codec.is_sealed() => self.through_the_envelope(bytes),
            _ => datagram,
        };
        let size = || sealed.as_ref().map_or_else(|| self.codec.encode(&datagram).len(), Vec::len);
        let from = self.nodes[id].addr;
        let [first, second] = self.wire.copies(id, target, size, &mut self.counters, &mut self.rng);
        if let Some(after) = second {
            let input = membership::Input::Received { from, datagram: datagram.clone() };
            self.push(target, after, None, Arrival::Membership(input));
        }
        if let Some(after) = first {
            self.push(target, after, None, Arrival::Membership(membership::Input::Received { from, datagram }));
        }
    }

    /// What the receiver makes of the bytes; and of what an enemy without the secret makes of them, which must be nothing.
    fn through_the_envelope(&mut self, bytes: &[u8]) -> Datagram {
        if self.hostility > 0.0 && self.rng.random_bool(self.hostility) {
            let mut bad = bytes.to_vec();
            let place = self.rng.random_range(0..bad.len());
            match self.rng.random_range(0..3) {
                0 => bad[place] ^= 1 << self.rng.random_range(0..8),
                1 => bad.truncate(place),
                _ => bad = self.enemy.encode(&Message::Gossip),
            }
            assert!(self.codec.decode::<Datagram>(&bad).is_err(), "invariant 23: the enemy's datagram was believed");
            self.counters.corrupted += 1;
        }
        self.codec.decode(bytes).expect("what was sealed opens")
    }

    pub(crate) fn feed_broadcast(&mut self, id: NodeId, input: broadcast::Input) {
        let Some(peer) = &mut self.nodes[id].peer else { return };
        let now = Millis((self.clock - peer.born) / 1_000);
        let mut effects = Vec::new();
        peer.broadcast.handle(now, input, &mut effects);
        self.carry_out_broadcast(id, effects);
        if let Some(peer) = &self.nodes[id].peer {
            self.watcher.overlay_stepped(&self.nodes[id].name, &peer.broadcast, &self.broadcast_config);
        }
    }

    /// Sends a message from `id` as its user would, unless the node is too busy.
    pub(crate) fn try_publish(&mut self, id: NodeId, text: &str) -> Option<MessageId> {
        let mut effects = Vec::new();
        let born = self.nodes[id].peer.as_ref()?.born;
        let now = self.local(born);
        let peer = self.nodes[id].peer.as_mut()?;
        let message = peer.broadcast.publish(now, text.to_owned(), None, &mut effects).ok()?;
        self.counters.published += 1;
        self.accepted.push((message.clone(), id, self.nodes[id].life));
        self.carry_out_broadcast(id, effects);
        Some(message)
    }

    /// Sends a message from `id`, which runs and takes it.
    pub(crate) fn publish(&mut self, id: NodeId, text: &str) -> MessageId {
        self.try_publish(id, text).expect("a running node with room takes a short message")
    }

    pub(crate) fn carry_out_broadcast(&mut self, id: NodeId, effects: Vec<broadcast::Effect>) {
        for effect in effects {
            match effect {
                broadcast::Effect::Send { to, frame } => self.send_frame(id, &to, frame),
                broadcast::Effect::Connect { peer, addr } => match self.by_addr.get(&addr) {
                    Some(&to) if self.nodes[to].name == peer => {
                        let round_trip = self.wire.frame_latency(&mut self.counters, &mut self.rng)
                            + self.wire.latency(&mut self.rng);
                        self.tell(id, round_trip, Arrival::Dialled { to });
                    }
                    _ => self.tell(id, 1_000, Arrival::Broadcast(broadcast::Input::LinkDown { peer })),
                },
                broadcast::Effect::Disconnect { peer } => self.close_link(id, &peer),
                broadcast::Effect::SetTimer { after, timer } => {
                    self.tell(id, after.0 * 1_000, Arrival::Broadcast(broadcast::Input::TimerFired(timer)));
                }
                broadcast::Effect::Deliver(message) => {
                    (self.clock, id, message.id.seq, message.path.len()).hash(&mut self.log);
                    self.counters.delivered += 1;
                    let Self { nodes, watcher, .. } = self;
                    watcher.delivered(self.clock, id, nodes[id].life, &nodes[id].name, &message);
                }
            }
        }
    }

    fn send_frame(&mut self, id: NodeId, to: &NodeName, frame: Frame) {
        let target = number(to);
        let Some(link) = self.links.number(id, target) else { return };
        if let Frame::Broadcast(broadcast) = &frame {
            assert_eq!(broadcast.path.last(), Some(&self.nodes[id].name), "the path taken ends with who forwards");
            self.watcher.forwarded(id, target, &broadcast.id);
        }
        let latency = self.wire.frame_latency(&mut self.counters, &mut self.rng);
        let at = self.links.arrival(self.clock, latency, id, target);
        let input = broadcast::Input::Received { from: self.nodes[id].name.clone(), frame };
        self.tell(target, at - self.clock, Arrival::Frame { link, from: id, input });
    }

    /// One side closes: what it wrote before still arrives, then both hear of it.
    fn close_link(&mut self, id: NodeId, peer: &NodeName) {
        let other = number(peer);
        if self.links.number(id, other).is_none() {
            return;
        }
        let latency = self.wire.frame_latency(&mut self.counters, &mut self.rng);
        let at = self.links.arrival(self.clock, latency, id, other);
        self.tell(id, 0, Arrival::Broadcast(broadcast::Input::LinkDown { peer: peer.clone() }));
        let me = self.nodes[id].name.clone();
        self.links.close(id, other, at);
        self.tell(other, at - self.clock, Arrival::Broadcast(broadcast::Input::LinkDown { peer: me }));
    }
}

/// What a node holds of the others, and its own word.
fn table(state: &membership::State) -> (u32, Vec<(SocketAddr, MemberRow)>) {
    let row = |m: &membership::Member| {
        let (member, epoch, incarnation, status) = (m.name.clone(), m.epoch, m.incarnation, m.status);
        (m.addr, MemberRow { member, epoch, incarnation, status })
    };
    (state.incarnation(), state.members().map(row).collect())
}
