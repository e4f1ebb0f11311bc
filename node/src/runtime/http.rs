//! A node's HTTP surface (contract §2): requests become asks to the loop, answers become JSON.
//!
//! | request | file |
//! |---|---|
//! | `/`, `/status`, `/health`, `/ping`, `/peers`, `/members`, `/metrics` | `look.rs`: they change nothing |
//! | `/register`, `/gossip`, `/message`, `/send`, `/broadcast`, `/messages` | `say.rs` |
//! | `/events` | `events.rs` |
//!
//! Every error is `{"error": "<what, and what to do>"}` with a 4xx or 5xx; the node's state is unchanged then.

mod body;
pub(super) mod events;
mod look;
mod say;

use std::net::SocketAddr;

use axum::{
    Json, Router,
    extract::DefaultBodyLimit,
    http::{Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use p2pnet_shared::{NodeName, api::ErrorReply};

use super::ask::Asker;
use crate::config::Limits;

/// What handlers share.
#[derive(Clone)]
pub(super) struct Surface {
    asker: Asker,
    limits: Limits,
}

/// A refusal: status and reason.
#[derive(Debug)]
pub(super) struct Refusal(StatusCode, String);

impl Refusal {
    fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self(status, error.into())
    }

    fn bad(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    fn ending() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "this node is leaving; ask another one")
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(ErrorReply { error: self.1 })).into_response()
    }
}

type Reply<T> = Result<T, Refusal>;

/// The routes.
pub(super) fn router(asker: Asker, limits: &Limits) -> Router {
    Router::new()
        .route("/", get(look::root))
        .route("/status", get(look::status))
        .route("/health", get(look::health))
        .route("/ping", get(look::ping))
        .route("/peers", get(look::peers))
        .route("/members", get(look::members))
        .route("/metrics", get(look::metrics))
        .route("/register", post(say::register))
        .route("/gossip", post(say::gossip))
        .route("/message", post(say::message))
        .route("/send", post(say::send))
        .route("/broadcast", post(say::broadcast))
        .route("/messages", get(say::messages))
        .route("/events", get(events::stream))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::disable()) // body.rs counts, and answers in JSON
        .with_state(Surface { asker, limits: limits.clone() })
}

async fn unknown_path(uri: Uri) -> Refusal {
    let path: String = uri.path().chars().take(80).collect();
    Refusal::new(
        StatusCode::NOT_FOUND,
        format!("unknown path {path}; GET /status, /peers and /messages are good starts"),
    )
}

async fn wrong_method(method: Method, uri: Uri) -> Response {
    let refusal = |allowed: &str| {
        let error = format!("{method} is not for {}; use {allowed}", uri.path());
        ([(header::ALLOW, allowed.to_owned())], Refusal::new(StatusCode::METHOD_NOT_ALLOWED, error)).into_response()
    };
    let posts = ["/register", "/gossip", "/message", "/send", "/broadcast"];
    if posts.contains(&uri.path()) { refusal("POST") } else { refusal("GET") }
}

/// A node's URL: by its name, which is its host name in a container network; on loopback, where names mean nothing, by
/// its address.
pub(super) fn url_of(name: &NodeName, addr: SocketAddr) -> String {
    if addr.ip().is_loopback() { format!("http://{addr}") } else { format!("http://{name}:{}", addr.port()) }
}
