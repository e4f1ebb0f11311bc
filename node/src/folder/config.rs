//! The folder's knobs.

use crate::time::Millis;

/// Every knob of the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Nodes that must have an upload on disk before it is acknowledged with 201, this one included. Default 2.
    pub copies: u8,
    /// Milliseconds an upload waits for them; then 202. Default 2,000.
    pub upload_patience: Millis,
    /// Milliseconds a download of something that is not here waits for its bytes. Default 30,000.
    pub download_patience: Millis,
    /// Nodes to compare with and fetch from, about. Default 8 (Kraken has 10 at most).
    pub neighbours: usize,
    /// Milliseconds that changed entries are collected before they are pushed. Default 20.
    pub push_after: Millis,
    /// Milliseconds between two comparisons with a neighbour, give or take a quarter. Default 2,000.
    pub compare_period: Millis,
    /// Milliseconds a file is left alone after it was touched, until it is looked at. Default 300.
    pub settle: Millis,
    /// Milliseconds between two looks at everything, give or take a quarter. Default 30,000.
    pub rescan_period: Millis,
    /// Bytes a second that are sent to others at most; `None`: as many as go. Default `None`.
    pub egress: Option<u64>,
    /// Bytes asked for and not yet here, at most. Default 4 MiB; 2 MiB from 500 members up.
    pub window_bytes: usize,
    /// Unfinished files at once. Default 64.
    pub parts_max: usize,
    /// Files and tombstones in the index at most. Default 100,000: beyond it new ones are not taken in, and counted.
    pub entries_max: usize,
    /// Milliseconds a tombstone is kept. Default 30 days: longer than any outage shown.
    pub tombstone_life: Millis,
    /// Conflict copies of one path that are shown as files at most, the same on all nodes. Default 64, all there can be: contents
    /// that no file shows are on no disk, and their last holder replaces them with the winner.
    pub copies_shown: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            copies: 2,
            upload_patience: Millis(2_000),
            download_patience: Millis(30_000),
            neighbours: 8,
            push_after: Millis(20),
            compare_period: Millis(2_000),
            settle: Millis(300),
            rescan_period: Millis(30_000),
            egress: None,
            window_bytes: 4 * 1024 * 1024,
            parts_max: 64,
            entries_max: 100_000,
            tombstone_life: Millis(30 * 24 * 3_600_000),
            copies_shown: 64,
        }
    }
}
