//! The store's numbers by reports made by hand; and any reports at all, by chance.

use p2pnet_shared::{
    NodeName, UnixMillis,
    ring::{Place, Ring},
    telemetry::{DiskState, FeedLine, HeldKey, KeyCounts, Moving, Report},
};
use proptest::prelude::*;

use super::{
    super::{
        Change, ChangeKind, Observation, Verdict,
        tests::{Told, kinds, name, unit},
    },
    RingCounts,
    account::{Account, Meant, PLACES_MAX, Standing},
};
use crate::cluster::{Truth, UnitState};

const VERSION: u64 = 7;

fn key(place: u64, version: u64) -> HeldKey {
    HeldKey { place: Place(place), versions: Some(version) }
}

fn gone(place: u64) -> HeldKey {
    HeldKey { place: Place(place), versions: None }
}

fn ring_of(nodes: impl IntoIterator<Item = u32>) -> Report {
    let ring = Ring::of(64, nodes.into_iter().map(NodeName::numbered));
    Report::Ring { digest: ring.digest(), at: UnixMillis(3_000) }
}

impl Told {
    /// As [`Told::of`], with a ring, and the keys at places 16, 32 … on three nodes each, clockwise by number.
    fn with_keys(nodes: u32, keys: u64) -> Self {
        let mut told = Self::of(nodes);
        for node in 1..=nodes {
            told.says(node, ring_of(1..=nodes));
            let held = (0..keys).filter(|key| holders(*key, nodes).contains(&node));
            let held: Vec<HeldKey> = held.map(|number| key((number + 1) * 16, VERSION)).collect();
            told.says(node, Report::Keys(KeyCounts { keys: held.len() as u64, ..KeyCounts::default() }));
            told.says(node, Report::Held { anew: true, sampled: 0, keys: held });
        }
        told.later(5_000);
        told
    }

    fn later(&mut self, ms: u64) -> Vec<Change> {
        self.now += ms;
        self.feed(FeedLine::Idle)
    }

    fn holds(&mut self, node: u32, keys: &[HeldKey]) -> Vec<Change> {
        self.says(node, Report::Held { anew: false, sampled: 0, keys: keys.to_vec() })
    }

    fn ring(&self) -> RingCounts {
        self.network.ring_counts(UnixMillis(self.now))
    }

    /// The survivors believe no more in a node, and have the ring without it.
    fn mourned(&mut self, dead: u32, nodes: u32) {
        use p2pnet_shared::{telemetry::MemberEventKind, wire::membership::Status};
        for node in (1..=nodes).filter(|node| *node != dead) {
            self.learns(node, MemberEventKind::Died, dead, Status::Dead, self.now);
            self.says(node, ring_of((1..=nodes).filter(|node| *node != dead)));
        }
    }
}

fn holders(key: u64, nodes: u32) -> Vec<u32> {
    (0..3.min(nodes)).map(|copy| ((key + u64::from(copy)) % u64::from(nodes)) as u32 + 1).collect()
}

fn texts(changes: &[Change]) -> Vec<&str> {
    changes.iter().map(|change| change.text.as_str()).collect()
}

