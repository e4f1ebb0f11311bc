//! How long a chunk is waited for, and what happens then.
//!
//! Most that is late comes, so it is asked of another holder too while the budget lasts (*The Tail at Scale*, Dean & Barroso
//! 2013), and whichever comes first is taken; what is later than that is taken back and asked for again like any other.

use p2pnet_shared::{
    NodeName,
    wire::folder::{Root, Transfer as Said},
};

use super::{
    Around,
    file::{Asked, File},
    tally::Tally,
    window::{Kind, Window},
};
use crate::time::Millis;

/// How long a chunk is waited for at least, of a peer that has never sent one, and of others; and [`PATIENCE_MIB`] for each MiB of it.
const PATIENCE: (Millis, Millis) = (Millis(2_000), Millis(1_200));
const PATIENCE_MIB: u64 = 2_000;
/// A chunk that takes longer than three times the usual is asked of another, but not before this.
const HEDGE_AFTER: Millis = Millis(250);
/// Of the last chunks of a file, one and a half times the usual and this.
const END_AFTER: Millis = Millis(60);
/// How many are the last ones.
const END_CHUNKS: usize = 3;
/// Bytes asked for twice are one part in so many of those received, at most, and [`END_CHUNKS`] more.
const HEDGED_PART: u64 = 25;

/// Asks a peer for a chunk.
pub(super) fn ask_chunk(
    around: &mut Around<'_>,
    window: &mut Window,
    root: &Root,
    file: &mut File,
    chunk: u32,
    of: &NodeName,
) {
    around.send(of, Said::AskChunk { root: *root, chunk });
    window.asked(around.now, of, Kind::Large, u64::from(file.geometry.length(chunk)));
    file.ask(around.now, chunk, of);
}

/// Gives up waiting for what takes far too long, and for all that was asked of those who rest.
pub(super) fn take_back(around: &Around<'_>, window: &mut Window, file: &mut File) {
    let now = around.now;
    let open: Vec<(u32, Asked)> =
        file.asked.iter().flat_map(|(chunk, asked)| asked.iter().map(|one| (*chunk, one.clone()))).collect();
    for (chunk, Asked { of, at }) in open {
        let length = u64::from(file.geometry.length(chunk));
        let more = Millis(length * PATIENCE_MIB / (1 << 20));
        let known = |latency: Millis| (PATIENCE.1 + more).max(Millis(latency.0 * 4));
        let patience = window.latency(&of).map_or(PATIENCE.0 + more, known);
        let is_late = now - at > patience;
        if is_late {
            window.missed(now, &of, at);
        }
        if is_late || window.is_silent(&of) {
            file.unask(chunk, &of);
            window.over(&of, Kind::Large, length);
        }
    }
}

/// Asks another holder too for what takes longer than usual, within the budget.
pub(super) fn hedge(around: &mut Around<'_>, window: &mut Window, tally: &mut Tally, root: &Root, file: &mut File) {
    let now = around.now;
    let is_end = file.missing() <= END_CHUNKS;
    let late: Vec<u32> = file
        .asked
        .iter()
        .filter(|(_, asked)| {
            let [one] = &asked[..] else { return false };
            let usual = window.latency(&one.of).unwrap_or(HEDGE_AFTER).0;
            let limit = if is_end { END_AFTER.0.max(usual * 3 / 2) } else { HEDGE_AFTER.0.max(usual * 3) };
            (now - one.at).0 > limit
        })
        .map(|(chunk, _)| *chunk)
        .collect();
    for chunk in late {
        let length = u64::from(file.geometry.length(chunk));
        let few = END_CHUNKS as u64 * u64::from(file.geometry.chunk_bytes());
        if tally.hedged + length > tally.received / HEDGED_PART + few.min(file.geometry.size() / HEDGED_PART) {
            return;
        }
        let may = |name: &NodeName| window.has_room(now, around.config, name, Kind::Large, length);
        if let Some(of) = file.other_holder(chunk, may).cloned() {
            ask_chunk(around, window, root, file, chunk, &of);
            tally.hedged += length;
        }
    }
}
