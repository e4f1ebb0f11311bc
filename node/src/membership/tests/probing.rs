//! Asking others, for ourselves and for others, and doubting ourselves first.

use super::*;

#[test]
fn probe_without_answer_asks_three_helpers_and_then_accuses() {
    let mut story = Story::among(6);
    story.loses_its_link_to(2);
    assert!(matches!(story.messages_to(2)[..], [Message::Ping { target: Some(_), .. }]));
    story.after(331);
    let asked = requests(&story);
    assert_eq!(asked.len(), 3);
    for (helper, seq) in asked {
        story.receives(helper, Message::Nack { seq }, vec![]);
    }
    story.after(331);
    assert_eq!(story.status(2), Some(Status::Suspect));
    let told = story.sent.iter().rev().find(|(to, _)| *to == addr(2)).expect("the accused is told");
    assert_eq!(told.1.claims[0].status, Status::Suspect, "the accusation comes first");
    story.after(2_000);
    assert_eq!(story.events, [(MemberEventKind::Suspected, 2), (MemberEventKind::Died, 2)]);
}

/// Whom we asked for help, and under which number.
fn requests(story: &Story) -> Vec<(u32, u32)> {
    let is_request = |(to, datagram): &(SocketAddr, Datagram)| match datagram.message {
        Message::PingRequest { seq, .. } => (2..=20).find(|number| addr(*number) == *to).map(|helper| (helper, seq)),
        _ => None,
    };
    story.sent.iter().filter_map(is_request).collect()
}

#[test]
fn a_node_that_is_not_well_gives_a_suspect_another_chance_and_asks_it_itself() {
    let mut story = Story::among(6);
    story.loses_its_link_to(2);
    story.after(700);
    assert_eq!((story.status(2), story.state.health()), (Some(Status::Suspect), 3), "no helper said nack");
    story.after(1_800);
    story.forget_the_past();
    story.after(200);
    assert_eq!(story.status(2), Some(Status::Suspect), "its window is over, but are we one to judge?");
    let told = story.sent.iter().find(|(to, _)| *to == addr(2)).expect("it is told once more");
    assert_eq!(told.1.claims[0].status, Status::Suspect);
    story.after(2 * 4 * 300 + 10);
    assert_eq!(story.status(2), Some(Status::Dead), "once only");
}

#[test]
fn the_accused_is_told_at_once_and_refutes_within_one_round_trip() {
    let mut accuser = Story::among(6);
    let me = Identity { name: name(2), addr: addr(2), epoch: Epoch(100) };
    let mut accused = State::new(me, Config::default(), 7);
    accuser.loses_its_link_to(2);
    accuser.sent.clear();
    let mut accused_at = None;
    for _ in 0..700 {
        accuser.after(1);
        if accuser.status(2) == Some(Status::Suspect) {
            accused_at = Some(accuser.now);
            break;
        }
    }
    assert!(accused_at.is_some());
    let (_, accusation) = accuser.sent.iter().rev().find(|(to, _)| *to == addr(2)).expect("told at once").clone();
    // The wire is sound again: there and back.
    let mut answer = Vec::new();
    accused.handle(Millis(50_000), Input::Received { from: addr(1), datagram: accusation }, &mut answer);
    for effect in answer {
        if let Effect::Send { to, datagram } = effect
            && to == addr(1)
        {
            accuser.input(Input::Received { from: addr(2), datagram });
        }
    }
    assert_eq!(accuser.status(2), Some(Status::Alive));
    assert_eq!(accuser.events, [(MemberEventKind::Suspected, 2), (MemberEventKind::Refuted, 2)]);
}

#[test]
fn no_node_accuses_more_than_so_many_in_a_second_and_the_rest_have_their_turn_later() {
    let mut story = Story::among(60);
    let mut effects = Vec::new();
    story.state.arm_probe(Millis(story.now), &mut effects);
    story.take(effects);
    (2..=31).for_each(|number| story.loses_its_link_to(number));
    // Somebody can still be heard: it is they who are silent.
    let mut accused_in_the_first_second = 0;
    for step in 0..400 {
        story.hears(60, vec![]);
        story.after(100);
        if step == 9 {
            accused_in_the_first_second = story.events.len();
        }
    }
    assert_eq!(accused_in_the_first_second, 10);
    let suspected = story.events.iter().filter(|(kind, _)| *kind == MemberEventKind::Suspected).count();
    assert!(suspected > 20, "{suspected} were accused by and by");
}

#[test]
fn what_the_deaf_believe_they_keep_to_themselves() {
    let mut story = Story::among(9);
    story.now += 4_000;
    (2..=9).for_each(|number| story.loses_its_link_to(number));
    story.after(5_000);
    assert!(story.state.members().any(|member| member.status != Status::Alive), "we believe them gone");
    for (to, datagram) in &story.sent {
        let gossip = datagram.claims.iter().filter(|claim| claim.status != Status::Alive);
        assert!(gossip.map(|claim| claim.addr).all(|about| about == *to), "and say so to nobody but themselves");
    }
}

