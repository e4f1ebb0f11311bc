//! Who is next: orders wait here, and each of three threads takes those of its kind.
//!
//! ```text
//! give ─▶ same path, contents or upload under way? ──no──▶ lane: reads  (reads, looks, uploads)     short
//!                     │ yes                                      looks  (walks, hashes, outlines)   long
//!                     └─▶ waits until those are done ─────▶      writes (writes, places, rows)      they sync
//! ```
//! Orders about one thing are carried out one after the other, in the order they were given, but for those that get on with one
//! another: looks and reads, and pieces of one unfinished file, of which only what is written already is read. Rows of the index are
//! written after everything that was placed, removed or touched before.
//!
//! Holds 100,000 orders, more than the folder has out at once; beyond that an order is refused as [`Trouble::Full`].

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use p2pnet_shared::{FilePath, wire::folder::Root};

use super::upload::Block;
use crate::folder::{Order, OrderId, Row, Source, Trouble};

const ORDERS_MAX: usize = 100_000;

/// Which thread does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    Reads,
    Looks,
    Writes,
}

/// All of them.
pub(super) const LANES: [Lane; 3] = [Lane::Reads, Lane::Looks, Lane::Writes];

/// The how-manieth order.
pub(super) type Ticket = u64;

/// Something to be done.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) ticket: Ticket,
    pub(super) order: OrderId,
    pub(super) what: Order,
}

/// What a thread takes.
#[derive(Debug)]
pub(super) enum Work {
    Order(Job),
    Block(Block),
    /// Rows of several orders, to be written in one go.
    Rows(Vec<(OrderId, Arc<[Row]>)>),
}

/// An order in the line of a thing it is about.
#[derive(Debug)]
struct Place {
    ticket: Ticket,
    /// It gets on with others that do.
    is_shared: bool,
    /// Others have to be done first.
    waits: bool,
}

/// What an order is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Thing {
    Path(FilePath),
    Contents(Root),
    Upload(u64),
}

#[derive(Debug, Default)]
struct State {
    tickets: Ticket,
    /// Orders given and not done.
    orders: usize,
    /// Those that wait for others, and for how many.
    held: HashMap<Ticket, (usize, Job)>,
    /// Who is under way and who waits, for each thing.
    things: HashMap<Thing, VecDeque<Place>>,
    ready: [VecDeque<Job>; 3],
    /// Of the looks: what others wait for to send bytes; before hashes and between the pages of a walk.
    urgent: VecDeque<Job>,
    /// Of uploads: one of each at most.
    blocks: VecDeque<Block>,
    is_blocks_turn: bool,
    /// Orders that change files, not yet done.
    changing: BTreeSet<Ticket>,
    rows: VecDeque<(Ticket, OrderId, Arc<[Row]>)>,
    /// No more orders: what changes files or rows is still done.
    is_closed: bool,
    /// Nothing more is done.
    is_over: bool,
    threads: usize,
}

/// The line.
#[derive(Debug, Default)]
pub(super) struct Line {
    state: Mutex<State>,
    news: [Condvar; 3],
    ended: Condvar,
}

impl Line {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an order in line. Never waits.
    ///
    /// # Errors
    /// The order, and why it was not taken.
    pub(super) fn give(&self, order: OrderId, what: Order) -> Result<(), Box<(Order, Trouble)>> {
        let mut state = self.state();
        if state.is_closed || state.is_over {
            return Err(Box::new((what, Trouble::Broken)));
        }
        if state.orders >= ORDERS_MAX {
            return Err(Box::new((what, Trouble::Full)));
        }
        state.orders += 1;
        state.tickets += 1;
        let ticket = state.tickets;
        let what = match what {
            Order::Persist { rows } => {
                state.rows.push_back((ticket, order, rows));
                self.news[Lane::Writes as usize].notify_one();
                return Ok(());
            }
            what => what,
        };
        if changes_files(&what) {
            state.changing.insert(ticket);
        }
        let (mut before, is_shared) = (0, is_shared(&what));
        for thing in things(&what) {
            let line = state.things.entry(thing).or_default();
            let waits = if is_shared { line.iter().any(|place| !place.is_shared) } else { !line.is_empty() };
            before += usize::from(waits);
            line.push_back(Place { ticket, is_shared, waits });
        }
        let job = Job { ticket, order, what };
        if before > 0 {
            state.held.insert(ticket, (before, job));
        } else {
            self.ready(&mut state, job);
        }
        Ok(())
    }

    /// Puts a block of an upload in line.
    ///
    /// # Errors
    /// The line is closed.
    pub(super) fn give_block(&self, block: Block) -> Result<(), Block> {
        let mut state = self.state();
        if state.is_closed || state.is_over {
            return Err(block);
        }
        state.blocks.push_back(block);
        self.news[Lane::Reads as usize].notify_one();
        Ok(())
    }

