//! A node's HTTP surface against the contract: every row and every error, through real sockets.
#![allow(clippy::disallowed_methods, reason = "tests of the runtime live in real time")]

mod support;

use std::time::{Duration, Instant};

use p2pnet_node::{NodeHandle, Settings, start};
use serde_json::{Value, json};
use support::{all_agree, all_linked, get, live, messages, network_of, post, settings, until};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

async fn alone(test: &str) -> NodeHandle {
    start(settings(test, "node7")).await.unwrap()
}

/// A node whose patience is short.
async fn hasty(test: &str, change: impl FnOnce(&mut Settings)) -> NodeHandle {
    let mut settings = settings(test, "node7");
    settings.limits.header_timeout = Duration::from_millis(300);
    settings.limits.body_timeout = Duration::from_millis(300);
    change(&mut settings);
    start(settings).await.unwrap()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("no text `{field}` in {value}"))
}

/// Sends bytes as they are and reads until the node closes.
async fn raw(node: &NodeHandle, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(node.addr).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut reply = Vec::new();
    timeout(Duration::from_secs(10), stream.read_to_end(&mut reply)).await.expect("the node closes").unwrap();
    String::from_utf8(reply).unwrap()
}

#[tokio::test]
async fn what_a_node_says_of_itself() {
    let node = alone("itself").await;
    let (id, port) = (node.id.to_string(), node.addr.port());
    assert_eq!(get(&node, "/").await, (200, json!({"message": format!("Node {id} is running!")})));
    let (code, status) = get(&node, "/status").await;
    assert_eq!((code, text(&status, "id"), text(&status, "name")), (200, id.as_str(), "node7"));
    assert_eq!((&status["port"], &status["peers"]), (&json!(port), &json!(0)));
    assert_eq!(text(&status, "message"), "Node is running");
    assert!(cfg!(not(target_os = "linux")) || status["rss_bytes"].as_u64().unwrap() > 100_000);
    assert_eq!(get(&node, "/health").await, (200, json!({"status": "healthy"})));
    let pong = json!({"status":"alive","response":"pong","node":format!("http://127.0.0.1:{port}"),"node_id":id});
    assert_eq!(get(&node, "/ping").await, (200, pong));
    assert_eq!(get(&node, "/peers").await, (200, json!({"peers": []})));
    assert_eq!(get(&node, "/messages").await, (200, json!({"messages": []})));
    assert_eq!(get(&node, "/members").await, (200, json!({"observer": "node7", "members": []})));
}

