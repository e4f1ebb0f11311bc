//! The ring of the names that are up by the engine's word, and what a node would have to say to agree with it.
//!
//! How many virtual nodes a network has is told by its record, or known from the first node whose ring is the one it
//! ought to be with one of the two numbers networks are started with.

use std::{collections::BTreeMap, sync::Arc};

use p2pnet_shared::{
    NodeName, ViewDigest,
    ring::{Ring, RingDigest, VNODES, VNODES_LARGE},
};

/// Digests of rings that are not that of the truth but no less right, kept at most.
const OTHERS_MAX: usize = 16;

/// The ring of the truth.
#[derive(Debug, Clone)]
pub(super) struct Rings {
    ring: Arc<Ring>,
    shares: Vec<f64>,
    view: ViewDigest,
    digest: RingDigest,
    /// Who came up or went since the ring was made.
    pending: BTreeMap<NodeName, bool>,
    /// Whether the number of virtual nodes is known rather than assumed.
    certain: bool,
    /// What the digest would be with the other number, once somebody wanted to know.
    otherwise: Option<RingDigest>,
    /// Rings of views that hold paused nodes as well.
    others: Vec<(ViewDigest, RingDigest)>,
}

impl Default for Rings {
    fn default() -> Self {
        Self::of(Ring::new(VNODES), false)
    }
}

impl Rings {
    fn of(ring: Ring, certain: bool) -> Self {
        let mut rings = Self {
            ring: Arc::new(ring),
            shares: Vec::new(),
            view: ViewDigest::default(),
            digest: RingDigest::default(),
            pending: BTreeMap::new(),
            certain,
            otherwise: None,
            others: Vec::new(),
        };
        rings.measure();
        rings
    }

    /// A node came up or went.
    pub(super) fn set(&mut self, name: &NodeName, up: bool) {
        self.pending.insert(name.clone(), up);
    }

    /// The number of virtual nodes is known from elsewhere.
    pub(super) fn set_vnodes(&mut self, vnodes: u16) {
        self.certain = true;
        if vnodes != self.ring.vnodes() {
            self.remake(vnodes);
        }
    }

    /// Whether the ring is out of date.
    pub(super) fn is_behind(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Lets those who came up and went since take effect.
    pub(super) fn catch_up(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        let come = pending.iter().filter(|(_, up)| **up).map(|(name, _)| name.clone());
        let go = pending.iter().filter(|(_, up)| !**up).map(|(name, _)| name);
        if Arc::make_mut(&mut self.ring).change(come, go) {
            self.measure();
        }
    }

    /// The ring of those who are up.
    pub(super) fn ring(&self) -> &Arc<Ring> {
        &self.ring
    }

    pub(super) fn digest(&self) -> RingDigest {
        self.digest
    }

    /// The share of the hash space of a node that is up.
    pub(super) fn share(&self, name: &NodeName) -> Option<f64> {
        self.shares.get(self.ring.members().binary_search(name).ok()?).copied()
    }

    /// The largest share beside the mean one; `None` without nodes.
    pub(super) fn max_over_mean(&self) -> Option<f64> {
        let largest = self.shares.iter().copied().reduce(f64::max)?;
        Some(largest * self.shares.len() as f64)
    }

    /// Whether a node that believes `members` alive, which is right, says the ring that follows from that.
    pub(super) fn is_right(
        &mut self,
        view: ViewDigest,
        said: RingDigest,
        members: impl FnOnce() -> Vec<NodeName>,
    ) -> bool {
        if view == self.view {
            return said == self.digest || self.is_otherwise(said);
        }
        if let Some((_, digest)) = self.others.iter().find(|(other, _)| *other == view) {
            return said == *digest;
        }
        let digest = Ring::of(self.ring.vnodes(), members()).digest();
        if self.others.len() == OTHERS_MAX {
            self.others.remove(0);
        }
        self.others.push((view, digest));
        said == digest
    }

    /// Whether it is right with the other number of virtual nodes, which is then known to be the network's.
    fn is_otherwise(&mut self, said: RingDigest) -> bool {
        if self.certain || self.ring.is_empty() {
            return false;
        }
        let other = if self.ring.vnodes() == VNODES { VNODES_LARGE } else { VNODES };
        let digest =
            *self.otherwise.get_or_insert_with(|| Ring::of(other, self.ring.members().iter().cloned()).digest());
        if said == digest {
            self.remake(other);
        }
        said == digest
    }

    fn remake(&mut self, vnodes: u16) {
        let pending = std::mem::take(&mut self.pending);
        *self = Self::of(Ring::of(vnodes, self.ring.members().iter().cloned()), true);
        self.pending = pending;
    }

    fn measure(&mut self) {
        self.shares = self.ring.shares();
        self.view = self.ring.members().iter().collect();
        self.digest = self.ring.digest();
        self.otherwise = None;
        self.others.clear();
    }
}
