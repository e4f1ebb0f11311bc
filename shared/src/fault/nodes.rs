//! A set of node names that stays small: `1-50 bootstrap` rather than fifty-one names.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::FaultError;
use crate::id::NodeName;

/// Longest a set may be as text, bytes: a thousand names one by one fit.
pub const NODES_TEXT_MAX_BYTES: usize = 16 * 1024;
/// The largest number a node may have here.
const NUMBER_MAX: u32 = 1_000_000;

/// Some names: those of the form `node7` as ranges of numbers, the others one by one. Its text is what one types
/// (`1-50 bootstrap`), in JSON and in frames too.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeSet {
    /// Both ends belong to a range; sorted, and never touching one another.
    ranges: Vec<(u32, u32)>,
    names: BTreeSet<NodeName>,
}

impl NodeSet {
    /// Whether nobody is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty() && self.names.is_empty()
    }

    /// How many are in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ranges.iter().map(|(first, last)| (last - first) as usize + 1).sum::<usize>() + self.names.len()
    }

    /// Whether `node` is in it.
    #[must_use]
    pub fn contains(&self, node: &NodeName) -> bool {
        match number(node) {
            Some(number) => {
                let after = self.ranges.partition_point(|(first, _)| *first <= number);
                after > 0 && self.ranges[after - 1].1 >= number
            }
            None => self.names.contains(node),
        }
    }

    /// Adds a node.
    pub fn insert(&mut self, node: NodeName) {
        match number(&node) {
            Some(number) if !self.contains(&node) => {
                self.ranges.push((number, number));
                self.ranges = merged(std::mem::take(&mut self.ranges));
            }
            Some(_) => {}
            None => _ = self.names.insert(node),
        }
    }

    /// Those in both.
    #[must_use]
    pub fn common(&self, other: &NodeSet) -> NodeSet {
        let mut ranges = Vec::new();
        for (first, last) in &self.ranges {
            for (other_first, other_last) in &other.ranges {
                if first.max(other_first) <= last.min(other_last) {
                    ranges.push((*first.max(other_first), *last.min(other_last)));
                }
            }
        }
        NodeSet { ranges: merged(ranges), names: self.names.intersection(&other.names).cloned().collect() }
    }

    /// Those that are not in `other`.
    #[must_use]
    pub fn without(&self, other: &NodeSet) -> NodeSet {
        let mut ranges = self.ranges.clone();
        for (gone_first, gone_last) in &other.ranges {
            ranges =
                ranges.into_iter().flat_map(|(first, last)| cut_out((first, last), *gone_first, *gone_last)).collect();
        }
        NodeSet { ranges: merged(ranges), names: self.names.difference(&other.names).cloned().collect() }
    }

    /// Those in either.
    #[must_use]
    pub fn with(&self, other: &NodeSet) -> NodeSet {
        let ranges = self.ranges.iter().chain(&other.ranges).copied().collect();
        NodeSet { ranges: merged(ranges), names: self.names.union(&other.names).cloned().collect() }
    }
}

fn cut_out((first, last): (u32, u32), gone_first: u32, gone_last: u32) -> impl Iterator<Item = (u32, u32)> {
    let before = (first < gone_first).then(|| (first, last.min(gone_first - 1)));
    let after = (last > gone_last).then(|| (first.max(gone_last + 1), last));
    // Untouched by the hole, both halves would be the whole.
    if last < gone_first || first > gone_last {
        return [Some((first, last)), None].into_iter().flatten();
    }
    [before, after].into_iter().flatten()
}

/// Sorted, and those that overlap or touch as one.
fn merged(mut ranges: Vec<(u32, u32)>) -> Vec<(u32, u32)> {
    ranges.sort_unstable();
    let mut merged: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match merged.last_mut() {
            Some((_, end)) if first <= end.saturating_add(1) => *end = (*end).max(last),
            _ => merged.push((first, last)),
        }
    }
    merged
}

/// The number of a name that is `node` and a number written the usual way; `node007` is a name of its own.
fn number(name: &NodeName) -> Option<u32> {
    let number = name.number().filter(|number| *number <= NUMBER_MAX)?;
    let digits = name.as_str().len() - "node".len();
    let usual = number.checked_ilog10().map_or(1, |log| log as usize + 1);
    (digits == usual).then_some(number)
}

impl FromIterator<NodeName> for NodeSet {
    fn from_iter<I: IntoIterator<Item = NodeName>>(nodes: I) -> Self {
        let (mut ranges, mut names) = (Vec::new(), BTreeSet::new());
        for node in nodes {
            match number(&node) {
                Some(number) => ranges.push((number, number)),
                None => _ = names.insert(node),
            }
        }
        Self { ranges: merged(ranges), names }
    }
}

impl<'a> FromIterator<&'a NodeName> for NodeSet {
    fn from_iter<I: IntoIterator<Item = &'a NodeName>>(nodes: I) -> Self {
        nodes.into_iter().cloned().collect()
    }
}

impl fmt::Display for NodeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut space = "";
        for name in &self.names {
            write!(f, "{space}{name}")?;
            space = " ";
        }
        for (first, last) in &self.ranges {
            match first == last {
                true => write!(f, "{space}{first}")?,
                false => write!(f, "{space}{first}-{last}")?,
            }
            space = " ";
        }
        Ok(())
    }
}

impl FromStr for NodeSet {
    type Err = FaultError;
    fn from_str(text: &str) -> Result<Self, FaultError> {
        let wrong = |given: &str, why| FaultError::Nodes { given: given.chars().take(40).collect(), why };
        if text.len() > NODES_TEXT_MAX_BYTES {
            return Err(wrong(text, "it is longer than 16 KiB"));
        }
        let (mut ranges, mut names) = (Vec::new(), BTreeSet::new());
        let number = |word: &str| {
            let digits = word.strip_prefix("node").unwrap_or(word);
            let usual = digits == "0" || (!digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit()));
            digits.parse::<u32>().ok().filter(|number| usual && *number <= NUMBER_MAX)
        };
        for word in text.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty()) {
            let ends = word.split_once('-').and_then(|(first, last)| Some((number(first)?, number(last)?)));
            if let Some((first, last)) = ends {
                if first > last {
                    return Err(wrong(word, "it runs backwards"));
                }
                ranges.push((first, last));
            } else if let Some(number) = number(word) {
                ranges.push((number, number));
            } else if word.bytes().all(|b| b.is_ascii_digit()) {
                return Err(wrong(word, "no node has that number"));
            } else {
                names.insert(word.parse().map_err(|_| wrong(word, "that is no node's name"))?);
            }
        }
        Ok(Self { ranges: merged(ranges), names })
    }
}

impl TryFrom<String> for NodeSet {
    type Error = FaultError;
    fn try_from(text: String) -> Result<Self, FaultError> {
        text.parse()
    }
}

impl From<NodeSet> for String {
    fn from(nodes: NodeSet) -> String {
        nodes.to_string()
    }
}
