//! How a node finds the first others: bootstrap registry and static peers. Addresses to try; nothing is believed.
//!
//! ```text
//! bootstrap   POST /register ─▶ GET /peers ─▶ contact up to 20 of them and the bootstrap ─▶ member? greet one at random
//! peers       contact each
//! ```
//! An address is handed to the membership, which contacts it and believes it once it answers. From then on the membership
//! needs nobody here: seeds it was given are its own to come back to.

use std::{net::SocketAddr, time::Duration};

use hyper::Method;
use p2pnet_shared::api::{MessageRequest, PeersReply, RegisterRequest};
use rand::{RngExt, seq::SliceRandom};
use tokio::time::sleep;

use super::{Event, ask::Asker, http::url_of, request::request};
use crate::config::{Settings, host_and_port};

/// Addresses taken from a bootstrap's list: enough to find somebody alive, few enough for a hundred newcomers at once.
const CONTACTS_MAX: usize = 20;
const RETRY_MIN: Duration = Duration::from_millis(250);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// How often it is looked whether the node has become a member.
const LOOK: Duration = Duration::from_millis(100);

/// Runs until the node is a member and has greeted somebody.
pub(super) async fn run(settings: Settings, own: SocketAddr, asker: Asker) {
    if settings.bootstrap.is_none() && settings.peers.is_empty() {
        return;
    }
    let mut retry = RETRY_MIN;
    let mut said = false;
    loop {
        for peer in &settings.peers {
            contact(peer, own, &asker).await;
        }
        if let Some(bootstrap) = &settings.bootstrap {
            match register(bootstrap, own, &asker).await {
                Ok(known) => tracing::info!(node = %settings.name, %bootstrap, known, "registered"),
                Err(error) if !said => {
                    said = true;
                    tracing::warn!(node = %settings.name, %bootstrap, error, "could not register; trying again");
                }
                Err(_) => {}
            }
        }
        if wait_for_others(&asker, retry).await {
            break;
        }
        // Half to one and a half times: a hundred nodes that lost their bootstrap do not come back in step.
        retry = (retry * 2).min(RETRY_MAX).mul_f64(0.5 + rand::rng().random::<f64>());
    }
    greet(&asker).await;
}

/// Whether somebody is known within `patience`.
async fn wait_for_others(asker: &Asker, patience: Duration) -> bool {
    let looks = (patience.as_millis() / LOOK.as_millis()).max(1);
    for _ in 0..looks {
        sleep(LOOK).await;
        match asker.ask(|node| node.live_members().next().is_some()).await {
            Some(true) => return true,
            Some(false) => {}
            None => return false,
        }
    }
    false
}

/// Hands every address of `host` (`host:port`) to the membership.
async fn contact(host: &str, own: SocketAddr, asker: &Asker) {
    let Ok(addrs) = tokio::net::lookup_host(host).await else { return };
    for addr in addrs.filter(|addr| *addr != own) {
        asker.tell(Event::Contact(addr)).await;
    }
}

/// Contacts an address that somebody mentioned.
pub(super) async fn contact_mentioned(host: String, asker: Asker) {
    if let Some(own) = asker.ask(|node| node.membership.me().addr).await {
        contact(&host, own, &asker).await;
    }
}

/// Registers with the bootstrap and contacts some of those it knows; how many it knows.
async fn register(bootstrap: &str, own: SocketAddr, asker: &Asker) -> Result<usize, String> {
    let (address, id) = asker.ask(|node| (node.own_url(), node.id)).await.ok_or("the node is ending")?;
    let body = serde_json::to_vec(&RegisterRequest { address, id: Some(id.to_string()) }).map_err(|e| e.to_string())?;
    request(Method::POST, bootstrap, "/register", Some(body)).await.map_err(|error| error.to_string())?;
    contact(bootstrap, own, asker).await;
    let reply = request(Method::GET, bootstrap, "/peers", None).await.map_err(|error| error.to_string())?;
    let PeersReply { mut peers } = serde_json::from_slice(&reply).map_err(|error| error.to_string())?;
    let known = peers.len();
    peers.shuffle(&mut rand::rng());
    for peer in peers.iter().filter_map(|peer| host_and_port(peer)).take(CONTACTS_MAX) {
        contact(&peer, own, asker).await;
    }
    Ok(known)
}

/// Says hello to one member at random, as the course projects do. A greeting that does not arrive is not repeated.
async fn greet(asker: &Asker) {
    let chosen = asker.ask(|node| {
        let members: Vec<_> = node.live_members().map(|member| (member.name.clone(), member.addr)).collect();
        let chosen = members.get(rand::rng().random_range(0..members.len().max(1))).cloned();
        chosen.map(|(name, addr)| (node.name().spoken().replace(' ', ""), name, addr))
    });
    let Some(Some((sender, peer, addr))) = chosen.await else { return };
    let message = MessageRequest { sender, msg: format!("Hello {}!", peer.spoken().replace(' ', "")) };
    let Ok(body) = serde_json::to_vec(&message) else { return };
    if let Err(error) = request(Method::POST, &addr.to_string(), "/message", Some(body)).await {
        tracing::debug!(%peer, url = url_of(&peer, addr), %error, "the greeting did not arrive");
    }
}
