//! The runtime: all the IO there is. It waits, feeds one input to a protocol, and carries out the effects.
//!
//! ```text
//! listener.rs ── connections ─┬─ link.rs ── events ──┐                      ┌─▶ datagrams (try, never wait)
//!                             ├─ http.rs ─ commands ─┤    ┌────────────┐    ├─▶ link queues
//!                             └─ peers.rs ▶ keys.rs ─┤    │            │    ├─▶ keys.rs, folder.rs: who is a member
//! join.rs, lan.rs, telemetry.rs ────────── commands ─┼───▶│ the loop   │────┼─▶ timers.rs
//! UDP socket ───────────────────────────── datagrams ┤    │ (Node)     │    ├─▶ telemetry and /events readers
//! timers.rs ───────────────────────────────── wakes ─┘    └────────────┘    └─▶ answers to commands
//! ```
//! `faults.rs` stands between all of this and the wire, and does nothing unless it is told to.
//!
//! One thread, one loop, one owner of all protocol state but the store's and the folder's, which are entered without a hop (`keys.rs`,
//! `folder.rs`; what these have in common is in `hub.rs`). The loop never waits for one peer: a datagram that does not go
//! out at once is dropped and counted (SWIM expects loss), a frame goes into its link's queue, and everything that
//! takes time is a task with a deadline. Every queue has a size and a rule for when it is full, written where it is made.
//!
//! Tasks belong to the node: dropping it ends them all, which is how a test crashes one.
#![allow(clippy::disallowed_methods, reason = "this is where the clock, chance and tasks come from")]

mod alarm;
mod answer;
mod call;
mod command;
mod disk;
mod effect;
mod faults;
mod folder;
mod http;
mod hub;
mod join;
mod keys;
mod keystore;
mod lan;
mod link;
mod listener;
mod memory;
mod messages;
mod metrics;
mod peers;
mod pool;
mod questions;
mod start;
mod telemetry;
mod timers;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use p2pnet_shared::{
    Epoch, NodeName, UnixMillis,
    telemetry::Report,
    wire::{Codec, membership::Datagram},
};
use rand::rngs::StdRng;
use tokio::{
    net::UdpSocket,
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::timeout,
};

use self::{
    command::Command,
    faults::Faults,
    folder::Folder,
    http::events::Readers,
    hub::Owner,
    keys::Keys,
    link::Links,
    messages::MessageLog,
    metrics::Counters,
    telemetry::{NEWS_PERIOD, Reporter},
    timers::{Timers, Wake},
};
pub use self::{
    disk::DiskError,
    folder::DiskTrouble,
    listener::ListenError,
    start::{NodeHandle, StartError, run, start},
};
use crate::{broadcast, config::Settings, membership, time::Millis};

/// Largest datagram there is: one that is longer than ours are is read whole and refused.
const DATAGRAM_BUFFER: usize = 2 * 1024;
/// Datagrams and timers handled before the loop looks at its other sources again.
const TURN: usize = 64;
/// How long leaving may take for links, telemetry and open requests each.
const FAREWELL: Duration = Duration::from_millis(300);

/// The two clocks: one that never jumps, for protocols, and the wall's, for people.
#[derive(Debug, Clone, Copy)]
struct Clock {
    started: Instant,
}

impl Clock {
    fn start() -> Self {
        Self { started: Instant::now() }
    }

    fn now(self) -> Millis {
        Millis(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn wall(self) -> UnixMillis {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        UnixMillis(u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX))
    }

    /// Sleeps until `due`, for ever without one.
    async fn sleep_until(self, due: Option<Millis>) {
        match due {
            Some(due) => tokio::time::sleep_until((self.started + Duration::from_millis(due.0)).into()).await,
            None => std::future::pending().await,
        }
    }
}

/// One thing for a protocol to hear.
#[derive(Debug)]
enum Input {
    Membership(membership::Input),
    Broadcast(broadcast::Input),
}

/// Waits until the folder has something to be told; for ever without one.
async fn folder_news(folder: Option<&Owner<Folder>>) {
    match folder {
        Some(folder) => folder.news().await,
        None => std::future::pending().await,
    }
}

/// What the loop woke up for.
enum Happened {
    Timers,
    Datagram(io::Result<(usize, SocketAddr)>),
    Link(link::Event),
    Command(Command),
    KeyNews,
    FolderNews,
}

/// A node: everything the loop owns.
struct Node {
    clock: Clock,
    settings: Arc<Settings>,
    id: uuid::Uuid,
    me: membership::Identity,
    codec: Codec,
    membership: membership::State,
    broadcast: broadcast::State,
    keys: Owner<Keys>,
    /// If it has one.
    folder: Option<Owner<Folder>>,
    udp: UdpSocket,
    links: Links,
    faults: Faults,
    timers: Timers,
    commands: mpsc::Receiver<Command>,
    /// Inputs that effects have led to, first in first out; empty between two turns of the loop.
    pending: VecDeque<Input>,
    /// What the broadcast has been told of each live member.
    told: BTreeMap<NodeName, (SocketAddr, Epoch)>,
    /// Whom the store was told to be suspected.
    suspected: BTreeSet<NodeName>,
    /// When live members may be named to it again.
    told_again: Millis,
    live: watch::Sender<usize>,
    ever_joined: bool,
    /// Why we were not let in.
    refused: Option<String>,
    namesake_noticed: bool,
    log: MessageLog,
    reporter: Reporter,
    load_timer_set: bool,
    readers: Readers,
    counters: Arc<Counters>,
    rng: StdRng,
    closing: watch::Sender<bool>,
    listener: JoinSet<()>,
    tasks: JoinSet<()>,
    telemetry: JoinSet<()>,
    _identity: disk::Identity,
}

impl Node {
    /// The loop. Ends when told to stop, after saying goodbye.
    async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        self.begin();
        let mut buffer = vec![0; DATAGRAM_BUFFER];
        loop {
            let happened = tokio::select! {
                told = &mut stop => match told {
                    Ok(()) => break,
                    Err(_) => return, // nobody holds us any more: a crash, not a goodbye
                },
                () = self.clock.sleep_until(self.timers.next_due()) => Happened::Timers,
                received = self.udp.recv_from(&mut buffer) => Happened::Datagram(received),
                Some(event) = self.links.next() => Happened::Link(event),
                Some(command) = self.commands.recv() => Happened::Command(command),
                () = self.keys.news() => Happened::KeyNews,
                () = folder_news(self.folder.as_ref()) => Happened::FolderNews,
            };
            match happened {
                Happened::Timers => self.on_timers(),
                Happened::Datagram(received) => self.on_datagrams(received, &mut buffer),
                Happened::Link(event) => self.on_link(event),
                Happened::Command(command) => self.on_command(command),
                Happened::KeyNews => self.timers.set(self.clock.now() + NEWS_PERIOD, Wake::Keys),
                Happened::FolderNews => self.timers.set(self.clock.now() + NEWS_PERIOD, Wake::FolderNews),
            }
        }
        self.leave().await;
    }

