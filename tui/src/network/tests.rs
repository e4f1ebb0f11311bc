//! Every rule, by observations made by hand; and any observations at all, by chance.

use p2pnet_shared::{
    Epoch, MessageId, NodeName, UnixMillis, ViewDigest,
    telemetry::{Delivery, FeedLine, Load, MemberEvent, MemberEventKind, MemberRow, OverlayLink, Report},
    wire::{broadcast::Via, membership::Status},
};
use proptest::prelude::*;

mod story;

use super::{Change, ChangeKind, Network, Observation, Verdict};
use crate::cluster::{Role, Truth, Unit, UnitState};

mod faults;

/// A network being told things, with its clock.
pub(super) struct Told {
    pub(super) network: Network,
    pub(super) now: u64,
}

pub(super) fn name(number: u32) -> NodeName {
    NodeName::numbered(number)
}

pub(super) fn unit(number: u32, state: UnitState, since: u64) -> Unit {
    Unit { name: name(number), role: Role::Node, state, address: None, since: Some(UnixMillis(since)) }
}

fn row(member: u32, status: Status) -> MemberRow {
    MemberRow { member: name(member), epoch: Epoch(900), incarnation: 0, status }
}

fn event(kind: MemberEventKind, member: u32, status: Status, accuser: Option<u32>) -> MemberEvent {
    MemberEvent { kind, row: row(member, status), accuser: accuser.map(name), accusers: 1, new_life: false }
}

fn message(origin: u32, seq: u64) -> MessageId {
    MessageId { origin: name(origin), epoch: Epoch(1_000), seq }
}

fn delivery(id: &MessageId, at: u64, path: &[u32]) -> Delivery {
    let text = (path.len() < 3).then(|| "apple".to_owned());
    let path = path.iter().map(|n| name(*n)).collect();
    Delivery { id: id.clone(), path, at: UnixMillis(at), text, via: Via::Push, late: false }
}

impl Told {
    /// `nodes` nodes that started at 1 s, see each other since 3 s, and are caught up with at 20 s.
    pub(super) fn of(nodes: u32) -> Self {
        let mut told = Self { network: Network::new("lab".parse().unwrap(), "process"), now: 20_000 };
        told.truth(Truth::Listed((1..=nodes).map(|n| unit(n, UnitState::Up, 1_000)).collect()));
        for n in 1..=nodes {
            told.joins(n, 1_000, &(1..=nodes).collect::<Vec<_>>(), 3_000);
        }
        told.feed(FeedLine::CaughtUp);
        told
    }

    pub(super) fn truth(&mut self, truth: Truth) -> Vec<Change> {
        self.observe(Observation::Truth(truth))
    }

    pub(super) fn feed(&mut self, line: FeedLine) -> Vec<Change> {
        self.observe(Observation::Feed(line))
    }

    pub(super) fn observe(&mut self, observation: Observation) -> Vec<Change> {
        let changes = self.network.observe(UnixMillis(self.now), observation);
        self.network.check();
        changes
    }

    pub(super) fn says(&mut self, node: u32, report: Report) -> Vec<Change> {
        self.feed(FeedLine::Report { node: name(node), report })
    }

    pub(super) fn joins(&mut self, node: u32, epoch: u64, view: &[u32], view_at: u64) {
        let addr = "10.0.0.1:5000".parse().unwrap();
        self.says(node, Report::Hello { id: uuid::Uuid::nil(), epoch: Epoch(epoch), addr });
        let members = view.iter().filter(|n| **n != node).map(|n| row(*n, Status::Alive)).collect();
        self.says(node, Report::Snapshot { members, deliveries: vec![], links: vec![] });
        self.says(node, view_of(view, view_at));
    }

    pub(super) fn learns(
        &mut self,
        node: u32,
        kind: MemberEventKind,
        member: u32,
        status: Status,
        at: u64,
    ) -> Vec<Change> {
        self.now = self.now.max(at);
        self.says(node, Report::Member { event: event(kind, member, status, None), at: UnixMillis(at) })
    }

    pub(super) fn has(&mut self, node: u32, id: &MessageId, at: u64, path: &[u32]) -> Vec<Change> {
        self.now = self.now.max(at);
        self.says(node, Report::Delivered(delivery(id, at, path)))
    }

