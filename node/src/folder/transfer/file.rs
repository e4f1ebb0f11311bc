//! One file of several chunks on its way here: what is here of it, who has what, what is asked of whom.
//!
//! A chunk is *needed*, then asked for (of two peers at most), then being written, then had; wherever that fails it is needed again.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use p2pnet_shared::{
    NodeName,
    telemetry::FileProgress,
    wire::folder::{ChunkSet, Root, SUGGESTED_MAX},
};
use rand::rngs::Xoshiro256PlusPlus;

use super::{bits::Bits, pick::Rarity};
use crate::{
    folder::chunks::{Geometry, Value},
    time::Millis,
};

/// Holders of one file that are remembered at most.
pub(super) const HOLDERS_MAX: usize = 64;

/// What a peer has of the file.
#[derive(Debug)]
pub(super) struct Holder {
    /// Which chunks; `None`: all.
    chunks: Option<Bits>,
    /// What it would rather give to us than to others.
    suggested: VecDeque<u32>,
}

impl Holder {
    fn has(&self, chunk: u32) -> bool {
        self.chunks.as_ref().is_none_or(|chunks| chunks.has(chunk))
    }

    /// Whether it has anything yet, and so must know the outline.
    fn has_any(&self) -> bool {
        self.chunks.as_ref().is_none_or(|chunks| chunks.ones() > 0)
    }
}

/// A chunk that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    /// Of whom.
    pub(super) of: NodeName,
    /// When.
    pub(super) at: Millis,
}

/// What is known of the chunks' chaining values.
#[derive(Debug)]
pub(super) enum Outline {
    /// Nothing; asked of somebody at a time.
    Unknown(Option<Asked>),
    /// All, proved.
    Known(Arc<[Value]>),
}

/// What may be left of a former life.
#[derive(Debug)]
pub(super) enum Former {
    /// The disk looks.
    Looking,
    /// It found chunks with these values, to be compared once the outline is known.
    Found(Vec<Value>),
    /// Compared.
    Settled,
}

/// One file.
#[derive(Debug)]
pub(super) struct File {
    pub(super) geometry: Geometry,
    pub(super) outline: Outline,
    pub(super) former: Former,
    /// On disk.
    have: Bits,
    /// Neither on disk, nor on its way there, nor asked for.
    needed: Bits,
    rarity: Rarity,
    pub(super) holders: BTreeMap<NodeName, Holder>,
    pub(super) asked: BTreeMap<u32, Vec<Asked>>,
    /// Of whom chunks came.
    gave: BTreeMap<NodeName, u32>,
    /// Who was asked what they have, and when.
    pub(super) sought: BTreeMap<NodeName, Millis>,
    /// When something last happened: it was begun, a chunk came or was asked for.
    pub(super) moved: Millis,
    /// Not before then is anything asked for: the disk could not write.
    pub(super) rests_until: Millis,
}

impl File {
    /// Nothing of it is here.
    pub(super) fn new(now: Millis, geometry: Geometry) -> Self {
        let chunks = geometry.chunks();
        Self {
            geometry,
            outline: Outline::Unknown(None),
            former: Former::Looking,
            have: Bits::none(chunks),
            needed: Bits::all(chunks),
            rarity: Rarity::new(chunks),
            holders: BTreeMap::new(),
            asked: BTreeMap::new(),
            gave: BTreeMap::new(),
            sought: BTreeMap::new(),
            moved: now,
            rests_until: Millis(0),
        }
    }

    /// The proved outline.
    pub(super) fn values(&self) -> Option<&Arc<[Value]>> {
        match &self.outline {
            Outline::Known(values) => Some(values),
            Outline::Unknown(_) => None,
        }
    }

    /// Compares what is left of a former life with the outline, once both are known.
    pub(super) fn settle(&mut self) {
        let (Outline::Known(values), Former::Found(found)) = (&self.outline, &self.former) else { return };
        let same = (0u32..).zip(values.iter().zip(found)).filter(|(_, (value, found))| value == found);
        for (chunk, _) in same {
            self.have.insert(chunk);
            self.needed.remove(chunk);
        }
        self.former = Former::Settled;
    }

