//! How many nodes agreed over the last two minutes, and how long agreement took in this session.

use std::collections::VecDeque;

use p2pnet_shared::UnixMillis;

/// How far back the curve goes, milliseconds. Default two minutes: a kill and its healing several times over.
pub const WINDOW_MS: u64 = 120_000;
/// Most samples held: ten a second over the window. When full the oldest goes.
const SAMPLES_MAX: usize = 1_300;
/// Most marks held. When full the oldest goes.
const MARKS_MAX: usize = 512;
/// Most times to converge held for the percentiles. When full the oldest goes.
const TIMES_MAX: usize = 4_096;

/// What happened to the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkKind {
    /// Nodes died, left or froze.
    Down,
    /// Nodes came up.
    Up,
}

/// Something that happened to the truth; neighbours in time are one mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// When the first of them happened.
    pub at: UnixMillis,
    /// What.
    pub kind: MarkKind,
    /// To how many nodes.
    pub count: u32,
}

/// The curve and its marks.
#[derive(Debug, Clone, Default)]
pub struct Agreement {
    samples: VecDeque<(UnixMillis, Option<f32>)>,
    marks: VecDeque<Mark>,
    times_ms: VecDeque<u64>,
}

impl Agreement {
    /// Share of nodes that agree at `at`, percent; `None` while nothing is known. The same value as before costs nothing.
    pub fn sample(&mut self, at: UnixMillis, percent: Option<f32>) {
        if self.samples.back().is_some_and(|(_, last)| *last == percent) {
            return;
        }
        if self.samples.len() == SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back((at, percent));
        while self.samples.get(1).is_some_and(|(next, _)| at.since(*next) > WINDOW_MS) {
            self.samples.pop_front();
        }
    }

    /// One node's truth changed. Within half a second of the last mark of its kind it is counted there.
    pub fn mark(&mut self, at: UnixMillis, kind: MarkKind) {
        if let Some(last) = self.marks.back_mut()
            && last.kind == kind
            && at.since(last.at) < 500
        {
            last.count += 1;
            return;
        }
        if self.marks.len() == MARKS_MAX {
            self.marks.pop_front();
        }
        self.marks.push_back(Mark { at, kind, count: 1 });
    }

    /// Agreement was reached again after `ms`.
    pub fn converged_in(&mut self, ms: u64) {
        if self.times_ms.len() == TIMES_MAX {
            self.times_ms.pop_front();
        }
        self.times_ms.push_back(ms);
    }

    /// The value that held at `at`.
    #[must_use]
    pub fn value(&self, at: UnixMillis) -> Option<f32> {
        let next = self.samples.partition_point(|(since, _)| *since <= at);
        self.samples.get(next.checked_sub(1)?)?.1
    }

    /// The lowest value between two moments: a dip shorter than a column is still seen.
    #[must_use]
    pub fn lowest(&self, from: UnixMillis, to: UnixMillis) -> Option<f32> {
        let inside = self.samples.iter().filter(|(at, _)| *at > from && *at <= to).filter_map(|(_, value)| *value);
        inside.chain(self.value(from)).reduce(f32::min)
    }

    /// Marks since `from`, oldest first.
    pub fn marks(&self, from: UnixMillis) -> impl Iterator<Item = &Mark> {
        self.marks.iter().filter(move |mark| mark.at >= from)
    }

    /// The last time agreement took.
    #[must_use]
    pub fn last_ms(&self) -> Option<u64> {
        self.times_ms.back().copied()
    }

    /// Of this session's times to converge the one that `percent` of them do not exceed (nearest rank).
    #[must_use]
    pub fn percentile_ms(&self, percent: u32) -> Option<u64> {
        let mut times: Vec<u64> = self.times_ms.iter().copied().collect();
        times.sort_unstable();
        let rank = (times.len() * percent as usize).div_ceil(100).max(1);
        times.get(rank - 1).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curve_keeps_a_dip_between_two_columns() {
        let mut curve = Agreement::default();
        curve.sample(UnixMillis(1_000), Some(100.0));
        curve.sample(UnixMillis(5_100), Some(0.0));
        curve.sample(UnixMillis(5_200), Some(100.0));
        assert_eq!(curve.value(UnixMillis(500)), None);
        assert_eq!(curve.value(UnixMillis(5_000)), Some(100.0));
        assert_eq!(curve.lowest(UnixMillis(5_000), UnixMillis(6_000)), Some(0.0));
        assert_eq!(curve.lowest(UnixMillis(5_200), UnixMillis(6_000)), Some(100.0));
    }

    #[test]
    fn deaths_at_the_same_moment_are_one_mark() {
        let mut curve = Agreement::default();
        curve.mark(UnixMillis(1_000), MarkKind::Down);
        curve.mark(UnixMillis(1_300), MarkKind::Down);
        curve.mark(UnixMillis(1_400), MarkKind::Up);
        curve.mark(UnixMillis(3_000), MarkKind::Down);
        let marks: Vec<_> = curve.marks(UnixMillis(0)).map(|mark| (mark.kind, mark.count)).collect();
        assert_eq!(marks, [(MarkKind::Down, 2), (MarkKind::Up, 1), (MarkKind::Down, 1)]);
    }

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let mut curve = Agreement::default();
        assert_eq!(curve.percentile_ms(50), None);
        for ms in [900, 100, 500] {
            curve.converged_in(ms);
        }
        assert_eq!((curve.percentile_ms(50), curve.percentile_ms(99)), (Some(500), Some(900)));
    }
}
