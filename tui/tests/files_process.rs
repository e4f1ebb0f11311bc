//! The folder's bad day on four local processes; `docker_files` has it on containers, `--bench network -- files --files-part schedule` on a hundred.

#![allow(clippy::disallowed_methods, reason = "tests wait for the real world")]

#[path = "support/folder_trial.rs"]
mod folder_trial;
mod support;

use std::time::Duration;

use folder_trial::{Size, Trial, files_of};
use support::Lab;

/// Chance repeats, the machine's own timing does not.
fn seed() -> u64 {
    std::env::var("P2PNET_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(505)
}

#[test]
fn four_folders_become_one_whatever_happens_to_their_nodes() {
    let lab = Lab::new("process", 6);
    lab.start(3);
    let size = Size {
        nodes: 3,
        files: 80,
        large: 6 << 20,
        edits: 8,
        uploads: 30,
        stretch: Duration::from_secs(4),
        patience: Duration::from_secs(60),
    };
    eprintln!("P2PNET_SEED={} cargo test --workspace --test files_process", seed());
    let report = Trial::new(&lab, size, seed()).run();
    assert!(report.violations().is_empty(), "{report:?}");
    assert!(report.reads > 100 && report.acknowledged.0 > 0, "{report:?}");
    // The screen says what the walker saw.
    lab.ok(&["wait", "--for", "files", "--timeout", "60s"]);
    let (agree, paths, _) = files_of(&lab.status());
    let seen = folder_trial::walk(&lab.state_home().join("p2pnet").join(&lab.network).join("bootstrap/sync"));
    assert_eq!((agree, paths), (4, seen.len() as u64), "{report:?}");
}
