//! The rows that change something: register, message, send, broadcast, gossip.

use axum::{Json, extract::State, http::StatusCode, response::IntoResponse};
use p2pnet_shared::api::{BroadcastReply, GossipReply, GossipRequest, MessageReply, MessageRequest, RegisterReply};
use rand::seq::IndexedRandom;

use super::{ApiError, Surface, body::Fields, one_line};
use crate::{
    broadcast::PublishError,
    config::VNODES_MAX,
    discovery::PeerAddress,
    runtime::{
        call::{CallError, Target},
        command::Command,
    },
};

/// Longest sender's name, id or address in a request, bytes.
const NAME_MAX_BYTES: usize = 256;
/// Most hops of a broadcast or a gossip.
const TTL_MAX: u8 = 32;

pub(super) async fn register(State(surface): State<Surface>, fields: Fields) -> Result<Json<RegisterReply>, ApiError> {
    let address = fields.text(&["address"], NAME_MAX_BYTES)?;
    fields.optional_text(&["id"], NAME_MAX_BYTES)?;
    let address: PeerAddress = address.parse().map_err(|error| ApiError::bad(format!("field `address`: {error}")))?;
    if let Some(theirs) = fields.number("vnodes", 1..=VNODES_MAX)? {
        let ours = surface.ask(Command::Vnodes).await?;
        if theirs != ours {
            return Err(ApiError::new(StatusCode::CONFLICT, another_ring(&address, theirs, ours)));
        }
    }
    let message = format!("{address} will be contacted and is a member once it answers");
    hear(&surface, vec![address]).await?;
    let peers = surface.ask(Command::Peers).await?.len();
    Ok(Json(RegisterReply { status: "success".to_owned(), message, peers }))
}

/// Two numbers of vnodes are two rings, and two owners of a key.
fn another_ring(address: &PeerAddress, theirs: u16, ours: u16) -> String {
    format!("{address} has {theirs} vnodes and this network {ours}; start it with `--vnodes {ours}` (VNODES={ours})")
}

/// Queues what is news for being contacted, and says what it was.
async fn hear(surface: &Surface, addresses: Vec<PeerAddress>) -> Result<Vec<PeerAddress>, ApiError> {
    let unknown = surface.ask(|reply| Command::Unknown(addresses, reply)).await?;
    for address in &unknown {
        if surface.0.heard.try_send(address.clone()).is_err() {
            surface.0.counters.heard_dropped.add(1);
        }
    }
    Ok(unknown)
}

pub(super) async fn message(State(surface): State<Surface>, fields: Fields) -> Result<Json<MessageReply>, ApiError> {
    let sender = fields.text(&["sender", "sender_id"], NAME_MAX_BYTES)?;
    let msg = fields.text(&["msg", "message"], surface.0.limits().message_bytes)?;
    let me = &surface.0.name;
    tracing::info!(node = %me, "Received message from {}: {}", one_line(&sender), one_line(&msg));
    Ok(Json(MessageReply {
        status: "received".to_owned(),
        reply: format!("Hello {sender}, {} got your message.", me.spoken()),
        from: sender,
        msg,
        current_node: me.clone(),
    }))
}

pub(super) async fn send(State(surface): State<Surface>, fields: Fields) -> Result<Json<MessageReply>, ApiError> {
    let to = fields.text(&["to"], NAME_MAX_BYTES)?;
    let msg = fields.text(&["msg", "message"], surface.0.limits().message_bytes)?;
    let to: p2pnet_shared::NodeName = to.parse().map_err(|error| ApiError::bad(format!("field `to`: {error}")))?;
    let request = MessageRequest { sender: surface.0.name.to_string(), msg };
    if to == surface.0.name {
        return Err(ApiError::bad("field `to` names this node itself; name another"));
    }
    let unknown = || {
        let error = format!("`{to}` is no live member of this network; GET /peers lists them");
        ApiError::new(StatusCode::NOT_FOUND, error)
    };
    let member = surface.ask(|reply| Command::Find(to.clone(), reply)).await?.ok_or_else(unknown)?;
    let (host, patience) = (member.addr.to_string(), surface.0.limits().call_timeout);
    let (caller, target) = (&surface.0.caller, Target { addr: member.addr, host: &host, peer: Some(&member.name) });
    match caller.post(target, "/message", &request, patience).await {
        Ok(reply) => Ok(Json(reply)),
        Err(error) => {
            let error = format!("`{to}` at {} did not take the message: {error}; try again", member.addr);
            Err(ApiError::new(StatusCode::BAD_GATEWAY, error))
        }
    }
}

pub(super) async fn broadcast(State(surface): State<Surface>, fields: Fields) -> Result<impl IntoResponse, ApiError> {
    let text = fields.text(&["msg", "message"], surface.0.limits().message_bytes)?;
    let ttl = fields.number("ttl", 1..=TTL_MAX)?;
    let id = surface.ask(|reply| Command::Publish { text, ttl, reply }).await?.map_err(refused)?;
    Ok((StatusCode::ACCEPTED, Json(BroadcastReply { status: "accepted".to_owned(), id })))
}

fn refused(error: PublishError) -> ApiError {
    let status = match error {
        PublishError::TooLong { .. } | PublishError::Ttl { .. } => StatusCode::BAD_REQUEST,
        PublishError::Busy { .. } => StatusCode::SERVICE_UNAVAILABLE,
    };
    ApiError::new(status, error.to_string())
}

pub(super) async fn gossip(State(surface): State<Surface>, fields: Fields) -> Result<Json<GossipReply>, ApiError> {
    let written = fields.texts("peers", surface.0.limits().gossip_peers)?;
    let ttl = fields.number("ttl", 0..=TTL_MAX)?.unwrap_or(0);
    let parse = |(place, peer): (usize, &&str)| {
        peer.parse().map_err(|error| ApiError::bad(format!("field `peers`, entry {place}: {error}")))
    };
    let addresses = written.iter().enumerate().map(parse).collect::<Result<Vec<PeerAddress>, _>>()?;
    let peers: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    surface.0.counters.gossips.add(1);
    let added = hear(&surface, addresses).await?;
    if let Some(ttl) = ttl.checked_sub(1) {
        pass_on(&surface, GossipRequest { peers, ttl }).await?;
    }
    Ok(Json(GossipReply {
        status: "gossip received".to_owned(),
        known_peers: surface.ask(Command::Peers).await?,
        added: added.iter().map(ToString::to_string).collect(),
        ttl,
    }))
}

/// Passes names on to one live member at random. Not waited for: a chain of 32 would outlast every deadline.
async fn pass_on(surface: &Surface, gossip: GossipRequest) -> Result<(), ApiError> {
    let live = surface.ask(Command::Live).await?;
    let Some(member) = live.choose(&mut rand::rng()).cloned() else { return Ok(()) };
    let surface = surface.clone();
    tokio::spawn(async move {
        let (host, patience) = (member.addr.to_string(), surface.0.limits().call_timeout);
        let target = Target { addr: member.addr, host: &host, peer: Some(&member.name) };
        let passed: Result<GossipReply, CallError> = surface.0.caller.post(target, "/gossip", &gossip, patience).await;
        if let Err(error) = passed {
            tracing::debug!(node = %surface.0.name, peer = %member.name, %error, "gossip was not passed on");
        }
    });
    Ok(())
}
