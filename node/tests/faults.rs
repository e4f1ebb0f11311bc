//! Faults on purpose between real nodes on 127.0.0.1, and every error of `/fault`.
#![allow(clippy::disallowed_methods, reason = "tests of the runtime live in real time")]

mod support;

use std::time::{Duration, Instant};

use p2pnet_node::{NodeHandle, start};
use p2pnet_shared::wire::membership::Status;
use serde_json::{Value, json};
use support::{all_agree, all_linked, get, live, messages, metric, network_of, post, settings, status_of, until};

const CUT: &str = r#"{"cut":{"from":"bootstrap 1-2","to":"3-5"}}"#;

async fn delete(node: &NodeHandle, path: &str) -> (u16, Value) {
    let reply = reqwest::Client::new().delete(format!("{}{path}", node.url())).send().await.unwrap();
    (reply.status().as_u16(), reply.json().await.unwrap())
}

async fn set(nodes: &[NodeHandle], fault: &str) {
    for node in nodes {
        let (code, reply) = post(node, "/fault", fault.to_owned()).await;
        assert_eq!(code, 200, "{}: {reply}", node.name);
    }
}

async fn heal(nodes: &[NodeHandle]) {
    for node in nodes {
        assert_eq!(delete(node, "/fault").await, (200, json!({"node": node.name.as_str(), "faults": []})));
    }
}

async fn texts(node: &NodeHandle) -> Vec<String> {
    messages(node).await.messages.into_iter().map(|message| message.msg).collect()
}

/// Longest wait for a side of a cut to give up the other. Whoever hears little first doubts itself (Lifeguard's local
/// health) and takes up to eight times as long for each step, so this is far more than a death takes.
const CUT_OFF: Duration = Duration::from_secs(120);

