//! Random histories of users, crashes and meetings: all nodes end with the same files, and with every contents nobody replaced.

use proptest::{prelude::*, sample::Index as Pick};

use super::*;

const PATHS: [&str; 6] = ["f.txt", "g", "d", "d/x", "d/x/y", "d.x"];

#[derive(Clone)]
struct Step {
    what: u8,
    node: usize,
    other: usize,
    which: Pick,
    text: u8,
}

impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { what, node, other, which, text } = self;
        write!(f, "{what}: {node} {other} {text} path {} of {}", which.index(PATHS.len()), PATHS.len())
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0..24_u8, 0..4_usize, 0..4_usize, any::<Pick>(), 0..30_u8);
    let step = step.prop_map(|(what, node, other, which, text)| Step { what, node, other, which, text });
    prop::collection::vec(step, 1..50)
}

/// A run, and contents by what became of them.
struct Run {
    world: World,
    written: BTreeSet<Root>,
    replaced: BTreeSet<Root>,
}

impl Run {
    fn new(nodes: u32) -> Self {
        Self { world: World::new(nodes), written: BTreeSet::new(), replaced: BTreeSet::new() }
    }

    /// A user removes a file, to write another one or for good.
    fn remove(&mut self, node: usize, path: &FilePath) {
        let file = self.world.at(node).disk.remove(path);
        self.replaced.extend(file.map(|file| root(&file.text)));
    }

    /// A user saves a file, and makes way for it.
    fn save(&mut self, node: usize, name: &FilePath, text: &str, is_watched: bool) {
        let beneath = format!("{name}/");
        let disk = &self.world.replicas[node].disk;
        let in_the_way = disk.keys().filter(|other| other.as_str().starts_with(&beneath)).cloned();
        let mut gone: Vec<FilePath> = in_the_way.chain(Index::above(name)).collect();
        gone.retain(|other| disk.contains_key(other));
        gone.iter().for_each(|other| self.remove(node, other));
        self.remove(node, name);
        self.written.insert(root(text));
        self.world.write(node, name.as_str(), text);
        if is_watched {
            gone.iter().chain([name]).for_each(|path| self.world.look(node, path, How::Watch));
        }
    }

    fn step(&mut self, step: &Step) {
        let nodes = self.world.replicas.len();
        let (node, other) = (step.node % nodes, step.other % nodes);
        let here: Vec<FilePath> = self.world.replicas[node].disk.keys().cloned().collect();
        let any = if here.is_empty() { path("f.txt") } else { step.which.get(&here).clone() };
        let text = step.text.to_string();
        match step.what {
            0..=3 => self.save(node, &path(step.which.get::<&str>(&PATHS)), &text, true),
            4..=5 => self.save(node, &any, &text, true),
            6 => self.save(node, &any, &text, false),
            7..=8 if !here.is_empty() => {
                self.remove(node, &any);
                self.world.look(node, &any, How::Watch);
            }
            9 if !here.is_empty() => self.world.touch(node, any.as_str()),
            10 => self.world.scan(node, How::Scan),
            11..=15 if node != other => self.world.sync(node, other),
            16 if node != other => self.world.tell(node, other),
            17 => self.world.act(node),
            18 => self.world.save(node),
            19 => self.world.restart(node),
            20 => self.world.at(node).skew = if step.text < 15 { HOUR } else { -HOUR },
            21 => {
                let wall = self.world.wall(node);
                let shown = self.world.replicas[node].index.shown(&any);
                self.replaced.extend(shown.map(|shown| shown.content.root));
                self.world.at(node).index.delete(&any, wall);
            }
            _ => {}
        }
    }

    /// A node told of a file, its user overwrote it unseen, and it lost its index: nobody has the contents any more and nobody
    /// knows that they were replaced. A user sees that and deletes it.
    fn delete_what_nobody_has(&mut self) {
        for _ in 0..20 {
            let disks = self.world.replicas.iter().flat_map(|replica| replica.disk.values());
            let here: BTreeSet<Root> = disks.map(|file| root(&file.text)).collect();
            let index = &self.world.replicas[0].index;
            let missing = index.all_missing().find(|(_, file)| !here.contains(&file.root));
            let Some((path, file)) = missing.map(|(path, file)| (path.clone(), file)) else { return };
            assert!(self.replaced.contains(&file.root), "{path} is lost");
            let wall = self.world.wall(0);
            assert!(self.world.at(0).index.delete(&path, wall));
            self.world.meet_all();
        }
        panic!("deletions come back");
    }

