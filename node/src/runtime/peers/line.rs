//! One connection's task: greets, then reads and writes at once until either side has had enough.
//!
//! Bytes are read into one buffer that all lines of a node share, so an idle line holds none; what is kept from one read
//! to the next is the beginning of a frame. Once much of a frame is missing the rest is read to where it stays (`inbox.rs`).

use std::{future::poll_fn, net::SocketAddr, pin::Pin, sync::Arc, task::Poll, time::Duration};

use p2pnet_shared::{Epoch, NodeName, wire::Hello};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Notify, OwnedSemaphorePermit},
    time::timeout,
};

use super::{Next, inbox::Inbox, outbox::Outbox};
use crate::runtime::{
    faults::{arrival, open_both_ways, open_from, travel},
    hub::Hub,
    link::{LinkError, read_frame},
};

/// How long we wait for the other side to close after we did.
const LINGER: Duration = Duration::from_secs(1);
/// How often one waits for the other in a dial: the handshake there and back, the Hello.
const DIAL_LEGS: u32 = 3;

/// Reads who dials us, once its preface is known.
pub(in crate::runtime) async fn greet<H: Hub>(hub: H, mut stream: TcpStream, permit: OwnedSemaphorePermit) {
    let wiring = hub.wiring();
    let hello = async {
        let mut bytes = Vec::new();
        stream.set_nodelay(true)?;
        read_frame(&mut stream, &mut bytes, wiring.limits.frame_timeout).await?;
        let hello: Hello = wiring.codec.decode(&bytes)?;
        open_both_ways(&mut wiring.faults.clone(), Some(&hello.name)).await;
        Ok::<_, LinkError>(hello)
    };
    match timeout(wiring.limits.dial_timeout, hello).await {
        Ok(Ok(hello)) => hub.accepted(hello, stream, permit),
        Ok(Err(_)) | Err(_) => wiring.traffic().refused.add(1),
    }
}

/// Dials `peer`, and is its line if somebody answers who is it, in that life or a later one.
pub(super) async fn dial<H: Hub>(hub: H, id: u64, wake: Arc<Notify>, peer: NodeName, addr: SocketAddr, epoch: Epoch) {
    let wiring = hub.wiring().clone();
    let attempt = async {
        open_both_ways(&mut wiring.faults.clone(), Some(&peer)).await;
        tokio::time::sleep(travel(&wiring.faults, Some(&peer), DIAL_LEGS)).await;
        let mut stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        let mut first = wiring.kind.preface.to_vec();
        wiring.codec.encode_frame_onto(&wiring.me, &mut first);
        stream.write_all(&first).await?;
        let mut bytes = Vec::new();
        read_frame(&mut stream, &mut bytes, wiring.limits.frame_timeout).await?;
        let hello: Hello = wiring.codec.decode(&bytes)?;
        let is_it = hello.name == peer && hello.epoch >= epoch;
        if is_it { Ok((hello, stream)) } else { Err(LinkError::SomebodyElse(hello.name)) }
    };
    let dialled = match timeout(wiring.limits.dial_timeout, attempt).await {
        Ok(dialled) => dialled,
        Err(slow) => Err(slow.into()),
    };
    match dialled {
        Ok((hello, stream)) if hub.enter(|peers, _| peers.answered(id, hello.epoch)) => {
            Task { hub, id, wake, peer }.run(stream).await;
        }
        Ok(_) => hub.ended(id, false),
        Err(error) => {
            tracing::debug!(node = %wiring.me.name, %peer, %error, "could not dial for {}", wiring.kind.of);
            hub.ended(id, false);
        }
    }
}

/// The line of a peer that dialled us. It begins with our own Hello, which is in its queue.
pub(super) async fn accepted<H: Hub>(
    hub: H,
    id: u64,
    wake: Arc<Notify>,
    peer: NodeName,
    stream: TcpStream,
    _permit: OwnedSemaphorePermit,
) {
    Task { hub, id, wake, peer }.run(stream).await;
}

struct Task<H> {
    hub: H,
    id: u64,
    wake: Arc<Notify>,
    peer: NodeName,
}

