//! The shared folder as its nodes report it: who has what, whose folder is the union of all, and how long that took.
//!
//! ```text
//! Report::Folder ──────▶ Folder.counts  ┐
//! Report::Progress ────▶ Folder.progress├─▶ FilesCounts   `status`, `status --json`, the top lines, the files pane
//! Report::Files ───────▶ Holdings       │
//! Report::FolderEvent ─▶ Uploads, Union ┘─▶ files/tell    "uploaded", "changed", "all folders hold the same"
//! engine's word ───────▶ who counts
//! ```
//! A node *agrees* when it is up, shows what most nodes show (the digest of what should be there), and has all of it on its
//! disk. Nodes without a folder do not count, and neither do those that are down or paused. The *union is reached* when all
//! that count agree and no user's change is still untold. A node whose link is lost counts by the last it said.
//!
//! What is told of files are hashes of paths and contents; names come with users' changes and by asking a node
//! (`GET /files`), which is the files pane's business.
//!
//! What always holds: `agree` is at most `folders`, which is at most the nodes that are up; an upload is in exactly one of the
//! classes held by several, at risk, lost; the numbers of a feed that is lost are the last ones known.

use std::collections::BTreeMap;

use p2pnet_shared::{
    NodeName, UnixMillis,
    telemetry::{FileProgress, FolderCounts, FolderEvent, FolderState, HeldFile},
    wire::folder::FolderDigest,
};

use super::{
    Change, Network,
    slot::{Fate, Slot},
};
use crate::holdings::{Holdings, Standing, Uploads};

mod counts;
mod tell;
#[cfg(test)]
mod tests;
mod union;

pub use counts::{DigestGroup, FilesCounts, FolderTrouble, Uploaded};
use tell::Teller;
use union::Union;

/// Unfinished files and their sources kept of one node; a node tells of as many.
const PROGRESS_MAX: usize = 16;
const SOURCES_MAX: usize = 8;
/// How long after its first word a node has to tell of its folder before it is taken to have none, milliseconds.
const SILENT_MS: u64 = 5_000;
/// How long a node whose user changed something has to tell its new numbers, milliseconds: they come twice a second.
const OWED_MS: u64 = 1_500;
/// Without numbers for this long nothing moves, milliseconds.
const RATE_MS: u64 = 2_000;

/// Everything that is known of the folders, network-wide.
#[derive(Debug, Clone, Default)]
pub(super) struct Files {
    holdings: Holdings,
    uploads: Uploads,
    union: Union,
    teller: Teller,
    agreement: Agreement,
    /// Something about a folder changed since it was judged who agrees.
    is_stale: bool,
}

impl Files {
    /// A node's folder or fate changed, so that it is to be judged anew who agrees.
    pub(super) fn doubt(&mut self) {
        self.is_stale = true;
    }
}

/// Who agrees.
#[derive(Debug, Clone, Default)]
struct Agreement {
    /// Nodes that are up and have a folder.
    folders: u32,
    /// Those that show what most show, and have it.
    agree: u32,
    /// What most show.
    want: Option<FolderDigest>,
    /// When the last of them had all it wants, and when the first of those who have not ceased to.
    reached: Option<UnixMillis>,
    behind_since: Option<UnixMillis>,
    /// When the youngest of their nodes began its life.
    youngest_since: Option<UnixMillis>,
    /// Until when it is not known of every node whether it has a folder.
    silent_until: UnixMillis,
    /// Until when it is not known what a user's change made of a folder.
    owed_until: UnixMillis,
}

/// One node's folder by its own word, in one life.
#[derive(Debug, Clone, Default)]
pub(super) struct Folder {
    /// Its numbers, and when they came.
    counts: Option<(UnixMillis, FolderCounts)>,
    progress: Vec<FileProgress>,
    /// Bytes received and sent each second, between its last two numbers.
    rates: (u64, u64),
    /// Until when numbers are awaited that include a change its user made.
    owes_until: UnixMillis,
}

/// What is known of one node's folder.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NodeFolder {
    /// Its numbers by its own last word; all zero while it has told none.
    pub counts: FolderCounts,
    /// Whether it has told them, in the life it is in.
    pub told: bool,
    /// It is up and its link to the gateway stands: the numbers are those of now.
    pub live: bool,
    /// It is up, shows what most show, and has all of it.
    pub agrees: bool,
    /// Bytes of contents received and sent each second, lately.
    pub received_per_second: u64,
    /// Bytes of contents sent each second, lately.
    pub sent_per_second: u64,
    /// Files of several chunks on their way.
    pub progress: Vec<FileProgress>,
}

