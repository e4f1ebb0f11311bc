//! The replicated store on the ring: keys outlive their nodes.
//!
//! Sources: *Dynamo* §4 (DeCandia et al. 2007) for the preference list, sloppy quorums, hinted handoff, read repair and
//! anti-entropy; *Dotted Version Vectors* (Preguiça et al. 2010) for what replaces what.
//!
//! ```text
//!  user ──Request──▶ any node ──Forward──▶ coordinator: first reachable of the preference list ──Merge──▶ n replicas
//!                       │                            stored ◀── w of them (its own is one) have it on disk ◀── Merged
//!                       └──Read──▶ replicas, r answers ──▶ newest versions, read repair
//! ```

mod config;
#[allow(dead_code, reason = "the parts come before the whole")]
mod store;
#[cfg(test)]
mod tests;
#[allow(dead_code, reason = "the parts come before the whole")]
mod version;

use p2pnet_shared::{
    Epoch, Key, NodeName,
    ring::Ring,
    telemetry::{HeldKey, KeyCounts, KeyEvent},
    wire::dht::{Entry, Operation, Packet, Refusal, Value},
};

pub use self::config::Config;
use crate::time::Millis;

/// A question of one of our own users, until it is answered.
pub type RequestId = u64;

/// What a user asks of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Put or delete.
    Write(Operation),
    /// Get.
    Read(Key),
}

/// What the user is told. Exactly one for each request, within [`Config::deadline`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The value is on at least `w` disks.
    Stored {
        /// How many had it when we answered.
        acks: u8,
    },
    /// The tombstone is on at least `w` disks.
    Deleted {
        /// How many had it when we answered.
        acks: u8,
    },
    /// The key has a value.
    Found {
        /// The one that every node would show: a pure function of the siblings.
        value: Value,
        /// All that concurrent writes left, that one first; empty when there is just one.
        siblings: Vec<Value>,
    },
    /// The key has no value, or not any more.
    Missing,
    /// Fewer copies than the quorum were reached in time. Whether a write is kept is unknown.
    TooFew {
        /// How many were reached.
        reached: u8,
        /// How many were wanted.
        wanted: u8,
    },
    /// The replicas that were reached refused.
    Refused {
        /// Why, by the word of the first.
        why: Refusal,
        /// How many copies there are all the same.
        reached: u8,
    },
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A member is believed alive, or in a new life: it has its place on the ring.
    MemberUp {
        /// Who.
        name: NodeName,
        /// Which life.
        epoch: Epoch,
    },
    /// It died or left: it has no place on the ring.
    MemberDown {
        /// Who.
        name: NodeName,
    },
    /// A live member is suspected, or is so no more. It keeps its place, but others are asked before it.
    MemberSuspected {
        /// Who.
        name: NodeName,
        /// Whether it is suspected now.
        suspected: bool,
    },
    /// One of our own users asks.
    Asked {
        /// Which question.
        id: RequestId,
        /// What.
        request: Request,
    },
    /// A packet came in.
    Received {
        /// From whom.
        from: NodeName,
        /// What.
        packet: Packet,
    },
    /// A connection to this member could not be made or broke: what was sent over it may be lost.
    Unreachable {
        /// Whose.
        peer: NodeName,
    },
    /// Everything up to and with this batch is on disk.
    Persisted {
        /// The number of the [`Effect::Persist`].
        batch: u64,
    },
    /// This batch is not on disk, nor is any after it that was handed over before this was said.
    NotPersisted {
        /// The number of the [`Effect::Persist`].
        batch: u64,
        /// Why.
        why: Refusal,
    },
    /// A timer that was asked for went off.
    TimerFired(Timer),
}

/// A change of what is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Keep this entry, in place of what is kept under its key.
    Put(Entry),
    /// Keep nothing under this key any more.
    Drop(Key),
}

/// What the protocol asks of the runtime.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Send one packet; dial if there is no connection.
    Send {
        /// To whom.
        to: NodeName,
        /// What.
        packet: Packet,
    },
    /// Put these changes on disk, all of them or none, after every batch before, and say so.
    Persist {
        /// Counts from 1.
        batch: u64,
        /// In order.
        changes: Vec<Change>,
    },
    /// Tell our user.
    Answer {
        /// Which question.
        id: RequestId,
        /// What.
        answer: Answer,
    },
    /// Wake us.
    SetTimer {
        /// From now.
        after: Millis,
        /// With this.
        timer: Timer,
    },
    /// For those who watch.
    Announce(KeyEvent),
}

/// What a timer is for. A stale one does no harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Timer {
    /// An operation or call has waited long enough for something.
    Call {
        /// Which.
        call: u64,
        /// When it was to fire.
        due: Millis,
    },
    /// Repair looks around.
    Repair {
        /// When it was to fire.
        due: Millis,
    },
}

/// Everything one node knows of keys.
#[derive(Debug)]
pub struct State {
    me: NodeName,
    config: Config,
    ring: Ring,
}

impl State {
    /// The store of the node `me` in the life `epoch`, with what its disk held. `seed` makes all its chance.
    #[must_use]
    pub fn new(me: NodeName, _epoch: Epoch, config: Config, _seed: u64, _held: Vec<Entry>) -> Self {
        let ring = Ring::of(config.vnodes, [me.clone()]);
        Self { me, config, ring }
    }

    /// Begins. To be called once, before anything else.
    pub fn start(&mut self, _now: Millis, _effects: &mut Vec<Effect>) {}

    /// Takes one input and says what is to be done about it.
    pub fn handle(&mut self, _now: Millis, input: Input, effects: &mut Vec<Effect>) {
        if let Input::Asked { id, .. } = input {
            let wanted = self.config.w;
            effects.push(Effect::Answer { id, answer: Answer::TooFew { reached: 0, wanted } });
        }
    }

    /// The ring of the members believed alive, this node included.
    #[must_use]
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// The first `n` members for a key, its owner first.
    #[must_use]
    pub fn preference(&self, key: &Key) -> Vec<NodeName> {
        self.ring.preference(p2pnet_shared::ring::Place::of(key.as_str()), usize::from(self.config.n))
    }

    /// What this node holds, in numbers.
    #[must_use]
    pub fn counts(&self) -> KeyCounts {
        KeyCounts::default()
    }

    /// What is held under which place, as those who watch are told.
    pub fn held(&self) -> impl Iterator<Item = HeldKey> {
        std::iter::empty()
    }

    /// Every entry held, tombstones included, in the order of their places.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        let _ = &self.me;
        std::iter::empty()
    }
}
