//! The store of each node: what it is told, and carrying out what it asks for, as the node's runtime does. Each step is
//! looked at as it happens; what must hold of the whole is in `keeper.rs`.

use std::hash::Hash;

use p2pnet_node::{dht, time::Millis};
use p2pnet_shared::{
    Epoch,
    telemetry::{MemberEvent, MemberEventKind},
    wire::dht::{Message, Packet, Refusal},
};

use crate::{
    disks::Disk,
    invariants::number,
    network::{Arrival, Network},
    wire::NodeId,
};

/// What a step is about, as far as its effects are held against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// A write that has been forwarded so often.
    Forward(u8),
    /// An answer to a read: what is merged then is read repair, or a write that had to read first.
    Held,
    Other,
}

impl Network {
    /// Opens the store of a node in its new life, with what its disk holds.
    pub(crate) fn open_store(&mut self, id: NodeId, epoch: Epoch, seed: u64) {
        let Some(config) = self.store_config.clone() else { return };
        let node = &mut self.nodes[id];
        if node.disk.destroyed {
            node.disk = Disk::default();
            self.keeper.counts.disks_replaced += 1;
        }
        let vnodes = config.vnodes;
        let held = node.disk.kept.values().cloned().collect();
        let mut store = dht::State::new(node.name.clone(), epoch, config, seed, held);
        let mut effects = Vec::new();
        store.start(Millis(0), &mut effects);
        let Some(peer) = &mut node.peer else { return };
        peer.store = Some(store);
        let known: Vec<_> = peer.membership.members().filter(|member| member.status.is_live()).collect();
        let known: Vec<_> = known.iter().map(|member| (member.name.clone(), member.epoch)).collect();
        self.keeper.opened(id);
        self.keeper.runs(vnodes, &self.nodes[id].name, true);
        self.carry_out_store(id, effects, Cause::Other);
        for (name, epoch) in known {
            self.feed_store(id, dht::Input::MemberUp { name, epoch });
        }
    }

    /// The process of a node has ended.
    pub(crate) fn close_store(&mut self, id: NodeId, politely: bool) {
        let Some(config) = &self.store_config else { return };
        self.keeper.runs(config.vnodes, &self.nodes[id].name, false);
        self.stop_disk(id, politely);
        self.reset_pipes(id, politely);
        self.abandon(id);
    }

    /// The membership of a node has something to say.
    pub(crate) fn tell_store(&mut self, id: NodeId, event: &MemberEvent) {
        let name = event.row.member.clone();
        let input = match event.kind {
            MemberEventKind::Joined | MemberEventKind::CameBack => {
                dht::Input::MemberUp { name, epoch: event.row.epoch }
            }
            MemberEventKind::Died | MemberEventKind::Left => dht::Input::MemberDown { name },
            MemberEventKind::Suspected => dht::Input::MemberSuspected { name, suspected: true },
            MemberEventKind::Refuted => dht::Input::MemberSuspected { name, suspected: false },
        };
        self.keeper.has_news(id, self.clock);
        self.feed_store(id, input);
    }

    pub(crate) fn feed_store(&mut self, id: NodeId, input: dht::Input) {
        let now = self.local_time(id);
        let Some(store) = self.nodes[id].peer.as_mut().and_then(|peer| peer.store.as_mut()) else { return };
        let cause = match &input {
            dht::Input::Received { packet, .. } => match &packet.message {
                Message::Forward { hops, .. } => Cause::Forward(*hops),
                Message::Held { .. } => Cause::Held,
                _ => Cause::Other,
            },
            _ => Cause::Other,
        };
        let mut effects = Vec::new();
        let line = self.keeper.tells_story.then(|| format!("    node {id} at {now:?} {input:?}"));
        store.handle(now, input, &mut effects);
        self.story(|| line.unwrap_or_default());
        self.carry_out_store(id, effects, cause);
    }

    /// A line of the story of the run, for who has set `P2PNET_SIM_STORY`.
    pub(crate) fn story(&self, line: impl FnOnce() -> String) {
        if self.keeper.tells_story {
            println!("{}.{:06} {}", self.clock / 1_000_000, self.clock % 1_000_000, line());
        }
    }

    /// Milliseconds since the present life of a node began.
    fn local_time(&self, id: NodeId) -> Millis {
        let born = self.nodes[id].peer.as_ref().map_or(self.clock, |peer| peer.born);
        Millis((self.clock - born) / 1_000)
    }

    fn carry_out_store(&mut self, id: NodeId, effects: Vec<dht::Effect>, cause: Cause) {
        for effect in effects {
            match effect {
                dht::Effect::Send { to, packet } => {
                    self.story(|| format!("node {id} to {to}: {:?}", packet.message));
                    let target = number(&to);
                    (self.clock, id, target).hash(&mut self.log);
                    std::mem::discriminant(&packet.message).hash(&mut self.log);
                    self.keeper.counts.packets += 1;
                    self.look_at(id, target, &packet, cause);
                    self.send_packet(id, &to, packet);
                }
                dht::Effect::Persist { batch, changes } => {
                    self.keeper.persisting(id, batch, &changes);
                    self.persist(id, batch, changes);
                }
                dht::Effect::Answer { id: request, answer } => self.answered(id, request, answer),
                dht::Effect::SetTimer { after, timer } => {
                    let into = self.nodes[id].peer.as_ref().map_or(0, |peer| (self.clock - peer.born) % 1_000);
                    let after = (after.0 * 1_000).saturating_sub(into);
                    self.tell(id, after, Arrival::Store(dht::Input::TimerFired(timer)));
                }
                dht::Effect::Announce(_) => {}
            }
        }
    }

    /// A packet as it leaves.
    fn look_at(&mut self, id: NodeId, to: NodeId, packet: &Packet, cause: Cause) {
        let now = self.local_time(id).0;
        self.keeper.said_the_time(id, packet.clock.wrapping_sub(now));
        let counts = &mut self.keeper.counts;
        match &packet.message {
            Message::Forward { hops, .. } => {
                counts.forwards += 1;
                counts.forwarded_on += u64::from(*hops == 2);
                assert!((1..=2).contains(hops), "invariant 21: node {id} sends a write on its way {hops}");
                assert_ne!(cause, Cause::Forward(2), "invariant 21: node {id} sends on what has come two ways");
            }
            Message::Forwarded { refused: Some(Refusal::Late), .. } => counts.late_forwards += 1,
            Message::Merge { entry, .. } => {
                counts.read_repairs += u64::from(cause == Cause::Held);
                if self.keeper.watches_stand_ins && !self.keeper.should_hold(&entry.key, &self.nodes[to].name) {
                    self.keeper.counts.stand_ins += 1;
                }
            }
            _ => {}
        }
    }
}
