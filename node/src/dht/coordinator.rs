//! Doing a write: a new version with its own dot, on `w` disks before it is acknowledged (*Dynamo* §4.5).
//!
//! ```text
//!  Order ─▶ is all that was acknowledged before known here?
//!             no ──▶ gather it from a quorum ─┐
//!             yes ────────────────────────────┴▶ new version ─▶ our disk, and Merge to the others of the first n reachable
//!                                                    ▲               │
//!        one of them holds what was not known ───────┘               └▶ w disks have it: answered
//! ```
//! Who is sure does not ask before writing. Should it be mistaken, because a `Merge` never reached it, then one of the `w`
//! that must have the new version on disk also has the one that was missed, says so, and the version is made anew, knowing
//! it. So writes that follow each other never leave siblings, at no cost to those that nothing was missed by.
//!
//! No version is made after the order's `valid_until`: from then on its asker may try elsewhere, and later writes may have
//! been acknowledged, which must not be covered by this one.
//!
//! Who is silent for `patience`, refuses or cannot be reached is replaced by the next of the list (a *stand-in*, hinted
//! handoff §4.6), whose copy counts only when twice `patience` has passed: a replica that merely missed a packet would not
//! know that it missed a write, and two of these would answer a read with what was before. The call lives on after its
//! answer until all have confirmed or its deadline, and repair is told who never did.

use p2pnet_shared::{
    NodeName,
    ring::Place,
    telemetry::KeyEvent,
    wire::dht::{Actor, Dot, Entry, Message, Operation, Refusal, Version},
};

use super::{
    Answer, Effect, State, Waiter,
    calls::{Asker, Call, Order},
    read::{Gather, TRIES, count},
    version,
};
use crate::time::Millis;

/// How often whoever forwarded a write is told that it is still being done.
const SIGN: Millis = Millis(200);
/// How often a version is made anew because something was missed. More only happens between two who write at once through
/// different coordinators, and then both are siblings.
const ROUNDS_MAX: u8 = 2;

/// A write that this node coordinates.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) order: Order,
    phase: Phase,
    is_answered: bool,
    /// When its asker last heard of it.
    told: Millis,
}

#[derive(Debug)]
enum Phase {
    /// What was acknowledged before?
    Gathering(Gather),
    /// Who has it on disk?
    Spreading(Spread),
}

#[derive(Debug)]
struct Spread {
    entry: Entry,
    /// All that was acknowledged before was gathered: whoever gets this entry has it all.
    whole: bool,
    own: Disk,
    /// Whether we were sure ourselves.
    own_sure: bool,
    /// Whether our copy is one of the first n.
    is_mine: bool,
    copies: Vec<Copied>,
    rounds: u8,
    started: Millis,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disk {
    /// Not asked, or what was sent is lost.
    No,
    /// Since then.
    Waiting(Millis),
    /// It has it, and whether it is sure of what it holds beside.
    Has(bool),
    Refused(Refusal),
}

#[derive(Debug)]
struct Copied {
    name: NodeName,
    disk: Disk,
    /// Whether it is one of the first n.
    is_replica: bool,
    /// How often it was given.
    tries: u8,
}

impl Spread {
    fn disks(&self) -> impl Iterator<Item = Disk> {
        std::iter::once(self.own).chain(self.copies.iter().map(|copy| copy.disk))
    }

    fn acks(&self) -> usize {
        self.disks().filter(|disk| matches!(disk, Disk::Has(_))).count()
    }

    /// Copies on the disks of the first n.
    fn placed(&self) -> usize {
        let others = self.copies.iter().filter(|copy| copy.is_replica && matches!(copy.disk, Disk::Has(_)));
        usize::from(self.is_mine && matches!(self.own, Disk::Has(_))) + others.count()
    }

    fn sure(&self) -> usize {
        usize::from(self.own_sure) + self.copies.iter().filter(|copy| copy.disk == Disk::Has(true)).count()
    }

    /// Whether somebody may still answer.
    fn is_open(&self) -> bool {
        self.disks().any(|disk| matches!(disk, Disk::No | Disk::Waiting(_)))
    }

