//! Carrying out what the index plans: what should be at a path is put there, changed or removed.
//!
//! ```text
//!  todo ──plan──▶ Get: contents on this disk? clone them.  fetched? place them.  otherwise: wanted, until transfer is ready
//!                 Touch, Remove, SetAside: ordered
//!  Placed, Removed ──▶ index, and whoever else waits for these contents clones the file
//!  Changed ──▶ looked at, then planned anew     Full ──▶ once more in 2 s     others ──▶ once more, later and later
//! ```
//! Always holds: nothing is planned at a path where something is under way or that is still to be looked at; contents
//! are wanted of transfer as long as some path waits for them and no longer; what is set aside stays as long as some path should have it;
//! at most [`PLACES_MAX`] orders are with the disk.

use std::collections::{BTreeMap, BTreeSet};

use p2pnet_shared::{
    FilePath, NodeName,
    telemetry::{FileProgress, FolderEvent},
    wire::folder::{Bytes, FileContent, Root},
};

use super::{Effect, Order, Place, Source, Stat, State, Trouble, orders::Owner, plan::Action};
use crate::time::Millis;

/// Placings, removals, touches and copies set aside that are with the disk at a time: as many as it syncs together.
const PLACES_MAX: usize = 256;
/// How long nothing is fetched to a full disk.
const FULL_PAUSE: Millis = Millis(2_000);
/// What fails at a path is tried again after this, and after twice as long each time.
const RETRY: Millis = Millis(100);
const RETRY_MAX: Millis = Millis(30_000);
/// A fetched file that could not be placed so often is fetched anew.
const TRIES_MAX: u8 = 3;

/// What is to be done at paths.
#[derive(Debug, Default)]
pub(super) struct Desk {
    /// Paths to be planned, and who told us of what is new there.
    todo: BTreeMap<FilePath, Option<NodeName>>,
    /// For which contents a path waits.
    waits: BTreeMap<FilePath, Root>,
    wanted: BTreeMap<Root, Wanted>,
    /// Paths whose file may go, once another with the same contents is gone or is not.
    behind: BTreeMap<Root, BTreeSet<FilePath>>,
    /// Paths whose file may go, once this other one with the same contents has been looked at and is there.
    checks: BTreeMap<FilePath, BTreeSet<FilePath>>,
    checked: BTreeSet<FilePath>,
    /// What was set aside for these, once the index is on disk through this number: without it the next life would not know what for.
    aside: Vec<(u64, FilePath, Root)>,
    /// What was set aside and is being forgotten.
    leaving: BTreeSet<Root>,
    /// What was set aside and could not be placed, which may be its own fault: it is asked for as well.
    doubted: BTreeSet<Root>,
    /// How often it failed at a path, one time after the other.
    failed: BTreeMap<FilePath, u32>,
    /// Paths that are not tried again before.
    held_up: BTreeMap<FilePath, Millis>,
    retries: BTreeSet<(Millis, FilePath)>,
    full_until: Option<Millis>,
    /// There was no room at the last order.
    pub(super) is_full: bool,
    /// What is to be fetched, or was to be done, once there is room.
    parked: BTreeSet<FilePath>,
    /// The disk failed at its last order but for what it says of single paths.
    pub(super) is_broken: bool,
}

/// Contents some paths wait for.
#[derive(Debug, Default)]
struct Wanted {
    size: u64,
    paths: BTreeSet<FilePath>,
    /// They have been fetched: here they are.
    source: Option<Source>,
    tries: u8,
}

impl Desk {
    /// Something changed at a path: it is to be planned.
    pub(super) fn plan(&mut self, path: FilePath, told_by: Option<&NodeName>) {
        let teller = self.todo.entry(path).or_default();
        if told_by.is_some() {
            *teller = told_by.cloned();
        }
    }

    /// A path that waits for contents no more. The contents, if nobody waits for them now.
    fn drop_want(&mut self, path: &FilePath) -> Option<Root> {
        let root = self.waits.remove(path)?;
        let wanted = self.wanted.get_mut(&root)?;
        wanted.paths.remove(path);
        wanted.paths.is_empty().then(|| {
            self.wanted.remove(&root);
            root
        })
    }

    /// What was removed or replaced is gone, or is not: those behind it are planned.
    pub(super) fn went(&mut self, root: &Root) {
        for path in self.behind.remove(root).unwrap_or_default() {
            self.plan(path, None);
        }
    }

    /// What was set aside is gone: it can be set aside again.
    pub(super) fn forgotten(&mut self, root: &Root) {
        self.leaving.remove(root);
        self.went(root);
    }

