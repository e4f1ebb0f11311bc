//! Which node has which file on its disk. Hashes only: no path, no contents.
//!
//! ```text
//! Files (path, root) ──take──▶ ┐                                        gateway: told again to who attaches later
//! fate of a node ─────stand──▶ ├─▶ versions, and per node a set of them ─┤
//! time ────────────────tick──▶ ┘                                        network: holders of a file, uploads at risk
//! ```
//! Every node is to have every file, so what nodes hold is nearly the same set a hundred times over: a *version* (a path with
//! its contents) is kept once and has a number, and a node is a bit for each. A hundred nodes with 10,000 files are 1.5 MB
//! of versions and 125 KB of bits.
//!
//! Of several versions at one path the *current* one is the one that appeared last, as far as it was seen to appear;
//! otherwise the one that most nodes have. It is what the number of holders of a file is about.
//!
//! A file that the last live node which had it gave up was deleted: what nodes that are down had of it is forgotten.
//!
//! What always holds: a node holds one version of a path at most, a version nobody holds is forgotten, and no more than
//! [`VERSIONS_MAX`] are kept: beyond that only those of paths whose hash ends in a zero bit more. Whoever gets such a sample
//! sees by those zeros what share of all it is ([`HolderCounts::level`]), so the mark is never lost on the way.

use std::collections::HashMap;

use p2pnet_shared::{UnixMillis, telemetry::HeldFile};

use crate::network::bits::Bits;

#[cfg(test)]
mod tests;
mod uploads;

pub(crate) use uploads::{Fate, Upload, Uploads};

/// Versions kept at most: some 20 MB.
pub(crate) const VERSIONS_MAX: usize = 1 << 17;
/// How long a node whose link was dialled anew has to repeat what it holds, milliseconds; what it has not by then is gone.
pub(crate) const DOUBT_MS: u64 = 2_000;
/// Fewer paths than this say nothing about a sample by the zeros of their hashes.
const SAMPLE_MIN: usize = 64;

/// Whether what a node holds can be read now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Standing {
    /// It is up, and said so in this life.
    Live,
    /// It is frozen: neither read nor lost.
    Paused,
    /// It is down, or has not told what it holds since it started.
    #[default]
    Down,
}

/// A node does not have a version any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GivenUp {
    /// Hash of the path.
    pub(crate) path: u64,
    /// What it had there.
    pub(crate) root: u64,
    /// What it has there now.
    pub(crate) now: Option<u64>,
}

/// A path with contents.
#[derive(Debug, Clone, Copy)]
struct Version {
    path: u64,
    root: u64,
    /// Nodes that have it, in whatever state they are.
    holders: u32,
    /// Those of them that are live.
    live: u32,
}

/// The versions at one path.
#[derive(Debug, Clone)]
struct Place {
    current: u32,
    all: Vec<u32>,
}

/// One node.
#[derive(Debug, Clone, Default)]
struct Holder {
    standing: Standing,
    held: Bits,
    /// What it held before it began to tell anew, and until when it may repeat that.
    doubted: Option<(Bits, UnixMillis)>,
}

/// Who has what.
#[derive(Debug, Clone, Default)]
pub(crate) struct Holdings {
    versions: Vec<Version>,
    free: Vec<u32>,
    places: HashMap<u64, Place>,
    roots: HashMap<u64, Vec<u32>>,
    nodes: Vec<Holder>,
    /// Only paths with so many low zero bits are kept.
    kept: u8,
    /// How many nodes are telling anew.
    doubts: usize,
}

/// Files by number of live nodes that have their current version, scaled up if they are a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct HolderCounts {
    /// All files.
    pub(crate) paths: u64,
    /// With none.
    pub(crate) none: u64,
    /// With one.
    pub(crate) one: u64,
    /// With two.
    pub(crate) two: u64,
    /// They are counted by one in 2^`level`.
    pub(crate) level: u8,
}

/// Nodes that have something, by how they stand.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Holders {
    pub(crate) live: Vec<usize>,
    pub(crate) paused: Vec<usize>,
    pub(crate) down: Vec<usize>,
}