#[test]
fn who_hears_of_its_own_death_judges_nobody_for_a_while() {
    let mut story = Story::among(9);
    story.hears(3, vec![claim(1, 0, Status::Dead)]);
    story.loses_its_link_to(2);
    story.hears(4, vec![accusation(5, 4, true)]);
    story.after(9_000);
    assert_eq!((story.status(2), story.status(5)), (Some(Status::Alive), Some(Status::Suspect)));
}

#[test]
fn a_probe_during_much_of_which_we_slept_proves_nothing() {
    let mut story = Story::among(6);
    story.loses_its_link_to(2);
    story.after(331);
    for (helper, seq) in requests(&story) {
        story.receives(helper, Message::Nack { seq }, vec![]);
    }
    // Another timer finds us asleep for most of the rest; the probe's own deadline is met to the millisecond.
    let deadline = story.timers.iter().find(|(_, timer)| matches!(timer, Timer::ProbeDeadline { .. })).unwrap().0;
    story.now = deadline - 1;
    story.input(Input::TimerFired(Timer::Sync { due: Millis(story.now - 250) }));
    story.until(deadline);
    assert_eq!(story.status(2), Some(Status::Alive));
}

#[test]
fn sleeps_that_several_timers_noticed_count_once() {
    let mut stalls = probe::Stalls::default();
    for due in [1_000, 1_200, 1_900, 1_980] {
        stalls.fired(Millis(2_000), Millis(due), Millis(50));
    }
    assert_eq!(stalls.total(), Millis(1_000));
    stalls.fired(Millis(2_100), Millis(1_500), Millis(50));
    assert_eq!(stalls.total(), Millis(1_100), "from where the last one ended");
    stalls.fired(Millis(3_000), Millis(2_960), Millis(50));
    assert_eq!(stalls.total(), Millis(1_100), "a moment is none");
}

#[test]
fn helpers_are_first_those_who_have_just_answered_quickly() {
    let mut story = Story::among(40);
    for number in [7, 8] {
        story.state.round_trips.heard(Millis(story.now), &name(number), Millis(1));
    }
    story.state.round_trips.heard(Millis(story.now), &name(9), Millis(900));
    story.loses_its_link_to(2);
    story.after(331);
    let asked: std::collections::BTreeSet<u32> = requests(&story).into_iter().map(|(helper, _)| helper).collect();
    assert!(asked.len() == 3 && asked.contains(&7) && asked.contains(&8), "{asked:?}");
}

fn seq_of(message: &Message) -> u32 {
    match message {
        Message::Ping { seq, .. } | Message::PingRequest { seq, .. } | Message::Ack { seq } | Message::Nack { seq } => {
            *seq
        }
        _ => panic!("{message:?} has no number"),
    }
}

#[test]
fn an_answer_through_a_helper_clears_the_member() {
    let mut story = Story::among(6);
    story.loses_its_link_to(2);
    story.after(331);
    let is_request = |(_, datagram): &&(SocketAddr, Datagram)| matches!(datagram.message, Message::PingRequest { .. });
    let (to, datagram) = story.sent.iter().find(is_request).expect("a helper is asked").clone();
    let helper = (3..=6).find(|number| addr(*number) == to).unwrap();
    story.receives(helper, Message::Ack { seq: seq_of(&datagram.message) }, vec![]);
    story.after(5_000);
    assert_eq!(story.events, []);
}

#[test]
fn an_ack_from_somebody_else_clears_nobody() {
    let mut story = Story::among(3);
    story.loses_its_link_to(2);
    let seq = seq_of(story.messages_to(2)[0]);
    story.receives(77, Message::Ack { seq }, vec![]);
    story.after(700);
    assert_eq!(story.status(2), Some(Status::Suspect));
}

#[test]
fn a_helper_passes_the_answer_on_and_says_nack_to_silence() {
    let mut story = Story::among(4);
    let request = Message::PingRequest { seq: 7, target: name(3), addr: addr(99) };
    story.receives(2, request.clone(), vec![]);
    assert!(story.messages_to(99).is_empty(), "nobody can aim us");
    let seq = seq_of(story.messages_to(3)[0]);
    story.receives(3, Message::Ack { seq }, vec![]);
    assert_eq!(story.messages_to(2), [&Message::Ack { seq: 7 }]);

    story.forget_the_past();
    story.receives(2, request, vec![]);
    story.after(160);
    assert_eq!(story.messages_to(2), [&Message::Nack { seq: 7 }]);
    let seq = seq_of(story.messages_to(3)[0]);
    story.receives(3, Message::Ack { seq }, vec![]);
    assert_eq!(story.messages_to(2)[1..], [&Message::Ack { seq: 7 }], "late, but an answer");
}