    pub(super) fn dies(&mut self, node: u32, at: u64) -> Vec<Change> {
        self.now = self.now.max(at);
        self.truth(Truth::Changed(unit(node, UnitState::Dead, at)))
    }

    pub(super) fn summary(&self) -> super::Summary {
        self.network.summary(UnixMillis(self.now))
    }
}

fn view_of(names: &[u32], at: u64) -> Report {
    let names: Vec<NodeName> = names.iter().map(|n| name(*n)).collect();
    Report::View { digest: names.iter().collect(), at: UnixMillis(at) }
}

pub(super) fn kinds(changes: &[Change]) -> Vec<ChangeKind> {
    changes.iter().map(|change| change.kind).collect()
}

#[test]
fn a_network_that_agrees_is_converged_and_knows_since_when() {
    let told = Told::of(3);
    let summary = told.summary();
    assert_eq!(summary.verdict, Verdict::Converged, "{}", summary.reason);
    assert!(summary.converged);
    // Started at 1.0 s, the last view changed at 3.0 s, and we looked at 20 s.
    assert_eq!((summary.converged_in_ms, summary.converging_for_ms), (Some(2_000), None));
    assert_eq!((summary.nodes.wanted, summary.nodes.up, summary.members.agree), (3, 3, 3));
    assert_eq!(summary.detail.iter().map(|row| row.members).collect::<Vec<_>>(), [3, 3, 3]);
}

#[test]
fn who_attaches_after_a_kill_counts_from_the_kill_and_not_from_the_start() {
    let mut told = Told { network: Network::new("lab".parse().unwrap(), "docker"), now: 20_000 };
    let dead = unit(3, UnitState::Dead, 13_000);
    told.truth(Truth::Listed(vec![unit(1, UnitState::Up, 1_000), unit(2, UnitState::Up, 1_000), dead]));
    for n in [1, 2] {
        told.joins(n, 1_000, &[1, 2], 15_500);
    }
    told.feed(FeedLine::CaughtUp);
    assert_eq!(told.summary().converged_in_ms, Some(2_500));
}

#[test]
fn nothing_is_claimed_before_the_engine_has_spoken_or_while_a_source_is_lost() {
    assert_eq!(Network::default().summary(UnixMillis(0)).verdict, Verdict::Unknown);
    let mut told = Told::of(2);
    let changes = told.truth(Truth::EngineLost("gone".into()));
    assert_eq!(kinds(&changes), [ChangeKind::Watch]);
    assert_eq!((told.summary().verdict, told.summary().converged), (Verdict::Unknown, false));
    assert_eq!(told.network.engine_lost().unwrap().1, "gone");
    told.truth(Truth::EngineBack);
    assert_eq!(told.summary().verdict, Verdict::Unknown, "until the list is there");
    told.truth(Truth::Listed(vec![unit(1, UnitState::Up, 1_000), unit(2, UnitState::Up, 1_000)]));
    assert_eq!(told.summary().verdict, Verdict::Converged);
    told.observe(Observation::FeedLost("refused".into()));
    assert_eq!(told.summary().verdict, Verdict::Unknown);
    told.observe(Observation::FeedBack);
    assert_eq!(told.summary().verdict, Verdict::Unknown, "until the history is whole");
    told.joins(1, 1_000, &[1, 2], 3_000);
    told.feed(FeedLine::CaughtUp);
    let summary = told.summary();
    assert_eq!((summary.verdict, summary.members.agree), (Verdict::Starting, 1), "node2 was not heard of again");
}

#[test]
fn a_node_that_is_made_or_has_not_reported_is_starting() {
    let mut told = Told::of(2);
    told.truth(Truth::Changed(unit(3, UnitState::Created, 20_000)));
    assert_eq!(told.summary().verdict, Verdict::Starting);
    told.truth(Truth::Changed(unit(3, UnitState::Up, 20_100)));
    let summary = told.summary();
    assert_eq!((summary.verdict, summary.members.missing), (Verdict::Starting, 1));
    assert_eq!(summary.reason, "node3 runs and has not reported yet");
    told.joins(3, 20_100, &[1, 2, 3], 20_300);
    assert_eq!(told.summary().verdict, Verdict::Converging, "the others do not know it yet");
    for n in [1, 2] {
        told.learns(n, MemberEventKind::Joined, 3, Status::Alive, 20_400 + u64::from(n));
    }
    assert_eq!(told.summary().converged_in_ms, Some(302));
}