impl Holdings {
    /// A node begins to tell everything it holds. `same_life`: it did before, over a link that broke; otherwise it was
    /// started since, and only what it says now is known to be there.
    pub(crate) fn anew(&mut self, now: UnixMillis, slot: usize, same_life: bool) {
        if !same_life {
            return self.forget(slot);
        }
        let holder = self.holder(slot);
        let until = UnixMillis(now.0.saturating_add(DOUBT_MS));
        let is_first = holder.doubted.replace((holder.held.clone(), until)).is_none();
        self.doubts += usize::from(is_first);
    }

    /// A node says what it holds, or what changed. `is_news`: just now, so a version nobody had is the current one from here
    /// on. Tells `given_up` what the node does not have any more.
    pub(crate) fn take(
        &mut self,
        slot: usize,
        files: &[HeldFile],
        is_news: bool,
        mut given_up: impl FnMut(&Self, GivenUp),
    ) {
        for file in files {
            if file.path.trailing_zeros() < u32::from(self.kept) {
                continue;
            }
            let before = self.version_of(slot, file.path);
            let root = before.map(|id| self.versions[id as usize].root);
            match file.root {
                Some(told) if root == Some(told) => self.trust(slot, before),
                told => {
                    // First what comes, then what goes: a path that is only changed keeps its place.
                    let new = told.map(|root| self.put(slot, file.path, root, is_news));
                    if let (Some(id), Some(root)) = (before, root) {
                        self.drop_copy(slot, id);
                        self.bury(file.path, told);
                        given_up(self, GivenUp { path: file.path, root, now: told });
                    }
                    self.trust(slot, new);
                }
            }
            while self.versions.len() - self.free.len() > VERSIONS_MAX {
                self.thin_out();
            }
        }
    }

    /// A node's fate changed; says whether it did.
    pub(crate) fn stand(&mut self, slot: usize, standing: Standing) -> bool {
        let holder = self.holder(slot);
        let before = std::mem::replace(&mut holder.standing, standing);
        if (before == Standing::Live) == (standing == Standing::Live) {
            return before != standing;
        }
        let Self { versions, nodes, .. } = self;
        for id in nodes[slot].held.iter() {
            let live = &mut versions[id].live;
            *live = if standing == Standing::Live { *live + 1 } else { *live - 1 };
        }
        true
    }

    /// What a node held is of no interest any more.
    pub(crate) fn forget(&mut self, slot: usize) {
        let holder = self.holder(slot);
        let was_in_doubt = holder.doubted.take().is_some();
        let held: Vec<usize> = holder.held.iter().collect();
        self.doubts -= usize::from(was_in_doubt);
        held.into_iter().for_each(|id| self.drop_copy(slot, id as u32));
    }

    /// Time passed: who did not repeat what it held does not hold it.
    pub(crate) fn tick(&mut self, now: UnixMillis, mut given_up: impl FnMut(&Self, GivenUp)) {
        if self.doubts == 0 {
            return;
        }
        for slot in 0..self.nodes.len() {
            if self.nodes[slot].doubted.as_ref().is_none_or(|(_, until)| now < *until) {
                continue;
            }
            let Some((doubted, _)) = self.nodes[slot].doubted.take() else { continue };
            self.doubts -= 1;
            for id in doubted.iter() {
                let Version { path, root, .. } = self.versions[id];
                self.drop_copy(slot, id as u32);
                let now = self.version_of(slot, path).map(|id| self.root(id));
                self.bury(path, now);
                given_up(self, GivenUp { path, root, now });
            }
        }
    }

    /// Everything a node holds, in no order.
    pub(crate) fn of(&self, slot: usize) -> impl Iterator<Item = HeldFile> {
        let held = self.nodes.get(slot).into_iter().flat_map(|holder| holder.held.iter());
        held.map(|id| HeldFile { path: self.versions[id].path, root: Some(self.versions[id].root) })
    }

    /// What is held at a path, by anybody: contents, and how many live nodes have them.
    pub(crate) fn at(&self, path: u64) -> impl Iterator<Item = (u64, u32)> {
        let all = self.places.get(&path).into_iter().flat_map(|place| &place.all);
        all.map(|id| &self.versions[*id as usize]).map(|version| (version.root, version.live))
    }

