//! Asking the replicas of a key what they hold, until the answer is certain (*Dynamo* §4.5).
//!
//! ```text
//!  at once     r of the first n that can be reached, ourselves first if we are one of them
//!  an answer is not sure, or 2 × patience    everyone of the list of 2n, also who is suspected or was silent before
//!  patience    those of the first n that were not asked yet; who was silent is passed over from now on
//! ```
//! It is certain once `r` of the first `n` reachable have answered, and either `r` of the answers are *sure* (their sender
//! has every acknowledged write of that part of the ring, for all it knows), or everyone of the list was asked and has
//! answered, could not be reached twice, or stayed silent for too long: more cannot be known. That holds only of a list by
//! the ring of those who answered: a node that has just come knows of two members at first, and neither has the key. So who
//! answers also says which ring it knows, and while that is another one than ours, and not enough are sure, the list is made
//! anew as members become known, and who knew of others is asked again. Silence lasts too long, for a get, after its whole
//! deadline, unless membership suspects them: on a slow network the one who knows is the last to answer; and while not even
//! one answer is sure, all that membership trusts are waited for. For the context of a write it is `patience`: what was
//! missed then comes back with the first copy.
//!
//! Versions that differ are put together, and what is found is given to those of the first `n` that lack some of it (read
//! repair).

use p2pnet_shared::{
    Key, NodeName,
    ring::{Place, RingDigest},
    wire::dht::{Entry, Message},
};
use rand::RngExt;

use super::{
    Answer, Effect, RequestId, State,
    calls::{Call, Read},
    peers::AVOID,
    version,
};
use crate::time::Millis;

/// What became of asking one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// Not asked, or what was sent is lost.
    No,
    /// Asked at that time.
    Waiting(Millis),
    /// Asked at that time, and passed over, but it may still answer.
    Silent(Millis),
    /// It could not be reached at that time.
    Lost(Millis),
    /// It answered: the hash of its versions, and what it said beside.
    Answered(u64, Said),
    /// It cannot read its store.
    Unread,
}

/// What whoever answers says of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Said {
    /// It has every acknowledged write of that part of the ring, for all it knows.
    pub(super) sure: bool,
    /// Of the ring it knows.
    pub(super) ring: RingDigest,
}

#[derive(Debug)]
struct Target {
    name: NodeName,
    asked: Asked,
    /// How often it was asked.
    tries: u8,
}

/// How often a node is asked whose connection breaks.
pub(super) const TRIES: u8 = 2;

/// One round of asking.
#[derive(Debug)]
pub(super) struct Gather {
    place: Place,
    /// The extended list of the key, in order, by this ring.
    targets: Vec<Target>,
    ring: RingDigest,
    /// All versions that were answered.
    found: Entry,
    started: Millis,
    needed: usize,
    /// How long who is silent may still know better.
    hope: Millis,
    /// Ask all of the first n, not only as many as are needed.
    hedged: bool,
    /// Ask everyone.
    widened: bool,
}

impl Gather {
    fn new(place: Place, key: Key, ring: RingDigest, needed: usize, (now, hope): (Millis, Millis)) -> Self {
        let found = Entry { key, versions: Vec::new() };
        let targets = Vec::new();
        Self { place, targets, ring, found, started: now, needed, hope, hedged: false, widened: false }
    }

    /// The list is this one now. Who was asked before and is still on it need not be asked again, but for ourselves: we may have
    /// become a replica, or be none any more.
    fn follow(&mut self, ring: RingDigest, names: Vec<NodeName>, me: &NodeName) {
        let mut old = std::mem::take(&mut self.targets);
        self.ring = ring;
        self.targets = names
            .into_iter()
            .map(|name| match old.iter().position(|target| target.name == name && name != *me) {
                Some(known) => old.swap_remove(known),
                None => Target { name, asked: Asked::No, tries: 0 },
            })
            .collect();
    }

    /// What was found, without versions if nothing was.
    pub(super) fn found(&self) -> &Entry {
        &self.found
    }

    /// How many answered.
    pub(super) fn answers(&self) -> usize {
        self.targets.iter().filter(|target| matches!(target.asked, Asked::Answered(..))).count()
    }

    /// Whether what was found is everything that was acknowledged: enough are sure of it, or nobody is missing.
    pub(super) fn is_sure(&self) -> bool {
        self.sure() >= self.needed || (self.answers() == self.targets.len() && !self.is_disputed())
    }

    fn sure(&self) -> usize {
        self.targets.iter().filter(|target| matches!(target.asked, Asked::Answered(_, Said { sure: true, .. }))).count()
    }

    /// Whether somebody who answered knows another ring than ours, and so perhaps somebody who was not asked.
    fn is_disputed(&self) -> bool {
        self.targets.iter().any(|target| matches!(target.asked, Asked::Answered(_, said) if said.ring != self.ring))
    }

