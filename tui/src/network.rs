//! What is known of a network: the truth from the engine beside what each node believes. Plain data and one fold.
//!
//! ```text
//! cluster  ──Truth──▶ ┐
//!                     ├─▶ Network::observe ──▶ Vec<Change>   event log, `watch --plain`, `watch --json`
//! gateway ──FeedLine─▶ ┘        │
//!                              └──▶ Network::summary   top lines, `status`, `status --json`, `wait`
//! ```
//! The dashboard, `status`, `wait`, `watch` and the tests all fold the same observations with this one piece of code, so
//! they cannot disagree. Nothing here reads a clock or does IO.

mod change;
mod node;
mod summary;
mod trace;

use p2pnet_shared::{NodeName, UnixMillis, telemetry::FeedLine};

use crate::cluster::Truth;

pub use change::{Change, ChangeKind};
pub use node::Node;
pub use summary::{Summary, Verdict};
pub use trace::{Arrival, Trace};

/// Anything that can be learnt about the network.
#[derive(Debug, Clone, PartialEq)]
pub enum Observation {
    /// From the engine.
    Truth(Truth),
    /// From the gateway.
    Feed(FeedLine),
    /// The gateway's feed broke off, with the reason; nodes' views may be out of date from here on.
    FeedLost(String),
    /// The feed is back; a full history follows.
    FeedBack,
}

/// Everything that is known.
#[derive(Debug, Clone, Default)]
pub struct Network {}

impl Network {
    /// Takes in one observation made at `now` and says what changed, in the order it happened.
    pub fn observe(&mut self, now: UnixMillis, observation: Observation) -> Vec<Change> {
        let _ = (now, observation);
        Vec::new()
    }

    /// The numbers everything else is built on, as of `now`.
    #[must_use]
    pub fn summary(&self, now: UnixMillis) -> Summary {
        let _ = now;
        Summary::default()
    }

    /// The bootstrap and the peers (not the gateway), in the order people count.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        std::iter::empty()
    }

    /// One node.
    #[must_use]
    pub fn node(&self, name: &NodeName) -> Option<&Node> {
        let _ = name;
        None
    }

    /// The recent broadcasts, oldest first.
    pub fn traces(&self) -> impl DoubleEndedIterator<Item = &Trace> {
        std::iter::empty()
    }

    /// Why the engine's word is out of date, if it is, and since when.
    #[must_use]
    pub fn engine_lost(&self) -> Option<(UnixMillis, &str)> {
        None
    }

    /// Why the nodes' word is out of date, if it is, and since when.
    #[must_use]
    pub fn feed_lost(&self) -> Option<(UnixMillis, &str)> {
        None
    }
}
