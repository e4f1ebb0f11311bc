//! The numbers, the verdict, and the time agreement took.

use p2pnet_shared::{
    UnixMillis,
    telemetry::{DiskState, FolderState},
};

use super::{
    Change, ChangeKind, Detail, Fate, FaultState, MemberCounts, Network, Node, NodeCounts, Summary, Verdict, bits::Bits,
};
use crate::cluster::UnitState;

/// A ghost this old is more than the failure detector's bound (10 s for the slowest of its rules, and the way of the
/// news), milliseconds.
const GHOST_MAX_MS: u64 = 15_000;
/// A broadcast takes well under a second, and repair a few: one this old does not arrive by itself, milliseconds.
const MESSAGE_MAX_MS: u64 = 10_000;
/// A node this young in its state is still being found by the others: alone is not cut off, milliseconds. SWIM accuses
/// nobody in its first 10 s either.
const YOUNG_MS: u64 = 10_000;

impl Network {
    /// The numbers everything else is built on, as of `now`.
    #[must_use]
    pub fn summary(&self, now: UnixMillis) -> Summary {
        let nodes = self.node_counts();
        let members = self.member_counts();
        let (verdict, reason) = self.verdict(now, &nodes, &members);
        let converged = verdict == Verdict::Converged;
        let faults = self.faults(now);
        let settled = self.settled.filter(|(change, _)| converged && *change == self.truth_changed_at);
        Summary {
            network: self.name.clone(),
            runtime: self.runtime.clone(),
            verdict,
            reason,
            converged,
            converged_in_ms: settled.and_then(|(_, took)| took),
            converging_for_ms: self.disturbed_at(&faults, now).filter(|_| !converged).map(|at| now.since(at)),
            nodes,
            members,
            ring: self.ring_counts(now),
            messages: self.message_counts(),
            files: self.files_counts(now),
            overlay: self.overlay_counts(),
            faults,
            detail: self.nodes().map(|node| self.detail(node)).collect(),
        }
    }

    /// Since when there is something to agree on anew: the last change of the truth, or the last fault.
    fn disturbed_at(&self, faults: &[FaultState], now: UnixMillis) -> Option<UnixMillis> {
        let fault = faults.iter().map(|fault| UnixMillis(now.since(UnixMillis(fault.for_ms)))).max();
        self.truth_changed_at.max(fault)
    }

    fn node_counts(&self) -> NodeCounts {
        let mut counts = NodeCounts::default();
        for node in self.nodes() {
            *match node.state {
                UnitState::Created => &mut counts.starting,
                UnitState::Up => &mut counts.up,
                UnitState::Paused => &mut counts.paused,
                UnitState::Dead => &mut counts.dead,
                UnitState::Left => &mut counts.left,
            } += 1;
            counts.wanted += u32::from(node.state != UnitState::Left);
        }
        counts
    }

    fn member_counts(&self) -> MemberCounts {
        let mut counts = MemberCounts { agree: self.agreeing, ..MemberCounts::default() };
        for slot in &self.slots {
            counts.ghosts += u32::from(slot.fate == Fate::Gone && slot.believers > 0);
            counts.missing += u32::from(slot.fate == Fate::Up && slot.believers < self.counted);
            counts.suspects += u32::from(slot.suspecters > 0);
        }
        counts
    }

    /// The first that applies, with the reason why it is not better.
    fn verdict(&self, now: UnixMillis, nodes: &NodeCounts, members: &MemberCounts) -> (Verdict, String) {
        if let Some(reason) = self.unknown() {
            return (Verdict::Unknown, reason);
        }
        if let Some(reason) = self.starting(nodes) {
            return (Verdict::Starting, reason);
        }
        if members.missing > 0 {
            let groups = self.groups(now);
            if groups.len() > 1 {
                let sizes: Vec<String> = groups.iter().map(u32::to_string).collect();
                let sizes = if sizes.len() > 5 { format!("{} …", sizes[..5].join(", ")) } else { sizes.join(", ") };
                return (Verdict::Partitioned, format!("{} groups see only themselves: {sizes} nodes", groups.len()));
            }
        }
        if let Some(reason) = self.degraded(now, nodes) {
            return (Verdict::Degraded, reason);
        }
        if let Some(reason) = self.converging(now, nodes, members) {
            return (Verdict::Converging, reason);
        }
        (Verdict::Converged, format!("all {} nodes that are up agree", nodes.up))
    }

    fn unknown(&self) -> Option<String> {
        if let Some((_, why)) = self.engine_lost() {
            return Some(format!("the engine does not answer: {why}"));
        }
        if let Some((_, why)) = self.feed_lost() {
            return Some(format!("the gateway does not answer: {why}"));
        }
        if !self.engine.complete {
            return Some("the engine has not yet said which nodes there are".into());
        }
        (!self.feed.stands()).then(|| "the gateway is telling its history anew".into())
    }

