//! A bad day on the wire: somebody who can reach a node's port and means it no good, while a network is at work.
#![allow(clippy::disallowed_methods, reason = "tests of the runtime live in real time")]

mod support;

use std::time::Duration;

use p2pnet_node::{NodeHandle, start};
use p2pnet_shared::{
    Epoch, NodeName,
    wire::{
        Codec, FRAME_MAX_BYTES, Hello, LINK_PREFACE,
        membership::{Claim, Datagram, Message, Status},
    },
};
use support::{all_agree, all_linked, get, live, members, metric, post, settings, status, until};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
};

/// Most memory the whole test process, its nodes and its thousand connections together, may come to hold more, bytes.
const MEMORY_MAX: u64 = 64 * 1_024 * 1_024;

/// Three nodes with a secret and little patience.
async fn network(test: &str) -> Vec<NodeHandle> {
    let mut nodes: Vec<NodeHandle> = Vec::new();
    for name in ["bootstrap", "node1", "node2"] {
        let mut settings = settings(test, name);
        settings.secret = Some("s3cret".to_owned());
        settings.limits.header_timeout = Duration::from_millis(500);
        settings.limits.body_timeout = Duration::from_millis(500);
        settings.limits.frame_timeout = Duration::from_millis(500);
        settings.limits.dial_timeout = Duration::from_millis(500);
        settings.bootstrap = nodes.first().map(|first| first.url().parse().unwrap());
        nodes.push(start(settings).await.unwrap());
    }
    all_agree(&nodes).await;
    all_linked(&nodes).await;
    nodes
}

/// Whether the node answers, having closed whoever overstayed.
async fn is_well_again(node: &NodeHandle) {
    until("the node answers /health", || async {
        let reply = reqwest::get(format!("{}/health", node.url())).await.ok()?;
        (reply.status() == 200).then_some(())
    })
    .await;
}

/// Who believes what of whom.
async fn rows(nodes: &[NodeHandle]) -> Vec<(String, u64, u32, Status)> {
    let mut rows = Vec::new();
    for node in nodes {
        for row in members(node).await.members {
            rows.push((format!("{} in {}", row.name, node.name), row.epoch.0, row.incarnation, row.status));
        }
    }
    rows
}

async fn silent(node: &NodeHandle, say: &[u8]) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(node.addr).await.ok()?;
    let _ = stream.write_all(say).await;
    Some(stream)
}

