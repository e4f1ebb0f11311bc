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
//! nobody ever waits for the lock.
//!
//! Timers are looked at every [`TIMERS_PERIOD`] at most: thousands of them, one for each request, fire together.

mod news;
mod report;

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use p2pnet_shared::{
    Epoch, Key, NodeName,
    telemetry::KeyCounts,
    wire::{Hello, dht::Packet},
};
use tokio::{
    net::TcpStream,
    sync::{Notify, OwnedSemaphorePermit, oneshot},
    time::timeout,
};

pub(super) use self::news::News;
use super::{
    keystore::{Keystore, Outcomes},
    peers::{Hub, LOOK_PERIOD, Peers, Wiring},
    timers::{Timers, Wake},
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
    keystore: Option<Keystore>,
    peers: Peers,
    timers: Timers,
    /// Until when [`Keys::drive`] sleeps.
    sleeps_until: Option<Millis>,
    looks_at_peers: bool,
    asked: u64,
    /// The question that is being put, and its answer if it came at once.
    at_once: Option<(u64, Option<Answer>)>,
    waiting: HashMap<u64, oneshot::Sender<Answer>>,
    news: News,
    leaving: bool,
    #[cfg(test)]
    unreachable: Vec<NodeName>,
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

impl Keys {
    pub(super) fn new(wiring: Wiring, state: State, keystore: Keystore) -> Self {
        let wiring = Arc::new(wiring);
        let inner = Inner {
            state,
            effects: Vec::new(),
            pending: VecDeque::new(),
            keystore: Some(keystore),
            peers: Peers::new(wiring.clone()),
            timers: Timers::default(),
            sleeps_until: None,
            looks_at_peers: false,
            asked: 0,
            at_once: None,
            waiting: HashMap::new(),
            news: News::default(),
            leaving: false,
            #[cfg(test)]
            unreachable: Vec::new(),
        };
        let (earlier, news) = (Notify::new(), Notify::new());
        Self(Arc::new(Shared { wiring, inner: Mutex::new(inner), earlier, news }))
    }

    pub(super) fn wiring(&self) -> &Arc<Wiring> {
        &self.0.wiring
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
    pub(super) fn ask(&self, request: Request) -> Asked {
        let mut inner = self.inner();
        if inner.leaving {
            return Asked::Leaving;
        }
        if inner.waiting.len() >= self.wiring().limits.kv_waiting {
            return Asked::Busy;
        }
        inner.asked += 1;
        let id = inner.asked;
        inner.at_once = Some((id, None));
        inner.feed(self, Input::Asked { id, request });
        if let Some((_, Some(answer))) = inner.at_once.take() {
            return Asked::Now(answer);
        }
        let (sender, answer) = oneshot::channel();
        inner.waiting.insert(id, sender);
        Asked::Later(answer)
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

    /// It is suspected now, or no more.
    pub(super) fn member_suspected(&self, name: &NodeName, suspected: bool) {
        self.inner().feed(self, Input::MemberSuspected { name: name.clone(), suspected });
    }

    /// Fires timers and looks after connections, for as long as the node lives.
    pub(super) async fn drive(self) {
        loop {
            let due = self.inner().next_look(self.now());
            tokio::select! {
                () = self.wiring().clock.sleep_until(due) => self.on_timers(),
                () = self.0.earlier.notified() => {}
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
        let mut inner = self.inner();
        for _ in 0..TURN {
            match inner.timers.pop(self.now()) {
                Some(Wake::Dht(timer)) => inner.feed(self, Input::TimerFired(timer)),
                Some(Wake::Peers) => inner.look_at_peers(self),
                Some(_) => {}
                None => return,
            }
        }
    }

    /// Says goodbye to everybody, and is gone within `patience`.
    pub(super) async fn leave(&self, patience: Duration) {
        let (mut tasks, mut keystore) = {
            let mut inner = self.inner();
            inner.leaving = true;
            inner.waiting.clear(); // whoever waits is told that we leave
            (inner.peers.leave(), inner.keystore.take())
        };
        if let Some(keystore) = &mut keystore {
            keystore.close();
        }
        let _ = timeout(patience, async { while tasks.join_next().await.is_some() {} }).await;
        drop(keystore); // what is not on disk by now is waited for
    }

    /// Ends every task, so that nothing keeps the store alive.
    fn stop(&self) {
        let ended = {
            let mut inner = self.0.inner.lock().unwrap_or_else(PoisonError::into_inner);
            inner.leaving = true;
            inner.waiting.clear();
            (inner.peers.leave(), inner.keystore.take())
        };
        drop(ended); // without the lock: a commit under way is waited for
    }
}

impl Hub for Keys {
    type Packet = Packet;

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

    fn received(&self, id: u64, from: &NodeName, packets: &mut Vec<Packet>, is_partial: bool, goodbye: bool) -> bool {
        let mut inner = self.inner();
        if !inner.peers.heard(id, packets.len(), is_partial) || inner.leaving {
            return false;
        }
        for packet in packets.drain(..) {
            inner.feed(self, Input::Received { from: from.clone(), packet });
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
        if self.news.is_to_be_told() {
            keys.0.news.notify_one();
        }
    }

    fn carry_out(&mut self, keys: &Keys) {
        let mut effects = std::mem::take(&mut self.effects);
        for effect in effects.drain(..) {
            match effect {
                Effect::Send { to, packet } => {
                    if self.peers.send(keys, &to, &packet) {
                        self.watch_peers(keys);
                    } else {
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
                Effect::Answer { id, answer } => match &mut self.at_once {
                    Some((asked, at_once)) if *asked == id => *at_once = Some(answer),
                    // Whoever asked may have gone away meanwhile.
                    _ => drop(self.waiting.remove(&id).map(|waiting| waiting.send(answer))),
                },
                Effect::SetTimer { after, timer } => self.set_timer(keys, keys.now() + after, Wake::Dht(timer)),
                Effect::Announce(event) => self.news.on_event(event),
            }
        }
        self.effects = effects;
    }

    fn set_timer(&mut self, keys: &Keys, due: Millis, wake: Wake) {
        self.timers.set(due, wake);
        if self.sleeps_until.is_none_or(|until| due < until) {
            self.sleeps_until = Some(due);
            keys.0.earlier.notify_one();
        }
    }

    /// When timers are looked at next.
    fn next_look(&mut self, now: Millis) -> Option<Millis> {
        self.sleeps_until = self.timers.next_due().map(|due| due.max(now + TIMERS_PERIOD));
        self.sleeps_until
    }

    fn watch_peers(&mut self, keys: &Keys) {
        if !std::mem::replace(&mut self.looks_at_peers, true) {
            self.set_timer(keys, keys.now() + LOOK_PERIOD, Wake::Peers);
        }
    }

    fn look_at_peers(&mut self, keys: &Keys) {
        for peer in self.peers.look() {
            self.feed(keys, Input::Unreachable { peer });
        }
        self.looks_at_peers = false;
        if !self.peers.is_empty() {
            self.watch_peers(keys);
        }
    }
}

#[cfg(test)]
impl Keys {
    /// Sends a packet as the store would.
    pub(super) fn send_now(&self, to: &NodeName, packet: &Packet) -> bool {
        let mut inner = self.inner();
        let sent = inner.peers.send(self, to, packet);
        inner.watch_peers(self);
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

/// The node's own hold on the store: when it is dropped, all tasks of the store end.
#[derive(Debug)]
pub(super) struct Owner(pub(super) Keys);

impl std::ops::Deref for Owner {
    type Target = Keys;

    fn deref(&self) -> &Keys {
        &self.0
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.stop();
    }
}
