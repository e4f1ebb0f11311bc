//! Copies in the wrong place: they stand in for a replica that could not be reached, or the ring changed under them. Each is
//! offered to all `n` until every one of them has it on disk, and then dropped.

use p2pnet_shared::{Key, NodeName, ring::Place};

use super::{Around, Repair, at, versions_at};

impl Repair {
    /// Looks for them among everything held: after a start or a change of the ring.
    pub(super) fn find_misplaced(&mut self, around: &mut Around<'_>) {
        let mine = self.mine(around).clone();
        self.misplaced.retain(|(place, _), _| !mine.contains(*place));
        let found = around.store.iter().filter(|(place, _)| !mine.contains(*place));
        for (place, held) in found {
            // Who has confirmed it may have dropped it since, being no replica for a while.
            self.misplaced.entry((place, held.entry.key.clone())).or_default().clear();
        }
        self.offer_misplaced(around);
    }

    /// The versions of one changed, or it is new, or gone.
    pub(super) fn misplaced_changed(&mut self, around: &Around<'_>, place: Place, key: &Key, is_held: bool) {
        if !is_held {
            self.misplaced.remove(&(place, key.clone()));
            return;
        }
        self.misplaced.insert((place, key.clone()), Vec::new());
        for replica in around.replicas(place).filter(|name| *name != around.me) {
            self.queues.entry(replica.clone()).or_default().offer.insert((1, place));
        }
    }

    /// Offers each to whoever has not confirmed it, but for those that are being asked already.
    pub(super) fn offer_misplaced(&mut self, around: &Around<'_>) {
        for ((place, _), confirmed) in &self.misplaced {
            for replica in around.replicas(*place) {
                if replica == around.me || confirmed.contains(replica) || !(around.is_reachable)(replica) {
                    continue;
                }
                let queue = self.queues.entry(replica.clone()).or_default();
                if queue.offered.is_none() && queue.given.is_none() && queue.offer_after <= around.now {
                    queue.offer.insert((1, *place));
                }
            }
        }
    }

    /// A replica has what we held under a place when its versions were `versions`, or newer, on its disk.
    pub(super) fn confirmed(&mut self, around: &mut Around<'_>, by: &NodeName, place: Place, versions: u64) {
        let Some(of_now) = versions_at(around.store, place) else { return };
        let mine = self.mine.as_ref().is_none_or(|mine| mine.contains(place));
        if mine || of_now != versions {
            return;
        }
        let keys: Vec<Key> = at(around.store, place).map(|held| held.entry.key.clone()).collect();
        for key in keys {
            let Some(confirmed) = self.misplaced.get_mut(&(place, key.clone())) else { continue };
            if !confirmed.contains(by) {
                confirmed.push(by.clone());
            }
            if around.replicas(place).all(|replica| confirmed.contains(replica)) {
                self.misplaced.remove(&(place, key.clone()));
                around.dropped.extend(around.store.remove(place, &key).map(|held| held.entry));
            }
        }
    }
}
