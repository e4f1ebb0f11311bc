//! The recent messages, oldest first, for `/messages` and for snapshots.
//!
//! Bounded in number and bytes; the oldest go first. An id that has gone is unknown like one that never was.

use std::{collections::VecDeque, sync::Arc};

use p2pnet_shared::{MessageId, api::ReceivedMessage};

/// What has arrived here lately.
#[derive(Debug)]
pub(super) struct MessageLog {
    messages: VecDeque<Arc<ReceivedMessage>>,
    bytes: usize,
    count_max: usize,
    bytes_max: usize,
}

impl MessageLog {
    pub(super) fn new(count_max: usize, bytes_max: usize) -> Self {
        Self { messages: VecDeque::new(), bytes: 0, count_max: count_max.max(1), bytes_max }
    }

    pub(super) fn push(&mut self, message: Arc<ReceivedMessage>) {
        self.bytes += cost(&message);
        self.messages.push_back(message);
        while self.messages.len() > self.count_max || (self.bytes > self.bytes_max && self.messages.len() > 1) {
            if let Some(oldest) = self.messages.pop_front() {
                self.bytes -= cost(&oldest);
            }
        }
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<ReceivedMessage>> {
        self.messages.iter()
    }

    /// Everything after a message, or everything; `None` if that message is not there.
    pub(super) fn since(&self, since: Option<&MessageId>) -> Option<Vec<Arc<ReceivedMessage>>> {
        let skip = match since {
            None => 0,
            Some(id) => self.messages.iter().position(|message| message.id == *id)? + 1,
        };
        Some(self.messages.iter().skip(skip).cloned().collect())
    }
}

fn cost(message: &ReceivedMessage) -> usize {
    message.msg.len() + message.path.len() * size_of::<p2pnet_shared::NodeName>()
}

#[cfg(test)]
mod tests {
    use p2pnet_shared::{Epoch, NodeName, UnixMillis, wire::broadcast::Via};

    use super::*;

    fn message(seq: u64, text: &str) -> Arc<ReceivedMessage> {
        let from = NodeName::numbered(1);
        let id = MessageId { origin: from.clone(), epoch: Epoch(1), seq };
        let path = vec![from.clone()];
        Arc::new(ReceivedMessage {
            id,
            msg: text.to_owned(),
            from,
            path,
            received_at: UnixMillis(seq),
            via: Via::Push,
            late: false,
        })
    }

    #[test]
    fn the_oldest_go_first_and_since_leaves_out_what_the_reader_has() {
        let mut log = MessageLog::new(3, 1_000);
        for seq in 1..=4 {
            log.push(message(seq, "x"));
        }
        let seqs = |since: Option<u64>| {
            let id = since.map(|seq| message(seq, "").id.clone());
            log.since(id.as_ref()).map(|found| found.iter().map(|message| message.id.seq).collect::<Vec<_>>())
        };
        assert_eq!(seqs(None).unwrap(), [2, 3, 4]);
        assert_eq!(seqs(Some(3)).unwrap(), [4]);
        assert_eq!(seqs(Some(4)).unwrap(), [0; 0]);
        assert_eq!(seqs(Some(1)), None);
    }

    #[test]
    fn bytes_are_bounded_but_the_newest_stays() {
        let mut log = MessageLog::new(100, 100);
        log.push(message(1, &"x".repeat(60)));
        log.push(message(2, &"x".repeat(60)));
        log.push(message(3, &"x".repeat(600)));
        assert_eq!(log.iter().map(|message| message.id.seq).collect::<Vec<_>>(), [3]);
    }
}
