//! What must hold after every single step, checked from outside: the watcher sees each event as a dashboard would and
//! knows besides who really runs.
//!
//! ```text
//!  1  an own incarnation never falls, nobody holds itself dead        stepped; trace.rs, claims of the sender itself
//!  2  per observer and member (epoch, incarnation) never goes back    announced
//!  3  who was gone returns only with something newer                  announced
//!  4  who left or died is not suspected at the same incarnation       announced
//!  5  one address per (name, epoch), no incarnation that the member   trace.rs, every claim in every datagram
//!     itself has not reached, no life that was not led
//!  6  rows ≤ names, news ≤ rows + 1, bytes ≤ a ceiling by formula     stepped; traffic.rs
//!  7  every accuser has really missed an answer                       trace.rs
//!  8  no death of a node that runs while there is no fault            announced, `no_false_deaths`
//!  9  after the faults all agree within a bound                       campaign.rs, the calm
//! 10  a true death is known to all within a bound                     campaign.rs, the last kill; kill.rs
//! 14  a message is delivered at most once in a node's life            paths.rs
//! 15  after the calm each message has reached every live node         campaign.rs
//! 16  a path is a walk over links that existed then                   paths.rs
//! 17  few neighbours at every step; symmetric, alive and connected    paths.rs, every step and after the calm
//!     after the calm
//! 23  a wrong key, a flipped bit, a replay change nothing             effects.rs
//! 24  the same seed gives the same run                                start.rs, campaign.rs
//! 25  damaged datagrams do no harm                                    effects.rs, as far as the envelope goes
//! ```
//! The numbers are those of the project's list of invariants; the missing ones are about storage.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
};

use p2pnet_node::{broadcast, membership};
use p2pnet_shared::{
    Epoch, MessageId, NodeName, ViewDigest,
    telemetry::{MemberEvent, MemberEventKind},
    wire::membership::{Datagram, Status},
};

use crate::{
    counters::Counters,
    paths::Paths,
    trace::Trace,
    traffic::{Traffic, largest_allowed},
    wire::NodeId,
};

/// How long after a stall a node may still be taken for dead because of it, milliseconds: the longest suspicion of 100.
const AFTERMATH_MS: u64 = 40_000;

/// What one life of a node has said about the others.
#[derive(Debug)]
struct Observer {
    name: NodeName,
    epoch: Epoch,
    incarnation: u32,
    folded: ViewDigest,
    /// The last event about each member.
    last: HashMap<NodeId, (Epoch, u32, Status)>,
    steps: u64,
}

/// A death as one observer announced it.
#[derive(Debug, Clone)]
pub(crate) struct Death {
    /// Milliseconds.
    pub(crate) at: u64,
    pub(crate) observer: NodeId,
    pub(crate) member: NodeId,
    /// The member's process was there, in that very life, if perhaps not running well.
    pub(crate) existed: bool,
    /// It was running well, too.
    pub(crate) is_false: bool,
}

/// Checks every step of a run and remembers what scenarios ask about.
#[derive(Debug, Default)]
pub(crate) struct Watcher {
    observers: HashMap<NodeId, Observer>,
    /// The lives that everybody knows from the start; usually none.
    pub(crate) known: Vec<Epoch>,
    /// Nodes with the life they are in, while it runs.
    running: BTreeMap<NodeId, Epoch>,
    /// Panic on the first death announced of a node that runs.
    pub(crate) no_false_deaths: bool,
    /// Leave out what costs much: for figures, not for tests.
    pub(crate) careless: bool,
    /// Nodes that were stopped, and until when that may have consequences, milliseconds.
    stalled: BTreeMap<NodeId, u64>,
    pub(crate) deaths: Vec<Death>,
    pub(crate) suspicions: u64,
    pub(crate) trace: Trace,
    pub(crate) paths: Paths,
    traffic: Traffic,
}

