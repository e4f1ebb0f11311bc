//! Which keys each node holds, as the gateway keeps it for those who begin to listen.
//!
//! A place and a hash of versions, 16 bytes and a table's room: 30,000 copies are about a megabyte. A node that holds more
//! than [`HELD_MAX`] keys, or more than there is room for beside the others, is sampled by the gateway: every other key
//! less, told as such, so that numbers made from it are marked as estimates rather than wrong.
//!
//! A newcomer cannot see in which order things happened, so what a node that is away held and others have since replaced or
//! deleted is dropped here, where it can be seen: an end of a link is told, and only those whose link stands move on.

use std::collections::HashMap;

use p2pnet_shared::{
    ring::Place,
    telemetry::{HeldKey, Report},
};

/// Keys remembered of one node at most.
pub(super) const HELD_MAX: usize = 1 << 16;
/// Keys remembered of all nodes together at most: some 64 MB.
pub(super) const HELD_ALL_MAX: usize = 1 << 21;
/// Keys on one line of a history: some 40 KB.
const LINE_KEYS: usize = 1_024;

/// What one node holds.
#[derive(Debug, Default)]
pub(super) struct Held {
    keys: HashMap<u64, u64>,
    /// Only places with so many low zero bits are told by the node.
    told: u8,
    /// Only places with so many low zero bits are kept here.
    kept: u8,
}

/// What a report means for what others hold.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Moved {
    /// Places given up.
    pub(super) given_up: Vec<u64>,
    /// Places where the version was replaced.
    pub(super) replaced: Vec<(u64, u64)>,
}

impl Held {
    /// How many keys are kept.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Takes in what a node says; `room` is how many keys may be kept of it.
    pub(super) fn take(&mut self, anew: bool, sampled: u8, told: &[HeldKey], room: usize) -> Moved {
        if anew {
            *self = Self::default();
        }
        self.told = sampled;
        let mut moved = Moved::default();
        for HeldKey { place, versions } in told {
            if place.0.trailing_zeros() < u32::from(self.kept) {
                continue;
            }
            match versions {
                None => {
                    if self.keys.remove(&place.0).is_some() {
                        moved.given_up.push(place.0);
                    }
                }
                Some(version) => match self.keys.insert(place.0, *version) {
                    Some(before) if before != *version => moved.replaced.push((place.0, before)),
                    _ => {}
                },
            }
            while self.keys.len() > room.min(HELD_MAX) {
                self.thin_out();
            }
        }
        moved
    }

    /// Keeps every other key only.
    fn thin_out(&mut self) {
        self.kept += 1;
        let kept = u32::from(self.kept);
        self.keys.retain(|place, _| place.trailing_zeros() >= kept);
        self.keys.shrink_to_fit();
    }

    /// Whether anything is held at a place.
    pub(super) fn has(&self, place: u64) -> bool {
        self.keys.contains_key(&place)
    }

    /// What was held at a place is of no interest any more.
    pub(super) fn forget(&mut self, place: u64) {
        self.keys.remove(&place);
    }

    /// The same, if it is that version.
    pub(super) fn forget_version(&mut self, place: u64, version: u64) {
        if self.keys.get(&place) == Some(&version) {
            self.keys.remove(&place);
        }
    }

    /// Reports that tell all of it.
    pub(super) fn reports(&self) -> impl Iterator<Item = Report> {
        let sampled = self.told.max(self.kept);
        let mut all: Vec<HeldKey> = self
            .keys
            .iter()
            .filter(|(place, _)| place.trailing_zeros() >= u32::from(sampled))
            .map(|(place, version)| HeldKey { place: Place(*place), versions: Some(*version) })
            .collect();
        all.sort_unstable_by_key(|key| key.place);
        let lines = all.len().div_ceil(LINE_KEYS).max(1);
        (0..lines).map(move |line| {
            let keys = all[line * LINE_KEYS..((line + 1) * LINE_KEYS).min(all.len())].to_vec();
            Report::Held { anew: line == 0, sampled, keys }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(place: u64, version: Option<u64>) -> HeldKey {
        HeldKey { place: Place(place), versions: version }
    }

    fn told(held: &Held) -> (u8, Vec<u64>) {
        let mut places = Vec::new();
        let mut sampling = 0;
        for (at, report) in held.reports().enumerate() {
            let Report::Held { anew, sampled, keys } = report else { panic!("{report:?}") };
            assert_eq!(anew, at == 0, "the first line begins anew, the others go on");
            assert!(keys.len() <= LINE_KEYS);
            (sampling, _) = (sampled, places.extend(keys.iter().map(|key| key.place.0)));
        }
        (sampling, places)
    }

    #[test]
    fn changes_are_folded_and_told_again_in_lines_of_bounded_length() {
        let mut held = Held::default();
        assert_eq!(told(&held), (0, vec![]), "holding nothing is told as well");
        let all: Vec<HeldKey> = (1..=3_000).map(|place| key(place, Some(1))).collect();
        assert_eq!(held.take(true, 0, &all, HELD_MAX), Moved::default());
        let moved = held.take(false, 0, &[key(1, None), key(2, Some(2)), key(3, Some(1)), key(9_999, None)], HELD_MAX);
        assert_eq!(moved, Moved { given_up: vec![1], replaced: vec![(2, 1)] });
        assert_eq!(told(&held), (0, (2..=3_000).collect()));
        held.take(true, 3, &[key(8, Some(1))], HELD_MAX);
        assert_eq!(told(&held), (3, vec![8]), "anew is anew");
    }

    #[test]
    fn what_there_is_no_room_for_is_sampled() {
        let mut held = Held::default();
        let all: Vec<HeldKey> = (1..=1_000).map(|place| key(place, Some(1))).collect();
        held.take(true, 0, &all, 300);
        assert_eq!(told(&held), (2, (1..=250).map(|place| place * 4).collect()));
        held.take(false, 0, &[key(1_001, Some(1)), key(1_004, Some(1))], 300);
        assert_eq!(held.len(), 251, "only what belongs to the sample");
    }
}
