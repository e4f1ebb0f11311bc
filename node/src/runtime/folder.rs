//! The shared folder at work: entered by whoever has something for it, like the store (`keys.rs`).
//!
//! ```text
//! http/files.rs ── ask ───────┐                       ┌─▶ peers.rs: packets, over connections of the folder's own
//! peers/line.rs ── received ──┤   ┌───────────────┐   ├─▶ disk.rs: threads that carry out orders ─▶ done
//! the loop      ── members ───┼──▶│ folder::State │───┼─▶ timers of its own
//! drive         ── timers ────┤   └───────────────┘   ├─▶ answers to whoever waits
//! disk, watch   ── done, touched                      └─▶ news.rs: what the gateway and /events are told
//! ```
//! What a user sends goes straight to a file of the folder's own (`disk/upload.rs`), and what a user fetches is read from the file itself
//! (`serve.rs`): the state only hears that it is there, and says where it is.
//!
//! A node without a folder has none of this, and costs nothing for it.

mod disk;
mod news;
mod report;
mod serve;
mod watch;

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use p2pnet_shared::{
    Epoch, FilePath, NodeName,
    telemetry::FolderCounts,
    wire::{
        Hello,
        folder::{Message, Root, Transfer},
    },
};
use tokio::{
    net::TcpStream,
    sync::{Notify, OwnedSemaphorePermit, mpsc, oneshot},
    time::timeout,
};

pub use self::disk::DiskTrouble;
use self::{
    disk::{Disk, Home},
    news::News,
    watch::Watch,
};
pub(super) use self::{
    disk::{Received, Upload},
    serve::{Opened, Pieces},
};
use super::{
    peers::{Hub, LOOK_PERIOD, Peers, Wiring},
    timers::{Timers, Wake},
};
use crate::{
    folder::{Answer, Config, Done, Effect, Input, OrderId, Request, State, Trouble},
    time::Millis,
};

/// Timers and answers of the disk handled before others have their turn.
const TURN: usize = 64;
/// What the watch has seen and the folder has not: when full, the watch says that anything may have changed.
const TOUCHED_MAX: usize = 256;
/// About how many bytes an entry takes in a packet.
const ENTRY_BYTES: usize = 256;

/// The folder, as everybody in the runtime reaches it. Cheap to clone.
#[derive(Clone)]
pub(super) struct Folder(Arc<Shared>);

impl std::fmt::Debug for Folder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Folder").field("me", &self.wiring().me).finish_non_exhaustive()
    }
}

struct Shared {
    wiring: Arc<Wiring>,
    home: Arc<Home>,
    /// Nodes that must have an upload for a 201.
    copies: u8,
    inner: Mutex<Inner>,
    /// A timer was set that is due before the one slept for.
    earlier: Notify,
    /// There is news to be reported.
    news: Notify,
}

struct Inner {
    state: State,
    /// Empty between two inputs; kept for its memory.
    effects: Vec<Effect>,
    /// Inputs that effects have led to; empty between two inputs from outside.
    pending: VecDeque<Input>,
    /// Until the node leaves.
    disk: Option<Disk>,
    /// Until the node leaves, if the host allows it.
    watch: Option<Watch>,
    peers: Peers,
    timers: Timers,
    /// Until when [`Folder::drive`] sleeps.
    sleeps_until: Option<Millis>,
    looks_at_peers: bool,
    asked: u64,
    /// The question that is being put, and its answer if it came at once.
    at_once: Option<(u64, Option<Answer>)>,
    waiting: HashMap<u64, oneshot::Sender<Answer>>,
    news: News,
    leaving: bool,
}

/// What became of a question.
#[derive(Debug)]
pub(super) enum Asked {
    /// It is answered.
    Now(Answer),
    /// It will be, or the sender is dropped because the node leaves.
    Later(oneshot::Receiver<Answer>),
    /// Too many others wait.
    Busy,
    /// The node is leaving.
    Leaving,
}

/// What disk and watch will say.
#[derive(Debug)]
pub(super) struct Outcomes {
    done: mpsc::UnboundedReceiver<(OrderId, Done)>,
    touched: mpsc::Receiver<Input>,
}

