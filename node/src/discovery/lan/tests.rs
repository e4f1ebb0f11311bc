//! Beacons told as stories: what is heard, and what is done about it.

use super::*;

fn name(number: u32) -> NodeName {
    NodeName::numbered(number)
}

/// Where node `number` speaks from.
fn voice(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], 40_000))
}

/// Where it listens.
fn home(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], 5_000))
}

fn beacon(number: u32, epoch: u64, answer: bool) -> Beacon {
    Beacon { name: name(number), epoch: Epoch(epoch), port: 5_000, answer }
}

/// A node and what it did last.
struct Story {
    state: State,
    timer: Timer,
    now: Millis,
}

impl Story {
    fn of(number: u32, seed: u64) -> Self {
        let mut state = State::new(name(number), Config::default(), seed);
        let mut effects = Vec::new();
        state.start(Millis(0), &mut effects);
        let [Effect::SetTimer { after, timer }] = effects[..] else { panic!("{effects:?}") };
        assert!(after <= FIRST_WITHIN);
        Self { state, timer, now: Millis(0) }
    }

    fn hears(&mut self, number: u8, beacon: Beacon) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.state.handle(self.now, Input::Heard { from: voice(number), beacon }, &mut effects);
        effects
    }

    /// The next beacon, with these alive: everything but the timer, and how long until the one after it.
    fn due(&mut self, live: &[u32]) -> (Vec<Effect>, Millis) {
        let live = live.iter().map(|number| name(*number)).collect();
        self.now = self.timer.due;
        let mut effects = Vec::new();
        self.state.handle(self.now, Input::TimerFired { timer: self.timer, live }, &mut effects);
        let Some(Effect::SetTimer { after, timer }) = effects.pop() else { panic!("{effects:?}") };
        self.timer = timer;
        (effects, after)
    }
}

#[test]
fn two_that_hear_each_other_knock_and_an_answer_is_not_answered() {
    let (mut one, mut two) = (Story::of(1, 1), Story::of(2, 2));
    assert_eq!(one.due(&[]).0, [Effect::Announce { widely: false }]);
    let answered = two.hears(1, beacon(1, 7, false));
    assert_eq!(answered, [Effect::Answer { to: voice(1) }, Effect::Knock { at: home(1) }]);
    assert_eq!(one.hears(2, beacon(2, 7, true)), [Effect::Knock { at: home(2) }]);
    // Heard again, it is no news.
    assert_eq!(two.hears(1, beacon(1, 7, false)), []);
}

#[test]
fn a_node_does_not_hear_itself() {
    assert_eq!(Story::of(1, 1).hears(1, beacon(1, 7, false)), []);
}

#[test]
fn another_life_is_news() {
    let mut story = Story::of(1, 1);
    assert_eq!(story.hears(2, beacon(2, 7, true)), [Effect::Knock { at: home(2) }]);
    assert_eq!(story.hears(2, beacon(2, 8, true)), [Effect::Knock { at: home(2) }]);
}

#[test]
fn port_zero_leads_nowhere() {
    let nowhere = Beacon { port: 0, ..beacon(2, 7, false) };
    assert_eq!(Story::of(1, 1).hears(2, nowhere), []);
}

#[test]
fn who_is_heard_and_is_no_member_is_knocked_at_again_and_a_member_is_not() {
    let mut story = Story::of(1, 1);
    story.hears(2, beacon(2, 7, false));
    assert_eq!(story.due(&[]).0, [Effect::Announce { widely: false }, Effect::Knock { at: home(2) }]);
    // Not heard since: it may be gone.
    assert_eq!(story.due(&[]).0, [Effect::Announce { widely: false }]);
    story.hears(2, beacon(2, 7, false));
    assert_eq!(story.due(&[2]).0, [Effect::Announce { widely: false }]);
}

#[test]
fn nobody_heard_for_three_beacons_and_it_goes_by_broadcast_too() {
    let mut story = Story::of(1, 1);
    let announced: Vec<bool> = (0..4).map(|_| story.due(&[]).0 == [Effect::Announce { widely: true }]).collect();
    assert_eq!(announced, [false, false, true, true]);
    story.hears(2, beacon(2, 7, false));
    assert!(story.due(&[2]).0.contains(&Effect::Announce { widely: false }));
}

#[test]
fn the_interval_grows_with_the_network() {
    for (members, least, most) in [(1, 800, 1_200), (30, 800, 1_200), (100, 2_424, 3_636), (1_000, 24_240, 36_364)] {
        let live: Vec<u32> = (2..=members).collect();
        let mut story = Story::of(1, u64::from(members));
        for _ in 0..50 {
            let (_, after) = story.due(&live);
            assert!((least..=most).contains(&after.0), "{members} members: {after:?}");
        }
    }
}

#[test]
fn a_newcomer_is_answered_by_all_of_a_few_and_by_a_few_of_many() {
    let answers = |members: u32| {
        let live: Vec<u32> = (1..=members).collect();
        let answer = |number: u32| {
            let mut story = Story::of(number, u64::from(number));
            story.due(&live);
            story.hears(200, beacon(2_000, 7, false)).contains(&Effect::Answer { to: voice(200) })
        };
        (1..=members).filter(|number| answer(*number)).count()
    };
    assert_eq!(answers(5), 5);
    let many = answers(1_000);
    assert!((1..=24).contains(&many), "{many}");
}

#[test]
fn an_old_timer_sends_nothing() {
    let mut story = Story::of(1, 1);
    let old = story.timer;
    story.due(&[]);
    let mut effects = Vec::new();
    story.state.handle(story.now, Input::TimerFired { timer: old, live: BTreeSet::new() }, &mut effects);
    assert_eq!(effects, []);
}

#[test]
fn invented_names_cost_a_bounded_number_of_answers_knocks_and_places() {
    let mut story = Story::of(1, 1);
    story.due(&[]);
    let (mut answers, mut knocks) = (0, 0);
    for number in 0..100_000_u32 {
        story.now = Millis(10_000 + u64::from(number) / 10); // ten thousand a second, for ten seconds
        for effect in story.hears(9, beacon(number + 100, 7, number % 2 == 0)) {
            match effect {
                Effect::Answer { .. } => answers += 1,
                Effect::Knock { .. } => knocks += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    let most = 11 * Config::default().answers_per_second + 32;
    assert!(answers > 0 && answers <= most && knocks > 0 && knocks <= most, "{answers} answers, {knocks} knocks");
    assert!(story.state.seen.len() <= Config::default().seen_max);
}

#[test]
fn a_source_that_floods_is_heard_at_its_pace_and_others_are_not_kept_waiting() {
    let mut story = Story::of(1, 1);
    let mut heard = 0;
    for tick in 0..10_000_u64 {
        heard += u32::from(story.state.admits(Millis(5_000 + tick), voice(9).ip()));
    }
    let pace = Config::default().heard_per_second;
    assert!((10 * pace..=12 * pace).contains(&heard), "{heard}");
    assert!(story.state.admits(Millis(15_000), voice(8).ip()));
    for number in 0..100_000_u32 {
        story.state.admits(Millis(15_000), IpAddr::from(number.to_be_bytes()));
    }
    assert!(story.state.sources.len() <= Config::default().sources_max);
}
