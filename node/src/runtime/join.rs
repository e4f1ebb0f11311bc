//! Getting into the network, and back into it: two tasks that turn addresses into contacts.
//!
//! ```text
//! join      alone? ── resolve bootstrap and peers, Contact them, POST /register, GET /peers, Contact some ──┐
//!             ▲                                                                                             │
//!             └── backoff, for ever ◀── still alone ──── a live member: greet one, then sleep until alone ◀─┘
//! contacts  /register, /gossip ──▶ queue ──▶ resolve ──▶ Contact
//! ```
//! Names are looked up anew each time, because a restarted container moves. Once a member, a node needs its bootstrap no
//! more; but a bootstrap or peer that is not among the living is looked up and contacted now and then, because it may
//! have come back at another address and know nobody. A change for better or worse is logged once.
//!
//! A network whose members have another number of vnodes says no to `/register` (409), and why; nothing else of it is heard,
//! because the number is part of every envelope's tag (`shared/src/wire.rs`).

use std::{net::SocketAddr, sync::Arc, time::Duration};

use hyper::StatusCode;
use p2pnet_shared::{
    NodeName,
    api::{MessageReply, MessageRequest, PeersReply, RegisterReply, RegisterRequest},
};
use rand::{rngs::StdRng, seq::IndexedRandom};
use tokio::{
    sync::{mpsc, watch},
    time::{sleep, timeout},
};
use uuid::Uuid;

use super::{
    call::{CallError, Caller, Target},
    command::{Command, Door, NoAnswer},
};
use crate::{
    config::Settings,
    discovery::{Backoff, PeerAddress, choose},
};

/// How many of the peers that a bootstrap names are contacted.
const CONTACTS: usize = 20;
/// How long a look-up may take.
const LOOKUP: Duration = Duration::from_secs(5);
/// How often a bootstrap or peer that is not among the living is looked for, once we are a member.
const LOOK_BACK: Duration = Duration::from_secs(30);

/// The addresses a name stands for now.
pub(super) async fn resolve(address: &PeerAddress, patience: Duration) -> Result<Vec<SocketAddr>, String> {
    if let Some(addr) = address.literal() {
        return Ok(vec![addr]);
    }
    match timeout(patience, tokio::net::lookup_host((address.host(), address.port()))).await {
        Err(_) => Err(format!("looking up `{}` took too long", address.host())),
        Ok(Err(error)) => Err(format!("could not look up `{}`: {error}", address.host())),
        Ok(Ok(addrs)) => {
            // All our sockets are of one family where 0.0.0.0 is bound; IPv4 first is right there and harmless elsewhere.
            let mut addrs: Vec<SocketAddr> = addrs.take(8).collect();
            addrs.sort_by_key(SocketAddr::is_ipv6);
            Ok(addrs)
        }
    }
}

/// Contacts what `/register` and `/gossip` heard of.
pub(super) async fn contacts(door: Door, mut heard: mpsc::Receiver<PeerAddress>) {
    while let Some(address) = heard.recv().await {
        for addr in resolve(&address, LOOKUP).await.unwrap_or_default().into_iter().take(1) {
            if door.tell(Command::Contact(addr)).await == Err(NoAnswer::Leaving) {
                return;
            }
        }
    }
}

/// Gets into the network and stays interested.
pub(super) struct Join {
    pub(super) door: Door,
    pub(super) settings: Arc<Settings>,
    pub(super) id: Uuid,
    /// Our own URL, as told to the bootstrap.
    pub(super) url: String,
    pub(super) own: SocketAddr,
    pub(super) caller: Caller,
    /// How many live members we know.
    pub(super) live: watch::Receiver<usize>,
    pub(super) rng: StdRng,
}

