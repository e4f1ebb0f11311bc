//! When each survivor learnt of a death, by its own stamp.

use std::collections::{BTreeMap, BTreeSet};

use p2pnet::network::Observation;
use p2pnet_shared::{
    NodeName, UnixMillis,
    telemetry::{FeedLine, MemberEventKind, Report},
};

/// Waits for every survivor to declare every victim dead.
#[derive(Debug)]
pub(crate) struct Survivors {
    killed_at: UnixMillis,
    victims: BTreeSet<NodeName>,
    /// For each survivor, the victims it still believes alive.
    outstanding: BTreeMap<NodeName, BTreeSet<NodeName>>,
    /// For each survivor that is done, milliseconds from the kill to its last declaration.
    done: BTreeMap<NodeName, f64>,
}

impl Survivors {
    /// `victims` are killed at `killed_at` (stamped before the request, so that times are never flattered).
    pub(crate) fn new(killed_at: UnixMillis, victims: &[NodeName], all: impl Iterator<Item = NodeName>) -> Self {
        let victims: BTreeSet<NodeName> = victims.iter().cloned().collect();
        let outstanding = all.filter(|node| !victims.contains(node)).map(|node| (node, victims.clone())).collect();
        Self { killed_at, victims, outstanding, done: BTreeMap::new() }
    }

    /// Takes in what a survivor reports.
    pub(crate) fn observe(&mut self, observation: &Observation) {
        let Observation::Feed(FeedLine::Report { node, report: Report::Member { event, at } }) = observation else {
            return;
        };
        let gone = matches!(event.kind, MemberEventKind::Died | MemberEventKind::Left);
        if !gone || !self.victims.contains(&event.row.member) {
            return;
        }
        let Some(victims) = self.outstanding.get_mut(node) else { return };
        victims.remove(&event.row.member);
        if victims.is_empty() {
            self.outstanding.remove(node);
            #[expect(clippy::cast_precision_loss, reason = "milliseconds of seconds")]
            self.done.insert(node.clone(), at.since(self.killed_at) as f64);
        }
    }

    /// Whether every survivor knows of every death.
    pub(crate) fn all_know(&self) -> bool {
        self.outstanding.is_empty()
    }

    /// First, median and last survivor, milliseconds.
    pub(crate) fn first_median_last(&self) -> (f64, f64, f64) {
        let mut times: Vec<f64> = self.done.values().copied().collect();
        times.sort_by(f64::total_cmp);
        (times[0], super::figure::median(&times), times[times.len() - 1])
    }
}
