//! Uploads: placed here, then confirmed by others, until enough have it.
//!
//! ```text
//!  Asked ─▶ waits while something is under way at the path ─▶ Place ─▶ a version is made ─▶ Confirm to neighbours, more every 500 ms
//!                    ▲                  looked at anew │                                      Confirmed ─▶ enough, or time is up
//!                    └──────────────────── Changed ◀───┘                                                    └─▶ Uploaded { holders }
//! ```
//! The version is made once the file is under its name, so an upload that failed has changed nothing. Others confirm what is on
//! their disk, synced, and also what was replaced by a version that knew it: that is not lost, but outdated.
//!
//! Always holds: whoever confirms was asked; of one peer [`ASKERS_PER_PEER`] questions wait at most, and all are forgotten after
//! [`FORGET_AFTER`].

use std::collections::{BTreeMap, BTreeSet};

use p2pnet_shared::{
    FilePath, NodeName,
    telemetry::FolderEvent,
    wire::folder::{Content, Entry, Message, Root},
};

use super::{Answer, Effect, Place, RequestId, Source, Stat, State, Trouble, index::Index, local::How};
use crate::time::Millis;

/// Neighbours asked to confirm at first, and how many more each time some have not.
const ASK_AT_ONCE: usize = 3;
/// When more are asked, and those that have not confirmed once more.
const ASK_AGAIN: Millis = Millis(500);
/// Changes of a path that an upload goes along with.
const TRIES_MAX: u8 = 8;
/// Confirmations one peer can wait for.
const ASKERS_PER_PEER: usize = 256;
/// How long others' questions are remembered.
const FORGET_AFTER: Millis = Millis(10_000);

/// A user's file on its way.
#[derive(Debug)]
pub(super) struct Upload {
    path: FilePath,
    /// Which received file.
    upload: u64,
    root: Root,
    size: u64,
    /// When its user is answered at the latest, once it is here.
    deadline: Millis,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Something is under way at the path.
    Waiting { tries: u8 },
    /// With the disk.
    Placing {
        tries: u8,
        wall: u64,
        /// What its user saw at the path.
        seen: Option<Root>,
    },
    /// Here, and to be confirmed by others.
    Here { call: u64, asked: BTreeSet<NodeName>, confirmed: BTreeSet<NodeName>, again: Millis },
}

/// All uploads under way, and what others want confirmed.
#[derive(Debug, Default)]
pub(super) struct Uploads {
    open: BTreeMap<RequestId, Upload>,
    calls: BTreeMap<u64, RequestId>,
    askers: BTreeMap<FilePath, Vec<Asker>>,
    asking: BTreeMap<NodeName, usize>,
    /// Paths somebody waits for where something changed.
    changed: BTreeSet<FilePath>,
}

#[derive(Debug)]
struct Asker {
    peer: NodeName,
    call: u64,
    root: Root,
    until: Millis,
}

impl Uploads {
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn next_due(&self) -> Option<Millis> {
        let due = self.open.values().filter_map(|upload| match &upload.stage {
            Stage::Here { again, .. } => Some(upload.deadline.min(*again)),
            Stage::Waiting { .. } => Some(upload.deadline),
            Stage::Placing { .. } => None,
        });
        due.min()
    }

    /// Something changed at a path: perhaps somebody waits for that.
    pub(super) fn changed(&mut self, path: &FilePath) {
        if self.askers.contains_key(path) {
            self.changed.insert(path.clone());
        }
    }

    fn forget_askers(&mut self, path: &FilePath, is_over: impl Fn(&Asker) -> bool) -> Vec<Asker> {
        let Some(askers) = self.askers.get_mut(path) else { return Vec::new() };
        let (over, rest): (Vec<Asker>, Vec<Asker>) = std::mem::take(askers).into_iter().partition(is_over);
        if rest.is_empty() {
            self.askers.remove(path);
        } else {
            *askers = rest;
        }
        for asker in &over {
            if let Some(count) = self.asking.get_mut(&asker.peer) {
                *count -= 1;
                if *count == 0 {
                    self.asking.remove(&asker.peer);
                }
            }
        }
        over
    }
}

impl State {
    pub(super) fn on_upload(&mut self, id: RequestId, path: FilePath, (upload, root, size): (u64, Root, u64)) {
        let deadline = self.now + self.config.upload_patience;
        let stage = Stage::Waiting { tries: 0 };
        self.uploads.open.insert(id, Upload { path, upload, root, size, deadline, stage });
    }

