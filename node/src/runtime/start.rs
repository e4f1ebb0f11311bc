//! Starting a node, holding it, and the whole life of a node's process.

use std::{net::SocketAddr, path::Path, process::ExitCode, sync::Arc, time::Duration};

use p2pnet_shared::{
    Epoch, NodeName,
    wire::{Codec, Hello},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, oneshot, watch},
    task::{JoinHandle, JoinSet},
};
use uuid::Uuid;

use super::{
    Clock, Node,
    answer::url,
    call::Caller,
    command::Door,
    disk::{self, DiskError},
    faults::Faults,
    folder::{DiskTrouble, Folder},
    http::{Front, Surface, events::Readers},
    hub::Owner,
    join::{self, Join},
    keys::Keys,
    keystore::Keystore,
    lan::Lan,
    link::Links,
    listener::{self, House, ListenError},
    memory,
    messages::MessageLog,
    metrics::Counters,
    peers,
    pool::Pool,
    telemetry::{self, Reporter},
    timers::Timers,
};
use crate::{
    broadcast,
    config::{DataFolder, NodeOptions, Settings},
    dht, membership,
    time::Millis,
};

/// How long the look-up of our bootstrap may hold up the start; it only tells which of our addresses to take.
const LOOKUP: Duration = Duration::from_secs(1);
/// Threads for look-ups and nothing else.
const LOOKUP_THREADS: usize = 2;

/// Why a node did not start. Nothing was left behind but a created data folder.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The shared folder.
    #[error(transparent)]
    Folder(#[from] DiskTrouble),
    /// The port.
    #[error(transparent)]
    Listen(#[from] ListenError),
}

impl StartError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            StartError::Disk(error) => error.hint(),
            StartError::Folder(DiskTrouble::Unusable { path, .. }) => format!(
                "give it to this user (`chown $(id -u) {}`) or choose another with `--sync DIR`",
                path.display()
            ),
            StartError::Folder(DiskTrouble::Taken { .. }) => {
                "stop that node, or give this one its own folder with `--sync DIR`".to_owned()
            }
            StartError::Listen(_) => {
                "choose another with `--port` and `--bind`; `--port 0` takes a free one".to_owned()
            }
        }
    }
}

/// A node that runs. Dropping it is a crash: it says goodbye to nobody.
#[derive(Debug)]
pub struct NodeHandle {
    /// Its name.
    pub name: NodeName,
    /// Its UUID.
    pub id: Uuid,
    /// This life.
    pub epoch: Epoch,
    /// Where it listens, as others reach it.
    pub addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl NodeHandle {
    /// Its URL by address, as in `http://127.0.0.1:5007`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Lets it leave politely and waits until it has, which takes a second at most.
    pub async fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        let _ = (&mut self.task).await;
    }

    /// Crashes it and waits until its port is free again.
    pub async fn kill(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

impl Drop for NodeHandle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts a node within the current tokio runtime.
///
/// # Errors
/// [`StartError`] when the data folder, the shared folder or the port is not to be had; a retry helps once that is mended.
pub async fn start(settings: Settings) -> Result<NodeHandle, StartError> {
    // A file that may not grow is to be an error of the write, not the end of the process: caught, the signal does nothing.
    let _ = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()));
    let clock = Clock::start();
    let identity = disk::open(&settings.data, clock.wall())?;
    if let DataFolder::IfPresent(path) = &settings.data
        && !path.is_dir()
    {
        tracing::warn!(node = %settings.name, "there is no {}: this node is a new one at each start", path.display());
    }
    let (tcp, udp) = listener::bind(settings.bind, settings.port).await?;
    let port = tcp.local_addr().map_or(settings.port, |addr| addr.port());
    let towards = match settings.bootstrap.iter().chain(&settings.peers).next() {
        Some(target) => join::resolve(target, LOOKUP).await.unwrap_or_default().first().copied(),
        None => None,
    };
    let addr = listener::own_address(settings.bind, port, towards, settings.name.as_str()).await;
    let me = membership::Identity { name: settings.name.clone(), addr, epoch: identity.epoch };
    let (id, epoch) = (identity.id, identity.epoch);
    tracing::info!(node = %me.name, %id, "listening on {}:{port}, reached at {addr}", settings.bind);

