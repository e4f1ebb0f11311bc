//! The folder on trial, as users see it: files are put, edited and deleted in folders by hand and over HTTP while nodes are killed,
//! frozen, cut off and robbed of their index; an outside walker that hashes folders decides, never the nodes.
//!
//! ```text
//! Trial ──files──▶ folders on the host ──┐
//!       ──HTTP───▶ nodes                 ├──▶ expected: path ─▶ contents         walk(): path ─▶ BLAKE3, of every folder
//!       ──verbs──▶ p2pnet: kill, cut …   └──▶ announced: every contents ever     reader: no name ever shows anything else
//! ```
//! The schedule is that of a bad day (research, §G): spread files; one large file; kills in mid-transfer; pauses; a cut with edits,
//! deletions and new files on both sides; a rolling cut; times an hour ahead; lost indexes and lost folders; uploads under
//! kills. After each act all folders must be equal and hold exactly what is expected.
//!
//! Who looks is `folder_walker.rs`; in the end all files are hashed once more, whatever they look like.
//!
//! What is put under a name by hand is renamed into place, so that whoever reads a name at any moment must see contents that
//! somebody wrote, whole.

#![allow(unreachable_pub, dead_code, reason = "shared by several programs")]
#![allow(clippy::disallowed_methods, reason = "tests wait for the real world")]

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, HashSet},
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use rand::{Rng, RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};
use serde_json::Value;

#[path = "folder_walker.rs"]
mod folder_walker;

pub use folder_walker::walk;
use folder_walker::{OWN, Reader, Tree, Walker};

use crate::support::{Lab, until};

/// How much there is to do.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Nodes beside the bootstrap.
    pub nodes: u32,
    /// Files that are spread at the beginning.
    pub files: usize,
    /// Bytes of the large file.
    pub large: usize,
    /// Paths that both sides of the cut edit; as many are deleted on one side, and half as many are made anew.
    pub edits: usize,
    /// Uploads while nodes are killed.
    pub uploads: usize,
    /// How long a pause and a cut last.
    pub stretch: Duration,
    /// How long all folders may take to become equal.
    pub patience: Duration,
}

/// What became of it.
#[derive(Debug, Default)]
pub struct Report {
    /// Seconds to the union after each act, by its name.
    pub unions: Vec<(&'static str, f64)>,
    /// Conflict copies there were at the end, and how many were expected.
    pub copies: (usize, usize),
    /// Reads of names that were checked while all this happened.
    pub reads: u64,
    /// How many of them saw what nobody wrote, and the first of those.
    pub torn: (u64, Option<String>),
    /// Uploads that were acknowledged with 201, and with 202.
    pub acknowledged: (usize, usize),
    /// How many of those are in every folder in the end, whole.
    pub kept: usize,
}

impl Report {
    /// Uploads that were acknowledged and are not everywhere.
    pub fn lost(&self) -> usize {
        (self.acknowledged.0 + self.acknowledged.1).saturating_sub(self.kept)
    }

    /// What should not have happened, in words.
    pub fn violations(&self) -> Vec<String> {
        let (found, expected) = self.copies;
        let torn = self.torn.1.iter().map(|first| format!("{} torn reads, the first: {first}", self.torn.0));
        let lost = (self.lost() > 0).then(|| format!("{} acknowledged uploads are lost", self.lost()));
        let copies = (found != expected).then(|| format!("{found} conflict copies, not {expected}"));
        torn.chain(lost).chain(copies).collect()
    }
}

impl Size {
    /// The ten minutes of the research's schedule, for this many nodes beside the bootstrap.
    pub fn schedule(nodes: u32) -> Self {
        Self {
            nodes,
            files: (nodes as usize * 100).clamp(1_000, 10_000),
            large: 50_000_000,
            edits: 100,
            uploads: 300,
            stretch: Duration::from_secs(20),
            patience: Duration::from_secs(120 + u64::from(nodes) * 4),
        }
    }
}

/// A network under trial.
pub struct Trial<'a> {
    lab: &'a Lab,
    size: Size,
    rng: StdRng,
    names: Vec<String>,
    /// What every folder has to hold, conflict copies aside.
    expected: BTreeMap<String, Vec<u8>>,
    /// Contents that lost their name to a concurrent edit: each is one copy of that path.
    losers: BTreeMap<String, Vec<blake3::Hash>>,
    announced: Arc<Mutex<HashSet<blake3::Hash>>>,
    /// Paths of uploads that were acknowledged.
    uploaded: Vec<String>,
    walker: RefCell<Walker>,
    report: Report,
}

