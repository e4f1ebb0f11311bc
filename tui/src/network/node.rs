//! One node: how it really is, and what it believes.

use std::net::SocketAddr;

use p2pnet_shared::{Epoch, NodeName, UnixMillis, ViewDigest, telemetry::Load};
use uuid::Uuid;

use crate::cluster::{Role, Unit, UnitState};

/// One row of the node table.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Its name.
    pub name: NodeName,
    /// Bootstrap or peer.
    pub role: Role,
    /// How it is, by the engine's word.
    pub state: UnitState,
    /// Since when, by the engine's word.
    pub since: Option<UnixMillis>,
    /// Where its port is reached from this host.
    pub address: Option<SocketAddr>,
    /// Whether its telemetry link to the gateway stands.
    pub reporting: bool,
    /// Its UUID, once it has reported.
    pub id: Option<Uuid>,
    /// Its life, once it has reported.
    pub epoch: Option<Epoch>,
    /// Whom it believes alive, itself included, by its own report.
    pub view: ViewDigest,
    /// When its view last changed, by its own stamp.
    pub view_changed_at: Option<UnixMillis>,
    /// It is up, reports, and its view equals the truth.
    pub agrees: bool,
    /// How many members it believes alive that are not up (or paused).
    pub ghosts: u32,
    /// How many that are up it does not believe alive.
    pub missing: u32,
    /// How many members it currently suspects.
    pub suspects: u32,
    /// Broadcasts delivered to it in this life.
    pub messages: u64,
    /// Its last load report.
    pub load: Option<Load>,
    /// Share of one core it used between its last two load reports, percent.
    pub cpu_percent: Option<f32>,
}

impl Node {
    /// The engine's part of it.
    #[must_use]
    pub fn unit(&self) -> Unit {
        Unit { name: self.name.clone(), role: self.role, state: self.state, address: self.address, since: self.since }
    }
}
