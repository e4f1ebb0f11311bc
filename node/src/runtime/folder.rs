//! The shared folder at work: entered by whoever has something for it, like the store (`keys.rs`), with which it shares `hub.rs`,
//! `questions.rs` and `alarm.rs`.
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
    collections::VecDeque,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use p2pnet_shared::{
    FilePath,
    telemetry::FolderCounts,
    wire::{
        Hello,
        folder::{Message, Root, Transfer},
    },
};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
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
    alarm::Alarm,
    hub::{Heard, Hub},
    peers::{Peers, Wiring},
    questions::{Asked, Questions},
    timers::Wake,
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
    bell: Arc<Notify>,
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
    alarm: Alarm,
    questions: Questions<Answer>,
    news: News,
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
            alarm: Alarm::default(),
            questions: Questions::new(wiring.limits.files_waiting),
            news: News::default(),
        };
        if watch.is_none() {
            inner.pending.push_back(Input::Watching(false));
        }
        inner.watch = watch;
        let (bell, news) = (inner.alarm.bell(), Notify::new());
        let inner = Mutex::new(inner);
        Ok((Self(Arc::new(Shared { wiring, home, copies, inner, bell, news })), Outcomes { done, touched }))
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
    pub(super) fn ask(&self, request: Request) -> Asked<Answer> {
        self.inner().ask(self, request)
    }

    /// The same, if what is under `path` now has the contents `expected` says yes to. Nothing happens in between.
    pub(super) fn ask_if(
        &self,
        path: &FilePath,
        request: Request,
        expected: impl FnOnce(Option<&Root>) -> bool,
    ) -> Option<Asked<Answer>> {
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

    /// Looks at what is to be told, and marks what has been.
    pub(super) fn with_news<T>(&self, tell: impl FnOnce(&mut News, &State) -> T) -> T {
        let Inner { news, state, .. } = &mut *self.inner();
        tell(news, state)
    }

    /// Waits until there is something to be told. Safe to drop half-way.
    pub(super) async fn news(&self) {
        self.0.news.notified().await;
    }

    /// Fires timers and looks after connections, for as long as the node lives.
    pub(super) async fn drive(self) {
        loop {
            let due = self.inner().alarm.next_look(Millis(0));
            tokio::select! {
                () = self.wiring().clock.sleep_until(due) => self.on_timers(),
                () = self.0.bell.notified() => {}
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
        let inner = &mut *self.inner();
        for _ in 0..TURN {
            match inner.alarm.pop(self.now()) {
                Some(Wake::Folder(timer)) => inner.feed(self, Input::TimerFired(timer)),
                Some(Wake::Peers) => {
                    for peer in inner.peers.look(&mut inner.alarm) {
                        inner.feed(self, Input::Unreachable { peer });
                    }
                }
                Some(_) => {}
                None => return,
            }
        }
    }

    /// Says goodbye to everybody, and is gone within `patience` and what the disk needs for what is under way.
    pub(super) async fn leave(&self, patience: Duration) {
        let (mut tasks, watch, mut disk) = self.inner().end();
        drop(watch);
        if let Some(disk) = &mut disk {
            disk.close();
        }
        let _ = timeout(patience, async { while tasks.join_next().await.is_some() {} }).await;
        drop(disk); // what is not on disk by now is waited for
    }
}

impl Hub for Folder {
    type Packet = Message;

    fn wiring(&self) -> &Arc<Wiring> {
        &self.0.wiring
    }

    fn enter<T>(&self, act: impl FnOnce(&mut Peers, &mut Alarm) -> T) -> T {
        let Inner { peers, alarm, .. } = &mut *self.inner();
        act(peers, alarm)
    }

    fn hear(&self, heard: impl IntoIterator<Item = Heard<Message>>) {
        let mut inner = self.inner();
        heard.into_iter().for_each(|heard| inner.feed(self, heard.into()));
    }

    fn stop(&self) {
        let ended = self.0.inner.lock().unwrap_or_else(PoisonError::into_inner).end();
        drop(ended); // without the lock
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

impl From<Heard<Message>> for Input {
    fn from(heard: Heard<Message>) -> Self {
        match heard {
            Heard::Packet { from, packet: message } => Self::Received { from, message },
            Heard::Unreachable { peer } => Self::Unreachable { peer },
            Heard::MemberUp { name, epoch } => Self::MemberUp { name, epoch },
            Heard::MemberDown { name } => Self::MemberDown { name },
        }
    }
}

impl Inner {
    fn ask(&mut self, folder: &Folder, request: Request) -> Asked<Answer> {
        let id = match self.questions.open() {
            Ok(id) => id,
            Err(refused) => return refused,
        };
        self.feed(folder, Input::Asked { id, request });
        self.questions.asked(id)
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
        self.peers.watch(&mut self.alarm);
        if self.news.is_to_be_told() {
            folder.0.news.notify_one();
        }
    }

    fn carry_out(&mut self, folder: &Folder) {
        let mut effects = std::mem::take(&mut self.effects);
        for effect in effects.drain(..) {
            match effect {
                Effect::Send { to, message } => {
                    if !self.peers.send(folder, &to, &message) {
                        self.pending.push_back(Input::Unreachable { peer: to });
                    }
                }
                Effect::Disk { order, what } => {
                    if let Some(disk) = &self.disk {
                        disk.give(order, what);
                    }
                }
                Effect::Answer { id, answer } => self.questions.answer(id, answer),
                Effect::SetTimer { after, timer } => self.alarm.set(folder.now() + after, Wake::Folder(timer)),
                Effect::Announce(event) => self.news.on_event(event, folder.wiring().clock),
            }
        }
        self.effects = effects;
    }

    /// What ends by being dropped, or may be waited for.
    fn end(&mut self) -> (JoinSet<()>, Option<Watch>, Option<Disk>) {
        self.questions.close();
        (self.peers.leave(), self.watch.take(), self.disk.take())
    }
}