impl<'a> Trial<'a> {
    /// On a network that runs and agrees.
    pub fn new(lab: &'a Lab, size: Size, seed: u64) -> Self {
        let names = std::iter::once("bootstrap".to_owned()).chain((1..=size.nodes).map(|node| format!("node{node}")));
        Self {
            lab,
            size,
            rng: StdRng::seed_from_u64(seed),
            names: names.collect(),
            expected: BTreeMap::new(),
            losers: BTreeMap::new(),
            announced: Arc::default(),
            uploaded: Vec::new(),
            walker: RefCell::default(),
            report: Report::default(),
        }
    }

    /// The whole schedule.
    ///
    /// # Panics
    /// When folders do not become equal in time, with all that is expected and nothing else. See also [`Report::violations`].
    pub fn run(mut self) -> Report {
        let folders = self.names.iter().map(|name| self.folder(name)).collect();
        let reader = Reader::begin(folders, self.announced.clone(), self.rng.random());
        self.spread();
        self.one_large();
        self.killed_in_mid_transfer();
        self.paused();
        self.cut();
        self.rolling_cut();
        self.an_hour_ahead();
        self.robbed();
        self.uploads_under_kills();
        self.swap_and_odd_names();
        (self.report.reads, self.report.torn) = reader.end();
        self.count_kept();
        self.report
    }

    /// Which uploads are in every folder, as a walker finds them who has never looked before.
    fn count_kept(&mut self) {
        *self.walker.borrow_mut() = Walker::default();
        let trees: Vec<Tree> = self.names.iter().map(|name| walk(&self.folder(name))).collect();
        let is_kept = |path: &&String| {
            let hash = blake3::hash(&self.expected[*path]);
            trees.iter().all(|tree| tree.get(*path) == Some(&hash))
        };
        self.report.kept = self.uploaded.iter().filter(is_kept).count();
    }

    fn folder(&self, node: &str) -> PathBuf {
        self.lab.state_home().join("p2pnet").join(&self.lab.network).join(node).join("sync")
    }

    fn any(&mut self) -> String {
        self.names[self.rng.random_range(0..self.names.len())].clone()
    }

    /// A tenth of the nodes, one at least, the bootstrap never.
    fn some(&mut self) -> Vec<String> {
        let mut others = self.names[1..].to_vec();
        others.shuffle(&mut self.rng);
        others.truncate((self.names.len() / 10).max(1));
        others
    }

    fn contents(&mut self, bytes: usize) -> Vec<u8> {
        let mut contents = vec![0; bytes];
        self.rng.fill_bytes(&mut contents);
        self.announced.lock().unwrap().insert(blake3::hash(&contents));
        contents
    }

    /// Puts a file into a node's folder as a careful program does: beside it, then renamed.
    fn put(&self, node: &str, path: &str, contents: &[u8]) {
        let beside = self.lab.dir.path().join("beside");
        fs::write(&beside, contents).unwrap();
        let target = self.folder(node).join(path);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::rename(&beside, &target).unwrap();
    }

    fn delete(&self, node: &str, path: &str) {
        fs::remove_file(self.folder(node).join(path)).unwrap();
    }

    /// New contents for a path, put there by one node's user; they are what everybody has to have then.
    fn write(&mut self, node: &str, path: &str, bytes: usize) {
        let contents = self.contents(bytes);
        self.put(node, path, &contents);
        self.expected.insert(path.to_owned(), contents);
    }

    fn spread(&mut self) {
        for number in 0..self.size.files {
            let node = self.names[number % self.names.len()].clone();
            let bytes = self.rng.random_range(0..4_096);
            self.write(&node, &format!("spread/{}/file-{number}", number % 7), bytes);
        }
        self.union("spread files");
    }

    fn one_large(&mut self) {
        let node = self.any();
        self.write(&node, "large/one.bin", self.size.large);
        self.union("one large file");
    }