#[test]
fn a_dead_node_is_a_ghost_until_the_last_survivor_knows() {
    let mut told = Told::of(4);
    let changes = told.dies(4, 30_000);
    assert_eq!(kinds(&changes), [ChangeKind::Dead, ChangeKind::Diverged]);
    let summary = told.summary();
    assert_eq!((summary.verdict, summary.members.ghosts, summary.members.agree), (Verdict::Converging, 1, 0));
    assert_eq!(told.network.node(&name(1)).unwrap().ghosts, 1);
    let changes = told.says(
        1,
        Report::Member {
            event: event(MemberEventKind::Suspected, 4, Status::Suspect, Some(1)),
            at: UnixMillis(31_000),
        },
    );
    assert_eq!((kinds(&changes), changes[0].text.as_str()), (vec![ChangeKind::Suspected], "accused by node1"));
    assert_eq!(told.summary().members.suspects, 1);
    for n in [2, 3] {
        let suspicion = event(MemberEventKind::Suspected, 4, Status::Suspect, Some(n));
        assert!(told.says(n, Report::Member { event: suspicion, at: UnixMillis(31_100) }).is_empty(), "told once");
    }
    let changes = told.learns(2, MemberEventKind::Died, 4, Status::Dead, 33_000);
    assert_eq!(changes[0].text, "declared dead, first by node2; 3 nodes accuse it");
    assert!(told.learns(1, MemberEventKind::Died, 4, Status::Dead, 33_200).is_empty());
    let changes = told.learns(3, MemberEventKind::Died, 4, Status::Dead, 33_500);
    assert_eq!(kinds(&changes), [ChangeKind::DeclaredDead, ChangeKind::Converged]);
    assert_eq!(changes[0].text, "all 3 survivors know, first 3.0 s, last 3.5 s after its end");
    let summary = told.summary();
    assert_eq!((summary.converged_in_ms, summary.members.ghosts, summary.nodes.dead), (Some(3_500), 0, 1));
    told.now = 99_000;
    told.feed(FeedLine::Idle);
    assert_eq!(told.summary().converged_in_ms, Some(3_500), "looking later changes nothing");
}

#[test]
fn ten_deaths_of_a_hundred_make_tens_of_lines() {
    let mut told = Told::of(100);
    let mut lines = 0;
    for dead in 91..=100 {
        lines += told.dies(dead, 30_000).len();
    }
    for observer in 1..=90 {
        for dead in 91..=100 {
            for (kind, status) in [(MemberEventKind::Suspected, Status::Suspect), (MemberEventKind::Died, Status::Dead)]
            {
                let report =
                    Report::Member { event: event(kind, dead, status, Some(observer)), at: UnixMillis(32_000) };
                lines += told
                    .network
                    .observe(UnixMillis(32_000), Observation::Feed(FeedLine::Report { node: name(observer), report }))
                    .len();
            }
        }
    }
    told.network.check();
    assert!((30..=50).contains(&lines), "{lines} lines");
    assert!(told.summary().converged, "{}", told.summary().reason);
}

#[test]
fn an_old_ghost_and_a_late_message_are_degraded() {
    let mut told = Told::of(3);
    told.dies(3, 30_000);
    told.now = 45_000;
    assert_eq!(told.summary().verdict, Verdict::Converging);
    told.now = 45_001;
    let summary = told.summary();
    assert_eq!(summary.verdict, Verdict::Degraded);
    assert_eq!(summary.reason, "node3 is gone for 15 s and still believed alive by 2 nodes");

    let mut told = Told::of(3);
    told.has(1, &message(1, 1), 30_000, &[1]);
    assert_eq!((told.summary().verdict, told.summary().converging_for_ms), (Verdict::Converging, Some(0)));
    told.now = 40_001;
    let summary = told.summary();
    assert_eq!((summary.verdict, summary.members.agree), (Verdict::Degraded, 3));
    assert_eq!(summary.reason, format!("message {} has not reached 2 nodes after 10 s", message(1, 1)));
}

#[test]
fn groups_that_see_only_themselves_are_a_partition() {
    let mut told = Told::of(4);
    for (observer, lost) in [(1, 3), (1, 4), (2, 3), (2, 4), (3, 1), (3, 2), (4, 1)] {
        told.learns(observer, MemberEventKind::Died, lost, Status::Dead, 30_000);
    }
    assert_eq!(told.summary().verdict, Verdict::Partitioned, "a view one way only does not join two groups");
    told.learns(4, MemberEventKind::Died, 2, Status::Dead, 30_001);
    let summary = told.summary();
    assert_eq!((summary.verdict, summary.members.missing), (Verdict::Partitioned, 4));
    assert_eq!(summary.reason, "2 groups see only themselves: 2, 2 nodes");
}

