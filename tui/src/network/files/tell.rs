//! What is told of files: users' changes and uploads, conflicts, folders in trouble, uploads that are lost, the union.
//!
//! A user's change is a line, but no more than a few a second: of a thousand files dropped into a folder the first are named
//! and the others counted. Everything else is told when it changes, every two seconds at most.

use p2pnet_shared::{
    NodeName, UnixMillis,
    telemetry::{FolderCounts, FolderEvent, FolderState},
};

use super::super::{Change, ChangeKind, Network, feed::quote, story::seconds};
use crate::holdings::Fate;

/// Users' changes named in a second at most.
const NAMED_MAX: u32 = 5;
/// For how long they are counted, milliseconds.
const WINDOW_MS: u64 = 1_000;
/// Between two lines about the same thing, milliseconds.
const TELL_EVERY_MS: u64 = 2_000;

/// What was told.
#[derive(Debug, Clone, Default)]
pub(super) struct Teller {
    /// When the present second of changes began, how many of it were named, and how many were not.
    window: UnixMillis,
    named: u32,
    unnamed: u32,
    /// Lost uploads when it was last told, and when that was looked at.
    lost: (u64, UnixMillis),
    /// The same of conflict copies; `None` while it was never looked at.
    conflicts: (Option<u64>, UnixMillis),
}

impl Teller {
    /// A user changed something.
    pub(super) fn event(
        &mut self,
        now: UnixMillis,
        node: &NodeName,
        event: &FolderEvent,
        at: UnixMillis,
        changes: &mut Vec<Change>,
    ) {
        let (kind, text) = match event {
            FolderEvent::Uploaded { path, holders, .. } => {
                let on = if *holders == 1 { "on 1 node".to_owned() } else { format!("on {holders} nodes") };
                (ChangeKind::Uploaded, format!("took the upload {}, {on} when acknowledged", quote(path.as_str())))
            }
            FolderEvent::Changed { path, root: Some(_) } => {
                (ChangeKind::FileChanged, format!("its user wrote {}", quote(path.as_str())))
            }
            FolderEvent::Changed { path, root: None } => {
                (ChangeKind::FileChanged, format!("its user deleted {}", quote(path.as_str())))
            }
            FolderEvent::Landed { .. } | FolderEvent::Gone { .. } => return,
        };
        changes.extend(self.close_window(now));
        if self.named >= NAMED_MAX {
            self.unnamed = self.unnamed.saturating_add(1);
            return;
        }
        self.named += 1;
        changes.push(Change::of(at, kind, node, text));
    }

    /// A second of changes is over: how many were not named.
    fn close_window(&mut self, now: UnixMillis) -> Option<Change> {
        // A clock that was set back must not keep it open for ever.
        if now >= self.window && now.since(self.window) < WINDOW_MS {
            return None;
        }
        let unnamed = std::mem::take(&mut self.unnamed);
        (self.window, self.named) = (now, 0);
        let files = if unnamed == 1 { "1 more change".to_owned() } else { format!("{unnamed} more changes") };
        (unnamed > 0).then(|| Change::all(now, ChangeKind::FileChanged, format!("{files} of files in that second")))
    }
}

/// What to tell of one node's folder, if it changed.
pub(super) fn trouble(now: UnixMillis, node: &NodeName, before: &FolderCounts, told: &FolderCounts) -> Vec<Change> {
    let mut changes = Vec::new();
    let bad = |state: FolderState| matches!(state, FolderState::NoFolder | FolderState::Broken | FolderState::Full);
    let text = match told.state {
        state if state == before.state => None,
        FolderState::NoFolder => Some("its folder is gone: nothing is read, written or concluded"),
        FolderState::Broken => Some("its folder cannot be written"),
        FolderState::Full => Some("no room for its folder: what is there stays, nothing new is fetched"),
        _ if bad(before.state) => Some("its folder is as it should be again"),
        FolderState::Scanning | FolderState::Stalled | FolderState::Syncing | FolderState::Idle => None,
    };
    changes.extend(text.map(|text| Change::of(now, ChangeKind::Folder, node, text)));
    if told.rescan_only && !before.rescan_only {
        let text = "the host allows no watch: changes are found by looking at everything now and then";
        changes.push(Change::of(now, ChangeKind::Folder, node, text));
    }
    let wrong = told.bad_chunks.saturating_sub(before.bad_chunks);
    if wrong > 0 {
        let from = told.liar.as_ref().map_or_else(String::new, |liar| format!(" from {liar}"));
        let chunks = if wrong == 1 { "a wrong chunk".to_owned() } else { format!("{wrong} wrong chunks") };
        changes.push(Change::of(now, ChangeKind::Folder, node, format!("refused {chunks}{from}")));
    }
    changes
}

