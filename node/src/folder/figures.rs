//! What the folder tells of itself.

use p2pnet_shared::{
    FilePath, UnixMillis,
    telemetry::{FileProgress, FolderCounts, FolderState, HeldFile},
    wire::folder::Root,
};

use super::{State, Trouble};
use crate::time::Millis;

/// How long nothing may come before it is said that nobody has what is missing.
const STALLED_AFTER: Millis = Millis(5_000);

impl State {
    /// The contents that are to be seen under a path, whether they are here yet or not.
    #[must_use]
    pub fn shown(&self, path: &FilePath) -> Option<Root> {
        self.index.shown(path).map(|shown| shown.content.root)
    }

    /// This node's folder, in numbers.
    #[must_use]
    pub fn counts(&self) -> FolderCounts {
        let (index, bytes, digests) = (self.index.counts(), self.transfer.figures(), self.index.digests());
        FolderCounts {
            state: self.condition(),
            rescan_only: !self.is_watching,
            files: index.files,
            bytes: index.bytes,
            files_here: index.files_here,
            bytes_here: index.bytes_here + self.desk.part_bytes(&bytes.progress),
            conflicts: index.conflicts,
            tombstones: index.tombstones,
            in_flight: bytes.in_flight,
            sources: bytes.sources,
            received_bytes: bytes.received_bytes,
            sent_bytes: bytes.sent_bytes,
            wasted_bytes: bytes.wasted_bytes,
            bad_chunks: bytes.bad_chunks,
            liar: bytes.liar,
            skipped: self.scan.skipped() + index.refused,
            index: digests.index,
            want: digests.want,
            have: digests.have,
            since: self.since.0,
        }
    }

    fn condition(&self) -> FolderState {
        let digests = self.index.digests();
        let is_looking = self.scan.is_looking();
        if self.no_folder {
            FolderState::NoFolder
        } else if self.desk.is_full || self.rows.trouble == Some(Trouble::Full) {
            FolderState::Full
        } else if self.desk.is_broken || self.rows.trouble.is_some() {
            FolderState::Broken
        } else if self.is_first_look {
            FolderState::Scanning
        } else if digests.want == digests.have && !is_looking {
            FolderState::Idle
        } else if !is_looking && self.orders.placing() == 0 && self.now > self.moved_at + STALLED_AFTER {
            FolderState::Stalled
        } else {
            FolderState::Syncing
        }
    }

    /// Which files are on its disk.
    pub fn held(&self) -> impl Iterator<Item = HeldFile> {
        self.index.have_rows().map(|(path, root)| HeldFile { path, root: Some(root) })
    }

    /// Files of several chunks on their way.
    #[must_use]
    pub fn progress(&self) -> Vec<FileProgress> {
        self.transfer.figures().progress
    }

    /// Entries that were not pushed to neighbours that did not keep up: comparing brought them. And messages that no correct
    /// node sends.
    #[must_use]
    pub fn dropped(&self) -> (u64, u64) {
        (self.talks.dropped, self.talks.malformed)
    }

    /// Takes note of when have became equal to want, or stopped being so.
    pub(super) fn note_since(&mut self) {
        let digests = self.index.digests();
        let is_equal = digests.have == digests.want;
        if is_equal != self.since.1 {
            self.since = (UnixMillis(self.wall()), is_equal);
        }
    }
}
