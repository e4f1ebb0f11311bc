//! Giving others what they ask for.
//!
//! ```text
//! AskOutline, Fetch, AskChunk ─▶ a line per peer and class ─▶ shares, then peers in turn ─▶ egress ─▶ Order::Read ─▶ Send
//! ```
//! A line holds [`JOBS_MAX`] requests and [`LINE_BYTES`] of chunks; what is beyond it is refused at once with a time to come back,
//! never put off in silence. What is read and not yet sent stays below [`READING_BYTES`].

use std::collections::{BTreeMap, VecDeque};

use p2pnet_shared::{
    NodeName,
    wire::folder::{BUNDLE_MAX_BYTES, BUNDLE_ROOTS_MAX, Bytes, Root, Transfer as Said},
};

use super::{
    Around,
    egress::{Bucket, CLASSES, Class, Shares},
    large::Large,
    news::News,
    outlines::Outlines,
    small::Small,
    tally::Tally,
};
use crate::{
    folder::{
        Config, Done, Order, OrderId, Source,
        chunks::{Geometry, WHOLE_MAX_BYTES},
    },
    time::Millis,
};

/// Requests of one peer and class that wait at most.
const JOBS_MAX: usize = 128;
/// Bytes of chunks that wait for one peer at most.
const LINE_BYTES: u64 = 2 * 1024 * 1024;
/// Bytes being read at most, unless a single request is larger.
const READING_BYTES: u64 = 4 * 1024 * 1024;
/// Bundles being read at most: each is many small reads.
const BUNDLES_MAX: usize = 4;
/// Peers that are served at once at most.
const PEERS_MAX: usize = 256;
/// When to come back if there is too much to do.
const AGAIN_MS: u32 = 200;

/// What somebody asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Job {
    Outline { root: Root },
    Bundle { call: u64, roots: Vec<Root> },
    Chunk { root: Root, chunk: u32 },
}

/// What waits for one peer.
#[derive(Debug, Default)]
struct Line {
    jobs: [VecDeque<Job>; 3],
    chunk_bytes: u64,
}

/// What the disk reads for whom.
#[derive(Debug)]
enum Reading {
    Chunk { to: NodeName, root: Root, chunk: u32, length: u64 },
    Part { bundle: u64, root: Root, length: u64 },
    Outline { root: Root, chunks: u32 },
}

/// A bundle being read.
#[derive(Debug)]
struct Bundle {
    to: NodeName,
    call: u64,
    open: usize,
    files: Vec<(Root, Bytes)>,
    lacking: Vec<Root>,
    later: Vec<Root>,
}

/// All that is asked of us.
#[derive(Debug)]
pub(super) struct Serve {
    lines: BTreeMap<NodeName, Line>,
    /// Peers with something in line, by class, whose turn it is first.
    turns: [VecDeque<NodeName>; 3],
    shares: Shares,
    bucket: Bucket,
    reading: BTreeMap<OrderId, Reading>,
    reading_bytes: u64,
    bundles: BTreeMap<u64, Bundle>,
    outlines: Outlines,
    last: u64,
}

