//! Faults as values: what goes wrong, when, and for how long.
//!
//! A schedule is a list of (millisecond, [`Fault`]) drawn from a seed. Every fault ends by itself, so any part of a
//! schedule is a schedule too, which is what lets `shrink.rs` look for the shortest one that still fails. [`steps`] turns
//! it into what is done to a [`World`]: ours, or foca's on the same wire.

use std::collections::BTreeSet;

use rand::{RngExt, SeedableRng, rngs::SmallRng, seq::IndexedRandom};

use crate::{
    disks::Health,
    network::Network,
    users::Wish,
    wire::{NodeId, Rule},
};

/// Something that goes wrong, and for how many milliseconds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fault {
    /// Percent of all datagrams lost.
    Loss { percent: u8, for_ms: u64 },
    /// Everything takes up to so many milliseconds longer.
    Delay { ms: u64, for_ms: u64 },
    /// Percent of all datagrams that arrive twice.
    Duplication { percent: u8, for_ms: u64 },
    /// Percent of all datagrams held back for up to 200 ms.
    Reordering { percent: u8, for_ms: u64 },
    /// Nothing passes between these and the others.
    CutTwoWay { side: Vec<NodeId>, for_ms: u64 },
    /// The others do not hear these.
    CutOneWay { side: Vec<NodeId>, for_ms: u64 },
    /// A node that only one peer reaches.
    OnlyPeer { node: NodeId, peer: NodeId, for_ms: u64 },
    /// Dead for good.
    Crash { node: NodeId },
    /// Killed, and started again.
    Restart { node: NodeId, down_ms: u64, moves: bool },
    /// Everybody is killed and started again, one after the other.
    RestartAll { within_ms: u64 },
    /// Says goodbye and comes back.
    Leave { node: NodeId, away_ms: u64 },
    /// Stopped for a while.
    Pause { node: NodeId, for_ms: u64 },
    /// Stopped for 1.5 s in every 3 s.
    Flap { node: NodeId, times: u64 },
    /// The wall clock is set, and the node, which sees it only at its next start, is restarted.
    ClockJump { node: NodeId, hours: i64 },
    /// The processor is overloaded: these get timers and datagrams late, again and again.
    Stall { nodes: Vec<NodeId>, late_ms: (u64, u64), for_ms: u64 },
    /// Packets of more bytes do not pass.
    Mtu { bytes: usize, for_ms: u64 },
    /// Frames take up to so many milliseconds longer.
    SlowTcp { ms: u64, for_ms: u64 },
    /// Something is wrong with a node's disk.
    Disk { node: NodeId, health: Health, for_ms: u64 },
    /// Dead for good, and the disk with it.
    Destroy { node: NodeId },
    /// Killed, its disk gone, and started again with an empty one.
    Wipe { node: NodeId, down_ms: u64 },
}

/// When, in milliseconds, and what.
pub(crate) type Schedule = Vec<(u64, Fault)>;

/// What a fault comes down to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    /// Until that millisecond.
    Impose(u64, Rule),
    Kill(NodeId),
    Boot(NodeId, bool),
    Leave(NodeId),
    Pause(NodeId),
    Resume(NodeId),
    SetClock(NodeId, i64),
    SetDisk(NodeId, Health),
    Destroy(NodeId),
    /// A client asks a node something about the key with that number.
    Use(usize, NodeId, usize, Wish),
    /// Its user sends a message.
    Publish(NodeId),
    /// Whoever is alone hears of somebody.
    Discover,
}

/// Whatever can be put through a schedule.
pub(crate) trait World {
    /// Runs up to that millisecond.
    fn run_to(&mut self, ms: u64);
    /// Does one thing now; nothing if it makes no sense now.
    fn take(&mut self, step: &Step);
}

/// How an overloaded processor serves one process: gone for a while, back for a moment. Pairs of pause and resume.
pub(crate) fn stall(node: NodeId, from: u64, until: u64, late_ms: (u64, u64), rng: &mut SmallRng) -> Vec<(u64, Step)> {
    let mut steps = Vec::new();
    let mut now = from + rng.random_range(0..=late_ms.1);
    while now < until {
        let back = now + rng.random_range(late_ms.0..=late_ms.1);
        steps.extend([(now, Step::Pause(node)), (back, Step::Resume(node))]);
        now = back + rng.random_range(1..=3);
    }
    steps
}

/// What is to be done, in order of time, when `schedule` begins at `begin` among `count` nodes.
pub(crate) fn steps(schedule: &[(u64, Fault)], begin: u64, count: usize) -> Vec<(u64, Step)> {
    let mut steps = Vec::new();
    for (at, fault) in schedule {
        steps.extend(steps_of(begin + at, fault, count));
    }
    steps.sort_by_key(|(at, _)| *at);
    steps
}

