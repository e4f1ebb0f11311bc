//! When each survivor learnt of a death, by its own stamp.

use std::collections::{BTreeMap, BTreeSet};

use p2pnet::network::Observation;
use p2pnet_shared::{
    NodeName, UnixMillis,
    telemetry::{FeedLine, MemberEventKind, Report},
};

use crate::{
    figure::median_of,
    running::{Witness, ms_between},
};

/// Waits for every survivor to declare every victim dead.
#[derive(Debug)]
pub(crate) struct Survivors {
    victims: BTreeSet<NodeName>,
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
        Self { victims, outstanding, done: BTreeMap::new() }
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

impl Witness for Survivors {
    fn observe(&mut self, observation: &Observation) {
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
            self.done.insert(node.clone(), *at);
        }
    }
}
