//! The member table: one row per name, the order in which the living are probed, the circle of successors, and two sums
//! over the living.
//!
//! ```text
//!  get(name) ─▶ rows (our own) ─ not there ─▶ base (shared; empty in a real node) ─▶ Member
//! ```
//! Every change of a row goes through [`Table::insert`] or [`Table::update`], which keep the order, the circle, the
//! digest and the state hash in step, so none of them is ever computed from scratch. An own row hides the base's row of
//! that name; `unknown` hides those names of the base that we have not heard of.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
};

use p2pnet_shared::{Epoch, NodeName, ViewDigest, wire::membership::Status};
use rand::{RngExt, rngs::SmallRng, seq::SliceRandom};

use super::{
    Member,
    base::{Base, Shuffle},
    member::Row,
    successors::{place, way},
    suspicion::Suspicion,
};

/// Every member but ourselves.
#[derive(Debug)]
pub(super) struct Table {
    me: NodeName,
    base: Arc<Base>,
    rows: BTreeMap<NodeName, Row>,
    unknown: BTreeSet<NodeName>,
    /// How many names there are in `rows` that the base does not have.
    added: usize,
    /// The living whom the base does not have, in the order in which they are probed; those before `cursor` had their
    /// turn in this round.
    order: Vec<NodeName>,
    cursor: usize,
    /// The same for those in the base: `walk` shuffles them, those before `walked` had their turn.
    walk: Shuffle,
    walked: usize,
    /// The living whom the base does not have, by their place on the circle.
    ring: BTreeSet<(u64, NodeName)>,
    live: usize,
    digest: ViewDigest,
    state_hash: u64,
}

impl Table {
    /// Of the node `me`, which has no row but counts in the digest. It knows whom the base knows.
    pub(super) fn new(me: &NodeName, base: Arc<Base>) -> Self {
        let mut table = Self {
            me: me.clone(),
            rows: BTreeMap::new(),
            unknown: BTreeSet::new(),
            added: 0,
            order: Vec::new(),
            cursor: 0,
            walk: Shuffle::new(place(me)),
            walked: 0,
            ring: BTreeSet::new(),
            live: base.live(),
            digest: base.digest(),
            state_hash: base.state_hash(),
            base,
        };
        match table.base.get(me) {
            Some(own) if own.status.is_live() => {
                table.live -= 1;
                table.state_hash = table.state_hash.wrapping_sub(hash_of(own));
            }
            _ => table.digest.add(me),
        }
        table
    }

    /// Moves to another base. What is believed of whom does not change; what equals the new base's rows is kept there.
    pub(super) fn rebase(&mut self, base: Arc<Base>, rng: &mut SmallRng) {
        let mut fresh = Self::new(&self.me, base);
        for member in self.members() {
            let same = |held: &Member| {
                (held.addr, held.epoch, held.incarnation, held.status)
                    == (member.addr, member.epoch, member.incarnation, member.status)
            };
            if !fresh.base.get(&member.name).is_some_and(same) {
                fresh.insert(member.clone(), rng);
            }
        }
        let strangers: Vec<NodeName> =
            fresh.base.members().map(|m| &m.name).filter(|name| self.get(name).is_none()).cloned().collect();
        for name in strangers {
            fresh.hide(&name);
        }
        for (name, row) in &mut fresh.rows {
            row.suspicion = self.rows.get_mut(name).and_then(|row| row.suspicion.take());
        }
        *self = fresh;
    }

    pub(super) fn get(&self, name: &NodeName) -> Option<&Member> {
        match self.rows.get(name) {
            Some(row) => Some(&row.member),
            None => self.base_member(name),
        }
    }

    fn base_member(&self, name: &NodeName) -> Option<&Member> {
        self.base.get(name).filter(|member| !self.is_hidden(&member.name))
    }

    fn is_hidden(&self, name: &NodeName) -> bool {
        *name == self.me || self.unknown.contains(name)
    }

    /// The suspicion of a member, which is there exactly while it is a suspect.
    pub(super) fn suspicion(&self, name: &NodeName) -> Option<&Suspicion> {
        self.rows.get(name)?.suspicion.as_deref()
    }

    /// A suspect and its suspicion. Status, epoch and incarnation change through [`Table::update`] only.
    pub(super) fn suspect_mut(&mut self, name: &NodeName) -> Option<(&mut Member, &mut Suspicion)> {
        let row = self.rows.get_mut(name)?;
        Some((&mut row.member, row.suspicion.as_deref_mut()?))
    }

