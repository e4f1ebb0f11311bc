//! Contacts, full states, and coming back to the lost.

use super::*;

fn pings_to(story: &Story, number: u32) -> Vec<u32> {
    let number_of = |message: &&Message| match message {
        Message::Ping { seq, .. } => Some(*seq),
        _ => None,
    };
    story.messages_to(number).iter().filter_map(number_of).collect()
}

#[test]
fn a_contact_is_tried_again_with_backoff_until_it_answers() {
    let mut story = Story::begins(Config::default());
    story.input(Input::Contact { addr: addr(2) });
    assert_eq!(pings_to(&story, 2).len(), 1);
    assert_eq!(story.state.members().count(), 0, "nothing is believed of it");
    story.after(5_000);
    assert!((4..=5).contains(&pings_to(&story, 2).len()));
    story.after(60_000);
    let so_far = pings_to(&story, 2).len();
    story.after(60_000);
    assert!((5..=8).contains(&(pings_to(&story, 2).len() - so_far)), "for ever while we are alone, at a low rate");
}

#[test]
fn an_answered_contact_leads_to_a_comparison_of_states() {
    let mut story = Story::begins(Config::default());
    story.input(Input::Contact { addr: addr(2) });
    let seq = pings_to(&story, 2)[0];
    story.forget_the_past();
    story.receives(2, Message::Ack { seq }, vec![claim(2, 0, Status::Alive)]);
    assert!(matches!(story.messages_to(2)[..], [Message::Sync { .. }]));
    assert_eq!(story.claims_about(1)[0].addr, addr(1), "with who we are");
    let tries =
        |story: &Story| story.messages_to(2).iter().filter(|m| matches!(m, Message::Ping { target: None, .. })).count();
    story.after(9_000);
    assert_eq!(tries(&story), 0);
}

#[test]
fn a_differing_hash_is_answered_with_everything_and_an_equal_one_with_silence() {
    let mut story = Story::among(60);
    story.receives(2, Message::Sync { state_hash: story.state.state_hash() }, vec![]);
    assert!(story.sent.is_empty());
    story.receives(2, Message::Sync { state_hash: 0 }, vec![]);
    let names: std::collections::BTreeSet<_> =
        story.sent.iter().flat_map(|(_, datagram)| datagram.claims.iter().map(|c| c.member.clone())).collect();
    assert_eq!(names.len(), 60);
    let replies: Vec<_> = story.messages_to(2).iter().map(|m| **m == Message::State { reply: true }).collect();
    assert_eq!(replies.iter().filter(|reply| **reply).count(), 1);
    assert_eq!(replies.last(), Some(&true));
}

#[test]
fn full_states_are_rationed() {
    let mut story = Story::among(3);
    for _ in 0..1_000 {
        story.receives(2, Message::Sync { state_hash: 0 }, vec![]);
    }
    assert_eq!(story.sent.len(), 100);
    story.now += 1_000;
    story.receives(2, Message::Sync { state_hash: 0 }, vec![]);
    assert_eq!(story.sent.len(), 101);
}

#[test]
fn a_death_in_a_full_state_is_only_a_suspicion() {
    let mut story = Story::among(5);
    story.receives(2, Message::State { reply: false }, vec![claim(3, 0, Status::Dead), claim(4, 0, Status::Left)]);
    assert_eq!((story.status(3), story.status(4)), (Some(Status::Suspect), Some(Status::Left)));
}

#[test]
fn the_dead_are_reached_out_to_and_told_what_we_think() {
    let mut story = Story::among(5);
    story.hears_of_the_death_of(2, 4);
    story.forget_the_past();
    story.state.arm_reach_out(Millis(story.now), &mut Vec::new());
    let due = story.state.reach_out_due;
    story.now = due.0;
    story.input(Input::TimerFired(Timer::ReachOut { due }));
    let seq = pings_to(&story, 2)[0];
    assert_eq!(story.claims_about(2)[0].status, Status::Dead);
    story.receives(2, Message::Ack { seq }, vec![claim(2, 5, Status::Alive)]);
    assert_eq!(story.events, [(MemberEventKind::CameBack, 2)]);
    assert!(story.messages_to(2).iter().any(|m| matches!(m, Message::Sync { .. })));
}

#[test]
fn the_dead_lose_their_row_after_an_hour_and_their_address_is_kept() {
    let mut story = Story::begins(Config::default());
    story.hears(2, vec![claim(2, 0, Status::Alive)]);
    story.hears_of_the_death_of(2, 0);
    story.until(3_590_000);
    assert_eq!(story.status(2), Some(Status::Dead));
    story.until(3_620_000);
    assert_eq!(story.status(2), None);
    story.forget_the_past();
    story.until(3_720_000);
    assert!(!pings_to(&story, 2).is_empty(), "a partition of any length heals");
}

#[test]
fn who_leaves_tells_several_and_then_is_silent() {
    let mut story = Story::among(30);
    story.input(Input::Leave);
    let told: std::collections::BTreeSet<_> = story.sent.iter().map(|(to, _)| *to).collect();
    assert_eq!(told.len(), 10);
    assert!(story.claims_about(1).iter().all(|c| c.status == Status::Left));
    story.forget_the_past();
    story.receives(2, Message::Ping { seq: 1, target: Some(name(1)) }, vec![accusation(1, 2, false)]);
    story.after(60_000);
    assert_eq!((story.sent.len(), story.events.len()), (0, 0));
}

#[test]
fn an_impossible_contact_and_our_own_address_are_ignored() {
    let mut story = Story::begins(Config { seeds_max: 4, ..Config::default() });
    for bad in [addr(1), SocketAddr::from(([0, 0, 0, 0], 5000)), SocketAddr::from(([10, 0, 0, 9], 0))] {
        story.input(Input::Contact { addr: bad });
    }
    assert!(story.sent.is_empty());
    (10..40).for_each(|number| story.input(Input::Contact { addr: addr(number) }));
    assert_eq!((story.sent.len(), story.state.seeds.len()), (4, 4));
}
