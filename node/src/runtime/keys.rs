//! The store at work: a second small loop beside the first, entered by whoever has something for it.
//!
//! ```text
//! http/kv.rs    ── ask ───────┐                      ┌─▶ peers.rs: packets, many in one write
//! peers/line.rs ── received ──┤   ┌──────────────┐   ├─▶ the disk's thread, or memory ─▶ Persisted
//! the loop      ── members ───┼──▶│ dht::State   │───┼─▶ timers of its own
//! drive         ── timers ────┤   └──────────────┘   ├─▶ answers to whoever waits
//! the disk      ── persisted ─┘                      └─▶ news.rs: what the gateway and /events are told
//! ```
//! A get passes through here tens of thousands of times a second, and each hop from task to task would cost it more than
//! the store itself. So the store is not owned by the loop but stands behind a lock, which whoever has an input takes for
//! the time of one `handle` and its effects, none of which waits for anything. All tasks of a node run on one thread, so
//! nobody ever waits for the lock. What it has in common with the folder, which stands behind a lock as well, is in `hub.rs`
//! (lines and members), `questions.rs` (who waits for an answer) and `alarm.rs` (timers).
//!
//! Timers are looked at every [`TIMERS_PERIOD`] at most: thousands of them, one for each request, fire together.

mod news;
mod report;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use p2pnet_shared::{Key, NodeName, telemetry::KeyCounts, wire::dht::Packet};
use tokio::{sync::Notify, task::JoinSet, time::timeout};

pub(super) use self::news::News;
use super::{
    alarm::Alarm,
    hub::{Heard, Hub},
    keystore::{Keystore, Outcomes},
    peers::{Peers, Wiring},
    questions::{Asked, Questions},
    timers::Wake,
};
use crate::{
    dht::{Answer, Effect, Input, Request, State},
    time::Millis,
};

/// Timers are looked at this often at most.
const TIMERS_PERIOD: Millis = Millis(4);
/// Timers handled before others have their turn.
const TURN: usize = 256;

/// The store, as everybody in the runtime reaches it. Cheap to clone.
#[derive(Clone)]
pub(super) struct Keys(Arc<Shared>);

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("me", &self.wiring().me).finish_non_exhaustive()
    }
}

struct Shared {
    wiring: Arc<Wiring>,
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
    keystore: Option<Keystore>,
    peers: Peers,
    alarm: Alarm,
    questions: Questions<Answer>,
    news: News,
    #[cfg(test)]
    unreachable: Vec<NodeName>,
}

