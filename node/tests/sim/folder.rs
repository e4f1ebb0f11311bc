//! The folder under the simulator: every node's engine and a pretend disk each, in one thread, from one seed.
//!
//! ```text
//! folder/world.rs     time, members, connections, lives         folder/disk.rs      what an order does to a pretend disk; crashes
//! folder/users.rs     who edits what, and what they saw          folder/campaign.rs  many seeds: faults, calm, judgement
//! folder/checks.rs    the judge can fail                         folder/scenarios.rs one story each
//! ```
//! Membership is an oracle here: who is cut off or dead is announced after some seconds, as SWIM would. What is on trial is the
//! engine: nothing that a user wrote is lost unless whoever replaced it had it on screen, all folders become equal, nothing
//! comes back, and no copy is made without a reason (research, §G 1–10, 12, 16, 17, 20, 22).

mod campaign;
mod checks;
mod disk;
mod scenarios;
mod users;
mod world;
