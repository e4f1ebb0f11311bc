//! How all come to know the same: news is pushed at once and may be lost, comparing finds what was.
//!
//! Sources: Demers et al. 1987 (rumours spread fast, anti-entropy sees to the rest); two levels of digests, as in *Dynamo* §4.7 with a
//! tree of one branching of 256.
//!
//! ```text
//!  news ──▶ Push to each neighbour but who told us           after push_after, 256 entries a packet
//!  A: Compare ─▶ B: Buckets ─▶ A: Listing ─▶ B: Push what A lacks, Ask for what B lacks ─▶ A: Push ─▶ and Compare again
//! ```
//! A round moves [`BURST`] entries each way at most and ends with a `Compare` from whoever pushed last; it is answered while rounds
//! bring news, so that a whole index goes over in bursts paced by answers. An index that equals ours is answered with no
//! buckets at all, which also tells a pusher that it is not too fast.
//!
//! Nothing of a talk is remembered that would be missed when it is lost: the next comparison starts anew.
//!
//! Always holds: nobody gets more than [`BURST`] entries for one question, a listing only counts after our buckets, and an ask after our
//! listing; whose comparisons bring us nothing is answered [`IDLE_ANSWERS`] times.

use std::collections::{BTreeMap, BTreeSet};

use p2pnet_shared::{
    FilePath, NodeName,
    wire::folder::{BUCKETS, Entry, FolderDigest, LISTING_ROWS_MAX, Message, PUSH_ENTRIES_MAX},
};
use rand::RngExt;

use super::{Effect, State, version};
use crate::time::Millis;

/// Entries pushed for one question at most, and to one neighbour at one time.
const BURST: usize = 1_024;
/// Buckets listed in one round of a large index: talks with several neighbours at once are about different ones then.
const BUCKETS_LISTED: usize = 64;
/// Rows listed in one round, unless one bucket has more.
const ROWS_LISTED: usize = 2_048;
/// Bytes of entries in one packet, about.
const PACKET_BYTES: usize = 128 * 1024;
/// After so many entries a neighbour is asked whether it keeps up.
const MARK_EVERY: usize = 2_048;
/// So many entries without an answer, and it gets no more: a comparison brings it the rest.
const UNANSWERED_MAX: usize = 16_384;
/// So many comparisons in a row are answered though they bring us nothing, and one more each time this has passed.
const IDLE_ANSWERS: (u64, Millis) = (16, Millis(250));
/// Of two neighbours that meet, the smaller name compares at once, the other after this, in case the first has not met it.
const SECOND_AFTER: Millis = Millis(500);
/// After a broken connection.
const REPAIR_AFTER: Millis = Millis(1_000);

/// What is to be told, and the talks about differences.
#[derive(Debug, Default)]
pub(super) struct Talks {
    /// Paths with news, and who is known to have it.
    dirty: BTreeMap<FilePath, BTreeSet<NodeName>>,
    flush_due: Option<Millis>,
    peers: BTreeMap<NodeName, Peer>,
    /// With whom to compare before its turn.
    soon: BTreeSet<(Millis, NodeName)>,
    compare_due: Option<Millis>,
    turn: usize,
    /// Entries that were not pushed to somebody who did not keep up.
    pub(super) dropped: u64,
    /// Messages that no correct node sends.
    pub(super) malformed: u64,
}

/// What we remember of one peer, for a moment.
#[derive(Debug, Default)]
struct Peer {
    /// We have asked it to compare; what for.
    asked: Option<Asked>,
    /// We have sent it our buckets.
    offered: bool,
    /// We have sent it a listing.
    listed: bool,
    /// Entries pushed to it since its last word.
    unanswered: usize,
    /// Since the last mark.
    unmarked: usize,
    /// Some were dropped.
    behind: bool,
    /// Entries it told us that were news, since we last answered it.
    news: usize,
    /// Until when its idle comparisons are used up, were they answered at an even pace.
    idle_until: Millis,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// Differences are wanted.
    Differences,
    /// Only whether it keeps up.
    Mark,
}

