//! Everything that goes wrong without anybody's ill will, and one who lies.

use std::{cell::Cell, mem::discriminant, rc::Rc};

use p2pnet_shared::wire::folder::{ChunkSet, Root, Transfer as Said};

use super::{
    MIB, capped,
    swarm::{Swarm, contents},
};
use crate::{
    folder::{Config, chunks::Geometry},
    time::Millis,
};

#[test]
fn a_liar_is_named_and_the_file_comes_from_others() {
    let mut swarm = Swarm::new(4, 6, &capped(4_000_000), 3);
    let (bytes, small) = (contents(4 << 20, 3), contents(5_000, 4));
    let (root, whole) = (swarm.give(0, &bytes), swarm.give(0, &small));
    swarm.give(1, &bytes);
    swarm.give(1, &small);
    swarm.nodes[0].lies = true;
    for at in [2, 3] {
        swarm.want(at, root, 4 * MIB, None);
        swarm.want(at, whole, 5_000, Some(0));
    }
    let began = swarm.now;
    let took = swarm.run_to_union(&[2, 3], &[root, whole], Millis(15_000)) - began;
    assert!(took < Millis(4_000), "{took:?}");
    for at in [2, 3] {
        let figures = swarm.nodes[at].transfer.figures();
        assert_eq!(figures.liar.as_ref(), Some(&swarm.nodes[0].name));
        assert!((1..=20).contains(&figures.bad_chunks) && figures.wasted_bytes > 0, "{figures:?}");
    }
}

#[test]
fn a_source_that_dies_once_everything_is_out_is_not_missed() {
    let mut swarm = Swarm::new(16, 6, &capped(1_000_000), 4);
    let root = swarm.give(0, &contents(2 << 20, 4));
    let others: Vec<usize> = (1..16).collect();
    others.iter().for_each(|at| swarm.want(*at, root, 2 * MIB, None));
    let chunks = Geometry::of(2 * MIB).unwrap().chunks() as usize;
    let mut out = std::collections::BTreeSet::new();
    while out.len() < chunks {
        assert!(swarm.step());
        if swarm.packets.is_multiple_of(50) {
            out.extend(
                others.iter().flat_map(|at| swarm.nodes[*at].parts.values()).flat_map(|part| part.keys().copied()),
            );
        }
        let done = others.iter().any(|at| swarm.nodes[*at].files.contains_key(&root));
        assert!(!done, "somebody was done before everything was out");
    }
    swarm.nodes[0].is_dead = true;
    let died = swarm.now;
    let took = swarm.run_to_union(&others, &[root], Millis(10_000)) - died;
    assert!(took < Millis(3_000), "{took:?} after the source died");
}

#[test]
fn a_paused_peer_delays_nobody_and_goes_on_when_it_is_back() {
    let mut swarm = Swarm::new(3, 4, &capped(2_000_000), 5);
    let bytes = contents(4 << 20, 5);
    let root = swarm.give(0, &bytes);
    swarm.give(1, &bytes);
    swarm.want(2, root, 4 * MIB, None);
    let began = swarm.now;
    swarm.run_until(began + Millis(300));
    swarm.nodes[0].is_paused = true;
    let took = swarm.run_to_union(&[2], &[root], Millis(10_000)) - began;
    assert!(took < Millis(3_500), "{took:?}");

    // Alone with it there is nobody else to ask: it is asked again once it speaks.
    let mut swarm = Swarm::new(2, 2, &capped(2_000_000), 5);
    let root = swarm.give(0, &bytes);
    swarm.want(1, root, 4 * MIB, None);
    swarm.run_until(swarm.now + Millis(300));
    swarm.nodes[0].is_paused = true;
    swarm.run_until(swarm.now + Millis(20_000));
    swarm.resume(0);
    let back = swarm.now;
    let took = swarm.run_to_union(&[1], &[root], Millis(20_000)) - back;
    assert!(took < Millis(2_000 + 5_000), "{took:?} after it was back");
}

