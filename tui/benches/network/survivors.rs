//! When each survivor learnt of a death, by its own stamp.
//!
//! A survivor tells of a death as an event, once. When its link to the gateway starts over, or ours does and a history
//! follows, the event is in no line any more: what is left of it is the row of a dead member in a snapshot. That counts
//! as well, with the moment we read it, which is later than the truth and so flatters nobody.

use std::collections::{BTreeMap, BTreeSet};

use p2pnet::network::Observation;
use p2pnet_shared::{
    NodeName, UnixMillis,
    telemetry::{FeedLine, MemberEventKind, Report},
    wire::membership::Status,
};

use crate::{
    figure::median_of,
    running::{Witness, ms_between, now},
};

/// Waits for every survivor to declare every victim dead.
#[derive(Debug)]
pub(crate) struct Survivors {
    /// For each survivor, the victims it still believes alive.
    outstanding: BTreeMap<NodeName, BTreeSet<NodeName>>,
    /// For each survivor that is done, when it made its last declaration.
    done: BTreeMap<NodeName, UnixMillis>,
}

/// From some moment to what survivors did, milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    /// The first of them.
    pub(crate) first: f64,
    /// Half of them.
    pub(crate) median: f64,
    /// All of them.
    pub(crate) last: f64,
}

impl Spread {
    /// Of times in any order.
    pub(crate) fn of(times: &[f64]) -> Self {
        let first = times.iter().copied().fold(f64::INFINITY, f64::min);
        let last = times.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Self { first, median: median_of(times.to_vec()), last }
    }
}

impl Survivors {
    /// `victims` are about to be killed; of `all`, the others survive.
    pub(crate) fn new(victims: &[NodeName], all: impl IntoIterator<Item = NodeName>) -> Self {
        let victims: BTreeSet<NodeName> = victims.iter().cloned().collect();
        let others = all.into_iter().filter(|node| !victims.contains(node));
        let outstanding = others.map(|node| (node, victims.clone())).collect();
        Self { outstanding, done: BTreeMap::new() }
    }

    /// Whether some survivor knows of every death.
    pub(crate) fn somebody_knows(&self) -> bool {
        !self.done.is_empty()
    }

    /// Whether every survivor knows of every death.
    pub(crate) fn all_know(&self) -> bool {
        self.outstanding.is_empty()
    }

    /// How long after `moment` survivors knew of every death.
    pub(crate) fn spread_from(&self, moment: UnixMillis) -> Spread {
        let times: Vec<f64> = self.done.values().map(|at| ms_between(moment, *at)).collect();
        Spread::of(&times)
    }
}

impl Survivors {
    /// By `at`, `survivor` knew of the end of `victim`.
    fn note(&mut self, survivor: &NodeName, victim: &NodeName, at: UnixMillis) {
        let Some(victims) = self.outstanding.get_mut(survivor) else { return };
        victims.remove(victim);
        if victims.is_empty() {
            self.outstanding.remove(survivor);
            self.done.insert(survivor.clone(), at);
        }
    }
}

impl Witness for Survivors {
    fn observe(&mut self, observation: &Observation) {
        let Observation::Feed(FeedLine::Report { node, report }) = observation else { return };
        match report {
            Report::Member { event, at } => {
                if matches!(event.kind, MemberEventKind::Died | MemberEventKind::Left) {
                    self.note(node, &event.row.member, *at);
                }
            }
            Report::Snapshot { members, .. } => {
                for row in members.iter().filter(|row| matches!(row.status, Status::Dead | Status::Left)) {
                    self.note(node, &row.member, now());
                }
            }
            _ => {}
        }
    }

    fn lacks(&self) -> String {
        let some = self.outstanding.iter().take(5).map(|(survivor, victims)| format!("{survivor} of {victims:?}"));
        match self.outstanding.len() {
            0 => String::new(),
            many => format!("word of {many} survivors: {}", some.collect::<Vec<_>>().join(", ")),
        }
    }
}