#[test]
fn a_node_that_has_just_started_is_not_a_partition() {
    let mut told = Told::of(3);
    told.truth(Truth::Changed(unit(4, UnitState::Up, 19_000)));
    told.joins(4, 19_000, &[4], 19_100);
    assert_eq!(told.summary().verdict, Verdict::Converging);
    told.now = 29_000;
    assert_eq!(told.summary().verdict, Verdict::Partitioned);
}

#[test]
fn a_paused_node_is_neither_ghost_nor_missing() {
    let mut told = Told::of(3);
    told.now = 30_000;
    let changes = told.truth(Truth::Changed(Unit { since: None, ..unit(3, UnitState::Paused, 0) }));
    assert_eq!(kinds(&changes), [ChangeKind::Paused]);
    let summary = told.summary();
    assert_eq!((summary.verdict, summary.nodes.paused, summary.members.agree), (Verdict::Converged, 1, 2));
    assert_eq!(summary.converged_in_ms, Some(0), "there was nothing to agree on");
    told.learns(1, MemberEventKind::Died, 3, Status::Dead, 34_000);
    let summary = told.summary();
    assert_eq!((summary.verdict, summary.members.ghosts, summary.members.missing), (Verdict::Converged, 0, 0));
    // Docker keeps the start time over a pause: the change is now all the same.
    told.now = 50_000;
    told.truth(Truth::Changed(unit(3, UnitState::Up, 1_000)));
    let summary = told.summary();
    assert_eq!(
        (summary.verdict, summary.members.missing, summary.converging_for_ms),
        (Verdict::Converging, 1, Some(0))
    );
    told.learns(1, MemberEventKind::CameBack, 3, Status::Alive, 51_200);
    assert_eq!(told.summary().converged_in_ms, Some(1_200));
}

#[test]
fn a_digest_that_does_not_match_takes_the_node_out_of_the_numbers() {
    let mut told = Told::of(3);
    told.says(2, Report::View { digest: ViewDigest { members: 3, hash: 7 }, at: UnixMillis(21_000) });
    let summary = told.summary();
    assert_eq!((summary.verdict, summary.members.agree, summary.members.missing), (Verdict::Converging, 2, 0));
    assert!(!told.network.node(&name(2)).unwrap().reporting);
    assert_eq!(summary.reason, "node2 does not agree (no report that holds)");
    told.says(2, view_of(&[1, 2, 3], 21_500));
    assert!(told.summary().converged, "back in step");
}

#[test]
fn a_former_life_does_not_speak_for_a_restarted_node() {
    let mut told = Told::of(3);
    told.dies(3, 30_000);
    told.now = 31_000;
    // The link of the former life has not been missed yet.
    told.truth(Truth::Changed(unit(3, UnitState::Up, 31_000)));
    let summary = told.summary();
    assert_eq!((summary.verdict, summary.members.agree), (Verdict::Starting, 2));
    told.joins(3, 31_100, &[1, 2, 3], 31_200);
    assert!(told.summary().converged);

    // The new life may also report before the engine's slow list tells of the death.
    let mut told = Told::of(3);
    told.now = 31_000;
    told.joins(3, 30_500, &[1, 2, 3], 30_600);
    told.dies(3, 30_000);
    told.truth(Truth::Changed(unit(3, UnitState::Up, 30_400)));
    assert!(told.summary().converged, "{}", told.summary().reason);
}

#[test]
fn the_gateway_is_no_member_and_a_removed_unit_is_gone() {
    let mut told = Told::of(3);
    let gateway = Unit { name: "gateway".parse().unwrap(), role: Role::Gateway, ..unit(1, UnitState::Up, 1_000) };
    told.truth(Truth::Changed(gateway));
    assert_eq!(told.network.nodes().count(), 3);
    let changes = told.truth(Truth::Removed(name(2)));
    assert_eq!(kinds(&changes), [ChangeKind::Removed, ChangeKind::Diverged]);
    assert_eq!((told.network.nodes().count(), told.summary().members.ghosts), (2, 1));
    // A list makes up for an event that was lost.
    told.truth(Truth::Listed(vec![unit(1, UnitState::Up, 1_000)]));
    assert_eq!((told.summary().nodes.up, told.summary().members.ghosts), (1, 2));
}

