//! The accounts of every broadcast: who is to have it, who has it, and what came twice.
//!
//! A message is to reach the nodes that are up now and had booted when it was accepted; a node that received it before it
//! went down stays in the account, so a kill never makes numbers go back. A life booted after acceptance may still get
//! the message by repair: that is welcome and not counted. Always holds: `delivered ≤ expected` for every trace, and the
//! running totals equal the sum over all traces, those that were dropped included.

use std::collections::{BTreeMap, HashMap, HashSet};

use p2pnet_shared::{Epoch, MessageId, NodeName, UnixMillis, telemetry::Delivery};

use super::{Arrival, Trace, bits::Bits, summary::MessageCounts};

/// Traces kept; the oldest is dropped for a new one and lives on in the totals.
pub(super) const TRACES_MAX: usize = 1_000;

/// Lives of one node counted for one trace; a node that restarts more often while a message is about is not counted again.
const LIVES_MAX: usize = 8;

/// Origins' lives whose dropped traces are remembered; the oldest life is forgotten for a new one.
const DROPPED_MAX: usize = 8_192;

/// Traces in the order of acceptance; the second part tells messages of one millisecond apart.
type Place = (UnixMillis, u64);

/// One trace with what its numbers are made from.
#[derive(Debug, Clone)]
struct Book {
    trace: Trace,
    /// The origin itself has reported, so `accepted_at` is final.
    origin_known: bool,
    /// Nodes that have it in a life that was to have it.
    has: Bits,
    /// How often each life reported it.
    copies: BTreeMap<(usize, Epoch), u32>,
}

impl Book {
    fn is_outstanding(&self) -> bool {
        self.trace.delivered < self.trace.expected
    }

    fn recount(&mut self, eligible: &[Option<Epoch>]) {
        let accepted = self.trace.accepted_at;
        self.has = Bits::default();
        for (slot, epoch) in self.copies.keys() {
            if epoch.booted_at() <= accepted {
                self.has.set(*slot, true);
            }
        }
        let waiting = eligible.iter().enumerate().filter(|(slot, epoch)| {
            epoch.is_some_and(|epoch| epoch.booted_at() <= accepted) && !self.has.contains(*slot)
        });
        self.trace.delivered = self.has.count();
        self.trace.expected = self.trace.delivered + u32::try_from(waiting.count()).unwrap_or(u32::MAX);
        self.trace.duplicates = self.copies.values().map(|copies| copies.saturating_sub(1)).sum();
    }
}

/// How a delivery came to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// Just now: a second one of the same life is a duplicate.
    Live,
    /// From a snapshot, which repeats what may be known and lists it this many times.
    Replay(u32),
}

/// What a delivery was news of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct News {
    /// Nobody had mentioned the message before.
    pub(super) first: bool,
}

/// All accounts.
#[derive(Debug, Clone, Default)]
pub(super) struct Books {
    books: BTreeMap<Place, Book>,
    places: HashMap<MessageId, Place>,
    next: u64,
    /// The life of each slot's node that is up, by slot.
    eligible: Vec<Option<Epoch>>,
    /// Highest number of each origin's life whose trace was dropped: reported again, it must not be counted again.
    dropped: BTreeMap<(Epoch, NodeName), u64>,
    past: MessageCounts,
    present: MessageCounts,
    outstanding: usize,
    last_arrival: UnixMillis,
    /// Messages whose completion has not been told yet.
    untold: HashSet<MessageId>,
}

impl Books {
    pub(super) fn traces(&self) -> impl DoubleEndedIterator<Item = &Trace> {
        self.books.values().map(|book| &book.trace)
    }

    pub(super) fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// The oldest message that has not reached everybody.
    pub(super) fn oldest_outstanding(&self) -> Option<&Trace> {
        self.books.values().find(|book| book.is_outstanding()).map(|book| &book.trace)
    }

    pub(super) fn last_arrival(&self) -> UnixMillis {
        self.last_arrival
    }

