//! Outlines of files that are here, for those who ask: computed once, kept while there is room.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use p2pnet_shared::{NodeName, wire::folder::Root};

use crate::folder::chunks::Value;

/// Chaining values kept: 512 KiB of them, unless a single file has more.
const KEPT_MAX: usize = 16 * 1024;
/// Files that are being hashed for it at once at most.
const COMPUTED_MAX: usize = 4;
/// Peers that wait for one.
const WAITING_MAX: usize = 64;

/// Outlines, those used last at the end.
#[derive(Debug, Default)]
pub(super) struct Outlines {
    kept: VecDeque<(Root, Arc<[Value]>)>,
    /// Who waits for one that is being computed.
    waiting: BTreeMap<Root, Vec<NodeName>>,
}

impl Outlines {
    /// One that is kept.
    pub(super) fn get(&mut self, root: &Root) -> Option<&Arc<[Value]>> {
        let at = self.kept.iter().position(|(kept, _)| kept == root)?;
        let one = self.kept.remove(at)?;
        self.kept.push_back(one);
        self.kept.back().map(|(_, values)| values)
    }

    /// Keeps one, and forgets those that were not asked for the longest.
    pub(super) fn keep(&mut self, root: Root, values: Arc<[Value]>) {
        self.kept.retain(|(kept, _)| *kept != root);
        self.kept.push_back((root, values));
        while self.kept.len() > 1 && self.kept.iter().map(|(_, values)| values.len()).sum::<usize>() > KEPT_MAX {
            self.kept.pop_front();
        }
    }

    /// A peer waits for one. Whether it is to be computed now.
    pub(super) fn wait(&mut self, root: &Root, peer: &NodeName) -> bool {
        let is_new = !self.waiting.contains_key(root);
        if is_new && self.waiting.len() >= COMPUTED_MAX {
            return false;
        }
        let waiting = self.waiting.entry(*root).or_default();
        if waiting.len() < WAITING_MAX && !waiting.contains(peer) {
            waiting.push(peer.clone());
        }
        is_new
    }

    /// It was computed, or could not be. Who waits for it; of no use to ask again if it could not.
    pub(super) fn came(&mut self, root: Root, values: Option<Arc<[Value]>>) -> Vec<NodeName> {
        let waiting = self.waiting.remove(&root).unwrap_or_default();
        match values {
            Some(values) => {
                self.keep(root, values);
                waiting
            }
            None => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outlines_used_last_are_kept_within_their_bytes() {
        let mut outlines = Outlines::default();
        for number in 0..10 {
            outlines.keep(Root([number; 32]), vec![[number; 32]; KEPT_MAX / 4].into());
            assert!(outlines.get(&Root([0; 32])).is_some());
        }
        assert_eq!(outlines.kept.len(), 4);
        outlines.keep(Root([77; 32]), vec![[1; 32]; 2 * KEPT_MAX].into());
        assert_eq!(outlines.kept.len(), 1);
    }

    #[test]
    fn one_is_computed_once_for_all_who_wait() {
        let mut outlines = Outlines::default();
        let (root, peers): (_, Vec<NodeName>) = (Root([1; 32]), (0..3).map(NodeName::numbered).collect());
        assert!(outlines.wait(&root, &peers[0]));
        assert!(!outlines.wait(&root, &peers[1]) && !outlines.wait(&root, &peers[1]));
        assert_eq!(outlines.came(root, Some(vec![[0; 32]; 2].into())), peers[..2]);
        assert!(outlines.wait(&root, &peers[2]) && outlines.came(root, None).is_empty());
    }
}
