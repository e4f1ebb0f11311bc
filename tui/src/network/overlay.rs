//! The overlay as its nodes report it: how many links, how evenly spread, how many of them carry messages, and what the
//! recent broadcasts cost and took.
//!
//! A link is told by both its ends, and each says for itself whether it pushes over it. Plumtree calls *eager* what
//! carries messages and *lazy* what only announces them; the eager links are the tree. Its measure of waste, relative
//! message redundancy, is here the payloads that a node had already had for each one that was news, over the last minute.

use std::collections::HashSet;

use serde::Serialize;

use p2pnet_shared::{NodeName, UnixMillis, telemetry::Load, wire::broadcast::Via};

use super::{MessageCounts, Network, Summary, slot::Fate};

/// Broadcasts that [`Ways`] looks at, the newest.
const RECENT: usize = 20;
/// Load reports kept of each node to tell what was recent: a minute of them.
pub(super) const LOADS_KEPT: usize = 12;

/// How messages travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Every link carries every message.
    Flood,
    /// Some links only announce.
    Tree,
}

/// The overlay of the nodes that are up.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct OverlayCounts {
    /// Nodes that have told their links.
    pub nodes: u32,
    /// Pairs of nodes with a link between them.
    pub links: u32,
    /// Those over which at least one end pushes messages.
    pub eager: u32,
    /// The others, which only announce.
    pub lazy: u32,
    /// Links that only one end knows of: one that is being made, or was just lost.
    pub one_sided: u32,
    /// Fewest links of a node.
    pub degree_min: u32,
    /// Links of a node on average.
    pub degree_mean: f64,
    /// Most links of a node.
    pub degree_max: u32,
    /// How messages travel; `null` without links.
    pub mode: Option<Mode>,
}

/// How the recent broadcasts came to the nodes they came to, their origins left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Ways {
    /// Passed on at once.
    pub push: u32,
    /// Asked for after an announcement.
    pub graft: u32,
    /// Brought by a comparison of marks.
    pub repair: u32,
    /// After a later message of the same origin.
    pub late: u32,
}

impl Summary {
    /// The links and what the recent broadcasts cost and took, in one line.
    #[must_use]
    pub fn overlay_text(&self) -> String {
        let Self { messages, overlay, .. } = self;
        let Some(mode) = overlay.mode else { return "no links".to_owned() };
        let mut text = format!(
            "{}, {} links, degree {} to {}, mean {:.1}",
            if mode == Mode::Tree { "tree" } else { "flood" },
            overlay.links,
            overlay.degree_min,
            overlay.degree_max,
            overlay.degree_mean,
        );
        if overlay.lazy > 0 {
            text += &format!(", {} eager", overlay.eager);
        }
        if let Some(redundancy) = messages.redundancy {
            text += &format!(", RMR {redundancy:.2}");
        }
        if let Some(hops) = messages.last_hop {
            let Ways { push, graft, repair, late } = messages.ways;
            text += &format!(", last hop {hops}; push {push}, graft {graft}, repair {repair}, late {late}");
        }
        text
    }

    /// The same in a few words: redundancy and last hop; empty before there was a message.
    #[must_use]
    pub fn overlay_words(&self) -> String {
        let redundancy = self.messages.redundancy.map(|redundancy| format!("RMR {redundancy:.2}"));
        let hops = self.messages.last_hop.map(|hops| format!("hop {hops}"));
        redundancy.into_iter().chain(hops).collect::<Vec<_>>().join(" ")
    }
}

