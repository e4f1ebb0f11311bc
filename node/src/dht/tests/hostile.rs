//! Whatever comes in, in whatever order: nothing panics, memory is bounded, every user gets one answer in time.

use p2pnet_shared::{
    Epoch, NodeName, UnixMillis,
    ring::RingDigest,
    wire::dht::{Dot, Entry, Message, Operation, Packet, Refusal, Version},
};
use proptest::{collection::vec, option, prelude::*};

use super::{actor, node, value};
use crate::{
    dht::{Answer, Config, Effect, Input, Request, State, Timer},
    time::Millis,
};

fn entries() -> impl Strategy<Value = Entry> {
    let context = vec((0..4_u32, 0..3_u64, 0..5_u64), 0..4);
    let version = (0..4_u32, 0..3_u64, 0..5_u64, context, any::<bool>(), 0..2_000_000_u64);
    ("[ab]", vec(version, 0..4)).prop_map(|(key, versions)| {
        let versions = versions.into_iter().map(|(number, era, count, context, live, at)| Version {
            dot: Dot { actor: actor(number, era), count },
            context: context.into_iter().map(|(number, era, count)| (actor(number, era), count)).collect(),
            at: UnixMillis(at),
            value: live.then(|| value("v")),
        });
        Entry { key: key.parse().unwrap(), versions: versions.collect() }
    })
}

fn operations() -> impl Strategy<Value = Operation> {
    ("[ab]", any::<bool>()).prop_map(|(key, delete)| {
        let key = key.parse().unwrap();
        if delete { Operation::Delete { key } } else { Operation::Put { key, value: value("mine") } }
    })
}

fn refusals() -> impl Strategy<Value = Refusal> {
    prop_oneof![Just(Refusal::Full), Just(Refusal::Broken), Just(Refusal::Late)]
}

/// Numbers of calls are guessed: those of a node of epoch 1 begin at 2^20.
fn calls() -> impl Strategy<Value = u64> {
    prop_oneof![(1_u64 << 20)..(1 << 20) + 60, 0..5_u64]
}

fn messages() -> impl Strategy<Value = Message> {
    let call = calls;
    prop_oneof![
        (call(), 0..4_u8, any::<bool>(), operations()).prop_map(|(call, hops, late, operation)| {
            // Made right when it is fed.
            Message::Forward { call, hops, valid_until: u64::from(!late), operation }
        }),
        (call(), 0..4_u8).prop_map(|(call, acks)| Message::Coordinating { call, acks }),
        (call(), 0..4_u8, option::of(refusals()), any::<bool>())
            .prop_map(|(call, acks, refused, found)| Message::Forwarded { call, acks, refused, found }),
        call().prop_map(|call| Message::Clock { call }),
        call().prop_map(|call| Message::Clocked { call }),
        (call(), "[ab]").prop_map(|(call, key)| Message::Read { call, key: key.parse().unwrap() }),
        (call(), option::of(entries()), any::<bool>(), 0..2_u64).prop_map(|(call, entry, sure, ring)| Message::Held {
            call,
            entry,
            sure,
            ring: RingDigest(ring)
        }),
        call().prop_map(|call| Message::Unread { call }),
        (call(), entries(), any::<bool>()).prop_map(|(call, entry, whole)| Message::Merge { call, entry, whole }),
        (call(), option::of(refusals()), any::<bool>(), option::of(entries()))
            .prop_map(|(call, refused, sure, more)| Message::Merged { call, refused, sure, more }),
    ]
}

