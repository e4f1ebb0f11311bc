//! What nodes said of one another during a stretch: accusations, refutations, deaths, and how the nodes felt.
//!
//! Counted are members that were alive all along (or at least not ended by anybody): whoever declares one of them dead, or
//! gone, is wrong. One wrong death that gossip carries to a hundred nodes is one death and a hundred declarations.
//! Reports reach us in order over links that do not lose; a link that starts over brings the whole table instead of what
//! changed, and a death in it counts as well. How often that happened is told beside the numbers.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use p2pnet::network::Observation;
use p2pnet_shared::{
    Epoch, NodeName, UnixMillis,
    telemetry::{FeedLine, Load, MemberEvent, MemberEventKind, MemberRow, Report},
    wire::membership::Status,
};

use crate::running::{Witness, ms_between, now};

/// Lines of one member's story that are told.
const STORY_LINES: usize = 14;
/// Events kept for stories; later ones are only counted.
const EVENTS_MAX: usize = 200_000;

/// One life and incarnation of a member: what an accusation is about.
type Claim = (NodeName, Epoch, u32);

/// One member event as one node reported it.
#[derive(Debug)]
struct Told {
    at: UnixMillis,
    by: NodeName,
    event: MemberEvent,
}

/// How a node felt when it last said so.
#[derive(Debug)]
struct Feeling {
    heard_at: UnixMillis,
    load: Load,
}

/// Everything nodes said since it began.
#[derive(Debug)]
pub(crate) struct Journal {
    began: UnixMillis,
    /// Whose death would be an error.
    alive: BTreeSet<NodeName>,
    suspected: BTreeSet<Claim>,
    refuted: BTreeSet<Claim>,
    died: BTreeSet<Claim>,
    /// Deaths as told: one for each node that declares one.
    declarations: u64,
    /// Links and streams that started over: what changed meanwhile was seen as a table, not as events.
    restarts: u64,
    timer_late_ms: u64,
    health: u8,
    told: Vec<Told>,
    feelings: BTreeMap<NodeName, Vec<Feeling>>,
}

impl Journal {
    /// From now on, about `alive`.
    pub(crate) fn new(alive: impl IntoIterator<Item = NodeName>) -> Self {
        Self {
            began: now(),
            alive: alive.into_iter().collect(),
            suspected: BTreeSet::new(),
            refuted: BTreeSet::new(),
            died: BTreeSet::new(),
            declarations: 0,
            restarts: 0,
            timer_late_ms: 0,
            health: 0,
            told: Vec::new(),
            feelings: BTreeMap::new(),
        }
    }

    /// Lives declared dead, or gone, by anybody.
    pub(crate) fn false_deaths(&self) -> usize {
        self.died.len()
    }

    /// How many times in all: each node that took it over counts.
    pub(crate) fn declarations(&self) -> u64 {
        self.declarations
    }

    /// Accusations, each counted once however many nodes heard of it.
    pub(crate) fn suspicions(&self) -> usize {
        self.suspected.len()
    }

    /// Accusations that their subject answered.
    pub(crate) fn refutations(&self) -> usize {
        self.refuted.len()
    }

    /// Links and streams that started over meanwhile.
    pub(crate) fn restarts(&self) -> u64 {
        self.restarts
    }

    /// The latest a timer of one of those that were alive was, milliseconds.
    pub(crate) fn timer_late_ms(&self) -> u64 {
        self.timer_late_ms
    }

    /// The worst health one of them reported, 0 (well) to 7.
    pub(crate) fn health(&self) -> u8 {
        self.health
    }

    /// Datagrams that faults set on purpose took from nodes since they started, as they last said.
    pub(crate) fn lost_to_faults(&self) -> u64 {
        self.feelings.values().filter_map(|felt| felt.last()).map(|feeling| feeling.load.lost_to_faults).sum()
    }