    /// It is known what is at a path: those who wanted it looked at are planned.
    pub(super) fn looked(&mut self, path: &FilePath) {
        for behind in self.checks.remove(path).unwrap_or_default() {
            self.checked.insert(behind.clone());
            self.plan(behind, None);
        }
    }

    /// These contents have been fetched.
    pub(super) fn ready(&mut self, root: &Root, source: Source) -> bool {
        let Some(wanted) = self.wanted.get_mut(root) else { return false };
        wanted.source = Some(source);
        for path in wanted.paths.clone() {
            self.plan(path, None);
        }
        true
    }

    /// Contents are on this disk now: whoever else waits for them can clone them.
    fn landed(&mut self, root: &Root) {
        for path in self.wanted.get(root).map(|wanted| wanted.paths.clone()).unwrap_or_default() {
            self.plan(path, None);
        }
    }

    /// Bytes of unfinished files.
    pub(super) fn part_bytes(&self, progress: &[FileProgress]) -> u64 {
        let of_one = |file: &FileProgress| {
            let mut first = Root([0; 32]);
            first.0[..8].copy_from_slice(&file.root.to_be_bytes());
            let wanted = self.wanted.range(first..).next().filter(|(root, _)| root.short() == file.root)?;
            Some(wanted.1.size / u64::from(file.chunks.max(1)) * u64::from(file.here))
        };
        progress.iter().filter_map(of_one).sum()
    }

    fn went_well(&mut self, path: &FilePath) {
        self.failed.remove(path);
        self.is_broken = false;
        self.is_full = false;
    }

    /// It did not work at a path: not again for a while.
    fn hold_up(&mut self, path: &FilePath, now: Millis) {
        let times = self.failed.entry(path.clone()).or_default();
        let due = now + Millis(RETRY.0 << (*times).min(16)).min(RETRY_MAX);
        *times += 1;
        if let Some(before) = self.held_up.insert(path.clone(), due) {
            self.retries.remove(&(before, path.clone()));
        }
        self.retries.insert((due, path.clone()));
    }

    /// Lets those try again whose time has come.
    pub(super) fn tick(&mut self, now: Millis) {
        if self.full_until.is_some_and(|until| until <= now) {
            self.full_until = None;
            for path in std::mem::take(&mut self.parked) {
                self.plan(path, None);
            }
        }
        while let Some((due, path)) = self.retries.first().cloned().filter(|(due, _)| *due <= now) {
            self.retries.remove(&(due, path.clone()));
            self.held_up.remove(&path);
            self.plan(path, None);
        }
    }

    pub(super) fn next_due(&self) -> Option<Millis> {
        self.full_until.into_iter().chain(self.retries.first().map(|(due, _)| *due)).min()
    }
}

impl State {
    /// Plans what is to be planned and gives the disk as much of it as it may have.
    pub(super) fn work(&mut self, effects: &mut Vec<Effect>) {
        if self.no_folder || !self.is_walked {
            return;
        }
        while self.orders.placing() < PLACES_MAX
            && let Some((path, teller)) = self.desk.todo.pop_first()
        {
            // Who waits is planned again when it is over.
            if !self.orders.is_busy(&path) && !self.scan.is_open(&path) && !self.desk.held_up.contains_key(&path) {
                self.plan_path(&path, teller.as_ref(), effects);
            }
        }
    }