    fn killed_in_mid_transfer(&mut self) {
        let (node, bytes) = ("bootstrap", self.size.large);
        self.write(node, "large/two.bin", bytes);
        for number in 0..self.size.files / 4 {
            self.write(node, &format!("more/file-{number}"), 2_000);
        }
        for victim in self.some() {
            std::thread::sleep(Duration::from_millis(self.rng.random_range(0..700)));
            self.lab.ok(&["remove-node", &victim]);
            std::thread::sleep(Duration::from_millis(self.rng.random_range(0..1_500)));
            self.lab.ok(&["restart-node", &victim]);
        }
        self.union("kills in mid-transfer");
    }

    fn paused(&mut self) {
        let victims = self.some();
        let node = self.names[0].clone();
        self.write(&node, "large/three.bin", self.size.large / 2);
        for victim in &victims {
            self.lab.ok(&["pause-node", victim]);
        }
        std::thread::sleep(self.size.stretch);
        for victim in &victims {
            self.lab.ok(&["resume-node", victim]);
        }
        self.union("a pause");
    }

    /// Both sides edit the same paths, one deletes others, the other edits some of those, and both go on.
    fn cut(&mut self) {
        let half = self.names.len() / 2;
        let (left, right) = (self.names[..half].to_vec(), self.names[half..].to_vec());
        self.lab.ok(&["fault", "cut", &format!("{} | {}", left.join(" "), right.join(" "))]);
        std::thread::sleep(Duration::from_secs(1));
        let mut paths: Vec<String> = self.expected.keys().filter(|path| path.starts_with("spread/")).cloned().collect();
        paths.shuffle(&mut self.rng);
        let edits = self.size.edits;
        let (both, rest) = paths.split_at(edits);
        let (gone, rest) = rest.split_at(edits);
        let (anew, kept) = gone.split_at(edits / 2);
        for path in both {
            let older = self.contents(700);
            self.put(&left[0], path, &older);
            self.losers.entry(path.clone()).or_default().push(blake3::hash(&older));
        }
        // The right side's are written later, by more than a watch takes to notice, so they keep the names.
        std::thread::sleep(Duration::from_secs(2));
        for path in both {
            self.write(&right[0], path, 800);
        }
        for path in gone {
            self.delete(&left[0], path);
            self.expected.remove(path);
        }
        self.settled_within("deletions", &left, |tree| gone.iter().all(|path| !tree.contains_key(path)));
        for path in anew {
            self.write(&left[0], path, 900);
        }
        // Deleted here and edited there: the edit stays.
        for path in &kept[..kept.len().min(3)] {
            self.write(&right[0], path, 1_000);
        }
        for path in rest.iter().take(edits) {
            self.write(&right[right.len() - 1], path, 600);
        }
        std::thread::sleep(self.size.stretch);
        self.lab.ok(&["heal"]);
        self.union("a cut");
        // The screen says what the walker saw: here, where all copies are known as such. A node that finds one after it has lost its
        // index takes it for a file like any other, and so it is one from then on.
        self.lab.ok(&["wait", "--for", "files", "--timeout", "60s"]);
        let said = files_of(&self.lab.status()).2;
        assert_eq!(said, self.report.copies.1 as u64, "conflict copies, as status has them");
    }

    fn rolling_cut(&mut self) {
        let some: Vec<String> = self.names.iter().skip(1).take(10).cloned().collect();
        for node in some {
            self.lab.ok(&["fault", "cut", &node]);
            let other = self.any();
            self.write(&other, &format!("rolling/{node}"), 3_000);
            std::thread::sleep(self.size.stretch / 4);
            self.lab.ok(&["heal"]);
        }
        self.union("a rolling cut");
    }

    /// Times of the future and of long ago decide nothing: one writer, no conflict.
    fn an_hour_ahead(&mut self) {
        let hour = Duration::from_secs(3_600);
        let paths: Vec<String> = self.expected.keys().filter(|path| path.starts_with("rolling/")).cloned().collect();
        for (number, path) in paths.iter().enumerate() {
            let node = self.any();
            self.write(&node, path, 2_500);
            let now = SystemTime::now();
            let time = if number % 2 == 0 { now + hour } else { now - hour * 24 * 365 };
            fs::File::options().append(true).open(self.folder(&node).join(path)).unwrap().set_modified(time).unwrap();
            self.settled(path);
        }
        self.union("times an hour ahead");
    }

