//! The ledger's checks are checked: each passes a history that can be true and fails one that cannot.

use std::collections::{BTreeMap, BTreeSet};

use crate::ledger::{
    Cut, Gap, History, Kind, Op, Outcome, Time, Violation, Wrong, check, check_answered, check_copies, check_end,
    summary,
};

/// Of key `k`, by client 1; times in seconds.
fn op(node: &str, kind: Kind, outcome: Outcome, invoked: Time, completed: Time) -> Op {
    let completed = Some(completed * 1_000_000).filter(|_| completed > 0);
    let (key, node) = ("k".to_owned(), node.to_owned());
    Op { client: 1, node, key, kind, outcome, invoked: invoked * 1_000_000, completed }
}

fn put(value: &str, invoked: Time, completed: Time) -> Op {
    op("node1", Kind::Put(value.to_owned()), Outcome::Acknowledged, invoked, completed)
}

/// A put whose user never learned what became of it.
fn open(value: &str, invoked: Time, completed: Time) -> Op {
    op("node1", Kind::Put(value.to_owned()), Outcome::Unknown, invoked, completed)
}

fn delete(invoked: Time, completed: Time) -> Op {
    op("node1", Kind::Delete, Outcome::Acknowledged, invoked, completed)
}

/// `seen` is separated by spaces.
fn get(seen: &str, invoked: Time, completed: Time) -> Op {
    let values: Vec<String> = seen.split_whitespace().map(str::to_owned).collect();
    let outcome = if values.is_empty() { Outcome::Missing } else { Outcome::Seen(values) };
    op("node2", Kind::Get, outcome, invoked, completed)
}

fn history(ops: impl IntoIterator<Item = Op>) -> History {
    History { ops: ops.into_iter().collect(), lateness: 1_000_000, ..History::default() }
}

fn wrongs(violations: &[Violation]) -> Vec<Wrong> {
    violations.iter().map(|violation| violation.wrong).collect()
}

#[track_caller]
fn fails(history: &History, wrong: Wrong, ops: &[usize]) -> String {
    let violations = check(history);
    assert_eq!(wrongs(&violations), [wrong], "{violations:?}");
    assert_eq!(violations[0].ops, ops);
    summary(&violations)
}

#[track_caller]
fn holds(history: &History) {
    assert_eq!(check(history), []);
}

/// Both sides of a cut from 10 s to 20 s, the reads blind until 25 s.
fn cut(mut history: History) -> History {
    let side: BTreeSet<String> = ["node1".to_owned()].into();
    history.cuts.push(Cut { side, from: 10_000_000, to: 20_000_000 });
    history.gaps.push(Gap::Blind { nodes: None, key: None, from: 10_000_000, to: 25_000_000 });
    history
}

fn through(node: &str, mut op: Op) -> Op {
    node.clone_into(&mut op.node);
    op
}

#[test]
fn a_history_of_one_register_holds() {
    holds(&history([get("", 1, 2), put("a", 3, 4), get("a", 5, 6), put("b", 7, 8), get("b", 9, 10), delete(11, 12)]));
    holds(&history([put("a", 1, 2), delete(3, 4), get("", 5, 6), put("b", 7, 8), get("b", 9, 10)]));
}

#[test]
fn while_a_write_is_under_way_its_value_and_the_old_one_are_right() {
    for seen in ["a", "b", "a b"] {
        holds(&history([put("a", 1, 2), put("b", 3, 8), get(seen, 4, 5)]));
    }
    let text = fails(&history([put("a", 1, 2), put("b", 3, 8), get("", 4, 5)]), Wrong::Lost, &[2, 0]);
    assert!(
        text.contains("key `k`") && text.contains("put a by client 1 through node1 [1.000000–2.000000 s]"),
        "{text}"
    );
}

#[test]
fn writes_at_the_same_time_may_both_survive_or_either() {
    for seen in ["a", "b", "a b"] {
        holds(&history([put("a", 1, 4), put("b", 2, 3), get(seen, 5, 6)]));
    }
    fails(&history([put("a", 1, 4), put("b", 2, 3), get("", 5, 6)]), Wrong::Lost, &[2, 1]);
}

#[test]
fn an_acknowledged_write_that_is_gone_is_lost() {
    fails(&history([put("a", 1, 2), get("", 3, 4)]), Wrong::Lost, &[1, 0]);
    // With nothing but an older value that was never certain, it is lost too.
    let older = [open("a", 1, 2), put("b", 4, 5), get("a", 7, 8)];
    fails(&history(older.clone()), Wrong::Lost, &[2, 1, 0]);
    let mut late = history(older);
    late.lateness = 3_000_000;
    holds(&late);
}

