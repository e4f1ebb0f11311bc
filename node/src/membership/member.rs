//! The member table: one row per name, the order in which the living are probed, and two sums over the living.
//!
//! Every change of a row goes through [`Table::insert`] or [`Table::update`], which keep the probe order, the digest and
//! the state hash in step, so none of them is ever computed from scratch.

use std::{collections::BTreeMap, net::SocketAddr};

use p2pnet_shared::{
    Epoch, NodeName, ViewDigest,
    telemetry::MemberRow,
    wire::membership::{Claim, Status},
};
use rand::{RngExt, rngs::SmallRng, seq::SliceRandom};

use super::suspicion::Suspicion;
use crate::time::Millis;

/// One row of the member table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub name: NodeName,
    /// Where it listens.
    pub addr: SocketAddr,
    /// Which life.
    pub epoch: Epoch,
    /// Its incarnation.
    pub incarnation: u32,
    /// What we believe.
    pub status: Status,
    /// Since when.
    pub since: Millis,
    /// Who accuses or accused it.
    pub accusers: Vec<NodeName>,
}

impl Member {
    /// What we hold of it as a claim to pass on, in the name of its first accuser.
    pub(super) fn claim(&self) -> Claim {
        Claim {
            member: self.name.clone(),
            addr: self.addr,
            epoch: self.epoch,
            incarnation: self.incarnation,
            status: self.status,
            accuser: self.accusers.first().cloned(),
            link_lost: false,
        }
    }

    /// The row as an observer reports it.
    pub(super) fn row(&self) -> MemberRow {
        MemberRow { member: self.name.clone(), epoch: self.epoch, incarnation: self.incarnation, status: self.status }
    }
}

/// Whether news of a member replaces what we hold (SWIM §4.2): the newer life, then the newer incarnation, then the
/// graver status, so only the member itself can clear a suspicion.
///
/// Departs from the paper, where death is final: here a member returns with a higher incarnation or a newer life.
pub(super) fn supersedes(news: &Claim, held: &Member) -> bool {
    (news.epoch, news.incarnation, news.status) > (held.epoch, held.incarnation, held.status)
}

/// A member with what only the protocol needs.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) member: Member,
    /// `Some` exactly while the member is a suspect.
    pub(super) suspicion: Option<Box<Suspicion>>,
    /// Its place in the probe order while it lives.
    slot: usize,
}

/// Every member but ourselves.
#[derive(Debug)]
pub(super) struct Table {
    rows: BTreeMap<NodeName, Row>,
    /// The living in the order in which they are probed; those before `cursor` had their turn in this round.
    order: Vec<NodeName>,
    cursor: usize,
    digest: ViewDigest,
    state_hash: u64,
}

impl Table {
    /// Of the node `me`, which has no row but counts in the digest.
    pub(super) fn new(me: &NodeName) -> Self {
        let digest = std::iter::once(me).collect();
        Self { rows: BTreeMap::new(), order: Vec::new(), cursor: 0, digest, state_hash: 0 }
    }

    pub(super) fn get(&self, name: &NodeName) -> Option<&Row> {
        self.rows.get(name)
    }

