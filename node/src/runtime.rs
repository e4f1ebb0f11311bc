//! The one loop: wait, feed a protocol, carry out its effects.
//!
//! ```text
//!   UDP ───────────────┐                                       ┌─▶ UDP (try_send, never waited for)
//!   link tasks ────────┤                                       ├─▶ link queues
//!   HTTP tasks (asks) ─┼─▶ loop ─▶ Node ─▶ protocol ─▶ effects ┼─▶ timers
//!   discovery ─────────┤                                       ├─▶ telemetry queue
//!   timers ────────────┘                                       └─▶ answers to asks
//! ```
//! Everything a node knows is owned by the loop; other tasks send it events over one bounded queue (1,024; a sender waits
//! when it is full, so a flood from one side slows that side down). The loop itself waits for nobody.

#![allow(clippy::disallowed_methods, reason = "this is where clocks are read and tasks are started")]

mod ask;
mod discovery;
mod disk;
mod http;
mod link;
mod links;
mod listener;
mod load;
mod metrics;
mod peer;
mod request;
mod telemetry;
mod timers;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use p2pnet_shared::{NodeName, UnixMillis, telemetry::Report, wire::Codec};
use rand::RngExt;
use tokio::{
    net::{TcpListener, UdpSocket},
    sync::mpsc,
    task::JoinHandle,
};
use uuid::Uuid;

use self::{ask::Asker, disk::KeptIdentity, link::LinkEvent, peer::Node};
use crate::{
    config::{NodeOptions, Settings},
    membership::Identity,
    time::Millis,
};

/// Events that wait for the loop.
const EVENTS: usize = 1_024;
/// Largest datagram read; longer ones are cut, do not decode, and are counted.
const DATAGRAM_BUFFER_BYTES: usize = 2_048;

/// What other tasks tell the loop.
enum Event {
    /// From a link.
    Link(LinkEvent),
    /// Somebody asks the node something.
    Ask(Box<dyn FnOnce(&mut Node) + Send>),
    /// The gateway takes reports; everything is to be told from the start.
    TelemetryUp(mpsc::Sender<Report>),
    /// An address was heard of.
    Contact(SocketAddr),
    /// Leave and end.
    Stop,
}

/// Why a node did not start. Nothing is left running.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The port is taken, or the address is not ours.
    #[error("could not listen on {addr}: {source}")]
    Listen {
        /// Where.
        addr: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The data folder.
    #[error("could not keep the node's identity in {folder}: {source}")]
    Data {
        /// Which.
        folder: String,
        /// Why.
        source: io::Error,
    },
}

impl StartError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Listen { .. } => "stop whatever listens there, or choose with --port and --bind",
            Self::Data { .. } => "make the folder writable for this user, or choose another with --data",
        }
    }
}

/// A node that runs. Dropping the handle leaves it running; [`NodeHandle::stop`] ends it.
#[derive(Debug)]
pub struct NodeHandle {
    /// Its name.
    pub name: NodeName,
    /// Its UUID.
    pub id: Uuid,
    /// Where it listens, as others reach it.
    pub addr: SocketAddr,
    events: mpsc::Sender<Event>,
    task: JoinHandle<()>,
    helpers: Vec<JoinHandle<()>>,
}

impl NodeHandle {
    /// Leaves politely: says goodbye, and returns when the loop has ended.
    pub async fn stop(mut self) {
        let _ = self.events.send(Event::Stop).await;
        let _ = (&mut self.task).await;
        self.abort_helpers();
    }

    /// Ends at once, as a crash does: nobody is told, sockets close.
    pub fn crash(self) {
        self.task.abort();
        self.abort_helpers();
    }

    fn abort_helpers(&self) {
        for helper in &self.helpers {
            helper.abort();
        }
    }

    /// Waits until the node ends.
    async fn ended(&mut self) {
        let _ = (&mut self.task).await;
    }
}

/// `p2pnet node`: runs one node in the foreground until SIGTERM or SIGINT.
#[must_use]
pub fn run(options: NodeOptions) -> ExitCode {
    let settings = match options.settings() {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("error: {error}\nhint: `p2pnet node --help` lists the settings");
            return ExitCode::from(2);
        }
    };
    // One thread: a thousand nodes share a machine. Blocking work (looking up names) gets one more while it lasts.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .thread_keep_alive(Duration::from_secs(1))
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(run_until_signal(settings)),
        Err(error) => {
            eprintln!("error: could not start: {error}\nhint: the limit of open files may be reached (`ulimit -n`)");
            ExitCode::FAILURE
        }
    }
}

async fn run_until_signal(settings: Settings) -> ExitCode {
    use tokio::signal::unix::{SignalKind, signal};
    let mut handle = match start(settings).await {
        Ok(handle) => handle,
        Err(error) => {
            eprintln!("error: {error}\nhint: {}", error.hint());
            return ExitCode::FAILURE;
        }
    };
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        eprintln!("error: could not listen for signals\nhint: try again");
        return ExitCode::FAILURE;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
        () = handle.ended() => return ExitCode::FAILURE,
    }
    handle.stop().await;
    ExitCode::SUCCESS
}