/// One message of every kind.
fn kinds() -> Vec<Said> {
    let root = Root([0; 32]);
    vec![
        Said::Seek { root },
        Said::Holds { root, chunks: ChunkSet::None },
        Said::Enough { root },
        Said::AskOutline { root },
        Said::Outline { root, values: Vec::new() },
        Said::AskChunk { root, chunk: 0 },
        Said::Chunk { root, chunk: 0, bytes: contents(0, 0) },
        Said::NoChunk { root, chunk: 0, again_ms: None },
        Said::Cancel { root, chunk: 0 },
        Said::Suggest { root, chunks: Vec::new() },
        Said::Fetch { call: 0, roots: Vec::new() },
        Said::Bundle { call: 0, files: Vec::new(), lacking: Vec::new(), later: Vec::new() },
        Said::Gained { roots: Vec::new() },
    ]
}

#[test]
fn the_loss_of_any_message_costs_less_than_five_seconds() {
    for kind in kinds() {
        for skipped in [0, 1, 5] {
            let mut swarm = Swarm::new(3, 2, &Config::default(), 6);
            let (root, whole) = (swarm.give(0, &contents(1 << 20, 6)), swarm.give(0, &contents(1_000, 7)));
            for at in [1, 2] {
                swarm.want(at, root, MIB, Some(0));
                swarm.want(at, whole, 1_000, Some(at - 1));
            }
            let (kind, seen) = (discriminant(&kind), Rc::new(Cell::new(0)));
            let counted = Rc::clone(&seen);
            swarm.drops = Box::new(move |said| {
                let hits = discriminant(said) == kind;
                counted.set(counted.get() + i32::from(hits));
                hits && (skipped + 1..=skipped + 2).contains(&counted.get())
            });
            let began = swarm.now;
            let took = swarm.run_to_union(&[1, 2], &[root, whole], Millis(20_000)) - began;
            assert!(took < Millis(5_000), "{took:?} with two lost after {skipped} of {kind:?}");
        }
    }
}

#[test]
fn with_one_packet_in_twenty_lost_it_never_stands_still_for_five_seconds() {
    for seed in 1..=3 {
        let mut swarm = Swarm::new(8, 4, &capped(1_000_000), seed);
        swarm.loses = 20;
        let root = swarm.give(0, &contents(2 << 20, seed));
        let small: Vec<Root> = (0..200).map(|number| swarm.give(1, &contents(3_000, 100 + number))).collect();
        for at in 0..8 {
            if at != 0 {
                swarm.want(at, root, 2 * MIB, None);
            }
            small.iter().filter(|_| at != 1).for_each(|root| swarm.want(at, *root, 3_000, None));
        }
        let here = |swarm: &Swarm| -> usize {
            let count = |node: &super::swarm::Node| {
                node.files.len() * 1_000 + node.parts.values().map(|part| part.len()).sum::<usize>()
            };
            swarm.nodes.iter().map(count).sum()
        };
        let is_done = |swarm: &Swarm| swarm.nodes.iter().all(|node| node.files.len() == 201);
        while !is_done(&swarm) {
            let before = here(&swarm);
            swarm.run_until(swarm.now + Millis(5_000));
            assert!(here(&swarm) > before || is_done(&swarm), "seed {seed}: nothing came for 5 s");
        }
        assert!(swarm.now < Millis(30_000), "seed {seed}: {:?}", swarm.now);
    }
}

#[test]
fn neither_small_nor_large_files_starve() {
    let mut swarm = Swarm::new(2, 2, &capped(16_000_000), 7);
    let large = swarm.give(0, &contents(64 << 20, 7));
    let small: Vec<Root> = (0..2_000).map(|number| swarm.give(0, &contents(4_096, 1_000 + number))).collect();
    swarm.want(1, large, 64 * MIB, None);
    swarm.run_until(swarm.now + Millis(200));
    small.iter().for_each(|root| swarm.want(1, *root, 4_096, None));
    let began = swarm.now;
    let before = swarm.nodes[1].parts[&large].len();
    // 8 MB of small files with half of 16 MB/s.
    let took = swarm.run_to_union(&[1], &small, Millis(10_000)) - began;
    assert!(took < Millis(1_500), "the small ones took {took:?}");
    let chunks = swarm.nodes[1].parts[&large].len() - before;
    assert!(chunks >= 16, "{chunks} chunks of the large one came meanwhile");
    swarm.run_to_union(&[1], &[large], Millis(20_000));
}

