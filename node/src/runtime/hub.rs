//! What the store and the folder have in common: a protocol behind a lock, with lines and timers of its own, that whoever has something
//! for it enters.
//!
//! ```text
//! peers/line.rs ── accepted, received, ended ──┐          ┌─▶ enter: the table of its lines, its timers
//! the loop      ── member_up, member_down ─────┼─▶ Hub ───┤
//! Owner         ── dropped ────────────────────┘          └─▶ hear: packets, members, who is not reached ─▶ the protocol
//! ```
//! A hub says how it is entered and how its protocol hears; the rest is here, and the same for all. Nothing waits while the lock is
//! held, and nobody else has it in between: all tasks of a node run on one thread.

use std::{net::SocketAddr, ops::Deref, sync::Arc};

use p2pnet_shared::{
    Epoch, NodeName,
    wire::{self, Hello},
};
use tokio::{net::TcpStream, sync::OwnedSemaphorePermit};

use super::{
    alarm::Alarm,
    peers::{Peers, Wiring},
};
use crate::time::Millis;

/// What a hub's protocol is to hear.
#[derive(Debug)]
pub(super) enum Heard<P> {
    /// A packet came in.
    Packet { from: NodeName, packet: P },
    /// What was sent there may be lost.
    Unreachable { peer: NodeName },
    /// A member is believed alive, in that life.
    MemberUp { name: NodeName, epoch: Epoch },
    /// It died or left.
    MemberDown { name: NodeName },
}

/// Whose lines they are: who hears what comes in, and is asked what goes out. Cheap to clone.
pub(super) trait Hub: Clone + Send + Sync + 'static {
    /// What goes over its lines.
    type Packet: wire::Packet + Send + 'static;

    /// What its lines need.
    fn wiring(&self) -> &Arc<Wiring>;

    /// Enters the table of its lines and its timers, for a moment.
    fn enter<T>(&self, act: impl FnOnce(&mut Peers, &mut Alarm) -> T) -> T;

    /// Its protocol hears these, one after the other.
    fn hear(&self, heard: impl IntoIterator<Item = Heard<Self::Packet>>);

    /// Ends every task, so that nothing keeps the protocol alive.
    fn stop(&self);

    /// Whether a packet may be lost when its line is crowded, rather than the line be closed.
    fn may_be_lost(_packet: &Self::Packet) -> bool {
        false
    }

    /// About how many bytes a large packet takes, so that room for it is made once; 0 for a small one.
    fn weight(_packet: &Self::Packet) -> usize {
        0
    }

    /// Somebody dialled, and has said who.
    fn accepted(&self, hello: Hello, stream: TcpStream, permit: OwnedSemaphorePermit) {
        self.enter(|peers, alarm| {
            peers.accept(self, hello, stream, permit);
            peers.watch(alarm);
        });
    }

    /// Packets came in over a line. False if it has been given up.
    fn received(
        &self,
        id: u64,
        from: &NodeName,
        packets: &mut Vec<Self::Packet>,
        is_partial: bool,
        goodbye: bool,
    ) -> bool {
        if !self.enter(|peers, _| peers.heard(id, packets.len(), is_partial)) {
            return false;
        }
        self.hear(packets.drain(..).map(|packet| Heard::Packet { from: from.clone(), packet }));
        if goodbye {
            self.enter(|peers, _| peers.close(id));
        }
        true
    }

    /// A line's task has ended.
    fn ended(&self, id: u64, goodbye: bool) {
        let lost = self.enter(|peers, _| peers.ended(id, goodbye));
        self.hear(lost.map(|peer| Heard::Unreachable { peer }));
    }

    /// A member is believed alive, there and in that life.
    fn member_up(&self, name: &NodeName, addr: SocketAddr, epoch: Epoch) {
        if self.enter(|peers, _| peers.learn(name, addr, epoch)) {
            self.hear([Heard::Unreachable { peer: name.clone() }]);
        }
        self.hear([Heard::MemberUp { name: name.clone(), epoch }]);
    }

    /// It died or left.
    fn member_down(&self, name: &NodeName) {
        self.enter(|peers, _| peers.forget(name));
        self.hear([Heard::MemberDown { name: name.clone() }]);
    }

    /// How many connections to other nodes are up.
    fn connections(&self) -> usize {
        self.enter(|peers, _| peers.up())
    }

    /// The worst lateness of a timer since it was last taken.
    fn late_max(&self) -> Millis {
        self.enter(|_, alarm| alarm.late_max())
    }

    /// The same, and begins anew.
    fn take_late_max(&self) -> Millis {
        self.enter(|_, alarm| alarm.take_late_max())
    }
}

/// The node's own hold on a hub: when it is dropped, all tasks of the hub end.
#[derive(Debug)]
pub(super) struct Owner<H: Hub>(pub(super) H);

impl<H: Hub> Deref for Owner<H> {
    type Target = H;

    fn deref(&self) -> &H {
        &self.0
    }
}

impl<H: Hub> Drop for Owner<H> {
    fn drop(&mut self) {
        self.0.stop();
    }
}