    pub(super) fn trace(&self, id: &MessageId) -> Option<&Trace> {
        self.books.get(self.places.get(id)?).map(|book| &book.trace)
    }

    pub(super) fn totals(&self) -> MessageCounts {
        let (a, b) = (&self.past, &self.present);
        MessageCounts {
            accepted: a.accepted + b.accepted,
            delivered: a.delivered + b.delivered,
            expected: a.expected + b.expected,
            duplicates: a.duplicates + b.duplicates,
            ..MessageCounts::default()
        }
    }

    /// The life of `slot`'s node that counts from now on: `None` while it is not up or its life is not known.
    pub(super) fn set_eligible(&mut self, slot: usize, life: Option<Epoch>) {
        if self.eligible.len() <= slot {
            self.eligible.resize(slot + 1, None);
        }
        let before = std::mem::replace(&mut self.eligible[slot], life);
        if before == life {
            return;
        }
        let (mut more, mut fewer) = (0, 0);
        for book in self.books.values_mut().filter(|book| !book.has.contains(slot)) {
            let counts = |life: Option<Epoch>| life.is_some_and(|life| life.booted_at() <= book.trace.accepted_at);
            let (was, is) = (counts(before), counts(life));
            if was == is {
                continue;
            }
            let outstanding = book.is_outstanding();
            if is {
                book.trace.expected += 1;
                more += 1;
            } else {
                book.trace.expected -= 1;
                fewer += 1;
            }
            self.outstanding += usize::from(book.is_outstanding());
            self.outstanding -= usize::from(outstanding);
        }
        self.present.expected = self.present.expected + more - fewer;
    }

    /// One node's report that it has a message.
    pub(super) fn deliver(
        &mut self,
        slot: usize,
        node: &NodeName,
        life: Epoch,
        delivery: Delivery,
        source: Source,
    ) -> News {
        let origin = (delivery.id.epoch, delivery.id.origin.clone());
        let known = self.places.get(&delivery.id).copied();
        if known.is_none() && self.dropped.get(&origin).is_some_and(|through| delivery.id.seq <= *through) {
            return News::default();
        }
        let mut book = match known.and_then(|place| self.take(place)) {
            Some(book) => book,
            None => Book {
                trace: Trace {
                    id: delivery.id.clone(),
                    text: None,
                    accepted_at: delivery.at,
                    arrivals: Vec::new(),
                    delivered: 0,
                    expected: 0,
                    duplicates: 0,
                },
                origin_known: false,
                has: Bits::default(),
                copies: BTreeMap::new(),
            },
        };
        if known.is_none() {
            self.untold.insert(delivery.id.clone());
        }
        self.enter(&mut book, slot, node, life, delivery, source);
        let place = known.map_or(self.next, |(_, number)| number);
        self.next += u64::from(known.is_none());
        self.put((book.trace.accepted_at, place), book);
        if self.books.len() > TRACES_MAX {
            self.drop_oldest();
        }
        News { first: known.is_none() }
    }

    /// Messages that have reached everybody since the last call, each said once.
    pub(super) fn completed(&mut self) -> Vec<MessageId> {
        let (books, places) = (&self.books, &self.places);
        let done = |id: &MessageId| {
            let book = places.get(id).and_then(|place| books.get(place));
            book.is_none_or(|book| !book.is_outstanding())
        };
        self.untold.extract_if(|id| done(id)).collect()
    }