impl Join {
    /// Runs as long as the node does. Without bootstrap and peers there is nothing to do.
    pub(super) async fn run(mut self) {
        if self.settings.bootstrap.is_none() && self.settings.peers.is_empty() {
            return;
        }
        let name = self.settings.name.clone();
        let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(10));
        let (mut greeted, mut complained) = (false, false);
        loop {
            let trouble = self.knock(greeted).await.err();
            let wait = backoff.wait(&mut self.rng);
            let joined = matches!(timeout(wait, self.live.wait_for(|live| *live > 0)).await, Ok(Ok(_)));
            if self.live.has_changed().is_err() {
                return; // the node is gone
            }
            if joined {
                backoff.reset();
                complained = false;
                if !greeted {
                    greeted = self.greet().await;
                }
                self.sleep_until_alone_or_look_back().await;
            } else if let Some(trouble) = trouble
                && !complained
            {
                tracing::warn!(node = %name, "nobody to join yet, trying on: {trouble}");
                complained = true;
            }
        }
    }

    /// Contacts everybody we were told of who is not among the living. `joined` leaves out asking for more.
    async fn knock(&mut self, joined: bool) -> Result<(), String> {
        let live = self.door.ask(Command::Live).await.map_err(|error| error.to_string())?;
        let mut trouble = Vec::new();
        let targets: Vec<PeerAddress> = self.settings.bootstrap.iter().chain(&self.settings.peers).cloned().collect();
        for target in targets {
            let addrs = match resolve(&target, LOOKUP).await {
                Ok(addrs) => addrs,
                Err(error) => {
                    trouble.push(error);
                    continue;
                }
            };
            let known = |addr: &SocketAddr| *addr == self.own || live.iter().any(|member| member.addr == *addr);
            if addrs.iter().any(known) {
                continue;
            }
            let Some(addr) = addrs.first() else { continue };
            let _ = self.door.tell(Command::Contact(*addr)).await;
            if joined {
                continue;
            }
            // A contact that is not answered says nothing about why; a request does.
            let is_bootstrap = self.settings.bootstrap.as_ref() == Some(&target);
            match self.register(&target, *addr, is_bootstrap).await {
                Ok(peers) => self.contact_some(peers).await,
                Err(error) => {
                    trouble.push(format!("{}{target}: {error}", if is_bootstrap { "bootstrap " } else { "" }))
                }
            }
        }
        if trouble.is_empty() { Ok(()) } else { Err(trouble.join("; ")) }
    }

    /// Makes ourselves known to one node, and asks it for others if it is our bootstrap.
    async fn register(
        &self,
        target: &PeerAddress,
        addr: SocketAddr,
        is_bootstrap: bool,
    ) -> Result<Vec<String>, CallError> {
        let (host, patience) = (target.authority(), self.settings.limits.call_timeout);
        // In a container network a host's name is the node's; an address alone names nobody.
        let peer = target.literal().is_none().then(|| target.host().parse::<NodeName>().ok()).flatten();
        let target = Target { addr, host: &host, peer: peer.as_ref() };
        let vnodes = Some(self.settings.dht.vnodes);
        let request = RegisterRequest { address: self.url.clone(), id: Some(self.id.to_string()), vnodes };
        let registered = self.caller.post::<RegisterReply>(target, "/register", &request, patience).await;
        let refused = match &registered {
            Err(CallError::Status(StatusCode::CONFLICT, why)) => Some(Some(why.0.clone())),
            Err(_) => None, // says nothing either way
            Ok(_) => Some(None),
        };
        if let Some(refused) = refused {
            let _ = self.door.tell(Command::Refused(refused)).await;
        }
        registered?;
        if !is_bootstrap {
            return Ok(Vec::new());
        }
        let reply: PeersReply = self.caller.get(target, "/peers", patience).await?;
        Ok(reply.peers)
    }

    async fn contact_some(&mut self, peers: Vec<String>) {
        let own = self.url.parse::<PeerAddress>().ok();
        let addresses =
            peers.iter().filter_map(|peer| peer.parse().ok()).filter(|address| Some(address) != own.as_ref());
        for address in choose(addresses.collect(), CONTACTS, &mut self.rng) {
            for addr in resolve(&address, LOOKUP).await.unwrap_or_default().into_iter().take(1) {
                let _ = self.door.tell(Command::Contact(addr)).await;
            }
        }
    }

    /// Says hello to one member at random, as the course projects do. True once somebody heard it.
    async fn greet(&mut self) -> bool {
        let Ok(live) = self.door.ask(Command::Live).await else { return false };
        let Some(member) = live.choose(&mut self.rng) else { return false };
        let me = &self.settings.name;
        let greeting = MessageRequest { sender: me.to_string(), msg: format!("Hello from {}!", me.spoken()) };
        let patience = self.settings.limits.call_timeout;
        let host = member.addr.to_string();
        let target = Target { addr: member.addr, host: &host, peer: Some(&member.name) };
        match self.caller.post::<MessageReply>(target, "/message", &greeting, patience).await {
            Ok(reply) => {
                tracing::info!(node = %me, "greeted {}, which says: {}", member.name, super::http::one_line(&reply.reply));
                true
            }
            Err(error) => {
                tracing::debug!(node = %me, "could not greet {}: {error}", member.name);
                false
            }
        }
    }

    async fn sleep_until_alone_or_look_back(&mut self) {
        loop {
            let alone = timeout(LOOK_BACK, self.live.wait_for(|live| *live == 0)).await.is_ok();
            if alone {
                // Everybody vanished at once: that is more often our own trouble than theirs.
                sleep(Duration::from_secs(1)).await;
                return;
            }
            let _ = self.knock(true).await;
        }
    }
}
