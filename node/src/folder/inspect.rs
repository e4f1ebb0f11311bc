//! What looking at the disk says, told to the index.
//!
//! Always holds: nothing is concluded from a look that failed; a file is gone when a look finds nothing there and the folder is
//! there; what is found is hashed before it counts; and what another file on this disk may explain waits until all have been looked at.

use p2pnet_shared::{FilePath, telemetry::FolderEvent, wire::folder::Root};

use super::{
    Answer, Done, Effect, Found, OrderId, RequestId, Stat, State, Trouble,
    local::{How, Meaning},
    scan,
};

impl State {
    pub(super) fn on_walked(&mut self, order: OrderId, done: Done, effects: &mut Vec<Effect>) {
        if !self.scan.is_walk(order) {
            return;
        }
        let Done::Walked { files, skipped, is_last } = done else {
            self.orders.take(order);
            let why = if let Done::NotWalked(why) = done { why } else { Trouble::Broken };
            return self.on_not_walked(why, effects);
        };
        let State { scan, index, rng, orders, .. } = self;
        let is_as_known = |path: &FilePath, stat: &Stat| index.known(path).is_some_and(|known| known.stat == *stat);
        let as_known: Vec<FilePath> =
            files.iter().filter(|(path, stat)| is_as_known(path, stat)).map(|(path, _)| path.clone()).collect();
        scan.walked(files, skipped, is_as_known, rng, orders);
        as_known.iter().for_each(|path| index.confirm(path));
        if !is_last {
            return;
        }
        self.orders.take(order);
        if let Some(unseen) = self.scan.unseen() {
            let is_beneath = |path: &FilePath| unseen.beneath.as_ref().is_none_or(|folder| path.is_beneath(folder));
            let missed: Vec<FilePath> =
                self.index.on_disk().filter(|path| is_beneath(path) && unseen.has(path)).cloned().collect();
            for path in missed {
                self.scan.look(path, &self.orders);
            }
        }
        self.scan.concluded(self.now, &self.config, &mut self.rng);
        self.no_folder = false;
        self.desk.is_broken = false;
        self.is_walked = true;
    }

    fn on_not_walked(&mut self, why: Trouble, effects: &mut Vec<Effect>) {
        match why {
            Trouble::NoFolder => self.no_folder = true,
            _ => self.desk.is_broken = true,
        }
        for id in self.scan.failed(self.now) {
            effects.push(Effect::Answer { id, answer: Answer::Failed(why) });
        }
    }

    /// The folder is gone: nothing is done or concluded until a walk through it succeeds.
    pub(super) fn lost_folder(&mut self) {
        if !self.no_folder {
            self.no_folder = true;
            self.scan.begin_again(self.now + scan::RETRY);
        }
    }

    pub(super) fn on_looked(&mut self, path: FilePath, found: Result<Found, Trouble>, effects: &mut Vec<Effect>) {
        match found {
            Ok(Found::File(stat)) if self.index.known(&path).is_none_or(|known| known.stat != stat) => {
                return self.orders.hash(path, stat, effects);
            }
            Ok(Found::File(_)) => self.index.confirm(&path),
            Ok(Found::Nothing) => {
                if self.index.known(&path).is_some() {
                    self.on_gone(&path, effects);
                } else if self.index.first_on_disk_beneath(&path).is_some() {
                    // It was a folder: what was in it is to be looked at.
                    self.look_beneath(&path);
                }
            }
            Ok(Found::Folder) => {
                if self.index.known(&path).is_some() {
                    self.on_gone(&path, effects);
                }
                self.scan.walk_beneath(path.clone());
            }
            // It may be unreadable for a while only.
            Ok(Found::Other) => {}
            Err(Trouble::NoFolder) => self.lost_folder(),
            Err(_) => {}
        }
        self.scan.close(&path);
    }

    fn look_beneath(&mut self, folder: &FilePath) {
        let beneath: Vec<FilePath> = self.index.on_disk().filter(|path| path.is_beneath(folder)).cloned().collect();
        for path in beneath {
            self.scan.look(path, &self.orders);
        }
    }

    /// Whether it is too early to say what happened at a path: it is looked at again after the first look at everything.
    fn is_too_early(&mut self, path: &FilePath) -> bool {
        let is_too_early = self.is_first_look && self.index.hangs_on_others(path);
        if is_too_early {
            self.hanging.insert(path.clone());
        }
        is_too_early
    }

    fn on_gone(&mut self, path: &FilePath, effects: &mut Vec<Effect>) {
        if self.is_too_early(path) {
            return;
        }
        self.hanging.remove(path);
        let is_change = self.index.gone(path, self.wall());
        effects.push(Effect::Announce(FolderEvent::Gone { path: path.clone() }));
        if is_change {
            effects.push(Effect::Announce(FolderEvent::Changed { path: path.clone(), root: None }));
        }
    }

    pub(super) fn on_hashed(
        &mut self,
        path: FilePath,
        hashed: Result<(Root, Stat), Trouble>,
        effects: &mut Vec<Effect>,
    ) {
        match hashed {
            Ok((root, stat)) => self.on_found(&path, root, stat, effects),
            // It is being written: again when it has been left alone.
            Err(Trouble::Changed) => self.scan.touch(path.clone(), self.now + self.config.settle),
            Err(Trouble::NoFolder) => self.lost_folder(),
            // It cannot be read now; the next walk sees it again.
            Err(_) => {}
        }
        self.scan.close(&path);
    }

    fn on_found(&mut self, path: &FilePath, root: Root, stat: Stat, effects: &mut Vec<Effect>) {
        let before = self.index.known(path).map(|known| known.root);
        if before != Some(root) && self.is_too_early(path) {
            return;
        }
        let how = match (self.is_first_scan, self.is_first_look) {
            _ if self.hanging.remove(path) => How::Away,
            _ if self.scan.is_touched(path) => How::Watch,
            (true, _) => How::First,
            (false, true) => How::Away,
            (false, false) => How::Scan,
        };
        let meaning = self.index.found(path, stat, root, how, self.wall());
        if before != Some(root) && meaning != Meaning::Refused {
            effects.push(Effect::Announce(FolderEvent::Landed { path: path.clone(), root, size: stat.size }));
            self.landed(&root, effects);
        }
        if meaning == Meaning::Changed && how != How::First {
            effects.push(Effect::Announce(FolderEvent::Changed { path: path.clone(), root: Some(root) }));
        }
    }

    /// Ends walks all of whose findings are known.
    pub(super) fn complete_walks(&mut self, effects: &mut Vec<Effect>) {
        while let Some(waiters) = self.scan.take_complete() {
            if std::mem::take(&mut self.is_first_look) {
                self.hanging.iter().for_each(|path| self.scan.look(path.clone(), &self.orders));
            }
            if self.is_first_scan {
                self.is_first_scan = false;
                self.rows.add(self.now, vec![super::scanned_row()]);
            }
            let answer = |id: RequestId| Effect::Answer { id, answer: Answer::Rescanned };
            effects.extend(waiters.into_iter().map(answer));
        }
    }
}
