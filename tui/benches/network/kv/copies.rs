//! Who holds which keys, by the nodes' own reports.

use std::collections::{HashMap, HashSet};

use p2pnet::network::Observation;
use p2pnet_shared::{
    NodeName,
    ring::Place,
    telemetry::{FeedLine, HeldKey, KeyCounts, Report},
};

use crate::running::Witness;

/// Copies of every key.
const N: usize = 3;

/// Every copy there is, as far as nodes have said, of keys that are looked for.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    wanted: HashMap<Place, Vec<Copy>>,
    /// Of those, how many have fewer than three equal copies on nodes that live.
    short: usize,
    dead: HashSet<NodeName>,
    counts: HashMap<NodeName, KeyCounts>,
    /// Copies there were when it was last asked to remember, and those that have come since.
    before: HashSet<(NodeName, Place)>,
    come: HashSet<(NodeName, Place)>,
}

/// One copy.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Copy {
    node: NodeName,
    versions: u64,
}

/// Whether three nodes that live hold the same.
fn is_whole(copies: &[Copy], dead: &HashSet<NodeName>) -> bool {
    let live = || copies.iter().filter(|copy| !dead.contains(&copy.node));
    live().any(|copy| live().filter(|other| other.versions == copy.versions).count() >= N)
}

impl Copies {
    /// Of keys at these places.
    pub(crate) fn of(places: impl IntoIterator<Item = Place>) -> Self {
        let wanted: HashMap<_, _> = places.into_iter().map(|place| (place, Vec::new())).collect();
        Self { short: wanted.len(), wanted, ..Self::default() }
    }

    /// How many keys are short of copies.
    pub(crate) fn short(&self) -> usize {
        self.short
    }

    /// These are dead from here on: what they held counts no more.
    pub(crate) fn bury(&mut self, nodes: &[NodeName]) {
        self.dead.extend(nodes.iter().cloned());
        self.short = self.wanted.values().filter(|copies| !is_whole(copies, &self.dead)).count();
    }

    /// How many of the keys each node that lives holds.
    pub(crate) fn per_node(&self) -> HashMap<NodeName, usize> {
        let mut held = HashMap::new();
        for copy in self.wanted.values().flatten().filter(|copy| !self.dead.contains(&copy.node)) {
            *held.entry(copy.node.clone()).or_default() += 1;
        }
        held
    }

    /// What each node last said of itself.
    pub(crate) fn counts(&self) -> &HashMap<NodeName, KeyCounts> {
        &self.counts
    }

    /// Whether no node that lives has anything to send or holds what others should.
    pub(crate) fn is_still(&self) -> bool {
        let live = self.counts.iter().filter(|(node, _)| !self.dead.contains(*node));
        live.into_iter().all(|(_, counts)| counts.moving.is_empty() && counts.misplaced == 0)
    }

    /// Copies that come from here on are counted.
    pub(crate) fn remember(&mut self) {
        self.before = self.all();
        self.come.clear();
    }

    /// How many copies have come, each counted once, also if it has gone again.
    pub(crate) fn come(&self) -> usize {
        self.come.len()
    }

    /// The two nodes with the most keys in common.
    pub(crate) fn closest_pair(&self) -> Option<[NodeName; 2]> {
        let mut common: HashMap<[&NodeName; 2], usize> = HashMap::new();
        for copies in self.wanted.values() {
            let mut nodes: Vec<&NodeName> = copies.iter().map(|copy| &copy.node).collect();
            nodes.retain(|node| !self.dead.contains(*node));
            nodes.sort();
            for (at, one) in nodes.iter().enumerate() {
                for other in &nodes[at + 1..] {
                    *common.entry([*one, *other]).or_default() += 1;
                }
            }
        }
        let pair = common.into_iter().max_by_key(|(pair, count)| (*count, *pair))?.0;
        Some(pair.map(Clone::clone))
    }

    fn all(&self) -> HashSet<(NodeName, Place)> {
        let of = |(place, copies): (&Place, &Vec<Copy>)| {
            copies.iter().map(|copy| (copy.node.clone(), *place)).collect::<Vec<_>>()
        };
        self.wanted.iter().flat_map(of).collect()
    }

    fn change(&mut self, node: &NodeName, key: HeldKey) {
        let Some(copies) = self.wanted.get_mut(&key.place) else { return };
        let was = is_whole(copies, &self.dead);
        copies.retain(|copy| copy.node != *node);
        if let Some(versions) = key.versions {
            copies.push(Copy { node: node.clone(), versions });
            let pair = (node.clone(), key.place);
            if !self.before.contains(&pair) {
                self.come.insert(pair);
            }
        }
        match (was, is_whole(copies, &self.dead)) {
            (true, false) => self.short += 1,
            (false, true) => self.short -= 1,
            _ => {}
        }
    }

    fn forget(&mut self, node: &NodeName) {
        for copies in self.wanted.values_mut() {
            copies.retain(|copy| copy.node != *node);
        }
        self.short = self.wanted.values().filter(|copies| !is_whole(copies, &self.dead)).count();
    }
}

impl Witness for Copies {
    fn lacks(&self) -> String {
        let (short, told) = (self.short, self.counts.len());
        let short = self.wanted.iter().filter(|(_, copies)| short > 0 && !is_whole(copies, &self.dead)).take(3);
        let some: Vec<String> = short.map(|(place, copies)| format!("{place:?} on {copies:?}")).collect();
        match self.short {
            0 => String::new(),
            many => format!("{N} copies of {many} keys, by the word of {told} nodes: {}", some.join(", ")),
        }
    }

    fn observe(&mut self, observation: &Observation) {
        let Observation::Feed(FeedLine::Report { node, report }) = observation else { return };
        match report {
            Report::Held { anew, sampled, keys } => {
                assert_eq!(*sampled, 0, "{node} holds more than it tells: these copies cannot be counted");
                if *anew {
                    self.forget(node);
                }
                keys.iter().for_each(|key| self.change(node, *key));
            }
            Report::Keys(counts) => _ = self.counts.insert(node.clone(), counts.clone()),
            _ => {}
        }
    }
}
