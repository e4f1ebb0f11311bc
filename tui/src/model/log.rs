//! What changed, in the order it was learnt: changes of the network, what was asked, and what came of it.

use std::collections::VecDeque;

use p2pnet_shared::UnixMillis;

use crate::{network::ChangeKind, view::theme::Role};

/// Most lines held. Default 2,000. When full the oldest goes.
pub const LINES_MAX: usize = 2_000;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// When.
    pub at: UnixMillis,
    /// `node7`, `you`, `p2pnet`.
    pub who: String,
    /// What sort, as one word.
    pub kind: &'static str,
    /// How it is coloured.
    pub role: Role,
    /// What.
    pub text: String,
}

/// The log and where its reader is.
#[derive(Debug, Clone, Default)]
pub struct Log {
    lines: VecDeque<LogLine>,
    /// How many lines from the newest the reader has scrolled up; 0 follows.
    pub back: usize,
}

impl Log {
    /// Adds a line. A reader who has scrolled up keeps the lines they are looking at.
    pub fn push(&mut self, line: LogLine) {
        if self.lines.len() == LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
        if self.back > 0 {
            self.back = (self.back + 1).min(self.lines.len());
        }
    }

    /// Scrolls by `by` lines, positive towards the newest, within what `height` rows can show.
    pub fn scroll(&mut self, by: isize, height: usize) {
        let most = self.lines.len().saturating_sub(height);
        self.back = self.back.saturating_add_signed(-by).min(most);
    }

    /// The lines that `height` rows show, oldest first.
    pub fn window(&self, height: usize) -> impl Iterator<Item = &LogLine> {
        let end = self.lines.len().saturating_sub(self.back);
        self.lines.range(end.saturating_sub(height)..end)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The newest line.
    #[must_use]
    pub fn last(&self) -> Option<&LogLine> {
        self.lines.back()
    }
}

/// A change's word and colour.
#[must_use]
pub fn word(kind: ChangeKind) -> (&'static str, Role) {
    match kind {
        ChangeKind::Up => ("up", Role::Up),
        ChangeKind::Dead => ("DEAD", Role::Dead),
        ChangeKind::Left => ("left", Role::Muted),
        ChangeKind::Paused => ("PAUSED", Role::Muted),
        ChangeKind::Removed => ("removed", Role::Muted),
        ChangeKind::Suspected => ("suspect", Role::Warning),
        ChangeKind::Refuted => ("refuted", Role::Up),
        ChangeKind::DeclaredDead => ("died", Role::Dead),
        ChangeKind::DeclaredLeft => ("leave", Role::Muted),
        ChangeKind::CameBack => ("back", Role::Up),
        ChangeKind::Converged => ("AGREED", Role::Converged),
        ChangeKind::Diverged => ("differ", Role::Converging),
        ChangeKind::Accepted => ("message", Role::Path),
        ChangeKind::Delivered => ("reached", Role::Path),
        ChangeKind::Fault => ("FAULT", Role::Warning),
        ChangeKind::Healed => ("healed", Role::Up),
        ChangeKind::KeysShort => ("short", Role::Converging),
        ChangeKind::KeysWhole => ("whole", Role::Up),
        ChangeKind::KeysMoved => ("moved", Role::Path),
        ChangeKind::KeysLost => ("LOST", Role::Dead),
        ChangeKind::KeysBack => ("back", Role::Up),
        ChangeKind::Disk => ("disk", Role::Warning),
        ChangeKind::Uploaded => ("upload", Role::Path),
        ChangeKind::FileChanged => ("file", Role::Path),
        ChangeKind::Conflict => ("conflict", Role::Warning),
        ChangeKind::FilesUnion => ("union", Role::Up),
        ChangeKind::FilesLost => ("LOST", Role::Dead),
        ChangeKind::FilesBack => ("back", Role::Up),
        ChangeKind::Folder => ("folder", Role::Warning),
        ChangeKind::Watch => ("watch", Role::Warning),
    }
}