    fn refusal(&self) -> Option<Refusal> {
        self.disks().find_map(|disk| if let Disk::Refused(why) = disk { Some(why) } else { None })
    }
}

impl State {
    /// Coordinates a write, unless this store takes none: then its order comes back.
    pub(super) fn coordinate(&mut self, order: Order, effects: &mut Vec<Effect>) -> Result<(), (Order, Refusal)> {
        if let Some(why) = self.store.refuses() {
            return Err((order, why));
        }
        let (place, key) = (order.place, order.key().clone());
        let held = self.store.get(place, &key);
        let is_enough = self.is_sure(place, held) && !(order.is_delete() && held.is_none_or(|held| !held.live));
        if is_enough {
            return self.spread(order, None, 0, effects);
        }
        let number = self.calls.number();
        let mut gather = self.gather(place, key, self.config.patience);
        if self.ask_on(number, &mut gather, effects) {
            let gathered = (gather.found(), gather.is_sure());
            return self.spread(order, Some(gathered), 0, effects);
        }
        let phase = Phase::Gathering(gather);
        let write = Write { order, phase, is_answered: false, told: self.now };
        self.calls.put(number, Call::Write(Box::new(write)));
        Ok(())
    }

    /// Makes the new version and gives it to all who are to have it. `gathered`: what others had, and whether that is all
    /// that was acknowledged before.
    fn spread(
        &mut self,
        order: Order,
        gathered: Option<(&Entry, bool)>,
        rounds: u8,
        effects: &mut Vec<Effect>,
    ) -> Result<(), (Order, Refusal)> {
        if self.now > order.valid_until {
            return Err((order, Refusal::Late));
        }
        let (place, key) = (order.place, order.key().clone());
        let held = self.store.get(place, &key);
        let own_sure = self.is_sure(place, held);
        let is_all = gathered.is_some_and(|(_, is_all)| is_all);
        let whole = is_all || held.is_some_and(|held| self.store.is_whole(held));
        let mut base = held.map_or_else(|| Entry { key: key.clone(), versions: Vec::new() }, |held| held.entry.clone());
        if let Some((gathered, _)) = gathered {
            version::merge(&mut base, &gathered.versions);
        }
        if order.is_delete() && !version::is_live(&base) {
            if !is_all && rounds == 0 {
                // Somebody who did not answer may have it.
                return Err((order, Refusal::Late));
            }
            self.answer_write(&order, Answer::Missing, effects);
            return Ok(());
        }
        let mut entry = base;
        let new = self.new_version(&order.operation, &entry);
        version::merge(&mut entry, &[new]);
        let taken = match self.store.merge(place, &entry, whole, self.wall()) {
            Ok(taken) => taken,
            Err(why) => return Err((order, why)),
        };
        let number = self.calls.number();
        let own = match taken.batch {
            Some(batch) => {
                self.waiting.entry(batch).or_default().push(Waiter::Own { call: number });
                Disk::Waiting(self.now)
            }
            None => Disk::Has(true),
        };
        let (is_mine, started) = (self.is_mine(place), self.now);
        let mut spread = Spread { entry, whole, own, own_sure, is_mine, copies: Vec::new(), rounds, started };
        self.stand_in(number, place, &mut spread, effects);
        let phase = Phase::Spreading(spread);
        let write = Write { order, phase, is_answered: false, told: self.now };
        self.calls.put(number, Call::Write(Box::new(write)));
        Ok(())
    }

    fn new_version(&mut self, operation: &Operation, base: &Entry) -> Version {
        self.count += 1;
        let value = match operation {
            Operation::Put { value, .. } => Some(value.clone()),
            Operation::Delete { .. } => None,
        };
        let actor = Actor { node: self.me.clone(), era: self.era };
        Version { dot: Dot { actor, count: self.count }, context: version::context(base), at: self.wall(), value }
    }

    /// Gives the entry to one node, or once more.
    fn give(
        &mut self,
        call: u64,
        spread: &mut Spread,
        (name, is_replica): (NodeName, bool),
        effects: &mut Vec<Effect>,
    ) {
        let message = Message::Merge { call, entry: spread.entry.clone(), whole: spread.whole };
        self.send(name.clone(), message, effects);
        let disk = Disk::Waiting(self.now);
        match spread.copies.iter_mut().find(|copy| copy.name == name) {
            Some(copy) => (copy.disk, copy.tries) = (disk, copy.tries.saturating_add(1)),
            None => spread.copies.push(Copied { name, disk, is_replica, tries: 1 }),
        }
    }

    /// What a replica holds, for the context of a write.
    pub(super) fn on_gathered(&mut self, call: u64, mut write: Box<Write>, effects: &mut Vec<Effect>) {
        let Phase::Gathering(gather) = &mut write.phase else {
            return self.calls.put(call, Call::Write(write));
        };
        if !self.ask_on(call, gather, effects) {
            return self.calls.put(call, Call::Write(write));
        }
        let Write { order, phase: Phase::Gathering(gather), .. } = *write else { return };
        let gathered = (gather.found(), gather.is_sure());
        if let Err((order, why)) = self.spread(order, Some(gathered), 0, effects) {
            self.refuse(order, why, effects);
        }
    }