    fn ready(&self, state: &mut State, job: Job) {
        let lane = lane(&job.what);
        match job.what {
            Order::Outline { .. } | Order::Resume { .. } => state.urgent.push_back(job),
            _ => state.ready[lane as usize].push_back(job),
        }
        self.news[lane as usize].notify_one();
    }

    /// An order is done: those that waited for it may go on.
    pub(super) fn done(&self, ticket: Ticket, what: &Order) {
        let mut state = self.state();
        state.orders = state.orders.saturating_sub(1);
        if state.changing.remove(&ticket) && !state.rows.is_empty() {
            self.news[Lane::Writes as usize].notify_one();
        }
        let mut free = Vec::new();
        for thing in things(what) {
            let Some(line) = state.things.get_mut(&thing) else { continue };
            line.retain(|place| place.ticket != ticket);
            if line.is_empty() {
                state.things.remove(&thing);
                continue;
            }
            // The first, and if it gets on with others all that do until the first that does not.
            let shared = line.iter().take_while(|place| place.is_shared).count();
            let next = line.iter_mut().take(shared.max(1)).filter(|place| place.waits);
            free.extend(next.map(|place| {
                place.waits = false;
                place.ticket
            }));
        }
        for next in free {
            let Some((before, _)) = state.held.get_mut(&next) else { continue };
            *before -= 1;
            if *before == 0
                && let Some((_, job)) = state.held.remove(&next)
            {
                self.ready(&mut state, job);
            }
        }
        if state.is_closed {
            self.wake_all();
        }
    }

