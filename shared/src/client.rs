//! Typed client for a node's HTTP surface (contract §2), straight or through the gateway.
//!
//! ```text
//! Client::new("http://127.0.0.1:5007")                      ──▶ node7
//! Client::through("http://127.0.0.1:41234", token, node7)   ──▶ gateway /nodes/node7/… ──▶ node7
//! ```
//! Every request has a deadline. What the server says in its `error` is what the caller gets to read.

use std::time::Duration;

use reqwest::{Body, Method, RequestBuilder, StatusCode, header};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::timeout;

use crate::{
    api::{
        BroadcastReply, BroadcastRequest, DeleteReply, ErrorReply, FaultsReply, FileDeletedReply, FilesReply, GetReply,
        HealthReply, MembersReply, MessageReply, MessageRequest, MessagesReply, OwnerReply, PeersReply, PutReply,
        PutRequest, RescanReply, RingReply, SendRequest, StatusReply, UploadReply,
    },
    fault::{Fault, NodeSet},
    id::{MessageId, NodeName},
    path::FilePath,
    wire::folder::Bytes,
};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(3);
/// How long a whole request may take: more than the gateway gives a node, so that its explanation arrives.
const REQUEST: Duration = Duration::from_secs(15);

/// How long a whole upload or download may take.
const WHOLE_FILE: Duration = Duration::from_secs(24 * 3_600);
/// How long a download may wait for its first bytes, which another node may have to give, and for the next ones.
const NEXT_BYTES: Duration = Duration::from_secs(45);

/// Longest reply read, bytes. A node keeps a megabyte of messages, which JSON can make six of; a thousand members with
/// their accusers are less.
pub const REPLY_MAX_BYTES: usize = 16 * 1024 * 1024;

/// Why a request did not give what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server answered with an error; nothing was done.
    #[error("{error} (status {status})")]
    Refused {
        /// 4xx or 5xx.
        status: u16,
        /// What the server says is wrong, and what to do.
        error: String,
    },
    /// Nobody answered in time. Whether the request had an effect is not known.
    #[error("no answer from {url} within {} s", REQUEST.as_secs())]
    Deadline {
        /// Whom we asked.
        url: String,
    },
    /// The connection could not be made or broke.
    #[error("could not reach {url}: {cause}")]
    Unreachable {
        /// Whom we asked.
        url: String,
        /// The innermost cause: `Connection refused`.
        cause: String,
    },
    /// The answer is not what this version of p2pnet understands.
    #[error("{url} answered with something else than expected: {cause}")]
    Strange {
        /// Whom we asked.
        url: String,
        /// What is wrong with it.
        cause: String,
    },
}

/// One node's HTTP surface. Cheap to clone; clones share their connections.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

impl Client {
    /// A node at `base`, `http://127.0.0.1:5007`.
    ///
    /// # Errors
    /// When the operating system gives no source of chance or no sockets; a retry may help.
    pub fn new(base: &str) -> Result<Self, ClientError> {
        let base = base.trim_end_matches('/').to_owned();
        let http = reqwest::Client::builder().no_proxy().connect_timeout(CONNECT).timeout(REQUEST).build();
        let http = http.map_err(|e| ClientError::Unreachable { url: base.clone(), cause: root_cause(&e) })?;
        Ok(Self { http, base, token: None })
    }

