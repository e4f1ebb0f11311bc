//! The ring: which nodes hold a key. A pure value; the same members give the same bytes everywhere.
//!
//! Sources: *Consistent Hashing and Random Trees* (Karger et al. 1997); *Dynamo* §4.2 and §4.3 (DeCandia 2007); SHA-1 as in
//! RFC 3174. Every member stands at `vnodes` places of the hash space, its *tokens*: SHA-1 of `node7#0`, `node7#1` …; a key
//! stands at SHA-1 of its UTF-8 bytes. The member whose token is the first at or after the key's place, clockwise, is its
//! *owner*; the first `n` distinct members from there are its *preference list*.
//!
//! ```text
//!          node3#17      key           node9#2       node3#40       node1#5
//!  ───────────┼───────────●───────────────┼──────────────┼─────────────┼──────▶  2^64, then round again
//!             └──────── node9 owns ───────┘              preference list: node9, node3, node1
//! ```
//! Places are the first 64 bits of the hash, big endian: two of a million places fall together once in 10^7 networks, and
//! then the smaller name stands first.
//!
//! What always holds: tokens are sorted; every member has exactly `vnodes` of them; a member that comes takes only from its
//! clockwise neighbours, one that goes gives only to them.

mod moves;

use std::fmt;

use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};

pub use self::moves::{Move, Span};
use crate::id::NodeName;

/// Virtual nodes of each member of a network that starts with fewer than [`LARGE`] nodes.
pub const VNODES: u16 = 64;
/// Virtual nodes of each member of a larger one: balance costs memory in every node.
pub const VNODES_LARGE: u16 = 32;
/// From how many nodes on a network is started with [`VNODES_LARGE`].
pub const LARGE: usize = 500;

/// A place on the ring: the first 64 bits of a SHA-1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Place(pub u64);

impl Place {
    /// Where a key stands.
    #[must_use]
    pub fn of(key: &str) -> Self {
        Self::of_hash(&hash(key))
    }

    fn of_hash(hash: &[u8; 20]) -> Self {
        let (first, _) = hash.split_first_chunk::<8>().expect("20 bytes have a first 8");
        Self(u64::from_be_bytes(*first))
    }
}

/// SHA-1 of a key or of a token's name.
#[must_use]
pub fn hash(text: &str) -> [u8; 20] {
    Sha1::digest(text.as_bytes()).into()
}

