//! Who has which bytes, what to ask of whom next, and what to give to those who ask.
//!
//! Contents are named by their root, so all of this knows nothing of paths: the folder says which roots it wants, and is handed
//! each of them once it is here and checked. Sources: BitTorrent (Cohen 2003: rarest first, endgame; BEP 6: suggestions),
//! Kraken (Uber: few connections per node, requests bounded per peer), *The Tail at Scale* (Dean & Barroso 2013: hedging).
//!
//! ```text
//!  want ─┬▶ small.rs  ≤ 256 KiB: bundles of whoever told us, then of any neighbour ────────┐
//!        └▶ large.rs  file.rs, pick.rs: chunks, rarest first, of everybody who has some ───┤
//!                          │ window.rs: how much may be asked of whom; patience.rs: when   ▼
//!                          ▼                                                           take_ready
//!  peers ◀──── Seek, AskChunk, Fetch                  checked: Order::Write, or kept in memory
//!  peers ────▶ serve.rs ─▶ shares and egress.rs ─▶ Order::Read ─▶ Chunk, Bundle
//!              ration.rs suggests to each what others were not given; news.rs tells within 25 ms what is here;
//!              outlines.rs keeps what chunks are checked with
//! ```
//! Left out on purpose: any table of who has which files (it is asked when it matters), trust (whatever comes is checked against its
//! root), connections, and what a path should hold.
//!
//! Always holds:
//! - what is handed out, written or served has been checked against its root, and who sent something else is named and rests;
//! - bytes asked for, being written, or handed out in memory stay below [`Config::window_bytes`] for each of the two, a chunk or bundle
//!   more at most; lines of those who ask, peers and files have limits too, so nothing from outside grows what is remembered;
//! - a wanted content that a neighbour has comes: every question is asked again elsewhere when its answer is not there in time,
//!   and everybody is asked again while nobody has it.

mod bits;
mod egress;
mod file;
mod large;
mod news;
mod outlines;
mod patience;
mod pick;
mod ration;
mod serve;
mod small;
mod tally;
#[cfg(test)]
mod tests;
mod window;

use p2pnet_shared::{
    NodeName,
    telemetry::FileProgress,
    wire::folder::{ChunkSet, Message, Root, SUGGESTED_MAX, Transfer as Said},
};
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};

use self::{
    large::Large,
    news::{News, held},
    ration::Ration,
    serve::{Serve, size_of},
    small::Small,
    tally::Tally,
    window::Window,
};
use super::{
    Config, Done, Effect, Order, OrderId, Source,
    chunks::{Geometry, WHOLE_MAX_BYTES},
};
use crate::time::Millis;

/// How often what was asked for is looked after, while something is.
const SWEEP: Millis = Millis(50);
/// The same while nobody has what is wanted.
const SWEEP_IDLE: Millis = Millis(500);
/// Files in [`Figures::progress`] at most.
const PROGRESS_MAX: usize = 16;

/// Urgent contents first (`false`), then in the order they were wanted.
type Rank = (bool, u64);

/// What the transfer of bytes sees of its node, and what it does there.
pub(super) struct Around<'a> {
    pub(super) now: Millis,
    pub(super) config: &'a Config,
    /// Who is asked.
    pub(super) neighbours: &'a [NodeName],
    /// A file under its name with these contents, if this node has one: always a [`Source::File`].
    pub(super) locate: &'a dyn Fn(&Root) -> Option<Source>,
    /// Pushes the order with a number of its own, and routes what becomes of it to [`Transfer::done`].
    pub(super) order: &'a mut dyn FnMut(Order, &mut Vec<Effect>) -> OrderId,
    pub(super) effects: &'a mut Vec<Effect>,
}

impl Around<'_> {
    fn send(&mut self, to: &NodeName, said: Said) {
        self.effects.push(Effect::Send { to: to.clone(), message: Message::Transfer(said) });
    }

    fn ask(&mut self, what: Order) -> OrderId {
        (self.order)(what, self.effects)
    }
}

/// Contents that are here and checked, to be put under their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ready {
    /// Which.
    pub(super) root: Root,
    /// Where they are: [`Source::Part`] or [`Source::Memory`].
    pub(super) source: Source,
}

/// What is shown. All but the progress is counted since the node started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Figures {
    /// Contents that are wanted and not under their names.
    pub(super) wanted: usize,
    /// Chunks and bundles asked for and not here yet.
    pub(super) in_flight: u32,
    /// Nodes they were asked of.
    pub(super) sources: u32,
    /// Bytes of contents received.
    pub(super) received_bytes: u64,
    /// Bytes of contents sent.
    pub(super) sent_bytes: u64,
    /// Received bytes of no use.
    pub(super) wasted_bytes: u64,
    /// Chunks, small contents and outlines that were wrong.
    pub(super) bad_chunks: u64,
    /// Of whom the last of those came.
    pub(super) liar: Option<NodeName>,
    /// Files of several chunks on their way, at most 16.
    pub(super) progress: Vec<FileProgress>,
}