    /// The node `name` through the gateway at `gateway`.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn through(gateway: &str, token: &str, name: &NodeName) -> Result<Self, ClientError> {
        let base = format!("{}/nodes/{name}", gateway.trim_end_matches('/'));
        Ok(Self { token: Some(token.to_owned()), ..Self::new(&base)? })
    }

    /// `GET /status`.
    ///
    /// # Errors
    /// [`ClientError`]; asking again is harmless.
    pub async fn status(&self) -> Result<StatusReply, ClientError> {
        self.get("/status").await
    }

    /// `GET /health`; a node that is not healthy answers too, and says why.
    ///
    /// # Errors
    /// [`ClientError`]; asking again is harmless.
    pub async fn health(&self) -> Result<HealthReply, ClientError> {
        let (status, bytes) = self.ask(self.request(Method::GET, "/health")).await?;
        // 503 is an answer here, but only if it is the node's own.
        match serde_json::from_slice(&bytes) {
            Ok(health) => Ok(health),
            Err(_) if !status.is_success() => Err(refused(status, &bytes)),
            Err(error) => Err(self.strange("/health", &error)),
        }
    }

    /// `GET /peers`.
    ///
    /// # Errors
    /// [`ClientError`]; asking again is harmless.
    pub async fn peers(&self) -> Result<PeersReply, ClientError> {
        self.get("/peers").await
    }

    /// `GET /members`.
    ///
    /// # Errors
    /// [`ClientError`]; asking again is harmless.
    pub async fn members(&self) -> Result<MembersReply, ClientError> {
        self.get("/members").await
    }

    /// `GET /messages`, those after `since` only.
    ///
    /// # Errors
    /// [`ClientError`]; asking again is harmless.
    pub async fn messages(&self, since: Option<&MessageId>) -> Result<MessagesReply, ClientError> {
        match since {
            Some(id) => self.get(&format!("/messages?since={id}")).await,
            None => self.get("/messages").await,
        }
    }

    /// `POST /broadcast`: this node says `msg` to everyone.
    ///
    /// # Errors
    /// [`ClientError`]; after `Deadline` it may have been accepted all the same.
    pub async fn broadcast(&self, msg: &str) -> Result<BroadcastReply, ClientError> {
        self.post("/broadcast", &BroadcastRequest { msg: msg.to_owned(), ttl: None }).await
    }

    /// `POST /message`: `sender` says `msg` to this node.
    ///
    /// # Errors
    /// [`ClientError`]; after `Deadline` it may have arrived all the same.
    pub async fn message(&self, sender: &str, msg: &str) -> Result<MessageReply, ClientError> {
        self.post("/message", &MessageRequest { sender: sender.to_owned(), msg: msg.to_owned() }).await
    }

    /// `POST /send`: this node says `msg` to the member `to`.
    ///
    /// # Errors
    /// [`ClientError`]; after `Deadline` it may have arrived all the same.
    pub async fn send(&self, to: &NodeName, msg: &str) -> Result<MessageReply, ClientError> {
        self.post("/send", &SendRequest { to: to.clone(), msg: msg.to_owned() }).await
    }

    /// The node `name` through the gateway at `gateway`, over the connections of this client.
    #[must_use]
    pub fn beside(&self, gateway: &str, name: &NodeName) -> Self {
        Self { base: format!("{}/nodes/{name}", gateway.trim_end_matches('/')), ..self.clone() }
    }

    /// `GET /fault`.
    ///
    /// # Errors
    /// [`ClientError`]; asking again is harmless.
    pub async fn faults(&self) -> Result<FaultsReply, ClientError> {
        self.get("/fault").await
    }

    /// `POST /fault`: this node obeys `fault` from now on.
    ///
    /// # Errors
    /// [`ClientError`]; asking again is harmless.
    pub async fn set_fault(&self, fault: &Fault) -> Result<FaultsReply, ClientError> {
        self.post("/fault", fault).await
    }

    /// `DELETE /fault`: this node obeys no fault any more, or none towards `peers`.
    ///
    /// # Errors
    /// [`ClientError`]; asking again is harmless.
    pub async fn heal(&self, peers: Option<&NodeSet>) -> Result<FaultsReply, ClientError> {
        let path = peers.map(|peers| format!("/fault?peers={}", peers.to_string().replace(' ', ",")));
        let path = path.as_deref().unwrap_or("/fault");
        self.expect(path, self.request(Method::DELETE, path)).await
    }

    /// `POST /kv`: stores `value` under `key`.
    ///
    /// # Errors
    /// [`ClientError`]; after `Deadline`, and after 503, it may have been stored all the same. Asking again is harmless
    /// unless somebody else wrote the key meanwhile.
    pub async fn put(&self, key: &str, value: serde_json::Value) -> Result<PutReply, ClientError> {
        self.post("/kv", &PutRequest { key: key.to_owned(), value }).await
    }

    /// `GET /kv/<key>`. A key without a value is a `Refused` with status 404.
    ///
    /// # Errors
    /// [`ClientError`]; asking again is harmless.
    pub async fn value(&self, key: &str) -> Result<GetReply, ClientError> {
        self.get(&path_of("/kv", key)).await
    }

    /// `DELETE /kv/<key>`. A key without a value is a `Refused` with status 404.
    ///
    /// # Errors
    /// [`ClientError`]; after `Deadline`, and after 503, it may have been deleted all the same.
    pub async fn delete(&self, key: &str) -> Result<DeleteReply, ClientError> {
        let path = path_of("/kv", key);
        self.expect(&path, self.request(Method::DELETE, &path)).await
    }

    /// `GET /owner/<key>`.
    ///
    /// # Errors
    /// [`ClientError`]; asking again is harmless.
    pub async fn owner(&self, key: &str) -> Result<OwnerReply, ClientError> {
        self.get(&path_of("/owner", key)).await
    }

    /// `GET /ring`.
    ///
    /// # Errors
    /// [`ClientError`]; asking again is harmless.
    pub async fn ring(&self) -> Result<RingReply, ClientError> {
        self.get("/ring").await
    }

    /// `PUT /files/<path>`: shares a file of `length` bytes, which `body` gives. Has no deadline but the node's own: bytes have to
    /// keep coming.
    ///
    /// # Errors
    /// [`ClientError`]; if the connection broke, it may have been stored all the same. Asking again is harmless unless somebody else
    /// wrote the file meanwhile.
    pub async fn upload(
        &self,
        path: &FilePath,
        length: u64,
        body: impl Into<Body>,
    ) -> Result<UploadReply, ClientError> {
        let path = path_of("/files", path.as_str());
        let request = self.request(Method::PUT, &path).timeout(WHOLE_FILE).header(header::CONTENT_LENGTH, length);
        self.expect(&path, request.body(body)).await
    }

    /// `GET /download/<path>`. A file that is not there is a `Refused` with status 404.
    ///
    /// # Errors
    /// [`ClientError`]; asking again is harmless.
    pub async fn download(&self, path: &FilePath) -> Result<Download, ClientError> {
        let request = self.request(Method::GET, &path_of("/download", path.as_str())).timeout(WHOLE_FILE);
        let url = self.base.clone();
        let Ok(reply) = timeout(NEXT_BYTES, request.send()).await else {
            return Err(ClientError::Deadline { url });
        };
        let mut download = Download { reply: reply.map_err(|error| self.failed(&error))?, url };
        if download.reply.status().is_success() {
            return Ok(download);
        }
        let (status, mut body) = (download.reply.status(), Vec::new());
        while let Some(chunk) = download.chunk().await? {
            body.extend_from_slice(&chunk);
            if body.len() > REPLY_MAX_BYTES {
                break;
            }
        }
        Err(refused(status, &body))
    }

    /// `GET /files`.
    ///
    /// # Errors
    /// [`ClientError`]; asking again is harmless.
    pub async fn files(&self) -> Result<FilesReply, ClientError> {
        self.get("/files").await
    }

    /// `DELETE /files/<path>`. A file that is not there is a `Refused` with status 404.
    ///
    /// # Errors
    /// [`ClientError`]; after `Deadline` it may have been deleted all the same.
    pub async fn delete_file(&self, path: &FilePath) -> Result<FileDeletedReply, ClientError> {
        let path = path_of("/files", path.as_str());
        self.expect(&path, self.request(Method::DELETE, &path)).await
    }

    /// `POST /rescan`: the node looks at its whole folder now, and answers when it has.
    ///
    /// # Errors
    /// [`ClientError`]; asking again is harmless.
    pub async fn rescan(&self) -> Result<RescanReply, ClientError> {
        self.expect("/rescan", self.request(Method::POST, "/rescan").timeout(WHOLE_FILE)).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.expect(path, self.request(Method::GET, path)).await
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        self.expect(path, self.request(Method::POST, path).json(body)).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    async fn expect<T: DeserializeOwned>(&self, path: &str, request: RequestBuilder) -> Result<T, ClientError> {
        let (status, bytes) = self.ask(request).await?;
        if !status.is_success() {
            return Err(refused(status, &bytes));
        }
        serde_json::from_slice(&bytes).map_err(|error| self.strange(path, &error))
    }

    async fn ask(&self, request: RequestBuilder) -> Result<(StatusCode, Vec<u8>), ClientError> {
        let failed = |error: reqwest::Error| self.failed(&error);
        let mut reply = request.send().await.map_err(failed)?;
        let mut body = Vec::new();
        while let Some(chunk) = reply.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > REPLY_MAX_BYTES {
                let cause = format!("its reply is longer than {REPLY_MAX_BYTES} bytes");
                return Err(ClientError::Strange { url: self.base.clone(), cause });
            }
            body.extend_from_slice(&chunk);
        }
        Ok((reply.status(), body))
    }

    fn failed(&self, error: &reqwest::Error) -> ClientError {
        let url = self.base.clone();
        if error.is_timeout() {
            return ClientError::Deadline { url };
        }
        ClientError::Unreachable { url, cause: root_cause(error) }
    }

    fn strange(&self, path: &str, error: &serde_json::Error) -> ClientError {
        ClientError::Strange { url: format!("{}{path}", self.base), cause: error.to_string() }
    }
}

