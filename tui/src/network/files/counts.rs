//! The folders in numbers: what `status`, `wait` and the top lines show of them.

use std::collections::BTreeMap;

use p2pnet_shared::{NodeName, UnixMillis, telemetry::FolderState, wire::folder::FolderDigest};
use serde::Serialize;

use super::{
    super::{Network, slot},
    Agreement, RATE_MS,
};
use crate::holdings::{Fate, Upload};

/// An upload acknowledged less than this ago is not judged, milliseconds: nodes tell what they have twice a second.
const YOUNG_MS: u64 = 2_000;
/// Names given of one group of nodes, and uploads named as lost.
const NAMES_MAX: usize = 8;

/// `files` of `status --json` (contract §3), and more.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct FilesCounts {
    /// Nodes that are up, show what most show, and have all of it on their disks.
    pub agree: u32,
    /// Nodes that are up and have a folder: as many as are to agree.
    pub folders: u32,
    /// They all agree, and no change is still untold.
    pub is_union: bool,
    /// Files that should be everywhere, conflict copies included, as most nodes say.
    pub paths: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Conflict copies among them.
    pub conflicts: u64,
    /// Files with one live holder.
    pub one_holder: u64,
    /// Files without one: those who have them are down or paused.
    pub no_holder: u64,
    /// Uploads that were acknowledged and neither replaced nor deleted since.
    pub uploads: u64,
    /// Those among them that one live node has, or only paused ones.
    pub at_risk: u64,
    /// Those that nobody has who is live or paused. Stays 0.
    pub lost: u64,
    /// The first of the lost.
    pub lost_paths: Vec<Uploaded>,
    /// Since the last change while folders differ, milliseconds.
    pub union_for_ms: Option<u64>,
    /// How long it last took from a change to every folder being the union of all, milliseconds; `null` before the first.
    pub union_ms_last: Option<u64>,
    /// What 99 of 100 such times did not exceed, of those that were watched.
    pub union_ms_p99: Option<u64>,
    /// Nodes that are up, by what is on their disks; the largest group first.
    pub groups: Vec<DigestGroup>,
    /// Files and bytes that nodes lack, over all of them.
    pub need_files: u64,
    /// Bytes that nodes lack.
    pub need_bytes: u64,
    /// Chunks and bundles asked for and not here yet.
    pub in_flight: u64,
    /// Bytes of contents received each second, over all nodes, lately.
    pub received_per_second: u64,
    /// Bytes of contents sent each second.
    pub sent_per_second: u64,
    /// Bytes of contents received since the nodes started.
    pub received_bytes: u64,
    /// Those among them that were of no use.
    pub wasted_bytes: u64,
    /// Received chunks that were wrong, and refused.
    pub bad_chunks: u64,
    /// Nodes whose folder is full, broken or gone.
    pub troubles: Vec<FolderTrouble>,
    /// Holders are counted by a sample of the files.
    pub estimated: bool,
}

/// Nodes with the same files on their disks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DigestGroup {
    /// Of paths and contents, eight hexadecimal digits; `null` for those without a folder.
    pub digest: Option<String>,
    /// How many nodes.
    pub nodes: u32,
    /// Files they have.
    pub files: u64,
    /// Files each of them lacks, at most.
    pub lacking: u64,
    /// The first of them, in the order people count.
    pub names: Vec<NodeName>,
}

/// An upload that was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Uploaded {
    /// Where.
    pub path: String,
    /// By which node.
    pub by: NodeName,
    /// Nodes that had it then.
    pub holders: u32,
}

/// A folder that takes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FolderTrouble {
    /// Whose.
    pub node: NodeName,
    /// How it is.
    pub state: FolderState,
}

/// How a digest is shown: its first eight digits.
pub(crate) fn short(digest: FolderDigest) -> String {
    format!("{digest:.8}").chars().take(8).collect()
}

