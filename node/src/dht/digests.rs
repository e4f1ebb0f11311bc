//! What is held, in a few bytes an arc: kept up to date with every change, so that two nodes can compare at no cost.
//!
//! A digest is a sum, so a change takes the old hash off and adds the new one, in whatever order changes come. Arcs in
//! which nothing is held take no room. The arcs are those of one ring; another ring, and all is added up anew.
//!
//! What always holds: an arc's digest is that of exactly the keys held in it, whatever led there.

use std::collections::BTreeMap;

use p2pnet_shared::{
    ring::{Place, Ring},
    wire::dht::{HeldDigest, Holding},
};

/// Digests of the arcs of one ring.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Digests {
    arcs: BTreeMap<u32, HeldDigest>,
}

impl Digests {
    /// Of all that is held, in whatever order.
    pub(super) fn of(ring: &Ring, held: impl IntoIterator<Item = Holding>) -> Self {
        let mut digests = Self::default();
        held.into_iter().for_each(|one| digests.change(ring, one.place, None, Some(one.versions)));
        digests
    }

    /// What is held under one key changed, from one hash of its versions to another; `None` is nothing held.
    pub(super) fn change(&mut self, ring: &Ring, place: Place, before: Option<u64>, after: Option<u64>) {
        let arc = u32::try_from(ring.arc(place)).unwrap_or(u32::MAX);
        let digest = self.arcs.entry(arc).or_default();
        if let Some(versions) = before {
            digest.keys = digest.keys.wrapping_sub(1);
            digest.sum = digest.sum.wrapping_sub(mixed(place, versions));
        }
        if let Some(versions) = after {
            add(digest, Holding { place, versions });
        }
        if *digest == HeldDigest::default() {
            self.arcs.remove(&arc);
        }
    }

    /// What is held in an arc.
    pub(super) fn arc(&self, arc: usize) -> HeldDigest {
        u32::try_from(arc).ok().and_then(|arc| self.arcs.get(&arc)).copied().unwrap_or_default()
    }

    /// What is held in all these arcs.
    pub(super) fn sum(&self, arcs: impl IntoIterator<Item = usize>) -> HeldDigest {
        arcs.into_iter().map(|arc| self.arc(arc)).fold(HeldDigest::default(), |sum, next| HeldDigest {
            keys: sum.keys.wrapping_add(next.keys),
            sum: sum.sum.wrapping_add(next.sum),
        })
    }
}

/// The digest of what an iterator gives.
pub(super) fn digest(held: impl IntoIterator<Item = Holding>) -> HeldDigest {
    let mut digest = HeldDigest::default();
    held.into_iter().for_each(|one| add(&mut digest, one));
    digest
}

fn add(digest: &mut HeldDigest, one: Holding) {
    digest.keys = digest.keys.wrapping_add(1);
    digest.sum = digest.sum.wrapping_add(mixed(one.place, one.versions));
}

/// Two numbers into one from which neither can be taken apart (the finalizer of splitmix64, Steele et al. 2014): sums of
/// plain differences would cancel out.
fn mixed(place: Place, versions: u64) -> u64 {
    let mut x = place.0 ^ versions.rotate_left(32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use p2pnet_shared::NodeName;
    use proptest::{collection::vec, option, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn digests_follow_every_change(
            changes in vec((0_u64..20, option::of(any::<u64>())), 0..60), members in 1_u32..6,
        ) {
            let ring = Ring::of(4, (1..=members).map(NodeName::numbered));
            let (mut held, mut digests) = (BTreeMap::new(), Digests::default());
            for (number, after) in changes {
                let place = Place(number.wrapping_mul(u64::MAX / 20));
                let before = match after {
                    Some(after) => held.insert(place, after),
                    None => held.remove(&place),
                };
                digests.change(&ring, place, before, after);
            }
            let all: Vec<Holding> = held.into_iter().map(|(place, versions)| Holding { place, versions }).collect();
            prop_assert_eq!(&digests, &Digests::of(&ring, all.iter().rev().copied()));
            for arc in 0..ring.len() {
                let within = all.iter().filter(|one| ring.arc(one.place) == arc).copied();
                prop_assert_eq!(digests.arc(arc), digest(within));
            }
            prop_assert_eq!(digests.sum(0..ring.len()), digest(all));
        }

        #[test]
        fn another_version_or_place_is_another_digest(place in any::<u64>(), versions in any::<u64>(), bit in 0_u32..64) {
            let one = |place, versions| digest([Holding { place: Place(place), versions }]);
            prop_assert_ne!(one(place, versions), one(place ^ (1 << bit), versions));
            prop_assert_ne!(one(place, versions), one(place, versions ^ (1 << bit)));
            let swapped = [(place, versions ^ 1), (place ^ 1, versions)];
            let straight = [(place, versions), (place ^ 1, versions ^ 1)];
            let of = |all: [(u64, u64); 2]| digest(all.map(|(place, versions)| Holding { place: Place(place), versions }));
            prop_assert_ne!(of(swapped), of(straight), "differences do not cancel out");
        }
    }
}
