//! How much may be asked of whom: a window of bytes per peer that grows with what it gives, and rests for those that are silent or
//! lied.

use std::collections::BTreeMap;

use p2pnet_shared::NodeName;

use crate::{folder::Config, time::Millis};

/// What is asked of a peer at most without an answer, bytes, unless a single chunk is larger.
const PEER_MAX_BYTES: u64 = 2 * 1024 * 1024;
/// A window holds what a peer gives in this time.
const WINDOW_MS: u64 = 100;
/// How long goodput is counted before it is taken for a rate.
const COUNTED: Millis = Millis(50);
/// How long a peer that sent something wrong is not asked.
const LIAR_RESTS: Millis = Millis(30_000);
/// How long a silent one is not asked: at first, and at most; it doubles while it stays silent, and ends when it speaks.
const SILENT_RESTS: (Millis, Millis) = (Millis(1_000), Millis(10_000));
/// Peers that are remembered at most. Beyond it, those of whom nothing is asked are forgotten.
const PEERS_MAX: usize = 256;

/// What is known of a peer that gives us bytes.
#[derive(Debug, Default)]
pub(super) struct Peer {
    /// Bytes asked of it and not answered, by kind.
    outstanding: [u64; 2],
    /// Requests not answered: chunks and bundles.
    pub(super) requests: u32,
    /// How long it takes to answer, on average, in sixteenths of a millisecond; `None` before its first answer.
    latency: Option<u64>,
    /// Bytes a second it gives, on average.
    rate: u64,
    counted: (Millis, u64),
    /// When it last said anything.
    heard: Millis,
    silent_until: Millis,
    silent_for: Millis,
    lied_until: Millis,
    /// It said it had too much to do until then.
    busy_until: Millis,
}

impl Peer {
    /// Whether it neither rests for having been silent nor for having lied.
    fn is_usable(&self, now: Millis) -> bool {
        now >= self.silent_until.max(self.lied_until)
    }
}

/// Those who give us bytes, and all that is asked of them.
#[derive(Debug, Default)]
pub(super) struct Window {
    peers: BTreeMap<NodeName, Peer>,
    /// Bytes asked and not answered: in bundles, in chunks.
    small: u64,
    large: u64,
    /// Bytes of chunks on their way to the disk.
    writing: u64,
    /// Whether there is more of either kind to ask for.
    pub(super) small_waits: bool,
    pub(super) large_waits: bool,
}

/// Which kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A bundle of small contents.
    Small,
    /// A chunk.
    Large,
}

impl Window {
    fn peer(&mut self, name: &NodeName) -> &mut Peer {
        if self.peers.len() >= PEERS_MAX && !self.peers.contains_key(name) {
            self.peers.retain(|_, peer| peer.requests > 0);
        }
        self.peers.entry(name.clone()).or_default()
    }

    /// Whether `name` may be asked for `bytes` more. A window that is empty takes anything; both kinds have half of the whole for
    /// themselves and more while the other has nothing to ask for.
    pub(super) fn has_room(&self, now: Millis, config: &Config, name: &NodeName, kind: Kind, bytes: u64) -> bool {
        let fallback = Peer::default();
        let peer = self.peers.get(name).unwrap_or(&fallback);
        let least = if kind == Kind::Large { 2 * bytes } else { 4 * bytes };
        let window = (peer.rate * WINDOW_MS / 1_000).clamp(least, PEER_MAX_BYTES.max(least));
        let open = peer.outstanding[kind as usize];
        let (used, other_waits) = match kind {
            Kind::Small => (self.small, self.large_waits),
            Kind::Large => (self.large + self.writing, self.small_waits),
        };
        let whole = config.window_bytes as u64;
        let share = if other_waits { whole / 2 } else { whole };
        let total = self.small + self.large + self.writing;
        peer.is_usable(now)
            && now >= peer.busy_until
            && (kind == Kind::Small || peer.silent_for == Millis(0))
            && (open == 0 || open + bytes <= window)
            && (used == 0 || (used + bytes <= share && total + bytes <= whole))
    }

    /// Whether it neither rests for having been silent nor for having lied.
    pub(super) fn is_usable(&self, now: Millis, name: &NodeName) -> bool {
        self.peers.get(name).is_none_or(|peer| peer.is_usable(now))
    }

    /// Requests open at this peer.
    pub(super) fn requests(&self, name: &NodeName) -> u32 {
        self.peers.get(name).map_or(0, |peer| peer.requests)
    }

