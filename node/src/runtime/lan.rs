//! Beacons on the local network: the sockets, the interfaces, and the task that drives `discovery/lan.rs`.
//!
//! ```text
//! ears   0.0.0.0:4999, shared with other nodes of this host, in the group on every interface ──┐
//! voice  a port of its own: beacons go out, answers come in ───────────────────────────────────┴─▶ State ─▶ Knock ─▶ the loop
//! ```
//! Two sockets, because a datagram to one address and a shared port goes to any one of those who share it: an answer would
//! reach a neighbour. A beacon goes out on every interface that has an IPv4 address, or on the one whose address the node
//! listens at, one hop far. Where an interface refuses multicast, or nobody was heard for a while, its broadcast address is
//! tried as well. Interfaces are looked up again now and then, because a container may be given another network.
//!
//! Faults set on purpose do not touch beacons, but everything they lead to: a node that is cut off is heard and not reached.
//!
//! A node without a free port or an interface for this does without, and says so once: everything else works.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4},
    sync::Arc,
    time::Duration,
};

use p2pnet_shared::{
    NodeName,
    wire::{
        Codec, Hello,
        lan::{BEACON_MAX_BYTES, Beacon},
    },
};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::{net::UdpSocket, time::timeout};

use super::{
    Clock,
    command::{Command, Door, NoAnswer},
    metrics::Counters,
    peers::Wiring,
};
use crate::{
    config::Settings,
    discovery::lan::{Config, Effect, Input, State, Timer},
    time::Millis,
};

/// How long the interfaces found last are good for.
const INTERFACES_FOR: Millis = Millis(10_000);
/// A datagram the system does not take in this time is lost: the next one comes soon.
const SEND: Duration = Duration::from_millis(50);
/// Receive buffer of each socket, bytes: a second of beacons at the fastest.
const RECEIVE_BYTES: usize = 64 * 1024;

/// An interface beacons go out on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Interface {
    pub(super) ip: Ipv4Addr,
    broadcast: Option<Ipv4Addr>,
}

/// What the task is made of.
pub(super) struct Lan {
    settings: Arc<Settings>,
    me: Hello,
    /// Where this node listens.
    port: u16,
    codec: Codec,
    counters: Arc<Counters>,
    clock: Clock,
    door: Door,
    seed: u64,
}

/// The sockets.
struct Sockets {
    ears: UdpSocket,
    voice: UdpSocket,
}

impl Lan {
    /// Of a node that listens on `port`.
    pub(super) fn new(settings: Arc<Settings>, wiring: &Wiring, port: u16, door: Door, seed: u64) -> Self {
        let Wiring { me, codec, counters, clock, .. } = wiring;
        let (me, codec, counters, clock) = (me.clone(), codec.clone(), counters.clone(), *clock);
        Self { settings, me, port, codec, counters, clock, door, seed }
    }

    /// Runs as long as the node does; ends at once where nobody asked for it.
    pub(super) async fn run(self) {
        if !self.settings.is_on_lan() {
            return;
        }
        let at = self.settings.lan_at;
        let sockets = match open(self.settings.bind, at) {
            Ok(sockets) => sockets,
            Err(error) => {
                let node = &self.me.name;
                return tracing::warn!(%node, %error, "no discovery on the local network: port {} is not to be had", at.port());
            }
        };
        tracing::info!(node = %self.me.name, "looking for others on the local network, {at}");
        let state = State::new(self.me.name.clone(), Config::default(), self.seed);
        let task = Task { lan: self, sockets, state, timer: None, interfaces: Vec::new(), looked_at: None };
        task.run().await;
    }
}

struct Task {
    lan: Lan,
    sockets: Sockets,
    state: State,
    timer: Option<(Millis, Timer)>,
    interfaces: Vec<Interface>,
    looked_at: Option<Millis>,
}

impl Task {
    async fn run(mut self) {
        let mut effects = Vec::new();
        self.state.start(self.lan.clock.now(), &mut effects);
        let (mut for_ears, mut for_voice) = ([0; BEACON_MAX_BYTES + 1], [0; BEACON_MAX_BYTES + 1]);
        loop {
            for effect in std::mem::take(&mut effects) {
                self.carry_out(effect).await;
            }
            let due = self.timer.map(|(due, _)| due);
            tokio::select! {
                received = self.sockets.ears.recv_from(&mut for_ears) => self.hear(received, &for_ears, &mut effects),
                received = self.sockets.voice.recv_from(&mut for_voice) => self.hear(received, &for_voice, &mut effects),
                () = self.lan.clock.sleep_until(due) => {
                    let Some((_, timer)) = self.timer.take() else { continue };
                    let live = match self.live().await {
                        Ok(live) => live,
                        Err(NoAnswer::Busy) => BTreeSet::new(),
                        Err(NoAnswer::Leaving) => return,
                    };
                    let now = self.lan.clock.now();
                    self.state.handle(now, Input::TimerFired { timer, live }, &mut effects);
                }
            }
        }
    }