impl Folder {
    /// Opens the folder at `path`, which is made if it is not there.
    pub(super) fn open(
        path: &Path,
        wiring: Wiring,
        config: Config,
        seed: u64,
    ) -> Result<(Self, Outcomes), DiskTrouble> {
        let Hello { name, epoch } = wiring.me.clone();
        // As many as there are orders, and as the folder has files for a look at everything.
        let (tell, done) = mpsc::unbounded_channel();
        let (disk, opened) = Disk::open(path, &name, tell, wiring.pool.clone())?;
        let (tell, touched) = mpsc::channel(TOUCHED_MAX);
        let watch = Watch::start(&disk, tell);
        let (copies, home) = (config.copies, disk.home());
        let wiring = Arc::new(wiring);
        let mut inner = Inner {
            state: State::new(name, epoch, config, seed, opened.rows, opened.is_new),
            effects: Vec::new(),
            pending: VecDeque::new(),
            disk: Some(disk),
            watch: None,
            peers: Peers::new(wiring.clone()),
            timers: Timers::default(),
            sleeps_until: None,
            looks_at_peers: false,
            asked: 0,
            at_once: None,
            waiting: HashMap::new(),
            news: News::default(),
            leaving: false,
        };
        if watch.is_none() {
            inner.pending.push_back(Input::Watching(false));
        }
        inner.watch = watch;
        let (inner, earlier, news) = (Mutex::new(inner), Notify::new(), Notify::new());
        Ok((Self(Arc::new(Shared { wiring, home, copies, inner, earlier, news })), Outcomes { done, touched }))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.inner.lock().expect("the folder never panics, and whoever holds the lock does nothing else")
    }

    /// Begins. To be called once, before anything else.
    pub(super) fn start(&self) {
        let mut inner = self.inner();
        let Inner { state, effects, .. } = &mut *inner;
        state.start(self.now(), effects);
        inner.carry_out(self);
        inner.settle(self);
    }

    fn now(&self) -> Millis {
        self.wiring().clock.now()
    }

    /// Nodes that must have an upload on disk for it to be safe, this one included.
    pub(super) fn copies(&self) -> u8 {
        self.0.copies
    }

    /// Asks on behalf of a user of this node.
    pub(super) fn ask(&self, request: Request) -> Asked {
        self.inner().ask(self, request)
    }

    /// The same, if what is under `path` now has the contents `expected` says yes to. Nothing happens in between.
    pub(super) fn ask_if(
        &self,
        path: &FilePath,
        request: Request,
        expected: impl FnOnce(Option<&Root>) -> bool,
    ) -> Option<Asked> {
        let mut inner = self.inner();
        let now = inner.state.shown(path);
        expected(now.as_ref()).then(|| inner.ask(self, request))
    }

