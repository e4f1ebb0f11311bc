//! Small contents, asked for by the bundle.
//!
//! ```text
//! want ─▶ queued at one peer ─▶ asked in a bundle ─▶ checked by its root ─▶ Ready in memory, until it has landed
//!              ▲                    │ lacking: the next peer          
//!              │                    │ later: parked for a moment; Gained ─▶ queued there
//!              └──── parked ◀───────┘ nobody left: parked, then all are asked again
//! ```
//! Who told us of the contents is asked first, so requests run along the ways the news came and meet no circle; then
//! every neighbour in turn. What has come and is not on disk yet counts against a limit of its own: a slow disk stops the asking.

use std::collections::{BTreeMap, BTreeSet};

use p2pnet_shared::{
    NodeName,
    wire::folder::{BUNDLE_ROOTS_MAX, Bytes, Root, Transfer as Said},
};

use super::{
    Around, Rank, Ready,
    tally::Tally,
    window::{Kind, Window},
};
use crate::{
    folder::{Source, chunks::WHOLE_MAX_BYTES},
    time::Millis,
};

/// Bundles asked for and not here at most, of everybody; and of one peer.
const BUNDLES_MAX: usize = 16;
const BUNDLES_PER_PEER: usize = 16;
/// Contents asked for in one bundle, bytes, unless a single one is larger: well below what a bundle may hold, so that several travel at
/// once within the window.
const ASKED_BYTES: u64 = 256 * 1024;
/// What asking for contents costs beside their bytes.
const EACH_BYTES: u64 = 64;
/// How long a neighbour that is getting the contents itself is waited for before the next one is asked.
const LATER: Millis = Millis(500);
/// How long nobody is asked for contents that nobody had; it doubles [`ROUNDS_MAX`] times.
const NOBODY: Millis = Millis(1_000);
const ROUNDS_MAX: u32 = 2;
/// How long a bundle is waited for at least, of a peer that has never sent one, and of others.
const PATIENCE: (Millis, Millis) = (Millis(2_000), Millis(1_200));
/// Nodes remembered that told us of the same contents.
const TELLERS_MAX: usize = 4;

/// Nodes remembered that did not have some contents.
const TRIED_MAX: usize = 64;

/// Where a wanted content stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stand {
    /// In this peer's queue.
    Queued(NodeName),
    /// In this bundle.
    Asked(u64),
    /// Nobody is asked until then.
    Parked(Millis),
    /// Checked and handed out, not on disk yet.
    Ready,
}

/// One wanted content.
#[derive(Debug)]
struct Wanted {
    size: u64,
    rank: Rank,
    /// Who told us.
    tellers: Vec<NodeName>,
    /// Who was asked since the last time all had been, and did not have it.
    tried: Vec<NodeName>,
    /// How many times all had been asked.
    rounds: u32,
    stand: Stand,
}

/// A bundle that was asked for.
#[derive(Debug)]
struct Asked {
    of: NodeName,
    at: Millis,
    roots: Vec<Root>,
    bytes: u64,
}

/// All small contents that are wanted.
#[derive(Debug, Default)]
pub(super) struct Small {
    wanted: BTreeMap<Root, Wanted>,
    queues: BTreeMap<NodeName, BTreeSet<(Rank, Root)>>,
    parked: BTreeSet<(Millis, Root)>,
    asked: BTreeMap<u64, Asked>,
    ready: Vec<Ready>,
    /// Bytes handed out that are not on disk yet.
    landing: u64,
    /// The last number given: to a content, to a question.
    last: u64,
}

impl Small {
    /// Wants contents of at most [`WHOLE_MAX_BYTES`]. Wanted already, it learns of one more who may have them.
    pub(super) fn want(
        &mut self,
        around: &Around<'_>,
        window: &Window,
        root: Root,
        size: u64,
        from: Option<NodeName>,
        urgent: bool,
    ) {
        self.last += 1;
        let fresh = Wanted {
            size,
            rank: (!urgent, self.last),
            tellers: Vec::new(),
            tried: Vec::new(),
            rounds: 0,
            stand: Stand::Ready,
        };
        let is_new = !self.wanted.contains_key(&root);
        let one = self.wanted.entry(root).or_insert(fresh);
        one.tellers.extend(from.filter(|from| one.tellers.len() < TELLERS_MAX && !one.tellers.contains(from)));
        if is_new {
            self.enqueue(around, window, root);
        } else if urgent && one.rank.0 {
            self.take(&root);
            let one = self.wanted.get_mut(&root).expect("it is wanted");
            one.rank.0 = false;
            match one.stand {
                Stand::Queued(_) | Stand::Parked(_) => self.enqueue(around, window, root),
                Stand::Asked(_) | Stand::Ready => {}
            }
        }
    }

