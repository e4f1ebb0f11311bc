//! A few real nodes on 127.0.0.1, each on a free port: real sockets, real time, one process.
#![allow(clippy::disallowed_methods, reason = "tests of the runtime live in real time")]

mod support;

use std::time::Duration;

use p2pnet_node::{config::DataFolder, start};
use p2pnet_shared::{
    Epoch, NodeName,
    telemetry::Report,
    wire::{Codec, Hello, LINK_PREFACE, broadcast::Via, membership::Status},
};
use support::{
    all_agree, all_linked, get, live, messages, network, network_of, post, settings, status, status_of, until,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

#[tokio::test]
async fn five_nodes_see_one_another_and_a_broadcast_reaches_each_once_with_its_path() {
    let nodes = network_of("broadcast", 4).await;
    all_agree(&nodes).await;
    all_linked(&nodes).await;
    let (code, reply) = post(&nodes[4], "/broadcast", r#"{"msg":"apple"}"#).await;
    assert_eq!(code, 202, "{reply}");
    for node in &nodes {
        let received = until("the message", || async {
            let received = messages(node).await.messages;
            (!received.is_empty()).then_some(received)
        })
        .await;
        assert_eq!(received.len(), 1);
        assert_eq!(
            (received[0].msg.as_str(), received[0].id.to_string()),
            ("apple", reply["id"].as_str().unwrap().to_owned())
        );
        let path = &received[0].path;
        assert_eq!((path.first(), path.last()), (Some(&nodes[4].name), Some(&node.name)));
    }
    // More of them, from everywhere at once, and each is still there once.
    for node in &nodes {
        assert_eq!(post(node, "/broadcast", r#"{"msg":"pear","ttl":1}"#).await.0, 202);
    }
    for node in &nodes {
        until("six messages", || async { (messages(node).await.messages.len() == 6).then_some(()) }).await;
    }
    let since = format!("/messages?since={}", reply["id"].as_str().unwrap());
    for node in &nodes {
        let (code, after) = get(node, &since).await;
        assert_eq!((code, after["messages"].as_array().unwrap().len()), (200, 5));
    }
}

#[tokio::test]
async fn a_killed_node_is_dead_to_the_others_and_one_that_leaves_has_left() {
    let mut nodes = network_of("kill", 4).await;
    all_agree(&nodes).await;
    all_linked(&nodes).await;
    nodes.remove(2).kill().await;
    for node in &nodes {
        until("node2 dead", || async { (status_of(node, "node2").await == Some(Status::Dead)).then_some(()) }).await;
    }
    nodes.remove(3).stop().await;
    for node in &nodes {
        until("node4 gone", || async { (status_of(node, "node4").await == Some(Status::Left)).then_some(()) }).await;
    }
    all_agree(&nodes).await;
}

#[tokio::test]
async fn the_network_goes_on_without_its_bootstrap() {
    let mut nodes = network_of("headless", 3).await;
    all_agree(&nodes).await;
    let bootstrap = nodes[0].url();
    nodes.remove(0).kill().await;
    all_agree(&nodes).await;
    // A newcomer finds the others through a peer, although its bootstrap is dead.
    let mut newcomer = settings("headless", "node9");
    newcomer.bootstrap = Some(bootstrap.parse().unwrap());
    newcomer.peers = vec![nodes[1].url().parse().unwrap()];
    nodes.push(start(newcomer).await.unwrap());
    all_agree(&nodes).await;
    all_linked(&nodes).await;
    assert_eq!(post(&nodes[3], "/broadcast", r#"{"msg":"still here"}"#).await.0, 202);
    for node in &nodes {
        until("the message", || async { (messages(node).await.messages.len() == 1).then_some(()) }).await;
    }
}

#[tokio::test]
async fn two_static_peers_are_enough_and_no_bootstrap_is_needed() {
    let mut nodes =
        vec![start(settings("static", "node1")).await.unwrap(), start(settings("static", "node2")).await.unwrap()];
    let mut third = settings("static", "node3");
    third.peers = nodes.iter().map(|node| node.url().parse().unwrap()).collect();
    nodes.push(start(third).await.unwrap());
    all_agree(&nodes).await;
}

#[tokio::test]
async fn a_node_whose_bootstrap_comes_later_says_so_and_joins() {
    let port = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().port()
    };
    let mut early = settings("late", "node1");
    early.bootstrap = Some(format!("127.0.0.1:{port}").parse().unwrap());
    let node = start(early).await.unwrap();
    let (code, health) = get(&node, "/health").await;
    assert_eq!((code, health["status"].as_str()), (503, Some("starting")), "{health}");
    assert!(health["reason"].as_str().unwrap().contains("bootstrap"));
    let mut late = settings("late", "bootstrap");
    late.port = port;
    let nodes = [node, start(late).await.unwrap()];
    all_agree(&nodes).await;
    assert_eq!(get(&nodes[0], "/health").await.0, 200);
}

#[tokio::test]
async fn a_restarted_node_keeps_its_id_and_stays_one_row() {
    let folder = tempfile::tempdir().unwrap();
    let mut nodes = network_of("restart", 2).await;
    let mut again = settings("restart", "node3");
    again.data = DataFolder::Required(folder.path().join("data"));
    again.bootstrap = Some(nodes[0].url().parse().unwrap());
    nodes.push(start(again.clone()).await.unwrap());
    all_agree(&nodes).await;
    let first = nodes.pop().unwrap();
    let (id, epoch) = (first.id, first.epoch);
    first.kill().await;
    nodes.push(start(again).await.unwrap());
    assert_eq!(nodes[3].id, id);
    assert!(nodes[3].epoch > epoch);
    all_agree(&nodes).await;
    for node in &nodes[..3] {
        until("the new life", || async {
            let rows = support::members(node).await.members;
            let rows: Vec<Epoch> = rows.iter().filter(|row| row.name == nodes[3].name).map(|row| row.epoch).collect();
            assert_eq!(rows.len(), usize::from(node.name != nodes[3].name));
            (rows == [nodes[3].epoch]).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn garbage_changes_nothing() {
    let nodes = network_of("garbage", 2).await;
    all_agree(&nodes).await;
    all_linked(&nodes).await;
    let before = support::members(&nodes[0]).await.members.len();
    let stranger = Codec::new(&network("elsewhere"), None);
    let ours = Codec::new(&network("garbage"), None);
    let hello = Hello { name: NodeName::numbered(77), epoch: Epoch(1) };

    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for bytes in [vec![0xD2; 1_400], b"hello".to_vec(), vec![], stranger.encode(&hello), ours.encode(&hello)] {
        udp.send_to(&bytes, nodes[0].addr).await.unwrap();
    }
    let greeting = [LINK_PREFACE.to_vec(), ours.encode_frame(&hello)].concat();
    let too_long = [greeting.clone(), u32::MAX.to_be_bytes().to_vec()].concat();
    let no_frame = [greeting.clone(), ours.encode_frame(&u64::MAX)].concat();
    let half_frame = [greeting, vec![0, 0, 0, 9, 1]].concat();
    let elsewhere = [LINK_PREFACE.to_vec(), stranger.encode_frame(&hello)].concat();
    for bytes in [vec![0xD2; 64], elsewhere, too_long, no_frame, half_frame] {
        let mut link = TcpStream::connect(nodes[0].addr).await.unwrap();
        link.write_all(&bytes).await.unwrap();
        link.shutdown().await.unwrap();
        let mut rest = Vec::new();
        // Closed, one way or another, and not left hanging.
        let _ = timeout(Duration::from_secs(15), link.read_to_end(&mut rest)).await.expect("the link is closed");
    }
    all_agree(&nodes).await;
    assert_eq!(support::members(&nodes[0]).await.members.len(), before);
    assert!(status(&nodes[0]).await.neighbours.iter().all(|name| name.as_str() != "node77"));
    assert!(messages(&nodes[0]).await.messages.is_empty());
}

#[tokio::test]
async fn a_node_without_the_secret_stays_outside() {
    let mut inside = vec![];
    for name in ["node1", "node2"] {
        let mut settings = settings("secret", name);
        settings.secret = Some("s3cret".to_owned());
        settings.peers = inside.iter().map(|node: &p2pnet_node::NodeHandle| node.url().parse().unwrap()).collect();
        inside.push(start(settings).await.unwrap());
    }
    let mut outsider = settings("secret", "node3");
    outsider.peers = vec![inside[0].url().parse().unwrap()];
    let outsider = start(outsider).await.unwrap();
    all_agree(&inside).await;
    until("a refused datagram", || async {
        let refused = support::metric(&inside[0], "datagrams_refused_total").await;
        (refused > 0).then_some(())
    })
    .await;
    assert!(live(&outsider).await.is_empty());
    assert_eq!(live(&inside[0]).await, ["node2"]);
}

/// One telemetry link as the gateway sees it.
struct Told {
    stream: TcpStream,
    codec: Codec,
}

impl Told {
    async fn accept(gateway: &tokio::net::TcpListener, codec: &Codec) -> (Self, Hello) {
        let (mut stream, _) = timeout(support::DEADLINE, gateway.accept()).await.expect("the node dials").unwrap();
        let mut preface = [0; LINK_PREFACE.len()];
        stream.read_exact(&mut preface).await.unwrap();
        assert_eq!(preface, LINK_PREFACE);
        let mut told = Self { stream, codec: codec.clone() };
        let hello = told.frame().await.expect("a Hello");
        (told, hello)
    }

    async fn frame<T: serde::de::DeserializeOwned>(&mut self) -> Option<T> {
        let length = timeout(support::DEADLINE, self.stream.read_u32()).await.expect("news in time").ok()?;
        let mut bytes = vec![0; length as usize];
        self.stream.read_exact(&mut bytes).await.ok()?;
        Some(self.codec.decode(&bytes).unwrap())
    }

    async fn until(&mut self, wanted: impl Fn(&Report) -> bool) {
        while !wanted(&self.frame().await.expect("the link is still up")) {}
    }
}

#[tokio::test]
async fn a_gateway_is_told_everything_again_on_each_link_and_the_goodbye_last() {
    let gateway = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let codec = Codec::new(&network("told"), Some("s3cret"));
    let mut reporting = settings("told", "node1");
    reporting.secret = Some("s3cret".to_owned());
    reporting.gateway = Some(gateway.local_addr().unwrap().to_string().parse().unwrap());
    let node = start(reporting.clone()).await.unwrap();
    let (mut first, hello) = Told::accept(&gateway, &codec).await;
    assert_eq!(hello, Hello { name: node.name.clone(), epoch: node.epoch });
    let expected = Report::Hello { id: node.id, epoch: node.epoch, addr: node.addr };
    assert_eq!(first.frame::<Report>().await, Some(expected));
    assert_eq!(first.frame().await, Some(Report::Snapshot { members: vec![], deliveries: vec![], links: vec![] }));

    let mut other = settings("told", "node2");
    other.secret.clone_from(&reporting.secret);
    other.peers = vec![node.url().parse().unwrap()];
    let other = start(other).await.unwrap();
    first.until(|report| matches!(report, Report::Member { event, .. } if event.row.member == other.name)).await;
    let both = [&node.name, &other.name].into_iter().collect();
    first.until(|report| matches!(report, Report::View { digest, .. } if *digest == both)).await;
    all_linked(std::slice::from_ref(&node)).await;
    assert_eq!(post(&node, "/broadcast", r#"{"msg":"apple"}"#).await.0, 202);
    first.until(|report| matches!(report, Report::Delivered(d) if d.text.as_deref() == Some("apple"))).await;

    drop(first);
    let (mut second, _) = Told::accept(&gateway, &codec).await;
    assert!(matches!(second.frame::<Report>().await, Some(Report::Hello { .. })));
    let Some(Report::Snapshot { members, deliveries, links }) = second.frame().await else { panic!("no snapshot") };
    assert_eq!((members.len(), deliveries.len(), deliveries[0].via), (1, 1, Via::Own));
    assert_eq!(links.iter().map(|link| &link.peer).collect::<Vec<_>>(), [&other.name]);
    node.stop().await;
    let mut last = None;
    while let Some(report) = second.frame::<Report>().await {
        last = Some(report);
    }
    assert_eq!(last, Some(Report::Leaving));
}

#[tokio::test]
async fn fifty_messages_of_8_kib_from_each_node_at_once_arrive_everywhere_once() {
    const NODES: usize = 6;
    const EACH: usize = 50;
    let mut nodes: Vec<p2pnet_node::NodeHandle> = Vec::new();
    for number in 1..=NODES {
        let mut settings = settings("burst", &format!("node{number}"));
        settings.peers = nodes.first().map(|first| first.url().parse().unwrap()).into_iter().collect();
        // Room for all of them, so that each can be counted; a mark low enough that links become crowded.
        settings.limits.messages_bytes = 8 * 1024 * 1024;
        settings.limits.link_crowded_bytes = 64 * 1024;
        nodes.push(start(settings).await.unwrap());
    }
    all_agree(&nodes).await;
    all_linked(&nodes).await;
    let body = serde_json::json!({ "msg": "x".repeat(8_192) }).to_string();
    let client = reqwest::Client::new();
    let senders = nodes.iter().map(|node| async {
        for _ in 0..EACH {
            // 503 says that this many at once are too many just now, and to try again.
            until("a place for the message", || async {
                let sent = client.post(format!("{}/broadcast", node.url())).body(body.clone()).send().await.unwrap();
                assert!([202, 503].contains(&sent.status().as_u16()), "{sent:?}");
                (sent.status() == 202).then_some(())
            })
            .await;
        }
    });
    futures_util::future::join_all(senders).await;
    for node in &nodes {
        until("every message", || async {
            let received = messages(node).await.messages;
            let distinct: std::collections::BTreeSet<_> = received.iter().map(|message| message.id.clone()).collect();
            assert_eq!(received.len(), distinct.len(), "each once");
            (received.len() == NODES * EACH).then_some(())
        })
        .await;
        assert_eq!(support::metric(node, "links_overflowed_total").await, 0, "no link was given up for it");
    }
}