#[test]
fn a_kill_leaves_two_copies_a_second_one_and_repair_brings_them_back() {
    let mut told = Told::with_keys(6, 6);
    let ring = told.ring();
    assert_eq!((ring.keys, ring.copies, ring.under_replicated, ring.agree), (6, [0, 0, 0, 6], 0, 6));
    assert_eq!((ring.wanted, ring.unreachable, ring.held), (3, 0, 18));
    assert!(told.summary().converged, "{}", told.summary().reason);

    let changes = told.dies(1, 30_000);
    assert!(texts(&changes).contains(&"3 keys short of copies: 3 with 2"), "{changes:?}");
    let ring = told.ring();
    assert_eq!((ring.keys, ring.copies, ring.under_replicated), (6, [0, 0, 3, 3], 3));
    told.dies(2, 31_000);
    let ring = told.ring();
    assert_eq!((ring.copies, ring.under_replicated, ring.unreachable), ([0, 2, 2, 2], 4, 0));
    told.now = 32_000;
    assert_eq!(told.ring().repairing_for_ms, Some(1_000), "from the last end");
    let copies = told.network.copies(Place(16));
    assert_eq!((copies.live, copies.down), (vec![name(3)], vec![name(1), name(2)]));
    assert_eq!(told.network.short_places(2), [(Place(16), 1), (Place(96), 1)]);

    // Key 1 was on 1, 2, 3; key 2 on 2, 3, 4; key 5 on 5, 6, 1; key 6 on 6, 1, 2.
    told.now = 33_000;
    told.holds(4, &[key(16, VERSION), key(96, VERSION)]);
    let changes = told.holds(5, &[key(16, VERSION), key(32, VERSION), key(96, VERSION)]);
    assert!(changes.is_empty(), "one is still short: {changes:?}");
    let changes = told.holds(4, &[key(80, VERSION)]);
    assert_eq!(texts(&changes), ["every key has its copies again, after 2.0 s"]);
    let ring = told.ring();
    assert_eq!((ring.under_replicated, ring.copies, ring.repair_window_ms), (0, [0, 0, 0, 6], Some(2_000)));
    assert_eq!(ring.repairing_for_ms, None);
}

#[test]
fn keys_whose_holders_are_all_down_are_out_of_reach_until_one_is_back() {
    let mut told = Told::with_keys(6, 6);
    for node in 1..=3 {
        told.dies(node, 30_000 + u64::from(node));
    }
    let changes = told.later(2_500);
    let ring = told.ring();
    assert_eq!((ring.unreachable, ring.copies[0], ring.keys), (1, 1, 6));
    let summary = told.summary();
    assert_eq!((summary.verdict, summary.reason.starts_with("a key is out of reach")), (Verdict::Degraded, true));
    assert!(changes.is_empty(), "it was told at once: {changes:?}");
    // It starts again: until it says so itself, nobody knows that its disk is whole.
    told.truth(Truth::Changed(unit(2, UnitState::Up, 40_000)));
    assert_eq!(told.ring().unreachable, 1);
    told.now = 41_000;
    told.joins(2, 40_000, &[1, 2, 3, 4, 5, 6], 40_100);
    assert_eq!(told.ring().unreachable, 1);
    let held = Report::Held { anew: true, sampled: 0, keys: vec![key(16, VERSION), key(32, VERSION)] };
    let changes = told.says(2, held);
    assert_eq!((told.ring().unreachable, texts(&changes)), (0, vec!["every key is within reach again"]));
}

#[test]
fn what_a_node_lost_with_its_disk_is_gone() {
    let mut told = Told::with_keys(6, 6);
    told.dies(1, 30_000);
    told.truth(Truth::Changed(unit(1, UnitState::Up, 31_000)));
    told.now = 32_000;
    told.joins(1, 31_000, &[1, 2, 3, 4, 5, 6], 31_100);
    told.says(1, Report::Keys(KeyCounts::default()));
    let ring = told.ring();
    assert_eq!((ring.copies, ring.under_replicated), ([0, 0, 3, 3], 3));
    assert_eq!(told.network.copies(Place(16)).down, []);
}

#[test]
fn copies_on_a_paused_node_are_neither_live_nor_lost() {
    let mut told = Told::with_keys(3, 1);
    for node in 1..=3 {
        told.now = 30_000;
        told.truth(Truth::Changed(unit(node, UnitState::Paused, 30_000)));
        let ring = told.ring();
        assert_eq!(ring.unreachable, 0, "{node} paused: nothing is lost");
        assert_eq!(ring.copies[3 - node as usize], 1);
        assert_eq!(ring.on_paused, u64::from(node == 3));
    }
    assert_eq!(told.network.copies(Place(16)).paused.len(), 3);
    told.truth(Truth::Changed(unit(2, UnitState::Up, 40_000)));
    assert_eq!((told.ring().copies, told.ring().on_paused), ([0, 1, 0, 0], 0), "the same life needs not tell again");
    assert_eq!(told.ring().under_replicated, 0, "as many copies as nodes are up");
}

