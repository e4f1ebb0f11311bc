//! Tests of the index on pretend disks, in the manner of Unison's own (`src/test.ml`): put, delete, sync, check.

mod algebra;
mod cost;
mod random;
mod tables;

use std::collections::{BTreeMap, BTreeSet};

use p2pnet_shared::{FilePath, NodeName, wire::folder::Root};

use super::Index;
use crate::folder::{
    Config, Row, Stat,
    local::{How, Meaning},
    plan::Action,
};

/// The time at which tests begin, milliseconds since 1970.
const START: u64 = 1_800_000_000_000;
const HOUR: i64 = 3_600_000;

fn path(text: &str) -> FilePath {
    text.parse().unwrap()
}

fn root(text: &str) -> Root {
    Root::of(text.as_bytes())
}

/// A file of a pretend disk.
#[derive(Debug, Clone, PartialEq, Eq)]
struct File {
    text: String,
    stat: Stat,
}

/// A node: its index, its disk, and how far its clock is off.
struct Replica {
    index: Index,
    disk: BTreeMap<FilePath, File>,
    /// What was set aside.
    asides: Vec<String>,
    skew: i64,
    config: Config,
    life: u64,
    /// What reached the index on disk.
    rows: BTreeMap<String, Row>,
}

/// Some nodes and a clock.
struct World {
    replicas: Vec<Replica>,
    now: u64,
    inodes: u64,
}

impl World {
    fn new(nodes: u32) -> Self {
        Self::with(nodes, &Config::default())
    }

    fn with(nodes: u32, config: &Config) -> Self {
        let replica = |number| Replica {
            index: Index::new(NodeName::numbered(number), 1, config),
            disk: BTreeMap::new(),
            asides: Vec::new(),
            skew: 0,
            config: config.clone(),
            life: 1,
            rows: BTreeMap::new(),
        };
        Self { replicas: (1..=nodes).map(replica).collect(), now: START, inodes: 0 }
    }

    fn at(&mut self, node: usize) -> &mut Replica {
        &mut self.replicas[node]
    }

    fn wall(&self, node: usize) -> u64 {
        self.now.saturating_add_signed(self.replicas[node].skew)
    }

    /// Time and inode of a file that is written now.
    fn stat(&mut self, node: usize, text: &str) -> Stat {
        self.now += 10;
        self.inodes += 1;
        let mtime_ns = self.wall(node) as i64 * 1_000_000;
        Stat { inode: self.inodes, size: text.len() as u64, mtime_ns, ctime_ns: mtime_ns, executable: false }
    }

    /// A user writes a file, and nobody is told.
    fn write(&mut self, node: usize, name: &str, text: &str) {
        let stat = self.stat(node, text);
        self.at(node).disk.insert(path(name), File { text: text.to_owned(), stat });
    }

    /// A user writes a file, and the watch sees it.
    fn put(&mut self, node: usize, name: &str, text: &str) {
        self.write(node, name, text);
        self.look(node, &path(name), How::Watch);
    }

    /// A user deletes a file, and the watch sees it.
    fn del(&mut self, node: usize, name: &str) {
        self.now += 10;
        assert!(self.at(node).disk.remove(&path(name)).is_some(), "no {name} at {node}");
        self.look(node, &path(name), How::Watch);
    }

    /// A user gives a file another time.
    fn touch(&mut self, node: usize, name: &str) {
        self.now += 10;
        let now = self.now as i64;
        let stat = &mut self.at(node).disk.get_mut(&path(name)).unwrap().stat;
        stat.mtime_ns = now * 1_000_000 + 1;
        stat.ctime_ns = stat.mtime_ns;
        self.look(node, &path(name), How::Watch);
    }