    /// Whether chunks can be asked for.
    pub(super) fn is_open(&self, now: Millis) -> bool {
        matches!((&self.outline, &self.former), (Outline::Known(_), Former::Settled)) && now >= self.rests_until
    }

    /// Whether all of it is on disk.
    pub(super) fn is_here(&self) -> bool {
        matches!((&self.outline, &self.former), (Outline::Known(_), Former::Settled)) && self.have.is_full()
    }

    /// Whether a chunk is on disk.
    pub(super) fn has(&self, chunk: u32) -> bool {
        self.have.has(chunk)
    }

    /// Whether anything is still to be asked for.
    pub(super) fn needs_any(&self) -> bool {
        self.needed.ones() > 0
    }

    /// What is told to those who are getting it too.
    pub(super) fn held(&self) -> ChunkSet {
        ChunkSet::Some(self.have.to_bytes())
    }

    /// A peer tells what it has. Whether that made sense, and was news.
    pub(super) fn on_holds(&mut self, from: &NodeName, said: &ChunkSet) -> bool {
        let chunks = match said {
            ChunkSet::None => {
                self.drop_holder(from);
                return false;
            }
            ChunkSet::All => None,
            ChunkSet::Some(bytes) => match Bits::parse(self.geometry.chunks(), bytes) {
                Some(chunks) => Some(chunks),
                None => return false,
            },
        };
        if self.holders.len() >= HOLDERS_MAX && !self.holders.contains_key(from) {
            return false;
        }
        let nothing = || Holder { chunks: Some(Bits::none(self.geometry.chunks())), suggested: VecDeque::new() };
        let holder = self.holders.entry(from.clone()).or_insert_with(nothing);
        let before = std::mem::replace(&mut holder.chunks, chunks);
        let (before, after) = (before.as_ref(), holder.chunks.as_ref());
        let none = Bits::none(self.geometry.chunks());
        let (old, new) = (before.unwrap_or(&none), after.unwrap_or(&none));
        new.without(old).for_each(|chunk| self.rarity.change(chunk, true));
        old.without(new).for_each(|chunk| self.rarity.change(chunk, false));
        before.is_some() && after.is_none() || new.without(old).next().is_some()
    }

    /// A peer would rather give these.
    pub(super) fn on_suggest(&mut self, from: &NodeName, chunks: &[u32]) {
        if let Some(holder) = self.holders.get_mut(from) {
            let room = (4 * SUGGESTED_MAX).saturating_sub(holder.suggested.len());
            holder.suggested.extend(chunks.iter().take(SUGGESTED_MAX.min(room)));
        }
    }

    /// A peer has nothing of it any more, or cannot be reached.
    pub(super) fn drop_holder(&mut self, name: &NodeName) {
        let held = self.holders.remove(name).and_then(|holder| holder.chunks);
        held.iter().flat_map(Bits::iter).for_each(|chunk| self.rarity.change(chunk, false));
    }

    /// A peer does not have this chunk after all.
    pub(super) fn drop_chunk(&mut self, name: &NodeName, chunk: u32) {
        let Some(holder) = self.holders.get_mut(name) else { return };
        match &mut holder.chunks {
            Some(chunks) => {
                if chunks.remove(chunk) {
                    self.rarity.change(chunk, false);
                }
            }
            None => self.drop_holder(name),
        }
    }

    /// What to ask this peer for next.
    pub(super) fn pick(&mut self, of: &NodeName, rng: &mut Xoshiro256PlusPlus) -> Option<u32> {
        let holder = self.holders.get_mut(of)?;
        while let Some(chunk) = holder.suggested.pop_front() {
            if self.needed.has(chunk) && holder.has(chunk) {
                return Some(chunk);
            }
        }
        self.rarity.pick(&self.needed, holder.chunks.as_ref(), rng)
    }

