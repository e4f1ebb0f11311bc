//! Faults set on purpose, by the word of the nodes that obey them: whoever set them, and also after a dashboard reopens.
//!
//! A fault is there as long as somebody who runs obeys it. A restarted node obeys nothing: it is named as missing, because
//! a cut that one node forgot has a hole.

use p2pnet_shared::{
    NodeName, UnixMillis,
    fault::{ActiveFault, Fault, NodeSet},
};
use serde::Serialize;

use super::{Change, ChangeKind, Fate, Network};

/// One fault, over all nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FaultState {
    /// As one types it: `cut 1-50 | 51-100`.
    pub fault: String,
    /// `cut`, `loss` or `delay`.
    pub kind: &'static str,
    /// In a word or two: `cut 50|50`.
    pub short: String,
    /// How many nodes obey it.
    pub nodes: u32,
    /// Nodes that run and have a part in it, but do not obey it: healed alone, restarted, or never told.
    pub not_on: Vec<NodeName>,
    /// For how long, milliseconds.
    pub for_ms: u64,
}

impl Network {
    /// What is wrong on purpose as of `now`, oldest first.
    pub(super) fn faults(&self, now: UnixMillis) -> Vec<FaultState> {
        let mut known: Vec<(&Fault, UnixMillis, NodeSet)> = Vec::new();
        for (name, active) in self.active_faults() {
            match known.iter_mut().find(|(fault, ..)| *fault == &active.fault) {
                Some((_, since, on)) => {
                    *since = active.since.min(*since);
                    on.insert(name.clone());
                }
                None => known.push((&active.fault, active.since, std::iter::once(name).collect())),
            }
        }
        known.sort_by_key(|(_, since, _)| *since);
        let runs = |slot: &&super::Slot| slot.row.is_some() && slot.fate == Fate::Up;
        let state = |(fault, since, on): &(&Fault, UnixMillis, NodeSet)| {
            let forgot = self.order.iter().map(|slot| &self.slots[*slot]).filter(runs);
            let forgot = forgot.filter(|slot| fault.concerns(&slot.name) && !on.contains(&slot.name));
            FaultState {
                fault: fault.to_string(),
                kind: fault.kind(),
                short: fault.short(),
                nodes: u32::try_from(on.len()).unwrap_or(u32::MAX),
                not_on: forgot.map(|slot| slot.name.clone()).collect(),
                for_ms: now.since(*since),
            }
        };
        known.iter().map(state).collect()
    }

    /// Every fault of every node that has not ended; a paused one obeys its faults still.
    fn active_faults(&self) -> impl Iterator<Item = (&NodeName, &ActiveFault)> {
        let there = self.slots.iter().filter(|slot| slot.fate != Fate::Gone);
        there.flat_map(|slot| slot.observer.iter().flat_map(|o| &o.faults).map(|active| (&slot.name, active)))
    }

    /// A node says what it obeys from here on.
    pub(super) fn on_faults(
        &mut self,
        now: UnixMillis,
        slot: usize,
        faults: Vec<ActiveFault>,
        changes: &mut Vec<Change>,
    ) {
        let Some(observer) = &mut self.slots[slot].observer else { return };
        let before = std::mem::replace(&mut observer.faults, faults.clone());
        let held = |fault: &Fault, all: &[ActiveFault]| all.iter().any(|active| active.fault == *fault);
        let elsewhere = |this: &Self, fault: &Fault| {
            let mut others = this.active_faults().filter(|(name, _)| **name != this.slots[slot].name);
            others.any(|(_, active)| active.fault == *fault)
        };
        for active in faults.iter().filter(|active| !held(&active.fault, &before)) {
            self.truth_changed_at = self.truth_changed_at.max(Some(active.since.min(now)));
            if self.feed.complete && !elsewhere(self, &active.fault) {
                let at = active.since.min(now);
                changes.push(Change::all(at, ChangeKind::Fault, active.fault.to_string()));
            }
        }
        for active in before.iter().filter(|active| !held(&active.fault, &faults)) {
            // From here on everybody may be heard again: the way to agreement begins anew.
            self.truth_changed_at = self.truth_changed_at.max(Some(now));
            if self.feed.complete && !elsewhere(self, &active.fault) {
                changes.push(Change::all(now, ChangeKind::Healed, format!("healed: {}", active.fault)));
            }
        }
    }
}