    /// Wants it no longer, or has it. Whether it was wanted.
    pub(super) fn forget(&mut self, root: &Root) -> bool {
        self.take(root);
        let Some(one) = self.wanted.remove(root) else { return false };
        if one.stand == Stand::Ready {
            self.landing = self.landing.saturating_sub(one.size + EACH_BYTES);
            self.ready.retain(|ready| ready.root != *root);
        }
        true
    }

    /// Whether it is wanted.
    pub(super) fn wants(&self, root: &Root) -> bool {
        self.wanted.contains_key(root)
    }

    /// It was handed out and could not be put on disk: it is asked for again.
    pub(super) fn again(&mut self, around: &Around<'_>, window: &Window, root: &Root) -> bool {
        let Some(one) = self.wanted.get(root).filter(|one| one.stand == Stand::Ready) else { return false };
        self.landing = self.landing.saturating_sub(one.size + EACH_BYTES);
        self.ready.retain(|ready| ready.root != *root);
        self.enqueue(around, window, *root);
        true
    }

    /// Takes it out of whatever line it stands in.
    fn take(&mut self, root: &Root) {
        let Some(one) = self.wanted.get(root) else { return };
        match &one.stand {
            Stand::Queued(at) => {
                if let Some(queue) = self.queues.get_mut(at) {
                    queue.remove(&(one.rank, *root));
                }
            }
            Stand::Parked(until) => {
                self.parked.remove(&(*until, *root));
            }
            Stand::Asked(_) | Stand::Ready => {}
        }
    }

    /// Puts it in the line of the next peer that may have it, or parks it if all have been asked.
    fn enqueue(&mut self, around: &Around<'_>, window: &Window, root: Root) {
        let Some(one) = self.wanted.get_mut(&root) else { return };
        let may = |name: &&NodeName| !one.tried.contains(name) && window.is_usable(around.now, name);
        let shortest = |name: &&NodeName| self.queues.get(*name).map_or(0, BTreeSet::len);
        let next = one.tellers.iter().filter(may).min_by_key(shortest);
        let Some(next) = next.or_else(|| around.neighbours.iter().filter(may).min_by_key(shortest)).cloned() else {
            one.tried.clear();
            let wait = Millis(NOBODY.0 << one.rounds.min(ROUNDS_MAX));
            one.rounds += 1;
            return self.park(root, around.now + wait);
        };
        self.queues.entry(next.clone()).or_default().insert((one.rank, root));
        one.stand = Stand::Queued(next);
    }

    fn park(&mut self, root: Root, until: Millis) {
        if let Some(one) = self.wanted.get_mut(&root) {
            one.stand = Stand::Parked(until);
            self.parked.insert((until, root));
        }
    }

    /// Asks for as much as may be asked for, of everybody in turn.
    pub(super) fn pump(&mut self, around: &mut Around<'_>, window: &mut Window) {
        let limit = around.config.window_bytes as u64;
        loop {
            let names: Vec<NodeName> =
                self.queues.iter().filter(|(_, queue)| !queue.is_empty()).map(|(name, _)| name.clone()).collect();
            window.small_waits = !names.is_empty();
            let mut asked = false;
            for name in names {
                let open = self.asked.values().filter(|asked| asked.of == name).count();
                let has_room = window.has_room(around.now, around.config, &name, Kind::Small, self.next_bytes(&name));
                if self.asked.len() < BUNDLES_MAX && open < BUNDLES_PER_PEER && self.landing < limit && has_room {
                    self.ask(around, window, &name);
                    asked = true;
                }
            }
            if !asked {
                return self.queues.retain(|_, queue| !queue.is_empty());
            }
        }
    }