    fn enter(
        &mut self,
        book: &mut Book,
        slot: usize,
        node: &NodeName,
        life: Epoch,
        delivery: Delivery,
        source: Source,
    ) {
        let is_new = book.copies.is_empty();
        let lives = book.copies.range((slot, Epoch(0))..=(slot, Epoch(u64::MAX)));
        if !book.copies.contains_key(&(slot, life)) && lives.count() >= LIVES_MAX {
            return;
        }
        let copies = book.copies.entry((slot, life)).or_insert(0);
        let first_of_life = *copies == 0;
        *copies = match source {
            Source::Live => copies.saturating_add(1),
            Source::Replay(times) => (*copies).max(times),
        };
        let single = *copies == 1;
        if book.trace.text.is_none() {
            book.trace.text = delivery.text;
        }
        let accepted_before = book.trace.accepted_at;
        if *node == delivery.id.origin && life == delivery.id.epoch {
            book.trace.accepted_at = delivery.at;
            book.origin_known = true;
        } else if !book.origin_known {
            book.trace.accepted_at = accepted_before.min(delivery.at);
        }
        if first_of_life && !book.trace.arrivals.iter().any(|arrival| arrival.node == *node) {
            let is_origin = *node == delivery.id.origin;
            let Delivery { path, at, via, late, .. } = delivery;
            let arrival = Arrival { node: node.clone(), path, at, via, late };
            let rank = |arrival: &Arrival| (arrival.node != delivery.id.origin, arrival.at);
            let place = if is_origin { 0 } else { book.trace.arrivals.partition_point(|a| rank(a) <= rank(&arrival)) };
            book.trace.arrivals.insert(place, arrival);
        }
        // Everything but the plain next arrival is rare enough to be counted anew.
        let counts = life.booted_at() <= book.trace.accepted_at;
        if accepted_before == book.trace.accepted_at && first_of_life && single && !is_new {
            if counts && book.has.set(slot, true) {
                let waited = self.eligible.get(slot).copied().flatten();
                let was_expected = waited.is_some_and(|life| life.booted_at() <= book.trace.accepted_at);
                book.trace.delivered += 1;
                book.trace.expected += u32::from(!was_expected);
            }
        } else {
            book.recount(&self.eligible);
        }
        if counts {
            self.last_arrival = self.last_arrival.max(delivery.at);
        }
    }

    fn take(&mut self, place: Place) -> Option<Book> {
        let book = self.books.remove(&place)?;
        self.places.remove(&book.trace.id);
        self.outstanding -= usize::from(book.is_outstanding());
        self.present.accepted -= 1;
        self.present.delivered -= u64::from(book.trace.delivered);
        self.present.expected -= u64::from(book.trace.expected);
        self.present.duplicates -= u64::from(book.trace.duplicates);
        Some(book)
    }

    fn put(&mut self, place: Place, book: Book) {
        self.outstanding += usize::from(book.is_outstanding());
        self.present.accepted += 1;
        self.present.delivered += u64::from(book.trace.delivered);
        self.present.expected += u64::from(book.trace.expected);
        self.present.duplicates += u64::from(book.trace.duplicates);
        self.places.insert(book.trace.id.clone(), place);
        self.books.insert(place, book);
    }

    fn drop_oldest(&mut self) {
        let Some(book) = self.books.keys().next().copied().and_then(|place| self.take(place)) else { return };
        self.past.accepted += 1;
        self.past.delivered += u64::from(book.trace.delivered);
        self.past.expected += u64::from(book.trace.expected);
        self.past.duplicates += u64::from(book.trace.duplicates);
        let id = book.trace.id;
        self.untold.remove(&id);
        let through = self.dropped.entry((id.epoch, id.origin)).or_insert(0);
        *through = id.seq.max(*through);
        if self.dropped.len() > DROPPED_MAX {
            self.dropped.pop_first();
        }
    }

    /// Counts everything anew and compares: the running numbers must never drift.
    #[cfg(test)]
    pub(super) fn check(&self) {
        let mut totals = MessageCounts::default();
        let mut outstanding = 0;
        for book in self.books.values() {
            let mut fresh = book.clone();
            fresh.recount(&self.eligible);
            assert_eq!(fresh.trace, book.trace, "a trace's numbers");
            assert!(book.trace.delivered <= book.trace.expected);
            totals.accepted += 1;
            totals.delivered += u64::from(book.trace.delivered);
            totals.expected += u64::from(book.trace.expected);
            totals.duplicates += u64::from(book.trace.duplicates);
            outstanding += usize::from(book.is_outstanding());
        }
        assert_eq!((totals, outstanding), (self.present, self.outstanding), "totals over all traces");
        assert_eq!(self.places.len(), self.books.len());
    }
}