/// Two decimals are what such a number is good for.
fn rounded(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

/// A payload counter of a node at one of its load reports.
#[derive(Debug, Clone, Copy)]
pub(super) struct Payloads {
    at: UnixMillis,
    all: u64,
    redundant: u64,
}

impl Payloads {
    pub(super) fn of(at: UnixMillis, load: &Load) -> Self {
        Self { at, all: load.payload_frames, redundant: load.redundant_frames }
    }
}

impl Network {
    /// The overlay of the nodes that are up and report.
    pub(super) fn overlay_counts(&self) -> OverlayCounts {
        let mut counts = OverlayCounts { degree_min: u32::MAX, ..OverlayCounts::default() };
        let (mut told, mut eager) = (HashSet::new(), HashSet::new());
        let mut ends = 0_u32;
        for (slot, links) in self.overlay_links() {
            counts.nodes += 1;
            let degree = u32::try_from(links.len()).unwrap_or(u32::MAX);
            (counts.degree_min, counts.degree_max) = (counts.degree_min.min(degree), counts.degree_max.max(degree));
            ends = ends.saturating_add(degree);
            for link in links {
                let Some(peer) = self.index.get(&link.peer).copied() else { continue };
                let pair = (slot.min(peer), slot.max(peer));
                // The second end to tell of it makes it two-sided.
                counts.one_sided =
                    if told.insert(pair) { counts.one_sided + 1 } else { counts.one_sided.saturating_sub(1) };
                if link.eager {
                    eager.insert(pair);
                }
            }
        }
        counts.degree_min = if counts.nodes == 0 { 0 } else { counts.degree_min };
        counts.degree_mean = if counts.nodes == 0 { 0.0 } else { rounded(f64::from(ends) / f64::from(counts.nodes)) };
        counts.links = u32::try_from(told.len()).unwrap_or(u32::MAX);
        counts.eager = u32::try_from(eager.len()).unwrap_or(u32::MAX);
        counts.lazy = counts.links - counts.eager;
        counts.mode = (counts.links > 0).then_some(if counts.lazy > 0 { Mode::Tree } else { Mode::Flood });
        counts
    }

    /// The books' numbers, with what the recent messages cost and how they came.
    pub(super) fn message_counts(&self) -> MessageCounts {
        let mut ways = Ways::default();
        let mut last_hop = None;
        for trace in self.books.traces().rev().take(RECENT) {
            last_hop = last_hop.max(Some(u32::try_from(trace.hops_max()).unwrap_or(u32::MAX)));
            for arrival in &trace.arrivals {
                match arrival.via {
                    Via::Own => continue,
                    Via::Push => ways.push += 1,
                    Via::Graft => ways.graft += 1,
                    Via::Repair => ways.repair += 1,
                }
                ways.late += u32::from(arrival.late);
            }
        }
        MessageCounts { redundancy: self.redundancy(), last_hop, ways, ..self.books.totals() }
    }

    /// Payloads received in vain for each that was news, over what the nodes' last load reports tell.
    fn redundancy(&self) -> Option<f64> {
        let (mut all, mut redundant) = (0_u64, 0_u64);
        for observer in self.slots.iter().filter_map(|slot| slot.observer.as_ref()) {
            let (Some(first), Some(last)) = (observer.payloads.front(), observer.payloads.back()) else { continue };
            // Who has only just begun to listen has one report, which tells of the time since the node's start.
            let (all_before, redundant_before) =
                if first.at == last.at { (0, 0) } else { (first.all, first.redundant) };
            all = all.saturating_add(last.all.saturating_sub(all_before));
            redundant = redundant.saturating_add(last.redundant.saturating_sub(redundant_before));
        }
        let news = all.saturating_sub(redundant);
        (news > 0).then(|| rounded(redundant as f64 / news as f64))
    }

    /// Every node that is up with the links it told.
    fn overlay_links(&self) -> impl Iterator<Item = (usize, &[p2pnet_shared::telemetry::OverlayLink])> {
        self.slots.iter().enumerate().filter(|(_, slot)| slot.fate == Fate::Up).filter_map(|(at, slot)| {
            let observer = slot.observer.as_ref().filter(|observer| observer.has_view && observer.linked)?;
            Some((at, observer.links.as_slice()))
        })
    }

    /// A node's links as both ends have them: the neighbour, whether we push over it, whether it pushes to us (`None`: it
    /// does not know of the link, or has not told), and how many links it has.
    #[must_use]
    pub fn neighbours(&self, node: &NodeName) -> Vec<Neighbour> {
        let here = self.links(node).map(|link| {
            let there = self.links(&link.peer).find(|back| back.peer == *node).map(|back| back.eager);
            let others = self.links(&link.peer).map(|link| link.peer.clone()).collect();
            Neighbour { name: link.peer.clone(), eager: link.eager, back: there, others }
        });
        let mut all: Vec<Neighbour> = here.collect();
        all.sort_by(|a, b| (!a.eager, a.name.display_order()).cmp(&(!b.eager, b.name.display_order())));
        all
    }
}

/// One overlay neighbour of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// Who.
    pub name: NodeName,
    /// The node pushes messages to it.
    pub eager: bool,
    /// It pushes messages to the node; `None` while it does not say that there is a link.
    pub back: Option<bool>,
    /// Its own neighbours, the node included.
    pub others: Vec<NodeName>,
}