    /// What is at a path is looked at.
    fn look(&mut self, node: usize, path: &FilePath, how: How) {
        let wall = self.wall(node);
        let replica = self.at(node);
        match replica.disk.get(path).cloned() {
            Some(file) if replica.index.known(path).is_none_or(|known| known.stat != file.stat) => {
                let meaning = replica.index.found(path, file.stat, root(&file.text), how, wall);
                assert_ne!(meaning, Meaning::Refused);
            }
            Some(_) => {}
            None => {
                replica.index.gone(path, wall);
            }
        }
    }

    /// Everything is looked at.
    fn scan(&mut self, node: usize, how: How) {
        let replica = &self.replicas[node];
        let paths: BTreeSet<FilePath> = replica.disk.keys().chain(replica.index.on_disk()).cloned().collect();
        paths.iter().for_each(|path| self.look(node, path, how));
    }

    /// Two nodes tell each other all they know, and do what follows.
    fn sync(&mut self, one: usize, other: usize) {
        self.tell(one, other);
        self.tell(other, one);
        self.act(one);
        self.act(other);
    }

    /// All nodes tell each other all they know, until nothing is new.
    fn meet_all(&mut self) {
        for _ in 0..6 {
            (1..self.replicas.len()).for_each(|other| self.sync(0, other));
        }
    }

    /// The same, and then all have the same and are done.
    fn sync_all(&mut self) {
        self.meet_all();
        let nodes = self.replicas.len();
        for replica in &self.replicas {
            assert_eq!(replica.index.digests(), self.replicas[0].index.digests());
        }
        (0..nodes).for_each(|node| self.assert_settled(node));
    }

    fn tell(&mut self, from: usize, to: usize) {
        let wall = self.wall(to);
        let entries: Vec<_> = (0..=255)
            .flat_map(|bucket| self.replicas[from].index.listing(bucket).collect::<Vec<_>>())
            .filter_map(|(path, _)| self.replicas[from].index.by_hash(path).cloned())
            .collect();
        for entry in entries {
            assert!(!self.at(to).index.join(&entry, wall).refused);
        }
    }

    /// The disk does all that is planned, as far as somebody has the contents.
    fn act(&mut self, node: usize) {
        let missing: Vec<FilePath> = self.replicas[node].index.all_missing().map(|(path, _)| path.clone()).collect();
        missing.iter().for_each(|path| self.at(node).index.plan_again(path));
        for _ in 0..10_000 {
            let Some(path) = self.at(node).index.take_plans(1).pop() else { return };
            let action = self.replicas[node].index.plan(&path);
            self.carry_out(node, &path, action);
        }
        panic!("planning has no end");
    }

    fn carry_out(&mut self, node: usize, path: &FilePath, action: Action) {
        let there = self.replicas[node].disk.get(path).map(|file| file.stat);
        if there.is_none() && self.is_dir(node, path) && matches!(action, Action::Get { .. }) {
            // Something nobody has looked at is in the way, or is a folder by now.
            return self.look_around(node, path);
        }
        let expected = match &action {
            Action::Nothing | Action::After(_) => return,
            Action::Get { over, .. } => *over,
            Action::Touch { over, .. } | Action::Remove { over } | Action::SetAside { over } => Some(*over),
        };
        if there != expected {
            return self.look(node, path, How::Watch);
        }
        match action {
            Action::Get { content, .. } => {
                let files = self.replicas.iter().flat_map(|replica| replica.disk.values()).map(|file| &file.text);
                let mut texts = files.chain(&self.replicas[node].asides);
                let Some(text) = texts.find(|text| root(text) == content.root).cloned() else { return };
                let stat =
                    Stat { mtime_ns: content.mtime_ns, executable: content.executable, ..self.stat(node, &text) };
                let replica = self.at(node);
                replica.disk.insert(path.clone(), File { text, stat });
                replica.index.placed(path, stat, content.root);
            }
            Action::Touch { mtime_ns, executable, .. } => {
                let file = self.at(node).disk.get_mut(path).unwrap();
                file.stat = Stat { mtime_ns, executable, ..file.stat };
                let (stat, root) = (file.stat, root(&file.text));
                self.at(node).index.placed(path, stat, root);
            }
            Action::Remove { .. } => {
                self.at(node).disk.remove(path);
                self.at(node).index.removed(path);
            }
            Action::SetAside { .. } => {
                let text = self.replicas[node].disk[path].text.clone();
                let replica = self.at(node);
                replica.index.set_aside(root(&text));
                replica.asides.push(text);
                replica.index.plan_again(path);
            }
            Action::Nothing | Action::After(_) => {}
        }
    }

