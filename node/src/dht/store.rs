//! What this node holds, and how much of it is on disk.
//!
//! Entries stand in the order of their places, so that an arc of the ring is one range of the map. All of them are in memory;
//! the disk has a copy that lags by the batches under way.
//!
//! ```text
//!  merge, remove ─▶ memory ──flush──▶ batch 7 ─▶ runtime ──▶ Persisted 7     now it may be acknowledged
//!     │                                  └────────────────▶ NotPersisted 7  its entries are *dirty*, see below
//!     └──▶ Changed: which versions were, and are, under a key (digests and those who watch follow it)
//! ```
//! After a batch that did not reach the disk memory is ahead of it: the entries of that batch and of all after it are dirty,
//! nothing new is taken, and what is dirty is handed to the disk again about once a second until nothing is left.
//!
//! Always holds: an entry without versions is not held; sums and the order of tombstones agree with the entries; what
//! [`Store::is_on_disk`] says yes to was persisted exactly as it is now.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Bound,
};

use p2pnet_shared::{
    Key, UnixMillis,
    ring::Place,
    telemetry::DiskState,
    wire::dht::{Actor, Entry, Refusal},
};

use super::{Change, version};
use crate::time::Millis;

/// Entries handed to the disk again at a time.
const RETRY_ENTRIES: usize = 256;

/// One entry as it is held.
#[derive(Debug, Clone)]
pub(super) struct Held {
    /// The versions.
    pub(super) entry: Entry,
    /// [`version::hash`] of them.
    pub(super) hash: u64,
    /// Whether one of them is a value.
    pub(super) live: bool,
    /// In which tenure of this node a writer vouched that these are all that was acknowledged; 0 for none.
    whole_in: u64,
    /// The last batch it was handed to the disk in.
    batch: u64,
}

/// Which versions are under a key. The default is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Seen {
    /// [`version::hash`] of them; 0 if there is no entry.
    pub(super) hash: u64,
    /// Whether one of them is a value.
    pub(super) live: bool,
}

/// The versions under a key changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Changed {
    /// Where the key stands.
    pub(super) place: Place,
    /// Which key.
    pub(super) key: Key,
    /// What was there.
    pub(super) old: Seen,
    /// What is there now.
    pub(super) new: Seen,
}

/// What became of versions that were merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    /// Whether anything was new.
    pub(super) changed: bool,
    /// The batch to wait for before it may be acknowledged; `None` if all of it is on disk.
    pub(super) batch: Option<u64>,
    /// Whether there are versions beyond the given ones.
    pub(super) more: bool,
}

/// Whether what is in memory gets to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disk {
    Fine,
    /// Memory is ahead of it. The batch that tries to mend that, if one is under way.
    Behind {
        why: Refusal,
        retry: Option<u64>,
    },
    /// It could not be opened: nothing is held.
    Broken,
}

/// The entries and their way to the disk.
#[derive(Debug)]
pub(super) struct Store {
    entries: BTreeMap<(Place, Key), Held>,
    /// The smallest there is: where ranges begin.
    first_key: Key,
    /// Entries of nothing but tombstones, by when they go.
    expiring: BTreeSet<(UnixMillis, Place, Key)>,
    tombstone_life: Millis,
    weight_max: usize,
    weight: usize,
    bytes: usize,
    conflicts: usize,
    /// Counts what makes every mark of wholeness void.
    tenure: u64,
    disk: Disk,
    /// Batches handed over so far, and the last that is known to be on disk.
    batch: u64,
    persisted: u64,
    /// What changed since the last batch.
    unsaved: Vec<(Place, Key)>,
    /// What is in the batches under way, in their order.
    under_way: VecDeque<(u64, Vec<(Place, Key)>)>,
    dirty: BTreeSet<(Place, Key)>,
    changed: Vec<Changed>,
}

