//! The overlay: a few symmetric links per node, over which everything else flows (HyParView, Leitão 2007).
//!
//! A node wants [`Config::active_target`](super::Config) neighbours and takes up to `active_cap`. Below its target it
//! dials random members until it has them; whoever lost a neighbour refills at once. One link, one state:
//!
//! ```text
//! we dial     ──Connect──▶ Dialling ──LinkUp, send Neighbor──▶ Asked ──Accept, or their Neighbor──▶ Active
//! they dial   ──LinkUp───▶ Awaiting ──their Neighbor: send Accept─────────────────────────────────▶ Active
//!                             └───────their Neighbor: send Refuse, close──▶ Closing
//! parting     Active, Asked ──send Disconnect, close──▶ Closing       Active, Asked ──Disconnect, Refuse──▶ Closing
//! any state   ──LinkDown──▶ gone
//! ```
//! **Who closes**: whoever says `Refuse` or `Disconnect` closes the link after it; the other side only waits for the end
//! of the link. Both change their views at that word, so a view is never one-sided for longer than a frame is under way.
//! A state between nothing and `Active` that lasts longer than `answer_timeout` ends by a timer.
//! **Both dial at once**: the runtime keeps one link, each side asked over it, and a `Neighbor` from someone we asked is
//! his `Accept`.
//!
//! Whom to dial comes from the passive view (`passive.rs`), which the membership fills and shuffles keep moving.
//!
//! Departs from the paper: nobody joins by a walk, as the membership knows everybody. Active views differ in size, 5 wanted and 8 at most, so
//! that a newcomer finds somebody with room instead of pushing others out; links that both ends have to spare are given
//! up at leisure ([`Frame::Spare`]). Now and then a node asks a stranger although it has enough, which keeps the graph
//! random and joins the halves of a network that was cut and whose nodes all found neighbours on their own side.
//!
//! Always holds: at most `active_cap` neighbours, never ourselves; and whom the membership gives up is parted from.

mod shuffle;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use p2pnet_shared::{Epoch, NodeName, wire::broadcast::Frame};
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus, seq::IteratorRandom};

use super::{Config, Effect, Timer, passive::Passive};
use crate::time::Millis;

/// How a link to one peer stands. `attempt` tells a half-open state's timer whether it is still about this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    /// We asked the runtime to dial.
    Dialling { attempt: u64 },
    /// The link is up and we asked to be neighbours.
    Asked { attempt: u64, urgent: bool },
    /// The link is up because the peer dialled; it speaks first.
    Awaiting { attempt: u64 },
    /// We are neighbours.
    Active,
    /// Either said that it is over; the link is about to go down.
    Closing { attempt: u64 },
}

impl Link {
    fn attempt(self) -> Option<u64> {
        match self {
            Link::Active => None,
            Link::Dialling { attempt }
            | Link::Asked { attempt, .. }
            | Link::Awaiting { attempt }
            | Link::Closing { attempt } => Some(attempt),
        }
    }
}

/// The views.
#[derive(Debug)]
pub(super) struct Overlay {
    me: NodeName,
    config: Config,
    rng: Xoshiro256PlusPlus,
    passive: Passive,
    links: BTreeMap<NodeName, Link>,
    /// Neighbours by name: the links that are `Active`.
    active: BTreeSet<NodeName>,
    /// How often `active` has changed.
    version: u64,
    /// We are the root of the tree.
    is_root: bool,
    attempts: u64,
    /// When a refill timer is due, if one is set.
    refill_at: Option<Millis>,
}

impl Overlay {
    pub(super) fn new(me: NodeName, config: Config, seed: u64) -> Self {
        Self {
            me,
            config,
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            passive: Passive::default(),
            links: BTreeMap::new(),
            active: BTreeSet::new(),
            version: 0,
            is_root: false,
            attempts: 0,
            refill_at: None,
        }
    }

    pub(super) fn start(&mut self, effects: &mut Vec<Effect>) {
        self.set_mix_timer(effects);
        self.set_shuffle_timer(effects);
    }

    pub(super) fn neighbours(&self) -> &BTreeSet<NodeName> {
        &self.active
    }

