//! Bytes into a real gateway, and a gateway and a node that are none. All of one test runs in one thread, so the memory
//! counted is the whole of it.
#![allow(clippy::disallowed_methods, reason = "tests of the runtime live in real time")]

use std::{net::SocketAddr, time::Duration};

use p2pnet::{
    cluster::GatewayAddress,
    feed::{Feed, FeedError},
    gateway::{Gateway, GatewayOptions},
};
use p2pnet_shared::{
    Epoch, MessageId, NodeName, UnixMillis,
    client::{Client, ClientError, REPLY_MAX_BYTES},
    telemetry::{Delivery, FeedLine, Report},
    wire::{Codec, Hello, LINK_PREFACE, broadcast::Via},
};
use proptest::{collection::vec, prelude::*};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    time::timeout,
};
use uuid::Uuid;

use crate::hostile::{self, harm::harm, memory::Mark, values};

const DEADLINE: Duration = Duration::from_secs(30);
/// What a gateway may hold for one connection beside what was sent to it.
const CONNECTION_BYTES: usize = 512 * 1_024;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

async fn gateway() -> GatewayAddress {
    let options = GatewayOptions {
        network: "lab".parse().expect("a name"),
        port: 0,
        bind: "127.0.0.1".parse().expect("an address"),
        token: "t0ken".into(),
        secret: None,
    };
    let gateway = Gateway::bind(options).await.expect("a gateway");
    let addr = gateway.local_addr().expect("it listens");
    tokio::spawn(gateway.serve());
    GatewayAddress { addr, token: "t0ken".into() }
}

fn codec() -> Codec {
    Codec::new(&"lab".parse().expect("a name"), None)
}

/// A link's first frames.
fn begins(number: u32) -> Vec<u8> {
    let (name, epoch) = (NodeName::numbered(number), Epoch(1));
    let mut bytes = LINK_PREFACE.to_vec();
    bytes.extend(codec().encode_frame(&Hello { name, epoch }));
    let addr = "127.0.0.1:9".parse().expect("an address");
    bytes.extend(codec().encode_frame(&Report::Hello { id: Uuid::nil(), epoch, addr }));
    bytes
}

/// Sends bytes on one connection, closes its half, and reads until the other closes, too.
async fn takes(addr: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(addr).await.expect("it listens");
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut reply = Vec::new();
    let read = timeout(DEADLINE, stream.read_to_end(&mut reply)).await;
    read.expect("the gateway closes in time").ok();
    reply
}

