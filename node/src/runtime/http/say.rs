//! Requests that make the node do something.

use axum::{
    Json,
    body::Body,
    extract::{RawQuery, State},
    http::StatusCode,
};
use hyper::Method;
use p2pnet_shared::{
    MessageId,
    api::{
        BroadcastReply, BroadcastRequest, GossipReply, GossipRequest, MessageReply, MessageRequest, MessagesReply,
        ReceivedMessage, RegisterReply, RegisterRequest, SendRequest,
    },
};
use rand::RngExt;

use super::{Refusal, Reply, Surface, body};
use crate::{
    broadcast::PublishError,
    config::host_and_port,
    runtime::{discovery, peer::Node, request::request},
};

fn address(given: &str) -> Reply<String> {
    host_and_port(given).ok_or_else(|| {
        let shown: String = given.chars().take(80).collect();
        Refusal::bad(format!("`{shown}` is not an address; send one like http://node9:5000"))
    })
}

pub(super) async fn register(State(surface): State<Surface>, body: Body) -> Reply<Json<RegisterReply>> {
    let example = r#"{"address":"http://node9:5000"}"#;
    let asked: RegisterRequest = body::json(body, &surface.limits, example).await?;
    let host = address(&asked.address)?;
    let peers = surface.asker.ask(|node| node.live_members().count()).await.ok_or_else(Refusal::ending)?;
    tokio::spawn(discovery::contact_mentioned(host, surface.asker.clone()));
    let message = format!("{} will be contacted and is a member once it answers", asked.address);
    Ok(Json(RegisterReply { status: "success".to_owned(), message, peers }))
}

pub(super) async fn gossip(State(surface): State<Surface>, body: Body) -> Reply<Json<GossipReply>> {
    let example = r#"{"peers":["http://node3:5000"],"ttl":2}"#;
    let asked: GossipRequest = body::json(body, &surface.limits, example).await?;
    if asked.peers.len() > surface.limits.gossip_peers {
        let error = format!("{} peers are too many; send at most {}", asked.peers.len(), surface.limits.gossip_peers);
        return Err(Refusal::bad(error));
    }
    let hosts = asked.peers.iter().map(|peer| address(peer)).collect::<Reply<Vec<_>>>()?;
    let known = surface.asker.ask(|node| (node.own_url(), node.peer_urls())).await.ok_or_else(Refusal::ending)?;
    let (own, known_peers) = known;
    let mut added = Vec::new();
    for host in hosts {
        let url = format!("http://{host}");
        if url != own && !known_peers.contains(&url) && !added.contains(&url) {
            tokio::spawn(discovery::contact_mentioned(host, surface.asker.clone()));
            added.push(url);
        }
    }
    let ttl = asked.ttl;
    if ttl > 0 {
        tokio::spawn(pass_on(surface, GossipRequest { ttl: ttl - 1, ..asked }));
    }
    Ok(Json(GossipReply { status: "gossip received".to_owned(), known_peers, added, ttl }))
}

/// To one random neighbour. Whether it arrives is nobody's concern: it is gossip.
async fn pass_on(surface: Surface, gossip: GossipRequest) {
    let chosen = surface.asker.ask(|node| {
        let neighbours: Vec<_> =
            node.broadcast.neighbours().filter_map(|name| node.membership.member(name)).map(|m| m.addr).collect();
        neighbours.get(rand::rng().random_range(0..neighbours.len().max(1))).copied()
    });
    if let (Some(Some(addr)), Ok(body)) = (chosen.await, serde_json::to_vec(&gossip)) {
        let _ = request(Method::POST, &addr.to_string(), "/gossip", Some(body)).await;
    }
}

fn check_length(text: &str, limit: usize) -> Reply<()> {
    if text.len() > limit {
        let error = format!("the message is {} bytes long; send at most {limit}", text.len());
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, error));
    }
    Ok(())
}

