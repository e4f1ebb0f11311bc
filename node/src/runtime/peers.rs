//! Connections between any two nodes: dialled on demand, kept while they are used. The store's packets and those of the shared
//! folder go over connections of their own, each with its own [`Kind`] and its own [`Hub`]: a chunk of a file never stands
//! before a get of a key.
//!
//! ```text
//! dialler                                   acceptor
//!   │ preface, Hello ─────────────────────────▶ │ an earlier life of a name is refused
//!   │ ◀───────────────────────────────── Hello  │
//!   │ packets ◀────────────────────────▶ packets│ u32 length, envelope; many on their way, no order among calls
//!   │ empty frame: goodbye ───────────────────▶ │ who says it writes no more, and reads until the other has closed too
//! ```
//! A packet for a peer goes over the line that was last heard on; without one the peer is dialled, and the packet waits.
//! When both dial at once there are two lines, which does no harm. Everything that waits for a line goes out in one
//! write, and one read brings many packets (`line.rs`); chunks of files are neither copied into what is written (`outbox.rs`) nor
//! out of what was read (`inbox.rs`). Each kind has places of its own, so that neither the
//! overlay nor people at the HTTP side ever wait for the store or the folder.
//!
//! A line has room for `Limits::peer_queue_bytes`; when full it is closed, and the hub told that the peer is not
//! reached, unless the packet is one that may be lost, which then is. The same is said when a dial fails and when a line ends
//! without a goodbye: what was sent may be lost. A line that was not used for `Limits::peer_idle` ends with a goodbye, as
//! does the one used least when there are too many.
//!
//! Faults on purpose are obeyed as links obey them (`faults/stream.rs`).

mod inbox;
pub(super) mod line;
mod outbox;

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use bytes::Buf;
use p2pnet_shared::{
    Epoch, NodeName,
    wire::{Codec, FILES_PREFACE, Hello, LINK_PREFACE, PEER_PREFACE, dht, folder},
};
use tokio::{
    net::TcpStream,
    sync::{Notify, OwnedSemaphorePermit},
    task::{AbortHandle, JoinSet},
};

use self::outbox::Outbox;
use super::{
    Clock,
    alarm::Alarm,
    faults::{Watched, travel},
    hub::Hub,
    metrics::{Counters, Traffic},
    pool::Pool,
    timers::Wake,
};
use crate::{config::Limits, time::Millis};

/// How often idle and stuck lines are looked for.
const LOOK_PERIOD: Millis = Millis(1_000);
/// Lines to one peer: two dials that crossed. A third replaces the one heard on longest ago.
const LINES_MAX: usize = 2;
/// Bytes read at once, shared by all lines of a node: many packets, or a sixteenth of the largest.
const READ_BYTES: usize = 64 * 1024;

/// What tells one kind of lines from another.
#[derive(Debug)]
pub(super) struct Kind {
    /// Whose they are, for logs.
    pub(super) of: &'static str,
    /// What opens them.
    pub(super) preface: [u8; LINK_PREFACE.len()],
    /// Their largest packet, bytes.
    pub(super) packet_max: usize,
    traffic: fn(&Counters) -> &Traffic,
}

/// The store's.
pub(super) const STORE: Kind = Kind {
    of: "the store",
    preface: PEER_PREFACE,
    packet_max: dht::PACKET_MAX_BYTES,
    traffic: |counters| &counters.store,
};

/// The shared folder's.
pub(super) const FILES: Kind = Kind {
    of: "the folder",
    preface: FILES_PREFACE,
    packet_max: folder::FILES_PACKET_MAX_BYTES,
    traffic: |counters| &counters.files,
};

/// The buffer that all lines of a node read into.
#[derive(Debug, Clone)]
pub(super) struct Scratch(Arc<Mutex<Vec<u8>>>);

impl Scratch {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(vec![0; READ_BYTES])))
    }

    /// Not to be held over an await.
    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What every line needs.
#[derive(Debug)]
pub(super) struct Wiring {
    pub(super) kind: Kind,
    pub(super) me: Hello,
    pub(super) codec: Codec,
    pub(super) limits: Arc<Limits>,
    pub(super) counters: Arc<Counters>,
    pub(super) faults: Watched,
    pub(super) clock: Clock,
    pub(super) scratch: Scratch,
    pub(super) pool: Pool,
}