#[test]
fn a_write_is_being_written_for_a_while_and_then_it_is_short() {
    let mut told = Told::with_keys(5, 0);
    assert_eq!(told.ring().keys, 0);
    told.now = 40_000;
    let changes = told.holds(1, &[key(64, 1)]);
    assert!(changes.is_empty(), "{changes:?}");
    let ring = told.ring();
    assert_eq!((ring.under_replicated, ring.writing, ring.copies), (1, 1, [0, 1, 0, 0]));
    let summary = told.summary();
    assert_eq!((summary.verdict, summary.reason.as_str()), (Verdict::Converging, "a key is being written"));
    told.now = 40_300;
    told.holds(2, &[key(64, 1)]);
    told.holds(3, &[key(64, 1)]);
    assert_eq!((told.ring().under_replicated, told.summary().converged_in_ms), (0, Some(300)));

    told.now = 50_000;
    told.holds(2, &[key(64, 2)]);
    assert_eq!(told.ring().copies, [0, 1, 0, 0], "the newer version has one copy");
    let changes = told.later(2_500);
    assert_eq!(texts(&changes), ["1 key short of copies: 1 with 1"]);
    let copies = told.network.copies(Place(64));
    assert_eq!((copies.live, copies.stale), (vec![name(2)], vec![name(1), name(3)]));
    told.holds(1, &[key(64, 2)]);
    let changes = told.holds(3, &[key(64, 2)]);
    assert_eq!(kinds(&changes), [ChangeKind::KeysWhole]);
}

#[test]
fn a_deleted_key_is_forgotten_also_where_its_holder_is_down() {
    let mut told = Told::with_keys(4, 1);
    told.dies(3, 30_000);
    assert_eq!(told.ring().under_replicated, 1);
    told.holds(1, &[gone(16)]);
    assert_eq!(told.ring().keys, 1, "one gave it up, another has it");
    told.holds(2, &[gone(16)]);
    let ring = told.ring();
    assert_eq!((ring.keys, ring.unreachable, ring.under_replicated), (0, 0, 0));
}

#[test]
fn a_key_deleted_just_before_its_last_teller_died_is_not_out_of_reach() {
    let mut told = Told::with_keys(4, 1);
    told.now = 30_000;
    told.holds(1, &[gone(16)]);
    told.holds(2, &[gone(16)]);
    told.dies(3, 30_400);
    let ring = told.ring();
    assert_eq!((ring.unreachable, ring.under_replicated, ring.keys), (0, 0, 0));
    // Long after, it is no excuse: a copy that others gave up is the last one.
    let mut told = Told::with_keys(4, 1);
    told.now = 30_000;
    told.holds(1, &[gone(16)]);
    told.holds(2, &[gone(16)]);
    told.later(5_000);
    told.dies(3, 40_000);
    assert_eq!(told.ring().unreachable, 1);
}

#[test]
fn a_deletion_that_nodes_tell_of_one_after_the_other_is_no_repair() {
    let mut told = Told::with_keys(4, 2);
    let window = told.ring().repair_window_ms;
    for node in 1..=3 {
        told.now += 300;
        assert_eq!(texts(&told.holds(node, &[gone(16)])), Vec::<&str>::new());
    }
    assert_eq!((told.ring().keys, told.ring().repair_window_ms), (1, window));
    assert!(told.ring().repairing_for_ms.is_none());
    assert_eq!(told.summary().converged_in_ms, Some(0), "from the last word of it, as it was told");
    told.holds(4, &[gone(32)]);
    let changes = told.later(3_000);
    assert_eq!(texts(&changes), ["1 key short of copies: 1 with 2"], "a copy that went and did not come elsewhere");
}

#[test]
fn a_handed_over_copy_is_no_deletion() {
    let mut told = Told::with_keys(4, 1);
    told.holds(4, &[key(16, VERSION)]);
    told.holds(1, &[gone(16)]);
    assert_eq!((told.ring().keys, told.ring().copies), (1, [0, 0, 0, 1]));
    assert_eq!(told.network.copies(Place(16)).live, [name(2), name(3), name(4)]);
}