    /// What is above and beneath a path is looked at.
    fn look_around(&mut self, node: usize, path: &FilePath) {
        let disk = &self.replicas[node].disk;
        let beneath = disk.keys().filter(|other| other.is_beneath(path));
        let others: Vec<FilePath> = Index::above(path).chain(beneath.cloned()).collect();
        others.iter().for_each(|other| self.look(node, other, How::Watch));
    }

    /// Whether the disk can have no file there: there is a folder, or a file has the name of one above.
    fn is_dir(&self, node: usize, path: &FilePath) -> bool {
        let disk = &self.replicas[node].disk;
        disk.keys().any(|other| other.is_beneath(path)) || Index::above(path).any(|above| disk.contains_key(&above))
    }

    /// What is on the disk is what should be there, and the index knows it.
    fn assert_settled(&self, node: usize) {
        let Replica { index, disk, .. } = &self.replicas[node];
        let shown: BTreeMap<FilePath, Root> = index.files().map(|(path, shown)| (path, shown.content.root)).collect();
        let here: BTreeMap<FilePath, Root> = disk.iter().map(|(path, file)| (path.clone(), root(&file.text))).collect();
        assert_eq!(shown, here, "node {node}");
        assert_eq!(index.digests().want, index.digests().have);
        assert_eq!(index.counts().files, here.len() as u64);
        assert_eq!(index.counts().files_here, here.len() as u64);
        assert_eq!(index.all_missing().count(), 0);
        assert_eq!(index.on_disk().cloned().collect::<Vec<_>>(), here.keys().cloned().collect::<Vec<_>>());
    }

    /// The files of a node, sorted by path.
    fn files(&self, node: usize) -> Vec<(String, String)> {
        self.replicas[node].disk.iter().map(|(path, file)| (path.to_string(), file.text.clone())).collect()
    }

    /// Checks the files of all nodes.
    #[track_caller]
    fn check(&self, files: &[(&str, &str)]) {
        for node in 0..self.replicas.len() {
            self.assert_settled(node);
            let files: Vec<(String, String)> =
                files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
            assert_eq!(self.files(node), files, "node {node}");
        }
    }

    /// What changed in the index reaches the disk.
    fn save(&mut self, node: usize) {
        let replica = self.at(node);
        for row in replica.index.take_rows(usize::MAX) {
            replica.rows.insert(row.key.to_string(), row);
        }
    }

    /// A node dies, comes back with what was saved of its index, and looks at its disk.
    fn restart(&mut self, node: usize) {
        let how = self.boot(node);
        self.scan(node, how);
    }

    /// The same, and nothing has been looked at yet.
    fn boot(&mut self, node: usize) -> How {
        self.now += 10;
        let replica = self.at(node);
        replica.life += 1;
        let name = NodeName::numbered(u32::try_from(node).unwrap() + 1);
        replica.index = Index::new(name, replica.life, &replica.config);
        let had_index = !replica.rows.is_empty();
        for row in replica.rows.values().filter(|row| row.value.is_some()) {
            replica.index.restore(row).unwrap();
        }
        replica.index.restored();
        if had_index { How::Away } else { How::First }
    }
}

/// The name of a copy by that node (or `first`) of these contents.
fn copy(stem: &str, by: &str, text: &str, extension: &str) -> String {
    format!("{stem}.conflict-{by}-{}{extension}", &root(text).to_string()[..8])
}
