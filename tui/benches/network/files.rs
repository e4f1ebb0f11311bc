//! `files`: how long until every node has every file, beside what a user would take instead.
//!
//! ```text
//! part      what
//! union     four trees at 4 and 8 nodes: 4 × 250 files of 4 KiB, one of 256 MiB, 4 × 64 MiB, 10,000 × 1 KiB spread over all
//!           ours, Syncthing, rsync's daemon and a plain `cp` in turn, in each run
//! swarm     one file of 32 MiB at one of 101 nodes, each sending 6 MB/s at most: median and last node over the theoretical
//!           bound, bytes received over bytes needed
//! lean      memory of a node with 2,000 files
//! schedule  ten bad minutes (tests/support/folder_trial.rs) at --nodes: time to the union after each act; nothing lost, nothing torn
//! ```
//! The clock starts when every node is told to look at its folder now, so that nobody's watch or rescan period counts, and stops
//! when an outside walker sees every file under its name with its whole size in every folder. Then it hashes them all: a
//! wrong byte ends the benchmark. All folders lie on one file system. Ours, Syncthing and rsync sync every file to the disk;
//! `cp` does not. Everything goes over loopback, so it is the processor that is shared, not a wire; the swarm's cap
//! makes a wire of it.
//!
//! ```text
//! trees.rs   what is planted      walker.rs  when all have it, and whether it is right     union.rs   the race
//! ours.rs, syncthing.rs, rsync.rs   the runners: a network of nodes each               swarm.rs   one to a hundred, and memory
//! schedule.rs   the bad day of `cargo test --test files_process`, at any size
//! ```

mod ours;
mod rsync;
mod schedule;
mod swarm;
mod syncthing;
mod trees;
mod union;
mod walker;

use clap::ValueEnum;

use crate::bench::Bench;

/// What `files` measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FilesPart {
    /// The four trees, at 4 and 8 nodes, of ours and others.
    Union,
    /// One file to a hundred nodes, each with a cap.
    Swarm,
    /// Memory with 2,000 files.
    Lean,
    /// Edits and uploads under kills, pauses, cuts and lost disks. Only when asked for.
    Schedule,
}

/// `files`: the parts that were asked for, or all but the last.
pub(crate) fn measure(bench: &Bench) {
    let parts = &bench.options.files_part;
    // Ten bad minutes at a hundred nodes take 13 GB of disk: nobody gets that without having asked for it.
    let wants = |part| parts.contains(&part) || (parts.is_empty() && part != FilesPart::Schedule);
    if wants(FilesPart::Union) {
        union::measure(bench);
    }
    if wants(FilesPart::Swarm) {
        swarm::measure(bench);
    }
    if wants(FilesPart::Lean) {
        swarm::measure_lean(bench);
    }
    if wants(FilesPart::Schedule) {
        schedule::measure(bench);
    }
}
