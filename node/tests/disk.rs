//! Keys and the disk: real nodes, real files, real kills, and disks without room.
//!
//! A child here is this test's own binary: [`a_node_in_a_process_of_its_own`] becomes a node when its environment says so.

#![allow(clippy::disallowed_methods, reason = "tests of the runtime live in real time")]

mod support;

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use p2pnet_node::{NodeHandle, NodeOptions, Settings, config::DataFolder, start};
use rustix::process::{Resource, Rlimit, setrlimit};
use serde_json::json;

use support::{all_agree, get, post, until};

const CHILD: &str = "P2PNET_TEST_NODE";
const READY: &str = "node is at ";
const FILE: &str = "keys.redb";

/// A node as a process: killed when dropped.
struct Process {
    child: Child,
    url: String,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a child is to be.
struct Wanted<'a> {
    test: &'a str,
    name: &'a str,
    data: &'a Path,
    bootstrap: Option<&'a str>,
    /// No file may grow beyond this many bytes.
    file_max: Option<u64>,
}

impl Wanted<'_> {
    fn start(&self) -> Process {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "a_node_in_a_process_of_its_own", "--nocapture", "--test-threads=1"]);
        command.env(CHILD, "1").env("NODE_NAME", self.name).env("DATA_DIR", self.data);
        command.env("NETWORK", support::network(self.test).as_str());
        command.env("BOOTSTRAP", self.bootstrap.unwrap_or_default());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        limit(&mut command, self.file_max);
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = lines.map_while(Result::ok).find_map(|line| Some(line.split_once(READY)?.1.to_owned()));
        Process { child, url: url.expect("the child says where it is") }
    }
}

#[allow(unsafe_code, reason = "the limit is the child's alone; both calls are safe between fork and exec")]
fn limit(command: &mut Command, file_max: Option<u64>) {
    let Some(bytes) = file_max else { return };
    // SAFETY: one async-signal-safe system call that touches no memory of ours.
    unsafe {
        command.pre_exec(move || {
            setrlimit(Resource::Fsize, Rlimit { current: Some(bytes), maximum: None }).map_err(std::io::Error::from)
        });
    }
}

/// Not a test unless it is asked to be a node, and then it is one until it is killed. With one thread, as nodes have.
#[test]
fn a_node_in_a_process_of_its_own() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let var = |name: &str| std::env::var(name).ok();
    let options = NodeOptions {
        name: var("NODE_NAME"),
        port: Some("0".to_owned()),
        bind: Some("127.0.0.1".to_owned()),
        bootstrap: var("BOOTSTRAP"),
        network: var("NETWORK"),
        data: var("DATA_DIR").map(PathBuf::from),
        ..NodeOptions::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let node = start(Settings::try_from(options).unwrap()).await.unwrap();
        println!("{READY}{}", node.url());
        std::future::pending::<()>().await;
    });
}

async fn put(url: &str, key: &str, value: &str) -> u16 {
    let body = json!({"key": key, "value": value}).to_string();
    let reply = reqwest::Client::new().post(format!("{url}/kv")).body(body).send().await;
    reply.map_or(0, |reply| reply.status().as_u16())
}

async fn got(url: &str, key: &str) -> Option<String> {
    let reply = reqwest::get(format!("{url}/kv/{key}")).await.ok()?;
    let body: serde_json::Value = reply.json().await.ok()?;
    Some(body.get("value")?.as_str()?.to_owned())
}

/// Waits until every one of these can be read with the value that was acknowledged.
async fn all_there(url: &str, acknowledged: &BTreeMap<String, String>) {
    for (key, value) in acknowledged {
        until(&format!("{key} = {value} at {url}"), || async {
            (got(url, key).await.as_ref()? == value).then_some(())
        })
        .await;
    }
}

fn with_data(test: &str, name: &str, data: &Path) -> Settings {
    Settings { data: DataFolder::Required(data.to_owned()), ..support::settings(test, name) }
}

