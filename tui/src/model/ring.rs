//! What of the key-value store is on screen: the ring, who holds how much, how many copies there are, and what moves.
//!
//! ```text
//! network ──a frame──▶ RingPicture   the numbers and the ring itself, one moment of it
//!                         │
//! reader ───a key────▶ RingView      circle or table, its order, the key looked at
//!                         ▼
//!                       Arcs         what each piece of the drawn circle is, worked out once per ring and selected node
//! ```
//! A ring of 101 nodes has 6,464 tokens and a circle on the screen some 200 dots: the circle is cut into [`PIECES`], each has
//! the owner of most of it and says whether the selected node owns anything of it, so that drawing looks up and no more.
//!
//! Always holds: the table's order names every owner once; `Arcs` are those of the ring they were asked for last.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use p2pnet_shared::{
    NodeName, UnixMillis,
    ring::{Place, Ring},
    telemetry::DiskState,
};

mod take;
#[cfg(test)]
mod tests;

/// Into how many pieces the circle is cut. Default 1,024: more than the largest circle has dots on any screen seen.
pub const PIECES: usize = 1_024;

/// After how long without a change a hand-over is taken to wait, milliseconds. Default 2,000: nodes tell of what they have
/// left twice a second.
const STALLED_MS: u64 = 2_000;

/// One moment of the store.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RingPicture {
    /// The ring of those that are up; `None` while nobody is known.
    pub ring: Option<Arc<Ring>>,
    /// How many copies a key is to have: three, or as many as there are nodes.
    pub wanted: u8,
    /// Keys with a value, by what the nodes hold.
    pub keys: u64,
    /// Keys by live copies: none, one, two, three and more.
    pub copies: [u64; 4],
    /// Keys with fewer copies than they are to have, those without any included.
    pub under_replicated: u64,
    /// Those among them that were written just now: their copies are on their way for the first time.
    pub writing: u64,
    /// Keys without a live copy, and without one on a paused node either.
    pub unreachable: u64,
    /// Keys whose only copies are on paused nodes.
    pub on_paused: u64,
    /// Copies held by nodes that are not to hold them, until those have them who are.
    pub misplaced: u64,
    /// Keys with more than one sibling.
    pub conflicts: u64,
    /// Most keys on one node over the mean of all; `None` without nodes.
    pub max_over_mean: Option<f64>,
    /// That is of shares of the hash space: keys are too few to tell.
    pub of_shares: bool,
    /// Keys are counted by a sample.
    pub estimated: bool,
    /// Each member of the ring and each node with keys, sorted by name.
    pub owners: Vec<Owner>,
    /// How many nodes that are up see this very ring.
    pub agree: u32,
    /// Those that are up and see another.
    pub others: Vec<NodeName>,
    /// Copies on their way, the most first.
    pub moves: Vec<Move>,
    /// Bytes of copies sent each second, over all nodes, lately.
    pub bytes_per_second: u64,
    /// How long keys were short of copies.
    pub repair: Repair,
    /// Places of keys that are short of copies, and how many they have; a sample when there are very many.
    pub short: Vec<(Place, u8)>,
    /// The key looked at.
    pub key: Option<KeyPicture>,
}

/// One row of the table of owners.
#[derive(Debug, Clone, PartialEq)]
pub struct Owner {
    /// Who.
    pub name: NodeName,
    /// Whether it runs and its numbers are its last word; what is dead holds nothing that counts.
    pub live: bool,
    /// Its share of the hash space, 0 to 1.
    pub share: f64,
    /// Keys it holds.
    pub keys: u64,
    /// Those it owns: its own token is the first at or after them.
    pub owned: u64,
    /// Those that others are to hold now, kept until they do.
    pub misplaced: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
    /// How its disk takes writes.
    pub disk: DiskState,
}

