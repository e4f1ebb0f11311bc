//! Offers, answers, batches: how entries get from one node to another.

use std::collections::BTreeMap;

use p2pnet_shared::{
    NodeName,
    ring::{Place, Span},
    wire::dht::{Entry, GIVE_MAX, Holding, OFFER_MAX, Refusal, Repair as Said},
};

use super::{
    Around, CONFIRM_MAX, FULL, Repair, Unconfirmed, at,
    compare::is_disjoint,
    moved,
    queue::{BATCH_BYTES, Given, Offered, Queue},
    version, versions_at,
};
use crate::{dht::store::Store, time::Millis};

/// Bytes of a key in an offer, about.
const HOLDING_BYTES: usize = 18;
/// Places asked for and not here yet, at most: what is beyond is asked for later.
const WANTED_MAX: usize = 16 * OFFER_MAX;

impl Repair {
    /// Sends a peer what is to be sent now: one offer and one batch at a time.
    pub(super) fn pump(&mut self, around: &mut Around<'_>, to: &NodeName) {
        let now = around.now;
        let Some(queue) = self.queues.get_mut(to) else { return };
        if !queue.has_work() || now < queue.not_before || !(around.is_reachable)(to) {
            return;
        }
        let rate = around.config.repair_bytes_per_second;
        if queue.offered.is_none() && queue.has_offer() && self.budget.allows(now, rate) {
            self.number += 1;
            if let Some(offered) = next_offer(queue, around.store, self.number, now) {
                self.budget.spend(offered.held.len() * HOLDING_BYTES);
                self.bytes += (offered.held.len() * HOLDING_BYTES) as u64;
                let spans = offered.spans.iter().map(|(span, _)| *span).collect();
                around.send(to, Said::Offer { offer: offered.number, spans, held: offered.held.clone() });
                queue.offered = Some(offered);
            }
        }
        if queue.given.is_none() && !queue.give.is_empty() && self.budget.allows(now, rate) {
            self.number += 1;
            // A slow sender sends little at a time, or what is most endangered would wait behind a large batch.
            let most = (rate / 8).clamp(BATCH_BYTES / 16, BATCH_BYTES);
            if let Some((given, entries)) = next_batch(queue, around.store, self.number, now, most) {
                self.budget.spend(given.weight);
                self.bytes += given.weight as u64;
                around.send(to, Said::Give { batch: given.number, entries });
                queue.given = Some(given);
            }
        }
    }

    pub(super) fn on_offer(
        &mut self,
        around: &mut Around<'_>,
        from: &NodeName,
        offer: u64,
        spans: &[Span],
        held: &[Holding],
    ) {
        if !is_disjoint(spans.iter().copied()) {
            return;
        }
        let theirs: BTreeMap<Place, u64> = held.iter().map(|one| (one.place, one.versions)).collect();
        let (mut want, mut kept) = (Vec::new(), Vec::new());
        let mine = self.mine(around).clone();
        for (place, versions) in &theirs {
            let is_same = versions_at(around.store, *place) == Some(*versions);
            if is_same && at(around.store, *place).all(|held| around.store.is_on_disk(*place, held)) {
                kept.push(*place);
            } else if !is_same && mine.contains(*place) && self.may_want(around, *place) {
                want.push(*place);
            }
        }
        if !spans.is_empty() {
            kept.clear();
        }
        let lacking: Vec<(u8, Place)> = spans
            .iter()
            .flat_map(|span| around.store.arc(span.after, span.to))
            .filter(|(place, _)| theirs.get(place).copied() != versions_at(around.store, *place))
            .map(|(place, _)| (2, place))
            .collect();
        let count = u32::try_from(lacking.len()).unwrap_or(u32::MAX);
        if !lacking.is_empty() && around.is_member(from) {
            self.queues.entry(from.clone()).or_default().give.extend(lacking);
        }
        around.send(from, Said::Wanted { offer, want, kept, lacking: count });
    }

    /// Whether to ask for what stands at a place, or somebody else was asked just now.
    fn may_want(&mut self, around: &Around<'_>, place: Place) -> bool {
        if around.store.refuses().is_some() || self.wanted.len() >= WANTED_MAX {
            return false;
        }
        let is_asked = self.wanted.get(&place).is_some_and(|since| around.now - *since < super::queue::PATIENCE);
        if !is_asked {
            self.wanted.insert(place, around.now);
        }
        !is_asked
    }

    pub(super) fn on_wanted(
        &mut self,
        around: &mut Around<'_>,
        from: &NodeName,
        offer: u64,
        want: &[Place],
        kept: &[Place],
        lacking: u32,
    ) {
        let Some(queue) = self.queues.get_mut(from) else { return };
        let Some(offered) = queue.offered.take_if(|offered| offered.number == offer) else { return };
        let versions = |place: &Place| {
            let found = offered.held.binary_search_by_key(place, |one| one.place).ok()?;
            Some(offered.held[found].versions)
        };
        queue.give.extend(want.iter().filter(|place| versions(place).is_some()).map(|place| (offered.copies, *place)));
        if offered.spans.is_empty() {
            queue.offer_was(around.now, !(want.is_empty() && kept.is_empty()));
            for place in kept {
                if let Some(versions) = versions(place) {
                    self.confirmed(around, from, *place, versions);
                }
            }
        } else if lacking == 0 && self.compare.has_rested(around.now) {
            self.compared(around, from, offered.spans);
        }
    }

