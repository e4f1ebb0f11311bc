//! Asking others, for ourselves and for others, and doubting ourselves first.

use super::*;

#[test]
fn probe_without_answer_asks_three_helpers_and_then_accuses() {
    let mut story = Story::among(6);
    story.loses_its_link_to(2);
    assert!(matches!(story.messages_to(2)[..], [Message::Ping { target: Some(_), .. }]));
    story.after(331);
    let asked = story.sent.iter().filter(|(_, datagram)| matches!(datagram.message, Message::PingRequest { .. }));
    assert_eq!(asked.count(), 3);
    story.after(331);
    assert_eq!(story.status(2), Some(Status::Suspect));
    let told = story.sent.iter().rev().find(|(to, _)| *to == addr(2)).expect("the accused is told");
    assert_eq!(told.1.claims[0].status, Status::Suspect, "the accusation comes first");
    story.after(2_000);
    assert_eq!(story.events, [(MemberEventKind::Suspected, 2), (MemberEventKind::Died, 2)]);
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
    story.after(240);
    assert_eq!(story.messages_to(2), [&Message::Nack { seq: 7 }]);
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