    /// What is next on this lane; waits for it. `None` when there will be nothing more.
    pub(super) fn next(&self, lane: Lane) -> Option<Work> {
        let mut state = self.state();
        loop {
            if state.is_over {
                return None;
            }
            if let Some(work) = state.take(lane) {
                return Some(work);
            }
            if state.is_closed && state.held.is_empty() && state.changing.is_empty() && state.rows.is_empty() {
                self.wake_all();
                return None;
            }
            state = self.news[lane as usize].wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The same without waiting, but for rows.
    pub(super) fn next_write(&self) -> Option<Work> {
        let mut state = self.state();
        if state.is_over { None } else { state.ready[Lane::Writes as usize].pop_front().map(Work::Order) }
    }

    /// What is to be looked at before anything else, without waiting.
    pub(super) fn next_urgent(&self) -> Option<Job> {
        let mut state = self.state();
        if state.is_over { None } else { state.urgent.pop_front() }
    }

    /// Whether nothing is ready on this lane.
    pub(super) fn is_idle(&self, lane: Lane) -> bool {
        let state = self.state();
        state.ready[lane as usize].is_empty() && state.urgent.is_empty()
    }

    /// Whether a walk is to stop.
    pub(super) fn is_closed(&self) -> bool {
        let state = self.state();
        state.is_closed || state.is_over
    }

    /// No more orders. What changes files or rows is still done; at once: not even that.
    pub(super) fn close(&self, at_once: bool) {
        let mut state = self.state();
        state.is_closed = true;
        state.is_over |= at_once;
        state.blocks.clear();
        self.wake_all();
    }

    fn wake_all(&self) {
        self.news.iter().for_each(Condvar::notify_all);
    }

    /// A thread begins.
    pub(super) fn began(&self) {
        self.state().threads += 1;
    }

    /// It ends.
    pub(super) fn ended(&self) {
        let mut state = self.state();
        state.threads = state.threads.saturating_sub(1);
        self.ended.notify_all();
    }

    /// Waits until all threads have ended, but not for ever; whether they have.
    pub(super) fn wait_ended(&self, at_most: Duration) -> bool {
        let until = Instant::now() + at_most;
        let mut state = self.state();
        while state.threads > 0 {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.ended.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl State {
    fn take(&mut self, lane: Lane) -> Option<Work> {
        match lane {
            // They take turns.
            Lane::Reads => {
                self.is_blocks_turn = !self.is_blocks_turn;
                if self.is_blocks_turn
                    && let Some(block) = self.blocks.pop_front()
                {
                    return Some(Work::Block(block));
                }
                let job = self.ready[lane as usize].pop_front().map(Work::Order);
                job.or_else(|| self.blocks.pop_front().map(Work::Block))
            }
            Lane::Looks => self.urgent.pop_front().or_else(|| self.ready[lane as usize].pop_front()).map(Work::Order),
            Lane::Writes => self.take_rows().or_else(|| self.ready[lane as usize].pop_front().map(Work::Order)),
        }
    }

    /// All rows that wait for no file any more.
    fn take_rows(&mut self) -> Option<Work> {
        let first = self.changing.first().copied().unwrap_or(Ticket::MAX);
        let count = self.rows.iter().take_while(|(ticket, ..)| *ticket < first).count();
        self.orders = self.orders.saturating_sub(count);
        let rows: Vec<_> = self.rows.drain(..count).map(|(_, order, rows)| (order, rows)).collect();
        (!rows.is_empty()).then_some(Work::Rows(rows))
    }
}

fn lane(what: &Order) -> Lane {
    match what {
        Order::Look { .. } | Order::Read { .. } => Lane::Reads,
        Order::Walk { .. } | Order::Hash { .. } | Order::Outline { .. } | Order::Resume { .. } => Lane::Looks,
        Order::Write { .. }
        | Order::Place(_)
        | Order::Remove { .. }
        | Order::Touch { .. }
        | Order::Discard { .. }
        | Order::SetAside { .. }
        | Order::Forget { .. }
        | Order::Persist { .. } => Lane::Writes,
    }
}

fn changes_files(what: &Order) -> bool {
    matches!(what, Order::Place(_) | Order::Remove { .. } | Order::Touch { .. })
}

/// Whether it may be carried out beside others of which that is said.
fn is_shared(what: &Order) -> bool {
    matches!(
        what,
        Order::Look { .. } | Order::Hash { .. } | Order::Read { .. } | Order::Outline { .. } | Order::Write { .. }
    )
}

/// What it is about, each once.
fn things(what: &Order) -> Vec<Thing> {
    let of = |source: &Source| match source {
        Source::File { path, .. } => Some(Thing::Path(path.clone())),
        Source::Part(root) | Source::Aside(root) => Some(Thing::Contents(*root)),
        Source::Upload(number) => Some(Thing::Upload(*number)),
        Source::Memory(_) => None,
    };
    let path = what.path().cloned().map(Thing::Path);
    let beside = match what {
        Order::Read { source, .. } | Order::Outline { source, .. } => of(source),
        Order::Place(place) => of(&place.source).filter(|source| Some(source) != path.as_ref()),
        Order::Write { root, .. }
        | Order::Resume { root, .. }
        | Order::Discard { root }
        | Order::Forget { root }
        | Order::SetAside { root, .. } => Some(Thing::Contents(*root)),
        Order::Walk { .. }
        | Order::Persist { .. }
        | Order::Look { .. }
        | Order::Hash { .. }
        | Order::Remove { .. }
        | Order::Touch { .. } => None,
    };
    path.into_iter().chain(beside).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder;

    const ROOT: Root = Root([7; 32]);

    fn read() -> Order {
        Order::Read { source: Source::Part(ROOT), offset: 0, length: 1 }
    }

    fn write() -> Order {
        Order::Write { root: ROOT, size: 9, offset: 1, bytes: b"w".to_vec().into() }
    }

    fn place() -> Order {
        Order::Place(folder::Place {
            path: "a".parse().unwrap(),
            over: None,
            source: Source::Part(ROOT),
            root: ROOT,
            size: 9,
            mtime_ns: 0,
            executable: false,
        })
    }

    fn take(line: &Line, lane: Lane) -> Job {
        match line.state().take(lane) {
            Some(Work::Order(job)) => job,
            other => panic!("{other:?} is next"),
        }
    }

    fn is_idle(line: &Line) -> bool {
        LANES.iter().all(|lane| line.is_idle(*lane))
    }

    #[test]
    fn pieces_of_a_file_are_read_and_written_beside_one_another_and_what_changes_it_waits_for_all() {
        let line = Line::default();
        let orders = [write(), read(), write(), read(), place(), read(), Order::Discard { root: ROOT }, write()];
        (1..).zip(orders).for_each(|(order, what)| line.give(order, what).unwrap());
        let mut first: Vec<Job> =
            [Lane::Reads, Lane::Reads, Lane::Writes, Lane::Writes].map(|lane| take(&line, lane)).into();
        assert_eq!(first.iter().map(|job| job.order).collect::<Vec<_>>(), [2, 4, 1, 3]);
        for last in [false, false, false, true] {
            assert!(is_idle(&line), "the placing waits for all");
            let job = first.remove(if last { 0 } else { 1.min(first.len() - 1) });
            line.done(job.ticket, &job.what);
        }
        for (order, lane) in [(5, Lane::Writes), (6, Lane::Reads), (7, Lane::Writes), (8, Lane::Writes)] {
            let job = take(&line, lane);
            assert_eq!(job.order, order);
            assert!(is_idle(&line), "what is behind {order} waits for it");
            line.done(job.ticket, &job.what);
        }
        assert!(is_idle(&line) && line.state().things.is_empty() && line.state().held.is_empty());
    }
}
