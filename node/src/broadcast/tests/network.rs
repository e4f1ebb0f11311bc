//! A pretend network for broadcast states: links with delay, in order, that break; processes that die; a membership that
//! tells the truth some seconds late. One thread, one seed.
//!
//! It keeps the runtime's promises: at most one link per peer, a dial is answered, the end of a link is told once to each
//! side and before anything of a next link, frames arrive in order or not at all.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    net::SocketAddr,
};

use p2pnet_shared::{Epoch, MessageId, NodeName, wire::broadcast::Frame};
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus, seq::IteratorRandom};

use super::super::{Config, Effect, Input, Message, State, Timer};
use crate::time::Millis;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Input(NodeName, u64, Happening),
    Connect {
        from: NodeName,
        to: NodeName,
    },
    LinkEnds {
        at: NodeName,
        peer: NodeName,
        link: u64,
    },
    Frame {
        link: u64,
        from: NodeName,
        to: NodeName,
        index: usize,
    },
    /// Perhaps a queue has drained.
    Drained {
        link: u64,
        from: NodeName,
        to: NodeName,
    },
}

/// What happens at one node, in a form that can be ordered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Timer(usize),
    MemberUp(NodeName, u64),
    MemberDown(NodeName),
}

/// One process.
pub(super) struct Node {
    pub(super) state: State,
    pub(super) delivered: BTreeMap<MessageId, Vec<NodeName>>,
    /// Not told of members again before this time.
    told_until: u64,
    /// The life, counted by the harness too, so that nothing meant for a former one arrives.
    life: u64,
}

/// The network, and what an observer from outside knows of it.
pub(super) struct Network {
    pub(super) now: u64,
    pub(super) nodes: BTreeMap<NodeName, Node>,
    /// Broadcast frames that arrived anywhere.
    pub(super) payload_frames: u64,
    /// Words about the tree that arrived anywhere.
    pub(super) tree_frames: u64,
    /// Bytes of text in them.
    pub(super) payload_bytes: u64,
    /// Deliveries by [`Via`](super::super::Via), in its order.
    pub(super) via: [u64; 4],
    /// When each message was delivered last.
    pub(super) last_at: BTreeMap<MessageId, u64>,
    /// Share of frames that TCP has to send again.
    pub(super) loss: f64,
    /// What a link carries, bytes per millisecond; without it a link has no queue.
    pub(super) rate: Option<u64>,
    /// The most bytes that ever waited for a link.
    pub(super) queued_max: u64,
    /// Pairs that ever had a link.
    pub(super) linked: BTreeSet<(NodeName, NodeName)>,
    config: Config,
    /// One-way delay, milliseconds.
    pub(super) delay: std::ops::RangeInclusive<u64>,
    rng: Xoshiro256PlusPlus,
    queue: BinaryHeap<Reverse<(u64, u64, What)>>,
    ticket: u64,
    timers: Vec<Timer>,
    frames: Vec<Option<Frame>>,
    /// Queues that have just become too long: from, to.
    crowded: Vec<(NodeName, NodeName)>,
    /// Which link each side believes to have: (side, peer) -> link.
    ends: BTreeMap<(NodeName, NodeName), u64>,
    /// When the last frame of a direction arrives, so that the next does not overtake it.
    arrivals: BTreeMap<(u64, NodeName), u64>,
    /// Until when a direction of a link is busy writing what was queued, and whether its node knows it to be crowded.
    busy: BTreeMap<(u64, NodeName), (u64, bool)>,
    links: u64,
    lives: u64,
    /// Pairs on different sides cannot reach each other.
    cut: Option<BTreeSet<NodeName>>,
}

/// What a link's queue may hold before no more messages are pushed to it; as the runtime has it.
const CROWDED_BYTES: u64 = 256 * 1024;

/// About what a frame is on the wire, bytes.
fn size(frame: &Frame) -> u64 {
    match frame {
        Frame::Broadcast(broadcast) => 64 + broadcast.text.len() as u64,
        Frame::IHave(ids) | Frame::Graft(ids) => 16 + 20 * ids.len() as u64,
        Frame::Marks { marks, .. } => 32 + 24 * marks.len() as u64,
        _ => 32,
    }
}

pub(super) fn name(number: u32) -> NodeName {
    NodeName::numbered(number)
}

