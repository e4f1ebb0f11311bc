//! The recent messages: what repair can still hand out, and what is shown.
//!
//! In the order in which they arrived here. Bounded by number and by bytes; when it is full, the messages that arrived
//! first are forgotten. Whether a message was *seen* is not decided here (see `seen.rs`).
//!
//! Full, and the oldest still young: then messages come in faster than repair can be sure to have handed them to
//! everyone, and [`Store::has_room`] is false, on which a node accepts no further message from its user. Every node of
//! the network sees every message, so all of them slow down together.

use std::collections::VecDeque;

use super::Message;
use crate::time::Millis;

/// What a message costs beside its text, bytes: the structure, and a pointer for each name on its path.
const MESSAGE_BYTES: usize = 128;
const NAME_BYTES: usize = 16;

#[derive(Debug)]
struct Entry {
    message: Message,
    /// When it was pushed to us; `None` for one that repair brought, which the network has had for some time.
    pushed_at: Option<Millis>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Store {
    entries: VecDeque<Entry>,
    bytes: usize,
    messages_max: usize,
    bytes_max: usize,
}

impl Store {
    pub(super) fn new(messages_max: usize, bytes_max: usize) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, messages_max, bytes_max }
    }

    /// Keeps `message`, and forgets as many of the oldest as it takes.
    pub(super) fn keep(&mut self, message: Message, pushed_at: Option<Millis>) {
        self.bytes += cost_bytes(message.text.len(), message.path.len());
        self.entries.push_back(Entry { message, pushed_at });
        while self.entries.len() > self.messages_max || self.bytes > self.bytes_max {
            let Some(gone) = self.entries.pop_front() else { break };
            self.bytes -= cost_bytes(gone.message.text.len(), gone.message.path.len());
        }
    }

    /// Whether a text of so many bytes could be kept without forgetting a message younger than `age`.
    pub(super) fn has_room(&self, now: Millis, text_bytes: usize, age: Millis) -> bool {
        let mut over_messages = (self.entries.len() + 1).saturating_sub(self.messages_max);
        let mut over_bytes = (self.bytes + cost_bytes(text_bytes, 1)).saturating_sub(self.bytes_max);
        for entry in &self.entries {
            if over_messages == 0 && over_bytes == 0 {
                return true;
            }
            if entry.pushed_at.is_some_and(|at| now - at < age) {
                return false;
            }
            over_messages = over_messages.saturating_sub(1);
            over_bytes = over_bytes.saturating_sub(cost_bytes(entry.message.text.len(), entry.message.path.len()));
        }
        true
    }

    /// In the order of arrival.
    pub(super) fn messages(&self) -> impl DoubleEndedIterator<Item = &Message> {
        self.entries.iter().map(|entry| &entry.message)
    }
}

/// What keeping (or sending) a message costs, bytes.
pub(super) fn cost_bytes(text_bytes: usize, path_names: usize) -> usize {
    MESSAGE_BYTES + text_bytes + NAME_BYTES * path_names
}

#[cfg(test)]
mod tests {
    use p2pnet_shared::{Epoch, MessageId, NodeName, wire::broadcast::Via};

    use super::*;

    fn message(seq: u64, text_bytes: usize) -> Message {
        let origin = NodeName::numbered(1);
        let id = MessageId { origin: origin.clone(), epoch: Epoch(1), seq };
        Message { id, path: vec![origin], text: "x".repeat(text_bytes), via: Via::Push, late: false }
    }

    fn seqs(store: &Store) -> Vec<u64> {
        store.messages().map(|message| message.id.seq).collect()
    }

    #[test]
    fn the_first_to_come_is_the_first_forgotten() {
        let mut store = Store::new(3, 10_000);
        for seq in 1..=5 {
            store.keep(message(seq, 10), None);
        }
        assert_eq!(seqs(&store), [3, 4, 5]);
        store.keep(message(6, 9_700), None);
        assert_eq!(seqs(&store), [5, 6], "two of the small ones had to go for their bytes");
        assert_eq!(store.bytes, cost_bytes(10, 1) + cost_bytes(9_700, 1));
    }

    #[test]
    fn there_is_room_once_the_oldest_is_old_enough() {
        let mut store = Store::new(2, 10_000);
        let age = Millis(1_000);
        store.keep(message(1, 10), Some(Millis(0)));
        assert!(store.has_room(Millis(10), 10, age));
        store.keep(message(2, 10), Some(Millis(10)));
        assert!(!store.has_room(Millis(999), 10, age));
        assert!(store.has_room(Millis(1_000), 10, age));
        assert!(!store.has_room(Millis(1_000), 9_900, age), "that would take both, and the second is young");
    }

    #[test]
    fn history_that_repair_brought_may_go_at_any_time() {
        let mut store = Store::new(2, 10_000);
        store.keep(message(1, 10), None);
        store.keep(message(2, 10), None);
        assert!(store.has_room(Millis(0), 10, Millis(1_000)));
    }
}
