//! One table shared by many nodes of one process, for simulations of ten thousand.
//!
//! Nodes that have known one another for a while hold nearly the same table, so a simulator need not keep N tables of N
//! rows: it keeps one [`Base`] behind an `Arc`, and each [`State`](super::State) keeps only the rows in which it differs.
//! A real node sits on an empty base and has all its rows to itself; the code is the same.
//!
//! ```text
//!            ┌─────── Base, immutable ───────┐
//!            │ a  b  c  d  e  f  g  h  i  j  │   sorted by name, and the circle of successors
//!            └──▲────────────▲───────────▲───┘
//!   State of a ─┘   State of d: e suspect │  own rows hide the base's
//!                                  State of i: k joined
//! ```
//! How a simulator starts N nodes that know each other already, without a single join:
//!
//! ```text
//! let base = Arc::new(Base::new(identities));                 // everybody alive, at incarnation 0
//! for me in identities { State::with_base(me, config, seed, Arc::clone(&base)) }
//! each state: start(now, &mut effects)                        // as with State::new; spread `now` over a second
//! run for Config::warm_up and a few probes, then it is a network like any other
//! ```
//! No event is announced of what the base says: whoever folds events begins with the base's living. `tests/crowd.rs` beside
//! this file is a simulator in small that starts so. A real join works as ever: `State::new`, or `State::with_base` with a
//! base that has everybody else, and `Input::Contact`.
//!
//! When much has happened and [`State::own_rows`](super::State::own_rows) has grown, make a new base from a node that is
//! up to date, `Base::from(&state)`, and give it to everybody by [`State::rebase`](super::State::rebase): nobody's
//! beliefs change by that, only where they are kept. It takes O(N) per state, so now and then is enough: when the mean of
//! `own_rows` passes a few hundred.
//!
//! What always holds: no row of a base is a suspect; a base never changes.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
};

use p2pnet_shared::{Epoch, NodeName, ViewDigest, wire::membership::Status};

use super::{Identity, Member, State, successors::place, table::row_hash};
use crate::time::Millis;

/// Rows that many states share. See the module's documentation.
#[derive(Debug, Default)]
pub struct Base {
    /// Sorted by name.
    members: Vec<Member>,
    /// Where a name is in `members`. Only ever looked up, so its order decides nothing.
    places: HashMap<NodeName, u32>,
    /// The living: their place on the circle, and where they are in `members`. Sorted.
    ring: Vec<(u64, u32)>,
    /// Those who are dead or gone, by where they are in `members`.
    gone: Vec<u32>,
    digest: ViewDigest,
    state_hash: u64,
}

impl Base {
    /// Everybody alive, each at incarnation 0. Of a name given twice the newer life counts.
    #[must_use]
    pub fn new(members: impl IntoIterator<Item = Identity>) -> Self {
        let mut rows: BTreeMap<NodeName, Member> = BTreeMap::new();
        for Identity { name, addr, epoch } in members {
            if rows.get(&name).is_none_or(|held| held.epoch < epoch) {
                rows.insert(name.clone(), living(name, addr, epoch, 0));
            }
        }
        Self::of_rows(rows.into_values().collect())
    }

    /// How many rows, the dead and gone included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is no row at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// `members` sorted by name, none of them a suspect.
    fn of_rows(members: Vec<Member>) -> Self {
        let mut base = Self::default();
        for (index, member) in members.iter().enumerate() {
            let index = u32::try_from(index).expect("a base of less than four billion rows");
            base.places.insert(member.name.clone(), index);
            if member.status.is_live() {
                base.ring.push((place(&member.name), index));
                base.digest.add(&member.name);
                base.state_hash =
                    base.state_hash.wrapping_add(row_hash(&member.name, member.epoch, member.incarnation));
            } else {
                base.gone.push(index);
            }
        }
        base.ring.sort_unstable();
        base.members = members;
        base
    }

    pub(super) fn get(&self, name: &NodeName) -> Option<&Member> {
        // A real node's base is empty: no hash is computed for it.
        if self.members.is_empty() {
            return None;
        }
        self.members.get(*self.places.get(name)? as usize)
    }

    pub(super) fn at(&self, index: usize) -> Option<&Member> {
        self.members.get(index)
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.iter()
    }

    pub(super) fn gone(&self) -> impl Iterator<Item = &Member> {
        self.gone.iter().filter_map(|index| self.members.get(*index as usize))
    }

    pub(super) fn live(&self) -> usize {
        self.ring.len()
    }

    pub(super) fn digest(&self) -> ViewDigest {
        self.digest
    }

    pub(super) fn state_hash(&self) -> u64 {
        self.state_hash
    }

    /// The living once around the circle, from `origin` on.
    pub(super) fn clockwise(&self, origin: u64) -> impl Iterator<Item = (u64, &NodeName)> {
        let start = self.ring.partition_point(|(place, _)| *place < origin);
        let (before, after) = self.ring.split_at(start);
        let named = |(place, index): &(u64, u32)| Some((*place, &self.members.get(*index as usize)?.name));
        after.iter().chain(before).filter_map(named)
    }
}

/// What `state` believes, itself included; a suspect counts as alive.
impl From<&State> for Base {
    fn from(state: &State) -> Self {
        let mut rows: BTreeMap<NodeName, Member> =
            state.members().map(|member| (member.name.clone(), at_rest(member.clone()))).collect();
        let me = state.me();
        rows.insert(me.name.clone(), living(me.name.clone(), me.addr, me.epoch, state.incarnation()));
        Self::of_rows(rows.into_values().collect())
    }
}

fn living(name: NodeName, addr: SocketAddr, epoch: Epoch, incarnation: u32) -> Member {
    Member { name, addr, epoch, incarnation, status: Status::Alive, since: Millis(0), accusers: Vec::new() }
}

/// As a base holds it: what one node alone knows (since when, by its own clock; whom it suspects) left out.
fn at_rest(member: Member) -> Member {
    let Member { name, addr, epoch, incarnation, status, .. } = member;
    let status = if status == Status::Suspect { Status::Alive } else { status };
    Member { status, ..living(name, addr, epoch, incarnation) }
}

/// An order of the numbers below a bound that takes no memory: a Feistel network over the next power of four, walked
/// until it lands below the bound (Black and Rogaway 2002, "cycle walking").
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Shuffle {
    key: u64,
}

impl Shuffle {
    pub(super) fn new(key: u64) -> Self {
        Self { key }
    }

    /// What stands at `index`, which is below `bound`, as the result is.
    pub(super) fn at(self, index: usize, bound: usize) -> usize {
        let half_bits = (usize::BITS - bound.saturating_sub(1).leading_zeros()).div_ceil(2).max(1);
        let mask = (1_u64 << half_bits) - 1;
        let mut number = index as u64;
        loop {
            let (mut left, mut right) = (number >> half_bits, number & mask);
            for round in 0..4 {
                let mixed = super::successors::stir(right ^ self.key.rotate_left(16 * round)) & mask;
                (left, right) = (right, left ^ mixed);
            }
            number = left << half_bits | right;
            if number < bound as u64 {
                return number as usize;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shuffle_names_every_number_once_and_differs_by_key() {
        for bound in [1, 2, 3, 16, 17, 100, 1_000] {
            let order: Vec<usize> = (0..bound).map(|index| Shuffle::new(7).at(index, bound)).collect();
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert!(sorted.into_iter().eq(0..bound), "{bound}");
            let other: Vec<usize> = (0..bound).map(|index| Shuffle::new(8).at(index, bound)).collect();
            assert!(bound < 16 || order != other);
        }
    }
}
