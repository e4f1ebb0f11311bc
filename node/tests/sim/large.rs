//! Ten thousand nodes in one process: they share one table of who is there, and each keeps only what it knows otherwise.
//!
//! Such a network begins as one that has stood for a while: everybody knows everybody, without a join. The broadcast core
//! of each is told of a few members only, as a partial view would have it; the membership has them all.

use std::sync::Arc;

use p2pnet_node::{
    broadcast,
    membership::{Base, Identity},
};
use p2pnet_shared::Epoch;

use crate::{
    network::{Arrival, Network, WALL_AT_START},
    wire::NodeId,
};

/// Members that the broadcast core of each node is told of.
const ACQUAINTANCES: usize = 12;
/// Over so many microseconds the nodes start.
const START_US: u64 = 1_000_000;

impl Network {
    /// `count` nodes that know one another, past their warm-up.
    pub(crate) fn start_known(&mut self, count: usize) {
        let step = START_US / count as u64;
        // The epoch of each is that of its start, by the rule of its own clock.
        let epoch = |id: usize| Epoch(WALL_AT_START + (id as u64 * step) / 1_000);
        let ids: Vec<NodeId> = (0..count).map(|_| self.add()).collect();
        let identities = ids.iter().map(|id| {
            let node = &self.nodes[*id];
            Identity { name: node.name.clone(), addr: node.addr, epoch: epoch(*id) }
        });
        self.base = Some(Arc::new(Base::new(identities)));
        self.watcher.known = ids.iter().map(|id| epoch(*id)).collect();
        for id in ids {
            self.run_to_us(id as u64 * step);
            self.boot(id, None);
            for other in rand::seq::index::sample(&mut self.rng, count, ACQUAINTANCES.min(count)) {
                if other != id {
                    let (peer, addr) = (self.nodes[other].name.clone(), self.nodes[other].addr);
                    let input = broadcast::Input::MemberUp { peer, addr, epoch: epoch(other) };
                    self.feed(id, Arrival::Broadcast(input));
                }
            }
        }
        self.run_for(self.config.warm_up.0 + 5_000);
    }

    /// Rows that a node keeps for itself, on average.
    pub(crate) fn own_rows(&self) -> f64 {
        let rows: usize = self.nodes.iter().filter_map(|node| Some(node.peer.as_ref()?.membership.own_rows())).sum();
        rows as f64 / self.running().len() as f64
    }

    /// Everybody's table is put on what one of them believes.
    pub(crate) fn rebase(&mut self) {
        let Some(first) = self.nodes.iter().find_map(|node| node.peer.as_ref()) else { return };
        let base = Arc::new(Base::from(&first.membership));
        self.watcher.trace.rebased = true;
        for peer in self.nodes.iter_mut().filter_map(|node| node.peer.as_mut()) {
            peer.membership.rebase(Arc::clone(&base));
        }
    }
}

/// Kills every `every`-th of the nodes from 1 on, `count` of them, and returns when each survivor knew of each, sorted.
pub(crate) fn kill_some(network: &mut Network, count: usize, every: usize, limit_ms: u64) -> Vec<u64> {
    let at = network.now();
    let running = network.running();
    let victims: Vec<NodeId> = running.iter().copied().skip(1).step_by(every).take(count).collect();
    for victim in &victims {
        network.kill(*victim);
    }
    network.run_until("the survivors agree", limit_ms, Network::all_agree);
    let mut times = Vec::new();
    for victim in victims {
        times.extend(network.watcher.detection(victim, at));
    }
    times.sort_unstable();
    times
}