impl Watcher {
    /// `folded`: whom it believes in from the start, itself included.
    pub(crate) fn born(&mut self, id: NodeId, name: &NodeName, addr: SocketAddr, epoch: Epoch, folded: ViewDigest) {
        self.running.insert(id, epoch);
        self.stalled.remove(&id);
        self.trace.born(id, addr, epoch);
        self.traffic.born(id);
        let observer = Observer { name: name.clone(), epoch, incarnation: 0, folded, last: HashMap::new(), steps: 0 };
        self.observers.insert(id, observer);
    }

    pub(crate) fn ended(&mut self, id: NodeId, epoch: Epoch, _now: u64) {
        let Some(observer) = self.observers.remove(&id) else { return };
        assert_eq!(observer.epoch, epoch, "a life ends with the epoch it began with");
        self.running.remove(&id);
    }

    pub(crate) fn leaves(&mut self, id: NodeId) {
        if let Some(epoch) = self.running.get(&id) {
            self.trace.leaves(id, *epoch);
        }
    }

    /// A paused node may be taken for dead, and take others for it.
    pub(crate) fn stalled(&mut self, id: NodeId) {
        self.stalled.insert(id, u64::MAX);
    }

    pub(crate) fn awake(&mut self, id: NodeId, now_ms: u64) {
        self.stalled.insert(id, now_ms + AFTERMATH_MS);
    }

    /// One event of `id` about a member.
    pub(crate) fn announced(&mut self, clock: u64, id: NodeId, event: &MemberEvent, counters: &mut Counters) {
        let observer = self.observers.get_mut(&id).expect("only running nodes speak");
        let row = &event.row;
        let member = number(&row.member);
        assert_ne!(member, id, "invariant 1: a node holds no opinion of itself");
        let news = (row.epoch, row.incarnation, row.status);
        let known = self.known.get(member).map(|epoch| (*epoch, 0, Status::Alive));
        let last = observer.last.insert(member, news).or(known);
        let was_alive = last.is_some_and(|last| last.2.is_live());
        if let Some(last) = last {
            assert!((news.0, news.1) >= (last.0, last.1), "invariant 2: {event:?} goes back behind {last:?}");
            if event.kind == MemberEventKind::CameBack {
                assert!((news.0, news.1) > (last.0, last.1), "invariant 3: {event:?} brings nothing new, {last:?}");
            }
        }
        match event.kind {
            MemberEventKind::Joined | MemberEventKind::CameBack => {
                assert!(!was_alive, "{event:?} of one who was alive");
                observer.folded.add(&row.member);
            }
            MemberEventKind::Died | MemberEventKind::Left => {
                assert!(was_alive, "{event:?} of one who was not alive");
                observer.folded.remove(&row.member);
            }
            MemberEventKind::Suspected | MemberEventKind::Refuted => {
                assert!(was_alive, "invariant 4: {event:?} of one who is gone: {last:?}");
            }
        }
        self.count(clock / 1_000, id, member, event, counters);
        if event.kind == MemberEventKind::Suspected && !self.careless {
            self.trace.suspected(clock, id, member, event);
        }
    }

    fn count(&mut self, now: u64, id: NodeId, member: NodeId, event: &MemberEvent, counters: &mut Counters) {
        match event.kind {
            MemberEventKind::Joined => {}
            MemberEventKind::CameBack => counters.came_back += 1,
            MemberEventKind::Left => counters.left += 1,
            MemberEventKind::Refuted => counters.refuted += 1,
            MemberEventKind::Suspected => {
                counters.suspected += 1;
                self.suspicions += 1;
            }
            MemberEventKind::Died => {
                let existed = self.running.get(&member) == Some(&event.row.epoch);
                let well = |id: &NodeId| self.stalled.get(id).is_none_or(|until| *until <= now);
                let is_false = existed && well(&member);
                assert!(
                    !(is_false && self.no_false_deaths),
                    "invariant 8: at {now} ms node {id} says of a node that runs: {event:?}"
                );
                counters.died += 1;
                counters.false_deaths += u64::from(is_false);
                self.deaths.push(Death { at: now, observer: id, member, existed, is_false });
            }
        }
    }

