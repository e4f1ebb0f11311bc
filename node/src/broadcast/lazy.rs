//! Lazy links: messages announced by their ids, and asked for by their ids (Plumtree §3.4: IHAVE and GRAFT).
//!
//! ```text
//! pushed on ──▶ pending ──[announce_after]──▶ IHave{ids} to each lazy neighbour that is not known to have them
//! IHave{ids} ─▶ missing ──[graft_after, then graft_again, doubled each time]──▶ Graft{ids} to one who announced
//!                  └─ the message comes, from anybody: no more missing          └─ nobody left to ask: marks repair it
//! Graft{ids} ─▶ owed ───[as long as the link is not crowded, PORTION_BYTES at a time]──▶ Broadcast
//! ```
//! An announcement from the neighbour we hang from means that it does not push, because the link to us is crowded: then it
//! is asked at once. While our place in the tree is new we ask sooner, because a push may just have missed us; and while much is
//! missing later, because what is in full queues comes anyway.
//!
//! Bounded, whatever comes in: [`IDS_MAX`] ids in a frame, of which more are refused; [`PENDING_MAX`] ids to announce,
//! then they go out at once; [`MISSING_MAX`] missing ids, further ones are left to repair; [`OWED_MAX`] ids owed to one
//! link, further ones are not noted and whoever asked asks somebody else.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use p2pnet_shared::{MessageId, NodeName, wire::broadcast::IDS_MAX};

use super::Config;
use crate::time::Millis;

/// Messages waiting to be announced.
const PENDING_MAX: usize = IDS_MAX;
/// Messages announced to us that have not come.
const MISSING_MAX: usize = 1_024;
/// Neighbours remembered for each of those.
const ANNOUNCERS_MAX: usize = 8;
/// Messages one link's peer has asked for and waits for.
const OWED_MAX: usize = 1_024;
/// Bytes of messages handed to one link at once on being asked.
pub(super) const PORTION_BYTES: usize = 64 * 1024;
/// So many missing messages make a node wait twice as long, twice as many three times, and so on.
const BACKLOG: u64 = 16;
/// At most so many times longer.
const PATIENCE_MAX: u64 = 31;
/// How often a message is asked for before marks have to repair it.
const TRIES_MAX: u32 = 8;

#[derive(Debug)]
struct Missing {
    announcers: VecDeque<NodeName>,
    due: Millis,
    tries: u32,
}

/// What is announced, missing and owed.
#[derive(Debug, Default)]
pub(super) struct Lazy {
    pending: BTreeMap<MessageId, Vec<NodeName>>,
    missing: BTreeMap<MessageId, Missing>,
    owed: BTreeMap<NodeName, VecDeque<MessageId>>,
    announce_is_set: bool,
    owed_is_set: bool,
    /// When the graft timer is due, if one is set.
    graft_at: Option<Millis>,
}

/// Timers to be set.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Arm {
    pub(super) announce: bool,
    pub(super) owed: bool,
    /// From now.
    pub(super) graft: Option<Millis>,
}

impl Lazy {
    /// `id` is to be announced to these. True if there is so much to announce that it should go out at once.
    pub(super) fn announce(&mut self, id: &MessageId, to: Vec<NodeName>) -> bool {
        if !to.is_empty() {
            self.pending.entry(id.clone()).or_default().extend(to);
        }
        self.pending.len() >= PENDING_MAX
    }

    /// What is to be announced, by neighbour.
    pub(super) fn take_announcements(&mut self) -> BTreeMap<NodeName, Vec<MessageId>> {
        self.announce_is_set = false;
        let mut by_peer: BTreeMap<NodeName, Vec<MessageId>> = BTreeMap::new();
        for (id, peers) in std::mem::take(&mut self.pending) {
            for peer in peers {
                by_peer.entry(peer).or_default().push(id.clone());
            }
        }
        by_peer
    }

    /// `peer` has this message: it need not be told.
    pub(super) fn knows(&mut self, peer: &NodeName, id: &MessageId) {
        if let Some(to) = self.pending.get_mut(id) {
            to.retain(|name| name != peer);
            if to.is_empty() {
                self.pending.remove(id);
            }
        }
    }

