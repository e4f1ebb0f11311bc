//! What the gateway knows: per node what it last said, folded; and who is reading along.
//!
//! Names are interned once and rows are 16 bytes, so a thousand views of a thousand members are 16 MB; the keys they hold
//! are in `held.rs`, the files on their disks in `folders.rs`. A new `Hello`
//! replaces everything known of a node, the messages of its present life included: its snapshot brings them again.
//! Every line has a number; a node's history is told as of a number, and a reader skips that node's older lines.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
};

use bytes::Bytes;
use p2pnet_shared::{
    Epoch, MessageId, NodeName, UnixMillis, ViewDigest,
    fault::ActiveFault,
    ring::RingDigest,
    telemetry::{Delivery, FeedLine, KeyCounts, Load, MemberRow, OverlayLink, Report},
    wire::{
        broadcast::{PATH_MAX, TEXT_MAX_BYTES, Via},
        membership::Status,
    },
};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{
    folders::{Folder, Folders},
    held::{HELD_ALL_MAX, HELD_MAX, Held, Moved},
};
use crate::network::{Whole, keys::COPIES};

/// Nodes remembered at most; beyond that a link is refused unless a node whose link is down can be forgotten.
pub(super) const NODES_MAX: usize = 2_048;
/// Names remembered at most, in rows and paths; a link that brings more is closed.
pub(super) const NAMES_MAX: usize = 8_192;
/// Messages remembered at most; the oldest is forgotten for a new one.
pub(super) const MESSAGES_MAX: usize = 1_000;
/// Overlay links remembered of one node; a node has 8 unless it was told otherwise.
pub(super) const LINKS_MAX: usize = 64;
/// Ways of copies remembered of one node; a node tells of 16.
const MOVING_MAX: usize = 16;
/// Lines waiting for one reader of the feed. When full, the queue is thrown away and the reader starts over with
/// `Overrun` and a new history: it never silently misses a line.
pub(super) const READER_LINES_MAX: usize = 4_096;

/// How often a delivery that was reported again is told to a newcomer at most: often enough to be seen as wrong.
const COPIES_TOLD: u8 = 3;

/// Why a link may not go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("a later life of this node has reported")]
    Superseded,
    #[error("more names than the gateway remembers")]
    TooManyNames,
    #[error("more nodes than the gateway remembers")]
    TooManyNodes,
    #[error("a report before its Hello")]
    NoHello,
    #[error("a delivery that no node of ours makes: a text or a path over its limit")]
    Malformed,
}

/// One link; a node's older link has an older one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LinkId {
    node: u16,
    number: u64,
}

/// One line of the feed as it goes out, with whom it is about and its number.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) number: u64,
    pub(super) node: u16,
    pub(super) bytes: Bytes,
}

/// A member as one node holds it; its name is its place in the list.
#[derive(Debug, Clone, Copy)]
struct Row {
    epoch: Epoch,
    incarnation: u32,
    status: Option<Status>,
}

#[derive(Debug, Clone)]
struct Arrival {
    message: u64,
    path: Box<[u16]>,
    at: UnixMillis,
    via: Via,
    late: bool,
    /// How often this life of the node reported it, up to [`COPIES_TOLD`]; once, unless something is wrong.
    copies: u8,
}

#[derive(Debug, Default)]
struct NodeState {
    hello: Option<(Uuid, Epoch, SocketAddr)>,
    rows: Vec<Row>,
    has_snapshot: bool,
    view: Option<(ViewDigest, UnixMillis)>,
    links: Vec<OverlayLink>,
    load: Option<Load>,
    arrivals: VecDeque<Arrival>,
    /// The link it reports over; `None` while there is none.
    link: Option<u64>,
    /// When its link broke.
    lost_at: UnixMillis,
    leaving: bool,
    faults: Vec<ActiveFault>,
    healed_at: Option<UnixMillis>,
    ring: Option<(RingDigest, UnixMillis)>,
    keys: Option<KeyCounts>,
    /// `None` until it has begun to tell which keys it holds.
    held: Option<Held>,
    folder: Folder,
}

#[derive(Debug)]
struct Message {
    id: MessageId,
    text: Option<Arc<str>>,
}

