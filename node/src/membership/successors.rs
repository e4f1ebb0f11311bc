//! Whom a member of a large cluster watches and talks to: a few others that its name decides, not everybody.
//!
//! The idea of Rapid (Suresh et al. 2018 §4.1), on the circle of Chord (Stoica et al. 2001): every name has a place on a
//! circle of 2⁶⁴ places, and a node probes the [`Config::successors`](super::Config) living members that follow its own.
//! So each member is watched by as many others as it watches, whoever knows the names can compute by whom, and a node's
//! neighbour table does not grow with the cluster. Talking to successors alone would carry news around the circle member
//! by member; each node therefore also has a few *far* contacts, the owners of points that its name scatters over the
//! circle, which makes the whole a random graph of small diameter.
//!
//! What always holds: everything here is a function of the set of names alone.

use p2pnet_shared::NodeName;

/// Where a name stands on the circle: FNV-1a, stirred.
#[must_use]
pub fn place(name: &NodeName) -> u64 {
    let hash = name
        .as_str()
        .bytes()
        .fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3));
    stir(hash)
}

/// The point of the circle near which the `index`-th far contact of the member at `place` stands.
#[must_use]
pub(super) fn far_point(place: u64, index: usize) -> u64 {
    stir(place.wrapping_add((index as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)))
}

/// The `count` names that follow `of` clockwise on the circle, nearest first; fewer if there are fewer. `of` itself need
/// not be among `names`. Takes O(names) time: it is for drawing and for checking; [`State::successors`](super::State)
/// answers for a running node.
#[must_use]
pub fn successors<'a>(names: impl IntoIterator<Item = &'a NodeName>, of: &NodeName, count: usize) -> Vec<&'a NodeName> {
    let origin = place(of);
    let mut ring: Vec<(u64, &NodeName)> =
        names.into_iter().filter(|name| *name != of).map(|name| (way(origin, place(name)), name)).collect();
    ring.sort_unstable();
    ring.into_iter().take(count).map(|(_, name)| name).collect()
}

/// How far `to` lies clockwise of `from`; the whole circle, less one, if it is right behind it.
pub(super) fn way(from: u64, to: u64) -> u64 {
    to.wrapping_sub(from)
}

/// A bijection of 64 bits that spreads neighbours apart (splitmix64's finisher).
pub(super) fn stir(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_watched_by_as_many_as_it_watches() {
        let names: Vec<NodeName> = (1..=300).map(NodeName::numbered).collect();
        let mut watchers = std::collections::BTreeMap::new();
        for name in &names {
            let watched = successors(&names, name, 10);
            assert_eq!(watched.len(), 10);
            assert!(!watched.contains(&name));
            for member in watched {
                *watchers.entry(member).or_insert(0) += 1;
            }
        }
        assert!(watchers.len() == 300 && watchers.values().all(|count| *count == 10));
    }

    #[test]
    fn few_names_are_all_their_own_successors() {
        let names: Vec<NodeName> = (1..=3).map(NodeName::numbered).collect();
        assert_eq!(successors(&names, &names[0], 10).len(), 2);
        assert!(successors(&[], &names[0], 10).is_empty());
    }
}
