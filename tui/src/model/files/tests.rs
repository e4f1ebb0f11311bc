//! Names as they come, and what keys do with them.

use p2pnet_shared::api::ConflictRow;

use super::*;

fn row(path: &str, size: u64, modified: u64) -> FileRow {
    let root = Root::of(path.as_bytes());
    FileRow { path: path.parse().unwrap(), size, hash: root, modified: UnixMillis(modified), holders: 1 }
}

fn view() -> FilesView {
    let mut view = FilesView::default();
    let conflict = ConflictRow {
        path: "b.txt".parse().unwrap(),
        copy: "b.conflict-node3-12345678.txt".parse().unwrap(),
        hash: Root::of(b"x"),
    };
    let files = vec![row("a.txt", 5, 3), row("b.conflict-node3-12345678.txt", 9, 1), row("b.txt", 7, 2)];
    view.take(NodeName::numbered(1), FilesReply { files, conflicts: vec![conflict], digest: FolderDigest(1) });
    view
}

fn paths(view: &FilesView) -> Vec<&str> {
    view.listing.files.iter().map(|file| file.path.as_str()).collect()
}

#[test]
fn a_conflict_copy_is_known_by_its_plain_name() {
    let view = view();
    let copies: Vec<_> = view.listing.files.iter().map(|file| file.copy_of.as_ref().map(FilePath::as_str)).collect();
    assert_eq!(copies, [None, Some("b.txt"), None]);
}

#[test]
fn files_are_sorted_by_path_size_and_age() {
    let mut view = view();
    view.sort_next();
    assert_eq!((view.sort.heading(), paths(&view)[0]), ("SIZE", "b.conflict-node3-12345678.txt"));
    view.sort_next();
    assert_eq!((view.sort.heading(), paths(&view)[0]), ("WRITTEN", "a.txt"));
    view.reversed = true;
    view.arrange();
    assert_eq!(paths(&view)[2], "a.txt");
    view.sort_next();
    assert_eq!((view.sort, view.reversed, paths(&view)[0]), (FilesBy::Path, false, "a.txt"));
}

#[test]
fn the_selection_stays_on_a_file_that_exists() {
    let mut view = view();
    assert!(view.file().is_none());
    view.step(1);
    assert_eq!(view.file().unwrap().path.as_str(), "a.txt", "the first step selects");
    view.step(1_000_000);
    assert_eq!(view.position(), Some(2));
    view.scroll_files(2);
    assert_eq!(view.file_offset, 1);
    view.take(
        NodeName::numbered(1),
        FilesReply { files: vec![row("b.txt", 1, 1)], conflicts: vec![], digest: FolderDigest(2) },
    );
    assert_eq!(view.position(), Some(0), "the same file in a newer listing");
    view.scroll_files(2);
    assert_eq!(view.file_offset, 0);
    view.take(NodeName::numbered(1), FilesReply { files: vec![], conflicts: vec![], digest: FolderDigest(3) });
    assert_eq!((view.position(), view.selected.clone()), (None, None));
    view.step(1);
    assert!(view.selected.is_none());
}

#[test]
fn more_names_than_there_is_room_for_are_counted() {
    let mut view = FilesView::default();
    let files = (0..FILES_MAX + 7).map(|number| row(&format!("f{number}"), 1, 1)).collect();
    view.take(NodeName::numbered(1), FilesReply { files, conflicts: vec![], digest: FolderDigest(1) });
    assert_eq!((view.listing.files.len(), view.listing.left_out), (FILES_MAX, 7));
}