    /// It was asked for so many bytes.
    pub(super) fn asked(&mut self, now: Millis, name: &NodeName, kind: Kind, bytes: u64) {
        let peer = self.peer(name);
        if peer.outstanding == [0; 2] {
            peer.counted = (now, 0);
        }
        peer.outstanding[kind as usize] += bytes;
        peer.requests += 1;
        *self.total(kind) += bytes;
    }

    /// What was asked at `at` is over: answered with bytes, or not to be waited for any longer.
    pub(super) fn over(&mut self, name: &NodeName, kind: Kind, bytes: u64) {
        let peer = self.peer(name);
        peer.outstanding[kind as usize] = peer.outstanding[kind as usize].saturating_sub(bytes);
        peer.requests = peer.requests.saturating_sub(1);
        let total = self.total(kind);
        *total = total.saturating_sub(bytes);
    }

    fn total(&mut self, kind: Kind) -> &mut u64 {
        match kind {
            Kind::Small => &mut self.small,
            Kind::Large => &mut self.large,
        }
    }

    /// It gave `bytes` that it was asked for at `asked_at`.
    pub(super) fn gave(&mut self, now: Millis, name: &NodeName, asked_at: Millis, bytes: u64) {
        let peer = self.peer(name);
        let sample = (now - asked_at).0 * 16;
        peer.latency = Some(peer.latency.map_or(sample, |average| (average * 7 + sample) / 8));
        let (since, counted) = peer.counted;
        peer.counted.1 = counted + bytes;
        let took = now - since;
        if took >= COUNTED {
            let rate = (counted + bytes) * 1_000 / took.0;
            peer.rate = if peer.rate == 0 { rate } else { (peer.rate * 3 + rate) / 4 };
            peer.counted = (now, 0);
        }
    }

    /// It said something, whatever: it is not silent. Whether it was.
    pub(super) fn heard(&mut self, now: Millis, name: &NodeName) -> bool {
        let Some(peer) = self.peers.get_mut(name) else { return false };
        peer.heard = now;
        peer.silent_until = Millis(0);
        std::mem::take(&mut peer.silent_for) > Millis(0)
    }

    /// Whether nothing was heard of it since something did not come: it may be asked what it has, but nothing is to depend on it.
    pub(super) fn is_silent(&self, name: &NodeName) -> bool {
        self.peers.get(name).is_some_and(|peer| peer.silent_for > Millis(0))
    }

    /// What it was asked at `asked_at` did not come. If it has said nothing since either, it rests.
    pub(super) fn missed(&mut self, now: Millis, name: &NodeName, asked_at: Millis) {
        let peer = self.peer(name);
        peer.rate /= 2;
        if peer.heard < asked_at && now >= peer.silent_until {
            self.silent(now, name);
        }
    }

    /// It cannot be reached.
    pub(super) fn silent(&mut self, now: Millis, name: &NodeName) {
        let peer = self.peer(name);
        peer.silent_for = (peer.silent_for + peer.silent_for).clamp(SILENT_RESTS.0, SILENT_RESTS.1);
        peer.silent_until = now + peer.silent_for;
    }

    /// It sent something wrong.
    pub(super) fn lied(&mut self, now: Millis, name: &NodeName) {
        self.peer(name).lied_until = now + LIAR_RESTS;
    }

    /// It has too much to do.
    pub(super) fn busy(&mut self, now: Millis, name: &NodeName, again: Millis) {
        self.peer(name).busy_until = now + Millis(again.0.clamp(10, 2_000));
    }

    /// How long it takes to answer, on average.
    pub(super) fn latency(&self, name: &NodeName) -> Option<Millis> {
        self.peers.get(name).and_then(|peer| peer.latency).map(|average| Millis(average / 16))
    }

    /// Bytes went to the disk (`true`), or are on it.
    pub(super) fn writes(&mut self, bytes: u64, begins: bool) {
        self.writing = if begins { self.writing + bytes } else { self.writing.saturating_sub(bytes) };
    }

    /// Requests not answered, and of how many peers.
    pub(super) fn in_flight(&self) -> (u32, u32) {
        let asked = self.peers.values().filter(|peer| peer.requests > 0);
        asked.fold((0, 0), |(requests, peers), peer| (requests + peer.requests, peers + 1))
    }

    /// Bytes asked for and not here, and those on their way to the disk.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> u64 {
        self.small + self.large + self.writing
    }
}

#[cfg(test)]
impl Window {
    pub(super) fn sizes(&self) -> Vec<(&'static str, usize, usize)> {
        vec![("peers asked", self.peers.len(), PEERS_MAX)]
    }
}
