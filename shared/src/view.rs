//! "Who do you believe alive?" in twelve bytes.
//!
//! A node's view is the set of names it believes alive, itself included. Two nodes agree when their digests are equal,
//! and a node is right when its digest equals that of the names that really run. The dashboard computes the latter
//! itself, from the container engine's list, so no node is ever asked to judge itself.

use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};

use crate::id::NodeName;

/// A set of names as a count and the wrapping sum of a 64-bit hash of each (the first eight bytes of its SHA-1).
///
/// Adding and removing a name costs one hash whatever the size of the set, and order does not matter. It guards against
/// accident, not malice: names are chosen by whoever starts nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct ViewDigest {
    /// How many names.
    pub members: u32,
    /// Wrapping sum of the names' hashes.
    pub hash: u64,
}

impl ViewDigest {
    /// Counts `name` in. The caller knows that it was not in already.
    pub fn add(&mut self, name: &NodeName) {
        self.members = self.members.wrapping_add(1);
        self.hash = self.hash.wrapping_add(name_hash(name));
    }

    /// Takes `name` out. The caller knows that it was in.
    pub fn remove(&mut self, name: &NodeName) {
        self.members = self.members.wrapping_sub(1);
        self.hash = self.hash.wrapping_sub(name_hash(name));
    }
}

impl<'a> FromIterator<&'a NodeName> for ViewDigest {
    fn from_iter<I: IntoIterator<Item = &'a NodeName>>(names: I) -> Self {
        let mut digest = Self::default();
        for name in names {
            digest.add(name);
        }
        digest
    }
}

fn name_hash(name: &NodeName) -> u64 {
    let hash = Sha1::digest(name.as_str().as_bytes());
    hash.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(names: &[u32]) -> ViewDigest {
        names.iter().map(|n| NodeName::numbered(*n)).collect::<Vec<_>>().iter().collect()
    }

    #[test]
    fn the_same_set_has_the_same_digest_in_any_order() {
        assert_eq!(digest(&[1, 2, 3]), digest(&[3, 1, 2]));
        assert_ne!(digest(&[1, 2, 3]), digest(&[1, 2, 4]));
        assert_ne!(digest(&[1, 2]), digest(&[1, 2, 3]));
    }

    #[test]
    fn removing_undoes_adding() {
        let mut changed = digest(&[1, 2, 3]);
        changed.remove(&NodeName::numbered(2));
        assert_eq!(changed, digest(&[1, 3]));
    }
}