    fn starting(&self, nodes: &NodeCounts) -> Option<String> {
        if nodes.starting > 0 {
            return Some(format!("{} of {} nodes are made and do not run yet", nodes.starting, nodes.wanted));
        }
        let silent = |node: &&Node| node.state == UnitState::Up && !node.reporting && !self.has_reported(node);
        let (count, first) = some(self.nodes().filter(silent));
        let first = first?;
        Some(match count {
            1 => format!("{} runs and has not reported yet", first.name),
            _ => format!("{count} of {} nodes run and have not reported yet", nodes.up),
        })
    }

    /// Whether we have heard from this node's present life.
    fn has_reported(&self, node: &Node) -> bool {
        let observer = self.index.get(&node.name).and_then(|slot| self.slots[*slot].observer.as_ref());
        observer.is_some_and(|observer| observer.has_view)
    }

    fn degraded(&self, now: UnixMillis, nodes: &NodeCounts) -> Option<String> {
        if nodes.up == 0 {
            return Some("no node is up".into());
        }
        let ghosts = self.slots.iter().filter(|slot| slot.fate == Fate::Gone && slot.believers > 0);
        let oldest = ghosts.min_by_key(|slot| slot.fate_since);
        if let Some(ghost) = oldest.filter(|slot| now.since(slot.fate_since) > GHOST_MAX_MS) {
            let seconds = now.since(ghost.fate_since) / 1_000;
            return Some(format!(
                "{} is gone for {seconds} s and still believed alive by {}",
                ghost.name,
                nodes_text(ghost.believers)
            ));
        }
        if let Some(reason) = self.disk_trouble() {
            return Some(reason);
        }
        match self.out_of_reach() {
            0 => {}
            1 => return Some("a key is out of reach: every node that holds it is down".into()),
            many => return Some(format!("{many} keys are out of reach: every node that holds them is down")),
        }
        if let Some(reason) = self.files_trouble(now) {
            return Some(reason);
        }
        let late = self.books.oldest_outstanding()?;
        let age = now.since(late.accepted_at);
        (age > MESSAGE_MAX_MS).then(|| {
            let missing = late.expected - late.delivered;
            format!("message {} has not reached {} after {} s", late.id, nodes_text(missing), age / 1_000)
        })
    }

    fn converging(&self, now: UnixMillis, nodes: &NodeCounts, members: &MemberCounts) -> Option<String> {
        let (count, first) = some(self.nodes().filter(|node| node.state == UnitState::Up && !node.agrees));
        if let Some(first) = first {
            let who = match count {
                1 => format!("{} does not agree", first.name),
                _ => format!("{count} of {} nodes do not agree", nodes.up),
            };
            let why = match (members.ghosts, members.missing) {
                (0, 0) => "no report that holds".to_owned(),
                (ghosts, 0) => format!("ghosts: {ghosts}"),
                (0, missing) => format!("missing: {missing}"),
                (ghosts, missing) => format!("ghosts: {ghosts}, missing: {missing}"),
            };
            return Some(format!("{who} ({why})"));
        }
        match self.books.outstanding() {
            0 => self
                .keys_reason()
                .or_else(|| self.files_reason(now))
                .or_else(|| (!self.feed.complete).then(|| "the gateway has not told all it knows".into())),
            1 => Some("a message is on its way".into()),
            many => Some(format!("{many} messages are on their way")),
        }
    }

    /// What the store lacks: a ring of all, or copies.
    fn keys_reason(&self) -> Option<String> {
        if !self.rings_agree() {
            let mut others = self.other_rings();
            let (first, more) = (others.next(), others.count());
            return Some(match first {
                None => "not every node has told its ring".into(),
                Some(first) if more == 0 => format!("{first} sees another ring"),
                Some(_) => format!("{} nodes see another ring", more + 1),
            });
        }
        let (short, settled) = (self.short(true), self.short(false));
        Some(match (settled, short) {
            (0, 0) => return None,
            (0, 1) => "a key is being written".into(),
            (0, many) => format!("{many} keys are being written"),
            (1, _) => "a key is short of copies".into(),
            (many, _) => format!("{many} keys are short of copies"),
        })
    }

    /// The sizes of the groups whose members believe each other alive, largest first; young nodes are left out, and so
    /// is who does not report.
    fn groups(&self, now: UnixMillis) -> Vec<u32> {
        let mut left = Bits::default();
        for (slot, held) in self.slots.iter().enumerate().filter(|(_, held)| held.counted) {
            let booted = held.observer.as_ref().map_or(UnixMillis(0), |observer| observer.epoch.booted_at());
            left.set(slot, now.since(booted.max(held.fate_since)) >= YOUNG_MS);
        }
        let views = |slot: usize| self.slots[slot].observer.as_ref().map(|observer| &observer.alive);
        let mut groups = Vec::new();
        while let Some(start) = left.first() {
            left.set(start, false);
            let (mut size, mut border) = (0, vec![start]);
            while let Some(at) = border.pop() {
                size += 1;
                let mutual = |other: &usize| {
                    views(at).is_some_and(|view| view.contains(*other))
                        && views(*other).is_some_and(|view| view.contains(at))
                };
                let found: Vec<usize> = left.iter().filter(mutual).collect();
                for other in found {
                    left.set(other, false);
                    border.push(other);
                }
            }
            groups.push(size);
        }
        groups.sort_unstable_by(|a, b| b.cmp(a));
        groups
    }