    let node = assemble(clock, settings, identity, me.clone(), tcp, udp)?;
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(node.run(stopped));
    Ok(NodeHandle { name: me.name, id, epoch, addr, stop: Some(stop), task })
}

fn assemble(
    clock: Clock,
    settings: Settings,
    identity: disk::Identity,
    me: membership::Identity,
    tcp: tokio::net::TcpListener,
    udp: tokio::net::UdpSocket,
) -> Result<Node, StartError> {
    let settings = Arc::new(settings);
    let (limits, counters) = (Arc::new(settings.limits.clone()), Arc::<Counters>::default());
    let mut rng = StdRng::from_rng(&mut rand::rng());
    let codec = Codec::between_nodes(&settings.network, settings.secret.as_deref(), settings.dht.vnodes);
    let (hello, faults) = (Hello { name: me.name.clone(), epoch: me.epoch }, Faults::none(me.name.clone()));
    let links = Links::new(hello.clone(), codec.clone(), limits.clone(), counters.clone(), faults.watch());
    let (door, commands) = Door::new();
    let (heard_in, heard) = mpsc::channel(limits.heard_queue);
    let ((live, live_seen), (closing, closing_seen)) = (watch::channel(0), watch::channel(false));
    let (own_url, scratch) = (url(&me.name, me.addr), peers::Scratch::new());
    let caller = Caller { me: me.name.clone(), faults: faults.watch() };
    let wiring = |kind| peers::Wiring {
        kind,
        scratch: scratch.clone(),
        pool: Pool::default(),
        me: hello.clone(),
        codec: codec.clone(),
        limits: limits.clone(),
        counters: counters.clone(),
        faults: faults.watch(),
        clock,
    };
    let (mut listener, mut tasks) = (JoinSet::new(), JoinSet::new());
    let store = wiring(peers::STORE);
    tasks.spawn(Lan::new(settings.clone(), &store, me.addr.port(), door.clone(), rng.random()).run());
    let keys = open_store(store, &settings, identity.folder.as_deref(), rng.random(), &mut tasks);
    let folder = open_folder(wiring(peers::FILES), &settings, rng.random(), &mut tasks)?;
    let who = (me.name.clone(), identity.id, own_url.clone());
    let surface =
        Surface::new(who, door.clone(), heard_in, caller.clone(), keys.clone(), folder.clone(), settings.dht.n);
    let house = House::new(Front::new(surface), links.wiring(), keys.clone(), folder.clone());
    listener.spawn(listener::serve(tcp, house, closing_seen));
    tasks.spawn(join::contacts(door.clone(), heard));
    let join = Join {
        door: door.clone(),
        settings: settings.clone(),
        id: identity.id,
        url: own_url,
        own: me.addr,
        caller,
        live: live_seen,
        rng: StdRng::from_rng(&mut rng),
    };
    tasks.spawn(join.run());
    let telemetry = report_to_gateway(&settings, hello, door, StdRng::from_rng(&mut rng));
    Ok(Node {
        clock,
        id: identity.id,
        membership: membership::State::new(me.clone(), settings.membership.clone(), rng.random()),
        broadcast: broadcast::State::new(me.name.clone(), me.epoch, settings.broadcast.clone(), rng.random()),
        me,
        keys: Owner(keys),
        folder: folder.map(Owner),
        codec,
        udp,
        links,
        faults,
        timers: Timers::default(),
        commands,
        pending: Default::default(),
        told: Default::default(),
        suspected: Default::default(),
        told_again: Millis(0),
        live,
        ever_joined: false,
        refused: None,
        namesake_noticed: false,
        log: MessageLog::new(limits.messages, limits.messages_bytes),
        reporter: Reporter::new(clock.wall()),
        load_timer_set: false,
        readers: Readers::new(limits.event_readers, limits.event_queue, counters.clone()),
        counters,
        rng,
        closing,
        listener,
        tasks,
        telemetry,
        settings,
        _identity: identity,
    })
}