impl Keys {
    pub(super) fn new(wiring: Wiring, state: State, keystore: Keystore) -> Self {
        let wiring = Arc::new(wiring);
        let inner = Inner {
            state,
            effects: Vec::new(),
            pending: VecDeque::new(),
            keystore: Some(keystore),
            peers: Peers::new(wiring.clone()),
            alarm: Alarm::default(),
            questions: Questions::new(wiring.limits.kv_waiting),
            news: News::default(),
            #[cfg(test)]
            unreachable: Vec::new(),
        };
        let (bell, news) = (inner.alarm.bell(), Notify::new());
        Self(Arc::new(Shared { wiring, inner: Mutex::new(inner), bell, news }))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.inner.lock().expect("the store never panics, and whoever holds the lock does nothing else")
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

    /// Asks on behalf of a user of this node.
    pub(super) fn ask(&self, request: Request) -> Asked<Answer> {
        let mut inner = self.inner();
        let id = match inner.questions.open() {
            Ok(id) => id,
            Err(refused) => return refused,
        };
        inner.feed(self, Input::Asked { id, request });
        inner.questions.asked(id)
    }

    /// Looks at the store.
    pub(super) fn with<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.inner().state)
    }

    /// Who holds a key, its owner first.
    pub(super) fn holders(&self, key: &Key) -> Vec<NodeName> {
        self.with(|state| state.preference(key))
    }

    /// What is held, in numbers.
    pub(super) fn counts(&self) -> KeyCounts {
        self.with(State::counts)
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

    /// It is suspected now, or no more.
    pub(super) fn member_suspected(&self, name: &NodeName, suspected: bool) {
        self.inner().feed(self, Input::MemberSuspected { name: name.clone(), suspected });
    }

    /// Fires timers and looks after connections, for as long as the node lives.
    pub(super) async fn drive(self) {
        loop {
            let due = self.inner().alarm.next_look(self.now() + TIMERS_PERIOD);
            tokio::select! {
                () = self.wiring().clock.sleep_until(due) => self.on_timers(),
                () = self.0.bell.notified() => {}
            }
        }
    }

    /// Hears what became of batches, for as long as the node lives.
    pub(super) async fn hear_disk(self, mut outcomes: Outcomes) {
        loop {
            let heard = outcomes.next().await;
            self.inner().feed(&self, heard);
        }
    }

    fn on_timers(&self) {
        let inner = &mut *self.inner();
        for _ in 0..TURN {
            match inner.alarm.pop(self.now()) {
                Some(Wake::Dht(timer)) => inner.feed(self, Input::TimerFired(timer)),
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

    /// Says goodbye to everybody, and is gone within `patience`.
    pub(super) async fn leave(&self, patience: Duration) {
        let (mut tasks, mut keystore) = self.inner().end();
        if let Some(keystore) = &mut keystore {
            keystore.close();
        }
        let _ = timeout(patience, async { while tasks.join_next().await.is_some() {} }).await;
        drop(keystore); // what is not on disk by now is waited for
    }
}

impl Hub for Keys {
    type Packet = Packet;

    fn wiring(&self) -> &Arc<Wiring> {
        &self.0.wiring
    }

    fn enter<T>(&self, act: impl FnOnce(&mut Peers, &mut Alarm) -> T) -> T {
        let Inner { peers, alarm, .. } = &mut *self.inner();
        act(peers, alarm)
    }

    fn hear(&self, heard: impl IntoIterator<Item = Heard<Packet>>) {
        let mut inner = self.inner();
        heard.into_iter().for_each(|heard| inner.feed(self, heard.into()));
    }

    fn stop(&self) {
        let ended = self.0.inner.lock().unwrap_or_else(PoisonError::into_inner).end();
        drop(ended); // without the lock: a commit under way is waited for
    }
}

impl From<Heard<Packet>> for Input {
    fn from(heard: Heard<Packet>) -> Self {
        match heard {
            Heard::Packet { from, packet } => Self::Received { from, packet },
            Heard::Unreachable { peer } => Self::Unreachable { peer },
            Heard::MemberUp { name, epoch } => Self::MemberUp { name, epoch },
            Heard::MemberDown { name } => Self::MemberDown { name },
        }
    }
}

impl Inner {
    /// Feeds one input, and everything that its effects lead to.
    fn feed(&mut self, keys: &Keys, input: Input) {
        self.pending.push_back(input);
        self.settle(keys);
    }

    fn settle(&mut self, keys: &Keys) {
        while let Some(input) = self.pending.pop_front() {
            self.news.on_input(&input);
            #[cfg(test)]
            if let Input::Unreachable { peer } = &input {
                self.unreachable.push(peer.clone());
            }
            self.state.handle(keys.now(), input, &mut self.effects);
            self.carry_out(keys);
        }
        self.peers.watch(&mut self.alarm);
        if self.news.is_to_be_told() {
            keys.0.news.notify_one();
        }
    }

    fn carry_out(&mut self, keys: &Keys) {
        let mut effects = std::mem::take(&mut self.effects);
        for effect in effects.drain(..) {
            match effect {
                Effect::Send { to, packet } => {
                    if !self.peers.send(keys, &to, &packet) {
                        self.pending.push_back(Input::Unreachable { peer: to });
                    }
                }
                Effect::Persist { batch, changes } => {
                    self.news.on_persist();
                    if let Some(keystore) = &mut self.keystore {
                        // Memory answers at once, a disk that cannot be used as well.
                        self.pending.extend(keystore.persist(batch, changes));
                    }
                }
                Effect::Answer { id, answer } => self.questions.answer(id, answer),
                Effect::SetTimer { after, timer } => self.alarm.set(keys.now() + after, Wake::Dht(timer)),
                Effect::Announce(event) => self.news.on_event(event),
            }
        }
        self.effects = effects;
    }

    /// What ends by being dropped, or may be waited for.
    fn end(&mut self) -> (JoinSet<()>, Option<Keystore>) {
        self.questions.close();
        (self.peers.leave(), self.keystore.take())
    }
}

#[cfg(test)]
impl Keys {
    /// Sends a packet as the store would.
    pub(super) fn send_now(&self, to: &NodeName, packet: &Packet) -> bool {
        let mut inner = self.inner();
        let sent = inner.peers.send(self, to, packet);
        inner.settle(self);
        sent
    }

    /// Whom the store was told not to be reached, so far.
    pub(super) fn unreachable(&self) -> Vec<NodeName> {
        self.inner().unreachable.clone()
    }

    pub(super) fn is_unconnected(&self) -> bool {
        self.inner().peers.is_empty()
    }
}