    /// How many bytes the next bundle of this peer holds, at most.
    fn next_bytes(&self, name: &NodeName) -> u64 {
        let queue = self.queues.get(name).into_iter().flatten();
        let sizes =
            queue.take(BUNDLE_ROOTS_MAX).filter_map(|(_, root)| self.wanted.get(root)).map(|one| one.size + EACH_BYTES);
        let mut bytes = 0;
        for size in sizes {
            if bytes > 0 && bytes + size > ASKED_BYTES {
                break;
            }
            bytes += size;
        }
        bytes
    }

    fn ask(&mut self, around: &mut Around<'_>, window: &mut Window, name: &NodeName) {
        let Some(queue) = self.queues.get_mut(name) else { return };
        self.last += 1;
        let call = self.last;
        let (mut roots, mut bytes) = (Vec::new(), 0);
        while let Some((_, root)) = queue.first() {
            let one = self.wanted.get_mut(root).expect("what is queued is wanted");
            let size = one.size + EACH_BYTES;
            if roots.len() == BUNDLE_ROOTS_MAX || (bytes > 0 && bytes + size > ASKED_BYTES) {
                break;
            }
            bytes += size;
            roots.push(*root);
            one.stand = Stand::Asked(call);
            queue.pop_first();
        }
        around.send(name, Said::Fetch { call, roots: roots.clone() });
        window.asked(around.now, name, Kind::Small, bytes);
        self.asked.insert(call, Asked { of: name.clone(), at: around.now, roots, bytes });
    }

    /// A bundle came. What is wanted of it is taken even if it was given up, or not asked for: its root proves it.
    #[expect(clippy::too_many_arguments, reason = "a packet's fields")]
    pub(super) fn on_bundle(
        &mut self,
        around: &mut Around<'_>,
        window: &mut Window,
        tally: &mut Tally,
        from: &NodeName,
        call: u64,
        files: Vec<(Root, Bytes)>,
        (lacking, later): (&[Root], &[Root]),
    ) {
        if files.len() + lacking.len() + later.len() > BUNDLE_ROOTS_MAX {
            return;
        }
        let is_busy = files.is_empty() && lacking.is_empty() && later.is_empty();
        let received: u64 = files.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        tally.received += received;
        for (root, bytes) in files {
            self.on_contents(around, window, tally, from, root, bytes);
        }
        let Some(asked) = self.asked.get(&call).filter(|asked| asked.of == *from) else { return };
        window.gave(around.now, from, asked.at, received);
        let asked = self.asked.remove(&call).expect("it is there");
        window.over(from, Kind::Small, asked.bytes);
        if is_busy {
            window.busy(around.now, from, Millis(200));
        }
        let (lacking, later) = (lacking.iter().collect::<BTreeSet<_>>(), later.iter().collect::<BTreeSet<_>>());
        for root in &asked.roots {
            let Some(one) = self.wanted.get_mut(root).filter(|one| one.stand == Stand::Asked(call)) else { continue };
            if later.contains(root) {
                one.tried.push(from.clone());
                self.park(*root, around.now + LATER);
            } else {
                if lacking.contains(root) {
                    one.tried.push(from.clone());
                    one.tellers.retain(|teller| teller != from);
                }
                self.enqueue(around, window, *root);
            }
        }
    }

    fn on_contents(
        &mut self,
        around: &mut Around<'_>,
        window: &mut Window,
        tally: &mut Tally,
        from: &NodeName,
        root: Root,
        bytes: Bytes,
    ) {
        let size = bytes.len() as u64;
        let Some(one) = self.wanted.get_mut(&root).filter(|one| one.stand != Stand::Ready) else {
            tally.wasted += size;
            return;
        };
        if size > WHOLE_MAX_BYTES || Root::of(&bytes) != root {
            if !one.tried.contains(from) && one.tried.len() < TRIED_MAX {
                one.tried.push(from.clone());
            }
            tally.bad(from, size);
            return window.lied(around.now, from);
        }
        self.take(&root);
        let one = self.wanted.get_mut(&root).expect("it is wanted");
        // The size was somebody's word, too; from here on it is what came.
        one.size = size;
        one.stand = Stand::Ready;
        self.landing += size + EACH_BYTES;
        self.ready.push(Ready { root, source: Source::Memory(bytes) });
    }

