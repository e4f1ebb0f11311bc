//! Faults as values: what can be wrong between two nodes, in the words of the prompt.
//!
//! ```text
//! p2pnet cut 1-50 | 51-100 ──▶ Fault::Cut ──POST /fault──▶ every node it concerns ──▶ runtime/faults.rs obeys its own part
//!                                    └── Display, short() ──▶ status, header, faults pane
//! ```
//! One value goes to every node it concerns; each works out from its own name what it is to do to which peer. So a fault
//! is set by sending it, set again without harm, and healed by forgetting it; a node that is healed alone is spared by the
//! others ([`ActiveFault::spared`]). Peers are told apart by name, because addresses change. In JSON: `{"cut":{"from":"1-50","to":"51-100","one_way":false}}`,
//! `{"loss":{"percent":30,"nodes":null}}`, `{"delay":{"ms":100,"jitter_ms":30,"nodes":"1-9"}}`.
//!
//! Two rules for combinations, so that nobody has to multiply: a fault of the same kind on the same nodes takes the place
//! of the one before, and where several meet on the way to one peer the worst loss and the longest delay count.
//!
//! Left out: a pause. It freezes the whole process, which only whoever runs it (the container engine) can do.

mod nodes;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use nodes::{NODES_TEXT_MAX_BYTES, NodeSet};

use crate::id::{NodeName, UnixMillis};

/// Longest delay, milliseconds, jitter included: a minute.
pub const DELAY_MAX_MS: u32 = 60_000;
/// Most faults at once on one node.
pub const FAULTS_MAX: usize = 16;

/// A share of 1 to 100 percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Percent(u8);

/// A time of 0 to [`DELAY_MAX_MS`] milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct DelayMs(u32);

/// A number or a set that a fault cannot have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// Not a share.
    #[error("a loss is a whole number from 1 to 100 percent, not {0}")]
    Percent(u8),
    /// Too long.
    #[error("a delay is at most {DELAY_MAX_MS} ms, not {0}")]
    Delay(u32),
    /// Not a set of nodes.
    #[error("`{given}` is no set of nodes ({why}); write it like `1-50 bootstrap`")]
    Nodes {
        /// The beginning of what was given.
        given: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A node would be cut off from itself.
    #[error("the two sides of a cut share `{0}`; a node cannot be cut off from itself")]
    SharedSide(NodeSet),
    /// Nobody on one side.
    #[error("a side of a cut is empty; name at least one node on each")]
    EmptySide,
}

impl TryFrom<u8> for Percent {
    type Error = FaultError;
    fn try_from(percent: u8) -> Result<Self, FaultError> {
        if (1..=100).contains(&percent) { Ok(Self(percent)) } else { Err(FaultError::Percent(percent)) }
    }
}

impl From<Percent> for u8 {
    fn from(percent: Percent) -> u8 {
        percent.0
    }
}

impl TryFrom<u32> for DelayMs {
    type Error = FaultError;
    fn try_from(ms: u32) -> Result<Self, FaultError> {
        if ms <= DELAY_MAX_MS { Ok(Self(ms)) } else { Err(FaultError::Delay(ms)) }
    }
}

impl From<DelayMs> for u32 {
    fn from(ms: DelayMs) -> u32 {
        ms.0
    }
}

/// What is wrong between nodes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// A cable is cut: nothing arrives from one side at the other.
    Cut(Cut),
    /// Part of what nodes send is lost.
    Loss(Loss),
    /// What nodes send takes its time.
    Delay(Delay),
}

/// A partition, whole or partial.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "CutFields", into = "CutFields")]
pub struct Cut {
    from: NodeSet,
    to: Option<NodeSet>,
    one_way: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename = "Cut", deny_unknown_fields)]
struct CutFields {
    from: NodeSet,
    #[serde(default)]
    to: Option<NodeSet>,
    #[serde(default)]
    one_way: bool,
}

