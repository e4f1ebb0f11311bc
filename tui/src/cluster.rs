//! What we can ask of a network of nodes, and who answers.
//!
//! ```text
//! verbs, dashboard ──▶ Cluster ──▶ dyn Engine ──▶ docker.rs    one container a node, through the engine's API
//!                        │                   └──▶ process.rs   one local process a node
//!                        └── placement, bounded parallel starts, progress, clean-up: written once, for a list of engines
//!
//! engine.rs  the trait, and the plan a network is built to     ports.rs    is it free, and who has it
//! launch.rs  start, complete, grow, remove                     folders.rs  where nodes keep things; what may be deleted
//! watch.rs   one stream of truth from engines that come and go limits.rs   what the host allows
//! ```
//! What runs, is paused or dead is always the engine's word, never a node's. Everything needed to find a network again
//! lives with the network itself (labels on containers, a file beside processes), so any p2pnet can attach to it at any
//! time, also after the one that made it was killed.

mod docker;
mod engine;
mod folders;
mod launch;
mod limits;
mod ports;
mod process;
mod watch;

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};

use p2pnet_shared::{NetworkName, NodeName, UnixMillis, ring::VNODES};
use serde::{Deserialize, Serialize};

use crate::{failure::Failure, verb::Signal};

use engine::{Action, Engine, Found, Plan};

pub use folders::default_data_dir;
pub use limits::{Limit, MOST_NODES, raise_neighbours};

/// Node ports are published on the host up to this many nodes unless told otherwise: each published port costs the engine
/// a proxy process and a set of firewall rules. Whoever makes [`Settings`] decides.
pub const PUBLISH_UP_TO: u32 = 200;

/// What one unit of a network is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The node the others come to first. Same program, same code.
    Bootstrap,
    /// A peer.
    Node,
    /// Collects what nodes report; no member of the network.
    Gateway,
}

/// How a unit is, by the word of the engine that runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnitState {
    /// Made, not yet started.
    Created,
    /// Runs.
    Up,
    /// Frozen: its sockets are open and nobody is at home.
    Paused,
    /// Ended by a signal or an error.
    Dead,
    /// Ended by itself with exit code 0: it said goodbye.
    Left,
}

/// One container or process of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// `node7`, `bootstrap`, `gateway`: the name inside the network.
    pub name: NodeName,
    /// What it is for.
    pub role: Role,
    /// How it is.
    pub state: UnitState,
    /// Where its port is reached from this host, if it is published.
    pub address: Option<SocketAddr>,
    /// When it entered its state, as the engine says; `None` where the engine cannot tell.
    pub since: Option<UnixMillis>,
}

/// What an engine tells us without being asked. Whoever holds it compares it with what nodes believe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Truth {
    /// Every unit of the network there is: replaces all that was known. Comes first, then every few seconds.
    Listed(Vec<Unit>),
    /// One unit changed.
    Changed(Unit),
    /// One unit is gone altogether.
    Removed(NodeName),
    /// The engine does not answer: what was known may be out of date from here on.
    EngineLost(String),
    /// It answers again; a list follows.
    EngineBack,
}

/// Where a network's gateway is reached from this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayAddress {
    /// Always loopback or the bind address.
    pub addr: SocketAddr,
    /// Sent as `Authorization: Bearer …` with every request.
    pub token: String,
}

/// What is fixed when a network is started and found again with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The network's name.
    pub network: NetworkName,
    /// Node i is published on this port plus i; the bootstrap on this one.
    pub base_port: u16,
    /// The host address ports are published on.
    pub bind: IpAddr,
    /// Folders are `data/<network>/node7/{sync,data}`.
    pub data: PathBuf,
    /// Whether node ports are published.
    pub publish: bool,
    /// Seals datagrams and frames between nodes.
    pub secret: Option<String>,
    /// How broadcasts travel.
    #[serde(default)]
    pub push: Push,
    /// Places of each member on the ring; chosen when the network is made, and then the same for every node that comes
    /// later. `None` in what was written before there was a choice, and while there is no network yet.
    #[serde(default)]
    pub vnodes: Option<u16>,
    /// Bytes of files that each node sends a second at most; `None`: as many as go.
    #[serde(default)]
    pub egress: Option<u64>,
}