#[tokio::test]
async fn metrics_are_prometheus_text() {
    let node = alone("metrics").await;
    let reply = reqwest::get(format!("{}/metrics", node.url())).await.unwrap();
    assert!(reply.headers()["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    let body = reply.text().await.unwrap();
    for line in body.lines() {
        let well_formed = line.starts_with("# HELP p2pnet_")
            || line.starts_with("# TYPE p2pnet_")
            || (line.starts_with("p2pnet_") && line.rsplit(' ').next().unwrap().parse::<f64>().is_ok());
        assert!(well_formed, "{line}");
    }
    assert!(body.contains("p2pnet_members{status=\"alive\"} 0\n"));
}

#[tokio::test]
async fn a_message_is_received_under_either_spelling() {
    let node = alone("message").await;
    for body in [r#"{"sender":"Node1","msg":"Hello Node2!"}"#, r#"{"sender_id":"Node1","message":"Hello Node2!"}"#] {
        let (code, reply) = post(&node, "/message", body).await;
        assert_eq!((code, text(&reply, "status"), text(&reply, "from")), (200, "received", "Node1"));
        assert_eq!((text(&reply, "msg"), text(&reply, "current_node")), ("Hello Node2!", "node7"));
        assert!(!text(&reply, "reply").is_empty());
    }
    // A direct message is no broadcast.
    assert!(messages(&node).await.messages.is_empty());
}

#[tokio::test]
async fn three_nodes_list_send_and_broadcast() {
    let nodes = network_of("three", 2).await;
    all_agree(&nodes).await;
    all_linked(&nodes).await;
    let peers = json!({"peers": [nodes[1].url(), nodes[2].url()]});
    assert_eq!(get(&nodes[0], "/peers").await, (200, peers));

    let (code, reply) = post(&nodes[0], "/send", r#"{"to":"node2","msg":"hi"}"#).await;
    assert_eq!((code, text(&reply, "current_node"), text(&reply, "from")), (200, "node2", "bootstrap"));
    let (code, reply) = post(&nodes[0], "/send", r#"{"to":"node99","msg":"hi"}"#).await;
    assert!(code == 404 && text(&reply, "error").contains("`node99`"), "{reply}");
    assert_eq!(post(&nodes[0], "/send", r#"{"to":"bootstrap","msg":"hi"}"#).await.0, 400);

    let (code, reply) = post(&nodes[1], "/broadcast", r#"{"msg":"apple","ttl":32}"#).await;
    assert_eq!((code, text(&reply, "status")), (202, "accepted"));
    let (_, received) = until("the message", || async {
        let reply = get(&nodes[2], "/messages").await;
        (reply.1["messages"][0] != Value::Null).then_some(reply)
    })
    .await;
    let received = &received["messages"][0];
    assert_eq!((&received["id"], text(received, "msg"), text(received, "from")), (&reply["id"], "apple", "node1"));
    assert!(received["received_at"].as_u64().unwrap() > 1_700_000_000_000);
    assert_eq!(received["path"][0], "node1");
    let since = format!("/messages?since={}", text(&reply, "id"));
    assert_eq!(get(&nodes[2], &since).await, (200, json!({"messages": []})));
    for unknown in ["/messages?since=node1-1-1", "/messages?since=x", "/messages?since=%ff"] {
        let (code, reply) = get(&nodes[2], unknown).await;
        assert!(code == 400 && text(&reply, "error").starts_with("`since`"), "{reply}");
    }
}

#[tokio::test]
async fn sending_to_a_member_that_does_not_answer_is_a_502() {
    let mut nodes = network_of("deaf", 1).await;
    all_agree(&nodes).await;
    nodes.remove(1).kill().await;
    let (code, reply) = post(&nodes[0], "/send", r#"{"to":"node1","msg":"hi"}"#).await;
    assert!(code == 502 && text(&reply, "error").contains("did not take the message"), "{reply}");
}

#[tokio::test]
async fn registering_contacts_the_address_and_believes_nothing() {
    let node = alone("register").await;
    let other = start(settings("register", "node8")).await.unwrap();
    for address in ["http://node9:5000", "http://127.0.0.1:1"] {
        let (code, reply) = post(&node, "/register", json!({"address": address}).to_string()).await;
        assert_eq!((code, text(&reply, "status"), &reply["peers"]), (200, "success", &json!(0)));
        assert!(!text(&reply, "message").is_empty());
    }
    let (code, _) = post(&node, "/register", json!({"address": other.url(), "id": "7"}).to_string()).await;
    assert_eq!(code, 200);
    until("the registered node", || async { (live(&node).await == ["node8"]).then_some(()) }).await;
    assert_eq!(get(&node, "/peers").await.1, json!({"peers": [other.url()]}));
    for body in [
        r"{}",
        r#"{"address":""}"#,
        r#"{"address":5}"#,
        r#"{"address":"not an address"}"#,
        r#"{"address":"ftp://x:1"}"#,
        r#"{"address":"http://x:99999"}"#,
        r#"{"address":"http://x:1","id":5}"#,
    ] {
        let (code, reply) = post(&node, "/register", body).await;
        assert!(code == 400 && text(&reply, "error").contains("field `"), "{body}: {reply}");
    }
}

#[tokio::test]
async fn gossip_is_contacted_before_it_is_believed_and_passed_on() {
    let nodes = network_of("gossip", 1).await;
    let third = start(settings("gossip", "node3")).await.unwrap();
    all_agree(&nodes).await;
    let body = json!({"peers": [third.url(), nodes[1].url(), third.url()], "ttl": 2}).to_string();
    let (code, reply) = post(&nodes[0], "/gossip", body).await;
    let expected =
        json!({"status": "gossip received", "known_peers": [nodes[1].url()], "added": [third.url()], "ttl": 2});
    assert_eq!((code, reply), (200, expected));
    until("the third node", || async { (live(&nodes[1]).await == ["bootstrap", "node3"]).then_some(()) }).await;
    // Given to one node with two hops to go: three have heard it in the end, or one of them twice.
    until("two more hops", || async {
        let mut heard = 0;
        for node in nodes.iter().chain([&third]) {
            heard += support::metric(node, "gossips_total").await;
        }
        assert!(heard <= 3, "{heard}");
        (heard == 3).then_some(())
    })
    .await;
    let many: Vec<String> = (0..1_001).map(|i| format!("node{i}:5000")).collect();
    for body in [
        r"{}".to_owned(),
        r#"{"peers":"x"}"#.to_owned(),
        r#"{"peers":[1]}"#.to_owned(),
        r#"{"peers":["a b"]}"#.to_owned(),
        r#"{"peers":[],"ttl":-1}"#.to_owned(),
        r#"{"peers":[],"ttl":99999999999999999999999}"#.to_owned(),
        json!({"peers": many}).to_string(),
    ] {
        let (code, reply) = post(&nodes[0], "/gossip", body.clone()).await;
        assert!(code == 400 && text(&reply, "error").contains("field `"), "{body}: {reply}");
    }
}

#[tokio::test]
async fn bad_requests_are_named_and_change_nothing() {
    let node = alone("bad").await;
    let long = json!({"msg": "x".repeat(8 * 1024 + 1), "sender": "a"}).to_string();
    for path in ["/broadcast", "/message"] {
        for body in [
            &b""[..],
            b"not json",
            b"[1]",
            b"{}",
            br#"{"sender":"a"}"#,
            br#"{"sender":"a","msg":5}"#,
            br#"{"sender":"a","msg":null}"#,
            br#"{"sender":"a","msg":""}"#,
            b"{\"sender\":\"a\",\"msg\":\"\xff\xfe\"}",
            br#"{"sender":"a","msg":"x","ttl":1e999}"#,
            long.as_bytes(),
        ] {
            let (code, reply) = post(&node, path, body.to_vec()).await;
            assert_eq!(code, 400, "{path} {:?}: {reply}", String::from_utf8_lossy(body));
            assert!(text(&reply, "error").len() > 10);
        }
    }
    for ttl in ["0", "33", "-1", "2.5", "\"2\"", "18446744073709551616", "[]"] {
        let (code, reply) = post(&node, "/broadcast", format!(r#"{{"msg":"x","ttl":{ttl}}}"#)).await;
        assert!(code == 400 && text(&reply, "error").contains("`ttl`"), "{ttl}: {reply}");
    }
    assert!(messages(&node).await.messages.is_empty());
    assert_eq!(get(&node, "/peers").await.1, json!({"peers": []}));
}

#[tokio::test]
async fn unknown_paths_and_methods_are_json_errors() {
    let node = alone("unknown").await;
    for path in ["/nope", "/status/x", "/%00", "/%ff", "//"] {
        let (code, reply) = get(&node, path).await;
        assert!(code == 404 && text(&reply, "error").contains("there is nothing at"), "{path}: {reply}");
    }
    let client = reqwest::Client::new();
    for (method, path, allow) in
        [("DELETE", "/peers", "GET,HEAD"), ("GET", "/broadcast", "POST"), ("PUT", "/", "GET,HEAD")]
    {
        let request = client.request(method.parse().unwrap(), format!("{}{path}", node.url()));
        let reply = request.send().await.unwrap();
        assert_eq!((reply.status().as_u16(), reply.headers()["allow"].to_str().unwrap()), (405, allow));
        let reply: Value = reply.json().await.unwrap();
        assert!(text(&reply, "error").contains(method), "{reply}");
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_a_413_whether_or_not_it_says_so() {
    let node = alone("large").await;
    let body = format!("{{\"msg\":\"{}\"}}", "x".repeat(200_000));
    let (code, reply) = post(&node, "/broadcast", body.clone()).await;
    assert!(code == 413 && text(&reply, "error").contains("65536"), "{reply}");
    let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let head = "POST /broadcast HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    assert!(raw(&node, format!("{head}{chunked}").as_bytes()).await.starts_with("HTTP/1.1 413"));
    // Only a claim, with nothing behind it, and one who waits to be told before sending.
    let head = "POST /broadcast HTTP/1.1\r\nhost: x\r\nconnection: close\r\nexpect: 100-continue\r\ncontent-length: 9999999999\r\n\r\n";
    assert!(raw(&node, head.as_bytes()).await.starts_with("HTTP/1.1 413"));
    let head = "POST /broadcast HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999999999\r\n\r\n";
    assert!(raw(&node, head.as_bytes()).await.starts_with("HTTP/1.1 400"));
    assert!(messages(&node).await.messages.is_empty());
}

#[tokio::test]
async fn headers_that_are_too_large_are_a_431() {
    let node = alone("headers").await;
    let head = format!("GET / HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "x".repeat(20_000));
    let reply = raw(&node, head.as_bytes()).await;
    assert!(reply.starts_with("HTTP/1.1 431"), "{reply}");
    assert_eq!(get(&node, "/").await.0, 200);
}

#[tokio::test]
async fn half_sent_and_slow_requests_end_at_their_deadline() {
    let node = hasty("slow", |_| ()).await;
    let began = Instant::now();
    // Half a header, half a body, and nothing at all.
    let reply = raw(&node, b"GET /status HTTP/1.1\r\nhos").await;
    assert!(reply.starts_with("HTTP/1.1 408") && reply.contains("{\"error\":"), "{reply}");
    let reply = raw(&node, b"POST /broadcast HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n\r\n{\"msg\":").await;
    assert!(reply.starts_with("HTTP/1.1 408") && reply.contains("{\"error\":"), "{reply}");
    assert_eq!(raw(&node, b"").await, "");
    // A kept-alive connection that idles.
    let reply = raw(&node, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(reply.starts_with("HTTP/1.1 200") && !reply.contains("408"), "{reply}");
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    // One byte at a time is no way around it.
    let mut drip = TcpStream::connect(node.addr).await.unwrap();
    let dripping = async {
        for byte in b"GET /status HTTP/1.1\r\n".iter().cycle() {
            if drip.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    };
    timeout(Duration::from_secs(8), dripping).await.expect("the node hangs up");
    assert_eq!(get(&node, "/status").await.0, 200);
    assert!(messages(&node).await.messages.is_empty());
}

#[tokio::test]
async fn what_is_no_http_is_refused() {
    let node = hasty("nohttp", |_| ()).await;
    for bytes in [&b"\x16\x03\x01\x02\x00\x01\x00"[..], b"\0\0\0\0\0\0\0\0\r\n\r\n", b"hello\r\n\r\n"] {
        let reply = raw(&node, bytes).await;
        assert!(reply.is_empty() || reply.starts_with("HTTP/1.1 4"), "{reply}");
    }
    assert_eq!(get(&node, "/").await.0, 200);
}

#[tokio::test]
async fn one_connection_too_many_is_told_so() {
    let node = hasty("crowd", |settings| {
        settings.limits.connections = 3;
        settings.limits.header_timeout = Duration::from_secs(20);
    })
    .await;
    let mut crowd = Vec::new();
    for _ in 0..3 {
        crowd.push(TcpStream::connect(node.addr).await.unwrap());
    }
    let refused = until("a refusal", || async {
        let mut stream = TcpStream::connect(node.addr).await.unwrap();
        let mut reply = Vec::new();
        let read = timeout(Duration::from_millis(500), stream.read_to_end(&mut reply)).await;
        read.is_ok().then(|| String::from_utf8_lossy(&reply).into_owned())
    })
    .await;
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("too many connections"), "{refused}");
    drop(crowd);
    until("room again", || async {
        let reply = reqwest::get(format!("{}/status", node.url())).await.ok()?;
        (reply.status() == 200).then_some(())
    })
    .await;
    assert!(support::metric(&node, "connections_refused_total").await > 0);
}

#[tokio::test]
async fn events_are_told_as_they_happen_and_too_many_readers_are_refused() {
    let node = hasty("events", |settings| settings.limits.event_readers = 1).await;
    let mut events = reqwest::get(format!("{}/events", node.url())).await.unwrap();
    assert_eq!(events.headers()["content-type"], "text/event-stream");
    let mut seen = String::from_utf8(events.chunk().await.unwrap().unwrap().to_vec()).unwrap();
    let (code, reply) = get(&node, "/events").await;
    assert!(code == 503 && text(&reply, "error").contains("too many readers"), "{reply}");

    let mut other = settings("events", "node8");
    other.peers = vec![node.url().parse().unwrap()];
    let other = start(other).await.unwrap();
    assert_eq!(post(&node, "/broadcast", r#"{"msg":"apple"}"#).await.0, 202);
    until("the other node", || async { (live(&node).await == ["node8"]).then_some(()) }).await;
    other.stop().await;
    let began = Instant::now();
    while !(seen.contains("event: hop\n") && seen.contains("event: joined\n") && seen.contains("event: left\n")) {
        let chunk =
            timeout(support::DEADLINE, events.chunk()).await.expect(&seen).unwrap().expect("the stream goes on");
        assert!(began.elapsed() < support::DEADLINE, "{seen}"); // comments keep coming, events may not
        seen.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    for data in seen.lines().filter_map(|line| line.strip_prefix("data: ")) {
        assert!(serde_json::from_str::<Value>(data).unwrap().is_object());
    }
}
