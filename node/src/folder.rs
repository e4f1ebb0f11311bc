//! One folder everywhere: every node's folder becomes the union of them all.
//!
//! Sources: *Dotted Version Vectors* (Preguiça et al. 2010) and delta CRDTs (Almeida et al. 2018) for what replaces what; BitTorrent
//! (Cohen 2003; BEP 52) and Kraken (Uber) for moving bytes; BLAKE3 (O'Connor et al. 2020) §2 for verified chunks; Unison and
//! Dropbox Nucleus for keeping what is believed apart from what is on disk.
//!
//! ```text
//!  disk ──Walked, Hashed──▶ inspect.rs ──writes──▶ index.rs ◀──entries── reconcile.rs ◀──▶ neighbours.rs
//!  watch ─Touched─▶ scan.rs                          │ render.rs: which file shows which sibling
//!                                                    ▼
//!  disk ◀──Place, Remove── placing.rs ◀── plan.rs: (base, disk, index) ──▶ transfer.rs ◀── chunks ──▶ others
//!
//!  users ──▶ asked.rs, upload.rs (Confirm ◀──▶ neighbours), census.rs (Census ◀──▶ all)      rows.rs ──▶ the index on disk
//! ```
//! Three sets of paths and contents: what is known (*index*: entries with siblings and tombstones), what should be here (*want*: the index
//! as it is shown), what is here (*have*: what the disk was last seen to hold). The union is reached when have equals want on all
//! nodes and want is equal on all.
//!
//! Every input ends the same way ([`State::settle`]): what the index says changed is told to neighbours, written to disk and planned;
//! what can be done is ordered; who can be answered is answered; one timer is set for the earliest of all that is due.
//!
//! Always holds:
//! - every question of a user gets exactly one answer;
//! - orders about one path never overlap;
//! - nothing is replaced or removed on disk that does not look as it did when it was last looked at;
//! - once it is quiet, want and have are equal on all nodes that can reach each other;
//! - everything is a function of the inputs and the seed.
//!
//! Left out on purpose: folders without files, links, owners and attributes; renames as such (they are a delete and a new
//! file with contents that are here already).

mod asked;
mod census;
pub(crate) mod chunks;
mod config;
mod figures;
mod index;
mod inspect;
mod local;
mod neighbours;
mod orders;
mod placing;
mod plan;
mod reconcile;
mod render;
mod rows;
mod scan;
#[cfg(test)]
mod tests;
mod transfer;
mod upload;
mod version;
mod words;

use std::collections::BTreeSet;

use p2pnet_shared::{
    Epoch, FilePath, NodeName, UnixMillis,
    wire::folder::{Message, Root},
};
use rand::{Rng, SeedableRng, rngs::Xoshiro256PlusPlus};

use self::{
    asked::Asked,
    census::Censuses,
    index::{Changes, Index},
    neighbours::{Moved, Neighbours},
    orders::{Orders, Owner},
    placing::Desk,
    reconcile::Talks,
    rows::Rows,
    scan::Scan,
    transfer::{Around, Transfer},
    upload::Uploads,
};
pub use self::{
    config::Config,
    words::{
        Answer, Done, Effect, Found, Input, Listed, Order, OrderId, Place, Request, RequestId, Row, Source, Stat,
        Timer, Trouble,
    },
};
use crate::time::Millis;

/// How often what has no time of its own is seen to: tombstones, patience.
const TICK: Millis = Millis(1_000);
/// How often old deletions are forgotten.
const EXPIRE_EVERY: Millis = Millis(60_000);
/// From so many members on a node asks for less at a time.
const MANY_MEMBERS: usize = 500;
/// How much that is, bytes.
const WINDOW_OF_MANY: usize = 2 * 1024 * 1024;
/// The row that says that everything was looked at once.
const SCANNED: &str = "\0scanned";

