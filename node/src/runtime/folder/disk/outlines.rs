//! Chaining values that came with a hash: a file that has just been found is about to be asked for, and is not read twice for it.
//!
//! Each is handed out once; whoever asks keeps it. Those found last are kept, [`VALUES_MAX`] values of them unless a single file has more.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use p2pnet_shared::FilePath;

use crate::folder::{Stat, chunks::Value};

/// Values kept: 256 KiB of them.
const VALUES_MAX: usize = 8 * 1024;

/// Outlines of files, the one found last at the end.
#[derive(Debug, Default)]
pub(super) struct Outlines(Mutex<VecDeque<(FilePath, Stat, Vec<Value>)>>);

impl Outlines {
    fn kept(&self) -> MutexGuard<'_, VecDeque<(FilePath, Stat, Vec<Value>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps that of a file that looked like this; one that is not cut has none.
    pub(super) fn keep(&self, path: &FilePath, stat: &Stat, values: Vec<Value>) {
        let mut kept = self.kept();
        kept.retain(|(other, ..)| other != path);
        if !values.is_empty() {
            kept.push_back((path.clone(), *stat, values));
        }
        while kept.len() > 1 && kept.iter().map(|(.., values)| values.len()).sum::<usize>() > VALUES_MAX {
            kept.pop_front();
        }
    }

    /// Hands out that of a file that looks like this, if it is kept and has so many values.
    pub(super) fn take(&self, path: &FilePath, stat: &Stat, count: u64) -> Option<Vec<Value>> {
        let mut kept = self.kept();
        let is_it = |(other, seen, values): &(FilePath, Stat, Vec<Value>)| {
            other == path && seen == stat && values.len() as u64 == count
        };
        let at = kept.iter().position(is_it)?;
        kept.remove(at).map(|(.., values)| values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(number: u8) -> FilePath {
        format!("file{number}").parse().unwrap()
    }

    fn stat(inode: u64) -> Stat {
        Stat { size: 1 << 20, mtime_ns: 5, ctime_ns: 6, inode, executable: false }
    }

    #[test]
    fn an_outline_is_handed_out_once_and_only_for_the_file_it_is_of() {
        let outlines = Outlines::default();
        outlines.keep(&path(1), &stat(1), vec![[1; 32]; 64]);
        outlines.keep(&path(2), &stat(2), Vec::new());
        assert_eq!(outlines.take(&path(1), &stat(2), 64), None);
        assert_eq!(outlines.take(&path(2), &stat(2), 0), None);
        assert_eq!(outlines.take(&path(1), &stat(1), 32), None);
        assert_eq!(outlines.take(&path(1), &stat(1), 64), Some(vec![[1; 32]; 64]));
        assert_eq!(outlines.take(&path(1), &stat(1), 64), None);
    }

    #[test]
    fn those_found_last_are_kept_within_their_bytes() {
        let outlines = Outlines::default();
        (0..10).for_each(|number| outlines.keep(&path(number), &stat(1), vec![[number; 32]; VALUES_MAX / 4]));
        let kept = (0..10).filter(|number| outlines.take(&path(*number), &stat(1), VALUES_MAX as u64 / 4).is_some());
        assert_eq!(kept.collect::<Vec<u8>>(), [6, 7, 8, 9]);
        outlines.keep(&path(1), &stat(1), vec![[1; 32]; 2 * VALUES_MAX]);
        assert!(outlines.take(&path(1), &stat(1), 2 * VALUES_MAX as u64).is_some());
    }
}
