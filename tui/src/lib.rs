//! p2pnet's dashboard, verbs and cluster control, as a library so that benchmarks and tests drive the very same code.

pub mod cli;
pub mod cluster;
pub mod doctor;
pub mod failure;
pub mod fault;
pub mod feed;
pub mod gateway;
mod holdings;
pub mod keys;
pub mod message;
pub mod model;
pub mod network;
pub mod observe;
pub mod prompt;
pub mod runtime;
pub mod select;
pub mod signals;
pub mod update;
pub mod verb;
pub mod verbs;
pub mod view;
