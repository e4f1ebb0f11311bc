//! The recent messages: what repair can still hand out, and what is shown.
//!
//! In the order in which they arrived here. Bounded by number and by bytes; when it is full, the messages that arrived
//! first are forgotten. A burst may take more bytes than are kept at rest, up to a second limit, until it is old. Whether a message was *seen* is not decided here (see `seen.rs`).
//!
//! Full, and the oldest still young: then messages come in faster than repair can be sure to have handed them to
//! everyone, and [`Store::has_room`] is false, on which a node accepts no further message from its user. Every node of
//! the network sees every message, so all of them slow down together.

use std::collections::VecDeque;

use p2pnet_shared::MessageId;

use super::{Config, Message};
use crate::time::Millis;

/// What a message costs beside its text, bytes: the structure, and a pointer for each name on its path.
const MESSAGE_BYTES: usize = 128;
const NAME_BYTES: usize = 16;

#[derive(Debug)]
struct Entry {
    message: Message,
    /// How many more hops it may go; 0 for one that repair brought, which the network has had for some time.
    ttl: u8,
    kept_at: Millis,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Store {
    entries: VecDeque<Entry>,
    bytes: usize,
    messages_max: usize,
    bytes_max: usize,
    burst_max: usize,
    remember: Millis,
}

impl Store {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            entries: VecDeque::new(),
            bytes: 0,
            messages_max: config.messages_max,
            bytes_max: config.messages_max_bytes,
            burst_max: config.burst_max_bytes.max(config.messages_max_bytes),
            remember: config.remember,
        }
    }

    /// Keeps `message`, which may go `ttl` more hops, and forgets as many of the oldest as it takes.
    pub(super) fn keep(&mut self, now: Millis, message: Message, ttl: u8) {
        self.bytes += cost_bytes(message.text.len(), message.path.len());
        self.entries.push_back(Entry { message, ttl, kept_at: now });
        self.age(now);
    }

    /// Forgets what is too much: what is older than `remember` beyond the bytes kept at rest, anything beyond those of a
    /// burst.
    pub(super) fn age(&mut self, now: Millis) {
        while let Some(oldest) = self.entries.front() {
            let over_rest = self.bytes > self.bytes_max && !self.is_young(now, oldest);
            if self.entries.len() <= self.messages_max && self.bytes <= self.burst_max && !over_rest {
                break;
            }
            let Some(gone) = self.entries.pop_front() else { break };
            self.bytes -= cost_bytes(gone.message.text.len(), gone.message.path.len());
        }
        if self.entries.capacity() > 2 * self.entries.len() + 64 {
            self.entries.shrink_to_fit();
        }
    }

    fn is_young(&self, now: Millis, entry: &Entry) -> bool {
        entry.ttl > 0 && now - entry.kept_at < self.remember
    }

    /// Whether a text of so many bytes could be kept without forgetting a young message.
    pub(super) fn has_room(&self, now: Millis, text_bytes: usize) -> bool {
        let mut over_messages = (self.entries.len() + 1).saturating_sub(self.messages_max);
        let mut over_bytes = (self.bytes + cost_bytes(text_bytes, 1)).saturating_sub(self.burst_max);
        for entry in &self.entries {
            if over_messages == 0 && over_bytes == 0 {
                return true;
            }
            if self.is_young(now, entry) {
                return false;
            }
            over_messages = over_messages.saturating_sub(1);
            over_bytes = over_bytes.saturating_sub(cost_bytes(entry.message.text.len(), entry.message.path.len()));
        }
        true
    }

    /// One message, and how many more hops it may go.
    pub(super) fn get(&self, id: &MessageId) -> Option<(&Message, u8)> {
        // The newest are asked for most.
        let found = self.entries.iter().rev().find(|entry| entry.message.id == *id);
        found.map(|entry| (&entry.message, entry.ttl))
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
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

    fn store(messages_max: usize, messages_max_bytes: usize, burst_max_bytes: usize) -> Store {
        let remember = Millis(1_000);
        Store::new(&Config { messages_max, messages_max_bytes, burst_max_bytes, remember, ..Config::default() })
    }

    fn seqs(store: &Store) -> Vec<u64> {
        store.messages().map(|message| message.id.seq).collect()
    }

    #[test]
    fn the_first_to_come_is_the_first_forgotten() {
        let mut store = store(3, 10_000, 10_000);
        for seq in 1..=5 {
            store.keep(Millis(0), message(seq, 10), 0);
        }
        assert_eq!(seqs(&store), [3, 4, 5]);
        store.keep(Millis(0), message(6, 9_700), 0);
        assert_eq!(seqs(&store), [5, 6], "two of the small ones had to go for their bytes");
        assert_eq!(store.bytes, cost_bytes(10, 1) + cost_bytes(9_700, 1));
    }

    #[test]
    fn there_is_room_once_the_oldest_is_old_enough() {
        let mut store = store(2, 10_000, 10_000);
        store.keep(Millis(0), message(1, 10), 1);
        assert!(store.has_room(Millis(10), 10));
        store.keep(Millis(10), message(2, 10), 1);
        assert!(!store.has_room(Millis(999), 10));
        assert!(store.has_room(Millis(1_000), 10));
        assert!(!store.has_room(Millis(1_000), 9_900), "that would take both, and the second is young");
    }

    #[test]
    fn history_that_repair_brought_may_go_at_any_time() {
        let mut store = store(2, 10_000, 10_000);
        store.keep(Millis(0), message(1, 10), 0);
        store.keep(Millis(0), message(2, 10), 0);
        assert!(store.has_room(Millis(0), 10));
    }

    #[test]
    fn a_burst_is_kept_while_it_is_young_and_given_back() {
        let mut store = store(100, 10_000, 50_000);
        for seq in 1..=8 {
            store.keep(Millis(seq), message(seq, 5_000), 3);
        }
        assert_eq!(seqs(&store), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert!(store.has_room(Millis(9), 5_000) && !store.has_room(Millis(9), 10_000));
        store.keep(Millis(9), message(9, 5_000), 3);
        store.keep(Millis(9), message(10, 5_000), 3);
        assert!(store.bytes <= 50_000 && store.get(&message(1, 0).id).is_none(), "never more than that");
        store.age(Millis(1_009));
        assert!(store.bytes <= 10_000);
        assert_eq!(store.get(&message(10, 0).id).map(|(_, ttl)| ttl), Some(3));
    }
}