impl Serve {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            lines: BTreeMap::new(),
            turns: Default::default(),
            shares: Shares::default(),
            bucket: Bucket::new(config.egress),
            reading: BTreeMap::new(),
            reading_bytes: 0,
            bundles: BTreeMap::new(),
            outlines: Outlines::default(),
            last: 0,
        }
    }

    /// Outlines that are remembered.
    pub(super) fn outlines(&mut self) -> &mut Outlines {
        &mut self.outlines
    }

    /// Puts a request in line; whether there was room.
    fn line_up(&mut self, from: &NodeName, class: Class, job: Job, bytes: u64) -> bool {
        if self.lines.len() >= PEERS_MAX && !self.lines.contains_key(from) {
            return false;
        }
        let waiting: u64 = self.lines.values().map(|line| line.chunk_bytes).sum();
        let line = self.lines.entry(from.clone()).or_default();
        let jobs = &mut line.jobs[class as usize];
        if jobs.contains(&job) {
            return true;
        }
        // Whoever has something in line already waits elsewhere once a second's worth of sending is in all lines.
        let is_long = self.bucket.rate().is_some_and(|rate| waiting + bytes > rate) && jobs.len() >= 2;
        if jobs.len() >= JOBS_MAX || (line.chunk_bytes > 0 && line.chunk_bytes + bytes > LINE_BYTES) || is_long {
            return false;
        }
        if jobs.is_empty() {
            self.turns[class as usize].push_back(from.clone());
        }
        jobs.push_back(job);
        line.chunk_bytes += bytes;
        true
    }

    /// Somebody asks for an outline. Without an answer it asks somebody else.
    pub(super) fn on_ask_outline(&mut self, from: &NodeName, root: Root) {
        self.line_up(from, Class::Meta, Job::Outline { root }, 0);
    }

    /// Somebody asks for small contents.
    pub(super) fn on_fetch(&mut self, around: &mut Around<'_>, from: &NodeName, call: u64, roots: Vec<Root>) {
        if roots.len() <= BUNDLE_ROOTS_MAX && !self.line_up(from, Class::Small, Job::Bundle { call, roots }, 0) {
            around.send(from, Said::Bundle { call, files: Vec::new(), lacking: Vec::new(), later: Vec::new() });
        }
    }

    /// Somebody asks for a chunk. How the file is cut, if it will be given.
    pub(super) fn on_ask_chunk(
        &mut self,
        around: &mut Around<'_>,
        large: &Large,
        from: &NodeName,
        root: Root,
        chunk: u32,
    ) -> Option<Geometry> {
        let Some((_, geometry)) = chunk_source(around, large, &root, chunk) else {
            around.send(from, Said::NoChunk { root, chunk, again_ms: None });
            return None;
        };
        if self.line_up(from, Class::Large, Job::Chunk { root, chunk }, u64::from(geometry.length(chunk))) {
            return Some(geometry);
        }
        around.send(from, Said::NoChunk { root, chunk, again_ms: Some(AGAIN_MS) });
        None
    }

    /// It came from elsewhere.
    pub(super) fn on_cancel(&mut self, around: &Around<'_>, large: &Large, from: &NodeName, root: Root, chunk: u32) {
        let Some(line) = self.lines.get_mut(from) else { return };
        let jobs = &mut line.jobs[Class::Large as usize];
        let Some(at) = jobs.iter().position(|job| *job == Job::Chunk { root, chunk }) else { return };
        jobs.remove(at);
        let length = chunk_source(around, large, &root, chunk).map_or(0, |(_, geometry)| geometry.length(chunk));
        line.chunk_bytes = if line.is_empty() { 0 } else { line.chunk_bytes.saturating_sub(u64::from(length)) };
        self.tidy(from);
    }

    /// A peer cannot be reached: what it asked for is forgotten.
    pub(super) fn unreachable(&mut self, peer: &NodeName) {
        self.lines.remove(peer);
        self.turns.iter_mut().for_each(|turns| turns.retain(|name| name != peer));
    }

    /// Takes a peer without requests out of the turns, and forgets its line if it is empty.
    fn tidy(&mut self, peer: &NodeName) {
        let Some(line) = self.lines.get(peer) else { return };
        for class in CLASSES {
            if line.jobs[class as usize].is_empty() {
                self.turns[class as usize].retain(|name| name != peer);
            }
        }
        if line.is_empty() {
            self.lines.remove(peer);
        }
    }

    /// Takes up as much as may be sent now.
    pub(super) fn pump(
        &mut self,
        around: &mut Around<'_>,
        large: &Large,
        small: &Small,
        news: &mut News,
        tally: &mut Tally,
    ) {
        while self.reading_bytes < READING_BYTES && self.bucket.is_open(around.now) {
            let can_bundle = self.bundles.len() < BUNDLES_MAX;
            let turns = &self.turns;
            let has_work = |class| !turns[class as usize].is_empty() && (class != Class::Small || can_bundle);
            let Some(class) = self.shares.next(has_work) else { return };
            let Some(peer) = self.turns[class as usize].pop_front() else { return };
            let Some(line) = self.lines.get_mut(&peer) else { continue };
            let jobs = &mut line.jobs[class as usize];
            let Some(job) = jobs.pop_front() else { continue };
            if !jobs.is_empty() {
                self.turns[class as usize].push_back(peer.clone());
            }
            let bytes = match job {
                Job::Outline { root } => self.give_outline(around, large, &peer, root, tally),
                Job::Bundle { call, roots } => self.read_bundle(around, small, news, &peer, call, roots),
                Job::Chunk { root, chunk } => self.read_chunk(around, large, &peer, root, chunk),
            };
            self.shares.sent(class, bytes);
            self.bucket.pay(bytes);
            self.tidy(&peer);
        }
    }

    fn read_chunk(&mut self, around: &mut Around<'_>, large: &Large, to: &NodeName, root: Root, chunk: u32) -> u64 {
        let found = chunk_source(around, large, &root, chunk);
        let length = found.as_ref().map_or(0, |(_, geometry)| geometry.length(chunk));
        if let Some(line) = self.lines.get_mut(to) {
            line.chunk_bytes = if line.jobs[Class::Large as usize].is_empty() {
                0
            } else {
                line.chunk_bytes.saturating_sub(u64::from(length))
            };
        }
        let Some((source, geometry)) = found else {
            around.send(to, Said::NoChunk { root, chunk, again_ms: None });
            return 0;
        };
        let order = around.ask(Order::Read { source, offset: geometry.offset(chunk), length });
        let length = u64::from(length);
        self.reading.insert(order, Reading::Chunk { to: to.clone(), root, chunk, length });
        self.reading_bytes += length;
        length
    }

    fn read_bundle(
        &mut self,
        around: &mut Around<'_>,
        small: &Small,
        news: &mut News,
        to: &NodeName,
        call: u64,
        roots: Vec<Root>,
    ) -> u64 {
        self.last += 1;
        let number = self.last;
        let mut bundle =
            Bundle { to: to.clone(), call, open: 0, files: Vec::new(), lacking: Vec::new(), later: Vec::new() };
        let mut total = 0;
        for root in roots {
            let whole = (around.locate)(&root).and_then(|source| Some((size_of(&source)?, source)));
            match whole {
                Some((size, source)) if size <= WHOLE_MAX_BYTES => {
                    if total > 0 && total + size > BUNDLE_MAX_BYTES as u64 {
                        continue;
                    }
                    total += size;
                    let length = u32::try_from(size).unwrap_or(0);
                    let order = around.ask(Order::Read { source, offset: 0, length });
                    self.reading.insert(order, Reading::Part { bundle: number, root, length: size });
                    bundle.open += 1;
                }
                Some(_) => bundle.lacking.push(root),
                None if small.wants(&root) => {
                    news.wait(to, root);
                    bundle.later.push(root);
                }
                None => bundle.lacking.push(root),
            }
        }
        self.reading_bytes += total;
        if bundle.open == 0 {
            bundle.send(around);
        } else {
            self.bundles.insert(number, bundle);
        }
        total
    }

    fn give_outline(
        &mut self,
        around: &mut Around<'_>,
        large: &Large,
        to: &NodeName,
        root: Root,
        tally: &mut Tally,
    ) -> u64 {
        if let Some(values) = large.outline(&root).or_else(|| self.outlines.get(&root)) {
            let values = values.to_vec();
            let bytes = values.len() as u64 * 32;
            tally.sent += bytes;
            around.send(to, Said::Outline { root, values });
            return bytes;
        }
        let Some(source) = (around.locate)(&root) else { return 0 };
        let Some(geometry) = size_of(&source).and_then(Geometry::of) else { return 0 };
        if self.outlines.wait(&root, to) {
            let order = around.ask(Order::Outline { source, chunk_bytes: geometry.chunk_bytes() });
            self.reading.insert(order, Reading::Outline { root, chunks: geometry.chunks() });
        }
        0
    }

    /// What became of one of our orders; whether it was one.
    pub(super) fn done(&mut self, around: &mut Around<'_>, tally: &mut Tally, order: OrderId, done: Done) -> bool {
        let Some(reading) = self.reading.remove(&order) else { return false };
        match reading {
            Reading::Chunk { to, root, chunk, length } => {
                self.reading_bytes -= length;
                match done {
                    Done::Read(Ok(bytes)) if bytes.len() as u64 == length => {
                        tally.sent += length;
                        around.send(&to, Said::Chunk { root, chunk, bytes });
                    }
                    _ => {
                        // Perhaps it is just being put under its name.
                        self.bucket.refund(length);
                        around.send(&to, Said::NoChunk { root, chunk, again_ms: Some(AGAIN_MS) });
                    }
                }
            }
            Reading::Part { bundle: number, root, length } => {
                self.reading_bytes -= length;
                let Some(bundle) = self.bundles.get_mut(&number) else { return true };
                match done {
                    Done::Read(Ok(bytes)) if bytes.len() as u64 == length => bundle.files.push((root, bytes)),
                    _ => {
                        self.bucket.refund(length);
                        bundle.lacking.push(root);
                    }
                }
                bundle.open -= 1;
                if bundle.open == 0
                    && let Some(bundle) = self.bundles.remove(&number)
                {
                    tally.sent += bundle.files.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>();
                    bundle.send(around);
                }
            }
            Reading::Outline { root, chunks } => {
                let values = if let Done::Outlined(Ok(values)) = done { values } else { Vec::new() };
                let waiting = self.outlines.came(root, (values.len() == chunks as usize).then(|| values.into()));
                for peer in waiting {
                    self.on_ask_outline(&peer, root);
                }
            }
        }
        true
    }

    /// When more may be sent.
    pub(super) fn due(&self) -> Option<Millis> {
        let waits = self.turns.iter().any(|turns| !turns.is_empty()) && self.reading_bytes < READING_BYTES;
        waits.then(|| self.bucket.opens())
    }
}

