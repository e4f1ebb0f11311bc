//! The story of a member and the overlay's numbers, from what many observers say.

use p2pnet_shared::telemetry::MemberEventKind::{CameBack, Died, Refuted, Suspected};

use super::*;
use crate::network::Mode;

fn story(told: &Told, member: u32) -> Vec<String> {
    told.network.story(&name(member)).map(|chapter| chapter.text).collect()
}

fn says(told: &mut Told, observer: u32, at: u64, event: MemberEvent) -> Vec<Change> {
    told.now = told.now.max(at);
    told.says(observer, Report::Member { event, at: UnixMillis(at) })
}

#[test]
fn a_hundred_observers_of_one_death_are_one_chapter() {
    let mut told = Told::of(100);
    told.dies(7, 30_000);
    for observer in (1..=100).filter(|n| *n != 7) {
        says(&mut told, observer, 31_000, event(Suspected, 7, Status::Suspect, Some(3 + observer % 3)));
    }
    let mut told_last = Vec::new();
    for observer in (1..=100).filter(|n| *n != 7) {
        told_last = says(&mut told, observer, 32_100 + u64::from(observer) * 3, event(Died, 7, Status::Dead, Some(3)));
    }
    assert_eq!(
        story(&told, 7),
        [
            "ended by a signal or an error",
            "accused by node4 (+2 more)",
            "seen by 99 of 99, 2.1 s to 2.4 s after its end",
        ]
    );
    // The line of the log and of `watch --json` says the same.
    let known = told_last[0].known.expect("how far it is known");
    assert_eq!((known.by, known.of, known.first_ms, known.last_ms), (99, 99, Some(2_103), Some(2_400)));
    assert_eq!(told_last[0].text, "all 99 survivors know, first 2.1 s, last 2.4 s after its end");
}

#[test]
fn half_who_know_are_half_who_know() {
    let mut told = Told::of(10);
    told.dies(7, 30_000);
    for observer in 1..=4 {
        says(&mut told, observer, 33_000, event(Died, 7, Status::Dead, Some(3)));
    }
    assert_eq!(story(&told, 7)[1], "seen by 4 of 9, 3.0 s to 3.0 s after its end");
}

#[test]
fn who_speaks_up_and_who_comes_back_have_it_in_their_story() {
    let mut told = Told::of(5);
    for observer in 1..=4 {
        says(&mut told, observer, 30_000, event(Suspected, 5, Status::Suspect, Some(2)));
    }
    for observer in 1..=3 {
        says(&mut told, observer, 30_500, event(Refuted, 5, Status::Alive, None));
    }
    assert_eq!(story(&told, 5), ["accused by node2", "heard by 3 of 4"]);
    told.dies(5, 40_000);
    for observer in 1..=4 {
        says(&mut told, observer, 43_000, event(Died, 5, Status::Dead, Some(2)));
    }
    told.now = 50_000;
    told.truth(Truth::Changed(unit(5, UnitState::Up, 50_000)));
    told.joins(5, 50_000, &[1, 2, 3, 4, 5], 50_100);
    let mut last = Vec::new();
    for observer in 1..=4 {
        let mut back = event(CameBack, 5, Status::Alive, None);
        back.row.epoch = Epoch(50_000);
        last = says(&mut told, observer, 50_400, back);
    }
    let story = story(&told, 5);
    assert_eq!(story[2..4], ["ended by a signal or an error", "seen by 4 of 4, 3.0 s to 3.0 s after its end"]);
    assert_eq!(story[4..], ["started again", "new life, seen by 4 of 4, 0.4 s to 0.4 s after its start"]);
    assert!(last.iter().any(|change| change.text == "all 5 agree that it is back, 0.4 s after its start"), "{last:?}");
    let again = told.feed(FeedLine::Idle);
    assert!(again.iter().all(|change| change.kind != ChangeKind::CameBack), "told once");
}

/// Once it said `247 s after its start` of nodes that a cut had kept apart for half a minute.
#[test]
fn who_was_cut_off_and_is_heard_again_was_not_started() {
    let mut told = Told::of(4);
    for observer in 1..=3 {
        says(&mut told, observer, 40_000, event(Died, 4, Status::Dead, Some(2)));
    }
    let mut last = Vec::new();
    for observer in 1..=3 {
        let mut back = event(CameBack, 4, Status::Alive, None);
        back.row.incarnation = 1;
        last = says(&mut told, observer, 60_000 + u64::from(observer) * 100, back);
    }
    let story = story(&told, 4);
    assert_eq!(story.last().unwrap(), "it had not died, seen by 3 of 3, the last 0.2 s after the first");
    assert!(last.iter().any(|change| change.text == "all 4 agree that it is back"), "{last:?}");
}

