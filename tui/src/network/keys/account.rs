//! Which node holds which key, and how many live copies each key has. Places and hashes only: no key, no value.
//!
//! ```text
//! Held (place, versions) ──set──▶ ┐
//! fate of a node ─────────stand──▶ ├─▶ per key: its current version, who holds it ──▶ keys by number of live copies
//! time ────────────────────tick──▶ ┘
//! ```
//! The hash of what a node holds does not say which of two is newer, so that is learnt from what is seen: a store only
//! moves forward, so when a node that held `a` holds `b` now, `b` is the newer one. Without such evidence (a history)
//! what most copies have is taken for current, copies on nodes that are down included: two of three hold every
//! acknowledged write. When the last live copy is given up by its own holder, the key was deleted, and copies on nodes
//! that are down are of no interest any more.
//!
//! A change costs a look-up, the end of a node one per key it holds, and asking for the counts nothing. What always
//! holds: the counts equal a recount (tests), and no more than [`PLACES_MAX`] places are kept: beyond that every other
//! one is dropped and the counts become estimates.

use std::collections::{HashMap, HashSet, VecDeque};

use p2pnet_shared::{UnixMillis, telemetry::HeldKey};

/// Places kept at most; about 150 bytes each with three copies.
pub(super) const PLACES_MAX: usize = 1 << 18;
/// A key whose version changed less than this ago is being written: its copies are on their way, and so are the reports
/// of them, which nodes send twice a second. Milliseconds.
pub(super) const YOUNG_MS: u64 = 2_000;
/// How long a node whose link was dialled anew has to repeat what it held, milliseconds; what it has not by then is gone.
pub(super) const DOUBT_MS: u64 = 2_000;
/// Writes followed at most; the oldest of more are taken for old at once.
const WRITES_MAX: usize = 1 << 16;
/// Copies that are told apart: none, one, two, three and more.
pub(super) const CLASSES: usize = 4;

/// Whether what a node holds can be read now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Standing {
    /// It is up, and said so in this life.
    Live,
    /// It is frozen: neither read nor lost.
    Paused,
    /// It is down, or has not told what it holds since it started.
    #[default]
    Down,
}

/// How a report is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meant {
    /// How things stand.
    History,
    /// What has just changed.
    News,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Copy {
    pub(super) slot: u16,
    pub(super) version: u64,
}

/// How a key is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Class {
    /// Live copies of the current version, `CLASSES - 1` at most.
    pub(super) live: u8,
    /// None is live, one is on a paused node.
    pub(super) waits: bool,
    /// It is being written.
    pub(super) young: bool,
    /// It belongs to the sample that every node tells.
    pub(super) counted: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) current: u64,
    pub(super) copies: Vec<Copy>,
    pub(super) class: Class,
    /// When it was last seen to be written.
    written_at: UnixMillis,
    /// That looked like a deletion which not all have told yet.
    is_going: bool,
}

/// Keys by number of live copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Histogram {
    /// With so many live copies.
    pub(super) live: [u64; CLASSES],
    /// Those among them that are being written.
    pub(super) young: [u64; CLASSES],
    /// Those without a live copy that a paused node has.
    pub(super) waiting: u64,
}

/// One node's part.
#[derive(Debug, Clone, Default)]
struct Holder {
    standing: Standing,
    places: HashSet<u64>,
    /// Low zero bits of the places it tells.
    sampled: u8,
    /// What it held before it began to tell anew, and until when it may repeat that.
    doubted: HashSet<u64>,
    doubted_until: UnixMillis,
}

/// Who holds what.
#[derive(Debug, Clone, Default)]
pub(super) struct Account {
    keys: HashMap<u64, Key>,
    holders: Vec<Holder>,
    histogram: Histogram,
    /// Low zero bits of the places that are kept: 0 unless there were too many.
    kept: u8,
    /// Low zero bits of the places that are counted: what is kept and told by every node.
    level: u8,
    /// Keys that were written, and when; the oldest first.
    writes: VecDeque<(UnixMillis, u64)>,
}

impl Account {
    /// Keys by number of live copies, of one in 2^[`Account::level`] keys.
    pub(super) fn histogram(&self) -> Histogram {
        self.histogram
    }

