//! What this node knows of the other members: who can be reached, and what their clocks said.
//!
//! A member that did not answer in time, or whose connection broke, is passed over for a second and then tried again; one
//! that is suspected is passed over until it is not. Neither takes its place on the ring from it.
//!
//! Clocks: every packet says what its sender's clock was when it was sent. That, and the time since, is never later than
//! what that clock says now. So a time limit made from it errs to the early side: what is late by it may still be in time,
//! what is in time by it is in time.

use std::collections::BTreeMap;

use p2pnet_shared::{Epoch, NodeName};

use crate::time::Millis;

/// How long a member that did not answer is passed over.
pub(super) const AVOID: Millis = Millis(1_000);

/// One member.
#[derive(Debug)]
struct Peer {
    epoch: Epoch,
    suspected: bool,
    avoid_until: Millis,
    /// When its last packet came, and what its clock had said.
    heard: Option<(Millis, u64)>,
    /// The last write it forwarded to us: its numbers only grow, so what is not larger came before.
    forwarded: u64,
}

/// The members, without this node.
#[derive(Debug, Default)]
pub(super) struct Peers(BTreeMap<NodeName, Peer>);

impl Peers {
    /// It is believed alive. In a new life its clock is another one.
    pub(super) fn up(&mut self, name: &NodeName, epoch: Epoch) {
        let known = self.0.get(name).is_some_and(|peer| peer.epoch == epoch);
        if !known {
            let peer = Peer { epoch, suspected: false, avoid_until: Millis(0), heard: None, forwarded: 0 };
            self.0.insert(name.clone(), peer);
        }
    }

    /// It died or left; in which life.
    pub(super) fn down(&mut self, name: &NodeName) -> Option<Epoch> {
        self.0.remove(name).map(|peer| peer.epoch)
    }

    pub(super) fn suspected(&mut self, name: &NodeName, suspected: bool) {
        if let Some(peer) = self.0.get_mut(name) {
            peer.suspected = suspected;
            if !suspected {
                peer.avoid_until = Millis(0);
            }
        }
    }

    /// A packet came from it.
    pub(super) fn heard(&mut self, name: &NodeName, now: Millis, clock: u64) {
        if let Some(peer) = self.0.get_mut(name) {
            peer.avoid_until = Millis(0);
            peer.heard = Some((now, clock));
        }
    }

    /// It did not answer, or could not be reached.
    pub(super) fn avoid(&mut self, name: &NodeName, now: Millis) {
        if let Some(peer) = self.0.get_mut(name) {
            peer.avoid_until = now + AVOID;
        }
    }

    /// It was asked at `since` and did not answer: passed over, unless it has said anything else meanwhile.
    pub(super) fn silent(&mut self, name: &NodeName, since: Millis, now: Millis) {
        if self.0.get(name).is_some_and(|peer| peer.heard.is_none_or(|(heard, _)| heard < since)) {
            self.avoid(name, now);
        }
    }

    /// Whether it is a member to be asked now.
    pub(super) fn is_reachable(&self, name: &NodeName, now: Millis) -> bool {
        self.0.get(name).is_some_and(|peer| !peer.suspected && now >= peer.avoid_until)
    }

    /// Whether it is a member that nobody suspects.
    pub(super) fn is_trusted(&self, name: &NodeName) -> bool {
        self.0.get(name).is_some_and(|peer| !peer.suspected)
    }

    /// How many members there are, and how many of them are suspected or just now silent.
    pub(super) fn missing(&self, now: Millis) -> (usize, usize) {
        (self.0.len(), self.0.values().filter(|peer| peer.suspected || now < peer.avoid_until).count())
    }

    /// What its clock says now, or a little less. `None` if nothing was heard of this life of it.
    pub(super) fn clock(&self, name: &NodeName, now: Millis) -> Option<u64> {
        let (heard, clock) = self.0.get(name)?.heard?;
        Some(clock.saturating_add((now - heard).0))
    }

    /// Whether a write it forwards is a new one, not an old packet once more.
    pub(super) fn is_new(&mut self, name: &NodeName, call: u64) -> bool {
        let Some(peer) = self.0.get_mut(name) else { return true };
        let new = call > peer.forwarded;
        peer.forwarded = peer.forwarded.max(call);
        new
    }
}