pub(super) async fn message(State(surface): State<Surface>, body: Body) -> Reply<Json<MessageReply>> {
    let asked: MessageRequest = body::json(body, &surface.limits, r#"{"sender":"Node1","msg":"Hello Node2!"}"#).await?;
    check_length(&asked.msg, surface.limits.message_bytes)?;
    check_length(&asked.sender, surface.limits.message_bytes)?;
    let current_node = surface.asker.ask(|node| node.name().clone()).await.ok_or_else(Refusal::ending)?;
    tracing::info!(node = %current_node, "Received message from {}: {}", asked.sender, asked.msg);
    Ok(Json(MessageReply {
        status: "received".to_owned(),
        reply: format!("Hello {}, this is {}", asked.sender, current_node.spoken()),
        from: asked.sender,
        msg: asked.msg,
        current_node,
    }))
}

pub(super) async fn send(State(surface): State<Surface>, body: Body) -> Reply<Json<serde_json::Value>> {
    let asked: SendRequest = body::json(body, &surface.limits, r#"{"to":"node9","msg":"hi"}"#).await?;
    check_length(&asked.msg, surface.limits.message_bytes)?;
    let to = asked.to.clone();
    let found = surface.asker.ask(move |node| {
        let live = node.membership.member(&to).filter(|member| member.status.is_live());
        (node.name().spoken().replace(' ', ""), live.map(|member| member.addr))
    });
    let (sender, addr) = found.await.ok_or_else(Refusal::ending)?;
    let addr = addr.ok_or_else(|| {
        Refusal::new(StatusCode::NOT_FOUND, format!("no live member is called {}; GET /peers lists them", asked.to))
    })?;
    let body = serde_json::to_vec(&MessageRequest { sender, msg: asked.msg })
        .map_err(|error| Refusal::bad(error.to_string()))?;
    let unanswered = |error: &dyn std::fmt::Display| {
        Refusal::new(StatusCode::BAD_GATEWAY, format!("{} did not take the message: {error}; try again", asked.to))
    };
    let reply = request(Method::POST, &addr.to_string(), "/message", Some(body)).await.map_err(|e| unanswered(&e))?;
    serde_json::from_slice(&reply).map(Json).map_err(|error| unanswered(&error))
}

pub(super) async fn broadcast(State(surface): State<Surface>, body: Body) -> Reply<(StatusCode, Json<BroadcastReply>)> {
    let asked: BroadcastRequest = body::json(body, &surface.limits, r#"{"msg":"apple"}"#).await?;
    let published =
        surface.asker.ask(move |node| node.publish(asked.msg, asked.ttl)).await.ok_or_else(Refusal::ending)?;
    let id = published.map_err(|error| {
        let status = match error {
            PublishError::TooLong { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            PublishError::Ttl { .. } => StatusCode::BAD_REQUEST,
            PublishError::Busy { .. } => StatusCode::SERVICE_UNAVAILABLE,
        };
        Refusal::new(status, error.to_string())
    })?;
    Ok((StatusCode::ACCEPTED, Json(BroadcastReply { status: "accepted".to_owned(), id })))
}

impl Node {
    /// The messages after `since`; `None` when that one is not held.
    fn received(&self, since: Option<&MessageId>) -> Option<Vec<ReceivedMessage>> {
        let mut messages = self.broadcast.messages();
        if let Some(since) = since {
            messages.find(|message| message.id == *since)?;
        }
        let received = messages.map(|message| ReceivedMessage {
            id: message.id.clone(),
            msg: message.text.clone(),
            from: message.id.origin.clone(),
            path: message.path.clone(),
            received_at: self.arrived_at(&message.id),
        });
        Some(received.collect())
    }
}

pub(super) async fn messages(State(surface): State<Surface>, RawQuery(query): RawQuery) -> Reply<Json<MessagesReply>> {
    let since = query.as_deref().and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("since=")));
    let since: Option<MessageId> = since
        .map(str::parse)
        .transpose()
        .map_err(|error| Refusal::bad(format!("{error}; leave ?since away for all")))?;
    let asked = since.clone();
    let found = surface.asker.ask(move |node| node.received(asked.as_ref())).await.ok_or_else(Refusal::ending)?;
    let unknown =
        || Refusal::bad(format!("message {} is not kept here; leave ?since away for all", since_text(since.as_ref())));
    Ok(Json(MessagesReply { messages: found.ok_or_else(unknown)? }))
}

fn since_text(since: Option<&MessageId>) -> String {
    since.map(ToString::to_string).unwrap_or_default()
}
