//! The store, fed by strangers and members who speak its language and lie in it.

use p2pnet_node::{
    dht::{Config, Effect, Input, Request, State, Timer},
    time::Millis,
};
use p2pnet_shared::{
    Epoch, NodeName, UnixMillis,
    ring::{Place, RingDigest, Span},
    wire::{
        Codec,
        dht::{Actor, ArcDigest, Dot, Entry, HeldDigest, Holding, Message, Operation, Packet, Repair, Value, Version},
    },
};
use proptest::{collection::vec, prelude::*};

use crate::hostile::{self, harm::harmed, keys, memory::Mark as Memory};

/// A pretended runtime: timers fire when they are due, the disk takes a moment, and what is sent is forgotten.
struct Run {
    state: State,
    now: u64,
    timers: Vec<(u64, Timer)>,
    batches: Vec<(u64, u64)>,
    answers: usize,
}

impl Run {
    fn new(members: u32, config: Config) -> Self {
        let state = State::new(NodeName::numbered(1), Epoch(1), config, 7, Vec::new());
        let mut run = Self { state, now: 0, timers: Vec::new(), batches: Vec::new(), answers: 0 };
        let mut effects = Vec::new();
        run.state.start(Millis(0), &mut effects);
        run.carry_out(effects);
        for number in 2..=members {
            run.input(Input::MemberUp { name: NodeName::numbered(number), epoch: Epoch(1) });
        }
        run
    }

    fn input(&mut self, input: Input) -> usize {
        let mut effects = Vec::new();
        self.state.handle(Millis(self.now), input, &mut effects);
        let count = effects.len();
        self.carry_out(effects);
        count
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::SetTimer { after, timer } => self.timers.push((self.now + after.0, timer)),
                Effect::Persist { batch, .. } => self.batches.push((self.now + 3, batch)),
                Effect::Answer { .. } => self.answers += 1,
                _ => {}
            }
        }
    }

    fn receive(&mut self, from: u32, message: Message) -> usize {
        let packet = Packet { clock: self.now, message };
        self.input(Input::Received { from: NodeName::numbered(from), packet })
    }

    fn pass(&mut self, time: u64) {
        let end = self.now + time;
        loop {
            let timer = self.timers.iter().map(|(due, _)| *due).min().unwrap_or(u64::MAX);
            let disk = self.batches.first().map_or(u64::MAX, |(due, _)| *due);
            let next = timer.min(disk);
            if next > end {
                break;
            }
            self.now = self.now.max(next);
            if disk <= timer {
                let (_, batch) = self.batches.remove(0);
                self.input(Input::Persisted { batch });
            } else {
                let which = self.timers.iter().position(|(due, _)| *due == timer).expect("just seen");
                let (_, timer) = self.timers.swap_remove(which);
                self.input(Input::TimerFired(timer));
            }
        }
        self.now = end;
    }
}

proptest! {
    #![proptest_config(hostile::config(48))]

    /// Bytes of packets, hurt before they were sealed: whatever still decodes is handed in, from members and strangers.
    #[test]
    fn hurt_packets_into_the_store(
        steps in vec((harmed(keys::packet().prop_map(|packet| plain().encode(&packet))), 1_u32..8, 0_u64..1_500), 1..60),
        questions in vec((keys::operation(), keys::key()), 0..6),
    ) {
        let mut run = Run::new(5, Config { bytes_max: 200_000, ..Config::default() });
        let mut asked = 0;
        for (operation, key) in questions {
            for request in [Request::Write(operation), Request::Read(key)] {
                run.input(Input::Asked { id: asked, request });
                asked += 1;
            }
        }
        for (bytes, from, pause) in steps {
            if let Ok(packet) = plain().decode::<Packet>(&bytes) {
                let effects = run.input(Input::Received { from: NodeName::numbered(from), packet });
                prop_assert!(effects < 200, "{} effects of one packet", effects);
            }
            run.pass(pause);
            let counts = run.state.counts();
            prop_assert!(counts.bytes <= 200_000, "{counts:?}");
        }
        run.pass(10_000);
        prop_assert_eq!(run.answers as u64, asked, "each user is told one thing");
    }

    /// What repair says, in any order, true or not, to a node that holds something: it keeps what it is to keep.
    #[test]
    fn lies_of_repair_lose_nothing(
        steps in vec((keys::repair(), 2_u32..8, 0_u64..800), 1..80),
    ) {
        let mut run = Run::new(3, Config::default());
        for number in 0..20 {
            let merge = Message::Merge { call: 0, entry: entry(&format!("mine{number}"), 2, 1, "v"), whole: true };
            run.receive(2, merge);
        }
        run.pass(100);
        for (said, from, pause) in steps {
            let effects = run.receive(from, Message::Repair(said));
            prop_assert!(effects < 200, "{} effects of one packet", effects);
            run.pass(pause);
        }
        // With three members it is a replica of everything, so nothing may go.
        let kept = run.state.entries().filter(|entry| entry.key.as_str().starts_with("mine")).count();
        prop_assert_eq!(kept, 20);
    }
}