    /// Everybody, sorted by name.
    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        let mut own = self.rows.values().map(|row| &row.member).peekable();
        let mut shared = self.base.members().filter(|member| !self.is_hidden(&member.name)).peekable();
        std::iter::from_fn(move || match (own.peek(), shared.peek()) {
            (Some(mine), Some(theirs)) if mine.name == theirs.name => {
                shared.next();
                own.next()
            }
            (Some(mine), Some(theirs)) if mine.name > theirs.name => shared.next(),
            (Some(_), _) => own.next(),
            (None, _) => shared.next(),
        })
    }

    /// Those who are dead or gone.
    pub(super) fn gone(&self) -> impl Iterator<Item = &Member> {
        let own = self.rows.values().map(|row| &row.member).filter(|member| !member.status.is_live());
        let shared = self.base.gone().filter(|m| !self.rows.contains_key(&m.name) && !self.is_hidden(&m.name));
        own.chain(shared)
    }

    pub(super) fn len(&self) -> usize {
        let me = usize::from(self.base.get(&self.me).is_some());
        self.base.len() - me - self.unknown.len() + self.added
    }

    /// Rows that we keep for ourselves.
    pub(super) fn own_rows(&self) -> usize {
        self.rows.len() + self.unknown.len()
    }

    /// How many are believed alive, ourselves not counted.
    pub(super) fn live(&self) -> usize {
        self.live
    }

    pub(super) fn is_live(&self, name: &NodeName) -> bool {
        self.get(name).is_some_and(|member| member.status.is_live())
    }

    /// Of the living, ourselves included.
    pub(super) fn digest(&self) -> ViewDigest {
        self.digest
    }

    /// Of the living with their lives and incarnations, ourselves not counted.
    pub(super) fn state_hash(&self) -> u64 {
        self.state_hash
    }

    /// Learns a new name, or hides the base's row of it.
    pub(super) fn insert(&mut self, member: Member, rng: &mut SmallRng) {
        let name = member.name.clone();
        let live = member.status.is_live();
        if self.base_member(&name).is_some() {
            self.hide(&name);
        }
        self.unknown.remove(&name);
        self.added += usize::from(self.base.get(&name).is_none());
        self.rows.insert(name.clone(), Row { member, suspicion: None, slot: 0 });
        if live {
            self.enter(&name, rng);
        }
    }

    /// Changes a row. Returns whether the member was believed alive before.
    pub(super) fn update(&mut self, name: &NodeName, rng: &mut SmallRng, change: impl FnOnce(&mut Row)) -> bool {
        if !self.rows.contains_key(name) {
            let Some(shared) = self.base_member(name).cloned() else { return false };
            self.rows.insert(name.clone(), Row { member: shared, suspicion: None, slot: 0 });
        }
        let Some(row) = self.rows.get_mut(name) else { return false };
        let was_live = row.member.status.is_live();
        let old_hash = hash_of(&row.member);
        change(row);
        let is_live = row.member.status.is_live();
        let new_hash = hash_of(&row.member);
        match (was_live, is_live) {
            (true, true) => self.state_hash = self.state_hash.wrapping_sub(old_hash).wrapping_add(new_hash),
            (true, false) => {
                self.state_hash = self.state_hash.wrapping_sub(old_hash);
                self.quit(name);
            }
            (false, true) => self.enter(name, rng),
            (false, false) => {}
        }
        was_live
    }

    /// Forgets those among the dead and gone that `expired` picks, and returns where the dead ones listened.
    pub(super) fn forget(&mut self, expired: impl Fn(&Member) -> bool) -> Vec<SocketAddr> {
        let expired: Vec<(NodeName, SocketAddr, Status)> =
            self.gone().filter(|member| expired(member)).map(|m| (m.name.clone(), m.addr, m.status)).collect();
        for (name, ..) in &expired {
            self.hide(name);
        }
        expired.into_iter().filter(|(.., status)| *status == Status::Dead).map(|(_, addr, _)| addr).collect()
    }

    /// Takes a name out of the table altogether.
    fn hide(&mut self, name: &NodeName) {
        let Some(member) = self.get(name) else { return };
        let (live, hash) = (member.status.is_live(), hash_of(member));
        if live {
            self.state_hash = self.state_hash.wrapping_sub(hash);
            self.quit(name);
        }
        self.rows.remove(name);
        if self.base.get(name).is_some() {
            self.unknown.insert(name.clone());
        } else {
            self.added -= 1;
        }
    }

    /// Whose turn it is: round robin over the living, shuffled anew each round (SWIM §4.3).
    pub(super) fn next_to_probe(&mut self, rng: &mut SmallRng) -> Option<NodeName> {
        if self.live == 0 {
            return None;
        }
        loop {
            while self.walked < self.base.len() {
                let index = self.walk.at(self.walked, self.base.len());
                self.walked += 1;
                if let Some(member) = self.living_of_base(index) {
                    return Some(member.name.clone());
                }
            }
            if let Some(name) = self.order.get(self.cursor) {
                self.cursor += 1;
                return Some(name.clone());
            }
            (self.walk, self.walked) = (Shuffle::new(rng.random()), 0);
            self.order.shuffle(rng);
            self.cursor = 0;
            for (slot, name) in self.order.iter().enumerate() {
                if let Some(row) = self.rows.get_mut(name) {
                    row.slot = slot;
                }
            }
        }
    }

    /// The next turn is the first of a new round.
    #[cfg(test)]
    pub(super) fn end_round(&mut self, rng: &mut SmallRng) {
        (self.cursor, self.walked) = (self.order.len(), self.base.len());
        if self.next_to_probe(rng).is_some() {
            // The first turn of the new round was taken: give it back.
            (self.cursor, self.walked) = (0, 0);
        }
    }

    /// The row at a place of the base, as we hold it, if that member lives.
    fn living_of_base(&self, index: usize) -> Option<&Member> {
        let shared = self.base.at(index)?;
        let held = match self.rows.get(&shared.name) {
            Some(row) => &row.member,
            None => Some(shared).filter(|member| !self.is_hidden(&member.name))?,
        };
        held.status.is_live().then_some(held)
    }

    /// Up to `count` different living members that `wanted` accepts. Looks at a few times `count` of them, never at all.
    pub(super) fn pick(
        &self,
        count: usize,
        rng: &mut SmallRng,
        wanted: impl Fn(&Member) -> bool,
    ) -> Vec<(NodeName, SocketAddr)> {
        let among = self.base.len() + self.order.len();
        let looked_at = (count * 4).min(among);
        rand::seq::index::sample(rng, among, looked_at)
            .into_iter()
            .filter_map(|index| match index.checked_sub(self.base.len()) {
                None => self.living_of_base(index),
                Some(slot) => self.get(&self.order[slot]),
            })
            .filter(|member| wanted(member))
            .take(count)
            .map(|member| (member.name.clone(), member.addr))
            .collect()
    }

    /// The living once around the circle, from the point `origin` on.
    pub(super) fn clockwise(&self, origin: u64) -> impl Iterator<Item = &NodeName> {
        let live = |name: &NodeName| match self.rows.get(name) {
            Some(row) => row.member.status.is_live(),
            None => !self.is_hidden(name),
        };
        // The base's circle has those who live there; one who lives only in an own row of ours is in `ring`.
        let mut shared = self.base.clockwise(origin).filter(move |(_, name)| live(name)).peekable();
        let from = (origin, self.me.clone());
        let after = self.ring.range(from.clone()..);
        let mut own = after.chain(self.ring.range(..from)).map(|(place, name)| (*place, name)).peekable();
        std::iter::from_fn(move || match (own.peek(), shared.peek()) {
            (Some((mine, _)), Some((theirs, _))) if way(origin, *mine) > way(origin, *theirs) => shared.next(),
            (Some(_), _) => own.next(),
            (None, _) => shared.next(),
        })
        .map(|(_, name)| name)
    }

    /// A member begins to live in our eyes: it gets a random place among those still to be probed in this round.
    fn enter(&mut self, name: &NodeName, rng: &mut SmallRng) {
        let Some(row) = self.rows.get_mut(name) else { return };
        self.live += 1;
        self.digest.add(name);
        self.state_hash = self.state_hash.wrapping_add(hash_of(&row.member));
        let shared = self.base.get(name);
        if !shared.is_some_and(|member| member.status.is_live()) {
            self.ring.insert((place(name), row.member.name.clone()));
        }
        if shared.is_some() {
            return;
        }
        row.slot = self.order.len();
        self.order.push(row.member.name.clone());
        let last = self.order.len() - 1;
        let place = rng.random_range(self.cursor.min(last)..=last);
        self.swap(place, last);
    }

    /// A member ceases to live in our eyes. Nobody loses or repeats a turn by it.
    fn quit(&mut self, name: &NodeName) {
        self.live -= 1;
        self.digest.remove(name);
        self.ring.remove(&(place(name), name.clone()));
        if self.base.get(name).is_some() {
            return;
        }
        let Some(row) = self.rows.get(name) else { return };
        let mut slot = row.slot;
        if slot < self.cursor {
            self.cursor -= 1;
            self.swap(slot, self.cursor);
            slot = self.cursor;
        }
        let last = self.order.len() - 1;
        self.swap(slot, last);
        self.order.pop();
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.order.swap(a, b);
        for slot in [a, b] {
            if let Some(row) = self.rows.get_mut(&self.order[slot]) {
                row.slot = slot;
            }
        }
    }
}

fn hash_of(member: &Member) -> u64 {
    row_hash(&member.name, member.epoch, member.incarnation)
}

/// One living member's share of the state hash: FNV-1a over all that two nodes must agree on, then stirred, because the
/// shares are added up.
pub(super) fn row_hash(name: &NodeName, epoch: Epoch, incarnation: u32) -> u64 {
    let bytes = name.as_str().bytes().chain(epoch.0.to_le_bytes()).chain(incarnation.to_le_bytes());
    let hash =
        bytes.fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3));
    let hash = (hash ^ (hash >> 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    hash ^ (hash >> 29)
}
