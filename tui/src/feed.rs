//! Reads the gateway's feed: one HTTP response that never ends, one [`FeedLine`] a line.
//!
//! The gateway says something at least every five seconds, so silence means that it is gone. A line may be a snapshot
//! of a thousand members and messages; what is longer than that is not from a gateway of ours.

use std::time::Duration;

use p2pnet_shared::telemetry::FeedLine;

use crate::cluster::GatewayAddress;

/// Silence after which the gateway is taken for gone: three of its five-second signs of life.
const SILENCE: Duration = Duration::from_secs(16);
/// Longest line: a snapshot is at most 1 MiB on its link, and JSON says the same at greater length.
const LINE_MAX_BYTES: usize = 64 * 1024 * 1024;

/// Why the feed ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FeedError {
    /// No connection, or it broke.
    #[error("{0}")]
    Unreachable(String),
    /// The gateway answered, but not with its feed.
    #[error("it answered {0} instead of its feed")]
    Status(u16),
    /// It closed the feed.
    #[error("it closed the feed")]
    Closed,
    /// A line that is none of ours.
    #[error("it sent a line that is not understood: {0}")]
    Line(String),
}

/// A feed that is open.
#[derive(Debug)]
pub struct Feed {
    response: reqwest::Response,
    buffer: Vec<u8>,
    /// What of the buffer has been searched for the end of a line, bytes.
    searched: usize,
    /// What of the buffer has been handed out, bytes.
    used: usize,
}

impl Feed {
    /// Opens the feed of the gateway at `gateway`.
    ///
    /// # Errors
    /// [`FeedError`] when it does not answer with its feed within a few seconds; trying again later is what to do.
    pub async fn open(gateway: &GatewayAddress) -> Result<Self, FeedError> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(Duration::from_secs(3))
            .read_timeout(SILENCE)
            .build()
            .map_err(|error| unreachable(&error))?;
        let request = client.get(format!("http://{}/feed", gateway.addr)).bearer_auth(&gateway.token);
        let response = request.send().await.map_err(|error| unreachable(&error))?;
        match response.status().as_u16() {
            200 => Ok(Self { response, buffer: Vec::new(), searched: 0, used: 0 }),
            other => Err(FeedError::Status(other)),
        }
    }

    /// The next line. May be dropped while it waits; nothing is lost.
    ///
    /// # Errors
    /// [`FeedError`] when there will be no more lines.
    pub async fn next(&mut self) -> Result<FeedLine, FeedError> {
        loop {
            if let Some(found) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
                let end = self.searched + found;
                let line = serde_json::from_slice(&self.buffer[self.used..end]);
                (self.used, self.searched) = (end + 1, end + 1);
                return line.map_err(|error| FeedError::Line(error.to_string()));
            }
            self.buffer.drain(..self.used);
            (self.used, self.searched) = (0, self.buffer.len());
            if self.buffer.len() > LINE_MAX_BYTES {
                return Err(FeedError::Line(format!("longer than {LINE_MAX_BYTES} bytes")));
            }
            match self.response.chunk().await {
                Ok(Some(chunk)) => self.buffer.extend_from_slice(&chunk),
                Ok(None) => return Err(FeedError::Closed),
                Err(error) => return Err(unreachable(&error)),
            }
        }
    }
}

fn unreachable(error: &reqwest::Error) -> FeedError {
    if error.is_timeout() {
        return FeedError::Unreachable("nothing was heard for too long".into());
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    FeedError::Unreachable(cause.to_string())
}
