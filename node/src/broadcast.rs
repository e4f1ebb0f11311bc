//! Traced epidemic broadcast over an overlay of a few links.
//!
//! Nodes are joined by 5 to 8 symmetric links each and hold 30 more members in reserve (HyParView, Leitão DSN 2007). A
//! message is pushed along one tree among those links, and over all others only its id is announced; whoever is announced
//! a message that does not come asks for it (Plumtree, Leitão SRDS 2007). With [`Push::Flood`] everything goes over every
//! link. Every message carries the path it took, so every delivery can say how it came. What all of this misses, because a
//! node was not there yet, because the hops ran out, because a network was cut, is found by comparing marks with a neighbour.
//!
//! ```text
//!  membership ──MemberUp, MemberDown──▶ passive.rs  30 members in reserve, kept moving by shuffles
//!                                          │ promotion
//!                                       overlay.rs  who is a neighbour: 5 to 8 symmetric links
//!                                          │ neighbours
//!                                       tree.rs     which links are eager: the shortest ways to one root
//!                                          │ eager, lazy
//!  user ──publish──▶ push.rs ◀─────────────┤
//!        Broadcast ──▶ seen.rs   seen before? for ever, one window per origin's life
//!                      store.rs  the recent messages ──▶ Deliver, push to every eager neighbour not on the path
//!        IHave, Graft ▶ lazy.rs  what to announce, what is missing and whom to ask, what is owed
//!        Marks ──────▶ repair.rs what one side lacks, the other sends; what nobody remembers is given up
//! ```
//! At 100 nodes a message from anybody costs 0.05 copies beyond the one each node needs, against 3.5 by flooding, with a
//! last hop of at most 8.
//!
//! Left out on purpose: order between messages (a delivery says whether it is late), and any acknowledgement, as an
//! accepted message is only as safe as its origin until the first neighbour has it.
//!
//! Always holds:
//! - a message is delivered at most once in a node's life, also under repeats and replays, without any clock;
//! - once links are calm, every message that a surviving node has accepted reaches every live node, unless so many
//!   followed it that all its holders have forgotten it ([`Config::remember`] says when a node refuses to go faster), or
//!   its shortest way there has more than 32 names (the last hop is about 8 at 100 nodes and 12 at 1,000);
//! - a delivered path starts at the origin, ends here, visits nobody twice, holds at most 32 names (`PATH_MAX`), and each
//!   step was a link at its time. A walk that came back to us, which happens when we restarted in between, is cut at its
//!   first visit;
//! - a node whose membership knows anybody alive goes on looking for neighbours until it has some;
//! - nothing from outside is trusted with a length, a path or a number; memory is bounded whatever comes in.

mod compare;
mod config;
mod lazy;
mod overlay;
mod passive;
mod push;
mod repair;
mod seen;
mod store;
#[cfg(test)]
mod tests;
mod tree;

use std::{collections::BTreeSet, net::SocketAddr};

pub use p2pnet_shared::wire::broadcast::Via;
use p2pnet_shared::{
    Epoch, MessageId, NodeName,
    wire::broadcast::{CONTACTS_MAX, Contact, Frame, Life, TEXT_MAX_BYTES, TTL_MAX, WALK_MAX},
};

