//! Timers that anybody may set and one task sleeps for.
//!
//! ```text
//! who sets a timer ── set ──▶ ┌───────┐ ◀── next_look, pop ── who sleeps until the first is due
//!                             │ Alarm │
//!                             └───────┘ ── the bell, if it is due before the sleeper would wake ──▶
//! ```
//! A timer that is due after the sleeper wakes anyhow does not wake it. Nothing is ever cancelled, see `timers.rs`.

use std::sync::Arc;

use tokio::sync::Notify;

use super::timers::{Timers, Wake};
use crate::time::Millis;

/// Timers, and until when somebody sleeps for them.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    timers: Timers,
    sleeps_until: Option<Millis>,
    bell: Arc<Notify>,
}

impl Alarm {
    /// Rings when a timer was set that is due before the one slept for.
    pub(super) fn bell(&self) -> Arc<Notify> {
        self.bell.clone()
    }

    /// Wakes `wake` at `due`.
    pub(super) fn set(&mut self, due: Millis, wake: Wake) {
        self.timers.set(due, wake);
        if self.sleeps_until.is_none_or(|until| due < until) {
            self.sleeps_until = Some(due);
            self.bell.notify_one();
        }
    }

    /// Until when to sleep: the next timer is due, and not before `earliest`. `None`: until the bell rings.
    pub(super) fn next_look(&mut self, earliest: Millis) -> Option<Millis> {
        self.sleeps_until = self.timers.next_due().map(|due| due.max(earliest));
        self.sleeps_until
    }

    /// The next one that is due by `now`.
    pub(super) fn pop(&mut self, now: Millis) -> Option<Wake> {
        self.timers.pop(now)
    }

    /// The worst lateness of a timer since it was last taken.
    pub(super) fn late_max(&self) -> Millis {
        self.timers.late_max()
    }

    /// The same, and begins anew.
    pub(super) fn take_late_max(&mut self) -> Millis {
        self.timers.take_late_max()
    }
}
