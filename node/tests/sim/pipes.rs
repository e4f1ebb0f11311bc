//! The connections that the store's packets take: one between any two nodes, made when first needed, and behaving as TCP
//! does.
//!
//! ```text
//! none ──first packet──▶ dialling ──answered──▶ up ──either end dies──▶ reset: the other end hears of it at once
//!                          │                    │
//!                          │ refused: nobody    │ a cut: what is sent waits; when the cut ends in time it all arrives, late
//!                          │ listens            │ but in order, else the connection breaks at both ends and it is lost
//!                          ▼                    ▼
//!                      `Unreachable`        `Unreachable`
//! ```
//! A paused process' kernel goes on accepting connections and bytes: silence, and then everything at once.

use std::collections::{BTreeMap, VecDeque};

use p2pnet_node::dht;
use p2pnet_shared::{NodeName, wire::dht::Packet};

use crate::{
    invariants::number,
    lives::TCP_PATIENCE_US,
    network::{Arrival, Event, Network},
    wire::NodeId,
};

/// Between two looks whether a cut has ended, microseconds: a retransmission.
const RETRANSMIT_US: u64 = 200_000;
/// How long a dial into nothing goes on, microseconds.
const DIAL_PATIENCE_US: u64 = 2_000_000;

/// Something that happens to a connection, by its number: a later one between the same two is another.
#[derive(Debug)]
pub(crate) enum PipeEvent {
    /// A dial is to be answered. It began then, by this node.
    Dialled { began: u64, by: NodeId },
    /// Something may have arrived that this node sent.
    Due { from: NodeId },
}

/// What one end has sent and the other has not yet received.
#[derive(Debug, Default)]
struct Lane {
    /// With the time at which it arrives if nothing is in its way, microseconds.
    sent: VecDeque<(u64, Packet)>,
    last_due: u64,
    /// Since when a cut holds it up, and when the next look is taken.
    stalled: Option<(u64, u64)>,
}

#[derive(Debug)]
struct Pipe {
    number: u64,
    up: bool,
    /// The lives of both ends, smaller id first: a next life has other connections.
    lives: [u32; 2],
    /// Of the smaller id, of the larger.
    lanes: [Lane; 2],
}

/// Every connection, smaller id first.
#[derive(Debug, Default)]
pub(crate) struct Pipes {
    of: BTreeMap<(NodeId, NodeId), Pipe>,
    made: u64,
}

fn pair(a: NodeId, b: NodeId) -> (NodeId, NodeId) {
    (a.min(b), a.max(b))
}

fn lane(from: NodeId, to: NodeId) -> usize {
    usize::from(from > to)
}

impl Network {
    /// Hands one packet to the connection between the two, which is made if there is none.
    pub(crate) fn send_packet(&mut self, from: NodeId, to: &NodeName, packet: Packet) {
        let target = number(to);
        assert_ne!(from, target, "nobody sends packets to itself");
        let due = self.clock + self.wire.frame_latency(&mut self.counters, &mut self.rng);
        let ends = pair(from, target);
        if !self.pipes.of.contains_key(&ends) {
            let member = self.membership(from).and_then(|membership| membership.member(to));
            let addr = member.filter(|member| member.status.is_live()).map(|member| member.addr);
            if addr.is_none_or(|addr| self.by_addr.get(&addr) != Some(&target)) {
                // It has moved, or is not known: nobody is where it is looked for.
                return self.unreachable(from, self.nodes[from].life, target, 1_000);
            }
            self.pipes.made += 1;
            let number = self.pipes.made;
            let lives = [self.nodes[ends.0].life, self.nodes[ends.1].life];
            self.pipes.of.insert(ends, Pipe { number, up: false, lives, lanes: Default::default() });
            let answered =
                self.wire.frame_latency(&mut self.counters, &mut self.rng) + self.wire.latency(&mut self.rng);
            self.pipe_event(ends, number, answered, PipeEvent::Dialled { began: self.clock, by: from });
        }
        let pipe = self.pipes.of.get_mut(&ends).expect("made above");
        let (up, number) = (pipe.up, pipe.number);
        let lane = &mut pipe.lanes[lane(from, target)];
        lane.last_due = due.max(lane.last_due);
        lane.sent.push_back((lane.last_due, packet));
        let due = lane.last_due;
        if up {
            self.pipe_event(ends, number, due - self.clock, PipeEvent::Due { from });
        }
    }

    fn pipe_event(&mut self, ends: (NodeId, NodeId), number: u64, after: u64, event: PipeEvent) {
        let arrival = Arrival::Pipe { ends, number, event };
        self.queue.push(self.clock + after, Event { node: ends.0, life: None, arrival });
    }

    /// Time has come for a connection to do something. To be called whatever its ends are doing: this is their kernels.
    pub(crate) fn pipe_turn(&mut self, ends: (NodeId, NodeId), number: u64, event: &PipeEvent) {
        if self.pipes.of.get(&ends).is_none_or(|pipe| pipe.number != number) {
            return;
        }
        match event {
            PipeEvent::Dialled { began, by } => self.dialled(ends, number, *began, *by),
            PipeEvent::Due { from } => self.deliver_due(ends, number, *from),
        }
    }

