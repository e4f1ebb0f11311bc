//! Links: one TCP connection to each overlay neighbour, a task for each, and the table that says which.
//!
//! ```text
//! dialler                                   acceptor
//!   │ preface, Hello ─────────────────────────▶ │ the table decides: keep or close
//!   │ ◀───────────────────────────────── Hello  │
//!   │ frames ◀──────────────────────────▶ frames│ u32 length, envelope
//! ```
//! The loop never waits for a link: it hands a frame to the link's queue, and the link's task writes it. A queue past its
//! mark makes the link *crowded*, of which the broadcast is told and pushes no more messages until it has drained; a queue
//! that is full closes its link and is counted, rather than losing a frame in silence.
//!
//! **At most one link per peer.** When both dial at once, both keep the one dialled by the smaller name: that one's
//! acceptor gives up its own dial, the other's refuses. A link that is up is replaced only by one from a later life of the
//! peer, or by one the peer dialled anew, which it does only when it has lost the old one.
//!
//! **Goodbye or not.** A link whose last frame was `Disconnect` or `Refuse` ended by intent; any other end, and every
//! deadline missed, is news for the membership (`LinkLost`). Whoever closes by intent writes out its queue, says so with
//! a FIN, and reads on until the other side has closed too, so that no reset eats the last frame.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use p2pnet_shared::{
    Epoch, NodeName,
    wire::{Codec, DecodeError, ENVELOPE_MAX_BYTES, FRAME_MAX_BYTES, Hello, LINK_PREFACE, broadcast::Frame},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{
        OwnedSemaphorePermit,
        mpsc::{self, error::TrySendError},
    },
    task::{AbortHandle, JoinSet},
    time::timeout,
};

use super::{
    faults::{Pace, Watched, open_both_ways, open_from, travel},
    metrics::Counters,
};
use crate::config::Limits;

/// Events of all links waiting for the loop. When full the links' tasks wait, and so do their senders.
const EVENTS: usize = 256;
/// How long we wait for the other side to close after we did.
const LINGER: Duration = Duration::from_secs(1);

/// How often one waits for the other in a dial: the handshake there and back, the Hello.
const DIAL_LEGS: u32 = 3;

/// What a link's task tells the table.
#[derive(Debug)]
pub(super) enum Event {
    /// Somebody dialled us and said who it is.
    Greeted { hello: Hello, stream: BufReader<TcpStream>, permit: OwnedSemaphorePermit },
    /// Our dial was answered.
    Dialled { id: u64, peer: NodeName, hello: Hello, stream: BufReader<TcpStream> },
    /// Our dial came to nothing.
    DialFailed { id: u64, peer: NodeName, error: LinkError },
    /// A frame.
    Received { id: u64, from: NodeName, frame: Frame },
    /// Half of what made the link crowded has been written.
    Drained { id: u64, peer: NodeName },
    /// The link is no more.
    Ended { id: u64, peer: NodeName, goodbye: bool },
}

/// What the table tells the protocols.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    /// There is a link.
    Up(NodeName),
    /// There is none, or the dial failed.
    Down(NodeName),
    /// It broke without a goodbye. `Down` follows.
    Lost(NodeName, Epoch),
    /// What made the link crowded has been written.
    Clear(NodeName),
    /// A frame came.
    Frame(NodeName, Frame),
}

/// What became of a frame that was handed to a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// It waits, or there is no link any more and the protocol has been told or is about to be.
    Fine,
    /// It waits, and with it the link has become crowded: until `Clear`.
    Crowded,
    /// There was no room, and the link is therefore gone.
    Overflowed,
}

/// What waits for one link, kept by the table and the link's task together.
#[derive(Debug, Default)]
struct Waiting {
    frames: AtomicUsize,
    bytes: AtomicUsize,
    crowded: AtomicBool,
}

impl Waiting {
    fn add(&self, bytes: usize) -> (usize, usize) {
        (self.frames.fetch_add(1, Relaxed) + 1, self.bytes.fetch_add(bytes, Relaxed) + bytes)
    }

