//! What must hold after every single step, checked from outside: the watcher sees each event as a dashboard would and
//! knows besides who really runs.

use std::collections::{BTreeMap, BTreeSet};

use p2pnet_node::{broadcast, membership};
use p2pnet_shared::{
    Epoch, MessageId, NodeName, ViewDigest,
    telemetry::{MemberEvent, MemberEventKind},
    wire::{DATAGRAM_MAX_BYTES, ENVELOPE_MAX_BYTES, broadcast::PATH_MAX, membership::Status},
};

use crate::wire::NodeId;

/// The unsealed envelope of the simulator; a sealed one adds the rest of [`ENVELOPE_MAX_BYTES`].
const PLAIN_ENVELOPE_BYTES: usize = 6;

/// What one life of a node has said about the others.
#[derive(Debug, Default)]
struct Observer {
    name: Option<NodeName>,
    epoch: Epoch,
    incarnation: u32,
    /// The fold of its events: who it believes alive.
    alive: BTreeSet<NodeName>,
    folded: ViewDigest,
    last: BTreeMap<NodeName, (Epoch, u32, Status)>,
    steps: u64,
}

/// A death as one observer announced it.
#[derive(Debug, Clone)]
pub(crate) struct Death {
    pub(crate) at: u64,
    pub(crate) observer: NodeId,
    pub(crate) member: NodeName,
    /// The member was running, in that very life.
    pub(crate) is_false: bool,
}

/// Checks every step of a run and remembers what scenarios ask about.
#[derive(Debug, Default)]
pub(crate) struct Watcher {
    observers: BTreeMap<NodeId, Observer>,
    /// Names with the life they are in, while it runs.
    running: BTreeMap<NodeName, Epoch>,
    /// Panic on the first death announced of a node that runs.
    pub(crate) no_false_deaths: bool,
    stalled: BTreeSet<NodeName>,
    pub(crate) deaths: Vec<Death>,
    pub(crate) suspicions: u64,
    /// When each node's life had each message.
    pub(crate) deliveries: BTreeMap<MessageId, BTreeMap<(NodeId, u32), u64>>,
}

impl Watcher {
    pub(crate) fn born(&mut self, id: NodeId, name: &NodeName, epoch: Epoch) {
        self.running.insert(name.clone(), epoch);
        self.stalled.remove(name);
        let folded = std::iter::once(name).collect();
        self.observers.insert(id, Observer { name: Some(name.clone()), epoch, folded, ..Observer::default() });
    }

    pub(crate) fn ended(&mut self, id: NodeId, epoch: Epoch, _now: u64) {
        let Some(observer) = self.observers.remove(&id) else { return };
        assert_eq!(observer.epoch, epoch, "a life ends with the epoch it began with");
        if let Some(name) = observer.name {
            self.running.remove(&name);
        }
    }

    /// A paused node may be taken for dead.
    pub(crate) fn stalled(&mut self, id: NodeId) {
        let name = self.observers.get(&id).and_then(|observer| observer.name.clone());
        self.stalled.extend(name);
    }

    /// One event of `id` about a member.
    pub(crate) fn announced(&mut self, now: u64, id: NodeId, event: &MemberEvent) {
        let observer = self.observers.get_mut(&id).expect("only running nodes speak");
        let row = &event.row;
        assert_ne!(Some(&row.member), observer.name.as_ref(), "a node holds no opinion of itself");
        let news = (row.epoch, row.incarnation, row.status);
        if let Some(last) = observer.last.get(&row.member) {
            assert!((news.0, news.1) >= (last.0, last.1), "{event:?} goes back behind {last:?}");
            if event.kind == MemberEventKind::CameBack {
                assert!((news.0, news.1) > (last.0, last.1), "{event:?} returns with nothing new after {last:?}");
            }
            if event.kind == MemberEventKind::Suspected {
                assert!(last.2.is_live(), "{event:?} suspects one who is gone: {last:?}");
            }
        }
        observer.last.insert(row.member.clone(), news);
        match event.kind {
            MemberEventKind::Joined | MemberEventKind::CameBack => {
                assert!(observer.alive.insert(row.member.clone()), "{event:?} of one who was alive");
                observer.folded.add(&row.member);
            }
            MemberEventKind::Died | MemberEventKind::Left => {
                assert!(observer.alive.remove(&row.member), "{event:?} of one who was not alive");
                observer.folded.remove(&row.member);
            }
            MemberEventKind::Suspected | MemberEventKind::Refuted => {
                assert!(observer.alive.contains(&row.member), "{event:?} of one who was not alive");
            }
        }
        if event.kind == MemberEventKind::Suspected {
            self.suspicions += 1;
        }
        if event.kind == MemberEventKind::Died {
            let is_false = self.running.get(&row.member) == Some(&row.epoch) && !self.stalled.contains(&row.member);
            assert!(!(is_false && self.no_false_deaths), "at {now} ms node {id} says of a node that runs: {event:?}");
            self.deaths.push(Death { at: now, observer: id, member: row.member.clone(), is_false });
        }
    }

    /// After every step of `id`.
    pub(crate) fn stepped(&mut self, id: NodeId, state: &membership::State, names: usize) {
        let Some(observer) = self.observers.get_mut(&id) else { return };
        assert!(state.incarnation() >= observer.incarnation, "an incarnation fell");
        observer.incarnation = state.incarnation();
        assert_eq!(state.digest(), observer.folded, "the events of node {id} do not fold to its digest");
        observer.steps += 1;
        if observer.steps % 64 == 0 {
            let members: Vec<_> = state.members().collect();
            assert!(members.len() < names, "more rows than names");
            assert!(members.windows(2).all(|pair| pair[0].name < pair[1].name), "one row per name, sorted");
            assert!(members.iter().all(|member| Some(&member.name) != observer.name.as_ref()), "a row of itself");
            let alive = members.iter().filter(|member| member.status.is_live()).map(|member| &member.name);
            assert!(alive.eq(observer.alive.iter()), "the events do not fold to the table");
        }
    }

    /// A datagram of this size was sent, unsealed.
    pub(crate) fn datagram_of(&self, bytes: usize) {
        let sealed = bytes - PLAIN_ENVELOPE_BYTES + ENVELOPE_MAX_BYTES;
        assert!(sealed <= DATAGRAM_MAX_BYTES, "a datagram of {sealed} bytes");
    }

    /// A broadcast reached one life of a node.
    pub(crate) fn delivered(&mut self, now: u64, id: NodeId, life: u32, name: &NodeName, message: &broadcast::Message) {
        let path = &message.path;
        assert_eq!((path.first(), path.last()), (Some(&message.id.origin), Some(name)), "a path from origin to here");
        assert_eq!(path.iter().collect::<BTreeSet<_>>().len(), path.len(), "a path meets nobody twice: {path:?}");
        assert!(path.len() <= PATH_MAX + 1, "a path of {} hops", path.len());
        let before = self.deliveries.entry(message.id.clone()).or_default().insert((id, life), now);
        assert_eq!(before, None, "{} delivered twice at {name}", message.id);
    }

    /// When each observer declared `member` dead, earliest first, in milliseconds after `since`.
    pub(crate) fn detection(&self, member: &NodeName, since: u64) -> Vec<u64> {
        let of = |death: &&Death| death.member == *member && death.at >= since && !death.is_false;
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