/// All bytes on their way, to and from this node.
#[derive(Debug)]
pub(super) struct Transfer {
    small: Small,
    large: Large,
    window: Window,
    news: News,
    ration: Ration,
    serve: Serve,
    tally: Tally,
    rng: Xoshiro256PlusPlus,
    swept: Millis,
    /// Something was wanted that has not been looked at yet.
    is_fresh: bool,
}

impl Transfer {
    /// Nothing is wanted. `seed` is all the chance there will ever be.
    pub(super) fn new(config: &Config, seed: u64) -> Self {
        Self {
            small: Small::default(),
            large: Large::new(seed),
            window: Window::default(),
            news: News::default(),
            ration: Ration::default(),
            serve: Serve::new(config),
            tally: Tally::default(),
            rng: Xoshiro256PlusPlus::seed_from_u64(seed ^ 1),
            swept: Millis(0),
            is_fresh: false,
        }
    }

    /// These contents are wanted; `from` has told us of them. Nothing is asked for before [`Transfer::tick`], which is due at once, so
    /// that many can be wanted in a row and asked for together. Wanted already, it learns of one more who may have them. Contents
    /// of nothing need not be wanted.
    pub(super) fn want(&mut self, around: &Around<'_>, root: Root, size: u64, from: Option<NodeName>, urgent: bool) {
        self.is_fresh = true;
        if size <= WHOLE_MAX_BYTES {
            self.small.want(around, &self.window, root, size, from, urgent);
        } else if let Some(geometry) = Geometry::of(size) {
            self.large.want(root, geometry, from, urgent);
        }
    }

    /// They are wanted no longer, nor is what there is of them. Not to be said of what was handed out and is being placed.
    pub(super) fn unwant(&mut self, around: &mut Around<'_>, root: &Root) {
        let was_wanted = self.small.forget(root) | self.large.unwant(around, &mut self.window, root);
        if was_wanted {
            self.news.unwanted(around.now, root);
            self.is_fresh = true;
        }
    }

    /// They are under a name on this disk: whoever seeks them is told. To be said of everything that was handed out and placed (its
    /// memory counts until then), and of what came to be here in any other way.
    pub(super) fn landed(&mut self, around: &mut Around<'_>, root: &Root) {
        self.small.forget(root);
        if let Some(values) = self.large.landed(around, &mut self.window, root) {
            self.serve.outlines().keep(*root, values);
        }
        self.news.landed(around.now, *root);
        self.is_fresh = true;
    }

    /// They were handed out and could not be placed, but are wanted still: they are looked at, or asked for, again.
    pub(super) fn again(&mut self, around: &mut Around<'_>, root: &Root) {
        self.is_fresh |= self.small.again(around, &self.window, root) || self.large.again(root);
    }

    /// Something was said to us.
    pub(super) fn received(&mut self, around: &mut Around<'_>, from: &NodeName, said: Said) {
        // Of a silent one that speaks again, more can be asked.
        self.is_fresh |= self.window.heard(around.now, from);
        let (window, tally) = (&mut self.window, &mut self.tally);
        match said {
            Said::Seek { root } => self.on_seek(around, from, root),
            Said::Enough { root } => {
                self.news.enough(from, &root);
                self.ration.end(&root, from);
            }
            Said::Holds { root, chunks } => self.large.on_holds(around, window, from, &root, &chunks),
            Said::Suggest { root, chunks } => self.large.on_suggest(around, window, from, &root, &chunks),
            Said::Outline { root, values } => self.large.on_outline(around, window, tally, from, &root, values),
            Said::Chunk { root, chunk, bytes } => {
                self.large.on_chunk(around, window, tally, from, &root, chunk, bytes);
            }
            Said::NoChunk { root, chunk, again_ms } => {
                self.large.on_no_chunk(around, window, from, &root, chunk, again_ms);
            }
            Said::Bundle { call, files, lacking, later } => {
                self.small.on_bundle(around, window, tally, from, call, files, (&lacking, &later));
                self.small.pump(around, window);
            }
            Said::Gained { roots } => {
                self.small.on_gained(around, window, from, &roots);
                self.small.pump(around, window);
            }
            Said::AskOutline { root } => self.serve.on_ask_outline(from, root),
            Said::Fetch { call, roots } => self.serve.on_fetch(around, from, call, roots),
            Said::AskChunk { root, chunk } => self.on_ask_chunk(around, from, root, chunk),
            Said::Cancel { root, chunk } => self.serve.on_cancel(around, &self.large, from, root, chunk),
        }
        self.give(around);
    }