    fn dialled(&mut self, ends: (NodeId, NodeId), number: u64, began: u64, by: NodeId) {
        let to = if by == ends.0 { ends.1 } else { ends.0 };
        if !self.wire.connects(ends.0, ends.1) {
            if self.clock - began >= DIAL_PATIENCE_US {
                return self.break_pipe(ends);
            }
            return self.pipe_event(ends, number, RETRANSMIT_US, PipeEvent::Dialled { began, by });
        }
        let Some(pipe) = self.pipes.of.get_mut(&ends) else { return };
        let same_lives = pipe.lives == [self.nodes[ends.0].life, self.nodes[ends.1].life];
        if self.nodes[to].peer.is_none() || !same_lives {
            self.keeper.counts.dials_refused += 1;
            return self.break_pipe(ends);
        }
        pipe.up = true;
        for from in [ends.0, ends.1] {
            let to = if from == ends.0 { ends.1 } else { ends.0 };
            let lane = &mut pipe.lanes[lane(from, to)];
            // What was sent while dialling goes out together.
            let first = self.clock + self.wire.conditions.latency_us.start();
            lane.last_due = lane.last_due.max(first);
            lane.sent.iter_mut().for_each(|(due, _)| *due = (*due).max(first));
        }
        let due: Vec<(NodeId, u64)> = [ends.0, ends.1]
            .into_iter()
            .zip(&pipe.lanes)
            .flat_map(|(from, lane)| lane.sent.iter().map(move |(due, _)| (from, *due)))
            .collect();
        for (from, due) in due {
            self.pipe_event(ends, number, due - self.clock, PipeEvent::Due { from });
        }
    }

    fn deliver_due(&mut self, ends: (NodeId, NodeId), number: u64, from: NodeId) {
        let to = if from == ends.0 { ends.1 } else { ends.0 };
        let connects = self.wire.connects(from, to);
        let Some(pipe) = self.pipes.of.get_mut(&ends) else { return };
        let life = pipe.lives[usize::from(to == ends.1)];
        let lane = &mut pipe.lanes[lane(from, to)];
        if lane.sent.front().is_none_or(|(due, _)| *due > self.clock) {
            return;
        }
        if !connects {
            self.keeper.counts.stalled_packets += 1;
            let (since, next_look) = lane.stalled.unwrap_or((self.clock, self.clock));
            if self.clock - since >= TCP_PATIENCE_US {
                self.keeper.counts.pipes_broken += 1;
                return self.break_pipe(ends);
            }
            // One look for the whole lane, however many packets are due in it.
            if self.clock >= next_look {
                lane.stalled = Some((since, self.clock + RETRANSMIT_US));
                self.pipe_event(ends, number, RETRANSMIT_US, PipeEvent::Due { from });
            }
            return;
        }
        lane.stalled = None;
        let mut arrived = Vec::new();
        while lane.sent.front().is_some_and(|(due, _)| *due <= self.clock) {
            arrived.extend(lane.sent.pop_front().map(|(_, packet)| packet));
        }
        let name = self.nodes[from].name.clone();
        for packet in arrived {
            let arrival = Arrival::Store(dht::Input::Received { from: name.clone(), packet });
            self.dispatch(Event { node: to, life: Some(life), arrival });
        }
    }

    /// Both ends learn at once that the connection is no more, and what was on its way is lost.
    fn break_pipe(&mut self, ends: (NodeId, NodeId)) {
        let Some(pipe) = self.pipes.of.remove(&ends) else { return };
        self.unreachable(ends.0, pipe.lives[0], ends.1, 0);
        self.unreachable(ends.1, pipe.lives[1], ends.0, 0);
    }

    fn unreachable(&mut self, node: NodeId, life: u32, peer: NodeId, after: u64) {
        self.keeper.counts.unreachable += 1;
        let peer = self.nodes[peer].name.clone();
        self.push(node, after, Some(life), Arrival::Store(dht::Input::Unreachable { peer }));
    }

    /// The process of a node is gone: its kernel sends what was written or throws it away, as it happens, and resets.
    pub(crate) fn reset_pipes(&mut self, id: NodeId, politely: bool) {
        let of: Vec<(NodeId, NodeId)> = self.pipes.of.keys().copied().filter(|(a, b)| *a == id || *b == id).collect();
        for ends in of {
            let Some(pipe) = self.pipes.of.remove(&ends) else { continue };
            let other = if id == ends.0 { ends.1 } else { ends.0 };
            let life = pipe.lives[usize::from(other == ends.1)];
            let mut after = self.wire.latency(&mut self.rng);
            if !self.wire.connects(id, other) {
                after = TCP_PATIENCE_US;
            } else if pipe.up && (politely || rand::RngExt::random_bool(&mut self.rng, 0.5)) {
                let name = self.nodes[id].name.clone();
                let [smaller, larger] = pipe.lanes;
                let lane = if id == ends.0 { smaller } else { larger };
                for (due, packet) in lane.sent {
                    let due = due.saturating_sub(self.clock);
                    after = after.max(due);
                    self.keeper.counts.last_words += 1;
                    let arrival = Arrival::Store(dht::Input::Received { from: name.clone(), packet });
                    self.push(other, due, Some(life), arrival);
                }
            }
            self.unreachable(other, life, id, after);
        }
    }
}