    fn end(&mut self) {
        (0..self.world.replicas.len()).for_each(|node| self.world.scan(node, How::Scan));
        self.world.meet_all();
        self.delete_what_nobody_has();
        self.world.sync_all();
        let files: BTreeSet<Root> = self.world.files(0).iter().map(|(_, text)| root(text)).collect();
        for text in (0..30).map(|text| text.to_string()) {
            let root = root(&text);
            let is_kept = files.contains(&root) || !self.written.contains(&root) || self.replaced.contains(&root);
            assert!(is_kept, "{text} is lost");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn all_nodes_end_with_the_same_files_and_nothing_is_lost(nodes in 2..5_u32, steps in steps()) {
        let mut run = Run::new(nodes);
        steps.iter().for_each(|step| run.step(step));
        run.end();
    }

    #[test]
    fn what_is_shown_does_not_depend_on_the_order_of_news(nodes in 2..5_u32, steps in steps(), turn in any::<Pick>()) {
        let mut run = Run::new(nodes);
        steps.iter().for_each(|step| run.step(step));
        let index = &run.world.replicas[0].index;
        let mut entries: Vec<_> = (0..=255_u8)
            .flat_map(|bucket| index.listing(bucket).collect::<Vec<_>>())
            .map(|(path, hash)| {
                assert_eq!(index.entry_hash(path), Some(hash));
                index.by_hash(path).unwrap().clone()
            })
            .collect();
        if !entries.is_empty() {
            let middle = turn.index(entries.len());
            entries.rotate_left(middle);
            entries[middle..].reverse();
        }
        let mut fresh = Index::new(NodeName::numbered(9), 1, &Config::default());
        for entry in &entries {
            prop_assert!(fresh.join(entry, START).news);
            prop_assert_eq!(fresh.join(entry, START), crate::folder::index::Joined::default());
        }
        prop_assert_eq!(fresh.files().collect::<Vec<_>>(), index.files().collect::<Vec<_>>());
        prop_assert_eq!(fresh.digests().index, index.digests().index);
        prop_assert_eq!(fresh.digests().want, index.digests().want);
        prop_assert_eq!(fresh.sums(), index.sums());
        let (mut ours, theirs) = (index.counts(), fresh.counts());
        (ours.files_here, ours.bytes_here) = (0, 0);
        prop_assert_eq!(ours, theirs);
        // As the module says it, all at once.
        prop_assert_eq!(by_the_book(&entries), fresh.files().map(|(path, shown)| (path, shown.content.root)).collect());
    }
}

/// What is shown, from the entries alone and without any state.
fn by_the_book(entries: &[p2pnet_shared::wire::folder::Entry]) -> BTreeMap<FilePath, Root> {
    use crate::folder::{render, version};
    let live: Vec<_> = entries.iter().filter(|entry| version::live(entry).next().is_some()).collect();
    let is_folder = |path: &FilePath| live.iter().any(|entry| entry.path.is_beneath(path));
    let mut files = BTreeMap::new();
    let mut wishes = Vec::new();
    for entry in &live {
        let mut versions = render::versions(entry);
        if !is_folder(&entry.path) {
            files.insert(entry.path.clone(), versions.remove(0).1.root);
        }
        for (sibling, content) in versions {
            let by = match &sibling.dot {
                p2pnet_shared::wire::folder::Dot::Found(_) => "first",
                p2pnet_shared::wire::folder::Dot::Written(author, _) => author.node.as_str(),
            };
            wishes.push((entry.path.clone(), content.root, by.to_owned()));
        }
    }
    wishes.sort();
    for digits in [8, 16, 64] {
        wishes.retain(|(path, root, by)| {
            let name = render::copy_name(path, by, root, digits).unwrap();
            if is_folder(&name) {
                return true;
            }
            *files.entry(name).or_insert(*root) != *root
        });
    }
    files
}