    /// `peer` announces a message that we lack; it is asked for at `due` at the latest.
    pub(super) fn note_missing(&mut self, peer: &NodeName, id: MessageId, due: Millis) {
        let full = self.missing.len() >= MISSING_MAX;
        match self.missing.get_mut(&id) {
            Some(missing) => {
                if missing.announcers.len() < ANNOUNCERS_MAX && !missing.announcers.contains(peer) {
                    missing.announcers.push_back(peer.clone());
                }
                missing.due = if missing.tries == 0 { missing.due.min(due) } else { missing.due };
            }
            None if full => {}
            None => {
                let announcers = VecDeque::from([peer.clone()]);
                self.missing.insert(id, Missing { announcers, due, tries: 0 });
            }
        }
    }

    /// What is missing may have been pushed past us: whatever was not asked for yet is asked for by `due`.
    pub(super) fn hurry(&mut self, due: Millis) {
        for missing in self.missing.values_mut().filter(|missing| missing.tries == 0) {
            missing.due = missing.due.min(due);
        }
    }

    /// How many times as long as usual to wait for a message: when much is missing, it is on its way through full queues,
    /// and to ask others for it would fill them further.
    pub(super) fn patience(&self) -> u64 {
        1 + (self.missing.len() as u64 / BACKLOG).min(PATIENCE_MAX)
    }

    /// A message has come.
    pub(super) fn arrived(&mut self, id: &MessageId) {
        self.missing.remove(id);
    }

    /// What is to be asked of whom now, and whom to compare marks with because nobody can be asked for something.
    pub(super) fn take_grafts(
        &mut self,
        now: Millis,
        config: &Config,
        is_neighbour: impl Fn(&NodeName) -> bool,
    ) -> (BTreeMap<NodeName, Vec<MessageId>>, BTreeSet<NodeName>) {
        self.graft_at = None;
        let again = config.graft_again.0 * self.patience();
        let (mut asks, mut left) = (BTreeMap::<NodeName, Vec<MessageId>>::new(), BTreeSet::new());
        self.missing.retain(|id, missing| {
            if missing.due > now {
                return true;
            }
            missing.announcers.retain(&is_neighbour);
            let Some(peer) = missing.announcers.pop_front() else { return false };
            if missing.tries >= TRIES_MAX {
                left.insert(peer);
                return false;
            }
            let asked = asks.entry(peer.clone()).or_default();
            if asked.len() < IDS_MAX {
                asked.push(id.clone());
                missing.due = now + Millis(again << missing.tries);
                missing.tries += 1;
                missing.announcers.push_back(peer);
            } else {
                missing.due = now + Millis(again);
                missing.announcers.push_front(peer);
            }
            true
        });
        (asks, left)
    }

    /// `peer` has asked for these.
    pub(super) fn owe(&mut self, peer: &NodeName, ids: Vec<MessageId>) {
        let owed = self.owed.entry(peer.clone()).or_default();
        for id in ids {
            if owed.len() < OWED_MAX && !owed.contains(&id) {
                owed.push_back(id);
            }
        }
    }

    /// Whom we owe something.
    pub(super) fn creditors(&mut self) -> Vec<NodeName> {
        self.owed_is_set = false;
        self.owed.keys().cloned().collect()
    }

    /// The next message owed to `peer`.
    pub(super) fn next_owed(&mut self, peer: &NodeName) -> Option<MessageId> {
        let owed = self.owed.get_mut(peer)?;
        let next = owed.pop_front();
        if owed.is_empty() {
            self.owed.remove(peer);
        }
        next
    }

    /// The link is gone.
    pub(super) fn forget_peer(&mut self, peer: &NodeName) {
        self.owed.remove(peer);
    }

    /// Which timers have to be set. `waits`: whether a link that is owed something is free to take it.
    pub(super) fn arm(&mut self, now: Millis, is_crowded: impl Fn(&NodeName) -> bool) -> Arm {
        let announce = !self.pending.is_empty() && !std::mem::replace(&mut self.announce_is_set, true);
        let can_pay = self.owed.keys().any(|peer| !is_crowded(peer));
        let owed = can_pay && !std::mem::replace(&mut self.owed_is_set, true);
        let due = self.missing.values().map(|missing| missing.due).min();
        let due = due.filter(|due| self.graft_at.is_none_or(|at| at > *due));
        self.graft_at = due.or(self.graft_at);
        Arm { announce, owed, graft: due.map(|due| due - now) }
    }
}