    /// A file for what a user sends.
    ///
    /// # Errors
    /// It cannot be made; [`Trouble::NoFolder`] also when the node is leaving.
    pub(super) fn upload(&self) -> Result<Upload, Trouble> {
        let inner = self.inner();
        let disk = inner.disk.as_ref().ok_or(Trouble::NoFolder)?;
        disk.upload().map_err(|error| match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Trouble::Full,
            _ => Trouble::Broken,
        })
    }

    /// What a user sent is wanted no more.
    pub(super) fn forget(&self, upload: u64) {
        if let Some(disk) = &self.inner().disk {
            disk.forget(upload);
        }
    }

    /// Its numbers.
    pub(super) fn counts(&self) -> FolderCounts {
        self.inner().state.counts()
    }

    /// How many connections to other nodes are up.
    pub(super) fn connections(&self) -> usize {
        self.inner().peers.up()
    }

    /// The worst lateness of a timer since it was last taken.
    pub(super) fn late_max(&self) -> Millis {
        self.inner().timers.late_max()
    }

    /// The same, and begins anew.
    pub(super) fn take_late_max(&self) -> Millis {
        self.inner().timers.take_late_max()
    }

    /// Looks at what is to be told, and marks what has been.
    pub(super) fn with_news<T>(&self, tell: impl FnOnce(&mut News, &State) -> T) -> T {
        let Inner { news, state, .. } = &mut *self.inner();
        tell(news, state)
    }

    /// Waits until there is something to be told. Safe to drop half-way.
    pub(super) async fn news(&self) {
        self.0.news.notified().await;
    }

    /// A member is believed alive, there and in that life.
    pub(super) fn member_up(&self, name: &NodeName, addr: SocketAddr, epoch: Epoch) {
        let mut inner = self.inner();
        if inner.peers.learn(name, addr, epoch) {
            inner.feed(self, Input::Unreachable { peer: name.clone() });
        }
        inner.feed(self, Input::MemberUp { name: name.clone(), epoch });
    }

    /// It died or left.
    pub(super) fn member_down(&self, name: &NodeName) {
        let mut inner = self.inner();
        inner.peers.forget(name);
        inner.feed(self, Input::MemberDown { name: name.clone() });
    }

    /// Fires timers and looks after connections, for as long as the node lives.
    pub(super) async fn drive(self) {
        loop {
            let due = self.inner().next_due();
            tokio::select! {
                () = self.wiring().clock.sleep_until(due) => self.on_timers(),
                () = self.0.earlier.notified() => {}
            }
        }
    }

    /// Hears what became of orders and what the watch saw, for as long as the node lives.
    pub(super) async fn hear(self, Outcomes { mut done, mut touched }: Outcomes) {
        let (mut orders, mut inputs) = (Vec::with_capacity(TURN), Vec::with_capacity(TURN));
        loop {
            tokio::select! {
                count = done.recv_many(&mut orders, TURN) => if count == 0 { return },
                // Without a watch nothing comes, ever.
                count = touched.recv_many(&mut inputs, TURN), if !touched.is_closed() || !touched.is_empty() => {
                    if count == 0 {
                        continue;
                    }
                }
            }
            {
                let mut inner = self.inner();
                for (order, done) in orders.drain(..) {
                    inner.feed(&self, Input::Done { order, done });
                }
                for input in inputs.drain(..) {
                    inner.feed(&self, input);
                }
            }
            tokio::task::yield_now().await; // others have their turn: a disk answers thousands of times a second
        }
    }

    fn on_timers(&self) {
        let mut inner = self.inner();
        for _ in 0..TURN {
            match inner.timers.pop(self.now()) {
                Some(Wake::Folder(timer)) => inner.feed(self, Input::TimerFired(timer)),
                Some(Wake::Peers) => inner.look_at_peers(self),
                Some(_) => {}
                None => return,
            }
        }
    }

    /// Says goodbye to everybody, and is gone within `patience` and what the disk needs for what is under way.
    pub(super) async fn leave(&self, patience: Duration) {
        let (mut tasks, mut disk) = {
            let mut inner = self.inner();
            inner.leaving = true;
            inner.waiting.clear(); // whoever waits is told that we leave
            inner.watch = None;
            (inner.peers.leave(), inner.disk.take())
        };
        if let Some(disk) = &mut disk {
            disk.close();
        }
        let _ = timeout(patience, async { while tasks.join_next().await.is_some() {} }).await;
        drop(disk); // what is not on disk by now is waited for
    }

    /// Ends every task, so that nothing keeps the folder alive.
    fn stop(&self) {
        let ended = {
            let mut inner = self.0.inner.lock().unwrap_or_else(PoisonError::into_inner);
            inner.leaving = true;
            inner.waiting.clear();
            (inner.peers.leave(), inner.watch.take(), inner.disk.take())
        };
        drop(ended); // without the lock
    }
}

impl Hub for Folder {
    type Packet = Message;

    fn wiring(&self) -> &Arc<Wiring> {
        &self.0.wiring
    }

    fn peers<T>(&self, act: impl FnOnce(&mut Peers) -> T) -> T {
        act(&mut self.inner().peers)
    }

    fn accepted(&self, hello: Hello, stream: TcpStream, permit: OwnedSemaphorePermit) {
        let mut inner = self.inner();
        if !inner.leaving {
            inner.peers.accept(self, hello, stream, permit);
            inner.watch_peers(self);
        }
    }

    fn received(&self, id: u64, from: &NodeName, packets: &mut Vec<Message>, is_partial: bool, goodbye: bool) -> bool {
        let mut inner = self.inner();
        if !inner.peers.heard(id, packets.len(), is_partial) || inner.leaving {
            return false;
        }
        for message in packets.drain(..) {
            inner.feed(self, Input::Received { from: from.clone(), message });
        }
        if goodbye {
            inner.peers.close(id);
        }
        true
    }

