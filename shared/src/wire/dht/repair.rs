//! How two nodes find out what one of them lacks, and how it gets there (*Dynamo* §4.6 and §4.7).
//!
//! ```text
//!  A  ──Compare──▶  B     one digest over all that both replicate: equal, and nothing more is said
//!  A  ◀──Arcs────  B      or B's digest of each arc;    A asks for them itself where it knows of a difference
//!  A  ──Offer───▶  B      what A holds in the arcs that differ: places and versions, sixteen bytes a key
//!  A  ◀──Wanted──  B      what B lacks of it, what B has on disk just so, and how many B has that A lacks
//!  A  ──Give────▶  B      entries, and the other way round
//!  A  ◀──Given───  B      they are on B's disk
//! ```
//! An `Offer` without spans is of single keys: copies that stand in for B, or that B has to have after a change of the
//! ring. Every list has a bound in the decoder; what does not fit is said next time.

use serde::{Deserialize, Deserializer, Serialize, de::Error};

use super::{Entry, Refusal};
use crate::ring::{Place, RingDigest, Span};

/// Most arcs in one packet: those of five nodes with 256 tokens, 40 KB.
pub const ARCS_MAX: usize = 1_280;
/// Most keys in one offer, 64 KB.
pub const OFFER_MAX: usize = 4_096;
/// Most entries given at once.
pub const GIVE_MAX: usize = 512;

/// What is held in a part of the hash space, in twelve bytes: equal for equal keys and versions, different (but for
/// chance) for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct HeldDigest {
    /// How many keys, deleted ones that are remembered included.
    pub keys: u32,
    /// A hash of each, added up.
    pub sum: u64,
}

/// What one node holds in one span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArcDigest {
    /// Which part.
    pub span: Span,
    /// What is held there.
    pub digest: HeldDigest,
    /// Whether the sender has every acknowledged write of that part, for all it knows.
    pub settled: bool,
}

/// What is held under a place. Keys that share one (they are made to, chance does not) go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Holding {
    /// Where.
    pub place: Place,
    /// A hash of the versions.
    pub versions: u64,
}

/// What repair says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Repair {
    /// Do you hold the same as I, of all that we both replicate? Not answered if so.
    Compare {
        /// By which ring.
        ring: RingDigest,
        /// What I hold of it.
        digest: HeldDigest,
    },
    /// This is what I hold, part by part.
    Arcs {
        /// By which ring.
        ring: RingDigest,
        /// Whether the same parts of yours are wanted.
        asked: bool,
        /// The parts.
        #[serde(deserialize_with = "arcs")]
        arcs: Vec<ArcDigest>,
    },
    /// This is what I have; what do you lack?
    Offer {
        /// Whose number it is: the answer carries it back.
        offer: u64,
        /// All that I hold in these parts; none for single keys.
        #[serde(deserialize_with = "spans")]
        spans: Vec<Span>,
        /// What I hold, in order of place.
        #[serde(deserialize_with = "holdings")]
        held: Vec<Holding>,
    },
    /// This.
    Wanted {
        /// The offer.
        offer: u64,
        /// What to give.
        #[serde(deserialize_with = "places")]
        want: Vec<Place>,
        /// What is on the disk here just so.
        #[serde(deserialize_with = "places")]
        kept: Vec<Place>,
        /// How many places of the spans hold something here that the offer lacks: it is given.
        lacking: u32,
    },
    /// Add these to yours, and say when they are on disk.
    Give {
        /// Whose number it is: the answer carries it back.
        batch: u64,
        /// The entries.
        #[serde(deserialize_with = "entries")]
        entries: Vec<Entry>,
    },
    /// They are, or not.
    Given {
        /// The batch.
        batch: u64,
        /// Why not.
        refused: Option<Refusal>,
    },
}

fn at_most<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D, most: usize) -> Result<Vec<T>, D::Error> {
    let list = Vec::<T>::deserialize(from)?;
    if list.len() > most { Err(D::Error::custom("a list is too long")) } else { Ok(list) }
}

fn arcs<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<ArcDigest>, D::Error> {
    at_most(from, ARCS_MAX)
}

fn spans<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Span>, D::Error> {
    at_most(from, ARCS_MAX)
}

fn holdings<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Holding>, D::Error> {
    at_most(from, OFFER_MAX)
}

fn places<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Place>, D::Error> {
    at_most(from, OFFER_MAX)
}

fn entries<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Entry>, D::Error> {
    at_most(from, GIVE_MAX)
}
