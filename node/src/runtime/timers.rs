//! What is to happen when. A heap; nothing is ever taken out before its time, because stale timers do no harm.

use std::{cmp::Reverse, collections::BinaryHeap};

use crate::{broadcast, membership, time::Millis};

/// Whose timer it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wake {
    /// The membership's.
    Membership(membership::Timer),
    /// The broadcast's.
    Broadcast(broadcast::Timer),
    /// The view is to be reported, now that several changes may have come together.
    ReportView,
    /// Cost and health are to be reported.
    ReportLoad,
}

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    due: Millis,
    serial: u64,
    wake: Wake,
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due, self.serial).cmp(&(other.due, other.serial))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// All timers of a node. Timers due in the same millisecond fire in the order they were set.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<Entry>>,
    serial: u64,
}

impl Timers {
    pub(super) fn set(&mut self, due: Millis, wake: Wake) {
        self.serial += 1;
        self.heap.push(Reverse(Entry { due, serial: self.serial, wake }));
    }

    /// When the next one is due.
    pub(super) fn next_due(&self) -> Option<Millis> {
        self.heap.peek().map(|Reverse(entry)| entry.due)
    }

    /// The next one that is due at `now`, and how late it is.
    pub(super) fn pop(&mut self, now: Millis) -> Option<(Wake, Millis)> {
        if self.next_due()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| (entry.wake, now - entry.due))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_fire_in_order_and_not_before_their_time() {
        let mut timers = Timers::default();
        timers.set(Millis(20), Wake::ReportLoad);
        timers.set(Millis(10), Wake::ReportView);
        assert_eq!(timers.pop(Millis(9)), None);
        assert_eq!(timers.pop(Millis(15)), Some((Wake::ReportView, Millis(5))));
        assert_eq!((timers.pop(Millis(15)), timers.next_due()), (None, Some(Millis(20))));
    }
}