    /// A peer has these now.
    pub(super) fn on_gained(&mut self, around: &Around<'_>, window: &Window, from: &NodeName, roots: &[Root]) {
        for root in roots.iter().take(BUNDLE_ROOTS_MAX) {
            let Some(one) = self.wanted.get(root) else { continue };
            if matches!(one.stand, Stand::Parked(_)) {
                self.take(root);
                let one = self.wanted.get_mut(root).expect("it is wanted");
                one.tried.retain(|tried| tried != from);
                one.tellers.retain(|teller| teller != from);
                one.tellers.insert(0, from.clone());
                one.tellers.truncate(TELLERS_MAX);
                self.enqueue(around, window, *root);
            }
        }
    }

    /// What was asked of this peer, or waits to be, is asked of others.
    pub(super) fn unreachable(&mut self, around: &Around<'_>, window: &mut Window, peer: &NodeName) {
        let open: Vec<u64> = self.asked.iter().filter(|(_, asked)| asked.of == *peer).map(|(call, _)| *call).collect();
        open.into_iter().for_each(|call| self.give_up(around, window, call));
        for (_, root) in self.queues.remove(peer).unwrap_or_default() {
            self.enqueue(around, window, root);
        }
    }

    fn give_up(&mut self, around: &Around<'_>, window: &mut Window, call: u64) {
        let Some(asked) = self.asked.remove(&call) else { return };
        window.over(&asked.of, Kind::Small, asked.bytes);
        for root in asked.roots {
            if let Some(one) = self.wanted.get_mut(&root).filter(|one| one.stand == Stand::Asked(call)) {
                one.tried.push(asked.of.clone());
                self.enqueue(around, window, root);
            }
        }
    }

    /// Gives up what does not come, and asks again for what was parked long enough.
    pub(super) fn sweep(&mut self, around: &Around<'_>, window: &mut Window) {
        let now = around.now;
        let patience =
            |of: &NodeName| window.latency(of).map_or(PATIENCE.0, |latency| PATIENCE.1.max(Millis(latency.0 * 4)));
        let late: Vec<u64> = self
            .asked
            .iter()
            .filter(|(_, asked)| now - asked.at > patience(&asked.of))
            .map(|(call, _)| *call)
            .collect();
        for call in late {
            let asked = &self.asked[&call];
            let (of, at) = (asked.of.clone(), asked.at);
            window.missed(now, &of, at);
            self.give_up(around, window, call);
        }
        while let Some((until, root)) = self.parked.first().copied().filter(|(until, _)| *until <= now) {
            self.parked.remove(&(until, root));
            self.enqueue(around, window, root);
        }
        // Lines in front of somebody who rests move on.
        let resting: Vec<NodeName> = self.queues.keys().filter(|name| !window.is_usable(now, name)).cloned().collect();
        for name in resting {
            for (_, root) in self.queues.remove(&name).unwrap_or_default() {
                self.enqueue(around, window, root);
            }
        }
    }

    /// When something parked is due.
    pub(super) fn due(&self) -> Option<Millis> {
        self.parked.first().map(|(until, _)| *until)
    }

    /// Whether something is asked for, or waits to be.
    pub(super) fn is_busy(&self) -> bool {
        !self.asked.is_empty() || self.queues.values().any(|queue| !queue.is_empty())
    }

    /// Contents that are wanted and not here.
    pub(super) fn len(&self) -> usize {
        self.wanted.len()
    }

    /// What has come since this was last asked.
    pub(super) fn take_ready(&mut self) -> Vec<Ready> {
        std::mem::take(&mut self.ready)
    }
}

#[cfg(test)]
impl Small {
    pub(super) fn sizes(&self) -> Vec<(&'static str, usize, usize)> {
        let tried = self.wanted.values().map(|one| one.tried.len()).max().unwrap_or(0);
        vec![("small contents wanted", self.wanted.len(), 1), ("nodes tried", tried, TRIED_MAX)]
    }
}