    async fn live(&self) -> Result<BTreeSet<NodeName>, NoAnswer> {
        let live = self.lan.door.ask(Command::Live).await?;
        Ok(live.into_iter().map(|member| member.name).collect())
    }

    fn hear(&mut self, received: io::Result<(usize, SocketAddr)>, bytes: &[u8], effects: &mut Vec<Effect>) {
        // An error is an ICMP answer to something we sent: nobody listens there.
        let Ok((length, from)) = received else { return };
        let (now, counters) = (self.lan.clock.now(), self.lan.counters.clone());
        counters.beacons_in.add(1);
        if !self.state.admits(now, from.ip()) {
            return counters.beacons_limited.add(1);
        }
        let heard = bytes.get(..length).filter(|bytes| bytes.len() <= BEACON_MAX_BYTES);
        match heard.map(|bytes| self.lan.codec.decode::<Beacon>(bytes)) {
            Some(Ok(beacon)) => self.state.handle(now, Input::Heard { from, beacon }, effects),
            _ => counters.beacons_refused.add(1),
        }
    }

    async fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::SetTimer { after, timer } => self.timer = Some((self.lan.clock.now() + after, timer)),
            Effect::Answer { to } => _ = self.send(true, to).await,
            Effect::Knock { at } => _ = self.lan.door.tell(Command::Contact(at)).await,
            Effect::Announce { widely } => self.announce(widely).await,
        }
    }

    async fn announce(&mut self, widely: bool) {
        self.look_for_interfaces();
        let at = self.lan.settings.lan_at;
        for Interface { ip, broadcast } in self.interfaces.clone() {
            let chosen = SockRef::from(&self.sockets.voice).set_multicast_if_v4(&ip).is_ok();
            let sent = chosen && self.send(false, at.into()).await;
            if let Some(broadcast) = broadcast.filter(|_| widely || !sent) {
                self.send(false, SocketAddrV4::new(broadcast, at.port()).into()).await;
            }
        }
    }

    /// Whether the system took it.
    async fn send(&self, answer: bool, to: SocketAddr) -> bool {
        let Hello { name, epoch } = self.lan.me.clone();
        let bytes = self.lan.codec.encode(&Beacon { name, epoch, port: self.lan.port, answer });
        let sent = timeout(SEND, self.sockets.voice.send_to(&bytes, to)).await;
        let sent = matches!(sent, Ok(Ok(_)));
        self.lan.counters.beacons_out.add(usize::from(sent));
        sent
    }

    /// Finds the interfaces there are now, and listens to the group on those that are new.
    fn look_for_interfaces(&mut self) {
        let now = self.lan.clock.now();
        if self.looked_at.is_some_and(|at| now - at < INTERFACES_FOR) {
            return;
        }
        self.looked_at = Some(now);
        let found = interfaces(self.lan.settings.bind);
        let ears = SockRef::from(&self.sockets.ears);
        for new in found.iter().filter(|new| !self.interfaces.contains(new)) {
            // In it already, because it was gone only for a while, is as good.
            let joined = ears.join_multicast_v4(self.lan.settings.lan_at.ip(), &new.ip);
            tracing::debug!(node = %self.lan.me.name, ip = %new.ip, ?joined, "beacons on an interface");
        }
        self.interfaces = found;
    }
}

/// Those with an IPv4 address, loopback last; for a node that listens at one address only, the one that has it.
pub(super) fn interfaces(bind: IpAddr) -> Vec<Interface> {
    let mut found: Vec<Interface> = if_addrs::get_if_addrs()
        .unwrap_or_default()
        .into_iter()
        .filter_map(|interface| match interface.addr {
            if_addrs::IfAddr::V4(addr) => Some(Interface { ip: addr.ip, broadcast: addr.broadcast }),
            if_addrs::IfAddr::V6(_) => None,
        })
        .filter(|interface| bind.is_unspecified() || bind == IpAddr::from(interface.ip))
        .collect();
    found.sort_by_key(|interface| interface.ip.is_loopback());
    found
}

fn open(bind: IpAddr, at: SocketAddrV4) -> io::Result<Sockets> {
    let ears = socket()?;
    ears.set_reuse_address(true)?;
    // Elsewhere than on Linux it takes both to share a port; there the first is enough, and the second may be refused
    // between users.
    #[cfg(not(target_os = "linux"))]
    ears.set_reuse_port(true)?;
    ears.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, at.port()).into())?;

    let voice = socket()?;
    voice.set_broadcast(true)?;
    voice.set_multicast_ttl_v4(1)?;
    voice.set_multicast_loop_v4(true)?;
    let IpAddr::V4(own) = bind else { return Err(io::Error::other("this node listens at an IPv6 address only")) };
    voice.bind(&SocketAddrV4::new(own, 0).into())?;
    Ok(Sockets { ears: UdpSocket::from_std(ears.into())?, voice: UdpSocket::from_std(voice.into())? })
}

fn socket() -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    // Best effort: the system may grant less.
    let _ = socket.set_recv_buffer_size(RECEIVE_BYTES);
    Ok(socket)
}