impl Talks {
    pub(super) fn start(&mut self, first: Millis) {
        self.compare_due = Some(first);
    }

    /// Somebody has become a neighbour.
    pub(super) fn met(&mut self, now: Millis, me: &NodeName, peer: &NodeName) {
        self.forget(peer);
        self.soon.insert((if me < peer { now } else { now + SECOND_AFTER }, peer.clone()));
    }

    /// Nothing said to it counts any more.
    pub(super) fn forget(&mut self, peer: &NodeName) {
        self.peers.remove(peer);
        self.soon.retain(|(_, name)| name != peer);
    }

    /// What was sent to a neighbour may be lost.
    pub(super) fn lost(&mut self, now: Millis, peer: &NodeName) {
        self.peers.remove(peer);
        if !self.soon.iter().any(|(_, name)| name == peer) {
            self.soon.insert((now + REPAIR_AFTER, peer.clone()));
        }
    }

    /// These entries have changed here; `from` told us, and has them.
    pub(super) fn changed(&mut self, due: Millis, paths: impl IntoIterator<Item = FilePath>, from: Option<&NodeName>) {
        for path in paths {
            // What others had was the state before.
            self.dirty.insert(path, from.cloned().into_iter().collect());
            self.flush_due.get_or_insert(due);
        }
    }

    /// Rows are on disk: others may be told of what was held back for them.
    pub(super) fn released(&mut self, now: Millis) {
        if !self.dirty.is_empty() {
            self.flush_due.get_or_insert(now);
        }
    }

    pub(super) fn next_due(&self) -> Option<Millis> {
        let soon = self.soon.first().map(|(due, _)| *due);
        self.flush_due.into_iter().chain(self.compare_due).chain(soon).min()
    }
}

impl State {
    /// Pushes and comparisons that are due.
    pub(super) fn talk(&mut self, effects: &mut Vec<Effect>) {
        if self.talks.flush_due.is_some_and(|due| due <= self.now) {
            self.flush_news(effects);
        }
        while let Some((due, peer)) = self.talks.soon.first().cloned().filter(|(due, _)| *due <= self.now) {
            self.talks.soon.remove(&(due, peer.clone()));
            if self.neighbours.is_one(&peer) {
                self.compare(peer, Asked::Differences, effects);
            }
        }
        if self.talks.compare_due.is_some_and(|due| due <= self.now) {
            let period = self.config.compare_period.0;
            let after = period - period / 4 + self.rng.random_range(0..=period / 2);
            self.talks.compare_due = Some(self.now + Millis(after));
            let all = self.neighbours.all();
            if !all.is_empty() {
                self.talks.turn = (self.talks.turn + 1) % all.len();
                let peer = all[self.talks.turn].clone();
                self.compare(peer, Asked::Differences, effects);
            }
        }
    }

    fn compare(&mut self, peer: NodeName, why: Asked, effects: &mut Vec<Effect>) {
        let talk = self.talks.peers.entry(peer.clone()).or_default();
        if why == Asked::Differences || talk.asked.is_none() {
            talk.asked = Some(why);
        }
        talk.unmarked = 0;
        effects.push(Effect::Send { to: peer, message: Message::Compare { index: self.index.digests().index } });
    }