    /// A frame was written; true if the link is crowded no more by that.
    fn written(&self, bytes: usize, limits: &Limits) -> bool {
        let frames = self.frames.fetch_sub(1, Relaxed) - 1;
        let bytes = self.bytes.fetch_sub(bytes, Relaxed) - bytes;
        let is_clear = frames <= limits.link_crowded / 2 && bytes <= limits.link_crowded_bytes / 2;
        is_clear && self.crowded.swap(false, Relaxed)
    }
}

/// Why a link did not come up or ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error("it took too long")]
    Slow(#[from] tokio::time::error::Elapsed),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("a frame of {0} bytes, more than the limit")]
    TooLong(usize),
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("`{0}` answered instead")]
    SomebodyElse(NodeName),
}

#[derive(Debug)]
struct Slot {
    id: u64,
    dialled_by_us: bool,
    task: AbortHandle,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Dialling,
    Up {
        epoch: Epoch,
        queue: mpsc::Sender<Vec<u8>>,
        waiting: Arc<Waiting>,
    },
    /// What was queued is being written out.
    Closing,
}

/// What every link's task needs.
#[derive(Debug, Clone)]
pub(super) struct Wiring {
    pub(super) me: Hello,
    pub(super) codec: Codec,
    pub(super) limits: Arc<Limits>,
    pub(super) counters: Arc<Counters>,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) faults: Watched,
}

/// Every link there is.
#[derive(Debug)]
pub(super) struct Links {
    wiring: Wiring,
    events: mpsc::Receiver<Event>,
    slots: HashMap<NodeName, Slot>,
    tasks: JoinSet<()>,
    ids: u64,
}

impl Links {
    pub(super) fn new(me: Hello, codec: Codec, limits: Arc<Limits>, counters: Arc<Counters>, faults: Watched) -> Self {
        let (sender, events) = mpsc::channel(EVENTS);
        let wiring = Wiring { me, codec, limits, counters, events: sender, faults };
        Self { wiring, events, slots: HashMap::new(), tasks: JoinSet::new(), ids: 0 }
    }

    /// For the listener, which greets those who dial us.
    pub(super) fn wiring(&self) -> Wiring {
        self.wiring.clone()
    }

    /// How many links are up.
    pub(super) fn up(&self) -> usize {
        self.slots.values().filter(|slot| matches!(slot.stage, Stage::Up { .. })).count()
    }

    /// The next event; it is to be given to [`Links::on`]. Safe to drop half-way.
    pub(super) async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// Dials, unless there is a link already.
    pub(super) fn dial(&mut self, peer: NodeName, addr: SocketAddr) {
        if self.slots.contains_key(&peer) {
            return;
        }
        self.ids += 1;
        let task = self.tasks.spawn(dial(self.wiring.clone(), self.ids, peer.clone(), addr));
        self.slots.insert(peer, Slot { id: self.ids, dialled_by_us: true, task, stage: Stage::Dialling });
    }

    /// Hands a frame to the link.
    pub(super) fn send(&mut self, to: &NodeName, frame: &Frame) -> Sent {
        let Some(Slot { stage: Stage::Up { queue, waiting, .. }, .. }) = self.slots.get(to) else {
            return Sent::Fine;
        };
        let bytes = self.wiring.codec.encode_frame(frame);
        let (length, limits) = (bytes.len(), &self.wiring.limits);
        let has_room = waiting.bytes.load(Relaxed) + length <= limits.link_queue_bytes;
        match if has_room { queue.try_send(bytes) } else { Err(TrySendError::Full(bytes)) } {
            Ok(()) => {
                self.wiring.counters.frames_out.add(1);
                self.wiring.counters.frame_bytes_out.add(length);
                let (frames, bytes) = waiting.add(length);
                let past = frames > limits.link_crowded || bytes > limits.link_crowded_bytes;
                if past && !waiting.crowded.swap(true, Relaxed) {
                    self.wiring.counters.links_crowded.add(1);
                    return Sent::Crowded;
                }
                Sent::Fine
            }
            Err(TrySendError::Closed(_)) => Sent::Fine, // its end is among the events
            Err(TrySendError::Full(_)) => {
                self.wiring.counters.links_overflowed.add(1);
                if let Some(slot) = self.slots.remove(to) {
                    slot.task.abort();
                }
                Sent::Overflowed
            }
        }
    }

