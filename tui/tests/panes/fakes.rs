//! Networks made by hand for the screens.

use p2pnet::{
    cluster::{Progress, Role, RuntimeInfo, UnitState},
    failure::Failure,
    message::Message,
    model::{HostLoad, Model, Opening, agreement::MarkKind, log::LogLine, log::word},
    network::{
        Arrival, ChangeKind, Chapter, FaultState, Mode, Neighbour, Node, OverlayCounts, Summary, Trace, Verdict, Ways,
    },
    update::update,
    view::theme::{Depth, Theme},
};
use p2pnet_shared::{
    Epoch, MessageId, NodeName, UnixMillis, ViewDigest,
    api::{MemberDetail, MembersReply},
    telemetry::Load,
    wire::{broadcast::Via, membership::Status},
};

/// 2025-11-21 12:34:23.902 UTC.
pub(crate) const NOW: UnixMillis = UnixMillis(1_763_728_463_902);

fn ago(ms: u64) -> UnixMillis {
    UnixMillis(NOW.0 - ms)
}

fn name(number: u32) -> NodeName {
    if number == 0 { NodeName::bootstrap() } else { NodeName::numbered(number) }
}

fn new_model() -> Model {
    Model::new(NOW, (160, 45), Theme::new(Depth::Indexed, false), "p2p_network".parse().unwrap())
}

pub(crate) fn starting_model() -> Model {
    let mut model = new_model();
    update(&mut model, NOW, Message::StartBegun);
    let progress = Progress { step: "starting nodes", done: 37, total: 101 };
    update(&mut model, NOW, Message::Progressed(progress));
    model
}

/// A network of the bootstrap and `peers` peers that all agree.
pub(crate) fn many_model(peers: u32) -> Model {
    let mut model = new_model();
    let runtime = RuntimeInfo {
        kind: "docker",
        describe: "docker unix:///var/run/docker.sock · engine 20.10.24 · API 1.41".into(),
        why: "an engine answers".into(),
    };
    update(&mut model, NOW, Message::Attached(runtime));
    let host = HostLoad { cpu_percent: 12.3, memory_used_bytes: 3_400_000_000, memory_total_bytes: 8_300_000_000 };
    update(&mut model, NOW, Message::HostMeasured(host));
    let all: Vec<NodeName> = (0..=peers).map(name).collect();
    let view: ViewDigest = all.iter().collect();
    model.picture.at = NOW;
    model.picture.nodes = (0..=peers).map(|i| node(i, view)).collect();
    model.picture.traces =
        vec![trace(2, "pear", 41, peers + 1, peers + 1), trace(1, "apple", 55, peers + 1, peers + 1)];
    model.picture.summary = Summary {
        network: model.name.clone(),
        runtime: "docker".into(),
        verdict: Verdict::Converged,
        reason: format!("all {} nodes that are up agree", peers + 1),
        converged: true,
        converged_in_ms: Some(1_840),
        ..Summary::default()
    };
    let summary = &mut model.picture.summary;
    (summary.nodes.wanted, summary.nodes.up, summary.members.agree) = (peers + 1, peers + 1, peers + 1);
    (summary.messages.accepted, summary.messages.delivered) = (2, u64::from(2 * (peers + 1)));
    summary.messages.expected = summary.messages.delivered;
    model.agreement.sample(ago(115_000), Some(0.0));
    for step in 1..=10u8 {
        model.agreement.sample(ago(115_000 - u64::from(step) * 400), Some(f32::from(step) * 10.0));
    }
    model.agreement.mark(ago(115_000), MarkKind::Up);
    model.agreement.converged_in(1_840);
    line(&mut model, 111_000, "network", ChangeKind::Converged, "every node that is up agrees after 1.8 s");
    line(&mut model, 9_000, "node1", ChangeKind::Accepted, "\"apple\"");
    line(&mut model, 8_900, "node1", ChangeKind::Delivered, "\"apple\" reached 101 of 101 in 55 ms, 4 hops at most");
    model.nodes.arrange(&model.picture.nodes, &model.picture.ring);
    model
}

fn line(model: &mut Model, ms: u64, who: &str, kind: ChangeKind, text: &str) {
    let (kind, role) = word(kind);
    model.log.push(LogLine { at: ago(ms), who: who.into(), kind, role, text: text.into() });
}

pub(crate) fn converged_model() -> Model {
    many_model(100)
}

