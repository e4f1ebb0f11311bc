//! What a broadcast costs and how it spreads: redundancy, hops, time, and whether everybody has it.

use std::time::Instant;

use rand::seq::SliceRandom;
use serde_json::json;

use crate::{
    Options,
    figure::{print, spread},
    network::Network,
    wire::NodeId,
};

const MESSAGES: usize = 100;
/// Between two messages, milliseconds.
const BEAT_MS: u64 = 100;
/// After the last, milliseconds.
const AFTER_MS: u64 = 30_000;

/// What is in the messages' way.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Trouble {
    None,
    /// Of datagrams; segments are sent again.
    Loss,
    /// Half of the nodes are killed in the middle.
    HalfKilled,
}

/// Prints `broadcast` for one and for many senders in each trouble.
pub(crate) fn measure(options: &Options) {
    for trouble in [Trouble::None, Trouble::Loss, Trouble::HalfKilled] {
        for many in [false, true] {
            one(options, trouble, many);
        }
    }
}

fn one(options: &Options, trouble: Trouble, many: bool) {
    let began = Instant::now();
    let (mut hops, mut last_ms, mut rmr_percent) = (Vec::new(), Vec::new(), Vec::new());
    let (mut reached, mut to_reach) = (0, 0);
    for seed in 1..=options.seeds {
        let mut network = options.settled(seed, options.nodes);
        // The tree, where there is one, settles with the first messages.
        publish(&mut network, MESSAGES / 2, many);
        network.run_for(5_000);
        if trouble == Trouble::Loss {
            network.wire.conditions.loss = 0.3;
        }
        let (frames, from) = (network.watcher.paths.frames, network.accepted.len());
        let delivered_before = network.counters.delivered;
        if trouble == Trouble::HalfKilled {
            publish(&mut network, MESSAGES / 2, many);
            let mut victims: Vec<NodeId> = network.running()[1..].to_vec();
            victims.shuffle(&mut network.rng);
            for victim in &victims[..options.nodes / 2] {
                network.kill(*victim);
            }
            publish(&mut network, MESSAGES / 2, many);
        } else {
            publish(&mut network, MESSAGES, many);
        }
        network.run_for(AFTER_MS);
        let receipts = network.counters.delivered - delivered_before - (network.accepted.len() - from) as u64;
        let frames = network.watcher.paths.frames - frames;
        rmr_percent.push((100 * frames / receipts.max(1)).saturating_sub(100));
        for (message, origin, life) in &network.accepted[from..] {
            let survives = network.nodes[*origin].peer.is_some() && network.nodes[*origin].life == *life;
            let Some(deliveries) = network.watcher.paths.deliveries.get(message).filter(|_| survives) else { continue };
            let sent = deliveries.get(&(*origin, *life)).map_or(0, |own| own.at);
            hops.push(deliveries.values().map(|delivery| delivery.hops as u64).max().unwrap_or(0));
            last_ms.push(deliveries.values().map(|delivery| (delivery.at - sent) / 1_000).max().unwrap_or(0));
            for id in network.running() {
                to_reach += 1;
                reached += u64::from(network.watcher.paths.has(message, id, network.nodes[id].life));
            }
        }
    }
    print(json!({
        "figure": "broadcast", "nodes": options.nodes, "senders": if many { "many" } else { "one" },
        "trouble": format!("{trouble:?}"), "rmr_percent": spread(rmr_percent), "last_hop": spread(hops),
        "last_node_ms": spread(last_ms), "delivered": reached as f64 / f64::from(u32::try_from(to_reach).unwrap_or(1)),
        "deliveries_expected": to_reach, "wall_s": began.elapsed().as_secs_f64(),
    }));
}

fn publish(network: &mut Network, messages: usize, many: bool) {
    for number in 0..messages {
        let running = network.running();
        let from = if many { running[number * 7 % running.len()] } else { running[0] };
        let _ = network.try_publish(from, "a line of text, as long as a line of text is");
        network.run_for(BEAT_MS);
    }
}
