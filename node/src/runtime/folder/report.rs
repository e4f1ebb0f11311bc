//! What the gateway, readers of `/events` and `/metrics` are told of the folder, by the loop.

use p2pnet_shared::telemetry::{FolderCounts, FolderEvent, FolderState, Report};

use super::News;
use crate::{
    folder::State,
    runtime::{Node, hub::Hub, metrics::Exposition, telemetry::NEWS_PERIOD, timers::Wake},
};

/// Files in one report, 17 bytes each.
const HELD_CHUNK: usize = 4 * 1024;

impl Node {
    /// Tells what is new since the last time.
    pub(in crate::runtime) fn report_folder(&mut self) {
        let (is_watched, is_read) = (self.reporter.is_up(), self.readers.is_any());
        let Some(folder) = &self.folder else { return };
        let (reports, events, unsaid, is_more) = folder.with_news(|news, state| {
            (news.is_watched, news.is_read) = (is_watched, is_read);
            let mut reports = Vec::new();
            if is_watched {
                reports.extend(
                    news.take_held()
                        .chunks(HELD_CHUNK)
                        .map(|files| Report::Files { anew: false, files: files.to_vec() }),
                );
                changed(news, state, &mut reports);
            } else {
                news.is_changed = false;
            }
            let (events, unsaid) = news.take_events();
            news.known();
            (reports, events, unsaid, news.is_to_be_told())
        });
        if is_more {
            self.timers.set(self.clock.now() + NEWS_PERIOD, Wake::FolderNews);
        }
        for (event, at) in events {
            let (kind, is_of_a_user) = match event {
                FolderEvent::Landed { .. } => ("file_landed", false),
                FolderEvent::Gone { .. } => ("file_gone", false),
                FolderEvent::Uploaded { .. } => ("file_uploaded", true),
                FolderEvent::Changed { .. } => ("file_changed", true),
            };
            self.readers.tell(kind, &event);
            if is_of_a_user {
                self.report(Report::FolderEvent { event, at });
            }
        }
        if unsaid > 0 {
            self.readers.tell("files_unsaid", &serde_json::json!({ "events": unsaid }));
        }
        reports.into_iter().for_each(|report| self.report(report));
    }

    /// What a new link to the gateway begins with.
    pub(in crate::runtime) fn first_of_folder(&self) -> Vec<Report> {
        let Some(folder) = &self.folder else {
            let none = FolderCounts { state: FolderState::NoFolder, ..FolderCounts::default() };
            return vec![Report::Folder(none)];
        };
        folder.with_news(|news, state| {
            news.is_watched = true;
            news.counts_told = state.counts();
            news.progress_told.clear();
            drop(news.take_held());
            let mut reports = vec![Report::Folder(news.counts_told.clone())];
            let files: Vec<_> = state.held().collect();
            if files.is_empty() {
                reports.push(Report::Files { anew: true, files });
            } else {
                reports.extend(
                    files
                        .chunks(HELD_CHUNK)
                        .enumerate()
                        .map(|(at, files)| Report::Files { anew: at == 0, files: files.to_vec() }),
                );
            }
            reports
        })
    }

    pub(in crate::runtime) fn folder_metrics(&self, text: &mut Exposition) {
        let Some(folder) = &self.folder else { return };
        let counts = folder.counts();
        for (name, help, value) in [
            ("files", "Files that should be here, conflict copies included.", counts.files),
            ("files_here", "Those of them that are here.", counts.files_here),
            ("file_bytes", "Bytes of the files that should be here.", counts.bytes),
            ("file_bytes_here", "Bytes of files that are here, those of unfinished ones included.", counts.bytes_here),
            ("file_conflicts", "Conflict copies.", counts.conflicts),
            ("files_deleted", "Deleted files that are still remembered.", counts.tombstones),
            ("files_skipped", "Names and things in the folder that cannot be shared.", counts.skipped),
            ("file_requests_in_flight", "Chunks and bundles asked for and not here yet.", counts.in_flight.into()),
            ("file_sources", "Nodes they were asked of.", counts.sources.into()),
            ("folder_rescan_only", "1 if the host allows no watch over the folder.", counts.rescan_only.into()),
        ] {
            text.gauge(name, help, value);
        }
        for (name, help, value) in [
            ("file_received_bytes_total", "Bytes of contents received.", counts.received_bytes),
            ("file_sent_bytes_total", "Bytes of contents sent.", counts.sent_bytes),
            ("file_wasted_bytes_total", "Received bytes that were of no use.", counts.wasted_bytes),
            ("file_bad_chunks_total", "Received chunks that were wrong.", counts.bad_chunks),
        ] {
            text.counter(name, help, value);
        }
        let states = [
            ("no_folder", FolderState::NoFolder),
            ("broken", FolderState::Broken),
            ("full", FolderState::Full),
            ("scanning", FolderState::Scanning),
            ("stalled", FolderState::Stalled),
            ("syncing", FolderState::Syncing),
            ("idle", FolderState::Idle),
        ];
        let labels = states.map(|(name, _)| format!("{{state=\"{name}\"}}"));
        let rows: Vec<_> = states
            .iter()
            .zip(&labels)
            .map(|((_, state), label)| (label.as_str(), u8::from(counts.state == *state).to_string()))
            .collect();
        text.metric("folder", "gauge", "What the folder is doing: 1 at its state.", &rows);
        text.gauge("file_connections", "Connections for the folder that are up.", folder.connections());
        text.gauge(
            "file_queue_limit_bytes",
            "Room for what waits on one of them.",
            folder.wiring().limits.peer_queue_bytes,
        );
    }
}

/// Counts and progress, if they are others than those told. Counts every other time: twice a second at most.
fn changed(news: &mut News, state: &State, reports: &mut Vec<Report>) {
    if !news.is_changed {
        return;
    }
    let progress = state.progress();
    if progress != news.progress_told {
        news.progress_told.clone_from(&progress);
        reports.push(Report::Progress(progress));
    }
    news.counts_due = !news.counts_due;
    if news.counts_due {
        news.is_changed = false;
        let counts = state.counts();
        if counts != news.counts_told {
            news.counts_told.clone_from(&counts);
            reports.push(Report::Folder(counts));
        }
    }
}
