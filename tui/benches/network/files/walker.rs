//! Looks from outside: nodes are not asked what they have.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use super::trees::Wanted;

/// A look takes its time from those who race; so much longer is waited after one.
const REST: u32 = 6;
/// The least wait between two looks.
const LEAST: Duration = Duration::from_millis(5);

/// Waits until every folder has every file under its name in its whole size: seconds since `began` at which each folder had
/// its last, in the order of the folders.
///
/// # Panics
/// When it takes longer than `patience`.
pub(super) fn until_union(folders: &[PathBuf], wanted: &[Wanted], began: Instant, patience: Duration) -> Vec<f64> {
    let mut lacking: Vec<Vec<PathBuf>> =
        folders.iter().map(|folder| wanted.iter().rev().map(|file| folder.join(&file.path)).collect()).collect();
    let sizes: std::collections::HashMap<&std::path::Path, u64> =
        wanted.iter().map(|file| (file.path.as_path(), file.size)).collect();
    let mut done = vec![None; folders.len()];
    loop {
        let look = Instant::now();
        for (at, lacking) in lacking.iter_mut().enumerate() {
            // From the end, as long as files are there: who lacks thousands is not asked for each of them again and again.
            while let Some(path) = lacking.last() {
                let is_there = path.symlink_metadata().is_ok_and(|found| {
                    let within = path.strip_prefix(&folders[at]).expect("it is in the folder");
                    found.is_file() && Some(&found.len()) == sizes.get(within)
                });
                if !is_there {
                    break;
                }
                lacking.pop();
            }
            if lacking.is_empty() && done[at].is_none() {
                done[at] = Some(began.elapsed().as_secs_f64());
            }
        }
        if let Some(done) = done.iter().copied().collect::<Option<Vec<f64>>>() {
            return done;
        }
        let missing: Vec<usize> = lacking.iter().map(Vec::len).collect();
        assert!(began.elapsed() < patience, "no union within {patience:?}: at most {missing:?} files are missing");
        std::thread::sleep((look.elapsed() * REST).max(LEAST));
    }
}

/// Hashes everything in every folder.
///
/// # Panics
/// At the first file that is not what was planted.
pub(super) fn check(folders: &[PathBuf], wanted: &[Wanted]) {
    for folder in folders {
        for file in wanted {
            let path = folder.join(&file.path);
            let contents = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert_eq!(blake3::hash(&contents), file.hash, "{} is not what was planted", path.display());
        }
    }
}