#[test]
fn a_write_left_open_may_have_happened_or_not_and_late() {
    holds(&history([open("a", 1, 0), get("", 2, 3), get("a", 4, 5), get("", 6, 7)]));
    holds(&history([put("a", 1, 2), open("b", 3, 0), get("b", 9, 10)]));
    let mut failed = open("b", 3, 4);
    failed.outcome = Outcome::Failed;
    fails(&history([put("a", 1, 2), failed, get("a b", 5, 6)]), Wrong::NeverWritten, &[2, 1]);
}

#[test]
fn what_nobody_wrote_or_not_yet_is_not_shown() {
    fails(&history([get("a", 1, 2)]), Wrong::NeverWritten, &[0]);
    fails(&history([get("a", 1, 2), put("a", 3, 4)]), Wrong::NeverWritten, &[0, 1]);
    holds(&history([get("a", 1, 4), put("a", 3, 6)]));
    // Not even where the promise has a gap.
    let mut blind = history([get("a", 1, 2)]);
    blind.gaps.push(Gap::Blind { nodes: None, key: None, from: 0, to: 9_000_000 });
    fails(&blind, Wrong::NeverWritten, &[0]);
}

#[test]
fn what_was_replaced_is_stale_alone_and_a_false_sibling_beside_what_replaced_it() {
    let stale = history([put("a", 1, 2), put("b", 3, 4), get("a", 5, 6)]);
    let violations = check(&stale);
    assert_eq!(wrongs(&violations), [Wrong::Lost, Wrong::Stale], "what replaced it is not there either");
    let beside = history([put("a", 1, 2), put("b", 3, 4), get("b a", 5, 6)]);
    let text = fails(&beside, Wrong::FalseSibling, &[2, 0, 1]);
    assert!(text.contains("was replaced by: put b"), "{text}");
    // b was under way when c replaced a: c may not have seen b, but it saw a.
    let third = history([put("a", 1, 2), put("b", 3, 6), put("c", 4, 5), get("b a", 7, 8)]);
    fails(&third, Wrong::FalseSibling, &[3, 0, 2]);
}

#[test]
fn deleted_keys_do_not_come_back() {
    fails(&history([put("a", 1, 2), delete(3, 4), get("a", 5, 6)]), Wrong::CameBack, &[2, 0, 1]);
    holds(&history([put("a", 1, 2), delete(3, 8), get("a", 4, 5), get("", 6, 7)]));
    holds(&history([put("a", 1, 6), delete(3, 4), get("a", 7, 8)]));
}

#[test]
fn a_delete_that_is_over_does_not_excuse_a_lost_write() {
    fails(&history([delete(1, 2), put("a", 3, 4), get("", 5, 6)]), Wrong::Lost, &[2, 1]);
    holds(&history([delete(1, 4), put("a", 3, 6), get("", 7, 8)]));
    // A delete that found nothing may have deleted in a first attempt.
    let nothing = op("node3", Kind::Delete, Outcome::Missing, 4, 5);
    holds(&history([put("a", 1, 2), nothing, get("", 7, 8)]));
}

#[test]
fn writes_on_two_sides_of_a_cut_are_both_shown_until_a_later_one_covers_them() {
    let writes = [put("a", 1, 2), put("b", 11, 12), through("node9", put("c", 13, 14))];
    let seen = |seen: &str| cut(history(writes.iter().cloned().chain([get(seen, 30, 31)])));
    holds(&seen("c b"));
    let text = fails(&seen("c"), Wrong::SiblingDropped, &[3, 1, 2]);
    assert!(text.contains("other side of a cut"), "{text}");
    fails(&seen("b"), Wrong::SiblingDropped, &[3, 2, 1]);
    // Without the cut either might have seen the other only if they were under way together; c came later.
    let whole = history(writes.iter().cloned().chain([get("c", 30, 31)]));
    holds(&whole);
    let later = [put("d", 40, 41), get("d", 42, 43)];
    holds(&cut(history(writes.iter().cloned().chain([get("c b", 30, 31)]).chain(later.clone()))));
    let covered = cut(history(writes.iter().cloned().chain(later).chain([get("d b", 44, 45)])));
    fails(&covered, Wrong::FalseSibling, &[5, 1, 3]);
}

#[test]
fn a_delete_on_one_side_of_a_cut_does_not_take_what_it_could_not_see() {
    let sides = [put("a", 1, 2), through("node9", delete(11, 12)), put("b", 13, 14)];
    holds(&cut(history(sides.iter().cloned().chain([get("b", 30, 31)]))));
    fails(&cut(history(sides.iter().cloned().chain([get("", 30, 31)]))), Wrong::SiblingDropped, &[3, 2, 1]);
}