impl Wiring {
    /// What lines of this kind carried.
    pub(super) fn traffic(&self) -> &Traffic {
        (self.kind.traffic)(&self.counters)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Dialling,
    Up(Epoch),
    /// It is used no more: what waits is written, then goodbye.
    Closing,
}

/// One connection, as the table has it.
#[derive(Debug)]
struct Line {
    peer: NodeName,
    stage: Stage,
    /// Frames that may be written.
    ready: Outbox,
    /// Frames that a fault delays, in order, and when each arrives.
    paced: VecDeque<(Instant, Vec<u8>)>,
    paced_bytes: usize,
    wake: Arc<Notify>,
    task: AbortHandle,
    used: Millis,
    /// Since when its task is at one write.
    writing_since: Option<Millis>,
    /// Since when the rest of a frame is missing.
    partial_since: Option<Millis>,
}

impl Line {
    fn has_waiting(&self) -> bool {
        !self.ready.is_empty() || !self.paced.is_empty() || self.writing_since.is_some()
    }

    fn close(&mut self) {
        self.stage = Stage::Closing;
        self.wake.notify_one();
    }
}

/// What a line's task is to do next.
#[derive(Debug)]
pub(super) enum Next {
    /// Write this.
    Write(Outbox),
    /// Wait until there is something.
    Wait,
    /// Wait until the first delayed frame is due.
    At(Instant),
    /// Say goodbye.
    Close,
}

/// Every connection of one kind, and where members are reached. Belongs to a [`Hub`].
#[derive(Debug)]
pub(super) struct Peers {
    wiring: Arc<Wiring>,
    book: HashMap<NodeName, (SocketAddr, Epoch)>,
    lines: HashMap<u64, Line>,
    /// Over which line to send.
    chosen: HashMap<NodeName, u64>,
    tasks: JoinSet<()>,
    ids: u64,
    /// A look at the lines is due.
    is_watched: bool,
    has_left: bool,
}

impl Peers {
    pub(super) fn new(wiring: Arc<Wiring>) -> Self {
        Self {
            wiring,
            book: HashMap::new(),
            lines: HashMap::new(),
            chosen: HashMap::new(),
            tasks: JoinSet::new(),
            ids: 0,
            is_watched: false,
            has_left: false,
        }
    }

    /// How many connections are up.
    pub(super) fn up(&self) -> usize {
        self.lines.values().filter(|line| matches!(line.stage, Stage::Up(_))).count()
    }

    /// Whether there is none at all, and nothing kept for the next.
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.wiring.pool.is_empty()
    }

    /// A member is reached there from now on. True if lines to an earlier life of it were closed by that.
    pub(super) fn learn(&mut self, peer: &NodeName, addr: SocketAddr, epoch: Epoch) -> bool {
        self.book.insert(peer.clone(), (addr, epoch));
        let earlier = |line: &Line| line.peer == *peer && matches!(line.stage, Stage::Up(life) if life < epoch);
        let ids: Vec<u64> = self.lines.iter().filter(|(_, line)| earlier(line)).map(|(id, _)| *id).collect();
        ids.iter().for_each(|id| self.drop_line(*id));
        !ids.is_empty()
    }

    /// It is no member any more. Lines stay: it may be alive after all, and what it says is for the hub to judge.
    pub(super) fn forget(&mut self, peer: &NodeName) {
        self.book.remove(peer);
    }

    /// Hands over a packet; false if the peer cannot be reached: nobody knows where, or it reads nothing.
    pub(super) fn send<H: Hub>(&mut self, hub: &H, to: &NodeName, packet: &H::Packet) -> bool {
        let id = match self.chosen.get(to) {
            Some(id) => *id,
            None => match self.dial(hub, to) {
                Some(id) => id,
                None => return false,
            },
        };
        let wiring = self.wiring.clone();
        let now = wiring.clock.now();
        let Some(line) = self.lines.get_mut(&id) else { return false };
        let was_empty = line.ready.is_empty() && line.paced.is_empty();
        let before = line.ready.remaining() + line.paced_bytes;
        let room = wiring.limits.peer_queue_bytes;
        if before + H::weight(packet) > room && H::may_be_lost(packet) {
            wiring.traffic().packets_dropped.add(1);
            return true;
        }
        if line.paced.is_empty() && wiring.faults.borrow().is_calm() {
            line.ready.push(&wiring.codec, packet, H::weight(packet));
        } else {
            let frame = wiring.codec.encode_frame(packet);
            let due = Instant::now() + travel(&wiring.faults, Some(to), 1);
            // In order: nobody overtakes a frame that has to be sent again.
            let due = line.paced.back().map_or(due, |(before, _)| due.max(*before));
            line.paced_bytes += frame.len();
            line.paced.push_back((due, frame));
        }
        let after = line.ready.remaining() + line.paced_bytes;
        if after > room {
            wiring.traffic().overflowed.add(1);
            let of = wiring.kind.of;
            tracing::warn!(node = %wiring.me.name, peer = %to, "a connection of {of} had a full queue and is closed");
            self.drop_line(id);
            return false;
        }
        line.used = now;
        if was_empty {
            line.wake.notify_one();
        }
        wiring.traffic().packets_out.add(1);
        wiring.traffic().bytes_out.add(after - before);
        true
    }

