//! Who holds the same as we do? Fellow replicas are compared with in turn; where this node is not settled, every holder is.
//!
//! ```text
//!  in turn   Compare ──▶  equal: silence          settle   Arcs, asked ──▶
//!            ◀── Arcs     different, or not                      ◀── Arcs    the same parts, and where it is settled
//!                         by the same ring
//!            then, for the parts that differ: Offer ──▶ ◀── Wanted, Give ──▶ ◀── Give
//! ```
//! What was found to be equal, or of which the other side holds nothing, we have all of. Only comparisons by the same ring
//! count, and only once the ring has rested: until then a coordinator that knows less may write past us.

use std::collections::BTreeMap;

use p2pnet_shared::{
    NodeName,
    ring::{RingDigest, Span},
    wire::dht::{ARCS_MAX, ArcDigest, HeldDigest, Holding, Repair as Said},
};

use super::{Around, Repair, queue::Queue};
use crate::{
    dht::{
        digests::{Digests, digest},
        store::Store,
    },
    time::Millis,
};

/// How long the ring has to rest before comparisons count: news of a member has reached everyone by then.
const REST: Millis = Millis(1_500);
/// Peers asked about arcs in one tick, at most: forty a second.
const ASKS: usize = 2;
/// How long until the next look for somebody to ask, after one was found and otherwise.
const LOOK: (Millis, Millis) = (Millis(50), Millis(500));
/// How long to wait before a peer is asked about arcs again; doubles up to the second.
const ASK_PAUSE: (Millis, Millis) = (Millis(200), Millis(5_000));

/// Whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    /// When the ring changed last.
    changed: Option<Millis>,
    /// Whom we compared with last, and when the next is to be.
    last: Option<NodeName>,
    next: Option<Millis>,
    /// Whether all that is ours is settled; if not, when to look again for somebody to ask.
    is_settled: bool,
    look: Millis,
}

impl Rounds {
    pub(super) fn ring_changed(&mut self, now: Millis) {
        (self.changed, self.is_settled, self.look) = (Some(now), false, now + REST);
    }

    pub(super) fn doubt(&mut self) {
        self.is_settled = false;
    }

    /// When to look for somebody to ask; `None` if all is settled.
    pub(super) fn look(&self) -> Option<Millis> {
        (!self.is_settled).then_some(self.look)
    }

    /// When the next comparison in turn is due.
    pub(super) fn next(&mut self, around: &Around<'_>) -> Millis {
        *self.next.get_or_insert(around.now + around.config.compare_period)
    }

    /// Whether what is compared now counts for being settled.
    pub(super) fn has_rested(&self, now: Millis) -> bool {
        self.changed.is_none_or(|changed| now - changed >= REST)
    }
}

impl Repair {
    /// Sends one digest to the next fellow replica, if it is time.
    pub(super) fn compare_in_turn(&mut self, around: &mut Around<'_>) {
        if around.store.len() == 0 || around.now < self.compare.next(around) {
            return;
        }
        self.compare.next = Some(around.now + around.config.compare_period);
        self.add_up(around);
        let mut fellows: BTreeMap<&NodeName, HeldDigest> = BTreeMap::new();
        for arc in around.ring.replicated(around.me, around.n()) {
            let held = self.arc(arc);
            for fellow in around.ring.walk(arc).take(around.n()).filter(|name| *name != around.me) {
                let sum = fellows.entry(fellow).or_default();
                sum.keys = sum.keys.wrapping_add(held.keys);
                sum.sum = sum.sum.wrapping_add(held.sum);
            }
        }
        // Who is being given something differs, as we know.
        let is_served = |name: &NodeName| self.queues.get(name).is_some_and(Queue::has_work);
        fellows.retain(|name, held| held.keys > 0 && (around.is_reachable)(name) && !is_served(name));
        let last = self.compare.last.take();
        let later = fellows.iter().find(|(name, _)| last.as_ref().is_some_and(|last| *name > &last));
        let Some((fellow, digest)) = later.or_else(|| fellows.iter().next()) else { return };
        let (fellow, digest) = ((*fellow).clone(), *digest);
        let ring = around.ring_digest();
        around.send(&fellow, Said::Compare { ring, digest });
        self.compare.last = Some(fellow);
    }

    /// Asks those who may know more where this node is not settled.
    pub(super) fn settle(&mut self, around: &mut Around<'_>) {
        let is_time = self.compare.look().is_some_and(|look| look <= around.now);
        if !is_time || around.store.len() == 0 || !self.compare.has_rested(around.now) {
            return;
        }
        let mut open: BTreeMap<NodeName, Vec<Span>> = BTreeMap::new();
        let mut is_settled = true;
        for arc in around.ring.replicated(around.me, around.n()) {
            let span = around.ring.span(arc);
            if self.settled.covers(span) {
                continue;
            }
            let others = around.ring.walk(arc).filter(|name| *name != around.me).take(around.n());
            let answers = |name: &NodeName| {
                let is_silent = self.queues.get(name).is_some_and(|queue| queue.silent_until > around.now);
                !is_silent && (around.is_reachable)(name)
            };
            let others: Vec<(&NodeName, bool)> = others.map(|name| (name, answers(name))).collect();
            for name in self.settled.judge(span, &others) {
                open.entry(name.clone()).or_default().push(span);
            }
            // Alone, nothing can be compared, nor missing.
            is_settled &= others.is_empty() || self.settled.covers(span);
        }
        self.compare.is_settled = is_settled;
        if is_settled {
            self.settled.finish();
            return;
        }
        let (now, mut asks) = (around.now, ASKS);
        for (name, mut spans) in open {
            let queue = self.queues.entry(name.clone()).or_default();
            if asks == 0 || queue.asked.is_some() || now < queue.ask_after {
                continue;
            }
            asks -= 1;
            queue.asked = Some(now);
            queue.ask_pause = Millis((queue.ask_pause.0 * 2).clamp(ASK_PAUSE.0.0, ASK_PAUSE.1.0));
            queue.ask_after = now + queue.ask_pause;
            spans.truncate(ARCS_MAX);
            let ring = around.ring_digest();
            let arcs = spans.into_iter().map(|span| self.arc_digest(around, span)).collect();
            around.send(&name, Said::Arcs { ring, asked: true, arcs });
        }
        self.compare.look = now + if asks == ASKS { LOOK.1 } else { LOOK.0 };
    }