pub use self::config::{Config, Push, UnknownPush};
use self::{
    lazy::Lazy,
    overlay::Overlay,
    push::Way,
    repair::{Repair, Shown},
    seen::{RUNS_MAX, Seen},
    store::Store,
    tree::Tree,
};
use crate::time::Millis;

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
    /// A link's queue is past its mark: no more messages over it for now.
    LinkCrowded {
        /// To whom.
        peer: NodeName,
    },
    /// It has drained.
    LinkClear {
        /// To whom.
        peer: NodeName,
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
    /// Close the link once what was handed to it has been written; nothing if there is none.
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
    /// Do the repairs that were put off for a moment.
    RepairSoon,
    /// Look for neighbours again.
    Refill,
    /// Perhaps change a link.
    Mix,
    /// Exchange some of the reserve.
    Shuffle,
    /// Announce what was collected.
    Announce,
    /// Ask for what was announced and has not come.
    Graft,
    /// Send more of what was asked for.
    Owed,
    /// A link is still neither up nor gone.
    HalfOpen {
        /// To whom.
        peer: NodeName,
        /// Which of our attempts; nothing happens if it has been overtaken.
        attempt: u64,
    },
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
    /// How it came here.
    pub via: Via,
    /// A later message of the same origin was delivered here before.
    pub late: bool,
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
    /// Not a number of hops.
    #[error("the ttl is {given}, it must be from 1 to {TTL_MAX}")]
    Ttl {
        /// What was asked for.
        given: u8,
    },
    /// The network's messages come in faster than they can be remembered. Trying again helps, a moment later.
    #[error("too many messages at once: all {kept} kept ones are younger than {young_ms} ms; try again in a moment")]
    Busy {
        /// How many messages are kept.
        kept: usize,
        /// Age below which a message must be kept, milliseconds.
        young_ms: u64,
    },
}

/// Frames that were not what they should be, since the node started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dropped {
    /// Frames that no correct node sends: a broadcast with an impossible path, a text or a ttl over the limit or our own
    /// name on it, or marks with more gaps than a window has.
    pub malformed: u64,
    /// Broadcasts for which no window has room; repair brings those that are genuine later.
    pub refused: u64,
    /// Frames from a peer that is not our neighbour.
    pub strangers: u64,
}

/// What came in over links, since the node started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Frames with a message.
    pub payload: u64,
    /// Those among them whose message was already known.
    pub redundant: u64,
    /// Messages announced to us by their ids.
    pub announced: u64,
    /// Messages we asked for by their ids.
    pub grafts: u64,
    /// Links taken out of the tree, by us or by the other end.
    pub prunes: u64,
}

/// The overlay's views, the windows of what was seen, and the recent messages.
#[derive(Debug)]
pub struct State {
    me: NodeName,
    epoch: Epoch,
    config: Config,
    overlay: Overlay,
    tree: Tree,
    /// The state of the overlay that the tree was told of.
    tree_knows: u64,
    lazy: Lazy,
    /// Neighbours whose links take no messages now.
    crowded: BTreeSet<NodeName>,
    seen: Seen,
    store: Store,
    repair: Repair,
    published: u64,
    counts: Counts,
    dropped: Dropped,
}

impl State {
    /// A node without neighbours. `seed` is all the chance it will ever have.
    #[must_use]
    pub fn new(me: NodeName, epoch: Epoch, config: Config, seed: u64) -> Self {
        Self {
            overlay: Overlay::new(me.clone(), config.clone(), seed),
            seen: Seen::default(),
            tree: Tree::new(me.clone()),
            tree_knows: 0,
            lazy: Lazy::default(),
            crowded: BTreeSet::new(),
            store: Store::new(&config),
            repair: Repair::default(),
            me,
            epoch,
            config,
            published: 0,
            counts: Counts::default(),
            dropped: Dropped::default(),
        }
    }

    /// Sets the first timers. Called once.
    pub fn start(&mut self, _now: Millis, effects: &mut Vec<Effect>) {
        self.overlay.start(effects);
        self.set_repair_timer(effects);
    }

