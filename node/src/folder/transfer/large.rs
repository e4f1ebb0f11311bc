//! Large contents: several files at once, chunk by chunk, from everybody who has some of them.
//!
//! ```text
//! want ─▶ waiting ─▶ active: Seek ─▶ Holds … ─▶ outline from one of them, proved ─▶ rarest chunks of each, as its window allows
//!                      │  what a former life left is hashed meanwhile, and kept where it is genuine
//!                      ▼
//!        chunk checked ─▶ Order::Write ─▶ Written: counts as held, told to the others ─▶ all: Ready
//! ```
//! Nothing waits for one peer: what takes three times as long as usual is asked of another too (*The Tail at Scale*, Dean & Barroso
//! 2013), within a budget of bytes; what does not come at all is taken back.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use p2pnet_shared::{
    NodeName,
    telemetry::FileProgress,
    wire::folder::{Bytes, ChunkSet, Root, Transfer as Said},
};
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus, seq::SliceRandom};

use super::{
    Around, Rank, Ready,
    file::{Asked, File, Former, Outline},
    news::News,
    patience::{ask_chunk, hedge, take_back},
    tally::Tally,
    window::{Kind, Window},
};
use crate::{
    folder::{
        Done, Order, OrderId, Source,
        chunks::{Geometry, Value, chaining_value, is_proved},
    },
    time::Millis,
};

/// How often a file that does not move asks around again; and how often one that does asks those of whom it knows nothing.
const SEEK_AGAIN: (Millis, Millis) = (Millis(1_000), Millis(5_000));
/// How long an outline is waited for.
const OUTLINE_PATIENCE: Millis = Millis(1_000);
/// How long a file that the disk would not take rests.
const DISK_RESTS: Millis = Millis(2_000);
/// A file that does not move for so long makes room for one that waits.
const STUCK: Millis = Millis(5_000);

/// A wanted file.
#[derive(Debug)]
struct Wanted {
    rank: Rank,
    geometry: Geometry,
    tellers: Vec<NodeName>,
}

/// What the disk does for us.
#[derive(Debug)]
enum Doing {
    Resume(Root),
    Write { root: Root, chunk: u32, bytes: u64 },
    Discard,
}

/// All large contents that are wanted.
#[derive(Debug)]
pub(super) struct Large {
    wanted: BTreeMap<Root, Wanted>,
    waiting: BTreeMap<Rank, Root>,
    active: BTreeMap<Rank, (Root, File)>,
    /// All here and handed out, not under their names yet.
    finished: BTreeMap<Root, File>,
    orders: BTreeMap<OrderId, Doing>,
    ready: Vec<Ready>,
    rng: Xoshiro256PlusPlus,
    last: u64,
}

