//! The store's knobs.

use p2pnet_shared::ring::VNODES;

use crate::time::Millis;

/// Every knob of the store. All members of a network have the same `n` and `vnodes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Copies of a key. Default 3 (Dynamo §6).
    pub n: u8,
    /// Copies on disk before a write is acknowledged. Default 2: with `r` = 2 every read meets every acknowledged write.
    pub w: u8,
    /// Replicas that must answer a read. Default 2.
    pub r: u8,
    /// Whether this node was told of no other to join. As long as it has met none, and holds nothing that others wrote, it is
    /// a network of one: a write is acknowledged with its only copy. Default no: who starts anew and has not met the others
    /// yet acknowledges nothing.
    pub alone: bool,
    /// Virtual nodes of each member. Default 64; 32 in networks that start with 500 or more.
    pub vnodes: u16,
    /// Milliseconds until a user is told that too few copies were reached. Default 4,000, below the five seconds that the
    /// HTTP side waits.
    pub deadline: Millis,
    /// Milliseconds after which another replica is asked besides one that has not answered. Default 200, many times a
    /// round trip and a group commit; a paused node costs a read no more than this.
    pub patience: Millis,
    /// Milliseconds a forwarded write may wait to be begun by its coordinator; after as long without a sign of it the next
    /// one is asked. Default 500: longer than `patience`, so that a coordinator that has to gather first gets it done.
    pub validity: Millis,
    /// Bytes of keys and values a node holds at most, with about a hundred for each version. Default 64 MiB: a hundred nodes of one machine hold six gigabytes.
    /// Beyond it writes are refused (`Refusal::Full`) and what is held stays.
    pub bytes_max: usize,
    /// Bytes a second that repair and hand-over send at most, one node to all others. Default 4 MiB.
    pub repair_bytes_per_second: usize,
    /// Milliseconds between two comparisons with a fellow replica. Default 1,000: each of a hundred is met in two minutes.
    pub compare_period: Millis,
    /// Milliseconds a tombstone is kept. Default a day: longer than any partition shown (Riak's advice is days).
    pub tombstone_life: Millis,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            n: 3,
            w: 2,
            r: 2,
            alone: false,
            vnodes: VNODES,
            deadline: Millis(4_000),
            patience: Millis(200),
            validity: Millis(500),
            bytes_max: 64 * 1024 * 1024,
            repair_bytes_per_second: 4 * 1024 * 1024,
            compare_period: Millis(1_000),
            tombstone_life: Millis(24 * 3_600_000),
        }
    }
}