#[tokio::test]
async fn a_thousand_connections_that_say_nothing() {
    let nodes = network("silence").await;
    let (before, memory) = (rows(&nodes).await, status(&nodes[0]).await.rss_bytes);
    let mut open = Vec::new();
    for number in 0..1_000 {
        // Nothing at all, a first byte, half a preface, half a request.
        let say: &[u8] = match number % 4 {
            0 => b"",
            1 => &LINK_PREFACE[..1],
            2 => &LINK_PREFACE[..5],
            _ => b"POST /broadcast HTTP/1.1\r\ncontent-le",
        };
        open.extend(silent(&nodes[0], say).await);
    }
    assert!(open.len() > 900, "they were let in or refused, not left waiting: {}", open.len());
    is_well_again(&nodes[0]).await;
    let refused = metric(&nodes[0], "connections_refused_total").await + metric(&nodes[0], "links_refused_total").await;
    assert!(refused > 500, "only so many at once: {refused} refused");
    let grown = status(&nodes[0]).await.rss_bytes.saturating_sub(memory);
    assert!(grown < MEMORY_MAX, "{grown} bytes more");
    // Each of them has been closed by the node; none waits for ever.
    for mut stream in open {
        let read = tokio::time::timeout(support::DEADLINE, stream.read_to_end(&mut Vec::new())).await;
        assert!(read.is_ok(), "a silent connection stays open");
    }
    assert_eq!(rows(&nodes).await, before, "nobody's view has changed");
    let sent = post(&nodes[1], "/broadcast", r#"{"msg":"still here"}"#).await;
    assert_eq!(sent.0, 202);
    until("the message arrives", || async {
        (get(&nodes[0], "/messages").await.1["messages"].as_array()?.len() == 1).then_some(())
    })
    .await;
}

/// A length that is too long, one that is never followed by its bytes, and one byte at a time.
#[tokio::test]
async fn lengths_that_lie_and_bytes_that_trickle() {
    let nodes = network("trickle").await;
    let (before, memory) = (rows(&nodes).await, status(&nodes[0]).await.rss_bytes);
    let mut open = Vec::new();
    for length in [u32::MAX, u32::try_from(FRAME_MAX_BYTES * 2).unwrap(), u32::try_from(FRAME_MAX_BYTES).unwrap(), 0] {
        for _ in 0..20 {
            let say = [LINK_PREFACE.as_slice(), &length.to_be_bytes(), &[0xD2; 100]].concat();
            open.extend(silent(&nodes[0], &say).await);
        }
    }
    for request in [
        "POST /broadcast HTTP/1.1\r\ncontent-length: 18446744073709551615\r\n\r\nx".to_owned(),
        "POST /broadcast HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n".to_owned(),
        format!("GET /{} HTTP/1.1\r\n", "a".repeat(200_000)),
        format!("GET / HTTP/1.1\r\n{}", "x: y\r\n".repeat(50_000)),
    ] {
        open.extend(silent(&nodes[0], request.as_bytes()).await);
    }
    let mut slow = Vec::new();
    for _ in 0..20 {
        slow.extend(silent(&nodes[0], b"").await);
    }
    let mut alive = slow.len();
    for byte in "GET /health HTTP/1.1\r\nhost: somewhere.example\r\n".bytes().cycle().take(400) {
        if alive == 0 {
            break;
        }
        alive = 0;
        for stream in &mut slow {
            alive += usize::from(stream.write_all(&[byte]).await.is_ok());
        }
        tokio::time::sleep(Duration::from_millis(10)).await; // the pace of whoever trickles, nothing is waited for
    }
    for stream in open.iter_mut().chain(&mut slow) {
        let read = tokio::time::timeout(support::DEADLINE, stream.read_to_end(&mut Vec::new())).await;
        assert!(read.is_ok(), "one of them is still served");
    }
    is_well_again(&nodes[0]).await;
    let grown = status(&nodes[0]).await.rss_bytes.saturating_sub(memory);
    assert!(grown < MEMORY_MAX, "{grown} bytes more");
    assert_eq!(rows(&nodes).await, before, "nobody's view has changed");
}

/// Invariant 23 on the wire: noise, another secret, ours with a bit flipped, and ours once more.
#[tokio::test]
async fn strangers_datagrams_change_nothing() {
    let test = "strangers";
    let nodes = network(test).await;
    let before = rows(&nodes).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let victim = &nodes[0];
    let guess = Codec::new(&support::network(test), Some("guess"));
    let plain = Codec::new(&support::network(test), None);
    let ours = Codec::new(&support::network(test), Some("s3cret"));
    let told = gossip_of_node9();
    let sealed = ours.encode(&told);
    let refused = metric(victim, "datagrams_refused_total").await;
    let mut sent = 0;
    for round in 0..200_usize {
        let mut flipped = sealed.clone();
        flipped[round % sealed.len()] ^= 1 << (round % 8);
        for bytes in
            [guess.encode(&told), plain.encode(&told), flipped, vec![0xD2; 1 + round * 7 % 1_400], vec![0; round]]
        {
            socket.send_to(&bytes, victim.addr).await.unwrap();
            sent += 1;
        }
        if round % 20 == 19 {
            let seen = format!("{sent} datagrams are refused");
            until(&seen, || async {
                (metric(victim, "datagrams_refused_total").await >= refused + sent - 20).then_some(())
            })
            .await;
        }
    }
    assert_eq!(rows(&nodes).await, before, "no belief has changed");
    assert_eq!(live(victim).await.len(), 2);
    // The very same claims under the right seal are heard: it was the seal that kept them out.
    socket.send_to(&sealed, victim.addr).await.unwrap();
    until("node9 is heard of", || async { support::status_of(victim, "node9").await.map(drop) }).await;
    let after = rows(&nodes[..1]).await;
    for _ in 0..50 {
        socket.send_to(&sealed, victim.addr).await.unwrap();
    }
    until("the replays are in", || async {
        (metric(victim, "datagrams_received_total").await > sent + 50).then_some(())
    })
    .await;
    let known = |rows: &[(String, u64, u32, Status)]| rows.iter().map(|row| (row.0.clone(), row.1)).collect::<Vec<_>>();
    assert_eq!(known(&rows(&nodes[..1]).await), known(&after), "a replay brings nobody new and no newer life");
}

/// That somebody we never met is alive, at an address where nobody is.
fn gossip_of_node9() -> Datagram {
    let member = NodeName::numbered(9);
    let claim = Claim {
        member: member.clone(),
        addr: "127.0.0.1:9".parse().unwrap(),
        epoch: Epoch(1),
        incarnation: 0,
        status: Status::Alive,
        accuser: None,
        link_lost: false,
    };
    Datagram { from: member, message: Message::Gossip, claims: vec![claim] }
}

/// A stranger who knows the preface opens link after link and never says a frame.
#[tokio::test]
async fn links_that_say_hello_and_nothing_more() {
    let test = "hello-only";
    let nodes = network(test).await;
    let memory = status(&nodes[0]).await.rss_bytes;
    let ours = Codec::new(&support::network(test), Some("s3cret"));
    let mut open = Vec::new();
    for number in 100..400 {
        let hello = Hello { name: NodeName::numbered(number), epoch: Epoch(1) };
        let say = [LINK_PREFACE.as_slice(), &ours.encode_frame(&hello)].concat();
        open.extend(silent(&nodes[0], &say).await);
    }
    is_well_again(&nodes[0]).await;
    until("no more links than the limit", || async {
        (metric(&nodes[0], "links_refused_total").await >= 200).then_some(())
    })
    .await;
    let grown = status(&nodes[0]).await.rss_bytes.saturating_sub(memory);
    assert!(grown < MEMORY_MAX, "{grown} bytes more");
    assert_eq!(live(&nodes[0]).await, ["node1", "node2"], "a hello makes nobody a member");
    let sent = post(&nodes[1], "/broadcast", r#"{"msg":"over the links that count"}"#).await;
    assert_eq!(sent.0, 202);
    until("the message arrives", || async {
        (get(&nodes[0], "/messages").await.1["messages"].as_array()?.len() == 1).then_some(())
    })
    .await;
}