    /// Changes whenever the neighbours do.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Members in reserve.
    pub(super) fn passive(&self) -> impl Iterator<Item = &NodeName> {
        self.passive.strangers(&self.links).map(|(name, _)| name)
    }

    /// How many more members we would like to be told of: the reserve is less than half full, or all in it fail.
    pub(super) fn wants_members(&self, now: Millis) -> usize {
        let held = self.passive.strangers(&self.links).count();
        let size = self.passive.size(&self.config);
        let others = self.passive.members().saturating_sub(self.links.len());
        let at_a_loss = self.active.len() < self.target()
            && self.passive.strangers(&self.links).all(|(_, candidate)| candidate.not_before > now);
        let short = held < others.min(size / 2) || (at_a_loss && held < others);
        if short { size } else { 0 }
    }

    /// Neighbours we look for: as many as we take at the root of the tree, which makes all its ways shorter.
    fn target(&self) -> usize {
        if self.is_root { self.config.active_cap } else { self.config.active_target }
    }

    pub(super) fn set_root(&mut self, is_root: bool) {
        self.is_root = is_root;
    }

    /// Whether frames of this peer count: it is our neighbour, or was until a moment ago.
    pub(super) fn listens_to(&self, peer: &NodeName) -> bool {
        matches!(self.links.get(peer), Some(Link::Active | Link::Closing { .. }))
    }

    /// Whether one side has said that it closes the link, or the link was never more than a dial.
    pub(super) fn is_parting(&self, peer: &NodeName) -> bool {
        !matches!(self.links.get(peer), Some(Link::Active | Link::Asked { .. } | Link::Awaiting { .. }))
    }

    /// The life of a member, if the membership believes it alive.
    pub(super) fn epoch_of(&self, name: &NodeName) -> Option<Epoch> {
        self.passive.epoch_of(name)
    }

    /// The same name, sharing its letters with the views if it is there.
    pub(super) fn shared_name(&self, name: &NodeName) -> NodeName {
        if *name == self.me {
            return self.me.clone();
        }
        self.passive.shared_name(name).unwrap_or(name).clone()
    }

    /// `period`, less or more a fifth: nodes that started together do not act together for ever.
    pub(super) fn jittered(&mut self, period: Millis) -> Millis {
        Millis(self.rng.random_range(period.0 - period.0 / 5..=period.0 + period.0 / 5))
    }

    pub(super) fn random_neighbour(&mut self) -> Option<NodeName> {
        self.active.iter().choose(&mut self.rng).cloned()
    }

    pub(super) fn on_member_up(
        &mut self,
        now: Millis,
        peer: NodeName,
        addr: SocketAddr,
        epoch: Epoch,
        effects: &mut Vec<Effect>,
    ) {
        if peer == self.me {
            return;
        }
        self.passive.on_member_up(peer, addr, epoch, &self.links, &self.config, &mut self.rng);
        self.refill(now, effects);
    }

    pub(super) fn on_member_down(&mut self, now: Millis, peer: &NodeName, effects: &mut Vec<Effect>) {
        self.passive.on_member_down(peer);
        if matches!(self.links.get(peer), Some(Link::Active | Link::Asked { .. } | Link::Awaiting { .. })) {
            self.part(peer, Frame::Disconnect, effects);
        }
        self.refill(now, effects);
    }

    pub(super) fn on_link_up(&mut self, now: Millis, peer: &NodeName, effects: &mut Vec<Effect>) {
        if *peer == self.me {
            return;
        }
        match self.links.get(peer) {
            Some(Link::Dialling { .. }) if self.passive.epoch_of(peer).is_none() => {
                self.part(peer, Frame::Disconnect, effects); // it died, as far as we know, while we dialled
            }
            Some(Link::Dialling { .. }) => {
                // One urgent request at a time: it cannot be refused, and each may cost somebody else a neighbour.
                let asked_urgently = self.links.values().any(|link| matches!(link, Link::Asked { urgent: true, .. }));
                let urgent = self.active.is_empty() && !asked_urgently;
                self.set_half_open(peer, |attempt| Link::Asked { attempt, urgent }, effects);
                effects.push(Effect::Send { to: peer.clone(), frame: Frame::Neighbor { urgent } });
            }
            _ => {
                // A new link in place of one whose end we were not told of, too.
                self.version += u64::from(self.active.remove(peer));
                self.set_half_open(peer, |attempt| Link::Awaiting { attempt }, effects);
            }
        }
        self.refill(now, effects);
    }

