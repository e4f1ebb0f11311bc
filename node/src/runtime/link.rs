//! TCP links to overlay neighbours: one task each to read and to write, every wait with a deadline.
//!
//! ```text
//! dial:    connect ─▶ preface ─▶ Hello ─▶        ◀─ Hello ─▶ Up
//! accept:            (preface seen) ◀─ Hello     ─▶ Hello ─▶ Up
//! then     u32 length ‖ envelope, either way, until one side closes ─▶ Down
//! ```
//! The loop hands frames over without waiting. A link's queue holds 256 frames; when it is full the peer reads too slowly,
//! and the link is closed rather than a frame lost in silence: repair brings what was missed over another link.

use std::{net::SocketAddr, time::Duration};

use p2pnet_shared::{
    NodeName,
    wire::{Codec, FRAME_MAX_BYTES, Hello, LINK_PREFACE, broadcast::Frame},
};
use serde::de::DeserializeOwned;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
    time::timeout,
};

use super::Event;

/// Frames that wait for a slow peer.
pub(super) const QUEUE_FRAMES: usize = 256;
/// For connecting, for the handshake, and for writing one frame. Default 3 s: the membership has given a peer up by then.
const DEADLINE: Duration = Duration::from_secs(3);

/// What a link tells the loop.
#[derive(Debug)]
pub(super) enum LinkEvent {
    /// The handshake is done.
    Up {
        /// Tells this link from others to the same peer.
        serial: u64,
        /// Who is at the other end.
        hello: Hello,
        /// We dialled.
        dialled: bool,
        /// Frames to write; dropping it closes the link once they are written.
        frames: mpsc::Sender<Vec<u8>>,
    },
    /// A frame came in.
    Frame {
        /// Over which link.
        serial: u64,
        /// From whom.
        from: NodeName,
        /// What.
        frame: Frame,
    },
    /// The link is down.
    Down {
        /// Which link.
        serial: u64,
        /// To whom.
        peer: NodeName,
    },
    /// The dial to `peer` did not lead to a link to `peer`.
    DialFailed {
        /// Whom we dialled.
        peer: NodeName,
    },
}

/// Dials `peer` at `addr`; everything else is told through `events`.
pub(super) async fn dial(
    serial: u64,
    peer: NodeName,
    addr: SocketAddr,
    me: Hello,
    codec: Codec,
    events: mpsc::Sender<Event>,
) {
    let shaken = timeout(DEADLINE, async {
        let mut stream = TcpStream::connect(addr).await.ok()?;
        stream.set_nodelay(true).ok()?;
        let mut opening = LINK_PREFACE.to_vec();
        opening.extend_from_slice(&codec.encode_frame(&me));
        stream.write_all(&opening).await.ok()?;
        let hello: Hello = read_frame(&mut stream, &codec, FRAME_MAX_BYTES).await?;
        (hello.name == peer).then_some((stream, hello))
    });
    match shaken.await.ok().flatten() {
        Some((stream, hello)) => run(serial, stream, hello, true, codec, events).await,
        None => {
            let _ = events.send(Event::Link(LinkEvent::DialFailed { peer })).await;
        }
    }
}

/// Serves a link somebody else opened; the preface has been read.
pub(super) async fn accept(serial: u64, mut stream: TcpStream, me: Hello, codec: Codec, events: mpsc::Sender<Event>) {
    let shaken = timeout(DEADLINE, async {
        stream.set_nodelay(true).ok()?;
        let hello: Hello = read_frame(&mut stream, &codec, FRAME_MAX_BYTES).await?;
        stream.write_all(&codec.encode_frame(&me)).await.ok()?;
        (hello.name != me.name).then_some(hello)
    });
    if let Some(hello) = shaken.await.ok().flatten() {
        run(serial, stream, hello, false, codec, events).await;
    }
}

async fn run(serial: u64, stream: TcpStream, hello: Hello, dialled: bool, codec: Codec, events: mpsc::Sender<Event>) {
    let peer = hello.name.clone();
    let (frames, queue) = mpsc::channel(QUEUE_FRAMES);
    if events.send(Event::Link(LinkEvent::Up { serial, hello, dialled, frames })).await.is_err() {
        return;
    }
    let (reader, writer) = stream.into_split();
    tokio::select! {
        () = read_all(serial, &peer, reader, &codec, &events) => {}
        () = write_all(writer, queue) => {}
    }
    let _ = events.send(Event::Link(LinkEvent::Down { serial, peer })).await;
}

async fn read_all(
    serial: u64,
    peer: &NodeName,
    mut reader: OwnedReadHalf,
    codec: &Codec,
    events: &mpsc::Sender<Event>,
) {
    while let Some(frame) = read_frame(&mut reader, codec, FRAME_MAX_BYTES).await {
        if events.send(Event::Link(LinkEvent::Frame { serial, from: peer.clone(), frame })).await.is_err() {
            return;
        }
    }
}

async fn write_all(mut writer: OwnedWriteHalf, mut queue: mpsc::Receiver<Vec<u8>>) {
    while let Some(frame) = queue.recv().await {
        if !matches!(timeout(DEADLINE, writer.write_all(&frame)).await, Ok(Ok(()))) {
            return;
        }
    }
    let _ = timeout(DEADLINE, writer.shutdown()).await;
}

/// The next frame; `None` at the end, on an error, and when it is longer than `max` or not what was expected: a link that
/// speaks nonsense is closed.
pub(super) async fn read_frame<T: DeserializeOwned>(
    reader: &mut (impl AsyncReadExt + Unpin),
    codec: &Codec,
    max: usize,
) -> Option<T> {
    let length = reader.read_u32().await.ok()? as usize;
    if length > max {
        return None;
    }
    let mut bytes = vec![0; length];
    reader.read_exact(&mut bytes).await.ok()?;
    codec.decode(&bytes).ok()
}