/// A file on its way here.
#[derive(Debug)]
pub struct Download {
    reply: reqwest::Response,
    url: String,
}

impl Download {
    /// Its size in bytes, if the server said so.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.reply.content_length()
    }

    /// The hash of its contents, 64 hexadecimal digits, if the server said so.
    #[must_use]
    pub fn hash(&self) -> Option<&str> {
        self.reply.headers().get(header::ETAG)?.to_str().ok().map(|tag| tag.trim_matches('"'))
    }

    /// The next bytes; `None` when all have come.
    ///
    /// # Errors
    /// [`ClientError`]: the rest does not come. It may be asked for again.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ClientError> {
        let url = || self.url.clone();
        match timeout(NEXT_BYTES, self.reply.chunk()).await {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(error)) => Err(ClientError::Unreachable { url: url(), cause: root_cause(&error) }),
            Err(_) => Err(ClientError::Deadline { url: url() }),
        }
    }
}

/// Where a key is asked for. Every byte that means anything to a URL is written as `%2F`, so that no key is taken for
/// directions; `.` and `..` still are in a path, however they are written, and go into the query.
fn path_of(beginning: &str, key: &str) -> String {
    use std::fmt::Write;
    let mut path = beginning.to_owned();
    path.push_str(if matches!(key, "." | "..") { "?key=" } else { "/" });
    for byte in key.bytes() {
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'_' | b'.' | b'~' => path.push(char::from(byte)),
            // Writing to a String does not fail.
            _ => drop(write!(path, "%{byte:02X}")),
        }
    }
    path
}

