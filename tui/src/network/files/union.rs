//! How long it takes until every folder is the union of all: from the last change a user made, or from the moment folders
//! began to differ where nobody saw a change, to the moment the last of them had everything. A node that came after the change
//! began to differ when it came: its way to the union is a time of its own, not the end of the one before.
//!
//! Both ends are stamps of those who were there, so the time is exact however seldom nodes report, and known also to
//! who attaches only afterwards.

use std::collections::VecDeque;

use p2pnet_shared::UnixMillis;

/// Times kept for the percentile; the oldest goes for a new one.
const TIMES_MAX: usize = 4_096;

/// The clock.
#[derive(Debug, Clone, Default)]
pub(super) struct Union {
    /// Since when folders differ.
    started: Option<UnixMillis>,
    /// When they last were the same.
    reached: UnixMillis,
    /// The last change a user made.
    changed_at: Option<UnixMillis>,
    times_ms: VecDeque<u64>,
}

impl Union {
    /// A user changed something.
    pub(super) fn changed(&mut self, at: UnixMillis) {
        self.changed_at = self.changed_at.max(Some(at));
        self.started = self.started.map(|since| since.max(at));
    }

    /// Folders are the same: since `reached` by the nodes' stamps, the youngest of whom has lived since `youngest_since`. Says how
    /// long it took, if that is news; `alone` there is only one, which is the union of all whatever it holds.
    pub(super) fn is_reached(
        &mut self,
        now: UnixMillis,
        reached: Option<UnixMillis>,
        youngest_since: Option<UnixMillis>,
        alone: bool,
    ) -> Option<u64> {
        let began = self.changed_at.map(|at| youngest_since.map_or(at, |since| since.max(at)));
        let from_history = began.filter(|at| self.times_ms.is_empty() && Some(*at) <= reached);
        let started = self.started.take().or(from_history)?;
        // The last that lacked something may have gone instead.
        let otherwise = if alone { started } else { now };
        let reached = reached.filter(|at| *at >= started).unwrap_or(otherwise).min(now);
        self.reached = reached;
        let took = reached.since(started);
        if self.times_ms.len() == TIMES_MAX {
            self.times_ms.pop_front();
        }
        self.times_ms.push_back(took);
        Some(took)
    }

    /// Folders differ, the first of them since `behind_since` by its stamp.
    pub(super) fn is_lost(&mut self, now: UnixMillis, behind_since: Option<UnixMillis>) {
        let reached = self.reached;
        let is_later = |at: &UnixMillis| *at > reached && *at <= now;
        self.started
            .get_or_insert_with(|| self.changed_at.filter(is_later).or(behind_since.filter(is_later)).unwrap_or(now));
    }

    /// Since when folders differ, milliseconds.
    pub(super) fn running_ms(&self, now: UnixMillis) -> Option<u64> {
        self.started.map(|since| now.since(since))
    }

    /// The last time it took.
    pub(super) fn last_ms(&self) -> Option<u64> {
        self.times_ms.back().copied()
    }

    /// Of the times of this session the one that `percent` of them do not exceed (nearest rank).
    pub(super) fn percentile_ms(&self, percent: usize) -> Option<u64> {
        let mut times: Vec<u64> = self.times_ms.iter().copied().collect();
        times.sort_unstable();
        times.get((times.len() * percent).div_ceil(100).max(1) - 1).copied()
    }
}