async fn disk_of(node: &NodeHandle) -> String {
    let text = reqwest::get(format!("{}/metrics", node.url())).await.unwrap().text().await.unwrap();
    let state = text.lines().find_map(|line| line.strip_prefix("p2pnet_disk{state=\"")?.strip_suffix("\"} 1"));
    state.expect("the metric is there").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_killed_at_once_gives_back_every_acknowledged_key() {
    let scratch = tempfile::tempdir().unwrap();
    let folders: Vec<PathBuf> = (0..4).map(|number| scratch.path().join(number.to_string())).collect();
    let test = "all-killed";
    let raise = || {
        let first = Wanted { test, name: "bootstrap", data: &folders[0], bootstrap: None, file_max: None }.start();
        let mut nodes = vec![first];
        for (number, data) in folders.iter().enumerate().skip(1) {
            let (name, bootstrap) = (format!("node{number}"), nodes[0].url.clone());
            nodes.push(Wanted { test, name: &name, data, bootstrap: Some(&bootstrap), file_max: None }.start());
        }
        nodes
    };
    let mut acknowledged = BTreeMap::new();
    for life in 0..2 {
        let nodes = raise();
        for node in &nodes {
            until("the others", || async { (peers(&node.url).await? == 3).then_some(()) }).await;
        }
        all_there(&nodes[3].url, &acknowledged).await;
        for number in 0..60 {
            let (key, value) = (format!("key{}", number * (life + 1)), format!("{life}-{number}"));
            let url = &nodes[number % 4].url;
            if put(url, &key, &value).await == 200 {
                acknowledged.insert(key, value);
            }
        }
        assert!(acknowledged.len() >= 50, "a quiet network stores: {}", acknowledged.len());
        drop(nodes); // kill -9, all of them, right after the last acknowledgement
    }
    let nodes = raise();
    all_there(&nodes[1].url, &acknowledged).await;
}

async fn peers(url: &str) -> Option<usize> {
    let reply = reqwest::get(format!("{url}/peers")).await.ok()?;
    let body: serde_json::Value = reply.json().await.ok()?;
    Some(body["peers"].as_array()?.len())
}

#[tokio::test]
async fn a_node_alone_keeps_what_it_acknowledged_over_a_crash() {
    let data = tempfile::tempdir().unwrap();
    let mut settings = with_data("alone", "node1", data.path());
    settings.dht.w = 1;
    let node = start(settings.clone()).await.unwrap();
    assert!(!data.path().join(FILE).exists(), "nothing was written yet");
    assert_eq!(put(&node.url(), "apple", "red").await, 200);
    node.kill().await;
    let node = start(settings).await.unwrap();
    assert_eq!(got(&node.url(), "apple").await.as_deref(), Some("red"));
    node.stop().await;
}

#[tokio::test]
async fn a_disk_without_room_is_a_507_and_works_again_when_there_is_room() {
    let data = tempfile::tempdir().unwrap();
    let wanted = |file_max| Wanted { test: "full", name: "node1", data: data.path(), bootstrap: None, file_max };
    // 3 MiB: room for redb's first MiB and some values.
    let node = wanted(Some(3 << 20)).start();
    let value = "x".repeat(50_000);
    let mut acknowledged = BTreeMap::new();
    let mut codes = Vec::new();
    for number in 0..200 {
        let code = put(&node.url, &format!("key{number}"), &value).await;
        codes.push(code);
        match code {
            200 => drop(acknowledged.insert(format!("key{number}"), value.clone())),
            _ => break,
        }
    }
    assert_eq!(codes.last(), Some(&507), "{codes:?}");
    assert!(!acknowledged.is_empty());
    all_there(&node.url, &acknowledged).await;
    assert_eq!(put(&node.url, "more", "x").await, 507, "nothing new is taken");
    // More room for the same process.
    let pid = rustix::process::Pid::from_raw(node.child.id().cast_signed()).unwrap();
    rustix::process::prlimit(Some(pid), Resource::Fsize, Rlimit { current: None, maximum: None }).unwrap();
    until("it takes keys again", || async { (put(&node.url, "more", "x").await == 200).then_some(()) }).await;
    acknowledged.insert("more".to_owned(), "x".to_owned());
    drop(node);
    let node = wanted(None).start();
    all_there(&node.url, &acknowledged).await;
}

#[tokio::test]
async fn a_torn_file_makes_a_broken_store_that_is_left_alone_and_the_others_still_answer() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = |name: &str| scratch.path().join(name);
    let names = ["bootstrap", "node1", "node2"];
    let mut nodes: Vec<NodeHandle> = Vec::new();
    for name in names {
        let mut settings = with_data("torn", name, &folder(name));
        settings.bootstrap = nodes.first().map(|first| first.url().parse().unwrap());
        nodes.push(start(settings).await.unwrap());
    }
    all_agree(&nodes).await;
    let mut acknowledged = BTreeMap::new();
    for number in 0..20 {
        let key = format!("key{number}");
        until("a put", || async { (put(&nodes[number % 3].url(), &key, "before").await == 200).then_some(()) }).await;
        acknowledged.insert(key, "before".to_owned());
    }
    until("node2 has a copy", || async { folder("node2").join(FILE).exists().then_some(()) }).await;
    let bootstrap = nodes[0].url();
    nodes.pop().unwrap().kill().await;
    let file = folder("node2").join(FILE);
    let whole = std::fs::read(&file).unwrap();
    let torn = &whole[..whole.len() / 3];
    std::fs::write(&file, torn).unwrap();
    let mut settings = with_data("torn", "node2", &folder("node2"));
    settings.bootstrap = Some(bootstrap.parse().unwrap());
    nodes.push(start(settings.clone()).await.unwrap());
    all_agree(&nodes).await;
    assert_eq!((disk_of(&nodes[1]).await.as_str(), disk_of(&nodes[2]).await.as_str()), ("fine", "broken"));
    // Through any node, the one with the torn file too.
    for node in &nodes {
        all_there(&node.url(), &acknowledged).await;
    }
    until("a put all the same", || async { (put(&nodes[2].url(), "key0", "after").await == 200).then_some(()) }).await;
    acknowledged.insert("key0".to_owned(), "after".to_owned());
    assert_eq!(std::fs::read(&file).unwrap(), torn, "left as it was");
    // The way out that the log names.
    nodes.pop().unwrap().stop().await;
    std::fs::rename(&file, file.with_extension("torn")).unwrap();
    nodes.push(start(settings).await.unwrap());
    all_agree(&nodes).await;
    until("its copies come back", || async {
        let (_, counts) = get(&nodes[2], "/status").await;
        (counts["keys"].as_u64()? == 20).then_some(())
    })
    .await;
    all_there(&nodes[2].url(), &acknowledged).await;
}