    /// What is being gathered for a write.
    pub(super) fn gathering(write: &mut Write) -> Option<&mut Gather> {
        if let Phase::Gathering(gather) = &mut write.phase { Some(gather) } else { None }
    }

    /// A replica has what it was given on its disk, or not.
    pub(super) fn on_merged(
        &mut self,
        call: u64,
        from: &NodeName,
        disk: Result<bool, Refusal>,
        more: Option<&Entry>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(mut write) = self.calls.take_write(call) else { return };
        if let Phase::Spreading(spread) = &mut write.phase {
            if let Some(copy) = spread.copies.iter_mut().find(|copy| copy.name == *from) {
                copy.disk = disk.map_or_else(Disk::Refused, Disk::Has);
            }
            let missed = more.is_some_and(|more| !version::includes(&spread.entry, more));
            let rounds = spread.rounds + 1;
            if let Some(more) = more.filter(|_| missed) {
                // If it cannot be taken, it stays where it is.
                let _ = self.store.merge(write.order.place, more, false, self.wall());
                if !write.is_answered && rounds <= ROUNDS_MAX && self.now <= write.order.valid_until {
                    let whole = spread.whole.then(|| more.clone());
                    let whole = whole.as_ref().map(|more| (more, true));
                    if let Err((order, why)) = self.spread(write.order, whole, rounds, effects) {
                        self.refuse(order, why, effects);
                    }
                    return;
                }
            }
        }
        self.go_on(call, write, effects);
    }

    /// Our own copy is on disk, or not.
    pub(super) fn on_own(&mut self, call: u64, disk: Result<(), Refusal>, effects: &mut Vec<Effect>) {
        let Some(mut write) = self.calls.take_write(call) else { return };
        if let Phase::Spreading(spread) = &mut write.phase {
            spread.own = disk.map_or_else(Disk::Refused, |()| Disk::Has(true));
        }
        self.go_on(call, write, effects);
    }

    /// What was sent to a node may be lost.
    pub(super) fn on_copy_lost(write: &mut Write, peer: &NodeName, now: Millis) {
        match &mut write.phase {
            Phase::Gathering(gather) => gather.on_lost(peer, now),
            Phase::Spreading(spread) => {
                for copy in spread.copies.iter_mut().filter(|copy| copy.name == *peer) {
                    if matches!(copy.disk, Disk::Waiting(_)) {
                        copy.disk = Disk::No;
                    }
                }
            }
        }
    }

    /// Answers if it is time, asks stand-ins where they are needed, and keeps the call unless it is over.
    pub(super) fn go_on(&mut self, call: u64, mut write: Box<Write>, effects: &mut Vec<Effect>) {
        if matches!(write.phase, Phase::Gathering(_)) {
            return self.on_gathered(call, write, effects);
        }
        let Phase::Spreading(spread) = &mut write.phase else { return };
        self.stand_in(call, write.order.place, spread, effects);
        let (acks, needed) = (spread.acks(), self.needed(self.config.w));
        write.order.reached = count(acks);
        let is_placed =
            spread.placed() >= needed || self.now - spread.started >= self.config.patience + self.config.patience;
        let is_complete = spread.whole || spread.sure() >= needed || !self.is_awaited(spread);
        if !write.is_answered && acks >= needed && is_placed && is_complete {
            write.is_answered = true;
            // A stand-in beyond the first n may have handed its copy on by now.
            let acks = count(acks.min(self.n()));
            let done = if write.order.is_delete() { Answer::Deleted { acks } } else { Answer::Stored { acks } };
            self.answer_write(&write.order, done, effects);
        }
        let failed = if spread.is_open() || write.is_answered { None } else { spread.refusal() };
        if let Some(why) = failed {
            let reached = count(acks);
            self.answer_write(&write.order, Answer::Refused { why, reached }, effects);
        } else if spread.is_open() || !write.is_answered {
            return self.calls.put(call, Call::Write(write));
        }
        self.owe(&write, effects);
    }

    /// Whether an answer may still come before patience runs out.
    fn is_awaited(&self, spread: &Spread) -> bool {
        let fresh = |disk: Disk| matches!(disk, Disk::Waiting(since) if self.now - since < self.config.patience);
        spread.copies.iter().any(|copy| fresh(copy.disk))
    }

