//! Faults as nodes report them.

use p2pnet_shared::fault::{ActiveFault, NodeSet};

use super::*;

fn active(json: &str, since: u64) -> ActiveFault {
    ActiveFault { fault: serde_json::from_str(json).unwrap(), since: UnixMillis(since), spared: NodeSet::default() }
}

fn obeys(faults: Vec<ActiveFault>) -> Report {
    Report::Faults { faults, healed_at: None }
}

fn healed(at: u64) -> Report {
    Report::Faults { faults: Vec::new(), healed_at: Some(UnixMillis(at)) }
}

const CUT: &str = r#"{"cut":{"from":"1","to":"2-3"}}"#;

#[test]
fn a_fault_is_known_with_those_who_obey_it_and_those_who_do_not() {
    let mut told = Told::of(3);
    told.now = 31_000;
    let first = told.says(1, obeys(vec![active(CUT, 30_000)]));
    assert_eq!((kinds(&first), first[0].text.as_str()), (vec![ChangeKind::Fault], "cut 1 | 2-3"));
    assert_eq!(told.says(2, obeys(vec![active(CUT, 30_010)])), [], "told once");
    told.now = 32_000;
    let summary = told.summary();
    let fault = &summary.faults[0];
    assert_eq!((fault.fault.as_str(), fault.short.as_str(), fault.kind), ("cut 1 | 2-3", "cut 1|2", "cut"));
    assert_eq!((fault.nodes, &fault.not_on, fault.for_ms), (2, &vec![name(3)], 2_000));
}

#[test]
fn a_restarted_node_obeys_nothing_and_is_named() {
    let mut told = Told::of(3);
    for n in 1..=3 {
        told.says(n, obeys(vec![active(CUT, 20_000)]));
    }
    assert_eq!(told.summary().faults[0].not_on, []);
    told.joins(2, 25_000, &[1, 2, 3], 26_000);
    assert_eq!((told.summary().faults[0].nodes, told.summary().faults[0].not_on.clone()), (2, vec![name(2)]));
    // Whoever is dead is neither with nor without it.
    told.dies(3, 27_000);
    assert_eq!((told.summary().faults[0].nodes, told.summary().faults[0].not_on.clone()), (1, vec![name(2)]));
}

#[test]
fn setting_a_fault_while_all_agree_is_no_agreement_in_no_time() {
    let mut told = Told::of(2);
    told.now = 31_000;
    told.says(1, obeys(vec![active(r#"{"loss":{"percent":30}}"#, 30_000)]));
    assert_eq!(told.summary().converged_in_ms, Some(2_000), "from the start, as before");
    told.learns(1, MemberEventKind::Died, 2, Status::Dead, 32_000);
    assert_eq!(told.summary().converging_for_ms, Some(2_000), "from the fault");
}

#[test]
fn healing_is_told_once_and_starts_the_clock_anew() {
    let mut told = Told::of(2);
    let cut = r#"{"cut":{"from":"1","to":"2"}}"#;
    for n in 1..=2 {
        told.says(n, obeys(vec![active(cut, 20_000)]));
    }
    told.learns(1, MemberEventKind::Died, 2, Status::Dead, 25_000);
    told.now = 40_000;
    assert_eq!(kinds(&told.says(1, healed(40_000))), []);
    let last = told.says(2, healed(40_000));
    assert_eq!((kinds(&last), last[0].text.as_str()), (vec![ChangeKind::Healed], "healed: cut 1 | 2"));
    assert_eq!(told.summary().faults, []);
    told.learns(1, MemberEventKind::CameBack, 2, Status::Alive, 41_500);
    assert_eq!(told.summary().converged_in_ms, Some(1_500), "from the heal");
}

#[test]
fn whoever_attaches_later_knows_the_fault_without_taking_it_for_news() {
    let mut told = Told { network: Network::new("lab".parse().unwrap(), "process"), now: 20_000 };
    told.truth(Truth::Listed(vec![unit(1, UnitState::Up, 1_000)]));
    told.joins(1, 1_000, &[1], 3_000);
    let changes = told.says(1, obeys(vec![active(r#"{"loss":{"percent":30}}"#, 5_000)]));
    assert_eq!(changes, []);
    told.feed(FeedLine::CaughtUp);
    assert_eq!((told.summary().faults[0].short.as_str(), told.summary().faults[0].for_ms), ("loss 30%", 15_000));
}

/// Seen on screen: `status` after a heal counted from a message's late arrival, 30 s after it was sent.
#[test]
fn whoever_attaches_after_a_heal_counts_from_the_heal() {
    let mut told = Told { network: Network::new("lab".parse().unwrap(), "process"), now: 60_000 };
    told.truth(Truth::Listed((1..=2).map(|n| unit(n, UnitState::Up, 1_000)).collect()));
    let id = message(2, 1);
    for n in 1..=2 {
        told.joins(n, 1_000, &[1, 2], 41_000);
        told.says(n, healed(40_000));
        let path = if n == 1 { vec![2, 1] } else { vec![2] };
        told.says(n, Report::Delivered(delivery(&id, if n == 1 { 41_500 } else { 30_000 }, &path)));
    }
    told.feed(FeedLine::CaughtUp);
    assert_eq!(told.summary().converged_in_ms, Some(1_500));
}