    pub(super) fn on_give(&mut self, around: &mut Around<'_>, from: &NodeName, number: u64, entries: &[Entry]) {
        let (mut wait_for, mut refused) = (None, None);
        for entry in entries.iter().filter(|entry| version::is_sound(entry)) {
            let place = Place::of(entry.key.as_str());
            self.wanted.remove(&place);
            match around.store.merge(place, entry, false, around.wall) {
                Ok(taken) => {
                    self.repaired += u64::from(taken.changed && self.settled.contains(place));
                    wait_for = wait_for.max(taken.batch);
                }
                Err(why) => refused = refused.or(Some(why)),
            }
        }
        let is_crowded = self.unconfirmed.len() >= CONFIRM_MAX;
        match wait_for {
            Some(batch) if refused.is_none() && !is_crowded => {
                let after = self.unconfirmed.iter().rposition(|one| one.batch <= batch).map_or(0, |last| last + 1);
                self.unconfirmed.insert(after, Unconfirmed { batch, to: from.clone(), number });
            }
            Some(_) if refused.is_none() => {
                around.send(from, Said::Given { batch: number, refused: Some(Refusal::Late) });
            }
            _ => around.send(from, Said::Given { batch: number, refused }),
        }
    }

    pub(super) fn on_given(&mut self, around: &mut Around<'_>, from: &NodeName, number: u64, refused: Option<Refusal>) {
        let Some(queue) = self.queues.get_mut(from) else { return };
        let Some(given) = queue.given.take_if(|given| given.number == number) else { return };
        if refused.is_some() {
            queue.give.extend(given.entries.iter().map(|(place, ..)| (0, *place)));
            queue.not_before = around.now + FULL;
            return;
        }
        queue.moved_keys += given.entries.len() as u64;
        queue.moved_bytes += given.bytes as u64;
        if queue.give.is_empty() {
            around.effects.push(moved(from, queue));
        }
        // The batch has all keys of a place, as they were then.
        let mut then: BTreeMap<Place, u64> = BTreeMap::new();
        for (place, _, versions) in &given.entries {
            let sum = then.entry(*place).or_default();
            *sum = sum.wrapping_add(*versions);
        }
        for (place, versions) in then {
            self.confirmed(around, from, place, versions);
        }
    }
}

/// The next offer of a queue, if it has one: single keys first.
fn next_offer(queue: &mut Queue, store: &Store, number: u64, at: Millis) -> Option<Offered> {
    let copies = queue.offer.first().map_or(0, |(copies, _)| *copies);
    let mut held: Vec<Holding> = Vec::new();
    while held.len() < OFFER_MAX {
        let Some((_, place)) = queue.offer.pop_first() else { break };
        held.extend(versions_at(store, place).map(|versions| Holding { place, versions }));
    }
    if !held.is_empty() {
        held.sort_unstable();
        held.dedup();
        return Some(Offered { number, at, spans: Vec::new(), held, copies });
    }
    let mut spans = Vec::new();
    while let Some((span, settled)) = queue.spans.pop() {
        let before = held.len();
        held.extend(holdings(store, span).take(OFFER_MAX + 1));
        if held.len() <= OFFER_MAX {
            spans.push((span, settled));
            continue;
        }
        if before > 0 {
            held.truncate(before);
            queue.spans.push((span, settled));
            break;
        }
        // A part that is more than one offer takes is offered up to there; the rest is the next one.
        held.truncate(OFFER_MAX);
        let to = held[OFFER_MAX - 1].place;
        spans.push((Span { after: span.after, to }, settled));
        queue.spans.push((Span { after: to, to: span.to }, settled));
        break;
    }
    if spans.is_empty() {
        return None;
    }
    held.sort_unstable();
    Some(Offered { number, at, spans, held, copies: 0 })
}

/// What is held in a part, place by place.
fn holdings(store: &Store, span: Span) -> impl Iterator<Item = Holding> {
    let mut last = None;
    store.arc(span.after, span.to).filter_map(move |(place, _)| {
        let is_new = last.replace(place) != Some(place);
        let versions = is_new.then(|| versions_at(store, place)).flatten()?;
        Some(Holding { place, versions })
    })
}

/// The next batch of a queue, if anything of it is still held.
fn next_batch(queue: &mut Queue, store: &Store, number: u64, now: Millis, most: usize) -> Option<(Given, Vec<Entry>)> {
    let (mut entries, mut listed, mut bytes, mut weight) = (Vec::new(), Vec::new(), 0, 0);
    let first = queue.give.first().map(|(copies, _)| *copies);
    while weight < most && entries.len() < GIVE_MAX {
        let Some((copies, place)) = queue.give.first().copied().filter(|(copies, _)| Some(*copies) == first) else {
            break;
        };
        let more: usize = at(store, place).map(|held| version::weight(&held.entry)).sum();
        if !entries.is_empty() && weight + more > 2 * BATCH_BYTES {
            break;
        }
        queue.give.remove(&(copies, place));
        for held in at(store, place).take(GIVE_MAX - entries.len()) {
            entries.push(held.entry.clone());
            listed.push((place, held.entry.key.clone(), held.hash));
            bytes += version::bytes(&held.entry);
        }
        weight += more;
    }
    (!entries.is_empty()).then_some((Given { number, at: now, entries: listed, bytes, weight }, entries))
}