/// The shared folder, if the node has one, and its tasks.
fn open_folder(
    wiring: peers::Wiring,
    settings: &Settings,
    seed: u64,
    tasks: &mut JoinSet<()>,
) -> Result<Option<Folder>, StartError> {
    let Some(path) = settings.sync.path() else { return Ok(None) };
    let (folder, outcomes) = Folder::open(path, wiring, settings.folder.clone(), seed)?;
    tasks.spawn(folder.clone().drive());
    tasks.spawn(folder.clone().hear(outcomes));
    tasks.spawn(memory::give_back());
    Ok(Some(folder))
}

/// The task that reports to the gateway, if there is one.
fn report_to_gateway(settings: &Settings, me: Hello, door: Door, rng: StdRng) -> JoinSet<()> {
    let mut telemetry = JoinSet::new();
    if let Some(gateway) = settings.gateway.clone() {
        let codec = Codec::new(&settings.network, settings.secret.as_deref());
        telemetry.spawn(telemetry::Link { gateway, me, codec, door, rng }.run());
    }
    telemetry
}

/// The store with what the data folder holds of it, and its tasks.
fn open_store(
    wiring: peers::Wiring,
    settings: &Settings,
    folder: Option<&Path>,
    seed: u64,
    tasks: &mut JoinSet<()>,
) -> Keys {
    let Hello { name, epoch } = wiring.me.clone();
    let (keystore, outcomes, held) = Keystore::open(folder, &name);
    let alone = settings.bootstrap.is_none() && settings.peers.is_empty();
    let config = dht::Config { alone, ..settings.dht.clone() };
    let store = match held {
        Some(held) => dht::State::new(name, epoch, config, seed, held),
        None => dht::State::broken(name, epoch, config, seed),
    };
    let keys = Keys::new(wiring, store, keystore);
    tasks.spawn(keys.clone().drive());
    tasks.spawn(keys.clone().hear_disk(outcomes));
    keys
}

/// The whole life of a node's process: settings, log, one thread, and a polite end on SIGTERM or SIGINT. The exit code is
/// 2 for settings that make no sense, 1 for a start that failed, and 0 after leaving.
#[must_use]
pub fn run(options: NodeOptions) -> ExitCode {
    let settings = match Settings::try_from(options) {
        Ok(settings) => settings,
        Err(error) => return fail(&error, error.hint(), 2),
    };
    crate::log_to_stderr();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(LOOKUP_THREADS)
        .thread_keep_alive(Duration::from_secs(1))
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error, "is the limit of open files too low? see `ulimit -n`", 1),
    };
    let code = runtime.block_on(until_signal(settings));
    // A look-up that is still running is not waited for.
    runtime.shutdown_background();
    code
}

async fn until_signal(settings: Settings) -> ExitCode {
    let signals = signal(SignalKind::terminate()).and_then(|term| Ok((term, signal(SignalKind::interrupt())?)));
    let (mut terminate, mut interrupt) = match signals {
        Ok(signals) => signals,
        Err(error) => return fail(&error, "signals cannot be received on this system", 1),
    };
    let mut node = match start(settings).await {
        Ok(node) => node,
        Err(error) => return fail(&error, error.hint(), 1),
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        ended = &mut node.task => {
            let why = ended.err().map_or_else(|| "it ended by itself".to_owned(), |error| error.to_string());
            return fail(&format!("the node stopped: {why}"), "this is a mistake in p2pnet; please report it", 1);
        }
    }
    node.stop().await;
    ExitCode::SUCCESS
}

fn fail(error: &dyn std::fmt::Display, hint: impl std::fmt::Display, code: u8) -> ExitCode {
    eprintln!("error: {error}\nhint: {hint}");
    ExitCode::from(code)
}
