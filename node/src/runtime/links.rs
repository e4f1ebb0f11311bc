//! The links there are: at most one to each peer, whoever dialled.

use std::collections::BTreeMap;

use p2pnet_shared::{Epoch, NodeName, wire::Hello};
use tokio::sync::mpsc;

/// One link.
#[derive(Debug)]
struct Link {
    serial: u64,
    epoch: Epoch,
    /// Who dialled it.
    dialler: NodeName,
    frames: mpsc::Sender<Vec<u8>>,
    /// Either side has said that it will close: the end is no accident.
    farewell: bool,
}

/// What became of a new link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Added {
    /// The first to that peer.
    First,
    /// It took the place of another, which is closing.
    Replaced,
    /// There is a better one; this one is closing.
    Refused,
}

/// How a link ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ended {
    /// The peer's life at the other end.
    pub(super) epoch: Epoch,
    /// Nobody had said that it would close.
    pub(super) lost: bool,
}

/// Links by peer.
#[derive(Debug, Default)]
pub(super) struct Links {
    by_peer: BTreeMap<NodeName, Link>,
    serial: u64,
}

impl Links {
    /// A number for a link that is about to be.
    pub(super) fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Takes in a link that is up. When both sides dialled at once, both keep the one dialled by the smaller name; when
    /// the same side dialled again, or the peer lives anew, the newer one.
    pub(super) fn add(
        &mut self,
        me: &NodeName,
        serial: u64,
        hello: &Hello,
        dialled: bool,
        frames: mpsc::Sender<Vec<u8>>,
    ) -> Added {
        let dialler = if dialled { me.clone() } else { hello.name.clone() };
        let link = Link { serial, epoch: hello.epoch, dialler, frames, farewell: false };
        match self.by_peer.get_mut(&hello.name) {
            None => {
                self.by_peer.insert(hello.name.clone(), link);
                Added::First
            }
            Some(held) if link.epoch == held.epoch && link.dialler > held.dialler => Added::Refused,
            Some(held) if link.epoch < held.epoch => Added::Refused,
            Some(held) => {
                *held = link;
                Added::Replaced
            }
        }
    }

    /// Hands a frame to the link to `peer`. A full queue closes the link: the reader is too slow.
    pub(super) fn send(&mut self, peer: &NodeName, frame: Vec<u8>, farewell: bool) -> Result<(), SendError> {
        let link = self.by_peer.get_mut(peer).ok_or(SendError::NoLink)?;
        link.farewell |= farewell;
        link.frames.try_send(frame).map_err(|_| SendError::Full)
    }

    /// The other side has said that it will close.
    pub(super) fn note_farewell(&mut self, peer: &NodeName) {
        if let Some(link) = self.by_peer.get_mut(peer) {
            link.farewell = true;
        }
    }

    /// Whether the link with that number is the one that counts.
    pub(super) fn is_current(&self, peer: &NodeName, serial: u64) -> bool {
        self.by_peer.get(peer).is_some_and(|link| link.serial == serial)
    }

    /// Closes the link to `peer` once its queue is written; `true` if there was one.
    pub(super) fn close(&mut self, peer: &NodeName) -> bool {
        self.by_peer.remove(peer).is_some()
    }

    /// The link with that number is down; `None` if it did not count any more.
    pub(super) fn end(&mut self, peer: &NodeName, serial: u64) -> Option<Ended> {
        if !self.is_current(peer, serial) {
            return None;
        }
        self.by_peer.remove(peer).map(|link| Ended { epoch: link.epoch, lost: !link.farewell })
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_peer.len()
    }
}

/// Why a frame was not handed over.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SendError {
    /// There is no link any more.
    NoLink,
    /// The peer reads too slowly.
    Full,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(name: u32, epoch: u64) -> Hello {
        Hello { name: NodeName::numbered(name), epoch: Epoch(epoch) }
    }

    #[test]
    fn when_both_dial_at_once_both_keep_the_same_link() {
        let (one, two) = (NodeName::numbered(1), NodeName::numbered(2));
        let channel = || mpsc::channel(1).0;
        // Node 1's dial wins on both sides, in whichever order the two links come up.
        for ours_first in [true, false] {
            let (mut at_one, mut at_two) = (Links::default(), Links::default());
            for dialled_by_one in [ours_first, !ours_first] {
                at_one.add(&one, 10 + u64::from(dialled_by_one), &hello(2, 5), dialled_by_one, channel());
                at_two.add(&two, 10 + u64::from(dialled_by_one), &hello(1, 5), !dialled_by_one, channel());
            }
            assert!(at_one.is_current(&two, 11) && at_two.is_current(&one, 11), "ours first: {ours_first}");
        }
    }

    #[test]
    fn a_newer_life_takes_the_place_of_the_old() {
        let mut links = Links::default();
        let me = NodeName::numbered(1);
        assert_eq!(links.add(&me, 1, &hello(2, 5), true, mpsc::channel(1).0), Added::First);
        assert_eq!(links.add(&me, 2, &hello(2, 6), false, mpsc::channel(1).0), Added::Replaced);
        assert_eq!(links.end(&NodeName::numbered(2), 1), None, "the old link's end means nothing any more");
        assert_eq!(links.end(&NodeName::numbered(2), 2), Some(Ended { epoch: Epoch(6), lost: true }));
    }

    #[test]
    fn a_full_queue_is_told() {
        let mut links = Links::default();
        let (frames, _queue) = mpsc::channel(1);
        links.add(&NodeName::numbered(1), 1, &hello(2, 5), true, frames);
        let peer = NodeName::numbered(2);
        assert_eq!(links.send(&peer, vec![1], false), Ok(()));
        assert_eq!(links.send(&peer, vec![2], false), Err(SendError::Full));
        assert_eq!(links.send(&NodeName::numbered(3), vec![], false), Err(SendError::NoLink));
    }
}