fn refused(status: StatusCode, body: &[u8]) -> ClientError {
    let said = serde_json::from_slice::<ErrorReply>(body).map(|reply| reply.error);
    let error = said.unwrap_or_else(|_| status.canonical_reason().unwrap_or("refused").to_owned());
    ClientError::Refused { status: status.as_u16(), error }
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_arrives_as_it_is() {
        for (key, path) in [
            ("apple", "/kv/apple"),
            ("a b/c?d#e%", "/kv/a%20b%2Fc%3Fd%23e%25"),
            ("a/../b", "/kv/a%2F..%2Fb"),
            ("..", "/kv?key=.."),
            ("ключ", "/kv/%D0%BA%D0%BB%D1%8E%D1%87"),
        ] {
            assert_eq!(path_of("/kv", key), path);
            let url = reqwest::Url::parse(&format!("http://x{path}")).unwrap();
            let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
            assert_eq!(format!("{}{query}", url.path()), path, "nothing on the way takes it for directions");
        }
    }

    #[test]
    fn what_the_server_says_is_what_the_caller_reads() {
        let error = refused(StatusCode::BAD_REQUEST, br#"{"error":"no `msg`: send {\"msg\":\"...\"}"}"#);
        assert_eq!(error.to_string(), "no `msg`: send {\"msg\":\"...\"} (status 400)");
        let error = refused(StatusCode::BAD_GATEWAY, b"<html>");
        assert_eq!(error.to_string(), "Bad Gateway (status 502)");
    }
}
