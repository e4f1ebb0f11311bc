//! A network of local processes, from nothing to nothing.
//!
//! Every node is a small stand-in with a node's manners, so that what is tested is ours alone: starting, freezing, killing
//! and finding again. Whether real nodes agree with each other is another test's question.

#![allow(clippy::disallowed_methods, reason = "waits with deadlines")]

use std::{
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use p2pnet::{
    cluster::{Cluster, Progress, Push, RuntimeChoice, Settings, Truth, Unit, UnitState, vnodes_for},
    failure::Failure,
    select::Selector,
    verb::Signal,
};
use p2pnet_shared::{NetworkName, NodeName};
use tokio::sync::mpsc;

const DEADLINE: Duration = Duration::from_secs(30);

/// A program that stays until TERM, and then ends with 0. It notes down what `VNODES` it was given.
fn stand_in(dir: &Path) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = dir.join("stand-in");
    std::fs::write(&path, "#!/bin/sh\necho \"$VNODES\" > vnodes\ntrap 'exit 0' TERM\nwhile :; do sleep 0.05; done\n")
        .unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

struct Lab {
    /// Removed with everything in it when the test ends.
    _scratch: tempfile::TempDir,
    settings: Settings,
    binary: PathBuf,
}

impl Lab {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let settings = Settings {
            network: format!("test-{}", uuid::Uuid::new_v4().simple()).parse().unwrap(),
            base_port: free_ports(),
            bind: Ipv4Addr::LOCALHOST.into(),
            data: scratch.path().join("data"),
            publish: true,
            secret: Some("hush".to_owned()),
            push: Push::Flood,
            vnodes: None,
            egress: None,
        };
        let binary = stand_in(scratch.path());
        Self { _scratch: scratch, settings, binary }
    }

    fn network(&self) -> &NetworkName {
        &self.settings.network
    }

    async fn start(&self, nodes: u32) -> Result<Cluster, Failure> {
        let settings = self.settings.clone();
        Cluster::start_with(settings, nodes, RuntimeChoice::Process, &self.binary, nobody()).await
    }
}

/// A reporter whose other end is gone: progress must never hold up work.
fn nobody() -> mpsc::Sender<Progress> {
    mpsc::channel(1).0
}

/// The first of a dozen ports in a row that are free now.
fn free_ports() -> u16 {
    loop {
        let base = 20_000 + rand::random_range(0..10_000_u16);
        if (0..12).all(|offset| TcpListener::bind((Ipv4Addr::LOCALHOST, base + offset)).is_ok()) {
            return base;
        }
    }
}

fn nodes(text: &str, units: &[Unit]) -> Vec<NodeName> {
    text.parse::<Selector>().unwrap().resolve(units).unwrap()
}

fn state_of(units: &[Unit], name: &str) -> UnitState {
    units.iter().find(|unit| unit.name.as_str() == name).unwrap().state
}

