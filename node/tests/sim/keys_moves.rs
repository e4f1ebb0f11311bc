//! Who comes takes its share and no more, who goes gives its share and no more, and everything is in place again.

use std::collections::BTreeMap;

use p2pnet_shared::Key;

use crate::{
    keyed::{check, fill, read_all, stored},
    network::Network,
    wire::NodeId,
    with_seeds,
};

const KEYS: usize = 3_000;
const NODES: usize = 50;

/// Which keys lie on which disks.
fn copies(network: &Network) -> BTreeMap<NodeId, Vec<Key>> {
    let running = network.running().into_iter();
    running.map(|id| (id, network.nodes[id].disk.kept.keys().cloned().collect())).collect()
}

/// How many copies are where they were not.
fn moved(before: &BTreeMap<NodeId, Vec<Key>>, after: &BTreeMap<NodeId, Vec<Key>>) -> usize {
    let new = |(id, keys): (&NodeId, &Vec<Key>)| {
        let had = before.get(id).map_or(&[][..], Vec::as_slice);
        keys.iter().filter(|key| had.binary_search(key).is_err()).count()
    };
    after.iter().map(new).sum()
}

/// Bytes that repair has sent so far, those of nodes that have ended left out.
fn repair_bytes(network: &Network) -> u64 {
    let stores = network.nodes.iter().filter_map(|node| node.peer.as_ref()?.store.as_ref());
    stores.map(|store| store.counts().repair_bytes).sum()
}

fn bytes_of(network: &Network, id: NodeId) -> u64 {
    network.nodes[id].peer.as_ref().and_then(|peer| peer.store.as_ref()).map_or(0, |store| store.counts().bytes)
}

#[test]
fn who_joins_takes_its_share_and_who_leaves_gives_its_share() {
    with_seeds("keys_moves::who_joins_takes_its_share_and_who_leaves_gives_its_share", &[1, 2], |seed| {
        let mut network = stored(seed, NODES);
        fill(&mut network, KEYS, 20);
        network.until_in_place("the puts", 10_000);
        let (before, sent) = (copies(&network), repair_bytes(&network));

        let newcomer = network.start(Some(3));
        network.run_until("all agree", 10_000, Network::all_agree);
        let took = network.until_in_place("all knew the newcomer", 15_000);
        let after = copies(&network);
        let share = after[&newcomer].len();
        let (come, sent) = (moved(&before, &after), repair_bytes(&network) - sent);
        println!(
            "seed {seed}: a newcomer's share is {share} of {KEYS} keys ({} bytes), moved {come} copies with {sent} bytes in \
             {took} ms",
            bytes_of(&network, newcomer)
        );
        assert!(share > 0 && come == share, "{come} copies moved for a share of {share}");

        let (before, sent) = (copies(&network), repair_bytes(&network));
        network.leave(newcomer);
        network.run_until("all agree", 10_000, Network::all_agree);
        let took = network.until_in_place("all knew that it left", 15_000);
        let gone = moved(&before, &copies(&network));
        let sent = repair_bytes(&network) - sent;
        println!("seed {seed}: it leaves, and {gone} copies with {sent} bytes move in {took} ms");
        assert!(gone as f64 <= 1.3 * share as f64, "{gone} copies moved for a share of {share}");
        read_all(&mut network, KEYS);
        check(&network);
    });
}