    /// How many live nodes have these contents at that path.
    pub(crate) fn live_at(&self, path: u64, root: u64) -> u32 {
        self.at(path).find(|(held, _)| *held == root).map_or(0, |(_, live)| live)
    }

    /// How many live nodes have these contents, under whatever name: a file that was moved or is a conflict copy now is still
    /// there.
    pub(crate) fn live_with(&self, root: u64) -> u32 {
        match self.roots.get(&root).map_or(&[][..], Vec::as_slice) {
            [] => 0,
            [id] => self.versions[*id as usize].live,
            many => {
                let live = self.nodes.iter().filter(|holder| holder.standing == Standing::Live);
                let count = live.filter(|holder| many.iter().any(|id| holder.held.contains(*id as usize))).count();
                u32::try_from(count).unwrap_or(u32::MAX)
            }
        }
    }

    /// Who has these contents, under whatever name.
    pub(crate) fn holders_of(&self, root: u64) -> Holders {
        let mut holders = Holders::default();
        let ids = self.roots.get(&root).map_or(&[][..], Vec::as_slice);
        for (slot, holder) in self.nodes.iter().enumerate() {
            if ids.iter().any(|id| holder.held.contains(*id as usize)) {
                match holder.standing {
                    Standing::Live => holders.live.push(slot),
                    Standing::Paused => holders.paused.push(slot),
                    Standing::Down => holders.down.push(slot),
                }
            }
        }
        holders
    }

    /// Files by number of holders. Costs a look at each.
    pub(crate) fn counts(&self) -> HolderCounts {
        let zeros = self.places.keys().map(|path| path.trailing_zeros().min(32)).min().unwrap_or(0);
        let sampled = if self.places.len() < SAMPLE_MIN { 0 } else { zeros as u8 };
        let level = sampled.max(self.kept);
        let mut counts = HolderCounts { level, ..HolderCounts::default() };
        for place in self.places.values() {
            counts.paths += 1;
            match self.versions[place.current as usize].live {
                0 => counts.none += 1,
                1 => counts.one += 1,
                2 => counts.two += 1,
                _ => {}
            }
        }
        for count in [&mut counts.paths, &mut counts.none, &mut counts.one, &mut counts.two] {
            *count <<= level;
        }
        counts
    }

    fn holder(&mut self, slot: usize) -> &mut Holder {
        if self.nodes.len() <= slot {
            self.nodes.resize_with(slot + 1, Holder::default);
        }
        &mut self.nodes[slot]
    }

    fn root(&self, id: u32) -> u64 {
        self.versions[id as usize].root
    }

    fn version_of(&self, slot: usize, path: u64) -> Option<u32> {
        let held = &self.nodes.get(slot)?.held;
        self.places.get(&path)?.all.iter().copied().find(|id| held.contains(*id as usize))
    }

    /// A node repeated that it has a version.
    fn trust(&mut self, slot: usize, id: Option<u32>) {
        if let (Some((doubted, _)), Some(id)) = (&mut self.holder(slot).doubted, id) {
            doubted.set(id as usize, false);
        }
    }

    fn put(&mut self, slot: usize, path: u64, root: u64, is_news: bool) -> u32 {
        let known = self
            .places
            .get(&path)
            .and_then(|place| place.all.iter().copied().find(|id| self.versions[*id as usize].root == root));
        let id = known.unwrap_or_else(|| self.make(path, root, is_news));
        let holder = self.holder(slot);
        let is_live = holder.standing == Standing::Live;
        if holder.held.set(id as usize, true) {
            let version = &mut self.versions[id as usize];
            version.holders += 1;
            version.live += u32::from(is_live);
        }
        if !is_news && let Some(place) = self.places.get_mut(&path) {
            let holders = |id: u32| self.versions[id as usize].holders;
            if holders(id) > holders(place.current) {
                place.current = id;
            }
        }
        id
    }