/// What the stand-in was told, once it has noted it down.
async fn vnodes_of(lab: &Lab, name: &str) -> String {
    let file = lab.settings.data.join(lab.network().as_str()).join(name).join("vnodes");
    let begun = Instant::now();
    loop {
        if let Some(vnodes) = std::fs::read_to_string(&file).ok().filter(|text| text.ends_with('\n')) {
            return vnodes.trim_end().to_owned();
        }
        assert!(begun.elapsed() < DEADLINE, "{name} never noted down its vnodes");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn until(cluster: &Cluster, name: &str, wanted: UnitState) {
    let begun = Instant::now();
    while state_of(&cluster.list().await.unwrap(), name) != wanted {
        assert!(begun.elapsed() < DEADLINE, "{name} never became {wanted:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_network_lives_its_life_and_leaves_nothing() {
    let lab = Lab::new();
    let made = lab.start(3).await.unwrap();
    assert_eq!(made.list().await.unwrap().len(), 5, "three nodes, the bootstrap and the gateway");
    // From here on as another p2pnet would: with what it finds.
    let cluster = Cluster::find(lab.network(), RuntimeChoice::Process).await.unwrap().unwrap();
    assert_eq!(
        cluster.settings(),
        &Settings { vnodes: Some(64), ..lab.settings.clone() },
        "and what was chosen for it"
    );
    assert_eq!(cluster.gateway().await.unwrap(), made.gateway().await.unwrap());

    let units = cluster.list().await.unwrap();
    cluster.stop_nodes(&nodes("1", &units), Signal::Kill).await.unwrap();
    assert_eq!(state_of(&cluster.list().await.unwrap(), "node1"), UnitState::Dead);
    cluster.stop_nodes(&nodes("2", &units), Signal::Term).await.unwrap();
    until(&cluster, "node2", UnitState::Left).await;
    cluster.pause_nodes(&nodes("3", &units)).await.unwrap();
    assert_eq!(state_of(&cluster.list().await.unwrap(), "node3"), UnitState::Paused);
    assert!(cluster.pause_nodes(&nodes("1", &units)).await.unwrap_err().hint.is_some(), "a dead node cannot be frozen");
    cluster.resume_nodes(&nodes("3", &units)).await.unwrap();
    cluster.restart_nodes(&nodes("1-3", &units)).await.unwrap();
    assert!(cluster.list().await.unwrap().iter().all(|unit| unit.state == UnitState::Up));

    let added = cluster.add_nodes(2, nobody()).await.unwrap();
    assert_eq!(added, [NodeName::numbered(4), NodeName::numbered(5)]);

    cluster.stop(false, nobody()).await.unwrap();
    assert!(Cluster::find(lab.network(), RuntimeChoice::Process).await.unwrap().is_none());
    assert!(!lab.settings.data.exists(), "no folder is left");
}

#[tokio::test]
async fn nodes_that_come_later_or_again_have_as_many_vnodes_as_the_first() {
    let mut lab = Lab::new();
    lab.settings.vnodes = Some(vnodes_for(500));
    lab.start(1).await.unwrap();
    // A p2pnet that knows nothing of the choice, as each is that did not make the network.
    lab.settings.vnodes = None;
    let cluster = Cluster::find(lab.network(), RuntimeChoice::Process).await.unwrap().unwrap();
    cluster.add_nodes(1, nobody()).await.unwrap();
    std::fs::remove_file(lab.settings.data.join(lab.network().as_str()).join("node1/vnodes")).unwrap();
    cluster.restart_nodes(&nodes("1", &cluster.list().await.unwrap())).await.unwrap();
    lab.start(3).await.unwrap();
    for name in ["bootstrap", "node1", "node2", "node3"] {
        assert_eq!(vnodes_of(&lab, name).await, "32", "{name}");
    }
    lab.settings.vnodes = Some(64);
    let refused = lab.start(3).await.unwrap_err();
    assert!(refused.error.contains("32 vnodes"), "{refused}");
    cluster.stop(false, nobody()).await.unwrap();
}

#[test]
fn from_500_nodes_on_a_network_has_32_vnodes() {
    assert_eq!([1, 100, 499, 500, 1_000].map(vnodes_for), [64, 64, 64, 32, 32]);
}

#[tokio::test]
async fn a_death_is_told_to_who_watches() {
    let lab = Lab::new();
    let cluster = lab.start(2).await.unwrap();
    let mut watch = cluster.watch();
    let Some(Truth::Listed(units)) = watch.recv().await else { panic!("a list comes first") };
    assert!(units.iter().all(|unit| unit.state == UnitState::Up && unit.since.is_some()));
    cluster.stop_nodes(&nodes("2", &units), Signal::Kill).await.unwrap();
    let died = async {
        loop {
            match watch.recv().await.unwrap() {
                Truth::Changed(unit) if unit.name == NodeName::numbered(2) => return unit,
                _ => {}
            }
        }
    };
    let unit = tokio::time::timeout(DEADLINE, died).await.unwrap();
    assert_eq!(unit.state, UnitState::Dead);
    cluster.stop(false, nobody()).await.unwrap();
}

#[tokio::test]
async fn what_cannot_work_is_refused_before_anything_is_made() {
    let lab = Lab::new();
    assert!(lab.start(0).await.unwrap_err().error.contains("at least one"));
    assert!(lab.start(100_000).await.unwrap_err().hint.unwrap().contains("1,023"));
    let port = lab.settings.base_port + 2;
    let held = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    let failure = lab.start(3).await.unwrap_err();
    assert!(failure.error.contains(&format!("port {port} is already in use by")), "{failure}");
    assert!(failure.hint.unwrap().contains("--base-port"));
    assert!(!lab.settings.data.exists(), "nothing was made");
    drop(held);
}

#[tokio::test]
async fn a_network_with_something_missing_is_completed_by_starting_again() {
    let lab = Lab::new();
    let first = lab.start(1).await.unwrap();
    let units = first.list().await.unwrap();
    first.stop_nodes(&nodes("1", &units), Signal::Kill).await.unwrap();
    let again = lab.start(3).await.unwrap();
    let units = again.list().await.unwrap();
    assert_eq!(units.len(), 5);
    assert!(units.iter().all(|unit| unit.state == UnitState::Up));
    assert_eq!(first.gateway().await.unwrap(), again.gateway().await.unwrap(), "what was there was kept");

    let other = Settings { base_port: free_ports(), ..lab.settings.clone() };
    let refused = Cluster::start_with(other, 1, RuntimeChoice::Process, &lab.binary, nobody()).await.unwrap_err();
    assert!(refused.error.contains("exists already"), "{refused}");
    again.stop(false, nobody()).await.unwrap();
}
