//! One HTTP request to another node: a connection, a request, a reply, all within one deadline.
//!
//! Uses hyper's client as it is, without a pool, redirects, proxies or TLS: a node makes a handful of requests in its
//! life and keeps nothing between them.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use futures_util::future::{Either, select};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode, client::conn::http1};
use hyper_util::rt::TokioIo;
use p2pnet_shared::{NodeName, api::ErrorReply};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};

use super::faults::{Watched, open_both_ways, travel};

/// Largest reply we read, bytes: ten thousand peers fit.
const REPLY_MAX_BYTES: usize = 1024 * 1024;
/// Longest error text of another node that we repeat.
const SAID_MAX_CHARS: usize = 400;
/// Names the node that asks, so that the one asked can keep to a cut it knows of and the other does not yet.
pub(super) const CALLER_HEADER: &str = "x-p2pnet-caller";
/// How often one waits for the other in a request: the handshake there and back, the request.
const LEGS: u32 = 3;

/// Why a request failed. Whether the other side acted on it is unknown, unless it answered with a status.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error("no answer in time")]
    Slow,
    #[error("could not connect: {0}")]
    Connect(#[source] std::io::Error),
    #[error("the exchange broke: {0}")]
    Exchange(#[from] hyper::Error),
    #[error("the reply could not be read: {0}")]
    Reply(String),
    #[error("it answered {0}{1}")]
    Status(StatusCode, Said),
}

/// What another node gave as its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said(pub(super) String);

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, ": {}", self.0) }
    }
}

/// Whom a request goes to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) addr: SocketAddr,
    /// For the `Host` header.
    pub(super) host: &'a str,
    /// Its name, where it is known: faults go by names.
    pub(super) peer: Option<&'a NodeName>,
}

/// Who makes requests to other nodes, and under which faults. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) me: NodeName,
    pub(super) faults: Watched,
}

impl Caller {
    /// `GET`s JSON.
    pub(super) async fn get<R: DeserializeOwned>(
        &self,
        target: Target<'_>,
        path: &str,
        patience: Duration,
    ) -> Result<R, CallError> {
        self.call(target, Method::GET, path, Bytes::new(), patience).await
    }

    /// `POST`s JSON.
    pub(super) async fn post<R: DeserializeOwned>(
        &self,
        target: Target<'_>,
        path: &str,
        body: &impl Serialize,
        patience: Duration,
    ) -> Result<R, CallError> {
        let body = serde_json::to_vec(body).map_err(|error| CallError::Reply(error.to_string()))?;
        self.call(target, Method::POST, path, body.into(), patience).await
    }

    async fn call<R: DeserializeOwned>(
        &self,
        target: Target<'_>,
        method: Method,
        path: &str,
        body: Bytes,
        patience: Duration,
    ) -> Result<R, CallError> {
        let on_the_way = async {
            open_both_ways(&mut self.faults.clone(), target.peer).await;
            sleep(travel(&self.faults, target.peer, LEGS)).await;
            exchange(target, self.me.as_str(), method, path, body).await
        };
        let (status, body) = timeout(patience, on_the_way).await.map_err(|_| CallError::Slow)??;
        if !status.is_success() {
            // What it says goes into a log: one line, and not more than one wants to read.
            let said = serde_json::from_slice::<ErrorReply>(&body).map(|reply| reply.error).unwrap_or_default();
            let said = super::http::one_line(&said.chars().take(SAID_MAX_CHARS).collect::<String>());
            return Err(CallError::Status(status, Said(said)));
        }
        serde_json::from_slice(&body).map_err(|error| CallError::Reply(error.to_string()))
    }
}

async fn exchange(
    Target { addr, host, .. }: Target<'_>,
    me: &str,
    method: Method,
    path: &str,
    body: Bytes,
) -> Result<(StatusCode, Bytes), CallError> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", host)
        .header(CALLER_HEADER, me)
        .header("content-type", "application/json")
        .header("connection", "close")
        .body(Full::new(body))
        .map_err(|error| CallError::Reply(error.to_string()))?;
    let stream = TcpStream::connect(addr).await.map_err(CallError::Connect)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let exchange = std::pin::pin!(async {
        let reply = sender.send_request(request).await?;
        let status = reply.status();
        let body = Limited::new(reply.into_body(), REPLY_MAX_BYTES).collect().await;
        let body = body.map_err(|error| CallError::Reply(error.to_string()))?.to_bytes();
        Ok::<_, CallError>((status, body))
    });
    // The connection is driven by whoever polls it: the request and the socket are one future here.
    match select(exchange, std::pin::pin!(connection)).await {
        Either::Left((reply, _)) => reply,
        Either::Right((_, exchange)) => exchange.await,
    }
}
