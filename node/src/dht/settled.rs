//! For which parts of the hash space this node has every acknowledged write, for all it knows.
//!
//! A node that comes new to a part of the ring, starts again, or slept, may lack writes that others acknowledged in the
//! meantime; what it answers is true, but it may be old. It is *settled* in a part again once it has all that
//!
//! * two settled holders have, of the others on the part's list of `n` and one: any two copies of a write that was
//!   acknowledged by two of three meet at least one of them; or
//! * every one of those that can be reached has, if there are not two settled ones: after a start of the whole network.
//!
//! What always holds: a part that is settled was compared since the last doubt; what this node does not replicate is never
//! settled.

use std::collections::BTreeMap;

use p2pnet_shared::{
    NodeName,
    ring::{Place, Span},
};

use super::ranges::Ranges;

/// Settled holders that are enough.
const ENOUGH: usize = 2;

/// What is settled, and who was compared with for what is not.
#[derive(Debug, Default)]
pub(super) struct Settled {
    ranges: Ranges,
    compared: BTreeMap<NodeName, Compared>,
}

/// Of which parts we have all that another node had, and in which of them it was settled.
#[derive(Debug, Default)]
struct Compared {
    any: Ranges,
    settled: Ranges,
}

impl Settled {
    pub(super) fn contains(&self, place: Place) -> bool {
        self.ranges.contains(place)
    }

    pub(super) fn covers(&self, span: Span) -> bool {
        self.ranges.covers(span)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty() && self.compared.is_empty()
    }

    /// Nothing is certain any more.
    pub(super) fn doubt(&mut self) {
        *self = Self::default();
    }

    /// The ring changed: what this node does not replicate is not settled, and those who went answer for nothing.
    pub(super) fn keep(&mut self, mine: &Ranges, is_member: impl Fn(&NodeName) -> bool) {
        self.ranges = self.ranges.intersection(mine);
        self.compared.retain(|name, compared| {
            compared.any = compared.any.intersection(mine);
            compared.settled = compared.settled.intersection(mine);
            is_member(name) && !compared.any.is_empty()
        });
    }

    /// We have all that another node had in these parts; whether it was settled there.
    pub(super) fn compared(&mut self, with: &NodeName, parts: impl IntoIterator<Item = (Span, bool)>) {
        let (mut any, mut settled) = (Vec::new(), Vec::new());
        for (span, is_settled) in parts {
            if is_settled {
                settled.push(span);
            }
            any.push(span);
        }
        let compared = self.compared.entry(with.clone()).or_default();
        compared.any = compared.any.union(&Ranges::of(any));
        compared.settled = compared.settled.union(&Ranges::of(settled));
    }

    /// Who of the others on a part's list is still to be compared with; nobody once it is settled. `others`: who, and
    /// whether it can be reached.
    pub(super) fn judge<'a>(&mut self, span: Span, others: &[(&'a NodeName, bool)]) -> Vec<&'a NodeName> {
        if self.covers(span) {
            return Vec::new();
        }
        let covers = |name: &NodeName, of: fn(&Compared) -> &Ranges| {
            self.compared.get(name).is_some_and(|compared| of(compared).covers(span))
        };
        let done = others.iter().filter(|(name, _)| covers(name, |compared| &compared.any)).count();
        let settled = others.iter().filter(|(name, _)| covers(name, |compared| &compared.settled)).count();
        let open = others.iter().filter(|(name, reachable)| *reachable && !covers(name, |compared| &compared.any));
        let open: Vec<&NodeName> = open.map(|(name, _)| *name).collect();
        if settled >= ENOUGH || (done > 0 && open.is_empty()) {
            self.ranges = self.ranges.union(&Ranges::of([span]));
            return Vec::new();
        }
        open
    }

    /// Every part was judged and is settled: the comparisons are history.
    pub(super) fn finish(&mut self) {
        self.compared.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(after: u64, to: u64) -> Span {
        Span { after: Place(after), to: Place(to) }
    }

    #[test]
    fn two_settled_holders_are_enough_and_one_is_not() {
        let names: Vec<NodeName> = (1..=3).map(NodeName::numbered).collect();
        let others: Vec<(&NodeName, bool)> = names.iter().map(|name| (name, true)).collect();
        let mut settled = Settled::default();
        assert_eq!(settled.judge(span(10, 20), &others).len(), 3);
        settled.compared(&names[0], [(span(0, 50), true)]);
        settled.compared(&names[1], [(span(0, 50), false)]);
        assert_eq!(settled.judge(span(10, 20), &others), [&names[2]], "one settled, one not");
        settled.compared(&names[1], [(span(0, 50), true)]);
        assert!(settled.judge(span(10, 20), &others).is_empty());
        assert!(settled.contains(Place(20)) && !settled.contains(Place(10)) && !settled.contains(Place(21)));
    }

    #[test]
    fn without_two_settled_holders_everyone_who_can_be_reached_is_needed() {
        let names: Vec<NodeName> = (1..=3).map(NodeName::numbered).collect();
        let mut others: Vec<(&NodeName, bool)> = names.iter().map(|name| (name, true)).collect();
        let mut settled = Settled::default();
        settled.compared(&names[0], [(span(0, 50), false)]);
        settled.compared(&names[1], [(span(0, 15), false)]);
        others[2].1 = false;
        assert_eq!(settled.judge(span(10, 20), &others), [&names[1]], "compared in a part of it only");
        settled.compared(&names[1], [(span(15, 30), false)]);
        assert!(settled.judge(span(10, 20), &others).is_empty() && settled.covers(span(10, 20)));
        others.iter_mut().for_each(|other| other.1 = false);
        assert!(!settled.judge(span(60, 70), &others).iter().any(|_| true) && !settled.covers(span(60, 70)));
    }

    #[test]
    fn what_is_not_replicated_any_more_is_not_settled_when_it_comes_back() {
        let names: Vec<NodeName> = (1..=1).map(NodeName::numbered).collect();
        let others = [(&names[0], true)];
        let mut settled = Settled::default();
        settled.compared(&names[0], [(span(0, 100), false)]);
        settled.judge(span(0, 50), &others);
        settled.judge(span(50, 100), &others);
        settled.keep(&Ranges::of([span(50, 100)]), |_| true);
        settled.keep(&Ranges::of([span(0, 100)]), |_| true);
        assert!(!settled.covers(span(0, 50)) && settled.covers(span(50, 100)));
        assert_eq!(settled.judge(span(0, 50), &others), [&names[0]], "and has to be compared anew");
        settled.doubt();
        assert!(settled.is_empty());
    }
}