    /// After every step of `id`.
    pub(crate) fn stepped(&mut self, id: NodeId, state: &membership::State, names: usize) {
        let Some(observer) = self.observers.get_mut(&id) else { return };
        assert!(state.incarnation() >= observer.incarnation, "invariant 1: an incarnation fell");
        observer.incarnation = state.incarnation();
        assert_eq!(state.digest(), observer.folded, "the events of node {id} do not fold to its digest");
        assert!(state.news_waiting() <= names, "invariant 6: {} news of {names} names", state.news_waiting());
        observer.steps += 1;
        if observer.steps % 64 == 0 && !self.careless {
            let members: Vec<_> = state.members().collect();
            assert!(members.len() < names, "invariant 6: more rows than names");
            assert!(members.windows(2).all(|pair| pair[0].name < pair[1].name), "one row per name, sorted");
            assert!(members.iter().all(|member| member.name != observer.name), "a row of itself");
            let alive = members.iter().filter(|member| member.status.is_live());
            let told = |member: &NodeName| match observer.last.get(&number(member)) {
                Some(last) => last.2.is_live(),
                None => number(member) < self.known.len(),
            };
            assert!(alive.clone().all(|member| told(&member.name)), "the events do not fold to the table");
            assert_eq!(alive.count() + 1, state.digest().members as usize, "the digest counts the table");
        }
    }

    /// A datagram arrives at `id`, which runs.
    pub(crate) fn heard(&mut self, clock: u64, id: NodeId, datagram: &Datagram) {
        if !self.careless {
            self.trace.heard(id, datagram);
            self.traffic.heard(id, clock);
        }
    }

    /// `id` sends a datagram; `for_others`: at somebody's request.
    pub(crate) fn said(&mut self, clock: u64, id: NodeId, datagram: &Datagram, for_others: bool) {
        if !self.careless {
            self.trace.said(clock, id, datagram, for_others);
        }
    }

    /// A datagram of this size was sent.
    pub(crate) fn datagram_of(
        &mut self,
        id: NodeId,
        clock: u64,
        bytes: usize,
        sealed: bool,
        config: &membership::Config,
    ) {
        largest_allowed(bytes, sealed);
        if !self.careless {
            self.traffic.sent(id, clock, bytes, self.running.len(), config);
        }
    }

    /// After every step of the broadcast of `name`.
    pub(crate) fn overlay_stepped(&self, name: &NodeName, state: &broadcast::State, config: &broadcast::Config) {
        assert!(state.neighbours().count() <= config.active_cap, "invariant 17: {name} has too many neighbours");
        assert!(state.neighbours().all(|neighbour| neighbour != name), "invariant 17: {name} is its own neighbour");
    }

    /// A frame with a message goes over a link that is up.
    pub(crate) fn forwarded(&mut self, from: NodeId, to: NodeId, message: &MessageId) {
        self.paths.forwarded(from, to, message);
    }

    /// A broadcast reached one life of a node.
    pub(crate) fn delivered(
        &mut self,
        clock: u64,
        id: NodeId,
        life: u32,
        name: &NodeName,
        message: &broadcast::Message,
    ) {
        self.paths.delivered(clock, (id, life), name, &message.id, &message.path);
    }

    /// When each observer declared `member` dead, earliest first, in milliseconds after `since`.
    pub(crate) fn detection(&self, member: NodeId, since: u64) -> Vec<u64> {
        let of = |death: &&Death| death.member == member && death.at >= since && !death.existed;
        let first: BTreeMap<NodeId, u64> =
            self.deaths.iter().rev().filter(of).map(|death| (death.observer, death.at - since)).collect();
        let mut times: Vec<u64> = first.into_values().collect();
        times.sort_unstable();
        times
    }

    pub(crate) fn false_deaths(&self) -> usize {
        self.deaths.iter().filter(|death| death.is_false).count()
    }
}

/// The number of a node of the simulation.
pub(crate) fn number(name: &NodeName) -> NodeId {
    name.number().map_or(0, |number| number as NodeId)
}