    /// For what is neither status, epoch nor incarnation; those change through [`Table::update`].
    pub(super) fn get_mut(&mut self, name: &NodeName) -> Option<&mut Row> {
        self.rows.get_mut(name)
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        self.rows.values().map(|row| &row.member)
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// How many are believed alive, ourselves not counted.
    pub(super) fn live(&self) -> usize {
        self.order.len()
    }

    pub(super) fn is_live(&self, name: &NodeName) -> bool {
        self.rows.get(name).is_some_and(|row| row.member.status.is_live())
    }

    /// Of the living, ourselves included.
    pub(super) fn digest(&self) -> ViewDigest {
        self.digest
    }

    /// Of the living with their lives and incarnations, ourselves not counted.
    pub(super) fn state_hash(&self) -> u64 {
        self.state_hash
    }

    /// Learns a new name.
    pub(super) fn insert(&mut self, member: Member, rng: &mut SmallRng) {
        let name = member.name.clone();
        let live = member.status.is_live();
        self.rows.insert(name.clone(), Row { member, suspicion: None, slot: 0 });
        if live {
            self.enter(&name, rng);
        }
    }

    /// Changes a row. Returns whether the member was believed alive before.
    pub(super) fn update(&mut self, name: &NodeName, rng: &mut SmallRng, change: impl FnOnce(&mut Row)) -> bool {
        let Some(row) = self.rows.get_mut(name) else { return false };
        let was_live = row.member.status.is_live();
        let old_hash = row_hash(&row.member.name, row.member.epoch, row.member.incarnation);
        change(row);
        let is_live = row.member.status.is_live();
        let new_hash = row_hash(&row.member.name, row.member.epoch, row.member.incarnation);
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

    /// Forgets the rows of the dead and gone that `expired` picks, and returns where they listened.
    pub(super) fn forget(&mut self, expired: impl Fn(&Member) -> bool) -> Vec<SocketAddr> {
        let mut forgotten = Vec::new();
        self.rows.retain(|_, row| {
            let keep = row.member.status.is_live() || !expired(&row.member);
            if !keep && row.member.status == Status::Dead {
                forgotten.push(row.member.addr);
            }
            keep
        });
        forgotten
    }

    /// Whose turn it is: round robin over the living, shuffled anew each round (SWIM §4.3).
    pub(super) fn next_to_probe(&mut self, rng: &mut SmallRng) -> Option<NodeName> {
        if self.cursor >= self.order.len() {
            self.order.shuffle(rng);
            self.cursor = 0;
            for (slot, name) in self.order.iter().enumerate() {
                if let Some(row) = self.rows.get_mut(name) {
                    row.slot = slot;
                }
            }
        }
        let name = self.order.get(self.cursor)?.clone();
        self.cursor += 1;
        Some(name)
    }

    /// Up to `count` different living members that `wanted` accepts. Looks at a few times `count` of them, never at all.
    pub(super) fn pick(
        &self,
        count: usize,
        rng: &mut SmallRng,
        wanted: impl Fn(&Member) -> bool,
    ) -> Vec<(NodeName, SocketAddr)> {
        let looked_at = (count * 4).min(self.order.len());
        rand::seq::index::sample(rng, self.order.len(), looked_at)
            .into_iter()
            .filter_map(|slot| self.rows.get(&self.order[slot]))
            .filter(|row| wanted(&row.member))
            .take(count)
            .map(|row| (row.member.name.clone(), row.member.addr))
            .collect()
    }

    /// A member begins to live in our eyes: it gets a random place among those still to be probed in this round.
    fn enter(&mut self, name: &NodeName, rng: &mut SmallRng) {
        let Some(row) = self.rows.get_mut(name) else { return };
        row.slot = self.order.len();
        self.digest.add(name);
        self.state_hash =
            self.state_hash.wrapping_add(row_hash(&row.member.name, row.member.epoch, row.member.incarnation));
        self.order.push(row.member.name.clone());
        let last = self.order.len() - 1;
        let place = rng.random_range(self.cursor.min(last)..=last);
        self.swap(place, last);
    }

    /// A member ceases to live in our eyes. Nobody loses or repeats a turn by it.
    fn quit(&mut self, name: &NodeName) {
        let Some(row) = self.rows.get(name) else { return };
        let mut slot = row.slot;
        self.digest.remove(name);
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

/// One living member's share of the state hash: FNV-1a over all that two nodes must agree on, then stirred, because the
/// shares are added up.
pub(super) fn row_hash(name: &NodeName, epoch: Epoch, incarnation: u32) -> u64 {
    let bytes = name.as_str().bytes().chain(epoch.0.to_le_bytes()).chain(incarnation.to_le_bytes());
    let hash =
        bytes.fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3));
    let hash = (hash ^ (hash >> 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    hash ^ (hash >> 29)
}
