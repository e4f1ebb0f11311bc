//! What comparing costs, and that everything goes over in bursts.

use super::{network::Net, node, path};
use crate::folder::{Config, Input};

/// A net of two that hold the same files, and are quiet.
fn two_alike(files: u32, seed: u64) -> Net {
    let mut net = Net::empty(seed, Config::default());
    for number in 1..=2 {
        for file in 0..files {
            net.disk(number).write(&path(&format!("{file}")), file.to_be_bytes().to_vec());
        }
    }
    net.start(&node(1));
    net.start(&node(2));
    net.unite(10_000);
    net.run(5_000);
    net
}

#[test]
fn one_difference_among_ten_thousand_costs_less_than_ten_kilobytes() {
    let mut net = two_alike(10_000, 1);
    net.words = 0;
    net.run(10_000);
    assert!(net.words < 2_000, "{} bytes said by two that agree, in ten seconds", net.words);

    // The push is lost, so that comparing has to find it.
    net.cut(&[node(1)], false);
    net.write(1, &path("one-more"), "");
    net.run(600);
    net.heal();
    net.words = 0;
    net.unite(5_000);
    assert!(net.words < 10_240, "{} bytes for one difference", net.words);
}

#[test]
fn two_that_share_nothing_exchange_everything_without_flooding() {
    let mut net = Net::new(2, 2, Config::default());
    net.cut(&[node(1)], true);
    net.run(3_000);
    for file in 0..3_000 {
        net.disk(1).write(&path(&format!("one/{file}")), "");
        net.disk(2).write(&path(&format!("two/{file}")), "");
    }
    for number in 1..=2 {
        net.feed(&node(number), Input::Overflowed);
    }
    net.run(3_000);
    net.words = 0;
    net.heal();
    let took = net.until(10_000, Net::is_union).unwrap();
    assert!(took < 2_500, "{took} ms");
    // About 110 bytes an entry, twice at the worst, and the listings.
    assert!(net.words < 6_000 * 300, "{} bytes", net.words);
    assert_eq!(net.state(1).counts().files, 6_000);
}

#[test]
fn a_push_that_is_lost_is_made_good() {
    let mut net = Net::new(4, 3, Config::default());
    net.loss = 300;
    for file in 0..50 {
        net.write(file % 4 + 1, &path(&format!("{file}")), "");
        net.run(20);
    }
    net.run(1_000);
    net.loss = 0;
    net.unite(15_000);
    assert_eq!(net.tree().len(), 50);
}
