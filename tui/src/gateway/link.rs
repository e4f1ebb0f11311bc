//! A node's telemetry link: preface, [`Hello`], then reports until it breaks.

use std::net::SocketAddr;

use p2pnet_shared::{
    telemetry::Report,
    wire::{FRAME_MAX_BYTES, Hello, LINK_PREFACE, REPORT_MAX_BYTES},
};
use tokio::{
    io::{AsyncReadExt, BufReader},
    net::TcpStream,
};

use super::{HANDSHAKE, Shared, unix_now};

/// How long a frame that has begun may take to arrive whole. Between frames a node may be silent for as long as it
/// likes: a dead one is told by its connection, a frozen one by the engine.
const FRAME: std::time::Duration = std::time::Duration::from_secs(30);

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("it is no telemetry link")]
    Preface,
    #[error("a frame of {0} bytes, more than the limit")]
    TooLong(usize),
    #[error(transparent)]
    Decode(#[from] p2pnet_shared::wire::DecodeError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("it took too long")]
    Slow(#[from] tokio::time::error::Elapsed),
    #[error(transparent)]
    Refused(#[from] super::store::Refused),
}

pub(super) async fn serve(shared: &Shared, stream: TcpStream, peer: SocketAddr) {
    let mut stream = BufReader::with_capacity(8 * 1024, stream);
    let hello = match tokio::time::timeout(HANDSHAKE, handshake(shared, &mut stream)).await {
        Ok(Ok(hello)) => hello,
        Ok(Err(error)) => return tracing::warn!(%peer, %error, "a link was refused"),
        Err(error) => return tracing::warn!(%peer, %error, "a link was refused"),
    };
    let opened = shared.store().open(&hello.name, hello.epoch);
    let link = match opened {
        Ok(link) => link,
        Err(error) => return tracing::warn!(node = %hello.name, %error, "a link was refused"),
    };
    let error = reports(shared, &mut stream, peer, &hello, link).await;
    shared.store().close(link, unix_now());
    match error {
        LinkError::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            tracing::debug!(node = %hello.name, "the link closed");
        }
        error => tracing::warn!(node = %hello.name, %error, "the link ended"),
    }
}

async fn handshake(shared: &Shared, stream: &mut BufReader<TcpStream>) -> Result<Hello, LinkError> {
    let mut preface = [0; LINK_PREFACE.len()];
    stream.read_exact(&mut preface).await?;
    if preface != LINK_PREFACE {
        return Err(LinkError::Preface);
    }
    let mut frame = Vec::new();
    read_frame(stream, &mut frame, FRAME_MAX_BYTES).await?;
    Ok(shared.codec.decode(&frame)?)
}

async fn reports(
    shared: &Shared,
    stream: &mut BufReader<TcpStream>,
    peer: SocketAddr,
    hello: &Hello,
    link: super::store::LinkId,
) -> LinkError {
    let mut frame = Vec::new();
    loop {
        if let Err(error) = read_frame(stream, &mut frame, REPORT_MAX_BYTES).await {
            return error;
        }
        let mut report: Report = match shared.codec.decode(&frame) {
            Ok(report) => report,
            Err(error) => return error.into(),
        };
        if let Report::Hello { epoch, addr, .. } = &mut report {
            // A node that listens everywhere is reached where it came from.
            if addr.ip().is_unspecified() {
                addr.set_ip(peer.ip());
            }
            *epoch = hello.epoch;
        }
        if let Err(error) = shared.store().report(link, report, unix_now()) {
            return error.into();
        }
    }
}

/// Reads one frame into `frame`, which grows only as bytes arrive: a length alone buys nobody memory.
async fn read_frame(stream: &mut BufReader<TcpStream>, frame: &mut Vec<u8>, max: usize) -> Result<(), LinkError> {
    let length = stream.read_u32().await? as usize;
    if length > max {
        return Err(LinkError::TooLong(length));
    }
    frame.clear();
    frame.shrink_to(64 * 1024);
    let read = tokio::time::timeout(FRAME, (&mut *stream).take(length as u64).read_to_end(frame)).await??;
    if read < length {
        return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
    }
    Ok(())
}