#[test]
fn a_story_has_an_end_and_strangers_have_none() {
    let mut told = Told::of(3);
    for round in 0..100 {
        let mut accused = event(Suspected, 3, Status::Suspect, Some(2));
        accused.row.incarnation = round;
        says(&mut told, 1, 30_000, accused);
        says(&mut told, 1, 30_000, event(Suspected, 77, Status::Suspect, Some(2)));
    }
    assert_eq!(told.network.story(&name(3)).count(), crate::network::story::CHAPTERS_MAX);
    assert_eq!(told.network.story(&name(77)).count(), 0, "the engine knows of no node77");
}

fn links(of: &[(u32, bool)]) -> Report {
    let links = of.iter().map(|(peer, eager)| OverlayLink { peer: name(*peer), eager: *eager }).collect();
    Report::Links { links, at: UnixMillis(20_000) }
}

#[test]
fn a_link_counts_once_though_both_ends_tell_of_it() {
    let mut told = Told::of(4);
    assert_eq!(told.summary().overlay.mode, None);
    told.says(1, links(&[(2, true), (3, false)]));
    told.says(2, links(&[(1, true)]));
    told.says(3, links(&[(1, false), (4, true)]));
    let overlay = told.summary().overlay;
    assert_eq!((overlay.nodes, overlay.links, overlay.eager, overlay.lazy), (4, 3, 2, 1));
    assert_eq!((overlay.one_sided, overlay.mode), (1, Some(Mode::Tree)), "node4 has not told of its link");
    assert_eq!((overlay.degree_min, overlay.degree_max), (0, 2));
    assert!((overlay.degree_mean - 1.25).abs() < 0.001, "{}", overlay.degree_mean);
    let neighbours = told.network.neighbours(&name(1));
    let told_of: Vec<_> = neighbours.iter().map(|n| (n.name.as_str(), n.eager, n.back)).collect();
    assert_eq!(told_of, [("node2", true, Some(true)), ("node3", false, Some(false))]);
    assert_eq!(told.network.neighbours(&name(3))[0].back, None, "nor does its neighbour think so");
    told.dies(3, 30_000);
    assert_eq!(told.summary().overlay.links, 2, "the dead have no links, but node1 still tells of one");
}

#[test]
fn redundancy_and_ways_are_of_the_recent_messages() {
    let mut told = Told::of(3);
    assert_eq!((told.summary().messages.redundancy, told.summary().messages.last_hop), (None, None));
    for (at, all, redundant) in [(20_000, 1_000, 900), (25_000, 1_130, 930)] {
        told.now = at;
        let load = Load { payload_frames: all, redundant_frames: redundant, ..Load::default() };
        told.says(1, Report::Load(load));
    }
    let redundancy = told.summary().messages.redundancy.expect("payloads came");
    assert!((redundancy - 0.3).abs() < 0.001, "30 in vain for 100 that were news: {redundancy}");
    let id = message(1, 1);
    for (node, via, late, path) in
        [(1, Via::Own, false, vec![1]), (2, Via::Push, false, vec![1, 2]), (3, Via::Repair, true, vec![1, 2, 3])]
    {
        let delivery = Delivery { via, late, ..delivery(&id, 26_000, &path) };
        told.says(node, Report::Delivered(delivery));
    }
    let messages = told.summary().messages;
    let ways = messages.ways;
    assert_eq!((messages.last_hop, ways.push, ways.graft, ways.repair, ways.late), (Some(2), 1, 0, 1, 1));
}

/// It was waited for in vain: a link that starts over brings a snapshot, and the event that was missed is never told.
#[test]
fn the_last_survivor_whose_link_started_over_is_heard_by_its_snapshot() {
    let mut told = Told::of(4);
    told.dies(4, 30_000);
    told.learns(1, MemberEventKind::Died, 4, Status::Dead, 32_000);
    told.learns(2, MemberEventKind::Died, 4, Status::Dead, 32_100);
    told.now = 33_000;
    assert!(told.feed(FeedLine::Lost { node: name(3), at: UnixMillis(33_000) }).is_empty());
    told.says(3, Report::Hello { id: uuid::Uuid::nil(), epoch: Epoch(1_000), addr: "10.0.0.1:5000".parse().unwrap() });
    let members = vec![row(1, Status::Alive), row(2, Status::Alive), row(4, Status::Dead)];
    let changes = told.says(3, Report::Snapshot { members, deliveries: vec![], links: vec![] });
    assert_eq!(kinds(&changes), [ChangeKind::DeclaredDead, ChangeKind::Converged]);
    assert!(changes[0].text.starts_with("all 3 survivors know"), "{changes:?}");
}
