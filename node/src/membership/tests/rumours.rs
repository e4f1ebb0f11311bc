//! What we believe of others, and what we answer when it is about us.

use super::*;

#[test]
fn suspect_that_refutes_in_time_stays_alive() {
    let mut story = Story::among(5);
    story.hears(3, vec![accusation(2, 3, false)]);
    story.after(2_000);
    story.hears(4, vec![claim(2, 1, Status::Alive)]);
    story.after(60_000);
    assert_eq!(story.status(2), Some(Status::Alive));
    let about_it: Vec<_> =
        story.events.iter().filter(|(_, member)| *member == 2).map(|(kind, _)| *kind).take(2).collect();
    assert_eq!(about_it, [MemberEventKind::Suspected, MemberEventKind::Refuted]);
}

#[test]
fn suspect_that_stays_silent_dies_when_its_window_is_over() {
    let mut story = Story::among(10);
    story.hears(3, vec![accusation(2, 3, false)]);
    let (shortest, longest) = Config::default().suspicion_bounds(10);
    assert_eq!((shortest, longest), (Millis(3_000), Millis(18_000)));
    story.after(17_990);
    assert_eq!(story.status(2), Some(Status::Suspect));
    story.after(20);
    assert_eq!(story.status(2), Some(Status::Dead));
    assert_eq!(story.state.member(&name(2)).unwrap().accusers, [name(3)]);
    assert_eq!(story.state.digest().members, 9);
}

#[test]
fn independent_accusers_shorten_the_window_and_repeated_ones_do_not() {
    let dies_after = |accusers: &[u32]| {
        let mut story = Story::among(10);
        for accuser in accusers {
            story.hears(*accuser, vec![accusation(2, *accuser, false)]);
        }
        let begin = story.now;
        while story.status(2) == Some(Status::Suspect) {
            story.after(10);
        }
        story.now - begin
    };
    assert_eq!(dies_after(&[3]), 18_000);
    assert_eq!(dies_after(&[3, 3, 3]), 18_000);
    assert_eq!(dies_after(&[3, 77, 78]), 18_000, "nobody knows 77 and 78");
    assert!((8_000..9_000).contains(&dies_after(&[3, 4])));
    assert_eq!(dies_after(&[3, 4, 5]), 3_000);
}

#[test]
fn a_lost_link_makes_the_window_short_for_everybody_who_hears_of_it() {
    let mut story = Story::among(100);
    story.hears(3, vec![accusation(2, 3, false)]);
    story.after(1_000);
    story.hears(3, vec![accusation(2, 4, true)]);
    story.after(1_990);
    assert_eq!(story.status(2), Some(Status::Suspect));
    story.after(20);
    assert_eq!(story.status(2), Some(Status::Dead));

    let mut story = Story::among(100);
    story.hears(3, vec![accusation(2, 3, true), accusation(2, 4, true), accusation(2, 5, true)]);
    story.after(1_510);
    assert_eq!(story.status(2), Some(Status::Dead), "three agree");
}

#[test]
fn the_events_tell_who_accused_whom_and_how_it_ended() {
    let mut story = Story::among(10);
    let told = |story: &Story, kind| {
        let event = story.announced.iter().rev().find(|event| event.kind == kind).expect("it was announced");
        (event.accuser.as_ref().and_then(NodeName::number), event.accusers, event.new_life)
    };
    story.hears(3, vec![accusation(2, 3, false)]);
    assert_eq!(told(&story, MemberEventKind::Suspected), (Some(3), 1, false));
    story.hears(4, vec![accusation(2, 4, false), accusation(2, 5, false)]);
    story.hears(2, vec![claim(2, 1, Status::Alive)]);
    assert_eq!(told(&story, MemberEventKind::Refuted), (Some(3), 3, false));
    story.hears(6, vec![Claim { incarnation: 1, ..accusation(2, 6, true) }]);
    story.hears(7, vec![Claim { incarnation: 1, ..accusation(2, 7, true) }]);
    story.after(3_000);
    assert_eq!(told(&story, MemberEventKind::Died), (Some(6), 2, false));
    story.hears(2, vec![claim(2, 2, Status::Alive)]);
    assert_eq!(told(&story, MemberEventKind::CameBack), (None, 0, false), "alive all the while");
    story.hears(2, vec![Claim { epoch: Epoch(101), ..claim(2, 0, Status::Alive) }]);
    assert_eq!(told(&story, MemberEventKind::Died), (None, 0, true), "known by its new life");
    assert_eq!(told(&story, MemberEventKind::CameBack), (None, 0, true));
}

