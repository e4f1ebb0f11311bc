//! What is under way: questions of our own users and of other nodes, until each has its one answer.
//!
//! One timer serves all of them: while there is any, they are looked over every [`LOOK`]. What always holds: a call's number
//! is larger than that of every call before, in former lives too; there are at most [`CALLS_MAX`].

use std::collections::BTreeMap;

use p2pnet_shared::{
    Epoch, Key, NodeName,
    ring::Place,
    wire::dht::{Operation, Refusal},
};

use super::{RequestId, coordinator::Write, forward::Forwarding, read::Gather};
use crate::time::Millis;

/// How often what is under way is looked over.
pub(super) const LOOK: Millis = Millis(50);
/// Calls under way at most; whoever comes then is refused at once. 16 MB of the largest.
pub(super) const CALLS_MAX: usize = 4_096;

/// Who gets the answer to a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asker {
    /// One of our own users.
    User(RequestId),
    /// A node that forwarded it, under its number.
    Peer(NodeName, u64),
}

/// A read for one of our users.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) id: RequestId,
    pub(super) deadline: Millis,
    pub(super) gather: Gather,
}

/// What a write is, whoever does it.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) asker: Asker,
    pub(super) operation: Operation,
    pub(super) place: Place,
    /// When its asker has to be answered.
    pub(super) deadline: Millis,
    /// Until when a version may be made of it.
    pub(super) valid_until: Millis,
    /// How often it was forwarded to come here.
    pub(super) hops: u8,
    /// Who refused to coordinate it, and why.
    pub(super) refused: Vec<(NodeName, Refusal)>,
    /// How often it came too late.
    pub(super) late: u8,
    /// Copies there are, by the last that was heard.
    pub(super) reached: u8,
}

impl Order {
    pub(super) fn key(&self) -> &Key {
        match &self.operation {
            Operation::Put { key, .. } | Operation::Delete { key } => key,
        }
    }

    pub(super) fn is_delete(&self) -> bool {
        matches!(self.operation, Operation::Delete { .. })
    }
}

/// One call.
#[derive(Debug)]
pub(super) enum Call {
    Read(Box<Read>),
    Write(Box<Write>),
    Forward(Box<Forwarding>),
}

/// All calls.
#[derive(Debug)]
pub(super) struct Calls {
    last: u64,
    open: BTreeMap<u64, Call>,
    /// When the timer goes off, if it is set.
    pub(super) timed: Option<Millis>,
}

impl Calls {
    pub(super) fn new(epoch: Epoch) -> Self {
        Self { last: epoch.0.saturating_mul(1 << 20), open: BTreeMap::new(), timed: None }
    }

    /// A number for a new call.
    pub(super) fn number(&mut self) -> u64 {
        self.last = self.last.saturating_add(1);
        self.last
    }

    pub(super) fn take(&mut self, call: u64) -> Option<Call> {
        self.open.remove(&call)
    }

    /// The write of that number; nothing if that is the number of something else.
    pub(super) fn take_write(&mut self, call: u64) -> Option<Box<Write>> {
        match self.open.remove(&call)? {
            Call::Write(write) => Some(write),
            other => {
                self.open.insert(call, other);
                None
            }
        }
    }

    pub(super) fn put(&mut self, number: u64, call: Call) {
        self.open.insert(number, call);
    }

    pub(super) fn get(&self, call: u64) -> Option<&Call> {
        self.open.get(&call)
    }

    pub(super) fn get_mut(&mut self, call: u64) -> Option<&mut Call> {
        self.open.get_mut(&call)
    }

    pub(super) fn numbers(&self) -> Vec<u64> {
        self.open.keys().copied().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.open.len() >= CALLS_MAX
    }
}