/// What a node's process is told about its memory, in the words of the C library (`mallopt(3)`): one arena for its few threads, and
/// what is large goes back to the system when it is let go.
pub(crate) const MEMORY: [(&str, &str); 3] =
    [("MALLOC_ARENA_MAX", "1"), ("MALLOC_MMAP_THRESHOLD_", "131072"), ("MALLOC_TRIM_THRESHOLD_", "131072")];

impl Settings {
    /// Places of each member on the ring.
    #[must_use]
    pub fn vnodes(&self) -> u16 {
        self.vnodes.unwrap_or(VNODES)
    }
}

/// Places of each member on the ring of a network that starts with so many nodes. More of them balance better and cost a
/// large network memory and time.
#[must_use]
pub fn vnodes_for(nodes: u32) -> u16 {
    if nodes >= LARGE { VNODES / 2 } else { VNODES }
}

/// From here on a network has half the places for each member.
const LARGE: u32 = 500;

/// How broadcasts travel in a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Push {
    /// Over a tree, and announced elsewhere: hardly anything comes twice.
    #[default]
    Tree,
    /// Over every link: everything comes some four times.
    Flood,
}

impl Push {
    /// As a node's `PUSH` has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Push::Tree => "tree",
            Push::Flood => "flood",
        }
    }
}

/// Which runtime is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RuntimeChoice {
    /// Docker when an engine answers, local processes otherwise.
    #[default]
    Auto,
    /// Docker or nothing.
    Docker,
    /// Local processes.
    Process,
}

/// Who runs a network, and why them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeInfo {
    /// `docker` or `process`.
    pub kind: &'static str,
    /// `docker unix:///var/run/docker.sock · engine 20.10.24 · API 1.41`, or `local processes`.
    pub describe: String,
    /// Why this one: `an engine answers`, `asked for`, or what was tried and how it failed.
    pub why: String,
}

/// How far a start, a growth or a stop has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// `importing the image`, `creating containers`, `starting nodes`, `removing containers` …
    pub step: &'static str,
    /// Of the step's pieces, this many are done.
    pub done: u32,
    /// This many there are.
    pub total: u32,
}

type Watcher = tokio::sync::mpsc::Receiver<Truth>;
type Reporter = tokio::sync::mpsc::Sender<Progress>;

/// A network that exists. Cheap to clone; every clone speaks to the same network.
#[derive(Debug, Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    plan: Plan,
    /// Never empty. A unit lives on exactly one of them.
    engines: Vec<Arc<dyn Engine>>,
    runtime: RuntimeInfo,
}

impl Cluster {
    /// The network of that name, if one exists, also one whose start or stop was interrupted.
    ///
    /// # Errors
    /// The engine that was asked for does not answer. With [`RuntimeChoice::Auto`] a silent engine is no error: the
    /// network may be one of local processes.
    pub async fn find(network: &NetworkName, runtime: RuntimeChoice) -> Result<Option<Cluster>, Failure> {
        let mut why_not_docker = None;
        if runtime != RuntimeChoice::Process {
            match docker::Docker::connect().await {
                Ok(engine) => {
                    if let Some(found) = engine.find(network).await? {
                        return Ok(Some(Self::of(found, Arc::new(engine), why(runtime, "an engine answers"))));
                    }
                }
                Err(failure) if runtime == RuntimeChoice::Docker => return Err(failure),
                Err(failure) => why_not_docker = Some(failure.error),
            }
        }
        if runtime == RuntimeChoice::Docker {
            return Ok(None);
        }
        let engine = process::Process;
        let found = engine.find(network).await?;
        let why = why(runtime, why_not_docker.as_deref().unwrap_or("it was started as local processes"));
        Ok(found.map(|found| Self::of(found, Arc::new(engine), why)))
    }