/// Everything the gateway knows.
#[derive(Debug, Default)]
pub(super) struct Store {
    names: Vec<NodeName>,
    index: HashMap<NodeName, u16>,
    nodes: HashMap<u16, NodeState>,
    /// The recent messages; the first has number `messages_from`.
    messages: VecDeque<Message>,
    messages_from: u64,
    message_numbers: HashMap<MessageId, u64>,
    readers: Vec<mpsc::Sender<Line>>,
    lines: u64,
    links: u64,
    /// Keys that all nodes hold together, as far as they are remembered.
    held: usize,
    /// Places that were given up lately while others still held them, and when.
    given_up: VecDeque<(UnixMillis, u64)>,
    /// When keys were written and whole again.
    whole: Whole,
    /// Who has which file, and the uploads that were acknowledged.
    folders: Folders,
}

/// A node tells what changed twice a second. One that ends so soon after another gave a key up, and is the last to have
/// it, has not told its deletion. Milliseconds.
const UNTOLD_MS: u64 = 2_000;
/// Places remembered for that.
const GIVEN_UP_MAX: usize = 1 << 14;

impl Store {
    /// A node opens a link.
    pub(super) fn open(&mut self, name: &NodeName, epoch: Epoch) -> Result<LinkId, Refused> {
        let node = self.intern(name)?;
        let held = self.nodes.get(&node).and_then(|state| state.hello.map(|(_, held, _)| (held, state.link)));
        if held.is_some_and(|(held, link)| epoch < held && link.is_some()) {
            return Err(Refused::Superseded);
        }
        if !self.nodes.contains_key(&node) && self.nodes.len() >= NODES_MAX {
            let down = self.nodes.iter().filter(|(_, state)| state.link.is_none());
            let oldest = down.min_by_key(|(_, state)| state.lost_at).map(|(node, _)| *node);
            let oldest = oldest.ok_or(Refused::TooManyNodes)?;
            self.whole.forget(oldest);
            self.folders.forget(oldest);
            let oldest = self.nodes.remove(&oldest);
            self.held -= oldest.and_then(|state| state.held).map_or(0, |held| held.len());
        }
        self.links += 1;
        self.nodes.entry(node).or_default().link = Some(self.links);
        Ok(LinkId { node, number: self.links })
    }

    /// A link ended. Says nothing if the node has a newer one.
    pub(super) fn close(&mut self, link: LinkId, at: UnixMillis) {
        let Some(state) = self.nodes.get_mut(&link.node).filter(|state| state.link == Some(link.number)) else {
            return;
        };
        (state.link, state.lost_at) = (None, at);
        let known = state.hello.is_some();
        self.forget_deleted(link.node, at);
        self.whole.lost(at, link.node, self.linked());
        self.folders.away(link.node);
        if known {
            let node = self.names[usize::from(link.node)].clone();
            self.tell(link.node, &FeedLine::Lost { node, at });
        }
    }

    /// Drops what a node that is away now had not yet told to be deleted.
    fn forget_deleted(&mut self, node: u16, at: UnixMillis) {
        let here = |place| {
            let mut here = self.nodes.values().filter(|state| state.link.is_some());
            here.any(|state| state.held.as_ref().is_some_and(|held| held.has(place)))
        };
        let lately = self.given_up.iter().filter(|(since, _)| at.since(*since) < UNTOLD_MS);
        let deleted: Vec<u64> = lately.map(|(_, place)| *place).filter(|place| !here(*place)).collect();
        let Some(held) = self.nodes.get_mut(&node).and_then(|state| state.held.as_mut()) else { return };
        let before = held.len();
        deleted.into_iter().for_each(|place| held.forget(place));
        self.held -= before - held.len();
    }

    /// A node said something over its link.
    pub(super) fn report(&mut self, link: LinkId, report: Report, at: UnixMillis) -> Result<(), Refused> {
        let state = self.nodes.get(&link.node).filter(|state| state.link == Some(link.number));
        let state = state.ok_or(Refused::Superseded)?;
        if state.hello.is_none() && !matches!(report, Report::Hello { .. }) {
            return Err(Refused::NoHello);
        }
        let deliveries = match &report {
            Report::Snapshot { deliveries, .. } => deliveries.as_slice(),
            Report::Delivered(delivery) => std::slice::from_ref(delivery),
            _ => &[],
        };
        if !deliveries.iter().all(is_possible) {
            return Err(Refused::Malformed);
        }
        self.keep(link, &report, at)?;
        let node = self.names[usize::from(link.node)].clone();
        self.tell(link.node, &FeedLine::Report { node, report });
        Ok(())
    }

