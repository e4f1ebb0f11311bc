//! The store in numbers: what `status`, `wait` and the top lines show of it.

use p2pnet_shared::{NodeName, UnixMillis, telemetry::DiskState};
use serde::Serialize;

use super::{
    super::{Network, slot::Fate},
    COPIES, Keys, account,
};

/// Keys per node below which the spread of keys says more about chance than about the ring.
const KEYS_TO_JUDGE: u64 = 10;

/// `ring` of `status --json` (contract §3), and more.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct RingCounts {
    /// Nodes that are up and see the ring of the members there are.
    pub agree: u32,
    /// Keys of which a copy is known, on whichever node.
    pub keys: u64,
    /// Those with fewer live copies than they are to have (three, or as many as nodes are up).
    pub under_replicated: u64,
    /// Those of which no copy is live and none is on a paused node either.
    pub unreachable: u64,
    /// Most keys on one node over the mean of all; see `max_over_mean_of`. `null` without nodes.
    pub max_over_mean: Option<f64>,
    /// `keys`, or `shares` of the hash space while there are fewer than ten keys a node.
    pub max_over_mean_of: &'static str,
    /// Keys by number of live copies: none, one, two, three or more.
    pub copies: [u64; 4],
    /// Keys whose only reachable-again copies are on paused nodes; they are in `copies[0]` and not in `unreachable`.
    pub on_paused: u64,
    /// Keys short of copies because they were written in the last two seconds.
    pub writing: u64,
    /// Copies a key is to have now.
    pub wanted: u8,
    /// Copies held by nodes that are not to hold them, until those have them who are.
    pub misplaced: u64,
    /// Keys with more than one sibling, as far as the nodes that hold them count them.
    pub conflicts: u64,
    /// Keys that nodes hold, over all nodes that are up: each key about three times.
    pub held: u64,
    /// Bytes of keys and values, over all nodes that are up.
    pub bytes: u64,
    /// What repair and hand-over still have to send.
    pub moving: MovingCounts,
    /// How long it last took from the last end of a node to every key having its copies again; `null` before the first.
    pub repair_window_ms: Option<u64>,
    /// Since when keys are short of copies, while they are.
    pub repairing_for_ms: Option<u64>,
    /// Nodes whose disk is full or broken.
    pub disks: Vec<DiskTrouble>,
    /// The counts of keys are scaled up from a sample.
    pub estimated: bool,
    /// Virtual nodes of each member.
    pub vnodes: u16,
    /// The ring of the nodes that are up, sixteen hexadecimal digits.
    pub digest: String,
}

/// What repair and hand-over still have to send, over all nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct MovingCounts {
    /// From one node to another.
    pub ways: u32,
    /// Keys left.
    pub keys: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes sent each second lately.
    pub bytes_per_second: u64,
}

/// A disk that does not take writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DiskTrouble {
    /// Whose.
    pub node: NodeName,
    /// How it is.
    pub disk: DiskState,
}

impl RingCounts {
    /// Whether every key has the copies it is to have.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.under_replicated == 0
    }
}

impl Network {
    /// The store's numbers as of `now`.
    #[must_use]
    pub fn ring_counts(&self, now: UnixMillis) -> RingCounts {
        let Keys { account, rings, repair, agreeing, .. } = &self.keys;
        let (level, seen) = (account.level(), account.histogram());
        let scaled = |count: u64| count << level.min(32);
        let mut counts = RingCounts {
            agree: *agreeing,
            keys: scaled(seen.live.iter().sum()),
            under_replicated: scaled(self.short(true)),
            unreachable: scaled(seen.live[0].saturating_sub(seen.waiting)),
            copies: seen.live.map(scaled),
            on_paused: scaled(seen.waiting),
            writing: scaled(self.short(true) - self.short(false)),
            wanted: self.copies_wanted(),
            max_over_mean_of: "shares",
            repair_window_ms: repair.last_ms(),
            repairing_for_ms: repair.running_ms(now),
            estimated: level > 0,
            vnodes: rings.ring().vnodes(),
            digest: rings.digest().to_string(),
            ..RingCounts::default()
        };
        let (mut most, mut nodes, mut conflicts) = (0, 0, 0);
        for slot in self.order.iter().map(|slot| &self.slots[*slot]).filter(|slot| slot.fate == Fate::Up) {
            let Some((stock, told)) =
                slot.observer.as_ref().and_then(|o| Some((&o.stock, &o.stock.counts.as_ref()?.1)))
            else {
                continue;
            };
            nodes += 1;
            most = most.max(told.keys);
            counts.held = counts.held.saturating_add(told.keys);
            counts.bytes = counts.bytes.saturating_add(told.bytes);
            counts.misplaced = counts.misplaced.saturating_add(told.misplaced);
            conflicts = told.conflicts.saturating_add(conflicts);
            for way in &told.moving {
                counts.moving.ways += 1;
                counts.moving.keys = counts.moving.keys.saturating_add(way.keys);
                counts.moving.bytes = counts.moving.bytes.saturating_add(way.bytes);
            }
            if !told.moving.is_empty() {
                let rate = &mut counts.moving.bytes_per_second;
                *rate = rate.saturating_add(stock.bytes_per_second);
            }
            if told.disk != DiskState::Fine {
                counts.disks.push(DiskTrouble { node: slot.name.clone(), disk: told.disk });
            }
        }
        // Each key with siblings is counted by each of its holders.
        counts.conflicts = conflicts.div_ceil(u64::from(counts.wanted.max(1)));
        if nodes > 0 && counts.held >= nodes * KEYS_TO_JUDGE {
            counts.max_over_mean_of = "keys";
            counts.max_over_mean = Some(rounded(most as f64 * nodes as f64 / counts.held as f64));
        } else {
            counts.max_over_mean = rings.max_over_mean().map(rounded);
        }
        counts
    }

    /// How many copies a key is to have now: three, or as many as nodes are up.
    pub(super) fn copies_wanted(&self) -> u8 {
        u8::try_from(self.up.count()).unwrap_or(u8::MAX).min(COPIES)
    }

    /// Keys with fewer live copies than they are to have, in the sample; those that are being written only if `young`.
    pub(in crate::network) fn short(&self, young: bool) -> u64 {
        let seen = self.keys.account.histogram();
        let few = |counts: [u64; account::CLASSES]| -> u64 {
            counts[..usize::from(self.copies_wanted()).min(account::CLASSES)].iter().sum()
        };
        if young { few(seen.live) } else { few(seen.live) - few(seen.young) }
    }

    /// Keys without a live copy, and without one on a paused node, in the sample; those being written left out.
    pub(in crate::network) fn out_of_reach(&self) -> u64 {
        let seen = self.keys.account.histogram();
        seen.live[0].saturating_sub(seen.waiting).saturating_sub(seen.young[0])
    }
}

/// Two decimals are what such a number is good for.
fn rounded(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}