async fn is_well(addr: SocketAddr) -> bool {
    takes(addr, b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.starts_with(b"HTTP/1.1 200")
}

#[test]
fn hurt_links_and_requests_into_a_gateway() {
    let runtime = runtime();
    let gateway = runtime.block_on(gateway());
    let link = (1_u32..5, vec(values::report(), 0..8)).prop_map(|(number, reports)| {
        let mut bytes = begins(number);
        reports.iter().for_each(|report| bytes.extend(codec().encode_frame(report)));
        bytes
    });
    let request = prop_oneof![
        Just("GET /feed HTTP/1.1\r\nhost: x\r\nauthorization: Bearer t0keX\r\n\r\n"),
        Just("GET /nodes/node1/status HTTP/1.1\r\nhost: x\r\nauthorization: Bearer t0ken\r\nconnection: close\r\n\r\n"),
        Just(
            "POST /nodes/%2e%2e/x?y=%00 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer t0ken\r\nconnection: close\r\n\r\n"
        ),
    ];
    let said = prop_oneof![3 => link.boxed(), 1 => request.prop_map(|text| text.as_bytes().to_vec()).boxed()];
    let hurt = (said, vec(harm(), 0..6)).prop_map(|(mut bytes, harms)| {
        harms.iter().for_each(|harm| harm.to(&mut bytes));
        bytes
    });
    let mut runner = proptest::test_runner::TestRunner::new(hostile::config(150));
    let outcome = runner.run(&hurt, |bytes| {
        let memory = Mark::set();
        runtime.block_on(takes(gateway.addr, &bytes));
        let held = memory.peak();
        prop_assert!(held <= 64 * bytes.len() + CONNECTION_BYTES, "{} held for {} bytes", held, bytes.len());
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    assert!(runtime.block_on(is_well(gateway.addr)));
    // And what it tells is a feed all the same.
    runtime.block_on(async {
        let mut feed = Feed::open(&gateway).await.expect("a feed");
        while timeout(DEADLINE, feed.next()).await.expect("in time").expect("a line") != FeedLine::CaughtUp {}
    });
}

/// A node that reports texts of a megabyte, ways of a hundred thousand names, and one delivery again and again.
#[test]
fn reports_no_correct_node_sends_cost_a_gateway_nothing() {
    let runtime = runtime();
    let gateway = runtime.block_on(gateway());
    let memory = Mark::set();
    let delivery = |seq, path: usize, text: usize| {
        let id = MessageId { origin: NodeName::numbered(1), epoch: Epoch(1), seq };
        let path = vec![NodeName::numbered(1); path];
        Report::Delivered(Delivery {
            id,
            path,
            at: UnixMillis(1),
            text: Some("x".repeat(text)),
            via: Via::Push,
            late: false,
        })
    };
    for seq in 0..12 {
        for report in [delivery(seq, 1, 900_000), delivery(1_000 + seq, 100_000, 0)] {
            let bytes = [begins(1), codec().encode_frame(&report)].concat();
            runtime.block_on(takes(gateway.addr, &bytes));
        }
    }
    assert!(memory.kept() < 2_000_000, "{} bytes kept of messages too long", memory.kept());
    let repeated = codec().encode_frame(&delivery(1, 30, 8_000)).repeat(300);
    runtime.block_on(takes(gateway.addr, &[begins(1), repeated].concat()));
    let history = Mark::set();
    runtime.block_on(async {
        let mut feed = Feed::open(&gateway).await.expect("a feed");
        while timeout(DEADLINE, feed.next()).await.expect("in time").expect("a line") != FeedLine::CaughtUp {}
    });
    assert!(history.peak() < 1_000_000, "{} bytes for one message told again and again", history.peak());
}

/// Somebody else answers where the gateway was.
#[test]
fn a_feed_from_somebody_else() {
    let runtime = runtime();
    let mut runner = proptest::test_runner::TestRunner::new(hostile::config(60));
    let lines = vec(values::feed_line(), 0..6).prop_map(|lines| {
        let lines = lines.iter().map(|line| serde_json::to_string(line).expect("plain data") + "\n");
        lines.collect::<String>().into_bytes()
    });
    let body = crate::hostile::harm::harmed(lines);
    let outcome = runner.run(&body, |body| {
        let length = body.len();
        let memory = Mark::set();
        let ended = runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let gateway = GatewayAddress { addr: listener.local_addr().expect("bound"), token: "t".into() };
            let answer = async {
                let (mut stream, _) = listener.accept().await.expect("a reader");
                let _ = stream.read(&mut [0; 2_048]).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n").await;
                let _ = stream.write_all(&body).await;
            };
            let reading = async {
                let mut feed = Feed::open(&gateway).await?;
                while feed.next().await.map(|_| true)? {}
                Ok::<(), FeedError>(())
            };
            let ((), ended) = tokio::join!(answer, timeout(DEADLINE, reading));
            ended.expect("it ends in time")
        });
        prop_assert!(ended.is_err(), "the lines end, and the feed says so");
        prop_assert!(memory.peak() <= 256 * length + CONNECTION_BYTES, "{} for {}", memory.peak(), length);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

/// A node, or whoever sits on its port, whose reply never ends.
#[test]
fn a_reply_without_end_is_given_up() {
    let runtime = runtime();
    let memory = Mark::set();
    let asked = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let client = Client::new(&format!("http://{}", listener.local_addr().expect("bound"))).expect("a client");
        let endless = async {
            let (mut stream, _) = listener.accept().await.expect("a caller");
            let _ = stream.read(&mut [0; 2_048]).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n").await;
            while stream.write_all(&[b' '; 64 * 1_024]).await.is_ok() {}
        };
        tokio::select! {
            asked = client.status() => asked,
            () = async { endless.await; std::future::pending().await } => unreachable!("it never ends"),
        }
    });
    assert!(matches!(asked, Err(ClientError::Strange { .. })), "{asked:?}");
    assert!(memory.peak() < 4 * REPLY_MAX_BYTES, "{} bytes held", memory.peak());
}
