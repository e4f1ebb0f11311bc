//! Key-value stores made by hand: what is drawn follows from keys on a real ring.

use std::sync::Arc;

use p2pnet::model::{
    Model,
    ring::{KeyFocus, KeyPicture, Move, Owner, Repair, RingPicture},
};
use p2pnet_shared::{
    NodeName,
    ring::{Place, Ring},
    telemetry::DiskState,
};

use super::fakes::{many_model, one_dead_model};
use p2pnet::cluster::UnitState;

/// Gives a network `keys` keys of 100 bytes, three copies each on a ring of those that are up; what `lost` held before
/// is gone, and `healed` of those keys have their copies back.
pub(crate) fn with_keys(model: &mut Model, keys: u32, lost: &[u32], healed: u32) {
    let all: Vec<NodeName> = model.picture.nodes.iter().map(|node| node.name.clone()).collect();
    let lost: Vec<NodeName> = lost.iter().map(|number| NodeName::numbered(*number)).collect();
    let vnodes = if all.len() >= 500 { 32 } else { 64 };
    let before = Ring::of(vnodes, all.clone());
    let now = Arc::new(Ring::of(vnodes, all.iter().filter(|name| !lost.contains(name)).cloned()));
    let wanted = now.members().len().min(3);
    let mut picture = RingPicture { keys: u64::from(keys), wanted: wanted as u8, ..RingPicture::default() };
    let shares = now.shares();
    picture.owners = before
        .members()
        .iter()
        .map(|name| Owner {
            name: name.clone(),
            live: !lost.contains(name),
            share: now.members().binary_search(name).map_or(0.0, |at| shares[at]),
            keys: 0,
            owned: 0,
            misplaced: 0,
            bytes: 0,
            disk: DiskState::Fine,
        })
        .collect();
    let mut to_heal = healed;
    for number in 0..keys {
        let place = Place::of(&format!("key{number}"));
        let mut holders = before.preference(place, 3);
        holders.retain(|holder| !lost.contains(holder));
        if holders.len() < wanted && to_heal > 0 {
            (to_heal, holders) = (to_heal - 1, now.preference(place, 3));
        }
        if holders.len() < wanted {
            picture.short.push((place, holders.len() as u8));
            picture.under_replicated += 1;
        }
        picture.copies[holders.len()] += 1;
        for (i, holder) in holders.iter().enumerate() {
            let at = before.members().binary_search(holder).unwrap();
            let owner = &mut picture.owners[at];
            (owner.keys, owner.bytes) = (owner.keys + 1, owner.bytes + 107);
            owner.owned += u64::from(i == 0);
        }
    }
    picture.unreachable = picture.copies[0];
    let live = picture.owners.iter().filter(|owner| owner.live);
    let most = live.clone().map(|owner| owner.keys).max().unwrap_or(0);
    let held: u64 = live.clone().map(|owner| owner.keys).sum();
    picture.of_shares = keys == 0;
    picture.max_over_mean = Some(if held == 0 { 1.0 } else { most as f64 * live.count() as f64 / held as f64 });
    picture.agree = now.members().len() as u32;
    picture.ring = Some(now);
    model.picture.ring = picture;
    settle(model);
}

/// What a frame and a key press would have worked out.
fn settle(model: &mut Model) {
    let ring = &model.picture.ring;
    model.ring.arrange(&ring.owners);
    model.ring.arcs.follow(ring.ring.as_ref(), model.nodes.selected.as_ref());
}

/// A hundred and one nodes and 5,120 keys, all well.
pub(crate) fn keys_model() -> Model {
    let mut model = many_model(100);
    with_keys(&mut model, 5_120, &[], 0);
    model.picture.ring.repair.last_ms = Some(2_140);
    model
}

/// node7 is dead, node23 and node61 went with it; a third of what they held has its copies back and more are on the way.
pub(crate) fn repairing_model() -> Model {
    let mut model = one_dead_model();
    with_keys(&mut model, 5_120, &[7, 23, 61], 150);
    let ring = &mut model.picture.ring;
    ring.agree = 96;
    ring.others = [12, 40].map(NodeName::numbered).to_vec();
    (ring.misplaced, ring.conflicts) = (31, 2);
    ring.repair = Repair { running_ms: Some(1_240), last_ms: Some(2_140) };
    ring.moves = [(3, 9, 41, 120), (18, 9, 38, 40), (77, 4, 22, 90), (5, 66, 9, 10), (31, 2, 4, 8), (8, 1, 2, 9)]
        .into_iter()
        .map(|(from, to, keys, of_keys)| Move {
            from: NodeName::numbered(from),
            to: NodeName::numbered(to),
            keys,
            bytes: keys * 107,
            of_keys,
            flows: from != 5,
        })
        .collect();
    settle(&mut model);
    model
}

/// The reader looks at a key: its first replica is dead, its second holds it, its third does not yet; one stands in.
pub(crate) fn with_focus(model: &mut Model, key: &str) {
    let focus = KeyFocus::of(key);
    model.ring.key = Some(focus.clone());
    let ring = model.picture.ring.ring.clone().unwrap();
    let list = ring.preference(focus.place, 4);
    let replicas = list.iter().take(3).enumerate().map(|(i, name)| (name.clone(), i != 2)).collect();
    if let Some(node) = model.picture.nodes.iter_mut().find(|node| node.name == list[0]) {
        node.state = UnitState::Dead;
    }
    model.picture.ring.key = Some(KeyPicture { focus, replicas, others: list[3..].to_vec(), known: true });
}

/// One disk is full and one is broken.
pub(crate) fn with_bad_disks(model: &mut Model) {
    let owners = &mut model.picture.ring.owners;
    for (number, disk) in [(4, DiskState::Full), (9, DiskState::Broken)] {
        let name = NodeName::numbered(number);
        let owner = owners.iter_mut().find(|owner| owner.name == name).unwrap();
        owner.disk = disk;
    }
    model.nodes.arrange(&model.picture.nodes, &model.picture.ring);
}