#[test]
fn a_broadcast_is_expected_at_who_was_there_and_delivered_once_to_each() {
    let mut told = Told::of(3);
    let id = message(1, 1);
    let changes = told.has(1, &id, 30_000, &[1]);
    assert_eq!((kinds(&changes), changes[0].text.as_str()), (vec![ChangeKind::Accepted], "\"apple\""));
    told.has(2, &id, 30_010, &[1, 2]);
    // Booted later: it may have the message and is not counted.
    told.truth(Truth::Changed(unit(4, UnitState::Up, 30_500)));
    told.joins(4, 30_500, &[1, 2, 3, 4], 30_600);
    told.has(4, &id, 30_700, &[1, 4]);
    let trace = told.network.traces().next().unwrap().clone();
    assert_eq!((trace.delivered, trace.expected, trace.duplicates), (2, 3, 0));
    let changes = told.has(3, &id, 30_020, &[1, 2, 3]);
    assert_eq!(changes[0].text, "\"apple\" reached 3 nodes in 700 ms, 2 hops at most");
    told.has(3, &id, 30_900, &[1, 3]);
    let counts = told.summary().messages;
    assert_eq!((counts.accepted, counts.delivered, counts.expected, counts.duplicates), (1, 3, 3, 1));
    let order: Vec<_> = told.network.traces().next().unwrap().arrivals.iter().map(|a| a.node.to_string()).collect();
    assert_eq!(order, ["node1", "node2", "node3", "node4"]);
}

#[test]
fn who_received_before_it_died_stays_in_the_account_and_who_did_not_leaves_it() {
    let mut told = Told::of(4);
    let id = message(1, 1);
    told.has(1, &id, 30_000, &[1]);
    told.has(2, &id, 30_010, &[1, 2]);
    told.dies(2, 31_000);
    let trace = told.network.trace(&id).unwrap().clone();
    assert_eq!((trace.delivered, trace.expected), (2, 4));
    told.has(3, &id, 31_010, &[1, 3]);
    let changes = told.dies(4, 32_000);
    assert!(kinds(&changes).contains(&ChangeKind::Delivered), "nobody else is to have it");
    let trace = told.network.trace(&id).unwrap().clone();
    assert_eq!((trace.delivered, trace.expected), (3, 3));
}

#[test]
fn a_snapshot_that_repeats_known_messages_makes_no_duplicates() {
    let mut told = Told::of(2);
    let id = message(1, 1);
    told.has(1, &id, 30_000, &[1]);
    told.has(2, &id, 30_010, &[1, 2]);
    let members = vec![row(1, Status::Alive)];
    for _ in 0..3 {
        let deliveries = vec![delivery(&id, 30_010, &[1, 2])];
        told.says(2, Report::Snapshot { members: members.clone(), deliveries, links: vec![] });
    }
    let counts = told.summary().messages;
    assert_eq!((counts.delivered, counts.duplicates), (2, 0));
    let deliveries = vec![delivery(&id, 30_010, &[1, 2]); 2];
    told.says(2, Report::Snapshot { members, deliveries, links: vec![] });
    assert_eq!(told.summary().messages.duplicates, 1, "one life reported it twice");
}

#[test]
fn totals_outlive_the_traces_that_were_dropped() {
    let mut told = Told::of(2);
    let count = super::books::TRACES_MAX as u64 + 50;
    for seq in 1..=count {
        let id = message(1, seq);
        for (node, path) in [(1, &[1][..]), (2, &[1, 2][..])] {
            let line =
                FeedLine::Report { node: name(node), report: Report::Delivered(delivery(&id, 30_000 + seq, path)) };
            told.network.observe(UnixMillis(60_000), Observation::Feed(line));
        }
    }
    told.network.check();
    let counts = told.summary().messages;
    assert_eq!((counts.accepted, counts.delivered, counts.expected), (count, 2 * count, 2 * count));
    assert_eq!(told.network.traces().count(), super::books::TRACES_MAX);
    told.has(2, &message(1, 3), 30_003, &[1, 2]);
    assert_eq!(told.summary().messages.accepted, count, "a dropped trace is not counted again");
}

