//! The node table as its reader set it up: order, filter, selection, marks.

use std::{cmp::Ordering, collections::BTreeSet};

use p2pnet_shared::{NodeName, telemetry::DiskState};

use super::ring::RingPicture;
use crate::{
    cluster::{Role, UnitState},
    network::Node,
};

/// What the table is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SortBy {
    /// As people count.
    Name,
    /// Trouble first: dead, paused, starting, a bad disk, out of step, well.
    #[default]
    State,
    /// How many members it sees.
    Members,
    /// Keys held.
    Keys,
    /// Broadcasts delivered.
    Messages,
    /// Resident memory.
    Memory,
    /// Processor use.
    Cpu,
    /// Since when it is in its state.
    Age,
}

impl SortBy {
    /// In the order `s` goes through them, with the heading and whether the first order is the largest first.
    pub const ALL: [(SortBy, &'static str, bool); 8] = [
        (SortBy::State, "STATE", false),
        (SortBy::Name, "NODE", false),
        (SortBy::Members, "MEMBERS", false),
        (SortBy::Keys, "KEYS", true),
        (SortBy::Messages, "MSGS", true),
        (SortBy::Memory, "RSS", true),
        (SortBy::Cpu, "CPU", true),
        (SortBy::Age, "AGE", false),
    ];

    /// The heading of the column it sorts by.
    #[must_use]
    pub fn heading(self) -> &'static str {
        Self::ALL.iter().find(|(by, ..)| *by == self).map_or("", |(_, heading, _)| heading)
    }
}

/// The table's set-up.
#[derive(Debug, Clone, Default)]
pub struct NodesView {
    /// Sorted by.
    pub sort: SortBy,
    /// The other way round.
    pub reversed: bool,
    /// What rows must match; empty for all.
    pub filter: String,
    /// The row that keys are about.
    pub selected: Option<NodeName>,
    /// Rows that verbs take instead of the selected one.
    pub marked: BTreeSet<NodeName>,
    /// Positions in the picture's nodes, in the order shown.
    pub order: Vec<usize>,
    /// The first row shown.
    pub offset: usize,
}

impl NodesView {
    /// Works out which rows are shown and in which order, and keeps the selection on a row that exists.
    pub fn arrange(&mut self, nodes: &[Node], ring: &RingPicture) {
        let filter = Filter::new(&self.filter);
        self.order.clear();
        self.order.extend((0..nodes.len()).filter(|i| filter.matches(&nodes[*i])));
        let (sort, reversed) = (self.sort, self.reversed);
        self.order.sort_by(|a, b| {
            let order = compare(sort, &nodes[*a], &nodes[*b], ring);
            let order = if reversed { order.reverse() } else { order };
            order.then_with(|| nodes[*a].name.display_order().cmp(&nodes[*b].name.display_order()))
        });
        self.marked.retain(|name| nodes.iter().any(|node| node.name == *name));
        if self.position(nodes).is_none() {
            self.selected = self.order.first().map(|i| nodes[*i].name.clone());
        }
    }

    /// Which of the shown rows is selected.
    #[must_use]
    pub fn position(&self, nodes: &[Node]) -> Option<usize> {
        let selected = self.selected.as_ref()?;
        self.order.iter().position(|i| nodes.get(*i).is_some_and(|node| node.name == *selected))
    }

    /// Moves the selection by `by` rows, stopping at the ends.
    pub fn step(&mut self, nodes: &[Node], by: isize) {
        let at = self.position(nodes).unwrap_or(0);
        let last = self.order.len().saturating_sub(1);
        let to = at.saturating_add_signed(by).min(last);
        self.selected = self.order.get(to).and_then(|i| nodes.get(*i)).map(|node| node.name.clone());
    }

    /// Scrolls as little as needed to have the selected row among `height` rows.
    pub fn scroll(&mut self, nodes: &[Node], height: usize) {
        self.offset = self.offset.min(self.order.len().saturating_sub(height));
        if let Some(at) = self.position(nodes) {
            self.offset = self.offset.clamp((at + 1).saturating_sub(height), at);
        }
    }

    /// The next column, or the same the other way round.
    pub fn sort_next(&mut self) {
        let at = SortBy::ALL.iter().position(|(by, ..)| *by == self.sort).unwrap_or(0);
        let (by, _, reversed) = SortBy::ALL[(at + 1) % SortBy::ALL.len()];
        (self.sort, self.reversed) = (by, reversed);
    }
}

fn compare(by: SortBy, a: &Node, b: &Node, ring: &RingPicture) -> Ordering {
    let keys = |node: &Node| ring.owner(&node.name).map_or(0, |owner| owner.keys);
    match by {
        SortBy::Name => Ordering::Equal,
        SortBy::State => trouble(a, ring).cmp(&trouble(b, ring)),
        SortBy::Members => a.view.members.cmp(&b.view.members),
        SortBy::Keys => keys(a).cmp(&keys(b)),
        SortBy::Messages => a.messages.cmp(&b.messages),
        SortBy::Memory => rss(a).cmp(&rss(b)),
        SortBy::Cpu => a.cpu_percent.unwrap_or(0.0).total_cmp(&b.cpu_percent.unwrap_or(0.0)),
        SortBy::Age => b.since.cmp(&a.since),
    }
}

/// Trouble first, the bootstrap before its peers.
fn trouble(node: &Node, ring: &RingPicture) -> (u8, bool) {
    let bad_disk = || ring.owner(&node.name).is_some_and(|owner| owner.live && owner.disk != DiskState::Fine);
    let rank = match node.state {
        UnitState::Dead => 0,
        UnitState::Paused => 1,
        UnitState::Created => 2,
        UnitState::Up if bad_disk() => 3,
        UnitState::Up if !node.reporting => 4,
        UnitState::Up if !node.agrees => 5,
        UnitState::Up => 6,
        UnitState::Left => 7,
    };
    (rank, node.role != Role::Bootstrap)
}

fn rss(node: &Node) -> u64 {
    node.load.as_ref().map_or(0, |load| load.rss_bytes)
}

/// `node7`, `dead`, `!up`, `agree=no`, `members=99`: words that must all match.
struct Filter {
    words: Vec<(bool, String)>,
}

impl Filter {
    fn new(line: &str) -> Self {
        let word = |word: &str| match word.strip_prefix('!') {
            Some(rest) => (false, rest.to_ascii_lowercase()),
            None => (true, word.to_ascii_lowercase()),
        };
        Self { words: line.split_whitespace().map(word).filter(|(_, word)| !word.is_empty()).collect() }
    }

    fn matches(&self, node: &Node) -> bool {
        self.words.iter().all(|(wanted, word)| *wanted == matches(word, node))
    }
}

fn matches(word: &str, node: &Node) -> bool {
    match word.split_once('=') {
        Some(("state", state)) => state_word(node).starts_with(state),
        Some(("agree" | "agrees", answer)) => (if node.agrees { "yes" } else { "no" }).starts_with(answer),
        Some(("members", count)) => node.view.members.to_string() == count,
        Some(("role", role)) => (if node.role == Role::Bootstrap { "bootstrap" } else { "node" }).starts_with(role),
        Some(_) => false,
        None => node.name.as_str().to_ascii_lowercase().contains(word) || state_word(node) == word,
    }
}

fn state_word(node: &Node) -> &'static str {
    match node.state {
        UnitState::Created => "starting",
        UnitState::Up => "up",
        UnitState::Paused => "paused",
        UnitState::Dead => "dead",
        UnitState::Left => "left",
    }
}