    /// Does what is to be done at a path next.
    fn plan_path(&mut self, path: &FilePath, teller: Option<&NodeName>, effects: &mut Vec<Effect>) {
        let here = self.index.known(path).map(|known| known.root);
        let action = self.index.plan(path);
        let is_loss = matches!(action, Action::Remove { .. } | Action::Get { over: Some(_), .. });
        if let Some(root) = here.filter(|root| is_loss && self.orders.is_going(root)) {
            // The other file with these contents, for whose sake this one may go, may go itself.
            self.desk.behind.entry(root).or_default().insert(path.clone());
            return;
        }
        if let Some(root) = here.filter(|_| is_loss && !self.desk.checked.remove(path))
            && let Some(other) = self.index.in_place(path, &root)
        {
            // Its user may just have moved the other one here.
            self.scan.look(other.clone(), &self.orders);
            self.desk.checks.entry(other).or_default().insert(path.clone());
            return;
        }
        match action {
            Action::Nothing => {
                self.desk.failed.remove(path);
                self.drop_want(path, effects);
            }
            // The other one has it planned again.
            Action::After(_) => {}
            Action::Remove { over } => {
                self.drop_want(path, effects);
                let Some(over_root) = here else { return };
                let owner = Owner::Remove { path: path.clone(), over: over_root };
                self.orders.issue(Order::Remove { path: path.clone(), over }, owner, effects);
            }
            Action::Touch { over, mtime_ns, executable } => {
                self.drop_want(path, effects);
                let Some(root) = here else { return };
                let owner = Owner::Touch { path: path.clone(), root };
                let order = Order::Touch { path: path.clone(), over, mtime_ns, executable };
                self.orders.issue(order, owner, effects);
            }
            Action::Get { .. } | Action::SetAside { .. } if self.desk.full_until.is_some() => {
                self.desk.parked.insert(path.clone());
            }
            Action::SetAside { over } => {
                let Some(root) = here else { return };
                self.set_aside(path, over, root, effects);
            }
            Action::Get { content, over } => match self.source_of(path, &content) {
                Some(source) => {
                    if matches!(source, Source::Aside(_)) && self.desk.doubted.contains(&content.root) {
                        self.want(path, &content, teller, effects);
                    }
                    self.place(path, &content, over, source, effects);
                }
                None => self.want(path, &content, teller, effects),
            },
        }
    }

    /// Where the bytes of these contents are, if they are here.
    fn source_of(&mut self, path: &FilePath, content: &FileContent) -> Option<Source> {
        if content.size == 0 {
            return Some(Source::Memory(Bytes::new()));
        }
        if let Some((other, stat)) = self.index.locate(&content.root)
            && other != *path
            && !self.orders.is_busy(&other)
        {
            return Some(Source::File { path: other, stat });
        }
        let fetched = self.desk.wanted.get_mut(&content.root).and_then(|wanted| match &wanted.source {
            Some(Source::Memory(bytes)) => Some(Source::Memory(bytes.clone())),
            // It is used up by whoever takes it.
            _ => wanted.source.take(),
        });
        fetched.or_else(|| self.index.is_aside(&content.root).then_some(Source::Aside(content.root)))
    }

    fn set_aside(&mut self, path: &FilePath, stat: Stat, root: Root, effects: &mut Vec<Effect>) {
        if self.desk.leaving.contains(&root) {
            // One after the other.
            self.desk.behind.entry(root).or_default().insert(path.clone());
            return;
        }
        if self.desk.aside.iter().any(|(_, other, set)| (other, *set) == (path, root)) {
            return;
        }
        let owner = Owner::SetAside { path: path.clone(), root };
        self.orders.issue(Order::SetAside { path: path.clone(), stat, root }, owner, effects);
    }

    /// A copy was to be set aside, or why there is none.
    pub(super) fn on_set_aside(&mut self, path: &FilePath, root: Root, set: Result<(), Trouble>) {
        match set {
            Ok(()) => {
                self.desk.went_well(path);
                let number = self.rows.hurry(self.now);
                self.desk.aside.push((number, path.clone(), root));
            }
            Err(why) => self.on_trouble(path.clone(), why),
        }
    }

    /// Goes on where a copy was set aside, once the next life would know why.
    pub(super) fn advance_asides(&mut self) {
        let rows = &self.rows;
        for (_, path, root) in self.desk.aside.extract_if(.., |(number, ..)| rows.has(*number)).collect::<Vec<_>>() {
            self.index.set_aside(root);
            self.desk.plan(path, None);
        }
    }

    /// Forgets what was set aside and has been placed since, or is to be nowhere any more.
    pub(super) fn forget_needless(&mut self, effects: &mut Vec<Effect>) {
        if self.no_folder || !self.is_walked {
            return;
        }
        for root in self.index.take_needless() {
            self.desk.doubted.remove(&root);
            self.desk.leaving.insert(root);
            self.orders.issue(Order::Forget { root }, Owner::Forget { root }, effects);
        }
    }

    fn place(
        &mut self,
        path: &FilePath,
        content: &FileContent,
        over: Option<Stat>,
        source: Source,
        effects: &mut Vec<Effect>,
    ) {
        let FileContent { root, size, mtime_ns, executable } = *content;
        let place = Place { path: path.clone(), over, source, root, size, mtime_ns, executable };
        let over = self.index.known(path).map(|known| known.root);
        self.orders.place(place, over, None, effects);
    }