    /// Nodes lose their index, others lose everything; and meanwhile a file is deleted, and one edited.
    fn robbed(&mut self) {
        let mut victims = self.names[1..].to_vec();
        victims.shuffle(&mut self.rng);
        victims.truncate(2);
        for victim in &victims {
            self.lab.ok(&["remove-node", victim]);
        }
        let spread: Vec<String> = self.expected.keys().filter(|path| path.starts_with("more/")).cloned().collect();
        self.delete("bootstrap", &spread[0]);
        self.expected.remove(&spread[0]);
        self.write("bootstrap", &spread[1], 1_234);
        std::thread::sleep(Duration::from_secs(2));
        fs::remove_file(self.folder(&victims[0]).join(OWN).join("index.redb")).unwrap();
        fs::remove_dir_all(self.folder(&victims[1])).unwrap();
        fs::create_dir(self.folder(&victims[1])).unwrap();
        for victim in &victims {
            self.lab.ok(&["restart-node", victim]);
        }
        self.union("a lost index and a lost folder");
    }

    fn uploads_under_kills(&mut self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let http = reqwest::Client::new();
        let victims = self.some();
        let kill_at = self.size.uploads / 3;
        for number in 0..self.size.uploads {
            if number == kill_at {
                victims.iter().for_each(|victim| drop(self.lab.ok(&["remove-node", victim])));
            }
            if number == 2 * kill_at {
                victims.iter().for_each(|victim| drop(self.lab.ok(&["restart-node", victim])));
            }
            let path = format!("uploads/file-{number}");
            let contents = self.contents(1_500);
            let node = self.rng.random_range(0..self.names.len());
            let url = self.lab.url(u16::try_from(node).unwrap(), "/upload");
            let (kind, body) = multipart(&path, &contents);
            let sent = runtime.block_on(http.post(url).header("Content-Type", kind).body(body).send());
            match sent.map(|answer| answer.status().as_u16()) {
                Ok(201) => self.report.acknowledged.0 += 1,
                Ok(202) => self.report.acknowledged.1 += 1,
                Ok(status) => panic!("an upload to {} was answered with {status}", self.names[node]),
                // Nobody is there: nothing was promised.
                Err(_) if victims.contains(&self.names[node]) => continue,
                Err(error) => panic!("an upload to {} failed: {error}", self.names[node]),
            }
            self.uploaded.push(path.clone());
            self.expected.insert(path, contents);
        }
        self.union("uploads under kills");
    }

    fn swap_and_odd_names(&mut self) {
        let node = self.any();
        let longest = "ü".repeat(127);
        for path in [
            "odd/with space",
            "odd/new\nline",
            "odd/ünïcödé",
            "odd/-rf",
            "odd/empty",
            "swap",
            &format!("odd/{longest}"),
        ] {
            let bytes = if path == "odd/empty" { 0 } else { 100 };
            self.write(&node, path, bytes);
        }
        self.union("odd names");
        // A file becomes a folder.
        self.delete(&node, "swap");
        self.expected.remove("swap");
        self.write(&node, "swap/inside", 50);
        self.union("a file that becomes a folder");
        // And back again.
        self.delete(&node, "swap/inside");
        fs::remove_dir(self.folder(&node).join("swap")).unwrap();
        self.expected.remove("swap/inside");
        self.write(&node, "swap", 60);
        self.union("a folder that becomes a file");
    }

    /// Waits until every folder has this path as expected.
    fn settled(&self, path: &str) {
        let hash = blake3::hash(&self.expected[path]);
        for name in &self.names {
            let file = self.folder(name).join(path);
            until(&format!("{path} at {name}"), self.size.patience, || {
                fs::read(&file).ok().filter(|contents| blake3::hash(contents) == hash).map(drop)
            });
        }
    }

    fn settled_within(&self, what: &str, nodes: &[String], holds: impl Fn(&Tree) -> bool) {
        for node in nodes {
            until(&format!("{what} at {node}"), self.size.patience, || holds(&self.look(node)).then_some(()));
        }
    }