    /// How many low bits of a place must be zero for its key to be counted.
    pub(super) fn level(&self) -> u8 {
        self.level
    }

    /// One key.
    pub(super) fn key(&self, place: u64) -> Option<&Key> {
        self.keys.get(&place)
    }

    /// All of them, in no order.
    pub(super) fn keys(&self) -> impl Iterator<Item = (u64, &Key)> {
        self.keys.iter().map(|(place, key)| (*place, key))
    }

    /// How many keys a node is known to hold.
    #[cfg(test)]
    pub(super) fn held(&self, slot: usize) -> usize {
        self.holders.get(slot).map_or(0, |holder| holder.places.len())
    }

    pub(super) fn standing(&self, slot: u16) -> Standing {
        self.holders.get(usize::from(slot)).map_or(Standing::Down, |holder| holder.standing)
    }

    /// A node begins to tell everything it holds. `same_life`: it did before, over a link that broke; otherwise it was
    /// started since, and only what it says now is known to be there.
    pub(super) fn anew(&mut self, now: UnixMillis, slot: usize, same_life: bool) {
        let holder = self.holder(slot);
        if same_life {
            holder.doubted = holder.places.clone();
            holder.doubted_until = UnixMillis(now.0.saturating_add(DOUBT_MS));
        } else {
            self.forget(slot);
        }
    }

    /// A node says what it holds, or what changed; says whether a key was written.
    pub(super) fn hold(&mut self, now: UnixMillis, slot: usize, sampled: u8, told: &[HeldKey], meant: Meant) -> bool {
        if self.holder(slot).sampled != sampled {
            self.holder(slot).sampled = sampled;
            self.relevel();
        }
        let mut written = false;
        for HeldKey { place, versions } in told {
            if place.0.trailing_zeros() >= u32::from(self.kept) {
                written |= self.set(now, slot, place.0, *versions, meant);
            }
        }
        while self.keys.len() > PLACES_MAX {
            self.thin_out();
        }
        written
    }

    /// A node's fate changed. What it holds counts otherwise from now on, however young it is.
    pub(super) fn stand(&mut self, slot: usize, standing: Standing) {
        let holder = self.holder(slot);
        if holder.standing == standing {
            return;
        }
        holder.standing = standing;
        let places: Vec<u64> = holder.places.iter().copied().collect();
        for place in places {
            if self.is_deleted(place) {
                self.remove(place);
            } else {
                self.change(place, |key| key.class.young = false);
            }
        }
        // Those who are down do not limit what can be counted.
        self.relevel();
    }

    /// What a node held is of no interest any more.
    pub(super) fn forget(&mut self, slot: usize) {
        let holder = self.holder(slot);
        holder.doubted.clear();
        let places = std::mem::take(&mut holder.places);
        for place in places {
            self.drop_copy(place, slot);
        }
    }

    /// Time passed: keys grow older, and who did not repeat what it held does not hold it.
    pub(super) fn tick(&mut self, now: UnixMillis) {
        while let Some((at, place)) = self.writes.front().copied() {
            // A clock that was set back must not keep keys young for ever.
            if now.0 >= at.0 && now.since(at) < YOUNG_MS && self.writes.len() <= WRITES_MAX {
                break;
            }
            self.writes.pop_front();
            // Written again since: a later entry is about that.
            if self.keys.get(&place).is_some_and(|key| key.class.young && key.written_at == at) {
                self.change(place, |key| key.class.young = false);
            }
        }
        for slot in 0..self.holders.len() {
            let holder = &mut self.holders[slot];
            if holder.doubted.is_empty() || now < holder.doubted_until {
                continue;
            }
            for place in std::mem::take(&mut holder.doubted) {
                self.holders[slot].places.remove(&place);
                self.drop_copy(place, slot);
            }
        }
    }

    fn holder(&mut self, slot: usize) -> &mut Holder {
        if self.holders.len() <= slot {
            self.holders.resize_with(slot + 1, Holder::default);
        }
        &mut self.holders[slot]
    }