    /// Pushes what has been collected: [`BURST`] entries of it, the rest after another while.
    fn flush_news(&mut self, effects: &mut Vec<Effect>) {
        let all = std::mem::take(&mut self.talks.dirty);
        let (held, mut news): (BTreeMap<_, _>, BTreeMap<_, _>) =
            all.into_iter().partition(|(path, _)| self.rows.holds(path));
        let rest = match news.keys().nth(BURST).cloned() {
            Some(next) => news.split_off(&next),
            None => BTreeMap::new(),
        };
        // What is held back goes when its rows are on disk.
        self.talks.flush_due = (!rest.is_empty()).then_some(self.now + self.config.push_after);
        self.talks.dirty = held;
        self.talks.dirty.extend(rest);
        for peer in self.neighbours.all().to_vec() {
            let lack = news.iter().filter(|(_, known)| !known.contains(&peer));
            let paths: Vec<&FilePath> = lack.map(|(path, _)| path).collect();
            let talk = self.talks.peers.entry(peer.clone()).or_default();
            if talk.unanswered + paths.len() > UNANSWERED_MAX {
                talk.behind = true;
                self.talks.dropped += paths.len() as u64;
                continue;
            }
            talk.unanswered += paths.len();
            talk.unmarked += paths.len();
            let is_marked = talk.unmarked >= MARK_EVERY;
            self.push(&peer, paths, effects);
            if is_marked {
                self.compare(peer, Asked::Mark, effects);
            }
        }
    }