impl Network {
    /// The folders' numbers as of `now`.
    #[must_use]
    pub fn files_counts(&self, now: UnixMillis) -> FilesCounts {
        let Agreement { folders, agree, want, .. } = self.files.agreement;
        let union = &self.files.union;
        let holders = self.files.holdings.counts();
        let mut counts = FilesCounts {
            agree,
            folders,
            is_union: folders > 0 && self.files_agree(now),
            one_holder: holders.one,
            no_holder: holders.none,
            union_for_ms: union.running_ms(now).filter(|_| !self.files_agree(now)),
            union_ms_last: union.last_ms(),
            union_ms_p99: union.percentile_ms(99),
            groups: self.groups_by_digest(),
            estimated: holders.level > 0,
            ..FilesCounts::default()
        };
        for (name, folder, told) in self.folders() {
            if Some(told.want) == want {
                counts.paths = counts.paths.max(told.files);
                counts.bytes = counts.bytes.max(told.bytes);
                counts.conflicts = counts.conflicts.max(told.conflicts);
            }
            let add = |sum: &mut u64, number: u64| *sum = sum.saturating_add(number);
            add(&mut counts.need_files, told.files.saturating_sub(told.files_here));
            add(&mut counts.need_bytes, told.bytes.saturating_sub(told.bytes_here));
            add(&mut counts.in_flight, u64::from(told.in_flight));
            add(&mut counts.received_bytes, told.received_bytes);
            add(&mut counts.wasted_bytes, told.wasted_bytes);
            add(&mut counts.bad_chunks, told.bad_chunks);
            if folder.counts.as_ref().is_some_and(|(at, _)| now.since(*at) < RATE_MS) {
                add(&mut counts.received_per_second, folder.rates.0);
                add(&mut counts.sent_per_second, folder.rates.1);
            }
            if matches!(told.state, FolderState::Broken | FolderState::Full) {
                counts.troubles.push(FolderTrouble { node: name.clone(), state: told.state });
            }
        }
        for (upload, fate) in self.settled_uploads(now) {
            counts.uploads += 1;
            match fate {
                Fate::Waits => counts.at_risk += 1,
                // A single folder has nowhere else to keep it.
                Fate::Held(1) if folders > 1 => counts.at_risk += 1,
                Fate::Lost => {
                    counts.lost += 1;
                    if counts.lost_paths.len() < NAMES_MAX {
                        let by = self.slots[upload.by].name.clone();
                        let path = upload.path.as_str().to_owned();
                        counts.lost_paths.push(Uploaded { path, by, holders: upload.holders });
                    }
                }
                Fate::Held(_) | Fate::Replaced => {}
            }
        }
        counts
    }

    /// Uploads that stand, with what has become of them; one that is very young is taken to be where it was acknowledged.
    pub(super) fn settled_uploads(&self, now: UnixMillis) -> impl Iterator<Item = (&Upload, Fate)> {
        let judged = self.files.uploads.judged(&self.files.holdings).filter(|(_, fate)| *fate != Fate::Replaced);
        judged.map(move |(upload, fate)| {
            let is_young = now >= upload.at && now.since(upload.at) < YOUNG_MS;
            (upload, if is_young { Fate::Held(upload.holders.max(2)) } else { fate })
        })
    }

    /// Conflict copies, as most nodes say.
    pub(super) fn conflicts(&self) -> u64 {
        let want = self.files.agreement.want;
        let most = self.folders().filter(|(.., counts)| Some(counts.want) == want);
        most.map(|(.., counts)| counts.conflicts).max().unwrap_or(0)
    }

    fn groups_by_digest(&self) -> Vec<DigestGroup> {
        let mut groups: BTreeMap<Option<FolderDigest>, DigestGroup> = BTreeMap::new();
        for slot in self.order.iter().map(|slot| &self.slots[*slot]).filter(|slot| slot.fate == slot::Fate::Up) {
            let told = slot.observer.as_ref().and_then(|observer| observer.folder.counts.as_ref());
            let told = told.map(|(_, counts)| counts).filter(|counts| counts.state != FolderState::NoFolder);
            let digest = told.map(|counts| counts.have);
            let group = groups.entry(digest).or_insert_with(|| DigestGroup {
                digest: digest.map(short),
                nodes: 0,
                files: 0,
                lacking: 0,
                names: Vec::new(),
            });
            group.nodes += 1;
            if let Some(counts) = told {
                group.files = counts.files_here;
                group.lacking = group.lacking.max(counts.files.saturating_sub(counts.files_here));
            }
            if group.names.len() < NAMES_MAX {
                group.names.push(slot.name.clone());
            }
        }
        let mut groups: Vec<DigestGroup> = groups.into_values().collect();
        groups.sort_by(|a, b| (a.digest.is_none(), b.nodes, &a.digest).cmp(&(b.digest.is_none(), a.nodes, &b.digest)));
        groups
    }

    /// Whose folder takes nothing, or which promise is broken.
    pub(in crate::network) fn files_trouble(&self, now: UnixMillis) -> Option<String> {
        let mut odd = self.folders().filter(|(.., told)| matches!(told.state, FolderState::Broken | FolderState::Full));
        if let Some((first, _, told)) = odd.next() {
            let word = if told.state == FolderState::Full { "full" } else { "broken" };
            return Some(match odd.count() {
                0 => format!("the folder of {first} is {word}"),
                more => format!("the folders of {first} and {more} more take nothing"),
            });
        }
        let mut lost = self.settled_uploads(now).filter(|(_, fate)| *fate == Fate::Lost);
        let (first, _) = lost.next()?;
        let path = super::super::feed::quote(first.path.as_str());
        Some(match lost.count() {
            0 => format!("the acknowledged upload {path} is lost: every node that had it is down"),
            more => {
                format!("{} acknowledged uploads are lost, {path} first: every node that had them is down", more + 1)
            }
        })
    }
}