/// One step: how long after the one before, and what.
fn inputs() -> impl Strategy<Value = (u64, Input)> {
    let peer = || (0..6_u32).prop_map(|number| if number == 0 { NodeName::bootstrap() } else { node(number) });
    let input = prop_oneof![
        2 => (peer(), 1..3_u64).prop_map(|(name, epoch)| Input::MemberUp { name, epoch: Epoch(epoch) }),
        1 => peer().prop_map(|name| Input::MemberDown { name }),
        1 => (peer(), any::<bool>()).prop_map(|(name, suspected)| Input::MemberSuspected { name, suspected }),
        4 => operations().prop_map(|operation| Input::Asked { id: 0, request: Request::Write(operation) }),
        4 => "[ab]".prop_map(|key| Input::Asked { id: 0, request: Request::Read(key.parse().unwrap()) }),
        12 => (peer(), 0..3_000_000_u64, messages())
            .prop_map(|(from, clock, message)| Input::Received { from, packet: Packet { clock, message } }),
        2 => peer().prop_map(|peer| Input::Unreachable { peer }),
        3 => (0..40_u64).prop_map(|batch| Input::Persisted { batch }),
        1 => (0..40_u64, refusals()).prop_map(|(batch, why)| Input::NotPersisted { batch, why }),
        1 => any::<u16>().prop_map(|due| Input::TimerFired(Timer::Tick { due: Millis(due.into()) })),
        1 => any::<u16>().prop_map(|due| Input::TimerFired(Timer::Repair { due: Millis(due.into()) })),
        1 => any::<u16>().prop_map(|due| Input::TimerFired(Timer::Calls { due: Millis(due.into()) })),
    ];
    (prop_oneof![3 => 0..20_u64, 1 => 0..3_000_u64], input)
}

/// A state whose timers go off in time.
struct Run {
    state: State,
    now: u64,
    timers: Vec<(u64, Timer)>,
    asked: Vec<u64>,
    answers: Vec<(u64, u64, Answer)>,
}

impl Run {
    fn feed(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.state.handle(Millis(self.now), input, &mut effects);
        self.take(effects);
    }

    fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::SetTimer { after, timer } => self.timers.push((self.now + after.0, timer)),
                Effect::Answer { id, answer } => self.answers.push((id, self.now, answer)),
                Effect::Send { to, .. } => assert_ne!(to, node(1)),
                _ => {}
            }
        }
    }

    fn wait(&mut self, until: u64) {
        while let Some(next) = (0..self.timers.len()).min_by_key(|index| self.timers[*index].0) {
            if self.timers[next].0 > until {
                break;
            }
            let (at, timer) = self.timers.swap_remove(next);
            self.now = self.now.max(at);
            self.feed(Input::TimerFired(timer));
        }
        self.now = until;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn every_user_gets_one_answer_in_time_whatever_comes_in(steps in vec(inputs(), 1..120), broken in prop::bool::weighted(0.1)) {
        let config = Config::default();
        let deadline = config.deadline.0;
        let state = if broken {
            State::broken(node(1), Epoch(1), config, 1)
        } else {
            State::new(node(1), Epoch(1), config, 1, Vec::new())
        };
        let mut run = Run { state, now: 0, timers: Vec::new(), asked: Vec::new(), answers: Vec::new() };
        let mut effects = Vec::new();
        run.state.start(Millis(0), &mut effects);
        run.take(effects);
        for (after, mut input) in steps {
            run.wait(run.now + after);
            match &mut input {
                Input::Asked { id, .. } => {
                    *id = run.asked.len() as u64;
                    run.asked.push(run.now);
                }
                Input::Received { packet: Packet { message: Message::Forward { valid_until, .. }, .. }, .. } => {
                    *valid_until *= run.state.clock() + 400;
                }
                _ => {}
            }
            run.feed(input);
        }
        run.wait(run.now + deadline + 100);
        for (id, asked) in run.asked.iter().enumerate() {
            let times: Vec<u64> = run.answers.iter().filter(|(other, ..)| *other == id as u64).map(|(_, at, _)| *at).collect();
            prop_assert_eq!(times.len(), 1, "request {} of {}", id, asked);
            prop_assert!(times[0] - asked <= deadline + 50);
        }
        prop_assert_eq!(run.state.under_way(), 0);
        prop_assert!(run.state.entries().count() <= 2);
    }
}