impl Network {
    pub(super) fn new(config: Config, seed: u64) -> Self {
        Self {
            now: 0,
            nodes: BTreeMap::new(),
            payload_frames: 0,
            tree_frames: 0,
            payload_bytes: 0,
            via: [0; 4],
            last_at: BTreeMap::new(),
            loss: 0.0,
            rate: None,
            queued_max: 0,
            busy: BTreeMap::new(),
            linked: BTreeSet::new(),
            config,
            delay: 1..=20,
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            queue: BinaryHeap::new(),
            ticket: 0,
            timers: Vec::new(),
            frames: Vec::new(),
            crowded: Vec::new(),
            ends: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            links: 0,
            lives: 0,
            cut: None,
        }
    }

    /// `count` nodes that have just started and hear of each other within two seconds.
    pub(super) fn with_nodes(count: u32, config: Config, seed: u64) -> Self {
        let mut network = Self::new(config, seed);
        for number in 1..=count {
            network.start(&name(number));
        }
        network
    }

    /// A process starts, of a name that may have lived before; the others hear of it within two seconds, it of them.
    pub(super) fn start(&mut self, who: &NodeName) {
        self.lives += 1;
        let life = self.lives;
        let mut state = State::new(who.clone(), Epoch(life), self.config.clone(), self.rng.random());
        let mut effects = Vec::new();
        state.start(Millis(self.now), &mut effects);
        self.nodes.insert(who.clone(), Node { state, delivered: BTreeMap::new(), told_until: 0, life });
        self.carry_out(who, effects);
        let others: Vec<(NodeName, u64)> = self
            .nodes
            .iter()
            .filter(|(other, _)| *other != who)
            .map(|(other, node)| (other.clone(), node.life))
            .collect();
        for (other, other_life) in others {
            if self.can_reach(who, &other) {
                self.tell(who, Happening::MemberUp(other.clone(), other_life), 2_000);
                self.tell(&other, Happening::MemberUp(who.clone(), life), 2_000);
            }
        }
    }

    /// Processes die at once: their links break, and the membership knows four to six seconds later.
    pub(super) fn kill(&mut self, victims: &[NodeName]) {
        for victim in victims {
            self.nodes.remove(victim);
        }
        for victim in victims {
            let peers: Vec<NodeName> =
                self.ends.keys().filter(|(side, _)| side == victim).map(|(_, peer)| peer.clone()).collect();
            for peer in peers {
                self.end_link(victim, &peer);
            }
            let survivors: Vec<NodeName> = self.nodes.keys().cloned().collect();
            for survivor in survivors {
                let late = self.now + 4_000;
                self.tell_after(late, &survivor, Happening::MemberDown(victim.clone()), 2_000);
            }
        }
    }

    /// Nothing passes between `side` and the others any more, and the membership of both sides soon says so.
    pub(super) fn cut(&mut self, side: BTreeSet<NodeName>) {
        self.cut = Some(side);
        self.across(|from, to| (from, Happening::MemberDown(to)), 4_000);
        let broken: Vec<(NodeName, NodeName)> =
            self.ends.keys().filter(|(a, b)| !self.can_reach(a, b)).cloned().collect();
        for (side, peer) in broken {
            self.end_link(&side, &peer);
        }
    }

    pub(super) fn heal(&mut self) {
        let lives: BTreeMap<NodeName, u64> = self.nodes.iter().map(|(name, node)| (name.clone(), node.life)).collect();
        self.across(|from, to| (from, Happening::MemberUp(to.clone(), lives[&to])), 0);
        self.cut = None;
    }

    fn across(&mut self, told: impl Fn(NodeName, NodeName) -> (NodeName, Happening), after: u64) {
        let names: Vec<NodeName> = self.nodes.keys().cloned().collect();
        for from in &names {
            for to in names.iter().filter(|to| *to != from) {
                if !self.can_reach(from, to) {
                    let (who, what) = told(from.clone(), to.clone());
                    self.tell_after(self.now + after, &who, what, 2_000);
                }
            }
        }
    }

    /// A link, chosen at random, breaks; what is under way on it is lost.
    pub(super) fn break_a_link(&mut self) {
        if let Some((side, peer)) = self.ends.keys().choose(&mut self.rng).cloned() {
            self.end_link(&side, &peer);
            self.end_link(&peer, &side);
        }
    }