    fn make(&mut self, path: u64, root: u64, is_news: bool) -> u32 {
        let version = Version { path, root, holders: 0, live: 0 };
        let id = match self.free.pop() {
            Some(id) => {
                self.versions[id as usize] = version;
                id
            }
            None => {
                self.versions.push(version);
                u32::try_from(self.versions.len() - 1).expect("far fewer versions than that are kept")
            }
        };
        let place = self.places.entry(path).or_insert_with(|| Place { current: id, all: Vec::with_capacity(1) });
        place.all.push(id);
        if is_news {
            place.current = id;
        }
        self.roots.entry(root).or_insert_with(|| Vec::with_capacity(1)).push(id);
        id
    }

    /// A node does not have a version any more.
    fn drop_copy(&mut self, slot: usize, id: u32) {
        let holder = self.holder(slot);
        if let Some((doubted, _)) = &mut holder.doubted {
            doubted.set(id as usize, false);
        }
        if !holder.held.set(id as usize, false) {
            return;
        }
        let is_live = holder.standing == Standing::Live;
        let version = &mut self.versions[id as usize];
        version.holders -= 1;
        version.live -= u32::from(is_live);
        if version.holders == 0 {
            self.unmake(id);
        }
    }

    fn unmake(&mut self, id: u32) {
        let Version { path, root, .. } = self.versions[id as usize];
        if let Some(ids) = self.roots.get_mut(&root) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.roots.remove(&root);
            }
        }
        if let Some(place) = self.places.get_mut(&path) {
            place.all.retain(|other| *other != id);
            let weight = |id: &u32| (self.versions[*id as usize].live, self.versions[*id as usize].holders);
            match place.all.iter().max_by_key(|id| weight(id)) {
                None => _ = self.places.remove(&path),
                Some(most) if place.current == id => place.current = *most,
                Some(_) => {}
            }
        }
        self.free.push(id);
    }

    /// A node that lives has nothing at a path any more. If no other has either, the file was deleted, and what nodes that are
    /// down had there is of no interest.
    fn bury(&mut self, path: u64, now: Option<u64>) {
        if now.is_some() || self.at(path).any(|(_, live)| live > 0) {
            return;
        }
        for id in self.places.get(&path).map_or_else(Vec::new, |place| place.all.clone()) {
            (0..self.nodes.len()).for_each(|slot| self.drop_copy(slot, id));
        }
    }

    /// Keeps every other path only.
    fn thin_out(&mut self) {
        self.kept += 1;
        let kept = u32::from(self.kept);
        let gone: Vec<u32> = self
            .places
            .iter()
            .filter(|(path, _)| path.trailing_zeros() < kept)
            .flat_map(|(_, place)| place.all.iter().copied())
            .collect();
        for id in gone {
            for slot in 0..self.nodes.len() {
                self.drop_copy(slot, id);
            }
        }
    }

    /// Counts everything anew: what is kept as running numbers must never drift.
    #[cfg(test)]
    pub(crate) fn check(&self) {
        assert_eq!(self.versions.len(), self.free.len() + self.places.values().map(|p| p.all.len()).sum::<usize>());
        assert_eq!(
            self.roots.values().map(Vec::len).sum::<usize>(),
            self.places.values().map(|p| p.all.len()).sum::<usize>()
        );
        for (path, place) in &self.places {
            assert!(place.all.contains(&place.current));
            for id in &place.all {
                let version = &self.versions[*id as usize];
                let has = |holder: &&Holder| holder.held.contains(*id as usize);
                let holders = self.nodes.iter().filter(has);
                assert_eq!(version.holders as usize, holders.clone().count());
                assert_eq!(version.live as usize, holders.filter(|h| h.standing == Standing::Live).count());
                assert!(version.holders > 0 && version.path == *path);
            }
            for slot in 0..self.nodes.len() {
                let held = place.all.iter().filter(|id| self.nodes[slot].held.contains(**id as usize));
                assert!(held.count() <= 1, "one version of a path");
            }
        }
        assert_eq!(self.doubts, self.nodes.iter().filter(|holder| holder.doubted.is_some()).count());
        for holder in &self.nodes {
            let Some((doubted, _)) = &holder.doubted else { continue };
            assert_eq!(doubted.beyond(&holder.held), 0);
        }
    }
}
