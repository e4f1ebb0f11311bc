//! Nothing is the matter.

use super::*;

#[test]
fn a_network_without_keys_says_nothing() {
    let mut net = Net::new(20, Config::default());
    net.run(60_000);
    assert_eq!(net.packets, 0);
    assert!(net.events.is_empty(), "and nobody waits for anything");
}

#[test]
fn equal_replicas_exchange_one_small_digest_a_second() {
    let mut net = Net::new(10, Config::default());
    net.fill(500);
    net.until(10_000, Net::is_settled).expect("settled");
    net.run(10_000);
    net.sent.clear();
    net.run(60_000);
    for (name, (packets, bytes)) in &net.sent {
        assert!(*packets <= 60 && *bytes <= 60 * 120, "{name}: {packets} packets of {bytes} bytes in a minute");
    }
    assert_eq!(net.sent.len(), 10);
}

#[test]
fn one_key_wakes_only_those_who_hold_it() {
    let mut net = Net::new(10, Config::default());
    net.put_everywhere(&entry("apple", 1, 1, &[], Some("red")));
    net.run(30_000);
    let holders = net.holders("apple");
    // The fourth on the list is asked once whether it knows more.
    assert!(holders.len() == 3 && holders.iter().all(|name| net.sent.contains_key(name)));
    net.sent.clear();
    net.run(30_000);
    assert!(net.sent.keys().all(|name| holders.contains(name)), "{:?}", net.sent);
}

#[test]
fn a_lone_node_with_keys_says_nothing() {
    let mut net = Net::new(1, Config::default());
    net.fill(50);
    net.run(60_000);
    assert_eq!(net.packets, 0);
    assert!(net.is_whole(50));
}

#[test]
fn no_more_than_the_rate_is_sent() {
    let config = Config { repair_bytes_per_second: 20_000, ..Config::default() };
    let mut net = Net::new(1, config);
    net.fill(1_000);
    net.run(20_000);
    net.start(&node(2), BTreeMap::new());
    net.believe_truth();
    let mut waiting = 0;
    for _ in 0..60 {
        net.run(500);
        let one = &net.nodes[&node(1)];
        waiting = waiting.max(one.repair.moving(&one.store).iter().map(|moving| moving.keys).sum());
    }
    assert!(net.is_whole(1_000));
    assert!(waiting > 300, "what is left is told: {waiting} keys");
    let bytes = net.nodes[&node(1)].repair.bytes();
    let took = bytes as f64 / 20_000.0;
    assert!(took > 10.0, "{bytes} bytes");
    // Once more, with a stopwatch.
    net.start(&node(3), BTreeMap::new());
    let before = net.nodes[&node(1)].repair.bytes();
    net.believe_truth();
    net.run(5_000);
    let sent = net.nodes[&node(1)].repair.bytes() - before;
    assert!(sent < 5 * 20_000 + 3 * 64 * 1024, "{sent} bytes in five seconds");
}
