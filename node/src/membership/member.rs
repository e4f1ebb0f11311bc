//! One member, as we believe it to be.

use std::net::SocketAddr;

use p2pnet_shared::{
    Epoch, NodeName,
    telemetry::MemberRow,
    wire::membership::{Claim, Status},
};

use super::suspicion::Suspicion;
use crate::time::Millis;

/// One row of the member table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub name: NodeName,
    /// Where it listens.
    pub addr: SocketAddr,
    /// Which life.
    pub epoch: Epoch,
    /// Its incarnation.
    pub incarnation: u32,
    /// What we believe.
    pub status: Status,
    /// Since when.
    pub since: Millis,
    /// Who accuses or accused it.
    pub accusers: Vec<NodeName>,
}

impl Member {
    /// What we hold of it as a claim to pass on, in the name of its first accuser.
    pub(super) fn claim(&self) -> Claim {
        Claim {
            member: self.name.clone(),
            addr: self.addr,
            epoch: self.epoch,
            incarnation: self.incarnation,
            status: self.status,
            accuser: self.accusers.first().cloned(),
            link_lost: false,
        }
    }

    /// The row as an observer reports it.
    pub(super) fn row(&self) -> MemberRow {
        MemberRow { member: self.name.clone(), epoch: self.epoch, incarnation: self.incarnation, status: self.status }
    }
}

/// Whether news of a member replaces what we hold (SWIM §4.2): the newer life, then the newer incarnation, then the
/// graver status, so only the member itself can clear a suspicion.
///
/// Departs from the paper, where death is final: here a member returns with a higher incarnation or a newer life.
pub(super) fn supersedes(news: &Claim, held: &Member) -> bool {
    (news.epoch, news.incarnation, news.status) > (held.epoch, held.incarnation, held.status)
}

/// A member with what only the protocol needs.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) member: Member,
    /// `Some` exactly while the member is a suspect.
    pub(super) suspicion: Option<Box<Suspicion>>,
    /// Its place in the probe order while it lives and the base does not have it.
    pub(super) slot: usize,
}