    /// Sees to it that the first n of the list are asked, the next in place of each who is silent, lost or refuses, and again
    /// whose connection broke, or who can be reached again.
    fn stand_in(&mut self, call: u64, place: Place, spread: &mut Spread, effects: &mut Vec<Effect>) {
        let list: Vec<NodeName> = self.ring.walk(self.ring.arc(place)).take(2 * self.n()).cloned().collect();
        let is_asked = |spread: &Spread, name: &NodeName| spread.copies.iter().any(|copy| copy.name == *name);
        for name in list.iter().take(self.n()) {
            if *name != self.me && !is_asked(spread, name) {
                self.give(call, spread, (name.clone(), true), effects);
            }
        }
        let can_be = |name: &NodeName| self.peers.is_reachable(name, self.now);
        let again = |copy: &&Copied| copy.disk == Disk::No && (copy.tries < TRIES || can_be(&copy.name));
        let again = spread.copies.iter().filter(again).map(|copy| (copy.name.clone(), copy.is_replica));
        let mut names: Vec<(NodeName, bool)> = again.collect();
        let is_well = |copy: &&Copied| match copy.disk {
            Disk::No | Disk::Refused(_) => false,
            Disk::Waiting(since) => self.now - since < self.config.patience && can_be(&copy.name),
            Disk::Has(_) => true,
        };
        let wanted = self.n() - usize::from(spread.is_mine);
        let missing = wanted.saturating_sub(spread.copies.iter().filter(is_well).count());
        let new = list.into_iter().filter(|name| *name != self.me && can_be(name) && !is_asked(spread, name));
        names.extend(new.take(missing).map(|name| (name, false)));
        for name in names {
            self.give(call, spread, name, effects);
        }
    }

    /// Time has passed for a write that this node coordinates.
    pub(super) fn look_at_write(&mut self, call: u64, mut write: Box<Write>, is_late: bool, effects: &mut Vec<Effect>) {
        match &mut write.phase {
            Phase::Gathering(gather) => self.look_at_gather(gather, is_late),
            Phase::Spreading(_) if is_late => {}
            Phase::Spreading(spread) => {
                for copy in &mut spread.copies {
                    let Disk::Waiting(since) = copy.disk else { continue };
                    if self.now - since >= self.config.patience {
                        self.peers.silent(&copy.name, since, self.now);
                    }
                }
            }
        }
        if self.now >= write.order.deadline {
            if !write.is_answered {
                self.too_few(&write.order, effects);
            }
            return self.owe(&write, effects);
        }
        if let (Asker::Peer(to, theirs), false) = (&write.order.asker, write.is_answered)
            && self.now - write.told >= SIGN
        {
            let message = Message::Coordinating { call: *theirs, acks: write.order.reached };
            self.send(to.clone(), message, effects);
            write.told = self.now;
        }
        self.go_on(call, write, effects);
    }

    /// A write is over: tells repair of every replica that never confirmed it.
    fn owe(&mut self, write: &Write, effects: &mut Vec<Effect>) {
        let Phase::Spreading(spread) = &write.phase else { return };
        let place = write.order.place;
        let owed = spread.copies.iter().filter(|copy| !matches!(copy.disk, Disk::Has(_)));
        let owed: Vec<NodeName> = owed.map(|copy| copy.name.clone()).collect();
        self.with_repair(effects, |repair, around| {
            for name in
                owed.iter().filter(|name| around.replicas(place).any(|replica| replica == *name)).collect::<Vec<_>>()
            {
                repair.owe(around, name, place);
            }
        });
    }

    /// Tells whoever asked for a write what became of it.
    pub(super) fn answer_write(&mut self, order: &Order, answer: Answer, effects: &mut Vec<Effect>) {
        if let (Asker::User(_), Answer::Stored { acks } | Answer::Deleted { acks }) = (&order.asker, &answer) {
            effects.push(Effect::Announce(KeyEvent::Acknowledged { place: order.place, acks: *acks }));
        }
        match &order.asker {
            Asker::User(id) => effects.push(Effect::Answer { id: *id, answer }),
            Asker::Peer(to, call) => {
                let (acks, refused, found) = match answer {
                    Answer::Stored { acks } | Answer::Deleted { acks } => (acks, None, true),
                    Answer::Missing => (0, None, false),
                    Answer::Refused { why, reached } => (reached, Some(why), true),
                    Answer::TooFew { reached, .. } => (reached, None, true),
                    Answer::Found { .. } => (0, None, true),
                };
                self.send(to.clone(), Message::Forwarded { call: *call, acks, refused, found }, effects);
            }
        }
    }

    /// Time is up for a write.
    pub(super) fn too_few(&mut self, order: &Order, effects: &mut Vec<Effect>) {
        let wanted = count(self.needed(self.config.w));
        self.answer_write(order, Answer::TooFew { reached: order.reached, wanted }, effects);
    }
}
