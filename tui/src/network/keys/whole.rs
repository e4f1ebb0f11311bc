//! When keys were last written, and when every key last had its copies again: kept for those who come later.
//!
//! Copies carry no time. Who watches notes when they came; who begins to watch afterwards (`status` after a repair) is told
//! what is held and not since when, so whoever has watched all along, the gateway, tells it that. It counts with the very
//! account a watcher has, with one difference: what is up it knows by links and not by the engine, so a node that is paused
//! counts as there.
//!
//! Always holds: what nodes tell anew, over a new link or to a gateway that was restarted, is how things stand and sets no
//! time; only an end of a link or a write can leave keys short, and only the end of that is told.

use std::collections::HashMap;

use p2pnet_shared::{
    Epoch, UnixMillis,
    telemetry::{HeldKey, KeyCounts},
};

use super::{
    COPIES,
    account::{Account, CLASSES, Meant, Standing},
};

/// What is kept.
#[derive(Debug, Default)]
pub(crate) struct Whole {
    account: Account,
    /// In which life each node has told what it holds.
    told: HashMap<u16, Epoch>,
    /// Since something happened that left keys short of copies, they have not all had them.
    is_short: bool,
    whole_at: Option<UnixMillis>,
    written_at: Option<UnixMillis>,
}

impl Whole {
    /// When a key was last written or deleted, and when every key had its copies again after that or a node's end had left
    /// some short.
    pub(crate) fn times(&self) -> (Option<UnixMillis>, Option<UnixMillis>) {
        (self.written_at, self.whole_at)
    }

    /// A node's link is there, and it says in which life it is.
    pub(crate) fn greets(&mut self, node: u16, life: Epoch) {
        let standing = if self.told.get(&node) == Some(&life) { Standing::Live } else { Standing::Down };
        self.account.stand(usize::from(node), standing);
    }

    /// It says what it holds, or what changed; `linked` nodes have links.
    pub(crate) fn holds(
        &mut self,
        now: UnixMillis,
        (node, life): (u16, Epoch),
        (anew, sampled, keys): (bool, u8, &[HeldKey]),
        linked: usize,
    ) {
        self.account.tick(now);
        let slot = usize::from(node);
        let same_life = self.told.insert(node, life) == Some(life);
        if anew || !same_life {
            self.account.anew(now, slot, same_life);
        }
        let meant = if anew { Meant::History } else { Meant::News };
        let is_written = self.account.hold(now, slot, sampled, keys, meant);
        self.account.stand(slot, Standing::Live);
        if is_written {
            self.written_at = Some(now);
        }
        self.look(now, linked, is_written);
    }

    /// It counts what it holds: an empty store has no keys to tell of.
    pub(crate) fn counts(&mut self, node: u16, life: Epoch, counts: &KeyCounts) {
        if counts.keys == 0 && counts.tombstones == 0 && self.told.get(&node) != Some(&life) {
            self.told.insert(node, life);
            self.account.forget(usize::from(node));
            self.account.stand(usize::from(node), Standing::Live);
        }
    }

    /// Its link is gone.
    pub(crate) fn lost(&mut self, now: UnixMillis, node: u16, linked: usize) {
        self.account.tick(now);
        self.account.stand(usize::from(node), Standing::Down);
        self.look(now, linked, true);
    }

    /// It is remembered no more.
    pub(crate) fn forget(&mut self, node: u16) {
        self.told.remove(&node);
        self.account.forget(usize::from(node));
    }

    /// `may_hurt`: what has just happened may leave keys short.
    fn look(&mut self, now: UnixMillis, linked: usize, may_hurt: bool) {
        let wanted = linked.min(usize::from(COPIES)).min(CLASSES);
        let short: u64 = self.account.histogram().live[..wanted].iter().sum();
        if short > 0 {
            self.is_short |= may_hurt;
        } else if std::mem::take(&mut self.is_short) {
            self.whole_at = Some(now);
        }
    }
}