    /// Closes the link once what was handed to it is written; `Down` follows.
    pub(super) fn close(&mut self, peer: &NodeName, news: &mut Vec<News>) {
        match self.slots.get_mut(peer) {
            Some(slot @ Slot { stage: Stage::Up { .. }, .. }) => slot.stage = Stage::Closing,
            Some(Slot { stage: Stage::Dialling, .. }) => {
                if let Some(slot) = self.slots.remove(peer) {
                    slot.task.abort();
                }
                news.push(News::Down(peer.clone()));
            }
            Some(Slot { stage: Stage::Closing, .. }) | None => {}
        }
    }

    /// Says goodbye on every link and waits for the last word to be written, but not for long.
    pub(super) async fn leave(&mut self, patience: Duration) {
        let peers: Vec<NodeName> = self.slots.keys().cloned().collect();
        for peer in peers {
            let _ = self.send(&peer, &Frame::Disconnect);
            self.close(&peer, &mut Vec::new());
        }
        self.events.close();
        let _ = timeout(patience, async { while self.tasks.join_next().await.is_some() {} }).await;
    }

    /// One event; what the protocols are to know is pushed onto `news`.
    pub(super) fn on(&mut self, event: Event, news: &mut Vec<News>) {
        while self.tasks.try_join_next().is_some() {}
        match event {
            Event::Greeted { hello, stream, permit } => self.on_greeted(hello, stream, permit, news),
            Event::Dialled { id, peer, hello, stream } => {
                if self.holds(&peer, id) {
                    self.begin(peer, hello.epoch, stream, None, true, news);
                }
            }
            Event::DialFailed { id, peer, error } => {
                if self.holds(&peer, id) {
                    tracing::debug!(node = %self.wiring.me.name, %peer, %error, "could not dial");
                    self.slots.remove(&peer);
                    news.push(News::Down(peer));
                }
            }
            Event::Received { id, from, frame } => {
                if self.holds(&from, id) && !matches!(self.slots[&from].stage, Stage::Closing) {
                    news.push(News::Frame(from, frame));
                }
            }
            Event::Drained { id, peer } => {
                if self.holds(&peer, id) {
                    news.push(News::Clear(peer));
                }
            }
            Event::Ended { id, peer, goodbye } => {
                if !self.holds(&peer, id) {
                    return;
                }
                if let Some(Slot { stage: Stage::Up { epoch, .. }, .. }) = self.slots.remove(&peer)
                    && !goodbye
                {
                    news.push(News::Lost(peer.clone(), epoch));
                }
                news.push(News::Down(peer));
            }
        }
    }

    fn holds(&self, peer: &NodeName, id: u64) -> bool {
        self.slots.get(peer).is_some_and(|slot| slot.id == id)
    }

    fn on_greeted(
        &mut self,
        hello: Hello,
        stream: BufReader<TcpStream>,
        permit: OwnedSemaphorePermit,
        news: &mut Vec<News>,
    ) {
        let peer = hello.name;
        let keep = peer != self.wiring.me.name
            && self.slots.get(&peer).is_none_or(|slot| match slot.stage {
                Stage::Dialling => peer < self.wiring.me.name,
                Stage::Up { epoch, .. } => {
                    let crossed = slot.dialled_by_us && self.wiring.me.name < peer;
                    hello.epoch > epoch || (hello.epoch == epoch && !crossed)
                }
                Stage::Closing => true,
            });
        if !keep {
            self.wiring.counters.links_refused.add(1);
            return; // dropping the stream closes it
        }
        if let Some(old) = self.slots.remove(&peer) {
            // A task that is writing out its queue may finish; whatever it says from now on is not heard.
            if !matches!(old.stage, Stage::Closing) {
                old.task.abort();
            }
            if !matches!(old.stage, Stage::Dialling) {
                news.push(News::Down(peer.clone()));
            }
        }
        self.begin(peer, hello.epoch, stream, Some(permit), false, news);
    }

