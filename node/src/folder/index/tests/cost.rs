//! What ten thousand files cost.

use std::mem::size_of;

use p2pnet_shared::wire::folder::{Entry, Sibling};

use super::*;
use crate::folder::index::{Known, Slot};

/// Bytes that malloc adds to each allocation, about.
const MALLOC: usize = 16;
/// A B-tree's leaves are two thirds full, or a bit more than half when filled in order.
const FILL: f64 = 0.6;

/// An index that found this many files at its first look.
fn scanned(files: u32) -> Index {
    let mut index = Index::new(NodeName::numbered(1), 1, &Config::default());
    for number in 0..files {
        let path = path(&format!("folder-{}/file-{number}.txt", number % 100));
        let stat = Stat { inode: number.into(), size: 1_000, mtime_ns: 1, ctime_ns: 1, executable: false };
        assert_eq!(index.found(&path, stat, root(&number.to_string()), How::First, START), Meaning::Changed);
    }
    index
}

#[test]
fn a_file_takes_less_than_six_hundred_bytes() {
    let tree = |row: usize| (row as f64 / FILL) as usize;
    let path_text = 40 + 2 * size_of::<usize>() + MALLOC;
    let found = size_of::<(u64, u64)>() + MALLOC;
    let slot = tree(size_of::<u64>() + size_of::<usize>()) + size_of::<Slot>() + MALLOC;
    let siblings = size_of::<Sibling>() + MALLOC;
    let sets = 2 * tree(size_of::<FilePath>()) + tree(size_of::<(u64, u64)>());
    let all = path_text + found + slot + siblings + sets;
    assert!(all < 600, "{all}: {} {} {}", size_of::<Slot>(), size_of::<Entry>(), size_of::<Known>());
}

#[test]
fn ten_thousand_files_are_all_counted_and_their_rows_come_back() {
    let mut index = scanned(10_000);
    let counts = index.counts();
    assert_eq!(
        (counts.entries, counts.files, counts.files_here, counts.bytes_here),
        (10_000, 10_000, 10_000, 10_000_000)
    );
    assert_eq!(index.digests().want, index.digests().have);
    assert_eq!(index.take_news(256).len(), 256);
    assert!(index.has_news());
    let rows = index.take_rows(usize::MAX);
    assert_eq!(rows.len(), 10_000);
    let mut again = Index::new(NodeName::numbered(1), 2, &Config::default());
    rows.iter().for_each(|row| again.restore(row).unwrap());
    assert_eq!((again.digests(), again.counts()), (index.digests(), index.counts()));
    assert_eq!(again.sums(), index.sums());
    assert!(!again.has_rows() && !again.has_news());
    assert!(again.take_plans(usize::MAX).iter().all(|path| again.plan(path) == Action::Nothing));
    again.not_saved(&rows[..3]);
    assert_eq!(again.take_rows(9).len(), 3);
    assert_eq!(index.have_rows().count(), 10_000);
    assert_eq!((0..=255).map(|bucket| index.listing(bucket).count()).sum::<usize>(), 10_000);
}

#[test]
fn thousands_of_equal_files_are_deleted_without_looking_at_each_for_each() {
    let mut index = Index::new(NodeName::numbered(1), 1, &Config::default());
    let paths: Vec<FilePath> = (0..3_000).map(|number| path(&format!("d/{number}"))).collect();
    let stat = Stat { inode: 1, size: 1, mtime_ns: 1, ctime_ns: 1, executable: false };
    for path in &paths {
        index.found(path, stat, root("same"), How::Watch, START);
    }
    index.take_changes();
    for path in &paths {
        assert!(index.gone(path, START));
        // Not all that have the same contents.
        assert!(index.take_plans(usize::MAX).len() <= 3);
    }
    assert_eq!((index.counts().files, index.counts().tombstones), (0, 3_000));
}
