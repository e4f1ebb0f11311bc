//! What is new in the folder, gathered until it is told: to the gateway as reports, to readers of `/events` as events.
//!
//! ```text
//! FolderEvent, inputs ──▶ News ──every NEWS_PERIOD──▶ loop: Report::Files, Folder, Progress, FolderEvent; file events
//! ```
//! Nothing is gathered for whom nobody listens. What changed of a path is told once however often it changed meanwhile.
//! Holds [`EVENTS_MAX`] events; those beyond it are not told, their number is.

use std::collections::HashMap;

use p2pnet_shared::{
    UnixMillis,
    telemetry::{FileProgress, FolderCounts, FolderEvent, HeldFile},
};

use crate::{folder::Input, runtime::Clock};

/// Events told at once.
const EVENTS_MAX: usize = 256;

/// What is to be told.
#[derive(Debug, Default)]
pub(in crate::runtime) struct News {
    /// A gateway listens.
    pub(super) is_watched: bool,
    /// Somebody reads `/events`.
    pub(in crate::runtime) is_read: bool,
    /// What changed of which paths.
    held: HashMap<u64, Option<u64>>,
    /// For readers, and those of users for the gateway.
    events: Vec<(FolderEvent, UnixMillis)>,
    /// Events that there was no room for.
    unsaid: u64,
    /// Counts and progress may have changed.
    pub(super) is_changed: bool,
    /// Counts are told this time, not the next.
    pub(super) counts_due: bool,
    /// The counts as they were told.
    pub(super) counts_told: FolderCounts,
    /// What is on its way, as it was told.
    pub(super) progress_told: Vec<FileProgress>,
    /// The loop knows that there is something.
    is_known: bool,
}

impl News {
    pub(super) fn on_input(&mut self, input: &Input) {
        self.is_changed |= !matches!(input, Input::Touched { .. });
    }

    pub(super) fn on_event(&mut self, event: FolderEvent, clock: Clock) {
        if self.is_watched {
            let held = match &event {
                FolderEvent::Landed { path, root, .. } => Some((path, Some(root.short()))),
                FolderEvent::Changed { path, root } => Some((path, root.map(|root| root.short()))),
                FolderEvent::Gone { path } => Some((path, None)),
                FolderEvent::Uploaded { .. } => None,
            };
            self.held.extend(held.map(|(path, root)| (path.hash64(), root)));
        }
        let is_of_a_user = matches!(event, FolderEvent::Uploaded { .. } | FolderEvent::Changed { .. });
        if self.is_read || (self.is_watched && is_of_a_user) {
            if self.events.len() < EVENTS_MAX { self.events.push((event, clock.wall())) } else { self.unsaid += 1 }
        }
    }

    /// What changed of which files.
    pub(super) fn take_held(&mut self) -> Vec<HeldFile> {
        self.held.drain().map(|(path, root)| HeldFile { path, root }).collect()
    }

    /// What happened, and how much more there was no room for.
    pub(super) fn take_events(&mut self) -> (Vec<(FolderEvent, UnixMillis)>, u64) {
        (std::mem::take(&mut self.events), std::mem::take(&mut self.unsaid))
    }

    /// The loop has looked: it is told of what comes next.
    pub(super) fn known(&mut self) {
        self.is_known = false;
    }

    /// Whether the loop is to be told that there is something; once, until it has looked.
    pub(super) fn is_to_be_told(&mut self) -> bool {
        let is_any = (self.is_watched && (self.is_changed || !self.held.is_empty())) || !self.events.is_empty();
        is_any && !std::mem::replace(&mut self.is_known, true)
    }
}
