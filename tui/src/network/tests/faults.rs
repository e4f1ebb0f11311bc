//! Faults as nodes report them.

use p2pnet_shared::fault::{ActiveFault, NodeSet};

use super::*;

fn active(json: &str, since: u64) -> ActiveFault {
    ActiveFault { fault: serde_json::from_str(json).unwrap(), since: UnixMillis(since), spared: NodeSet::default() }
}

const CUT: &str = r#"{"cut":{"from":"1","to":"2-3"}}"#;

#[test]
fn a_fault_is_known_with_those_who_obey_it_and_those_who_do_not() {
    let mut told = Told::of(3);
    told.now = 31_000;
    let first = told.says(1, Report::Faults { faults: vec![active(CUT, 30_000)] });
    assert_eq!((kinds(&first), first[0].text.as_str()), (vec![ChangeKind::Fault], "cut 1 | 2-3"));
    assert_eq!(told.says(2, Report::Faults { faults: vec![active(CUT, 30_010)] }), [], "told once");
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
        told.says(n, Report::Faults { faults: vec![active(CUT, 20_000)] });
    }
    assert_eq!(told.summary().faults[0].not_on, []);
    told.joins(2, 25_000, &[1, 2, 3], 26_000);
    assert_eq!((told.summary().faults[0].nodes, told.summary().faults[0].not_on.clone()), (2, vec![name(2)]));
    // Whoever is dead is neither with nor without it.
    told.dies(3, 27_000);
    assert_eq!((told.summary().faults[0].nodes, told.summary().faults[0].not_on.clone()), (1, vec![name(2)]));
}

#[test]
fn healing_is_told_once_and_starts_the_clock_anew() {
    let mut told = Told::of(2);
    let cut = r#"{"cut":{"from":"1","to":"2"}}"#;
    for n in 1..=2 {
        told.says(n, Report::Faults { faults: vec![active(cut, 20_000)] });
    }
    told.learns(1, MemberEventKind::Died, 2, Status::Dead, 25_000);
    told.now = 40_000;
    assert_eq!(kinds(&told.says(1, Report::Faults { faults: vec![] })), []);
    let last = told.says(2, Report::Faults { faults: vec![] });
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
    let changes = told.says(1, Report::Faults { faults: vec![active(r#"{"loss":{"percent":30}}"#, 5_000)] });
    assert_eq!(changes, []);
    told.feed(FeedLine::CaughtUp);
    assert_eq!((told.summary().faults[0].short.as_str(), told.summary().faults[0].for_ms), ("loss 30%", 15_000));
}