    /// When keys were last written, and when all of them last had their copies again.
    pub(super) fn key_times(&self) -> (Option<UnixMillis>, Option<UnixMillis>) {
        self.whole.times()
    }

    /// How many nodes have links; more than copies are wanted are not counted.
    fn linked(&self) -> usize {
        self.nodes.values().filter(|state| state.link.is_some()).take(usize::from(COPIES)).count()
    }

    /// Where a node is reached inside the network.
    pub(super) fn address(&self, name: &NodeName) -> Option<SocketAddr> {
        let state = self.nodes.get(self.index.get(name)?)?;
        state.hello.map(|(_, _, addr)| addr)
    }

    /// How many nodes are known, and how many links stand.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.nodes.len(), self.nodes.values().filter(|state| state.link.is_some()).count())
    }

    /// A new reader: from now on every line is queued for it.
    pub(super) fn subscribe(&mut self) -> mpsc::Receiver<Line> {
        let (tx, rx) = mpsc::channel(READER_LINES_MAX);
        self.readers.push(tx);
        rx
    }

    /// Everybody whose history there is to tell, in the order people count.
    pub(super) fn tellers(&self) -> Vec<u16> {
        let with_hello = self.nodes.iter().filter(|(_, state)| state.hello.is_some()).map(|(node, _)| *node);
        let mut nodes: Vec<u16> = with_hello.collect();
        nodes.sort_by_key(|node| self.names[usize::from(*node)].display_order());
        nodes
    }

    /// What rebuilds one node's state, as lines, and the number of the last line it includes.
    pub(super) fn history(&self, node: u16) -> (Bytes, u64) {
        let mut out = Vec::new();
        let Some(state) = self.nodes.get(&node) else { return (Bytes::new(), self.lines) };
        let Some((id, epoch, addr)) = state.hello else { return (Bytes::new(), self.lines) };
        let name = &self.names[usize::from(node)];
        let mut say = |report| write_line(&mut out, &FeedLine::Report { node: name.clone(), report });
        say(Report::Hello { id, epoch, addr });
        if state.has_snapshot {
            say(Report::Snapshot {
                members: self.member_rows(state),
                deliveries: self.deliveries(state),
                links: state.links.clone(),
            });
        }
        if let Some((digest, at)) = state.view {
            say(Report::View { digest, at });
        }
        if let Some((digest, at)) = state.ring {
            say(Report::Ring { digest, at });
        }
        if let Some(keys) = &state.keys {
            say(Report::Keys(keys.clone()));
        }
        state.held.iter().flat_map(Held::reports).for_each(&mut say);
        self.folders.reports(node, &state.folder).for_each(&mut say);
        if let Some(load) = &state.load {
            say(Report::Load(load.clone()));
        }
        if !state.faults.is_empty() || state.healed_at.is_some() {
            say(Report::Faults { faults: state.faults.clone(), healed_at: state.healed_at });
        }
        if state.leaving {
            say(Report::Leaving);
        }
        if state.link.is_none() {
            write_line(&mut out, &FeedLine::Lost { node: name.clone(), at: state.lost_at });
        }
        (out.into(), self.lines)
    }

    fn keep(&mut self, link: LinkId, report: &Report, at: UnixMillis) -> Result<(), Refused> {
        match report {
            Report::Hello { id, epoch, addr } => {
                let state = self.node(link);
                let held = state.held.take().map_or(0, |held| held.len());
                *state = NodeState { hello: Some((*id, *epoch, *addr)), link: state.link, ..NodeState::default() };
                self.held -= held;
                self.whole.greets(link.node, *epoch);
                self.folders.forget(link.node);
            }
            Report::Snapshot { members, deliveries, links } => {
                let mut rows = Vec::new();
                for row in members {
                    set_row(&mut rows, self.intern(&row.member)?, row);
                }
                let state = self.node(link);
                (state.rows, state.has_snapshot) = (rows, true);
                keep_links(state, links);
                state.arrivals.clear();
                for delivery in deliveries {
                    self.arrive(link, delivery)?;
                }
            }
            Report::Member { event, .. } => {
                let member = self.intern(&event.row.member)?;
                set_row(&mut self.node(link).rows, member, &event.row);
            }
            Report::View { digest, at } => self.node(link).view = Some((*digest, *at)),
            Report::Delivered(delivery) => self.arrive(link, delivery)?,
            Report::Links { links, .. } => keep_links(self.node(link), links),
            Report::Load(load) => self.node(link).load = Some(load.clone()),
            Report::Leaving => self.node(link).leaving = true,
            Report::Faults { faults, healed_at } => {
                let state = self.node(link);
                state.faults.clone_from(faults);
                state.healed_at = *healed_at;
            }
            Report::Ring { digest, at } => self.node(link).ring = Some((*digest, *at)),
            Report::Keys(counts) => {
                let mut counts = counts.clone();
                counts.moving.truncate(MOVING_MAX);
                self.whole.counts(link.node, self.life(link), &counts);
                self.node(link).keys = Some(counts);
            }
            Report::Held { anew, sampled, keys } => {
                let before = self.node(link).held.as_ref().map_or(0, Held::len);
                let room = HELD_ALL_MAX.saturating_sub(self.held - before).clamp(1, HELD_MAX);
                let held = self.node(link).held.get_or_insert_default();
                let moved = held.take(*anew, *sampled, keys, room);
                let after = held.len();
                self.held = self.held - before + after;
                self.follow(&moved, at);
                let who = (link.node, self.life(link));
                self.whole.holds(at, who, (*anew, *sampled, keys), self.linked());
            }
            Report::Folder(counts) => self.node(link).folder.counts = Some(counts.clone()),
            Report::Files { anew, files } => {
                self.node(link).folder.has_told = true;
                self.folders.take(link.node, *anew, files);
            }
            Report::Progress(files) => self.node(link).folder.keep_progress(files),
            Report::FolderEvent { event, at } => {
                self.node(link).folder.keep_change(event, *at);
                self.folders.happened(link.node, event, *at);
            }
        }
        Ok(())
    }

    /// Drops what nodes that are away held of keys that were replaced or deleted since.
    fn follow(&mut self, moved: &Moved, at: UnixMillis) {
        if moved.given_up.is_empty() && moved.replaced.is_empty() {
            return;
        }
        let (mut away, mut here) = (Vec::new(), Vec::new());
        for state in self.nodes.values_mut() {
            let Some(held) = &mut state.held else { continue };
            if state.link.is_none() { away.push(held) } else { here.push(held) }
        }
        let still = moved.given_up.iter().filter(|place| here.iter().any(|held| held.has(**place)));
        self.given_up.extend(still.map(|place| (at, *place)));
        while self.given_up.front().is_some_and(|(since, _)| at.since(*since) >= UNTOLD_MS)
            || self.given_up.len() > GIVEN_UP_MAX
        {
            self.given_up.pop_front();
        }
        for held in away {
            let before = held.len();
            // Handed over, unless nobody who is here has it any more.
            let deleted = moved.given_up.iter().filter(|place| !here.iter().any(|held| held.has(**place)));
            deleted.for_each(|place| held.forget(*place));
            moved.replaced.iter().for_each(|(place, version)| held.forget_version(*place, *version));
            self.held -= before - held.len();
        }
    }

    fn arrive(&mut self, link: LinkId, delivery: &Delivery) -> Result<(), Refused> {
        let path: Result<Box<[u16]>, Refused> = delivery.path.iter().map(|name| self.intern(name)).collect();
        let path = path?;
        let message = match self.message_numbers.get(&delivery.id) {
            Some(number) => *number,
            None => self.new_message(&delivery.id),
        };
        let from = self.messages_from;
        if let Some(text) = &delivery.text
            && let Some(held) = message.checked_sub(from).and_then(|at| self.messages.get_mut(at as usize))
            && held.text.is_none()
        {
            held.text = Some(text.as_str().into());
        }
        let arrivals = &mut self.node(link).arrivals;
        match arrivals.iter_mut().rev().find(|arrival| arrival.message == message) {
            Some(again) => again.copies = (again.copies + 1).min(COPIES_TOLD),
            None => arrivals.push_back(Arrival {
                message,
                path,
                at: delivery.at,
                via: delivery.via,
                late: delivery.late,
                copies: 1,
            }),
        }
        while arrivals.len() > MESSAGES_MAX || arrivals.front().is_some_and(|arrival| arrival.message < from) {
            arrivals.pop_front();
        }
        Ok(())
    }

    fn new_message(&mut self, id: &MessageId) -> u64 {
        let number = self.messages_from + self.messages.len() as u64;
        self.messages.push_back(Message { id: id.clone(), text: None });
        self.message_numbers.insert(id.clone(), number);
        if self.messages.len() > MESSAGES_MAX
            && let Some(old) = self.messages.pop_front()
        {
            self.messages_from += 1;
            self.message_numbers.remove(&old.id);
        }
        number
    }

    fn member_rows(&self, state: &NodeState) -> Vec<MemberRow> {
        let rows = state.rows.iter().zip(&self.names).filter_map(|(row, name)| {
            let (member, status) = (name.clone(), row.status?);
            Some(MemberRow { member, epoch: row.epoch, incarnation: row.incarnation, status })
        });
        rows.collect()
    }

    fn deliveries(&self, state: &NodeState) -> Vec<Delivery> {
        let mut told = BTreeSet::new();
        let mut all = Vec::new();
        for arrival in &state.arrivals {
            let at = arrival.message.checked_sub(self.messages_from).and_then(|at| usize::try_from(at).ok());
            let Some(message) = at.and_then(|at| self.messages.get(at)) else { continue };
            // Near the origin the text comes along, as the node itself reported it.
            let with_text = arrival.path.len() <= 2 && told.insert(arrival.message);
            let delivery = Delivery {
                id: message.id.clone(),
                path: arrival.path.iter().map(|name| self.names[usize::from(*name)].clone()).collect(),
                at: arrival.at,
                text: message.text.as_ref().filter(|_| with_text).map(ToString::to_string),
                via: arrival.via,
                late: arrival.late,
            };
            all.extend(std::iter::repeat_n(delivery, usize::from(arrival.copies)));
        }
        all
    }

    /// Hands a line to every reader. Who cannot take it is let go and starts over.
    fn tell(&mut self, node: u16, line: &FeedLine) {
        self.lines += 1;
        if self.readers.is_empty() {
            return;
        }
        let mut bytes = Vec::new();
        write_line(&mut bytes, line);
        let line = Line { number: self.lines, node, bytes: bytes.into() };
        self.readers.retain(|reader| reader.try_send(line.clone()).is_ok());
    }

    /// The life a node said it is in.
    fn life(&self, link: LinkId) -> Epoch {
        let hello = self.nodes.get(&link.node).and_then(|state| state.hello);
        hello.map_or(Epoch(0), |(_, epoch, _)| epoch)
    }

    fn node(&mut self, link: LinkId) -> &mut NodeState {
        self.nodes.entry(link.node).or_default()
    }

    fn intern(&mut self, name: &NodeName) -> Result<u16, Refused> {
        if let Some(number) = self.index.get(name) {
            return Ok(*number);
        }
        let number = u16::try_from(self.names.len()).ok().filter(|number| usize::from(*number) < NAMES_MAX);
        let number = number.ok_or(Refused::TooManyNames)?;
        self.names.push(name.clone());
        self.index.insert(name.clone(), number);
        Ok(number)
    }
}

/// Whether a node can have had this: whatever is longer would be kept here a thousand times over.
fn is_possible(delivery: &Delivery) -> bool {
    delivery.path.len() <= PATH_MAX && delivery.text.as_ref().is_none_or(|text| text.len() <= TEXT_MAX_BYTES)
}

fn keep_links(state: &mut NodeState, links: &[OverlayLink]) {
    state.links = links.iter().take(LINKS_MAX).cloned().collect();
}

fn set_row(rows: &mut Vec<Row>, member: u16, row: &MemberRow) {
    let member = usize::from(member);
    if rows.len() <= member {
        rows.resize(member + 1, Row { epoch: Epoch(0), incarnation: 0, status: None });
    }
    rows[member] = Row { epoch: row.epoch, incarnation: row.incarnation, status: Some(row.status) };
}

pub(super) fn write_line(out: &mut Vec<u8>, line: &FeedLine) {
    serde_json::to_writer(&mut *out, line).expect("a feed line is plain data");
    out.push(b'\n');
}
