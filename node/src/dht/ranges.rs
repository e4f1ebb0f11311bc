//! Sets of places: parts of the hash space that wrap around zero, added, cut and asked about.
//!
//! What always holds: the runs are sorted, with at least one place that is not in the set between any two, so equal sets
//! are equal values.

use p2pnet_shared::ring::{Place, Span};

/// A set of places.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ranges {
    /// First and last place of each run.
    runs: Vec<(u64, u64)>,
}

impl Ranges {
    /// Every place.
    pub(super) fn all() -> Self {
        Self { runs: vec![(0, u64::MAX)] }
    }

    /// The places of all these spans.
    pub(super) fn of(spans: impl IntoIterator<Item = Span>) -> Self {
        let mut runs = Vec::new();
        for span in spans {
            let (first, last) = (span.after.0.wrapping_add(1), span.to.0);
            if first <= last {
                runs.push((first, last));
            } else {
                runs.extend([(first, u64::MAX), (0, last)]);
            }
        }
        Self::tidy(runs)
    }

    fn tidy(mut runs: Vec<(u64, u64)>) -> Self {
        runs.sort_unstable();
        let mut tidy: Vec<(u64, u64)> = Vec::with_capacity(runs.len());
        for (first, last) in runs {
            match tidy.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
                _ => tidy.push((first, last)),
            }
        }
        Self { runs: tidy }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    pub(super) fn contains(&self, place: Place) -> bool {
        let after = self.runs.partition_point(|(first, _)| *first <= place.0);
        after > 0 && place.0 <= self.runs[after - 1].1
    }

    /// Whether every place of the span is in it.
    pub(super) fn covers(&self, span: Span) -> bool {
        let holds = |first: u64, last: u64| {
            let after = self.runs.partition_point(|(start, _)| *start <= first);
            after > 0 && last <= self.runs[after - 1].1
        };
        let (first, last) = (span.after.0.wrapping_add(1), span.to.0);
        if first <= last { holds(first, last) } else { holds(first, u64::MAX) && holds(0, last) }
    }

    /// What is in either.
    pub(super) fn union(&self, other: &Self) -> Self {
        Self::tidy(self.runs.iter().chain(&other.runs).copied().collect())
    }

    /// What is in both.
    pub(super) fn intersection(&self, other: &Self) -> Self {
        let (mut ours, mut theirs) = (self.runs.iter().peekable(), other.runs.iter().peekable());
        let mut runs = Vec::new();
        while let (Some(a), Some(b)) = (ours.peek(), theirs.peek()) {
            let (first, last) = (a.0.max(b.0), a.1.min(b.1));
            if first <= last {
                runs.push((first, last));
            }
            if a.1 <= b.1 {
                ours.next();
            } else {
                theirs.next();
            }
        }
        Self { runs }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// Few places, at both ends of the space, so that spans touch, wrap and meet.
    fn place() -> impl Strategy<Value = Place> {
        prop_oneof![0_u64..12, (u64::MAX - 11)..=u64::MAX].prop_map(Place)
    }

    fn spans() -> impl Strategy<Value = Vec<Span>> {
        vec((place(), place()).prop_map(|(after, to)| Span { after, to }), 0..5)
    }

    fn places() -> impl Iterator<Item = Place> {
        (0..13).chain((u64::MAX - 12)..=u64::MAX).map(Place)
    }

    proptest! {
        #[test]
        fn sets_of_places_are_sets(a in spans(), b in spans()) {
            let (first, second) = (Ranges::of(a.clone()), Ranges::of(b.clone()));
            let (both, either) = (first.intersection(&second), first.union(&second));
            let within = |spans: &[Span], place| spans.iter().any(|span| span.contains(place));
            for place in places() {
                prop_assert_eq!(first.contains(place), within(&a, place));
                prop_assert_eq!(both.contains(place), within(&a, place) && within(&b, place));
                prop_assert_eq!(either.contains(place), within(&a, place) || within(&b, place));
            }
            prop_assert_eq!(&either, &second.union(&first));
            prop_assert_eq!(&both, &second.intersection(&first));
            prop_assert_eq!(&Ranges::of([a.clone(), b.clone()].concat()), &either, "equal sets are equal values");
            prop_assert_eq!(first.intersection(&Ranges::all()), first.clone());
            prop_assert_eq!(first.is_empty(), a.is_empty());
            for span in b {
                let whole = Ranges::of([span]);
                prop_assert_eq!(first.covers(span), first.intersection(&whole) == whole);
            }
        }
    }
}