    /// What one node holds of one key; says whether the key was written.
    fn set(&mut self, now: UnixMillis, slot: usize, place: u64, version: Option<u64>, meant: Meant) -> bool {
        let holder = self.holder(slot);
        holder.doubted.remove(&place);
        let Some(version) = version else {
            return holder.places.remove(&place) && self.give_up(now, slot, place) && meant == Meant::News;
        };
        holder.places.insert(place);
        let Some(key) = self.keys.get_mut(&place) else {
            let copies = vec![Copy { slot: slot as u16, version }];
            let class = Class::default();
            self.keys.insert(place, Key { current: version, copies, class, written_at: now, is_going: false });
            let written = meant == Meant::News;
            self.change(place, |key| key.class.young = written);
            if written {
                self.writes.push_back((now, place));
            }
            return written;
        };
        let copy = key.copies.iter_mut().find(|copy| usize::from(copy.slot) == slot);
        let before = copy.as_ref().map(|copy| copy.version);
        if before == Some(version) {
            return false;
        }
        match copy {
            Some(copy) => copy.version = version,
            None => key.copies.push(Copy { slot: slot as u16, version }),
        }
        let written = meant == Meant::News && self.supersedes(place, slot, before, version);
        if written {
            self.writes.push_back((now, place));
        }
        self.change(place, |key| {
            if written {
                (key.current, key.class.young, key.written_at, key.is_going) = (version, true, now, false);
            } else if meant == Meant::History {
                key.class.young = false;
            }
        });
        if meant == Meant::History {
            self.elect(place);
        }
        written
    }

    /// Whether what `slot` holds of a key now is newer than what we took for current.
    fn supersedes(&self, place: u64, slot: usize, before: Option<u64>, version: u64) -> bool {
        let Some(key) = self.keys.get(&place) else { return true };
        let elsewhere = |wanted| key.copies.iter().any(|copy| usize::from(copy.slot) != slot && copy.version == wanted);
        match before {
            _ if version == key.current => false,
            // It moved on: to something nobody had, or from what we took for the newest.
            Some(before) => !elsewhere(version) || before == key.current,
            // It had nothing: it may have come late with something old.
            None => {
                let live = |copy: &Copy| copy.version == key.current && self.standing(copy.slot) == Standing::Live;
                !elsewhere(version) && !key.copies.iter().any(live)
            }
        }
    }

    /// A node says that it holds a key no more: it handed its copy over, or the key was deleted; says whether it looks like
    /// the latter. Then the others will say the same, and until they do the key is being written, not short of copies.
    fn give_up(&mut self, now: UnixMillis, slot: usize, place: u64) -> bool {
        let Some(key) = self.keys.get(&place) else { return false };
        let live = |copy: &&Copy| usize::from(copy.slot) != slot && self.standing(copy.slot) == Standing::Live;
        let left = key.copies.iter().filter(live).count();
        if left > 0 {
            self.drop_copy(place, slot);
            let is_deleted = left < CLASSES - 1;
            if is_deleted {
                self.change(place, |key| (key.class.young, key.written_at, key.is_going) = (true, now, true));
                self.writes.push_back((now, place));
            }
            return is_deleted;
        }
        self.remove(place);
        true
    }

    /// Whether a key was given up a moment ago by some of its holders, and by now all others are down: they ended before
    /// they told of the deletion.
    fn is_deleted(&self, place: u64) -> bool {
        let Some(key) = self.keys.get(&place) else { return false };
        key.is_going && key.class.young && key.copies.iter().all(|copy| self.standing(copy.slot) == Standing::Down)
    }

    fn remove(&mut self, place: u64) {
        self.uncount(place);
        for copy in self.keys.remove(&place).into_iter().flat_map(|key| key.copies) {
            let holder = &mut self.holders[usize::from(copy.slot)];
            holder.places.remove(&place);
            holder.doubted.remove(&place);
        }
    }

    fn drop_copy(&mut self, place: u64, slot: usize) {
        if !self.keys.contains_key(&place) {
            return;
        }
        self.change(place, |key| key.copies.retain(|copy| usize::from(copy.slot) != slot));
        match self.keys.get(&place) {
            Some(key) if key.copies.is_empty() => {
                self.uncount(place);
                self.keys.remove(&place);
            }
            Some(key) if !key.copies.iter().any(|copy| copy.version == key.current) => self.elect(place),
            _ => {}
        }
    }