/// Who has given contents, under whatever name; each list in the order people count.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FileHolders {
    /// Live nodes.
    pub live: Vec<NodeName>,
    /// Paused ones.
    pub paused: Vec<NodeName>,
    /// Nodes that are down, or have not told since they started.
    pub down: Vec<NodeName>,
}

impl Network {
    /// One node's folder; `None` for a name that never reported.
    #[must_use]
    pub fn node_folder(&self, name: &NodeName, now: UnixMillis) -> Option<NodeFolder> {
        let slot = &self.slots[*self.index.get(name)?];
        let observer = slot.observer.as_ref()?;
        let Folder { counts, progress, rates, .. } = &observer.folder;
        let live = slot.fate == Fate::Up && observer.linked;
        let fresh = live && counts.as_ref().is_some_and(|(at, _)| now.since(*at) < RATE_MS);
        let (received, sent) = if fresh { *rates } else { (0, 0) };
        Some(NodeFolder {
            told: counts.is_some(),
            live,
            agrees: slot.fate == Fate::Up && counts.as_ref().is_some_and(|(_, counts)| self.is_union_of(counts)),
            counts: counts.as_ref().map(|(_, counts)| counts.clone()).unwrap_or_default(),
            received_per_second: received,
            sent_per_second: sent,
            progress: progress.clone(),
        })
    }

    /// How many live nodes have these contents at that path; both as hashes.
    #[must_use]
    pub fn live_holders(&self, path: u64, root: u64) -> u32 {
        self.files.holdings.live_at(path, root)
    }

    /// Who has these contents, [`p2pnet_shared::wire::folder::Root::short`].
    #[must_use]
    pub fn file_holders(&self, root: u64) -> FileHolders {
        let holders = self.files.holdings.holders_of(root);
        let names = |slots: Vec<usize>| {
            let mut names: Vec<NodeName> =
                slots.into_iter().filter_map(|slot| self.slots.get(slot)).map(|slot| slot.name.clone()).collect();
            names.sort_by(|a, b| a.display_order().cmp(&b.display_order()));
            names
        };
        FileHolders { live: names(holders.live), paused: names(holders.paused), down: names(holders.down) }
    }

    /// A node's numbers by its own word, if it told any in the life it is in.
    pub(super) fn told_folder(&self, name: &NodeName) -> Option<&FolderCounts> {
        let folder = &self.slots[*self.index.get(name)?].observer.as_ref()?.folder;
        folder.counts.as_ref().map(|(_, counts)| counts)
    }

    /// Whether these are the numbers of a folder that is the union.
    fn is_union_of(&self, counts: &FolderCounts) -> bool {
        counts.state != FolderState::NoFolder
            && self.files.agreement.want == Some(counts.want)
            && counts.have == counts.want
    }

    /// The folders that count: those of nodes that are up and have one.
    fn folders(&self) -> impl Iterator<Item = (&NodeName, &Folder, &FolderCounts)> {
        let up = self.slots.iter().filter(|slot| slot.fate == Fate::Up);
        up.filter_map(|slot| {
            let folder = &slot.observer.as_ref()?.folder;
            let (_, counts) = folder.counts.as_ref()?;
            (counts.state != FolderState::NoFolder).then_some((&slot.name, folder, counts))
        })
    }
}

/// Taking in what nodes say of their folders.
impl Network {
    pub(super) fn on_folder(&mut self, now: UnixMillis, slot: usize, told: FolderCounts, changes: &mut Vec<Change>) {
        let is_news = self.feed.complete;
        let Slot { name, observer: Some(observer), files_life, .. } = &mut self.slots[slot] else { return };
        if told.files_here == 0 && *files_life != Some(observer.epoch) {
            // An empty folder has no files to tell of: what a former life had is gone.
            *files_life = Some(observer.epoch);
            self.files.holdings.forget(slot);
        }
        let folder = &mut observer.folder;
        folder.owes_until = UnixMillis(0);
        if let Some((at, before)) = &folder.counts {
            let passed = now.since(*at);
            let rate = |now: u64, before: u64| now.saturating_sub(before).saturating_mul(1_000) / passed.max(1);
            // Two reports of one history arrive together: a rate over no time at all is not known.
            if passed >= 200 {
                let received = rate(told.received_bytes, before.received_bytes);
                folder.rates = (received, rate(told.sent_bytes, before.sent_bytes));
            }
            if is_news {
                changes.extend(tell::trouble(now, name, before, &told));
            }
        }
        folder.counts = Some((now, told));
        self.files.is_stale = true;
        self.stand_files(slot);
    }

