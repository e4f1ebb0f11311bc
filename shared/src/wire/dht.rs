//! What nodes tell each other about keys, over the connections between any two of them (Dynamo §4; DVV: *Dotted Version
//! Vectors*, Preguiça et al. 2010).
//!
//! ```text
//! operation   Forward ─▶  ◀─ Coordinating, Forwarded  a put or delete, to a replica that coordinates it
//!             Clock ─▶  ◀─ Clocked                  until when is it worth doing, by the receiver's clock?
//! read        Read ─▶  ◀─ Held, Unread              what does this replica hold of a key?
//! replicate   Merge ─▶  ◀─ Merged                   add these versions to yours, and say when they are on disk
//! repair      Compare, Arcs, Offer, Wanted, Give, Given: who lacks what, and how it gets there (wire/dht/repair.rs)
//! ```
//! The protocol itself is in `node/src/dht.rs`.
//!
//! An [`Entry`] is everything one replica holds of one key: one or more *siblings*, each a [`Version`] with its dot and
//! the causal context it was written in. A version is obsolete once another version's context covers its dot. A delete is a
//! version without a value.

mod repair;

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

pub use self::repair::{ARCS_MAX, ArcDigest, GIVE_MAX, HeldDigest, Holding, OFFER_MAX, Repair};
use crate::{
    id::{Key, NodeName, UnixMillis},
    ring::RingDigest,
};

/// Largest packet between nodes, bytes: an entry with fifteen siblings of the largest value.
pub const PACKET_MAX_BYTES: usize = 1024 * 1024;
/// Largest value, bytes (contract §2): of a string its UTF-8, of anything else its compact JSON.
pub const VALUE_MAX_BYTES: usize = 64 * 1024;
/// Longest text of a value of that size: JSON may write one byte as six (`\u0000`), and puts quotes around it.
pub const VALUE_TEXT_MAX_BYTES: usize = 6 * VALUE_MAX_BYTES + 2;

/// A value: any JSON, kept as its compact text. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Value(Arc<str>);

/// A value was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the value is {0} bytes long, more than the limit of {VALUE_MAX_BYTES}")]
pub struct ValueTooLong(pub usize);

impl Value {
    /// A JSON value as the store keeps it.
    ///
    /// # Errors
    /// [`ValueTooLong`] beyond [`VALUE_MAX_BYTES`].
    pub fn new(value: &serde_json::Value) -> Result<Self, ValueTooLong> {
        let text = value.to_string();
        let length = value.as_str().map_or(text.len(), str::len);
        if length > VALUE_MAX_BYTES { Err(ValueTooLong(length)) } else { Ok(Self(text.into())) }
    }

    /// Its compact JSON text.
    #[must_use]
    pub fn as_json(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Value {
    type Error = ValueTooLong;

    /// Checks the length only: whoever shows a value that came over the wire checks that it is JSON.
    fn try_from(text: String) -> Result<Self, ValueTooLong> {
        if text.len() > VALUE_TEXT_MAX_BYTES { Err(ValueTooLong(text.len())) } else { Ok(Self(text.into())) }
    }
}

impl From<Value> for String {
    fn from(value: Value) -> String {
        value.0.as_ref().to_owned()
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who writes: one node in one *era*. A node begins a new era at each start and whenever it drops copies, so that within an
/// era it never forgets what it wrote, and `count` alone orders its writes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Actor {
    /// The coordinator of the write.
    pub node: NodeName,
    /// Its era; a later one is always larger.
    pub era: u64,
}

/// One write: the how-manieth of its actor.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Dot {
    /// Who coordinated it.
    pub actor: Actor,
    /// Counts the actor's writes from 1.
    pub count: u64,
}

/// One write of a key, with what its writer had seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Which write.
    pub dot: Dot,
    /// Every write of the key that this one replaces: up to that count of each actor, sorted by actor.
    pub context: Vec<(Actor, u64)>,
    /// The coordinator's wall clock. Decides nothing but which of two siblings is shown first, and when a tombstone may go.
    pub at: UnixMillis,
    /// `None` is a tombstone: the key was deleted.
    pub value: Option<Value>,
}

/// What a replica holds of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Which key.
    pub key: Key,
    /// The siblings, sorted by dot; none covers another.
    pub versions: Vec<Version>,
}

/// What a user wants done to a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// Store a value.
    Put {
        /// Under which key.
        key: Key,
        /// Which.
        value: Value,
    },
    /// Delete it.
    Delete {
        /// Which key.
        key: Key,
    },
}

/// Why a replica did not do what it was asked. It has changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Refusal {
    /// Its disk, or the room it may use, is full.
    Full,
    /// Its store cannot be read or written.
    Broken,
    /// It came too late, or there is too much to do.
    Late,
}

/// One packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packet {
    /// The sender's monotonic clock, milliseconds: what tells it later whether a request of the receiver is still wanted. It
    /// begins somewhere else in each life, far from where any other life's is: what was meant for another life is not wanted.
    pub clock: u64,
    /// What it says.
    pub message: Message,
}

impl super::Packet for Packet {}

/// What a packet says. `call` is the asker's number for its question; the answer carries it back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// Coordinate this.
    Forward {
        /// Whose question.
        call: u64,
        /// How often it has been forwarded: 1 on its first way, 2 at most.
        hops: u8,
        /// Do it before this time of your own clock, or not at all.
        valid_until: u64,
        /// What.
        operation: Operation,
    },
    /// I am at it: neither refused nor done. Said now and then while it takes long, so that nobody else is asked meanwhile.
    Coordinating {
        /// The question.
        call: u64,
        /// Copies on disk so far.
        acks: u8,
    },
    /// What became of it.
    Forwarded {
        /// The question.
        call: u64,
        /// Copies on disk.
        acks: u8,
        /// Why it failed, if it did.
        refused: Option<Refusal>,
        /// For a delete: whether there was anything to delete.
        found: bool,
    },
    /// What does your clock say? For who is about to forward something, and has not heard of it yet.
    Clock {
        /// Whose question.
        call: u64,
    },
    /// What every packet says.
    Clocked {
        /// The question.
        call: u64,
    },
    /// What do you hold of this key?
    Read {
        /// Whose question.
        call: u64,
        /// Which key.
        key: Key,
    },
    /// This.
    Held {
        /// The question.
        call: u64,
        /// What is held; `None` for nothing.
        entry: Option<Entry>,
        /// Whether whoever answers has every acknowledged write of this key's range, for all it knows.
        sure: bool,
        /// Of the ring it knows: who is not sure, and knows of others than who asks, does not tell where else to look.
        ring: RingDigest,
    },
    /// Nobody can say: the store cannot be read.
    Unread {
        /// The question.
        call: u64,
    },
    /// Add these versions to yours and put them on disk.
    Merge {
        /// Whose question; 0 if no answer is expected.
        call: u64,
        /// The versions.
        entry: Entry,
        /// Whether the sender has made sure that nothing acknowledged is missing from them.
        whole: bool,
    },
    /// They are on disk, or not.
    Merged {
        /// The question.
        call: u64,
        /// Why not.
        refused: Option<Refusal>,
        /// As in [`Message::Held`].
        sure: bool,
        /// All that is held, if there is more than was given.
        more: Option<Entry>,
    },
    /// Repair and hand-over.
    Repair(Repair),
}
