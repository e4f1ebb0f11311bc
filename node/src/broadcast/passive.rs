//! The passive view: members in reserve, for when a neighbour is lost (HyParView §4).
//!
//! ```text
//! membership ──MemberUp──▶ by chance ─┐                        ┌──▶ promoted: dialled when a neighbour is missing
//! neighbours ──Shuffle─────▶ known alive? ─▶ passive, ≤ 30 or 40 ┤
//! links that ended ───────────────────┘                        └──▶ MemberDown: gone at once
//! ```
//! The membership knows everybody and this keeps only a sample of them, so that a node of a large network does not hold
//! the member list twice. The sample is uniform over those told of (each newcomer gets in with the chance that it has
//! in the end), and shuffles keep it moving. Of everybody else there is left a hash of the name and the number of the
//! life, 16 bytes, which says whether a name that a neighbour mentions, or that a message claims to be from, is alive:
//! nothing that the membership holds dead or never named gets in, whatever comes over a link.
//!
//! Entries with a link are not passive and not counted, but keep their address here.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
    net::SocketAddr,
};

use p2pnet_shared::{Epoch, NodeName, wire::broadcast::Contact};
use rand::{RngExt, rngs::Xoshiro256PlusPlus, seq::IteratorRandom};

use super::Config;
use crate::time::Millis;

/// Most members whose lives are known. Of further ones nothing is kept; they get in when others die.
const LIVES_MAX: usize = 16_384;

/// A member we could ask.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub(super) addr: SocketAddr,
    pub(super) epoch: Epoch,
    /// Not asked before this time, because it failed or refused.
    pub(super) not_before: Millis,
    /// Failures in a row.
    pub(super) failures: u32,
}

/// The members in reserve, and who is alive at all.
#[derive(Debug, Default)]
pub(super) struct Passive {
    known: BTreeMap<NodeName, Candidate>,
    lives: BTreeMap<u64, Epoch>,
}

impl Passive {
    /// The life of a member, if the membership believes it alive.
    pub(super) fn epoch_of(&self, name: &NodeName) -> Option<Epoch> {
        self.lives.get(&hash(name)).copied()
    }

    /// How many members the membership believes alive.
    pub(super) fn members(&self) -> usize {
        self.lives.len()
    }

    /// How many entries there may be without a link.
    pub(super) fn size(&self, config: &Config) -> usize {
        if self.members() < config.large_from { config.passive_size } else { config.passive_size_large }
    }

    pub(super) fn get(&self, name: &NodeName) -> Option<&Candidate> {
        self.known.get(name)
    }

    pub(super) fn get_mut(&mut self, name: &NodeName) -> Option<&mut Candidate> {
        self.known.get_mut(name)
    }

    /// The same name, sharing its letters with ours.
    pub(super) fn shared_name(&self, name: &NodeName) -> Option<&NodeName> {
        self.known.get_key_value(name).map(|(known, _)| known)
    }

    /// Those without a link, whatever became of earlier attempts.
    pub(super) fn strangers<'a, T>(
        &'a self,
        links: &'a BTreeMap<NodeName, T>,
    ) -> impl Iterator<Item = (&'a NodeName, &'a Candidate)> {
        self.known.iter().filter(|(name, _)| !links.contains_key(*name))
    }

    /// The membership believes this member alive.
    pub(super) fn on_member_up<T>(
        &mut self,
        peer: NodeName,
        addr: SocketAddr,
        epoch: Epoch,
        links: &BTreeMap<NodeName, T>,
        config: &Config,
        rng: &mut Xoshiro256PlusPlus,
    ) {
        if self.lives.len() < LIVES_MAX || self.lives.contains_key(&hash(&peer)) {
            self.lives.insert(hash(&peer), epoch);
        }
        let new = Candidate { addr, epoch, not_before: Millis(0), failures: 0 };
        match self.known.get_mut(&peer) {
            Some(known) if (known.addr, known.epoch) == (addr, epoch) => {}
            Some(known) => *known = new,
            None => {
                let size = self.size(config);
                let count = self.strangers(links).count();
                // One of all members so far is the newcomer; a failing entry gives way in any case.
                let failing = self.strangers(links).any(|(_, candidate)| candidate.failures > 0);
                let lucky = rng.random_range(0..self.members().max(1)) < size;
                if links.contains_key(&peer) || count < size || failing || lucky {
                    self.known.insert(peer.clone(), new);
                    self.trim(links, &[peer], config, rng);
                }
            }
        }
    }

    pub(super) fn on_member_down(&mut self, peer: &NodeName) {
        self.known.remove(peer);
        self.lives.remove(&hash(peer));
    }

    /// Lets go of what is too much, but of none of `keep`: first who fails, then anybody.
    pub(super) fn trim<T>(
        &mut self,
        links: &BTreeMap<NodeName, T>,
        keep: &[NodeName],
        config: &Config,
        rng: &mut Xoshiro256PlusPlus,
    ) {
        while self.strangers(links).count() > self.size(config) {
            let spare = || self.strangers(links).filter(|(name, _)| !keep.contains(name));
            let failing = spare().filter(|(_, candidate)| candidate.failures > 0).choose(rng);
            let Some(gone) = failing.or_else(|| spare().choose(rng)).map(|(name, _)| name.clone()) else { return };
            self.known.remove(&gone);
        }
    }

    /// A random sample for a shuffle: so many of `active`, so many of the others.
    pub(super) fn sample<T>(
        &self,
        active: &BTreeSet<NodeName>,
        links: &BTreeMap<NodeName, T>,
        (of_active, of_passive): (usize, usize),
        rng: &mut Xoshiro256PlusPlus,
    ) -> Vec<Contact> {
        let contact = |(name, candidate): (&NodeName, &Candidate)| Contact {
            name: name.clone(),
            addr: candidate.addr,
            epoch: candidate.epoch,
        };
        let of = self.known.iter().filter(|(name, _)| active.contains(*name));
        let mut sample: Vec<Contact> = of.map(contact).sample(rng, of_active);
        sample.extend(self.strangers(links).map(contact).sample(rng, of_passive));
        sample
    }

    /// What a neighbour told of others. Only whom the membership holds alive, in this life, is taken in.
    pub(super) fn take_in<T>(
        &mut self,
        me: &NodeName,
        contacts: Vec<Contact>,
        links: &BTreeMap<NodeName, T>,
        config: &Config,
        rng: &mut Xoshiro256PlusPlus,
    ) {
        let mut fresh = Vec::new();
        for Contact { name, addr, epoch } in contacts {
            if name != *me && !self.known.contains_key(&name) && self.epoch_of(&name) == Some(epoch) {
                self.known.insert(name.clone(), Candidate { addr, epoch, not_before: Millis(0), failures: 0 });
                fresh.push(name);
            }
        }
        self.trim(links, &fresh, config, rng);
        self.trim(links, &[], config, rng);
    }
}

/// The same on every run, so that a seed replays.
fn hash(name: &NodeName) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}
