//! What overlay neighbours tell each other, over their TCP link (HyParView §4; Plumtree §3).
//!
//! ```text
//! link      Neighbor ─▶  ◀─ Accept | Refuse          either may later say Spare or Disconnect
//! views     Shuffle ─▶ … ─▶  ◀─ … ◀─ Shuffled        a walk over links, and its answer on the same way back
//! tree      Tree ─▶                                  where the sender is, and whether it hangs from the receiver
//! push      Broadcast ─▶                             over eager links, to those not on its path, on first receipt
//! lazy      IHave ─▶  ◀─ Graft  Broadcast… ─▶        over the others
//! repair    Marks{Compare} ─▶  ◀─ Forgotten, Broadcast…   ◀─ Marks{Ask}   Forgotten, Broadcast… ─▶
//!           Marks{Offer} ─▶                          ◀─ Marks{Ask}        Forgotten, Broadcast… ─▶
//! ```
//! The protocol itself is in `node/src/broadcast.rs`.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::id::{Epoch, MessageId, NodeName};

/// Most names on a message's path where it arrives, the origin's and the receiver's included. A frame carries at most
/// one less, because its receiver appends itself.
pub const PATH_MAX: usize = 32;
/// Longest message text, bytes, unless configured lower.
pub const TEXT_MAX_BYTES: usize = 8 * 1024;
/// Most ids in one frame, at most 90 bytes each.
pub const IDS_MAX: usize = 256;
/// Most contacts in one frame.
pub const CONTACTS_MAX: usize = 8;
/// Most links a shuffle walks.
pub const WALK_MAX: u8 = 6;
/// Most hops a message may be pushed.
pub const TTL_MAX: u8 = 32;

/// How a message came to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// Its own user said it.
    Own,
    /// A neighbour passed it on at once.
    #[default]
    Push,
    /// It was asked for by its id, because it had been announced and did not come.
    Graft,
    /// A comparison of marks brought it.
    Repair,
}

/// A broadcast on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broadcast {
    /// Which message.
    pub id: MessageId,
    /// How many more hops it may be pushed: its receiver pushes it on unless this is 0.
    pub ttl: u8,
    /// The nodes it went through, the origin first, the sender of this frame last. Every forwarder appends itself.
    pub path: Vec<NodeName>,
    /// What was said.
    pub text: String,
    /// Why it is sent: `Push`, `Graft` or `Repair`.
    pub via: Via,
}

/// Where to reach a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// Whom.
    pub name: NodeName,
    /// Where it listens.
    pub addr: SocketAddr,
    /// Which life of it.
    pub epoch: Epoch,
}

/// One life of one node, as an origin of messages: their sequence numbers count from 1 in each.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Life {
    /// Whose.
    pub origin: NodeName,
    /// Which.
    pub epoch: Epoch,
}

impl From<&MessageId> for Life {
    fn from(id: &MessageId) -> Self {
        Self { origin: id.origin.clone(), epoch: id.epoch }
    }
}

/// Which messages of one life a node has seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Whose messages.
    pub life: Life,
    /// Every sequence number from 1 to this one has been seen.
    pub through: u64,
    /// What was seen beyond the first gap: first and last number of each run, ascending.
    pub beyond: Vec<(u64, u64)>,
}

impl Mark {
    /// Whether the sender of the mark has seen this number.
    #[must_use]
    pub fn has(&self, seq: u64) -> bool {
        seq <= self.through || self.beyond.iter().any(|(first, last)| (*first..=*last).contains(&seq))
    }

    /// The highest number seen; larger than `through` while there are gaps.
    #[must_use]
    pub fn highest(&self) -> u64 {
        self.beyond.iter().map(|(_, last)| *last).fold(self.through, u64::max)
    }
}

/// What the receiver of marks is to do about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MarksPurpose {
    /// Send me what I lack, and ask me (`Ask`) for what you lack.
    Compare,
    /// Send me what I lack.
    Ask,
    /// I have news: ask me for what you lack.
    Offer,
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
    /// My active view is full. Whoever says so closes the link.
    Refuse,
    /// We are neighbours no more; nothing is wrong with either of us. Whoever says so closes the link.
    Disconnect,
    /// I have more neighbours than I aim for. If you have, too, say `Disconnect`; else nothing happens.
    Spare,
    /// Some members in reserve, for the node where this walk ends.
    Shuffle {
        /// Links it may still walk, this one included.
        ttl: u8,
        /// The nodes it went through, who began it first, the sender of this frame last.
        path: Vec<NodeName>,
        /// Some of its neighbours and of its reserve. At most [`CONTACTS_MAX`].
        contacts: Vec<Contact>,
    },
    /// The answer, on its way back.
    Shuffled {
        /// Whom it still has to go through; who began the walk first, whom the receiver hands it to last.
        path: Vec<NodeName>,
        /// Others the answering node knows.
        contacts: Vec<Contact>,
    },
    /// Where I am in the tree. The link between us is eager if one of us hangs from the other.
    Tree {
        /// The smallest name I know a way to.
        root: NodeName,
        /// How many links away it is.
        hops: u8,
        /// I hang from you.
        child: bool,
    },
    /// I have these messages (Plumtree §3.4). At most [`IDS_MAX`].
    IHave(Vec<MessageId>),
    /// Send me these messages now (Plumtree §3.4). At most [`IDS_MAX`].
    Graft(Vec<MessageId>),
    /// A message.
    Broadcast(Broadcast),
    /// What I have seen. Complete between the two ends: of a life in there that is not listed, nothing was seen.
    Marks {
        /// What to do about it.
        purpose: MarksPurpose,
        /// Lives after this one are covered; `None`: from the first.
        after: Option<Life>,
        /// Lives up to this one are covered; `None`: to the last.
        until: Option<Life>,
        /// One per life, ascending.
        marks: Vec<Mark>,
    },
    /// I have seen these lives' messages up to these numbers and remember none that you lack: do not ask me again.
    Forgotten(Vec<(Life, u64)>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_knows_what_it_has() {
        let life = Life { origin: NodeName::numbered(1), epoch: Epoch(1) };
        let mark = Mark { life, through: 3, beyond: vec![(5, 6), (9, 9)] };
        let has: Vec<u64> = (1..=10).filter(|seq| mark.has(*seq)).collect();
        assert_eq!(has, [1, 2, 3, 5, 6, 9]);
        assert_eq!(mark.highest(), 9);
    }
}