    /// One thing happened at `now`; what is to be done is pushed onto `effects`.
    pub fn handle(&mut self, now: Millis, input: Input, effects: &mut Vec<Effect>) {
        match input {
            Input::MemberUp { peer, addr, epoch } => self.overlay.on_member_up(now, peer, addr, epoch, effects),
            Input::MemberDown { peer } => self.overlay.on_member_down(now, &peer, effects),
            Input::LinkUp { peer } => {
                self.forget_link(&peer);
                self.overlay.on_link_up(now, &peer, effects);
            }
            Input::LinkDown { peer } => {
                self.forget_link(&peer);
                self.overlay.on_link_down(now, &peer, effects);
            }
            Input::LinkCrowded { peer } => {
                if self.overlay.neighbours().contains(&peer) {
                    self.crowded.insert(peer);
                }
            }
            Input::LinkClear { peer } => {
                self.crowded.remove(&peer);
                self.pay(&peer, effects);
            }
            Input::Received { from, frame } => self.on_frame(now, from, frame, effects),
            Input::TimerFired(Timer::Repair) => self.on_repair_timer(now, effects),
            Input::TimerFired(Timer::RepairSoon) => self.on_repair_soon(now, effects),
            Input::TimerFired(Timer::Refill) => self.overlay.on_refill_timer(now, effects),
            Input::TimerFired(Timer::Mix) => self.overlay.on_mix_timer(now, effects),
            Input::TimerFired(Timer::Shuffle) => self.overlay.on_shuffle_timer(effects),
            Input::TimerFired(Timer::Announce) => self.on_announce_timer(effects),
            Input::TimerFired(Timer::Graft) => self.on_graft_timer(now, effects),
            Input::TimerFired(Timer::Owed) => self.on_owed_timer(effects),
            Input::TimerFired(Timer::HalfOpen { peer, attempt }) => {
                self.overlay.on_half_open_timeout(now, &peer, attempt, effects);
            }
        }
        if self.tree_knows != self.overlay.version() {
            self.tree_knows = self.overlay.version();
            self.tree.set_neighbours(now, self.overlay.neighbours().iter(), effects);
        }
        self.overlay.set_root(self.tree.is_root());
        if self.tree.take_moved() {
            self.lazy.hurry(now + self.config.announce_after);
        }
        self.arm_lazy(now, effects);
        if self.repair.arm() {
            effects.push(Effect::SetTimer { after: self.config.repair_soon, timer: Timer::RepairSoon });
        }
    }

