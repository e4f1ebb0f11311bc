//! A single source gives everything once before it gives anything twice.
//!
//! Those who ask see only their own neighbours' sets, so to each of a source's neighbours the same chunks look rarest. The source knows
//! better what it has given out, and suggests: to each of them other chunks, a few at a time (*BEP 6* "Suggest Piece"; *BEP 16*
//! super-seeding without its pretence). Once everything has been given out once it suggests nothing more.

use std::collections::{BTreeMap, BTreeSet};

use p2pnet_shared::{NodeName, wire::folder::Root};
use rand::rngs::Xoshiro256PlusPlus;

use super::{bits::Bits, pick::Rarity};

/// Files for which suggestions are made at most; of more, the one begun first is forgotten.
const FILES_MAX: usize = 64;
/// Suggestions a peer has not asked for yet, at most.
const AHEAD_MAX: u32 = 8;

/// What has been given out of one file.
#[derive(Debug)]
struct Given {
    begun: u64,
    /// Neither given out nor suggested.
    left: Bits,
    rarity: Rarity,
    suggested: BTreeMap<NodeName, BTreeSet<u32>>,
}

/// What has been given out.
#[derive(Debug, Default)]
pub(super) struct Ration {
    files: BTreeMap<Root, Given>,
    last: u64,
}

impl Ration {
    /// What to suggest to a peer that begins with a file we have all of.
    pub(super) fn begin(&mut self, root: Root, chunks: u32, peer: &NodeName, rng: &mut Xoshiro256PlusPlus) -> Vec<u32> {
        self.last += 1;
        if self.files.len() >= FILES_MAX && !self.files.contains_key(&root) {
            let oldest = self.files.iter().min_by_key(|(_, given)| given.begun).map(|(root, _)| *root);
            oldest.map(|oldest| self.files.remove(&oldest));
        }
        let fresh = || Given {
            begun: self.last,
            left: Bits::all(chunks),
            rarity: Rarity::new(chunks),
            suggested: BTreeMap::new(),
        };
        self.files.entry(root).or_insert_with(fresh).suggest(peer, chunks, rng)
    }

    /// A peer asked for a chunk: what to suggest next.
    pub(super) fn asked(
        &mut self,
        root: &Root,
        chunk: u32,
        chunks: u32,
        peer: &NodeName,
        rng: &mut Xoshiro256PlusPlus,
    ) -> Vec<u32> {
        let Some(given) = self.files.get_mut(root) else { return Vec::new() };
        given.left.remove(chunk);
        if given.suggested.get_mut(peer).is_some_and(|suggested| suggested.remove(&chunk)) {
            return given.suggest(peer, chunks, rng);
        }
        Vec::new()
    }

    /// A peer is done with a file: what was suggested to it and not asked for is for others.
    pub(super) fn end(&mut self, root: &Root, peer: &NodeName) {
        if let Some(given) = self.files.get_mut(root) {
            given.take_back(peer);
        }
    }

    /// A peer is gone.
    pub(super) fn unreachable(&mut self, peer: &NodeName) {
        self.files.values_mut().for_each(|given| given.take_back(peer));
    }
}

impl Given {
    fn suggest(&mut self, peer: &NodeName, chunks: u32, rng: &mut Xoshiro256PlusPlus) -> Vec<u32> {
        let ahead = (chunks / 16).clamp(1, AHEAD_MAX) as usize;
        let suggested = self.suggested.entry(peer.clone()).or_default();
        let mut fresh = Vec::new();
        // A few at a time: not one message for each.
        if suggested.len() <= ahead / 2 {
            while suggested.len() < ahead
                && let Some(chunk) = self.rarity.pick(&self.left, None, rng)
            {
                self.left.remove(chunk);
                suggested.insert(chunk);
                fresh.push(chunk);
            }
        }
        fresh
    }

    fn take_back(&mut self, peer: &NodeName) {
        for chunk in self.suggested.remove(peer).unwrap_or_default() {
            self.left.insert(chunk);
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn everything_is_suggested_once_and_what_a_lost_peer_was_offered_is_for_others() {
        let (root, mut rng) = (Root([7; 32]), Xoshiro256PlusPlus::seed_from_u64(3));
        let peers: Vec<NodeName> = (0..4).map(NodeName::numbered).collect();
        let mut ration = Ration::default();
        let mut open: Vec<Vec<u32>> = peers.iter().map(|peer| ration.begin(root, 200, peer, &mut rng)).collect();
        let mut given = BTreeSet::new();
        let lost = open.pop().unwrap();
        assert_eq!(lost.len(), AHEAD_MAX as usize);
        ration.unreachable(&peers[3]);
        for turn in 0..600 {
            if let Some(chunk) = open[turn % 3].pop() {
                assert!(given.insert(chunk), "{chunk} was suggested twice");
                open[turn % 3].extend(ration.asked(&root, chunk, 200, &peers[turn % 3], &mut rng));
            }
        }
        assert_eq!(given.len(), 200);
        assert!(ration.begin(root, 200, &peers[3], &mut rng).is_empty());
    }

    #[test]
    fn files_are_forgotten_when_there_are_too_many() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(3);
        let mut ration = Ration::default();
        for number in 0..=255 {
            assert!(!ration.begin(Root([number; 32]), 17, &NodeName::numbered(1), &mut rng).is_empty());
        }
        assert_eq!(ration.files.len(), FILES_MAX);
    }
}