/// A SHA-1 as people write it: 40 hexadecimal digits.
#[must_use]
pub fn hex(hash: &[u8; 20]) -> String {
    use fmt::Write;
    hash.iter().fold(String::with_capacity(40), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The name whose SHA-1 is a member's token number `number`.
#[must_use]
pub fn token_name(member: &NodeName, number: u16) -> String {
    format!("{member}#{number}")
}

/// A ring in eight bytes: equal for equal members and virtual nodes, different (but for chance) for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RingDigest(pub u64);

impl fmt::Display for RingDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Who stands where. Ten bytes a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ring {
    vnodes: u16,
    /// Sorted.
    names: Vec<NodeName>,
    /// Sorted by place, then by name.
    places: Vec<u64>,
    /// Whose token is at the same index of `places`: an index into `names`.
    holders: Vec<u16>,
}

impl Ring {
    /// A ring without members. `vnodes` of 0 counts as 1.
    #[must_use]
    pub fn new(vnodes: u16) -> Self {
        Self { vnodes: vnodes.max(1), names: Vec::new(), places: Vec::new(), holders: Vec::new() }
    }

    /// The ring of these members.
    #[must_use]
    pub fn of(vnodes: u16, members: impl IntoIterator<Item = NodeName>) -> Self {
        let mut ring = Self::new(vnodes);
        ring.change(members, []);
        ring
    }

    /// Lets members come and go; says whether anything changed. Costs one pass over the ring, however many they are.
    /// At most 65,535 members have a place; those beyond, by name, have none.
    pub fn change<'a>(
        &mut self,
        come: impl IntoIterator<Item = NodeName>,
        go: impl IntoIterator<Item = &'a NodeName>,
    ) -> bool {
        let gone: Vec<usize> = go.into_iter().filter_map(|name| self.names.binary_search(name).ok()).collect();
        let mut new: Vec<NodeName> = come.into_iter().filter(|name| self.names.binary_search(name).is_err()).collect();
        new.sort_unstable();
        new.dedup();
        new.truncate(usize::from(u16::MAX) - (self.names.len() - gone.len()).min(usize::from(u16::MAX)));
        if gone.is_empty() && new.is_empty() {
            return false;
        }
        let kept = |index: &usize| !gone.contains(index);
        let mut names: Vec<NodeName> = (0..self.names.len())
            .filter(kept)
            .map(|index| self.names[index].clone())
            .chain(new.iter().cloned())
            .collect();
        names.sort_unstable();
        let index_of =
            |name: &NodeName| u16::try_from(names.binary_search(name).expect("it is there")).expect("cut above");
        let moved: Vec<Option<u16>> =
            (0..self.names.len()).map(|index| kept(&index).then(|| index_of(&self.names[index]))).collect();
        let old = self.places.iter().zip(&self.holders);
        let old = old.filter_map(|(place, holder)| Some((*place, moved[usize::from(*holder)]?)));
        let mut fresh: Vec<(u64, u16)> = Vec::with_capacity(new.len() * usize::from(self.vnodes));
        for name in &new {
            let index = index_of(name);
            fresh.extend((0..self.vnodes).map(|number| (Place::of(&token_name(name, number)).0, index)));
        }
        fresh.sort_unstable();
        let (mut places, mut holders) = (Vec::new(), Vec::new());
        places.reserve_exact(names.len() * usize::from(self.vnodes));
        holders.reserve_exact(names.len() * usize::from(self.vnodes));
        let mut put = |(place, holder)| {
            places.push(place);
            holders.push(holder);
        };
        let mut fresh = fresh.into_iter().peekable();
        for token in old {
            while let Some(earlier) = fresh.next_if(|next| *next < token) {
                put(earlier);
            }
            put(token);
        }
        fresh.for_each(put);
        (self.names, self.places, self.holders) = (names, places, holders);
        true
    }

    /// Virtual nodes of each member.
    #[must_use]
    pub fn vnodes(&self) -> u16 {
        self.vnodes
    }

    /// The members, sorted by name.
    #[must_use]
    pub fn members(&self) -> &[NodeName] {
        &self.names
    }

    /// How many tokens there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are no members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The tokens, clockwise from 0: place, and the index of the member in [`Ring::members`].
    pub fn tokens(&self) -> impl ExactSizeIterator<Item = (Place, usize)> {
        self.places.iter().zip(&self.holders).map(|(place, holder)| (Place(*place), usize::from(*holder)))
    }

    /// The number of the arc a place lies in: the index of the first token at or after it, clockwise. 0 without members.
    #[must_use]
    pub fn arc(&self, place: Place) -> usize {
        let arc = self.places.partition_point(|token| *token < place.0);
        if arc == self.places.len() { 0 } else { arc }
    }

    /// Every member once, in the order of their first tokens from the arc clockwise: the preference list without an end.
    pub fn walk(&self, arc: usize) -> impl Iterator<Item = &NodeName> {
        self.walk_indices(arc).map(|index| &self.names[index])
    }

    /// [`Ring::walk`], as indices into [`Ring::members`].
    pub fn walk_indices(&self, arc: usize) -> impl Iterator<Item = usize> {
        // Lists are short: the members met so far are looked through rather than hashed.
        let mut met: Vec<u16> = Vec::with_capacity(8);
        let (before, after) = self.holders.split_at(arc.min(self.holders.len()));
        let mut holders = after.iter().chain(before);
        std::iter::from_fn(move || {
            if met.len() == self.names.len() {
                return None;
            }
            let next = *holders.find(|holder| !met.contains(holder))?;
            met.push(next);
            Some(usize::from(next))
        })
    }

    /// The first `n` distinct members clockwise from a place; fewer if there are fewer.
    #[must_use]
    pub fn preference(&self, place: Place, n: usize) -> Vec<NodeName> {
        self.walk(self.arc(place)).take(n).cloned().collect()
    }

    /// Who owns a place. `None` without members.
    #[must_use]
    pub fn owner(&self, place: Place) -> Option<&NodeName> {
        self.walk(self.arc(place)).next()
    }

    /// Each member's share of the hash space, in the order of [`Ring::members`]; they add up to 1.
    #[must_use]
    pub fn shares(&self) -> Vec<f64> {
        let mut shares = vec![0.0; self.names.len()];
        let Some(last) = self.places.last() else { return shares };
        let mut before = *last;
        for (place, holder) in self.places.iter().zip(&self.holders) {
            let width = place.wrapping_sub(before);
            // A lone token owns everything, not nothing.
            let width = if width == 0 && self.places.len() == 1 { 2_f64.powi(64) } else { width as f64 };
            shares[usize::from(*holder)] += width / 2_f64.powi(64);
            before = *place;
        }
        shares
    }

    /// The ring in eight bytes: SHA-1 over the names and every token.
    #[must_use]
    pub fn digest(&self) -> RingDigest {
        let mut sha1 = Sha1::new();
        sha1.update(self.vnodes.to_be_bytes());
        for name in &self.names {
            sha1.update(name.as_str().as_bytes());
            sha1.update(b"\n");
        }
        for (place, holder) in self.places.iter().zip(&self.holders) {
            sha1.update(place.to_be_bytes());
            sha1.update(holder.to_be_bytes());
        }
        RingDigest(Place::of_hash(&sha1.finalize().into()).0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(count: u32) -> impl Iterator<Item = NodeName> {
        (1..=count).map(NodeName::numbered)
    }

    #[test]
    fn sha1_as_in_rfc_3174() {
        assert_eq!(hex(&hash("abc")), "a9993e364706816aba3e25717850c26c9cd0d89d");
        let second = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
        assert_eq!(hex(&hash(second)), "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
        assert_eq!(hex(&hash("")), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    }

    #[test]
    fn the_order_of_changes_leaves_no_trace() {
        let at_once = Ring::of(64, nodes(20));
        let mut step_by_step = Ring::new(64);
        for name in nodes(30).collect::<Vec<_>>().into_iter().rev() {
            step_by_step.change([name], []);
        }
        let gone: Vec<NodeName> = (21..=30).map(NodeName::numbered).collect();
        step_by_step.change([], &gone);
        assert_eq!(at_once, step_by_step);
        assert_eq!(at_once.digest(), step_by_step.digest());
        assert_ne!(at_once.digest(), Ring::of(64, nodes(21)).digest());
        assert_ne!(at_once.digest(), Ring::of(32, nodes(20)).digest());
    }

    #[test]
    fn the_owner_is_the_first_token_clockwise_and_the_list_goes_on_from_there() {
        let ring = Ring::of(8, nodes(5));
        for key in ["a", "apple", "ключ", ""] {
            let place = Place::of(key);
            let first = ring.tokens().find(|(token, _)| *token >= place).or_else(|| ring.tokens().next());
            let (_, holder) = first.unwrap();
            let list = ring.preference(place, 9);
            assert_eq!(list[0], ring.members()[holder], "{key}");
            assert_eq!(list.len(), 5, "each member once");
        }
    }

    #[test]
    fn shares_add_up_to_one() {
        for ring in [Ring::of(1, nodes(1)), Ring::of(64, nodes(1)), Ring::of(64, nodes(100))] {
            assert!((ring.shares().iter().sum::<f64>() - 1.0).abs() < 1e-9);
        }
    }

    #[test]
    fn an_empty_ring_has_no_owner() {
        let ring = Ring::new(64);
        assert!(ring.owner(Place::of("a")).is_none() && ring.preference(Place::of("a"), 3).is_empty());
    }
}