fn steps_of(at: u64, fault: &Fault, count: usize) -> Vec<(u64, Step)> {
    // Of the fault alone, so that a fault does the same whatever else is in the schedule.
    let mut rng = SmallRng::seed_from_u64(at);
    let share = |percent: u8| f64::from(percent) / 100.0;
    let side = |nodes: &[NodeId]| nodes.iter().copied().collect::<BTreeSet<_>>();
    let impose = |for_ms: u64, rule: Rule| vec![(at, Step::Impose(at + for_ms, rule))];
    match fault {
        Fault::Loss { percent, for_ms } => impose(*for_ms, Rule::Loss(share(*percent))),
        Fault::Delay { ms, for_ms } => impose(*for_ms, Rule::Delay(ms * 1_000)),
        Fault::Duplication { percent, for_ms } => impose(*for_ms, Rule::Duplication(share(*percent))),
        Fault::Reordering { percent, for_ms } => impose(*for_ms, Rule::Reordering(share(*percent))),
        Fault::CutTwoWay { side: nodes, for_ms } => impose(*for_ms, Rule::Cut(side(nodes))),
        Fault::CutOneWay { side: nodes, for_ms } => impose(*for_ms, Rule::Mute(side(nodes))),
        Fault::OnlyPeer { node, peer, for_ms } => impose(*for_ms, Rule::OnlyPeer(*node, *peer)),
        Fault::Mtu { bytes, for_ms } => impose(*for_ms, Rule::Mtu(*bytes)),
        Fault::SlowTcp { ms, for_ms } => impose(*for_ms, Rule::SlowTcp(ms * 1_000)),
        Fault::Crash { node } => vec![(at, Step::Kill(*node))],
        Fault::Restart { node, down_ms, moves } => {
            vec![(at, Step::Kill(*node)), (at + down_ms, Step::Boot(*node, *moves))]
        }
        Fault::RestartAll { within_ms } => (0..count)
            .flat_map(|node| {
                let down = at + rng.random_range(0..=*within_ms);
                [(down, Step::Kill(node)), (down + rng.random_range(50..1_000), Step::Boot(node, false))]
            })
            .collect(),
        Fault::Leave { node, away_ms } => vec![(at, Step::Leave(*node)), (at + away_ms, Step::Boot(*node, false))],
        Fault::Disk { node, health, for_ms } => {
            vec![(at, Step::SetDisk(*node, *health)), (at + for_ms, Step::SetDisk(*node, Health::Good))]
        }
        Fault::Destroy { node } => vec![(at, Step::Destroy(*node))],
        Fault::Wipe { node, down_ms } => {
            vec![(at, Step::Destroy(*node)), (at + down_ms, Step::Boot(*node, false))]
        }
        Fault::Pause { node, for_ms } => vec![(at, Step::Pause(*node)), (at + for_ms, Step::Resume(*node))],
        Fault::Flap { node, times } => (0..*times)
            .flat_map(|time| {
                let down = at + 3_000 * time;
                [(down, Step::Pause(*node)), (down + 1_500, Step::Resume(*node))]
            })
            .collect(),
        Fault::ClockJump { node, hours } => {
            vec![
                (at, Step::SetClock(*node, *hours)),
                (at + 100, Step::Kill(*node)),
                (at + 400, Step::Boot(*node, false)),
            ]
        }
        Fault::Stall { nodes, late_ms, for_ms } => {
            nodes.iter().flat_map(|node| stall(*node, at, at + for_ms, *late_ms, &mut rng)).collect()
        }
    }
}

/// Takes all steps in their time and returns when the last of their consequences is over, milliseconds.
pub(crate) fn play(world: &mut impl World, steps: &[(u64, Step)]) -> u64 {
    let mut over = 0;
    for (at, step) in steps {
        world.run_to(*at);
        world.take(step);
        over = over.max(*at);
        if let Step::Impose(until, _) = step {
            over = over.max(*until);
        }
    }
    world.run_to(over);
    over
}

impl World for Network {
    fn run_to(&mut self, ms: u64) {
        Network::run_to(self, ms);
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Impose(until, rule) => self.impose(until * 1_000, rule.clone()),
            Step::Kill(node) => self.kill(*node),
            Step::Boot(node, moves) if self.nodes[*node].peer.is_none() => {
                if *moves {
                    self.move_house(*node);
                }
                let seed_node = self.running().choose(&mut self.rng).copied();
                self.boot(*node, seed_node);
            }
            Step::Boot(..) => {}
            Step::SetDisk(node, health) => self.nodes[*node].disk.health = *health,
            Step::Destroy(node) => {
                self.kill(*node);
                self.destroy(*node);
            }
            Step::Use(client, node, number, wish) => self.wish(*client, *node, *number, *wish),
            Step::Leave(node) => self.leave(*node),
            Step::Pause(node) => self.pause(*node),
            Step::Resume(node) => self.resume(*node),
            Step::SetClock(node, hours) => self.set_clock(*node, *hours),
            Step::Publish(node) => {
                let _ = self.try_publish(*node, "a message in hard times");
            }
            Step::Discover => self.discover(),
        }
    }
}

