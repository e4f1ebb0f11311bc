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
//!  protocols   membership (SWIM)      broadcast (traced epidemic)
//! ```
//! Protocols decide, the runtime acts. A protocol is a value: no socket, clock, file, task, channel or unseeded chance
//! inside, and the same five names in each: `Config`, `State`, `Input`, `Effect`, `Timer`. `tests/sim` drives the very
//! same code with a pretend network.
//!
//! What cores promise: `handle` never blocks and never panics on anything that came from outside; a timer that fires
//! late, twice or for something long gone does no harm, so nobody ever cancels one.

use std::io::IsTerminal;

pub mod broadcast;
pub mod config;
pub mod membership;
pub mod runtime;
pub mod time;

/// Logs to stderr, `RUST_LOG` decides how much; `info` without it.
pub fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    let ansi = std::io::stderr().is_terminal();
    // A second initialisation would be our own mistake, and a log twice set up is still a log.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi).try_init();
}
