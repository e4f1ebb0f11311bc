//! What faults do to TCP: a stream loses nothing and reorders nothing, it only takes longer, or stands still.
//!
//! | fault        | a link that is up                                             | a dial, a request                   |
//! |--------------|---------------------------------------------------------------|-------------------------------------|
//! | cut          | no frame is written, none that arrived is read; no reset      | waits, and times out unless healed  |
//! | cut, one way | the cut direction alone stands still                          | the same: a handshake goes both ways |
//! | loss         | a frame that is lost goes out again after 200 ms, 400 ms …,   | the same delay, thrice              |
//! |              | and whatever was sent after it waits behind it                |                                     |
//! | delay        | each frame arrives so much later, in order, many on their way | the same delay, thrice              |
//!
//! A guess, written down as one: a whole frame is one segment here, although a long one is several and a short one may
//! share. At 100 % loss nothing gets through, which is a cut of that direction.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use p2pnet_shared::NodeName;
use tokio::{
    sync::mpsc,
    time::{sleep_until, timeout},
};

use super::Watched;

/// Waits until what `peer` sends may arrive.
pub(in crate::runtime) async fn open_from(rules: &mut Watched, peer: &NodeName) {
    // An error is the end of the node, and of whoever waits.
    let _ = rules.wait_for(|rules| !rules.cuts_in(Some(peer))).await;
}

/// Waits until something can go there and back: a handshake, a request and its answer.
pub(in crate::runtime) async fn open_both_ways(rules: &mut Watched, peer: Option<&NodeName>) {
    let is_open = |rules: &super::Rules| !rules.cuts_in(peer) && !rules.cuts_out(peer) && rules.loss(peer) < 100;
    let _ = rules.wait_for(is_open).await;
}

/// The time that `legs` messages one after another need to `peer`.
pub(in crate::runtime) fn travel(rules: &Watched, peer: Option<&NodeName>, legs: u32) -> Duration {
    let rules = rules.borrow();
    if rules.is_calm() { Duration::ZERO } else { (0..legs).map(|_| rules.travel(peer, &mut rand::rng())).sum() }
}

/// The way out of one link: hands on its frames in order, each when its time has come.
///
/// Holds as many frames as the link's queue while a fault delays them, none otherwise; when full, the queue before it
/// fills, whose rule is in `link.rs`.
pub(in crate::runtime) struct Pace {
    rules: Watched,
    peer: NodeName,
    under_way: VecDeque<(Instant, Vec<u8>)>,
    room: usize,
    /// The queue has ended: what is under way is the last.
    ended: bool,
    /// How long a link that is closed by intent stands still before it gives up its last frames.
    patience: Duration,
}

impl Pace {
    pub(in crate::runtime) fn new(rules: Watched, peer: NodeName, room: usize, patience: Duration) -> Self {
        Self { rules, peer, under_way: VecDeque::new(), room: room.max(1), ended: false, patience }
    }

    /// The next frame to write; `None` once the queue has ended, or stood still for too long after its end.
    pub(in crate::runtime) async fn next(&mut self, frames: &mut mpsc::Receiver<Vec<u8>>) -> Option<Vec<u8>> {
        loop {
            let may_take = !self.ended
                && (self.under_way.is_empty() || (self.under_way.len() < self.room && !self.rules.borrow().is_calm()));
            let due = self.under_way.front().map(|(due, _)| *due);
            tokio::select! {
                biased;
                frame = frames.recv(), if may_take => match frame {
                    Some(frame) => self.take(frame),
                    None => self.ended = true,
                },
                arrived = arrival(&mut self.rules, &self.peer, due, self.ended.then_some(self.patience)) => {
                    return if arrived { self.under_way.pop_front().map(|(_, frame)| frame) } else { None };
                }
            }
        }
    }

    fn take(&mut self, frame: Vec<u8>) {
        let now = Instant::now();
        let due = now + travel(&self.rules, Some(&self.peer), 1);
        // In order: nobody overtakes a frame that has to be sent again.
        let due = self.under_way.back().map_or(due, |(before, _)| due.max(*before));
        self.under_way.push_back((due, frame));
    }
}

/// Waits until the frame that is `due` may arrive. False if there is none and never will be, or if the link stands still
/// for longer than `patience`.
pub(in crate::runtime) async fn arrival(
    rules: &mut Watched,
    peer: &NodeName,
    due: Option<Instant>,
    patience: Option<Duration>,
) -> bool {
    let Some(due) = due else {
        match patience {
            Some(_) => return false,
            None => std::future::pending().await,
        }
    };
    loop {
        let (calm, stalled) = {
            let rules = rules.borrow_and_update();
            (rules.is_calm(), rules.stalls_out(peer))
        };
        if calm {
            return true; // healed: what was under way is there
        }
        let changed = async { rules.changed().await.is_ok() };
        if stalled {
            match patience {
                Some(patience) => match timeout(patience, changed).await {
                    Ok(true) => {}
                    Ok(false) | Err(_) => return false,
                },
                None if changed.await => {}
                None => return false,
            }
        } else {
            tokio::select! {
                () = sleep_until(due.into()) => return true,
                alive = changed => if !alive { return false },
            }
        }
    }
}