    /// Another holder of this chunk that is not asked for it, if there is one that `may` be.
    pub(super) fn other_holder(&self, chunk: u32, may: impl Fn(&NodeName) -> bool) -> Option<&NodeName> {
        let asked = self.asked.get(&chunk)?;
        let is_new = |name: &NodeName| asked.iter().all(|asked| asked.of != *name);
        self.holders.iter().find(|(name, holder)| holder.has(chunk) && is_new(name) && may(name)).map(|(name, _)| name)
    }

    /// Of whom the outline can be asked; `next` turns to another each time.
    pub(super) fn knows_outline(&self, may: impl Fn(&NodeName) -> bool, next: usize) -> Option<&NodeName> {
        let knowing =
            || self.holders.iter().filter(|(name, holder)| holder.has_any() && may(name)).map(|(name, _)| name);
        knowing().nth(next % knowing().count().max(1))
    }

    /// A chunk was asked for.
    pub(super) fn ask(&mut self, now: Millis, chunk: u32, of: &NodeName) {
        self.needed.remove(chunk);
        self.moved = now;
        self.asked.entry(chunk).or_default().push(Asked { of: of.clone(), at: now });
    }

    /// A chunk is not waited for from this peer any more; without another that was asked it is needed again. What had been asked.
    pub(super) fn unask(&mut self, chunk: u32, of: &NodeName) -> Option<Asked> {
        let asked = self.asked.get_mut(&chunk)?;
        let at = asked.iter().position(|asked| asked.of == *of)?;
        let one = asked.swap_remove(at);
        if asked.is_empty() {
            self.asked.remove(&chunk);
            self.needed.insert(chunk);
        }
        Some(one)
    }

    /// Chunks that were asked of this peer.
    pub(super) fn asked_of(&self, of: &NodeName) -> Vec<u32> {
        self.asked.iter().filter(|(_, asked)| asked.iter().any(|one| one.of == *of)).map(|(chunk, _)| *chunk).collect()
    }

    /// Whether a chunk is still of use: neither here nor on its way to the disk.
    pub(super) fn is_of_use(&self, chunk: u32) -> bool {
        self.needed.has(chunk) || self.asked.contains_key(&chunk)
    }

    /// A genuine chunk came and goes to the disk. Who else was asked for it.
    pub(super) fn on_chunk(&mut self, now: Millis, chunk: u32, from: &NodeName) -> Vec<Asked> {
        self.needed.remove(chunk);
        self.moved = now;
        *self.gave.entry(from.clone()).or_default() += 1;
        self.asked.remove(&chunk).unwrap_or_default()
    }

    /// A chunk is on disk, or could not be written.
    pub(super) fn written(&mut self, chunk: u32, is_written: bool) {
        if is_written {
            self.have.insert(chunk);
        } else {
            self.needed.insert(chunk);
        }
    }

    /// How many chunks are neither on disk nor on their way there.
    pub(super) fn missing(&self) -> usize {
        self.needed.ones() as usize + self.asked.len()
    }

    /// As it is shown.
    pub(super) fn progress(&self, root: &Root) -> FileProgress {
        let chunks = self.geometry.chunks();
        let first = |part: u64| u32::try_from(part * u64::from(chunks) / 64).unwrap_or(chunks);
        // Of fewer chunks than parts, a chunk is in all parts it touches.
        let is_here = |part: u64| (first(part)..first(part + 1).max(first(part) + 1)).all(|chunk| self.have.has(chunk));
        let map = (0..64).filter(|part| is_here(*part)).fold(0, |map, part| map | 1 << part);
        let mut sources: Vec<(NodeName, u32)> = self.gave.iter().map(|(name, gave)| (name.clone(), *gave)).collect();
        sources.sort_by(|a, b| (b.1, &a.0).cmp(&(a.1, &b.0)));
        sources.truncate(8);
        FileProgress { root: root.short(), chunks, here: self.have.ones(), map, sources }
    }
}
