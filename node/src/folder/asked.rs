//! Users who open, delete or want everything looked at. Uploads and lists have files of their own.
//!
//! Always holds: every question gets one answer; of more than [`OPEN_MAX`] at a time the rest is refused at once.

use std::collections::BTreeMap;

use p2pnet_shared::{FilePath, telemetry::FolderEvent};

use super::{Answer, Effect, Request, RequestId, State, Trouble};
use crate::time::Millis;

/// Questions at a time.
const OPEN_MAX: usize = 1_024;
/// How long a delete waits for the disk.
const DELETE_PATIENCE: Millis = Millis(5_000);

/// Users who wait for one thing.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// For the bytes of a path, until then.
    opens: BTreeMap<RequestId, (FilePath, Millis)>,
    /// For rows to be on disk, until then.
    deletes: BTreeMap<RequestId, (u64, Millis)>,
}

impl Asked {
    fn len(&self) -> usize {
        self.opens.len() + self.deletes.len()
    }

    pub(super) fn next_due(&self) -> Option<Millis> {
        let opens = self.opens.values().map(|(_, due)| *due);
        opens.chain(self.deletes.values().map(|(_, due)| *due)).min()
    }

    fn is_awaited(&self, path: &FilePath) -> bool {
        self.opens.values().any(|(awaited, _)| awaited == path)
    }
}

impl State {
    pub(super) fn on_asked(&mut self, id: RequestId, request: Request, effects: &mut Vec<Effect>) {
        let waiting = self.asked.len() + self.uploads.len() + self.censuses.len() + self.scan.waiters();
        if waiting >= OPEN_MAX {
            return effects.push(Effect::Answer { id, answer: Answer::Late });
        }
        match request {
            Request::Upload { path, upload, root, size } => self.on_upload(id, path, (upload, root, size)),
            Request::Open { path } => {
                let due = self.now + self.config.download_patience;
                // It is planned once more, now that somebody waits.
                self.desk.plan(path.clone(), None);
                self.asked.opens.insert(id, (path, due));
            }
            Request::Delete { path } => self.on_delete(id, &path, effects),
            Request::List => self.on_list(id),
            Request::Rescan => self.scan.rescan(id),
        }
    }

    fn on_delete(&mut self, id: RequestId, path: &FilePath, effects: &mut Vec<Effect>) {
        if self.no_folder {
            return effects.push(Effect::Answer { id, answer: Answer::Failed(Trouble::NoFolder) });
        }
        if !self.index.delete(path, self.wall()) {
            return effects.push(Effect::Answer { id, answer: Answer::Missing });
        }
        effects.push(Effect::Announce(FolderEvent::Changed { path: path.clone(), root: None }));
        self.take_changes(None);
        let number = self.rows.hurry(self.now);
        self.asked.deletes.insert(id, (number, self.now + DELETE_PATIENCE));
    }

    /// Whether a user waits for this path.
    pub(super) fn is_urgent(&self, path: &FilePath) -> bool {
        self.asked.is_awaited(path)
    }

    /// Answers whom it can.
    pub(super) fn advance_asked(&mut self, effects: &mut Vec<Effect>) {
        let mut answers = Vec::new();
        for (id, (path, due)) in &self.asked.opens {
            let answer = match self.opened(path) {
                None if *due <= self.now => Some(Answer::Late),
                answer => answer,
            };
            answers.extend(answer.map(|answer| (*id, answer)));
        }
        for (id, (number, due)) in &self.asked.deletes {
            if self.rows.has(*number) {
                answers.push((*id, Answer::Deleted));
            } else if *due <= self.now {
                answers.push((*id, Answer::Failed(self.rows.trouble.unwrap_or(Trouble::Broken))));
            }
        }
        for (id, answer) in answers {
            self.asked.opens.remove(&id);
            self.asked.deletes.remove(&id);
            effects.push(Effect::Answer { id, answer });
        }
    }

    /// What is to be said of a path, if it is sure.
    fn opened(&self, path: &FilePath) -> Option<Answer> {
        let Some(shown) = self.index.shown(path) else {
            return Some(Answer::Missing);
        };
        let known = self.index.known(path).filter(|known| known.root == shown.content.root)?;
        let (path, stat, root) = (path.clone(), known.stat, known.root);
        Some(Answer::Open { path, stat, root })
    }
}