impl Line {
    fn is_empty(&self) -> bool {
        self.jobs.iter().all(VecDeque::is_empty)
    }
}

impl Bundle {
    fn send(self, around: &mut Around<'_>) {
        let Self { to, call, files, lacking, later, .. } = self;
        around.send(&to, Said::Bundle { call, files, lacking, later });
    }
}

/// How many bytes there are, if they are in a file under its name.
pub(super) fn size_of(source: &Source) -> Option<u64> {
    if let Source::File { stat, .. } = source { Some(stat.size) } else { None }
}

/// From where a chunk can be read, and how its file is cut.
fn chunk_source(around: &Around<'_>, large: &Large, root: &Root, chunk: u32) -> Option<(Source, Geometry)> {
    let file = (around.locate)(root).and_then(|source| Some((Geometry::of(size_of(&source)?)?, source)));
    match file {
        Some((geometry, source)) => (chunk < geometry.chunks()).then_some((source, geometry)),
        None => large.part(root, chunk).map(|geometry| (Source::Part(*root), geometry)),
    }
}

#[cfg(test)]
impl Serve {
    pub(super) fn sizes(&self) -> Vec<(&'static str, usize, usize)> {
        let jobs = self.lines.values().flat_map(|line| &line.jobs).map(VecDeque::len).max().unwrap_or(0);
        vec![("lines", self.lines.len(), PEERS_MAX), ("requests in line", jobs, JOBS_MAX)]
    }
}