impl TryFrom<CutFields> for Cut {
    type Error = FaultError;
    fn try_from(CutFields { from, to, one_way }: CutFields) -> Result<Self, FaultError> {
        Self::new(from, to, one_way)
    }
}

impl From<Cut> for CutFields {
    fn from(Cut { from, to, one_way }: Cut) -> Self {
        Self { from, to, one_way }
    }
}

impl Cut {
    /// Between `from` and `to`, or between `from` and everybody else; one way means that `to` does not hear `from`.
    ///
    /// # Errors
    /// When a side is empty or the sides share a node.
    pub fn new(from: NodeSet, to: Option<NodeSet>, one_way: bool) -> Result<Self, FaultError> {
        if from.is_empty() || to.as_ref().is_some_and(NodeSet::is_empty) {
            return Err(FaultError::EmptySide);
        }
        let shared = to.as_ref().map(|to| from.common(to)).unwrap_or_default();
        if shared.is_empty() { Ok(Self { from, to, one_way }) } else { Err(FaultError::SharedSide(shared)) }
    }

    /// The side named first.
    #[must_use]
    pub fn from(&self) -> &NodeSet {
        &self.from
    }

    /// The other side; `None` for everybody else.
    #[must_use]
    pub fn to(&self) -> Option<&NodeSet> {
        self.to.as_ref()
    }

    /// Whether `node`, or an address that nobody has a name for yet, is on the first side.
    fn is_from(&self, node: Option<&NodeName>) -> bool {
        node.is_some_and(|node| self.from.contains(node))
    }

    fn is_to(&self, node: Option<&NodeName>) -> bool {
        match &self.to {
            Some(to) => node.is_some_and(|node| to.contains(node)),
            None => !self.is_from(node),
        }
    }
}

/// Loss on what nodes send and on what is sent to them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Loss {
    /// How much of it.
    pub percent: Percent,
    /// At which nodes; `None` for all.
    #[serde(default)]
    pub nodes: Option<NodeSet>,
}

/// Delay on what nodes send and on what is sent to them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delay {
    /// One way.
    pub ms: DelayMs,
    /// So much more or less, evenly spread.
    #[serde(default)]
    pub jitter_ms: DelayMs,
    /// At which nodes; `None` for all.
    #[serde(default)]
    pub nodes: Option<NodeSet>,
}

impl Fault {
    /// Whether what `from` sends does not arrive at `to`. `None` is an address that nobody has a name for yet.
    #[must_use]
    pub fn cuts(&self, from: Option<&NodeName>, to: Option<&NodeName>) -> bool {
        let Fault::Cut(cut) = self else { return false };
        (cut.is_from(from) && cut.is_to(to)) || (!cut.one_way && cut.is_to(from) && cut.is_from(to))
    }

    /// Percent of what `from` sends to `to` that is lost.
    #[must_use]
    pub fn loss(&self, from: &NodeName, to: Option<&NodeName>) -> u8 {
        match self {
            Fault::Loss(loss) if touches(loss.nodes.as_ref(), from, to) => loss.percent.0,
            _ => 0,
        }
    }

    /// Milliseconds that what `from` sends takes to `to`, and how much more or less.
    #[must_use]
    pub fn delay(&self, from: &NodeName, to: Option<&NodeName>) -> (u32, u32) {
        match self {
            Fault::Delay(delay) if touches(delay.nodes.as_ref(), from, to) => (delay.ms.0, delay.jitter_ms.0),
            _ => (0, 0),
        }
    }

    /// Whether `node` has a part in it: it is to be told. Loss and delay are made by whoever sends, so everybody who
    /// sends to an afflicted node has a part too.
    #[must_use]
    pub fn concerns(&self, node: &NodeName) -> bool {
        match self {
            Fault::Cut(cut) => cut.is_from(Some(node)) || cut.is_to(Some(node)),
            Fault::Loss(_) | Fault::Delay(_) => true,
        }
    }