    /// Takes an answer; only the first of each node counts.
    pub(super) fn on_held(&mut self, from: &NodeName, entry: Option<Entry>, said: Said) {
        let Some(target) = self.targets.iter_mut().find(|target| target.name == *from) else { return };
        if matches!(target.asked, Asked::Answered(..)) {
            return;
        }
        target.asked = Asked::Answered(entry.as_ref().map_or(0, version::hash), said);
        self.widened |= !said.sure;
        if let Some(entry) = entry {
            if self.found.versions.is_empty() {
                self.found = entry;
            } else {
                version::merge(&mut self.found, &entry.versions);
            }
        }
    }

    /// It cannot read its store.
    pub(super) fn on_unread(&mut self, from: &NodeName) {
        if let Some(target) = self.targets.iter_mut().find(|target| target.name == *from) {
            target.asked = Asked::Unread;
            self.hedged = true;
        }
    }

    /// What was sent to it is lost: a new connection may do, once.
    pub(super) fn on_lost(&mut self, from: &NodeName, now: Millis) {
        let Some(target) = self.targets.iter_mut().find(|target| target.name == *from) else { return };
        if matches!(target.asked, Asked::Waiting(_) | Asked::Silent(_)) {
            target.asked = if target.tries < TRIES { Asked::No } else { Asked::Lost(now) };
            self.hedged = true;
        }
    }
}

impl State {
    /// Begins a read for a user.
    pub(super) fn on_get(&mut self, id: RequestId, key: Key, effects: &mut Vec<Effect>) {
        let place = Place::of(key.as_str());
        let hope = self.config.deadline;
        let mut gather = self.gather(place, key, hope);
        let number = self.calls.number();
        if self.ask_on(number, &mut gather, effects) {
            return self.answer_read(id, &gather, effects);
        }
        let deadline = self.now + self.config.deadline;
        self.calls.put(number, Call::Read(Box::new(Read { id, deadline, gather })));
    }

    /// A round of asking for a key that nobody was asked in yet.
    pub(super) fn gather(&mut self, place: Place, key: Key, hope: Millis) -> Gather {
        let ring = self.ring_digest();
        let mut gather = Gather::new(place, key, ring, self.needed(self.config.r), (self.now, hope));
        gather.follow(ring, self.extended_list(place), &self.me);
        gather
    }

    /// The first n of a place, and as many stand-ins.
    fn extended_list(&self, place: Place) -> Vec<NodeName> {
        self.ring.walk(self.ring.arc(place)).take(2 * self.n()).cloned().collect()
    }

    /// Asks those whose turn it is; says whether what is known now is certain.
    pub(super) fn ask_on(&mut self, call: u64, gather: &mut Gather, effects: &mut Vec<Effect>) -> bool {
        let ring = self.ring_digest();
        if gather.ring != ring {
            gather.follow(ring, self.extended_list(gather.place), &self.me);
        }
        loop {
            let alive = |target: &Target| match target.asked {
                Asked::Answered(..) => true,
                Asked::Waiting(_) => true,
                Asked::Unread | Asked::Silent(_) | Asked::Lost(_) => false,
                Asked::No if target.name == self.me => !self.store.is_broken(),
                Asked::No if gather.widened || target.tries > 0 => true,
                Asked::No => self.peers.is_reachable(&target.name, self.now),
            };
            let alive: Vec<usize> = (0..gather.targets.len()).filter(|index| alive(&gather.targets[*index])).collect();
            let first = &alive[..alive.len().min(self.n())];
            let is = |index: &&usize, what: fn(&Asked) -> bool| what(&gather.targets[**index].asked);
            let answered = first.iter().filter(|index| is(index, |asked| matches!(asked, Asked::Answered(..)))).count();
            let waiting = first.iter().filter(|index| is(index, |asked| matches!(asked, Asked::Waiting(_)))).count();
            // Nobody who answered a get is sure: then whoever is missing may know better, and nothing is certain before the
            // membership has lost its trust in them.
            let is_blind = gather.sure() == 0 && gather.hope > self.config.patience;
            let is_awaited = |target: &Target| match target.asked {
                Asked::Silent(since) => {
                    (is_blind || self.now - since < gather.hope) && self.peers.is_trusted(&target.name)
                }
                Asked::Lost(_) => is_blind && self.peers.is_trusted(&target.name),
                _ => false,
            };
            let open = alive.iter().any(|index| !matches!(gather.targets[*index].asked, Asked::Answered(..)))
                || gather.targets.iter().any(is_awaited);
            let is_disputed = gather.is_disputed() && self.now - gather.started < gather.hope;
            let is_all = !open && gather.widened && !is_disputed;
            if answered >= gather.needed && (is_all || gather.sure() >= gather.needed) {
                return true;
            }
            if !open && !gather.widened {
                gather.widened = true;
                continue;
            }
            let (from, most) = match gather {
                Gather { widened: true, .. } => (&alive[..], usize::MAX),
                Gather { hedged: true, .. } => (first, usize::MAX),
                _ => (first, gather.needed.saturating_sub(answered + waiting)),
            };
            let mut idle: Vec<usize> =
                from.iter().copied().filter(|index| gather.targets[*index].asked == Asked::No).collect();
            if most < idle.len() {
                let mine = idle.iter().position(|index| gather.targets[*index].name == self.me);
                let turn = mine.unwrap_or_else(|| self.rng.random_range(0..idle.len()));
                idle.rotate_left(turn);
                idle.truncate(most);
            }
            let mut is_answered = false;
            for index in idle {
                is_answered |= self.ask(call, gather, index, effects);
            }
            if !is_answered {
                return false;
            }
        }
    }