fn node(number: u32, view: ViewDigest) -> Node {
    Node {
        name: name(number),
        role: if number == 0 { Role::Bootstrap } else { Role::Node },
        state: UnitState::Up,
        since: Some(ago(120_000 - u64::from(number) * 90)),
        address: Some(std::net::SocketAddr::from(([127, 0, 0, 1], 5000 + number as u16))),
        reporting: true,
        id: None,
        epoch: Some(Epoch(NOW.0 - 120_000)),
        view,
        view_changed_at: Some(ago(60_000)),
        agrees: true,
        ghosts: 0,
        missing: 0,
        suspects: 0,
        messages: 2,
        load: Some(Load { rss_bytes: 5_100_000 + u64::from(number) * 1_000, ..Load::default() }),
        cpu_percent: Some(0.1),
    }
}

fn trace(seq: u64, text: &str, last_ms: u64, delivered: u32, expected: u32) -> Trace {
    let accepted_at = ago(10_000 / seq);
    let arrivals = (1..=delivered).map(|i| {
        let (target, hop) = (name(i % (delivered.max(101))), i / 10);
        let mut path: Vec<NodeName> = vec![name(1)];
        path.extend((0..hop.min(3)).map(|step| name(10 + step * 7 + i % 5)));
        if i > 1 {
            path.push(target.clone());
        }
        let at = UnixMillis(accepted_at.0 + last_ms * u64::from(i - 1) / u64::from(delivered.max(2) - 1));
        Arrival { node: target, path, at, via: Via::default(), late: false }
    });
    Trace {
        id: MessageId { origin: name(1), epoch: Epoch(NOW.0 - 120_000), seq },
        text: Some(text.into()),
        accepted_at,
        arrivals: arrivals.collect(),
        delivered,
        expected,
        duplicates: 0,
    }
}

/// node7 was killed 3.1 s ago; a few have noticed.
pub(crate) fn one_dead_model() -> Model {
    let mut model = converged_model();
    let right: ViewDigest = (0..=100).filter(|i| *i != 7).map(name).collect::<Vec<_>>().iter().collect();
    for (i, node) in model.picture.nodes.iter_mut().enumerate() {
        match i {
            7 => {
                (node.state, node.since, node.reporting) = (UnitState::Dead, Some(ago(3_100)), false);
                (node.agrees, node.cpu_percent) = (false, None);
            }
            0..60 => (node.view, node.agrees) = (right, true),
            60 => (node.state, node.since) = (UnitState::Paused, Some(ago(41_000))),
            _ => (node.agrees, node.ghosts, node.suspects) = (false, 1, u32::from(i % 2 == 0)),
        }
    }
    let summary = &mut model.picture.summary;
    (summary.verdict, summary.converged) = (Verdict::Converging, false);
    (summary.converged_in_ms, summary.converging_for_ms) = (None, Some(3_100));
    summary.reason = "40 of 99 nodes still believe node7 alive".into();
    (summary.nodes.up, summary.nodes.dead, summary.nodes.paused) = (99, 1, 1);
    (summary.members.agree, summary.members.ghosts, summary.members.suspects) = (59, 1, 1);
    model.picture.traces.insert(0, trace(3, "is \u{1b}[31manyone\nthere?", 38, 60, 99));
    model.agreement.sample(ago(3_100), Some(0.0));
    model.agreement.sample(ago(1_200), Some(20.0));
    model.agreement.sample(ago(400), Some(59.0));
    model.agreement.mark(ago(3_100), MarkKind::Down);
    line(&mut model, 3_200, "you", ChangeKind::Watch, "kill 7");
    line(&mut model, 3_100, "node7", ChangeKind::Dead, "ended with 137");
    line(&mut model, 3_000, "network", ChangeKind::Diverged, "100 nodes differ from the truth");
    line(&mut model, 1_300, "node7", ChangeKind::Suspected, "accused by node31");
    line(&mut model, 1_200, "node7", ChangeKind::DeclaredDead, "first seen by node31");
    model.nodes.arrange(&model.picture.nodes, &model.picture.ring);
    model.nodes.selected = Some(name(7));
    model
}

/// A cut that one node forgot, and loss everywhere.
pub(crate) fn with_faults(model: &mut Model) {
    let fault = |fault: &str, kind, short: &str, nodes, not_on: Vec<NodeName>, for_ms| FaultState {
        fault: fault.into(),
        kind,
        short: short.into(),
        nodes,
        not_on,
        for_ms,
    };
    model.picture.summary.faults = vec![
        fault("cut 1-50 | bootstrap 51-100", "cut", "cut 50|51", 98, vec![name(9)], 73_000),
        fault("loss 30%", "loss", "loss 30%", 99, Vec::new(), 12_400),
    ];
    for node in &mut model.picture.nodes {
        node.load = Some(Load { lost_to_faults: 120, ..node.load.take().unwrap_or_default() });
    }
}