#[test]
fn late_timer_makes_a_probe_inconclusive() {
    let mut story = Story::among(6);
    story.state.arm_probe(Millis(story.now), &mut Vec::new());
    let due = story.state.probe_due;
    story.now = due.0;
    story.input(Input::TimerFired(Timer::Probe { due }));
    story.timers.retain(|(_, timer)| !matches!(timer, Timer::Probe { .. }));
    story.sleeps(5_000);
    story.after(5_000);
    assert_eq!(story.events, [], "we were asleep, not they");
    assert_eq!(story.state.health(), 1);
}

#[test]
fn a_lost_link_is_asked_after_again_when_we_were_asleep() {
    let mut story = Story::among(6);
    story.loses_its_link_to(2);
    story.sleeps(5_000);
    assert_eq!(story.status(2), Some(Status::Alive));
    story.after(2_000);
    assert_eq!(story.status(2), Some(Status::Suspect), "asked again, with doubled patience");
}

#[test]
fn a_suspicion_that_ran_out_while_we_slept_waits_for_the_socket() {
    let mut story = Story::among(6);
    story.hears(3, vec![accusation(2, 3, true)]);
    story.sleeps(30_000);
    assert_eq!(story.status(2), Some(Status::Suspect));
    story.hears(2, vec![claim(2, 1, Status::Alive)]);
    story.after(30_000);
    assert_eq!(story.status(2), Some(Status::Alive));
}

#[test]
fn a_young_node_accuses_nobody_but_remembers_a_lost_link() {
    let mut story = Story::begins(Config::default());
    story.hears(2, (2..=6).map(|number| claim(number, 0, Status::Alive)).collect());
    story.forget_the_past();
    story.loses_its_link_to(2);
    while story.now < 9_990 {
        // Everybody but node2 answers.
        let pings: Vec<_> = std::mem::take(&mut story.sent);
        for (to, datagram) in pings {
            if let Message::Ping { seq, target: Some(target) } = datagram.message
                && to != addr(2)
            {
                story.receives(target.number().unwrap(), Message::Ack { seq }, vec![]);
            }
        }
        story.after(10);
    }
    assert_eq!(story.events, []);
    story.after(4_000);
    assert_eq!(story.events[0], (MemberEventKind::Suspected, 2));
}

#[test]
fn a_young_node_relays_what_others_say() {
    let mut story = Story::begins(Config::default());
    story.hears(2, (2..=6).map(|number| claim(number, 0, Status::Alive)).collect());
    story.hears(3, vec![accusation(2, 3, true)]);
    story.after(50);
    assert!(story.claims_about(2).iter().any(|c| c.status == Status::Suspect && c.accuser == Some(name(3))));
}

#[test]
fn a_lost_link_of_a_former_life_means_nothing() {
    let mut story = Story::among(4);
    story.input(Input::LinkLost { peer: name(2), epoch: Epoch(99) });
    story.input(Input::LinkLost { peer: name(44), epoch: Epoch(100) });
    assert!(story.sent.is_empty());
}

#[test]
fn a_ping_for_somebody_else_is_not_answered() {
    let mut story = Story::among(3);
    story.receives(2, Message::Ping { seq: 1, target: Some(name(9)) }, vec![]);
    assert!(story.sent.is_empty());
    story.receives(2, Message::Ping { seq: 2, target: Some(name(1)) }, vec![]);
    assert_eq!(story.messages_to(2), [&Message::Ack { seq: 2 }]);
}

#[test]
fn everybody_has_a_turn_in_every_round_whoever_comes_and_goes() {
    let mut story = Story::among(21);
    for round in 0..10 {
        let asked: Vec<_> = (0..20).filter_map(|_| story.state.table.next_to_probe(&mut story.state.rng)).collect();
        let different: std::collections::BTreeSet<_> = asked.iter().collect();
        assert_eq!((asked.len(), different.len()), (20, 20), "round {round}");
        assert_eq!(story.state.table.live(), 20);
        // One goes in the middle of a round, and comes back; nobody is left out or asked twice by it.
        let first: Vec<_> = (0..10).filter_map(|_| story.state.table.next_to_probe(&mut story.state.rng)).collect();
        let leaver = first[3].number().unwrap();
        story.hears_of_the_death_of(leaver, round);
        let rest: Vec<_> = (0..10).filter_map(|_| story.state.table.next_to_probe(&mut story.state.rng)).collect();
        assert!(rest.iter().all(|name| !first.contains(name)), "round {round}");
        story.hears(2, vec![claim(leaver, round + 1, Status::Alive)]);
        story.state.table.next_to_probe(&mut story.state.rng);
    }
}

/// It believed in two unreachable peers for ever: fewer than three of its probes had ever been answered.
#[test]
fn a_node_cut_off_in_its_first_seconds_finds_out_in_the_end() {
    let mut story = Story::begins(Config::default());
    story.hears(2, vec![claim(2, 0, Status::Alive), claim(3, 0, Status::Alive)]);
    story.until(29_000);
    assert_eq!((story.status(2), story.status(3)), (Some(Status::Alive), Some(Status::Alive)), "too young to judge");
    story.until(180_000);
    assert_eq!((story.status(2), story.status(3)), (Some(Status::Dead), Some(Status::Dead)));
}