    pub(super) fn on_link_down(&mut self, now: Millis, peer: &NodeName, effects: &mut Vec<Effect>) {
        match self.links.remove(peer) {
            Some(Link::Active | Link::Dialling { .. } | Link::Asked { .. }) => self.avoid(now, peer),
            Some(Link::Awaiting { .. } | Link::Closing { .. }) | None => {}
        }
        self.version += u64::from(self.active.remove(peer));
        self.passive.trim(&self.links, &[], &self.config, &mut self.rng);
        self.refill(now, effects);
    }

    /// One of the frames that are about the link itself. Returns whether we became neighbours and are the side that
    /// opens the conversation.
    pub(super) fn on_frame(&mut self, now: Millis, peer: &NodeName, frame: &Frame, effects: &mut Vec<Effect>) -> bool {
        let link = self.links.get(peer).copied();
        let mut opens = false;
        match (frame, link) {
            (Frame::Neighbor { urgent }, Some(Link::Awaiting { .. })) => self.on_request(peer, *urgent, effects),
            (Frame::Neighbor { .. }, Some(Link::Asked { .. })) => {
                opens = self.on_accept(peer, effects) && self.me < *peer
            }
            (Frame::Accept, Some(Link::Asked { .. })) => opens = self.on_accept(peer, effects),
            (Frame::Refuse | Frame::Disconnect, Some(Link::Active | Link::Asked { .. } | Link::Awaiting { .. })) => {
                self.version += u64::from(self.active.remove(peer));
                self.set_half_open(peer, |attempt| Link::Closing { attempt }, effects);
                self.avoid(now, peer);
            }
            (Frame::Spare, Some(Link::Active)) if self.active.len() > self.target() => {
                self.part(peer, Frame::Disconnect, effects);
            }
            // Anything else has been overtaken by what we know already.
            _ => {}
        }
        self.refill(now, effects);
        opens
    }

    pub(super) fn on_half_open_timeout(
        &mut self,
        now: Millis,
        peer: &NodeName,
        attempt: u64,
        effects: &mut Vec<Effect>,
    ) {
        let Some(link) = self.links.get(peer).copied().filter(|link| link.attempt() == Some(attempt)) else {
            return;
        };
        match link {
            Link::Asked { .. } | Link::Awaiting { .. } => {
                self.avoid(now, peer);
                self.part(peer, Frame::Disconnect, effects);
            }
            Link::Dialling { .. } | Link::Closing { .. } => {
                self.avoid(now, peer);
                self.links.remove(peer);
                effects.push(Effect::Disconnect { peer: peer.clone() });
            }
            Link::Active => {}
        }
        self.refill(now, effects);
    }

    pub(super) fn on_refill_timer(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        // Clocks round: a moment early is in time. Much earlier is a timer that a later refill has overtaken.
        if self.refill_at.is_some_and(|at| at <= now + Millis(20)) {
            self.refill_at = None;
        }
        self.refill(now, effects);
    }

    /// Gives up a link that both have to spare, or now and then asks a stranger.
    pub(super) fn on_mix_timer(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        self.set_mix_timer(effects);
        if self.active.len() > self.target() {
            if let Some(peer) = self.random_neighbour() {
                effects.push(Effect::Send { to: peer, frame: Frame::Spare });
            }
        } else if self.rng.random_ratio(1, 3)
            && self.pending() == 0
            && self.active.len() < self.config.active_cap
            && let Some(peer) = self.random_candidate(now)
        {
            self.dial(peer, effects);
        }
        self.refill(now, effects);
    }

    /// A peer asks to be our neighbour (HyParView §4.2): refused only when the view is full and it has others.
    fn on_request(&mut self, peer: &NodeName, urgent: bool, effects: &mut Vec<Effect>) {
        if self.active.len() >= self.config.active_cap {
            if !urgent {
                self.part(peer, Frame::Refuse, effects);
                return;
            }
            if let Some(unlucky) = self.random_neighbour() {
                self.part(&unlucky, Frame::Disconnect, effects);
            }
        }
        effects.push(Effect::Send { to: peer.clone(), frame: Frame::Accept });
        self.activate(peer);
    }