/// Everything one node knows of the folder.
#[derive(Debug)]
pub struct State {
    me: NodeName,
    epoch: Epoch,
    config: Config,
    now: Millis,
    rng: Xoshiro256PlusPlus,
    index: Index,
    transfer: Transfer,
    orders: Orders,
    neighbours: Neighbours,
    scan: Scan,
    desk: Desk,
    talks: Talks,
    rows: Rows,
    asked: Asked,
    uploads: Uploads,
    censuses: Censuses,
    /// No walk through this folder was ever completed: what nobody knows was there before us.
    is_first_scan: bool,
    /// What is found was not seen to change: it happened before this life, or was us just before its crash.
    is_first_look: bool,
    /// Paths of which that is hard to tell before everything was looked at.
    hanging: BTreeSet<FilePath>,
    /// Everything was walked through in this life, so that what is on disk and not known is at least going to be looked at.
    is_walked: bool,
    /// The folder or its marker is gone.
    no_folder: bool,
    is_watching: bool,
    /// Numbers for questions to others.
    last_call: u64,
    tick_due: Millis,
    expire_due: Millis,
    timer_due: Option<Millis>,
    /// Since when have equals want, or since when it does not; and which of the two.
    since: (UnixMillis, bool),
    /// What may be asked for at a time, if there are not too many members.
    window_bytes: usize,
    /// When something last came or was placed.
    moved_at: Millis,
}