    /// Goes on with every upload that can.
    pub(super) fn advance_uploads(&mut self, effects: &mut Vec<Effect>) {
        let ids: Vec<RequestId> = self.uploads.open.keys().copied().collect();
        for id in ids {
            let Some(mut upload) = self.uploads.open.remove(&id) else { continue };
            if let Some(answer) = self.advance(id, &mut upload, effects) {
                if let Stage::Here { call, .. } = upload.stage {
                    self.uploads.calls.remove(&call);
                }
                if let Answer::Uploaded { holders } = answer {
                    let Upload { path, root, .. } = upload;
                    effects.push(Effect::Announce(FolderEvent::Uploaded { path, root, holders }));
                }
                effects.push(Effect::Answer { id, answer });
            } else {
                self.uploads.open.insert(id, upload);
            }
        }
    }

    /// One upload's next step; its answer, if that is the last.
    fn advance(&mut self, id: RequestId, upload: &mut Upload, effects: &mut Vec<Effect>) -> Option<Answer> {
        match &mut upload.stage {
            Stage::Waiting { .. } if self.no_folder => Some(Answer::Failed(Trouble::NoFolder)),
            Stage::Waiting { .. } if !self.index.has_room(&upload.path) => Some(Answer::Failed(Trouble::Full)),
            Stage::Waiting { tries } => {
                if self.orders.is_busy(&upload.path) || self.scan.is_open(&upload.path) {
                    return (self.now >= upload.deadline).then_some(Answer::Late);
                }
                let (tries, wall) = (*tries, self.wall());
                let known = self.index.known(&upload.path).copied();
                // What is there may be the last copy of what should be elsewhere: that goes first.
                let is_going = known.is_some_and(|known| self.orders.is_going(&known.root));
                if is_going || self.index.must_wait(&upload.path) {
                    return (self.now >= upload.deadline).then_some(Answer::Late);
                }
                if known.is_some_and(|known| known.root == upload.root) && self.index.is_as_it_should_be(&upload.path) {
                    upload.stage = self.spread();
                    return self.advance(id, upload, effects);
                }
                let place = Place {
                    path: upload.path.clone(),
                    over: known.map(|known| known.stat),
                    source: Source::Upload(upload.upload),
                    root: upload.root,
                    size: upload.size,
                    mtime_ns: nanos(wall),
                    executable: false,
                };
                let seen = self.index.shown(&upload.path).map(|shown| shown.content.root);
                upload.stage = Stage::Placing { tries, wall, seen };
                let over = known.map(|known| known.root);
                self.orders.place(place, over, Some(id), effects);
                None
            }
            Stage::Placing { .. } => None,
            Stage::Here { asked, confirmed, .. } => {
                let holders = 1 + confirmed.len();
                let enough = usize::from(self.config.copies.max(1));
                let nobody = asked.is_empty() && self.neighbours.all().is_empty();
                if holders >= enough || self.now >= upload.deadline || nobody {
                    return Some(Answer::Uploaded { holders: u32::try_from(holders).unwrap_or(u32::MAX) });
                }
                self.ask_to_confirm(id, upload, effects);
                None
            }
        }
    }

    /// The file is here.
    fn spread(&mut self) -> Stage {
        self.last_call += 1;
        Stage::Here { call: self.last_call, asked: BTreeSet::new(), confirmed: BTreeSet::new(), again: self.now }
    }

    /// Asks some more neighbours, if it is time, and those again that have not answered.
    fn ask_to_confirm(&mut self, id: RequestId, upload: &mut Upload, effects: &mut Vec<Effect>) {
        let Stage::Here { call, asked, confirmed, again } = &mut upload.stage else { return };
        if self.now < *again || self.rows.holds(&upload.path) {
            return;
        }
        let Some(entry) = self.index.entry(&upload.path) else { return };
        *again = self.now + ASK_AGAIN;
        let all = self.neighbours.all();
        // Not everybody begins with the same.
        let begin = usize::try_from(*call % all.len().max(1) as u64).unwrap_or(0);
        let others = all[begin..].iter().chain(&all[..begin]).filter(|name| !asked.contains(*name));
        let more: Vec<NodeName> = others.take(ASK_AT_ONCE).cloned().collect();
        asked.extend(more);
        for to in asked.iter().filter(|name| !confirmed.contains(*name)).cloned() {
            let message = Message::Confirm { call: *call, entry: entry.clone(), root: upload.root };
            effects.push(Effect::Send { to, message });
        }
        self.uploads.calls.insert(*call, id);
    }