    pub(super) fn on_files(&mut self, now: UnixMillis, slot: usize, anew: bool, files: &[HeldFile]) {
        let is_news = !anew && self.feed.complete;
        let Slot { observer: Some(observer), files_life, .. } = &mut self.slots[slot] else { return };
        let same_life = *files_life == Some(observer.epoch);
        *files_life = Some(observer.epoch);
        let Files { holdings, uploads, .. } = &mut self.files;
        if anew || !same_life {
            holdings.anew(now, slot, same_life);
        }
        holdings.take(slot, files, is_news, |_, gone| uploads.given_up(gone));
        self.stand_files(slot);
    }

    pub(super) fn on_progress(&mut self, slot: usize, mut files: Vec<FileProgress>) {
        files.truncate(PROGRESS_MAX);
        files.iter_mut().for_each(|file| file.sources.truncate(SOURCES_MAX));
        if let Some(observer) = &mut self.slots[slot].observer {
            observer.folder.progress = files;
        }
    }

    pub(super) fn on_folder_event(
        &mut self,
        now: UnixMillis,
        slot: usize,
        event: FolderEvent,
        at: UnixMillis,
        changes: &mut Vec<Change>,
    ) {
        let (at, is_news) = (at.min(now), self.feed.complete);
        let Some(observer) = &mut self.slots[slot].observer else { return };
        match &event {
            FolderEvent::Uploaded { path, root, holders } => {
                let upload = (path.clone(), *root, *holders);
                self.files.uploads.add(&self.files.holdings, upload, at, slot, is_news);
            }
            FolderEvent::Changed { path, root } => {
                self.files.uploads.changed(path.hash64(), root.map(|root| root.short()), at);
                // The file is to be everywhere from here on: that is a change of the truth like a kill.
                self.truth_changed_at = self.truth_changed_at.max(Some(at));
                self.files.union.changed(at);
                if is_news {
                    observer.folder.owes_until = UnixMillis(now.0.saturating_add(OWED_MS));
                    self.files.is_stale = true;
                }
            }
            FolderEvent::Landed { .. } | FolderEvent::Gone { .. } => {}
        }
        if is_news {
            let name = self.slots[slot].name.clone();
            self.files.teller.event(now, &name, &event, at, changes);
        }
    }

    /// Lets what a node has count as it stands by the engine's word.
    pub(super) fn stand_files(&mut self, slot: usize) {
        let of = &self.slots[slot];
        let is_told = of.observer.as_ref().is_some_and(|observer| of.files_life == Some(observer.epoch));
        let standing = match of.fate {
            Fate::Up if is_told => Standing::Live,
            Fate::Between if is_told => Standing::Paused,
            Fate::Up | Fate::Between | Fate::Gone => Standing::Down,
        };
        self.files.is_stale |= self.files.holdings.stand(slot, standing);
    }

    /// Its unit is gone, and with it everything it had.
    pub(super) fn forget_files(&mut self, slot: usize) {
        self.slots[slot].files_life = None;
        self.files.holdings.forget(slot);
        self.stand_files(slot);
    }

    /// A history begins: it tells of every upload that stands.
    pub(super) fn begin_files_history(&mut self) {
        self.files.uploads.begin_history();
    }

    /// A history is over.
    pub(super) fn end_files_history(&mut self) {
        let Files { holdings, uploads, .. } = &mut self.files;
        uploads.caught_up(holdings);
    }

    /// Time passed and reports came: it is judged who agrees, and what happened is told.
    pub(super) fn follow_files(&mut self, now: UnixMillis, changes: &mut Vec<Change>) {
        let Files { holdings, uploads, .. } = &mut self.files;
        holdings.tick(now, |_, gone| uploads.given_up(gone));
        if std::mem::take(&mut self.files.is_stale) {
            self.judge_folders();
        }
        self.tell_files(now, changes);
    }

