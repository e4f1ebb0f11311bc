//! Whose turn it is to be probed, and whom news is told to.
//!
//! ```text
//!                     few members                      from Config::ring_from members on
//! probed              everybody, a shuffled round      K successors in shuffled rounds, and anybody after each round
//! told, asked to help anybody                          K successors and L far contacts
//! compared with       anybody                          anybody, seldom
//! ```
//! In a large cluster a node that spoke to anybody would soon have spoken to everybody, and the kernel's neighbour table
//! is one for all containers of a machine. With the circle a node speaks to K successors, K predecessors (whose pings it
//! answers), L far contacts and a few random members a minute, however many there are. A death is found as soon: each
//! member still has one probe a second on average, and now at regular intervals from the K who watch it.

use std::net::SocketAddr;

use p2pnet_shared::NodeName;
use rand::seq::SliceRandom;

use super::{State, successors::far_point, successors::place};

impl State {
    /// The members that this node watches, nearest first: its living successors on the circle of names. In a small
    /// cluster (`Config::ring_from`) every node watches everybody by turns, and this is what it would be.
    pub fn successors(&self) -> impl Iterator<Item = &NodeName> {
        self.table.clockwise(place(&self.me.name)).take(self.config.successors)
    }

    /// Whether the circle decides whom we speak to.
    fn is_on_ring(&self) -> bool {
        self.table.live() >= self.config.ring_from
    }

    /// Whose turn it is.
    pub(super) fn next_to_probe(&mut self) -> Option<NodeName> {
        if !self.is_on_ring() {
            return self.table.next_to_probe(&mut self.rng);
        }
        let Some(turn) = self.turns.pop() else {
            self.turns.extend(0..self.config.successors);
            self.turns.shuffle(&mut self.rng);
            return self.table.next_to_probe(&mut self.rng);
        };
        let target = self.successors().nth(turn).cloned();
        target.or_else(|| self.table.next_to_probe(&mut self.rng))
    }

    /// Up to `count` different living members to tell news to, or to ask for help.
    pub(super) fn contacts(&mut self, count: usize) -> Vec<(NodeName, SocketAddr)> {
        if !self.is_on_ring() {
            return self.table.pick(count, &mut self.rng, |_| true);
        }
        let near = self.config.successors;
        let among = near + self.config.far_contacts;
        let chosen = rand::seq::index::sample(&mut self.rng, among, (count + 1).min(among));
        let mut contacts: Vec<(NodeName, SocketAddr)> = Vec::with_capacity(count);
        for index in chosen {
            let name = if index < near { self.successors().nth(index) } else { self.far_contact(index - near) };
            let Some(member) = name.and_then(|name| self.table.get(name)) else { continue };
            if contacts.len() < count && contacts.iter().all(|(held, _)| *held != member.name) {
                contacts.push((member.name.clone(), member.addr));
            }
        }
        contacts
    }

    fn far_contact(&self, index: usize) -> Option<&NodeName> {
        self.table.clockwise(far_point(place(&self.me.name), index)).next()
    }
}
