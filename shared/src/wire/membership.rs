//! What members tell each other, over UDP (SWIM §4; Lifeguard §IV).
//!
//! Every datagram names its sender and may carry claims: news about members, piggybacked until each has been told
//! often enough. The protocol itself is in `node/src/membership.rs`.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::id::{Epoch, NodeName};

/// How a member is doing, as somebody believes. Graver states are larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Answers probes.
    Alive,
    /// Missed a probe; has until the suspicion runs out to refute.
    Suspect,
    /// Did not refute.
    Dead,
    /// Said goodbye.
    Left,
}

impl Status {
    /// Whether a member in this state counts as a live member: a suspect does until it is declared dead.
    #[must_use]
    pub fn is_live(self) -> bool {
        self <= Status::Suspect
    }
}

/// News about one member. The newer (epoch, incarnation) wins; at a tie the graver status. In a [`Message::State`] a
/// death is hearsay and counts as a suspicion, so that after a partition the member itself has the last word.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Claim {
    /// Whom it is about.
    pub member: NodeName,
    /// Where that member listens.
    pub addr: SocketAddr,
    /// Which life of it.
    pub epoch: Epoch,
    /// Raised only by the member itself, to refute.
    pub incarnation: u32,
    /// What is claimed.
    pub status: Status,
    /// Who first said so, for `Suspect` and `Dead`.
    pub accuser: Option<NodeName>,
    /// The accuser also lost its TCP link to the member: the suspicion is short.
    pub link_lost: bool,
}

/// One membership datagram.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Datagram {
    /// Who sends it.
    pub from: NodeName,
    /// What it asks or answers.
    pub message: Message,
    /// News.
    pub claims: Vec<Claim>,
}

/// What a membership datagram asks or answers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Message {
    /// Are you there? `target` guards against an address that changed hands.
    Ping {
        /// Echoed by the answer.
        seq: u32,
        /// Who is meant; anybody else stays silent. `None` when the sender knows only an address.
        target: Option<NodeName>,
    },
    /// Yes.
    Ack {
        /// Of the ping answered.
        seq: u32,
    },
    /// Please ping `target` for me.
    PingRequest {
        /// Echoed by the answer.
        seq: u32,
        /// Who is to be pinged.
        target: NodeName,
        /// Where.
        addr: SocketAddr,
    },
    /// The target of your request did not answer *me* either; I am well (Lifeguard §IV-A).
    Nack {
        /// Of the request answered.
        seq: u32,
    },
    /// Only the claims matter.
    Gossip,
    /// Here is a hash of my full state; send yours if it differs. The claims hold the sender itself.
    Sync {
        /// Of every member this sender believes alive, itself included: name, epoch and incarnation.
        state_hash: u64,
    },
    /// Full state, one datagram of several: the claims.
    State {
        /// The receiver is to send its own full state back.
        reply: bool,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn graver_is_larger_and_a_suspect_still_counts() {
        assert!(Status::Alive < Status::Suspect && Status::Suspect < Status::Dead && Status::Dead < Status::Left);
        assert!(Status::Suspect.is_live() && !Status::Dead.is_live() && !Status::Left.is_live());
    }
}
