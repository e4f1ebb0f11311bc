//! What overlay neighbours tell each other, over their TCP link (HyParView §4; Plumtree §3).
//!
//! The protocol itself is in `node/src/broadcast.rs`.

use serde::{Deserialize, Serialize};

use crate::id::{Epoch, MessageId, NodeName};

/// Longest path a frame may carry, hops: a decoder refuses more.
pub const PATH_MAX: usize = 32;
/// Longest message text, bytes, unless configured lower.
pub const TEXT_MAX_BYTES: usize = 8 * 1024;

/// A broadcast on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broadcast {
    /// Which message.
    pub id: MessageId,
    /// How many more hops it may be pushed.
    pub ttl: u8,
    /// The nodes it went through, the origin first, the sender of this frame last. Every forwarder appends itself.
    pub path: Vec<NodeName>,
    /// What was said.
    pub text: String,
}

/// Up to where a node has everything of one origin's life, and beyond it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Whose messages.
    pub origin: NodeName,
    /// Which life.
    pub epoch: Epoch,
    /// Every sequence number from 1 to this one has been seen.
    pub through: u64,
    /// The highest number seen; larger than `through` while there are gaps.
    pub highest: u64,
}

/// One frame between overlay neighbours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Frame {
    /// Let us be neighbours. With `urgent` the sender has no neighbour at all and may not be refused (HyParView §4.2).
    Neighbor {
        /// High priority.
        urgent: bool,
    },
    /// We are neighbours.
    Accept,
    /// My active view is full.
    Refuse,
    /// We are neighbours no more; nothing is wrong with either of us.
    Disconnect,
    /// A message.
    Broadcast(Broadcast),
    /// What I have, so that you can send what I lack. Answered with the missing broadcasts, and with `Marks` of the
    /// receiver (`reply: false`) when it lacks something too.
    Marks {
        /// The receiver is to answer with its own marks.
        reply: bool,
        /// One per origin's life.
        marks: Vec<Mark>,
    },
}
