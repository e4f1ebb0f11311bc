//! One HTTP request to another node, for joining, direct messages and passing gossip on. A connection each: they are rare.

use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode, body::Bytes};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

/// For the whole of a request.
const DEADLINE: Duration = Duration::from_secs(3);
/// Largest reply read, bytes: the peer list of a thousand nodes fits.
const REPLY_MAX_BYTES: usize = 256 * 1024;

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    /// Could not connect.
    #[error("{0}")]
    Connect(std::io::Error),
    /// No whole answer in time.
    #[error("no answer within {} s", DEADLINE.as_secs())]
    Late,
    /// The connection broke, or the reply is too long.
    #[error("{0}")]
    Broken(String),
    /// An answer, but no success.
    #[error("answered {status}: {body}")]
    Status {
        /// The status.
        status: StatusCode,
        /// The beginning of the body.
        body: String,
    },
}

/// Sends `body` as JSON (nothing with `None`) to `host` (`host:port`) and reads the reply's body.
pub(super) async fn request(
    method: Method,
    host: &str,
    path: &str,
    body: Option<Vec<u8>>,
) -> Result<Vec<u8>, RequestError> {
    timeout(DEADLINE, exchange(method, host, path, body)).await.unwrap_or(Err(RequestError::Late))
}

async fn exchange(method: Method, host: &str, path: &str, body: Option<Vec<u8>>) -> Result<Vec<u8>, RequestError> {
    let broken = |error: &dyn std::fmt::Display| RequestError::Broken(error.to_string());
    let stream = TcpStream::connect(host).await.map_err(RequestError::Connect)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", host)
        .header("content-type", "application/json")
        .header("connection", "close")
        .body(Full::new(Bytes::from(body.unwrap_or_default())))
        .map_err(|error| broken(&error))?;
    let answer = async {
        let reply = sender.send_request(request).await.map_err(|error| broken(&error))?;
        let status = reply.status();
        let body = Limited::new(reply.into_body(), REPLY_MAX_BYTES).collect().await.map_err(|error| broken(&error))?;
        let body = body.to_bytes().to_vec();
        if status.is_success() {
            return Ok(body);
        }
        Err(RequestError::Status { status, body: String::from_utf8_lossy(&body).chars().take(200).collect() })
    };
    // The connection is driven here, not in a task of its own, so that nothing outlives the deadline.
    tokio::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        _ = connection => answer.await,
    }
}
