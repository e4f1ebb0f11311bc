//! One connection's task: greets, then reads and writes at once until either side has had enough.
//!
//! Bytes are read into one buffer that all lines of a node share, so an idle line holds none; what is kept from one read
//! to the next is the beginning of a frame, which grows only as its bytes arrive.

use std::{future::poll_fn, net::SocketAddr, pin::Pin, sync::Arc, task::Poll, time::Duration};

use p2pnet_shared::{
    Epoch, NodeName,
    wire::{ENVELOPE_MAX_BYTES, Hello, PEER_PREFACE, dht::PACKET_MAX_BYTES},
};
use tokio::{
    io::{AsyncRead, AsyncWriteExt, ReadBuf},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Notify, OwnedSemaphorePermit},
    time::timeout,
};

use super::Next;
use crate::runtime::{
    faults::{arrival, open_both_ways, open_from, travel},
    keys::Keys,
    link::{LinkError, read_frame},
};

/// How long we wait for the other side to close after we did.
const LINGER: Duration = Duration::from_secs(1);
/// How often one waits for the other in a dial: the handshake there and back, the Hello.
const DIAL_LEGS: u32 = 3;
/// What is kept of a buffer that is empty again, bytes.
const KEPT_MAX: usize = 4 * 1024;

/// Reads who dials us, once its preface is known.
pub(in crate::runtime) async fn greet(keys: Keys, mut stream: TcpStream, permit: OwnedSemaphorePermit) {
    let wiring = keys.wiring();
    let hello = async {
        let mut bytes = Vec::new();
        stream.set_nodelay(true)?;
        read_frame(&mut stream, &mut bytes, wiring.limits.frame_timeout).await?;
        let hello: Hello = wiring.codec.decode(&bytes)?;
        open_both_ways(&mut wiring.faults.clone(), Some(&hello.name)).await;
        Ok::<_, LinkError>(hello)
    };
    match timeout(wiring.limits.dial_timeout, hello).await {
        Ok(Ok(hello)) => keys.accepted(hello, stream, permit),
        Ok(Err(_)) | Err(_) => wiring.counters.peers_refused.add(1),
    }
}

/// Dials `peer`, and is its line if somebody answers who is it, in that life or a later one.
pub(super) async fn dial(keys: Keys, id: u64, wake: Arc<Notify>, peer: NodeName, addr: SocketAddr, epoch: Epoch) {
    let wiring = keys.wiring().clone();
    let attempt = async {
        open_both_ways(&mut wiring.faults.clone(), Some(&peer)).await;
        tokio::time::sleep(travel(&wiring.faults, Some(&peer), DIAL_LEGS)).await;
        let mut stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        let mut first = PEER_PREFACE.to_vec();
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
        Ok((hello, stream)) if keys.answered(id, hello.epoch) => Task { keys, id, wake, peer }.run(stream).await,
        Ok(_) => keys.ended(id, false),
        Err(error) => {
            tracing::debug!(node = %wiring.me.name, %peer, %error, "could not dial for the store");
            keys.ended(id, false);
        }
    }
}

/// The line of a peer that dialled us. It begins with our own Hello, which is in its queue.
pub(super) async fn accepted(
    keys: Keys,
    id: u64,
    wake: Arc<Notify>,
    peer: NodeName,
    stream: TcpStream,
    _permit: OwnedSemaphorePermit,
) {
    Task { keys, id, wake, peer }.run(stream).await;
}

struct Task {
    keys: Keys,
    id: u64,
    wake: Arc<Notify>,
    peer: NodeName,
}

impl Task {
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
        let wiring = self.keys.wiring();
        if let Err(error) = &result {
            if matches!(error, LinkError::TooLong(_) | LinkError::Decode(_)) {
                wiring.counters.packets_refused.add(1);
            }
            tracing::debug!(node = %wiring.me.name, peer = %self.peer, %error, "a connection of the store ended");
        }
        self.keys.ended(self.id, goodbye);
    }

    /// Reads until the other side closes, with a goodbye or without, which is an error.
    async fn read(&self, mut stream: OwnedReadHalf, goodbye: &mut bool) -> Result<(), LinkError> {
        let wiring = self.keys.wiring();
        let (mut inbox, mut packets, mut faults) = (Inbox::default(), Vec::new(), wiring.faults.clone());
        loop {
            let count = poll_fn(|cx| {
                let mut shared = self.keys.buffer();
                let mut buffer = ReadBuf::new(&mut shared);
                std::task::ready!(Pin::new(&mut stream).poll_read(cx, &mut buffer))?;
                inbox.bytes.extend_from_slice(buffer.filled());
                Poll::Ready(Ok::<usize, std::io::Error>(buffer.filled().len()))
            });
            let count = count.await;
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
                wiring.counters.packet_bytes_in.add(frame.len());
                packets.push(wiring.codec.decode(frame)?);
            }
            inbox.tidy();
            wiring.counters.packets_in.add(packets.len());
            if !self.keys.received(self.id, &self.peer, &mut packets, inbox.is_partial(), *goodbye) {
                return Ok(()); // given up meanwhile
            }
        }
    }

    /// Writes until the line is closed and nothing waits for it any more, then says goodbye. The half is handed back,
    /// because dropping it closes the connection.
    async fn write(&self, mut stream: OwnedWriteHalf) -> Result<OwnedWriteHalf, LinkError> {
        let mut faults = self.keys.wiring().faults.clone();
        let mut spare = Vec::new();
        loop {
            match self.keys.next(self.id, std::mem::take(&mut spare)) {
                // How long a write may take is watched from outside, for all lines at once.
                Next::Write(bytes) => {
                    stream.write_all(&bytes).await?;
                    spare = bytes;
                    spare.clear();
                }
                Next::Wait => self.wake.notified().await,
                Next::At(due) => {
                    if arrival(&mut faults, &self.peer, Some(due), None).await {
                        self.keys.arrived(self.id);
                    } else {
                        return Ok(stream); // the node is going away
                    }
                }
                Next::Close => {
                    let patience = self.keys.wiring().limits.frame_timeout;
                    timeout(patience, stream.write_all(&[0; 4])).await??;
                    timeout(patience, stream.shutdown()).await??;
                    return Ok(stream);
                }
            }
        }
    }
}

/// Bytes that came in, as frames.
#[derive(Debug, Default)]
struct Inbox {
    bytes: Vec<u8>,
    /// How many of them have been taken.
    taken: usize,
}

impl Inbox {
    /// The next whole frame, without its length; empty for a goodbye.
    fn frame(&mut self) -> Result<Option<&[u8]>, LinkError> {
        let rest = &self.bytes[self.taken..];
        let Some((length, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(*length) as usize;
        if length > PACKET_MAX_BYTES + ENVELOPE_MAX_BYTES {
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
            let (mut inbox, mut frames) = (Inbox::default(), Vec::new());
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
        let mut inbox = Inbox::default();
        let longest = u32::try_from(PACKET_MAX_BYTES + ENVELOPE_MAX_BYTES).unwrap();
        inbox.bytes.extend_from_slice(&longest.to_be_bytes());
        assert!(inbox.frame().unwrap().is_none() && inbox.is_partial());
        assert!(inbox.bytes.capacity() < 1_024);
        let mut inbox = Inbox { bytes: (longest + 1).to_be_bytes().to_vec(), taken: 0 };
        assert!(matches!(inbox.frame(), Err(LinkError::TooLong(_))));
    }
}
