//! Everything that is known under one name.

use p2pnet_shared::{
    Epoch, NodeName, UnixMillis, ViewDigest,
    fault::ActiveFault,
    telemetry::{Load, MemberRow, OverlayLink},
    wire::membership::Status,
};
use uuid::Uuid;

use std::collections::VecDeque;

use super::{
    Node,
    bits::Bits,
    files::Folder,
    keys::Stock,
    overlay::{LOADS_KEPT, Payloads},
    story::Story,
};
use crate::cluster::UnitState;

/// Overlay links kept of one node; a node has 8 unless it was told otherwise.
const LINKS_MAX: usize = 64;

/// What a unit's state means for the views of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Fate {
    /// Runs: whoever does not believe it alive misses it.
    Up,
    /// Frozen, or about to run: to believe it alive is as reasonable as to believe it dead, so it is compared with nothing.
    Between,
    /// Ended or never heard of: whoever believes it alive sees a ghost.
    #[default]
    Gone,
}

impl Fate {
    pub(super) fn of(state: UnitState) -> Self {
        match state {
            UnitState::Up => Self::Up,
            UnitState::Paused | UnitState::Created => Self::Between,
            UnitState::Dead | UnitState::Left => Self::Gone,
        }
    }
}

/// Which claim about a member has been told: claims about one member only grow in this order.
pub(super) type Claimed = Option<(Epoch, u32)>;

/// What was told of a member so far, so that a hundred observers of one event make one line.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    pub(super) suspected: Claimed,
    /// Everybody who accused in the suspicion told last.
    pub(super) accusers: Bits,
    pub(super) refuted: Claimed,
    pub(super) died: Claimed,
    pub(super) left: Claimed,
    pub(super) came_back: Claimed,
    /// The first declaration of the present end: the last one is told once, after it.
    pub(super) last_pending: bool,
}

/// A node as its own reports show it, in one life.
#[derive(Debug, Clone)]
pub(super) struct Observer {
    pub(super) id: Uuid,
    pub(super) epoch: Epoch,
    /// When its `Hello` was read.
    pub(super) hello_at: UnixMillis,
    /// Which history or live stream it belongs to.
    pub(super) generation: u64,
    /// Its link to the gateway stands.
    pub(super) linked: bool,
    /// Its snapshot has come: only then is there a view.
    pub(super) has_view: bool,
    /// Its digests match the view folded from its reports.
    pub(super) in_step: bool,
    /// Whom it believes alive, itself included.
    pub(super) alive: Bits,
    pub(super) suspects: Bits,
    pub(super) digest: ViewDigest,
    pub(super) view_changed_at: Option<UnixMillis>,
    pub(super) messages: u64,
    /// Its overlay links by its own word.
    pub(super) links: Vec<OverlayLink>,
    /// What it obeys.
    pub(super) faults: Vec<ActiveFault>,
    /// The load report before the last, with the time it was read.
    pub(super) load: Option<(UnixMillis, Load)>,
    /// Its payload counters at its last load reports, oldest first.
    pub(super) payloads: VecDeque<Payloads>,
    pub(super) cpu_percent: Option<f32>,
    /// Its part of the key-value store.
    pub(super) stock: Stock,
    /// Its part of the shared folder.
    pub(super) folder: Folder,
}

impl Observer {
    pub(super) fn new(now: UnixMillis, generation: u64, id: Uuid, epoch: Epoch) -> Self {
        Self {
            id,
            epoch,
            hello_at: now,
            generation,
            linked: true,
            has_view: false,
            in_step: true,
            alive: Bits::default(),
            suspects: Bits::default(),
            digest: ViewDigest::default(),
            view_changed_at: None,
            messages: 0,
            links: Vec::new(),
            faults: Vec::new(),
            load: None,
            payloads: VecDeque::new(),
            cpu_percent: None,
            stock: Stock::default(),
            folder: Folder::default(),
        }
    }

    /// Enters a row of its table; says whether the set of the living changed.
    pub(super) fn enter(&mut self, slot: usize, row: &MemberRow) -> bool {
        self.suspects.set(slot, row.status == Status::Suspect);
        self.believe(slot, &row.member, row.status.is_live())
    }

    pub(super) fn believe(&mut self, slot: usize, name: &NodeName, live: bool) -> bool {
        let changed = self.alive.set(slot, live);
        match (changed, live) {
            (true, true) => self.digest.add(name),
            (true, false) => self.digest.remove(name),
            (false, _) => {}
        }
        changed
    }

    pub(super) fn keep_links(&mut self, mut links: Vec<OverlayLink>) {
        links.truncate(LINKS_MAX);
        links.shrink_to_fit();
        self.links = links;
    }

    pub(super) fn take_load(&mut self, now: UnixMillis, load: Load) {
        self.cpu_percent = self.load.as_ref().and_then(|(before, last)| {
            let (wall, used) = (now.since(*before), load.cpu_ms.checked_sub(last.cpu_ms)?);
            // Two reports of one history arrive together: a share over no time at all is not known.
            (wall >= 500).then_some(used as f32 * 100.0 / wall as f32)
        });
        if self.payloads.len() == LOADS_KEPT {
            self.payloads.pop_front();
        }
        self.payloads.push_back(Payloads::of(now, &load));
        self.load = Some((now, load));
    }
}

/// One name.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub(super) name: NodeName,
    /// As people see it; only while the engine lists it.
    pub(super) row: Option<Node>,
    pub(super) fate: Fate,
    /// Since when, by the engine's stamp where it gives one.
    pub(super) fate_since: UnixMillis,
    /// When we learnt of it.
    pub(super) fate_seen: UnixMillis,
    pub(super) observer: Option<Observer>,
    /// Whether its view is compared with the truth: it is up, linked, and in step.
    pub(super) counted: bool,
    /// How many counted observers believe it alive.
    pub(super) believers: u32,
    /// How many counted observers suspect it.
    pub(super) suspecters: u32,
    pub(super) told: Told,
    /// What happened to it, as everybody says.
    pub(super) story: Story,
    /// The life in which it told which keys it holds.
    pub(super) told_life: Option<Epoch>,
    /// The life in which it told which files it has.
    pub(super) files_life: Option<Epoch>,
}

impl Slot {
    pub(super) fn new(name: NodeName, now: UnixMillis) -> Self {
        Self {
            name,
            row: None,
            fate: Fate::Gone,
            fate_since: now,
            fate_seen: now,
            observer: None,
            counted: false,
            believers: 0,
            suspecters: 0,
            told: Told::default(),
            story: Story::default(),
            told_life: None,
            files_life: None,
        }
    }

    /// Whether its view may be compared with the truth.
    pub(super) fn is_to_count(&self) -> bool {
        let reports = self.observer.as_ref().is_some_and(|o| o.linked && o.has_view && o.in_step);
        self.fate == Fate::Up && reports
    }
}