fn plain() -> Codec {
    Codec::new(&"lab".parse().expect("a name"), None)
}

fn entry(key: &str, writer: u32, count: u64, text: &str) -> Entry {
    let dot = Dot { actor: Actor { node: NodeName::numbered(writer), era: 1 }, count };
    let value = Value::new(&serde_json::Value::from(text)).expect("short");
    let version = Version { dot, context: Vec::new(), at: UnixMillis(count), value: Some(value) };
    Entry { key: key.parse().expect("a key"), versions: vec![version] }
}

/// Invariant 25 for the store: more entries, offers, batches and questions than it has room for, from members and strangers.
#[test]
fn the_store_grows_to_its_bound_and_no_further() {
    let memory = Memory::set();
    let mut run = Run::new(12, Config { bytes_max: 1_000_000, ..Config::default() });
    let mut kept = Vec::new();
    for round in 0..30_u32 {
        for number in 0..300_u32 {
            let number = round * 300 + number;
            // Members 2 to 12, and strangers beyond.
            let from = 2 + number % 20;
            let key = format!("{}-{number}", "k".repeat(100));
            let entry = entry(&key, from, u64::from(number) + 1, &"x".repeat(500));
            let place = |shift: u64| Place(u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ shift);
            let held = (0..200).map(|shift| Holding { place: place(shift << 40), versions: u64::from(number) });
            let span = Span { after: place(0), to: place(1 << 60) };
            let digest = HeldDigest { keys: number, sum: u64::from(number) };
            let said = match number % 6 {
                0 => Repair::Compare { ring: RingDigest(u64::from(number)), digest },
                1 => Repair::Arcs {
                    ring: RingDigest(0),
                    asked: number % 2 == 0,
                    arcs: vec![ArcDigest { span, digest, settled: true }; 2],
                },
                2 => Repair::Offer { offer: u64::from(number), spans: vec![span], held: held.collect() },
                3 => Repair::Wanted {
                    offer: u64::from(number % 50),
                    want: held.map(|one| one.place).collect(),
                    kept: Vec::new(),
                    lacking: 3,
                },
                4 => Repair::Given { batch: u64::from(number % 50), refused: None },
                _ => Repair::Give { batch: u64::from(number), entries: vec![entry.clone()] },
            };
            run.receive(from, Message::Repair(said));
            run.receive(from, Message::Merge { call: u64::from(number), entry, whole: true });
            let put = Operation::Put {
                key: key.parse().expect("a key"),
                value: Value::try_from("1".to_owned()).expect("short"),
            };
            let valid_until = u64::MAX;
            run.receive(from, Message::Forward { call: u64::from(number), hops: 1, valid_until, operation: put });
        }
        run.pass(500);
        kept.push(memory.kept());
    }
    assert!(run.state.counts().bytes <= 1_000_000);
    // A megabyte of entries by their weight, the queues that point to them, and calls that wait for answers.
    assert!(kept[29] < 8_000_000, "{} bytes", kept[29]);
    assert!(kept[29] < kept[19] + kept[19] / 5, "still growing: {kept:?}");
}