#[test]
fn the_gateways_return_changes_nothing() {
    let mut told = Told::with_keys(6, 12);
    let before = told.ring();
    told.observe(Observation::FeedLost("restarted".into()));
    assert_eq!(told.summary().verdict, Verdict::Unknown, "the last numbers are shown, and nothing is claimed");
    told.observe(Observation::FeedBack);
    let again = Told::with_keys(6, 12);
    for node in 1..=6 {
        told.joins(node, 1_000, &[1, 2, 3, 4, 5, 6], 3_000);
        told.says(node, ring_of(1..=6));
        let held = again.network.keys.account.keys().filter(|(_, key)| {
            key.copies.iter().any(|copy| again.network.slots[usize::from(copy.slot)].name == name(node))
        });
        let held: Vec<HeldKey> = held.map(|(place, held)| key(place, held.current)).collect();
        told.says(node, Report::Keys(KeyCounts { keys: held.len() as u64, ..KeyCounts::default() }));
        told.says(node, Report::Held { anew: true, sampled: 0, keys: held });
        assert_eq!(told.ring().copies, before.copies, "what it held counts until it is told again");
    }
    assert!(told.feed(FeedLine::CaughtUp).is_empty());
    assert_eq!(told.ring(), before);
    // What a node does not repeat, it does not hold.
    told.says(1, Report::Held { anew: true, sampled: 0, keys: vec![] });
    assert_eq!(told.ring().under_replicated, 0);
    told.later(3_000);
    assert_eq!(told.ring().under_replicated, 6);
}

#[test]
fn who_looks_only_now_takes_what_most_have_for_current() {
    let mut told = Told::of(4);
    told.observe(Observation::FeedBack);
    for (node, version) in [(1, 8), (2, 9), (3, 9)] {
        told.joins(node, 1_000, &[1, 2, 3, 4], 3_000);
        told.says(node, Report::Held { anew: true, sampled: 0, keys: vec![key(16, version)] });
    }
    told.joins(4, 1_000, &[1, 2, 3, 4], 3_000);
    told.feed(FeedLine::CaughtUp);
    assert_eq!(told.network.copies(Place(16)).live, [name(2), name(3)]);
    told.dies(2, 30_000);
    told.dies(3, 30_000);
    assert_eq!(told.ring().unreachable, 1, "what node1 has is old");
}

#[test]
fn who_looks_during_a_repair_counts_from_the_last_end() {
    let mut told = Told { network: super::super::Network::new("lab".parse().unwrap(), "docker"), now: 20_000 };
    let dead = unit(4, UnitState::Dead, 13_000);
    told.truth(Truth::Listed((1..=3).map(|n| unit(n, UnitState::Up, 1_000)).chain([dead]).collect()));
    for node in 1..=3 {
        told.joins(node, 1_000, &[1, 2, 3], 15_000);
        told.says(node, ring_of(1..=3));
        let keys = if node == 3 { vec![] } else { vec![key(16, VERSION)] };
        told.says(node, Report::Held { anew: true, sampled: 0, keys });
    }
    assert!(told.feed(FeedLine::CaughtUp).iter().any(|change| change.kind == ChangeKind::KeysShort));
    assert_eq!(told.ring().repairing_for_ms, Some(7_000));
    told.now = 21_000;
    told.holds(3, &[key(16, VERSION)]);
    assert_eq!(told.ring().repair_window_ms, Some(8_000));
    // A node that held nothing is no reason to count a later repair from its end.
    told.truth(Truth::Changed(unit(4, UnitState::Up, 22_000)));
    told.now = 22_500;
    told.truth(Truth::Changed(unit(4, UnitState::Dead, 22_500)));
    told.now = 60_000;
    told.holds(3, &[gone(16)]);
    told.later(3_000);
    assert_eq!(told.ring().repairing_for_ms, Some(0));
}

#[test]
fn keys_that_a_pause_left_short_are_not_short_since_an_earlier_death() {
    let mut told = Told { network: super::super::Network::new("lab".parse().unwrap(), "process"), now: 20_000 };
    let (dead, paused) = (unit(4, UnitState::Dead, 13_000), unit(5, UnitState::Paused, 1_000));
    told.truth(Truth::Listed((1..=3).map(|n| unit(n, UnitState::Up, 1_000)).chain([dead, paused]).collect()));
    for node in [1, 2, 3, 5] {
        told.joins(node, 1_000, &[1, 2, 3], 15_000);
        let keys = if node == 3 { vec![] } else { vec![key(16, VERSION)] };
        told.says(node, Report::Held { anew: true, sampled: 0, keys });
    }
    told.feed(FeedLine::CaughtUp);
    assert_eq!(told.ring().repairing_for_ms, Some(0));
}

