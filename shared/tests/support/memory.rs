//! Memory, counted by the allocator itself: what one call holds at most while it runs.
//!
//! Counts are kept by thread, so tests that run at once do not count one another's. A runtime that is to be counted
//! whole runs in one thread.
#![allow(unsafe_code, reason = "an allocator cannot be written without it; it hands everything on to the system's")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

fn note(change: isize) {
    // A thread that is ending has no counters any more, and nothing to measure.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + change);
        let _ = MOST.try_with(|most| most.set(most.get().max(held.get())));
    });
}

fn size(bytes: usize) -> isize {
    isize::try_from(bytes).unwrap_or(isize::MAX)
}

// Sound because every call is handed on to the system's allocator as it came; counting itself allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(size(layout.size()));
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        note(-size(layout.size()));
        unsafe { System.dealloc(at, layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // While it is copied both are there.
        note(size(new_size));
        note(-size(layout.size()));
        unsafe { System.realloc(at, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `call` returns, and the most bytes this thread held during it beyond those it held before.
pub fn peak<T>(call: impl FnOnce() -> T) -> (T, usize) {
    let mark = Mark::set();
    let result = call();
    (result, mark.peak())
}

/// A moment from which on memory is counted.
#[derive(Debug, Clone, Copy)]
pub struct Mark(isize);

impl Mark {
    /// Now.
    pub fn set() -> Self {
        let held = HELD.with(Cell::get);
        MOST.with(|most| most.set(held));
        Self(held)
    }

    /// The most bytes held beyond those held at the mark, since the last mark was set.
    pub fn peak(self) -> usize {
        usize::try_from(MOST.with(Cell::get) - self.0).unwrap_or(0)
    }

    /// What is held now beyond what was held at the mark.
    pub fn kept(self) -> usize {
        usize::try_from(HELD.with(Cell::get) - self.0).unwrap_or(0)
    }
}
