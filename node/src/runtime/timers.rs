//! Timers: what the protocols and the runtime asked to be woken for, and how late we were.
//!
//! A binary heap by due time. Nothing is ever cancelled: a stale timer is harmless (see `lib.rs`). Holds what the cores
//! have asked for, which they bound: a handful per member.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
};

use crate::{broadcast, dht, folder, membership, time::Millis};

/// Whom a timer wakes, and what for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wake {
    /// The membership core.
    Membership(membership::Timer),
    /// The broadcast core.
    Broadcast(broadcast::Timer),
    /// The store.
    Dht(dht::Timer),
    /// The shared folder.
    Folder(folder::Timer),
    /// Connections of the store, or of the folder, are looked at: who is idle, who is stuck.
    Peers,
    /// What is new in the store is due to be reported.
    Keys,
    /// What is new in the folder is.
    FolderNews,
    /// A view that changed is due to be reported.
    View,
    /// Overlay links that changed are due to be reported.
    Links,
    /// A load report is due.
    Load,
    /// A datagram that a fault delays is due.
    HeldDatagram,
}

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    due: Millis,
    /// Equal times fire in the order they were set.
    order: u64,
    wake: Wake,
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.due, self.order).cmp(&(other.due, other.order))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// All timers that have not fired yet.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<Entry>>,
    set: u64,
    late_max: Millis,
}

impl Timers {
    /// Wakes `wake` at `due`.
    pub(super) fn set(&mut self, due: Millis, wake: Wake) {
        self.set += 1;
        self.heap.push(Reverse(Entry { due, order: self.set, wake }));
    }

    /// When the next one is due.
    pub(super) fn next_due(&self) -> Option<Millis> {
        self.heap.peek().map(|Reverse(entry)| entry.due)
    }

    /// The next one that is due by `now`, and records how late it is.
    pub(super) fn pop(&mut self, now: Millis) -> Option<Wake> {
        if self.next_due()? > now {
            return None;
        }
        let Reverse(entry) = self.heap.pop()?;
        self.late_max = self.late_max.max(now - entry.due);
        Some(entry.wake)
    }

    /// The worst lateness since this was last asked.
    pub(super) fn take_late_max(&mut self) -> Millis {
        std::mem::take(&mut self.late_max)
    }

    /// The worst lateness since it was last taken.
    pub(super) fn late_max(&self) -> Millis {
        self.late_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_fire_in_order_of_time_then_of_setting_and_lateness_is_kept() {
        let mut timers = Timers::default();
        timers.set(Millis(20), Wake::Load);
        timers.set(Millis(10), Wake::View);
        timers.set(Millis(10), Wake::Load);
        assert_eq!(timers.next_due(), Some(Millis(10)));
        assert_eq!(timers.pop(Millis(9)), None);
        assert_eq!(timers.pop(Millis(17)), Some(Wake::View));
        assert_eq!(timers.pop(Millis(17)), Some(Wake::Load));
        assert_eq!(timers.pop(Millis(17)), None);
        assert_eq!(timers.take_late_max(), Millis(7));
        assert_eq!(timers.pop(Millis(20)), Some(Wake::Load));
        assert_eq!(timers.take_late_max(), Millis(0));
    }
}