impl Network {
    /// Tells what happened to files, once everything there is to know is known.
    pub(super) fn tell_files(&mut self, now: UnixMillis, changes: &mut Vec<Change>) {
        if !self.feed.complete || !self.engine.complete {
            return;
        }
        changes.extend(self.files.teller.close_window(now));
        let folders = self.files.agreement.folders;
        if folders == 0 {
            return;
        }
        if self.files_agree(now) {
            let (reached, youngest_since) = (self.files.agreement.reached, self.files.agreement.youngest_since);
            if let Some(took) = self.files.union.is_reached(now, reached, youngest_since, folders == 1) {
                let files = self.folders().map(|(.., counts)| counts.files).max().unwrap_or(0);
                let files = if files == 1 { "file".to_owned() } else { format!("{files} files") };
                let who =
                    if folders == 1 { "the only folder has".into() } else { format!("all {folders} folders have") };
                let text = format!("{who} the same {files}, {} after the last change", seconds(took));
                changes.push(Change::all(reached.unwrap_or(now).min(now), ChangeKind::FilesUnion, text));
            }
        } else if self.files_differ(now) {
            self.files.union.is_lost(now, self.files.agreement.behind_since);
        }
        self.tell_conflicts(now, changes);
        self.tell_lost_uploads(now, changes);
    }

    fn tell_conflicts(&mut self, now: UnixMillis, changes: &mut Vec<Change>) {
        let conflicts = self.conflicts();
        let (told, at) = self.files.teller.conflicts;
        if told == Some(conflicts) || (told.is_some() && now.since(at) < TELL_EVERY_MS) {
            return;
        }
        self.files.teller.conflicts = (Some(conflicts), now);
        let Some(told) = told else { return };
        let copies = if conflicts == 1 { "1 conflict copy".to_owned() } else { format!("{conflicts} conflict copies") };
        let text = match conflicts {
            0 => "no conflict copy is left".to_owned(),
            _ if conflicts > told => {
                format!("{copies}, {} more: versions written at once are all kept", conflicts - told)
            }
            _ => format!("{copies} left"),
        };
        changes.push(Change::all(now, ChangeKind::Conflict, text));
    }

    fn tell_lost_uploads(&mut self, now: UnixMillis, changes: &mut Vec<Change>) {
        let (told, at) = self.files.teller.lost;
        if now.since(at) < TELL_EVERY_MS {
            return;
        }
        let super::Files { holdings, uploads, .. } = &mut self.files;
        uploads.sweep(holdings);
        let mut gone = self.settled_uploads(now).filter(|(_, fate)| *fate == Fate::Lost);
        let first = gone.next().map(|(upload, _)| quote(upload.path.as_str()));
        let lost = u64::from(first.is_some()) + gone.count() as u64;
        self.files.teller.lost = (lost, now);
        let change = match (first, lost) {
            _ if lost == told => return,
            (Some(first), _) if lost > told => {
                let more = if lost > 1 { format!(" and {} more", lost - 1) } else { String::new() };
                let text = format!("the acknowledged upload {first}{more}: every node that had it is down");
                Change::all(now, ChangeKind::FilesLost, text)
            }
            (_, 0) => Change::all(now, ChangeKind::FilesBack, "every acknowledged upload is within reach again"),
            _ => {
                let text = format!("{} acknowledged uploads within reach again, {lost} still out of it", told - lost);
                Change::all(now, ChangeKind::FilesBack, text)
            }
        };
        changes.push(change);
    }
}