/// `faults` faults within `within_ms` among `count` nodes. At most a quarter of the nodes dies for good, and node 0, which
/// newcomers ask first, is not among them.
pub(crate) fn draw(rng: &mut SmallRng, faults: usize, within_ms: u64, count: usize) -> Schedule {
    let mut crashes = count / 4;
    let mut schedule = Schedule::new();
    while schedule.len() < faults {
        let fault = draw_one(rng, count);
        if matches!(fault, Fault::Crash { .. }) {
            if crashes == 0 {
                continue;
            }
            crashes -= 1;
        }
        schedule.push((rng.random_range(0..within_ms), fault));
    }
    schedule.sort_by_key(|(at, _)| *at);
    schedule
}

fn draw_one(rng: &mut SmallRng, count: usize) -> Fault {
    let node = rng.random_range(1..count);
    let any = rng.random_range(0..count);
    let for_ms = *[1_000, 3_000, 8_000, 20_000].choose(rng).expect("some");
    let side = |rng: &mut SmallRng| {
        let most = *[1, count / 5 + 1, count / 2].choose(rng).expect("some");
        let some = rng.random_range(1..=most);
        rand::seq::index::sample(rng, count, some).into_vec()
    };
    match rng.random_range(0..19) {
        0 => Fault::Loss { percent: *[1, 10, 30, 50].choose(rng).expect("some"), for_ms },
        1 => Fault::Delay { ms: *[30, 100, 400].choose(rng).expect("some"), for_ms },
        2 => Fault::Duplication { percent: *[10, 50].choose(rng).expect("some"), for_ms },
        3 => Fault::Reordering { percent: *[10, 50].choose(rng).expect("some"), for_ms },
        4 => Fault::CutTwoWay { side: side(rng), for_ms: *[2_000, 8_000, 60_000].choose(rng).expect("some") },
        5 => Fault::CutOneWay { side: side(rng), for_ms },
        6 => Fault::OnlyPeer { node: any, peer: (any + rng.random_range(1..count)) % count, for_ms },
        7 => Fault::Crash { node },
        8 | 9 => Fault::Restart {
            node: any,
            down_ms: *[50, 800, 10_000].choose(rng).expect("some"),
            moves: rng.random_bool(0.4),
        },
        10 if rng.random_bool(0.3) => Fault::RestartAll { within_ms: 5_000 },
        10 | 11 => Fault::Leave { node: any, away_ms: *[100, 5_000].choose(rng).expect("some") },
        12 => Fault::Pause { node: any, for_ms: *[300, 2_000, 10_000, 60_000].choose(rng).expect("some") },
        13 => Fault::Flap { node: any, times: rng.random_range(2..8) },
        14 => Fault::ClockJump { node: any, hours: if rng.random_bool(0.5) { 1 } else { -1 } },
        15 => Fault::Stall { nodes: (0..count).collect(), late_ms: (5, 300), for_ms },
        16 => Fault::Stall { nodes: vec![any], late_ms: (500, 3_000), for_ms },
        17 => Fault::Mtu { bytes: *[576, 1_280].choose(rng).expect("some"), for_ms },
        _ => Fault::SlowTcp { ms: *[100, 1_000].choose(rng).expect("some"), for_ms },
    }
}

#[test]
fn what_is_drawn_ends_and_a_part_of_it_does_the_same_as_in_the_whole() {
    let schedule = draw(&mut SmallRng::seed_from_u64(1), 200, 60_000, 10);
    assert!(schedule.windows(2).all(|pair| pair[0].0 <= pair[1].0));
    let whole = steps(&schedule, 1_000, 10);
    let one_by_one: usize = schedule.iter().map(|one| steps(std::slice::from_ref(one), 1_000, 10).len()).sum();
    assert_eq!(whole.len(), one_by_one);
    let count = |wanted: fn(&Step) -> bool| whole.iter().filter(|(_, step)| wanted(step)).count();
    assert_eq!(count(|step| matches!(step, Step::Pause(_))), count(|step| matches!(step, Step::Resume(_))));
    let kinds: BTreeSet<String> = schedule
        .iter()
        .map(|(_, fault)| format!("{fault:?}").split([' ', '{']).next().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(kinds.len(), 17, "every kind of fault is drawn: {kinds:?}");
}
