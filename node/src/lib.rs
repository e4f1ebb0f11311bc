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

pub mod broadcast;
pub mod config;
pub mod discovery;
pub mod membership;
pub mod runtime;
pub mod time;

pub use config::{NodeOptions, Settings};
pub use runtime::{NodeHandle, run, start};