/// Copies on their way from one node to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// Who gives.
    pub from: NodeName,
    /// To whom.
    pub to: NodeName,
    /// Keys left.
    pub keys: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Most keys that were left since this began: what progress is measured by.
    pub of_keys: u64,
    /// Some of them came over lately; otherwise it waits, for a peer that is paused or for its turn.
    pub flows: bool,
}

/// The repair window: from the first key short of copies until none is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Repair {
    /// Since how long, milliseconds, if one is open.
    pub running_ms: Option<u64>,
    /// How long the last one was, milliseconds.
    pub last_ms: Option<u64>,
}

/// A key that the reader looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFocus {
    /// Its text.
    pub key: String,
    /// Where it stands.
    pub place: Place,
}

impl KeyFocus {
    /// The key of that text.
    #[must_use]
    pub fn of(key: &str) -> Self {
        Self { key: key.to_owned(), place: Place::of(key) }
    }
}

/// That key, and where its copies are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPicture {
    /// Which.
    pub focus: KeyFocus,
    /// Who is to hold it, the owner first, and whether they do.
    pub replicas: Vec<(NodeName, bool)>,
    /// Who else holds it: stand-ins, and those that have not handed it over yet.
    pub others: Vec<NodeName>,
    /// Whether any copy of it is known, on paused nodes and dead ones too; not so before it is put and once it is deleted.
    pub known: bool,
}

impl RingPicture {
    /// The row of a node.
    #[must_use]
    pub fn owner(&self, name: &NodeName) -> Option<&Owner> {
        self.owners.binary_search_by(|owner| owner.name.cmp(name)).ok().map(|at| &self.owners[at])
    }

    /// Keys that lost copies and have not got them back; one that is being written is not among them.
    #[must_use]
    pub fn short_of_copies(&self) -> u64 {
        self.under_replicated.saturating_sub(self.writing)
    }

    /// Keys of which at most one live copy is left, those without any included.
    #[must_use]
    pub fn endangered(&self) -> u64 {
        let one = if self.wanted <= 1 { 0 } else { self.copies[1] };
        (self.copies[0] + one).min(self.short_of_copies())
    }

    /// Whether data moves, so that the screen does.
    #[must_use]
    pub fn is_moving(&self) -> bool {
        self.moves.iter().any(|one| one.flows)
    }

    /// As which replica of the looked-at key a node is to hold it, from 1; 0 for one that holds it beside them.
    #[must_use]
    pub fn holds_focus(&self, name: &NodeName) -> Option<usize> {
        let key = self.key.as_ref()?;
        let replica = key.replicas.iter().position(|(replica, _)| replica == name).map(|at| at + 1);
        replica.or_else(|| key.others.contains(name).then_some(0))
    }
}

/// What the pane of the ring shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RingFace {
    /// The circle and the numbers.
    #[default]
    Circle,
    /// The table of owners.
    Owners,
}

/// What the table of owners is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OwnersBy {
    /// As people count.
    #[default]
    Name,
    /// Most keys first.
    Keys,
    /// Largest share first.
    Share,
    /// Most bytes first.
    Bytes,
    /// Broken disks first, full ones then.
    Disk,
}

impl OwnersBy {
    /// In the order `s` goes through them, with the heading of the column.
    pub const ALL: [(OwnersBy, &'static str); 5] = [
        (OwnersBy::Name, "NODE"),
        (OwnersBy::Keys, "KEYS"),
        (OwnersBy::Share, "SHARE"),
        (OwnersBy::Bytes, "BYTES"),
        (OwnersBy::Disk, "DISK"),
    ];

    /// The heading of the column it sorts by.
    #[must_use]
    pub fn heading(self) -> &'static str {
        Self::ALL.iter().find(|(by, _)| *by == self).map_or("", |(_, heading)| heading)
    }
}