    pub(super) fn on_compare(
        &mut self,
        around: &mut Around<'_>,
        from: &NodeName,
        ring: RingDigest,
        theirs: HeldDigest,
    ) {
        self.add_up(around);
        let n = around.n();
        let is_shared = |arc: &usize| around.ring.walk(*arc).take(n).any(|name| name == from);
        let mut arcs = around.ring.replicated(around.me, n);
        arcs.retain(is_shared);
        let same_ring = ring == around.ring_digest();
        let ours = self.digests.as_ref().map(|digests| digests.sum(arcs.iter().copied())).unwrap_or_default();
        let is_served = self.queues.get(from).is_some_and(Queue::has_work);
        if arcs.is_empty() || is_served || (same_ring && ours == theirs) {
            return;
        }
        // More than a packet takes: another part each time.
        if arcs.len() > ARCS_MAX {
            let turn = usize::try_from(self.next_number()).unwrap_or(0) * ARCS_MAX % arcs.len();
            arcs.rotate_left(turn);
            arcs.truncate(ARCS_MAX);
        }
        let arcs = arcs.into_iter().map(|arc| self.arc_digest(around, around.ring.span(arc))).collect();
        let ring = around.ring_digest();
        around.send(from, Said::Arcs { ring, asked: false, arcs });
    }

    pub(super) fn on_arcs(
        &mut self,
        around: &mut Around<'_>,
        from: &NodeName,
        ring: RingDigest,
        asked: bool,
        theirs: &[ArcDigest],
    ) {
        // Parts of one space: more than all of it is no honest question, and dear to answer.
        if !is_disjoint(theirs.iter().map(|arc| arc.span)) {
            return;
        }
        let same_ring = ring == around.ring_digest();
        let ours: Vec<ArcDigest> = theirs.iter().map(|arc| self.arc_digest(around, arc.span)).collect();
        let is_less = |ours: &ArcDigest, theirs: &ArcDigest| theirs.digest.keys == 0 || theirs.digest == ours.digest;
        if same_ring && self.compare.has_rested(around.now) && !self.compare.is_settled {
            let pairs = ours.iter().zip(theirs).filter(|(ours, theirs)| is_less(ours, theirs));
            let parts: Vec<(Span, bool)> = pairs.map(|(_, theirs)| (theirs.span, theirs.settled)).collect();
            self.compared(around, from, parts);
        }
        if asked {
            let ring = around.ring_digest();
            around.send(from, Said::Arcs { ring, asked: false, arcs: ours });
            return;
        }
        if let Some(queue) = self.queues.get_mut(from) {
            queue.asked = None;
        }
        let mine = self.mine(around).clone();
        let differing = ours.iter().zip(theirs).filter(|(ours, theirs)| ours.digest != theirs.digest);
        let spans: Vec<(Span, bool)> = differing
            .filter(|(_, theirs)| mine.covers(theirs.span))
            .map(|(_, theirs)| (theirs.span, theirs.settled && same_ring))
            .collect();
        if !spans.is_empty() && around.is_member(from) {
            self.queues.entry(from.clone()).or_default().spans = spans;
        }
    }

    /// We have all that another node has in these parts.
    pub(super) fn compared(&mut self, around: &Around<'_>, with: &NodeName, mut parts: Vec<(Span, bool)>) {
        let mine = self.mine(around);
        parts.retain(|(span, _)| mine.covers(*span));
        if around.is_member(with) && !parts.is_empty() {
            self.settled.compared(with, parts);
        }
    }

    /// What is held here in a part that somebody named.
    fn arc_digest(&mut self, around: &Around<'_>, span: Span) -> ArcDigest {
        self.add_up(around);
        let arc = around.ring.arc(span.to);
        let digest = if around.ring.span(arc) == span { self.arc(arc) } else { scan(around.store, span) };
        ArcDigest { span, digest, settled: self.settled.covers(span) }
    }

    fn arc(&self, arc: usize) -> HeldDigest {
        self.digests.as_ref().map(|digests| digests.arc(arc)).unwrap_or_default()
    }

    /// Sees to it that there are digests for the ring of now.
    fn add_up(&mut self, around: &Around<'_>) {
        self.digests.get_or_insert_with(|| {
            let held = around.store.iter().map(|(place, held)| Holding { place, versions: held.hash });
            Digests::of(around.ring, held)
        });
    }
}

/// Whether spans cannot overlap, as far as their lengths tell.
pub(super) fn is_disjoint(spans: impl Iterator<Item = Span>) -> bool {
    spans.map(|span| span.share()).sum::<f64>() < 1.000_001
}

fn scan(store: &Store, span: Span) -> HeldDigest {
    digest(store.arc(span.after, span.to).map(|(place, held)| Holding { place, versions: held.hash }))
}
