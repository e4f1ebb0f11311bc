//! What is planted: the same bytes for everybody who races in one run.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use rand::{Rng, SeedableRng, rngs::Xoshiro256PlusPlus};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// One tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tree {
    /// Its name in the figures.
    pub(super) name: &'static str,
    /// How many nodes have files of their own; all with `None`.
    at: Option<usize>,
    /// Files in all.
    files: usize,
    /// Bytes of each.
    bytes: usize,
}

/// The four of the issue.
pub(super) const TREES: [Tree; 4] = [
    Tree { name: "small", at: Some(4), files: 1_000, bytes: 4 * KIB },
    Tree { name: "large", at: Some(1), files: 1, bytes: 256 * MIB },
    Tree { name: "four_large", at: Some(4), files: 4, bytes: 64 * MIB },
    Tree { name: "tiny", at: None, files: 10_000, bytes: KIB },
];
/// One file for everybody.
pub(super) const ONE: Tree = Tree { name: "one", at: Some(1), files: 1, bytes: 32 * MIB };
/// A folder as people have it.
pub(super) const TWO_THOUSAND: Tree = Tree { name: "two_thousand", at: Some(1), files: 2_000, bytes: 4 * KIB };

/// A file that is to be everywhere.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// Where, within a folder.
    pub(super) path: PathBuf,
    /// Its bytes.
    pub(super) size: u64,
    /// BLAKE3.
    pub(super) hash: blake3::Hash,
    /// Which folder had it first.
    pub(super) home: usize,
}

impl Tree {
    /// Bytes of all files.
    pub(super) fn bytes(&self) -> usize {
        self.files * self.bytes
    }

    /// Plants the tree in these folders; the bytes come from `seed`. It is raised beside them and moved in once all of it is on the
    /// disk: who watches its folder sees it no sooner than who is told.
    ///
    /// # Panics
    /// When the disk does not take it.
    pub(super) fn plant(&self, folders: &[PathBuf], seed: u64) -> Vec<Wanted> {
        let at = self.at.unwrap_or(folders.len()).min(folders.len());
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut contents = vec![0; self.bytes];
        let bed = |home: usize| folders[home].with_file_name(format!("planted-{home}"));
        let top = |home: usize| format!("{}-{home}", self.name);
        let plant = |number: usize| {
            let home = number % at;
            rng.fill_bytes(&mut contents);
            let path = PathBuf::from(format!("{}/d{}/file-{number:05}.bin", top(home), number / at % 10));
            write(&bed(home).join(&path), &contents);
            Wanted { path, size: self.bytes as u64, hash: blake3::hash(&contents), home }
        };
        let wanted = (0..self.files).map(plant).collect();
        // What the planting left to be written is not to be paid for by whoever races first.
        rustix::fs::sync();
        for (home, folder) in folders.iter().enumerate().take(at.min(self.files)) {
            fs::rename(bed(home).join(top(home)), folder.join(top(home))).expect("both are on one disk");
            fs::remove_dir(bed(home)).expect("nothing is left there");
        }
        wanted
    }
}

fn write(path: &Path, contents: &[u8]) {
    fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("a folder can be made");
    fs::File::create(path).and_then(|mut file| file.write_all(contents)).expect("a file can be written");
}