    /// Sends the entries of these paths, in packets.
    fn push<'a>(&self, to: &NodeName, paths: impl IntoIterator<Item = &'a FilePath>, effects: &mut Vec<Effect>) {
        self.send_entries(to, paths.into_iter().filter_map(|path| self.index.entry(path)), effects);
    }

    /// Sends entries but those held back, in packets; how many.
    fn send_entries<'a>(
        &self,
        to: &NodeName,
        entries: impl Iterator<Item = &'a Entry>,
        effects: &mut Vec<Effect>,
    ) -> usize {
        let (mut packet, mut bytes, mut count) = (Vec::new(), 0, 0);
        let mut send = |entries| effects.push(Effect::Send { to: to.clone(), message: Message::Push { entries } });
        for entry in entries.filter(|entry| !self.rows.holds(&entry.path)) {
            let size = version::weight(entry);
            if !packet.is_empty() && (packet.len() >= PUSH_ENTRIES_MAX || bytes + size > PACKET_BYTES) {
                send(std::mem::take(&mut packet));
                bytes = 0;
            }
            packet.push(entry.clone());
            bytes += size;
            count += 1;
        }
        if !packet.is_empty() {
            send(packet);
        }
        count
    }

    pub(super) fn on_push(&mut self, from: &NodeName, entries: Vec<Entry>, effects: &mut Vec<Effect>) {
        if entries.len() > PUSH_ENTRIES_MAX {
            self.talks.malformed += 1;
            return;
        }
        let wall = self.wall();
        let (mut behind, mut moved) = (Vec::new(), 0);
        for entry in entries {
            let path = entry.path.clone();
            let joined = self.index.join(&entry, wall);
            moved += usize::from(joined.news || joined.they_lack);
            if joined.they_lack {
                behind.push(path);
            } else if !joined.refused
                && let Some(known) = self.talks.dirty.get_mut(&path)
            {
                known.insert(from.clone());
            }
        }
        self.talks.peers.entry(from.clone()).or_default().news += moved;
        self.take_changes(Some(from));
        self.push(from, &behind, effects);
    }

    pub(super) fn on_compare(&mut self, from: NodeName, index: FolderDigest, effects: &mut Vec<Effect>) {
        if !self.neighbours.is_member(&from) {
            return;
        }
        let talk = self.talks.peers.entry(from.clone()).or_default();
        let sums = if index == self.index.digests().index {
            Vec::new()
        } else {
            if talk.news == 0 {
                let (burst, pace) = IDLE_ANSWERS;
                let until = talk.idle_until.max(self.now) + pace;
                if until > self.now + Millis(burst * pace.0) {
                    return;
                }
                talk.idle_until = until;
            }
            talk.offered = true;
            self.index.sums()
        };
        talk.news = 0;
        effects.push(Effect::Send { to: from, message: Message::Buckets { sums } });
    }

    pub(super) fn on_buckets(&mut self, from: NodeName, sums: &[FolderDigest], effects: &mut Vec<Effect>) {
        let Some(talk) = self.talks.peers.get_mut(&from) else { return };
        let Some(why) = talk.asked.take() else { return };
        talk.unanswered = 0;
        let is_behind = std::mem::take(&mut talk.behind);
        if sums.is_empty() {
            return;
        }
        if sums.len() != BUCKETS {
            self.talks.malformed += 1;
            return;
        }
        if why == Asked::Mark && !is_behind {
            return;
        }
        let ours = self.index.sums();
        let mut differing: Vec<u8> = (0..=u8::MAX).filter(|n| ours[usize::from(*n)] != sums[usize::from(*n)]).collect();
        if differing.is_empty() {
            return;
        }
        // Talks with several neighbours at once begin at different places.
        let begin = self.rng.random_range(0..differing.len());
        differing.rotate_left(begin);
        let (mut buckets, mut rows) = (Vec::new(), Vec::new());
        let is_large = self.index.counts().entries > ROWS_LISTED as u64;
        for bucket in differing.into_iter().take(if is_large { BUCKETS_LISTED } else { BUCKETS }) {
            let of_bucket: Vec<(u64, u64)> = self.index.listing(bucket).collect();
            if rows.len() + of_bucket.len() > if buckets.is_empty() { LISTING_ROWS_MAX } else { ROWS_LISTED } {
                break;
            }
            buckets.push(bucket);
            rows.extend(of_bucket);
        }
        buckets.sort_unstable();
        rows.sort_unstable();
        if let Some(talk) = self.talks.peers.get_mut(&from) {
            talk.listed = true;
        }
        effects.push(Effect::Send { to: from, message: Message::Listing { buckets, rows } });
    }

    pub(super) fn on_listing(
        &mut self,
        from: NodeName,
        buckets: &[u8],
        rows: &[(u64, u64)],
        effects: &mut Vec<Effect>,
    ) {
        let Some(talk) = self.talks.peers.get_mut(&from) else { return };
        if !std::mem::take(&mut talk.offered) {
            return;
        }
        let is_ascending =
            buckets.is_sorted_by(|one, next| one < next) && rows.is_sorted_by(|one, next| one.0 < next.0);
        let is_within = rows.iter().all(|(path, _)| buckets.binary_search(&bucket_of(*path)).is_ok());
        if rows.len() > LISTING_ROWS_MAX || !is_ascending || !is_within {
            self.talks.malformed += 1;
            return;
        }
        let (mut lacks, mut asks) = (Vec::new(), Vec::new());
        for bucket in buckets {
            let mut ours: BTreeMap<u64, u64> = self.index.listing(*bucket).collect();
            let begin = rows.partition_point(|(path, _)| bucket_of(*path) < *bucket);
            let theirs = rows[begin..].iter().take_while(|(path, _)| bucket_of(*path) == *bucket);
            for (path, hash) in theirs {
                match ours.remove(path) {
                    None => asks.push(*path),
                    // They join it to theirs, and tell us what we lack.
                    Some(other) if other != *hash => lacks.push(*path),
                    Some(_) => {}
                }
            }
            lacks.extend(ours.into_keys());
        }
        lacks.truncate(BURST);
        asks.truncate(BURST);
        let lacks = lacks.iter().filter_map(|path| self.index.by_hash(*path));
        self.send_entries(&from, lacks, effects);
        if asks.is_empty() {
            // Also if there was nothing to say: what differed may have come meanwhile, and other buckets differ still.
            self.compare(from, Asked::Differences, effects);
        } else {
            effects.push(Effect::Send { to: from, message: Message::Ask { paths: asks } });
        }
    }

    pub(super) fn on_ask(&mut self, from: NodeName, paths: &[u64], effects: &mut Vec<Effect>) {
        let Some(talk) = self.talks.peers.get_mut(&from) else { return };
        if !std::mem::take(&mut talk.listed) {
            return;
        }
        let entries = paths.iter().take(BURST).filter_map(|path| self.index.by_hash(*path));
        if self.send_entries(&from, entries, effects) > 0 {
            self.compare(from, Asked::Differences, effects);
        }
    }
}

/// The bucket of a path.
fn bucket_of(path: u64) -> u8 {
    path.to_be_bytes()[0]
}
