//! Traced epidemic broadcast over an overlay of a few links.

use std::net::SocketAddr;

use p2pnet_shared::{Epoch, MessageId, NodeName, wire::broadcast::Frame};

use crate::time::Millis;

/// Every knob.
#[derive(Debug, Clone)]
pub struct Config {}

impl Default for Config {
    fn default() -> Self {
        Self {}
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The membership believes this member alive (also told again when its address or epoch changes).
    MemberUp {
        /// Who.
        peer: NodeName,
        /// Where it listens.
        addr: SocketAddr,
        /// Which life.
        epoch: Epoch,
    },
    /// The membership believes it dead or gone.
    MemberDown {
        /// Who.
        peer: NodeName,
    },
    /// A link is up; either side may have dialled. At most one link per peer exists.
    LinkUp {
        /// To whom.
        peer: NodeName,
    },
    /// A link is down: broken, closed by either side, or the dial that was asked for failed.
    LinkDown {
        /// To whom.
        peer: NodeName,
    },
    /// A frame came over a link.
    Received {
        /// From whom.
        from: NodeName,
        /// What.
        frame: Frame,
    },
    /// A timer that was asked for went off.
    TimerFired(Timer),
}

/// What the protocol asks of the runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Hand a frame to the link; if there is none any more it is dropped, and `LinkDown` is on its way.
    Send {
        /// To whom.
        to: NodeName,
        /// What.
        frame: Frame,
    },
    /// Dial. Answered by `LinkUp` or `LinkDown`.
    Connect {
        /// Whom.
        peer: NodeName,
        /// Where.
        addr: SocketAddr,
    },
    /// Close the link once what was handed to it has been written.
    Disconnect {
        /// To whom.
        peer: NodeName,
    },
    /// Wake us.
    SetTimer {
        /// From now.
        after: Millis,
        /// With this.
        timer: Timer,
    },
    /// A message has arrived here for the first time (at its origin too): show it to the user, log it, report it.
    Deliver(Message),
}

/// What a timer is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Timer {
    /// Compare marks with a neighbour.
    Repair,
}

/// A message as this node has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Which.
    pub id: MessageId,
    /// From the origin to this node, both named.
    pub path: Vec<NodeName>,
    /// What was said.
    pub text: String,
}

/// Why a message was not accepted from its user. Nothing was sent and no sequence number used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// Longer than the configured limit.
    #[error("the message is {bytes} bytes long, the limit is {limit}")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
}

/// The overlay's views, the windows of what was seen, and the recent messages.
#[derive(Debug)]
pub struct State {
    me: NodeName,
    epoch: Epoch,
}

impl State {
    /// A node without neighbours. `seed` is all the chance it will ever have.
    #[must_use]
    pub fn new(me: NodeName, epoch: Epoch, config: Config, seed: u64) -> Self {
        let _ = (config, seed);
        Self { me, epoch }
    }

    /// Sets the first timers. Called once.
    pub fn start(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        let _ = (now, effects);
    }

    /// One thing happened at `now`; what is to be done is pushed onto `effects`.
    pub fn handle(&mut self, now: Millis, input: Input, effects: &mut Vec<Effect>) {
        let _ = (now, input, effects);
    }

    /// Accepts a message from a user of this node and starts it on its way; `ttl` is how many hops it is pushed.
    ///
    /// # Errors
    /// [`PublishError`]; nothing has changed then.
    pub fn publish(
        &mut self,
        now: Millis,
        text: String,
        ttl: Option<u8>,
        effects: &mut Vec<Effect>,
    ) -> Result<MessageId, PublishError> {
        let _ = (now, text, ttl, effects);
        Ok(MessageId { origin: self.me.clone(), epoch: self.epoch, seq: 1 })
    }

    /// The overlay neighbours, sorted by name.
    pub fn neighbours(&self) -> impl Iterator<Item = &NodeName> {
        std::iter::empty()
    }

    /// Broadcast frames received that were already known.
    #[must_use]
    pub fn redundant_frames(&self) -> u64 {
        0
    }
}