    /// Waits until all folders hold exactly what is expected, and says how long that took.
    fn union(&mut self, act: &'static str) {
        let began = Instant::now();
        let wanted: Tree =
            self.expected.iter().map(|(path, contents)| (path.clone(), blake3::hash(contents))).collect();
        let mut took = None;
        let mut open = self.names.clone();
        loop {
            let wrong: Vec<(String, String)> =
                open.into_iter().filter_map(|name| Some((name.clone(), self.wrong(&name, &wanted)?))).collect();
            (open, took) = match (wrong.is_empty(), took) {
                // Once all have been right, it is looked whether they all are at once.
                (true, None) => (self.names.clone(), Some(began.elapsed())),
                (true, Some(_)) => break,
                (false, _) => (wrong.iter().map(|(name, _)| name.clone()).collect(), None),
            };
            if took.is_some() {
                continue;
            }
            let wrong: Vec<String> = wrong.into_iter().take(8).map(|(_, wrong)| wrong).collect();
            assert!(
                began.elapsed() < self.size.patience,
                "{act}: no union within {:?}:\n{}",
                self.size.patience,
                wrong.join("\n")
            );
            std::thread::sleep(Duration::from_millis(100));
        }
        let trees: BTreeSet<Vec<(String, [u8; 32])>> = self
            .names
            .iter()
            .map(|name| self.look(name).into_iter().map(|(path, hash)| (path, *hash.as_bytes())).collect())
            .collect();
        assert_eq!(trees.len(), 1, "{act}: copies have other names on other nodes");
        let copies: usize = self.losers.values().map(Vec::len).sum();
        let tree = trees.first().unwrap();
        self.report.copies = (tree.iter().filter(|(path, _)| path.contains(".conflict-")).count(), copies);
        let took = took.unwrap_or_default().as_secs_f64();
        eprintln!("{act}: union after {took:.1} s");
        self.report.unions.push((act, took));
    }

    /// A node's folder as it is.
    fn look(&self, node: &str) -> Tree {
        self.walker.borrow_mut().walk(&self.folder(node))
    }

    /// What is wrong with a node's folder, if anything is.
    fn wrong(&self, name: &str, wanted: &Tree) -> Option<String> {
        let mut tree = self.look(name);
        let mut wrong = Vec::new();
        for (path, hash) in wanted {
            match tree.remove(path) {
                Some(found) if found == *hash => {}
                Some(_) => wrong.push(format!("{path} is not what it should be")),
                None => wrong.push(format!("{path} is missing")),
            }
        }
        for (path, losers) in &self.losers {
            let stem = path.rsplit_once('.').map_or(path.as_str(), |(stem, _)| stem);
            let prefix = format!("{stem}.conflict-");
            let copies: Vec<String> = tree.keys().filter(|name| name.starts_with(&prefix)).cloned().collect();
            let found: Vec<blake3::Hash> = copies.iter().filter_map(|copy| tree.remove(copy)).collect();
            let is_each_there_once = found.len() == losers.len() && losers.iter().all(|loser| found.contains(loser));
            if !is_each_there_once {
                wrong.push(format!("{path} has {} copies, not {}: {copies:?}", found.len(), losers.len()));
            }
        }
        wrong.extend(tree.keys().map(|path| format!("{path} should not be there")));
        let more = wrong.len().saturating_sub(8);
        wrong.truncate(8);
        (!wrong.is_empty()).then(|| {
            format!(
                "{name}: {}{}",
                wrong.join("; "),
                if more > 0 { format!(" and {more} more") } else { String::new() }
            )
        })
    }
}

/// The body of `curl -F "file=@…;filename=PATH"`, and its type.
pub fn multipart(path: &str, contents: &[u8]) -> (String, Vec<u8>) {
    const BOUNDARY: &str = "----p2pnet-trial";
    let head = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{path}\"\r\nContent-Type: application/octet-stream\r\n\r\n"
    );
    let body = [head.as_bytes(), contents, format!("\r\n--{BOUNDARY}--\r\n").as_bytes()].concat();
    (format!("multipart/form-data; boundary={BOUNDARY}"), body)
}

/// What `status --json` says of files.
pub fn files_of(status: &Value) -> (u64, u64, u64) {
    let number = |field: &str| status["files"][field].as_u64().unwrap_or_else(|| panic!("{status:#}"));
    (number("agree"), number("paths"), number("conflicts"))
}
