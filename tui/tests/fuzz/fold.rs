//! Feed lines into what is known of a network, and that onto a screen.

use p2pnet::{
    cluster::{Role, RuntimeInfo, Truth, Unit, UnitState},
    message::Message,
    model::{Model, pane::Pane},
    network::{Network, Observation},
    update::update,
    view::{
        theme::{Depth, Theme},
        view,
    },
};
use p2pnet_shared::{
    Epoch, MessageId, NodeName, UnixMillis,
    ring::{Place, RingDigest},
    telemetry::{
        Delivery, DiskState, FeedLine, HeldKey, KeyCounts, MemberEvent, MemberEventKind, MemberRow, Moving, Report,
    },
    wire::{broadcast::Via, membership::Status},
};
use proptest::{collection::vec, prelude::*, sample::select};
use ratatui::{Terminal, backend::TestBackend};
use uuid::Uuid;

use crate::hostile::{self, harm::harm, memory::Mark, values};

const NOW: UnixMillis = UnixMillis(1_763_728_463_902);

fn unit() -> impl Strategy<Value = Unit> {
    let state = select(vec![UnitState::Up, UnitState::Up, UnitState::Dead, UnitState::Paused, UnitState::Left]);
    (values::name(), state, proptest::option::of(values::at())).prop_map(|(name, state, since)| {
        let role = if name == NodeName::bootstrap() { Role::Bootstrap } else { Role::Node };
        Unit { name, role, state, address: None, since }
    })
}

/// What nodes say of the store: places that meet, and any others.
fn key_report() -> impl Strategy<Value = Report> {
    let place = prop_oneof![4 => 0..16_u64, 1 => any::<u64>()];
    let held =
        (place, proptest::option::of(0..4_u64)).prop_map(|(place, versions)| HeldKey { place: Place(place), versions });
    let moving = (values::name(), any::<u64>(), any::<u64>()).prop_map(|(to, keys, bytes)| Moving { to, keys, bytes });
    let disk = select(vec![DiskState::Fine, DiskState::Full, DiskState::Broken]);
    let counts =
        (any::<[u64; 8]>(), vec(moving, 0..20), disk).prop_map(
            |([keys, owned, misplaced, tombstones, conflicts, bytes, repaired, repair_bytes], moving, disk)| {
                KeyCounts { keys, owned, misplaced, tombstones, conflicts, bytes, moving, repaired, repair_bytes, disk }
            },
        );
    prop_oneof![
        (any::<u64>(), values::at()).prop_map(|(digest, at)| Report::Ring { digest: RingDigest(digest), at }),
        counts.prop_map(Report::Keys),
        (any::<bool>(), prop_oneof![4 => Just(0_u8), 1 => any::<u8>()], vec(held, 0..20))
            .prop_map(|(anew, sampled, keys)| Report::Held { anew, sampled, keys }),
    ]
}

fn observation() -> impl Strategy<Value = Observation> {
    // A line as the gateway writes it, hurt; what is no line any more ends the feed there.
    let hurt = (values::feed_line(), vec(harm(), 0..3)).prop_map(|(line, harms)| {
        let mut bytes = serde_json::to_vec(&line).expect("plain data");
        harms.iter().for_each(|harm| harm.to(&mut bytes));
        match serde_json::from_slice(&bytes) {
            Ok(line) => Observation::Feed(line),
            Err(error) => Observation::FeedLost(error.to_string()),
        }
    });
    prop_oneof![
        12 => values::feed_line().prop_map(Observation::Feed),
        6 => (values::name(), key_report())
            .prop_map(|(node, report)| Observation::Feed(FeedLine::Report { node, report })),
        4 => hurt,
        2 => vec(unit(), 0..8).prop_map(|units| Observation::Truth(Truth::Listed(units))),
        4 => unit().prop_map(|unit| Observation::Truth(Truth::Changed(unit))),
        1 => values::name().prop_map(|name| Observation::Truth(Truth::Removed(name))),
        1 => any::<String>().prop_map(|why| Observation::Truth(Truth::EngineLost(why))),
        1 => Just(Observation::Truth(Truth::EngineBack)),
        1 => any::<String>().prop_map(Observation::FeedLost),
        2 => Just(Observation::FeedBack),
    ]
    .boxed()
}

fn now() -> impl Strategy<Value = UnixMillis> {
    prop_oneof![8 => (0_u64..100_000).prop_map(|after| UnixMillis(NOW.0 + after)), 1 => values::at()]
}