    fn begin(
        &mut self,
        peer: NodeName,
        epoch: Epoch,
        stream: BufReader<TcpStream>,
        permit: Option<OwnedSemaphorePermit>,
        dialled_by_us: bool,
        news: &mut Vec<News>,
    ) {
        let (queue, frames) = mpsc::channel(self.wiring.limits.link_queue);
        let waiting = Arc::new(Waiting::default());
        if !dialled_by_us {
            let hello = self.wiring.codec.encode_frame(&self.wiring.me);
            waiting.add(hello.len());
            queue.try_send(hello).expect("a new queue has room for one");
        }
        self.ids += 1;
        let task = Task { wiring: self.wiring.clone(), id: self.ids, peer: peer.clone(), waiting: waiting.clone() };
        let task = self.tasks.spawn(task.run(stream, frames, permit));
        self.slots.insert(
            peer.clone(),
            Slot { id: self.ids, dialled_by_us, task, stage: Stage::Up { epoch, queue, waiting } },
        );
        news.push(News::Up(peer));
    }
}

/// Reads what a dialler says after its preface. The table answers.
pub(super) async fn greet(wiring: Wiring, stream: TcpStream, permit: OwnedSemaphorePermit) {
    let mut stream = BufReader::with_capacity(2 * 1024, stream);
    let patience = wiring.limits.dial_timeout;
    let greeting = async {
        let hello = read_greeting(&wiring, &mut stream).await?;
        open_both_ways(&mut wiring.faults.clone(), Some(&hello.name)).await;
        Ok::<_, LinkError>(hello)
    };
    match timeout(patience, greeting).await {
        Ok(Ok(hello)) => {
            let _ = wiring.events.send(Event::Greeted { hello, stream, permit }).await;
        }
        Ok(Err(error)) => {
            wiring.counters.links_refused.add(1);
            tracing::debug!(node = %wiring.me.name, %error, "a link was refused");
        }
        Err(_) => wiring.counters.links_refused.add(1),
    }
}

async fn read_greeting(wiring: &Wiring, stream: &mut BufReader<TcpStream>) -> Result<Hello, LinkError> {
    stream.get_ref().set_nodelay(true)?;
    read_hello(wiring, stream).await
}

async fn read_hello(wiring: &Wiring, stream: &mut BufReader<TcpStream>) -> Result<Hello, LinkError> {
    let mut bytes = Vec::new();
    read_frame(stream, &mut bytes, wiring.limits.frame_timeout).await?;
    Ok(wiring.codec.decode(&bytes)?)
}

async fn dial(wiring: Wiring, id: u64, peer: NodeName, addr: SocketAddr) {
    let attempt = async {
        open_both_ways(&mut wiring.faults.clone(), Some(&peer)).await;
        tokio::time::sleep(travel(&wiring.faults, Some(&peer), DIAL_LEGS)).await;
        let mut stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        let mut first = LINK_PREFACE.to_vec();
        first.extend(wiring.codec.encode_frame(&wiring.me));
        stream.write_all(&first).await?;
        let mut stream = BufReader::with_capacity(2 * 1024, stream);
        let hello = read_hello(&wiring, &mut stream).await?;
        if hello.name == peer { Ok((hello, stream)) } else { Err(LinkError::SomebodyElse(hello.name)) }
    };
    let event = match timeout(wiring.limits.dial_timeout, attempt).await {
        Ok(Ok((hello, stream))) => Event::Dialled { id, peer, hello, stream },
        Ok(Err(error)) => Event::DialFailed { id, peer, error },
        Err(slow) => Event::DialFailed { id, peer, error: slow.into() },
    };
    let _ = wiring.events.send(event).await;
}

/// One link that is up.
struct Task {
    wiring: Wiring,
    id: u64,
    peer: NodeName,
    waiting: Arc<Waiting>,
}