#[test]
fn the_ring_that_is_right_follows_from_the_members_there_are() {
    let mut told = Told::with_keys(4, 0);
    assert_eq!(told.ring().agree, 4);
    told.says(2, ring_of(1..=3));
    let summary = told.summary();
    assert_eq!((summary.ring.agree, summary.members.agree), (3, 4));
    assert_eq!((summary.verdict, summary.reason.as_str()), (Verdict::Converging, "node2 sees another ring"));
    assert_eq!(told.network.other_rings().collect::<Vec<_>>(), [&name(2)]);
    told.says(2, ring_of(1..=4));
    assert!(told.summary().converged);
    // A paused node is still on the rings of those who believe it alive, and they are right.
    told.truth(Truth::Changed(unit(4, UnitState::Paused, 30_000)));
    assert_eq!((told.ring().agree, told.summary().converged), (3, true), "{}", told.summary().reason);
    told.mourned(4, 4);
    assert_eq!(told.ring().agree, 3);
}

#[test]
fn the_number_of_virtual_nodes_is_learnt_from_the_nodes() {
    let mut told = Told::of(3);
    let ring = Ring::of(32, (1..=3).map(name));
    for node in 1..=3 {
        told.says(node, Report::Ring { digest: ring.digest(), at: UnixMillis(3_000) });
    }
    assert_eq!((told.ring().agree, told.ring().vnodes, &**told.network.ring()), (3, 32, &ring));
    let mut told = Told::with_keys(3, 0);
    told.network.expect_vnodes(8);
    told.later(1);
    assert_eq!((told.ring().agree, told.ring().vnodes), (0, 8), "the record is right, whatever they say");
}

#[test]
fn a_sample_is_scaled_and_marked() {
    let mut told = Told::with_keys(4, 0);
    for node in 1..=3 {
        let all = (1..=64).map(|place| key(place, VERSION)).filter(|key| node != 2 || key.place.0 % 8 == 0);
        let sampled = if node == 2 { 3 } else { 0 };
        told.says(node, Report::Held { anew: true, sampled, keys: all.collect() });
    }
    let ring = told.ring();
    assert_eq!((ring.estimated, ring.keys, ring.copies), (true, 64, [0, 0, 0, 64]));
    told.dies(2, 30_000);
    let ring = told.ring();
    assert_eq!((ring.estimated, ring.keys, ring.copies[3]), (false, 64, 0), "who is down limits nothing");
}

#[test]
fn hand_overs_are_told_once_they_are_over() {
    let mut told = Told::with_keys(4, 4);
    let moving = |ways: &[(u32, u64)]| {
        let moving = ways.iter().map(|(to, keys)| Moving { to: name(*to), keys: *keys, bytes: keys * 100 }).collect();
        Report::Keys(KeyCounts { keys: 3, moving, ..KeyCounts::default() })
    };
    told.now = 40_000;
    told.says(1, moving(&[(2, 40)]));
    let ring = told.ring();
    assert_eq!((ring.moving.ways, ring.moving.keys, ring.moving.bytes), (1, 40, 4_000));
    assert_eq!(told.network.movements().len(), 1);
    told.now = 41_000;
    told.says(1, moving(&[(2, 10)]));
    told.now = 41_500;
    assert!(told.says(1, moving(&[])).is_empty());
    let changes = told.later(1_000);
    assert_eq!(texts(&changes), ["handed 40 keys (4.0 KB) over to node2 in 1.5 s"]);
    assert_eq!(changes[0].node, Some(name(1)));
    told.says(1, moving(&[(2, 1), (3, 2)]));
    told.says(2, moving(&[(3, 2)]));
    told.says(1, moving(&[]));
    told.says(2, moving(&[]));
    let changes = told.later(1_000);
    assert_eq!(
        texts(&changes),
        ["5 keys (500 bytes) handed over in 0.0 s: node1 to node2, node1 to node3 and 1 more ways"]
    );
}

