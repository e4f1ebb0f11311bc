//! Who looks at folders from outside: a walker that hashes what is there, and a reader to whom no name may ever show contents that nobody
//! wrote.
//!
//! A file is hashed the first time, and each time its inode, size or times are others than when it was.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};

/// What the folder keeps for itself.
pub const OWN: &str = ".p2pnet";

/// Every file's path and hash.
pub type Tree = BTreeMap<String, blake3::Hash>;

/// Reads names at random for as long as it lives.
pub struct Reader {
    stop: Arc<AtomicBool>,
    reads: Arc<AtomicU64>,
    thread: Option<JoinHandle<(u64, Option<String>)>>,
}

/// How a file looks from outside: its device and inode, its size and its two times. Nobody writes to it and leaves all of that as it was.
type Look = (u64, u64, u64, (i64, i64), (i64, i64));

/// Looks at folders, and hashes what looks otherwise than it did.
#[derive(Default)]
pub struct Walker {
    hashed: HashMap<Look, blake3::Hash>,
}

impl Reader {
    /// Begins to read in these folders; `announced` has all that was ever written.
    pub fn begin(folders: Vec<PathBuf>, announced: Arc<Mutex<HashSet<blake3::Hash>>>, seed: u64) -> Self {
        let (stop, reads) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, count) = (stop.clone(), reads.clone());
        let mut rng = StdRng::seed_from_u64(seed);
        let thread = std::thread::spawn(move || {
            let mut torn = (0, None);
            while !stopped.load(Ordering::Relaxed) {
                let folder = &folders[rng.random_range(0..folders.len())];
                let mut paths = Vec::new();
                files(folder, folder, &mut paths);
                paths.shuffle(&mut rng);
                for path in paths.iter().take(20) {
                    // It may be gone by now.
                    let Ok(contents) = fs::read(folder.join(path)) else { continue };
                    let hash = blake3::hash(&contents);
                    if !announced.lock().unwrap().contains(&hash) {
                        torn.0 += 1;
                        torn.1
                            .get_or_insert_with(|| format!("{path} in {}, {} bytes", folder.display(), contents.len()));
                    }
                    count.fetch_add(1, Ordering::Relaxed);
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            torn
        });
        Self { stop, reads, thread: Some(thread) }
    }

    /// How many names it read, how many were torn, and the first of those.
    pub fn end(mut self) -> (u64, (u64, Option<String>)) {
        self.stop.store(true, Ordering::Relaxed);
        let torn = self.thread.take().unwrap().join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (self.reads.load(Ordering::Relaxed), torn)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Walker {
    /// A folder as it is. What goes while it is looked at is left out.
    pub fn walk(&mut self, folder: &Path) -> Tree {
        let mut paths = Vec::new();
        files(folder, folder, &mut paths);
        paths.into_iter().filter_map(|path| Some((path.clone(), self.hash(&folder.join(&path))?))).collect()
    }

    fn hash(&mut self, file: &Path) -> Option<blake3::Hash> {
        let meta = fs::symlink_metadata(file).ok()?;
        let times = ((meta.mtime(), meta.mtime_nsec()), (meta.ctime(), meta.ctime_nsec()));
        let look = (meta.dev(), meta.ino(), meta.size(), times.0, times.1);
        if let Some(hash) = self.hashed.get(&look) {
            return Some(*hash);
        }
        let hash = blake3::hash(&fs::read(file).ok()?);
        self.hashed.insert(look, hash);
        Some(hash)
    }
}

/// A folder as it is: every file's path and hash, the folder's own aside. A file that goes while it is looked at is left out.
pub fn walk(folder: &Path) -> Tree {
    Walker::default().walk(folder)
}

fn files(top: &Path, folder: &Path, found: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let Ok(kind) = entry.file_type() else { continue };
        if folder == top && entry.file_name() == OWN {
            continue;
        }
        if kind.is_dir() {
            files(top, &path, found);
        } else {
            found.push(path.strip_prefix(top).unwrap().to_str().expect("our own names").to_owned());
        }
    }
}