#[test]
fn restarted_node_supersedes_its_former_self() {
    let mut story = Story::among(5);
    let newer = Claim { epoch: Epoch(200), addr: addr(99), ..claim(2, 0, Status::Alive) };
    story.hears(3, vec![newer.clone()]);
    assert_eq!(story.events, [(MemberEventKind::Died, 2), (MemberEventKind::CameBack, 2)]);
    let member = story.state.member(&name(2)).unwrap();
    assert_eq!((member.addr, member.epoch, member.incarnation), (addr(99), Epoch(200), 0));

    story.forget_the_past();
    story.hears(3, vec![claim(2, 900, Status::Dead), claim(2, 900, Status::Left)]);
    assert_eq!((story.status(2), story.events.len()), (Some(Status::Alive), 0), "what befell the former life is past");
    story.hears(4, vec![claim(2, 3, Status::Alive)]);
    assert_eq!(story.sent[0].0, addr(4), "whoever still believes in it is told");
    assert!(story.claims_about(2).contains(&&newer));
}

#[test]
fn restarted_node_returns_from_the_dead_and_from_having_left() {
    for end in [Status::Dead, Status::Left] {
        let mut story = Story::among(5);
        match end {
            Status::Dead => story.hears_of_the_death_of(2, 7),
            _ => story.hears(3, vec![claim(2, 7, end)]),
        }
        story.hears(3, vec![claim(2, 7, Status::Alive), claim(2, 7, Status::Suspect)]);
        assert_eq!(story.status(2), Some(end));
        story.forget_the_past();
        story.hears(3, vec![Claim { epoch: Epoch(101), ..claim(2, 0, Status::Alive) }]);
        assert_eq!(story.events, [(MemberEventKind::CameBack, 2)]);
    }
}

#[test]
fn late_rumour_of_the_dead_is_answered_and_lets_them_speak() {
    let mut story = Story::among(5);
    story.hears_of_the_death_of(2, 0);
    story.forget_the_past();
    story.hears(4, vec![claim(2, 0, Status::Alive)]);
    assert_eq!(story.events, []);
    assert_eq!(story.sent[0].0, addr(4));
    assert!(story.sent[0].1.claims.iter().any(|c| c.member == name(2) && c.status == Status::Suspect));
}

#[test]
fn accusation_of_ourselves_is_refuted_at_once() {
    let mut story = Story::among(5);
    story.hears(3, vec![accusation(1, 3, false)]);
    assert_eq!(story.state.incarnation(), 1);
    assert!(story.sent.len() >= 4, "three members and whoever said it");
    assert!(story.claims_about(1).iter().all(|c| c.incarnation == 1 && c.status == Status::Alive));
    assert_eq!(story.state.health(), 1, "if others do not hear us, we may be slow");
    story.hears(3, vec![accusation(1, 3, false)]);
    assert_eq!(story.state.incarnation(), 1, "that one is refuted already");
}

#[test]
fn absurd_incarnations_of_ourselves_saturate() {
    let mut story = Story::among(5);
    for incarnation in [7, u32::MAX - 1, u32::MAX, u32::MAX] {
        story.hears(3, vec![claim(1, incarnation, Status::Dead)]);
        assert!(story.state.incarnation() > 7);
        assert_eq!(story.state.digest().members, 5);
    }
    assert_eq!(story.state.incarnation(), u32::MAX);
}

#[test]
fn a_death_that_no_suspicion_announced_is_only_one() {
    let mut story = Story::among(50);
    story.hears(3, vec![claim(2, 0, Status::Dead), claim(4, 0, Status::Dead)]);
    assert_eq!((story.status(2), story.status(4)), (Some(Status::Suspect), Some(Status::Suspect)));
    story.hears(2, vec![claim(2, 1, Status::Alive)]);
    story.after(2_010);
    assert_eq!((story.status(2), story.status(4)), (Some(Status::Alive), Some(Status::Dead)));
}