#[test]
fn a_full_disk_is_told_and_named() {
    let mut told = Told::with_keys(3, 3);
    let full = KeyCounts { keys: 3, disk: DiskState::Full, ..KeyCounts::default() };
    let changes = told.says(2, Report::Keys(full.clone()));
    assert_eq!(texts(&changes), ["its disk is full: nothing new is stored there"]);
    assert!(told.says(2, Report::Keys(full)).is_empty(), "told once");
    assert_eq!(told.ring().disks[0].node, name(2));
    let summary = told.summary();
    assert_eq!((summary.verdict, summary.reason.as_str()), (Verdict::Degraded, "the disk of node2 is full"));
    let changes = told.says(2, Report::Keys(KeyCounts { keys: 3, ..KeyCounts::default() }));
    assert_eq!(texts(&changes), ["its disk takes writes again"]);
}

#[test]
fn max_over_mean_is_of_keys_where_there_are_enough_of_them() {
    let mut told = Told::with_keys(4, 4);
    assert_eq!((told.ring().max_over_mean_of, told.ring().max_over_mean.is_some()), ("shares", true));
    for (node, keys) in [(1, 100), (2, 100), (3, 100), (4, 140)] {
        told.says(node, Report::Keys(KeyCounts { keys, ..KeyCounts::default() }));
    }
    assert_eq!((told.ring().max_over_mean_of, told.ring().max_over_mean), ("keys", Some(1.27)));
    assert_eq!(told.summary().detail[3].keys, Some(140));
}

#[test]
fn more_places_than_there_is_room_for_become_an_estimate() {
    let mut account = Account::default();
    account.stand(0, Standing::Live);
    let all: Vec<HeldKey> = (0..PLACES_MAX as u64 + 10).map(|place| key(place, 1)).collect();
    account.hold(UnixMillis(0), 0, 0, &all, Meant::History);
    account.check();
    assert_eq!((account.level(), account.held(0)), (1, PLACES_MAX / 2 + 5));
}

fn standings() -> impl Strategy<Value = Standing> {
    prop_oneof![Just(Standing::Live), Just(Standing::Paused), Just(Standing::Down)]
}

/// One thing an account is told.
#[derive(Debug, Clone)]
enum Step {
    Stand(usize, Standing),
    Anew(usize, bool),
    Hold(usize, u8, Vec<HeldKey>, bool),
    Forget(usize),
    Later(u64),
}

fn steps() -> impl Strategy<Value = Step> {
    let held = (0..12_u64, proptest::option::of(1..4_u64))
        .prop_map(|(place, versions)| HeldKey { place: Place(place), versions });
    let held = proptest::collection::vec(held, 0..6);
    prop_oneof![
        3 => (0..5_usize, standings()).prop_map(|(slot, standing)| Step::Stand(slot, standing)),
        1 => (0..5_usize, any::<bool>()).prop_map(|(slot, same)| Step::Anew(slot, same)),
        8 => (0..5_usize, 0..3_u8, held, any::<bool>()).prop_map(|(slot, s, keys, news)| Step::Hold(slot, s, keys, news)),
        1 => (0..5_usize).prop_map(Step::Forget),
        2 => (0..4_000_u64).prop_map(Step::Later),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is told, in whatever order: the running numbers are those of a recount.
    #[test]
    fn any_reports_keep_the_account_right(all in proptest::collection::vec(steps(), 1..60)) {
        let mut account = Account::default();
        let mut now = 10_000;
        for step in all {
            match step {
                Step::Stand(slot, standing) => account.stand(slot, standing),
                Step::Anew(slot, same_life) => account.anew(UnixMillis(now), slot, same_life),
                Step::Hold(slot, sampled, keys, news) => {
                    let meant = if news { Meant::News } else { Meant::History };
                    account.hold(UnixMillis(now), slot, sampled, &keys, meant);
                }
                Step::Forget(slot) => account.forget(slot),
                Step::Later(ms) => now += ms,
            }
            account.tick(UnixMillis(now));
            account.check();
        }
    }
}