    /// Makes a network (or completes one whose start was interrupted) and returns once every node runs. Nodes are copies
    /// of the running executable.
    ///
    /// # Errors
    /// Whatever can be known beforehand (names, ports, folders, limits) is checked before anything is made. After a later
    /// failure the units made so far stay: starting again completes them, [`Cluster::stop`] removes them.
    pub async fn start(
        settings: Settings,
        nodes: u32,
        runtime: RuntimeChoice,
        progress: Reporter,
    ) -> Result<Cluster, Failure> {
        let binary = std::env::current_exe()
            .map_err(|error| Failure::new(format!("could not find the running executable: {error}")))?;
        Self::start_with(settings, nodes, runtime, &binary, progress).await
    }

    /// [`Cluster::start`] with another executable than the running one: tests and benchmarks are not p2pnet themselves.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub async fn start_with(
        mut settings: Settings,
        nodes: u32,
        runtime: RuntimeChoice,
        binary: &Path,
        progress: Reporter,
    ) -> Result<Cluster, Failure> {
        settings.data = std::path::absolute(&settings.data)
            .map_err(|error| Failure::new(format!("`{}` is not a usable path: {error}", settings.data.display())))?;
        launch::check_size(&settings, nodes)?;
        let (engine, info) = choose(&settings.network, runtime).await?;
        // Local processes have no ports but the host's own.
        settings.publish |= info.kind == "process";
        let engines = vec![engine];
        let plan = launch::start(&engines, settings, nodes, binary, &progress).await?;
        Ok(Self { inner: Arc::new(Inner { plan, engines, runtime: info }) })
    }

    fn of(found: Found, engine: Arc<dyn Engine>, why: String) -> Self {
        let runtime = RuntimeInfo { kind: engine.kind(), describe: engine.describe(), why };
        Self { inner: Arc::new(Inner { plan: found.plan, engines: vec![engine], runtime }) }
    }

    /// What was fixed when it was started.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.inner.plan.settings
    }

    /// Who runs it, and why them.
    #[must_use]
    pub fn runtime(&self) -> &RuntimeInfo {
        &self.inner.runtime
    }

    /// Where its gateway listens.
    ///
    /// # Errors
    /// The engine does not answer, or the gateway does not run. Trying again helps once it does.
    pub async fn gateway(&self) -> Result<GatewayAddress, Failure> {
        let units = self.list().await?;
        let gateway = units.iter().find(|unit| unit.role == Role::Gateway);
        match gateway.map(|unit| (unit.state, unit.address)) {
            Some((UnitState::Up, Some(addr))) => Ok(GatewayAddress { addr, token: self.inner.plan.token.clone() }),
            _ => Err(Failure::new(format!("the gateway of network `{}` does not run", self.settings().network))
                .hint("`p2pnet start-network` starts what is missing and leaves the rest alone")),
        }
    }

    /// Every unit, in the order people count.
    ///
    /// # Errors
    /// The engine does not answer.
    pub async fn list(&self) -> Result<Vec<Unit>, Failure> {
        let held = launch::list(&self.inner.engines, &self.inner.plan).await?;
        Ok(held.into_iter().map(|held| held.unit).collect())
    }

    /// Truth as it happens; the first message is `Listed` (or `EngineLost`, when there is nobody to ask). Reconnects by
    /// itself; ends when the receiver is dropped.
    #[must_use]
    pub fn watch(&self) -> Watcher {
        watch::watch(self.inner.engines.clone(), self.inner.plan.clone())
    }

    /// Makes and starts `count` more nodes, with the next free numbers.
    ///
    /// # Errors
    /// As [`Cluster::start`]; a number is only taken once its unit is made.
    pub async fn add_nodes(&self, count: u32, progress: Reporter) -> Result<Vec<NodeName>, Failure> {
        launch::grow(&self.inner.engines, &self.inner.plan, count, &progress).await
    }

    /// Ends nodes. They stay as dead units, so [`Cluster::restart_nodes`] can bring them back with the same data. One
    /// that is dead already is no error.
    ///
    /// # Errors
    /// A name that is no unit of this network (nothing was done), or the nodes that would not end; the others did.
    pub async fn stop_nodes(&self, nodes: &[NodeName], signal: Signal) -> Result<(), Failure> {
        self.act(nodes, Action::End(signal)).await
    }

    /// Starts dead nodes again; one that runs is ended politely first.
    ///
    /// # Errors
    /// As [`Cluster::stop_nodes`].
    pub async fn restart_nodes(&self, nodes: &[NodeName]) -> Result<(), Failure> {
        self.act(nodes, Action::Restart).await
    }

    /// Freezes nodes.
    ///
    /// # Errors
    /// As [`Cluster::stop_nodes`]; a dead node cannot be frozen.
    pub async fn pause_nodes(&self, nodes: &[NodeName]) -> Result<(), Failure> {
        self.act(nodes, Action::Pause).await
    }

    /// Lets frozen nodes go on.
    ///
    /// # Errors
    /// As [`Cluster::stop_nodes`]; a dead node cannot go on.
    pub async fn resume_nodes(&self, nodes: &[NodeName]) -> Result<(), Failure> {
        self.act(nodes, Action::Resume).await
    }

    async fn act(&self, nodes: &[NodeName], action: Action) -> Result<(), Failure> {
        launch::act(&self.inner.engines, &self.inner.plan, nodes, action).await
    }

    /// Removes everything of this network; with `keep_data` the folders stay. Removing what is half gone is fine.
    ///
    /// # Errors
    /// What would not go, and the way out. Trying again is safe.
    pub async fn stop(&self, keep_data: bool, progress: Reporter) -> Result<(), Failure> {
        launch::remove_all(&self.inner.engines, &self.inner.plan, keep_data, &progress).await
    }
}