/// The pane as its reader set it up.
#[derive(Debug, Clone, Default)]
pub struct RingView {
    /// Circle or table.
    pub face: RingFace,
    /// What the table is sorted by.
    pub sort: OwnersBy,
    /// The other way round.
    pub reversed: bool,
    /// Positions in the picture's owners, in the order shown.
    pub order: Vec<usize>,
    /// The first row shown.
    pub offset: usize,
    /// The key looked at.
    pub key: Option<KeyFocus>,
    /// What the pieces of the circle are.
    pub arcs: Arcs,
    /// How each hand-over went so far.
    followed: BTreeMap<(NodeName, NodeName), Followed>,
}

/// How a hand-over went so far.
#[derive(Debug, Clone, Copy)]
struct Followed {
    /// Most keys it had left.
    most: u64,
    /// Keys and bytes it had left when it was last looked at.
    last: (u64, u64),
    /// When that last changed.
    changed_at: UnixMillis,
}

impl RingView {
    /// Works out the order of the rows.
    pub fn arrange(&mut self, owners: &[Owner]) {
        let (sort, reversed) = (self.sort, self.reversed);
        self.order.clear();
        self.order.extend(0..owners.len());
        self.order.sort_by(|a, b| {
            let (a, b) = (&owners[*a], &owners[*b]);
            let order = compare(sort, a, b);
            let by_name = a.name.display_order().cmp(&b.name.display_order());
            let order = if sort == OwnersBy::Name { by_name } else { order };
            let order = if reversed { order.reverse() } else { order };
            order.then(by_name)
        });
    }

    /// The next column to sort by.
    pub fn sort_next(&mut self) {
        let at = OwnersBy::ALL.iter().position(|(by, _)| *by == self.sort).unwrap_or(0);
        (self.sort, self.reversed) = (OwnersBy::ALL[(at + 1) % OwnersBy::ALL.len()].0, false);
    }

    /// Which of the rows is that node's.
    #[must_use]
    pub fn position(&self, owners: &[Owner], name: Option<&NodeName>) -> Option<usize> {
        let name = name?;
        self.order.iter().position(|i| owners.get(*i).is_some_and(|owner| owner.name == *name))
    }

    /// The node `by` rows further than `name`, stopping at the ends.
    #[must_use]
    pub fn step(&self, owners: &[Owner], name: Option<&NodeName>, by: isize) -> Option<NodeName> {
        let at = self.position(owners, name).unwrap_or(0);
        let to = at.saturating_add_signed(by).min(self.order.len().saturating_sub(1));
        self.order.get(to).and_then(|i| owners.get(*i)).map(|owner| owner.name.clone())
    }

    /// Scrolls as little as needed to have that node's row among `height` rows.
    pub fn scroll(&mut self, owners: &[Owner], name: Option<&NodeName>, height: usize) {
        self.offset = self.offset.min(self.order.len().saturating_sub(height));
        if let Some(at) = self.position(owners, name) {
            self.offset = self.offset.clamp((at + 1).saturating_sub(height), at);
        }
    }

    /// Measures each hand-over by the most it had left, and says whether it goes on; one that is over is forgotten.
    pub fn follow_moves(&mut self, now: UnixMillis, moves: &mut [Move]) {
        let pair = |one: &Move| (one.from.clone(), one.to.clone());
        let present: BTreeSet<_> = moves.iter().map(pair).collect();
        self.followed.retain(|pair, _| present.contains(pair));
        for one in moves {
            let left = (one.keys, one.bytes);
            let fresh = Followed { most: one.keys, last: left, changed_at: now };
            let followed = self.followed.entry(pair(one)).or_insert(fresh);
            if followed.last != left {
                (followed.last, followed.changed_at) = (left, now);
            }
            followed.most = followed.most.max(one.keys);
            (one.of_keys, one.flows) = (followed.most, now.since(followed.changed_at) < STALLED_MS);
        }
    }
}

