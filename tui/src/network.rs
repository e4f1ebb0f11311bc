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

use p2pnet_shared::telemetry::FeedLine;

use crate::cluster::Truth;

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
