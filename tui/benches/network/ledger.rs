//! Who received which broadcast, how often and when, counted from each node's own reports.

use std::collections::{BTreeSet, HashMap};

use p2pnet::network::Observation;
use p2pnet_shared::{
    MessageId, NodeName, UnixMillis,
    telemetry::{Delivery, FeedLine, Report},
};

use crate::running::{Witness, ms_between};

/// One node's account of one message.
#[derive(Debug, Clone, Copy)]
struct Receipt {
    times: u32,
    first_at: UnixMillis,
    hops: usize,
}

/// Every account, and who is to have one.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    receipts: HashMap<MessageId, HashMap<NodeName, Receipt>>,
}

/// What became of one message.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Outcome {
    /// Nodes that were to have it and do not.
    pub(crate) missing: usize,
    /// Arrivals beyond the first at the same node.
    pub(crate) duplicates: u32,
    /// From the origin's stamp to the last node's, milliseconds; `None` when not even the origin has reported it.
    pub(crate) last_ms: Option<f64>,
    /// The longest way, hops.
    pub(crate) hops: usize,
}

impl Ledger {
    /// What became of `id`, which every one of `audience` is to have.
    pub(crate) fn outcome(&self, id: &MessageId, audience: &BTreeSet<NodeName>) -> Outcome {
        let none = HashMap::new();
        let receipts = self.receipts.get(id).unwrap_or(&none);
        let accepted = receipts.get(&id.origin).map(|receipt| receipt.first_at);
        let theirs = || receipts.iter().filter(|(node, _)| audience.contains(*node)).map(|(_, receipt)| receipt);
        Outcome {
            missing: audience.iter().filter(|node| !receipts.contains_key(*node)).count(),
            duplicates: receipts.values().map(|receipt| receipt.times - 1).sum(),
            last_ms: accepted.map(|at| theirs().map(|receipt| ms_between(at, receipt.first_at)).fold(0.0, f64::max)),
            hops: theirs().map(|receipt| receipt.hops).max().unwrap_or(0),
        }
    }

    /// Whether every one of `audience` has each of `ids`.
    pub(crate) fn all_have(&self, ids: &[MessageId], audience: &BTreeSet<NodeName>) -> bool {
        ids.iter().all(|id| self.outcome(id, audience).missing == 0)
    }

    fn arrived(&mut self, node: &NodeName, delivery: &Delivery) {
        let receipt = Receipt { times: 0, first_at: delivery.at, hops: delivery.path.len().saturating_sub(1) };
        let accounts = self.receipts.entry(delivery.id.clone()).or_default();
        accounts.entry(node.clone()).or_insert(receipt).times += 1;
    }
}

impl Witness for Ledger {
    fn observe(&mut self, observation: &Observation) {
        let Observation::Feed(FeedLine::Report { node, report }) = observation else { return };
        match report {
            Report::Delivered(delivery) => self.arrived(node, delivery),
            // The link starts over and repeats what this life of the node received.
            Report::Hello { .. } => self.receipts.values_mut().for_each(|accounts| _ = accounts.remove(node)),
            Report::Snapshot { deliveries, .. } => deliveries.iter().for_each(|delivery| self.arrived(node, delivery)),
            _ => {}
        }
    }
}