fn compare(by: OwnersBy, a: &Owner, b: &Owner) -> Ordering {
    let trouble = |owner: &Owner| match owner.disk {
        DiskState::Fine => 0,
        DiskState::Full => 1,
        DiskState::Broken => 2,
    };
    match by {
        OwnersBy::Name => Ordering::Equal,
        OwnersBy::Keys => b.keys.cmp(&a.keys),
        OwnersBy::Share => b.share.total_cmp(&a.share),
        OwnersBy::Bytes => b.bytes.cmp(&a.bytes),
        OwnersBy::Disk => trouble(b).cmp(&trouble(a)),
    }
}

/// What each piece of the circle is, for one ring and one selected node.
#[derive(Debug, Clone, Default)]
pub struct Arcs {
    ring: Option<Arc<Ring>>,
    selected: Option<NodeName>,
    /// Of each piece, whose it is in its middle: an index into the ring's members.
    owners: Vec<u16>,
    /// Whether the selected node owns anything of a piece.
    lit: Vec<bool>,
    /// How often they were worked out.
    worked_out: u64,
}

impl Arcs {
    /// Brings them up to date; nothing is done while ring and node are what they were.
    pub fn follow(&mut self, ring: Option<&Arc<Ring>>, selected: Option<&NodeName>) {
        let same_ring = match (&self.ring, ring) {
            (Some(held), Some(ring)) => Arc::ptr_eq(held, ring) || held == ring,
            (None, None) => true,
            _ => false,
        };
        self.ring = ring.cloned();
        if same_ring && self.selected.as_ref() == selected {
            return;
        }
        self.worked_out += 1;
        self.selected = selected.cloned();
        if !same_ring {
            self.owners = ring.map_or_else(Vec::new, |ring| owners(ring));
        }
        self.lit = match (&self.ring, selected) {
            (Some(ring), Some(selected)) => lit(ring, selected),
            _ => Vec::new(),
        };
    }

    /// Whose a piece is, as an index into the ring's members.
    #[must_use]
    pub fn owner(&self, piece: usize) -> Option<usize> {
        self.owners.get(piece).map(|owner| usize::from(*owner))
    }

    /// Whether the selected node owns anything of a piece.
    #[must_use]
    pub fn is_lit(&self, piece: usize) -> bool {
        self.lit.get(piece).copied().unwrap_or(false)
    }

    /// How often they were worked out: once for each ring and each selection, however many frames are drawn.
    #[must_use]
    pub fn worked_out(&self) -> u64 {
        self.worked_out
    }
}

/// In which piece of the circle a place lies.
#[must_use]
pub fn piece(place: Place) -> usize {
    ((u128::from(place.0) * PIECES as u128) >> 64) as usize
}

/// The owner of the middle of each piece.
fn owners(ring: &Ring) -> Vec<u16> {
    let tokens: Vec<(Place, usize)> = ring.tokens().collect();
    if tokens.is_empty() {
        return Vec::new();
    }
    let width = u64::MAX / PIECES as u64;
    let middle = |piece: usize| Place(piece as u64 * width + width / 2);
    (0..PIECES).map(|piece| u16::try_from(tokens[ring.arc(middle(piece))].1).unwrap_or(u16::MAX)).collect()
}

/// Which pieces the arcs of a member touch: each from the token before one of its own to its own.
fn lit(ring: &Ring, selected: &NodeName) -> Vec<bool> {
    let mut lit = vec![false; PIECES];
    let Ok(member) = ring.members().binary_search(selected) else { return lit };
    if ring.members().len() == 1 {
        return vec![true; PIECES];
    }
    let Some((last, _)) = ring.tokens().last() else { return lit };
    let mut before = last;
    for (token, holder) in ring.tokens() {
        if holder == member {
            let (from, to) = (piece(before), piece(token));
            // The first arc begins before zero: it goes on to the end, and then from the beginning.
            let around = before > token;
            let upper = if around { from..PIECES } else { from..to + 1 };
            let lower = if around { 0..to + 1 } else { 0..0 };
            upper.chain(lower).for_each(|piece| lit[piece] = true);
        }
        before = token;
    }
    lit
}