    /// Whether it takes the place of `other`: the same kind, on the same nodes.
    #[must_use]
    pub fn replaces(&self, other: &Fault) -> bool {
        match (self, other) {
            (Fault::Cut(a), Fault::Cut(b)) => a == b,
            (Fault::Loss(a), Fault::Loss(b)) => a.nodes == b.nodes,
            (Fault::Delay(a), Fault::Delay(b)) => a.nodes == b.nodes,
            _ => false,
        }
    }

    /// `cut`, `loss` or `delay`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Fault::Cut(_) => "cut",
            Fault::Loss(_) => "loss",
            Fault::Delay(_) => "delay",
        }
    }

    /// Whether it still comes between `me` and anybody, once the peers in `spared` are well again.
    #[must_use]
    pub fn has_hold_on(&self, me: &NodeName, spared: &NodeSet) -> bool {
        let anybody_of = |nodes: Option<&NodeSet>| nodes.is_none_or(|nodes| !nodes.without(spared).is_empty());
        match self {
            Fault::Cut(cut) if cut.is_from(Some(me)) => anybody_of(cut.to.as_ref()),
            Fault::Cut(cut) => cut.is_to(Some(me)) && anybody_of(Some(&cut.from)),
            Fault::Loss(Loss { nodes, .. }) | Fault::Delay(Delay { nodes, .. }) => {
                nodes.as_ref().is_none_or(|nodes| nodes.contains(me) || anybody_of(Some(nodes)))
            }
        }
    }

    /// For a line that is full already: `cut 50|51`, `loss 30%`, `delay 100±30ms`.
    #[must_use]
    pub fn short(&self) -> String {
        match self {
            Fault::Cut(cut) => {
                let to = cut.to.as_ref().map_or_else(|| "rest".to_owned(), |to| to.len().to_string());
                format!("cut {}{}{to}", cut.from.len(), if cut.one_way { ">" } else { "|" })
            }
            Fault::Loss(loss) => format!("loss {}%{}", loss.percent.0, at_nodes(loss.nodes.as_ref())),
            Fault::Delay(delay) => format!("{}{}", spell_delay(delay), at_nodes(delay.nodes.as_ref())),
        }
    }
}

fn at_nodes(nodes: Option<&NodeSet>) -> String {
    nodes.map_or_else(String::new, |nodes| format!(" at {}", nodes.len()))
}

fn spell_delay(delay: &Delay) -> String {
    match delay.jitter_ms.0 {
        0 => format!("delay {}ms", delay.ms.0),
        jitter => format!("delay {}±{jitter}ms", delay.ms.0),
    }
}

fn touches(nodes: Option<&NodeSet>, from: &NodeName, to: Option<&NodeName>) -> bool {
    nodes.is_none_or(|nodes| nodes.contains(from) || to.is_some_and(|to| nodes.contains(to)))
}

/// As one types it.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes = match self {
            Fault::Cut(cut) => {
                write!(f, "cut {}", cut.from)?;
                if let Some(to) = &cut.to {
                    write!(f, " | {to}")?;
                }
                return f.write_str(if cut.one_way { " oneway" } else { "" });
            }
            Fault::Loss(loss) => {
                write!(f, "loss {}%", loss.percent.0)?;
                &loss.nodes
            }
            Fault::Delay(delay) => {
                f.write_str(&spell_delay(delay))?;
                &delay.nodes
            }
        };
        match nodes {
            Some(nodes) => write!(f, " {nodes}"),
            None => Ok(()),
        }
    }
}

/// A fault on one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActiveFault {
    /// Which.
    pub fault: Fault,
    /// Since when, by the node's wall clock.
    pub since: UnixMillis,
    /// Peers that were healed meanwhile: it is not between this node and them any more.
    pub spared: NodeSet,
}

#[cfg(test)]
mod tests;