    /// Asks one node; says whether that was ourselves, who answer at once.
    fn ask(&mut self, call: u64, gather: &mut Gather, index: usize, effects: &mut Vec<Effect>) -> bool {
        let key = &gather.found.key;
        let name = gather.targets[index].name.clone();
        if name == self.me {
            let held = self.store.get(gather.place, key);
            let sure = self.is_sure(gather.place, held);
            let entry = held.map(|held| held.entry.clone());
            gather.on_held(&name, entry, Said { sure, ring: gather.ring });
            return true;
        }
        self.send(name, Message::Read { call, key: key.clone() }, effects);
        let target = &mut gather.targets[index];
        target.asked = Asked::Waiting(self.now);
        target.tries = target.tries.saturating_add(1);
        false
    }

    /// Time has passed: who was silent too long is passed over, and others are asked.
    pub(super) fn look_at_gather(&mut self, gather: &mut Gather, is_late: bool) {
        for target in gather.targets.iter_mut().filter(|_| !is_late) {
            match target.asked {
                Asked::Waiting(since) if self.now - since >= self.config.patience => {
                    gather.hedged = true;
                    self.peers.silent(&target.name, since, self.now);
                    target.asked = Asked::Silent(since);
                }
                Asked::Lost(since) if self.now - since >= AVOID && self.peers.is_reachable(&target.name, self.now) => {
                    (target.asked, target.tries) = (Asked::No, 0);
                }
                // One of us has met somebody meanwhile, or will have.
                Asked::Answered(_, said) if !said.sure && said.ring != gather.ring => target.asked = Asked::No,
                _ => {}
            }
        }
        gather.widened |= self.now - gather.started >= self.config.patience + self.config.patience;
    }

    /// Looks after a read; says whether it is over.
    pub(super) fn look_at_read(&mut self, call: u64, read: &mut Read, effects: &mut Vec<Effect>) -> bool {
        if self.ask_on(call, &mut read.gather, effects) {
            self.answer_read(read.id, &read.gather, effects);
            return true;
        }
        if self.now < read.deadline && self.ring.members().len() >= read.gather.needed {
            return false;
        }
        let answer = Answer::TooFew { reached: count(read.gather.answers()), wanted: count(read.gather.needed) };
        effects.push(Effect::Answer { id: read.id, answer });
        true
    }

    fn answer_read(&mut self, id: RequestId, gather: &Gather, effects: &mut Vec<Effect>) {
        self.mend(gather, effects);
        let answer = match version::shown(&gather.found) {
            Some((value, siblings)) => Answer::Found { value, siblings },
            None => Answer::Missing,
        };
        effects.push(Effect::Answer { id, answer });
    }

    /// Read repair: gives what was found to those of the first n that lack some of it.
    fn mend(&mut self, gather: &Gather, effects: &mut Vec<Effect>) {
        let found = &gather.found;
        let hash = if found.versions.is_empty() { 0 } else { version::hash(found) };
        let all = gather.targets.iter().take(self.n());
        let lacking = |target: &&Target| matches!(target.asked, Asked::Answered(theirs, _) if theirs != hash);
        let expired = version::expires(found, self.config.tombstone_life).is_some_and(|expiry| expiry <= self.wall());
        if hash == 0 || expired {
            return;
        }
        let whole = gather.is_sure();
        for target in all.filter(lacking) {
            if target.name == self.me {
                // What cannot be taken now, repair brings later.
                let _ = self.store.merge(gather.place, found, whole, self.wall());
            } else {
                let entry = found.clone();
                self.send(target.name.clone(), Message::Merge { call: 0, entry, whole }, effects);
            }
        }
    }
}

/// A number of copies as it is told.
pub(super) fn count(copies: usize) -> u8 {
    u8::try_from(copies).unwrap_or(u8::MAX)
}