impl Large {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            wanted: BTreeMap::new(),
            waiting: BTreeMap::new(),
            active: BTreeMap::new(),
            finished: BTreeMap::new(),
            orders: BTreeMap::new(),
            ready: Vec::new(),
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            last: 0,
        }
    }

    /// Wants contents of several chunks. Wanted already, it learns of one more who may have them.
    pub(super) fn want(&mut self, root: Root, geometry: Geometry, from: Option<NodeName>, urgent: bool) {
        self.last += 1;
        let rank = (!urgent, self.last);
        let one = self.wanted.entry(root).or_insert_with(|| {
            self.waiting.insert(rank, root);
            Wanted { rank, geometry, tellers: Vec::new() }
        });
        one.tellers.extend(from.filter(|from| one.tellers.len() < 4 && !one.tellers.contains(from)));
        if urgent && one.rank.0 {
            let old = std::mem::replace(&mut one.rank, rank);
            if self.waiting.remove(&old).is_some() {
                self.waiting.insert(rank, root);
            } else if let Some(active) = self.active.remove(&old) {
                self.active.insert(rank, active);
            }
        }
    }

    /// Wants it no longer: it is forgotten here and on disk. Whether it was wanted.
    pub(super) fn unwant(&mut self, around: &mut Around<'_>, window: &mut Window, root: &Root) -> bool {
        let is_wanted = self.forget(around, window, root).is_some();
        if is_wanted {
            self.discard(around, root);
        }
        is_wanted
    }

    /// It is under its name. The outline, for those who ask for it.
    pub(super) fn landed(&mut self, around: &mut Around<'_>, window: &mut Window, root: &Root) -> Option<Arc<[Value]>> {
        let is_placed = self.finished.contains_key(root);
        let outline = self.forget(around, window, root)?;
        if !is_placed {
            // It came to be here in another way, and what there is of the unfinished file is of no use.
            self.discard(around, root);
        }
        outline
    }

    fn discard(&mut self, around: &mut Around<'_>, root: &Root) {
        let order = around.ask(Order::Discard { root: *root });
        self.orders.insert(order, Doing::Discard);
    }

    /// Takes it out of everything; whether it was wanted, and its outline.
    fn forget(&mut self, around: &mut Around<'_>, window: &mut Window, root: &Root) -> Option<Option<Arc<[Value]>>> {
        let wanted = self.wanted.remove(root)?;
        self.waiting.remove(&wanted.rank);
        self.ready.retain(|ready| ready.root != *root);
        let active = self.active.remove(&wanted.rank).map(|(_, file)| file);
        if let Some(file) = &active {
            close(around, window, root, file);
        }
        let file = active.or_else(|| self.finished.remove(root));
        Some(file.and_then(|file| file.values().cloned()))
    }

    /// It was handed out and could not be put under its name: what there is of it is looked at again.
    pub(super) fn again(&mut self, root: &Root) -> bool {
        let (Some(_), Some(wanted)) = (self.finished.remove(root), self.wanted.get(root)) else { return false };
        self.ready.retain(|ready| ready.root != *root);
        self.waiting.insert(wanted.rank, *root);
        true
    }

    fn file(&self, root: &Root) -> Option<&File> {
        let active = self.wanted.get(root).and_then(|wanted| self.active.get(&wanted.rank));
        active.map(|(_, file)| file).or_else(|| self.finished.get(root))
    }

    fn active(&mut self, root: &Root) -> Option<&mut File> {
        let rank = self.wanted.get(root)?.rank;
        self.active.get_mut(&rank).map(|(_, file)| file)
    }

    /// How the file is cut, if this chunk of it is on disk in its unfinished file.
    pub(super) fn part(&self, root: &Root, chunk: u32) -> Option<Geometry> {
        self.file(root).filter(|file| file.has(chunk)).map(|file| file.geometry)
    }

    /// Its outline, if it is on its way here and known.
    pub(super) fn outline(&self, root: &Root) -> Option<&Arc<[Value]>> {
        self.file(root)?.values()
    }

    /// What there is of it.
    pub(super) fn held(&self, root: &Root) -> Option<ChunkSet> {
        if let Some(file) = self.file(root) {
            return Some(file.held());
        }
        let wanted = self.wanted.get(root)?;
        Some(ChunkSet::Some(vec![0; wanted.geometry.chunks().div_ceil(8) as usize]))
    }

    /// Takes up what waits, as long as there is room.
    pub(super) fn activate(&mut self, around: &mut Around<'_>) {
        while self.active.len() < around.config.parts_max {
            let Some((rank, root)) = self.waiting.pop_first() else { return };
            let Some(wanted) = self.wanted.get(&root) else { continue };
            let order = around.ask(Order::Resume { root, chunk_bytes: wanted.geometry.chunk_bytes() });
            self.orders.insert(order, Doing::Resume(root));
            let mut file = File::new(around.now, wanted.geometry);
            seek(around, &root, &mut file, &wanted.tellers, SEEK_AGAIN.0, |_, _| true);
            self.active.insert(rank, (root, file));
        }
    }

    /// Somebody tells what it has.
    pub(super) fn on_holds(
        &mut self,
        around: &mut Around<'_>,
        window: &mut Window,
        from: &NodeName,
        root: &Root,
        chunks: &ChunkSet,
    ) {
        // Only of those who were asked: nobody fills the list of holders uninvited.
        let Some(file) = self.active(root).filter(|file| file.sought.contains_key(from)) else { return };
        if file.on_holds(from, chunks) {
            self.ask_outline(around, window, root);
            self.pump(around, window, from);
        } else if *chunks == ChunkSet::None {
            self.release(window, from, Some(root));
            self.pump_all(around, window);
        }
    }

    /// Somebody would rather give us these.
    pub(super) fn on_suggest(
        &mut self,
        around: &mut Around<'_>,
        window: &mut Window,
        from: &NodeName,
        root: &Root,
        chunks: &[u32],
    ) {
        if let Some(file) = self.active(root) {
            file.on_suggest(from, chunks);
            self.pump(around, window, from);
        }
    }

    /// Asks somebody who knows it for the outline, if it is unknown and nobody is asked.
    fn ask_outline(&mut self, around: &mut Around<'_>, window: &Window, root: &Root) {
        self.last += 1;
        let next = usize::try_from(self.last).unwrap_or(0);
        let Some(file) = self.active(root).filter(|file| matches!(file.outline, Outline::Unknown(None))) else {
            return;
        };
        let Some(of) = file.knows_outline(|name| window.is_usable(around.now, name), next).cloned() else { return };
        around.send(&of, Said::AskOutline { root: *root });
        file.outline = Outline::Unknown(Some(Asked { of, at: around.now }));
    }

    /// An outline came.
    pub(super) fn on_outline(
        &mut self,
        around: &mut Around<'_>,
        window: &mut Window,
        tally: &mut Tally,
        from: &NodeName,
        root: &Root,
        values: Vec<Value>,
    ) {
        let Some(file) = self.active(root) else { return };
        let Outline::Unknown(asked) = &file.outline else { return };
        let was_asked = asked.as_ref().is_some_and(|asked| asked.of == *from);
        if values.len() == file.geometry.chunks() as usize && is_proved(root, &values) {
            file.outline = Outline::Known(values.into());
            file.settle();
            self.finish(around, window, root);
            self.pump_all(around, window);
        } else if was_asked {
            file.outline = Outline::Unknown(None);
            tally.bad(from, values.len() as u64 * 32);
            self.on_liar(around, window, from);
            self.ask_outline(around, window, root);
        }
    }

    fn on_liar(&mut self, around: &mut Around<'_>, window: &mut Window, liar: &NodeName) {
        window.lied(around.now, liar);
        self.release(window, liar, None);
        for (_, file) in self.active.values_mut() {
            file.drop_holder(liar);
        }
        self.pump_all(around, window);
    }

    /// A chunk came.
    #[expect(clippy::too_many_arguments, reason = "a packet's fields")]
    pub(super) fn on_chunk(
        &mut self,
        around: &mut Around<'_>,
        window: &mut Window,
        tally: &mut Tally,
        from: &NodeName,
        root: &Root,
        chunk: u32,
        bytes: Bytes,
    ) {
        let length = bytes.len() as u64;
        tally.received += length;
        let Some(file) = self.active(root) else {
            tally.wasted += length;
            return;
        };
        if let Some(asked) = file.unask(chunk, from) {
            window.gave(around.now, from, asked.at, length);
            window.over(from, Kind::Large, u64::from(file.geometry.length(chunk)));
        }
        let Some(values) = file.values().cloned().filter(|_| file.is_of_use(chunk)) else {
            tally.wasted += length;
            return self.pump(around, window, from);
        };
        let offset = file.geometry.offset(chunk);
        let is_genuine = length == u64::from(file.geometry.length(chunk))
            && values.get(chunk as usize).is_some_and(|value| *value == chaining_value(offset, &bytes));
        if !is_genuine {
            tally.bad(from, length);
            return self.on_liar(around, window, from);
        }
        for other in file.on_chunk(around.now, chunk, from) {
            around.send(&other.of, Said::Cancel { root: *root, chunk });
            window.over(&other.of, Kind::Large, length);
        }
        let order = around.ask(Order::Write { root: *root, size: file.geometry.size(), offset, bytes });
        window.writes(length, true);
        self.orders.insert(order, Doing::Write { root: *root, chunk, bytes: length });
        self.pump(around, window, from);
    }

    /// A chunk will not come: not now, or not from there.
    pub(super) fn on_no_chunk(
        &mut self,
        around: &mut Around<'_>,
        window: &mut Window,
        from: &NodeName,
        root: &Root,
        chunk: u32,
        again_ms: Option<u32>,
    ) {
        let Some(file) = self.active(root) else { return };
        if file.unask(chunk, from).is_none() {
            return;
        }
        window.over(from, Kind::Large, u64::from(file.geometry.length(chunk)));
        match again_ms {
            Some(again) => window.busy(around.now, from, Millis(u64::from(again))),
            None => file.drop_chunk(from, chunk),
        }
        self.pump_all(around, window);
    }

    /// What became of one of our orders; whether it was one.
    pub(super) fn done(
        &mut self,
        around: &mut Around<'_>,
        window: &mut Window,
        news: &mut News,
        order: OrderId,
        done: &Done,
    ) -> bool {
        let Some(doing) = self.orders.remove(&order) else { return false };
        match doing {
            Doing::Discard => {}
            Doing::Resume(root) => {
                let found = if let Done::Outlined(Ok(values)) = done { values.clone() } else { Vec::new() };
                if let Some(file) = self.active(&root) {
                    file.former = Former::Found(found);
                    file.settle();
                    news.changed(around.now, root);
                    self.finish(around, window, &root);
                }
            }
            Doing::Write { root, chunk, bytes } => {
                window.writes(bytes, false);
                let is_written = matches!(done, Done::Written(Ok(())));
                if let Some(file) = self.active(&root) {
                    file.written(chunk, is_written);
                    if is_written {
                        news.changed(around.now, root);
                        self.finish(around, window, &root);
                    } else {
                        file.rests_until = around.now + DISK_RESTS;
                    }
                }
            }
        }
        self.pump_all(around, window);
        true
    }

    /// Hands a file out if all of it is here.
    fn finish(&mut self, around: &mut Around<'_>, window: &mut Window, root: &Root) {
        if self.active(root).is_some_and(|file| file.is_here()) {
            let Some(wanted) = self.wanted.get(root) else { return };
            let Some((_, file)) = self.active.remove(&wanted.rank) else { return };
            close(around, window, root, &file);
            self.finished.insert(*root, file);
            self.ready.push(Ready { root: *root, source: Source::Part(*root) });
            self.activate(around);
        }
    }

    /// Takes back what was asked of a peer: of one file, or of all.
    fn release(&mut self, window: &mut Window, peer: &NodeName, only: Option<&Root>) {
        for (_, file) in self.active.values_mut().filter(|(root, _)| only.is_none_or(|only| only == root)) {
            for chunk in file.asked_of(peer) {
                file.unask(chunk, peer);
                window.over(peer, Kind::Large, u64::from(file.geometry.length(chunk)));
            }
        }
    }

    /// A peer cannot be reached: what was asked of it is asked of others, and what it had is not counted on.
    pub(super) fn unreachable(&mut self, around: &mut Around<'_>, window: &mut Window, peer: &NodeName) {
        self.release(window, peer, None);
        for (_, file) in self.active.values_mut() {
            file.drop_holder(peer);
            file.sought.remove(peer);
            if matches!(&file.outline, Outline::Unknown(Some(asked)) if asked.of == *peer) {
                file.outline = Outline::Unknown(None);
            }
        }
        self.pump_all(around, window);
    }

    /// Asks a peer for as much as its window allows, of the first files first.
    fn pump(&mut self, around: &mut Around<'_>, window: &mut Window, of: &NodeName) {
        for (root, file) in self.active.values_mut() {
            if !file.is_open(around.now) || !file.needs_any() {
                continue;
            }
            let most = u64::from(file.geometry.chunk_bytes());
            loop {
                if !window.has_room(around.now, around.config, of, Kind::Large, most) {
                    return;
                }
                let Some(chunk) = file.pick(of, &mut self.rng) else { break };
                ask_chunk(around, window, root, file, chunk, of);
            }
        }
    }

    /// Asks everybody, those of whom the least is asked first.
    pub(super) fn pump_all(&mut self, around: &mut Around<'_>, window: &mut Window) {
        let now = around.now;
        let open = || self.active.values().map(|(_, file)| file).filter(|file| file.is_open(now) && file.needs_any());
        let names: BTreeSet<&NodeName> = open().flat_map(|file| file.holders.keys()).collect();
        let mut names: Vec<NodeName> = names.into_iter().filter(|name| window.is_usable(now, name)).cloned().collect();
        window.large_waits = !names.is_empty();
        names.shuffle(&mut self.rng);
        names.sort_by_key(|name| window.requests(name));
        names.iter().for_each(|name| self.pump(around, window, name));
    }

    /// Looks after everything that did not come, asks around again, and makes room for those that wait.
    pub(super) fn sweep(&mut self, around: &mut Around<'_>, window: &mut Window, tally: &mut Tally) {
        let ranks: Vec<Rank> = self.active.keys().copied().collect();
        for rank in ranks {
            let Some((root, file)) = self.active.get_mut(&rank) else { continue };
            let root = *root;
            if let Outline::Unknown(Some(asked)) = &file.outline
                && around.now - asked.at > OUTLINE_PATIENCE
            {
                window.missed(around.now, &asked.of, asked.at);
                file.outline = Outline::Unknown(None);
            }
            take_back(around, window, file);
            hedge(around, window, tally, &root, file);
            let tellers = self.wanted.get(&root).map_or(&[][..], |wanted| &wanted.tellers);
            if file.asked.is_empty() && around.now - file.moved >= SEEK_AGAIN.0 {
                seek(around, &root, file, tellers, SEEK_AGAIN.0, |_, _| true);
            } else {
                let unknown = |file: &File, name: &NodeName| !file.holders.contains_key(name) || window.is_silent(name);
                seek(around, &root, file, tellers, SEEK_AGAIN.1, unknown);
            }
            let is_stuck = around.now - file.moved > STUCK && file.asked.is_empty() && !self.waiting.is_empty();
            self.ask_outline(around, window, &root);
            if is_stuck {
                self.put_back(around, window, rank);
            }
        }
        self.activate(around);
        self.pump_all(around, window);
    }

    /// A file that does not move goes to the end of those that wait; what there is of it stays on disk.
    fn put_back(&mut self, around: &mut Around<'_>, window: &mut Window, rank: Rank) {
        let Some((root, file)) = self.active.remove(&rank) else { return };
        close(around, window, &root, &file);
        self.last += 1;
        if let Some(wanted) = self.wanted.get_mut(&root) {
            wanted.rank = (rank.0, self.last);
            self.waiting.insert(wanted.rank, root);
        }
    }

    /// Whether chunks are asked for or being written.
    pub(super) fn is_busy(&self) -> bool {
        !self.orders.is_empty() || self.active.values().any(|(_, file)| !file.asked.is_empty())
    }

    /// Contents that are wanted and not under their names.
    pub(super) fn len(&self) -> usize {
        self.wanted.len()
    }

    /// Whether something is to be looked after now and then.
    pub(super) fn is_active(&self) -> bool {
        !self.active.is_empty() || !self.waiting.is_empty()
    }

    /// Files on their way, at most `most`.
    pub(super) fn progress(&self, most: usize) -> Vec<FileProgress> {
        self.active.values().take(most).map(|(root, file)| file.progress(root)).collect()
    }

    /// What has come since this was last asked.
    pub(super) fn take_ready(&mut self) -> Vec<Ready> {
        std::mem::take(&mut self.ready)
    }
}