    fn dial<H: Hub>(&mut self, hub: &H, peer: &NodeName) -> Option<u64> {
        let (addr, epoch) = *self.book.get(peer)?;
        self.make_room();
        self.wiring.traffic().dialled.add(1);
        Some(self.begin(peer, Stage::Dialling, |id, wake| line::dial(hub.clone(), id, wake, peer.clone(), addr, epoch)))
    }

    /// Somebody dialled us. Dropping the stream refuses, as whoever has left does.
    pub(super) fn accept<H: Hub>(&mut self, hub: &H, hello: Hello, stream: TcpStream, permit: OwnedSemaphorePermit) {
        if self.has_left {
            return;
        }
        let Hello { name: peer, epoch } = hello;
        let known = self.book.get(&peer).map(|(_, epoch)| *epoch);
        if peer == self.wiring.me.name || known.is_some_and(|known| epoch < known) {
            self.wiring.traffic().refused.add(1);
            return;
        }
        let same = |line: &&u64| self.lines[*line].peer == peer && matches!(self.lines[*line].stage, Stage::Up(_));
        let lines: Vec<u64> = self.lines.keys().filter(same).copied().collect();
        if lines.len() >= LINES_MAX
            && let Some(oldest) = lines.iter().min_by_key(|id| self.lines[*id].used)
        {
            self.close(*oldest);
        }
        let greeting = self.wiring.codec.encode_frame(&self.wiring.me);
        let id = self.begin(&peer, Stage::Up(epoch), |id, wake| {
            line::accepted(hub.clone(), id, wake, peer.clone(), stream, permit)
        });
        if let Some(line) = self.lines.get_mut(&id) {
            line.ready.push_frame(&greeting);
        }
    }