#[test]
fn reads_in_a_gap_may_be_blind_but_not_after_it() {
    let stale = |at: Time| cut(history([put("a", 1, 2), put("b", 3, 4), get("b a", at, at + 1)]));
    holds(&stale(15));
    fails(&stale(26), Wrong::FalseSibling, &[2, 0, 1]);
    let mut one_side = history([put("a", 1, 2), get("", 5, 6)]);
    let nodes = |name: &str| Some([name.to_owned()].into());
    one_side.gaps.push(Gap::Blind { nodes: nodes("node7"), key: None, from: 0, to: 9_000_000 });
    fails(&one_side, Wrong::Lost, &[1, 0]);
    one_side.gaps.push(Gap::Blind { nodes: nodes("node2"), key: Some("k".to_owned()), from: 0, to: 9_000_000 });
    holds(&one_side);
}

#[test]
fn a_loss_beyond_the_promise_forgives_what_came_before_it_and_nothing_after() {
    let lost = |at: Time| {
        let mut history = history([put("a", 1, 2), put("b", 3, 4), get("a", 7, 8)]);
        history.gaps.push(Gap::Loss { key: Some("k".to_owned()), at: at * 1_000_000 });
        check(&history)
    };
    assert_eq!(lost(5), []);
    assert_eq!(wrongs(&lost(3)), [Wrong::Lost, Wrong::Stale], "b was acknowledged after the loss");
}

#[test]
fn a_request_without_an_answer_is_found() {
    let mut failed = get("", 5, 6);
    failed.outcome = Outcome::Unknown;
    let history = history([put("a", 1, 2), get("a", 3, 4), failed]);
    let gets = |kind: &Kind| *kind == Kind::Get;
    assert_eq!(wrongs(&check_answered(&history, 0, 9_000_000, gets)), [Wrong::Unanswered]);
    assert_eq!(check_answered(&history, 0, 4_000_000, gets), []);
    assert_eq!(check_answered(&history, 0, 9_000_000, |kind| matches!(kind, Kind::Put(_))), []);
}

#[test]
fn at_the_end_every_key_is_read_through_every_node_and_all_say_the_same() {
    let nodes = ["node1".to_owned(), "node2".to_owned()];
    let end = |ops: &[Op]| {
        let written = [put("a", 1, 8), through("node2", put("b", 2, 9))];
        check_end(&history(written.into_iter().chain(ops.iter().cloned())), &nodes, 10_000_000)
    };
    let first = through("node1", get("a b", 11, 12));
    assert_eq!(end(&[first.clone(), get("a b", 13, 14)]), []);
    assert_eq!(wrongs(&end(std::slice::from_ref(&first))), [Wrong::Unanswered]);
    assert_eq!(wrongs(&end(&[first.clone(), get("b a", 13, 14)])), [Wrong::Disagreement], "the same value first");
    assert_eq!(wrongs(&end(&[first.clone(), get("b", 13, 14)])), [Wrong::Disagreement]);
    assert_eq!(wrongs(&end(&[through("node1", get("", 11, 12)), get("", 13, 14)])), [Wrong::Lost]);
    // What was wrong before the calm is not held against the end.
    let before = through("node3", get("", 9, 10));
    assert_eq!(end(&[before, first, get("a b", 13, 14)]), []);
    assert_eq!(check_end(&history([open("a", 1, 2)]), &nodes, 10_000_000), [], "nothing was promised of this key");
}

#[test]
fn copies_lie_where_they_should_and_are_the_same() {
    let nodes = |names: &[&str]| -> BTreeSet<String> { names.iter().map(|name| (*name).to_owned()).collect() };
    let wanted: BTreeMap<String, BTreeSet<String>> = [("k".to_owned(), nodes(&["node1", "node2", "node3"]))].into();
    let copies = |held: &[(&str, u64)]| {
        let copies = held.iter().map(|(node, version)| ((*node).to_owned(), *version)).collect();
        check_copies(&[("k".to_owned(), copies)].into(), &wanted)
    };
    assert_eq!(copies(&[("node1", 7), ("node2", 7), ("node3", 7)]), []);
    let few = copies(&[("node1", 7), ("node3", 7)]);
    assert_eq!(wrongs(&few), [Wrong::TooFewCopies]);
    assert!(few[0].text.contains("2 of 3 copies: node2 lack it"), "{}", few[0]);
    assert_eq!(wrongs(&copies(&[("node1", 7), ("node2", 6), ("node3", 7)])), [Wrong::Outdated]);
    assert_eq!(wrongs(&copies(&[("node1", 7), ("node2", 7), ("node3", 7), ("node4", 7)])), [Wrong::Misplaced]);
    assert_eq!(wrongs(&check_copies(&BTreeMap::new(), &wanted)), [Wrong::TooFewCopies]);
    let nowhere = [("gone".to_owned(), [("node1".to_owned(), 7)].into())].into();
    assert_eq!(wrongs(&check_copies(&nowhere, &BTreeMap::new())), [Wrong::Misplaced]);
}
