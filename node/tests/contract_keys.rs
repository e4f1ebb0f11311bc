//! Keys over HTTP against the contract: every row and every error, through real sockets, on one node, three and five.
#![allow(clippy::disallowed_methods, reason = "tests of the runtime live in real time")]

mod support;

use p2pnet_node::{NodeHandle, start, time::Millis};
use p2pnet_shared::{
    client::{Client, ClientError},
    ring::{Place, Ring, VNODES, hash, hex},
};
use serde_json::{Value, json};
use support::{all_agree, get, network_of, post, settings, until};

async fn alone(test: &str) -> NodeHandle {
    start(settings(test, "node7")).await.unwrap()
}

fn client(node: &NodeHandle) -> Client {
    Client::new(&node.url()).unwrap()
}

fn error(value: &Value) -> &str {
    value["error"].as_str().unwrap_or_else(|| panic!("no `error` in {value}"))
}

/// The value of a key as one node tells it; `None` while it has none.
async fn value(node: &NodeHandle, key: &str) -> Option<Value> {
    match client(node).value(key).await {
        Ok(found) => Some(found.value),
        Err(ClientError::Refused { status: 404, .. }) => None,
        Err(other) => panic!("{key} at {}: {other}", node.name),
    }
}

#[tokio::test]
async fn a_node_alone_stores_reads_and_deletes() {
    let node = alone("kv-alone").await;
    let stored = json!({"status": "stored", "key": "apple", "value": "red", "owner": "node7",
        "replicas": ["node7"], "acks": 1});
    assert_eq!(post(&node, "/kv", r#"{"key":"apple","value":"red"}"#).await, (200, stored));
    let found = json!({"key": "apple", "value": "red", "owner": "node7"});
    assert_eq!(get(&node, "/kv/apple").await, (200, found));
    assert_eq!(get(&node, "/kv/pear").await, (404, json!({"error": "Key not found"})));
    assert_eq!(support::status(&node).await.keys, 1);

    let deleted = client(&node).delete("apple").await.unwrap();
    assert_eq!((deleted.status.as_str(), deleted.key.as_str()), ("deleted", "apple"));
    assert_eq!(get(&node, "/kv/apple").await, (404, json!({"error": "Key not found"})));
    for key in ["apple", "never there"] {
        let again = client(&node).delete(key).await.unwrap_err();
        assert!(matches!(again, ClientError::Refused { status: 404, .. }), "{again}");
    }
    assert_eq!(post(&node, "/kv", r#"{"key":"apple","value":"green"}"#).await.0, 200);
    assert_eq!(value(&node, "apple").await, Some(json!("green")));
}

#[tokio::test]
async fn values_are_any_json_and_keys_are_any_text() {
    let node = alone("kv-any").await;
    let client = client(&node);
    for value in [
        json!(null),
        json!(true),
        json!(-7),
        json!(18_446_744_073_709_551_615_u64),
        json!(1.5e300),
        json!(""),
        json!("a \"quoted\" \u{0} \u{1f34e} line\nend"),
        json!([1, [2, []], {}]),
        json!({"a": {"b": [null]}, "": 1}),
    ] {
        let put = client.put("value", value.clone()).await.unwrap();
        assert_eq!((put.value, put.acks), (value.clone(), 1));
        let found = client.value("value").await.unwrap();
        assert_eq!((found.value, found.siblings.len()), (value, 0));
    }
    let long = "k".repeat(1_024);
    let keys = [
        "a/b",
        "/a//b/",
        "a b",
        "100%",
        "%2F",
        "a+b",
        "?x=1&y#z",
        "ключ 🍎",
        "\"\\\n\u{0}",
        ".",
        "..",
        "a/../b",
        &long,
    ];
    for key in keys {
        client.put(key, json!(key)).await.unwrap();
    }
    for key in keys {
        let found = client.value(key).await.unwrap();
        assert_eq!((found.key.as_str(), &found.value), (key, &json!(key)));
        assert_eq!(client.owner(key).await.unwrap().hash, hex(&hash(key)));
    }
    // As people type them.
    assert_eq!(get(&node, "/kv/a/b").await.1["value"], "a/b");
    assert_eq!(get(&node, "/kv/a%20b").await.1["value"], "a b");
    assert_eq!(get(&node, "/kv/a+b").await.1["value"], "a+b");
    assert_eq!(get(&node, "/kv?key=a%2Fb").await.1["value"], "a/b");
    for key in keys {
        client.delete(key).await.unwrap();
        assert!(matches!(client.value(key).await, Err(ClientError::Refused { status: 404, .. })), "{key}");
    }
}

#[tokio::test]
async fn what_is_too_long_is_a_413_and_what_just_fits_is_stored() {
    let node = alone("kv-long").await;
    let text = "x".repeat(64 * 1_024);
    let zeros = "\u{0}".repeat(64 * 1_024); // written as six bytes each
    let list = json!(["y".repeat(64 * 1_024 - 4)]);
    for value in [json!(text), json!(zeros), list] {
        let (code, reply) = post(&node, "/kv", json!({"key": "k", "value": value}).to_string()).await;
        assert_eq!(code, 200, "{}", &reply.to_string()[..80]);
        assert_eq!(self::value(&node, "k").await, Some(value));
    }
    let (long, longer) = ("k".repeat(1_024), "k".repeat(1_025));
    for (key, value, part) in [
        ("k", json!(format!("{text}x")), "the value is 65537 bytes long"),
        ("k", json!([format!("{text}x")]), "the value is"),
        (&longer, json!(1), "the key is 1025 bytes long"),
        (&"ä".repeat(513), json!(1), "the key is 1026 bytes long"),
        ("k", json!("\u{0}".repeat(128 * 1_024)), "the body is larger than"),
    ] {
        let (code, reply) = post(&node, "/kv", json!({"key": key, "value": value}).to_string()).await;
        assert!(code == 413 && error(&reply).contains(part), "{code} {reply}");
    }
    assert_eq!(post(&node, "/kv", json!({"key": long, "value": 1}).to_string()).await.0, 200);
    for path in ["/kv/", "/owner/"] {
        let (code, reply) = get(&node, &format!("{path}{longer}")).await;
        assert!(code == 413 && error(&reply).contains("1025 bytes"), "{reply}");
    }
    let reply = reqwest::Client::new().delete(format!("{}/kv/{longer}", node.url())).send().await.unwrap();
    assert_eq!(reply.status(), 413);
    assert_eq!(self::value(&node, "k").await, Some(json!(["y".repeat(64 * 1_024 - 4)])), "unchanged");
}

#[tokio::test]
async fn bad_requests_are_named_and_change_nothing() {
    let node = alone("kv-bad").await;
    let deep = format!(r#"{{"key":"k","value":{}1{}}}"#, "[".repeat(5_000), "]".repeat(5_000));
    for body in [
        &b""[..],
        b"not json",
        b"[]",
        b"{}",
        br#"{"key":"k"}"#,
        br#"{"value":1}"#,
        br#"{"key":"","value":1}"#,
        br#"{"key":null,"value":1}"#,
        br#"{"key":7,"value":1}"#,
        br#"{"key":["k"],"value":1}"#,
        br#"{"key":"k","value":1e999}"#,
        b"{\"key\":\"k\",\"value\":\"\xff\"}",
        br#"{"key":"k","value":1"#,
        deep.as_bytes(),
    ] {
        let (code, reply) = post(&node, "/kv", body.to_vec()).await;
        assert!(code == 400 && error(&reply).len() > 10, "{:?}: {code} {reply}", String::from_utf8_lossy(body));
    }
    for path in ["/kv/", "/kv", "/kv/%", "/kv/%2", "/kv/%zz", "/kv/%ff", "/owner/", "/owner", "/owner/%ff", "/kv?key="]
    {
        let (code, reply) = get(&node, path).await;
        assert!(code == 400 && error(&reply).len() > 10, "{path}: {code} {reply}");
    }
    let http = reqwest::Client::new();
    for (method, path, allowed) in [
        ("PUT", "/kv", "POST"),
        ("PUT", "/kv/k", "GET,HEAD,DELETE"),
        ("POST", "/kv/k", "GET,HEAD,DELETE"),
        ("POST", "/owner/k", "GET,HEAD"),
        ("DELETE", "/ring", "GET,HEAD"),
    ] {
        let reply = http.request(method.parse().unwrap(), format!("{}{path}", node.url())).send().await.unwrap();
        assert!(
            reply.status() == 405 && reply.headers()["allow"].to_str().unwrap().contains(allowed),
            "{method} {path}"
        );
        assert!(error(&reply.json().await.unwrap()).len() > 10);
    }
    assert_eq!((support::status(&node).await.keys, value(&node, "k").await), (0, None));
}

#[tokio::test]
async fn the_ring_is_the_same_everywhere_and_says_who_owns_what() {
    let nodes = network_of("kv-ring", 2).await;
    all_agree(&nodes).await;
    let ring = Ring::of(VNODES, nodes.iter().map(|node| node.name.clone()));
    for node in &nodes {
        let told = until("the ring has three members", || async {
            let told = client(node).ring().await.unwrap();
            (told.nodes.len() == 3).then_some(told)
        })
        .await;
        assert_eq!((told.digest.as_str(), told.observer), (ring.digest().to_string().as_str(), node.name.clone()));
        assert_eq!((told.vnodes, told.n), (VNODES, 3));
        assert!((told.nodes.iter().map(|node| node.share).sum::<f64>() - 1.0).abs() < 1e-9);
        assert!(told.nodes.iter().all(|node| node.tokens.len() == usize::from(VNODES)));
        for key in ["apple", "pear", "ключ"] {
            let owner = client(node).owner(key).await.unwrap();
            assert_eq!(owner.replicas, ring.preference(Place::of(key), 3));
            assert_eq!((owner.owner, owner.hash), (owner.replicas[0].clone(), hex(&hash(key))));
        }
    }
}

#[tokio::test]
async fn what_one_of_three_stores_each_of_them_reads() {
    let nodes = network_of("kv-three", 2).await;
    all_agree(&nodes).await;
    for (number, node) in nodes.iter().enumerate() {
        let put = client(node).put(&format!("key {number}"), json!(number)).await.unwrap();
        assert!(put.acks >= 2 && put.replicas.len() == 3 && put.replicas[0] == put.owner, "{put:?}");
    }
    for node in &nodes {
        for number in 0..nodes.len() {
            assert_eq!(value(node, &format!("key {number}")).await, Some(json!(number)));
        }
    }
    client(&nodes[1]).put("key 0", json!("again")).await.unwrap();
    for node in &nodes {
        assert_eq!(value(node, "key 0").await, Some(json!("again")), "the last acknowledged write");
    }
    client(&nodes[2]).delete("key 0").await.unwrap();
    for node in &nodes {
        assert_eq!(value(node, "key 0").await, None);
    }
    until("each of three holds both keys", || async {
        for node in &nodes {
            if support::status(node).await.keys != 2 {
                return None;
            }
        }
        Some(())
    })
    .await;
}

/// Two of five at once: of each key at least one of three copies is left, and every read is answered meanwhile.
#[tokio::test]
async fn two_of_five_are_killed_and_nothing_acknowledged_is_lost() {
    let mut nodes = network_of("kv-five", 4).await;
    all_agree(&nodes).await;
    for number in 0..60 {
        let node = &nodes[number % nodes.len()];
        client(node).put(&format!("key {number}"), json!(number)).await.unwrap();
    }
    // A put is acknowledged with two copies; the third is on its way.
    until("three copies of each", || async {
        let mut copies = 0;
        for node in &nodes {
            copies += support::status(node).await.keys;
        }
        (copies == 180).then_some(())
    })
    .await;
    for _ in 0..2 {
        nodes.remove(2).kill().await;
    }
    for number in 0..60 {
        let node = &nodes[number % nodes.len()];
        assert_eq!(value(node, &format!("key {number}")).await, Some(json!(number)), "key {number} at {}", node.name);
    }
    all_agree(&nodes).await;
    until("three copies of each again", || async {
        for node in &nodes {
            if support::status(node).await.keys != 60 {
                return None;
            }
        }
        Some(())
    })
    .await;
    for node in &nodes {
        client(node).put("after", json!(node.name)).await.unwrap();
        assert_eq!(value(node, "after").await, Some(json!(node.name)));
    }
}

/// One of three, the others gone without a word: it may as well be cut off, so it stores nothing, dead or not, until there
/// are two again.
#[tokio::test]
async fn too_few_copies_are_a_503_that_names_them() {
    let mut nodes: Vec<NodeHandle> = Vec::new();
    for name in ["bootstrap", "node1", "node2"] {
        let mut settings = settings("kv-few", name);
        settings.dht.deadline = Millis(800); // far less than it takes to be certain
        settings.bootstrap = nodes.first().map(|first| first.url().parse().unwrap());
        nodes.push(start(settings).await.unwrap());
    }
    all_agree(&nodes).await;
    client(&nodes[0]).put("k", json!(1)).await.unwrap();
    nodes.pop().unwrap().kill().await;
    nodes.pop().unwrap().kill().await;
    let (code, reply) = post(&nodes[0], "/kv", r#"{"key":"k","value":2}"#).await;
    assert!(code == 503 && error(&reply).contains("1 of 2 copies"), "{code} {reply}");
    let mut settings = settings("kv-few", "node3");
    settings.bootstrap = Some(nodes[0].url().parse().unwrap());
    let newcomer = start(settings).await.unwrap();
    until("with another it stores", || async {
        (post(&nodes[0], "/kv", r#"{"key":"k","value":3}"#).await.0 == 200).then_some(())
    })
    .await;
    // While the two that died are trusted, they may hold a newer one: a newcomer says so rather than guess.
    until("both have it", || async {
        let found = [client(&newcomer).value("k").await, client(&nodes[0]).value("k").await];
        found.iter().all(|found| found.as_ref().is_ok_and(|found| found.value == json!(3))).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_store_is_among_the_metrics() {
    let nodes = network_of("kv-metrics", 2).await;
    all_agree(&nodes).await;
    client(&nodes[0]).put("k", json!("v")).await.unwrap();
    assert_eq!(value(&nodes[0], "k").await, Some(json!("v")));
    assert_eq!(support::metric(&nodes[0], "kv_puts_total").await, 1);
    assert_eq!(support::metric(&nodes[0], "kv_gets_total").await, 1);
    assert_eq!(support::metric(&nodes[0], "ring_members").await, 3);
    assert!(support::metric(&nodes[0], "packets_sent_total").await > 0);
    assert!(support::metric(&nodes[0], "peer_connections").await > 0);
}