#[test]
fn a_restart_goes_on_where_it_was_and_believes_nothing_it_does_not_check() {
    let mut swarm = Swarm::new(2, 2, &capped(4_000_000), 8);
    let root = swarm.give(0, &contents(4 << 20, 8));
    swarm.want(1, root, 4 * MIB, None);
    swarm.run_until(swarm.now + Millis(500));
    swarm.nodes[1].is_dead = true;
    swarm.run_until(swarm.now + Millis(100));
    let part = swarm.nodes[1].parts.get_mut(&root).unwrap();
    let kept = part.len() as u64;
    assert!((50..200).contains(&kept), "{kept}");
    let (at, torn) = part.iter().nth(10).map(|(at, bytes)| (*at, bytes.len())).unwrap();
    part.insert(at, vec![0; torn].into());
    swarm.restart(1);
    swarm.want(1, root, 4 * MIB, None);
    swarm.run_to_union(&[1], &[root], Millis(5_000));
    let chunk = u64::from(Geometry::of(4 * MIB).unwrap().chunk_bytes());
    let received = swarm.nodes[1].transfer.figures().received_bytes;
    assert_eq!(received, 4 * MIB - (kept - 1) * chunk);
}

#[test]
fn a_full_disk_is_tried_again() {
    let mut swarm = Swarm::new(2, 2, &Config::default(), 8);
    let root = swarm.give(0, &contents(1 << 20, 8));
    swarm.nodes[1].is_full = true;
    swarm.want(1, root, MIB, None);
    swarm.run_until(swarm.now + Millis(10_000));
    assert!(swarm.nodes[1].transfer.figures().received_bytes < 8 * MIB, "it does not fetch in vain all the time");
    swarm.nodes[1].is_full = false;
    let freed = swarm.now;
    let took = swarm.run_to_union(&[1], &[root], Millis(10_000)) - freed;
    assert!(took < Millis(3_000), "{took:?}");
}

#[test]
fn what_nobody_has_yet_comes_when_somebody_gets_it_and_takes_no_room_meanwhile() {
    let config = Config { parts_max: 2, ..Config::default() };
    let mut swarm = Swarm::new(3, 2, &config, 9);
    let lost: Vec<Root> = (0..4).map(|number| Root([number; 32])).collect();
    lost.iter().for_each(|root| swarm.want(2, *root, MIB, None));
    let (late, whole) = (contents(1 << 20, 9), contents(70, 9));
    let (root, small) = (Root::of(&late), Root::of(&whole));
    swarm.want(2, root, MIB, None);
    swarm.want(2, small, 70, None);
    swarm.run_until(swarm.now + Millis(12_000));
    let packets = swarm.packets;
    swarm.run_until(swarm.now + Millis(10_000));
    assert!(swarm.packets - packets < 400, "{} packets in 10 s of waiting", swarm.packets - packets);
    swarm.give(0, &late);
    swarm.give(0, &whole);
    let given = swarm.now;
    let took = swarm.run_to_union(&[2], &[root, small], Millis(60_000)) - given;
    assert!(took < Millis(15_000), "{took:?}");
    swarm.act(2, |transfer, around| lost.iter().for_each(|root| transfer.unwant(around, root)));
    assert_eq!(swarm.nodes[2].transfer.figures().wanted, 0);
    swarm.run_until(swarm.now + Millis(5_000));
    assert_eq!(swarm.nodes[2].transfer.next_due(), None, "with nothing to do it asks for no timer");
}
