//! What users do to files, and that all see it.

use p2pnet_shared::{
    telemetry::{FolderEvent, FolderState},
    wire::folder::{FileContent, Message, Root},
};

use super::{network::Net, node, path};
use crate::folder::{Config, Input, Trouble, version};

fn net(nodes: u32, seed: u64) -> Net {
    Net::new(nodes, seed, Config::default())
}

/// Some bytes, different for each number.
pub(super) fn bytes(number: u32, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&number.to_be_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

#[test]
fn folders_that_differ_at_the_start_become_their_union() {
    let mut net = Net::empty(1, Config::default());
    for number in 1..=4 {
        for file in 0..25 {
            net.disk(number).write(&path(&format!("of{number}/{file}")), bytes(number * 100 + file, 700));
        }
        net.disk(number).write(&path("same"), "the same on all");
    }
    for number in 1..=4 {
        net.start(&node(number));
    }
    let took = net.unite(3_000);
    assert_eq!(net.tree().len(), 101);
    assert!(took < 1_500, "{took} ms");
    let counts = net.state(2).counts();
    assert_eq!((counts.files, counts.files_here, counts.conflicts), (101, 101, 0));
    assert_eq!(counts.state, FolderState::Idle);
}

#[test]
fn an_edit_a_deletion_and_a_rename_go_everywhere() {
    let mut net = net(4, 2);
    net.write(1, &path("a"), "one");
    net.write(1, &path("large"), bytes(1, 700_000));
    net.unite(5_000);
    net.write(2, &path("a"), "two");
    net.unite(5_000);
    assert_eq!(net.tree()[&path("a")], Root::of(b"two"));
    net.remove(3, &path("a"));
    net.unite(5_000);
    assert!(!net.tree().contains_key(&path("a")));

    let before = net.contents;
    let file = net.disk(4).files[&path("large")].bytes.clone();
    net.write(4, &path("sub/renamed"), file);
    net.remove(4, &path("large"));
    net.unite(5_000);
    assert_eq!(net.tree().keys().cloned().collect::<Vec<_>>(), [path("sub/renamed")]);
    assert_eq!(net.contents, before, "a rename sends no contents");
}

#[test]
fn two_edits_at_once_are_both_kept() {
    let mut net = net(3, 3);
    net.write(1, &path("note.txt"), "base");
    net.unite(5_000);
    net.cut(&[node(1)], true);
    net.write(1, &path("note.txt"), "mine");
    net.write(2, &path("note.txt"), "yours");
    net.run(5_000);
    net.heal();
    net.unite(10_000);
    let tree = net.tree();
    assert_eq!(tree.len(), 2, "{tree:?}");
    let contents: Vec<&Root> = tree.values().collect();
    assert!(contents.contains(&&Root::of(b"mine")) && contents.contains(&&Root::of(b"yours")));
    assert_eq!(net.state(3).counts().conflicts, 1);
}

#[test]
fn a_deletion_loses_against_an_edit_that_did_not_see_it() {
    let mut net = net(3, 4);
    net.write(1, &path("f"), "base");
    net.unite(5_000);
    net.cut(&[node(1)], true);
    net.remove(1, &path("f"));
    net.write(2, &path("f"), "edited");
    net.run(4_000);
    net.heal();
    net.unite(10_000);
    assert_eq!(net.tree()[&path("f")], Root::of(b"edited"));
}

#[test]
fn a_file_gives_way_to_a_folder_and_the_other_way_round() {
    let mut net = net(3, 5);
    net.write(1, &path("x"), "file");
    net.unite(5_000);
    net.write(2, &path("x/inner"), "in a folder");
    net.unite(10_000);
    assert_eq!(net.tree().into_keys().collect::<Vec<_>>(), [path("x/inner")]);
    net.write(3, &path("x"), "file again");
    net.unite(10_000);
    assert_eq!(net.tree().into_keys().collect::<Vec<_>>(), [path("x")]);
}

#[test]
fn a_node_that_was_away_learns_what_it_missed_and_tells_what_it_has() {
    let mut net = net(4, 6);
    for file in 0..20 {
        net.write(1, &path(&format!("{file}")), bytes(file, 300));
    }
    net.unite(5_000);
    net.crash(&node(4));
    net.run(2_000);
    net.remove(1, &path("3"));
    net.write(2, &path("5"), "changed");
    net.write(4, &path("while-dead"), "written while it was dead");
    net.unite(5_000);
    net.start(&node(4));
    net.unite(5_000);
    let tree = net.tree();
    assert_eq!((tree.len(), tree.contains_key(&path("3"))), (20, false));
    assert_eq!(tree[&path("5")], Root::of(b"changed"));
    assert!(tree.contains_key(&path("while-dead")));
}

#[test]
fn an_index_that_was_lost_brings_nothing_back() {
    let mut net = net(3, 7);
    net.write(1, &path("kept"), "old");
    net.write(1, &path("gone"), "to be deleted");
    net.unite(5_000);
    net.crash(&node(3));
    net.run(2_000);
    net.write(1, &path("kept"), "new");
    net.remove(2, &path("gone"));
    net.unite(5_000);
    net.disk(3).rows.clear();
    net.start(&node(3));
    net.unite(10_000);
    assert_eq!(net.tree().into_iter().collect::<Vec<_>>(), [(path("kept"), Root::of(b"new"))]);
}

#[test]
fn a_folder_that_is_gone_deletes_nothing() {
    let mut net = net(3, 8);
    net.config.rescan_period.0 = 3_000;
    for file in 0..10 {
        net.write(1, &path(&format!("{file}")), bytes(file, 300));
    }
    net.unite(5_000);
    let files = net.disk(2).files.clone();
    net.disk(2).is_gone = true;
    net.disk(2).files.clear();
    for file in 0..10 {
        net.feed(&node(2), crate::folder::Input::Touched { path: path(&format!("{file}")) });
    }
    net.feed(&node(2), crate::folder::Input::Overflowed);
    net.run(8_000);
    assert_eq!(net.state(2).counts().state, FolderState::NoFolder);
    assert_eq!(net.disk(1).files.len(), 10);
    net.disk(2).is_gone = false;
    net.disk(2).files = files;
    net.unite(6_000);
    assert_eq!(net.tree().len(), 10);
}

#[test]
fn a_full_disk_waits_and_goes_on() {
    let mut net = net(2, 9);
    net.disk(2).refuses = Some(Trouble::Full);
    net.write(1, &path("small"), "content");
    net.write(1, &path("large"), bytes(2, 600_000));
    net.run(5_000);
    assert_eq!(net.state(2).counts().state, FolderState::Full);
    assert!(net.disk(2).files.is_empty());
    net.disk(2).refuses = None;
    net.unite(10_000);
}

#[test]
fn contents_that_could_not_get_their_name_go_to_the_copy_that_came_to_wait_for_them() {
    let mut net = net(2, 13);
    net.disk_ms = 100;
    net.write(1, &path("d"), bytes(1, 300_000));
    net.until(10_000, |net| net.state(2).orders.placing() == 1).expect("it is being placed");
    // Before it is, there is a folder of its name, and the index has heard of that.
    net.disk(2).write(&path("d/e"), "in the way");
    let root = Root::of(b"in the way");
    let inside = FileContent { root, size: 10, mtime_ns: 1, executable: false };
    let entries = vec![version::single(path("d/e"), root.short(), 1, inside)];
    net.feed(&node(2), Input::Received { from: node(1), message: Message::Push { entries } });
    net.unite(20_000);
    let tree = net.tree();
    assert_eq!((tree.len(), tree[&path("d/e")]), (2, root), "{tree:?}");
}

#[test]
fn contents_that_were_fetched_for_a_path_that_got_others_can_be_fetched_again() {
    let mut net = net(2, 14);
    net.write(1, &path("x"), "one");
    net.unite(5_000);
    // A file is in the way of the folder, and nobody has noticed.
    net.disk(2).write(&path("i"), "in the way");
    net.write(1, &path("i/j"), "two");
    net.run(1_500);
    net.write(1, &path("i/j"), "one");
    let told = net.until(2_000, |net| net.state(2).counts().index == net.state(1).counts().index);
    told.expect("both know of it");
    net.disk(2).files.remove(&path("i"));
    net.unite(10_000);
    net.write(1, &path("y"), "two");
    net.unite(5_000);
}

#[test]
fn a_copy_whose_row_was_lost_in_a_crash_outlives_an_edit_of_its_original() {
    for at in 0..100 {
        let mut net = Net::empty(15, Config::default());
        net.disk_ms = 60;
        net.disk(1).write(&path("c.txt"), "theirs");
        net.run(10);
        net.disk(2).write(&path("c.txt"), "later");
        net.start(&node(1));
        net.start(&node(2));
        let copy = Root::of(b"theirs");
        let begun = net.until(5_000, |net| {
            net.nodes[&node(1)].disk.tree().into_iter().any(|(name, root)| name != path("c.txt") && root == copy)
        });
        begun.expect("the copy is made first");
        net.run(at * 3);
        net.crash(&node(1));
        let seen = net.disk(1).tree().remove(&path("c.txt"));
        net.write(1, &path("c.txt"), "edited");
        net.run(2_000);
        net.start(&node(1));
        net.unite(20_000);
        // Whoever edited it before it was replaced has seen it.
        let is_kept = net.tree().values().any(|root| *root == copy);
        assert!(is_kept || seen == Some(copy), "crash after {} ms: {}", at * 3, net.describe());
    }
}

#[test]
fn without_a_watch_changes_are_found_by_looking_at_everything() {
    let mut net = net(2, 10);
    net.nodes.get_mut(&node(1)).unwrap().watches = false;
    net.feed(&node(1), crate::folder::Input::Watching(false));
    net.write(1, &path("unseen"), "x");
    net.write(1, &path("sub/unseen"), "y");
    assert!(net.state(1).counts().rescan_only);
    net.unite(60_000);
    net.remove(1, &path("unseen"));
    net.until(60_000, |net| net.nodes[&node(2)].disk.files.len() == 1).expect("the deletion is found too");
}

#[test]
fn bytes_that_changed_without_a_trace_are_found_in_the_end() {
    let mut config = Config::default();
    config.rescan_period.0 = 1_000;
    let mut net = Net::new(2, 11, config);
    net.write(1, &path("f"), "before");
    net.unite(5_000);
    net.disk(1).rot(&path("f"), b"after!");
    net.until(600_000, |net| net.nodes[&node(2)].disk.tree().values().any(|root| *root == Root::of(b"after!")))
        .expect("one of a hundred looks is a deep one");
}

#[test]
fn ten_thousand_files_cost_little_time_and_all_are_told() {
    let mut net = Net::empty(12, Config::default());
    for file in 0..10_000_u32 {
        net.disk(1).write(&path(&format!("{}/{file}", file % 50)), file.to_be_bytes().to_vec());
    }
    net.start(&node(1));
    net.start(&node(2));
    let scanned = net.until(20_000, |net| net.state(1).counts().state == FolderState::Idle).unwrap();
    // 32 at a time, 3 to 4 ms each.
    assert!(scanned < 1_600, "{scanned} ms for the first look");
    let took = net.until(30_000, Net::is_union).unwrap();
    assert_eq!(net.disk(2).files.len(), 10_000);
    assert!(took < 2_000, "{took} ms after it");
    let landed = |event: &&FolderEvent| matches!(event, FolderEvent::Landed { .. });
    assert_eq!(net.nodes[&node(2)].events.iter().filter(landed).count(), 10_000);
    assert!(net.disk(2).persists < 200, "{} batches of rows", net.disk(2).persists);
    // Started anew, nothing but one of a hundred is hashed.
    net.run(1_000);
    net.crash(&node(2));
    let before = net.disk(2).hashes;
    net.start(&node(2));
    net.run(1_000);
    net.unite(5_000);
    let hashed = net.disk(2).hashes - before;
    assert!((40..250).contains(&hashed), "{hashed} hashed");
}