#[test]
fn a_namesake_in_a_newer_life_is_reported_and_not_fought() {
    let mut story = Story::among(5);
    let namesake = Claim { epoch: Epoch(1001), ..claim(1, 0, Status::Alive) };
    story.hears(3, vec![namesake.clone()]);
    assert_eq!((story.state.superseded(), story.state.incarnation()), (Some(Epoch(1001)), 0));
    assert!(story.sent.is_empty());
    story.hears(1, vec![Claim { epoch: Epoch(1002), ..namesake }]);
    assert_eq!(story.state.superseded(), Some(Epoch(1002)), "also from its own mouth");
}

#[test]
fn our_own_words_thrown_back_at_us_change_nothing() {
    let mut story = Story::among(5);
    story.receives(1, Message::Ping { seq: 9, target: None }, vec![accusation(2, 1, true), claim(8, 0, Status::Alive)]);
    assert_eq!((story.sent.len(), story.events.len()), (0, 0));
}

#[test]
fn a_stranger_who_is_dead_or_nowhere_or_from_the_far_future_gets_no_row() {
    let mut story = Story::among(3);
    let nowhere = SocketAddr::from(([0, 0, 0, 0], 5000));
    let many = SocketAddr::from(([224, 0, 0, 1], 5000));
    story.hears(
        2,
        vec![
            claim(10, 0, Status::Dead),
            claim(11, 0, Status::Left),
            Claim { addr: nowhere, ..claim(12, 0, Status::Alive) },
            Claim { addr: many, ..claim(13, 0, Status::Alive) },
            Claim { epoch: Epoch(u64::MAX), ..claim(14, 0, Status::Alive) },
        ],
    );
    assert_eq!(story.state.members().count(), 2);
}

#[test]
fn a_full_table_learns_no_more_names() {
    let mut story = Story::begins(Config { members_max: 10, ..Config::default() });
    story.hears(2, (2..=40).map(|number| claim(number, 0, Status::Alive)).collect());
    assert_eq!(story.state.members().count(), 10);
    assert!(story.state.news.len() <= 11);
}

#[test]
fn a_node_that_sees_most_others_die_holds_its_tongue_for_a_while() {
    let mut story = Story::among(10);
    story.hears(3, (3..=8).map(|number| claim(number, 0, Status::Suspect)).collect());
    story.after(1_500);
    story.hears(3, vec![accusation(9, 3, true)]);
    story.hears(3, (3..=8).map(|number| claim(number, 0, Status::Dead)).collect());
    assert_eq!(story.state.digest().members, 4);
    story.after(9_000);
    assert_eq!(story.status(9), Some(Status::Suspect), "its window is over, but so is our credit");
    story.after(2_000);
    assert_eq!(story.status(9), Some(Status::Dead));
}

#[test]
fn news_is_told_often_enough_and_then_no_more() {
    let mut story = Story::among(9);
    story.hears(2, vec![claim(20, 0, Status::Alive)]);
    story.after(9);
    assert_eq!(story.sent.len(), 0, "news that arrives together travels together");
    story.after(10_000);
    assert_eq!(story.claims_about(20).len(), 8, "4 · ⌈log10(9 + 1 + 1)⌉");
    assert!(story.state.gossip_due.is_none(), "no round without news");
}

/// Among 1,000 nodes gossip misses somebody now and then; with the next regular comparison half a minute away, all agreed
/// only after 14 s.
#[test]
fn once_news_has_settled_states_are_compared() {
    let mut story = Story::among(5);
    story.timers.clear(); // no probes, whose failures would be news, too
    (story.state.sync_due, story.state.sync_latest) = (Millis(40_000), Millis(40_000));
    let compared = |story: &Story| story.sent.iter().filter(|(_, d)| matches!(d.message, Message::Sync { .. })).count();
    for number in 6..10 {
        story.hears(2, vec![claim(number, 0, Status::Alive)]);
        story.after(700);
        assert_eq!(compared(&story), 0, "while more comes in there is no point");
    }
    story.after(2_500);
    assert_eq!(compared(&story), 1, "and once is enough");
}