pub(crate) fn engine_lost_model() -> Model {
    let mut model = converged_model();
    let why = "connection refused on unix:///var/run/docker.sock".to_owned();
    model.picture.engine_lost = Some((ago(12_000), why));
    model.picture.summary.verdict = Verdict::Unknown;
    model.picture.summary.converged = false;
    let failure = Failure::new("could not stop `node7`: the engine does not answer")
        .hint("start it with `systemctl start docker`");
    model.notify(true, failure.to_string().replace('\n', "  "));
    model
}

/// As node `observer` sees them.
pub(crate) fn with_members(model: &mut Model, observer: u32) {
    let members = (0..=100).filter(|i| *i != observer).map(|i| MemberDetail {
        name: name(i),
        address: format!("http://{}:5000", name(i)),
        status: match i {
            7 => Status::Dead,
            60 => Status::Suspect,
            _ => Status::Alive,
        },
        epoch: Epoch(NOW.0 - 120_000),
        incarnation: u32::from(i == 9),
        for_ms: if i == 7 { 1_200 } else { 118_000 },
        accusers: match i {
            7 => vec![name(31), name(88)],
            60 => vec![name(12)],
            _ => Vec::new(),
        },
        neighbour: i % 17 == 3,
    });
    model.nodes.selected = Some(name(observer));
    model.peers.wanted = Some(name(observer));
    let reply = MembersReply { observer: name(observer), members: members.collect() };
    model.peers.table = Some((NOW, reply));
}

/// The network's overlay is a tree, and node 3 is one of its nodes; the trace of "apple" has seen better days.
pub(crate) fn with_overlay(model: &mut Model) {
    let summary = &mut model.picture.summary;
    summary.overlay = OverlayCounts {
        nodes: 101,
        links: 262,
        eager: 104,
        lazy: 158,
        one_sided: 1,
        degree_min: 5,
        degree_mean: 5.19,
        degree_max: 8,
        mode: Some(Mode::Tree),
    };
    (summary.messages.redundancy, summary.messages.last_hop) = (Some(0.034), Some(7));
    summary.messages.ways = Ways { push: 195, graft: 4, repair: 1, late: 2 };
    let neighbour = |number: u32, eager, back, others: &[u32]| Neighbour {
        name: name(number),
        eager,
        back,
        others: others.iter().map(|other| name(*other)).collect(),
    };
    model.picture.about.node = Some(name(3));
    model.picture.about.neighbours = vec![
        neighbour(0, true, Some(true), &[3, 12, 41, 60, 88]),
        neighbour(41, true, Some(false), &[0, 3, 9, 77, 81]),
        neighbour(9, false, Some(false), &[3, 5, 41, 52, 66, 90]),
        neighbour(52, false, Some(true), &[3, 9, 18]),
        neighbour(99, false, None, &[1, 2]),
    ];
    for (i, arrival) in model.picture.traces.iter_mut().flat_map(|trace| trace.arrivals.iter_mut().enumerate()) {
        (arrival.via, arrival.late) = match i {
            0 => (Via::Own, false),
            4 => (Via::Graft, false),
            7 => (Via::Repair, true),
            _ => (Via::Push, false),
        };
    }
}

/// What happened to the selected node.
pub(crate) fn with_story(model: &mut Model) {
    let chapter = |ms: u64, kind, text: &str| Chapter { at: ago(ms), kind, text: text.into() };
    model.picture.about.node.clone_from(&model.nodes.selected);
    model.picture.about.story = vec![
        chapter(41_000, ChangeKind::Suspected, "accused by node3 (+2 more)"),
        chapter(40_500, ChangeKind::Refuted, "heard by 100 of 100"),
        chapter(30_000, ChangeKind::Dead, "ended by a signal or an error"),
        chapter(29_100, ChangeKind::Suspected, "accused by node31 (+4 more)"),
        chapter(27_900, ChangeKind::DeclaredDead, "seen by 99 of 99, 2.1 s to 2.4 s after its end"),
        chapter(12_000, ChangeKind::Up, "started again"),
        chapter(11_700, ChangeKind::CameBack, "new life, seen by 100 of 100, 0.3 s to 0.5 s after its start"),
        chapter(3_100, ChangeKind::Dead, "ended by a signal or an error"),
        chapter(1_300, ChangeKind::Suspected, "accused by node31"),
        chapter(1_200, ChangeKind::DeclaredDead, "seen by 59 of 99, 1.9 s to 2.7 s after its end"),
    ];
}

/// None runs and none could be started.
pub(crate) fn failed_model() -> Model {
    let mut model = new_model();
    let failure = Failure::new("port 5003 is already in use").hint("choose ports with `--base-port 8000`");
    update(&mut model, NOW, Message::OpeningFailed(failure));
    assert!(matches!(model.opening, Opening::Failed(_)));
    model
}