    fn on_seek(&mut self, around: &mut Around<'_>, from: &NodeName, root: Root) {
        self.news.seek(from, root);
        let chunks = held(around, &self.large, &root);
        let is_all = chunks == ChunkSet::All;
        around.send(from, Said::Holds { root, chunks });
        let geometry = (around.locate)(&root).as_ref().and_then(size_of).and_then(Geometry::of);
        if let Some(geometry) = geometry.filter(|_| is_all) {
            let chunks = self.ration.begin(root, geometry.chunks(), from, &mut self.rng);
            suggest(around, from, root, chunks);
        }
    }

    fn on_ask_chunk(&mut self, around: &mut Around<'_>, from: &NodeName, root: Root, chunk: u32) {
        if let Some(geometry) = self.serve.on_ask_chunk(around, &self.large, from, root, chunk) {
            let chunks = self.ration.asked(&root, chunk, geometry.chunks(), from, &mut self.rng);
            suggest(around, from, root, chunks);
        }
    }

    /// Other neighbours than before: they are asked too.
    pub(super) fn neighbours_changed(&mut self) {
        self.is_fresh = true;
        self.swept = Millis(0);
    }

    /// A connection to this peer broke or could not be made, or it is gone: what was asked of it is asked of others.
    pub(super) fn unreachable(&mut self, around: &mut Around<'_>, peer: &NodeName) {
        self.window.silent(around.now, peer);
        self.small.unreachable(around, &mut self.window, peer);
        self.large.unreachable(around, &mut self.window, peer);
        self.small.pump(around, &mut self.window);
        self.news.unreachable(peer);
        self.ration.unreachable(peer);
        self.serve.unreachable(peer);
    }

    /// What became of an order of ours.
    pub(super) fn done(&mut self, around: &mut Around<'_>, order: OrderId, done: Done) {
        if !self.large.done(around, &mut self.window, &mut self.news, order, &done) {
            self.serve.done(around, &mut self.tally, order, done);
        }
        self.give(around);
    }

    fn give(&mut self, around: &mut Around<'_>) {
        self.serve.pump(around, &self.large, &self.small, &mut self.news, &mut self.tally);
    }

    /// Does what is due. Called too early it does no harm.
    pub(super) fn tick(&mut self, around: &mut Around<'_>) {
        if std::mem::take(&mut self.is_fresh) {
            self.large.activate(around);
            self.small.pump(around, &mut self.window);
            self.large.pump_all(around, &mut self.window);
        }
        if self.sweep_due().is_some_and(|due| due <= around.now) {
            self.swept = around.now;
            self.small.sweep(around, &mut self.window);
            self.small.pump(around, &mut self.window);
            self.large.sweep(around, &mut self.window, &mut self.tally);
        }
        self.give(around);
        self.news.tell(around, &self.large);
    }

    fn sweep_due(&self) -> Option<Millis> {
        let is_busy = self.small.is_busy() || self.large.is_busy();
        let idle = self.large.is_active().then_some(SWEEP_IDLE);
        let regular = if is_busy { Some(SWEEP) } else { idle }.map(|period| self.swept + period);
        let parked = self.small.due().map(|due| due.max(self.swept + SWEEP));
        regular.into_iter().chain(parked).min()
    }

    /// When [`Transfer::tick`] is due; perhaps already. To be asked after everything else.
    pub(super) fn next_due(&self) -> Option<Millis> {
        let fresh = self.is_fresh.then_some(Millis(0));
        [fresh, self.sweep_due(), self.news.due(), self.serve.due()].into_iter().flatten().min()
    }

    /// What has come since this was last asked.
    pub(super) fn take_ready(&mut self) -> Vec<Ready> {
        let mut ready = self.small.take_ready();
        ready.append(&mut self.large.take_ready());
        ready
    }

    /// What is shown.
    pub(super) fn figures(&self) -> Figures {
        let (in_flight, sources) = self.window.in_flight();
        let tally = &self.tally;
        Figures {
            wanted: self.small.len() + self.large.len(),
            in_flight,
            sources,
            received_bytes: tally.received,
            sent_bytes: tally.sent,
            wasted_bytes: tally.wasted,
            bad_chunks: tally.bad,
            liar: tally.liar.clone(),
            progress: self.large.progress(PROGRESS_MAX),
        }
    }
}

/// Tells a peer which chunks it should rather take from us.
fn suggest(around: &mut Around<'_>, to: &NodeName, root: Root, chunks: Vec<u32>) {
    debug_assert!(chunks.len() <= SUGGESTED_MAX);
    if !chunks.is_empty() {
        around.send(to, Said::Suggest { root, chunks });
    }
}

#[cfg(test)]
impl Transfer {
    /// Everything that what comes from outside can make longer: how long it is, and how long it may be.
    fn sizes(&self) -> Vec<(&'static str, usize, usize)> {
        [self.news.sizes(), self.serve.sizes(), self.window.sizes(), self.small.sizes(), self.large.sizes()].concat()
    }
}