    fn ended(&self, id: u64, goodbye: bool) {
        let mut inner = self.inner();
        if let Some(peer) = inner.peers.ended(id, goodbye)
            && !inner.leaving
        {
            inner.feed(self, Input::Unreachable { peer });
        }
    }

    fn may_be_lost(message: &Message) -> bool {
        matches!(message, Message::Push { .. })
    }

    fn weight(message: &Message) -> usize {
        match message {
            Message::Transfer(Transfer::Chunk { bytes, .. }) => bytes.len() + ENTRY_BYTES,
            Message::Transfer(Transfer::Bundle { files, .. }) => {
                files.iter().map(|(_, bytes)| bytes.len() + ENTRY_BYTES).sum()
            }
            Message::Push { entries } => entries.len() * ENTRY_BYTES,
            _ => 0,
        }
    }
}

impl Inner {
    fn ask(&mut self, folder: &Folder, request: Request) -> Asked {
        if self.leaving {
            return Asked::Leaving;
        }
        if self.waiting.len() >= folder.wiring().limits.files_waiting {
            return Asked::Busy;
        }
        self.asked += 1;
        let id = self.asked;
        self.at_once = Some((id, None));
        self.feed(folder, Input::Asked { id, request });
        if let Some((_, Some(answer))) = self.at_once.take() {
            return Asked::Now(answer);
        }
        let (sender, answer) = oneshot::channel();
        self.waiting.insert(id, sender);
        Asked::Later(answer)
    }

    /// Feeds one input, and everything that its effects lead to.
    fn feed(&mut self, folder: &Folder, input: Input) {
        self.pending.push_back(input);
        self.settle(folder);
    }

    fn settle(&mut self, folder: &Folder) {
        while let Some(input) = self.pending.pop_front() {
            self.news.on_input(&input);
            self.state.handle(folder.now(), input, &mut self.effects);
            self.carry_out(folder);
        }
        if self.news.is_to_be_told() {
            folder.0.news.notify_one();
        }
    }

    fn carry_out(&mut self, folder: &Folder) {
        let mut effects = std::mem::take(&mut self.effects);
        for effect in effects.drain(..) {
            match effect {
                Effect::Send { to, message } => {
                    if self.peers.send(folder, &to, &message) {
                        self.watch_peers(folder);
                    } else {
                        self.pending.push_back(Input::Unreachable { peer: to });
                    }
                }
                Effect::Disk { order, what } => {
                    if let Some(disk) = &self.disk {
                        disk.give(order, what);
                    }
                }
                Effect::Answer { id, answer } => match &mut self.at_once {
                    Some((asked, at_once)) if *asked == id => *at_once = Some(answer),
                    // Whoever asked may have gone away meanwhile.
                    _ => drop(self.waiting.remove(&id).map(|waiting| waiting.send(answer))),
                },
                Effect::SetTimer { after, timer } => self.set_timer(folder, folder.now() + after, Wake::Folder(timer)),
                Effect::Announce(event) => self.news.on_event(event, folder.wiring().clock),
            }
        }
        self.effects = effects;
    }

    fn set_timer(&mut self, folder: &Folder, due: Millis, wake: Wake) {
        self.timers.set(due, wake);
        if self.sleeps_until.is_none_or(|until| due < until) {
            self.sleeps_until = Some(due);
            folder.0.earlier.notify_one();
        }
    }

    fn next_due(&mut self) -> Option<Millis> {
        self.sleeps_until = self.timers.next_due();
        self.sleeps_until
    }

    fn watch_peers(&mut self, folder: &Folder) {
        if !std::mem::replace(&mut self.looks_at_peers, true) {
            self.set_timer(folder, folder.now() + LOOK_PERIOD, Wake::Peers);
        }
    }

    fn look_at_peers(&mut self, folder: &Folder) {
        for peer in self.peers.look() {
            self.feed(folder, Input::Unreachable { peer });
        }
        self.looks_at_peers = false;
        if !self.peers.is_empty() {
            self.watch_peers(folder);
        }
    }
}

/// The node's own hold on the folder: when it is dropped, all tasks of the folder end.
#[derive(Debug)]
pub(super) struct Owner(pub(super) Folder);

impl std::ops::Deref for Owner {
    type Target = Folder;

    fn deref(&self) -> &Folder {
        &self.0
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.stop();
    }
}