/// Waits until each of `nodes` believes exactly each other alive.
async fn see_only_each_other(nodes: &[NodeHandle]) {
    let began = Instant::now();
    for node in nodes {
        let mut wanted: Vec<&str> = nodes.iter().map(|other| other.name.as_str()).collect();
        wanted.retain(|name| *name != node.name.as_str());
        wanted.sort_unstable();
        while live(node).await != wanted {
            assert!(began.elapsed() < CUT_OFF, "{} sees {:?}, not {wanted:?}", node.name, live(node).await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn a_cut_makes_two_halves_and_healing_makes_them_one_with_every_message_once() {
    let nodes = network_of("cut", 5).await;
    all_agree(&nodes).await;
    all_linked(&nodes).await;
    set(&nodes, CUT).await;
    let (left, right) = nodes.split_at(3);
    // At once, while everybody still has links across the cut: nothing may slip through.
    assert_eq!(post(&left[1], "/broadcast", r#"{"msg":"left"}"#).await.0, 202);
    assert_eq!(post(&right[1], "/broadcast", r#"{"msg":"right"}"#).await.0, 202);
    see_only_each_other(left).await;
    see_only_each_other(right).await;
    for (side, text) in [(left, "left"), (right, "right")] {
        for node in side {
            until("its own side's message", || async { (texts(node).await == [text]).then_some(()) }).await;
        }
    }
    assert!(metric(&nodes[0], "datagrams_lost_to_faults_total").await > 0);

    heal(&nodes).await;
    all_agree(&nodes).await;
    for node in &nodes {
        until("both messages, each once", || async {
            let mut texts = texts(node).await;
            texts.sort();
            (texts == ["left", "right"]).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn nothing_crosses_a_cut_over_http_either() {
    let nodes = network_of("http", 2).await;
    all_agree(&nodes).await;
    // node1 alone knows of the cut; it is kept for what comes in as for what goes out.
    set(&nodes[1..2], r#"{"cut":{"from":"1"}}"#).await;
    let (code, reply) = post(&nodes[1], "/send", r#"{"to":"node2","msg":"hi"}"#).await;
    assert_eq!(code, 502, "{reply}");
    let (code, reply) = post(&nodes[2], "/send", r#"{"to":"node1","msg":"hi"}"#).await;
    assert_eq!(code, 502, "{reply}");
    // Whoever is no node is never held up.
    assert_eq!(post(&nodes[1], "/message", r#"{"sender":"me","msg":"hi"}"#).await.0, 200);
    heal(&nodes[1..2]).await;
    assert_eq!(post(&nodes[2], "/send", r#"{"to":"node1","msg":"hi"}"#).await.0, 200);
}

#[tokio::test]
async fn a_newcomer_behind_a_cut_from_everybody_else_stays_outside_until_it_is_healed() {
    let mut nodes = network_of("newcomer", 1).await;
    all_agree(&nodes).await;
    set(&nodes, r#"{"cut":{"from":"bootstrap 1"}}"#).await;
    let mut newcomer = settings("newcomer", "node9");
    newcomer.bootstrap = Some(nodes[0].url().parse().unwrap());
    nodes.push(start(newcomer).await.unwrap());
    // It tries at once and again after 250 ms and more: by then datagrams of it have been lost.
    until("datagrams of node9 lost", || async {
        (metric(&nodes[0], "datagrams_lost_to_faults_total").await >= 2).then_some(())
    })
    .await;
    assert_eq!((live(&nodes[0]).await, live(&nodes[2]).await), (vec!["node1".to_owned()], Vec::new()));
    heal(&nodes[..2]).await;
    all_agree(&nodes).await;
}

#[tokio::test]
async fn a_one_way_cut_kills_nobody_while_others_can_ask_and_messages_arrive_both_ways() {
    let nodes = network_of("oneway", 3).await;
    all_agree(&nodes).await;
    all_linked(&nodes).await;
    set(&nodes[1..3], r#"{"cut":{"from":"1","to":"2","one_way":true}}"#).await;
    let began = Instant::now();
    for (node, msg) in [(&nodes[1], "from 1"), (&nodes[2], "from 2")] {
        assert_eq!(post(node, "/broadcast", json!({ "msg": msg }).to_string()).await.0, 202);
    }
    for node in &nodes {
        until("both messages", || async { (texts(node).await.len() == 2).then_some(()) }).await;
    }
    // The bootstrap and node3 ask in their stead: through six seconds of probes nobody declares anybody dead.
    until("six seconds of probes", || async {
        for node in &nodes {
            assert_eq!(live(node).await.len(), 3, "{}", node.name);
        }
        (began.elapsed() > Duration::from_secs(6)).then_some(())
    })
    .await;
    let lost = metric(&nodes[1], "datagrams_lost_to_faults_total").await;
    assert!(lost > 0, "node1's datagrams to node2 are lost");
    heal(&nodes[1..3]).await;
    all_agree(&nodes).await;
}

#[tokio::test]
async fn ten_seconds_of_thirty_percent_loss_kill_nobody_and_lose_no_message() {
    let nodes = network_of("loss", 5).await;
    all_agree(&nodes).await;
    all_linked(&nodes).await;
    set(&nodes, r#"{"loss":{"percent":30}}"#).await;
    let began = Instant::now();
    for node in &nodes {
        assert_eq!(post(node, "/broadcast", r#"{"msg":"apple"}"#).await.0, 202);
    }
    until("ten seconds of loss", || async {
        for node in &nodes {
            for member in support::members(node).await.members {
                let dead = matches!(member.status, Status::Dead | Status::Left);
                assert!(!dead, "{} says that {} is dead", node.name, member.name);
            }
        }
        (began.elapsed() > Duration::from_secs(10)).then_some(())
    })
    .await;
    for node in &nodes {
        until("six messages, each once", || async { (texts(node).await.len() == 6).then_some(()) }).await;
        assert!(metric(node, "datagrams_lost_to_faults_total").await > 0, "{}", node.name);
    }
}

#[tokio::test]
async fn delay_makes_a_message_late_and_healing_makes_it_quick() {
    let nodes = network_of("delay", 1).await;
    all_agree(&nodes).await;
    all_linked(&nodes).await;
    set(&nodes, r#"{"delay":{"ms":400}}"#).await;
    let hear = |count: usize| {
        let node = &nodes[1];
        until("the message", move || async move { (texts(node).await.len() == count).then_some(()) })
    };
    let began = Instant::now();
    assert_eq!(post(&nodes[0], "/broadcast", r#"{"msg":"slow"}"#).await.0, 202);
    hear(1).await;
    assert!(began.elapsed() >= Duration::from_millis(400), "{:?}", began.elapsed());
    assert_eq!(live(&nodes[0]).await, ["node1"]);
    heal(&nodes).await;
    assert_eq!(post(&nodes[0], "/broadcast", r#"{"msg":"quick"}"#).await.0, 202);
    hear(2).await;
}

#[tokio::test]
async fn a_node_that_is_healed_alone_is_spared_by_the_others() {
    let nodes = network_of("spare", 2).await;
    all_agree(&nodes).await;
    // Whoever has not heard three answers yet accuses nobody, however long it is cut off.
    until("answers", || async { (metric(&nodes[0], "probes_total").await >= 5).then_some(()) }).await;
    set(&nodes, r#"{"cut":{"from":"bootstrap","to":"1-2"}}"#).await;
    see_only_each_other(&nodes[..1]).await;
    heal(&nodes[1..2]).await;
    let (code, reply) = delete(&nodes[0], "/fault?peers=1").await;
    assert_eq!((code, &reply["faults"][0]["spared"]), (200, &json!("1")), "{reply}");
    until("node1 back", || async { (status_of(&nodes[0], "node1").await == Some(Status::Alive)).then_some(()) }).await;
    let (code, reply) = delete(&nodes[0], "/fault?peers=2").await;
    assert_eq!((code, reply["faults"].as_array().unwrap().len()), (200, 0), "nobody is left to be cut off from");
}

#[tokio::test]
async fn faults_are_listed_counted_told_and_gone_with_the_life_of_the_node() {
    let node = start(settings("list", "node1")).await.unwrap();
    assert_eq!(get(&node, "/fault").await, (200, json!({"node": "node1", "faults": []})));
    let mut events = reqwest::get(format!("{}/events", node.url())).await.unwrap();
    let (_, reply) = post(&node, "/fault", r#"{"delay":{"ms":100,"jitter_ms":30,"nodes":"1-3"}}"#).await;
    let row = &reply["faults"][0];
    assert_eq!(row["text"], "delay 100±30ms 1-3");
    assert_eq!(row["fault"], json!({"delay": {"ms": 100, "jitter_ms": 30, "nodes": "1-3"}}));
    assert!(row["since"].as_u64().unwrap() > 1_600_000_000_000);
    assert_eq!(get(&node, "/fault").await.1, reply);
    assert_eq!(metric(&node, "faults").await, 1);
    let mut told = String::new();
    while !told.contains("event: fault\n") || !told.ends_with("\n\n") {
        let chunk = tokio::time::timeout(Duration::from_secs(10), events.chunk()).await.unwrap().unwrap();
        told.push_str(std::str::from_utf8(&chunk.expect("the stream goes on")).unwrap());
    }
    assert!(told.contains("delay 100±30ms 1-3"), "{told}");
    node.kill().await;
    let again = start(settings("list", "node1")).await.unwrap();
    assert_eq!(get(&again, "/fault").await, (200, json!({"node": "node1", "faults": []})));
}

#[tokio::test]
async fn what_is_wrong_with_a_fault_is_a_400_that_says_what_to_send() {
    let node = start(settings("errors", "node1")).await.unwrap();
    for (body, says) in [
        ("", "not JSON"),
        ("[]", "no object"),
        ("{}", "expected map with a single key"),
        (r#"{"rain":{}}"#, "unknown variant `rain`"),
        (r#"{"loss":{}}"#, "missing field `percent`"),
        (r#"{"loss":{"percent":"30%"}}"#, "expected u8"),
        (r#"{"loss":{"percent":0}}"#, "from 1 to 100"),
        (r#"{"loss":{"percent":300}}"#, "expected u8"),
        (r#"{"delay":{"ms":60001}}"#, "at most 60000 ms"),
        (r#"{"delay":{"ms":-1}}"#, "expected u32"),
        (r#"{"delay":{"ms":1,"nodes":7}}"#, "invalid type: integer `7`"),
        (r#"{"cut":{"from":"1","to":"1-2"}}"#, "share `1`"),
        (r#"{"cut":{"from":"2-1"}}"#, "runs backwards"),
        (r#"{"cut":{"from":""}}"#, "a side of a cut is empty"),
        (r#"{"cut":{"from":"1","oneway":true}}"#, "unknown field `oneway`"),
        (r#"{"cut":{"from":"2","to":"3"}}"#, "no part for `node1`"),
        (r#"{"loss":{"percent":1},"delay":{"ms":1}}"#, "expected map with a single key"),
    ] {
        let (code, reply) = post(&node, "/fault", body).await;
        let error = reply["error"].as_str().unwrap();
        assert!(code == 400 && error.contains(says), "{body}: {code} {error}");
    }
    for (path, says) in [
        ("/fault?peers=", "`peers` is empty"),
        ("/fault?peers=3-1", "runs backwards"),
        ("/fault?nodes=1", "takes `?peers=1-3,7`"),
    ] {
        let (code, reply) = delete(&node, path).await;
        assert!(code == 400 && reply["error"].as_str().unwrap().contains(says), "{path}: {code} {reply}");
    }
    let wrong = reqwest::Client::new().put(format!("{}/fault", node.url())).send().await.unwrap();
    assert_eq!(wrong.status(), 405);
    for peer in 2..18 {
        let body = format!(r#"{{"cut":{{"from":"1","to":"{peer}"}}}}"#);
        assert_eq!(post(&node, "/fault", body).await.0, 200);
    }
    let (code, reply) = post(&node, "/fault", r#"{"loss":{"percent":1}}"#).await;
    assert!(code == 400 && reply["error"].as_str().unwrap().contains("16 faults at once are the limit"), "{reply}");
    assert_eq!(get(&node, "/fault").await.1["faults"].as_array().unwrap().len(), 16);
}