    /// A link over which messages are pushed breaks, chosen at random.
    pub(super) fn break_an_eager_link(&mut self) {
        let eager = |(side, peer): &&(NodeName, NodeName)| {
            let node = self.nodes.get(side);
            node.is_some_and(|node| node.state.links().any(|(name, eager)| eager && name == *peer))
        };
        if let Some((side, peer)) = self.ends.keys().filter(eager).choose(&mut self.rng).cloned() {
            self.end_link(&side, &peer);
            self.end_link(&peer, &side);
        }
    }

    pub(super) fn random_node(&mut self) -> NodeName {
        self.nodes.keys().choose(&mut self.rng).expect("somebody lives").clone()
    }

    pub(super) fn publish(&mut self, who: &NodeName, text: &str, ttl: Option<u8>) -> MessageId {
        self.try_publish(who, text, ttl).expect("accepted")
    }

    pub(super) fn try_publish(
        &mut self,
        who: &NodeName,
        text: &str,
        ttl: Option<u8>,
    ) -> Result<MessageId, super::super::PublishError> {
        let mut effects = Vec::new();
        let node = self.nodes.get_mut(who).expect("lives");
        let id = node.state.publish(Millis(self.now), text.to_owned(), ttl, &mut effects);
        self.carry_out(who, effects);
        id
    }

    pub(super) fn run(&mut self, millis: u64) {
        let until = self.now + millis;
        while self.queue.peek().is_some_and(|Reverse((at, _, _))| *at <= until) {
            let Some(Reverse((at, _, what))) = self.queue.pop() else { break };
            self.now = at;
            self.happen(what);
        }
        self.now = until;
    }

    /// Whether `condition` came true within so many milliseconds, and after how many.
    pub(super) fn run_until(&mut self, millis: u64, condition: impl Fn(&Self) -> bool) -> Option<u64> {
        let start = self.now;
        while self.now < start + millis {
            if condition(self) {
                return Some(self.now - start);
            }
            self.run(10);
        }
        condition(self).then_some(millis)
    }

