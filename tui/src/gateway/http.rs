//! The gateway's HTTP: the feed, a way in to each node, and health.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, FromRequest, Path, Request, State},
    http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use futures_util::stream;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use p2pnet_shared::{NodeName, api::ErrorReply, wire::dht::VALUE_TEXT_MAX_BYTES};
use tokio::{net::TcpStream, sync::mpsc};

use super::{Shared, feed};

/// How long a node may take to begin its answer.
const ANSWER: Duration = Duration::from_secs(10);
/// The same, where it may have to fetch bytes from another one first.
const ANSWER_WITH_A_FILE: Duration = Duration::from_secs(45);
/// The same, where it has to receive a file first; it has limits of its own for a sender that stops.
const ANSWER_TO_A_FILE: Duration = Duration::from_secs(24 * 3_600);
/// How long a client may take to send its request's head.
const HEAD: Duration = Duration::from_secs(10);
/// Longest body passed on, bytes: the largest value with its key, every byte of both written as JSON may write it. A node
/// has limits of its own and says so.
const BODY_MAX: usize = VALUE_TEXT_MAX_BYTES + 16 * 1024;
/// Chunks between the feed's task and the socket. When full the task waits; the reader's own queue is in `store.rs`.
const CHUNKS_MAX: usize = 16;

pub(super) fn router(shared: Arc<Shared>) -> Router {
    let inside = Router::new()
        .route("/feed", get(read_feed))
        .route("/nodes/{name}/", any(proxy))
        .route("/nodes/{name}/{*path}", any(proxy))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(middleware::from_fn_with_state(shared.clone(), let_in));
    Router::new()
        .route("/health", get(health))
        .merge(inside)
        .fallback(|uri: Uri| async move {
            refuse(
                StatusCode::NOT_FOUND,
                format!("there is no {} here; try /feed, /nodes/<name>/<path> or /health", uri.path()),
            )
        })
        .method_not_allowed_fallback(|method: Method, uri: Uri| async move {
            refuse(StatusCode::METHOD_NOT_ALLOWED, format!("{method} is not for {}", uri.path()))
        })
        .with_state(shared)
}

pub(super) async fn serve(app: Router, stream: TcpStream) {
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    if let Err(error) = served.await {
        tracing::debug!(%error, "an HTTP connection ended");
    }
}

fn refuse(status: StatusCode, error: impl Into<String>) -> Response {
    (status, Json(ErrorReply { error: error.into() })).into_response()
}

async fn let_in(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.strip_prefix("Bearer "));
    match given {
        Some(token) if blake3::hash(token.trim().as_bytes()) == shared.token => next.run(request).await,
        _ => refuse(StatusCode::UNAUTHORIZED, "the gateway's token is needed: send `Authorization: Bearer <token>`"),
    }
}

async fn health(State(shared): State<Arc<Shared>>) -> Response {
    let (nodes, links) = shared.store().counts();
    Json(serde_json::json!({ "status": "healthy", "nodes": nodes, "links": links })).into_response()
}

async fn read_feed(State(shared): State<Arc<Shared>>) -> Response {
    let (tx, rx) = mpsc::channel::<Bytes>(CHUNKS_MAX);
    tokio::spawn(feed::run(shared, tx));
    let lines =
        stream::unfold(rx, |mut rx| async move { Some((Ok::<_, std::convert::Infallible>(rx.recv().await?), rx)) });
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response()
}

/// What of a request or a reply concerns its content and not the connection it came over.
fn content_headers(from: &HeaderMap) -> HeaderMap {
    const PASSED: [HeaderName; 11] = [
        header::CONTENT_TYPE,
        header::ACCEPT,
        header::RANGE,
        header::ETAG,
        header::IF_NONE_MATCH,
        header::IF_MATCH,
        header::IF_RANGE,
        header::ACCEPT_RANGES,
        header::X_CONTENT_TYPE_OPTIONS,
        header::CONTENT_RANGE,
        header::ALLOW,
    ];
    let passed = PASSED.into_iter().filter_map(|name| from.get(&name).map(|value| (name, value.clone())));
    passed.collect()
}

async fn proxy(
    State(shared): State<Arc<Shared>>,
    Path(parts): Path<std::collections::HashMap<String, String>>,
    method: Method,
    uri: Uri,
    request: Request,
) -> Response {
    let headers = request.headers().clone();
    let given = parts.get("name").map_or("", String::as_str);
    let name: NodeName = match given.parse() {
        Ok(name) => name,
        Err(error) => return refuse(StatusCode::NOT_FOUND, format!("{error}")),
    };
    let Some(addr) = shared.store().address(&name) else {
        return refuse(StatusCode::NOT_FOUND, format!("no node `{name}` has reported to the gateway"));
    };
    // The path as it was given, still encoded: decoding and encoding again could make another path of it.
    let whole = uri.path_and_query().map_or("/", |path| path.as_str());
    let rest = whole.strip_prefix("/nodes/").and_then(|rest| rest.split_once('/')).map_or("", |(_, rest)| rest);
    // A file is passed on as it comes, anything else once it is here.
    let is_file = (method == Method::PUT && rest.starts_with("files/")) || rest == "upload";
    let patience = match is_file {
        true => ANSWER_TO_A_FILE,
        false if rest.starts_with("download/") || rest == "rescan" => ANSWER_WITH_A_FILE,
        false => ANSWER,
    };
    let mut passed = content_headers(&headers);
    let body = if is_file {
        passed.extend(headers.get(header::CONTENT_LENGTH).map(|length| (header::CONTENT_LENGTH, length.clone())));
        reqwest::Body::wrap_stream(request.into_body().into_data_stream())
    } else {
        match Bytes::from_request(request, &()).await {
            Ok(body) => body.into(),
            Err(error) => {
                return refuse(error.status(), format!("the body was refused: {error}; at most {BODY_MAX} bytes"));
            }
        }
    };
    // The other client would give up half a minute into a file, because nothing is read while it is sent.
    let client = if patience == ANSWER { &shared.client } else { &shared.files };
    let request = client.request(method, format!("http://{addr}/{rest}")).headers(passed).body(body);
    let reply = match tokio::time::timeout(patience, request.send()).await {
        Ok(Ok(reply)) => reply,
        Ok(Err(error)) => {
            return refuse(StatusCode::BAD_GATEWAY, format!("{name} did not answer at {addr}: {}", root_cause(&error)));
        }
        Err(_) => {
            return refuse(StatusCode::BAD_GATEWAY, format!("{name} did not answer within {} s", patience.as_secs()));
        }
    };
    let (status, mut headers) = (reply.status(), content_headers(reply.headers()));
    // So that whoever downloads knows how much is to come.
    headers.extend(reply.headers().get(header::CONTENT_LENGTH).map(|length| (header::CONTENT_LENGTH, length.clone())));
    (status, headers, Body::from_stream(reply.bytes_stream())).into_response()
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
