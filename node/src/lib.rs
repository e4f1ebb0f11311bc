//! One peer of a p2pnet network.
//!
//! ```text
//!            UDP datagrams      TCP links        HTTP requests       the clock
//!                 │                 │                  │                 │
//!                 ▼                 ▼                  ▼                 ▼
//!  runtime   ┌─────────────────────────────────────────────────────────────────┐
//!            │ one loop: wait, feed one Input, carry out its Effects           │
//!            └──────┬───────────────────────────────▲──────────────────────────┘
//!        Input, now │                               │ Effect: Send, SetTimer, Announce …
//!                   ▼                               │
//!  protocols   membership (SWIM)      broadcast (traced epidemic)      dht (ring, quorums, repair)
//! ```
//! Protocols decide, the runtime acts. A protocol is a value: no socket, clock, file, task, channel or unseeded chance
//! inside, and the same five names in each: `Config`, `State`, `Input`, `Effect`, `Timer`. `tests/sim` drives the very
//! same code with a pretend network.
//!
//! What cores promise: `handle` never blocks and never panics on anything that came from outside; a timer that fires
//! late, twice or for something long gone does no harm, so nobody ever cancels one.

pub mod broadcast;
pub mod config;
pub mod dht;
pub mod discovery;
pub mod folder;
pub mod membership;
#[cfg(test)]
mod pretend;
pub mod runtime;
pub mod time;

use std::io::{IsTerminal, stderr};

use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

pub use config::{NodeOptions, Settings};
pub use runtime::{NodeHandle, run, start};

/// Logs to stderr: `info`, or what `RUST_LOG` says (`debug`, or `p2pnet_node::runtime=debug,info`). Level by module is all
/// it understands: a filter that also looks into fields brings an engine for regular expressions into every node.
pub fn log_to_stderr() {
    let asked = std::env::var("RUST_LOG").ok().and_then(|filter| filter.parse::<Targets>().ok());
    let filter = asked.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let lines = tracing_subscriber::fmt::layer().with_writer(stderr).with_ansi(stderr().is_terminal());
    // A log that was set up before, by whoever embeds us, is kept.
    let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
}