    /// Accepts a message from a user of this node and starts it on its way; `ttl` is how many hops it is pushed. Repair
    /// brings it to whoever is further away.
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
        let limit = self.config.text_max_bytes.min(TEXT_MAX_BYTES);
        if text.len() > limit {
            return Err(PublishError::TooLong { bytes: text.len(), limit });
        }
        let ttl = ttl.unwrap_or(self.config.ttl);
        if !(1..=TTL_MAX).contains(&ttl) {
            return Err(PublishError::Ttl { given: ttl });
        }
        if !self.store.has_room(now, text.len()) {
            let kept = self.store.messages().count();
            return Err(PublishError::Busy { kept, young_ms: self.config.remember.0 });
        }
        self.published += 1;
        let id = MessageId { origin: self.me.clone(), epoch: self.epoch, seq: self.published };
        self.seen.note(&Life::from(&id), id.seq, Some(self.epoch));
        let path = vec![self.me.clone()];
        let message = Message { id: id.clone(), path, text, via: Via::Own, late: false };
        let short = message.text.len() <= self.config.spread_max_bytes;
        self.pass_on(&message, if short { Way::Everywhere } else { Way::Tree }, ttl, effects);
        effects.push(Effect::Deliver(message.clone()));
        self.store.keep(now, message, ttl);
        self.arm_lazy(now, effects);
        Ok(id)
    }

    /// The overlay neighbours, sorted by name.
    pub fn neighbours(&self) -> impl Iterator<Item = &NodeName> {
        self.overlay.neighbours().iter()
    }

    /// Whether the end of the link to this peer is no surprise: one side has said that it would close it. To be asked
    /// before `LinkDown` is handed in, by whoever takes a broken link for a sign of death.
    #[must_use]
    pub fn is_parting(&self, peer: &NodeName) -> bool {
        self.overlay.is_parting(peer)
    }

    /// The recent messages, in the order in which they arrived here.
    pub fn messages(&self) -> impl DoubleEndedIterator<Item = &Message> {
        self.store.messages()
    }

    /// How many members the node would like to be told of again by `MemberUp`, chosen at random: its reserve has become
    /// small, or fails it. 0 is the rule. To be asked once a second or so by whoever knows all members.
    #[must_use]
    pub fn wants_members(&self, now: Millis) -> usize {
        self.overlay.wants_members(now)
    }

    /// What the recent messages take, bytes: never more than [`Config::burst_max_bytes`].
    #[must_use]
    pub fn kept_bytes(&self) -> usize {
        self.store.bytes()
    }

    /// Broadcast frames received that were already known.
    #[must_use]
    pub fn redundant_frames(&self) -> u64 {
        self.counts.redundant
    }

    /// What came in over links.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts { prunes: self.tree.pruned(), ..self.counts }
    }

    /// The links to neighbours, sorted by name, and whether new messages are pushed over each; over the others they are
    /// only announced.
    pub fn links(&self) -> impl Iterator<Item = (NodeName, bool)> {
        self.overlay.neighbours().iter().map(|name| (name.clone(), self.is_eager(name)))
    }

    /// Changes whenever [`State::links`] does.
    #[must_use]
    pub fn links_version(&self) -> u64 {
        self.overlay.version() + self.tree.version()
    }

    /// How many links away the root of the tree is; 0 at the root.
    #[must_use]
    pub fn tree_hops(&self) -> u8 {
        self.tree.hops()
    }

    /// The passive view: members in reserve, sorted by name.
    pub fn passive(&self) -> impl Iterator<Item = &NodeName> {
        self.overlay.passive()
    }

    /// Frames dropped because they were not what they should be.
    #[must_use]
    pub fn dropped(&self) -> Dropped {
        self.dropped
    }

    fn on_frame(&mut self, now: Millis, from: NodeName, frame: Frame, effects: &mut Vec<Effect>) {
        match frame {
            Frame::Neighbor { .. } | Frame::Accept | Frame::Refuse | Frame::Disconnect | Frame::Spare => {
                if self.overlay.on_frame(now, &from, &frame, effects) {
                    self.compare(now, &from, effects);
                }
            }
            _ if !self.overlay.listens_to(&from) => self.dropped.strangers += 1,
            Frame::Shuffle { ttl, path, contacts } => {
                if self.is_sound_walk(&path, &contacts) && ttl <= WALK_MAX && path.last() == Some(&from) {
                    self.overlay.on_shuffle(&from, ttl, path, contacts, effects);
                } else {
                    self.dropped.malformed += 1;
                }
            }
            Frame::Shuffled { path, contacts } => {
                if self.is_sound_walk(&path, &contacts) {
                    self.overlay.on_shuffled(path, contacts, effects);
                } else {
                    self.dropped.malformed += 1;
                }
            }
            Frame::Tree { root, hops, child } => {
                let root = self.overlay.shared_name(&root);
                self.tree.on_word(now, &from, root, hops, child, effects);
            }
            Frame::IHave(ids) => self.on_ihave(now, &from, ids),
            Frame::Graft(ids) => self.on_graft(&from, ids, effects),
            Frame::Broadcast(broadcast) => self.on_broadcast(now, &from, broadcast, effects),
            Frame::Marks { marks, .. } if marks.iter().any(|mark| mark.beyond.len() > RUNS_MAX) => {
                self.dropped.malformed += 1;
            }
            Frame::Marks { purpose, after, until, marks } => {
                self.on_marks(now, &from, purpose, &Shown::new(after, until, marks), effects);
            }
            Frame::Forgotten(lives) => {
                for (life, through) in lives {
                    if life != self.my_life() {
                        self.seen.skip_through(&life, through, self.overlay.epoch_of(&life.origin));
                    }
                }
            }
        }
    }

    /// Whether a correct node can have sent a walk like this.
    fn is_sound_walk(&self, path: &[NodeName], contacts: &[Contact]) -> bool {
        path.len() <= usize::from(WALK_MAX) && contacts.len() <= CONTACTS_MAX && !path.contains(&self.me)
    }

    /// Nothing of an earlier link counts for the next.
    fn forget_link(&mut self, peer: &NodeName) {
        self.repair.forget_peer(peer);
        self.lazy.forget_peer(peer);
        self.crowded.remove(peer);
    }

    fn my_life(&self) -> Life {
        Life { origin: self.me.clone(), epoch: self.epoch }
    }

    /// The present life of an origin, as far as we know.
    fn named(&self, origin: &NodeName) -> Option<Epoch> {
        if *origin == self.me { Some(self.epoch) } else { self.overlay.epoch_of(origin) }
    }
}