/// Asks those neighbours and tellers what they have that `may` be asked, unless they were asked within `again`.
fn seek(
    around: &mut Around<'_>,
    root: &Root,
    file: &mut File,
    tellers: &[NodeName],
    again: Millis,
    may: impl Fn(&File, &NodeName) -> bool,
) {
    let neighbours = around.neighbours;
    for name in neighbours.iter().chain(tellers) {
        if file.sought.get(name).is_none_or(|at| around.now - *at >= again) && may(file, name) {
            around.send(name, Said::Seek { root: *root });
            file.sought.insert(name.clone(), around.now);
        }
    }
}

/// No more news of it is needed, and nothing that was asked for.
fn close(around: &mut Around<'_>, window: &mut Window, root: &Root, file: &File) {
    for (chunk, asked) in &file.asked {
        for one in asked {
            around.send(&one.of, Said::Cancel { root: *root, chunk: *chunk });
            window.over(&one.of, Kind::Large, u64::from(file.geometry.length(*chunk)));
        }
    }
    file.sought.keys().for_each(|name| around.send(name, Said::Enough { root: *root }));
}

#[cfg(test)]
impl Large {
    pub(super) fn sizes(&self) -> Vec<(&'static str, usize, usize)> {
        let holders = self.active.values().map(|(_, file)| file.holders.len()).max().unwrap_or(0);
        vec![("large contents wanted", self.wanted.len(), 1), ("holders", holders, super::file::HOLDERS_MAX)]
    }
}
