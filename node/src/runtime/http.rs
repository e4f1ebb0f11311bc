//! A node's HTTP surface (contract §2).
//!
//! ```text
//! connection ─▶ router ─┬▶ handler: read the body (body.rs) ─▶ Command through the door ─▶ the loop's answer ─▶ JSON
//!  (front.rs)           ├▶ kv.rs: keys, straight into the store (keys.rs) and back
//!                       └▶ files.rs, download.rs: the shared folder (folder.rs); bytes never pass through memory whole
//! ```
//! Handlers keep nothing and decide nothing about the network. Whatever is wrong with a request is a 4xx whose JSON says
//! what and what to do, and the node's state is unchanged.

mod body;
mod download;
pub(super) mod events;
mod fault;
mod files;
mod front;
mod kv;
mod multipart;
mod percent;
mod post;
mod range;

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{StatusCode, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post as post_to, put as put_to},
};
use p2pnet_shared::{
    MessageId, NodeName,
    api::{ErrorReply, MembersReply, PeersReply, PingReply, ReceivedMessage, RootReply, StatusReply},
};
use serde::Serialize;
use tokio::sync::mpsc;
use uuid::Uuid;

pub(super) use self::front::Front;
use super::{
    call::{CALLER_HEADER, Caller},
    command::{Command, Door, NoAnswer},
    faults::open_both_ways,
    folder::Folder,
    hub::Hub,
    keys::Keys,
    metrics::Counters,
};
use crate::{config::Limits, discovery::PeerAddress};

/// What every handler may need.
#[derive(Debug, Clone)]
pub(super) struct Surface(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: NodeName,
    id: Uuid,
    url: String,
    door: Door,
    heard: mpsc::Sender<PeerAddress>,
    counters: Arc<Counters>,
    caller: Caller,
    keys: Keys,
    /// If the node has one.
    folder: Option<Folder>,
    /// Of each key.
    copies: u8,
}

impl Inner {
    fn limits(&self) -> &Limits {
        &self.keys.wiring().limits
    }
}

impl Surface {
    pub(super) fn new(
        (name, id, url): (NodeName, Uuid, String),
        door: Door,
        heard: mpsc::Sender<PeerAddress>,
        caller: Caller,
        keys: Keys,
        folder: Option<Folder>,
        copies: u8,
    ) -> Self {
        let counters = keys.wiring().counters.clone();
        Self(Arc::new(Inner { name, id, url, door, heard, counters, caller, keys, folder, copies }))
    }

    async fn ask<T>(&self, question: impl FnOnce(super::command::Reply<T>) -> Command) -> Result<T, ApiError> {
        Ok(self.0.door.ask(question).await?)
    }
}

/// Every row of the contract that is about the network, and those of ours (`/members`, `/send`, `/fault`, `/rescan`).
fn router(surface: Surface) -> Router {
    Router::new()
        .route("/", get(root))
        .route("/status", get(status))
        .route("/health", get(health))
        .route("/ping", get(ping))
        .route("/peers", get(peers))
        .route("/members", get(members))
        .route("/messages", get(messages))
        .route("/metrics", get(metrics))
        .route("/events", get(events::events))
        .route("/fault", get(fault::list).post(fault::set).delete(fault::heal))
        .route("/register", post_to(post::register))
        .route("/message", post_to(post::message))
        .route("/send", post_to(post::send))
        .route("/broadcast", post_to(post::broadcast))
        .route("/gossip", post_to(post::gossip))
        .route("/kv", post_to(kv::put).get(kv::get).delete(kv::delete))
        .route("/kv/", get(kv::get).delete(kv::delete))
        .route("/kv/{*key}", get(kv::get).delete(kv::delete))
        .route("/owner", get(kv::owner))
        .route("/owner/", get(kv::owner))
        .route("/owner/{*key}", get(kv::owner))
        .route("/ring", get(kv::ring))
        .route("/upload", post_to(files::upload))
        .route("/download/", get(download::download))
        .route("/download/{*path}", get(download::download))
        .route("/files", get(files::list))
        .route("/files/", put_to(files::put).delete(files::delete))
        .route("/files/{*path}", put_to(files::put).delete(files::delete))
        .route("/rescan", post_to(files::rescan))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(surface.clone(), keep_cut))
        .layer(middleware::from_fn_with_state(surface.clone(), count))
        .with_state(surface)
}

