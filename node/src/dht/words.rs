//! What the store is told, and what it asks for: the words between it and its runtime.

use p2pnet_shared::{
    Epoch, Key, NodeName,
    telemetry::KeyEvent,
    wire::dht::{Entry, Operation, Packet, Refusal, Value},
};

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

/// What the user is told. Exactly one for each request, within [`Config::deadline`](super::Config::deadline).
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
    /// What is under way is looked over.
    Calls {
        /// When it was to fire.
        due: Millis,
    },
    /// Members that came and went since the ring changed last take their places.
    Ring {
        /// When it was to fire.
        due: Millis,
    },
    /// Once a second: have we slept, is there something to drop, will the disk have it now?
    Tick {
        /// When it was to fire.
        due: Millis,
    },
    /// Repair looks around.
    Repair {
        /// When it was to fire.
        due: Millis,
    },
}
