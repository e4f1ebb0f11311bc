//! The copy of the store that the panes draw, taken from what is known of it.

use p2pnet_shared::NodeName;

use super::{KeyFocus, KeyPicture, Move, Owner, Repair, RingPicture};
use crate::network::{Copies, Movement, Network, RingCounts};

/// Most keys short of copies that are marked on the circle. Default 4,096: four on each piece of it, more cannot be told
/// apart; the most endangered are marked first.
const SHORT_MAX: usize = 4_096;

impl RingPicture {
    /// Copies what is known of the store; `counts` are its numbers at this moment.
    pub fn take(&mut self, network: &Network, counts: &RingCounts, focus: Option<&KeyFocus>) {
        let ring = network.ring();
        *self = Self {
            ring: (!ring.is_empty()).then(|| ring.clone()),
            wanted: counts.wanted,
            keys: counts.keys,
            copies: counts.copies,
            under_replicated: counts.under_replicated,
            writing: counts.writing,
            unreachable: counts.unreachable,
            on_paused: counts.on_paused,
            misplaced: counts.misplaced,
            conflicts: counts.conflicts,
            max_over_mean: counts.max_over_mean,
            of_shares: counts.max_over_mean_of != "keys",
            estimated: counts.estimated,
            owners: owners(network),
            agree: counts.agree,
            others: network.other_rings().cloned().collect(),
            moves: moves(network),
            bytes_per_second: counts.moving.bytes_per_second,
            repair: Repair { running_ms: counts.repairing_for_ms, last_ms: counts.repair_window_ms },
            short: network.short_places(SHORT_MAX),
            key: None,
        };
        self.look_at(network, focus);
    }

    /// Copies where the copies of one key are.
    pub fn look_at(&mut self, network: &Network, focus: Option<&KeyFocus>) {
        self.key = focus.map(|focus| {
            let copies = network.copies(focus.place);
            let list = network.ring().preference(focus.place, usize::from(self.wanted));
            let mut others: Vec<NodeName> = copies.live.iter().chain(&copies.stale).cloned().collect();
            others.retain(|name| !list.contains(name));
            let replicas = list.into_iter().map(|name| {
                let holds = copies.live.contains(&name);
                (name, holds)
            });
            let known = copies != Copies::default();
            KeyPicture { focus: focus.clone(), replicas: replicas.collect(), others, known }
        });
    }
}

/// Every node there is, sorted by name.
fn owners(network: &Network) -> Vec<Owner> {
    let owner = |name: &NodeName| {
        let held = network.node_keys(name).unwrap_or_default();
        Owner {
            name: name.clone(),
            live: held.live,
            share: held.share,
            keys: held.counts.keys,
            owned: held.counts.owned,
            misplaced: held.counts.misplaced,
            bytes: held.counts.bytes,
            disk: held.counts.disk,
        }
    };
    let mut owners: Vec<Owner> = network.nodes().map(|node| owner(&node.name)).collect();
    owners.sort_by(|a, b| a.name.cmp(&b.name));
    owners
}

fn moves(network: &Network) -> Vec<Move> {
    let movements = network.movements().into_iter();
    let one = |way: Movement| Move {
        from: way.from,
        to: way.to,
        keys: way.keys,
        bytes: way.bytes,
        of_keys: way.keys,
        flows: false,
    };
    movements.map(one).collect()
}