impl<H: Hub> Task<H> {
    async fn run(self, stream: TcpStream) {
        let (reader, writer) = stream.into_split();
        let mut goodbye = false;
        let result = {
            let reading = self.read(reader, &mut goodbye);
            let writing = self.write(writer);
            tokio::pin!(reading, writing);
            tokio::select! {
                biased;
                result = &mut reading => match result {
                    // It has said goodbye and closed; answers to what it asked before are still written.
                    Ok(()) => timeout(LINGER, writing).await.map_or(Ok(()), |written| written.map(drop)),
                    Err(error) => Err(error),
                },
                written = &mut writing => match written {
                    Ok(_half) => timeout(LINGER, reading).await.unwrap_or(Ok(())),
                    Err(error) => Err(error),
                },
            }
        };
        let wiring = self.hub.wiring();
        if let Err(error) = &result {
            if matches!(error, LinkError::TooLong(_) | LinkError::Decode(_)) {
                wiring.traffic().packets_refused.add(1);
            }
            tracing::debug!(node = %wiring.me.name, peer = %self.peer, %error, "a connection of {} ended", wiring.kind.of);
        }
        self.hub.ended(self.id, goodbye);
    }

    /// Reads until the other side closes, with a goodbye or without, which is an error.
    async fn read(&self, mut stream: OwnedReadHalf, goodbye: &mut bool) -> Result<(), LinkError> {
        let (wiring, traffic) = (self.hub.wiring(), self.hub.wiring().traffic());
        let (mut inbox, mut packets) = (Inbox::new(wiring.kind.packet_max), Vec::new());
        let mut faults = wiring.faults.clone();
        loop {
            let count = if inbox.is_large(&wiring.pool) {
                let count = stream.read(inbox.rest()).await;
                count.inspect(|count| inbox.filled(*count))
            } else {
                let read = poll_fn(|cx| {
                    let mut shared = wiring.scratch.lock();
                    let mut buffer = ReadBuf::new(&mut shared);
                    std::task::ready!(Pin::new(&mut stream).poll_read(cx, &mut buffer))?;
                    inbox.extend(buffer.filled());
                    Poll::Ready(Ok::<usize, std::io::Error>(buffer.filled().len()))
                });
                read.await
            };
            let is_calm = faults.borrow().is_calm();
            if !is_calm {
                open_from(&mut faults, &self.peer).await;
            }
            if count? == 0 {
                return if *goodbye {
                    Ok(())
                } else {
                    Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into())
                };
            }
            if let Some(frame) = inbox.large_frame(&wiring.pool) {
                traffic.bytes_in.add(frame.len());
                packets.push(wiring.codec.decode_large(&frame)?);
            }
            while let Some(frame) = inbox.frame()? {
                if frame.is_empty() {
                    *goodbye = true;
                    continue;
                }
                traffic.bytes_in.add(frame.len());
                packets.push(wiring.codec.decode(frame)?);
            }
            inbox.tidy();
            traffic.packets_in.add(packets.len());
            if !self.hub.received(self.id, &self.peer, &mut packets, inbox.is_partial(), *goodbye) {
                return Ok(()); // given up meanwhile
            }
        }
    }

    /// Writes until the line is closed and nothing waits for it any more, then says goodbye. The half is handed back,
    /// because dropping it closes the connection.
    async fn write(&self, mut stream: OwnedWriteHalf) -> Result<OwnedWriteHalf, LinkError> {
        let mut faults = self.hub.wiring().faults.clone();
        let mut spare = Outbox::default();
        loop {
            match self.hub.enter(|peers, _| peers.next(self.id, std::mem::take(&mut spare))) {
                // How long a write may take is watched from outside, for all lines at once.
                Next::Write(mut frames) => {
                    stream.write_all_buf(&mut frames).await?;
                    spare = frames.cleared();
                }
                Next::Wait => self.wake.notified().await,
                Next::At(due) => {
                    if arrival(&mut faults, &self.peer, Some(due), None).await {
                        self.hub.enter(|peers, _| peers.arrived(self.id));
                    } else {
                        return Ok(stream); // the node is going away
                    }
                }
                Next::Close => {
                    let patience = self.hub.wiring().limits.frame_timeout;
                    timeout(patience, stream.write_all(&[0; 4])).await??;
                    timeout(patience, stream.shutdown()).await??;
                    return Ok(stream);
                }
            }
        }
    }
}
