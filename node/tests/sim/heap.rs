//! The queue of what happens next: smallest time first, and what was pushed first among equals.
//!
//! The heap holds three numbers an event and the events lie still in slots, so a sift moves 24 bytes and not a datagram.

use std::{cmp::Reverse, collections::BinaryHeap};

/// Events of any kind, by time. Times are microseconds since the run began.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    heap: BinaryHeap<Reverse<(u64, u64, u32)>>,
    slots: Vec<Option<T>>,
    free: Vec<u32>,
    pushed: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), slots: Vec::new(), free: Vec::new(), pushed: 0 }
    }
}

impl<T> Queue<T> {
    pub(crate) fn push(&mut self, at: u64, event: T) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("fewer than four billion events at a time")
        });
        self.slots[slot as usize] = Some(event);
        self.pushed += 1;
        self.heap.push(Reverse((at, self.pushed, slot)));
    }

    /// The next event, if it is due by `end`, with its time.
    pub(crate) fn pop(&mut self, end: u64) -> Option<(u64, T)> {
        let Reverse((at, _, _)) = *self.heap.peek()?;
        if at > end {
            return None;
        }
        let Reverse((at, _, slot)) = self.heap.pop()?;
        self.free.push(slot);
        self.slots[slot as usize].take().map(|event| (at, event))
    }
}
