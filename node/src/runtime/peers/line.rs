//! One connection's task: greets, then reads and writes at once until either side has had enough.
//!
//! Bytes are read into one buffer that all lines of a node share, so an idle line holds none; what is kept from one read
//! to the next is the beginning of a frame, which grows only as its bytes arrive. Once much of a frame is missing the rest is
//! read to where it belongs, and not by way of the shared buffer.

use std::{future::poll_fn, net::SocketAddr, pin::Pin, sync::Arc, task::Poll, time::Duration};

use p2pnet_shared::{
    Epoch, NodeName,
    wire::{ENVELOPE_MAX_BYTES, Hello},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Notify, OwnedSemaphorePermit},
    time::timeout,
};

use super::{Next, READ_BYTES};
use crate::runtime::{
    faults::{arrival, open_both_ways, open_from, travel},
    hub::Hub,
    link::{LinkError, read_frame},
};

/// How long we wait for the other side to close after we did.
const LINGER: Duration = Duration::from_secs(1);
/// How often one waits for the other in a dial: the handshake there and back, the Hello.
const DIAL_LEGS: u32 = 3;
/// What is kept of a buffer that is empty again, bytes.
const KEPT_MAX: usize = 4 * 1024;
/// How far the buffer of a large frame is ahead of its bytes.
const AHEAD: usize = 4 * READ_BYTES;

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
            let missing = inbox.missing();
            let count = if missing >= READ_BYTES {
                // Grows as bytes arrive, and never past the frame.
                inbox.bytes.reserve_exact(missing.min(AHEAD));
                (&mut stream).take(missing as u64).read_buf(&mut inbox.bytes).await
            } else {
                let read = poll_fn(|cx| {
                    let mut shared = wiring.scratch.lock();
                    let mut buffer = ReadBuf::new(&mut shared);
                    std::task::ready!(Pin::new(&mut stream).poll_read(cx, &mut buffer))?;
                    inbox.bytes.extend_from_slice(buffer.filled());
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
        let mut spare = Vec::new();
        loop {
            match self.hub.enter(|peers, _| peers.next(self.id, std::mem::take(&mut spare))) {
                // How long a write may take is watched from outside, for all lines at once.
                Next::Write(bytes) => {
                    stream.write_all(&bytes).await?;
                    spare = bytes;
                    spare.clear();
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

/// Bytes that came in, as frames.
#[derive(Debug)]
struct Inbox {
    /// The longest frame that is taken.
    frame_max: usize,
    bytes: Vec<u8>,
    /// How many of them have been taken.
    taken: usize,
}

impl Inbox {
    fn new(packet_max: usize) -> Self {
        Self { frame_max: packet_max + ENVELOPE_MAX_BYTES, bytes: Vec::new(), taken: 0 }
    }

    /// How many bytes are missing of the frame that has begun; 0 if none has, or if it is not known yet. To be asked of a tidy one.
    fn missing(&self) -> usize {
        let Some((length, rest)) = self.bytes.split_first_chunk::<4>() else { return 0 };
        (u32::from_be_bytes(*length) as usize).min(self.frame_max).saturating_sub(rest.len())
    }

    /// The next whole frame, without its length; empty for a goodbye.
    fn frame(&mut self) -> Result<Option<&[u8]>, LinkError> {
        let rest = &self.bytes[self.taken..];
        let Some((length, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(*length) as usize;
        if length > self.frame_max {
            return Err(LinkError::TooLong(length));
        }
        let Some(frame) = rest.get(..length) else { return Ok(None) };
        self.taken += 4 + length;
        Ok(Some(frame))
    }

    /// Whether a frame has begun and not ended.
    fn is_partial(&self) -> bool {
        self.taken < self.bytes.len()
    }

    /// Lets go of what has been taken.
    fn tidy(&mut self) {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        if self.bytes.is_empty() {
            self.bytes.shrink_to(KEPT_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(body: &[u8]) -> Vec<u8> {
        [&u32::try_from(body.len()).unwrap().to_be_bytes(), body].concat()
    }

    #[test]
    fn frames_come_whole_however_the_bytes_arrive() {
        let stream = [framed(b"one"), framed(&[7; 300]), framed(b""), framed(b"two")].concat();
        for piece in [1, 2, 3, 5, 64, stream.len()] {
            let (mut inbox, mut frames) = (Inbox::new(1_000), Vec::new());
            for bytes in stream.chunks(piece) {
                inbox.bytes.extend_from_slice(bytes);
                while let Some(frame) = inbox.frame().unwrap() {
                    frames.push(frame.to_vec());
                }
                inbox.tidy();
            }
            assert_eq!(frames, [b"one".to_vec(), vec![7; 300], vec![], b"two".to_vec()], "in pieces of {piece}");
            assert!(!inbox.is_partial());
        }
    }

    #[test]
    fn a_length_alone_buys_no_memory_and_one_too_long_is_refused_at_once() {
        let mut inbox = Inbox::new(1_000_000);
        let longest = u32::try_from(inbox.frame_max).unwrap();
        inbox.bytes.extend_from_slice(&longest.to_be_bytes());
        assert!(inbox.frame().unwrap().is_none() && inbox.is_partial());
        assert!(inbox.bytes.capacity() < 1_024);
        assert_eq!(inbox.missing(), longest as usize);
        let mut inbox = Inbox::new(1_000_000);
        inbox.bytes.extend_from_slice(&(longest + 1).to_be_bytes());
        assert!(matches!(inbox.frame(), Err(LinkError::TooLong(_))));
    }
}