impl Task {
    async fn run(
        self,
        stream: BufReader<TcpStream>,
        frames: mpsc::Receiver<Vec<u8>>,
        _permit: Option<OwnedSemaphorePermit>,
    ) {
        // What was read together with the Hello is still in the buffer and is read first.
        let early = stream.buffer().to_vec();
        let (read_half, write_half) = stream.into_inner().into_split();
        let mut reader = BufReader::with_capacity(2 * 1024, io::Cursor::new(early).chain(read_half));
        let mut goodbye = false;
        let result = {
            let reading = self.read(&mut reader, &mut goodbye);
            let writing = self.write(write_half, frames);
            tokio::pin!(reading, writing);
            tokio::select! {
                result = &mut reading => result,
                written = &mut writing => match written {
                    Ok(_half) => timeout(LINGER, reading).await.unwrap_or(Ok(())),
                    Err(error) => Err(error),
                },
            }
        };
        if let Err(error) = result {
            if matches!(error, LinkError::TooLong(_) | LinkError::Decode(_)) {
                self.wiring.counters.frames_refused.add(1);
            }
            tracing::debug!(node = %self.wiring.me.name, peer = %self.peer, %error, "a link ended");
        }
        let _ = self.wiring.events.send(Event::Ended { id: self.id, peer: self.peer, goodbye }).await;
    }

    /// Reads until the other side closes.
    async fn read(
        &self,
        stream: &mut BufReader<tokio::io::Chain<io::Cursor<Vec<u8>>, OwnedReadHalf>>,
        goodbye: &mut bool,
    ) -> Result<(), LinkError> {
        let (mut bytes, mut faults) = (Vec::new(), self.wiring.faults.clone());
        loop {
            let read = read_frame(stream, &mut bytes, self.wiring.limits.frame_timeout).await;
            open_from(&mut faults, &self.peer).await;
            match read {
                Err(LinkError::Io(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                result => result?,
            }
            self.wiring.counters.frames_in.add(1);
            self.wiring.counters.frame_bytes_in.add(bytes.len());
            let frame: Frame = self.wiring.codec.decode(&bytes)?;
            *goodbye = matches!(frame, Frame::Disconnect | Frame::Refuse);
            let event = Event::Received { id: self.id, from: self.peer.clone(), frame };
            if self.wiring.events.send(event).await.is_err() {
                return Ok(()); // the node is going away
            }
        }
    }

    /// Writes until the queue is closed and empty. The half is handed back, because dropping it closes the connection.
    async fn write(
        &self,
        mut stream: OwnedWriteHalf,
        mut frames: mpsc::Receiver<Vec<u8>>,
    ) -> Result<OwnedWriteHalf, LinkError> {
        let limits = &self.wiring.limits;
        let mut pace =
            Pace::new(self.wiring.faults.clone(), self.peer.clone(), limits.link_queue, limits.frame_timeout);
        while let Some(frame) = pace.next(&mut frames).await {
            timeout(self.wiring.limits.frame_timeout, stream.write_all(&frame)).await??;
            if self.waiting.written(frame.len(), &self.wiring.limits) {
                let _ = self.wiring.events.send(Event::Drained { id: self.id, peer: self.peer.clone() }).await;
            }
        }
        timeout(self.wiring.limits.frame_timeout, stream.shutdown()).await??;
        Ok(stream)
    }
}

/// Reads one frame into `frame`. Silence between frames is no fault (whether the peer lives is the membership's question),
/// but a frame that has begun must end in time. `frame` grows only as bytes arrive: a length alone buys nobody memory.
pub(super) async fn read_frame(
    stream: &mut (impl AsyncRead + Unpin),
    frame: &mut Vec<u8>,
    patience: Duration,
) -> Result<(), LinkError> {
    let length = stream.read_u32().await? as usize;
    if length > FRAME_MAX_BYTES + ENVELOPE_MAX_BYTES {
        return Err(LinkError::TooLong(length));
    }
    frame.clear();
    frame.shrink_to(4 * 1024);
    let read = timeout(patience, stream.take(length as u64).read_to_end(frame)).await??;
    if read < length {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok(())
}