    /// Our request was accepted; false if the view filled up in the meantime.
    fn on_accept(&mut self, peer: &NodeName, effects: &mut Vec<Effect>) -> bool {
        if self.active.len() >= self.config.active_cap {
            self.part(peer, Frame::Disconnect, effects);
            return false;
        }
        self.activate(peer);
        true
    }

    fn activate(&mut self, peer: &NodeName) {
        let name = self.shared_name(peer);
        if let Some(candidate) = self.passive.get_mut(peer) {
            candidate.failures = 0;
        }
        self.links.insert(name.clone(), Link::Active);
        self.version += u64::from(self.active.insert(name));
    }

    /// Says `word` and closes.
    fn part(&mut self, peer: &NodeName, word: Frame, effects: &mut Vec<Effect>) {
        self.version += u64::from(self.active.remove(peer));
        effects.push(Effect::Send { to: peer.clone(), frame: word });
        effects.push(Effect::Disconnect { peer: peer.clone() });
        self.set_half_open(peer, |attempt| Link::Closing { attempt }, effects);
    }

    /// Dials until the neighbours and those we are asking make up the target. When all candidates have failed lately, a
    /// timer is set for the first that may be asked again.
    fn refill(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        while self.active.len() + self.pending() < self.target() {
            let Some(peer) = self.random_candidate(now) else { break };
            self.dial(peer, effects);
        }
        if self.active.len() + self.pending() < self.target() {
            let next = self.passive.strangers(&self.links).map(|(_, candidate)| candidate.not_before).min();
            if let Some(next) = next.filter(|next| self.refill_at.is_none_or(|at| at > *next)) {
                self.refill_at = Some(next);
                effects.push(Effect::SetTimer { after: next - now, timer: Timer::Refill });
            }
        }
    }

    fn dial(&mut self, peer: NodeName, effects: &mut Vec<Effect>) {
        if let Some(candidate) = self.passive.get(&peer) {
            effects.push(Effect::Connect { peer: peer.clone(), addr: candidate.addr });
            self.set_half_open(&peer, |attempt| Link::Dialling { attempt }, effects);
        }
    }

    fn pending(&self) -> usize {
        self.links.values().filter(|link| matches!(link, Link::Dialling { .. } | Link::Asked { .. })).count()
    }

    fn random_candidate(&mut self, now: Millis) -> Option<NodeName> {
        let ready = self.passive.strangers(&self.links).filter(|(_, candidate)| candidate.not_before <= now);
        ready.choose(&mut self.rng).map(|(name, _)| name.clone())
    }

    /// Not this one again for a while: longer each time, because it may be gone and the membership does not know yet.
    fn avoid(&mut self, now: Millis, peer: &NodeName) {
        if let Some(candidate) = self.passive.get_mut(peer) {
            let wait = self.config.retry_min.0.saturating_mul(1 << candidate.failures.min(16));
            let wait = wait.min(self.config.retry_max.0).max(1);
            let jitter = self.rng.random_range(0..=wait / 2);
            candidate.not_before = now + Millis(wait + jitter);
            candidate.failures = candidate.failures.saturating_add(1);
        }
    }

    fn set_half_open(&mut self, peer: &NodeName, link: impl FnOnce(u64) -> Link, effects: &mut Vec<Effect>) {
        self.attempts += 1;
        let link = link(self.attempts);
        self.links.insert(self.shared_name(peer), link);
        let after = match link {
            Link::Dialling { .. } => self.config.dial_timeout,
            _ => self.config.answer_timeout,
        };
        effects.push(Effect::SetTimer { after, timer: Timer::HalfOpen { peer: peer.clone(), attempt: self.attempts } });
    }

    fn set_mix_timer(&mut self, effects: &mut Vec<Effect>) {
        let period = self.config.mix_period.0;
        let after = Millis(self.rng.random_range(period / 2..=period + period / 2));
        effects.push(Effect::SetTimer { after, timer: Timer::Mix });
    }
}
