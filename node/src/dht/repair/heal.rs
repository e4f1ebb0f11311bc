//! A cut that heals: who was believed dead and comes back in the same life has been somewhere else.
//!
//! One node alone acknowledges nothing, but `w` of them may have: then nobody is settled any more, because what they wrote
//! for their users may be here on none of a key's replicas. Who comes back in another life does not count: it forgot whom
//! it answered, and brings what is on its disk as copies in the wrong place. Nor does one that flaps.

use std::collections::BTreeMap;

use p2pnet_shared::{Epoch, NodeName};

use crate::time::Millis;

/// How close together those of one cut come back.
const WINDOW: Millis = Millis(30_000);
/// Names remembered at most.
const GONE_MAX: usize = 1_024;

/// Who went, and who came back.
#[derive(Debug, Default)]
pub(super) struct Heal {
    gone: BTreeMap<NodeName, Epoch>,
    back: BTreeMap<NodeName, Millis>,
}

impl Heal {
    /// A member died or left.
    pub(super) fn gone(&mut self, name: &NodeName, epoch: Epoch) {
        if self.gone.len() < GONE_MAX {
            self.gone.insert(name.clone(), epoch);
        }
    }

    /// A member is there. Whether it and others come back from where `w` of them may have acknowledged something.
    pub(super) fn is_heal(&mut self, name: &NodeName, epoch: Epoch, now: Millis, w: usize) -> bool {
        if self.gone.remove(name) != Some(epoch) {
            return false;
        }
        self.back.retain(|_, at| now - *at < WINDOW);
        self.back.insert(name.clone(), now);
        self.back.len() >= w
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_that_come_back_together_may_have_acknowledged_something_and_one_that_flaps_has_not() {
        let node = NodeName::numbered;
        let mut heal = Heal::default();
        for at in 0..10 {
            heal.gone(&node(1), Epoch(1));
            assert!(!heal.is_heal(&node(1), Epoch(1), Millis(at * 1_000), 2), "the same one over and over");
        }
        heal.gone(&node(2), Epoch(1));
        assert!(!heal.is_heal(&node(2), Epoch(2), Millis(10_000), 2), "started again");
        assert!(!heal.is_heal(&node(3), Epoch(1), Millis(10_000), 2), "never seen before");
        heal.gone(&node(4), Epoch(1));
        assert!(heal.is_heal(&node(4), Epoch(1), Millis(12_000), 2));
        heal.gone(&node(5), Epoch(1));
        assert!(!heal.is_heal(&node(5), Epoch(1), Millis(60_000), 2), "long after the others");
    }
}
