//! SWIM membership: who is alive.

use std::net::SocketAddr;

use p2pnet_shared::{
    Epoch, NodeName, ViewDigest,
    telemetry::MemberEvent,
    wire::membership::{Datagram, Status},
};

use crate::time::Millis;

/// Who we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Our name.
    pub name: NodeName,
    /// Where we listen, as others reach us.
    pub addr: SocketAddr,
    /// This life.
    pub epoch: Epoch,
}

/// Every knob.
#[derive(Debug, Clone)]
pub struct Config {}

impl Default for Config {
    fn default() -> Self {
        Self {}
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// An address was heard of (bootstrap, static peer, gossip, beacon). It is contacted before anything is believed,
    /// and kept as a seed to come back to.
    Contact {
        /// Where somebody may listen.
        addr: SocketAddr,
    },
    /// A datagram came in.
    Received {
        /// Its source address.
        from: SocketAddr,
        /// What it said.
        datagram: Datagram,
    },
    /// A timer that was asked for went off.
    TimerFired(Timer),
    /// The TCP link to an overlay neighbour broke without a goodbye.
    LinkLost {
        /// Whose.
        peer: NodeName,
        /// Which life of it.
        epoch: Epoch,
    },
    /// We are going away.
    Leave,
}

/// What the protocol asks of the runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send one datagram.
    Send {
        /// Where.
        to: SocketAddr,
        /// What.
        datagram: Datagram,
    },
    /// Wake us.
    SetTimer {
        /// From now.
        after: Millis,
        /// With this.
        timer: Timer,
    },
    /// The member table changed.
    Announce(MemberEvent),
}

/// What a timer is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Timer {
    /// Next probe.
    Probe,
}

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

/// The member table and everything the protocol remembers.
#[derive(Debug)]
pub struct State {
    me: Identity,
}

impl State {
    /// A node that knows nobody yet. `seed` is all the chance it will ever have.
    #[must_use]
    pub fn new(me: Identity, config: Config, seed: u64) -> Self {
        let _ = (config, seed);
        Self { me }
    }

    /// Sets the first timers. Called once.
    pub fn start(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        let _ = (now, effects);
    }

    /// One thing happened at `now`; what is to be done is pushed onto `effects`.
    pub fn handle(&mut self, now: Millis, input: Input, effects: &mut Vec<Effect>) {
        let _ = (now, input, effects);
    }

    /// Ourselves, with the incarnation we have reached.
    #[must_use]
    pub fn me(&self) -> &Identity {
        &self.me
    }

    /// Every member but ourselves, dead ones included, sorted by name.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        std::iter::empty()
    }

    /// One member.
    #[must_use]
    pub fn member(&self, name: &NodeName) -> Option<&Member> {
        let _ = name;
        None
    }

    /// The names believed alive, ourselves included.
    #[must_use]
    pub fn digest(&self) -> ViewDigest {
        std::iter::once(&self.me.name).collect()
    }

    /// Lifeguard's local health, 0 (well) to 7.
    #[must_use]
    pub fn health(&self) -> u8 {
        0
    }
}