    fn on_timers(&mut self) {
        for _ in 0..TURN {
            match self.timers.pop(self.clock.now()) {
                Some(Wake::Membership(timer)) => self.feed(Input::Membership(membership::Input::TimerFired(timer))),
                Some(Wake::Broadcast(timer)) => self.feed(Input::Broadcast(broadcast::Input::TimerFired(timer))),
                Some(Wake::View) => self.report_view(),
                Some(Wake::Links) => self.report_links(),
                Some(Wake::Load) => self.report_load(),
                Some(Wake::HeldDatagram) => self.send_held(),
                Some(Wake::Keys) => self.report_keys(),
                Some(Wake::FolderNews) => self.report_folder(),
                Some(Wake::Dht(_) | Wake::Folder(_) | Wake::Peers) => {} // never set here: those have timers of their own
                None => return,
            }
        }
    }

    fn on_datagrams(&mut self, first: io::Result<(usize, SocketAddr)>, buffer: &mut [u8]) {
        let mut received = first;
        for _ in 0..TURN {
            // An error is an ICMP answer to something we sent: the peer is not there, which probing finds out anyway.
            if let Ok((length, from)) = received {
                self.on_datagram(from, &buffer[..length]);
            }
            received = self.udp.try_recv_from(buffer);
            if received.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                return;
            }
        }
    }

    fn on_datagram(&mut self, from: SocketAddr, bytes: &[u8]) {
        self.counters.datagrams_in.add(1);
        self.counters.datagram_bytes_in.add(bytes.len());
        match self.codec.decode::<Datagram>(bytes) {
            Ok(datagram) => {
                if self.never_arrived(&datagram.from) {
                    return;
                }
                self.feed(Input::Membership(membership::Input::Received { from, datagram }));
                self.notice_namesake(from);
            }
            Err(error) => {
                self.counters.datagrams_refused.add(1);
                tracing::debug!(node = %self.me.name, %from, %error, "a datagram was refused");
            }
        }
    }

    /// Says once that a newer node goes by our name: everybody else now takes that one for us.
    fn notice_namesake(&mut self, from: SocketAddr) {
        if self.membership.superseded().is_some() && !std::mem::replace(&mut self.namesake_noticed, true) {
            let me = &self.me.name;
            tracing::error!(node = %me, "another node is called {me} and started later, says {from}; stop one of the two");
        }
    }

    /// Feeds one input, and everything that its effects lead to.
    fn feed(&mut self, input: Input) {
        self.pending.push_back(input);
        self.settle();
    }

    fn settle(&mut self) {
        while let Some(input) = self.pending.pop_front() {
            match input {
                Input::Membership(input) => {
                    let mut effects = Vec::new();
                    self.membership.handle(self.clock.now(), input, &mut effects);
                    self.carry_out_membership(effects);
                }
                Input::Broadcast(input) => {
                    let mut effects = Vec::new();
                    self.broadcast.handle(self.clock.now(), input, &mut effects);
                    self.carry_out_broadcast(effects);
                    self.notice_links();
                    self.tell_members_again();
                }
            }
        }
    }

    fn begin(&mut self) {
        let mut effects = Vec::new();
        self.membership.start(self.clock.now(), &mut effects);
        self.carry_out_membership(effects);
        let mut effects = Vec::new();
        self.broadcast.start(self.clock.now(), &mut effects);
        self.carry_out_broadcast(effects);
        self.keys.start();
        if let Some(folder) = &self.folder {
            folder.start();
        }
        self.settle();
    }

    /// Says goodbye to everybody, finishes writes, and is gone within about a second.
    async fn leave(mut self) {
        tracing::info!(node = %self.me.name, "leaving");
        self.feed(Input::Membership(membership::Input::Leave));
        self.reporter.push(Report::Leaving);
        self.reporter.end();
        let _ = self.closing.send(true);
        self.commands.close();
        while self.commands.try_recv().is_ok() {} // whoever waits is told that we leave
        self.tasks.abort_all();
        let (links, listener, telemetry) = (&mut self.links, &mut self.listener, &mut self.telemetry);
        let _ = tokio::join!(
            links.leave(FAREWELL),
            self.keys.leave(FAREWELL),
            async {
                if let Some(folder) = &self.folder {
                    folder.leave(FAREWELL).await;
                }
            },
            timeout(FAREWELL * 2, async { while listener.join_next().await.is_some() {} }),
            timeout(FAREWELL, async { while telemetry.join_next().await.is_some() {} }),
        );
    }
}