/// `asked for` when it was, else what was found.
fn why(choice: RuntimeChoice, found: &str) -> String {
    if choice == RuntimeChoice::Auto { found.to_owned() } else { "asked for".to_owned() }
}

/// Who shall run a network that is to be started: the runtime that has it already, else the choice.
async fn choose(network: &NetworkName, choice: RuntimeChoice) -> Result<(Arc<dyn Engine>, RuntimeInfo), Failure> {
    let running_as_processes = process::Process.find(network).await?.is_some();
    let info = |engine: &dyn Engine, why| RuntimeInfo { kind: engine.kind(), describe: engine.describe(), why };
    let processes = |why| (Arc::new(process::Process) as Arc<dyn Engine>, info(&process::Process, why));
    match choice {
        RuntimeChoice::Process => Ok(processes(why(choice, ""))),
        RuntimeChoice::Docker if running_as_processes => {
            Err(Failure::new(format!("network `{network}` exists as local processes"))
                .hint("stop it with `p2pnet stop-network`, or choose another `--network NAME`"))
        }
        RuntimeChoice::Auto if running_as_processes => Ok(processes("it was started as local processes".to_owned())),
        RuntimeChoice::Auto | RuntimeChoice::Docker => match docker::Docker::connect().await {
            Ok(engine) => {
                let info = info(&engine, why(choice, "an engine answers"));
                Ok((Arc::new(engine), info))
            }
            Err(failure) if choice == RuntimeChoice::Docker => Err(failure),
            Err(failure) => Ok(processes(failure.error)),
        },
    }
}

/// The description of the engine that answers, for `p2pnet doctor`.
pub(crate) async fn examine_docker() -> Result<String, Failure> {
    Ok(docker::Docker::connect().await?.describe())
}

/// Every limit that a network of `nodes` nodes comes near, for `p2pnet doctor`.
pub(crate) fn host_limits(nodes: u32) -> Vec<Limit> {
    limits::all(nodes)
}

/// Why a port cannot be used, for `p2pnet doctor`.
pub(crate) fn port_trouble(addr: SocketAddr) -> Option<String> {
    ports::trouble(addr, ports::Wanted::ByEngine)
}

/// Why a data folder cannot be used, for `p2pnet doctor`.
pub(crate) fn folder_trouble(data: &Path) -> Option<Failure> {
    folders::check_data(data).err()
}