    /// Takes for current what most copies have; of equals what more live ones have, and then what was current.
    fn elect(&mut self, place: u64) {
        let Some(key) = self.keys.get(&place) else { return };
        let weight = |version: u64| {
            let of = key.copies.iter().filter(|copy| copy.version == version);
            let live = of.clone().filter(|copy| self.standing(copy.slot) == Standing::Live).count();
            (of.count(), live, version == key.current, version)
        };
        let best = key.copies.iter().map(|copy| weight(copy.version)).max();
        if let Some((.., best)) = best {
            self.change(place, |key| key.current = best);
        }
    }

    /// Changes a key and counts it anew.
    fn change(&mut self, place: u64, change: impl FnOnce(&mut Key)) {
        self.uncount(place);
        let Some(mut key) = self.keys.remove(&place) else { return };
        change(&mut key);
        key.class = self.class(place, &key);
        self.keys.insert(place, key);
        self.count(place, 1);
    }

    fn class(&self, place: u64, key: &Key) -> Class {
        let current = |wanted: Standing| {
            let is = move |copy: &&Copy| copy.version == key.current && self.standing(copy.slot) == wanted;
            key.copies.iter().filter(is).count()
        };
        let live = current(Standing::Live).min(CLASSES - 1) as u8;
        let waits = live == 0 && current(Standing::Paused) > 0;
        Class { live, waits, young: key.class.young, counted: place.trailing_zeros() >= u32::from(self.level) }
    }

    fn uncount(&mut self, place: u64) {
        self.count(place, -1);
    }

    fn count(&mut self, place: u64, by: i64) {
        let Some(Class { live, waits, young, counted: true }) = self.keys.get(&place).map(|key| key.class) else {
            return;
        };
        let add = |number: &mut u64, yes: bool| *number = number.wrapping_add_signed(if yes { by } else { 0 });
        add(&mut self.histogram.live[usize::from(live)], true);
        add(&mut self.histogram.young[usize::from(live)], young);
        add(&mut self.histogram.waiting, waits);
    }

    /// What can be counted is what everybody who is live tells.
    fn relevel(&mut self) {
        let told = self.holders.iter().filter(|holder| holder.standing == Standing::Live);
        let level = told.map(|holder| holder.sampled).max().unwrap_or(0).max(self.kept);
        if level != self.level {
            self.level = level;
            self.recount();
        }
    }

    fn recount(&mut self) {
        self.histogram = Histogram::default();
        let places: Vec<u64> = self.keys.keys().copied().collect();
        for place in places {
            let Some(class) = self.keys.get(&place).map(|key| self.class(place, key)) else { continue };
            if let Some(key) = self.keys.get_mut(&place) {
                key.class = class;
            }
            self.count(place, 1);
        }
    }

    /// Keeps every other key only.
    fn thin_out(&mut self) {
        self.kept += 1;
        let kept = u32::from(self.kept);
        self.keys.retain(|place, _| place.trailing_zeros() >= kept);
        for holder in &mut self.holders {
            holder.places.retain(|place| place.trailing_zeros() >= kept);
            holder.doubted.retain(|place| place.trailing_zeros() >= kept);
        }
        self.level = self.level.max(self.kept);
        self.recount();
    }

    /// Counts everything anew: what is kept as running numbers must never drift.
    #[cfg(test)]
    pub(super) fn check(&self) {
        let mut counted = Histogram::default();
        for (place, key) in &self.keys {
            let class = self.class(*place, key);
            assert_eq!(class, key.class);
            assert!(!key.copies.is_empty() && key.copies.iter().any(|copy| copy.version == key.current));
            for copy in &key.copies {
                assert!(self.holders[usize::from(copy.slot)].places.contains(place));
            }
            if class.counted {
                counted.live[usize::from(class.live)] += 1;
                counted.young[usize::from(class.live)] += u64::from(class.young);
                counted.waiting += u64::from(class.waits);
            }
        }
        assert_eq!(counted, self.histogram);
        for (slot, holder) in self.holders.iter().enumerate() {
            for place in &holder.places {
                let key = self.keys.get(place).expect("what is held is known");
                assert_eq!(key.copies.iter().filter(|copy| usize::from(copy.slot) == slot).count(), 1);
            }
            assert!(holder.doubted.is_subset(&holder.places));
        }
    }
}