impl State {
    /// The folder of the node `me` in the life `epoch`, with the rows of its index that its disk held. `is_new_folder`: it was not shared
    /// before, so what is in it is nobody's write. `seed` makes all its chance. Rows that cannot be read are left out: what they said
    /// comes from the disk or from others.
    #[must_use]
    pub fn new(me: NodeName, epoch: Epoch, config: Config, seed: u64, rows: Vec<Row>, is_new_folder: bool) -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut index = Index::new(me.clone(), epoch.0, &config);
        let mut was_scanned = false;
        for row in rows {
            if *row.key == *SCANNED {
                was_scanned = true;
            } else if let Some(root) = row.is_aside() {
                index.set_aside(root);
            } else {
                // What is damaged is as good as not there.
                let _ = index.restore(&row);
            }
        }
        index.restored();
        Self {
            transfer: Transfer::new(&config, rng.next_u64()),
            orders: Orders::default(),
            neighbours: Neighbours::new(me.clone(), config.neighbours),
            scan: Scan::default(),
            desk: Desk::default(),
            talks: Talks::default(),
            rows: Rows::default(),
            asked: Asked::default(),
            uploads: Uploads::default(),
            censuses: Censuses::default(),
            is_first_scan: is_new_folder || !was_scanned,
            is_first_look: true,
            hanging: BTreeSet::new(),
            is_walked: false,
            no_folder: false,
            is_watching: true,
            last_call: rng.next_u64() >> 1,
            tick_due: Millis(0),
            expire_due: Millis(0),
            timer_due: None,
            since: (epoch.booted_at(), false),
            window_bytes: config.window_bytes,
            moved_at: Millis(0),
            now: Millis(0),
            me,
            epoch,
            config,
            rng,
            index,
        }
    }

    /// Begins. To be called once, before anything else.
    pub fn start(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        self.now = now;
        self.tick_due = now + TICK;
        let first = self.rng.next_u64() % self.config.compare_period.0.max(1);
        self.talks.start(now + Millis(first));
        self.scan.start(now);
        self.settle(effects);
    }

    /// Takes one input and says what is to be done about it.
    pub fn handle(&mut self, now: Millis, input: Input, effects: &mut Vec<Effect>) {
        self.now = self.now.max(now);
        match input {
            Input::MemberUp { name, epoch } => {
                let moved = self.neighbours.up(name, epoch);
                self.on_moved(moved);
            }
            Input::MemberDown { name } => {
                let moved = self.neighbours.down(&name);
                self.censuses.gone(&name);
                self.talks.forget(&name);
                self.with_transfer(effects, |transfer, around| transfer.unreachable(around, &name));
                self.on_moved(moved);
            }
            Input::Received { from, message } => self.on_received(from, message, effects),
            Input::Unreachable { peer } => {
                self.talks.lost(self.now, &peer);
                self.with_transfer(effects, |transfer, around| transfer.unreachable(around, &peer));
            }
            Input::Asked { id, request } => self.on_asked(id, request, effects),
            Input::Touched { path } => self.scan.touch(path, self.now + self.config.settle),
            Input::Overflowed => self.scan.look_at_everything(),
            Input::Watching(is_watching) => self.is_watching = is_watching,
            Input::Done { order, done } => self.on_done(order, done, effects),
            Input::TimerFired(Timer::Look { due }) => {
                if self.timer_due == Some(due) {
                    self.timer_due = None;
                }
            }
        }
        self.settle(effects);
    }

    fn on_moved(&mut self, moved: Moved) {
        if moved == Moved::default() {
            return;
        }
        for name in &moved.went {
            self.talks.forget(name);
        }
        for name in &moved.came {
            self.talks.met(self.now, &self.me, name);
        }
        let is_many = self.neighbours.members().len() >= MANY_MEMBERS;
        self.config.window_bytes = if is_many { self.window_bytes.min(WINDOW_OF_MANY) } else { self.window_bytes };
        self.transfer.neighbours_changed();
    }

    fn on_received(&mut self, from: NodeName, message: Message, effects: &mut Vec<Effect>) {
        if from == self.me {
            return;
        }
        match message {
            Message::Push { entries } => self.on_push(&from, entries, effects),
            Message::Compare { index } => self.on_compare(from, index, effects),
            Message::Buckets { sums } => self.on_buckets(from, &sums, effects),
            Message::Listing { buckets, rows } => self.on_listing(from, &buckets, &rows, effects),
            Message::Ask { paths } => self.on_ask(from, &paths, effects),
            Message::Confirm { call, entry, root } => self.on_confirm(from, (call, entry, root), effects),
            Message::Confirmed { call } => self.on_confirmed(from, call),
            Message::Census { call, have } => self.on_census(from, call, have, effects),
            Message::Counted { call, rows, more } => self.on_counted(&from, call, rows, more),
            Message::Transfer(said) => {
                self.with_transfer(effects, |transfer, around| transfer.received(around, &from, said));
            }
        }
    }

    fn on_done(&mut self, order: OrderId, done: Done, effects: &mut Vec<Effect>) {
        let path = match (self.orders.owner(order), done) {
            (Some(Owner::Walk), done) => return self.on_walked(order, done, effects),
            (None, _) => return,
            (Some(_), done) => match (self.orders.take(order), done) {
                (Some(Owner::Transfer), done) => {
                    if let Done::Written(Err(why)) = &done {
                        self.on_disk_trouble(*why);
                    }
                    return self.with_transfer(effects, |transfer, around| transfer.done(around, order, done));
                }
                (Some(Owner::Persist), Done::Persisted(written)) => {
                    self.rows.written(self.now, written);
                    return self.talks.released(self.now);
                }
                (Some(Owner::Look { path }), Done::Looked(found)) => {
                    self.on_looked(path.clone(), found, effects);
                    path
                }
                (Some(Owner::Hash { path, .. }), Done::Hashed(hashed)) => {
                    self.on_hashed(path.clone(), hashed, effects);
                    path
                }
                (Some(Owner::Place { path, over, upload: Some(id), .. }), Done::Placed(placed)) => {
                    over.iter().for_each(|root| self.desk.went(root));
                    self.on_upload_placed(id, placed, effects);
                    path
                }
                (Some(Owner::Place { path, root, size, source, over, .. }), Done::Placed(placed)) => {
                    over.iter().for_each(|root| self.desk.went(root));
                    self.on_placed(path.clone(), (root, size), source, placed, effects);
                    path
                }
                (Some(Owner::Remove { path, over }), Done::Removed(removed)) => {
                    self.desk.went(&over);
                    self.on_removed(path.clone(), removed, effects);
                    path
                }
                (Some(Owner::Touch { path, root }), Done::Placed(touched)) => {
                    self.on_touched(path.clone(), root, touched);
                    path
                }
                (Some(Owner::SetAside { path, root }), Done::SetAside(set)) => {
                    self.on_set_aside(&path, root, set);
                    path
                }
                (Some(Owner::Forget { root }), Done::Discarded) => return self.desk.forgotten(&root),
                (owner, done) => {
                    debug_assert!(false, "the disk answered {owner:?} with {done:?}");
                    return;
                }
            },
        };
        self.moved_at = self.now;
        self.scan.freed(&path);
        if !self.scan.is_open(&path) {
            self.desk.looked(&path);
        }
        self.desk.plan(path, None);
    }

    /// What follows from an input, whatever it was.
    fn settle(&mut self, effects: &mut Vec<Effect>) {
        if self.tick_due <= self.now {
            self.tick_due = self.now + TICK;
            if self.expire_due <= self.now {
                self.expire_due = self.now + EXPIRE_EVERY;
                self.index.expire(self.wall());
            }
            self.tick_askers();
            self.forget_needless(effects);
        }
        self.desk.tick(self.now);
        self.advance_asides();
        loop {
            self.take_changes(None);
            self.take_ready(effects);
            self.scan.pump(self.now, &mut self.orders, effects);
            self.complete_walks(effects);
            self.work(effects);
            self.advance_uploads(effects);
            if !self.index.has_changes() {
                break;
            }
        }
        self.with_transfer(effects, |transfer, around| {
            if transfer.next_due().is_some_and(|due| due <= around.now) {
                transfer.tick(around);
            }
        });
        self.confirm_all(effects);
        self.advance_asked(effects);
        self.advance_censuses(effects);
        self.talk(effects);
        self.rows.flush(self.now, &mut self.orders, effects);
        self.note_since();
        self.set_timer(effects);
    }

    /// Hands on what the index says changed. `from` told us.
    fn take_changes(&mut self, from: Option<&NodeName>) {
        let Changes { news, plans, rows } = self.index.take_changes();
        news.iter().chain(&plans).for_each(|path| self.uploads.changed(path));
        self.rows.add(self.now, rows);
        let due = self.now + self.config.push_after;
        if from.is_none() {
            self.rows.hold(due, news.iter().cloned());
        }
        self.talks.changed(due, news, from);
        for path in plans {
            self.desk.plan(path, from);
        }
    }

    /// Takes what has been fetched.
    fn take_ready(&mut self, effects: &mut Vec<Effect>) {
        for ready in self.transfer.take_ready() {
            self.moved_at = self.now;
            if !self.desk.ready(&ready.root, ready.source) {
                self.with_transfer(effects, |transfer, around| transfer.unwant(around, &ready.root));
            }
        }
    }

    fn set_timer(&mut self, effects: &mut Vec<Effect>) {
        let dues = [
            Some(self.tick_due),
            self.scan.next_due(),
            self.desk.next_due(),
            self.talks.next_due(),
            self.rows.next_due(),
            self.asked.next_due(),
            self.uploads.next_due(),
            self.censuses.next_due(),
            self.transfer.next_due(),
        ];
        let Some(due) = dues.into_iter().flatten().min() else { return };
        // Whatever is due already and was not done waits for something else: no sooner than the clock can tell.
        let due = due.max(self.now + Millis(1));
        if self.timer_due.is_none_or(|set| due < set) {
            self.timer_due = Some(due);
            effects.push(Effect::SetTimer { after: due - self.now, timer: Timer::Look { due } });
        }
    }

    /// Lets transfer do something.
    fn with_transfer<T>(
        &mut self,
        effects: &mut Vec<Effect>,
        act: impl FnOnce(&mut Transfer, &mut Around<'_>) -> T,
    ) -> T {
        let (index, orders) = (&self.index, &mut self.orders);
        let locate = |root: &Root| index.locate(root).map(|(path, stat)| Source::File { path, stat });
        let mut order = |what, effects: &mut Vec<Effect>| orders.issue(what, Owner::Transfer, effects);
        let mut around = Around {
            now: self.now,
            config: &self.config,
            neighbours: self.neighbours.all(),
            locate: &locate,
            order: &mut order,
            effects,
        };
        act(&mut self.transfer, &mut around)
    }

    /// The wall clock, milliseconds since 1970, as far as it was right when this life began.
    fn wall(&self) -> u64 {
        self.epoch.0.saturating_add(self.now.0)
    }
}

/// Everything was looked at once.
fn scanned_row() -> Row {
    Row { key: SCANNED.into(), value: Some(Vec::new()) }
}
