//! What the disk is doing for us, and for whom.
//!
//! Every order has an owner, to whom its answer goes back, and an order about a path keeps the path to itself until it is answered:
//! what a look finds is never older than a placing that was ordered before.

use std::collections::{BTreeMap, BTreeSet};

use p2pnet_shared::{FilePath, wire::folder::Root};

use super::{Effect, Order, OrderId, Place, RequestId, Source, Stat};

/// Whose answer it will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Owner {
    /// The walk under way.
    Walk,
    /// Somebody wants to know what is at this path.
    Look {
        /// Which.
        path: FilePath,
    },
    /// A file looks otherwise than known.
    Hash {
        /// Which.
        path: FilePath,
        /// Bytes that are read for it.
        size: u64,
    },
    /// A file is put where it should be.
    Place {
        /// Where.
        path: FilePath,
        /// What.
        root: Root,
        /// Bytes.
        size: u64,
        /// From where; it is still good if it did not work.
        source: Source,
        /// The contents it replaces.
        over: Option<Root>,
        /// For the user who gave it to us.
        upload: Option<RequestId>,
    },
    /// A file is removed.
    Remove {
        /// Where.
        path: FilePath,
        /// What it holds.
        over: Root,
    },
    /// A file gets another time or mode.
    Touch {
        /// Where.
        path: FilePath,
        /// What it holds, unchanged.
        root: Root,
    },
    /// A copy of a file is set aside.
    SetAside {
        /// Where it is.
        path: FilePath,
        /// What it holds.
        root: Root,
    },
    /// What was set aside is needed no more.
    Forget {
        /// Which contents.
        root: Root,
    },
    /// Rows of the index.
    Persist,
    /// Bytes on their way: [`super::transfer`] knows which.
    Transfer,
}

impl Owner {
    /// The contents of which there is one file less when it is done.
    fn goes(&self) -> Option<&Root> {
        match self {
            Self::Place { over, .. } => over.as_ref(),
            Self::Remove { over, .. } => Some(over),
            _ => None,
        }
    }

    /// The path it keeps to itself.
    fn path(&self) -> Option<&FilePath> {
        match self {
            Self::Look { path }
            | Self::Hash { path, .. }
            | Self::Place { path, .. }
            | Self::Remove { path, .. }
            | Self::Touch { path, .. }
            | Self::SetAside { path, .. } => Some(path),
            Self::Walk | Self::Forget { .. } | Self::Persist | Self::Transfer => None,
        }
    }
}

/// The open orders.
#[derive(Debug, Default)]
pub(super) struct Orders {
    last: OrderId,
    open: BTreeMap<OrderId, Owner>,
    /// Paths with an order under way.
    busy: BTreeSet<FilePath>,
    /// Contents of which a file is being removed or replaced.
    going: BTreeSet<(Root, OrderId)>,
    /// Looks and hashes under way, and the bytes that are read for them.
    scanning: (usize, u64),
    /// Placings, removals, touches and what is set aside, under way.
    placing: usize,
}

impl Orders {
    /// Gives the disk an order; its answer is `owner`'s. A path that is busy must be waited for.
    pub(super) fn issue(&mut self, what: Order, owner: Owner, effects: &mut Vec<Effect>) -> OrderId {
        self.last += 1;
        if let Some(path) = owner.path() {
            let is_free = self.busy.insert(path.clone());
            debug_assert!(is_free, "two orders about {path} at once: {what:?}");
        }
        self.going.extend(owner.goes().map(|root| (*root, self.last)));
        self.count(&owner, |count| count + 1, u64::saturating_add);
        self.open.insert(self.last, owner);
        effects.push(Effect::Disk { order: self.last, what });
        self.last
    }

    /// Has a file placed.
    pub(super) fn place(
        &mut self,
        place: Place,
        over: Option<Root>,
        upload: Option<RequestId>,
        effects: &mut Vec<Effect>,
    ) {
        let Place { path, root, size, source, .. } = place.clone();
        let owner = Owner::Place { path, root, size, source, over, upload };
        self.issue(Order::Place(place), owner, effects);
    }

    /// Has a path looked at.
    pub(super) fn look(&mut self, path: FilePath, effects: &mut Vec<Effect>) {
        self.issue(Order::Look { path: path.clone() }, Owner::Look { path }, effects);
    }

    /// Has a file hashed.
    pub(super) fn hash(&mut self, path: FilePath, stat: Stat, effects: &mut Vec<Effect>) {
        let owner = Owner::Hash { path: path.clone(), size: stat.size };
        self.issue(Order::Hash { path, stat }, owner, effects);
    }

    /// Whose answer this is. The order is over with it.
    pub(super) fn take(&mut self, order: OrderId) -> Option<Owner> {
        let owner = self.open.remove(&order)?;
        if let Some(path) = owner.path() {
            self.busy.remove(path);
        }
        if let Some(root) = owner.goes() {
            self.going.remove(&(*root, order));
        }
        self.count(&owner, |count| count - 1, u64::saturating_sub);
        Some(owner)
    }

    /// Whose answer this is, if more answers to the same order are to come.
    pub(super) fn owner(&self, order: OrderId) -> Option<&Owner> {
        self.open.get(&order)
    }

    /// Whether something is under way at this path.
    pub(super) fn is_busy(&self, path: &FilePath) -> bool {
        self.busy.contains(path)
    }

    /// Whether a file with these contents is being removed or replaced: another one is not to go for the sake of that.
    pub(super) fn is_going(&self, root: &Root) -> bool {
        self.going.range((*root, 0)..).next().is_some_and(|(other, _)| other == root)
    }

    /// Looks and hashes under way, and the bytes that are read for them.
    pub(super) fn scanning(&self) -> (usize, u64) {
        self.scanning
    }

    /// Placings, removals and touches under way.
    pub(super) fn placing(&self) -> usize {
        self.placing
    }

    fn count(&mut self, owner: &Owner, step: impl Fn(usize) -> usize, add: impl Fn(u64, u64) -> u64) {
        match owner {
            Owner::Look { .. } => self.scanning.0 = step(self.scanning.0),
            Owner::Hash { size, .. } => self.scanning = (step(self.scanning.0), add(self.scanning.1, *size)),
            Owner::Place { .. } | Owner::Remove { .. } | Owner::Touch { .. } | Owner::SetAside { .. } => {
                self.placing = step(self.placing);
            }
            Owner::Walk | Owner::Forget { .. } | Owner::Persist | Owner::Transfer => {}
        }
    }
}