    fn want(&mut self, path: &FilePath, content: &FileContent, teller: Option<&NodeName>, effects: &mut Vec<Effect>) {
        let root = content.root;
        if self.desk.waits.get(path) != Some(&root) {
            self.drop_want(path, effects);
            self.desk.waits.insert(path.clone(), root);
        }
        let wanted = self.desk.wanted.entry(root).or_default();
        wanted.size = content.size;
        wanted.paths.insert(path.clone());
        let is_urgent = self.is_urgent(path);
        let (size, teller) = (content.size, teller.cloned());
        self.with_transfer(effects, |transfer, around| transfer.want(around, root, size, teller, is_urgent));
    }

    fn drop_want(&mut self, path: &FilePath, effects: &mut Vec<Effect>) {
        if let Some(root) = self.desk.drop_want(path) {
            self.with_transfer(effects, |transfer, around| transfer.unwant(around, &root));
        }
    }

    /// A file that was to be placed for the folder, or why it is not.
    pub(super) fn on_placed(
        &mut self,
        path: FilePath,
        (root, size): (Root, u64),
        source: Source,
        placed: Result<Stat, Trouble>,
        effects: &mut Vec<Effect>,
    ) {
        match placed {
            Ok(stat) => {
                self.desk.went_well(&path);
                self.index.placed(&path, stat, root);
                // It may have waited for others before, which somebody else may want later.
                if let Some(other) = self.desk.drop_want(&path).filter(|other| *other != root) {
                    self.with_transfer(effects, |transfer, around| transfer.unwant(around, &other));
                }
                effects.push(Effect::Announce(FolderEvent::Landed { path, root, size }));
                self.landed(&root, effects);
            }
            Err(why) => {
                self.put_back(&root, source, why, effects);
                self.on_trouble(path, why);
            }
        }
    }

    /// Contents are on this disk: others are told, and other paths that want them clone them.
    pub(super) fn landed(&mut self, root: &Root, effects: &mut Vec<Effect>) {
        self.desk.landed(root);
        self.with_transfer(effects, |transfer, around| transfer.landed(around, root));
    }

    /// A source that was not used after all.
    fn put_back(&mut self, root: &Root, source: Source, why: Trouble, effects: &mut Vec<Effect>) {
        match source {
            // The file may not be any more what we took it for.
            Source::File { path, .. } => self.scan.look(path, &self.orders),
            Source::Part(_) | Source::Memory(_) => {
                let Some(wanted) = self.desk.wanted.get_mut(root) else {
                    return self.with_transfer(effects, |transfer, around| transfer.unwant(around, root));
                };
                // It may be the source that is not what it was taken for.
                wanted.tries += u8::from(why == Trouble::Changed);
                if wanted.tries < TRIES_MAX {
                    // Others may have come to wait for them meanwhile, who are not held up.
                    self.desk.ready(root, source);
                } else {
                    wanted.tries = 0;
                    self.with_transfer(effects, |transfer, around| transfer.again(around, root));
                }
            }
            Source::Aside(root) => drop(self.desk.doubted.insert(root)),
            Source::Upload(_) => {}
        }
    }

    pub(super) fn on_removed(&mut self, path: FilePath, removed: Result<(), Trouble>, effects: &mut Vec<Effect>) {
        match removed {
            Ok(()) => {
                self.desk.went_well(&path);
                self.index.removed(&path);
                effects.push(Effect::Announce(FolderEvent::Gone { path }));
            }
            Err(why) => self.on_trouble(path, why),
        }
    }

    pub(super) fn on_touched(&mut self, path: FilePath, root: Root, touched: Result<Stat, Trouble>) {
        match touched {
            Ok(stat) => {
                self.desk.went_well(&path);
                self.index.placed(&path, stat, root);
            }
            Err(why) => self.on_trouble(path, why),
        }
    }

    /// Something could not be done at a path: what now.
    fn on_trouble(&mut self, path: FilePath, why: Trouble) {
        self.on_disk_trouble(why);
        match why {
            Trouble::Changed => {
                self.desk.hold_up(&path, self.now);
                self.scan.look(path, &self.orders);
            }
            Trouble::Refused | Trouble::Broken => self.desk.hold_up(&path, self.now),
            Trouble::Full => drop(self.desk.parked.insert(path)),
            Trouble::NoFolder => self.desk.plan(path, None),
        }
    }

    /// What a failed order says of the disk as a whole.
    pub(super) fn on_disk_trouble(&mut self, why: Trouble) {
        match why {
            Trouble::Full => {
                self.desk.is_full = true;
                self.desk.full_until = Some(self.now + FULL_PAUSE);
            }
            Trouble::Broken => self.desk.is_broken = true,
            Trouble::NoFolder => self.lost_folder(),
            Trouble::Changed | Trouble::Refused => {}
        }
    }
}