    /// Every live node has each of these messages.
    pub(super) fn all_have<'a>(&self, ids: impl IntoIterator<Item = &'a MessageId>) -> bool {
        ids.into_iter().all(|id| self.nodes.values().all(|node| node.delivered.contains_key(id)))
    }

    /// Whether every node can be reached from every other over links that both ends hold.
    pub(super) fn is_connected(&self) -> bool {
        let Some(first) = self.nodes.keys().next() else { return true };
        let mut reached = BTreeSet::from([first]);
        let mut frontier = vec![first];
        while let Some(at) = frontier.pop() {
            for next in self.nodes[at].state.neighbours() {
                let Some(node) = self.nodes.get_key_value(next) else { continue };
                if node.1.state.neighbours().any(|back| back == at) && reached.insert(node.0) {
                    frontier.push(node.0);
                }
            }
        }
        reached.len() == self.nodes.len()
    }

    pub(super) fn is_symmetric(&self) -> bool {
        self.nodes.iter().all(|(name, node)| {
            node.state
                .neighbours()
                .all(|peer| self.nodes.get(peer).is_some_and(|peer| peer.state.neighbours().any(|back| back == name)))
        })
    }

    pub(super) fn degrees(&self) -> Vec<usize> {
        self.nodes.values().map(|node| node.state.neighbours().count()).collect()
    }

    fn tell(&mut self, who: &NodeName, what: Happening, within: u64) {
        self.tell_after(self.now, who, what, within);
    }

    fn tell_after(&mut self, from: u64, who: &NodeName, what: Happening, within: u64) {
        let Some(life) = self.nodes.get(who).map(|node| node.life) else { return };
        let at = from + self.rng.random_range(0..=within);
        self.at(at, What::Input(who.clone(), life, what));
    }

    fn at(&mut self, at: u64, what: What) {
        self.ticket += 1;
        self.queue.push(Reverse((at, self.ticket, what)));
    }

    fn can_reach(&self, a: &NodeName, b: &NodeName) -> bool {
        self.cut.as_ref().is_none_or(|side| side.contains(a) == side.contains(b))
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Input(who, life, happening) => {
                if self.nodes.get(&who).is_some_and(|node| node.life == life) {
                    let input = match happening {
                        Happening::Timer(index) => Input::TimerFired(self.timers[index].clone()),
                        Happening::MemberUp(peer, epoch) => Input::MemberUp {
                            peer,
                            addr: SocketAddr::from(([127, 0, 0, 1], 5_000)),
                            epoch: Epoch(epoch),
                        },
                        Happening::MemberDown(peer) => Input::MemberDown { peer },
                    };
                    self.input(&who, input);
                }
            }
            What::Connect { from, to } => self.connect(&from, &to),
            What::LinkEnds { at, peer, link } => {
                if self.ends.get(&(at.clone(), peer.clone())) == Some(&link) {
                    self.end_link(&at, &peer);
                }
            }
            What::Drained { link, from, to } => self.drained(link, from, to),
            What::Frame { link, from, to, index } => {
                let frame = self.frames[index].take().expect("delivered once");
                if self.ends.get(&(to.clone(), from.clone())) == Some(&link) {
                    self.tree_frames += u64::from(matches!(frame, Frame::Tree { .. }));
                    if let Frame::Broadcast(broadcast) = &frame {
                        self.payload_frames += 1;
                        self.payload_bytes += broadcast.text.len() as u64;
                    }
                    self.input(&to, Input::Received { from, frame });
                }
            }
        }
    }

    fn connect(&mut self, from: &NodeName, to: &NodeName) {
        if !self.nodes.contains_key(from) {
            return;
        }
        let (there, back) = ((from.clone(), to.clone()), (to.clone(), from.clone()));
        if self.ends.contains_key(&there) && self.ends.get(&there) == self.ends.get(&back) {
            return; // both dialled, and the other was quicker: this link was told of already
        }
        if !self.nodes.contains_key(to) || !self.can_reach(from, to) {
            self.input(from, Input::LinkDown { peer: to.clone() });
            return;
        }
        self.end_link(to, from);
        self.end_link(from, to);
        self.links += 1;
        self.ends.insert(there, self.links);
        self.ends.insert(back, self.links);
        self.linked.insert((from.clone(), to.clone()));
        self.linked.insert((to.clone(), from.clone()));
        self.input(from, Input::LinkUp { peer: to.clone() });
        self.input(to, Input::LinkUp { peer: from.clone() });
    }

    /// One side's link is over, now; the other side hears of it after what is under way to it.
    fn end_link(&mut self, at: &NodeName, peer: &NodeName) {
        let Some(link) = self.ends.remove(&(at.clone(), peer.clone())) else { return };
        let last = self.arrivals.get(&(link, peer.clone())).copied().unwrap_or(0);
        let heard = last.max(self.now + self.rng.random_range(self.delay.clone()));
        self.at(heard, What::LinkEnds { at: peer.clone(), peer: at.clone(), link });
        if self.nodes.contains_key(at) {
            self.input(at, Input::LinkDown { peer: peer.clone() });
        }
    }

    fn input(&mut self, who: &NodeName, input: Input) {
        let mut effects = Vec::new();
        if let Some(node) = self.nodes.get_mut(who) {
            node.state.handle(Millis(self.now), input, &mut effects);
            self.carry_out(who, effects);
            self.tell_members_again(who);
        }
    }

    /// As the runtime does: when the reserve is short, some live members are named again.
    fn tell_members_again(&mut self, who: &NodeName) {
        let node = self.nodes.get_mut(who).expect("lives");
        let wanted = if node.told_until > self.now { 0 } else { node.state.wants_members(Millis(self.now)) };
        if wanted == 0 {
            return;
        }
        node.told_until = self.now + 1_000;
        let others: Vec<(NodeName, u64)> =
            self.nodes.iter().map(|(name, node)| (name.clone(), node.life)).filter(|(name, _)| name != who).collect();
        let told = others.into_iter().filter(|(name, _)| self.can_reach(who, name)).collect::<Vec<_>>();
        for (name, life) in told.into_iter().sample(&mut self.rng, wanted) {
            self.tell(who, Happening::MemberUp(name, life), 0);
        }
    }

    /// How long a frame of so many bytes is on its way: what waits before it, and what has to be sent again.
    fn transfer(&mut self, link: u64, from: &NodeName, to: &NodeName, bytes: u64) -> u64 {
        let mut soon = self.now + self.rng.random_range(self.delay.clone());
        let mut again = 200; // TCP's shortest timeout, doubled each time
        while self.rng.random_bool(self.loss) && again < 10_000 {
            soon += again;
            again *= 2;
        }
        let Some(rate) = self.rate else { return soon };
        let (until, crowded) = self.busy.entry((link, to.clone())).or_insert((0, false));
        *until = (*until).max(self.now) + bytes.div_ceil(rate);
        let waiting = (*until - self.now) * rate;
        self.queued_max = self.queued_max.max(waiting);
        let until = *until;
        if waiting > CROWDED_BYTES && !std::mem::replace(crowded, true) {
            let clear = self.now + (waiting - CROWDED_BYTES / 2) / rate;
            self.at(clear, What::Drained { link, from: from.clone(), to: to.clone() });
            self.crowded.push((from.clone(), to.clone()));
        }
        soon + (until - self.now)
    }

    fn drained(&mut self, link: u64, from: NodeName, to: NodeName) {
        let Some((until, crowded)) = self.busy.get_mut(&(link, to.clone())) else { return };
        let waiting = until.saturating_sub(self.now) * self.rate.unwrap_or(1);
        if waiting > CROWDED_BYTES / 2 {
            let clear = self.now + 1 + (waiting - CROWDED_BYTES / 2) / self.rate.unwrap_or(1);
            return self.at(clear, What::Drained { link, from, to });
        }
        *crowded = false;
        if self.ends.get(&(from.clone(), to.clone())) == Some(&link) {
            self.input(&from, Input::LinkClear { peer: to });
        }
    }

    fn carry_out(&mut self, who: &NodeName, effects: Vec<Effect>) {
        let life = self.nodes[who].life;
        for effect in effects {
            let soon = self.now + self.rng.random_range(self.delay.clone());
            match effect {
                Effect::Send { to, frame } => {
                    if let Some(link) = self.ends.get(&(who.clone(), to.clone())).copied() {
                        let soon = self.transfer(link, who, &to, size(&frame));
                        let last = self.arrivals.entry((link, to.clone())).or_insert(0);
                        *last = (*last).max(soon);
                        let at = *last;
                        self.frames.push(Some(frame));
                        self.at(at, What::Frame { link, from: who.clone(), to, index: self.frames.len() - 1 });
                    }
                }
                Effect::Connect { peer, .. } => self.at(soon, What::Connect { from: who.clone(), to: peer }),
                Effect::Disconnect { peer } => {
                    if let Some(link) = self.ends.get(&(who.clone(), peer.clone())).copied() {
                        self.at(self.now, What::LinkEnds { at: who.clone(), peer, link });
                    }
                }
                Effect::SetTimer { after, timer } => {
                    self.timers.push(timer);
                    let what = What::Input(who.clone(), life, Happening::Timer(self.timers.len() - 1));
                    self.at(self.now + after.0, what);
                }
                Effect::Deliver(message) => self.deliver(who, message),
            }
        }
        for (from, peer) in std::mem::take(&mut self.crowded) {
            self.input(&from, Input::LinkCrowded { peer });
        }
    }

    /// What must hold of every delivery, checked as it happens.
    fn deliver(&mut self, who: &NodeName, message: Message) {
        let Message { id, path, via, late, .. } = message;
        let node = &self.nodes[who];
        let later =
            node.delivered.keys().any(|had| had.origin == id.origin && (had.epoch, had.seq) > (id.epoch, id.seq));
        assert_eq!(late, later, "{id} at {who}: whether a later one came before");
        self.via[via as usize] += 1;
        self.last_at.insert(id.clone(), self.now);
        assert_eq!(path.first(), Some(&id.origin), "{id} starts at its origin");
        assert_eq!(path.last(), Some(who), "{id} ends here");
        assert_eq!(path.iter().collect::<BTreeSet<_>>().len(), path.len(), "{id} visits nobody twice: {path:?}");
        for step in path.windows(2) {
            assert!(self.linked.contains(&(step[0].clone(), step[1].clone())), "{id}: no link {step:?} ever was");
        }
        let node = self.nodes.get_mut(who).expect("lives");
        assert!(node.delivered.insert(id.clone(), path).is_none(), "{who} was given {id} twice");
    }
}
