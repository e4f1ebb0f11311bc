//! What nodes tell of their folders, as the gateway keeps it for those who begin to listen: numbers, which files are on
//! which disk, what is on its way, the last change, and the uploads whose promise stands.
//!
//! Who has what is kept by [`Holdings`]; its limits are the limits here. A node whose link is down keeps what it last said,
//! which is then neither news nor a live copy.

use p2pnet_shared::{
    UnixMillis,
    telemetry::{FileProgress, FolderCounts, FolderEvent, HeldFile, Report},
};

use crate::holdings::{Holdings, Standing, Uploads};

/// Files on one line of a history: some 40 KB.
const LINE_FILES: usize = 1_024;
/// Unfinished files kept of one node; a node tells of 16.
pub(crate) const PROGRESS_MAX: usize = 16;
/// Sources kept of an unfinished file; a node tells of 8.
pub(crate) const SOURCES_MAX: usize = 8;

/// One node's folder, as it last said.
#[derive(Debug, Default)]
pub(super) struct Folder {
    pub(super) counts: Option<FolderCounts>,
    /// It has begun to tell which files it has.
    pub(super) has_told: bool,
    progress: Vec<FileProgress>,
    last_change: Option<(FolderEvent, UnixMillis)>,
}

impl Folder {
    pub(super) fn keep_progress(&mut self, files: &[FileProgress]) {
        self.progress = files.iter().take(PROGRESS_MAX).cloned().collect();
        self.progress.iter_mut().for_each(|file| file.sources.truncate(SOURCES_MAX));
    }

    /// Keeps a user's change: from it a newcomer knows since when there is something to agree on.
    pub(super) fn keep_change(&mut self, event: &FolderEvent, at: UnixMillis) {
        if matches!(event, FolderEvent::Changed { .. }) {
            self.last_change = Some((event.clone(), at));
        }
    }
}

/// All folders together.
#[derive(Debug, Default)]
pub(super) struct Folders {
    holdings: Holdings,
    uploads: Uploads,
}

impl Folders {
    /// What a node had is of no interest any more, or it begins anew.
    pub(super) fn forget(&mut self, node: u16) {
        self.holdings.forget(usize::from(node));
    }

    /// A node's link ended.
    pub(super) fn away(&mut self, node: u16) {
        self.holdings.stand(usize::from(node), Standing::Down);
    }

    /// A node says which files it has.
    pub(super) fn take(&mut self, node: u16, anew: bool, files: &[HeldFile]) {
        let Self { holdings, uploads } = self;
        if anew {
            holdings.forget(usize::from(node));
        }
        holdings.stand(usize::from(node), Standing::Live);
        holdings.take(usize::from(node), files, !anew, |_, gone| uploads.given_up(gone));
    }

    /// Something happened to a file.
    pub(super) fn happened(&mut self, node: u16, event: &FolderEvent, at: UnixMillis) {
        let Self { holdings, uploads } = self;
        match event {
            FolderEvent::Uploaded { path, root, holders } => {
                uploads.add(holdings, (path.clone(), *root, *holders), at, usize::from(node), true);
            }
            FolderEvent::Changed { path, root } => {
                uploads.changed(path.hash64(), root.map(|root| root.short()), at);
            }
            FolderEvent::Landed { .. } | FolderEvent::Gone { .. } => {}
        }
    }

    /// Reports that tell all of one node's folder.
    pub(super) fn reports(&self, node: u16, folder: &Folder) -> impl Iterator<Item = Report> {
        let slot = usize::from(node);
        let mut files: Vec<HeldFile> = self.holdings.of(slot).collect();
        files.sort_unstable_by_key(|file| file.path);
        let lines = if folder.has_told { files.len().div_ceil(LINE_FILES).max(1) } else { 0 };
        let files = (0..lines).map(move |line| {
            let files = files[line * LINE_FILES..((line + 1) * LINE_FILES).min(files.len())].to_vec();
            Report::Files { anew: line == 0, files }
        });
        let uploads = self.uploads.standing(&self.holdings, slot).into_iter().map(|upload| {
            let (path, root, holders) = (upload.path.clone(), upload.root, upload.holders);
            (FolderEvent::Uploaded { path, root, holders }, upload.at)
        });
        let mut events: Vec<(FolderEvent, UnixMillis)> = folder.last_change.iter().cloned().chain(uploads).collect();
        events.sort_by_key(|(_, at)| *at);
        let progress = (!folder.progress.is_empty()).then(|| Report::Progress(folder.progress.clone()));
        let counts = folder.counts.clone().map(Report::Folder).into_iter();
        let events = events.into_iter().map(|(event, at)| Report::FolderEvent { event, at });
        counts.chain(files).chain(progress).chain(events)
    }
}