    fn begin<F: Future<Output = ()> + Send + 'static>(
        &mut self,
        peer: &NodeName,
        stage: Stage,
        task: impl FnOnce(u64, Arc<Notify>) -> F,
    ) -> u64 {
        while self.tasks.try_join_next().is_some() {}
        self.ids += 1;
        let (id, wake) = (self.ids, Arc::new(Notify::new()));
        let task = self.tasks.spawn(task(id, wake.clone()));
        let line = Line {
            peer: peer.clone(),
            stage,
            ready: Outbox::default(),
            paced: VecDeque::new(),
            paced_bytes: 0,
            wake,
            task,
            used: self.wiring.clock.now(),
            writing_since: None,
            partial_since: None,
        };
        self.lines.insert(id, line);
        self.chosen.insert(peer.clone(), id);
        id
    }

    /// Our dial was answered by that life of the peer. False if it is an earlier one than we know of by now.
    pub(super) fn answered(&mut self, id: u64, epoch: Epoch) -> bool {
        let Some(line) = self.lines.get_mut(&id) else { return false };
        if self.book.get(&line.peer).is_some_and(|(_, known)| epoch < *known) {
            return false;
        }
        line.stage = Stage::Up(epoch);
        true
    }

    /// What the line's task is to do; `spare` is its empty buffer, for what comes next.
    pub(super) fn next(&mut self, id: u64, spare: Outbox) -> Next {
        let now = self.wiring.clock.now();
        let Some(line) = self.lines.get_mut(&id) else { return Next::Close };
        line.writing_since = None;
        if !line.ready.is_empty() {
            line.writing_since = Some(now);
            Next::Write(std::mem::replace(&mut line.ready, spare))
        } else if let Some((due, _)) = line.paced.front() {
            Next::At(*due)
        } else if line.stage == Stage::Closing {
            Next::Close
        } else {
            line.ready = spare;
            Next::Wait
        }
    }

    /// The first delayed frame is due.
    pub(super) fn arrived(&mut self, id: u64) {
        let Some(line) = self.lines.get_mut(&id) else { return };
        if let Some((_, frame)) = line.paced.pop_front() {
            line.paced_bytes -= frame.len();
            line.ready.push_frame(&frame);
        }
    }

    /// Something was read; `is_partial` if a frame has begun and not ended. False if the line has been given up,
    /// or everything has.
    pub(super) fn heard(&mut self, id: u64, packets: usize, is_partial: bool) -> bool {
        let now = self.wiring.clock.now();
        let Some(line) = self.lines.get_mut(&id) else { return false };
        line.partial_since = match line.partial_since {
            Some(since) if is_partial && packets == 0 => Some(since),
            _ => is_partial.then_some(now),
        };
        if packets > 0 {
            line.used = now;
            if matches!(line.stage, Stage::Up(_)) && self.chosen.get(&line.peer) != Some(&id) {
                self.chosen.insert(line.peer.clone(), id);
            }
        }
        !self.has_left
    }

    /// The line is used no more: what waits for it is written, then it ends with a goodbye.
    pub(super) fn close(&mut self, id: u64) {
        let Some(line) = self.lines.get_mut(&id) else { return };
        line.close();
        let peer = line.peer.clone();
        self.choose_another(&peer, id);
    }

    /// A line's task ended. Says who is not reached by that, unless everything ends.
    pub(super) fn ended(&mut self, id: u64, goodbye: bool) -> Option<NodeName> {
        let line = self.lines.remove(&id)?;
        self.choose_another(&line.peer, id);
        if line.stage == Stage::Dialling {
            self.wiring.traffic().failed.add(1);
        }
        (!self.has_left && (!goodbye || line.has_waiting())).then_some(line.peer)
    }

    /// Has lines looked at in a while, for as long as there are any, or buffers of theirs.
    pub(super) fn watch(&mut self, alarm: &mut Alarm) {
        if !self.is_watched && !self.is_empty() {
            self.is_watched = true;
            alarm.set(self.wiring.clock.now() + LOOK_PERIOD, Wake::Peers);
        }
    }

    /// Ends those that are idle, and gives up those that are stuck; says who is not reached by that. To be called at
    /// [`Wake::Peers`].
    pub(super) fn look(&mut self, alarm: &mut Alarm) -> Vec<NodeName> {
        self.wiring.pool.rest();
        let (now, limits) = (self.wiring.clock.now(), self.wiring.limits.clone());
        let millis = |duration: std::time::Duration| Millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
        let longer = |since: Option<Millis>| since.is_some_and(|since| now - since > millis(limits.frame_timeout));
        let stuck = |line: &Line| longer(line.writing_since) || longer(line.partial_since);
        let idle = |line: &Line| {
            matches!(line.stage, Stage::Up(_)) && !line.has_waiting() && now - line.used >= millis(limits.peer_idle)
        };
        let idle: Vec<u64> = self.lines.iter().filter(|(_, line)| idle(line)).map(|(id, _)| *id).collect();
        idle.into_iter().for_each(|id| self.close(id));
        let stuck: Vec<u64> = self.lines.iter().filter(|(_, line)| stuck(line)).map(|(id, _)| *id).collect();
        let peers = stuck.iter().map(|id| self.lines[id].peer.clone()).collect();
        stuck.into_iter().for_each(|id| self.drop_line(id));
        self.is_watched = false;
        self.watch(alarm);
        peers
    }

    /// Says goodbye on every line, and hands over their tasks to be waited for.
    pub(super) fn leave(&mut self) -> JoinSet<()> {
        self.has_left = true;
        self.lines.values_mut().for_each(Line::close);
        self.chosen.clear();
        self.book.clear();
        std::mem::take(&mut self.tasks)
    }

    fn drop_line(&mut self, id: u64) {
        if let Some(line) = self.lines.remove(&id) {
            line.task.abort();
            self.choose_another(&line.peer, id);
        }
    }

    fn choose_another(&mut self, peer: &NodeName, gone: u64) {
        if self.chosen.get(peer) != Some(&gone) {
            return;
        }
        let up = |(id, line): &(&u64, &Line)| **id != gone && line.peer == *peer && matches!(line.stage, Stage::Up(_));
        match self.lines.iter().find(up).map(|(id, _)| *id) {
            Some(other) => self.chosen.insert(peer.clone(), other),
            None => self.chosen.remove(peer),
        };
    }

    /// Lets the line go that was used least recently when there are too many.
    fn make_room(&mut self) {
        if self.lines.len() < self.wiring.limits.peers {
            return;
        }
        let free = self.lines.iter().filter(|(_, line)| matches!(line.stage, Stage::Up(_)) && !line.has_waiting());
        if let Some(id) = free.min_by_key(|(_, line)| line.used).map(|(id, _)| *id) {
            self.close(id);
        }
    }
}

#[cfg(test)]
mod tests;
