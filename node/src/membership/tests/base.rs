//! A shared base changes where rows are kept, never what is believed.

use std::{collections::BTreeSet, sync::Arc};

use proptest::prelude::*;

use super::*;
use crate::membership::table::Table;

fn identity(number: u32) -> Identity {
    Identity { name: name(number), addr: addr(number), epoch: Epoch(if number == 1 { 1000 } else { 100 }) }
}

/// What two tables must agree on, whatever they keep where.
fn seen(table: &Table) -> (Vec<Member>, usize, ViewDigest, u64, Vec<NodeName>) {
    let members: Vec<Member> = table.members().cloned().map(|member| Member { since: Millis(0), ..member }).collect();
    let around = table.clockwise(1 << 63).cloned().collect();
    (members, table.live(), table.digest(), table.state_hash(), around)
}

#[derive(Debug, Clone)]
enum Step {
    Hear(u32, u32, Status),
    Forget,
    Rebase(Vec<u32>),
    RebaseToSelf,
}

fn any_step() -> impl Strategy<Value = Step> {
    let status = prop_oneof![Just(Status::Alive), Just(Status::Suspect), Just(Status::Dead), Just(Status::Left)];
    prop_oneof![
        8 => (2_u32..30, 0_u32..4, status).prop_map(|(number, incarnation, status)| Step::Hear(number, incarnation, status)),
        1 => Just(Step::Forget),
        2 => prop::collection::vec(1_u32..30, 0..30).prop_map(Step::Rebase),
        2 => Just(Step::RebaseToSelf),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// The same story told to a node on a base and to one without: both believe the same at every step.
    #[test]
    fn a_base_changes_no_belief(known in 1_u32..30, steps in prop::collection::vec(any_step(), 1..60)) {
        let mut plain = Story::begins(Config::default());
        plain.hears(2, (2..=known).map(|number| claim(number, 0, Status::Alive)).collect());
        let mut based = Story::begins(Config::default());
        let base = Arc::new(Base::new((1..=known).map(identity)));
        based.state = State::with_base(identity(1), Config::default(), 42, base);
        for step in steps {
            match step {
                Step::Hear(number, incarnation, status) => {
                    for story in [&mut plain, &mut based] {
                        story.hears(3, vec![Claim { accuser: Some(name(3)), ..claim(number, incarnation, status) }]);
                    }
                }
                Step::Forget => {
                    let forgotten: Vec<BTreeSet<_>> = [&mut plain, &mut based]
                        .map(|story| story.state.table.forget(|member| member.incarnation > 0).into_iter().collect())
                        .into();
                    prop_assert_eq!(&forgotten[0], &forgotten[1]);
                }
                Step::Rebase(names) => based.state.rebase(Arc::new(Base::new(names.into_iter().map(identity)))),
                Step::RebaseToSelf => based.state.rebase(Arc::new(Base::from(&based.state))),
            }
            let (plain, based) = (&plain.state.table, &based.state.table);
            let accused = |(members, live, digest, hash, around): (Vec<Member>, _, _, _, _)| {
                let bare: Vec<_> = members.into_iter().map(|member| Member { accusers: Vec::new(), ..member }).collect();
                (bare, live, digest, hash, around)
            };
            prop_assert_eq!(accused(seen(plain)), accused(seen(based)));
            prop_assert_eq!(plain.len(), based.len());
            let gone = |table: &Table| table.gone().map(|m| m.name.clone()).collect::<BTreeSet<_>>();
            prop_assert_eq!(gone(plain), gone(based));
        }
        // Whoever lives has exactly one turn in a round, and can be picked; nobody else can.
        let State { table, rng, .. } = &mut based.state;
        let live: BTreeSet<NodeName> = table.members().filter(|m| m.status.is_live()).map(|m| m.name.clone()).collect();
        for _ in 0..2 {
            table.end_round(rng);
            let round: Vec<NodeName> = (0..live.len()).filter_map(|_| table.next_to_probe(rng)).collect();
            prop_assert_eq!(round.iter().cloned().collect::<BTreeSet<_>>(), live.clone());
            prop_assert_eq!(round.len(), live.len());
        }
        let picked: BTreeSet<NodeName> =
            (0..200).flat_map(|_| table.pick(3, rng, |_| true)).map(|(name, _)| name).collect();
        prop_assert!(picked.is_subset(&live));
    }
}

#[test]
fn a_state_on_a_base_keeps_only_what_differs() {
    let base = Arc::new(Base::new((1..=200).map(identity)));
    let mut story = Story::begins(Config::default());
    story.state = State::with_base(identity(1), Config::default(), 42, Arc::clone(&base));
    assert_eq!((story.state.digest().members, story.state.own_rows()), (200, 0));
    story.hears(3, vec![accusation(7, 3, false), claim(8, 0, Status::Left), claim(201, 0, Status::Alive)]);
    assert_eq!((story.state.digest().members, story.state.own_rows()), (200, 3));
    story.hears(3, vec![claim(7, 1, Status::Alive)]);
    assert_eq!(story.status(7), Some(Status::Alive));

    // Another node has heard of one more, and the base is made of what it believes.
    let mut other = Story::begins(Config::default());
    other.state = State::with_base(identity(2), Config::default(), 43, base);
    other.hears(3, vec![claim(7, 1, Status::Alive), claim(8, 0, Status::Left), claim(201, 0, Status::Alive)]);
    other.hears(3, vec![claim(202, 0, Status::Alive)]);
    story.state.rebase(Arc::new(Base::from(&other.state)));
    assert_eq!(story.state.own_rows(), 1, "we have not heard of node202");
    assert_eq!((story.state.digest().members, story.status(202)), (200, None));
    assert_eq!(story.status(8), Some(Status::Left));
    story.forget_the_past();
    story.hears(3, vec![claim(202, 0, Status::Alive)]);
    assert_eq!(story.events, [(MemberEventKind::Joined, 202)]);
}

#[test]
fn a_suspicion_outlives_a_change_of_base() {
    let base = Arc::new(Base::new((1..=50).map(identity)));
    let mut story = Story::begins(Config::default());
    story.state = State::with_base(identity(1), Config::default(), 42, Arc::clone(&base));
    story.hears(3, vec![accusation(7, 3, true)]);
    story.state.rebase(base);
    story.until(3_000);
    assert_eq!(story.status(7), Some(Status::Dead));
}

#[test]
fn ten_thousand_members_take_next_to_nothing_on_a_base() {
    let many = (1..=10_000).map(|number| Identity {
        addr: SocketAddr::from((
            [10, 1, u8::try_from(number / 250).unwrap(), u8::try_from(number % 250).unwrap()],
            5000,
        )),
        ..Identity { name: name(number), addr: addr(1), epoch: Epoch(100) }
    });
    let base = Arc::new(Base::new(many));
    let states: Vec<State> =
        (1..=100).map(|number| State::with_base(identity(number), Config::default(), 1, Arc::clone(&base))).collect();
    assert!(states.iter().all(|state| state.digest().members == 10_000 && state.own_rows() == 0));
    assert_eq!(Arc::strong_count(&base), 101, "one table for all");
    assert!(states[0].members().map(|member| &member.name).is_sorted());
}