#[test]
fn too_much_at_once_is_refused_and_what_was_taken_is_answered() {
    let mut state = State::new(node(1), Epoch(1), Config::default(), 1, Vec::new());
    let mut effects = Vec::new();
    state.start(Millis(0), &mut effects);
    (2..=9).for_each(|number| {
        state.handle(Millis(1), Input::MemberUp { name: node(number), epoch: Epoch(1) }, &mut effects)
    });
    effects.clear();
    for id in 0..10_000 {
        let key = format!("key{id}").parse().unwrap();
        state.handle(Millis(2), Input::Asked { id, request: Request::Read(key) }, &mut effects);
    }
    let answers = |effects: &[Effect]| effects.iter().filter(|effect| matches!(effect, Effect::Answer { .. })).count();
    assert!(answers(&effects) > 5_000 && state.under_way() <= 4_096);
    for at in (52..=4_152).step_by(50) {
        state.handle(Millis(at), Input::TimerFired(Timer::Calls { due: Millis(at) }), &mut effects);
    }
    assert_eq!((answers(&effects), state.under_way()), (10_000, 0));
}

/// Two nodes of which the first is us, and what a packet of the second leads to.
fn told(state: &mut State, at: u64, message: Message) -> Vec<Message> {
    let mut effects = Vec::new();
    let packet = Packet { clock: at, message };
    state.handle(Millis(at), Input::Received { from: node(2), packet }, &mut effects);
    let said = |effect| if let Effect::Send { packet, .. } = effect { Some(packet.message) } else { None };
    effects.into_iter().filter_map(said).collect()
}

#[test]
fn a_write_that_comes_too_late_twice_or_for_another_life_is_not_done() {
    let mut state = State::new(node(1), Epoch(5), Config::default(), 1, Vec::new());
    let mut effects = Vec::new();
    state.start(Millis(0), &mut effects);
    state.handle(Millis(10), Input::MemberUp { name: node(2), epoch: Epoch(5) }, &mut effects);
    let clock = state.clock();
    let forward = |call: u64, valid_until: u64| {
        let operation = Operation::Put { key: "a".parse().unwrap(), value: value("v") };
        Message::Forward { call, hops: 2, valid_until, operation }
    };
    let late = |said: &[Message]| matches!(said, [Message::Forwarded { refused: Some(Refusal::Late), acks: 0, .. }]);
    assert!(late(&told(&mut state, 100, forward(1, clock + 50))), "its time is over");
    assert!(late(&told(&mut state, 100, forward(2, clock + 10_000_000))), "said of the clock of another life");
    let said = told(&mut state, 100, forward(4, clock + 600));
    assert!(!said.is_empty() && !late(&said));
    assert!(told(&mut state, 101, forward(4, clock + 600)).is_empty(), "once more");
    assert!(told(&mut state, 101, forward(3, clock + 600)).is_empty(), "overtaken");
}

#[test]
fn members_that_come_in_a_crowd_are_put_on_the_ring_together() {
    let mut state = State::new(node(1), Epoch(5), Config::default(), 1, Vec::new());
    let mut effects = Vec::new();
    state.start(Millis(0), &mut effects);
    let mut changes = 0;
    for number in 2..=200 {
        let (now, before) = (Millis(u64::from(number)), state.ring().members().len());
        if let Some(due) = state.ring_due.filter(|due| *due <= now) {
            state.handle(now, Input::TimerFired(Timer::Ring { due }), &mut effects);
        }
        state.handle(now, Input::MemberUp { name: node(number), epoch: Epoch(5) }, &mut effects);
        changes += u32::from(state.ring().members().len() != before);
    }
    let last = state.ring_due.expect("some are waiting");
    state.handle(last, Input::TimerFired(Timer::Ring { due: last }), &mut effects);
    let all = p2pnet_shared::ring::Ring::of(state.config.vnodes, (1..=200).map(node));
    assert_eq!(state.ring(), &all);
    assert!((2..100).contains(&changes), "{changes}");
}