/// An error as its asker sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApiError {
    status: StatusCode,
    error: String,
}

impl ApiError {
    fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, error: error.into() }
    }

    fn bad(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }
}

impl From<NoAnswer> for ApiError {
    fn from(why: NoAnswer) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, why.to_string())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(ErrorReply { error: self.error })).into_response()
    }
}

/// A text from outside as one line of a log: control characters are shown, so nobody can forge a second line.
pub(super) fn one_line(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

async fn count(State(surface): State<Surface>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    surface.0.counters.http_requests.add(1);
    if response.status().as_u16() >= 400 {
        surface.0.counters.http_errors.add(1);
    }
    response
}

/// Lets a request of another node wait for as long as a fault lies between us, as if it had not arrived. Requests of
/// people and of the gateway name no node and are never held up.
async fn keep_cut(State(surface): State<Surface>, request: Request, next: Next) -> Response {
    let caller = request.headers().get(CALLER_HEADER).and_then(|name| name.to_str().ok()?.parse::<NodeName>().ok());
    if let Some(caller) = caller {
        let mut faults = surface.0.caller.faults.clone();
        let open = open_both_ways(&mut faults, Some(&caller));
        if tokio::time::timeout(surface.0.limits().call_timeout, open).await.is_err() {
            let error = format!("a fault lies between {caller} and {}; heal it with DELETE /fault", surface.0.name);
            return ApiError::new(StatusCode::SERVICE_UNAVAILABLE, error).into_response();
        }
    }
    next.run(request).await
}

async fn not_found(uri: Uri) -> ApiError {
    let path: String = uri.path().chars().take(100).collect();
    ApiError::new(StatusCode::NOT_FOUND, format!("there is nothing at `{path}`; see GET /status, /peers, /messages"))
}

async fn wrong_method(request: Request) -> ApiError {
    let error = format!("{} does not go with this path; the `Allow` header says what does", request.method());
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, error)
}

async fn root(State(surface): State<Surface>) -> Json<RootReply> {
    Json(RootReply { message: format!("Node {} is running!", surface.0.id) })
}

async fn status(State(surface): State<Surface>) -> Result<Json<StatusReply>, ApiError> {
    Ok(Json(surface.ask(Command::Status).await?))
}

async fn health(State(surface): State<Surface>) -> Result<Response, ApiError> {
    let health = surface.ask(Command::Health).await?;
    let status = if health.reason.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok((status, Json(health)).into_response())
}

async fn ping(State(surface): State<Surface>) -> Json<PingReply> {
    Json(PingReply {
        status: "alive".to_owned(),
        response: "pong".to_owned(),
        node: surface.0.url.clone(),
        node_id: surface.0.id,
    })
}

async fn peers(State(surface): State<Surface>) -> Result<Json<PeersReply>, ApiError> {
    Ok(Json(PeersReply { peers: surface.ask(Command::Peers).await? }))
}

async fn members(State(surface): State<Surface>) -> Result<Json<MembersReply>, ApiError> {
    Ok(Json(surface.ask(Command::Members).await?))
}

/// [`p2pnet_shared::api::MessagesReply`] without a copy of every message.
#[derive(Serialize)]
struct Messages {
    messages: Vec<Shared>,
}

struct Shared(Arc<ReceivedMessage>);

impl Serialize for Shared {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

async fn messages(State(surface): State<Surface>, uri: Uri) -> Result<Response, ApiError> {
    let parameters = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let since = parameters.into_iter().find_map(|(key, value)| (key == "since" && !value.is_empty()).then_some(value));
    let since: Option<MessageId> = since
        .map(str::parse)
        .transpose()
        .map_err(|error| ApiError::bad(format!("`since`: {error}; take an `id` from GET /messages")))?;
    let unknown = || {
        ApiError::bad("`since`: this node does not have that message (any more); ask without `since` for all it has")
    };
    let messages = surface.ask(|reply| Command::Messages { since, reply }).await?.ok_or_else(unknown)?;
    Ok(Json(Messages { messages: messages.into_iter().map(Shared).collect() }).into_response())
}

async fn metrics(State(surface): State<Surface>) -> Result<Response, ApiError> {
    let text = surface.ask(Command::Metrics).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_from_outside_cannot_forge_a_log_line() {
        assert_eq!(one_line("Hello Node2! ü\n\u{1b}[31mRed"), "Hello Node2! ü\\n\\u{1b}[31mRed");
    }
}