    fn judge_folders(&mut self) {
        let want = self.most_shown();
        let mut agreement = Agreement { want, ..Agreement::default() };
        for (_, folder, counts) in self.folders() {
            agreement.folders += 1;
            let is_union = counts.have == counts.want && Some(counts.want) == want;
            agreement.agree += u32::from(is_union);
            agreement.owed_until = agreement.owed_until.max(folder.owes_until);
            if counts.have == counts.want {
                agreement.reached = agreement.reached.max(Some(counts.since));
            } else {
                let earlier = agreement.behind_since.map_or(counts.since, |since| since.min(counts.since));
                agreement.behind_since = Some(earlier);
            }
        }
        let lives = self.slots.iter().filter(|slot| slot.fate == Fate::Up).filter_map(|slot| slot.observer.as_ref());
        let with_folder = lives.filter(|observer| observer.folder.counts.is_some());
        agreement.youngest_since = with_folder.map(|observer| UnixMillis(observer.epoch.0)).max();
        if agreement.folders > 0 {
            // Where others tell of a folder, one that has said nothing of any may be about to.
            let up = self.slots.iter().filter(|slot| slot.fate == Fate::Up).filter_map(|slot| slot.observer.as_ref());
            let silent = up.filter(|observer| observer.folder.counts.is_none()).map(|observer| observer.hello_at);
            agreement.silent_until =
                silent.max().map_or(UnixMillis(0), |at| UnixMillis(at.0.saturating_add(SILENT_MS)));
        }
        self.files.agreement = agreement;
    }

    /// What should be there as most folders show it; of equals the one with more files.
    fn most_shown(&self) -> Option<FolderDigest> {
        // Most of the time it is what it was, and all of them show it: no need to count each digest.
        let before = self.files.agreement.want;
        let same = self.folders().filter(|(.., counts)| Some(counts.want) == before).count();
        if same * 2 > self.folders().count() {
            return before;
        }
        let mut shown: BTreeMap<FolderDigest, (u32, u64)> = BTreeMap::new();
        for (.., counts) in self.folders() {
            let (nodes, files) = shown.entry(counts.want).or_default();
            (*nodes, *files) = (*nodes + 1, counts.files.max(*files));
        }
        shown.into_iter().max_by_key(|(digest, of)| (*of, *digest)).map(|(digest, _)| digest)
    }

    /// Whether every folder is the union of all. A network whose nodes tell of no folder has nothing to agree on.
    pub(super) fn files_agree(&self, now: UnixMillis) -> bool {
        !self.files_differ(now) && now >= self.files.agreement.silent_until
    }

    /// Whether some folder is known not to be the union of all, or to become another one.
    pub(super) fn files_differ(&self, now: UnixMillis) -> bool {
        let Agreement { folders, agree, owed_until, .. } = &self.files.agreement;
        agree != folders || now < *owed_until
    }

    /// When the last folder became the union, given that all are.
    pub(super) fn files_agreed_at(&self) -> Option<UnixMillis> {
        self.files.agreement.reached
    }

    /// What keeps the folders from being the union of all.
    pub(super) fn files_reason(&self, now: UnixMillis) -> Option<String> {
        if self.files_agree(now) {
            return None;
        }
        let Agreement { folders, agree, .. } = self.files.agreement;
        if agree == folders {
            let is_owed = self.files_differ(now);
            let why = if is_owed { "a file was changed just now" } else { "not every node has told of its folder" };
            return Some(why.into());
        }
        let behind = folders - agree;
        let mut lacking = self.folders().filter(|(.., counts)| !self.is_union_of(counts));
        let who = match lacking.next() {
            Some((first, ..)) if behind == 1 => format!("the folder of {first} differs"),
            _ => format!("{behind} of {folders} folders differ"),
        };
        let need = |(.., counts): (&NodeName, &Folder, &FolderCounts)| counts.files.saturating_sub(counts.files_here);
        let need = self.folders().map(need).max().unwrap_or(0);
        let stalled = self.folders().any(|(.., counts)| counts.state == FolderState::Stalled);
        Some(match need {
            0 => who,
            1 if stalled => format!("{who}: a file is on no node within reach"),
            _ if stalled => format!("{who}: up to {need} files are on no node within reach"),
            1 => format!("{who}: a file is on its way"),
            _ => format!("{who}: up to {need} files are on their way"),
        })
    }
}