    /// Each false death as it came about: who accused whom when, and how the two felt at the time. Empty without one.
    pub(crate) fn stories(&self) -> String {
        let mut out = String::new();
        let members: BTreeSet<&NodeName> = self.died.iter().map(|(member, ..)| member).collect();
        for member in members {
            let mut told: Vec<&Told> = self.told.iter().filter(|told| told.event.row.member == *member).collect();
            told.sort_by_key(|told| told.at);
            let _ = writeln!(out, "{member} was declared dead and was not; {} reports of it:", told.len());
            let mut accusers = BTreeSet::new();
            // Refutations a hundred times over say nothing new: the first of each kind and claim do.
            let mut said: BTreeMap<(u8, u32), u32> = BTreeMap::new();
            let first = told.iter().filter(|told| {
                let times = said.entry((rank(told.event.kind), told.event.row.incarnation)).or_default();
                *times += 1;
                *times <= 3
            });
            for Told { at, by, event } in first.take(STORY_LINES) {
                let accuser = event.accuser.as_ref().map(|accuser| format!(", accuser {accuser}")).unwrap_or_default();
                accusers.extend(event.accuser.clone());
                let (after, kind, incarnation) = (ms_between(self.began, *at), event.kind, event.row.incarnation);
                let _ = writeln!(out, "  +{after:>6} ms  {by} holds it {kind:?} (incarnation {incarnation}{accuser})");
            }
            for who in std::iter::once(member).chain(accusers.iter().filter(|who| *who != member)) {
                let felt = self.feelings.get(who).map(Vec::as_slice).unwrap_or_default();
                let felt = felt.iter().map(|feeling| {
                    let after = ms_between(self.began, feeling.heard_at) / 1_000.0;
                    format!(
                        "{after:.0} s: health {}, timers {} ms late",
                        feeling.load.health, feeling.load.timer_late_ms_max
                    )
                });
                let _ = writeln!(out, "    {who} felt  {}", felt.collect::<Vec<_>>().join("; "));
            }
        }
        out
    }

    fn event(&mut self, by: &NodeName, event: &MemberEvent, at: UnixMillis) {
        if at < self.began || !self.alive.contains(&event.row.member) {
            return;
        }
        let claim = claim(&event.row);
        match event.kind {
            MemberEventKind::Suspected => _ = self.suspected.insert(claim),
            MemberEventKind::Refuted => _ = self.refuted.insert(claim),
            MemberEventKind::Died | MemberEventKind::Left => {
                self.died.insert(claim);
                self.declarations += 1;
            }
            MemberEventKind::Joined | MemberEventKind::CameBack => {}
        }
        if self.told.len() < EVENTS_MAX {
            self.told.push(Told { at, by: by.clone(), event: event.clone() });
        }
    }

    fn table(&mut self, rows: &[MemberRow]) {
        self.restarts += 1;
        let gone = |row: &&MemberRow| matches!(row.status, Status::Dead | Status::Left);
        for row in rows.iter().filter(gone) {
            if self.alive.contains(&row.member) {
                self.died.insert(claim(row));
                self.declarations += 1;
            }
        }
    }
}

impl Witness for Journal {
    fn observe(&mut self, observation: &Observation) {
        match observation {
            Observation::Feed(FeedLine::Report { node, report }) => match report {
                Report::Member { event, at } => self.event(node, event, *at),
                Report::Snapshot { members, .. } => self.table(members),
                Report::Load(load) => {
                    if self.alive.contains(node) {
                        self.timer_late_ms = self.timer_late_ms.max(load.timer_late_ms_max);
                        self.health = self.health.max(load.health);
                    }
                    let feeling = Feeling { heard_at: now(), load: load.clone() };
                    self.feelings.entry(node.clone()).or_default().push(feeling);
                }
                _ => {}
            },
            Observation::Feed(FeedLine::Overrun) | Observation::FeedLost(_) => self.restarts += 1,
            _ => {}
        }
    }
}

fn claim(row: &MemberRow) -> Claim {
    (row.member.clone(), row.epoch, row.incarnation)
}

fn rank(kind: MemberEventKind) -> u8 {
    kind as u8
}