    /// An upload is under its name, or why not.
    pub(super) fn on_upload_placed(&mut self, id: RequestId, placed: Result<Stat, Trouble>, effects: &mut Vec<Effect>) {
        let Some(mut upload) = self.uploads.open.remove(&id) else { return };
        let Stage::Placing { tries, wall, seen } = upload.stage else {
            self.uploads.open.insert(id, upload);
            return;
        };
        match placed {
            Ok(stat) => {
                let Upload { path, root, size, .. } = &upload;
                // What was learnt meanwhile its user has not seen: the file is a write beside it then, as any other.
                let is_as_seen = self.index.shown(path).map(|shown| shown.content.root) == seen;
                if is_as_seen && self.index.upload(path, *root, *size, wall).is_ok() {
                    self.index.placed(path, stat, *root);
                } else {
                    self.index.found(path, stat, *root, How::Watch, wall);
                }
                let event = FolderEvent::Landed { path: path.clone(), root: *root, size: *size };
                effects.push(Effect::Announce(event));
                let event = FolderEvent::Changed { path: path.clone(), root: Some(*root) };
                effects.push(Effect::Announce(event));
                self.landed(&upload.root, effects);
                self.take_changes(None);
                upload.stage = self.spread();
            }
            Err(Trouble::Changed) if tries < TRIES_MAX => {
                self.scan.look(upload.path.clone(), &self.orders);
                upload.stage = Stage::Waiting { tries: tries + 1 };
            }
            Err(why) => {
                if why == Trouble::NoFolder {
                    self.lost_folder();
                }
                effects.push(Effect::Answer { id, answer: Answer::Failed(why) });
                return;
            }
        }
        self.uploads.open.insert(id, upload);
    }

    pub(super) fn on_confirmed(&mut self, from: NodeName, call: u64) {
        let id = self.uploads.calls.get(&call).copied();
        let Some(upload) = id.and_then(|id| self.uploads.open.get_mut(&id)) else { return };
        if let Stage::Here { asked, confirmed, .. } = &mut upload.stage
            && asked.contains(&from)
        {
            confirmed.insert(from);
        }
    }

    /// Somebody wants to know when we have an upload of its user.
    pub(super) fn on_confirm(
        &mut self,
        from: NodeName,
        (call, entry, root): (u64, Entry, Root),
        effects: &mut Vec<Effect>,
    ) {
        let path = entry.path.clone();
        self.on_push(&from, vec![entry], effects);
        if self.index.entry(&path).is_none() || !self.neighbours.is_member(&from) {
            return;
        }
        let until = self.now + FORGET_AFTER;
        let askers = self.uploads.askers.entry(path.clone()).or_default();
        if let Some(known) = askers.iter_mut().find(|asker| asker.peer == from && asker.call == call) {
            known.until = until;
        } else {
            let count = self.uploads.asking.entry(from.clone()).or_default();
            if *count < ASKERS_PER_PEER {
                *count += 1;
                askers.push(Asker { peer: from, call, root, until });
            }
        }
        if askers.is_empty() {
            self.uploads.askers.remove(&path);
        }
        self.confirm(&path, effects);
    }

    /// Tells those who wait for something at this path that it is here, if it is.
    fn confirm(&mut self, path: &FilePath, effects: &mut Vec<Effect>) {
        let State { uploads, index, .. } = self;
        for asker in uploads.forget_askers(path, |asker| has(index, path, &asker.root)) {
            effects.push(Effect::Send { to: asker.peer, message: Message::Confirmed { call: asker.call } });
        }
    }

    /// Confirms what has come.
    pub(super) fn confirm_all(&mut self, effects: &mut Vec<Effect>) {
        while let Some(path) = self.uploads.changed.pop_first() {
            self.confirm(&path, effects);
        }
    }

    /// Forgets those who have waited too long.
    pub(super) fn tick_askers(&mut self) {
        let now = self.now;
        let late = |askers: &&Vec<Asker>| askers.iter().any(|asker| asker.until <= now);
        let paths: Vec<FilePath> =
            self.uploads.askers.iter().filter(|(_, askers)| late(askers)).map(|(path, _)| path.clone()).collect();
        for path in paths {
            self.uploads.forget_askers(&path, |asker| asker.until <= now);
        }
    }
}

/// Whether these contents are on this disk for that path, or known to be replaced.
fn has(index: &Index, path: &FilePath, root: &Root) -> bool {
    let is_root = |content: &Content| matches!(content, Content::File(file) if file.root == *root);
    let stands = index.entry(path).is_some_and(|entry| entry.siblings.iter().any(|one| is_root(&one.content)));
    let is_under_its_name = index.known(path).is_some_and(|known| known.root == *root);
    let is_a_copy =
        || index.shown(path).is_some_and(|shown| shown.content.root != *root) && index.locate(root).is_some();
    is_under_its_name || !stands || is_a_copy()
}

/// Of milliseconds.
fn nanos(wall: u64) -> i64 {
    i64::try_from(wall.saturating_mul(1_000_000)).unwrap_or(i64::MAX)
}