proptest! {
    #![proptest_config(hostile::config(128))]

    #[test]
    fn whatever_is_observed_is_folded(observations in vec((now(), observation()), 0..80)) {
        let mut network = Network::new("lab".parse().expect("a name"), "process");
        for (now, observation) in observations {
            for change in network.observe(now, observation) {
                prop_assert!(!change.text.contains(['\n', '\u{1b}']), "{:?} is more than a line", change.text);
            }
            let summary = network.summary(now);
            prop_assert!(summary.members.agree <= summary.nodes.up);
            prop_assert!(summary.messages.delivered <= summary.messages.expected);
            let ring = &summary.ring;
            prop_assert!(ring.agree <= summary.nodes.up);
            let files = &summary.files;
            prop_assert!(files.agree <= files.folders && files.folders <= summary.nodes.up);
            prop_assert!(files.at_risk + files.lost <= files.uploads);
            prop_assert!(ring.under_replicated <= ring.keys && ring.unreachable <= ring.under_replicated || ring.wanted == 0);
            prop_assert_eq!(ring.copies.iter().sum::<u64>(), ring.keys);
            prop_assert!(network.short_places(10).len() <= 10);
            let json = serde_json::to_string(&summary).expect("plain data");
            prop_assert!(json.len() < 1_000_000);
        }
    }

    #[test]
    fn whatever_is_observed_is_drawn(
        observations in vec((now(), observation()), 0..30),
        (width, height) in (1_u16..200, 1_u16..60),
        pane in select(vec![Pane::Nodes, Pane::Peers, Pane::Traces, Pane::Agreement, Pane::Log, Pane::Files]),
        zoom in any::<bool>(),
    ) {
        let mut model =
            Model::new(NOW, (width, height), Theme::new(Depth::Indexed, false), "lab".parse().expect("a name"));
        let info = RuntimeInfo { kind: "process", describe: "local".into(), why: "asked for".into() };
        update(&mut model, NOW, Message::Attached(info));
        (model.focus, model.zoom) = (pane, zoom);
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
        for (now, observation) in observations {
            update(&mut model, now, Message::Observed(observation));
            update(&mut model, now, Message::FrameDue);
            update(&mut model, now, Message::Ticked);
            terminal.draw(|frame| view(&model, frame)).expect("drawn");
        }
        let cells = terminal.backend().buffer().content();
        let control = cells.iter().find(|cell| cell.symbol().chars().any(char::is_control));
        prop_assert!(control.is_none(), "{:?} would move the cursor", control);
    }
}

/// A gateway gone mad, for ever: more names, lives, messages and copies than anybody has room for.
#[test]
fn what_is_known_grows_to_its_bound_and_no_further() {
    let memory = Mark::set();
    let mut network = Network::new("lab".parse().expect("a name"), "process");
    let mut kept = Vec::new();
    let up = |number| Unit {
        name: NodeName::numbered(number),
        role: Role::Node,
        state: UnitState::Up,
        address: None,
        since: None,
    };
    network.observe(NOW, Observation::Truth(Truth::Listed(vec![up(1)])));
    network.observe(NOW, Observation::Feed(FeedLine::CaughtUp));
    for round in 0..24_u64 {
        for number in 0..1_000_u64 {
            let number = round * 1_000 + number;
            let node = NodeName::numbered(1);
            let origin: NodeName = format!("{}-{}", "x".repeat(40), number % 6_000).parse().expect("letters");
            let mut say = |report| {
                network.observe(NOW, Observation::Feed(FeedLine::Report { node: node.clone(), report }));
            };
            if number % 50 == 0 {
                let addr = "127.0.0.1:5000".parse().expect("an address");
                say(Report::Hello { id: Uuid::nil(), epoch: Epoch(number), addr });
                say(Report::Snapshot { members: vec![], deliveries: vec![], links: vec![] });
            }
            let row = MemberRow {
                member: origin.clone(),
                epoch: Epoch(number),
                incarnation: 0,
                status: [Status::Suspect, Status::Dead][number as usize % 2],
            };
            let kind = [MemberEventKind::Suspected, MemberEventKind::Died][number as usize % 2];
            say(Report::Member {
                event: MemberEvent { kind, row, accuser: Some(origin.clone()), accusers: 1, new_life: false },
                at: NOW,
            });
            // Another key each time, and one that is never the same for long.
            let held = |place, version| HeldKey { place: Place(place), versions: Some(version) };
            say(Report::Held {
                anew: false,
                sampled: 0,
                keys: (0..32)
                    .map(|i| held((round * 1_000 + number) * 32 + i, number))
                    .chain([held(7, number)])
                    .collect(),
            });
            let moving = (0..64).map(|to| Moving { to: NodeName::numbered(to + number as u32), keys: 9, bytes: 9 });
            say(Report::Keys(KeyCounts { keys: number, moving: moving.collect(), ..KeyCounts::default() }));
            say(Report::Ring { digest: RingDigest(number), at: NOW });
            for id in [
                MessageId { origin: origin.clone(), epoch: Epoch(number), seq: number },
                MessageId { origin: NodeName::numbered(1), epoch: Epoch(1), seq: 1 },
            ] {
                let path = vec![id.origin.clone(), node.clone()];
                say(Report::Delivered(Delivery {
                    id,
                    path,
                    at: NOW,
                    text: Some("x".repeat(100)),
                    via: Via::Push,
                    late: false,
                }));
            }
        }
        kept.push(memory.kept());
    }
    assert!(kept[23] < 24_000_000, "{} bytes", kept[23]);
    assert!(kept[23] < kept[11] + kept[11] / 10, "still growing: {kept:?}");
}