/// Starts a node on the current tokio runtime.
///
/// # Errors
/// [`StartError`] when it cannot listen or keep its identity.
pub async fn start(settings: Settings) -> Result<NodeHandle, StartError> {
    let kept = match &settings.data {
        Some(folder) => KeptIdentity::begin_life(folder, wall_clock())
            .map_err(|source| StartError::Data { folder: folder.display().to_string(), source })?,
        None => {
            tracing::warn!(node = %settings.name, "no data folder: after a restart this will be a new node");
            KeptIdentity::fresh(wall_clock())
        }
    };
    let (tcp, udp) = listen(settings.bind, settings.port).await?;
    let port = udp.local_addr().map_or(settings.port, |addr| addr.port());
    let addr = SocketAddr::new(own_ip(&settings).await, port);
    let identity = Identity { name: settings.name.clone(), addr, epoch: kept.epoch };
    let codec = Codec::new(&settings.network, settings.secret.as_deref());
    let (events, queue) = mpsc::channel(EVENTS);
    tracing::info!(node = %settings.name, %addr, id = %kept.id, epoch = kept.epoch.0, "started");

    let udp = Arc::new(udp);
    let node = Node::new(identity, kept.id, &settings, codec.clone(), udp.clone(), events.clone());
    let asker = Asker::new(events.clone());
    let me = node.hello();
    let mut helpers = vec![
        tokio::spawn(listener::serve(tcp, me.clone(), codec.clone(), asker.clone(), settings.limits.clone())),
        tokio::spawn(discovery::run(settings.clone(), addr, asker)),
    ];
    if let Some(gateway) = settings.gateway.clone() {
        helpers.push(tokio::spawn(telemetry::run(gateway, me, codec, events.clone())));
    }
    let task = tokio::spawn(run_loop(node, udp, queue));
    Ok(NodeHandle { name: settings.name, id: kept.id, addr, events, task, helpers })
}

async fn run_loop(mut node: Node, udp: Arc<UdpSocket>, mut events: mpsc::Receiver<Event>) {
    let mut buffer = [0; DATAGRAM_BUFFER_BYTES];
    node.start();
    while !node.is_done() {
        let due = node.next_due().map(|due| node.clock.instant_of(due));
        tokio::select! {
            received = udp.recv_from(&mut buffer) => {
                if let Ok((length, from)) = received {
                    node.on_datagram(from, &buffer[..length]);
                }
            }
            event = events.recv() => match event {
                Some(event) => node.on_event(event),
                None => return,
            },
            () = sleep_until(due) => {}
        }
        node.fire_timers();
    }
    node.linger().await;
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

/// Time since this node started.
#[derive(Debug, Clone, Copy)]
struct Clock {
    started: Instant,
}

impl Clock {
    fn new() -> Self {
        Self { started: Instant::now() }
    }

    fn now(self) -> Millis {
        Millis(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn instant_of(self, due: Millis) -> Instant {
        self.started + Duration::from_millis(due.0)
    }
}

/// The host's clock, for stamps people read.
fn wall_clock() -> UnixMillis {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// All the chance a protocol will ever have.
fn seed() -> u64 {
    rand::rng().random()
}

/// The TCP and UDP sockets on one port.
async fn listen(bind: IpAddr, port: u16) -> Result<(TcpListener, UdpSocket), StartError> {
    let mut attempts = if port == 0 { 20 } else { 1 };
    loop {
        attempts -= 1;
        let wanted = SocketAddr::new(bind, port);
        let fail = |source| StartError::Listen { addr: wanted, source };
        let tcp = TcpListener::bind(wanted).await.map_err(fail)?;
        let addr = tcp.local_addr().map_err(fail)?;
        match UdpSocket::bind(addr).await {
            Ok(udp) => return Ok((tcp, udp)),
            Err(_) if attempts > 0 => {} // a free TCP port whose UDP twin is taken: another one
            Err(source) => return Err(StartError::Listen { addr, source }),
        }
    }
}

/// The address others reach us at: the one we are bound to, or else the one that a datagram to our first contact would
/// leave from (nothing is sent).
async fn own_ip(settings: &Settings) -> IpAddr {
    if !settings.bind.is_unspecified() {
        return settings.bind;
    }
    let contacts = settings.bootstrap.iter().chain(&settings.peers).chain(&settings.gateway).cloned();
    // The last one is a documentation address (RFC 5737): it stands for "anywhere".
    for contact in contacts.chain(["192.0.2.1:9".to_owned()]) {
        let Ok(mut addrs) = tokio::net::lookup_host(&contact).await else { continue };
        let Some(addr) = addrs.find(SocketAddr::is_ipv4) else { continue };
        let Ok(socket) = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)) else { continue };
        if let Some(own) =
            socket.connect(addr).and_then(|()| socket.local_addr()).ok().filter(|a| !a.ip().is_unspecified())
        {
            return own.ip();
        }
    }
    IpAddr::V4(Ipv4Addr::LOCALHOST)
}