    /// Whose disk takes no writes.
    fn disk_trouble(&self) -> Option<String> {
        let up = self.nodes().filter(|node| node.state == UnitState::Up);
        let mut odd = up
            .filter_map(|node| Some((node, self.stock(&node.name)?.disk)))
            .filter(|(_, disk)| *disk != DiskState::Fine);
        let (first, disk) = odd.next()?;
        let word = if disk == DiskState::Full { "full" } else { "broken" };
        Some(match odd.count() {
            0 => format!("the disk of {} is {word}", first.name),
            more => format!("the disks of {} and {more} more take no writes", first.name),
        })
    }

    /// Members and rings agree, whatever messages and keys do.
    fn members_agree(&self) -> bool {
        let up = self.up.count();
        up > 0 && self.agreeing == up && self.rings_agree() && self.count_state(UnitState::Created) == 0
    }

    /// When members came to agree, given that they do: the last change of any view that counts.
    fn agreed_at(&self, now: UnixMillis) -> UnixMillis {
        let up = self.nodes().filter(|node| node.state == UnitState::Up);
        let views = up.filter_map(|node| node.view_changed_at).max();
        views.max(self.rings_agreed_at()).max(self.truth_changed_at).unwrap_or(now)
    }

    /// Notes the moment of agreement, and tells when members begin or cease to agree.
    ///
    /// The moment is made from the stamps of those who were there: the last change of any view that counts, and the
    /// last arrival of a message. So it is right also for who attaches only afterwards.
    pub(super) fn settle(&mut self, now: UnixMillis, changes: &mut Vec<Change>) {
        let hears = self.engine.complete && self.feed.complete && self.engine.stands() && self.feed.stands();
        if !hears {
            return;
        }
        // Cheap first: this runs at every observation, and most leave everything as it was.
        let agree = self.agreeing == self.up.count() && self.members_agree();
        let whole_at = self.whole_at(now);
        if agree
            && whole_at.is_some()
            && self.books.outstanding() == 0
            && self.files_agree(now)
            && self.settled.is_none_or(|(at, _)| at != self.truth_changed_at)
        {
            let reached = self.agreed_at(now).max(self.books.last_arrival()).max(whole_at.unwrap_or_default());
            let reached = reached.max(self.files_agreed_at().unwrap_or_default().min(now));
            self.settled = Some((self.truth_changed_at, self.truth_changed_at.map(|change| reached.since(change))));
        }
        match (self.told_agreement, agree) {
            (Some(false) | None, true) => {
                let after = self.truth_changed_at.map(|change| self.agreed_at(now).since(change) as f64 / 1_000.0);
                let text = format!("all {} nodes that are up agree", self.up.count());
                let text = match after {
                    Some(after) => format!("{text}, {after:.1} s after the last change"),
                    None => text,
                };
                changes.push(Change::all(self.agreed_at(now).min(now), ChangeKind::Converged, text));
            }
            (Some(true), false) => {
                let (_, reason) = self.verdict(now, &self.node_counts(), &self.member_counts());
                changes.push(Change::all(now, ChangeKind::Diverged, reason));
            }
            _ => {}
        }
        self.told_agreement = Some(agree);
    }
}

fn some<'a>(mut nodes: impl Iterator<Item = &'a Node>) -> (usize, Option<&'a Node>) {
    let first = nodes.next();
    (usize::from(first.is_some()) + nodes.count(), first)
}

fn nodes_text(count: u32) -> String {
    if count == 1 { "1 node".into() } else { format!("{count} nodes") }
}

impl Network {
    fn detail(&self, node: &Node) -> Detail {
        let stock = self.stock(&node.name);
        let folder = self.told_folder(&node.name).filter(|counts| counts.state != FolderState::NoFolder);
        Detail {
            name: node.name.clone(),
            address: node.address.map(|address| format!("http://{address}")),
            state: node.state,
            members: node.view.members,
            agrees: node.agrees,
            keys: stock.map(|counts| counts.keys),
            disk: stock.map(|counts| counts.disk),
            files: folder.map(|counts| counts.files_here),
            folder: self.told_folder(&node.name).map(|counts| counts.state),
            rss_bytes: node.load.as_ref().map(|load| load.rss_bytes),
            messages: node.messages,
        }
    }
}