#[tokio::test]
async fn a_node_with_another_number_of_vnodes_is_refused_and_told() {
    let first = start(support::settings("vnodes", "bootstrap")).await.unwrap();
    let body = json!({"address": "http://127.0.0.1:9", "vnodes": 32}).to_string();
    let (code, reply) = post(&first, "/register", body).await;
    let error = reply["error"].as_str().unwrap();
    assert_eq!(code, 409);
    assert!(error.contains("32") && error.contains("64") && error.contains("--vnodes 64"), "{error}");
    for wrong in ["0", "-1", "1025", "\"many\"", "1.5"] {
        let body = format!(r#"{{"address": "http://127.0.0.1:9", "vnodes": {wrong}}}"#);
        assert_eq!(post(&first, "/register", body).await.0, 400, "{wrong}");
    }
    let stranger = |name: &str, vnodes: u16| {
        let mut settings = support::settings("vnodes", name);
        settings.dht.vnodes = vnodes;
        settings
    };
    let mut through_bootstrap = stranger("node1", 32);
    through_bootstrap.bootstrap = Some(first.url().parse().unwrap());
    let mut by_static_peers = stranger("node2", 32);
    by_static_peers.peers = vec![first.url().parse().unwrap()];
    for settings in [through_bootstrap, by_static_peers] {
        let refused = support::metric(&first, "datagrams_refused_total").await;
        let node = start(settings).await.unwrap();
        let reason = until("it is told why", || async {
            let (code, health) = get(&node, "/health").await;
            let reason = health["reason"].as_str()?.to_owned();
            (code == 503 && reason.contains("vnodes")).then_some(reason)
        })
        .await;
        assert!(reason.contains("32") && reason.contains("--vnodes 64"), "{reason}");
        assert!(support::live(&node).await.is_empty() && support::live(&first).await.is_empty());
        until("its datagrams are not heard", || async {
            (support::metric(&first, "datagrams_refused_total").await > refused).then_some(())
        })
        .await;
        assert!(support::live(&first).await.is_empty());
        node.stop().await;
    }
    let mut fitting = stranger("node3", 64);
    fitting.bootstrap = Some(first.url().parse().unwrap());
    let nodes = [first, start(fitting).await.unwrap()];
    all_agree(&nodes).await;
    assert_eq!(get(&nodes[1], "/health").await.0, 200);
}
