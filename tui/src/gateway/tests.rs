//! A real gateway on a free port, nodes made by hand on its links, and the very feed reader and client that verbs use.

use std::time::Duration;

use p2pnet_shared::{
    Epoch, FilePath, MessageId, NodeName, UnixMillis,
    client::{Client, ClientError},
    fault::ActiveFault,
    ring::{Place, RingDigest},
    telemetry::{
        Delivery, FeedLine, FileProgress, FolderCounts, FolderEvent, HeldFile, HeldKey, KeyCounts, Load, MemberEvent,
        MemberEventKind, MemberRow, Report,
    },
    wire::{Hello, LINK_PREFACE, REPORT_MAX_BYTES, broadcast::Via, folder::Root, membership::Status},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::{cluster::GatewayAddress, feed::Feed};

mod late;

const SOON: Duration = Duration::from_secs(10);

async fn gateway() -> GatewayAddress {
    let options = GatewayOptions {
        network: "lab".parse().unwrap(),
        port: 0,
        bind: "127.0.0.1".parse().unwrap(),
        token: "t0ken".into(),
        secret: Some("s3cret".into()),
    };
    let gateway = Gateway::bind(options).await.unwrap();
    let addr = gateway.local_addr().unwrap();
    tokio::spawn(gateway.serve());
    GatewayAddress { addr, token: "t0ken".into() }
}

/// A node's end of its telemetry link.
struct Link {
    stream: TcpStream,
    codec: Codec,
}

impl Link {
    async fn open(gateway: &GatewayAddress, node: u32, epoch: u64, addr: &str) -> Self {
        let codec = Codec::new(&"lab".parse().unwrap(), Some("s3cret"));
        let mut link = Self { stream: TcpStream::connect(gateway.addr).await.unwrap(), codec };
        link.stream.write_all(&LINK_PREFACE).await.unwrap();
        let hello = Hello { name: NodeName::numbered(node), epoch: Epoch(epoch) };
        link.stream.write_all(&link.codec.encode_frame(&hello)).await.unwrap();
        link.says(Report::Hello { id: uuid::Uuid::nil(), epoch: Epoch(epoch), addr: addr.parse().unwrap() }).await;
        link
    }

    async fn says(&mut self, report: Report) {
        self.stream.write_all(&self.codec.encode_frame(&report)).await.unwrap();
    }

    /// Whether the gateway has closed the link.
    async fn is_closed(&mut self) -> bool {
        matches!(tokio::time::timeout(SOON, self.stream.read(&mut [0; 8])).await, Ok(Ok(0) | Err(_)))
    }
}

fn row(member: u32, status: Status) -> MemberRow {
    MemberRow { member: NodeName::numbered(member), epoch: Epoch(5), incarnation: 1, status }
}

fn died(member: u32) -> Report {
    let event = MemberEvent {
        kind: MemberEventKind::Died,
        row: row(member, Status::Dead),
        accuser: None,
        accusers: 0,
        new_life: false,
    };
    Report::Member { event, at: UnixMillis(77) }
}

fn delivery(seq: u64, path: &[u32]) -> Delivery {
    let id = MessageId { origin: NodeName::numbered(path[0]), epoch: Epoch(10), seq };
    let path: Vec<NodeName> = path.iter().map(|n| NodeName::numbered(*n)).collect();
    let (text, via) = ((path.len() <= 2).then(|| format!("text {seq}")), if seq == 1 { Via::Own } else { Via::Graft });
    Delivery { id, text, path, at: UnixMillis(seq), via, late: seq == 2 }
}

async fn next(feed: &mut Feed) -> FeedLine {
    tokio::time::timeout(SOON, feed.next()).await.expect("a line in time").expect("a line")
}

/// Lines up to the one that `last` accepts, that one included.
async fn until(feed: &mut Feed, mut last: impl FnMut(&FeedLine) -> bool) -> Vec<FeedLine> {
    let mut lines = Vec::new();
    loop {
        lines.push(next(feed).await);
        if lines.last().is_some_and(&mut last) {
            return lines;
        }
    }
}

fn report(node: u32, report: Report) -> FeedLine {
    FeedLine::Report { node: NodeName::numbered(node), report }
}

#[tokio::test]
async fn a_newcomer_is_told_todays_state_and_then_what_happens() {
    let gateway = gateway().await;
    let mut early = Feed::open(&gateway).await.unwrap();
    assert_eq!(next(&mut early).await, FeedLine::CaughtUp, "nobody has reported");
    let mut link = Link::open(&gateway, 1, 10, "0.0.0.0:5001").await;
    let members = vec![row(2, Status::Alive), row(3, Status::Alive)];
    link.says(Report::Snapshot { members, deliveries: vec![delivery(1, &[1])], links: vec![] }).await;
    link.says(died(3)).await;
    link.says(Report::Delivered(delivery(2, &[4, 2, 1]))).await;
    let load = Load { rss_bytes: 7, ..Load::default() };
    let faults = vec![ActiveFault {
        fault: serde_json::from_str(r#"{"loss":{"percent":30}}"#).unwrap(),
        since: UnixMillis(4),
        spared: Default::default(),
    }];
    link.says(Report::Faults { faults: faults.clone(), healed_at: None }).await;
    link.says(Report::Load(load.clone())).await;
    let lines = until(&mut early, |line| *line == report(1, Report::Load(load.clone()))).await;
    assert_eq!(lines.len(), 6, "as it happened: {lines:?}");

    let mut late = Feed::open(&gateway).await.unwrap();
    let lines = until(&mut late, |line| *line == FeedLine::CaughtUp).await;
    let addr = "127.0.0.1:5001".parse().unwrap();
    let hello = Report::Hello { id: uuid::Uuid::nil(), epoch: Epoch(10), addr };
    let members = vec![row(2, Status::Alive), row(3, Status::Dead)];
    let deliveries = vec![delivery(1, &[1]), delivery(2, &[4, 2, 1])];
    let links = vec![];
    let state = [
        hello,
        Report::Snapshot { members, deliveries, links },
        Report::Load(load),
        Report::Faults { faults, healed_at: None },
    ];
    let mut expected: Vec<FeedLine> = state.into_iter().map(|said| report(1, said)).collect();
    expected.push(FeedLine::CaughtUp);
    assert_eq!(lines, expected);

    drop(link);
    let is_lost = |line: &FeedLine| matches!(line, FeedLine::Lost { node, .. } if *node == NodeName::numbered(1));
    assert_eq!(until(&mut late, is_lost).await.len(), 1, "lost, and nothing before it");
    let mut later = Feed::open(&gateway).await.unwrap();
    let lines = until(&mut later, |line| *line == FeedLine::CaughtUp).await;
    assert!(is_lost(&lines[lines.len() - 2]), "a node whose link is down ends with that: {lines:?}");
}

#[tokio::test]
async fn a_newcomer_is_told_who_holds_which_keys_and_nothing_of_those_that_are_gone() {
    let gateway = gateway().await;
    let mut early = Feed::open(&gateway).await.unwrap();
    let held = |anew, keys: &[(u64, Option<u64>)]| {
        let keys = keys.iter().map(|(place, versions)| HeldKey { place: Place(*place), versions: *versions });
        Report::Held { anew, sampled: 0, keys: keys.collect() }
    };
    let ring = Report::Ring { digest: RingDigest(77), at: UnixMillis(5) };
    let counts = Report::Keys(KeyCounts { keys: 3, ..KeyCounts::default() });
    let mut links = Vec::new();
    for node in 1..=3 {
        let mut link = Link::open(&gateway, node, 10, "127.0.0.1:1").await;
        link.says(ring.clone()).await;
        link.says(counts.clone()).await;
        link.says(held(true, &[(1, Some(5)), (2, Some(5)), (3, Some(5))])).await;
        links.push(link);
    }
    drop(links.pop());
    until(&mut early, |line| matches!(line, FeedLine::Lost { .. })).await;
    // While node3 is away the first key is written again, the second is deleted, the third is handed over by one of them.
    links[0].says(held(false, &[(1, Some(6)), (2, None), (3, None)])).await;
    links[1].says(held(false, &[(1, Some(6)), (2, None)])).await;
    let mut last = 0;
    until(&mut early, |line| {
        last += usize::from(matches!(line, FeedLine::Report { report: Report::Held { anew: false, .. }, .. }));
        last == 2
    })
    .await;
    let mut late = Feed::open(&gateway).await.unwrap();
    let lines = until(&mut late, |line| *line == FeedLine::CaughtUp).await;
    let told = |node| {
        let mine = lines.iter().filter_map(move |line| match line {
            FeedLine::Report { node: of, report } if *of == NodeName::numbered(node) => Some(report.clone()),
            _ => None,
        });
        mine.filter(|report| !matches!(report, Report::Hello { .. })).collect::<Vec<_>>()
    };
    assert_eq!(told(1), [ring.clone(), counts.clone(), held(true, &[(1, Some(6))])]);
    assert_eq!(told(2), [ring.clone(), counts.clone(), held(true, &[(1, Some(6)), (3, Some(5))])]);
    assert_eq!(told(3), [ring, counts, held(true, &[(3, Some(5))])], "what it alone remembers is gone");
}

/// A node tells what changed twice a second: one that is killed between a deletion and its next report leaves no key behind
/// that nobody could ever reach.
#[tokio::test]
async fn a_key_deleted_just_before_its_last_teller_died_is_gone() {
    let gateway = gateway().await;
    let mut early = Feed::open(&gateway).await.unwrap();
    let held = |anew, keys: &[(u64, Option<u64>)]| {
        let keys = keys.iter().map(|(place, versions)| HeldKey { place: Place(*place), versions: *versions });
        Report::Held { anew, sampled: 0, keys: keys.collect() }
    };
    let mut links = Vec::new();
    for node in 1..=3 {
        let mut link = Link::open(&gateway, node, 10, "127.0.0.1:1").await;
        link.says(held(true, &[(1, Some(5)), (2, Some(5))])).await;
        links.push(link);
    }
    links[0].says(held(false, &[(1, None)])).await;
    links[1].says(held(false, &[(1, None)])).await;
    let mut told = 0;
    until(&mut early, |line| {
        told += usize::from(matches!(line, FeedLine::Report { report: Report::Held { anew: false, .. }, .. }));
        told == 2
    })
    .await;
    drop(links.pop());
    until(&mut early, |line| matches!(line, FeedLine::Lost { .. })).await;
    let mut late = Feed::open(&gateway).await.unwrap();
    let lines = until(&mut late, |line| *line == FeedLine::CaughtUp).await;
    let kept = |line: &FeedLine| {
        matches!(line, FeedLine::Report { node, report } if *node == NodeName::numbered(3)
            && *report == held(true, &[(2, Some(5))]))
    };
    assert!(lines.iter().any(kept), "{lines:?}");
}

#[tokio::test]
async fn a_later_life_replaces_the_former_and_the_former_is_sent_away() {
    let gateway = gateway().await;
    let mut feed = Feed::open(&gateway).await.unwrap();
    let mut former = Link::open(&gateway, 1, 10, "127.0.0.1:1").await;
    former.says(Report::Snapshot { members: vec![row(2, Status::Alive)], deliveries: vec![], links: vec![] }).await;
    until(&mut feed, |line| matches!(line, FeedLine::Report { report: Report::Snapshot { .. }, .. })).await;
    let mut latter = Link::open(&gateway, 1, 20, "127.0.0.1:2").await;
    latter.says(Report::Snapshot { members: vec![], deliveries: vec![], links: vec![] }).await;
    until(&mut feed, |line| matches!(line, FeedLine::Report { report: Report::Snapshot { .. }, .. })).await;
    former.says(died(2)).await;
    assert!(former.is_closed().await);
    let mut third = Link::open(&gateway, 1, 15, "127.0.0.1:3").await;
    assert!(third.is_closed().await, "a life between the two is over as well");
    latter.says(died(9)).await;
    assert_eq!(next(&mut feed).await, report(1, died(9)), "no `Lost`, nothing of the former life");
}

#[tokio::test]
async fn strangers_garbage_and_floods_change_nothing() {
    let gateway = gateway().await;
    let mut feed = Feed::open(&gateway).await.unwrap();
    assert_eq!(next(&mut feed).await, FeedLine::CaughtUp);
    let stranger = Codec::new(&"lab".parse().unwrap(), Some("guess"));
    let hello = stranger.encode_frame(&Hello { name: NodeName::numbered(1), epoch: Epoch(1) });
    let mut too_long = LINK_PREFACE.to_vec();
    too_long.extend_from_slice(&u32::MAX.to_be_bytes());
    for bytes in [vec![wire::MAGIC; 400], [LINK_PREFACE.to_vec(), hello].concat(), too_long] {
        let mut stream = TcpStream::connect(gateway.addr).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        let end = tokio::time::timeout(SOON, stream.read(&mut [0; 8])).await.expect("closed in time");
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    }
    // Half a frame, a frame that is too long, and a report before its Hello each end one link and no other.
    let mut link = Link::open(&gateway, 7, 1, "127.0.0.1:1").await;
    link.stream.write_all(&u32::try_from(REPORT_MAX_BYTES + 1).unwrap().to_be_bytes()).await.unwrap();
    assert!(link.is_closed().await);
    let lines = until(&mut feed, |line| matches!(line, FeedLine::Lost { .. })).await;
    assert_eq!(lines.len(), 2, "node7 came and went, and nobody else: {lines:?}");
}

#[tokio::test]
async fn a_reader_that_falls_behind_is_told_and_starts_over() {
    let gateway = gateway().await;
    let mut link = Link::open(&gateway, 1, 10, "127.0.0.1:1").await;
    link.says(Report::Snapshot { members: vec![], deliveries: vec![], links: vec![] }).await;
    let mut feed = Feed::open(&gateway).await.unwrap();
    until(&mut feed, |line| *line == FeedLine::CaughtUp).await;
    // Nobody reads while far more is said than the queue and the sockets hold.
    let member: NodeName = "n".repeat(60).parse().unwrap();
    let count = u32::try_from(store::READER_LINES_MAX * 10).unwrap();
    for incarnation in 1..=count {
        let row = MemberRow { member: member.clone(), epoch: Epoch(5), incarnation, status: Status::Alive };
        let event = MemberEvent { kind: MemberEventKind::Refuted, row, accuser: None, accusers: 0, new_life: false };
        link.says(Report::Member { event, at: UnixMillis(1) }).await;
    }
    until(&mut feed, |line| *line == FeedLine::Overrun).await;
    // However often it starts over, folding what follows gives what was said last.
    let mut last = 0;
    while last < count {
        match next(&mut feed).await {
            FeedLine::Report { report: Report::Snapshot { members, .. }, .. } => {
                last = members.first().map_or(0, |row| row.incarnation);
            }
            FeedLine::Report { report: Report::Member { event, .. }, .. } => {
                assert_eq!(event.row.incarnation, last + 1, "no line is missing or told twice");
                last = event.row.incarnation;
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn the_token_opens_and_nothing_else_does() {
    let gateway = gateway().await;
    let base = format!("http://{}", gateway.addr);
    let wrong = GatewayAddress { token: "guess".into(), ..gateway.clone() };
    assert_eq!(Feed::open(&wrong).await.unwrap_err(), crate::feed::FeedError::Status(401));
    let node = NodeName::numbered(1);
    let error = Client::through(&base, "guess", &node).unwrap().status().await.unwrap_err();
    assert!(matches!(&error, ClientError::Refused { status: 401, error } if error.contains("token")), "{error}");
    let health = reqwest::get(format!("{base}/health")).await.unwrap();
    assert_eq!(health.status().as_u16(), 200, "health needs no token");
    let unknown = reqwest::get(format!("{base}/nothing")).await.unwrap();
    assert_eq!(unknown.status().as_u16(), 404);
    assert!(unknown.json::<p2pnet_shared::api::ErrorReply>().await.unwrap().error.contains("/feed"));
}

#[tokio::test]
async fn the_gateway_is_a_way_in_to_each_node() {
    let gateway = gateway().await;
    let base = format!("http://{}", gateway.addr);
    let node = NodeName::numbered(1);
    let client = Client::through(&base, "t0ken", &node).unwrap();
    let error = client.status().await.unwrap_err();
    assert!(matches!(&error, ClientError::Refused { status: 404, .. }), "{error}");

    // A node's HTTP, as far as this test needs it: it answers with what it was asked.
    let app =
        axum::Router::new().fallback(|method: axum::http::Method, uri: axum::http::Uri, body: String| async move {
            (axum::http::StatusCode::ACCEPTED, [("content-type", "text/plain")], format!("{method} {uri} {body}"))
        });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let mut feed = Feed::open(&gateway).await.unwrap();
    let _link = Link::open(&gateway, 1, 10, &addr).await;
    until(&mut feed, |line| matches!(line, FeedLine::Report { .. })).await;
    let http = reqwest::Client::new();
    let ask = |path: &str| http.put(format!("{base}/nodes/node1/{path}")).bearer_auth("t0ken");
    let reply = ask("a%2Fb/c?d=e%20f").body("hi").send().await.unwrap();
    assert_eq!((reply.status().as_u16(), reply.headers()["content-type"].as_bytes()), (202, &b"text/plain"[..]));
    assert_eq!(reply.text().await.unwrap(), "PUT /a%2Fb/c?d=e%20f hi");
    let reply = ask("x").body("y".repeat(500_000)).send().await.unwrap();
    assert_eq!(reply.status().as_u16(), 413);
    // A file is as large as the node takes it; it knows beforehand how large, and is not made to wait for all of it.
    let body = "z".repeat(1_500_000);
    let reply = ask("files/docs/a%20b.txt").body(body.clone()).send().await.unwrap();
    assert_eq!(reply.status().as_u16(), 202);
    assert_eq!(reply.text().await.unwrap(), format!("PUT /files/docs/a%20b.txt {body}"));

    server.abort();
    let _ = server.await;
    let _link = Link::open(&gateway, 1, 11, "127.0.0.1:1").await;
    until(&mut feed, |line| matches!(line, FeedLine::Report { .. })).await;
    let error = client.status().await.unwrap_err();
    assert!(matches!(&error, ClientError::Refused { status: 502, error } if error.contains("node1")), "{error}");
}

#[tokio::test]
async fn a_newcomer_sees_the_folders_as_who_was_there_all_along() {
    let gateway = gateway().await;
    let mut early = Feed::open(&gateway).await.unwrap();
    let path = |number: u32| -> FilePath { format!("f{number}").parse().unwrap() };
    let root = |number: u8| Root([number; 32]);
    let file = |number: u32, contents: Option<u8>| HeldFile {
        path: path(number).hash64(),
        root: contents.map(|contents| root(contents).short()),
    };
    let files = |anew, files: &[HeldFile]| Report::Files { anew, files: files.to_vec() };
    let counts = Report::Folder(FolderCounts { files: 2, files_here: 2, ..FolderCounts::default() });
    let event = |event, at| Report::FolderEvent { event, at: UnixMillis(at) };
    let upload = |number: u32, contents: u8, at| {
        event(FolderEvent::Uploaded { path: path(number), root: root(contents), holders: 2 }, at)
    };
    let progress = FileProgress { root: 5, chunks: 64, here: 3, map: 7, sources: vec![(NodeName::numbered(2), 3)] };
    let mut links = Vec::new();
    for node in 1..=3 {
        let mut link = Link::open(&gateway, node, 10, "127.0.0.1:1").await;
        link.says(counts.clone()).await;
        link.says(files(true, &[file(1, Some(1)), file(2, Some(2)), file(3, Some(3)), file(4, Some(4))])).await;
        links.push(link);
    }
    // Four uploads: one stands, one is written again, one is deleted, one is gone with the only node that had it.
    for (number, at) in [(1, 21), (2, 22), (3, 23)] {
        links[0].says(upload(number, number as u8, at)).await;
    }
    links[2].says(files(false, &[file(9, Some(9))])).await;
    links[2].says(upload(9, 9, 24)).await;
    let mut acknowledged = 0;
    until(&mut early, |line| {
        acknowledged += usize::from(matches!(line, FeedLine::Report { report: Report::FolderEvent { .. }, .. }));
        acknowledged == 4
    })
    .await;
    for link in &mut links {
        link.says(files(false, &[file(2, Some(22)), file(3, None)])).await;
    }
    let changed = |number: u32, at| event(FolderEvent::Changed { path: path(number), root: None }, at);
    links[1].says(changed(7, 25)).await;
    links[1].says(changed(3, 26)).await;
    links[1].says(Report::Progress(vec![progress.clone(); 40])).await;
    drop(links.pop());
    until(&mut early, |line| matches!(line, FeedLine::Lost { .. })).await;
    links[1].says(Report::Load(Load::default())).await;
    until(&mut early, |line| matches!(line, FeedLine::Report { report: Report::Load(_), .. })).await;

    let mut late = Feed::open(&gateway).await.unwrap();
    let lines = until(&mut late, |line| *line == FeedLine::CaughtUp).await;
    let told = |node| {
        let mine = lines.iter().filter_map(move |line| match line {
            FeedLine::Report { node: of, report } if *of == NodeName::numbered(node) => Some(report.clone()),
            _ => None,
        });
        mine.filter(|report| !matches!(report, Report::Hello { .. } | Report::Load(_))).collect::<Vec<_>>()
    };
    let sorted = |mut held: Vec<HeldFile>| {
        held.sort_by_key(|file| file.path);
        files(true, &held)
    };
    let now = vec![file(1, Some(1)), file(2, Some(22)), file(4, Some(4))];
    assert_eq!(
        told(1),
        [counts.clone(), sorted(now.clone()), upload(1, 1, 21)],
        "what was replaced or deleted is not told"
    );
    let progress = Report::Progress(vec![progress; 16]);
    assert_eq!(told(2), [counts.clone(), sorted(now.clone()), progress, changed(3, 26)], "the last change alone");
    let gone = [now, vec![file(9, Some(9))]].concat();
    assert_eq!(told(3), [counts, sorted(gone), upload(9, 9, 24)], "a promise is not forgotten with its node");

    // A new life of it has an empty folder: what it promised in the former one is still owed.
    let mut link = Link::open(&gateway, 3, 20, "127.0.0.1:1").await;
    link.says(files(true, &[])).await;
    until(&mut early, |line| matches!(line, FeedLine::Report { report: Report::Files { .. }, .. })).await;
    let mut later = Feed::open(&gateway).await.unwrap();
    let lines = until(&mut later, |line| *line == FeedLine::CaughtUp).await;
    assert!(lines.contains(&report(3, files(true, &[]))) && lines.contains(&report(3, upload(9, 9, 24))), "{lines:?}");
}
