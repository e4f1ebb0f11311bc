//! The folder's bad day on real containers: a bootstrap and three nodes, each with a folder of this host mounted.

#![allow(clippy::disallowed_methods, reason = "tests wait for the real world")]

#[path = "support/folder_trial.rs"]
mod folder_trial;
mod support;

use std::time::Duration;

use folder_trial::{Size, Trial};
use support::{Lab, docker_available};

#[test]
fn four_containers_become_one_folder_whatever_happens_to_them() {
    if !docker_available() {
        return;
    }
    let lab = Lab::new("docker", 6);
    lab.start(3);
    let size = Size {
        nodes: 3,
        files: 60,
        large: 4 << 20,
        edits: 6,
        uploads: 20,
        stretch: Duration::from_secs(3),
        patience: Duration::from_secs(60),
    };
    let report = Trial::new(&lab, size, 506).run();
    assert!(report.violations().is_empty(), "{report:?}");
    assert!(report.reads > 100 && report.acknowledged.0 > 0, "{report:?}");
}