#[test]
fn cpu_share_comes_from_two_reports_of_one_life() {
    let mut told = Told::of(1);
    let load = |cpu_ms| Report::Load(Load { cpu_ms, rss_bytes: 5 << 20, ..Load::default() });
    told.says(1, load(1_000));
    assert_eq!(told.network.node(&name(1)).unwrap().cpu_percent, None);
    told.now += 5_000;
    told.says(1, load(1_100));
    assert_eq!(told.network.node(&name(1)).unwrap().cpu_percent, Some(2.0));
    assert_eq!(told.summary().detail[0].rss_bytes, Some(5 << 20));
}

#[test]
fn the_last_word_of_a_node_about_its_links_counts() {
    let mut told = Told::of(2);
    let link = |peer, eager| OverlayLink { peer: name(peer), eager };
    told.says(1, Report::Links { links: vec![link(2, true), link(3, false)], at: UnixMillis(9) });
    told.says(1, Report::Links { links: vec![link(2, false)], at: UnixMillis(10) });
    let links = |told: &Told, node| told.network.links(&name(node)).cloned().collect::<Vec<_>>();
    assert_eq!((links(&told, 1), links(&told, 2)), (vec![link(2, false)], vec![]));
    told.joins(1, 2_000, &[1, 2], 2_000);
    assert_eq!(links(&told, 1), [], "a new life begins without");
    told.says(1, Report::Links { links: (10..10_000).map(|peer| link(peer, true)).collect(), at: UnixMillis(11) });
    assert!(links(&told, 1).len() <= 64, "what comes from outside is bounded");
    assert_eq!(told.network.links(&name(77)).count(), 0);
}

#[test]
fn a_name_from_outside_cannot_fill_memory() {
    let mut told = Told::of(1);
    let members = (0..10_000).map(|n| row(n + 10, Status::Alive)).collect();
    told.says(1, Report::Snapshot { members, deliveries: vec![], links: vec![] });
    assert!(!told.network.node(&name(1)).unwrap().reporting, "it is out of step");
    assert!(told.network.slots.len() <= super::NAMES_MAX);
}

/// Counts everything anew: what is kept as running numbers must never drift.
impl Network {
    fn check(&self) {
        let counts = |slot: &&super::Slot| slot.is_to_count();
        assert!(self.slots.iter().all(|slot| slot.counted == slot.is_to_count()));
        assert_eq!(self.counted as usize, self.slots.iter().filter(counts).count());
        for (at, slot) in self.slots.iter().enumerate() {
            let views = || self.slots.iter().filter(counts).filter_map(|slot| slot.observer.as_ref());
            assert_eq!(slot.believers as usize, views().filter(|o| o.alive.contains(at)).count(), "{}", slot.name);
            assert_eq!(slot.suspecters as usize, views().filter(|o| o.suspects.contains(at)).count());
            assert_eq!(self.up.contains(at), slot.fate == super::Fate::Up);
            assert_eq!(self.gone.contains(at), slot.fate == super::Fate::Gone);
            if let Some(observer) = &slot.observer {
                let alive = observer.alive.iter().map(|member| &self.slots[member].name);
                assert_eq!(alive.collect::<ViewDigest>(), observer.digest);
            }
        }
        let agrees = |node: &&super::Node| {
            let others = |state: fn(UnitState) -> bool, believed: bool| {
                self.slots
                    .iter()
                    .filter(|slot| {
                        slot.row.as_ref().is_some_and(|row| state(row.state)) || (slot.row.is_none() && !believed)
                    })
                    .filter(|slot| self.believes(&node.name, &slot.name) != Some(believed))
                    .count()
            };
            node.state == UnitState::Up
                && node.reporting
                && others(|state| state == UnitState::Up, true) == 0
                && others(|state| matches!(state, UnitState::Dead | UnitState::Left), false) == 0
        };
        for node in self.nodes() {
            assert_eq!(node.agrees, agrees(&node), "{}", node.name);
        }
        assert_eq!(self.agreeing as usize, self.nodes().filter(|node| node.agrees).count());
        self.keys.account_check();
        self.books.check();
    }
}

fn states() -> impl Strategy<Value = UnitState> {
    use UnitState::{Created, Dead, Left, Paused, Up};
    prop_oneof![4 => Just(Up), 1 => Just(Created), 1 => Just(Paused), 2 => Just(Dead), 1 => Just(Left)]
}