impl Store {
    /// A store with what its disk held.
    pub(super) fn new(weight_max: usize, tombstone_life: Millis, held: Vec<Entry>) -> Self {
        let mut store = Self {
            entries: BTreeMap::new(),
            first_key: "\0".parse().expect("one byte is a key"),
            expiring: BTreeSet::new(),
            tombstone_life,
            weight_max,
            weight: 0,
            bytes: 0,
            conflicts: 0,
            tenure: 1,
            disk: Disk::Fine,
            batch: 0,
            persisted: 0,
            unsaved: Vec::new(),
            under_way: VecDeque::new(),
            dirty: BTreeSet::new(),
            changed: Vec::new(),
        };
        for entry in held.into_iter().filter(version::is_sound) {
            let place = Place::of(entry.key.as_str());
            store.put(place, entry, 0, 0);
        }
        store
    }

    /// A store that can neither be read nor written.
    pub(super) fn broken() -> Self {
        Self { disk: Disk::Broken, ..Self::new(0, Millis(0), Vec::new()) }
    }

    /// What is held under a key.
    pub(super) fn get(&self, place: Place, key: &Key) -> Option<&Held> {
        self.entries.get(&(place, key.clone()))
    }

    /// Everything, in the order of places.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Place, &Held)> {
        self.entries.iter().map(|((place, _), held)| (*place, held))
    }

    /// What stands after `after` up to and with `upto`, clockwise: an arc. All of it if both are the same.
    pub(super) fn arc(&self, after: Place, upto: Place) -> impl Iterator<Item = (Place, &Held)> {
        let from = |place: u64| (Place(place), self.first_key.clone());
        let end = |place: Place| place.0.checked_add(1).map_or(Bound::Unbounded, |next| Bound::Excluded(from(next)));
        let start = after.0.checked_add(1).map(|next| Bound::Included(from(next)));
        let wraps = after >= upto;
        let head_end = if wraps { Bound::Unbounded } else { end(upto) };
        let head = start.map(|start| self.entries.range((start, head_end)));
        let tail = wraps.then(|| self.entries.range((Bound::Unbounded, end(upto))));
        head.into_iter().flatten().chain(tail.into_iter().flatten()).map(|((place, _), held)| (*place, held))
    }

    /// How many entries there are, tombstones included.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many of them are nothing but tombstones.
    pub(super) fn tombstones(&self) -> usize {
        self.expiring.len()
    }

    /// How many keys have siblings.
    pub(super) fn conflicts(&self) -> usize {
        self.conflicts
    }

    /// Bytes of keys and values.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How the disk is, for those who watch.
    pub(super) fn disk(&self) -> DiskState {
        match self.disk {
            Disk::Broken | Disk::Behind { why: Refusal::Broken, .. } => DiskState::Broken,
            Disk::Behind { .. } => DiskState::Full,
            Disk::Fine if self.weight >= self.weight_max => DiskState::Full,
            Disk::Fine => DiskState::Fine,
        }
    }

    /// Whether it could not be opened: it neither reads nor writes.
    pub(super) fn is_broken(&self) -> bool {
        self.disk == Disk::Broken
    }

    /// Why nothing new is taken, if so.
    pub(super) fn refuses(&self) -> Option<Refusal> {
        match self.disk {
            Disk::Fine => None,
            Disk::Behind { why, .. } => Some(why),
            Disk::Broken => Some(Refusal::Broken),
        }
    }

    /// Whether an entry is on disk as it is held.
    pub(super) fn is_on_disk(&self, place: Place, held: &Held) -> bool {
        held.batch <= self.persisted
            && (self.dirty.is_empty() || !self.dirty.contains(&(place, held.entry.key.clone())))
    }

    /// Whether a writer vouched, in this tenure, that an entry has all that was acknowledged.
    pub(super) fn is_whole(&self, held: &Held) -> bool {
        held.whole_in == self.tenure
    }

    /// Adds versions to those of a key. `whole`: the sender made sure that nothing acknowledged is missing from them.
    ///
    /// # Errors
    /// Why they were not taken; nothing has changed.
    pub(super) fn merge(
        &mut self,
        place: Place,
        entry: &Entry,
        whole: bool,
        wall: UnixMillis,
    ) -> Result<Taken, Refusal> {
        if let Some(why) = self.refuses() {
            return Err(why);
        }
        let tenure = if whole { self.tenure } else { 0 };
        let Some(held) = self.entries.get_mut(&(place, entry.key.clone())) else {
            if version::expires(entry, self.tombstone_life).is_some_and(|expiry| expiry <= wall) {
                return Ok(Taken { changed: false, batch: None, more: false });
            }
            let mut mine = Entry { key: entry.key.clone(), versions: Vec::new() };
            version::merge(&mut mine, &entry.versions);
            self.fits(0, version::weight(&mine))?;
            let batch = self.batch + 1;
            let more = mine.versions != entry.versions;
            self.put(place, mine, tenure, batch);
            return Ok(Taken { changed: true, batch: Some(batch), more });
        };
        if held.entry.versions == entry.versions {
            held.whole_in = held.whole_in.max(tenure);
            let held = &self.entries[&(place, entry.key.clone())];
            let batch = (!self.is_on_disk(place, held)).then_some(held.batch);
            return Ok(Taken { changed: false, batch, more: false });
        }
        let mut merged = held.entry.clone();
        let changed = version::merge(&mut merged, &entry.versions);
        let more = merged.versions != entry.versions;
        let tenure = tenure.max(held.whole_in);
        if !changed {
            held.whole_in = tenure;
            let held = &self.entries[&(place, entry.key.clone())];
            let batch = (!self.is_on_disk(place, held)).then_some(held.batch);
            return Ok(Taken { changed, batch, more });
        }
        let weight = version::weight(&held.entry);
        self.fits(weight, version::weight(&merged))?;
        let batch = self.batch + 1;
        self.put(place, merged, tenure, batch);
        Ok(Taken { changed, batch: Some(batch), more })
    }

    /// Whether there is room for an entry that grows. One that shrinks, as by a delete, always has it.
    fn fits(&self, old: usize, new: usize) -> Result<(), Refusal> {
        let full = new > old && (self.weight - old + new > self.weight_max || new > version::ENTRY_MAX_BYTES);
        if full { Err(Refusal::Full) } else { Ok(()) }
    }

    /// Puts an entry in place of what was there. A batch of 0 is what came from the disk.
    fn put(&mut self, place: Place, entry: Entry, whole_in: u64, batch: u64) {
        let key = entry.key.clone();
        let (hash, live) = (version::hash(&entry), version::is_live(&entry));
        self.weight += version::weight(&entry);
        self.bytes += version::bytes(&entry);
        self.conflicts += usize::from(entry.versions.len() > 1);
        if let Some(expiry) = version::expires(&entry, self.tombstone_life) {
            self.expiring.insert((expiry, place, key.clone()));
        }
        let held = Held { entry, hash, live, whole_in, batch };
        let old = self.entries.insert((place, key.clone()), held);
        let old = self.forget(place, old.as_ref());
        self.note(place, key, old, Seen { hash, live }, batch > 0);
    }

    /// Holds nothing under a key any more; says what was held.
    pub(super) fn remove(&mut self, place: Place, key: &Key) -> Option<Held> {
        let held = self.entries.remove(&(place, key.clone()))?;
        let old = self.forget(place, Some(&held));
        self.note(place, key.clone(), old, Seen::default(), true);
        Some(held)
    }

    fn note(&mut self, place: Place, key: Key, old: Seen, new: Seen, save: bool) {
        if save {
            self.unsaved.push((place, key.clone()));
        }
        self.changed.push(Changed { place, key, old, new });
    }

    /// Takes an entry that is held no more out of the sums.
    fn forget(&mut self, place: Place, held: Option<&Held>) -> Seen {
        let Some(held) = held else { return Seen::default() };
        self.weight -= version::weight(&held.entry);
        self.bytes -= version::bytes(&held.entry);
        self.conflicts -= usize::from(held.entry.versions.len() > 1);
        if let Some(expiry) = version::expires(&held.entry, self.tombstone_life) {
            let kept = self.entries.get(&(place, held.entry.key.clone()));
            let same = kept.and_then(|kept| version::expires(&kept.entry, self.tombstone_life)) == Some(expiry);
            if !same {
                self.expiring.remove(&(expiry, place, held.entry.key.clone()));
            }
        }
        Seen { hash: held.hash, live: held.live }
    }

    /// Drops up to `most` tombstones that have lived long enough; says which were held.
    pub(super) fn expire(&mut self, wall: UnixMillis, most: usize) -> Vec<Held> {
        let mut gone = Vec::new();
        while gone.len() < most && self.refuses().is_none() {
            let Some((_, place, key)) = self.expiring.first().filter(|(expiry, ..)| *expiry <= wall).cloned() else {
                break;
            };
            gone.extend(self.remove(place, &key));
        }
        gone
    }

    /// No mark of wholeness holds any more.
    pub(super) fn new_tenure(&mut self) {
        self.tenure += 1;
    }

    /// No mark of wholeness holds any more, but for the places where `keep` says so.
    pub(super) fn unmark(&mut self, keep: impl Fn(Place) -> bool) {
        for ((place, _), held) in &mut self.entries {
            if held.whole_in == self.tenure && !keep(*place) {
                held.whole_in = 0;
            }
        }
    }

    /// What changed since this was asked last.
    pub(super) fn take_changed(&mut self) -> Vec<Changed> {
        std::mem::take(&mut self.changed)
    }

    /// What has to go to the disk since this was asked last, and the number of its batch.
    pub(super) fn flush(&mut self) -> Option<(u64, Vec<Change>)> {
        if self.unsaved.is_empty() {
            return None;
        }
        let mut places = std::mem::take(&mut self.unsaved);
        if places.len() > 1 {
            places.sort_unstable();
            places.dedup();
        }
        Some(self.hand_over(places))
    }

    /// Hands a part of what is dirty to the disk again, unless such a try is under way.
    pub(super) fn retry(&mut self) -> Option<(u64, Vec<Change>)> {
        let Disk::Behind { why, retry: None } = self.disk else { return None };
        let places: Vec<(Place, Key)> = self.dirty.iter().take(RETRY_ENTRIES).cloned().collect();
        let (batch, changes) = self.hand_over(places);
        self.disk = Disk::Behind { why, retry: Some(batch) };
        Some((batch, changes))
    }

    fn hand_over(&mut self, places: Vec<(Place, Key)>) -> (u64, Vec<Change>) {
        self.batch += 1;
        let change = |at: &(Place, Key)| match self.entries.get(at) {
            Some(held) => Change::Put(held.entry.clone()),
            None => Change::Drop(at.1.clone()),
        };
        let changes = places.iter().map(change).collect();
        self.under_way.push_back((self.batch, places));
        (self.batch, changes)
    }

    /// Everything up to and with this batch is on disk.
    pub(super) fn on_persisted(&mut self, batch: u64) {
        if batch > self.batch {
            return;
        }
        self.persisted = self.persisted.max(batch);
        while self.under_way.front().is_some_and(|(number, _)| *number <= batch) {
            let (_, places) = self.under_way.pop_front().expect("just seen");
            if !self.dirty.is_empty() {
                self.dirty.retain(|at| !places.contains(at));
            }
        }
        if let Disk::Behind { why, retry } = self.disk {
            let done = retry.is_none_or(|retry| retry <= batch);
            let retry = if done { None } else { retry };
            self.disk = if self.dirty.is_empty() { Disk::Fine } else { Disk::Behind { why, retry } };
        }
    }

    /// This batch is not on disk, nor is any after it. Says up to which batch that holds.
    pub(super) fn on_not_persisted(&mut self, batch: u64, why: Refusal) -> u64 {
        if self.is_broken() || batch > self.batch || batch <= self.persisted {
            return self.persisted;
        }
        while self.under_way.back().is_some_and(|(number, _)| *number >= batch) {
            let (_, places) = self.under_way.pop_back().expect("just seen");
            self.dirty.extend(places);
        }
        self.disk = Disk::Behind { why, retry: None };
        self.batch
    }
}

/// Whether dropping an entry makes an actor forget something it wrote.
pub(super) fn mentions(entry: &Entry, actor: &Actor) -> bool {
    let of = |version: &p2pnet_shared::wire::dht::Version| {
        version.dot.actor == *actor || version.context.iter().any(|(known, _)| known == actor)
    };
    entry.versions.iter().any(of)
}
