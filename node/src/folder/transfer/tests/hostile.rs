//! Whoever says what no correct node says gains nothing by it: nothing is believed, and what is remembered stays small.

use p2pnet_shared::{
    NodeName,
    wire::folder::{Bytes, ChunkSet, Root, Transfer as Said},
};

use super::{
    MIB,
    swarm::{Swarm, contents},
};
use crate::{folder::Config, time::Millis};

fn absurd(root: Root, number: u32) -> Vec<Said> {
    let other = Root::of(&number.to_le_bytes());
    let many: Vec<Root> = (0..2_000u32).map(|at| Root::of(&(number ^ at << 8).to_be_bytes())).collect();
    let bytes = Bytes::from(vec![7; 70_000]);
    let mut said = vec![
        Said::Seek { root: other },
        Said::Enough { root: other },
        Said::AskOutline { root: other },
        Said::AskOutline { root },
        Said::Suggest { root, chunks: vec![u32::MAX; 5_000] },
        Said::Suggest { root: other, chunks: (0..1_000).collect() },
        Said::Gained { roots: many.clone() },
        Said::Fetch { call: u64::from(number), roots: many.clone() },
        Said::Fetch { call: u64::MAX, roots: many[..256].to_vec() },
        Said::Bundle {
            call: 1,
            files: vec![(root, bytes.clone()), (other, bytes.clone())],
            lacking: many.clone(),
            later: many.clone(),
        },
        Said::Bundle { call: u64::MAX, files: vec![(other, bytes.clone())], lacking: vec![root], later: vec![root] },
        Said::Outline { root, values: vec![[1; 32]; 32 * 1024] },
        Said::Outline { root, values: Vec::new() },
    ];
    for root in [root, other] {
        for chunks in [
            ChunkSet::None,
            ChunkSet::Some(Vec::new()),
            ChunkSet::Some(vec![255; 9]),
            ChunkSet::Some(vec![255; 100_000]),
        ] {
            said.push(Said::Holds { root, chunks });
        }
        for chunk in [0, 63, 64, u32::MAX] {
            said.push(Said::AskChunk { root, chunk });
            said.push(Said::Cancel { root, chunk });
            said.push(Said::NoChunk { root, chunk, again_ms: Some(u32::MAX) });
            said.push(Said::NoChunk { root, chunk, again_ms: None });
            said.push(Said::Chunk { root, chunk, bytes: bytes.clone() });
            said.push(Said::Chunk { root, chunk, bytes: Bytes::new() });
        }
    }
    said
}

#[test]
fn absurd_messages_do_nothing_and_cost_bounded_memory() {
    let mut swarm = Swarm::new(3, 2, &Config::default(), 1);
    let (bytes, whole) = (contents(1 << 20, 1), contents(500, 2));
    let (root, small) = (Root::of(&bytes), Root::of(&whole));
    // Node 2 is a real neighbour gone mad; the others nobody has ever heard of.
    swarm.want(1, root, MIB, Some(2));
    swarm.want(1, small, 500, Some(2));
    swarm.run_until(swarm.now + Millis(20));
    let strangers: Vec<NodeName> = (0..600).map(|number| NodeName::numbered(100 + number)).collect();
    let mad = swarm.nodes[2].name.clone();
    for (number, from) in (0u32..).zip(strangers.iter().chain(std::iter::repeat_n(&mad, 40))) {
        let contents = if number % 2 == 0 { root } else { small };
        for said in absurd(contents, number) {
            swarm.act(1, |transfer, around| transfer.received(around, from, said));
        }
    }
    let transfer = &swarm.nodes[1].transfer;
    let sizes = transfer.sizes();
    assert!(sizes.iter().all(|(_, size, limit)| size <= limit), "{sizes:?}");
    assert_eq!(transfer.figures().wanted, 2);
    swarm.give(0, &bytes);
    swarm.give(0, &whole);
    let given = swarm.now;
    let took = swarm.run_to_union(&[1], &[root, small], Millis(20_000)) - given;
    assert!(took < Millis(6_000), "{took:?}");
}