fn statuses() -> impl Strategy<Value = Status> {
    prop_oneof![Just(Status::Alive), Just(Status::Suspect), Just(Status::Dead), Just(Status::Left)]
}

fn units() -> impl Strategy<Value = Unit> {
    (1..6_u32, states(), proptest::option::of(0..200_u64))
        .prop_map(|(n, state, since)| Unit { since: since.map(UnixMillis), ..unit(n, state, 0) })
}

fn deliveries() -> impl Strategy<Value = Delivery> {
    (1..6_u32, 0..3_u64, 0..200_u64, 1..6_u32).prop_map(|(origin, seq, at, to)| {
        let id = MessageId { origin: name(origin), epoch: Epoch(seq * 50), seq };
        delivery(&id, at, &[origin, to])
    })
}

fn reports() -> impl Strategy<Value = Report> {
    use MemberEventKind::{CameBack, Died, Joined, Left, Refuted, Suspected};
    let kinds = prop_oneof![Just(Joined), Just(Suspected), Just(Refuted), Just(Died), Just(Left), Just(CameBack)];
    let rows = || {
        (1..8_u32, statuses(), 0..3_u32)
            .prop_map(|(n, status, incarnation)| MemberRow { incarnation, ..row(n, status) })
    };
    prop_oneof![
        2 => (0..200_u64).prop_map(|epoch| Report::Hello {
            id: uuid::Uuid::nil(), epoch: Epoch(epoch), addr: "1.2.3.4:5".parse().unwrap() }),
        2 => (proptest::collection::vec(rows(), 0..6), proptest::collection::vec(deliveries(), 0..4))
            .prop_map(|(members, deliveries)| Report::Snapshot { members, deliveries, links: vec![] }),
        4 => (kinds, rows(), proptest::option::of(1..8_u32), 0..200_u64).prop_map(|(kind, row, accuser, at)| {
            Report::Member { event: MemberEvent { kind, row, accuser: accuser.map(name), accusers: 1, new_life: false }, at: UnixMillis(at) }
        }),
        1 => (proptest::collection::vec(1..6_u32, 0..5), 0..200_u64).prop_map(|(names, at)| view_of(&names, at)),
        4 => deliveries().prop_map(Report::Delivered),
        1 => (0..9_999_u64).prop_map(|cpu_ms| Report::Load(Load { cpu_ms, ..Load::default() })),
        1 => Just(Report::Leaving),
    ]
}

fn observations() -> impl Strategy<Value = Observation> {
    let interruptions = prop_oneof![
        Just(Observation::Truth(Truth::EngineLost("x".into()))),
        Just(Observation::Truth(Truth::EngineBack)),
        Just(Observation::Feed(FeedLine::Overrun)),
        Just(Observation::FeedLost("y".into())),
        Just(Observation::FeedBack),
    ];
    prop_oneof![
        3 => units().prop_map(|unit| Observation::Truth(Truth::Changed(unit))),
        2 => proptest::collection::vec(units(), 0..6).prop_map(|units| Observation::Truth(Truth::Listed(units))),
        1 => (1..6_u32).prop_map(|n| Observation::Truth(Truth::Removed(name(n)))),
        12 => (1..6_u32, reports()).prop_map(|(n, report)| Observation::Feed(FeedLine::Report { node: name(n), report })),
        1 => (1..6_u32).prop_map(|n| Observation::Feed(FeedLine::Lost { node: name(n), at: UnixMillis(9) })),
        2 => Just(Observation::Feed(FeedLine::CaughtUp)),
        1 => interruptions,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is observed, in whatever order: no panic, and the running numbers are those of a recount.
    #[test]
    fn any_observations_keep_the_numbers_right(all in proptest::collection::vec((0..300_u64, observations()), 1..60)) {
        let mut network = Network::default();
        for (now, observation) in all {
            network.observe(UnixMillis(now), observation);
            network.check();
            let summary = network.summary(UnixMillis(now));
            prop_assert_eq!(summary.converged, summary.verdict == Verdict::Converged);
            prop_assert!(summary.messages.delivered <= summary.messages.expected);
            prop_assert!(summary.members.agree <= summary.nodes.up);
            if summary.converged {
                prop_assert_eq!((summary.members.agree, summary.members.ghosts, summary.members.missing), (summary.nodes.up, 0, 0));
            }
        }
    }
}
